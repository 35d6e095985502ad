package oidctest

import (
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

// assertionAlgs are the algorithms a client assertion may be signed with.
var assertionAlgs = []string{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
	"HS256", "HS384", "HS512",
}

// credentials are what a request shows of its client.
type credentials struct {
	method     string
	id, secret string
	assertion  string
}

// authenticate finds the client of a request and checks that it proved to be it, by
// the one method it is registered for (OIDC Core 9, RFC 6749 section 2.3).
func (p *Provider) authenticate(r *http.Request) (*Client, *oauthError) {
	if name := repeated(r.PostForm); name != "" {
		return nil, invalidRequest(name + " is there more than once")
	}
	if r.URL.Query().Has("client_secret") {
		return nil, invalidRequest("client_secret must not be in the URL")
	}
	shown, err := credentialsOf(r)
	if err != nil {
		return nil, err
	}
	refused := badClient("client authentication failed")
	client := p.client(shown.id)
	if client == nil {
		return nil, refused
	}
	method, proved := p.proof(r, client, shown)
	if !proved {
		return nil, refused
	}
	if !slices.Contains(client.authMethods(), method) {
		return nil, badClient("the client is not registered for " + method)
	}
	return client, nil
}

// credentialsOf reads the one method a request uses; more are refused (RFC 6749
// section 2.3).
func credentialsOf(r *http.Request) (*credentials, *oauthError) {
	form := r.PostForm
	shown := &credentials{method: "none", id: form.Get("client_id")}
	methods := 0
	if header := r.Header.Get("Authorization"); header != "" {
		id, secret, ok := basicCredentials(header)
		if !ok || (shown.id != "" && shown.id != id) {
			return nil, badClient("the Authorization header cannot be used")
		}
		methods++
		shown.method, shown.id, shown.secret = "client_secret_basic", id, secret
	}
	if form.Has("client_secret") {
		methods++
		shown.method, shown.secret = "client_secret_post", form.Get("client_secret")
	}
	if form.Has("client_assertion") {
		methods++
		if form.Get("client_assertion_type") != assertionType {
			return nil, invalidRequest("client_assertion_type must be " + assertionType)
		}
		shown.method, shown.assertion = "client_assertion", form.Get("client_assertion")
		if shown.id == "" {
			shown.id = assertedSubject(shown.assertion)
		}
	}
	if methods > 1 {
		return nil, invalidRequest("more than one client authentication method is used")
	}
	return shown, nil
}

// basicCredentials reads an Authorization header whose halves are form-urlencoded
// (RFC 6749 section 2.3.1).
func basicCredentials(header string) (id, secret string, ok bool) {
	scheme, encoded, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || strings.Count(string(decoded), ":") != 1 {
		return "", "", false // a colon of the secret arrives as %3A
	}
	id, secret, _ = strings.Cut(string(decoded), ":")
	id, idErr := url.QueryUnescape(id)
	secret, secretErr := url.QueryUnescape(secret)
	return id, secret, idErr == nil && secretErr == nil
}

// proof returns the registered name of the method used and whether it convinces.
func (p *Provider) proof(r *http.Request, client *Client, shown *credentials) (string, bool) {
	switch shown.method {
	case "client_secret_basic", "client_secret_post":
		return shown.method, client.Secret != "" &&
			subtle.ConstantTimeCompare([]byte(client.Secret), []byte(shown.secret)) == 1
	case "client_assertion":
		return p.assertionProof(client, shown.assertion, p.root+strings.TrimPrefix(r.URL.Path, p.base))
	}
	switch client.TokenEndpointAuthMethod {
	case "tls_client_auth", "self_signed_tls_client_auth":
		elsewhere := p.cfg.MTLSEndpointAliases && !strings.HasPrefix(r.Host, mtlsHost+":")
		return client.TokenEndpointAuthMethod, !elsewhere && certificateProof(r, client)
	}
	return "none", true
}

// certificateProof implements RFC 8705 sections 2.1 and 2.2. The server does not
// check chains: the certificate authorities of a test are nobody's.
func certificateProof(r *http.Request, client *Client) bool {
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

// An audience is a string or an array of them (RFC 7519 section 4.1.3).
type audience []string

func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// assertionProof checks a client assertion sent to an endpoint.
func (p *Provider) assertionProof(client *Client, compact, endpoint string) (string, bool) {
	payload, method := verifyAssertion(client, compact)
	if payload == nil {
		return "", false
	}
	var a assertion
	if json.Unmarshal(payload, &a) != nil {
		return "", false
	}
	now := float64(p.now().Unix())
	const skew = 60
	addressed := slices.ContainsFunc(a.Audience, func(aud string) bool {
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

// verifyAssertion returns the payload of a well-signed assertion and the method it
// amounts to, or nil.
func verifyAssertion(client *Client, compact string) (payload []byte, method string) {
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

// assertedSubject returns the sub of an assertion nobody has verified yet: it says
// which client's keys to verify it with.
func assertedSubject(compact string) string {
	sub, _ := unverifiedClaims(compact)["sub"].(string)
	return sub
}

// unverifiedClaims returns what a JWT says of itself; nil if it says nothing.
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
