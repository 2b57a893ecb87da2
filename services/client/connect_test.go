package client_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/client"
)

const quick = time.Millisecond // between attempts

// states keeps what OnState told.
type states struct {
	mu  sync.Mutex
	all []client.State
}

func (s *states) add(state client.State) {
	s.mu.Lock()
	s.all = append(s.all, state)
	s.mu.Unlock()
}

func (s *states) of(p client.Phase) (out []client.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, state := range s.all {
		if state.Phase == p {
			out = append(out, state)
		}
	}
	return out
}

func TestSettingsAreCheckedAtOnce(t *testing.T) {
	_, err := client.New(client.Config{
		URL: "ftp://host", Stream: "Not A Name", Rung: "third", Mode: "fast", MaxFPS: -1, Also: []string{"x"},
		Format: client.Bare,
	}, client.Deps{})
	for _, words := range []string{"scheme", "Not A Name", "third", "fast", "negative", "framebus.v1"} {
		require.ErrorContains(t, err, words)
	}
	for _, url := range []string{"", "http://", "http://[::1", "http://host:port"} {
		_, err := client.New(client.Config{URL: url}, client.Deps{})
		require.Error(t, err, url)
	}
	_, err = client.New(client.Config{URL: "http://u:secret@host:port"}, client.Deps{})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "secret")
}

func TestTheHandshakeAsksForWhatIsConfigured(t *testing.T) {
	g := newGateway(t)
	u := "http://me:pass@" + g.Listener.Addr().String() + "/prefix/?token=x"
	watch(t, client.Config{
		URL: u, Stream: "cam1", Rung: "half", Mode: "smooth", MaxFPS: 12.5, Header: http.Header{"x-mine": {"1"}},
	}, client.Deps{})
	r := g.viewer(t).request
	require.Equal(t, "/prefix/ws", r.URL.Path)
	q := r.URL.Query()
	require.Equal(t, []string{"cam1", "half", "smooth", "12.5", "x"},
		[]string{q.Get("stream"), q.Get("rung"), q.Get("mode"), q.Get("max_fps"), q.Get("token")})
	user, pass, _ := r.BasicAuth()
	require.Equal(t, []string{"me", "pass", "1"}, []string{user, pass, r.Header.Get("X-Mine")})
}

func TestTLS(t *testing.T) {
	g := newGateway(t)
	s := httptest.NewTLSServer(g.Config.Handler)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	watch(t, client.Config{URL: s.URL, TLS: &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}}}, client.Deps{})
	g.viewer(t)
}

func refuse(status int, line string) func(int, http.ResponseWriter, *http.Request) bool {
	return func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, line)
		return true
	}
}

func TestARefusalIsToldInTheGatewaysWords(t *testing.T) {
	for name, c := range map[string]struct{ line, want string }{
		"error and hint": {`{"error":"gateway full","hint":"raise FRAMEBUS_MAX_CLIENTS"}`,
			"gateway full. raise FRAMEBUS_MAX_CLIENTS"},
		"message":     {`{"message":"wait"}`, "wait"},
		"not JSON":    {"<h1>Bad Gateway</h1>\n", "<h1>Bad Gateway</h1>"},
		"nothing":     {"", "no reason given"},
		"JSON string": {`"no"`, `"no"`},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, func(g *gateway) { g.refuse = refuse(503, c.line) })
			err := run(t, client.Config{URL: g.URL, Attempts: 2, Delay: quick}, client.Deps{})
			var refused *client.ErrRefused
			require.ErrorAs(t, err, &refused)
			require.ErrorIs(t, err, client.ErrGaveUp)
			require.Equal(t, 503, refused.Status)
			require.Equal(t, c.want, refused.Reason)
			require.EqualValues(t, 2, g.dials.Load())
		})
	}
}

func TestARefusalThatStaysIsFinal(t *testing.T) {
	for _, status := range []int{400, 401, 403, 501} {
		g := newGateway(t, func(g *gateway) { g.refuse = refuse(status, `{"error":"no"}`) })
		err := run(t, client.Config{URL: g.URL, Delay: quick}, client.Deps{})
		var refused *client.ErrRefused
		require.ErrorAs(t, err, &refused)
		require.Equal(t, status, refused.Status)
		require.EqualValues(t, 1, g.dials.Load())
	}
}

func TestAStreamThatIsNotThereMayComeLater(t *testing.T) {
	var seen states
	g := newGateway(t, func(g *gateway) {
		g.refuse = func(dial int, w http.ResponseWriter, r *http.Request) bool {
			return dial < 4 && refuse(404, `{"error":"unknown stream"}`)(dial, w, r)
		}
	})
	v, _ := watch(t, client.Config{URL: g.URL, Attempts: 4, Delay: quick}, client.Deps{OnState: seen.add})
	g.viewer(t).picture(1, 1, 1)
	eventually(t, func() bool { return v.Stats().Frames == 1 }, "no frame")
	require.Zero(t, v.Stats().Reconnects)
	waits := seen.of(client.Waiting)
	require.Len(t, waits, 3)
	require.Equal(t, 3, waits[2].Attempt)
	require.Equal(t, quick, waits[2].Wait)
	require.ErrorContains(t, waits[2].Err, "unknown stream")
}

func TestAfterItWasConnectedNothingIsFinal(t *testing.T) {
	g := newGateway(t, func(g *gateway) {
		g.refuse = func(dial int, w http.ResponseWriter, r *http.Request) bool {
			return dial == 2 && refuse(401, "")(dial, w, r)
		}
	})
	v, _ := watch(t, client.Config{URL: g.URL, Delay: quick}, client.Deps{})
	p := g.viewer(t)
	eventually(t, func() bool { return v.Stats().Viewer == "v1" }, "no hello")
	p.drop()
	g.viewer(t)
	require.EqualValues(t, 3, g.dials.Load())
}

func TestReconnectsAreCounted(t *testing.T) {
	g := newGateway(t)
	v, stop := watch(t, client.Config{URL: g.URL, Attempts: 2, Delay: quick}, client.Deps{})
	const times = 5
	for i := range times {
		p := g.viewer(t)
		p.picture(1, 7, uint64(10*i+1))
		p.picture(1, 7, uint64(10*i+3))
		eventually(t, func() bool { return v.Stats().Frames == uint64(2*i+2) }, "no frames on connection %d", i)
		p.drop()
	}
	g.viewer(t)
	eventually(t, func() bool { s := v.Stats(); return s.Connected && s.Reconnects == times }, "not back")
	s := v.Stats()
	require.EqualValues(t, times, s.Missed, "one on each connection")
	require.EqualValues(t, 7*(times-1), s.MissedAway)
	require.NoError(t, stop())
	require.False(t, v.Stats().Connected)
	require.Equal(t, client.Ended, v.State().Phase)
}

func TestAttemptsInARowAreLimited(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	l.Close()
	var seen states
	err = run(t, client.Config{URL: addr, Attempts: 5, Delay: 2 * quick}, client.Deps{OnState: seen.add})
	require.ErrorIs(t, err, client.ErrGaveUp)
	require.ErrorContains(t, err, addr)
	require.Len(t, seen.of(client.Connecting), 5)
	waits := seen.of(client.Waiting)
	require.Len(t, waits, 4)
	for _, w := range waits {
		require.Equal(t, 2*quick, w.Wait)
	}
	require.ErrorIs(t, seen.of(client.Ended)[0].Err, client.ErrGaveUp)
}

func TestTheBackOffGrowsAndIsBounded(t *testing.T) {
	var seen states
	g := newGateway(t, func(g *gateway) { g.refuse = refuse(404, "") })
	watch(t, client.Config{URL: g.URL}, client.Deps{OnState: seen.add})
	eventually(t, func() bool { return len(seen.of(client.Waiting)) >= 4 }, "no attempts")
	waits := seen.of(client.Waiting)
	require.Less(t, waits[0].Wait, 200*time.Millisecond)
	require.Greater(t, waits[3].Wait, 500*time.Millisecond)
	require.LessOrEqual(t, waits[3].Wait, 2*time.Second)
}

func TestAGatewaysWaitIsRespected(t *testing.T) {
	var seen states
	g := newGateway(t, func(g *gateway) {
		g.refuse = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
	})
	watch(t, client.Config{URL: g.URL}, client.Deps{OnState: seen.add})
	eventually(t, func() bool { return len(seen.of(client.Waiting)) == 1 }, "no attempt")
	require.Equal(t, 5*time.Second, seen.of(client.Waiting)[0].Wait, "within reason")
}

func TestAGoodbyeThatMeansIt(t *testing.T) {
	var seen states
	g := newGateway(t)
	watch(t, client.Config{URL: g.URL}, client.Deps{OnState: seen.add})
	p := g.viewer(t)
	p.control(&pb.ServerMessage{Message: &pb.ServerMessage_Bye{Bye: &pb.Bye{Reason: "you talk too much"}}})
	p.write(websocket.CloseMessage, websocket.FormatCloseMessage(1008, ""))
	eventually(t, func() bool { return len(seen.of(client.Waiting)) == 1 }, "not waiting")
	w := seen.of(client.Waiting)[0]
	var bye *client.ErrBye
	require.ErrorAs(t, w.Err, &bye)
	require.Equal(t, "you talk too much", bye.Reason)
	require.Equal(t, 10*time.Second, w.Wait)
}

func TestASilentConnectionIsGivenUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	up := websocket.Upgrader{Subprotocols: []string{"framebus.v1"}}
	held := make(chan *websocket.Conn, 64)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := up.Upgrade(w, r, nil); err == nil {
			held <- c // connected, and nothing passes
		}
	})}
	done := make(chan struct{})
	go func() { _ = s.Serve(l); close(done) }()
	v, stop := watch(t, client.Config{URL: l.Addr().String(), Delay: quick, Silence: 200 * time.Millisecond},
		client.Deps{})
	eventually(t, func() bool { return v.Stats().Reconnects >= 2 }, "it waits for ever")
	require.NoError(t, stop())
	s.Close()
	<-done
	for len(held) > 0 {
		(<-held).Close()
	}
}

func TestAServerThatSpeaksSomethingElse(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := (&websocket.Upgrader{}).Upgrade(w, r, nil); err == nil {
			c.Close()
		}
	}))
	defer s.Close()
	err := run(t, client.Config{URL: s.URL, Attempts: 1}, client.Deps{})
	require.ErrorContains(t, err, "does not speak framebus.v1")
}

// The package's goleak and watch, which fails where Run does not return, do the asserting.
func TestTheContextEndsItAnywhere(t *testing.T) {
	t.Run("the peer accepts and says nothing", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		_, stop := watch(t, client.Config{URL: l.Addr().String()}, client.Deps{})
		c, err := l.Accept()
		require.NoError(t, err)
		defer c.Close()
		began := time.Now()
		require.NoError(t, stop())
		require.Less(t, time.Since(began), 4*time.Second, "it waited for the handshake to time out")
	})
	t.Run("waiting for an attempt", func(t *testing.T) {
		g := newGateway(t, func(g *gateway) { g.refuse = refuse(404, "") })
		v, stop := watch(t, client.Config{URL: g.URL, Delay: time.Hour}, client.Deps{})
		eventually(t, func() bool { return v.State().Phase == client.Waiting }, "not waiting")
		require.NoError(t, stop())
	})
	for name, every := range map[string]bool{"nobody takes the newest": false, "nobody takes any": true} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t)
			_, stop := watch(t, client.Config{URL: g.URL, Every: every, Queue: 1},
				client.Deps{Frames: make(chan *client.Frame)})
			p := g.viewer(t)
			for i := range 20 {
				p.picture(1, 1, uint64(i))
			}
			require.NoError(t, stop())
			select {
			case <-p.gone:
			case <-time.After(patience):
				require.Fail(t, "the connection is still there")
			}
		})
	}
	t.Run("it runs once", func(t *testing.T) {
		g := newGateway(t)
		v, stop := watch(t, client.Config{URL: g.URL}, client.Deps{})
		g.viewer(t)
		require.NoError(t, stop())
		require.Error(t, v.Run(t.Context()))
	})
}
