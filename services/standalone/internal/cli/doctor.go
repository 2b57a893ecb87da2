package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/standalone/internal/doctor"
)

type doctorCmd struct {
	URL      string `arg:"" optional:"" default:"http://127.0.0.1:8002" help:"Gateway: http://HOST:PORT."`
	NATSURL  string `name:"nats-url" env:"FRAMEBUS_NATS_URL" help:"Bus to look at; default: none, as the one-process edition has its own."`
	NATSUser string `name:"nats-user" env:"FRAMEBUS_NATS_USER" help:"User at the bus: reader may listen."`
	NATSPass string `name:"nats-password" env:"FRAMEBUS_NATS_PASSWORD" help:"Password at the bus."`
	NATSCA   string `name:"nats-ca" env:"FRAMEBUS_NATS_CA" help:"PEM file of the CA of the bus."`
	Listen   string `env:"FRAMEBUS_LISTEN" default:":8002" help:"Where a gateway is to listen."`
	JSON     bool   `name:"json" help:"Print JSON instead of lines."`
}

var errUnwell = errors.New("not all is well; the hints say what to do")

// Run is kong's: it looks at everything and fails where something is not well.
func (d *doctorCmd) Run(ctx context.Context) error {
	if err := checkURL(d.URL); err != nil {
		return err
	}
	all := doctor.Look(ctx, doctor.Config{
		Bus:     bus.Config{URL: d.NATSURL, User: d.NATSUser, Password: d.NATSPass, CAFile: d.NATSCA},
		Gateway: d.URL, Listen: d.Listen,
	})
	var err error
	for _, f := range all {
		if f.State == doctor.Fail {
			err = errUnwell
		}
	}
	if d.JSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return errors.Join(err, e.Encode(all))
	}
	for _, f := range all {
		fmt.Printf("%-5s %s: %s\n", f.State, f.Part, f.Text)
		if f.Hint != "" {
			fmt.Printf("      → %s\n", f.Hint)
		}
	}
	return err
}
