// Package once makes work that must not be done twice happen once, although
// the request for it may come twice: from a double click, a reload, or two
// tabs.
package once

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// The results of a Group are kept for Memory, and no more than Size of them.
const (
	Memory = time.Minute
	Size   = 500
)

// A Group does work once for each key. Calls that come while it is under way
// wait for it; calls that come within [Memory] after it get its result again.
// The zero value is ready to use.
type Group[T any] struct {
	mu      sync.Mutex
	results map[string]*result[T] // guarded by mu
	order   []turn                // oldest first, also of results that are gone; guarded by mu
	turns   uint64                // how many results there have been; guarded by mu
}

// A turn finds a result without holding on to it.
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

// Do returns the result of do for key. do is not told when ctx ends, since
// others may wait for it too: it must have its own limit in time. ctx bounds
// only the wait; the error is then ctx.Err(). So do runs on a goroutine of its
// own, unless ctx cannot end, which spares the goroutine. A result for which
// keep reports false is given to those who wait and then forgotten.
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
			r.err = fmt.Errorf("panic: %v", p)
		}
		if keep(r.err) {
			// By the machine's clock, so that nothing stays for long after the
			// last call.
			number := r.number // and not r, which the timer would hold on to
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
