package cli

import (
	"fmt"
	"os"
	"strings"
)

// scripts are what a shell is told: to ask the program itself what fits. PROGRAM is its path, quoted.
var scripts = map[string]string{
	"bash": "complete -o default -C PROGRAM framebus\n",
	"zsh": "autoload -U +X bashcompinit && bashcompinit\n" +
		"complete -o default -C PROGRAM framebus\n",
	"fish": "function __framebus_fits\n" +
		"    set -lx COMP_LINE (commandline -cp)\n" +
		"    test -z (commandline -ct); and set COMP_LINE \"$COMP_LINE \"\n" +
		"    PROGRAM\n" +
		"end\n" +
		"complete -c framebus -a '(__framebus_fits)'\n",
}

type completion struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Run is kong's: it prints what a shell is to read when it starts.
func (c *completion) Run() error {
	path, err := os.Executable()
	if err != nil {
		return err
	}
	quoted := "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	_, err = fmt.Print(strings.ReplaceAll(scripts[c.Shell], "PROGRAM", quoted))
	return err
}
