package source_test

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/internal/source"
	"github.com/stretchr/testify/require"
)

func TestPatternIsOfTheSizeOfARealPicture(t *testing.T) {
	rec := &recorder{}
	stop := start(t, parse(t, "pattern:", source.Defaults{Width: 640, Height: 480, FPS: 30}), rec)
	rec.untilLive(t)
	eventually(t, func() bool { _, n := rec.counts(); return n > 30 }, "no 30 frames")
	stop()
	var b bytes.Buffer
	require.NoError(t, jpeg.Encode(&b, asYCbCr(rec.picture(), 640, 480), &jpeg.Options{Quality: 80}))
	keepPicture(t, "pattern.jpg", b.Bytes())
	t.Logf("%d bytes", b.Len())
	require.Greater(t, b.Len(), 15_000)
	require.Less(t, b.Len(), 30_000)
}

func TestPatternCarriesTheClock(t *testing.T) {
	rec := &recorder{}
	stop := start(t, parse(t, "pattern:", defaults()), rec)
	rec.untilLive(t)
	stop()
	luma := rec.picture()[:320*240]
	us, ok := frame.ReadStrip(func(x, y int) uint8 { return luma[y*320+x] }, 320, 240, time.Now().UnixMicro())
	require.True(t, ok)
	// Read after the frame was captured, and before it was committed.
	require.GreaterOrEqual(t, us+10, rec.at.UnixMicro())
	require.WithinDuration(t, rec.at, time.UnixMicro(us), patience)
}

func TestPatternMoves(t *testing.T) {
	rec := &recorder{}
	start(t, parse(t, "pattern:", defaults()), rec)
	rec.untilLive(t)
	first := rec.picture()
	eventually(t, func() bool {
		now := rec.picture()
		moved := 0
		for i := 320 * frame.StripRows; i < len(now); i++ {
			if now[i] != first[i] {
				moved++
			}
		}
		return moved > len(now)/2
	}, "the pattern stands still")
}

func TestPatternOfAnySize(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {2, 3}, {63, 15}, {641, 359}, {1920, 1080}} {
		t.Run(fmt.Sprintf("%d×%d", size[0], size[1]), func(t *testing.T) {
			rec := &recorder{}
			start(t, parse(t, "pattern:", source.Defaults{Width: size[0], Height: size[1], FPS: 100}), rec)
			rec.untilLive(t)
			require.Len(t, rec.picture(), frame.PayloadSize(frame.I420, size[0], size[1]))
		})
	}
}

func TestPatternThatNobodyWantsIsNotDrawn(t *testing.T) {
	rec := &recorder{unasked: true}
	start(t, parse(t, "pattern:", defaults()), rec)
	eventually(t, func() bool { begun, _ := rec.counts(); return begun > 10 }, "frames are not even offered")
	_, frames := rec.counts()
	require.Zero(t, frames)
}

func TestPatternNamesItsRate(t *testing.T) {
	rec := &recorder{}
	start(t, parse(t, "pattern:", defaults()), rec)
	rec.untilLive(t)
	require.Equal(t, []state{{true, "", 30}}, rec.allStates())
}

// keepPicture writes a picture for people to look at, where they asked for it.
func keepPicture(t *testing.T, name string, jpg []byte) {
	if dir := os.Getenv("FRAMEBUS_TEST_PICTURES"); dir != "" {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), jpg, 0o600))
	}
}
