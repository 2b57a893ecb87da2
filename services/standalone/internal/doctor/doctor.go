// Package doctor looks at an installation from outside, as one more client of the bus and of a gateway, and says of
// each part whether it is well, and what to do where it is not. It changes nothing.
package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/client"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/source"
)

const (
	// listen is how long it hears who is there: each service speaks once a second.
	listen = 1500 * time.Millisecond
	// connect is how long the bus may take.
	connect = 3 * time.Second
	look    = 20 * time.Millisecond
	// largest is what a 1920×1080 frame needs of the bus, bytes.
	largest = 3_200_000
	// clocksDiffer is by how much a host's clock may differ, with the message's way in it.
	clocksDiffer = 500 * time.Millisecond
	maxServices  = 1024
)

// State of a part.
type State string

// The states.
const (
	OK   State = "ok"
	Warn State = "warn"
	Fail State = "fail"
)

// Finding is what was found of one part.
type Finding struct {
	Part  string `json:"part"`
	State State  `json:"state"`
	Text  string `json:"text"`
	Hint  string `json:"hint,omitempty"` // what to do
}

// Config says where to look; an empty field is not looked at.
type Config struct {
	Bus     bus.Config
	Gateway string // URL
	// Listen is where a gateway is to listen, HOST:PORT; it is looked at where no gateway was found.
	Listen string
}

// heard is what the bus tells.
type heard struct {
	mu  sync.Mutex
	all map[string]*pb.Status
	off map[string]time.Duration // clock, by instance
}

// Look examines everything that cfg names.
func Look(ctx context.Context, cfg Config) []Finding {
	var out []Finding
	add := func(part string, s State, hint, text string, args ...any) {
		out = append(out, Finding{Part: part, State: s, Text: fmt.Sprintf(text, args...), Hint: hint})
	}
	add("opencv", OK, "", "version %s", source.OpenCV())
	if cfg.Bus.URL != "" {
		lookAtBus(ctx, cfg.Bus, add)
	}
	found := cfg.Gateway != "" && lookAtGateway(ctx, cfg.Gateway, add)
	if cfg.Listen != "" && !found {
		lookAtPort(ctx, cfg.Listen, add)
	}
	return out
}

type adder func(part string, s State, hint, text string, args ...any)

func lookAtBus(ctx context.Context, cfg bus.Config, add adder) {
	cfg.Name = "framebus doctor"
	said := &said{}
	b, err := bus.Open(cfg, bus.Deps{Log: slog.New(slog.NewTextHandler(said, nil))})
	if err != nil {
		add("bus", Fail, "check FRAMEBUS_NATS_URL", "%v", err)
		return
	}
	defer b.Close()
	h := &heard{all: map[string]*pb.Status{}, off: map[string]time.Duration{}}
	_, err = b.Control.Subscribe(subject.AllStatus(), func(m bus.Msg) { h.hear(m, time.Now()) })
	if err != nil {
		add("bus", Fail, "", "%v", err)
		return
	}
	if !wait(ctx, connect, func() bool { up, _ := b.Up(); return up }) {
		add("bus", Fail, "is a NATS server running there, and do user and password fit? FRAMEBUS_NATS_URL, _USER, _PASSWORD",
			"%s does not answer: %s", cfg.URL, cmp.Or(said.last(), "no connection"))
		return
	}
	if limit := b.Data.MaxPayload(); limit < largest {
		add("bus", Warn, "set max_payload: 8MB in the NATS server's configuration",
			"takes messages of %d bytes: pictures of 1920×1080 do not fit", limit)
	} else {
		add("bus", OK, "", "connected, messages of up to %d bytes", limit)
	}
	wait(ctx, listen, func() bool { return false })
	h.tell(add)
}

func (h *heard) hear(m bus.Msg, at time.Time) {
	s := &pb.Status{}
	if bus.Decode(m, s) != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	key := s.GetService() + " " + s.GetInstance()
	if _, known := h.all[key]; known || len(h.all) < maxServices {
		h.all[key] = s
		h.off[key] = time.UnixMicro(s.GetSentUs()).Sub(at)
	}
}

// tell says who is there, how their streams are, and whose clock is wrong.
func (h *heard) tell(add adder) {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := map[string][]string{}
	streams := map[string]*pb.StreamStatus{}
	for _, s := range h.all {
		names[s.GetService()] = append(names[s.GetService()], s.GetInstance())
		for _, st := range s.GetStreams() {
			if old := streams[st.GetName()]; old == nil || st.GetEpoch() > old.GetEpoch() {
				streams[st.GetName()] = st
			}
		}
	}
	for _, service := range []string{"capture", "encoder", "gateway"} {
		if list := names[service]; len(list) > 0 {
			slices.Sort(list)
			add(service, OK, "", "%d: %s", len(list), strings.Join(list, ", "))
			continue
		}
		add(service, Fail, "start one: bin/"+service+" --nats-url …", "none is on the bus")
	}
	for name, st := range streams {
		switch st.GetState() {
		case pb.StreamState_STREAM_STATE_LIVE:
			add("stream "+name, OK, "", "live, %d×%d at %.1f fps", st.GetWidth(), st.GetHeight(), st.GetFps())
		default:
			add("stream "+name, Warn, "look at its source", "%s: %s",
				strings.ToLower(strings.TrimPrefix(st.GetState().String(), "STREAM_STATE_")), st.GetCause())
		}
	}
	h.tellMemory(add)
	for key, off := range h.off {
		if off.Abs() > clocksDiffer {
			add("clock of "+key, Warn, "run an NTP client there: ages are corrected, but less exact",
				"differs from this host's by %v", off.Round(time.Millisecond))
		}
	}
}

func lookAtGateway(ctx context.Context, url string, add adder) (found bool) {
	list, err := client.Question{URL: url}.Streams(ctx)
	var refused *client.ErrRefused
	switch {
	case errors.As(err, &refused):
		add("gateway's port", Warn, "does something else listen there?", "%v", err)
		return true
	case err != nil:
		add("gateway's port", Fail, "is the gateway running, and reachable from here?", "%v", err)
		return false
	}
	shown := make([]string, 0, len(list))
	for _, s := range list {
		shown = append(shown, s.Name+" "+s.State)
	}
	if len(list) == 0 {
		add("gateway's port", Warn, "is a capture running on its bus?", "answers, and knows no stream")
		return true
	}
	add("gateway's port", OK, "", "answers: %s", strings.Join(shown, ", "))
	if slices.ContainsFunc(list, func(s client.StreamInfo) bool { return len(s.Encoders) == 0 }) {
		add("gateway's encoders", Fail, "start one: bin/encoder --nats-url …", "the gateway hears of no encoder")
	}
	return true
}

func lookAtPort(ctx context.Context, addr string, add adder) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		add("port "+addr, Fail, "end what listens there, or choose another port: FRAMEBUS_LISTEN", "not free: %v", err)
		return
	}
	_ = l.Close()
	add("port "+addr, OK, "", "free")
}

// wait tells whether what came to be in time.
func wait(ctx context.Context, limit time.Duration, what func() bool) bool {
	end := time.NewTimer(limit)
	defer end.Stop()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for !what() {
		select {
		case <-ctx.Done():
			return false
		case <-end.C:
			return what()
		case <-tick.C:
		}
	}
	return true
}

// said keeps the bus's newest complaint.
type said struct {
	mu   sync.Mutex
	line string
}

// Write takes a line of the log.
func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line = strings.TrimSpace(string(b))
	return len(b), nil
}

func (s *said) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.line
}
