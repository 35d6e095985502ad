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
	Size   = 10_000
)

// A Group does work once for each key. Calls that come while it is under way
// wait for it; calls that come within [Memory] after it get its result again.
// The zero value is ready to use.
type Group[T any] struct {
	mu      sync.Mutex
	results map[string]*result[T] // guarded by mu
}

type result[T any] struct {
	done  chan struct{} // closed when value and err are set
	at    time.Time
	value T
	err   error
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

// add makes room for a result. The caller holds mu.
func (g *Group[T]) add(key string, now time.Time) *result[T] {
	if g.results == nil || len(g.results) >= Size {
		g.results = make(map[string]*result[T])
	}
	r := &result[T]{done: make(chan struct{}), at: now}
	g.results[key] = r
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
			time.AfterFunc(Memory, func() { g.drop(key, r) })
		} else {
			g.drop(key, r)
		}
		close(r.done)
	}()
	r.value, r.err = do()
}

// drop forgets r, unless a newer result has taken its place.
func (g *Group[T]) drop(key string, r *result[T]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.results[key] == r {
		delete(g.results, key)
	}
}
