package service

import "time"

// sampleEvery is how far apart a stream's traced frames are, where no sampler is set.
const sampleEvery = time.Second

// Sampler makes what decides which of a stream's frames are traced: nil, which is none, where spans go nowhere; all
// where a sampler of the tracer's decides; else one a second. It is for one goroutine.
func (d Deps) Sampler() func(time.Time) bool {
	switch {
	case !d.Tracing:
		return nil
	case d.SampleAll:
		return func(time.Time) bool { return true }
	}
	var next time.Time
	return func(now time.Time) bool {
		if now.Before(next) {
			return false
		}
		next = now.Add(sampleEvery)
		return true
	}
}
