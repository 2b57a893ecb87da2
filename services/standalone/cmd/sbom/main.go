// Command sbom says what is in an image, as CycloneDX or with --list as rows of a table:
//
//	docker export CONTAINER | sbom IMAGE|--list
package main

import (
	"fmt"
	"os"

	"github.com/framebus/framebus/services/standalone/internal/sbom"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: docker export CONTAINER | sbom IMAGE|--list")
		os.Exit(2)
	}
	list, err := sbom.Read(os.Stdin)
	switch {
	case err != nil:
	case os.Args[1] == "--list":
		err = sbom.List(os.Stdout, list)
	default:
		err = sbom.CycloneDX(os.Stdout, os.Args[1], list)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}
