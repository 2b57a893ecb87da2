package capture

import (
	"errors"
	"fmt"

	"github.com/framebus/framebus/services/internal/source"
)

// Settings of a capture service: a flag and an environment variable each.
type Settings struct {
	Sources string  `name:"sources" env:"FRAMEBUS_SOURCES" default:"cam0=pattern:" help:"NAME=URL,…: pattern:, camera:N, /dev/videoN, file:PATH, rtsp://…, http://…; a comma in a URL is %2C."`
	Width   int     `name:"width" env:"FRAMEBUS_WIDTH" default:"640" help:"Width of pictures, px."`
	Height  int     `name:"height" env:"FRAMEBUS_HEIGHT" default:"480" help:"Height of pictures, px."`
	FPS     float64 `name:"fps" env:"FRAMEBUS_FPS" default:"30" help:"Frames a second of the pattern, and asked of cameras."`
}

// Validate names every error at once.
func (s *Settings) Validate() error {
	if _, err := s.specs(); err != nil {
		return fmt.Errorf("sources: %w", err)
	}
	return nil
}

func (s *Settings) specs() ([]source.Spec, error) {
	specs, err := source.ParseList(s.Sources, source.Defaults{Width: s.Width, Height: s.Height, FPS: s.FPS})
	if err == nil && len(specs) == 0 {
		err = errors.New("none")
	}
	return specs, err
}
