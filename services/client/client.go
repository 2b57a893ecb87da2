// Package client watches framebus streams from Go: it dials a gateway, reconnects, acknowledges what it reads, keeps
// the clock's offset, and hands pictures over newest first or one by one, with statistics that say how well it goes.
//
// It knows the contracts in proto and nothing of the services. A Viewer owns its connection and every goroutine of it;
// Run returns when its context ends and leaves nothing behind. Pictures belong to whoever they were handed to.
package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
)

// Format is how pictures come over the connection.
type Format int

// The formats. Only V1 tells of time, sequence and quality and carries several streams.
const (
	V1    Format = iota // an envelope in front of every JPEG, control messages beside them
	Bare                // one JPEG a message
	Sized               // 8 bytes of little-endian size, then the JPEG
)

// Config says what to watch, and how. Only URL is required.
type Config struct {
	// URL of the gateway: http, https, ws or wss; its base, or the full path that ends in /ws. Without a scheme it is
	// http. A user and password in it are sent as basic authorization and never logged.
	URL string
	// Stream by name; empty is the gateway's first.
	Stream string
	// Also names more streams that come on the same connection. Only with V1.
	Also []string
	// Rung is auto (also when empty), full, half or quarter.
	Rung string
	// Mode is live (also when empty), or smooth: the gateway keeps up to 30 frames for a link that stalls.
	Mode string
	// MaxFPS bounds the frames a second of Stream; 0 means all.
	MaxFPS float64
	Format Format

	// Every hands over every frame in order, as a recorder needs it: where the receiver is slow the socket is read no
	// further, the gateway sees it and skips. Without Every the newest frame wins and the socket is never kept waiting.
	Every bool
	// Queue bounds the frames between socket and receiver where Every is set; 0 means 64.
	Queue int

	// Attempts in a row that may fail before Run gives up; 0 means for ever.
	Attempts int
	// Delay between attempts; 0 means a back-off from 100 ms to 1.6 s with jitter.
	Delay time.Duration
	// Silence after which a connection counts as dead; 0 means 6 s. The client asks something every 2 s.
	Silence time.Duration

	// Header is added to the handshake.
	Header http.Header
	TLS    *tls.Config
}

var (
	rungs = []string{"", "auto", "full", "half", "quarter"}
	modes = []string{"", "live", "smooth"}
)

// Validate names every error at once.
func (c *Config) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, _, err := c.target(); err != nil {
		errs = append(errs, err)
	}
	for _, name := range append([]string{c.Stream}, c.Also...) {
		if name != "" && !subject.ValidName(name) {
			wrong("stream %q: want a-z, 0-9, - and _, at most 63", name)
		}
	}
	if len(c.Also) > 0 && c.Format != V1 {
		wrong("several streams on one connection need the format framebus.v1")
	}
	if !slices.Contains(rungs, c.Rung) {
		wrong("rung %q: want auto, full, half or quarter", c.Rung)
	}
	if !slices.Contains(modes, c.Mode) {
		wrong("mode %q: want live or smooth", c.Mode)
	}
	if c.Format < V1 || c.Format > Sized {
		wrong("unknown format %d", c.Format)
	}
	if !(c.MaxFPS >= 0) || c.Attempts < 0 || c.Delay < 0 || c.Silence < 0 || c.Queue < 0 {
		wrong("max fps, attempts, delay, silence and queue must not be negative")
	}
	return errors.Join(errs...)
}

// Deps are what a Viewer tells things to, all optional; at most one of OnFrame and Frames. Callbacks are never called
// side by side with themselves.
type Deps struct {
	Log *slog.Logger
	// OnFrame takes a frame, on a goroutine of its own: it may be slow.
	OnFrame func(*Frame)
	// Frames takes frames as OnFrame does. Leave it unbuffered where the newest is to win: a buffer keeps old ones.
	// Receive until Run returns; it is not closed.
	Frames chan<- *Frame
	// OnNotice hears the gateway's notices, on the connection's goroutine: it must not block.
	OnNotice func(*pb.Notice)
	// Dial makes the TCP connection; nil: as any other of this process.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// OnState hears every change of the connection, on the connection's goroutine: it must not block.
	OnState func(State)
}

// Phase is what a connection is about.
type Phase int

// The phases.
const (
	Connecting Phase = iota
	Open
	Waiting // for the next attempt
	Ended
)

var phaseNames = []string{"connecting", "open", "waiting", "ended"}

// String is the phase's word.
func (p Phase) String() string { return phaseNames[p] }

// State of the connection.
type State struct {
	Phase   Phase
	Attempt int           // number in a row, from 1
	Err     error         // why it waits or ended
	Wait    time.Duration // until the next attempt
}

// Selection sets one stream of the connection; it is repeated after every reconnect.
type Selection struct {
	Stream string // empty means Config.Stream
	// Rung is auto, full, half, quarter, or off, which ends the stream; empty leaves it.
	Rung   string
	MaxFPS float64 // 0 means all
	// Width and Height of the place the picture is shown in, px; 0 where it is not known.
	Width, Height int
	Hidden        bool // nobody sees it: the gateway pauses
}

// Viewer is one connection to a gateway. Its methods are safe for concurrent use.
type Viewer struct {
	cfg    Config
	deps   Deps
	log    *slog.Logger
	dialer dialer
	start  time.Time
	began  atomic.Bool
	box    *box
	spare  *buffers
	wake   chan struct{} // holds a token while the talker may have something to say

	mu       sync.Mutex
	state    State
	streams  []*stream // the first is Config's
	channels map[uint16]*stream
	names    map[uint16]string // of the connection; what hello, notices and stats told
	clock    clockSync
	hello    *pb.Hello
	echo     *pb.Echo // to be sent back; a later one answers for those before
	total    totals
}

// totals of a viewer's life.
type totals struct {
	connects  uint64
	since     time.Time // of the connection
	malformed uint64
	unknown   uint64
	bytes     uint64
}

// New checks cfg and makes a Viewer, which does nothing before Run. An error here is final: the URL or a setting is
// wrong.
func New(cfg Config, deps Deps) (*Viewer, error) {
	err := cfg.Validate()
	if deps.OnFrame != nil && deps.Frames != nil {
		err = errors.Join(err, errors.New("frames go to OnFrame or to Frames, not to both"))
	}
	if err != nil {
		return nil, fmt.Errorf("viewer: %w", err)
	}
	target, header, err := cfg.target()
	if err != nil {
		return nil, fmt.Errorf("viewer: %w", err)
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Dial == nil {
		deps.Dial = (&net.Dialer{}).DialContext
	}
	if cfg.Queue == 0 {
		cfg.Queue = 64
	}
	if cfg.Silence == 0 {
		cfg.Silence = silence
	}
	v := &Viewer{
		cfg:    cfg,
		deps:   deps,
		log:    deps.Log.With("gateway", target.Host),
		dialer: dialer{target: target, header: header, tls: cfg.TLS, connect: deps.Dial, write: 1024},
		start:  time.Now(),
		box:    newBox(cfg.Every, cfg.Queue),
		spare:  &buffers{},
		wake:   make(chan struct{}, 1),
	}
	if cfg.Format == V1 {
		v.dialer.protocol = protocol
	}
	v.streams = []*stream{{name: cfg.Stream, maxFPS: cfg.MaxFPS}}
	for _, name := range cfg.Also {
		if v.find(name) == nil {
			v.streams = append(v.streams, &stream{name: name, sel: &pb.Select{Stream: name, Rung: "auto"}})
		}
	}
	return v, nil
}

// Run watches until ctx ends, which is no error, or until there is no point in going on: after Config.Attempts failed
// attempts in a row (ErrGaveUp), or where the gateway refused for good before it was ever connected (*ErrRefused).
// A Viewer runs once.
func (v *Viewer) Run(ctx context.Context) error {
	if !v.began.CompareAndSwap(false, true) {
		return errors.New("viewer: runs once")
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return v.deliver(ctx) })
	g.Go(func() error {
		// What was read is still handed over where every frame counts: so this ends deliver, and no error does.
		defer v.box.close()
		r := retry{attempts: v.cfg.Attempts, delay: v.cfg.Delay, log: v.log, state: v.setState}
		v.setState(State{Phase: Ended, Err: r.keep(ctx, v.once)})
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return v.State().Err
}

// State of the connection now.
func (v *Viewer) State() State {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.state
}

func (v *Viewer) setState(s State) {
	v.mu.Lock()
	v.state = s
	v.mu.Unlock()
	if v.deps.OnState != nil {
		v.deps.OnState(s)
	}
}

// Select sets one stream of the connection, which may be one that is not on it yet. It never waits: it is sent when
// there is a connection. Only with V1.
func (v *Viewer) Select(s Selection) error {
	switch {
	case v.cfg.Format != V1:
		return errors.New("select: needs the format framebus.v1")
	case s.Stream != "" && !subject.ValidName(s.Stream):
		return fmt.Errorf("select: stream %q is no name", s.Stream)
	case s.Rung != "off" && !slices.Contains(rungs, s.Rung):
		return fmt.Errorf("select: rung %q: want auto, full, half, quarter or off", s.Rung)
	case !(s.MaxFPS >= 0) || s.Width < 0 || s.Height < 0:
		return errors.New("select: max fps and size must not be negative")
	}
	v.mu.Lock()
	st := v.streams[0]
	if s.Stream != "" {
		if st = v.find(s.Stream); st == nil {
			st = &stream{name: s.Stream}
			v.streams = append(v.streams, st)
		}
	}
	st.sel = &pb.Select{
		Stream: st.name, Rung: s.Rung, MaxFps: s.MaxFPS,
		Width: uint32(s.Width), Height: uint32(s.Height), Hidden: s.Hidden,
	}
	st.selDue = true
	st.maxFPS = s.MaxFPS
	st.paused = true // what is skipped meanwhile is not missed
	v.mu.Unlock()
	v.poke()
	return nil
}

// TraceNext asks for the next frame of a stream, "" being Config.Stream, to be traced. Where there is no connection
// nothing is asked.
func (v *Viewer) TraceNext(stream string) {
	v.mu.Lock()
	st := v.streams[0]
	if stream != "" {
		st = v.find(stream)
	}
	if st != nil && v.state.Phase == Open {
		st.traceDue = true
	}
	v.mu.Unlock()
	v.poke()
}

// poke has the talker look for something to say.
func (v *Viewer) poke() {
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// now is wall time at the start plus monotonic time since: a wall clock that is set does not tear ages apart.
func (v *Viewer) now() time.Time { return v.start.Add(time.Since(v.start)) }

// find a stream by name. v.mu is held, or nobody else knows v yet.
func (v *Viewer) find(name string) *stream {
	i := slices.IndexFunc(v.streams, func(s *stream) bool { return s.name == name })
	if i < 0 {
		return nil
	}
	return v.streams[i]
}

// due takes what is to be told to the gateway now.
func (v *Viewer) due(painted bool) []*pb.ClientMessage {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []*pb.ClientMessage
	if v.echo != nil {
		out = append(out, &pb.ClientMessage{Message: &pb.ClientMessage_Echo{Echo: v.echo}})
		v.echo = nil
	}
	for _, st := range v.streams {
		if st.selDue {
			st.selDue = false
			sel := proto.CloneOf(st.sel)
			sel.Stream = st.name
			out = append(out, &pb.ClientMessage{Message: &pb.ClientMessage_Select{Select: sel}})
		}
		if st.traceDue {
			st.traceDue = false
			out = append(out, &pb.ClientMessage{Message: &pb.ClientMessage_TraceNext{
				TraceNext: &pb.TraceNext{Stream: st.name}}})
		}
		if st.paint.due && (painted || st.paint.prompt) {
			st.paintTold = v.now()
			p := st.paint
			st.paint = paint{}
			offset, _ := v.clock.best(v.now())
			out = append(out, &pb.ClientMessage{Message: &pb.ClientMessage_Painted{Painted: &pb.Painted{
				Channel: uint32(p.channel), Epoch: p.epoch, Sequence: p.sequence,
				PaintedUs: p.at.Add(offset).UnixMicro(), Decoded: p.taken, Dropped: p.dropped,
			}}})
		}
	}
	return out
}
