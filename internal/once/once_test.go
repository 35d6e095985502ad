package once

import (
	"context"
	"errors"
	"fmt"
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
