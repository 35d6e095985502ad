package oidctest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// scopeClaims are the claims of the standard scopes (OIDC Core 5.4).
var scopeClaims = map[string][]string{
	"profile": {"name", "family_name", "given_name", "middle_name", "nickname",
		"preferred_username", "profile", "picture", "website", "gender", "birthdate",
		"zoneinfo", "locale", "updated_at"},
	"email":   {"email", "email_verified"},
	"address": {"address"},
	"phone":   {"phone_number", "phone_number_verified"},
}

// protocolClaims describe the login and not the user.
var protocolClaims = []string{"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr",
	"amr", "azp", "sid"}

// standardScope returns the standard scope that releases a claim, or "".
func standardScope(claim string) string {
	for scope, claims := range scopeClaims {
		if slices.Contains(claims, claim) {
			return scope
		}
	}
	return ""
}

// released reports whether one of the scopes releases the claim: its standard scope,
// a scope of the same name, or for a claim "family:member" the scope "family".
func released(claim string, scopes []string) bool {
	family, _, _ := strings.Cut(claim, ":")
	return slices.Contains(scopes, claim) || slices.Contains(scopes, family) ||
		slices.Contains(scopes, standardScope(claim))
}

// profile returns the claims about a persona, without sub.
func (persona *Persona) profile() map[string]any {
	claims := maps.Clone(persona.Claims)
	if claims == nil {
		claims = make(map[string]any)
	}
	if _, ok := claims["name"]; !ok && persona.Name != "" {
		claims["name"] = persona.Name
	}
	return claims
}

// A claimsRequest is the claims parameter (OIDC Core 5.5).
type claimsRequest struct {
	UserInfo map[string]*claimRequest `json:"userinfo"`
	IDToken  map[string]*claimRequest `json:"id_token"`
}

type claimRequest struct {
	Essential bool  `json:"essential"`
	Value     any   `json:"value"`
	Values    []any `json:"values"`
}

func parseClaimsRequest(text string) (claimsRequest, error) {
	var request claimsRequest
	if text == "" {
		return request, nil
	}
	err := json.Unmarshal([]byte(text), &request)
	return request, err
}

// An acrDemand is what a request says about the Authentication Context Class.
type acrDemand struct {
	values    []string // in order of preference
	essential bool
	mentioned bool // acr is requested as a claim
}

// demandedACR reads acr_values and the claims parameter. Values in the claims parameter
// take precedence (OIDC Core 5.5.1.1).
func demandedACR(acrValues string, claims claimsRequest) acrDemand {
	demand := acrDemand{values: strings.Fields(acrValues), mentioned: acrValues != ""}
	request, asked := claims.IDToken["acr"]
	if !asked {
		return demand
	}
	demand.mentioned = true
	if request == nil {
		return demand
	}
	wanted := request.Values
	if request.Value != nil {
		wanted = append([]any{request.Value}, wanted...)
	}
	if len(wanted) == 0 {
		return demand
	}
	demand.values, demand.essential = nil, request.Essential
	for _, v := range wanted {
		if s, ok := v.(string); ok {
			demand.values = append(demand.values, s)
		}
	}
	return demand
}

// metBy reports whether a new login would not give a better level than the session has.
// Levels have no order: a value is requested or it is not.
func (d acrDemand) metBy(s *session) bool {
	if len(d.values) == 0 || slices.Contains(d.values, s.acr) {
		return true
	}
	reachable, _ := s.persona.reach(d)
	return !d.essential && !slices.Contains(d.values, reachable)
}

// reach returns the level at which the persona signs in, and false if that level does
// not satisfy an essential demand.
func (persona *Persona) reach(d acrDemand) (acr string, ok bool) {
	if len(d.values) == 0 || slices.Contains(d.values, persona.ACR) {
		return persona.ACR, true
	}
	for _, v := range d.values {
		if slices.Contains(persona.StepUpACRs, v) {
			return v, true
		}
	}
	return persona.ACR, !d.essential
}
