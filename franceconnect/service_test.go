package franceconnect_test

// This file starts a service with oidctest's provider, set up to behave as FranceConnect
// does where it deviates. The stand-in in interop refuses more.

import (
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/franceconnect"
	"github.com/oidcrp/oidcrp/oidctest"
)

const clientID = "service"

var clientSecret = strings.Repeat("5", 64)

// cookieKey returns a new cookie key.
func cookieKey() []byte {
	key := make([]byte, 32)
	rand.Read(key)
	return key
}

// citizen is a person with every claim.
func citizen() oidctest.Persona {
	return oidctest.Persona{
		Subject: "b2d3c6f0a1v1", Name: "citizen", ACR: franceconnect.ACREIDAS1, AMR: []string{"fc", "pwd"},
		Claims: map[string]any{
			"given_name": "Angela Claire Louise", "given_name_array": []string{"Angela", "Claire", "Louise"},
			"family_name": "DUBOIS", "preferred_username": "MARTIN", "birthdate": "1962-08-24", "gender": "female",
			"birthplace": "2A004", "birthcountry": "99100", "email": "angela@example.org",
			"idp_id": "idp-a", "idp_birthdate": "1962-08-24",
			"rnipp_given_name": "Angela", "rnipp_given_name_array": []string{"Angela"}, "rnipp_family_name": "DUBOIS",
			"rnipp_birthdate": "1962-08-00", "rnipp_gender": "female", "rnipp_birthplace": "2A004", "rnipp_birthcountry": "99100",
		},
	}
}

// A service is an app and its provider.
type service struct {
	URL      string
	client   *oidcrp.Client
	provider *oidctest.Provider
}

// newService starts one with the protected page "/page", and what routes adds.
func newService(t *testing.T, e franceconnect.Environment, persona oidctest.Persona, change func(*oidcrp.Config),
	routes func(*oidcrp.Client, *http.ServeMux)) *service {
	t.Helper()
	s := &service{provider: oidctest.NewServer(t, oidctest.Config{
		Issuer: "/api/v2",
		Clients: []oidctest.Client{{
			ID: clientID, Secret: clientSecret, TokenEndpointAuthMethod: "client_secret_post",
			IDTokenSignedResponseAlg: "ES256", UserInfoSignedResponseAlg: "ES256",
		}},
		ACRValuesSupported: []string{"eidas1", "eidas2", "eidas3"},
		Personas:           []oidctest.Persona{persona},
		RefusePKCE:         true, NeedLogoutHint: true, NoTokenTypeHint: true, NoRefreshToken: true,
	})}
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	s.URL = server.URL
	cfg := registered(e)
	cfg.Issuer, cfg.BaseURL = s.provider.Issuer(), server.URL
	if change != nil {
		change(&cfg)
	}
	var err error
	if s.client, err = oidcrp.New(cfg); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/page", s.client.RequireLogin(page))
	if routes != nil {
		routes(s.client, mux)
	}
	handler = s.client.Middleware(mux)
	return s
}

// registered is the Config of a service as this package makes it, with what a service
// adds.
func registered(e franceconnect.Environment) oidcrp.Config {
	cfg := e.Config()
	cfg.ClientID, cfg.ClientSecret, cfg.BaseURL = clientID, clientSecret, "https://app.example"
	cfg.CookieKeys, cfg.Logger = oidcrp.Keys(cookieKey()), slog.New(slog.DiscardHandler)
	cfg.Registration.IDTokenSignedResponseAlg, cfg.Registration.UserInfoSignedResponseAlg = "ES256", "ES256"
	return cfg
}

// page answers a request that was let through.
var page = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	session, _ := oidcrp.SessionFromContext(r.Context())
	io.WriteString(w, "let through with "+session.ACR())
})

// visit opens a page as the person and returns the status and the body.
func (s *service) visit(t *testing.T, browser *http.Client, path string) (int, string) {
	t.Helper()
	res, err := s.provider.Visit(browser, s.URL+path, citizen().Subject)
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

// lastRequest is the last authentication request's parameter.
func (s *service) lastRequest(t *testing.T, parameter string) string {
	t.Helper()
	requests := s.provider.RequestsTo(oidctest.EndpointAuthorization)
	if len(requests) == 0 {
		t.Fatal("no authentication request")
	}
	return requests[len(requests)-1].URL.Query().Get(parameter)
}
