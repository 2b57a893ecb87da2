package simulate

import "time"

// clock does what is due, in order of time and, at one time, in the order it was asked for.
type clock struct {
	now   time.Duration
	order int
	due   []event // a heap
}

type event struct {
	at    time.Duration
	order int
	do    func()
}

func (e event) before(o event) bool { return e.at < o.at || e.at == o.at && e.order < o.order }

func (c *clock) at(t time.Duration, do func()) {
	c.order++
	c.due = append(c.due, event{max(t, c.now), c.order, do})
	for i := len(c.due) - 1; i > 0; {
		up := (i - 1) / 2
		if !c.due[i].before(c.due[up]) {
			break
		}
		c.due[i], c.due[up] = c.due[up], c.due[i]
		i = up
	}
}

func (c *clock) after(d time.Duration, do func()) { c.at(c.now+d, do) }

func (c *clock) run(until time.Duration) {
	for len(c.due) > 0 && c.due[0].at < until {
		e := c.pop()
		c.now = e.at
		e.do()
	}
}

func (c *clock) pop() event {
	first, last := c.due[0], len(c.due)-1
	c.due[0], c.due[last] = c.due[last], event{}
	c.due = c.due[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if c.due[child].before(c.due[least]) {
				least = child
			}
		}
		if least == i {
			return first
		}
		c.due[i], c.due[least] = c.due[least], c.due[i]
		i = least
	}
}
