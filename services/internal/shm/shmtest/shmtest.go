// Package shmtest gives tests shared memory of their own.
package shmtest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/framebus/framebus/services/internal/shm"
	"github.com/stretchr/testify/require"
)

// Folder is memory that, at the test's end, is to be empty, and where it is.
func Folder(t testing.TB) (f *shm.Folder, path string) {
	t.Helper()
	parent, err := os.MkdirTemp("/dev/shm", "framebus-test-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.Remove(parent)) })
	path = filepath.Join(parent, "regions")
	t.Cleanup(func() { require.NoError(t, os.Remove(path), "something was left there") })
	f, err = shm.Open(shm.Settings{Folder: path})
	require.NoError(t, err)
	return f, path
}
