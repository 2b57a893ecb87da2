//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// wire speaks the protocol of NATS itself, so that it hears what the server says to every single line.
type wire struct {
	t *testing.T
	c net.Conn
	r *bufio.Reader
}

// dialBus connects; refused is what the server says against it.
func dialBus(t *testing.T, addr, user, password string) (w *wire, refused string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	w = &wire{t: t, c: c, r: bufio.NewReader(c)}
	info, err := w.r.ReadString('\n')
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(info, "INFO "), info)
	hello, err := json.Marshal(map[string]any{
		"verbose": false, "lang": "test", "version": "0", "protocol": 1, "user": user, "pass": password,
	})
	require.NoError(t, err)
	return w, w.ask("CONNECT " + string(hello))
}

// ask sends a line and returns the server's objection, empty for none.
func (w *wire) ask(line string) (refused string) {
	w.t.Helper()
	_, err := fmt.Fprintf(w.c, "%s\r\nPING\r\n", line)
	require.NoError(w.t, err)
	for {
		answer, err := w.r.ReadString('\n')
		if refused != "" && err != nil {
			return refused // it was said, and then hung up
		}
		require.NoError(w.t, err)
		switch {
		case strings.HasPrefix(answer, "-ERR "):
			refused = strings.TrimSpace(strings.TrimPrefix(answer, "-ERR "))
		case strings.HasPrefix(answer, "PONG"):
			return refused
		case strings.HasPrefix(answer, "PING"):
			_, err := fmt.Fprint(w.c, "PONG\r\n")
			require.NoError(w.t, err)
		}
	}
}

func TestEachUserOfTheBusMayDoItsOwnWorkOnly(t *testing.T) {
	t.Parallel()
	const ns = "framebus.v1."
	// What each may say and hear; whatever else is tried below must be refused.
	says := map[string]string{
		"capture": "raw.cam.door.enc raw.cam.door._ feedback.door status.capture.x",
		"encoder": "jpeg.door.full done.cam.door done.pub.door status.encoder.x",
		"gateway": "raw.pub.door.enc raw.pub.door._ feedback.door status.gateway.x",
		"reader":  "feedback.door",
		"site": "jpeg.door.full done.cam.door done.pub.door feedback.door status.capture.x status.encoder.x " +
			"status.gateway.x",
	}
	hears := map[string]string{
		"capture": "done.cam.door done.cam.* feedback.door feedback.* status.*.*",
		"encoder": "raw.cam.door.enc raw.pub.door.enc raw.*.*.enc raw.cam.door._ raw.pub.door._ raw.*.*.* " +
			"feedback.door feedback.* status.*.*",
		"gateway": "jpeg.door.full jpeg.*.* done.cam.door done.pub.door done.cam.* done.*.* feedback.door feedback.* " +
			"status.*.*",
		"reader": "jpeg.door.full jpeg.*.* raw.cam.door._ raw.pub.door._ status.*.*",
		"site": "jpeg.door.full jpeg.*.* done.cam.door done.pub.door done.cam.* done.*.* feedback.door feedback.* " +
			"status.*.*",
	}
	literal := "raw.cam.door.enc raw.pub.door.enc raw.cam.door._ raw.pub.door._ done.cam.door done.pub.door " +
		"jpeg.door.full feedback.door status.capture.x status.encoder.x status.gateway.x"
	patterns := literal + " raw.*.*.enc raw.*.*.* done.cam.* done.*.* jpeg.*.* feedback.* status.*.* >"
	foreign := []string{"_INBOX.x.1", "framebus.v2.jpeg.door.full", "other", "$SYS.REQ.SERVER.PING", "$JS.API.INFO"}

	bus := startBus(t, "nats.conf")
	for _, user := range busUsers {
		t.Run(user, func(t *testing.T) {
			w, refused := dialBus(t, bus.addr, user, busPassword(user))
			require.Empty(t, refused)
			try := func(verb, kind, full string, allowed bool) {
				t.Run(verb+" "+full, func(t *testing.T) {
					line := "SUB " + full + " 1"
					if verb == "publish" {
						line = "PUB " + full + " 0\r\n"
					}
					refused := w.ask(line)
					if allowed {
						require.Empty(t, refused)
					} else {
						require.Contains(t, refused, "Permissions Violation for "+kind+` to "`+full+`"`)
					}
				})
			}
			list := func(s string) map[string]bool {
				m := map[string]bool{}
				for _, one := range strings.Fields(s) {
					m[one] = true
				}
				return m
			}
			may := list(says[user])
			for _, s := range strings.Fields(literal) {
				try("publish", "Publish", ns+s, may[s])
			}
			may = list(hears[user])
			for _, s := range strings.Fields(patterns) {
				allowed := may[s] || strings.HasPrefix(s, "status.") && may["status.*.*"]
				try("subscribe", "Subscription", ns+s, allowed)
			}
			for _, s := range foreign {
				try("publish", "Publish", s, false)
				try("subscribe", "Subscription", s, false)
			}
			try("subscribe", "Subscription", ">", false)
		})
	}
}

func TestNobodyConnectsToTheBusWithoutCredentials(t *testing.T) {
	t.Parallel()
	bus := startBus(t, "nats.conf")
	for name, c := range map[string][2]string{
		"no user": {"", ""}, "no password": {"capture", ""}, "another's password": {"capture", busPassword("encoder")},
		"an unknown user": {"admin", busPassword("capture")},
	} {
		t.Run(name, func(t *testing.T) {
			_, refused := dialBus(t, bus.addr, c[0], c[1])
			require.Contains(t, refused, "Authorization Violation")
		})
	}
	t.Run("a service says so", func(t *testing.T) {
		run(t, binary(t, "encoder"), "--nats-url", bus.url()).waitPrinted("Authorization Violation")
	})
	t.Run("a service with another's user says what it may not", func(t *testing.T) {
		p := runEnv(t, as("gateway"), binary(t, "encoder"), "--nats-url", bus.url())
		p.waitPrinted("Permissions Violation for Subscription to")
		p.waitPrinted("Permissions Violation for Publish to")
	})
	t.Run("its health is told to anybody", func(t *testing.T) {
		var health struct{ Status string }
		bus.figures("healthz", &health)
		require.Equal(t, "ok", health.Status)
	})
	t.Run("a server whose passwords are missing does not start", func(t *testing.T) {
		s := newBus(t, "nats.conf", nil)
		s.env = nil
		s.launch()
		require.NotZero(t, s.waitExit())
		require.Contains(t, s.out.String(), "FRAMEBUS_NATS_CAPTURE_PASSWORD")
	})
}
