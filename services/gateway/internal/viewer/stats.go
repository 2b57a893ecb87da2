package viewer

import (
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/gateway/internal/picture"
)

// Reason is why a picture was not sent to a viewer.
type Reason uint8

// The reasons.
const (
	Superseded Reason = iota // a newer one took its place
	Late                     // older than one already sent
	Hidden                   // the client shows nothing
	MaxFPS                   // the client wants fewer
	Client                   // the client cannot show more
	Closed                   // the stream or the connection ended while it waited
	reasons                  // their number
)

// Reasons is the number of reasons.
const Reasons = int(reasons)

var reasonNames = [reasons]string{"superseded", "late", "hidden", "max_fps", "client", "closed"}

// String is the reason's word in the API and in metrics.
func (r Reason) String() string { return reasonNames[r] }

// Stats is what a viewer has had so far. Offered = Frames + the sum of skipped + waiting, per stream.
type Stats struct {
	ID      string
	Since   time.Time
	Address string
	Client  string // User-Agent
	Format  picture.Format
	Smooth  bool
	Frames  uint64
	Bytes   uint64
	FPS     float64 // over the last seconds
	Mbps    float64
	RTT     time.Duration // the least pong delay of the last 5 s; 0 where there is none
	AckP50  time.Duration // from a picture's sending to its pong
	AckP95  time.Duration
	Pongs   uint64 // those that named something sent
	Deaf    bool   // answers no pings: bounded by the socket's own back-pressure
	Streams []StreamStats
	// What the client sent that nobody understood or asked for.
	Malformed, Ignored uint64
	// Error is why the connection ended, if it broke.
	Error string
}

// StreamStats is a viewer's part in one stream.
type StreamStats struct {
	Channel uint16
	Tuning
	Rung     frame.Rung // of the last picture sent
	Quality  uint8
	Epoch    uint64
	Sequence uint64
	Age      time.Duration // of the last picture when it was sent, by the clocks of origin and gateway
	FPS      float64       // offered
	Offered  uint64
	Frames   uint64
	Waiting  int
	Skipped  map[string]uint64 // by reason; those that never happened are missing
}
