package source

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pipePoll is how often waiting for a pipe's writer looks whether it is still wanted.
const pipePoll = 100 * time.Millisecond

// isPipe tells a named pipe, which comes to life when somebody writes to it, and sets its own pace.
func isPipe(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&os.ModeNamedPipe != 0
}

// awaitPipe waits until there is something to read in a named pipe, and returns what FFmpeg calls it. FFmpeg's own
// waiting could not be ended, and would keep every other source of the process from being opened.
func awaitPipe(ctx context.Context, path string) (url string, closePipe func(), err error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return "", nil, reason(path, err)
		}
		ready, err := pollPipe(ctx, fd)
		if err == nil && ready {
			err = unix.SetNonblock(fd, false)
			return fmt.Sprintf("pipe:%d", fd), func() { _ = unix.Close(fd) }, err
		}
		_ = unix.Close(fd)
		if err != nil {
			return "", nil, err
		}
	}
}

// pollPipe reports false where a writer came and went without a word.
func pollPipe(ctx context.Context, fd int) (ready bool, err error) {
	for ctx.Err() == nil {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		_, err := unix.Poll(fds, int(pipePoll.Milliseconds()))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return false, fmt.Errorf("the pipe cannot be read")
		case fds[0].Revents&unix.POLLIN != 0:
			return true, nil
		case fds[0].Revents != 0:
			return false, nil
		}
	}
	return false, ctx.Err()
}
