package encoder

import (
	"sync"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/internal/presence"
)

// cams knows the streams that a capture service brings, which no client may speak for. It is safe for concurrent use.
type cams struct {
	mu    sync.Mutex
	heard map[string]time.Time // by stream; bound: maxStreams
}

func newCams() *cams { return &cams{heard: map[string]time.Time{}} }

// hear takes note of a Status.
func (c *cams) hear(s *pb.Status, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, st := range s.GetStreams() {
		if st.GetOwner() != pb.Owner_OWNER_CAM || st.GetEpoch() == 0 {
			continue
		}
		if s.GetDraining() {
			delete(c.heard, st.GetName())
		} else if _, known := c.heard[st.GetName()]; known || len(c.heard) < maxStreams || c.sweep(at) {
			c.heard[st.GetName()] = at
		}
	}
}

// live tells whether a capture service was heard to own the stream.
func (c *cams) live(stream string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.heard[stream]
	return ok && now.Sub(at) <= presence.Silence
}

// sweep makes room by forgetting those that have gone, and tells whether there was any.
func (c *cams) sweep(now time.Time) bool {
	for name, at := range c.heard {
		if now.Sub(at) > presence.Silence {
			delete(c.heard, name)
		}
	}
	return len(c.heard) < maxStreams
}
