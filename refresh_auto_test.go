package oidcrp_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

func TestMiddleware_RefreshesTokensBeforeTheyEnd(t *testing.T) {
	t.Parallel()
	for kept, keep := range oidcrp.KeptIn {
		for _, userInfo := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, UserInfo %t", kept, userInfo), func(t *testing.T) {
				t.Parallel()
				app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) {
					keep(cfg)
					cfg.Tokens.RefreshBefore, cfg.Tokens.RefreshUserInfo = 5*time.Minute, userInfo
					cfg.Sessions.IdleTimeout = 12 * time.Hour
				}})
				browser := app.signIn(t)
				before := app.session(t, browser)
				app.provider.ResetRequests()
				app.clock.Advance(55*time.Minute - 1)
				app.who(t, browser, "/me")
				if n := app.provider.Count(oidctest.EndpointToken); n != 0 {
					t.Errorf("%d refreshes before it is time", n)
				}
				app.clock.Advance(1)
				if who := app.who(t, browser, "/me"); who.Sub != "alice" {
					t.Errorf("signed in as %+v", who)
				}
				after := app.session(t, browser)
				if after.Access == before.Access || after.Refresh == before.Refresh || after.Email != before.Email || after.Ends != before.Ends {
					t.Errorf("from %+v to %+v", before, after)
				}
				app.who(t, browser, "/me")
				app.who(t, browser, "/")
				want := 0
				if userInfo {
					want = 1
				}
				tokens, infos := app.provider.Count(oidctest.EndpointToken), app.provider.Count(oidctest.EndpointUserInfo)
				if tokens != 1 || infos != want {
					t.Errorf("%d refreshes, UserInfo fetched %d times", tokens, infos)
				}
				app.clock.Advance(55 * time.Minute)
				app.who(t, browser, "/me")
				if n := app.provider.Count(oidctest.EndpointToken); n != 2 {
					t.Errorf("%d refreshes after the next hour", n)
				}
			})
		}
	}
}

// Requests that come together on three replicas refresh once, and all go on with
// the same tokens.
func TestMiddleware_ReplicasRefreshOnceTogether(t *testing.T) {
	t.Parallel()
	for _, cookies := range []bool{false, true} {
		t.Run(fmt.Sprintf("cookies %t", cookies), func(t *testing.T) {
			t.Parallel()
			store := oidcrp.NewMemoryStore(0)
			config := func(cfg *oidcrp.Config) {
				cfg.Store, cfg.Sessions.InCookies, cfg.Tokens.Keep, cfg.Tokens.RefreshBefore = store, cookies, true, 5*time.Minute
				cfg.Sessions.IdleTimeout = 12 * time.Hour
			}
			app := newRefreshApp(t, setup{config: config})
			browser := app.signIn(t)
			sent := app.cookiesOf(t, browser)
			clients := []*oidcrp.Client{app.client, newTestClient(t, app.testApp, config), newTestClient(t, app.testApp, config)}
			app.clock.Advance(56 * time.Minute)
			before := app.provider.Count(oidctest.EndpointToken)

			var mu sync.Mutex
			tokens := make(map[string]int)
			var wg sync.WaitGroup
			for i := range 50 {
				wg.Go(func() {
					w := httptest.NewRecorder()
					clients[i%3].RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						s, _ := oidcrp.SessionFromContext(r.Context())
						mu.Lock()
						defer mu.Unlock()
						tokens[s.Token().AccessToken]++
					})).ServeHTTP(w, oidcrp.RequestWith(sent...))
					if w.Code != http.StatusOK {
						t.Errorf("request %d was answered with %d", i, w.Code)
					}
				})
			}
			wg.Wait()
			if n := app.provider.Count(oidctest.EndpointToken) - before; n != 1 || len(tokens) != 1 {
				t.Errorf("%d refreshes; the requests had %d different tokens", n, len(tokens))
			}
		})
	}
}

func isDown(p *oidctest.Provider)              { p.SetDown(true) }
func refusesRefresh(p *oidctest.Provider)      { p.Misbehave(fault.RefreshInvalidGrant) }
func answers500OnRefresh(p *oidctest.Provider) { p.Misbehave(fault.RefreshServerError) }

const signedOut, unavailable = http.StatusUnauthorized, http.StatusServiceUnavailable

// refreshFailures are what a provider can do to a refresh, and the status of /me
// by script before and after the access token has ended.
var refreshFailures = []struct {
	what          string
	policy        oidcrp.RefreshFailure
	fault         func(*oidctest.Provider)
	before, after int
}{
	{"kept, refused", oidcrp.KeepSession, refusesRefresh, http.StatusOK, signedOut},
	{"kept, status 500 and the token spent", oidcrp.KeepSession, answers500OnRefresh, http.StatusOK, signedOut},
	{"kept, down", oidcrp.KeepSession, isDown, http.StatusOK, unavailable},
	{"sign in again, refused", oidcrp.SignInAgain, refusesRefresh, signedOut, signedOut},
	{"sign in again, status 500", oidcrp.SignInAgain, answers500OnRefresh, signedOut, signedOut},
	{"sign in again, down", oidcrp.SignInAgain, isDown, http.StatusOK, unavailable},
	{"fail, refused", oidcrp.FailRequest, refusesRefresh, signedOut, signedOut},
	{"fail, status 500 and the token spent", oidcrp.FailRequest, answers500OnRefresh, unavailable, signedOut},
	{"fail, down", oidcrp.FailRequest, isDown, unavailable, unavailable},
}

func TestRefreshFailure_WhatBecomesOfTheSession(t *testing.T) {
	t.Parallel()
	for _, test := range refreshFailures {
		for kept, keep := range oidcrp.KeptIn {
			t.Run(test.what+" in "+kept, func(t *testing.T) {
				t.Parallel()
				app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) {
					keep(cfg)
					cfg.Tokens.RefreshBefore, cfg.Tokens.RefreshFailure, cfg.Sessions.IdleTimeout = 10*time.Minute, test.policy, 12*time.Hour
				}})
				browser := app.signIn(t)
				test.fault(app.provider)
				app.clock.Advance(51 * time.Minute)
				if res, body := app.asks(t, browser, "GET", "/me"); res.StatusCode != test.before {
					t.Errorf("before: %s, want %d\n%s", res.Status, test.before, body)
				}
				public := app.who(t, browser, "/").Sub
				if ended := test.before == signedOut && test.policy == oidcrp.SignInAgain; (public == "") != ended {
					t.Errorf("the public page says %q", public)
				}
				app.clock.Advance(10 * time.Minute)
				res, body := app.asks(t, browser, "GET", "/me")
				if res.StatusCode != test.after {
					t.Errorf("after: %s, want %d\n%s", res.Status, test.after, body)
				}
				if test.after == unavailable && res.Header.Get("Retry-After") == "" {
					t.Error("503 without Retry-After")
				}
				app.provider.SetDown(false)
				app.provider.Misbehave()
				app.clock.Advance(oidcrp.RefreshPause)
				if test.after == unavailable {
					if res, body := app.asks(t, browser, "GET", "/me"); res.StatusCode != http.StatusOK {
						t.Errorf("when the provider is back: %s\n%s", res.Status, body)
					}
				}
			})
		}
	}
}

// refusedUserInfo are answers of UserInfo that cannot be used, and their codes.
var refusedUserInfo = map[oidcrp.Code]fault.Fault{
	oidcrp.CodeUserInfoRefused: fault.UserInfoWrongSub,
	oidcrp.CodeProviderError:   fault.UserInfoUnauthorized,
}

// wantNoTokenTwice fails the test unless the provider got n refresh tokens, each once.
func (a *refreshApp) wantNoTokenTwice(t *testing.T, n int) {
	t.Helper()
	var sent []string
	for _, r := range a.provider.RequestsTo(oidctest.EndpointToken) {
		if token := r.Form.Get("refresh_token"); token != "" {
			if slices.Contains(sent, token) {
				t.Errorf("the refresh token %s was sent twice", token)
			}
			sent = append(sent, token)
		}
	}
	if len(sent) != n {
		t.Errorf("%d refresh tokens were sent, want %d", len(sent), n)
	}
}

// The provider has issued new tokens, so the old refresh token is spent, whatever
// becomes of the session because of UserInfo.
func TestRefreshFailure_ARefusedUserInfoLosesNoTokens(t *testing.T) {
	t.Parallel()
	for code, f := range refusedUserInfo {
		for kept, keep := range oidcrp.KeptIn {
			for policy, name := range map[oidcrp.RefreshFailure]string{
				oidcrp.KeepSession: "kept", oidcrp.SignInAgain: "sign in again", oidcrp.FailRequest: "fail",
			} {
				t.Run(fmt.Sprintf("%s in %s, %s", name, kept, f.Name), func(t *testing.T) {
					t.Parallel()
					app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) {
						keep(cfg)
						cfg.Tokens.RefreshBefore, cfg.Tokens.RefreshUserInfo, cfg.Tokens.RefreshFailure = 10*time.Minute, true, policy
						cfg.Sessions.IdleTimeout = 12 * time.Hour
					}})
					browser, tab := app.signIn(t), app.provider.Browser()
					app.keepsCookies(t, tab, app.cookiesOf(t, browser)) // whose request was sent before the answer to the other
					before := app.session(t, browser)
					app.provider.Misbehave(f)
					app.clock.Advance(51 * time.Minute)
					res, body := app.asks(t, browser, "GET", "/me")
					app.wantAfterRefusal(t, policy, code, res, body)
					app.asks(t, tab, "GET", "/me")
					app.wantTokensAfterRefusal(t, policy, before, app.session(t, browser))
					app.wantNoTokenTwice(t, 1)

					app.provider.Misbehave()
					app.clock.Advance(time.Hour)
					res, body = app.asks(t, browser, "GET", "/me")
					if signedIn := policy == oidcrp.FailRequest; (res.StatusCode == http.StatusOK) != signedIn {
						t.Errorf("when the new access token has ended: %s %s", res.Status, body)
					} else if signedIn {
						app.wantNoTokenTwice(t, 2)
					}
				})
			}
		}
	}
}

// wantAfterRefusal checks the answer of a protected route to a script whose refresh
// was refused UserInfo with code.
func (a *refreshApp) wantAfterRefusal(
	t *testing.T, policy oidcrp.RefreshFailure, code oidcrp.Code, res *http.Response, body string,
) {
	t.Helper()
	want, wantCode := http.StatusOK, oidcrp.Code("")
	switch policy {
	case oidcrp.SignInAgain:
		want, wantCode = http.StatusUnauthorized, oidcrp.CodeNoSession
	case oidcrp.FailRequest:
		want, wantCode = oidcrp.StatusOf(code), code
	}
	if got := jsonMember(t, body, "code"); res.StatusCode != want || got != string(wantCode) {
		t.Errorf("the script gets %s %s, want %d %s", res.Status, body, want, string(wantCode))
	}
	if events := a.events(); len(events) != 1 || !errors.Is(events[0].Err, code) || !events[0].Rotated {
		t.Errorf("the events are %+v, want one of a refresh that brought new tokens and %s", events, string(code))
	}
}

// wantTokensAfterRefusal checks what is left of a session whose refresh was refused
// UserInfo.
func (a *refreshApp) wantTokensAfterRefusal(t *testing.T, policy oidcrp.RefreshFailure, before, after refreshAnswer) {
	t.Helper()
	if policy == oidcrp.SignInAgain {
		if after.Code != oidcrp.CodeNoSession {
			t.Errorf("there is still a session: %+v", after)
		}
		return
	}
	if after.Access == "" || after.Access == before.Access || after.Refresh == before.Refresh {
		t.Errorf("the tokens were %+v and are %+v, want new ones", before, after)
	}
	if after.Sub != "alice" || after.Email != before.Email || after.Email == "" {
		t.Errorf("the claims were those of %+v and are those of %+v", before, after)
	}
	// KeepSession lets the session end with the access token.
	ends := a.clock.Now().Add(time.Hour).Unix()
	if keeps := policy == oidcrp.KeepSession; (after.Refresh == "") != keeps || (after.Ends == ends) != keeps {
		t.Errorf("after %+v the session is %+v; its access token ends at %d", before, after, ends)
	}
}

// The refresh brought an ID Token that is refused. The old refresh token is spent, so
// the session needs the new one; until its access token expires, it goes on.
func TestRefreshFailure_ARefusedIDTokenLosesNoRefreshToken(t *testing.T) {
	t.Parallel()
	for kept, keep := range oidcrp.KeptIn {
		for policy, name := range map[oidcrp.RefreshFailure]string{oidcrp.KeepSession: "kept", oidcrp.FailRequest: "fail"} {
			t.Run(name+" in "+kept, func(t *testing.T) {
				t.Parallel()
				app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) {
					keep(cfg)
					cfg.Tokens.RefreshBefore, cfg.Tokens.RefreshFailure = 10*time.Minute, policy
					cfg.Sessions.IdleTimeout = 12 * time.Hour
				}})
				browser := app.signIn(t)
				before := app.session(t, browser)
				app.provider.Misbehave(fault.RefreshBadSignature)
				app.clock.Advance(51 * time.Minute)

				first := http.StatusOK
				if policy == oidcrp.FailRequest {
					first = http.StatusBadGateway
				}
				for i, want := range []int{first, http.StatusOK, http.StatusOK} {
					if res, body := app.asks(t, browser, "GET", "/me"); res.StatusCode != want {
						t.Errorf("request %d: %s, want %d\n%s", i+1, res.Status, want, body)
					}
				}
				app.wantNoTokenTwice(t, 1)
				after := app.session(t, browser)
				if after.Access != before.Access || after.Refresh == before.Refresh || after.Refresh == "" || after.Ends != before.Ends {
					t.Errorf("from %+v to %+v, want a new refresh token alone", before, after)
				}

				app.provider.Misbehave()
				app.clock.Advance(oidcrp.RefreshPause)
				if res, body := app.asks(t, browser, "GET", "/me"); res.StatusCode != http.StatusOK {
					t.Errorf("when the provider is well again: %s\n%s", res.Status, body)
				}
				app.wantNoTokenTwice(t, 2)
				if got := app.session(t, browser); got.Access == before.Access || got.Refresh == after.Refresh {
					t.Errorf("the tokens were not renewed: %+v", got)
				}
			})
		}
	}
}

// A provider whose ID Tokens are refused for good, such as one that signs otherwise
// now, does not fail every page until the session ends.
func TestRefreshFailure_ARefusedIDTokenEndsWithASignIn(t *testing.T) {
	t.Parallel()
	for kept, keep := range oidcrp.KeptIn {
		for policy, name := range map[oidcrp.RefreshFailure]string{oidcrp.KeepSession: "kept", oidcrp.FailRequest: "fail"} {
			for _, f := range []fault.Fault{fault.RefreshBadSignature, fault.RefreshOtherSub} {
				t.Run(fmt.Sprintf("%s in %s, %s", name, kept, f.Name), func(t *testing.T) {
					t.Parallel()
					app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) {
						keep(cfg)
						cfg.Tokens.RefreshBefore, cfg.Tokens.RefreshFailure = 10*time.Minute, policy
						cfg.Sessions.IdleTimeout = 12 * time.Hour
					}})
					browser := app.signIn(t)
					app.provider.Misbehave(f)
					app.clock.Advance(51 * time.Minute)
					app.asks(t, browser, "GET", "/me")
					if res, body := app.asks(t, browser, "GET", "/me"); res.StatusCode != http.StatusOK {
						t.Errorf("while the access token is good: %s\n%s", res.Status, body)
					}
					app.clock.Advance(10 * time.Minute)
					for range 3 {
						if res, body := app.asks(t, browser, "GET", "/me"); res.StatusCode != http.StatusUnauthorized {
							t.Errorf("when it has expired: %s\n%s", res.Status, body)
						}
					}
					if f.Name == fault.RefreshBadSignature.Name { // else there is none that may be used
						app.wantNoTokenTwice(t, app.provider.Count(oidctest.EndpointToken)-1)
					}
					if got := app.session(t, browser); got.Sub == "mallory" || got.Code == "" && got.Sub != "alice" {
						t.Errorf("the session is %+v", got)
					}
					app.provider.Misbehave()
					res, err := app.provider.Visit(browser, app.URL+"/auth/login?return_to=/me", "alice")
					if err != nil {
						t.Fatal(err)
					}
					if body := readBody(t, res); res.StatusCode != http.StatusOK {
						t.Errorf("a new login ends with %s\n%s", res.Status, body)
					}
				})
			}
		}
	}
}

// A person who meets the error of FailRequest is there, and is not signed out as
// idle while the provider is down.
func TestRefreshFailure_ABlockedRequestCountsAsUse(t *testing.T) {
	t.Parallel()
	for kept, keep := range oidcrp.KeptIn {
		app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) {
			keep(cfg)
			cfg.Tokens.RefreshBefore, cfg.Tokens.RefreshFailure = 30*time.Minute, oidcrp.FailRequest
			cfg.Sessions.IdleTimeout = time.Hour
		}})
		browser := app.signIn(t)
		app.provider.SetDown(true)
		for _, after := range []time.Duration{40 * time.Minute, 40 * time.Minute, 40 * time.Minute} {
			app.clock.Advance(after)
			if res, body := app.asks(t, browser, "GET", "/me"); res.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("in %s, %v later: %s, want 503\n%s", kept, after, res.Status, body)
			}
		}
	}
}

func TestMiddleware_LeavesAProviderThatIsDownAlone(t *testing.T) {
	t.Parallel()
	app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) {
		cfg.Tokens.RefreshBefore, cfg.Sessions.IdleTimeout = 10*time.Minute, 12*time.Hour
	}})
	browser := app.signIn(t)
	app.clock.Advance(51 * time.Minute)
	app.provider.SetDown(true)
	for range 5 {
		app.who(t, browser, "/me")
	}
	if n := len(app.events()); n != 1 {
		t.Errorf("%d refreshes were tried", n)
	}
	app.clock.Advance(oidcrp.RefreshPause)
	app.who(t, browser, "/me")
	if n := len(app.events()); n != 2 {
		t.Errorf("%d refreshes were tried after the pause", n)
	}
}

// newAPI is a service that says which token it was given.
func newAPI(t *testing.T) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("Authorization"))
	})
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Query().Get("to"), http.StatusFound)
	})
	api := httptest.NewServer(mux)
	t.Cleanup(api.Close)
	return api
}

func TestHTTPClient_CarriesAndRefreshesTheToken(t *testing.T) {
	t.Parallel()
	api, elsewhere := newAPI(t), newAPI(t)
	for kept, keep := range oidcrp.KeptIn {
		t.Run(kept, func(t *testing.T) {
			t.Parallel()
			app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) { keep(cfg); cfg.Sessions.IdleTimeout = 12 * time.Hour }})
			browser := app.signIn(t)
			cookies := app.cookiesOf(t, browser)
			call := func(paths ...string) (answers []string) {
				_, cookies = oidcrp.Serves(app.client.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					s, _ := oidcrp.SessionFromContext(r.Context())
					client := s.HTTPClient(r.Context())
					for _, path := range paths {
						res, err := client.Get(api.URL + path)
						if err != nil {
							answers = append(answers, err.Error())
							continue
						}
						answers = append(answers, readBody(t, res))
					}
				})), cookies)
				app.keepsCookies(t, browser, cookies)
				return answers
			}
			first := app.session(t, browser)
			if got := call("/"); !slices.Equal(got, []string{"Bearer " + first.Access}) {
				t.Errorf("the API got %q", got)
			}
			app.clock.Advance(time.Hour - oidcrp.APITokenLeft)
			got := call("/", "/")
			second := app.session(t, browser)
			if second.Access == first.Access || !slices.Equal(got, []string{"Bearer " + second.Access, "Bearer " + second.Access}) {
				t.Errorf("the API got %q, not %q", got, second.Access)
			}
			away := call("/away?to="+url.QueryEscape(elsewhere.URL), "/away?to=/")
			if strings.Contains(away[0], "Bearer") || away[1] != "Bearer "+second.Access {
				t.Errorf("redirects: %q", away)
			}
			app.provider.SetDown(true)
			app.clock.Advance(time.Hour)
			if got := call("/"); !strings.Contains(got[0], string(oidcrp.CodeProviderUnavailable)) {
				t.Errorf("with a token that has ended: %q", got)
			}
		})
	}
}

// Without the context of its request, there is nothing to refresh with.
func TestHTTPClient_WithoutItsRequestSendsTheTokenAsItIs(t *testing.T) {
	t.Parallel()
	api := newAPI(t)
	app := newRefreshApp(t, setup{})
	s := app.sessionOf(t, app.signIn(t))
	app.clock.Advance(2 * time.Hour)
	res, err := s.HTTPClient(t.Context()).Get(api.URL)
	if err != nil {
		t.Fatal(err)
	}
	if got := readBody(t, res); got != "Bearer "+s.Token().AccessToken {
		t.Errorf("the API got %q", got)
	}
}

func TestEndWithIDToken_TheSessionMayEndWithIt(t *testing.T) {
	t.Parallel()
	for _, with := range []bool{false, true} {
		app := newRefreshApp(t, setup{
			provider: oidctest.Config{IDTokenTTL: 20 * time.Minute},
			config:   func(cfg *oidcrp.Config) { cfg.Sessions.EndWithIDToken = with },
		})
		browser := app.signIn(t)
		app.clock.Advance(20*time.Minute - time.Second)
		if got := app.refresh(t, browser); got.Code != "" {
			t.Fatalf("%+v", got)
		}
		app.clock.Advance(20*time.Minute - time.Second)
		if got := app.session(t, browser); got.Code != "" {
			t.Errorf("with the refreshed ID Token: %+v", got)
		}
		app.clock.Advance(time.Second)
		if got := app.session(t, browser); (got.Code == oidcrp.CodeNoSession) != with {
			t.Errorf("EndWithIDToken %t: %+v", with, got)
		}
	}
}

// The answer that carries a refreshed session must not be stored by caches, also
// where the app says nothing.
func TestMiddleware_ARefreshedCookieIsNotForSharedCaches(t *testing.T) {
	t.Parallel()
	app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) {
		cfg.Tokens.RefreshBefore, cfg.Sessions.IdleTimeout = 5*time.Minute, 12*time.Hour
	}})
	cookies := app.cookiesOf(t, app.signIn(t))
	app.clock.Advance(56 * time.Minute)
	w, _ := oidcrp.Serves(app.client.Middleware(http.HandlerFunc(sayWho)), cookies)
	if len(w.Result().Cookies()) == 0 {
		t.Fatal("the session was not refreshed")
	}
	if got := w.Header().Get("Cache-Control"); got != "private" {
		t.Errorf("Cache-Control is %q", got)
	}
}

func TestHTTPClient_SeveralOfOneRequestMayBeMadeAtOnce(t *testing.T) {
	t.Parallel()
	app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) { cfg.Sessions.IdleTimeout = 12 * time.Hour }})
	cookies := app.cookiesOf(t, app.signIn(t))
	app.clock.Advance(time.Hour - 5*time.Second)
	app.provider.ResetRequests()
	_, after := oidcrp.Serves(app.client.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := oidcrp.SessionFromContext(r.Context())
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { s.HTTPClient(r.Context()) })
		}
		wg.Wait()
	})), cookies)
	if n := app.provider.Count(oidctest.EndpointToken); n != 1 {
		t.Errorf("%d refreshes", n)
	}
	s, err := app.client.Session(oidcrp.RequestWith(after...))
	if err != nil || !s.Token().Expiry.After(app.clock.Now().Add(time.Minute)) {
		t.Errorf("the browser then has %v, %v", s, err)
	}
}

// The Store failed when it should have taken the new tokens; the old refresh token
// is spent.
func TestMiddleware_TokensThatTheStoreDidNotTakeAreNotLost(t *testing.T) {
	t.Parallel()
	store := oidcrp.NewHookStore(nil)
	app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) {
		cfg.Store, cfg.Tokens.RefreshBefore, cfg.Sessions.IdleTimeout = store, 5*time.Minute, 12*time.Hour
	}})
	browser := app.signIn(t)
	before := app.session(t, browser)
	app.clock.Advance(56 * time.Minute)
	store.Fail(errors.New("disk full"), oidcrp.OpSet)
	for range 2 {
		if res, body := app.asks(t, browser, "GET", "/me"); res.StatusCode != http.StatusOK {
			t.Errorf("while the store fails: %s\n%s", res.Status, body)
		}
		if got := app.session(t, browser); got.Access == before.Access {
			t.Errorf("while the store fails, the request has the old token: %+v", got)
		}
		app.clock.Advance(time.Second)
	}
	store.Before(nil)
	app.asks(t, browser, "GET", "/me")
	if after := app.session(t, browser); after.Access == before.Access || after.Code != "" {
		t.Errorf("with the store back: %+v", after)
	}
	app.clock.Advance(5 * time.Minute)
	if res, body := app.asks(t, browser, "GET", "/me"); res.StatusCode != http.StatusOK {
		t.Errorf("when the old token has ended: %s\n%s", res.Status, body)
	}
}

func TestMiddleware_ASessionThatEndsDuringItsRefreshDoesNotPass(t *testing.T) {
	t.Parallel()
	app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) {
		cfg.Store, cfg.Tokens.RefreshBefore = oidcrp.NewMemoryStore(0), 5*time.Minute
		cfg.Sessions.IdleTimeout = 12 * time.Hour
	}})
	cookies := app.cookiesOf(t, app.signIn(t))
	app.clock.Advance(56 * time.Minute)
	app.provider.Handle(oidctest.EndpointToken, func(w http.ResponseWriter, r *http.Request) {
		if err := app.client.EndSession(httptest.NewRecorder(), oidcrp.RequestWith(cookies...)); err != nil {
			t.Error(err)
		}
		respond(200, "application/json",
			`{"access_token":"new","token_type":"Bearer","refresh_token":"newr","expires_in":3600}`)(w, r)
	})
	protected := app.client.RequireLogin(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the protected page was served")
	}))
	if w, _ := oidcrp.Serves(protected, cookies); w.Code != http.StatusUnauthorized {
		t.Errorf("the answer is %d", w.Code)
	}
}

func TestMiddleware_OneFailingSessionDoesNotStopTheRefreshOfOthers(t *testing.T) {
	t.Parallel()
	app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) {
		cfg.Tokens.RefreshBefore, cfg.Sessions.IdleTimeout = 5*time.Minute, 12*time.Hour
	}})
	mallory, alice := app.signIn(t), app.signIn(t)
	app.clock.Advance(60 * time.Minute)
	app.provider.Misbehave(fault.RefreshServerError)
	app.asks(t, mallory, "GET", "/me")
	app.provider.Misbehave()
	if res, body := app.asks(t, alice, "GET", "/me"); res.StatusCode != http.StatusOK {
		t.Errorf("alice, whose refresh would do: %s\n%s", res.Status, body)
	}
}

// RefreshBefore is longer than the tokens live.
func TestMiddleware_ShortTokensAreNotRefreshedAtEveryRequest(t *testing.T) {
	t.Parallel()
	app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) {
		cfg.Tokens.RefreshBefore, cfg.Sessions.IdleTimeout = 2*time.Hour, 12*time.Hour
	}})
	browser := app.signIn(t)
	app.provider.ResetRequests()
	for range 5 {
		app.asks(t, browser, "GET", "/me")
	}
	if n := app.provider.Count(oidctest.EndpointToken); n != 0 {
		t.Errorf("%d refreshes of new tokens", n)
	}
	app.clock.Advance(30 * time.Minute)
	for range 5 {
		app.asks(t, browser, "GET", "/me")
	}
	if n := app.provider.Count(oidctest.EndpointToken); n != 1 {
		t.Errorf("%d refreshes in the second half of their life", n)
	}
}

// Whoever reads the log learns why tokens are not refreshed.
func TestMiddleware_AnExpiresInThatIsNoTimeIsLogged(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		fault   fault.Fault
		expires bool
	}{
		{fault.TokenStringExpiresIn, true},
		{fault.TokenFractionExpiresIn, true},
		{fault.TokenExponentExpiresIn, true},
		{fault.TokenNegativeExpiresIn, false},
	} {
		app := newTestApp(t, setup{config: func(c *oidcrp.Config) { c.Tokens.Keep = true }})
		app.provider.Misbehave(test.fault)
		s := app.sessionOf(t, app.signIn(t))
		if expires := !s.Token().Expiry.IsZero(); expires != test.expires {
			t.Errorf("%s: the token expires: %t", test.fault.Name, expires)
		}
		const line = "the provider's expires_in is not a number of seconds"
		if n := strings.Count(app.log.String(), line); n != map[bool]int{true: 0, false: 1}[test.expires] {
			t.Errorf("%s: the log says so %d times:\n%s", test.fault.Name, n, app.log)
		}
	}
}

// An API is not called with the access token that came with a refused ID Token.
func TestHTTPClient_ARefusedIDTokenLeavesTheOldToken(t *testing.T) {
	t.Parallel()
	api := newAPI(t)
	for kept, keep := range oidcrp.KeptIn {
		app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) { keep(cfg); cfg.Sessions.IdleTimeout = 12 * time.Hour }})
		browser := app.signIn(t)
		cookies := app.cookiesOf(t, browser)
		call := func() (answer string) {
			_, cookies = oidcrp.Serves(app.client.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s, _ := oidcrp.SessionFromContext(r.Context())
				res, err := s.HTTPClient(r.Context()).Get(api.URL)
				if err != nil {
					answer = err.Error()
					return
				}
				answer = readBody(t, res)
			})), cookies)
			app.keepsCookies(t, browser, cookies)
			return answer
		}
		first := app.session(t, browser)
		app.provider.Misbehave(fault.RefreshBadSignature)
		app.clock.Advance(time.Hour - oidcrp.APITokenLeft)
		for range 2 {
			if got := call(); got != "Bearer "+first.Access {
				t.Errorf("in %s: the API got %q, want the old token", kept, got)
			}
		}
		if got := app.session(t, browser); got.Refresh == first.Refresh || got.Access != first.Access {
			t.Errorf("in %s: from %+v to %+v", kept, first, got)
		}
		app.clock.Advance(oidcrp.APITokenLeft)
		if got := call(); !strings.Contains(got, string(oidcrp.CodeLoginRequired)) {
			t.Errorf("in %s, with a token that has ended: %q", kept, got)
		}
		app.provider.Misbehave()
		app.clock.Advance(oidcrp.RefreshPause)
		if got := call(); !strings.HasPrefix(got, "Bearer ") || got == "Bearer "+first.Access {
			t.Errorf("in %s, when the provider is well again: %q", kept, got)
		}
		app.wantNoTokenTwice(t, app.provider.Count(oidctest.EndpointToken)-1)
	}
}

// Many providers issue a refresh token only for a scope.
func TestRefreshBefore_WithoutARefreshTokenIsOneWarning(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		provider oidctest.Config
		config   func(*oidcrp.Config)
		want     string // in the warning; "" for none
	}{
		{"the scope is missing", oidctest.Config{AutoLogin: "alice", NoRefreshToken: true}, func(*oidcrp.Config) {},
			"add the scope offline_access to Scopes"},
		{"the scope is there", oidctest.Config{AutoLogin: "alice", NoRefreshToken: true},
			func(c *oidcrp.Config) { c.Scopes = []string{"openid", "offline_access"} }, "grant type refresh_token"},
		{"there is a token", autoLogin, func(*oidcrp.Config) {}, ""},
		{"nobody wants one", oidctest.Config{AutoLogin: "alice", NoRefreshToken: true},
			func(c *oidcrp.Config) { c.Tokens.RefreshBefore = 0 }, ""},
	} {
		app := newTestApp(t, setup{provider: tt.provider, config: func(c *oidcrp.Config) {
			c.Tokens = oidcrp.Tokens{Keep: true, RefreshBefore: time.Minute}
			tt.config(c)
		}})
		for range 2 {
			app.signIn(t)
		}
		lines := app.linesWith("issues no refresh token")
		switch {
		case tt.want == "" && len(lines) > 0:
			t.Errorf("%s: the log has %s", tt.name, lines[0])
		case tt.want != "" && (len(lines) != 1 || !strings.Contains(lines[0], tt.want) || !strings.Contains(lines[0], `"WARN"`)):
			t.Errorf("%s: the log has %q, want one warning with %q", tt.name, lines, tt.want)
		}
	}
}
