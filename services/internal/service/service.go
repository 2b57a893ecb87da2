// Package service is what the three services have in common around their own work: settings, the bus, presence,
// telemetry, signals, health endpoints and the exit code. It knows nothing of pictures.
package service

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/presence"
	"github.com/framebus/framebus/services/internal/shm"
	"github.com/framebus/framebus/services/internal/telemetry"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"
)

// Version is set by the linker.
var Version = "dev"

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// Deps is what a service's Run is given.
type Deps struct {
	Bus *bus.Bus
	// Roster is run by the service's surroundings; the service sets its Fill.
	Roster *presence.Roster
	// Shm is the folder of shared memory, nil where there is none: then all frames go inline.
	Shm    *shm.Folder
	Log    *slog.Logger
	Meter  metric.Meter
	Tracer trace.Tracer
	// Tracing says that spans go somewhere; SampleAll that the tracer's sampler decides on each frame.
	Tracing, SampleAll bool
	// Profiling says that profiles go somewhere: labels for them are worth setting.
	Profiling bool
	// Traces is where sampled traces are kept in this process, nil where they are not.
	Traces *telemetry.Store
	// Metrics serves Prometheus. It is nil where an admin listener has it instead.
	Metrics http.Handler
}

// RunFunc is a service's own work: it returns when ctx ends and leaves nothing running.
type RunFunc func(ctx context.Context, d Deps) error

// Env is a service's surroundings.
type Env struct {
	Deps Deps
	cfg  Common
	tel  *telemetry.Telemetry
}

// Place says what differs between a process of its own and the one-process edition.
type Place struct {
	// InProcess is the bus inside this process, nil for one at the settings' URL.
	InProcess interface{ InProcessConn() (net.Conn, error) }
	// LogTo is where logs go; nil means standard error.
	LogTo io.Writer
	// Registry is shared by the services of one process; nil means one of its own.
	Registry *telemetry.Registry
	// Shm is shared by the services of one process; nil means the settings' folder.
	Shm *shm.Folder
	// Traces keeps the traces of the services of one process where no exporter is asked for; nil means that they are
	// not kept.
	Traces *telemetry.Store
}

// Open makes the surroundings of the service called name ("capture", "encoder", "gateway").
func Open(ctx context.Context, name string, cfg Common, p Place) (*Env, error) {
	instance := cfg.Instance
	if instance == "" {
		instance = randomInstance()
	}
	tel, err := telemetry.Setup(ctx, telemetry.Config{
		Service: name, Instance: instance, Version: Version,
		LogLevel: cfg.LogLevel, LogFormat: cfg.LogFormat, LogTo: p.LogTo, Registry: p.Registry,
		Traces: p.Traces,
	})
	if err != nil {
		return nil, err
	}
	b, err := bus.Open(bus.Config{
		URL: cfg.NATSURL, Name: "framebus " + name + " " + instance,
		User: cfg.NATSUser, Password: cfg.NATSPassword, CAFile: cfg.NATSCA, InProcess: p.InProcess,
	}, bus.Deps{Log: tel.Log, Meter: tel.Meter})
	if err != nil {
		tel.Close()
		return nil, err
	}
	roster := presence.New(presence.Config{
		Service: name, Instance: instance, Version: Version, Run: uint64(time.Now().UnixMicro()),
	}, presence.Deps{Bus: b, Log: tel.Log})
	e := &Env{cfg: cfg, tel: tel, Deps: Deps{
		Bus: b, Roster: roster, Shm: p.Shm, Log: tel.Log, Meter: tel.Meter, Tracer: tel.Tracer,
		Tracing: tel.Tracing, SampleAll: tel.SampleAll, Traces: tel.Traces, Profiling: tel.Profiling,
	}}
	if e.Deps.Shm == nil {
		e.Deps.Shm = openShm(cfg.Shm, tel.Log)
	}
	if cfg.AdminListen == "" {
		e.Deps.Metrics = tel.Metrics
	}
	return e, nil
}

// openShm returns nil, and has said why, where there is no shared memory to be had.
func openShm(s shm.Settings, log *slog.Logger) *shm.Folder {
	f, err := shm.Open(s)
	if err != nil {
		log.Warn("raw frames go inline: let FRAMEBUS_SHM be a folder in memory that can be written, or off", "error", err)
		return nil
	}
	return f
}

// Run does the service's work, with presence and the admin listener beside it, until ctx ends or one of them fails.
// These two end last: a service that drains still says so, and its metrics are still to be had.
func (e *Env) Run(ctx context.Context, run RunFunc) error {
	g, ctx := errgroup.WithContext(ctx)
	present, leave := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error { return e.Deps.Roster.Run(present) })
	g.Go(func() error {
		defer leave()
		return run(ctx, e.Deps)
	})
	if e.cfg.AdminListen != "" {
		g.Go(func() error { return e.admin(present) })
	}
	return g.Wait()
}

// Close ends the bus and telemetry. What is still to be sent gets a second.
func (e *Env) Close() {
	e.Deps.Bus.Close()
	e.tel.Close()
}

// randomInstance is the sanitised host name and eight random hex digits: new at each start.
func randomInstance() string {
	const digits = 8
	host, err := os.Hostname()
	if err != nil {
		host = "host"
	}
	var b [digits / 2]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand says so
	return subject.SanitiseName(host, subject.MaxName-digits-1) + "-" + hex.EncodeToString(b[:])
}

// Main reads settings into cli, a struct of kong flags that holds *common and the groups, and runs the service until
// it is told to end. It returns the exit code.
func Main(name, description string, cli any, common *Common, group Validator, run RunFunc) int {
	var about struct {
		Version kong.VersionFlag `help:"Print the version."`
	}
	parser, err := kong.New(cli, append(Options(name, description, Version), kong.Embed(&about))...)
	if err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		return exitUsage
	}
	if _, err := parser.Parse(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		return exitUsage
	}
	if err := errors.Join(common.Validate(), group.Validate()); err != nil {
		fmt.Fprintf(os.Stderr, "%s: settings:\n%v\n", name, err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	e, err := Open(ctx, name, *common, Place{})
	if err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		return exitFailed
	}
	defer e.Close()
	e.Deps.Log.Info("started", "version", Version)
	if err := e.Run(ctx, run); err != nil && ctx.Err() == nil {
		e.Deps.Log.Error("ended", "error", err)
		return exitFailed
	}
	e.Deps.Log.Info("ended")
	return exitOK
}
