package client_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/client"
)

// taker takes what is published: the gateway's side of /publish.
type taker struct {
	*httptest.Server
	refuse func(dial int64) int
	dials  atomic.Int64
	conns  chan *websocket.Conn
	seen   chan string // of the request: query, authorization
	got    chan []byte
	wait   sync.WaitGroup
}

func newTaker(t *testing.T) *taker {
	k := &taker{conns: make(chan *websocket.Conn, 16), seen: make(chan string, 16), got: make(chan []byte, 1024)}
	up := websocket.Upgrader{Subprotocols: []string{"framebus.v1"}}
	k.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.wait.Add(1)
		defer k.wait.Done()
		if n := k.dials.Add(1); k.refuse != nil && k.refuse(n) != 0 {
			http.Error(w, `{"error":"no"}`, k.refuse(n))
			return
		}
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		k.seen <- r.URL.RequestURI() + " " + r.Header.Get("Authorization")
		b, err := protojson.Marshal(&pb.ServerMessage{Message: &pb.ServerMessage_Stats{Stats: &pb.Stats{
			Sent: 7, Skipped: map[string]uint64{"rate": 2},
		}}})
		if err != nil || ws.WriteMessage(websocket.TextMessage, b) != nil {
			return
		}
		k.conns <- ws
		for {
			kind, b, err := ws.ReadMessage()
			if err != nil {
				return
			}
			if kind == websocket.BinaryMessage {
				k.got <- b
			}
		}
	}))
	t.Cleanup(func() {
		k.CloseClientConnections()
		k.Close()
		for len(k.conns) > 0 {
			(<-k.conns).Close()
		}
		k.wait.Wait()
	})
	return k
}

func publish(t *testing.T, cfg client.PublisherConfig) (*client.Publisher, func() error) {
	t.Helper()
	p, err := client.NewPublisher(cfg, client.PublisherDeps{})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	stop := sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = stop() })
	return p, stop
}

func within[T any](t *testing.T, from <-chan T, what string) (got T) {
	t.Helper()
	select {
	case got = <-from:
	case <-time.After(patience):
		require.FailNow(t, what)
	}
	return got
}

func TestAPublisherComesBackAndGoesOn(t *testing.T) {
	k := newTaker(t)
	p, stop := publish(t, client.PublisherConfig{URL: k.URL, Stream: "desk", Token: "secret", Delay: time.Millisecond})
	require.Equal(t, "/publish?stream=desk Bearer secret", within(t, k.seen, "nobody came"))
	p.Send(picture())
	require.Equal(t, picture(), within(t, k.got, "no picture came"))
	eventually(t, func() bool { s := p.Stats(); return s.Taken == 7 && s.Refused["rate"] == 2 }, "the gateway's word")

	within(t, k.conns, "").Close()
	within(t, k.seen, "it does not come back")
	p.Send(picture())
	within(t, k.got, "no picture after a reconnect")
	require.NoError(t, stop())
	s := p.Stats()
	require.EqualValues(t, 1, s.Reconnects)
	require.EqualValues(t, 2, s.Sent)
}

func TestTheNewestPictureIsPublished(t *testing.T) {
	k := newTaker(t)
	p, err := client.NewPublisher(client.PublisherConfig{URL: k.URL, Stream: "desk"}, client.PublisherDeps{})
	require.NoError(t, err)
	for i := range 5 {
		p.Send([]byte{byte(i)})
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	require.Equal(t, []byte{4}, within(t, k.got, "no picture came"))
	cancel()
	require.NoError(t, <-ended)
	require.EqualValues(t, 4, p.Stats().Superseded)
}

func TestAPublisherGivesUpWhereItMayNot(t *testing.T) {
	k := newTaker(t)
	k.refuse = func(int64) int { return http.StatusUnauthorized }
	p, err := client.NewPublisher(client.PublisherConfig{URL: k.URL, Stream: "desk"}, client.PublisherDeps{})
	require.NoError(t, err)
	var refused *client.ErrRefused
	require.ErrorAs(t, p.Run(context.Background()), &refused)

	k.refuse = func(int64) int { return http.StatusConflict } // may be free later
	p, err = client.NewPublisher(client.PublisherConfig{
		URL: k.URL, Stream: "desk", Attempts: 3, Delay: time.Millisecond}, client.PublisherDeps{})
	require.NoError(t, err)
	require.ErrorIs(t, p.Run(context.Background()), client.ErrGaveUp)

	_, err = client.NewPublisher(client.PublisherConfig{URL: "ftp://x", Stream: "No"}, client.PublisherDeps{})
	require.ErrorContains(t, err, "scheme")
	require.ErrorContains(t, err, "stream")
}
