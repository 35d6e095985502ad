package oidcrp

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

// A diary notes which hooks ran, one line for each event, in the order in which
// they did.
type diary struct {
	mu    sync.Mutex
	lines []string // guarded by mu
}

func (d *diary) note(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

// take returns the lines since the last take.
func (d *diary) take() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	lines := d.lines
	d.lines = nil
	return lines
}

// trace returns hooks that write into d.
func (d *diary) trace() Trace {
	fetched := func(name string) func(context.Context, FetchEvent) {
		return func(_ context.Context, ev FetchEvent) {
			path := ev.URL[strings.LastIndexByte(ev.URL, '/'):]
			d.note(fmt.Sprintf("%s %s failed=%v timed=%v", name, path, ev.Err != nil, ev.Duration >= 0))
		}
	}
	return Trace{
		DiscoveryFetched: fetched("DiscoveryFetched"),
		KeysFetched:      fetched("KeysFetched"),
		KeysRotated: func(_ context.Context, ev FetchEvent) {
			d.note(fmt.Sprintf("KeysRotated added=%d removed=%d", len(ev.Added), len(ev.Removed)))
		},
		LoginStarted: func(_ context.Context, ev LoginEvent) {
			d.note(fmt.Sprintf("LoginStarted return_to=%s acr=%q prompt=%q restart=%v", ev.ReturnTo, ev.ACRValues, ev.Prompt, ev.Restart))
		},
		LoginSucceeded: func(_ context.Context, ev LoginEvent) {
			d.note(fmt.Sprintf("LoginSucceeded sub=%s acr=%s amr=%q", ev.Subject, ev.ACR, ev.AMR))
		},
		LoginRefused: func(_ context.Context, ev LoginEvent) {
			d.note(fmt.Sprintf("LoginRefused code=%s same=%v", ev.Code, codeOf(ev.Err) == ev.Code))
		},
		SessionRefreshed: func(_ context.Context, ev SessionEvent) {
			d.note(fmt.Sprintf("SessionRefreshed sub=%s rotated=%v failed=%v", ev.Subject, ev.Rotated, ev.Err != nil))
		},
		SessionRefused: func(_ context.Context, ev SessionEvent) { d.note("SessionRefused reason=" + ev.Reason) },
		LoggedOut: func(_ context.Context, ev SessionEvent) {
			d.note(fmt.Sprintf("LoggedOut sub=%s at_provider=%v", ev.Subject, ev.AtProvider))
		},
	}
}

// diaryApp is an app whose hooks write a diary, and a browser in front of it.
type diaryApp struct {
	*testApp
	diary   *diary
	browser *http.Client
}

func newDiaryApp(t *testing.T) *diaryApp {
	t.Helper()
	d := new(diary)
	app := newTestApp(t, setup{
		config: func(c *Config) { c.Trace, c.Tokens.Keep = d.trace(), true },
		routes: func(c *Client, mux *http.ServeMux) {
			mux.HandleFunc("/refresh", func(w http.ResponseWriter, r *http.Request) { _, _ = c.Refresh(w, r) })
		},
	})
	return &diaryApp{app, d, app.provider.Browser()}
}

// visit opens a page, and signs in as alice where that is asked for.
func (a *diaryApp) visit(t *testing.T, path string) {
	t.Helper()
	res, err := a.provider.Visit(a.browser, a.URL+path, "alice")
	if err != nil {
		t.Fatal(err)
	}
	readBody(t, res)
}

func (a *diaryApp) logOut(t *testing.T, browser *http.Client) {
	t.Helper()
	res, err := noRedirects(browser).Post(a.URL+"/auth/logout", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	readBody(t, res)
}

func TestEachHookRunsOnceAtItsMoment(t *testing.T) {
	t.Parallel()
	app := newDiaryApp(t)
	p := app.provider
	visit := func(path string) func() { return func() { app.visit(t, path) } }
	for _, step := range []struct {
		what string
		do   func()
		want []string
	}{
		{"a public page", visit("/"), nil},
		{"a protected page", visit("/me"), []string{
			"DiscoveryFetched /openid-configuration failed=false timed=true",
			`LoginStarted return_to=/me acr=[] prompt="" restart=false`,
			"KeysFetched /jwks failed=false timed=true",
			`LoginSucceeded sub=alice acr=eidas1 amr=["pwd"]`,
		}},
		{"the same page", visit("/me"), nil},
		{"a step up", visit("/admin"), []string{
			`LoginStarted return_to=/admin acr=["eidas2"] prompt="" restart=false`,
			`LoginSucceeded sub=alice acr=eidas2 amr=["pwd" "mfa"]`,
		}},
		{"a refresh", visit("/refresh"), []string{"SessionRefreshed sub=alice rotated=true failed=false"}},
		{"a refresh that fails", func() {
			p.Misbehave(fault.RefreshInvalidGrant)
			visit("/refresh")()
		}, []string{"SessionRefreshed sub=alice rotated=false failed=true"}},
		{"new keys", func() {
			p.RotateKeys()
			p.Misbehave()
			app.clock.Advance(2 * time.Minute) // past the least time between two fetches
			visit("/auth/login")()
		}, []string{
			`LoginStarted return_to=/ acr=[] prompt="" restart=false`,
			"KeysFetched /jwks failed=false timed=true",
			"KeysRotated added=2 removed=2",
			`LoginSucceeded sub=alice acr=eidas2 amr=["pwd" "mfa"]`,
		}},
		{"a login that is refused", func() {
			p.Misbehave(fault.IDTokenWrongAud)
			visit("/auth/login?return_to=/x")()
		}, []string{`LoginStarted return_to=/x acr=[] prompt="" restart=false`, "LoginRefused code=token_refused same=true"}},
		{"a callback of nobody's", func() { visit("/auth/callback?state=x&code=y")() }, nil}, // signed in: back to the app
		{"an idle session", func() {
			p.Misbehave()
			app.clock.Advance(2 * time.Hour)
			visit("/")()
		}, []string{"SessionRefused reason=idle"}},
		{"a logout", func() {
			app.browser = app.signIn(t)
			app.diary.take()
			app.logOut(t, app.browser)
		}, []string{"LoggedOut sub=alice at_provider=true"}},
		{"a logout of nobody", func() { app.logOut(t, p.Browser()) }, nil},
		{"a callback of nobody's, signed out", func() {
			app.browser = p.Browser()
			visit("/auth/callback?state=x&code=y")()
		}, []string{"LoginRefused code=transaction_lost same=true"}},
	} {
		step.do()
		if got := app.diary.take(); !slices.Equal(got, step.want) {
			t.Errorf("%s: the hooks\n\t%s\nran, want\n\t%s", step.what, strings.Join(got, "\n\t"), strings.Join(step.want, "\n\t"))
		}
	}
}

func TestHooksThatFetchTellOfFailures(t *testing.T) {
	t.Parallel()
	var discoveries, keys []FetchEvent
	app := newTestApp(t, setup{config: func(c *Config) {
		c.Trace = Trace{DiscoveryFetched: collect(&discoveries), KeysFetched: collect(&keys)}
	}})
	app.provider.SetDown(true)
	get(t, app.provider.Browser(), app.URL+"/me")
	if len(discoveries) != 1 || codeOf(discoveries[0].Err) != CodeProviderUnavailable ||
		discoveries[0].URL != app.provider.Issuer()+"/.well-known/openid-configuration" {
		t.Errorf("discovery: %+v", discoveries)
	}
	app.provider.SetDown(false)
	app.clock.Advance(time.Hour)
	app.provider.Handle(oidctest.EndpointJWKS, respond(200, "text/html", "<p>"))
	res, err := app.provider.Visit(app.provider.Browser(), app.URL+"/me", "alice")
	if err != nil {
		t.Fatal(err)
	}
	readBody(t, res)
	if len(keys) != 1 || codeOf(keys[0].Err) != CodeProviderInvalid || keys[0].URL != app.provider.Endpoint(oidctest.EndpointJWKS) {
		t.Errorf("keys: %+v", keys)
	}
}

func TestDurationsAreThoseOfTheSteps(t *testing.T) {
	t.Parallel()
	var logins []LoginEvent
	app := newTestApp(t, setup{config: func(c *Config) {
		c.Trace.LoginSucceeded = collect(&logins)
		now := c.Now
		next := http.DefaultTransport
		var spent time.Duration // by requests
		var mu sync.Mutex
		c.Provider.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			spent += map[string]time.Duration{"/token": 3 * time.Second, "/jwks": 5 * time.Second, "/userinfo": 7 * time.Second}[r.URL.Path]
			return next.RoundTrip(r)
		})
		c.Now = func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return now().Add(spent)
		}
	}})
	app.signIn(t)
	want := []LoginEvent{{
		Subject: "alice", ACR: "eidas1", AMR: []string{"pwd"},
		Exchange: 3 * time.Second, Verification: 5 * time.Second, UserInfo: 7 * time.Second,
	}}
	if !reflect.DeepEqual(logins, want) {
		t.Errorf("the event is %+v, want %+v", logins, want)
	}
}

func TestNoHookIsNeeded(t *testing.T) {
	t.Parallel()
	// Every event, with no hook at all.
	e := &events{log: slog.New(slog.DiscardHandler)}
	ctx := t.Context()
	e.discoveryFetched(ctx, FetchEvent{})
	e.keysFetched(ctx, FetchEvent{})
	e.keysRotated(ctx, FetchEvent{})
	e.loginStarted(ctx, LoginEvent{})
	e.loginSucceeded(ctx, LoginEvent{})
	e.loginRefused(ctx, "", CodeNoSession)
	e.sessionRefreshed(ctx, SessionEvent{})
	e.sessionRefused(ctx, SessionEvent{})
	e.loggedOut(ctx, SessionEvent{})
}

func TestLevelsOfTheLog(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	browser := app.signIn(t)
	app.clock.Advance(13 * time.Hour)
	app.who(t, browser, "/")
	app.provider.Misbehave(fault.IDTokenWrongAud)
	res, err := app.provider.Visit(app.provider.Browser(), app.URL+"/me", "alice")
	if err != nil {
		t.Fatal(err)
	}
	readBody(t, res)

	levels := make(map[string]string)
	for line := range strings.Lines(app.log.String()) {
		var entry struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		levels[entry.Msg] = entry.Level
	}
	want := map[string]string{
		"fetched provider metadata": "DEBUG", "fetched provider keys": "DEBUG", "login started": "DEBUG",
		"login succeeded": "INFO", "session refused": "INFO", "request refused": "WARN",
	}
	if !reflect.DeepEqual(levels, want) {
		t.Errorf("the log has %v, want %v", levels, want)
	}
}
