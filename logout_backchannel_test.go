package oidcrp_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

// logoutEvent is the event that makes a token a Logout Token (Back-Channel Logout
// 2.4).
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// A logoutApp is an app that knows its sessions' sids, and that its provider
// reaches for back-channel logout.
type logoutApp struct {
	*testApp
	received []oidcrp.BackchannelEvent
	replayed []oidcrp.BackchannelEvent
}

func newLogoutApp(t testing.TB, s setup) *logoutApp {
	t.Helper()
	a := new(logoutApp)
	var target atomic.Pointer[url.URL]
	// The provider is registered before the app has a port.
	s.provider.HTTPClient = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		r = r.Clone(r.Context())
		r.URL.Host = target.Load().Host
		return http.DefaultTransport.RoundTrip(r)
	})}
	client := oidctest.Client{ID: oidctest.ClientID, Secret: oidctest.ClientSecret}
	if len(s.provider.Clients) > 0 {
		client = s.provider.Clients[0]
	}
	client.BackchannelLogoutURI = "http://app.invalid/auth/backchannel-logout"
	s.provider.Clients = []oidctest.Client{client}
	change := s.config
	s.config = func(c *oidcrp.Config) {
		c.Registration.IDTokenSignedResponseAlg = "RS256"
		c.Trace.BackchannelReceived = collect(&a.received)
		c.Trace.LogoutTokenReplayed = collect(&a.replayed)
		if change != nil {
			change(c)
		}
	}
	s.routes = func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.Handle("/sid", c.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, _ := oidcrp.SessionFromContext(r.Context())
			json.NewEncoder(w).Encode(map[string]string{"sid": s.SID()})
		})))
	}
	a.testApp = newTestApp(t, s)
	u, err := url.Parse(a.URL)
	if err != nil {
		t.Fatal(err)
	}
	target.Store(u)
	return a
}

// sid returns the sid of the session that browser has.
func (a *logoutApp) sid(t *testing.T, browser *http.Client) string {
	t.Helper()
	_, body := get(t, browser, a.URL+"/sid")
	sid := jsonMember(t, body, "sid")
	if sid == "" {
		t.Fatalf("no sid in %s", body)
	}
	return sid
}

// sends posts a form to the back-channel endpoint of base.
func (a *logoutApp) sends(t testing.TB, base string, form url.Values) (int, string) {
	t.Helper()
	res, err := http.PostForm(base+"/auth/backchannel-logout", form)
	if err != nil {
		t.Fatal(err)
	}
	body := readBody(t, res)
	if got := res.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control is %q", got)
	}
	return res.StatusCode, body
}

// ends has the provider say that a session is over.
func (a *logoutApp) ends(t testing.TB, token string) int {
	t.Helper()
	status, _ := a.sends(t, a.URL, url.Values{"logout_token": {token}})
	return status
}

// signedIn reports whether browser has a session.
func (a *logoutApp) signedIn(t testing.TB, browser *http.Client) bool {
	t.Helper()
	return a.who(t, browser, "/").Sub != ""
}

// claims are those of a sound Logout Token about alice.
func (a *logoutApp) claims() map[string]any {
	return map[string]any{
		"iss": a.provider.Issuer(), "aud": oidctest.ClientID, "sub": "alice",
		"iat": a.clock.Now().Unix(), "exp": a.clock.Now().Add(2 * time.Minute).Unix(), "jti": rand.Text(),
		"events": map[string]any{logoutEvent: map[string]any{}},
	}
}

// A provider that floods the app with valid Logout Tokens, each about another session.
func TestBackchannel_AFloodOfLogoutsIsCapped(t *testing.T) {
	t.Parallel()
	for what, stored := range map[string]bool{"in memory": false, "in a store": true} {
		a := newLogoutApp(t, setup{config: func(c *oidcrp.Config) {
			c.Sessions.Lifetime, c.Sessions.IdleTimeout = 10*time.Hour, 10*time.Hour
			if stored {
				c.Store, c.Sessions.InCookies = oidcrp.NewMemoryStoreAt(c.Now), true
			}
		}})
		oidcrp.SetMarkLimit(a.client, 10)
		flood := func(n int) (accepted int) {
			for range n {
				switch a.ends(t, a.provider.LogoutToken(oidctest.ClientID, "alice", rand.Text())) {
				case 200:
					accepted++
				case 400:
				default:
					t.Fatal("neither 200 nor 400")
				}
			}
			return accepted
		}
		wantLines := func(n int) {
			t.Helper()
			const line = `"level":"ERROR","msg":"the provider ends more sessions than are accepted`
			if got := strings.Count(a.log.String(), line); got != n || !strings.Contains(a.log.String(), `"cap":10,`) {
				t.Errorf("%s: %d lines in the log, want %d:\n%s", what, got, n, a.log)
			}
		}
		if n := flood(30); n != 5 { // each about a sid and about the person's sessions without sid
			t.Errorf("%s: %d tokens are accepted, want 5", what, n)
		}
		wantLines(1)
		if n := oidcrp.EntriesLeft(a.client); n != 5+5+1 {
			t.Errorf("%s: %d entries, want the jti and the sid of 5 and the person", what, n)
		}
		last := a.received[len(a.received)-1]
		var refused *oidcrp.TokenError
		if !errors.Is(last.Err, oidcrp.CodeTokenRefused) || !errors.As(last.Err, &refused) || refused.Check != "rate" || last.Subject != "alice" {
			t.Errorf("%s: the event is %+v", what, last)
		}
		if strings.Contains(a.log.String(), "back-channel logout refused") {
			t.Errorf("%s: every refused token is in the log", what)
		}
		a.clock.Advance(time.Minute)
		if n := flood(3); n != 0 {
			t.Errorf("%s: %d tokens are accepted a minute later", what, n)
		}
		wantLines(2)

		// The app's own logouts do not count.
		browser := a.signIn(t)
		a.clock.Advance(time.Second)
		if err := a.client.RevokeSubject(t.Context(), a.provider.Issuer(), "alice"); err != nil || a.signedIn(t, browser) {
			t.Errorf("%s: RevokeSubject: %v, signed in afterwards: %t", what, err, a.signedIn(t, browser))
		}
		a.clock.Advance(2 * time.Hour) // a fifth of the lifetime, in which two marks leave
		if n := flood(3); n != 1 {
			t.Errorf("%s: %d tokens are accepted later, want 1", what, n)
		}
	}
}

// Whoever has a copy of a Logout Token cannot use up what the provider may end.
func TestBackchannel_ReplaysAreNotCounted(t *testing.T) {
	t.Parallel()
	a := newLogoutApp(t, setup{})
	oidcrp.SetMarkLimit(a.client, 4)
	token := a.provider.LogoutToken(oidctest.ClientID, "alice", "sid")
	for i := range 10 {
		if status := a.ends(t, token); (status == 200) != (i == 0) {
			t.Errorf("number %d is answered with %d", i+1, status)
		}
	}
	if status := a.ends(t, a.provider.LogoutToken(oidctest.ClientID, "alice", "other")); status != 200 {
		t.Errorf("the next token is answered with %d", status)
	}
}

func TestBackchannel_FaultsOfLogoutTokens(t *testing.T) {
	t.Parallel()
	tested := 0
	for _, f := range fault.All() {
		if !strings.HasPrefix(f.Name, "logout_token/") {
			continue
		}
		tested++
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			a := newLogoutApp(t, setup{})
			browser := a.signIn(t)
			sid := a.sid(t, browser)
			a.provider.Misbehave(f)
			want := map[fault.Verdict]int{fault.Accept: 200, fault.Reject: 400}[f.Verdict]
			if status := a.ends(t, a.provider.LogoutToken(oidctest.ClientID, "alice", sid)); status != want {
				t.Errorf("%s: answered %d, want %d", f.Doc, status, want)
			}
			if signedIn := a.signedIn(t, browser); signedIn != (want == 400) {
				t.Errorf("%s: signed in afterwards: %t", f.Doc, signedIn)
			}
			if len(a.received) != 1 || (a.received[0].Err == nil) != (want == 200) {
				t.Errorf("%s: the events are %+v", f.Doc, a.received)
			}
		})
	}
	if tested < 15 {
		t.Errorf("only %d faults of logout tokens are in the catalogue", tested)
	}
}

// wantVerdict fails the test unless a Logout Token is refused for its check, or
// accepted if that is empty.
func (a *logoutApp) wantVerdict(t *testing.T, what, token, check string) {
	t.Helper()
	a.received = nil
	status := a.ends(t, token)
	err := a.received[0].Err
	var refused *oidcrp.TokenError
	switch {
	case check == "" && (status != 200 || err != nil):
		t.Errorf("%s: %d, %v", what, status, err)
	case check != "" && (status != 400 || !errors.As(err, &refused) || refused.Check != check || refused.Token != "Logout Token"):
		t.Errorf("%s: %d, %v, want a refusal for its %s", what, status, err, check)
	}
}

func TestBackchannel_HeadersOfLogoutTokens(t *testing.T) {
	t.Parallel()
	a := newLogoutApp(t, setup{})
	for _, tt := range []struct {
		what   string
		header map[string]any
		check  string
	}{
		{"no typ", nil, ""},
		{"typ logout+jwt", map[string]any{"typ": "logout+jwt"}, ""},
		{"typ JWT, which types nothing", map[string]any{"typ": "JWT"}, ""},
		{"typ LOGOUT", map[string]any{"typ": "LOGOUT"}, "typ"},
		{"the typ of an access token", map[string]any{"typ": "at+jwt"}, "typ"},
		{"a typ of null, which is none", map[string]any{"typ": json.RawMessage("null")}, ""},
		{"a typ that is a number", map[string]any{"typ": 1}, "typ"},
		{"crit", map[string]any{"crit": []string{"x"}, "x": 1}, "crit"},
		{"another alg", map[string]any{"alg": "RS512"}, "alg"},
		{"alg none", map[string]any{"alg": "none"}, "alg"},
		{"HS256", map[string]any{"alg": "HS256"}, "alg"},
	} {
		a.wantVerdict(t, tt.what, a.provider.SignClaims("RS256", a.claims(), tt.header), tt.check)
	}
	a.wantVerdict(t, "another key of the provider", a.provider.SignClaims("ES256", a.claims(), nil), "alg")
	a.wantVerdict(t, "the client secret", a.provider.SignClaims("HS256", a.claims(), nil), "alg")
	a.wantVerdict(t, "an ID Token", a.provider.SignClaims("RS256", a.provider.IDTokenClaims(oidctest.ClientID, "alice"), nil), "events")
	for _, text := range []string{"", "a.b.c", "....", strings.Repeat("a", 100<<10), "\x00", "{}"} {
		if status := a.ends(t, text); status != 400 {
			t.Errorf("%.20q was answered with %d", text, status)
		}
	}
}

// A provider may publish keys of several algorithms. A Logout Token is signed like
// the ID Tokens of this client, or as the Config says.
func TestBackchannel_TheAlgorithmIsThatOfTheIDTokens(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		what           string
		idToken, pin   string // the registered algorithms; "" if none
		signIn         bool
		rs256IsRefused bool
		es256IsRefused bool
	}{
		{"nothing registered, after a login with RS256", "", "", true, false, true},
		{"nothing registered, before any login", "", "", false, false, false},
		{"RS256 registered, before any login", "RS256", "", false, false, true},
		{"a provider that signs Logout Tokens with ES256", "", "ES256", true, true, false},
		{"the same, with RS256 registered for ID Tokens", "RS256", "ES256", true, true, false},
	} {
		a := newLogoutApp(t, setup{config: func(c *oidcrp.Config) {
			c.Registration.IDTokenSignedResponseAlg, c.Provider.LogoutTokenSigningAlg = tt.idToken, tt.pin
		}})
		if tt.signIn {
			a.signIn(t)
		}
		for alg, refused := range map[string]bool{"RS256": tt.rs256IsRefused, "ES256": tt.es256IsRefused} {
			check := ""
			if refused {
				check = "alg"
			}
			a.wantVerdict(t, tt.what+": "+alg, a.provider.SignClaims(alg, a.claims(), nil), check)
			const mend = "set Provider.LogoutTokenSigningAlg"
			if err := a.received[0].Err; refused && strings.Contains(err.Error(), mend) != (tt.pin == "") {
				t.Errorf("%s: %v, want the mend %q only where nothing is set", tt.what, err, mend)
			}
		}
		a.wantVerdict(t, tt.what+": HS256", a.provider.SignClaims("HS256", a.claims(), nil), "alg")
	}
}

func TestBackchannel_NewKeys(t *testing.T) {
	t.Parallel()
	a := newLogoutApp(t, setup{})
	browser := a.signIn(t)
	a.provider.RotateKeys()
	if status := a.ends(t, a.provider.LogoutToken(oidctest.ClientID, "alice", "")); status != 200 || a.signedIn(t, browser) {
		t.Errorf("answered %d, signed in afterwards: %t", status, a.signedIn(t, browser))
	}
}

func TestBackchannel_Requests(t *testing.T) {
	t.Parallel()
	a := newLogoutApp(t, setup{})
	const form = "application/x-www-form-urlencoded"
	token := func() string { return a.provider.SignClaims("RS256", a.claims(), nil) }
	for _, tt := range []struct {
		what, method, query, contentType, body string
		status                                 int
	}{
		{"a form", "POST", "", form, "logout_token=" + token(), 200},
		{"a form in UTF-8", "POST", "", form + "; charset=utf-8", "logout_token=" + token(), 200},
		{"a type in upper case", "POST", "", strings.ToUpper(form), "logout_token=" + token(), 200},
		{"a parameter that nobody knows", "POST", "", form, "ignored_parameter=x&logout_token=" + token() + "&ignored_parameter=y", 200},
		{"a query beside the form", "POST", "?logout_token=x", form, "logout_token=" + token(), 200},
		{"a token in the query", "POST", "?logout_token=" + token(), form, "", 400},
		{"no body", "POST", "", form, "", 400},
		{"an empty token", "POST", "", form, "logout_token=", 400},
		{"two tokens", "POST", "", form, "logout_token=" + token() + "&logout_token=" + token(), 400},
		{"a token and an empty one", "POST", "", form, "logout_token=&logout_token=" + token(), 400},
		{"LOGOUT_TOKEN", "POST", "", form, "LOGOUT_TOKEN=" + token(), 400},
		{"no type", "POST", "", "", "logout_token=" + token(), 400},
		{"JSON", "POST", "", "application/json", `{"logout_token":"` + token() + `"}`, 400},
		{"a form declared as text", "POST", "", "text/plain", "logout_token=" + token(), 400},
		{"a form in parts", "POST", "", "multipart/form-data; boundary=x",
			"--x\r\nContent-Disposition: form-data; name=\"logout_token\"\r\n\r\n" + token() + "\r\n--x--\r\n", 400},
		{"a broken form", "POST", "", form, "logout_token=" + token() + "&x=%zz", 400},
		{"a broken query", "POST", "?x=%zz", form, "logout_token=" + token(), 400},
		{"a megabyte", "POST", "", form, "x=" + strings.Repeat("a", 1<<20) + "&logout_token=" + token(), 400},
		{"GET", "GET", "?logout_token=" + token(), "", "", 405},
		{"HEAD", "HEAD", "?logout_token=" + token(), "", "", 405},
		{"PUT", "PUT", "", form, "logout_token=" + token(), 405},
		{"OPTIONS", "OPTIONS", "", "", "", 405},
	} {
		r, err := http.NewRequestWithContext(t.Context(), tt.method, a.URL+"/auth/backchannel-logout"+tt.query, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", tt.contentType)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body := readBody(t, res)
		if res.StatusCode != tt.status || res.Header.Get("Cache-Control") != "no-store" || len(res.Cookies()) > 0 {
			t.Errorf("%s: %s, want %d; %v", tt.what, res.Status, tt.status, res.Header)
		}
		if tt.status == 200 && body != "" || tt.status == 400 && jsonMember(t, body, "error") != "invalid_request" {
			t.Errorf("%s: the body is %q", tt.what, body)
		}
	}
}

func TestBackchannel_ATokenWorksOnce(t *testing.T) {
	t.Parallel()
	for _, store := range []func() oidcrp.Store{
		func() oidcrp.Store { return nil }, func() oidcrp.Store { return oidcrp.NewMemoryStore(0) }, func() oidcrp.Store { return oidcrp.PlainStore(oidcrp.NewMemoryStore(0)) },
	} {
		a := newLogoutApp(t, setup{config: func(c *oidcrp.Config) { c.Store = store() }})
		token := a.provider.LogoutToken(oidctest.ClientID, "alice", "")
		if status := a.ends(t, token); status != 200 {
			t.Fatalf("%T: answered %d", store(), status)
		}
		a.clock.Advance(time.Second)
		browser := a.signIn(t)
		if status := a.ends(t, token); status != 400 || !a.signedIn(t, browser) {
			t.Errorf("%T: the second time, answered %d, signed in: %t", store(), status, a.signedIn(t, browser))
		}
		if len(a.replayed) != 1 || a.replayed[0].JTI == "" {
			t.Errorf("%T: the events are %+v", store(), a.replayed)
		}
		if status := a.ends(t, a.provider.LogoutToken(oidctest.ClientID, "alice", "")); status != 200 || a.signedIn(t, browser) {
			t.Errorf("%T: another token, answered %d, signed in: %t", store(), status, a.signedIn(t, browser))
		}
	}
}

// Of the same token many times at once, one counts.
func TestBackchannel_ATokenWorksOnceAtOnce(t *testing.T) {
	t.Parallel()
	c := newLogoutApp(t, setup{config: func(c *oidcrp.Config) {
		c.Store, c.Trace = oidcrp.NewMemoryStore(0), oidcrp.Trace{}
	}})
	token := c.provider.LogoutToken(oidctest.ClientID, "alice", "")
	var accepted atomic.Int32
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			if c.ends(t, token) == 200 {
				accepted.Add(1)
			}
		})
	}
	wait.Wait()
	if n := accepted.Load(); n != 1 {
		t.Errorf("%d requests with one token were accepted", n)
	}
}

// As long as a token could pass by its iat it is remembered.
func TestBackchannel_RemembersATokenForAsLongAsItIsYoung(t *testing.T) {
	t.Parallel()
	a := newLogoutApp(t, setup{config: func(c *oidcrp.Config) { c.Store = oidcrp.NewMemoryStoreAt(c.Now) }})
	claims := a.claims()
	claims["iat"], claims["exp"] = a.clock.Now().Add(time.Minute).Unix(), a.clock.Now().Add(time.Hour).Unix()
	token := a.provider.SignClaims("RS256", claims, nil)
	a.wantVerdict(t, "a token with an iat a minute ahead", token, "")
	a.clock.Advance(11 * time.Minute)
	a.wantVerdict(t, "the token after eleven minutes", token, "jti")
	a.clock.Advance(time.Minute)
	a.wantVerdict(t, "the token after twelve minutes", token, "jti")
	a.clock.Advance(time.Minute)
	a.wantVerdict(t, "the token after thirteen minutes", token, "iat")
}

func TestBackchannel_EndsTheRightSessions(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]func(now func() time.Time) oidcrp.Store{
		"cookies": func(func() time.Time) oidcrp.Store { return nil },
		"store":   func(now func() time.Time) oidcrp.Store { return oidcrp.NewMemoryStoreAt(now) },
		"plain":   func(now func() time.Time) oidcrp.Store { return oidcrp.PlainStore(oidcrp.NewMemoryStoreAt(now)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newLogoutApp(t, setup{config: func(c *oidcrp.Config) { c.Store = store(c.Now) }})
			start := func(persona string) *http.Client { return a.provider.SignIn(t, a.URL+"/me", persona) }
			one, two, bruno := start("alice"), start("alice"), start("bruno")
			want := func(what string, inOne, inTwo, inBruno bool) {
				t.Helper()
				got := []bool{a.signedIn(t, one), a.signedIn(t, two), a.signedIn(t, bruno)}
				if expected := []bool{inOne, inTwo, inBruno}; !slices.Equal(got, expected) {
					t.Errorf("%s: signed in are %v, want %v", what, got, expected)
				}
			}
			end := func(sub, sid string) {
				t.Helper()
				if status := a.ends(t, a.provider.LogoutToken(oidctest.ClientID, sub, sid)); status != 200 {
					t.Fatalf("answered %d", status)
				}
			}
			end("carol", "")
			end("", "no such sid")
			end("alice", "no such sid")
			want("sessions that do not exist", true, true, true)
			sid := a.sid(t, one)
			end("", sid)
			want("the sid of one", false, true, true)
			end("", sid)
			want("a session that has gone already", false, true, true)
			end("alice", a.sid(t, bruno))
			want("a sid of another person", false, true, true)
			end("", a.sid(t, bruno))
			want("the same sid of nobody in particular", false, true, false)

			a.clock.Advance(time.Second)
			one, bruno = start("alice"), start("bruno")
			want("a new login", true, true, true)
			end("alice", "")
			want("everything of alice", false, false, true)
			a.clock.Advance(time.Second)
			one, two = start("alice"), start("alice")
			want("two new logins", true, true, true)
			end("alice", a.sid(t, two))
			want("sub and sid", true, false, true)
		})
	}
}

func TestBackchannel_ReachesEveryReplica(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		shared := oidcrp.NewMemoryStore(0)
		config := func(c *oidcrp.Config) {
			c.Store = shared
			if plain {
				c.Store = oidcrp.PlainStore(shared)
			}
		}
		a := newLogoutApp(t, setup{config: config})
		replica := httptest.NewServer(newTestClient(t, a.testApp, config).Middleware(http.NotFoundHandler()))
		t.Cleanup(replica.Close)
		browser := a.signIn(t)
		form := url.Values{"logout_token": {a.provider.LogoutToken(oidctest.ClientID, "", a.sid(t, browser))}}
		status, _ := a.sends(t, replica.URL, form)
		a.clock.Advance(time.Second)
		if status != 200 || a.signedIn(t, browser) {
			t.Errorf("the replica answered %d; signed in afterwards: %t", status, a.signedIn(t, browser))
		}
		if status, _ := a.sends(t, a.URL, form); status != 400 {
			t.Errorf("the same token at the first one: %d", status)
		}
	}
}

// While the mark cannot be kept nothing has happened, and the provider may try
// again with the same token.
func TestBackchannel_WhileTheStoreFails(t *testing.T) {
	t.Parallel()
	for op, plains := range map[string][]bool{
		"Add": {false}, "Set": {false, true}, "Set once": {true}, "Get": {true},
	} {
		for _, plain := range plains {
			store := oidcrp.NewHookStore(nil)
			a := newLogoutApp(t, setup{config: func(c *oidcrp.Config) {
				c.Store = store
				if plain {
					c.Store = oidcrp.PlainStore(store)
				}
			}})
			browser := a.signIn(t)
			token := a.provider.LogoutToken(oidctest.ClientID, "alice", "")
			store.Before(failOp(op))
			if status := a.ends(t, token); status != 400 {
				t.Errorf("%s fails, plain %t: answered %d", op, plain, status)
			}
			if err := a.received[0].Err; !errors.Is(err, oidcrp.CodeStoreUnavailable) {
				t.Errorf("%s fails, plain %t: %v", op, plain, err)
			}
			store.Before(nil)
			if !a.signedIn(t, browser) {
				t.Errorf("%s failed, plain %t: signed out all the same", op, plain)
			}
			if status := a.ends(t, token); status != 200 || a.signedIn(t, browser) {
				t.Errorf("%s failed, plain %t: then %d; signed in: %t", op, plain, status, a.signedIn(t, browser))
			}
		}
	}
}

var errOp = errors.New("the store is down")

// failOp returns a StoreHook that fails op. "Set once" fails the second Set, which
// comes after the token has been noted.
func failOp(op string) oidcrp.StoreHook {
	var sets atomic.Int32
	return func(_ context.Context, called, _ string) error {
		second := op == "Set once" && called == oidcrp.OpSet && sets.Add(1) == 2
		if called == op || second {
			return errOp
		}
		return nil
	}
}

func TestBackchannel_WhileTheProviderIsDown(t *testing.T) {
	t.Parallel()
	a := newLogoutApp(t, setup{})
	claims := a.claims()
	claims["exp"] = a.clock.Now().Add(time.Hour).Unix()
	token := a.provider.SignClaims("RS256", claims, nil)
	a.provider.SetDown(true)
	status, body := a.sends(t, a.URL, url.Values{"logout_token": {token}})
	if status != 400 || jsonMember(t, body, "error_description") != string(oidcrp.CodeProviderUnavailable) {
		t.Errorf("answered %d: %s", status, body)
	}
	if err := a.received[0].Err; !errors.Is(err, oidcrp.CodeProviderUnavailable) || errors.Is(err, oidcrp.CodeTokenRefused) {
		t.Errorf("the event says %v", err)
	}
	if !strings.Contains(a.log.String(), string(oidcrp.CodeProviderUnavailable)) {
		t.Errorf("the log does not say %s:\n%s", oidcrp.CodeProviderUnavailable, a.log)
	}
	if strings.Contains(a.log.String(), token) {
		t.Error("the token is in the log")
	}
	a.provider.SetDown(false)
	a.clock.Advance(5 * time.Minute) // past every pause between two tries
	if status := a.ends(t, token); status != 200 {
		t.Errorf("afterwards, answered %d", status)
	}
}

// Anyone who knows the endpoint can send anything; the provider must not notice.
func TestBackchannel_ForgedTokensDoNotReachTheProvider(t *testing.T) {
	t.Parallel()
	a := newLogoutApp(t, setup{})
	browser := a.signIn(t)
	before := a.provider.Count(oidctest.EndpointJWKS)
	claims := a.claims()
	forged := a.provider.ForgedToken("RS256", "KID", claims)
	_, rest, _ := strings.Cut(forged, ".")
	for i := range 1000 {
		header := base64.RawURLEncoding.EncodeToString([]byte(oidcrp.Head("RS256", fmt.Sprint("forged-", i))))
		if status := a.ends(t, header+"."+rest); status != 400 {
			t.Fatalf("a forged token was answered with %d", status)
		}
	}
	if n := a.provider.Count(oidctest.EndpointJWKS) - before; n > 1 {
		t.Errorf("%d more requests for the keys, want 1 at most", n)
	}
	if !a.signedIn(t, browser) {
		t.Error("a forged token ended a session")
	}
}

// The provider ends its session while the code is being exchanged.
func TestBackchannel_DuringALogin(t *testing.T) {
	t.Parallel()
	a := newLogoutApp(t, setup{})
	a.provider.Handle(oidctest.EndpointUserInfo, func(w http.ResponseWriter, r *http.Request) {
		a.clock.Advance(time.Second)
		if status := a.ends(t, a.provider.LogoutToken(oidctest.ClientID, "alice", "")); status != 200 {
			t.Errorf("answered %d", status)
		}
		a.clock.Advance(time.Second)
		respond(200, "application/json", `{"sub":"alice"}`)(w, r)
	})
	browser := a.provider.Browser()
	res, err := a.provider.Visit(browser, a.URL+"/auth/login", "alice")
	if err != nil {
		t.Fatal(err)
	}
	readBody(t, res)
	if len(a.received) != 1 || a.signedIn(t, browser) {
		t.Error("the logout during the login is lost")
	}
}

// The provider sends its token while the browser is at its logout page.
func TestBackchannel_DuringALogoutAtTheProvider(t *testing.T) {
	t.Parallel()
	a := newLogoutApp(t, setup{})
	browser, elsewhere := a.signIn(t), a.signIn(t)
	res, _ := a.logsOut(t, browser, "/auth/logout?return_to=/tab/1")
	if n := len(a.received); n != 0 {
		t.Fatalf("%d logout tokens before the provider was asked", n)
	}
	back, _ := get(t, noRedirects(browser), res.Header.Get("Location"))
	if location := back.Header.Get("Location"); !strings.HasPrefix(location, a.URL+"/auth/logout/callback?state=") {
		t.Errorf("the provider leads to %q", location)
	}
	if len(a.received) != 1 || a.received[0].Err != nil || a.received[0].SID == "" {
		t.Errorf("the events are %+v", a.received)
	}
	if a.signedIn(t, browser) || !a.signedIn(t, elsewhere) {
		t.Error("the wrong session was ended")
	}
}

func TestBackchannel_EncryptedTokens(t *testing.T) {
	t.Parallel()
	s := encryptedSetup("ECDH-ES", "A128GCM", "A128GCM", "")
	s.routes = nil
	a := newLogoutApp(t, s)
	browser := a.signIn(t)
	encrypted := func(inner, enc string) string {
		return oidcrp.EncryptedFor(t, testKeys().P256.Public(), "ec", "ECDH-ES", enc, inner)
	}
	signed := a.provider.SignClaims("RS256", a.claims(), nil)
	a.wantVerdict(t, "a token that is not encrypted", signed, "alg")
	a.wantVerdict(t, "a token encrypted with another enc", encrypted(signed, "A256GCM"), "alg")
	a.wantVerdict(t, "an encrypted token without a signature", encrypted(a.provider.SignClaims("none", a.claims(), nil), "A128GCM"), "format")
	if !a.signedIn(t, browser) {
		t.Error("a refused token ended a session")
	}
	a.wantVerdict(t, "an encrypted token", encrypted(signed, "A128GCM"), "")
	if a.signedIn(t, browser) {
		t.Error("an encrypted token did not end the session")
	}
	a.wantVerdict(t, "the same token encrypted again", encrypted(signed, "A128GCM"), "jti")
	b := newLogoutApp(t, setup{})
	b.wantVerdict(t, "an encrypted token, though nothing was agreed", encrypted(signed, "A128GCM"), "alg")
}

func TestBackchannelLogout_ByHand(t *testing.T) {
	t.Parallel()
	a := newLogoutApp(t, setup{})
	for _, tt := range []struct {
		what string
		r    *http.Request
		code oidcrp.Code
	}{
		{"a GET", httptest.NewRequest("GET", "/", nil), oidcrp.CodeInvalidRequest},
		{"no form", httptest.NewRequest("POST", "/", strings.NewReader("x")), oidcrp.CodeInvalidRequest},
		{"no token", formRequest(""), oidcrp.CodeInvalidRequest},
		{"a bad token", formRequest("logout_token=x"), oidcrp.CodeTokenRefused},
	} {
		wantCode(t, a.client.BackchannelLogout(t.Context(), tt.r), tt.code)
	}
	// A form in parts that the app has read already, with a sound token in it.
	read := httptest.NewRequest("POST", "/", strings.NewReader("--x\r\nContent-Disposition: form-data; name=\"logout_token\"\r\n\r\n"+
		a.provider.LogoutToken(oidctest.ClientID, "alice", "")+"\r\n--x--\r\n"))
	read.Header.Set("Content-Type", "multipart/form-data; boundary=x")
	if err := read.ParseMultipartForm(1 << 20); err != nil || read.PostForm.Get("logout_token") == "" {
		t.Fatal(err)
	}
	wantCode(t, a.client.BackchannelLogout(t.Context(), read), oidcrp.CodeInvalidRequest)
	token := a.provider.LogoutToken(oidctest.ClientID, "alice", "s")
	if err := a.client.BackchannelLogout(t.Context(), formRequest("logout_token="+token)); err != nil {
		t.Error(err)
	}
	if last := a.received[len(a.received)-1]; last.Subject != "alice" || last.SID != "s" {
		t.Errorf("the event is %+v", last)
	}
}

func formRequest(form string) *http.Request {
	r := httptest.NewRequest("POST", "/anywhere", strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}
