package oidctest

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // for login.html
	"encoding/base64"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/oidcrp/oidcrp/oidctest/internal/wire"
)

// The style and the scripts are inline, and the Content-Security-Policy allows them by
// their hashes.
const (
	pageStyle = `:root{color-scheme:light dark;--line:#6a6a6a;--accent:#3b4db8}
@media (prefers-color-scheme:dark){:root{--line:#8c8c8c;--accent:#a3afff}}
*{box-sizing:border-box}
body{margin:0;font:1.0625rem/1.5 system-ui,sans-serif}
.banner{margin:0;padding:.75rem 1rem;background:#ffe9a8;color:#3a2c00;text-align:center}
main{max-width:34rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;line-height:1.25}
ul{list-style:none;margin:1.5rem 0;padding:0}
li{margin:0 0 .75rem}
button{font:inherit;color:inherit;background:transparent;cursor:pointer}
button{border:1px solid var(--line);border-radius:.5rem}
li button{display:block;width:100%;padding:.85rem 1rem;text-align:left}
button.plain{padding:.5rem 1rem}
button:hover{border-color:var(--accent);box-shadow:0 0 0 1px var(--accent)}
button:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
.name{display:block;font-weight:600}
.facts{display:block;font-size:.9rem;overflow-wrap:anywhere}`
	pageScript = `document.forms[0].submit()`
	waitScript = `setTimeout(()=>document.links[0].click(),2000)`
)

//go:embed login.html
var pageSource string

var pages = template.Must(template.New("pages").Funcs(template.FuncMap{
	"style":  func() template.CSS { return pageStyle },
	"script": func() template.JS { return pageScript },
	"wait":   func() template.JS { return waitScript },
}).Parse(pageSource))

// pagePolicy has no form-action: browsers apply that directive to the redirects after
// the form too, and the relying party chooses where they lead.
var pagePolicy = fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s' '%s'; "+
	"base-uri 'none'; frame-ancestors 'none'",
	sourceHash(pageStyle), sourceHash(pageScript), sourceHash(waitScript))

func sourceHash(source string) string {
	sum := sha256.Sum256([]byte(source))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// A page is the data of every template.
type page struct {
	Lang   string
	Title  string
	Words  words
	Action string

	ClientID, Wanted, Interaction string         // login
	Personas                      []personaEntry // login
	Fields                        []field        // form_post
	Frames                        []string       // signed out, with front-channel logout
	Text, Code                    string         // message
}

type personaEntry struct {
	Subject, Name, Facts string
	Hinted               bool
}

type field struct{ Name, Value string }

type words struct {
	Banner, BannerMore, SignIn, For, Wanted, Cancel, Continue, SignedOut, SignedOutMore, Refused string
}

var wordsOf = map[string]words{
	"en": {
		Banner:     "Test provider.",
		BannerMore: "Nobody is really authenticated here: anyone can be anyone.",
		SignIn:     "Who do you want to be?", For: "You are signing in to", Wanted: "Level asked for:",
		Cancel: "Cancel", Continue: "Continue",
		SignedOut: "Signed out", SignedOutMore: "The session at the test provider has ended.",
		Refused: "This request cannot be answered",
	},
	"fr": {
		Banner:     "Fournisseur de test.",
		BannerMore: "Rien n’est vérifié ici\u00a0: n’importe qui peut être n’importe qui.",
		SignIn:     "Qui voulez-vous être\u00a0?", For: "Vous vous connectez à", Wanted: "Niveau demandé\u00a0:",
		Cancel: "Annuler", Continue: "Continuer",
		SignedOut:     "Déconnexion effectuée",
		SignedOutMore: "La session du fournisseur de test est terminée.",
		Refused:       "Cette demande ne peut pas aboutir",
	},
}

// localeOf returns the first of ui_locales, then of the browser's languages in the order
// of the header, that the pages are available in, and "en" otherwise.
func localeOf(r *http.Request) string {
	locales := strings.Fields(r.Form.Get("ui_locales"))
	locales = append(locales, strings.Split(r.Header.Get("Accept-Language"), ",")...)
	for _, locale := range locales {
		tag, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(locale)), ";")
		language, _, _ := strings.Cut(tag, "-")
		if _, ok := wordsOf[language]; ok {
			return language
		}
	}
	return "en"
}

func render(name string, status int, data page) *response {
	data.Words = wordsOf[data.Lang]
	var body bytes.Buffer
	if err := pages.ExecuteTemplate(&body, name, data); err != nil {
		panic("oidctest: rendering the page " + name + ": " + err.Error())
	}
	return &response{Response: wire.Response{Status: status, Body: body.Bytes(), Header: http.Header{
		"Content-Type":            {"text/html; charset=utf-8"},
		"Content-Security-Policy": {pagePolicy},
		"Cache-Control":           {"no-store"},
		"Referrer-Policy":         {"no-referrer"},
		"X-Content-Type-Options":  {"nosniff"},
		"Vary":                    {"Accept-Language"},
	}}}
}

// loginPage lets the user choose a persona.
func (p *Provider) loginPage(a *authRequest) *response {
	data := page{
		Lang: a.locale, Title: wordsOf[a.locale].SignIn, Action: p.Endpoint(EndpointLogin),
		ClientID: a.client.ID, Wanted: strings.Join(a.acr.values, ", "), Interaction: a.id,
	}
	for i := range p.cfg.Personas {
		persona := &p.cfg.Personas[i]
		data.Personas = append(data.Personas, personaEntry{
			Subject: persona.Subject, Name: persona.Name, Facts: persona.facts(),
			Hinted: a.loginHint != "" &&
				(a.loginHint == persona.Subject || a.loginHint == persona.Claims["email"]),
		})
	}
	return render("login", http.StatusOK, data)
}

// facts returns one line that distinguishes the persona from the others.
func (persona *Persona) facts() string {
	facts := []string{persona.Subject}
	if persona.Name == "" {
		facts = nil // the page shows the subject as the name
	}
	if email, ok := persona.Claims["email"].(string); ok {
		facts = append(facts, email)
	}
	if label, ok := persona.Claims["organization_label"].(string); ok {
		facts = append(facts, label)
	}
	levels := slices.DeleteFunc(append([]string{persona.ACR}, persona.StepUpACRs...),
		func(v string) bool { return v == "" })
	if len(levels) > 0 {
		facts = append(facts, "acr "+strings.Join(levels, " → "))
	}
	if len(persona.AMR) > 0 {
		facts = append(facts, "amr "+strings.Join(persona.AMR, "+"))
	}
	return strings.Join(facts, " · ")
}

// serveLogin receives the form of the login page. The same form may be submitted again,
// after the browser's back button.
func (p *Provider) serveLogin(r *http.Request) *response {
	if res := onlyMethods(r, http.MethodPost); res != nil {
		return res
	}
	a := p.interactions[r.PostForm.Get("interaction")]
	if a == nil || !p.now().Before(a.expires) {
		return errorPage(r, http.StatusBadRequest,
			invalidRequest("this login is unknown or has expired"))
	}
	if r.PostForm.Has("cancel") {
		return p.fail(a, failure("access_denied", "the user cancelled"))
	}
	persona := p.persona(r.PostForm.Get("persona"))
	if persona == nil {
		return errorPage(r, http.StatusBadRequest, invalidRequest("no persona has this subject"))
	}
	return p.signIn(r, a, persona)
}

// formPostPage implements OAuth 2.0 Form Post Response Mode 2.
func formPostPage(a *authRequest, params url.Values) *response {
	data := page{Lang: a.locale, Title: wordsOf[a.locale].Continue, Action: a.redirectURI}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		for _, value := range params[name] {
			data.Fields = append(data.Fields, field{name, value})
		}
	}
	return render("form_post", http.StatusOK, data)
}

// framesPage loads the clients' logout pages in frames, and then sends the browser to
// target unless that is empty.
func framesPage(r *http.Request, frames []string, target string) *response {
	lang := localeOf(r)
	res := render("frames", http.StatusOK, page{Lang: lang, Title: wordsOf[lang].SignedOut,
		Text: wordsOf[lang].SignedOutMore, Frames: frames, Action: target})
	res.Header.Set("Content-Security-Policy", pagePolicy+"; frame-src *")
	return res
}

// errorPage shows an error that must not be sent by redirect.
func errorPage(r *http.Request, status int, err *oauthError) *response {
	lang := localeOf(r)
	res := render("message", status, page{Lang: lang, Title: wordsOf[lang].Refused,
		Text: err.Description, Code: err.Code})
	res.refused = err
	return res
}
