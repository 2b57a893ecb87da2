package gateway_test

import (
	"bytes"
	"encoding/json"
	"image"
	"image/jpeg"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/gateway"
	"github.com/framebus/framebus/services/gateway/internal/viewer"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// publisher connects a client that publishes, and reads what it is told.
func (r *rig) publisher(query string, header http.Header, protocols ...string) *client {
	r.t.Helper()
	d := *dialer
	d.Subprotocols = protocols
	ws, _, err := d.Dial("ws://"+r.addr+"/publish"+query, header)
	require.NoError(r.t, err)
	return read(r.t, ws)
}

func (r *rig) publishRefused(query string, header http.Header) int {
	r.t.Helper()
	c, resp, err := dialer.Dial("ws://"+r.addr+"/publish"+query, header)
	if err == nil {
		c.Close()
		require.FailNow(r.t, "it was let in", query)
	}
	require.ErrorIs(r.t, err, websocket.ErrBadHandshake)
	return resp.StatusCode
}

func (c *client) publish(b []byte) {
	c.t.Helper()
	require.NoError(c.t, c.ws.WriteMessage(websocket.BinaryMessage, b))
}

// keepPublishing sends a picture again and again until the test ends.
func (c *client) keepPublishing(b []byte) {
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				if c.ws.WriteMessage(websocket.BinaryMessage, b) != nil {
					return
				}
			}
		}
	}()
	c.t.Cleanup(func() { close(stop); <-ended })
}

// worker plays an encoder: it says that it is there, takes frames and passes them on as JPEGs.
type worker struct {
	mu   sync.Mutex
	raws []bus.Msg
}

func (r *rig) worker() *worker {
	r.t.Helper()
	b, err := bus.Open(bus.Config{URL: r.nats.URL(), Name: "encoder"}, bus.Deps{Log: slog.New(slog.DiscardHandler)})
	require.NoError(r.t, err)
	w := &worker{}
	_, err = b.Data.Subscribe(subject.RawFor("enc-1"), func(m bus.Msg) {
		h, payload, err := frame.Parse(m.Data)
		if err != nil || len(payload) == 0 {
			return
		}
		w.mu.Lock()
		w.raws = append(w.raws, m)
		w.mu.Unlock()
		_, stream, _, _ := subject.ParseRaw(m.Subject)
		h.SetHop(frame.Taken, time.Now())
		h.SetHop(frame.Encoded, time.Now())
		out := make([]byte, frame.HeaderLen, len(m.Data))
		h.Put(out)
		_ = b.Data.Publish(bus.Msg{Subject: subject.JPEG(stream, frame.Full), Data: append(out, payload...)})
		_ = b.Data.Send(m.Reply, &pb.Done{
			Stream: stream, Epoch: h.Epoch, Sequence: h.Sequence, Encoder: "enc-1", Run: 1, Fate: pb.Fate_FATE_ENCODED,
			Rungs: []pb.Rung{pb.Rung_RUNG_FULL},
		})
	})
	require.NoError(r.t, err)
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			_ = b.Control.Send(subject.Status("encoder", "enc-1"), &pb.Status{
				Service: "encoder", Instance: "enc-1", Run: 1, Encoder: &pb.EncoderStatus{Workers: 2},
			})
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	r.t.Cleanup(func() { close(stop); <-ended; b.Close() })
	return w
}

func (w *worker) seen() []bus.Msg {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.raws
}

func publishing() gateway.Settings {
	s := testSettings()
	s.MaxPublishers, s.PublishBytes, s.PublishSide, s.PublishFPS = 2, 64<<10, 1000, 1000
	return s
}

// published is what /api/v1/publishers says of the first.
func (r *rig) published() (out struct {
	Stream   string
	Pictures int
	Refused  map[string]int
}) {
	_, body := r.get("/api/v1/publishers")
	var all struct{ Publishers []json.RawMessage }
	require.NoError(r.t, json.Unmarshal([]byte(body), &all))
	if len(all.Publishers) > 0 {
		require.NoError(r.t, json.Unmarshal(all.Publishers[0], &out))
	}
	return out
}

func (r *rig) lists(stream string) bool {
	_, body := r.get("/api/v1/streams")
	return strings.Contains(body, `"name":"`+stream+`"`)
}

func TestWhatAClientPublishesIsAStreamLikeAnyOther(t *testing.T) {
	t.Parallel()
	r := start(t, publishing())
	w := r.worker()
	pic := picture(7)
	p := r.publisher("?stream=desk", nil, viewer.Subprotocol)
	p.keepPublishing(pic)
	r.eventually(func() bool { return r.lists("desk") }, "it is not in the list")
	v := r.dial("?stream=desk", viewer.Subprotocol)
	v.more(10)
	require.Equal(t, luma(7), decode(t, v.pictures()[5][frame.HeaderLen:]))
	raw := w.seen()[0]
	require.True(t, strings.HasPrefix(raw.Subject, "framebus.v1.raw.pub.desk."), raw.Subject)
	h, payload, err := frame.Parse(raw.Data)
	require.NoError(t, err)
	require.Equal(t, pic, payload)
	require.Equal(t, []any{frame.JPEG, uint16(width), uint16(height)}, []any{h.Format, h.Width, h.Height})
	r.eventually(func() bool {
		for _, m := range p.heard() {
			if m.GetStats().GetFps() > 0 {
				return true
			}
		}
		return false
	}, "it is not told how it fares")

	p.close()
	v.notice(func(n *pb.Notice) bool { return n.GetState() == pb.StreamState_STREAM_STATE_GONE })
	v.close()
	r.eventually(func() bool {
		_, body := r.get("/api/v1/ledger")
		return strings.Contains(body, `"by":"pub","state":"closed"`)
	}, "its book is never closed")
	r.eventually(func() bool { return !r.lists("desk") }, "an ended stream stays in the list")
}

// A question for the time that follows a picture is answered once the picture was read.
func TestAPublisherIsToldWhatWasRead(t *testing.T) {
	t.Parallel()
	r := start(t, publishing())
	p := r.publisher("?stream=desk", nil, viewer.Subprotocol)
	answered := func() (newest int64) {
		for _, m := range p.heard() {
			if c := m.GetClock(); c != nil {
				require.Greater(t, c.GetT1Us(), newest, "answers come in the order of the questions")
				require.NotZero(t, c.GetT2Us())
				require.GreaterOrEqual(t, c.GetT3Us(), c.GetT2Us())
				newest = c.GetT1Us()
			}
		}
		return newest
	}
	for i := range int64(20) {
		p.publish(picture(uint64(i)))
		question := `{"clock":{"t1Us":"` + strconv.FormatInt(i+1, 10) + `"}}`
		require.NoError(t, p.ws.WriteMessage(websocket.TextMessage, []byte(question)))
	}
	r.eventually(func() bool { return answered() == 20 }, "the newest question is not answered")
	require.Equal(t, 20, r.published().Pictures)
	require.Empty(t, r.published().Refused)
}

func TestAnEnvelopeIsTakenToo(t *testing.T) {
	t.Parallel()
	r := start(t, publishing())
	w := r.worker()
	h := frame.NewHeader()
	pic := picture(3)
	h.Format, h.Width, h.Height, h.PayloadLen = frame.JPEG, width, height, uint32(len(pic))
	b := make([]byte, frame.HeaderLen)
	h.Put(b)
	r.publisher("?stream=desk", nil).keepPublishing(append(b, pic...))
	r.eventually(func() bool { return r.lists("desk") }, "it is not in the list")
	r.dial("?stream=desk").more(3)
	_, payload, err := frame.Parse(w.seen()[0].Data)
	require.NoError(t, err)
	require.Equal(t, pic, payload)
}

func TestWhatIsNoPictureNeverReachesTheBus(t *testing.T) {
	t.Parallel()
	r := start(t, publishing())
	w := r.worker()
	pic := picture(1)
	raw := frame.NewHeader()
	raw.Format, raw.Width, raw.Height, raw.PayloadLen = frame.I420, 2, 2, 6
	rawBytes := make([]byte, frame.HeaderLen+6)
	raw.Put(rawBytes)
	var wide bytes.Buffer
	require.NoError(t, jpeg.Encode(&wide, image.NewGray(image.Rect(0, 0, 1001, 8)), nil))

	p := r.publisher("?stream=desk", nil, viewer.Subprotocol)
	p.publish(pic)
	r.eventually(func() bool { return r.lists("desk") }, "it is not in the list")
	r.dial("?stream=desk")
	from := r.published().Pictures
	for why, b := range map[string][]byte{
		"truncated": pic[:len(pic)-20], "not_jpeg": []byte("GIF89a"), "envelope": rawBytes, "size": wide.Bytes(),
	} {
		p.publish(b)
		r.eventually(func() bool { return r.published().Refused[why] == 1 }, "not counted: %s", why)
	}
	p.publish(nil)
	p.publish([]byte{0xFF, 0xD8, 0xFF, 0xD9})
	r.eventually(func() bool { return r.published().Refused["not_jpeg"] == 3 }, "no picture in it")
	require.NoError(t, p.ws.WriteMessage(websocket.TextMessage, []byte("hello")))
	r.eventually(func() bool { return r.published().Refused["text"] == 1 }, "a text is no picture")
	p.notice(func(n *pb.Notice) bool { return n.GetKind() == "malformed" && n.GetText() != "" })
	require.Equal(t, from, r.published().Pictures)
	for _, m := range w.seen() {
		_, payload, err := frame.Parse(m.Data)
		require.NoError(t, err)
		require.Equal(t, pic, payload, "only the good one may reach the bus")
	}
	_, metrics := r.get("/metrics")
	require.Regexp(t, `framebus_publish_refused_total\{[^}]*reason="truncated"[^}]*\} 1`, metrics)

	p.publish(make([]byte, 65<<10))
	require.Equal(t, websocket.CloseMessageTooBig, p.closed())
}

func TestAFloodOfRubbishEndsThePublisher(t *testing.T) {
	t.Parallel()
	r := start(t, publishing())
	p := r.publisher("?stream=desk", nil)
	go func() {
		for range 500 {
			if p.ws.WriteMessage(websocket.BinaryMessage, []byte("rubbish")) != nil {
				return
			}
		}
	}()
	require.Equal(t, websocket.ClosePolicyViolation, p.closed())
}

func TestWhoMayPublish(t *testing.T) {
	t.Parallel()
	r := start(t, publishing())
	r.camera("cam0")
	for query, want := range map[string]int{
		"": http.StatusBadRequest, "?stream=No+Name": http.StatusBadRequest, "?stream=cam0": http.StatusConflict,
	} {
		require.Equal(t, want, r.publishRefused(query, nil), query)
	}
	require.Equal(t, http.StatusUnauthorized,
		r.publishRefused("?stream=a", http.Header{"X-Forwarded-For": {"192.0.2.1"}}), "not from this host")
	require.Equal(t, http.StatusForbidden, r.publishRefused("?stream=a", http.Header{"Origin": {"http://elsewhere"}}))
	code, body := r.get("/publish?stream=a")
	require.Equal(t, http.StatusOK, code, body)

	a := r.publisher("?stream=a", nil)
	require.Equal(t, http.StatusConflict, r.publishRefused("?stream=a", nil))
	r.publisher("?stream=b", nil)
	require.Equal(t, http.StatusServiceUnavailable, r.publishRefused("?stream=c", nil))
	a.close()
	free := func() bool { code, _ := r.get("/publish?stream=a"); return code == http.StatusOK }
	r.eventually(free, "the name stays taken")
	r.publisher("?stream=a", nil).keepPublishing(picture(1))
}

func TestATokenIsAskedOfEverybody(t *testing.T) {
	t.Parallel()
	s := publishing()
	s.PublishToken = "open sesame"
	r := start(t, s)
	require.Equal(t, http.StatusUnauthorized, r.publishRefused("?stream=a", nil))
	require.Equal(t, http.StatusUnauthorized, r.publishRefused("?stream=a&token=open", nil))
	r.publisher("?stream=a&token=open+sesame", nil)
	r.publisher("?stream=b", http.Header{"Authorization": {"Bearer open sesame"}, "X-Forwarded-For": {"192.0.2.1"}})
}

func TestTheEndTellsPublishers(t *testing.T) {
	t.Parallel()
	r := start(t, publishing())
	p := r.publisher("?stream=a", nil)
	p.publish(picture(1))
	r.eventually(func() bool { return r.published().Pictures == 1 }, "not taken")
	r.stop()
	require.Equal(t, websocket.CloseGoingAway, p.closed())
}
