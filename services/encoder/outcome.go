package encoder

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/internal/shm"
)

// outcome is what became of a frame: finer than the fate that its Done tells.
type outcome int

const (
	encoded outcome = iota
	superseded
	stale
	undemanded
	corrupt
	foreign
	probe
	overwritten // its shared memory was not what was meant
	unreadable  // no frame at all, so that nobody can be told
	outcomes    // their number
)

var outcomeNames = [outcomes]string{
	"encoded", "superseded", "stale", "undemanded", "corrupt", "foreign", "probe", "overwritten", "unreadable",
}

var fates = [outcomes]pb.Fate{
	pb.Fate_FATE_ENCODED, pb.Fate_FATE_SUPERSEDED, pb.Fate_FATE_SUPERSEDED, pb.Fate_FATE_UNDEMANDED,
	pb.Fate_FATE_CORRUPT, pb.Fate_FATE_FOREIGN, pb.Fate_FATE_PROBE, pb.Fate_FATE_OVERWRITTEN, pb.Fate_FATE_UNSPECIFIED,
}

// failed is the outcome of a frame that came to nothing.
func failed(err error) outcome {
	if errors.Is(err, shm.ErrOverwritten) || errors.Is(err, shm.ErrGone) {
		return overwritten
	}
	return corrupt
}

// faults gathers what went wrong with frames, to be told once a second at most.
type faults struct {
	mu   sync.Mutex
	n    int
	last error
}

func (f *faults) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	f.last = err
}

func (f *faults) report(ctx context.Context, log *slog.Logger) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		f.mu.Lock()
		n, last := f.n, f.last
		f.n, f.last = 0, nil
		f.mu.Unlock()
		if n > 0 {
			log.Warn("frames failed", "count", n, "last", last)
		}
	}
}
