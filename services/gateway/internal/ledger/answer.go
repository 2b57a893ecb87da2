package ledger

import (
	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
)

// Answer is the JSON of /api/v1/ledger; docs/protocol.md says what each line is.
type Answer struct {
	Explained bool           `json:"explained"`
	Streams   []StreamAnswer `json:"streams"`
}

// StreamAnswer is a stream's part.
type StreamAnswer struct {
	Stream    string        `json:"stream"`
	Explained bool          `json:"explained"`
	Epochs    []EpochAnswer `json:"epochs"` // newest first
}

// EpochAnswer is an epoch's. Where its owner was never heard, the owner's lines are missing.
type EpochAnswer struct {
	Epoch     uint64            `json:"epoch,string"`
	Owner     string            `json:"owner,omitempty"`
	By        string            `json:"by,omitempty"`
	State     string            `json:"state"`
	Explained bool              `json:"explained"`
	ToldUs    int64             `json:"told_us,omitempty"`
	Sequence  uint64            `json:"sequence"`
	Captured  *CapturedLine     `json:"captured,omitempty"`
	Published *PublishedLine    `json:"published,omitempty"`
	Encoders  *EncodersLine     `json:"encoders,omitempty"`
	Encoded   map[string]uint64 `json:"encoded,omitempty"` // by rung
	Gateways  []GatewayAnswer   `json:"gateways"`
}

// CapturedLine is what the owner did with the source's frames.
type CapturedLine struct {
	Total      uint64            `json:"total"`
	Published  uint64            `json:"published"`
	Dropped    map[string]uint64 `json:"dropped"`
	Unwanted   uint64            `json:"unwanted"`
	Difference int64             `json:"difference"`
}

// PublishedLine is what the encoders did with those that they got.
type PublishedLine struct {
	Total      uint64            `json:"total"`
	Done       map[string]uint64 `json:"done"`
	Unanswered uint64            `json:"unanswered"`
	Open       uint64            `json:"open"`
	Vouched    uint64            `json:"vouched"`
	Difference int64             `json:"difference"`
}

// EncodersLine is the same by encoder.
type EncodersLine struct {
	Difference int64          `json:"difference"`
	Shares     []EncoderShare `json:"shares"`
}

// EncoderShare is what one encoder got.
type EncoderShare struct {
	Encoder    string            `json:"encoder"`
	Done       map[string]uint64 `json:"done"`
	Unanswered uint64            `json:"unanswered"`
	Open       uint64            `json:"open"`
}

// GatewayAnswer is a gateway's part.
type GatewayAnswer struct {
	Gateway   string       `json:"gateway"`
	ToldUs    int64        `json:"told_us"`
	Settled   uint64       `json:"settled"`
	Undone    int          `json:"undone"`
	Explained bool         `json:"explained"`
	Rungs     []RungAnswer `json:"rungs"`
}

// RungAnswer is a rung's part in a gateway.
type RungAnswer struct {
	Rung      string      `json:"rung"`
	Explained bool        `json:"explained"`
	Bus       BusLine     `json:"bus"`
	Hub       HubLine     `json:"hub"`
	Viewers   ViewersLine `json:"viewers"`
}

// BusLine is from the encoders to the gateway.
type BusLine struct {
	Encoded    uint64 `json:"encoded"`
	Unbooked   uint64 `json:"unbooked"`
	Received   uint64 `json:"received"`
	Lost       uint64 `json:"lost"`
	Difference int64  `json:"difference"`
}

// HubLine is in the gateway.
type HubLine struct {
	Arrived    uint64 `json:"arrived"`
	Taken      uint64 `json:"taken"`
	Superseded uint64 `json:"superseded"`
	Stale      uint64 `json:"stale"`
	Malformed  uint64 `json:"malformed"`
	Queued     uint64 `json:"queued"`
	Overdue    uint64 `json:"overdue"`
	Duplicate  uint64 `json:"duplicate"`
	Difference int64  `json:"difference"`
}

// ViewersLine is from the gateway to its viewers.
type ViewersLine struct {
	Offered    uint64            `json:"offered"`
	Delivered  uint64            `json:"delivered"`
	Skipped    map[string]uint64 `json:"skipped"`
	InFlight   uint64            `json:"in_flight"`
	Difference int64             `json:"difference"`
}

// difference is the left side of an equation minus its right side.
func difference(left uint64, right ...uint64) int64 { return int64(left - sum(right...)) }

func sum(of ...uint64) (n uint64) {
	for _, x := range of {
		n += x
	}
	return n
}

// total adds up by reason. The map is the schema's, and nil where nothing happened.
func total(by map[string]uint64) (n uint64, shown map[string]uint64) {
	if by == nil {
		by = map[string]uint64{}
	}
	for _, x := range by {
		n += x
	}
	return n, by
}

// books adds the owner's lines.
func (e *EpochAnswer) books(b *pb.Book) {
	dropped, droppedBy := total(b.GetDropped())
	e.Captured = &CapturedLine{
		Total: b.GetCaptured(), Published: b.GetPublished(), Dropped: droppedBy, Unwanted: b.GetUnwanted(),
		Difference: difference(b.GetCaptured(), b.GetPublished(), dropped, b.GetUnwanted()),
	}
	done, doneBy := total(b.GetDone())
	e.Published = &PublishedLine{
		Total: b.GetPublished(), Done: doneBy, Unanswered: b.GetUnanswered(), Open: b.GetOpen(),
		Vouched: b.GetVouched(), Difference: difference(b.GetPublished(), done, b.GetUnanswered(), b.GetOpen()),
	}
	e.Explained = e.Captured.Difference == 0 && e.Published.Difference == 0
	if len(b.GetEncoded()) > 0 { // an owner of an older version tells neither of encoders nor of rungs
		e.Encoders = &EncodersLine{Shares: []EncoderShare{}}
		var shared uint64
		for _, s := range b.GetEncoders() {
			n, by := total(s.GetDone())
			shared += sum(n, s.GetUnanswered(), s.GetOpen())
			e.Encoders.Shares = append(e.Encoders.Shares, EncoderShare{
				Encoder: s.GetEncoder(), Done: by, Unanswered: s.GetUnanswered(), Open: s.GetOpen(),
			})
		}
		e.Encoders.Difference = difference(b.GetPublished(), shared)
		e.Explained = e.Explained && e.Encoders.Difference == 0
		e.Encoded = map[string]uint64{}
		for r, n := range b.GetEncoded() {
			if r < frame.Rungs {
				e.Encoded[frame.Rung(r).String()] = n
			}
		}
	}
}

func gatewayAnswer(name string, sentUs int64, w *pb.WatchedEpoch) GatewayAnswer {
	out := GatewayAnswer{
		Gateway: name, ToldUs: sentUs, Settled: w.GetSettled(), Undone: len(w.GetUndone()), Explained: true,
		Rungs: []RungAnswer{},
	}
	for _, r := range w.GetRungs() {
		if r.GetRung() < 0 || int(r.GetRung()) >= frame.Rungs {
			continue
		}
		skipped, skippedBy := total(r.GetSkipped())
		row := RungAnswer{
			Rung: frame.Rung(r.GetRung()).String(),
			Bus: BusLine{
				Encoded: r.GetEncoded(), Unbooked: r.GetUnbooked(), Received: r.GetReceived(), Lost: r.GetLost(),
				Difference: difference(sum(r.GetEncoded(), r.GetUnbooked()), r.GetReceived(), r.GetLost()),
			},
			Hub: HubLine{
				Arrived: r.GetArrived(), Taken: r.GetTaken(), Superseded: r.GetSuperseded(), Stale: r.GetStale(),
				Malformed: r.GetMalformed(), Queued: r.GetQueued(), Overdue: r.GetOverdue(), Duplicate: r.GetDuplicate(),
				Difference: difference(r.GetArrived(), r.GetTaken(), r.GetSuperseded(), r.GetStale(), r.GetMalformed(),
					r.GetQueued()),
			},
			Viewers: ViewersLine{
				Offered: r.GetOffered(), Delivered: r.GetDelivered(), Skipped: skippedBy, InFlight: r.GetInFlight(),
				Difference: difference(r.GetOffered(), r.GetDelivered(), skipped, r.GetInFlight()),
			},
		}
		row.Explained = row.Bus.Difference == 0 && row.Hub.Difference == 0 && row.Viewers.Difference == 0
		out.Explained = out.Explained && row.Explained
		out.Rungs = append(out.Rungs, row)
	}
	return out
}
