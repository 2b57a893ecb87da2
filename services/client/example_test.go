package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/framebus/framebus/services/client"
)

// demo is a gateway that shows three pictures of cam0, and one of door to who asks for that too.
func demo() *httptest.Server {
	up := websocket.Upgrader{Subprotocols: []string{"framebus.v1"}}
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("stream") == "nobody" {
			http.Error(w, `{"error":"unknown stream nobody","hint":"there is cam0"}`, http.StatusNotFound)
			return
		}
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		_ = ws.WriteMessage(websocket.TextMessage, []byte(`{"hello":{"channels":[
			{"channel":1,"stream":"cam0"},{"channel":2,"stream":"door"}]}}`))
		for i := range uint64(3) {
			_ = ws.WriteMessage(websocket.BinaryMessage, message(1, 1, i+1, time.Now()))
		}
		for err == nil {
			var told []byte
			_, told, err = ws.ReadMessage()
			if bytes.Contains(told, []byte(`"door"`)) {
				_ = ws.WriteMessage(websocket.BinaryMessage, message(2, 1, 1, time.Now()))
			}
		}
	}))
}

// desk is a gateway that takes what is published.
func desk() (gateway *httptest.Server, took chan string) {
	took = make(chan string, 1)
	up := websocket.Upgrader{Subprotocols: []string{"framebus.v1"}}
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		for {
			_, jpeg, err := ws.ReadMessage()
			if err != nil {
				return
			}
			took <- fmt.Sprintf("a picture of %s: %t", r.URL.Query().Get("stream"), bytes.Equal(jpeg, picture()))
		}
	})), took
}

// A recorder takes every frame, in order; it says itself when it has enough.
func ExampleViewer_Run() {
	gateway := demo()
	defer gateway.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	v, err := client.New(client.Config{URL: gateway.URL, Stream: "cam0", Every: true}, client.Deps{
		OnFrame: func(f *client.Frame) {
			fmt.Printf("%s %d: %d×%d, %d missed before it\n",
				f.Stream, f.Header.Sequence, f.Header.Width, f.Header.Height, f.Missed)
			if f.Header.Sequence == 3 {
				cancel()
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(v.Run(ctx))
	// Output:
	// cam0 1: 64×48, 0 missed before it
	// cam0 2: 64×48, 0 missed before it
	// cam0 3: 64×48, 0 missed before it
	// <nil>
}

// A window shows what is newest: what it has no time for is displaced, and the stream is never late.
func ExampleDeps_frames() {
	gateway := demo()
	defer gateway.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	frames := make(chan *client.Frame) // unbuffered: a buffer would keep old ones
	v, err := client.New(client.Config{URL: gateway.URL}, client.Deps{Frames: frames})
	if err != nil {
		fmt.Println(err)
		return
	}
	done := make(chan error)
	go func() { done <- v.Run(ctx) }()
	for f := range frames {
		img, err := f.Image()
		if err != nil {
			fmt.Println(err)
			continue
		}
		if f.Header.Sequence == 3 {
			fmt.Println("shown:", img.Bounds().Max)
			break
		}
	}
	cancel()
	fmt.Println(<-done)
	// Output:
	// shown: (64,48)
	// <nil>
}

// A tool that must not wait for ever limits its attempts, and tells the refusal in the gateway's words.
func ExampleErrRefused() {
	gateway := demo()
	defer gateway.Close()
	v, err := client.New(client.Config{
		URL: gateway.URL, Stream: "nobody", Attempts: 2, Delay: 10 * time.Millisecond,
	}, client.Deps{})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = v.Run(context.Background())
	var refused *client.ErrRefused
	fmt.Println(errors.Is(err, client.ErrGaveUp), errors.As(err, &refused))
	fmt.Println(refused.Status, refused.Reason)
	// Output:
	// true true
	// 404 unknown stream nobody. there is cam0
}

// One connection carries several streams; Select would say how large each is shown.
func ExampleConfig_also() {
	gateway := demo()
	defer gateway.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	seen := map[string]int{}
	v, err := client.New(client.Config{URL: gateway.URL, Stream: "cam0", Also: []string{"door"}, Every: true},
		client.Deps{OnFrame: func(f *client.Frame) {
			if seen[f.Stream]++; seen["cam0"] == 3 && seen["door"] == 1 {
				cancel()
			}
		}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(v.Run(ctx))
	for _, s := range v.Stats().Streams {
		fmt.Printf("%s: %d frames, %d missed\n", s.Stream, s.Frames, s.Missed)
	}
	// Output:
	// <nil>
	// cam0: 3 frames, 0 missed
	// door: 1 frames, 0 missed
}

// A publisher makes a stream of its pictures. Send never waits: of those that the network cannot take the newest goes.
func ExamplePublisher() {
	gateway, took := desk()
	defer gateway.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	p, err := client.NewPublisher(client.PublisherConfig{URL: gateway.URL, Stream: "desk", Token: "secret"},
		client.PublisherDeps{})
	if err != nil {
		fmt.Println(err)
		return
	}
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	p.Send(picture())
	fmt.Println(<-took)
	cancel()
	fmt.Println(<-done)
	// Output:
	// a picture of desk: true
	// <nil>
}

// Each stream has its own statistics, at any time.
func ExampleViewer_Stats() {
	v, err := client.New(client.Config{URL: "cameras.example:8002", Stream: "cam0", Also: []string{"door"}},
		client.Deps{})
	if err != nil {
		fmt.Println(err)
		return
	}
	// go v.Run(ctx)
	for _, s := range v.Stats().Streams {
		fmt.Printf("%s: %.0f fps, %d missed, %s\n", s.Stream, s.FPS, s.Missed, s.Connection)
	}
	// Output:
	// cam0: 0 fps, 0 missed, poor
	// door: 0 fps, 0 missed, poor
}
