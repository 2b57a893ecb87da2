package simulate

import (
	"slices"
	"time"

	"github.com/framebus/framebus/services/internal/adapt"
)

const (
	reportEvery = 250 * time.Millisecond
	recorded    = 128 // pictures, as the gateway remembers
)

// painted is the gateway's record of what a client that tells of its painting was sent, and the client's side of it.
type painted struct {
	proxy  adapt.Proxy
	acks   bool      // what is painted acknowledges
	every  bool      // the client tells of each picture
	record []*flying // pictures
	newest *flying   // painted by the client and not told of yet
}

// report is the client's, four times a second.
func (v *viewer) report() {
	v.w.after(reportEvery, v.report)
	v.tell()
}

func (v *viewer) tell() {
	if f := v.painted.newest; f != nil {
		v.painted.newest = nil
		v.w.at(v.net.answer(v.w.now), func() { v.reported(f) })
	}
}

// reported is the gateway's.
func (v *viewer) reported(f *flying) {
	if v.painted.acks {
		v.pong(f)
		return
	}
	i := slices.Index(v.painted.record, f)
	lag, since := time.Duration(0), 0
	if f.pongAt > 0 {
		lag = v.w.now - f.pongAt
	}
	for _, later := range v.painted.record[i+1:] {
		if later.pongAt > 0 {
			since++
		}
	}
	if !v.painted.proxy.Report(lag, since) {
		return
	}
	v.painted.acks = true
	v.link, v.window, v.thin, v.draining = adapt.Link{}, 2, 1, false
	v.flight = slices.Clone(v.painted.record[i+1:])
	v.open, v.pings = len(v.flight), len(v.flight)
	for _, f := range v.flight {
		f.pinged = true
	}
	notice, _ := v.net.carry(v.w.now, bareBytes)
	v.w.at(notice, func() { v.painted.every = true })
}
