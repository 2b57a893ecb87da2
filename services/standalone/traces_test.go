package standalone_test

import (
	"encoding/hex"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/internal/telemetry"
	"github.com/framebus/framebus/services/internal/telemetry/spantest"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/encoding/protojson"
)

const (
	v1           = "framebus.v1"
	rawTemplate  = "framebus.v1.raw.{by}.{stream}.{encoder}"
	jpegTemplate = "framebus.v1.jpeg.{stream}.{rung}"
	// clocks is what the clocks of two services of one process may differ by: each began with a reading of its own.
	clocks = 50 * time.Millisecond
)

func hexID(id [16]byte) string { return hex.EncodeToString(id[:]) }

// say sends a control message.
func say(t *testing.T, ws *websocket.Conn, m *pb.ClientMessage) {
	t.Helper()
	b, err := protojson.Marshal(m)
	require.NoError(t, err)
	require.NoError(t, ws.WriteMessage(websocket.TextMessage, b))
}

// painter tells of every sampled picture that it painted it, until the connection ends.
func painter(t *testing.T, ws *websocket.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			kind, b, err := ws.ReadMessage()
			if err != nil {
				return
			}
			if kind != websocket.BinaryMessage {
				continue
			}
			h, _, err := frame.Parse(b)
			if err != nil {
				t.Error(err)
			}
			if h.Flags&frame.FlagSampled == 0 {
				continue
			}
			b, err = protojson.Marshal(&pb.ClientMessage{Message: &pb.ClientMessage_Painted{Painted: &pb.Painted{
				Channel: uint32(h.Channel), Epoch: h.Epoch, Sequence: h.Sequence, PaintedUs: time.Now().UnixMicro(), Decoded: 1,
			}}})
			if err != nil || ws.WriteMessage(websocket.TextMessage, b) != nil {
				return
			}
		}
	})
	t.Cleanup(func() { ws.Close(); wg.Wait() })
}

// reader answers pings and looks at nothing.
func reader(t *testing.T, ws *websocket.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			if _, _, err := ws.ReadMessage(); err != nil {
				return
			}
		}
	})
	t.Cleanup(func() { ws.Close(); wg.Wait() })
}

// One sampled frame gives one connected trace: all three services, two rungs, and every viewer where it belongs.
func TestASampledFrameIsOneTrace(t *testing.T) {
	rec := spantest.Export(t)
	addr := up(t, "--instance=one")
	painter(t, watch(t, addr, "?rung=full", v1))
	reader(t, watch(t, addr, "?rung=full"))
	reader(t, watch(t, addr, "?rung=half"))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/mjpeg/cam0?rung=half", nil)
	require.NoError(t, err)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(io.Discard, resp.Body) })
	t.Cleanup(func() { resp.Body.Close(); wg.Wait() })

	// A frame that all four had, the painter once it was known to paint.
	var spans []spantest.Span
	complete := func(id trace.TraceID) bool {
		spans = rec.Trace(id)
		ends := map[string]int{}
		for _, s := range spans {
			ends[s.Attributes["framebus.ended_by"].AsString()]++
		}
		return len(spans) == 13 && ends["painted"] == 1 && ends["pong"] == 2 && ends["host"]+ends["written"] == 1
	}
	require.Eventually(t, func() bool {
		return slices.ContainsFunc(rec.Spans("capture frame"), func(s spantest.Span) bool { return complete(s.Trace) })
	}, patience, look)

	byID, named, ids := map[trace.SpanID]spantest.Span{}, map[string][]spantest.Span{}, map[trace.SpanID]bool{}
	for _, s := range spans {
		byID[s.ID] = s
		named[s.Name] = append(named[s.Name], s)
		require.False(t, ids[s.ID])
		ids[s.ID] = true
	}
	count := map[string]int{}
	for name, list := range named {
		count[name] = len(list)
	}
	require.Equal(t, map[string]int{
		"capture frame": 1, "send " + rawTemplate: 1, "process " + rawTemplate: 1, "encode full": 1, "encode half": 1,
		"send " + jpegTemplate: 2, "process " + jpegTemplate: 2, "deliver": 4,
	}, count)

	shape := map[string]struct {
		parent, service string
		kind            trace.SpanKind
		operation       string
	}{
		"capture frame":           {"", "capture", trace.SpanKindInternal, ""},
		"send " + rawTemplate:     {"capture frame", "capture", trace.SpanKindProducer, "send"},
		"process " + rawTemplate:  {"send " + rawTemplate, "encoder", trace.SpanKindConsumer, "process"},
		"encode full":             {"process " + rawTemplate, "encoder", trace.SpanKindInternal, ""},
		"encode half":             {"process " + rawTemplate, "encoder", trace.SpanKindInternal, ""},
		"send " + jpegTemplate:    {"encode ", "encoder", trace.SpanKindProducer, "send"},
		"process " + jpegTemplate: {"send " + jpegTemplate, "gateway", trace.SpanKindConsumer, "process"},
		"deliver":                 {"process " + jpegTemplate, "gateway", trace.SpanKindInternal, ""},
	}
	root := named["capture frame"][0]
	viewers := map[string]bool{}
	for _, s := range spans {
		want := shape[s.Name]
		parent := byID[s.Parent]
		require.True(t, want.parent == "" && !s.Parent.IsValid() || strings.HasPrefix(parent.Name, want.parent), s.Name)
		require.Equal(t, want.kind, s.Kind, s.Name)
		require.Empty(t, s.Error, s.Name)
		require.Equal(t, want.service, s.Resource[semconv.ServiceNameKey].AsString(), s.Name)
		require.Equal(t, "one", s.Resource[semconv.ServiceInstanceIDKey].AsString())
		require.NotEmpty(t, s.Resource[semconv.ServiceVersionKey].AsString())
		require.Equal(t, "cam0", s.Attributes["framebus.stream"].AsString())
		require.Equal(t, root.Attributes["framebus.sequence"], s.Attributes["framebus.sequence"])
		require.False(t, s.End.Before(s.Start), s.Name)
		slack := clocks
		if parent.Resource[semconv.ServiceNameKey] == s.Resource[semconv.ServiceNameKey] {
			slack = 0
		}
		if want.parent != "" {
			require.False(t, s.Start.Before(parent.Start.Add(-slack)), "%s begins after what it is a part of", s.Name)
			if want.kind != trace.SpanKindConsumer && s.Name != "deliver" { // these go on after what led to them
				require.False(t, s.End.After(parent.End), "%s is over before %s", s.Name, parent.Name)
			}
		}
		if want.operation != "" {
			messaging(t, s, want.operation, strings.SplitN(s.Name, " ", 2)[1])
		}
		if rung, ok := s.Attributes["framebus.rung"]; ok && parent.Attributes["framebus.rung"].AsString() != "" {
			require.Equal(t, parent.Attributes["framebus.rung"], rung, "a rung's branch is its own")
		}
		if s.Name == "deliver" {
			viewers[s.Attributes["framebus.viewer"].AsString()] = true
			require.False(t, s.Start.After(parent.End), "it is offered while the picture is processed")
			require.LessOrEqual(t, s.End.Sub(s.Start), time.Second)
		}
	}
	require.Len(t, viewers, 4)
}

// messaging checks the attributes that the conventions ask for of a message's span.
func messaging(t *testing.T, s spantest.Span, operation, template string) {
	t.Helper()
	kind := map[string]attribute.KeyValue{
		"send": semconv.MessagingOperationTypeSend, "process": semconv.MessagingOperationTypeProcess,
	}[operation]
	for _, want := range []attribute.KeyValue{
		semconv.MessagingSystemKey.String("nats"), semconv.MessagingOperationName(operation), kind,
		semconv.MessagingDestinationTemplate(template),
	} {
		require.Equal(t, want.Value, s.Attributes[want.Key], "%s: %s", s.Name, want.Key)
	}
	name := s.Attributes[semconv.MessagingDestinationNameKey].AsString()
	want := "framebus.v1.raw.cam.cam0.one"
	if template == jpegTemplate {
		want = "framebus.v1.jpeg.cam0." + s.Attributes["framebus.rung"].AsString()
	}
	require.Equal(t, want, name)
	require.Greater(t, s.Attributes[semconv.MessagingMessageBodySizeKey].AsInt64(), int64(frame.HeaderLen))
	for key := range s.Attributes {
		require.True(t, strings.HasPrefix(string(key), "messaging.") || strings.HasPrefix(string(key), "framebus."), key)
	}
}

// Both sides of a message tell the same of it.
func TestBothEndsTellOfTheSameMessage(t *testing.T) {
	rec := spantest.Export(t)
	addr := up(t)
	reader(t, watch(t, addr, ""))
	for _, template := range []string{rawTemplate, jpegTemplate} {
		var send, process spantest.Span
		require.Eventually(t, func() bool {
			for _, process = range rec.Spans("process " + template) {
				for _, send = range rec.Spans("send " + template) {
					if send.ID == process.Parent {
						return true
					}
				}
			}
			return false
		}, patience, look)
		for _, key := range []attribute.Key{
			semconv.MessagingDestinationNameKey, semconv.MessagingMessageBodySizeKey, "framebus.epoch", "framebus.sequence",
		} {
			require.Equal(t, send.Attributes[key], process.Attributes[key], string(key))
		}
	}
}

// A sampler set by OTEL_TRACES_SAMPLER decides on every frame: then what is dropped is told too.
func TestDroppedFramesAreTracedWhereAllAre(t *testing.T) {
	rec := spantest.Export(t)
	t.Setenv("OTEL_TRACES_SAMPLER", "always_on")
	addr := up(t)
	reader(t, watch(t, addr, ""))
	reader(t, watch(t, addr, "?max_fps=5")) // the others are skipped
	skipped := func() bool {
		return slices.ContainsFunc(rec.Spans("deliver"), func(s spantest.Span) bool {
			return s.Attributes["framebus.ended_by"].AsString() == "skip" &&
				s.Attributes["framebus.reason"].AsString() == "max_fps"
		})
	}
	require.Eventually(t, skipped, patience, look)
	frames := rec.Spans("capture frame")
	require.Less(t, frames[1].Start.Sub(frames[0].Start), time.Second, "more than one a second")
}

func TestATraceIsToldByTheProcessItself(t *testing.T) {
	addr := up(t)
	ws := watch(t, addr, "", v1)
	var ui string
	next(t, ws, nil, func(m *pb.ServerMessage) bool { ui = m.GetHello().GetTraceUi(); return m.GetHello() != nil })
	require.Equal(t, "/api/v1/traces/{trace_id}", ui)
	var h frame.Header
	next(t, ws, func(p *frame.Header) bool { h = *p; return p.Flags&frame.FlagSampled != 0 }, nil)
	require.NotZero(t, h.TraceID)
	reader(t, ws) // answers the ping

	url := "http://" + addr + strings.ReplaceAll(ui, "{trace_id}", hexID(h.TraceID))
	var got telemetry.Trace
	require.Eventually(t, func() bool {
		got = telemetry.Trace{}
		return get(t, url, &got) == http.StatusOK && len(got.Spans) == 7
	}, patience, look)
	require.Equal(t, hexID(h.TraceID), got.TraceID)
	require.Equal(t, h.CapturedUs, got.Spans[0].StartUs)
	var names []string
	for i, s := range got.Spans {
		names = append(names, s.Service+": "+s.Name)
		require.Equal(t, i == 0, s.ParentID == "")
		require.NotEmpty(t, s.Attributes)
	}
	require.ElementsMatch(t, []string{
		"capture: capture frame", "capture: send " + rawTemplate, "encoder: process " + rawTemplate,
		"encoder: encode full", "encoder: send " + jpegTemplate, "gateway: process " + jpegTemplate, "gateway: deliver",
	}, names)

	var refusal map[string]string
	require.Equal(t, http.StatusNotFound, get(t, "http://"+addr+"/api/v1/traces/"+hexID([16]byte{1}), &refusal))
	require.NotEmpty(t, refusal["error"])
	require.NotEmpty(t, refusal["hint"])
}

// Where traces are exported they are not kept, and viewers are told the place that was set.
func TestWhereTracesAreExportedTheyAreNotKept(t *testing.T) {
	spantest.Export(t)
	addr := up(t, "--trace-ui=http://jaeger.example/trace/{trace_id}")
	ws := watch(t, addr, "", v1)
	var ui string
	next(t, ws, nil, func(m *pb.ServerMessage) bool { ui = m.GetHello().GetTraceUi(); return m.GetHello() != nil })
	require.Equal(t, "http://jaeger.example/trace/{trace_id}", ui)
	var h frame.Header
	next(t, ws, func(p *frame.Header) bool { h = *p; return p.Flags&frame.FlagSampled != 0 }, nil)
	var refusal map[string]string
	require.Equal(t, http.StatusNotFound, get(t, "http://"+addr+"/api/v1/traces/"+hexID(h.TraceID), &refusal))
	require.Contains(t, refusal["error"], "not kept here")
}

// A viewer's wish for a trace goes through the whole chain. Without it the sampled frames of a stream are at least a
// second apart.
func TestTheNextFrameIsTracedWhereAViewerAsks(t *testing.T) {
	addr := up(t)
	ws := watch(t, addr, "", v1)
	last := int64(0)
	for {
		var h frame.Header
		next(t, ws, func(p *frame.Header) bool { h = *p; return p.Flags&frame.FlagSampled != 0 }, nil)
		if last > 0 && h.CapturedUs-last < time.Second.Microseconds() {
			return
		}
		last = h.CapturedUs
		say(t, ws, &pb.ClientMessage{Message: &pb.ClientMessage_TraceNext{TraceNext: &pb.TraceNext{}}})
	}
}
