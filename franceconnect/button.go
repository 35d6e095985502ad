package franceconnect

// This file renders the button that starts a sign-in, with the link beside it.

import (
	"cmp"
	_ "embed"
	"html/template"
	"io"
	"net/http"

	"github.com/oidcrp/oidcrp/internal/loginbutton"
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
	return button.Button(w, v, loginbutton.Start{Action: o.Action, ReturnTo: o.ReturnTo, Method: o.Method})
}

// MemberButton is the text button as [oidcrp.Member] has it: a link to loginURL with its
// style. It returns nothing if loginURL is not valid.
func (e Environment) MemberButton(loginURL, language string) template.HTML {
	// Without the button, the page shows one of its own.
	html, _ := loginbutton.HTML(Button,
		ButtonOptions{Plus: e.Plus(), Action: loginURL, Language: language, Method: http.MethodGet})
	return html
}

// ButtonStyle writes the style element of the button, for the head of a page whose
// buttons have StyleInHead set. If nonce is empty, the element has none. The error is
// w's.
func ButtonStyle(w io.Writer, nonce string) error { return button.Style(w, nonce) }

// ButtonFuncMap returns functions for html/template:
//
//	{{franceconnectButton .Options}}     the button; Options is a ButtonOptions
//	{{franceconnectButtonStyle .Nonce}}  the style; Nonce is a string
func ButtonFuncMap() template.FuncMap {
	return loginbutton.FuncMap("franceconnectButton", Button, ButtonStyle)
}

//go:embed button.html
var buttonHTML string

//go:embed button.css
var buttonCSS string

var button = loginbutton.New("franceconnect", buttonHTML, buttonCSS)

// buttonLabel is the data of the template "label".
type buttonLabel struct {
	Login, Brand, Image string
	DSFR                bool
}

// words returns a view with the texts, and the label's.
func words(language string, plus bool) (v loginbutton.View, l buttonLabel) {
	l.Brand, v.About = "FranceConnect", "https://franceconnect.gouv.fr/"
	if plus {
		l.Brand, v.About = "FranceConnect+", "https://franceconnect.gouv.fr/france-connect-plus"
	}
	v.Language, l.Login, v.NewWindow = "fr", "S’identifier avec", "nouvelle fenêtre"
	v.Question = "Qu’est-ce que " + l.Brand + "\u00a0?"
	if loginbutton.English(language) {
		v.Language, l.Login, v.NewWindow = "en", "Sign in with", "new window"
		v.Question = "What is " + l.Brand + "?"
	}
	return v, l
}

func (o ButtonOptions) view() (loginbutton.View, error) {
	v, label := words(o.Language, o.Plus)
	v.Nonce, v.About = o.Nonce, cmp.Or(o.About, v.About)
	v.Group, v.Class = "franceconnect-group", "franceconnect-button"
	switch label.DSFR = o.DSFR; {
	case o.DSFR && o.Plus:
		v.Group, v.Class = "fr-connect-group", "fr-connect fr-connect--plus"
	case o.DSFR:
		v.Group, v.Class = "fr-connect-group", "fr-connect"
	case o.Image != "":
		v.Class, label.Image = "franceconnect-image", o.Image
	}
	if !o.DSFR && !o.StyleInHead {
		v.CSS = button.CSS
	}
	v.Label = label
	if err := button.Check("image", cmp.Or(label.Image, "/")); err != nil {
		return v, err
	}
	return v, button.Check("about", v.About)
}
