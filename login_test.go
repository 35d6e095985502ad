package oidcrp_test

// This file opens several logins in one browser, and the same login more than
// once.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/internal/once"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

func TestLogins_TabsFinishInAnyOrder(t *testing.T) {
	t.Parallel()
	orders := [][]int{{0, 1, 2, 3, 4}, {4, 3, 2, 1, 0}}
	for range 4 {
		orders = append(orders, rand.Perm(oidcrp.MaxTransactions))
	}
	for _, order := range orders {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			t.Parallel()
			app := newTestApp(t, setup{provider: autoLogin})
			browser := app.provider.Browser()
			var authorizations [oidcrp.MaxTransactions]string
			for tab := range authorizations {
				authorizations[tab] = follow(t, browser, fmt.Sprintf("%s/tab/%d", app.URL, tab)).String()
			}
			for _, tab := range order {
				res, page := get(t, browser, authorizations[tab])
				want := fmt.Sprintf("/tab/%d", tab)
				if res.StatusCode != http.StatusOK || res.Request.URL.Path != want {
					t.Errorf("tab %d ended at %s with %s\n%s", tab, res.Request.URL, res.Status, page)
				}
			}
			if n := app.provider.Count(oidctest.EndpointToken); n != oidcrp.MaxTransactions {
				t.Errorf("%d token requests, want one for each tab", n)
			}
			if left := transactionCookies(app, browser); len(left) != 0 {
				t.Errorf("cookies are left of logins that are over: %q", left)
			}
		})
	}
}

func TestLogins_LongAddressesDoNotFillTheCookieHeader(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: autoLogin})
	browser := app.provider.Browser()
	long := "/tab/" + noise(2000)
	var callback *url.URL
	for tab := range oidcrp.MaxTransactions {
		callback = comeBack(t, app, browser, fmt.Sprintf("%s%d", long, tab))
		app.clock.Advance(time.Second)
		r := oidcrp.RequestWith(app.cookiesOf(t, browser)...)
		if size := len(r.Header.Get("Cookie")); size > 4<<10 || size < 2<<10 {
			t.Errorf("%d bytes of cookies with %d tabs", size, tab+1)
		}
	}
	if res, _ := get(t, browser, callback.String()); res.Request.URL.Path != long+"4" {
		t.Errorf("the newest login ended at %s", res.Request.URL)
	}
}

func TestLogins_ASixthTabTakesThePlaceOfTheOldest(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"the oldest", "another"} {
		t.Run(first+" comes back first", func(t *testing.T) {
			t.Parallel()
			app := newTestApp(t, setup{provider: autoLogin})
			browser := app.provider.Browser()
			var callbacks []*url.URL
			for tab := range oidcrp.MaxTransactions + 1 {
				callbacks = append(callbacks, comeBack(t, app, browser, fmt.Sprintf("/tab/%d", tab)))
				app.clock.Advance(time.Second)
			}
			left := transactionCookies(app, browser)
			if len(left) != oidcrp.MaxTransactions {
				t.Errorf("%d logins are under way, want %d", len(left), oidcrp.MaxTransactions)
			}
			if slices.Contains(left, oidcrp.LoginCookie(app.client, callbacks[0].Query().Get("state"))) {
				t.Error("the oldest login is still under way")
			}
			if first == "another" {
				get(t, browser, callbacks[3].String())
			}
			// It starts again, or has a session already.
			for tab, callback := range callbacks {
				res, page := get(t, browser, callback.String())
				if want := fmt.Sprintf("/tab/%d", tab); res.StatusCode != http.StatusOK || res.Request.URL.Path != want {
					t.Errorf("tab %d ended at %s with %s\n%s", tab, res.Request.URL, res.Status, page)
				}
			}
		})
	}
}

// A snapshot is a request as a browser would send it now, whatever becomes of
// its cookies afterwards.
type snapshot struct {
	url     string
	cookies []*http.Cookie
}

func takeSnapshot(browser *http.Client, page *url.URL) snapshot {
	return snapshot{url: page.String(), cookies: browser.Jar.Cookies(page)}
}

func (s snapshot) request(ctx context.Context, t testing.TB) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, cookie := range s.cookies {
		r.AddCookie(cookie)
	}
	r.Header.Set("Accept", "text/html")
	return r
}

// send sends the request and checks that it leads to want with a session.
func (s snapshot) send(t *testing.T, app *testApp, want string) {
	t.Helper()
	res, err := noRedirects(app.provider.HTTPClient()).Do(s.request(t.Context(), t))
	if err != nil {
		t.Error(err)
		return
	}
	defer res.Body.Close()
	hasSession := slices.ContainsFunc(res.Cookies(), func(c *http.Cookie) bool {
		return sessionCookieName.MatchString(c.Name) && c.Value != ""
	})
	if got := res.Header.Get("Location"); res.StatusCode != http.StatusFound || got != app.URL+want || !hasSession {
		t.Errorf("the answer is %s to %q, with a session: %t; want 302 to %s with one", res.Status, got, hasSession, want)
	}
}

func TestLogins_TheSameCallbackSpendsItsCodeOnce(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: autoLogin})
	browser := app.provider.Browser()

	twice := takeSnapshot(browser, comeBack(t, app, browser, "/tab/1"))
	twice.send(t, app, "/tab/1")
	twice.send(t, app, "/tab/1")
	if n := app.provider.Count(oidctest.EndpointToken); n != 1 {
		t.Errorf("one after the other: %d token requests, want 1", n)
	}

	together := takeSnapshot(browser, comeBack(t, app, browser, "/tab/2"))
	var clicks sync.WaitGroup
	for range 16 {
		clicks.Go(func() { together.send(t, app, "/tab/2") })
	}
	clicks.Wait()
	if n := app.provider.Count(oidctest.EndpointToken); n != 2 {
		t.Errorf("together: %d token requests, want 1", n-1)
	}
}

func TestLogins_ARefusedCallbackIsNotRedeemedAgain(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: autoLogin})
	browser := app.provider.Browser()
	app.provider.Misbehave(fault.IDTokenWrongNonce)
	twice := takeSnapshot(browser, comeBack(t, app, browser, "/tab/1"))
	for range 2 {
		res, err := app.provider.HTTPClient().Do(twice.request(t.Context(), t))
		if err != nil {
			t.Fatal(err)
		}
		if page := readBody(t, res); res.StatusCode != http.StatusBadGateway {
			t.Errorf("the answer is %s, want 502\n%s", res.Status, page)
		}
	}
	if n := app.provider.Count(oidctest.EndpointToken); n != 1 {
		t.Errorf("%d token requests, want 1", n)
	}
}

func TestLogins_ACanceledCallbackDoesNotSpoilTheNext(t *testing.T) {
	t.Parallel()
	var token *gate
	app := newTestApp(t, setup{provider: autoLogin, config: func(c *oidcrp.Config) { token = newGate(c, "/token") }})
	browser := app.provider.Browser()
	click := takeSnapshot(browser, comeBack(t, app, browser, "/tab/1"))

	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	r := click.request(ctx, t)
	go func() {
		_, err := app.client.Callback(ctx, r)
		failed <- err
	}()
	<-token.reached
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) || !errors.Is(err, oidcrp.CodeCanceled) {
		t.Errorf("the request that was given up got %v, want a cancellation", err)
	}

	var second sync.WaitGroup
	second.Go(func() { click.send(t, app, "/tab/1") })
	close(token.open)
	second.Wait()
	click.send(t, app, "/tab/1")
	if n := app.provider.Count(oidctest.EndpointToken); n != 1 {
		t.Errorf("%d token requests, want 1", n)
	}
}

func TestLogins_SessionsThatCannotBeSavedAreNotKept(t *testing.T) {
	t.Parallel()
	const logins = 12
	for name, store := range map[string]oidcrp.Store{"cookies": nil, "a Store": oidcrp.NewMemoryStore(0)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var onLogin atomic.Int32
			app := newTestApp(t, setup{provider: autoLogin, config: func(c *oidcrp.Config) {
				c.Store = store
				c.OnLogin = func(context.Context, *http.Request, *oidcrp.Session) error { onLogin.Add(1); return nil }
			}})
			// A long name and a long value, 1 MB in all.
			app.provider.Handle(oidctest.EndpointUserInfo, respond(200, "application/json", `{"sub":"alice","`+
				strings.Repeat("n", 500_000)+`":1,"picture":"`+strings.Repeat("x", 500_000)+`"}`))
			for range logins {
				browser := app.provider.Browser()
				twice := takeSnapshot(browser, comeBack(t, app, browser, "/tab/1"))
				for range 2 {
					res, err := noRedirects(app.provider.HTTPClient()).Do(twice.request(t.Context(), t))
					if err != nil {
						t.Fatal(err)
					}
					if page := readBody(t, res); res.StatusCode != http.StatusUnprocessableEntity {
						t.Fatalf("the answer is %s\n%s", res.Status, page)
					}
				}
			}
			if results, bytes := oidcrp.HeldLogins(app.client); results != logins || bytes > logins*4<<10 {
				t.Errorf("%d results of %d bytes are kept, want %d small errors", results, bytes, logins)
			}
			if log := app.log.String(); len(log) > logins*20<<10 || !strings.Contains(log, "session_too_large") {
				t.Errorf("the log has %d bytes", len(log))
			}
			if n := app.provider.Count(oidctest.EndpointToken); n != logins {
				t.Errorf("%d token requests, want %d", n, logins)
			}
			if n := onLogin.Load(); n != 0 {
				t.Errorf("OnLogin ran %d times for a session that cannot be saved", n)
			}
		})
	}
}

func TestLogins_ResultsAreBoundedInBytes(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: autoLogin, config: func(c *oidcrp.Config) {
		c.Store = oidcrp.NewMemoryStore(0)
		c.Tokens.Keep = true
	}})
	app.provider.Handle(oidctest.EndpointUserInfo,
		respond(200, "application/json", `{"sub":"alice","picture":"`+strings.Repeat("x", 250_000)+`"}`))
	const logins = 80
	for range logins {
		browser := app.provider.Browser()
		if res, page := get(t, browser, app.URL+"/me"); res.StatusCode != http.StatusOK {
			t.Fatalf("the answer is %s\n%s", res.Status, page)
		}
	}
	results, bytes := oidcrp.HeldLogins(app.client)
	if bytes > once.MaxBytes || bytes < once.MaxBytes/2 || results >= logins {
		t.Errorf("%d results of %d bytes are kept, want %d bytes at most", results, bytes, once.MaxBytes)
	}
}

func TestLogins_InventedCallbacksPushNoExchangeOut(t *testing.T) {
	t.Parallel()
	var token *gate
	var first atomic.Bool
	app := newTestApp(t, setup{provider: autoLogin, config: func(c *oidcrp.Config) {
		c.Provider.Timeout = time.Hour // the victim's exchange hangs for as long as it takes
		direct := c.Provider.Transport
		token = newGate(c, "/token")
		held := c.Provider.Transport
		c.Provider.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/token") && first.CompareAndSwap(false, true) {
				return held.RoundTrip(r) // only the victim's hangs
			}
			return direct.RoundTrip(r)
		})
	}})
	browser := app.provider.Browser()
	victim := takeSnapshot(browser, comeBack(t, app, browser, "/tab/1"))
	var clicks sync.WaitGroup
	clicks.Go(func() { victim.send(t, app, "/tab/1") })
	<-token.reached

	attacker := noRedirects(app.provider.Browser())
	invent := func() {
		callback, err := url.Parse(app.URL + "/auth/callback")
		if err != nil {
			t.Fatal(err)
		}
		state := follow(t, attacker, app.URL+"/tab/2").Query().Get("state")
		callback.RawQuery = url.Values{"code": {"invented"}, "state": {state}, "iss": {app.provider.Issuer()}}.Encode()
		get(t, attacker, callback.String())
	}
	for range once.Size + 10 {
		invent()
	}
	clicks.Go(func() { victim.send(t, app, "/tab/1") })
	close(token.open)
	clicks.Wait()
	// Nor the result, once it is there and the memory is full.
	for range 10 {
		invent()
	}
	victim.send(t, app, "/tab/1")
	if n := app.provider.Count(oidctest.EndpointToken) - (once.Size + 20); n != 1 {
		t.Errorf("%d token requests for the victim's code, want 1", n)
	}
}
