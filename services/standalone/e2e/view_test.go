//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/client"
	"github.com/framebus/framebus/services/client/record/recordtest"
	viewing "github.com/framebus/framebus/services/standalone/internal/view"
	"github.com/stretchr/testify/require"
)

const tick = 50 * time.Millisecond

// desk is a screen with framebus view on it.
type desk struct {
	*screen
	p      *process
	dir    string // of what it saves
	window string
}

func (s *system) view(x *screen, args ...string) *desk {
	s.t.Helper()
	d := &desk{screen: x, dir: s.t.TempDir()}
	args = append([]string{"view", "http://" + s.addr, "--json", "--dir", d.dir}, args...)
	d.p = runEnv(s.t, []string{"DISPLAY=" + x.name}, binary(s.t, "framebus"), args...)
	d.window = x.window("^framebus")
	return d
}

// look is a screenshot of the window.
func (d *desk) look() *image.RGBA {
	d.t.Helper()
	return d.shot(d.place(d.window))
}

// says waits until a line that begins so stands on the picture, and has all of the words.
func (d *desk) says(begin string, words ...string) (line string) {
	d.t.Helper()
	require.Eventually(d.t, func() bool {
		var ok bool
		line, ok = readLine(d.look(), begin)
		return ok && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) })
	}, patience, tick, "no line %q with %q on the picture", begin, words)
	return line
}

func (d *desk) saysNot(begin string) {
	d.t.Helper()
	require.Eventually(d.t, func() bool { _, ok := readLine(d.look(), begin); return !ok }, patience, tick,
		"a line %q stands on the picture", begin)
}

// figures are those that the program printed, which are the client library's.
func (d *desk) figures() (out []viewing.Figures) {
	d.t.Helper()
	for line := range strings.Lines(d.p.out.String()) {
		var f viewing.Figures
		if strings.HasPrefix(line, "{") && json.Unmarshal([]byte(line), &f) == nil {
			out = append(out, f)
		}
	}
	return out
}

func (d *desk) files(pattern string) []string {
	d.t.Helper()
	found, err := filepath.Glob(filepath.Join(d.dir, pattern))
	require.NoError(d.t, err)
	return found
}

func luma(img *image.RGBA, x, y int) uint8 {
	c := img.RGBAAt(x, y)
	return uint8((299*int(c.R) + 587*int(c.G) + 114*int(c.B)) / 1000)
}

// strip is the time of the picture on a screenshot.
func strip(img *image.RGBA) (us int64, ok bool) {
	return frame.ReadStrip(func(x, y int) uint8 { return luma(img, x, y) }, img.Rect.Dx(), img.Rect.Dy(),
		time.Now().UnixMicro())
}

// gallery keeps the newest pictures of a stream as the gateway sent them.
type gallery struct {
	mu    sync.Mutex
	jpegs [][]byte // bound: 150
}

// collect them until the test ends.
func collect(t *testing.T, addr string) *gallery {
	t.Helper()
	g := &gallery{}
	v, err := client.New(client.Config{URL: "http://" + addr, Rung: "full", Every: true}, client.Deps{
		OnFrame: func(f *client.Frame) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.jpegs = append(g.jpegs[max(len(g.jpegs)-149, 0):], bytes.Clone(f.JPEG))
			f.Release()
		},
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return g
}

// find the picture whose strip tells that time.
func (g *gallery) find(us int64) image.Image {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, data := range slices.Backward(g.jpegs) {
		img, err := jpeg.Decode(bytes.NewReader(data))
		if err != nil {
			continue
		}
		if got, ok := stripOf(img); ok && got == us {
			return img
		}
	}
	return nil
}

// differ is how far a screenshot is from a picture of its size, on average, without its lower left, where text is.
func differ(shot *image.RGBA, img image.Image) float64 {
	sum, n := 0, 0
	for y := 0; y < shot.Rect.Dy(); y++ {
		for x := 0; x < shot.Rect.Dx(); x++ {
			if y > shot.Rect.Dy()/2 && x < shot.Rect.Dx()*3/4 {
				continue
			}
			r, g, b, _ := img.At(x, y).RGBA()
			c := shot.RGBAAt(x, y)
			for _, d := range []int{int(r>>8) - int(c.R), int(g>>8) - int(c.G), int(b>>8) - int(c.B)} {
				sum += max(d, -d)
				n++
			}
		}
	}
	return float64(sum) / float64(n)
}

func TestTheWindowShowsThePictureAndTrueFigures(t *testing.T) {
	s := start(t, options{})
	d := s.view(startScreen(t))
	d.says("fps ")
	g := collect(t, s.addr)
	w := watch(t, client.Config{URL: "http://" + s.addr, Rung: "full"})
	w.waitFrames(30)
	steadily(t, func() string { return d.picture(g) })
	steadily(t, func() string { return d.true(w) })

	// The gateway goes and comes back: the window says so, why, and shows live pictures again.
	s.gateway.kill()
	d.says("reconnecting in ")
	d.says("why: ")
	s.gateway = s.startGateway(s.addr)
	d.saysNot("reconnecting in ")
	d.says("missed ", "reconnects 1")
	require.Eventually(t, func() bool {
		us, ok := strip(d.look())
		return ok && time.Since(time.UnixMicro(us)) < 2*time.Second
	}, patience, tick, "the picture is not live again")

	// Whoever closes the window ends the program.
	d.press("ctrl+alt+Escape") // the window manager's: it asks the program to close
	require.Zero(t, d.p.waitExit())
	all := d.figures()
	require.EqualValues(t, 1, all[len(all)-1].Reconnects)
}

// picture compares what is on the screen with what the gateway sent.
func (d *desk) picture(g *gallery) string {
	d.t.Helper()
	shot := d.look()
	us, ok := strip(shot)
	if !ok {
		return "the strip on the screen cannot be read"
	}
	age := time.Since(time.UnixMicro(us))
	img := g.find(us)
	if img == nil {
		return fmt.Sprintf("the picture on the screen, %v old, is none of those that were sent lately", age)
	}
	if off := differ(shot, img); off > 3 {
		return fmt.Sprintf("the picture on the screen is %.1f levels off the one that was sent", off)
	}
	d.t.Logf("the picture on the screen is the one of %v before", age)
	return ""
}

// true reads the figures off the screen and compares them with those that the client library gave, and these with what
// another viewer saw.
func (d *desk) true(w *watcher) string {
	d.t.Helper()
	const judged = 4 // s, how far figures look back; fps and Mbit/s half of that
	<-time.After(judged * time.Second)
	shot := d.look()
	all := d.figures()
	var read [4]string
	for i, begin := range []string{"cam0 ", "fps ", "missed ", "rung "} {
		line, ok := readLine(shot, begin)
		if !ok {
			return fmt.Sprintf("no line %q can be read on the screen", begin)
		}
		read[i] = line
	}
	d.t.Logf("read off the screen: %q", read)
	i := slices.IndexFunc(all, func(f viewing.Figures) bool {
		return read == [4]string{
			fmt.Sprintf("cam0 %dx%d", f.Width, f.Height),
			fmt.Sprintf("fps %.1f   age %.1f ms   Mbit/s %.2f", f.FPS, f.AgeMs, f.Mbps),
			fmt.Sprintf("missed %d   reconnects %d", f.Missed+f.MissedAway, f.Reconnects),
			fmt.Sprintf("rung %s (%s)   quality %d   connection %s", f.Rung, f.Asked, f.Quality, f.Connection),
		}
	})
	if i < 0 || i < len(all)-2 {
		return fmt.Sprintf("figures %d of %d are on the screen", i+1, len(all))
	}
	if i < judged {
		return "figures of four seconds are needed"
	}
	f, half, whole := all[i], all[i-judged/2], all[i-judged]
	// What came and what did not is what the source captured, thirty a second, however busy the machine is.
	seconds := f.Time.Sub(half.Time).Seconds()
	fps := float64(f.Frames-half.Frames) / seconds
	captured := fps + float64(f.Missed-half.Missed)/seconds
	bytes, ages := 0, []time.Duration{}
	var last picture
	for _, p := range w.pictures() {
		if since := f.Time.Sub(p.at); since >= 0 && since <= judged*time.Second {
			ages = append(ages, p.age())
			bytes += p.bytes + frame.HeaderLen
			last = p
		}
	}
	if len(ages) == 0 {
		return "the other viewer got nothing"
	}
	slices.Sort(ages)
	mbps := 8 * f.FPS * float64(bytes) / float64(len(ages)) / 1e6
	switch {
	case captured < 28.5 || captured > 31.5:
		return fmt.Sprintf("%.1f fps came and were missed", captured)
	case f.FPS < fps-1.5 || f.FPS > fps+1.5:
		return fmt.Sprintf("%.1f fps is told, and %.1f came", f.FPS, fps)
	case f.Mbps < 0.93*mbps || f.Mbps > 1.07*mbps:
		return fmt.Sprintf("%.2f Mbit/s are told, and the pictures are of %.2f", f.Mbps, mbps)
	case f.Width != last.width || f.Height != last.height || f.Quality != last.quality || f.Rung != "full":
		return fmt.Sprintf("%d×%d of quality %d came", last.width, last.height, last.quality)
	}
	// Both look at the same pictures on one machine; the strip is as old as the capture.
	p50 := float64(ages[len(ages)/2].Microseconds()) / 1000
	if off := f.AgeMs - p50; off < -3 || off > 3 {
		return fmt.Sprintf("an age of %.1f ms is told, and it was %.1f", f.AgeMs, p50)
	}
	came := float64(f.Frames - whole.Frames)
	share := came / (came + float64(f.Missed-whole.Missed))
	// The counters are of the moments when figures were taken, the word of the pictures between: two in a hundred apart.
	due := []client.Connection{word(share-0.02, f.AgeMs), word(share+0.02, f.AgeMs)}
	if !slices.Contains(due, f.Connection) {
		return fmt.Sprintf("the connection is called %s, where %s is due", f.Connection, due)
	}
	return ""
}

// word is the rule of docs/clients.md.
func word(share, ageMs float64) client.Connection {
	switch {
	case share >= 0.95 && ageMs <= 200:
		return client.Good
	case share >= 0.7 && ageMs <= 600:
		return client.Fair
	}
	return client.Poor
}

func TestTheKeysOfTheWindow(t *testing.T) {
	s := start(t, options{})
	x := startScreen(t)
	d := s.view(x)
	d.says("rung full (auto)")
	for _, rung := range []struct{ key, name, size string }{
		{"2", "half", "320x240"}, {"3", "quarter", "160x120"}, {"1", "full", "640x480"},
	} {
		d.press(rung.key)
		d.says("rung "+rung.name+" ("+rung.name+")", "quality ")
		d.says("cam0 " + rung.size)
	}
	d.press("0")
	d.says("rung full (auto)")

	d.press("s")
	d.says("saved ")
	saved := d.files("cam0-*.jpg")
	require.Len(t, saved, 1)
	data, err := os.ReadFile(saved[0])
	require.NoError(t, err)
	us, ok := readStrip(data)
	require.True(t, ok, "what was saved is the picture")
	require.Less(t, time.Since(time.UnixMicro(us)), patience)

	d.press("r")
	d.says("recording cam0-", " frames")
	<-time.After(3 * time.Second)
	d.press("r")
	d.says("recorded ")
	d.saysNot("recording ")
	files := d.files("cam0-*.mkv")
	require.Len(t, files, 1)
	at := recordtest.Times(t, files[0])
	require.Greater(t, len(at), 60)
	require.Greater(t, at[len(at)-1], 2500*time.Millisecond)

	d.press("o")
	d.saysNot("fps ")
	_, ok = strip(d.look())
	require.True(t, ok, "the picture stays")
	d.press("o")
	d.says("fps ")

	small := d.place(d.window)
	d.press("f")
	whole := image.Rect(0, 0, screenWidth, screenHeight)
	require.Eventually(t, func() bool {
		if d.place(d.window) != whole {
			return false
		}
		shot := d.look()
		_, strip := strip(shot)
		_, text := readLine(shot, "fps ")
		return strip && text
	}, patience, tick, "the picture never filled the screen")
	d.press("f")
	require.Eventually(t, func() bool { return d.place(d.window).Size() == small.Size() }, patience, tick)

	d.press("q")
	require.Zero(t, d.p.waitExit())
}

func TestViewingWithoutAWindow(t *testing.T) {
	s := start(t, options{})
	url := "http://" + s.addr
	t.Run("a machine with no display is told what to do", func(t *testing.T) {
		p := runEnv(t, []string{"DISPLAY=", "WAYLAND_DISPLAY="}, binary(t, "framebus"), "view", url)
		require.Equal(t, 1, p.waitExit())
		require.Contains(t, p.out.String(), "DISPLAY is not set")
		require.Contains(t, p.out.String(), "--no-window")
		require.Len(t, strings.Split(strings.TrimSpace(p.out.String()), "\n"), 1)
		p = runEnv(t, []string{"DISPLAY=:9999"}, binary(t, "framebus"), "view", url)
		require.Equal(t, 1, p.waitExit())
		require.Contains(t, p.out.String(), "nobody answers at DISPLAY :9999")
		require.Contains(t, p.out.String(), "--no-window")
	})
	t.Run("a program without the other one beside it says which", func(t *testing.T) {
		alone := filepath.Join(t.TempDir(), "framebus")
		program, err := os.ReadFile(binary(t, "framebus")) // a link would lead to where the other one is
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(alone, program, 0o700))
		p := run(t, alone, "view", url)
		require.Equal(t, 1, p.waitExit())
		require.Contains(t, p.out.String(), alone+"-view, which is not there")
		require.Contains(t, p.out.String(), "--no-window")
	})
	t.Run("a line a second", func(t *testing.T) {
		p := run(t, binary(t, "framebus"), "view", url, "--no-window")
		require.Eventually(t, func() bool { return strings.Count(p.out.String(), " fps ") >= 4 }, patience, tick)
		p.signal(syscall.SIGINT)
		require.Zero(t, p.waitExit())
		require.Regexp(t, `(?m)^cam0 640x480 full q80  \d+\.\d fps  age \d+\.\d ms  \d+\.\d\d Mbit/s  missed \d+  `+
			`reconnects 0  (good|fair|poor)$`, p.out.String())
		require.NotContains(t, p.out.String(), "\r")
	})
	t.Run("attempts and the time between them", func(t *testing.T) {
		from := time.Now()
		p := run(t, binary(t, "framebus"), "view", "http://"+freeAddr(t), "--no-window", "--attempts", "3",
			"--delay", "500ms")
		require.Equal(t, 1, p.waitExit())
		require.GreaterOrEqual(t, time.Since(from), time.Second)
		require.Contains(t, p.out.String(), "gave up after 3 attempts")
	})
}
