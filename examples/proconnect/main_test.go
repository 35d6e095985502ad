package main

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

// startService serves the program, configured by the environment, and returns its URL.
// Its provider behaves as ProConnect does: it takes the secret in the body, has its own
// scopes, and attests acr and amr on request.
func startService(t *testing.T) (string, *oidctest.Provider) {
	t.Helper()
	provider := oidctest.NewServer(t, oidctest.Config{
		Issuer:          "/api/v2",
		ClaimsOnRequest: true,
		Clients: []oidctest.Client{{
			ID: "service", Secret: strings.Repeat("5", 64),
			TokenEndpointAuthMethod: "client_secret_post", UserInfoSignedResponseAlg: "ES256", IDTokenSignedResponseAlg: "ES256",
		}},
		ACRValuesSupported: []string{"eidas0", "eidas0-mfa", "eidas1", "eidas1-mfa", "eidas2", "eidas3"},
		Personas: []oidctest.Persona{{
			Subject: "agent", ACR: "eidas1", AMR: []string{"pwd"}, StepUpACRs: []string{"eidas1-mfa"},
			Claims: map[string]any{
				"given_name": "Angela Claire", "usual_name": "Dubois", "email": "Angela@example.org",
				"siret": "13002526500013", "organization_label": "Une direction", "roles": []string{"agent_public"},
			},
		}},
		Metadata: map[string]any{"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt"}},
	})
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	for name, value := range map[string]string{
		"OIDC_ISSUER": provider.Issuer(), "OIDC_CLIENT_ID": "service", "OIDC_CLIENT_SECRET": strings.Repeat("5", 64),
		"OIDC_BASE_URL": server.URL, "OIDC_ID_TOKEN_SIGNED_RESPONSE_ALG": "ES256", "OIDC_USERINFO_SIGNED_RESPONSE_ALG": "ES256",
	} {
		t.Setenv(name, value)
	}
	cfg, err := config()
	if err != nil {
		t.Fatal(err)
	}
	client, err := oidcrp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	handler = client.Middleware(routes(client))
	return server.URL, provider
}

// TestService_SignInAndStepUp goes through the service as an agent with two factors does.
func TestService_SignInAndStepUp(t *testing.T) {
	app, provider := startService(t)
	public := read(t, http.DefaultClient, app+"/")
	for _, want := range []string{`class="proconnect-button"`, "/auth/login?return_to=%2Fagent", "Cette page est publique", contact} {
		if !strings.Contains(public, want) {
			t.Errorf("the public page lacks %q:\n%s", want, public)
		}
	}
	browser := provider.SignIn(t, app+"/agent", "agent")
	agent := read(t, browser, app+"/agent")
	for _, want := range []string{
		"Angela Claire", "Dubois", "angela@example.org", "13002526500013", "Une direction",
		"<dd>eidas1</dd>", "<dd>agent_public</dd>", "<dd>" + provider.Issuer() + " agent</dd>",
	} {
		if !strings.Contains(agent, want) {
			t.Errorf("the agent's page lacks %q:\n%s", want, agent)
		}
	}
	if page := read(t, browser, app+"/public-agents"); !strings.Contains(page, "vous reconnaît comme tel") {
		t.Errorf("the agent is not let in as a public agent:\n%s", page)
	}
	if page := read(t, browser, app+"/"); strings.Contains(page, "proconnect-button\"") || !strings.Contains(page, "Angela Claire Dubois") {
		t.Errorf("the public page does not know who is signed in:\n%s", page)
	}
	res, err := provider.Visit(browser, app+"/sensitive", "agent")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK || !strings.Contains(string(body), "eidas1-mfa") {
		t.Errorf("after the step up: %s\n%s", res.Status, body)
	}

	res, err = browser.PostForm(app+"/auth/logout", nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if page := read(t, browser, app+"/"); strings.Contains(page, "Angela") {
		t.Errorf("after the logout the person is still there:\n%s", page)
	}
	if got := provider.Count(oidctest.EndpointEndSession); got != 1 {
		t.Errorf("%d logouts at the provider, want 1", got)
	}
}

// TestPage_IsAccessible checks what a program can check of it.
func TestPage_IsAccessible(t *testing.T) {
	titles := make(map[string]bool)
	for _, item := range menu {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, item.Path, nil)
		w := httptest.NewRecorder()
		page("Un texte.").ServeHTTP(w, r)
		body := w.Body.String()
		for _, want := range []string{
			`<html lang="fr">`, `<meta name="viewport" content="width=device-width, initial-scale=1">`,
			`href="#contenu">Aller au contenu`, `<main id="contenu"`, "<header>", `<nav aria-label="Menu principal">`,
			`<a href="` + item.Path + `" aria-current="page">`, "<h1>" + item.Title + "</h1>",
		} {
			if strings.Count(body, want) != 1 {
				t.Errorf("%s has %d of %q, want 1:\n%s", item.Path, strings.Count(body, want), want, body)
			}
		}
		_, title, _ := strings.Cut(body, "<title>")
		title, _, _ = strings.Cut(title, "</title>")
		if titles[title] || !strings.HasPrefix(title, item.Title+" – ") {
			t.Errorf("%s has the title %q", item.Path, title)
		}
		titles[title] = true

		// The policy allows every style of the page.
		_, nonce, _ := strings.Cut(w.Header().Get("Content-Security-Policy"), "style-src 'nonce-")
		nonce, _, _ = strings.Cut(nonce, "'")
		if styles := strings.Count(body, "<style"); nonce == "" || styles != strings.Count(body, `<style nonce="`+nonce+`">`) ||
			strings.Contains(body, " style=") {
			t.Errorf("%s has %d styles, and the nonce is %q:\n%s", item.Path, styles, nonce, body)
		}
	}
}

func TestChecklist_HasTheExactURIs(t *testing.T) {
	t.Setenv("PROCONNECT_ENVIRONMENT", "integration")
	t.Setenv("OIDC_CLIENT_ID", "service")
	t.Setenv("OIDC_CLIENT_SECRET", strings.Repeat("5", 64))
	t.Setenv("OIDC_USERINFO_SIGNED_RESPONSE_ALG", "RS256")
	for base, want := range map[string]string{
		"":                             "http://localhost:8080/auth/",
		"https://app.example.gouv.fr/": "https://app.example.gouv.fr/auth/",
	} {
		t.Setenv("OIDC_BASE_URL", base)
		cfg, err := config()
		if err != nil {
			t.Fatal(err)
		}
		client, err := oidcrp.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		checklist(&out, cfg, client.Registration())
		for _, want := range []string{
			" " + want + "callback\n", " " + want + "logout/callback\n", "OIDC_ID_TOKEN_SIGNED_RESPONSE_ALG", " RS256\n",
			"openid given_name usual_name email", "https://fca.integ01.dev-agentconnect.fr/api/v2\n",
		} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("the checklist lacks %q:\n%s", want, out.String())
			}
		}
	}
}

func read(t *testing.T, browser *http.Client, url string) string {
	t.Helper()
	res, err := browser.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestConfig_TakesCookieKeysFromAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(base64.StdEncoding.EncodeToString(make([]byte, 32))), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PROCONNECT_ENVIRONMENT", "integration")
	t.Setenv("OIDC_CLIENT_ID", "service")
	t.Setenv("OIDC_CLIENT_SECRET", strings.Repeat("5", 64))
	t.Setenv("OIDC_COOKIE_KEYS_FILE", file)
	cfg, err := config()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := oidcrp.New(cfg); err != nil {
		t.Error(err)
	}
}
