package standalone_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/standalone"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protojson"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	// patience is how long a loaded machine may take for anything.
	patience = 60 * time.Second
	look     = 20 * time.Millisecond
)

// up runs everything in this process and returns the gateway's address.
func up(t *testing.T, args ...string) string {
	t.Helper()
	var s standalone.Settings
	parser, err := kong.New(&s)
	require.NoError(t, err)
	_, err = parser.Parse(append([]string{"--listen=127.0.0.1:0", "--log-level=error"}, args...))
	require.NoError(t, err)
	require.NoError(t, s.Validate())
	ctx, cancel := context.WithCancel(context.Background())
	listening, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		ended <- standalone.Run(ctx, s, standalone.Deps{
			LogTo: io.Discard, OnListening: func(a net.Addr) { listening <- a },
		})
	}()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	select {
	case a := <-listening:
		return a.String()
	case err := <-ended:
		ended <- err
		require.NoError(t, err)
		return ""
	}
}

var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}

func get(t *testing.T, url string, into any) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, "application/json", resp.Header.Get("Content-Type"))
	require.NoError(t, json.NewDecoder(resp.Body).Decode(into))
	return resp.StatusCode
}

// watch connects a viewer once the stream is known.
func watch(t *testing.T, addr, query string, protocols ...string) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{Subprotocols: protocols, HandshakeTimeout: patience}
	var ws *websocket.Conn
	require.Eventually(t, func() bool {
		c, _, err := d.DialContext(t.Context(), "ws://"+addr+"/ws"+query, nil)
		ws = c
		return err == nil
	}, patience, look)
	t.Cleanup(func() { ws.Close() })
	require.NoError(t, ws.SetReadDeadline(time.Now().Add(patience)))
	return ws
}

// next reads until a picture or message fits.
func next(t *testing.T, ws *websocket.Conn, picture func(*frame.Header) bool, message func(*pb.ServerMessage) bool) {
	t.Helper()
	for {
		kind, b, err := ws.ReadMessage()
		require.NoError(t, err)
		if kind == websocket.BinaryMessage {
			h, _, err := frame.Parse(b)
			require.NoError(t, err)
			if picture != nil && picture(&h) {
				return
			}
			continue
		}
		m := &pb.ServerMessage{}
		require.NoError(t, protojson.Unmarshal(b, m))
		if message != nil && message(m) {
			return
		}
	}
}
