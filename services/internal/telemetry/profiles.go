package telemetry

import (
	"context"
	"os"

	"github.com/grafana/pyroscope-go"
)

// profiles pushes CPU, heap and goroutine profiles where PYROSCOPE_SERVER_ADDRESS is set.
func (t *Telemetry) profiles(cfg Config) error {
	address := os.Getenv("PYROSCOPE_SERVER_ADDRESS")
	if address == "" {
		return nil
	}
	p, err := pyroscope.Start(pyroscope.Config{
		ApplicationName:   cfg.Service,
		ServerAddress:     address,
		BasicAuthUser:     os.Getenv("PYROSCOPE_BASIC_AUTH_USER"),
		BasicAuthPassword: os.Getenv("PYROSCOPE_BASIC_AUTH_PASSWORD"),
		Tags:              map[string]string{"service_instance_id": cfg.Instance, "service_version": cfg.Version},
	})
	if err != nil {
		return err
	}
	t.closers = append(t.closers, func(ctx context.Context) error {
		stopped := make(chan error, 1)
		go func() { stopped <- p.Stop() }() // may wait for a server that is silent; it ends with its own time-out
		select {
		case err := <-stopped:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return nil
}
