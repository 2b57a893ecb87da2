package origin

import (
	"testing"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/stretchr/testify/require"
)

var t0 = time.Unix(1_790_000_000, 0)

func ms(n int) time.Time { return t0.Add(time.Duration(n) * time.Millisecond) }

const testEpoch = 7

func id(sequence uint64) frameID { return frameID{testEpoch, sequence} }

// staffed is a credit with encoders of one run, that many workers each.
func staffed(workers int, names ...string) *credit {
	c := &credit{}
	for _, n := range names {
		c.hear(n, 1, workers, false, t0)
	}
	return c
}

func (c *credit) give(t *testing.T, name string, sequence uint64, at time.Time) {
	t.Helper()
	require.NotNil(t, c.peer(name))
	c.sent(name, sent{frameID: id(sequence), at: at})
}

func doneOf(name string, sequence uint64) *pb.Done {
	return &pb.Done{Encoder: name, Run: 1, Epoch: testEpoch, Sequence: sequence, Fate: pb.Fate_FATE_ENCODED}
}

// picked is who gets a frame ten seconds after the tests' start, when nobody's refusal is new.
func picked(c *credit) string { return pickedAt(c, ms(10_000)) }

func pickedAt(c *credit, at time.Time) string {
	name, _ := c.pick(at)
	return name
}

func TestWhoGetsTheNextFrame(t *testing.T) {
	for name, c := range map[string]struct {
		before func(t *testing.T, c *credit)
		want   string
	}{
		"by name where all is equal": {func(*testing.T, *credit) {}, "a"},
		"the fewest open": {func(t *testing.T, c *credit) {
			c.give(t, "a", 1, t0)
			c.give(t, "b", 2, t0)
		}, "c"},
		"fewest open goes before not waiting": {func(t *testing.T, c *credit) {
			c.give(t, "c", 1, t0)
			d := doneOf("c", 1)
			d.WaitedUs = 50_000
			c.done(d, ms(1))
			c.give(t, "a", 2, t0)
			c.give(t, "b", 3, t0)
		}, "c"},
		"not waiting": {func(t *testing.T, c *credit) {
			for i, n := range []string{"a", "b", "c"} {
				c.give(t, n, uint64(i), t0)
				d := doneOf(n, uint64(i))
				d.WaitedUs = 5001
				if n == "c" {
					d.WaitedUs = 5000
				}
				c.done(d, ms(1+i))
			}
		}, "c"},
		"longest since its last done": {func(t *testing.T, c *credit) {
			for i, n := range []string{"b", "c", "a"} {
				c.give(t, n, uint64(i), t0)
				c.done(doneOf(n, uint64(i)), ms(1+i))
			}
		}, "b"},
		"none that drains":     {func(_ *testing.T, c *credit) { c.hear("a", 1, 2, true, ms(1)) }, "b"},
		"none without workers": {func(_ *testing.T, c *credit) { c.hear("a", 1, 0, false, ms(1)) }, "b"},
	} {
		t.Run(name, func(t *testing.T) {
			cr := staffed(2, "c", "b", "a")
			c.before(t, cr)
			require.Equal(t, c.want, picked(cr))
		})
	}
}

func TestThereIsRoomWhileFewerAreOpenThanWorkers(t *testing.T) {
	c := staffed(2, "a")
	c.give(t, "a", 1, t0)
	require.Equal(t, "a", picked(c))
	c.give(t, "a", 2, t0)
	_, ok := c.pick(ms(1))
	require.False(t, ok)
	require.True(t, c.done(doneOf("a", 1), ms(3)).booked)
	require.Equal(t, "a", picked(c))
	require.Equal(t, 1, c.opened(testEpoch))
	require.Zero(t, c.opened(testEpoch+1))
}

func TestOnlyTheFirstDoneOfAnOpenFrameCounts(t *testing.T) {
	for name, d := range map[string]*pb.Done{
		"unknown frame":   doneOf("a", 9),
		"other epoch":     {Encoder: "a", Run: 1, Epoch: testEpoch + 1, Sequence: 1},
		"other run":       {Encoder: "a", Run: 2, Epoch: testEpoch, Sequence: 1},
		"unknown encoder": doneOf("x", 1),
		"other encoder":   doneOf("b", 1),
		"nobody at all":   {},
	} {
		t.Run(name, func(t *testing.T) {
			c := staffed(1, "a", "b")
			c.give(t, "a", 1, t0)
			require.False(t, c.done(d, ms(1)).booked)
			require.Equal(t, 1, c.opened(testEpoch))
		})
	}
	c := staffed(1, "a")
	c.give(t, "a", 1, t0)
	a := c.done(doneOf("a", 1), ms(20))
	require.True(t, a.booked)
	require.Equal(t, 20*time.Millisecond, a.took)
	require.False(t, c.done(doneOf("a", 1), ms(21)).booked, "a duplicate")
}

func TestAnEncoderIsWaitedForPastItsUsualTime(t *testing.T) {
	c := staffed(1, "a")
	c.give(t, "a", 1, t0)
	require.Empty(t, c.tick(ms(500), t0), "nothing is known of it: 250 ms are its usual time")
	require.Equal(t, []frameID{id(1)}, c.tick(ms(501), t0))
	require.Empty(t, picked(c))

	c = staffed(100, "a")
	for n := range 100 { // 95 of 100 take 40 ms
		at := ms(10 * n)
		c.give(t, "a", uint64(n), at)
		took := 40
		if n%20 == 7 {
			took = 400
		}
		c.done(doneOf("a", uint64(n)), at.Add(time.Duration(took)*time.Millisecond))
	}
	c.give(t, "a", 200, ms(1100))
	require.Empty(t, c.tick(ms(1390), t0))
	require.Equal(t, []frameID{id(200)}, c.tick(ms(1391), t0))

	c.hear("a", 1, 100, false, ms(5000))
	require.Equal(t, firstUsual, c.peer("a").usual(ms(5000)), "what was long ago is not usual")
}

func TestOneThatTimedOutIsProbedUntilItAnswers(t *testing.T) {
	c := staffed(1, "a")
	c.give(t, "a", 1, t0)
	require.Empty(t, c.probes(ms(400)))
	c.tick(ms(501), t0)
	require.Equal(t, []string{"a"}, c.probes(ms(501)))
	require.Empty(t, c.probes(ms(1500)))
	require.Equal(t, []string{"a"}, c.probes(ms(1501)))
	c.hear("a", 1, 1, false, ms(1600))
	require.Empty(t, picked(c), "its Status is no answer")
	c.done(&pb.Done{Encoder: "a", Run: 2, Fate: pb.Fate_FATE_PROBE}, ms(1700))
	require.Empty(t, picked(c), "another run's is none either")
	c.done(&pb.Done{Encoder: "a", Run: 1, Fate: pb.Fate_FATE_PROBE}, ms(1800))
	require.Equal(t, "a", picked(c))
	require.Empty(t, c.probes(ms(9000)))
}

func TestALateDoneIsNotBookedButTeaches(t *testing.T) {
	c := staffed(1, "a")
	c.give(t, "a", 1, t0)
	require.Len(t, c.tick(ms(501), t0), 1)
	require.False(t, c.done(doneOf("a", 1), ms(700)).booked, "its credit was returned before")
	require.Equal(t, "a", picked(c), "it answers")
	require.Empty(t, c.probes(ms(1501)))
	require.Equal(t, 700*time.Millisecond, c.peer("a").usual(ms(700)))
	c.give(t, "a", 2, ms(800))
	require.Empty(t, c.tick(ms(800+950), t0), "it is waited for as long as it takes")
	require.Equal(t, []frameID{id(2)}, c.tick(ms(800+951), t0))
	c.done(doneOf("a", 1), ms(1800))
	require.Empty(t, picked(c), "a duplicate of a late one is no answer")
}

func TestAProbesAnswerIsNoFramesAnswer(t *testing.T) {
	c := staffed(1, "a")
	c.give(t, "a", 1, t0)
	d := doneOf("a", 1)
	d.Fate = pb.Fate_FATE_PROBE
	require.False(t, c.done(d, ms(1)).booked)
	require.Equal(t, 1, c.opened(testEpoch))
}

func TestWhereNobodyListensCreditReturnsAtOnce(t *testing.T) {
	c := staffed(2, "a", "b")
	c.give(t, "a", 1, t0)
	c.give(t, "a", 2, t0)
	require.True(t, c.holds("a", id(2)))
	require.Equal(t, []frameID{id(1), id(2)}, c.nobody("a", ms(1)))
	require.False(t, c.holds("a", id(2)))
	require.Equal(t, "b", pickedAt(c, ms(1)))
	require.Empty(t, c.nobody("x", ms(1)))
	require.Empty(t, c.probes(ms(5000)), "it is not asked: a frame will tell")
	c.hear("a", 1, 2, false, ms(0))
	require.Equal(t, "b", pickedAt(c, ms(2)), "what it said before is no news")
	require.Equal(t, "b", pickedAt(c, ms(150)))
	require.Equal(t, "a", pickedAt(c, ms(151)), "it is tried again")
	c.nobody("a", ms(152))
	require.Equal(t, "b", pickedAt(c, ms(153)))
	c.hear("a", 1, 2, false, ms(154))
	require.Equal(t, "a", pickedAt(c, ms(155)), "it was heard again")
	c.nobody("a", ms(160))
	c.give(t, "a", 3, ms(310))
	require.True(t, c.done(doneOf("a", 3), ms(311)).booked)
	require.Equal(t, trusted, c.peer("a").doubt)
}

func TestWhetherThereIsAnEncoder(t *testing.T) {
	c := staffed(1, "a", "b")
	c.give(t, "a", 1, t0)
	c.give(t, "b", 2, t0)
	require.True(t, c.anybody(), "both are busy")
	c.nobody("a", ms(1))
	require.True(t, c.anybody())
	c.hear("b", 1, 1, true, ms(2))
	require.False(t, c.anybody(), "one is gone, the other drains")
	c.hear("a", 1, 1, false, ms(3))
	require.True(t, c.anybody())
	require.False(t, (&credit{}).anybody())
}

func TestANewRunKnowsNothingOfTheOldOnesFrames(t *testing.T) {
	c := staffed(1, "a")
	c.give(t, "a", 1, t0)
	c.tick(ms(501), t0)
	require.Empty(t, c.hear("a", 2, 3, false, ms(600)))
	require.Equal(t, "a", picked(c), "nor is it blamed for them")
	c.sent("a", sent{frameID: id(2), at: ms(600)})
	require.Equal(t, []frameID{id(2)}, c.hear("a", 3, 3, false, ms(700)))
	require.Empty(t, c.hear("a", 2, 1, true, ms(800)), "the older of two runs is no news")
	require.Equal(t, "a", picked(c))
}

func TestAReconnectReturnsAllCredit(t *testing.T) {
	c := staffed(1, "a", "b")
	c.give(t, "a", 1, t0)
	c.tick(ms(501), t0)
	c.give(t, "b", 2, ms(502))
	require.Equal(t, []frameID{id(2)}, c.reconnected())
	require.Equal(t, "a", picked(c), "the bus may have been to blame")
	require.False(t, c.done(doneOf("b", 2), ms(600)).booked)
}

func TestTheSilentAreForgotten(t *testing.T) {
	c := staffed(1, "a")
	c.give(t, "a", 1, ms(1900))
	require.Empty(t, c.tick(ms(2001), ms(1500)), "they could not be heard before this side was connected")
	require.Empty(t, c.tick(ms(2001), time.Time{}), "nor while it is not")
	require.Empty(t, picked(c))
	require.Equal(t, []frameID{id(1)}, c.tick(ms(2001), t0))
	require.Empty(t, c.peers)
}

func TestADrainedOneGetsNothing(t *testing.T) {
	c := staffed(1, "a")
	c.give(t, "a", 1, t0)
	c.hear("a", 1, 1, true, ms(1))
	require.True(t, c.done(doneOf("a", 1), ms(2)).booked, "it finishes what it has")
	require.Empty(t, picked(c))
	c.nobody("a", ms(3))
	require.Empty(t, c.probes(ms(5000)))
}

func TestForgedStatusBoundsNothingAway(t *testing.T) {
	c := &credit{}
	for n := range 2 * maxPeers {
		c.hear(string(rune('a'+n%26))+string(rune('0'+n/26)), 1, 1<<30, false, t0)
	}
	require.Len(t, c.peers, maxPeers)
	require.Equal(t, maxWorkers, c.peers[0].workers)
}

func TestPickingAllocatesNothing(t *testing.T) {
	c := staffed(2, "a", "b", "c")
	d := doneOf("a", 1)
	at := t0
	step := func() {
		at = at.Add(33 * time.Millisecond)
		name, _ := c.pick(at)
		d.Encoder = name
		c.sent(name, sent{frameID: id(1), at: at})
		c.done(d, at.Add(time.Millisecond))
		c.tick(at, t0)
		for _, p := range c.peers {
			p.heard = at
		}
	}
	for range 600 {
		step()
	}
	require.Zero(t, testing.AllocsPerRun(100, step))
}
