package gateway

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/framebus/framebus/proto/frame"
)

// Settings of a gateway: a flag and an environment variable each.
type Settings struct {
	Listen         string        `name:"listen" env:"FRAMEBUS_LISTEN" default:":8002" help:"HOST:PORT for viewers."`
	MaxClients     int           `name:"max-clients" env:"FRAMEBUS_MAX_CLIENTS" default:"10" help:"Viewers of every kind at once."`
	MaxPublishers  int           `name:"max-publishers" env:"FRAMEBUS_MAX_PUBLISHERS" default:"10" help:"Publishing clients at once; 0 for none."`
	PublishBytes   int           `name:"publish-max-bytes" env:"FRAMEBUS_PUBLISH_MAX_BYTES" default:"4194304" help:"Bytes of a message that a client publishes."`
	PublishSide    int           `name:"publish-max-side" env:"FRAMEBUS_PUBLISH_MAX_SIDE" default:"4096" help:"Width and height of a picture that a client publishes, px."`
	PublishFPS     float64       `name:"publish-max-fps" env:"FRAMEBUS_PUBLISH_MAX_FPS" default:"60" help:"Pictures a second that a client may publish."`
	PublishToken   string        `name:"publish-token" env:"FRAMEBUS_PUBLISH_TOKEN" help:"What a publishing client has to show; without one, only this host may publish."`
	TLSCert        string        `name:"tls-cert" env:"FRAMEBUS_TLS_CERT" help:"PEM file of the certificate; plain HTTP without."`
	TLSKey         string        `name:"tls-key" env:"FRAMEBUS_TLS_KEY" help:"PEM file of its key."`
	AllowedOrigins []string      `name:"allowed-origins" env:"FRAMEBUS_ALLOWED_ORIGINS" help:"Hosts whose pages may connect besides our own, separated by commas; * for all."`
	DrainDelay     time.Duration `name:"drain-delay" env:"FRAMEBUS_DRAIN_DELAY" default:"0s" help:"Time between the end of readiness and closing viewers."`
	DrainSpread    time.Duration `name:"drain-spread" env:"FRAMEBUS_DRAIN_SPREAD" default:"0s" help:"Time over which viewers are closed."`
	SizedListen    string        `name:"sized-listen" env:"FRAMEBUS_SIZED_LISTEN" help:"HOST:PORT of plain TCP with [8-byte size][JPEG]; off by default."`
	TraceUI        string        `name:"trace-ui" env:"FRAMEBUS_TRACE_UI" help:"URL of a trace, {trace_id} in it to be replaced."`
}

const (
	maxClients = 100_000
	maxDrain   = 5 * time.Minute

	maxPublishFPS = 1000
)

// Validate names every error at once.
func (s *Settings) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, _, err := net.SplitHostPort(s.Listen); err != nil {
		wrong("listen %q: want HOST:PORT or :PORT", s.Listen)
	}
	if s.SizedListen != "" {
		if _, _, err := net.SplitHostPort(s.SizedListen); err != nil {
			wrong("sized listen %q: want HOST:PORT or :PORT", s.SizedListen)
		}
	}
	if s.MaxClients < 1 || s.MaxClients > maxClients {
		wrong("max clients %d: want 1..%d", s.MaxClients, maxClients)
	}
	s.validatePublishing(wrong)
	for name, d := range map[string]time.Duration{"drain delay": s.DrainDelay, "drain spread": s.DrainSpread} {
		if d < 0 || d > maxDrain {
			wrong("%s %v: want 0s..%v", name, d, maxDrain)
		}
	}
	switch {
	case (s.TLSCert == "") != (s.TLSKey == ""):
		wrong("tls: a certificate and its key are needed, or neither")
	case s.TLSCert != "":
		if _, err := tls.LoadX509KeyPair(s.TLSCert, s.TLSKey); err != nil {
			wrong("tls: %w", err)
		}
	}
	if s.TraceUI != "" && !strings.Contains(s.TraceUI, "{trace_id}") {
		wrong("trace ui: want a URL with {trace_id} in it")
	}
	for _, o := range s.AllowedOrigins {
		if o == "" || strings.ContainsAny(o, "/ ") {
			wrong("allowed origin %q: want HOST or HOST:PORT, or *", o)
		}
	}
	return errors.Join(errs...)
}

func (s *Settings) validatePublishing(wrong func(format string, args ...any)) {
	if s.MaxPublishers < 0 || s.MaxPublishers > maxClients {
		wrong("max publishers %d: want 0..%d", s.MaxPublishers, maxClients)
	}
	if s.MaxPublishers == 0 {
		return
	}
	if s.PublishBytes < 1024 || s.PublishBytes > frame.MaxPayload {
		wrong("publish max bytes %d: want 1024..%d", s.PublishBytes, frame.MaxPayload)
	}
	if s.PublishSide < 1 || s.PublishSide > frame.MaxSide {
		wrong("publish max side %d: want 1..%d", s.PublishSide, frame.MaxSide)
	}
	if !(s.PublishFPS > 0 && s.PublishFPS <= maxPublishFPS) {
		wrong("publish max fps %v: want more than 0 and at most %d", s.PublishFPS, maxPublishFPS)
	}
}

// allows tells whether a page of this origin may connect to us at host. Who sends no origin is no page.
func (s *Settings) allows(origin, host string) bool {
	if origin == "" || slices.Contains(s.AllowedOrigins, "*") {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false
	}
	return strings.EqualFold(u.Host, host) || slices.ContainsFunc(s.AllowedOrigins, func(o string) bool {
		return strings.EqualFold(o, u.Host) || strings.EqualFold(o, u.Hostname())
	})
}
