//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"image"
	"image/draw"
	"image/png"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/framebus/framebus/services/internal/telemetry/logtest"
	"github.com/stretchr/testify/require"
	"golang.org/x/image/font/basicfont"
)

const screenWidth, screenHeight = 1024, 768

// screen is a display with somebody who manages windows, and keys.
type screen struct {
	t    *testing.T
	name string // DISPLAY
}

func startScreen(t *testing.T) *screen {
	t.Helper()
	paths := map[string]string{}
	for _, program := range []string{"Xvfb", "evilwm", "xdotool", "ffmpeg"} {
		path, err := exec.LookPath(program)
		require.NoError(t, err, "deploy/setup/setup.sh test installs %s", program)
		paths[program] = path
	}
	// The server itself chooses a number that is free, and tells it.
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	size := strconv.Itoa(screenWidth) + "x" + strconv.Itoa(screenHeight) + "x24"
	cmd := exec.Command(paths["Xvfb"], "-displayfd", "3", "-screen", "0", size, "-nolisten", "tcp", "-noreset")
	cmd.ExtraFiles = []*os.File{w}
	out := &logtest.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(t, cmd.Start())
	require.NoError(t, w.Close())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	number, err := bufio.NewReader(r).ReadString('\n')
	require.NoError(t, err, out.String())
	s := &screen{t: t, name: ":" + strings.TrimSpace(number)}
	runEnv(t, []string{"DISPLAY=" + s.name}, paths["evilwm"], "-fn", "fixed")
	return s
}

// tool runs xdotool and returns what it printed.
func (s *screen) tool(args ...string) string {
	s.t.Helper()
	cmd := exec.Command("xdotool", args...)
	cmd.Env = append(os.Environ(), "DISPLAY="+s.name)
	out, err := cmd.CombinedOutput()
	require.NoError(s.t, err, "xdotool %v: %s", args, out)
	return string(out)
}

// press a key, as by hand: by XTest, so that it goes to whoever has the focus.
func (s *screen) press(key string) {
	s.t.Helper()
	s.tool("key", "--delay", "60", key)
}

// window waits for the newest window of that name, and gives it the keys.
func (s *screen) window(name string) string {
	s.t.Helper()
	id := ""
	require.Eventually(s.t, func() bool {
		cmd := exec.Command("xdotool", "search", "--onlyvisible", "--name", name)
		cmd.Env = append(os.Environ(), "DISPLAY="+s.name)
		out, err := cmd.Output()
		ids := strings.Fields(string(out))
		if err != nil || len(ids) == 0 {
			return false
		}
		id = ids[len(ids)-1]
		return true
	}, patience, tick, "no window")
	s.tool("windowfocus", "--sync", id)
	return id
}

// place is where a window's picture is on the screen.
func (s *screen) place(window string) image.Rectangle {
	s.t.Helper()
	v := map[string]int{}
	for line := range strings.Lines(s.tool("getwindowgeometry", "--shell", window)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		v[key], _ = strconv.Atoi(value)
	}
	at := image.Pt(v["X"], v["Y"])
	return image.Rectangle{Min: at, Max: at.Add(image.Pt(v["WIDTH"], v["HEIGHT"]))}
}

// shot is a screenshot of a part of the screen; its corner is at 0, 0.
func (s *screen) shot(at image.Rectangle) *image.RGBA {
	s.t.Helper()
	size := strconv.Itoa(screenWidth) + "x" + strconv.Itoa(screenHeight)
	cmd := exec.Command("ffmpeg", "-loglevel", "error", "-f", "x11grab", "-draw_mouse", "0", "-video_size", size,
		"-i", s.name, "-frames:v", "1", "-f", "image2pipe", "-c:v", "png", "-")
	var said bytes.Buffer
	cmd.Stderr = &said
	data, err := cmd.Output()
	require.NoError(s.t, err, said.String())
	img, err := png.Decode(bytes.NewReader(data))
	require.NoError(s.t, err)
	out := image.NewRGBA(image.Rect(0, 0, at.Dx(), at.Dy()))
	draw.Draw(out, out.Bounds(), img, at.Min, draw.Src)
	return out
}

// lit is whether a pixel is white, as only letters are.
func lit(img *image.RGBA, x, y int) bool {
	if !(image.Pt(x, y).In(img.Rect)) {
		return false
	}
	p := img.Pix[img.PixOffset(x, y):]
	return p[0] >= 250 && p[1] >= 250 && p[2] >= 250
}

// matches is whether a letter stands there, each of its dots and none besides.
func matches(img *image.RGBA, x, y int, letter rune) bool {
	f := basicfont.Face7x13
	row := int(letter-' ') * (f.Ascent + f.Descent)
	for dy := range f.Ascent + f.Descent {
		for dx := range f.Advance {
			_, _, _, a := f.Mask.At(dx, row+dy).RGBA()
			if dx >= f.Width {
				a = 0
			}
			if lit(img, x+dx, y+dy) != (a != 0) {
				return false
			}
		}
	}
	return true
}

// readLine looks for a line that begins with a text, and reads all of it off the pixels.
func readLine(img *image.RGBA, begin string) (line string, ok bool) {
	f := basicfont.Face7x13
	for y := range img.Rect.Dy() - f.Height {
		for x := range img.Rect.Dx() - f.Advance*len(begin) {
			here := true
			for i, letter := range begin {
				if here = matches(img, x+i*f.Advance, y, letter); !here {
					break
				}
			}
			if !here {
				continue
			}
			for ; x+f.Advance <= img.Rect.Dx(); x += f.Advance {
				letter := rune(0)
				for l := ' '; l <= '~'; l++ {
					if matches(img, x, y, l) {
						letter = l
						break
					}
				}
				if letter == 0 {
					break
				}
				line += string(letter)
			}
			return strings.TrimRight(line, " "), true
		}
	}
	return "", false
}
