package doctor_test

import (
	"context"
	"io"
	"net"
	"slices"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/natsd"
	"github.com/framebus/framebus/services/standalone"
	"github.com/framebus/framebus/services/standalone/internal/doctor"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// of is what was found of a part.
func of(t *testing.T, all []doctor.Finding, part string) doctor.Finding {
	t.Helper()
	for _, f := range all {
		if f.Part == part {
			return f
		}
	}
	require.Fail(t, "nothing was found of "+part, "%v", all)
	return doctor.Finding{}
}

func TestAHealthyInstallation(t *testing.T) {
	busAddr := free(t)
	var s standalone.Settings
	k, err := kong.New(&s)
	require.NoError(t, err)
	_, err = k.Parse([]string{"--listen", "127.0.0.1:0", "--bus-listen", busAddr, "--log-level", "error"})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended, listening := make(chan error, 1), make(chan net.Addr, 1)
	go func() {
		ended <- standalone.Run(ctx, s, standalone.Deps{LogTo: io.Discard, OnListening: func(a net.Addr) { listening <- a }})
	}()
	defer func() { cancel(); require.NoError(t, <-ended) }()
	addr := (<-listening).String()
	var all []doctor.Finding
	healthy := func() bool {
		all = doctor.Look(t.Context(), doctor.Config{
			Bus: bus.Config{URL: "nats://" + busAddr}, Gateway: "http://" + addr, Listen: addr,
		})
		for _, f := range all {
			if f.State != doctor.OK {
				return false
			}
		}
		return slices.Contains(all, doctor.Finding{
			Part: "raw frames of cam0", State: doctor.OK, Text: "by reference to 1 of 1 encoders",
		})
	}
	for try := 0; !healthy(); try++ { // it begins: not everything is there at once
		require.Less(t, try, 10, "%v", all)
	}
	for _, part := range []string{"opencv", "bus", "capture", "encoder", "gateway", "stream cam0", "gateway's port"} {
		of(t, all, part)
	}
}

func TestWhatIsMissingIsSaid(t *testing.T) {
	s, err := natsd.Start(natsd.Config{Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	defer s.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	all := doctor.Look(t.Context(), doctor.Config{
		Bus: bus.Config{URL: s.URL()}, Gateway: "http://" + free(t), Listen: l.Addr().String(),
	})
	require.Equal(t, doctor.OK, of(t, all, "bus").State)
	for _, part := range []string{"capture", "encoder", "gateway", "gateway's port", "port " + l.Addr().String()} {
		f := of(t, all, part)
		require.Equal(t, doctor.Fail, f.State, part)
		require.NotEmpty(t, f.Hint)
	}
	nowhere := doctor.Look(t.Context(), doctor.Config{Bus: bus.Config{URL: "nats://" + free(t)}})
	require.Equal(t, doctor.Fail, of(t, nowhere, "bus").State)
}

func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}
