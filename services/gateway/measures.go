package gateway

import (
	"net/http"
	"strconv"

	"github.com/framebus/framebus/services/internal/instrument"
	"go.opentelemetry.io/otel/metric"
)

// measures are the gateway's own instruments; the hub has those of streams.
type measures struct {
	refused   instrument.Counter
	displaced instrument.Counter // control messages to viewers
}

// measure makes them; stop ends them.
func measure(cfg Settings, d Deps) (m measures, stop func(), err error) {
	k := instrument.New(d.Meter)
	m.refused = k.Counter("framebus.gateway.refused", instrument.Viewers, "Viewers that were refused, by HTTP status.")
	for _, status := range []int{
		http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound,
		http.StatusServiceUnavailable,
	} {
		m.refusals(status, 0) // begins at zero
	}
	m.displaced = k.Displaced("viewer")
	limit := k.Gauge("framebus.gateway.viewers.limit", instrument.Viewers, "Viewers of every kind that fit in.")
	stop = k.Observe(func(out metric.Observer) { out.ObserveInt64(limit, int64(cfg.MaxClients)) }, limit)
	return m, stop, k.Err()
}

func (m *measures) refusals(status, n int) {
	m.refused.With("http.response.status_code", strconv.Itoa(status)).Add(n)
}
