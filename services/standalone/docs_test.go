package standalone_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const repository = "../.."

var (
	docTest   = regexp.MustCompile("`(Test[A-Z]\\w*)((?:/[^`]*)?)`")
	docTarget = regexp.MustCompile("`make ([a-z][a-z0-9-]*)")
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

// What the documents send their readers to is there: a test that somebody renames takes its mention along.
func TestTestsAndTargetsNamedInTheDocumentsExist(t *testing.T) {
	var tests strings.Builder
	require.NoError(t, filepath.WalkDir(repository, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			tests.WriteString(read(t, path))
		}
		return err
	}))
	makefile := read(t, filepath.Join(repository, "Makefile"))
	docs, err := filepath.Glob(filepath.Join(repository, "docs", "*.md"))
	require.NoError(t, err)
	adrs, err := filepath.Glob(filepath.Join(repository, "docs", "adr", "*.md"))
	require.NoError(t, err)
	for _, doc := range slices.Concat(docs, adrs, []string{filepath.Join(repository, "README.md")}) {
		text := read(t, doc)
		for _, m := range docTest.FindAllStringSubmatch(text, -1) {
			require.Contains(t, tests.String(), "func "+m[1]+"(t ", "%s names %s", doc, m[0])
			if sub := strings.TrimPrefix(m[2], "/"); sub != "" {
				require.Contains(t, tests.String(), `"`+sub+`"`, "%s names %s", doc, m[0])
			}
		}
		for _, m := range docTarget.FindAllStringSubmatch(text, -1) {
			require.Regexp(t, `(?m)^`+m[1]+`:`, makefile, "%s names `make %s`", doc, m[1])
		}
	}
}

var alert = regexp.MustCompile(`(?m)^ *- alert: (\w+)$`)

func TestEveryAlertIsDocumented(t *testing.T) {
	found := alert.FindAllStringSubmatch(read(t, filepath.Join(repository, "deploy", "prometheus", "alerts.yml")), -1)
	require.NotEmpty(t, found)
	doc := read(t, filepath.Join(repository, "docs", "operations.md"))
	for _, m := range found {
		require.Contains(t, doc, "`"+m[1]+"`")
	}
}
