package hub

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/gateway/internal/ledger"
	"github.com/framebus/framebus/services/gateway/internal/picture"
	"github.com/framebus/framebus/services/gateway/internal/viewer"
	"github.com/framebus/framebus/services/internal/adapt"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/mailbox"
	"github.com/framebus/framebus/services/internal/span"
	"github.com/framebus/framebus/services/internal/stage"
	"github.com/framebus/framebus/services/internal/staleness"
)

const (
	// feedBound is of pictures between the bus and the viewers; when full the oldest is dropped and counted.
	feedBound = 2
	// freshFor is how old the newest picture may be to be shown to somebody who has just come.
	freshFor = time.Second
	// epochSilence is how long the greater epoch must have been silent before a smaller one counts.
	epochSilence = 2 * time.Second
)

// feed is one rung of one stream while somebody wants it: one subscription, however many watch.
type feed struct {
	h       *Hub
	stream  *stream
	rung    frame.Rung
	sub     *bus.Sub
	stage   stage.Label
	account *ledger.Stream
	in      *mailbox.Queue[arrival]
	cancel  context.CancelFunc

	idleSince time.Time // since when nobody wants it; the hub's lock guards it

	mu      sync.Mutex
	newest  *picture.Picture
	at      time.Time     // when it came
	arrived chan struct{} // closed when a newer one has come
	sizes   sizes         // of the last pictures, scaled to quality 80
	quality int           // of the last one

	least staleness.Least // the feed's goroutine's
}

type arrival struct {
	head   frame.Header
	jpeg   []byte
	at     time.Time
	parent string // traceparent
}

// openFeed subscribes. The hub's lock is held.
func openFeed(h *Hub, s *stream, r frame.Rung) (*feed, error) {
	f := &feed{h: h, stream: s, rung: r, in: mailbox.NewQueue[arrival](feedBound), arrived: make(chan struct{})}
	f.account = h.ledger.Stream(s.name, time.Now())
	f.stage = stage.New(h.d.Profiling, stage.FanOut, r.String())
	sub, err := h.d.Bus.Data.Subscribe(subject.JPEG(s.name, r), f.receive)
	if err != nil {
		return nil, fmt.Errorf("stream %q: %w", s.name, err)
	}
	f.sub = sub
	f.account.Subscribed(r, time.Now())
	h.hearDone(s, f.account)
	h.launch(f)
	return f, nil
}

func (f *feed) close() {
	f.sub.Unsubscribe()
	f.account.Unsubscribed(f.rung, time.Now())
	f.cancel()
}

// receive moves a picture into the mailbox.
func (f *feed) receive(m bus.Msg) {
	a := arrival{at: time.Now(), parent: m.Traceparent}
	var err error
	if a.head, a.jpeg, err = frame.Parse(m.Data); err != nil || a.head.Rung != f.rung {
		f.h.unreadable.Add(1)
		f.stream.meters.picture(f.rung, malformed)
		f.traceDrop(&a, malformed)
		return
	}
	f.account.Arrived(&a.head, a.at)
	if old, displaced := f.in.Put(a); displaced {
		f.drop(&old, superseded)
	}
}

// fate counts what became of a picture.
func (f *feed) fate(head *frame.Header, fate fate) {
	f.stream.meters.picture(f.rung, fate)
	f.account.Fate(head, ledgerFates[fate])
}

// drop counts a picture that no viewer is offered.
func (f *feed) drop(a *arrival, why fate) {
	f.fate(&a.head, why)
	f.traceDrop(a, why)
}

var ledgerFates = [fates]ledger.Fate{ledger.Taken, ledger.Superseded, ledger.Malformed, ledger.Stale}

func (f *feed) run(ctx context.Context) {
	for {
		a, err := f.in.Take(ctx)
		if err != nil {
			return
		}
		f.take(a)
	}
}

// take checks a picture and offers it to all who watch.
func (f *feed) take(a arrival) {
	f.stage.Enter()
	head := a.head
	if !isJPEG(&head, a.jpeg) {
		f.drop(&a, malformed)
		return
	}
	received := f.h.start.Add(a.at.Sub(f.h.start))
	// From its capture on, by the owner's clock: those of the encoders may differ from each other. Until now, not until
	// it came: where this process was frozen in between, it is as stale as any other that lay somewhere.
	now := f.h.Now()
	delay := time.Duration(now.UnixMicro()-head.CapturedUs) * time.Microsecond
	if f.least.Stale(staleness.Clocks{Epoch: head.Epoch}, delay, now.Sub(f.h.start)) {
		f.drop(&a, stale)
		return
	}
	head.Channel = f.stream.channel
	head.SetHop(frame.Received, received)
	head.SetHop(frame.Handed, now)
	p := picture.New(head, f.h.numbers.Next(), a.jpeg)
	if span.Sampled(&head, a.parent) {
		f.offerTraced(p, &a)
	} else {
		f.offer(p)
	}
	f.fate(&head, taken)
	f.stream.meters.aged(p)
	f.keep(p, a.at)
}

// isJPEG tells whether an envelope holds a picture that a viewer could show.
func isJPEG(h *frame.Header, payload []byte) bool {
	return h.Format == frame.JPEG && h.Flags&frame.FlagReference == 0 && bytes.HasPrefix(payload, startOfImage)
}

// startOfImage is what every JPEG begins with.
var startOfImage = []byte{0xFF, 0xD8, 0xFF}

// newer tells whether a picture that came now takes the place of the newest one: of two epochs the greater, unless it
// has been silent for a while, so that a clock set back blacks nothing out.
func newer(h, newest *frame.Header, silent time.Duration) bool {
	return h.Later(newest.Epoch, newest.Sequence) || h.Epoch < newest.Epoch && silent >= epochSilence
}

func (f *feed) keep(p *picture.Picture, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sizes.add(adapt.Size80(float64(len(p.JPEG)), int(p.Header.Quality)))
	f.quality = int(p.Header.Quality)
	if f.newest != nil && !newer(&p.Header, &f.newest.Header, at.Sub(f.at)) {
		return
	}
	f.newest, f.at = p, at
	close(f.arrived)
	f.arrived = make(chan struct{})
}

// offerNewest shows the newest picture to somebody who has just come.
func (f *feed) offerNewest(v *viewer.Viewer) {
	f.mu.Lock()
	p, at := f.newest, f.at
	f.mu.Unlock()
	if p != nil && time.Since(at) < freshFor {
		f.offerOne(v, p)
	}
}

// wait returns a picture that came after `after`, once there is one.
func (f *feed) wait(ctx context.Context, after time.Time) (*picture.Picture, error) {
	for {
		f.mu.Lock()
		p, at, arrived := f.newest, f.at, f.arrived
		f.mu.Unlock()
		if p != nil && at.After(after) {
			return p, nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
