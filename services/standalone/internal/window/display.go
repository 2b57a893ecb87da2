package window

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	x11Port    = 6000 // of display 0
	x11Sockets = "/tmp/.X11-unix"
	dialTime   = 2 * time.Second
	without    = "; to watch without a window: --no-window"
)

// ErrNoDisplay is that of a machine, or of a login to one, that has no screen to open a window on.
var ErrNoDisplay = errors.New("no display")

// display looks whether there is one. OpenCV's toolkits end the program where there is none.
func display(getenv func(string) string) error {
	if getenv("WAYLAND_DISPLAY") != "" {
		return nil
	}
	name := getenv("DISPLAY")
	if name == "" {
		return fmt.Errorf("%w: DISPLAY is not set; from another machine come by ssh -X%s", ErrNoDisplay, without)
	}
	network, addr, err := server(name)
	if err != nil {
		return fmt.Errorf("%w: DISPLAY is %q, want something like :0%s", ErrNoDisplay, name, without)
	}
	var conn net.Conn
	for _, a := range addr {
		if conn, err = net.DialTimeout(network, a, dialTime); err == nil {
			_ = conn.Close()
			return nil
		}
	}
	return fmt.Errorf("%w: nobody answers at DISPLAY %s: %w%s", ErrNoDisplay, name, err, without)
}

var errDisplayName = errors.New("not the name of a display")

// server is where the X server of a display listens: HOST:N.SCREEN, HOST empty for this machine.
func server(name string) (network string, addrs []string, err error) {
	i := strings.LastIndex(name, ":")
	if i < 0 {
		return "", nil, errDisplayName
	}
	number, _, _ := strings.Cut(name[i+1:], ".")
	n, err := strconv.ParseUint(number, 10, 15)
	if err != nil {
		return "", nil, errDisplayName
	}
	host := strings.Trim(strings.TrimSuffix(name[:i], ":"), "[]")
	if host == "" || host == "unix" {
		path := filepath.Join(x11Sockets, "X"+number)
		return "unix", []string{"@" + path, path}, nil // Linux has it without a file too
	}
	return "tcp", []string{net.JoinHostPort(host, strconv.FormatUint(x11Port+n, 10))}, nil
}
