package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"image/jpeg"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/framebus/framebus/services/client/record"
	"github.com/framebus/framebus/services/standalone/internal/cli"
	"github.com/framebus/framebus/services/standalone/internal/doctor"
	"github.com/framebus/framebus/services/standalone/internal/load"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

const (
	// patience is how long a loaded machine may take for anything.
	patience = 60 * time.Second
	look     = 20 * time.Millisecond
	// asProgram in the environment makes this test's program the command line itself.
	asProgram = "CLI_TEST_IS_FRAMEBUS=1"
)

func TestMain(m *testing.M) {
	if name, value, _ := strings.Cut(asProgram, "="); os.Getenv(name) == value {
		os.Exit(cli.Main(os.Args[1:], nil))
	}
	goleak.VerifyTestMain(m)
}

// command is framebus with its arguments; its settings come from them alone.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{asProgram}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "FRAMEBUS_") && !strings.HasPrefix(kv, "OTEL_") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	return cmd
}

// run runs it to its end.
func run(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	cmd := command(t, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Start())
	limit := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer limit.Stop()
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil {
		require.ErrorAs(t, err, &exit)
		code = exit.ExitCode()
	}
	return code, stdout.String(), stderr.String()
}

// up runs everything until the test ends and returns the gateway's URL once it shows a stream.
func up(t *testing.T, args ...string) string {
	t.Helper()
	cmd := command(t, append([]string{"up", "--listen", "127.0.0.1:0", "--log-level", "error"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_, _ = io.Copy(io.Discard, out)
		require.NoError(t, cmd.Wait())
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	url := strings.TrimSuffix(strings.TrimSpace(strings.TrimPrefix(line, "viewer:")), "/")
	require.Eventually(t, func() bool {
		list, err := client.Question{URL: url}.Streams(t.Context())
		return err == nil && len(list) > 0 && list[0].State == "live" && len(list[0].Encoders) > 0
	}, patience, look)
	return url
}

func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return "http://" + l.Addr().String()
}

// forbidden is a name in a folder where this user may not write; root may nowhere but in a file system that makes none.
func forbidden(t *testing.T, name string) string {
	t.Helper()
	if os.Geteuid() == 0 {
		return filepath.Join("/sys", name)
	}
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o500))
	return filepath.Join(dir, name)
}

func taken(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte("mine"), 0o600))
	return path
}

// held is a viewer and a publisher that take a gateway's places.
func held(t *testing.T, url, token string) {
	t.Helper()
	open := make(chan struct{}, 2)
	on := func(s client.State) {
		if s.Phase == client.Open {
			open <- struct{}{}
		}
	}
	v, err := client.New(client.Config{URL: url}, client.Deps{OnState: on})
	require.NoError(t, err)
	p, err := client.NewPublisher(client.PublisherConfig{URL: url, Stream: "desk", Token: token},
		client.PublisherDeps{OnState: on})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- v.Run(ctx) }()
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, errors.Join(<-ended, <-ended)) })
	for range 2 {
		select {
		case <-open:
		case <-time.After(patience):
			require.FailNow(t, "the gateway takes nobody")
		}
	}
}

func TestWhatGoesWrongIsALineThatSaysWhatToDo(t *testing.T) {
	const token = "the-right-token"
	url, full, gone := up(t, "--publish-token", token), up(t, "--max-clients", "1", "--max-publishers", "1"), nobody(t)
	held(t, full, "")
	dir := t.TempDir()
	out := filepath.Join(dir, "out.mkv")
	pictures := filepath.Join(dir, "pictures")
	require.NoError(t, os.Mkdir(pictures, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(pictures, "1.jpg"), []byte("a picture"), 0o600))
	for name, c := range map[string]struct {
		args string
		code int
		want string // what is wrong, then what to do
	}{
		"no command":      {"", 2, "expected one of;--help"},
		"unknown command": {"strems", 2, "strems;--help"},
		"unknown flag":    {"streams --jsn " + url, 2, "--jsn;--help"},
		"unknown shell":   {"completion csh", 2, "csh;--help"},

		"streams, no URL":      {"streams ftp://x", 2, "scheme;want http"},
		"streams, nobody":      {"streams " + gone, 1, "refused;framebus doctor"},
		"snapshot, no URL":     {"snapshot ftp://x", 2, "scheme;want http"},
		"snapshot, nobody":     {"snapshot " + gone, 1, "refused;framebus doctor"},
		"snapshot, no stream":  {"snapshot --stream nobody " + url, 1, `no stream "nobody";framebus streams`},
		"snapshot, forbidden":  {"snapshot " + url + " -o " + forbidden(t, "now.jpg"), 1, "denied;where you may write"},
		"snapshot, no folder":  {"snapshot " + url + " -o no/now.jpg", 1, "no such file;make its folder"},
		"snapshot, file there": {"snapshot " + url + " -o " + taken(t, "now.jpg"), 1, "exists;--force"},

		"record, no URL":      {"record ftp://x -o " + out, 2, "scheme;want http"},
		"record, no name":     {"record " + url + " --stream A! -o " + out, 2, `"A!";want a-z`},
		"record, nobody":      {"record " + gone + " --attempts 1 -o " + out, 1, "refused;framebus doctor"},
		"record, no stream":   {"record " + url + " --stream nobody --attempts 1 -o " + out, 1, `"nobody";framebus streams`},
		"record, full":        {"record " + full + " --attempts 1 -o " + out, 1, "full;FRAMEBUS_MAX_CLIENTS"},
		"record, forbidden":   {"record " + url + " -o " + forbidden(t, "out.mkv"), 1, "denied;where you may write"},
		"record, no folder":   {"record " + url + " -o no/out.mkv", 1, "no such file;make its folder"},
		"record, file there":  {"record " + url + " -o " + taken(t, "out.mkv"), 1, "exists;--force"},
		"record, what format": {"record " + url + " -o out.avi", 2, "out.avi;.mkv or .mjpeg"},
		"record, no file":     {"record " + url, 2, "--out;--help"},

		"publish, no URL":     {"publish pattern: ftp://x --stream desk", 2, "scheme;want http"},
		"publish, no source":  {"publish no/such/thing " + url, 2, "no/such/thing;a folder of JPEGs, a file"},
		"publish, no picture": {"publish " + dir + " " + url, 2, "no .jpg or .jpeg;in " + dir},
		"publish, nobody":     {"publish " + pictures + " " + gone + " --attempts 1", 1, "refused;framebus doctor"},
		"publish, full":       {"publish " + pictures + " " + full + " --attempts 1", 1, "full;FRAMEBUS_MAX_PUBLISHERS"},
		"publish, no token":   {"publish " + pictures + " " + url, 1, "token;--token"},
		"publish, which token": {"publish " + pictures + " " + url + " --token wrong-one", 1,
			"right token;--token"},
		"publish, name taken": {"publish " + pictures + " " + url + " --stream cam0 --attempts 1 --token " + token, 1,
			"there already;another name"},

		"bench, no URL":      {"bench ftp://x", 2, "scheme;want http"},
		"bench, no viewers":  {"bench --clients 0 " + url, 2, "clients;want 1"},
		"bench, what mode":   {"bench --mode fast " + url, 2, "mode;--help"},
		"bench, nobody":      {"bench " + gone, 1, "refused;framebus doctor"},
		"bench, no stream":   {"bench --clients 1 --stream nobody " + url, 1, `"nobody";framebus streams`},
		"bench, full":        {"bench --clients 1 " + full, 1, "full;FRAMEBUS_MAX_CLIENTS"},
		"doctor, no URL":     {"doctor ftp://x", 2, "scheme;want http"},
		"up, no source":      {"up --sources x", 2, "sources;want NAME=URL"},
		"up, port not free":  {"up --log-level error --listen " + strings.TrimPrefix(url, "http://"), 1, "in use;--listen"},
		"up, what log level": {"up --log-level loud", 2, "loud;want"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := run(t, strings.Fields(c.args)...)
			require.Equal(t, c.code, code, stderr)
			lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
			last := lines[len(lines)-1]
			require.Regexp(t, "^framebus: ", last)
			for _, log := range lines[:len(lines)-1] { // of attempts
				require.Regexp(t, `^time=\S+ level=`, log)
			}
			wrong, remedy, _ := strings.Cut(c.want, ";")
			require.Contains(t, last, wrong)
			require.Contains(t, last, remedy)
			require.NotContains(t, stderr+stdout, "wrong-one", "no secret is told")
			if !strings.HasPrefix(name, "publish") { // which tells what it sent
				require.Empty(t, stdout)
			}
			require.NoFileExists(t, out, "what holds no picture is not left")
		})
	}

	t.Run("doctor, nobody", func(t *testing.T) {
		code, stdout, stderr := run(t, "doctor", gone, "--listen", "127.0.0.1:0")
		require.Equal(t, 1, code)
		require.Contains(t, stdout, "→ is the gateway running")
		require.Equal(t, "framebus: not all is well; the hints say what to do\n", stderr)
	})
	t.Run("a file that is there is replaced by force only", func(t *testing.T) {
		path := taken(t, "now.jpg")
		code, _, _ := run(t, "snapshot", url, "-o", path)
		require.Equal(t, 1, code)
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, "mine", string(b))
		code, stdout, _ := run(t, "snapshot", url, "-o", path, "--force")
		require.Zero(t, code)
		require.Equal(t, path+"\n", stdout)
		b, err = os.ReadFile(path)
		require.NoError(t, err)
		_, err = jpeg.Decode(bytes.NewReader(b))
		require.NoError(t, err)
	})
}

// only decodes what must be one JSON value and nothing else.
func only(t *testing.T, text string, into any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	require.NoError(t, d.Decode(into), text)
	_, err := d.Token()
	require.ErrorIs(t, err, io.EOF, "something stands behind it")
}

func TestWithJSONNothingElseIsPrinted(t *testing.T) {
	url := up(t, "--max-clients", "2")
	out := filepath.Join(t.TempDir(), "out.mkv")

	t.Run("streams", func(t *testing.T) {
		var list []client.StreamInfo
		code, stdout, stderr := run(t, "streams", "--json", url)
		require.Zero(t, code, stderr)
		only(t, stdout, &list)
		require.Equal(t, []string{"cam0", "live"}, []string{list[0].Name, list[0].State})
		require.Empty(t, stderr)
	})
	t.Run("doctor", func(t *testing.T) {
		var all []doctor.Finding
		code, stdout, stderr := run(t, "doctor", "--json", url)
		require.Zero(t, code, stdout)
		only(t, stdout, &all)
		require.NotEmpty(t, all)
		require.Empty(t, stderr)
		code, stdout, _ = run(t, "doctor", "--json", nobody(t), "--listen", "127.0.0.1:0")
		require.Equal(t, 1, code)
		only(t, stdout, &all)
	})
	t.Run("record", func(t *testing.T) {
		var r record.Report
		code, stdout, stderr := run(t, "record", "--json", url, "-o", out, "--duration", "1s")
		require.Zero(t, code, stderr)
		only(t, stdout, &r)
		require.Equal(t, out, r.File)
		require.Positive(t, r.Frames)
		require.FileExists(t, out)
		code, stdout, _ = run(t, "record", "--json", nobody(t), "-o", out, "--force", "--attempts", "1")
		require.Equal(t, 1, code)
		only(t, stdout, &r)
		require.Zero(t, r.Frames)
	})
	t.Run("bench", func(t *testing.T) {
		var r load.Report
		code, stdout, stderr := run(t, "bench", "--json", url, "--clients", "2", "--duration", "1s")
		require.Zero(t, code, stderr)
		only(t, stdout, &r)
		require.Equal(t, 2, r.Seeing)
		require.Empty(t, stderr)
		code, stdout, stderr = run(t, "bench", "--json", url, "--clients", "3", "--duration", "1s")
		require.Equal(t, 1, code)
		only(t, stdout, &r)
		require.Equal(t, 2, r.Seeing)
		require.Contains(t, stderr, "1 of 3 viewers saw nothing")
	})
	t.Run("streams of a gateway that has none", func(t *testing.T) {
		var list []client.StreamInfo
		g := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"streams":null}`)
		}))
		defer g.Close()
		code, stdout, _ := run(t, "streams", "--json", g.URL)
		require.Zero(t, code)
		only(t, stdout, &list)
		require.Equal(t, []client.StreamInfo{}, list)
	})
}
