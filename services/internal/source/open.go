package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"time"

	"gocv.io/x/gocv"
)

// netTimeout is how long a peer may take, in connecting, in opening and between frames.
const netTimeout = 3 * time.Second

// Properties that gocv has no names for.
const (
	propOpenTimeoutMs gocv.VideoCaptureProperties = 53
	propReadTimeoutMs gocv.VideoCaptureProperties = 54
)

// A capture is an open source. Its methods may hang, and are for one goroutine.
type capture struct {
	vc    *gocv.VideoCapture
	fps   float64
	pos   float64 // frames grabbed so far, as the backend counts them
	lazy  bool    // grabbing and converting are two steps
	after func()  // what else to close; may be nil
}

// ffmpeg lets one source of the process open at a time: FFmpeg's backend has a lock for that anyway, but waiting for
// it could not be ended.
var ffmpeg = make(chan struct{}, 1)

func openFFmpeg(ctx context.Context, open func() (*gocv.VideoCapture, error)) (*gocv.VideoCapture, error) {
	select {
	case ffmpeg <- struct{}{}:
		defer func() { <-ffmpeg }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	vc, err := open()
	if err != nil {
		_ = vc.Close()
		return nil, errors.New("not opened") // gocv's own error repeats the URL
	}
	return vc, nil
}

// open opens what the spec names. Its errors are causes for people to read, and hold nothing secret.
func open(ctx context.Context, spec Spec) (*capture, error) {
	switch spec.Kind {
	case Camera:
		return openCamera(spec)
	case File:
		return openFile(ctx, spec)
	default:
		return openNetwork(ctx, spec)
	}
}

func openCamera(spec Spec) (*capture, error) {
	api, path := gocv.VideoCaptureAny, spec.target
	if runtime.GOOS == "linux" {
		api = gocv.VideoCaptureV4L2
		if path == "" {
			path = fmt.Sprintf("/dev/video%d", spec.device)
		}
		if _, err := os.Stat(path); err != nil {
			return nil, reason(path, err)
		}
	}
	var vc *gocv.VideoCapture
	var err error
	if spec.device >= 0 {
		vc, err = gocv.VideoCaptureDeviceWithAPI(spec.device, api)
	} else {
		vc, err = gocv.VideoCaptureFileWithAPI(path, api)
	}
	if err != nil {
		_ = vc.Close()
		return nil, errors.New("the camera cannot be opened: in use, or no camera")
	}
	// MJPG first: at 30 frames a second, USB 2 carries no other format of a size worth having.
	vc.Set(gocv.VideoCaptureFOURCC, vc.ToCodec("MJPG"))
	vc.Set(gocv.VideoCaptureFrameWidth, float64(spec.Width))
	vc.Set(gocv.VideoCaptureFrameHeight, float64(spec.Height))
	vc.Set(gocv.VideoCaptureFPS, spec.FPS)
	vc.Set(gocv.VideoCaptureBufferSize, 1)
	return &capture{vc: vc, fps: rate(vc, spec.FPS)}, nil
}

func openFile(ctx context.Context, spec Spec) (*capture, error) {
	c := &capture{lazy: true}
	url := spec.target
	switch info, err := os.Stat(url); {
	case strings.Contains(url, "%"): // a pattern for the names of an image sequence
	case err != nil:
		return nil, reason(url, err)
	case info.IsDir():
		return nil, fmt.Errorf("%s is a directory", url)
	case isPipe(url):
		if url, c.after, err = awaitPipe(ctx, url); err != nil {
			return nil, err
		}
	}
	var err error
	c.vc, err = openFFmpeg(ctx, func() (*gocv.VideoCapture, error) {
		return gocv.VideoCaptureFileWithAPI(url, gocv.VideoCaptureFFmpeg)
	})
	if err != nil && c.after == nil && ctx.Err() == nil {
		c.lazy = false
		c.vc, err = openFFmpeg(ctx, func() (*gocv.VideoCapture, error) {
			return gocv.VideoCaptureFileWithAPI(url, gocv.VideoCaptureAny)
		})
	}
	if err != nil {
		if c.after != nil {
			c.after()
		}
		return nil, fmt.Errorf("%s cannot be opened as a video", spec.target)
	}
	c.fps = rate(c.vc, spec.FPS)
	return c, nil
}

func openNetwork(ctx context.Context, spec Spec) (*capture, error) {
	status, err := preflight(ctx, spec.target)
	if err != nil {
		return nil, err
	}
	ms := gocv.VideoCaptureProperties(netTimeout.Milliseconds())
	var began time.Time
	vc, err := openFFmpeg(ctx, func() (*gocv.VideoCapture, error) {
		began = time.Now()
		return gocv.VideoCaptureFileWithAPIParams(spec.target, gocv.VideoCaptureFFmpeg,
			[]gocv.VideoCaptureProperties{propOpenTimeoutMs, ms, propReadTimeoutMs, ms})
	})
	switch {
	case err == nil:
		return &capture{vc: vc, fps: rate(vc, spec.FPS), lazy: true}, nil
	case !began.IsZero() && time.Since(began) >= netTimeout:
		return nil, errNoAnswer
	default:
		return nil, noVideo(status)
	}
}

func reason(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s does not exist", path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: permission denied", path)
	default:
		return fmt.Errorf("%s cannot be read", path)
	}
}

// rate is what the source says of its frames a second, where that can be believed.
func rate(vc *gocv.VideoCapture, otherwise float64) float64 {
	if fps := vc.Get(gocv.VideoCaptureFPS); fps >= 0.1 && fps <= MaxFPS {
		return fps
	}
	return otherwise
}

// grab waits for the next frame. Without lazy, it is in mat afterwards; otherwise retrieve puts it there, which costs
// a conversion that is saved where nobody wants the frame.
func (c *capture) grab(mat *gocv.Mat) bool {
	if !c.lazy {
		return c.vc.Read(mat) && !mat.Empty()
	}
	// gocv swallows what grab returns, but FFmpeg's backend counts what it grabbed.
	if c.vc.Grab(1) != nil {
		return false
	}
	pos := c.vc.Get(gocv.VideoCapturePosFrames)
	ok := pos != c.pos
	c.pos = pos
	return ok
}

func (c *capture) retrieve(mat *gocv.Mat) bool {
	return !c.lazy || c.vc.Retrieve(mat) && !mat.Empty()
}

// rewind goes back to a file's first frame.
func (c *capture) rewind() {
	c.vc.Set(gocv.VideoCapturePosFrames, 0)
	c.pos = c.vc.Get(gocv.VideoCapturePosFrames)
}

func (c *capture) close() {
	_ = c.vc.Close()
	if c.after != nil {
		c.after()
	}
}
