package encoder

import (
	"fmt"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/adapt"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/instrument"
	"github.com/framebus/framebus/services/internal/presence"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
)

func TestSettingsNameEveryError(t *testing.T) {
	s := Settings{Quality: 0, QualityMin: 101, Workers: -1}
	err := s.Validate()
	for _, part := range []string{"quality 0", "quality min 101", "workers -1"} {
		require.ErrorContains(t, err, part)
	}
	s = Settings{Quality: 20, QualityMin: 30}
	require.NoError(t, s.Validate())
	require.Equal(t, 20, s.QualityMin)
	require.Positive(t, s.Workers)
}

func TestClockRunsOnThroughSmallStepsAndStartsAnewAtLargeOnes(t *testing.T) {
	wall := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := &clock{zero: wall}
	m := c.at(wall.Add(time.Second+400*time.Millisecond), time.Second)
	require.Equal(t, moment{wall.Add(time.Second), time.Second, 0}, m)
	m = c.at(wall.Add(-time.Hour), 2*time.Second)
	require.Equal(t, moment{wall.Add(-time.Hour), 2 * time.Second, 1}, m)
	m = c.at(wall.Add(-time.Hour+time.Second), 3*time.Second)
	require.Equal(t, moment{wall.Add(-time.Hour + time.Second), 3 * time.Second, 1}, m)
}

func TestStale(t *testing.T) {
	wall := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	// arrives tells of a frame sent and received at these times, by clocks that are an hour apart.
	arrives := func(l *leastDelay, epoch uint64, sent, received time.Duration) bool {
		h := frame.NewHeader()
		h.Epoch, h.CapturedUs = epoch, wall.Add(sent-time.Hour-time.Millisecond).UnixMicro()
		h.HopUs[frame.Published] = 1000
		return l.stale(&h, moment{wall: wall.Add(received), elapsed: received})
	}
	const s, ms = time.Second, time.Millisecond
	var l leastDelay
	require.False(t, arrives(&l, 1, 0, 2*ms))
	require.False(t, arrives(&l, 1, s, 2*s), "under a second over the least")
	require.True(t, arrives(&l, 1, 2*s, 6*s), "after a freeze")
	require.True(t, arrives(&l, 1, 4*s, 6*s))
	require.False(t, arrives(&l, 1, 5900*ms, 6*s))
	require.False(t, arrives(&l, 2, 2*s, 6*s), "the least delay is an epoch's own")
	require.True(t, arrives(&l, 2, 2*s, 7500*ms))
	require.False(t, arrives(&l, 2, 2*s, 60*s), "what was long ago is forgotten")
	h := frame.NewHeader()
	h.Epoch, h.CapturedUs = 2, wall.UnixMicro()
	require.False(t, l.stale(&h, moment{wall: wall.Add(time.Hour), elapsed: 60 * s, steps: 1}), "our clock was stepped")
}

func told(t *testing.T, f *pb.Feedback) bus.Msg {
	t.Helper()
	data, err := proto.Marshal(f)
	require.NoError(t, err)
	return bus.Msg{Subject: subject.Feedback(f.GetStream()), Data: data}
}

func feedback(reader, stream string, rungs ...pb.Rung) *pb.Feedback {
	f := &pb.Feedback{Reader: reader, Stream: stream}
	for _, r := range rungs {
		f.Rungs = append(f.Rungs, &pb.RungDemand{Rung: r})
	}
	return f
}

func TestDemandLivesTwoSecondsAndIsTakenBack(t *testing.T) {
	t0 := time.Now()
	d := newDemand(adapt.Limits{Min: 30, Max: 80}, instrument.Counter{})
	d.begin(t0)
	require.Equal(t, onlyFull, d.of("cam0", t0.Add(200*time.Millisecond)).rungs, "it has only just begun to listen")
	require.Zero(t, d.of("cam0", t0.Add(400*time.Millisecond)).rungs)
	d.hear(told(t, feedback("a", "cam0", pb.Rung_RUNG_FULL)), t0)
	d.hear(told(t, feedback("b", "cam0", pb.Rung_RUNG_QUARTER, 7, -1)), t0.Add(time.Second))
	require.Equal(t, rungSet(0b101), d.of("cam0", t0.Add(time.Second)).rungs)
	require.Zero(t, d.of("cam1", t0.Add(time.Second)).rungs)
	require.Equal(t, rungSet(0b100), d.of("cam0", t0.Add(2500*time.Millisecond)).rungs)
	d.hear(told(t, feedback("b", "cam0")), t0.Add(2500*time.Millisecond))
	require.Zero(t, d.of("cam0", t0.Add(2500*time.Millisecond)).rungs)
	d.begin(t0.Add(time.Minute))
	require.Equal(t, onlyFull, d.of("cam0", t0.Add(time.Minute)).rungs, "after a reconnect it must hear anew")
	d.hear(bus.Msg{Subject: subject.Feedback("cam0"), Data: []byte("garbage")}, t0.Add(time.Minute))
	require.Len(t, d.streams, 1)
}

func TestDemandIsBounded(t *testing.T) {
	t0 := time.Now()
	d := newDemand(adapt.Limits{Min: 30, Max: 80}, instrument.Counter{})
	for i := range maxStreams + 5 {
		d.hear(told(t, feedback("a", fmt.Sprintf("s%d", i), pb.Rung_RUNG_FULL)), t0)
		d.hear(told(t, feedback(fmt.Sprintf("r%d", i), "s0", pb.Rung_RUNG_FULL)), t0)
	}
	require.Len(t, d.streams, maxStreams)
	require.Len(t, d.streams["s0"], maxReaders)
	d.hear(told(t, feedback("a", "another", pb.Rung_RUNG_FULL)), t0.Add(time.Minute))
	require.Len(t, d.streams, 1)
}

func TestACamIsLiveUntilItDrainsOrFallsSilent(t *testing.T) {
	t0 := time.Now()
	s := &pb.Status{Streams: []*pb.StreamStatus{
		{Name: "door", Owner: pb.Owner_OWNER_CAM, Epoch: 1},
		{Name: "standby", Owner: pb.Owner_OWNER_CAM},
		{Name: "client", Owner: pb.Owner_OWNER_PUB, Epoch: 1},
	}}
	c := newCams()
	c.hear(s, t0)
	require.True(t, c.live("door", t0))
	require.False(t, c.live("standby", t0))
	require.False(t, c.live("client", t0))
	require.False(t, c.live("door", t0.Add(presence.Silence+1)))
	s.Draining = true
	c.hear(s, t0)
	require.False(t, c.live("door", t0))
}

func TestStreamsThatAreKnownAreBounded(t *testing.T) {
	m, err := newMeters(nil, 1)
	require.NoError(t, err)
	in := newIntake(&encoder{meters: m})
	for i := range maxStreams {
		_, err := in.stream(subject.Raw(subject.Cam, fmt.Sprintf("s%d", i), "e"))
		require.NoError(t, err)
	}
	_, err = in.stream(subject.Raw(subject.Cam, "another", "e"))
	require.ErrorContains(t, err, "another")
	for _, s := range in.streams {
		s.seen = time.Now().Add(-2 * forgetAfter)
	}
	_, err = in.stream(subject.Raw(subject.Cam, "another", "e"))
	require.NoError(t, err)
	require.Len(t, in.streams, 1)
}
