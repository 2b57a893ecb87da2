package origin

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/natsd"
	"github.com/stretchr/testify/require"
)

// house is a server with a camera, a reader who wants nothing yet, and encoders.
type house struct {
	cfg    bus.Config
	cam    *camera
	member *member
	reader *member
	coders []*coder
}

func build(t *testing.T, workers uint32, coders ...string) *house {
	t.Helper()
	h := &house{cfg: bus.Config{InProcess: startServer(t, natsd.Config{})}}
	h.member = join(t, h.cfg, "capture", "cap-a")
	h.reader = join(t, h.cfg, "gateway", "gw")
	h.cam = film(t, h.member, Config{Source: "pattern:"}, nil)
	for _, name := range coders {
		h.coders = append(h.coders, encodes(t, h.cfg, name, workers))
	}
	h.cam.becomes(t, pb.StreamState_STREAM_STATE_LIVE)
	return h
}

func TestDemandBringsFrames(t *testing.T) {
	h := build(t, 2, "enc-a")
	h.cam.eventually(t, "unwanted frames are counted", func(s *pb.StreamStatus) bool {
		return s.GetBook().GetUnwanted() > 20
	})
	require.Zero(t, h.coders[0].frames.Load(), "nobody asked")

	stop := watch(t, h.reader, asks("gw", full(0)))
	h.coders[0].more(t, 20)
	m, head, err := h.coders[0].newest()
	require.NoError(t, err)
	require.Equal(t, subject.Raw(subject.Cam, stream, "enc-a"), m.Subject)
	require.Equal(t, subject.Done(subject.Cam, stream), m.Reply)
	require.Equal(t, frame.I420, head.Format)
	require.Equal(t, []uint16{width, height}, []uint16{head.Width, head.Height})
	require.Equal(t, h.cam.StreamStatus().GetEpoch(), head.Epoch)
	require.InDelta(t, time.Now().UnixMicro(), head.CapturedUs, float64(within.Microseconds()))
	require.GreaterOrEqual(t, head.HopUs[frame.Published], int32(0))
	_, err = uniform(m.Data[frame.HeaderLen:])
	require.NoError(t, err, "the source's own pixels")

	s := h.cam.StreamStatus()
	require.Equal(t, pb.Owner_OWNER_CAM, s.GetOwner())
	require.Equal(t, "pattern:", s.GetSource())
	require.Equal(t, "gw", s.GetReaders()[0].GetReader())
	require.NotZero(t, s.GetReaders()[0].GetSentUs())
	require.NotZero(t, s.GetReaders()[0].GetReceivedUs())
	require.Equal(t, "enc-a", s.GetClocks()[0].GetInstance())
	require.Less(t, s.GetClocks()[0].GetOffsetUs(), within.Microseconds())

	stop()
	require.Eventually(t, func() bool {
		s := h.cam.StreamStatus()
		return len(s.GetReaders()) == 0 && s.GetBook().GetOpen() == 0
	}, within, every, "demand outlives its reader")
	b := h.cam.StreamStatus().GetBook()
	h.cam.eventually(t, "frames are unwanted again", func(s *pb.StreamStatus) bool {
		return s.GetBook().GetUnwanted() > b.GetUnwanted()+20
	})
	now := h.cam.StreamStatus().GetBook().GetPublished()
	require.LessOrEqual(t, now, b.GetPublished()+1, "but for one that waited as it ended")
}

func TestTheBookBalances(t *testing.T) {
	h := build(t, 1, "enc-a", "enc-b")
	watch(t, h.reader, asks("gw", full(0)))
	for range 20 {
		h.coders[0].more(t, 1)
		balanced(t, h.cam.StreamStatus().GetBook())
	}
	h.coders[0].frozen.Store(true) // some unanswered
	h.cam.eventually(t, "unanswered", func(s *pb.StreamStatus) bool {
		balanced(t, s.GetBook())
		return s.GetBook().GetUnanswered() > 0
	})
	h.coders[1].leave() // some refused
	h.cam.eventually(t, "no_encoder", func(s *pb.StreamStatus) bool {
		balanced(t, s.GetBook())
		return s.GetBook().GetDropped()["no_encoder"] > 20
	})
	h.cam.stop()
	b := h.cam.StreamStatus().GetBook()
	balanced(t, b)
	require.Zero(t, b.GetOpen(), "a closed book has nothing open")
	require.Equal(t, h.cam.StreamStatus().GetSequence(), b.GetCaptured(), "every frame is in it")
	require.Positive(t, b.GetDone()["encoded"])
	require.LessOrEqual(t, b.GetCaptured(), h.cam.offered.Load())
}

func TestRawReadersAndTheirRate(t *testing.T) {
	h := build(t, 1, "enc-a")
	var copies atomic.Uint64
	var bad atomic.Bool
	_, err := h.reader.bus.Data.Subscribe(subject.Raw(subject.Cam, stream, subject.Reader), func(m bus.Msg) {
		head, payload, err := frame.Parse(m.Data)
		if err != nil || m.Reply != "" || len(payload) != frame.PayloadSize(frame.I420, width, height) ||
			head.HopUs[frame.Published] == frame.NotSet {
			bad.Store(true)
		}
		copies.Add(1)
	})
	require.NoError(t, err)
	watch(t, h.reader, rawAt("raw", 20))
	require.Eventually(t, func() bool { return copies.Load() > 40 }, within, every)
	require.False(t, bad.Load())
	require.Zero(t, h.coders[0].frames.Load(), "no encoder has anything to do with it")
	b := h.cam.StreamStatus().GetBook()
	balanced(t, b)
	require.Zero(t, b.GetPublished())
	require.Less(t, 2*copies.Load(), b.GetUnwanted(), "thinned from 200 to 20 frames a second")
}

func TestAnEncoderThatVanishesLosesNoFrame(t *testing.T) {
	h := build(t, 1, "enc-a", "enc-b")
	watch(t, h.reader, asks("gw", full(0)))
	h.coders[0].more(t, 5)
	h.coders[1].more(t, 5)
	// Its data connection ends, while its Status still counts: the server tells that nobody listens.
	h.coders[1].leave()
	h.coders[0].more(t, 100)
	b := h.cam.StreamStatus().GetBook()
	balanced(t, b)
	require.Less(t, b.GetUnanswered(), uint64(20), "frames go to the other")
}

// byHand is an owner on a real bus whose loop the test turns itself, with two encoders that do not exist.
func byHand(t *testing.T, wall func() time.Time) (o *Origin, shoot func()) {
	t.Helper()
	cfg := bus.Config{InProcess: startServer(t, natsd.Config{})}
	m := join(t, cfg, "capture", "cap-a")
	require.Eventually(t, func() bool { up, _ := m.bus.Up(); return up }, within, every)
	o = New(Config{Stream: stream, By: subject.Cam}, Deps{Bus: m.bus, Roster: m.roster, Log: quiet, Wall: wall})
	o.follow(time.Now())
	o.claim.standing, o.claim.epoch, o.want.rungs, o.acct = owner, 1, fullBit, newAccount(1, time.Now())
	for _, name := range []string{"enc-a", "enc-b"} {
		o.credit.hear(name, 1, 1, false, time.Now())
	}
	return o, func() {
		require.NotNil(t, o.Begin(time.Now(), width, height))
		o.Commit()
	}
}

func TestANewConnectionReturnsCreditAtOnce(t *testing.T) {
	o, shoot := byHand(t, nil)
	shoot()
	o.serve()
	o.follow(time.Now())
	require.EqualValues(t, 1, o.StreamStatus().GetBook().GetOpen(), "it is still the same connection")
	o.dataSince = o.dataSince.Add(-time.Second)
	o.follow(time.Now())
	b := o.StreamStatus().GetBook()
	balanced(t, b)
	require.Equal(t, []uint64{1, 1, 0}, []uint64{b.GetPublished(), b.GetUnanswered(), b.GetOpen()})
}

func TestTheEndClosesTheBook(t *testing.T) {
	o, shoot := byHand(t, nil)
	shoot()
	o.serve() // open: the encoder does not exist
	shoot()
	tick := time.NewTicker(look)
	defer tick.Stop()
	o.settle(tick)
	b := o.StreamStatus().GetBook()
	balanced(t, b)
	require.Equal(t, []uint64{2, 1, 1, 0, 1}, []uint64{
		b.GetCaptured(), b.GetPublished(), b.GetUnanswered(), b.GetOpen(), b.GetDropped()["ended"],
	})
	require.Nil(t, o.Begin(time.Now(), width, height), "nothing more is taken")
}

func TestANewEpochBeginsANewBook(t *testing.T) {
	var step time.Duration
	o, shoot := byHand(t, func() time.Time { return time.Now().Add(step) })
	shoot()
	o.serve()
	shoot()
	step = time.Hour
	require.True(t, o.decide(time.Now()))
	s := o.StreamStatus()
	require.Greater(t, s.GetEpoch(), uint64(1))
	require.Zero(t, s.GetSequence())
	require.Zero(t, s.GetBook().GetCaptured())
	balanced(t, s.GetBook())
	require.Len(t, s.GetEnded(), 1)
	old := s.GetEnded()[0]
	balanced(t, old.GetBook())
	require.Equal(t, []uint64{1, 2, 2, 1, 1, 1}, []uint64{
		old.GetEpoch(), old.GetSequence(), old.GetBook().GetCaptured(), old.GetBook().GetPublished(),
		old.GetBook().GetOpen(), old.GetBook().GetDropped()["ended"],
	}, "the old one is told of")
	shoot()
	o.serve()
	require.True(t, o.credit.holds("enc-b", frameID{s.GetEpoch(), 1}), "the old epoch's frame still has its encoder")
}

func TestARefusedFrameIsHandedOnUnlessANewerWaits(t *testing.T) {
	o, shoot := byHand(t, nil)
	shoot()
	o.serve()
	require.True(t, o.credit.holds("enc-a", frameID{1, 1}))
	o.hearNobody(subject.Raw(subject.Cam, stream, "enc-a"), time.Now())
	balanced(t, o.StreamStatus().GetBook())
	o.serve()
	require.True(t, o.credit.holds("enc-b", frameID{1, 1}), "handed on")
	b := o.StreamStatus().GetBook()
	balanced(t, b)
	require.Equal(t, []uint64{1, 0, 1}, []uint64{b.GetPublished(), b.GetUnanswered(), b.GetOpen()})

	shoot() // a newer one waits
	o.hearNobody(subject.Raw(subject.Cam, stream, "enc-b"), time.Now())
	b = o.StreamStatus().GetBook()
	balanced(t, b)
	require.EqualValues(t, 1, b.GetUnanswered())
	o.hearNobody(subject.Raw(subject.Cam, "other", "enc-b"), time.Now())
	o.hearNobody("nonsense", time.Now())
	require.Equal(t, b.String(), o.StreamStatus().GetBook().String())
}

func TestAFrozenEncoderIsLeftAloneUntilItAnswers(t *testing.T) {
	h := build(t, 1, "enc-a", "enc-b")
	watch(t, h.reader, asks("gw", full(0)))
	frozen, other := h.coders[0], h.coders[1]
	frozen.more(t, 5)
	frozen.frozen.Store(true)
	h.cam.eventually(t, "its frame is given up", func(s *pb.StreamStatus) bool {
		return s.GetBook().GetUnanswered() > 0
	})
	require.Eventually(t, func() bool { return frozen.probes.Load() >= 1 }, within, every, "it is asked")
	got := frozen.frames.Load()
	require.Eventually(t, func() bool { return frozen.probes.Load() >= 2 }, within, every, "it is asked")
	other.more(t, 20)
	require.Equal(t, got, frozen.frames.Load(), "it gets probes only")
	frozen.frozen.Store(false)
	frozen.more(t, 5)
	balanced(t, h.cam.StreamStatus().GetBook())
}

func TestADrainingEncoderGetsNothing(t *testing.T) {
	h := build(t, 1, "enc-a", "enc-b")
	watch(t, h.reader, asks("gw", full(0)))
	h.coders[0].more(t, 5)
	h.coders[0].roster.Drain()
	require.Eventually(t, func() bool {
		before := h.coders[0].frames.Load()
		h.coders[1].more(t, 20)
		return h.coders[0].frames.Load() == before
	}, within, every)
}

func TestABusRestartLosesNoCredit(t *testing.T) {
	addr := freeAddr(t)
	server := startServer(t, natsd.Config{Listen: addr})
	cfg := bus.Config{URL: "nats://" + addr}
	m := join(t, cfg, "capture", "cap-a")
	cam := film(t, m, Config{}, nil)
	enc := encodes(t, cfg, "enc-a", 1)
	watch(t, join(t, cfg, "gateway", "gw"), asks("gw", full(0)))
	enc.more(t, 5)
	epoch := cam.StreamStatus().GetEpoch()

	enc.frozen.Store(true) // so that a frame is open as the bus goes
	cam.eventually(t, "a frame is open", func(s *pb.StreamStatus) bool {
		return s.GetBook().GetOpen()+s.GetBook().GetUnanswered() > 0
	})
	server.Close()
	require.Eventually(t, func() bool { up, _ := m.bus.Up(); return !up }, within, every)
	offered := cam.offered.Load()
	require.Eventually(t, func() bool { return cam.offered.Load() > offered+50 }, within, every, "the source goes on")
	balanced(t, cam.StreamStatus().GetBook())
	enc.frozen.Store(false)
	startServer(t, natsd.Config{Listen: addr})
	enc.more(t, 20)
	s := cam.StreamStatus()
	balanced(t, s.GetBook())
	require.Equal(t, epoch, s.GetEpoch(), "it stays the owner")
	require.Positive(t, s.GetBook().GetUnanswered())
}

func TestNothingBlocksWhileTheBusIsAway(t *testing.T) {
	cfg := bus.Config{URL: "nats://" + freeAddr(t)}
	cam := film(t, join(t, cfg, "capture", "cap-a"), Config{Always: true}, nil)
	require.Eventually(t, func() bool { return cam.offered.Load() > 100 }, within, every)
	require.Equal(t, pb.StreamState_STREAM_STATE_CLAIMING, cam.StreamStatus().GetState())
	cam.stop()
}

func TestFramesLargerThanTheBusTakesSayWhichSetting(t *testing.T) {
	cfg := bus.Config{InProcess: startServer(t, natsd.Config{MaxPayload: 1000})}
	cam := film(t, join(t, cfg, "capture", "cap-a"), Config{}, nil)
	cam.eventually(t, "told before anybody watches", func(s *pb.StreamStatus) bool {
		return s.GetState() == pb.StreamState_STREAM_STATE_LIVE && strings.Contains(s.GetCause(), "max_payload")
	})
	encodes(t, cfg, "enc-a", 1)
	watch(t, join(t, cfg, "gateway", "gw"), asks("gw", full(0)))
	cam.eventually(t, "dropped as too large", func(s *pb.StreamStatus) bool {
		balanced(t, s.GetBook())
		return s.GetBook().GetDropped()["too_large"] > 5
	})
	require.Contains(t, cam.StreamStatus().GetCause(), "max_payload")
}

func TestASecondOwnerStandsByAndTakesOver(t *testing.T) {
	for name, end := range map[string]func(h *house){
		"when the first drains": func(h *house) { h.cam.stop(); h.member.roster.Drain() },
		"when it is silent":     func(h *house) { h.member.leave(); h.cam.stop() },
	} {
		t.Run(name, func(t *testing.T) {
			h := build(t, 1, "enc-a")
			first := h.cam.StreamStatus()
			second := film(t, join(t, h.cfg, "capture", "cap-b"), Config{}, nil)
			second.becomes(t, pb.StreamState_STREAM_STATE_STANDBY)
			require.Contains(t, second.StreamStatus().GetCause(), "cap-a")
			require.Zero(t, second.StreamStatus().GetEpoch())
			watch(t, h.reader, asks("gw", full(0)))
			h.coders[0].more(t, 10)
			_, head, _ := h.coders[0].newest()
			require.Equal(t, first.GetEpoch(), head.Epoch)
			end(h)
			second.becomes(t, pb.StreamState_STREAM_STATE_LIVE)
			require.Greater(t, second.StreamStatus().GetEpoch(), first.GetEpoch())
			h.coders[0].more(t, 10)
		})
	}
}

func TestAnOwnerHeardBeforeTheClaimIsStoodByFor(t *testing.T) {
	h := build(t, 1)
	first := h.cam.StreamStatus()
	late := join(t, h.cfg, "gateway", "gw-b") // known to all for long when a client begins to publish
	require.Eventually(t, func() bool {
		for _, s := range late.roster.Live() {
			if len(s.GetStreams()) > 0 && s.GetStreams()[0].GetEpoch() == first.GetEpoch() {
				return true
			}
		}
		return false
	}, within, every)
	o := New(Config{Stream: stream, By: subject.Cam}, Deps{Bus: late.bus, Roster: late.roster, Log: quiet})
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	require.NoError(t, o.Run(ended))
	o.hear()
	require.True(t, o.claim.barred(), "whatever it hears from now on")
}

func TestOfTwoOwnersAfterAPartitionOneStays(t *testing.T) {
	h := build(t, 1)
	// A greater epoch, as from the other side of a partition.
	other := join(t, h.cfg, "capture", "cap-b")
	epoch := h.cam.StreamStatus().GetEpoch() + 1
	other.roster.SetFill(func(s *pb.Status) {
		s.Streams = []*pb.StreamStatus{{Name: stream, Owner: pb.Owner_OWNER_CAM, Epoch: epoch}}
	})
	h.cam.becomes(t, pb.StreamState_STREAM_STATE_STANDBY)
	closes(t, h.cam, epoch-1)
	other.roster.SetFill(nil)
	h.cam.becomes(t, pb.StreamState_STREAM_STATE_LIVE)
	require.Greater(t, h.cam.StreamStatus().GetEpoch(), epoch)
}

func TestASteppedClockBeginsANewEpoch(t *testing.T) {
	var step atomic.Int64
	cfg := bus.Config{InProcess: startServer(t, natsd.Config{})}
	cam := film(t, join(t, cfg, "capture", "cap-a"), Config{}, func(d *Deps) {
		d.Wall = func() time.Time { return time.Now().Add(time.Duration(step.Load())) }
	})
	enc := encodes(t, cfg, "enc-a", 1)
	watch(t, join(t, cfg, "gateway", "gw"), asks("gw", full(0)))
	enc.more(t, 5)
	old := cam.StreamStatus().GetEpoch()
	step.Store(int64(-time.Hour))
	cam.eventually(t, "a new epoch", func(s *pb.StreamStatus) bool { return s.GetEpoch() > old })
	require.Eventually(t, func() bool {
		_, head, _ := enc.newest()
		return head.Epoch > old && head.CapturedUs < time.Now().Add(-30*time.Minute).UnixMicro()
	}, within, every, "frames bear the new epoch and the new time")
	balanced(t, cam.StreamStatus().GetBook())
	enc.more(t, 10)
	closes(t, cam, old)
}

// closes waits until the book of an epoch that ended in mid-run is told of as closed.
func closes(t *testing.T, cam *camera, epoch uint64) {
	t.Helper()
	cam.eventually(t, "the old book is never closed", func(s *pb.StreamStatus) bool {
		for _, e := range s.GetEnded() {
			balanced(t, e.GetBook())
			if b := e.GetBook(); e.GetEpoch() == epoch && b.GetClosed() {
				require.Zero(t, b.GetOpen())
				require.Equal(t, e.GetSequence(), b.GetCaptured())
				require.Equal(t, e.GetSequence(), b.GetSettled())
				return true
			}
		}
		return false
	})
}

func TestAlwaysWantsTheStreamOfEncodersToo(t *testing.T) {
	cfg := bus.Config{InProcess: startServer(t, natsd.Config{})}
	film(t, join(t, cfg, "capture", "cap-a"), Config{Always: true}, nil)
	enc := encodes(t, cfg, "enc-a", 1)
	told := make(chan bus.Msg, 100)
	_, err := enc.bus.Control.Subscribe(subject.Feedback(stream), func(m bus.Msg) {
		select {
		case told <- m:
		default:
		}
	})
	require.NoError(t, err)
	enc.more(t, 10)
	f := &pb.Feedback{}
	require.Eventually(t, func() bool { return len(told) > 0 }, within, every)
	require.NoError(t, bus.Decode(<-told, f))
	require.Equal(t, pb.Rung_RUNG_FULL, f.GetRungs()[0].GetRung())
}

func TestASlateIsTold(t *testing.T) {
	h := build(t, 1)
	h.cam.State(false, "no frame for 5s", 1)
	s := h.cam.StreamStatus()
	require.Equal(t, pb.StreamState_STREAM_STATE_SLATE, s.GetState())
	require.Equal(t, "no frame for 5s", s.GetCause())
	require.EqualValues(t, 1, s.GetFps())
}

func TestAFrameAllocatesNothing(t *testing.T) {
	cfg := bus.Config{InProcess: startServer(t, natsd.Config{})}
	m := join(t, cfg, "capture", "cap-a")
	o := New(Config{Stream: stream, By: subject.Cam}, Deps{Bus: m.bus, Roster: m.roster, Log: quiet})
	require.Eventually(t, func() bool { up, _ := m.bus.Data.Up(); return up }, within, every)
	o.claim.standing, o.claim.epoch, o.want.rungs, o.acct = owner, 1, fullBit, newAccount(1, time.Now())
	at := time.Now()
	shoot := func() {
		at = at.Add(33 * time.Millisecond)
		require.Len(t, o.Begin(at, width, height), frame.PayloadSize(frame.I420, width, height))
		o.Commit()
	}
	for range pictures {
		shoot()
	}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		at = at.Add(33 * time.Millisecond)
		if o.Begin(at, width, height) == nil {
			t.Fatal("not wanted")
		}
		o.Commit()
	}))
	b := o.StreamStatus().GetBook()
	balanced(t, b)
	require.Equal(t, o.acct.sequence-1, b.GetDropped()["no_encoder"])

	require.NotNil(t, o.Begin(at, width, height)) // without a Commit
	require.NotNil(t, o.Begin(at, width, height))
	require.Equal(t, b.GetCaptured()+1, o.acct.sequence, "void")
	o.claim.epoch++ // the epoch ends before the picture is full
	o.Commit()
	o.Commit() // and one without a Begin
	require.Equal(t, b.GetCaptured()+1, o.acct.sequence, "void")
	o.claim.standing = standby
	require.Nil(t, o.Begin(at, width, height))
}
