package fetch

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// source is where a test's documents come from: numbers that count up.
type source struct {
	loads    atomic.Int32
	lifetime time.Duration
	delay    time.Duration
	err      atomic.Pointer[error]
}

func (s *source) fail(err error) {
	if err == nil {
		s.err.Store(nil)
		return
	}
	s.err.Store(&err)
}

func (s *source) load(ctx context.Context) (*int, time.Duration, error) {
	n := int(s.loads.Add(1))
	select {
	case <-time.After(s.delay):
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	if err := s.err.Load(); err != nil {
		return nil, 0, *err
	}
	return &n, s.lifetime, nil
}

// newDocument returns a document of s; the clock is that of the synctest bubble.
func newDocument(s *source) *Document[int] {
	if s.lifetime == 0 {
		s.lifetime = 10 * time.Minute
	}
	s.delay = time.Second
	return &Document[int]{
		Load:       s.load,
		Now:        time.Now,
		Patience:   time.Minute,
		MaxStale:   24 * time.Hour,
		RenewEvery: time.Minute,
	}
}

// get fails the test unless the document is want; 0 wants an error.
func get(t *testing.T, d *Document[int], want int) {
	t.Helper()
	got, err := d.Get(t.Context())
	switch {
	case want == 0 && err == nil:
		t.Fatalf("document is %d, want an error", *got)
	case want != 0 && err != nil:
		t.Fatalf("error %v, want document %d", err, want)
	case want != 0 && *got != want:
		t.Fatalf("document is %d, want %d", *got, want)
	}
}

// took returns how long do takes on the bubble's clock.
func took(do func()) time.Duration {
	start := time.Now()
	do()
	return time.Since(start)
}

func TestOneFetchForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := new(source)
		d := newDocument(s)
		if d.Peek() != nil {
			t.Error("there is a document before the first fetch")
		}
		var wg sync.WaitGroup
		for range 500 {
			wg.Go(func() { get(t, d, 1) })
		}
		wg.Wait()
		get(t, d, 1)
		if n := s.loads.Load(); n != 1 || d.Peek() == nil {
			t.Errorf("%d fetches, want 1", n)
		}
	})
}

func TestWhoGivesUpTakesNobodyAlong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDocument(new(source))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			elapsed := took(func() {
				if _, err := d.Get(ctx); !errors.Is(err, context.Canceled) {
					t.Errorf("error is %v", err)
				}
			})
			if elapsed != 100*time.Millisecond {
				t.Errorf("the one who gave up was kept for %v", elapsed)
			}
		})
		synctest.Wait()
		wg.Go(func() { get(t, d, 1) })
		time.Sleep(100 * time.Millisecond)
		cancel()
		wg.Wait()
	})
}

func TestAnAgedDocumentIsReplacedInTheBackground(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := new(source)
		d := newDocument(s)
		get(t, d, 1)
		time.Sleep(10*time.Minute - time.Nanosecond)
		get(t, d, 1)
		synctest.Wait()
		if n := s.loads.Load(); n != 1 {
			t.Fatalf("%d fetches of a fresh document", n)
		}
		time.Sleep(time.Nanosecond)
		if elapsed := took(func() { get(t, d, 1); get(t, d, 1) }); elapsed != 0 {
			t.Errorf("the request that found it aged waited for %v", elapsed)
		}
		time.Sleep(2 * time.Second)
		get(t, d, 2)
		if n := s.loads.Load(); n != 2 {
			t.Errorf("%d fetches, want 2", n)
		}
	})
}

func TestAnOldDocumentIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDocument(new(source))
		get(t, d, 1)
		time.Sleep(11*time.Minute + time.Second)
		get(t, d, 2)

		d = newDocument(new(source))
		d.Patience = 0
		get(t, d, 1)
		time.Sleep(1000 * time.Hour)
		get(t, d, 1)
		time.Sleep(2 * time.Second) // let the fetch end
	})
}

func TestTheLastGoodCopyOutlivesAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := new(source)
		d := newDocument(s)
		get(t, d, 1)
		s.fail(errors.New("down"))
		time.Sleep(time.Hour)
		get(t, d, 1) // waits, and makes do with what there is
		if elapsed := took(func() { get(t, d, 1) }); elapsed != 0 {
			t.Errorf("waited %v during an outage", elapsed)
		}
		time.Sleep(23*time.Hour + 9*time.Minute)
		get(t, d, 1)
		time.Sleep(2 * time.Minute)
		get(t, d, 0) // too old now

		d.MaxStale = 0
		time.Sleep(1000 * time.Hour)
		get(t, d, 1)
		time.Sleep(2 * time.Second)

		s.fail(nil)
		time.Sleep(2 * time.Minute)
		get(t, d, 1)
		time.Sleep(2 * time.Second)
		loads := int(s.loads.Load())
		get(t, d, loads)
	})
}

func TestManyRequestsDuringAnOutageAreFewFetches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := new(source)
		down := errors.New("down")
		s.fail(down)
		d := newDocument(s)
		get(t, d, 0)
		for range 10_000 {
			if _, err := d.Get(t.Context()); err != down {
				t.Fatalf("error is %v", err)
			}
		}
		if n := s.loads.Load(); n != 1 {
			t.Fatalf("%d fetches, want 1", n)
		}
		// One request per second for ten minutes.
		for range 600 {
			time.Sleep(time.Second)
			_, _ = d.Get(t.Context())
		}
		if n := s.loads.Load(); n < 10 || n > 25 {
			t.Errorf("%d fetches in ten minutes, want 10 to 25", n)
		}
		s.fail(nil)
		time.Sleep(time.Minute)
		if _, err := d.Get(t.Context()); err != nil {
			t.Errorf("a minute after the outage: %v", err)
		}
	})
}

func TestPause(t *testing.T) {
	t.Parallel()
	for failures, want := range []time.Duration{1, 2, 4, 8, 16, 32, 48, 48} {
		seen := make(map[time.Duration]bool)
		for range 100 {
			got := pause(failures, errors.New("down"))
			seen[got] = true
			if got < want*time.Second || got > want*time.Second*5/4 {
				t.Fatalf("after %d failures: %v, want %v to a quarter more", failures, got, want*time.Second)
			}
		}
		if len(seen) < 50 {
			t.Errorf("after %d failures: always the same pause", failures)
		}
	}
	if got := pause(1000, nil); got > time.Minute {
		t.Errorf("after 1000 failures: %v", got)
	}
	if got := pause(0, &Error{RetryAfter: 30 * time.Second}); got != 30*time.Second {
		t.Errorf("Retry-After 30: %v", got)
	}
	if got := pause(0, &Error{RetryAfter: time.Hour}); got != time.Minute {
		t.Errorf("Retry-After 3600: %v", got)
	}
}

func TestASuccessEndsThePauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := new(source)
		d := newDocument(s)
		s.fail(errors.New("down"))
		for range 5 {
			get(t, d, 0)
			time.Sleep(time.Minute)
		}
		s.fail(nil)
		get(t, d, 6)
		s.fail(errors.New("down"))
		time.Sleep(12 * time.Minute)
		get(t, d, 6)
		time.Sleep(1250 * time.Millisecond)
		s.fail(nil)
		get(t, d, 6)
		time.Sleep(2 * time.Second)
		get(t, d, 8)
	})
}

func TestRenew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := new(source)
		d := newDocument(s)
		first, err := d.Get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// 500 at once that miss something: one fetch, all see its result.
		var wg sync.WaitGroup
		for range 500 {
			wg.Go(func() {
				if got, err := d.Renew(t.Context(), first); err != nil || *got != 2 {
					t.Errorf("%v, %v", got, err)
				}
			})
		}
		wg.Wait()
		second, err := d.Renew(t.Context(), first) // a late caller
		if err != nil || *second != 2 {
			t.Errorf("%v, %v", second, err)
		}
		for range 1000 {
			if got, err := d.Renew(t.Context(), second); err != nil || got != second {
				t.Fatalf("%v, %v", got, err)
			}
		}
		if n := s.loads.Load(); n != 2 {
			t.Fatalf("%d fetches, want 2", n)
		}
		time.Sleep(time.Minute)
		if got, err := d.Renew(t.Context(), first); err != nil || got != second {
			t.Errorf("a very late caller: %v, %v", got, err)
		}
		synctest.Wait()
		if n := s.loads.Load(); n != 2 {
			t.Fatalf("%d fetches, want 2: a late caller has started one", n)
		}
		if got, err := d.Renew(t.Context(), second); err != nil || *got != 3 {
			t.Errorf("a minute later: %v, %v", got, err)
		}
	})
}

func TestRenewDuringAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := new(source)
		d := newDocument(s)
		first, _ := d.Get(t.Context())
		down := errors.New("down")
		s.fail(down)
		for range 1000 {
			if got, err := d.Renew(t.Context(), first); err != down {
				t.Fatalf("%v, %v", got, err)
			}
		}
		if n := s.loads.Load(); n != 2 {
			t.Errorf("%d fetches, want 2", n)
		}
		get(t, d, 1) // what is fresh stays in use

		// The end of the outage is noticed before RenewEvery is over.
		s.fail(nil)
		time.Sleep(1250 * time.Millisecond)
		if got, err := d.Renew(t.Context(), first); err != nil || *got != 3 {
			t.Errorf("%v, %v", got, err)
		}
	})
}

func TestRenewHeedsItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDocument(new(source))
		first, _ := d.Get(t.Context())
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := d.Renew(ctx, first); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v", err)
		}
		time.Sleep(2 * time.Second)
		get(t, d, 2)
	})
}

func TestLifetime(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		cacheControl, age string
		want              time.Duration
	}{
		{"", "", 10 * time.Minute},
		{"public", "", 10 * time.Minute},
		{"public, max-age=600", "", 10 * time.Minute},
		{"public, max-age=3600, must-revalidate", "", time.Hour},
		{`MAX-AGE="3600"`, "", time.Hour},
		{"max-age=3600", "600", 50 * time.Minute},
		{"max-age=3600", "4000", time.Minute},
		{"max-age=1", "", time.Minute},
		{"max-age=0", "", time.Minute},
		{"max-age=-1", "", time.Minute},
		{"max-age=soon", "", time.Minute},
		{"max-age=31536000", "", 24 * time.Hour},
		{"max-age=99999999999999999999", "", time.Minute},
		{"no-store", "", time.Minute},
		{"max-age=3600, no-store", "", time.Minute},
		{"no-cache, max-age=3600", "", time.Minute},
		{"s-maxage=60", "", 10 * time.Minute},
	} {
		res := &Response{Header: http.Header{"Cache-Control": {row.cacheControl}, "Age": {row.age}}}
		if got := res.Lifetime(); got != row.want {
			t.Errorf("Lifetime of %q, Age %q = %v, want %v", row.cacheControl, row.age, got, row.want)
		}
	}
}

// The code of an app runs during a fetch: its Transport, its hooks and its clock.
func TestDocument_APanicIsAnErrorForAllWhoWait(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"Load", "Now"} {
		synctest.Test(t, func(t *testing.T) {
			s := new(source)
			d := newDocument(s)
			var broken, clock atomic.Bool
			broken.Store(true)
			d.Now = func() time.Time {
				if clock.Load() {
					panic("boom")
				}
				return time.Now()
			}
			d.Load = func(ctx context.Context) (*int, time.Duration, error) {
				n, lifetime, err := s.load(ctx)
				if where == "Load" && broken.Load() {
					panic("boom")
				}
				return n, lifetime, err
			}
			var reported []any
			d.Panicked = func(value any) { reported = append(reported, value) }
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					if _, err := d.Get(t.Context()); !errors.Is(err, ErrPanic) {
						t.Errorf("%s: the error is %v, want ErrPanic", where, err)
					}
				})
			}
			synctest.Wait() // all of them wait for one fetch
			clock.Store(where == "Now")
			wg.Wait()
			if len(reported) != 1 || reported[0] != "boom" || s.loads.Load() != 1 {
				t.Errorf("%s: reported are %v after %d fetches, want boom after one", where, reported, s.loads.Load())
			}
			broken.Store(false)
			clock.Store(false)
			time.Sleep(2 * time.Second) // the pause after a failure
			get(t, d, 2)
		})
	}
}

// A clock that panics for a caller must not leave the document locked.
func TestDocument_APanicOfTheClockLocksNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDocument(new(source))
		d.Now = func() time.Time { panic("boom") }
		for _, call := range []func(){
			func() { d.Get(t.Context()) }, func() { d.Renew(t.Context(), nil) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Error("the caller does not see the panic")
					}
				}()
				call()
			}()
		}
		d.Now = time.Now
		get(t, d, 1)
	})
}
