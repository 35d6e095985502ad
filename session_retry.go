package oidcrp

// This file ends sessions that could not be ended at once, because the Store or the
// cookie keys were not there when the person or the provider asked for it.

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// maxEndings bounds the endings that wait.
	maxEndings = 1000
	// endingPause is the time between two rounds, and endingPatience how long an
	// ending is tried again.
	endingPause    = time.Second
	endingPatience = 5 * time.Minute
)

// endings owns the endings of sessions that failed and are tried again. One goroutine
// does so while there are any.
type endings struct {
	log *slog.Logger

	mu      sync.Mutex
	queue   []*ending // guarded by mu
	running bool      // guarded by mu
}

// An ending is one that failed.
type ending struct {
	try   func(context.Context) error // takes no longer than the Store's time limit for each call
	since time.Time
	err   error // of the last try; used by the goroutine alone
}

// add has try called again until it succeeds. When too many wait, the oldest is given
// up.
func (e *endings) add(try func(context.Context) error) {
	added := &ending{try: try, since: time.Now()}
	e.mu.Lock()
	var oldest *ending
	if len(e.queue) >= maxEndings {
		oldest = slices.MinFunc(e.queue, func(a, b *ending) int { return a.since.Compare(b.since) })
		e.queue = slices.DeleteFunc(e.queue, func(queued *ending) bool { return queued == oldest })
	}
	e.queue = append(e.queue, added)
	if !e.running {
		e.running = true
		go e.run()
	}
	e.mu.Unlock()
	if oldest != nil {
		e.log.Error("gave up ending a session: too many wait for the store",
			"waiting", maxEndings, "waited", time.Since(oldest.since))
	}
}

// run ends when the queue is empty.
func (e *endings) run() {
	for e.waiting() {
		time.Sleep(endingPause)
		e.round()
	}
}

// waiting reports whether there is anything to do; if not, the goroutine must end.
func (e *endings) waiting() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running = len(e.queue) > 0
	return e.running
}

// round tries what waits, until the Store fails again: what follows would fail too.
// What failed goes to the end of the queue.
func (e *endings) round() {
	defer func() {
		if p := recover(); p != nil { // in the app's log handler
			e.log.Error("panic while sessions were ended", "panic", p)
		}
	}()
	for range e.expire() {
		next := e.take()
		if next == nil {
			return
		}
		next.attempt()
		if next.err == nil {
			e.log.Info("ended a session that could not be ended before", "waited", time.Since(next.since))
			continue
		}
		e.mu.Lock()
		e.queue = append(e.queue, next)
		e.mu.Unlock()
		if outage(next.err) {
			return
		}
	}
}

// expire gives up what has waited for too long, and returns how many still wait.
func (e *endings) expire() int {
	var late []*ending
	e.mu.Lock()
	e.queue = slices.DeleteFunc(e.queue, func(queued *ending) bool {
		expired := time.Since(queued.since) >= endingPatience
		if expired {
			late = append(late, queued)
		}
		return expired
	})
	left := len(e.queue)
	e.mu.Unlock()
	for _, queued := range late {
		e.log.Error("gave up ending a session: a copy of its cookie works until it expires",
			"waited", endingPatience, "error", queued.err)
	}
	return left
}

// take removes the first of the queue; nil if it is empty.
func (e *endings) take() *ending {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.queue) == 0 {
		return nil
	}
	next := e.queue[0]
	e.queue = slices.Delete(e.queue, 0, 1)
	return next
}

func (n *ending) attempt() {
	defer func() {
		if p := recover(); p != nil { // net/http recovers for a request's goroutine only
			n.err = failf("session", CodeInternal, "panic in the store: %v", p)
		}
	}()
	n.err = n.try(context.Background())
}

// endLater ends the session that r carries when it can be read. If sid is not empty,
// it does so only if that is the session's, and ends all sessions of that sid.
func (m *sessions) endLater(r *http.Request, sid string) {
	alone := m.cookies.sessionOf(r)
	if len(alone.Header) == 0 {
		return
	}
	m.endings.add(func(ctx context.Context) error {
		r := alone.WithContext(ctx)
		if sid == "" {
			return m.keeper.end(r, nil)
		}
		k, err := m.load(r)
		if err != nil || k.session.SID() != sid {
			return unlessGone(err)
		}
		if err := m.keeper.end(r, nil); err != nil || m.allowMarks(ctx, 1) != nil {
			return err
		}
		return m.revoke(ctx, sessionMark(m.events.issuer, sid), k.session.marks[0])
	})
}

// unlessGone returns err, nil if it says that there is no session.
func unlessGone(err error) error {
	if codeOf(err) == CodeNoSession {
		return nil
	}
	return err
}

// revokeLater is revoke as soon as it succeeds.
func (m *sessions) revokeLater(key, subject markKey) {
	m.endings.add(func(ctx context.Context) error { return m.revoke(ctx, key, subject) })
}
