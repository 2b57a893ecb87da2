package ledger

import (
	"errors"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"google.golang.org/protobuf/encoding/protowire"
)

// Done is what the ledger needs of one.
type Done struct {
	Epoch, Sequence uint64
	Probe           bool
	rungs           rungSet
}

// errDone is told to nobody: whoever answers garbage is no encoder.
var errDone = errors.New("no Done")

// numbers of Done's fields in the schema.
const (
	doneEpoch    = 2
	doneSequence = 3
	doneFate     = 6
	doneRungs    = 11
)

// ParseDone reads a Done's protobuf without keeping anything: one comes with every frame.
func ParseDone(b []byte) (d Done, err error) {
	fate := pb.Fate_FATE_UNSPECIFIED
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return Done{}, errDone
		}
		b = b[n:]
		if kind == protowire.BytesType && number == doneRungs {
			packed, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return Done{}, errDone
			}
			b = b[n:]
			for len(packed) > 0 {
				r, n := protowire.ConsumeVarint(packed)
				if n < 0 {
					return Done{}, errDone
				}
				packed = packed[n:]
				d.add(r)
			}
			continue
		}
		if kind != protowire.VarintType {
			n := protowire.ConsumeFieldValue(number, kind, b)
			if n < 0 {
				return Done{}, errDone
			}
			b = b[n:]
			continue
		}
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return Done{}, errDone
		}
		b = b[n:]
		switch number {
		case doneEpoch:
			d.Epoch = v
		case doneSequence:
			d.Sequence = v
		case doneFate:
			fate = pb.Fate(int32(v))
		case doneRungs:
			d.add(v)
		}
	}
	return d.of(fate), nil
}

// ToDone is the same of one that came as JSON.
func ToDone(m *pb.Done) Done {
	d := Done{Epoch: m.GetEpoch(), Sequence: m.GetSequence()}
	for _, r := range m.GetRungs() {
		d.add(uint64(r))
	}
	return d.of(m.GetFate())
}

func (d *Done) add(r uint64) {
	if r < frame.Rungs {
		d.rungs |= 1 << r
	}
}

func (d Done) of(fate pb.Fate) Done {
	d.Probe = fate == pb.Fate_FATE_PROBE
	if fate != pb.Fate_FATE_ENCODED {
		d.rungs = 0
	}
	return d
}
