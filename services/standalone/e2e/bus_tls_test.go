//go:build e2e

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/stretchr/testify/require"
)

// authority makes a private CA and a certificate of it for 127.0.0.1, as files.
func authority(t *testing.T) (ca, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	now := time.Now()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "framebus test CA"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)
	require.NoError(t, err)

	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "bus"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, leafKey.Public(), rootKey)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(leafKey)
	require.NoError(t, err)
	return write("ca.pem", "CERTIFICATE", rootDER), write("bus.pem", "CERTIFICATE", leafDER),
		write("bus.key", "EC PRIVATE KEY", keyDER)
}

func TestTheBusOverTLS(t *testing.T) {
	ca, cert, key := authority(t)
	bus := startBus(t, "tls.conf", "FRAMEBUS_NATS_TLS_CERT="+cert, "FRAMEBUS_NATS_TLS_KEY="+key)
	url := "tls://" + bus.addr

	t.Run("video with the right CA", func(t *testing.T) {
		with := []string{"--nats-ca", ca}
		s := startAs(t, options{capture: with, encoder: with, gateway: with}, url, url, url)
		fullSpeed(t, watchers(t, 2, client.Config{URL: s.ws("")}))
	})
	t.Run("nothing connects in the clear", func(t *testing.T) {
		c, err := net.Dial("tcp", bus.addr)
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
		_, err = fmt.Fprintf(c, "CONNECT {\"user\":\"reader\",\"pass\":%q}\r\nPING\r\n", busPassword("reader"))
		require.NoError(t, err)
		answer, _ := io.ReadAll(c) // whether it ends with EOF or a reset is the server's affair
		require.Contains(t, string(answer), `"tls_required":true`)
		require.NotContains(t, string(answer), "PONG")
	})
	other, _, _ := authority(t)
	plain := startBus(t, "nats.conf")
	localhost := "tls://localhost:" + port(t, bus.addr)
	const unknown = "certificate signed by unknown authority"
	for name, c := range map[string]struct {
		url, ca, says string
	}{
		"the wrong CA is refused":                 {url, other, unknown},
		"without the CA it is refused":            {url, "", unknown},
		"so it is where the URL says nats://":     {bus.url(), "", unknown},
		"a server of another name is refused":     {localhost, ca, "not valid for any names"},
		"a server that has no TLS is refused":     {"tls://" + plain.addr, ca, "secure connection not available"},
		"a CA's file with no certificate in it":   {url, key, "failed to parse root certificate"},
		"a CA's file that is not there at all":    {url, ca + ".gone", "no such file"},
		"without TLS asked for, a CA asks for it": {plain.url(), ca, "secure connection not available"},
	} {
		t.Run(name, func(t *testing.T) {
			args := []string{"--nats-url", c.url}
			if c.ca != "" {
				args = append(args, "--nats-ca", c.ca)
			}
			p := runEnv(t, as("encoder"), binary(t, "encoder"), args...)
			p.waitPrinted(c.says)
			require.NotContains(t, p.out.String(), "bus connected")
		})
	}
}
