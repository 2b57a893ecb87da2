package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"syscall"

	"github.com/framebus/framebus/services/client"
)

// remedy is what to do about an error, for whoever typed the command; empty where its own words say it. A gateway's
// refusal does, but speaks of the protocol where here there is a flag.
func remedy(err error) string {
	var refused *client.ErrRefused
	var nowhere *net.DNSError
	var stranger x509.UnknownAuthorityError
	var other net.Error
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusUnauthorized:
		return "here: --token TOKEN, or FRAMEBUS_PUBLISH_TOKEN"
	case errors.As(err, &refused) && refused.Status == http.StatusNotFound:
		return "here: framebus streams URL"
	case errors.As(err, &refused):
		return ""
	case errors.Is(err, syscall.ECONNREFUSED):
		return "is the gateway running, and is that its port? framebus doctor URL looks"
	case errors.Is(err, syscall.EADDRINUSE):
		return "end what listens there, or choose another port: --listen HOST:PORT"
	case errors.As(err, &nowhere):
		return "is that the host's name?"
	case errors.As(err, &stranger):
		return "set SSL_CERT_FILE to the PEM file of the CA"
	case errors.Is(err, fs.ErrExist):
		return "choose another name, or --force to replace it"
	case errors.Is(err, fs.ErrPermission):
		return "choose a place where you may write"
	case errors.Is(err, fs.ErrNotExist):
		return "make its folder first"
	case errors.Is(err, syscall.ENOSPC):
		return "make room there, or choose another place"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &other) && other.Timeout():
		return "is the host up, and no firewall between? framebus doctor URL looks"
	}
	return ""
}
