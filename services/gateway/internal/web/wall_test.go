package web_test

import (
	"context"
	"testing"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/stretchr/testify/require"
)

func TestWall(t *testing.T) {
	ctx, ok := browser(t)
	if !ok {
		return
	}
	t.Run("each tile asks for its size on one connection", func(t *testing.T) { wall(t, ctx) })
	t.Run("columns", func(t *testing.T) { columns(t, ctx) })
}

func wall(t *testing.T, ctx context.Context) {
	s := newStand(t, 320, 240, 10)
	b := open(t, ctx, "http://"+s.addr+"/wall.html", 390, 844, true)
	b.eventually("window.framebus?.stats().length === 3 && framebus.stats()[0].painted > 3",
		"every stream has a tile, and the one that has pictures shows them")
	for _, stream := range []string{"cam0", "door", "yard"} {
		require.Eventually(t, func() bool {
			return s.count(func(m *pb.ClientMessage) bool {
				sel := m.GetSelect()
				return sel.GetStream() == stream && sel.GetRung() == "auto" && sel.GetWidth() > 250 && sel.GetWidth() < 780 &&
					!sel.GetHidden()
			}) > 0
		}, patience, patience/1000, "select of %s", stream)
	}
	s.tell(&pb.ServerMessage{Message: &pb.ServerMessage_Notice{Notice: &pb.Notice{
		Kind: "state", Stream: "cam0", State: pb.StreamState_STREAM_STATE_SLATE, Text: "no pictures for 5 s",
	}}})
	b.eventually("document.querySelector('[data-stream=cam0]').textContent.includes('no pictures for 5 s')", "why is told")
	s.mu.Lock()
	require.Len(t, s.asked, 1, "one connection")
	s.mu.Unlock()
	var wide bool
	b.eval("document.body.scrollWidth > innerWidth", &wide)
	require.False(t, wide, "nothing scrolls sideways")
	b.keep("wall-phone")

	s.setAbsent("door")
	b.eventually("framebus.stats().length === 2 && !document.querySelector('[data-stream=door]')", "a tile goes")
	require.Equal(t, 1, s.count(func(m *pb.ClientMessage) bool {
		return m.GetSelect().GetStream() == "door" && m.GetSelect().GetRung() == "off"
	}), "and its stream is left")
	s.setAbsent("")
	b.eventually("framebus.stats()[1]?.name === 'door' || framebus.stats()[2]?.name === 'door'", "and comes again")
	b.eventually("[...document.querySelectorAll('.tile')].map((e) => e.dataset.stream).join() === 'cam0,door,yard'",
		"where it was")

	open(t, ctx, "about:blank", 800, 600, false)
	require.Eventually(t, func() bool {
		return s.count(func(m *pb.ClientMessage) bool { return m.GetSelect().GetHidden() }) == 3
	}, patience, patience/1000, "a hidden tab wants nothing")
	require.Empty(t, b.complaints())
}

func columns(t *testing.T, ctx context.Context) {
	s := newStand(t, 320, 240, 5)
	b := open(t, ctx, "http://"+s.addr+"/wall.html", 800, 600, false)
	for _, c := range []struct {
		call string
		want int
	}{
		{"columns(1, 1280, 700, 4 / 3, 10)", 1},
		{"columns(9, 1280, 700, 4 / 3, 10)", 3},
		{"columns(9, 1600, 700, 4 / 3, 10)", 5},
		{"columns(9, 1280, 700, 16 / 9, 10)", 3},
		{"columns(9, 360, 700, 4 / 3, 10)", 2},
		{"columns(60, 360, 700, 4 / 3, 10)", 2},
		{"columns(3, 100, 50, 4 / 3, 10)", 1},
		{"columns(0, 1280, 700, 4 / 3, 10)", 1},
	} {
		var got int
		b.eval("import('/grid.js').then(({ columns }) => "+c.call+".columns)", &got)
		require.Equal(t, c.want, got, c.call)
	}
}
