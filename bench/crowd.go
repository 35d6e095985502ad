package main

// This file is the people who are signed in while requests are measured.

import (
	"net/http"
	"sync/atomic"
	"time"
)

// A clock is the real time and an offset.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

const (
	// renewInterval is more than the minute after which oidcrp records that a session is
	// in use, and gives it a new cookie.
	renewInterval = 61 * time.Second
	// fresh is how long after that sessions are measured. It leaves a measurement time to
	// end before the next renewal.
	fresh = 20 * time.Second
)

// A crowd is people who are signed in at one app.
type crowd struct {
	app     http.Handler
	issuer  string // empty for an app without sign-in
	clock   *clock
	lines   []string // their Cookie headers
	renewed time.Time
}

// atLeast signs people in until there are n.
func (c *crowd) atLeast(n int) error {
	if len(c.lines) == 0 {
		c.renewed = time.Now()
	}
	more := make([]string, max(0, n-len(c.lines)))
	if c.issuer != "" {
		var err error
		if more, err = signInMany(c.app, c.issuer, 2, len(more)); err != nil {
			return err
		}
	}
	c.lines = append(c.lines, more...)
	return nil
}

// refresh uses each session once if that is a while ago, a minute later by the app's
// clock, so that all are renewed now and none while it is measured: a browser causes that
// once a minute, however many requests it sends.
func (c *crowd) refresh(path string) error {
	if time.Since(c.renewed) < fresh {
		return nil
	}
	c.renewed = time.Now()
	c.clock.advance(renewInterval)
	return inTurn(c.app, path, c.lines, len(c.lines))
}

// signInMany signs n people in, some at once, and returns their Cookie headers.
func signInMany(app http.Handler, issuer string, atOnce, n int) ([]string, error) {
	lines := make([]string, n)
	err := parallel(atOnce, n, func(worker, count int) error {
		first := n * worker / atOnce
		for i := first; i < first+count; i++ {
			var err error
			if lines[i], err = signIn(app, issuer); err != nil {
				return err
			}
		}
		return nil
	})
	return lines, err
}
