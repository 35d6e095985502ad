package oidcrp

// This file reads the authentication response (OIDC Core 3.1.2.5 to 3.1.2.7) and
// exchanges its code for tokens (OIDC Core 3.1.3).

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/oidcrp/oidcrp/internal/strictjson"
)

// flow owns the protocol of a login: the authentication request, the exchange
// of the code, and the checks of what the provider answers.
type flow struct {
	provider            *provider
	rules               *rules
	registration        *Registration
	clientID            string
	scopes              []string
	responseMode        string
	userInfoTokenInBody bool
	noUserInfo          bool
	noPKCE              bool
	tokenParameters     url.Values // further ones, of each request for tokens
	logoutTokenAlg      string     // the only one for Logout Tokens; may be empty
	wantsRefresh        bool       // sessions are to be refreshed
	setting             settingName
	seenAlgs            sync.Map // the algorithms of the ID Tokens verified here, as keys
	noRefreshToken      sync.Once
	now                 func() time.Time
}

// formPost reports whether responses come as a form, not in the query.
func (f *flow) formPost() bool { return f.responseMode == "form_post" }

// authenticated is the verified result of a login.
type authenticated struct {
	idToken  *idToken
	userInfo []byte // compact JSON; nil when the provider has no UserInfo endpoint
	tokens   *tokenResponse
	started  time.Time // when the code was about to be exchanged
	// How long the three steps took.
	exchange, verification, userInfoCall time.Duration
}

// authenticate exchanges the code, verifies the ID Token and calls UserInfo. Each
// result is checked before the next step.
func (f *flow) authenticate(
	ctx context.Context, code, verifier string, expected expectedIDToken,
) (*authenticated, error) {
	m, err := f.provider.metadata(ctx)
	if err != nil {
		return nil, err
	}
	a := &authenticated{started: f.now()}
	if a.tokens, err = f.exchange(ctx, m, code, verifier); err != nil {
		return nil, err
	}
	exchanged := f.now()
	expected.accessToken = a.tokens.accessToken
	if a.idToken, err = f.verifyIDToken(ctx, m, a.tokens.idToken, &expected); err != nil {
		return nil, err
	}
	verified := f.now()
	if a.userInfo, err = f.userInfo(ctx, m, a.tokens.accessToken, a.idToken.issuer, a.idToken.subject); err != nil {
		return nil, err
	}
	a.exchange, a.verification = exchanged.Sub(a.started), verified.Sub(exchanged)
	a.userInfoCall = f.now().Sub(verified)
	return a, nil
}

// An authenticationResponse holds the parameters at the redirect URI.
type authenticationResponse struct {
	params      url.Values
	state, code string
	iss         string
	hasIss      bool
	posted      bool // in a form, not in the query
	err         *ProviderError
}

// maxCallbackBody bounds the form of response mode form_post.
const maxCallbackBody = 64 << 10

// readAuthenticationResponse reads the parameters of the query or, for form_post,
// of the body. A known parameter must not appear twice (RFC 6749 section 3.1);
// unknown ones are ignored.
func readAuthenticationResponse(r *http.Request) (*authenticationResponse, error) {
	params, err := callbackParameters(r)
	if err != nil {
		return nil, err
	}
	var refusal *ProviderError
	if params.Has("error") {
		refusal = newProviderError("authorization", 0,
			params.Get("error"), params.Get("error_description"), params.Get("error_uri"))
	}
	for _, name := range []string{"state", "code", "iss", "error", "error_description", "error_uri"} {
		if len(params[name]) > 1 {
			return nil, quote(failf("callback", CodeInvalidRequest, "parameter %s given twice", name), refusal)
		}
	}
	return &authenticationResponse{
		params: params,
		state:  params.Get("state"),
		code:   params.Get("code"),
		iss:    params.Get("iss"),
		hasIss: params.Has("iss"),
		posted: r.Method == http.MethodPost,
		err:    refusal,
	}, nil
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

// checkResponseIssuer is RFC 9207 section 2.4: it refuses the response of another
// provider. The ID Token must be of the same issuer.
func (f *flow) checkResponseIssuer(ctx context.Context, response *authenticationResponse) error {
	if response.hasIss {
		if !f.rules.accepts(response.iss) {
			return failf("callback", CodeIssuerMismatch,
				"iss is %q, expected %s", clean(response.iss, 200), f.rules.expectedIssuer())
		}
		return nil
	}
	m, err := f.provider.metadata(ctx)
	if err != nil {
		return err
	}
	if m.AuthorizationResponseIssParameterSupported {
		return failf("callback", CodeIssuerMismatch, "iss is missing, although the provider's metadata announces it")
	}
	return nil
}

// providerRefusal returns a provider's error with its code. The errors of
// prompt=none mean that the person has to act (OIDC Core 3.1.2.6).
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
	expiry                             time.Time // zero: not specified
	oddExpiresIn                       string    // an expires_in that is no time; "" otherwise
}

// token returns t as an app gets it.
func (t *tokenResponse) token() *oauth2.Token {
	return &oauth2.Token{
		AccessToken: t.accessToken, TokenType: "Bearer", RefreshToken: t.refreshToken, Expiry: t.expiry,
	}
}

// exchange redeems the code, once. verifier is empty for a login without PKCE.
func (f *flow) exchange(ctx context.Context, m *Metadata, code, verifier string) (*tokenResponse, error) {
	form := url.Values{
		"grant_type":   {"authorization_code"},
		"code":         {code},
		"redirect_uri": {f.registration.RedirectURI},
	}
	addValues(form, "code_verifier", []string{verifier})
	t, err := f.requestTokens(ctx, m, form)
	if err == nil && t.refreshToken == "" && f.wantsRefresh {
		f.noRefreshToken.Do(func() { f.provider.events.noRefreshToken(ctx, f.refreshMend(m)) })
	}
	return t, err
}

// refreshMend says what may bring a refresh token (OIDC Core 11).
func (f *flow) refreshMend(m *Metadata) string {
	const scope = "offline_access"
	if slices.Contains(m.ScopesSupported, scope) && !slices.Contains(f.scopes, scope) {
		return "add the scope " + scope + " to " + f.setting.name("Scopes")
	}
	return "have the grant type refresh_token registered for this client"
}

// requestTokens sends a request to the token endpoint.
//
// It does not use oauth2.Config.Exchange, because x/oauth2 reads the response with
// encoding/json (names in any case, the last duplicate wins) or as a form, puts
// the whole body into its error, and cannot add a client assertion to a refresh.
// Pushed authorization requests and revocation need the same client
// authentication.
func (f *flow) requestTokens(ctx context.Context, m *Metadata, form url.Values) (*tokenResponse, error) {
	for name, values := range f.tokenParameters {
		addValues(form, name, values)
	}
	members, err := f.provider.post(ctx, m, "token", m.TokenEndpoint, form, http.StatusOK)
	if err != nil {
		return nil, err
	}
	t, err := readTokenResponse(members, f.now())
	if err != nil {
		return nil, fail("token", CodeProviderInvalid, err)
	}
	if t.oddExpiresIn != "" {
		f.provider.events.expiresInIgnored(ctx, t.oddExpiresIn)
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
	if !isVisible(t.accessToken, '!') {
		return nil, errors.New("the access_token has a space, a control character or one outside ASCII (RFC 6750 section 2.1)")
	}
	if !isVisible(t.refreshToken, ' ') {
		return nil, errors.New("the refresh_token has a control character or one outside ASCII (RFC 6749 appendix A.17)")
	}
	if !strings.EqualFold(tokenType, "Bearer") { // RFC 6749 section 5.1: "case insensitive"
		return nil, errors.New("the token response has a token_type other than Bearer")
	}
	if members.Has("expires_in") {
		life, ok := readSeconds(members["expires_in"])
		if ok {
			t.expiry = now.Add(life)
		} else {
			t.oddExpiresIn = clean(string(members["expires_in"]), 30)
		}
	}
	return &t, nil
}

// isVisible reports whether s holds only printable ASCII characters from first on.
// RFC 6750 section 2.1 allows fewer in an access token, but some providers send
// others; a header and a form carry these.
func isVisible(s string, first rune) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < first || r > '~' })
}

// maxExpiresIn bounds expires_in: 68 years.
const maxExpiresIn = 1<<31 - 1

// readSeconds reads expires_in: a number, with a fraction or an exponent too, or
// the same as a string, which some providers send. It refuses what is not positive
// or more than maxExpiresIn.
func readSeconds(raw json.RawMessage) (time.Duration, bool) {
	text := strings.Trim(string(raw), `"`)
	if strings.Trim(text, "0123456789.eE+-") != "" { // ParseFloat knows more forms
		return 0, false
	}
	seconds, err := strconv.ParseFloat(text, 64) // exact up to maxExpiresIn
	if err != nil || seconds <= 0 || seconds > maxExpiresIn {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)).Round(time.Microsecond), true
}
