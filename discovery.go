package oidcrp

// This file fetches, checks and keeps the provider's metadata (OpenID Connect
// Discovery 1.0 section 4).

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/oidcrp/oidcrp/internal/fetch"
	"github.com/oidcrp/oidcrp/internal/strictjson"
)

// Metadata is the metadata that a provider publishes. The fields are those of
// OpenID Connect Discovery 1.0 section 3 and of the specifications named below,
// under their registered names. A member that the provider omits is zero: the
// defaults of the specifications are not filled in.
type Metadata struct {
	Issuer                                     string   `json:"issuer"`
	AuthorizationEndpoint                      string   `json:"authorization_endpoint"`
	TokenEndpoint                              string   `json:"token_endpoint"`
	UserInfoEndpoint                           string   `json:"userinfo_endpoint,omitempty"`
	JWKSURI                                    string   `json:"jwks_uri"`
	RegistrationEndpoint                       string   `json:"registration_endpoint,omitempty"`
	ScopesSupported                            []string `json:"scopes_supported,omitempty"`
	ResponseTypesSupported                     []string `json:"response_types_supported,omitempty"`
	ResponseModesSupported                     []string `json:"response_modes_supported,omitempty"`
	GrantTypesSupported                        []string `json:"grant_types_supported,omitempty"`
	ACRValuesSupported                         []string `json:"acr_values_supported,omitempty"`
	SubjectTypesSupported                      []string `json:"subject_types_supported,omitempty"`
	IDTokenSigningAlgValuesSupported           []string `json:"id_token_signing_alg_values_supported,omitempty"`
	IDTokenEncryptionAlgValuesSupported        []string `json:"id_token_encryption_alg_values_supported,omitempty"`
	IDTokenEncryptionEncValuesSupported        []string `json:"id_token_encryption_enc_values_supported,omitempty"`
	UserInfoSigningAlgValuesSupported          []string `json:"userinfo_signing_alg_values_supported,omitempty"`
	UserInfoEncryptionAlgValuesSupported       []string `json:"userinfo_encryption_alg_values_supported,omitempty"`
	UserInfoEncryptionEncValuesSupported       []string `json:"userinfo_encryption_enc_values_supported,omitempty"`
	RequestObjectSigningAlgValuesSupported     []string `json:"request_object_signing_alg_values_supported,omitempty"`
	RequestObjectEncryptionAlgValuesSupported  []string `json:"request_object_encryption_alg_values_supported,omitempty"`
	RequestObjectEncryptionEncValuesSupported  []string `json:"request_object_encryption_enc_values_supported,omitempty"`
	TokenEndpointAuthMethodsSupported          []string `json:"token_endpoint_auth_methods_supported,omitempty"`
	TokenEndpointAuthSigningAlgValuesSupported []string `json:"token_endpoint_auth_signing_alg_values_supported,omitempty"`
	DisplayValuesSupported                     []string `json:"display_values_supported,omitempty"`
	ClaimTypesSupported                        []string `json:"claim_types_supported,omitempty"`
	ClaimsSupported                            []string `json:"claims_supported,omitempty"`
	ServiceDocumentation                       string   `json:"service_documentation,omitempty"`
	ClaimsLocalesSupported                     []string `json:"claims_locales_supported,omitempty"`
	UILocalesSupported                         []string `json:"ui_locales_supported,omitempty"`
	ClaimsParameterSupported                   bool     `json:"claims_parameter_supported,omitempty"`
	RequestParameterSupported                  bool     `json:"request_parameter_supported,omitempty"`
	// RequestURIParameterSupported is true by the specification if the provider
	// omits it. Here it is then false, like any other member.
	RequestURIParameterSupported  bool   `json:"request_uri_parameter_supported,omitempty"`
	RequireRequestURIRegistration bool   `json:"require_request_uri_registration,omitempty"`
	OPPolicyURI                   string `json:"op_policy_uri,omitempty"`
	OPTosURI                      string `json:"op_tos_uri,omitempty"`

	// RFC 8414, OAuth 2.0 Authorization Server Metadata.
	RevocationEndpoint                                 string   `json:"revocation_endpoint,omitempty"`
	RevocationEndpointAuthMethodsSupported             []string `json:"revocation_endpoint_auth_methods_supported,omitempty"`
	RevocationEndpointAuthSigningAlgValuesSupported    []string `json:"revocation_endpoint_auth_signing_alg_values_supported,omitempty"`
	IntrospectionEndpoint                              string   `json:"introspection_endpoint,omitempty"`
	IntrospectionEndpointAuthMethodsSupported          []string `json:"introspection_endpoint_auth_methods_supported,omitempty"`
	IntrospectionEndpointAuthSigningAlgValuesSupported []string `json:"introspection_endpoint_auth_signing_alg_values_supported,omitempty"`
	CodeChallengeMethodsSupported                      []string `json:"code_challenge_methods_supported,omitempty"`

	// RFC 8705, OAuth 2.0 Mutual-TLS Client Authentication.
	TLSClientCertificateBoundAccessTokens bool `json:"tls_client_certificate_bound_access_tokens,omitempty"`
	// MTLSEndpointAliases are the endpoints to use with a client certificate
	// instead of those of the same registered name, such as "token_endpoint".
	MTLSEndpointAliases map[string]string `json:"mtls_endpoint_aliases,omitempty"`

	// RFC 9126, OAuth 2.0 Pushed Authorization Requests.
	PushedAuthorizationRequestEndpoint string `json:"pushed_authorization_request_endpoint,omitempty"`
	RequirePushedAuthorizationRequests bool   `json:"require_pushed_authorization_requests,omitempty"`

	// RFC 9207, OAuth 2.0 Authorization Server Issuer Identification.
	AuthorizationResponseIssParameterSupported bool `json:"authorization_response_iss_parameter_supported,omitempty"`

	// OpenID Connect Session Management, RP-Initiated, Front-Channel and
	// Back-Channel Logout, each 1.0.
	CheckSessionIframe                 string `json:"check_session_iframe,omitempty"`
	EndSessionEndpoint                 string `json:"end_session_endpoint,omitempty"`
	FrontchannelLogoutSupported        bool   `json:"frontchannel_logout_supported,omitempty"`
	FrontchannelLogoutSessionSupported bool   `json:"frontchannel_logout_session_supported,omitempty"`
	BackchannelLogoutSupported         bool   `json:"backchannel_logout_supported,omitempty"`
	BackchannelLogoutSessionSupported  bool   `json:"backchannel_logout_session_supported,omitempty"`

	// Initiating User Registration via OpenID Connect 1.0.
	PromptValuesSupported []string `json:"prompt_values_supported,omitempty"`
}

// clone returns a copy of m that shares nothing with it.
func (m *Metadata) clone() *Metadata {
	c := *m
	fields := reflect.ValueOf(&c).Elem()
	for i := range fields.NumField() {
		if list, ok := fields.Field(i).Addr().Interface().(*[]string); ok {
			*list = slices.Clone(*list)
		}
	}
	c.MTLSEndpointAliases = maps.Clone(m.MTLSEndpointAliases)
	return &c
}

// Provider holds what this client needs to know about the provider beyond its
// issuer. The zero value fits most providers.
type Provider struct {
	// Metadata replaces discovery, for providers that have none. If nil, the
	// metadata is fetched from Issuer when it is first needed.
	Metadata *Metadata
	// MetadataURL is where the metadata is, for a provider that does not publish it at
	// Issuer and "/.well-known/openid-configuration": Azure AD B2C, Entra External ID,
	// Entra's "organizations", Pro Santé Connect. It must be an https URL, or http on a
	// loopback host if Issuer is, and may have a query. The issuer in the metadata must be
	// Issuer all the same, byte for byte. If empty, it is the address of OIDC Discovery 4.
	MetadataURL string
	// AdjustMetadata changes the metadata after each fetch, before it is checked as any
	// other is: for a provider that publishes a member that is wrong or leaves one out, such
	// as Auth0, which has an end_session_endpoint that it does not publish unless told to.
	// It may run on any goroutine. It cannot change the issuer, which is compared before
	// and after. If nil, the metadata is used as published.
	AdjustMetadata func(m *Metadata)
	// JWKS are the provider's keys, a JWK Set as JSON (RFC 7517 section 5), for a provider
	// without jwks_uri. They are then never fetched: when the provider changes its keys,
	// nobody can sign in until JWKS is changed too. If nil, the keys are those at the
	// metadata's jwks_uri.
	JWKS []byte
	// AcceptedIssuers are the values that the iss of a token may have, for a provider with
	// several: Entra with tenants, B2C with policies. Each is the iss of one tenant, or has
	// "{tenantid}" as a segment of its path and then stands for every tenant, which needs
	// [Config.OnLogin] to say whom the app serves. Issuer is accepted too, unless it has
	// "{tenantid}" itself, as in the metadata of Entra's "organizations"; MetadataURL must
	// then be set. A key with an "issuer" member (Entra) verifies only the tokens of that
	// issuer. [Session.Issuer] is the token's iss: with Subject, it names the account.
	// If nil, only Issuer is accepted.
	AcceptedIssuers []string
	// NoPKCE sends neither code_challenge nor code_verifier (RFC 7636), for a provider that
	// refuses them: FranceConnect, LinkedIn. The nonce, which is always sent and checked,
	// then protects the code, as RFC 9700 section 2.1.1 allows for a confidential client; a
	// public client is refused. If false, every login uses PKCE.
	NoPKCE bool
	// NoUserInfo never calls the UserInfo endpoint, for a provider where it cannot answer:
	// Entra if a scope is another API's, AD FS with the parameter resource, Singpass without
	// personal data. What is known about the person then comes from the ID Token alone. If
	// false, UserInfo is called wherever the metadata has it.
	NoUserInfo bool
	// AssertionAudience is the aud of the assertions by which the client authenticates
	// (private_key_jwt, client_secret_jwt): "issuer", or "token_endpoint" for a
	// provider that takes nothing else, such as Entra and login.gov. If empty,
	// "issuer", as RFC 7523bis demands: an assertion for a URL that metadata names could be
	// used elsewhere if the metadata of another provider named it.
	AssertionAudience string
	// AssertionThumbprint adds the SHA-256 thumbprint of the signing key's certificate to the
	// header of those assertions, x5t#S256 (RFC 7515 section 4.1.8), for a provider that
	// finds the key by it: Entra. The key in [Registration.ClientKeys] must have its
	// certificate, which [ParseClientKeys] reads from the same PEM file or from x5c. If
	// false, there is only the key id.
	AssertionThumbprint bool
	// Transport carries the requests to the provider. If nil, one that uses the
	// proxy of the environment, TLS 1.2 or newer, and RootCAs, and refuses the
	// addresses that AllowPrivateNetwork describes. One of the app's own is not
	// guarded: the Control of its net.Dialer can refuse addresses.
	Transport http.RoundTripper
	// RootCAs are the certificate authorities to trust for the provider, in
	// place of the system's. If nil, the system's. It cannot be combined with
	// Transport.
	RootCAs *x509.CertPool
	// Timeout bounds one request to the provider; if zero, 10 seconds.
	Timeout time.Duration
	// ClockSkew is how far the provider's clock may be off, at most 5 minutes.
	// If zero, 60 seconds.
	ClockSkew time.Duration
	// TrustedAudiences are further values that the aud of a token may hold
	// beside ClientID (OIDC Core 3.1.3.7 rule 3), for a provider that puts further clients
	// or projects there, such as Zitadel. If nil, none.
	TrustedAudiences []string
	// LogoutTokenSigningAlg is the only algorithm accepted for Logout Tokens, for a
	// provider that signs them otherwise than ID Tokens. If empty, it is that of
	// Registration.IDTokenSignedResponseAlg; if that is empty too, those of the ID
	// Tokens that this process has verified, and until then those that the provider
	// advertises for them (Back-Channel Logout 2.6).
	LogoutTokenSigningAlg string
	// LogoutWithoutHint leaves the ID Token out of a logout, for a provider that
	// refuses a long URL and does not take a POST in its place either, or forgets its
	// session's cookie there. It may then ask the person. If false, the ID Token is the
	// id_token_hint (RP-Initiated Logout 1.0 section 2).
	LogoutWithoutHint bool
	// LogoutHintRequired is for a provider that refuses a logout without id_token_hint, and
	// may take no POST: FranceConnect. The ID Token is then always in the URL, even a long
	// one, and the JWS of one that came encrypted too, so that its claims go through the
	// browser, and into the logs on the way. A logout without a session here, or whose
	// session has no ID Token left, ends here alone: the provider's own session goes on. If
	// false, the provider gets a logout without the hint, and may ask the person.
	LogoutHintRequired bool
	// EndSessionURL is the URL of a logout at the provider, for one whose
	// end_session_endpoint takes other parameters than those of RP-Initiated Logout 1.0
	// section 2, or whose metadata has none. The values {client_id},
	// {post_logout_redirect_uri}, {id_token_hint} and {state} of its query are filled in;
	// a parameter without a value, such as the hint of a session that is over, is left
	// out. If it begins with "?", it is the query alone, for the end_session_endpoint of
	// the metadata. Amazon Cognito needs
	// "?client_id={client_id}&logout_uri={post_logout_redirect_uri}", and Auth0 without
	// its RP-initiated logout
	// "https://TENANT/v2/logout?client_id={client_id}&returnTo={post_logout_redirect_uri}".
	// Without {state}, the way back is not checked: it leads to a page of this app that
	// the logout's cookie holds. If empty, the specification's parameters are sent.
	EndSessionURL string
	// RevocationWithoutHint leaves token_type_hint out of a revocation, which RFC 7009
	// section 2.1 makes optional, for a provider that refuses it: FranceConnect. If
	// false, it is sent.
	RevocationWithoutHint bool
	// FrontchannelLogoutWithoutIssuer accepts a front-channel logout that has a sid and
	// no iss, for a provider that sends it so: Microsoft Entra ID. The sid must be that
	// of the session that the browser's cookie carries, and an iss that is there must be
	// that session's. If false, both are required (Front-Channel Logout 1.0 section 3).
	FrontchannelLogoutWithoutIssuer bool
	// UserInfoTokenInBody sends the access token to the UserInfo endpoint as a
	// form parameter (RFC 6750 section 2.2), for a provider that does not accept
	// the header. If false, in the header.
	UserInfoTokenInBody bool
	// InsecureHTTPHosts are hosts that this app reaches by plain http, in a network of
	// containers that it shares with the provider, such as "keycloak": of the token,
	// UserInfo, revocation, pushed request and keys endpoints, and of Issuer if that is
	// itself http. Everything sent there, the client's secret and people's data included,
	// is readable in that network, and whoever can change it can sign in as anybody. A host
	// is a name without a dot, a name below .internal, .local, .test, .svc or .home.arpa, or
	// a private or loopback address, without a port; others are refused. Keycloak with
	// hostname-backchannel-dynamic behind TLS termination needs it, since it publishes such
	// endpoints to the app that asks by its internal name. The endpoints that browsers load
	// stay https. These hosts may have private addresses: see AllowPrivateNetwork. If nil,
	// every endpoint of an https issuer is https.
	InsecureHTTPHosts []string
	// AllowPrivateNetwork lets the provider's endpoints be at private, loopback
	// and link-local addresses although the issuer is at a public one. If false,
	// metadata cannot send requests of this app into its own network: an address
	// of such a kind is refused when it is dialled, unless the issuer's host has
	// one of the same kind. A host that Metadata names may be anywhere, and so may
	// a proxy; names that a proxy resolves are not checked.
	AllowPrivateNetwork bool
}

// maxClockSkew bounds Provider.ClockSkew.
const maxClockSkew = 5 * time.Minute

// transports returns the transport for documents, which shows nobody a certificate,
// and that for requests of the client itself, which shows those of certificates.
func (p *Provider) transports(issuer string, certificates []tls.Certificate) (documents, client http.RoundTripper) {
	if p.Transport != nil {
		return p.Transport, fetch.WithCertificates(p.Transport, certificates)
	}
	plain := fetch.NewTransport()
	plain.TLSClientConfig.RootCAs = p.RootCAs
	proving := fetch.WithCertificates(plain, certificates).(*http.Transport)
	if p.AllowPrivateNetwork {
		return plain, proving
	}
	own := []string{issuer, p.MetadataURL}
	if p.Metadata != nil { // the app's, not from outside
		for _, e := range endpoints(p.Metadata, len(certificates) > 0) {
			own = append(own, e.url)
		}
	}
	guard := fetch.NewGuard(own...)
	guard.Exempt(p.InsecureHTTPHosts...)
	documents = guard.Protect(plain)
	if len(certificates) == 0 {
		return documents, documents
	}
	return documents, guard.Protect(proving)
}

// provider owns the connection to the OpenID Provider: its metadata and keys, and
// the client's authentication and decryption.
type provider struct {
	issuer    string
	wellKnown string          // where the metadata is
	adjust    func(*Metadata) // may be nil
	static    *metadata       // nil when it is to be discovered
	mtls      bool            // the client has a certificate
	plain     []string        // hosts that may be reached by http
	http      *fetch.Client   // for documents
	client    *fetch.Client   // with the client's certificate, if it has one (RFC 8705)
	events    *events
	now       func() time.Time
	document  fetch.Document[metadata]
	keys      *keySet
	auth      *clientAuth
	secrets   *decrypter
}

// metadata is the metadata as published and as this client uses it. The two
// differ for a client with a certificate.
type metadata struct{ published, effective *Metadata }

// newProvider makes a provider. It does no I/O.
func newProvider(
	issuer, clientID, secret string, registration *Registration, settings *Provider, ev *events, now func() time.Time,
) *provider {
	documents, client := settings.transports(issuer, registration.ClientCertificates)
	p := &provider{
		issuer: issuer, mtls: len(registration.ClientCertificates) > 0, plain: settings.InsecureHTTPHosts, events: ev, now: now,
		wellKnown: cmp.Or(settings.MetadataURL, wellKnownURL(issuer)), adjust: settings.AdjustMetadata,
		http: fetch.New(documents, settings.Timeout), client: fetch.New(client, settings.Timeout),
		auth: &clientAuth{
			issuer: issuer, clientID: clientID, secret: secret, now: now, keys: registration.ClientKeys,
			method: registration.TokenEndpointAuthMethod, alg: registration.TokenEndpointAuthSigningAlg,
			timeout: settings.Timeout, thumbprint: settings.AssertionThumbprint,
			forTokenEndpoint: settings.AssertionAudience == audienceTokenEndpoint,
		},
		secrets: &decrypter{keys: registration.ClientKeys, secret: secret},
	}
	if settings.Metadata != nil {
		p.static = p.withAliases(settings.Metadata)
	}
	p.document.Load = p.load
	p.document.Now = now
	p.document.Panicked = func(value any) { ev.panicked("a fetch of metadata", value) }
	p.keys = newKeySet(p, secret, settings.JWKS)
	return p
}

// metadata returns the metadata as this client uses it, which the caller must
// not change. It waits for the network only until a first fetch has succeeded;
// from then on the last good copy is served while the provider fails.
//
// The error is an [*Error] with [CodeProviderUnavailable],
// [CodeProviderInvalid] or [CodeCanceled].
func (p *provider) metadata(ctx context.Context) (*Metadata, error) {
	m, err := p.known(ctx)
	if err != nil {
		return nil, err
	}
	return m.effective, nil
}

func (p *provider) known(ctx context.Context) (*metadata, error) {
	if p.static != nil {
		return p.static, nil
	}
	m, err := p.document.Get(ctx)
	if err != nil {
		return nil, failFetch("discovery", err)
	}
	return m, nil
}

// ready returns an error unless the metadata and the keys are there.
func (p *provider) ready(ctx context.Context) error {
	if _, err := p.known(ctx); err != nil {
		return err
	}
	if _, err := p.keys.document.Get(ctx); err != nil {
		return failFetch("jwks", err)
	}
	return nil
}

// withAliases puts the endpoints that a client with a certificate is to use in
// the place of those of the same name (RFC 8705 section 5).
func (p *provider) withAliases(m *Metadata) *metadata {
	if !p.mtls || len(m.MTLSEndpointAliases) == 0 {
		return &metadata{m, m}
	}
	effective := m.clone()
	for _, e := range aliased(effective) {
		*e.value = cmp.Or(m.MTLSEndpointAliases[e.name], *e.value)
	}
	return &metadata{m, effective}
}

// An aliasable is an endpoint that may have an alias, by registered name.
type aliasable struct {
	name  string
	value *string
}

func aliased(m *Metadata) []aliasable {
	return []aliasable{
		{"token_endpoint", &m.TokenEndpoint},
		{"userinfo_endpoint", &m.UserInfoEndpoint},
		{"revocation_endpoint", &m.RevocationEndpoint},
		{"pushed_authorization_request_endpoint", &m.PushedAuthorizationRequestEndpoint},
	}
}

func (p *provider) load(ctx context.Context) (*metadata, time.Duration, error) {
	start := p.now()
	m, lifetime, err := p.fetch(ctx, p.wellKnown)
	p.events.discoveryFetched(ctx, FetchEvent{URL: p.wellKnown, Duration: p.now().Sub(start), Err: err})
	if err != nil {
		return nil, 0, err
	}
	return p.withAliases(m), lifetime, nil
}

func (p *provider) fetch(ctx context.Context, wellKnown string) (*Metadata, time.Duration, error) {
	res, err := p.http.Do(ctx, fetch.Request{
		URL:            wellKnown,
		MediaTypes:     []string{"application/json"},
		FollowSameHost: true,
	})
	if err != nil {
		return nil, 0, failFetch("discovery", err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, 0, failf("discovery", CodeProviderInvalid,
			"%s answered with status %d", clean(wellKnown, maxShownURL), res.StatusCode)
	}
	m, err := parseMetadata(res.Body, p.mtls)
	if err == nil {
		err = p.accept(m)
	}
	if err != nil {
		return nil, 0, failf("discovery", CodeProviderInvalid, "the metadata at %s: %w", clean(wellKnown, maxShownURL), err)
	}
	return m, res.Lifetime(), nil
}

// accept lets the app adjust metadata that was fetched, and checks the result. The issuer
// is compared before that, so that nothing hides that the metadata is another provider's.
func (p *provider) accept(m *Metadata) error {
	if err := checkMetadataIssuer(m, p.issuer); err != nil {
		return err
	}
	if p.adjust != nil {
		p.adjust(m)
	}
	return validateMetadata(m, p.issuer, p.mtls, p.keys.given != nil, p.plain)
}

// wellKnownURL returns where the metadata of issuer is. A trailing slash of the
// issuer is not doubled (OIDC Discovery 4.1).
func wellKnownURL(issuer string) string {
	return strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
}

// failFetch wraps an error of internal/fetch: as CodeProviderInvalid if the response
// cannot be used, as CodeCanceled if the caller gave up, and otherwise as
// CodeProviderUnavailable.
func failFetch(op string, err error) error {
	var cause *fetch.Error
	answered := errors.As(err, &cause) // else err is about the wait for a fetch
	switch {
	case answered && cause.Kind == fetch.Invalid:
		return fail(op, CodeProviderInvalid, err)
	case errors.Is(err, context.Canceled) && (!answered || cause.Kind == fetch.Canceled):
		return fail(op, CodeCanceled, err)
	}
	return fail(op, CodeProviderUnavailable, err)
}

// used names the members that decide something here. A wrong type in any other
// member does not prevent logins: it counts as left out. So does one in
// claims_parameter_supported, since acr_values are then requested instead.
var used = map[string]bool{
	"issuer":                                         true,
	"authorization_endpoint":                         true,
	"token_endpoint":                                 true,
	"userinfo_endpoint":                              true,
	"jwks_uri":                                       true,
	"revocation_endpoint":                            true,
	"end_session_endpoint":                           true,
	"pushed_authorization_request_endpoint":          true,
	"require_pushed_authorization_requests":          true,
	"response_types_supported":                       true,
	"response_modes_supported":                       true,
	"acr_values_supported":                           true,
	"id_token_signing_alg_values_supported":          true,
	"token_endpoint_auth_methods_supported":          true,
	"authorization_response_iss_parameter_supported": true,
}

// parseMetadata reads metadata by exact member name and type. A member that is
// null counts as left out; one with the wrong type is an error if it is used, the
// aliases only by a client that has mtls.
func parseMetadata(body []byte, mtls bool) (*Metadata, error) {
	members, err := strictjson.Object(body)
	if err != nil {
		return nil, err
	}
	m := new(Metadata)
	fields := reflect.ValueOf(m).Elem()
	for i := range fields.NumField() {
		name, _, _ := strings.Cut(fields.Type().Field(i).Tag.Get("json"), ",")
		if !members.Has(name) || name == "mtls_endpoint_aliases" {
			continue
		}
		if err := json.Unmarshal(members[name], fields.Field(i).Addr().Interface()); err != nil {
			if used[name] {
				return nil, fmt.Errorf("%s has the wrong type", name)
			}
			fields.Field(i).SetZero()
		}
	}
	if m.MTLSEndpointAliases, err = parseAliases(members); err != nil && mtls {
		return nil, err
	}
	return m, nil
}

// parseAliases reads the aliases that are strings. If another one is of an endpoint
// that this package would use, it returns an error too.
func parseAliases(members strictjson.Members) (map[string]string, error) {
	const member = "mtls_endpoint_aliases"
	if !members.Has(member) {
		return nil, nil
	}
	object, err := strictjson.Object(members[member])
	if err != nil {
		return nil, errors.New(member + " has the wrong type")
	}
	aliases := make(map[string]string, len(object))
	for name := range object {
		if alias, ok, err := object.String(name); ok && err == nil {
			aliases[name] = alias
		}
	}
	for _, e := range aliased(new(Metadata)) {
		if _, ok := aliases[e.name]; object.Has(e.name) && !ok {
			return aliases, fmt.Errorf("%s %s has the wrong type", member, e.name)
		}
	}
	return aliases, nil
}

// validateMetadata checks what the rest relies on: that m is that of issuer,
// byte for byte (OIDC Discovery 4.3), that it names the endpoints of the
// authorization code flow, and that no endpoint is less protected than issuer. The
// aliases concern only a client that has mtls. A provider whose keys are given needs no
// jwks_uri. What this app itself sends may go to the hosts plain by http.
func validateMetadata(m *Metadata, issuer string, mtls, keysGiven bool, plain []string) error {
	if err := checkMetadataIssuer(m, issuer); err != nil {
		return err
	}
	for _, e := range endpoints(m, mtls) {
		if e.url == "" && (!e.required || keysGiven && e.name == "jwks_uri") {
			continue
		}
		if err := checkEndpoint(e.url, e.mayBePlain(issuer, plain)); err != nil {
			return fmt.Errorf("%s %w%s", e.name, err, e.mend())
		}
	}
	if types := m.ResponseTypesSupported; types != nil && !slices.Contains(types, "code") {
		return errors.New(`response_types_supported lacks "code"`)
	}
	return nil
}

func checkMetadataIssuer(m *Metadata, issuer string) error {
	if m.Issuer != issuer {
		return fmt.Errorf("issuer is %q, not %q", clean(m.Issuer, 300), issuer)
	}
	return nil
}

type endpoint struct {
	name     string
	url      string
	required bool
}

// mayBePlain reports whether e may be reached by http: if issuer is, on a loopback host,
// and where the hosts plain say so. Browsers load an endpoint of an https issuer by https.
func (e *endpoint) mayBePlain(issuer string, plain []string) bool {
	if strings.HasPrefix(issuer, "http:") {
		return !isAmong(plain, issuer) || isAmong(plain, e.url)
	}
	return !e.forBrowsers() && isAmong(plain, e.url)
}

func (e *endpoint) forBrowsers() bool {
	return e.name == "authorization_endpoint" || e.name == "end_session_endpoint"
}

// mend is what an error about e may add for an operator.
func (e *endpoint) mend() string {
	if e.forBrowsers() || !strings.HasPrefix(e.url, "http:") {
		return ""
	}
	return ": if its host is in the app's own network, name it in Provider.InsecureHTTPHosts (OIDC_INSECURE_HTTP_HOSTS)"
}

// isAmong reports whether the host of a URL is one of hosts, which are in lower case.
func isAmong(hosts []string, raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && slices.Contains(hosts, strings.ToLower(u.Hostname()))
}

// endpoints lists the endpoints of m that something may be sent to.
func endpoints(m *Metadata, mtls bool) []endpoint {
	list := []endpoint{
		{"authorization_endpoint", m.AuthorizationEndpoint, true},
		{"token_endpoint", m.TokenEndpoint, true},
		{"jwks_uri", m.JWKSURI, true},
		{"userinfo_endpoint", m.UserInfoEndpoint, false},
		{"revocation_endpoint", m.RevocationEndpoint, false},
		{"pushed_authorization_request_endpoint", m.PushedAuthorizationRequestEndpoint, false},
		{"end_session_endpoint", m.EndSessionEndpoint, false},
	}
	if !mtls {
		return list
	}
	for _, e := range aliased(m) {
		list = append(list, endpoint{"mtls_endpoint_aliases " + e.name, m.MTLSEndpointAliases[e.name], false})
	}
	return list
}

// maxEndpoint bounds an endpoint's URL, and maxShownURL what an error shows of it.
const (
	maxEndpoint = 1 << 10
	maxShownURL = 300
)

// checkEndpoint checks one endpoint URL; plain allows http.
func checkEndpoint(raw string, plain bool) error {
	if raw == "" {
		return errors.New("is missing")
	}
	if len(raw) > maxEndpoint {
		return fmt.Errorf("is longer than %d bytes", maxEndpoint)
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || strings.Contains(raw, "#") {
		return errors.New("is not an absolute URL without fragment")
	}
	if u.Scheme != "https" && !(plain && u.Scheme == "http") {
		return errors.New("is not an https URL")
	}
	return nil
}
