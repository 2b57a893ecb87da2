package source_test

import (
	"fmt"
	"log/slog"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/source"
	"github.com/stretchr/testify/require"
)

func TestParseList(t *testing.T) {
	specs, err := source.ParseList("cam0=pattern:, "+
		"door=rtsp://me:pw@cam.example:8554/a%2Cb?always=true&token=t0p&x&loop=1,"+
		"a=file:/v/a%2Cb%3F.mp4?loop=false, b=file:rel.mp4?always,usb=camera:1?always=true,usb2=/dev/video3,"+
		"web=https://cam.example/mjpg?fps=5&always=false,", defaults())
	require.NoError(t, err)
	type row struct {
		Name, Redacted string
		Kind           source.Kind
		Always, Loop   bool
	}
	got := make([]row, 0, len(specs))
	for _, s := range specs {
		require.Equal(t, []any{320, 240, 30.0}, []any{s.Width, s.Height, s.FPS})
		got = append(got, row{s.Name, s.Redacted(), s.Kind, s.Always, s.Loop})
	}
	require.Equal(t, []row{
		{"cam0", "pattern:", source.Pattern, false, false},
		{"door", "rtsp://***@cam.example:8554/a,b?token=***&***&loop=***", source.Network, true, false},
		{"a", "file:/v/a,b?.mp4", source.File, false, false},
		{"b", "file:rel.mp4", source.File, true, true},
		{"usb", "camera:1", source.Camera, true, false},
		{"usb2", "/dev/video3", source.Camera, false, false},
		{"web", "https://cam.example/mjpg?fps=***", source.Network, false, false},
	}, got)
}

func TestBadListsAreRefused(t *testing.T) {
	many := make([]string, 65)
	for i := range many {
		many[i] = fmt.Sprintf("s%d=pattern:", i)
	}
	for list, want := range map[string]string{
		"":                              "no source",
		" , ":                           "no source",
		"pattern:":                      "want NAME=URL",
		"Cam=pattern:":                  "want NAME=URL",
		"=pattern:":                     "want NAME=URL",
		"a=pattern:,a=camera:0":         `"a": named twice`,
		"a=":                            "no scheme",
		"a=what":                        "no scheme",
		"a=ftp://x":                     "unknown scheme",
		"a=pattern:x":                   "takes nothing",
		"a=pattern:?always=maybe":       "always must be true or false",
		"a=camera:":                     "wants a number",
		"a=camera:-1":                   "wants a number",
		"a=camera:256":                  "wants a number",
		"a=camera:0?loop=true":          "unknown parameter",
		"a=file:":                       "wants a path",
		"a=file:x%zz":                   "bad %",
		"a=file:x?lop=false":            "unknown parameter",
		"a=file:x?loop=no":              "loop must be",
		"a=rtsp:cam":                    "no host",
		"a=rtsp://":                     "no host",
		"a=rtsp://:554/x":               "no host",
		"a=http://cam:0/":               "port",
		"a=http://cam:99999/":           "port",
		"a=http://cam/?always=x":        "always must be",
		"a=rtsp://u:p%zz@cam/":          "not a valid rtsp URL",
		"a=rtsp://user:pa ss\x01@cam/x": "not a valid rtsp URL",
		strings.Join(many, ","):         "65 sources",
	} {
		t.Run(list[:min(len(list), 30)], func(t *testing.T) {
			_, err := source.ParseList(list, defaults())
			require.ErrorContains(t, err, want)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestImpossibleSizesAreRefused(t *testing.T) {
	for _, d := range []source.Defaults{
		{Width: 0, Height: 1, FPS: 1},
		{Width: 1, Height: -1, FPS: 1},
		{Width: 16385, Height: 1, FPS: 1},
		{Width: 16384, Height: 16384, FPS: 1},
		{Width: 3840, Height: 2160, FPS: 1},
		{Width: 1, Height: 1, FPS: 0},
		{Width: 1, Height: 1, FPS: 241},
		{Width: 1, Height: 1, FPS: math.NaN()},
		{Width: 1, Height: 1, FPS: math.Inf(1)},
	} {
		_, err := source.ParseList("a=pattern:", d)
		require.Error(t, err, "%+v", d)
	}
	_, err := source.ParseList("a=pattern:", source.Defaults{Width: 1920, Height: 1080, FPS: 240})
	require.NoError(t, err)
}

func TestAllErrorsAreReportedAtOnce(t *testing.T) {
	_, err := source.ParseList("a=x:,B=pattern:,c=camera:x", source.Defaults{Width: 0, Height: 0, FPS: 0})
	require.Len(t, strings.Split(err.Error(), "\n"), 5)
}

func TestSecretsOfAURLAreNowhere(t *testing.T) {
	for _, url := range []string{
		"rtsp://admin:hunter2@cam/x", "rtsp://hunter2@cam/x", "http://cam/?pwd=hunter2", "http://cam/?hunter2",
		"rtsp://admin:12/hunter2@cam/x", "rtsp://admin:12?hunter2@cam/x", "rtsp://admin:12#hunter2@cam/x",
		"http://cam/?user=a@b&pwd=hunter2", "https://a:b@cam/x?always=true&t=hunter2", "http://cam/#hunter2",
	} {
		spec := parse(t, url, defaults())
		var log strings.Builder
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "spec", spec, "specs", []source.Spec{spec})
		said := fmt.Sprintf("%v %+v %#v %s %v %#v", spec, spec, spec, spec.Redacted(), &spec, []source.Spec{spec})
		require.NotContains(t, said+log.String(), "hunter2", url)
	}
	for _, list := range []string{
		"rtsp://admin:hunter2@cam/x", "rtsp://admin:hunter2=x@cam/x", "a=rtsp://admin:hunter2/@cam/x",
		"a=rtsp://admin:x,hunter2@cam/x", "a=rtsp://admin:hunter2%zz@cam/x", "a=http://cam/?always=hunter2",
		"a=rtps://admin:hunter2@cam/x", "a=file:x?hunter2", "a=camera:hunter2",
	} {
		_, err := source.ParseList(list, defaults())
		require.Error(t, err, list)
		require.NotContains(t, err.Error(), "hunter2", list)
	}
}

var credentials = regexp.MustCompile(`//[^/]*[^*/][^/]*@`)

func FuzzParseList(f *testing.F) {
	f.Add("cam0=pattern:,door=rtsp://me:pw@cam/a%2Cb?always=true&token=t")
	f.Add("a=file:/x%20y.mp4?loop=false,b=/dev/video0,c=camera:0")
	f.Add("a=http://[::1]:80/?x=@")
	f.Fuzz(func(t *testing.T, list string) {
		specs, err := source.ParseList(list, defaults())
		if err != nil {
			require.Nil(t, specs)
			return
		}
		require.NotEmpty(t, specs)
		require.LessOrEqual(t, len(specs), source.MaxSources)
		seen := map[string]bool{}
		for _, s := range specs {
			require.True(t, subject.ValidName(s.Name))
			require.False(t, seen[s.Name])
			seen[s.Name] = true
			require.NotEmpty(t, s.Redacted())
			if s.Kind == source.Network {
				require.NotRegexp(t, credentials, s.Redacted())
			}
		}
	})
}
