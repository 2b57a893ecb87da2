// Package logtest keeps what is written while it is looked at, for tests: a log, or what a program prints.
package logtest

import (
	"bytes"
	"sync"
)

// Buffer keeps what is written to it. Its zero value is ready, and it is safe for concurrent use.
type Buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String is all that was written until now.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
