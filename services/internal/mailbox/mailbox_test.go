package mailbox_test

import (
	"context"
	"sync"
	"testing"

	"github.com/framebus/framebus/services/internal/mailbox"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNewestWinsAndSaysWhatItDisplaced(t *testing.T) {
	m := mailbox.NewLatest[int]()
	_, displaced := m.Put(1)
	require.False(t, displaced)
	old, displaced := m.Put(2)
	require.True(t, displaced)
	require.Equal(t, 1, old)
	v, ok := m.TryTake()
	require.True(t, ok)
	require.Equal(t, 2, v)
	_, ok = m.TryTake()
	require.False(t, ok)
}

func TestQueueKeepsOrderAndDropsTheOldest(t *testing.T) {
	q := mailbox.NewQueue[int](2)
	q.Put(1)
	q.Put(2)
	old, displaced := q.Put(3)
	require.True(t, displaced)
	require.Equal(t, 1, old)
	newest, _ := q.TryTakeNewest()
	require.Equal(t, 3, newest)
	require.Equal(t, 1, q.Len())
	v, _ := q.TryTake()
	require.Equal(t, 2, v)
	_, ok := q.TryTakeNewest()
	require.False(t, ok)
}

func TestTakeEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := mailbox.NewLatest[int]().Take(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestEveryValueIsTakenOrDisplacedOnce(t *testing.T) {
	const n = 10_000
	q := mailbox.NewQueue[int](3)
	seen := make([]int, n+1)
	var mu sync.Mutex
	note := func(v int) { mu.Lock(); seen[v]++; mu.Unlock() }
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				v, err := q.Take(context.Background())
				if err != nil || v == n {
					return
				}
				note(v)
			}
		})
	}
	for v := range n {
		if old, displaced := q.Put(v); displaced {
			note(old)
		}
	}
	for q.Len() > 0 {
	}
	q.Put(n)
	for q.Len() > 0 {
	}
	q.Put(n)
	wg.Wait()
	for v := range n {
		require.Equal(t, 1, seen[v], v)
	}
}
