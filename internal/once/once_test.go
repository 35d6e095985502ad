package once

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func always(error) bool { return true }

func TestWorkIsDoneOnceForEachKey(t *testing.T) {
	t.Parallel()
	var g Group[int]
	var calls atomic.Int32
	var wg sync.WaitGroup
	release := make(chan struct{})
	for range 20 {
		wg.Go(func() {
			v, err := g.Do(t.Context(), "key", time.Unix(0, 0), always, func() (int, error) {
				<-release
				return int(calls.Add(1)), nil
			})
			if v != 1 || err != nil {
				t.Errorf("Do = %d, %v; want 1", v, err)
			}
		})
	}
	close(release)
	wg.Wait()
	if v, _ := g.Do(t.Context(), "other", time.Unix(0, 0), always, func() (int, error) { return 7, nil }); v != 7 {
		t.Errorf("another key got %d, want its own result", v)
	}
}

func TestAResultIsRememberedForAMinute(t *testing.T) {
	t.Parallel()
	var g Group[int]
	calls := 0
	do := func() (int, error) { calls++; return calls, nil }
	start := time.Unix(1000, 0)
	for _, tt := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {59 * time.Second, 1}, {61 * time.Second, 2}} {
		if v, _ := g.Do(t.Context(), "k", start.Add(tt.after), always, do); v != tt.want {
			t.Errorf("after %v: result %d, want %d", tt.after, v, tt.want)
		}
	}
}

func TestAResultThatIsNotKeptIsForgotten(t *testing.T) {
	t.Parallel()
	var g Group[int]
	calls := 0
	do := func() (int, error) { calls++; return calls, errors.New("try again") }
	for want := 1; want <= 2; want++ {
		if v, err := g.Do(t.Context(), "k", time.Unix(0, 0), func(err error) bool { return err == nil }, do); v != want || err == nil {
			t.Errorf("call %d: %d, %v", want, v, err)
		}
	}
}

func TestAWaiterThatGivesUpDoesNotStopTheWork(t *testing.T) {
	t.Parallel()
	var g Group[string]
	release := make(chan struct{})
	do := func() (string, error) { <-release; return "done", nil }
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Do(gone, "k", time.Unix(0, 0), always, do); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want context.Canceled", err)
	}
	close(release)
	if v, err := g.Do(t.Context(), "k", time.Unix(0, 0), always, do); v != "done" || err != nil {
		t.Errorf("the next caller got %q, %v", v, err)
	}
}

func TestAPanicBecomesAnError(t *testing.T) {
	t.Parallel()
	var g Group[int]
	if _, err := g.Do(t.Context(), "k", time.Unix(0, 0), always, func() (int, error) { panic("boom") }); err == nil {
		t.Error("no error")
	}
}

func TestAPanicIsReportedAndEverybodyWhoWaitsGetsAnError(t *testing.T) {
	t.Parallel()
	var reported []any
	g := Group[int]{Panicked: func(value any) { reported = append(reported, value) }}
	release, waiting := make(chan struct{}), make(chan error)
	for range 5 {
		go func() {
			_, err := g.Do(t.Context(), "k", time.Unix(0, 0), func(error) bool { return false }, func() (int, error) {
				<-release
				panic("boom")
			})
			waiting <- err
		}()
	}
	close(release)
	for range 5 {
		if err := <-waiting; !errors.Is(err, ErrPanic) || strings.Contains(err.Error(), "boom") {
			t.Errorf("the error is %v, want ErrPanic without the value", err)
		}
	}
	if len(reported) == 0 || reported[0] != "boom" {
		t.Errorf("reported are %v, want boom", reported)
	}
	v, err := g.Do(t.Context(), "k", time.Unix(0, 0), always, func() (int, error) { return 7, nil })
	if v != 7 || err != nil {
		t.Errorf("the next call got %d, %v", v, err)
	}
}

func TestACallerThatCannotGiveUpDoesTheWorkItself(t *testing.T) {
	t.Parallel()
	var g Group[string]
	v, err := g.Do(context.WithoutCancel(t.Context()), "k", time.Unix(0, 0), always, func() (string, error) {
		return "done", nil
	})
	if v != "done" || err != nil {
		t.Errorf("Do = %q, %v", v, err)
	}
	if _, err := g.Do(context.WithoutCancel(t.Context()), "p", time.Unix(0, 0), always, func() (string, error) { panic("boom") }); err == nil {
		t.Error("a panic gave no error")
	}
	if v, err := g.Do(t.Context(), "k", time.Unix(0, 0), always, nil); v != "done" || err != nil {
		t.Errorf("the next caller got %q, %v", v, err)
	}
}

func TestResultsDoNotStayForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[int]
		g.Do(t.Context(), "k", time.Now(), always, func() (int, error) { return 1, nil })
		time.Sleep(Memory + time.Second)
		synctest.Wait()
		g.mu.Lock()
		defer g.mu.Unlock()
		if len(g.results) != 0 {
			t.Error("the result is still there")
		}
	})
}

func TestEachResultStaysForItsOwnMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[int]
		held := func(want int) {
			t.Helper()
			synctest.Wait()
			n, _ := g.Held()
			g.mu.Lock()
			defer g.mu.Unlock()
			if n != want || len(g.results) != want {
				t.Errorf("%d results are kept, want %d", n, want)
			}
		}
		for round := range 2 { // the second begins when there is none
			for i := range 4 {
				err := error(nil)
				if i%2 == 1 {
					err = errors.New("failed")
				}
				g.Do(t.Context(), fmt.Sprint(round, i), time.Now(), always, func() (int, error) { return i, err })
				time.Sleep(Memory / 8)
			}
			time.Sleep(Memory/2 - time.Second)
			for left := 4; left > 0; left-- { // a second before the next one goes
				held(left)
				time.Sleep(2 * time.Second)
				held(left - 1)
				time.Sleep(Memory/8 - 2*time.Second)
			}
		}
	})
}

func TestTheMemoryIsBoundedAndTheOldestGoesFirst(t *testing.T) {
	t.Parallel()
	var g Group[int]
	do := func(i, result int) int {
		v, err := g.Do(t.Context(), fmt.Sprint(i), time.Unix(0, 0), always, func() (int, error) { return result, nil })
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for i := range Size + 100 {
		do(i, i)
	}
	if n := len(g.results); n != Size {
		t.Errorf("%d results are kept, want %d", n, Size)
	}
	if v := do(100, -1); v != 100 {
		t.Errorf("the oldest that may stay gives %d, want 100", v)
	}
	if v := do(99, -1); v != -1 {
		t.Errorf("the newest that must go gives %d", v)
	}
}

func TestWorkUnderWayIsNeverPushedOut(t *testing.T) {
	t.Parallel()
	var g Group[string]
	var calls atomic.Int32
	release := make(chan struct{})
	var wg sync.WaitGroup
	do := func(ctx context.Context, now time.Time) (string, error) {
		return g.Do(ctx, "victim", now, always, func() (string, error) {
			calls.Add(1)
			<-release
			return "done", nil
		})
	}
	wg.Go(func() {
		if v, err := do(t.Context(), time.Unix(0, 0)); v != "done" || err != nil {
			t.Errorf("the victim got %q, %v", v, err)
		}
	})
	gone, leave := context.WithCancel(t.Context())
	leave()
	joins := func(now time.Time) {
		t.Helper()
		if _, err := do(gone, now); !errors.Is(err, context.Canceled) {
			t.Errorf("who does not wait got %v", err)
		}
	}
	for calls.Load() == 0 {
		runtime.Gosched()
	}
	for i := range Size + 1 {
		g.Do(t.Context(), fmt.Sprint(i), time.Unix(0, 0), always, func() (string, error) { return "", errors.New("invented") })
	}
	// Nor by its age: the work has its own time limit.
	joins(time.Unix(0, 0).Add(2 * Memory))
	for i := range Size + 1 {
		g.Do(t.Context(), fmt.Sprint("more ", i), time.Unix(0, 0), always, func() (string, error) { return "", nil })
	}
	joins(time.Unix(0, 0))
	close(release)
	wg.Wait()
	if n := calls.Load(); n != 1 {
		t.Errorf("the victim's work was done %d times", n)
	}
}

func TestFailuresMakeRoomBeforeSuccesses(t *testing.T) {
	t.Parallel()
	var g Group[int]
	ask := func(key string, value int, err error) int {
		v, _ := g.Do(t.Context(), key, time.Unix(0, 0), always, func() (int, error) { return value, err })
		return v
	}
	ask("victim", 1, nil)
	for i := range 3 * Size {
		ask(fmt.Sprint(i), i, errors.New("invented"))
	}
	if v := ask("victim", 2, nil); v != 1 {
		t.Error("failures pushed a success out")
	}
	if v := ask(fmt.Sprint(3*Size-1), -1, nil); v != 3*Size-1 {
		t.Error("the newest failure is not kept")
	}
	if n, _ := g.Held(); n != Size {
		t.Errorf("%d results are kept, want %d", n, Size)
	}
}

func TestTheMemoryIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	g := Group[[]byte]{SizeOf: func(v []byte, _ error) int { return len(v) }}
	ask := func(key string, size int) int {
		v, _ := g.Do(t.Context(), key, time.Unix(0, 0), always, func() ([]byte, error) { return make([]byte, size), nil })
		return len(v)
	}
	const mebibyte = 1 << 20
	ask("small", 1)
	for i := range 100 {
		ask(fmt.Sprint(i), mebibyte)
		if _, bytes := g.Held(); bytes > MaxBytes {
			t.Fatalf("%d bytes are kept after %d results, want %d at most", bytes, i+1, MaxBytes)
		}
	}
	if n, _ := g.Held(); n < 10 {
		t.Errorf("%d results of 1 MiB are kept, want about 15", n)
	}
	if v := ask("99", 7); v != mebibyte {
		t.Error("the newest result is not kept")
	}
	// A result that does not fit at all makes no other go.
	before, _ := g.Held()
	ask("huge", MaxBytes+1)
	if after, _ := g.Held(); after != before {
		t.Errorf("%d results are kept, %d before a huge one", after, before)
	}
	if v := ask("huge", 7); v != 7 {
		t.Error("the huge result was kept")
	}
}

func TestAResultThatExpiredCountsNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := Group[int]{SizeOf: func(int, error) int { return 1000 }}
		ask := func(now time.Time) {
			g.Do(t.Context(), "k", now, always, func() (int, error) { return 1, nil })
		}
		ask(time.Now())
		_, one := g.Held()
		ask(time.Now().Add(2 * Memory)) // a clock that is ahead
		if n, bytes := g.Held(); n != 1 || bytes != one || one < 1000 {
			t.Errorf("%d results of %d bytes are kept, want one of %d", n, bytes, one)
		}
		time.Sleep(Memory + time.Second)
		synctest.Wait()
		if n, bytes := g.Held(); n != 0 || bytes != 0 || len(g.results) != 0 {
			t.Errorf("%d results and %d bytes are kept, want none", n, bytes)
		}
	})
}
