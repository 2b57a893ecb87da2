//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// island is a network namespace behind a veth pair: a real link, with TCP's own retransmission and congestion control,
// that can be shaped and cut. Its sockets are made by dial.
type island struct {
	t        *testing.T
	name     string
	here     string // the veth's name on this side
	hereAddr string // address of this side, that the island sees
}

var islands atomic.Int32

// startIsland makes one; not ok where that is not allowed, which fails under CI.
func startIsland(t *testing.T) (*island, bool) {
	t.Helper()
	n := int(islands.Add(1)) + os.Getpid()%200
	i := &island{
		t: t, name: fmt.Sprintf("framebus-%d", n), here: fmt.Sprintf("fb%d", n), hereAddr: fmt.Sprintf("10.213.%d.1", n%250),
	}
	if out, err := exec.Command("ip", "netns", "add", i.name).CombinedOutput(); err != nil {
		require.Empty(t, os.Getenv("CI"), "network namespaces must be there in CI (root, iproute2): %s", out)
		t.Logf("NOT RUN: no network namespace may be made here, so this link was not tried: %s", out)
		return nil, false
	}
	t.Cleanup(func() {
		_ = exec.Command("ip", "link", "del", i.here).Run()
		_ = exec.Command("ip", "netns", "del", i.name).Run()
	})
	there := fmt.Sprintf("10.213.%d.2/24", n%250)
	i.run("ip", "link", "add", i.here, "type", "veth", "peer", "name", "eth0", "netns", i.name)
	i.run("ip", "addr", "add", i.hereAddr+"/24", "dev", i.here)
	i.run("ip", "link", "set", i.here, "up")
	i.run("ip", "-n", i.name, "addr", "add", there, "dev", "eth0")
	i.run("ip", "-n", i.name, "link", "set", "eth0", "up")
	i.run("ip", "-n", i.name, "link", "set", "lo", "up")
	return i, true
}

func (i *island) run(args ...string) {
	i.t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	require.NoError(i.t, err, "%s: %s", strings.Join(args, " "), out)
}

// shape bounds what goes to the island, Mbit/s. What does not fit waits in a queue of 300 ms, as at a modem.
func (i *island) shape(mbit float64) {
	i.t.Helper()
	i.run("tc", "qdisc", "replace", "dev", i.here, "root", "tbf", "rate", fmt.Sprintf("%.0fkbit", mbit*1000),
		"burst", "4kb", "latency", "300ms")
}

// cut takes the link down, or brings it back.
func (i *island) cut(down bool) {
	i.t.Helper()
	state := "up"
	if down {
		state = "down"
	}
	i.run("ip", "link", "set", i.here, state)
}

// dial connects from the island.
func (i *island) dial(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		f, openErr := os.Open("/run/netns/" + i.name)
		if openErr != nil {
			err = openErr
			return
		}
		defer f.Close()
		if err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			return
		}
		conn, err = (&net.Dialer{}).DialContext(ctx, network, addr)
	}()
	<-done
	return conn, err
}
