package encoder

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func numbered(s *stream, sequence uint64) job {
	j := job{stream: s, payload: []byte{1}}
	j.head.Sequence = sequence
	return j
}

func TestInOrderWhileThereAreWorkersForAll(t *testing.T) {
	q, s := newTurns(), &stream{}
	q.waiting = 1 // another one is about to take the second
	q.put(numbered(s, 1))
	q.put(numbered(s, 2))
	for want := uint64(1); want <= 2; want++ {
		j, _, displaced, ok := q.take()
		require.True(t, ok)
		require.False(t, displaced)
		require.Equal(t, want, j.head.Sequence)
	}
}

func TestTheNewestGoesFirstWhenItFallsBehind(t *testing.T) {
	q, s := newTurns(), &stream{}
	q.put(numbered(s, 1))
	q.put(numbered(s, 2))
	old, displaced := q.put(numbered(s, 3))
	require.True(t, displaced)
	require.EqualValues(t, 1, old.head.Sequence)
	j, old, displaced, ok := q.take()
	require.True(t, ok)
	require.EqualValues(t, 3, j.head.Sequence)
	require.True(t, displaced)
	require.EqualValues(t, 2, old.head.Sequence)
	require.True(t, q.quiet(0))
}

func TestStreamsTakeTurns(t *testing.T) {
	q := newTurns()
	a, b, c := &stream{name: "a"}, &stream{name: "b"}, &stream{name: "c"}
	for _, s := range []*stream{a, a, b, c} {
		q.put(numbered(s, 1))
	}
	q.waiting = 3
	got := ""
	for range 2 {
		j, _, _, _ := q.take()
		got += j.stream.name
	}
	q.put(numbered(b, 2))
	for range 3 {
		j, _, _, _ := q.take()
		got += j.stream.name
	}
	require.Equal(t, "abcab", got)
}

func TestClosedTurnsReturnWhatIsLeft(t *testing.T) {
	q, s := newTurns(), &stream{}
	ended := make(chan bool)
	go func() {
		_, _, _, ok := q.take()
		ended <- ok
	}()
	require.Eventually(t, func() bool { return q.quiet(1) }, wait, look)
	require.Empty(t, q.close())
	require.False(t, <-ended)
	q.put(numbered(s, 1))
	q.put(numbered(s, 2))
	rest := q.close()
	require.Len(t, rest, 2)
	require.EqualValues(t, 1, rest[0].head.Sequence)
	_, _, _, ok := q.take()
	require.False(t, ok)
}

func TestATurnAllocatesNothing(t *testing.T) {
	q, s := newTurns(), &stream{}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		q.put(job{stream: s})
		q.take()
	}))
}
