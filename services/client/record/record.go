// Package record keeps a stream in a file as it came: each JPEG once, never encoded again, at the time it was captured.
// A time without pictures is a gap in the file, not papered over. A file whose recorder was killed can be played up to
// there.
package record

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/at-wat/ebml-go/mkvcore"
	"github.com/at-wat/ebml-go/webm"
	"github.com/framebus/framebus/services/client"
)

const (
	tick       = time.Millisecond // of a Matroska file's times
	clusterMin = 1000             // ticks: a player can jump to the start of a cluster
	clusterMax = 5000
	cuesRoom   = 32 << 10 // for the index; a long file's is thinned to fit
	track      = 1
	video      = 1 // Matroska's word for a track of pictures
	// gapOf is after how many usual intervals a pause counts as a gap.
	gapOf = 4
	// maxGaps bounds those that are remembered; later ones are counted only.
	maxGaps = 10_000
)

// Gap is a time without pictures.
type Gap struct {
	At     time.Duration `json:"at_ns"`  // of the picture before it, from the file's first
	For    time.Duration `json:"for_ns"` // until the next
	Missed uint64        `json:"missed"` // frames that were captured meanwhile, where that is known
}

// Report is what is in a file.
type Report struct {
	File     string        `json:"file"`
	Frames   uint64        `json:"frames"`
	Bytes    uint64        `json:"bytes"` // of pictures
	Duration time.Duration `json:"duration_ns"`
	Missed   uint64        `json:"missed"`
	Gaps     []Gap         `json:"gaps"`
}

// ErrName is what the error of a name wraps whose ending says nothing that can be made.
var ErrName = errors.New("want a name that ends in .mkv or .mjpeg")

// Recorder writes one file. Its methods are safe for concurrent use.
type Recorder struct {
	mu     sync.Mutex
	path   string
	file   *os.File
	mkv    mkvcore.BlockWriteCloser // nil before the first picture, and of .mjpeg
	plain  *bufio.Writer            // of .mjpeg
	times  timeline
	report Report
	failed error
}

// Create makes the file, which must not be there yet: fs.ErrExist. Its ending says what it is: .mkv, or .mjpeg, which
// is JPEGs alone and knows no times; ErrName where it is another.
func Create(path string) (*Recorder, error) { return open(path, os.O_EXCL) }

// Replace is Create for a file that may be there. What is in it is lost with the first picture, not before.
func Replace(path string) (*Recorder, error) { return open(path, 0) }

func open(path string, how int) (*Recorder, error) {
	ext := strings.ToLower(filepath.Ext(path))
	if ext != ".mkv" && ext != ".mjpeg" && ext != ".mjpg" {
		return nil, fmt.Errorf("record to %q: %w", path, ErrName)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|how, 0o666)
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	r := &Recorder{path: path, file: f, report: Report{File: path, Gaps: []Gap{}}}
	if ext != ".mkv" {
		r.plain = bufio.NewWriter(f)
	}
	return r, nil
}

// Write keeps a frame. Its JPEG is the recorder's until Write returns.
func (r *Recorder) Write(f *client.Frame) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed != nil {
		return r.failed
	}
	at, gap := r.times.next(f)
	if gap > 0 && len(r.report.Gaps) < maxGaps {
		r.report.Gaps = append(r.report.Gaps, Gap{At: at - gap, For: gap, Missed: f.Missed})
	}
	r.report.Missed += f.Missed
	if err := r.put(f, at); err != nil {
		return fmt.Errorf("record to %q: %w", r.path, err)
	}
	r.report.Frames++
	r.report.Bytes += uint64(len(f.JPEG))
	r.report.Duration = at
	return nil
}

func (r *Recorder) put(f *client.Frame, at time.Duration) error {
	if r.report.Frames == 0 {
		if err := r.empty(); err != nil {
			return err
		}
	}
	if r.plain != nil {
		if _, err := r.plain.Write(f.JPEG); err != nil {
			return err
		}
		return r.plain.Flush() // whole pictures: what is there when it is killed can be played
	}
	if r.mkv == nil {
		if err := r.begin(f); err != nil {
			return err
		}
	}
	// The writer keeps what it is given until the next one: it gets a copy of its own.
	_, err := r.mkv.Write(true, at.Round(tick).Milliseconds(), append([]byte(nil), f.JPEG...))
	return errors.Join(err, r.failed)
}

// begin writes what stands in front of the first picture, which tells the size.
func (r *Recorder) begin(f *client.Frame) error {
	w, h, err := size(f.JPEG)
	if err != nil {
		return err
	}
	writers, err := mkvcore.NewSimpleBlockWriter(r.file, []mkvcore.TrackDescription{{
		TrackNumber: track,
		TrackEntry: webm.TrackEntry{
			Name: f.Stream, TrackNumber: track, TrackUID: track, TrackType: video, CodecID: "V_MJPEG",
			Video: &webm.Video{PixelWidth: uint64(w), PixelHeight: uint64(h)},
		},
	}},
		mkvcore.WithEBMLHeader(&webm.EBMLHeader{
			EBMLVersion: 1, EBMLReadVersion: 1, EBMLMaxIDLength: 4, EBMLMaxSizeLength: 8, DocType: "matroska",
			DocTypeVersion: 4, DocTypeReadVersion: 2,
		}),
		mkvcore.WithSegmentInfo(&webm.Info{
			TimecodeScale: uint64(tick), MuxingApp: "framebus", WritingApp: "framebus", DateUTC: time.Now(),
		}),
		mkvcore.WithSeekHead(true), mkvcore.WithCues(cuesRoom),
		mkvcore.WithMinMaxClusterDuration(track, clusterMin, clusterMax),
		mkvcore.WithOnFatalHandler(r.fail),
	)
	if err != nil {
		return err
	}
	r.mkv = writers[0]
	return nil
}

// fail is called on the writer's goroutine, which ends with it: it must not be waited for any more.
func (r *Recorder) fail(err error) {
	go func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.failed = err
	}()
}

// Report so far.
func (r *Recorder) Report() Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.report
	out.Gaps = append([]Gap{}, r.report.Gaps...)
	return out
}

// Close ends the file: its index and duration. An empty file is no recording, and is removed.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	switch {
	case r.mkv != nil:
		err = r.mkv.Close() // closes the file
	case r.report.Frames == 0:
		err = r.remove()
	default:
		err = errors.Join(r.plain.Flush(), r.file.Close())
	}
	if err != nil {
		return fmt.Errorf("record to %q: %w", r.path, err)
	}
	return r.failed
}

// empty throws away what was in the file; a pipe or a device has no such thing.
func (r *Recorder) empty() error {
	info, err := r.file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	return r.file.Truncate(0)
}

func (r *Recorder) remove() error {
	info, err := r.file.Stat()
	err = errors.Join(err, r.file.Close())
	if err == nil && info.Mode().IsRegular() && info.Size() == 0 {
		err = os.Remove(r.path)
	}
	return err
}

var _ io.Closer = (*Recorder)(nil)
