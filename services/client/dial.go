package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

const (
	protocol  = "framebus.v1"
	handshake = 5 * time.Second
	firstWait = 100 * time.Millisecond
	longWait  = 1600 * time.Millisecond // so that a gateway that comes back shows video within 2 s
	// shutOut is the least wait where the gateway said not to come back.
	shutOut = 10 * time.Second
	// retryAfter bounds what a gateway may ask for: a full one may have room again soon.
	retryAfter = 5 * time.Second
	// readBuffer holds a usual picture and the ping behind it: one read of the socket a frame.
	readBuffer = 32 << 10
)

// ErrGaveUp is what Run's error wraps when Config.Attempts attempts in a row failed; it wraps the last one's too.
var ErrGaveUp = errors.New("gave up")

// ErrRefused is a gateway's refusal of the handshake.
type ErrRefused struct {
	Status     int
	Reason     string        // the gateway's own words
	RetryAfter time.Duration // 0 where it did not say
}

// Error gives the gateway's words.
func (e *ErrRefused) Error() string {
	return fmt.Sprintf("refused with %d %s: %s", e.Status, http.StatusText(e.Status), e.Reason)
}

// final tells whether another attempt would be refused just so. A stream that is not there may come yet, and room too.
func (e *ErrRefused) final() bool {
	switch e.Status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotImplemented:
		return true
	}
	return false
}

// target is the URL to dial, without user and password, and the header of the handshake.
func (c *Config) target() (*url.URL, http.Header, error) {
	u, h, err := endpoint(c.URL, "/ws", c.Header)
	if err != nil {
		return nil, nil, err
	}
	q := u.Query()
	set := func(key, value string) {
		if value != "" {
			q.Set(key, value)
		}
	}
	set("stream", c.Stream)
	set("rung", c.Rung)
	set("mode", c.Mode)
	if c.MaxFPS > 0 {
		q.Set("max_fps", strconv.FormatFloat(c.MaxFPS, 'g', -1, 64))
	}
	if c.Format == Sized {
		q.Set("format", "sized")
	}
	u.RawQuery = q.Encode()
	return u, h, nil
}

// endpoint is the WebSocket URL of a gateway's path, without user and password, and the header of the handshake.
func endpoint(raw, path string, more http.Header) (*url.URL, http.Header, error) {
	if !strings.Contains(raw, "://") {
		raw = "http://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		// The parser's words contain the URL, and that may contain a password.
		return nil, nil, fmt.Errorf("malformed URL: %w", errors.Unwrap(err))
	}
	switch u.Scheme {
	case "http", "ws":
		u.Scheme = "ws"
	case "https", "wss":
		u.Scheme = "wss"
	default:
		return nil, nil, fmt.Errorf("URL scheme %q: want http, https, ws or wss", u.Scheme)
	}
	if u.Hostname() == "" {
		return nil, nil, errors.New("URL names no host: want something like http://host:8002")
	}
	u.Fragment = ""
	if u.Path = strings.TrimRight(u.Path, "/"); !strings.HasSuffix(u.Path, path) {
		u.Path += path
	}
	h := http.Header{"User-Agent": {"framebus-client"}}
	if u.User != nil {
		password, _ := u.User.Password()
		pair := base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))
		h.Set("Authorization", "Basic "+pair)
		u.User = nil
	}
	for key, values := range more {
		h[http.CanonicalHeaderKey(key)] = values
	}
	return u, h, nil
}

// dialer makes the connections of one viewer or publisher.
type dialer struct {
	target   *url.URL
	header   http.Header
	tls      *tls.Config
	protocol string // the subprotocol that the gateway must speak, or none
	connect  func(ctx context.Context, network, addr string) (net.Conn, error)
	write    int // bytes written at once: gorilla sends a longer message in as many fragments
}

// dial makes one attempt. It ends with ctx, also while the peer accepts and says nothing.
func (d *dialer) dial(ctx context.Context) (*websocket.Conn, error) {
	stop := func() bool { return true }
	ws := websocket.Dialer{
		Proxy:            http.ProxyFromEnvironment,
		HandshakeTimeout: handshake,
		ReadBufferSize:   readBuffer,
		WriteBufferSize:  d.write,
		// gorilla looks at its context only until the connection is made; the handshake must end with it as well.
		NetDialContext: func(dctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := d.connect(dctx, network, addr)
			if err == nil {
				stop = context.AfterFunc(ctx, func() { conn.Close() })
			}
			return conn, err
		},
	}
	if d.tls != nil {
		ws.TLSClientConfig = d.tls.Clone()
		ws.TLSClientConfig.NextProtos = nil // a WebSocket is HTTP/1.1
	}
	if d.protocol != "" {
		ws.Subprotocols = []string{d.protocol}
	}
	conn, resp, err := ws.DialContext(ctx, d.target.String(), d.header)
	ended := !stop()
	switch {
	case ended || ctx.Err() != nil:
		if conn != nil {
			_ = conn.Close()
		}
		return nil, context.Cause(ctx)
	case errors.Is(err, websocket.ErrBadHandshake) && resp.StatusCode != http.StatusSwitchingProtocols:
		return nil, refusal(resp)
	case err != nil:
		return nil, fmt.Errorf("dial %s: %w", d.target.Host, err)
	case conn.Subprotocol() != d.protocol:
		_ = conn.Close()
		return nil, fmt.Errorf("dial %s: the server does not speak %s", d.target.Host, d.protocol)
	}
	return conn, nil
}

// refusal reads the JSON line of one; a proxy in between may speak otherwise.
func refusal(resp *http.Response) *ErrRefused {
	e := &ErrRefused{Status: resp.StatusCode}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
	resp.Body.Close()
	var line struct{ Error, Message, Reason, Hint string }
	if err == nil && json.Unmarshal(text, &line) == nil {
		e.Reason = cmp.Or(line.Error, line.Message, line.Reason)
		if line.Hint != "" {
			e.Reason = strings.TrimPrefix(e.Reason+". "+line.Hint, ". ")
		}
	}
	e.Reason = cmp.Or(e.Reason, strings.TrimSpace(string(text)), "no reason given")
	return e
}

// retry is how a connection is kept.
type retry struct {
	attempts int           // in a row that may fail; 0 means for ever
	delay    time.Duration // between them; 0 means a back-off
	log      *slog.Logger
	state    func(State)
}

// keep has once connect, and again, until ctx ends or it gives up. once tells whether the gateway was heard.
func (r retry) keep(ctx context.Context, once func(context.Context, int) (heard bool, err error)) error {
	attempt := 0
	ever := false
	for ctx.Err() == nil {
		attempt++
		r.state(State{Phase: Connecting, Attempt: attempt})
		heard, err := once(ctx, attempt)
		if ctx.Err() != nil {
			return nil
		}
		least := time.Duration(0)
		if heard {
			ever = true
			attempt = 0 // only a gateway that speaks counts as back
		}
		var refused *ErrRefused
		var bye *ErrBye
		switch {
		case errors.As(err, &refused):
			if refused.final() && !ever {
				return err
			}
			least = min(refused.RetryAfter, retryAfter)
		case errors.As(err, &bye) && !bye.ComeBack:
			least = shutOut
		}
		if r.attempts > 0 && attempt >= r.attempts {
			return fmt.Errorf("%w after %d attempts: %w", ErrGaveUp, attempt, err)
		}
		wait := r.delay
		if wait == 0 {
			wait = max(backoff(attempt), least)
		}
		r.state(State{Phase: Waiting, Attempt: attempt, Err: err, Wait: wait})
		r.log.Info("waiting to connect", "reason", err, "attempt", attempt, "wait", wait)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return nil
}

// backoff is the wait after the n-th failure in a row, n from 0: 100 ms … 1.6 s, spread so that viewers of a gateway
// that went away do not come back as one.
func backoff(n int) time.Duration {
	d := min(firstWait<<min(max(n-1, 0), 10), longWait)
	return min(d*3/4+rand.N(d/2+1), longWait)
}
