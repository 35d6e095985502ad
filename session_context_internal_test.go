package oidcrp

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// none says why there is no session, blocked why protected routes must fail although
// there may be one.
func TestLookUp_TellsNobodyFromAnOutage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what          string
		prepare       func(t *testing.T, c *offlineClient, store *HookStore) []*http.Cookie
		none, blocked Code // "" for none
	}{
		{"nobody", func(*testing.T, *offlineClient, *HookStore) []*http.Cookie { return nil }, CodeNoSession, ""},
		{"alice", func(t *testing.T, c *offlineClient, _ *HookStore) []*http.Cookie { return c.start(t) }, "", ""},
		{"alice, whose session has ended", func(t *testing.T, c *offlineClient, _ *HookStore) []*http.Cookie {
			cookies := c.start(t)
			c.clock.Advance(defaultLifetime)
			return cookies
		}, CodeNoSession, ""},
		{"alice while the Store fails", func(t *testing.T, c *offlineClient, store *HookStore) []*http.Cookie {
			cookies := c.start(t)
			store.Fail(errors.New("down"))
			return cookies
		}, CodeStoreUnavailable, CodeStoreUnavailable},
	} {
		store := NewHookStore(nil)
		c := newOfflineClient(t, func(cfg *Config) { cfg.Store = store })
		found := c.refresher.lookUp(requestWith(test.prepare(t, c, store)...))
		if got := found.session.Load(); (got != nil) != (test.none == "") {
			t.Errorf("%s: the session is %v", test.what, got)
		}
		for name, want := range map[string]struct {
			err  error
			code Code
		}{"none": {found.none, test.none}, "blocked": {found.blocked, test.blocked}} {
			if want.code == "" && want.err != nil || want.code != "" && !errors.Is(want.err, want.code) {
				t.Errorf("%s: %s is %v, want %q", test.what, name, want.err, string(want.code))
			}
		}
	}
}

// With FailRequest, a session that cannot be refreshed stays, and public pages show
// it; protected ones fail.
func TestDecide_BlockedIsNotSignedOut(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	down := failf("refresh", CodeProviderUnavailable, "down")
	s := NewSession(map[string]string{"sub": "alice"})
	found := &requestSession{refresher: c.refresher, blocked: down}
	found.session.Store(s)
	if got, err := c.decide(found, newDemand(nil)); got != nil || !errors.Is(err, down) {
		t.Errorf("decide returned %v, %v", got, err)
	}
	r := requestWith()
	ctx := context.WithValue(r.Context(), sessionKey{}, found)
	if got, ok := SessionFromContext(ctx); got != s || !ok {
		t.Errorf("SessionFromContext returned %v, %t", got, ok)
	}
	if got, err := c.Session(r.WithContext(ctx)); got != s || err != nil {
		t.Errorf("Session returned %v, %v", got, err)
	}
	w := httptest.NewRecorder()
	c.RequireLogin(http.HandlerFunc(saySubject)).ServeHTTP(w, r.WithContext(ctx))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("a protected page answers %d", w.Code)
	}
}

// A session that ended during its request is over for every later lookup.
func TestLose_EndsTheRequestsSession(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	cookies := c.start(t)
	c.clock.Advance(2 * time.Minute)
	r, found, response := c.attach(httptest.NewRecorder(), requestWith(cookies...))
	if _, ok := SessionFromContext(r.Context()); !ok || response.pending.Load() == nil {
		t.Fatal("there is no session, or nothing to be said about it")
	}
	why := failf("refresh", CodeLoginRequired, "spent")
	found.lose(why)
	if d := response.pending.Load(); d != nil {
		t.Errorf("the response still says %+v", d)
	}
	if s, ok := SessionFromContext(r.Context()); s != nil || ok {
		t.Errorf("SessionFromContext returned %v, %t", s, ok)
	}
	if s, err := c.Session(r); s != nil || !errors.Is(err, why) {
		t.Errorf("Session returned %v, %v", s, err)
	}
	if _, err := c.Check(r); !errors.Is(err, CodeNoSession) {
		t.Errorf("Check returned %v", err)
	}
}

// A session is looked up once for each request and Client, however often they nest.
func TestAttach_LooksUpOnce(t *testing.T) {
	t.Parallel()
	store := NewHookStore(nil)
	c := newOfflineClient(t, func(cfg *Config) { cfg.Store = store })
	cookies := c.start(t)
	store.Took()
	r, first, _ := c.attach(httptest.NewRecorder(), requestWith(cookies...))
	again, second, writer := c.attach(httptest.NewRecorder(), r)
	if first != second || again != r || writer != nil {
		t.Error("the second time it was looked up again")
	}
	if _, err := c.Session(r); err != nil {
		t.Error(err)
	}
	if n := store.Took(); n != 1 {
		t.Errorf("%d calls of the Store", n)
	}
}

// What is part of a page does not count as use.
func TestAttach_PartsOfAPageDoNotCountAsUse(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	cookies := c.start(t)
	c.clock.Advance(2 * time.Minute)
	for dest, writes := range map[string]bool{"": true, "document": true, "empty": true, "iframe": true, "image": false, "script": false} {
		r := requestWith(cookies...)
		r.Header.Set("Sec-Fetch-Dest", dest)
		w := httptest.NewRecorder()
		_, _, response := c.attach(w, r)
		response.finish()
		if written := len(w.Result().Cookies()) > 0; written != writes {
			t.Errorf("%q: the session was written down: %t", dest, written)
		}
	}
}
