package load

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"
)

// Report of a run.
type Report struct {
	URL     string `json:"url"`
	Clients int    `json:"clients"`
	Seeing  int    `json:"seeing"` // of them, those that saw pictures
	// Began is when all that were to see pictures did, and the measurement began.
	Began     time.Time `json:"began"`
	DurationS float64   `json:"duration_s"`
	Total     Total     `json:"total"`
	// Viewers in the order they were started.
	Viewers []Viewer `json:"viewers"`
}

// Total of all viewers that saw pictures.
type Total struct {
	FPSMin     float64 `json:"fps_min"`
	FPSMean    float64 `json:"fps_mean"`
	FPSMax     float64 `json:"fps_max"`
	Frames     uint64  `json:"frames"`
	Lost       uint64  `json:"lost"`
	Late       uint64  `json:"late"`
	Malformed  uint64  `json:"malformed"`
	Reconnects uint64  `json:"reconnects"`
	Bytes      uint64  `json:"bytes"`
	Mbps       float64 `json:"mbps"`
	// Age by the envelope of every picture, clocks corrected; absent where pictures came without one.
	Age *Ages `json:"age_ms,omitempty"`
	// StripAge by the latency strip of a sample; absent where there is none.
	StripAge *Ages `json:"strip_age_ms,omitempty"`
	// StripUnread of the sample: the source is no test pattern, or it is damaged.
	StripUnread uint64 `json:"strip_unread"`
	// UncertaintyMS of the clocks, at worst.
	UncertaintyMS float64 `json:"clock_uncertainty_ms"`
}

// Viewer is one viewer's part. Lost are the gaps in its sequence, which with max fps are what was asked for.
type Viewer struct {
	Stream     string  `json:"stream"`
	FPS        float64 `json:"fps"`
	Frames     uint64  `json:"frames"`
	Lost       uint64  `json:"lost"`
	Late       uint64  `json:"late"`
	Malformed  uint64  `json:"malformed"`
	Reconnects uint64  `json:"reconnects"`
	Bytes      uint64  `json:"bytes"`
	Mbps       float64 `json:"mbps"`
	Rung       string  `json:"rung"`
	Quality    int     `json:"quality"`
	Connection string  `json:"connection"`
	Age        *Ages   `json:"age_ms,omitempty"`
	StripAge   *Ages   `json:"strip_age_ms,omitempty"`
	Error      string  `json:"error,omitempty"`
}

// Ages in milliseconds, within 0.3 %, from capture until the last byte was read.
type Ages struct {
	P50     float64 `json:"p50"`
	P95     float64 `json:"p95"`
	P99     float64 `json:"p99"`
	Max     float64 `json:"max"`
	Samples uint64  `json:"samples"`
}

func report(cfg Config, watchers []*watcher, end time.Time) *Report {
	r := &Report{URL: redacted(cfg.URL), Clients: len(watchers)}
	t := &r.Total
	t.FPSMin = math.Inf(1)
	var age, strip histogram
	for _, w := range watchers {
		v := w.part()
		r.Viewers = append(r.Viewers, v)
		if w.begin.IsZero() {
			continue
		}
		r.Seeing++
		r.Began = w.begin.UTC().Round(0) // as it is written
		r.DurationS = cmp.Or(w.end, end).Sub(w.begin).Seconds()
		t.FPSMin, t.FPSMax = min(t.FPSMin, v.FPS), max(t.FPSMax, v.FPS)
		t.FPSMean += v.FPS
		t.Frames += v.Frames
		t.Lost += v.Lost
		t.Late += v.Late
		t.Malformed += v.Malformed
		t.Reconnects += v.Reconnects
		t.Bytes += v.Bytes
		t.Mbps += v.Mbps
		t.StripUnread += w.noStrip
		t.UncertaintyMS = max(t.UncertaintyMS, ms(w.after.AgeUncertainty))
		age.merge(&w.age)
		strip.merge(&w.strip)
	}
	t.FPSMean /= float64(r.Seeing)
	t.Age, t.StripAge = age.ages(), strip.ages()
	return r
}

// part is the watcher's; it runs no more.
func (w *watcher) part() Viewer {
	s, b := w.after, w.before
	v := Viewer{Stream: cmp.Or(w.stream, s.Stream)}
	if w.err != nil {
		v.Error = w.err.Error()
	}
	if w.begin.IsZero() {
		return v
	}
	span := w.end.Sub(w.begin).Seconds()
	v.FPS = float64(w.frames) / span
	v.Mbps = 8 * float64(w.bytes) / span / 1e6
	v.Frames, v.Lost, v.Bytes = w.frames, w.lost, w.bytes
	v.Late, v.Malformed, v.Reconnects = s.Late-b.Late, s.Malformed-b.Malformed, s.Reconnects-b.Reconnects
	v.Rung, v.Quality, v.Connection = s.Rung.String(), s.Quality, string(s.Connection)
	v.Age, v.StripAge = w.age.ages(), w.strip.ages()
	return v
}

// Unseen is the error of viewers that saw nothing, nil where there are none.
func (r *Report) Unseen() error {
	for _, v := range r.Viewers {
		if v.Error != "" {
			return fmt.Errorf("%d of %d viewers saw nothing: %s", r.Clients-r.Seeing, r.Clients, v.Error)
		}
	}
	return nil
}

// WriteJSON writes the report, indented.
func (r *Report) WriteJSON(to io.Writer) error {
	e := json.NewEncoder(to)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// shown is the number of viewers that a table has room for: the worst ones.
const shown = 20

// WriteTable writes the report for people.
func (r *Report) WriteTable(to io.Writer) error {
	viewers := slices.Clone(r.Viewers)
	if len(viewers) > shown {
		slices.SortStableFunc(viewers, func(a, b Viewer) int { return cmp.Compare(a.FPS, b.FPS) })
		viewers = viewers[:shown]
	}
	t := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "stream\tfps\tframes\tlost\tlate\treconnects\tMbit/s\trung\tQ\t"+
		"age p50\tp95\tp99 ms\tstrip p50\tp95\tp99 ms\t\t")
	for _, v := range viewers {
		fmt.Fprintf(t, "%s\t%.2f\t%d\t%d\t%d\t%d\t%.2f\t%s\t%d\t%s\t%s\t%s\t\n", v.Stream, v.FPS, v.Frames, v.Lost,
			v.Late, v.Reconnects, v.Mbps, v.Rung, v.Quality, v.Age.cells(), v.StripAge.cells(),
			cmp.Or(v.Error, v.Connection))
	}
	s := r.Total
	fmt.Fprintf(t, "all\t%.2f\t%d\t%d\t%d\t%d\t%.2f\t\t\t%s\t%s\t\t\n", s.FPSMean, s.Frames, s.Lost, s.Late,
		s.Reconnects, s.Mbps, s.Age.cells(), s.StripAge.cells())
	if err := t.Flush(); err != nil {
		return err
	}
	more := ""
	if n := len(r.Viewers) - len(viewers); n > 0 {
		more = fmt.Sprintf(", %d better ones not shown", n)
	}
	_, err := fmt.Fprintf(to, "%d of %d viewers for %.1f s%s; fps from %.2f to %.2f; clocks known to ±%.2f ms\n",
		r.Seeing, r.Clients, r.DurationS, more, s.FPSMin, s.FPSMax, s.UncertaintyMS)
	return err
}

func (a *Ages) cells() string {
	if a == nil {
		return "-\t-\t-"
	}
	return fmt.Sprintf("%.2f\t%.2f\t%.2f", a.P50, a.P95, a.P99)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// histogram of durations: buckets that grow by 0.5 % from 1 µs, so that a run may last as long as it likes.
type histogram struct {
	counts  []uint32 // bound: what bucket gives
	samples uint64
	max     time.Duration
}

const buckets = 4200 // up to 20 minutes

var growth = math.Log(1.005)

func bucket(d time.Duration) int {
	if d <= time.Microsecond {
		return 0
	}
	return min(int(math.Log(float64(d)/float64(time.Microsecond))/growth), buckets-1)
}

func (h *histogram) add(d time.Duration) {
	i := bucket(d)
	h.grow(i)
	h.counts[i]++
	h.samples++
	h.max = max(h.max, d)
}

func (h *histogram) grow(i int) {
	if i >= len(h.counts) {
		h.counts = append(h.counts, make([]uint32, i+1-len(h.counts))...)
	}
}

func (h *histogram) merge(o *histogram) {
	h.grow(len(o.counts) - 1)
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.samples += o.samples
	h.max = max(h.max, o.max)
}

// percentile p, 0..100, by nearest rank: the middle of its bucket.
func (h *histogram) percentile(p float64) time.Duration {
	rank := max(uint64(math.Ceil(float64(h.samples)*p/100)), 1)
	var sum uint64
	for i, n := range h.counts {
		if sum += uint64(n); sum >= rank {
			return min(time.Duration(math.Exp((float64(i)+0.5)*growth)*float64(time.Microsecond)), h.max)
		}
	}
	return h.max
}

func (h *histogram) ages() *Ages {
	if h.samples == 0 {
		return nil
	}
	return &Ages{
		P50: ms(h.percentile(50)), P95: ms(h.percentile(95)), P99: ms(h.percentile(99)), Max: ms(h.max),
		Samples: h.samples,
	}
}
