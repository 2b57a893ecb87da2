package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/gateway/internal/publish"
	"github.com/gorilla/websocket"
)

// publish takes a client's pictures as a stream. Without an upgrade it tells whether it would.
func (gw *gateway) publish(w http.ResponseWriter, r *http.Request) {
	stream := r.URL.Query().Get("stream")
	err := gw.mayPublish(r, stream)
	switch {
	case err != nil:
	case !websocket.IsWebSocketUpgrade(r):
		if err = gw.desk.May(stream); err == nil {
			reply(w, map[string]any{"stream": stream, "free": true, "max_bytes": gw.cfg.PublishBytes,
				"max_side": gw.cfg.PublishSide, "max_fps": gw.cfg.PublishFPS})
			return
		}
	default:
		if err = gw.desk.Serve(r.Context(), w, r, fmt.Sprintf("p%d", gw.ids.Add(1)), stream); err == nil {
			return
		}
	}
	var no refusal
	switch {
	case errors.As(err, &no):
	case errors.Is(err, publish.ErrTaken):
		no = taken(stream)
	case errors.Is(err, publish.ErrFull):
		no = refusal{http.StatusServiceUnavailable, fmt.Sprintf("the gateway is full: %d publishers", gw.cfg.MaxPublishers),
			"try again later, or raise FRAMEBUS_MAX_PUBLISHERS"}
	default:
		no = refusal{http.StatusServiceUnavailable, err.Error(), "try again"}
	}
	gw.refuse(w, no)
}

func taken(stream string) refusal {
	return refusal{http.StatusConflict, fmt.Sprintf("the stream %q is there already", stream), "choose another name"}
}

// mayPublish says why a request may not publish, or nil.
func (gw *gateway) mayPublish(r *http.Request, stream string) error {
	switch {
	case !gw.cfg.allows(r.Header.Get("Origin"), r.Host):
		return foreign
	case gw.draining.Load():
		return refusal{http.StatusServiceUnavailable, "this gateway is ending", "try again"}
	case gw.cfg.PublishToken == "" && !local(r):
		return refusal{http.StatusUnauthorized, "publishing from another host needs a token",
			"set FRAMEBUS_PUBLISH_TOKEN at the gateway and show it: Authorization: Bearer TOKEN, or token= in the query"}
	case gw.cfg.PublishToken != "" && !shows(r, gw.cfg.PublishToken):
		return refusal{http.StatusUnauthorized, "publishing needs the right token",
			"show FRAMEBUS_PUBLISH_TOKEN: Authorization: Bearer TOKEN, or token= in the query"}
	case !subject.ValidName(stream):
		return refusal{http.StatusBadRequest, fmt.Sprintf("stream %.64q is no name", stream),
			"stream=NAME of a-z, 0-9, _ and -, at most 63 characters, the first a letter or digit"}
	}
	if err := gw.d.Ready(); err != nil {
		return refusal{http.StatusServiceUnavailable, "the streams are not known yet: " + err.Error(), "try again"}
	}
	if gw.hub.Present(stream) {
		return taken(stream)
	}
	return nil
}

// local tells whether a request comes from this very host and not by a proxy on it.
func local(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil || r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Forwarded") != "" {
		return false
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// shows tells whether a request bears the token, in a time that does not tell how much of it is right.
func shows(r *http.Request, token string) bool {
	got := r.URL.Query().Get("token")
	if kind, value, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(kind, "Bearer") {
		got = strings.TrimSpace(value)
	}
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// publisherJSON is a publisher as /api/v1/publishers tells it.
type publisherJSON struct {
	ID       string            `json:"id"`
	Stream   string            `json:"stream"`
	Since    time.Time         `json:"since"`
	Address  string            `json:"address"`
	Client   string            `json:"client,omitempty"`
	FPS      float64           `json:"fps"`
	Mbps     float64           `json:"mbps"`
	Pictures uint64            `json:"pictures"`
	Bytes    uint64            `json:"bytes"`
	Refused  map[string]uint64 `json:"refused"`
}

func (gw *gateway) apiPublishers(w http.ResponseWriter, _ *http.Request) {
	out := []publisherJSON{}
	for _, p := range gw.desk.Publishers() {
		out = append(out, publisherJSON{
			ID: p.ID, Stream: p.Stream, Since: p.Since, Address: p.Address, Client: p.Client, FPS: p.FPS, Mbps: p.Mbps,
			Pictures: p.Pictures, Bytes: p.Bytes, Refused: p.Refused,
		})
	}
	reply(w, map[string]any{"publishers": out, "max_publishers": gw.cfg.MaxPublishers})
}
