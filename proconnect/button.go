package proconnect

// This file draws the button that starts a sign-in, with the link beside it
// that ProConnect asks for.

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// ButtonOptions says how the button looks and where it leads. The zero value
// is a French button, with its own style, that posts to /auth/login.
type ButtonOptions struct {
	// Language is "fr" or "en", or a tag that begins with one of them, such as
	// en-GB. French if empty or another.
	Language string
	// DSFR uses the classes of the State's design system, version 1.15 or
	// later. The page brings its stylesheet, which only sites of the State may
	// use; Nonce, StyleInHead and Bare have no effect then.
	DSFR bool
	// Bare leaves out the style and the mark that this package draws, for a page
	// that has ProConnect's stylesheet and image: the classes are the ones that
	// they know, proconnect-button and proconnect-sr-only.
	Bare bool
	// Action is where a login starts, a path or an http or https URL. If empty,
	// /auth/login.
	Action string
	// ReturnTo is the path that the login comes back to. It is added to Action
	// as the parameter return_to, which the client checks. If empty, Action
	// stays as it is.
	ReturnTo string
	// Method is "post" or "get", in any case; if empty, post. With get the button
	// is a link. Chromium applies the form-action of a page's
	// Content-Security-Policy to redirects as well: 'self' alone stops a post on
	// its way to ProConnect. Name ProConnect's host beside it, and with hints those
	// of the identity providers, or use get.
	Method string
	// Nonce is that of the page's Content-Security-Policy, for the style. If
	// empty, the style has none.
	Nonce string
	// StyleInHead leaves out the style: the page has it from [ButtonStyle].
	StyleInHead bool
}

// Button writes the button and the link "Qu’est-ce que ProConnect ?" to w, as
// HTML that loads nothing. It carries a mark of our own; the logo is for those
// who may use it to bring, see Bare.
//
// The style comes just before the button, unless StyleInHead is set. Browsers
// take it there, but HTML wants it in the head of the page.
//
// It fails before it writes anything when Action is no path and no http or
// https URL, or when Method is another; otherwise the error is w's.
func Button(w io.Writer, o ButtonOptions) error {
	v, err := o.view()
	if err != nil {
		return err
	}
	return writeTemplate(w, "button", v)
}

// ButtonStyle writes the style element of the button, for the head of a page
// whose buttons have StyleInHead set. An empty nonce is left out. The error is
// w's.
func ButtonStyle(w io.Writer, nonce string) error {
	return writeTemplate(w, "style", buttonView{Nonce: nonce, CSS: template.CSS(buttonCSS)})
}

// ButtonFuncMap returns what a template of html/template needs:
//
//	{{proconnectButton .Options}}     the button, of a ButtonOptions
//	{{proconnectButtonStyle .Nonce}}  the style, of a string
func ButtonFuncMap() template.FuncMap {
	return template.FuncMap{
		"proconnectButton": func(o ButtonOptions) (template.HTML, error) {
			var b strings.Builder
			err := Button(&b, o)
			return template.HTML(b.String()), err
		},
		"proconnectButtonStyle": func(nonce string) (template.HTML, error) {
			var b strings.Builder
			err := ButtonStyle(&b, nonce)
			return template.HTML(b.String()), err
		},
	}
}

//go:embed button.html
var buttonHTML string

//go:embed button.css
var buttonCSS string

var buttonTemplate = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("").Parse(buttonHTML))
})

// writeTemplate writes all of a template's output, or nothing when it fails.
func writeTemplate(w io.Writer, name string, v buttonView) error {
	var b bytes.Buffer
	if err := buttonTemplate().ExecuteTemplate(&b, name, v); err != nil {
		return fmt.Errorf("proconnect: button: %w", err)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// buttonView is what the template shows.
type buttonView struct {
	buttonText
	URL, Group, Class, About string
	DSFR, Bare, Post         bool
	Nonce                    string
	CSS                      template.CSS // empty: no style
}

// buttonText is what is prescribed. It may be translated, not reworded.
type buttonText struct {
	Language            string
	Login               template.HTML // its apostrophe stays one
	Question, NewWindow string
}

var (
	buttonFrench  = buttonText{"fr", "S'identifier avec", "Qu’est-ce que ProConnect ?", "nouvelle fenêtre"}
	buttonEnglish = buttonText{"en", "Sign in with", "What is ProConnect?", "new window"}
)

func (o ButtonOptions) view() (buttonView, error) {
	v := buttonView{
		buttonText: buttonFrench, DSFR: o.DSFR, Bare: o.Bare, Nonce: o.Nonce,
		Group: "proconnect-group", Class: "proconnect-button", About: "https://www.proconnect.gouv.fr/",
	}
	if tag, _, _ := strings.Cut(o.Language, "-"); strings.EqualFold(tag, "en") {
		v.buttonText = buttonEnglish
	}
	switch {
	case o.DSFR:
		// The design system's own example has this address, and this apostrophe.
		v.Group, v.Class, v.About = "fr-connect-group", "fr-connect fr-connect--pro", "https://proconnect.gouv.fr/"
		v.Login = template.HTML(strings.ReplaceAll(string(v.Login), "'", "’"))
	case !o.Bare && !o.StyleInHead:
		v.CSS = template.CSS(buttonCSS)
	}
	switch method := cmp.Or(strings.ToUpper(o.Method), http.MethodPost); method {
	case http.MethodPost, http.MethodGet:
		v.Post = method == http.MethodPost
	default:
		return v, fmt.Errorf("proconnect: button: method is %q, want post or get", o.Method)
	}
	var err error
	v.URL, err = o.loginURL()
	return v, err
}

// loginURL returns Action with ReturnTo in it.
func (o ButtonOptions) loginURL() (string, error) {
	action := cmp.Or(o.Action, "/auth/login")
	u, err := url.Parse(action)
	if err != nil {
		return "", fmt.Errorf("proconnect: button: action: %w", err)
	}
	web := (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
	if !web && (u.Scheme != "" || u.Host != "" || !strings.HasPrefix(u.Path, "/")) {
		return "", fmt.Errorf("proconnect: button: action %q is no path and no http or https URL", action)
	}
	if o.ReturnTo == "" {
		return action, nil
	}
	query := u.Query()
	query.Set("return_to", o.ReturnTo)
	u.RawQuery = query.Encode()
	return u.String(), nil
}
