package oidcrp

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

	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

// A refreshApp is a testApp that keeps tokens and refreshes them on POST
// /refresh, which says what the session is then.
type refreshApp struct {
	*testApp
	events *refreshEvents
}

type refreshEvents struct {
	mu  sync.Mutex
	all []SessionEvent // guarded by mu
}

func (e *refreshEvents) add(_ context.Context, ev SessionEvent) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, ev)
}

func (e *refreshEvents) list() []SessionEvent {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.all)
}

// refreshAnswer is what /refresh and /session say.
type refreshAnswer struct {
	Code                 Code
	Access, Refresh, Sub string
	Email                string
	IssuedAt             int64
	Created, Ends        int64
}

func newRefreshApp(t *testing.T, s setup) *refreshApp {
	t.Helper()
	events := new(refreshEvents)
	change := s.config
	s.config = func(cfg *Config) {
		cfg.Tokens.Keep = true
		cfg.Trace.SessionRefreshed = events.add
		if change != nil {
			change(cfg)
		}
	}
	s.routes = func(c *Client, mux *http.ServeMux) {
		mux.HandleFunc("POST /refresh", func(w http.ResponseWriter, r *http.Request) {
			answerRefreshed(w, func() (*Session, error) { return c.Refresh(w, r) })
		})
		mux.HandleFunc("/session", func(w http.ResponseWriter, r *http.Request) {
			answerRefreshed(w, func() (*Session, error) { return c.Session(r) })
		})
	}
	return &refreshApp{testApp: newTestApp(t, s), events: events}
}

func answerRefreshed(w http.ResponseWriter, get func() (*Session, error)) {
	s, err := get()
	var answer refreshAnswer
	if err != nil {
		answer.Code = codeOf(err)
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

func TestRefreshRenewsTheSession(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what  string
		store Store
	}{{"in cookies", nil}, {"in a store", NewMemoryStore(0)}, {"in a plain store", PlainStore(NewMemoryStore(0))}} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			app := newRefreshApp(t, setup{config: func(cfg *Config) { cfg.Store = test.store }})
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
			if events := app.events.list(); len(events) != 2 || events[1] != (SessionEvent{
				Issuer: app.provider.Issuer(), SessionID: events[0].SessionID, Subject: "alice", Rotated: true,
			}) || events[0].SessionID == "" {
				t.Errorf("events: %+v", events)
			}
		})
	}
}

func TestRefreshSendsTheRefreshTokenAndNoMore(t *testing.T) {
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

func TestARefreshTokenThatStaysTheSameIsUsedAgain(t *testing.T) {
	t.Parallel()
	for _, store := range []Store{nil, NewMemoryStore(0)} {
		app := newRefreshApp(t, setup{config: func(cfg *Config) { cfg.Store = store }})
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
		if events := app.events.list(); len(events) != 2 || events[0].Rotated {
			t.Errorf("events: %+v", events)
		}
	}
}

func TestWhatCanGoWrongInARefresh(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		fault fault.Fault
		code  Code // "" when it is accepted
		again Code // of the next refresh, from a provider that is well again
	}{
		// The provider of these tests rotates refresh tokens, so what it had
		// answered before the fault has spent the old one.
		{fault.RefreshInvalidGrant, CodeLoginRequired, CodeLoginRequired},
		{fault.RefreshServerError, CodeProviderUnavailable, CodeLoginRequired},
		{fault.AtRefresh(fault.TokenInvalidClient), CodeClientRefused, CodeLoginRequired},
		{fault.AtRefresh(fault.TokenNoAccessToken), CodeProviderInvalid, CodeLoginRequired},
		{fault.RefreshOtherSub, CodeTokenRefused, CodeLoginRequired},
		{fault.RefreshWrongIss, CodeTokenRefused, CodeLoginRequired},
		{fault.RefreshWrongAud, CodeTokenRefused, CodeLoginRequired},
		{fault.RefreshBadSignature, CodeTokenRefused, CodeLoginRequired},
		{fault.AtRefresh(fault.IDTokenWrongAzp), CodeTokenRefused, CodeLoginRequired},
		{fault.AtRefresh(fault.IDTokenOwnAzp), CodeTokenRefused, CodeLoginRequired},
		{fault.AtRefresh(fault.IDTokenOldAuthTime), CodeTokenRefused, CodeLoginRequired},
		{fault.AtRefresh(fault.IDTokenExpired), CodeTokenRefused, CodeLoginRequired},
		{fault.AtRefresh(fault.IDTokenWrongAtHash), CodeTokenRefused, CodeLoginRequired},
		{fault.UserInfoWrongSub, CodeUserInfoRefused, CodeLoginRequired},
		{fault.UserInfoUnauthorized, CodeProviderError, CodeLoginRequired},

		{fault.RefreshNoIDToken, "", ""},
		{fault.AtRefresh(fault.IDTokenMissingAuthTime), "", ""},
		{fault.AtRefresh(fault.IDTokenMissingAtHash), "", ""},
		{fault.AtRefresh(fault.IDTokenArrayAud), "", ""},
		{fault.AtRefresh(fault.TokenNoExpiresIn), "", ""},

		// New tokens and no UserInfo: the tokens are worth keeping.
		{fault.UserInfoServerError, CodeProviderUnavailable, ""},
		{fault.Transport(oidctest.EndpointUserInfo, fault.Unavailable), CodeProviderUnavailable, ""},
	} {
		t.Run(strings.ReplaceAll(test.fault.Name, "/", " "), func(t *testing.T) {
			t.Parallel()
			var store Store
			if test.fault.Name < "r" { // some of them in a store, for both sorts of session
				store = PlainStore(NewMemoryStore(0))
			}
			app := newRefreshApp(t, setup{config: func(cfg *Config) { cfg.Store = store }})
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
			if replaced := after.Access != before.Access; replaced != (test.again == "") {
				t.Errorf("the session's tokens were replaced: %t", replaced)
			}
			if after.Email != before.Email || after.Created != before.Created {
				t.Errorf("the session changed from\n%+v to\n%+v", before, after)
			}
			if events := app.events.list(); len(events) != 1 || (events[0].Err == nil) != (test.code == "") {
				t.Errorf("events: %+v", events)
			}
			app.provider.Misbehave()
			if got := app.refresh(t, browser); got.Code != test.again {
				t.Errorf("the next refresh says %q, want %q", got.Code, test.again)
			}
		})
	}
}

func TestRefreshNeedsARefreshToken(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what   string
		setup  setup
		signIn bool
		code   Code
	}{
		{"tokens that were not kept", setup{config: func(cfg *Config) { cfg.Tokens.Keep = false }}, true, CodeLoginRequired},
		{"a provider that gives none", setup{provider: oidctest.Config{NoRefreshToken: true}}, true, CodeLoginRequired},
		{"nobody", setup{}, false, CodeNoSession},
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

func TestRefreshErrorsAreWhatCallersBranchOn(t *testing.T) {
	t.Parallel()
	app := newRefreshApp(t, setup{})
	base, _ := url.Parse(app.URL)
	refresh := func(cookies []*http.Cookie) error {
		_, err := app.client.Refresh(httptest.NewRecorder(), requestWith(cookies...))
		return err
	}
	cookies := app.signIn(t).Jar.Cookies(base)
	app.provider.SetDown(true)
	if err := refresh(cookies); !errors.Is(err, CodeProviderUnavailable) || errors.Is(err, CodeLoginRequired) {
		t.Errorf("provider down: %v", err)
	}
	app.provider.SetDown(false)
	app.provider.Misbehave(fault.RefreshInvalidGrant)
	var refusal *ProviderError
	err := refresh(cookies)
	if !errors.Is(err, CodeLoginRequired) || !errors.As(err, &refusal) || refusal.ErrorCode != "invalid_grant" {
		t.Errorf("token spent: %v", err)
	}
	if err := refresh(nil); !errors.Is(err, CodeNoSession) {
		t.Errorf("nobody: %v", err)
	}
}

func TestRefreshesOfOneSessionShareOne(t *testing.T) {
	t.Parallel()
	for _, store := range []Store{nil, NewMemoryStore(0)} {
		app := newRefreshApp(t, setup{config: func(cfg *Config) { cfg.Store = store }})
		browser := app.signIn(t)
		base, _ := url.Parse(app.URL)
		cookies := browser.Jar.Cookies(base)
		before := app.provider.Count(oidctest.EndpointToken)

		// The requests of one page: they all left with the same cookies.
		answers := make([]*httptest.ResponseRecorder, 20)
		sessions := make([]*Session, len(answers))
		var wg sync.WaitGroup
		for i := range answers {
			answers[i] = httptest.NewRecorder()
			wg.Go(func() {
				var err error
				if sessions[i], err = app.client.Refresh(answers[i], requestWith(cookies...)); err != nil {
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
			after := cookiesAfter(cookies, w)
			s, err := app.client.Session(requestWith(after...))
			if err != nil || sessions[i] == nil || store == nil && s.Token().AccessToken != sessions[0].Token().AccessToken {
				t.Fatalf("answer %d leaves %v (%v)", i, s, err)
			}
		}
	}
}

// A request that left with the old cookies comes late: its refresh token is
// spent, and what it was good for is still known for a moment.
func TestALateRefreshGetsWhatTheFirstOneGot(t *testing.T) {
	t.Parallel()
	app := newRefreshApp(t, setup{})
	base, _ := url.Parse(app.URL)
	cookies := app.signIn(t).Jar.Cookies(base)
	refresh := func() (*Session, error) {
		return app.client.Refresh(httptest.NewRecorder(), requestWith(cookies...))
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
		if _, err := refresh(); !errors.Is(err, CodeLoginRequired) {
			t.Errorf("minutes later: %v", err)
		}
	}
	if n := app.provider.Count(oidctest.EndpointToken) - requests; n != 1 {
		t.Errorf("the provider was asked %d times about a spent token", n)
	}
}

func TestRefreshBringsNewUserInfo(t *testing.T) {
	t.Parallel()
	app := newRefreshApp(t, setup{})
	browser := app.signIn(t)
	app.provider.Handle(oidctest.EndpointUserInfo, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"sub":"alice","email":"new@example.org"}`))
	})
	if got := app.refresh(t, browser); got.Email != "new@example.org" {
		t.Errorf("refreshAnswer: %+v", got)
	}
	if got := app.session(t, browser); got.Email != "new@example.org" {
		t.Errorf("saved: %+v", got)
	}
}

// A trusted audience is good for a login. One that a refresh adds is not of
// that login.
func TestARefreshedIDTokenHasTheFirstOnesAudience(t *testing.T) {
	t.Parallel()
	app := newRefreshApp(t, setup{config: func(cfg *Config) {
		cfg.Provider.TrustedAudiences = []string{oidctest.ClientID + "1"}
	}})
	browser := app.signIn(t)
	app.provider.Misbehave(fault.AtRefresh(fault.IDTokenExtraAud))
	if got := app.refresh(t, browser); got.Code != CodeTokenRefused || !strings.Contains(app.log.String(), "the first ID Token's") {
		t.Errorf("%+v\n%s", got, app.log)
	}
}

// What a refreshAnswer ID Token says about the provider's session counts from then on.
func TestARefreshedIDTokenNamesTheProvidersSession(t *testing.T) {
	t.Parallel()
	app := newRefreshApp(t, setup{config: func(cfg *Config) { cfg.Registration.IDTokenSignedResponseAlg = "RS256" }})
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
		t.Fatalf("refreshAnswer: %+v\n%s", got, app.log)
	}
	token := app.provider.LogoutToken(oidctest.ClientID, "", "another sid")
	res, err := http.PostForm(app.URL+"/auth/backchannel-logout", url.Values{"logout_token": {token}})
	if err != nil {
		t.Fatal(err)
	}
	readBody(t, res)
	if got := app.session(t, browser); res.StatusCode != 200 || got.Code != CodeNoSession {
		t.Errorf("the logout was answered with %s, and the session is %+v", res.Status, got)
	}
}

// A refreshGate holds requests for new tokens until it is opened.
type refreshGate struct {
	next    http.RoundTripper
	entered chan struct{}
	open    chan struct{}
}

func (g *refreshGate) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/token") {
		g.entered <- struct{}{}
		<-g.open
	}
	return g.next.RoundTrip(r)
}

func TestARefreshIsStoredEvenIfNobodyWaitsForIt(t *testing.T) {
	t.Parallel()
	store := NewMemoryStore(0)
	stored := make(chan SessionEvent, 1)
	app := newRefreshApp(t, setup{config: func(cfg *Config) { cfg.Store = store }})
	browser := app.signIn(t)
	before := app.session(t, browser)
	base, _ := url.Parse(app.URL)
	cookies := browser.Jar.Cookies(base)

	g := &refreshGate{next: http.DefaultTransport, entered: make(chan struct{}), open: make(chan struct{})}
	client := newTestClient(t, app.testApp, func(cfg *Config) {
		cfg.Store, cfg.Tokens.Keep, cfg.Provider.Transport = store, true, g
		cfg.Trace.SessionRefreshed = func(_ context.Context, ev SessionEvent) { stored <- ev }
	})
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := client.Refresh(httptest.NewRecorder(), requestWith(cookies...).WithContext(ctx))
		left <- err
	}()
	<-g.entered
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the waiter got %v", err)
	}
	close(g.open)
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

func TestALogoutDuringARefreshIsFinal(t *testing.T) {
	t.Parallel()
	for what, store := range map[string]Store{"a store": NewMemoryStore(0), "a plain store": PlainStore(NewMemoryStore(0))} {
		a := newRefreshApp(t, setup{config: func(c *Config) { c.Store = store }})
		browser := a.signIn(t)
		origin, _ := url.Parse(a.URL)
		r := httptest.NewRequest("POST", a.URL+"/refresh", nil)
		for _, cookie := range browser.Jar.Cookies(origin) {
			r.AddCookie(cookie)
		}
		a.provider.Handle(oidctest.EndpointUserInfo, func(w http.ResponseWriter, _ *http.Request) {
			a.client.BeginLogout(httptest.NewRecorder(), r, "")
			respond(200, "application/json", `{"sub":"alice"}`)(w, nil)
		})
		w := httptest.NewRecorder()
		if s, err := a.client.Refresh(w, r); s != nil || !errors.Is(err, CodeNoSession) {
			t.Errorf("%s: the refresh returned %v, %v", what, s, err)
		}
		if _, err := a.client.Session(r); !errors.Is(err, CodeNoSession) || len(w.Result().Cookies()) > 0 {
			t.Errorf("%s: the session is back: %v", what, err)
		}
	}
}

func TestARefreshDoesNotOutliveTheSession(t *testing.T) {
	t.Parallel()
	app := newRefreshApp(t, setup{config: func(cfg *Config) { cfg.Sessions.Lifetime = time.Hour }})
	browser := app.signIn(t)
	for range 11 {
		app.clock.Advance(5 * time.Minute)
		if got := app.refresh(t, browser); got.Code != "" {
			t.Fatalf("%+v", got)
		}
	}
	app.clock.Advance(5 * time.Minute)
	if got := app.refresh(t, browser); got.Code != CodeNoSession {
		t.Errorf("after its lifetime: %+v", got)
	}
}

func TestARefreshKeepsASessionFromBeingIdle(t *testing.T) {
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
