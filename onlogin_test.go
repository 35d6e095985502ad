package oidcrp_test

import (
	"context"
	"errors"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/providers"
)

// A loginHook is a Config.OnLogin.
type loginHook = func(context.Context, *http.Request, *oidcrp.Session) error

// onLoginApp is an app that asks onLogin about each login.
func onLoginApp(t *testing.T, store oidcrp.Store, refused *[]oidcrp.LoginEvent, onLogin loginHook) *testApp {
	t.Helper()
	return newTestApp(t, setup{provider: autoLogin, config: func(c *oidcrp.Config) {
		c.OnLogin, c.Store = onLogin, store
		c.Trace.LoginRefused = collect(refused)
	}})
}

func TestOnLogin_RunsOnceForADoubleClick(t *testing.T) {
	t.Parallel()
	var runs atomic.Int32
	var refused []oidcrp.LoginEvent
	app := onLoginApp(t, nil, &refused, func(context.Context, *http.Request, *oidcrp.Session) error {
		runs.Add(1)
		return nil
	})
	browser := app.provider.Browser()
	callback := comeBack(t, app, browser, "/tab/1").String()
	cookies := cookiesFor(t, app, browser)
	var clicks sync.WaitGroup
	for range 5 {
		clicks.Go(func() {
			r, _ := http.NewRequest(http.MethodGet, callback, nil)
			for _, cookie := range cookies {
				r.AddCookie(cookie)
			}
			res, err := noRedirects(http.DefaultClient).Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			readBody(t, res)
			if got := res.Header.Get("Location"); res.StatusCode != http.StatusFound || got != app.URL+"/tab/1" {
				t.Errorf("a click led to %s, %s", res.Status, got)
			}
		})
	}
	clicks.Wait()
	if n := runs.Load(); n != 1 || len(refused) > 0 {
		t.Errorf("OnLogin ran %d times, want once; refused: %+v", n, refused)
	}
}

func TestOnLogin_SeesTheClaimsBeforeThereIsASession(t *testing.T) {
	t.Parallel()
	store := oidcrp.NewHookStore(nil)
	accounts := make(map[string]string)
	var refused []oidcrp.LoginEvent
	app := onLoginApp(t, store, &refused, func(ctx context.Context, r *http.Request, s *oidcrp.Session) error {
		var claims struct {
			Email string `json:"email"`
		}
		if err := s.Claims(&claims); err != nil {
			return err
		}
		accounts[s.Issuer()+" "+s.Subject()] = claims.Email
		if _, ok := ctx.Deadline(); !ok {
			t.Error("OnLogin has no limit in time")
		}
		if r.URL.Path != "/auth/callback" || s.ACR() != "eidas1" || s.ID() == "" {
			t.Errorf("OnLogin gets %s and %v", r.URL, s)
		}
		if n := store.Took(oidcrp.OpSet, oidcrp.OpAdd); n != 0 {
			t.Errorf("%d writes to the store before OnLogin", n)
		}
		return nil
	})
	browser := app.provider.Browser()
	get(t, browser, comeBack(t, app, browser, "/tab/1").String())
	if got := app.who(t, browser, "/tab/1"); got.Sub != "alice" {
		t.Errorf("signed in as %q, want alice", got.Sub)
	}
	if want := map[string]string{app.provider.Issuer() + " alice": "alice@example.org"}; !maps.Equal(accounts, want) {
		t.Errorf("the accounts are %v, want %v", accounts, want)
	}
}

func TestOnLogin_RefusesWithWordsForThePerson(t *testing.T) {
	t.Parallel()
	words := map[string]string{"en": "Only agents of the ministry may <enter>.", "fr": "Seuls les agents du ministère peuvent <entrer>."}
	explain := func(language string) string { return words[language] }
	for _, tt := range []struct {
		what    string
		refusal error
		en, fr  string
		detail  bool
	}{
		{"with words", oidcrp.Refuse("not an agent", explain), words["en"], words["fr"], true},
		{"with words, wrapped", fmt.Errorf("accounts: %w", oidcrp.Refuse("not an agent", explain)), words["en"], words["fr"], true},
		{"without", oidcrp.Refuse("not an agent", nil), "Your account was recognised, but it has no access to this service.",
			"Votre compte a été reconnu, mais il n’a pas accès à ce service.", false},
	} {
		for language, want := range map[string]string{"en": tt.en, "fr": tt.fr} {
			for _, script := range []bool{false, true} {
				testRefusal(t, tt.what+" in "+language, tt.refusal, language, want, script, tt.detail)
			}
		}
	}
}

func testRefusal(t *testing.T, what string, refusal error, language, words string, script, detail bool) {
	t.Helper()
	store := oidcrp.NewHookStore(nil)
	var refused []oidcrp.LoginEvent
	app := onLoginApp(t, store, &refused, func(context.Context, *http.Request, *oidcrp.Session) error { return refusal })
	browser := app.provider.Browser()
	callback := comeBack(t, app, browser, "/tab/1")
	accept := acceptHTML
	if script {
		accept = "Accept: application/json"
	}
	res, body := app.asks(t, browser, "GET", callback.RequestURI(), accept, "Accept-Language: "+language)
	if res.StatusCode != http.StatusForbidden {
		t.Fatalf("%s: %s\n%s", what, res.Status, body)
	}
	if script {
		want := ""
		if detail {
			want = words
		}
		if got := jsonMember(t, body, "detail"); got != want || jsonMember(t, body, "code") != "login_refused" {
			t.Errorf("%s: the answer is %s, want the detail %q", what, body, want)
		}
	} else if !strings.Contains(body, "<p>"+html.EscapeString(words)+"</p>") {
		t.Errorf("%s: the page does not say %q:\n%s", what, words, body)
	}
	if strings.Contains(body, "not an agent") || !strings.Contains(app.log.String(), "not an agent") {
		t.Errorf("%s: the reason is on the page, or not in the log:\n%s", what, body)
	}
	if len(refused) != 1 || refused[0].Code != oidcrp.CodeLoginRefused || refused[0].Reason != "not an agent" ||
		refused[0].Login == "" || refused[0].Subject != "alice" {
		t.Errorf("%s: the events are %+v", what, refused)
	}
	if line := refusalInLog(app.log); !strings.Contains(line, `"sub":"alice"`) {
		t.Errorf("%s: the log says %s", what, line)
	}
	for _, cookie := range res.Cookies() {
		if cookie.MaxAge >= 0 {
			t.Errorf("%s: the answer sets the cookie %v", what, cookie)
		}
	}
	if n := store.Took(oidcrp.OpSet, oidcrp.OpAdd); n != 0 || app.who(t, browser, "/").Sub != "" {
		t.Errorf("%s: %d writes to the store, or there is a session", what, n)
	}
}

func TestOnLogin_AnyOtherErrorIsAFaultOfTheApp(t *testing.T) {
	t.Parallel()
	for what, fails := range map[string]func() error{
		"an error":                 func() error { return errors.New("s0me database is down") },
		"a code":                   func() error { return oidcrp.CodeTransactionLost },
		"an error of this package": func() error { return &oidcrp.Error{Op: "s0me", Code: oidcrp.CodeNoSession} },
		"a panic":                  func() error { panic("s0me bug") },
	} {
		runs := 0
		var refused []oidcrp.LoginEvent
		app := onLoginApp(t, nil, &refused, func(context.Context, *http.Request, *oidcrp.Session) error {
			runs++
			return fails()
		})
		browser := app.provider.Browser()
		res, body := get(t, browser, comeBack(t, app, browser, "/tab/1").String())
		if res.StatusCode != http.StatusInternalServerError || strings.Contains(body, "s0me") {
			t.Errorf("%s: %s at %s\n%s", what, res.Status, res.Request.URL.Path, body)
		}
		subject := "alice"
		if what == "a panic" {
			subject = "" // it has left OnLogin without saying whose login it was
		}
		if len(refused) != 1 || refused[0].Code != oidcrp.CodeInternal || refused[0].Reason != "" || refused[0].Subject != subject {
			t.Errorf("%s: the events are %+v", what, refused)
		}
		if line := refusalInLog(app.log); strings.Contains(line, `"sub":"alice"`) != (subject != "") {
			t.Errorf("%s: the log says %s", what, line)
		}
		if got := app.who(t, browser, "/"); got.Sub != "" || runs != 1 {
			t.Errorf("%s: %q is signed in, after OnLogin ran %d times", what, got.Sub, runs)
		}
	}
}

// A middleware of the app may have put something into the request's context.
func TestOnLogin_GetsTheRequestsOwnContext(t *testing.T) {
	t.Parallel()
	type tenantKey struct{}
	var got any
	app := newTestApp(t, setup{provider: autoLogin, config: func(c *oidcrp.Config) {
		c.OnLogin = func(_ context.Context, r *http.Request, _ *oidcrp.Session) error {
			got = r.Context().Value(tenantKey{})
			return nil
		}
	}})
	browser := app.provider.Browser()
	callback := comeBack(t, app, browser, "/tab/1")
	r := httptest.NewRequest(http.MethodGet, callback.String(), nil)
	for _, cookie := range browser.Jar.Cookies(callback) {
		r.AddCookie(cookie)
	}
	r = r.WithContext(context.WithValue(r.Context(), tenantKey{}, "mairie"))
	if _, err := app.client.Callback(t.Context(), r); err != nil || got != "mairie" {
		t.Errorf("OnLogin finds %v in the context, error %v", got, err)
	}
}

// A login alone would sign the same account in again, and refuse it again.
func TestOnLogin_ARefusedPersonCanSignInWithAnotherAccount(t *testing.T) {
	t.Parallel()
	for language, button := range map[string]string{"en": "Sign in with another account", "fr": "Se connecter avec un autre compte"} {
		app := newTestApp(t, setup{config: func(c *oidcrp.Config) {
			c.OnLogin = func(_ context.Context, _ *http.Request, s *oidcrp.Session) error {
				if s.Subject() == "alice" {
					return oidcrp.Refuse("not an agent", nil)
				}
				return nil
			}
		}})
		browser := app.provider.Browser()
		first, err := app.provider.Visit(browser, app.URL+"/tab/1?a=b", "alice")
		if err != nil {
			t.Fatal(err)
		}
		readBody(t, first)
		// The second time, the provider does not ask, and the person is where they were.
		res, body := app.asks(t, browser, "GET", follow(t, browser, follow(t, browser, app.URL+"/tab/1?a=b").String()).RequestURI(),
			acceptHTML, "Accept-Language: "+language)
		if res.StatusCode != 403 || !strings.Contains(body, ">"+button+"</button>") {
			t.Fatalf("%s\n%s", res.Status, body)
		}
		wantOtherAccount(t, app, browser, body, "/tab/1?a=b")
	}
}

// wantOtherAccount presses the button of a page: the session at the provider ends, and
// the page that the person wanted leads to the provider's question who they are.
func wantOtherAccount(t *testing.T, app *testApp, browser *http.Client, page, want string) {
	t.Helper()
	action := formAction(page)
	if !strings.HasPrefix(action, "/auth/logout?return_to=") {
		t.Fatalf("the button leads to %q", action)
	}
	// The page sends no Origin, and the browser says whose it is.
	res, body := app.asks(t, browser, "POST", action, acceptHTML, navigate, "Sec-Fetch-Site: same-origin", "Origin: null")
	if res.StatusCode != http.StatusSeeOther {
		t.Fatalf("the button is answered by %s\n%s", res.Status, body)
	}
	back := follow(t, browser, res.Header.Get("Location"))
	if page := follow(t, browser, back.String()); page.RequestURI() != want {
		t.Errorf("the logout leads to %s", page)
	}
	if _, body := get(t, browser, app.URL+want); !strings.Contains(body, "Who do you want to be?") {
		t.Errorf("the next login met\n%s", body)
	}
}

func TestRequire_ARefusedPersonCanSignInWithAnotherAccount(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{routes: func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.Handle("/agents", c.Require(oidcrp.Claim("role", "agent"))(http.HandlerFunc(sayWho)))
	}})
	browser := app.signIn(t)
	res, body := get(t, browser, app.URL+"/agents")
	if res.StatusCode != 403 || !strings.Contains(body, ">Sign in with another account</button>") {
		t.Fatalf("%s\n%s", res.Status, body)
	}
	wantOtherAccount(t, app, browser, body, "/agents")
	// As long as a login may help, the page offers that.
	browser = app.signIn(t)
	_, body = app.asks(t, browser, "POST", "/agents", acceptHTML, navigate, "Sec-Fetch-Site: same-origin", "Origin: APP")
	if !strings.Contains(body, `<a class="button" href="/auth/login?`) || strings.Contains(body, "another account</button>") {
		t.Errorf("a form post is answered with\n%s", body)
	}
}

// Apple sends the name once, in a field that nobody signed.
func TestOnLogin_GetsTheUserFieldOfThePostedCallback(t *testing.T) {
	t.Parallel()
	var got []string
	app := newTestApp(t, setup{provider: oidctest.Config{AutoLogin: "alice", CallbackUser: true},
		config: func(c *oidcrp.Config) {
			c.ResponseMode = "form_post"
			c.OnLogin = func(_ context.Context, r *http.Request, _ *oidcrp.Session) error {
				got = append(got, string(providers.AppleUser(r)))
				return nil
			}
		}})
	for range 2 {
		app.signIn(t)
	}
	if len(got) != 2 || jsonMember(t, got[0], "email") != "alice@example.org" || got[1] != "" {
		t.Errorf("OnLogin got %q", got)
	}
	if strings.Contains(app.log.String(), "alice@example.org") {
		t.Error("the log shows the field")
	}
}

func TestAppleUser_TakesOneObjectWithinBounds(t *testing.T) {
	t.Parallel()
	const sound = `{"name":{"firstName":"A"}}`
	long := `{"a":"` + strings.Repeat("a", 4<<10) + `"}`
	for _, tt := range []struct {
		what, method string
		form         url.Values
		want         string
	}{
		{"an object", "POST", url.Values{"user": {sound}}, sound},
		{"none", "POST", url.Values{"state": {"x"}}, ""},
		{"one in a query", "GET", url.Values{"user": {sound}}, ""},
		{"two", "POST", url.Values{"user": {sound, sound}}, ""},
		{"a long one", "POST", url.Values{"user": {long}}, ""},
		{"text", "POST", url.Values{"user": {"alice"}}, ""},
		{"a list", "POST", url.Values{"user": {`["a"]`}}, ""},
		{"a name twice", "POST", url.Values{"user": {`{"email":"a","email":"b"}`}}, ""},
		{"more after it", "POST", url.Values{"user": {sound + sound}}, ""},
		{"a deep one", "POST", url.Values{"user": {`{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "}"}}, ""},
	} {
		r := httptest.NewRequest(tt.method, "/auth/callback?"+tt.form.Encode(), nil)
		if tt.method == "POST" {
			r = httptest.NewRequest(tt.method, "/auth/callback", strings.NewReader(tt.form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		if err := r.ParseForm(); err != nil {
			t.Fatal(err)
		}
		if got := string(providers.AppleUser(r)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.what, got, tt.want)
		}
	}
	if got := providers.AppleUser(httptest.NewRequest("POST", "/", nil)); got != nil {
		t.Errorf("a request that was not read: %s", got)
	}
}

// What every login must meet is decided before OnLogin, which an app may set as it likes,
// and again on protected routes, for sessions from before the setting.
func TestRequirements_OfTheConfigAreMetByEveryLoginAndSession(t *testing.T) {
	t.Parallel()
	for required, signsIn := range map[string]bool{"alice": true, "bruno": false} {
		var runs atomic.Int32
		var refused []oidcrp.LoginEvent
		app := newTestApp(t, setup{provider: autoLogin, config: func(c *oidcrp.Config) {
			only := oidcrp.Claim("sub", required)
			only.Explain = func(language string) string { return "only " + required + " in " + language }
			c.Requirements = []oidcrp.Requirement{only}
			c.OnLogin = func(context.Context, *http.Request, *oidcrp.Session) error { runs.Add(1); return nil }
			c.Trace.LoginRefused = collect(&refused)
		}})
		res, body := get(t, app.provider.Browser(), app.URL+"/me")
		if signsIn != (res.StatusCode == http.StatusOK) || signsIn != (runs.Load() == 1) {
			t.Errorf("only %s: status %d, OnLogin ran %d times", required, res.StatusCode, runs.Load())
		}
		if !signsIn && (!strings.Contains(body, "only bruno in en") || len(refused) != 1 || !errors.Is(refused[0].Err, oidcrp.CodeLoginRefused)) {
			t.Errorf("the page says\n%s\nand the events are %+v", body, refused)
		}
		// A session that began before the requirement.
		w := httptest.NewRecorder()
		session := oidcrp.NewSession(map[string]any{"iss": app.provider.Issuer(), "sub": "alice"})
		if err := app.client.StartSession(w, httptest.NewRequest("GET", app.URL, nil), session); err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", app.URL+"/me", nil)
		for _, cookie := range w.Result().Cookies() {
			r.AddCookie(cookie)
		}
		if _, err := app.client.Check(r); (err == nil) != signsIn || err != nil && !errors.Is(err, oidcrp.CodeRequirementUnmet) {
			t.Errorf("only %s, a session of alice: %v", required, err)
		}
	}
}

// The link to sign in asks for what everybody must meet, as a protected page does: nobody
// could use it otherwise.
func TestRequirements_OfTheConfigAreAskedForByEveryLogin(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{config: func(c *oidcrp.Config) { c.Requirements = []oidcrp.Requirement{oidcrp.ACR("eidas2")} }})
	for _, page := range []string{"/auth/login?return_to=/me", "/me"} {
		res, err := app.provider.Visit(app.provider.Browser(), app.URL+page, "alice")
		if err != nil {
			t.Fatal(err)
		}
		if body := readBody(t, res); res.StatusCode != http.StatusOK || res.Request.URL.Path != "/me" {
			t.Errorf("%s ended at %s with %s\n%s", page, res.Request.URL, res.Status, body)
		}
	}
	hour, minute := time.Hour, time.Minute
	for what, test := range map[string]struct {
		login        oidcrp.AuthOptions
		requirements []oidcrp.Requirement
		acr, maxAge  string
	}{
		"nothing": {maxAge: "", acr: ""},
		"a shorter time in Login": {
			oidcrp.AuthOptions{MaxAge: &minute}, []oidcrp.Requirement{oidcrp.MaxAge(hour)}, "", "60"},
		"a longer time in Login": {
			oidcrp.AuthOptions{MaxAge: &hour}, []oidcrp.Requirement{oidcrp.MaxAge(2 * hour), oidcrp.MaxAge(minute), oidcrp.MaxAge(hour)}, "", "60"},
		"fewer levels than Login": {
			oidcrp.AuthOptions{ACRValues: []string{"eidas1"}, RequireACR: []string{"eidas1", "eidas2"}},
			[]oidcrp.Requirement{oidcrp.ACR("eidas2", "eidas3")}, "eidas2", ""},
		"a role": {
			oidcrp.AuthOptions{ACRValues: []string{"eidas1"}, RequireACR: []string{"eidas1", "eidas2"}},
			[]oidcrp.Requirement{oidcrp.Claim("role", "admin")}, "eidas1", ""},
	} {
		app := newTestApp(t, setup{config: func(c *oidcrp.Config) {
			c.Login, c.Requirements = test.login, test.requirements
			c.Provider.AdjustMetadata = func(m *oidcrp.Metadata) {
				m.ClaimsParameterSupported, m.ACRValuesSupported = false, []string{"eidas1", "eidas2"}
			}
		}})
		for _, page := range []string{"/auth/login", "/me"} {
			res, _ := app.asks(t, noRedirects(app.provider.Browser()), "GET", page, acceptHTML)
			location, err := res.Location()
			if err != nil {
				t.Fatal(what, err)
			}
			if q := location.Query(); q.Get("acr_values") != test.acr || page == "/auth/login" && q.Get("max_age") != test.maxAge {
				t.Errorf("%s, from %s: acr_values %q, max_age %q, want %q and %q", what, page, q.Get("acr_values"), q.Get("max_age"), test.acr, test.maxAge)
			}
		}
	}
}

func TestNew_RefusesRequirementsThatCannotBeAskedFor(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*oidcrp.Config){
		"Requirements and Login.RequireACR have no acr value": func(c *oidcrp.Config) {
			c.Login.RequireACR, c.Requirements = []string{"eidas1"}, []oidcrp.Requirement{oidcrp.ACR("eidas2")}
		},
		"no max_age here": func(c *oidcrp.Config) {
			c.Requirements = []oidcrp.Requirement{oidcrp.MaxAge(time.Hour)}
			c.Validate = func(_ oidcrp.Config, requirements ...oidcrp.Requirement) error {
				var o oidcrp.AuthOptions
				for _, requirement := range requirements {
					requirement.Ask(&o)
				}
				if o.MaxAge != nil {
					return errors.New("no max_age here")
				}
				return nil
			}
		},
		"without spaces": func(c *oidcrp.Config) {
			c.Login.Claims = &oidcrp.ClaimsRequest{IDToken: map[string]*oidcrp.ClaimRequest{"acr": {Essential: true, Value: "a b"}}}
		},
	} {
		_, err := oidcrp.New(soundConfig(change))
		if wantCode(t, err, oidcrp.CodeConfigInvalid); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %q", err, want)
		}
	}
}

func TestNew_RefusesAnIncompleteRequirementOfTheConfig(t *testing.T) {
	t.Parallel()
	for what, requirement := range map[string]oidcrp.Requirement{
		"no name": {Met: func(*oidcrp.Session, time.Time) bool { return true }}, "no rule": {Name: "all"},
	} {
		_, err := oidcrp.New(soundConfig(func(c *oidcrp.Config) { c.Requirements = []oidcrp.Requirement{requirement} }))
		if wantCode(t, err, oidcrp.CodeConfigInvalid); err == nil || !strings.Contains(err.Error(), "Requirements [0]") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
