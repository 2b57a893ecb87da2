//go:build compose

package e2e

import (
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/framebus/framebus/services/standalone/internal/sbom"
	"github.com/stretchr/testify/require"
)

// composition is what the tests read of `docker compose config`.
type composition struct {
	Services map[string]struct {
		Image    string
		Profiles []string
		MemLimit string `json:"mem_limit"`
		Ports    []struct {
			HostIP    string `json:"host_ip"`
			Published string
		}
		DependsOn map[string]any `json:"depends_on"`
		Devices   []any
	}
}

// configuration is what docker compose makes of some files, with nothing set.
func configuration(t *testing.T, files ...string) composition {
	t.Helper()
	args := []string{"compose", "--env-file", "/dev/null", "--profile", "*"}
	for _, file := range files {
		args = append(args, "-f", project(t, file))
	}
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return strings.HasPrefix(name, "FRAMEBUS_") || strings.HasSuffix(name, "_IMAGE") || strings.HasSuffix(name, "_PORT")
	})
	var c composition
	require.NoError(t, json.Unmarshal([]byte(command(t, env, append(args, "config", "--format", "json")...)), &c))
	return c
}

func TestEveryComposeFileParses(t *testing.T) {
	const base = "docker-compose.yml"
	plain := configuration(t, base)
	for _, observer := range observers {
		for name, s := range plain.Services {
			require.NotContains(t, s.DependsOn, observer, "%s must do without", name)
		}
	}
	require.Equal(t, []string{"dashboards"}, plain.Services["grafana"].Profiles)
	for name, s := range plain.Services {
		for _, p := range s.Ports {
			if name == "gateway" {
				require.Equal(t, "8002", p.Published)
				continue
			}
			require.Equal(t, "127.0.0.1", p.HostIP, "%s is published beyond this machine", name)
		}
	}
	files, err := filepath.Glob(project(t, "deploy/compose.*.yml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		c := configuration(t, base, filepath.Join("deploy", filepath.Base(file)))
		require.Subset(t, keys(c.Services), keys(plain.Services), file)
	}
	require.Len(t, configuration(t, base, "deploy/compose.camera.yml").Services["capture"].Devices, 1)
	several := configuration(t, base, "deploy/compose.gateways.yml")
	require.Empty(t, several.Services["gateway"].Ports, "several gateways cannot have one port")
	require.Equal(t, "8002", several.Services["balancer"].Ports[0].Published)
}

func keys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	return out
}

var (
	// A variable of a compose file with its default, and a line of .env.example.
	variable = regexp.MustCompile(`\$\{([A-Z][A-Z0-9_]*):?-((?:[^{}]|\{[^{}]*\})*)\}`)
	setting  = regexp.MustCompile(`(?m)^([A-Z][A-Z0-9_]*)=(.*)$`)
)

func TestTheExampleOfSettingsListsAllOfThem(t *testing.T) {
	text, err := os.ReadFile(project(t, ".env.example"))
	require.NoError(t, err)
	listed := map[string]string{}
	for _, m := range setting.FindAllStringSubmatch(string(text), -1) {
		listed[m[1]] = m[2]
	}
	files, err := filepath.Glob(project(t, "deploy/compose.*.yml"))
	require.NoError(t, err)
	base := project(t, "docker-compose.yml")
	used := map[string]bool{}
	for _, file := range append(files, base) {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range variable.FindAllStringSubmatch(string(b), -1) {
			require.Contains(t, listed, m[1], "%s takes it, .env.example does not list it", file)
			if file == base {
				require.Equal(t, m[2], listed[m[1]], "the default of %s", m[1])
			}
			used[m[1]] = true
		}
	}
	for name := range listed {
		require.Contains(t, used, name, ".env.example lists what no compose file takes")
	}
}

func TestTheThirdPartiesInTheImagesAreNamed(t *testing.T) {
	text, err := os.ReadFile(project(t, "THIRD_PARTY.md"))
	require.NoError(t, err)
	version := cmp.Or(os.Getenv("FRAMEBUS_VERSION"), "dev")
	for _, service := range ownServices {
		id := docker(t, "create", "framebus/"+service+":"+version)
		t.Cleanup(func() { docker(t, "rm", id) })
		export := exec.Command("docker", "export", id)
		files, err := export.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, export.Start())
		list, err := sbom.Read(files)
		require.NoError(t, err)
		require.NoError(t, export.Wait())
		require.NotEmpty(t, list)
		_, table, found := strings.Cut(string(text), "\n## "+service+"\n")
		require.True(t, found, service)
		table, _, _ = strings.Cut(table, "\n## ")
		for _, c := range list {
			require.Contains(t, table, "| "+c.Name+" | ", "%s: not in THIRD_PARTY.md; see there", service)
		}
	}
}
