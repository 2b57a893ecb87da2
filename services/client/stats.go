package client

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
)

const (
	rateWindow  = 2 * time.Second
	judgeWindow = 4 * time.Second
	// stale is how long no frame may come before the connection is poor, and before an epoch that went on may be
	// followed by a smaller one: a clock that was set back must not end a stream.
	stale = 2 * time.Second
)

// Connection says in a word how well a stream comes.
type Connection string

// The words, over the last 4 s; docs/protocol.md has the rule, and the page goes by it too. The age is the 95th
// percentile less its uncertainty, and judged where it is known; the rate is the share of the stream's frames, or of
// Config.MaxFPS where that is less.
//
//	Good  age ≤ 200 ms and ≥ 95 % of the stream's frames
//	Fair  age ≤ 600 ms and ≥ 70 %
//	Poor  less, or no frame for 2 s, or no connection
const (
	Good Connection = "good"
	Fair Connection = "fair"
	Poor Connection = "poor"
)

var connectionRule = []struct {
	word  Connection
	age   time.Duration
	share float64
}{
	{Good, 200 * time.Millisecond, 0.95},
	{Fair, 600 * time.Millisecond, 0.7},
}

func judge(silent bool, share float64, age time.Duration, aged bool) Connection {
	for _, r := range connectionRule {
		if !silent && share >= r.share && (!aged || age <= r.age) {
			return r.word
		}
	}
	return Poor
}

// Stats of a Viewer at one moment. Counters are of its whole life.
type Stats struct {
	// StreamStats of Config.Stream.
	StreamStats
	// Streams are all, that one first.
	Streams []StreamStats

	Connected  bool
	Since      time.Time // of the connection
	Reconnects uint64
	// Offset added to this clock's time makes it the gateway's, wrong by at most Uncertainty; -1 where not known.
	Offset, Uncertainty, RTT time.Duration
	// Viewer, Gateway and Version are the gateway's names for both, once it said hello.
	Viewer, Gateway, Version string
	// TraceUI is where a trace id can be looked up, "{trace_id}" to be replaced; empty where none is set.
	TraceUI   string
	Malformed uint64 // messages that could not be read, and pictures of streams not asked for
	Unknown   uint64 // messages that this version does not know
	BytesRead uint64 // of all messages
}

// StreamStats are one stream's.
type StreamStats struct {
	Stream string
	// FPS and Mbps are of what came in the last 2 s; StreamFPS is the stream's own, told by its sequence.
	FPS, StreamFPS, Mbps float64
	// Ages from capture until read, of the last 4 s; AgeKnown is false where the clocks' offset is not known.
	AgeP50, AgeP95, AgeP99 time.Duration
	AgeUncertainty         time.Duration
	AgeKnown               bool
	Connection             Connection

	Frames uint64 // received and not late
	Bytes  uint64 // of their pictures
	Taken  uint64 // by the receiver
	// Displaced by newer ones before the receiver was free.
	Displaced uint64
	// Missed: gaps in the sequence, on a connection. What Select asked to skip is not missed.
	Missed uint64
	// MissedAway: gaps in the sequence across reconnects.
	MissedAway uint64
	Late       uint64 // dropped, because a newer one had come

	Width, Height int
	Rung          frame.Rung
	Quality       int
	Epoch         uint64
	Sequence      uint64
	// Gateway is the gateway's newest word on it, read-only; nil before the first.
	Gateway *pb.Stats
}

// stream is one stream's book. The Viewer's lock guards it.
type stream struct {
	name       string
	maxFPS     float64
	sel        *pb.Select // what is wanted, nil where it is as Config says
	selDue     bool
	traceDue   bool
	paintEvery bool
	paintTold  time.Time // the last report
	paint      paint
	gateway    *pb.Stats

	last    frame.Header
	lastAt  time.Time // zero before the first frame
	away    bool      // there was no connection since last
	paused  bool      // a gap is asked for
	window  window
	least   least // the reader's
	frames  uint64
	bytes   uint64
	taken   uint64
	displ   uint64
	missed  uint64
	missedA uint64
	late    uint64
}

// paint is what the receiver took since the last report.
type paint struct {
	due             bool
	channel         uint16
	epoch, sequence uint64
	at              time.Time
	taken, dropped  uint32
	sampled         bool // its trace waits for the report
	prompt          bool // it is not to wait for the next one that is due
}

// received takes a binary message.
func (v *Viewer) received(ctx context.Context, buf []byte) error {
	at := v.now()
	h, picture, err := parse(v.cfg.Format, buf)
	v.spare.saw(len(buf))
	f := &Frame{Header: h, JPEG: picture, ReceivedAt: at, buf: buf, home: v.spare}
	if !v.book(f, len(buf), err) {
		f.Release()
		return nil
	}
	if !v.cfg.Every && v.cfg.Format == V1 && f.st.least.stale(&h, at) {
		v.passedOver(f)
		return nil
	}
	old, err := v.box.put(ctx, f)
	if old != nil {
		v.displaced(old)
	}
	return err
}

// book counts a frame and tells whether it is to be shown.
func (v *Viewer) book(f *Frame, size int, err error) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.total.bytes += uint64(size)
	st := v.streams[0]
	if err == nil && v.cfg.Format == V1 {
		st, err = v.channel(f.Header.Channel)
	}
	if err != nil {
		v.total.malformed++
		return false
	}
	f.st, f.Stream = st, st.name
	advance := uint64(1)
	if v.cfg.Format == V1 {
		if !st.follows(&f.Header, f.ReceivedAt) {
			st.late++
			return false
		}
		if !st.lastAt.IsZero() && f.Header.Epoch == st.last.Epoch {
			f.Missed = f.Header.Sequence - st.last.Sequence - 1
		}
		switch {
		case st.paused:
		case st.away:
			st.missedA += f.Missed
		default:
			st.missed += f.Missed
			advance += f.Missed
		}
	}
	f.age, f.uncertainty = v.age(st, f)
	st.paused, st.away = false, false
	st.last, st.lastAt = f.Header, f.ReceivedAt
	st.frames++
	st.bytes += uint64(len(f.JPEG))
	st.window.add(sample{
		at: f.ReceivedAt, capturedUs: f.Header.CapturedUs, bytes: size, advance: advance,
		age: f.age, uncertainty: f.uncertainty,
	})
	return true
}

// follows tells whether a frame is newer than the last. Of two owners the one with the greater epoch counts, until it
// has been silent for a while.
func (st *stream) follows(h *frame.Header, at time.Time) bool {
	return st.lastAt.IsZero() || h.Later(st.last.Epoch, st.last.Sequence) ||
		h.Epoch < st.last.Epoch && at.Sub(st.lastAt) > stale
}

// age of a frame as it was read, on the gateway's clock; the uncertainty is -1 where it is not known.
func (v *Viewer) age(st *stream, f *Frame) (age, uncertainty time.Duration) {
	if v.cfg.Format != V1 {
		return 0, -1
	}
	offset, uncertainty := v.clock.best(f.ReceivedAt)
	if uncertainty < 0 {
		return 0, -1
	}
	us := f.ReceivedAt.Add(offset).UnixMicro() - f.Header.CapturedUs
	if c := st.gateway.GetOrigin(); c != nil {
		us -= c.OffsetUs
		uncertainty += time.Duration(c.UncertaintyUs) * time.Microsecond
	}
	return time.Duration(us) * time.Microsecond, uncertainty
}

// passedOver counts a frame that is too old to be shown. The gateway hears that the client is done with it.
func (v *Viewer) passedOver(f *Frame) {
	p := f.paint()
	v.mu.Lock()
	f.st.displ++
	p.due, p.at = true, v.now()
	p.taken, p.dropped = f.st.paint.taken, f.st.paint.dropped+1
	f.st.paint = p
	v.mu.Unlock()
	f.Release()
	v.poke()
}

// displaced counts a frame that nobody got.
func (v *Viewer) displaced(f *Frame) {
	v.mu.Lock()
	f.st.displ++
	f.st.paint.dropped++
	v.mu.Unlock()
	f.Release()
}

// painted counts a frame that the receiver took.
func (v *Viewer) painted(st *stream, p paint) {
	v.mu.Lock()
	st.taken++
	p.due, p.at = true, v.now()
	p.taken, p.dropped = st.paint.taken+1, st.paint.dropped
	p.prompt = st.paint.prompt || st.paintEvery || p.sampled && p.at.Sub(st.paintTold) >= promptEvery
	st.paint = p
	now := p.prompt
	v.mu.Unlock()
	if now {
		v.poke()
	}
}

// Stats of this moment.
func (v *Viewer) Stats() Stats {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.now()
	s := Stats{
		Connected: !v.total.since.IsZero(), Since: v.total.since,
		RTT:    v.clock.rtt(),
		Viewer: v.hello.GetViewer(), Gateway: v.hello.GetGateway(), Version: v.hello.GetVersion(),
		TraceUI:   v.hello.GetTraceUi(),
		Malformed: v.total.malformed, Unknown: v.total.unknown, BytesRead: v.total.bytes,
	}
	if v.total.connects > 0 {
		s.Reconnects = v.total.connects - 1
	}
	s.Offset, s.Uncertainty = v.clock.best(now)
	for _, st := range v.streams {
		s.Streams = append(s.Streams, st.stats(now, v.total.since))
	}
	s.StreamStats = s.Streams[0]
	return s
}

func (st *stream) stats(now, since time.Time) StreamStats {
	w := st.window.sum(now, since, st.maxFPS)
	silent := since.IsZero() || now.Sub(st.lastAt) > stale
	return StreamStats{
		Stream: st.name, FPS: w.fps, StreamFPS: w.streamFPS, Mbps: w.mbps,
		AgeP50: w.p50, AgeP95: w.p95, AgeP99: w.p99, AgeUncertainty: w.uncertainty, AgeKnown: w.aged,
		Connection: judge(silent, w.share, w.p95-w.uncertainty, w.aged),
		Frames:     st.frames, Bytes: st.bytes, Taken: st.taken, Displaced: st.displ,
		Missed: st.missed, MissedAway: st.missedA, Late: st.late,
		Width: int(st.last.Width), Height: int(st.last.Height), Rung: st.last.Rung, Quality: int(st.last.Quality),
		Epoch: st.last.Epoch, Sequence: st.last.Sequence,
		Gateway: st.gateway,
	}
}

// window keeps what came lately.
type window struct {
	samples []sample // in order; bound: judgeWindow, and windowMax, the oldest go
	first   int
}

const windowMax = 2048

type sample struct {
	at               time.Time
	capturedUs       int64
	bytes            int
	advance          uint64 // of the sequence; 1 where nothing was missed
	age, uncertainty time.Duration
}

func (w *window) add(s sample) {
	for w.first < len(w.samples) &&
		(s.at.Sub(w.samples[w.first].at) > judgeWindow || len(w.samples)-w.first >= windowMax) {
		w.first++
	}
	if w.first > 64 && w.first > len(w.samples)/2 {
		w.samples = slices.Delete(w.samples, 0, w.first)
		w.first = 0
	}
	w.samples = append(w.samples, s)
}

func (w *window) reset() { w.samples, w.first = w.samples[:0], 0 }

// since is what came after t.
func (w *window) since(t time.Time) []sample {
	all := w.samples[w.first:]
	i, _ := slices.BinarySearchFunc(all, t, func(s sample, t time.Time) int { return s.at.Compare(t) })
	return all[i:]
}

type summary struct {
	fps, streamFPS, mbps float64
	share                float64 // of the frames that should have come; 0 where none came
	p50, p95, p99        time.Duration
	uncertainty          time.Duration
	aged                 bool
}

func (w *window) sum(now, connected time.Time, maxFPS float64) (sum summary) {
	lately := w.since(now.Add(-rateWindow))
	sum.fps = rate(lately, now)
	bytes := 0
	for _, s := range lately {
		bytes += s.bytes
	}
	span := min(rateWindow, max(now.Sub(connected), rateWindow/4))
	sum.mbps = 8 * float64(bytes) / span.Seconds() / 1e6

	judged := w.since(now.Add(-judgeWindow))
	if len(judged) == 0 {
		return sum
	}
	var expected uint64
	ages := make([]time.Duration, 0, len(judged))
	for _, s := range judged {
		expected += s.advance
		if s.uncertainty >= 0 {
			ages = append(ages, s.age)
			sum.uncertainty, sum.aged = s.uncertainty, true
		}
	}
	want := float64(expected)
	if us := judged[len(judged)-1].capturedUs - judged[0].capturedUs; us > 0 {
		sum.streamFPS = float64(expected-judged[0].advance) / (float64(us) / 1e6)
		if maxFPS > 0 && sum.streamFPS > maxFPS {
			want *= maxFPS / sum.streamFPS
		}
	}
	sum.share = float64(len(judged)) / max(want, 1)
	slices.Sort(ages)
	sum.p50, sum.p95, sum.p99 = percentile(ages, 50), percentile(ages, 95), percentile(ages, 99)
	return sum
}

// rate counts intervals, not events, so that a steady stream reads the same whenever it is looked at.
func rate(lately []sample, now time.Time) float64 {
	n := len(lately)
	if n < 2 {
		return float64(n) / rateWindow.Seconds()
	}
	first, last := lately[0].at, lately[n-1].at
	steady := last.Sub(first) / time.Duration(n-1)
	// Nothing since longer than usual: the stream slows down or stands.
	if now.Sub(last) > 2*steady+100*time.Millisecond {
		return float64(n) / now.Sub(first).Seconds()
	}
	return float64(n-1) / max(last.Sub(first), time.Microsecond).Seconds()
}

// percentile p, 0..100, of sorted values by nearest rank; 0 where there are none.
func percentile(sorted []time.Duration, p float64) time.Duration {
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return sorted[min(max(int(math.Ceil(float64(n)*p/100)), 1), n)-1]
}
