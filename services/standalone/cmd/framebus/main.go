// Command framebus is the one-process edition, and tools for those who watch.
package main

import (
	"os"

	"github.com/framebus/framebus/services/standalone/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], nil)) }
