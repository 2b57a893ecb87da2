package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/framebus/framebus/services/standalone/internal/view"
	"golang.org/x/sys/unix"
)

// withWindow is the program that can open a window, beside this one. It is another one because what it links with, a
// whole window system, is nothing for a server's memory.
const withWindow = "framebus-view"

// A WindowOpener makes a window on the screen; shut takes it off.
type WindowOpener func(title string) (w view.Window, shut func(), err error)

type viewCmd struct {
	URL      string        `arg:"" help:"Gateway: http://HOST:PORT."`
	Stream   string        `help:"Default: the gateway's first."`
	Rung     string        `default:"auto" enum:"auto,full,half,quarter" help:"auto, full, half or quarter size."`
	Attempts int           `help:"Attempts in a row that may fail; 0 is for ever."`
	Delay    time.Duration `help:"Between attempts; 0 is a back-off."`
	Dir      string        `default:"." help:"Folder for snapshots and recordings."`
	NoWindow bool          `name:"no-window" help:"Print a status line instead."`
	JSON     bool          `name:"json" help:"Print the figures as a line of JSON once a second."`
}

// Help is kong's: what its help says besides.
func (*viewCmd) Help() string {
	return "Keys in the window: q quit, s snapshot, r begin and end a recording, o figures on and off, f full screen, " +
		"1 2 3 full, half, quarter size, 0 automatic."
}

// Run is kong's: it shows a stream until told to end.
func (c *viewCmd) Run(ctx context.Context, open WindowOpener) error {
	cfg := view.Config{
		URL: c.URL, Stream: c.Stream, Rung: c.Rung, Attempts: c.Attempts, Delay: c.Delay, Dir: c.Dir, JSON: c.JSON,
	}
	if err := cfg.Validate(); err != nil {
		return usageError{err}
	}
	deps := view.Deps{Out: os.Stdout, Terminal: terminal}
	switch {
	case c.NoWindow:
	case open == nil:
		return runBeside(withWindow)
	default:
		w, shut, err := open("framebus " + c.Stream)
		if err != nil {
			return err
		}
		defer shut()
		deps.Window = w
	}
	return view.Run(ctx, cfg, deps)
}

// runBeside goes on as another program of the same folder, with the arguments and the terminal of this one.
func runBeside(name string) error {
	own, err := os.Executable()
	if err != nil {
		return err
	}
	path := filepath.Join(filepath.Dir(own), name)
	err = syscall.Exec(path, append([]string{name}, os.Args[1:]...), os.Environ())
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("a window needs the program %s, which is not there: make build makes it; "+
			"without a window: --no-window", path)
	}
	return fmt.Errorf("run %s: %w", path, err)
}

// terminal is how wide standard output is, in characters; 0 where it is no terminal.
func terminal() int {
	size, err := unix.IoctlGetWinsize(int(os.Stdout.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	if size.Col == 0 {
		return 80 // one that does not tell
	}
	return int(size.Col)
}
