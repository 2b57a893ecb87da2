package main

import (
	"bytes"
	"fmt"
	"html"

	"github.com/framebus/framebus/services/internal/adapt/simulate"
)

const (
	width, height = 640, 62 // of a plot
	left, top     = 70, 28
	gap           = 14
)

// line is one curve of a plot, from 0 to the plot's most.
type line struct {
	colour string
	of     func(simulate.Point) float64
}

type plot struct {
	name  string
	most  float64 // 0: the largest value
	lines []line
}

const ink, pale = "#0b6e99", "#c9a227"

var plots = []plot{
	{"fps", 32, []line{{ink, func(p simulate.Point) float64 { return p.FPS }}}},
	{"age, ms", 0, []line{{ink, func(p simulate.Point) float64 { return p.AgeMs }}}},
	{"Mbit/s", 0, []line{
		{pale, func(p simulate.Point) float64 { return p.LinkMbps }},
		{ink, func(p simulate.Point) float64 { return p.Mbps }},
	}},
	{"quality", 100, []line{{ink, func(p simulate.Point) float64 { return p.Quality }}}},
	{"rung", 2, []line{{ink, func(p simulate.Point) float64 { return p.Rung }}}},
}

// draw is a viewer's fps, age, Mbit/s (the link's in yellow), quality and rung over time, as SVG.
func draw(title string, trace []simulate.Point) []byte {
	var b bytes.Buffer
	tall := top + len(plots)*(height+gap) + 10
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`,
		left+width+20, tall)
	fmt.Fprintf(&b, "\n<rect width='100%%' height='100%%' fill='#fff'/><text x='%d' y='16' font-size='13'>%s</text>\n",
		left, html.EscapeString(title))
	for i, p := range plots {
		y := float64(top + i*(height+gap))
		most := p.most
		for _, l := range p.lines {
			for _, at := range trace {
				if p.most == 0 {
					most = max(most, l.of(at)*1.05)
				}
			}
		}
		fmt.Fprintf(&b, "<rect x='%d' y='%.0f' width='%d' height='%d' fill='none' stroke='#ccc'/>", left, y, width, height)
		fmt.Fprintf(&b, "<text x='4' y='%.0f'>%s</text>", y+height/2+4, p.name)
		fmt.Fprintf(&b, "<text x='%d' y='%.0f' text-anchor='end'>%.0f</text>", left-4, y+9, most)
		fmt.Fprintf(&b, "<text x='%d' y='%.0f' text-anchor='end'>0</text>\n", left-4, y+height)
		for _, l := range p.lines {
			fmt.Fprintf(&b, "<polyline fill='none' stroke='%s' stroke-width='1.5' points='", l.colour)
			for s, at := range trace {
				x := left + (float64(s)+0.5)/float64(len(trace))*width
				fmt.Fprintf(&b, "%.1f,%.1f ", x, y+height*(1-min(l.of(at)/most, 1)))
			}
			fmt.Fprint(&b, "'/>\n")
		}
	}
	fmt.Fprintf(&b, "<text x='%d' y='%d' text-anchor='end'>%d s</text></svg>\n", left+width, tall-2, len(trace))
	return b.Bytes()
}
