package oidcrp_test

import (
	"bytes"
	"encoding/base64"
	"html"
	"html/template"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/proconnect"
)

// Images of each kind that a logo may be.
var (
	pngLogo  = []byte("\x89PNG\r\n\x1a\n\x00\x00")
	gifLogo  = []byte("GIF89a\x01\x00")
	jpegLogo = []byte("\xff\xd8\xff\xe0\x00\x10JFIF")
	webpLogo = []byte("RIFF\x10\x00\x00\x00WEBPVP8 ")
	svgLogo  = []byte("<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 8 8\"><circle cx=\"4\" cy=\"4\" r=\"4\"/></svg>")
)

// choicePage returns the page for the choice as a browser in a language gets it.
func (a *groupApp) choicePage(t *testing.T, language string) (http.Header, string) {
	t.Helper()
	res, body := a.asks(t, a.provider.Browser(), "GET", "/auth?return_to=/tab/1", acceptHTML, navigate, "Accept-Language: "+language)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("the page answers %s\n%s", res.Status, body)
	}
	return res.Header, body
}

func TestGroupChoice_SaysWhatToDoInEachLanguage(t *testing.T) {
	t.Parallel()
	app := newGroupApp(t, groupSetup{
		agents: func(cfg *oidcrp.Config) {
			cfg.Pages = oidcrp.Pages{AppName: "Dossiers", Texts: map[string]map[string]string{
				"de": {"choose.title": "Anmelden", "choose.button": "Mit {name} anmelden"},
			}}
		},
		members: func(m []oidcrp.Member) { m[1].Hint = "Pour les usagers" },
	})
	for language, texts := range map[string][]string{
		"en": {"<h1>Sign in</h1>", "Choose how to sign in", "Sign in with AgentConnect", "Sign in with CitizenConnect", "Home page"},
		"fr": {"<h1>Se connecter</h1>", "Choisissez votre moyen", "Se connecter avec AgentConnect", "Se connecter avec CitizenConnect", "Page d’accueil"},
		"de": {"<h1>Anmelden</h1>", "Choose how to sign in", "Mit AgentConnect anmelden"},
	} {
		h, body := app.choicePage(t, language)
		for _, text := range append(texts, "Dossiers", `<html lang="`+language+`">`, `<p id="hint-2">Pour les usagers</p>`, `aria-describedby="hint-2"`) {
			if !strings.Contains(body, text) {
				t.Errorf("in %s the page lacks %q:\n%s", language, text, body)
			}
		}
		if strings.Contains(body, "hint-1") || strings.Contains(body, "<script") || strings.Contains(body, "<form") {
			t.Errorf("in %s the page has too much:\n%s", language, body)
		}
		if h.Get("Content-Language") != language || h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("in %s the header is %v", language, h)
		}
	}
}

func TestGroupChoice_NamesAndMarksAreData(t *testing.T) {
	t.Parallel()
	const hostile = `</a><script>alert("x")</script>`
	for kind, logo := range map[string][]byte{
		"image/png": pngLogo, "image/gif": gifLogo, "image/jpeg": jpegLogo, "image/webp": webpLogo, "image/svg+xml": svgLogo,
	} {
		app := newGroupApp(t, groupSetup{members: func(m []oidcrp.Member) {
			m[0].Logo, m[0].Name, m[0].Hint = bytes.Clone(logo), hostile, hostile
			m[0].LoginURL = "https://evil.example/" // does not count
		}})
		h, body := app.choicePage(t, "en")
		oidcrp.WantPolicy(t, kind, h.Get("Content-Security-Policy"), body)
		image := `<img src="data:` + kind + ";base64," + base64.StdEncoding.EncodeToString(logo) + `" alt=""`
		if !strings.Contains(html.UnescapeString(body), image) {
			t.Errorf("%s: no %s in\n%s", kind, image, body)
		}
		if strings.Contains(body, "<script>") || strings.Contains(body, "evil.example") {
			t.Errorf("%s: it is taken for markup:\n%s", kind, body)
		}
		if policy := strings.Split(h.Get("Content-Security-Policy"), "; "); !slices.Contains(policy, "img-src data:") || len(policy) != 5 {
			t.Errorf("%s: the policy is %q", kind, policy)
		}
	}
	// Other pages load no image.
	app := newGroupApp(t, groupSetup{})
	res, _ := app.asks(t, app.provider.Browser(), "GET", "/auth/agents/logout/callback", acceptHTML)
	if policy := res.Header.Get("Content-Security-Policy"); strings.Contains(policy, "img-src") {
		t.Errorf("another page has the policy %s", policy)
	}
}

// Some editors put a byte order mark before an SVG.
func TestGroupChoice_ALogoMayBeginWithAByteOrderMark(t *testing.T) {
	t.Parallel()
	app := newGroupApp(t, groupSetup{members: func(m []oidcrp.Member) { m[0].Logo = append([]byte("\ufeff"), svgLogo...) }})
	if _, body := app.choicePage(t, "en"); !strings.Contains(html.UnescapeString(body), `<img src="data:image/svg+xml;base64,`) {
		t.Errorf("there is no logo in\n%s", body)
	}
}

func TestGroupChoice_ShowsAnOfficialButton(t *testing.T) {
	t.Parallel()
	app := newGroupApp(t, groupSetup{members: func(m []oidcrp.Member) {
		m[0].Button, m[0].Hint = proconnect.MemberButton, "Agents publics"
		m[1].Button = func(string, string) template.HTML { return "" } // has none in this language
	}})
	for language, label := range map[string]string{"fr": "S'identifier avec <strong>ProConnect</strong>", "en": "Sign in with <strong>ProConnect</strong>"} {
		h, body := app.choicePage(t, language)
		// The policy lets its style through, which is in the head.
		oidcrp.WantPolicy(t, language, h.Get("Content-Security-Policy"), body)
		head, rest, _ := strings.Cut(body, "</head>")
		if !strings.Contains(head, ".proconnect-button{") || strings.Contains(rest, "<style") {
			t.Errorf("the style is not in the head:\n%s", body)
		}
		for _, text := range []string{label, `<a class="proconnect-button" href="/auth/agents/login?return_to=%2Ftab%2F1"`, "Agents publics", "avec CitizenConnect"} {
			if !strings.Contains(rest, strings.Replace(text, "avec Citizen", map[string]string{"fr": "avec ", "en": "with "}[language]+"Citizen", 1)) {
				t.Errorf("in %s the page lacks %q:\n%s", language, text, rest)
			}
		}
		// The hint cannot describe a button that is not ours: it is read before it.
		if strings.Index(rest, "Agents publics") > strings.Index(rest, `class="proconnect-button"`) {
			t.Errorf("the hint is after the button:\n%s", rest)
		}
	}
}

func TestGroupChoice_AnswersCarefully(t *testing.T) {
	t.Parallel()
	app := newGroupApp(t, groupSetup{})
	signedIn := app.signInAt(t, app.citizens, nil, "bruno")
	for _, browser := range []*http.Client{app.provider.Browser(), signedIn} {
		page := 200
		if browser == signedIn {
			page = 302
		}
		for _, test := range []struct {
			what, method string
			headers      []string
			status       int
		}{
			{"a page load", "GET", []string{acceptHTML, navigate}, page},
			{"HEAD", "HEAD", []string{acceptHTML}, page},
			{"a program", "GET", nil, page},
			{"a prefetch", "GET", []string{acceptHTML, navigate, "Sec-Purpose: prefetch"}, 204},
			{"a POST", "POST", []string{acceptHTML}, 405},
			{"a script", "GET", []string{"Sec-Fetch-Mode: cors"}, 401},
			{"an image", "GET", []string{"Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"}, 401},
			{"htmx", "GET", []string{"HX-Request: true"}, 401},
		} {
			want := test.status
			if test.method == "HEAD" && want == 302 {
				want = 303
			}
			if browser == signedIn && want == 401 {
				want = 302
			}
			before := app.provider.Count(oidctest.EndpointDiscovery)
			res, body := app.asks(t, browser, test.method, "/auth?return_to=/tab/1", test.headers...)
			if res.StatusCode != want || len(res.Cookies()) > 0 || app.provider.Count(oidctest.EndpointDiscovery) != before {
				t.Errorf("%s: %s, cookies %v", test.what, res.Status, res.Cookies())
			}
			if test.method == "HEAD" && body != "" {
				t.Errorf("%s: a body of %d bytes", test.what, len(body))
			}
			if want == 401 && jsonMember(t, body, "login_url") != "/auth?return_to=%2Ftab%2F1" {
				t.Errorf("%s: %s", test.what, body)
			}
			if got := res.Header.Get("HX-Redirect"); want == 401 && test.what == "htmx" && got != "/auth?return_to=%2Ftab%2F1" {
				t.Errorf("%s: HX-Redirect is %q", test.what, got)
			}
		}
	}
	app.wantWhere(t, signedIn, brunoPerson)
}

// Behind http.StripPrefix, the path that the browser sent counts.
func TestGroupChoice_IsBelowTheBaseURL(t *testing.T) {
	t.Parallel()
	member := func(name string) oidcrp.Member {
		return oidcrp.Member{Name: name, Client: mustNew(t, func(cfg *oidcrp.Config) {
			cfg.BaseURL, cfg.PathPrefix = "https://app.example/dossiers", "/auth/"+name+"/"
		})}
	}
	g := mustGroup(t, "/auth", member("a"), member("b"))
	handler := http.StripPrefix("/dossiers", g.Middleware(g.RequireLogin(http.HandlerFunc(sayWho))))
	for path, want := range map[string]string{"/dossiers/auth": `href="/dossiers/auth/b/login"`, "/dossiers/x": "/dossiers/auth?return_to=%2Fdossiers%2Fx"} {
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("Accept", "text/html")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if !strings.Contains(w.Body.String()+w.Header().Get("Location"), want) {
			t.Errorf("%s: %d to %s\n%s", path, w.Code, w.Header().Get("Location"), w.Body)
		}
	}
}

func TestGroupChoice_TheAppsHandlerGetsIt(t *testing.T) {
	t.Parallel()
	var pages []*oidcrp.Page
	app := newGroupApp(t, groupSetup{
		agents: func(cfg *oidcrp.Config) {
			cfg.Pages.Handler = func(w http.ResponseWriter, r *http.Request, p *oidcrp.Page) {
				pages = append(pages, p)
				oidcrp.DefaultPage(w, r, p)
			}
		},
		members: func(m []oidcrp.Member) { m[1].Hint, m[1].Logo = "For citizens", svgLogo },
	})
	app.choicePage(t, "en")
	if len(pages) != 1 {
		t.Fatalf("it gets %d pages", len(pages))
	}
	p := pages[0]
	if p.Name != "choose" || p.Status != 200 || p.Action != "" || p.ActionLabel != "Sign in with {name}" || p.HomeURL != "/" || p.Script || len(p.Choices) != 2 {
		t.Errorf("the page is %+v", p)
	}
	for i, member := range []*testApp{app.testApp, app.citizens} {
		if c := p.Choices[i]; c.Client != member.client || c.LoginURL != member.client.LoginURL("/tab/1") {
			t.Errorf("choice %d is %+v", i, c)
		}
	}
	if c := p.Choices[1]; c.Name != "CitizenConnect" || c.Hint != "For citizens" || !bytes.Equal(c.Logo, svgLogo) {
		t.Errorf("the second choice is %+v", c)
	}
	// What the handler changes is its own.
	p.Choices[0].Name = "changed"
	if _, body := app.choicePage(t, "en"); !strings.Contains(body, "AgentConnect") {
		t.Errorf("the next page is\n%s", body)
	}
}
