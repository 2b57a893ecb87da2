// Package cli is the command line of framebus: what it runs is elsewhere.
package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/framebus/framebus/services/client"
	"github.com/framebus/framebus/services/internal/service"
	"github.com/framebus/framebus/services/standalone"
	"github.com/willabides/kongplete"
)

// Exit codes; docs/clients.md tells them.
const (
	exitOK     = 0
	exitFailed = 1 // it did not work, and may another time
	exitUsage  = 2 // it never will as it was typed
)

type commands struct {
	Up         up         `cmd:"" help:"Run everything in one process: bus, capture, encoder and gateway."`
	View       viewCmd    `cmd:"" help:"Show a stream in a window, or as a line of figures."`
	Record     recordCmd  `cmd:"" help:"Record a stream to a file, as it comes."`
	Publish    publish    `cmd:"" help:"Publish a folder, a file or a camera: a stream like any other."`
	Streams    streams    `cmd:"" help:"List a gateway's streams."`
	Snapshot   snapshot   `cmd:"" help:"Save the newest picture of a stream."`
	Doctor     doctorCmd  `cmd:"" help:"Look whether bus, services, streams and ports are well, and say what to do."`
	Bench      bench      `cmd:"" help:"Watch a gateway with many viewers and tell what they got."`
	Completion completion `cmd:"" help:"Print what makes a shell complete commands and flags."`
	Version    version    `cmd:"" help:"Print the version."`

	ShowVersion kong.VersionFlag `name:"version" help:"Print the version."`
}

// Main runs one command and returns the exit code. Where open is nil this program has no windows.
func Main(args []string, open WindowOpener) int {
	var c commands
	parser, err := kong.New(&c, service.Options("framebus", "Live pictures from any camera to any WebSocket client.",
		service.Version)...)
	if err != nil {
		fmt.Fprintln(os.Stderr, "framebus:", err)
		return exitUsage
	}
	// A shell that completes runs the program with what was typed so far in its environment.
	completed := false
	kongplete.Complete(parser, kongplete.WithExitFunc(func(int) { completed = true }))
	if completed {
		return exitOK
	}
	chosen, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "framebus: %s; framebus --help, or that of a command, tells more\n", line(err))
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	chosen.BindTo(ctx, (*context.Context)(nil))
	chosen.Bind(open)
	err = chosen.Run()
	var wrong usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &wrong):
		fmt.Fprintln(os.Stderr, "framebus:", line(err))
		return exitUsage
	default:
		fmt.Fprintln(os.Stderr, "framebus:", line(err))
		return exitFailed
	}
}

// usageError is a mistake of whoever typed the command.
type usageError struct{ error }

// line is an error on one line, joined ones side by side, and what to do about it.
func line(err error) string {
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	if what := remedy(err); what != "" {
		text += "; " + what
	}
	return text
}

// checkURL says at once that a gateway's URL is none.
func checkURL(raw string) error {
	if err := (&client.Config{URL: raw}).Validate(); err != nil {
		return usageError{err}
	}
	return nil
}

type version struct{}

func (version) Run() error {
	fmt.Println("framebus", service.Version)
	return nil
}

type up struct{ standalone.Settings }

// Run is kong's: it serves until told to end.
func (u *up) Run(ctx context.Context) error {
	if err := u.Validate(); err != nil {
		return usageError{err}
	}
	return standalone.Run(ctx, u.Settings, standalone.Deps{OnListening: func(a net.Addr) {
		fmt.Println("viewer:", viewerURL(a, u.Gateway.TLSCert != ""))
	}})
}

// viewerURL is what to open in a browser on this machine.
func viewerURL(a net.Addr, tls bool) string {
	scheme := "http"
	if tls {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(a.String())
	if ip := net.ParseIP(host); err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return scheme + "://" + net.JoinHostPort(host, port) + "/"
}
