package fetch

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"
)

// How long a document stays fresh without a Cache-Control header, and the bounds of
// what the header can set.
const (
	defaultLifetime = 10 * time.Minute
	minLifetime     = time.Minute
	maxLifetime     = 24 * time.Hour
)

// Lifetime returns how long the answer may be used before it is fetched again:
// max-age less Age (RFC 9111 section 4.2), within 1 minute and 24 hours; 1
// minute for no-store and no-cache; 10 minutes when the header says nothing.
func (r *Response) Lifetime() time.Duration {
	lifetime := defaultLifetime
	for directive := range strings.SplitSeq(strings.Join(r.Header.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return minLifetime
		case "max-age":
			lifetime = seconds(strings.Trim(value, `"`)) - seconds(r.Header.Get("Age"))
		}
	}
	return min(max(lifetime, minLifetime), maxLifetime)
}

// seconds reads a delta-seconds value; anything else counts as 0.
func seconds(s string) time.Duration {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}

// Document keeps one document of a provider. It is fetched on first use, and again
// by a later request when it is no longer fresh. There is one fetch at a time for
// all callers, and it does not end with the request that started it. A failed fetch
// is retried after a pause that grows from 1 to 60 seconds. Meanwhile, the last good
// copy is returned, or the error if there is none. Set the exported fields before
// the first use.
type Document[T any] struct {
	// Load fetches the document and says how long it stays fresh.
	Load func(context.Context) (*T, time.Duration, error)
	// Now is the clock.
	Now func() time.Time
	// Patience is how long past its lifetime the document is returned without
	// waiting for the fetch that replaces it. If zero, without limit: callers wait
	// for the first fetch only.
	Patience time.Duration
	// MaxStale is how long past its lifetime the document is returned while
	// fetches fail. If zero, without limit.
	MaxStale time.Duration
	// RenewEvery is the least time between two fetches that Renew asked for.
	RenewEvery time.Duration
	// Panicked, if not nil, is called with the value of a panic of Load or Now, on
	// its goroutine. The fetch has then failed with ErrPanic.
	Panicked func(value any)

	mu       sync.Mutex    // guards what follows
	value    *T            // nil until the first fetch succeeds
	stale    time.Time     // when value is no longer fresh
	flight   chan struct{} // closed when the fetch under way ends; else nil
	failures int           // in a row
	err      error         // of the last fetch, nil after a success
	retryAt  time.Time     // no fetch before this after a failure
	renewed  time.Time     // when Renew last fetched
}

// ErrPanic is the error of a fetch that panicked.
var ErrPanic = errors.New("the fetch panicked, as the log says")

// Get returns the document. It waits only when it has none that may be used,
// and no longer than ctx allows; the error is then ctx.Err().
func (d *Document[T]) Get(ctx context.Context) (*T, error) {
	now := d.Now() // before the lock, which a panic would leave locked
	d.mu.Lock()
	if d.value == nil || !now.Before(d.stale) {
		d.start(ctx, now)
	}
	return d.settle(ctx, now, d.servable)
}

// Renew fetches the document again because seen, which Get returned, lacks
// something that the caller needs. It returns the document after that: seen itself
// if it may not be fetched again yet. If the fetch fails, or the last one did and
// the pause after it is not over, Renew returns that error.
func (d *Document[T]) Renew(ctx context.Context, seen *T) (*T, error) {
	now := d.Now()
	d.mu.Lock()
	allowed := d.failures > 0 || d.renewable(now)
	if d.value == seen && allowed && d.start(ctx, now) {
		d.renewed = now
	}
	return d.settle(ctx, now, func(time.Time) bool {
		return d.value != seen || d.flight == nil && d.failures == 0
	})
}

// Peek returns the document if it has been fetched, else nil.
func (d *Document[T]) Peek() *T {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.value
}

func (d *Document[T]) renewable(now time.Time) bool {
	return d.renewed.IsZero() || !now.Before(d.renewed.Add(d.RenewEvery))
}

// servable reports whether value may be used now. The caller holds mu.
func (d *Document[T]) servable(now time.Time) bool {
	if d.value == nil {
		return false
	}
	if d.failures > 0 {
		return d.MaxStale == 0 || now.Before(d.stale.Add(d.MaxStale))
	}
	return d.Patience == 0 || now.Before(d.stale.Add(d.Patience))
}

// start starts a fetch unless one is under way or the pause after a failure is
// not over, and reports whether it did. The caller holds mu.
func (d *Document[T]) start(ctx context.Context, now time.Time) bool {
	if d.flight != nil || now.Before(d.retryAt) {
		return false
	}
	d.flight = make(chan struct{})
	// Other requests wait for this fetch or use its result after the request that
	// started it has ended.
	go d.fetch(context.WithoutCancel(ctx), now)
	return true
}

// load calls Load and Now, which belong to others. Their panic is an error, since
// net/http recovers for a request's goroutine only.
func (d *Document[T]) load(ctx context.Context, started time.Time) (l loaded[T]) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		l = loaded[T]{at: started, err: ErrPanic}
		if d.Panicked != nil {
			d.Panicked(p)
		}
	}()
	l.value, l.lifetime, l.err = d.Load(ctx)
	l.at = d.Now()
	return l
}

// loaded is the result of a fetch.
type loaded[T any] struct {
	value    *T
	lifetime time.Duration
	at       time.Time
	err      error
}

func (d *Document[T]) fetch(ctx context.Context, started time.Time) {
	l := d.load(ctx, started)
	value, lifetime, now, err := l.value, l.lifetime, l.at, l.err

	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err = err; err != nil {
		d.retryAt = now.Add(pause(d.failures, err))
		d.failures++
	} else {
		d.value, d.stale = value, now.Add(lifetime)
		d.failures, d.retryAt = 0, time.Time{}
	}
	close(d.flight)
	d.flight = nil
}

// settle returns the document if good allows it now, else the result of the fetch
// under way. The caller holds mu, which settle releases.
func (d *Document[T]) settle(
	ctx context.Context, now time.Time, good func(time.Time) bool,
) (*T, error) {
	defer d.mu.Unlock()
	if good(now) {
		return d.value, nil
	}
	if d.flight == nil {
		return nil, d.err
	}
	if err := d.wait(ctx, d.flight); err != nil {
		return nil, err
	}
	if d.err == nil || good(now) {
		return d.value, nil
	}
	return nil, d.err
}

// wait releases mu until flight or ctx has ended.
func (d *Document[T]) wait(ctx context.Context, flight <-chan struct{}) error {
	d.mu.Unlock()
	defer d.mu.Lock()
	select {
	case <-flight:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pause returns how long to wait after a failure that followed so many others:
// 1, 2, 4 ... 48 seconds and up to a quarter more, so that replicas do not all retry
// at once; at least what the provider asked for, up to 60 seconds.
func pause(failures int, err error) time.Duration {
	base := min(time.Second<<min(failures, 6), 48*time.Second)
	wait := base + rand.N(base/4)
	var e *Error
	if errors.As(err, &e) {
		wait = max(wait, min(e.RetryAfter, time.Minute))
	}
	return wait
}
