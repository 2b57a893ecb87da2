package encoder

import (
	"errors"
	"fmt"
	"runtime"
)

// Settings of an encoder: a flag and an environment variable each.
type Settings struct {
	Quality    int `name:"quality" env:"FRAMEBUS_QUALITY" default:"80" help:"JPEG quality, 1..100."`
	QualityMin int `name:"quality-min" env:"FRAMEBUS_QUALITY_MIN" default:"30" help:"Lowest quality, 1..100; lowered to the quality where that is below it."`
	Workers    int `name:"workers" env:"FRAMEBUS_WORKERS" default:"0" help:"Frames encoded at once; 0 is one a core."`
}

const maxWorkers = 1024

// Validate names every error at once, and settles what depends on the machine or on another setting.
func (s *Settings) Validate() error {
	var errs []error
	check := func(name string, v, low, high int) {
		if v < low || v > high {
			errs = append(errs, fmt.Errorf("%s %d: want %d..%d", name, v, low, high))
		}
	}
	check("quality", s.Quality, 1, 100)
	check("quality min", s.QualityMin, 1, 100)
	check("workers", s.Workers, 0, maxWorkers)
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	s.QualityMin = min(s.QualityMin, s.Quality)
	if s.Workers == 0 {
		s.Workers = runtime.GOMAXPROCS(0)
	}
	return nil
}
