//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// cause is where something shows, as docs/operations.md has it under "When it stutters": rows of what to look at, the
// last of which names the test that causes it.
type cause struct {
	metrics, ledger []sign
	spans           []spanSign
	tests           []string
}

// spanSign is a span, by the beginning of its name, that has an attribute.
type spanSign struct{ what, name, key, value string }

var (
	codeText = regexp.MustCompile("`([^`]+)`")
	spanText = regexp.MustCompile("`([^`]+)` with `([a-z_.]+)=([a-z_]+)`")
)

func causes(t *testing.T) (out []cause) {
	t.Helper()
	_, section, found := strings.Cut(readFile(t, repository+"/docs/operations.md"), "\n## When it stutters\n")
	require.True(t, found, "docs/operations.md has nothing on stuttering")
	section, _, _ = strings.Cut(section, "\n## ")
	var kind string
	for line := range strings.SplitSeq(section, "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != 3 || strings.HasPrefix(line, "| ---") || strings.HasPrefix(line, "| what") {
			continue
		}
		if strings.TrimSpace(cells[0]) != "" {
			out = append(out, cause{})
		}
		c := &out[len(out)-1]
		if k := strings.TrimSpace(cells[1]); k != "" {
			kind = k
		}
		switch kind {
		case "metric":
			c.metrics = append(c.metrics, signs(t, cells[2])...)
		case "ledger":
			c.ledger = append(c.ledger, signs(t, cells[2])...)
		case "trace":
			for _, m := range spanText.FindAllStringSubmatch(cells[2], -1) {
				c.spans = append(c.spans, spanSign{m[0], m[1], m[2], m[3]})
			}
		case "cause it":
			for _, m := range codeText.FindAllStringSubmatch(cells[2], -1) {
				c.tests = append(c.tests, m[1])
			}
		default:
			require.Fail(t, "a row of what?", kind)
		}
	}
	return out
}

// sign is a number that tells of a cause: it rises, falls, or is so much.
type sign struct {
	what   string
	name   string
	labels map[string]string
	how    string
	is     float64
}

var (
	signText  = regexp.MustCompile("`([a-z_.]+)(?:{([^}]*)})?` (rises|falls|is \\d+)")
	labelText = regexp.MustCompile(`([a-z_]+)="([^"]*)"`)
)

func signs(t *testing.T, cell string) (out []sign) {
	t.Helper()
	for _, m := range signText.FindAllStringSubmatch(cell, -1) {
		s := sign{what: m[0], name: m[1], labels: map[string]string{}, how: m[3]}
		for _, l := range labelText.FindAllStringSubmatch(m[2], -1) {
			s.labels[l[1]] = l[2]
		}
		if n, ok := strings.CutPrefix(m[3], "is "); ok {
			var err error
			s.how = "is"
			s.is, err = strconv.ParseFloat(n, 64)
			require.NoError(t, err)
		}
		out = append(out, s)
	}
	return out
}

// shows tells whether a number that was before says so now.
func (s sign) shows(before, now float64) bool {
	switch s.how {
	case "rises":
		return now > before || math.IsNaN(before) && now > 0
	case "falls":
		return now < before
	default:
		return now == s.is
	}
}

var seriesText = regexp.MustCompile(`(?m)^([a-zA-Z_:][\w:]*)(?:{(.*)})? (\S+)`)

// metric sums up the series of a name that have these labels, over all who tell their metrics; where there is none it
// is no number.
func (s sign) metric(t *testing.T, pages []string) float64 {
	t.Helper()
	sum, some := 0.0, false
series:
	for _, m := range seriesText.FindAllStringSubmatch(strings.Join(pages, "\n"), -1) {
		if m[1] != s.name {
			continue
		}
		labels := map[string]string{}
		for _, l := range labelText.FindAllStringSubmatch(m[2], -1) {
			labels[l[1]] = l[2]
		}
		for name, want := range s.labels {
			if labels[name] != want {
				continue series
			}
		}
		v, err := strconv.ParseFloat(m[3], 64)
		require.NoError(t, err, m[0])
		sum, some = sum+v, true
	}
	if !some {
		return math.NaN()
	}
	return sum
}

// entry sums up a line's entry over all of the ledger: `captured.dropped.too_large` is under that of any epoch.
func (s sign) entry(ledger any) (sum float64) {
	switch at := ledger.(type) {
	case []any:
		for _, part := range at {
			sum += s.entry(part)
		}
	case map[string]any:
		line, rest, _ := strings.Cut(s.name, ".")
		for key, part := range at {
			if key == line {
				sum += amount(part, rest)
			} else {
				sum += s.entry(part)
			}
		}
	}
	return sum
}

func amount(at any, path string) float64 {
	for key := range strings.SplitSeq(path, ".") {
		m, ok := at.(map[string]any)
		if !ok {
			return 0
		}
		at = m[key]
	}
	n, _ := at.(float64)
	return n
}

// has tells whether there is such a span of that time.
func (j jaeger) has(t *testing.T, s spanSign, from time.Time) bool {
	t.Helper()
	tags, err := json.Marshal(map[string]string{s.key: s.value})
	require.NoError(t, err)
	for _, service := range []string{"capture", "encoder", "gateway"} {
		for _, tr := range j.search(t, url.Values{"service": {service}, "tags": {string(tags)}, "limit": {"20"},
			"start": {fmt.Sprint(from.UnixMicro())}, "end": {fmt.Sprint(time.Now().UnixMicro())}}) {
			for _, sp := range tr.Spans {
				if strings.HasPrefix(sp.OperationName, s.name) && sp.tag(s.key) == s.value {
					return true
				}
			}
		}
	}
	return false
}
