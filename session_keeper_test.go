package oidcrp

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
)

// keptIn are the ways of keeping a session, and how they change a Config.
var keptIn = map[string]func(*Config){
	"cookies":                func(*Config) {},
	"cookies beside a store": func(cfg *Config) { cfg.Store, cfg.Sessions.InCookies = newMemoryStore(0, cfg.Now), true },
	"a store":                func(cfg *Config) { cfg.Store = newMemoryStore(0, cfg.Now) },
	"a plain store":          func(cfg *Config) { cfg.Store = PlainStore(newMemoryStore(0, cfg.Now)) },
}

// A keeperTest has a keeper and its client, whose sessions keep tokens.
type keeperTest struct {
	*offlineClient
	keeper   keeper
	onServer bool // sessions are kept in the Store
	shared   bool // there is a Store
}

// everyKeeper runs check with each way of keeping a session.
func everyKeeper(t *testing.T, check func(t *testing.T, k *keeperTest)) {
	t.Helper()
	for what, keep := range keptIn {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := newOfflineClient(t, func(cfg *Config) { cfg.Tokens.Keep = true; keep(cfg) })
			check(t, &keeperTest{
				offlineClient: c, keeper: c.sessions.keeper, onServer: c.sessions.keeper.onServer(),
				shared: c.refresher.shared != nil,
			})
		})
	}
}

// begin keeps a new session of alice, and returns it as load does with the
// cookies of its browser.
func (k *keeperTest) begin(t *testing.T) (kept, []*http.Cookie) {
	t.Helper()
	cookies := k.startSession(t, madeSession(k.Client, aliceClaims, `{"sub":"alice"}`))
	return k.load(t, cookies), cookies
}

// putOn puts d on w, the response to a request with cookies.
func (k *keeperTest) putOn(t *testing.T, w http.ResponseWriter, d *delivery, cookies []*http.Cookie) {
	t.Helper()
	if err := d.on(w, requestWith(cookies...)); err != nil {
		t.Fatal(err)
	}
}

// load returns the session that cookies carry.
func (k *keeperTest) load(t *testing.T, cookies []*http.Cookie) kept {
	t.Helper()
	held, err := k.keeper.load(requestWith(cookies...))
	if err != nil {
		t.Fatal(err)
	}
	return held
}

// refreshedFrom returns s with new tokens.
func refreshedFrom(s *Session) *Session {
	next := s.copy()
	next.renewed++
	next.tokens = &oauth2.Token{
		AccessToken: "new access", RefreshToken: "new refresh", TokenType: "Bearer", Expiry: s.tokens.Expiry.Add(time.Hour),
	}
	return next
}

func TestKeeper_LoadsWhatStartKept(t *testing.T) {
	t.Parallel()
	everyKeeper(t, func(t *testing.T, k *keeperTest) {
		if held := k.load(t, nil); held.session != nil || held.handle != "" {
			t.Errorf("without a cookie: %v", held.session)
		}
		s := madeSession(k.Client, aliceClaims, `{"sub":"alice","email":"a@example.org"}`)
		w := httptest.NewRecorder()
		if err := k.keeper.start(w, requestWith(), s); err != nil {
			t.Fatal(err)
		}
		held := k.load(t, cookiesAfter(nil, w))
		if held.session == nil || stored(held.session) != stored(s) {
			t.Fatalf("loaded %v, want %v", held.session, s)
		}
		if (held.handle != "") != k.onServer {
			t.Errorf("the handle is %q", held.handle)
		}
		if got := k.refusals(); len(got) > 0 {
			t.Errorf("refused: %q", got)
		}
	})
}

func TestKeeper_TouchKeepsASessionFromBeingIdle(t *testing.T) {
	t.Parallel()
	everyKeeper(t, func(t *testing.T, k *keeperTest) {
		_, cookies := k.begin(t)
		idle := k.sessions.settings.IdleTimeout
		touch := func() (set int) {
			w := httptest.NewRecorder()
			k.putOn(t, w, k.keeper.touch(requestWith(cookies...), k.load(t, cookies)), cookies)
			cookies = cookiesAfter(cookies, w)
			return len(w.Result().Cookies())
		}
		if set := touch(); set != 0 {
			t.Errorf("a new session was written down again: %d cookies", set)
		}
		k.clock.Advance(idle - time.Second)
		if set := touch(); set != 1 {
			t.Errorf("a session in use was not written down: %d cookies", set)
		}
		k.clock.Advance(idle - time.Second)
		if held, err := k.sessions.load(requestWith(cookies...)); err != nil || held.session.Subject() != "alice" {
			t.Errorf("after another while: %v", err)
		}
		k.clock.Advance(time.Second)
		k.wantNoSession(t, "idle for as long as allowed", requestWith(cookies...))
	})
}

func TestKeeper_RewriteTakesThePlaceOfTheOld(t *testing.T) {
	t.Parallel()
	everyKeeper(t, func(t *testing.T, k *keeperTest) {
		held, cookies := k.begin(t)
		next := held.session.copy()
		next.stepUp = "rewritten"
		w := httptest.NewRecorder()
		d, err := k.keeper.rewrite(t.Context(), held, next)
		if err != nil {
			t.Fatal(err)
		}
		k.putOn(t, w, d, cookies)
		if set := len(w.Result().Cookies()) > 0; set == k.onServer {
			t.Errorf("it set the cookies %v", w.Result().Cookies())
		}
		if got := k.load(t, cookiesAfter(cookies, w)).session; got == nil || got.stepUp != "rewritten" {
			t.Errorf("loaded %v", got)
		}
	})
}

func TestKeeper_EndIsFinal(t *testing.T) {
	t.Parallel()
	everyKeeper(t, func(t *testing.T, k *keeperTest) {
		held, cookies := k.begin(t)
		if err := k.keeper.end(requestWith(), nil); err != nil {
			t.Errorf("without a session: %v", err)
		}
		if err := k.keeper.end(requestWith(cookies...), nil); err != nil {
			t.Fatal(err)
		}
		k.wantNoSession(t, "a copy of the cookies", requestWith(cookies...))
		// An answer that is still on its way does not bring it back.
		late := httptest.NewRecorder()
		k.clock.Advance(2 * time.Minute)
		k.putOn(t, late, k.keeper.touch(requestWith(cookies...), held), cookies)
		k.wantNoSession(t, "a touch afterwards", requestWith(cookiesAfter(cookies, late)...))
		if err := k.keeper.end(requestWith(cookies...), nil); err != nil {
			t.Errorf("the second time: %v", err)
		}
	})
}

// Who signs in again with the same account keeps other sessions of it. Copies of the
// old one are over where a Store tells, and else end with the new one.
func TestKeeper_EndSparesASessionOfTheSamePerson(t *testing.T) {
	t.Parallel()
	everyKeeper(t, func(t *testing.T, k *keeperTest) {
		for sub, ended := range map[string]bool{"alice": k.shared, "bruno": true} {
			_, cookies := k.begin(t)
			next := madeSession(k.Client, fmt.Sprintf(`{"iss":"https://op.example","sub":%q}`, sub), "")
			r := requestWith(cookies...)
			if err := k.sessions.place(t.Context(), r, next); err != nil {
				t.Fatal(err)
			}
			if err := k.keeper.end(r, next); err != nil {
				t.Fatal(err)
			}
			if _, err := k.Session(requestWith(cookies...)); errors.Is(err, CodeNoSession) != ended {
				t.Errorf("%s signed in: the old cookies give %v", sub, err)
			}
			k.clock.Advance(time.Millisecond)
		}
	})
}

func TestCookies_DropSessionDeletesEveryCookie(t *testing.T) {
	t.Parallel()
	everyKeeper(t, func(t *testing.T, k *keeperTest) {
		_, cookies := k.begin(t)
		w := httptest.NewRecorder()
		k.cookies.dropSession(w, requestWith(cookies...))
		if left := cookiesAfter(cookies, w); len(left) > 0 {
			t.Errorf("the browser keeps %v", left)
		}
	})
}

// What a refresh made of a session is found by the requests that still carry the
// old one, wherever a Store lets replicas share it.
func TestKeeper_UpdatedFindsWhatUpdateKept(t *testing.T) {
	t.Parallel()
	everyKeeper(t, func(t *testing.T, k *keeperTest) {
		held, cookies := k.begin(t)
		ctx := t.Context()
		if newer, err := k.keeper.updated(ctx, held); newer != nil || err != nil {
			t.Errorf("before an update: %v, %v", newer, err)
		}
		next := refreshedFrom(held.session)
		if err := k.keeper.update(ctx, held, next); err != nil {
			t.Fatal(err)
		}
		newer, err := k.keeper.updated(ctx, held)
		if err != nil || (newer != nil) != k.shared {
			t.Fatalf("updated returned %v, %v", newer, err)
		}
		if newer != nil && stored(newer) != stored(next) {
			t.Errorf("it found\n%s, want\n%s", stored(newer), stored(next))
		}
		if newest, err := k.keeper.updated(ctx, kept{session: next, handle: held.handle}); newest != nil || err != nil {
			t.Errorf("after the newest: %v, %v", newest, err)
		}
		w := httptest.NewRecorder()
		k.putOn(t, w, k.keeper.deliver(next), cookies)
		if set := len(w.Result().Cookies()) > 0; set == k.onServer {
			t.Errorf("deliver set the cookies %v", w.Result().Cookies())
		}
		if got := k.load(t, cookiesAfter(cookies, w)).session; got == nil || stored(got) != stored(next) {
			t.Errorf("the browser then has %v", got)
		}
	})
}

func TestKeeper_UpdateDoesNotBringBackAnEndedSession(t *testing.T) {
	t.Parallel()
	everyKeeper(t, func(t *testing.T, k *keeperTest) {
		held, cookies := k.begin(t)
		if err := k.keeper.end(requestWith(cookies...), nil); err != nil {
			t.Fatal(err)
		}
		next := refreshedFrom(held.session)
		err := k.keeper.update(t.Context(), held, next)
		if _, updatedErr := k.keeper.updated(t.Context(), held); k.onServer {
			wantCode(t, err, CodeNoSession)
			wantCode(t, updatedErr, CodeNoSession)
		}
		w := httptest.NewRecorder()
		k.putOn(t, w, k.keeper.deliver(next), cookies)
		k.wantNoSession(t, "the updated session", requestWith(cookiesAfter(cookies, w)...))
	})
}

// A value that another session, or none, has put there is not taken for this one's.
func TestKeeper_UpdatedTakesItsOwnSessionOnly(t *testing.T) {
	t.Parallel()
	everyKeeper(t, func(t *testing.T, k *keeperTest) {
		held, _ := k.begin(t)
		for what, change := range map[string]func(*Session){
			"of another id":  func(s *Session) { s.id = "fedcba9876543210" },
			"without tokens": func(s *Session) { s.tokens = nil },
		} {
			wrong := refreshedFrom(held.session)
			change(wrong)
			if wrong.tokens == nil && !k.onServer {
				continue // update needs their expiry
			}
			if err := k.keeper.update(t.Context(), held, wrong); err != nil {
				t.Fatal(err)
			}
			newer, err := k.keeper.updated(t.Context(), held)
			if newer != nil || k.onServer != errors.Is(err, CodeNoSession) {
				t.Errorf("a session %s: %v, %v", what, newer, err)
			}
		}
	})
}

// Every reason that SessionEvent documents, provoked.
func TestSessionRefused_NamesItsReason(t *testing.T) {
	t.Parallel()
	const lifetime, idle = 2 * time.Hour, time.Hour
	altered := func(cookies []*http.Cookie, change func(value string) string) []*http.Cookie {
		return []*http.Cookie{{Name: cookies[0].Name, Value: change(cookies[0].Value)}}
	}
	for reason, provoke := range map[string]func(t *testing.T, c *offlineClient) []*http.Cookie{
		"expired": func(t *testing.T, c *offlineClient) []*http.Cookie {
			cookies := c.start(t)
			c.clock.Advance(lifetime)
			return cookies
		},
		"idle": func(t *testing.T, c *offlineClient) []*http.Cookie {
			cookies := c.start(t)
			c.clock.Advance(idle)
			return cookies
		},
		"future": func(t *testing.T, c *offlineClient) []*http.Cookie {
			cookies := c.start(t)
			c.clock.Advance(-5*time.Minute - time.Second)
			return cookies
		},
		"logged_out": func(t *testing.T, c *offlineClient) []*http.Cookie {
			cookies := c.start(t)
			if err := c.RevokeSubject(t.Context(), "https://op.example", "alice"); err != nil {
				t.Fatal(err)
			}
			return cookies
		},
		"unknown_key": func(t *testing.T, c *offlineClient) []*http.Cookie {
			return newOfflineClient(t, func(cfg *Config) { cfg.CookieKeys = Keys(testKey(9)) }).start(t)
		},
		"tampered": func(t *testing.T, c *offlineClient) []*http.Cookie {
			return altered(c.start(t), func(value string) string { return value + "AAAA" })
		},
		"malformed": func(t *testing.T, c *offlineClient) []*http.Cookie {
			return altered(c.start(t), func(string) string { return "1no session" })
		},
		"incomplete": func(t *testing.T, c *offlineClient) []*http.Cookie {
			return c.startSession(t, madeSession(c.Client, aliceClaims, bigClaims(6000)))[:1]
		},
		"duplicate": func(t *testing.T, c *offlineClient) []*http.Cookie {
			return append(c.start(t), c.start(t)...)
		},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			c := newOfflineClient(t, func(cfg *Config) { cfg.Sessions.Lifetime, cfg.Sessions.IdleTimeout = lifetime, idle })
			cookies := provoke(t, c)
			c.wantNoSession(t, reason, requestWith(cookies...))
			events := c.refusedEvents()
			if len(events) != 1 || events[0].Reason != reason || events[0].Issuer != "https://op.example" {
				t.Fatalf("the events are %+v", events)
			}
			unread := slices.Contains([]string{"unknown_key", "tampered", "malformed", "incomplete", "duplicate"}, reason)
			if ev := events[0]; (ev.SessionID == "") != unread || (ev.Subject == "alice") == unread || (ev.Err != nil) != unread {
				t.Errorf("the event is %+v", ev)
			}
		})
	}
}

func TestSessions_EndByTheirLimits(t *testing.T) {
	t.Parallel()
	const lifetime, idle = 10 * time.Hour, 30 * time.Minute
	for _, test := range []struct {
		what   string
		change func(s *Session, now time.Time)
		want   string // why it ended, "" if it did not
	}{
		{"new", func(*Session, time.Time) {}, ""},
		{"one second before its lifetime ends", func(s *Session, now time.Time) { s.created = now.Add(time.Second - lifetime) }, ""},
		{"at the end of its lifetime", func(s *Session, now time.Time) { s.created = now.Add(-lifetime) }, "expired"},
		{"in use and long past its lifetime", func(s *Session, now time.Time) { s.created = now.Add(-100 * lifetime) }, "expired"},
		{"idle for a second less than allowed", func(s *Session, now time.Time) { s.seen = now.Add(time.Second - idle) }, ""},
		{"idle for as long as allowed", func(s *Session, now time.Time) { s.seen = now.Add(-idle) }, "idle"},
		{"before the provider's own limit", func(s *Session, now time.Time) { s.ceiling = now.Add(time.Second) }, ""},
		{"at the provider's own limit", func(s *Session, now time.Time) { s.ceiling = now }, "expired"},
		{"before the ID Token's end", func(s *Session, now time.Time) { s.tokenEnd = now.Add(time.Second) }, ""},
		{"at the ID Token's end", func(s *Session, now time.Time) { s.tokenEnd = now }, "expired"},
		{"with a provider's limit beyond the lifetime", func(s *Session, now time.Time) {
			s.created, s.ceiling = now.Add(-lifetime), now.Add(time.Hour)
		}, "expired"},
		{"made by a clock five minutes ahead", func(s *Session, now time.Time) { s.created = now.Add(5 * time.Minute) }, ""},
		{"made in the future", func(s *Session, now time.Time) { s.created = now.Add(5*time.Minute + time.Second) }, "future"},
		{"with no beginning", func(s *Session, _ time.Time) { s.created = time.Time{} }, "expired"},
	} {
		c := newOfflineClient(t, func(cfg *Config) { cfg.Sessions.Lifetime, cfg.Sessions.IdleTimeout = lifetime, idle })
		s := madeSession(c.Client, aliceClaims, "")
		test.change(s, c.clock.Now())
		r := requestWith(c.startSession(t, s)...)
		if test.want != "" {
			c.wantRefusal(t, r, test.want)
		} else if _, err := c.Session(r); err != nil {
			t.Errorf("a session %s: %v", test.what, err)
		}
	}
}

// A person who clicks every 20 seconds stays signed in until the lifetime ends;
// the session is written down at most once a minute for that.
func TestSessions_AreWrittenAtMostOnceAMinute(t *testing.T) {
	t.Parallel()
	for what, keep := range keptIn {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := newOfflineClient(t, func(cfg *Config) {
				keep(cfg)
				cfg.Sessions.Lifetime, cfg.Sessions.IdleTimeout = time.Hour, 10*time.Minute
			})
			protected := c.RequireLogin(http.HandlerFunc(saySubject))
			cookies := c.start(t)
			written := 0
			for request := range 3 * 59 {
				c.clock.Advance(20 * time.Second)
				var w *httptest.ResponseRecorder
				if w, cookies = serves(protected, cookies); w.Code != http.StatusOK {
					t.Fatalf("request %d: status %d", request, w.Code)
				}
				written += len(w.Result().Cookies())
			}
			if written < 50 || written > 59 {
				t.Errorf("in 59 minutes the session was written down %d times", written)
			}
			c.clock.Advance(time.Minute)
			c.wantNoSession(t, "after an hour", requestWith(cookies...))
		})
	}
}

func TestSessions_AShortIdleTimeoutIsPutOffInTime(t *testing.T) {
	t.Parallel()
	for what, keep := range keptIn {
		c := newOfflineClient(t, func(cfg *Config) { keep(cfg); cfg.Sessions.IdleTimeout = time.Minute })
		handler := c.Middleware(http.HandlerFunc(saySubject))
		cookies := c.start(t)
		for range 10 {
			c.clock.Advance(45 * time.Second)
			_, cookies = serves(handler, cookies)
		}
		c.wantSession(t, "in "+what+", someone who comes every 45 seconds", requestWith(cookies...))
		c.clock.Advance(time.Minute)
		c.wantNoSession(t, "in "+what+", idle for a minute", requestWith(cookies...))
	}
}

func TestSessions_AnAnswerThatWritesOneIsNotForSharedCaches(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	cookies := c.start(t)
	c.clock.Advance(2 * time.Minute)
	public, protected := c.Middleware(http.HandlerFunc(saySubject)), c.RequireLogin(http.HandlerFunc(saySubject))
	w, _ := serves(public, cookies)
	if len(w.Result().Cookies()) == 0 {
		t.Fatal("the session was not written down")
	}
	if got := w.Header().Get("Cache-Control"); got != "private" {
		t.Errorf("Cache-Control of a public page that sets the session cookie is %q", got)
	}
	// What apps declare public writes none: the app's header is set later.
	for _, dest := range []string{"audio", "font", "image", "manifest", "script", "style", "track", "video"} {
		for _, handler := range []http.Handler{public, protected} {
			w, _ := serves(handler, cookies, "Sec-Fetch-Dest: "+dest)
			if set := w.Result().Cookies(); w.Code != 200 || len(set) > 0 {
				t.Errorf("%s: status %d, cookies %v", dest, w.Code, set)
			}
		}
	}
	// A service worker that changes requests sends them without their destination.
	w, _ = serves(public, cookies, "Sec-Fetch-Dest: empty", "Sec-Fetch-Mode: no-cors")
	if set := w.Result().Cookies(); len(set) > 0 {
		t.Errorf("an image behind a service worker gets the cookies %v", set)
	}
}

func TestSessions_ReturnToIsNotKept(t *testing.T) {
	t.Parallel()
	everyKeeper(t, func(t *testing.T, k *keeperTest) {
		s := k.sessions.create(madeLogin(k.now(), aliceClaims, ""), "", "/page")
		if s.ReturnTo() != "/page" {
			t.Errorf("ReturnTo is %q after the login", s.ReturnTo())
		}
		if kept := k.wantSession(t, "later on", requestWith(k.startSession(t, s)...)); kept.ReturnTo() != "" {
			t.Errorf("ReturnTo is %q later on", kept.ReturnTo())
		}
	})
}

func TestSessions_EveryLoginMakesANewOne(t *testing.T) {
	t.Parallel()
	everyKeeper(t, func(t *testing.T, k *keeperTest) {
		first := k.start(t)
		a := k.wantSession(t, "the first", requestWith(first...))
		second := k.start(t, first...)
		b := k.wantSession(t, "the second", requestWith(second...))
		if first[0].Value == second[0].Value || a.id == b.id || k.onServer == (a.ID() == b.ID()) || len(b.id) != 16 {
			t.Errorf("the second login continues the session %s as %s", a.ID(), b.ID())
		}
	})
}

// The login that led to a session is over with it, and no other one.
func TestStartSession_ForgetsItsLogin(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	pending := &http.Cookie{Name: c.logins.cookieName("the-state"), Value: "x"}
	other := &http.Cookie{Name: c.logins.cookieName("another"), Value: "x"}
	login := &pendingLogin{logins: c.logins, cookie: pending.Name, hasCookie: true}
	s := madeSession(c.Client, aliceClaims, "")
	s.login = &freshLogin{forget: login.forget}
	var names []string
	for _, cookie := range c.startSession(t, s, pending, other) {
		names = append(names, cookie.Name)
	}
	if slices.Contains(names, pending.Name) || !slices.Contains(names, other.Name) || !slices.Contains(names, c.cookies.session) {
		t.Errorf("the browser keeps %q", names)
	}
}

// A login to a session that is over would send the person to the provider again
// and again; a refresh may say that it is over.
func TestSessionExpiry_RefusesLoginsOnly(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	now := c.now()
	login, refresh := &expectedIDToken{nonce: "n"}, &expectedIDToken{}
	for _, tt := range []struct {
		name     string
		end      time.Time
		expected *expectedIDToken
		refused  bool
	}{
		{"no end", time.Time{}, login, false},
		{"an end to come", now.Add(time.Second), login, false},
		{"an end right now", now, login, true},
		{"an end in 1970", time.Unix(0, 0), login, true},
		{"an end that a refresh brings", now, refresh, false},
	} {
		err := c.flow.rules.checkSessionExpiry(&idToken{sessionExpiry: tt.end}, tt.expected)
		if (err != nil) != tt.refused {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// deletes reports whether w deletes every session cookie in cookies.
func (c *offlineClient) deletes(w *httptest.ResponseRecorder, cookies []*http.Cookie) bool {
	return len(sessionCookies(c.Client, cookiesAfter(cookies, w))) == 0 && len(w.Result().Cookies()) == len(cookies)
}

func TestSessions_ACookieThatIsRefusedForGoodIsDeleted(t *testing.T) {
	t.Parallel()
	cut := func(cookies []*http.Cookie, i, n int) []*http.Cookie {
		changed := *cookies[i]
		changed.Value = changed.Value[:len(changed.Value)-n] + strings.Repeat("A", n)
		return append(append([]*http.Cookie{&changed}, cookies[:i]...), cookies[i+1:]...)
	}
	for _, tt := range []struct {
		what    string
		stored  bool
		spoil   func(t *testing.T, c *offlineClient, cookies []*http.Cookie) []*http.Cookie
		reason  string
		deleted bool
	}{
		{"expired", false, func(_ *testing.T, c *offlineClient, cookies []*http.Cookie) []*http.Cookie {
			c.clock.Advance(13 * time.Hour)
			return cookies
		}, "expired", true},
		{"idle", false, func(_ *testing.T, c *offlineClient, cookies []*http.Cookie) []*http.Cookie {
			c.clock.Advance(2 * time.Hour)
			return cookies
		}, "idle", true},
		{"logged out", false, func(t *testing.T, c *offlineClient, cookies []*http.Cookie) []*http.Cookie {
			if err := c.EndSession(httptest.NewRecorder(), requestWith(cookies...)); err != nil {
				t.Error(err)
			}
			return cookies
		}, "logged_out", true},
		{"tampered", false, func(_ *testing.T, _ *offlineClient, cookies []*http.Cookie) []*http.Cookie {
			return cut(cookies, 0, 8)
		}, "tampered", true},
		{"tampered in the store", true, func(t *testing.T, c *offlineClient, cookies []*http.Cookie) []*http.Cookie {
			k := c.sessions.keeper.(*storeKeeper)
			handle, _ := parseHandle(cookies[0].Value)
			value, err := k.store.get(t.Context(), k.key(handle.handle))
			if err != nil {
				t.Fatal(err)
			}
			value[len(value)-1] ^= 1
			if err := k.store.set(t.Context(), k.key(handle.handle), value, time.Hour); err != nil {
				t.Fatal(err)
			}
			return cookies
		}, "tampered", true},
		{"an older copy", false, nil, "superseded", true},

		{"of an unknown key", false, func(t *testing.T, _ *offlineClient, _ []*http.Cookie) []*http.Cookie {
			return newOfflineClient(t, func(cfg *Config) { cfg.CookieKeys = Keys(testKey(9)) }).start(t)
		}, "unknown_key", false},
		{"malformed", false, func(_ *testing.T, _ *offlineClient, cookies []*http.Cookie) []*http.Cookie {
			return []*http.Cookie{{Name: cookies[0].Name, Value: "x"}}
		}, "malformed", false},
		{"no handle", true, func(_ *testing.T, _ *offlineClient, cookies []*http.Cookie) []*http.Cookie {
			return []*http.Cookie{{Name: cookies[0].Name, Value: "x"}}
		}, "malformed", false},
		{"of the future", false, func(_ *testing.T, c *offlineClient, cookies []*http.Cookie) []*http.Cookie {
			c.clock.Advance(-10 * time.Minute)
			return cookies
		}, "future", false},
		{"two", false, func(_ *testing.T, _ *offlineClient, cookies []*http.Cookie) []*http.Cookie {
			return append(cut(cookies, 0, 8), cookies[0])
		}, "duplicate", false},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			c := newOfflineClient(t, func(cfg *Config) {
				if tt.stored || tt.spoil == nil {
					cfg.Store = NewMemoryStore(0)
				}
				cfg.Sessions.InCookies = tt.spoil == nil
			})
			cookies := c.start(t)
			if tt.spoil == nil { // the person signs in once more
				c.clock.Advance(time.Minute)
				c.start(t, cookies...)
			} else {
				cookies = tt.spoil(t, c, cookies)
			}
			page := c.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "a page") }))
			c.refusals()
			w, _ := serves(page, cookies, "Accept: text/html")
			if reasons := c.refusals(); !slices.Equal(reasons, []string{tt.reason}) {
				t.Errorf("refused for %q, want %s", reasons, tt.reason)
			}
			if got := w.Result().Cookies(); c.deletes(w, cookies) != tt.deleted || !tt.deleted && len(got) > 0 {
				t.Errorf("the response sets %v; deletion wanted: %t", got, tt.deleted)
			}
			if cc := w.Header().Get("Cache-Control"); tt.deleted && cc != "private" {
				t.Errorf("Cache-Control is %q", cc)
			}
			// A part of the page, and a page for shared caches, set nothing.
			if w, _ := serves(page, cookies, "Sec-Fetch-Dest: image"); len(w.Result().Cookies()) > 0 {
				t.Errorf("an image sets %v", w.Result().Cookies())
			}
			shared := c.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Cache-Control", "public, max-age=600")
			}))
			w, _ = serves(shared, cookies, "Accept: text/html")
			if cc := w.Header().Get("Cache-Control"); len(w.Result().Cookies()) > 0 || cc != "public, max-age=600" {
				t.Errorf("a page for shared caches sets %v, and says %q", w.Result().Cookies(), cc)
			}
			// While a script waits, the browser may get a new session with another response.
			w, _ = serves(c.RequireLogin(page), cookies)
			if c.deletes(w, cookies) || w.Code != http.StatusUnauthorized {
				t.Errorf("a script gets %d with the cookies %v", w.Code, w.Result().Cookies())
			}
		})
	}
}

func TestSessions_AnIncompleteSessionIsDeleted(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	cookies := c.startSession(t, madeSession(c.Client, aliceClaims, bigClaims(5000)))
	if len(cookies) < 2 {
		t.Fatalf("%d cookies", len(cookies))
	}
	w, _ := serves(c.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})), cookies[:1], "Accept: text/html")
	if reasons := c.refusals(); !slices.Equal(reasons, []string{"incomplete"}) || !c.deletes(w, cookies[:1]) {
		t.Errorf("refused for %q, and the response sets %v", reasons, w.Result().Cookies())
	}
}

// In the meantime the person may have signed in: the new cookie has the same name.
func TestSessions_ALateResponseDeletesNoCookie(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	cookies := c.start(t)
	c.clock.Advance(2 * time.Hour)
	w, _ := serves(c.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		c.clock.Advance(staleDelay)
	})), cookies)
	if got := w.Result().Cookies(); len(got) > 0 {
		t.Errorf("the response sets %v", got)
	}
}

func TestSessions_ARefusalIsLoggedOnceAMinuteAndTracedEachTime(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	alice, bob := c.start(t), c.start(t)
	c.clock.Advance(2 * time.Hour)
	page := c.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	rubbish := []*http.Cookie{{Name: alice[0].Name, Value: "x"}}
	for _, tt := range []struct {
		cookies       []*http.Cookie
		after         time.Duration
		events, lines int
	}{
		{alice, 0, 1, 1}, {alice, 0, 1, 0}, {alice, 59 * time.Second, 1, 0}, {bob, 0, 1, 1}, {alice, time.Second, 1, 1},
		{rubbish, 0, 1, 1}, {rubbish, time.Second, 1, 0}, {rubbish, time.Minute, 1, 1},
	} {
		c.clock.Advance(tt.after)
		c.refusals()
		logged := strings.Count(c.log.String(), `"session refused"`)
		serves(page, tt.cookies)
		lines := strings.Count(c.log.String(), `"session refused"`) - logged
		if events := len(c.refusals()); events != tt.events || lines != tt.lines {
			t.Errorf("%d events and %d lines, want %d and %d", events, lines, tt.events, tt.lines)
		}
	}
}

// A slow response to a request with a stale cookie arrives after a login.
func TestSessions_AStaleCookiesDeletionSparesALoginMeanwhile(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	old := c.start(t)
	c.clock.Advance(13 * time.Hour)
	var fresh []*http.Cookie
	handler := c.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fresh = c.start(t, old...) // in another tab, by single sign-on
		c.clock.Advance(time.Second)
		saySubject(w, r)
	}))
	w, _ := serves(handler, old)
	c.wantSession(t, "the new login", requestWith(cookiesAfter(fresh, w)...))
}
