package interop

import (
	"fmt"
	"html/template"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	pc "github.com/oidcrp/oidcrp/proconnect"
)

// TestAxeFindsWhatIsWrong: the engine runs, and reports the faults of a bad page.
func TestAxeFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	b := newChromium(t)
	b.open("data:text/html," + url.PathEscape(`<title>x</title><body style="width:900px">
		<img src="data:,"><p style="color:#999;background:#fff">pale</p><a href="x"></a>`))
	found := strings.Join(b.runAxe().Violations, "\n")
	for _, id := range []string{"html-has-lang", "image-alt", "color-contrast", "link-name", "page-has-heading-one"} {
		if !strings.Contains(found, id+"\n") {
			t.Errorf("axe does not find %s in\n%s", id, found)
		}
	}
}

// TestServiceIsAccessible: every page that a person of examples/proconnect may meet, in both
// languages.
func TestServiceIsAccessible(t *testing.T) {
	t.Parallel()
	chromium := newChromium(t)
	w := newService(t, nil, nil)
	for i, language := range []string{"fr", "en"} {
		t.Run(language, func(t *testing.T) {
			b := chromium.profile(t)
			b.prefer(language)
			// check takes the text that says that this is the page, in both languages.
			check := func(name, path string, texts ...string) {
				t.Helper()
				b.shows(w.base+path, texts[i])
				// The example itself speaks French only.
				if got := b.ask("document.documentElement.lang"); got != language && strings.HasPrefix(path, "/auth/") {
					t.Errorf("%s is in %q", name, got)
				}
				b.wantAccessible(name + " " + language)
			}
			b.open(w.base + "/")
			check("public", "/", "ProConnect", "ProConnect")
			b.wantFocusRings("public "+language, 7) // with the menu, the last two are the button's
			b.open(w.base + "/auth/callback?code=x&state=x")
			check("lost", "/auth/callback", "gardez un seul onglet", "keep one tab")
			b.wantFocusRings("lost "+language, 2)
			b.wantEdge("lost "+language, ".button")

			b.open(w.base + "/agent")
			b.fill(`input[name="fails"]`, "Y500015")
			b.as(bob)
			b.click(`a[href*="/error"]`)
			check("failure", "/auth/callback", "réservé aux agents publics", "for public agents")
			b.open(w.base + "/sensitive")
			b.as(carol)
			check("refused", "/auth/callback", "second facteur", "second factor")
			w.provider.control(t, "forget")
			b.open(w.base + "/agent")
			w.provider.control(t, "forget/token")
			b.as(bob)
			check("over", "/auth/callback", "Votre session ProConnect est terminée", "session has ended")

			b.open(w.base + "/agent")
			b.as(bob)
			check("agent", "/agent", "Bob Durand", "Bob Durand")
			b.wantEdge("agent "+language, signOutButton)
			b.open(w.base + "/public-agents")
			check("no public agent", "/public-agents", "Pour demander l’accès", "To ask for access")
			b.open(w.base + "/auth/logout")
			check("confirm", "/auth/logout", "Voulez-vous vous déconnecter", "Do you want to sign out")
			b.wantFocusRings("confirm "+language, 2)
			b.click(signOutButton)
			check("signed out", "/auth/logout/callback", "Votre déconnexion est effectuée", "You are signed out")
		})
	}
}

// wantFocusRings goes through the first elements of the page with the keyboard.
func (b *tab) wantFocusRings(name string, elements int) {
	b.t.Helper()
	for i := range elements {
		b.do(chromedp.KeyEvent(kb.Tab))
		for _, scheme := range []string{"light", "dark"} {
			b.put(look{1280, scheme})
			where := fmt.Sprintf("%s, element %d, %s", name, i+1, scheme)
			b.focus().wantRing(b.t, where)
			b.screenshot(where)
		}
	}
}

// buttonPage is a page in the browser's colours, under a Content-Security-Policy that allows
// nothing but its styles.
var buttonPage = template.Must(template.New("").Funcs(pc.ButtonFuncMap()).Parse(`<!doctype html>
<html lang="{{.Language}}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Service</title>
<style nonce="{{.Nonce}}">
:root{color-scheme:light dark}
body{background:light-dark(#fff,#161616);font-family:sans-serif}
</style>
{{if .StyleInHead}}{{proconnectButtonStyle .Nonce}}{{end}}</head>
<body><main><h1>Service</h1>
{{proconnectButton .}}
</main></body></html>
`))

// buttons serves the button in every way: /LANGUAGE/STYLE/METHOD.
func buttons(t testing.TB) string {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{language}/{style}/{method}", func(w http.ResponseWriter, r *http.Request) {
		style := r.PathValue("style")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-a1b2'; form-action 'self'")
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if err := buttonPage.Execute(w, pc.ButtonOptions{
			Language: r.PathValue("language"), Method: r.PathValue("method"), Nonce: "a1b2",
			DSFR: style == "dsfr", Bare: style == "bare", StyleInHead: style == "head",
		}); err != nil {
			t.Error(err)
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// TestButtonIsAccessible: in both languages and every style, as a button and as a link, by its
// name, its colours and its focus ring.
func TestButtonIsAccessible(t *testing.T) {
	t.Parallel()
	base := buttons(t)
	b := newChromium(t)
	labels := map[string][2]string{
		"fr": {"S'identifier avec ProConnect", "Qu’est-ce que ProConnect ?"},
		"en": {"Sign in with ProConnect", "What is ProConnect?"},
	}
	for language, label := range labels {
		for _, style := range []string{"plain", "head", "dsfr", "bare"} {
			for _, method := range []string{"post", "get"} {
				name := strings.Join([]string{"button", language, style, method}, " ")
				b.open(fmt.Sprintf("%s/%s/%s/%s", base, language, style, method))
				b.wantAccessible(name)

				login, question := label[0], label[1]
				if style == "dsfr" {
					login = strings.ReplaceAll(login, "'", "’")
				}
				want := map[string][]string{"button": {login}, "link": {question}}
				if method == "get" {
					want = map[string][]string{"button": nil, "link": {login, question}}
				}
				for role, names := range want {
					if got := b.names(role); !slices.Equal(got, names) {
						t.Errorf("%s: %ss %q, want %q", name, role, got, names)
					}
				}
				if style == "plain" || style == "head" {
					b.wantFocusRings(name, 2)
					b.wantEdge(name, signInButton)
				}
			}
		}
	}
}
