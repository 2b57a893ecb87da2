package web_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/framebus/framebus/services/gateway/internal/web"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func get(t *testing.T, method, path string, head map[string]string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, "http://cam.example:8002"+path, http.NoBody)
	for name, value := range head {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	web.Handler().ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return string(b)
}

func TestFilesHaveTheirTypes(t *testing.T) {
	for path, want := range map[string]string{
		"/":                "text/html; charset=utf-8",
		"/index.html":      "text/html; charset=utf-8",
		"/style.css":       "text/css; charset=utf-8",
		"/main.js":         "text/javascript; charset=utf-8",
		"/paint-worker.js": "text/javascript; charset=utf-8",
		"/publish.html":    "text/html; charset=utf-8",
		"/wall.html":       "text/html; charset=utf-8",
		"/call.html":       "text/html; charset=utf-8",
		"/favicon.svg":     "image/svg+xml",
		"/app.webmanifest": "application/manifest+json",
	} {
		res := get(t, http.MethodGet, path, nil)
		require.Equal(t, http.StatusOK, res.StatusCode, path)
		require.Equal(t, want, res.Header.Get("Content-Type"), path)
		require.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"), path)
		require.NotEmpty(t, body(t, res), path)
	}
}

func TestWhatDidNotChangeIsNotSentAgain(t *testing.T) {
	first := get(t, http.MethodGet, "/main.js", nil)
	require.Equal(t, "no-cache", first.Header.Get("Cache-Control"))
	etag := first.Header.Get("ETag")
	require.NotEmpty(t, etag)
	again := get(t, http.MethodGet, "/main.js", map[string]string{"If-None-Match": etag})
	require.Equal(t, http.StatusNotModified, again.StatusCode)
	require.Empty(t, body(t, again))
	require.NotEqual(t, etag, get(t, http.MethodGet, "/style.css", nil).Header.Get("ETag"))
}

func TestOtherPathsAreNotFound(t *testing.T) {
	for _, path := range []string{"/nothing", "/static/main.js", "/../web.go", "/main.js/", "/api/v1/streams"} {
		res := get(t, http.MethodGet, path, nil)
		require.Equal(t, http.StatusNotFound, res.StatusCode, path)
		require.JSONEq(t, `{"error":"there is nothing at this path; the viewer is at /"}`, body(t, res), path)
	}
}

func TestOnlyReadingIsAllowed(t *testing.T) {
	res := get(t, http.MethodPost, "/", nil)
	require.Equal(t, http.StatusMethodNotAllowed, res.StatusCode)
	res = get(t, http.MethodHead, "/", nil)
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Empty(t, body(t, res))
}

func TestThePolicyNamesTheHostAndNothingElse(t *testing.T) {
	policy := get(t, http.MethodGet, "/", nil).Header.Get("Content-Security-Policy")
	require.Contains(t, policy, "default-src 'none'")
	require.Contains(t, policy, "connect-src 'self' ws://cam.example:8002 wss://cam.example:8002;")
	require.NotContains(t, policy, "unsafe")
	require.NotContains(t, policy, "*")

	r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	r.Host = "evil; script-src *"
	w := httptest.NewRecorder()
	web.Handler().ServeHTTP(w, r)
	require.NotContains(t, w.Header().Get("Content-Security-Policy"), "evil")
}

// The page must be whole without any other host: an air-gapped wall shows it too.
func TestNothingComesFromElsewhere(t *testing.T) {
	for _, path := range []string{
		"/", "/style.css", "/main.js", "/overlay.js", "/app.webmanifest", "/publish.html", "/publish.js", "/pages.css",
		"/wall.html", "/wall.js", "/tiles.js", "/wall.css", "/call.html", "/call.js",
	} {
		text := strings.ReplaceAll(body(t, get(t, http.MethodGet, path, nil)), "http://www.w3.org/", "")
		require.NotContains(t, text, "http://", path)
		require.NotContains(t, text, "https://", path)
	}
}
