package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// readyAfter is how long the bus must have been there: Status of every stream was heard by then.
const readyAfter = 1200 * time.Millisecond

// Ready says why the service is not fit for its work yet, or nil.
func (d *Deps) Ready() error {
	switch up, since := d.Bus.Up(); {
	case !up:
		return errors.New("the bus is not connected")
	case time.Since(since) < readyAfter:
		return errors.New("the bus has only just been connected")
	case d.Roster.Draining():
		return errors.New("draining")
	default:
		return nil
	}
}

// ServeReady answers /readyz: 200, or 503 with the reason.
func ServeReady(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		_ = json.NewEncoder(w).Encode(map[string]any{"ready": false, "reason": err.Error()})
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"ready": true})
}

func (e *Env) admin(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { ServeReady(w, e.Deps.Ready()) })
	mux.Handle("GET /metrics", e.tel.Metrics)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", e.cfg.AdminListen)
	if err != nil {
		return fmt.Errorf("admin listener: %w", err)
	}
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("admin listener: %w", err)
	case <-ctx.Done():
		_ = s.Close() // a scrape that is under way may be cut
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("admin listener: %w", err)
		}
		return nil
	}
}
