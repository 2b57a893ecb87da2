// Package viewer is one client that watches: its connection, its credit and its one writer. It is told pictures and
// messages by a hub and decides which of them go out and when, so that a slow client sees fresh pictures and disturbs
// nobody. It knows nothing of the bus, of streams' names beyond what it is told, and of other viewers.
//
// Who owns what: a connection's bytes are written by whoever holds its turn (file turn.go), one goroutine at a time;
// everything that waits to be written is bounded and lies under the viewer's lock.
package viewer

import (
	"context"
	"net"
	"net/http"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/gateway/internal/picture"
)

// Subprotocol is what a client names that wants envelopes and control messages.
const Subprotocol = "framebus.v1"

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
	Numbers     *picture.Counter         // the gateway's own; required
	Commands    Commands                 // nil: control messages are read and dropped
	CheckOrigin func(*http.Request) bool // nil: the page's host must be ours
	// WriteTimeout ends a viewer that reads nothing for so long. Default 10 s.
	WriteTimeout time.Duration
}

// Tuning is how one stream is shown to one viewer.
type Tuning struct {
	Stream string
	MaxFPS float64 // 0: all
	Hidden bool    // the client shows nothing for now: pause
}

// Upgrade makes a WebSocket viewer of a request. Where it fails the client has had its answer.
func Upgrade(w http.ResponseWriter, r *http.Request, o Options) (*Viewer, error)

// Multipart makes a viewer of an HTTP request: one endless multipart/x-mixed-replace response.
func Multipart(w http.ResponseWriter, r *http.Request, o Options) (*Viewer, error)

// Raw makes a viewer of a plain TCP connection, which it then owns: size and JPEG, for ever.
func Raw(conn net.Conn, o Options) *Viewer

// Run serves the viewer until it has gone, was closed or ctx ends (close code 1001). When it returns, nothing of the
// viewer runs any more and its connection is closed; err says why it ended, nil where the client simply left.
func (v *Viewer) Run(ctx context.Context) error

// Show begins to show a stream or changes how: pictures of this channel are taken from now on.
func (v *Viewer) Show(channel uint16, t Tuning)

// Drop ends a stream; the connection stays.
func (v *Viewer) Drop(channel uint16)

// Offer gives the viewer a picture. It never blocks; the picture is sent now, waits, or is skipped and counted.
// Pictures of one channel come from one goroutine at a time.
func (v *Viewer) Offer(p *picture.Picture)

// Notice sends a control message, to framebus.v1 clients only. At most 16 wait; of two Stats of one channel the newer
// stays, beyond that the oldest message is dropped.
func (v *Viewer) Notice(m *pb.ServerMessage)

// Close ends the connection with a close frame, before it `bye` for framebus.v1. It does not wait; Run returns within
// 3 s. The first close counts.
func (v *Viewer) Close(code int, reason string, comeBack bool)

// Stats is a snapshot.
func (v *Viewer) Stats() Stats

// Format is what the client gets.
func (v *Viewer) Format() picture.Format

// ID is Options.ID.
func (v *Viewer) ID() string
