package proconnect

// This file renders the button that starts a sign-in, with the link that ProConnect
// requires beside it.

import (
	_ "embed"
	"html/template"
	"io"
	"net/http"
	"strings"

	"github.com/oidcrp/oidcrp/internal/loginbutton"
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
	return button.Button(w, o.view(), loginbutton.Start{Action: o.Action, ReturnTo: o.ReturnTo, Method: o.Method})
}

// MemberButton is the button as [oidcrp.Member] has it: a link to loginURL with its
// style.
func MemberButton(loginURL, language string) template.HTML {
	// Without the button, the page shows one of its own.
	html, _ := loginbutton.HTML(Button, ButtonOptions{Action: loginURL, Language: language, Method: http.MethodGet})
	return html
}

// ButtonStyle writes the style element of the button, for the head of a page whose
// buttons have StyleInHead set. If nonce is empty, the element has none. The error is
// w's.
func ButtonStyle(w io.Writer, nonce string) error { return button.Style(w, nonce) }

// ButtonFuncMap returns functions for html/template:
//
//	{{proconnectButton .Options}}     the button; Options is a ButtonOptions
//	{{proconnectButtonStyle .Nonce}}  the style; Nonce is a string
func ButtonFuncMap() template.FuncMap {
	return loginbutton.FuncMap("proconnectButton", Button, ButtonStyle)
}

//go:embed button.html
var buttonHTML string

//go:embed button.css
var buttonCSS string

var button = loginbutton.New("proconnect", buttonHTML, buttonCSS)

// buttonLabel is the data of the template "label".
type buttonLabel struct {
	Login      template.HTML // so that the apostrophe is not escaped
	DSFR, Bare bool
}

// buttonText holds the texts that ProConnect prescribes. They may be translated, but
// not reworded.
type buttonText struct {
	language, login, question, newWindow string
}

var (
	buttonFrench  = buttonText{"fr", "S'identifier avec", "Qu’est-ce que ProConnect ?", "nouvelle fenêtre"}
	buttonEnglish = buttonText{"en", "Sign in with", "What is ProConnect?", "new window"}
)

func (o ButtonOptions) view() loginbutton.View {
	text := buttonFrench
	if loginbutton.English(o.Language) {
		text = buttonEnglish
	}
	v := loginbutton.View{
		Language: text.language, Question: text.question, NewWindow: text.newWindow, Nonce: o.Nonce,
		Group: "proconnect-group", Class: "proconnect-button", About: "https://www.proconnect.gouv.fr/",
	}
	switch {
	case o.DSFR:
		// The design system's example has this address and this apostrophe.
		v.Group, v.Class, v.About = "fr-connect-group", "fr-connect fr-connect--pro", "https://proconnect.gouv.fr/"
		text.login = strings.ReplaceAll(text.login, "'", "’")
	case !o.Bare && !o.StyleInHead:
		v.CSS = button.CSS
	}
	v.Label = buttonLabel{Login: template.HTML(text.login), DSFR: o.DSFR, Bare: o.Bare}
	return v
}
