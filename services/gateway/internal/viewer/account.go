package viewer

import (
	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/gateway/internal/picture"
)

// Account is where the viewers of one stream book what became of its pictures. It is called under a viewer's lock, for
// every picture: it must be quick, wait for nobody and be safe for concurrent use.
type Account interface {
	// Sent books a picture of so many bytes that went out.
	Sent(r frame.Rung, bytes int)
	// Skipped books one that did not.
	Skipped(why Reason)
	// Acknowledged is told which picture the client has read, and when by the gateway's clock, µs since 1970.
	Acknowledged(m Mark, atUs int64)
}

// Mark is what is remembered of a picture on its way.
type Mark struct {
	CapturedUs int64
	// TraceID and SpanID are zero unless it is sampled.
	TraceID [16]byte
	SpanID  [8]byte // its processing in the gateway
}

// MarkOf is a picture's.
func MarkOf(p *picture.Picture) Mark {
	m := Mark{CapturedUs: p.Header.CapturedUs}
	if p.Sampled() {
		m.TraceID = p.Header.TraceID
	}
	if p.Trace != nil {
		m.SpanID = p.Trace.Parent.SpanID()
	}
	return m
}

// noAccount books nothing, for viewers that nobody keeps an account of.
type noAccount struct{}

func (noAccount) Sent(frame.Rung, int)     {}
func (noAccount) Skipped(Reason)           {}
func (noAccount) Acknowledged(Mark, int64) {}
