package gateway_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/gateway/internal/viewer"
	"github.com/stretchr/testify/require"
)

func TestAnotherOwnerTakesOverOnTheSameConnection(t *testing.T) {
	t.Parallel()
	r := start(t, testSettings())
	first := r.camera("cam0")
	c := r.dial("", viewer.Subprotocol)
	c.more(3)
	newest := func() frame.Header { h := c.headers(); return h[len(h)-1] }
	epoch := newest().Epoch
	first.close() // without a word: its host has died
	c.notice(func(n *pb.Notice) bool { return n.GetState() == pb.StreamState_STREAM_STATE_GONE })
	code, _ := r.get("/ws?stream=cam0")
	require.Equal(t, 200, code, "who comes now is let in, and waits with the others")

	r.camera("cam0", func(c *camera) { c.instance = "cap-other" })
	r.eventually(func() bool { return newest().Epoch > epoch }, "the new owner is never shown")
	c.more(10)
	r.eventually(func() bool { _, body := r.get("/api/v1/streams"); return strings.Contains(body, `"cap-other"`) },
		"the API still names the old one")
	channels := map[uint16]bool{}
	for _, h := range c.headers() {
		channels[h.Channel] = true
	}
	require.Len(t, channels, 1, "a stream keeps its channel")
}

func TestWhoStandsByIsNotTheOwner(t *testing.T) {
	t.Parallel()
	r := start(t, testSettings())
	owner := r.camera("cam0")
	standby := r.camera("cam0", func(c *camera) {
		c.instance, c.silent = "cap-standby", true
		c.status.Epoch, c.status.State = 0, pb.StreamState_STREAM_STATE_STANDBY
	})
	c := r.dial("", viewer.Subprotocol)
	c.more(10)
	owns := func(instance string) func() bool {
		return func() bool { _, body := r.get("/api/v1/streams"); return strings.Contains(body, `"`+instance+`"`) }
	}
	require.True(t, owns("cap-cam0")())
	for _, m := range c.heard() {
		require.NotEqual(t, pb.StreamState_STREAM_STATE_STANDBY, m.GetNotice().GetState())
	}
	var epoch uint64
	owner.change(func(c *camera) { c.draining, epoch = true, c.status.GetEpoch() })
	standby.change(func(c *camera) {
		c.silent = false
		c.status.Epoch, c.status.State = epoch+1, pb.StreamState_STREAM_STATE_LIVE
	})
	r.eventually(owns("cap-standby"), "it took over when the other one drained")
	r.eventually(func() bool { h := c.headers(); return h[len(h)-1].Epoch == epoch+1 }, "and is shown")
}

func TestAFloodOfInventedStreamsIsBounded(t *testing.T) {
	t.Parallel()
	r := start(t, testSettings())
	cam := r.camera("cam0")
	cam.change(func(c *camera) {
		s := &pb.Status{Service: "capture", Instance: "flood"}
		for i := range 5000 {
			s.Streams = append(s.Streams, &pb.StreamStatus{Name: fmt.Sprintf("s%d", i), Epoch: 1})
		}
		s.Streams = append(s.Streams, &pb.StreamStatus{Name: "no name", Epoch: 1})
		require.NoError(t, c.bus.Control.Send(subject.Status("capture", "flood"), s))
	})
	r.eventually(func() bool { _, body := r.get("/api/v1/streams"); return strings.Contains(body, `"s100"`) }, "not heard")
	_, body := r.get("/api/v1/streams")
	require.LessOrEqual(t, strings.Count(body, `"channel":`), 1024)
	require.NotContains(t, body, "no name")
	r.dial("?stream=cam0").more(3)
}
