package adapt

import "time"

const (
	// proxyLag is how long a picture may lie between its pong and the client's word that it was painted: reports come
	// every 250 ms.
	proxyLag = 400 * time.Millisecond
	// proxyPictures is how many were acknowledged meanwhile, at least: a slow stream's last picture is old.
	proxyPictures = 4
	// proxyLasts is how many reports in a row say so: a client may have been busy once.
	proxyLasts = 2
)

// Proxy finds out that somebody between answers a client's pings: pictures are acknowledged long before the client
// paints them. Its zero value has seen nothing.
type Proxy struct{ behind int }

// Report hears how long before a client's report the newest picture that it names was acknowledged, and how many were
// since. It tells whether the pings are answered by somebody else.
func (p *Proxy) Report(lag time.Duration, pictures int) bool {
	if lag < proxyLag || pictures < proxyPictures {
		p.behind = 0
		return false
	}
	p.behind++
	return p.behind >= proxyLasts
}
