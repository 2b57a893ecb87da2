package bus_test

import (
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/natsd"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

func server(t *testing.T, cfg natsd.Config) *natsd.Server {
	t.Helper()
	s, err := natsd.Start(cfg)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func open(t *testing.T, cfg bus.Config) *bus.Bus {
	t.Helper()
	b, err := bus.Open(cfg, bus.Deps{Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(b.Close)
	return b
}

func waitUp(t *testing.T, b *bus.Bus, want bool) {
	t.Helper()
	require.Eventually(t, func() bool { up, _ := b.Up(); return up == want }, patience, 5*time.Millisecond)
}

func TestMessagesPassWithTheirHeaders(t *testing.T) {
	s := server(t, natsd.Config{})
	b := open(t, bus.Config{InProcess: s, Name: "test"})
	waitUp(t, b, true)
	got := make(chan bus.Msg, 4)
	_, err := b.Data.Subscribe("a.*", func(m bus.Msg) { got <- m })
	require.NoError(t, err)
	require.NoError(t, b.Data.Publish(bus.Msg{Subject: "a.b", Reply: "r", Traceparent: "tp", Data: []byte("x")}))
	m := <-got
	require.Equal(t, bus.Msg{Subject: "a.b", Reply: "r", Traceparent: "tp", Data: []byte("x")}, m)

	require.NoError(t, b.Data.Send("a.c", &pb.Feedback{Stream: "cam0"}))
	var f pb.Feedback
	require.NoError(t, bus.Decode(<-got, &f))
	require.Equal(t, "cam0", f.GetStream())
	json := bus.Msg{ContentType: "application/json", Data: []byte(`{"stream":"door","unknown":1}`)}
	require.NoError(t, bus.Decode(json, &f))
	require.Equal(t, "door", f.GetStream())
	require.Error(t, bus.Decode(bus.Msg{Data: []byte("garbage")}, &f))
}

func TestNobodyListensIsTold(t *testing.T) {
	s := server(t, natsd.Config{})
	b := open(t, bus.Config{InProcess: s})
	waitUp(t, b, true)
	got := make(chan bus.Msg, 4)
	_, err := b.Data.Subscribe("done", func(m bus.Msg) { got <- m })
	require.NoError(t, err)
	require.NoError(t, b.Data.Publish(bus.Msg{Subject: "raw.enc", Reply: "done", Data: []byte("x")}))
	m := <-got
	require.True(t, m.NoResponders)
	require.Equal(t, "raw.enc", m.Nobody)
}

func TestTooLargeSaysWhichSetting(t *testing.T) {
	s := server(t, natsd.Config{MaxPayload: 1000})
	b := open(t, bus.Config{InProcess: s})
	waitUp(t, b, true)
	err := b.Data.Publish(bus.Msg{Subject: "a", Data: make([]byte, 1001)})
	require.ErrorIs(t, err, bus.ErrTooLarge)
	require.ErrorContains(t, err, "max_payload")
}

func TestTheServerMayComeLaterAndComeBack(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	b := open(t, bus.Config{URL: "nats://" + addr})
	var ups atomic.Int32
	defer b.Data.Watch(func(up bool) {
		if up {
			ups.Add(1)
		}
	})()
	require.ErrorIs(t, b.Data.Publish(bus.Msg{Subject: "a"}), bus.ErrDisconnected)
	got := make(chan bus.Msg, 100)
	_, err = b.Data.Subscribe("a", func(m bus.Msg) { got <- m })
	require.NoError(t, err)
	for round := range 2 {
		s, err := natsd.Start(natsd.Config{Listen: addr})
		require.NoError(t, err)
		waitUp(t, b, true)
		require.NoError(t, b.Data.Publish(bus.Msg{Subject: "a", Data: []byte{byte(round)}}))
		require.Equal(t, []byte{byte(round)}, (<-got).Data)
		s.Close()
		require.Eventually(t, func() bool {
			return errors.Is(b.Data.Publish(bus.Msg{Subject: "a"}), bus.ErrDisconnected)
		}, patience, 5*time.Millisecond)
		waitUp(t, b, false)
	}
	require.EqualValues(t, 2, ups.Load())
}

func TestHowLongTheBusHasBeenThereOutlivesASetClock(t *testing.T) {
	b := open(t, bus.Config{InProcess: server(t, natsd.Config{})})
	waitUp(t, b, true)
	_, since := b.Up()
	// What has no monotonic reading is compared by the wall clock: set back an hour, nobody would count as gone for one.
	require.Contains(t, since.String(), " m=+")
}

func TestABadURLIsRefusedWithoutItsPassword(t *testing.T) {
	for _, u := range []string{"", "http://x", "nats://", "nats://user:geheim@host:port:x"} {
		_, err := bus.Open(bus.Config{URL: u}, bus.Deps{Log: slog.New(slog.DiscardHandler)})
		require.Error(t, err, u)
		require.NotContains(t, err.Error(), "geheim")
	}
}
