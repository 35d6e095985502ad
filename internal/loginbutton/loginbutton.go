// Package loginbutton renders the buttons that start a sign-in with a provider of the
// State, each with the link about the provider beside it.
package loginbutton

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

//go:embed button.html
var buttonHTML string

// A Kind is the button of one provider. It is safe for concurrent use. Make it with New.
type Kind struct {
	// CSS is the style of the button.
	CSS template.CSS

	owner     string
	templates func() *template.Template
}

// New returns a Kind. owner is the package that errors name, label defines the template
// "label" of what is on the button, and css is the style.
func New(owner, label, css string) *Kind {
	return &Kind{
		owner: owner, CSS: template.CSS(css),
		templates: sync.OnceValue(func() *template.Template {
			return template.Must(template.Must(template.New("").Parse(buttonHTML)).Parse(label))
		}),
	}
}

// A View is the data of a button.
type View struct {
	Language                   string
	Group, Class               string // of the elements
	About, Question, NewWindow string // of the link beside the button
	Label                      any    // for the template "label"
	CSS                        template.CSS
	Nonce                      string // of the style, which is left out if CSS is empty

	// Post and URL are set by Button.
	Post bool
	URL  string
}

// A Start is where a button leads.
type Start struct {
	Action, ReturnTo string // if Action is empty, "/auth/login"
	Method           string // "post" or "get" in any case; if empty, post
}

// Button writes the button. If where it leads is not valid, it returns an error before it
// writes anything; any other error is w's.
func (k *Kind) Button(w io.Writer, v View, to Start) error {
	switch method := cmp.Or(strings.ToUpper(to.Method), http.MethodPost); method {
	case http.MethodPost, http.MethodGet:
		v.Post = method == http.MethodPost
	default:
		return fmt.Errorf("%s: button: method %q must be post or get", k.owner, to.Method)
	}
	var err error
	if v.URL, err = k.url(to); err != nil {
		return err
	}
	return k.write(w, "button", v)
}

// Style writes the style element. If nonce is empty, the element has none.
func (k *Kind) Style(w io.Writer, nonce string) error {
	return k.write(w, "style", View{Nonce: nonce, CSS: k.CSS})
}

// write writes the output of a template, or nothing if the template fails.
func (k *Kind) write(w io.Writer, name string, v View) error {
	var b bytes.Buffer
	if err := k.templates().ExecuteTemplate(&b, name, v); err != nil {
		return fmt.Errorf("%s: button: %w", k.owner, err)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// url returns the action with the path to return to in it.
func (k *Kind) url(to Start) (string, error) {
	action := cmp.Or(to.Action, "/auth/login")
	u, err := k.parse("action", action)
	if err != nil || to.ReturnTo == "" {
		return action, err
	}
	query := u.Query()
	query.Set("return_to", to.ReturnTo)
	u.RawQuery = query.Encode()
	return u.String(), nil
}

// Check refuses an address that is neither a path nor an http or https URL. name is the
// option that has it.
func (k *Kind) Check(name, address string) error {
	_, err := k.parse(name, address)
	return err
}

func (k *Kind) parse(name, address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("%s: button: %s: %w", k.owner, name, err)
	}
	web := (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
	path := u.Scheme == "" && u.Host == "" && strings.HasPrefix(u.Path, "/")
	if !web && !path || strings.Contains(address, `\`) { // which is a slash to browsers
		return nil, fmt.Errorf("%s: button: %s %q must be a path or an http or https URL", k.owner, name, address)
	}
	return u, nil
}

// English reports whether a language is English, a tag such as "en-GB".
func English(language string) bool {
	tag, _, _ := strings.Cut(language, "-")
	return strings.EqualFold(tag, "en")
}

// FuncMap returns functions for html/template: that called name, for the button, and that
// called name and "Style".
func FuncMap[Options any](name string, button func(io.Writer, Options) error, style func(io.Writer, string) error) template.FuncMap {
	return template.FuncMap{
		name:           func(o Options) (template.HTML, error) { return HTML(button, o) },
		name + "Style": func(nonce string) (template.HTML, error) { return HTML(style, nonce) },
	}
}

// HTML returns what write writes, and nothing if it fails.
func HTML[Options any](write func(io.Writer, Options) error, o Options) (template.HTML, error) {
	var b strings.Builder
	if err := write(&b, o); err != nil {
		return "", err
	}
	return template.HTML(b.String()), nil
}
