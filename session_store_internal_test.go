package oidcrp

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

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
func storedSessions(store *memoryStore) (n int) {
	for key := range store.all() {
		if len(key) == 43 {
			n++
		}
	}
	return n
}

// StoredSessions is storedSessions, for package oidcrp_test.
func StoredSessions(store SharedStore) int { return storedSessions(store.(*memoryStore)) }

// storeKeeper returns the keeper of a client whose sessions are in a Store.
func (c *offlineClient) storeKeeper() *storeKeeper { return c.sessions.keeper.(*storeKeeper) }

// stored returns the key that the Store has for handle.
func (k *storeKeeper) stored(handle string) string { return k.store.space + k.key(handle) }

func TestParseHandle_ReadsWhatTheKeeperWrites(t *testing.T) {
	t.Parallel()
	handle := base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	hint := sessionMarks{{1}, {2}, {3}}
	for _, test := range []struct {
		value  string
		ok     bool
		hinted bool
	}{
		{handle + ".1700000000", true, false},
		{handle + ".1700000000." + hint.String(), true, true},
		{handle + ".-1", true, false},
		{"", false, false}, {".", false, false}, {handle, false, false}, {handle + ".", false, false}, {handle + ".x", false, false},
		{handle[:42] + ".1", false, false}, {handle + "A.1", false, false}, {handle + "=.1", false, false},
		{"!" + handle[1:] + ".1", false, false}, {handle + ".99999999999999999999", false, false},
		{handle + ".1.", false, false}, {handle + ".1.1", false, false},
		{handle + ".1." + hint.String() + "A", false, false}, {handle + ".1." + hint.String()[1:], false, false},
		{handle + ".1." + hint.String() + "." + hint.String(), false, false},
	} {
		c, ok := parseHandle(test.value)
		if ok != test.ok || c.hinted != test.hinted {
			t.Errorf("%q: %t, with marks %t", test.value, ok, c.hinted)
		}
		if ok && c.handle != handle || c.hinted && c.hint != hint {
			t.Errorf("%q is read as %+v", test.value, c)
		}
	}
}

func TestStoreKeeper_AStolenStoreHoldsNoSession(t *testing.T) {
	t.Parallel()
	store := newMemoryStore(0, time.Now)
	c := newOfflineClient(t, func(cfg *Config) { cfg.Store, cfg.Tokens.Keep = store, true })
	s := madeSession(c.Client, aliceClaims, `{"sub":"alice","email":"alice@example.org"}`)
	cookies := c.startSession(t, s)
	cookie, ok := parseHandle(cookies[0].Value)
	if !ok || len(cookie.handle) != 43 || !cookie.touched.Equal(c.clock.Now()) || strings.Contains(cookies[0].Value, "alice") {
		t.Fatalf("the cookie is %q", cookies[0].Value)
	}
	if store.size() != 1 {
		t.Fatalf("%d entries", store.size())
	}
	for key, value := range store.all() {
		if strings.Contains(key, cookie.handle) || strings.Contains(cookie.handle, key) {
			t.Error("the key gives the handle away")
		}
		for _, clear := range []string{"alice", "https://op.example", "eidas1", "access", "refresh", cookie.handle} {
			if bytes.Contains(value, []byte(clear)) {
				t.Errorf("the value shows %q", clear)
			}
		}
		for _, purpose := range []string{key, c.cookies.session, cookie.handle} {
			if _, err := c.cookies.keys.current.Load().ring.Open(value, c.cookies.associated(purpose)); err == nil {
				t.Error("the value opens with the cookie keys")
			}
		}
		// A thief's own guess at a cookie: the key.
		c.wantNoSession(t, "the key as a handle", requestWith(&http.Cookie{Name: c.cookies.session, Value: key + ".1"}))
	}
}

// A party that can write to the Store cannot put one person's session in the place
// of another's.
func TestStoreKeeper_AValueIsGoodForItsHandleOnly(t *testing.T) {
	t.Parallel()
	store := newMemoryStore(0, time.Now)
	c := newOfflineClient(t, func(cfg *Config) { cfg.Store = store })
	k := c.storeKeeper()
	mine := c.start(t)
	theirs := c.startSession(t, madeSession(c.Client, `{"sub":"bruno"}`, ""))
	key, other := k.stored(handleOf(t, mine[0])), k.stored(handleOf(t, theirs[0]))

	value := store.all()[other]
	_ = store.Set(t.Context(), key, value, time.Hour)
	c.wantRefusal(t, requestWith(mine...), reasonUnknownKey)
	value = bytes.Clone(value)
	value[len(value)-1] ^= 1
	_ = store.Set(t.Context(), other, value, time.Hour)
	c.wantRefusal(t, requestWith(theirs...), reasonTampered)
	for _, short := range [][]byte{{}, {1}, value[:20]} {
		_ = store.Set(t.Context(), other, short, time.Hour)
		c.wantNoSession(t, "a value that is cut", requestWith(theirs...))
	}
	c.refusals()

	// A value that is of this handle, and in a form of another version.
	third := c.start(t)
	handle := handleOf(t, third[0])
	value, err := c.cookies.keys.sealUnder(handle, []byte{99}, c.cookies.associated(k.key(handle)))
	if err != nil {
		t.Fatal(err)
	}
	_ = store.Set(t.Context(), k.stored(handle), value, time.Hour)
	c.wantRefusal(t, requestWith(third...), reasonMalformed)
}

// A party that can write to the Store, and knows everything but the cookie keys,
// cannot make a session, not even for a handle of its own.
func TestStoreKeeper_AForgedValueIsNoSession(t *testing.T) {
	t.Parallel()
	store := newMemoryStore(0, time.Now)
	c := newOfflineClient(t, func(cfg *Config) { cfg.Store = store })
	thief := newOfflineClient(t, func(cfg *Config) { cfg.Store, cfg.CookieKeys = store, Keys(testKey(9)) })
	forged := thief.startSession(t, madeSession(thief.Client, `{"iss":"https://op.example","sub":"admin","aud":"app"}`, ""))
	thief.wantSession(t, "the thief's own client", requestWith(forged...))
	c.wantRefusal(t, requestWith(forged...), reasonUnknownKey)
}

// Two Clients that share a Store share no sessions, even when a browser gives one
// the other's cookie.
func TestStoreKeeper_AHandleIsGoodForItsClientOnly(t *testing.T) {
	t.Parallel()
	store := newMemoryStore(0, time.Now)
	mine := newOfflineClient(t, func(cfg *Config) { cfg.Store = store })
	cookie := mine.start(t)[0]
	for what, change := range map[string]func(*Config){
		"host":   func(cfg *Config) { cfg.BaseURL = "https://other.example" },
		"port":   func(cfg *Config) { cfg.BaseURL = "https://app.example:8443" },
		"issuer": func(cfg *Config) { cfg.Issuer = "https://other.example" },
		"client": func(cfg *Config) { cfg.ClientID = "other" },
		"prefix": func(cfg *Config) { cfg.PathPrefix = "/other/" },
	} {
		other := newOfflineClient(t, func(cfg *Config) { cfg.Store = store; change(cfg) })
		r := requestWith(&http.Cookie{Name: other.cookies.session, Value: cookie.Value})
		other.wantNoSession(t, "a Client of another "+what, r)
		if got := other.refusals(); len(got) > 0 {
			t.Errorf("a Client of another %s finds the entry, and refuses it for %q", what, got)
		}
		if err := other.EndSession(httptest.NewRecorder(), r); err != nil {
			t.Errorf("a Client of another %s: %v", what, err)
		}
	}
	mine.wantSession(t, "afterwards", requestWith(cookie))
}

func TestStoreKeeper_ACookieWithoutAHandleIsNoSession(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, keptIn["a store"])
	sealed := newOfflineClient(t, nil).start(t)[0].Value
	for _, value := range []string{"x", ".", sealed} {
		c.wantRefusal(t, requestWith(&http.Cookie{Name: c.cookies.session, Value: value}), reasonMalformed)
	}
	// One that was never given out is like one that has expired.
	unknown := strings.Repeat("A", 43) + ".1"
	c.wantNoSession(t, "an unknown handle", requestWith(&http.Cookie{Name: c.cookies.session, Value: unknown}))
	if got := c.refusals(); len(got) > 0 {
		t.Errorf("an unknown handle is reported as %q", got)
	}
}

func TestStoreKeeper_ANewLoginDeletesTheOldEntry(t *testing.T) {
	t.Parallel()
	store := newMemoryStore(0, time.Now)
	c := newOfflineClient(t, func(cfg *Config) { cfg.Store = store })
	first := c.start(t)
	second := c.start(t, first...)
	c.wantNoSession(t, "the old handle", requestWith(first...))
	c.wantSession(t, "the new handle", requestWith(second...))
	if n := storedSessions(store); n != 1 {
		t.Errorf("%d sessions are stored", n)
	}
}

func TestStoreKeeper_APlainStoreKeepsSessionsAlive(t *testing.T) {
	t.Parallel()
	var store *HookStore
	c := newOfflineClient(t, func(cfg *Config) {
		store = NewHookStore(newMemoryStore(0, cfg.Now))
		cfg.Store, cfg.Sessions.IdleTimeout = PlainStore(store), 10*time.Minute
	})
	cookies := c.start(t)
	protected := c.RequireLogin(http.HandlerFunc(saySubject))
	for range 10 {
		c.clock.Advance(9 * time.Minute)
		var w *httptest.ResponseRecorder
		if w, cookies = serves(protected, cookies); w.Code != http.StatusOK {
			t.Fatalf("status %d for someone who comes every 9 minutes", w.Code)
		}
	}
	if n := store.Took(OpSet); n != 11 {
		t.Errorf("the session was set %d times, want 11", n)
	}
	c.clock.Advance(10 * time.Minute)
	c.wantNoSession(t, "idle for 10 minutes", requestWith(cookies...))
}

func TestStoreKeeper_AnEntryExpiresWithItsSession(t *testing.T) {
	t.Parallel()
	var store *memoryStore
	c := newOfflineClient(t, func(cfg *Config) {
		store = newMemoryStore(0, cfg.Now)
		cfg.Store, cfg.Sessions.Lifetime, cfg.Sessions.IdleTimeout = store, time.Hour, 45*time.Minute
	})
	left := func() time.Duration {
		for i := range store.shards {
			for _, entry := range store.shards[i].entries {
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
	serves(c.Middleware(http.HandlerFunc(saySubject)), cookies)
	if got := left(); got != 20*time.Minute {
		t.Errorf("an entry in use, 20 minutes before its session ends, is kept for %v", got)
	}
}

// The time in the cookie spares the Store a write. One that is still to come,
// from a clock that was set back, must not spare all of them.
func TestStoreKeeper_TouchesWhenTheCookieIsFromTheFuture(t *testing.T) {
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
		serves(c.Middleware(http.HandlerFunc(saySubject)), cookies)
		if n := store.Took(OpTouch); n != test.touched {
			t.Errorf("after %v: touched %d times, want %d", test.clock, n, test.touched)
		}
	}
}

func TestStoreKeeper_ATouchThatFailsDoesNotFailTheRequest(t *testing.T) {
	t.Parallel()
	store := NewHookStore(nil)
	store.Fail(errors.New("read-only replica"), OpTouch)
	c := newOfflineClient(t, func(cfg *Config) { cfg.Store = store })
	cookies := c.start(t)
	c.clock.Advance(2 * time.Minute)
	for range 2 {
		w, _ := serves(c.RequireLogin(http.HandlerFunc(saySubject)), cookies)
		if w.Code != http.StatusOK || len(w.Result().Cookies()) > 0 {
			t.Errorf("status %d, cookies %v", w.Code, w.Result().Cookies())
		}
	}
	if n := store.Took(OpTouch); n != 2 {
		t.Errorf("tried %d times, want 2", n)
	}
	if !strings.Contains(c.log.String(), "could not extend a session") {
		t.Error("the log does not say so")
	}
}

func TestStoreKeeper_EveryCallIsBoundedInTime(t *testing.T) {
	t.Parallel()
	cookies := newOfflineClient(t, keptIn["a store"]).start(t)
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(endingPatience + time.Minute) // until EndSession is no longer tried again
		for what, call := range map[string]func(c *offlineClient, s *Session) error{
			"Session": func(c *offlineClient, _ *Session) error { return errOf(c.Session(requestWith(cookies...))) },
			"Check":   func(c *offlineClient, _ *Session) error { return errOf(c.Check(requestWith(cookies...))) },
			"StartSession": func(c *offlineClient, s *Session) error {
				return c.StartSession(httptest.NewRecorder(), requestWith(), s)
			},
			"StartSession over another": func(c *offlineClient, s *Session) error {
				return c.StartSession(httptest.NewRecorder(), requestWith(cookies...), s)
			},
			"EndSession": func(c *offlineClient, _ *Session) error {
				return c.EndSession(httptest.NewRecorder(), requestWith(cookies...))
			},
			"RevokeSession": func(c *offlineClient, s *Session) error { return c.RevokeSession(t.Context(), s.ID()) },
			"Ready":         func(c *offlineClient, _ *Session) error { return c.Ready(t.Context()) },
		} {
			store := NewHookStore(nil)
			store.Hang()
			c := newOfflineClient(t, func(cfg *Config) { cfg.Store = PlainStore(store) })
			start := time.Now() // the bubble's own clock
			err := call(c, madeSession(c.Client, aliceClaims, ""))
			if wantCode(t, err, CodeStoreUnavailable); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", what, err)
			}
			if waited := time.Since(start); waited != c.sessions.settings.StoreTimeout {
				t.Errorf("%s waited %v", what, waited)
			}
		}
	})
}

// Anonymous requests that are given up at once, each with another handle, must not
// keep people out once the Store is back.
func TestStoreKeeper_CanceledRequestsDoNotKeepAStoreClosed(t *testing.T) {
	t.Parallel()
	for what, shared := range map[string]bool{"a SharedStore": true, "a plain Store": false} {
		store := NewHookStore(nil)
		c := newOfflineClient(t, func(cfg *Config) {
			cfg.Store, cfg.Sessions.StoreTimeout = store, time.Millisecond
			if !shared {
				cfg.Store = PlainStore(store)
			}
		})
		handler := c.Middleware(c.RequireLogin(http.HandlerFunc(saySubject)))
		cookies := c.start(t)
		asks := func() int {
			w, _ := serves(handler, cookies)
			return w.Code
		}
		store.Hang()
		for range hangsBeforeOpen {
			if got := asks(); got != http.StatusServiceUnavailable {
				t.Fatalf("%s: with a store that hangs: %d", what, got)
			}
		}
		store.Before(func(ctx context.Context, _, _ string) error { return ctx.Err() }) // it works again
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		flood := func() {
			for range 100 {
				r := requestWith(&http.Cookie{Name: c.cookies.session, Value: randomText() + ".1"})
				handler.ServeHTTP(httptest.NewRecorder(), r.WithContext(gone))
			}
		}
		flood()
		if got := asks(); got != http.StatusServiceUnavailable {
			t.Errorf("%s: before the next probe: %d", what, got)
		}
		c.clock.Advance(breakerPause)
		flood() // the first of them is the probe
		if got := asks(); got != http.StatusOK {
			t.Errorf("%s: after the next probe: %d", what, got)
		}
	}
}

// A Store that hangs holds up a few requests, not all; and nobody waits longer
// than a moment when it is back.
func TestStoreKeeper_LeavesAStoreThatHangsAloneForAMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := NewHookStore(nil)
		c := newOfflineClient(t, func(cfg *Config) { cfg.Store, cfg.Now = store, time.Now })
		cookies := c.start(t)
		ask := func() (time.Duration, error) {
			start := time.Now()
			_, err := c.Session(requestWith(cookies...))
			return time.Since(start), err
		}
		store.Hang(OpGet, OpGetMany)
		for i := range 10 {
			took, err := ask()
			wantCode(t, err, CodeStoreUnavailable)
			if waits := i < hangsBeforeOpen; waits != (took == c.sessions.settings.StoreTimeout) {
				t.Errorf("request %d waited %v", i+1, took)
			}
		}
		store.Before(nil)
		time.Sleep(breakerPause)
		for range 3 {
			if took, err := ask(); err != nil || took != 0 {
				t.Errorf("when it is back: %v after %v", err, took)
			}
		}
	})
}

// A browser that goes away while the Store hangs says nothing about the Store, and
// is not logged as an outage.
func TestStoreKeeper_ACanceledRequestIsNoOutage(t *testing.T) {
	t.Parallel()
	store := NewHookStore(nil)
	c := newOfflineClient(t, func(cfg *Config) { cfg.Store = store })
	cookies := c.start(t)
	store.Hang()
	protected := c.Middleware(c.RequireLogin(http.HandlerFunc(saySubject)))
	for range 2 * hangsBeforeOpen {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := requestWith(cookies...).WithContext(ctx)
		_, err := c.Session(r)
		wantCode(t, err, CodeCanceled)
		_, err = c.Check(r)
		wantCode(t, err, CodeCanceled)
		w := httptest.NewRecorder()
		if protected.ServeHTTP(w, r); w.Code != statusClientClosedRequest {
			t.Errorf("the protected page answered %d", w.Code)
		}
	}
	store.Before(nil)
	c.wantSession(t, "with the Store back", requestWith(cookies...))
	log := c.log.String()
	for _, level := range []string{`"level":"WARN"`, `"level":"ERROR"`, `"level":"INFO"`, string(CodeStoreUnavailable)} {
		if strings.Contains(log, level) {
			t.Errorf("the log has %s:\n%s", level, log)
		}
	}
	if !strings.Contains(log, `"level":"DEBUG"`) || !strings.Contains(log, string(CodeCanceled)) {
		t.Errorf("the log does not say that the request was canceled:\n%s", log)
	}
}

func TestStoreKeeper_ABoundForWhatIsStored(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, keptIn["a store"])
	err := c.StartSession(httptest.NewRecorder(), requestWith(), madeSession(c.Client, aliceClaims, bigClaims(maxStored)))
	if e := wantCode(t, err, CodeSessionTooLarge); !strings.Contains(e.Error(), "picture") {
		t.Errorf("the error does not name the claim: %v", e)
	}
	c.wantSession(t, "100 kB", requestWith(c.startSession(t, madeSession(c.Client, aliceClaims, bigClaims(100_000)))...))
}

// A request that was about to put off the session's end, when it was logged out.
func TestStoreKeeper_ATouchAfterALogoutIsFinal(t *testing.T) {
	t.Parallel()
	for what, store := range map[string]Store{"a store": NewMemoryStore(0), "a plain store": PlainStore(NewMemoryStore(0))} {
		c := newOfflineClient(t, func(cfg *Config) { cfg.Store = store })
		r := requestWith(c.start(t)...)
		c.clock.Advance(2 * time.Minute)
		held, err := c.sessions.load(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.EndSession(httptest.NewRecorder(), r); err != nil {
			t.Fatal(err)
		}
		c.sessions.keeper.touch(r, held)
		c.wantNoSession(t, what, r)
	}
}

// The browser may change the marks in its cookie; that does not hide a logout.
func TestStoreKeeper_TheMarksInACookieAreOnlyAHint(t *testing.T) {
	t.Parallel()
	one, two := replicas(t, NewHookStore(nil), false)
	s := madeSession(one.Client, aliceClaims, "")
	cookie := one.startSession(t, s)[0]
	innocent := one.startSession(t, madeSession(one.Client, `{"iss":"https://op.example","sub":"bruno"}`, ""))[0]
	two.wantSession(t, "another person", requestWith(innocent))
	if err := one.RevokeSession(t.Context(), s.ID()); err != nil {
		t.Fatal(err)
	}
	handle, touched := handleOf(t, cookie), fmt.Sprint(one.clock.Now().Unix())
	theirs := innocent.Value[strings.LastIndexByte(innocent.Value, '.'):]
	zero := "." + sessionMarks{}.String()
	for what, hint := range map[string]string{"none": "", "another person's": theirs, "zero": zero} {
		forged := &http.Cookie{Name: cookie.Name, Value: handle + "." + touched + hint}
		if handleOf(t, forged) != handle {
			t.Fatalf("%s is not taken for a cookie of ours", what)
		}
		two.wantRefusal(t, requestWith(forged), reasonLoggedOut)
	}
}

// replicas are Clients of one app that share a Store and a clock.
func replicas(t *testing.T, store Store, inCookies bool) (one, two *offlineClient) {
	t.Helper()
	config := func(cfg *Config) { cfg.Store, cfg.Sessions.InCookies = store, inCookies }
	one = newOfflineClient(t, config)
	two = newOfflineClient(t, func(cfg *Config) { config(cfg); cfg.Now = one.clock.Now })
	two.clock = one.clock
	return one, two
}

func TestStoreKeeper_ASessionAndItsMarksAreOneRoundTrip(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what          string
		inCookies     bool
		within, after int // RevocationDelay, in round trips
	}{
		{"stored sessions", false, 1, 1},
		{"cookie sessions", true, 0, 1},
	} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			store := NewHookStore(nil)
			c, _ := replicas(t, store, test.inCookies)
			cookies := c.start(t)
			store.Took()
			ask := func(when string, want int) {
				t.Helper()
				c.wantSession(t, when, requestWith(cookies...))
				if n := store.Took(); n != want {
					t.Errorf("%s: %d round trips, want %d", when, n, want)
				}
			}
			ask("the first time", 1)
			ask("at once again", test.within)
			c.clock.Advance(c.sessions.settings.RevocationDelay - 1)
			ask("just within the delay", test.within)
			c.clock.Advance(1)
			ask("after the delay", test.after)
		})
	}
}

// A plain Store is asked for the session, and then for each mark.
func TestStoreKeeper_OneLookupForEachRequest(t *testing.T) {
	t.Parallel()
	store := NewHookStore(nil)
	c := newOfflineClient(t, func(cfg *Config) { cfg.Store = PlainStore(store) })
	cookies := c.start(t)
	route := c.Require(Claim("sub", "alice"))(c.Require(HasClaim("sub"))(http.HandlerFunc(saySubject)))
	var took []int
	for range 2 { // a moment later, the marks need no second look
		store.Took()
		w, _ := serves(c.Middleware(c.Middleware(route)), cookies)
		if w.Code != http.StatusOK {
			t.Errorf("status %d", w.Code)
		}
		took = append(took, store.Took(OpGet))
	}
	if want := []int{4, 1}; !slices.Equal(took, want) {
		t.Errorf("%d lookups, want %d", took, want)
	}
}

// A session in use survives the removal of the key that it was first sealed with, as
// one in a cookie does.
func TestStoreKeeper_AnEntryMovesToTheNewestKey(t *testing.T) {
	t.Parallel()
	keys := [][]byte{testKey(1)}
	source := keySourceFunc(func(context.Context) ([][]byte, error) { return keys, nil })
	c := newOfflineClient(t, func(cfg *Config) {
		cfg.Store, cfg.CookieKeys = newMemoryStore(0, cfg.Now), source
	})
	handler := c.Middleware(http.HandlerFunc(saySubject))
	rotate := func(next ...[]byte) {
		t.Helper()
		keys = next
		c.clock.Advance(2 * keyPause)
		if err := c.cookies.keys.read(); err != nil {
			t.Fatal(err)
		}
	}
	used, unused := c.start(t), c.start(t)
	rotate(testKey(2), testKey(1))
	serves(handler, used)
	rotate(testKey(2))
	c.wantSession(t, "a session in use", requestWith(used...))
	c.wantRefusal(t, requestWith(unused...), reasonUnknownKey)
}

// A refresh that is saved at the same moment would be undone, and its refresh token lost.
func TestStoreKeeper_AnEntryWithTokensIsLeftToTheRefresh(t *testing.T) {
	t.Parallel()
	store := NewHookStore(nil)
	c := newOfflineClient(t, func(cfg *Config) { cfg.Store, cfg.Tokens.Keep = store, true })
	cookies := c.start(t)
	held, err := c.sessions.load(requestWith(cookies...))
	if err != nil {
		t.Fatal(err)
	}
	held.oldKey = true
	store.Took()
	if c.sessions.keeper.touch(requestWith(cookies...), held); store.Took(OpSet) != 0 {
		t.Error("the entry was written")
	}
}
