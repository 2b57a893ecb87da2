//go:build !linux

package shm

import (
	"errors"
	"os"
)

// allocate is not to be had here: frames go inline.
func allocate(*os.File, int64) error { return errors.ErrUnsupported }

// usual is this user's folder where none is asked for; empty means off.
func usual() string { return "" }
