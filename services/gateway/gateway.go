// Package gateway is the gateway service: it shows streams to viewers over WebSocket, MJPEG and plain TCP, tells the
// bus what they want, and answers questions about both. It can be scaled by starting more of it.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/gateway/internal/hub"
	"github.com/framebus/framebus/services/gateway/internal/publish"
	"github.com/framebus/framebus/services/gateway/internal/viewer"
	"github.com/framebus/framebus/services/internal/service"
	"github.com/framebus/framebus/services/internal/stage"
	"golang.org/x/sync/errgroup"
)

const (
	headerTimeout = 5 * time.Second
	idleTimeout   = time.Minute
	answerTimeout = 30 * time.Second
	maxHeader     = 16 << 10
	ending        = "the gateway is ending"
	// endWithin bounds the end once all viewers have been told.
	endWithin = 4 * time.Second
)

// Deps of a gateway.
type Deps struct {
	service.Deps
	// OnListening is told the address once viewers are taken; it may be nil.
	OnListening func(net.Addr)
}

// gateway is a running one.
type gateway struct {
	cfg Settings
	d   Deps
	hub *hub.Hub
	// desk takes what clients publish.
	desk *publish.Desk

	draining atomic.Bool // refuses viewers
	ending   atomic.Bool // closes those there are
	admitted admission   // every viewer's handler and goroutine has a place until it has ended
	measures
	stage stage.Label // of viewers' goroutines
	ids   atomic.Uint64
}

// Run serves until ctx ends, then drains: new viewers are refused, those there are told and closed, and everything
// ends within 5 s of that.
func Run(ctx context.Context, cfg Settings, d Deps) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	m, unmeasure, err := measure(cfg, d)
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	defer unmeasure()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen for viewers: %w", err)
	}
	var sized net.Listener
	if cfg.SizedListen != "" {
		if sized, err = (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.SizedListen); err != nil {
			return errors.Join(fmt.Errorf("listen for sized clients: %w", err), l.Close())
		}
	}
	// Viewers outlive ctx: they are closed one by one.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	gw := &gateway{cfg: cfg, d: d, measures: m, admitted: admission{limit: cfg.MaxClients}}
	gw.stage = stage.New(d.Profiling, stage.Deliver, "")
	gw.hub = hub.New(hub.Deps{
		Bus: d.Bus, Roster: d.Roster, Log: d.Log, Meter: d.Meter, Tracer: d.Tracer, Profiling: d.Profiling,
	})
	gw.desk, err = publish.New(publish.Limits{
		Publishers: cfg.MaxPublishers, Bytes: cfg.PublishBytes, Side: cfg.PublishSide, FPS: cfg.PublishFPS,
	}, publish.Deps{
		Bus: d.Bus, Roster: d.Roster, Shm: d.Shm, Log: d.Log, Meter: d.Meter, Tracer: d.Tracer, Sampler: d.Sampler,
	})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	d.Roster.SetFill(gw.fill)
	server := &http.Server{
		Handler: gw.routes(), BaseContext: func(net.Listener) context.Context { return life }, MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
		WriteTimeout: answerTimeout, // of answers that end; viewers have their own
		ErrorLog:     slog.NewLogLogger(d.Log.Handler(), slog.LevelDebug),
		// WebSocket and MJPEG take connections over, which HTTP/2 has none of.
		TLSNextProto: noHTTP2,
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return gw.hub.Run(life) })
	g.Go(func() error { return gw.serve(server, l) })
	if sized != nil {
		g.Go(func() error { return gw.serveSized(life, sized) })
	}
	g.Go(func() error {
		<-gctx.Done()
		gw.drain(server, sized)
		end()
		return nil
	})
	d.Log.Info("listening for viewers", "address", l.Addr().String())
	if d.OnListening != nil {
		d.OnListening(l.Addr())
	}
	err = g.Wait()
	d.Roster.Drain() // the last word about what the viewers had
	return err
}

func (gw *gateway) serve(server *http.Server, l net.Listener) error {
	var err error
	if gw.cfg.TLSCert != "" {
		var c *certificate
		if c, err = newCertificate(gw.cfg.TLSCert, gw.cfg.TLSKey, gw.d.Log); err != nil {
			return err
		}
		server.TLSConfig = c.config()
		err = server.ServeTLS(l, "", "")
	} else {
		err = server.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve viewers: %w", err)
}

// fill adds what a gateway says of itself to its Status.
func (gw *gateway) fill(s *pb.Status) {
	s.Gateway = &pb.GatewayStatus{
		Viewers: uint32(gw.admitted.now()), MaxViewers: uint32(gw.cfg.MaxClients),
		Ledger: gw.hub.Ledger(), Unreadable: gw.hub.Unreadable(),
	}
	s.Streams = gw.desk.Streams()
}

// ready says why this gateway is not fit for traffic, or nil.
func (gw *gateway) ready() error {
	if gw.draining.Load() {
		return errors.New("draining")
	}
	return gw.d.Ready()
}

// newID is a viewer's name, unique in this gateway's run.
func (gw *gateway) newID() string { return fmt.Sprintf("v%d", gw.ids.Add(1)) }

// show runs a viewer of a stream to its end, on the caller's goroutine. The viewer has its place.
func (gw *gateway) show(ctx context.Context, v *viewer.Viewer, stream string, w hub.Wish) {
	gw.stage.Enter()
	gw.greet(v, stream)
	defer gw.hub.Detach(v)
	switch attached := gw.hub.Attach(v, stream, w); {
	case gw.ending.Load(): // set before drain looks at who is attached
		v.Close(closeGoingAway, ending, true)
	case !attached:
		v.Close(closeTryLater, "the stream "+stream+" has gone", true)
	}
	if err := v.Run(ctx); err != nil {
		gw.d.Log.Info("viewer ended", "viewer", v.ID(), "reason", err)
	}
}

// greet says hello to a framebus.v1 viewer; the hub tells it the state of its stream next.
func (gw *gateway) greet(v *viewer.Viewer, stream string) {
	who := gw.d.Roster.Config()
	v.Notice(&pb.ServerMessage{Message: &pb.ServerMessage_Hello{Hello: &pb.Hello{
		Viewer: v.ID(), Gateway: who.Instance, Version: who.Version, Channels: gw.channels(stream),
		Rungs:      []pb.Rung{pb.Rung_RUNG_FULL, pb.Rung_RUNG_HALF, pb.Rung_RUNG_QUARTER},
		MaxClients: uint32(gw.cfg.MaxClients), MaxMessageBytes: viewer.MaxMessage,
		NowUs: gw.hub.Now().UnixMicro(), TraceUi: gw.traceUI(),
	}}})
}

// channels lists the viewer's own stream first.
func (gw *gateway) channels(stream string) []*pb.Channel {
	list := gw.hub.Channels()
	for i, c := range list {
		if c.GetStream() == stream {
			copy(list[1:i+1], list[:i])
			list[0] = c
		}
	}
	return list
}

// drain closes everything in order.
func (gw *gateway) drain(server *http.Server, sized net.Listener) {
	gw.draining.Store(true)
	gw.d.Roster.Drain()
	if gw.cfg.DrainDelay > 0 {
		time.Sleep(gw.cfg.DrainDelay) // load balancers take that long to hear of it
	}
	ended := gw.admitted.close()
	gw.desk.Close()
	viewers := gw.hub.Viewers()
	for i, v := range viewers {
		if gw.cfg.DrainSpread > 0 && i > 0 {
			time.Sleep(gw.cfg.DrainSpread / time.Duration(len(viewers)))
		}
		v.Close(closeGoingAway, ending, true)
	}
	gw.ending.Store(true)
	for _, v := range gw.hub.Viewers() { // whose handshake was under way
		v.Close(closeGoingAway, ending, true)
	}
	if sized != nil {
		_ = sized.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), endWithin)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		_ = server.Close()
	}
	select {
	case <-ended:
	case <-ctx.Done():
		gw.d.Log.Warn("viewers did not end in time")
		<-ended // their own time-outs end them; the process may be ended before
	}
}
