package record_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/client"
	"github.com/framebus/framebus/services/client/record"
	"github.com/gorilla/websocket"
)

// demo is a gateway that shows 50 pictures of 25 a second at once; a second of them is missing.
func demo() *httptest.Server {
	up := websocket.Upgrader{Subprotocols: []string{"framebus.v1"}}
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		begin, jpeg := time.Now(), blank()
		for i := range uint64(75) {
			if i >= 25 && i < 50 {
				continue
			}
			h := frame.NewHeader()
			h.Format, h.Quality, h.Width, h.Height, h.Channel = frame.JPEG, 75, 64, 48, 1
			h.Epoch, h.Sequence, h.PayloadLen = 1, i, uint32(len(jpeg))
			h.CapturedUs = begin.Add(time.Duration(i) * 40 * time.Millisecond).UnixMicro()
			b := make([]byte, frame.HeaderLen)
			h.Put(b)
			_ = ws.WriteMessage(websocket.BinaryMessage, append(b, jpeg...))
		}
		for err == nil {
			_, _, err = ws.ReadMessage()
		}
	}))
}

// A viewer takes every frame in order, and the file keeps each as it came, at the time it was captured.
func Example() {
	gateway := demo()
	defer gateway.Close()
	dir, err := os.MkdirTemp("", "record")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, end := context.WithTimeout(context.Background(), time.Minute)
	defer end()

	out, err := record.Create(filepath.Join(dir, "out.mkv"))
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := client.New(client.Config{URL: gateway.URL, Stream: "cam0", Mode: "smooth", Every: true}, client.Deps{
		OnFrame: func(f *client.Frame) {
			defer f.Release()
			if err := out.Write(f); err != nil || out.Report().Frames == 50 {
				end()
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(v.Run(ctx), out.Close())
	r := out.Report()
	fmt.Printf("%d frames in %v, %d missed\n", r.Frames, r.Duration, r.Missed)
	fmt.Printf("after %v nothing for %v\n", r.Gaps[0].At, r.Gaps[0].For)
	// Output:
	// <nil> <nil>
	// 50 frames in 2.96s, 25 missed
	// after 960ms nothing for 1.04s
}
