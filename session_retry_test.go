package oidcrp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
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

// addTry adds an ending that finds a session.
func (e *endings) addTry(try func() error) {
	e.add(&ending{bytes: endingBytes, try: func(context.Context) (bool, error) { return true, try() }})
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
			e.addTry(func() error {
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
		if n := strings.Count(log.String(), `"level":"ERROR"`); n != 1 || !strings.Contains(log.String(), `"msg":"gave up ending a session: a copy of its cookie works until it expires","count":3,`) {
			t.Errorf("the log does not have one line about 3:\n%s", log)
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
			e.addTry(func() error {
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
		e.addTry(func() error { done++; return nil })
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
		e.addTry(func() error { panic("a fault of the Store") })
		e.addTry(func() error { return errors.New("another fault") })
		e.addTry(func() error { done++; return nil })
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
			e.addTry(func() error { done++; return nil })
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
	for what, test := range map[string]struct{ bytes, fit int }{
		"in number": {endingBytes / 2, maxEndings},
		"in bytes":  {maxEndingBytes / 10, 10},
	} {
		synctest.Test(t, func(t *testing.T) {
			e, log := newTestEndings()
			var done []int
			var down atomic.Bool
			down.Store(true)
			for i := range test.fit + 5 {
				e.add(&ending{bytes: test.bytes, try: func(context.Context) (bool, error) {
					if down.Load() {
						return false, errStoreDown
					}
					done = append(done, i)
					return true, nil
				}})
				if i == 0 || i == 1 {
					time.Sleep(3*endingPause + 1) // in which the first ones are tried
				}
			}
			down.Store(false)
			time.Sleep(endingPause)
			synctest.Wait()
			if len(done) != test.fit || !strings.Contains(log.String(), `"msg":"gave up ending a session: too many wait for the store","count":5}`) {
				t.Errorf("%s: %d are done; the log says\n%.2000s", what, len(done), log)
			}
			for _, i := range done {
				if i < 5 {
					t.Errorf("%s: number %d was kept, and a younger one lost", what, i)
				}
			}
			if e.all != (weight{}) || e.framed != (weight{}) {
				t.Errorf("%s: what is left weighs %+v and %+v", what, e.all, e.framed)
			}
		})
	}
}

// Any site can put thousands of front-channel logouts on its page.
func TestEndings_FramesGetHalfOfTheRoomAndPushOutNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e, log := newTestEndings()
		var done []string
		var down atomic.Bool
		down.Store(true)
		add := func(n int, name string, framed bool) {
			for i := range n {
				e.add(&ending{bytes: maxEndingBytes / 8, framed: framed, try: func(context.Context) (bool, error) {
					if down.Load() {
						return false, errStoreDown
					}
					done = append(done, name+strconv.Itoa(i))
					return true, nil
				}})
			}
		}
		add(2, "person", false)
		add(10, "frame", true)
		add(2, "later", false)
		add(10, "late frame", true)
		down.Store(false)
		time.Sleep(endingPause)
		synctest.Wait()
		if got, want := strings.Join(done, " "), "person0 person1 frame0 frame1 frame2 frame3 later0 later1"; got != want {
			t.Errorf("what was done is %s, want %s", got, want)
		}
		down.Store(true)
		done = nil
		add(8, "person", false)
		add(10, "frame", true)
		add(1, "another", false)
		down.Store(false)
		time.Sleep(endingPause)
		synctest.Wait()
		if got, want := strings.Join(done, " "), "person1 person2 person3 person4 person5 person6 person7 another0"; got != want {
			t.Errorf("when it was full, what was done is %s, want %s", got, want)
		}
		if !strings.Contains(log.String(), `"count":16}`) || !strings.Contains(log.String(), `"count":11}`) {
			t.Errorf("the log says\n%s", log)
		}
	})
}

// The Store is down, a person logs out, and a stranger sends invented handles.
func TestEndLater_StrangersPushOutNoLogout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, store := newFailingLogout(t, false, "")
		mine := c.start(t)
		store.Fail(errors.New("down"))
		wantCode(t, c.EndSession(httptest.NewRecorder(), requestWith(mine...)), CodeStoreUnavailable)
		app := c.Middleware(http.NotFoundHandler())
		for i := range 2000 {
			r := httptest.NewRequest(http.MethodPost, "https://app.example"+c.paths.logout, nil)
			if i%2 == 0 {
				r = httptest.NewRequest(http.MethodGet, "https://app.example"+c.paths.frontChannel+"?sid=x&iss=https://op.example", nil)
			}
			r.AddCookie(&http.Cookie{Name: c.cookies.session, Value: fmt.Sprintf("%043d.0", i*10)})
			r.AddCookie(&http.Cookie{Name: c.cookies.chunkName(1), Value: strings.Repeat("x", 3000)})
			r.AddCookie(&http.Cookie{Name: "other", Value: strings.Repeat("x", 3000)})
			app.ServeHTTP(httptest.NewRecorder(), r)
		}
		c.sessions.endings.mu.Lock()
		kept := c.sessions.endings.all
		c.sessions.endings.mu.Unlock()
		if kept.count != 2001 || kept.bytes > 2001*(endingBytes+120) {
			t.Errorf("it keeps %+v", kept)
		}
		store.Fail(nil)
		time.Sleep(endingPause)
		synctest.Wait()
		c.wantNoSession(t, "a copy of the cookie after the logout", requestWith(mine...))
		if n := strings.Count(c.log.String(), "ended a session"); n != 1 || c.sessions.endings.stillTrying() {
			t.Errorf("%d sessions have ended by the log, want 1; still trying: %t", n, c.sessions.endings.stillTrying())
		}
	})
}

// A session in several cookies ends like any other.
func TestEndLater_KeepsEveryChunkOfASession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := NewHookStore(newMemoryStore(0, time.Now))
		c := newOfflineClient(t, func(cfg *Config) {
			cfg.Now, cfg.Store, cfg.Sessions.InCookies, cfg.Sessions.MaxCookieBytes = time.Now, store, true, maxSessionBytes
			cfg.Sessions.RevocationDelay = -1
		})
		claims := `{"iss":"https://op.example","sub":"alice","long":"`
		for range 150 {
			claims += randomText()
		}
		claims += `"}`
		cookies := c.startSession(t, madeSession(c.Client, claims, ""))
		if len(cookies) < 2 {
			t.Fatalf("it has %d cookies", len(cookies))
		}
		store.Fail(errors.New("down"))
		wantCode(t, c.EndSession(httptest.NewRecorder(), requestWith(cookies...)), CodeStoreUnavailable)
		store.Fail(nil)
		time.Sleep(endingPause)
		synctest.Wait()
		c.wantNoSession(t, "after the logout", requestWith(cookies...))
	})
}

// Whichever mark fails, the next try finds what is left.
func TestEndLater_AFrameEndsEverySessionOfTheSidAfterAFailure(t *testing.T) {
	t.Parallel()
	for what, inCookies := range logoutFails {
		for failing := range 4 {
			synctest.Test(t, func(t *testing.T) {
				c, store := newFailingLogout(t, inCookies, "")
				claims := `{"iss":"https://op.example","sub":"alice","sid":"s1"}`
				framed, twin := c.startSession(t, madeSession(c.Client, claims, "")), c.startSession(t, madeSession(c.Client, claims, ""))
				writes := 0
				store.Before(func(_ context.Context, op, _ string) error {
					if op == OpSet || op == OpDelete {
						if writes++; writes-1 == failing {
							return errors.New("connection refused")
						}
					}
					return nil
				})
				c.sessions.endLater(requestWith(framed...), "", "s1")
				time.Sleep(3*endingPause + 1)
				synctest.Wait()
				for _, cookies := range [][]*http.Cookie{framed, twin} {
					c.wantNoSession(t, fmt.Sprintf("%s, write %d fails", what, failing), requestWith(cookies...))
				}
				if used := time.Until(c.sessions.limit.empty); used > c.sessions.limit.cost(1) {
					t.Errorf("%s, write %d fails: the limit counts %v, want one mark", what, failing, used)
				}
			})
		}
	}
}

// A provider over its limit still ends the session of the frame itself.
func TestEndLater_AFrameOverTheLimitEndsItsOwnSession(t *testing.T) {
	t.Parallel()
	for what, inCookies := range logoutFails {
		synctest.Test(t, func(t *testing.T) {
			c, _ := newFailingLogout(t, inCookies, "")
			claims := `{"iss":"https://op.example","sub":"alice","sid":"s1"}`
			framed, twin := c.startSession(t, madeSession(c.Client, claims, "")), c.startSession(t, madeSession(c.Client, claims, ""))
			c.sessions.limit.empty = time.Now().Add(2 * c.sessions.limit.span)
			c.sessions.endLater(requestWith(framed...), "", "s1")
			time.Sleep(endingPause)
			synctest.Wait()
			c.wantNoSession(t, what, requestWith(framed...))
			c.wantSession(t, what+": another of the sid", requestWith(twin...))
		})
	}
}
