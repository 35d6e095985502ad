package oidctest

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// assertionAlgs are the signature algorithms accepted for client assertions.
var assertionAlgs = []string{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
	"HS256", "HS384", "HS512",
}

// credentials are the client credentials in a request.
type credentials struct {
	method     string
	id, secret string
	assertion  string
}

// authenticate returns the client of a request after it verified the credentials. The
// client must use the method it is registered for (OIDC Core 9, RFC 6749 section 2.3).
func (p *Provider) authenticate(r *http.Request) (*Client, *oauthError) {
	if name := repeated(r.PostForm); name != "" {
		return nil, invalidRequest("duplicate parameter " + name)
	}
	if r.URL.Query().Has("client_secret") {
		return nil, invalidRequest("client_secret must not be in the URL")
	}
	creds, err := credentialsOf(r)
	if err != nil {
		return nil, err
	}
	refused := badClient("client authentication failed")
	client := p.client(creds.id)
	if client == nil {
		return nil, refused
	}
	method, ok := p.verifyClient(r, client, creds)
	if !ok {
		return nil, refused
	}
	if !slices.Contains(client.authMethods(), method) {
		return nil, badClient("the client is not registered for " + method)
	}
	return client, nil
}

// credentialsOf reads the credentials of a request. A request must not use more than
// one method (RFC 6749 section 2.3).
func credentialsOf(r *http.Request) (*credentials, *oauthError) {
	form := r.PostForm
	creds := &credentials{method: "none", id: form.Get("client_id")}
	methods := 0
	if header := r.Header.Get("Authorization"); header != "" {
		id, secret, ok := basicCredentials(header)
		if !ok || (creds.id != "" && creds.id != id) {
			return nil, badClient("the Authorization header is not valid")
		}
		methods++
		creds.method, creds.id, creds.secret = "client_secret_basic", id, secret
	}
	if form.Has("client_secret") {
		methods++
		creds.method, creds.secret = "client_secret_post", form.Get("client_secret")
	}
	if form.Has("client_assertion") {
		methods++
		if form.Get("client_assertion_type") != assertionType {
			return nil, invalidRequest("client_assertion_type must be " + assertionType)
		}
		creds.method, creds.assertion = "client_assertion", form.Get("client_assertion")
		if creds.id == "" {
			creds.id = assertedSubject(creds.assertion)
		}
	}
	if methods > 1 {
		return nil, invalidRequest("more than one client authentication method is used")
	}
	return creds, nil
}

// basicCredentials reads an Authorization header of the scheme Basic. The client id and
// the secret are form-urlencoded (RFC 6749 section 2.3.1).
func basicCredentials(header string) (id, secret string, ok bool) {
	scheme, encoded, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || strings.Count(string(decoded), ":") != 1 {
		return "", "", false // a colon in the secret is encoded as %3A
	}
	id, secret, _ = strings.Cut(string(decoded), ":")
	id, idErr := url.QueryUnescape(id)
	secret, secretErr := url.QueryUnescape(secret)
	return id, secret, idErr == nil && secretErr == nil
}

// verifyClient returns the registered name of the method used, and whether the
// credentials are valid.
func (p *Provider) verifyClient(r *http.Request, client *Client, creds *credentials) (string, bool) {
	switch creds.method {
	case "client_secret_basic", "client_secret_post":
		return creds.method, client.Secret != "" &&
			subtle.ConstantTimeCompare([]byte(client.Secret), []byte(creds.secret)) == 1
	case "client_assertion":
		endpoint := p.site.Root + strings.TrimPrefix(r.URL.Path, p.base)
		return p.verifyAssertion(client, creds.assertion, endpoint)
	}
	switch client.TokenEndpointAuthMethod {
	case "tls_client_auth", "self_signed_tls_client_auth":
		elsewhere := p.cfg.MTLSEndpointAliases && !strings.HasPrefix(r.Host, mtlsHost+":")
		return client.TokenEndpointAuthMethod, !elsewhere && verifyCertificate(r, client)
	}
	return "none", true
}

// verifyCertificate implements RFC 8705 sections 2.1 and 2.2, without verifying the
// certificate chain: test certificates have no authority.
func verifyCertificate(r *http.Request, client *Client) bool {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return false
	}
	cert := r.TLS.PeerCertificates[0]
	if client.TokenEndpointAuthMethod == "tls_client_auth" {
		expected := client.TLSClientAuthSubjectDN
		return expected != "" && cert.Subject.String() == expected
	}
	for _, k := range client.JWKS.Keys {
		if len(k.Certificates) > 0 && k.Certificates[0].Equal(cert) {
			return true
		}
	}
	return false
}

// An assertion holds the claims of OIDC Core 9 and RFC 7523 section 3.
type assertion struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  audience `json:"aud"`
	ID        string   `json:"jti"`
	Expiry    float64  `json:"exp"`
	NotBefore float64  `json:"nbf"`
	IssuedAt  float64  `json:"iat"`
}

// An audience is a string or an array of strings (RFC 7519 section 4.1.3).
type audience []string

func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// verifyAssertion verifies a client assertion sent to an endpoint, and returns the
// method that it stands for.
func (p *Provider) verifyAssertion(client *Client, compact, endpoint string) (string, bool) {
	payload, method := assertionPayload(client, compact)
	if payload == nil || p.cfg.AssertionThumbprint && !namesCertificate(client, compact) {
		return "", false
	}
	var a assertion
	if json.Unmarshal(payload, &a) != nil {
		return "", false
	}
	now := float64(p.now().Unix())
	const skew = 60
	addressed := slices.ContainsFunc(a.Audience, func(aud string) bool {
		switch p.cfg.AssertionAudience {
		case "issuer":
			return aud == p.cfg.Issuer
		case "token_endpoint":
			return aud == p.Endpoint(EndpointToken)
		}
		return aud == p.cfg.Issuer || aud == p.Endpoint(EndpointToken) || aud == endpoint
	})
	fresh := a.Expiry > now-skew && a.Expiry < now+24*60*60 &&
		a.NotBefore <= now+skew && a.IssuedAt <= now+skew
	own := a.Issuer == client.ID && a.Subject == client.ID
	if !own || !addressed || !fresh || a.ID == "" || p.assertions[a.ID] {
		return "", false
	}
	p.assertions[a.ID] = true
	return method, true
}

// namesCertificate reports whether the header of a client assertion has the x5t#S256 of a
// certificate of the client (RFC 7515 section 4.1.8).
func namesCertificate(client *Client, compact string) bool {
	encoded, _, _ := strings.Cut(compact, ".")
	header, err := base64.RawURLEncoding.DecodeString(encoded)
	var members struct {
		Thumbprint string `json:"x5t#S256"`
	}
	if err != nil || json.Unmarshal(header, &members) != nil {
		return false
	}
	for _, k := range client.JWKS.Keys {
		for _, certificate := range k.Certificates {
			sum := sha256.Sum256(certificate.Raw)
			if base64.RawURLEncoding.EncodeToString(sum[:]) == members.Thumbprint {
				return true
			}
		}
	}
	return false
}

// assertionPayload returns the payload of a client assertion and the method that it
// stands for, or nil if the signature does not verify.
func assertionPayload(client *Client, compact string) (payload []byte, method string) {
	algs := make([]jose.SignatureAlgorithm, len(assertionAlgs))
	for i, alg := range assertionAlgs {
		algs[i] = jose.SignatureAlgorithm(alg)
	}
	jws, err := jose.ParseSignedCompact(compact, algs)
	if err != nil {
		return nil, ""
	}
	header := jws.Signatures[0].Header
	if strings.HasPrefix(header.Algorithm, "HS") {
		if payload, err = jws.Verify([]byte(client.Secret)); err != nil {
			return nil, ""
		}
		return payload, "client_secret_jwt"
	}
	for _, k := range client.JWKS.Keys {
		if header.KeyID != "" && k.KeyID != header.KeyID || k.Use == "enc" {
			continue
		}
		if payload, err = jws.Verify(k.Public()); err == nil {
			return payload, "private_key_jwt"
		}
	}
	return nil, ""
}

// assertedSubject returns the sub of an assertion that is not verified yet. It
// identifies the client whose keys verify the assertion.
func assertedSubject(compact string) string {
	sub, _ := unverifiedClaims(compact)["sub"].(string)
	return sub
}

// unverifiedClaims returns the claims of a JWT without verifying it, or nil if it
// cannot be decoded.
func unverifiedClaims(compact string) map[string]any {
	parts := strings.Split(compact, ".")
	if len(parts) != 3 {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims map[string]any
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return nil
	}
	return claims
}
