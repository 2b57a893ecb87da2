package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/framebus/framebus/services/internal/telemetry/logtest"
	"github.com/stretchr/testify/require"
)

// shell is one as somebody types to it, with framebus on its path.
func shell(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") == "" {
		t.Skipf("no %s here: apt-get install %s", name, name)
	}
	require.NoError(t, err)
	like := command(t)
	dir := t.TempDir()
	require.NoError(t, os.Symlink(like.Path, filepath.Join(dir, "framebus")))
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	cmd.Env = append(like.Env, "PATH="+dir+":"+os.Getenv("PATH"), "TERM=dumb", "HOME="+dir, "PS1=ready> ")
	return cmd
}

func TestAShellCompletesCommandsAndFlags(t *testing.T) {
	for name, c := range map[string]struct {
		args  []string
		setUp string
	}{
		"bash": {[]string{"--norc", "--noprofile", "-i"}, "source <(framebus completion bash)"},
		"zsh": {[]string{"-f", "-i"},
			"autoload -U compinit && compinit -D && source <(framebus completion zsh)"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := shell(t, name, c.args...)
			terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 200})
			require.NoError(t, err)
			var out logtest.Buffer
			read := make(chan struct{})
			go func() {
				defer close(read)
				b := make([]byte, 4096)
				for {
					n, err := terminal.Read(b)
					_, _ = out.Write(b[:n])
					if err != nil { // the shell has ended
						return
					}
				}
			}()
			defer func() {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				terminal.Close()
				<-read
				if t.Failed() {
					t.Logf("%q", out.String())
				}
			}()
			typed := func(keys, shown string) {
				t.Helper()
				_, err := terminal.WriteString(keys)
				require.NoError(t, err)
				require.Eventually(t, func() bool { return strings.Contains(out.String(), shown) }, patience, look, "%q", shown)
			}
			typed("", "ready> ")
			typed(c.setUp+" && echo 'set' 'up'\n", "set up")
			typed("framebus str\t", "framebus streams ")
			typed("--js\t", "--json ")
			typed("\x15framebus completion fi\t", "framebus completion fish ")
			typed("\x15framebus record --ru\thal\t", "half ")
		})
	}
	t.Run("fish", func(t *testing.T) {
		for line, want := range map[string]string{
			"framebus str":                 "streams",
			"framebus streams --js":        "--json",
			"framebus record --rung h":     "half",
			"framebus completion z":        "zsh",
			"framebus record --duration 1": "",
		} {
			cmd := shell(t, "fish", "--no-config", "--command",
				"framebus completion fish | source; complete --do-complete '"+line+"'")
			cmd.WaitDelay = time.Second
			out, err := cmd.Output()
			require.NoError(t, err)
			require.Equal(t, want, strings.TrimSpace(string(out)), line)
		}
	})
	t.Run("it asks nobody", func(t *testing.T) {
		cmd := command(t, "streams")
		cmd.Env = append(cmd.Env, "COMP_LINE=framebus s")
		out, err := cmd.Output()
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"streams", "snapshot"}, strings.Fields(string(out)))
	})
}
