// Command framebus-view is framebus with a window: framebus view runs it.
package main

import (
	"os"
	"runtime"

	"github.com/framebus/framebus/services/standalone/internal/cli"
	"github.com/framebus/framebus/services/standalone/internal/view"
	"github.com/framebus/framebus/services/standalone/internal/window"
)

func main() {
	runtime.LockOSThread() // macOS has windows on the main thread only
	os.Exit(cli.Main(os.Args[1:], open))
}

func open(title string) (view.Window, func(), error) {
	w, err := window.Open(title, os.Getenv)
	if err != nil {
		return nil, nil, err
	}
	return w, w.Close, nil
}
