package franceconnect

import (
	"errors"
	"flag"
	"html/template"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var updateButtons = flag.Bool("update", false, "rewrite the files of testdata/button")

const hostileText = `"'><script>alert(1)</script>&`

// buttonCases are the buttons of testdata/button, by the name of the file.
var buttonCases = []struct {
	file string
	o    ButtonOptions
}{
	{"plain-fr", ButtonOptions{}},
	{"plain-en", ButtonOptions{Language: "en-GB", Nonce: "bm9uY2U+/w=="}},
	{"plain-plus-link", ButtonOptions{Plus: true, Method: "get", ReturnTo: "/dossiers/12?tab=2&x=é"}},
	{"plain-hostile", ButtonOptions{
		Action: "/login?a=" + hostileText, ReturnTo: hostileText, Nonce: hostileText, Language: hostileText, About: "/" + hostileText,
	}},
	{"image", ButtonOptions{Image: "/static/franceconnect.svg", StyleInHead: true}},
	{"image-plus-en", ButtonOptions{Image: "https://app.example/fcp.png", Plus: true, Language: "EN", StyleInHead: true, Method: "GET"}},
	{"image-hostile", ButtonOptions{Image: "/" + hostileText, StyleInHead: true}},
	{"dsfr-fr", ButtonOptions{DSFR: true}},
	{"dsfr-plus-en", ButtonOptions{DSFR: true, Plus: true, Language: "en", Image: "/ignored.svg", About: "https://app.example/fc"}},
}

func buttonHTMLOf(t *testing.T, o ButtonOptions) string {
	t.Helper()
	var b strings.Builder
	if err := Button(&b, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
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

// The words and the link that FranceConnect asks for, in each form of the button.
func TestButton_SaysWhoseItIs(t *testing.T) {
	t.Parallel()
	for _, test := range buttonCases {
		brand := "FranceConnect"
		if test.o.Plus {
			brand = "FranceConnect+"
		}
		login, question := "S’identifier avec", "Qu’est-ce que "+brand+"\u00a0?"
		if strings.HasPrefix(strings.ToLower(test.o.Language), "en") {
			login, question = "Sign in with", "What is "+brand+"?"
		}
		// html/template writes a plus as a reference in some contexts.
		got := strings.ReplaceAll(buttonHTMLOf(t, test.o), "&#43;", "+")
		for _, want := range []string{login, brand + "<", ">" + question + "</a>", ` rel="noopener noreferrer"`} {
			if test.o.Image != "" && !test.o.DSFR && want == brand+"<" {
				want = `alt="` + login + " " + brand + `"`
			}
			if !strings.Contains(got, want) {
				t.Errorf("%s has no %q:\n%s", test.file, want, got)
			}
		}
	}
}

func TestButton_LoadsNothingButItsImage(t *testing.T) {
	t.Parallel()
	for _, test := range buttonCases {
		body := buttonHTMLOf(t, test.o)
		for _, mark := range []string{"<script", "<link", "<iframe", "url(", "@import", " style=", " onclick"} {
			if strings.Contains(body, mark) {
				t.Errorf("%s has %q:\n%s", test.file, mark, body)
			}
		}
		image := test.o.Image != "" && !test.o.DSFR
		if strings.Contains(body, "<img") != image || strings.Contains(body, "src=") != image {
			t.Errorf("%s: an image in\n%s", test.file, body)
		}
		if own := !test.o.DSFR && !test.o.StyleInHead; strings.Contains(body, "<style") != own {
			t.Errorf("%s has a style: %v", test.file, !own)
		}
	}
}

func TestButton_InvalidOptionsAreRefused(t *testing.T) {
	t.Parallel()
	for _, o := range []ButtonOptions{
		{Action: "javascript:alert(1)"}, {Action: "//evil.example/login"}, {Action: "login"}, {Action: "https:auth/login"},
		{Action: "/%zz"}, {Action: "/a\nb"}, {Method: "put"},
		{Image: "javascript:alert(1)"}, {Image: "data:image/png;base64,x"}, {Image: "fc.svg"},
		{About: "javascript:alert(1)"}, {About: "data:text/html,x"},
	} {
		var b strings.Builder
		if err := Button(&b, o); err == nil || !strings.HasPrefix(err.Error(), "franceconnect: button: ") || b.Len() > 0 {
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

func TestButtonStyle_IsWhatTheButtonOmits(t *testing.T) {
	t.Parallel()
	for _, o := range []ButtonOptions{{}, {Nonce: hostileText}, {Image: "/fc.svg", Nonce: "bm9uY2U="}} {
		var head strings.Builder
		if err := ButtonStyle(&head, o.Nonce); err != nil {
			t.Fatal(err)
		}
		whole := buttonHTMLOf(t, o)
		o.StyleInHead = true
		if rest := buttonHTMLOf(t, o); head.String()+rest != whole {
			t.Errorf("head and button are\n%s%s\nwant\n%s", head.String(), rest, whole)
		}
	}
}

func TestButtonFuncMap_InATemplate(t *testing.T) {
	t.Parallel()
	page := template.Must(template.New("").Funcs(ButtonFuncMap()).Parse(
		`<head>{{franceconnectButtonStyle .Nonce}}</head><main>{{franceconnectButton .}}</main>`))
	o := ButtonOptions{Nonce: "bm9uY2U=", StyleInHead: true}
	var got, style strings.Builder
	if err := page.Execute(&got, o); err != nil {
		t.Fatal(err)
	}
	if err := ButtonStyle(&style, o.Nonce); err != nil {
		t.Fatal(err)
	}
	if want := "<head>" + style.String() + "</head><main>" + buttonHTMLOf(t, o) + "</main>"; got.String() != want {
		t.Errorf("the page is\n%s\nwant\n%s", got.String(), want)
	}
	if err := page.Execute(io.Discard, ButtonOptions{Method: "put"}); err == nil {
		t.Error("a button that is refused is left out in silence")
	}
}

func TestMemberButton_IsALinkOfItsPlatform(t *testing.T) {
	t.Parallel()
	for e, brand := range map[Environment]string{Production: "FranceConnect<", PlusProduction: "FranceConnect&#43;<"} {
		got := string(e.MemberButton("/auth/citizens/login?return_to=%2F", "fr"))
		if !strings.Contains(got, `<a class="franceconnect-button" href="/auth/citizens/login?return_to=%2F">`) ||
			!strings.Contains(got, "<strong>"+brand) {
			t.Errorf("%s: %s", e, got)
		}
		if got := e.MemberButton("javascript:x", "fr"); got != "" {
			t.Errorf("a script is linked: %s", got)
		}
	}
}
