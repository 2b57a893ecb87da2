// Package web is the viewer that the gateway serves at "/": plain ES modules and CSS, embedded as they are written,
// with no build step and nothing from other hosts. It knows nothing of hubs, viewers or the bus; the page talks to the
// gateway like any other client, over /ws and /api/v1.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"strings"
	"time"
)

//go:embed static
var static embed.FS

// contentTypes is spelt out because the host's own table of types must not decide whether a browser runs a module.
var contentTypes = map[string]string{
	".html":        "text/html; charset=utf-8",
	".css":         "text/css; charset=utf-8",
	".js":          "text/javascript; charset=utf-8",
	".svg":         "image/svg+xml",
	".webmanifest": "application/manifest+json",
}

type file struct {
	body        []byte
	contentType string
	etag        string
}

type handler struct {
	files map[string]file // by URL path
}

// Handler serves the viewer's files and answers 404 to every other path. Whatever mounts it keeps its own paths.
func Handler() http.Handler {
	h := handler{files: map[string]file{}}
	err := fs.WalkDir(static, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := static.ReadFile(name)
		if err != nil {
			return err
		}
		contentType, ok := contentTypes[path.Ext(name)]
		if !ok {
			return fmt.Errorf("no content type is known for %s", name)
		}
		sum := sha256.Sum256(body)
		h.files[strings.TrimPrefix(name, "static")] = file{body, contentType, `"` + hex.EncodeToString(sum[:12]) + `"`}
		return nil
	})
	if err != nil {
		panic(err) // the files are part of the program: this is a mistake in it, and every test finds it
	}
	h.files["/"] = h.files["/index.html"]
	return h
}

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := h.files[r.URL.Path]
	if !ok {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintln(w, `{"error":"there is nothing at this path; the viewer is at /"}`)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	head := w.Header()
	head.Set("Content-Type", f.contentType)
	head.Set("ETag", f.etag)
	// Ask each time, so that page and modules are always of one version; the ETag makes the answer short.
	head.Set("Cache-Control", "no-cache")
	head.Set("Content-Security-Policy", policy(r.Host))
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "no-referrer")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.body))
}

var plainHost = regexp.MustCompile(`^[A-Za-z0-9.:\[\]_-]{1,255}$`)

// policy lets the page run its own files and talk to its own host, nothing else. Older Safari does not count a
// WebSocket to the page's host as 'self', so the host is spelt out.
func policy(host string) string {
	sockets := ""
	if plainHost.MatchString(host) {
		sockets = " ws://" + host + " wss://" + host
	}
	return "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self' blob:; " +
		"manifest-src 'self'; connect-src 'self'" + sockets +
		"; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
}
