package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/internal/origin"
	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"
	"google.golang.org/protobuf/encoding/protojson"
)

// Subprotocol with which a publisher is told how it fares, by control messages as a viewer is.
const Subprotocol = "framebus.v1"

const (
	handshakeTimeout = 5 * time.Second
	// silence is how long a client may send nothing at all, neither bytes of a picture nor a pong.
	silence = 5 * time.Second
	// idle is how long it may be quiet before it is asked whether it is there. One that sends is not: it may be of those
	// that never read.
	idle       = 2 * time.Second
	writeLimit = 5 * time.Second
	closeGrace = time.Second
	every      = time.Second // how often it is told how it fares
	// stalled is after how long without a picture the stream is no longer live.
	stalled = 2 * time.Second
	// What is not taken, a second and at once, before the client is told to go.
	floodRate, floodBurst = 10, 60
)

var errFlood = errors.New("too many messages that are not pictures")

// session is one publisher.
type session struct {
	desk            *Desk
	id, stream      string
	began           time.Time
	address, client string
	ws              *websocket.Conn
	origin          *origin.Origin
	ready           atomic.Bool // ws and origin are set
	ending          sync.Once
	closing         atomic.Bool // a close frame was sent: nothing prolongs the rest
	stop            chan struct{}
	asked           chan *pb.Clock // bound 1, the newest wins: it stands for all before it
	heard           atomic.Int64   // ns after began, when bytes last came

	mu       sync.Mutex
	pictures uint64
	bytes    uint64
	last     time.Time // of a picture
	fps      float64
	mbps     float64
	refused  map[reason]uint64
	complain *refusal // to be told next
}

// Stats are how a publisher fares.
type Stats struct {
	ID, Stream, Address, Client string
	Since                       time.Time
	FPS, Mbps                   float64
	Pictures, Bytes             uint64
	Refused                     map[string]uint64
}

func (s *session) stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Stats{
		ID: s.id, Stream: s.stream, Address: s.address, Client: s.client, Since: s.began,
		FPS: s.fps, Mbps: s.mbps, Pictures: s.pictures, Bytes: s.bytes, Refused: map[string]uint64{},
	}
	for why, n := range s.refused {
		out.Refused[string(why)] = n
	}
	return out
}

func (s *session) end() { s.ending.Do(func() { close(s.stop) }) }

// patient gives the client silence for each read.
type patient struct {
	s *session
	r io.Reader
}

func (p patient) Read(b []byte) (int, error) {
	p.s.alive()
	return p.r.Read(b)
}

func (s *session) alive() {
	s.heard.Store(int64(time.Since(s.began)))
	if s.closing.Load() {
		return
	}
	_ = s.ws.SetReadDeadline(time.Now().Add(silence)) // of a closed connection: the read says so
}

// read takes messages until the connection ends.
func (s *session) read() error {
	defer func() { _ = s.ws.Close() }() // whatever it says, it is closed
	s.ws.SetReadLimit(int64(s.desk.lim.Bytes))
	s.ws.SetPongHandler(func(string) error { s.alive(); return nil })
	ping := s.ws.PingHandler()
	s.ws.SetPingHandler(func(data string) error { s.alive(); return ping(data) })
	pace := rate.NewLimiter(rate.Limit(s.desk.lim.FPS), int(math.Ceil(s.desk.lim.FPS/4))+1)
	flood := rate.NewLimiter(floodRate, floodBurst)
	var message bytes.Buffer // bound: the read limit
	for {
		s.alive()
		kind, r, err := s.ws.NextReader()
		if err != nil {
			return s.ended(err)
		}
		at := time.Now()
		message.Reset()
		if _, err := message.ReadFrom(patient{s, r}); err != nil {
			return s.ended(err)
		}
		if err := s.take(at, kind, message.Bytes(), pace); err != nil {
			s.note(err)
			if !flood.Allow() {
				s.close(websocket.ClosePolicyViolation, errFlood.Error())
				return errFlood
			}
		}
	}
}

// ended counts a message that was too big, and passes over a client's own end.
func (s *session) ended(err error) error {
	if errors.Is(err, websocket.ErrReadLimit) {
		s.note(refused(tooBig, "a message may have %d bytes (FRAMEBUS_PUBLISH_MAX_BYTES)", s.desk.lim.Bytes))
	}
	if websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway) {
		return nil
	}
	return fmt.Errorf("read: %w", err)
}

// take publishes a message's picture.
func (s *session) take(at time.Time, kind int, message []byte, pace *rate.Limiter) error {
	if kind != websocket.BinaryMessage {
		m := &pb.ClientMessage{}
		if protojson.Unmarshal(message, m) != nil {
			return refused(notBinary, "a picture comes as a binary message")
		}
		if c := m.GetClock(); c != nil {
			s.ask(&pb.Clock{T1Us: c.GetT1Us(), T2Us: at.UnixMicro()})
		}
		return nil // others of a viewer's mean nothing here
	}
	pic, w, h, err := check(message, s.desk.lim.Side)
	if err != nil {
		return err
	}
	if !pace.AllowN(at, 1) {
		return refused(tooFast, "more than %v pictures a second (FRAMEBUS_PUBLISH_MAX_FPS)", s.desk.lim.FPS)
	}
	s.origin.Offer(at, pic, w, h)
	s.desk.pictures.Add(1)
	s.desk.bytes.Add(len(pic))
	s.mu.Lock()
	s.pictures++
	s.bytes += uint64(len(pic))
	s.last = at
	s.mu.Unlock()
	return nil
}

// ask has a question for the time answered, which also tells the client that all it sent before was read.
func (s *session) ask(c *pb.Clock) {
	select {
	case <-s.asked:
	default:
	}
	s.asked <- c // only the reader puts one there
}

func (s *session) note(err error) {
	why := reasonOf(err)
	s.desk.refuse(why)
	s.mu.Lock()
	s.refused[why]++
	s.complain = &refusal{why, err.Error()}
	s.mu.Unlock()
}

// watch tells the client how it fares and all others how the stream does, and ends a client that must go.
func (s *session) watch(ctx context.Context) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	last := s.stats()
	at := time.Now()
	s.tell(&pb.ServerMessage{Message: &pb.ServerMessage_Hello{Hello: &pb.Hello{
		Viewer: s.id, Gateway: s.desk.d.Roster.Config().Instance, Version: s.desk.d.Roster.Config().Version,
		MaxMessageBytes: uint32(s.desk.lim.Bytes), NowUs: at.UnixMicro(),
		Channels: []*pb.Channel{{Stream: s.stream}},
	}}})
	state := pb.StreamState_STREAM_STATE_UNSPECIFIED
	fps, live := 0.0, false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.stop:
			s.close(websocket.CloseGoingAway, "the gateway is ending")
			return nil
		case c := <-s.asked:
			c.T3Us = time.Now().UnixMicro()
			s.tell(&pb.ServerMessage{Message: &pb.ServerMessage_Clock{Clock: c}})
			continue
		case <-tick.C:
		}
		now := s.rate(last, time.Since(at))
		last, at = now, time.Now()
		if l, f := s.living(now.FPS); l != live || math.Abs(f-fps) > fps/10 {
			live, fps = l, f
			cause := ""
			if !live {
				cause = "the publisher sends no pictures"
			}
			s.origin.State(live, cause, fps)
		}
		st := s.origin.StreamStatus()
		if st.GetState() != state {
			state = st.GetState()
			s.tell(notice("state", st.GetCause(), s.stream, state))
		}
		if state == pb.StreamState_STREAM_STATE_STANDBY && s.desk.taken(s.stream) {
			s.close(websocket.ClosePolicyViolation, ErrTaken.Error())
			return ErrTaken
		}
		s.report(now)
		if time.Since(s.began)-time.Duration(s.heard.Load()) >= idle {
			// Where it cannot be written the reading side finds out.
			_ = s.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeLimit))
		}
	}
}

// rate brings the figures of the last period up to date.
func (s *session) rate(last Stats, span time.Duration) Stats {
	s.mu.Lock()
	s.fps = float64(s.pictures-last.Pictures) / span.Seconds()
	s.mbps = float64(s.bytes-last.Bytes) * 8 / 1e6 / span.Seconds()
	s.mu.Unlock()
	return s.stats()
}

func (s *session) living(fps float64) (live bool, rate float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.last.IsZero() && time.Since(s.last) < stalled, max(fps, 1)
}

func (s *session) report(now Stats) {
	s.mu.Lock()
	complaint := s.complain
	s.complain = nil
	s.mu.Unlock()
	if complaint != nil {
		s.tell(notice("malformed", complaint.words, s.stream, pb.StreamState_STREAM_STATE_UNSPECIFIED))
	}
	s.tell(&pb.ServerMessage{Message: &pb.ServerMessage_Stats{Stats: &pb.Stats{
		Stream: s.stream, Fps: now.FPS, Mbps: now.Mbps, Sent: now.Pictures, Skipped: maps.Clone(now.Refused),
	}}})
}

func notice(kind, text, stream string, state pb.StreamState) *pb.ServerMessage {
	return &pb.ServerMessage{Message: &pb.ServerMessage_Notice{Notice: &pb.Notice{
		Kind: kind, Text: text, Stream: stream, State: state,
	}}}
}

// tell sends a control message to a client that speaks the subprotocol. Only watch calls it.
func (s *session) tell(m *pb.ServerMessage) {
	if s.ws.Subprotocol() != Subprotocol {
		return
	}
	b, err := protojson.Marshal(m)
	if err != nil { // only invalid UTF-8 could: nothing that a client may see
		return
	}
	_ = s.ws.SetWriteDeadline(time.Now().Add(writeLimit))
	if err := s.ws.WriteMessage(websocket.TextMessage, b); err != nil {
		_ = s.ws.Close() // the reading side finds out
	}
}

// close says why and lets the client answer for a moment.
func (s *session) close(code int, why string) {
	s.closing.Store(true)
	_ = s.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, why), time.Now().Add(closeGrace))
	_ = s.ws.SetReadDeadline(time.Now().Add(closeGrace))
}
