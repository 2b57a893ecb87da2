// Package bus is the only importer of nats.go. It gives the services two connections: pictures and their Done on one,
// Feedback and Status on the other, so that pictures can neither delay nor displace them. It knows nothing of streams
// or of what the messages mean; nothing is buffered while the server is away, for a late picture is worth nothing.
package bus

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/framebus/framebus/services/internal/instrument"
	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/metric"
)

// The defaults of nats.go would break every recovery bar: a black-holed bus goes unnoticed for 60 s with them.
const (
	pingEvery     = time.Second
	pingsMissed   = 2
	flushTimeout  = 500 * time.Millisecond
	dialTimeout   = time.Second
	reconnectWait = 100 * time.Millisecond
	reconnectJit  = 200 * time.Millisecond
	pendingBytes  = 64 << 20 // of one subscription; handlers only move messages, so it never fills
)

const (
	headerTrace   = "traceparent"
	headerContent = "content-type"
	contentJSON   = "application/json"
	headerStatus  = "Status"
	statusNobody  = "503"
	headerNobody  = "Nats-Subject"
)

// Errors of Publish.
var (
	ErrTooLarge     = errors.New("message larger than the server's max_payload")
	ErrDisconnected = errors.New("bus is not connected")
)

// Config says where the bus is.
type Config struct {
	// URL of the server, or several separated by commas: nats:// or tls://.
	URL string
	// Name of the client, as the server lists it.
	Name string
	// User and Password, where the server wants them and the URL has none.
	User, Password string
	// CAFile is a PEM file of the CA that signed the server's certificate; empty means the system's.
	CAFile string
	// InProcess connects to a server inside this process instead of URL.
	InProcess interface{ InProcessConn() (net.Conn, error) }
}

// Deps are what a bus needs of its surroundings. Meter may be nil.
type Deps struct {
	Log   *slog.Logger
	Meter metric.Meter
}

// Bus is a service's two connections. It is safe for concurrent use.
type Bus struct {
	Data    *Conn // raw, jpeg and done
	Control *Conn // feedback and status

	unmeasure func()
}

// Open begins to connect and does not wait for it: a server that is away is waited for in the background, for ever. It
// fails only on settings that can never work.
func Open(cfg Config, d Deps) (*Bus, error) {
	maker := instrument.New(d.Meter)
	connects := maker.Counter("framebus.bus.connects", "{connect}", "Connections made to the bus.")
	data, err := open(cfg, d, "data", connects)
	if err != nil {
		return nil, err
	}
	control, err := open(cfg, d, "control", connects)
	if err != nil {
		data.close()
		return nil, err
	}
	b := &Bus{Data: data, Control: control}
	b.unmeasure = b.measure(maker)
	if err := maker.Err(); err != nil {
		b.Close()
		return nil, fmt.Errorf("bus: %w", err)
	}
	return b, nil
}

// measure tells of the connections whenever somebody asks, until stop.
func (b *Bus) measure(maker *instrument.Maker) (stop func()) {
	up := maker.Gauge("framebus.bus.up", "{connection}", "Whether the connection to the bus is there.")
	data, control := instrument.With("connection", "data"), instrument.With("connection", "control")
	return maker.Observe(func(out metric.Observer) {
		out.ObserveInt64(up, b.Data.upNumber(), data)
		out.ObserveInt64(up, b.Control.upNumber(), control)
	}, up)
}

// Close ends both connections at once. What Publish has taken before is flushed for 500 ms at most.
func (b *Bus) Close() {
	b.unmeasure()
	b.Control.close()
	b.Data.close()
}

// Up tells whether both connections are there, and since when.
func (b *Bus) Up() (bool, time.Time) {
	du, ds := b.Data.Up()
	cu, cs := b.Control.Up()
	if cs.After(ds) {
		ds = cs
	}
	return du && cu, ds
}

// Conn is one connection. It is safe for concurrent use.
type Conn struct {
	nc     *nats.Conn
	log    *slog.Logger
	closed chan struct{}

	ending    atomic.Bool
	since     atomic.Pointer[time.Time] // the connection's start, nil while there is none
	connects  instrument.Counter
	unreached news
	refusals  news

	mu       sync.Mutex
	watchers map[int]func(bool)
	nextID   int
}

func open(cfg Config, d Deps, part string, connects instrument.Counter) (*Conn, error) {
	c := &Conn{
		log: d.Log.With("connection", part), closed: make(chan struct{}), watchers: map[int]func(bool){},
		connects: connects.With("connection", part),
	}
	opts := []nats.Option{
		nats.Name(cfg.Name + " " + part), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectBufSize(-1), nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(pingsMissed),
		nats.FlusherTimeout(flushTimeout), nats.Timeout(dialTimeout), nats.IgnoreAuthErrorAbort(),
		nats.CustomReconnectDelay(func(int) time.Duration { return reconnectWait + rand.N(reconnectJit) }),
		nats.ConnectHandler(c.up),
		nats.ReconnectHandler(c.up),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { c.notReached(err) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { c.down(err) }),
		nats.ClosedHandler(func(*nats.Conn) { close(c.closed) }),
		nats.ErrorHandler(func(_ *nats.Conn, s *nats.Subscription, err error) {
			subject := ""
			if s != nil {
				subject = s.Subject
			}
			c.refused(subject, err)
		}),
	}
	if cfg.InProcess != nil {
		opts = append(opts, nats.InProcessServer(cfg.InProcess))
	} else if err := checkURL(cfg.URL); err != nil {
		return nil, err
	}
	if cfg.User != "" {
		opts = append(opts, nats.UserInfo(cfg.User, cfg.Password))
	}
	if cfg.CAFile != "" {
		opts = append(opts, nats.RootCAs(cfg.CAFile), nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12}))
	}
	nc, err := nats.Connect(cfg.URL, opts...)
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	c.nc = nc
	return c, nil
}

// checkURL refuses what could never be dialled, without repeating a password that stands in it.
func checkURL(list string) error {
	for s := range strings.SplitSeq(list, ",") {
		u, err := url.Parse(strings.TrimSpace(s))
		if err != nil || u.Hostname() == "" || u.Scheme != "nats" && u.Scheme != "tls" {
			return errors.New("NATS URL: want nats://HOST:PORT or tls://HOST:PORT, several separated by commas")
		}
	}
	return nil
}

// up takes the connection as an argument: it may run before Connect has returned.
func (c *Conn) up(nc *nats.Conn) {
	now := time.Now()
	c.since.Store(&now)
	c.connects.Add(1)
	c.log.Info("bus connected", "server", nc.ConnectedServerName(), "max_payload", nc.MaxPayload())
	c.tell(true)
}

func (c *Conn) down(err error) {
	if c.since.Swap(nil) == nil {
		return
	}
	if c.ending.Load() {
		return
	}
	c.log.Warn("bus disconnected", "error", err)
	c.tell(false)
}

func (c *Conn) tell(up bool) {
	c.mu.Lock()
	fns := make([]func(bool), 0, len(c.watchers))
	for _, fn := range c.watchers {
		fns = append(fns, fn)
	}
	c.mu.Unlock()
	for _, fn := range fns {
		fn(up)
	}
}

// Watch calls fn at each connect and disconnect, until cancel. fn must not block.
func (c *Conn) Watch(fn func(up bool)) (cancel func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := c.nextID
	c.nextID++
	c.watchers[id] = fn
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.watchers, id)
	}
}

// Up tells whether the connection is there, and since when: by the monotonic clock too, so that how long it has been
// there stays true where the wall clock is set.
func (c *Conn) Up() (bool, time.Time) {
	since := c.since.Load()
	if since == nil {
		return false, time.Time{}
	}
	return true, *since
}

// upNumber is 1 while the connection is there, else 0.
func (c *Conn) upNumber() int64 {
	if c.since.Load() == nil {
		return 0
	}
	return 1
}

// MaxPayload is the server's limit of a message in bytes, 0 while it is not known.
func (c *Conn) MaxPayload() int64 {
	if c.since.Load() == nil {
		return 0
	}
	return c.nc.MaxPayload()
}

func (c *Conn) close() {
	c.ending.Store(true)
	if c.since.Load() != nil {
		_ = c.nc.FlushTimeout(flushTimeout) // best effort: what is not flushed now is late
	}
	c.nc.Close()
	<-c.closed
}
