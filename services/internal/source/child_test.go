package source_test

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framebus/framebus/services/internal/source"
	"github.com/framebus/framebus/services/internal/source/sourcetest"
	"github.com/stretchr/testify/require"
)

// childSources makes the test binary a process that runs the sources it lists until each of them has failed.
const childSources = "FRAMEBUS_TEST_CHILD_SOURCES"

func child(list string) {
	specs, err := source.ParseList(list, defaults())
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var failed, ended sync.WaitGroup
	failed.Add(len(specs))
	for _, spec := range specs {
		ended.Go(func() {
			_ = source.Run(ctx, spec, &failing{once: failed.Done}, source.Deps{Log: log})
		})
	}
	failed.Wait()
	cancel()
	ended.Wait()
}

// failing is a sink that calls once when its source has failed for the second time, and so was opened again.
type failing struct {
	once   func()
	causes int
	slates int
}

func (f *failing) Begin(time.Time, int, int) []byte {
	if f.slates++; f.causes > 0 && f.slates >= 3 && f.once != nil {
		f.once()
		f.once = nil
	}
	return nil
}

func (f *failing) Commit() {}

func (f *failing) State(_ bool, cause string, _ float64) {
	if cause != "opening" {
		f.causes++
	}
}

func TestPasswordsNeverReachTheOutput(t *testing.T) {
	silent := sourcetest.ServeSilence(t)
	halfDead, _ := serveHalfDead(t)
	notFound := strings.TrimPrefix(serveNotFound(t), "http://")
	const login, query = "admin:hunter2@", "?token=hunter2"
	list := strings.Join([]string{
		"silent=rtsp://" + login + silent + "/cam" + query,
		"mute=http://" + login + silent + "/cam" + query,
		"halfdead=rtsp://" + login + halfDead + "/cam" + query,
		"refused=rtsp://" + login + "127.0.0.1:1/cam" + query,
		"nohost=http://" + login + "nowhere.invalid/cam" + query,
		"nopath=http://" + login + notFound + "/cam" + query,
		"notls=https://" + login + notFound + "/cam" + query,
	}, ",")
	cmd := exec.Command(os.Args[0])
	// What a user may have set to see more must not show more.
	cmd.Env = append(os.Environ(), childSources+"="+list, "OPENCV_LOG_LEVEL=DEBUG", "OPENCV_FFMPEG_DEBUG=1",
		"OPENCV_VIDEOIO_DEBUG=1", "OPENCV_DUMP_ERRORS=1", "OPENCV_FFMPEG_LOGLEVEL=56")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	for name, cause := range map[string]string{
		"silent": "no answer within 3s", "mute": "no answer within 3s", "halfdead": "no answer within 3s",
		"refused": "connection refused", "nohost": "no such host", "nopath": "no such path .404.",
		"notls": "does not speak TLS",
	} {
		require.Regexp(t, "stream="+name+" .*cause=.*"+cause, string(out))
	}
	require.NotContains(t, string(out), "hunter2")
}
