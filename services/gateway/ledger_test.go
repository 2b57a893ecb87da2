package gateway_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/stretchr/testify/require"
)

// script has a camera send pictures and Done as the test says, and settle them.
type script struct {
	*camera
	book *pb.Book
}

func (s *script) shoot(picture, done, booked bool) {
	s.t.Helper()
	s.change(func(c *camera) {
		c.seq++
		h := frame.NewHeader()
		h.Format, h.Quality, h.Width, h.Height = frame.JPEG, 80, width, height
		h.Epoch, h.Sequence, h.CapturedUs = c.status.GetEpoch(), c.seq, c.now().UnixMicro()
		if picture {
			c.sendRaw(h, pixels)
		}
		if done {
			require.NoError(c.t, c.bus.Data.Send(subject.Done(subject.Cam, c.name), &pb.Done{
				Stream: c.name, Epoch: h.Epoch, Sequence: c.seq, Encoder: "enc-1", Fate: pb.Fate_FATE_ENCODED,
				Rungs: []pb.Rung{pb.Rung_RUNG_FULL},
			}))
		}
		s.book.Captured, s.book.Published, s.book.Settled = c.seq, c.seq, c.seq
		if booked {
			s.book.SettledEncoded[0]++
		}
		s.book.Encoded = s.book.GetSettledEncoded()
		s.book.Done = map[string]uint64{"encoded": s.book.GetSettledEncoded()[0]}
		s.book.Unanswered = c.seq - s.book.GetSettledEncoded()[0]
		s.book.Encoders = []*pb.EncoderShare{{Encoder: "enc-1", Done: s.book.GetDone(), Unanswered: s.book.GetUnanswered()}}
	})
}

var pixels = picture(1)

type busLine struct{ Encoded, Unbooked, Received, Lost, Difference int64 }

// TestALostPictureShowsOnItsHop plays encoders on a real bus whose pictures and answers get lost.
func TestALostPictureShowsOnItsHop(t *testing.T) {
	t.Parallel()
	r := start(t, testSettings())
	s := &script{book: &pb.Book{SettledEncoded: []uint64{0, 0, 0}}}
	s.camera = r.camera("cam0", func(c *camera) {
		c.silent = true
		c.status.Book = s.book
	})
	viewer := r.dial("")
	var body string
	line := func(explained bool) (out busLine) {
		var all struct {
			Explained bool
			Streams   []struct {
				Epochs []struct {
					State    string
					Gateways []struct {
						Gateway string
						Settled uint64
						Rungs   []struct{ Bus busLine }
					}
				}
			}
		}
		r.eventually(func() bool {
			var code int
			code, body = r.get("/api/v1/ledger")
			require.Equal(t, http.StatusOK, code)
			require.NoError(t, json.Unmarshal([]byte(body), &all))
			if len(all.Streams) == 0 || len(all.Streams[0].Epochs[0].Gateways) == 0 {
				return false
			}
			g := all.Streams[0].Epochs[0].Gateways[0]
			require.Equal(t, "gw-1", g.Gateway)
			require.Equal(t, "open", all.Streams[0].Epochs[0].State)
			if len(g.Rungs) == 1 {
				out = g.Rungs[0].Bus
			}
			return g.Settled == s.book.GetSettled() && len(g.Rungs) == 1
		}, "never compared")
		require.Equal(t, explained, all.Explained, body)
		return out
	}
	s.asked(func(f *pb.Feedback) bool { return len(f.GetRungs()) == 1 })
	s.shoot(true, true, true)
	viewer.has(1)
	require.Equal(t, busLine{Encoded: 1, Received: 1}, line(true))

	s.shoot(true, true, true)
	s.shoot(false, true, true)
	require.Equal(t, busLine{Encoded: 3, Received: 2, Lost: 1}, line(true), "a Done tells of it")
	s.shoot(false, false, false)
	require.Equal(t, busLine{Encoded: 3, Received: 2, Lost: 1}, line(true), "no encoder had it")
	s.shoot(true, false, true)
	require.Equal(t, busLine{Encoded: 4, Received: 3, Lost: 1}, line(true), "its Done came to the owner alone")
	s.shoot(false, false, true)
	require.Equal(t, busLine{Encoded: 5, Received: 3, Lost: 1, Difference: 1}, line(false), "only the owner knows of it")
	require.Equal(t, 3, viewer.count())
}

// TestAPictureWithoutADoneIsToldOf is the gateway's part in booking what an encoder published before it was killed.
func TestAPictureWithoutADoneIsToldOf(t *testing.T) {
	t.Parallel()
	r := start(t, testSettings())
	s := &script{book: &pb.Book{SettledEncoded: []uint64{0, 0, 0}}}
	undone := make(chan *pb.WatchedEpoch, 100)
	s.camera = r.camera("cam0", func(c *camera) {
		c.silent = true
		c.status.Book = s.book
		_, err := c.bus.Control.Subscribe(subject.Status("gateway", "gw-1"), func(m bus.Msg) {
			st := &pb.Status{}
			if bus.Decode(m, st) != nil {
				return
			}
			for _, w := range st.GetGateway().GetLedger() {
				if len(w.GetUndone()) > 0 {
					undone <- w
				}
			}
		})
		require.NoError(t, err)
	})
	viewer := r.dial("")
	s.asked(func(f *pb.Feedback) bool { return len(f.GetRungs()) == 1 })
	s.shoot(true, true, true)
	viewer.has(1)
	s.change(func(c *camera) { // one whose fate is open
		c.seq++
		h := frame.NewHeader()
		h.Format, h.Quality, h.Width, h.Height = frame.JPEG, 80, width, height
		h.Epoch, h.Sequence, h.CapturedUs = c.status.GetEpoch(), c.seq, c.now().UnixMicro()
		c.sendRaw(h, pixels)
	})
	w := <-undone
	require.Equal(t, "cam0", w.GetStream())
	require.Len(t, w.GetUndone(), 1)
	require.EqualValues(t, 2, w.GetUndone()[0].GetSequence())
	require.Equal(t, []pb.Rung{pb.Rung_RUNG_FULL}, w.GetUndone()[0].GetRungs())
}
