package encoder

import (
	"bytes"
	"context"
	"image"
	stdjpeg "image/jpeg"
	"io"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/natsd"
	"github.com/framebus/framebus/services/internal/service"
	"github.com/framebus/framebus/services/internal/shm"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	wait = 30 * time.Second
	look = 5 * time.Millisecond

	instance = "enc-1"
	parent   = "00-0102030405060708090a0b0c0d0e0f10-0102030405060708-01"
)

// rig is a running encoder on a real server, and a client that plays origin and reader.
type rig struct {
	t      *testing.T
	server *natsd.Server
	bus    *bus.Bus
	stop   func() // ends the encoder and waits for it
	env    *service.Env

	seq atomic.Uint64

	mu       sync.Mutex
	dones    map[uint64][]*pb.Done // by sequence
	pictures map[uint64][]bus.Msg  // by sequence
	status   map[string]*pb.Status // the newest, by instance
	refused  int                   // frames that nobody listened to
}

func start(t *testing.T, cfg Settings, slow func() time.Duration) *rig {
	t.Helper()
	r := startBus(t)
	r.env, r.stop = r.run(instance, cfg, Deps{Slow: slow}, io.Discard)
	return r
}

// startBus is the rig without an encoder.
func startBus(t *testing.T) *rig {
	t.Helper()
	s, err := natsd.Start(natsd.Config{})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	b, err := bus.Open(bus.Config{InProcess: s, Name: "test"}, bus.Deps{Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(b.Close)
	r := &rig{
		t: t, server: s, bus: b,
		dones: map[uint64][]*pb.Done{}, pictures: map[uint64][]bus.Msg{}, status: map[string]*pb.Status{},
	}
	r.listen()
	return r
}

// run starts an encoder and waits until it gets frames. Of d it takes Slow and Shm.
func (r *rig) run(name string, cfg Settings, d Deps, logTo io.Writer) (env *service.Env, stop func()) {
	t := r.t
	t.Helper()
	env, err := service.Open(context.Background(), "encoder", service.Common{
		Instance: name, LogLevel: "info", LogFormat: "text", Shm: shm.Settings{Folder: shm.Off},
	}, service.Place{InProcess: r.server, LogTo: logTo})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- env.Run(ctx, func(ctx context.Context, with service.Deps) error {
			with.Shm = d.Shm
			return Run(ctx, cfg, Deps{Deps: with, Slow: d.Slow})
		})
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
		env.Close()
	})
	t.Cleanup(stop)
	r.eventually(func() bool { return r.status[name].GetEncoder().GetWorkers() > 0 })
	// Status may be here before the subscription is known to the server: the two go by different connections.
	probes, answered := 0, false
	r.until(func() bool {
		probe := r.raw(frame.I420, 32, 16, nil)
		probe.to = name
		seq := r.send(probe)
		probes++
		r.eventually(func() bool { answered = len(r.dones[seq]) > 0; return answered || r.refused >= probes })
		return answered
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = 0
	return env, stop
}

func (r *rig) listen() {
	r.t.Helper()
	require.Eventually(r.t, func() bool { up, _ := r.bus.Up(); return up }, wait, look)
	on := func(c *bus.Conn, subject string, fn func(bus.Msg)) {
		_, err := c.Subscribe(subject, func(m bus.Msg) {
			r.mu.Lock()
			defer r.mu.Unlock()
			fn(m)
		})
		require.NoError(r.t, err)
	}
	on(r.bus.Data, subject.AllDone(), func(m bus.Msg) {
		d := &pb.Done{}
		if m.NoResponders {
			r.refused++
		} else if bus.Decode(m, d) == nil {
			r.dones[d.GetSequence()] = append(r.dones[d.GetSequence()], d)
		}
	})
	for rung := frame.Full; rung < frame.Rungs; rung++ {
		on(r.bus.Data, subject.JPEG("*", rung), func(m bus.Msg) {
			h, _, err := frame.Parse(m.Data)
			if err == nil {
				r.pictures[h.Sequence] = append(r.pictures[h.Sequence], m)
			}
		})
	}
	on(r.bus.Control, subject.AllStatus(), func(m bus.Msg) {
		s := &pb.Status{}
		if bus.Decode(m, s) == nil {
			r.status[s.GetInstance()] = s
		}
	})
}

func (r *rig) eventually(cond func() bool) {
	r.t.Helper()
	require.Eventually(r.t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return cond()
	}, wait, look)
}

// until repeats what itself waits for an answer, and may fail.
func (r *rig) until(what func() bool) {
	r.t.Helper()
	for end := time.Now().Add(wait); !what(); {
		require.True(r.t, time.Now().Before(end), "not in time")
	}
}

// raw is a frame as an origin sends it.
type raw struct {
	by      subject.By
	stream  string
	to      string // the encoder
	head    frame.Header
	payload []byte
	reply   string
}

func (r *rig) raw(format frame.Format, w, h int, payload []byte) *raw {
	head := frame.NewHeader()
	head.Format, head.Width, head.Height = format, uint16(w), uint16(h)
	head.Epoch, head.Sequence = 1, r.seq.Add(1)
	head.CapturedUs = time.Now().UnixMicro()
	head.TraceID[0], head.Flags = 1, frame.FlagSampled
	head.SetHop(frame.Published, time.Now())
	head.PayloadLen = uint32(len(payload))
	return &raw{
		by: subject.Cam, stream: "cam0", to: instance, head: head, payload: payload,
		reply: subject.Done(subject.Cam, "cam0"),
	}
}

func (r *rig) send(f *raw) uint64 {
	r.t.Helper()
	b := append(make([]byte, frame.HeaderLen), f.payload...)
	f.head.Put(b)
	require.NoError(r.t, r.bus.Data.Publish(bus.Msg{
		Subject: subject.Raw(f.by, f.stream, f.to), Reply: f.reply, Traceparent: parent, Data: b,
	}))
	return f.head.Sequence
}

func (r *rig) sendSmall() uint64 { return r.send(r.raw(frame.I420, 32, 16, scene(32, 16))) }

// done waits for a frame's Done.
func (r *rig) done(seq uint64) *pb.Done {
	r.t.Helper()
	var d *pb.Done
	refused := 0
	r.eventually(func() bool {
		if len(r.dones[seq]) > 0 {
			d = r.dones[seq][0]
		}
		refused = r.refused
		return d != nil || refused > 0
	})
	require.Zero(r.t, refused, "nobody listened")
	return d
}

func (r *rig) fate(seq uint64) pb.Fate { r.t.Helper(); return r.done(seq).GetFate() }

// picturesOf waits for a frame's JPEGs; there were as many as its Done says.
func (r *rig) picturesOf(seq uint64) []bus.Msg {
	r.t.Helper()
	n := len(r.done(seq).GetRungs())
	var got []bus.Msg
	r.eventually(func() bool { got = slices.Clone(r.pictures[seq]); return len(got) >= n })
	return got
}

// want keeps a demand for cam0 alive and returns once the encoder has heard it.
func (r *rig) want(rungs ...pb.Rung) {
	r.t.Helper()
	say := func(f *pb.Feedback) {
		// A bus that is gone is noticed by the tests themselves.
		_ = r.bus.Control.Send(subject.Feedback(f.GetStream()), f)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var keep sync.WaitGroup
	r.t.Cleanup(func() { cancel(); keep.Wait() })
	keep.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			say(feedback("keeper", "cam0", rungs...))
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	until := func(want []pb.Rung, also func()) {
		r.until(func() bool {
			also()
			return slices.Equal(want, r.done(r.sendSmall()).GetRungs())
		})
	}
	// What was heard shows only in a rung that nobody gets unasked.
	until([]pb.Rung{0, 1, 2}, func() {
		say(feedback("another", "cam0", pb.Rung_RUNG_FULL, pb.Rung_RUNG_HALF, pb.Rung_RUNG_QUARTER))
	})
	until(rungs, func() { say(feedback("another", "cam0")) })
}

// scene is an I420 picture with slopes in every plane.
func scene(w, h int) []byte {
	pix := make([]byte, 0, frame.PayloadSize(frame.I420, w, h))
	for y := range h {
		for x := range w {
			pix = append(pix, byte(128+60*math.Sin(float64(x)/40)+40*math.Cos(float64(y)/30)))
		}
	}
	for plane := range 2 {
		for y := range (h + 1) / 2 {
			for x := range (w + 1) / 2 {
				pix = append(pix, byte(128+20*math.Sin(float64(x+y+100*plane)/50)))
			}
		}
	}
	return pix
}

// luma decodes with Go's own decoder.
func luma(t *testing.T, jpeg []byte) (pix []byte, w, h int) {
	t.Helper()
	img, err := stdjpeg.Decode(bytes.NewReader(jpeg))
	require.NoError(t, err)
	ycc, ok := img.(*image.YCbCr)
	require.True(t, ok)
	w, h = ycc.Bounds().Dx(), ycc.Bounds().Dy()
	for y := range h {
		pix = append(pix, ycc.Y[y*ycc.YStride:][:w]...)
	}
	return pix, w, h
}

// alike holds every step-th pixel of a w-wide picture to a mean error.
func alike(t *testing.T, want, jpeg []byte, w, step int) {
	t.Helper()
	got, gw, gh := luma(t, jpeg)
	sum := 0.0
	for y := range gh {
		for x := range gw {
			sum += math.Abs(float64(want[y*step*w+x*step]) - float64(got[y*gw+x]))
		}
	}
	require.Less(t, sum/float64(gw*gh), 4.0)
}

func TestAFrameBecomesAJPEGAndOneDone(t *testing.T) {
	r := start(t, Settings{Quality: 80, QualityMin: 30}, nil)
	r.want(pb.Rung_RUNG_FULL)
	const w, h = 161, 121
	f := r.raw(frame.I420, w, h, scene(w, h))
	seq := r.send(f)
	pictures := r.picturesOf(seq)
	require.Len(t, pictures, 1)
	m := pictures[0]
	require.Equal(t, subject.JPEG("cam0", frame.Full), m.Subject)
	require.Equal(t, parent, m.Traceparent, "it passes what it does not trace itself")
	head, jpeg, err := frame.Parse(m.Data)
	require.NoError(t, err)
	require.Positive(t, head.HopUs[frame.Taken])
	require.GreaterOrEqual(t, head.HopUs[frame.Encoded], head.HopUs[frame.Taken])
	want := f.head
	want.Format, want.Quality, want.PayloadLen = frame.JPEG, 80, head.PayloadLen
	want.HopUs[frame.Taken], want.HopUs[frame.Encoded] = head.HopUs[frame.Taken], head.HopUs[frame.Encoded]
	require.Equal(t, want, head)
	alike(t, f.payload, jpeg, w, 1)

	d := r.done(seq)
	require.Equal(t, pb.Fate_FATE_ENCODED, d.GetFate())
	require.Equal(t, []pb.Rung{pb.Rung_RUNG_FULL}, d.GetRungs())
	require.Equal(t, []any{"cam0", uint64(1), instance}, []any{d.GetStream(), d.GetEpoch(), d.GetEncoder()})
	require.NotZero(t, d.GetRun())
	require.NotZero(t, d.GetTookUs())
	require.GreaterOrEqual(t, d.GetReceivedUs(), f.head.CapturedUs)
	require.GreaterOrEqual(t, d.GetSentUs(), d.GetReceivedUs()+int64(d.GetWaitedUs())+int64(d.GetTookUs())-1)
	r.done(r.sendSmall())
	require.Len(t, r.dones[seq], 1)
}

func TestSmallerRungsOnDemand(t *testing.T) {
	r := start(t, Settings{Quality: 80, QualityMin: 30}, nil)
	r.want(pb.Rung_RUNG_HALF, pb.Rung_RUNG_QUARTER)
	const w, h = 163, 121
	pix := scene(w, h)
	pictures := r.picturesOf(r.send(r.raw(frame.I420, w, h, pix)))
	require.Len(t, pictures, 2)
	for _, m := range pictures {
		head, jpeg, err := frame.Parse(m.Data)
		require.NoError(t, err)
		require.NotEqual(t, frame.Full, head.Rung)
		require.Equal(t, subject.JPEG("cam0", head.Rung), m.Subject)
		_, gw, gh := luma(t, jpeg)
		ww, wh := head.Rung.Size(w, h)
		require.Equal(t, []int{ww, wh, ww, wh}, []int{gw, gh, int(head.Width), int(head.Height)})
		alike(t, pix, jpeg, w, 1<<head.Rung)
	}
}

func TestBGRAndJPEGAreTakenToo(t *testing.T) {
	r := start(t, Settings{Quality: 90, QualityMin: 30}, nil)
	r.want(pb.Rung_RUNG_FULL)
	const w, h = 65, 49
	grey := scene(w, h)[:w*h]
	bgr := make([]byte, 0, 3*w*h)
	for _, v := range grey {
		bgr = append(bgr, v, v, v)
	}
	img := &image.YCbCr{
		Y: grey, Cb: bytes.Repeat([]byte{128}, 33*25), Cr: bytes.Repeat([]byte{128}, 33*25),
		YStride: w, CStride: 33, SubsampleRatio: image.YCbCrSubsampleRatio420, Rect: image.Rect(0, 0, w, h),
	}
	var jpeg bytes.Buffer
	require.NoError(t, stdjpeg.Encode(&jpeg, img, &stdjpeg.Options{Quality: 90}))
	check := func(seq uint64) {
		t.Helper()
		require.Equal(t, pb.Fate_FATE_ENCODED, r.fate(seq))
		for _, m := range r.picturesOf(seq) {
			head, out, err := frame.Parse(m.Data)
			require.NoError(t, err)
			require.Equal(t, frame.JPEG, head.Format)
			alike(t, grey, out, w, 1<<head.Rung)
		}
	}
	check(r.send(r.raw(frame.BGR24, w, h, bgr)))
	check(r.send(r.raw(frame.JPEG, w, h, jpeg.Bytes())))
	fits := r.picturesOf(r.send(r.raw(frame.JPEG, w, h, jpeg.Bytes())))
	head, out, err := frame.Parse(fits[0].Data)
	require.NoError(t, err)
	require.Equal(t, jpeg.Bytes(), out, "one that is no better than wanted is passed on")
	require.EqualValues(t, 90, head.Quality)
	var fine bytes.Buffer
	require.NoError(t, stdjpeg.Encode(&fine, img, &stdjpeg.Options{Quality: 97}))
	better := r.send(r.raw(frame.JPEG, w, h, fine.Bytes()))
	check(better)
	require.NotEqual(t, fine.Len(), len(r.picturesOf(better)[0].Data)-frame.HeaderLen, "a better one is encoded again")
	cut := jpeg.Bytes()[:jpeg.Len()/2]
	require.Equal(t, pb.Fate_FATE_CORRUPT, r.fate(r.send(r.raw(frame.JPEG, w, h, cut))))
	other := r.send(r.raw(frame.JPEG, w+1, h, jpeg.Bytes()))
	require.Equal(t, pb.Fate_FATE_CORRUPT, r.fate(other))
	r.want(pb.Rung_RUNG_FULL, pb.Rung_RUNG_HALF)
	check(r.send(r.raw(frame.BGR24, w, h, bgr)))
}

func TestMalformedFramesAreAnsweredWhereTheyCanBe(t *testing.T) {
	r := start(t, Settings{Quality: 80, QualityMin: 30}, nil)
	r.want(pb.Rung_RUNG_FULL)
	for name, mend := range map[string]func(f *raw){
		"wrong length":   func(f *raw) { f.payload = f.payload[1:] },
		"unknown format": func(f *raw) { f.head.Format = 9 },
		"nothing":        func(f *raw) { f.head.Width, f.head.Height = 0, 0 },
		"huge":           func(f *raw) { f.head.Width, f.head.Height = 65535, 65535 },
		"huge JPEG":      func(f *raw) { f.head.Format, f.head.Width, f.head.Height = frame.JPEG, 65535, 65535 },
		"no JPEG":        func(f *raw) { f.head.Format = frame.JPEG },
		"reference":      func(f *raw) { f.head.Flags |= frame.FlagReference },
	} {
		t.Run(name, func(t *testing.T) {
			f := r.raw(frame.I420, 32, 16, scene(32, 16))
			mend(f)
			require.Equal(t, pb.Fate_FATE_CORRUPT, r.fate(r.send(f)))
		})
	}
	for _, data := range [][]byte{nil, []byte("garbage"), bytes.Repeat([]byte("garbage"), 100)} {
		require.NoError(t, r.bus.Data.Publish(bus.Msg{
			Subject: subject.Raw(subject.Cam, "cam0", instance), Reply: subject.Done(subject.Cam, "cam0"), Data: data,
		}))
	}
	good := scene(32, 16)
	require.NoError(t, r.bus.Data.Publish(bus.Msg{Subject: subject.Raw("eve", "cam0", instance), Data: good}))
	require.Equal(t, pb.Fate_FATE_ENCODED, r.fate(r.sendSmall()), "it goes on")
	r.eventually(func() bool { return len(r.dones[0]) == 0 })
}

// gate holds the workers up once it is closed.
type gate struct {
	closed  atomic.Bool
	held    chan struct{} // has an entry for each worker that came
	release chan struct{}
}

func newGate() *gate { return &gate{held: make(chan struct{}, 100), release: make(chan struct{})} }

func (g *gate) pass() time.Duration {
	if g.closed.Load() {
		g.held <- struct{}{}
		<-g.release
	}
	return 0
}

func TestAProbeIsAnsweredAtOnce(t *testing.T) {
	g := newGate()
	r := start(t, Settings{Quality: 80, QualityMin: 30, Workers: 1}, g.pass)
	r.want(pb.Rung_RUNG_FULL)
	g.closed.Store(true)
	busy := r.sendSmall()
	<-g.held
	require.Equal(t, pb.Fate_FATE_PROBE, r.fate(r.send(r.raw(frame.I420, 32, 16, nil))))
	close(g.release)
	require.Equal(t, pb.Fate_FATE_ENCODED, r.fate(busy))
}

func TestOnlyTheStreamsOwnDoneIsAnswered(t *testing.T) {
	r := start(t, Settings{Quality: 80, QualityMin: 30}, nil)
	r.want(pb.Rung_RUNG_FULL)
	for _, reply := range []string{"", subject.Done(subject.Cam, "cam1"), subject.Status("encoder", "x")} {
		f := r.raw(frame.I420, 32, 16, scene(32, 16))
		f.reply = reply
		seq := r.send(f)
		r.eventually(func() bool { return len(r.pictures[seq]) == 1 })
		r.done(r.sendSmall())
		require.Empty(t, r.dones[seq], reply)
	}
}

func TestNewestFirstWhenBehind(t *testing.T) {
	g := newGate()
	r := start(t, Settings{Quality: 80, QualityMin: 30, Workers: 1}, g.pass)
	r.want(pb.Rung_RUNG_FULL)
	g.closed.Store(true)
	first := r.sendSmall()
	<-g.held
	second, third, fourth := r.sendSmall(), r.sendSmall(), r.sendSmall()
	require.Equal(t, pb.Fate_FATE_SUPERSEDED, r.fate(second), "two wait, the oldest is displaced")
	r.mu.Lock()
	require.Empty(t, r.dones[third])
	r.mu.Unlock()
	close(g.release)
	require.Equal(t, pb.Fate_FATE_ENCODED, r.fate(first))
	require.Equal(t, pb.Fate_FATE_SUPERSEDED, r.fate(third), "given up for a newer one")
	require.Equal(t, pb.Fate_FATE_ENCODED, r.fate(fourth))
}

func TestWhatNobodyWantsIsNotEncoded(t *testing.T) {
	r := start(t, Settings{Quality: 80, QualityMin: 30}, nil)
	var seq uint64
	r.until(func() bool {
		seq = r.sendSmall()
		return r.fate(seq) == pb.Fate_FATE_UNDEMANDED
	})
	r.want(pb.Rung_RUNG_FULL)
	require.Equal(t, pb.Fate_FATE_ENCODED, r.fate(r.sendSmall()))
	r.mu.Lock()
	defer r.mu.Unlock()
	require.Empty(t, r.pictures[seq])
	require.Empty(t, r.dones[seq][0].GetRungs())
}

func TestStaleFramesAreDropped(t *testing.T) {
	r := start(t, Settings{Quality: 80, QualityMin: 30}, nil)
	r.want(pb.Rung_RUNG_FULL)
	f := r.raw(frame.I420, 32, 16, scene(32, 16))
	f.head.CapturedUs -= time.Minute.Microseconds()
	require.Equal(t, pb.Fate_FATE_SUPERSEDED, r.fate(r.send(f)))
	require.Equal(t, pb.Fate_FATE_ENCODED, r.fate(r.sendSmall()))
	r.mu.Lock()
	defer r.mu.Unlock()
	require.Empty(t, r.pictures[f.head.Sequence])
}

func TestNoClientSpeaksForACamera(t *testing.T) {
	r := start(t, Settings{Quality: 80, QualityMin: 30}, nil)
	r.want(pb.Rung_RUNG_FULL)
	published := func() uint64 {
		f := r.raw(frame.I420, 32, 16, scene(32, 16))
		f.by, f.reply = subject.Pub, subject.Done(subject.Pub, "cam0")
		return r.send(f)
	}
	require.Equal(t, pb.Fate_FATE_ENCODED, r.fate(published()))
	r.until(func() bool {
		require.NoError(t, r.bus.Control.Send(subject.Status("capture", "c1"), &pb.Status{
			Service: "capture", Instance: "c1", Run: 1,
			Streams: []*pb.StreamStatus{{Name: "cam0", Owner: pb.Owner_OWNER_CAM, Epoch: 1}},
		}))
		return r.fate(published()) == pb.Fate_FATE_FOREIGN
	})
	require.Equal(t, pb.Fate_FATE_ENCODED, r.fate(r.sendSmall()))
}

func TestEveryFrameGetsExactlyOneDone(t *testing.T) {
	r := start(t, Settings{Quality: 80, QualityMin: 30, Workers: 2}, nil)
	r.want(pb.Rung_RUNG_FULL)
	pix := scene(160, 120) // all of them at once must fit what the bus keeps for a slow client
	const frames = 300
	seqs := make([]uint64, 0, frames)
	for i := range frames {
		f := r.raw(frame.I420, 160, 120, pix)
		if i%3 == 0 {
			f.stream, f.reply = "cam1", subject.Done(subject.Cam, "cam1")
		}
		if i%50 == 0 {
			f.head.Format = 9
		}
		seqs = append(seqs, r.send(f))
	}
	for _, seq := range seqs {
		r.done(seq)
	}
	last := r.sendSmall()
	r.picturesOf(last)
	r.stop()
	fates := map[pb.Fate]int{}
	for _, seq := range seqs {
		require.Len(t, r.dones[seq], 1)
		d := r.dones[seq][0]
		fates[d.GetFate()]++
		require.Len(t, r.pictures[seq], len(d.GetRungs()))
	}
	require.Equal(t, frames/50, fates[pb.Fate_FATE_CORRUPT])
	require.Positive(t, fates[pb.Fate_FATE_ENCODED])
	t.Log(fates)
}

func TestItEndsWithWhatItHasDone(t *testing.T) {
	var slow atomic.Bool
	started := make(chan struct{}, 100)
	r := start(t, Settings{Quality: 80, QualityMin: 30, Workers: 1}, func() time.Duration {
		if !slow.Load() {
			return 0
		}
		started <- struct{}{}
		return time.Hour
	})
	r.want(pb.Rung_RUNG_FULL)
	slow.Store(true)
	seqs := []uint64{r.sendSmall()}
	<-started
	seqs = append(seqs, r.sendSmall(), r.sendSmall())
	r.done(r.send(r.raw(frame.I420, 32, 16, nil))) // what was sent before it waits for the worker now
	r.stop()
	for i, want := range []pb.Fate{pb.Fate_FATE_ENCODED, pb.Fate_FATE_SUPERSEDED, pb.Fate_FATE_SUPERSEDED} {
		require.Equal(t, want, r.fate(seqs[i]))
	}
	r.eventually(func() bool { return r.status[instance].GetDraining() })
}

func TestBadSettingsAreRefused(t *testing.T) {
	require.ErrorContains(t, Run(context.Background(), Settings{Quality: 101}, Deps{}), "quality 101")
}
