package viewer

import (
	"sync"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/gateway/internal/picture"
	"github.com/stretchr/testify/require"
)

// ledger is an Account that remembers.
type ledger struct {
	mu      sync.Mutex
	sent    [frame.Rungs]int
	bytes   int
	skipped [Reasons]int
	acked   []Mark
}

func (l *ledger) Sent(r frame.Rung, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent[r]++
	l.bytes += bytes
}

func (l *ledger) Skipped(why Reason) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.skipped[why]++
}

func (l *ledger) Acknowledged(m Mark, _ int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked = append(l.acked, m)
}

func TestAnAccountHasWhatTheStatsHave(t *testing.T) {
	c, v := dialWire(t, newSite(t, Options{}, false), "")
	book := &ledger{}
	v.Show(1, Tuning{Stream: "cam0"}, book)
	h := header(1, 1)
	h.Rung, h.Flags, h.TraceID = frame.Half, frame.FlagSampled, [16]byte{1}
	v.Offer(picture.New(*h, v.o.Numbers.Next(), jpegOf(1, 1000)))
	c.readOp(picture.OpBinary)
	c.send(picture.OpPong, c.readOp(picture.OpPing))
	require.Eventually(t, func() bool {
		book.mu.Lock()
		defer book.mu.Unlock()
		return len(book.acked) == 1
	}, 30*time.Second, time.Millisecond)
	v.Offer(picture.New(*h, v.o.Numbers.Next(), jpegOf(1, 1000))) // again
	v.Show(1, Tuning{Stream: "cam0", Hidden: true}, book)
	v.Offer(picture.New(*header(1, 2), v.o.Numbers.Next(), jpegOf(2, 1000)))
	st := v.Stats()
	require.Equal(t, 1, book.sent[frame.Half])
	require.EqualValues(t, st.Bytes, book.bytes)
	require.Equal(t, Mark{CapturedUs: h.CapturedUs, TraceID: h.TraceID}, book.acked[0])
	require.Equal(t, map[string]uint64{"late": 1, "hidden": 1}, st.Streams[0].Skipped)
	require.Equal(t, 1, book.skipped[Late])
	require.Equal(t, 1, book.skipped[Hidden])
	_ = c.Close()
}
