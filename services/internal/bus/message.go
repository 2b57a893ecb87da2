package bus

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Msg is one message. Data belongs to whoever received it; Publish copies it.
type Msg struct {
	Subject     string
	Reply       string // where an answer is wanted; empty for none
	Traceparent string // W3C; empty for none
	ContentType string
	// NoResponders marks the server's answer to a request whose subject nobody listens to; Nobody is that subject.
	NoResponders bool
	Nobody       string
	Data         []byte
}

// Sub is a subscription.
type Sub struct{ s *nats.Subscription }

// Unsubscribe ends it; messages under way are still handled.
func (s *Sub) Unsubscribe() { _ = s.s.Unsubscribe() } // fails only on a closed connection, which has no subscriptions

// Subscribe has handle called for every message, on a goroutine of the subscription: it must only move the message
// into a mailbox. The subscription outlives reconnects.
func (c *Conn) Subscribe(subject string, handle func(Msg)) (*Sub, error) {
	s, err := c.nc.Subscribe(subject, func(m *nats.Msg) {
		out := Msg{Subject: m.Subject, Reply: m.Reply, Data: m.Data}
		if m.Header != nil {
			out.Traceparent = first(m.Header, headerTrace)
			out.ContentType = first(m.Header, headerContent)
			out.NoResponders = len(m.Data) == 0 && first(m.Header, headerStatus) == statusNobody
			out.Nobody = first(m.Header, headerNobody)
		}
		handle(out)
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe %s: %w", subject, err)
	}
	if err := s.SetPendingLimits(-1, pendingBytes); err != nil {
		return nil, fmt.Errorf("subscribe %s: %w", subject, err)
	}
	return &Sub{s}, nil
}

func first(h nats.Header, key string) string {
	if v := h[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Publish sends m and copies its data before it returns. A message that the server would refuse is ErrTooLarge, with a
// hint; while there is no connection nothing is kept: ErrDisconnected.
func (c *Conn) Publish(m Msg) error {
	out := nats.Msg{Subject: m.Subject, Reply: m.Reply, Data: m.Data}
	if m.Traceparent != "" || m.ContentType != "" {
		out.Header = nats.Header{}
		if m.Traceparent != "" {
			out.Header[headerTrace] = []string{m.Traceparent}
		}
		if m.ContentType != "" {
			out.Header[headerContent] = []string{m.ContentType}
		}
	}
	switch err := c.nc.PublishMsg(&out); {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w: %d bytes, the server takes %d: raise max_payload in its configuration (8MB)",
			ErrTooLarge, len(m.Data), c.nc.MaxPayload())
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionClosed):
		return ErrDisconnected
	default:
		return fmt.Errorf("publish %s: %w", m.Subject, err)
	}
}

// Send publishes a message of the control plane.
func (c *Conn) Send(subject string, m proto.Message) error {
	data, err := proto.Marshal(m)
	if err != nil {
		return fmt.Errorf("publish %s: %w", subject, err)
	}
	return c.Publish(Msg{Subject: subject, Data: data})
}

// maxControl bounds a message of the control plane, in bytes.
const maxControl = 1 << 20

// Decode reads a message of the control plane: protobuf, or protojson where its content type says so.
func Decode(m Msg, into proto.Message) error {
	if len(m.Data) > maxControl {
		return fmt.Errorf("message on %s: %d bytes, at most %d are read", m.Subject, len(m.Data), maxControl)
	}
	var err error
	if m.ContentType == contentJSON {
		err = protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(m.Data, into)
	} else {
		err = proto.Unmarshal(m.Data, into)
	}
	if err != nil {
		return fmt.Errorf("message on %s: %w", m.Subject, err)
	}
	return nil
}
