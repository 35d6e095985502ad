package oidcrp

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
)

// An attacker has a copy of the first cookie; the person signs in again, as a
// step-up does, and then leaves.
func TestSessions_TheEndOfALineEndsEveryCookieOfIt(t *testing.T) {
	t.Parallel()
	for in, keep := range keptIn {
		for how, end := range map[string]func(c *offlineClient, now *Session, cookies []*http.Cookie) error{
			"a logout": func(c *offlineClient, _ *Session, cookies []*http.Cookie) error {
				return c.EndSession(httptest.NewRecorder(), requestWith(cookies...))
			},
			"RevokeSession": func(c *offlineClient, now *Session, _ []*http.Cookie) error {
				return c.RevokeSession(t.Context(), now.ID())
			},
		} {
			c := newOfflineClient(t, keep)
			first := c.start(t)
			c.clock.Advance(time.Minute)
			second := c.start(t, first...)
			c.clock.Advance(time.Minute)
			third := c.start(t, second...)
			now := c.wantSession(t, "the third", requestWith(third...))
			if in == "cookies" { // without a Store, it is the end of the line that ends the copies
				c.wantSession(t, "a copy of the first", requestWith(first...))
			}
			if err := end(c, now, third); err != nil {
				t.Fatal(err)
			}
			for i, cookies := range [][]*http.Cookie{first, second, third} {
				if _, err := c.Session(requestWith(cookies...)); !errors.Is(err, CodeNoSession) {
					t.Errorf("in %s, after %s: cookie %d gives %v", in, how, i+1, err)
				}
			}
			c.clock.Advance(time.Millisecond)
			if again := c.start(t, third...); c.wantSession(t, "a login with the dead cookie", requestWith(again...)).ID() == now.ID() {
				t.Errorf("in %s, after %s: a new login continues the line that has ended", in, how)
			}
		}
	}
}

// The line is one person's.
func TestSessions_AnotherPersonsLoginBeginsALine(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	alice := c.start(t)
	was := c.wantSession(t, "alice", requestWith(alice...)).ID()
	bruno := c.startSession(t, madeSession(c.Client, `{"iss":"https://op.example","sub":"bruno"}`, ""), alice...)
	if c.wantSession(t, "bruno", requestWith(bruno...)).ID() == was {
		t.Error("bruno continues alice's line")
	}
	c.wantNoSession(t, "alice's cookies", requestWith(alice...))
}

// The seal is tied to the full issuer, client id, path prefix and host: that the names
// of the cookies are hashes does not matter.
func TestSessions_OfAnotherIssuerAreNone(t *testing.T) {
	t.Parallel()
	for what, keep := range keptIn {
		mine := newOfflineClient(t, keep)
		hostile := newOfflineClient(t, func(cfg *Config) {
			keep(cfg)
			cfg.Issuer = "https://hostile.example"
			if cfg.Store != nil {
				cfg.Store = mine.sessions.marks.store.store
			}
		})
		hostile.sessions.marks.store.space = mine.sessions.marks.store.space
		hostile.cookies.session = mine.cookies.session // the hashes collide
		hostile.cookies.sessionData = []byte(hostile.cookies.session + "\x00" + hostile.cookies.identity)
		cookies := hostile.startSession(t, madeSession(hostile.Client, aliceClaims, ""))
		hostile.wantSession(t, what, requestWith(cookies...))
		mine.wantNoSession(t, what, requestWith(cookies...))
	}
}

// A refresh took a role away. A copy of the cookie from before does not bring it back.
func TestRefresh_SupersedesOlderCopiesOfTheCookie(t *testing.T) {
	t.Parallel()
	rt := newRefreshTest(t, "cookies beside a store", nil)
	email := func(cookies []*http.Cookie) (any, *httptest.ResponseRecorder) {
		var got any
		w, _ := serves(rt.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if s, ok := SessionFromContext(r.Context()); ok {
				got = s.claim("email")
			}
		})), cookies)
		return got, w
	}
	old := rt.cookies
	rt.clock.Advance(time.Second)
	w := httptest.NewRecorder()
	if _, err := rt.Refresh(w, requestWith(old...)); err != nil {
		t.Fatal(err)
	}
	fresh := cookiesAfter(old, w)
	want, _ := email(fresh)
	if want == nil {
		t.Fatal("the refresh brought no claims")
	}
	rt.clock.Advance(2 * time.Second)
	got, answer := email(old)
	if got != want || len(answer.Result().Cookies()) == 0 {
		t.Errorf("a request that left before the new cookie arrived sees %v and gets the cookies %v, want %v", got,
			answer.Result().Cookies(), want)
	}
	// When the Store no longer has the newer form, the copy is over.
	rt.clock.Advance(61 * time.Minute)
	next := rt.held.session.copy()
	next.seen = rt.clock.Now() // it was in use
	w = httptest.NewRecorder()
	if err := rt.sessions.keeper.start(w, requestWith(), next); err != nil {
		t.Fatal(err)
	}
	rt.wantRefusal(t, requestWith(w.Result().Cookies()...), reasonSuperseded)
}

// Where there is a Store, a login ends the copies of the session that it replaces.
func TestSessions_ALoginSupersedesTheSessionThatItReplaces(t *testing.T) {
	t.Parallel()
	for in, ended := range map[string]bool{
		"cookies": false, "cookies beside a store": true, "a store": true, "a plain store": true,
	} {
		c := newOfflineClient(t, keptIn[in])
		first := c.start(t)
		c.clock.Advance(time.Minute)
		second := c.start(t, first...)
		c.clock.Advance(2 * time.Second)
		if _, err := c.Session(requestWith(first...)); errors.Is(err, CodeNoSession) != ended {
			t.Errorf("in %s: the replaced session gives %v", in, err)
		}
		c.wantSession(t, "the new one", requestWith(second...))
	}
}

// The replica that handles the logout has a clock that is 20 s behind, or ahead, of
// the one that signs people in.
func TestRevoke_ClocksOfTheReplicasMayDiffer(t *testing.T) {
	t.Parallel()
	const iss = "https://op.example"
	for what, end := range map[string]func(c *offlineClient) error{
		"RevokeSubject": func(c *offlineClient) error { return c.RevokeSubject(t.Context(), iss, "alice") },
		"a Logout Token with sid": func(c *offlineClient) error {
			return c.endSessions(t.Context(), logoutToken{issuer: iss, sid: "s", jti: randomText()})
		},
		"a Logout Token with sub and sid": func(c *offlineClient) error {
			return c.endSessions(t.Context(), logoutToken{issuer: iss, subject: "alice", sid: "s", jti: randomText()})
		},
	} {
		for _, ahead := range []time.Duration{-20 * time.Second, 20 * time.Second} {
			for _, inCookies := range []bool{true, false} {
				one, _ := replicas(t, NewMemoryStore(0), inCookies)
				other, _ := replicas(t, one.sessions.marks.store.store, inCookies)
				other.clock.Advance(one.clock.Now().Add(ahead).Sub(other.clock.Now()))
				login := func(before ...*http.Cookie) []*http.Cookie {
					return one.startSession(t, madeSession(one.Client, `{"iss":"`+iss+`","sub":"alice","sid":"s"}`, ""), before...)
				}
				pass := func(d time.Duration) { one.clock.Advance(d); other.clock.Advance(d) }
				cookies := login()
				pass(5 * time.Second)
				if err := end(other); err != nil {
					t.Fatal(err)
				}
				pass(2 * time.Second)
				one.wantNoSession(t, what+", signed in before it", requestWith(cookies...))
				again := login(cookies...)
				one.wantSession(t, what+", signed in again right after it", requestWith(again...))
				pass(5 * time.Second)
				if err := end(other); err != nil {
					t.Fatal(err)
				}
				pass(2 * time.Second)
				one.wantNoSession(t, what+", the second time", requestWith(again...))
			}
		}
	}
}

// A Logout Token with sub and sid ends what matches both (Back-Channel Logout 2.6).
func TestMarks_OfOnePersonEndNobodyElsesSession(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	m := testMarks(nil, clock.Now)
	key := sessionMark("i", "s")
	if err := m.set(t.Context(), key, subjectMark("i", "alice"), time.Hour); err != nil {
		t.Fatal(err)
	}
	for sub, want := range map[string]string{"alice": reasonLoggedOut, "bruno": ""} {
		if got, err := m.over(t.Context(), markedSession(clock.Now(), sub, "s"), lookup{}); got != want || err != nil {
			t.Errorf("%s's session: %q, %v, want %q", sub, got, err, want)
		}
	}
}

// A logout that arrives while the code is exchanged ends the session that follows.
func TestMarks_OfALogoutDuringTheLoginCount(t *testing.T) {
	t.Parallel()
	for what, test := range map[string]struct {
		after time.Duration // the logout, after the beginning of the exchange
		over  bool
	}{
		"before the exchange":                 {-time.Second, false},
		"during the exchange":                 {time.Second, true},
		"before it, by a clock that is ahead": {time.Minute, false},
	} {
		c := newOfflineClient(t, func(cfg *Config) { cfg.Store = NewMemoryStore(0) })
		s := madeSession(c.Client, aliceClaims, "")
		c.clock.Advance(test.after)
		if err := c.RevokeSubject(t.Context(), s.Issuer(), s.Subject()); err != nil {
			t.Fatal(err)
		}
		c.clock.Advance(2*time.Second - test.after)
		if err := c.sessions.place(t.Context(), requestWith(), s); err != nil {
			t.Fatal(err)
		}
		reason, err := c.sessions.over(t.Context(), kept{session: s})
		if (reason != "") != test.over || err != nil {
			t.Errorf("a logout %s: %q, %v", what, reason, err)
		}
	}
}

// The provider ends the sessions of two persons that have one sid, one after the other:
// the accounts of one browser.
func TestMarks_ALogoutOfOnePersonDoesNotReviveAnother(t *testing.T) {
	t.Parallel()
	for in, keep := range keptIn {
		c := newOfflineClient(t, keep)
		who := func(sub string) *Session {
			return madeSession(c.Client, `{"iss":"https://op.example","sub":"`+sub+`","aud":"app","sid":"s1"}`, "")
		}
		alice, bruno := c.startSession(t, who("alice")), c.startSession(t, who("bruno"))
		c.clock.Advance(2 * time.Second)
		for _, sub := range []string{"alice", "bruno"} {
			if err := c.endSessions(t.Context(), logoutToken{issuer: "https://op.example", subject: sub, sid: "s1", jti: randomText()}); err != nil {
				t.Fatal(err)
			}
			c.clock.Advance(2 * time.Second)
		}
		c.wantNoSession(t, in+": bruno", requestWith(bruno...))
		c.wantNoSession(t, in+": alice, whose session had ended", requestWith(alice...))
	}
}

// The same after a Logout Token of the sid alone, which ended everybody's.
func TestMarks_ALogoutOfOnePersonDoesNotNarrowThatOfTheSid(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	alice := c.startSession(t, madeSession(c.Client, `{"iss":"https://op.example","sub":"alice","aud":"app","sid":"s1"}`, ""))
	c.clock.Advance(2 * time.Second)
	for _, sub := range []string{"", "bruno"} {
		if err := c.endSessions(t.Context(), logoutToken{issuer: "https://op.example", subject: sub, sid: "s1", jti: randomText()}); err != nil {
			t.Fatal(err)
		}
	}
	c.wantNoSession(t, "alice", requestWith(alice...))
}

// A login replaced the session while a request refreshed its tokens: the refresh's mark
// takes the place of the login's, and the replaced session is good again.
func TestSessions_ARefreshDoesNotReviveAReplacedSession(t *testing.T) {
	t.Parallel()
	rt := newRefreshTest(t, "cookies beside a store", nil)
	w := httptest.NewRecorder()
	rt.server.before = func() { // during the request to the token endpoint
		rt.server.before = nil
		rt.clock.Advance(time.Second)
		if err := rt.StartSession(httptest.NewRecorder(), requestWith(rt.cookies...), madeSession(rt.Client, aliceClaims, "")); err != nil {
			t.Error(err)
		}
	}
	_, err := rt.Refresh(w, requestWith(rt.cookies...))
	rt.clock.Advance(2 * time.Second)
	t.Log("Refresh:", err)
	rt.wantNoSession(t, "the refreshed form of a session that a login had replaced", requestWith(cookiesAfter(rt.cookies, w)...))
}

// A thief uses a copy of the cookie; the person comes back after lunch and signs out.
func TestSessions_ALogoutWithAnIdleCookieEndsItsCopies(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"cookies", "cookies beside a store"} {
		c := newOfflineClient(t, func(cfg *Config) { keptIn[in](cfg); cfg.Provider.Metadata = soundMetadata(nil) })
		mine := c.start(t)
		c.clock.Advance(50 * time.Minute)
		_, copied := serves(c.Middleware(http.HandlerFunc(saySubject)), mine)
		c.clock.Advance(15 * time.Minute)
		c.wantSession(t, "the copy before", requestWith(copied...))
		c.BeginLogout(httptest.NewRecorder(), requestWith(mine...), "")
		c.clock.Advance(2 * time.Second)
		c.wantNoSession(t, in+": the copy after the logout", requestWith(copied...))
	}
}

// The same when the person signs in again.
func TestSessions_ALoginWithAnIdleCookieEndsItsCopies(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, keptIn["cookies beside a store"])
	mine := c.start(t)
	c.clock.Advance(50 * time.Minute)
	_, copied := serves(c.Middleware(http.HandlerFunc(saySubject)), mine)
	c.clock.Advance(15 * time.Minute)
	c.start(t, mine...)
	c.clock.Advance(2 * time.Second)
	c.wantNoSession(t, "the copy after the login", requestWith(copied...))
}

// Two tabs of one session step up at once. The answers may arrive in either order.
func TestSessions_StepUpsInTwoTabsLeaveTheBrowserSignedIn(t *testing.T) {
	t.Parallel()
	for in, keep := range keptIn {
		c := newOfflineClient(t, keep)
		first := c.start(t)
		c.clock.Advance(time.Minute)
		finish := func() []*http.Cookie { // a callback that left the browser with the first cookies
			r := requestWith(first...)
			s := madeSession(c.Client, aliceClaims, "")
			if err := c.sessions.place(t.Context(), r, s); err != nil {
				t.Fatal(err)
			}
			s.login = &freshLogin{forget: func(http.ResponseWriter) {}}
			return c.startSession(t, s, first...)
		}
		one := finish()
		c.clock.Advance(10 * time.Millisecond)
		two := finish()
		c.clock.Advance(2 * time.Second)
		c.wantSession(t, in+": the second", requestWith(two...))
		c.wantSession(t, in+": the first", requestWith(one...))
	}
}

// StartSession twice, the second time by a request that has the session already.
func TestSessions_StartingASessionAgainKeepsIt(t *testing.T) {
	t.Parallel()
	for in, keep := range keptIn {
		c := newOfflineClient(t, keep)
		s := madeSession(c.Client, aliceClaims, "")
		cookies := c.startSession(t, s)
		c.clock.Advance(time.Second)
		cookies = c.startSession(t, s, cookies...)
		c.clock.Advance(2 * time.Second)
		c.wantSession(t, in, requestWith(cookies...))
	}
}

// The result of a refresh that a login overtook is no session.
func TestCookieKeeper_ARefreshOfAReplacedSessionFails(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, func(cfg *Config) { cfg.Tokens.Keep = true; keptIn["cookies beside a store"](cfg) })
	first := c.start(t)
	held, err := c.sessions.load(requestWith(first...))
	if err != nil {
		t.Fatal(err)
	}
	c.clock.Advance(time.Minute)
	c.start(t, first...)
	wantCode(t, c.sessions.keeper.update(t.Context(), held, refreshedFrom(held.session)), CodeNoSession)
}

// The stored form leaves the issuer out: a login at one provider must not become a
// session of a person of another.
func TestStartSession_LoginOfAnotherClientIsRefused(t *testing.T) {
	t.Parallel()
	for what, keep := range keptIn {
		mine := newOfflineClient(t, keep)
		hostile := newOfflineClient(t, func(cfg *Config) { cfg.Issuer = "https://hostile.example" })
		s := madeSession(hostile.Client, `{"iss":"https://hostile.example","sub":"alice","aud":"app"}`, "")
		s.login = &freshLogin{forget: func(http.ResponseWriter) {}}
		w := httptest.NewRecorder()
		wantCode(t, mine.StartSession(w, requestWith(), s), CodeInternal)
		if cookies := w.Result().Cookies(); len(cookies) != 0 {
			t.Errorf("%s: the answer sets %v", what, cookies)
		}
	}
}

// A refresh takes two writes. Whichever of them another replica has seen, a request with
// the older copy of the cookie finds a session.
func TestUpdate_NoRequestFallsBetweenItsWrites(t *testing.T) {
	t.Parallel()
	store := NewHookStore(nil)
	one, two := replicas(t, store, true)
	old, held, next := heldWithTokens(t, one)
	looked := 0
	look := func() (kept, error) {
		store.Before(nil)
		one.clock.Advance(2 * time.Second) // beyond RevocationDelay, so that the marks are looked up
		looked++
		return two.sessions.load(requestWith(old...))
	}
	var before StoreHook
	before = func(_ context.Context, op, key string) error {
		if op != OpSet {
			return nil
		}
		if k, err := look(); err != nil || k.session.renewed != held.session.renewed {
			t.Errorf("before write %d the other replica finds %+v, %v", looked, k.session, err)
		}
		store.Before(before)
		return nil
	}
	store.Before(before)
	if err := one.sessions.keeper.update(t.Context(), held, next); err != nil {
		t.Fatal(err)
	}
	if k, err := look(); err != nil || k.session.renewed != next.renewed || looked != 3 {
		t.Errorf("after %d looks the other replica finds %+v, %v", looked, k.session, err)
	}
}

// heldWithTokens signs in at c, and returns the cookies, the session, and what a refresh
// makes of it.
func heldWithTokens(t *testing.T, c *offlineClient) (cookies []*http.Cookie, held kept, next *Session) {
	t.Helper()
	s := madeSession(c.Client, aliceClaims, "")
	s.tokens = &oauth2.Token{AccessToken: "a", RefreshToken: "r", Expiry: c.clock.Now().Add(time.Minute)}
	s.tokensAt = c.clock.Now()
	cookies = c.startSession(t, s)
	held, err := c.sessions.load(requestWith(cookies...))
	if err != nil || held.session.tokens == nil {
		t.Fatalf("%+v, %v", held.session, err)
	}
	return cookies, held, refreshedFrom(held.session)
}

// Until its mark is written, a refresh does not count.
func TestUpdate_CountsWithItsMarkOnly(t *testing.T) {
	t.Parallel()
	store := NewHookStore(nil)
	one, two := replicas(t, store, true)
	old, held, next := heldWithTokens(t, one)
	mark := supersededMark(held.session).String()
	outage := errors.New("down")
	store.Before(func(_ context.Context, op, key string) error {
		if op == OpSet && strings.HasSuffix(key, mark) {
			return outage
		}
		return nil
	})
	if err := one.sessions.keeper.update(t.Context(), held, next); !errors.Is(err, outage) {
		t.Fatalf("update: %v", err)
	}
	store.Before(nil)
	if s, err := two.sessions.keeper.updated(t.Context(), held); s != nil || err != nil {
		t.Errorf("without the mark, the other replica finds %+v, %v", s, err)
	}
	two.wantSession(t, "the older copy", requestWith(old...))
	if err := one.sessions.keeper.update(t.Context(), held, next); err != nil {
		t.Fatal(err)
	}
	if s, err := two.sessions.keeper.updated(t.Context(), held); err != nil || s == nil || s.renewed != next.renewed {
		t.Errorf("with the mark, the other replica finds %+v, %v", s, err)
	}

	// A later login replaces the session, also if it comes before the mark of a refresh.
	again := held.session.copy()
	again.renewed = next.renewed + 1
	if err := one.sessions.marks.supersede(t.Context(), held.session, replaced, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := one.sessions.keeper.update(t.Context(), held, again); !errors.Is(err, CodeNoSession) {
		t.Errorf("update of a session that was replaced: %v", err)
	}
	if s, err := two.sessions.keeper.updated(t.Context(), held); s != nil || !errors.Is(err, CodeNoSession) {
		t.Errorf("of a session that was replaced, the other replica finds %+v, %v", s, err)
	}
	one.clock.Advance(2 * time.Second)
	two.wantRefusal(t, requestWith(old...), reasonSuperseded)
}
