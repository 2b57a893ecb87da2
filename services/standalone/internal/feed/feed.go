// Package feed turns what a user names (a folder, a file, a camera, a URL) into JPEGs, one after the other, at its own
// rate, for whoever publishes them. It knows nothing of gateways.
package feed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/internal/source"
)

// Settings say what pictures are to be like.
type Settings struct {
	Width, Height int     // px, of what is not a JPEG yet
	FPS           float64 // of a folder and a pattern, and asked of a camera
	Quality       int     // 1..100, of what is not a JPEG yet
	// Once ends with the folder's last picture instead of beginning again.
	Once bool
}

// Sender takes a JPEG, which is its own from then on, and must not block.
type Sender func(jpeg []byte)

// Feed is what was named, found to be there.
type Feed struct {
	set   Settings
	files []string     // of a folder
	spec  *source.Spec // or else
}

const wanted = "want a folder of JPEGs, a file, or one of pattern:, camera:N, rtsp://…, http://…"

// Open finds out what name is: a folder of JPEGs, a file, or a source's URL.
func Open(name string, set Settings) (*Feed, error) {
	f := &Feed{set: set}
	info, err := os.Stat(name)
	switch {
	case err == nil && info.IsDir():
		f.files, err = pictures(name)
		return f, err
	case err == nil && info.Mode().IsRegular():
		name = "file:" + strings.ReplaceAll(name, ",", "%2C")
	case !strings.Contains(name, ":"):
		return nil, fmt.Errorf("source %q is not there: %s", name, wanted)
	}
	specs, err := source.ParseList("x="+name, source.Defaults{Width: set.Width, Height: set.Height, FPS: set.FPS})
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	if len(specs) != 1 {
		return nil, errors.New("source: " + wanted)
	}
	f.spec = &specs[0]
	return f, nil
}

func pictures(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	var files []string
	for _, e := range entries {
		switch strings.ToLower(filepath.Ext(e.Name())) {
		case ".jpg", ".jpeg":
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("source: no .jpg or .jpeg in %s", dir)
	}
	slices.Sort(files)
	return files, nil
}

// Run sends pictures until ctx ends, or a folder that is shown once does.
func (f *Feed) Run(ctx context.Context, send Sender, log *slog.Logger) error {
	if f.spec == nil {
		return f.folder(ctx, send)
	}
	return source.Run(ctx, *f.spec, &sink{quality: f.set.Quality, send: send, log: log}, source.Deps{Log: log})
}

// folder sends file after file as they are; the gateway says what is wrong with one that is no JPEG.
func (f *Feed) folder(ctx context.Context, send Sender) error {
	tick := time.NewTicker(time.Duration(float64(time.Second) / f.set.FPS))
	defer tick.Stop()
	for i := 0; ; i++ {
		if i == len(f.files) {
			if f.set.Once {
				return nil
			}
			i = 0
		}
		b, err := os.ReadFile(f.files[i])
		if err != nil {
			return fmt.Errorf("source: %w", err)
		}
		send(b)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// sink makes JPEGs of a source's pictures.
type sink struct {
	quality int
	send    Sender
	log     *slog.Logger

	w, h   int
	planes []byte
}

// Begin takes every picture.
func (s *sink) Begin(_ time.Time, w, h int) []byte {
	if w != s.w || h != s.h {
		s.w, s.h, s.planes = w, h, make([]byte, frame.PayloadSize(frame.I420, w, h))
	}
	return s.planes
}

// Commit encodes it.
func (s *sink) Commit() {
	half := (s.w + 1) / 2
	y, c := s.w*s.h, half*((s.h+1)/2)
	img := &image.YCbCr{
		Y: s.planes[:y], Cb: s.planes[y : y+c], Cr: s.planes[y+c:], YStride: s.w, CStride: half,
		SubsampleRatio: image.YCbCrSubsampleRatio420, Rect: image.Rect(0, 0, s.w, s.h),
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: s.quality}); err != nil {
		s.log.Warn("picture not encoded", "error", err)
		return
	}
	s.send(b.Bytes())
}

// State says what becomes of the source.
func (s *sink) State(live bool, cause string, _ float64) {
	if !live {
		s.log.Warn("source gives no pictures", "cause", cause)
	}
}
