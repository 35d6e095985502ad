package oidcrp_test

// This file lets the code of an app panic where it runs within this package: a panic
// on a goroutine that is not a request's would end the process, this test included.

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

// wantPanicLogged fails the test unless the log has a panic's value, in part, at
// level Error, and its stack at Debug.
func wantPanicLogged(t *testing.T, log *testLog, in string) {
	t.Helper()
	var value, stack bool
	for line := range strings.Lines(log.String()) {
		if !strings.Contains(line, `"msg":"panic in `+in) {
			continue
		}
		value = value || strings.Contains(line, `"level":"ERROR"`) && strings.Contains(line, `"panic":"boom`) && len(line) < 1000
		stack = stack || strings.Contains(line, `"level":"DEBUG"`) && strings.Contains(line, "panics_test.go")
	}
	if !value || !stack {
		t.Errorf("of the panic in %s, the value is logged: %v, the stack: %v\n%.3000s", in, value, stack, log)
	}
}

// boom panics with a large value.
func boom() { panic("boom" + strings.Repeat("\n\x00", 100_000)) }

func addRefresh(c *oidcrp.Client, mux *http.ServeMux) {
	mux.HandleFunc("POST /refresh", func(w http.ResponseWriter, r *http.Request) {
		if _, err := c.Refresh(w, r); err != nil {
			c.ServeError(w, r, err)
		}
	})
}

func TestTrace_APanicOfAHookThatRunsAsideIsLogged(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{
		provider: oidctest.Config{CacheControl: "max-age=60"},
		config: func(c *oidcrp.Config) {
			fetched := func(context.Context, oidcrp.FetchEvent) { boom() }
			c.Trace.DiscoveryFetched, c.Trace.KeysFetched, c.Trace.KeysRotated = fetched, fetched, fetched
			c.Trace.SessionRefreshed = func(context.Context, oidcrp.SessionEvent) { boom() }
			c.Tokens.Keep, c.Store = true, oidcrp.NewMemoryStoreAt(c.Now)
		},
		routes: addRefresh,
	})
	for range 2 {
		browser := app.signIn(t)
		for range 2 { // each refresh token works once: the result of the first must not be lost
			if res, body := app.asks(t, browser, "POST", "/refresh"); res.StatusCode != http.StatusOK {
				t.Errorf("the refresh answered %s: %s", res.Status, body)
			}
		}
		app.provider.RotateKeys()
		app.clock.Advance(20 * time.Minute)
	}
	wantPanicLogged(t, app.log, "a Trace hook")
	if n := strings.Count(app.log.String(), `"msg":"panic in a Trace hook","panic"`); n < 2+2+1+4 {
		t.Errorf("%d panics are logged, want those of every hook", n)
	}
}

// Nothing stays behind when a hook panics on a request's goroutine, where net/http
// ends the request.
func TestTrace_APanicOfARequestsHookLeavesNothingBroken(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	maybe := func() {
		if broken.Load() {
			panic(http.ErrAbortHandler) // which net/http does not log
		}
	}
	login := func(context.Context, oidcrp.LoginEvent) { maybe() }
	session := func(context.Context, oidcrp.SessionEvent) { maybe() }
	received := func(context.Context, oidcrp.BackchannelEvent) { maybe() }
	app := newTestApp(t, setup{config: func(c *oidcrp.Config) {
		c.Trace.LoginStarted, c.Trace.LoginSucceeded, c.Trace.LoginRefused = login, login, login
		c.Trace.SessionRefused, c.Trace.LoggedOut, c.Trace.BackchannelReceived = session, session, received
	}})
	signedIn, nobody := app.signIn(t), app.provider.Browser()
	for _, path := range []string{"/auth/login", "/auth/callback?state=x", "/auth/logout", "/auth/backchannel-logout"} {
		browser := signedIn
		if strings.Contains(path, "callback") {
			browser = nobody
		}
		broken.Store(true)
		r, err := http.NewRequestWithContext(t.Context(), "POST", app.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		if res, err := noRedirects(browser).Do(r); err == nil {
			t.Errorf("%s answered %s, want the end of the connection", path, res.Status)
			res.Body.Close()
		}
		broken.Store(false)
		if got := app.who(t, app.signIn(t), "/me").Sub; got != "alice" {
			t.Errorf("after the panic at %s, %q is signed in", path, got)
		}
	}
}

func TestTransport_APanicIsAnErrorAndTheNextCallTriesAgain(t *testing.T) {
	t.Parallel()
	for endpoint, status := range map[string]int{
		oidctest.EndpointDiscovery: http.StatusServiceUnavailable, oidctest.EndpointJWKS: http.StatusServiceUnavailable,
		oidctest.EndpointToken: http.StatusInternalServerError, oidctest.EndpointUserInfo: http.StatusInternalServerError,
	} {
		t.Run(endpoint, func(t *testing.T) {
			t.Parallel()
			var broken atomic.Bool
			broken.Store(true)
			var url string
			app := newTestApp(t, setup{config: func(c *oidcrp.Config) {
				next := c.Provider.Transport
				c.Provider.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
					if broken.Load() && r.URL.String() == url {
						boom()
					}
					return next.RoundTrip(r)
				})
			}})
			url = app.provider.Endpoint(endpoint)
			res, err := app.provider.Visit(app.provider.Browser(), app.URL+"/me", "alice")
			if err != nil {
				t.Fatal(err)
			}
			readBody(t, res)
			if res.StatusCode != status {
				t.Errorf("the answer is %s, want %d", res.Status, status)
			}
			wantPanicLogged(t, app.log, "a ")
			broken.Store(false)
			app.clock.Advance(5 * time.Second) // the pause after a failure
			if got := app.who(t, app.signIn(t), "/me").Sub; got != "alice" {
				t.Errorf("then %q is signed in", got)
			}
		})
	}
}

// A panic says nothing about the session: it goes on, with its refresh token.
func TestRefresh_APanicEndsNoSession(t *testing.T) {
	t.Parallel()
	for _, failure := range []oidcrp.RefreshFailure{oidcrp.KeepSession, oidcrp.SignInAgain} {
		var broken atomic.Bool
		app := newTestApp(t, setup{config: func(c *oidcrp.Config) {
			next := c.Provider.Transport
			c.Provider.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				if broken.Load() {
					boom()
				}
				return next.RoundTrip(r)
			})
			c.Tokens.Keep, c.Tokens.RefreshBefore, c.Tokens.RefreshFailure = true, 30*time.Minute, failure
			c.Store = oidcrp.NewMemoryStoreAt(c.Now)
		}})
		browser := app.signIn(t)
		app.clock.Advance(40 * time.Minute)
		broken.Store(true)
		if got := app.who(t, browser, "/me").Sub; got != "alice" {
			t.Errorf("%d: %q is signed in while the transport panics", failure, got)
		}
		wantPanicLogged(t, app.log, "a refresh")
		broken.Store(false)
		before := app.provider.Count(oidctest.EndpointToken)
		if got := app.who(t, browser, "/me").Sub; got != "alice" || app.provider.Count(oidctest.EndpointToken) != before+1 {
			t.Errorf("%d: then %q is signed in after %d refreshes, want one", failure, got, app.provider.Count(oidctest.EndpointToken)-before)
		}
	}
}

// panickyHandler is a log that panics at every line about a fetch.
type panickyHandler struct{ slog.Handler }

func (h panickyHandler) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "fetched") || strings.HasPrefix(r.Message, "panic in a fetch") {
		panic(fmt.Sprintf("boom at %q", r.Message))
	}
	return h.Handler.Handle(ctx, r)
}

func TestLogger_APanicDuringAFetchEndsNothing(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{config: func(c *oidcrp.Config) {
		c.Logger = slog.New(panickyHandler{c.Logger.Handler()})
	}})
	res, err := app.provider.Visit(app.provider.Browser(), app.URL+"/me", "alice")
	if err != nil {
		t.Fatal(err)
	}
	readBody(t, res)
	if res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the answer is %s, want 503", res.Status)
	}
}
