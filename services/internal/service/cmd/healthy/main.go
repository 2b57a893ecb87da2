// Command healthy asks a service in its own container whether it is ready, and ends with 0 or 1. A container without a
// shell needs it; it is a program of its own because capture takes a tenth of a second to load OpenCV only to ask.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// The admin listener of an image, and how long its answer may take. Reasons are short.
const (
	url       = "http://127.0.0.1:9464/readyz"
	within    = 2 * time.Second
	maxReason = 1 << 10
)

func main() {
	if err := ask(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func ask() error {
	resp, err := (&http.Client{Timeout: within}).Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	reason, err := io.ReadAll(io.LimitReader(resp.Body, maxReason))
	if err != nil {
		return fmt.Errorf("not ready: %s", resp.Status)
	}
	return fmt.Errorf("not ready: %s", strings.TrimSpace(string(reason)))
}
