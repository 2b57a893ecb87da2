package gateway_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framebus/framebus/services/gateway"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// requireLine checks a refusal's body: one line of JSON that says what is wrong and what to do.
func requireLine(t *testing.T, body string) {
	t.Helper()
	require.Equal(t, 1, strings.Count(body, "\n"), body)
	var line struct{ Error, Hint string }
	require.NoError(t, json.Unmarshal([]byte(body), &line), body)
	require.NotEmpty(t, line.Error)
	require.NotEmpty(t, line.Hint)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	cfg := testSettings()
	cfg.AllowedOrigins = []string{"wall.example"}
	r := start(t, cfg)
	r.camera("cam0")
	elsewhere := http.Header{"Origin": {"http://elsewhere.example"}}
	for _, c := range []struct {
		name, query string
		header      http.Header
		want        int
	}{
		{"unknown stream", "?stream=nobody", nil, http.StatusNotFound},
		{"impossible stream", "?stream=../etc", nil, http.StatusNotFound},
		{"unknown rung", "?rung=huge", nil, http.StatusBadRequest},
		{"unknown mode", "?mode=fast", nil, http.StatusBadRequest},
		{"unknown format", "?format=png", nil, http.StatusBadRequest},
		{"no number", "?max_fps=many", nil, http.StatusBadRequest},
		{"not a number", "?max_fps=NaN", nil, http.StatusBadRequest},
		{"negative rate", "?max_fps=-1", nil, http.StatusBadRequest},
		{"infinite rate", "?max_fps=Inf", nil, http.StatusBadRequest},
		{"another origin", "", elsewhere, http.StatusForbidden},
		{"no origin at all", "", http.Header{"Origin": {"null"}}, http.StatusForbidden},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, body := r.refused(c.query, c.header)
			require.Equal(t, c.want, resp.StatusCode)
			requireLine(t, body)
			resp, plain := r.fetch(http.MethodGet, "/ws"+c.query, c.header)
			require.Equal(t, c.want, resp.StatusCode, "a page asks without an upgrade")
			require.Equal(t, body, string(plain))
		})
	}
	for _, c := range []struct {
		path string
		want int
	}{
		{"/mjpeg/nobody", http.StatusNotFound},
		{"/mjpeg/cam0?rung=tiny", http.StatusBadRequest},
		{"/mjpeg/cam0?max_fps=x", http.StatusBadRequest},
	} {
		code, body := r.get(c.path)
		require.Equal(t, c.want, code, c.path)
		requireLine(t, body)
	}
	resp, _ := r.fetch(http.MethodGet, "/mjpeg/cam0", elsewhere)
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
	require.Empty(t, viewers(t, r), "nobody got in")
}

func TestOriginsThatMayConnect(t *testing.T) {
	t.Parallel()
	cfg := testSettings()
	cfg.AllowedOrigins = []string{"wall.example"}
	r := start(t, cfg)
	r.camera("cam0")
	for _, origin := range []string{"", "http://" + r.addr, "https://wall.example", "https://WALL.example:8443"} {
		h := http.Header{}
		if origin != "" {
			h.Set("Origin", origin)
		}
		ws, _, err := dialer.Dial("ws://"+r.addr+"/ws", h)
		require.NoError(t, err, origin)
		read(t, ws).more(1)
		resp, _ := r.fetch(http.MethodGet, "/api/v1/streams", h)
		require.Equal(t, origin, resp.Header.Get("Access-Control-Allow-Origin"), "its page may read answers")
	}
	resp, _ := r.fetch(http.MethodGet, "/api/v1/streams", http.Header{"Origin": {"http://elsewhere.example"}})
	require.Empty(t, resp.Header.Get("Access-Control-Allow-Origin"))
}

// certify writes a new certificate of 127.0.0.1 and its key, and returns what trusts it alone.
func certify(t *testing.T, cfg *gateway.Settings) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{{127, 0, 0, 1}},
		IsCA: true, BasicConstraintsValid: true,
	}, &x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), key)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	require.NoError(t, os.WriteFile(cfg.TLSCert, certPEM, 0o600))
	require.NoError(t, os.WriteFile(cfg.TLSKey, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(certPEM))
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	cfg := testSettings()
	cfg.TLSCert, cfg.TLSKey = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	secure := certify(t, &cfg)
	r := startWith(t, cfg, "https", &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: secure}, Timeout: patience,
	})
	r.camera("cam0")
	d := *dialer
	d.TLSClientConfig = secure
	ws, _, err := d.Dial("wss://"+r.addr+"/ws", nil)
	require.NoError(t, err)
	c := read(t, ws)
	c.more(10)
	for _, b := range c.pictures() {
		decode(t, b)
	}

	d.TLSClientConfig = certify(t, &cfg)
	r.eventually(func() bool {
		renewed, _, err := d.Dial("wss://"+r.addr+"/ws", nil)
		if err != nil {
			return false
		}
		return renewed.Close() == nil
	}, "a renewed certificate is not shown")
	c.more(10)
	r.stop()
	require.Equal(t, websocket.CloseGoingAway, c.closed(), "the goodbye goes through TLS too")
}

func TestWithoutUpgradeTheStreamIsTold(t *testing.T) {
	t.Parallel()
	r := start(t, testSettings())
	r.camera("cam0")
	code, body := r.get("/ws?stream=cam0")
	require.Equal(t, http.StatusOK, code)
	var s struct{ Name, State string }
	require.NoError(t, json.Unmarshal([]byte(body), &s))
	require.Equal(t, "cam0", s.Name)
	require.Equal(t, "live", s.State)
}

func TestTheEleventhIsRefusedAndTheTenNeverNotice(t *testing.T) {
	t.Parallel()
	r := start(t, testSettings())
	r.camera("cam0")
	var ten []*client
	for range 10 {
		ten = append(ten, r.dial(""))
	}
	resp, body := r.refused("", nil)
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.NotEmpty(t, resp.Header.Get("Retry-After"))
	requireLine(t, body)
	code, _ := r.get("/ws")
	require.Equal(t, http.StatusServiceUnavailable, code)
	code, body = r.get("/mjpeg/cam0")
	require.Equal(t, http.StatusServiceUnavailable, code, "viewers of every kind count")
	requireLine(t, body)
	for _, c := range ten {
		c.more(5)
	}
	ten[0].close()
	var again *websocket.Conn
	r.eventually(func() bool {
		ws, _, err := dialer.Dial("ws://"+r.addr+"/ws", nil)
		again = ws
		return err == nil
	}, "a place that became free was never given")
	read(t, again).more(1)
}

func TestAStampedeAdmitsExactlyTheLimit(t *testing.T) {
	t.Parallel()
	const limit, crowd = 10, 100
	r := start(t, testSettings())
	r.camera("cam0")
	var in, out, other atomic.Int64
	conns := make(chan *websocket.Conn, crowd)
	gate := make(chan struct{})
	var wg sync.WaitGroup
	for range crowd {
		wg.Go(func() {
			<-gate
			ws, resp, err := dialer.Dial("ws://"+r.addr+"/ws", nil)
			switch {
			case err == nil:
				in.Add(1)
				conns <- ws
			case resp != nil && resp.StatusCode == http.StatusServiceUnavailable:
				out.Add(1)
			default:
				other.Add(1)
			}
		})
	}
	close(gate)
	wg.Wait()
	require.Zero(t, other.Load())
	require.EqualValues(t, limit, in.Load())
	require.EqualValues(t, crowd-limit, out.Load())
	for range limit {
		read(t, <-conns).more(3)
	}
	require.Equal(t, limit, viewers(t, r)["bare"])
}

func TestSettingsNameEveryError(t *testing.T) {
	t.Parallel()
	bad := gateway.Settings{
		Listen: "nowhere", MaxClients: 0, MaxPublishers: -1, TLSCert: "only.pem", AllowedOrigins: []string{"not an origin"},
		DrainDelay: -time.Second, DrainSpread: 24 * time.Hour, SizedListen: "x", TraceUI: "http://jaeger/",
	}
	err := bad.Validate()
	require.Error(t, err)
	for _, part := range []string{
		"listen \"nowhere\"", "max clients 0", "max publishers -1", "tls", "allowed origin",
		"drain delay", "drain spread", "sized listen",
		"trace ui",
	} {
		require.ErrorContains(t, err, part)
	}
	good := testSettings()
	require.NoError(t, good.Validate())
}
