package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

// TestAnAgentSignsInAndStepsUp runs the service against a provider that does as
// ProConnect does: it takes the secret in the body, has scopes of its own, and
// attests acr and amr on request.
func TestAnAgentSignsInAndStepsUp(t *testing.T) {
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

	if page := read(t, http.DefaultClient, server.URL+"/"); !strings.Contains(page, `class="proconnect-button"`) {
		t.Errorf("the public page has no button:\n%s", page)
	}
	browser := provider.SignIn(t, server.URL+"/agent", "agent")
	page := read(t, browser, server.URL+"/agent")
	for _, want := range []string{"Angela Claire Dubois", "13002526500013", "Une direction", "eidas1.", "agent_public"} {
		if !strings.Contains(page, want) {
			t.Errorf("the agent's page lacks %q:\n%s", want, page)
		}
	}
	if page := read(t, browser, server.URL+"/public-agents"); !strings.Contains(page, "Agent public.") {
		t.Errorf("the agent is not let in as a public agent:\n%s", page)
	}
	res, err := provider.Visit(browser, server.URL+"/sensitive", "agent")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK || !strings.Contains(string(body), "eidas1-mfa") {
		t.Errorf("after the step up: %s\n%s", res.Status, body)
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
