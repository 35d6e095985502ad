package oidcrp

// This file makes the authentication request (OIDC Core 3.1.2.1) and keeps
// what its response will be checked against.

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// AuthOptions is what one login asks of the provider beyond signing in (OIDC
// Core 3.1.2.1). The zero value asks for nothing; a field that is empty is not
// sent.
type AuthOptions struct {
	// ReturnTo is the page of this app to come back to: a path such as
	// "/dossiers/12?tab=2". If empty or not a local path, the app's start page. At
	// most 4,000 bytes are carried, and of a path that hardly compresses fewer, about
	// 2,000: the cookie must fit into a response header of 4 KiB, beyond which nginx
	// answers 502 by default. What is dropped is logged.
	ReturnTo string
	// Prompt is "none", or a space-separated list of "login", "consent",
	// "select_account" and "create". Other values are passed on, for a provider that has
	// some of its own: at most five, of printable ASCII without quotes and backslashes.
	Prompt string
	// Scopes are further scopes of this login, beside those of [Config.Scopes], which
	// every login asks for. In Config.Login they are refused.
	Scopes []string
	// MaxAge is how long ago the person may have authenticated. It is sent in
	// whole seconds, and the ID Token's auth_time is then required and checked.
	// If nil, not sent; 0 asks for a fresh login.
	MaxAge *time.Duration
	// ACRValues are the authentication context classes to ask for, in order of
	// preference, as a voluntary request: the provider may answer another one
	// or none (OIDC Core 3.1.2.1).
	ACRValues []string
	// RequireACR are the authentication context classes of which the ID Token
	// must name one, or the login fails with [CodeRequirementUnmet]. They are
	// requested too, unless ACRValues is set: as an essential acr claim if the
	// provider supports the claims parameter (it must then return one of them or
	// fail, OIDC Core 5.5.1.1), else as acr_values. If the provider lists some of
	// them in acr_values_supported, only those are requested. Set ACRValues too if
	// the provider returns other values than those requested, as Pro Santé Connect does.
	// In [Config.Login], every protected route requires them.
	RequireACR []string
	// Claims requests single claims (OIDC Core 5.5). An essential acr claim with
	// value or values is checked like RequireACR, on protected routes too.
	Claims *ClaimsRequest
	// LoginHint, IDTokenHint, Display and UILocales are those of the
	// specification.
	LoginHint   string
	IDTokenHint string
	Display     string
	UILocales   []string
	// Resource are the resource indicators (RFC 8707), each sent as a
	// parameter of its own.
	Resource []string
	// Extra are parameters that only this provider knows, such as
	// ProConnect's idp_hint. It may not name a parameter that this package
	// sends itself.
	Extra url.Values

	stepUp string       // the requirements that this login is to meet
	byPage bool         // a protected page asks for this login
	silent bool         // nobody asked for this login
	own    *AuthOptions // without those of the Config
}

// ClaimsRequest is the claims parameter (OIDC Core 5.5). A nil [ClaimRequest]
// asks for the claim as a voluntary one.
type ClaimsRequest struct {
	UserInfo map[string]*ClaimRequest `json:"userinfo,omitempty"`
	IDToken  map[string]*ClaimRequest `json:"id_token,omitempty"`
}

// ClaimRequest states whether a claim is essential and which values are wanted
// (OIDC Core 5.5.1).
type ClaimRequest struct {
	Essential bool  `json:"essential,omitempty"`
	Value     any   `json:"value,omitempty"`
	Values    []any `json:"values,omitempty"`
}

// ownParameters are those that AuthOptions.Extra may not name: this package
// checks them in the response, or they have a field.
var ownParameters = []string{
	"response_type", "response_mode", "client_id", "redirect_uri", "scope", "state", "nonce",
	"code_challenge", "code_challenge_method", "client_secret", "client_assertion",
	"client_assertion_type", "request", "request_uri", "prompt", "max_age", "acr_values",
	"claims", "login_hint", "id_token_hint", "display", "ui_locales", "resource",
}

// asksMore reports whether o has options that a transaction does not hold.
func (o *AuthOptions) asksMore() bool {
	return o.Claims != nil || o.IDTokenHint != "" || o.Display != "" || len(o.Resource) > 0
}

// validate returns what is wrong with o, and which field.
func (o *AuthOptions) validate() (field string, err error) {
	if err := checkPrompt(strings.Fields(o.Prompt)); err != nil {
		return "Prompt", err
	}
	for _, scope := range o.Scopes {
		if strings.Contains(scope, ",") || !isToken(strings.ReplaceAll(scope, " ", "")) {
			return "Scopes", fmt.Errorf("holds %q, which is no scope (RFC 6749 section 3.3)", clean(scope, 100))
		}
	}
	for _, list := range []struct {
		field  string
		values []string
	}{{"ACRValues", o.ACRValues}, {"RequireACR", o.RequireACR}} {
		for _, acr := range list.values {
			if acr == "" || strings.Contains(acr, " ") { // the parameter is a list
				return list.field, fmt.Errorf("holds %q: give each value by itself, without spaces", clean(acr, 100))
			}
		}
	}
	if slices.Contains(o.essentialACR(), "") {
		return "Claims", errors.New("holds an essential acr with an empty value, which a session without acr would have")
	}
	for _, acr := range o.essentialACR() {
		if strings.Contains(acr, " ") {
			return "Claims", fmt.Errorf("holds the essential acr %q: give each value by itself, without spaces", clean(acr, 100))
		}
	}
	if o.MaxAge != nil && *o.MaxAge < 0 {
		return "MaxAge", fmt.Errorf("%v is negative", *o.MaxAge)
	}
	if name := o.extraOfOurs(); name != "" {
		return "Extra", fmt.Errorf("holds %q, which this package sends itself", name)
	}
	if o.Claims == nil {
		return "", nil
	}
	if _, err := json.Marshal(o.Claims); err != nil {
		return "Claims", fmt.Errorf("cannot be encoded: %w", err)
	}
	return "", nil
}

// extraOfOurs returns the first parameter of Extra, by name, that this package sends
// itself, "" if there is none.
func (o *AuthOptions) extraOfOurs() (first string) {
	for _, name := range ownParameters {
		if o.Extra.Has(name) && (first == "" || name < first) {
			first = name
		}
	}
	return first
}

// maxPrompts and maxPrompt bound the values of prompt and the length of one.
const (
	maxPrompts = 5
	maxPrompt  = 64
)

// checkPrompt checks the values of a prompt parameter. Those of OIDC Core 3.1.2.1 and of
// Initiating User Registration 1.0 are recognised when they are misspelt: "None" would be
// another value to a provider, which might ask the person.
func checkPrompt(prompts []string) error {
	if len(prompts) > maxPrompts {
		return fmt.Errorf("has %d values, at most %d", len(prompts), maxPrompts)
	}
	for _, prompt := range prompts {
		if !isToken(prompt) || len(prompt) > maxPrompt {
			return fmt.Errorf("holds %q: a value is at most %d characters of printable ASCII without quotes and backslashes",
				clean(prompt, 30), maxPrompt)
		}
		for _, known := range []string{"none", "login", "consent", "select_account", "create"} {
			if prompt != known && distance(strings.ToLower(prompt), known) <= 1 {
				return fmt.Errorf("holds %q: do you mean %q?", prompt, known)
			}
		}
	}
	if slices.Contains(prompts, "none") && len(prompts) > 1 {
		return errors.New(`"none" cannot be combined with others`)
	}
	return nil
}

// isToken reports whether s may be one value of a list of scopes (RFC 6749 section 3.3).
func isToken(s string) bool {
	return s != "" && isVisible(s, '!') && !strings.ContainsAny(s, `"\`)
}

// clone copies what o shares with its maker.
func (o AuthOptions) clone() AuthOptions {
	if o.MaxAge != nil {
		o.MaxAge = new(*o.MaxAge)
	}
	o.ACRValues = slices.Clone(o.ACRValues)
	o.RequireACR = slices.Clone(o.RequireACR)
	o.Scopes = slices.Clone(o.Scopes)
	o.UILocales = slices.Clone(o.UILocales)
	o.Resource = slices.Clone(o.Resource)
	o.Extra = cloneValues(o.Extra)
	o.Claims = o.Claims.clone()
	return o
}

func cloneValues(values url.Values) url.Values {
	values = maps.Clone(values)
	for name, list := range values {
		values[name] = slices.Clone(list)
	}
	return values
}

func (c *ClaimsRequest) clone() *ClaimsRequest {
	if c == nil {
		return nil
	}
	return &ClaimsRequest{UserInfo: cloneClaims(c.UserInfo), IDToken: cloneClaims(c.IDToken)}
}

func cloneClaims(claims map[string]*ClaimRequest) map[string]*ClaimRequest {
	claims = maps.Clone(claims)
	for name, claim := range claims {
		if claim != nil {
			claims[name] = &ClaimRequest{
				Essential: claim.Essential, Value: claim.Value, Values: slices.Clone(claim.Values),
			}
		}
	}
	return claims
}

// over returns o, with the fields that it leaves empty taken from base.
func (o AuthOptions) over(base AuthOptions) AuthOptions {
	o, base = o.clone(), base.clone()
	o.ReturnTo = cmp.Or(o.ReturnTo, base.ReturnTo)
	o.Prompt = cmp.Or(o.Prompt, base.Prompt)
	o.MaxAge = cmp.Or(o.MaxAge, base.MaxAge)
	o.LoginHint = cmp.Or(o.LoginHint, base.LoginHint)
	o.IDTokenHint = cmp.Or(o.IDTokenHint, base.IDTokenHint)
	o.Display = cmp.Or(o.Display, base.Display)
	o.acrOver(&base)
	if o.UILocales == nil {
		o.UILocales = base.UILocales
	}
	if o.Resource == nil {
		o.Resource = base.Resource
	}
	o.Claims = o.Claims.over(base.Claims)
	for name, values := range base.Extra {
		if _, ok := o.Extra[name]; !ok {
			o.Extra = setValues(o.Extra, name, values)
		}
	}
	return o
}

func setValues(v url.Values, name string, values []string) url.Values {
	if v == nil {
		v = make(url.Values)
	}
	v[name] = values
	return v
}

func (c *ClaimsRequest) over(base *ClaimsRequest) *ClaimsRequest {
	if c == nil {
		return base
	}
	if base == nil {
		return c
	}
	merge := func(base, over map[string]*ClaimRequest) map[string]*ClaimRequest {
		if base == nil {
			return over
		}
		maps.Copy(base, over)
		return base
	}
	return &ClaimsRequest{UserInfo: merge(base.UserInfo, c.UserInfo), IDToken: merge(base.IDToken, c.IDToken)}
}

// acrOver is over for the three fields that concern acr: a field that is set
// replaces those of base that contradict it.
func (o *AuthOptions) acrOver(base *AuthOptions) {
	essential := o.essentialACR() != nil
	// A login that a route of the app starts repeats what base requires.
	same := o.RequireACR == nil || slices.Equal(o.RequireACR, base.acceptedACR())
	if o.ACRValues != nil || !same {
		base.dropEssentialACR()
	}
	if !essential && o.ACRValues == nil && same {
		o.ACRValues = base.ACRValues
	}
	if !essential && o.RequireACR == nil {
		o.RequireACR = base.RequireACR
	}
}

// An acrWish is what a login asks for as authentication context class, and
// what it accepts.
type acrWish struct {
	ask    []string // sent
	accept []string // the ID Token must name one of them; nil: any or none
	// essential says to ask with the claims parameter, in place of acr_values.
	essential bool
}

// acr returns what o wishes from a provider with metadata m.
func (o *AuthOptions) acr(m *Metadata) acrWish {
	accept := o.acceptedACR()
	if values := o.essentialACR(); values != nil {
		return acrWish{ask: values, accept: accept, essential: true}
	}
	if len(accept) == 0 || len(o.ACRValues) > 0 {
		return acrWish{ask: o.ACRValues, accept: accept}
	}
	ask := slices.DeleteFunc(slices.Clone(accept), func(acr string) bool {
		return !slices.Contains(m.ACRValuesSupported, acr)
	})
	if len(ask) == 0 {
		ask = accept
	}
	return acrWish{ask: ask, accept: accept, essential: m.ClaimsParameterSupported}
}

// acceptedACR returns the acr values of which the ID Token must name one: those
// of RequireACR, else those of an essential acr claim.
func (o *AuthOptions) acceptedACR() []string {
	if values := o.essentialACR(); len(o.RequireACR) == 0 && values != nil {
		return values
	}
	return o.RequireACR
}

// claims returns the claims parameter of a request that wishes w.
func (w acrWish) claims(c *ClaimsRequest) *ClaimsRequest {
	if !w.essential || c.essentialACR() != nil {
		return c
	}
	values := make([]any, len(w.ask))
	for i, acr := range w.ask {
		values[i] = acr
	}
	essential := &ClaimsRequest{IDToken: map[string]*ClaimRequest{"acr": {Essential: true, Values: values}}}
	return essential.over(c.clone())
}

// essentialACR returns the values of an essential acr claim, nil without one.
func (o *AuthOptions) essentialACR() []string { return o.Claims.essentialACR() }

func (c *ClaimsRequest) essentialACR() []string {
	if c == nil || c.IDToken["acr"] == nil || !c.IDToken["acr"].Essential {
		return nil
	}
	var values []string
	for _, v := range append([]any{c.IDToken["acr"].Value}, c.IDToken["acr"].Values...) {
		if s, ok := v.(string); ok {
			values = append(values, s)
		}
	}
	return values
}

// dropEssentialACR takes back what essentialACR returns.
func (o *AuthOptions) dropEssentialACR() {
	if o.essentialACR() != nil {
		delete(o.Claims.IDToken, "acr")
	}
}

// A request is an authentication request that the provider can take.
type request struct {
	flow     *flow
	metadata *Metadata
	asked    *AuthOptions
	acr      acrWish
}

// prepare checks asked against the provider's metadata.
func (f *flow) prepare(ctx context.Context, asked *AuthOptions) (*request, error) {
	m, err := f.provider.metadata(ctx)
	if err != nil {
		return nil, err
	}
	r := &request{flow: f, metadata: m, asked: asked, acr: asked.acr(m)}
	return r, r.checkOffered()
}

// maxAge returns the max_age parameter in seconds, nil when it is not sent.
func (r *request) maxAge() *int64 {
	if r.asked.MaxAge == nil {
		return nil
	}
	return new(int64(*r.asked.MaxAge / time.Second))
}

// checkOffered refuses, before any redirect, what the provider does not support.
// An unsupported essential acr makes some providers redirect without end.
func (r *request) checkOffered() error {
	m := r.metadata
	if r.acr.accept != nil && (r.acr.essential || len(r.asked.ACRValues) == 0) {
		for _, acr := range r.acr.ask {
			if len(m.ACRValuesSupported) > 0 && !slices.Contains(m.ACRValuesSupported, acr) {
				return failf("login", CodeUnsupportedByProvider,
					"acr value %q is not in the provider's acr_values_supported %s", acr, quoteList(m.ACRValuesSupported))
			}
		}
	}
	modes := m.ResponseModesSupported
	if mode := r.flow.responseMode; mode == "form_post" && len(modes) > 0 && !slices.Contains(modes, mode) {
		return failf("login", CodeUnsupportedByProvider,
			"%s %q is not in the provider's response_modes_supported %s", r.flow.setting.name("ResponseMode"), mode, quoteList(modes))
	}
	// A mistake is found here, before the browser goes to the provider.
	_, err := r.flow.provider.auth.methodFor(m)
	return err
}

// pkce returns the code_verifier that a login uses: none if the provider takes no PKCE.
func (f *flow) pkce(verifier string) string {
	if f.noPKCE {
		return ""
	}
	return verifier
}

// parameters returns the request's parameters. None is empty: some providers
// refuse an empty value.
func (r *request) parameters(state, nonce, verifier string) url.Values {
	f, asked := r.flow, r.asked
	v := url.Values{
		"response_type": {"code"},
		"client_id":     {f.clientID},
		"redirect_uri":  {f.registration.RedirectURI},
		"scope":         {strings.Join(f.scopesOf(asked), " ")},
		"state":         {state},
		"nonce":         {nonce},
	}
	if verifier != "" {
		v.Set("code_challenge", oauth2.S256ChallengeFromVerifier(verifier))
		v.Set("code_challenge_method", "S256")
	}
	set := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	set("response_mode", f.responseMode)
	set("prompt", joined(strings.Fields(asked.Prompt)))
	set("login_hint", asked.LoginHint)
	set("id_token_hint", asked.IDTokenHint)
	set("display", asked.Display)
	set("ui_locales", joined(asked.UILocales))
	if !r.acr.essential {
		// An essential acr claim replaces acr_values: some providers take both
		// as essential if they get both.
		set("acr_values", joined(r.acr.ask))
	}
	if seconds := r.maxAge(); seconds != nil {
		set("max_age", strconv.FormatInt(*seconds, 10))
	}
	if claims := r.acr.claims(asked.Claims); claims != nil && len(claims.UserInfo)+len(claims.IDToken) > 0 {
		text, _ := json.Marshal(claims) // validate has tried it
		set("claims", string(text))
	}
	addValues(v, "resource", asked.Resource)
	for name, values := range asked.Extra {
		addValues(v, name, values)
	}
	return v
}

// scopesOf returns the scopes of a login, each once.
func (f *flow) scopesOf(asked *AuthOptions) []string {
	scopes := f.scopes
	for _, scope := range strings.Fields(strings.Join(asked.Scopes, " ")) {
		if !slices.Contains(scopes, scope) {
			scopes = append(slices.Clip(scopes), scope)
		}
	}
	return scopes
}

// joined returns the values that are not empty as a list of a parameter.
func joined(values []string) string {
	return strings.Join(strings.Fields(strings.Join(values, " ")), " ")
}

// addValues adds the values that are not empty, as parameters of one name.
func addValues(v url.Values, name string, values []string) {
	for _, value := range values {
		if value != "" {
			v.Add(name, value)
		}
	}
}

// location returns the URL of the provider with the parameters, or pushes the
// parameters first and returns the URL with their reference (RFC 9126 section 4).
func (r *request) location(ctx context.Context, v url.Values) (string, error) {
	f, m := r.flow, r.metadata
	endpoint, err := url.Parse(m.AuthorizationEndpoint)
	if err != nil {
		return "", failf("login", CodeProviderInvalid, "authorization_endpoint is not a URL")
	}
	if f.registration.RequirePushedAuthorizationRequests || m.RequirePushedAuthorizationRequests {
		requestURI, err := r.push(ctx, v)
		if err != nil {
			return "", err
		}
		v = url.Values{"client_id": {f.clientID}, "request_uri": {requestURI}}
	}
	return withQuery(endpoint, v), nil
}

// withQuery adds parameters to endpoint, which may have a query of its own that
// must be kept (RFC 6749 section 3.1).
func withQuery(endpoint *url.URL, v url.Values) string {
	if endpoint.RawQuery != "" {
		endpoint.RawQuery += "&"
	}
	endpoint.RawQuery += v.Encode()
	return endpoint.String()
}

// push sends the parameters to the provider and returns the request_uri (RFC
// 9126 section 2).
func (r *request) push(ctx context.Context, v url.Values) (string, error) {
	const name = "pushed authorization request"
	endpoint := r.metadata.PushedAuthorizationRequestEndpoint
	if endpoint == "" {
		return "", failf("login", CodeUnsupportedByProvider, "the provider has no pushed_authorization_request_endpoint")
	}
	members, err := r.flow.provider.post(ctx, r.metadata, name, endpoint, v, http.StatusCreated)
	if err != nil {
		return "", err
	}
	requestURI, _, err := members.String("request_uri")
	if err != nil || requestURI == "" {
		return "", failf("login", CodeProviderInvalid, "the %s answer has no request_uri", name)
	}
	return requestURI, nil
}
