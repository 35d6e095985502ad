package oidcrp_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

func TestLogout_AtOnceForTheAppItselfOnly(t *testing.T) {
	t.Parallel()
	const sameOrigin, sameSite, crossSite = "Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: same-site", "Sec-Fetch-Site: cross-site"
	app := newTestApp(t, setup{config: func(cfg *oidcrp.Config) { cfg.TrustedOrigins = []string{"https://www.example"} }})
	for _, test := range []struct {
		what, method string
		headers      []string
		atOnce       bool
	}{
		{"a form of the app", "POST", []string{sameOrigin, "Origin: APP"}, true},
		{"a form of the app in a browser without Fetch Metadata", "POST", []string{"Origin: APP"}, true},
		{"a client that is not a browser", "POST", nil, true},
		{"a form of another site", "POST", []string{crossSite, "Origin: https://evil.example"}, false},
		{"a form of a sibling site", "POST", []string{sameSite, "Origin: http://sibling.example"}, false},
		{"a form of another site in a browser without Fetch Metadata", "POST", []string{"Origin: https://evil.example"}, false},
		{"a form of a sandboxed frame", "POST", []string{"Origin: null"}, false},
		{"a form that a service worker sends again", "POST", []string{sameOrigin, "Origin: APP",
			"Sec-Fetch-Mode: same-origin", "Sec-Fetch-Dest: empty", "Upgrade-Insecure-Requests: 1"}, false},
		{"a form of a trusted origin", "POST", []string{sameSite, "Origin: https://www.example"}, true},
		{"a link of the app", "GET", []string{sameOrigin, navigate, "Sec-Fetch-Dest: document", "Sec-Fetch-User: ?1"}, true},
		{"a link that a script of the app follows", "GET", []string{sameOrigin, navigate, "Sec-Fetch-Dest: document", "Referer: APP/tab/1"}, true},
		{"a page that leads on without a click", "GET", []string{sameOrigin, navigate, "Sec-Fetch-Dest: document"}, false},
		{"the same by a page of another site", "GET", []string{sameOrigin, navigate, "Sec-Fetch-Dest: document", "Referer: https://evil.example/"}, false},
		{"a document without a navigation", "GET", []string{sameOrigin, "Sec-Fetch-Dest: document"}, false},
		{"a document that a script fetches", "GET", []string{sameOrigin, "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: document"}, false},
		{"a navigation without a destination", "GET", []string{sameOrigin, navigate}, false},
		{"a service worker that repeats a navigation", "GET", []string{sameOrigin, navigate, "Sec-Fetch-Dest: empty"}, false},
		{"a frame that navigates", "GET", []string{sameOrigin, navigate, "Sec-Fetch-Dest: iframe"}, false},
		{"an old frame that navigates", "GET", []string{sameOrigin, navigate, "Sec-Fetch-Dest: frame"}, false},
		{"a fenced frame", "GET", []string{sameOrigin, navigate, "Sec-Fetch-Dest: fencedframe"}, false},
		{"an embed", "GET", []string{sameOrigin, navigate, "Sec-Fetch-Dest: embed"}, false},
		{"an object", "GET", []string{sameOrigin, navigate, "Sec-Fetch-Dest: object"}, false},
		{"a link through another site and back", "GET", []string{crossSite, navigate, "Sec-Fetch-Dest: document"}, false},
		{"a fetch by the app", "GET", []string{sameOrigin, "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"}, false},
		{"a style of the app", "GET", []string{sameOrigin, "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: style"}, false},
		{"an image in a page of the app", "GET", []string{sameOrigin, "Sec-Fetch-Dest: image"}, false},
		{"a frame in a page of the app", "GET", []string{sameOrigin, "Sec-Fetch-Dest: iframe"}, false},
		{"a request of a script of the app", "GET", []string{sameOrigin, "Sec-Fetch-Dest: empty"}, false},
		{"a link of another site", "GET", []string{crossSite, "Sec-Fetch-Dest: document"}, false},
		{"a link of a sibling site", "GET", []string{sameSite, "Sec-Fetch-Dest: document"}, false},
		{"an image on another site", "GET", []string{crossSite, "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"}, false},
		{"the address bar", "GET", []string{"Sec-Fetch-Site: none"}, false},
		{"a link in a browser without Fetch Metadata", "GET", []string{"Referer: APP/"}, false},
	} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			browser := app.signIn(t)
			res, body := app.asks(t, browser, test.method, "/auth/logout", append(test.headers, acceptHTML)...)
			if left := res.StatusCode == map[string]int{"GET": 302, "POST": 303}[test.method]; left != test.atOnce {
				t.Errorf("answered %s", res.Status)
			}
			if signedIn := app.who(t, browser, "/").Sub == "alice"; signedIn == test.atOnce {
				t.Errorf("signed in afterwards: %t", signedIn)
			}
			if test.atOnce {
				return
			}
			if res.StatusCode != 200 || !strings.Contains(body, "Do you want to sign out") {
				t.Errorf("no confirmation page: %s\n%s", res.Status, body)
			}
			if set := res.Cookies(); len(set) != 1 || !strings.HasSuffix(set[0].Name, "_q") || set[0].MaxAge != 15*60 ||
				!set[0].HttpOnly || set[0].SameSite != http.SameSiteLaxMode || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("it sets the cookies %v and is %s", set, res.Header.Get("Cache-Control"))
			}
		})
	}
}

func TestLogout_APrefetchChangesNothing(t *testing.T) {
	t.Parallel()
	link := []string{"Sec-Fetch-Site: same-origin", navigate, "Sec-Fetch-Dest: document", acceptHTML}
	app := newTestApp(t, setup{})
	browser := app.signIn(t)
	for _, purpose := range []string{
		"Sec-Purpose: prefetch", "Sec-Purpose: prefetch;prerender", "Sec-Purpose: prefetch;anonymous-client-ip",
		"Sec-Purpose: prerender", "Sec-Purpose: Prefetch", "Purpose: prefetch", "Purpose: prerender", "X-Moz: prefetch",
	} {
		res, body := app.asks(t, browser, "GET", "/auth/logout", append(link, purpose)...)
		if res.StatusCode != http.StatusNoContent || len(res.Cookies()) > 0 || body != "" {
			t.Errorf("%s: %s, cookies %v\n%s", purpose, res.Status, res.Cookies(), body)
		}
		if got := app.who(t, browser, "/"); got.Sub != "alice" {
			t.Errorf("%s ended the session", purpose)
		}
	}
}

var postForm = regexp.MustCompile(`<form method="post" action="([^"]*)">`)

func TestLogout_TheConfirmationPageLogsOut(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	browser := app.signIn(t)
	_, body := app.asks(t, browser, "GET", "/auth/logout?return_to=/%3Fa%3Db", acceptHTML, "Sec-Fetch-Site: cross-site")
	action := postForm.FindStringSubmatch(body)
	if action == nil {
		t.Fatalf("no form in\n%s", body)
	}
	res, _ := app.logsOut(t, browser, strings.ReplaceAll(action[1], "&amp;", "&"))
	ended, _ := get(t, browser, res.Header.Get("Location"))
	if got := ended.Request.URL.RequestURI(); got != "/?a=b" {
		t.Errorf("the logout ended at %s", got)
	}
	if got := app.who(t, browser, "/"); got.Sub != "" {
		t.Errorf("still signed in: %+v", got)
	}
}

// formAction returns where the form of a page posts to, "" if there is none.
func formAction(body string) string {
	action := postForm.FindStringSubmatch(body)
	if action == nil {
		return ""
	}
	return html.UnescapeString(action[1])
}

// The page's own button sends Origin: null, since the page has Referrer-Policy:
// no-referrer; a browser without Fetch Metadata says nothing more.
func TestLogout_TheAnswerToTheQuestionIsEnough(t *testing.T) {
	t.Parallel()
	for what, headers := range map[string][]string{
		"no origin":                    {"Origin: null"},
		"an origin that was rewritten": {"Origin: https://backend.internal:8080"},
		"a service worker in Firefox": {"Origin: APP", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: same-origin",
			"Sec-Fetch-Dest: empty", "Upgrade-Insecure-Requests: 1"},
	} {
		app := newTestApp(t, setup{})
		browser := app.signIn(t)
		headers = append(headers, acceptHTML)
		res, body := app.asks(t, browser, "POST", "/auth/logout?return_to=/%3Fa%3Db", headers...)
		first := formAction(body)
		if res.StatusCode != 200 || first == "" || app.who(t, browser, "/").Sub != "alice" {
			t.Fatalf("%s: %s\n%s", what, res.Status, body)
		}
		// Another tab that asks too spoils nothing.
		_, other := app.asks(t, browser, "GET", "/auth/logout", acceptHTML)
		if res, body = app.asks(t, browser, "POST", first, headers...); res.StatusCode != http.StatusSeeOther {
			t.Fatalf("%s: the answer is answered by %s\n%s", what, res.Status, body)
		}
		if ended, _ := get(t, browser, res.Header.Get("Location")); ended.Request.URL.RequestURI() != "/?a=b" {
			t.Errorf("%s: the logout ended at %s", what, ended.Request.URL)
		}
		if got := app.who(t, browser, "/"); got.Sub != "" {
			t.Errorf("%s: still signed in: %+v", what, got)
		}
		if res, body = app.asks(t, browser, "POST", formAction(other), headers...); res.StatusCode != http.StatusSeeOther {
			t.Errorf("%s: the answer in the other tab is answered by %s\n%s", what, res.Status, body)
		}
	}
}

// Another site knows how the answer looks, and may have asked in a browser of its own.
func TestLogout_AnAnswerOfAnotherBrowserIsNone(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	foreign := []string{acceptHTML, "Origin: https://evil.example", "Sec-Fetch-Site: cross-site"}
	_, body := app.asks(t, app.provider.Browser(), "GET", "/auth/logout", acceptHTML)
	stolen := formAction(body)
	for _, asked := range []bool{false, true} { // the victim's browser has a question of its own, or none
		browser := app.signIn(t)
		if asked {
			app.asks(t, browser, "GET", "/auth/logout", acceptHTML)
		}
		for _, path := range []string{stolen, "/auth/logout?confirm=", "/auth/logout?confirm=x", "/auth/logout"} {
			res, body := app.asks(t, browser, "POST", path, foreign...)
			if res.StatusCode != 200 || formAction(body) == "" || app.who(t, browser, "/").Sub != "alice" {
				t.Errorf("%s: %s\n%s", path, res.Status, body)
			}
		}
		// The answer counts in a form alone: a link may have been made by anybody.
		_, body := app.asks(t, browser, "GET", "/auth/logout", acceptHTML)
		if res, _ := app.asks(t, browser, "GET", formAction(body), acceptHTML); res.StatusCode != 200 {
			t.Errorf("a GET with an answer is answered by %s", res.Status)
		}
	}
}

func TestLogout_TellsTheProviderWhoLeaves(t *testing.T) {
	t.Parallel()
	tokens := new(tokenListener)
	app := newTestApp(t, setup{config: func(cfg *oidcrp.Config) {
		tokens.next = cfg.Provider.Transport
		cfg.Provider.Transport = tokens
	}})
	browser := app.signIn(t)
	res, _ := app.logsOut(t, browser, "/auth/logout")
	location, err := res.Location()
	if err != nil || !strings.HasPrefix(location.String(), app.provider.Endpoint(oidctest.EndpointEndSession)+"?") {
		t.Fatalf("Location is %v (%v)", location, err)
	}
	query := location.Query()
	state := query.Get("state")
	for name, want := range map[string]string{
		"id_token_hint": tokens.member(t, "id_token"), "client_id": oidctest.ClientID, "state": state,
		"post_logout_redirect_uri": app.URL + "/auth/logout/callback",
	} {
		if got := query[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if len(state) != 43 || len(query) != 4 {
		t.Errorf("state has %d characters; %d parameters", len(state), len(query))
	}
	// The browser has not been there yet, and is signed out all the same.
	if got := app.who(t, browser, "/"); got.Sub != "" {
		t.Errorf("still signed in: %+v", got)
	}
	if res, _ := app.asks(t, browser, "GET", "/me", acceptHTML); res.StatusCode != 302 {
		t.Errorf("a protected page answers %s", res.Status)
	}
	ended, body := get(t, browser, location.String())
	if ended.Request.URL.Path != "/auth/logout/callback" || !strings.Contains(body, "You are signed out") {
		t.Errorf("ended at %s\n%s", ended.Request.URL, body)
	}
	// The provider has forgotten them too: the next login asks who it is.
	if _, body := get(t, browser, app.URL+"/me"); !strings.Contains(body, "Who do you want to be?") {
		t.Errorf("the next login met\n%s", body)
	}
}

// A tokenListener notes what the token endpoint answers.
type tokenListener struct {
	next http.RoundTripper

	mu   sync.Mutex
	last []byte // guarded by mu
}

func (l *tokenListener) RoundTrip(r *http.Request) (*http.Response, error) {
	next := l.next
	if next == nil {
		next = http.DefaultTransport
	}
	res, err := next.RoundTrip(r)
	if err != nil || !strings.HasSuffix(r.URL.Path, "/token") {
		return res, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last, err = io.ReadAll(res.Body)
	res.Body.Close()
	res.Body = io.NopCloser(bytes.NewReader(l.last))
	return res, err
}

// member returns a member of the last answer.
func (l *tokenListener) member(t *testing.T, name string) string {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	value := jsonMember(t, string(l.last), name)
	if value == "" {
		t.Fatalf("the token endpoint answered no %s", name)
	}
	return value
}

// withLongIDToken makes ID Tokens of about 4 kB.
func withLongIDToken(change func(*oidcrp.Config)) setup {
	people := oidctest.DefaultPersonas()
	people[0].Claims["picture"] = "https://app.example/" + strings.Repeat("a", 2000)
	return setup{provider: oidctest.Config{Personas: people}, config: func(cfg *oidcrp.Config) {
		cfg.Login.Claims = &oidcrp.ClaimsRequest{IDToken: map[string]*oidcrp.ClaimRequest{"picture": nil}}
		if change != nil {
			change(cfg)
		}
	}}
}

var scriptElement = regexp.MustCompile(`<script>(.*?)</script>`)

// hiddenFields returns the hidden inputs of a page.
func hiddenFields(page string) url.Values {
	form := make(url.Values)
	for _, input := range regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		form.Add(input[1], html.UnescapeString(input[2]))
	}
	return form
}

func TestLogout_ALongIDTokenIsPosted(t *testing.T) {
	t.Parallel()
	tokens := new(tokenListener)
	app := newTestApp(t, withLongIDToken(func(cfg *oidcrp.Config) {
		tokens.next, cfg.Provider.Transport = cfg.Provider.Transport, tokens
	}))
	for language, words := range map[string][2]string{"en": {"Signing you out", "Continue"}, "fr": {"Déconnexion en cours", "Continuer"}} {
		browser := app.signIn(t)
		hint := tokens.member(t, "id_token")
		res, body := app.asks(t, browser, "POST", "/auth/logout?return_to=/%3Fa%3Db", acceptHTML, navigate,
			"Sec-Fetch-Site: same-origin", "Origin: APP", "Accept-Language: "+language)
		form := hiddenFields(body)
		if res.StatusCode != 200 || formAction(body) != app.provider.Endpoint(oidctest.EndpointEndSession) || len(form) != 4 ||
			form.Get("id_token_hint") != hint || form.Get("client_id") != oidctest.ClientID || len(form.Get("state")) != 43 ||
			form.Get("post_logout_redirect_uri") != app.URL+"/auth/logout/callback" {
			t.Fatalf("%s, to %q with %v\n%s", res.Status, formAction(body), form, body)
		}
		for _, text := range append(words[:], "<button ") {
			if !strings.Contains(body, text) {
				t.Errorf("in %s the page lacks %q:\n%s", language, text, body)
			}
		}
		wantSubmits(t, res, body)
		if got := app.who(t, browser, "/"); got.Sub != "" {
			t.Errorf("still signed in: %+v", got)
		}
		posted, err := browser.PostForm(formAction(body), form)
		if err != nil {
			t.Fatal(err)
		}
		if readBody(t, posted); posted.Request.URL.RequestURI() != "/?a=b" {
			t.Errorf("the logout ended at %s", posted.Request.URL)
		}
		if _, body := get(t, browser, app.URL+"/me"); !strings.Contains(body, "Who do you want to be?") {
			t.Errorf("the next login met\n%s", body)
		}
	}
}

// wantSubmits checks that the page posts its form by a script that its policy allows,
// and that no policy keeps the form from the provider, or from where that redirects to.
func wantSubmits(t *testing.T, res *http.Response, body string) {
	t.Helper()
	policy, script := res.Header.Get("Content-Security-Policy"), scriptElement.FindStringSubmatch(body)
	oidcrp.WantPolicy(t, "the page that posts", policy, body)
	if script == nil || script[1] != "document.forms[0].submit()" {
		t.Fatalf("the page has the script %q", script)
	}
	sum := sha256.Sum256([]byte(script[1]))
	if !strings.HasSuffix(policy, "; script-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") ||
		strings.Contains(policy, "form-action") || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("the policy is %s, and the page is %s", policy, res.Header.Get("Cache-Control"))
	}
}

func TestBeginLogout_LeavesOutALongIDToken(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, withLongIDToken(nil))
	browser := app.signIn(t)
	location := app.client.BeginLogout(httptest.NewRecorder(), oidcrp.RequestWith(app.cookiesOf(t, browser)...), "")
	query := mustQuery(t, location)
	if len(location) > 2000 || query.Has("id_token_hint") || query.Get("client_id") != oidctest.ClientID || len(query) != 3 {
		t.Errorf("it leads to %s", location)
	}
}

func mustQuery(t *testing.T, location string) url.Values {
	t.Helper()
	u, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

func TestLogout_WithoutHint(t *testing.T) {
	t.Parallel()
	without := func(cfg *oidcrp.Config) { cfg.Provider.LogoutWithoutHint = true }
	for what, s := range map[string]setup{"a long ID Token": withLongIDToken(without), "a short one": {config: without}} {
		app := newTestApp(t, s)
		browser := app.signIn(t)
		res, _ := app.logsOut(t, browser, "/auth/logout")
		location := res.Header.Get("Location")
		if query := mustQuery(t, location); query.Has("id_token_hint") || query.Get("client_id") != oidctest.ClientID || len(query) != 3 {
			t.Errorf("%s: %s to %s", what, res.Status, location)
		}
		if ended, _ := get(t, browser, location); ended.Request.URL.Path != "/auth/logout/callback" {
			t.Errorf("%s: it ended at %s", what, ended.Request.URL)
		}
	}
}

// The provider's way back ends where the client has no page of its own: on the app's
// start page, or nowhere.
func TestLogout_ThatEndsElsewhere(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ base, back, lands string }{
		{"", "/", "/"}, {"", "", "/"}, {"/myapp", "/", "/myapp/"}, {"/myapp", "", "/myapp/"}, {"", "none", ""}, {"/myapp", "none", ""},
	} {
		var registered string
		app := newTestApp(t, setup{
			config: func(cfg *oidcrp.Config) {
				cfg.BaseURL += test.base
				if registered = cfg.BaseURL + test.back; test.back == "none" {
					registered = "none"
				}
				cfg.Registration.PostLogoutRedirectURI = registered
			},
			routes: func(_ *oidcrp.Client, mux *http.ServeMux) { mux.HandleFunc("/myapp/", sayWho) },
		})
		browser := app.signIn(t)
		res, _ := app.logsOut(t, browser, app.client.LogoutURL(test.base+"/tab/1"))
		location := res.Header.Get("Location")
		query := mustQuery(t, location)
		want := url.Values{"client_id": {oidctest.ClientID}, "id_token_hint": query["id_token_hint"]}
		if registered != "none" {
			want.Set("post_logout_redirect_uri", registered)
		}
		if query.Encode() != want.Encode() || query.Get("id_token_hint") == "" {
			t.Errorf("%s: it leads to %s", registered, location)
		}
		for _, cookie := range res.Cookies() {
			if cookie.MaxAge >= 0 {
				t.Errorf("%s: it sets %s", registered, cookie)
			}
		}
		ended, body := get(t, browser, location)
		if atApp := strings.HasPrefix(ended.Request.URL.String(), app.URL); atApp != (test.lands != "") || ended.StatusCode != 200 ||
			atApp && ((ended.Request.URL.Path != test.lands && ended.Request.URL.Path != "") || !strings.Contains(body, `"Sub":""`)) {
			t.Errorf("%s: it ended at %s with %s\n%s", registered, ended.Request.URL, ended.Status, body)
		}
		// A logout that stays here has a page here.
		metadata, err := app.client.Metadata(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		metadata.EndSessionEndpoint = ""
		local := newTestClient(t, app, func(cfg *oidcrp.Config) {
			cfg.BaseURL, cfg.Registration.PostLogoutRedirectURI, cfg.Provider.Metadata = app.URL+test.base, registered, metadata
		})
		got := local.BeginLogout(httptest.NewRecorder(), oidcrp.RequestWith(), "")
		if want := app.URL + test.base + "/auth/logout/callback"; got != want {
			t.Errorf("%s: a local logout leads to %s", registered, got)
		}
		if _, body := get(t, browser, app.URL+test.base+"/auth/logout/callback"); !strings.Contains(body, "You are signed out") {
			t.Errorf("%s: the signed-out page is\n%s", registered, body)
		}
		if r := app.client.Registration(); r.PostLogoutRedirectURI != registered ||
			strings.Contains(string(mustJSON(t, r)), "post_logout") == (registered == "none") {
			t.Errorf("the registration is %v", r)
		}
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// The host has other apps, and "/" is one of them.
func TestLogout_BelowABasePathTheStartPageIsTheApps(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: autoLogin,
		config: func(cfg *oidcrp.Config) { cfg.BaseURL += "/myapp" },
		routes: func(_ *oidcrp.Client, mux *http.ServeMux) { mux.HandleFunc("/myapp/", sayWho) },
	})
	browser := app.provider.Browser()
	for _, returnTo := range []string{"/", "/myapp/"} {
		ended, body := get(t, browser, app.URL+app.client.LoginURL(returnTo))
		if ended.Request.URL.RequestURI() != "/myapp/" || !strings.Contains(body, `"Sub":"alice"`) {
			t.Errorf("a login with %q ended at %s\n%s", returnTo, ended.Request.URL, body)
		}
		res, _ := app.logsOut(t, browser, app.client.LogoutURL(returnTo))
		ended, body = get(t, browser, res.Header.Get("Location"))
		if n := app.provider.Count(oidctest.EndpointEndSession); n == 0 || ended.Request.URL.RequestURI() != "/myapp/" ||
			!strings.Contains(body, `"Sub":""`) {
			t.Errorf("a logout with %q ended at %s after %d requests to the provider\n%s", returnTo, ended.Request.URL, n, body)
		}
	}
}

func TestLogoutCallback_ChecksTheState(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what   string
		change func(back url.Values)
		wait   time.Duration
		want   string // where it ends
	}{
		{"the same state", func(url.Values) {}, 0, "/tab/1"},
		{"the same state after a quarter of an hour", func(url.Values) {}, 15 * time.Minute, "/tab/1"},
		{"the same state too late", func(url.Values) {}, 15*time.Minute + time.Second, "/auth/logout/callback"},
		{"another state", func(v url.Values) { v.Set("state", v.Get("state")+"_INVALID") }, 0, "/auth/logout/callback"},
		{"another state of the right length", func(v url.Values) { v.Set("state", strings.Repeat("A", 43)) }, 0, "/auth/logout/callback"},
		{"an empty state", func(v url.Values) { v.Set("state", "") }, 0, "/auth/logout/callback"},
		{"no state", func(v url.Values) { v.Del("state") }, 0, "/auth/logout/callback"},
		{"parameters nobody knows", func(v url.Values) { v.Set("x", "y") }, 0, "/tab/1"},
	} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			app := newTestApp(t, setup{routes: func(c *oidcrp.Client, mux *http.ServeMux) {
				mux.HandleFunc("/tab/1", sayWho) // public, to end there
			}})
			browser := app.signIn(t)
			res, _ := app.logsOut(t, browser, "/auth/logout?return_to=/tab/1")
			res, _ = get(t, noRedirects(browser), res.Header.Get("Location"))
			back, err := res.Location()
			if err != nil {
				t.Fatal(err)
			}
			query := back.Query()
			test.change(query)
			back.RawQuery = query.Encode()
			app.clock.Advance(test.wait)
			ended, body := get(t, browser, back.String())
			if got := ended.Request.URL.Path; ended.StatusCode != 200 || got != test.want {
				t.Errorf("ended at %s with %s\n%s", got, ended.Status, body)
			}
			if test.want == "/auth/logout/callback" && !strings.Contains(body, "You are signed out") {
				t.Errorf("the page says\n%s", body)
			}
			if got := app.who(t, browser, "/"); got.Sub != "" {
				t.Errorf("signed in: %+v", got)
			}
			// A state is good for one way back.
			if ended, _ := get(t, browser, back.String()); test.wait <= 15*time.Minute && ended.Request.URL.Path != "/auth/logout/callback" {
				t.Errorf("the second time it ended at %s", ended.Request.URL.Path)
			}
		})
	}
}

func TestLogoutCallback_MayBeOpenedByAnybody(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	alice, nobody := app.signIn(t), app.provider.Browser()
	for _, path := range []string{"/auth/logout/callback", "/auth/logout/callback?state=x", "/auth/logout/callback?state=%zz"} {
		res, body := app.asks(t, nobody, "GET", path, acceptHTML, "Sec-Fetch-Site: cross-site")
		if res.StatusCode != 200 || !strings.Contains(body, "You are signed out") {
			t.Errorf("%s: %s\n%s", path, res.Status, body)
		}
		// A person who is signed in must not take it for the end of their session.
		res, body = app.asks(t, alice, "GET", path, acceptHTML, "Sec-Fetch-Site: cross-site")
		if location := res.Header.Get("Location"); res.StatusCode != 302 || location != app.URL+"/" || strings.Contains(body, "signed out") {
			t.Errorf("%s: %s to %q\n%s", path, res.Status, location, body)
		}
		if got := app.who(t, alice, "/me"); got.Sub != "alice" {
			t.Errorf("%s ended a session", path)
		}
	}
}

func TestLogoutCallback_ANewSessionIsNotSignedOut(t *testing.T) {
	t.Parallel()
	for returnTo, want := range map[string]string{"/tab/1?a=b": "/tab/1?a=b", "": "/"} {
		app := newTestApp(t, setup{provider: autoLogin})
		browser := app.signIn(t)
		res, _ := app.logsOut(t, browser, "/auth/logout?return_to="+url.QueryEscape(returnTo))
		back := follow(t, browser, res.Header.Get("Location"))
		if got := app.who(t, browser, "/me"); got.Sub != "alice" { // in another tab
			t.Fatalf("signed in as %+v", got)
		}
		res, body := app.asks(t, browser, "GET", back.RequestURI(), acceptHTML)
		if location := res.Header.Get("Location"); res.StatusCode != 302 || location != app.URL+want {
			t.Errorf("return to %q: %s to %q\n%s", returnTo, res.Status, location, body)
		}
		if got := app.who(t, browser, "/me"); got.Sub != "alice" {
			t.Errorf("return to %q: the new session has ended", returnTo)
		}
	}
}

func TestLogoutCallback_DoesNotGuessInAnOutage(t *testing.T) {
	t.Parallel()
	store := oidcrp.NewHookStore(nil)
	app := newTestApp(t, setup{config: func(cfg *oidcrp.Config) { cfg.Store = store }})
	browser := app.signIn(t)
	store.Fail(errors.New("down"))
	res, body := app.asks(t, browser, "GET", "/auth/logout/callback", acceptHTML)
	if res.StatusCode != http.StatusServiceUnavailable || strings.Contains(body, "You are signed out") {
		t.Errorf("%s\n%s", res.Status, body)
	}
	// Without a session's cookie, there is nothing to look up.
	res, body = app.asks(t, app.provider.Browser(), "GET", "/auth/logout/callback", acceptHTML)
	if res.StatusCode != 200 || !strings.Contains(body, "You are signed out") {
		t.Errorf("without a cookie: %s\n%s", res.Status, body)
	}
}

func TestLogout_WithoutHelpFromTheProvider(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what     string
		provider oidctest.Config
		prepare  func(*testApp)
	}{
		{"which has no end_session_endpoint", oidctest.Config{NoEndSession: true}, func(*testApp) {}},
		{"which is down since the app was started", oidctest.Config{}, func(app *testApp) { app.provider.SetDown(true) }},
	} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			app := newTestApp(t, setup{provider: test.provider})
			browser := app.signIn(t)
			cookies := app.cookiesOf(t, browser)
			test.prepare(app)
			// Another replica, which has not met the provider yet.
			replica := newTestClient(t, app, nil)
			for _, step := range []struct{ returnTo, want string }{
				{"/tab/1?a=b", "/tab/1?a=b"}, {"", "/auth/logout/callback"}, {"https://evil.example/", "/"},
			} {
				w := httptest.NewRecorder()
				location := replica.BeginLogout(w, oidcrp.RequestWith(cookies...), step.returnTo)
				if location != app.URL+step.want {
					t.Errorf("return to %q: it leads to %s", step.returnTo, location)
				}
				if left := sessionCookies(oidcrp.CookiesAfter(cookies, w)); len(left) > 0 {
					t.Errorf("the browser keeps %v", left)
				}
			}
		})
	}
}

// The provider goes down after its metadata was fetched: the browser is sent
// there all the same, and the session here is over.
func TestLogout_WhileTheProviderIsDown(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{config: func(cfg *oidcrp.Config) { cfg.Tokens.Keep, cfg.Tokens.RevokeAtLogout = true, true }})
	browser := app.signIn(t)
	app.provider.SetDown(true)
	res, _ := app.logsOut(t, browser, "/auth/logout")
	if ended, _ := get(t, browser, res.Header.Get("Location")); ended.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the provider answered %s", ended.Status)
	}
	if got := app.who(t, browser, "/"); got.Sub != "" {
		t.Errorf("still signed in: %+v", got)
	}
	if !strings.Contains(app.log.String(), "could not revoke the tokens") {
		t.Error("the log does not say that revocation failed")
	}
}

func TestLogout_WithoutASessionGoesToTheProvider(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	local := newTestClientOf(t, app, func(m *oidcrp.Metadata) { m.EndSessionEndpoint = "" })
	for path, want := range map[string]string{
		"/auth/logout":                                   "/auth/logout/callback",
		"/auth/logout?return_to=/":                       "/",
		"/auth/logout?return_to=/tab/1":                  "/tab/1",
		"/auth/logout?return_to=https://evil.example/":   "/auth/logout/callback",
		"/auth/logout?return_to=//evil.example/":         "/auth/logout/callback",
		"/auth/logout?return_to=/auth/login":             "/",
		"/auth/logout?return_to=/%5cevil.example":        "/auth/logout/callback",
		"/auth/logout?return_to=/%252fevil.example":      "/auth/logout/callback",
		"/auth/logout?return_to=/%09/evil.example":       "/auth/logout/callback",
		"/auth/logout?return_to=javascript:alert(1)":     "/auth/logout/callback",
		"/auth/logout?return_to=/..//evil.example/tab/1": "/auth/logout/callback",
	} {
		browser := app.provider.Browser()
		res, _ := app.logsOut(t, browser, path)
		location, err := res.Location()
		if err != nil || res.StatusCode != http.StatusSeeOther {
			t.Fatalf("%s: %s, %v", path, res.Status, err)
		}
		query := location.Query()
		if got := strings.TrimSuffix(location.String(), "?"+location.RawQuery); got != app.provider.Endpoint(oidctest.EndpointEndSession) ||
			len(query) != 3 || query.Get("client_id") != oidctest.ClientID || len(query.Get("state")) != 43 ||
			query.Get("post_logout_redirect_uri") != app.URL+"/auth/logout/callback" {
			t.Errorf("%s: it leads to %s", path, location)
		}
		back := follow(t, browser, location.String())
		if back.Path != "/auth/logout/callback" {
			t.Errorf("%s: the provider leads to %s", path, back)
		}
		res, body := app.asks(t, browser, "GET", back.RequestURI(), acceptHTML)
		if want == "/auth/logout/callback" && (res.StatusCode != 200 || !strings.Contains(body, "You are signed out")) ||
			want != "/auth/logout/callback" && res.Header.Get("Location") != app.URL+want {
			t.Errorf("%s: it ended with %s to %s, want %s", path, res.Status, res.Header.Get("Location"), want)
		}
		// Where the provider has no such endpoint, the logout stays local.
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, path, nil)
		local.Middleware(nil).ServeHTTP(w, r)
		if got := w.Header().Get("Location"); w.Code != http.StatusSeeOther || got != app.URL+want || len(w.Result().Cookies()) > 0 {
			t.Errorf("%s: without the provider %d to %s, cookies %v", path, w.Code, got, w.Result().Cookies())
		}
	}
}

// newTestClientOf returns a client of app, with a change made to the provider's
// metadata.
func newTestClientOf(t *testing.T, app *testApp, change func(*oidcrp.Metadata)) *oidcrp.Client {
	t.Helper()
	m, err := app.client.Metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	change(m)
	return newTestClient(t, app, func(cfg *oidcrp.Config) { cfg.Provider.Metadata = m })
}

// The session here is over, and that at the provider would sign the person in again
// without asking.
func TestLogout_AfterTheSessionIsOver(t *testing.T) {
	t.Parallel()
	for what, end := range map[string]func(*testApp, *http.Client){
		"by time": func(app *testApp, _ *http.Client) { app.clock.Advance(2 * time.Hour) },
		"by its cookie": func(app *testApp, browser *http.Client) {
			home, _ := url.Parse(app.URL)
			for _, cookie := range browser.Jar.Cookies(home) {
				browser.Jar.SetCookies(home, []*http.Cookie{{Name: cookie.Name, Path: "/", MaxAge: -1}})
			}
		},
		"by the app": func(app *testApp, browser *http.Client) {
			if err := app.client.RevokeSession(t.Context(), app.sessionOf(t, browser).ID()); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for _, link := range []bool{false, true} {
			var events []oidcrp.SessionEvent
			app := newTestApp(t, setup{config: func(cfg *oidcrp.Config) { cfg.Trace.LoggedOut = collect(&events) }})
			browser := app.signIn(t)
			end(app, browser)
			method := map[bool]string{false: "POST", true: "GET"}[link]
			res, _ := app.asks(t, browser, method, "/auth/logout", acceptHTML, navigate, "Sec-Fetch-Site: same-origin", "Sec-Fetch-Dest: document",
				"Sec-Fetch-User: ?1")
			if _, body := get(t, browser, res.Header.Get("Location")); !strings.Contains(body, "You are signed out") {
				t.Errorf("%s: the logout ended with\n%s", what, body)
			}
			if _, body := get(t, browser, app.URL+"/me"); !strings.Contains(body, "Who do you want to be?") {
				t.Errorf("%s: the next login met\n%s", what, body)
			}
			if len(events) > 0 {
				t.Errorf("%s: the events are %+v", what, events)
			}
		}
	}
}

// Without a session's cookie, a POST may be the form of another site that a service
// worker sends again, or one by a browser that says nothing of it.
func TestLogout_WithoutASessionAsksWhereItIsNotCertain(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	for what, headers := range map[string][]string{
		"a service worker": {"Origin: APP", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: same-origin", "Sec-Fetch-Dest: empty",
			"Upgrade-Insecure-Requests: 1"},
		"a service worker that makes a request of its own": {"Origin: APP", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors",
			"Sec-Fetch-Dest: empty"},
		"a browser without Fetch Metadata": {"Origin: APP"},
		"another site":                     {"Origin: https://evil.example", "Sec-Fetch-Site: cross-site", navigate},
	} {
		browser := app.provider.Browser()
		res, body := app.asks(t, browser, "POST", "/auth/logout", append(headers, acceptHTML)...)
		if res.StatusCode != 200 || formAction(body) == "" {
			t.Errorf("%s: %s\n%s", what, res.Status, body)
		}
		res, _ = app.asks(t, browser, "POST", formAction(body), append(headers, acceptHTML)...)
		if location := res.Header.Get("Location"); !strings.HasPrefix(location, app.provider.Endpoint(oidctest.EndpointEndSession)+"?client_id=") {
			t.Errorf("%s: the answer is answered by %s to %s", what, res.Status, location)
		}
	}
}

func TestLogout_RevokesTheTokensThatWereKept(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what         string
		keep, revoke bool
		provider     oidctest.Config
		hint         string // "" when nothing is revoked
	}{
		{"a refresh token", true, true, oidctest.Config{}, "refresh_token"},
		{"an access token alone", true, true, oidctest.Config{NoRefreshToken: true}, "access_token"},
		{"a provider without end_session_endpoint", true, false, oidctest.Config{NoEndSession: true}, "refresh_token"},
		{"the same, and an access token alone", true, false, oidctest.Config{NoEndSession: true, NoRefreshToken: true}, "access_token"},
		{"a provider with end_session_endpoint", true, false, oidctest.Config{}, ""},
		{"tokens that were not kept", false, false, oidctest.Config{NoEndSession: true}, ""},
		{"a provider without revocation", true, true, oidctest.Config{NoRevocation: true}, ""},
	} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			app := newTestApp(t, setup{provider: test.provider, config: func(cfg *oidcrp.Config) {
				cfg.Tokens.Keep, cfg.Tokens.RevokeAtLogout = test.keep, test.revoke
			}})
			browser := app.signIn(t)
			s := app.sessionOf(t, browser)
			app.logsOut(t, browser, "/auth/logout")
			revoked := app.provider.RequestsTo(oidctest.EndpointRevocation)
			if test.hint == "" {
				if len(revoked) != 0 {
					t.Errorf("%d revocations", len(revoked))
				}
				return
			}
			token := s.Token().RefreshToken
			if test.hint == "access_token" {
				token = s.Token().AccessToken
			}
			if len(revoked) != 1 || revoked[0].Form.Get("token") != token || revoked[0].Status != 200 ||
				revoked[0].Form.Get("token_type_hint") != test.hint || revoked[0].URL.RawQuery != "" {
				t.Errorf("revoked %+v", revoked)
			}
			if token == "" || strings.Contains(app.log.String(), token) {
				t.Error("the log shows the token")
			}
		})
	}
}

func TestLogout_DeletesTheStoredSession(t *testing.T) {
	t.Parallel()
	var store oidcrp.SharedStore
	app := newTestApp(t, setup{config: func(cfg *oidcrp.Config) {
		store = oidcrp.NewMemoryStoreAt(cfg.Now)
		cfg.Store = store
	}})
	browser := app.signIn(t)
	cookies := app.cookiesOf(t, browser)
	app.logsOut(t, browser, "/auth/logout")
	if n := oidcrp.StoredSessions(store); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
	if _, err := app.client.Session(oidcrp.RequestWith(cookies...)); !errors.Is(err, oidcrp.CodeNoSession) {
		t.Errorf("a copy of the cookie still works: %v", err)
	}
}

func TestLogout_ForgetsTheHandleWhileTheStoreFails(t *testing.T) {
	t.Parallel()
	store := oidcrp.NewHookStore(nil)
	app := newTestApp(t, setup{config: func(cfg *oidcrp.Config) { cfg.Store = oidcrp.PlainStore(store) }})
	browser := app.signIn(t)
	store.Fail(errors.New("connection refused"))
	res, _ := app.logsOut(t, browser, "/auth/logout")
	location := res.Header.Get("Location")
	if !strings.HasPrefix(location, app.provider.Endpoint(oidctest.EndpointEndSession)+"?client_id=") {
		t.Errorf("%s to %s", res.Status, location)
	}
	if _, body := get(t, browser, location); !strings.Contains(body, "Signing out is not complete") {
		t.Errorf("the logout ends with\n%s", body)
	}
	if left := sessionCookies(app.cookiesOf(t, browser)); len(left) > 0 {
		t.Errorf("the browser keeps %v", left)
	}
	if !strings.Contains(app.log.String(), "could not delete a stored session") {
		t.Error("the log does not say so")
	}
}

func TestLogout_IsAnEvent(t *testing.T) {
	t.Parallel()
	var events []oidcrp.SessionEvent
	app := newTestApp(t, setup{config: func(cfg *oidcrp.Config) { cfg.Trace.LoggedOut = collect(&events) }})
	browser := app.signIn(t)
	want := oidcrp.SessionEvent{
		Issuer: app.provider.Issuer(), SessionID: app.sessionOf(t, browser).ID(), Subject: "alice", AtProvider: true,
	}
	app.logsOut(t, browser, "/auth/logout")
	app.logsOut(t, app.provider.Browser(), "/auth/logout")
	if len(events) != 1 || events[0] != want {
		t.Errorf("the events are %+v, want %+v", events, want)
	}
}

func TestLogout_AnEndSessionEndpointKeepsItsQuery(t *testing.T) {
	t.Parallel()
	client := mustNew(t, func(cfg *oidcrp.Config) {
		cfg.Provider.Metadata = soundMetadata(func(m *oidcrp.Metadata) {
			m.EndSessionEndpoint = "https://op.example/logout?tenant=a%20b"
		})
	})
	location := client.BeginLogout(httptest.NewRecorder(), signedInRequest(t, client), "")
	if !strings.HasPrefix(location, "https://op.example/logout?tenant=a%20b&client_id=app&post_logout_redirect_uri=") {
		t.Errorf("the URL is %s", location)
	}
}

func TestEndSession_SignsOut(t *testing.T) {
	t.Parallel()
	for what, store := range map[string]oidcrp.Store{"in cookies": nil, "in a store": oidcrp.NewMemoryStore(0)} {
		client := mustNew(t, func(cfg *oidcrp.Config) { cfg.Store = store })
		r := signedInRequest(t, client)
		w := httptest.NewRecorder()
		if err := client.EndSession(w, r); err != nil {
			t.Fatal(err)
		}
		if left := oidcrp.CookiesAfter(r.Cookies(), w); len(left) > 0 {
			t.Errorf("%s: the browser keeps %v", what, left)
		}
		if _, err := client.Session(r); !errors.Is(err, oidcrp.CodeNoSession) {
			t.Errorf("%s: a copy of the cookie still works: %v", what, err)
		}
		if err := client.EndSession(httptest.NewRecorder(), oidcrp.RequestWith()); err != nil {
			t.Errorf("%s: without a session: %v", what, err)
		}
	}
}

func TestRevoke_RefusesWhatNamesNothing(t *testing.T) {
	t.Parallel()
	client := mustNew(t, nil)
	ctx, id := t.Context(), oidcrp.NewSession(map[string]string{"sub": "alice"}).ID()
	for what, err := range map[string]error{
		"another issuer":    client.RevokeSubject(ctx, "https://other.example", "alice"),
		"an issuer's slash": client.RevokeSubject(ctx, "https://op.example/", "alice"),
		"no subject":        client.RevokeSubject(ctx, "https://op.example", ""),
		"an empty id":       client.RevokeSession(ctx, ""),
		"a subject as id":   client.RevokeSession(ctx, "alice"),
		"an id with a tail": client.RevokeSession(ctx, id+"A"),
	} {
		t.Run(what, func(t *testing.T) { wantCode(t, err, oidcrp.CodeInvalidRequest) })
	}
	if err := client.RevokeSession(ctx, id); err != nil {
		t.Errorf("a session that does not exist: %v", err)
	}
}

// Another site's form carries no cookie that is SameSite=Lax, and a service worker of the
// app may send it again as same-origin: a claim that proves nothing.
func TestLogout_WithoutASessionCookieDeletesNothing(t *testing.T) {
	t.Parallel()
	for _, store := range []oidcrp.Store{nil, oidcrp.NewMemoryStore(0)} {
		app := newTestApp(t, setup{config: func(cfg *oidcrp.Config) { cfg.Store = store }})
		browser := app.signIn(t)
		withheld := *browser
		withheld.Jar = nil
		for method, headers := range map[string][]string{
			"POST": {acceptHTML, "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: same-origin", "Sec-Fetch-Dest: empty",
				"Origin: APP", "Referer: https://evil.example/", "Upgrade-Insecure-Requests: 1"},
			"GET": {acceptHTML, "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-User: ?1"},
		} {
			res, _ := app.asks(t, &withheld, method, "/auth/logout", headers...)
			for _, cookie := range res.Cookies() {
				if cookie.MaxAge <= 0 || !strings.HasSuffix(cookie.Name, map[string]string{"POST": "_q", "GET": "_o"}[method]) {
					t.Errorf("%s: the logout sets %s", method, cookie)
				}
			}
			if browser.Jar.SetCookies(res.Request.URL, res.Cookies()); app.who(t, browser, "/").Sub != "alice" {
				t.Errorf("%s: the person is signed out", method)
			}
		}
		if res, _ := app.logsOut(t, browser, "/auth/logout"); app.who(t, browser, "/").Sub != "" {
			t.Errorf("%s: still signed in after their own logout", res.Status)
		}
	}
}

// The cookie of a session that cannot be read is still the person's, and goes.
func TestLogout_DeletesACookieThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for _, store := range []oidcrp.Store{nil, oidcrp.NewMemoryStore(0)} {
		app := newTestApp(t, setup{config: func(cfg *oidcrp.Config) { cfg.Store = store }})
		browser := app.signIn(t)
		handler := newTestClient(t, app, func(cfg *oidcrp.Config) {
			cfg.Store, cfg.CookieKeys = store, oidcrp.Keys(testKey(9))
		}).Middleware(http.NotFoundHandler())
		r := httptest.NewRequestWithContext(t.Context(), "POST", app.URL+"/auth/logout", nil)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		for _, cookie := range browser.Jar.Cookies(r.URL) {
			r.AddCookie(cookie)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if browser.Jar.SetCookies(r.URL, w.Result().Cookies()); app.who(t, browser, "/").Sub != "" {
			t.Errorf("%d: the cookie is still there after %v", w.Code, w.Result().Cookies())
		}
	}
}

// Another site links to the login path with a long return path, to a page of the app that
// redirects to LogoutURL. Redirects keep Sec-Fetch-Site cross-site; the page that leads on
// does not: its refresh is the app's own navigation.
func TestLogout_ThePageThatLeadsOnDoesNotVouchForAnotherSite(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: autoLogin, routes: func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.HandleFunc("/bye", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, c.LogoutURL("/"), http.StatusFound)
		})
	}})
	browser := app.signIn(t)
	cross := []string{acceptHTML, navigate, "Sec-Fetch-Dest: document", "Sec-Fetch-Site: cross-site"}
	own := []string{acceptHTML, navigate, "Sec-Fetch-Dest: document", "Sec-Fetch-Site: same-origin"}
	// Directly, the app asks.
	if res, _ := app.asks(t, browser, "GET", "/auth/logout", cross...); res.StatusCode != 200 {
		t.Fatalf("%s", res.Status)
	}
	evil := "/auth/login?return_to=" + url.QueryEscape("/bye?"+strings.Repeat("x", 3900))
	res, _ := app.asks(t, browser, "GET", evil, cross...)
	plain := &http.Client{Jar: browser.Jar, Transport: app.provider.HTTPClient().Transport}
	callback := follow(t, plain, res.Header.Get("Location"))
	res, page := app.asks(t, plain, "GET", callback.RequestURI(), cross...)
	refresh := regexp.MustCompile(`content="0; ?url=([^"]*)"`).FindStringSubmatch(page)
	if res.StatusCode != 200 || refresh == nil {
		t.Fatalf("no page that leads on: %s to %.80s", res.Status, res.Header.Get("Location"))
	}
	to, _ := url.Parse(html.UnescapeString(refresh[1]))
	res, _ = app.asks(t, browser, "GET", to.RequestURI(), own...) // a browser's refresh has no Sec-Fetch-User
	bye, _ := res.Location()
	res, _ = app.asks(t, browser, "GET", bye.RequestURI(), own...)
	if res.StatusCode != 200 {
		t.Errorf("another site's link signed the person out at once: %s to %s", res.Status, res.Header.Get("Location"))
	}
}
