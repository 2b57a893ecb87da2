package gateway_test

import (
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// TestDrainInTheMiddleOfAStampede: whoever comes while the gateway ends is refused, or let in and sent away; nobody is
// forgotten between the two, and the gateway ends.
func TestDrainInTheMiddleOfAStampede(t *testing.T) {
	t.Parallel()
	cfg := testSettings()
	cfg.MaxClients = 1000
	r := start(t, cfg)
	r.camera("cam0")
	r.dial("").more(1)

	var wg sync.WaitGroup
	over := make(chan struct{})
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				ws, resp, err := dialer.Dial("ws://"+r.addr+"/ws", nil)
				if resp != nil && resp.StatusCode == http.StatusServiceUnavailable {
					continue
				}
				var refused *net.OpError
				if errors.As(err, &refused) || err != nil && resp == nil {
					continue // it listens no more
				}
				if err != nil {
					t.Errorf("neither in nor out: %v", err)
					return
				}
				_ = ws.SetReadDeadline(time.Now().Add(patience))
				for err == nil {
					_, _, err = ws.ReadMessage()
				}
				if !websocket.IsCloseError(err, websocket.CloseGoingAway) {
					t.Errorf("sent away without a word: %v", err)
				}
				ws.Close()
			}
		})
	}
	r.eventually(func() bool { return viewers(t, r)["bare"] >= 9 }, "nobody came")
	r.stop()
	close(over)
	wg.Wait()
}
