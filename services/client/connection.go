package client

import "time"

// Connection says in a word how well a stream comes.
type Connection string

// The words, over the last 4 s; docs/clients.md has the rule, and the page goes by it too.
//
//	Good  ≥ 95 % of the stream's frames at an age ≤ 200 ms, connected for 4 s, and as large as they are shown
//	Fair  ≥ 70 % at ≤ 600 ms
//	Poor  less, or no frame for 2 s, or no connection
const (
	Good Connection = "good"
	Fair Connection = "fair"
	Poor Connection = "poor"
)

const (
	judgeWindow = 4 * time.Second
	// stale is how long no frame may come before the connection is poor, and before an epoch that went on may be
	// followed by a smaller one: a clock that was set back must not end a stream.
	stale = 2 * time.Second
	// roomFor is the part of the place it is shown in that a smaller rung must fill to be no loss.
	roomFor = 0.9
)

// conduct is what a stream's connection is judged by.
type conduct struct {
	open          bool
	since, silent time.Duration // since it opened, and since the last frame or, where that is less, since it opened
	share         float64       // of the frames that should have come; with Config.MaxFPS of those
	age           time.Duration // the median of the last second less its uncertainty
	aged          bool          // that is known
	small         bool          // a lower rung than the place it is shown in has room for
}

func (c conduct) judge() Connection {
	within := func(share float64, age time.Duration) bool { return c.share >= share && (!c.aged || c.age <= age) }
	switch {
	case !c.open || c.silent > stale:
		return Poor
	case within(0.95, 200*time.Millisecond) && c.since >= judgeWindow && !c.small:
		return Good
	case within(0.7, 600*time.Millisecond):
		return Fair
	}
	return Poor
}

// small tells whether Select named a place that the newest picture does not fill, for want of a network.
func (st *stream) small() bool {
	return st.last.Rung != 0 && float64(st.last.Width) < roomFor*float64(st.sel.GetWidth())
}
