// Package once does work once that is requested several times: by a double click,
// a reload, or two tabs.
package once

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"
)

// A Group keeps results for Memory, no more than Size of them, and no more than
// MaxBytes in all.
const (
	Memory   = time.Minute
	Size     = 500
	MaxBytes = 16 << 20
)

// overhead is about what a result takes beside its key, its value and its error.
const overhead = 512

// A Group does work once for each key. Calls during the work wait for it, and
// calls within [Memory] after its end get its result. Only results make room for
// new ones: failures first, then successes, the oldest first. Work under way stays,
// however much of it there is. The zero value is ready to use.
type Group[T any] struct {
	// Panicked, if not nil, is called with the value of a panic of the work, on its
	// goroutine. The result is then ErrPanic. Set it before the first use.
	Panicked func(value any)
	// SizeOf returns about how many bytes a value and its error take, so that
	// MaxBytes holds. If nil, they count as nothing. Set it before the first call
	// of Do.
	SizeOf func(T, error) int

	mu        sync.Mutex
	results   map[string]*result[T] // with the work under way; guarded by mu
	failures  list.List             // of *result[T] with an error, the oldest first; guarded by mu
	successes list.List             // of the others; guarded by mu
	bytes     int                   // of both; guarded by mu
	expiry    *time.Timer           // runs expire; guarded by mu
	expiring  bool                  // expiry is set; guarded by mu
}

type result[T any] struct {
	key   string
	done  chan struct{} // closed when value and err are set
	began time.Time     // by the clock of the callers
	value T
	err   error

	// What follows is set when the work has ended; guarded by the Group's mu.
	ended time.Time // by the clock of the callers; zero while the work is under way
	due   time.Time // by this machine's clock: dropped then, even if no further call comes
	bytes int
	list  *list.List    // nil if the result is not kept
	place *list.Element // in list
}

// ErrPanic is the result of work that panicked.
var ErrPanic = errors.New("panicked, as the log says")

// Do returns the result of do for key. ctx limits only the wait; if it ends, the
// error is ctx.Err(). do continues, because other callers may wait for it, so it
// must have its own time limit. It runs in a separate goroutine, unless ctx cannot
// end. If keep returns false for its error, the result is returned to the waiting
// callers and then dropped.
func (g *Group[T]) Do(
	ctx context.Context, key string, now time.Time, keep func(error) bool, do func() (T, error),
) (T, error) {
	g.mu.Lock()
	r := g.known(key, now)
	if r == nil {
		r = g.add(key, now)
		if ctx.Done() == nil {
			g.mu.Unlock()
			g.run(r, keep, do)
			return r.value, r.err
		}
		go g.run(r, keep, do)
	}
	g.mu.Unlock()
	select {
	case <-r.done:
		return r.value, r.err
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}

// Held returns how many results are kept, and about how many bytes they take. Work
// under way does not count.
func (g *Group[T]) Held() (results, bytes int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failures.Len() + g.successes.Len(), g.bytes
}

// known returns the work under way for key, or its result; nil if there is none or
// it is too old. The caller holds mu.
func (g *Group[T]) known(key string, now time.Time) *result[T] {
	r := g.results[key]
	if r == nil || r.ended.IsZero() || now.Sub(r.ended) <= Memory {
		return r
	}
	g.drop(r)
	return nil
}

// add records that the work for key begins. The caller holds mu.
func (g *Group[T]) add(key string, now time.Time) *result[T] {
	if g.results == nil {
		g.results = make(map[string]*result[T])
	}
	r := &result[T]{key: key, done: make(chan struct{}), began: now}
	g.results[key] = r
	return r
}

func (g *Group[T]) run(r *result[T], keep func(error) bool, do func() (T, error)) {
	begin := time.Now()
	defer func() {
		// net/http recovers for a request's own goroutine only.
		if p := recover(); p != nil {
			r.err = ErrPanic
			if g.Panicked != nil {
				g.Panicked(p)
			}
		}
		g.finish(r, r.began.Add(time.Since(begin)), keep(r.err))
		close(r.done)
	}()
	r.value, r.err = do()
}

// finish keeps the result of work that ended at now, or drops it.
func (g *Group[T]) finish(r *result[T], now time.Time, keep bool) {
	bytes := overhead + len(r.key)
	if g.SizeOf != nil {
		bytes += g.SizeOf(r.value, r.err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !keep || bytes > MaxBytes {
		delete(g.results, r.key)
		return
	}
	r.ended, r.bytes, r.list = now, bytes, &g.successes
	if r.err != nil {
		r.list = &g.failures
	}
	r.place = r.list.PushBack(r)
	g.bytes += bytes
	r.due = time.Now().Add(Memory)
	g.expireIn(Memory)
	for g.failures.Len()+g.successes.Len() > Size || g.bytes > MaxBytes {
		g.drop(g.oldest())
	}
}

// expireIn has expire run after a pause, unless it is to run anyway: the results that are
// there are older than a new one. The caller holds mu.
func (g *Group[T]) expireIn(pause time.Duration) {
	switch {
	case g.expiring:
	case g.expiry == nil:
		g.expiry = time.AfterFunc(pause, g.expire)
	default:
		g.expiry.Reset(pause)
	}
	g.expiring = true
}

// expire drops the results that are due, and comes back for the next one.
func (g *Group[T]) expire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expiring = false
	next := Memory
	for _, l := range []*list.List{&g.failures, &g.successes} {
		for first := l.Front(); first != nil; first = l.Front() {
			r := first.Value.(*result[T])
			if pause := time.Until(r.due); pause > 0 {
				next = min(next, pause)
				break
			}
			g.drop(r)
		}
	}
	if g.failures.Len()+g.successes.Len() > 0 {
		g.expireIn(next)
	}
}

// oldest returns the result that makes room next. The caller holds mu.
func (g *Group[T]) oldest() *result[T] {
	first := g.failures.Front()
	if first == nil {
		first = g.successes.Front()
	}
	return first.Value.(*result[T])
}

// drop forgets a result that was kept. The caller holds mu.
func (g *Group[T]) drop(r *result[T]) {
	if r.list == nil { // it was dropped before
		return
	}
	r.list.Remove(r.place)
	r.list = nil
	g.bytes -= r.bytes
	delete(g.results, r.key)
}
