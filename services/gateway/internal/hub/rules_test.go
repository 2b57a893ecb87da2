package hub

import (
	"bytes"
	"image"
	"image/jpeg"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/gateway/internal/ledger"
	"github.com/framebus/framebus/services/gateway/internal/viewer"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/mailbox"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOfTwoOwnersTheRightOneCounts(t *testing.T) {
	cam := func(epoch uint64) *pb.StreamStatus {
		return &pb.StreamStatus{Owner: pb.Owner_OWNER_CAM, Epoch: epoch}
	}
	pub := func(epoch uint64) *pb.StreamStatus {
		return &pb.StreamStatus{Owner: pb.Owner_OWNER_PUB, Epoch: epoch}
	}
	for _, c := range []struct {
		name                          string
		greater, less                 *pb.StreamStatus
		greaterInstance, lessInstance string
	}{
		{"the greater epoch", cam(2), cam(1), "a", "b"},
		{"at one epoch the greater name", cam(1), cam(1), "b", "a"},
		{"a camera before a client that publishes", cam(1), pub(2), "a", "b"},
		{"of two that publish the greater epoch", pub(2), pub(1), "a", "b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.True(t, outranks(c.greater, c.greaterInstance, c.less, c.lessInstance))
			require.False(t, outranks(c.less, c.lessInstance, c.greater, c.greaterInstance))
		})
	}
	require.False(t, outranks(cam(1), "a", cam(1), "a"), "nobody outranks itself")
}

func TestDemandIsWhatTheMostWillingViewerWants(t *testing.T) {
	s := &stream{seats: map[*viewer.Viewer]*seat{}}
	require.False(t, s.wants(frame.Full))
	require.Equal(t, demand{}, s.demand())
	s.feeds[frame.Full] = &feed{}
	sit := func(tuning viewer.Tuning) *viewer.Viewer {
		v := new(viewer.Viewer)
		s.seats[v] = &seat{tuning: tuning}
		return v
	}
	full := func() (fps float64, viewers int) {
		d := s.demand()
		return d.fps[frame.Full], d.viewers[frame.Full]
	}
	sit(viewer.Tuning{MaxFPS: 99, Hidden: true})
	require.False(t, s.wants(frame.Full), "who looks away wants nothing")
	sit(viewer.Tuning{MaxFPS: 5})
	sit(viewer.Tuning{MaxFPS: 12})
	require.True(t, s.wants(frame.Full))
	fps, viewers := full()
	require.Equal(t, 12.0, fps)
	require.Equal(t, 2, viewers)
	everything := sit(viewer.Tuning{})
	fps, viewers = full()
	require.Zero(t, fps, "0 means all")
	require.Equal(t, 3, viewers)
	delete(s.seats, everything)
	s.snapshots = 1
	fps, viewers = full()
	require.Zero(t, fps, "a snapshot takes whichever is the next")
	require.Equal(t, 2, viewers, "and is no viewer")
	require.False(t, s.wants(frame.Half), "smaller rungs come with adaptation")
}

func TestViewersAreListedInTheOrderTheyCame(t *testing.T) {
	require.Negative(t, compareIDs("v9", "v10"))
	require.Negative(t, compareIDs("v10", "v11"))
	require.Positive(t, compareIDs("v100", "v99"))
	require.Zero(t, compareIDs("v7", "v7"))
}

// TestAPictureCostsFewAllocations bounds what the hub allocates a frame, however many watch: the picture that viewers
// share, and the channel that snapshots wait on. Counting and measuring it, by the real SDK, adds none.
func TestAPictureCostsFewAllocations(t *testing.T) {
	tel, _ := setUp(t)
	h := New(Deps{Meter: tel.Meter})
	f := &feed{h: h, stream: &stream{channel: 1, meters: h.meters.stream("cam0")}, arrived: make(chan struct{})}
	f.in, f.account = mailbox.NewQueue[arrival](feedBound), h.ledger.Stream("cam0", time.Now())
	answer := &pb.Done{Stream: "cam0", Epoch: 1, Fate: pb.Fate_FATE_ENCODED, Rungs: []pb.Rung{pb.Rung_RUNG_FULL}}
	done, err := proto.Marshal(answer)
	require.NoError(t, err)
	var picture bytes.Buffer
	require.NoError(t, jpeg.Encode(&picture, image.NewGray(image.Rect(0, 0, 64, 48)), nil))
	head := frame.NewHeader()
	head.Format, head.Quality, head.Width, head.Height = frame.JPEG, 80, 64, 48
	head.Epoch, head.PayloadLen = 1, uint32(picture.Len())
	msg := append(make([]byte, frame.HeaderLen), picture.Bytes()...)
	allocations := testing.AllocsPerRun(1000, func() {
		now := time.Now()
		head.Sequence++
		head.CapturedUs = now.UnixMicro()
		head.Put(msg)
		f.receive(bus.Msg{Data: msg})
		a, ok := f.in.TryTake()
		if !ok {
			t.Fatal("it was not received")
		}
		f.take(a)
		d, err := ledger.ParseDone(done)
		if err != nil {
			t.Fatal(err)
		}
		d.Sequence = head.Sequence
		f.account.Done(d, now)
	})
	require.Equal(t, head.Sequence, f.newest.Header.Sequence, "it was taken")
	require.LessOrEqual(t, allocations, 3.0)
}

func TestAChangeOfQualityHasAReason(t *testing.T) {
	for _, c := range []struct {
		before, now shownQuality
		why         string
	}{
		{shownQuality{0, 80}, shownQuality{0, 60}, "rate"},
		{shownQuality{0, 60}, shownQuality{0, 80}, "recovered"},
		{shownQuality{0, 40}, shownQuality{1, 80}, "rung"},
	} {
		require.Equal(t, c.why, c.now.since(c.before))
		require.NotEmpty(t, qualityWords[c.why])
	}
}
