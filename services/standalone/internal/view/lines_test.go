package view

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/stretchr/testify/require"
)

func stats() client.Stats {
	s := client.Stats{Reconnects: 2}
	s.StreamStats = client.StreamStats{
		Stream: "cam0", FPS: 29.94, Mbps: 5.986, AgeP50: 12340 * time.Microsecond, AgeP95: 20 * time.Millisecond,
		AgeKnown: true, Frames: 100, Missed: 3, MissedAway: 60, Width: 640, Height: 480, Quality: 80,
		Connection: client.Good,
	}
	return s
}

func TestTheStatusLine(t *testing.T) {
	open := client.State{Phase: client.Open}
	s := stats()
	require.Equal(t,
		"cam0 640x480 full q80  29.9 fps  age 12.3 ms  5.99 Mbit/s  missed 63  reconnects 2  good",
		figuresOf(time.Now(), s, open, "auto").Status())
	s.AgeKnown = false
	require.Contains(t, figuresOf(time.Now(), s, open, "auto").Status(), "  age -  ")
	require.Equal(t, "0x0 - q0  0.0 fps  age -  0.00 Mbit/s  missed 0  reconnects 0  ",
		figuresOf(time.Now(), client.Stats{}, open, "auto").Status())
	lost := client.State{Phase: client.Waiting, Err: errors.New("dial\n\thost:1: refused")}
	require.Equal(t, "cam0 waiting: dial host:1: refused, 2 reconnects", figuresOf(time.Now(), s, lost, "auto").Status())
}

func TestFiguresOnThePicture(t *testing.T) {
	f := figuresOf(time.Now(), stats(), client.State{Phase: client.Open}, "half")
	require.Equal(t, []string{
		"cam0 640x480",
		"fps 29.9   age 12.3 ms   Mbit/s 5.99",
		"missed 63   reconnects 2",
		"rung full (half)   quality 80   connection good",
	}, f.Lines())
}

func TestWhatIsWrongStandsAboveTheFigures(t *testing.T) {
	f := figuresOf(time.Now(), stats(), client.State{}, "auto")
	open := client.State{Phase: client.Open}
	lost := errors.New("connection to host:8002 ended: reset by peer")
	for name, c := range map[string]struct {
		m    moment
		want []string
	}{
		"nothing":   {moment{state: open, silent: time.Second}, nil},
		"beginning": {moment{state: client.State{Phase: client.Connecting, Attempt: 1}}, []string{"connecting"}},
		"again": {moment{state: client.State{Phase: client.Connecting, Attempt: 3, Err: lost}}, []string{
			"reconnecting, attempt 3", "why: connection to host:8002", "ended: reset by peer"}},
		"waiting": {moment{state: client.State{Phase: client.Waiting, Err: lost, Wait: 1600 * time.Millisecond},
			since: 400 * time.Millisecond}, []string{
			"no connection, reconnecting in 1.2 s", "why: connection to host:8002", "ended: reset by peer"}},
		"overdue": {moment{state: client.State{Phase: client.Waiting, Wait: time.Second}, since: time.Minute},
			[]string{"no connection, reconnecting in 0.0 s"}},
		"silent":    {moment{state: open, silent: 5 * time.Second}, []string{"no picture for 5 s"}},
		"recording": {moment{state: open, tape: "recording a.mkv"}, []string{"recording a.mkv"}},
		"message":   {moment{state: open, message: "saved a.jpg"}, []string{"saved a.jpg"}},
	} {
		c.m.columns = 30
		require.Equal(t, append(c.want, f.Lines()...), c.m.write(f), name)
		c.m.hidden = true
		if name == "recording" {
			c.want = nil
		}
		require.Equal(t, c.want, c.m.write(f), "%s, figures hidden", name)
	}
}

func TestTheStatusLineIsWrittenOverOnATerminalOnly(t *testing.T) {
	var out bytes.Buffer
	width := 20
	v := &view{deps: Deps{Out: &out, Terminal: func() int { return width }},
		figures: figuresOf(time.Now(), stats(), client.State{Phase: client.Open}, "auto")}
	v.tell()
	v.tell()
	line := "\rcam0 640x480 full q\x1b[K"
	require.Equal(t, line+line, out.String(), "one line, no wider than the terminal")
	out.Reset()
	width = 0
	v.tell()
	require.Equal(t, v.figures.Status()+"\n", out.String())
	require.NotContains(t, out.String(), "\x1b")
}

func TestALineIsCutBetweenCharacters(t *testing.T) {
	require.Equal(t, "é", cut("éé", 1))
	require.Empty(t, cut("abc", -1))
	require.Equal(t, "abc", cut("abc", 10))
	require.Equal(t, strings.Repeat("x", 5), cut(strings.Repeat("x", 9), 5))
}
