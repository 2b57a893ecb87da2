package view

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/framebus/framebus/services/client/record"
)

// Figures are what is told of a stream, all of one moment: on the picture, in the status line and as JSON.
type Figures struct {
	Time   time.Time `json:"time"`
	Stream string    `json:"stream"`
	// State is connecting, open, waiting (for the next attempt) or ended; Why it is not open.
	State string `json:"state"`
	Why   string `json:"why,omitempty"`

	FPS  float64 `json:"fps"`
	Mbps float64 `json:"mbps"`
	// The ages are from capture until read, of the last 4 s; AgeKnown is false while the clocks' offset is not known.
	AgeKnown bool    `json:"age_known"`
	AgeMs    float64 `json:"age_ms"` // the median
	AgeP95Ms float64 `json:"age_p95_ms"`

	Missed     uint64 `json:"missed"`      // on a connection
	MissedAway uint64 `json:"missed_away"` // while there was none
	Displaced  uint64 `json:"displaced"`   // came, but were overtaken by newer ones before they could be shown
	Frames     uint64 `json:"frames"`
	Reconnects uint64 `json:"reconnects"`

	Width      int               `json:"width"` // of the newest picture, px; 0 before the first
	Height     int               `json:"height"`
	Rung       string            `json:"rung"`
	Asked      string            `json:"asked"` // rung
	Quality    int               `json:"quality"`
	Connection client.Connection `json:"connection"`

	Recording *record.Report `json:"recording,omitempty"`
}

// figuresOf puts a viewer's statistics into the units of Figures.
func figuresOf(at time.Time, s client.Stats, state client.State, asked string) Figures {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	f := Figures{
		Time: at, Stream: s.Stream, State: state.Phase.String(),
		FPS: s.FPS, Mbps: s.Mbps, AgeKnown: s.AgeKnown, AgeMs: ms(s.AgeP50), AgeP95Ms: ms(s.AgeP95),
		Missed: s.Missed, MissedAway: s.MissedAway, Displaced: s.Displaced, Frames: s.Frames, Reconnects: s.Reconnects,
		Width: s.Width, Height: s.Height, Asked: asked, Quality: s.Quality, Connection: s.Connection,
	}
	if s.Frames > 0 {
		f.Rung = s.Rung.String()
	}
	if state.Err != nil {
		f.Why = oneLine(state.Err.Error())
	}
	return f
}

// Status is the status line.
func (f Figures) Status() string {
	if f.State != client.Open.String() {
		return fmt.Sprintf("%s%s, %d reconnects", f.name(), f.trouble(), f.Reconnects)
	}
	return fmt.Sprintf("%s%dx%d %s q%d  %.1f fps  age %s  %.2f Mbit/s  missed %d  reconnects %d  %s",
		f.name(), f.Width, f.Height, cmp.Or(f.Rung, "-"), f.Quality, f.FPS, f.age(), f.Mbps,
		f.Missed+f.MissedAway, f.Reconnects, f.Connection)
}

// Lines are what stands on the picture, without what is told of the moment: trouble and recording.
func (f Figures) Lines() []string {
	return []string{
		fmt.Sprintf("%s%dx%d", f.name(), f.Width, f.Height),
		fmt.Sprintf("fps %.1f   age %s   Mbit/s %.2f", f.FPS, f.age(), f.Mbps),
		fmt.Sprintf("missed %d   reconnects %d", f.Missed+f.MissedAway, f.Reconnects),
		fmt.Sprintf("rung %s (%s)   quality %d   connection %s", cmp.Or(f.Rung, "-"), f.Asked, f.Quality, f.Connection),
	}
}

// trouble is what is to be said while there is no connection.
func (f Figures) trouble() string {
	if f.Why == "" {
		return f.State
	}
	return f.State + ": " + f.Why
}

func (f Figures) age() string {
	if !f.AgeKnown {
		return "-"
	}
	return fmt.Sprintf("%.1f ms", f.AgeMs)
}

func (f Figures) name() string {
	if f.Stream == "" {
		return ""
	}
	return f.Stream + " "
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
