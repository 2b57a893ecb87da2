package source

// #cgo !customenv pkg-config: opencv4
// #include "quiet.h"
import "C"

import (
	"os"
	"sync"

	"gocv.io/x/gocv"
)

// silenced: what it guards are settings of C libraries, of which a process has one.
var silenced sync.Once

// quiet keeps OpenCV and FFmpeg from writing to stderr, as what they write repeats URLs with their passwords, and sets
// what they read from the environment. It overrules the environment where that would make them talk.
func quiet() {
	silenced.Do(func() {
		_ = os.Setenv("OPENCV_FFMPEG_DEBUG", "0")
		_ = os.Setenv("OPENCV_FFMPEG_LOGLEVEL", "-8") // AV_LOG_QUIET; read at the first open
		if os.Getenv("OPENCV_FFMPEG_CAPTURE_OPTIONS") == "" {
			_ = os.Setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")
		}
		C.framebus_quiet() // OPENCV_LOG_LEVEL was read when the library was loaded
		// A frame is converted within a millisecond: handing parts of it to a pool costs more than it gains.
		gocv.SetNumThreads(1)
	})
}
