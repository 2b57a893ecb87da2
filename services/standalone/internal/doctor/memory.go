package doctor

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	pb "github.com/framebus/framebus/proto/framebusv1"
)

const (
	// hintOwner is for whoever brings a stream, and has no shared memory.
	hintOwner = "all is well so; to save the copies on one host, let FRAMEBUS_SHM be a folder in memory that " +
		"whoever brings the stream can write: its log says what it lacks"
	// hintEncoder is for encoders that have not mapped what a stream's owner tells of.
	hintEncoder = "all is well so for an encoder of another host; one of the same host needs the same FRAMEBUS_SHM and " +
		"user (or FRAMEBUS_SHM_GROUP), in containers a volume for both: its log says what it lacks"
)

// tellMemory says how each stream's raw frames go to the encoders. The caller holds mu.
func (h *heard) tellMemory(add adder) {
	owners := map[string]*pb.StreamStatus{}
	var encoders []*pb.Status
	for _, s := range h.all {
		if s.GetDraining() {
			continue
		}
		if s.GetEncoder() != nil {
			encoders = append(encoders, s)
		}
		for _, st := range s.GetStreams() {
			if st.GetEpoch() > owners[st.GetName()].GetEpoch() {
				owners[st.GetName()] = st
			}
		}
	}
	if len(encoders) == 0 {
		return
	}
	slices.SortFunc(encoders, func(a, b *pb.Status) int { return cmp.Compare(a.GetInstance(), b.GetInstance()) })
	for _, name := range slices.Sorted(maps.Keys(owners)) {
		region := owners[name].GetRegion()
		if len(region.GetId()) == 0 {
			add("raw frames of "+name, OK, hintOwner, "inline, through the bus: whoever brings it has no shared memory")
			continue
		}
		var without []string
		for _, e := range encoders {
			if !mapped(e, region) {
				without = append(without, e.GetInstance())
			}
		}
		with, all := len(encoders)-len(without), len(encoders)
		switch {
		case len(without) == 0:
			add("raw frames of "+name, OK, "", "by reference to %d of %d encoders", with, all)
		case with == 0:
			add("raw frames of "+name, OK, hintEncoder, "inline, through the bus: no encoder has mapped their memory")
		default:
			add("raw frames of "+name, OK, hintEncoder, "by reference to %d of %d encoders, inline to %s", with, all,
				strings.Join(without, ", "))
		}
	}
}

// mapped tells whether frames that lie in the region may come to an encoder by reference.
func mapped(encoder *pb.Status, region *pb.Region) bool {
	return slices.ContainsFunc(encoder.GetEncoder().GetMapped(), func(id []byte) bool {
		return slices.Equal(id, region.GetId())
	})
}
