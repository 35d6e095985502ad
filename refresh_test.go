package oidcrp_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/internal/once"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

// A refreshApp is a testApp that keeps tokens and refreshes them on POST
// /refresh, which says what the session is then.
type refreshApp struct {
	*testApp
	events func() []oidcrp.SessionEvent // the SessionRefreshed events so far
}

// refreshAnswer is what /refresh and /session say.
type refreshAnswer struct {
	Code                 oidcrp.Code
	Access, Refresh, Sub string
	Email                string
	IssuedAt             int64
	Created, Ends        int64
}

func newRefreshApp(t *testing.T, s setup) *refreshApp {
	t.Helper()
	var mu sync.Mutex
	var events []oidcrp.SessionEvent // guarded by mu
	change := s.config
	s.config = func(cfg *oidcrp.Config) {
		cfg.Tokens.Keep = true
		cfg.Trace.SessionRefreshed = func(_ context.Context, ev oidcrp.SessionEvent) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, ev)
		}
		if change != nil {
			change(cfg)
		}
	}
	s.routes = func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.HandleFunc("POST /refresh", func(w http.ResponseWriter, r *http.Request) {
			answerRefreshed(w, func() (*oidcrp.Session, error) { return c.Refresh(w, r) })
		})
		mux.HandleFunc("/session", func(w http.ResponseWriter, r *http.Request) {
			answerRefreshed(w, func() (*oidcrp.Session, error) { return c.Session(r) })
		})
	}
	return &refreshApp{testApp: newTestApp(t, s), events: func() []oidcrp.SessionEvent {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(events)
	}}
}

func answerRefreshed(w http.ResponseWriter, get func() (*oidcrp.Session, error)) {
	s, err := get()
	var answer refreshAnswer
	if err != nil {
		answer.Code = oidcrp.CodeOf(err)
	} else {
		answer.Sub, answer.Created, answer.Ends = s.Subject(), s.CreatedAt().Unix(), s.ExpiresAt().Unix()
		if token := s.Token(); token != nil {
			answer.Access, answer.Refresh = token.AccessToken, token.RefreshToken
		}
		var claims struct {
			Email    string `json:"email"`
			IssuedAt int64  `json:"iat"`
		}
		_ = s.Claims(&claims)
		answer.Email, answer.IssuedAt = claims.Email, claims.IssuedAt
	}
	json.NewEncoder(w).Encode(answer)
}

func (a *refreshApp) refresh(t *testing.T, browser *http.Client) refreshAnswer {
	t.Helper()
	_, body := a.asks(t, browser, "POST", "/refresh")
	return decodeRefreshed(t, body)
}

func (a *refreshApp) session(t *testing.T, browser *http.Client) refreshAnswer {
	t.Helper()
	_, body := a.asks(t, browser, "GET", "/session")
	return decodeRefreshed(t, body)
}

func decodeRefreshed(t *testing.T, body string) refreshAnswer {
	t.Helper()
	var answer refreshAnswer
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return answer
}

func TestRefresh_RenewsTheSession(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what  string
		store oidcrp.Store
	}{{"in cookies", nil}, {"in a store", oidcrp.NewMemoryStore(0)}, {"in a plain store", oidcrp.PlainStore(oidcrp.NewMemoryStore(0))}} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) { cfg.Store = test.store }})
			browser := app.signIn(t)
			before := app.session(t, browser)
			app.clock.Advance(10 * time.Minute)
			userInfos := app.provider.Count(oidctest.EndpointUserInfo)
			after := app.refresh(t, browser)
			if after.Code != "" || after.Access == before.Access || after.Refresh == before.Refresh ||
				after.IssuedAt != before.IssuedAt+600 {
				t.Errorf("from\n%+v to\n%+v", before, after)
			}
			if after.Sub != "alice" || after.Email != "alice@example.org" ||
				app.provider.Count(oidctest.EndpointUserInfo) != userInfos+1 {
				t.Errorf("UserInfo was not fetched again: %+v", after)
			}
			if after.Created != before.Created || after.Ends != before.Ends {
				t.Error("the lifetime of the session changed")
			}
			if now := app.session(t, browser); now != after {
				t.Errorf("saved is\n%+v, not\n%+v", now, after)
			}
			app.clock.Advance(5 * time.Minute)
			if again := app.refresh(t, browser); again.Code != "" || again.Access == after.Access {
				t.Errorf("the second refresh: %+v", again)
			}
			if events := app.events(); len(events) != 2 || events[1] != (oidcrp.SessionEvent{
				Issuer: app.provider.Issuer(), SessionID: events[0].SessionID, Subject: "alice", Rotated: true,
			}) || events[0].SessionID == "" {
				t.Errorf("events: %+v", events)
			}
		})
	}
}

func TestRefresh_SendsTheRefreshTokenAndNoMore(t *testing.T) {
	t.Parallel()
	app := newRefreshApp(t, setup{})
	browser := app.signIn(t)
	before := app.session(t, browser)
	app.refresh(t, browser)
	requests := app.provider.RequestsTo(oidctest.EndpointToken)
	form := requests[len(requests)-1].Form
	if form.Get("grant_type") != "refresh_token" || form.Get("refresh_token") != before.Refresh || len(form) != 2 {
		t.Errorf("sent %v", form)
	}
	if header := requests[len(requests)-1].Header; !strings.HasPrefix(header.Get("Authorization"), "Basic ") {
		t.Errorf("the client did not authenticate: %v", header)
	}
}

func TestRefresh_ATokenThatStaysTheSameIsUsedAgain(t *testing.T) {
	t.Parallel()
	for _, store := range []oidcrp.Store{nil, oidcrp.NewMemoryStore(0)} {
		app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) { cfg.Store = store }})
		browser := app.signIn(t)
		app.provider.Misbehave(fault.RefreshNoNewToken)
		before := app.session(t, browser)
		first := app.refresh(t, browser)
		second := app.refresh(t, browser)
		if first.Refresh != before.Refresh || second.Refresh != before.Refresh || second.Code != "" {
			t.Errorf("%+v, %+v, %+v", before, first, second)
		}
		if first.Access == before.Access || second.Access == first.Access {
			t.Error("the access token did not change")
		}
		if events := app.events(); len(events) != 2 || events[0].Rotated {
			t.Errorf("events: %+v", events)
		}
	}
}

// refreshFaults are what a provider can get wrong, and what becomes of the refresh.
var refreshFaults = []struct {
	fault fault.Fault
	code  oidcrp.Code // "" when it is accepted
	again oidcrp.Code // of the next refresh, from a provider that is well again
}{
	// The provider of these tests rotates refresh tokens, so what it had
	// refreshed before the fault has spent the old one.
	{fault.RefreshInvalidGrant, oidcrp.CodeLoginRequired, oidcrp.CodeLoginRequired},
	{fault.RefreshServerError, oidcrp.CodeProviderUnavailable, oidcrp.CodeLoginRequired},
	{fault.AtRefresh(fault.TokenInvalidClient), oidcrp.CodeClientRefused, oidcrp.CodeLoginRequired},
	{fault.AtRefresh(fault.TokenNoAccessToken), oidcrp.CodeProviderInvalid, oidcrp.CodeLoginRequired},
	{fault.RefreshOtherSub, oidcrp.CodeTokenRefused, oidcrp.CodeLoginRequired},
	{fault.RefreshInvalidRequest, oidcrp.CodeLoginRequired, oidcrp.CodeLoginRequired},

	// An ID Token that cannot be used: the new refresh token is kept, and the
	// access token beside it is not.
	{fault.RefreshWrongIss, oidcrp.CodeTokenRefused, ""},
	{fault.RefreshWrongAud, oidcrp.CodeTokenRefused, ""},
	{fault.RefreshBadSignature, oidcrp.CodeTokenRefused, ""},
	{fault.AtRefresh(fault.IDTokenWrongAzp), oidcrp.CodeTokenRefused, ""},
	{fault.AtRefresh(fault.IDTokenOwnAzp), oidcrp.CodeTokenRefused, ""},
	{fault.AtRefresh(fault.IDTokenOldAuthTime), oidcrp.CodeTokenRefused, ""},
	{fault.RefreshEarlierAuthTime, oidcrp.CodeTokenRefused, ""},
	{fault.RefreshOlderIat, oidcrp.CodeTokenRefused, ""},
	{fault.AtRefresh(fault.IDTokenTypAccessToken), oidcrp.CodeTokenRefused, ""},
	{fault.AtRefresh(fault.IDTokenExpired), oidcrp.CodeTokenRefused, ""},
	{fault.AtRefresh(fault.IDTokenWrongAtHash), oidcrp.CodeTokenRefused, ""},

	{fault.RefreshNoIDToken, "", ""},
	{fault.AtRefresh(fault.IDTokenMissingAuthTime), "", ""},
	{fault.AtRefresh(fault.IDTokenMissingAtHash), "", ""},
	{fault.AtRefresh(fault.IDTokenArrayAud), "", ""},
	{fault.AtRefresh(fault.TokenNoExpiresIn), "", ""},

	// New tokens and no UserInfo that can be used: the tokens are kept, since the
	// old refresh token is spent, and so are the old claims.
	{fault.UserInfoWrongSub, oidcrp.CodeUserInfoRefused, ""},
	{fault.UserInfoUnauthorized, oidcrp.CodeProviderError, ""},
	{fault.UserInfoServerError, oidcrp.CodeProviderUnavailable, ""},
	{fault.Transport(oidctest.EndpointUserInfo, fault.Unavailable), oidcrp.CodeProviderUnavailable, ""},
}

func TestRefresh_WhatCanGoWrong(t *testing.T) {
	t.Parallel()
	for _, test := range refreshFaults {
		t.Run(strings.ReplaceAll(test.fault.Name, "/", " "), func(t *testing.T) {
			t.Parallel()
			var store oidcrp.Store
			if test.fault.Name < "r" { // some of them in a store, for both sorts of session
				store = oidcrp.PlainStore(oidcrp.NewMemoryStore(0))
			}
			app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) { cfg.Store = store }})
			browser := app.signIn(t)
			before := app.session(t, browser)
			app.provider.Misbehave(test.fault)
			if got := app.refresh(t, browser); got.Code != test.code {
				t.Errorf("refresh says %q, want %q", got.Code, test.code)
			}
			if got := app.who(t, browser, "/me"); got.Sub != "alice" {
				t.Errorf("the session is %+v", got)
			}
			after := app.session(t, browser)
			usable := test.code == "" || test.fault.Endpoint == oidctest.EndpointUserInfo
			if replaced := after.Access != before.Access; replaced != usable {
				t.Errorf("the session's access token was replaced: %t", replaced)
			}
			if replaced := after.Refresh != before.Refresh; replaced != (test.again == "") {
				t.Errorf("the session's refresh token was replaced: %t", replaced)
			}
			if after.Email != before.Email || after.Created != before.Created {
				t.Errorf("the session changed from\n%+v to\n%+v", before, after)
			}
			if events := app.events(); len(events) != 1 || (events[0].Err == nil) != (test.code == "") {
				t.Errorf("events: %+v", events)
			}
			app.provider.Misbehave()
			if got := app.refresh(t, browser); got.Code != test.again {
				t.Errorf("the next refresh says %q, want %q", got.Code, test.again)
			}
		})
	}
}

// Keycloak sends a later auth_time after the person has authenticated again, for
// another app of the same session at the provider.
func TestRefresh_ALaterAuthenticationElsewhereIsAccepted(t *testing.T) {
	t.Parallel()
	for kept, keep := range oidcrp.KeptIn {
		app := newRefreshApp(t, setup{config: keep})
		browser := app.signIn(t)
		before := app.sessionOf(t, browser)
		app.provider.Misbehave(fault.RefreshLaterAuthTime)
		for i := range 2 {
			if got := app.refresh(t, browser); got.Code != "" || got.Sub != "alice" {
				t.Errorf("in %s: refresh %d returned %+v\n%s", kept, i+1, got, app.log)
			}
			app.clock.Advance(time.Minute)
		}
		after := app.sessionOf(t, browser)
		if !after.AuthTime().After(before.AuthTime()) || after.Token().AccessToken == before.Token().AccessToken {
			t.Errorf("in %s: auth_time was %v and is %v", kept, before.AuthTime(), after.AuthTime())
		}
		app.wantNoTokenTwice(t, 2)
	}
}

func TestRefresh_NeedsARefreshToken(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what   string
		setup  setup
		signIn bool
		code   oidcrp.Code
	}{
		{"tokens that were not kept", setup{config: func(cfg *oidcrp.Config) { cfg.Tokens.Keep = false }}, true, oidcrp.CodeLoginRequired},
		{"a provider that gives none", setup{provider: oidctest.Config{NoRefreshToken: true}}, true, oidcrp.CodeLoginRequired},
		{"nobody", setup{}, false, oidcrp.CodeNoSession},
	} {
		app := newRefreshApp(t, test.setup)
		browser := app.provider.Browser()
		if test.signIn {
			browser = app.signIn(t)
		}
		tokenRequests := app.provider.Count(oidctest.EndpointToken)
		if got := app.refresh(t, browser); got.Code != test.code {
			t.Errorf("%s: %q, want %q", test.what, got.Code, test.code)
		}
		if n := app.provider.Count(oidctest.EndpointToken) - tokenRequests; n != 0 {
			t.Errorf("%s: %d token requests", test.what, n)
		}
		if test.signIn && app.who(t, browser, "/me").Sub != "alice" {
			t.Errorf("%s: signed out", test.what)
		}
	}
}

func TestRefresh_ErrorsAreWhatCallersBranchOn(t *testing.T) {
	t.Parallel()
	app := newRefreshApp(t, setup{})
	refresh := func(cookies []*http.Cookie) error {
		_, err := app.client.Refresh(httptest.NewRecorder(), oidcrp.RequestWith(cookies...))
		return err
	}
	cookies := app.cookiesOf(t, app.signIn(t))
	app.provider.SetDown(true)
	if err := refresh(cookies); !errors.Is(err, oidcrp.CodeProviderUnavailable) || errors.Is(err, oidcrp.CodeLoginRequired) {
		t.Errorf("provider down: %v", err)
	}
	app.provider.SetDown(false)
	app.provider.Misbehave(fault.RefreshInvalidGrant)
	var refusal *oidcrp.ProviderError
	err := refresh(cookies)
	if !errors.Is(err, oidcrp.CodeLoginRequired) || !errors.As(err, &refusal) || refusal.ErrorCode != "invalid_grant" {
		t.Errorf("token spent: %v", err)
	}
	if err := refresh(nil); !errors.Is(err, oidcrp.CodeNoSession) {
		t.Errorf("nobody: %v", err)
	}
}

func TestRefresh_ConcurrentCallsShareOne(t *testing.T) {
	t.Parallel()
	for _, store := range []oidcrp.Store{nil, oidcrp.NewMemoryStore(0)} {
		app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) { cfg.Store = store }})
		browser := app.signIn(t)
		cookies := app.cookiesOf(t, browser)
		before := app.provider.Count(oidctest.EndpointToken)

		// The requests of one page: they all left with the same cookies.
		answers := make([]*httptest.ResponseRecorder, 20)
		sessions := make([]*oidcrp.Session, len(answers))
		var wg sync.WaitGroup
		for i := range answers {
			answers[i] = httptest.NewRecorder()
			wg.Go(func() {
				var err error
				if sessions[i], err = app.client.Refresh(answers[i], oidcrp.RequestWith(cookies...)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		n := app.provider.Count(oidctest.EndpointToken) - before
		if store == nil && n != 1 {
			t.Errorf("%d token requests", n)
		}
		for i, w := range answers {
			after := oidcrp.CookiesAfter(cookies, w)
			s, err := app.client.Session(oidcrp.RequestWith(after...))
			if err != nil || sessions[i] == nil || store == nil && s.Token().AccessToken != sessions[0].Token().AccessToken {
				t.Fatalf("answer %d leaves %v (%v)", i, s, err)
			}
		}
	}
}

// A request that left with the old cookies comes late: its refresh token is
// spent, and what it was good for is still known for a moment.
func TestRefresh_ALateCallGetsWhatTheFirstGot(t *testing.T) {
	t.Parallel()
	app := newRefreshApp(t, setup{})
	cookies := app.cookiesOf(t, app.signIn(t))
	refresh := func() (*oidcrp.Session, error) {
		return app.client.Refresh(httptest.NewRecorder(), oidcrp.RequestWith(cookies...))
	}
	first, err := refresh()
	if err != nil {
		t.Fatal(err)
	}
	late, err := refresh()
	if err != nil || late.Token().AccessToken != first.Token().AccessToken {
		t.Errorf("a moment later: %v, %v", late, err)
	}
	// That it is spent is remembered just as long.
	app.clock.Advance(2 * time.Minute)
	requests := app.provider.Count(oidctest.EndpointToken)
	for range 3 {
		if _, err := refresh(); !errors.Is(err, oidcrp.CodeLoginRequired) {
			t.Errorf("minutes later: %v", err)
		}
	}
	if n := app.provider.Count(oidctest.EndpointToken) - requests; n != 1 {
		t.Errorf("the provider was asked %d times about a spent token", n)
	}
}

func TestRefresh_BringsNewUserInfo(t *testing.T) {
	t.Parallel()
	app := newRefreshApp(t, setup{})
	browser := app.signIn(t)
	app.provider.Handle(oidctest.EndpointUserInfo, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"sub":"alice","email":"new@example.org"}`))
	})
	if got := app.refresh(t, browser); got.Email != "new@example.org" {
		t.Errorf("refreshed: %+v", got)
	}
	if got := app.session(t, browser); got.Email != "new@example.org" {
		t.Errorf("saved: %+v", got)
	}
}

// Refresh returns the error of UserInfo, and the new tokens are kept all the same.
func TestRefresh_ARefusedUserInfoLosesNoTokens(t *testing.T) {
	t.Parallel()
	for code, f := range refusedUserInfo {
		for kept, keep := range oidcrp.KeptIn {
			t.Run(kept+" "+f.Name, func(t *testing.T) {
				t.Parallel()
				app := newRefreshApp(t, setup{config: keep})
				browser, tab := app.signIn(t), app.provider.Browser()
				app.keepsCookies(t, tab, app.cookiesOf(t, browser))
				before := app.session(t, browser)
				app.provider.Misbehave(f)
				if got := app.refresh(t, browser); got.Code != code {
					t.Errorf("Refresh returned %+v, want %s", got, string(code))
				}
				after := app.session(t, browser)
				if after.Access == before.Access || after.Refresh == before.Refresh || after.Refresh == "" || after.Email != before.Email {
					t.Errorf("from %+v to %+v", before, after)
				}
				app.wantNoTokenTwice(t, 1)
				app.provider.Misbehave()
				// In cookies, this tab still has the old refresh token.
				app.refresh(t, tab)
				if got := app.refresh(t, browser); got.Code != "" || got.Email != before.Email {
					t.Errorf("afterwards Refresh returned %+v", got)
				}
				app.wantNoTokenTwice(t, app.provider.Count(oidctest.EndpointToken)-1)
			})
		}
	}
}

// A trusted audience is good for a login. One that a refresh adds is not of
// that login.
func TestRefresh_TheIDTokenHasTheFirstOnesAudience(t *testing.T) {
	t.Parallel()
	app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) {
		cfg.Provider.TrustedAudiences = []string{oidctest.ClientID + "1"}
	}})
	browser := app.signIn(t)
	app.provider.Misbehave(fault.AtRefresh(fault.IDTokenExtraAud))
	if got := app.refresh(t, browser); got.Code != oidcrp.CodeTokenRefused || !strings.Contains(app.log.String(), "the first ID Token's") {
		t.Errorf("%+v\n%s", got, app.log)
	}
}

// What a refreshed ID Token says about the provider's session counts from then on.
func TestRefresh_TheIDTokenNamesTheProvidersSession(t *testing.T) {
	t.Parallel()
	app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) { cfg.Registration.IDTokenSignedResponseAlg = "RS256" }})
	browser := app.signIn(t)
	claims := app.provider.IDTokenClaims(oidctest.ClientID, "alice")
	claims["sid"] = "another sid"
	claims["session_expiry"] = app.clock.Now().Add(time.Hour).Unix()
	delete(claims, "auth_time")
	answer, _ := json.Marshal(map[string]string{
		"access_token": "x", "token_type": "Bearer", "id_token": app.provider.SignClaims("RS256", claims, nil),
	})
	app.provider.Handle(oidctest.EndpointToken, respond(200, "application/json", string(answer)))
	app.provider.Handle(oidctest.EndpointUserInfo, respond(200, "application/json", `{"sub":"alice"}`))
	if got := app.refresh(t, browser); got.Code != "" || got.Ends != app.clock.Now().Add(time.Hour).Unix() {
		t.Fatalf("refreshed: %+v\n%s", got, app.log)
	}
	token := app.provider.LogoutToken(oidctest.ClientID, "", "another sid")
	res, err := http.PostForm(app.URL+"/auth/backchannel-logout", url.Values{"logout_token": {token}})
	if err != nil {
		t.Fatal(err)
	}
	readBody(t, res)
	if got := app.session(t, browser); res.StatusCode != 200 || got.Code != oidcrp.CodeNoSession {
		t.Errorf("the logout was answered with %s, and the session is %+v", res.Status, got)
	}
}

// A gate holds requests to one path until it is opened.
type gate struct {
	next    http.RoundTripper
	path    string
	reached chan struct{} // receives once for each request that is held
	open    chan struct{}
}

func newGate(c *oidcrp.Config, path string) *gate {
	g := &gate{next: c.Provider.Transport, path: path, reached: make(chan struct{}, 1000), open: make(chan struct{})}
	c.Provider.Transport = g
	return g
}

func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, g.path) {
		g.reached <- struct{}{}
		select {
		case <-g.open:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	return g.next.RoundTrip(r)
}

func TestRefresh_IsStoredEvenIfNobodyWaitsForIt(t *testing.T) {
	t.Parallel()
	store := oidcrp.NewMemoryStore(0)
	stored := make(chan oidcrp.SessionEvent, 1)
	app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) { cfg.Store = store }})
	browser := app.signIn(t)
	before := app.session(t, browser)
	cookies := app.cookiesOf(t, browser)

	var held *gate
	client := newTestClient(t, app.testApp, func(cfg *oidcrp.Config) {
		cfg.Store, cfg.Tokens.Keep = store, true
		held = newGate(cfg, "/token")
		cfg.Trace.SessionRefreshed = func(_ context.Context, ev oidcrp.SessionEvent) { stored <- ev }
	})
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := client.Refresh(httptest.NewRecorder(), oidcrp.RequestWith(cookies...).WithContext(ctx))
		left <- err
	}()
	<-held.reached
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) || !errors.Is(err, oidcrp.CodeCanceled) {
		t.Errorf("the waiter got %v", err)
	}
	close(held.open)
	if ev := <-stored; ev.Err != nil {
		t.Errorf("the refresh failed: %v", ev.Err)
	}
	after := app.session(t, browser)
	if after.Refresh == "" || after.Refresh == before.Refresh {
		t.Error("the new refresh token is lost")
	}
	if again := app.refresh(t, browser); again.Code != "" {
		t.Errorf("the next refresh: %+v", again)
	}
}

func TestRefresh_ALogoutMeanwhileIsFinal(t *testing.T) {
	t.Parallel()
	for what, store := range map[string]oidcrp.Store{"a store": oidcrp.NewMemoryStore(0), "a plain store": oidcrp.PlainStore(oidcrp.NewMemoryStore(0))} {
		a := newRefreshApp(t, setup{config: func(c *oidcrp.Config) { c.Store = store }})
		browser := a.signIn(t)
		r := oidcrp.RequestWith(a.cookiesOf(t, browser)...)
		a.provider.Handle(oidctest.EndpointUserInfo, func(w http.ResponseWriter, _ *http.Request) {
			a.client.BeginLogout(httptest.NewRecorder(), r, "")
			respond(200, "application/json", `{"sub":"alice"}`)(w, nil)
		})
		w := httptest.NewRecorder()
		if s, err := a.client.Refresh(w, r); s != nil || !errors.Is(err, oidcrp.CodeNoSession) {
			t.Errorf("%s: the refresh returned %v, %v", what, s, err)
		}
		if _, err := a.client.Session(r); !errors.Is(err, oidcrp.CodeNoSession) || len(w.Result().Cookies()) > 0 {
			t.Errorf("%s: the session is back: %v", what, err)
		}
	}
}

func TestRefresh_DoesNotOutliveTheSession(t *testing.T) {
	t.Parallel()
	app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) { cfg.Sessions.Lifetime = time.Hour }})
	browser := app.signIn(t)
	for range 11 {
		app.clock.Advance(5 * time.Minute)
		if got := app.refresh(t, browser); got.Code != "" {
			t.Fatalf("%+v", got)
		}
	}
	app.clock.Advance(5 * time.Minute)
	if got := app.refresh(t, browser); got.Code != oidcrp.CodeNoSession {
		t.Errorf("after its lifetime: %+v", got)
	}
}

func TestRefresh_KeepsASessionFromBeingIdle(t *testing.T) {
	t.Parallel()
	app := newRefreshApp(t, setup{})
	browser := app.signIn(t)
	for range 3 {
		app.clock.Advance(45 * time.Minute)
		if got := app.refresh(t, browser); got.Code != "" {
			t.Fatalf("%+v", got)
		}
	}
}

// Middleware refreshed the session of the same request a moment before.
func TestRefresh_AfterMiddlewareSpendsNoTokenTwice(t *testing.T) {
	t.Parallel()
	app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) {
		cfg.Tokens.RefreshBefore, cfg.Sessions.IdleTimeout = 5*time.Minute, 12*time.Hour
	}})
	browser := app.signIn(t)
	app.clock.Advance(56 * time.Minute)
	app.provider.ResetRequests()
	got := app.refresh(t, browser)
	if n := app.provider.Count(oidctest.EndpointToken); n != 1 || got.Code != "" {
		t.Errorf("%d refreshes; the answer is %+v", n, got)
	}
	if now := app.session(t, browser); now != got {
		t.Errorf("saved is\n%+v, not\n%+v", now, got)
	}
}

func TestRefresh_ALogoutBetweenReadAndWriteIsFinal(t *testing.T) {
	t.Parallel()
	store := oidcrp.NewHookStore(nil)
	app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) { cfg.Store, cfg.Sessions.IdleTimeout = store, 12*time.Hour }})
	r := oidcrp.RequestWith(app.cookiesOf(t, app.signIn(t))...)
	loggedOut := false
	store.Before(func(_ context.Context, op, _ string) error {
		if op == oidcrp.OpSet {
			store.Before(nil)
			loggedOut = true
			if err := app.client.EndSession(httptest.NewRecorder(), r); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
	_, err := app.client.Refresh(httptest.NewRecorder(), r)
	if !loggedOut {
		t.Fatalf("the refresh wrote nothing: %v", err)
	}
	if s, err := app.client.Session(r); !errors.Is(err, oidcrp.CodeNoSession) {
		t.Errorf("the session is back: %v, %v", s, err)
	}
}

func TestRefresh_ResultsAreBoundedInBytes(t *testing.T) {
	t.Parallel()
	app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) { cfg.Store = oidcrp.NewMemoryStore(0) }})
	browser := app.signIn(t)
	app.provider.Handle(oidctest.EndpointUserInfo,
		respond(200, "application/json", `{"sub":"alice","picture":"`+strings.Repeat("x", 250_000)+`"}`))
	const refreshes = 80
	for i := range refreshes {
		if after := app.refresh(t, browser); after.Code != "" {
			t.Fatalf("refresh %d: %q", i+1, after.Code)
		}
	}
	results, bytes := oidcrp.HeldRefreshes(app.client)
	if bytes > once.MaxBytes || bytes < once.MaxBytes/2 || results >= refreshes {
		t.Errorf("%d results of %d bytes are kept, want %d bytes at most", results, bytes, once.MaxBytes)
	}
}
