package oidcrp

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAStolenStoreHoldsNoSession(t *testing.T) {
	t.Parallel()
	store := newMemoryStore(0, time.Now)
	c := newOfflineClient(t, func(cfg *Config) { cfg.Store, cfg.Tokens.Keep = store, true })
	s := madeSession(c.Client, aliceClaims, `{"sub":"alice","email":"alice@example.org"}`)
	cookies := c.startSession(t, s)
	cookie, ok := parseHandle(cookies[0].Value)
	handle := cookie.handle
	if !ok || len(handle) != 43 || !cookie.touched.Equal(c.clock.Now()) {
		t.Fatalf("the cookie is %q", cookies[0].Value)
	}
	if strings.Contains(cookies[0].Value, "alice") || store.size() != 1 {
		t.Fatalf("%d entries, the cookie is %q", store.size(), cookies[0].Value)
	}
	for key, value := range store.all() {
		if strings.Contains(key, handle) || strings.Contains(handle, key) {
			t.Error("the key gives the handle away")
		}
		for _, clear := range []string{"alice", "https://op.example", "eidas1", "access", "refresh", handle} {
			if bytes.Contains(value, []byte(clear)) {
				t.Errorf("the value shows %q", clear)
			}
		}
		for _, purpose := range []string{key, c.cookies.session, handle} {
			if _, err := c.cookies.keys.current.Load().ring.Open(value, c.cookies.associated(purpose)); err == nil {
				t.Error("the value opens with the cookie keys")
			}
		}
		// A thief's own guess at a cookie: the key.
		c.refusals()
		if _, err := c.Session(requestWith(&http.Cookie{Name: c.cookies.session, Value: key + ".1"})); !errors.Is(err, CodeNoSession) {
			t.Errorf("the key works as a handle: %v", err)
		}
	}
}

func TestAStoredSessionIsGoodForItsHandleAndHostOnly(t *testing.T) {
	t.Parallel()
	store := newMemoryStore(0, time.Now)
	c := newOfflineClient(t, func(cfg *Config) { cfg.Store = store })
	mine := c.start(t)
	handle := handleOf(t, mine[0])
	theirs := c.startSession(t, madeSession(c.Client, `{"sub":"bruno"}`, ""))
	other := handleOf(t, theirs[0])

	// Whoever can write to the store cannot put one person's session in the
	// place of another's.
	value := store.all()[c.sessions.keeper.(*storeKeeper).key(other)]
	_ = store.Set(t.Context(), c.sessions.keeper.(*storeKeeper).key(handle), value, time.Hour)
	c.wantRefusal(t, requestWith(mine...), "unknown_key")
	value = bytes.Clone(value)
	value[len(value)-1] ^= 1
	_ = store.Set(t.Context(), c.sessions.keeper.(*storeKeeper).key(other), value, time.Hour)
	c.wantRefusal(t, requestWith(theirs...), "tampered")

	there := newOfflineClient(t, func(cfg *Config) { cfg.Store, cfg.BaseURL = store, "https://other.example" })
	third := c.start(t)
	if _, err := there.Session(requestWith(third...)); !errors.Is(err, CodeNoSession) {
		t.Errorf("another host takes the session: %v", err)
	}

	// Nor does another Client of the same app take it, under its own name.
	for what, change := range map[string]func(*Config){
		"issuer": func(cfg *Config) { cfg.Issuer = "https://other.example" },
		"client": func(cfg *Config) { cfg.ClientID = "other" },
		"prefix": func(cfg *Config) { cfg.PathPrefix = "/other/" },
	} {
		beside := newOfflineClient(t, func(cfg *Config) { cfg.Store = store; change(cfg) })
		if beside.cookies.session == c.cookies.session {
			t.Fatalf("another %s has cookies of the same name", what)
		}
		r := requestWith(&http.Cookie{Name: beside.cookies.session, Value: third[0].Value})
		if _, err := beside.Session(r); !errors.Is(err, CodeNoSession) {
			t.Errorf("a Client of another %s takes the session: %v", what, err)
		}
	}

	// A value that is of this handle, and in a form of another version.
	handle = handleOf(t, third[0])
	ring, _ := handleRing(handle)
	sealed := ring.Seal([]byte{99}, c.cookies.associated(c.sessions.keeper.(*storeKeeper).key(handle)))
	_ = store.Set(t.Context(), c.sessions.keeper.(*storeKeeper).key(handle), sealed, time.Hour)
	c.wantRefusal(t, requestWith(third...), "malformed")
}

func TestACookieThatHoldsNoHandleIsNoSession(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, func(cfg *Config) { cfg.Store = NewMemoryStore(0) })
	handle := handleOf(t, c.start(t)[0])
	sealed := newOfflineClient(t, nil).start(t)[0].Value
	for _, value := range []string{
		"x", ".", handle, handle + ".", handle + ".x", handle[:42] + ".1", handle + "A.1", handle + "=.1",
		"!" + handle[1:] + ".1", handle + ".1.1", handle + ".99999999999999999999", sealed,
	} {
		c.wantRefusal(t, requestWith(&http.Cookie{Name: c.cookies.session, Value: value}), "malformed")
	}
	// One that was never given out is like one that has expired.
	unknown := strings.Repeat("A", 43)
	if _, err := c.Session(requestWith(&http.Cookie{Name: c.cookies.session, Value: unknown + ".1"})); !errors.Is(err, CodeNoSession) {
		t.Errorf("an unknown handle: %v", err)
	}
}

func TestEveryLoginMakesANewHandleAndDeletesTheOldEntry(t *testing.T) {
	t.Parallel()
	store := newMemoryStore(0, time.Now)
	c := newOfflineClient(t, func(cfg *Config) { cfg.Store = store })
	first := c.start(t)
	second := c.start(t, first...)
	if first[0].Value == second[0].Value {
		t.Error("the handle is the old one")
	}
	if _, err := c.Session(requestWith(first...)); !errors.Is(err, CodeNoSession) {
		t.Errorf("the old handle: %v", err)
	}
	if _, err := c.Session(requestWith(second...)); err != nil || storedSessions(t, store) != 1 {
		t.Errorf("the new handle: %v; %d sessions", err, storedSessions(t, store))
	}
}

// handleOf returns the handle of a session's cookie.
func handleOf(t testing.TB, cookie *http.Cookie) string {
	t.Helper()
	c, ok := parseHandle(cookie.Value)
	if !ok {
		t.Fatalf("the cookie %q holds no handle", cookie.Value)
	}
	return c.handle
}

// storedSessions counts the sessions in store: the keys of marks are shorter.
func storedSessions(t *testing.T, store *memoryStore) (n int) {
	t.Helper()
	for i := range store.shards {
		for key := range store.shards[i].entries {
			if len(key) == 43 {
				n++
			}
		}
	}
	return n
}

func TestAStoreWithoutTouchKeepsSessionsAlive(t *testing.T) {
	t.Parallel()
	var store *HookStore
	c := newOfflineClient(t, func(cfg *Config) {
		store = NewHookStore(newMemoryStore(0, cfg.Now))
		cfg.Store, cfg.Sessions.IdleTimeout = PlainStore(store), 10*time.Minute
	})
	cookies := c.start(t)
	protected := c.RequireLogin(http.HandlerFunc(sayWho))
	for range 10 {
		c.clock.Advance(9 * time.Minute)
		w := httptest.NewRecorder()
		protected.ServeHTTP(w, requestWith(cookies...))
		if w.Code != http.StatusOK {
			t.Fatalf("status %d for someone who comes every 9 minutes", w.Code)
		}
		cookies = cookiesAfter(cookies, w)
	}
	if n := store.Took(OpSet); n != 11 {
		t.Errorf("the session was set %d times, want 11", n)
	}
	c.clock.Advance(10 * time.Minute)
	if _, err := c.Session(requestWith(cookies...)); !errors.Is(err, CodeNoSession) {
		t.Errorf("idle for 10 minutes: %v", err)
	}
}

func TestAnEntryExpiresWithItsSession(t *testing.T) {
	t.Parallel()
	var store *memoryStore
	c := newOfflineClient(t, func(cfg *Config) {
		store = newMemoryStore(0, cfg.Now)
		cfg.Store, cfg.Sessions.Lifetime, cfg.Sessions.IdleTimeout = store, time.Hour, 45*time.Minute
	})
	left := func() time.Duration {
		for i := range store.shards {
			for _, entry := range store.shards[i].byExpiry {
				return entry.expires - store.clock()
			}
		}
		return 0
	}
	cookies := c.start(t)
	if got := left(); got != 45*time.Minute {
		t.Errorf("a new entry is kept for %v", got)
	}
	c.clock.Advance(40 * time.Minute)
	c.Middleware(http.HandlerFunc(sayWho)).ServeHTTP(httptest.NewRecorder(), requestWith(cookies...))
	if got := left(); got != 20*time.Minute {
		t.Errorf("an entry in use, 20 minutes before its session ends, is kept for %v", got)
	}
}

func TestAFailingStoreNeverSignsAnybodyOut(t *testing.T) {
	t.Parallel()
	store := NewHookStore(nil)
	app := newTestApp(t, setup{config: func(cfg *Config) { cfg.Store = PlainStore(store) }})
	browser := app.signIn(t)
	store.Fail(errors.New("connection refused"))

	// Whether the callback is a reload by someone signed in, nobody can say.
	for _, path := range []string{"/me", "/admin", "/auth/callback?state=x&code=y"} {
		res, body := get(t, noRedirects(browser), app.URL+path)
		if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
			t.Errorf("%s answered %s, Retry-After %q", path, res.Status, res.Header.Get("Retry-After"))
		}
		if !strings.Contains(body, "You have not been signed out") || strings.Contains(body, "connection refused") {
			t.Errorf("%s says:\n%s", path, body)
		}
		if set := res.Header.Values("Set-Cookie"); len(set) > 0 {
			t.Errorf("%s set the cookies %q", path, set)
		}
	}
	if got := app.who(t, browser, "/"); got.Sub != "" {
		t.Errorf("the public page says %+v", got)
	}
	if res, _ := get(t, noRedirects(browser), app.URL+"/"); res.StatusCode != 200 || len(res.Cookies()) > 0 {
		t.Errorf("the public page answered %s with the cookies %v", res.Status, res.Cookies())
	}
	if !strings.Contains(app.log.String(), "connection refused") {
		t.Error("the log does not say why")
	}

	store.Before(nil)
	if got := app.who(t, browser, "/me"); got.Sub != "alice" {
		t.Errorf("once the store is back: %+v", got)
	}
}

func TestALoginThatCannotBeStoredIsNotPretended(t *testing.T) {
	t.Parallel()
	store := NewHookStore(nil)
	app := newTestApp(t, setup{config: func(cfg *Config) { cfg.Store = PlainStore(store) }})
	store.Fail(errors.New("disk full"))
	browser := app.provider.Browser()
	res, err := app.provider.Visit(browser, app.URL+"/auth/login?return_to=/tab/1", "alice")
	if err != nil {
		t.Fatal(err)
	}
	if body := readBody(t, res); res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "return_to=%2Ftab%2F1") {
		t.Errorf("the callback answered %s\n%s", res.Status, body)
	}
	store.Before(nil)
	if got := app.who(t, app.signIn(t), "/me"); got.Sub != "alice" {
		t.Errorf("the next login: %+v", got)
	}
}

// The time in the cookie spares the store a write. One that is still to come,
// from a clock that was set back, must not spare all of them.
func TestAnEntryIsTouchedWhenItsCookieIsFromTheFuture(t *testing.T) {
	t.Parallel()
	store := NewHookStore(nil)
	store.Fail(errors.New("read-only replica"), OpTouch)
	c := newOfflineClient(t, func(cfg *Config) { cfg.Store = store })
	cookies := c.start(t)
	for _, test := range []struct {
		clock   time.Duration
		touched int
	}{{0, 0}, {59 * time.Second, 0}, {time.Second, 1}, {-4 * time.Minute, 1}} {
		c.clock.Advance(test.clock)
		c.Middleware(http.HandlerFunc(sayWho)).ServeHTTP(httptest.NewRecorder(), requestWith(cookies...))
		if n := store.Took(OpTouch); n != test.touched {
			t.Errorf("after %v: touched %d times, want %d", test.clock, n, test.touched)
		}
	}
}

func TestATouchThatFailsDoesNotFailTheRequest(t *testing.T) {
	t.Parallel()
	store := NewHookStore(nil)
	store.Fail(errors.New("read-only replica"), OpTouch)
	c := newOfflineClient(t, func(cfg *Config) { cfg.Store = store })
	cookies := c.start(t)
	c.clock.Advance(2 * time.Minute)
	for range 2 {
		w := httptest.NewRecorder()
		c.RequireLogin(http.HandlerFunc(sayWho)).ServeHTTP(w, requestWith(cookies...))
		if w.Code != http.StatusOK || len(w.Result().Cookies()) > 0 {
			t.Errorf("status %d, cookies %v", w.Code, w.Result().Cookies())
		}
	}
	if n := store.Took(OpTouch); n != 2 {
		t.Errorf("tried %d times, want 2", n)
	}
}

func TestASlowStoreIsNotWaitedForWithoutEnd(t *testing.T) {
	t.Parallel()
	cookies := newOfflineClient(t, func(cfg *Config) { cfg.Store = NewMemoryStore(0) }).start(t)
	synctest.Test(t, func(t *testing.T) {
		store := NewHookStore(nil)
		store.Hang()
		c := newOfflineClient(t, func(cfg *Config) { cfg.Store = PlainStore(store) })
		s := madeSession(c.Client, aliceClaims, "")
		timeout := c.sessions.settings.StoreTimeout
		for _, test := range []struct {
			what string
			call func() error
		}{
			{"Session", func() error { _, err := c.Session(requestWith(cookies...)); return err }},
			{"StartSession", func() error { return c.StartSession(httptest.NewRecorder(), requestWith(), s) }},
			{"StartSession over another", func() error { return c.StartSession(httptest.NewRecorder(), requestWith(cookies...), s) }},
			{"EndSession", func() error { return c.EndSession(httptest.NewRecorder(), requestWith(cookies...)) }},
		} {
			before := time.Now() // the bubble's own clock
			if err := test.call(); !errors.Is(err, CodeStoreUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", test.what, err)
			}
			if waited := time.Since(before); waited != timeout {
				t.Errorf("%s waited %v", test.what, waited)
			}
			c.sessions.marks.store.breaker.hangs = 0 // each is the first to find out
		}
		w := httptest.NewRecorder()
		c.RequireLogin(http.HandlerFunc(sayWho)).ServeHTTP(w, requestWith(cookies...))
		if w.Code != http.StatusServiceUnavailable {
			t.Errorf("a protected page answered %d", w.Code)
		}
	})
}

func TestAStoredSessionHasABoundToo(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, func(cfg *Config) { cfg.Store = NewMemoryStore(0) })
	err := c.StartSession(httptest.NewRecorder(), requestWith(), madeSession(c.Client, aliceClaims, bigClaims(maxStored)))
	if codeOf(err) != CodeSessionTooLarge || !strings.Contains(err.Error(), "picture") {
		t.Errorf("err = %v, want session_too_large naming the claim", err)
	}
	if err := c.StartSession(httptest.NewRecorder(), requestWith(), madeSession(c.Client, aliceClaims, bigClaims(100_000))); err != nil {
		t.Error(err)
	}
}
