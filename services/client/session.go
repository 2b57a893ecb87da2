package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
)

const (
	silence    = 6 * time.Second
	writeWait  = 5 * time.Second
	paintEvery = 250 * time.Millisecond
	// promptEvery is how often a sampled frame may be told of at once: the gateway takes 50 messages a second.
	promptEvery = 50 * time.Millisecond
	clockEvery  = 2 * time.Second
	// The first questions come fast: the first pictures should have an age.
	clockFirst      = 5
	clockFirstEvery = 100 * time.Millisecond
	// readLimit of a message, bytes: what the bus can carry.
	readLimit = frame.MaxPayload + 4096
)

// ErrBye is a gateway's goodbye.
type ErrBye struct {
	Reason   string
	ComeBack bool
}

// Error gives the gateway's words.
func (e *ErrBye) Error() string { return "the gateway said goodbye: " + e.Reason }

// session is one connection. One goroutine reads it, another writes; gorilla's own pongs are safe beside it.
type session struct {
	v       *Viewer
	conn    *websocket.Conn
	text    []byte    // the reader's
	touched time.Time // the reader's: when the deadline was last moved
	heard   bool      // the reader's: a message came
	bye     *pb.Bye   // the reader's
}

// once dials and watches until the connection ends, and tells whether anything was heard on it.
func (v *Viewer) once(ctx context.Context, attempt int) (heard bool, err error) {
	conn, err := v.dialer.dial(ctx)
	if err != nil {
		return false, err
	}
	s := &session{v: v, conn: conn}
	v.opened()
	v.setState(State{Phase: Open, Attempt: attempt})
	v.log.Info("connected", "stream", v.cfg.Stream)

	// A frame that was read waits for its receiver even when the connection is gone, so not with the session's context.
	err = hold(ctx, conn, func(context.Context) error { return s.read(ctx) }, s.talk)
	v.closed()
	if s.bye != nil {
		err = &ErrBye{Reason: s.bye.Reason, ComeBack: s.bye.ComeBack}
	}
	return s.heard, fmt.Errorf("connection to %s ended: %w", v.dialer.target.Host, err)
}

// hold runs what a connection needs until ctx or one of them ends, says goodbye where it can, and closes it.
func hold(ctx context.Context, conn *websocket.Conn, loops ...func(context.Context) error) error {
	g, gctx := errgroup.WithContext(ctx)
	// Closing is what ends a read: the reader looks at no context.
	gone := make(chan struct{})
	stop := context.AfterFunc(gctx, func() {
		defer close(gone)
		bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
		_ = conn.WriteControl(websocket.CloseMessage, bye, time.Now().Add(100*time.Millisecond))
		_ = conn.Close()
	})
	for _, loop := range loops {
		g.Go(func() error { return loop(gctx) })
	}
	err := g.Wait()
	if stop() {
		_ = conn.Close()
	} else {
		<-gone
	}
	return err
}

// read takes messages off the socket at once, for ever.
func (s *session) read(ctx context.Context) error {
	s.conn.SetReadLimit(readLimit)
	ping, pong := s.conn.PingHandler(), s.conn.PongHandler()
	s.conn.SetPingHandler(func(data string) error { s.touch(); return ping(data) })
	s.conn.SetPongHandler(func(data string) error { s.touch(); return pong(data) })
	for {
		s.touch() // also after a receiver that took its time
		kind, r, err := s.conn.NextReader()
		if err != nil {
			return err
		}
		if kind == websocket.TextMessage {
			if s.text, err = readInto(s.text, r, s.touch); err != nil {
				return err
			}
			s.heard = true
			s.control(s.text)
			continue
		}
		buf, err := readInto(s.v.spare.get(), r, s.touch)
		if err != nil {
			return err
		}
		s.heard = true
		if err := s.v.received(ctx, buf); err != nil {
			return err
		}
	}
}

// touch moves the deadline by which something must have come. A large picture on a slow link counts as it comes in.
func (s *session) touch() {
	now := time.Now()
	if now.Sub(s.touched) < s.v.cfg.Silence/8 {
		return
	}
	s.touched = now
	_ = s.conn.SetReadDeadline(now.Add(s.v.cfg.Silence)) // on a broken connection the read tells
}

// talk says what there is to say, and asks for the time.
func (s *session) talk(ctx context.Context) error {
	paint := time.NewTicker(paintEvery)
	defer paint.Stop()
	clock := time.NewTimer(0)
	defer clock.Stop()
	asked := 0
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.v.wake:
			err = s.say(s.v.due(false)...)
		case <-paint.C:
			err = s.say(s.v.due(true)...)
		case <-clock.C:
			asked++
			err = s.ask()
			clock.Reset(clockEvery)
			if asked < clockFirst {
				clock.Reset(clockFirstEvery)
			}
		}
		if err != nil {
			return err
		}
	}
}

// ask has the gateway answer, so that the clock is known and silence means something.
func (s *session) ask() error {
	if s.v.cfg.Format != V1 {
		return s.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeWait))
	}
	return s.say(&pb.ClientMessage{Message: &pb.ClientMessage_Clock{
		Clock: &pb.Clock{T1Us: s.v.now().UnixMicro()},
	}})
}

func (s *session) say(messages ...*pb.ClientMessage) error {
	if s.v.cfg.Format != V1 {
		return nil
	}
	for _, m := range messages {
		b, err := protojson.Marshal(m)
		if err != nil {
			return err
		}
		if err := s.conn.SetWriteDeadline(time.Now().Add(writeWait)); err != nil {
			return err
		}
		if err := s.conn.WriteMessage(websocket.TextMessage, b); err != nil {
			return err
		}
	}
	return nil
}

// control takes a message of the gateway. What is not understood is counted; it may come from a later version.
func (s *session) control(text []byte) {
	v := s.v
	at := v.now()
	var m pb.ServerMessage
	if v.cfg.Format != V1 || (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, &m) != nil {
		v.mu.Lock()
		v.total.malformed++
		v.mu.Unlock()
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.total.bytes += uint64(len(text))
	switch m := m.Message.(type) {
	case *pb.ServerMessage_Hello:
		v.hello = m.Hello
		for _, c := range m.Hello.Channels {
			v.learn(c.Channel, c.Stream)
		}
	case *pb.ServerMessage_Stats:
		v.learn(m.Stats.Channel, m.Stats.Stream)
		if st := v.find(m.Stats.Stream); st != nil {
			st.gateway = m.Stats
		}
	case *pb.ServerMessage_Notice:
		v.learn(m.Notice.Channel, m.Notice.Stream)
		if st := v.find(m.Notice.Stream); st != nil && m.Notice.Kind == "paint" {
			st.paintEvery = true
		}
		if v.deps.OnNotice != nil {
			// Outside of the lock: a callback may ask for statistics.
			v.mu.Unlock()
			v.deps.OnNotice(m.Notice)
			v.mu.Lock()
		}
	case *pb.ServerMessage_Echo:
		v.echo = m.Echo
		v.poke()
	case *pb.ServerMessage_Bye:
		s.bye = m.Bye
	case *pb.ServerMessage_Clock:
		if c := m.Clock; !v.clock.add(c.T1Us, c.T2Us, c.T3Us, at) {
			v.total.malformed++
		}
	default:
		v.total.unknown++
	}
}

// learn the name of a channel. v.mu is held.
func (v *Viewer) learn(channel uint32, name string) {
	if name != "" && channel <= 0xFFFF && v.names[uint16(channel)] != name {
		v.names[uint16(channel)] = name
		delete(v.channels, uint16(channel))
	}
}

// opened begins the books of a connection.
func (v *Viewer) opened() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.total.connects++
	v.total.since = v.now()
	v.channels, v.names = map[uint16]*stream{}, map[uint16]string{}
	v.clock.reset()
	v.hello, v.echo = nil, nil
	for _, st := range v.streams {
		st.away = true
		st.paintEvery, st.traceDue = false, false
		st.paint = paint{}
		st.gateway = nil
		st.selDue = st.sel != nil
		st.window.reset()
	}
	signal(v.wake)
}

func (v *Viewer) closed() {
	v.mu.Lock()
	v.total.since = time.Time{}
	v.mu.Unlock()
}

var errUnnamed = errors.New("picture of a stream that was not asked for")

// channel finds the stream of a picture. v.mu is held.
func (v *Viewer) channel(number uint16) (*stream, error) {
	if st := v.channels[number]; st != nil {
		return st, nil
	}
	first := v.streams[0]
	name := v.names[number]
	st := v.find(name)
	switch {
	case name == "" && len(v.streams) == 1:
		st = first // it can be no other; its name may come yet
		return st, nil
	case name == "":
		return nil, errUnnamed
	case st == nil && v.cfg.Stream == "":
		// The gateway's first stream, which may be another one after a reconnect.
		*first = stream{name: name, sel: first.sel, selDue: first.sel != nil, maxFPS: first.maxFPS, away: true}
		st = first
		v.poke()
	case st == nil:
		return nil, errUnnamed
	}
	v.channels[number] = st
	return st, nil
}
