package proconnect_test

// This file starts a service with oidctest's provider, set up to behave as ProConnect
// does.

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/proconnect"
)

const (
	clientID = "service"
	mfaClaim = `{"essential":true,"values":["eidas0-mfa","eidas1-mfa","eidas2","eidas3"]}`
)

var clientSecret = strings.Repeat("5", 64)

// agent is a person with every claim, who can step up to two factors.
func agent() oidctest.Persona {
	return oidctest.Persona{
		Subject: "5b5f5d0e-4b2c-4e57-9a0e-000000000001", Name: "agent",
		ACR: proconnect.ACREIDAS1, AMR: []string{proconnect.AMRPassword},
		StepUpACRs: []string{proconnect.ACREIDAS1MFA},
		Claims: map[string]any{
			"given_name": "Angela Claire", "usual_name": "Dubois", "email": "Angela.DUBOIS@Direction.example.org",
			"uid": "1234", "siret": "13002526500013", "siren": "130025265", "idp_id": "idp-a", "idp_acr": "eidas1",
			"organization_label": "Une direction", "roles": []string{"agent_public", "agent_public_etat"},
			"phone_number": "+33 1 99 00 12 34", "organizational_unit": "DTNUM", "belonging_population": "agent",
			"chorusdt:matricule": "USER_AGC", "chorusdt:societe": "CHT", "custom": map[string]any{"bureau": "B12"},
		},
	}
}

// A service is an app, its provider and the log of both.
type service struct {
	URL      string
	client   *oidcrp.Client
	provider *oidctest.Provider
}

// newService starts one with the public page "/" and what routes adds.
func newService(t *testing.T, persona oidctest.Persona, change func(*oidcrp.Config),
	routes func(*oidcrp.Client, *http.ServeMux)) *service {
	t.Helper()
	s := &service{provider: oidctest.NewServer(t, oidctest.Config{
		Issuer:          "/api/v2",
		ClaimsOnRequest: true,
		Clients: []oidctest.Client{{
			ID: clientID, Secret: clientSecret, TokenEndpointAuthMethod: "client_secret_post",
			IDTokenSignedResponseAlg: "ES256", UserInfoSignedResponseAlg: "ES256",
		}},
		ACRValuesSupported: []string{
			"eidas0", "eidas0-mfa", "eidas1", "eidas1-mfa", "eidas2", "eidas3",
			"https://proconnect.gouv.fr/assurance/certification-dirigeant",
		},
		Personas: []oidctest.Persona{persona},
		Metadata: map[string]any{
			"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt"},
		},
	})}
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)

	cfg := proconnect.Integration.Config()
	cfg.Issuer = s.provider.Issuer()
	cfg.ClientID, cfg.ClientSecret = clientID, clientSecret
	cfg.BaseURL = server.URL
	cfg.CookieKeys = oidcrp.Keys(cookieKey())
	cfg.Registration.IDTokenSignedResponseAlg, cfg.Registration.UserInfoSignedResponseAlg = "ES256", "ES256"
	cfg.Logger = slog.New(slog.DiscardHandler)
	if change != nil {
		change(&cfg)
	}
	s.URL = cfg.BaseURL
	client, err := oidcrp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.client = client
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "public") })
	routes(client, mux)
	handler = client.Middleware(mux)
	return s
}

// page answers a request that was let through.
var page = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	session, _ := oidcrp.SessionFromContext(r.Context())
	io.WriteString(w, "let through with "+session.ACR())
})

// visit opens a page as the person and returns the status and the body.
func (s *service) visit(t *testing.T, browser *http.Client, path, persona string) (int, string) {
	t.Helper()
	res, err := s.provider.Visit(browser, s.URL+path, persona)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// lastClaims is the claims parameter of the last authentication request.
func (s *service) lastClaims(t *testing.T) string {
	t.Helper()
	requests := s.provider.RequestsTo(oidctest.EndpointAuthorization)
	if len(requests) == 0 {
		t.Fatal("no authentication request")
	}
	return requests[len(requests)-1].URL.Query().Get("claims")
}
