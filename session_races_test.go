package oidcrp

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

func TestAnExplicitRefreshAfterTheMiddlewareSpendsNoTokenTwice(t *testing.T) {
	app := newRefreshApp(t, setup{config: func(cfg *Config) {
		cfg.Tokens.RefreshBefore, cfg.Sessions.IdleTimeout = 5*time.Minute, 12*time.Hour
	}})
	browser := app.signIn(t)
	app.clock.Advance(56 * time.Minute)
	before := app.provider.Count(oidctest.EndpointToken)
	got := app.refresh(t, browser)
	t.Logf("refreshes %d, code %q, access %q", app.provider.Count(oidctest.EndpointToken)-before, got.Code, got.Access)
	t.Logf("next: %+v", app.session(t, browser))
	if app.provider.Count(oidctest.EndpointToken)-before != 1 || got.Code != "" {
		t.Fail()
	}
}

func TestARefreshedCookieIsNotForSharedCaches(t *testing.T) {
	app := newRefreshApp(t, setup{config: func(cfg *Config) {
		cfg.Tokens.RefreshBefore, cfg.Sessions.IdleTimeout = 5*time.Minute, 12*time.Hour
	}})
	browser := app.signIn(t)
	base, _ := url.Parse(app.URL)
	sent := browser.Jar.Cookies(base)
	app.clock.Advance(56 * time.Minute)
	w := httptest.NewRecorder()
	app.client.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {})).ServeHTTP(w, requestWith(sent...))
	t.Logf("cookies %d cache-control %q", len(w.Result().Cookies()), w.Header().Get("Cache-Control"))
	if len(w.Result().Cookies()) > 0 && w.Header().Get("Cache-Control") == "" {
		t.Fail()
	}
}

func TestHTTPClientsOfOneRequestMayBeMadeAtOnce(t *testing.T) {
	app := newRefreshApp(t, setup{config: func(cfg *Config) { cfg.Sessions.IdleTimeout = 12 * time.Hour }})
	browser := app.signIn(t)
	base, _ := url.Parse(app.URL)
	sent := browser.Jar.Cookies(base)
	app.clock.Advance(60*time.Minute - 5*time.Second)
	w := httptest.NewRecorder()
	app.client.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := SessionFromContext(r.Context())
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { s.HTTPClient(r.Context()) })
		}
		wg.Wait()
	})).ServeHTTP(w, requestWith(sent...))
}

func TestALogoutOutlastsTheIDTokenThatTheSessionEndsWith(t *testing.T) {
	c := newOfflineClient(t, func(cfg *Config) {
		cfg.Store, cfg.Sessions.InCookies, cfg.Sessions.EndWithIDToken = newMemoryStore(0, cfg.Now), true, true
	})
	s := madeSession(c.Client, aliceClaims, "")
	s.tokenEnd = c.now().Add(5 * time.Minute)
	old := c.startSession(t, s)
	next := s.copy() // as renewIDToken makes it
	next.tokenEnd = c.now().Add(time.Hour)
	w := httptest.NewRecorder()
	if err := c.sessions.keeper.start(w, requestWith(old...), next); err != nil {
		t.Fatal(err)
	}
	newer := cookiesAfter(old, w)
	if err := c.EndSession(httptest.NewRecorder(), requestWith(old...)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Session(requestWith(newer...)); !errors.Is(err, CodeNoSession) {
		t.Fatal("at once", err)
	}
	c.clock.Advance(6 * time.Minute)
	if s, err := c.Session(requestWith(newer...)); err == nil {
		t.Errorf("logged-out session is back: %v", s.Subject())
	}
}

func TestALogoutBetweenReadAndWriteIsFinal(t *testing.T) {
	store := NewHookStore(nil)
	app := newRefreshApp(t, setup{config: func(cfg *Config) { cfg.Store = store; cfg.Sessions.IdleTimeout = 12 * time.Hour }})
	browser := app.signIn(t)
	base, _ := url.Parse(app.URL)
	r := requestWith(browser.Jar.Cookies(base)...)
	store.Before(func(_ context.Context, op, _ string) error {
		if op == OpSet {
			store.Before(nil)
			if err := app.client.EndSession(httptest.NewRecorder(), r); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
	_, err := app.client.Refresh(httptest.NewRecorder(), r)
	t.Log("refresh:", err)
	if s, err := app.client.Session(r); err == nil {
		t.Errorf("back: %s", s.Subject())
	}
}

func TestTokensThatTheStoreDidNotTakeAreNotLost(t *testing.T) {
	store := NewHookStore(nil)
	app := newRefreshApp(t, setup{config: func(cfg *Config) {
		cfg.Store, cfg.Tokens.RefreshBefore = store, 5*time.Minute
		cfg.Sessions.IdleTimeout = 12 * time.Hour
	}})
	browser := app.signIn(t)
	app.clock.Advance(56 * time.Minute)
	store.Fail(errors.New("down"), OpSet)
	res, _ := app.asks(t, browser, "GET", "/me")
	store.Before(nil)
	res2, _ := app.asks(t, browser, "GET", "/me")
	t.Log(res.Status, res2.Status, app.session(t, browser))
	app.clock.Advance(5 * time.Minute)
	res3, _ := app.asks(t, browser, "GET", "/me")
	if res3.StatusCode != 200 {
		t.Errorf("signed out by one failed Set: %s", res3.Status)
	}
}

func TestARequestWhoseSessionEndsDuringItsRefreshDoesNotPass(t *testing.T) {
	app := newRefreshApp(t, setup{config: func(cfg *Config) {
		cfg.Store, cfg.Tokens.RefreshBefore = NewMemoryStore(0), 5*time.Minute
		cfg.Sessions.IdleTimeout = 12 * time.Hour
	}})
	browser := app.signIn(t)
	base, _ := url.Parse(app.URL)
	r := requestWith(browser.Jar.Cookies(base)...)
	app.clock.Advance(56 * time.Minute)
	tokenGate(app, r)
	w := httptest.NewRecorder()
	app.client.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(299) })).ServeHTTP(w, r)
	if w.Code == 299 {
		t.Errorf("protected handler ran for a session logged out during the refresh")
	}
}

func TestOneFailingSessionDoesNotStopTheRefreshOfOthers(t *testing.T) {
	app := newRefreshApp(t, setup{config: func(cfg *Config) {
		cfg.Tokens.RefreshBefore, cfg.Sessions.IdleTimeout = 5*time.Minute, 12*time.Hour
	}})
	mallory, alice := app.signIn(t), app.signIn(t)
	app.clock.Advance(60 * time.Minute)
	app.provider.Misbehave(fault.RefreshServerError)
	app.asks(t, mallory, "GET", "/me")
	app.provider.Misbehave()
	res, _ := app.asks(t, alice, "GET", "/me")
	if res.StatusCode != 200 {
		t.Errorf("alice, whose refresh would do: %s", res.Status)
	}
}

func TestALeaseThatIsAnothersIsLeftAlone(t *testing.T) {
	store := NewMemoryStore(0)
	c := newOfflineClient(t, func(cfg *Config) { cfg.Store = store })
	ctx := t.Context()
	if ok, _ := c.refresher.shared.add(ctx, "k", []byte("A"), 300*time.Millisecond); !ok {
		t.Fatal()
	}
	release := c.refresher.holdLease(ctx, "k", []byte("A"), 300*time.Millisecond, time.Now())
	store.Delete(ctx, "k") // the store restarts empty
	if ok, _ := c.refresher.shared.add(ctx, "k", []byte("B"), time.Hour); !ok {
		t.Fatal()
	}
	time.Sleep(400 * time.Millisecond)
	release()
	if ok, _ := c.refresher.shared.add(ctx, "k", []byte("C"), time.Hour); ok {
		t.Error("A has deleted B's lease; C holds one too")
	}
}

func TestRequestsWaitTogetherForASlowKeySource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := keySourceFunc(func(ctx context.Context) ([][]byte, error) { <-ctx.Done(); return nil, ctx.Err() })
		c := newOfflineClient(t, func(cfg *Config) { cfg.CookieKeys, cfg.Now = source, time.Now })
		var wg sync.WaitGroup
		start := time.Now() // the bubble's own clock
		for range 4 {
			wg.Go(func() { c.cookies.keys.ring() })
		}
		wg.Wait()
		if d := time.Since(start); d != keyTimeout {
			t.Errorf("the last of 4 waited %v", d)
		}
	})
}

func TestALogoutOfOneSessionDoesNotDependOnClocks(t *testing.T) {
	one, two := replicas(t, NewMemoryStore(0), true)
	two.clock = newTestClock()
	s := madeSession(one.Client, aliceClaims, "")
	s.created = s.created.Add(2 * time.Second) // made by a replica 2 s ahead
	cookies := one.startSession(t, s)
	if err := one.EndSession(httptest.NewRecorder(), requestWith(cookies...)); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Session(requestWith(cookies...)); err == nil {
		t.Error("EndSession returned nil, and the session goes on")
	}
	if err := one.RevokeSession(t.Context(), s.ID()); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Session(requestWith(cookies...)); err == nil {
		t.Error("RevokeSession returned nil, and the session goes on")
	}
}

func TestShortTokensAreNotRefreshedAtEveryRequest(t *testing.T) {
	app := newRefreshApp(t, setup{config: func(cfg *Config) {
		cfg.Tokens.RefreshBefore, cfg.Sessions.IdleTimeout = 2*time.Hour, 12*time.Hour
	}})
	browser := app.signIn(t)
	before := app.provider.Count(oidctest.EndpointToken)
	for range 5 {
		app.asks(t, browser, "GET", "/me")
	}
	if n := app.provider.Count(oidctest.EndpointToken) - before; n > 1 {
		t.Errorf("%d refreshes for 5 requests in the same second", n)
	}
}

func TestARollAfterALogoutIsFinal(t *testing.T) {
	c := newOfflineClient(t, func(cfg *Config) { cfg.Store = PlainStore(NewMemoryStore(0)) })
	cookies := c.start(t)
	c.clock.Advance(2 * time.Minute)
	r := requestWith(cookies...)
	held, err := c.sessions.load(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.EndSession(httptest.NewRecorder(), r); err != nil {
		t.Fatal(err)
	}
	c.sessions.keeper.touch(httptest.NewRecorder(), r, held)
	if _, err := c.Session(r); err == nil {
		t.Error("the logged-out session is back")
	}
}

// tokenGate logs r out while the provider answers its refresh.
func tokenGate(app *refreshApp, r *http.Request) {
	app.provider.Handle(oidctest.EndpointToken, func(w http.ResponseWriter, _ *http.Request) {
		_ = app.client.EndSession(httptest.NewRecorder(), r)
		respond(200, "application/json",
			`{"access_token":"new","token_type":"Bearer","refresh_token":"newr","expires_in":3600}`)(w, nil)
	})
}
