package oidcrp

import (
	"context"
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

	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

func TestMiddlewareRefreshesTokensBeforeTheyEnd(t *testing.T) {
	t.Parallel()
	for kept, keep := range keptIn {
		for _, userInfo := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, UserInfo %t", kept, userInfo), func(t *testing.T) {
				t.Parallel()
				app := newRefreshApp(t, setup{config: func(cfg *Config) {
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
func TestReplicasRefreshOnceTogether(t *testing.T) {
	t.Parallel()
	for _, cookies := range []bool{false, true} {
		t.Run(fmt.Sprintf("cookies %t", cookies), func(t *testing.T) {
			t.Parallel()
			store := NewMemoryStore(0)
			config := func(cfg *Config) {
				cfg.Store, cfg.Sessions.InCookies, cfg.Tokens.Keep, cfg.Tokens.RefreshBefore = store, cookies, true, 5*time.Minute
				cfg.Sessions.IdleTimeout = 12 * time.Hour
			}
			app := newRefreshApp(t, setup{config: config})
			browser := app.signIn(t)
			base, _ := url.Parse(app.URL)
			sent := browser.Jar.Cookies(base)
			clients := []*Client{app.client, newTestClient(t, app.testApp, config), newTestClient(t, app.testApp, config)}
			app.clock.Advance(56 * time.Minute)
			before := app.provider.Count(oidctest.EndpointToken)

			var mu sync.Mutex
			tokens := make(map[string]int)
			var wg sync.WaitGroup
			for i := range 50 {
				wg.Go(func() {
					w := httptest.NewRecorder()
					clients[i%3].RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						s, _ := SessionFromContext(r.Context())
						mu.Lock()
						defer mu.Unlock()
						tokens[s.Token().AccessToken]++
					})).ServeHTTP(w, requestWith(sent...))
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

// A replica that died in the middle holds up the others only until its lease ends.
func TestALeaseEndsWithItsReplica(t *testing.T) {
	t.Parallel()
	var store SharedStore
	app := newRefreshApp(t, setup{config: func(cfg *Config) {
		store = newMemoryStore(0, cfg.Now)
		cfg.Store = store
	}})
	browser := app.signIn(t)
	base, _ := url.Parse(app.URL)
	r := requestWith(browser.Jar.Cookies(base)...)
	s, err := app.client.Session(r)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := store.Add(t.Context(), tokenKey(s).String(), []byte("dead"), refreshLease); !ok || err != nil {
		t.Fatal(ok, err)
	}
	before := app.provider.Count(oidctest.EndpointToken)
	done := make(chan error, 1)
	go func() {
		_, err := app.client.Refresh(httptest.NewRecorder(), r)
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("it did not wait for the lease: %v", err)
	case <-time.After(3 * refreshPoll):
	}
	if n := app.provider.Count(oidctest.EndpointToken) - before; n != 0 {
		t.Errorf("%d refreshes beside another's lease", n)
	}
	app.clock.Advance(refreshLease)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if ok, _ := store.Add(t.Context(), tokenKey(s).String(), nil, time.Second); !ok {
		t.Error("the lease was not given back")
	}
}

func TestWhatBecomesOfASessionThatCannotBeRefreshed(t *testing.T) {
	t.Parallel()
	down := func(p *oidctest.Provider) { p.SetDown(true) }
	refused := func(p *oidctest.Provider) { p.Misbehave(fault.RefreshInvalidGrant) }
	answers500 := func(p *oidctest.Provider) { p.Misbehave(fault.RefreshServerError) }
	const (
		stays, over, fails = http.StatusOK, http.StatusUnauthorized, http.StatusServiceUnavailable
	)
	for _, test := range []struct {
		what          string
		policy        RefreshFailure
		fault         func(*oidctest.Provider)
		before, after int // the status of /me by script, before and after the token has ended
	}{
		{"kept, refused", KeepSession, refused, stays, over},
		{"kept, status 500 and the token spent", KeepSession, answers500, stays, over},
		{"kept, down", KeepSession, down, stays, fails},
		{"sign in again, refused", SignInAgain, refused, over, over},
		{"sign in again, status 500", SignInAgain, answers500, over, over},
		{"sign in again, down", SignInAgain, down, stays, fails},
		{"fail, refused", FailRequest, refused, http.StatusUnauthorized, http.StatusUnauthorized},
		{"fail, status 500 and the token spent", FailRequest, answers500, fails, http.StatusUnauthorized},
		{"fail, down", FailRequest, down, fails, fails},
	} {
		for kept, keep := range keptIn {
			t.Run(test.what+" in "+kept, func(t *testing.T) {
				t.Parallel()
				app := newRefreshApp(t, setup{config: func(cfg *Config) {
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
				if ended := test.before == over && test.policy == SignInAgain; (public == "") != ended {
					t.Errorf("the public page says %q", public)
				}
				app.clock.Advance(10 * time.Minute)
				res, body := app.asks(t, browser, "GET", "/me")
				if res.StatusCode != test.after {
					t.Errorf("after: %s, want %d\n%s", res.Status, test.after, body)
				}
				if test.after == fails && res.Header.Get("Retry-After") == "" {
					t.Error("503 without Retry-After")
				}
				app.provider.SetDown(false)
				app.provider.Misbehave()
				app.clock.Advance(refreshPause)
				if test.after == fails {
					if res, body := app.asks(t, browser, "GET", "/me"); res.StatusCode != http.StatusOK {
						t.Errorf("when the provider is back: %s\n%s", res.Status, body)
					}
				}
			})
		}
	}
}

func TestAProviderThatIsDownIsNotAskedByEveryRequest(t *testing.T) {
	t.Parallel()
	app := newRefreshApp(t, setup{config: func(cfg *Config) {
		cfg.Tokens.RefreshBefore, cfg.Sessions.IdleTimeout = 10*time.Minute, 12*time.Hour
	}})
	browser := app.signIn(t)
	app.clock.Advance(51 * time.Minute)
	app.provider.SetDown(true)
	for range 5 {
		app.who(t, browser, "/me")
	}
	if n := len(app.events.list()); n != 1 {
		t.Errorf("%d refreshes were tried", n)
	}
	app.clock.Advance(refreshPause)
	app.who(t, browser, "/me")
	if n := len(app.events.list()); n != 2 {
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

func TestHTTPClientCarriesAndRefreshesTheToken(t *testing.T) {
	t.Parallel()
	api, elsewhere := newAPI(t), newAPI(t)
	for kept, keep := range keptIn {
		t.Run(kept, func(t *testing.T) {
			t.Parallel()
			app := newRefreshApp(t, setup{config: func(cfg *Config) { keep(cfg); cfg.Sessions.IdleTimeout = 12 * time.Hour }})
			browser := app.signIn(t)
			base, _ := url.Parse(app.URL)
			call := func(during func(), paths ...string) (answers []string) {
				w := httptest.NewRecorder()
				app.client.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					s, _ := SessionFromContext(r.Context())
					client := s.HTTPClient(r.Context())
					during()
					for _, path := range paths {
						res, err := client.Get(api.URL + path)
						if err != nil {
							answers = append(answers, err.Error())
							continue
						}
						answers = append(answers, readBody(t, res))
					}
				})).ServeHTTP(w, requestWith(browser.Jar.Cookies(base)...))
				browser.Jar.SetCookies(base, w.Result().Cookies())
				return answers
			}
			first := app.session(t, browser)
			if got := call(func() {}, "/"); !slices.Equal(got, []string{"Bearer " + first.Access}) {
				t.Errorf("the API got %q", got)
			}
			app.clock.Advance(time.Hour - apiTokenLeft)
			got := call(func() {}, "/", "/")
			second := app.session(t, browser)
			if second.Access == first.Access || !slices.Equal(got, []string{"Bearer " + second.Access, "Bearer " + second.Access}) {
				t.Errorf("the API got %q, not %q", got, second.Access)
			}
			away := call(func() {}, "/away?to="+url.QueryEscape(elsewhere.URL), "/away?to=/")
			if strings.Contains(away[0], "Bearer") || away[1] != "Bearer "+second.Access {
				t.Errorf("redirects: %q", away)
			}
			app.provider.SetDown(true)
			app.clock.Advance(time.Hour)
			if got := call(func() {}, "/"); !strings.Contains(got[0], string(CodeProviderUnavailable)) {
				t.Errorf("with a token that has ended: %q", got)
			}
		})
	}
}

func TestHTTPClientWithoutTokensOrRequest(t *testing.T) {
	t.Parallel()
	api := newAPI(t)
	c := newOfflineClient(t, nil)
	s := madeSession(c.Client, aliceClaims, "")
	s.tokens = nil
	if _, err := s.HTTPClient(t.Context()).Get(api.URL); !errors.Is(err, CodeLoginRequired) {
		t.Errorf("without tokens: %v", err)
	}
	app := newRefreshApp(t, setup{})
	browser := app.signIn(t)
	base, _ := url.Parse(app.URL)
	s, err := app.client.Session(requestWith(browser.Jar.Cookies(base)...))
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.HTTPClient(context.Background()).Get(api.URL)
	if err != nil {
		t.Fatal(err)
	}
	if got := readBody(t, res); got != "Bearer "+s.Token().AccessToken {
		t.Errorf("without a request: %q", got)
	}
}

func TestASessionMayEndWithItsIDToken(t *testing.T) {
	t.Parallel()
	for _, with := range []bool{false, true} {
		app := newRefreshApp(t, setup{
			provider: oidctest.Config{IDTokenTTL: 20 * time.Minute},
			config:   func(cfg *Config) { cfg.Sessions.EndWithIDToken = with },
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
		if got := app.session(t, browser); (got.Code == CodeNoSession) != with {
			t.Errorf("EndWithIDToken %t: %+v", with, got)
		}
	}
}
