package oidcrp_test

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

func TestErrorPage_TheIncidentIsOnThePageAndInTheLog(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	seen := make(map[string]bool)
	for range 3 {
		res, body := app.asks(t, app.provider.Browser(), "GET", "/auth/callback?code=the-code&state=x", acceptHTML)
		_, incident, _ := strings.Cut(body, "<code>")
		incident, _, _ = strings.Cut(incident, "</code>")
		if res.StatusCode != 400 || len(incident) != 12 || seen[incident] {
			t.Fatalf("%s, incident %q", res.Status, incident)
		}
		seen[incident] = true
		log := app.log.String()
		if !strings.Contains(log, `"incident":"`+incident+`"`) || !strings.Contains(log, `"code":"transaction_lost"`) {
			t.Errorf("the log has no incident %s:\n%s", incident, log)
		}
		if strings.Contains(log, "the-code") {
			t.Error("the log shows the code")
		}
	}
	_, body := app.asks(t, app.provider.Browser(), "GET", "/me")
	if incident := jsonMember(t, body, "incident"); !strings.Contains(app.log.String(), incident) {
		t.Errorf("the log has no incident %q", incident)
	}
}

func TestDefaultPage_AnswersToHEADHaveNoBody(t *testing.T) {
	t.Parallel()
	for _, accept := range []string{"text/html", "*/*"} {
		r := httptest.NewRequest(http.MethodHead, "/", nil)
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		oidcrp.DefaultPage(w, r, &oidcrp.Page{Name: "error", Status: 503, Code: oidcrp.CodeProviderUnavailable})
		if w.Code != 503 || w.Body.Len() > 0 {
			t.Errorf("%d with %d bytes", w.Code, w.Body.Len())
		}
	}
	w := httptest.NewRecorder()
	oidcrp.DefaultPage(w, httptest.NewRequest(http.MethodHead, "/", nil), &oidcrp.Page{Name: "signed_out", Status: 200, Title: "x"})
	if w.Body.Len() > 0 || w.Header().Get("Content-Length") == "0" {
		t.Errorf("%d bytes, Content-Length %s", w.Body.Len(), w.Header().Get("Content-Length"))
	}
}

func TestPages_HandlerTakesTheirPlace(t *testing.T) {
	t.Parallel()
	var problems []*oidcrp.Page
	app := newTestApp(t, setup{config: func(cfg *oidcrp.Config) {
		cfg.Pages.Handler = func(w http.ResponseWriter, r *http.Request, p *oidcrp.Page) {
			problems = append(problems, p) // the requests come one after the other
			w.WriteHeader(p.Status)
			fmt.Fprint(w, "our page about ", string(p.Code))
		}
	}})
	app.provider.SetDown(true)
	for _, test := range []struct {
		path    string
		headers []string
		status  int
		code    oidcrp.Code
		login   string
	}{
		{"/tab/1", nil, 401, oidcrp.CodeNoSession, "/auth/login"},
		{"/admin", []string{"Referer: APP/tab/2"}, 401, oidcrp.CodeNoSession, "/auth/login?return_to=%2Ftab%2F2"},
		{"/tab/3?x=y", []string{acceptHTML}, 503, oidcrp.CodeProviderUnavailable, "/auth/login?return_to=%2Ftab%2F3%3Fx%3Dy"},
		{"/auth/login?return_to=/tab/4", []string{acceptHTML}, 503, oidcrp.CodeProviderUnavailable, "/auth/login?return_to=%2Ftab%2F4"},
		{"/auth/callback?state=x&code=y", []string{acceptHTML}, 400, oidcrp.CodeTransactionLost, "/auth/login"},
	} {
		problems = nil
		res, body := app.asks(t, app.provider.Browser(), "GET", test.path, test.headers...)
		if res.StatusCode != test.status || body != "our page about "+string(test.code) || len(problems) != 1 {
			t.Fatalf("%s: %s %s", test.path, res.Status, body)
		}
		p := problems[0]
		login, _, _ := strings.Cut(p.LoginURL, "step_up=")
		incident := 12
		if test.code == oidcrp.CodeNoSession { // a script's, which is not logged for operators
			incident = 0
		}
		if p.Status != test.status || p.Code != test.code || len(p.Incident) != incident || p.Err == nil ||
			strings.TrimRight(login, "?&") != test.login {
			t.Errorf("%s: %+v", test.path, p)
		}
		if waits := p.RetryAfter > 0; waits != (test.status == 503) || waits == (res.Header.Get("Retry-After") == "") {
			t.Errorf("%s: RetryAfter is %v, the header %q", test.path, p.RetryAfter, res.Header.Get("Retry-After"))
		}
	}
}

func TestErrorPage_RetryAfterIsWhatTheProviderAskedFor(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	app.provider.Handle(oidctest.EndpointDiscovery, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	res, _ := app.asks(t, app.provider.Browser(), "GET", "/me", acceptHTML)
	if got := res.Header.Get("Retry-After"); res.StatusCode != 503 || got != "7" {
		t.Errorf("%s, Retry-After %q", res.Status, got)
	}
	app = newTestApp(t, setup{})
	app.provider.SetDown(true)
	res, _ = app.asks(t, app.provider.Browser(), "GET", "/me", acceptHTML)
	if got := res.Header.Get("Retry-After"); got != "30" {
		t.Errorf("without a word of the provider: Retry-After %q, want 30", got)
	}
}

func TestErrorPage_ALongPathDoesNotFillTheLog(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	app.asks(t, app.provider.Browser(), "GET", "/tab/"+strings.Repeat("x", 100<<10))
	if log := app.log.String(); !strings.Contains(log, "/tab/xxx") || len(log) > 4<<10 {
		t.Errorf("the log has %d bytes", len(log))
	}
}

// pagesApp is an app that shows its pages by DefaultPage and keeps them.
type pagesApp struct {
	*testApp
	pages []*oidcrp.Page // the requests come one after the other
}

func newPagesApp(t *testing.T, pages oidcrp.Pages) *pagesApp {
	t.Helper()
	app := new(pagesApp)
	pages.Handler = func(w http.ResponseWriter, r *http.Request, p *oidcrp.Page) {
		app.pages = append(app.pages, p)
		oidcrp.DefaultPage(w, r, p)
	}
	app.testApp = newTestApp(t, setup{config: func(c *oidcrp.Config) { c.Pages = pages }})
	return app
}

// everyPage are a request for each page that there is.
var everyPage = map[string]struct {
	path    string
	headers []string
}{
	"error":      {"/auth/callback?state=x&code=y", []string{acceptHTML}},
	"sign_out":   {"/auth/logout?return_to=/bye", []string{acceptHTML, "Sec-Fetch-Site: cross-site"}},
	"signed_out": {"/auth/logout/callback", []string{acceptHTML}},
}

// page returns the page of that name, in a language, and how it is shown.
func (a *pagesApp) page(t *testing.T, browser *http.Client, name, language string) (*oidcrp.Page, *http.Response, string) {
	t.Helper()
	a.pages = nil
	ask := everyPage[name]
	res, body := a.asks(t, browser, "GET", ask.path, append([]string{"Accept-Language: " + language}, ask.headers...)...)
	if len(a.pages) != 1 || a.pages[0].Name != name {
		t.Fatalf("%s answered %s with the pages %+v", ask.path, res.Status, a.pages)
	}
	return a.pages[0], res, body
}

func TestPages_HandlerGetsEveryPage(t *testing.T) {
	t.Parallel()
	app := newPagesApp(t, oidcrp.Pages{AppName: "Dossiers", Contact: "help@app.example", Stylesheet: "h1 { color: navy }"})
	stranger, alice := app.provider.Browser(), app.signIn(t)
	for _, tt := range []struct {
		browser *http.Client
		want    oidcrp.Page
	}{
		{stranger, oidcrp.Page{
			Name: "error", Status: 400, Title: "Cette connexion ne peut plus aboutir", Action: "/auth/login", ActionLabel: "Réessayer",
			Contact: "help@app.example", ContactLabel: "Support\u00a0:", HomeLabel: "Page d’accueil",
			Code: oidcrp.CodeTransactionLost, IncidentLabel: "Référence à indiquer au support\u00a0:", LoginURL: "/auth/login",
		}},
		{alice, oidcrp.Page{
			Name: "sign_out", Status: 200, Title: "Se déconnecter\u00a0?", Action: "/auth/logout?return_to=%2Fbye&confirm=TOKEN",
			ActionLabel: "Se déconnecter", Post: true, HomeLabel: "Conserver ma session",
		}},
		{stranger, oidcrp.Page{
			Name: "signed_out", Status: 200, Title: "Votre déconnexion est effectuée", Action: "/auth/login", ActionLabel: "Se connecter",
			HomeLabel: "Page d’accueil",
		}},
	} {
		got, res, body := app.page(t, tt.browser, tt.want.Name, "fr")
		want := tt.want
		want.Language, want.HomeURL, want.AppName, want.Stylesheet = "fr", "/", "Dossiers", "h1 { color: navy }"
		if isError := want.Name == "error"; isError != (len(got.Incident) == 12) || isError != (got.Err != nil) {
			t.Errorf("%s: incident %q, error %v", want.Name, got.Incident, got.Err)
		}
		if len(got.Paragraphs) == 0 {
			t.Errorf("%s says nothing", want.Name)
		}
		want.Incident, want.Err, want.Paragraphs = got.Incident, got.Err, got.Paragraphs
		if before, token, ok := strings.Cut(got.Action, "&confirm="); ok && len(token) == 43 {
			want.Action = strings.Replace(want.Action, "TOKEN", token, 1)
		} else if ok {
			t.Errorf("%s: the token after %s is %q", want.Name, before, token)
		}
		if !reflect.DeepEqual(*got, want) {
			t.Errorf("the page is\n%+v\nwant\n%+v", *got, want)
		}
		if res.StatusCode != want.Status || res.Header.Get("Content-Language") != "fr" {
			t.Errorf("%s: %s in %q", want.Name, res.Status, res.Header.Get("Content-Language"))
		}
		shown := append([]string{
			got.Title + " – Dossiers</title>", "<h1>" + got.Title + "</h1>", "<p>Dossiers</p>", got.ActionLabel, got.HomeLabel,
		}, got.Paragraphs...)
		for _, text := range shown {
			if !strings.Contains(html.UnescapeString(body), text) {
				t.Errorf("%s does not show %q:\n%s", want.Name, text, body)
			}
		}
		if posts := strings.Contains(body, `<form method="post" action="`+html.EscapeString(got.Action)+`">`); posts != got.Post {
			t.Errorf("%s posts: %v\n%s", want.Name, posts, body)
		}
	}
}

func TestPages_Contact(t *testing.T) {
	t.Parallel()
	for contact, link := range map[string]string{
		"help@app.example":            `<a href="mailto:help@app.example">help@app.example</a>`,
		"https://app.example/help?a":  `<a href="https://app.example/help?a">https://app.example/help?a</a>`,
		"http://app.example":          `<a href="http://app.example">http://app.example</a>`,
		"office 12, third floor":      "",
		"javascript:alert(1)":         "",
		"javascript:alert(1)@x":       "",
		"JavaScript:alert(1)//a@b":    "",
		"data:text/html,x@y":          "",
		"two@signs@app.example":       "",
		"call us or write to a@b.org": "",
		"<script>alert(1)</script>":   "",
		"":                            "",
	} {
		app := newPagesApp(t, oidcrp.Pages{Contact: contact})
		browser := app.provider.Browser()
		_, _, body := app.page(t, browser, "error", "en")
		if shown := html.EscapeString(contact); !strings.Contains(body, "Support: "+shown+"</p>") && link == "" && contact != "" {
			t.Errorf("%q is not shown as text:\n%s", contact, body)
		}
		if link != "" && !strings.Contains(body, "<p>Support: "+link+"</p>") {
			t.Errorf("%q is not shown as %s:\n%s", contact, link, body)
		}
		if links := strings.Count(body, "<a "); links != 2 && link == "" || strings.Contains(body, "<script") {
			t.Errorf("%q makes a link or more of itself:\n%s", contact, body)
		}
		if strings.Contains(body, "Support:") != (contact != "") {
			t.Errorf("%q: the label stands alone, or is missing:\n%s", contact, body)
		}
		if _, _, body := app.page(t, browser, "signed_out", "en"); strings.Contains(body, "Support:") {
			t.Errorf("a page without an error offers support:\n%s", body)
		}
	}
}

func TestPages_StylesheetIsAllowedByThePolicy(t *testing.T) {
	t.Parallel()
	const css = "h1 > b { color: #123456; content: \"<&'\" }\n"
	app := newPagesApp(t, oidcrp.Pages{Stylesheet: css})
	plain := newPagesApp(t, oidcrp.Pages{})
	for name := range everyPage {
		browser, other := app.provider.Browser(), plain.provider.Browser()
		if name == "sign_out" {
			browser, other = app.signIn(t), plain.signIn(t)
		}
		_, res, body := app.page(t, browser, name, "en")
		if !strings.Contains(body, css+"</style>") {
			t.Errorf("%s lacks the stylesheet:\n%s", name, body)
		}
		oidcrp.WantPolicy(t, name, res.Header.Get("Content-Security-Policy"), body)
		_, without, _ := plain.page(t, other, name, "en")
		if without.Header.Get("Content-Security-Policy") == res.Header.Get("Content-Security-Policy") {
			t.Errorf("%s has the same policy with and without the stylesheet", name)
		}
	}
}

// asParsed returns a page as an HTML parser takes it in (HTML, 13.2.3.2 "Decode",
// 13.2.3.5 "Preprocessing the input stream", and 13.2.5.3 for U+0000 in a style).
func asParsed(body string) string {
	body = strings.ToValidUTF8(body, "\ufffd")
	return strings.NewReplacer("\r\n", "\n", "\r", "\n", "\x00", "\ufffd").Replace(body)
}

// styleEnd is what ends a style element for an HTML parser.
var styleEnd = regexp.MustCompile(`(?i)</style[\t\n\f />]`)

// A browser compares the policy's hash with the text that it has parsed, and that is
// not always what was sent.
func TestPages_StylesheetIsHashedAsABrowserReadsIt(t *testing.T) {
	t.Parallel()
	for what, css := range map[string]string{
		"line ends of three kinds": "a{}\r\nb{}\rc{}\n\r\r\n",
		"NUL":                      "a{content:\"\x00\"}\x00",
		"invalid UTF-8":            "a{content:\"\xff\xfe \xc3\"}\xed\xa0\x80",
		"the end of the element":   "a{}</style><script>alert(1)</script>",
		"the end in other words":   "a{}</STYLE\n><script>alert(1)</script><!--</sTyLe/",
		"all of it":                "a{}\r\n\x00\xff</style\r><script>alert(1)</script>",
		"the end, cut off":         "a{}</style",
	} {
		app := newPagesApp(t, oidcrp.Pages{Stylesheet: css})
		_, res, body := app.page(t, app.provider.Browser(), "error", "en")
		parsed := asParsed(body)
		_, rest, _ := strings.Cut(parsed, "<style>")
		end := styleEnd.FindStringIndex(rest)
		if end == nil {
			t.Fatalf("%s: the style does not end:\n%s", what, body)
		}
		oidcrp.WantPolicy(t, what, res.Header.Get("Content-Security-Policy"), "<style>"+rest[:end[0]]+"</style>")
		if !strings.HasPrefix(rest[end[0]:], "</style>\n</head>\n<body>\n<main>") || strings.Contains(rest[end[1]:], "<script") {
			t.Errorf("%s: the stylesheet adds to the page:\n%s", what, body)
		}
		if !strings.Contains(rest[:end[0]], "a{") {
			t.Errorf("%s: the stylesheet is missing:\n%s", what, body)
		}
	}
}

func TestPages_Texts(t *testing.T) {
	t.Parallel()
	app := newPagesApp(t, oidcrp.Pages{Texts: map[string]map[string]string{
		"en":    {"transaction_lost.title": "Start again, please", "home": "Start"},
		"de":    {"transaction_lost.title": "Bitte neu anmelden"},
		"pt-br": {"transaction_lost.title": "Entre de novo"},
		"fr":    {"transaction_lost.what": "Recommencez <ici>."},
		"fr-ca": {"transaction_lost.title": "Cette session est perdue"},
	}})
	browser := app.provider.Browser()
	for _, tt := range []struct{ accepts, language, title, home, what string }{
		{"en", "en", "Start again, please", "Start", "It was already used"},
		{"", "en", "Start again, please", "Start", "It was already used"},
		{"de-AT,en;q=0.5", "de", "Bitte neu anmelden", "Start", "It was already used"},
		{"pt-BR", "pt-br", "Entre de novo", "Start", "It was already used"},
		{"pt", "en", "Start again, please", "Start", "It was already used"},
		{"fr", "fr", "Cette connexion ne peut plus aboutir", "Page d’accueil", "Recommencez <ici>."},
		{"fr-CA", "fr-ca", "Cette session est perdue", "Page d’accueil", "Recommencez <ici>."},
		{"fr-BE", "fr", "Cette connexion ne peut plus aboutir", "Page d’accueil", "Recommencez <ici>."},
	} {
		p, res, body := app.page(t, browser, "error", tt.accepts)
		if p.Language != tt.language || p.Title != tt.title || p.HomeLabel != tt.home || !strings.HasPrefix(p.Paragraphs[0], tt.what) {
			t.Errorf("for %q the page is %+v", tt.accepts, p)
		}
		if got := res.Header.Get("Content-Language"); got != tt.language || !strings.Contains(body, `<html lang="`+tt.language+`">`) {
			t.Errorf("for %q Content-Language is %q:\n%s", tt.accepts, got, body)
		}
		if strings.Contains(body, "<ici>") {
			t.Errorf("a text is taken for markup:\n%s", body)
		}
	}
}

func TestPages_RefusesTextsThatNothingShows(t *testing.T) {
	t.Parallel()
	for want, texts := range map[string]map[string]map[string]string{
		`Pages.Texts["de"]["no_sesion.title"] is not known; there are choose.button, choose.next, choose.title, choose.what, contact, `: {"de": {"no_sesion.title": "x"}},
		`Pages.Texts["DE"] is not a lower-case language tag, such as "de"`:                                                              {"DE": {"home": "x"}},
		`Pages.Texts["fr-CA"] is not a lower-case language tag`:                                                                         {"fr-CA": {}},
		`Pages.Texts[""] is not a lower-case language tag`:                                                                              {"": {"home": "x"}},
	} {
		_, err := oidcrp.New(soundConfig(func(c *oidcrp.Config) { c.Pages.Texts = texts }))
		if text := wantCode(t, err, oidcrp.CodeConfigInvalid).Err.Error(); !strings.HasPrefix(text, want) {
			t.Errorf("error is %s, want %s", text, want)
		} else if strings.Contains(want, "there are") && !strings.Contains(text, ", signed_out.what, ") {
			t.Errorf("error does not name all keys: %s", text)
		}
	}
}

// Page.Script is about the request, and DefaultPage goes by it alone: a Handler may
// choose the form of the answer.
func TestPages_ScriptSaysWhoAsks(t *testing.T) {
	t.Parallel()
	app := newPagesApp(t, oidcrp.Pages{})
	browser := app.provider.Browser()
	for _, test := range askers {
		app.pages = nil
		if _, body := app.asks(t, browser, test.method, "/me", test.headers...); len(app.pages) == 0 {
			continue // it was sent to the provider
		} else if want := strings.Contains(test.want, "json"); len(app.pages) != 1 || app.pages[0].Script != want {
			t.Errorf("%s: the pages are %+v, want Script %t\n%s", test.what, app.pages, want, body)
		}
	}
	for name, headers := range map[string][]string{
		"sign_out": {"Sec-Fetch-Mode: cors", "Sec-Fetch-Site: cross-site"}, "signed_out": {"HX-Request: true"},
	} {
		asker := app.signIn(t)
		if name == "signed_out" { // which a person who is signed in does not get
			asker = app.provider.Browser()
		}
		app.pages = nil
		app.asks(t, asker, "GET", everyPage[name].path, headers...)
		if len(app.pages) != 1 || app.pages[0].Name != name || app.pages[0].Script {
			t.Errorf("%s: the pages are %+v", name, app.pages)
		}
	}
}

func TestDefaultPage_GoesByScriptAlone(t *testing.T) {
	t.Parallel()
	for _, headers := range [][]string{{acceptHTML, navigate}, {"Sec-Fetch-Mode: cors"}, {"HX-Request: true"}} {
		for script, want := range map[bool]string{true: "application/problem+json", false: "text/html; charset=utf-8"} {
			r := oidcrp.RequestWith()
			for _, header := range headers {
				name, value, _ := strings.Cut(header, ": ")
				r.Header.Set(name, value)
			}
			w := httptest.NewRecorder()
			oidcrp.DefaultPage(w, r, &oidcrp.Page{Name: "error", Status: http.StatusForbidden, Language: "en", Script: script})
			if got := w.Header().Get("Content-Type"); got != want || w.Code != http.StatusForbidden {
				t.Errorf("%v with Script %t: %d %s, want %s", headers, script, w.Code, got, want)
			}
		}
	}
}

// A requirement's own words are for the person; its name is for scripts.
func TestProblemJSON_NamesTheRequirement(t *testing.T) {
	t.Parallel()
	app := newPagesApp(t, oidcrp.Pages{})
	route := app.client.Require(oidcrp.Requirement{
		Name: "a badge", Met: func(*oidcrp.Session, time.Time) bool { return false },
		Explain: func(language string) string { return "badge, in " + language },
	})(http.NotFoundHandler())
	session := oidcrp.NewSession(map[string]any{"sub": "alice"})
	ask := func(headers ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/page", nil)
		for _, header := range append(headers, "Accept-Language: fr") {
			name, value, _ := strings.Cut(header, ": ")
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		route.ServeHTTP(w, r.WithContext(oidcrp.ContextWithSession(r.Context(), session)))
		return w
	}
	var problem map[string]any
	w := ask("Sec-Fetch-Mode: cors")
	if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	want := map[string]any{
		"type": "about:blank", "title": "Vous ne pouvez pas accéder à cette page", "status": 403.0, "detail": "badge, in fr",
		"code": "requirement_unmet", "requirement": "a badge", "login_url": problem["login_url"], "incident": problem["incident"],
	}
	if !reflect.DeepEqual(problem, want) || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("the answer is %v, want %v", problem, want)
	}
	if p := app.pages[0]; p.Requirement != "a badge" || p.Detail != "badge, in fr" ||
		p.Code != oidcrp.CodeRequirementUnmet || !slices.Equal(p.Paragraphs, []string{"badge, in fr"}) {
		t.Errorf("the page is %+v", p)
	}
}

// What an operator is told of an error depends on whose it is; whoever quotes an
// incident finds it at a level that operators keep.
func TestErrorPage_LevelsOfIncidents(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: autoLogin})
	browser := app.provider.Browser()
	denied := comeBack(t, app, browser, "/tab/1")
	scope := comeBack(t, app, browser, "/tab/1")
	for _, test := range []struct {
		what, method, url string
		headers           []string
		level             string
	}{
		{"a form of nobody's", "POST", "/tab/1", []string{acceptHTML}, "INFO"},
		{"a cancelled login", "GET", strings.TrimPrefix(errorAt(app, denied, "access_denied", ""), app.URL), []string{acceptHTML}, "INFO"},
		{"a refused scope", "GET", strings.TrimPrefix(errorAt(app, scope, "invalid_scope", ""), app.URL), []string{acceptHTML}, "WARN"},
		{"a forged cancellation", "GET", "/auth/callback?error=access_denied", []string{acceptHTML}, "WARN"},
	} {
		_, page := app.asks(t, browser, test.method, test.url, test.headers...)
		incident := incidentOf.FindStringSubmatch(page)
		if incident == nil {
			t.Errorf("%s: the page has no incident\n%s", test.what, page)
			continue
		}
		lines := app.linesWith(incident[1])
		if len(lines) != 1 || !strings.Contains(lines[0], `"level":"`+test.level+`"`) {
			t.Errorf("%s: the log has %q, want one line of the level %s", test.what, lines, test.level)
		}
	}

	before := len(app.linesWith("request refused"))
	res, body := app.asks(t, browser, "GET", "/tab/1")
	lines := app.linesWith("request refused")[before:]
	if res.StatusCode != http.StatusUnauthorized || strings.Contains(body, "incident") {
		t.Errorf("a script gets %s and %s", res.Status, body)
	}
	if len(lines) != 1 || !strings.Contains(lines[0], `"level":"DEBUG"`) {
		t.Errorf("a script's request is logged as %q", lines)
	}
}
