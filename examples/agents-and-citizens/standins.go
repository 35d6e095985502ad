package main

import "github.com/oidcrp/oidcrp/oidctest"

// The client of both stand-ins.
const (
	clientID     = "service"
	clientSecret = "a-secret-of-the-stand-ins-at-least-32-characters"
)

// client is the client as both have it registered.
func client() []oidctest.Client {
	return []oidctest.Client{{
		ID: clientID, Secret: clientSecret, TokenEndpointAuthMethod: "client_secret_post",
		IDTokenSignedResponseAlg: "ES256", UserInfoSignedResponseAlg: "ES256",
	}}
}

// standInForProConnect starts a provider with an agent.
func standInForProConnect() (*oidctest.Provider, error) {
	return oidctest.Start(oidctest.Config{
		Issuer: "/api/v2", Clients: client(), ClaimsOnRequest: true,
		ACRValuesSupported: []string{"eidas0", "eidas0-mfa", "eidas1", "eidas1-mfa", "eidas2", "eidas3"},
		Personas: []oidctest.Persona{{
			Subject: "agent", Name: "Angela Dubois, agente", ACR: "eidas1", AMR: []string{"pwd"},
			Claims: map[string]any{
				"given_name": "Angela", "usual_name": "Dubois", "email": "angela@ministere.example",
				"siret": "13002526500013", "organization_label": "Une direction", "roles": []string{"agent_public"},
			},
		}},
	})
}

// standInForFranceConnect starts a provider with a citizen, which has the most telling
// refusals of FranceConnect.
func standInForFranceConnect() (*oidctest.Provider, error) {
	return oidctest.Start(oidctest.Config{
		Issuer: "/api/v2", Clients: client(), ACRValuesSupported: []string{"eidas1"},
		RefusePKCE: true, NeedLogoutHint: true, NoTokenTypeHint: true, NoRefreshToken: true,
		Personas: []oidctest.Persona{{
			Subject: "citizen", Name: "Jean Martin, usager", ACR: "eidas1",
			Claims: map[string]any{"given_name": "Jean", "family_name": "MARTIN", "birthdate": "1962-08-24"},
		}},
	})
}
