package origin

import (
	"maps"
	"slices"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
)

// stepLimit is how far the wall clock may be from where this run's start and the monotonic clock put it.
const stepLimit = 500 * time.Millisecond

// clock tells times that run on evenly: a start plus the monotonic clock.
type clock struct {
	begun time.Time // for its monotonic reading
	zero  time.Time // the wall clock then; has no monotonic part
}

func newClock(now, wall time.Time) clock { return clock{begun: now, zero: wall.Round(0)} }

// wall is the time at a moment of the monotonic clock.
func (c *clock) wall(at time.Time) time.Time { return c.zero.Add(at.Sub(c.begun)) }

func (c *clock) us(at time.Time) int64 { return c.wall(at).UnixMicro() }

// follow compares with the wall clock. Where that was stepped, it starts anew from there and says so.
func (c *clock) follow(now, wall time.Time) (stepped bool) {
	if wall.Sub(c.wall(now)).Abs() <= stepLimit {
		return false
	}
	*c = newClock(now, wall)
	return true
}

const (
	// offsetLives is how long the best measurement of a clock stands until the next best takes its place.
	offsetLives = 10 * time.Second
	maxOffsets  = maxPeers
	// clockError is what two good clocks may differ over the time of one frame, µs.
	clockError = 1000
)

// offsets knows the encoders' clocks, each by the four timestamps of the Done with the least round trip.
type offsets map[string]offset

type offset struct {
	us, trip int64
	at       time.Time
}

// measure takes note of a Done received at now, by this side's clock at us, of a frame sent at sentUs. It says nothing
// where the encoder tells no times or its clock was stepped between them.
func (o offsets) measure(d *pb.Done, sentUs, us int64, now time.Time) {
	there, back := d.GetReceivedUs()-sentUs, d.GetSentUs()-us
	held := d.GetSentUs() - d.GetReceivedUs()
	if d.GetReceivedUs() == 0 || held < 0 || held > us-sentUs+clockError {
		return
	}
	trip := max((us-sentUs)-held, 0)
	old, known := o[d.GetEncoder()]
	if known && trip > old.trip && now.Sub(old.at) < offsetLives || !known && len(o) >= maxOffsets {
		return
	}
	o[d.GetEncoder()] = offset{us: (there + back) / 2, trip: trip, at: now}
}

// list gives those measured lately and forgets the others.
func (o offsets) list(now time.Time) []*pb.ClockOffset {
	var out []*pb.ClockOffset
	for _, name := range slices.Sorted(maps.Keys(o)) {
		if now.Sub(o[name].at) > 2*offsetLives {
			delete(o, name)
			continue
		}
		out = append(out, &pb.ClockOffset{
			Instance: name, OffsetUs: o[name].us, UncertaintyUs: (o[name].trip + 1) / 2,
		})
	}
	return out
}
