package gateway

import (
	"net/http"
)

// tracePath is where a trace that this process keeps can be read; {trace_id} is 32 hex digits.
const tracePath = "/api/v1/traces/{trace_id}"

// traceUI is where viewers look traces up: where they were told to, else here if they are kept here.
func (gw *gateway) traceUI() string {
	if gw.cfg.TraceUI == "" && gw.d.Traces != nil {
		return tracePath
	}
	return gw.cfg.TraceUI
}

// apiTrace tells what is kept of a trace: spans that have ended, so a frame on its way has fewer.
func (gw *gateway) apiTrace(w http.ResponseWriter, r *http.Request) {
	if gw.d.Traces == nil {
		gw.refuse(w, refusal{http.StatusNotFound, "traces are not kept here",
			"look where the exporter of OTEL_EXPORTER_OTLP_ENDPOINT sends them; FRAMEBUS_TRACE_UI links there"})
		return
	}
	t, ok := gw.d.Traces.Trace(r.PathValue("trace_id"))
	if !ok {
		gw.refuse(w, refusal{http.StatusNotFound, "there is no such trace",
			"the last minute of sampled frames is kept; a sampled picture's envelope has the id, 32 hex digits"})
		return
	}
	reply(w, t)
}
