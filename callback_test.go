package oidcrp

import (
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

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
func checkRefused(t *testing.T, app *testApp, browser *http.Client, res *http.Response, page string, want Code) {
	t.Helper()
	if res.StatusCode != statusOf(want) {
		t.Errorf("the answer is %s, want %d\n%s", res.Status, statusOf(want), page)
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

func TestTheCallbacksParametersAreReadStrictly(t *testing.T) {
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
	const signedIn = Code("")
	for _, row := range []struct {
		name   string
		change func(url.Values)
		want   Code
	}{
		{"what the provider sent is accepted", func(url.Values) {}, signedIn},
		{"an unknown parameter is ignored", set("session_state", "a.b"), signedIn},
		{"an unknown parameter given twice is ignored", twice("x"), signedIn},

		{"state twice", twice("state"), CodeInvalidRequest},
		{"code twice", twice("code"), CodeInvalidRequest},
		{"iss twice", twice("iss"), CodeInvalidRequest},
		{"error twice", twice("error"), CodeInvalidRequest},
		{"error_description twice", twice("error_description"), CodeInvalidRequest},
		{"error_uri twice", twice("error_uri"), CodeInvalidRequest},

		{"no state", drop("state"), CodeTransactionLost},
		{"an empty state", set("state", ""), CodeTransactionLost},
		{"a state from elsewhere", set("state", randomText()), CodeTransactionLost},
		{"state in capitals", func(v url.Values) { v["STATE"] = v["state"]; v.Del("state") }, CodeTransactionLost},

		{"another issuer", set("iss", "https://evil.example"), CodeIssuerMismatch},
		{"an empty issuer", set("iss", ""), CodeIssuerMismatch},
		{"no issuer, though one is announced", drop("iss"), CodeIssuerMismatch},
		{"an error from another issuer", func(v url.Values) {
			v.Set("error", "access_denied")
			v.Set("iss", "https://evil.example")
		}, CodeIssuerMismatch},

		{"neither code nor error", drop("code"), CodeInvalidRequest},
		{"an empty code", set("code", ""), CodeInvalidRequest},
		{"an error beside the code", set("error", "access_denied"), CodeProviderError},
		{"an empty error beside the code", set("error", ""), CodeProviderError},

		{"login_required", set("error", "login_required"), CodeLoginRequired},
		{"interaction_required", set("error", "interaction_required"), CodeLoginRequired},
		{"consent_required", set("error", "consent_required"), CodeLoginRequired},
		{"account_selection_required", set("error", "account_selection_required"), CodeLoginRequired},
		{"temporarily_unavailable", set("error", "temporarily_unavailable"), CodeProviderUnavailable},
		{"an acr that cannot be had", set("error", "unmet_authentication_requirements"), CodeRequirementUnmet},
		{"invalid_scope", set("error", "invalid_scope"), CodeClientRefused},
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

func TestACallbackThatCannotBeParsedIsRefused(t *testing.T) {
	t.Parallel()
	for _, query := range []string{"%zz", "state=%", "state=a;code=b", "code=a&state=b&%"} {
		app := newTestApp(t, setup{provider: autoLogin})
		browser := app.provider.Browser()
		res, page := get(t, browser, app.URL+"/auth/callback?"+query)
		checkRefused(t, app, browser, res, page, CodeInvalidRequest)
	}
}

func TestIssIsOptionalWhereItIsNotAnnounced(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: oidctest.Config{AutoLogin: "alice", NoIssParameter: true}})
	browser := app.provider.Browser()

	callback := comeBack(t, app, browser, "/tab/1")
	callback.RawQuery += "&iss=https%3A%2F%2Fevil.example"
	res, page := get(t, browser, callback.String())
	checkRefused(t, app, browser, res, page, CodeIssuerMismatch)

	get(t, browser, comeBack(t, app, browser, "/tab/1").String())
	if got := app.who(t, browser, "/tab/1"); got.Sub != "alice" {
		t.Errorf("without iss, %q is signed in, want alice", got.Sub)
	}
}

func TestWhatTheProviderSaysOfAnErrorStaysOffThePage(t *testing.T) {
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
		checkRefused(t, app, browser, res, page, CodeProviderError)
		if strings.Contains(page, "oops") {
			t.Errorf("the page holds what the provider said:\n%s", page)
		}
		for line := range strings.Lines(app.log.String()) {
			if len(line) > 2000 || strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\x1b\x00\u202e\r") {
				t.Errorf("a log line of %d bytes is not bounded and printable: %.300q", len(line), line)
			}
		}
	}
}

func TestThePageOfARefusedCallbackIsInTheReadersLanguage(t *testing.T) {
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

func TestOnlyAPageLoadSpendsTheCode(t *testing.T) {
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
var formPost = setup{provider: autoLogin, config: func(c *Config) { c.ResponseMode = "form_post" }}

func TestOfAPostedAnswerOnlyTheBodyCounts(t *testing.T) {
	t.Parallel()
	const signedIn = Code("")
	const urlencoded = "application/x-www-form-urlencoded"
	for _, row := range []struct {
		name, contentType string
		inQuery, inBody   func(form url.Values) url.Values
		want              Code
	}{
		{"the body is read", urlencoded,
			func(url.Values) url.Values { return nil },
			func(form url.Values) url.Values { return form }, signedIn},
		{"the query beside it is not", urlencoded,
			func(form url.Values) url.Values { return url.Values{"code": {"x"}, "state": {"y"}, "error": {"z"}} },
			func(form url.Values) url.Values { return form }, signedIn},
		{"the query in its place is not", urlencoded,
			func(form url.Values) url.Values { return form },
			func(url.Values) url.Values { return nil }, CodeTransactionLost},
		{"another type is not a form", "text/plain",
			func(url.Values) url.Values { return nil },
			func(form url.Values) url.Values { return form }, CodeTransactionLost},
		{"a body that is too large is refused", urlencoded,
			func(url.Values) url.Values { return nil },
			func(form url.Values) url.Values {
				form.Set("x", strings.Repeat("x", maxCallbackBody))
				return form
			}, CodeInvalidRequest},
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
func TestAPostedAnswerWithoutItsCookiesEndsWell(t *testing.T) {
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

func TestAPostedErrorWithoutItsCookiesIsExplained(t *testing.T) {
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
	checkRefused(t, app, browser, res, page, CodeProviderError)
}

// Over https the cookie of a login does come with the post. When it does not,
// it is lost, and the code need not stand in a URL.
func TestAPostedCodeStaysOutOfURLs(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, formPost)
	client := newTestClient(t, app, func(c *Config) {
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

func TestACallbackThatComesAgainLeadsToItsPage(t *testing.T) {
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

func TestALostLoginStartsAgainOnce(t *testing.T) {
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

func TestALoginThatIsLostTwiceIsExplained(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: autoLogin})
	callback := comeBack(t, app, app.provider.Browser(), "/tab/1").String()
	forgetful := app.provider.Browser()
	again := follow(t, forgetful, follow(t, forgetful, callback).String())

	last := app.provider.Browser()
	res, page := get(t, last, again.String())
	checkRefused(t, app, last, res, page, CodeTransactionLost)
	if want := `href="/auth/login?return_to=%2Ftab%2F1"`; !strings.Contains(page, want) {
		t.Errorf("the page does not offer to try again at %s:\n%s", want, page)
	}
}

func TestALostLoginThatFailedIsNotStartedAgain(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: autoLogin})
	app.provider.Misbehave(fault.AuthorizationAccessDenied)
	callback := comeBack(t, app, app.provider.Browser(), "/tab/1").String()
	other := app.provider.Browser()
	res, page := get(t, other, callback)
	checkRefused(t, app, other, res, page, CodeTransactionLost)
}

func TestALoginHasAnHour(t *testing.T) {
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

func TestALoginsCookieGoesWhenItIsUsed(t *testing.T) {
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
		app.provider.Misbehave(f...)
		callback := comeBack(t, app, browser, "/tab/1")
		if n := len(transactionCookies(app, browser)); n != 2 {
			t.Fatalf("%d logins are under way, want 2", n)
		}
		get(t, noRedirects(browser), callback.String())
		left := transactionCookies(app, browser)
		if len(left) != 1 || left[0] == app.client.logins.cookieName(callback.Query().Get("state")) {
			t.Errorf("%s: the cookies left are %q, want that of the other login", name, left)
		}
		app.provider.Misbehave()
		if res, page := get(t, browser, other); res.Request.URL.Path != "/tab/2" {
			t.Errorf("%s: the other login ended at %s\n%s", name, res.Request.URL, page)
		}
	}
}

// transactionCookies returns the names of the cookies of logins under way.
func transactionCookies(app *testApp, browser *http.Client) []string {
	var names []string
	u, _ := url.Parse(app.URL)
	for _, cookie := range browser.Jar.Cookies(u) {
		if strings.HasPrefix(cookie.Name, app.client.cookies.transaction) {
			names = append(names, cookie.Name)
		}
	}
	return names
}

func TestClientsOfOneAppDoNotFinishEachOthersLogins(t *testing.T) {
	t.Parallel()
	elsewhere := oidctest.NewServer(t, autoLogin)
	app := newTestApp(t, setup{provider: autoLogin, routes: func(c *Client, mux *http.ServeMux) {
		other, err := New(Config{
			Issuer: elsewhere.Issuer(), ClientID: oidctest.ClientID, ClientSecret: oidctest.ClientSecret,
			BaseURL: c.base.String(), PathPrefix: "/other/", CookieKeys: Keys(testKey(1)), Logger: c.log, Now: c.now,
		})
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
		checkRefused(t, app, browser, res, page, CodeTransactionLost)
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
