package oidctest

import (
	"net/http"
	"strings"

	"github.com/oidcrp/oidcrp/oidctest/internal/wire"
)

// serveUserInfo implements OIDC Core 5.3.
func (p *Provider) serveUserInfo(r *http.Request) *response {
	if res := onlyMethods(r, http.MethodGet, http.MethodPost); res != nil {
		return res
	}
	g, err := p.bearer(r)
	if err != nil {
		return bearerError(err)
	}
	claims := map[string]any{"sub": g.persona.Subject}
	for name, v := range g.persona.profile() {
		if _, asked := g.claims.UserInfo[name]; asked || released(name, g.scopes) {
			claims[name] = v
		}
	}
	res, encodeErr := p.userInfoResponse(g, claims)
	if encodeErr != nil {
		return jsonError(serverFailure(encodeErr))
	}
	return res
}

// bearer returns the grant of the access token. The token must be in the Authorization
// header only, or in the body only if Config.TokenInBody is set (RFC 6750 section 2).
func (p *Provider) bearer(r *http.Request) (*grant, *oauthError) {
	var value string
	if p.cfg.TokenInBody {
		if r.Header.Get("Authorization") != "" || r.URL.Query().Has("access_token") ||
			len(r.PostForm["access_token"]) != 1 {
			return nil, invalidRequest("the access token must be in the form body")
		}
		value = r.PostForm.Get("access_token")
	} else {
		if r.Form.Has("access_token") || len(r.Header.Values("Authorization")) > 1 {
			return nil, invalidRequest("the access token must be in the Authorization header, once")
		}
		var scheme string
		scheme, value, _ = strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return nil, &oauthError{Status: http.StatusUnauthorized, Description: "the access token is missing"}
		}
	}
	t := p.access[value]
	if t == nil || t.revoked || t.grant.revoked || !p.now().Before(t.expires) {
		return nil, &oauthError{Code: "invalid_token", Status: http.StatusUnauthorized,
			Description: "the access token is unknown, revoked or expired"}
	}
	return t.grant, nil
}

// bearerError implements RFC 6750 section 3.
func bearerError(err *oauthError) *response {
	challenge := `Bearer realm="oidctest"`
	if err.Code == "" {
		// The challenge for a request without credentials has no error code.
		return &response{refused: err, Response: wire.Response{Status: err.Status,
			Header: http.Header{"WWW-Authenticate": {challenge}}}}
	}
	res := jsonError(err)
	res.Header.Set("WWW-Authenticate",
		challenge+`, error="`+err.Code+`", error_description="`+err.Description+`"`)
	return res
}

// userInfoResponse returns the claims in the format the client is registered for: JSON,
// or a JWT that is signed, encrypted, or both (OIDC Core 5.3.2).
func (p *Provider) userInfoResponse(g *grant, claims map[string]any) (*response, error) {
	client := g.client
	t := p.newToken(client, client.UserInfoSignedResponseAlg, claims)
	for _, f := range p.faults {
		if f.UserInfo != nil {
			f.UserInfo(t)
		}
	}
	content, contentType := string(wire.MustJSON(t.Claims)), ""
	if client.UserInfoSignedResponseAlg != "" {
		signed, err := p.signedUserInfo(g, t)
		if err != nil {
			return nil, err
		}
		content, contentType = signed, "JWT"
	}
	if client.UserInfoEncryptedResponseAlg != "" {
		encrypted, err := encrypt(content, client, client.UserInfoEncryptedResponseAlg,
			client.UserInfoEncryptedResponseEnc, contentType)
		if err != nil {
			return nil, err
		}
		content, contentType = encrypted, "JWT"
	}
	if contentType == "" {
		return jsonResponse(http.StatusOK, t.Claims), nil
	}
	return &response{Response: wire.Response{Status: http.StatusOK, Body: []byte(content), Claims: claims,
		Header: http.Header{
			"Content-Type":  {"application/jwt;charset=UTF-8"},
			"Cache-Control": {"no-store"},
		}}}, nil
}

func (p *Provider) signedUserInfo(g *grant, t *wire.Token) (string, error) {
	now := p.now()
	t.Claims["iss"], t.Claims["aud"] = p.issuerOf(g.persona), t.ClientID
	if !p.cfg.NoUserInfoTimes {
		t.Claims["iat"], t.Claims["exp"] = now.Unix(), now.Add(p.cfg.IDTokenTTL).Unix()
	}
	for _, f := range p.faults {
		if f.UserInfoToken != nil {
			f.UserInfoToken(t)
		}
	}
	return t.Sign()
}
