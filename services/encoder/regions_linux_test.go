package encoder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	stdjpeg "image/jpeg"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/mailbox"
	"github.com/framebus/framebus/services/internal/presence"
	"github.com/framebus/framebus/services/internal/service"
	"github.com/framebus/framebus/services/internal/shm"
	"github.com/framebus/framebus/services/internal/shm/shmtest"
	"github.com/framebus/framebus/services/internal/span"
	"github.com/framebus/framebus/services/internal/telemetry/logtest"
	"github.com/framebus/framebus/services/internal/telemetry/spantest"
	"github.com/stretchr/testify/require"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

func create(t testing.TB, f *shm.Folder, slots, room int) *shm.Region {
	t.Helper()
	r, err := f.Create(slots, room)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// owner says what an origin with these regions says, cam0's first, cam1's second and so on.
func owner(name string, regions ...*shm.Region) *pb.Status {
	s := &pb.Status{Service: "capture", Instance: name, Run: 1}
	for i, r := range regions {
		id := r.ID()
		s.Streams = append(s.Streams, &pb.StreamStatus{
			Name: fmt.Sprintf("cam%d", i), Owner: pb.Owner_OWNER_CAM, Epoch: 1,
			Region: &pb.Region{Id: id[:], File: r.File(), Size: uint64(r.Size()), Slots: uint32(r.Slots())},
		})
	}
	return s
}

// lender is an origin that has shared memory and tells of it again and again.
type lender struct {
	r *rig

	mu  sync.Mutex
	say *pb.Status // nil: it is silent
}

func (r *rig) lend(regions ...*shm.Region) *lender {
	r.t.Helper()
	l := &lender{r: r, say: owner("origin", regions...)}
	ctx, cancel := context.WithCancel(context.Background())
	var keep sync.WaitGroup
	r.t.Cleanup(func() { cancel(); keep.Wait() })
	keep.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			l.mu.Lock()
			s := l.say
			l.mu.Unlock()
			if s != nil {
				_ = r.bus.Control.Send(subject.Status(s.GetService(), s.GetInstance()), s)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	return l
}

func (l *lender) says(s *pb.Status) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.say = s
}

// maps waits until the encoder tells of these regions and no others.
func (r *rig) maps(encoder string, regions ...*shm.Region) {
	r.t.Helper()
	want := map[string]bool{}
	for _, g := range regions {
		id := g.ID()
		want[string(id[:])] = true
	}
	r.eventually(func() bool {
		got := r.status[encoder].GetEncoder().GetMapped()
		for _, id := range got {
			if !want[string(id)] {
				return false
			}
		}
		return len(got) == len(want)
	})
}

// refer makes a frame that refers to a picture which it puts into a slot.
func (r *rig) refer(g *shm.Region, slot int, format frame.Format, w, h int, pix []byte) *raw {
	copy(g.Slot(slot)[frame.HeaderLen:], pix)
	f := r.raw(format, w, h, nil)
	f.reference(frame.Reference{
		Region: g.ID(), Slot: uint32(slot), Generation: g.Generation(slot), Length: uint32(len(pix)),
	})
	return f
}

func (f *raw) reference(ref frame.Reference) {
	f.payload = make([]byte, frame.ReferenceLen)
	ref.Put(f.payload)
	f.head.Flags |= frame.FlagReference
	f.head.PayloadLen = frame.ReferenceLen
}

// shown are a frame's pictures by rung, once it was encoded.
func (r *rig) shown(f *raw) map[frame.Rung][]byte {
	r.t.Helper()
	require.Equal(r.t, pb.Fate_FATE_ENCODED, r.fate(r.send(f)))
	out := map[frame.Rung][]byte{}
	for _, m := range r.picturesOf(f.head.Sequence) {
		h, jpeg, err := frame.Parse(m.Data)
		require.NoError(r.t, err)
		require.Equal(r.t, frame.JPEG, h.Format)
		require.Zero(r.t, h.Flags&frame.FlagReference, "the JPEG itself is in the message")
		out[h.Rung] = jpeg
	}
	return out
}

// notShown waits for a frame's Done; nothing was published of it.
func (r *rig) notShown(f *raw, want pb.Fate) {
	r.t.Helper()
	require.Equal(r.t, want, r.fate(f.head.Sequence))
	require.Empty(r.t, r.done(f.head.Sequence).GetRungs())
	r.picturesOf(r.sendSmall()) // what was published before it is here then
	r.mu.Lock()
	defer r.mu.Unlock()
	require.Empty(r.t, r.pictures[f.head.Sequence])
	require.Len(r.t, r.dones[f.head.Sequence], 1)
}

// metrics are the encoder's, as Prometheus sees them.
func (r *rig) metrics() string {
	w := httptest.NewRecorder()
	r.env.Deps.Metrics.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

// counted waits until a metric has a value.
func (r *rig) counted(series string, value int) {
	r.t.Helper()
	name, labels, _ := strings.Cut(series, "{")
	require.Eventually(r.t, func() bool {
		for line := range strings.Lines(r.metrics()) {
			if strings.HasPrefix(line, name+"{") && strings.Contains(line, strings.TrimSuffix(labels, "}")) {
				return strings.HasSuffix(strings.TrimSpace(line), fmt.Sprintf(" %d", value))
			}
		}
		return false
	}, wait, look, "%s %d", series, value)
}

const (
	testW, testH = 161, 121
	testRoom     = 3 * testW * testH
)

// formats are one picture in each format.
func formats(t *testing.T) map[frame.Format][]byte {
	t.Helper()
	pix := scene(testW, testH)
	bgr := make([]byte, 0, testRoom)
	for _, v := range pix[:testW*testH] {
		bgr = append(bgr, v, v/2, 255-v)
	}
	const cw, ch = (testW + 1) / 2, (testH + 1) / 2
	img := &image.YCbCr{
		Y: pix[:testW*testH], Cb: pix[testW*testH:][:cw*ch], Cr: pix[testW*testH+cw*ch:],
		YStride: testW, CStride: cw, SubsampleRatio: image.YCbCrSubsampleRatio420, Rect: image.Rect(0, 0, testW, testH),
	}
	var jpeg bytes.Buffer
	require.NoError(t, stdjpeg.Encode(&jpeg, img, &stdjpeg.Options{Quality: 75}))
	return map[frame.Format][]byte{frame.I420: pix, frame.BGR24: bgr, frame.JPEG: jpeg.Bytes()}
}

func startWithRegion(t *testing.T, cfg Settings, slow func() time.Duration, slots, room int) (
	*rig, *shm.Region, *lender,
) {
	t.Helper()
	f, _ := shmtest.Folder(t)
	g := create(t, f, slots, room)
	r := startBus(t)
	r.env, r.stop = r.run(instance, cfg, Deps{Deps: service.Deps{Shm: f}, Slow: slow}, io.Discard)
	l := r.lend(g)
	r.maps(instance, g)
	return r, g, l
}

func TestAFrameByReferenceBecomesWhatItWouldInline(t *testing.T) {
	for _, rungs := range [][]pb.Rung{
		{pb.Rung_RUNG_FULL}, {pb.Rung_RUNG_FULL, pb.Rung_RUNG_HALF, pb.Rung_RUNG_QUARTER},
	} {
		t.Run(fmt.Sprint(rungs), func(t *testing.T) {
			r, g, _ := startWithRegion(t, Settings{Quality: 80, QualityMin: 30}, nil, 3, testRoom)
			r.want(rungs...)
			pictures := formats(t)
			for format, pix := range pictures {
				want := r.shown(r.raw(format, testW, testH, pix))
				require.Len(t, want, len(rungs))
				got := r.shown(r.refer(g, int(format)-1, format, testW, testH, pix))
				require.Len(t, got, len(rungs))
				for rung := range want {
					require.True(t, bytes.Equal(want[rung], got[rung]), "format %d, %v", format, rung)
				}
			}
			r.counted("framebus_encoder_regions{", 1)
			r.counted(`framebus_encoder_references_total{result="followed"}`, len(pictures))
		})
	}
}

func TestNothingIsShownOfASlotThatWasRetired(t *testing.T) {
	g := newGate()
	r, region, _ := startWithRegion(t, Settings{Quality: 80, QualityMin: 30, Workers: 1}, g.pass, 1, testRoom)
	r.want(pb.Rung_RUNG_FULL)
	pictures := formats(t)
	for format, pix := range pictures {
		f := r.refer(region, 0, format, testW, testH, pix)
		region.Retire(0)
		r.send(f)
		r.notShown(f, pb.Fate_FATE_OVERWRITTEN)
	}
	g.closed.Store(true)
	for format, pix := range pictures {
		f := r.refer(region, 0, format, testW, testH, pix)
		r.send(f)
		<-g.held
		region.Retire(0)
		clear(region.Slot(0))
		g.closed.Store(false)
		g.release <- struct{}{}
		r.notShown(f, pb.Fate_FATE_OVERWRITTEN)
		g.closed.Store(true)
	}
	g.closed.Store(false)
	r.counted(`framebus_encoder_references_total{result="late"}`, len(pictures))
	r.counted(`framebus_encoder_frames_total{fate="overwritten"`, 2*len(pictures))
}

// paint makes all of b one shade.
func paint(b []byte, shade byte) {
	b[0] = shade
	for n := 1; n < len(b); n *= 2 {
		copy(b[n:], b[:n])
	}
}

// The origin waits for nobody: many of its slots are written anew while they are read. Each picture is all of one
// shade, which its sequence number tells.
func TestNoPictureIsEverOfTwoFrames(t *testing.T) {
	const w, h, slots, batch, enough = 640, 480, 2, 8, 20
	shade := func(seq uint64) byte { return byte(16 + seq*53%200) }
	for _, format := range []frame.Format{frame.I420, frame.BGR24} {
		t.Run(fmt.Sprint(format), func(t *testing.T) {
			size := frame.PayloadSize(format, w, h)
			r, g, _ := startWithRegion(t, Settings{Quality: 80, QualityMin: 30, Workers: 2}, nil, slots, size)
			r.want(pb.Rung_RUNG_FULL, pb.Rung_RUNG_HALF)
			var sent []uint64
			fates := map[pb.Fate]int{}
			r.until(func() bool {
				for range batch {
					slot := len(sent) % slots
					g.Retire(slot)
					f := r.refer(g, slot, format, w, h, nil)
					paint(g.Slot(slot)[frame.HeaderLen:], shade(f.head.Sequence))
					f.reference(frame.Reference{
						Region: g.ID(), Slot: uint32(slot), Generation: g.Generation(slot), Length: uint32(size),
					})
					sent = append(sent, r.send(f))
				}
				for _, seq := range sent[len(sent)-batch:] {
					fates[r.fate(seq)]++
				}
				return fates[pb.Fate_FATE_ENCODED] >= enough && fates[pb.Fate_FATE_OVERWRITTEN] >= enough
			})
			t.Log(fates)
			for _, seq := range sent {
				for _, m := range r.picturesOf(seq) {
					_, jpeg, err := frame.Parse(m.Data)
					require.NoError(t, err)
					pix, _, _ := luma(t, jpeg)
					low, high := slices.Min(pix), slices.Max(pix)
					require.InDelta(t, shade(seq), low, 8, "frame %d", seq)
					require.InDelta(t, shade(seq), high, 8, "frame %d", seq)
				}
			}
		})
	}
}

func TestARegionThatIsDeletedIsReadOn(t *testing.T) {
	f, path := shmtest.Folder(t)
	g := create(t, f, 1, testRoom)
	r := startBus(t)
	r.env, r.stop = r.run(instance, Settings{Quality: 80, QualityMin: 30}, Deps{Deps: service.Deps{Shm: f}}, io.Discard)
	r.lend(g)
	r.maps(instance, g)
	r.want(pb.Rung_RUNG_FULL)
	require.NoError(t, os.Remove(filepath.Join(path, g.File())))
	pix := scene(testW, testH)
	alike(t, pix, r.shown(r.refer(g, 0, frame.I420, testW, testH, pix))[frame.Full], testW, 1)
}

func TestAFileThatWasCutIsNotTouched(t *testing.T) {
	for name, waits := range map[string]bool{"before the frame came": false, "while the frame waits": true} {
		t.Run(name, func(t *testing.T) {
			f, path := shmtest.Folder(t)
			g := create(t, f, 1, testRoom)
			var log logtest.Buffer
			gate := newGate()
			r := startBus(t)
			r.env, r.stop = r.run(instance, Settings{Quality: 80, QualityMin: 30, Workers: 1},
				Deps{Deps: service.Deps{Shm: f}, Slow: gate.pass}, &log)
			r.lend(g)
			r.maps(instance, g)
			r.want(pb.Rung_RUNG_FULL)
			sent := r.refer(g, 0, frame.I420, testW, testH, scene(testW, testH))
			gate.closed.Store(waits)
			if waits {
				r.send(sent)
				<-gate.held
			}
			require.NoError(t, os.Truncate(filepath.Join(path, g.File()), 4096))
			gate.closed.Store(false)
			if waits {
				gate.release <- struct{}{}
			} else {
				r.send(sent)
			}
			r.notShown(sent, pb.Fate_FATE_OVERWRITTEN)
			r.maps(instance) // none: so all come inline
			require.Equal(t, pb.Fate_FATE_ENCODED, r.fate(r.sendSmall()))
			r.counted("framebus_encoder_regions_refused_total{", 1)
			require.Equal(t, 1, strings.Count(log.String(), "cannot be mapped"))
		})
	}
}

func TestForgedReferencesAreAnsweredAndCounted(t *testing.T) {
	f, _ := shmtest.Folder(t)
	g, other := create(t, f, 2, testRoom), create(t, f, 2, testRoom)
	r := startBus(t)
	r.env, r.stop = r.run(instance, Settings{Quality: 80, QualityMin: 30}, Deps{Deps: service.Deps{Shm: f}}, io.Discard)
	r.lend(g, other)
	r.maps(instance, g, other)
	r.want(pb.Rung_RUNG_FULL)
	pix := scene(testW, testH)
	good := frame.Reference{Region: g.ID(), Length: uint32(len(pix))}
	counts := map[string]int{}
	for name, forged := range map[string]struct {
		result string
		fate   pb.Fate
		forge  func(f *raw, ref *frame.Reference)
	}{
		"no such slot":   {"beyond", pb.Fate_FATE_CORRUPT, func(_ *raw, ref *frame.Reference) { ref.Slot = 2 }},
		"a slot far off": {"beyond", pb.Fate_FATE_CORRUPT, func(_ *raw, ref *frame.Reference) { ref.Slot = 1<<32 - 1 }},
		"a length that is no picture's": {"malformed", pb.Fate_FATE_CORRUPT, func(_ *raw, ref *frame.Reference) {
			ref.Length--
		}},
		"more than there is room for": {"beyond", pb.Fate_FATE_CORRUPT, func(f *raw, ref *frame.Reference) {
			f.head.Width, f.head.Height = 16384, 16384
			ref.Length = uint32(frame.PayloadSize(frame.I420, 16384, 16384))
		}},
		"a JPEG larger than any": {"malformed", pb.Fate_FATE_CORRUPT, func(f *raw, ref *frame.Reference) {
			f.head.Format, ref.Length = frame.JPEG, frame.MaxPayload+1
		}},
		"no JPEG": {"followed", pb.Fate_FATE_CORRUPT, func(f *raw, _ *frame.Reference) {
			f.head.Format = frame.JPEG
		}},
		"an older frame's": {"late", pb.Fate_FATE_OVERWRITTEN, func(_ *raw, ref *frame.Reference) { ref.Generation-- }},
		"one to come":      {"late", pb.Fate_FATE_OVERWRITTEN, func(_ *raw, ref *frame.Reference) { ref.Generation++ }},
		"no such region": {"unmapped", pb.Fate_FATE_OVERWRITTEN, func(_ *raw, ref *frame.Reference) {
			ref.Region[0]++
		}},
		"another stream's region": {"beyond", pb.Fate_FATE_CORRUPT, func(_ *raw, ref *frame.Reference) {
			ref.Region = other.ID()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f, ref := r.refer(g, 0, frame.I420, testW, testH, pix), good
			forged.forge(f, &ref)
			f.reference(ref)
			r.send(f)
			r.notShown(f, forged.fate)
			counts[forged.result]++
		})
	}
	client := r.refer(g, 0, frame.I420, testW, testH, pix)
	client.stream = "cam1"
	client.by, client.reply = subject.Pub, subject.Done(subject.Pub, "cam1")
	r.send(client)
	r.notShown(client, pb.Fate_FATE_FOREIGN)
	for result, n := range counts {
		r.counted(fmt.Sprintf("framebus_encoder_references_total{result=%q}", result), n)
	}
	r.shown(r.refer(g, 0, frame.I420, testW, testH, pix))
}

func TestWhatCannotBeMappedIsToldOnce(t *testing.T) {
	f, path := shmtest.Folder(t)
	mends := []func(*pb.Region, *shm.Region){
		func(told *pb.Region, _ *shm.Region) { told.File += "0" },
		func(told *pb.Region, g *shm.Region) { told.File = "../" + filepath.Base(path) + "/" + g.File() },
		func(told *pb.Region, _ *shm.Region) { told.Size++ },
		func(told *pb.Region, _ *shm.Region) { told.Slots++ },
		func(told *pb.Region, _ *shm.Region) { told.Id[3]++ },
	}
	good := create(t, f, 1, testRoom)
	regions := []*shm.Region{good}
	for range mends {
		regions = append(regions, create(t, f, 1, testRoom))
	}
	s := owner("origin", regions...)
	for i, mend := range mends {
		mend(s.Streams[i+1].Region, regions[i+1])
	}
	var log logtest.Buffer
	r := startBus(t)
	r.env, r.stop = r.run(instance, Settings{Quality: 80, QualityMin: 30}, Deps{Deps: service.Deps{Shm: f}}, &log)
	r.lend().says(s)
	r.maps(instance, good)
	var first int64
	r.eventually(func() bool {
		sent := r.status[instance].GetSentUs()
		if first == 0 {
			first = sent
		}
		return sent > first+time.Second.Microseconds() // twenty times it was told
	})
	r.maps(instance, good)
	require.Equal(t, len(mends), strings.Count(log.String(), "cannot be mapped"))
	for i := range mends {
		require.Equal(t, 1, strings.Count(log.String(), fmt.Sprintf("stream=cam%d ", i+1)))
	}
	r.counted("framebus_encoder_regions_refused_total{", len(mends))
	r.counted("framebus_encoder_regions{", 1)
}

func TestASilentOwnersRegionIsGivenUp(t *testing.T) {
	r, g, l := startWithRegion(t, Settings{Quality: 80, QualityMin: 30}, nil, 1, testRoom)
	r.want(pb.Rung_RUNG_FULL)
	pix := scene(testW, testH)
	r.shown(r.refer(g, 0, frame.I420, testW, testH, pix))
	l.says(nil)
	r.maps(instance)
	f := r.refer(g, 0, frame.I420, testW, testH, pix)
	r.send(f)
	r.notShown(f, pb.Fate_FATE_OVERWRITTEN)
	r.counted("framebus_encoder_regions{", 0)
	l.says(owner("origin", g))
	r.maps(instance, g)
	r.shown(r.refer(g, 0, frame.I420, testW, testH, pix))
}

func TestARegionThatIsGivenUpStaysForWhoReadsThere(t *testing.T) {
	gate := newGate()
	r, g, l := startWithRegion(t, Settings{Quality: 80, QualityMin: 30, Workers: 1}, gate.pass, 1, testRoom)
	r.want(pb.Rung_RUNG_FULL)
	pix := scene(testW, testH)
	f := r.refer(g, 0, frame.I420, testW, testH, pix)
	gate.closed.Store(true)
	seq := r.send(f)
	<-gate.held
	l.says(nil)
	r.counted("framebus_encoder_regions{", 0)
	gate.closed.Store(false)
	gate.release <- struct{}{}
	require.Equal(t, pb.Fate_FATE_ENCODED, r.fate(seq))
	_, jpeg, err := frame.Parse(r.picturesOf(seq)[0].Data)
	require.NoError(t, err)
	alike(t, pix, jpeg, testW, 1)
}

func TestEncodersWithAndWithoutSharedMemoryServeOneStream(t *testing.T) {
	r, g, _ := startWithRegion(t, Settings{Quality: 80, QualityMin: 30}, nil, 1, testRoom)
	r.run("enc-2", Settings{Quality: 80, QualityMin: 30}, Deps{}, io.Discard)
	r.want(pb.Rung_RUNG_FULL)
	pix := scene(testW, testH)
	refers, inline := r.refer(g, 0, frame.I420, testW, testH, pix), r.raw(frame.I420, testW, testH, pix)
	inline.to = "enc-2"
	require.Equal(t, r.shown(refers), r.shown(inline))
	r.maps("enc-2")
	lost := r.refer(g, 0, frame.I420, testW, testH, pix)
	lost.to = "enc-2"
	r.send(lost)
	r.notShown(lost, pb.Fate_FATE_OVERWRITTEN)
}

func TestATraceTellsThatAFrameCameByReference(t *testing.T) {
	rec := spantest.Export(t)
	r, g, _ := startWithRegion(t, Settings{Quality: 80, QualityMin: 30}, nil, 1, testRoom)
	r.want(pb.Rung_RUNG_FULL)
	pix := scene(testW, testH)
	f := r.refer(g, 0, frame.I420, testW, testH, pix)
	r.shown(f)
	process := spansOf(t, rec, f.head.Sequence, 3)[0]
	require.True(t, process.Attributes[span.ByReference].AsBool())
	require.Equal(t, semconv.MessagingMessageBodySize(frame.HeaderLen+frame.ReferenceLen).Value,
		process.Attributes[semconv.MessagingMessageBodySizeKey])
	late := r.refer(g, 0, frame.I420, testW, testH, pix)
	g.Retire(0)
	process = spansOf(t, rec, r.send(late), 1)[0]
	require.Equal(t, "overwritten", process.Attributes[span.Reason].AsString())
	require.Equal(t, "overwritten", process.Attributes[semconv.ErrorTypeKey].AsString())
	inline := r.raw(frame.I420, testW, testH, pix)
	require.NotContains(t, spansOf(t, rec, r.send(inline), 3)[0].Attributes, span.ByReference)
}

// regionsOf is what knows of regions, without a bus: told is how often it would have told of a change.
func regionsOf(t testing.TB, f *shm.Folder) (r *regions, told *int) {
	t.Helper()
	m, err := newMeters(nil, 1)
	require.NoError(t, err)
	r, told = newRegions(f, slog.New(slog.DiscardHandler), m), new(int)
	r.changed = func() { *told++ }
	t.Cleanup(r.close)
	return r, told
}

func TestARegionLastsAsLongAsItsOwnerTellsOfIt(t *testing.T) {
	f, _ := shmtest.Folder(t)
	a, b := create(t, f, 1, 1), create(t, f, 1, 1)
	idA, idB := a.ID(), b.ID()
	drains, standsBy := owner("o", a), owner("o", a)
	drains.Draining, standsBy.Streams[0].Epoch = true, 0
	cam0, err := newStream(subject.Raw(subject.Cam, "cam0", instance))
	require.NoError(t, err)
	t0 := time.Now()
	for _, end := range []struct {
		name  string
		says  *pb.Status
		still [][]byte
		after time.Duration // until when it can be read
	}{
		{"silent", nil, [][]byte{idA[:]}, presence.Silence},
		{"drains", drains, nil, lingers},
		{"tells of another", owner("o", b), [][]byte{idB[:]}, lingers},
		{"tells of none", owner("o"), nil, lingers},
		{"stands by", standsBy, nil, lingers},
		{"another says otherwise", owner("x", b), [][]byte{idA[:], idB[:]}, presence.Silence},
	} {
		t.Run(end.name, func(t *testing.T) {
			r, told := regionsOf(t, f)
			readable := func() bool {
				p, err := r.read(cam0, &frame.Reference{Region: idA, Length: 1})
				if err == nil {
					p.Release()
				}
				return err == nil
			}
			r.hear(owner("o", a), t0)
			require.False(t, readable())
			r.tidy(t0)
			require.Equal(t, [][]byte{idA[:]}, r.ids())
			require.Equal(t, 1, *told)
			r.hear(owner("o", a), t0)
			r.tidy(t0)
			require.Equal(t, 1, *told, "nothing is new")
			if end.says != nil {
				r.hear(end.says, t0)
			}
			r.tidy(t0)
			require.ElementsMatch(t, end.still, r.ids())
			r.tidy(t0.Add(end.after))
			require.True(t, readable(), "frames may be on their way that lie there")
			now := *told
			r.tidy(t0.Add(end.after + 1))
			require.False(t, readable())
			require.Greater(t, *told, now)
		})
	}
}

func TestNobodyIsGoneWhileTheBusIs(t *testing.T) {
	f, _ := shmtest.Folder(t)
	g := create(t, f, 1, 1)
	r, _ := regionsOf(t, f)
	settled := false
	r.settled = func(time.Time) bool { return settled }
	t0 := time.Now()
	r.hear(owner("o", g), t0)
	r.tidy(t0)
	r.tidy(t0.Add(time.Hour))
	require.Len(t, r.ids(), 1)
	settled = true
	r.tidy(t0.Add(time.Hour))
	require.Empty(t, r.ids())
}

func TestWhatCouldNotBeMappedIsTriedAgainLater(t *testing.T) {
	f, path := shmtest.Folder(t)
	g := create(t, f, 1, 1)
	name := filepath.Join(path, g.File())
	require.NoError(t, os.Link(name, name+"-too"))
	require.NoError(t, os.Remove(name))
	r, _ := regionsOf(t, f)
	t0 := time.Now()
	try := func(at time.Duration) int {
		r.hear(owner("o", g), t0.Add(at))
		r.tidy(t0.Add(at))
		return len(r.ids())
	}
	require.Zero(t, try(0))
	require.NoError(t, os.Rename(name+"-too", name))
	require.Zero(t, try(retryAfter-1))
	require.Equal(t, 1, try(retryAfter))
}

func TestRegionsAreBounded(t *testing.T) {
	f, _ := shmtest.Folder(t)
	r, _ := regionsOf(t, f)
	var all []*shm.Region
	for range maxMapped + 1 {
		all = append(all, create(t, f, 1, 1))
	}
	t0 := time.Now()
	r.hear(owner("o", all...), t0)
	r.tidy(t0)
	require.Len(t, r.ids(), maxMapped)
	require.EqualValues(t, maxMapped, r.meters.regions.Load())
	for i := range 2 * maxStreams {
		s := owner("o", all[0])
		s.Instance = fmt.Sprint(i)
		s.Streams[0].Region.Id = fmt.Appendf(nil, "%016d", i)
		r.hear(s, t0)
	}
	require.Len(t, r.known, maxStreams)
	r.hear(owner("o", all[0]), t0.Add(time.Hour))
	r.tidy(t0.Add(time.Hour))
	require.Len(t, r.ids(), 1)
	require.Len(t, r.known, 1)
}

func TestWhatIsNoRegionIsNotListenedTo(t *testing.T) {
	f, _ := shmtest.Folder(t)
	g := create(t, f, 1, 1)
	r, _ := regionsOf(t, f)
	for _, mend := range []func(*pb.StreamStatus){
		func(st *pb.StreamStatus) { st.Epoch = 0 },
		func(st *pb.StreamStatus) { st.Owner = pb.Owner_OWNER_UNSPECIFIED },
		func(st *pb.StreamStatus) { st.Region.Id = st.Region.Id[1:] },
		func(st *pb.StreamStatus) { st.Region = nil },
	} {
		s := owner("o", g)
		mend(s.Streams[0])
		r.hear(s, time.Now())
		require.Empty(t, r.known)
	}
	off, _ := regionsOf(t, nil)
	off.hear(owner("o", g), time.Now())
	require.Empty(t, off.known)
}

// listener is an intake behind which nobody works, and a region that frames may refer to.
func listener(t testing.TB) (in *intake, g *shm.Region) {
	t.Helper()
	f, _ := shmtest.Folder(t)
	g = create(t, f, 2, testRoom)
	m, err := newMeters(nil, 1)
	require.NoError(t, err)
	e := &encoder{
		clock: newClock(), turns: newTurns(), cams: newCams(), meters: m,
		answers: mailbox.NewQueue[answer](answersBound), regions: newRegions(f, slog.New(slog.DiscardHandler), m),
	}
	t.Cleanup(e.regions.close)
	e.regions.hear(owner("o", g), time.Now())
	e.regions.tidy(time.Now())
	require.Len(t, e.regions.ids(), 1)
	return newIntake(e), g
}

func referring(g *shm.Region) []byte {
	h := frame.NewHeader()
	h.Format, h.Width, h.Height = frame.I420, testW, testH
	h.Flags, h.PayloadLen = frame.FlagReference, frame.ReferenceLen
	h.CapturedUs = time.Now().UnixMicro()
	b := make([]byte, frame.HeaderLen+frame.ReferenceLen)
	h.Put(b)
	ref := frame.Reference{Region: g.ID(), Slot: 1, Length: uint32(frame.PayloadSize(frame.I420, testW, testH))}
	ref.Put(b[frame.HeaderLen:])
	return b
}

func TestAReferenceIsFollowedWithoutAllocating(t *testing.T) {
	in, g := listener(t)
	s, err := in.stream(subject.Raw(subject.Cam, "cam0", instance))
	require.NoError(t, err)
	head, payload, err := frame.Parse(referring(g))
	require.NoError(t, err)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		j := job{stream: s, head: head, payload: payload}
		if _, err := in.find(&j); err != nil || j.intact() != nil {
			t.Error("not followed")
		}
		j.release()
	}))
}

// Whatever a message says, it is answered once or handed to a worker once, and no byte is read that is not the slot's.
func FuzzReferring(f *testing.F) {
	in, g := listener(f)
	good := referring(g)
	f.Add([]byte{}, true)
	for at := frame.HeaderLen; at < len(good); at++ {
		bad := bytes.Clone(good)
		bad[at] ^= 0x81
		f.Add(bad[4:], true)
	}
	f.Add(good[4:], true)
	f.Add(good[4:len(good)-1], false)
	f.Fuzz(func(t *testing.T, data []byte, cam bool) {
		// The region's id cannot be guessed: it is put in where a byte says so.
		msg := append(bytes.Clone(good[:4]), data...)
		if id := g.ID(); len(msg) >= frame.HeaderLen+len(id) && msg[frame.HeaderLen]&1 == 0 {
			copy(msg[frame.HeaderLen:], id[:])
		}
		by := subject.Pub
		if cam {
			by = subject.Cam
		}
		in.streams = map[string]*stream{}
		in.handle(bus.Msg{Subject: subject.Raw(by, "cam0", instance), Data: msg, Reply: subject.Done(by, "cam0")})
		answered := 0
		for a, ok := in.e.answers.TryTake(); ok; a, ok = in.e.answers.TryTake() {
			answered++
			require.False(t, a.job.refers)
		}
		for in.e.turns.total > 0 {
			j, _, _, _ := in.e.turns.take()
			answered++
			if j.refers {
				require.True(t, cam)
				sum := byte(0)
				for _, v := range j.payload {
					sum += v
				}
				require.NoError(t, j.intact())
				require.Zero(t, sum)
			}
			j.release()
		}
		want := 1
		if _, _, err := frame.Parse(msg); errors.Is(err, frame.ErrTruncated) || errors.Is(err, frame.ErrMagic) {
			want = 0
		}
		require.Equal(t, want, answered)
	})
}
