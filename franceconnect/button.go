package franceconnect

// This file renders the button that starts a sign-in, with the link beside it.

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
// button of FranceConnect, with the style of this package, that posts to /auth/login.
type ButtonOptions struct {
	// Plus says that the button is for FranceConnect+.
	Plus bool
	// Language is "fr" or "en", or a tag that begins with one of them, such as
	// "en-GB". If empty or another language, French.
	Language string
	// Image is the address of the official button's image, a path or an http or https
	// URL. It must be one that shows the whole button, for its alternative text says so.
	// The page's Content-Security-Policy must allow it. If empty, the button is text.
	Image string
	// DSFR uses the classes of the State's design system. The page must load its
	// stylesheet, which only sites of the State may use. Nonce, StyleInHead and Image then
	// have no effect.
	DSFR bool
	// About is where the link beside the button leads. If empty, it is the page of
	// franceconnect.gouv.fr about FranceConnect or FranceConnect+.
	About string
	// Action is where a login starts: a path, or an http or https URL. If empty,
	// "/auth/login".
	Action string
	// ReturnTo is the path to return to after the login. It is added to Action as the
	// parameter return_to, which the client checks. If empty, it is not added.
	ReturnTo string
	// Method is "post" or "get", in any case; if empty, post. With get, the button is
	// a link. Chromium applies the form-action of a page's Content-Security-Policy to
	// redirects too, so that 'self' alone blocks a post on its way to FranceConnect: add
	// FranceConnect's host, and those of the identity providers, or use get.
	Method string
	// Nonce is the nonce of the page's Content-Security-Policy, for the style. If
	// empty, the style has none.
	Nonce string
	// StyleInHead omits the style, for a page that has it from [ButtonStyle].
	StyleInHead bool
}

// Button writes the button and the link "Qu’est-ce que FranceConnect ?" to w, as HTML that
// loads nothing but Image.
//
// FranceConnect asks services for its official button, and this package has no copy of
// that: download it from FranceConnect and set Image, or set DSFR on a site of the State.
// The text button is for development. FranceConnect also asks for a notice of the data
// that the service receives, and for a logout that ends its session too. The wording, the
// link's addresses and these rules are to be checked at FranceConnect's partner portal
// before the service is qualified for production.
//
// The style precedes the button, unless StyleInHead is set. Browsers accept it there,
// but valid HTML has it in the head of the page.
//
// If Action, Image, About or Method is not valid, Button returns an error before it writes
// anything; any other error is w's.
func Button(w io.Writer, o ButtonOptions) error {
	v, err := o.view()
	if err != nil {
		return err
	}
	return writeTemplate(w, "button", v)
}

// MemberButton is the text button as [oidcrp.Member] has it: a link to loginURL with its
// style. It returns nothing if loginURL is not valid.
func (e Environment) MemberButton(loginURL, language string) template.HTML {
	var b strings.Builder
	if Button(&b, ButtonOptions{Plus: e.Plus(), Action: loginURL, Language: language, Method: http.MethodGet}) != nil {
		return ""
	}
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
//	{{franceconnectButton .Options}}     the button; Options is a ButtonOptions
//	{{franceconnectButtonStyle .Nonce}}  the style; Nonce is a string
func ButtonFuncMap() template.FuncMap {
	return template.FuncMap{
		"franceconnectButton": func(o ButtonOptions) (template.HTML, error) {
			var b strings.Builder
			err := Button(&b, o)
			return template.HTML(b.String()), err
		},
		"franceconnectButtonStyle": func(nonce string) (template.HTML, error) {
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
		return fmt.Errorf("franceconnect: button: %w", err)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// buttonView is the data of the template.
type buttonView struct {
	Language, Login, Brand     string
	Question, NewWindow, About string
	URL, Group, Class, Image   string
	DSFR, Post                 bool
	Nonce                      string
	CSS                        template.CSS // if empty, no style
}

// words fills in the texts.
func (v *buttonView) words(language string, plus bool) {
	v.Brand, v.About = "FranceConnect", "https://franceconnect.gouv.fr/"
	if plus {
		v.Brand, v.About = "FranceConnect+", "https://franceconnect.gouv.fr/france-connect-plus"
	}
	v.Language, v.Login, v.NewWindow = "fr", "S’identifier avec", "nouvelle fenêtre"
	v.Question = "Qu’est-ce que " + v.Brand + "\u00a0?"
	if tag, _, _ := strings.Cut(language, "-"); strings.EqualFold(tag, "en") {
		v.Language, v.Login, v.NewWindow = "en", "Sign in with", "new window"
		v.Question = "What is " + v.Brand + "?"
	}
}

func (o ButtonOptions) view() (buttonView, error) {
	v := buttonView{DSFR: o.DSFR, Nonce: o.Nonce, Group: "franceconnect-group", Class: "franceconnect-button"}
	v.words(o.Language, o.Plus)
	v.About = cmp.Or(o.About, v.About)
	switch {
	case o.DSFR && o.Plus:
		v.Group, v.Class = "fr-connect-group", "fr-connect fr-connect--plus"
	case o.DSFR:
		v.Group, v.Class = "fr-connect-group", "fr-connect"
	case o.Image != "":
		v.Class, v.Image = "franceconnect-image", o.Image
	}
	if !o.DSFR && !o.StyleInHead {
		v.CSS = template.CSS(buttonCSS)
	}
	switch method := cmp.Or(strings.ToUpper(o.Method), http.MethodPost); method {
	case http.MethodPost, http.MethodGet:
		v.Post = method == http.MethodPost
	default:
		return v, fmt.Errorf("franceconnect: button: method %q must be post or get", o.Method)
	}
	if _, err := parseAddress("image", cmp.Or(v.Image, "/")); err != nil {
		return v, err
	}
	if _, err := parseAddress("about", v.About); err != nil {
		return v, err
	}
	var err error
	v.URL, err = o.loginURL()
	return v, err
}

// parseAddress refuses what is neither a path nor an http or https URL.
func parseAddress(name, address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("franceconnect: button: %s: %w", name, err)
	}
	web := (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
	if !web && (u.Scheme != "" || u.Host != "" || !strings.HasPrefix(u.Path, "/")) {
		return nil, fmt.Errorf("franceconnect: button: %s %q must be a path or an http or https URL", name, address)
	}
	return u, nil
}

// loginURL returns Action with ReturnTo in it.
func (o ButtonOptions) loginURL() (string, error) {
	action := cmp.Or(o.Action, "/auth/login")
	u, err := parseAddress("action", action)
	if err != nil || o.ReturnTo == "" {
		return action, err
	}
	query := u.Query()
	query.Set("return_to", o.ReturnTo)
	u.RawQuery = query.Encode()
	return u.String(), nil
}
