package oidcrp

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp/oidctest"
)

// A Store that cannot say whether a session was ended must not pass for one
// that says no, nor sign anybody out.
func TestMarksThatCannotBeRead(t *testing.T) {
	t.Parallel()
	store := NewHookStore(nil)
	a := newLogoutApp(t, setup{config: func(c *Config) { c.Store = store }})
	browser := a.signIn(t)
	store.Before(failMarks)
	a.clock.Advance(time.Second) // a logout that came before would have been found until now
	for _, path := range []string{"/me", "/admin", "/sid"} {
		res, body := a.asks(t, browser, "GET", path, acceptHTML)
		if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Location") != "" || len(res.Cookies()) > 0 {
			t.Errorf("%s: %s, %v\n%s", path, res.Status, res.Header, body)
		}
		res, body = a.asks(t, browser, "GET", path)
		if res.StatusCode != http.StatusServiceUnavailable || jsonMember(t, body, "code") != string(CodeStoreUnavailable) {
			t.Errorf("%s by script: %s\n%s", path, res.Status, body)
		}
	}
	if n := a.provider.Count(oidctest.EndpointAuthorization); n != 1 {
		t.Errorf("%d logins were started, want the first alone", n)
	}
	if res, _ := a.asks(t, browser, "GET", "/"); res.StatusCode != 200 || len(res.Cookies()) > 0 {
		t.Errorf("the public page: %s, %v", res.Status, res.Cookies())
	}
	store.Before(nil)
	if !a.signedIn(t, browser) {
		t.Error("signed out by an outage")
	}
}

// failMarks is a StoreHook that fails for the keys of marks.
func failMarks(_ context.Context, _, key string) error {
	if len(key) == len(markKey{}.String()) {
		return errOp
	}
	return nil
}

func TestMarks(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]func(*testClock) Store{
		"memory of its own": func(*testClock) Store { return nil },
		"SharedStore":       func(c *testClock) Store { return newMemoryStore(0, c.Now) },
		"three methods":     func(c *testClock) Store { return PlainStore(newMemoryStore(0, c.Now)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := newTestClock()
			m := testMarks(store(clock), clock.Now)
			ctx := t.Context()
			key, other := sessionMark("iss", "sid"), subjectMark("iss", "sub")
			began := clock.Now()
			want := func(what string, over bool, began time.Time, keys ...markKey) {
				t.Helper()
				if got, err := m.over(ctx, markedSession(began, keys...), lookup{}); got != over || err != nil {
					t.Errorf("%s: %t, %v, want %t", what, got, err, over)
				}
			}
			want("no mark", false, began, key, other)
			if err := m.set(ctx, key, time.Hour); err != nil {
				t.Fatal(err)
			}
			want("a session of the moment of the mark", true, began, key)
			want("one that began before", true, began.Add(-time.Hour), key)
			want("one that began a millisecond later", false, began.Add(time.Millisecond), key)
			want("another key", false, began, other)
			want("another key first", true, began, other, key)
			want("no key", false, began, markKey{}, markKey{})
			clock.Advance(30 * time.Minute)
			if err := m.set(ctx, key, time.Hour); err != nil {
				t.Fatal(err)
			}
			want("between two marks", true, began.Add(time.Minute), key)
			clock.Advance(59 * time.Minute)
			want("before the second mark expires", true, began, key)
			clock.Advance(time.Minute)
			want("when it has expired", false, began, key)

			for i, first := range []bool{true, false} {
				if got, err := m.first(ctx, "iss", "jti", time.Hour); got != first || err != nil {
					t.Errorf("jti for the %dth time: %t, %v", i+1, got, err)
				}
			}
			if got, err := m.first(ctx, "iss2", "jti", time.Hour); !got || err != nil {
				t.Errorf("the jti of another issuer: %t, %v", got, err)
			}
			m.forget(ctx, "iss", "jti")
			if got, err := m.first(ctx, "iss", "jti", time.Hour); !got || err != nil {
				t.Errorf("a jti that was forgotten: %t, %v", got, err)
			}
			clock.Advance(time.Hour)
			if got, err := m.first(ctx, "iss", "jti", time.Hour); !got || err != nil {
				t.Errorf("a jti after its time: %t, %v", got, err)
			}
		})
	}
}

func TestMarkKeysAreApart(t *testing.T) {
	t.Parallel()
	seen := make(map[markKey]string)
	for what, key := range map[string]markKey{
		"sid a of i": sessionMark("i", "a"), "sub a of i": subjectMark("i", "a"), "jti a of i": newMarkKey("jti", "i", "a"),
		"sid a of j": sessionMark("j", "a"), "sid b of i": sessionMark("i", "b"), "sid a of ia": sessionMark("ia", "a"),
		"sid empty of ia": sessionMark("ia", ""),
	} {
		if before, ok := seen[key]; ok {
			t.Errorf("%s and %s have one mark", what, before)
		}
		seen[key] = what
		if text := key.String(); len(text) != 22 || strings.ContainsAny(text, "+/=") {
			t.Errorf("%s is kept as %q", what, text)
		}
	}
}

func TestMarksLastAsLongAsTheSessionsTheyEnd(t *testing.T) {
	t.Parallel()
	for _, stored := range []bool{false, true} {
		a := newLogoutApp(t, setup{config: func(c *Config) {
			c.Sessions.Lifetime, c.Sessions.IdleTimeout = 3*time.Hour, 3*time.Hour
			if stored {
				c.Store = newMemoryStore(0, c.Now)
			}
		}})
		browser := a.signIn(t)
		a.clock.Advance(time.Minute)
		if status := a.ends(t, a.provider.LogoutToken(oidctest.ClientID, "alice", "")); status != 200 {
			t.Fatal(status)
		}
		for range 12 {
			if a.signedIn(t, browser) {
				t.Fatal("the session is back")
			}
			a.clock.Advance(15 * time.Minute)
		}
		if m := a.client.sessions.marks.store.store.(*memoryStore); m.size() > 0 {
			a.clock.Advance(time.Hour)
			m.sweep()
			if m.size() > 0 {
				t.Errorf("%d entries are left", m.size())
			}
		}
	}
}

// Without marks, a session in a cookie costs no look into any store.
func TestMarksCostNothingUntilThereAreSome(t *testing.T) {
	t.Parallel()
	store := NewHookStore(nil)
	clock := newTestClock()
	m := testMarks(store, clock.Now)
	m.local = true
	s := markedSession(clock.Now(), subjectMark("i", "a"))
	if over, err := m.over(t.Context(), s, lookup{}); over || err != nil {
		t.Errorf("%t, %v", over, err)
	}
	if n := store.Took(); n != 0 {
		t.Errorf("%d calls without a mark", n)
	}
	if err := m.set(t.Context(), subjectMark("i", "a"), time.Hour); err != nil {
		t.Fatal(err)
	}
	if over, err := m.over(t.Context(), s, lookup{}); !over || err != nil {
		t.Errorf("%t, %v", over, err)
	}
	if n := store.Took(OpGet, OpGetMany); n != 1 {
		t.Errorf("%d reads with a mark, want 1", n)
	}
}

// A value that no mark has, such as one of another version, ends nothing and
// breaks nothing.
func TestMarksOfAnotherForm(t *testing.T) {
	t.Parallel()
	store := NewMemoryStore(0)
	m := testMarks(store, time.Now)
	key := subjectMark("i", "a")
	for _, value := range [][]byte{nil, {}, {1}, make([]byte, 9)} {
		if err := store.Set(t.Context(), key.String(), value, time.Hour); err != nil {
			t.Fatal(err)
		}
		if over, err := m.over(t.Context(), markedSession(time.Now(), key), lookup{}); over || err != nil {
			t.Errorf("%v: %t, %v", value, over, err)
		}
	}
}

func TestASessionWithoutSidEndsWithAnySessionOfThePerson(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: oidctest.Config{ClaimsOnRequest: true}}) // no sid
	browser := app.signIn(t)
	end := func(sub string) {
		t.Helper()
		res, err := http.PostForm(app.URL+"/auth/backchannel-logout",
			url.Values{"logout_token": {app.provider.LogoutToken(oidctest.ClientID, sub, "a sid")}})
		if err != nil {
			t.Fatal(err)
		}
		readBody(t, res)
		if res.StatusCode != http.StatusOK {
			t.Fatalf("the logout was answered with %s", res.Status)
		}
	}
	end("bruno")
	if got := app.who(t, browser, "/"); got.Sub != "alice" {
		t.Errorf("after somebody else's logout: %+v", got)
	}
	end("alice")
	if got := app.who(t, browser, "/"); got.Sub != "" {
		t.Errorf("after the logout: %+v", got)
	}
}

// testMarks are marks in store, or in memory if it is nil, that are looked up each time.
func testMarks(store Store, now func() time.Time) *marks {
	local := store == nil
	if local {
		store = newMemoryStore(0, now)
	}
	return newMarks(newStorage(store, time.Second, now), local, now, -1)
}

// markedSession is one that began then and ends with those marks.
func markedSession(began time.Time, keys ...markKey) *Session {
	s := &Session{created: began}
	copy(s.marks[:], keys)
	return s
}
