package oidcrp

import (
	"testing"
	"time"
)

// SetMarkLimit changes how many marks the provider of c can cause.
func SetMarkLimit(c *Client, n int) { c.sessions.limit.max = n }

func TestMarkLimit_IsFilledAtOnceAndEmptiesEvenly(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	l := &markLimit{max: 10, span: time.Hour, now: clock.Now}
	takes := func(what string, want int) {
		t.Helper()
		got := 0
		for got < 100 && l.take(1) {
			got++
		}
		if got != want {
			t.Errorf("%s: there is room for %d, want %d", what, got, want)
		}
	}
	takes("at first", 10)
	clock.Advance(6*time.Minute - 1)
	takes("just before a tenth of the span", 0)
	clock.Advance(1)
	takes("after a tenth of the span", 1)
	clock.Advance(18 * time.Minute)
	if l.take(4) || !l.take(3) {
		t.Error("there is not room for exactly 3")
	}
	l.giveBack(3)
	takes("after they were given back", 3)
	clock.Advance(100 * time.Hour)
	takes("after a long time", 10)
	clock.Advance(-100 * time.Hour)
	takes("by a clock that was set back", 0)
	clock.Advance(30 * time.Minute)
	takes("half the span later", 5)
}

func TestMarkLimit_IsThatOfTheSessionsLifetime(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, func(cfg *Config) { cfg.Sessions.Lifetime, cfg.Sessions.IdleTimeout = 7*time.Hour, time.Hour })
	l := c.sessions.limit
	if l.max != 250_000 || l.span != 7*time.Hour || l.cost(l.max) > l.span || l.cost(l.max+1) <= l.span {
		t.Errorf("%d in %v, each for %v", l.max, l.span, l.cost(1))
	}
}
