// Command simulate prints what the rules of package adapt do over simulated networks, and draws some of it.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/framebus/framebus/services/internal/adapt/simulate"
)

const seeds = 5

// drawn are the cases that are drawn, and what their files are called.
var drawn = map[string]string{
	"steps 20, 1 Mbit/s, 15 s each":              "steps",
	"ramp 1 to 20 Mbit/s and back, 30 s":         "ramp",
	"LTE 1 to 12 Mbit/s with outages, RTT 50 ms": "lte",
	"20 Mbit/s, RTT jumps 1 to 300 ms":           "jumps",
}

func main() {
	to := "docs/adaptation"
	if len(os.Args) > 1 {
		to = os.Args[1]
	}
	if err := run(to); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(to string) error {
	cases := simulate.Cases()
	simulate.Table(os.Stdout, cases, seeds)
	fmt.Println()
	same := simulate.Case{Name: "the rules", Make: cases[0].Make}
	for _, c := range cases {
		if c.Name == "2.5 Mbit/s, RTT 20 ms" {
			same.Make = c.Make
		}
	}
	simulate.Table(os.Stdout, []simulate.Case{simulate.Others(30), simulate.Others(1), same}, seeds)
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, c := range cases {
		name, ok := drawn[c.Name]
		if !ok {
			continue
		}
		path := filepath.Join(to, name+".svg")
		if err := os.WriteFile(path, draw(c.Name, simulate.Run(c.Make(1)).Viewers[0].Trace), 0o644); err != nil {
			return fmt.Errorf("draw %q: %w", c.Name, err)
		}
	}
	return nil
}
