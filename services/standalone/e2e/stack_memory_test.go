//go:build compose

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/standalone/internal/doctor"
	"github.com/stretchr/testify/require"
)

// ask reads a metric of a container: the sum of the samples whose line begins so.
func (s *stack) ask(id, prefix string) float64 {
	s.t.Helper()
	return metric(s.t, s.address(id, "observe")+":9464", prefix)
}

// handed is how many frames the capture gave to encoders by reference, and how many inline.
func (s *stack) handed() (reference, inline float64) {
	s.t.Helper()
	id := s.container("capture")
	const series = `framebus_origin_handed_total{stream="cam0",way="%s"`
	return s.ask(id, fmt.Sprintf(series, "reference")), s.ask(id, fmt.Sprintf(series, "inline"))
}

// examined is what `framebus doctor` says of a part of the stack.
func (s *stack) examined(part string) doctor.Finding {
	s.t.Helper()
	all := doctor.Look(s.t.Context(), doctor.Config{Gateway: "http://" + s.addr, Bus: bus.Config{
		URL: "nats://" + s.address(s.container("nats"), "bus") + ":4222", User: "reader", Password: "demoReader",
	}})
	i := slices.IndexFunc(all, func(f doctor.Finding) bool { return f.Part == part })
	require.GreaterOrEqual(s.t, i, 0, "the doctor says nothing of %s: %v", part, all)
	return all[i]
}

func framesGoByReference(t *testing.T, s *stack) {
	ws := watchers(t, 3, client.Config{URL: s.ws("stream=cam0")})
	s.up("--scale", "encoder=3", "gateway")
	ws[0].waitFrames(60) // the new encoders have mapped what they are told of within two of its owner's Status
	steadily(t, func() string {
		const followed = `framebus_encoder_references_total{result="followed"`
		ids := s.containers("encoder")
		require.Len(t, ids, 3)
		var before [3]float64
		for i, id := range ids {
			before[i] = s.ask(id, followed)
		}
		reference, inline := s.handed()
		<-time.After(6 * time.Second)
		gained, missed := s.handed()
		gained, missed = gained-reference, missed-inline
		t.Logf("%v frames by reference, %v inline", gained, missed)
		if gained < 120 || missed > 0 {
			return fmt.Sprintf("%v frames went by reference, %v inline", gained, missed)
		}
		for i, id := range ids {
			if n := s.ask(id, followed) - before[i]; n < 10 {
				return fmt.Sprintf("the encoder %s got %v frames by reference", host(id), n)
			}
		}
		return ""
	})
	said := s.examined("raw frames of cam0")
	require.Equal(t, doctor.OK, said.State)
	require.Equal(t, "by reference to 3 of 3 encoders", said.Text)
	stayConnected(t, ws)
	s.addsUp()
	s.up("--scale", "encoder=1", "gateway")
}

// TestComposeWithTooLittleSharedMemory has room for no picture, or is told to have none: every frame comes inline.
func TestComposeWithTooLittleSharedMemory(t *testing.T) {
	for setting, lines := range map[string]int{"FRAMEBUS_SHM_SIZE=1m": 1, "FRAMEBUS_SHM=off": 0} {
		t.Run(setting, func(t *testing.T) {
			s := newStack(t, nil, setting, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=", "PYROSCOPE_SERVER_ADDRESS=")
			s.up("gateway")
			ws := watchers(t, 1, client.Config{URL: s.ws("stream=cam0")})
			ws[0].waitFrames(60)
			reference, inline := s.handed()
			require.Zero(t, reference)
			require.NotZero(t, inline)
			said := s.examined("raw frames of cam0")
			require.Equal(t, doctor.OK, said.State)
			require.Contains(t, said.Text, "inline")
			require.Contains(t, said.Hint, "FRAMEBUS_SHM")
			log := s.compose("logs", "--no-color", "capture")
			require.Equal(t, lines, strings.Count(log, "no space left on device"), log)
			s.addsUp()
		})
	}
}
