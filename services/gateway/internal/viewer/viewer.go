// Package viewer is one client that watches: its connection, its credit and its one writer. It is told pictures and
// messages by a hub and decides which of them go out and when, so that a slow client sees fresh pictures and disturbs
// nobody. It knows nothing of the bus, of streams' names beyond what it is told, and of other viewers.
//
// Who owns what: a connection's bytes are written by whoever holds its turn (file turn.go), one goroutine at a time;
// everything that waits to be written is bounded and lies under the viewer's lock.
package viewer

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/gateway/internal/picture"
	"github.com/framebus/framebus/services/internal/adapt"
	"github.com/framebus/framebus/services/internal/instrument"
	"github.com/gorilla/websocket"
)

// Subprotocol is what a client names that wants envelopes and control messages.
const Subprotocol = "framebus.v1"

const (
	defaultWriteTimeout = 10 * time.Second
	// closeHandshake is how long the client may take to answer a close frame.
	closeHandshake = time.Second
)

var (
	errGone    = errors.New("the client has gone")
	errStalled = errors.New("the client has read nothing")
)

// Commands is what a framebus.v1 client may ask for; the hub does it. It is called on the viewer's reading goroutine,
// one call at a time, and must not wait. Clock messages are answered by the viewer itself.
type Commands interface {
	Select(*Viewer, *pb.Select)
	Painted(*Viewer, *pb.Painted)
	TraceNext(*Viewer, *pb.TraceNext)
}

// Options of one viewer. Zero means the default.
type Options struct {
	ID          string                   // for the API and logs
	Sized       bool                     // a WebSocket client that asked for format=sized; framebus.v1 outranks it
	Smooth      bool                     // up to 30 pictures wait, in order; else 1, the newest
	Numbers     *picture.Counter         // the gateway's own, which it also numbers its pictures with
	Commands    Commands                 // nil: control messages are read and dropped
	CheckOrigin func(*http.Request) bool // nil: the page's host must be ours
	// Began is now by the gateway's clock, with a monotonic reading; what the client is told of times goes by it. Zero:
	// the host's clock.
	Began time.Time
	// Displaced counts control messages that gave way to newer ones.
	Displaced instrument.Counter
	// WriteTimeout ends a viewer that reads nothing for so long. Default 10 s.
	WriteTimeout time.Duration

	deafAfter time.Duration // tests only: how long a client may leave pings unanswered
}

// Tuning is how one stream is shown to one viewer.
type Tuning struct {
	Stream string
	MaxFPS float64 // 0: all
	Hidden bool    // the client shows nothing for now: pause
}

// Viewer is one connection. Its methods are safe for concurrent use.
type Viewer struct {
	o       Options
	began   time.Time
	address string
	client  string // User-Agent
	format  picture.Format
	ws      *websocket.Conn // reads; nil on a plain connection
	wire    *wire           // writes, for the holder of the turn
	wake    chan struct{}   // holds a token while Run has something to look at

	mu   sync.Mutex
	turn bool   // somebody writes; its holder looks for more before it lets go
	rest []byte // what the socket did not take: Run has the turn

	lanes []*lane // few
	lane  int     // whose turn it is
	size  int     // of the last picture sent, bytes

	preface []byte // goes out before all else
	pong    []byte // bound: one, the newest answer to the client's pings
	texts   []text // bound: maxTexts
	scratch []byte // what is being written, where it is not shared

	credit    credit
	by        acks // what acknowledges
	host      host
	record    record
	proxy     adapt.Proxy
	forgot    time.Duration // when a picture was last given up that was never painted
	handed    uint64        // bytes that were to be written, ever
	numbered  uint64        // the last ping's
	bareDue   bool
	bareAt    time.Duration
	bareDueAt time.Duration // since when a bare ping has been due
	due       time.Duration // when there is something to be sent that must not go before; 0: nothing
	link      adapt.Link
	drain     drain
	lowAt     int           // TCP_NOTSENT_LOWAT as it is set, 0: not
	got       uint64        // bytes that had reached the client's host when a pong was last overdue
	gotAt     time.Duration // since when it has been so many

	closing    bool   // nothing but what waits in front of closeFrame goes out
	closeFrame []byte // nil on a plain connection
	closeBy    time.Time
	closeSent  bool
	readOver   bool // what the client sends is not looked at any more
	peerClosed bool // it sent a close frame
	failed     error

	traces             traces
	meter              meter
	malformed, ignored uint64
}

// ID is Options.ID.
func (v *Viewer) ID() string { return v.o.ID }

// Format is what the client gets.
func (v *Viewer) Format() picture.Format { return v.format }

func (v *Viewer) now() time.Duration { return time.Since(v.began) }

// Run serves the viewer until it has gone, was closed or ctx ends (close code 1001). When it returns, nothing of the
// viewer runs any more and its connection is closed; err says why it ended, nil where the client left or was closed.
func (v *Viewer) Run(ctx context.Context) error {
	drained := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(drained)
		v.Close(websocket.CloseGoingAway, "going away", true)
	})
	read := make(chan error, 1)
	go func() { read <- v.read() }()

	v.mu.Lock()
	v.bareAt = v.now() + barePings
	if v.failed == nil {
		v.pumpLocked() // the turn was taken until now
	} else {
		v.mu.Unlock()
	}
	v.serve()

	v.mu.Lock()
	handshake := v.closeSent && v.failed == nil && !v.peerClosed
	if handshake && (v.readOver || v.ws == nil) {
		v.wire.closeWrite()
	}
	if handshake {
		_ = v.wire.conn.SetReadDeadline(time.Now().Add(closeHandshake)) // ends reading, if the client does not
	} else {
		_ = v.wire.conn.Close()
	}
	v.mu.Unlock()
	readErr := <-read
	_ = v.wire.conn.Close()
	if !stop() {
		<-drained
	}

	v.mu.Lock()
	defer v.mu.Unlock()
	v.closing, v.turn = true, true // nobody writes from now on
	v.dropAll()
	switch {
	case errors.Is(v.failed, errGone):
		return nil
	case v.failed != nil:
		return v.failed
	case errors.Is(readErr, errFlood), errors.Is(readErr, websocket.ErrReadLimit):
		return readErr
	default:
		return nil
	}
}

// serve is the viewer's one writer, for all that has to wait, and its clock.
func (v *Viewer) serve() {
	timer := time.NewTimer(barePings)
	defer timer.Stop()
	for {
		v.writeRest()
		v.mu.Lock()
		over := v.failed != nil || v.closeSent && !v.turn
		v.mu.Unlock()
		if over {
			return
		}
		timer.Reset(v.tick())
		select {
		case <-v.wake:
		case <-timer.C:
		}
	}
}

// Show begins to show a stream or changes how: pictures of this channel are taken from now on, and booked in a, which
// may be nil.
func (v *Viewer) Show(channel uint16, t Tuning, a Account) {
	v.mu.Lock()
	defer v.mu.Unlock()
	l := v.find(channel)
	if l == nil {
		l = newLane(channel, v.o.Smooth)
		l.traces = &v.traces
		v.lanes = append(v.lanes, l)
	}
	l.tuning = t
	if a != nil {
		l.account = a
	}
	if t.Hidden {
		l.drop(Hidden)
	}
}

// Drop ends a stream, and returns what the viewer had of it; the connection stays.
func (v *Viewer) Drop(channel uint16) []Tally {
	v.mu.Lock()
	defer v.mu.Unlock()
	var had []Tally
	if l := v.find(channel); l != nil {
		l.drop(Closed)
		had = l.tally()
	}
	v.lanes = slices.DeleteFunc(v.lanes, func(l *lane) bool { return l.channel == channel })
	v.lane = 0
	return had
}

func (v *Viewer) find(channel uint16) *lane {
	for _, l := range v.lanes {
		if l.channel == channel {
			return l
		}
	}
	return nil
}

// Offer gives the viewer a picture. It never waits; the picture is sent now, waits for credit, or is skipped and
// counted. It is false where the picture's channel is not shown, so that nobody has counted it.
func (v *Viewer) Offer(p *picture.Picture) bool {
	v.mu.Lock()
	l := v.find(p.Header.Channel)
	if l == nil {
		v.mu.Unlock()
		return false
	}
	now := v.now()
	if p.Trace != nil {
		v.traces.offered(p, l, v.format, v.bounded(), now)
	}
	v.credit.Offered(l.offer(p, now))
	if v.closing {
		l.drop(Closed)
	}
	if v.turn {
		v.mu.Unlock()
		return true
	}
	v.turn = true
	v.pumpLocked()
	return true
}

// Notice sends a control message, to framebus.v1 clients only. At most 16 wait; of two Stats of one channel the newer
// stays, beyond that the oldest message is dropped.
func (v *Viewer) Notice(m *pb.ServerMessage) {
	if v.format != picture.V1 {
		return
	}
	t := text{frame: textFrame(m), stats: -1}
	if s := m.GetStats(); s != nil {
		t.stats = int(s.Channel)
	}
	v.mu.Lock()
	if !v.closing {
		v.queueText(t)
	}
	v.mu.Unlock()
	v.pump()
}

// Close ends the connection with a close frame, before it `bye` for framebus.v1. It does not wait; Run returns within
// 3 s. The first close counts.
func (v *Viewer) Close(code int, reason string, comeBack bool) {
	v.mu.Lock()
	if v.closeBy.IsZero() {
		v.closeBy = time.Now().Add(closeGrace)
		_ = v.wire.conn.SetWriteDeadline(v.closeBy) // of a write that waits now
	}
	if !v.closing {
		v.closing = true
		v.dropAll()
		if v.format == picture.V1 {
			bye := &pb.Bye{Reason: reason, ComeBack: comeBack}
			v.queueText(text{frame: textFrame(&pb.ServerMessage{Message: &pb.ServerMessage_Bye{Bye: bye}}), stats: -1})
		}
		if v.format.WebSocket() {
			v.closeFrame = closeFrame(code, reason)
		}
	}
	v.mu.Unlock()
	v.pump()
}

func (v *Viewer) dropAll() {
	for _, l := range v.lanes {
		l.drop(Closed)
	}
	v.traces.closed()
}

// Stats is a snapshot.
func (v *Viewer) Stats() Stats {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.now()
	s := Stats{
		ID: v.o.ID, Since: v.began, Address: v.address, Client: v.client, Format: v.format, Smooth: v.o.Smooth,
		Frames: v.meter.frames, Bytes: v.meter.bytes,
		RTT: v.credit.RTT(now), Pongs: v.credit.pongs, Deaf: v.credit.deaf,
		Malformed: v.malformed, Ignored: v.ignored,
	}
	s.FPS, s.Mbps = v.meter.rates(now)
	if delays := v.credit.AckDelays(make([]time.Duration, 0, maxDelays)); len(delays) > 0 {
		slices.Sort(delays)
		s.AckP50 = delays[len(delays)/2]
		s.AckP95 = delays[len(delays)*95/100]
	}
	for _, l := range v.lanes {
		s.Streams = append(s.Streams, l.stats())
	}
	if v.failed != nil && !errors.Is(v.failed, errGone) {
		s.Error = v.failed.Error()
	}
	return s
}
