package oidcrp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"html/template"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

// A groupApp is an app with two providers, one for agents and one for citizens. The
// testApp's own client and provider are those of agents.
type groupApp struct {
	*testApp
	group    *oidcrp.Group
	citizens *testApp
	ended    []oidcrp.SessionEvent // of both
	began    []oidcrp.LoginEvent   // of both
}

// A groupSetup says in what a groupApp differs from the usual one.
type groupSetup struct {
	agents, citizens func(*oidcrp.Config)
	members          func([]oidcrp.Member)
	routes           func(*groupApp, *http.ServeMux)
}

// newGroupApp starts an app like that of newTestApp, with RequireLogin and Require of a
// Group, and with "/agents-only", which requires a login at the first member.
func newGroupApp(t testing.TB, s groupSetup) *groupApp {
	t.Helper()
	app := &groupApp{testApp: &testApp{clock: newTestClock(), log: new(testLog)}}
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	app.URL = server.URL
	app.citizens = &testApp{URL: server.URL, clock: app.clock, log: app.log}
	for _, member := range []struct {
		app    *testApp
		prefix string
		change func(*oidcrp.Config)
	}{{app.testApp, "/auth/agents/", s.agents}, {app.citizens, "/auth/citizens/", s.citizens}} {
		member.app.provider = oidctest.NewServer(t, oidctest.Config{Now: app.clock.Now})
		member.app.client = newTestClient(t, member.app, func(cfg *oidcrp.Config) {
			cfg.PathPrefix = member.prefix
			cfg.Trace.LoggedOut, cfg.Trace.LoginSucceeded = collect(&app.ended), collect(&app.began)
			if member.change != nil {
				member.change(cfg)
			}
		})
	}
	members := []oidcrp.Member{{Client: app.client, Name: "AgentConnect"}, {Client: app.citizens.client, Name: "CitizenConnect"}}
	if s.members != nil {
		s.members(members)
	}
	app.group = mustGroup(t, "/auth", members...)
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", sayWho)
	mux.Handle("/me", app.group.RequireLogin(http.HandlerFunc(sayWho)))
	mux.Handle("/tab/", app.group.RequireLogin(http.HandlerFunc(sayWho)))
	mux.Handle("/admin", app.group.Require(oidcrp.ACR("eidas2"))(http.HandlerFunc(sayWho)))
	mux.Handle("/agents-only", app.client.RequireLogin(http.HandlerFunc(sayWho)))
	mux.HandleFunc("/where", app.sayWhere)
	if s.routes != nil {
		s.routes(app, mux)
	}
	handler = app.group.Middleware(mux)
	return app
}

func mustGroup(t testing.TB, path string, members ...oidcrp.Member) *oidcrp.Group {
	t.Helper()
	g, err := oidcrp.NewGroup(path, members...)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// sayWhere says who is signed in, by each way to ask.
func (a *groupApp) sayWhere(w http.ResponseWriter, r *http.Request) {
	name := map[*oidcrp.Client]string{nil: "nowhere", a.client: "agents", a.citizens.client: "citizens"}[a.group.Client(r)]
	agent, _ := a.client.Session(r)
	citizen, _ := a.citizens.client.Session(r)
	both, err := a.group.Session(r)
	checked, _ := a.group.Check(r)
	current, _ := oidcrp.SessionFromContext(r.Context())
	if both != current || checked != both || (err == nil) != (both != nil) {
		name = "in contradiction"
	}
	fmt.Fprintf(w, "%s: agent %q, citizen %q", name, agent.Subject(), citizen.Subject())
}

// signInAt signs in at one of the two members, in a browser of its own if it is nil.
func (a *groupApp) signInAt(t testing.TB, member *testApp, browser *http.Client, persona string) *http.Client {
	t.Helper()
	if browser == nil {
		browser = a.provider.Browser()
	}
	res, err := member.provider.Visit(browser, a.URL+member.client.LoginURL("/where"), persona)
	if err != nil {
		t.Fatal(err)
	}
	if body := readBody(t, res); res.Request.URL.Path != "/where" {
		t.Fatalf("the login ended at %s:\n%s", res.Request.URL, body)
	}
	return browser
}

// wantWhere fails the test unless /where says so.
func (a *groupApp) wantWhere(t testing.TB, browser *http.Client, want string) {
	t.Helper()
	if _, body := a.asks(t, browser, "GET", "/where", acceptHTML, navigate); body != want {
		t.Errorf("signed in %s, want %s", body, want)
	}
}

const (
	nowhere     = `nowhere: agent "", citizen ""`
	aliceAgent  = `agents: agent "alice", citizen ""`
	brunoPerson = `citizens: agent "", citizen "bruno"`
)

// A person who is signed in at another member stays so: a silent sign-in would end that.
func TestGroup_NoSilentSignInForAPersonOfAnotherMember(t *testing.T) {
	t.Parallel()
	app := newGroupApp(t, groupSetup{routes: func(a *groupApp, mux *http.ServeMux) {
		mux.Handle("/news", a.client.SignInSilently(http.HandlerFunc(sayWho)))
	}})
	browser := app.signInAt(t, app.citizens, nil, "bruno")
	for range 3 {
		if got := app.load(t, browser, "/news", document); got != "bruno" {
			t.Errorf("the page is shown to %q", got)
		}
	}
	app.wantTries(t, "signed in elsewhere", 0)
	browser = app.provider.Browser()
	for range 3 {
		app.load(t, browser, "/news", document)
	}
	app.wantTries(t, "signed in nowhere", 1)
}

func TestNewGroup_RefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	client := func(change func(*oidcrp.Config)) *oidcrp.Client { return mustNew(t, change) }
	at := func(prefix string) *oidcrp.Client {
		return client(func(cfg *oidcrp.Config) { cfg.PathPrefix = prefix })
	}
	same := at("/a/")
	member := func(c *oidcrp.Client, name string) oidcrp.Member { return oidcrp.Member{Client: c, Name: name} }
	for _, test := range []struct {
		what, path string
		members    []oidcrp.Member
		want       []string
	}{
		{"no member", "/auth", nil, []string{"there are no members: give at least one"}},
		{"a nameless member", "/auth", []oidcrp.Member{member(at("/a/"), " ")}, []string{"Member[0].Name is empty: give the provider's name"}},
		{"a member without a Client", "/auth", []oidcrp.Member{member(nil, "A")}, []string{"Member[0].Client is nil: give the Client"}},
		{"two of one name", "/auth", []oidcrp.Member{member(at("/a/"), "A"), member(at("/b/"), "A")}, []string{`Member[1].Name "A" is also another member's: give each its own`}},
		{"one Client twice", "/auth", []oidcrp.Member{member(same, "A"), member(same, "B")}, []string{`Client of "B" is also that of "A": make one`}},
		{"one prefix", "/auth", []oidcrp.Member{member(at("/a/"), "A"), member(client(func(cfg *oidcrp.Config) {
			cfg.PathPrefix, cfg.ClientID = "/a/", "other"
		}), "B")}, []string{`the Clients of "A" and "B" both answer /a/login: give each its own PathPrefix`}},
		{"one registered URI", "/auth", []oidcrp.Member{member(at("/a/"), "A"), member(client(func(cfg *oidcrp.Config) {
			cfg.PathPrefix, cfg.Registration.RedirectURI = "/b/", "https://app.example/a/callback"
		}), "B")}, []string{`both answer /a/callback`, "URIs in Registration"}},
		{"other hosts", "/auth", []oidcrp.Member{member(at("/a/"), "A"), member(client(func(cfg *oidcrp.Config) {
			cfg.PathPrefix, cfg.BaseURL = "/b/", "https://other.example"
		}), "B")}, []string{`BaseURL of "B" is https://other.example, and that of "A" is https://app.example: they are one app`}},
		{"other schemes", "/auth", []oidcrp.Member{member(client(func(cfg *oidcrp.Config) {
			cfg.PathPrefix, cfg.BaseURL = "/a/", "http://localhost"
		}), "A"), member(client(func(cfg *oidcrp.Config) {
			cfg.PathPrefix, cfg.BaseURL = "/b/", "https://localhost"
		}), "B")}, []string{`BaseURL of "B" is https://localhost, and that of "A" is http://localhost`}},
		{"other base paths", "/auth", []oidcrp.Member{member(at("/a/"), "A"), member(client(func(cfg *oidcrp.Config) {
			cfg.PathPrefix, cfg.BaseURL = "/b/", "https://app.example/x"
		}), "B")}, []string{`BaseURL of "B" is https://app.example/x`}},
		{"a path of a Client", "/a/login", []oidcrp.Member{member(at("/a/"), "A")}, []string{`path "/a/login" is also one of the Client of "A": choose another`}},
		{"the start page", "/", []oidcrp.Member{member(at("/a/"), "A")}, []string{`path "/" must be a clean path`}},
		{"a relative path", "auth", []oidcrp.Member{member(at("/a/"), "A")}, []string{`path "auth" must be a clean path`}},
		{"a directory", "/auth/", []oidcrp.Member{member(at("/a/"), "A")}, []string{`path "/auth/" must be a clean path`}},
		{"dots", "/x/../auth", []oidcrp.Member{member(at("/a/"), "A")}, []string{`must be a clean path`}},
		{"a logo that is none", "/auth", []oidcrp.Member{{Client: at("/a/"), Name: "A", Logo: []byte("<html>")}}, []string{"Member[0].Logo must be a PNG"}},
		{"a large logo", "/auth", []oidcrp.Member{{Client: at("/a/"), Name: "A", Logo: append([]byte("<svg>"), make([]byte, 32<<10)...)}},
			[]string{"Member[0].Logo", "at most 32768 bytes; it has 32773"}},
		{"several mistakes", "auth", []oidcrp.Member{member(nil, "")}, []string{"path", "Member[0].Client", "Member[0].Name"}},
	} {
		g, err := oidcrp.NewGroup(test.path, test.members...)
		text := wantCode(t, err, oidcrp.CodeConfigInvalid).Error()
		for _, want := range test.want {
			if g != nil || !strings.Contains(text, want) {
				t.Errorf("%s: the error is %s, want %s", test.what, text, want)
			}
		}
	}
}

func TestNewGroup_AClientIsAMemberOfOneGroup(t *testing.T) {
	t.Parallel()
	a := mustNew(t, func(cfg *oidcrp.Config) { cfg.PathPrefix = "/a/" })
	b := mustNew(t, func(cfg *oidcrp.Config) { cfg.PathPrefix = "/b/" })
	mustGroup(t, "/one", oidcrp.Member{Client: b, Name: "B"})
	_, err := oidcrp.NewGroup("/two", oidcrp.Member{Client: a, Name: "A"}, oidcrp.Member{Client: b, Name: "B"})
	if text := wantCode(t, err, oidcrp.CodeConfigInvalid).Error(); !strings.Contains(text, `the Client of "B" is already a member`) {
		t.Error(text)
	}
	// The attempt has changed nothing.
	mustGroup(t, "/three", oidcrp.Member{Client: a, Name: "A"})
}

// The whole way: a page, the choice, a login at the second provider, and the page.
func TestGroup_ThePersonChoosesAndComesBack(t *testing.T) {
	t.Parallel()
	app := newGroupApp(t, groupSetup{})
	browser := app.provider.Browser()
	res, body := get(t, browser, app.URL+"/tab/1?x=y")
	if at := res.Request.URL.RequestURI(); res.StatusCode != 200 || at != "/auth?return_to=%2Ftab%2F1%3Fx%3Dy" {
		t.Fatalf("the page leads to %s, %s", at, res.Status)
	}
	for _, link := range []string{`href="/auth/agents/login?return_to=%2Ftab%2F1%3Fx%3Dy"`, `href="/auth/citizens/login?return_to=%2Ftab%2F1%3Fx%3Dy"`} {
		if !strings.Contains(body, link) {
			t.Fatalf("the page has no %s:\n%s", link, body)
		}
	}
	res, err := app.citizens.provider.Visit(browser, app.URL+"/auth/citizens/login?return_to=%2Ftab%2F1%3Fx%3Dy", "bruno")
	if err != nil {
		t.Fatal(err)
	}
	if body := readBody(t, res); res.Request.URL.RequestURI() != "/tab/1?x=y" || !strings.Contains(body, `"bruno"`) {
		t.Fatalf("the login ended at %s:\n%s", res.Request.URL, body)
	}
	app.wantWhere(t, browser, brunoPerson)
	if log := app.log.String(); strings.Contains(log, "Middleware") {
		t.Errorf("the log is %s", log)
	}
	for _, path := range []string{"/", "/me"} {
		if who := app.who(t, browser, path); who.Sub != "bruno" {
			t.Errorf("on %s, %+v is signed in", path, who)
		}
	}
	// To one member by itself, a session of another is none.
	if res, _ := app.asks(t, browser, "GET", "/agents-only", acceptHTML, navigate); !strings.HasPrefix(res.Header.Get("Location"), app.provider.Issuer()) {
		t.Errorf("/agents-only leads to %s", res.Header.Get("Location"))
	}
	app.wantWhere(t, browser, brunoPerson)
}

func TestGroup_RefusesEachKindOfRequestInItsWay(t *testing.T) {
	t.Parallel()
	app := newGroupApp(t, groupSetup{})
	long := "/tab/" + strings.Repeat("x", 3000)
	for _, test := range []struct {
		what, method, path string
		headers            []string
		status             int
		location, login    string
	}{
		{"a page load", "GET", "/me", []string{acceptHTML, navigate}, 302, "/auth?return_to=%2Fme", ""},
		{"the start of a directory", "GET", "/tab/", []string{acceptHTML}, 302, "/auth?return_to=%2Ftab%2F", ""},
		{"a long page", "GET", long, []string{acceptHTML}, 302, "/auth?return_to=" + url.QueryEscape(long), ""},
		{"a script", "GET", "/me", []string{"Sec-Fetch-Mode: cors", "Referer: APP/tab/2"}, 401, "", "/auth?return_to=%2Ftab%2F2"},
		{"a script without a page", "GET", "/me", nil, 401, "", "/auth"},
		{"a script of another site", "GET", "/me", []string{"Referer: https://evil.example/x"}, 401, "", "/auth"},
		{"htmx", "GET", "/me", []string{"HX-Request: true", "HX-Current-URL: APP/tab/3"}, 401, "", "/auth?return_to=%2Ftab%2F3"},
		{"htmx in the place of the browser", "GET", "/me", []string{"HX-Request: true", "HX-Boosted: true"}, 401, "", "/auth?return_to=%2Fme"},
		{"a WebSocket", "GET", "/me", []string{"Upgrade: websocket", "Connection: Upgrade"}, 401, "", "/auth"},
		{"an event stream", "GET", "/me", []string{"Accept: text/event-stream"}, 401, "", "/auth"},
		{"a prefetch", "GET", "/me", []string{acceptHTML, navigate, "Sec-Purpose: prefetch"}, 401, "", "/auth"},
		{"a form", "POST", "/me", []string{acceptHTML, navigate, "Sec-Fetch-Site: same-origin", "Referer: APP/tab/4"}, 401, "", "/auth?return_to=%2Ftab%2F4"},
	} {
		res, body := app.asks(t, app.provider.Browser(), test.method, test.path, test.headers...)
		if location := strings.TrimPrefix(res.Header.Get("Location"), app.URL); res.StatusCode != test.status || location != test.location {
			t.Errorf("%s: %s to %q, want %d to %q", test.what, res.Status, location, test.status, test.location)
		}
		if n := len(res.Cookies()); n > 0 {
			t.Errorf("%s: it sets %d cookies", test.what, n)
		}
		isForm, isHTMX := test.method == "POST", strings.HasPrefix(test.what, "htmx")
		switch {
		case test.status == 302:
		case isForm:
			if !strings.Contains(body, `href="`+test.login+`"`) || !strings.Contains(body, "Sign in, then send it again") {
				t.Errorf("%s: the page is\n%s", test.what, body)
			}
		case jsonMember(t, body, "login_url") != test.login || jsonMember(t, body, "code") != "no_session":
			t.Errorf("%s: %s", test.what, body)
		}
		if got := res.Header.Get("HX-Redirect"); isHTMX && got != test.login || !isHTMX && got != "" {
			t.Errorf("%s: HX-Redirect is %q", test.what, got)
		}
	}
}

func TestGroup_AReturnPathThatDoesNotFitIsLogged(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]bool{"/tab/1?" + strings.Repeat("&a=é", 300): false, "/tab/1?" + strings.Repeat("&", 3500): true} {
		app := newGroupApp(t, groupSetup{})
		res, _ := app.asks(t, app.provider.Browser(), "GET", path, acceptHTML, navigate)
		kept := strings.Contains(res.Header.Get("Location"), "return_to=")
		if logged := strings.Contains(app.log.String(), "it does not fit into the URL of the page for the choice"); logged != want || kept == want {
			t.Errorf("%.20s: logged %t, kept %t", path, logged, kept)
		}
	}
}

func TestGroup_TheReturnPathIsOneOfTheApp(t *testing.T) {
	t.Parallel()
	app := newGroupApp(t, groupSetup{})
	browser := app.signInAt(t, app.testApp, nil, "alice")
	for _, test := range []struct{ asked, want string }{
		{"/tab/1", "/tab/1"},
		{"", "/"},
		{"https://evil.example/", "/"},
		{"//evil.example/", "/"},
		{`/\evil.example`, "/"},
		{"/%2f/evil.example", "/"},
		{"/" + strings.Repeat("x", 4000), "/"},
		// Paths of the Group and of any member: they would lead in circles, to another
		// provider or to a logout.
		{"/auth", "/"},
		{"/auth?return_to=/tab/1", "/"},
		{"/auth/agents/login", "/"},
		{"/auth/citizens/logout", "/"},
	} {
		// Who is signed in goes on at once; who is not, by the login.
		res, _ := app.asks(t, browser, "GET", "/auth?return_to="+url.QueryEscape(test.asked), acceptHTML, navigate)
		if got := res.Header.Get("Location"); res.StatusCode != 302 || got != app.URL+test.want {
			t.Errorf("return_to=%.40s: %s to %s, want %s", test.asked, res.Status, got, test.want)
		}
		login := "/auth/citizens/login"
		if test.want != "/" {
			login += "?return_to=" + url.QueryEscape(test.want)
		}
		_, body := app.asks(t, app.provider.Browser(), "GET", "/auth?return_to="+url.QueryEscape(test.asked), acceptHTML, navigate)
		if !strings.Contains(body, `href="`+login+`"`) {
			t.Errorf("return_to=%.40s: the page has no link to %s", test.asked, login)
		}
	}
	// A member's login leads to no path of another either.
	began := len(app.began)
	res, err := app.provider.Visit(app.provider.Browser(), app.URL+"/auth/agents/login?return_to=/auth/citizens/login", "alice")
	if err != nil {
		t.Fatal(err)
	}
	if readBody(t, res); res.Request.URL.RequestURI() != "/" || len(app.began) != began+1 {
		t.Errorf("the login ended at %s", res.Request.URL)
	}
}

func TestGroup_AStepUpGoesToTheProviderOfTheSession(t *testing.T) {
	t.Parallel()
	app := newGroupApp(t, groupSetup{})
	browser := app.signInAt(t, app.citizens, nil, "alice")
	res, body := app.asks(t, browser, "GET", "/admin", "Sec-Fetch-Mode: cors")
	login := jsonMember(t, body, "login_url")
	if res.StatusCode != 401 || !strings.HasPrefix(login, "/auth/citizens/login?step_up=") {
		t.Errorf("a script gets %s %s", res.Status, body)
	}
	res, err := app.citizens.provider.Visit(browser, app.URL+"/admin", "alice")
	if err != nil {
		t.Fatal(err)
	}
	if body := readBody(t, res); res.StatusCode != 200 || !strings.Contains(body, `"eidas2"`) {
		t.Errorf("after the step-up: %s %s", res.Status, body)
	}
	app.wantWhere(t, browser, `citizens: agent "", citizen "alice"`)

	// chloe cannot step up: she gets the reason, and no loop.
	browser = app.signInAt(t, app.citizens, nil, "chloe")
	res, err = app.citizens.provider.Visit(browser, app.URL+"/admin", "chloe")
	if err != nil {
		t.Fatal(err)
	}
	if body := readBody(t, res); res.StatusCode != 403 || !strings.Contains(body, `href="/auth?return_to=%2Fadmin"`) {
		t.Errorf("for chloe: %s\n%s", res.Status, body)
	}
}

// The choice keeps what the page requires, so that one login is enough.
func TestGroup_TheChoiceAsksForWhatThePageRequires(t *testing.T) {
	t.Parallel()
	app := newGroupApp(t, groupSetup{citizens: func(cfg *oidcrp.Config) { cfg.Login.RequireACR = []string{"eidas1", "eidas2"} }})
	browser := app.provider.Browser()
	res, body := app.asks(t, browser, "GET", "/admin", acceptHTML, navigate)
	choice := res.Header.Get("Location")
	if !strings.HasPrefix(choice, app.URL+"/auth?return_to=%2Fadmin&step_up=") {
		t.Fatalf("%s to %s\n%s", res.Status, choice, body)
	}
	_, body = app.asks(t, browser, "GET", strings.TrimPrefix(choice, app.URL), acceptHTML, navigate)
	for _, member := range []*testApp{app.testApp, app.citizens} {
		_, query, _ := strings.Cut(choice, "?")
		login := member.client.LoginURL("/admin") + "&" + strings.TrimPrefix(query, "return_to=%2Fadmin&")
		if !strings.Contains(body, `href="`+template.HTMLEscapeString(login)+`"`) {
			t.Fatalf("no link to %s in\n%s", login, body)
		}
		res, err := member.provider.Visit(member.provider.Browser(), app.URL+login, "alice")
		if err != nil {
			t.Fatal(err)
		}
		body := readBody(t, res)
		if n := member.provider.Count(oidctest.EndpointAuthorization); res.StatusCode != 200 || !strings.Contains(body, `"eidas2"`) || n != 1 {
			t.Errorf("%s: %s after %d logins: %s", login, res.Status, n, body)
		}
	}
	// What is no key of a requirement is not handed on.
	if _, body := app.asks(t, browser, "GET", "/auth?step_up=%22%3E%3Cscript%3E", acceptHTML, navigate); strings.Contains(body, "step_up") {
		t.Errorf("an unknown step_up is on the page:\n%s", body)
	}
}

// One browser, one person: else a logout at one member would bring the session at the
// other back.
func TestGroup_ALoginEndsTheSessionAtAnother(t *testing.T) {
	t.Parallel()
	store := oidcrp.NewHookStore(nil)
	for what, change := range map[string]func(*oidcrp.Config){"in cookies": nil, "stored": func(cfg *oidcrp.Config) { cfg.Store = store }} {
		app := newGroupApp(t, groupSetup{agents: change})
		browser := app.signInAt(t, app.testApp, nil, "alice")
		appURL, err := url.Parse(app.URL)
		if err != nil {
			t.Fatal(err)
		}
		old := app.provider.Browser() // has a copy of the cookies
		old.Jar.SetCookies(appURL, browser.Jar.Cookies(appURL))
		app.wantWhere(t, old, aliceAgent)

		app.clock.Advance(2 * time.Second)
		app.signInAt(t, app.citizens, browser, "bruno")
		app.wantWhere(t, browser, brunoPerson)
		app.wantWhere(t, old, nowhere)
		for _, cookie := range browser.Jar.Cookies(appURL) {
			if strings.HasPrefix(cookie.Name, oidcrp.SessionCookieName(app.client)) {
				t.Errorf("%s: the browser still has %s", what, cookie.Name)
			}
		}
		if len(app.ended) != 1 || app.ended[0].Issuer != app.provider.Issuer() || app.ended[0].Subject != "alice" || app.ended[0].AtProvider {
			t.Errorf("%s: LoggedOut events %+v", what, app.ended)
		}
		if n := app.provider.Count(oidctest.EndpointEndSession); n != 0 {
			t.Errorf("%s: the first provider was told", what)
		}
	}
}

func TestGroup_LogoutIsOfWhoIsSignedIn(t *testing.T) {
	t.Parallel()
	logout := func(app *groupApp, mux *http.ServeMux) {
		mux.HandleFunc("/out", func(w http.ResponseWriter, r *http.Request) { app.group.Logout(w, r, "/tab/1") })
	}
	for _, path := range []string{"/out", "/auth/citizens/logout?return_to=/tab/1", "/auth/agents/logout?return_to=/tab/1"} {
		app := newGroupApp(t, groupSetup{routes: logout})
		browser := app.signInAt(t, app.citizens, nil, "bruno")
		res, body := app.logsOut(t, browser, path)
		location := res.Header.Get("Location")
		if !strings.HasPrefix(location, app.citizens.provider.Issuer()) || !strings.Contains(location, "id_token_hint=") {
			t.Errorf("%s leads to %q with %s\n%s", path, location, res.Status, body)
		}
		app.wantWhere(t, browser, nowhere)
		if res, err := noRedirects(browser).Get(location); err != nil || !strings.HasPrefix(res.Header.Get("Location"), app.URL+"/auth/citizens/logout/callback") {
			t.Errorf("%s: the provider leads to %v, %v", path, res, err)
		}
		if len(app.ended) != 1 || app.ended[0].Issuer != app.citizens.provider.Issuer() || app.ended[0].Subject != "bruno" || !app.ended[0].AtProvider {
			t.Errorf("%s: LoggedOut events %+v", path, app.ended)
		}
	}
	app := newGroupApp(t, groupSetup{routes: logout})
	if res, _ := app.logsOut(t, app.provider.Browser(), "/out"); res.StatusCode != 303 || res.Header.Get("Location") != app.URL+"/tab/1" {
		t.Errorf("for nobody: %s to %s", res.Status, res.Header.Get("Location"))
	}
	// A session that is over still tells which provider to go to.
	browser := app.signInAt(t, app.citizens, nil, "bruno")
	app.clock.Advance(2 * time.Hour)
	if res, _ := app.logsOut(t, browser, "/out"); !strings.HasPrefix(res.Header.Get("Location"), app.citizens.provider.Issuer()) {
		t.Errorf("after the session: %s to %s", res.Status, res.Header.Get("Location"))
	}
}

// The logout path of a member that nobody is signed in at is as good as any.
func TestGroup_TheLogoutPathOfAnotherMemberDoesTheSame(t *testing.T) {
	t.Parallel()
	const path = "/auth/agents/logout"
	store := oidcrp.NewHookStore(nil)
	for what, during := range map[string]func(*groupApp){
		"a session that is over":           func(app *groupApp) { app.clock.Advance(2 * time.Hour) },
		"a session that cannot be read":    func(app *groupApp) { app.clock.Advance(2 * time.Second); store.Fail(errors.New("down")) },
		"a session that can still be used": func(*groupApp) {},
	} {
		store.Fail(nil)
		app := newGroupApp(t, groupSetup{citizens: func(cfg *oidcrp.Config) { cfg.Store, cfg.Sessions.InCookies = store, true }})
		browser := app.signInAt(t, app.citizens, nil, "bruno")
		during(app)
		res, _ := app.logsOut(t, browser, path)
		if to := res.Header.Get("Location"); !strings.HasPrefix(to, app.citizens.provider.Issuer()) {
			t.Errorf("%s: %s to %s", what, res.Status, to)
		}
	}
	store.Fail(nil)
	// Browsers without Fetch Metadata, and scripts, are not asked either.
	for _, headers := range [][]string{{acceptHTML, "Origin: APP"}, {"Sec-Fetch-Mode: cors", "Sec-Fetch-Site: same-origin", "Origin: APP"}} {
		app := newGroupApp(t, groupSetup{})
		browser := app.signInAt(t, app.citizens, nil, "bruno")
		if res, _ := app.asks(t, browser, "POST", path, headers...); !strings.HasPrefix(res.Header.Get("Location"), app.citizens.provider.Issuer()) {
			t.Errorf("%v: %s to %s", headers, res.Status, res.Header.Get("Location"))
		}
	}
	// An origin that one member trusts does not sign people of another out.
	app := newGroupApp(t, groupSetup{agents: func(cfg *oidcrp.Config) { cfg.TrustedOrigins = []string{"https://one.example"} }})
	browser := app.signInAt(t, app.citizens, nil, "bruno")
	res, body := app.asks(t, browser, "POST", path, acceptHTML, navigate, "Sec-Fetch-Site: same-site", "Origin: https://one.example")
	if res.StatusCode != 200 || !strings.Contains(body, "<form") {
		t.Errorf("a page of another origin: %s to %s", res.Status, res.Header.Get("Location"))
	}
	app.wantWhere(t, browser, brunoPerson)
}

func TestGroup_SignedOutPagesLeadToTheChoice(t *testing.T) {
	t.Parallel()
	app := newGroupApp(t, groupSetup{})
	browser := app.provider.Browser()
	if _, body := app.asks(t, browser, "GET", "/auth/agents/logout/callback", acceptHTML); !strings.Contains(body, `<a class="button" href="/auth">Sign in</a>`) {
		t.Errorf("the signed-out page is\n%s", body)
	}
	// It is not shown to a person who is signed in at another member.
	app.signInAt(t, app.citizens, browser, "bruno")
	if res, _ := app.asks(t, browser, "GET", "/auth/agents/logout/callback", acceptHTML); res.Header.Get("Location") != app.URL+"/" {
		t.Errorf("for bruno: %s to %s", res.Status, res.Header.Get("Location"))
	}
}

// A member refuses a login while the person is signed in at another: the way to another
// account is a logout at the provider that refused, not at the other.
func TestGroup_AnotherAccountIsOneOfTheMemberThatRefused(t *testing.T) {
	t.Parallel()
	app := newGroupApp(t, groupSetup{citizens: func(cfg *oidcrp.Config) {
		cfg.OnLogin = func(context.Context, *http.Request, *oidcrp.Session) error { return oidcrp.Refuse("no", nil) }
	}})
	browser := app.signInAt(t, app.testApp, nil, "alice")
	res, err := app.citizens.provider.Visit(browser, app.URL+app.citizens.client.LoginURL("/where"), "bruno")
	if err != nil {
		t.Fatal(err)
	}
	body := readBody(t, res)
	_, action, _ := strings.Cut(body, `action="`)
	action, _, _ = strings.Cut(action, `"`)
	action = html.UnescapeString(action)
	if res.StatusCode != http.StatusForbidden || !strings.HasPrefix(action, "/auth/citizens/logout?") {
		t.Fatalf("%s, with a form to %q:\n%s", res.Status, action, body)
	}
	res, _ = app.logsOut(t, browser, action)
	if to := res.Header.Get("Location"); !strings.HasPrefix(to, app.citizens.provider.Issuer()) {
		t.Errorf("another account: %s to %s", res.Status, to)
	}
}

// Where one provider fails, the person may take another.
func TestGroup_AFailedLoginLeadsToTheChoice(t *testing.T) {
	t.Parallel()
	app := newGroupApp(t, groupSetup{})
	app.provider.SetDown(true)
	for path, want := range map[string]string{
		"/auth/agents/login?return_to=/tab/1":        `href="/auth?return_to=%2Ftab%2F1"`,
		"/auth/agents/callback?state=x&error=denied": `href="/auth"`,
	} {
		res, body := app.asks(t, app.provider.Browser(), "GET", path, acceptHTML, navigate)
		if res.StatusCode < 400 || !strings.Contains(body, want) {
			t.Errorf("%s: %s, no %s in\n%s", path, res.Status, want, body)
		}
	}
	// A script that asked for one member, or a route of one, does not get the choice.
	for path, want := range map[string]string{
		"/auth/agents/login?return_to=/tab/1": "/auth/agents/login?return_to=%2Ftab%2F1",
		"/agents-only":                        "/auth/agents/login",
	} {
		if _, body := app.asks(t, app.provider.Browser(), "GET", path, "Sec-Fetch-Mode: cors"); jsonMember(t, body, "login_url") != want {
			t.Errorf("%s: %s", path, body)
		}
	}
}

// The back button after a login at another member does not switch the person.
func TestGroup_ALostLoginKeepsThePersonSignedIn(t *testing.T) {
	t.Parallel()
	app := newGroupApp(t, groupSetup{})
	browser := app.provider.Browser()
	res, err := noRedirects(browser).Get(app.URL + "/auth/agents/login?return_to=/tab/1")
	if err != nil {
		t.Fatal(err)
	}
	location, err := res.Location()
	if err != nil {
		t.Fatal(err)
	}
	stranger := app.signInAt(t, app.citizens, nil, "bruno") // a browser without the login's cookie
	back := "/auth/agents/callback?code=x&state=" + url.QueryEscape(location.Query().Get("state"))
	if res, _ := app.asks(t, stranger, "GET", back, acceptHTML, navigate); res.Header.Get("Location") != app.URL+"/tab/1" {
		t.Errorf("%s to %s", res.Status, res.Header.Get("Location"))
	}
	app.wantWhere(t, stranger, brunoPerson)
}

func TestGroup_AnOutageIsNeverSignedOut(t *testing.T) {
	t.Parallel()
	store := oidcrp.NewHookStore(nil)
	app := newGroupApp(t, groupSetup{citizens: func(cfg *oidcrp.Config) { cfg.Store = store }, routes: func(app *groupApp, mux *http.ServeMux) {
		mux.HandleFunc("/out", func(w http.ResponseWriter, r *http.Request) { app.group.Logout(w, r, "/") })
	}})
	bruno := app.signInAt(t, app.citizens, nil, "bruno")
	alice := app.signInAt(t, app.testApp, nil, "alice")
	store.Fail(errors.New("down"))
	app.clock.Advance(2 * time.Second)
	for _, headers := range [][]string{{acceptHTML, navigate}, {"Sec-Fetch-Mode: cors"}} {
		for _, path := range []string{"/me", "/admin"} {
			res, body := app.asks(t, bruno, "GET", path, headers...)
			if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || strings.Contains(body, "need to sign in") {
				t.Errorf("%s answers %s\n%s", path, res.Status, body)
			}
		}
	}
	if res, _ := app.asks(t, bruno, "GET", "/", acceptHTML, navigate); res.StatusCode != 200 || len(res.Cookies()) > 0 {
		t.Errorf("the public page answers %s and sets %v", res.Status, res.Cookies())
	}
	// Others go on, and nobody is asked where to sign in but for the asking.
	app.wantWhere(t, alice, aliceAgent)
	if res, _ := app.asks(t, alice, "GET", "/me", acceptHTML, navigate); res.StatusCode != 200 {
		t.Errorf("alice gets %s", res.Status)
	}
	// A logout says that it is not complete.
	res, _ := app.logsOut(t, bruno, "/auth/agents/logout")
	if res, err := bruno.Get(res.Header.Get("Location")); err != nil || !strings.Contains(readBody(t, res), "Signing out is not complete") {
		t.Errorf("after the logout: %v, %v", res, err)
	}
	store.Fail(nil)
}

func TestGroup_EventsNameTheProvider(t *testing.T) {
	t.Parallel()
	app := newGroupApp(t, groupSetup{})
	browser := app.signInAt(t, app.testApp, nil, "alice")
	app.clock.Advance(time.Second)
	app.signInAt(t, app.citizens, browser, "bruno")
	var issuers []string
	for _, ev := range app.began {
		issuers = append(issuers, ev.Issuer)
	}
	if want := []string{app.provider.Issuer(), app.citizens.provider.Issuer()}; !slices.Equal(issuers, want) {
		t.Errorf("LoginSucceeded names %q, want %q", issuers, want)
	}
}

// Each provider ends the sessions of its own Client.
func TestGroup_BackchannelLogoutIsEachMembersOwn(t *testing.T) {
	t.Parallel()
	app := newGroupApp(t, groupSetup{})
	alice := app.signInAt(t, app.testApp, nil, "alice")
	other := app.signInAt(t, app.citizens, nil, "alice") // another person of that name
	app.clock.Advance(2 * time.Minute)
	post := func(path string, member *testApp) int {
		form := url.Values{"logout_token": {member.provider.LogoutToken(oidctest.ClientID, "alice", "")}}
		res, err := http.PostForm(app.URL+path, form)
		if err != nil {
			t.Fatal(err)
		}
		readBody(t, res)
		return res.StatusCode
	}
	if status := post("/auth/citizens/backchannel-logout", app.testApp); status != 400 {
		t.Errorf("a Logout Token of the other provider gets %d", status)
	}
	app.wantWhere(t, other, `citizens: agent "", citizen "alice"`)
	if status := post("/auth/agents/backchannel-logout", app.testApp); status != 200 {
		t.Errorf("the provider's own Logout Token gets %d", status)
	}
	app.wantWhere(t, alice, nowhere)
	app.wantWhere(t, other, `citizens: agent "", citizen "alice"`)
}

func TestGroup_RefreshesAndTouchesTheSession(t *testing.T) {
	t.Parallel()
	api := newAPI(t)
	app := newGroupApp(t, groupSetup{
		citizens: func(cfg *oidcrp.Config) {
			cfg.Tokens.Keep, cfg.Tokens.RefreshBefore = true, 5*time.Minute
			cfg.Scopes = []string{"openid", "offline_access"}
		},
		routes: func(app *groupApp, mux *http.ServeMux) {
			mux.Handle("/api", app.group.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s, _ := oidcrp.SessionFromContext(r.Context())
				res, err := s.HTTPClient(r.Context()).Get(api.URL)
				if err != nil {
					t.Error(err)
					return
				}
				fmt.Fprint(w, readBody(t, res))
			})))
		},
	})
	browser := app.signInAt(t, app.citizens, nil, "bruno")
	_, first := get(t, browser, app.URL+"/api")
	for range 3 { // each of them keeps the session from being idle
		app.clock.Advance(40 * time.Minute)
		if who := app.who(t, browser, "/me"); who.Sub != "bruno" {
			t.Fatalf("signed in as %+v", who)
		}
	}
	if _, last := get(t, browser, app.URL+"/api"); last == first || !strings.HasPrefix(last, "Bearer ") {
		t.Errorf("the API got %q, then %q", first, last)
	}
	if n := app.provider.Count(oidctest.EndpointToken); n != 0 {
		t.Errorf("the other provider was asked for tokens %d times", n)
	}
}

func TestGroup_CheckLeavesTheResponseToTheApp(t *testing.T) {
	t.Parallel()
	high := oidcrp.Claim("email", "alice@example.org")
	app := newGroupApp(t, groupSetup{routes: func(app *groupApp, mux *http.ServeMux) {
		check := func(requirement oidcrp.Requirement) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				s, err := app.group.Check(r, requirement)
				if err != nil {
					app.client.ServeError(w, r, err) // of any member
					return
				}
				json.NewEncoder(w).Encode(whoAnswer{Sub: s.Subject()})
			}
		}
		mux.HandleFunc("/check", check(high))
		mux.HandleFunc("/check/acr", check(oidcrp.ACR("eidas2", "eidas3"))) // of no route
		mux.HandleFunc("/check/mine", func(w http.ResponseWriter, r *http.Request) {
			_, err := app.client.Check(r)
			app.client.ServeError(w, r, err)
		})
	}})
	choice, _ := app.asks(t, app.provider.Browser(), "GET", "/check/acr", acceptHTML, navigate)
	if at := choice.Header.Get("Location"); !strings.HasPrefix(at, app.URL+"/auth?return_to=%2Fcheck%2Facr&step_up=") {
		t.Errorf("nobody is sent to %s", at)
	}
	_, stepUp, _ := strings.Cut(choice.Header.Get("Location"), "step_up=")
	res, err := app.citizens.provider.Visit(app.provider.Browser(), app.URL+"/auth/citizens/login?return_to=/check/acr&step_up="+stepUp, "alice")
	if err != nil {
		t.Fatal(err)
	}
	if body := readBody(t, res); res.StatusCode != 200 || app.citizens.provider.Count(oidctest.EndpointAuthorization) != 1 {
		t.Errorf("after the login: %s %s", res.Status, body)
	}
	browser := app.signInAt(t, app.citizens, nil, "alice")
	if who := app.who(t, browser, "/check"); who.Sub != "alice" {
		t.Errorf("/check says %+v", who)
	}
	// The error of a session leads to its provider, whichever member answers.
	if res, _ := app.asks(t, browser, "GET", "/check/acr", acceptHTML, navigate); !strings.HasPrefix(res.Header.Get("Location"), app.citizens.provider.Issuer()) {
		t.Errorf("a step-up leads to %s", res.Header.Get("Location"))
	}
	// What one member misses is at that member.
	if res, _ := app.asks(t, browser, "GET", "/check/mine", acceptHTML, navigate); !strings.HasPrefix(res.Header.Get("Location"), app.provider.Issuer()) {
		t.Errorf("the check of one member leads to %s", res.Header.Get("Location"))
	}
}

func TestGroup_RequireRefusesWhatAMemberRefuses(t *testing.T) {
	t.Parallel()
	refusing := func(cfg *oidcrp.Config) {
		cfg.Validate = func(_ oidcrp.Config, requirements ...oidcrp.Requirement) error {
			if len(requirements) > 0 && strings.Contains(requirements[0].Name, "retired") {
				return errors.New("retired is refused")
			}
			return nil
		}
		cfg.Login.RequireACR = []string{"eidas1"}
	}
	app := newGroupApp(t, groupSetup{agents: func(cfg *oidcrp.Config) { cfg.Pages.AppName = "x" }, citizens: func(cfg *oidcrp.Config) {
		cfg.Login.ACRValues = nil
	}})
	other := mustGroup(t, "/auth", oidcrp.Member{Client: mustNew(t, func(cfg *oidcrp.Config) { cfg.PathPrefix = "/a/" }), Name: "A"},
		oidcrp.Member{Client: mustNew(t, func(cfg *oidcrp.Config) { cfg.PathPrefix = "/b/"; refusing(cfg) }), Name: "B"})
	for what, requirement := range map[string]oidcrp.Requirement{
		"retired is refused": {Name: "retired", Met: func(*oidcrp.Session, time.Time) bool { return true }},
		"no acr value meets": oidcrp.ACR("eidas2"), // contradicts RequireACR
		"has no Name":        {},
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, what) {
					t.Errorf("it panics with %q, want %q", got, what)
				}
			}()
			other.Require(requirement)
		}()
	}
	app.group.Require(oidcrp.ACR("eidas2")) // does not panic
}

func TestGroup_RefusesRequestsOfOtherOrigins(t *testing.T) {
	t.Parallel()
	app := newGroupApp(t, groupSetup{
		agents:   func(cfg *oidcrp.Config) { cfg.TrustedOrigins = []string{"https://one.example", "https://both.example"} },
		citizens: func(cfg *oidcrp.Config) { cfg.TrustedOrigins = []string{"https://both.example"} },
	})
	browser := app.signInAt(t, app.testApp, nil, "alice")
	for origin, status := range map[string]int{"https://evil.example": 403, "https://one.example": 403, "https://both.example": 200, "APP": 200} {
		if res, body := app.asks(t, browser, "POST", "/me", "Origin: "+origin); res.StatusCode != status {
			t.Errorf("a POST by %s: %s %s", origin, res.Status, body)
		}
	}
}

func TestGroup_AMissingMiddlewareIsNoticed(t *testing.T) {
	t.Parallel()
	for what, wrap := range map[string]func(a, b *oidcrp.Client, h http.Handler) http.Handler{
		"no middleware":          func(_, _ *oidcrp.Client, h http.Handler) http.Handler { return h },
		"those of the members":   func(a, b *oidcrp.Client, h http.Handler) http.Handler { return a.Middleware(b.Middleware(h)) },
		"that of another member": func(_, b *oidcrp.Client, h http.Handler) http.Handler { return b.Middleware(h) },
	} {
		log := new(testLog)
		client := func(prefix string) *oidcrp.Client {
			return mustNew(t, func(cfg *oidcrp.Config) { cfg.PathPrefix, cfg.Logger = prefix, slog.New(slog.NewJSONHandler(log, nil)) })
		}
		a, b := client("/a/"), client("/b/")
		g := mustGroup(t, "/auth", oidcrp.Member{Client: a, Name: "A"}, oidcrp.Member{Client: b, Name: "B"})
		r := httptest.NewRequest("GET", "https://app.example/me", nil)
		r.Header.Set("Accept", "text/html")
		wrap(a, b, g.RequireLogin(http.HandlerFunc(sayWho))).ServeHTTP(httptest.NewRecorder(), r)
		if !strings.Contains(log.String(), "Group.Middleware is missing") {
			t.Errorf("%s: the log is %s", what, log)
		}
	}
}

func TestGroup_ASessionOfATestCounts(t *testing.T) {
	t.Parallel()
	app := newGroupApp(t, groupSetup{})
	for issuer, want := range map[string]*oidcrp.Client{app.citizens.provider.Issuer(): app.citizens.client, app.provider.Issuer(): app.client, "": app.client} {
		claims := map[string]any{"sub": "dana", "acr": "eidas2"}
		if issuer != "" {
			claims["iss"] = issuer
		}
		r := asSession(httptest.NewRequest("GET", "/admin", nil), oidcrp.NewSession(claims))
		w := httptest.NewRecorder()
		app.group.Middleware(app.group.Require(oidcrp.ACR("eidas2"))(http.HandlerFunc(sayWho))).ServeHTTP(w, r)
		if w.Code != 200 || !strings.Contains(w.Body.String(), `"dana"`) || app.group.Client(r) != want {
			t.Errorf("for %s: %d %s", issuer, w.Code, w.Body)
		}
	}
	r := asSession(httptest.NewRequest("GET", "/me", nil), nil)
	if s, err := app.group.Session(r); s != nil || !errors.Is(err, oidcrp.CodeNoSession) || app.group.Client(r) != nil {
		t.Errorf("for nobody: %v, %v", s, err)
	}
}

// With one member, there is nothing to choose.
func TestGroup_OneMemberNeedsNoChoice(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	g := mustGroup(t, "/choose", oidcrp.Member{Client: app.client, Name: "A"})
	handler := g.Middleware(g.RequireLogin(http.HandlerFunc(sayWho)))
	asks := func(path, accept string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", app.URL+path, nil)
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	if w := asks("/me", "text/html"); w.Code != 302 || !strings.HasPrefix(w.Header().Get("Location"), app.provider.Issuer()) {
		t.Errorf("a page leads to %s", w.Header().Get("Location"))
	}
	if w := asks("/me", "*/*"); jsonMember(t, w.Body.String(), "login_url") != "/auth/login" {
		t.Errorf("a script gets %s", w.Body)
	}
	if w := asks("/choose?return_to=/tab/1", "text/html"); w.Code != 302 || w.Header().Get("Location") != app.URL+"/auth/login?return_to=%2Ftab%2F1" {
		t.Errorf("the choice leads to %s", w.Header().Get("Location"))
	}
}
