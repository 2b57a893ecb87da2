package service

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/shm"
	"github.com/framebus/framebus/services/internal/telemetry"
)

// Common are the settings of every service: a flag and an environment variable each.
type Common struct {
	NATSURL      string `name:"nats-url" env:"FRAMEBUS_NATS_URL" default:"nats://127.0.0.1:4222" help:"Bus: nats://HOST:PORT, several separated by commas."`
	NATSUser     string `name:"nats-user" env:"FRAMEBUS_NATS_USER" help:"User at the bus, where it wants one."`
	NATSPassword string `name:"nats-password" env:"FRAMEBUS_NATS_PASSWORD" help:"Password at the bus; better from a file: FRAMEBUS_NATS_PASSWORD_FILE."`
	NATSCA       string `name:"nats-ca" env:"FRAMEBUS_NATS_CA" help:"PEM file of the CA of the bus, for tls:// URLs."`
	Instance     string `name:"instance" env:"FRAMEBUS_INSTANCE" help:"This instance's name; default: host name + random."`
	LogLevel     string `name:"log-level" env:"FRAMEBUS_LOG_LEVEL" default:"info" help:"debug, info, warn or error."`
	LogFormat    string `name:"log-format" env:"FRAMEBUS_LOG_FORMAT" default:"text" help:"text or json."`
	AdminListen  string `name:"admin-listen" env:"FRAMEBUS_ADMIN_LISTEN" help:"HOST:PORT of health, metrics and pprof; off by default."`

	// Shm is where raw frames lie that go by reference. A service that can't have it starts all the same.
	Shm shm.Settings `embed:""`
}

// Validate names every error at once.
func (c *Common) Validate() error {
	var errs []error
	if c.Instance != "" && !subject.ValidName(c.Instance) {
		errs = append(errs, fmt.Errorf("instance %q: want a-z, 0-9, _ and -, at most %d", c.Instance, subject.MaxName))
	}
	if err := telemetry.ValidLog(c.LogLevel, c.LogFormat); err != nil {
		errs = append(errs, err)
	}
	if c.AdminListen != "" {
		if _, _, err := net.SplitHostPort(c.AdminListen); err != nil {
			errs = append(errs, fmt.Errorf("admin listen %q: want HOST:PORT or :PORT", c.AdminListen))
		}
	}
	if c.NATSCA != "" {
		if _, err := os.Stat(c.NATSCA); err != nil {
			errs = append(errs, fmt.Errorf("nats ca: %w", err))
		}
	}
	return errors.Join(errs...)
}

// Validator is a group of settings that can say what is wrong with them.
type Validator interface{ Validate() error }

// maxSecret bounds a secret's file, in bytes.
const maxSecret = 64 << 10

// secretFiles gives a setting the content of the file that NAME_FILE names, for secrets that must not stand in the
// environment.
func secretFiles(getenv func(string) string) kong.Resolver {
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		for _, name := range flag.Envs {
			path := getenv(name + "_FILE")
			if path == "" || getenv(name) != "" {
				continue
			}
			info, err := os.Stat(path)
			if err != nil {
				return nil, fmt.Errorf("%s_FILE: %w", name, err)
			}
			if info.Size() > maxSecret {
				return nil, fmt.Errorf("%s_FILE: %s is larger than %d bytes", name, path, maxSecret)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return nil, fmt.Errorf("%s_FILE: %w", name, err)
			}
			return strings.TrimRight(string(b), "\r\n"), nil
		}
		return nil, nil
	})
}

// Options are how every program of framebus reads its settings.
func Options(name, description, version string) []kong.Option {
	return []kong.Option{
		kong.Name(name), kong.Description(description), kong.Vars{"version": name + " " + version},
		kong.Resolvers(secretFiles(os.Getenv)), kong.UsageOnError(),
	}
}
