package oidcrp

// This file bounds the marks that a provider can cause: each stays in the Store, or in
// memory, for as long as a session can last.

import (
	"context"
	"sync"
	"time"
)

const (
	// maxProviderMarks is how many marks the provider can cause at once, and in each
	// Sessions.Lifetime from then on.
	maxProviderMarks = 250_000
	// floodPause is the time between two log lines about a provider that wants more.
	floodPause = time.Minute
)

// A markLimit is a leaky bucket of marks. It empties evenly, within span when it was
// full.
type markLimit struct {
	max  int
	span time.Duration
	now  func() time.Time

	mu       sync.Mutex
	empty    time.Time // when it will be empty; guarded by mu
	reported time.Time // when a refusal was last reported; guarded by mu
}

// take puts n marks into the bucket and returns true, or false if there is no room.
func (l *markLimit) take(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	level := min(max(0, l.empty.Sub(now)), l.span) // more if the clock was set back
	fits := level+l.cost(n) <= l.span
	if fits {
		level += l.cost(n)
	}
	l.empty = now.Add(level)
	return fits
}

// giveBack undoes a take.
func (l *markLimit) giveBack(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.empty = l.empty.Add(-l.cost(n))
}

// cost is how long n marks take to leave the bucket.
func (l *markLimit) cost(n int) time.Duration {
	return time.Duration(n) * (l.span / time.Duration(l.max))
}

// reportDue reports whether a refusal is to be reported.
func (l *markLimit) reportDue() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if since := now.Sub(l.reported); since >= 0 && since < floodPause {
		return false
	}
	l.reported = now
	return true
}

// allowMarks reports whether the provider may cause n more marks. Logouts by the app do
// not count.
func (m *sessions) allowMarks(ctx context.Context, n int) bool {
	if m.limit.take(n) {
		return true
	}
	if m.limit.reportDue() {
		m.events.log.ErrorContext(ctx, "the provider ends more sessions than are accepted; its logouts are refused for now",
			"issuer", m.events.issuer, "cap", m.limit.max, "per", m.limit.span)
	}
	return false
}
