package oidcrp

// This file shows the pages of this package: small, accessible, in French or
// English, without internal details. An app can replace all of them.

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/oidcrp/oidcrp/internal/fetch"
)

// Pages adapts the pages of this package to the app. The zero value shows plain
// pages in French or English, by the browser's Accept-Language.
type Pages struct {
	// AppName is the app's name as people know it, shown on every page; if
	// empty, none.
	AppName string
	// Contact is whom to ask for help, shown on error pages: an e-mail address,
	// a URL, or any text. If empty, none.
	Contact string
	// Stylesheet is CSS that is added to the pages' own. It cannot load anything:
	// the pages' Content-Security-Policy forbids it.
	Stylesheet string
	// Texts replaces texts, or adds languages: Texts["de"]["no_session.title"].
	// A text that is missing in a language is taken from the built-in one, or
	// from English. [New] refuses an unknown key, and names all of them.
	Texts map[string]map[string]string
	// Handler writes a page, or a response of another form for a script, with its
	// Status. Headers such as Retry-After and HX-Redirect are already set. It may
	// leave some pages to [DefaultPage]. If nil, DefaultPage.
	Handler func(http.ResponseWriter, *http.Request, *Page)
}

// A Page is the content of a page of this package.
type Page struct {
	// Name is "error", "choose" (where to sign in, for a [Group]), "sign_out" (which
	// asks whether to sign out), "signed_out",
	// "sign_out_incomplete" (the session could not be ended yet; Action, if any, leads
	// on) or "sign_out_at_provider" (whose form ends the session at the provider).
	Name string
	// Status is the HTTP status to answer with.
	Status int
	// Language is that of the texts, such as "en" or "fr".
	Language string
	// Title and Paragraphs are plain text.
	Title      string
	Paragraphs []string
	// Action is the path of the page's main button, and ActionLabel its text.
	// With Post, the button posts a form. Where the account has no access, it logs out
	// here and at the provider, which would otherwise sign the same account in again.
	Action, ActionLabel string
	Post                bool
	// Fields are the hidden fields of the form. Only "sign_out_at_provider" has some:
	// Action is then a URL of the provider, and [DefaultPage] posts the form by a script,
	// so that the button is for browsers without scripts.
	Fields url.Values
	// Choices are the members of a [Group] to sign in with, each with its LoginURL. Only
	// "choose" has some: it has no Action, and ActionLabel is the text of each button,
	// where {name} stands for the member's name.
	Choices []Member
	// HomeURL is the path of the app's start page, and HomeLabel the text of a
	// link to it. HomeURL is empty if the button leads there, or must come first.
	HomeURL, HomeLabel string
	// AppName, Contact and Stylesheet are those of [Pages].
	AppName, Contact, Stylesheet string
	// ContactLabel goes before Contact.
	ContactLabel string

	// Code says what failed; it may be shown. It is empty, as are the fields that
	// follow, unless Name is "error".
	Code Code
	// Incident is a random id that is also in the log, at the level Info or above, for
	// a person to quote, and IncidentLabel goes before it. It is empty for a script
	// without a session, which happens all the time: that is logged at Debug.
	Incident, IncidentLabel string
	// Err is the cause, for the log only.
	Err error
	// LoginURL is a path of this app that starts a new login and comes back. It is
	// empty if that cannot help.
	LoginURL string
	// RetryAfter is how long to wait before trying again; zero if unknown or of no
	// use.
	RetryAfter time.Duration
	// Script says that a script or htmx made the request: [DefaultPage] then
	// writes application/problem+json.
	Script bool
	// Detail is the app's own explanation, if any: the Explain of a [Requirement],
	// or that of [Refuse]. It is the detail of a problem+json response, and is also
	// in Paragraphs.
	Detail string
	// Requirement is the Name of the [Requirement] that is not met, if any.
	Requirement string
}

// statusClientClosedRequest is what many servers log for a request whose caller
// gave up. It reaches no browser and does not count as an outage.
const statusClientClosedRequest = 499

// statusOf returns the HTTP status of a response about a code.
func statusOf(code Code) int {
	switch code {
	case CodeNoSession, CodeLoginRequired:
		return http.StatusUnauthorized
	case CodeRequirementUnmet, CodeProviderError, CodeLoginRefused, CodeCrossOrigin:
		return http.StatusForbidden
	case CodeSessionTooLarge:
		return http.StatusUnprocessableEntity
	case CodeInvalidRequest, CodeTransactionLost, CodeIssuerMismatch:
		return http.StatusBadRequest
	case CodeProviderUnavailable, CodeStoreUnavailable, CodeCookieKeysUnavailable:
		return http.StatusServiceUnavailable
	case CodeProviderInvalid, CodeClientRefused, CodeTokenRefused, CodeUserInfoRefused:
		return http.StatusBadGateway
	case CodeCanceled:
		return statusClientClosedRequest
	}
	return http.StatusInternalServerError
}

// problem answers the browser about err.
func (c *Client) problem(w http.ResponseWriter, r *http.Request, err error) {
	c.answer(w, r, c.errorPage(r, err))
}

// errorPage returns the page about err.
func (c *Client) errorPage(r *http.Request, err error) *Page {
	code := codeOf(err)
	p := c.pages.page(r, "error", textKey(code))
	p.Code, p.Status, p.Err = code, statusOf(code), err
	kind := kindOf(r)
	p.Script = kind == script || kind == htmx
	p.Incident = randomText()[:12]
	if code == CodeCrossOrigin || code == CodeSessionTooLarge { // signing in again does not help
		p.Action, p.HomeURL = p.HomeURL, ""
	} else {
		p.LoginURL = c.loginURLAfter(err, c.tryAgainPath(r))
		p.Action = p.LoginURL
	}
	if needsOtherAccount(err) { // the provider would sign the same one in again
		p.Action, p.Post = c.LogoutURL(c.tryAgainPath(r)), true
		if c.group.Load() != nil {
			p.Action = withParameter(p.Action, hereParameter, "1")
		}
		if code == CodeRequirementUnmet {
			p.ActionLabel = c.pages.text(p.Language, "requirement_unmet.other")
		}
	}
	if p.Status == http.StatusServiceUnavailable {
		p.RetryAfter = retryAfter(err)
	}
	if e, ok := asDemand(err); ok && e.unmet != nil {
		p.Requirement = e.unmet.Name
	}
	if p.Detail = explain(err, p.Language); p.Detail != "" {
		p.Paragraphs = []string{p.Detail}
	}
	return p
}

// needsOtherAccount reports whether a new login with the same account ends as the last
// one did: OnLogin refused it, or it did not meet a requirement.
func needsOtherAccount(err error) bool {
	e, ok := asDemand(err)
	switch codeOf(err) {
	case CodeLoginRefused:
		return true
	case CodeRequirementUnmet:
		return !ok || e.again
	}
	return false
}

// explain returns what the app has to say about err: about a requirement that is
// not met, or a login that OnLogin refused.
func explain(err error, language string) string {
	var explain func(string) string
	if e, ok := asDemand(err); ok && e.unmet != nil {
		explain = e.unmet.Explain
	}
	if r, ok := asRefusal(err); ok {
		explain = r.explain
	}
	if explain == nil {
		return ""
	}
	return explain(language)
}

// answer logs an error page and shows it.
func (c *Client) answer(w http.ResponseWriter, r *http.Request, p *Page) {
	level := slog.LevelWarn
	switch {
	case p.Code == CodeCanceled, p.Code == CodeNoSession && p.Script:
		// These happen all the time. Nobody gets to see the incident.
		level, p.Incident = slog.LevelDebug, ""
	case p.Code == CodeNoSession, isCancellation(p.Err):
		level = slog.LevelInfo
	}
	attrs := []slog.Attr{
		slog.String("code", string(p.Code)), slog.String("incident", p.Incident),
		slog.Int("status", p.Status), slog.String("path", clean(r.URL.Path, 300)), slog.Any("error", p.Err),
	}
	if sub := deniedSubject(p.Err); sub != "" {
		attrs = append(attrs, slog.String("sub", sub))
	}
	c.log.LogAttrs(r.Context(), level, "request refused", attrs...)
	if p.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((p.RetryAfter+time.Second-1)/time.Second)))
	}
	if p.Status == http.StatusUnauthorized {
		// RFC 9110 section 15.5.2 asks for a challenge. There is no registered
		// scheme for signing in by redirect.
		w.Header().Set("WWW-Authenticate", "Cookie realm="+strconv.Quote(c.base.Host))
	}
	c.pages.show(w, r, p)
}

// retryAfter returns the pause that the provider asked for, else 30 seconds.
func retryAfter(err error) time.Duration {
	var f *fetch.Error
	if errors.As(err, &f) && f.RetryAfter > 0 {
		return f.RetryAfter
	}
	return 30 * time.Second
}

// tryAgainPath is where a new login after a problem with r leads.
func (c *Client) tryAgainPath(r *http.Request) string {
	switch own := c.ownPath(r); {
	case own == c.paths.login, c.group.Load().serves(r):
		return c.returnTo(c.loginReturnTo(r))
	case own == c.paths.callback:
		params, _ := callbackParameters(r)
		ticket, _ := c.logins.openState(params.Get("state"))
		return c.returnTo(ticket.ReturnTo)
	case kindOf(r) == navigation || isBoosted(r):
		return c.returnTo(requestPath(r))
	}
	return c.callerPage(r, hxCurrentURL)
}

// continuePageHeader is about what continuePage adds to a header.
const continuePageHeader = 320

// continuePage leads to location without a Location header. It needs no script, and no
// click unless the browser does not follow a refresh.
func (c *Client) continuePage(w http.ResponseWriter, r *http.Request, location string) {
	language, css := c.pages.language(r), inlineCSS(pagesCSS+c.pages.Stylesheet)
	var body bytes.Buffer
	err := continueTemplate().Execute(&body, struct {
		Language, Location, Title, Button string
		CSS                               template.CSS
	}{
		language, asciiURL(location), c.pages.text(language, "continue.title"), c.pages.text(language, "continue.button"),
		template.CSS(css),
	})
	if err != nil {
		c.problem(w, r, fail("page", CodeInternal, err))
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; style-src "+hashSource(css))
	h.Set("Referrer-Policy", "no-referrer")
	write(w, r, http.StatusOK, body.Bytes())
}

var continueTemplate = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("continue").Parse(`<!doctype html>
<html lang="{{.Language}}">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<meta http-equiv="refresh" content="0; url={{.Location}}">
<style>{{.CSS}}</style>
<main>
<h1>{{.Title}}</h1>
<div class="actions"><a class="button" href="{{.Location}}">{{.Button}}</a></div>
</main>
`))
})

// asciiURL encodes the bytes of a URL that are not ASCII, as http.Redirect does.
func asciiURL(u string) string {
	var b strings.Builder
	for i := range len(u) {
		if u[i] < 0x80 {
			b.WriteByte(u[i])
		} else {
			fmt.Fprintf(&b, "%%%02x", u[i])
		}
	}
	return b.String()
}

// confirmLogoutPage asks whether to sign out, since the request may come from
// another site.
func (c *Client) confirmLogoutPage(w http.ResponseWriter, r *http.Request, returnTo string) {
	p := c.pages.page(r, "sign_out", "sign_out")
	p.Action, p.Post = withParameter(c.LogoutURL(returnTo), answerParameter, c.askQuestion(w, r)), true
	p.HomeLabel = c.pages.text(p.Language, "sign_out.stay")
	c.pages.show(w, r, p)
}

// leavePage takes the browser to the provider by a form, since a URL would be too long.
func (c *Client) leavePage(w http.ResponseWriter, r *http.Request, out *wayOut) {
	p := c.pages.page(r, "sign_out_at_provider", "sign_out_at_provider")
	p.Action, p.Post, p.Fields = out.location, true, out.params
	p.HomeURL = "" // the provider would sign the person in again
	c.pages.show(w, r, p)
}

// signedOutPage is the end of a logout that leads nowhere else.
func (c *Client) signedOutPage(w http.ResponseWriter, r *http.Request) {
	p := c.pages.page(r, "signed_out", "signed_out")
	p.Action = c.loginURLAfter(nil, "")
	c.pages.show(w, r, p)
}

// incompleteLogoutPage is the end of a logout whose session could not be ended, so far.
// It leads on to returnTo, a local path, if that is not empty.
func (c *Client) incompleteLogoutPage(w http.ResponseWriter, r *http.Request, returnTo string) {
	p := c.pages.page(r, "sign_out_incomplete", "sign_out_incomplete")
	p.Contact, p.ContactLabel = c.pages.Contact, c.pages.text(p.Language, "contact")
	if returnTo == "" {
		p.ActionLabel = "" // there is the link to the home page
	} else {
		p.Action = c.returnTo(returnTo)
	}
	c.pages.show(w, r, p)
}

// pages owns the texts of the pages and shows them.
type pages struct {
	Pages
	home string // path of the app's start page
}

// newPages copies settings.
func newPages(settings Pages, home string) *pages {
	settings.Texts = maps.Clone(settings.Texts)
	for language, texts := range settings.Texts {
		settings.Texts[language] = maps.Clone(texts)
	}
	return &pages{settings, home}
}

func (p *pages) show(w http.ResponseWriter, r *http.Request, page *Page) {
	if p.Handler != nil {
		p.Handler(w, r, page)
		return
	}
	DefaultPage(w, r, page)
}

// page returns a page with the texts that begin with key.
func (p *pages) page(r *http.Request, name, key string) *Page {
	language := p.language(r)
	page := &Page{
		Name: name, Status: http.StatusOK, Language: language,
		Title:       p.text(language, key+".title"),
		ActionLabel: p.text(language, key+".button"),
		HomeURL:     p.home,
		HomeLabel:   p.text(language, "home"),
		AppName:     p.AppName, Stylesheet: p.Stylesheet,
	}
	for _, part := range []string{".what", ".next"} {
		if text := p.text(language, key+part); text != "" {
			page.Paragraphs = append(page.Paragraphs, text)
		}
	}
	if name == "error" {
		page.IncidentLabel = p.text(language, "incident")
		page.Contact, page.ContactLabel = p.Contact, p.text(language, "contact")
	}
	return page
}

// text returns a text in a language, else in English.
func (p *pages) text(language, key string) string {
	primary, _, _ := strings.Cut(language, "-")
	for _, tag := range []string{language, primary, "en"} {
		if text := cmp.Or(p.Texts[tag][key], builtinTexts[tag][key]); text != "" {
			return text
		}
	}
	return ""
}

// check returns what is wrong with the settings, and which.
func (p *Pages) check() (field string, err error) {
	known := builtinTexts["en"]
	for _, language := range slices.Sorted(maps.Keys(p.Texts)) {
		field := fmt.Sprintf("Texts[%q]", language)
		if language == "" || language != strings.ToLower(language) {
			return field, errors.New(`is not a lower-case language tag, such as "de"`)
		}
		for _, key := range slices.Sorted(maps.Keys(p.Texts[language])) {
			if _, ok := known[key]; !ok {
				return fmt.Sprintf("%s[%q]", field, key), fmt.Errorf("is not known; there are %s",
					strings.Join(slices.Sorted(maps.Keys(known)), ", "))
			}
		}
	}
	return "", nil
}

// language returns the language that r's Accept-Language prefers among those
// that there are texts in, English if none.
func (p *pages) language(r *http.Request) string {
	best, bestQ := "en", 0.0
	for item := range strings.SplitSeq(strings.ToLower(r.Header.Get("Accept-Language")), ",") {
		tag, params, _ := strings.Cut(strings.TrimSpace(item), ";")
		q := 1.0
		if value, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
			q, _ = strconv.ParseFloat(value, 64)
		}
		tag = strings.TrimSpace(tag)
		primary, _, _ := strings.Cut(tag, "-")
		for _, candidate := range []string{tag, primary} {
			if (builtinTexts[candidate] != nil || p.Texts[candidate] != nil) && q > bestQ {
				best, bestQ = candidate, q
			}
		}
	}
	return best
}

//go:embed pages.html
var pagesHTML string

//go:embed pages.css
var pagesCSS string

var pageTemplate = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Parse(pagesHTML))
})

// DefaultPage answers with a page, or with an application/problem+json body (RFC
// 9457) for a script that does not ask for HTML. Neither shows internal details;
// both have the incident id, if there is one.
func DefaultPage(w http.ResponseWriter, r *http.Request, p *Page) {
	if p.Script {
		writeProblemJSON(w, r, p)
		return
	}
	choices, styles := p.choices()
	css, policy := inlineCSS(pagesCSS+p.Stylesheet+styles), ""
	var js string
	if len(p.Fields) > 0 {
		// No form-action: Chromium applies it to redirects too, and the provider may
		// redirect to another one.
		js, policy = submitJS, "; script-src "+hashSource(submitJS)
	}
	if len(choices) > 0 {
		policy += "; img-src data:"
	}
	var body bytes.Buffer
	err := pageTemplate().Execute(&body, struct {
		*Page
		CSS         template.CSS
		JS          template.JS
		ContactLink string
		Buttons     []choiceButton
	}{p, template.CSS(css), template.JS(js), contactLink(p.Contact), choices})
	if err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", p.Language)
	h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; style-src "+hashSource(css)+policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	write(w, r, p.Status, body.Bytes())
}

// submitJS posts the form of a page.
const submitJS = "document.forms[0].submit()"

// hashSource allows an inline style or script in a Content-Security-Policy (CSP 3
// section 2.3.1).
func hashSource(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// inlineCSS returns css as a browser reads it inside a style element: the parser
// turns every kind of line end into "\n" before the hash of the policy is compared,
// and ends the element at "</style". "<\/" is the same in CSS.
func inlineCSS(css string) string {
	return strings.NewReplacer("\r\n", "\n", "\r", "\n", "\x00", "\ufffd", "</", `<\/`).
		Replace(strings.ToValidUTF8(css, "\ufffd"))
}

// contactLink returns the target of a link to contact, "" if it is plain text.
func contactLink(contact string) string {
	switch {
	case strings.HasPrefix(contact, "https://"), strings.HasPrefix(contact, "http://"):
		return contact
	case strings.Count(contact, "@") == 1 && !strings.ContainsAny(contact, " :/<>"):
		return "mailto:" + contact
	}
	return ""
}

func writeProblemJSON(w http.ResponseWriter, r *http.Request, p *Page) {
	body, _ := json.Marshal(struct { // strings and a number
		Type        string `json:"type"`
		Title       string `json:"title"`
		Status      int    `json:"status"`
		Detail      string `json:"detail,omitempty"`
		Code        string `json:"code"`
		Requirement string `json:"requirement,omitempty"`
		LoginURL    string `json:"login_url,omitempty"`
		Incident    string `json:"incident,omitempty"`
	}{"about:blank", p.Title, p.Status, p.Detail, string(p.Code), p.Requirement, p.LoginURL, p.Incident})
	w.Header().Set("Content-Type", "application/problem+json")
	write(w, r, p.Status, body)
}

// write sends a response that caches must not store.
func write(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept-Language")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}
