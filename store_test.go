package oidcrp

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

const testStoreTimeout = time.Second

// newTestStorage returns the storage of a HookStore, as a plain Store if plain is
// set, with its clock.
func newTestStorage(plain bool) (*storage, *HookStore, *testClock) {
	hooked, clock := NewHookStore(nil), newTestClock()
	store := Store(hooked)
	if plain {
		store = PlainStore(hooked)
	}
	return newStorage(store, testStoreTimeout, clock.Now), hooked, clock
}

// storageCalls are the methods of storage that call the Store.
var storageCalls = map[string]func(ctx context.Context, s *storage) error{
	"get":     func(ctx context.Context, s *storage) error { _, err := s.get(ctx, "key"); return err },
	"getMany": func(ctx context.Context, s *storage) error { _, err := s.getMany(ctx, []string{"key"}); return err },
	"set":     func(ctx context.Context, s *storage) error { return s.set(ctx, "key", nil, time.Hour) },
	"touch":   func(ctx context.Context, s *storage) error { _, err := s.touch(ctx, "key", time.Hour); return err },
	"add":     func(ctx context.Context, s *storage) error { _, err := s.add(ctx, "key", nil, time.Hour); return err },
	"delete":  func(ctx context.Context, s *storage) error { return s.delete(ctx, "key") },
}

// everyCall runs check with each method of storage over a SharedStore and over a
// plain Store.
func everyCall(t *testing.T, check func(t *testing.T, s *storage, store *HookStore, call func(context.Context, *storage) error)) {
	t.Helper()
	for name, call := range storageCalls {
		for _, plain := range []bool{false, true} {
			if plain && name == "touch" {
				continue // it makes no call
			}
			what := name + " of a SharedStore"
			if plain {
				what = name + " of a plain Store"
			}
			t.Run(what, func(t *testing.T) {
				s, store, _ := newTestStorage(plain)
				check(t, s, store, call)
			})
		}
	}
}

func TestStorage_AFailureIsAnOutage(t *testing.T) {
	t.Parallel()
	down := errors.New("connection refused")
	everyCall(t, func(t *testing.T, s *storage, store *HookStore, call func(context.Context, *storage) error) {
		store.Fail(down)
		err := call(t.Context(), s)
		wantCode(t, err, CodeStoreUnavailable)
		if !errors.Is(err, down) || errors.Is(err, ErrNotFound) {
			t.Errorf("err = %v", err)
		}
		store.Fail(nil)
		if err := call(t.Context(), s); err != nil && !errors.Is(err, ErrNotFound) {
			t.Errorf("with the store back: %v", err)
		}
	})
}

func TestStorage_CanceledCallersHaveACode(t *testing.T) {
	t.Parallel()
	everyCall(t, func(t *testing.T, s *storage, store *HookStore, call func(context.Context, *storage) error) {
		for what, hook := range map[string]StoreHook{
			"the error of ctx":    func(ctx context.Context, _, _ string) error { <-ctx.Done(); return ctx.Err() },
			"an error of its own": func(ctx context.Context, _, _ string) error { <-ctx.Done(); return errors.New("read: i/o timeout") },
		} {
			ctx, cancel := context.WithCancel(t.Context())
			store.Before(func(ctx context.Context, op, key string) error {
				cancel()
				return hook(ctx, op, key)
			})
			err := call(ctx, s)
			wantCode(t, err, CodeCanceled)
			if errors.Is(err, ErrNotFound) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

// A store in memory may answer although the caller has gone.
func TestStorage_AnAnswerToACanceledCallerCounts(t *testing.T) {
	t.Parallel()
	s, _, _ := newTestStorage(false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.set(ctx, "key", []byte("value"), time.Hour); err != nil {
		t.Errorf("set: %v", err)
	}
	if value, err := s.get(ctx, "key"); string(value) != "value" || err != nil {
		t.Errorf("get: %q, %v", value, err)
	}
	if _, err := s.get(ctx, "other"); !errors.Is(err, ErrNotFound) {
		t.Errorf("get of nothing: %v", err)
	}
}

func TestStorage_BoundsEveryCallInTime(t *testing.T) {
	t.Parallel()
	for name, call := range storageCalls {
		for _, plain := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				s, store, _ := newTestStorage(plain)
				if plain && !s.canTouch() && name == "touch" {
					return
				}
				store.Hang()
				start := time.Now() // the bubble's own clock
				err := call(t.Context(), s)
				wantCode(t, err, CodeStoreUnavailable)
				if waited := time.Since(start); waited != testStoreTimeout || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s, plain %t: %v after %v", name, plain, err, waited)
				}
				// A deadline of the caller's is not a cancellation.
				ctx, cancel := context.WithTimeout(t.Context(), testStoreTimeout/2)
				defer cancel()
				start = time.Now()
				wantCode(t, call(ctx, s), CodeStoreUnavailable)
				if waited := time.Since(start); waited != testStoreTimeout/2 {
					t.Errorf("%s, plain %t: waited %v beyond the caller's deadline", name, plain, waited)
				}
			})
		}
	}
}

// Several keys of a plain Store share the time of one call.
func TestStorage_GetManyIsBoundedAsOneCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, store, _ := newTestStorage(true)
		store.Before(func(ctx context.Context, _, _ string) error {
			select {
			case <-time.After(testStoreTimeout * 2 / 3):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		start := time.Now()
		_, err := s.getMany(t.Context(), []string{"a", "b", "c"})
		wantCode(t, err, CodeStoreUnavailable)
		if waited := time.Since(start); waited != testStoreTimeout {
			t.Errorf("waited %v", waited)
		}
	})
}

func TestStorage_PlainStoresDoTheSame(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		s, store, _ := newTestStorage(plain)
		ctx := t.Context()
		if s.readsMany() == plain || s.canTouch() == plain {
			t.Errorf("plain %t: readsMany %t, canTouch %t", plain, s.readsMany(), s.canTouch())
		}
		for i, want := range []bool{true, false} {
			if added, err := s.add(ctx, "a", []byte{byte(i)}, time.Hour); added != want || err != nil {
				t.Errorf("plain %t: add number %d: %t, %v", plain, i+1, added, err)
			}
		}
		if err := s.set(ctx, "b", []byte("2"), time.Hour); err != nil {
			t.Fatal(err)
		}
		store.Took()
		values, err := s.getMany(ctx, []string{"b", "none", "a", "b"})
		if want := [][]byte{[]byte("2"), nil, {0}, []byte("2")}; err != nil || !slices.EqualFunc(values, want, bytes.Equal) {
			t.Errorf("plain %t: getMany: %q, %v", plain, values, err)
		}
		if gets, many := store.Took(OpGet), store.Took(OpGetMany); plain && (gets != 4 || many != 0) || !plain && (gets != 0 || many != 1) {
			t.Errorf("plain %t: getMany took %d Gets and %d GetManys", plain, gets, many)
		}
		if touched, err := s.touch(ctx, "a", time.Hour); touched == plain || err != nil {
			t.Errorf("plain %t: touch: %t, %v", plain, touched, err)
		}
		if err := s.delete(ctx, "a"); err != nil {
			t.Errorf("plain %t: delete: %v", plain, err)
		}
		if added, err := s.add(ctx, "a", nil, time.Hour); !added || err != nil {
			t.Errorf("plain %t: add after delete: %t, %v", plain, added, err)
		}
	}
}

func TestStorage_EveryKeyBeginsWithItsIssuer(t *testing.T) {
	t.Parallel()
	everyCall(t, func(t *testing.T, s *storage, store *HookStore, call func(context.Context, *storage) error) {
		var keys []string
		store.Before(func(_ context.Context, _, key string) error {
			keys = append(keys, key)
			return nil
		})
		s.inSpaceOf("https://op.example")
		_ = call(t.Context(), s)
		for _, key := range keys {
			if key != "IHKQHGdxC6Q.key" {
				t.Errorf("the store is asked for %q", key)
			}
		}
		if len(keys) == 0 {
			t.Error("the store is not asked")
		}
	})
}

func TestStorage_IssuersDoNotMeet(t *testing.T) {
	t.Parallel()
	shared := NewMemoryStore(0)
	mine := newStorage(shared, testStoreTimeout, time.Now).inSpaceOf("https://op.example")
	again := newStorage(shared, testStoreTimeout, time.Now).inSpaceOf("https://op.example")
	other := newStorage(shared, testStoreTimeout, time.Now).inSpaceOf("https://op.example/")
	for _, key := range []string{"a", "b"} {
		if err := mine.set(t.Context(), key, []byte(key), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	want := [][]byte{[]byte("b"), nil, []byte("a")}
	if values, err := again.getMany(t.Context(), []string{"b", "c", "a"}); err != nil || !slices.EqualFunc(values, want, bytes.Equal) {
		t.Errorf("another Client of the issuer reads %q, %v", values, err)
	}
	if _, err := other.get(t.Context(), "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("another issuer: %v", err)
	}
}

func TestStorage_AddThatFailsHasNotAdded(t *testing.T) {
	t.Parallel()
	for op, plain := range map[string]bool{OpAdd: false, OpGet: true, OpSet: true} {
		s, store, _ := newTestStorage(plain)
		store.Fail(errors.New("down"), op)
		added, err := s.add(t.Context(), "key", nil, time.Hour)
		if added {
			t.Errorf("%s fails: added", op)
		}
		wantCode(t, err, CodeStoreUnavailable)
	}
}

// A wrongStore gets GetMany wrong.
type wrongStore struct {
	SharedStore
	values [][]byte
	err    error
}

func (s wrongStore) GetMany(context.Context, []string) ([][]byte, error) { return s.values, s.err }

func TestStorage_AWrongGetManyIsAnOutage(t *testing.T) {
	t.Parallel()
	for what, store := range map[string]wrongStore{
		"ErrNotFound":      {err: ErrNotFound},
		"no values":        {},
		"a value too few":  {values: make([][]byte, 1)},
		"a value too many": {values: make([][]byte, 3)},
	} {
		store.SharedStore = NewMemoryStore(0)
		s := newStorage(store, testStoreTimeout, time.Now)
		_, err := s.getMany(t.Context(), []string{"a", "b"})
		if errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
		wantCode(t, err, CodeStoreUnavailable)
	}
}

// hang makes the storage wait for the store until the breaker opens.
func hang(t *testing.T, s *storage, store *HookStore) {
	t.Helper()
	store.Hang()
	for range hangsBeforeOpen {
		wantCode(t, errOf(s.get(t.Context(), "key")), CodeStoreUnavailable)
	}
}

func errOf[T any](_ T, err error) error { return err }

func TestBreaker_OneCallAtATimeTriesAStoreThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hooked := NewHookStore(nil)
		s := newStorage(hooked, testStoreTimeout, time.Now) // the bubble's own clock
		hang(t, s, hooked)
		hooked.Took()
		ask := func() (time.Duration, error) {
			start := time.Now()
			_, err := s.get(t.Context(), "key")
			return time.Since(start), err
		}
		for range 5 {
			took, err := ask()
			wantCode(t, err, CodeStoreUnavailable)
			if took != 0 || !errors.Is(err, errStoreHangs) {
				t.Errorf("with the breaker open: %v after %v", err, took)
			}
		}
		if n := hooked.Took(); n != 0 {
			t.Errorf("%d calls reached the store with the breaker open", n)
		}
		time.Sleep(breakerPause)
		if took, err := ask(); took != testStoreTimeout || codeOf(err) != CodeStoreUnavailable {
			t.Errorf("after a pause: %v after %v", err, took)
		}
		hooked.Before(nil)
		if _, err := ask(); !errors.Is(err, errStoreHangs) {
			t.Errorf("within the next pause: %v", err)
		}
		time.Sleep(breakerPause)
		for range 3 {
			if took, err := ask(); !errors.Is(err, ErrNotFound) || took != 0 {
				t.Errorf("with the store back: %v after %v", err, took)
			}
		}
	})
}

func TestBreaker_ErrorsThatComeAtOnceDoNotOpenIt(t *testing.T) {
	t.Parallel()
	s, store, _ := newTestStorage(false)
	store.Fail(errors.New("connection refused"))
	for range 3 * hangsBeforeOpen {
		wantCode(t, errOf(s.get(t.Context(), "key")), CodeStoreUnavailable)
	}
	store.Fail(nil)
	if _, err := s.get(t.Context(), "key"); !errors.Is(err, ErrNotFound) {
		t.Errorf("with the store back: %v", err)
	}
}

func TestBreaker_OneTimeoutAmongAnswersDoesNotOpenIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, store, _ := newTestStorage(false)
		for range hangsBeforeOpen {
			store.Hang()
			wantCode(t, errOf(s.get(t.Context(), "key")), CodeStoreUnavailable)
			store.Before(nil)
			if _, err := s.get(t.Context(), "key"); !errors.Is(err, ErrNotFound) {
				t.Errorf("the next call: %v", err)
			}
		}
	})
}

// The end of a caller's ctx says nothing about the store: it neither opens the
// breaker nor, as a probe, closes it.
func TestBreaker_CallersThatGoAwayDoNotCount(t *testing.T) {
	t.Parallel()
	leave := func(t *testing.T) map[string]context.Context {
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		late, stop := context.WithTimeout(t.Context(), testStoreTimeout/2)
		t.Cleanup(stop)
		return map[string]context.Context{"canceled": canceled, "at its deadline": late}
	}
	synctest.Test(t, func(t *testing.T) {
		for what, ctx := range leave(t) {
			s, store, _ := newTestStorage(false)
			store.Hang()
			for range 3 * hangsBeforeOpen {
				_, _ = s.get(ctx, "key")
			}
			store.Before(nil)
			if _, err := s.get(t.Context(), "key"); !errors.Is(err, ErrNotFound) {
				t.Errorf("callers %s have opened the breaker: %v", what, err)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		for what, ctx := range leave(t) {
			s, store, clock := newTestStorage(false)
			hang(t, s, store)
			clock.Advance(breakerPause)
			_, _ = s.get(ctx, "key")
			if _, err := s.get(t.Context(), "key"); !errors.Is(err, errStoreHangs) {
				t.Errorf("a probe %s has closed the breaker: %v", what, err)
			}
		}
	})
}

// Whoever sends the request that becomes the probe must not decide what it finds
// out, or anonymous requests that are given up at once keep the Store closed.
func TestBreaker_AProbeOutlivesTheRequestThatMadeIt(t *testing.T) {
	t.Parallel()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	everyCall(t, func(t *testing.T, s *storage, store *HookStore, call func(context.Context, *storage) error) {
		s.breaker.hangs, s.breaker.retryAt = hangsBeforeOpen, s.breaker.now()
		store.Before(func(ctx context.Context, _, _ string) error { return ctx.Err() })
		_ = call(gone, s)
		if err := call(t.Context(), s); err != nil && !errors.Is(err, ErrNotFound) {
			t.Errorf("after a probe whose caller was gone: %v", err)
		}
	})
}

func TestBreaker_ACallerWhoLeavesDuringAProbeIsToldSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, store, clock := newTestStorage(false)
		hang(t, s, store)
		clock.Advance(breakerPause)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		start := time.Now() // the bubble's own clock
		wantCode(t, errOf(s.get(gone, "key")), CodeCanceled)
		if waited := time.Since(start); waited != testStoreTimeout {
			t.Errorf("the probe took %v", waited)
		}
		store.Fail(errors.New("connection refused")) // which comes at once: it does not hang
		clock.Advance(breakerPause)
		wantCode(t, errOf(s.get(gone, "key")), CodeCanceled)
		store.Fail(nil)
		if _, err := s.get(t.Context(), "key"); !errors.Is(err, ErrNotFound) {
			t.Errorf("after a probe that failed at once: %v", err)
		}
	})
}

func TestBreaker_AProbeThatPanicsLeavesTheNextOne(t *testing.T) {
	t.Parallel()
	s, store, clock := newTestStorage(false)
	s.breaker.hangs, s.breaker.retryAt = hangsBeforeOpen, clock.Now()
	store.Before(func(context.Context, string, string) error { panic("in the store") })
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is lost")
			}
		}()
		_, _ = s.get(t.Context(), "key")
	}()
	store.Before(nil)
	if _, err := s.get(t.Context(), "key"); !errors.Is(err, errStoreHangs) {
		t.Errorf("a panic has closed the breaker: %v", err)
	}
	clock.Advance(breakerPause)
	for range 2 {
		if _, err := s.get(t.Context(), "key"); !errors.Is(err, ErrNotFound) {
			t.Errorf("the next probe: %v", err)
		}
	}
}

// Calls that were under way when the breaker opened or closed say nothing about
// what the Store does since.
func TestBreaker_LateTimeoutsNeitherHoldNorOpenIt(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	b := &breaker{now: clock.Now}
	var early []breakerTurn
	for range 3 * hangsBeforeOpen {
		turn, _ := b.admit()
		early = append(early, turn)
	}
	for _, turn := range early[:hangsBeforeOpen] {
		b.settle(turn, true)
	}
	clock.Advance(breakerPause)
	b.settle(early[hangsBeforeOpen], true)
	slow, ok := b.admit()
	if !ok {
		t.Fatal("a late timeout has put off the probe")
	}
	clock.Advance(breakerPause)
	probe, ok := b.admit() // while the first one still waits
	if !ok || !probe.probe {
		t.Fatalf("admitted %t: %+v", ok, probe)
	}
	b.settle(probe, false)
	for _, turn := range append(early[hangsBeforeOpen:], slow) {
		b.settle(turn, true)
	}
	if turn, ok := b.admit(); !ok || turn.probe {
		t.Errorf("late timeouts have opened it again: admitted %t, %+v", ok, turn)
	}
}

func TestBreaker_AClockThatIsSetBackDoesNotHoldIt(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	b := &breaker{now: clock.Now, hangs: hangsBeforeOpen, retryAt: clock.Now().Add(breakerPause)}
	clock.Advance(-time.Hour)
	if turn, ok := b.admit(); !ok || !turn.probe {
		t.Errorf("admitted %t, %+v", ok, turn)
	}
}

// A call that began before the breaker opened, and returns in time, does not prove
// that the store is back.
func TestBreaker_AnEarlierCallDoesNotCloseIt(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	b := &breaker{now: clock.Now}
	early, ok := b.admit()
	if early.probe || !ok {
		t.Fatalf("a closed breaker admits %t as a probe %t", ok, early.probe)
	}
	for range hangsBeforeOpen {
		turn, _ := b.admit()
		b.settle(turn, true)
	}
	b.settle(early, false)
	if _, ok := b.admit(); ok {
		t.Error("the breaker is closed")
	}
	clock.Advance(breakerPause)
	turn, ok := b.admit()
	if !turn.probe || !ok {
		t.Fatalf("after the pause: admitted %t, a probe %t", ok, turn.probe)
	}
	if _, ok := b.admit(); ok {
		t.Error("a second probe is admitted at the same time")
	}
	b.settle(turn, false)
	for range hangsBeforeOpen {
		if turn, ok := b.admit(); turn.probe || !ok {
			t.Errorf("after a probe that returned: admitted %t, a probe %t", ok, turn.probe)
		}
	}
}

func TestHookStore_CountsAndDisturbsEachOperation(t *testing.T) {
	t.Parallel()
	store, ctx := NewHookStore(nil), t.Context()
	down := errors.New("down")
	calls := map[string]func() error{
		OpGet:     func() error { return errOf(store.Get(ctx, "key")) },
		OpSet:     func() error { return store.Set(ctx, "key", nil, time.Hour) },
		OpDelete:  func() error { return store.Delete(ctx, "key") },
		OpTouch:   func() error { return store.Touch(ctx, "key", time.Hour) },
		OpAdd:     func() error { return errOf(store.Add(ctx, "key", nil, time.Hour)) },
		OpGetMany: func() error { return errOf(store.GetMany(ctx, []string{"other", "key"})) },
	}
	for op, call := range calls {
		var keys []string
		store.Before(func(_ context.Context, called, key string) error {
			if called != op {
				t.Errorf("%s is called %s", op, called)
			}
			keys = append(keys, key)
			return down
		})
		if err := call(); !errors.Is(err, down) {
			t.Errorf("%s: %v", op, err)
		}
		if len(keys) != 1 { // the first error ends GetMany
			t.Errorf("%s: the hook saw %q", op, keys)
		}
		store.Fail(down, slices.Collect(maps.Keys(others(calls, op)))...)
		if err := call(); err != nil && !errors.Is(err, ErrNotFound) {
			t.Errorf("%s, with the others failing: %v", op, err)
		}
		if n := store.Took(op); n != 2 {
			t.Errorf("%s: %d calls are counted, want 2", op, n)
		}
		if n := store.Took(); n != 0 {
			t.Errorf("%s: %d calls are left", op, n)
		}
	}
}

// others returns m without key.
func others[V any](m map[string]V, key string) map[string]V {
	m = maps.Clone(m)
	delete(m, key)
	return m
}
