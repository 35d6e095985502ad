package oidctest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/oidcrp/oidcrp/oidctest/internal/wire"
)

// A grant is the result of one login at one client. Its code and all its tokens share
// it.
type grant struct {
	client      *Client
	persona     *Persona
	scopes      []string
	claims      claimsRequest
	nonce       string
	acr         string
	amr         []string
	authTime    time.Time
	sid         string
	maxAgeAsked bool
	acrAsked    bool
	revoked     bool
}

type code struct {
	value       string
	grant       *grant
	redirectURI string
	challenge   string
	expires     time.Time
	used        bool
}

type accessToken struct {
	grant   *grant
	expires time.Time
	revoked bool
}

type refreshToken struct {
	grant   *grant
	expires time.Time
	used    bool
}

// serveToken implements OIDC Core 3.1.3 and 12.
func (p *Provider) serveToken(r *http.Request) *response {
	if res := onlyMethods(r, http.MethodPost); res != nil {
		return res
	}
	client, err := p.authenticate(r)
	if err != nil {
		return jsonError(err)
	}
	for name := range p.cfg.TokenParameters {
		if r.PostForm.Get(name) != p.cfg.TokenParameters.Get(name) {
			return jsonError(invalidRequest("the parameter " + name + " is missing or wrong"))
		}
	}
	var g *grant
	grantType := r.PostForm.Get("grant_type")
	switch grantType {
	case "authorization_code":
		g, err = p.redeem(r, client)
	case "refresh_token":
		g, err = p.refreshed(r, client)
	default:
		err = failure("unsupported_grant_type", "grant_type must be authorization_code or refresh_token")
	}
	if err != nil {
		return jsonError(err)
	}
	return p.tokenResponse(g, grantType == "refresh_token")
}

// redeem implements OIDC Core 3.1.3.2, RFC 6749 section 4.1.3 and RFC 7636 section 4.6.
func (p *Provider) redeem(r *http.Request, client *Client) (*grant, *oauthError) {
	invalid := failure("invalid_grant", "code is unknown, used or expired")
	c := p.codes[r.PostForm.Get("code")]
	if c == nil || c.grant.client != client {
		return nil, invalid
	}
	if c.used {
		// One of the two uses may be an attacker's (RFC 6749 section 4.1.2).
		c.grant.revoked = true
		return nil, invalid
	}
	c.used = true
	switch {
	case p.cfg.RefusePKCE && r.PostForm.Has("code_verifier"):
		return nil, badClient("code_verifier is not accepted")
	case !p.now().Before(c.expires):
		return nil, invalid
	case r.PostForm.Get("redirect_uri") != c.redirectURI:
		return nil, failure("invalid_grant", "redirect_uri differs from the authentication request")
	case !verifies(r.PostForm.Get("code_verifier"), c.challenge):
		return nil, failure("invalid_grant", "code_verifier does not match code_challenge")
	}
	return c.grant, nil
}

// verifies reports whether the verifier matches the challenge. Both may be absent, but
// not only one of them (RFC 9700 section 2.1.1).
func verifies(verifier, challenge string) bool {
	if verifier == "" || challenge == "" {
		return verifier == challenge
	}
	sum := sha256.Sum256([]byte(verifier))
	return len(verifier) >= 43 && base64.RawURLEncoding.EncodeToString(sum[:]) == challenge
}

// refreshed implements RFC 6749 section 6 with rotation: a refresh token is valid once,
// and a second use revokes every token of the grant (RFC 9700 section 4.14.2).
func (p *Provider) refreshed(r *http.Request, client *Client) (*grant, *oauthError) {
	invalid := failure("invalid_grant", "refresh_token is unknown, used or expired")
	t := p.refresh[r.PostForm.Get("refresh_token")]
	if t == nil || t.grant.client != client || t.grant.revoked || !p.now().Before(t.expires) {
		return nil, invalid
	}
	if t.used {
		t.grant.revoked = true
		return nil, invalid
	}
	if want := p.cfg.RefreshScope; want != "" && r.PostForm.Get("scope") != want {
		return nil, failure("invalid_scope", "scope must be "+want)
	}
	for _, scope := range strings.Fields(r.PostForm.Get("scope")) {
		if !slices.Contains(t.grant.scopes, scope) {
			return nil, failure("invalid_scope", "scope exceeds the granted scope")
		}
	}
	t.used = true
	for _, f := range p.faults {
		if f.KeepRefreshToken {
			t.used = false
		}
	}
	return t.grant, nil
}

// tokenResponse implements OIDC Core 3.1.3.3 and 12.2.
func (p *Provider) tokenResponse(g *grant, refresh bool) *response {
	value := wire.RandomString(32)
	p.access[value] = &accessToken{grant: g, expires: p.now().Add(p.cfg.AccessTokenTTL)}
	members := map[string]any{
		"access_token": value, "token_type": "Bearer",
		"scope":      strings.Join(g.scopes, " "),
		"expires_in": int(p.cfg.AccessTokenTTL / time.Second),
	}
	if p.cfg.NoExpiresIn {
		delete(members, "expires_in")
	}
	if !p.cfg.NoRefreshToken {
		next := p.randomValue(32)
		p.refresh[next] = &refreshToken{grant: g, expires: p.now().Add(p.cfg.RefreshTokenTTL)}
		members["refresh_token"] = next
	}
	idToken, err := p.idToken(g, value, refresh)
	if err != nil {
		return jsonError(serverFailure(err))
	}
	members["id_token"] = idToken
	res := jsonResponse(http.StatusOK, members)
	for _, f := range p.faults {
		if f.TokenResponse != nil && f.Refresh == refresh {
			f.TokenResponse(&res.Response)
		}
	}
	return res
}

// idToken returns the ID Token (OIDC Core 2), signed, and encrypted if the client is
// registered for encryption.
func (p *Provider) idToken(g *grant, access string, refresh bool) (string, error) {
	alg := g.client.IDTokenSignedResponseAlg
	t := p.newToken(g.client, alg, p.idTokenClaims(g))
	if alg != "none" {
		t.Claims["at_hash"] = wire.HalfHash(alg, access)
	}
	if refresh {
		delete(t.Claims, "nonce") // OIDC Core 12.2: it SHOULD NOT have one
	}
	for _, f := range p.faults {
		if f.IDToken != nil && f.Refresh == refresh {
			f.IDToken(t)
		}
	}
	signed, err := t.Sign()
	p.issued[signed] = true
	if err != nil || g.client.IDTokenEncryptedResponseAlg == "" {
		return signed, err
	}
	return encrypt(signed, g.client, g.client.IDTokenEncryptedResponseAlg,
		g.client.IDTokenEncryptedResponseEnc, "JWT")
}

func (p *Provider) idTokenClaims(g *grant) map[string]any {
	now := p.now()
	claims := map[string]any{
		"iss": p.issuerOf(g.persona), "sub": g.persona.Subject, "aud": g.client.ID,
		"iat": now.Unix(), "exp": now.Add(p.cfg.IDTokenTTL).Unix(),
	}
	profile := g.persona.profile()
	for name := range g.claims.IDToken {
		if v, ok := profile[name]; ok {
			claims[name] = v
		}
	}
	if g.nonce != "" {
		claims["nonce"] = g.nonce
	}
	maps.Copy(claims, p.authenticationClaims(g))
	return claims
}

// authenticationClaims returns those of acr, amr, auth_time and sid that belong in the
// ID Token.
func (p *Provider) authenticationClaims(g *grant) map[string]any {
	always := !p.cfg.ClaimsOnRequest
	claims := make(map[string]any)
	if g.acr != "" && (always || g.acrAsked) {
		claims["acr"] = g.acr
	}
	if _, asked := g.claims.IDToken["amr"]; len(g.amr) > 0 && (always || asked) {
		claims["amr"] = g.amr
	}
	if _, asked := g.claims.IDToken["auth_time"]; always || asked || g.maxAgeAsked {
		claims["auth_time"] = g.authTime.Unix()
	}
	if always || g.client.BackchannelLogoutURI != "" || g.client.FrontchannelLogoutURI != "" {
		claims["sid"] = g.sid
	}
	return claims
}

// IDTokenClaims returns the claims of a valid ID Token without nonce, for a test to
// change and to sign with [Provider.SignClaims].
func (p *Provider) IDTokenClaims(clientID, subject string) map[string]any {
	now := p.now()
	return map[string]any{
		"iss": p.issuerOf(p.persona(subject)), "sub": subject, "aud": clientID,
		"iat": now.Unix(), "exp": now.Add(p.cfg.IDTokenTTL).Unix(), "auth_time": now.Unix(),
	}
}

// serveRevocation implements RFC 7009. An unknown token is not an error (section 2.2).
func (p *Provider) serveRevocation(r *http.Request) *response {
	if res := onlyMethods(r, http.MethodPost); res != nil {
		return res
	}
	client, err := p.authenticate(r)
	if err != nil {
		return jsonError(err)
	}
	value := r.PostForm.Get("token")
	if value == "" {
		return jsonError(invalidRequest("token is missing"))
	}
	if p.cfg.NoTokenTypeHint && r.PostForm.Has("token_type_hint") {
		return jsonError(invalidRequest("property token_type_hint should not exist"))
	}
	if t := p.access[value]; t != nil && t.grant.client == client {
		t.revoked = true
	}
	if t := p.refresh[value]; t != nil && t.grant.client == client {
		t.grant.revoked = true
	}
	return &response{Response: wire.Response{Status: http.StatusOK,
		Header: http.Header{"Cache-Control": {"no-store"}}}}
}

// oddCharacters are the characters that some encoding on the way must escape.
const oddCharacters = " \"#%&'+/<=>?\\^`{|}~"

// randomValue returns a random string of n bytes in base64url. If Config.OddValues is
// set, five odd characters follow.
func (p *Provider) randomValue(n int) string {
	value := wire.RandomString(n)
	if p.cfg.OddValues {
		b := make([]byte, 5)
		rand.Read(b)
		for _, c := range b {
			value += string(oddCharacters[int(c)%len(oddCharacters)])
		}
	}
	return value
}
