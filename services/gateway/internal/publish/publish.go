// Package publish takes pictures from clients and makes each client's a stream like any other: its origin claims the
// name, asks for credit and keeps the book just as a camera's does. A message is checked here before it may reach the
// bus; its entropy-coded data only an encoder can check. It knows nothing of viewers or of who may publish.
package publish

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/instrument"
	"github.com/framebus/framebus/services/internal/origin"
	"github.com/framebus/framebus/services/internal/presence"
	"github.com/framebus/framebus/services/internal/shm"
	"github.com/gorilla/websocket"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"
)

// Errors of Serve, in front of the handshake.
var (
	ErrTaken  = errors.New("somebody publishes under this name")
	ErrFull   = errors.New("no more publishers are taken")
	ErrEnding = errors.New("this gateway is ending")
)

// Limits of what a client may send.
type Limits struct {
	Publishers int     // at once
	Bytes      int     // a message
	Side       int     // of a picture, px
	FPS        float64 // pictures a second
}

// Deps of a desk.
type Deps struct {
	Bus    *bus.Bus
	Roster *presence.Roster
	// Shm is where pictures lie that encoders of this host read; nil means that all go through the bus.
	Shm    *shm.Folder
	Log    *slog.Logger
	Meter  metric.Meter
	Tracer trace.Tracer
	// Sampler makes what decides which of a stream's frames are traced.
	Sampler func() func(time.Time) bool
}

// Desk is where publishers come. It is safe for concurrent use.
type Desk struct {
	lim Limits
	d   Deps

	pictures, bytes, refusals instrument.Counter

	mu      sync.Mutex
	ending  bool
	present map[string]*session
	past    map[string]lastWords // of publishers who have gone; bound: maxPast
	all     sync.WaitGroup
}

// New makes a desk.
func New(lim Limits, d Deps) (*Desk, error) {
	desk := &Desk{lim: lim, d: d, present: map[string]*session{}, past: map[string]lastWords{}}
	m := instrument.New(d.Meter)
	desk.pictures = m.Counter("framebus.publish.pictures", instrument.Frames,
		"Pictures taken from publishing clients.").With()
	desk.bytes = m.Counter("framebus.publish.size", instrument.Bytes,
		"Bytes of pictures taken from publishing clients.").With()
	desk.refusals = m.Counter("framebus.publish.refused", "{message}",
		"Messages of publishing clients that were not taken, by reason.")
	for _, why := range []reason{notBinary, envelope, notJPEG, cut, tooWide, tooFast, tooBig} {
		desk.refusals.With("reason", string(why)) // begins at zero
	}
	publishers := m.Gauge("framebus.publish.publishers", "{publisher}", "Publishing clients.")
	m.Observe(func(o metric.Observer) { o.ObserveInt64(publishers, int64(desk.now())) }, publishers)
	if err := m.Err(); err != nil {
		return nil, fmt.Errorf("publishers: %w", err)
	}
	return desk, nil
}

func (k *Desk) now() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.present)
}

// May tells whether somebody could publish under this name now, or why not.
func (k *Desk) May(stream string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.may(stream)
}

func (k *Desk) may(stream string) error {
	switch {
	case k.ending:
		return ErrEnding
	case k.present[stream] != nil:
		return ErrTaken
	case len(k.present) >= k.lim.Publishers:
		return ErrFull
	}
	return nil
}

// Serve upgrades the request and publishes what the client sends until it ends, or ctx does. It returns May's error,
// with nothing answered; after that the client has had its answer.
func (k *Desk) Serve(ctx context.Context, w http.ResponseWriter, r *http.Request, id, stream string) error {
	s := &session{
		desk: k, id: id, stream: stream, began: time.Now(), address: r.RemoteAddr, client: r.UserAgent(),
		refused: map[reason]uint64{}, stop: make(chan struct{}),
		asked: make(chan *pb.Clock, 1),
	}
	k.mu.Lock()
	if err := k.may(stream); err != nil {
		k.mu.Unlock()
		return err
	}
	k.present[stream] = s
	k.all.Add(1)
	k.mu.Unlock()
	defer k.all.Done()
	defer k.forget(s)

	up := websocket.Upgrader{
		HandshakeTimeout: handshakeTimeout, Subprotocols: []string{Subprotocol},
		CheckOrigin: func(*http.Request) bool { return true }, // the caller has
	}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		k.d.Log.Debug("publisher's handshake failed", "error", err)
		return nil
	}
	s.ws = ws
	s.origin = origin.New(origin.Config{Stream: stream, By: subject.Pub, Source: "publish:" + r.RemoteAddr}, origin.Deps{
		Bus: k.d.Bus, Roster: k.d.Roster, Shm: k.d.Shm, Log: k.d.Log, Meter: k.d.Meter,
		Tracer: k.d.Tracer, Sample: k.d.Sampler(),
	})
	s.ready.Store(true)
	log := k.d.Log.With("stream", stream, "publisher", id)
	log.Info("publisher came", "address", r.RemoteAddr)
	own, end := context.WithCancel(ctx)
	g, gctx := errgroup.WithContext(own)
	g.Go(func() error { return s.origin.Run(own) })
	g.Go(func() error { return s.watch(gctx) })
	g.Go(func() error {
		defer end()
		return s.read()
	})
	if err := g.Wait(); err != nil {
		log.Info("publisher ended", "reason", err)
	}
	end()
	return nil
}

// forget gives the name back: from the next Status on nobody here owns the stream.
func (k *Desk) forget(s *session) {
	k.mu.Lock()
	delete(k.present, s.stream)
	if s.ready.Load() {
		k.remember(s.origin.LastWords(), time.Now())
	}
	k.mu.Unlock()
	k.d.Roster.Changed()
}

// Streams are what is published here, for Status.
func (k *Desk) Streams() []*pb.StreamStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []*pb.StreamStatus
	for _, s := range k.present {
		if s.ready.Load() {
			status := s.origin.StreamStatus()
			status.Ended = append(status.Ended, k.past[s.stream].status.GetEnded()...)
			out = append(out, status)
		}
	}
	out = append(out, k.gone(time.Now())...)
	slices.SortFunc(out, func(a, b *pb.StreamStatus) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return out
}

// Publishers are how those who publish fare, by stream.
func (k *Desk) Publishers() []Stats {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]Stats, 0, len(k.present))
	for _, s := range k.present {
		out = append(out, s.stats())
	}
	slices.SortFunc(out, func(a, b Stats) int { return cmp.Compare(a.Stream, b.Stream) })
	return out
}

// Close takes nobody more, tells those there are that they may come back elsewhere, and waits for their end.
func (k *Desk) Close() {
	k.mu.Lock()
	k.ending = true
	for _, s := range k.present {
		s.end()
	}
	k.mu.Unlock()
	k.all.Wait()
}

func (k *Desk) refuse(why reason) {
	k.refusals.With("reason", string(why)).Add(1)
}

// taken tells whether another client of any gateway, and no camera, has the stream.
func (k *Desk) taken(stream string) bool {
	me := k.d.Roster.Config().Instance
	for _, status := range k.d.Roster.Live() {
		for _, s := range status.GetStreams() {
			if s.GetName() != stream || s.GetEpoch() == 0 || status.GetInstance() == me || status.GetDraining() {
				continue
			}
			return s.GetOwner() == pb.Owner_OWNER_PUB
		}
	}
	return false
}
