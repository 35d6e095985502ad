package oidcrp_test

// This file tests docs/security.md and docs/providers.md: each attack and each deviation
// that they list has a test. Attacks that concern no single file of the package follow.

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

func TestSecurityPage_EveryAttackHasATest(t *testing.T) {
	t.Parallel()
	rowsWithTests(t, "docs/security.md", 60)
}

// rowsWithTests returns the rows of a page's tables that end with a column of tests, and
// reports the tests that do not exist, or that there are fewer rows than atLeast.
func rowsWithTests(t *testing.T, file string, atLeast int) []testedRow {
	t.Helper()
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rows := testedRows(string(page))
	if len(rows) < atLeast {
		t.Errorf("%s has %d rows with tests, expected at least %d", file, len(rows), atLeast)
	}
	known := make(map[string]map[string]bool) // tests by folder
	for _, row := range rows {
		for _, name := range strings.Split(row.tests, ", ") {
			if problem := unknownTest(t, known, name); problem != "" {
				t.Errorf("%s: %s: %s", file, row.cells[0], problem)
			}
		}
	}
	return rows
}

// A testedRow is a row whose last cell names tests.
type testedRow struct {
	cells []string // with the last one
	tests string
}

// testedRows returns the rows of the tables that end with a column of tests.
func testedRows(page string) (rows []testedRow) {
	inside := false
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		cells := strings.Split(strings.Trim(line, "|"), "|")
		last := strings.TrimSpace(cells[len(cells)-1])
		switch {
		case !strings.HasPrefix(line, "|"):
			inside = false
		case last == "test":
			inside = true
		case inside && !strings.HasPrefix(last, "---"):
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows = append(rows, testedRow{cells, last})
		}
	}
	return rows
}

var (
	testName = regexp.MustCompile("^`(?:([a-z][a-z/]*)\\.)?((?:Test|Fuzz)[A-Za-z0-9_]+)`$")
)

// unknownTest says what is wrong with the name of a test, "" if nothing is.
func unknownTest(t *testing.T, known map[string]map[string]bool, name string) string {
	t.Helper()
	parts := testName.FindStringSubmatch(name)
	if parts == nil {
		return fmt.Sprintf("%q is not the name of a test", name)
	}
	folder := filepath.FromSlash(parts[1])
	if known[folder] == nil {
		known[folder] = testsIn(t, folder)
	}
	if !known[folder][parts[2]] {
		return fmt.Sprintf("there is no %s in %q", parts[2], parts[1])
	}
	return ""
}

// testsIn returns the names of the tests and fuzz targets in a folder.
func testsIn(t *testing.T, folder string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			if f, ok := declaration.(*ast.FuncDecl); ok && f.Recv == nil {
				names[f.Name.Name] = true
			}
		}
	}
	return names
}

// Each row of docs/providers.md says what deviates, where, the fields, their variables,
// and the tests.
func TestProvidersPage_EveryDeviationHasAFieldAndATest(t *testing.T) {
	t.Parallel()
	listed := make(map[string]bool)
	for _, row := range rowsWithTests(t, "docs/providers.md", 30) {
		if strings.HasPrefix(row.cells[0], "`providers.") {
			continue // a preset, which the next test checks
		}
		if len(row.cells) == 2 {
			continue // what a package does, and its tests, which rowsWithTests has looked for
		}
		fields, variables := strings.Split(row.cells[2], ", "), row.cells[3]
		for _, name := range fields {
			if strings.HasPrefix(name, "made by ") || strings.HasPrefix(name, "read by ") {
				continue
			}
			field := strings.Trim(name, "`")
			listed[field] = true
			if !hasField(reflect.TypeFor[oidcrp.Config](), field) {
				t.Errorf("%s: there is no field %s", row.cells[0], field)
			}
			if want := oidcrp.VariableOf(field); !strings.Contains(variables, want) || want == "" && variables != "" {
				t.Errorf("%s: the variables are %q, want %q", row.cells[0], variables, want)
			}
		}
	}
	for _, name := range oidcrp.Deviations() {
		if !listed[name] {
			t.Errorf("docs/providers.md does not list %s", name)
		}
	}
}

// Each preset has a row with its parameters, the fields that it sets, and tests.
func TestProvidersPage_EveryPresetHasARow(t *testing.T) {
	t.Parallel()
	presets := presetsIn(t, "providers")
	for _, row := range rowsWithTests(t, "docs/providers.md", 30) {
		if !strings.HasPrefix(row.cells[0], "`providers.") {
			continue
		}
		if call := strings.Trim(row.cells[0], "`"); !presets[call] {
			t.Errorf("docs/providers.md lists %s, and the presets are %v", call, presets)
		} else {
			delete(presets, call)
		}
		for name := range strings.SplitSeq(row.cells[2], ", ") {
			if !hasField(reflect.TypeFor[oidcrp.Config](), strings.Trim(name, "`")) {
				t.Errorf("%s: there is no field %s", row.cells[0], name)
			}
		}
		if !strings.HasPrefix(row.tests, "`providers.Test") {
			t.Errorf("%s: the tests are %s", row.cells[0], row.tests)
		}
	}
	if len(presets) > 0 {
		t.Errorf("docs/providers.md does not list %v", presets)
	}
}

// presetsIn returns the exported functions in a folder that return a Config, each with the
// names of its parameters, such as "providers.Keycloak(base, realm)".
func presetsIn(t *testing.T, folder string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	presets := make(map[string]bool)
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			f, ok := declaration.(*ast.FuncDecl)
			if ok && f.Recv == nil && f.Name.IsExported() && returnsConfig(f.Type) {
				presets[folder+"."+f.Name.Name+"("+strings.Join(parameters(f.Type), ", ")+")"] = true
			}
		}
	}
	return presets
}

// returnsConfig reports whether a function's only result is an oidcrp.Config.
func returnsConfig(f *ast.FuncType) bool {
	if f.Results.NumFields() != 1 {
		return false
	}
	selector, ok := f.Results.List[0].Type.(*ast.SelectorExpr)
	return ok && selector.Sel.Name == "Config"
}

// parameters returns the names of a function's parameters, with ... behind a variadic one.
func parameters(f *ast.FuncType) (names []string) {
	for _, field := range f.Params.List {
		for _, name := range field.Names {
			dots := ""
			if _, variadic := field.Type.(*ast.Ellipsis); variadic {
				dots = "..."
			}
			names = append(names, name.Name+dots)
		}
	}
	return names
}

// hasField reports whether a type has a field at path, such as "Provider.NoPKCE".
func hasField(typ reflect.Type, path string) bool {
	for name := range strings.SplitSeq(path, ".") {
		field, ok := typ.FieldByName(name)
		if !ok {
			return false
		}
		typ = field.Type
	}
	return true
}

func TestSecurityPage_AMissingTestIsFound(t *testing.T) {
	t.Parallel()
	rows := testedRows("text\n| attack | test |\n|---|---|\n| a | `TestNone_Such` |\n| b |  |\n\n| other | last |\n|---|---|\n| c | d |\n")
	if len(rows) != 2 {
		t.Fatalf("%d rows, want 2: %v", len(rows), rows)
	}
	for _, name := range []string{rows[0].tests, rows[1].tests, "`interop.TestNone_Such`", "`nowhere.TestSignIn`", "TestSignIn"} {
		if unknownTest(t, make(map[string]map[string]bool), name) == "" {
			t.Errorf("%q passes for a test", name)
		}
	}
}

// attackerCallback returns the callback with which bruno's login at the provider ends
// and which bruno has not visited.
func attackerCallback(t *testing.T, app *testApp) *url.URL {
	t.Helper()
	return comeBack(t, app, app.provider.SignIn(t, app.URL+"/me", "bruno"), "/auth/login?return_to=/tab/of-bruno")
}

func TestAttack_ACallbackOfAnotherBrowserSignsNobodyIn(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	signedIn, pending := app.signIn(t), app.provider.Browser()
	follow(t, pending, app.URL+"/me")
	for what, victim := range map[string]*http.Client{
		"a browser without cookies": app.provider.Browser(), "one with a login of its own": pending, "one that is signed in": signedIn,
	} {
		callback := attackerCallback(t, app)
		before := app.provider.Count(oidctest.EndpointToken)
		res, body := get(t, noRedirects(victim), callback.String())
		if res.StatusCode != http.StatusFound {
			t.Errorf("%s: %s\n%s", what, res.Status, body)
		}
		if n := app.provider.Count(oidctest.EndpointToken) - before; n != 0 {
			t.Errorf("%s: the code was used", what)
		}
		want := ""
		if victim == signedIn {
			want = "alice"
		}
		if got := app.who(t, victim, "/").Sub; got != want {
			t.Errorf("%s: %q is signed in, want %q", what, got, want)
		}
	}
}

func TestAttack_APlantedSessionDoesNotBecomeTheVictims(t *testing.T) {
	t.Parallel()
	for mode, kept := range oidcrp.KeptIn {
		app := newTestApp(t, setup{config: kept})
		site, err := url.Parse(app.URL)
		if err != nil {
			t.Fatal(err)
		}
		attacker, victim := app.provider.SignIn(t, app.URL+"/me", "bruno"), app.provider.Browser()
		for _, cookie := range attacker.Jar.Cookies(site) {
			if strings.HasPrefix(cookie.Name, "oidcrp_") { // not the provider's, which is on the same host
				victim.Jar.SetCookies(site, []*http.Cookie{{Name: cookie.Name, Value: cookie.Value, Path: "/"}})
			}
		}
		if got := app.who(t, victim, "/").Sub; got != "bruno" {
			t.Fatalf("%s: the planted session is %q's, want bruno's", mode, got)
		}
		res, err := app.provider.Visit(victim, app.URL+"/auth/login?return_to=/me", "alice")
		if err != nil {
			t.Fatal(err)
		}
		readBody(t, res)
		if got := app.who(t, victim, "/").Sub; got != "alice" {
			t.Errorf("%s: the victim is %q, want alice", mode, got)
		}
		if got := app.who(t, attacker, "/").Sub; got == "alice" {
			t.Errorf("%s: the planted cookie is alice's session", mode)
		}
	}
}

// forwarded sends a request by way of a proxy that an attacker controls.
func forwarded(t *testing.T, browser *http.Client, method, target string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "evil.example"
	for name, value := range map[string]string{
		"Forwarded": "host=evil.example;proto=https;for=127.0.0.1", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https",
		"X-Forwarded-Port": "443", "X-Forwarded-Prefix": "/evil", "X-Forwarded-Uri": "/", "X-Original-Url": "/", "X-Rewrite-Url": "/",
		"Accept": "text/html", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-User": "?1",
	} {
		r.Header.Set(name, value)
	}
	res, err := noRedirects(browser).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	readBody(t, res)
	return res
}

func TestAttack_HostAndForwardedHeadersDecideNothing(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: autoLogin})
	browser := app.provider.Browser()
	res := forwarded(t, browser, "GET", app.URL+"/tab/1") // X-Forwarded-Uri does not make it public
	query := queryOf(t, res.Header.Get("Location"))
	if got, want := query.Get("redirect_uri"), app.URL+"/auth/callback"; got != want {
		t.Errorf("redirect_uri is %q, want %q", got, want)
	}
	for _, cookie := range res.Cookies() {
		if cookie.Domain != "" || cookie.Secure {
			t.Errorf("a cookie follows the headers: %s", cookie)
		}
	}
	res = forwarded(t, browser, "GET", follow(t, browser, res.Header.Get("Location")).String())
	if got, want := res.Header.Get("Location"), app.URL+"/tab/1"; got != want {
		t.Errorf("the login leads to %q, want %q", got, want)
	}
	res = forwarded(t, browser, "GET", app.URL+"/auth/logout")
	query = queryOf(t, res.Header.Get("Location"))
	if got, want := query.Get("post_logout_redirect_uri"), app.URL+"/auth/logout/callback"; got != want {
		t.Errorf("post_logout_redirect_uri is %q, want %q", got, want)
	}
}

func TestAttack_ANearGuessOfAStateIsAnsweredLikeAnyOther(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: autoLogin})
	browser := app.provider.Browser()
	callback := comeBack(t, app, browser, "/tab/1")
	state := callback.Query().Get("state")
	last := byte('A')
	if state[len(state)-1] == last {
		last = 'Q'
	}
	var answers []string
	for _, guess := range []string{state[:len(state)-1] + string(last), strings.Repeat("A", len(state)), state[:20], ""} {
		query := callback.Query()
		query.Set("state", guess)
		guessed := *callback
		guessed.RawQuery = query.Encode()
		res, body := get(t, noRedirects(browser), guessed.String())
		answers = append(answers, fmt.Sprint(res.StatusCode, res.Header["Set-Cookie"], incidentOf.ReplaceAllString(body, "")))
	}
	for i, answer := range answers[1:] {
		if answer != answers[0] {
			t.Errorf("guess %d is answered by\n%s\nand a near one by\n%s", i+1, answer, answers[0])
		}
	}
	if n := app.provider.Count(oidctest.EndpointToken); n != 0 {
		t.Errorf("%d token requests", n)
	}
	get(t, browser, callback.String())
	if got := app.who(t, browser, "/").Sub; got != "alice" {
		t.Errorf("after the guesses %q is signed in, want alice", got)
	}
}

var cookieValue = regexp.MustCompile(`^[A-Za-z0-9_.-]*$`)

func TestAttack_LineBreaksReachNoHeader(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	browser := app.signIn(t)
	split := url.QueryEscape("/x\r\nSet-Cookie: injected=1\r\n\r\n<script>") + "&x=%0d%0aSet-Cookie:injected=1"
	issuer := url.QueryEscape(app.provider.Issuer())
	for _, request := range []struct{ method, path string }{
		{"GET", "/auth/login?return_to=" + split}, {"POST", "/auth/login?return_to=" + split},
		{"GET", "/auth/initiate?iss=" + issuer + "&login_hint=" + split + "&target_link_uri=" + url.QueryEscape(app.URL) + split},
		{"GET", "/auth/callback?state=" + split + "&code=" + split}, {"GET", "/auth/callback?error=" + split + "&state=x"},
		{"GET", "/auth/logout/callback?state=" + split}, {"GET", "/auth/frontchannel-logout?iss=" + split},
		{"GET", "/tab/%0d%0aSet-Cookie:%20injected=1?" + split}, {"POST", "/auth/logout?return_to=" + split},
	} {
		for _, who := range []*http.Client{app.provider.Browser(), browser} {
			res, _ := app.asks(t, who, request.method, request.path, acceptHTML, "Sec-Fetch-Site: same-origin", "Origin: APP")
			for name, values := range res.Header {
				for _, value := range values {
					if strings.ContainsAny(value, "\r\n\x00") || name == "Injected" {
						t.Errorf("%s %s: %s is %q", request.method, request.path, name, value)
					}
				}
			}
			for _, cookie := range res.Cookies() {
				if cookie.Name == "injected" || !cookieValue.MatchString(cookie.Value) {
					t.Errorf("%s %s set %s", request.method, request.path, cookie)
				}
			}
		}
	}
}

func TestAttack_NoPageCanBeFramed(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	browser, stranger := app.signIn(t), app.provider.Browser()
	for _, request := range []struct {
		who          *http.Client
		method, path string
	}{
		{browser, "GET", "/auth/logout"}, {stranger, "GET", "/auth/logout/callback"}, {stranger, "GET", "/auth/callback?state=x"},
		{stranger, "GET", "/auth/callback"}, {stranger, "POST", "/me"}, {stranger, "GET", "/auth/initiate?iss=x"},
	} {
		res, body := app.asks(t, request.who, request.method, request.path, acceptHTML, navigate)
		if !strings.Contains(body, "<html") || !strings.Contains(res.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
			t.Errorf("%s %s: %s with %v\n%.200s", request.method, request.path, res.Status, res.Header, body)
		}
	}
}

func TestAttack_ThousandsOfCookiesCostLittle(t *testing.T) {
	t.Parallel()
	var reads atomic.Int64
	app := newTestApp(t, setup{provider: autoLogin, config: func(c *oidcrp.Config) {
		c.CookieKeys = countingKeys{c.CookieKeys, &reads}
	}})
	w := httptest.NewRecorder()
	if _, err := app.client.BeginLogin(w, httptest.NewRequest("GET", app.URL+"/auth/login", nil), nil); err != nil {
		t.Fatal(err)
	}
	prefix, _, _ := strings.Cut(w.Result().Cookies()[0].Name, "_t_")
	handler := app.client.Middleware(app.client.RequireLogin(http.HandlerFunc(sayWho)))
	for _, kind := range []string{"_t_", "_s"} {
		for _, path := range []string{"/me", "/auth/login", "/auth/callback?state=x&code=x", "/auth/logout"} {
			r := httptest.NewRequest("GET", app.URL+path, nil)
			var line strings.Builder
			for i := range 2900 { // net/http reads at most 3000
				fmt.Fprintf(&line, "%s%s%d=%dAAAAAAAAAAAAAAAAAAAAAAAA; ", prefix, kind, i, i%10)
			}
			r.Header.Set("Cookie", line.String()+prefix+"_s=9AAAA")
			r.Header.Set("Accept", "text/html")
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if n := len(w.Header()["Set-Cookie"]); n > 50 || w.Code >= 500 {
				t.Errorf("2900 cookies %s at %s: %d and %d cookies set", kind, path, w.Code, n)
			}
		}
	}
	if n := reads.Load(); n > 2 {
		t.Errorf("the keys were read %d times", n)
	}
}

// countingKeys counts how often its keys are read.
type countingKeys struct {
	oidcrp.KeySource
	reads *atomic.Int64
}

func (k countingKeys) CookieKeys(ctx context.Context) ([][]byte, error) {
	k.reads.Add(1)
	return k.KeySource.CookieKeys(ctx)
}

func TestAttack_PKCEIsS256WhateverTheMetadataSays(t *testing.T) {
	t.Parallel()
	for _, methods := range [][]string{nil, {}, {"plain"}, {"none", "plain"}, {"S256", "plain"}} {
		c := oidcrp.MustNew(t, func(c *oidcrp.Config) {
			c.Provider.Metadata = soundMetadata(func(m *oidcrp.Metadata) { m.CodeChallengeMethodsSupported = methods })
		})
		w := httptest.NewRecorder()
		location, err := c.BeginLogin(w, httptest.NewRequest("GET", "https://app.example/", nil), nil)
		if err != nil {
			continue // no login at all is no downgrade
		}
		query := queryOf(t, location)
		if query.Get("code_challenge_method") != "S256" || len(query.Get("code_challenge")) != 43 {
			t.Errorf("with %q: %s %q", methods, query.Get("code_challenge_method"), query.Get("code_challenge"))
		}
	}
}

func TestAttack_ATokenOfOneKindIsNotTakenForAnother(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	browser := app.signIn(t)
	site, err := url.Parse(app.URL)
	if err != nil {
		t.Fatal(err)
	}
	session, err := app.client.Session(requestWithin(app.URL, browser.Jar.Cookies(site)))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.PostForm(app.URL+"/auth/backchannel-logout", url.Values{"logout_token": {session.IDToken()}})
	if err != nil {
		t.Fatal(err)
	}
	if body := readBody(t, res); res.StatusCode != http.StatusBadRequest {
		t.Errorf("an ID Token as a Logout Token: %s\n%s", res.Status, body)
	}
	if got := app.who(t, browser, "/").Sub; got != "alice" {
		t.Errorf("an ID Token ended the session: %q is signed in", got)
	}
	app.provider.Handle(oidctest.EndpointToken, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{
			"access_token": "a", "token_type": "Bearer", "id_token": app.provider.LogoutToken(oidctest.ClientID, "alice", "sid"),
		})
	})
	other := app.provider.Browser()
	res, err = app.provider.Visit(other, app.URL+"/me", "alice")
	if err != nil {
		t.Fatal(err)
	}
	if body := readBody(t, res); res.StatusCode != oidcrp.StatusOf(oidcrp.CodeTokenRefused) || app.who(t, other, "/").Sub != "" {
		t.Errorf("a Logout Token as an ID Token: %s\n%s", res.Status, body)
	}
}

// An endlessBody counts how much of it is read.
type endlessBody struct{ read int }

func (b *endlessBody) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = "state=x&"[(b.read+i)%8]
	}
	b.read += len(p)
	return len(p), nil
}

func TestAttack_EndlessBodiesAreNotRead(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	handler := app.client.Middleware(http.NotFoundHandler())
	for _, path := range soakTargets[:8] { // the client's own
		for _, media := range []string{"application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json", ""} {
			body := new(endlessBody)
			r := httptest.NewRequest("POST", app.URL+path, io.NopCloser(body))
			r.Header.Set("Content-Type", media)
			r.Header.Set("Accept", "text/html")
			handler.ServeHTTP(httptest.NewRecorder(), r)
			if body.read > 1<<20 {
				t.Errorf("%s with %q read %d bytes", path, media, body.read)
			}
		}
	}
}

func TestAttack_AnEventStreamOrWebSocketOfNobodyDoesNotStart(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	for _, test := range []struct {
		status  int
		headers []string
	}{
		{403, []string{"Upgrade: websocket", "Connection: Upgrade", "Origin: https://evil.example", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: websocket"}},
		{401, []string{"Upgrade: websocket", "Connection: Upgrade", "Origin: " + app.URL, "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: websocket"}},
		{401, []string{"Accept: text/event-stream", "Origin: https://evil.example", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors"}},
	} {
		res, body := app.asks(t, app.provider.Browser(), "GET", "/tab/socket", test.headers...)
		if res.StatusCode != test.status || len(res.Cookies()) > 0 {
			t.Errorf("%q: %s with %v\n%s", test.headers, res.Status, res.Header, body)
		}
	}
}
