package service

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/natsd"
	"github.com/framebus/framebus/services/internal/shm"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

func TestEveryWrongSettingIsNamedAtOnce(t *testing.T) {
	c := Common{Instance: "Not Valid", LogLevel: "loud", LogFormat: "xml", AdminListen: "nowhere", NATSCA: "/none"}
	err := c.Validate()
	for _, want := range []string{"instance", "log level", "log format", "admin listen", "nats ca"} {
		require.ErrorContains(t, err, want)
	}
}

func TestASecretComesFromItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(path, []byte("geheim\n"), 0o600))
	env := map[string]string{"FRAMEBUS_NATS_PASSWORD_FILE": path}
	var cli Common
	parser, err := kong.New(&cli, kong.Resolvers(secretFiles(func(k string) string { return env[k] })))
	require.NoError(t, err)
	_, err = parser.Parse(nil)
	require.NoError(t, err)
	require.Equal(t, "geheim", cli.NATSPassword)

	env["FRAMEBUS_NATS_PASSWORD_FILE"] = path + ".missing"
	_, err = parser.Parse(nil)
	require.ErrorContains(t, err, "FRAMEBUS_NATS_PASSWORD_FILE")
}

func TestInstanceNamesAreValidAndNew(t *testing.T) {
	a, b := randomInstance(), randomInstance()
	require.NotEqual(t, a, b)
	require.True(t, subject.ValidName(a), a)
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

func get(url string) (int, string) {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := c.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

func TestAdminTellsAliveReadyAndMetrics(t *testing.T) {
	natsAddr, admin := freePort(t), freePort(t)
	e, err := Open(context.Background(), "encoder", Common{
		NATSURL: "nats://" + natsAddr, LogLevel: "error", LogFormat: "json", AdminListen: admin,
	}, Place{LogTo: io.Discard})
	require.NoError(t, err)
	defer e.Close()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	drained := make(chan struct{})
	go func() {
		ended <- e.Run(ctx, func(ctx context.Context, d Deps) error {
			<-ctx.Done()
			d.Roster.Drain()
			<-drained
			return nil
		})
	}()
	require.Eventually(t, func() bool { code, _ := get("http://" + admin + "/healthz"); return code == 200 },
		patience, 10*time.Millisecond)
	code, body := get("http://" + admin + "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Contains(t, body, "the bus is not connected")
	s, err := natsd.Start(natsd.Config{Listen: natsAddr})
	require.NoError(t, err)
	defer s.Close()
	require.Eventually(t, func() bool { code, _ := get("http://" + admin + "/readyz"); return code == 200 },
		patience, 10*time.Millisecond)
	_, body = get("http://" + admin + "/metrics")
	require.Contains(t, body, "framebus_bus_connects")
	code, _ = get("http://" + admin + "/debug/pprof/goroutine?debug=1")
	require.Equal(t, 200, code)
	cancel()
	require.Eventually(t, func() bool {
		code, body = get("http://" + admin + "/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "draining")
	}, patience, 10*time.Millisecond, "it does not say that it drains: %d %s", code, body)
	code, _ = get("http://" + admin + "/healthz")
	require.Equal(t, 200, code, "whoever drains is alive")
	close(drained)
	require.NoError(t, <-ended)
}

func TestWhichFramesAreTraced(t *testing.T) {
	require.Nil(t, Deps{}.Sampler())
	now := time.Unix(1000, 0)
	all := Deps{Tracing: true, SampleAll: true}.Sampler()
	require.True(t, all(now))
	require.True(t, all(now))
	some := Deps{Tracing: true}.Sampler()
	n := 0
	for i := range 300 {
		if some(now.Add(time.Duration(i) * time.Second / 30)) {
			n++
		}
	}
	require.Equal(t, 10, n)
}

func TestWhereThereIsNoSharedMemoryTheServiceStartsAndSaysItOnce(t *testing.T) {
	occupied := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(occupied, nil, 0o600))
	said := func(s shm.Settings) (*shm.Folder, string) {
		var log strings.Builder
		e, err := Open(context.Background(), "encoder", Common{
			NATSURL: "nats://" + freePort(t), LogLevel: "warn", LogFormat: "text", Shm: s,
		}, Place{LogTo: &log})
		require.NoError(t, err)
		e.Close()
		var about []string
		for line := range strings.Lines(log.String()) {
			if strings.Contains(line, "FRAMEBUS_SHM") {
				about = append(about, line)
			}
		}
		return e.Deps.Shm, strings.Join(about, "")
	}
	for name, s := range map[string]shm.Settings{
		"a file in its place": {Folder: occupied},
		"no folder above it":  {Folder: filepath.Join(occupied, "below")},
		"an unknown group":    {Folder: t.TempDir(), Group: "nobody knows"},
	} {
		t.Run(name, func(t *testing.T) {
			folder, lines := said(s)
			require.Nil(t, folder)
			require.Equal(t, 1, strings.Count(lines, "\n"), lines)
			require.Contains(t, lines, "inline")
		})
	}
	folder, lines := said(shm.Settings{Folder: shm.Off})
	require.Nil(t, folder)
	require.Empty(t, lines, "it was switched off by whoever reads the log")
	folder, lines = said(shm.Settings{Folder: filepath.Join(t.TempDir(), "frames")})
	require.NotNil(t, folder)
	require.Empty(t, lines)
}

func TestTheServicesOfAProcessShareOneFolder(t *testing.T) {
	folder, err := shm.Open(shm.Settings{Folder: t.TempDir()})
	require.NoError(t, err)
	e, err := Open(context.Background(), "encoder", Common{
		NATSURL: "nats://" + freePort(t), LogLevel: "error", LogFormat: "text", Shm: shm.Settings{Folder: shm.Off},
	}, Place{LogTo: io.Discard, Shm: folder})
	require.NoError(t, err)
	defer e.Close()
	require.Same(t, folder, e.Deps.Shm)
}

func TestSharedMemoryIsSetByFlagAndEnvironment(t *testing.T) {
	t.Setenv("FRAMEBUS_SHM_GROUP", "video")
	var cli Common
	parser, err := kong.New(&cli)
	require.NoError(t, err)
	_, err = parser.Parse([]string{"--shm", "off"})
	require.NoError(t, err)
	require.Equal(t, shm.Settings{Folder: "off", Group: "video"}, cli.Shm)
}
