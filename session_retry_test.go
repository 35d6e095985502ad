package oidcrp

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func newTestEndings() (*endings, *testLog) {
	log := new(testLog)
	return &endings{log: slog.New(slog.NewJSONHandler(log, nil))}, log
}

// stillTrying reports whether the goroutine runs.
func (e *endings) stillTrying() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.running
}

var errStoreDown = fail("session", CodeStoreUnavailable, errors.New("down"))

// A Store that is down is asked once a second, by one ending, whatever their number.
func TestEndings_OneTryASecondFor5Minutes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e, log := newTestEndings()
		tries, start := 0, time.Now()
		for range 3 {
			e.add(func(context.Context) error {
				tries++
				return errStoreDown
			})
		}
		time.Sleep(10*endingPause + 1)
		synctest.Wait()
		if tries != 10 {
			t.Errorf("%d tries in 10 seconds", tries)
		}
		for e.stillTrying() {
			time.Sleep(endingPause)
			synctest.Wait()
		}
		if took := time.Since(start); took < endingPatience || took > endingPatience+2*endingPause {
			t.Errorf("it gave up after %v", took)
		}
		if n := strings.Count(log.String(), `"level":"ERROR","msg":"gave up ending a session`); n != 3 {
			t.Errorf("%d of 3 are in the log:\n%s", n, log)
		}
	})
}

func TestEndings_AllAreDoneWhenTheStoreIsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e, log := newTestEndings()
		var down atomic.Bool
		down.Store(true)
		done := 0
		for range 100 {
			e.add(func(context.Context) error {
				if down.Load() {
					return errStoreDown
				}
				done++
				return nil
			})
		}
		time.Sleep(time.Minute + 1)
		synctest.Wait()
		down.Store(false)
		time.Sleep(endingPause)
		synctest.Wait()
		if n := strings.Count(log.String(), `"level":"INFO"`); done != 100 || n != 100 || e.stillTrying() {
			t.Errorf("%d of 100 are done, %d in the log; still trying: %t", done, n, e.stillTrying())
		}
		// It begins again when there is something to do.
		e.add(func(context.Context) error { done++; return nil })
		time.Sleep(endingPause + 1)
		synctest.Wait()
		if done != 101 || e.stillTrying() {
			t.Errorf("%d are done; still trying: %t", done, e.stillTrying())
		}
	})
}

// One that cannot succeed holds up no other.
func TestEndings_SurviveAPanic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e, log := newTestEndings()
		done := 0
		e.add(func(context.Context) error { panic("a fault of the Store") })
		e.add(func(context.Context) error { return errors.New("another fault") })
		e.add(func(context.Context) error { done++; return nil })
		time.Sleep(endingPause + 1)
		synctest.Wait()
		if done != 1 || !e.stillTrying() {
			t.Errorf("%d are done; still trying: %t", done, e.stillTrying())
		}
		time.Sleep(endingPatience + endingPause)
		synctest.Wait()
		if e.stillTrying() || !strings.Contains(log.String(), "a fault of the Store") {
			t.Errorf("still trying: %t; the log says\n%s", e.stillTrying(), log)
		}
	})
}

// A panic of the app's log handler ends no process either.
type panickingHandler struct{ slog.Handler }

func (h panickingHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level == slog.LevelInfo {
		panic("a fault of the log")
	}
	return h.Handler.Handle(ctx, r)
}

func TestEndings_SurviveALogThatPanics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e, log := newTestEndings()
		e.log = slog.New(panickingHandler{e.log.Handler()})
		done := 0
		for range 2 {
			e.add(func(context.Context) error { done++; return nil })
		}
		time.Sleep(2*endingPause + 1)
		synctest.Wait()
		if done != 2 || e.stillTrying() || !strings.Contains(log.String(), "panic while sessions were ended") {
			t.Errorf("%d are done, still trying: %t; the log says\n%s", done, e.stillTrying(), log)
		}
	})
}

func TestEndings_AreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e, log := newTestEndings()
		var done []int
		var down atomic.Bool
		down.Store(true)
		for i := range maxEndings + 1 {
			e.add(func(context.Context) error {
				if down.Load() {
					return errStoreDown
				}
				done = append(done, i)
				return nil
			})
			if i == 0 || i == 1 {
				time.Sleep(3*endingPause + 1) // which moves the first ones about in the queue
			}
		}
		down.Store(false)
		time.Sleep(endingPause)
		synctest.Wait()
		if n := strings.Count(log.String(), "too many wait"); len(done) != maxEndings || n != 1 {
			t.Errorf("%d are done, %d are lost", len(done), n)
		}
		for _, i := range done {
			if i == 0 {
				t.Error("the oldest was kept, and a younger one lost")
			}
		}
	})
}
