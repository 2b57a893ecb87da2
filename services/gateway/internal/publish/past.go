package publish

import (
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
)

const (
	// rememberFor is how long the books of a publisher who has gone are told of: Status may get lost.
	rememberFor = 10 * time.Second
	// maxPast bounds the streams told of so; of further ones there are no last words.
	maxPast = 64
	// maxEnded bounds the epochs of each.
	maxEnded = 4
)

// lastWords close the books of those who published a stream.
type lastWords struct {
	status *pb.StreamStatus
	until  time.Time
}

// remember keeps what is to be told of a stream that nobody publishes any more. The lock is held.
func (k *Desk) remember(s *pb.StreamStatus, now time.Time) {
	k.gone(now)
	old, known := k.past[s.GetName()]
	if !known && len(k.past) >= maxPast {
		return
	}
	s.Ended = append(s.Ended, old.status.GetEnded()...)
	s.Ended = s.Ended[:min(len(s.Ended), maxEnded)]
	k.past[s.GetName()] = lastWords{s, now.Add(rememberFor)}
}

// gone are the streams that nobody publishes any more, while they are remembered. The lock is held.
func (k *Desk) gone(now time.Time) []*pb.StreamStatus {
	var out []*pb.StreamStatus
	for name, p := range k.past {
		switch {
		case now.After(p.until):
			delete(k.past, name)
		case k.present[name] == nil:
			out = append(out, p.status)
		}
	}
	return out
}
