//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/stretchr/testify/require"
)

func TestTheChainWorksWithTheUsersOfTheBus(t *testing.T) {
	bus := startBus(t, "nats.conf")
	s := startAs(t, options{capture: []string{"--instance", "first0"}}, bus.url(), bus.url(), bus.url())
	other := runEnv(t, as("capture"), binary(t, "capture"), "--nats-url", bus.url(), "--instance", "other0")
	other.waitPrinted("standing by")
	ws := watchers(t, 3, client.Config{URL: s.ws("")})
	fullSpeed(t, ws)

	ended := time.Now()
	s.capture.kill()
	ws[0].newEpochAfter(ended)
	s.waitOwner("other0")
	fullSpeed(t, ws)
	s.publish(folder(t, 10), "desk")
	waitStream(t, s.addr, "desk")
	watch(t, client.Config{URL: s.ws("stream=desk")}).waitFrames(30)
	stayConnected(t, ws)
	require.NotContains(t, bus.out.String(), "Violation", "a service does what its user may not")
}

// fullSpeed looks for two seconds in which every viewer got 30 frames a second.
func fullSpeed(t *testing.T, ws []*watcher) {
	t.Helper()
	steadily(t, func() string {
		for i, a := range during(ws, 2*time.Second) {
			if a.fps < fullRate || a.backward > 0 {
				return fmt.Sprintf("viewer %d: %.2f fps, %d backward", i, a.fps, a.backward)
			}
			t.Logf("%.2f fps, %d lost", a.fps, a.lost)
		}
		return ""
	})
}

// cluster is three servers that are one bus.
type cluster struct {
	t     *testing.T
	nodes map[string]*natsServer
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, nodes: map[string]*natsServer{}}
	ports := map[string]string{}
	var routes []string
	for _, name := range []string{"node-a", "node-b", "node-c"} {
		addr := freeAddr(t)
		ports[name] = port(t, addr)
		routes = append(routes, fmt.Sprintf("%q", "nats://route:secret0route@"+addr))
	}
	for name, p := range ports {
		c.nodes[name] = newBus(t, "cluster.conf", map[string]string{"6222": p}, "FRAMEBUS_NATS_NAME="+name,
			"FRAMEBUS_NATS_ROUTE_PASSWORD=secret0route", "FRAMEBUS_NATS_ROUTES=["+strings.Join(routes, ", ")+"]")
		c.nodes[name].start()
	}
	c.waitWhole()
	return c
}

// waitWhole waits until each knows the two others.
func (c *cluster) waitWhole() {
	c.t.Helper()
	for name, s := range c.nodes {
		require.Eventually(c.t, func() bool {
			var routez struct {
				Routes []struct {
					RemoteName string `json:"remote_name"`
				} `json:"routes"`
			}
			s.figures("routez", &routez)
			others := map[string]bool{}
			for _, r := range routez.Routes {
				others[r.RemoteName] = true
			}
			return len(others) == len(c.nodes)-1
		}, patience, 20*time.Millisecond, "%s does not find the others", name)
	}
}

// urls is what FRAMEBUS_NATS_URL says.
func (c *cluster) urls() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(c.nodes)) {
		all = append(all, c.nodes[name].url())
	}
	return strings.Join(all, ",")
}

var connectedTo = regexp.MustCompile(`msg="bus connected" .*connection=data .*server=(\S+)`)

// of is the server where a service has its pictures' connection.
func (c *cluster) of(p *process) *natsServer {
	c.t.Helper()
	all := connectedTo.FindAllStringSubmatch(p.out.String(), -1)
	require.NotEmpty(c.t, all, p.out.String())
	return c.nodes[all[len(all)-1][1]]
}

func TestAClusterGoesOnWithoutTheServerThatAServiceUses(t *testing.T) {
	c := startCluster(t)
	s := startAs(t, options{}, c.urls(), c.urls(), c.urls())
	ws := watchers(t, 2, client.Config{URL: s.ws("")})
	// Three pings that nobody answers are what tells a frozen server from one that has nothing to say.
	const noticedWithin = 5 * time.Second
	without := func(p *process, how string, within time.Duration, breaks, mends func(*natsServer)) {
		t.Run(p.name+"'s is "+how, func(t *testing.T) {
			steadily(t, func() string {
				ws[0].waitFrames(30)
				node, from := c.of(p), time.Now()
				breaks(node)
				<-time.After(within + time.Second/2)
				gap := ws[0].longestGap(from, time.Now())
				mends(node)
				c.waitWhole()
				t.Logf("video was interrupted for %v", gap.Round(time.Millisecond))
				if gap > within {
					return fmt.Sprintf("video was interrupted for %v", gap)
				}
				return ""
			})
		})
	}
	kill := func(n *natsServer) { n.kill() }
	for _, p := range []*process{s.gateway, s.encoder, s.capture} {
		without(p, "killed", recoversWithin, kill, (*natsServer).start)
	}
	freeze := func(n *natsServer) { n.signal(syscall.SIGSTOP) }
	thaw := func(n *natsServer) { n.signal(syscall.SIGCONT) }
	without(s.encoder, "frozen", noticedWithin, freeze, thaw)
	stayConnected(t, ws)
}
