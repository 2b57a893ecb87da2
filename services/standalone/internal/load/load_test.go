package load_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/standalone/internal/load"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = 30 * time.Second
	// exposure is how much older the strip is than the envelope: as with a camera that films a screen.
	exposure = 40 * time.Millisecond
)

// show sends pictures until the viewer goes: every tenth is missing, and the strip is older than the envelope.
func show(w *websocket.Conn, gone <-chan struct{}) {
	img := image.NewYCbCr(image.Rect(0, 0, 320, 240), image.YCbCrSubsampleRatio420)
	for i := range img.Cb {
		img.Cb[i], img.Cr[i] = 128, 128
	}
	_ = w.WriteMessage(websocket.TextMessage, []byte(`{"hello":{"channels":[{"channel":1,"stream":"cam0"}]}}`))
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for sequence := uint64(1); ; sequence++ {
		if sequence%10 == 0 {
			sequence++
		}
		now := time.Now()
		frame.PutStrip(img.Y, 320, 240, now.Add(-exposure).UnixMicro())
		var jpg bytes.Buffer
		if err := jpeg.Encode(&jpg, img, nil); err != nil {
			panic(err)
		}
		h := frame.NewHeader()
		h.Format, h.Quality, h.Width, h.Height, h.Channel = frame.JPEG, 75, 320, 240, 1
		h.Epoch, h.Sequence, h.CapturedUs, h.PayloadLen = 1, sequence, now.UnixMicro(), uint32(jpg.Len())
		b := make([]byte, frame.HeaderLen)
		h.Put(b)
		if w.WriteMessage(websocket.BinaryMessage, append(b, jpg.Bytes()...)) != nil {
			return
		}
		select {
		case <-tick.C:
		case <-gone:
			return
		}
	}
}

// gateway admits so many viewers and shows them pictures, unless it is dark.
func gateway(t *testing.T, admit int64, dark bool) (url string, came *atomic.Int64) {
	came = new(atomic.Int64)
	up := websocket.Upgrader{Subprotocols: []string{"framebus.v1"}}
	var wg sync.WaitGroup
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wg.Add(1) // before the connection is taken over: until then Close waits for it
		defer wg.Done()
		if came.Add(1) > admit {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, `{"error":"gateway full"}`)
			return
		}
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		gone := make(chan struct{})
		var reader sync.WaitGroup
		reader.Go(func() {
			defer close(gone)
			for {
				if _, _, err := ws.ReadMessage(); err != nil {
					return
				}
			}
		})
		if !dark {
			show(ws, gone)
		}
		<-gone
		reader.Wait()
	}))
	t.Cleanup(func() { s.Close(); wg.Wait() })
	return s.URL, came
}

func TestAReportOfKnownViewers(t *testing.T) {
	url, _ := gateway(t, 3, false)
	r, err := load.Run(t.Context(), load.Config{
		URL: strings.Replace(url, "http://", "http://me:secret@", 1), Clients: 4,
		Duration: 2 * time.Second, Patience: patience, StripEvery: 3,
	}, nil)
	require.NoError(t, err)
	require.Equal(t, []int{4, 3}, []int{r.Clients, r.Seeing})
	require.InDelta(t, 2, r.DurationS, 1)
	refused := 0
	var frames, lost, byteCount uint64
	for _, v := range r.Viewers {
		if v.Error != "" {
			require.Contains(t, v.Error, "gateway full")
			refused++
			continue
		}
		require.Equal(t, "cam0", v.Stream)
		require.Positive(t, v.Frames)
		require.InDelta(t, float64(v.Frames)/9, float64(v.Lost), 1.01, "every tenth is missing")
		require.InDelta(t, float64(v.Frames)/r.DurationS, v.FPS, 0.001)
		require.Nil(t, v.Age, "this gateway does not tell the time")
		require.Equal(t, v.Frames/3, v.StripAge.Samples)
		require.GreaterOrEqual(t, v.StripAge.P50, 40.0*0.997)
		require.GreaterOrEqual(t, v.StripAge.Max, v.StripAge.P99)
		frames, lost, byteCount = frames+v.Frames, lost+v.Lost, byteCount+v.Bytes
	}
	require.Equal(t, 1, refused)
	require.Equal(t, []uint64{frames, lost, byteCount}, []uint64{r.Total.Frames, r.Total.Lost, r.Total.Bytes})
	require.Zero(t, r.Total.StripUnread)

	var table, text bytes.Buffer
	require.NoError(t, r.WriteTable(&table))
	require.Contains(t, table.String(), "3 of 4 viewers")
	require.Contains(t, table.String(), "gateway full")
	require.NoError(t, r.WriteJSON(&text))
	var again load.Report
	require.NoError(t, json.Unmarshal(text.Bytes(), &again))
	require.Equal(t, *r, again)
	require.NotContains(t, text.String()+table.String(), "secret")
}

func TestNobodySeesAPicture(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		url, _ := gateway(t, 0, false)
		_, err := load.Run(t.Context(), load.Config{URL: url, Clients: 2, Patience: time.Hour}, nil)
		require.ErrorIs(t, err, load.ErrNobody)
		require.ErrorContains(t, err, "gateway full")
	})
	t.Run("dark", func(t *testing.T) {
		url, came := gateway(t, 9, true)
		_, err := load.Run(t.Context(), load.Config{URL: url, Clients: 40, Patience: 100 * time.Millisecond}, nil)
		require.ErrorIs(t, err, load.ErrNobody)
		require.Positive(t, came.Load())
	})
	t.Run("malformed", func(t *testing.T) {
		_, err := load.Run(t.Context(), load.Config{URL: "ftp://x"}, nil)
		require.ErrorContains(t, err, "scheme")
	})
}

func TestTheContextEndsIt(t *testing.T) {
	url, came := gateway(t, 9, false)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := load.Run(ctx, load.Config{URL: url, Clients: 5, Duration: time.Hour}, nil)
		done <- err
	}()
	require.Eventually(t, func() bool { return came.Load() == 5 }, patience, 5*time.Millisecond)
	cancel()
	select {
	case err := <-done:
		require.ErrorIs(t, err, context.Canceled)
	case <-time.After(patience):
		require.Fail(t, "it goes on")
	}
}
