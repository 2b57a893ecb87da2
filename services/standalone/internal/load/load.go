// Package load watches a gateway with many viewers at once and tells what they got: rate, age, loss, bytes. It is what
// `framebus bench` does. It measures from outside, over real connections, and knows nothing of the services; pictures
// are counted and thrown away, and only a sample of them is decoded, as far as the latency strip reaches.
package load

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/framebus/framebus/services/client"
)

// Config of a run. Only URL is required.
type Config struct {
	URL     string
	Streams []string // viewers take them in turns; none means the gateway's first
	Clients int      // 0 means 1
	// Duration of the measurement, which begins when all viewers see pictures; 0 means 10 s.
	Duration time.Duration
	// Patience for all to see their first picture; those that do not are left out; 0 means 10 s + 20 ms a viewer.
	Patience time.Duration
	Rung     string
	Mode     string
	MaxFPS   float64
	Format   client.Format
	// StripEvery is how many of a viewer's pictures one is decoded of, to read the latency strip; 0 means 10, or
	// Clients where they are more, so that many viewers cost no more decoding than a few; below 0 none.
	StripEvery int
	Header     http.Header
}

func (c *Config) defaults() {
	if len(c.Streams) == 0 {
		c.Streams = []string{""}
	}
	if c.Clients == 0 {
		c.Clients = 1
	}
	if c.Duration == 0 {
		c.Duration = 10 * time.Second
	}
	if c.Patience == 0 {
		c.Patience = 10*time.Second + time.Duration(c.Clients)*20*time.Millisecond
	}
	if c.StripEvery == 0 {
		c.StripEvery = max(10, c.Clients)
	}
}

// dialing bounds the handshakes under way at once: a stampede would measure the listen queue.
const dialing = 32

// ErrNobody is what Run's error wraps when no viewer saw a picture; it wraps a viewer's reason too.
var ErrNobody = errors.New("no viewer saw a picture")

// Run watches, measures for Config.Duration and reports. A ctx that ends before is an error.
func Run(ctx context.Context, cfg Config, log *slog.Logger) (*Report, error) {
	if cfg.Clients < 0 || cfg.Duration < 0 || cfg.Patience < 0 {
		return nil, errors.New("load: clients, duration and patience must not be negative")
	}
	cfg.defaults()
	watchers := make([]*watcher, cfg.Clients)
	for i := range watchers {
		w, err := newWatcher(&cfg, cfg.Streams[i%len(cfg.Streams)], log)
		if err != nil {
			return nil, fmt.Errorf("load: %w", err)
		}
		watchers[i] = w
	}

	running, stop := context.WithCancel(ctx)
	defer stop()
	var g errgroup.Group
	slots := make(chan struct{}, dialing)
	for _, w := range watchers {
		g.Go(func() error { w.run(running, slots, cfg.Patience); return nil })
	}
	err := measure(ctx, cfg, watchers)
	end := time.Now()
	stop()
	_ = g.Wait() // watchers keep their errors
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	return report(cfg, watchers, end), nil
}

// measure waits until the viewers are there, opens their books, and waits for the duration.
func measure(ctx context.Context, cfg Config, watchers []*watcher) error {
	patience := time.After(cfg.Patience)
	for waiting := range watchers {
		select {
		case <-watchers[waiting].settled:
		case <-patience:
			patience = nil
			// The others had the same time.
			for _, w := range watchers[waiting:] {
				w.settle()
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	begin := time.Now()
	var reason error
	seeing := 0
	for _, w := range watchers {
		if err := w.open(begin); err != nil {
			reason = err
		} else {
			seeing++
		}
	}
	if seeing == 0 {
		return fmt.Errorf("%w: %w", ErrNobody, reason)
	}
	select {
	case <-time.After(cfg.Duration):
	case <-ctx.Done():
		return ctx.Err()
	}
	end := time.Now()
	for _, w := range watchers {
		w.shut(end)
	}
	return nil
}

// watcher is one viewer and its book.
type watcher struct {
	viewer     *client.Viewer
	stream     string
	stripEvery int
	settled    chan struct{} // closed once it saw a picture or there is no hope
	settle     func()

	mu      sync.Mutex
	seen    bool // a picture, ever
	cancel  context.CancelFunc
	why     error // it is not connected
	begin   time.Time
	end     time.Time // zero while open
	frames  uint64
	lost    uint64
	bytes   uint64
	age     histogram
	strip   histogram
	noStrip uint64 // pictures decoded whose strip could not be read
	before  client.Stats
	after   client.Stats
	err     error
	strips  stripReader
}

func newWatcher(cfg *Config, stream string, log *slog.Logger) (*watcher, error) {
	w := &watcher{stream: stream, stripEvery: cfg.StripEvery, settled: make(chan struct{})}
	w.settle = sync.OnceFunc(func() { close(w.settled) })
	v, err := client.New(client.Config{
		URL: cfg.URL, Stream: stream, Rung: cfg.Rung, Mode: cfg.Mode, MaxFPS: cfg.MaxFPS, Format: cfg.Format,
		Every: true, Header: cfg.Header,
	}, client.Deps{Log: log, OnFrame: w.take, OnState: w.state})
	w.viewer = v
	return w, err
}

// run watches until ctx ends. Its place among those that dial is given up once it saw a picture.
func (w *watcher) run(ctx context.Context, slots chan struct{}, patience time.Duration) {
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.mu.Lock()
	w.cancel = cancel
	w.mu.Unlock()
	free := make(chan struct{})
	go func() {
		defer close(free)
		limit := time.NewTimer(patience)
		defer limit.Stop()
		select {
		case <-w.settled:
		case <-limit.C:
		case <-ctx.Done():
		}
		<-slots
	}()
	if err := w.viewer.Run(ctx); err != nil {
		w.mu.Lock()
		w.why = err
		w.mu.Unlock()
	}
	w.settle()
	<-free
}

// state takes it as settled that a gateway which refuses will not have this viewer: who is full stays full.
func (w *watcher) state(s client.State) {
	var refused *client.ErrRefused
	w.mu.Lock()
	if s.Err != nil || s.Phase == client.Open {
		w.why = s.Err
	}
	w.mu.Unlock()
	if errors.As(s.Err, &refused) {
		w.settle()
	}
}

// take counts a picture.
func (w *watcher) take(f *client.Frame) {
	defer f.Release()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.seen {
		w.seen = true
		w.settle()
	}
	if w.begin.IsZero() || f.ReceivedAt.Before(w.begin) || !w.end.IsZero() && f.ReceivedAt.After(w.end) {
		return
	}
	if w.frames++; w.frames > 1 {
		w.lost += f.Missed // before the first, it was before we counted
	}
	w.bytes += uint64(len(f.JPEG))
	age, _, known := f.Age()
	if known {
		w.age.add(age)
	}
	if w.stripEvery <= 0 || w.frames%uint64(w.stripEvery) != 0 {
		return
	}
	us, ok := w.strips.read(f.JPEG, f.ReceivedAt.UnixMicro())
	if !ok {
		w.noStrip++
		return
	}
	local := time.Duration(f.ReceivedAt.UnixMicro()-us) * time.Microsecond
	if known {
		// What the clocks differ by is the same for the envelope's time and the strip's.
		local += age - time.Duration(f.ReceivedAt.UnixMicro()-f.Header.CapturedUs)*time.Microsecond
	}
	w.strip.add(local)
}

// open begins the book, or says why there is none.
func (w *watcher) open(at time.Time) error {
	before := w.viewer.Stats()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.seen {
		if w.err = w.why; w.err == nil {
			w.err = errors.New("no picture came in time")
		}
		if w.cancel != nil {
			w.cancel() // it must not come in later, as a load that no book has
		}
		return w.err
	}
	w.begin, w.before = at, before
	return nil
}

func (w *watcher) shut(at time.Time) {
	after := w.viewer.Stats()
	w.mu.Lock()
	w.end, w.after = at, after
	w.mu.Unlock()
}

// redacted is a URL fit for a report.
func redacted(raw string) string {
	if !strings.Contains(raw, "://") {
		raw = "http://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	q := u.Query()
	if q.Has("token") {
		q.Set("token", "xxxxx")
		u.RawQuery = q.Encode()
	}
	return u.Redacted()
}
