package oidcrp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

// A diary notes which hooks ran, one line for each event, in the order in which
// they did.
type diary struct {
	mu    sync.Mutex
	lines []string // guarded by mu

	discovered chan struct{} // gets a value for each fetch of the metadata
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
func (d *diary) trace() oidcrp.Trace {
	fetched := func(name string) func(context.Context, oidcrp.FetchEvent) {
		return func(_ context.Context, ev oidcrp.FetchEvent) {
			path := ev.URL[strings.LastIndexByte(ev.URL, '/'):]
			d.note(fmt.Sprintf("%s %s failed=%v timed=%v", name, path, ev.Err != nil, ev.Duration >= 0))
			if name == "DiscoveryFetched" {
				d.discovered <- struct{}{}
			}
		}
	}
	return oidcrp.Trace{
		DiscoveryFetched: fetched("DiscoveryFetched"),
		KeysFetched:      fetched("KeysFetched"),
		KeysRotated: func(_ context.Context, ev oidcrp.FetchEvent) {
			d.note(fmt.Sprintf("KeysRotated added=%d removed=%d", len(ev.Added), len(ev.Removed)))
		},
		LoginStarted: func(_ context.Context, ev oidcrp.LoginEvent) {
			d.note(fmt.Sprintf("LoginStarted return_to=%s acr=%q prompt=%q restart=%v", ev.ReturnTo, ev.ACRValues, ev.Prompt, ev.Restart))
		},
		LoginSucceeded: func(_ context.Context, ev oidcrp.LoginEvent) {
			d.note(fmt.Sprintf("LoginSucceeded sub=%s acr=%s amr=%q", ev.Subject, ev.ACR, ev.AMR))
		},
		LoginRefused: func(_ context.Context, ev oidcrp.LoginEvent) {
			d.note(fmt.Sprintf("LoginRefused code=%s same=%v", string(ev.Code), oidcrp.CodeOf(ev.Err) == ev.Code))
		},
		SessionRefreshed: func(_ context.Context, ev oidcrp.SessionEvent) {
			d.note(fmt.Sprintf("SessionRefreshed sub=%s rotated=%v failed=%v", ev.Subject, ev.Rotated, ev.Err != nil))
		},
		SessionRefused: func(_ context.Context, ev oidcrp.SessionEvent) { d.note("SessionRefused reason=" + ev.Reason) },
		LoggedOut: func(_ context.Context, ev oidcrp.SessionEvent) {
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
	d := &diary{discovered: make(chan struct{}, 100)}
	app := newTestApp(t, setup{
		config: func(c *oidcrp.Config) { c.Trace, c.Tokens.Keep = d.trace(), true },
		routes: func(c *oidcrp.Client, mux *http.ServeMux) {
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

func TestTrace_EachHookRunsOnceAtItsMoment(t *testing.T) {
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
		{"a callback without a login", func() { visit("/auth/callback?state=x&code=y")() }, nil}, // signed in: back to the app
		{"an idle session", func() {
			p.Misbehave()
			app.clock.Advance(2 * time.Hour)
			visit("/")()
		}, []string{"SessionRefused reason=idle"}},
		{"a logout", func() {
			app.browser = app.signIn(t)
			for range 2 { // at the first login, and now in the background, since the metadata is old
				<-app.diary.discovered
			}
			app.diary.take()
			app.logOut(t, app.browser)
		}, []string{"LoggedOut sub=alice at_provider=true"}},
		{"a logout of nobody", func() { app.logOut(t, p.Browser()) }, nil},
		{"a callback without a login, signed out", func() {
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

func TestTrace_FetchesTellOfFailures(t *testing.T) {
	t.Parallel()
	var discoveries, keys []oidcrp.FetchEvent
	app := newTestApp(t, setup{config: func(c *oidcrp.Config) {
		c.Trace = oidcrp.Trace{DiscoveryFetched: collect(&discoveries), KeysFetched: collect(&keys)}
	}})
	app.provider.SetDown(true)
	get(t, app.provider.Browser(), app.URL+"/me")
	if len(discoveries) != 1 || oidcrp.CodeOf(discoveries[0].Err) != oidcrp.CodeProviderUnavailable ||
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
	if len(keys) != 1 || oidcrp.CodeOf(keys[0].Err) != oidcrp.CodeProviderInvalid || keys[0].URL != app.provider.Endpoint(oidctest.EndpointJWKS) {
		t.Errorf("keys: %+v", keys)
	}
}

func TestTrace_DurationsAreThoseOfTheSteps(t *testing.T) {
	t.Parallel()
	var logins []oidcrp.LoginEvent
	app := newTestApp(t, setup{config: func(c *oidcrp.Config) {
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
	if len(logins) != 1 {
		t.Fatalf("the events are %+v", logins)
	}
	want := []oidcrp.LoginEvent{{
		Issuer: app.provider.Issuer(), Login: logins[0].Login, SessionID: logins[0].SessionID, Subject: "alice", ACR: "eidas1", AMR: []string{"pwd"},
		Exchange: 3 * time.Second, Verification: 5 * time.Second, UserInfo: 7 * time.Second,
	}}
	if !reflect.DeepEqual(logins, want) {
		t.Errorf("the event is %+v, want %+v", logins, want)
	}
}

func TestEvents_LevelsOfTheLog(t *testing.T) {
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

// everyEvent collects the events of every hook, by the hook's name.
type everyEvent struct {
	mu   sync.Mutex
	seen map[string][]any // guarded by mu
}

func hookOf[E any](e *everyEvent, name string) func(context.Context, E) {
	return func(_ context.Context, ev E) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.seen[name] = append(e.seen[name], ev)
	}
}

func (e *everyEvent) trace() oidcrp.Trace {
	e.seen = make(map[string][]any)
	return oidcrp.Trace{
		DiscoveryFetched:    hookOf[oidcrp.FetchEvent](e, "DiscoveryFetched"),
		KeysFetched:         hookOf[oidcrp.FetchEvent](e, "KeysFetched"),
		KeysRotated:         hookOf[oidcrp.FetchEvent](e, "KeysRotated"),
		LoginStarted:        hookOf[oidcrp.LoginEvent](e, "LoginStarted"),
		LoginSucceeded:      hookOf[oidcrp.LoginEvent](e, "LoginSucceeded"),
		LoginRefused:        hookOf[oidcrp.LoginEvent](e, "LoginRefused"),
		SessionRefreshed:    hookOf[oidcrp.SessionEvent](e, "SessionRefreshed"),
		SessionRefused:      hookOf[oidcrp.SessionEvent](e, "SessionRefused"),
		LoggedOut:           hookOf[oidcrp.SessionEvent](e, "LoggedOut"),
		BackchannelReceived: hookOf[oidcrp.BackchannelEvent](e, "BackchannelReceived"),
		LogoutTokenReplayed: hookOf[oidcrp.BackchannelEvent](e, "LogoutTokenReplayed"),
	}
}

// last returns the latest event of a hook, which must have run n times since the
// last call.
func (e *everyEvent) last(t *testing.T, name string, n int) any {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	events := e.seen[name]
	delete(e.seen, name)
	if len(events) != n {
		t.Fatalf("%s ran %d times, want %d: %+v", name, len(events), n, events)
	}
	return events[n-1]
}

// wantNothingElse fails the test if there are events that last has not returned.
func (e *everyEvent) wantNothingElse(t *testing.T) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.seen) > 0 {
		t.Errorf("further events: %+v", e.seen)
	}
}

func wantEvent(t *testing.T, name string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the event of %s is\n%+v\nwant\n%+v", name, got, want)
	}
}

// newEventsApp is an app whose events are collected. "/id" says which session the
// request has, and with which sid.
func newEventsApp(t *testing.T) (*testApp, *everyEvent) {
	t.Helper()
	events := new(everyEvent)
	return newTestApp(t, setup{
		config: func(c *oidcrp.Config) { c.Trace, c.Tokens.Keep = events.trace(), true },
		routes: func(c *oidcrp.Client, mux *http.ServeMux) {
			mux.Handle("/id", c.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s, _ := oidcrp.SessionFromContext(r.Context())
				fmt.Fprint(w, s.ID(), " ", s.SID())
			})))
			mux.HandleFunc("/refresh", func(w http.ResponseWriter, r *http.Request) { _, _ = c.Refresh(w, r) })
			mux.HandleFunc("/strong", func(w http.ResponseWriter, r *http.Request) {
				c.Login(w, r, &oidcrp.AuthOptions{Prompt: "login", ACRValues: []string{"eidas3", "eidas2"}, ReturnTo: "/id?a=b"})
			})
		},
	}), events
}

func TestTrace_LoginEventsHaveTheirFields(t *testing.T) {
	t.Parallel()
	app, events := newEventsApp(t)
	issuer := app.provider.Issuer()
	browser := app.provider.SignIn(t, app.URL+"/strong", "alice")
	_, text := get(t, browser, app.URL+"/id")
	id, _, _ := strings.Cut(text, " ")

	started := events.last(t, "LoginStarted", 1).(oidcrp.LoginEvent)
	if len(started.Login) < 16 {
		t.Errorf("the login is called %q", started.Login)
	}
	wantEvent(t, "LoginStarted", started, oidcrp.LoginEvent{
		Issuer: issuer, Login: started.Login, ReturnTo: "/id?a=b", ACRValues: []string{"eidas3", "eidas2"}, Prompt: "login",
	})
	wantEvent(t, "LoginSucceeded", events.last(t, "LoginSucceeded", 1), oidcrp.LoginEvent{
		Issuer: issuer, Login: started.Login, SessionID: id, Subject: "alice", ACR: "eidas2", AMR: []string{"pwd", "mfa"},
	})
	wantEvent(t, "DiscoveryFetched", events.last(t, "DiscoveryFetched", 1), oidcrp.FetchEvent{
		Issuer: issuer, URL: issuer + "/.well-known/openid-configuration",
	})
	wantEvent(t, "KeysFetched", events.last(t, "KeysFetched", 1), oidcrp.FetchEvent{
		Issuer: issuer, URL: app.provider.Endpoint(oidctest.EndpointJWKS),
	})
	events.wantNothingElse(t)
}

func TestTrace_SessionEventsHaveTheirFields(t *testing.T) {
	t.Parallel()
	app, events := newEventsApp(t)
	browser := app.signIn(t)
	_, text := get(t, browser, app.URL+"/id")
	id, _, _ := strings.Cut(text, " ")
	clear(events.seen)
	want := oidcrp.SessionEvent{Issuer: app.provider.Issuer(), SessionID: id, Subject: "alice"}

	app.provider.Misbehave(fault.RefreshInvalidGrant)
	get(t, browser, app.URL+"/refresh")
	failed := events.last(t, "SessionRefreshed", 1).(oidcrp.SessionEvent)
	if !errors.Is(failed.Err, oidcrp.CodeLoginRequired) {
		t.Errorf("the refresh failed with %v", failed.Err)
	}
	failed.Err = nil
	wantEvent(t, "SessionRefreshed", failed, want)
	app.provider.Misbehave()
	browser = app.signIn(t)
	_, text = get(t, browser, app.URL+"/id")
	var sid string
	want.SessionID, sid, _ = strings.Cut(text, " ")
	clear(events.seen)
	get(t, browser, app.URL+"/refresh")
	want.Rotated = true
	wantEvent(t, "SessionRefreshed", events.last(t, "SessionRefreshed", 1), want)

	res, err := http.PostForm(app.URL+"/auth/backchannel-logout", url.Values{"logout_token": {logoutToken(t, app, sid)}})
	if err != nil {
		t.Fatal(err)
	}
	readBody(t, res)
	received := events.last(t, "BackchannelReceived", 1).(oidcrp.BackchannelEvent)
	if received.JTI == "" {
		t.Errorf("the event is %+v", received)
	}
	wantEvent(t, "BackchannelReceived", received, oidcrp.BackchannelEvent{
		Issuer: want.Issuer, Subject: "alice", SID: sid, JTI: received.JTI,
	})
	get(t, browser, app.URL+"/")
	want.Rotated, want.Reason = false, "logged_out"
	wantEvent(t, "SessionRefused", events.last(t, "SessionRefused", 1), want)
	events.wantNothingElse(t)
}

func TestTrace_ALogoutHasItsFields(t *testing.T) {
	t.Parallel()
	app, events := newEventsApp(t)
	browser := app.signIn(t)
	_, text := get(t, browser, app.URL+"/id")
	id, _, _ := strings.Cut(text, " ")
	clear(events.seen)
	if res, _ := app.logsOut(t, browser, "/auth/logout"); res.StatusCode != http.StatusSeeOther {
		t.Fatalf("the logout answered %s", res.Status)
	}
	wantEvent(t, "LoggedOut", events.last(t, "LoggedOut", 1), oidcrp.SessionEvent{
		Issuer: app.provider.Issuer(), SessionID: id, Subject: "alice", AtProvider: true,
	})
	events.wantNothingElse(t)
}

func logoutToken(t *testing.T, app *testApp, sid string) string {
	t.Helper()
	return app.provider.LogoutToken(oidctest.ClientID, "alice", sid)
}

func TestTrace_ALogoutTokenThatComesTwiceIsAnEvent(t *testing.T) {
	t.Parallel()
	events := new(everyEvent)
	app := newTestApp(t, setup{config: func(c *oidcrp.Config) { c.Trace = events.trace() }})
	form := url.Values{"logout_token": {logoutToken(t, app, "a-sid")}}
	var received oidcrp.BackchannelEvent
	for i := range 2 {
		res, err := http.PostForm(app.URL+"/auth/backchannel-logout", form)
		if err != nil {
			t.Fatal(err)
		}
		readBody(t, res)
		received = events.last(t, "BackchannelReceived", 1).(oidcrp.BackchannelEvent)
		if refused := received.Err != nil; refused != (i == 1) {
			t.Errorf("time %d: the event is %+v", i+1, received)
		}
	}
	received.Err = nil
	replayed := events.last(t, "LogoutTokenReplayed", 1).(oidcrp.BackchannelEvent)
	replayed.Err = nil
	wantEvent(t, "LogoutTokenReplayed", replayed, received)
	if replayed.JTI == "" || replayed.SID != "a-sid" || replayed.Subject != "alice" || replayed.Issuer != app.provider.Issuer() {
		t.Errorf("the event is %+v", replayed)
	}
}

func TestTrace_RefusedLoginsAndRotatedKeysHaveTheirFields(t *testing.T) {
	t.Parallel()
	events := new(everyEvent)
	app := newTestApp(t, setup{config: func(c *oidcrp.Config) { c.Trace = events.trace() }})
	app.signIn(t)
	app.provider.RotateKeys()
	app.clock.Advance(2 * time.Minute)
	app.signIn(t)
	rotated := events.last(t, "KeysRotated", 1).(oidcrp.FetchEvent)
	if len(rotated.Added) != 2 || len(rotated.Removed) != 2 || rotated.Issuer != app.provider.Issuer() ||
		rotated.URL != app.provider.Endpoint(oidctest.EndpointJWKS) {
		t.Errorf("the event is %+v", rotated)
	}
	clear(events.seen)

	app.provider.Misbehave(fault.IDTokenWrongAud)
	res, err := app.provider.Visit(app.provider.Browser(), app.URL+"/me", "alice")
	if err != nil {
		t.Fatal(err)
	}
	readBody(t, res)
	started := events.last(t, "LoginStarted", 1).(oidcrp.LoginEvent)
	refused := events.last(t, "LoginRefused", 1).(oidcrp.LoginEvent)
	if !errors.Is(refused.Err, oidcrp.CodeTokenRefused) {
		t.Errorf("the error is %v", refused.Err)
	}
	refused.Err = nil
	wantEvent(t, "LoginRefused", refused, oidcrp.LoginEvent{
		Issuer: app.provider.Issuer(), Login: started.Login, Code: oidcrp.CodeTokenRefused,
	})

	// A login that cannot start has no name.
	app.provider.Misbehave()
	app.provider.SetDown(true)
	app.clock.Advance(1000 * time.Hour)
	fresh := newTestClient(t, app, func(c *oidcrp.Config) { c.Trace = events.trace() })
	fresh.Login(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), nil)
	refused = events.last(t, "LoginRefused", 1).(oidcrp.LoginEvent)
	if refused.Login != "" || refused.Code != oidcrp.CodeProviderUnavailable || refused.Issuer != app.provider.Issuer() {
		t.Errorf("the event is %+v", refused)
	}
}

func TestTrace_ASessionThatIsTooLargeIsNotASuccess(t *testing.T) {
	t.Parallel()
	events := new(everyEvent)
	alice := oidctest.DefaultPersonas()[0]
	alice.Claims["email"] = oidcrp.RandomText(30 << 10)
	app := newTestApp(t, setup{
		provider: oidctest.Config{Personas: []oidctest.Persona{alice}},
		config:   func(c *oidcrp.Config) { c.Trace = events.trace() },
	})
	browser := app.provider.Browser()
	res, err := app.provider.Visit(browser, app.URL+"/me", "alice")
	if err != nil {
		t.Fatal(err)
	}
	page := readBody(t, res)
	started := events.last(t, "LoginStarted", 1).(oidcrp.LoginEvent)
	refused := events.last(t, "LoginRefused", 1).(oidcrp.LoginEvent)
	if res.StatusCode != http.StatusUnprocessableEntity || refused.Code != oidcrp.CodeSessionTooLarge || refused.Login != started.Login {
		t.Errorf("%s, the event is %+v\n%s", res.Status, refused, page)
	}
	if len(events.seen["LoginSucceeded"]) > 0 || app.who(t, browser, "/").Sub != "" {
		t.Errorf("a login succeeded: %+v", events.seen["LoginSucceeded"])
	}
}

// noting returns a Trace whose hooks note name and the hook's own name.
func noting(name string, notes *[]string) oidcrp.Trace {
	var trace oidcrp.Trace
	hooks := reflect.ValueOf(&trace).Elem()
	for i := range hooks.NumField() {
		hook := hooks.Type().Field(i)
		hooks.Field(i).Set(reflect.MakeFunc(hook.Type, func([]reflect.Value) []reflect.Value {
			*notes = append(*notes, name+" "+hook.Name)
			return nil
		}))
	}
	return trace
}

func TestTrace_Join(t *testing.T) {
	t.Parallel()
	var notes []string
	first, second, third := noting("first", &notes), noting("second", &notes), noting("third", &notes)
	second.KeysFetched = nil
	for what, tt := range map[string]struct {
		joined oidcrp.Trace
		names  string
	}{
		"alone":          {first.Join(), "first"},
		"two":            {first.Join(second), "first second"},
		"three":          {first.Join(second, third), "first second third"},
		"with none":      {oidcrp.Trace{}.Join(first, oidcrp.Trace{}), "first"},
		"one after two":  {first.Join(second).Join(third), "first second third"},
		"the other way":  {third.Join(first), "third first"},
		"with itself":    {third.Join(third), "third third"},
		"none with none": {oidcrp.Trace{}.Join(oidcrp.Trace{}), ""},
	} {
		hooks := reflect.ValueOf(tt.joined)
		for i := range hooks.NumField() {
			hook := hooks.Type().Field(i)
			var want []string
			for _, name := range strings.Fields(tt.names) {
				if name != "second" || hook.Name != "KeysFetched" {
					want = append(want, name+" "+hook.Name)
				}
			}
			if hooks.Field(i).IsNil() != (want == nil) {
				t.Errorf("%s: %s is nil: %v", what, hook.Name, hooks.Field(i).IsNil())
				continue
			}
			notes = nil
			if want != nil {
				hooks.Field(i).Call([]reflect.Value{reflect.ValueOf(t.Context()), reflect.Zero(hook.Type.In(1))})
			}
			if !slices.Equal(notes, want) {
				t.Errorf("%s: of %s there ran %q, want %q", what, hook.Name, notes, want)
			}
		}
	}
	// Join passes the event and its context on.
	var seen []oidcrp.LoginEvent
	type key struct{}
	joined := oidcrp.Trace{LoginRefused: collect(&seen)}.Join(oidcrp.Trace{LoginRefused: func(ctx context.Context, ev oidcrp.LoginEvent) {
		if ctx.Value(key{}) != "value" {
			t.Error("the context is another one")
		}
		seen = append(seen, ev)
	}})
	joined.LoginRefused(context.WithValue(t.Context(), key{}, "value"), oidcrp.LoginEvent{Login: "x"})
	if len(seen) != 2 || seen[0].Login != "x" || seen[1].Login != "x" {
		t.Errorf("the events are %+v", seen)
	}
}
