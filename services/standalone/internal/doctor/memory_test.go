package doctor_test

import (
	"log/slog"
	"testing"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/natsd"
	"github.com/framebus/framebus/services/standalone/internal/doctor"
	"github.com/stretchr/testify/require"
)

// say keeps telling Status on the bus, as services do, until the test ends.
func say(t *testing.T, url string, all ...*pb.Status) {
	t.Helper()
	b, err := bus.Open(bus.Config{URL: url, Name: "test"}, bus.Deps{Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			for _, s := range all {
				_ = b.Control.Send(subject.Status(s.GetService(), s.GetInstance()), s) // not connected yet
			}
			select {
			case <-over:
				return
			case <-tick.C:
			}
		}
	}()
	t.Cleanup(func() {
		close(over)
		<-ended
		b.Close()
	})
}

func TestHowRawFramesGoIsSaid(t *testing.T) {
	s, err := natsd.Start(natsd.Config{Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	region := func(n byte) *pb.Region {
		return &pb.Region{Id: append(make([]byte, 15), n), File: "region", Size: 1 << 20, Slots: 12}
	}
	stream := func(name string, epoch uint64, r *pb.Region) *pb.StreamStatus {
		return &pb.StreamStatus{Name: name, Epoch: epoch, Region: r, State: pb.StreamState_STREAM_STATE_LIVE}
	}
	encoder := func(name string, mapped ...*pb.Region) *pb.Status {
		e := &pb.EncoderStatus{}
		for _, r := range mapped {
			e.Mapped = append(e.Mapped, r.GetId())
		}
		return &pb.Status{Service: "encoder", Instance: name, Encoder: e}
	}
	leaving := encoder("c")
	leaving.Draining = true
	say(t, s.URL(),
		&pb.Status{Service: "capture", Instance: "one", Streams: []*pb.StreamStatus{
			stream("both", 2, region(1)), stream("one-of-two", 2, region(2)), stream("elsewhere", 2, region(3)),
			stream("bare", 2, nil), stream("standby", 0, nil),
		}},
		// Who owned it before is silent, but was heard.
		&pb.Status{Service: "capture", Instance: "two", Streams: []*pb.StreamStatus{stream("both", 1, region(9))}},
		encoder("a", region(1), region(2)), encoder("b", region(1)), leaving,
	)
	all := doctor.Look(t.Context(), doctor.Config{Bus: bus.Config{URL: s.URL()}})
	for stream, want := range map[string]string{
		"both":       "by reference to 2 of 2 encoders",
		"one-of-two": "by reference to 1 of 2 encoders, inline to b",
		"elsewhere":  "inline, through the bus: no encoder has mapped their memory",
		"bare":       "inline, through the bus: whoever brings it has no shared memory",
	} {
		f := of(t, all, "raw frames of "+stream)
		require.Equal(t, doctor.OK, f.State, "it is slower, not unwell")
		require.Equal(t, want, f.Text)
		if stream == "both" {
			require.Empty(t, f.Hint)
		} else {
			require.Contains(t, f.Hint, "FRAMEBUS_SHM")
		}
	}
	for _, f := range all {
		require.NotEqual(t, "raw frames of standby", f.Part, "nobody brings it")
	}
}
