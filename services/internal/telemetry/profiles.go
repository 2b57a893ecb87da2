package telemetry

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/grafana/pyroscope-go"
)

// uploadTimeout bounds the sending of one profile.
const uploadTimeout = 10 * time.Second

// profiles pushes CPU, heap and goroutine profiles where PYROSCOPE_SERVER_ADDRESS is set. A process has one profile: of
// services that share it, and so a registry, the first to come sends it, as framebus.
func (t *Telemetry) profiles(cfg Config) error {
	address := os.Getenv("PYROSCOPE_SERVER_ADDRESS")
	if address == "" {
		return nil
	}
	t.Profiling = true
	name := cfg.Service
	if cfg.Registry != nil {
		if cfg.Registry.profiled.Swap(true) {
			return nil
		}
		name = "framebus"
	}
	to := &http.Client{Timeout: uploadTimeout, Transport: &http.Transport{}}
	p, err := pyroscope.Start(pyroscope.Config{
		ApplicationName:   name,
		ServerAddress:     address,
		UploadRate:        cfg.ProfileEvery,
		BasicAuthUser:     os.Getenv("PYROSCOPE_BASIC_AUTH_USER"),
		BasicAuthPassword: os.Getenv("PYROSCOPE_BASIC_AUTH_PASSWORD"),
		Tags:              map[string]string{"service_instance_id": cfg.Instance, "service_version": cfg.Version},
		Logger:            pyroscopeLog{newComplaint(t.local, "Pyroscope")},
		HTTPClient:        client{to, t.life},
	})
	if err != nil {
		return err
	}
	t.closers = append(t.closers, func(ctx context.Context) error {
		stopped := make(chan error, 1)
		go func() { // waits for what is on its way, which ends with the telemetry
			p.Flush(true)
			err := p.Stop()
			to.CloseIdleConnections()
			stopped <- err
		}()
		select {
		case err := <-stopped:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return nil
}

// pyroscopeLog keeps its errors, which come for every profile, to one a minute.
type pyroscopeLog struct{ c *complaint }

func (pyroscopeLog) Infof(string, ...any)  {}
func (pyroscopeLog) Debugf(string, ...any) {}

func (l pyroscopeLog) Errorf(format string, a ...any) { l.c.note(fmt.Sprintf(format, a...)) }
