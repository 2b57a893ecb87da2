package presence_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/natsd"
	"github.com/framebus/framebus/services/internal/presence"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

func start(t *testing.T, s *natsd.Server, cfg presence.Config) (*presence.Roster, chan error) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	b, err := bus.Open(bus.Config{InProcess: s}, bus.Deps{Log: log})
	require.NoError(t, err)
	r := presence.New(cfg, presence.Deps{Bus: b, Log: log})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	done := make(chan struct{})
	go func() { defer close(done); ended <- r.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done; b.Close() })
	return r, ended
}

func find(r *presence.Roster, instance string) *pb.Status {
	for _, s := range r.Live() {
		if s.GetInstance() == instance {
			return s
		}
	}
	return nil
}

func TestTwoHearOfEachOtherAndOfTheEnd(t *testing.T) {
	s, err := natsd.Start(natsd.Config{})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	a, _ := start(t, s, presence.Config{Service: "encoder", Instance: "a", Run: 1})
	b, _ := start(t, s, presence.Config{Service: "gateway", Instance: "b", Run: 2})
	require.Eventually(t, func() bool { return find(a, "b") != nil && find(b, "a") != nil }, patience, time.Millisecond)
	a.Drain()
	require.Eventually(t, func() bool { return find(b, "a").GetDraining() }, patience, time.Millisecond)
}

func TestTheSilentOneIsGone(t *testing.T) {
	s, err := natsd.Start(natsd.Config{})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	a, _ := start(t, s, presence.Config{Service: "encoder", Instance: "a", Run: 1})
	t.Run("alive", func(t *testing.T) {
		start(t, s, presence.Config{Service: "gateway", Instance: "b", Run: 2})
		require.Eventually(t, func() bool { return find(a, "b") != nil }, patience, time.Millisecond)
	})
	require.Eventually(t, func() bool { return find(a, "b") == nil }, patience, 10*time.Millisecond)
}

func TestTheLaterOfOneNameEnds(t *testing.T) {
	s, err := natsd.Start(natsd.Config{})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	a, aEnded := start(t, s, presence.Config{Service: "encoder", Instance: "same", Run: 1})
	require.Eventually(t, func() bool { return find(a, "same") != nil }, patience, time.Millisecond)
	_, bEnded := start(t, s, presence.Config{Service: "encoder", Instance: "same", Run: 2})
	select {
	case err := <-bEnded:
		require.ErrorIs(t, err, presence.ErrNameTaken)
	case err := <-aEnded:
		t.Fatalf("the earlier one ended: %v", err)
	case <-time.After(patience):
		t.Fatal("both go on")
	}
	require.Empty(t, aEnded)
}
