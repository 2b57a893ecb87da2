//go:build e2e

package e2e

import (
	"bytes"
	order "encoding/binary"
	"image/jpeg"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/framebus/framebus/services/internal/telemetry/logtest"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

func containsFold(s, part string) bool { return strings.Contains(strings.ToLower(s), part) }

func decodes(t *testing.T, b []byte) {
	t.Helper()
	img, err := jpeg.Decode(bytes.NewReader(b))
	require.NoError(t, err)
	require.Equal(t, 640, img.Bounds().Dx())
}

func TestFormats(t *testing.T) {
	sized := freeAddr(t)
	s := start(t, options{gateway: []string{"--sized-listen", sized}})
	dial := func(t *testing.T, query string) *websocket.Conn {
		t.Helper()
		c, resp, err := websocket.DefaultDialer.Dial(s.ws(query), nil)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	t.Run("bare", func(t *testing.T) {
		c := dial(t, "stream=cam0")
		for range 30 {
			kind, b, err := c.ReadMessage()
			require.NoError(t, err)
			require.Equal(t, websocket.BinaryMessage, kind)
			decodes(t, b)
		}
	})
	t.Run("sized", func(t *testing.T) {
		c := dial(t, "stream=cam0&format=sized")
		for range 30 {
			_, b, err := c.ReadMessage()
			require.NoError(t, err)
			require.EqualValues(t, len(b)-8, order.LittleEndian.Uint64(b))
			decodes(t, b[8:])
		}
	})
	t.Run("sized over plain TCP", func(t *testing.T) {
		c, err := net.Dial("tcp", sized)
		require.NoError(t, err)
		defer c.Close()
		for range 30 {
			var head [8]byte
			_, err := io.ReadFull(c, head[:])
			require.NoError(t, err)
			n := order.LittleEndian.Uint64(head[:])
			require.Less(t, n, uint64(1<<20))
			b := make([]byte, n)
			_, err = io.ReadFull(c, b)
			require.NoError(t, err)
			decodes(t, b)
		}
	})
	t.Run("mjpeg read by ffmpeg", func(t *testing.T) {
		if _, err := exec.LookPath("ffmpeg"); err != nil {
			t.Fatal("ffmpeg is missing: deploy/setup/setup.sh test installs it")
		}
		out, err := exec.Command("ffmpeg", "-hide_banner", "-f", "mpjpeg", "-i", "http://"+s.addr+"/mjpeg/cam0",
			"-frames:v", "30", "-f", "null", "-").CombinedOutput()
		require.NoError(t, err, string(out))
		require.Contains(t, string(out), "frame=   30")
	})
	t.Run("snapshot", func(t *testing.T) {
		code, body := get(t, "http://"+s.addr+"/snapshot/cam0.jpg")
		require.Equal(t, http.StatusOK, code, body)
		decodes(t, []byte(body))
	})
	t.Run("one that never pongs", func(t *testing.T) {
		c := dial(t, "stream=cam0")
		c.SetPingHandler(func(string) error { return nil })
		from := time.Now()
		for range 90 {
			_, b, err := c.ReadMessage()
			require.NoError(t, err)
			decodes(t, b)
		}
		t.Logf("90 pictures in %v", time.Since(from))
	})
	t.Run("text, garbage and a message too big", func(t *testing.T) {
		c := dial(t, "stream=cam0")
		require.NoError(t, c.WriteMessage(websocket.TextMessage, []byte("hello")))
		require.NoError(t, c.WriteMessage(websocket.BinaryMessage, []byte{0, 255, 1}))
		for range 10 {
			_, b, err := c.ReadMessage()
			require.NoError(t, err)
			decodes(t, b)
		}
		require.NoError(t, c.WriteMessage(websocket.BinaryMessage, make([]byte, 70<<10)))
		var err error
		for err == nil {
			var b []byte
			if _, b, err = c.ReadMessage(); err == nil {
				decodes(t, b)
			}
		}
		require.True(t, websocket.IsCloseError(err, websocket.CloseMessageTooBig), "%v", err)
	})
}

// python is one that has the package websockets: a machine may have several.
func python(t *testing.T) string {
	t.Helper()
	for _, p := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(p, "-c", "import websockets").Run() == nil {
			return p
		}
	}
	t.Fatal("python3 with websockets is missing: deploy/setup/setup.sh test installs it")
	return ""
}

func TestThePythonExample(t *testing.T) {
	s := start(t, options{})
	examples := filepath.Join("..", "..", "..", "docs", "examples")
	script := `
import asyncio, sys
sys.path.insert(0, sys.argv[1])
import viewer
seen = []
class Enough(Exception): pass
def show(jpeg):
    assert jpeg[:2] == b"\xff\xd8" and jpeg[-2:] == b"\xff\xd9"
    seen.append(len(jpeg))
    if len(seen) == 60: raise Enough
try:
    asyncio.run(viewer.watch(sys.argv[2], show))
except Enough:
    print("60 pictures")
`
	from := time.Now()
	out, err := exec.Command(python(t), "-c", script, examples, s.ws("stream=cam0")).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "60 pictures")
	t.Logf("60 pictures in %v", time.Since(from))
}

// The original clients connect and only read: a socket, eight bytes of size, OpenCV.
func TestTheOriginalProtocol(t *testing.T) {
	sized := freeAddr(t)
	start(t, options{gateway: []string{"--sized-listen", sized}})
	host, port, err := net.SplitHostPort(sized)
	require.NoError(t, err)
	script := `
import sys
sys.path.insert(0, sys.argv[1])
import sized
for n, picture in enumerate(sized.frames(*sys.argv[2:4]), 1):
    assert picture.shape == (480, 640, 3)
    if n == 300: break
print("300 pictures")
`
	examples := filepath.Join("..", "..", "..", "docs", "examples")
	from := time.Now()
	out, err := exec.Command("/usr/bin/python3", "-c", script, examples, host, port).CombinedOutput()
	require.NoError(t, err, "%s\n(python3-opencv is needed: deploy/setup/setup.sh test installs it)", out)
	require.Contains(t, string(out), "300 pictures")
	t.Logf("300 pictures in %v", time.Since(from))
}

// What docs/clients.md shows in its text is run as it stands there.
func TestThePublishingExample(t *testing.T) {
	s := start(t, options{})
	doc, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "clients.md"))
	require.NoError(t, err)
	_, code, ok := strings.Cut(string(doc), "```python\n")
	require.True(t, ok)
	code, _, ok = strings.Cut(code, "```")
	require.True(t, ok)
	require.Contains(t, code, "ws://localhost:8002/")
	code = strings.ReplaceAll(code, "ws://localhost:8002/", "ws://"+s.addr+"/")
	cmd := exec.Command(python(t), "-c", code)
	cmd.Dir = folder(t, 150)
	out := &logtest.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(t, cmd.Start())
	waitStream(t, s.addr, "desk")
	w := watch(t, client.Config{URL: "http://" + s.addr, Stream: "desk"})
	w.waitFrames(30)
	require.NoError(t, cmd.Wait(), out.String())
}
