package interop

import (
	"html"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// serviceWorld is examples/proconnect, the stand-in, and another client of the stand-in's. The
// service is at localhost, so that for a browser ProConnect is another site.
type serviceWorld struct {
	*world
	other *rawClient
}

// newService starts them. client is more metadata of the service at the stand-in.
func newService(t testing.TB, env map[string]string, client map[string]any) *serviceWorld {
	t.Helper()
	port := freePort(t)
	base := "http://localhost:" + strconv.Itoa(port)
	other, otherClient := unregisteredRawClient(t)
	registered := clientAt(proconnect, clientID, base)
	registered["scope"] = "openid given_name usual_name email uid siret phone idp_id custom roles organization_label"
	registered["userinfo_signed_response_alg"] = "ES256"
	for name, value := range client {
		registered[name] = value
	}
	p := startProvider(t, proconnect, settings{Clients: []map[string]any{registered, otherClient}})
	other.provider = p

	all := map[string]string{
		"LISTEN":                            "127.0.0.1:" + strconv.Itoa(port),
		"OIDC_ISSUER":                       p.issuer,
		"OIDC_CLIENT_ID":                    clientID,
		"OIDC_CLIENT_SECRET":                clientSecret,
		"OIDC_BASE_URL":                     base,
		"OIDC_ID_TOKEN_SIGNED_RESPONSE_ALG": "ES256",
		"OIDC_USERINFO_SIGNED_RESPONSE_ALG": "ES256",
		"OIDC_COOKIE_KEYS":                  cookieKey(t),
	}
	for name, value := range env {
		all[name] = value
	}
	a := startProgram(t, "service", serviceProgram, base, all)
	a.poll(t, "service", func() bool { return a.status(t, "/") == http.StatusOK })
	return &serviceWorld{&world{app: a, provider: p}, other}
}

// wantPage looks at the page of the service that a browser ended on.
func (w *serviceWorld) wantPage(t testing.TB, p *page, path string, status int, texts ...string) {
	t.Helper()
	if p.URL.Scheme+"://"+p.URL.Host != w.base || p.URL.Path != path || p.Status != status {
		t.Fatalf("ended on %s with %d, want %s with %d\n%s", p.URL, p.Status, path, status, p.Body)
	}
	body := html.UnescapeString(p.Body)
	for _, text := range texts {
		if !strings.Contains(body, text) {
			t.Errorf("%s lacks %q:\n%s", p.URL, text, body)
		}
	}
}

// level is how the service shows the level of a sign-in.
func level(acr string) string { return "<dt>Niveau d’authentification</dt><dd>" + acr + "</dd>" }

// wantLogins counts the authentication requests of the service.
func (w *serviceWorld) wantLogins(t testing.TB, want int) {
	t.Helper()
	var got int
	for _, r := range w.provider.requests(t, "authorization") {
		if r.Query["client_id"] == clientID {
			got++
		}
	}
	if got != want {
		t.Errorf("%d authentication requests, want %d", got, want)
	}
}

func TestServiceSignsIn(t *testing.T) {
	t.Parallel()
	w := newService(t, nil, nil)
	b := newBrowser(t)
	public := b.open(w.base + "/")
	w.wantPage(t, public, "/", http.StatusOK, "S'identifier avec", "Qu’est-ce que ProConnect ?")

	w.wantPage(t, public.form().submit().signIn(alice), "/agent", http.StatusOK, "Alice Martin",
		"alice.martin@ministere.example", "13002526500013", "<dt>Agent public</dt><dd>oui</dd>", level("eidas1"))
	w.wantPage(t, b.open(w.base+"/"), "/", http.StatusOK, "Alice Martin")
	w.wantPage(t, b.open(w.base+"/public-agents"), "/public-agents", http.StatusOK)
	w.wantLogins(t, 1)
	// ProConnect sends errors as HTML to a client that accepts it.
	for _, endpoint := range []string{"token", "userinfo"} {
		if accept := w.provider.last(t, endpoint).Accept; !strings.HasPrefix(accept, "application/j") ||
			strings.Contains(accept, "html") {
			t.Errorf("the %s request accepts %q", endpoint, accept)
		}
	}
}

// TestServiceKeepsOthersOut: a person who is not a public agent reads why, and whom to ask.
func TestServiceKeepsOthersOut(t *testing.T) {
	t.Parallel()
	w := newService(t, nil, nil)
	for language, text := range map[string]string{
		"en": "To ask for access: support@service.example.",
		"fr": "Pour demander l’accès\u00a0: support@service.example.",
	} {
		b := newBrowser(t)
		b.language = language
		w.wantPage(t, b.open(w.base+"/public-agents").signIn(bob), "/public-agents", http.StatusForbidden, text)
		w.wantPage(t, b.open(w.base+"/agent"), "/agent", http.StatusOK,
			"Bob Durand", "<dt>Agent public</dt><dd>non</dd>")
	}
}

// TestServiceStepsUp: a page for two factors, opened without a session and with one factor.
func TestServiceStepsUp(t *testing.T) {
	t.Parallel()
	w := newService(t, nil, nil)
	for _, before := range []bool{false, true} {
		b := newBrowser(t)
		if before {
			w.wantPage(t, b.open(w.base+"/agent").signIn(alice), "/agent", http.StatusOK)
		}
		code := b.open(w.base + "/sensitive").signIn(alice)
		if !asksForCode(code) {
			t.Fatalf("ended on %s\n%s", code.URL, code.Body)
		}
		w.wantPage(t, code.form().submit(), "/sensitive", http.StatusOK, level("eidas1-mfa"))
		w.wantPage(t, b.open(w.base+"/agent"), "/agent", http.StatusOK, level("eidas1-mfa"))
	}
	w.wantLogins(t, 3)
}

// TestServiceRefusesOneFactor: without a second factor the page is refused with a reason and without
// a loop, and a person who was signed in stays signed in.
func TestServiceRefusesOneFactor(t *testing.T) {
	t.Parallel()
	w := newService(t, nil, nil)
	b := newBrowser(t)
	w.wantPage(t, b.open(w.base+"/sensitive").signIn(carol), "/auth/callback", http.StatusForbidden,
		"Your sign-in did not reach the level that this service asks for", "Sign in with a second factor.")
	w.wantLogins(t, 1)

	w.wantPage(t, toLogin(b.open(w.base+"/agent"), carol), "/agent", http.StatusOK, "Carol Petit")
	b.language = "fr"
	refused := b.open(w.base + "/sensitive").signIn(carol)
	w.wantPage(t, refused, "/auth/callback", http.StatusForbidden,
		"Votre connexion n’a pas atteint le niveau que ce service demande", "Connectez-vous avec un second facteur.")
	w.wantPage(t, b.open(w.base+"/agent"), "/agent", http.StatusOK, "Carol Petit")
	w.wantLogins(t, 3)

	// The page's own way on leads to another try, which may succeed.
	again := refused.follow("/auth/login").form().set("sub", carol.Sub).set("acr", "eidas2").submit()
	w.wantPage(t, again, "/sensitive", http.StatusOK, level("eidas2"))
}

// TestServiceExplainsFailures: every error that ProConnect sends back ends on a page that gives the
// cause and the remedy in the person's language, and a way to try again.
func TestServiceExplainsFailures(t *testing.T) {
	t.Parallel()
	w := newService(t, nil, nil)
	for _, test := range []struct {
		code, english, french string
		status                int
	}{
		{"Y500015", "this service is for public agents and ProConnect does not know you as one",
			"ce service est réservé aux agents publics", http.StatusForbidden},
		{"Y500025", "The domain of your e-mail address is not among those that may sign in",
			"Le domaine de votre adresse électronique n’est pas autorisé", http.StatusForbidden},
		{"Y190001", "Start again, in one browser window, with cookies allowed.",
			"Recommencez, dans une seule fenêtre du navigateur", http.StatusForbidden},
		{"Y020017", "contact your organisation's IT department",
			"contactez le service informatique de votre organisation", http.StatusForbidden},
		{"Y020032", "contact your organisation's IT department",
			"contactez le service informatique de votre organisation", http.StatusForbidden},
		{"Y000500", "ProConnect had an unexpected failure.", "ProConnect a rencontré une erreur inattendue.",
			http.StatusForbidden},
	} {
		t.Run(test.code, func(t *testing.T) {
			for language, text := range map[string]string{"en-GB,fr;q=0.5": test.english, "fr-FR,en;q=0.5": test.french} {
				b := newBrowser(t)
				b.language = language
				failed := b.open(w.base + "/agent").fail(test.code).follow("/error")
				w.wantPage(t, failed, "/auth/callback", test.status, text)
				if got := failed.Header.Get("Content-Language"); got != language[:2] {
					t.Errorf("the page is in %q", got)
				}
				w.wantPage(t, failed.follow("/auth/login").signIn(alice), "/agent", http.StatusOK)
			}
		})
	}
}

// TestServiceKeepsItsFaultsToItself: an error that only the operator can resolve is in the log, and
// the person gets a page without it.
func TestServiceKeepsItsFaultsToItself(t *testing.T) {
	t.Parallel()
	w := newService(t, map[string]string{"OIDC_SCOPES": "openid siren"}, nil)
	b := newBrowser(t)
	b.language = "fr"
	failed := b.open(w.base + "/agent")
	w.wantPage(t, failed, "/auth/callback", http.StatusBadGateway, "Une erreur est survenue", "contactez le support")
	if strings.Contains(failed.Body, "scope") {
		t.Errorf("the page shows\n%s", failed.Body)
	}
	w.app.poll(t, "line of the log", func() bool {
		return strings.Contains(string(w.app.log.Bytes()), "requested scope is not allowed")
	})
	w.wantLogins(t, 1)
}

// TestServiceSurvivesALostSession: ProConnect loses its session in the middle of a login, its
// endpoints answer with 500, and the person reads what to do.
func TestServiceSurvivesALostSession(t *testing.T) {
	t.Parallel()
	for _, endpoint := range []string{"token", "userinfo"} {
		t.Run(endpoint, func(t *testing.T) {
			t.Parallel()
			w := newService(t, nil, nil)
			for language, text := range map[string]string{
				"en": "Sign in again. If that fails too, try again in a few minutes.",
				"fr": "Reconnectez-vous. En cas de nouvel échec, réessayez dans quelques minutes.",
			} {
				b := newBrowser(t)
				b.language = language
				login := b.open(w.base + "/agent")
				w.provider.control(t, "forget/"+endpoint)
				failed := login.signIn(alice)
				w.wantPage(t, failed, "/auth/callback", http.StatusServiceUnavailable, text)
				if got := w.provider.last(t, endpoint).Status; got != http.StatusInternalServerError {
					t.Errorf("%s answered %d", endpoint, got)
				}
				w.wantPage(t, failed.follow("/auth/login").signIn(alice), "/agent", http.StatusOK)
			}
		})
	}
}

// TestServiceInTwoTabs: ProConnect finishes the second tab's login in the first, and the second is
// dead there. Both pages can still be reached.
func TestServiceInTwoTabs(t *testing.T) {
	t.Parallel()
	w := newService(t, nil, nil)
	b := newBrowser(t)
	first := b.open(w.base + "/agent?tab=1")
	second := b.open(w.base + "/sensitive?tab=2")
	done := first.signIn(alice).form().submit()
	w.wantPage(t, done, "/sensitive", http.StatusOK, level("eidas1-mfa"))
	if done.URL.RawQuery != "tab=2" {
		t.Errorf("ended on %s", done.URL)
	}
	if lost := second.signIn(alice); !strings.Contains(lost.Body, "session-not-found") {
		t.Errorf("the second tab ended on %s\n%s", lost.URL, lost.Body)
	}
	w.wantPage(t, b.open(w.base+"/sensitive?tab=2"), "/sensitive", http.StatusOK)
	w.wantPage(t, b.open(w.base+"/agent?tab=1"), "/agent", http.StatusOK)
	w.wantLogins(t, 2)
}

// TestServiceInTwoTabsTheOtherWay: the first tab asked for two factors and ends on the second's
// page with one, so its own page still has to ask.
func TestServiceInTwoTabsTheOtherWay(t *testing.T) {
	t.Parallel()
	w := newService(t, nil, nil)
	b := newBrowser(t)
	first := b.open(w.base + "/sensitive")
	b.open(w.base + "/agent")
	w.wantPage(t, first.signIn(alice), "/agent", http.StatusOK, level("eidas1"))
	code := b.open(w.base + "/sensitive").signIn(alice)
	if !asksForCode(code) {
		t.Fatalf("ended on %s\n%s", code.URL, code.Body)
	}
	w.wantPage(t, code.form().submit(), "/sensitive", http.StatusOK, level("eidas1-mfa"))
}

// signInElsewhere gives the browser a session at ProConnect, through another service.
func (w *serviceWorld) signInElsewhere(b *browser, a account) {
	b.t.Helper()
	if got := w.other.answer(b.open(w.other.authorizeURL(nil)).signIn(a)); got.Get("code") == "" {
		b.t.Fatalf("not signed in elsewhere: %v", got)
	}
}

// TestServiceSignsInSilently: a person with a session at ProConnect is signed in without a click,
// once the browser has shown that it keeps cookies.
func TestServiceSignsInSilently(t *testing.T) {
	t.Parallel()
	w := newService(t, map[string]string{"SILENT": "1"}, nil)
	b := newBrowser(t)
	w.signInElsewhere(b, alice)
	w.wantPage(t, b.open(w.base+"/"), "/", http.StatusOK)
	w.wantPage(t, b.open(w.base+"/"), "/", http.StatusOK, "Alice Martin")
	w.wantLogins(t, 1)
}

// TestServiceTriesSilentlyOnce: without a session at ProConnect the public page stays what it is,
// and a session that comes later takes a click.
func TestServiceTriesSilentlyOnce(t *testing.T) {
	t.Parallel()
	w := newService(t, map[string]string{"SILENT": "1"}, nil)
	b := newBrowser(t)
	for range 4 {
		w.wantPage(t, b.open(w.base+"/"), "/", http.StatusOK, "S'identifier avec")
	}
	w.wantLogins(t, 1)
	if got := b.visited(w.base + "/auth/callback").Query().Get("error"); got != "login_required" {
		t.Errorf("the callback got error %q", got)
	}
	w.signInElsewhere(b, alice)
	public := b.open(w.base + "/")
	w.wantPage(t, public, "/", http.StatusOK)
	w.wantPage(t, public.form().submit(), "/agent", http.StatusOK, "Alice Martin")
}

// TestServiceNeverTriesWithoutCookies: a browser that keeps none would end on an error page.
func TestServiceNeverTriesWithoutCookies(t *testing.T) {
	t.Parallel()
	w := newService(t, map[string]string{"SILENT": "1"}, nil)
	b := newBrowser(t)
	b.client.Jar = nil
	for range 3 {
		w.wantPage(t, b.open(w.base+"/"), "/", http.StatusOK, "S'identifier avec")
	}
	w.wantLogins(t, 0)
}

// TestServiceStaysSignedOut: a silent sign-in does not undo a logout.
func TestServiceStaysSignedOut(t *testing.T) {
	t.Parallel()
	w := newService(t, map[string]string{"SILENT": "1"}, nil)
	b := newBrowser(t)
	w.wantPage(t, b.open(w.base+"/").form().submit().signIn(alice), "/agent", http.StatusOK)
	w.wantPage(t, b.open(w.base+"/"), "/", http.StatusOK, "Alice Martin")
	w.wantPage(t, b.open(w.base+"/agent").form().submit(), "/auth/logout/callback", http.StatusOK)
	w.signInElsewhere(b, alice)
	for range 3 {
		w.wantPage(t, b.open(w.base+"/"), "/", http.StatusOK, "S'identifier avec")
	}
	w.wantLogins(t, 1)
}

func TestServiceSignsOut(t *testing.T) {
	t.Parallel()
	w := newService(t, nil, nil)
	b := newBrowser(t)
	agent := b.open(w.base + "/agent").signIn(alice)
	w.wantPage(t, agent, "/agent", http.StatusOK)
	w.wantPage(t, agent.form().submit(), "/auth/logout/callback", http.StatusOK, "You are signed out")

	asked := w.provider.last(t, "end_session").Query
	back := b.visited(w.base + "/auth/logout/callback").Query()
	state, _ := asked["state"].(string)
	if asked["id_token_hint"] == nil || len(state) < 32 || back.Get("state") != state {
		t.Errorf("asked %v, came back with %v", asked, back)
	}
	if next := b.open(w.base + "/agent"); !asksToSignIn(next) {
		t.Errorf("still signed in: %s\n%s", next.URL, next.Body)
	}
	b.language = "fr"
	forged := b.open(w.base + "/auth/logout/callback?" + url.Values{"state": {"forged"}}.Encode())
	w.wantPage(t, forged, "/auth/logout/callback", http.StatusOK, "Votre déconnexion est effectuée")
}

// TestServiceSignsOutFirst: the address to come back to is not registered, so ProConnect keeps the
// person, and the session at the service has ended nevertheless.
func TestServiceSignsOutFirst(t *testing.T) {
	t.Parallel()
	w := newService(t, nil, map[string]any{"post_logout_redirect_uris": []string{}})
	b := newBrowser(t)
	stranded := b.open(w.base + "/agent").signIn(alice).form().submit()
	if stranded.Status != http.StatusBadRequest || !strings.Contains(stranded.Body, "not registered") {
		t.Errorf("ended on %s with %d\n%s", stranded.URL, stranded.Status, stranded.Body)
	}
	if next := b.open(w.base + "/agent"); !asksToSignIn(next) {
		t.Errorf("still signed in: %s\n%s", next.URL, next.Body)
	}
}
