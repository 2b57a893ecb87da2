//go:build e2e || compose

package e2e

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// streamState is what /api/v1/streams tells of a stream, as far as these tests look.
type streamState struct {
	Name, Owner, State, Cause string
}

// streamAt asks a gateway for a stream's state; it is empty where the gateway does not know it or cannot be reached.
func streamAt(t *testing.T, addr, name string) streamState {
	t.Helper()
	_, body := get(t, "http://"+addr+"/api/v1/streams")
	var all struct{ Streams []streamState }
	if json.Unmarshal([]byte(body), &all) != nil {
		return streamState{}
	}
	for _, st := range all.Streams {
		if st.Name == name {
			return st
		}
	}
	return streamState{}
}

// ledgerJSON is what these tests read of /api/v1/ledger.
type ledgerJSON struct {
	Explained bool `json:"explained"`
	Streams   []struct {
		Stream string        `json:"stream"`
		Epochs []ledgerEpoch `json:"epochs"`
	} `json:"streams"`
}

type ledgerEpoch struct {
	Epoch     string     `json:"epoch"`
	Owner     string     `json:"owner"`
	State     string     `json:"state"`
	Explained bool       `json:"explained"`
	Sequence  uint64     `json:"sequence"`
	Captured  ledgerLine `json:"captured"`
	Published ledgerLine `json:"published"`
	Encoders  struct {
		Difference int64 `json:"difference"`
		Shares     []struct {
			Encoder string `json:"encoder"`
			ledgerLine
		} `json:"shares"`
	} `json:"encoders"`
	Encoded  map[string]uint64 `json:"encoded"`
	Gateways []struct {
		Gateway   string `json:"gateway"`
		Settled   uint64 `json:"settled"`
		Undone    int    `json:"undone"`
		Explained bool   `json:"explained"`
		Rungs     []struct {
			Rung    string     `json:"rung"`
			Bus     ledgerLine `json:"bus"`
			Hub     ledgerLine `json:"hub"`
			Viewers ledgerLine `json:"viewers"`
		} `json:"rungs"`
	} `json:"gateways"`
}

// ledgerLine has the fields of all lines; each has some.
type ledgerLine struct {
	Total, Published, Unwanted, Unanswered, Open, Vouched                             uint64
	Encoded, Unbooked, Received, Lost                                                 uint64
	Arrived, Taken, Superseded, Stale, Malformed, Queued, Overdue, Offered, Delivered uint64
	InFlight                                                                          uint64 `json:"in_flight"`
	Dropped, Done, Skipped                                                            map[string]uint64
	Difference                                                                        int64
}

// ledgerOf is what a gateway tells of cam0.
func ledgerOf(t *testing.T, addr string) (all ledgerJSON, epochs []ledgerEpoch) {
	t.Helper()
	code, body := get(t, "http://"+addr+"/api/v1/ledger")
	require.Equal(t, 200, code, body)
	require.NoError(t, json.Unmarshal([]byte(body), &all), body)
	for _, s := range all.Streams {
		if s.Stream == "cam0" {
			epochs = s.Epochs
		}
	}
	return all, epochs
}
