//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"image/jpeg"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/framebus/framebus/services/internal/source/sourcetest"
	"github.com/stretchr/testify/require"
)

// publish runs `framebus publish` to a gateway's stream.
func (s *system) publish(source, stream string, more ...string) *process {
	s.t.Helper()
	return run(s.t, binary(s.t, "framebus"),
		append([]string{"publish", source, "http://" + s.addr, "--stream", stream}, more...)...)
}

// folder has so many numbered pictures.
func folder(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		path := filepath.Join(dir, fmt.Sprintf("%03d.jpg", i))
		require.NoError(t, os.WriteFile(path, sourcetest.JPEG(t, i, 640, 480), 0o600))
	}
	return dir
}

func TestWhatClientsPublishIsSeen(t *testing.T) {
	s := start(t, options{})
	clip := filepath.Join(t.TempDir(), "clip.mp4")
	sourcetest.WriteVideo(t, clip, "mp4v", videoFPS, 640, 480, 60)
	s.publish(folder(t, 30), "pictures")
	s.publish(clip, "video")
	for _, stream := range []string{"pictures", "video"} {
		waitStream(t, s.addr, stream)
		w := watch(t, client.Config{URL: "http://" + s.addr, Stream: stream})
		w.waitFrames(30)
		steadily(t, func() string {
			if a := during([]*watcher{w}, 3*time.Second)[0]; a.fps < 25 {
				return fmt.Sprintf("%s: %.1f fps", stream, a.fps)
			}
			return ""
		})
		_, err := jpeg.Decode(bytes.NewReader(w.jpeg()))
		require.NoError(t, err)
		w.stop()
	}
}

// A JPEG whose entropy-coded data lacks a piece passes the gateway's check; the encoder refuses it.
func TestDamagedPicturesAreNotShown(t *testing.T) {
	admin := freeAddr(t)
	s := start(t, options{encoder: []string{"--admin-listen", admin}})
	dir := t.TempDir()
	good := sourcetest.JPEG(t, 7, 640, 480)
	bad := append(bytes.Clone(good[:len(good)/2]), good[len(good)/2+100:]...)
	for i := range 10 {
		b := good
		if i%2 == 1 {
			b = bad
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.jpg", i)), b, 0o600))
	}
	s.publish(dir, "desk")
	waitStream(t, s.addr, "desk")
	w := watch(t, client.Config{URL: "http://" + s.addr, Stream: "desk"})
	w.waitFrames(30)
	for range 30 {
		img, err := jpeg.Decode(bytes.NewReader(w.jpeg()))
		require.NoError(t, err)
		whole, err := jpeg.Decode(bytes.NewReader(good))
		require.NoError(t, err)
		require.Equal(t, whole.Bounds(), img.Bounds())
		w.waitFrames(1)
	}
	require.Positive(t, metric(t, admin, `framebus_encoder_frames_total{fate="corrupt"`))
}

func TestADeadGatewayFreesItsNames(t *testing.T) {
	s := start(t, options{})
	other := freeAddr(t)
	s.startGateway(other)
	waitReady(t, other)
	dir := folder(t, 10)
	s.publish(dir, "desk")
	waitStream(t, other, "desk")
	w := watch(t, client.Config{URL: "http://" + other, Stream: "desk"})
	w.waitFrames(10)
	free := func() bool { code, _ := get(t, "http://"+other+"/publish?stream=desk"); return code == http.StatusOK }
	require.False(t, free(), "two publishers of one name")

	s.gateway.kill()
	died := time.Now()
	require.Eventually(t, free, patience, 20*time.Millisecond)
	took := time.Since(died)
	t.Logf("the name is free after %v", took.Round(10*time.Millisecond))
	require.Less(t, took, 3*time.Second)
	s.addr = other
	s.publish(dir, "desk")
	w.firstAfter(time.Now())
}

// From another address than this host's own it takes the token, and pages need HTTPS.
func TestPublishingFromElsewhere(t *testing.T) {
	ip := outward(t)
	cert, key, trust := certificate(t, ip)
	addr := freeAddrOn(t, ip.String())
	const token = "open sesame"
	s := &system{t: t, nats: startNATS(t, "")}
	s.natsURL = s.nats.url()
	s.startEncoder("")
	gw := runEnv(t, []string{"FRAMEBUS_PUBLISH_TOKEN=" + token}, binary(t, "gateway"), "--nats-url", s.natsURL,
		"--listen", addr, "--tls-cert", cert, "--tls-key", key)
	ask := client.Question{URL: "https://" + addr, TLS: trust}
	answers := func() bool { _, err := ask.Streams(t.Context()); return err == nil }
	require.Eventually(t, answers, patience, 50*time.Millisecond)
	gw.waitPrinted("bus connected")

	publisher := func(token string) (*client.Publisher, error) {
		return client.NewPublisher(client.PublisherConfig{
			URL: "https://" + addr, Stream: "desk", TLS: trust, Token: token, Attempts: 100,
		}, client.PublisherDeps{})
	}
	stranger, err := publisher("guess")
	require.NoError(t, err)
	var refused *client.ErrRefused
	require.ErrorAs(t, stranger.Run(t.Context()), &refused)
	require.Equal(t, http.StatusUnauthorized, refused.Status)

	p, err := publisher(token)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	defer func() { cancel(); require.NoError(t, <-ended) }()
	require.Eventually(t, func() bool {
		p.Send(sourcetest.JPEG(t, 1, 640, 480))
		list, err := ask.Streams(t.Context())
		return err == nil && len(list) == 1 && list[0].State == "live"
	}, patience, 50*time.Millisecond)
	require.NotContains(t, gw.out.String(), token)
}

// outward is an address of this host that is not of the loopback.
func outward(t *testing.T) net.IP {
	t.Helper()
	all, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && n.IP.To4() != nil {
			return n.IP
		}
	}
	t.Fatal("this host has no address but the loopback's: publishing from elsewhere cannot be tested")
	return nil
}

func freeAddrOn(t *testing.T, host string) string {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// certificate is one of an address, and what trusts it.
func certificate(t *testing.T, ip net.IP) (cert, key string, trust *tls.Config) {
	t.Helper()
	pair, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{ip}, IsCA: true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, pair.Public(), pair)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(pair)
	require.NoError(t, err)
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	require.NoError(t, os.WriteFile(cert, certPEM, 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(certPEM))
	return cert, key, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}
