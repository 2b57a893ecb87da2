package client

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/framebus/framebus/proto/frame"
)

// questionTime bounds one question.
const questionTime = 5 * time.Second

// StreamInfo is a stream as a gateway tells it.
type StreamInfo struct {
	Name     string   `json:"name"`
	Source   string   `json:"source"`
	Owner    string   `json:"owner"`
	State    string   `json:"state"` // live, slate, gone
	Cause    string   `json:"cause"` // of the state, in words
	Width    int      `json:"width"`
	Height   int      `json:"height"`
	FPS      float64  `json:"fps"`
	Rungs    []string `json:"rungs"` // in use at that gateway
	Viewers  int      `json:"viewers"`
	Encoders []string `json:"encoders"`
}

// Question asks a gateway once, without a connection that stays. URL and TLS are as in Config.
type Question struct {
	URL string
	TLS *tls.Config
}

// Streams lists a gateway's streams, by name.
func (q Question) Streams(ctx context.Context) ([]StreamInfo, error) {
	body, err := q.get(ctx, "/api/v1/streams", 16<<20)
	if err != nil {
		return nil, err
	}
	var out struct{ Streams []StreamInfo }
	if err := json.Unmarshal(body, &out); err != nil {
		return nil, fmt.Errorf("streams of %s: %w", q.host(), err)
	}
	return out.Streams, nil
}

// Snapshot is the newest picture of a stream, a JPEG. Where nobody watches it, the gateway asks for one frame.
func (q Question) Snapshot(ctx context.Context, stream string) ([]byte, error) {
	return q.get(ctx, "/snapshot/"+url.PathEscape(stream)+".jpg", frame.MaxPayload)
}

func (q Question) host() string {
	if u, _, err := endpoint(q.URL, "", nil); err == nil {
		return u.Host
	}
	return "the gateway"
}

// get answers with a refusal as *ErrRefused.
func (q Question) get(ctx context.Context, path string, limit int64) ([]byte, error) {
	u, header, err := endpoint(q.URL, "", nil)
	if err != nil {
		return nil, err
	}
	u.Scheme = strings.Replace(u.Scheme, "ws", "http", 1)
	u.Path = strings.TrimSuffix(u.Path, "/ws") + path
	u.RawQuery = ""
	ctx, cancel := context.WithTimeout(ctx, questionTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	r.Header = header
	c := &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: q.TLS, DisableKeepAlives: true,
	}}
	resp, err := c.Do(r)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err // the whole names the URL
		}
		return nil, fmt.Errorf("ask %s: %w", u.Host, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, refusal(resp)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	if err != nil {
		return nil, fmt.Errorf("read from %s: %w", u.Host, err)
	}
	return body, nil
}
