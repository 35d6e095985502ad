package oidcrp

// This file authenticates the client at the provider's endpoints (OIDC Core 9).

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/oidcrp/oidcrp/internal/fetch"
	josekit "github.com/oidcrp/oidcrp/internal/jose"
	"github.com/oidcrp/oidcrp/internal/strictjson"
)

// clientAuth authenticates the client.
type clientAuth struct {
	issuer, clientID, secret string
	secretFunc               func(context.Context) (string, error) // in place of secret; may be nil
	timeout                  time.Duration                         // of secretFunc
	method, alg              string                                // as registered; may be empty
	forTokenEndpoint         bool                                  // the aud of assertions is the token endpoint, not the issuer
	thumbprint               bool                                  // assertions name the key's certificate
	setting                  settingName
	keys                     []jose.JSONWebKey
	now                      func() time.Time
}

// post posts form to one of the provider's endpoints, with the client's
// authentication, and returns the members of the JSON response. An error response
// becomes a [*ProviderError]. name is the endpoint's in errors; want is the
// status of success, beside 200.
func (p *provider) post(
	ctx context.Context, m *Metadata, name, endpoint string, form url.Values, want int,
) (strictjson.Members, error) {
	answer, err := p.authenticated(ctx, m, name, endpoint, form)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != want && answer.StatusCode != http.StatusOK {
		return nil, p.auth.describe(m, errorAnswer(name, answer))
	}
	if answer.MediaType != "application/json" {
		return nil, failf(name, CodeProviderInvalid,
			"the answer is %q, not application/json", clean(answer.Hide(answer.MediaType), 60))
	}
	members, err := strictjson.Object(answer.Body)
	if err != nil {
		return nil, fail(name, CodeProviderInvalid, err)
	}
	if code, _, _ := members.String("error"); code != "" { // some providers send errors with status 200
		return nil, p.auth.describe(m, errorAnswer(name, answer))
	}
	return members, nil
}

// authenticated posts form with the client's authentication.
func (p *provider) authenticated(
	ctx context.Context, m *Metadata, name, endpoint string, form url.Values,
) (*fetch.Response, error) {
	header := make(http.Header)
	if err := p.auth.add(ctx, m, form, header); err != nil {
		return nil, err
	}
	answer, err := p.client.Do(ctx, fetch.Request{
		Method: http.MethodPost,
		URL:    endpoint,
		Header: header,
		Form:   form,
		Accept: "application/json", // otherwise some providers send errors as HTML
	})
	if err != nil {
		return nil, failFetch(name, err)
	}
	return answer, nil
}

// errorAnswer reads the error that an endpoint answered (RFC 6749 section 5.2). Some
// providers repeat the request in it.
func errorAnswer(name string, answer *fetch.Response) error {
	members, err := strictjson.Object(answer.Body)
	if err != nil {
		return failf(name, CodeProviderInvalid, "status %d without a JSON error", answer.StatusCode)
	}
	code, _, _ := members.String("error")
	description, _, _ := members.String("error_description")
	uri, _, _ := members.String("error_uri")
	if code == "" {
		return failf(name, CodeProviderInvalid, "status %d without an error code", answer.StatusCode)
	}
	refusal := newProviderError(name, answer.StatusCode,
		answer.Hide(code), answer.Hide(description), answer.Hide(uri))
	return fail(name, refusal.code(), refusal)
}

// authMethodField is the field of the method, as errors name it.
const authMethodField = "Registration.TokenEndpointAuthMethod"

// describe adds to an error that only the operator can correct as whom and how the
// client authenticated: a wrong method and a wrong secret look the same otherwise.
func (a *clientAuth) describe(m *Metadata, err error) error {
	var e *Error
	method, methodErr := a.methodFor(m)
	if methodErr != nil || !errors.As(err, &e) || e.Code != CodeClientRefused {
		return err
	}
	chosen := ""
	if a.method == "" {
		chosen = ", chosen because " + a.setting.name(authMethodField) + " is not set"
	}
	return &Error{Op: e.Op, Code: e.Code, Err: &notedError{err: e.Err, before: fmt.Sprintf(
		"client_id %q, token_endpoint_auth_method %s%s: ", clean(a.clientID, 100), method, chosen)}}
}

// add adds the client's authentication to a request (OIDC Core 9, RFC 6749
// section 2.3, RFC 7523). Methods are never probed: the provider would see the
// code twice.
func (a *clientAuth) add(ctx context.Context, m *Metadata, form url.Values, header http.Header) error {
	method, err := a.methodFor(m)
	if err != nil {
		return err
	}
	secret := ""
	if strings.HasPrefix(method, "client_secret_") {
		if secret, err = a.currentSecret(ctx); err != nil {
			return err
		}
	}
	if method == "client_secret_basic" {
		// Both halves are form-urlencoded first (RFC 6749 section 2.3.1).
		r := http.Request{Header: header}
		r.SetBasicAuth(url.QueryEscape(a.clientID), url.QueryEscape(secret))
		return nil
	}
	form.Set("client_id", a.clientID)
	switch method {
	case "client_secret_post":
		form.Set("client_secret", secret)
	case "client_secret_jwt", "private_key_jwt":
		assertion, err := a.assertion(m, method, secret)
		if err != nil {
			return fail("token", CodeInternal, err)
		}
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion)
	}
	return nil
}

// currentSecret returns the client secret for one request: that of
// [Config.ClientSecretFunc], if it is set. Its error is not the provider's, but has
// the same consequences: nobody can sign in for now, and sessions stay.
func (a *clientAuth) currentSecret(ctx context.Context) (string, error) {
	if a.secretFunc == nil {
		return a.secret, nil
	}
	limited, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	secret, err := a.secretFunc(limited)
	if err == nil && (secret == "" || strings.TrimSpace(secret) != secret) {
		err = errors.New("the secret is empty, or begins or ends with white space")
	}
	switch {
	case err == nil:
		return secret, nil
	case gaveUp(ctx):
		return "", &Error{Op: "client secret", Code: CodeCanceled, Err: ctx.Err()}
	}
	// As text: an error of this package, from another Client perhaps, would count as the
	// provider's answer, which ends a session that is refreshed.
	return "", failf("client secret", CodeProviderUnavailable, "ClientSecretFunc failed: %s", clean(err.Error(), maxErrorText))
}

// methodFor returns the registered method, else the first of basic and post
// that the provider advertises. The default of a provider that advertises none is
// basic (OIDC Discovery 3).
func (a *clientAuth) methodFor(m *Metadata) (string, error) {
	if a.method != "" {
		return a.method, nil
	}
	offered := m.TokenEndpointAuthMethodsSupported
	if len(offered) == 0 {
		return "client_secret_basic", nil
	}
	for _, method := range []string{"client_secret_basic", "client_secret_post"} {
		if slices.Contains(offered, method) {
			return method, nil
		}
	}
	return "", failf("token", CodeUnsupportedByProvider,
		"the provider supports %s: set %s to the registered one", quoteList(offered), a.setting.name(authMethodField))
}

// The values of Provider.AssertionAudience.
const (
	audienceIssuer        = "issuer"
	audienceTokenEndpoint = "token_endpoint"
)

// assertionLifetime is short: an assertion is used at once, and once.
const assertionLifetime = time.Minute

// assertion makes the JWT of RFC 7523 section 3. Its audience is the issuer, which names
// the provider the same at every endpoint, or else the token endpoint, at every endpoint
// too (RFC 9126 section 2).
func (a *clientAuth) assertion(m *Metadata, method, secret string) (string, error) {
	key, err := a.signingKey(method, secret)
	if err != nil {
		return "", err
	}
	options := (&jose.SignerOptions{}).WithType("JWT")
	if a.thumbprint {
		options = options.WithHeader("x5t#S256", certificateThumbprint(key))
	}
	signer, err := jose.NewSigner(key, options)
	if err != nil {
		return "", err
	}
	audience := a.issuer
	if a.forTokenEndpoint {
		audience = m.TokenEndpoint
	}
	now := a.now()
	return jwt.Signed(signer).Claims(struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
		ID       string `json:"jti"`
		IssuedAt int64  `json:"iat"`
		Expiry   int64  `json:"exp"`
	}{
		a.clientID, a.clientID, audience, randomText(), now.Unix(), now.Add(assertionLifetime).Unix(),
	}).Serialize()
}

// certificateThumbprint returns the x5t#S256 of a key (RFC 7515 section 4.1.8), "" if it
// has no certificate.
func certificateThumbprint(key jose.SigningKey) string {
	leaf := certificateOf(key)
	if leaf == nil {
		return ""
	}
	sum := sha256.Sum256(leaf.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// certificateOf returns the certificate of a key, nil if it has none.
func certificateOf(key jose.SigningKey) *x509.Certificate {
	jwk, ok := key.Key.(jose.JSONWebKey)
	if !ok || len(jwk.Certificates) == 0 {
		return nil
	}
	return jwk.Certificates[0]
}

// signingKey returns the key and the algorithm that sign the assertions of
// method.
func (a *clientAuth) signingKey(method, secret string) (jose.SigningKey, error) {
	alg := a.alg
	if method == "client_secret_jwt" {
		if alg == "" {
			alg = "HS256"
		}
		if !josekit.IsMAC(alg) {
			return jose.SigningKey{}, errors.New("client_secret_jwt is signed with HS256, HS384 or HS512")
		}
		return jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: []byte(secret)}, nil
	}
	for _, key := range a.keys {
		fits := josekit.SigningAlgs(key)
		if alg == "" && len(fits) > 0 {
			return jose.SigningKey{Algorithm: jose.SignatureAlgorithm(fits[0]), Key: key}, nil
		}
		if slices.Contains(fits, alg) {
			return jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: key}, nil
		}
	}
	return jose.SigningKey{}, errors.New("none of ClientKeys signs with that algorithm")
}

// checkAlg returns what is wrong with the keys of the jwt methods.
func (a *clientAuth) checkAlg() error {
	if a.method != "client_secret_jwt" && (a.method != "private_key_jwt" || len(a.keys) == 0) {
		return nil
	}
	key, err := a.signingKey(a.method, a.secret)
	if err != nil {
		return err
	}
	_, err = jose.NewSigner(key, nil)
	return err
}
