package source

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/proto/subject"
)

// MaxSources bounds a list of sources.
const MaxSources = 64

// MaxFPS bounds the frames a second that can be asked for.
const MaxFPS = 240

// Kind is what sort of source a URL names.
type Kind string

// The kinds of sources.
const (
	Pattern Kind = "pattern"
	Camera  Kind = "camera"
	File    Kind = "file"
	Network Kind = "network" // RTSP or HTTP
)

// Defaults is what every source of a list is asked for.
type Defaults struct {
	Width, Height int     // of the output, px
	FPS           float64 // of the pattern and, where they can, of cameras
}

// Spec is one source of a list. It keeps its URL to itself, as that may hold a password; print it as you like.
type Spec struct {
	Name          string
	Kind          Kind
	Width, Height int
	FPS           float64
	Always        bool // frames are wanted even where nobody watches (?always=true)
	Loop          bool // a file starts again at its end

	target   string // what OpenCV opens; secret
	device   int    // camera number, -1 where target is a device's path
	redacted string
}

// Redacted is the source's URL without user, password and the values of its query.
func (s Spec) Redacted() string { return s.redacted }

// String is NAME=URL, redacted.
func (s Spec) String() string { return s.Name + "=" + s.redacted }

// GoString keeps %#v from showing the URL.
func (s Spec) GoString() string { return fmt.Sprintf("source.Spec(%q)", s.String()) }

// LogValue keeps a logger from reflecting on the URL.
func (s Spec) LogValue() slog.Value { return slog.StringValue(s.String()) }

// ParseList reads "NAME=URL,NAME=URL". A comma inside a URL is written %2C. All errors are reported at once, a line
// each, and none of them repeats more of a URL than its scheme.
func ParseList(list string, def Defaults) ([]Spec, error) {
	errs := def.validate()
	var specs []Spec
	seen := map[string]bool{}
	n := 0
	for item := range strings.SplitSeq(list, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		n++
		name, raw, ok := strings.Cut(item, "=")
		name = strings.TrimSpace(name)
		switch {
		case !ok || !subject.ValidName(name):
			errs = append(errs, fmt.Errorf("source %d: want NAME=URL, the name of a-z, 0-9, _ and - and at most %d "+
				"characters (a comma inside a URL is written %%2C)", n, subject.MaxName))
			continue
		case seen[name]:
			errs = append(errs, fmt.Errorf("source %q: named twice", name))
			continue
		}
		seen[name] = true
		spec, err := parse(strings.TrimSpace(raw))
		if err != nil {
			errs = append(errs, fmt.Errorf("source %q: %w", name, err))
			continue
		}
		spec.Name, spec.Width, spec.Height, spec.FPS = name, def.Width, def.Height, def.FPS
		specs = append(specs, spec)
	}
	if n == 0 {
		errs = append(errs, errors.New("no source: want NAME=URL, such as cam0=pattern: or cam1=camera:0"))
	}
	if n > MaxSources {
		errs = append(errs, fmt.Errorf("%d sources: at most %d in one process", n, MaxSources))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return specs, nil
}

func (d Defaults) validate() []error {
	var errs []error
	switch w, h := d.Width, d.Height; {
	case w < 1 || h < 1 || w > frame.MaxSide || h > frame.MaxSide:
		errs = append(errs, fmt.Errorf("size %d×%d: each side must be 1 to %d pixels", w, h, frame.MaxSide))
	case frame.PayloadSize(frame.I420, w, h) > frame.MaxPayload:
		errs = append(errs, fmt.Errorf("size %d×%d: a frame would have %d bytes, the bus carries %d", w, h,
			frame.PayloadSize(frame.I420, w, h), frame.MaxPayload))
	}
	if math.IsNaN(d.FPS) || d.FPS <= 0 || d.FPS > MaxFPS {
		errs = append(errs, fmt.Errorf("%v frames a second: must be more than 0 and at most %d", d.FPS, MaxFPS))
	}
	return errs
}

const known = "pattern:, camera:N, /dev/videoN, file:PATH, rtsp://…, rtsps://…, http://… or https://…"

func parse(raw string) (Spec, error) {
	if strings.HasPrefix(raw, "/dev/") {
		raw = "camera:" + raw
	}
	scheme, rest, ok := strings.Cut(raw, ":")
	if !ok {
		return Spec{}, errors.New("no scheme: want " + known)
	}
	switch scheme = strings.ToLower(scheme); scheme {
	case "pattern":
		return parsePattern(rest)
	case "camera":
		return parseCamera(rest)
	case "file":
		return parseFile(rest)
	case "rtsp", "rtsps", "http", "https":
		return parseNetwork(scheme, rest)
	default:
		return Spec{}, errors.New("unknown scheme: want " + known)
	}
}

func parsePattern(rest string) (Spec, error) {
	spec := Spec{Kind: Pattern, redacted: "pattern:"}
	rest, err := own(rest, map[string]*bool{"always": &spec.Always})
	if err == nil && rest != "" {
		err = errors.New("a pattern takes nothing after the colon but ?always=true")
	}
	return spec, err
}

func parseCamera(rest string) (Spec, error) {
	spec := Spec{Kind: Camera, device: -1}
	rest, err := own(rest, map[string]*bool{"always": &spec.Always})
	if err != nil {
		return spec, err
	}
	if strings.HasPrefix(rest, "/dev/") {
		spec.target = filepath.Clean(rest)
		spec.redacted = spec.target
		return spec, nil
	}
	n, err := strconv.ParseUint(rest, 10, 8)
	if err != nil {
		return spec, errors.New("camera: wants a number from 0 to 255, or a path /dev/…")
	}
	spec.device = int(n)
	spec.redacted = "camera:" + strconv.Itoa(spec.device)
	return spec, nil
}

func parseFile(rest string) (Spec, error) {
	spec := Spec{Kind: File, Loop: true}
	rest, err := own(rest, map[string]*bool{"always": &spec.Always, "loop": &spec.Loop})
	if err != nil {
		return spec, err
	}
	if after, ok := strings.CutPrefix(rest, "///"); ok {
		rest = "/" + after
	}
	path, err := url.PathUnescape(rest)
	if err != nil {
		return spec, errors.New("file: bad % in the path (a percent sign itself is written %25)")
	}
	if path == "" || strings.ContainsRune(path, 0) {
		return spec, errors.New("file: wants a path")
	}
	spec.target = path
	spec.redacted = "file:" + path
	return spec, nil
}

func parseNetwork(scheme, rest string) (Spec, error) {
	spec := Spec{Kind: Network}
	rest, err := strip(rest, &spec.Always)
	if err != nil {
		return spec, err
	}
	rest = strings.NewReplacer("%2C", ",", "%2c", ",").Replace(rest)
	spec.target = scheme + ":" + rest
	u, err := url.Parse(spec.target)
	if err != nil { // which would repeat the URL
		return spec, fmt.Errorf("not a valid %s URL (in a password, anything but letters and digits is written %%XX)",
			scheme)
	}
	if !strings.HasPrefix(rest, "//") || u.Hostname() == "" {
		return spec, fmt.Errorf("no host: want %s://HOST/…", scheme)
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return spec, errors.New("the port must be 1 to 65535")
		}
	}
	spec.redacted = redact(scheme, rest[2:])
	return spec, nil
}

// own takes the query off a URL all of whose parameters are ours.
func own(rest string, params map[string]*bool) (string, error) {
	rest, query, _ := strings.Cut(rest, "?")
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		into := params[key]
		if into == nil {
			return "", errors.New("unknown parameter in its query (a question mark in a path is written %3F)")
		}
		if err := parseBool(key, value, ok, into); err != nil {
			return "", err
		}
	}
	return rest, nil
}

// strip takes our one parameter out of a query that otherwise belongs to somebody else, and leaves the rest untouched.
func strip(rest string, always *bool) (string, error) {
	base, query, ok := strings.Cut(rest, "?")
	if !ok {
		return rest, nil
	}
	var keep []string
	for pair := range strings.SplitSeq(query, "&") {
		key, value, ok := strings.Cut(pair, "=")
		if key != "always" {
			keep = append(keep, pair)
			continue
		}
		if err := parseBool(key, value, ok, always); err != nil {
			return "", err
		}
	}
	if len(keep) == 0 {
		return base, nil
	}
	return base + "?" + strings.Join(keep, "&"), nil
}

func parseBool(key, value string, given bool, into *bool) error {
	if !given {
		*into = true
		return nil
	}
	b, err := strconv.ParseBool(value)
	if err != nil {
		return fmt.Errorf("%s must be true or false", key)
	}
	*into = b
	return nil
}

// redact hides what may be secret in a URL, given without its scheme. Where a stray @ leaves open what is password and
// what is not (a password with an unescaped / or ? in it), it hides more rather than less.
func redact(scheme, rest string) string {
	rest, fragment, _ := strings.Cut(rest, "#")
	base, query, _ := strings.Cut(rest, "?")
	if strings.Contains(query, "@") || strings.Contains(fragment, "@") {
		return scheme + "://***"
	}
	if i := strings.LastIndexByte(base, '@'); i >= 0 {
		base = "***@" + base[i+1:]
	}
	if query == "" {
		return scheme + "://" + base
	}
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		if key, _, ok := strings.Cut(pair, "="); ok {
			pairs[i] = key + "=***"
		} else {
			pairs[i] = "***"
		}
	}
	return scheme + "://" + base + "?" + strings.Join(pairs, "&")
}
