package source

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// preflight asks a peer for a first sign of life before FFmpeg is let at it, since FFmpeg opens under a lock of the
// whole process: a peer that accepts and says nothing would hold up every other source for as long as its time-out. It
// returns the status the peer answered with, for what follows; its errors are causes, and hold nothing secret.
func preflight(ctx context.Context, target string) (status string, err error) {
	u, err := url.Parse(target)
	if err != nil {
		return "", errors.New("not a valid URL")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"rtsp": "554", "rtsps": "322", "http": "80", "https": "443"}[u.Scheme]
	}
	ctx, cancel := context.WithTimeout(ctx, netTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return "", dialCause(err)
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if u.Scheme == "https" || u.Scheme == "rtsps" {
		// Whether the certificate can be trusted is FFmpeg's business; nothing is sent over this connection.
		err = tls.Client(conn, &tls.Config{ServerName: u.Hostname(), InsecureSkipVerify: true}).HandshakeContext(ctx)
		return "", answerCause(ctx, err, "the peer does not speak TLS")
	}
	if _, err = conn.Write([]byte(question(u))); err != nil {
		return "", answerCause(ctx, err, "the peer hung up")
	}
	line, err := bufio.NewReaderSize(conn, 256).ReadSlice('\n')
	if len(line) == 0 {
		return "", answerCause(ctx, err, "the peer hung up")
	}
	return statusOf(string(line)), nil
}

// question is a request that every server of the scheme answers, be it with a refusal, and that starts nothing.
func question(u *url.URL) string {
	bare := *u
	bare.User = nil
	if u.Scheme == "rtsp" {
		return "DESCRIBE " + bare.String() + " RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n"
	}
	return "HEAD " + bare.RequestURI() + " HTTP/1.1\r\nHost: " + bare.Host + "\r\nConnection: close\r\n\r\n"
}

// statusOf is the code of a status line, empty where there is none.
func statusOf(line string) string {
	fields := strings.Fields(line)
	if len(fields) < 2 || !strings.HasPrefix(fields[0], "RTSP/") && !strings.HasPrefix(fields[0], "HTTP/") {
		return ""
	}
	code := fields[1]
	if len(code) != 3 || strings.Trim(code, "0123456789") != "" {
		return ""
	}
	return code
}

func dialCause(err error) error {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &dns):
		return errors.New("no such host")
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("connection refused")
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("no connection within %v", netTimeout)
	default:
		return errors.New("host unreachable")
	}
}

func answerCause(ctx context.Context, err error, otherwise string) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errNoAnswer
	default:
		return errors.New(otherwise)
	}
}

var errNoAnswer = fmt.Errorf("no answer within %v", netTimeout)

// noVideo is why a peer that answered did not open.
func noVideo(status string) error {
	switch status {
	case "401", "403":
		return errors.New("the peer refuses the login (" + status + ")")
	case "404":
		return errors.New("the peer knows no such path (404)")
	default:
		return errors.New("the peer answers, but gives no video that FFmpeg can read")
	}
}
