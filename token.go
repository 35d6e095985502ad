package oidcrp

// This file takes the authentication response (OIDC Core 3.1.2.5 to 3.1.2.7)
// and exchanges its code for tokens (OIDC Core 3.1.3). The client proves
// itself in one place for every endpoint that asks for it.

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/oidcrp/oidcrp/internal/fetch"
	"github.com/oidcrp/oidcrp/internal/strictjson"
)

// Callback takes the provider's answer in r, exchanges the code, verifies the
// ID Token, calls UserInfo and returns the session that follows from all that.
// Nothing is sent to the browser: [Client.StartSession] does that next.
//
// The same answer may arrive twice, from a double click or a reload: the code
// is spent once, and both calls return the same session. ctx bounds only the
// wait; the exchange goes on for a reload that is waiting for it too.
//
// It returns an [*Error]. Its code says what happened: [ErrTransactionLost]
// when this browser has no such login, [CodeProviderError] with a
// [*ProviderError] when the provider refused, [CodeTokenRefused] with a
// [*TokenError], [ErrProviderUnavailable] when the provider failed half way.
func (c *Client) Callback(ctx context.Context, r *http.Request) (*Session, error) {
	response, err := readAuthenticationResponse(r)
	if err != nil {
		return nil, err
	}
	t, err := c.findTransaction(r, response.state)
	if err != nil {
		return nil, err
	}
	if err := c.checkResponseIssuer(ctx, response); err != nil {
		return nil, err
	}
	if response.err != nil {
		return nil, providerRefusal(response.err)
	}
	if response.code == "" {
		return nil, failf("callback", CodeInvalidRequest, "neither code nor error")
	}
	// A result is kept even if it is an error: the code may be spent.
	keep := func(error) bool { return true }
	s, err := c.callbacks.Do(ctx, c.transactionCookie(response.state), c.now(), keep, func() (*Session, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 4*c.cfg.ProviderTimeout)
		defer cancel()
		return c.completeLogin(ctx, t, response.code)
	})
	if ctx.Err() != nil && s == nil {
		return nil, fail("callback", CodeProviderUnavailable, err)
	}
	if err != nil {
		return nil, fail("callback", CodeInternal, err)
	}
	return s, nil
}

// completeLogin goes from the code to the session.
func (c *Client) completeLogin(ctx context.Context, t *transaction, code string) (*Session, error) {
	m, err := c.effectiveMetadata(ctx)
	if err != nil {
		return nil, err
	}
	started := c.now()
	tokens, err := c.exchange(ctx, m, code, t.Verifier)
	if err != nil {
		return nil, err
	}
	exchanged := c.now()
	idToken, err := c.verifyIDToken(ctx, m, tokens.idToken, &expectedIDToken{
		nonce: t.Nonce, acr: t.ACR, maxAge: t.MaxAge, accessToken: tokens.accessToken,
	})
	if err != nil {
		return nil, err
	}
	verified := c.now()
	userInfo, err := c.userInfo(ctx, m, tokens.accessToken, idToken.subject)
	if err != nil {
		return nil, err
	}
	session := c.newSession(t, idToken, userInfo, tokens)
	// The session begins with the code: a logout by the provider that came while
	// all this went on is about it, too.
	session.created = started.Truncate(time.Millisecond)
	c.events.loginSucceeded(ctx, LoginSucceededEvent{
		Subject: idToken.subject, ACR: idToken.acr, AMR: idToken.amr,
		Exchange: exchanged.Sub(started), Verification: verified.Sub(exchanged), UserInfo: c.now().Sub(verified),
	})
	return session, nil
}

// An authenticationResponse is what came back on the redirect URI.
type authenticationResponse struct {
	state, code string
	iss         string
	hasIss      bool
	err         *ProviderError
}

// maxCallbackBody bounds the form of response mode form_post.
const maxCallbackBody = 64 << 10

// readAuthenticationResponse reads the parameters of the query or, for
// form_post, of the body. A parameter that means something must not come twice
// (RFC 6749 section 3.1); any other is ignored.
func readAuthenticationResponse(r *http.Request) (*authenticationResponse, error) {
	params, err := callbackParameters(r)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"state", "code", "iss", "error", "error_description", "error_uri"} {
		if len(params[name]) > 1 {
			return nil, failf("callback", CodeInvalidRequest, "parameter %s given twice", name)
		}
	}
	response := &authenticationResponse{
		state:  params.Get("state"),
		code:   params.Get("code"),
		iss:    params.Get("iss"),
		hasIss: params.Has("iss"),
	}
	if params.Has("error") {
		response.err = newProviderError("authorization", 0,
			params.Get("error"), params.Get("error_description"), params.Get("error_uri"))
	}
	return response, nil
}

func callbackParameters(r *http.Request) (url.Values, error) {
	if r.Method != http.MethodPost {
		params, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			return nil, failf("callback", CodeInvalidRequest, "the query cannot be read")
		}
		return params, nil
	}
	r.Body = http.MaxBytesReader(nil, r.Body, maxCallbackBody)
	if err := r.ParseForm(); err != nil {
		return nil, failf("callback", CodeInvalidRequest, "the form cannot be read")
	}
	return r.PostForm, nil
}

// checkResponseIssuer is RFC 9207 section 2.4: the defence against an answer
// that another provider sent.
func (c *Client) checkResponseIssuer(ctx context.Context, response *authenticationResponse) error {
	if response.hasIss {
		if response.iss != c.cfg.Issuer {
			return failf("callback", CodeIssuerMismatch,
				"iss is %q, expected %q", clean(response.iss, 200), c.cfg.Issuer)
		}
		return nil
	}
	m, err := c.effectiveMetadata(ctx)
	if err != nil {
		return err
	}
	if m.AuthorizationResponseIssParameterSupported {
		return failf("callback", CodeIssuerMismatch, "iss is missing, though the provider announces it")
	}
	return nil
}

// providerRefusal gives a provider's error the code that callers branch on.
// The three that prompt=none can meet mean that the person has to act (OIDC
// Core 3.1.2.6).
func providerRefusal(refusal *ProviderError) error {
	switch refusal.ErrorCode {
	case "login_required", "interaction_required", "consent_required", "account_selection_required":
		return fail("callback", CodeLoginRequired, refusal)
	case "temporarily_unavailable":
		return fail("callback", CodeProviderUnavailable, refusal)
	case "unmet_authentication_requirements": // OpenID Connect Core Unmet Authentication Requirements 1.0
		return fail("callback", CodeRequirementUnmet, refusal)
	}
	return fail("callback", refusal.code(), refusal)
}

// tokenResponse is what the token endpoint answered (RFC 6749 section 5.1).
type tokenResponse struct {
	accessToken, refreshToken, idToken string
	expiry                             time.Time // zero: not said
}

// exchange redeems the code, once.
func (c *Client) exchange(ctx context.Context, m *Metadata, code, verifier string) (*tokenResponse, error) {
	return c.requestTokens(ctx, m, url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {code},
		"redirect_uri":  {c.cfg.RedirectURI},
		"code_verifier": {verifier},
	})
}

// requestTokens asks the token endpoint.
//
// The request is made here and not by oauth2.Config.Exchange, because x/oauth2
// reads the answer with encoding/json (any case, last duplicate wins) or as a
// form, puts the whole body into its error, and has no place for a client
// assertion in a refresh; and because pushed authorization requests and
// revocation need the same client authentication.
func (c *Client) requestTokens(ctx context.Context, m *Metadata, form url.Values) (*tokenResponse, error) {
	members, err := c.authenticatedPost(ctx, m, "token", m.TokenEndpoint, form, http.StatusOK)
	if err != nil {
		return nil, err
	}
	t, err := readTokenResponse(members, c.now())
	if err != nil {
		return nil, fail("token", CodeProviderInvalid, err)
	}
	return t, nil
}

func readTokenResponse(members strictjson.Members, now time.Time) (*tokenResponse, error) {
	var t tokenResponse
	var tokenType string
	for _, field := range []struct {
		name  string
		value *string
	}{
		{"access_token", &t.accessToken}, {"token_type", &tokenType}, {"refresh_token", &t.refreshToken},
		{"id_token", &t.idToken},
	} {
		var err error
		if *field.value, _, err = members.String(field.name); err != nil {
			return nil, err
		}
	}
	if t.accessToken == "" {
		return nil, errors.New("the token response has no access_token")
	}
	if !strings.EqualFold(tokenType, "Bearer") { // RFC 6749 section 5.1: "case insensitive"
		return nil, errors.New("the token response has a token_type other than Bearer")
	}
	// expires_in decides nothing, so one that is no number is like none.
	if n, err := strconv.ParseUint(string(members["expires_in"]), 10, 31); err == nil && n > 0 {
		t.expiry = now.Add(time.Duration(n) * time.Second)
	}
	return &t, nil
}

// authenticatedPost posts form to one of the provider's endpoints, with the
// client's authentication, and returns the members of the JSON answer. An
// error answer becomes a [*ProviderError]. name is the endpoint's in errors;
// want is the status of success, beside 200.
func (c *Client) authenticatedPost(
	ctx context.Context, m *Metadata, name, endpoint string, form url.Values, want int,
) (strictjson.Members, error) {
	header := make(http.Header)
	if err := c.authenticate(m, form, header); err != nil {
		return nil, err
	}
	answer, err := c.http.Do(ctx, fetch.Request{
		Method: http.MethodPost,
		URL:    endpoint,
		Header: header,
		Form:   form,
		Accept: "application/json", // some providers answer errors in HTML otherwise
	})
	if err != nil {
		return nil, failFetch(name, err)
	}
	if answer.StatusCode != want && answer.StatusCode != http.StatusOK {
		return nil, errorAnswer(name, answer)
	}
	if answer.MediaType != "application/json" {
		return nil, failf(name, CodeProviderInvalid,
			"the answer is %q, not application/json", clean(answer.MediaType, 60))
	}
	members, err := strictjson.Object(answer.Body)
	if err != nil {
		return nil, fail(name, CodeProviderInvalid, err)
	}
	if code, _, _ := members.String("error"); code != "" { // some answer errors with status 200
		return nil, errorAnswer(name, answer)
	}
	return members, nil
}

// errorAnswer reads the error that an endpoint answered (RFC 6749 section 5.2).
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
	refusal := newProviderError(name, answer.StatusCode, code, description, uri)
	return fail(name, refusal.code(), refusal)
}

// authenticate adds the client's proof to a request (OIDC Core 9, RFC 6749
// section 2.3, RFC 7523). The method is settled beforehand: trying one after
// the other would spend the code twice.
func (c *Client) authenticate(m *Metadata, form url.Values, header http.Header) error {
	method, err := c.authMethod(m)
	if err != nil {
		return err
	}
	if method == "client_secret_basic" {
		// Both halves are form-urlencoded first (RFC 6749 section 2.3.1).
		r := http.Request{Header: header}
		r.SetBasicAuth(url.QueryEscape(c.cfg.ClientID), url.QueryEscape(c.cfg.ClientSecret))
		return nil
	}
	form.Set("client_id", c.cfg.ClientID)
	switch method {
	case "client_secret_post":
		form.Set("client_secret", c.cfg.ClientSecret)
	case "client_secret_jwt", "private_key_jwt":
		assertion, err := c.clientAssertion(method)
		if err != nil {
			return fail("token", CodeInternal, err)
		}
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion)
	}
	return nil
}

// authMethod returns the configured method, else the first of basic and post
// that the provider advertises; a provider that advertises nothing means basic
// (OIDC Discovery 3).
func (c *Client) authMethod(m *Metadata) (string, error) {
	if c.cfg.TokenEndpointAuthMethod != "" {
		return c.cfg.TokenEndpointAuthMethod, nil
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
	return "", failf("token", CodeUnsupported,
		"the provider takes %s; say which in TokenEndpointAuthMethod", quoteList(offered))
}

// assertionLifetime is short: an assertion is used at once, and once.
const assertionLifetime = time.Minute

// clientAssertion makes the JWT of RFC 7523 section 3. Its audience is the
// issuer, which names the provider the same at every endpoint.
func (c *Client) clientAssertion(method string) (string, error) {
	key, err := assertionKey(&c.cfg, method)
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", err
	}
	now := c.now()
	return jwt.Signed(signer).Claims(struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
		ID       string `json:"jti"`
		IssuedAt int64  `json:"iat"`
		Expiry   int64  `json:"exp"`
	}{
		c.cfg.ClientID, c.cfg.ClientID, c.cfg.Issuer, randomText(), now.Unix(), now.Add(assertionLifetime).Unix(),
	}).Serialize()
}

// assertionKey returns the key and the algorithm that sign the client's
// assertions by method.
func assertionKey(cfg *Config, method string) (jose.SigningKey, error) {
	alg := cfg.TokenEndpointAuthSigningAlg
	if method == "client_secret_jwt" {
		if alg == "" {
			alg = "HS256"
		}
		if macSizes[alg] == 0 {
			return jose.SigningKey{}, errors.New("client_secret_jwt is signed with HS256, HS384 or HS512")
		}
		return jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: []byte(cfg.ClientSecret)}, nil
	}
	for _, key := range cfg.ClientKeys {
		fits := signingAlgs(key)
		if alg == "" && len(fits) > 0 {
			return jose.SigningKey{Algorithm: jose.SignatureAlgorithm(fits[0]), Key: key}, nil
		}
		if slices.Contains(fits, alg) {
			return jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: key}, nil
		}
	}
	return jose.SigningKey{}, errors.New("none of ClientKeys signs with that algorithm")
}

// signingAlgs returns the algorithms that key can sign with: its own alg if it
// says one, else those of its type, the usual one first. A key for encryption
// has none.
func signingAlgs(key jose.JSONWebKey) []string {
	var algs []string
	switch k := key.Key.(type) {
	case *rsa.PrivateKey:
		algs = []string{"RS256", "PS256", "RS384", "PS384", "RS512", "PS512"}
	case ed25519.PrivateKey:
		algs = []string{"EdDSA"}
	case *ecdsa.PrivateKey:
		algs = map[int][]string{256: {"ES256"}, 384: {"ES384"}, 521: {"ES512"}}[k.Curve.Params().BitSize]
	}
	return slices.DeleteFunc(algs, func(alg string) bool {
		return key.Use == "enc" || key.Algorithm != "" && key.Algorithm != alg
	})
}

// checkAssertionAlg reports what is wrong with the keys of the jwt methods.
func checkAssertionAlg(cfg *Config) error {
	method := cfg.TokenEndpointAuthMethod
	if method != "client_secret_jwt" && (method != "private_key_jwt" || len(cfg.ClientKeys) == 0) {
		return nil
	}
	key, err := assertionKey(cfg, method)
	if err != nil {
		return err
	}
	_, err = jose.NewSigner(key, nil)
	return err
}
