package main

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/franceconnect"
	"github.com/oidcrp/oidcrp/proconnect"
)

// TestService_BothKindsOfPeople runs the program and uses it as a citizen, and then as an
// agent.
func TestService_BothKindsOfPeople(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, start(t))
	b.open("/")
	b.wants("<title>Accueil – Agents et usagers</title>", `<a href="/" aria-current="page">`, "Cette page est publique.", "Se connecter")
	b.open("/messages")
	b.wants("Pour les usagers", "S’identifier avec <strong>FranceConnect</strong>", "Qu’est-ce que FranceConnect",
		"Pour les agents publics", "S'identifier avec <strong>ProConnect</strong>", "Qu’est-ce que ProConnect")
	b.follow("franceconnect-button")
	b.signInAs("citizen")
	b.wants("ouverte aux usagers et aux agents", "Vous êtes Jean MARTIN, usager (né(e) le 1962-08-24).", "/api/v2 citizen")
	b.open("/dossier")
	b.wants("<title>Mon dossier – Agents et usagers</title>", `<a href="/dossier" aria-current="page">`, "réservée aux usagers")

	b.open("/instruction") // for agents: the citizen's session does not serve
	b.signInAs("agent")
	b.wants("réservée aux agents", "Vous êtes Angela Dubois, agent (Une direction).", "/api/v2 agent")
	b.open("/messages")
	b.wants("ouverte aux usagers et aux agents", "Vous êtes Angela Dubois")
	b.open("/dossier") // for citizens; FranceConnect's own session of Jean goes on
	b.wants("réservée aux usagers", "Vous êtes Jean MARTIN")
}

// A logout ends the session here and at the provider of the session.
func TestService_OneLogoutForBoth(t *testing.T) {
	t.Parallel()
	for button, persona := range map[string]string{"franceconnect-button": "citizen", "proconnect-button": "agent"} {
		b := newBrowser(t, start(t))
		b.open("/messages")
		b.follow(button)
		b.signInAs(persona)
		b.wants("Vous êtes")
		b.do("POST", "/logout", nil)
		b.wants("Cette page est publique.", "Se connecter")
		b.open("/messages")
		b.follow(button)
		b.wants(`data-oidctest="login"`) // not signed in again without asking
	}
}

// The configurations of a real service are those of the program with the issuers of the
// environments: they are valid without any network.
func TestService_IsMadeOfRealConfigurations(t *testing.T) {
	t.Parallel()
	key := make([]byte, 32)
	rand.Read(key)
	configs := []oidcrp.Config{proconnect.Production.Config(), franceconnect.Production.Config()}
	for i, prefix := range []string{"/auth/agents/", "/auth/citizens/"} {
		cfg := &configs[i]
		cfg.ClientID, cfg.ClientSecret, cfg.BaseURL, cfg.PathPrefix = clientID, clientSecret, "https://service.example.gouv.fr", prefix
		cfg.CookieKeys, cfg.Logger = oidcrp.Keys(key), slog.New(slog.DiscardHandler)
		cfg.Registration.IDTokenSignedResponseAlg, cfg.Registration.UserInfoSignedResponseAlg = "ES256", "ES256"
	}
	if _, err := newService(configs[0], configs[1]); err != nil {
		t.Error(err)
	}
}

// newBrowser returns one without cookies.
func newBrowser(t *testing.T, base string) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t: t, base: base, client: &http.Client{Jar: jar, Timeout: 30 * time.Second}}
}

// start runs the program until the test ends.
func start(t *testing.T) (base string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx, listener, io.Discard) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "http://" + listener.Addr().String()
}

// A browser follows redirects, keeps cookies and submits the login form.
type browser struct {
	t      *testing.T
	client *http.Client
	base   string
	at     *url.URL
	page   string
}

func (b *browser) wants(texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		if !strings.Contains(b.page, text) {
			b.t.Fatalf("%s has no %q:\n%s", b.at, text, b.page)
		}
	}
}

func (b *browser) open(path string) { b.t.Helper(); b.do("GET", path, nil) }

// follow follows the link of this class.
func (b *browser) follow(class string) {
	b.t.Helper()
	link := regexp.MustCompile(`<a class="` + class + `" href="([^"]*)"`).FindStringSubmatch(b.page)
	if link == nil {
		b.t.Fatalf("no link %q:\n%s", class, b.page)
	}
	b.do("GET", strings.ReplaceAll(link[1], "&amp;", "&"), nil)
}

var (
	action = regexp.MustCompile(`<form method="post" action="([^"]*)" data-oidctest="login">`)
	hidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
)

// signInAs submits the login form of a provider.
func (b *browser) signInAs(persona string) {
	b.t.Helper()
	to := action.FindStringSubmatch(b.page)
	if to == nil {
		b.t.Fatalf("no login form at %s:\n%s", b.at, b.page)
	}
	form := url.Values{"persona": {persona}}
	for _, field := range hidden.FindAllStringSubmatch(b.page, -1) {
		form.Set(field[1], field[2])
	}
	b.do("POST", to[1], form)
}

func (b *browser) do(method, target string, form url.Values) {
	b.t.Helper()
	from := b.at
	if from == nil || strings.HasPrefix(target, "/") && form == nil {
		from, _ = url.Parse(b.base)
	}
	to, err := from.Parse(target)
	if err != nil {
		b.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, to.String(), strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Accept-Language", "fr")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	b.at, b.page = res.Request.URL, string(body)
}
