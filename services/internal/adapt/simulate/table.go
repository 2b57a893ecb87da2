package simulate

import (
	"fmt"
	"io"
	"time"
)

// Worst is the worst of every figure, over a case's viewers and seeds.
type Worst struct {
	FPS, Quality, Use, Moves float64
	P50, P95, Late           time.Duration // Late: p95 beyond half of the longest round trip at any time
	Mbps                     float64
	Spread                   int
}

// Judge runs a case with the seeds 1 to n.
func Judge(c Case, seeds int) Worst {
	w := Worst{FPS: 1e9, Quality: 1e9, Use: 1e9, Mbps: 1e9, Late: -time.Hour}
	for seed := range uint64(seeds) {
		s := c.Make(seed + 1)
		r := Run(s)
		w.Spread = max(w.Spread, r.Spread)
		for i, v := range r.Viewers {
			rtt := time.Duration(0)
			for t := s.Warm; t < s.Duration; t += time.Second {
				rtt = max(rtt, s.Viewers[i].RTT(t))
			}
			w.FPS, w.Quality = min(w.FPS, v.FPS), min(w.Quality, v.Quality)
			w.Use, w.Mbps = min(w.Use, v.Use), min(w.Mbps, v.Mbps)
			w.Moves = max(w.Moves, v.Moves)
			w.P50, w.P95, w.Late = max(w.P50, v.AgeP50), max(w.P95, v.AgeP95), max(w.Late, v.AgeP95-rtt/2)
		}
	}
	return w
}

// Missed are the bars that a case does not meet.
func (b Bars) Missed(w Worst) (missed []string) {
	check := func(ok bool, format string, args ...any) {
		if !ok {
			missed = append(missed, fmt.Sprintf(format, args...))
		}
	}
	check(w.FPS >= b.FPS, "%.1f fps, at least %.1f", w.FPS, b.FPS)
	check(w.Quality >= b.Quality, "quality %.1f, at least %.1f", w.Quality, b.Quality)
	check(w.Use >= b.Use, "use %.2f, at least %.2f", w.Use, b.Use)
	check(b.Late == 0 || w.Late <= b.Late, "p95 %v beyond half an RTT, at most %v", w.Late, b.Late)
	check(b.Moves == 0 || w.Moves <= b.Moves, "%.1f changes a minute, at most %.1f", w.Moves, b.Moves)
	check(b.Spread == 0 || w.Spread <= b.Spread, "qualities %d apart, at most %d", w.Spread, b.Spread)
	return missed
}

// Table prints cases as Markdown.
func Table(out io.Writer, cases []Case, seeds int) {
	fmt.Fprintln(out, "| case | fps | age p50, p95 ms | quality | Mbit/s | use % | rung changes/min |")
	fmt.Fprintln(out, "| --- | --- | --- | --- | --- | --- | --- |")
	for _, c := range cases {
		w := Judge(c, seeds)
		fmt.Fprintf(out, "| %s | %.1f | %d, %d | %.0f | %.2f | %.0f | %.0f |\n", c.Name, w.FPS,
			w.P50.Milliseconds(), w.P95.Milliseconds(), w.Quality, w.Mbps, 100*w.Use, w.Moves)
	}
}
