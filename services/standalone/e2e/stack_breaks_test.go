//go:build compose

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/stretchr/testify/require"
)

// cutOffFor is how long a gateway has no bus.
const cutOffFor = 5 * time.Second

// wholeAgain fails where a viewer does not get all frames from recoversWithin after the moment on.
func wholeAgain(ws []*watcher, since time.Time) string {
	<-time.After(time.Until(since.Add(recoversWithin)))
	for _, acc := range during(ws, 3*time.Second) {
		if acc.fps < fullRate {
			return fmt.Sprintf("%.2f frames a second %v later", acc.fps, recoversWithin)
		}
	}
	return ""
}

func encodersScale(t *testing.T, s *stack) {
	ws := watchers(t, 3, client.Config{URL: s.ws("stream=cam0")})
	s.up("--scale", "encoder=3")
	steadily(t, func() string { return s.allEncode(3) })
	steadily(t, func() string {
		frozen := s.containers("encoder")[0]
		docker(t, "pause", frozen)
		wrong := wholeAgain(ws, time.Now())
		docker(t, "unpause", frozen)
		s.healthy(frozen)
		return wrong
	})
	steadily(t, func() string {
		s.up("--scale", "encoder=3") // the try before has killed one
		killed := s.containers("encoder")[0]
		docker(t, "kill", killed)
		wrong := wholeAgain(ws, time.Now())
		docker(t, "rm", killed)
		return wrong
	})
	stayConnected(t, ws)
	s.addsUp()
	s.up("--scale", "encoder=1")
}

// allEncode says what is wrong where not each of n encoders takes its part, by the ledger.
func (s *stack) allEncode(n int) string {
	s.t.Helper()
	before := s.encoded()
	var idle string
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); <-time.After(time.Second) {
		idle = ""
		now := s.encoded()
		ids := s.containers("encoder")
		if len(ids) != n {
			return fmt.Sprintf("%d encoders run", len(ids))
		}
		for _, id := range ids {
			if now[host(id)] < before[host(id)]+30 {
				idle = host(id)
			}
		}
		if idle == "" {
			s.t.Logf("encoded by each, by the ledger: %v", now)
			return ""
		}
	}
	return fmt.Sprintf("the encoder %s got nothing to do: %v, then %v", idle, before, s.encoded())
}

func busRestarts(t *testing.T, s *stack) {
	ws := watchers(t, 3, client.Config{URL: s.ws("stream=cam0")})
	recovers(t, ws, func() time.Time {
		docker(t, "restart", s.container("nats"))
		return time.Now()
	}, (*watcher).firstAfter)
	stayConnected(t, ws)
	s.addsUp()
}

func gatewayIsCutOff(t *testing.T, s *stack) {
	ws := watchers(t, 3, client.Config{URL: s.ws("stream=cam0")})
	gateway, bus := s.container("gateway"), s.name+"_bus"
	recovers(t, ws, func() time.Time {
		docker(t, "network", "disconnect", bus, gateway)
		<-time.After(cutOffFor)
		docker(t, "network", "connect", "--alias", "gateway", bus, gateway)
		return time.Now()
	}, (*watcher).firstAfter)
	stayConnected(t, ws)
	s.addsUp()
}

func captureDies(t *testing.T, s *stack) {
	ws := watchers(t, 3, client.Config{URL: s.ws("stream=cam0")})
	capture := s.container("capture")
	recovers(t, ws, func() time.Time {
		docker(t, "kill", capture)
		require.Eventually(t, func() bool { return s.stream("cam0").State == "gone" }, patience, 50*time.Millisecond,
			"the gateway does not tell that the stream has gone")
		return s.start(capture)
	}, (*watcher).firstAfter)
	require.Eventually(t, func() bool { return s.stream("cam0").State == "live" }, patience, 50*time.Millisecond)
	stayConnected(t, ws)
	s.addsUp()
}
