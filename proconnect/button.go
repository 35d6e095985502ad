package proconnect

// This file renders the button that starts a sign-in, with the link that ProConnect
// requires beside it.

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

// ButtonOptions is how the button looks and where it leads. The zero value is a French
// button, with its own style, that posts to /auth/login.
type ButtonOptions struct {
	// Language is "fr" or "en", or a tag that begins with one of them, such as
	// "en-GB". If empty or another language, French.
	Language string
	// DSFR uses the classes of the State's design system, version 1.15 or later. The
	// page must load its stylesheet, which only sites of the State may use. Nonce,
	// StyleInHead and Bare then have no effect.
	DSFR bool
	// Bare omits the style and the symbol of this package, for a page that loads
	// ProConnect's own stylesheet and image. The classes are those of that stylesheet,
	// proconnect-button and proconnect-sr-only.
	Bare bool
	// Action is where a login starts: a path, or an http or https URL. If empty,
	// "/auth/login".
	Action string
	// ReturnTo is the path to return to after the login. It is added to Action as the
	// parameter return_to, which the client checks. If empty, it is not added.
	ReturnTo string
	// Method is "post" or "get", in any case; if empty, post. With get, the button is
	// a link. Chromium applies the form-action of a page's Content-Security-Policy to
	// redirects too, so that 'self' alone blocks a post on its way to ProConnect: add
	// ProConnect's host, and those of the identity providers if you use hints, or use
	// get.
	Method string
	// Nonce is the nonce of the page's Content-Security-Policy, for the style. If
	// empty, the style has none.
	Nonce string
	// StyleInHead omits the style, for a page that has it from [ButtonStyle].
	StyleInHead bool
}

// Button writes the button and the link "Qu’est-ce que ProConnect ?" to w, as HTML that
// does not load anything. It shows a symbol of this package. Services that may use
// ProConnect's logo can show that instead: see Bare.
//
// The style precedes the button, unless StyleInHead is set. Browsers accept it there,
// but valid HTML has it in the head of the page.
//
// If Action or Method is not valid, Button returns an error before it writes anything;
// any other error is w's.
func Button(w io.Writer, o ButtonOptions) error {
	v, err := o.view()
	if err != nil {
		return err
	}
	return writeTemplate(w, "button", v)
}

// MemberButton is the button as [oidcrp.Member] has it: a link to loginURL with its
// style.
func MemberButton(loginURL, language string) template.HTML {
	var b strings.Builder
	// Without the button, the page shows one of its own.
	_ = Button(&b, ButtonOptions{Action: loginURL, Language: language, Method: http.MethodGet})
	return template.HTML(b.String())
}

// ButtonStyle writes the style element of the button, for the head of a page whose
// buttons have StyleInHead set. If nonce is empty, the element has none. The error is
// w's.
func ButtonStyle(w io.Writer, nonce string) error {
	return writeTemplate(w, "style", buttonView{Nonce: nonce, CSS: template.CSS(buttonCSS)})
}

// ButtonFuncMap returns functions for html/template:
//
//	{{proconnectButton .Options}}     the button; Options is a ButtonOptions
//	{{proconnectButtonStyle .Nonce}}  the style; Nonce is a string
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

// writeTemplate writes the output of a template, or nothing if the template fails.
func writeTemplate(w io.Writer, name string, v buttonView) error {
	var b bytes.Buffer
	if err := buttonTemplate().ExecuteTemplate(&b, name, v); err != nil {
		return fmt.Errorf("proconnect: button: %w", err)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// buttonView is the data of the template.
type buttonView struct {
	buttonText
	URL, Group, Class, About string
	DSFR, Bare, Post         bool
	Nonce                    string
	CSS                      template.CSS // if empty, no style
}

// buttonText holds the texts that ProConnect prescribes. They may be translated, but
// not reworded.
type buttonText struct {
	Language            string
	Login               template.HTML // so that the apostrophe is not escaped
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
		// The design system's example has this address and this apostrophe.
		v.Group, v.Class, v.About = "fr-connect-group", "fr-connect fr-connect--pro", "https://proconnect.gouv.fr/"
		v.Login = template.HTML(strings.ReplaceAll(string(v.Login), "'", "’"))
	case !o.Bare && !o.StyleInHead:
		v.CSS = template.CSS(buttonCSS)
	}
	switch method := cmp.Or(strings.ToUpper(o.Method), http.MethodPost); method {
	case http.MethodPost, http.MethodGet:
		v.Post = method == http.MethodPost
	default:
		return v, fmt.Errorf("proconnect: button: method %q must be post or get", o.Method)
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
		return "", fmt.Errorf("proconnect: button: action %q must be a path or an http or https URL", action)
	}
	if o.ReturnTo == "" {
		return action, nil
	}
	query := u.Query()
	query.Set("return_to", o.ReturnTo)
	u.RawQuery = query.Encode()
	return u.String(), nil
}
