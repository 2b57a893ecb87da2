//go:build e2e && figures

package e2e

import (
	"bytes"
	"context"
	"image/jpeg"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

var roundTrips = []time.Duration{time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 150 * time.Millisecond}

// TestFiguresOfLinks is the first part of `make bench-links`: the cases that CI tries at 20 ms, at all round trips. It
// asserts nothing and prints what docs/adaptation.md records.
func TestFiguresOfLinks(t *testing.T) {
	for _, rtt := range roundTrips {
		s := start(t, options{gateway: []string{"--max-clients", "50"}})
		one := func(name string, mbit float64, cfg client.Config) {
			cfg.URL, cfg.Stream = "http://"+startRelay(t, s.addr, mbit, rtt).addr(), "cam0"
			w := watch(t, cfg)
			w.waitFrames(1)
			<-time.After(settle)
			tell(t, rtt, name, w, during([]*watcher{w}, 8*time.Second)[0])
			w.stop()
		}
		one("2.5 Mbit/s", 2.5, client.Config{})
		one("2.5 Mbit/s, plain", 2.5, client.Config{Format: client.Bare})
		one("20 Mbit/s", 20, client.Config{})

		fast := watchers(t, 9, v1(s.addr))
		from := time.Now()
		<-time.After(6 * time.Second)
		alone := together(fast, from)
		slow := watch(t, v1(startRelay(t, s.addr, 1, rtt).addr()))
		<-time.After(settle)
		from = time.Now()
		accs := during(append(fast[:9:9], slow), 8*time.Second)
		tell(t, rtt, "one of ten, 1 Mbit/s", slow, accs[9])
		worst := accs[0].fps
		for _, a := range accs[:9] {
			worst = min(worst, a.fps)
		}
		_, q := shownAs(fast[0])
		t.Logf("RTT %v | the nine beside it | %.1f fps Q%d, age p99 %v, alone %v", rtt, worst, q,
			together(fast, from).p99.Round(time.Millisecond/10), alone.p99.Round(time.Millisecond/10))
		for _, w := range append(fast, slow) {
			w.stop()
		}

		for _, answers := range []bool{false, true} {
			name := map[bool]string{false: "proxy, 2 Mbit/s", true: "proxy that answers pings, 2 Mbit/s"}[answers]
			w := watch(t, v1(startRelay(t, startProxy(t, s.addr, answers).addr(), 2, rtt).addr()))
			<-time.After(settle + 2*time.Second)
			tell(t, rtt, name, w, during([]*watcher{w}, 8*time.Second)[0])
			w.stop()
		}

		link := startRelay(t, s.addr, 20, rtt)
		w := watch(t, v1(link.addr()))
		<-time.After(settle)
		fell := time.Now()
		link.set(1)
		<-time.After(8 * time.Second)
		tell(t, rtt, "20 → 1 Mbit/s, from 2 s after", w, w.between(fell.Add(2*time.Second), time.Now()))
		rose := time.Now()
		link.set(20)
		for time.Since(rose) < 20*time.Second {
			<-time.After(20 * time.Millisecond)
			if rung, q := shownAs(w); rung == "full" && q == 80 {
				break
			}
		}
		t.Logf("RTT %v | 1 → 20 Mbit/s | full size and quality 80 after %v", rtt, time.Since(rose).Round(100*time.Millisecond))
		w.stop()

		var ws []*watcher
		rates := []float64{0.3, 0.6, 1, 1.5, 2.5, 4, 7, 12, 20, 30}
		for _, mbit := range rates {
			ws = append(ws, watch(t, v1(startRelay(t, s.addr, mbit, rtt).addr())))
		}
		<-time.After(settle)
		for i, a := range during(ws, 8*time.Second) {
			if i == 0 || i == 1 || i == 4 || i == 9 {
				tell(t, rtt, "ten rates, this one "+[]string{"0.3", "0.6", "", "", "2.5", "", "", "", "", "30"}[i], ws[i], a)
			}
		}
		for _, p := range []*process{s.gateway, s.encoder, s.capture, s.nats.process} {
			p.kill()
		}
	}
}

func tell(t *testing.T, rtt time.Duration, name string, w *watcher, a account) {
	t.Helper()
	ms := func(d time.Duration) int64 { return d.Milliseconds() }
	var size, quality, rung float64
	all := w.pictures()
	for _, p := range all[max(0, len(all)-a.frames):] {
		size += float64(p.bytes)
		quality += float64(p.quality)
		rung += float64(p.rung)
	}
	if quality == 0 { // nothing tells but the picture itself
		q, r := readQuality(w.jpeg())
		quality, rung = float64(q*a.frames), float64(r*a.frames)
	}
	n := float64(max(a.frames, 1))
	t.Logf("RTT %v | %s | %.1f fps, age p50 %d p95 %d ms, rung %.1f Q%.0f, %.2f Mbit/s", rtt, name, a.fps, ms(a.p50),
		ms(a.p95), rung/n, quality/n, size/n*a.fps*8/1e6)
}

// TestFiguresOfLinksInAPage is what a browser's canvas shows, up to a frame interval after it was painted.
func TestFiguresOfLinksInAPage(t *testing.T) {
	s := start(t, options{})
	for _, rtt := range roundTrips {
		t.Run(rtt.String(), func(t *testing.T) {
			page, ok := browse(t, "http://"+startRelay(t, s.addr, 2.5, rtt).addr()+"/?stream=cam0")
			if !ok {
				return
			}
			<-time.After(settle)
			a := pageDuring(t, page, 8*time.Second)
			t.Logf("RTT %v | 2.5 Mbit/s, Chromium | %.1f fps, age p50 %v p95 %v", rtt, a.fps, a.p50.Round(time.Millisecond),
				a.p95.Round(time.Millisecond))
		})
	}
}

// readQuality tells a picture's quality by its luma table's last entry, which is 99 at quality 50, and its rung.
func readQuality(b []byte) (quality, rung int) {
	if at := bytes.Index(b, []byte{0xFF, 0xDB}); at >= 0 && len(b) > at+68 {
		if scale := float64(b[at+68]) / 0.99; scale < 100 {
			quality = int(100 - scale/2 + 0.5)
		} else {
			quality = int(5000/scale + 0.5)
		}
	}
	if c, err := jpeg.DecodeConfig(bytes.NewReader(b)); err == nil {
		rung = map[int]int{640: 0, 320: 1, 160: 2}[c.Width]
	}
	return quality, rung
}

// TestFiguresOfTheComparison is the second part: one shaped socket, three servers.
func TestFiguresOfTheComparison(t *testing.T) {
	link, ok := startIsland(t)
	if !ok {
		return
	}
	link.shape(2.5)
	measure := func(name, addr string) {
		cfg := client.Config{URL: "http://" + addr, Format: client.Bare, Silence: time.Minute}
		w := watchBy(t, cfg, link.dial)
		w.waitFrames(1)
		<-time.After(10 * time.Second)
		from := time.Now()
		<-time.After(20 * time.Second)
		tell(t, 0, name, w, w.between(from, time.Now()))
		w.stop()
	}
	s := start(t, options{encoder: []string{"--quality-min", "80"}})
	for queue, name := range map[int]string{30: "a queue of 30, quality 80", 1: "newest wins, quality 80"} {
		measure(name, baseline(t, s.addr, queue, link.hereAddr))
	}
	s.gateway.kill()
	held := freePort(t)
	s.startGateway(":" + held)
	waitReady(t, "127.0.0.1:"+held)
	waitStream(t, "127.0.0.1:"+held, "cam0")
	measure("framebus held at full size, quality 80", link.hereAddr+":"+held+"/ws?rung=full")
	s.encoder.kill()
	s.encoder = s.startEncoder("")
	<-time.After(3 * time.Second)
	measure("framebus", link.hereAddr+":"+held)
}

// baseline is a server as they are usually written: a queue of pictures a client, the oldest dropped when it is full,
// and a loop that writes them to the socket.
func baseline(t *testing.T, gateway string, queue int, host string) (addr string) {
	t.Helper()
	source := watch(t, client.Config{URL: "http://" + gateway, Stream: "cam0", Rung: "full"})
	source.waitFrames(1)
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	require.NoError(t, err)
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			up := websocket.Upgrader{}
			conn, err := up.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			defer conn.Close()
			go func() { // pings and the end
				for {
					if _, _, err := conn.ReadMessage(); err != nil {
						_ = conn.Close()
						return
					}
				}
			}()
			ctx, stop := context.WithCancel(r.Context())
			defer stop()
			pictures := make(chan []byte, queue)
			go func() {
				seen := source.count()
				for ctx.Err() == nil {
					<-time.After(2 * time.Millisecond)
					if n := source.count(); n != seen {
						seen = n
						for full := true; full; {
							select {
							case pictures <- source.jpeg():
								full = false
							default:
								select {
								case <-pictures:
								default:
								}
							}
						}
					}
				}
			}()
			for b := range pictures {
				if conn.WriteMessage(websocket.BinaryMessage, b) != nil {
					return
				}
			}
		})}}
	srv.Start()
	t.Cleanup(srv.CloseClientConnections)
	return l.Addr().String()
}
