//go:build compose

package e2e

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/stretchr/testify/require"
)

var (
	ownServices = []string{"capture", "encoder", "gateway"}
	video       = []string{"capture", "encoder", "gateway", "nats"}
	observers   = []string{"jaeger", "prometheus", "pyroscope"}
)

// TestCompose runs docker-compose.yml as it is, first the video alone, then everything, and breaks one part after the
// other. Each case leaves the system whole for the next.
func TestCompose(t *testing.T) {
	s := newStack(t, nil)
	t.Logf("the video alone is up after %v", s.up("gateway").Round(time.Millisecond))
	require.Equal(t, video, s.running(), "the video needs no more than itself")
	ws := watchers(t, 1, client.Config{URL: s.ws("stream=cam0")})
	ws[0].waitFrames(30)
	ws[0].stop()

	t.Logf("all of it is healthy after %v", s.up().Round(time.Millisecond))
	require.Equal(t, slices.Sorted(slices.Values(slices.Concat(video, observers))), s.running())
	for _, c := range []struct {
		name string
		run  func(*testing.T, *stack)
	}{
		{"containers may do nothing they need not", containersAreConfined},
		{"ten viewers get every frame", tenViewers},
		{"a trace leads through all three services", tracesArrive},
		{"Prometheus scrapes all three services", metricsArrive},
		{"Pyroscope has all three services", profilesArrive},
		{"raw frames go by reference to three encoders", framesGoByReference},
		{"three encoders share the frames, one freezes, one dies", encodersScale},
		{"the bus is restarted", busRestarts},
		{"a gateway is cut off from the bus", gatewayIsCutOff},
		{"the capture is killed", captureDies},
	} {
		s.run(t, c.name, c.run)
	}
}

// running are the services that have a running container.
func (s *stack) running() []string {
	s.t.Helper()
	names := strings.Fields(s.compose("ps", "--services", "--status", "running"))
	slices.Sort(names)
	return slices.Compact(names)
}

// inspected is what docker tells of a container.
type inspected struct {
	Config struct {
		User       string
		StopSignal string
		Labels     map[string]string
	}
	HostConfig struct {
		ReadonlyRootfs, Privileged bool
		CapAdd, CapDrop            []string
		SecurityOpt                []string
		Memory                     int64
		PidMode, IpcMode           string
		RestartPolicy              struct{ Name string }
		LogConfig                  struct{ Config map[string]string }
		PortBindings               map[string][]struct{ HostIP, HostPort string }
		Binds                      []string
	}
	State struct {
		Pid    int
		Health *struct{ Status string }
	}
}

func (s *stack) inspect(id string) inspected {
	s.t.Helper()
	var out []inspected
	require.NoError(s.t, json.Unmarshal([]byte(docker(s.t, "inspect", id)), &out))
	require.Len(s.t, out, 1)
	return out[0]
}

// uid and capabilities of a process, as the kernel has them.
var (
	statusUID  = regexp.MustCompile(`(?m)^Uid:\s+(\d+)\s+(\d+)`)
	statusCaps = regexp.MustCompile(`(?m)^Cap(?:Prm|Eff|Bnd):\s+([0-9a-f]+)`)
	statusNNP  = regexp.MustCompile(`(?m)^NoNewPrivs:\s+1`)
)

func containersAreConfined(t *testing.T, s *stack) {
	for _, service := range s.running() {
		c := s.inspect(s.container(service))
		require.NotContains(t, []string{"", "0", "root"}, strings.Split(c.Config.User, ":")[0], service)
		require.True(t, c.HostConfig.ReadonlyRootfs, service)
		require.False(t, c.HostConfig.Privileged, service)
		require.Empty(t, c.HostConfig.CapAdd, service)
		require.Equal(t, []string{"ALL"}, c.HostConfig.CapDrop, service)
		require.Contains(t, c.HostConfig.SecurityOpt, "no-new-privileges:true", service)
		require.NotZero(t, c.HostConfig.Memory, "%s has no memory limit", service)
		require.Equal(t, map[string]string{"max-size": "10m", "max-file": "3"}, c.HostConfig.LogConfig.Config, service)
		require.Equal(t, "unless-stopped", c.HostConfig.RestartPolicy.Name, service)
		for _, bind := range c.HostConfig.Binds {
			frames := service != "encoder" && bind == s.name+"_frames:/shm:rw" // in memory, and with an end
			require.True(t, frames || strings.HasSuffix(bind, ":ro"), "%s may write to %s", service, bind)
		}
		for port, bindings := range c.HostConfig.PortBindings {
			for _, b := range bindings {
				require.Equal(t, "127.0.0.1", b.HostIP, "%s publishes %s", service, port)
			}
		}
		if slices.Contains(ownServices, service) {
			require.NotNil(t, c.State.Health, service)
			require.Equal(t, "SIGTERM", c.Config.StopSignal, service)
			require.Contains(t, c.Config.Labels, "org.opencontainers.image.licenses", service)
		}
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.State.Pid))
		require.NoError(t, err)
		status := string(b)
		require.NotContains(t, statusUID.FindStringSubmatch(status)[1:], "0", "%s runs as root", service)
		for _, m := range statusCaps.FindAllStringSubmatch(status, -1) {
			require.Empty(t, strings.Trim(m[1], "0"), "%s has capabilities", service)
		}
		require.Regexp(t, statusNNP, status, service)
	}
}

func tenViewers(t *testing.T, s *stack) {
	ws := watchers(t, 10, client.Config{URL: s.ws("stream=cam0")})
	steadily(t, func() string {
		slowest, oldest := 1e9, time.Duration(0)
		for _, acc := range during(ws, 5*time.Second) {
			slowest, oldest = min(slowest, acc.fps), max(oldest, acc.p95)
		}
		t.Logf("the slowest of ten: %.2f fps; age p95 at most %v", slowest, oldest.Round(time.Millisecond))
		if slowest < fullRate {
			return fmt.Sprintf("a viewer gets %.2f frames a second", slowest)
		}
		return ""
	})
	stayConnected(t, ws)
}

func tracesArrive(t *testing.T, s *stack) {
	watchers(t, 1, client.Config{URL: s.ws("stream=cam0")})
	var answer struct {
		Data []struct {
			TraceID   string
			Processes map[string]struct{ ServiceName string }
		}
	}
	require.Eventually(t, func() bool {
		if !readJSON(t, "http://"+s.jaeger+"/api/traces?service=gateway&limit=20", &answer) {
			return false
		}
		for _, trace := range answer.Data {
			var names []string
			for _, p := range trace.Processes {
				names = append(names, p.ServiceName)
			}
			slices.Sort(names)
			if slices.Equal(slices.Compact(names), ownServices) {
				return true
			}
		}
		return false
	}, patience, 500*time.Millisecond, "no trace has spans of capture, encoder and gateway: %+v", answer)
}

func metricsArrive(t *testing.T, s *stack) {
	require.Eventually(t, func() bool {
		var answer struct {
			Data struct {
				Result []struct{ Metric struct{ Service string } }
			}
		}
		query := url.QueryEscape(`count by (service) (target_info * on (instance) group_left up == 1)`)
		if !readJSON(t, "http://"+s.prometheus+"/api/v1/query?query="+query, &answer) {
			return false
		}
		var names []string
		for _, r := range answer.Data.Result {
			names = append(names, r.Metric.Service)
		}
		slices.Sort(names)
		return slices.Equal(names, ownServices)
	}, patience, 500*time.Millisecond, "Prometheus does not scrape all of capture, encoder and gateway")
	var targets struct {
		Data struct {
			ActiveTargets []struct{ ScrapeURL, Health, LastError string }
		}
	}
	require.True(t, readJSON(t, "http://"+s.prometheus+"/api/v1/targets", &targets))
	for _, target := range targets.Data.ActiveTargets {
		require.Equal(t, "up", target.Health, "%s: %s", target.ScrapeURL, target.LastError)
	}
}

func profilesArrive(t *testing.T, s *stack) {
	missing := slices.Clone(ownServices)
	require.Eventually(t, func() bool {
		missing = slices.DeleteFunc(missing, func(service string) bool {
			var answer struct {
				Flamebearer struct{ NumTicks int64 }
			}
			query := url.QueryEscape(fmt.Sprintf(`process_cpu:cpu:nanoseconds:cpu:nanoseconds{service_name=%q}`, service))
			return readJSON(t, "http://"+s.pyroscope+"/pyroscope/render?from=now-1h&until=now&query="+query, &answer) &&
				answer.Flamebearer.NumTicks > 0
		})
		return len(missing) == 0
	}, 4*patience, time.Second, "Pyroscope has no profile of %v", missing)
}
