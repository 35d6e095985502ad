package oidcrp

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// A tokenServer is a provider as far as a refresh needs one. It issues new tokens
// for each refresh token, once.
type tokenServer struct {
	t testing.TB

	mu        sync.Mutex
	spent     map[string]bool // refresh tokens; guarded by mu
	refreshes int             // guarded by mu
	userInfos int             // guarded by mu
	idToken   string          // in the next answers, if not empty; guarded by mu
	fail      map[string]int  // the status that a path answers with, if not 200; guarded by mu
	before    func()          // called before each answer; may be nil
}

func (s *tokenServer) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	if s.before != nil {
		s.before()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	status, answer := http.StatusOK, ""
	switch r.URL.Path {
	case "/token":
		form, _ := url.ParseQuery(string(body))
		answer = s.newTokens(form.Get("refresh_token"))
	case "/userinfo":
		s.userInfos++
		answer = fmt.Sprintf(`{"sub":"alice","email":"alice%d@example.org"}`, s.userInfos)
	}
	if failed := s.fail[r.URL.Path]; failed != 0 {
		status, answer = failed, `{"error":"invalid_grant"}`
	}
	w := httptest.NewRecorder()
	respond(status, "application/json", answer)(w, r)
	return w.Result(), nil
}

func (s *tokenServer) newTokens(refreshToken string) string {
	if s.spent[refreshToken] {
		s.t.Errorf("the refresh token %q was used twice", refreshToken)
	}
	if s.fail["/token"] == 0 {
		s.spent[refreshToken] = true
	}
	s.refreshes++
	idToken := ""
	if s.idToken != "" {
		idToken = fmt.Sprintf(`,"id_token":%q`, s.idToken)
	}
	return fmt.Sprintf(`{"access_token":"access-%d","token_type":"Bearer","refresh_token":"refresh-%d","expires_in":3600%s}`,
		s.refreshes, s.refreshes, idToken)
}

// fails makes path answer with status; 0 makes it well again.
func (s *tokenServer) fails(path string, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail[path] = status
}

// took returns how many refreshes and UserInfo requests there were, and counts
// from zero again.
func (s *tokenServer) took() (refreshes, userInfos int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	refreshes, userInfos = s.refreshes, s.userInfos
	s.refreshes, s.userInfos = 0, 0
	return refreshes, userInfos
}

// A refreshTest has a client whose provider is a tokenServer, and a session of it.
type refreshTest struct {
	*offlineClient
	server  *tokenServer
	store   *HookStore // nil if there is none
	cookies []*http.Cookie
	held    kept
	events  []SessionEvent
}

// newRefreshTest signs alice in. in names a way of keeping sessions.
func newRefreshTest(t *testing.T, in string, change func(*Config)) *refreshTest {
	t.Helper()
	rt := &refreshTest{server: &tokenServer{t: t, spent: make(map[string]bool), fail: make(map[string]int)}}
	rt.offlineClient = newOfflineClient(t, func(cfg *Config) {
		keptIn[in](cfg)
		if shared, ok := cfg.Store.(SharedStore); ok {
			rt.store = NewHookStore(shared)
			cfg.Store = rt.store
		}
		cfg.Tokens.Keep = true
		cfg.Provider.Metadata, cfg.Provider.Transport = soundMetadata(nil), rt.server
		cfg.Trace.SessionRefreshed = collect(&rt.events)
		if change != nil {
			change(cfg)
		}
	})
	rt.cookies = rt.start(t)
	var err error
	if rt.held, err = rt.sessions.load(requestWith(rt.cookies...)); err != nil {
		t.Fatal(err)
	}
	return rt
}

// largest returns the largest session that a login can keep.
func (rt *refreshTest) largest() (s *Session) {
	for n := 1000; ; n++ {
		next := madeSession(rt.Client, aliceClaims, bigClaims(n))
		if rt.sessions.keeper.fits(next.grown()) != nil {
			return s
		}
		s = next
	}
}

// together refreshes the session.
func (rt *refreshTest) together(t *testing.T, userInfo bool) refreshed {
	t.Helper()
	next, err := rt.refresher.together(t.Context(), rt.held, userInfo)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// wantTook fails the test unless there were so many requests since the last call.
func (rt *refreshTest) wantTook(t *testing.T, what string, refreshes, userInfos int) {
	t.Helper()
	if gotRefreshes, gotUserInfos := rt.server.took(); gotRefreshes != refreshes || gotUserInfos != userInfos {
		t.Errorf("%s: %d refreshes and %d UserInfo requests, want %d and %d", what, gotRefreshes, gotUserInfos, refreshes, userInfos)
	}
}

func TestTogether_OneRefreshForAllCallers(t *testing.T) {
	t.Parallel()
	for in := range keptIn {
		t.Run(in, func(t *testing.T) {
			t.Parallel()
			rt := newRefreshTest(t, in, nil)
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					next, err := rt.refresher.together(t.Context(), rt.held, true)
					if err != nil || next.session.tokens.AccessToken != "access-1" || !next.userInfo || next.unsaved != nil || next.stale != nil {
						t.Errorf("refreshed: %+v, %v", next, err)
					}
				})
			}
			wg.Wait()
			rt.wantTook(t, "ten callers", 1, 1)
			if len(rt.events) != 1 || rt.events[0].Err != nil || !rt.events[0].Rotated || rt.events[0].SessionID != rt.held.session.ID() {
				t.Errorf("the events are %+v", rt.events)
			}
			rt.together(t, true)
			rt.wantTook(t, "one that comes late", 0, 0)
		})
	}
}

// The Store did not take the new tokens, which only this process has then.
func TestTogether_WhatIsUnsavedIsNotRefreshedAgain(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"a store", "cookies beside a store"} {
		t.Run(in, func(t *testing.T) {
			t.Parallel()
			rt := newRefreshTest(t, in, nil)
			rt.store.Fail(errors.New("disk full"), OpSet)
			for i := range 3 {
				next := rt.together(t, true)
				if wantCode(t, next.unsaved, CodeStoreUnavailable); next.session.tokens.RefreshToken != "refresh-1" {
					t.Errorf("call %d: the tokens are %+v", i+1, next.session.tokens)
				}
			}
			rt.wantTook(t, "while the Store fails", 1, 0)
			if len(rt.events) != 1 || !errors.Is(rt.events[0].Err, CodeStoreUnavailable) {
				t.Errorf("the events are %+v", rt.events)
			}
			rt.store.Before(nil)
			if next := rt.together(t, false); next.unsaved != nil || next.session.tokens.AccessToken != "access-1" {
				t.Errorf("with the Store back: %+v", next)
			}
			rt.wantTook(t, "with the Store back", 0, 0)
			newer, err := rt.sessions.keeper.updated(t.Context(), rt.held)
			if err != nil || newer == nil || newer.tokens.AccessToken != "access-1" {
				t.Errorf("the Store has %v, %v", newer, err)
			}
		})
	}
}

// A logout that came before the Store could take the new tokens is final.
func TestTogether_WhatIsUnsavedDoesNotOutlastALogout(t *testing.T) {
	t.Parallel()
	rt := newRefreshTest(t, "a store", nil)
	rt.store.Fail(errors.New("disk full"), OpSet)
	rt.together(t, false)
	rt.store.Before(nil)
	if err := rt.EndSession(httptest.NewRecorder(), requestWith(rt.cookies...)); err != nil {
		t.Fatal(err)
	}
	_, err := rt.refresher.together(t.Context(), rt.held, false)
	wantCode(t, err, CodeNoSession)
	rt.wantTook(t, "in all", 1, 0)
}

// The tokens are new and the claims are not: UserInfo failed, or the keys of the
// new ID Token could not be had.
func TestTogether_WhatIsStaleIsNotRefreshedAgain(t *testing.T) {
	t.Parallel()
	for what, breaks := range map[string]func(*tokenServer){
		"UserInfo": func(s *tokenServer) { s.fails("/userinfo", http.StatusServiceUnavailable) },
		"the keys": func(s *tokenServer) {
			s.idToken = madeJWS(aliceClaims)
			s.fails("/jwks", http.StatusServiceUnavailable)
		},
	} {
		for in := range keptIn {
			t.Run(what+" in "+in, func(t *testing.T) {
				t.Parallel()
				rt := newRefreshTest(t, in, func(cfg *Config) { cfg.Registration.IDTokenSignedResponseAlg = "ES256" })
				breaks(rt.server)
				for i := range 3 {
					next := rt.together(t, true)
					wantCode(t, next.stale, CodeProviderUnavailable)
					if next.unsaved != nil || next.userInfo || next.session.tokens.AccessToken != "access-1" || next.session.Subject() != "alice" {
						t.Errorf("call %d: %+v", i+1, next)
					}
				}
				if refreshes, _ := rt.server.took(); refreshes != 1 {
					t.Errorf("%d refreshes", refreshes)
				}
				if len(rt.events) != 1 || !errors.Is(rt.events[0].Err, CodeProviderUnavailable) {
					t.Errorf("the events are %+v", rt.events)
				}
				// Refresh says so, and the browser has the new tokens all the same.
				w := httptest.NewRecorder()
				_, err := rt.Refresh(w, requestWith(rt.cookies...))
				if wantCode(t, err, CodeProviderUnavailable); in == "cookies" {
					s := rt.wantSession(t, "afterwards", requestWith(cookiesAfter(rt.cookies, w)...))
					if s.Token().AccessToken != "access-1" {
						t.Errorf("the browser has %+v", s.Token())
					}
				}
			})
		}
	}
}

// Middleware refreshed the tokens alone; then a caller wants new claims too.
func TestTogether_ClaimsAfterTokens(t *testing.T) {
	t.Parallel()
	for in := range keptIn {
		t.Run(in, func(t *testing.T) {
			t.Parallel()
			rt := newRefreshTest(t, in, nil)
			if next := rt.together(t, false); next.userInfo || next.session.own.text != "" {
				t.Errorf("the tokens alone: %+v", next)
			}
			rt.wantTook(t, "the tokens alone", 1, 0)
			for range 2 {
				if next := rt.together(t, true); !next.userInfo || next.session.claim("email") != "alice1@example.org" ||
					next.session.tokens.AccessToken != "access-1" {
					t.Errorf("with the claims: %+v", next)
				}
			}
			rt.wantTook(t, "with the claims", 0, 1)
		})
	}
}

// Where the Store cannot hold a lease, two replicas may ask at once, and the
// provider takes the refresh token from the other one only.
func TestTogether_TakesWhatAnotherReplicaGotMeanwhile(t *testing.T) {
	t.Parallel()
	for in := range keptIn {
		rt := newRefreshTest(t, in, nil)
		if rt.refresher.shared == nil {
			continue
		}
		rt.server.fails("/token", http.StatusBadRequest)
		rt.server.before = func() {
			if err := rt.sessions.keeper.update(t.Context(), rt.held, refreshedFrom(rt.held.session)); err != nil {
				t.Error(err)
			}
		}
		if next := rt.together(t, false); next.session.tokens.AccessToken != "new access" {
			t.Errorf("in %s: the tokens are %+v", in, next.session.tokens)
		}
		rt.wantTook(t, "in "+in, 1, 0)
	}
}

// UserInfo is about another person. The tokens are good nevertheless, and the old
// refresh token is spent.
func TestTogether_RefusedUserInfoLeavesTheOldClaims(t *testing.T) {
	t.Parallel()
	for in := range keptIn {
		rt := newRefreshTest(t, in, nil)
		rt.server.fails("/userinfo", http.StatusBadRequest)
		for range 2 {
			next := rt.together(t, true)
			if next.refused == nil || next.session.tokens.AccessToken != "access-1" || next.userInfo || next.session.own.text != "" {
				t.Errorf("in %s: %+v", in, next)
			}
		}
		rt.wantTook(t, "in "+in, 1, 1)
	}
}

// A refresh token that the provider has refused is not sent again, one for which
// it failed is.
func TestTogether_RemembersARefusal(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status    int
		code      Code
		refreshes int // for two calls
	}{
		{http.StatusBadRequest, CodeLoginRequired, 1},
		{http.StatusServiceUnavailable, CodeProviderUnavailable, 2},
	} {
		rt := newRefreshTest(t, "cookies", nil)
		rt.server.fails("/token", test.status)
		for range 2 {
			_, err := rt.refresher.together(t.Context(), rt.held, true)
			wantCode(t, err, test.code)
		}
		rt.wantTook(t, string(test.code), test.refreshes, 0)
		if s := rt.wantSession(t, "afterwards", requestWith(rt.cookies...)); s.Token().AccessToken != "access" {
			t.Errorf("the session has %+v", s.Token())
		}
	}
}

func TestTogether_NeedsARefreshToken(t *testing.T) {
	t.Parallel()
	rt := newRefreshTest(t, "cookies", nil)
	for _, change := range []func(*Session){
		func(s *Session) { s.tokens = nil },
		func(s *Session) { tokens := *s.tokens; tokens.RefreshToken = ""; s.tokens = &tokens },
	} {
		s := rt.held.session.copy()
		change(s)
		_, err := rt.refresher.together(t.Context(), kept{session: s}, true)
		wantCode(t, err, CodeLoginRequired)
	}
	rt.wantTook(t, "without a refresh token", 0, 0)
}

func TestCheckSameLogin_ContinuesTheFirst(t *testing.T) {
	t.Parallel()
	const first = `{"iss":"https://op.example","sub":"alice","aud":["app","api"],"azp":"app","iat":1700000100,` +
		`"auth_time":1700000000,"sid":"s","nonce":"n"}`
	c := newOfflineClient(t, nil)
	s := madeSession(c.Client, first, "")
	for _, test := range []struct {
		what, claims, check string // check is empty if the token is accepted
	}{
		{"the same", first, ""},
		{"in another order", strings.Replace(first, `"app","api"`, `"api","app"`, 1), ""},
		{"no auth_time", strings.Replace(first, `"auth_time":1700000000,`, ``, 1), ""},
		{"no nonce", strings.Replace(first, `,"nonce":"n"`, ``, 1), ""},
		{"another sub", strings.Replace(first, `alice`, `bruno`, 1), "sub"},
		{"one audience less", strings.Replace(first, `,"api"`, ``, 1), "aud"},
		{"one audience more", strings.Replace(first, `"api"`, `"api","other"`, 1), "aud"},
		{"another azp", strings.Replace(first, `"azp":"app"`, `"azp":"api"`, 1), "azp"},
		{"an earlier auth_time", strings.Replace(first, `1700000000`, `1699999999`, 1), "auth_time"},
		{"a later auth_time in the same session of the provider", strings.Replace(first, `1700000000`, `1700000001`, 1), ""},
		{"a later auth_time in another one", strings.NewReplacer(`1700000000`, `1700000001`, `"s"`, `"t"`).Replace(first), "auth_time"},
		{"a later auth_time without sid", strings.NewReplacer(`1700000000`, `1700000001`, `"sid":"s",`, ``).Replace(first), "auth_time"},
		{"a later iat", strings.Replace(first, `1700000100`, `1700000200`, 1), ""},
		{"an earlier iat", strings.Replace(first, `1700000100`, `1700000099`, 1), "iat"},
		{"another nonce", strings.Replace(first, `"n"}`, `"m"}`, 1), "nonce"},
	} {
		token, err := readIDToken([]byte(test.claims))
		if err != nil {
			t.Fatal(err)
		}
		err = checkSameLogin(token, s)
		var refused *TokenError
		if ok := errors.As(err, &refused); ok != (test.check != "") || ok && refused.Check != test.check {
			t.Errorf("%s: %v, want a refusal for %q", test.what, err, test.check)
		}
	}
}

func TestDue_IsAboutToExpire(t *testing.T) {
	t.Parallel()
	rt := newRefreshTest(t, "cookies", nil)
	issued := rt.clock.Now()
	for _, test := range []struct {
		what   string
		life   time.Duration
		before time.Duration
		after  time.Duration // since it was issued
		due    bool
	}{
		{"long before", time.Hour, 5 * time.Minute, 55*time.Minute - 1, false},
		{"in time", time.Hour, 5 * time.Minute, 55 * time.Minute, true},
		{"afterwards", time.Hour, 5 * time.Minute, 2 * time.Hour, true},
		{"a short life, in its first half", time.Minute, 5 * time.Minute, 30*time.Second - 1, false},
		{"a short life, in its second half", time.Minute, 5 * time.Minute, 30 * time.Second, true},
	} {
		s := rt.held.session.copy()
		tokens := *s.tokens
		tokens.Expiry = issued.Add(test.life)
		s.tokens, s.tokensAt = &tokens, issued
		rt.clock.Advance(test.after)
		if got := rt.refresher.due(s, test.before); got != test.due {
			t.Errorf("%s: due is %t", test.what, got)
		}
		rt.clock.Advance(-test.after)
	}
	without := rt.held.session.copy()
	without.tokens = nil
	if rt.refresher.due(without, time.Hour) {
		t.Error("a session without tokens is due")
	}
	forever := rt.held.session.copy()
	tokens := *forever.tokens
	tokens.Expiry = time.Time{}
	forever.tokens = &tokens
	if rt.refresher.due(forever, time.Hour) || rt.refresher.tokenExpired(forever) {
		t.Error("a token without an end is due, or has expired")
	}
}

// expires_in is optional (RFC 6749 section 5.1). Without it, nothing is known about the
// end of the access token, and the session keeps its own.
func TestEndWithToken_NeverProlongsASession(t *testing.T) {
	t.Parallel()
	for in := range keptIn {
		rt := newRefreshTest(t, in, func(c *Config) { c.Tokens.RefreshBefore = time.Minute })
		s := rt.held.session.copy()
		s.ceiling = rt.clock.Now().Add(30 * time.Minute).Truncate(time.Second)
		tokens := *s.tokens
		tokens.Expiry = time.Time{}
		s.tokens = &tokens
		end := s.ExpiresAt()
		found := &requestSession{handle: rt.held.handle}
		rt.refresher.endWithToken(t.Context(), found,
			kept{session: s, handle: rt.held.handle}, &Error{Op: "userinfo", Code: CodeUserInfoRefused})
		got := found.session.Load()
		if got == nil || !got.ExpiresAt().Equal(end) || got.tokens.RefreshToken != "" {
			t.Errorf("in %s: the session is %v, and ends at %v, want %v", in, got, got.ExpiresAt(), end)
		}
	}
}

// Dex says invalid_request where RFC 6749 section 5.2 wants invalid_grant.
func TestAsLoginRequired_KnowsADeadRefreshToken(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		code, description string
		dead              bool
	}{
		{"invalid_grant", "", true},
		{"invalid_request", "Refresh token is invalid or has already been claimed by another client.", true},
		{"invalid_request", "Refresh token expired.", true},
		{"invalid_request", "The refresh_token was revoked", true},
		{"invalid_request", "Required param: grant_type.", false},
		{"invalid_request", "refresh token grant is not enabled", false},
		{"invalid_request", "the request is invalid", false},
		{"invalid_client", "Refresh token expired.", false},
		{"server_error", "Refresh token is invalid", false},
	} {
		err := fail("token", CodeProviderError, newProviderError("token", 400, test.code, test.description, ""))
		if got := errors.Is(asLoginRequired(err), CodeLoginRequired); got != test.dead {
			t.Errorf("%s, %s: a new login is required: %t", test.code, test.description, got)
		}
	}
}

// The provider refuses the refresh token and every new login (the account is disabled).
// The session's cookie stays although the middleware says that nobody is signed in.
func TestRefreshFailure_ADisabledPersonIsNotSentRoundForEver(t *testing.T) {
	t.Parallel()
	for in := range keptIn {
		t.Run(in, func(t *testing.T) {
			rt := newRefreshTest(t, in, func(cfg *Config) {
				cfg.Tokens.RefreshBefore, cfg.Sessions.IdleTimeout = time.Minute, 12*time.Hour
			})
			app := rt.Middleware(rt.RequireLogin(http.HandlerFunc(saySubject)))
			rt.server.fails("/token", http.StatusBadRequest)
			rt.clock.Advance(61 * time.Minute)
			cookies := rt.cookies
			visit := func(target string) string {
				r := httptest.NewRequest(http.MethodGet, target, nil)
				r.Header.Set("Sec-Fetch-Mode", "navigate")
				r.Header.Set("Sec-Fetch-Dest", "document")
				for _, c := range cookies {
					r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
				}
				w := httptest.NewRecorder()
				app.ServeHTTP(w, r)
				cookies = cookiesAfter(cookies, w)
				return w.Result().Header.Get("Location")
			}
			rounds := 0
			for next := "https://app.example/me"; next != "" && rounds < 20; rounds++ {
				at := visit(next)
				u, err := url.Parse(at)
				if err != nil || u.Host != "op.example" {
					t.Fatalf("%s leads to %q", next, at)
				}
				back := url.Values{"error": {"access_denied"}, "state": {u.Query().Get("state")}, "iss": {"https://op.example"}}
				next = visit(u.Query().Get("redirect_uri") + "?" + back.Encode())
				rt.clock.Advance(time.Second)
			}
			if rounds == 20 {
				t.Errorf("the browser went round between the app and the provider %d times and was never told", rounds)
			}
		})
	}
}

// A session at the edge of its budget is refreshed: the new refresh token has nowhere to go.
func TestRefresh_AtTheBudgetLosesNoRefreshToken(t *testing.T) {
	t.Parallel()
	rt := newRefreshTest(t, "cookies", func(cfg *Config) {
		cfg.Sessions.MaxCookieBytes, cfg.Tokens.RefreshBefore = 3000, 10*time.Minute
	})
	cookies := rt.startSession(t, rt.largest())
	handler := rt.Middleware(http.HandlerFunc(saySubject))
	rt.clock.Advance(55 * time.Minute)
	_, after := serves(handler, cookies)
	got := rt.wantSession(t, "after the refresh", requestWith(after...))
	if refreshes, _ := rt.server.took(); refreshes != 1 || got.tokens.RefreshToken == "refresh" {
		t.Errorf("%d refreshes, and the browser still has the spent refresh token %q", refreshes, got.tokens.RefreshToken)
	}
	rt.clock.Advance(2 * time.Minute)
	serves(handler, after) // tokenServer reports a refresh token that is used twice
	if n := strings.Count(rt.log.String(), "could not save"); n > 0 {
		t.Errorf("%d times the session could not be saved, and nothing told the person", n)
	}
}

// The same beside a Store: the copy in the browser is superseded, and stays so.
func TestRefresh_AtTheBudgetBesideAStore(t *testing.T) {
	t.Parallel()
	rt := newRefreshTest(t, "cookies beside a store", func(cfg *Config) {
		cfg.Sessions.MaxCookieBytes, cfg.Tokens.RefreshBefore = 3000, 10*time.Minute
	})
	cookies := rt.startSession(t, rt.largest())
	handler := rt.Middleware(http.HandlerFunc(saySubject))
	rt.clock.Advance(55 * time.Minute)
	for range 10 {
		_, cookies = serves(handler, cookies)
		rt.clock.Advance(time.Minute)
	}
	if n := strings.Count(rt.log.String(), "could not save"); n > 1 {
		t.Errorf("%d requests, %d warnings", 10, n)
	}
	rt.clock.Advance(50 * time.Minute)
	_, cookies = serves(handler, cookies)
	rt.wantSession(t, "in use all the time but for 51 minutes", requestWith(cookies...))
}
