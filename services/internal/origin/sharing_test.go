package origin

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/natsd"
	"github.com/framebus/framebus/services/internal/shm"
	"github.com/framebus/framebus/services/internal/shm/shmtest"
	"github.com/framebus/framebus/services/internal/span"
	"github.com/framebus/framebus/services/internal/telemetry/logtest"
	"github.com/framebus/framebus/services/internal/telemetry/spantest"
	"github.com/stretchr/testify/require"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// TestEachGetsTheFrameAsItCan: one encoder has mapped the region, another cannot, and a raw reader never does.
func TestEachGetsTheFrameAsItCan(t *testing.T) {
	h := buildSharing(t, Config{}, nil)
	r := h.told(t)
	require.Equal(t, []string{r.GetFile()}, regionsIn(t, h.path))
	require.EqualValues(t, usualSlots, r.GetSlots())
	shares, not := h.encoder(t, "enc-a", 2, true), h.encoder(t, "enc-b", 2, false)
	var copies atomic.Uint64
	var bad atomic.Pointer[error]
	_, err := h.reader.bus.Data.Subscribe(subject.Raw(subject.Cam, stream, subject.Reader), func(m bus.Msg) {
		head, payload, err := frame.Parse(m.Data)
		var v byte
		if err == nil && head.Flags&frame.FlagReference == 0 {
			v, err = uniform(payload)
		}
		if err == nil {
			err = h.saw(frameID{head.Epoch, head.Sequence}, v)
		}
		if err != nil {
			bad.Store(&err)
		}
		copies.Add(1)
	})
	require.NoError(t, err)
	watch(t, h.reader, asks("gw", full(0)))
	watch(t, h.reader, rawAt("raw", 0))
	shares.moreReferences(t, 50)
	not.more(t, 50)
	require.Eventually(t, func() bool { return copies.Load() > 100 }, within, every)
	require.Nil(t, bad.Load())
	require.Zero(t, not.referred.Load())
	m, head, _ := shares.newest()
	require.Len(t, m.Data, frame.HeaderLen+frame.ReferenceLen)
	require.NotZero(t, head.Flags&frame.FlagReference)
	require.GreaterOrEqual(t, head.HopUs[frame.Published], int32(0))
	h.good(t)
	h.cam.stop() // what has arrived is booked
	require.GreaterOrEqual(t, h.cam.mem.handed[byReference], shares.referred.Load())
	require.GreaterOrEqual(t, h.cam.mem.handed[inline], not.frames.Load())
}

func TestATraceTellsWhichWayAFrameWent(t *testing.T) {
	rec, tracer := spantest.New(t)
	h := buildSharing(t, Config{}, func(d *Deps) {
		d.Tracer, d.Sample = tracer, func(time.Time) bool { return true }
	})
	h.told(t)
	shares, not := h.encoder(t, "enc-a", 1, true), h.encoder(t, "enc-b", 1, false)
	watch(t, h.reader, asks("gw", full(0)))
	shares.moreReferences(t, 3)
	not.more(t, 3)
	seen := map[bool]bool{}
	require.Eventually(t, func() bool {
		for _, s := range rec.Spans(sendName) {
			byReference := s.Attributes[span.ByReference].AsBool()
			seen[byReference] = true
			size := frame.HeaderLen + frame.PayloadSize(frame.I420, width, height)
			if byReference {
				size = frame.HeaderLen + frame.ReferenceLen
			}
			require.Equal(t, semconv.MessagingMessageBodySize(size).Value,
				s.Attributes[semconv.MessagingMessageBodySizeKey])
		}
		return len(seen) == 2
	}, within, every)
}

func TestWhereAllSlotsAreInUseFramesGoInline(t *testing.T) {
	h := buildSharing(t, Config{Slots: 2}, nil)
	h.told(t)
	a, b := h.encoder(t, "enc-a", 4, true), h.encoder(t, "enc-b", 4, true)
	a.works.Store(int64(7 * time.Millisecond))
	b.works.Store(int64(11 * time.Millisecond))
	watch(t, h.reader, asks("gw", full(0)))
	a.moreReferences(t, 30)
	b.moreReferences(t, 30)
	require.Eventually(t, func() bool {
		h.cam.mu.Lock()
		defer h.cam.mu.Unlock()
		return h.cam.mem.missed > 20 && h.cam.mem.handed[inline] > 20
	}, within, every)
	h.good(t)
}

// TestNoPictureIsTornWhateverEncodersDo: too few slots; encoders are slow, freeze, vanish and come back.
func TestNoPictureIsTornWhateverEncodersDo(t *testing.T) {
	h := buildSharing(t, Config{Slots: 4}, nil)
	h.told(t)
	steady, slow := h.encoder(t, "enc-a", 2, true), h.encoder(t, "enc-b", 2, true)
	steady.works.Store(int64(3 * time.Millisecond))
	watch(t, h.reader, asks("gw", full(0)))
	slow.moreReferences(t, 10)
	// Its frames' time is up long before it has read them: their slots are others' by then.
	slow.works.Store(int64(time.Second))
	require.Eventually(t, func() bool { return slow.overwritten.Load() > 0 }, within, every)
	slow.works.Store(0)
	slow.moreReferences(t, 10)
	h.cam.eventually(t, "overwritten", func(s *pb.StreamStatus) bool {
		balanced(t, s.GetBook())
		return s.GetBook().GetDone()["overwritten"] > 0
	})
	slow.frozen.Store(true) // it reads, and never answers
	unanswered := h.cam.StreamStatus().GetBook().GetUnanswered()
	h.cam.eventually(t, "unanswered", func(s *pb.StreamStatus) bool {
		balanced(t, s.GetBook())
		return s.GetBook().GetUnanswered() > unanswered
	})
	slow.frozen.Store(false)
	slow.moreReferences(t, 10)
	gone := h.encoder(t, "enc-c", 2, true)
	gone.works.Store(int64(20 * time.Millisecond))
	gone.moreReferences(t, 3)
	gone.leave()
	steady.moreReferences(t, 50)
	h.good(t)
}

func TestLargerFramesGetAnotherRegion(t *testing.T) {
	h := buildSharing(t, Config{}, nil)
	first := h.told(t)
	enc := h.encoder(t, "enc-a", 2, true)
	watch(t, h.reader, asks("gw", full(0)))
	enc.moreReferences(t, 10)
	h.cam.larger.Store(true)
	h.cam.eventually(t, "another region", func(s *pb.StreamStatus) bool {
		return !bytes.Equal(s.GetRegion().GetId(), first.GetId())
	})
	enc.moreReferences(t, 10)
	m, head, _ := enc.newest()
	require.EqualValues(t, 2*width, head.Width)
	ref, err := frame.ParseReference(&head, m.Data[frame.HeaderLen:])
	require.NoError(t, err)
	require.Equal(t, h.cam.StreamStatus().GetRegion().GetId(), ref.Region[:])
	require.Eventually(t, func() bool {
		h.cam.mu.Lock()
		defer h.cam.mu.Unlock()
		return len(h.cam.mem.old) == 0
	}, within, every, "the old one is kept")
	require.Equal(t, []string{h.cam.StreamStatus().GetRegion().GetFile()}, regionsIn(t, h.path))
	h.good(t)
}

func TestARegionThatIsRemovedOrCutIsReplaced(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"removed": os.Remove,
		"cut":     func(path string) error { return os.Truncate(path, 5000) },
		"emptied": func(path string) error { return os.Truncate(path, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			h := buildSharing(t, Config{}, nil)
			first := h.told(t)
			enc := h.encoder(t, "enc-a", 2, true)
			stop := watch(t, h.reader, asks("gw", full(0)))
			enc.moreReferences(t, 10)
			if name != "removed" { // whoever is at a picture as its file is cut gets a signal, and ends
				stop()
				h.cam.eventually(t, "demand outlives its reader", func(s *pb.StreamStatus) bool {
					return len(s.GetReaders()) == 0 && s.GetBook().GetOpen() == 0
				})
			}
			require.NoError(t, harm(filepath.Join(h.path, first.GetFile())))
			h.cam.eventually(t, "another region", func(s *pb.StreamStatus) bool {
				return s.GetRegion() != nil && !bytes.Equal(s.GetRegion().GetId(), first.GetId())
			})
			watch(t, h.reader, asks("gw", full(0)))
			enc.moreReferences(t, 10)
			h.good(t)
		})
	}
}

func TestTheRegionGoesWithItsOwner(t *testing.T) {
	h := buildSharing(t, Config{}, nil)
	h.told(t)
	enc := h.encoder(t, "enc-a", 2, true)
	watch(t, h.reader, asks("gw", full(0)))
	enc.moreReferences(t, 3)
	enc.frozen.Store(true) // its frames stay open
	enc.moreReferences(t, 1)
	h.cam.stop()
	require.Empty(t, regionsIn(t, h.path))
	require.Nil(t, h.cam.StreamStatus().GetRegion())
	require.Empty(t, h.cam.mem.loans)
	require.Empty(t, h.cam.mem.old)
	h.good(t)
}

func TestWhoStandsByHasNoRegion(t *testing.T) {
	h := buildSharing(t, Config{}, nil)
	first := h.told(t)
	enc := h.encoder(t, "enc-a", 2, true)
	watch(t, h.reader, asks("gw", full(0)))
	enc.moreReferences(t, 3)
	other := join(t, h.cfg, "capture", "cap-b")
	epoch := h.cam.StreamStatus().GetEpoch() + 1
	other.roster.SetFill(func(s *pb.Status) {
		s.Streams = []*pb.StreamStatus{{Name: stream, Owner: pb.Owner_OWNER_CAM, Epoch: epoch}}
	})
	h.cam.becomes(t, pb.StreamState_STREAM_STATE_STANDBY)
	require.Nil(t, h.cam.StreamStatus().GetRegion())
	require.Eventually(t, func() bool { return len(regionsIn(t, h.path)) == 0 }, within, every)
	other.roster.SetFill(nil)
	h.cam.becomes(t, pb.StreamState_STREAM_STATE_LIVE)
	require.NotEqual(t, first.GetId(), h.told(t).GetId())
	enc.moreReferences(t, 3)
	h.good(t)
}

func TestWithoutMemoryFramesGoInline(t *testing.T) {
	log := &logtest.Buffer{}
	h := buildSharing(t, Config{Slots: shm.MaxSlots + 1}, func(d *Deps) {
		d.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	})
	enc := h.encoder(t, "enc-a", 2, true)
	watch(t, h.reader, asks("gw", full(0)))
	enc.more(t, 50)
	require.Zero(t, enc.referred.Load())
	require.Nil(t, h.cam.StreamStatus().GetRegion())
	h.cam.stop()
	require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
	require.Contains(t, log.String(), "no shared memory: frames go through the bus")
	h.good(t)
}

// TestAPublishersPicturesGoByReference: nothing is known of their size before they come.
func TestAPublishersPicturesGoByReference(t *testing.T) {
	folder, path := shmtest.Folder(t)
	cfg := bus.Config{InProcess: startServer(t, natsd.Config{})}
	m := join(t, cfg, "gateway", "gw-a")
	h := &sharing{folder: folder, path: path, values: map[frameID]byte{}, house: house{cfg: cfg, member: m}}
	h.cam = film(t, m, Config{By: subject.Pub}, func(d *Deps) { d.Shm = folder })
	h.cam.jpegBytes.Store(100)
	h.cam.becomes(t, pb.StreamState_STREAM_STATE_LIVE)
	first := h.told(t)
	enc := h.encoder(t, "enc-a", 2, true)
	watch(t, join(t, cfg, "gateway", "gw"), asks("gw", full(0)))
	enc.moreReferences(t, 10)
	msg, head, _ := enc.newest()
	require.Equal(t, frame.JPEG, head.Format)
	ref, err := frame.ParseReference(&head, msg.Data[frame.HeaderLen:])
	require.NoError(t, err)
	require.EqualValues(t, 100, ref.Length)
	h.cam.jpegBytes.Store(3 * roomStep)
	h.cam.eventually(t, "a larger region", func(s *pb.StreamStatus) bool {
		return s.GetRegion().GetSize() >= 4*roomStep*usualSlots && !bytes.Equal(s.GetRegion().GetId(), first.GetId())
	})
	enc.moreReferences(t, 10)
	h.good(t)
}

// TestAnOversizedFrameGoesByReferenceAllTheSame: the bus would not take it.
func TestAnOversizedFrameGoesByReferenceAllTheSame(t *testing.T) {
	folder, path := shmtest.Folder(t)
	cfg := bus.Config{InProcess: startServer(t, natsd.Config{MaxPayload: 1000})}
	m := join(t, cfg, "capture", "cap-a")
	h := &sharing{folder: folder, path: path, values: map[frameID]byte{}, house: house{cfg: cfg, member: m}}
	h.cam = film(t, m, Config{}, func(d *Deps) { d.Shm = folder })
	h.cam.becomes(t, pb.StreamState_STREAM_STATE_LIVE)
	h.told(t)
	require.Empty(t, h.cam.StreamStatus().GetCause())
	enc := h.encoder(t, "enc-a", 2, true)
	watch(t, join(t, cfg, "gateway", "gw"), asks("gw", full(0)))
	enc.moreReferences(t, 10)
	require.Empty(t, h.cam.StreamStatus().GetCause())
	h.good(t)
}
