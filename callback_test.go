package oidcrp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

// autoLogin is a provider that signs in alice without a page.
var autoLogin = oidctest.Config{AutoLogin: "alice"}

// comeBack starts a login at the page path and goes as far as the provider's
// answer: the callback's URL, which has not been visited yet.
func comeBack(t testing.TB, app *testApp, browser *http.Client, path string) *url.URL {
	t.Helper()
	return follow(t, browser, follow(t, browser, app.URL+path).String())
}

// follow returns where a page redirects to.
func follow(t testing.TB, browser *http.Client, page string) *url.URL {
	t.Helper()
	res, body := get(t, noRedirects(browser), page)
	location, err := res.Location()
	if err != nil {
		t.Fatalf("%s answered %s and leads nowhere:\n%s", page, res.Status, body)
	}
	return location
}

// comeBackByForm is comeBack for the response mode form_post.
func comeBackByForm(t testing.TB, app *testApp, browser *http.Client, path string) url.Values {
	t.Helper()
	authorization := follow(t, browser, app.URL+path)
	// The test browser would submit the form at once.
	plain := &http.Client{Jar: browser.Jar, Transport: app.provider.HTTPClient().Transport}
	_, page := get(t, plain, authorization.String())
	form := make(url.Values)
	for _, input := range hiddenInput.FindAllStringSubmatch(page, -1) {
		form.Set(input[1], html.UnescapeString(input[2]))
	}
	if !form.Has("code") {
		t.Fatalf("the provider did not answer with a form:\n%s", page)
	}
	return form
}

var hiddenInput = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// checkRefused checks that an answer is the error page of a code, and that
// nothing came of the login.
func checkRefused(t *testing.T, app *testApp, browser *http.Client, res *http.Response, page string, want oidcrp.Code) {
	t.Helper()
	if res.StatusCode != oidcrp.StatusOf(want) {
		t.Errorf("the answer is %s, want %d\n%s", res.Status, oidcrp.StatusOf(want), page)
	}
	if incident := incidentOf.FindStringSubmatch(page); incident == nil {
		t.Errorf("the page has no incident id:\n%s", page)
	} else if got := codeOfIncident(t, app.log, incident[1]); got != want {
		t.Errorf("the code is %q, want %q", got, want)
	}
	if n := app.provider.Count(oidctest.EndpointToken); n != 0 {
		t.Errorf("%d token requests, want 0", n)
	}
	if got := app.who(t, browser, "/"); got.Sub != "" {
		t.Errorf("%s is signed in, want nobody", got.Sub)
	}
}

func TestCallback_ReadsItsParametersStrictly(t *testing.T) {
	t.Parallel()
	set := func(name, value string) func(url.Values) {
		return func(v url.Values) { v.Set(name, value) }
	}
	drop := func(name string) func(url.Values) {
		return func(v url.Values) { v.Del(name) }
	}
	twice := func(name string) func(url.Values) {
		return func(v url.Values) { v[name] = []string{v.Get(name), v.Get(name)} }
	}
	const signedIn = oidcrp.Code("")
	for _, row := range []struct {
		name   string
		change func(url.Values)
		want   oidcrp.Code
	}{
		{"what the provider sent is accepted", func(url.Values) {}, signedIn},
		{"an unknown parameter is ignored", set("session_state", "a.b"), signedIn},
		{"an unknown parameter given twice is ignored", twice("x"), signedIn},

		{"state twice", twice("state"), oidcrp.CodeInvalidRequest},
		{"code twice", twice("code"), oidcrp.CodeInvalidRequest},
		{"iss twice", twice("iss"), oidcrp.CodeInvalidRequest},
		{"error twice", twice("error"), oidcrp.CodeInvalidRequest},
		{"error_description twice", twice("error_description"), oidcrp.CodeInvalidRequest},
		{"error_uri twice", twice("error_uri"), oidcrp.CodeInvalidRequest},

		{"no state", drop("state"), oidcrp.CodeTransactionLost},
		{"an empty state", set("state", ""), oidcrp.CodeTransactionLost},
		{"a state from elsewhere", set("state", strings.Repeat("x", 43)), oidcrp.CodeTransactionLost},
		{"state in capitals", func(v url.Values) { v["STATE"] = v["state"]; v.Del("state") }, oidcrp.CodeTransactionLost},

		{"another issuer", set("iss", "https://evil.example"), oidcrp.CodeIssuerMismatch},
		{"an empty issuer", set("iss", ""), oidcrp.CodeIssuerMismatch},
		{"no issuer, though one is announced", drop("iss"), oidcrp.CodeIssuerMismatch},
		{"an error from another issuer", func(v url.Values) {
			v.Set("error", "access_denied")
			v.Set("iss", "https://evil.example")
		}, oidcrp.CodeIssuerMismatch},

		{"neither code nor error", drop("code"), oidcrp.CodeInvalidRequest},
		{"an empty code", set("code", ""), oidcrp.CodeInvalidRequest},
		{"an error beside the code", set("error", "access_denied"), oidcrp.CodeProviderError},
		{"an empty error beside the code", set("error", ""), oidcrp.CodeClientRefused},

		{"login_required", set("error", "login_required"), oidcrp.CodeLoginRequired},
		{"interaction_required", set("error", "interaction_required"), oidcrp.CodeLoginRequired},
		{"consent_required", set("error", "consent_required"), oidcrp.CodeLoginRequired},
		{"account_selection_required", set("error", "account_selection_required"), oidcrp.CodeLoginRequired},
		{"temporarily_unavailable", set("error", "temporarily_unavailable"), oidcrp.CodeProviderUnavailable},
		{"an acr that cannot be had", set("error", "unmet_authentication_requirements"), oidcrp.CodeRequirementUnmet},
		{"invalid_scope", set("error", "invalid_scope"), oidcrp.CodeClientRefused},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			app := newTestApp(t, setup{provider: autoLogin})
			browser := app.provider.Browser()
			callback := comeBack(t, app, browser, "/tab/1")
			query := callback.Query()
			row.change(query)
			callback.RawQuery = query.Encode()
			res, page := get(t, browser, callback.String())
			if row.want != signedIn {
				checkRefused(t, app, browser, res, page, row.want)
			} else if got := app.who(t, browser, "/tab/1"); got.Sub != "alice" {
				t.Errorf("the answer is %s, and %q is signed in\n%s", res.Status, got.Sub, page)
			}
		})
	}
}

func TestCallback_RefusesWhatCannotBeParsed(t *testing.T) {
	t.Parallel()
	for _, query := range []string{"%zz", "state=%", "state=a;code=b", "code=a&state=b&%"} {
		app := newTestApp(t, setup{provider: autoLogin})
		browser := app.provider.Browser()
		res, page := get(t, browser, app.URL+"/auth/callback?"+query)
		checkRefused(t, app, browser, res, page, oidcrp.CodeInvalidRequest)
	}
}

func TestCallback_IssIsOptionalWhereItIsNotAnnounced(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: oidctest.Config{AutoLogin: "alice", NoIssParameter: true}})
	browser := app.provider.Browser()

	callback := comeBack(t, app, browser, "/tab/1")
	callback.RawQuery += "&iss=https%3A%2F%2Fevil.example"
	res, page := get(t, browser, callback.String())
	checkRefused(t, app, browser, res, page, oidcrp.CodeIssuerMismatch)

	get(t, browser, comeBack(t, app, browser, "/tab/1").String())
	if got := app.who(t, browser, "/tab/1"); got.Sub != "alice" {
		t.Errorf("without iss, %q is signed in, want alice", got.Sub)
	}
}

func TestCallback_WhatTheProviderSaysOfAnErrorStaysOffThePage(t *testing.T) {
	t.Parallel()
	for _, description := range []string{
		`<script>alert("oops")</script>`, `"><img src=x onerror=oops>`, "oops\r\nSet-Cookie: oops=1",
		"\x1b[2Joops", "oops\u202e\u0000", strings.Repeat("oops ", 5000),
	} {
		app := newTestApp(t, setup{provider: autoLogin})
		browser := app.provider.Browser()
		callback := comeBack(t, app, browser, "/tab/1")
		callback.RawQuery = url.Values{
			"state": {callback.Query().Get("state")}, "iss": {app.provider.Issuer()},
			"error": {"oops" + description}, "error_description": {description}, "error_uri": {description},
		}.Encode()
		res, page := get(t, browser, callback.String())
		checkRefused(t, app, browser, res, page, oidcrp.CodeClientRefused)
		if strings.Contains(page, "oops") {
			t.Errorf("the page holds the provider's error description:\n%s", page)
		}
		for line := range strings.Lines(app.log.String()) {
			if len(line) > 2000 || strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\x1b\x00\u202e\r") {
				t.Errorf("a log line of %d bytes is not bounded and printable: %.300q", len(line), line)
			}
		}
	}
}

func TestCallback_ARefusalIsInTheReadersLanguage(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: autoLogin})
	for _, row := range []struct{ accepts, language, title string }{
		{"fr", "fr", "Cette connexion ne peut plus aboutir"},
		{"fr-CA,en;q=0.5", "fr", "Cette connexion ne peut plus aboutir"},
		{"de,en;q=0.8,fr;q=.2", "en", "This sign-in can no longer be completed"},
		{"", "en", "This sign-in can no longer be completed"},
	} {
		r, err := http.NewRequest(http.MethodGet, app.URL+"/auth/callback?state=x", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept-Language", row.accepts)
		res, err := app.provider.Browser().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		page := readBody(t, res)
		if !strings.Contains(page, `<html lang="`+row.language+`">`) || !strings.Contains(page, "<h1>"+row.title+"</h1>") {
			t.Errorf("for %q the page is not in %q, called %q:\n%s", row.accepts, row.language, row.title, page)
		}
	}
}

func TestCallback_OnlyAPageLoadSpendsTheCode(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, method, header, value string
		status                      int
	}{
		{"HEAD", http.MethodHead, "", "", http.StatusMethodNotAllowed},
		{"PUT", http.MethodPut, "", "", http.StatusMethodNotAllowed},
		{"OPTIONS", http.MethodOptions, "", "", http.StatusMethodNotAllowed},
		{"a prefetch", http.MethodGet, "Sec-Purpose", "prefetch", http.StatusNoContent},
		{"a prerendering", http.MethodGet, "Sec-Purpose", "prefetch;prerender", http.StatusNoContent},
		{"a prefetch of older browsers", http.MethodGet, "Purpose", "prefetch", http.StatusNoContent},
		{"a prefetch of Firefox", http.MethodGet, "X-Moz", "prefetch", http.StatusNoContent},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			app := newTestApp(t, setup{provider: autoLogin})
			browser := app.provider.Browser()
			callback := comeBack(t, app, browser, "/tab/1").String()

			r, _ := http.NewRequest(row.method, callback, nil)
			if row.header != "" {
				r.Header.Set(row.header, row.value)
			}
			res, err := noRedirects(browser).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			readBody(t, res)
			if res.StatusCode != row.status || len(res.Cookies()) != 0 {
				t.Errorf("the answer is %s with cookies %v, want %d without", res.Status, res.Cookies(), row.status)
			}
			if n := app.provider.Count(oidctest.EndpointToken); n != 0 {
				t.Errorf("%d token requests, want 0", n)
			}
			get(t, browser, callback)
			if got := app.who(t, browser, "/tab/1"); got.Sub != "alice" {
				t.Errorf("the page load signed in %q, want alice", got.Sub)
			}
		})
	}
}

// formPost is a setup whose answers come by POST.
var formPost = setup{provider: autoLogin, config: func(c *oidcrp.Config) { c.ResponseMode = "form_post" }}

func TestFormPost_OnlyTheBodyCounts(t *testing.T) {
	t.Parallel()
	const signedIn = oidcrp.Code("")
	const urlencoded = "application/x-www-form-urlencoded"
	for _, row := range []struct {
		name, contentType string
		inQuery, inBody   func(form url.Values) url.Values
		want              oidcrp.Code
	}{
		{"the body is read", urlencoded,
			func(url.Values) url.Values { return nil },
			func(form url.Values) url.Values { return form }, signedIn},
		{"the query beside it is not", urlencoded,
			func(form url.Values) url.Values { return url.Values{"code": {"x"}, "state": {"y"}, "error": {"z"}} },
			func(form url.Values) url.Values { return form }, signedIn},
		{"the query in its place is not", urlencoded,
			func(form url.Values) url.Values { return form },
			func(url.Values) url.Values { return nil }, oidcrp.CodeTransactionLost},
		{"another type is not a form", "text/plain",
			func(url.Values) url.Values { return nil },
			func(form url.Values) url.Values { return form }, oidcrp.CodeTransactionLost},
		{"a body that is too large is refused", urlencoded,
			func(url.Values) url.Values { return nil },
			func(form url.Values) url.Values {
				form.Set("x", strings.Repeat("x", int(oidcrp.MaxCallbackBody)))
				return form
			}, oidcrp.CodeInvalidRequest},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			app := newTestApp(t, formPost)
			browser := app.provider.Browser()
			form := comeBackByForm(t, app, browser, "/tab/1")
			target := app.URL + "/auth/callback?" + row.inQuery(form).Encode()
			res, err := browser.Post(target, row.contentType, strings.NewReader(row.inBody(form).Encode()))
			if err != nil {
				t.Fatal(err)
			}
			page := readBody(t, res)
			if row.want != signedIn {
				checkRefused(t, app, browser, res, page, row.want)
			} else if got := app.who(t, browser, "/tab/1"); got.Sub != "alice" {
				t.Errorf("the answer is %s, and %q is signed in\n%s", res.Status, got.Sub, page)
			}
		})
	}
}

// A browser that posts from the provider's site leaves SameSite=Lax cookies at
// home, and over plain http there are no others.
func TestFormPost_WithoutItsCookiesEndsWell(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, formPost)
	browser, stranger := app.provider.Browser(), noRedirects(app.provider.Browser())
	form := comeBackByForm(t, app, browser, "/tab/1")
	for _, when := range []string{"the first time", "again, with a session"} {
		res, err := stranger.PostForm(app.URL+"/auth/callback", form)
		if err != nil {
			t.Fatal(err)
		}
		readBody(t, res)
		if res.StatusCode != http.StatusSeeOther {
			t.Fatalf("%s: the answer is %s, want a redirect", when, res.Status)
		}
		res, page := get(t, browser, res.Header.Get("Location"))
		if res.StatusCode != http.StatusOK || res.Request.URL.Path != "/tab/1" {
			t.Errorf("%s: it ended at %s with %s\n%s", when, res.Request.URL, res.Status, page)
		}
	}
	if n := app.provider.Count(oidctest.EndpointToken); n != 1 {
		t.Errorf("%d token requests, want 1", n)
	}
}

// The provider was asked for one response mode. A code that comes by the other one
// did not come from it, or not on the way that the app has chosen.
func TestCallback_AnotherResponseModeSignsInNobody(t *testing.T) {
	t.Parallel()
	byQuery := setup{provider: autoLogin, config: func(c *oidcrp.Config) { c.ResponseMode = "query" }}
	byDefault := setup{provider: autoLogin}
	for what, s := range map[string]setup{"query": byQuery, "none": byDefault} {
		app := newTestApp(t, s)
		browser := app.provider.Browser()
		answer := comeBack(t, app, browser, "/tab/1").Query()
		// Without the login's cookie, as from another site, it is not repeated as a GET.
		res, err := noRedirects(app.provider.Browser()).PostForm(app.URL+"/auth/callback", answer)
		if err != nil {
			t.Fatal(err)
		}
		readBody(t, res)
		if location := res.Header.Get("Location"); strings.Contains(location, answer.Get("code")) {
			t.Errorf("%s: a post without cookies leads to %s", what, location)
		}
		if res, err = browser.PostForm(app.URL+"/auth/callback", answer); err != nil {
			t.Fatal(err)
		}
		checkRefused(t, app, browser, res, readBody(t, res), oidcrp.CodeInvalidRequest)
	}
	for what, mark := range map[string]func(t *testing.T, app *testApp, form url.Values){
		"no mark":      func(*testing.T, *testApp, url.Values) {},
		"a wrong mark": func(_ *testing.T, _ *testApp, form url.Values) { form.Set(oidcrp.PostedParameter, form.Get("state")) },
		"the mark of another response": func(t *testing.T, app *testApp, form url.Values) {
			other := comeBackByForm(t, app, app.provider.Browser(), "/tab/2")
			form.Set(oidcrp.PostedParameter, markOf(t, app, other))
		},
		"the mark of another code": func(t *testing.T, app *testApp, form url.Values) {
			other := url.Values{"state": form["state"], "code": {"x"}}
			form.Set(oidcrp.PostedParameter, markOf(t, app, other))
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			app := newTestApp(t, formPost)
			browser := app.provider.Browser()
			form := comeBackByForm(t, app, browser, "/tab/1")
			mark(t, app, form)
			res, page := get(t, browser, app.URL+"/auth/callback?"+form.Encode())
			checkRefused(t, app, browser, res, page, oidcrp.CodeInvalidRequest)
			if left := transactionCookies(app, browser); len(left) > 0 {
				t.Errorf("the cookies left are %q", left)
			}
		})
	}
}

// markOf returns the mark by which a page load repeats a posted response.
func markOf(t *testing.T, app *testApp, form url.Values) string {
	t.Helper()
	res, err := noRedirects(app.provider.Browser()).PostForm(app.URL+"/auth/callback", form)
	if err != nil {
		t.Fatal(err)
	}
	readBody(t, res)
	location, err := res.Location()
	if err != nil || location.Query().Get(oidcrp.PostedParameter) == "" {
		t.Fatalf("the post leads to %v, %v", location, err)
	}
	return location.Query().Get(oidcrp.PostedParameter)
}

// An error signs in nobody, and some providers send it in the query whatever they
// were asked for.
func TestFormPost_AnErrorInTheQueryIsExplained(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, formPost)
	browser := app.provider.Browser()
	form := comeBackByForm(t, app, browser, "/tab/1")
	form.Del("code")
	form.Set("error", "invalid_scope")
	res, page := get(t, browser, app.URL+"/auth/callback?"+form.Encode())
	checkRefused(t, app, browser, res, page, oidcrp.CodeClientRefused)
}

func TestFormPost_AnErrorWithoutItsCookiesIsExplained(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, formPost)
	browser, stranger := app.provider.Browser(), noRedirects(app.provider.Browser())
	form := comeBackByForm(t, app, browser, "/tab/1")
	form.Del("code")
	form.Set("error", "access_denied")
	res, err := stranger.PostForm(app.URL+"/auth/callback", form)
	if err != nil {
		t.Fatal(err)
	}
	readBody(t, res)
	res, page := get(t, browser, res.Header.Get("Location"))
	checkRefused(t, app, browser, res, page, oidcrp.CodeProviderError)
}

// Over https the cookie of a login does come with the post. When it does not,
// it is lost, and the code need not stand in a URL.
func TestFormPost_ALostCodeStaysOutOfURLs(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, formPost)
	client := newTestClient(t, app, func(c *oidcrp.Config) {
		c.BaseURL, c.ResponseMode = "https://app.example", "form_post"
	})
	handler := client.Middleware(http.NotFoundHandler())
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/auth/login?return_to=/tab/1", nil))
	authorization, err := url.Parse(w.Header().Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	cookies := w.Result().Cookies()
	if len(cookies) != 1 || cookies[0].SameSite != http.SameSiteNoneMode || !cookies[0].Secure {
		t.Errorf("the login's cookies are %v, want one that is Secure with SameSite=None", cookies)
	}
	state := authorization.Query().Get("state")
	form := url.Values{"state": {state}, "code": {"the-code"}, "iss": {app.provider.Issuer()}}
	r := httptest.NewRequest(http.MethodPost, "/auth/callback", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w = httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	form.Del("code")
	want := "https://app.example/auth/callback?" + form.Encode()
	if got := w.Header().Get("Location"); w.Code != http.StatusSeeOther || got != want {
		t.Errorf("the answer is %d to %s, want 303 to %s", w.Code, got, want)
	}
}

func TestCallback_ThatComesAgainLeadsToItsPage(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: autoLogin})
	browser := app.provider.Browser()
	callback := comeBack(t, app, browser, "/tab/1").String()
	for _, row := range []struct {
		when   string
		after  time.Duration
		logins int // how many authentication requests there have been by then
	}{
		{"the first time", 0, 1},
		{"the second time", 0, 1},
		{"a day later, without a session", 24 * time.Hour, 2},
	} {
		app.clock.Advance(row.after)
		res, page := get(t, browser, callback)
		if res.StatusCode != http.StatusOK || res.Request.URL.RequestURI() != "/tab/1" {
			t.Fatalf("%s, the callback ended at %s with %s\n%s", row.when, res.Request.URL, res.Status, page)
		}
		if n := app.provider.Count(oidctest.EndpointAuthorization); n != row.logins {
			t.Errorf("%s: %d authentication requests so far, want %d", row.when, n, row.logins)
		}
	}
}

func TestCallback_LostLoginRestartsOnce(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: autoLogin})
	callback := comeBack(t, app, app.provider.Browser(), "/tab/1?q=2").String()

	// Another browser ends on the page all the same; what the first one was
	// given is not used.
	other := app.provider.Browser()
	res, page := get(t, other, callback)
	if res.StatusCode != http.StatusOK || res.Request.URL.RequestURI() != "/tab/1?q=2" {
		t.Fatalf("it ended at %s with %s\n%s", res.Request.URL, res.Status, page)
	}
	if got := app.who(t, other, "/me"); got.Sub != "alice" {
		t.Errorf("%q is signed in, want alice", got.Sub)
	}
	requests := app.provider.RequestsTo(oidctest.EndpointToken)
	lost, err := url.Parse(callback)
	if err != nil {
		t.Fatal(err)
	}
	if len(requests) != 1 || requests[0].Form.Get("code") == lost.Query().Get("code") {
		t.Errorf("%d token requests, want 1 with the new code", len(requests))
	}
}

func TestCallback_ALoginThatIsLostTwiceIsExplained(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: autoLogin})
	callback := comeBack(t, app, app.provider.Browser(), "/tab/1").String()
	forgetful := app.provider.Browser()
	again := follow(t, forgetful, follow(t, forgetful, callback).String())

	last := app.provider.Browser()
	res, page := get(t, last, again.String())
	checkRefused(t, app, last, res, page, oidcrp.CodeTransactionLost)
	if want := `href="/auth/login?return_to=%2Ftab%2F1"`; !strings.Contains(page, want) {
		t.Errorf("the page does not offer to try again at %s:\n%s", want, page)
	}
}

func TestCallback_ALostLoginThatFailedIsNotRestarted(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: autoLogin})
	app.provider.Misbehave(fault.AuthorizationAccessDenied)
	callback := comeBack(t, app, app.provider.Browser(), "/tab/1").String()
	other := app.provider.Browser()
	res, page := get(t, other, callback)
	checkRefused(t, app, other, res, page, oidcrp.CodeTransactionLost)
}

func TestCallback_ALoginHasAnHour(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name           string
		after          time.Duration
		authorizations int // 1: finished, 2: started again
		ends           int // with this status
	}{
		{"an hour later it is finished", time.Hour, 1, http.StatusOK},
		{"later it starts again", time.Hour + time.Second, 2, http.StatusOK},
		{"a week later it starts again", 7 * 24 * time.Hour, 2, http.StatusOK},
		{"later still it is over", 7*24*time.Hour + time.Second, 1, http.StatusBadRequest},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			app := newTestApp(t, setup{provider: oidctest.Config{AutoLogin: "alice", CodeTTL: 2 * time.Hour}})
			browser := app.provider.Browser()
			callback := comeBack(t, app, browser, "/tab/1").String()
			app.clock.Advance(row.after)
			res, page := get(t, browser, callback)
			if res.StatusCode != row.ends {
				t.Errorf("it ended at %s with %s, want %d\n%s", res.Request.URL, res.Status, row.ends, page)
			}
			if n := app.provider.Count(oidctest.EndpointAuthorization); n != row.authorizations {
				t.Errorf("%d authentication requests, want %d", n, row.authorizations)
			}
		})
	}
}

func TestCallback_ALoginsCookieGoesWhenItIsUsed(t *testing.T) {
	t.Parallel()
	for name, f := range map[string][]fault.Fault{
		"the login succeeded":       nil,
		"the provider refused":      {fault.AuthorizationAccessDenied},
		"the ID Token was refused":  {fault.IDTokenWrongNonce},
		"the issuer was another":    {fault.AuthorizationWrongIss},
		"the provider was too slow": {fault.TokenServerError},
	} {
		app := newTestApp(t, setup{provider: autoLogin})
		browser := app.provider.Browser()
		other := comeBack(t, app, browser, "/tab/2").String()
		want := transactionCookies(app, browser)
		app.provider.Misbehave(f...)
		callback := comeBack(t, app, browser, "/tab/1")
		if n := len(transactionCookies(app, browser)); n != 2 {
			t.Fatalf("%d logins are under way, want 2", n)
		}
		get(t, noRedirects(browser), callback.String())
		left := transactionCookies(app, browser)
		if !slices.Equal(left, want) {
			t.Errorf("%s: the cookies left are %q, want that of the other login", name, left)
		}
		app.provider.Misbehave()
		if res, page := get(t, browser, other); res.Request.URL.Path != "/tab/2" {
			t.Errorf("%s: the other login ended at %s\n%s", name, res.Request.URL, page)
		}
	}
}

// A parameter that is given twice may be an attack, so the plain answer that comes
// after it is not used either.
func TestCallback_AParameterGivenTwiceEndsItsLogin(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"query", "form_post"} {
		for _, name := range []string{"state", "code", "iss", "error"} {
			app := newTestApp(t, setup{provider: autoLogin, config: func(c *oidcrp.Config) { c.ResponseMode = mode }})
			browser := app.provider.Browser()
			send := func(answer url.Values) (*http.Response, string) {
				t.Helper()
				if mode == "query" {
					return get(t, noRedirects(browser), app.URL+"/auth/callback?"+answer.Encode())
				}
				res, err := noRedirects(browser).PostForm(app.URL+"/auth/callback", answer)
				if err != nil {
					t.Fatal(err)
				}
				return res, readBody(t, res)
			}
			var answer url.Values
			if mode == "form_post" {
				answer = comeBackByForm(t, app, browser, "/tab/1")
			} else {
				answer = comeBack(t, app, browser, "/tab/1").Query()
			}
			if n := len(transactionCookies(app, browser)); n != 1 {
				t.Fatalf("%d logins are under way, want 1", n)
			}
			twice := maps.Clone(answer)
			twice[name] = []string{answer.Get(name), answer.Get(name)}
			res, page := send(twice)
			checkRefused(t, app, browser, res, page, oidcrp.CodeInvalidRequest)
			if left := transactionCookies(app, browser); len(left) > 0 {
				t.Errorf("%s, %s twice: the cookies left are %q", mode, name, left)
			}
			send(answer)
			if got := app.who(t, browser, "/").Sub; got != "" || app.provider.Count(oidctest.EndpointToken) > 0 {
				t.Errorf("%s, %s twice: afterwards the code is used, and %q is signed in", mode, name, got)
			}
		}
	}
}

// keysLater is a KeySource that has no keys until they are set.
type keysLater struct{ keys atomic.Pointer[[][]byte] }

func (k *keysLater) CookieKeys(context.Context) ([][]byte, error) {
	if keys := k.keys.Load(); keys != nil {
		return *keys, nil
	}
	return nil, errors.New("not yet")
}

// In an outage nothing is known to be wrong with the answer, and it may come again.
func TestCallback_AnOutageLeavesTheLogin(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: autoLogin})
	browser := app.provider.Browser()
	r := callbackRequest(t, app, browser, comeBack(t, app, browser, "/tab/1"))
	source := new(keysLater)
	fresh := newTestClient(t, app, func(c *oidcrp.Config) { c.CookieKeys = source }).Middleware(http.NotFoundHandler())
	w := httptest.NewRecorder()
	fresh.ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable || len(w.Result().Cookies()) > 0 || app.provider.Count(oidctest.EndpointToken) > 0 {
		t.Errorf("without keys the answer is %d with the cookies %v", w.Code, w.Result().Cookies())
	}
	source.keys.Store(&[][]byte{testKey(1)})
	app.clock.Advance(time.Second)
	w = httptest.NewRecorder()
	fresh.ServeHTTP(w, r)
	if got := w.Header().Get("Location"); w.Code != http.StatusFound || got != app.URL+"/tab/1" {
		t.Errorf("the reload leads to %d %q", w.Code, got)
	}
}

// transactionCookies returns the names of the cookies of pending logins. The middle
// of their names distinguishes them from others.
func transactionCookies(app *testApp, browser *http.Client) []string {
	var names []string
	u, _ := url.Parse(app.URL)
	for _, cookie := range browser.Jar.Cookies(u) {
		if strings.HasPrefix(cookie.Name, "oidcrp_") && strings.Contains(cookie.Name, "_t_") {
			names = append(names, cookie.Name)
		}
	}
	return names
}

func TestCallback_ClientsOfOneAppDoNotFinishEachOthersLogins(t *testing.T) {
	t.Parallel()
	elsewhere := oidctest.NewServer(t, autoLogin)
	var cfg oidcrp.Config
	app := newTestApp(t, setup{provider: autoLogin, config: func(c *oidcrp.Config) { cfg = *c }, routes: func(_ *oidcrp.Client, mux *http.ServeMux) {
		cfg.Issuer, cfg.PathPrefix = elsewhere.Issuer(), "/other/"
		other, err := oidcrp.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		mux.Handle("/other/", other.Middleware(other.RequireLogin(http.HandlerFunc(sayWho))))
	}})
	browser := app.provider.Browser()
	callback := comeBack(t, app, browser, "/tab/1")
	misled := *callback
	misled.Path = "/other/callback"
	for _, iss := range []string{app.provider.Issuer(), elsewhere.Issuer()} {
		query := misled.Query()
		query.Set("iss", iss)
		misled.RawQuery = query.Encode()
		res, page := get(t, browser, misled.String())
		checkRefused(t, app, browser, res, page, oidcrp.CodeTransactionLost)
	}
	if n := len(elsewhere.Requests()); n != 0 {
		t.Errorf("%d requests reached the other provider, want 0", n)
	}

	// Each still finishes its own, and both sessions live side by side.
	get(t, browser, callback.String())
	get(t, browser, comeBack(t, app, browser, "/other/page").String())
	for _, page := range []string{"/tab/1", "/other/page"} {
		if got := app.who(t, browser, page); got.Sub != "alice" || got.Path != page {
			t.Errorf("%s sees %+v, want alice", page, got)
		}
	}
}

func cookiesFor(t testing.TB, app *testApp, browser *http.Client) []*http.Cookie {
	t.Helper()
	u, err := url.Parse(app.URL)
	if err != nil {
		t.Fatal(err)
	}
	return browser.Jar.Cookies(u)
}

// A handApp answers callbacks by hand, without the middleware.
type handApp struct {
	*testApp
	started, succeeded, refused []oidcrp.LoginEvent
}

func newHandApp(t *testing.T, change func(*oidcrp.Config)) *handApp {
	t.Helper()
	app := &handApp{testApp: newTestApp(t, setup{provider: autoLogin})}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	app.URL = server.URL
	app.client = newTestClient(t, app.testApp, func(c *oidcrp.Config) {
		c.Registration.RedirectURI = server.URL + "/oidc/back"
		c.Trace = oidcrp.Trace{
			LoginStarted: collect(&app.started), LoginSucceeded: collect(&app.succeeded), LoginRefused: collect(&app.refused),
		}
		if change != nil {
			change(c)
		}
	})
	mux.HandleFunc("/oidc/start", func(w http.ResponseWriter, r *http.Request) {
		app.client.Login(w, r, &oidcrp.AuthOptions{ReturnTo: r.FormValue("return_to")})
	})
	mux.HandleFunc("/oidc/back", app.back)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		answer := whoAnswer{Path: r.URL.RequestURI()}
		if s, err := app.client.Session(r); err == nil {
			answer.Sub, answer.ACR = s.Subject(), s.ACR()
		}
		json.NewEncoder(w).Encode(answer)
	})
	return app
}

func (a *handApp) back(w http.ResponseWriter, r *http.Request) {
	session, err := a.client.Callback(r.Context(), r)
	if err != nil {
		location, err := a.client.RecoverLogin(w, r, err)
		if err != nil {
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprint(w, err)
			return
		}
		http.Redirect(w, r, location, http.StatusSeeOther)
		return
	}
	if err := a.client.StartSession(w, r, session); err != nil {
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprint(w, err)
		return
	}
	http.Redirect(w, r, session.ReturnTo(), http.StatusSeeOther)
}

// wantEvents fails the test unless so many logins were started, succeeded and
// were refused since the last call.
func (a *handApp) wantEvents(t *testing.T, started, succeeded, refused int) {
	t.Helper()
	if len(a.started) != started || len(a.succeeded) != succeeded || len(a.refused) != refused {
		t.Errorf("%d logins were started, %d succeeded, %d were refused; want %d, %d, %d: %+v",
			len(a.started), len(a.succeeded), len(a.refused), started, succeeded, refused, a.refused)
	}
	a.started, a.succeeded, a.refused = nil, nil, nil
}

// wantReported fails the test unless an answer reports an error with code, and
// the event does.
func (a *handApp) wantReported(t *testing.T, res *http.Response, body string, code oidcrp.Code) {
	t.Helper()
	if res.StatusCode != http.StatusTeapot || !strings.Contains(body, string(code)) {
		t.Errorf("the answer is %s, %s, want %s", res.Status, body, string(code))
	}
	if len(a.refused) != 1 || a.refused[0].Code != code {
		t.Errorf("LoginRefused got %+v, want %s once", a.refused, string(code))
	}
}

func TestRecoverLogin_LostLoginRestartsOnce(t *testing.T) {
	t.Parallel()
	app := newHandApp(t, nil)
	callback := comeBack(t, app.testApp, app.provider.Browser(), "/oidc/start?return_to=/page").String()
	app.wantEvents(t, 1, 0, 0)

	browser := app.provider.Browser()
	restarted := follow(t, browser, callback)
	if !strings.HasPrefix(restarted.String(), app.provider.Endpoint(oidctest.EndpointAuthorization)+"?") {
		t.Fatalf("the lost login leads to %s", restarted)
	}
	if len(app.started) != 1 || !app.started[0].Restart || app.started[0].ReturnTo != "/page" {
		t.Errorf("LoginStarted got %+v", app.started)
	}
	app.wantEvents(t, 1, 0, 0)

	again := follow(t, browser, restarted.String()).String()
	res, body := get(t, app.provider.Browser(), again) // lost again
	app.wantReported(t, res, body, oidcrp.CodeTransactionLost)
	app.wantEvents(t, 0, 0, 1)

	res, _ = get(t, browser, again)
	if got := app.who(t, browser, "/page"); res.Request.URL.Path != "/page" || got.Sub != "alice" {
		t.Errorf("the restarted login ended at %s with %+v", res.Request.URL, got)
	}
	app.wantEvents(t, 0, 1, 0)
}

func TestRecoverLogin_ASignedInPersonGoesToTheirPage(t *testing.T) {
	t.Parallel()
	app := newHandApp(t, nil)
	browser := app.provider.Browser()
	callback := comeBack(t, app.testApp, browser, "/oidc/start?return_to=/page%3Fa=b").String()
	get(t, browser, callback)
	app.wantEvents(t, 1, 1, 0)
	res, _ := get(t, browser, callback) // the back button
	if got := res.Request.URL.RequestURI(); got != "/page?a=b" {
		t.Errorf("it leads to %s", got)
	}
	res, _ = get(t, browser, app.URL+"/oidc/back?state=x&code=y") // for a login that never was
	if got := res.Request.URL.RequestURI(); got != "/" {
		t.Errorf("such a callback leads to %s", got)
	}
	app.wantEvents(t, 0, 0, 0)
}

func TestRecoverLogin_APostIsRepeatedAsAPageLoad(t *testing.T) {
	t.Parallel()
	app := newHandApp(t, func(c *oidcrp.Config) { c.ResponseMode = "form_post" })
	browser := app.provider.Browser()
	form := comeBackByForm(t, app.testApp, browser, "/oidc/start?return_to=/page")
	res, err := noRedirects(app.provider.Browser()).PostForm(app.URL+"/oidc/back", form) // without its cookies
	if err != nil {
		t.Fatal(err)
	}
	readBody(t, res)
	location, err := res.Location()
	if err != nil || location.Path != "/oidc/back" || location.Query().Get("state") != form.Get("state") ||
		location.Query().Get("code") != form.Get("code") {
		t.Fatalf("the post leads to %v, %v", location, err)
	}
	app.wantEvents(t, 1, 0, 0)
	get(t, browser, location.String())
	if got := app.who(t, browser, "/page"); got.Sub != "alice" {
		t.Errorf("signed in as %q, want alice", got.Sub)
	}
	app.wantEvents(t, 0, 1, 0)
}

func TestRecoverLogin_ReportsWhatCannotBeRecovered(t *testing.T) {
	t.Parallel()
	for what, tt := range map[string]struct {
		faults []fault.Fault
		change func(url.Values)
		code   oidcrp.Code
	}{
		"the provider's error":        {[]fault.Fault{fault.AuthorizationAccessDenied}, nil, oidcrp.CodeProviderError},
		"an ID Token that is refused": {[]fault.Fault{fault.IDTokenWrongNonce}, nil, oidcrp.CodeTokenRefused},
		"a parameter given twice":     {nil, func(v url.Values) { v.Add("code", "x") }, oidcrp.CodeInvalidRequest},
		"another issuer":              {nil, func(v url.Values) { v.Set("iss", "https://evil.example") }, oidcrp.CodeIssuerMismatch},
	} {
		app := newHandApp(t, nil)
		browser := app.provider.Browser()
		app.provider.Misbehave(tt.faults...)
		callback := comeBack(t, app.testApp, browser, "/oidc/start")
		if tt.change != nil {
			query := callback.Query()
			tt.change(query)
			callback.RawQuery = query.Encode()
		}
		res, body := get(t, browser, callback.String())
		app.wantReported(t, res, body, tt.code)
		if tt.code == oidcrp.CodeProviderError && !strings.Contains(body, "access_denied") {
			t.Errorf("%s: the answer is %s", what, body)
		}
		// The state of a login that is over must not work again.
		if left := transactionCookies(app.testApp, browser); len(left) > 0 {
			t.Errorf("%s: the cookies left are %q", what, left)
		}
		app.wantEvents(t, 1, 0, 1)
	}
}

func TestRecoverLogin_ARestartThatFailsIsReported(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	app := newHandApp(t, func(c *oidcrp.Config) {
		c.Registration.RequirePushedAuthorizationRequests = true
		next := c.Provider.Transport
		if next == nil {
			next = http.DefaultTransport
		}
		c.Provider.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			if down.Load() {
				return nil, errors.New("no route to host")
			}
			return next.RoundTrip(r)
		})
	})
	callback := comeBack(t, app.testApp, app.provider.Browser(), "/oidc/start").String()
	down.Store(true)
	res, body := get(t, app.provider.Browser(), callback)
	app.wantReported(t, res, body, oidcrp.CodeProviderUnavailable)
	app.wantEvents(t, 1, 0, 1)
}

// The browser may have gone away. Nothing is wrong with the login then: a reload may
// still have its session.
func TestStartSession_ACanceledOneRefusesNoLogin(t *testing.T) {
	t.Parallel()
	store := oidcrp.NewHookStore(nil)
	app := newHandApp(t, func(c *oidcrp.Config) { c.Store = store })
	browser := app.provider.Browser()
	r := callbackRequest(t, app.testApp, browser, comeBack(t, app.testApp, browser, "/oidc/start"))
	session, err := app.client.Callback(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	store.Before(func(ctx context.Context, _, _ string) error { return ctx.Err() })
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	err = app.client.StartSession(httptest.NewRecorder(), r.WithContext(gone), session)
	wantCode(t, err, oidcrp.CodeCanceled)
	app.wantEvents(t, 1, 0, 0)

	store.Fail(errors.New("out of order"))
	err = app.client.StartSession(httptest.NewRecorder(), r, session)
	wantCode(t, err, oidcrp.CodeStoreUnavailable)
	app.wantEvents(t, 0, 0, 1)

	store.Before(nil)
	if err := app.client.StartSession(httptest.NewRecorder(), r, session); err != nil {
		t.Errorf("the reload: %v", err)
	}
	app.wantEvents(t, 0, 1, 0)
}

func TestStartSession_ASessionThatIsTooLargeIsReportedOnce(t *testing.T) {
	t.Parallel()
	app := newHandApp(t, nil)
	app.provider.Handle(oidctest.EndpointUserInfo,
		respond(200, "application/json", `{"sub":"alice","email":"`+oidcrp.RandomText(30<<10)+`"}`))
	browser := app.provider.Browser()
	res, body := get(t, browser, comeBack(t, app.testApp, browser, "/oidc/start").String())
	app.wantReported(t, res, body, oidcrp.CodeSessionTooLarge)
	app.wantEvents(t, 1, 0, 1)
}

// callbackRequest is the request of a browser that comes back.
func callbackRequest(t testing.TB, app *testApp, browser *http.Client, callback *url.URL) *http.Request {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, callback.String(), nil)
	for _, cookie := range cookiesFor(t, app, browser) {
		r.AddCookie(cookie)
	}
	return r
}

func TestCallback_TheSameAnswerTwiceIsOneLogin(t *testing.T) {
	t.Parallel()
	app := newHandApp(t, nil)
	browser := app.provider.Browser()
	r := callbackRequest(t, app.testApp, browser, comeBack(t, app.testApp, browser, "/oidc/start"))
	first, err := app.client.Callback(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	second, err := app.client.Callback(t.Context(), r)
	if err != nil || second != first {
		t.Errorf("the second time: %v, %v, want the same session", second, err)
	}
	app.wantEvents(t, 1, 0, 0) // nobody is signed in yet
	for range 2 {
		if err := app.client.StartSession(httptest.NewRecorder(), r, first); err != nil {
			t.Fatal(err)
		}
	}
	app.wantEvents(t, 0, 1, 0)
	if n := app.provider.Count(oidctest.EndpointToken); n != 1 {
		t.Errorf("%d token requests, want 1", n)
	}
}

// The exchange goes on for a reload when the browser that waited for it is gone.
func TestCallback_ACallerThatGivesUpLeavesTheExchange(t *testing.T) {
	t.Parallel()
	app := newHandApp(t, nil)
	browser := app.provider.Browser()
	r := callbackRequest(t, app.testApp, browser, comeBack(t, app.testApp, browser, "/oidc/start"))
	release := make(chan struct{})
	arrived := make(chan struct{})
	var once sync.Once
	app.client = newTestClient(t, app.testApp, func(c *oidcrp.Config) {
		c.Registration.RedirectURI = app.URL + "/oidc/back"
		c.Trace.LoginRefused = collect(&app.refused)
		c.Provider.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/token") {
				once.Do(func() { close(arrived) })
				<-release
			}
			return http.DefaultTransport.RoundTrip(r)
		})
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	_, err := app.client.Callback(ctx, r)
	if wantCode(t, err, oidcrp.CodeCanceled); !errors.Is(err, context.Canceled) {
		t.Errorf("the cause of %v is lost", err)
	}
	w := httptest.NewRecorder()
	if location, again := app.client.RecoverLogin(w, r, err); location != "" || again != err || len(w.Header()) > 0 {
		t.Errorf("RecoverLogin: %q, %v, %v, want the login left alone", location, again, w.Header())
	}
	expired, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = app.client.Callback(expired, r)
	wantCode(t, err, oidcrp.CodeProviderUnavailable)
	if len(app.refused) > 0 {
		t.Errorf("a caller who gave up was refused: %+v", app.refused)
	}

	close(release)
	session, err := app.client.Callback(t.Context(), r)
	if err != nil || session.Subject() != "alice" {
		t.Errorf("the reload gets %v, %v", session, err)
	}
	if n := app.provider.Count(oidctest.EndpointToken); n != 1 {
		t.Errorf("%d token requests, want 1", n)
	}
}

// OnLogin may still run when the caller has given up, and even when its handler has
// returned: the caller's request is not OnLogin's.
func TestCallback_OnLoginHasARequestOfItsOwn(t *testing.T) {
	t.Parallel()
	started, gaveUp, touched, returned := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
	var state string
	app := newHandApp(t, func(c *oidcrp.Config) {
		c.ResponseMode = "form_post"
		c.OnLogin = func(ctx context.Context, r *http.Request, _ *oidcrp.Session) error {
			close(started)
			<-gaveUp
			_ = r.WithContext(ctx) // while RecoverLogin has the caller's request
			_ = r.FormValue("state")
			close(touched)
			<-returned
			if r.FormValue("state") != state || r.PostFormValue("state") != state || r.URL.Path != "/oidc/back" {
				t.Errorf("OnLogin's request has the form %v and the path %s", r.Form, r.URL.Path)
			}
			if r.Body != http.NoBody {
				t.Error("OnLogin's request still has the body that net/http has closed")
			}
			if err := r.WithContext(r.Context()).Context().Err(); err != nil {
				t.Errorf("OnLogin's request has ended: %v", err)
			}
			return nil
		}
	})
	browser := app.provider.Browser()
	form := comeBackByForm(t, app.testApp, browser, "/oidc/start")
	state = form.Get("state")
	answer := func() *http.Request {
		r := httptest.NewRequest(http.MethodPost, app.URL+"/oidc/back", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for _, cookie := range cookiesFor(t, app.testApp, browser) {
			r.AddCookie(cookie)
		}
		return r
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-started
		cancel()
	}()
	r := answer().WithContext(ctx)
	_, err := app.client.Callback(ctx, r)
	wantCode(t, err, oidcrp.CodeCanceled)
	close(gaveUp)
	if location, again := app.client.RecoverLogin(httptest.NewRecorder(), r, err); location != "" || again != err {
		t.Errorf("RecoverLogin: %q, %v", location, again)
	}
	<-touched
	r.Body.Close() // as net/http does when a handler has returned
	close(returned)
	if session, err := app.client.Callback(t.Context(), answer()); err != nil || session.Subject() != "alice" {
		t.Errorf("the reload gets %v, %v", session, err)
	}
	app.wantEvents(t, 1, 0, 0)
}

// errorAt returns the callback URL with an error of the provider in place of its code.
func errorAt(app *testApp, callback *url.URL, code, description string) string {
	u := *callback
	u.RawQuery = url.Values{
		"state": {callback.Query().Get("state")}, "iss": {app.provider.Issuer()},
		"error": {code}, "error_description": {description},
	}.Encode()
	return u.String()
}

// Another tab has finished its login meanwhile, or the person went back and gave up.
func TestCallback_AnErrorLeadsASignedInPersonToTheirPage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what, code, description, path string
		status                        int
		to                            string
	}{
		{"cancelled", "access_denied", "", "/auth/login?return_to=/tab/2", 302, "/tab/2"},
		{"expired at Keycloak", "temporarily_unavailable", "authentication_expired", "/auth/login?return_to=/tab/2", 302, "/tab/2"},
		{"a fault of the provider", "server_error", "", "/auth/login?return_to=/tab/2", 302, "/tab/2"},
		{"a step-up that was cancelled", "access_denied", "", "/admin", 403, ""},
		{"a step-up that failed", "server_error", "", "/admin", 403, ""},
	} {
		app := newTestApp(t, setup{provider: autoLogin})
		browser := app.signIn(t)
		callback := comeBack(t, app, browser, test.path)
		res, page := get(t, noRedirects(browser), errorAt(app, callback, test.code, test.description))
		want := ""
		if test.to != "" {
			want = app.URL + test.to
		}
		if res.StatusCode/100 != test.status/100 || res.Header.Get("Location") != want {
			t.Errorf("%s: %s to %q, want %d to %q\n%s", test.what, res.Status, res.Header.Get("Location"), test.status, want, page)
		}
		if !strings.Contains(app.log.String(), test.code) {
			t.Errorf("%s: the log does not have the provider's error", test.what)
		}
		if who := app.who(t, browser, "/tab/1"); who.Sub != "alice" {
			t.Errorf("%s: then %q is signed in", test.what, who.Sub)
		}
	}
}

// The step-up is no longer necessary when its page expires: another tab did it.
func TestCallback_AnErrorOfAStepUpThatAnotherTabFinished(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: autoLogin})
	browser := app.signIn(t)
	callback := comeBack(t, app, browser, "/admin")
	app.who(t, browser, "/admin")
	res, _ := get(t, noRedirects(browser), errorAt(app, callback, "temporarily_unavailable", "authentication_expired"))
	if got := res.Header.Get("Location"); got != app.URL+"/admin" {
		t.Errorf("%s to %q", res.Status, got)
	}
}

// Keycloak's login page has expired, and nobody is signed in.
func TestCallback_AnExpiredPageOfTheProviderRestartsTheLoginOnce(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/tab/1", "/admin"} {
		app := newTestApp(t, setup{provider: autoLogin})
		browser := app.provider.Browser()
		callback := comeBack(t, app, browser, path)
		res, page := get(t, noRedirects(browser), errorAt(app, callback, "temporarily_unavailable", "authentication_expired"))
		location, err := url.Parse(res.Header.Get("Location"))
		if err != nil || res.StatusCode != 302 || !strings.HasPrefix(location.String(), app.provider.Issuer()) {
			t.Fatalf("%s: %s to %v\n%s", path, res.Status, location, page)
		}
		res, _ = get(t, noRedirects(browser), location.String())
		again, err := url.Parse(res.Header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		res, page = get(t, noRedirects(browser), errorAt(app, again, "temporarily_unavailable", "authentication_expired"))
		if res.StatusCode != 503 {
			t.Errorf("%s: the second time: %s to %q\n%s", path, res.Status, res.Header.Get("Location"), page)
		}
		// A restarted login ends where the first one was to lead, with what it asked for.
		browser = app.provider.Browser()
		callback = comeBack(t, app, browser, path)
		if _, page := get(t, browser, errorAt(app, callback, "temporarily_unavailable", "authentication_expired")); jsonMember(t, page, "Path") != path {
			t.Errorf("%s: the restarted login leads to %s", path, page)
		}
	}
}

// linesWith returns the lines of the app's log that hold text.
func (a *testApp) linesWith(text string) (lines []string) {
	for line := range strings.Lines(a.log.String()) {
		if strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestCallback_TheProvidersErrorIsLoggedWhateverElseIsWrong(t *testing.T) {
	t.Parallel()
	const said = "the-client-needs-consent"
	drop := func(names ...string) func(url.Values) {
		return func(v url.Values) {
			for _, name := range names {
				v.Del(name)
			}
		}
	}
	for _, row := range []struct {
		name   string
		signed bool // the person is signed in already
		change func(url.Values)
		want   oidcrp.Code // "": the person goes to their page
	}{
		{"no state", false, drop("state"), oidcrp.CodeTransactionLost},
		{"no state, signed in", true, drop("state"), ""},
		{"a state of nobody's", false, func(v url.Values) { v.Set("state", "x") }, oidcrp.CodeTransactionLost},
		{"a state of nobody's, signed in", true, func(v url.Values) { v.Set("state", "x") }, ""},
		{"no iss", false, drop("iss"), oidcrp.CodeIssuerMismatch},
		{"no iss, signed in", true, drop("iss"), oidcrp.CodeIssuerMismatch},
		{"neither", false, drop("state", "iss"), oidcrp.CodeTransactionLost},
		{"another issuer", false, func(v url.Values) { v.Set("iss", "https://evil.example") }, oidcrp.CodeIssuerMismatch},
		{"a state given twice", false, func(v url.Values) { v.Add("state", "x") }, oidcrp.CodeInvalidRequest},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			app := newTestApp(t, setup{provider: autoLogin})
			browser := app.provider.Browser()
			callback := comeBack(t, app, browser, "/tab/1")
			if row.signed {
				get(t, browser, callback.String())
				callback = comeBack(t, app, browser, "/auth/login")
			}
			query := callback.Query()
			query.Del("code")
			query.Set("error", "interaction_required")
			query.Set("error_description", said+"\n"+strings.Repeat("x", 5000))
			row.change(query)
			callback.RawQuery = query.Encode()
			res, page := get(t, noRedirects(browser), callback.String())

			lines := app.linesWith(said)
			if len(lines) != 1 || !strings.Contains(lines[0], "interaction_required") || len(lines[0]) > 3000 {
				t.Fatalf("%d log lines have what the provider said, want a bounded one\n%s", len(lines), app.log)
			}
			if strings.Contains(lines[0], `"level":"DEBUG"`) {
				t.Errorf("the line is for debugging only: %s", lines[0])
			}
			if strings.Contains(page, said) {
				t.Errorf("the page shows what the provider said:\n%s", page)
			}
			if row.want == "" {
				if res.StatusCode != http.StatusFound {
					t.Errorf("the answer is %s, want the person's page", res.Status)
				}
				return
			}
			incident := incidentOf.FindStringSubmatch(page)
			if incident == nil || !strings.Contains(lines[0], incident[1]) || codeOfIncident(t, app.log, incident[1]) != row.want {
				t.Errorf("the answer is %s, and its incident %q is not that of %s", res.Status, incident, lines[0])
			}
		})
	}
}

func TestCallback_TheProvidersErrorIsLoggedInAnOutage(t *testing.T) {
	t.Parallel()
	const said = "the-client-needs-consent"
	store := oidcrp.NewHookStore(nil)
	app := newTestApp(t, setup{provider: autoLogin, config: func(c *oidcrp.Config) { c.Store = store }})
	browser := app.signIn(t)
	callback := comeBack(t, app, browser, "/auth/login")

	// Nobody can tell whether the person is signed in.
	store.Fail(errors.New("down"))
	query := url.Values{"error": {"server_error"}, "error_description": {said}}
	res, page := get(t, noRedirects(browser), app.URL+"/auth/callback?"+query.Encode())
	if lines := app.linesWith(said); res.StatusCode != http.StatusServiceUnavailable || len(lines) != 1 {
		t.Errorf("without the Store the answer is %s, and the log has %q", res.Status, lines)
	} else if incident := incidentOf.FindStringSubmatch(page); incident == nil || !strings.Contains(lines[0], incident[1]) {
		t.Errorf("the incident %q is not in %s", incident, lines[0])
	}

	// Nobody can tell which login it answers.
	r := callbackRequest(t, app, browser, callback)
	query.Set("state", callback.Query().Get("state"))
	r.URL.RawQuery = query.Encode()
	fresh := newTestClient(t, app, func(c *oidcrp.Config) { c.CookieKeys = new(keysLater) }).Middleware(http.NotFoundHandler())
	w := httptest.NewRecorder()
	fresh.ServeHTTP(w, r)
	if lines := app.linesWith(said); w.Code != http.StatusServiceUnavailable || len(lines) != 2 {
		t.Errorf("without keys the answer is %d, and the log has %q", w.Code, lines)
	}
}

// An app's own step-up by BeginLogin with RequireACR: cancelling it is not passing it.
func TestCallback_ACancelledStepUpOfTheAppsOwnIsNotPassed(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: autoLogin, routes: func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.HandleFunc("/transfer", func(w http.ResponseWriter, r *http.Request) {
			if s, ok := oidcrp.SessionFromContext(r.Context()); !ok || s.ACR() != "eidas2" {
				c.Login(w, r, &oidcrp.AuthOptions{RequireACR: []string{"eidas2"}, ReturnTo: "/transfer"})
				return
			}
			sayWho(w, r)
		})
	}})
	browser := app.signIn(t)
	for range 3 {
		callback := comeBack(t, app, browser, "/transfer")
		res, _ := get(t, noRedirects(browser), errorAt(app, callback, "access_denied", ""))
		if res.StatusCode == 302 {
			t.Errorf("a cancelled step-up leads to %s, which asks again: a loop without an end or a page", res.Header.Get("Location"))
		}
	}
}

// A restarted login asks for what the first one asked for.
func TestCallback_ARestartedLoginKeepsItsOptions(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: autoLogin, routes: func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.HandleFunc("/switch", func(w http.ResponseWriter, r *http.Request) {
			c.Login(w, r, &oidcrp.AuthOptions{
				Prompt: "login", ACRValues: []string{"eidas2"}, LoginHint: "bob", Extra: url.Values{"idp_hint": {"x"}}, ReturnTo: "/tab/1",
			})
		})
	}})
	browser := app.provider.Browser()
	authorization := follow(t, browser, app.URL+"/switch")
	callback := *authorization
	callback.RawQuery = authorization.RawQuery
	back, _ := url.Parse(app.URL + "/auth/callback?state=" + url.QueryEscape(authorization.Query().Get("state")))
	res, page := get(t, noRedirects(browser), errorAt(app, back, "temporarily_unavailable", "authentication_expired"))
	again, err := res.Location()
	if err != nil {
		t.Fatalf("%s\n%s", res.Status, page)
	}
	for _, name := range []string{"prompt", "acr_values", "login_hint", "idp_hint"} {
		if was, is := authorization.Query().Get(name), again.Query().Get(name); was != is {
			t.Errorf("%s was %q, and is %q in the restarted login", name, was, is)
		}
	}
}

// newScopesApp starts an app whose page "/more" starts a login with a scope of its own.
func newScopesApp(t *testing.T) *testApp {
	t.Helper()
	return newTestApp(t, setup{provider: autoLogin, routes: func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.HandleFunc("/more", func(w http.ResponseWriter, r *http.Request) {
			c.Login(w, r, &oidcrp.AuthOptions{Scopes: []string{"groups"}, ReturnTo: "/tab/7"})
		})
	}})
}

// The claims of a scope of one login arrive, and a login that replaces an expired one asks
// for it again.
func TestCallback_ScopesOfOneLogin(t *testing.T) {
	t.Parallel()
	app := newScopesApp(t)
	browser := app.signIn(t)
	if s := app.sessionOf(t, browser); oidcrp.Claim("groups", "agents").Met(s, app.clock.Now()) {
		t.Fatal("the scope is not needed")
	}
	app.clock.Advance(time.Second)
	get(t, browser, app.URL+"/more")
	if s := app.sessionOf(t, browser); !oidcrp.Claim("groups", "agents").Met(s, app.clock.Now()) {
		t.Error("the claims of the scope are not there")
	}
	browser = app.provider.Browser()
	callback := comeBack(t, app, browser, "/more")
	res, _ := get(t, noRedirects(browser), errorAt(app, callback, "temporarily_unavailable", "authentication_expired"))
	if scope := mustQuery(t, res.Header.Get("Location")).Get("scope"); scope != "openid profile email groups" {
		t.Errorf("the login that replaces it asks for %q", scope)
	}
}

// A session from before is not what the login was for.
func TestCallback_ARefusedScopeIsShown(t *testing.T) {
	t.Parallel()
	app := newScopesApp(t)
	browser := app.signIn(t)
	app.clock.Advance(time.Second)
	callback := comeBack(t, app, browser, "/more")
	if res, _ := get(t, noRedirects(browser), errorAt(app, callback, "access_denied", "no")); res.StatusCode != 403 {
		t.Errorf("%s to %q", res.Status, res.Header.Get("Location"))
	}
}
