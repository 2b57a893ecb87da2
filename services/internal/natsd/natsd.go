// Package natsd is the embedded bus: a nats-server inside this process, for the one-process edition and for tests. It
// is the only importer of nats-server.
package natsd

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// MaxPayload is the largest message in bytes: a 1920×1080 I420 frame is 3.1 MB, NATS's own default is 1 MiB.
const MaxPayload = 8 << 20

// MaxPending is what the server keeps for a slow client, in bytes, before it drops the client.
const MaxPending = 16 << 20

// Config of an embedded server.
type Config struct {
	// Listen is host:port to listen on as well; empty means within the process only.
	Listen string
	// MaxPayload in bytes; 0 means MaxPayload of this package.
	MaxPayload int32
}

// Server is a running embedded server.
type Server struct{ s *server.Server }

// Start runs a server and returns when it takes connections.
func Start(cfg Config) (*Server, error) {
	opts := &server.Options{
		ServerName: "framebus", NoSigs: true, NoLog: true, DontListen: true,
		MaxPayload: MaxPayload, MaxPending: MaxPending, NoFastProducerStall: true,
		WriteDeadline: 2 * time.Second,
	}
	if cfg.MaxPayload > 0 {
		opts.MaxPayload = cfg.MaxPayload
	}
	if cfg.Listen != "" {
		addr, err := net.ResolveTCPAddr("tcp", cfg.Listen)
		if err != nil {
			return nil, fmt.Errorf("embedded bus: listen on %q: %w", cfg.Listen, err)
		}
		opts.DontListen, opts.Host, opts.Port = false, addr.IP.String(), addr.Port
		if addr.IP == nil {
			opts.Host = "0.0.0.0"
		}
		if addr.Port == 0 {
			opts.Port = server.RANDOM_PORT
		}
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("embedded bus: %w", err)
	}
	s.Start()
	if !s.ReadyForConnections(5 * time.Second) {
		s.Shutdown()
		return nil, errors.New("embedded bus: not ready after 5 s; is its port taken?")
	}
	return &Server{s}, nil
}

// InProcessConn connects within the process; nats.go asks for it by this name.
func (s *Server) InProcessConn() (net.Conn, error) { return s.s.InProcessConn() }

// URL is where others can connect, or empty where it does not listen.
func (s *Server) URL() string {
	if a, ok := s.s.Addr().(*net.TCPAddr); ok {
		return "nats://" + net.JoinHostPort("127.0.0.1", fmt.Sprint(a.Port))
	}
	return ""
}

// Subscriptions is the number of subscriptions of all clients.
func (s *Server) Subscriptions() uint32 { return s.s.NumSubscriptions() }

// Close ends the server and waits for it.
func (s *Server) Close() {
	s.s.Shutdown()
	s.s.WaitForShutdown()
}
