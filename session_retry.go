package oidcrp

// This file ends sessions that could not be ended at once, because the Store or the
// cookie keys were not there when the person or the provider asked for it.

import (
	"container/list"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// maxEndings and maxEndingBytes bound the endings that wait. Anybody can cause one
	// while the Store is down, since a handle cannot be told from an invented one.
	maxEndings     = 100_000
	maxEndingBytes = 16 << 20
	// endingBytes is about what an ending takes beside the texts that it keeps.
	endingBytes = 256
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
	queue   list.List     // of *ending, the oldest first; guarded by mu
	turn    *list.Element // the next to try, nil for the first; guarded by mu
	all     weight        // of queue; guarded by mu
	framed  weight        // of those in queue that came from a frame; guarded by mu
	lost    int           // given up for want of room, and not reported yet; guarded by mu
	running bool          // guarded by mu
}

// An ending is one that failed.
type ending struct {
	// try takes no longer than the Store's time limit for each call. found says
	// whether there was a session.
	try    func(context.Context) (found bool, err error)
	bytes  int
	framed bool // a front-channel logout, which any site's page can cause
	since  time.Time
	gone   bool // from the queue; guarded by endings.mu

	found bool  // in the last try; used by the goroutine alone, like err
	err   error // of the last try
}

// A weight is what a number of endings takes.
type weight struct{ count, bytes int }

// add returns w with an ending more; with -1, with one less.
func (w weight) add(n *ending, times int) weight {
	return weight{w.count + times, w.bytes + times*n.bytes}
}

// fits reports whether w is within one share of the bounds, of so many.
func (w weight) fits(shares int) bool {
	return w.count <= maxEndings/shares && w.bytes <= maxEndingBytes/shares
}

// add has n.try called again until it succeeds. If there is no room, the oldest is
// given up, or n itself if it came from a frame: those get half of the room, and push
// out nobody's.
func (e *endings) add(n *ending) {
	n.since = time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	if n.framed && !(e.framed.add(n, 1).fits(2) && e.all.add(n, 1).fits(1)) {
		e.lost++
	} else {
		for e.queue.Len() > 0 && !e.all.add(n, 1).fits(1) {
			e.remove(e.queue.Front())
			e.lost++
		}
		e.queue.PushBack(n)
		e.weigh(n, 1)
	}
	if !e.running {
		e.running = true
		go e.run()
	}
}

// weigh counts n; with -1, it counts it no longer. The caller holds mu.
func (e *endings) weigh(n *ending, times int) {
	e.all = e.all.add(n, times)
	if n.framed {
		e.framed = e.framed.add(n, times)
	}
}

// remove takes an ending out of the queue, unless it is gone. The caller holds mu.
func (e *endings) remove(at *list.Element) {
	n := at.Value.(*ending)
	if n.gone {
		return
	}
	n.gone = true
	if e.turn == at {
		e.turn = at.Next()
	}
	e.queue.Remove(at)
	e.weigh(n, -1)
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
	e.running = e.queue.Len() > 0 || e.lost > 0
	return e.running
}

// round tries what waits, until the Store fails again: what follows would fail too.
// The next round goes on behind what failed.
func (e *endings) round() {
	defer func() {
		if p := recover(); p != nil { // in the app's log handler
			e.log.Error("panic while sessions were ended", "panic", p)
		}
	}()
	e.reportLost()
	for range e.expire() {
		at := e.next()
		if at == nil {
			return
		}
		n := at.Value.(*ending)
		n.attempt()
		if outage(n.err) {
			return
		}
		if n.err != nil {
			continue
		}
		e.mu.Lock()
		e.remove(at)
		e.mu.Unlock()
		if n.found {
			e.log.Info("ended a session that could not be ended before", "waited", time.Since(n.since))
		} else {
			e.log.Debug("there was no session to end", "waited", time.Since(n.since))
		}
	}
}

// reportLost has one log line a round, however many there are.
func (e *endings) reportLost() {
	e.mu.Lock()
	lost := e.lost
	e.lost = 0
	e.mu.Unlock()
	if lost > 0 {
		e.log.Error("gave up ending a session: too many wait for the store", "count", lost)
	}
}

// expire gives up what has waited for too long, and returns how many still wait. It has
// one log line for each code of an error, with the error of the oldest.
func (e *endings) expire() int {
	counts, first := make(map[Code]int), make(map[Code]error)
	e.mu.Lock()
	for e.queue.Len() > 0 {
		oldest := e.queue.Front().Value.(*ending)
		if time.Since(oldest.since) < endingPatience {
			break
		}
		e.remove(e.queue.Front())
		code := codeOf(oldest.err)
		if counts[code]++; counts[code] == 1 {
			first[code] = oldest.err
		}
	}
	left := e.queue.Len()
	e.mu.Unlock()
	for code, count := range counts {
		e.log.Error("gave up ending a session: a copy of its cookie works until it expires",
			"count", count, "waited", endingPatience, "error", first[code])
	}
	return left
}

// next returns the ending whose turn it is; nil if there is none.
func (e *endings) next() *list.Element {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := e.turn
	if at == nil {
		at = e.queue.Front()
	}
	if at != nil {
		e.turn = at.Next()
	}
	return at
}

func (n *ending) attempt() {
	defer func() {
		if p := recover(); p != nil { // net/http recovers for a request's goroutine only
			n.err = failf("session", CodeInternal, "panic in the store: %v", p)
		}
	}()
	n.found, n.err = n.try(context.Background())
}

// endLater ends the session that r carries when it can be read. If sid is not empty,
// it does so only if that is the session's, and iss too unless it is empty, and ends all
// sessions of that sid.
func (m *sessions) endLater(r *http.Request, iss, sid string) {
	cookie := m.cookieToEnd(r)
	if cookie == "" {
		return
	}
	iss, sid = strings.Clone(iss), strings.Clone(sid) // of a long request
	m.endings.add(&ending{
		framed: sid != "",
		bytes:  endingBytes + len(cookie) + len(iss) + len(sid),
		try: func(ctx context.Context) (found bool, err error) {
			r := (&http.Request{Header: http.Header{"Cookie": {cookie}}}).WithContext(ctx)
			if sid != "" {
				return m.endFramed(r, iss, sid)
			}
			return m.endFound(r)
		},
	})
}

// cookieToEnd returns what must be kept of r's Cookie header to end its session later,
// "" if it cannot hold one.
func (m *sessions) cookieToEnd(r *http.Request) string {
	if !m.keeper.onServer() {
		text, err := m.cookies.readChunks(r)
		if text == "" || err != nil || len(text) > maxSessionBytes {
			return ""
		}
		return m.cookies.session + "=1" + text // one chunk, since no browser sees it
	}
	cookie, ok := parseHandle(m.cookies.read(r, m.cookies.session))
	if !ok {
		return ""
	}
	return m.cookies.session + "=" + cookie.handle + ".0"
}

// endFound ends the session that r carries, and reports whether there was one.
func (m *sessions) endFound(r *http.Request) (found bool, err error) {
	k, err := m.keeper.load(r)
	if err != nil || k.session == nil {
		return false, err
	}
	return true, m.keeper.end(r, nil)
}

// endFramed ends the session that r carries if iss and sid are its, and the others of
// that sid unless the provider ends too many.
func (m *sessions) endFramed(r *http.Request, iss, sid string) (found bool, err error) {
	k, err := m.load(r)
	if codeOf(err) == CodeNoSession {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !k.session.isOf(iss, sid) {
		return false, nil
	}
	// The others first: when this one has ended, no further try finds it.
	if m.allowMarks(r.Context(), 1) {
		if err := m.revoke(r.Context(), sessionMark(k.session.Issuer(), sid), k.session.accountMarks()[0]); err != nil {
			m.limit.giveBack(1)
			return true, err
		}
	}
	return true, m.keeper.end(r, nil)
}

// revokeLater is revoke as soon as it succeeds.
func (m *sessions) revokeLater(key, subject markKey) {
	m.endings.add(&ending{bytes: endingBytes, try: func(ctx context.Context) (found bool, err error) {
		return true, m.revoke(ctx, key, subject)
	}})
}
