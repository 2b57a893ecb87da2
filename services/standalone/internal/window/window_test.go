package window

import (
	"bytes"
	"image"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAPictureFillsTheWindowInItsOwnShape(t *testing.T) {
	for _, c := range []struct {
		picture, window image.Point
		want            image.Rectangle
	}{
		{image.Pt(640, 480), image.Pt(640, 480), image.Rect(0, 0, 640, 480)},
		{image.Pt(320, 240), image.Pt(640, 480), image.Rect(0, 0, 640, 480)},
		{image.Pt(640, 480), image.Pt(1920, 1080), image.Rect(240, 0, 1680, 1080)},
		{image.Pt(1920, 1080), image.Pt(640, 480), image.Rect(0, 60, 640, 420)},
		{image.Pt(4000, 1), image.Pt(100, 100), image.Rect(0, 49, 100, 50)},
		{image.Pt(1, 4000), image.Pt(100, 100), image.Rect(49, 0, 50, 100)},
	} {
		require.Equal(t, c.want, fit(c.picture, c.window), "%v in %v", c.picture, c.window)
	}
}

func TestWhatIsAroundThePictureIsBlack(t *testing.T) {
	canvas := bytes.Repeat([]byte{7}, 3*5*4)
	put(canvas, image.Pt(5, 4), bytes.Repeat([]byte{9}, 3*2*2), image.Rect(1, 1, 3, 3))
	for i, v := range canvas {
		want := byte(0)
		if image.Pt(i/3%5, i/3/5).In(image.Rect(1, 1, 3, 3)) {
			want = 9
		}
		require.Equal(t, want, v, "byte %d", i)
	}
}

func TestWhereADisplayIs(t *testing.T) {
	for name, want := range map[string][]string{
		":0":                 {"@/tmp/.X11-unix/X0", "/tmp/.X11-unix/X0"},
		"unix:2.1":           {"@/tmp/.X11-unix/X2", "/tmp/.X11-unix/X2"},
		"localhost:10.0":     {"localhost:6010"},
		"[2001:db8::1]:1":    {"[2001:db8::1]:6001"},
		"desk.example.org:3": {"desk.example.org:6003"},
	} {
		_, addrs, err := server(name)
		require.NoError(t, err, name)
		require.Equal(t, want, addrs, name)
	}
	for _, name := range []string{"0", "host", ":", ":x", ":-1", ":99999"} {
		_, _, err := server(name)
		require.Error(t, err, name)
	}
}

func TestWithoutADisplayTheErrorSaysWhatToDo(t *testing.T) {
	for _, name := range []string{"", "nonsense", ":9999"} {
		_, err := Open("test", func(key string) string {
			if key == "DISPLAY" {
				return name
			}
			return ""
		})
		require.ErrorIs(t, err, ErrNoDisplay)
		require.ErrorContains(t, err, "--no-window")
		require.NotContains(t, err.Error(), "\n")
	}
}
