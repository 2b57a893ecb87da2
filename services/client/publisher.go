package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protojson"
)

// writeBuffer holds a usual picture.
const writeBuffer = 64 << 10

// PublisherConfig says where pictures go. URL and Stream are required.
type PublisherConfig struct {
	// URL of the gateway, as in Config; its path, where it has one, ends in /publish.
	URL    string
	Stream string
	// Token is the gateway's FRAMEBUS_PUBLISH_TOKEN; it is sent in a header and never logged.
	Token string
	// Attempts and Delay are as in Config.
	Attempts int
	Delay    time.Duration
	Header   http.Header
	TLS      *tls.Config
}

// PublisherDeps are what a Publisher tells things to, all optional. Callbacks are never called side by side with
// themselves and must not block.
type PublisherDeps struct {
	Log      *slog.Logger
	OnNotice func(*pb.Notice)
	OnState  func(State)
}

// PublisherStats tell how it goes.
type PublisherStats struct {
	Sent       uint64 // pictures written to the socket
	Superseded uint64 // pictures that a newer one displaced, because the connection was away or slow
	Bytes      uint64
	Reconnects uint64
	// Taken and Refused, by reason, are the gateway's word about this connection.
	Taken   uint64
	Refused map[string]uint64
}

// Publisher makes a stream of the pictures it is given. Its methods are safe for concurrent use.
type Publisher struct {
	cfg    PublisherConfig
	deps   PublisherDeps
	log    *slog.Logger
	dialer dialer
	began  atomic.Bool
	wake   chan struct{} // a token while there is a picture

	mu       sync.Mutex
	next     []byte // the newest picture; bound: 1, an older one is superseded
	connects uint64
	stats    PublisherStats
}

// NewPublisher checks cfg and makes a Publisher, which does nothing before Run.
func NewPublisher(cfg PublisherConfig, deps PublisherDeps) (*Publisher, error) {
	var errs []error
	u, header, err := endpoint(cfg.URL, "/publish", cfg.Header)
	if err != nil {
		errs = append(errs, err)
	}
	if !subject.ValidName(cfg.Stream) {
		errs = append(errs, fmt.Errorf("stream %q: want a-z, 0-9, - and _, at most 63", cfg.Stream))
	}
	if cfg.Attempts < 0 || cfg.Delay < 0 {
		errs = append(errs, errors.New("attempts and delay must not be negative"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("publisher: %w", err)
	}
	u.RawQuery = url.Values{"stream": {cfg.Stream}}.Encode()
	if cfg.Token != "" {
		header.Set("Authorization", "Bearer "+cfg.Token)
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	return &Publisher{
		cfg: cfg, deps: deps, log: deps.Log.With("gateway", u.Host, "stream", cfg.Stream), wake: make(chan struct{}, 1),
		dialer: dialer{
			target: u, header: header, tls: cfg.TLS, protocol: protocol, connect: (&net.Dialer{}).DialContext,
			write: writeBuffer,
		},
	}, nil
}

// Send gives the newest picture, a JPEG that is the publisher's from now on. It never waits: while the last one is
// still being written, or there is no connection, a newer one takes its place.
func (p *Publisher) Send(jpeg []byte) {
	p.mu.Lock()
	if p.next != nil {
		p.stats.Superseded++
	}
	p.next = jpeg
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Stats so far.
func (p *Publisher) Stats() PublisherStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Reconnects = max(p.connects, 1) - 1
	s.Refused = make(map[string]uint64, len(p.stats.Refused))
	for why, n := range p.stats.Refused {
		s.Refused[why] = n
	}
	return s
}

// Run publishes until ctx ends, which is no error, or until there is no point in going on, as a Viewer's does. A name
// that somebody else has is waited for. It runs once.
func (p *Publisher) Run(ctx context.Context) error {
	if !p.began.CompareAndSwap(false, true) {
		return errors.New("publisher: runs once")
	}
	r := retry{attempts: p.cfg.Attempts, delay: p.cfg.Delay, log: p.log, state: p.setState}
	err := r.keep(ctx, p.once)
	p.setState(State{Phase: Ended, Err: err})
	return err
}

func (p *Publisher) setState(s State) {
	if p.deps.OnState != nil {
		p.deps.OnState(s)
	}
}

func (p *Publisher) once(ctx context.Context, attempt int) (heard bool, err error) {
	conn, err := p.dialer.dial(ctx)
	if err != nil {
		return false, err
	}
	p.mu.Lock()
	p.connects++
	p.mu.Unlock()
	p.setState(State{Phase: Open, Attempt: attempt})
	p.log.Info("connected")
	err = hold(ctx, conn, func(context.Context) error { return p.hear(conn, &heard) },
		func(ctx context.Context) error { return p.write(ctx, conn) })
	return heard, fmt.Errorf("connection to %s ended: %w", p.dialer.target.Host, err)
}

// hear reads what the gateway tells once a second; silence means that the connection is dead.
func (p *Publisher) hear(conn *websocket.Conn, heard *bool) error {
	conn.SetReadLimit(readLimit)
	for {
		_ = conn.SetReadDeadline(time.Now().Add(silence)) // on a broken connection the read tells
		kind, text, err := conn.ReadMessage()
		if err != nil {
			return err
		}
		var m pb.ServerMessage
		if kind != websocket.TextMessage || (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, &m) != nil {
			continue // of a later version
		}
		*heard = true
		switch {
		case m.GetStats() != nil:
			p.mu.Lock()
			p.stats.Taken, p.stats.Refused = m.GetStats().GetSent(), m.GetStats().GetSkipped()
			p.mu.Unlock()
		case m.GetNotice() != nil && p.deps.OnNotice != nil:
			p.deps.OnNotice(m.GetNotice())
		}
	}
}

func (p *Publisher) write(ctx context.Context, conn *websocket.Conn) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.wake:
		}
		p.mu.Lock()
		jpeg := p.next
		p.next = nil
		p.mu.Unlock()
		if jpeg == nil {
			continue
		}
		_ = conn.SetWriteDeadline(time.Now().Add(writeWait)) // on a broken connection the write tells
		if err := conn.WriteMessage(websocket.BinaryMessage, jpeg); err != nil {
			return err
		}
		p.mu.Lock()
		p.stats.Sent++
		p.stats.Bytes += uint64(len(jpeg))
		p.mu.Unlock()
	}
}
