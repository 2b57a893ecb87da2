package gateway

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/framebus/framebus/services/gateway/internal/hub"
	"github.com/framebus/framebus/services/gateway/internal/viewer"
)

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v) // the client may have gone
}

// streamJSON is a stream as /api/v1/streams tells it.
type streamJSON struct {
	Name     string   `json:"name"`
	Channel  uint16   `json:"channel"`
	Source   string   `json:"source"`
	Owner    string   `json:"owner"`
	State    string   `json:"state"` // live, slate, gone
	Cause    string   `json:"cause,omitempty"`
	Width    uint32   `json:"width"`
	Height   uint32   `json:"height"`
	FPS      float64  `json:"fps"`
	Epoch    uint64   `json:"epoch,string"`
	Sequence uint64   `json:"sequence,string"`
	Rungs    []string `json:"rungs"` // in use here
	Viewers  int      `json:"viewers"`
	Encoders []string `json:"encoders"`
}

func (gw *gateway) streamJSON(s hub.Stream) streamJSON {
	out := streamJSON{
		Name: s.Name, Channel: s.Channel, Source: s.Status.GetSource(), Owner: s.Owner, Cause: s.Cause,
		State: strings.ToLower(strings.TrimPrefix(s.State.String(), "STREAM_STATE_")),
		Width: s.Status.GetWidth(), Height: s.Status.GetHeight(), FPS: s.Status.GetFps(),
		Epoch: s.Status.GetEpoch(), Sequence: s.Status.GetSequence(), Viewers: s.Viewers,
		Rungs: []string{}, Encoders: append([]string{}, s.Encoders...),
	}
	if !s.Present {
		out.State = "gone"
	}
	for _, r := range s.Rungs {
		out.Rungs = append(out.Rungs, r.String())
	}
	return out
}

func (gw *gateway) apiStreams(w http.ResponseWriter, _ *http.Request) {
	out := []streamJSON{}
	for _, s := range gw.hub.Streams() {
		out = append(out, gw.streamJSON(s))
	}
	reply(w, map[string]any{"streams": out})
}

// viewerJSON is a viewer as /api/v1/viewers tells it.
type viewerJSON struct {
	ID        string           `json:"id"`
	Since     time.Time        `json:"since"`
	Address   string           `json:"address"`
	Client    string           `json:"client,omitempty"`
	Format    string           `json:"format"`
	Mode      string           `json:"mode"`
	FPS       float64          `json:"fps"`
	Mbps      float64          `json:"mbps"`
	Frames    uint64           `json:"frames"`
	Bytes     uint64           `json:"bytes"`
	RTTMs     float64          `json:"rtt_ms"`
	AckP50Ms  float64          `json:"ack_p50_ms"`
	AckP95Ms  float64          `json:"ack_p95_ms"`
	Answers   bool             `json:"answers_pings"`
	Streams   []viewerLaneJSON `json:"streams"`
	Malformed uint64           `json:"malformed"`
	Ignored   uint64           `json:"ignored"`
	Error     string           `json:"error,omitempty"`
}

// viewerLaneJSON is a viewer's part in one stream.
type viewerLaneJSON struct {
	Stream   string            `json:"stream"`
	Rung     string            `json:"rung"`
	Quality  uint8             `json:"quality"`
	Why      string            `json:"why"`
	Auto     bool              `json:"auto"`
	LinkMbps float64           `json:"link_mbps,omitempty"` // what the connection was measured to carry
	Window   int               `json:"window"`
	WaitMs   float64           `json:"wait_ms"`
	MaxFPS   float64           `json:"max_fps,omitempty"`
	Hidden   bool              `json:"hidden,omitempty"`
	AgeMs    float64           `json:"age_ms"`
	Offered  uint64            `json:"offered"`
	Frames   uint64            `json:"frames"`
	Waiting  int               `json:"waiting"`
	Skipped  map[string]uint64 `json:"skipped"`
}

func toViewerJSON(s viewer.Stats, seats map[string]hub.Seat) viewerJSON {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	out := viewerJSON{
		ID: s.ID, Since: s.Since, Address: s.Address, Client: s.Client, Format: s.Format.String(), Mode: "live",
		FPS: s.FPS, Mbps: s.Mbps, Frames: s.Frames, Bytes: s.Bytes, RTTMs: ms(s.RTT), AckP50Ms: ms(s.AckP50),
		AckP95Ms: ms(s.AckP95), Answers: !s.Deaf, Malformed: s.Malformed, Ignored: s.Ignored, Error: s.Error,
		Streams: []viewerLaneJSON{},
	}
	if s.Smooth {
		out.Mode = "smooth"
	}
	for _, l := range s.Streams {
		seat := seats[l.Stream]
		out.Streams = append(out.Streams, viewerLaneJSON{
			Stream: l.Stream, Rung: l.Rung.String(), Quality: l.Quality, Why: seat.Why, Auto: seat.Auto,
			LinkMbps: seat.Fare.Rate * 8 / 1e6, Window: seat.Fare.Window, WaitMs: ms(seat.Fare.Wait), MaxFPS: l.MaxFPS,
			Hidden: l.Hidden, AgeMs: ms(l.Age), Offered: l.Offered, Frames: l.Frames, Waiting: l.Waiting,
			Skipped: l.Skipped,
		})
	}
	return out
}

func (gw *gateway) apiViewers(w http.ResponseWriter, _ *http.Request) {
	out := []viewerJSON{}
	for _, v := range gw.hub.Viewers() {
		out = append(out, toViewerJSON(v.Stats(), gw.hub.Seats(v)))
	}
	reply(w, map[string]any{"viewers": out, "max_clients": gw.cfg.MaxClients})
}
