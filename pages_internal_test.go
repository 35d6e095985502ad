package oidcrp

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pageOf returns the page about an error, in a language, with a change made to
// it.
func pageOf(c *Client, code Code, language string, change func(*Page)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Accept-Language", language)
	p := c.errorPage(r, &Error{Op: "test", Code: code, Err: errors.New("the inside of the app")})
	if change != nil {
		change(p)
	}
	w := httptest.NewRecorder()
	DefaultPage(w, r, p)
	return w
}

func TestErrorPage_IsWellFormed(t *testing.T) {
	t.Parallel()
	c := mustNew(t, nil)
	for _, lang := range []string{"en", "fr"} {
		for _, code := range allCodes {
			w := pageOf(c, code, lang, func(p *Page) {
				p.Incident, p.Action = "incident1234", "/auth/login?a=b&step_up=c"
			})
			wantPage(t, fmt.Sprintf("%s in %s", code, lang), w, statusOf(code), lang)
			if body := w.Body.String(); !strings.Contains(body, "<code>incident1234</code>") || strings.Contains(body, "inside") {
				t.Errorf("%s in %s:\n%s", code, lang, body)
			}
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Accept-Language", lang)
		w := httptest.NewRecorder()
		c.confirmLogoutPage(w, r, "/a?b=c&d")
		wantPage(t, "confirmation in "+lang, w, 200, lang)
		w = httptest.NewRecorder()
		c.signedOutPage(w, r)
		wantPage(t, "signed out in "+lang, w, 200, lang)
		for _, returnTo := range []string{"/a?b=c&d", ""} {
			w = httptest.NewRecorder()
			c.incompleteLogoutPage(w, r, returnTo)
			wantPage(t, "not signed out in "+lang, w, 200, lang)
		}
	}
}

var metaElement = regexp.MustCompile(`<meta ([^>]*)>`)

// wantPage checks what every page has. The pages are written so that they are
// XML too, apart from meta, which HTML does not close.
func wantPage(t *testing.T, what string, w *httptest.ResponseRecorder, status int, lang string) {
	t.Helper()
	body := w.Body.String()
	decoder := xml.NewDecoder(strings.NewReader(metaElement.ReplaceAllString(body, "<meta $1/>")))
	decoder.Entity = xml.HTMLEntity
	elements := make(map[string]int)
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v in\n%s", what, err, body)
		}
		if start, ok := token.(xml.StartElement); ok {
			elements[start.Name.Local]++
		}
	}
	for _, name := range []string{"html", "head", "title", "style", "body", "main", "h1"} {
		if elements[name] != 1 {
			t.Errorf("%s has %d elements %s", what, elements[name], name)
		}
	}
	if elements["script"] > 0 || elements["img"] > 0 || elements["link"] > 0 {
		t.Errorf("%s loads something: %v", what, elements)
	}
	if !strings.HasPrefix(body, "<!doctype html>\n<html lang=\""+lang+"\">") {
		t.Errorf("%s begins with %.60q", what, body)
	}
	h := w.Header()
	if w.Code != status || h.Get("Content-Type") != "text/html; charset=utf-8" || h.Get("Content-Language") != lang ||
		h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" ||
		h.Get("Referrer-Policy") != "no-referrer" || !slices.Contains(h.Values("Vary"), "Accept-Language") ||
		h.Get("Content-Length") != fmt.Sprint(len(body)) {
		t.Errorf("%s: %d with the headers %v", what, w.Code, h)
	}
	WantPolicy(t, what, h.Get("Content-Security-Policy"), body)
}

var styleElement = regexp.MustCompile(`(?s)<style>(.*?)</style>`)

// WantPolicy checks that the policy lets the page's own style through: the
// browser hashes the text of the element as it came.
func WantPolicy(t testing.TB, what, policy, body string) {
	t.Helper()
	style := styleElement.FindStringSubmatch(body)
	if style == nil {
		t.Fatalf("%s has no style", what)
	}
	sum := sha256.Sum256([]byte(style[1]))
	want := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	directives := strings.Split(policy, "; ")
	for _, directive := range []string{want, "default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"} {
		if !slices.Contains(directives, directive) {
			t.Errorf("%s: the policy lacks %q: %s", what, directive, policy)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(body, " style=") || strings.Contains(body, " onclick") {
		t.Errorf("%s needs more than its policy allows", what)
	}
}

func TestErrorPage_SaysWhatToDo(t *testing.T) {
	t.Parallel()
	c := mustNew(t, nil)
	titles := make(map[string]bool)
	for _, code := range allCodes {
		en, fr := pageOf(c, code, "en", nil).Body.String(), pageOf(c, code, "fr", nil).Body.String()
		if en == fr {
			t.Errorf("%s says the same in both languages", code)
		}
		for _, body := range []string{en, fr} {
			button, home := `<a class="button" href="/auth/login">`, `<a href="/">`
			if code == CodeCrossOrigin || code == CodeSessionTooLarge { // a login does not help
				button, home = `<a class="button" href="/">`, `ome page`
				if body == fr {
					home = `accueil`
				}
			}
			if code == CodeLoginRefused || code == CodeRequirementUnmet { // a login with the same account does not help
				button = `<form method="post" action="/auth/logout?return_to=%2F"><button type="submit" class="button">Sign in with another account<`
				if body == fr {
					button = strings.Replace(button, "Sign in with another account", "Se connecter avec un autre compte", 1)
				}
			}
			if !strings.Contains(body, button) || !strings.Contains(body, home) {
				t.Errorf("%s leads nowhere:\n%s", code, body)
			}
			if strings.Contains(body, string(code)) || strings.Contains(body, "oidc") {
				t.Errorf("%s shows names from inside:\n%s", code, body)
			}
		}
		_, title, _ := strings.Cut(en, "<h1>")
		title, _, _ = strings.Cut(title, "</h1>")
		titles[title] = true
	}
	// Those without a title of their own share the general one, and a lack of
	// cookie keys looks like a lack of the store.
	if len(titles) != 11 {
		t.Errorf("%d titles, want 11: %q", len(titles), slices.Sorted(maps.Keys(titles)))
	}
}

func TestBuiltinTexts_HaveTheSameKeysInEachLanguage(t *testing.T) {
	t.Parallel()
	want := slices.Sorted(maps.Keys(builtinTexts["en"]))
	for language, texts := range builtinTexts {
		if got := slices.Sorted(maps.Keys(texts)); !slices.Equal(got, want) {
			t.Errorf("%s has the keys %q, want %q", language, got, want)
		}
		for key, text := range texts {
			if text == "" && key != "sign_out.next" && key != "signed_out.next" && key != "choose.next" {
				t.Errorf("%s says nothing for %s", language, key)
			}
		}
	}
}

func TestPages_Language(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ header, want string }{
		{"", "en"},
		{"fr", "fr"},
		{"FR", "fr"},
		{"fr-FR", "fr"},
		{"fr-CA,fr;q=0.9,en;q=0.8", "fr"},
		{"en-US,en;q=0.9,fr;q=0.8", "en"},
		{"en;q=0.3, fr;q=0.5", "fr"},
		{"fr;q=0.3, en;q=0.5", "en"},
		{"fr ; q=0.3 , en ; q=0.5", "en"},
		{"fr;Q=0.3,en;q=0.5", "en"},
		{"de,fr;q=0.7,en;q=0.3", "fr"},
		{"de,it", "en"},
		{"*", "en"},
		{"fr,en", "fr"},
		{"en,fr", "en"},
		{"fr;q=0", "en"},
		{"fr;q=0,en;q=0", "en"},
		{"fr;q=", "en"},
		{"fr;q=x", "en"},
		{"fr;q=-1", "en"},
		{"fr;q=NaN", "en"},
		{"frisian", "en"},
		{"fro", "en"},
		{",,,;;;q=,=;fr", "en"},
		{";q=1", "en"},
		{"\xff\xfe", "en"},
		{strings.Repeat("de,", 10000) + "fr", "fr"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Accept-Language", test.header)
		if got := new(pages).language(r); got != test.want {
			t.Errorf("%.40q: %s, want %s", test.header, got, test.want)
		}
	}
}

func TestDefaultPage_EscapesWhatItShows(t *testing.T) {
	t.Parallel()
	const hostile = `"'><script>alert(1)</script>&`
	c := mustNew(t, nil)
	body := pageOf(c, CodeRequirementUnmet, "en", func(p *Page) {
		p.Incident, p.Paragraphs, p.Action = hostile, []string{hostile}, "/auth/login?return_to="+hostile
	}).Body.String()
	if strings.Contains(body, "<script") || strings.Contains(body, `"'>`) {
		t.Errorf("the page holds markup from outside:\n%s", body)
	}
	body = pageOf(c, CodeInternal, "en", func(p *Page) { p.Action = "javascript:alert(1)" }).Body.String()
	if strings.Contains(body, `href="javascript:`) {
		t.Errorf("the page links to a script:\n%s", body)
	}

	w := httptest.NewRecorder()
	c.confirmLogoutPage(w, httptest.NewRequest(http.MethodGet, "/", nil), `/"><script>`)
	if body := w.Body.String(); strings.Contains(body, "<script") {
		t.Errorf("the confirmation page holds markup from outside:\n%s", body)
	}
}

func TestDefaultPage_ProblemJSON(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Accept-Language", "fr")
	w := httptest.NewRecorder()
	DefaultPage(w, r, &Page{
		Name: "error", Status: 403, Title: "Vous ne pouvez pas accéder à cette page", Code: CodeRequirementUnmet,
		Incident: "incident1234", Err: errors.New("the inside of the app"),
		LoginURL: "/auth/login", Paragraphs: []string{"anything"}, Detail: "</script>", Requirement: "level", Script: true,
	})
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"type": "about:blank", "title": "Vous ne pouvez pas accéder à cette page", "status": 403.0, "detail": "</script>",
		"code": "requirement_unmet", "requirement": "level", "login_url": "/auth/login", "incident": "incident1234",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the body is\n%v\nwant\n%v", got, want)
	}
	h := w.Header()
	if w.Code != 403 || h.Get("Content-Type") != "application/problem+json" || h.Get("Cache-Control") != "no-store" ||
		h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Vary") != "Accept-Language" {
		t.Errorf("%d with the headers %v", w.Code, h)
	}
	if body := w.Body.String(); strings.Contains(body, "</script>") || strings.Contains(body, "inside") {
		t.Errorf("the body is %s", body)
	}
}

func TestStatusOf_EveryCode(t *testing.T) {
	t.Parallel()
	want := map[Code]int{
		CodeNoSession: 401, CodeLoginRequired: 401, CodeRequirementUnmet: 403, CodeProviderError: 403,
		CodeInvalidRequest: 400, CodeTransactionLost: 400, CodeIssuerMismatch: 400,
		CodeProviderUnavailable: 503, CodeStoreUnavailable: 503,
		CodeProviderInvalid: 502, CodeClientRefused: 502, CodeTokenRefused: 502, CodeUserInfoRefused: 502,
		CodeConfigInvalid: 500, CodeUnsupportedByProvider: 500, CodeSessionTooLarge: 422, CodeInternal: 500, "a code to come": 500,
		CodeCrossOrigin: 403, CodeCanceled: 499, CodeLoginRefused: 403, CodeCookieKeysUnavailable: 503,
	}
	for _, code := range allCodes {
		if got := statusOf(code); want[code] == 0 || got != want[code] {
			t.Errorf("%q: %d, want %d", string(code), got, want[code])
		}
	}
	if len(want) != len(allCodes) {
		t.Errorf("there are %d codes, and %d are listed here", len(allCodes), len(want))
	}
}

func TestContinuePage_LeadsToTheLocationAndNowhereElse(t *testing.T) {
	t.Parallel()
	c := mustNew(t, nil)
	refresh := regexp.MustCompile(`<meta http-equiv="refresh" content="0; url=([^"]*)">`)
	link := regexp.MustCompile(`<a class="button" href="([^"]*)">Continuer</a>`)
	for path, want := range map[string]string{
		"/tab/?a=b&c=d;e":            "/tab/?a=b&c=d;e",
		`/tab/?"><script>alert(1)//`: `/tab/?"><script>alert(1)//`,
		"/tab/?'0;url=//evil":        "/tab/?'0;url=//evil",
		"/tab/café":                  "/tab/caf%c3%a9",
		"/tab/?\xff":                 "/tab/?%ff",
	} {
		r := httptest.NewRequest(http.MethodGet, "/auth/callback", nil)
		r.Header.Set("Accept-Language", "fr")
		w := httptest.NewRecorder()
		w.Header().Set("Set-Cookie", strings.Repeat("x", maxAnswerHeader))
		c.redirect(w, r, "https://app.example"+path+strings.Repeat("a", 300))
		body := w.Body.String()
		found := refresh.FindStringSubmatch(body)
		if w.Code != 200 || found == nil || html.UnescapeString(found[1]) != "https://app.example"+want+strings.Repeat("a", 300) {
			t.Errorf("%q: %d, %.100q\n%.500s", path, w.Code, found, body)
		}
		if !link.MatchString(body) || strings.Contains(body, "<script") || !strings.Contains(body, `lang="fr"`) {
			t.Errorf("%q:\n%.500s", path, body)
		}
		h := w.Header()
		WantPolicy(t, path, h.Get("Content-Security-Policy"), body)
		h.Del("Set-Cookie")
		redirected := http.Header{"Cache-Control": {"no-store"}}
		if got := answerSize(h, "") - answerSize(redirected, ""); got > continuePageHeader || got < continuePageHeader-50 {
			t.Errorf("%q: the page adds %d bytes to the header", path, got)
		}
		if h.Get("Location") != "" || h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%q: the headers are %v", path, h)
		}
	}
	// A short location costs less than the page.
	w := httptest.NewRecorder()
	w.Header().Set("Set-Cookie", strings.Repeat("x", maxAnswerHeader))
	if c.redirect(w, requestWith(), "https://app.example/page"); w.Code != http.StatusFound {
		t.Errorf("a short location: %d", w.Code)
	}
}
