package proconnect

import (
	"encoding/xml"
	"errors"
	"flag"
	"html/template"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

var updateButtons = flag.Bool("update", false, "rewrite the files of testdata/button")

const hostileText = `"'><script>alert(1)</script>&`

// buttonCases are the buttons of testdata/button, by the name of the file.
var buttonCases = []struct {
	file string
	o    ButtonOptions
}{
	{"plain-fr", ButtonOptions{}},
	{"plain-en", ButtonOptions{Language: "en"}},
	{"plain-nonce", ButtonOptions{Nonce: "bm9uY2U+/w=="}},
	{"plain-link", ButtonOptions{Method: "get", ReturnTo: "/dossiers/12?tab=2&x=é"}},
	{"plain-style-in-head", ButtonOptions{StyleInHead: true, Nonce: "bm9uY2U="}},
	{"plain-hostile", ButtonOptions{
		Action: "/login?a=" + hostileText, ReturnTo: hostileText, Nonce: hostileText, Language: hostileText,
	}},

	{"bare-fr", ButtonOptions{Bare: true}},
	{"bare-en-link", ButtonOptions{Bare: true, Language: "en-GB", Method: "GET"}},

	{"dsfr-fr", ButtonOptions{DSFR: true}},
	{"dsfr-en", ButtonOptions{DSFR: true, Language: "EN", Nonce: "bm9uY2U="}},
	{"dsfr-link", ButtonOptions{DSFR: true, Bare: true, Method: "Get", Action: "https://app.example.org/in?a=b", ReturnTo: "/x"}},
	{"dsfr-hostile", ButtonOptions{DSFR: true, Action: "/" + hostileText, ReturnTo: hostileText}},
}

func TestMemberButton_IsALinkWithItsStyle(t *testing.T) {
	t.Parallel()
	const login = "/auth/agents/login?return_to=%2Fx&step_up=a"
	for language, label := range map[string]string{"fr": "S'identifier avec", "en": "Sign in with", "de": "S'identifier avec"} {
		got := string(MemberButton(login, language))
		if !strings.Contains(got, `href="`+strings.ReplaceAll(login, "&", "&amp;")+`"`) ||
			!strings.Contains(got, label+" <strong>ProConnect</strong>") || !strings.HasPrefix(got, "<style>") {
			t.Errorf("in %s it is\n%s", language, got)
		}
	}
	if got := MemberButton("javascript:x", "fr"); got != "" {
		t.Errorf("for another kind of URL it is\n%s", got)
	}
}

func TestButton_Markup(t *testing.T) {
	t.Parallel()
	for _, test := range buttonCases {
		file := filepath.Join("testdata", "button", test.file+".html")
		got := buttonHTMLOf(t, test.o)
		if *updateButtons {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s is\n%s\nwant\n%s", test.file, got, want)
		}
	}
}

func TestButton_AccessibleNames(t *testing.T) {
	t.Parallel()
	for _, test := range buttonCases {
		b := readButton(t, buttonHTMLOf(t, test.o))
		name, question, after, language := "S'identifier avec ProConnect", "Qu’est-ce que ProConnect ?", "nouvelle fenêtre", "fr"
		if strings.HasPrefix(strings.ToLower(test.o.Language), "en") {
			name, question, after, language = "Sign in with ProConnect", "What is ProConnect?", "new window", "en"
		}
		// The design system writes the typographic apostrophe.
		if got := strings.ReplaceAll(b.name, "’", "'"); got != name || b.language != language {
			t.Errorf("%s is named %q in %q", test.file, b.name, b.language)
		}
		if b.about.text != question || b.about.attributes["title"] != question+" - "+after ||
			b.about.attributes["target"] != "_blank" || b.about.attributes["rel"] != "noopener noreferrer" {
			t.Errorf("%s has the link %+v", test.file, b.about)
		}
	}
}

func TestButton_NeedsOnlyANonce(t *testing.T) {
	t.Parallel()
	for _, test := range buttonCases {
		body := buttonHTMLOf(t, test.o)
		b := readButton(t, body)
		own := !test.o.DSFR && !test.o.Bare && !test.o.StyleInHead
		if styled := slices.Contains(b.elements, "style"); styled != own {
			t.Errorf("%s has a style: %v", test.file, styled)
		}
		if own && b.nonce != test.o.Nonce {
			t.Errorf("%s has the nonce %q", test.file, b.nonce)
		}
		for _, name := range []string{"script", "img", "link", "iframe", "use"} {
			if slices.Contains(b.elements, name) {
				t.Errorf("%s has an element %s", test.file, name)
			}
		}
		for _, name := range b.attributes {
			if name == "style" || name == "src" || strings.HasPrefix(name, "on") {
				t.Errorf("%s has an attribute %s", test.file, name)
			}
		}
		if strings.Contains(body, "url(") || strings.Contains(body, "@import") {
			t.Errorf("%s loads something:\n%s", test.file, body)
		}
	}
}

func TestButtonStyle_IsWhatTheButtonOmits(t *testing.T) {
	t.Parallel()
	for _, nonce := range []string{"", "bm9uY2U=", hostileText} {
		var head strings.Builder
		if err := ButtonStyle(&head, nonce); err != nil {
			t.Fatal(err)
		}
		// What is left out of the button is in the head.
		whole := buttonHTMLOf(t, ButtonOptions{Nonce: nonce})
		if rest := buttonHTMLOf(t, ButtonOptions{Nonce: nonce, StyleInHead: true}); head.String()+rest != whole {
			t.Errorf("head and button are\n%s%s\nwant\n%s", head.String(), rest, whole)
		}
		if strings.Contains(head.String(), "nonce") == (nonce == "") {
			t.Errorf("with the nonce %q the style is\n%s", nonce, head.String())
		}
	}
}

func TestButton_LeadsToTheLogin(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ action, returnTo, want string }{
		{"", "", "/auth/login"},
		{"", "/a", "/auth/login?return_to=%2Fa"},
		{"", "/a?b=c&d=e#f", "/auth/login?return_to=%2Fa%3Fb%3Dc%26d%3De%23f"},
		{"", "//evil.example", "/auth/login?return_to=%2F%2Fevil.example"},
		{"/oidc/in", "", "/oidc/in"},
		{"/oidc/in?step_up=x", "/a", "/oidc/in?return_to=%2Fa&step_up=x"},
		{"/oidc/in?return_to=%2Fb", "/a", "/oidc/in?return_to=%2Fa"},
		{"/oidc/in?return_to=%2Fb", "", "/oidc/in?return_to=%2Fb"},
		{"http://localhost:8080/auth/login", "/a", "http://localhost:8080/auth/login?return_to=%2Fa"},
		{"https://app.example.org/auth/login", "", "https://app.example.org/auth/login"},
	} {
		o := ButtonOptions{Action: test.action, ReturnTo: test.returnTo}
		if b := readButton(t, buttonHTMLOf(t, o)); b.url != test.want || !b.post {
			t.Errorf("%q and %q: %q, by post: %v", test.action, test.returnTo, b.url, b.post)
		}
		o.Method = "get"
		if b := readButton(t, buttonHTMLOf(t, o)); b.url != test.want || b.post {
			t.Errorf("%q and %q: the link leads to %q, by post: %v", test.action, test.returnTo, b.url, b.post)
		}
	}
}

func TestButton_InvalidOptionsAreRefused(t *testing.T) {
	t.Parallel()
	for _, o := range []ButtonOptions{
		{Action: "javascript:alert(1)"},
		{Action: "JavaScript:alert(1)", Method: "get"},
		{Action: "data:text/html,x"},
		{Action: "//evil.example/login"},
		{Action: `/\evil.example/login`},
		{Action: "login"},
		{Action: "?return_to=/a"},
		{Action: " /auth/login"},
		{Action: "https:auth/login"},
		{Action: "/%zz"},
		{Action: "/a\nb"},
		{Method: "put"},
		{Method: "dialog"},
	} {
		var b strings.Builder
		if err := Button(&b, o); err == nil || !strings.HasPrefix(err.Error(), "proconnect: button: ") || b.Len() > 0 {
			t.Errorf("%+v: error %v after %q", o, err, b.String())
		}
	}
}

func TestButton_ReturnsTheWritersError(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	gone := errors.New("the browser is gone")
	r.CloseWithError(gone)
	if err := Button(w, ButtonOptions{}); !errors.Is(err, gone) {
		t.Errorf("error %v", err)
	}
	if err := ButtonStyle(w, ""); !errors.Is(err, gone) {
		t.Errorf("error %v", err)
	}
}

func TestButtonFuncMap_InATemplate(t *testing.T) {
	t.Parallel()
	page := template.Must(template.New("").Funcs(ButtonFuncMap()).Parse(
		`<head>{{proconnectButtonStyle .Nonce}}</head><main>{{proconnectButton .}}</main>`))
	o := ButtonOptions{Nonce: "bm9uY2U=", StyleInHead: true}
	var got, style strings.Builder
	if err := page.Execute(&got, o); err != nil {
		t.Fatal(err)
	}
	if err := ButtonStyle(&style, o.Nonce); err != nil {
		t.Fatal(err)
	}
	want := "<head>" + style.String() + "</head><main>" + buttonHTMLOf(t, o) + "</main>"
	if got.String() != want {
		t.Errorf("the page is\n%s\nwant\n%s", got.String(), want)
	}
	if err := page.Execute(io.Discard, ButtonOptions{Method: "put"}); err == nil {
		t.Error("a button that is refused is left out in silence")
	}
}

func TestButton_StartsALogin(t *testing.T) {
	t.Parallel()
	provider := oidctest.NewServer(t, oidctest.Config{Clients: []oidctest.Client{{ID: "service", Secret: strings.Repeat("5", 64)}}})
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	client, err := oidcrp.New(oidcrp.Config{
		Issuer: provider.Issuer(), ClientID: "service", ClientSecret: strings.Repeat("5", 64),
		BaseURL: server.URL, CookieKeys: oidcrp.Keys(make([]byte, 32)),
	})
	if err != nil {
		t.Fatal(err)
	}
	handler = client.Middleware(http.NotFoundHandler())
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, method := range []string{"POST", "GET"} {
		b := readButton(t, buttonHTMLOf(t, ButtonOptions{Method: method, ReturnTo: "/dossiers/12?tab=2"}))
		req, err := http.NewRequest(method, server.URL+b.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "text/html")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
		res, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		to, err := url.Parse(res.Header.Get("Location"))
		if err != nil || !strings.HasPrefix(to.String(), provider.Issuer()) || to.Query().Get("client_id") != "service" {
			t.Errorf("%s: %s to %v, error %v", method, res.Status, to, err)
		}
	}
}

func buttonHTMLOf(t *testing.T, o ButtonOptions) string {
	t.Helper()
	var b strings.Builder
	if err := Button(&b, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// aButton is what a browser makes of the markup.
type aButton struct {
	name, language, url string
	post                bool
	nonce               string
	about               aLink
	elements            []string
	attributes          []string
}

type aLink struct {
	text       string
	attributes map[string]string
}

// readButton parses the markup as XML, which it is by design. Text that escaped from an
// attribute would appear as elements.
func readButton(t *testing.T, body string) aButton {
	t.Helper()
	var b aButton
	var text strings.Builder // of the button, the link or anything else
	var attributes map[string]string
	decoder := xml.NewDecoder(strings.NewReader("<body>" + body + "</body>"))
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, body)
		}
		switch token := token.(type) {
		case xml.StartElement:
			start := buttonAttributes(token)
			b.see(token.Name.Local, start)
			if name := token.Name.Local; name == "button" || name == "a" {
				text.Reset()
				attributes = start
			}
		case xml.CharData:
			text.Write(token)
		case xml.EndElement:
			b.close(token.Name.Local, strings.Join(strings.Fields(text.String()), " "), attributes)
		}
	}
	return b
}

func buttonAttributes(start xml.StartElement) map[string]string {
	attributes := make(map[string]string)
	for _, attribute := range start.Attr {
		attributes[attribute.Name.Local] = attribute.Value
	}
	return attributes
}

func (b *aButton) see(name string, attributes map[string]string) {
	b.elements = append(b.elements, name)
	for name := range attributes {
		b.attributes = append(b.attributes, name)
	}
	switch name {
	case "style":
		b.nonce = attributes["nonce"]
	case "div":
		b.language = attributes["lang"]
	case "form":
		b.url, b.post = attributes["action"], attributes["method"] == "post"
	}
}

func (b *aButton) close(name, text string, attributes map[string]string) {
	switch {
	case name == "button":
		b.name = text
	case name == "a" && attributes["target"] != "":
		b.about = aLink{text, attributes}
	case name == "a":
		b.name, b.url = text, attributes["href"]
	}
}
