package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
)

// desk is what the stand knows of pages that publish.
type desk struct {
	mu      sync.Mutex
	token   string // that must be shown
	taken   string // a stream that is there already
	jpegs   [][]byte
	streams []string // one a connection
	conn    *websocket.Conn
	mute    bool      // tells nobody what it read
	asked   *pb.Clock // the newest question, nil once it was answered
}

// newest is the last picture that came, and how many did.
func (d *desk) newest(t *testing.T) (picture image.Image, n int) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.jpegs) == 0 {
		return nil, 0
	}
	picture, err := jpeg.Decode(bytes.NewReader(d.jpegs[len(d.jpegs)-1]))
	require.NoError(t, err)
	return picture, len(d.jpegs)
}

// differ tells whether some of the pictures are of another moment.
func (d *desk) differ() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.jpegs) > 1 && !bytes.Equal(d.jpegs[0], d.jpegs[len(d.jpegs)-1])
}

func (d *desk) set(change func(d *desk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

func (s *stand) servePublish(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	stream, token := r.URL.Query().Get("stream"), r.URL.Query().Get("token")
	if got, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		token = got
	}
	refuse := func(status int, what string) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": what})
	}
	s.desk.mu.Lock()
	wrong, taken := token != s.desk.token, stream == s.desk.taken
	s.desk.mu.Unlock()
	switch {
	case wrong:
		refuse(http.StatusUnauthorized, "publishing needs the right token")
		return
	case taken:
		refuse(http.StatusConflict, "the stream is there already")
		return
	}
	up := websocket.Upgrader{Subprotocols: []string{"framebus.v1"}}
	c, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	s.desk.set(func(d *desk) { d.streams, d.conn = append(d.streams, stream), c })
	done := make(chan struct{})
	s.conns.Go(func() {
		defer close(done)
		for {
			kind, b, err := c.ReadMessage()
			if err != nil {
				return
			}
			if kind == websocket.BinaryMessage {
				s.desk.set(func(d *desk) { d.jpegs = append(d.jpegs, b) })
				continue
			}
			m := new(pb.ClientMessage)
			if err := protojson.Unmarshal(b, m); err != nil {
				panic("the page sent no protojson of ClientMessage: " + err.Error() + ": " + string(b))
			}
			s.desk.set(func(d *desk) { d.asked = m.GetClock() })
		}
	})
	s.conns.Go(func() {
		defer c.Close()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		tell := func(m *pb.ServerMessage) bool {
			b, err := protojson.Marshal(m)
			return err == nil && c.WriteMessage(websocket.TextMessage, b) == nil
		}
		for n := uint64(0); ; n++ {
			if n%20 == 0 && !tell(&pb.ServerMessage{Message: &pb.ServerMessage_Stats{Stats: &pb.Stats{
				Stream: stream, Fps: 9.5, Mbps: 1.25, Sent: n, Skipped: map[string]uint64{"dimensions": 2},
			}}}) {
				return
			}
			var asked *pb.Clock
			s.desk.set(func(d *desk) {
				if !d.mute {
					asked, d.asked = d.asked, nil
				}
			})
			if asked != nil && !tell(&pb.ServerMessage{Message: &pb.ServerMessage_Clock{Clock: asked}}) {
				return
			}
			select {
			case <-tick.C:
			case <-done:
				return
			case <-ctx.Done():
				return
			}
		}
	})
}

// camera is a Chromium with a made-up one, which it gives without asking. cam.test is this host by a name that is no
// secure context.
func camera(t *testing.T) (context.Context, bool) {
	t.Helper()
	return browser(t, chromedp.Flag("use-fake-device-for-media-stream", true),
		chromedp.Flag("use-fake-ui-for-media-stream", true),
		chromedp.Flag("host-resolver-rules", "MAP cam.test 127.0.0.1"))
}

func TestPublishPage(t *testing.T) {
	ctx, ok := camera(t)
	if !ok {
		return
	}
	t.Run("a camera is published", func(t *testing.T) { publishes(t, ctx) })
	t.Run("nothing follows a picture that is late", func(t *testing.T) { lateHolds(t, ctx) })
	t.Run("a refusal is told in the gateway's words", func(t *testing.T) { publishRefused(t, ctx) })
	t.Run("a call publishes under a name of its room", func(t *testing.T) { calls(t, ctx) })
	t.Run("who is in a room", func(t *testing.T) { rooms(t, ctx) })
	t.Run("without HTTPS it says what to do", func(t *testing.T) { insecure(t, ctx) })
}

func publishes(t *testing.T, ctx context.Context) {
	s := newStand(t, 320, 240, 5)
	b := open(t, ctx, "http://"+s.addr+"/publish.html?stream=desk&size=320x240&fps=10", 1280, 800, false)
	b.click("#camera")
	b.eventually("document.querySelector('#video').videoWidth > 0", "the preview shows the camera")
	_, n := s.desk.newest(t)
	require.Zero(t, n, "nothing is sent before it is asked for")
	b.click("#go")
	require.Eventually(t, func() bool { _, n := s.desk.newest(t); return n > 5 && s.desk.differ() }, patience,
		10*time.Millisecond, "pictures come and move")
	picture, _ := s.desk.newest(t)
	require.Equal(t, image.Pt(320, 240), picture.Bounds().Size())
	b.eventually("document.querySelector('#fps').textContent === '9.5' && "+
		"document.querySelector('#mbps').textContent === '1.25' && "+
		"document.querySelector('#refusals').textContent === 'dimensions: 2'", "the gateway's figures are shown")
	b.keep("publish")

	// Another size while pictures go out.
	b.eval(`(() => { const e = document.querySelector('#size'); e.value = '640x480';
		e.dispatchEvent(new Event('change')); })()`, nil)
	require.Eventually(t, func() bool { p, _ := s.desk.newest(t); return p.Bounds().Dx() == 640 }, patience,
		10*time.Millisecond)

	// A tab behind others goes on: who shows a screen looks at another window.
	open(t, ctx, "about:blank", 800, 600, false)
	b.eventually("document.hidden", "the tab is hidden")
	_, before := s.desk.newest(t)
	require.Eventually(t, func() bool { _, n := s.desk.newest(t); return n > before+5 }, patience, 10*time.Millisecond)
	b.front()

	s.desk.set(func(d *desk) { _ = d.conn.Close() })
	b.eventually("framebus.stats().reconnects === 1 && framebus.stats().phase === 'open'", "it comes back")
	b.click("#go")
	b.eventually("framebus.stats().phase === 'off'", "and ends when asked to")
	require.Equal(t, []string{"desk", "desk"}, s.desk.streams)
	require.Empty(t, b.complaints())
}

// A line may hold seconds of pictures that the page knows nothing of: what counts is what the gateway says it has read.
func lateHolds(t *testing.T, ctx context.Context) {
	s := newStand(t, 320, 240, 5)
	b := open(t, ctx, "http://"+s.addr+"/publish.html?stream=desk&size=320x240&fps=10", 800, 600, false)
	b.click("#camera")
	b.eventually("!document.querySelector('#go').disabled", "the camera is open")
	b.click("#go")
	sent := func() (n int) { _, n = s.desk.newest(t); return n }
	require.Eventually(t, func() bool { return sent() > 20 }, patience, 10*time.Millisecond, "pictures come")
	s.desk.set(func(d *desk) { d.mute = true })
	before := sent()
	var held int
	b.eval("framebus.stats().held", &held)
	b.eventually(fmt.Sprintf("framebus.stats().held > %d", held+20), "pictures are held back")
	require.LessOrEqual(t, sent()-before, 8, "those that are late are waited for")
	s.desk.set(func(d *desk) { d.mute = false })
	require.Eventually(t, func() bool { return sent() > before+20 }, patience, 10*time.Millisecond, "it goes on")
	require.Empty(t, b.complaints())
}

func publishRefused(t *testing.T, ctx context.Context) {
	s := newStand(t, 320, 240, 5)
	s.desk.set(func(d *desk) { d.token, d.taken = "open sesame", "door" })
	b := open(t, ctx, "http://"+s.addr+"/publish.html?stream=door", 390, 844, true)
	b.click("#camera")
	b.eventually("!document.querySelector('#go').disabled", "the camera is open")
	b.click("#go")
	b.eventually("framebus.stats().said === 'Publishing needs the right token. Enter it under Token' && "+
		"document.activeElement.id === 'token'", "the reason is told, and where to mend it")
	b.keep("publish-phone")
	b.eval("document.querySelector('#token').value = 'open sesame'", nil)
	b.click("#go")
	b.eventually("framebus.stats().said.includes('is there already')", "the next reason is told")
	b.eval("document.querySelector('#stream').value = 'yard'", nil)
	b.click("#go")
	require.Eventually(t, func() bool { _, n := s.desk.newest(t); return n > 0 }, patience, 10*time.Millisecond)
	var stored []string
	b.eval("[sessionStorage.getItem('framebus.token'), JSON.stringify({ ...localStorage }), location.href]", &stored)
	require.Equal(t, "open sesame", stored[0])
	require.NotContains(t, stored[1]+stored[2], "sesame")
	var wide bool
	b.eval("document.body.scrollWidth > innerWidth", &wide)
	require.False(t, wide, "nothing scrolls sideways")
}

func insecure(t *testing.T, ctx context.Context) {
	s := newStand(t, 320, 240, 5)
	_, port, err := net.SplitHostPort(s.addr)
	require.NoError(t, err)
	b := open(t, ctx, "http://cam.test:"+port+"/publish.html", 390, 844, true)
	b.eventually("framebus.stats().said.includes('FRAMEBUS_TLS_CERT') && "+
		"framebus.stats().said.includes('https://cam.test')", "it says what is missing and where to go")
	b.eventually("document.querySelector('#camera').disabled", "and offers nothing that cannot work")
	b.keep("publish-insecure")
}

func calls(t *testing.T, ctx context.Context) {
	s := newStand(t, 320, 240, 5)
	b := open(t, ctx, "http://"+s.addr+"/call.html?room=tea", 390, 844, true)
	b.eventually("document.querySelector('#room').value === 'tea'", "the room is the link's")
	_, n := s.desk.newest(t)
	require.Zero(t, n, "a link alone shows nobody's camera")
	b.keep("call-lobby")
	b.click("#join")
	require.Eventually(t, func() bool { _, n := s.desk.newest(t); return n > 3 && s.desk.differ() }, patience,
		patience/1000, "pictures come and move")
	picture, _ := s.desk.newest(t)
	require.Equal(t, image.Pt(320, 240), picture.Bounds().Size())
	require.Regexp(t, "^call-tea-[a-z0-9]{4}$", s.desk.streams[0])
	b.eventually("document.querySelector('#said').textContent.includes('Nobody else is here yet')", "it says who is there")
	var wide bool
	b.eval("document.body.scrollWidth > innerWidth", &wide)
	require.False(t, wide, "nothing scrolls sideways")
	b.keep("call-alone")
	b.click("#leave")
	b.eventually("framebus.stats().phase === 'off' && document.querySelector('#video').srcObject === null",
		"who leaves is seen no more, and the camera is off")
	require.Empty(t, b.complaints())
}

func rooms(t *testing.T, ctx context.Context) {
	s := newStand(t, 320, 240, 5)
	b := open(t, ctx, "http://"+s.addr+"/call.html", 800, 600, false)
	var got []string
	b.eval(`import('/room.js').then(({ members }) => members([
		{ name: 'call-tea-bbbb', state: 'live', epoch: '1000000000000002' },
		{ name: 'call-tea-cccc', state: 'live', epoch: '1000000000000001' },
		{ name: 'call-tea-aaaa', state: 'slate', epoch: '1000000000000002' },
		{ name: 'call-tea-dddd', state: 'gone', epoch: '1' },
		{ name: 'call-tea-two-eeee', state: 'live', epoch: '1' },
		{ name: 'call-teas-ffff', state: 'live', epoch: '1' },
		{ name: 'tea', state: 'live', epoch: '1' },
	], 'tea'))`, &got)
	require.Equal(t, []string{"call-tea-cccc", "call-tea-aaaa", "call-tea-bbbb"}, got)
}
