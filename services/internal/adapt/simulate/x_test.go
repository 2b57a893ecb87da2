package simulate

import (
	"fmt"
	"testing"
	"time"
)

const ms = time.Millisecond

func net(m float64, rtt time.Duration) *Network { return &Network{Rate: Mbit(m), RTT: Steady(rtt)} }

func sc(vs ...*Network) Scenario {
	return Scenario{Seed: 1, Duration: 60 * time.Second, Warm: 10 * time.Second, FPS: 30, Size80: 24000, Viewers: vs}
}

func show(name string, vs []Viewer) {
	for i, v := range vs {
		fmt.Printf("%-28s %2d fps %5.1f age %4d/%4d Q %4.1f rung %.2f changes %d Mbps %.2f share %.2f\n", name, i, v.FPS, v.AgeP50.Milliseconds(), v.AgeP95.Milliseconds(), v.Quality, v.Rung, v.RungChanges, v.Mbps, v.MeanRateShare)
	}
}

func TestX(t *testing.T) {
	for _, rtt := range []time.Duration{1, 5, 20, 50, 150, 300} {
		show(fmt.Sprint("20 Mbit rtt ", rtt), Run(sc(net(20, rtt*ms))))
	}
	for _, rtt := range []time.Duration{1, 20, 50, 150} {
		show(fmt.Sprint("2.5 Mbit rtt ", rtt), Run(sc(net(2.5, rtt*ms))))
	}
	for _, m := range []float64{0.3, 0.6, 1, 1.5, 2, 3, 4, 5, 6, 8} {
		show(fmt.Sprint(m, " Mbit rtt 20"), Run(sc(net(m, 20*ms))))
	}
	vs := []*Network{}
	for range 9 {
		vs = append(vs, net(50, 1*ms))
	}
	vs = append(vs, net(1, 20*ms))
	show("nine and a slow", Run(sc(vs...))[8:])
	vs = nil
	for _, m := range []float64{0.3, 0.6, 1, 1.5, 2.5, 4, 7, 12, 20, 30} {
		vs = append(vs, net(m, 20*ms))
	}
	show("ten rates", Run(sc(vs...)))
	show("bucket 32K 2.5", Run(sc(&Network{Rate: Mbit(2.5), RTT: Steady(20 * ms), Bucket: 32000})))
	show("bucket 4K 2.5", Run(sc(&Network{Rate: Mbit(2.5), RTT: Steady(20 * ms), Bucket: 4000})))
	show("steps", Run(sc(&Network{Rate: Steps(15*time.Second, 20, 1), RTT: Steady(20 * ms)})))
	show("lte", Run(sc(&Network{Rate: LTE(1, 1, 12), RTT: Steady(50 * ms)})))
}
