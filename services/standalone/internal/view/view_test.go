package view_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"image"
	"image/jpeg"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/standalone/internal/view"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protojson"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a loaded machine may take for anything.
const patience = 30 * time.Second

func eventually(t *testing.T, condition func() bool, what string) {
	t.Helper()
	require.Eventually(t, condition, patience, 2*time.Millisecond, what)
}

// screen is a window that a test looks at. Show waits while it is busy.
type screen struct {
	busy sync.Mutex

	mu     sync.Mutex
	shown  []uint64 // sequences
	last   []byte
	lines  []string
	keys   []rune
	closed bool
	full   bool
}

func (s *screen) Show(jpeg []byte, lines []string) error {
	s.busy.Lock()
	defer s.busy.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if jpeg != nil {
		s.last = bytes.Clone(jpeg)
		s.shown = append(s.shown, binary.BigEndian.Uint64(jpeg[len(jpeg)-8:]))
	}
	s.lines = lines
	return nil
}

func (s *screen) Columns() int { return 80 }

func (s *screen) Wait(d time.Duration) (key rune, open bool) {
	<-time.After(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.keys) > 0 {
		key, s.keys = s.keys[0], s.keys[1:]
	}
	return key, !s.closed
}

func (s *screen) FullScreen(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = on
}

func (s *screen) press(keys string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, []rune(keys)...)
}

func (s *screen) newest() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.shown) == 0 {
		return 0
	}
	return s.shown[len(s.shown)-1]
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

// gateway sends what a test has it send, to one viewer at a time.
type gateway struct {
	*httptest.Server
	t     *testing.T
	conns chan *websocket.Conn
	ws    *websocket.Conn // the newest
	told  chan *pb.ClientMessage
	next  uint64
	jpeg  []byte
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, jpeg.Encode(&b, image.NewYCbCr(image.Rect(0, 0, 64, 48), image.YCbCrSubsampleRatio420), nil))
	g := &gateway{t: t, conns: make(chan *websocket.Conn, 16), told: make(chan *pb.ClientMessage, 1024), jpeg: b.Bytes()}
	up := websocket.Upgrader{Subprotocols: []string{"framebus.v1"}}
	var handlers sync.WaitGroup
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handlers.Add(1)
		defer handlers.Done()
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		_ = ws.WriteMessage(websocket.TextMessage, []byte(`{"hello":{"channels":[{"channel":1,"stream":"cam0"}]}}`))
		g.conns <- ws
		for {
			_, text, err := ws.ReadMessage()
			if err != nil {
				return
			}
			m := &pb.ClientMessage{}
			if err := protojson.Unmarshal(text, m); err != nil {
				return
			}
			select {
			case g.told <- m:
			default:
			}
		}
	}))
	t.Cleanup(func() { g.Close(); handlers.Wait() })
	return g
}

func (g *gateway) accept() {
	g.t.Helper()
	select {
	case g.ws = <-g.conns:
	case <-time.After(patience):
		g.t.Fatal("nobody came")
	}
}

// hears waits for a message of that kind.
func (g *gateway) hears(kind func(*pb.ClientMessage) bool) {
	g.t.Helper()
	end := time.After(patience)
	for {
		select {
		case m := <-g.told:
			if kind(m) {
				return
			}
		case <-end:
			g.t.Fatal("the viewer does not say it")
		}
	}
}

// send n pictures; each ends with its sequence, which is behind the JPEG's end.
func (g *gateway) send(n int) {
	g.t.Helper()
	for range n {
		g.next++
		payload := binary.BigEndian.AppendUint64(bytes.Clone(g.jpeg), g.next)
		h := frame.NewHeader()
		h.Format, h.Channel, h.Epoch, h.Sequence = frame.JPEG, 1, 1, g.next
		h.Width, h.Height, h.Quality, h.PayloadLen = 64, 48, 80, uint32(len(payload))
		h.CapturedUs = time.Now().UnixMicro()
		message := make([]byte, frame.HeaderLen+len(payload))
		h.Put(message)
		copy(message[frame.HeaderLen:], payload)
		require.NoError(g.t, g.ws.WriteMessage(websocket.BinaryMessage, message))
	}
}

// run shows a gateway on a screen, and returns how to wait for the end and what was printed.
func run(t *testing.T, g *gateway, s *screen, change ...func(*view.Config)) (end func() error, out *bytes.Buffer) {
	t.Helper()
	cfg := view.Config{URL: g.URL, Dir: t.TempDir(), Delay: 10 * time.Millisecond}
	for _, c := range change {
		c(&cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	out = &bytes.Buffer{}
	done := make(chan error, 1)
	go func() { done <- view.Run(ctx, cfg, view.Deps{Window: s, Out: out}) }()
	t.Cleanup(cancel)
	return func() error {
		select {
		case err := <-done:
			done <- err
			return err
		case <-time.After(patience):
			t.Fatal("it goes on")
			return nil
		}
	}, out
}

func TestABusyWindowSkipsToTheNewestPicture(t *testing.T) {
	g, s := newGateway(t), &screen{}
	end, _ := run(t, g, s)
	g.accept()
	g.send(1)
	eventually(t, func() bool { return s.newest() == 1 }, "no picture")
	s.busy.Lock()
	g.send(100)
	// What was sent has arrived once the newest is told of, whatever became of it.
	<-time.After(100 * time.Millisecond)
	s.busy.Unlock()
	eventually(t, func() bool { return s.newest() == 101 }, "the newest picture is not shown")
	s.mu.Lock()
	shown := len(s.shown)
	s.mu.Unlock()
	require.Less(t, shown, 101, "a window that was busy shows none of what it was too busy for")
	s.press("q")
	require.NoError(t, end())
}

func TestARecordingTakesWhatTheWindowIsTooBusyFor(t *testing.T) {
	g, s := newGateway(t), &screen{}
	dir := t.TempDir()
	end, out := run(t, g, s, func(c *view.Config) { c.Dir = dir })
	g.accept()
	g.send(1)
	eventually(t, func() bool { return s.newest() == 1 }, "no picture")
	s.press("r")
	eventually(t, func() bool { return strings.Contains(s.text(), "recording cam0-") }, "it does not say that it records")
	s.busy.Lock()
	for range 8 {
		g.send(1)
		g.hears(func(m *pb.ClientMessage) bool { return m.GetPainted().GetSequence() == g.next })
	}
	s.busy.Unlock()
	eventually(t, func() bool { return s.newest() == 9 }, "the newest picture is not shown")
	eventually(t, func() bool { return strings.Contains(s.text(), " 8 frames") }, "not every picture is in the file")
	s.mu.Lock()
	require.Less(t, len(s.shown), 9, "the window was too busy for some")
	s.mu.Unlock()
	s.press("r")
	eventually(t, func() bool { return strings.Contains(s.text(), "recorded ") }, "it does not say that it has recorded")
	require.NotContains(t, s.text(), "recording ")
	g.send(1)
	eventually(t, func() bool { return s.newest() == 10 }, "the window goes on")
	s.press("q")
	require.NoError(t, end())
	require.Contains(t, out.String(), ": 8 frames in ")
	files, err := filepath.Glob(filepath.Join(dir, "cam0-*.mkv"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	data, err := os.ReadFile(files[0])
	require.NoError(t, err)
	require.Equal(t, 8, bytes.Count(data, g.jpeg))
}

func TestARecordingThatTheWindowsEndInterruptsIsWhole(t *testing.T) {
	g, s := newGateway(t), &screen{}
	dir := t.TempDir()
	end, out := run(t, g, s, func(c *view.Config) { c.Dir = dir })
	g.accept()
	s.press("r")
	eventually(t, func() bool { return strings.Contains(s.text(), "recording ") }, "it does not record")
	g.send(1)
	eventually(t, func() bool { return strings.Contains(s.text(), " 1 frames") }, "nothing is in the file")
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	require.NoError(t, end())
	require.Contains(t, out.String(), "recorded ")
}

func TestARecordingWithoutPicturesLeavesNoFile(t *testing.T) {
	g, s := newGateway(t), &screen{}
	dir := t.TempDir()
	end, _ := run(t, g, s, func(c *view.Config) { c.Dir = dir })
	g.accept()
	s.press("rr")
	eventually(t, func() bool { return strings.Contains(s.text(), "no picture came") }, "it does not say so")
	s.press("q")
	require.NoError(t, end())
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, files)
}

func TestKeys(t *testing.T) {
	g, s := newGateway(t), &screen{}
	dir := t.TempDir()
	end, out := run(t, g, s, func(c *view.Config) { c.Dir = dir })
	g.accept()
	s.press("s")
	eventually(t, func() bool { return strings.Contains(s.text(), "there is no picture yet") }, "nothing is said")
	g.send(1)
	eventually(t, func() bool { return s.newest() == 1 }, "no picture")

	s.press("s")
	eventually(t, func() bool { return strings.Contains(s.text(), "saved ") }, "nothing is saved")
	files, err := filepath.Glob(filepath.Join(dir, "cam0-*.jpg"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	data, err := os.ReadFile(files[0])
	require.NoError(t, err)
	require.Equal(t, s.last, data, "as it came")

	s.press("f")
	eventually(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.full }, "no full screen")
	s.press("f")
	eventually(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return !s.full }, "still full screen")

	s.press("o")
	eventually(t, func() bool { return !strings.Contains(s.text(), "fps ") }, "figures are still there")
	s.press("o")
	eventually(t, func() bool { return strings.Contains(s.text(), "fps ") }, "figures are not there again")

	for key, rung := range map[string]string{"1": "full", "2": "half", "3": "quarter", "0": "auto"} {
		s.press(key)
		eventually(t, func() bool { return strings.Contains(s.text(), "("+rung+")") }, rung+" does not stand there")
		g.hears(func(m *pb.ClientMessage) bool { return m.GetSelect().GetRung() == rung })
	}
	s.press("?")
	eventually(t, func() bool { return strings.Contains(s.text(), "q quit") }, "no help")
	s.press("\x00y\x1b")
	require.NoError(t, end())
	require.Contains(t, out.String(), "saved ")
	require.Contains(t, out.String(), "cam0 1 frames, 0 missed, 0 reconnects\n")
}

func TestALostConnectionStandsOnThePictureAndComesBack(t *testing.T) {
	g, s := newGateway(t), &screen{}
	end, _ := run(t, g, s, func(c *view.Config) { c.Delay = 300 * time.Millisecond })
	g.accept()
	g.send(1)
	eventually(t, func() bool { return s.newest() == 1 }, "no picture")
	s.press("o") // it is told all the same
	require.NoError(t, g.ws.Close())
	eventually(t, func() bool { return strings.Contains(s.text(), "no connection, reconnecting in ") }, "it is not told")
	require.Contains(t, s.text(), "why: connection to ")
	g.accept()
	g.send(1)
	eventually(t, func() bool { return s.newest() == 2 && !strings.Contains(s.text(), "connect") }, "it is still told")
	s.press("o")
	eventually(t, func() bool { return strings.Contains(s.text(), "reconnects 1") }, "it is not counted")
	s.press("q")
	require.NoError(t, end())
}

func TestGivingUpEndsTheWindow(t *testing.T) {
	g, s := newGateway(t), &screen{}
	g.Close()
	end, _ := run(t, g, s, func(c *view.Config) { c.Attempts = 2 })
	require.ErrorContains(t, end(), "gave up after 2 attempts")
}

func TestAnEndedContextEndsTheWindow(t *testing.T) {
	g, s := newGateway(t), &screen{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- view.Run(ctx, view.Config{URL: g.URL, Dir: t.TempDir()}, view.Deps{Window: s, Out: &bytes.Buffer{}})
	}()
	g.accept()
	cancel()
	require.NoError(t, <-done)
}

func TestFiguresAsJSONAreThoseOnThePicture(t *testing.T) {
	g, s := newGateway(t), &screen{}
	end, out := run(t, g, s, func(c *view.Config) { c.JSON = true })
	g.accept()
	g.send(3)
	eventually(t, func() bool { return strings.Contains(s.text(), "cam0 64x48") }, "no figures")
	s.press("q")
	require.NoError(t, end())
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var f view.Figures
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &f))
	require.EqualValues(t, 3, f.Frames)
	require.Equal(t, "cam0", f.Stream)
	require.Equal(t, [2]int{64, 48}, [2]int{f.Width, f.Height})
	for _, line := range f.Lines()[:1] {
		require.Contains(t, s.text(), line)
	}
}

func TestSettingsThatAreWrongAreAllNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	err := (&view.Config{URL: "ftp://x", Stream: "A B", Rung: "tiny", Attempts: -1, Dir: file}).Validate()
	for _, part := range []string{"ftp", "A B", "tiny", "attempts", "is no folder"} {
		require.ErrorContains(t, err, part)
	}
	require.NoError(t, (&view.Config{URL: "host:8002"}).Validate())
}
