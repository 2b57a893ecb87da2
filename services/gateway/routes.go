package gateway

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/gateway/internal/hub"
	"github.com/framebus/framebus/services/gateway/internal/viewer"
	"github.com/framebus/framebus/services/gateway/internal/web"
	"github.com/framebus/framebus/services/internal/service"
	"github.com/gorilla/websocket"
)

const (
	closeGoingAway = websocket.CloseGoingAway
	closeTryLater  = websocket.CloseTryAgainLater

	// snapshotWithin is how long a snapshot may take.
	snapshotWithin = 500 * time.Millisecond
	// acceptAgain is how long a listener that failed is left alone.
	acceptAgain = 100 * time.Millisecond
	retryAfter  = "2" // seconds
)

var noHTTP2 = map[string]func(*http.Server, *tls.Conn, http.Handler){}

func (gw *gateway) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ws", gw.ws)
	mux.HandleFunc("GET /mjpeg/{stream}", gw.mjpeg)
	mux.HandleFunc("GET /snapshot/{file}", gw.snapshot)
	mux.HandleFunc("GET /api/v1/streams", gw.apiStreams)
	mux.HandleFunc("GET /api/v1/viewers", gw.apiViewers)
	mux.HandleFunc("GET "+tracePath, gw.apiTrace)
	mux.HandleFunc("GET /publish", gw.publish)
	mux.HandleFunc("GET /api/v1/publishers", gw.apiPublishers)
	mux.HandleFunc("GET /api/v1/ledger", func(w http.ResponseWriter, _ *http.Request) { reply(w, gw.hub.AllLedgers()) })
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { service.ServeReady(w, gw.ready()) })
	if gw.d.Metrics != nil {
		mux.Handle("GET /metrics", gw.d.Metrics)
	}
	mux.Handle("/", web.Handler())
	return gw.cors(mux)
}

// cors lets pages read answers whose origin may connect. Why another one may not, its page may read too.
func (gw *gateway) cors(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if origin := r.Header.Get("Origin"); origin != "" {
			w.Header().Add("Vary", "Origin")
			if gw.cfg.allows(origin, r.Host) {
				w.Header().Set("Access-Control-Allow-Origin", origin)
			}
		}
		next.ServeHTTP(w, r)
	})
}

// refusal is one line that says what is wrong and what to do.
type refusal struct {
	status       int
	what, remedy string
}

func (r refusal) Error() string { return r.what }

func (gw *gateway) refuse(w http.ResponseWriter, r refusal) {
	gw.refusals(r.status, 1)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if r.status == http.StatusForbidden {
		w.Header().Set("Access-Control-Allow-Origin", "*")
	}
	if r.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	w.WriteHeader(r.status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": r.what, "hint": r.remedy})
}

// wish is what a viewer asks for in its query.
type wish struct {
	stream string
	hub.Wish
	smooth, sized bool
}

// asked reads a query; stream is the one that the path names, if it does.
func (gw *gateway) asked(q url.Values, stream string) (wish, error) {
	var out wish
	bad := func(what, remedy string) (wish, error) { return out, refusal{http.StatusBadRequest, what, remedy} }
	if stream == "" {
		stream = q.Get("stream")
	}
	if name := q.Get("rung"); name != "" && name != "auto" {
		r, ok := frame.ParseRung(name)
		if !ok {
			return bad(fmt.Sprintf("unknown rung %.20q", name), "rung is auto, full, half or quarter")
		}
		out.Rung = &r
	}
	switch mode := q.Get("mode"); mode {
	case "", "live":
	case "smooth":
		out.smooth = true
	default:
		return bad(fmt.Sprintf("unknown mode %.20q", mode), "mode is live or smooth")
	}
	switch format := q.Get("format"); format {
	case "":
	case "sized":
		out.sized = true
	default:
		return bad(fmt.Sprintf("unknown format %.20q", format),
			"format is sized, or left out; for envelopes ask for the subprotocol "+viewer.Subprotocol)
	}
	if s := q.Get("max_fps"); s != "" {
		fps, err := strconv.ParseFloat(s, 64)
		if err != nil || !hub.ValidFPS(fps) {
			return bad(fmt.Sprintf("max_fps %.20q", s), fmt.Sprintf("max_fps is %v to %v", hub.MinFPS, hub.MaxFPS))
		}
		out.Tuning.MaxFPS = fps
	}
	name, _, ok := gw.hub.Find(stream)
	if !ok {
		return out, gw.unknown(stream)
	}
	out.stream = name
	return out, nil
}

// unknown is the refusal of a stream that is not known. As long as the bus has not been there long enough for its owner
// to be heard, that says nothing of the stream.
func (gw *gateway) unknown(stream string) refusal {
	if err := gw.d.Ready(); err != nil {
		return refusal{http.StatusServiceUnavailable, "the streams are not known yet: " + err.Error(), "try again"}
	}
	if stream == "" {
		return refusal{http.StatusNotFound, "there is no stream yet", "start a capture"}
	}
	return refusal{http.StatusNotFound, fmt.Sprintf("there is no stream %.64q", stream),
		"GET /api/v1/streams lists those there are"}
}

var foreign = refusal{http.StatusForbidden, "pages of this origin may not connect",
	"add its host to FRAMEBUS_ALLOWED_ORIGINS"}

// admit checks a viewer's request and takes a place for it, or answers with the refusal. The caller gives the place
// back. Who only asks takes none: it must not cost a viewer its own.
func (gw *gateway) admit(w http.ResponseWriter, r *http.Request, stream string, onlyAsks bool) (wish, bool) {
	wi, err := gw.asked(r.URL.Query(), stream)
	switch {
	case !gw.cfg.allows(r.Header.Get("Origin"), r.Host):
		err = foreign
	case gw.draining.Load():
		err = refusal{http.StatusServiceUnavailable, "this gateway is ending", "try again"}
	case err == nil && (onlyAsks && gw.admitted.full() || !onlyAsks && !gw.admitted.enter()):
		err = refusal{http.StatusServiceUnavailable, fmt.Sprintf("the gateway is full: %d viewers", gw.cfg.MaxClients),
			"try again later, or raise FRAMEBUS_MAX_CLIENTS"}
	}
	if err == nil {
		return wi, true
	}
	var no refusal
	if !errors.As(err, &no) {
		no = refusal{http.StatusBadRequest, err.Error(), ""}
	}
	gw.refuse(w, no)
	return wi, false
}

func (gw *gateway) options(wi wish) viewer.Options {
	return viewer.Options{
		ID: gw.newID(), Began: gw.hub.Now(), Sized: wi.sized, Smooth: wi.smooth, Numbers: gw.hub.Numbers(), Commands: gw.hub,
		Displaced:   gw.displaced,
		CheckOrigin: func(*http.Request) bool { return true }, // admit has checked it
	}
}

func (gw *gateway) ws(w http.ResponseWriter, r *http.Request) {
	if !websocket.IsWebSocketUpgrade(r) {
		gw.explain(w, r)
		return
	}
	wi, ok := gw.admit(w, r, "", false)
	if !ok {
		return
	}
	defer gw.admitted.leave()
	v, err := viewer.Upgrade(w, r, gw.options(wi))
	if err != nil {
		gw.d.Log.Debug("handshake failed", "error", err)
		return
	}
	gw.show(r.Context(), v, wi.stream, wi.Wish)
}

// explain answers what a page cannot see: why its handshake was refused, or else the stream's state.
func (gw *gateway) explain(w http.ResponseWriter, r *http.Request) {
	wi, ok := gw.admit(w, r, "", true)
	if !ok {
		return
	}
	for _, s := range gw.hub.Streams() {
		if s.Name == wi.stream {
			reply(w, gw.streamJSON(s))
			return
		}
	}
	gw.refuse(w, refusal{http.StatusNotFound, "the stream has gone", "GET /api/v1/streams lists those there are"})
}

func (gw *gateway) mjpeg(w http.ResponseWriter, r *http.Request) {
	head := r.Method == http.MethodHead
	wi, ok := gw.admit(w, r, r.PathValue("stream"), head)
	if !ok {
		return
	}
	if head {
		w.Header().Set("Content-Type", viewer.MultipartType)
		return
	}
	defer gw.admitted.leave()
	v, err := viewer.Multipart(w, r, gw.options(wi))
	if err != nil {
		gw.d.Log.Debug("mjpeg refused", "error", err)
		return
	}
	gw.show(r.Context(), v, wi.stream, wi.Wish)
}

func (gw *gateway) snapshot(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutSuffix(r.PathValue("file"), ".jpg")
	if !ok {
		gw.refuse(w, refusal{http.StatusNotFound, "a snapshot is named after its stream", "GET /snapshot/NAME.jpg"})
		return
	}
	if !gw.cfg.allows(r.Header.Get("Origin"), r.Host) {
		gw.refuse(w, foreign)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), snapshotWithin)
	defer cancel()
	p, err := gw.hub.Snapshot(ctx, name)
	switch {
	case errors.Is(err, hub.ErrUnknown):
		gw.refuse(w, gw.unknown(name))
		return
	case err != nil:
		gw.refuse(w, refusal{http.StatusServiceUnavailable, "no picture came in time",
			"is an encoder running? GET /api/v1/streams tells"})
		return
	}
	head := w.Header()
	head.Set("Content-Type", "image/jpeg")
	head.Set("Content-Length", strconv.Itoa(len(p.JPEG)))
	head.Set("Cache-Control", "no-store")
	head.Set("Last-Modified", time.UnixMicro(p.Header.CapturedUs).UTC().Format(http.TimeFormat))
	_, _ = w.Write(p.JPEG) // the client may have gone
}

// serveSized takes the original clients: plain TCP, size and JPEG, of the first stream.
func (gw *gateway) serveSized(ctx context.Context, l net.Listener) error {
	gw.d.Log.Info("listening for sized clients", "address", l.Addr().String())
	for {
		conn, err := l.Accept()
		if err != nil {
			if gw.draining.Load() {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("serve sized clients: %w", err)
			}
			gw.d.Log.Warn("sized client not taken", "error", err) // too many files open, for one: that passes
			time.Sleep(acceptAgain)
			continue
		}
		wi, err := gw.asked(nil, "")
		if err != nil || gw.draining.Load() || !gw.admitted.enter() {
			_ = conn.Close() // this protocol has no word for it
			continue
		}
		v := viewer.Raw(conn, gw.options(wi))
		go func() { // drain waits for its place to be given back
			defer gw.admitted.leave()
			gw.show(ctx, v, wi.stream, wi.Wish)
		}()
	}
}
