package capture

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/natsd"
	"github.com/framebus/framebus/services/internal/presence"
	"github.com/framebus/framebus/services/internal/service"
	"github.com/framebus/framebus/services/internal/telemetry/logtest"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	within = 30 * time.Second
	every  = 5 * time.Millisecond
)

// said is what the service wrote and told.
type said struct {
	log logtest.Buffer

	mu     sync.Mutex
	status *pb.Status
}

func (s *said) hear(st *pb.Status, _ time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.GetService() == "capture" {
		s.status = st
	}
}

func (s *said) told() *pb.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *said) stream(name string) *pb.StreamStatus {
	for _, st := range s.told().GetStreams() {
		if st.GetName() == name {
			return st
		}
	}
	return nil
}

// begin runs a capture service on a server of its own, beside an encoder that answers everything. frames gets the
// streams of the frames that came.
func begin(t *testing.T, sources string) (out *said, frames chan string, stop func()) {
	t.Helper()
	server, err := natsd.Start(natsd.Config{})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	out, frames = &said{}, make(chan string, 1000)

	log := slog.New(slog.DiscardHandler)
	b, err := bus.Open(bus.Config{InProcess: server}, bus.Deps{Log: log})
	require.NoError(t, err)
	t.Cleanup(b.Close)
	roster := presence.New(presence.Config{Service: "encoder", Instance: "enc", Run: 1}, presence.Deps{Bus: b, Log: log})
	roster.SetFill(func(s *pb.Status) { s.Encoder = &pb.EncoderStatus{Workers: 2} })
	t.Cleanup(roster.Watch(out.hear))
	_, err = b.Data.Subscribe(subject.RawFor("enc"), func(m bus.Msg) {
		h, _, err := frame.Parse(m.Data)
		_, stream, _, _ := subject.ParseRaw(m.Subject)
		if err != nil {
			stream = err.Error()
		}
		select {
		case frames <- stream:
		default:
		}
		_ = b.Data.Send(m.Reply, &pb.Done{
			Stream: stream, Epoch: h.Epoch, Sequence: h.Sequence, Encoder: "enc", Run: 1, Fate: pb.Fate_FATE_ENCODED,
		})
	})
	require.NoError(t, err)

	env, err := service.Open(context.Background(), "capture", service.Common{
		Instance: "cap", LogLevel: "debug", LogFormat: "text",
	}, service.Place{InProcess: server, LogTo: &out.log})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = roster.Run(ctx) })
	ended := make(chan error, 1)
	runCtx, end := context.WithCancel(ctx)
	running.Go(func() {
		ended <- env.Run(runCtx, func(ctx context.Context, d service.Deps) error {
			return Run(ctx, Settings{Sources: sources, Width: 64, Height: 48, FPS: 30}, Deps{Deps: d})
		})
		env.Close()
	})
	stop = sync.OnceFunc(func() {
		end()
		select {
		case err := <-ended:
			require.NoError(t, err)
		case <-time.After(within):
			t.Error("it does not end")
		}
	})
	t.Cleanup(func() { stop(); cancel(); running.Wait() })
	return out, frames, stop
}

func takes(t *testing.T, frames chan string, stream string, n int) {
	t.Helper()
	limit := time.After(within)
	for n > 0 {
		select {
		case s := <-frames:
			if s == stream {
				n--
			}
		case <-limit:
			t.Fatalf("no frames of %s", stream)
		}
	}
}

func TestABrokenSourceDisturbsNoOther(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never says a word
	require.NoError(t, err)
	defer silent.Close()
	out, frames, stop := begin(t, "good=pattern:?always=true,"+
		"bad=file:/nowhere/at/all.mp4?always=true,mute=rtsp://admin:hunter2@"+silent.Addr().String()+"/live?always=true")
	takes(t, frames, "good", 30)
	takes(t, frames, "bad", 1) // a slate
	require.Eventually(t, func() bool {
		return out.stream("bad").GetState() == pb.StreamState_STREAM_STATE_SLATE && out.stream("bad").GetCause() != "" &&
			out.stream("good").GetState() == pb.StreamState_STREAM_STATE_LIVE &&
			out.stream("mute").GetState() == pb.StreamState_STREAM_STATE_SLATE
	}, within, every)
	require.EqualValues(t, 64, out.stream("good").GetWidth())
	stop()
	require.NotContains(t, out.log.String()+out.told().String(), "hunter2")
	require.Contains(t, out.log.String(), "stream=mute")
}

func TestTheEndIsToldWithClosedBooks(t *testing.T) {
	out, frames, stop := begin(t, "cam0=pattern:?always=true")
	takes(t, frames, "cam0", 5)
	stop()
	require.Eventually(t, func() bool {
		s := out.stream("cam0")
		return out.told().GetDraining() && s.GetBook().GetOpen() == 0 && s.GetBook().GetPublished() >= 5
	}, within, every)
	b := out.stream("cam0").GetBook()
	require.Equal(t, b.GetPublished(), b.GetDone()["encoded"]+b.GetUnanswered())
}
