// Package once does work once that is requested several times: by a double click,
// a reload, or two tabs.
package once

import (
	"context"
	"errors"
	"sync"
	"time"
)

// The results of a Group are kept for Memory, and no more than Size of them.
const (
	Memory = time.Minute
	Size   = 500
)

// A Group does work once for each key. Calls during the work wait for it, and
// calls within [Memory] after its start get its result. The zero value is ready to
// use.
type Group[T any] struct {
	// Panicked, if not nil, is called with the value of a panic of the work, on its
	// goroutine. The result is then ErrPanic. Set it before the first use.
	Panicked func(value any)

	mu      sync.Mutex
	results map[string]*result[T] // guarded by mu
	order   []turn                // oldest first, including dropped results; guarded by mu
	turns   uint64                // how many results there have been; guarded by mu
}

// A turn identifies a result without a reference to it.
type turn struct {
	key    string
	number uint64
}

type result[T any] struct {
	done   chan struct{} // closed when value and err are set
	at     time.Time
	number uint64
	value  T
	err    error
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
	r, known := g.results[key]
	if !known || now.Sub(r.at) > Memory {
		r = g.add(key, now)
		if ctx.Done() == nil {
			g.mu.Unlock()
			g.run(key, r, keep, do)
			return r.value, r.err
		}
		go g.run(key, r, keep, do)
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

// add makes room for a result, the oldest one's if need be. The caller holds mu.
func (g *Group[T]) add(key string, now time.Time) *result[T] {
	if g.results == nil {
		g.results = make(map[string]*result[T])
	}
	g.turns++
	r := &result[T]{done: make(chan struct{}), at: now, number: g.turns}
	g.results[key] = r
	g.order = append(g.order, turn{key, r.number})
	if len(g.order) > Size {
		oldest := g.order[0]
		g.order = g.order[1:]
		if old := g.results[oldest.key]; old != nil && old.number == oldest.number {
			delete(g.results, oldest.key)
		}
	}
	return r
}

func (g *Group[T]) run(key string, r *result[T], keep func(error) bool, do func() (T, error)) {
	defer func() {
		// net/http recovers for a request's own goroutine only.
		if p := recover(); p != nil {
			r.err = ErrPanic
			if g.Panicked != nil {
				g.Panicked(p)
			}
		}
		if keep(r.err) {
			// A timer drops the result even if no further call comes.
			number := r.number // not r, to which the timer would keep a reference
			time.AfterFunc(Memory, func() { g.drop(key, number) })
		} else {
			g.drop(key, r.number)
		}
		close(r.done)
	}()
	r.value, r.err = do()
}

// drop forgets a result, unless a newer one has taken its place.
func (g *Group[T]) drop(key string, number uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r := g.results[key]; r != nil && r.number == number {
		delete(g.results, key)
	}
}
