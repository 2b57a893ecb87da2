//go:build e2e

package e2e

import (
	"encoding/json"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// question is a PromQL expression and where it stands.
type question struct{ where, expr string }

// dashboard is what of Grafana's JSON asks somebody something.
type dashboard struct {
	UID, Title string
	Panels     []panel
	Templating struct {
		List []struct {
			Name       string
			Definition string
		}
	}
}

type panel struct {
	Title   string
	Type    string
	Targets []target
}

// target is what a panel asks of one source.
type target struct {
	RefID      string
	Datasource struct{ Type, UID string }
	Expr       string
	// Of Jaeger: Tags are NAME="VALUE".
	Service, Operation, Tags string
	// Of Pyroscope.
	ProfileTypeID, LabelSelector string
}

func dashboards(t *testing.T) []dashboard {
	t.Helper()
	files, err := filepath.Glob(deployed(t, "grafana/dashboards/*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	out := make([]dashboard, len(files))
	for i, f := range files {
		require.NoError(t, json.Unmarshal([]byte(readFile(t, f)), &out[i]), f)
	}
	return out
}

// variables are what a dashboard of the one stream of these tests puts in.
var variables = strings.NewReplacer("$stream", "cam0", "$__rate_interval", "20s")

// panelQuestions are all that the dashboards ask Prometheus.
func panelQuestions(t *testing.T) (out []question) {
	t.Helper()
	for _, d := range dashboards(t) {
		for _, p := range d.Panels {
			if p.Type == "row" {
				continue
			}
			require.NotEmpty(t, p.Targets, "%s: %s asks nothing", d.Title, p.Title)
			for _, target := range p.Targets {
				if target.Datasource.Type != "prometheus" {
					continue
				}
				expr := variables.Replace(target.Expr)
				require.NotContains(t, expr, "$", "a variable that these tests do not know")
				out = append(out, question{d.Title + ": " + p.Title + " " + target.RefID, expr})
			}
		}
	}
	return out
}

// datasource is one that Grafana is given.
type datasource struct {
	Name, UID, Type, URL string
	JSONData             struct {
		ExemplarTraceIDDestinations []struct {
			Name          string
			DatasourceUID string `yaml:"datasourceUid"`
		} `yaml:"exemplarTraceIdDestinations"`
		TracesToProfiles struct {
			DatasourceUID string `yaml:"datasourceUid"`
			ProfileTypeID string `yaml:"profileTypeId"`
		} `yaml:"tracesToProfiles"`
	} `yaml:"jsonData"`
}

func datasources(t *testing.T) map[string]datasource {
	t.Helper()
	var conf struct{ Datasources []datasource }
	path := deployed(t, "grafana/provisioning/datasources/framebus.yaml")
	require.NoError(t, yaml.Unmarshal([]byte(readFile(t, path)), &conf))
	out := map[string]datasource{}
	for _, d := range conf.Datasources {
		out[d.UID] = d
	}
	return out
}

// What Grafana is given fits together: panels ask sources that there are, and links lead from one to another.
func TestGrafanasFilesFitTogether(t *testing.T) {
	t.Parallel()
	sources := datasources(t)
	seen := map[string]bool{}
	for _, d := range dashboards(t) {
		require.NotEmpty(t, d.UID)
		require.False(t, seen[d.UID], "two dashboards are called %s", d.UID)
		seen[d.UID] = true
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				source := target.Datasource
				require.Equal(t, source.Type, sources[source.UID].Type, "%s: %s asks %s", d.Title, p.Title, source.UID)
			}
		}
	}
	for _, link := range sources["prometheus"].JSONData.ExemplarTraceIDDestinations {
		require.Equal(t, "trace_id", link.Name, "the label of the exemplars")
		require.Equal(t, "jaeger", sources[link.DatasourceUID].Type)
	}
	profiles := sources["jaeger"].JSONData.TracesToProfiles
	require.Equal(t, "grafana-pyroscope-datasource", sources[profiles.DatasourceUID].Type)
	require.Equal(t, cpuProfile, profiles.ProfileTypeID)

	var providers struct {
		Providers []struct{ Options struct{ Path string } }
	}
	path := deployed(t, "grafana/provisioning/dashboards/framebus.yaml")
	require.NoError(t, yaml.Unmarshal([]byte(readFile(t, path)), &providers))
	require.Len(t, providers.Providers, 1)
	compose := readFile(t, repository+"/docker-compose.yml")
	require.Contains(t, compose, "./deploy/grafana/dashboards:"+providers.Providers[0].Options.Path)
	require.Contains(t, compose, "./deploy/grafana/provisioning:")
	for _, s := range sources {
		at, err := url.Parse(s.URL)
		require.NoError(t, err)
		require.Contains(t, compose, "\n  "+at.Hostname()+":\n", "%s is at %s, and no such service in docker-compose.yml",
			s.Name, s.URL)
	}
}

// panelsAt are all that the dashboards ask a source.
func panelsAt(t *testing.T, uid string) (out []target) {
	t.Helper()
	for _, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				if target.Datasource.UID == uid {
					out = append(out, target)
				}
			}
		}
	}
	require.NotEmpty(t, out)
	return out
}

var labelValues = regexp.MustCompile(`^label_values\(([a-z_]+), ([a-z_]+)\)$`)

// compare is a comparison with a number, or an operator between sets, at the top of an expression.
var compare = regexp.MustCompile(`^(?:(?:==|!=|>=|<=|>|<) *[0-9.]+|(?:and|or|unless)\b(?: on \([a-z_, ]*\))?)`)

// operands are the parts of a rule's expression that must return data while nothing is wrong: it without the
// comparisons that make it silent, at the top of the expression.
func operands(expr string) (out []string) {
	var part strings.Builder
	depth, quoted := 0, false
	flush := func() {
		if s := strings.TrimSpace(part.String()); s != "" {
			out = append(out, s)
		}
		part.Reset()
	}
	for i := 0; i < len(expr); i++ {
		switch c := expr[i]; {
		case c == '"':
			quoted = !quoted
		case quoted:
		case strings.IndexByte("({[", c) >= 0:
			depth++
		case strings.IndexByte(")}]", c) >= 0:
			depth--
		case depth == 0 && (i == 0 || strings.IndexByte(" \n)", expr[i-1]) >= 0):
			if m := compare.FindString(expr[i:]); m != "" {
				flush()
				i += len(m) - 1
				continue
			}
		}
		part.WriteByte(expr[i])
	}
	flush()
	return out
}

// rule is an alert as Prometheus has loaded it.
type rule struct{ Name, Query, Health, LastError, State string }

func (p *prometheus) rules() (out []rule) {
	p.t.Helper()
	var data struct {
		Groups []struct{ Rules []rule }
	}
	p.ask("rules", nil, &data)
	for _, g := range data.Groups {
		out = append(out, g.Rules...)
	}
	require.NotEmpty(p.t, out)
	return out
}

var metricName = regexp.MustCompile(`\b(?:framebus|go)_[a-z_]+\b`)

// metricsOf are the names of metrics in some text.
func metricsOf(texts ...string) []string {
	var out []string
	for _, s := range texts {
		out = append(out, metricName.FindAllString(s, -1)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// names are all metrics that Prometheus has.
func (p *prometheus) names() []string {
	p.t.Helper()
	var data []string
	p.ask("label/__name__/values", nil, &data)
	return data
}

// values are those of a label of a metric.
func (p *prometheus) values(metric, label string) []string {
	p.t.Helper()
	var data []string
	p.ask("label/"+label+"/values", url.Values{"match[]": {metric}}, &data)
	return data
}
