package oidctest

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// The client of a provider whose [Config.Clients] is empty.
const (
	ClientID     = "client"
	ClientSecret = "secret-of-at-least-32-characters-long"
)

// Config describes a provider. The zero value is a complete provider with one client
// ([ClientID], [ClientSecret]), three personas and a login page.
type Config struct {
	// Issuer is the issuer identifier, used byte for byte: it may have a path and may
	// end in a slash. If empty, it is the URL of the server that [Start] opens. If it
	// starts with a slash, it is that URL followed by this path.
	Issuer string

	// Clients are the registered relying parties. If empty, there is one with
	// ClientID and ClientSecret, and every loopback URL is a valid redirect URI for it.
	Clients []Client

	// Personas are the users who can sign in. If empty, they are [DefaultPersonas].
	Personas []Persona

	// AutoLogin is the subject of the persona who is signed in without the login
	// page. If empty, the provider shows the login page.
	AutoLogin string

	// Now is the provider's clock. If nil, it is time.Now.
	Now func() time.Time

	// TLS makes Start serve https with a new self-signed certificate; see
	// [Provider.HTTPClient] and [Provider.Certificate].
	TLS bool

	// IDTokenSigningAlgValuesSupported is the member of the discovery document. If
	// empty: ES256, RS256 and the algorithms of the clients. The provider has a key
	// for each.
	IDTokenSigningAlgValuesSupported []string

	// ACRValuesSupported is the member of the discovery document. If empty: every acr
	// of the personas.
	ACRValuesSupported []string

	// Metadata replaces members of the discovery document. A nil value removes the
	// member; a string that starts with a slash becomes a URL under the issuer.
	Metadata map[string]any

	// HTTPClient sends logout tokens to the clients. If nil, it is http.DefaultClient.
	HTTPClient *http.Client

	// CacheControl is the Cache-Control header of the discovery document and of the
	// JWK Set. If empty, it is "public, max-age=600".
	CacheControl string

	// Lifetimes. If zero: one minute for codes, one hour for access tokens and ID
	// Tokens, 12 hours for refresh tokens and the provider's session.
	CodeTTL, AccessTokenTTL, IDTokenTTL, RefreshTokenTTL, SessionTTL time.Duration

	// ClaimsOnRequest omits acr, amr, auth_time and sid from the ID Token unless they
	// are requested: acr by acr_values or the claims parameter, amr by the claims
	// parameter, auth_time by max_age or the claims parameter, sid by a logout URI of
	// the client.
	ClaimsOnRequest bool

	// Paths overrides the paths of endpoints under the issuer, by endpoint, such as
	// EndpointJWKS: "/keys".
	Paths map[string]string

	// MTLSEndpointAliases advertises a second token endpoint on the host "localhost"
	// (RFC 8705 section 5). Client certificates are accepted only there. Requires TLS.
	MTLSEndpointAliases bool

	// KeyIssuers are the issuer members of the keys in the JWK Set, by algorithm, as
	// Microsoft Entra publishes them. One that starts with a slash becomes a URL under the
	// issuer.
	KeyIssuers map[string]string

	// TokenParameters are parameters that every request to the token endpoint must have.
	TokenParameters url.Values

	// RefreshScope is the scope parameter that a refresh must have. If empty, it need not
	// have one.
	RefreshScope string

	// AssertionAudience is the only audience accepted in client assertions: "issuer" or
	// "token_endpoint". If empty, both, and the URL of the endpoint.
	AssertionAudience string

	// AssertionThumbprint refuses client assertions whose header does not have the
	// x5t#S256 of a certificate in the client's JWKS.
	AssertionThumbprint bool

	// RefusePKCE answers a request that has code_challenge with an error page, and one for
	// tokens that has code_verifier with invalid_client.
	RefusePKCE bool

	// LogoutURIParameter makes the end_session_endpoint one of the provider's own: it
	// requires client_id, takes the URI to return to by this name, refuses the
	// parameters of RP-Initiated Logout 1.0, and returns no state. Amazon Cognito calls it
	// "logout_uri" and Auth0's /v2/logout "returnTo". If empty, the endpoint is standard.
	LogoutURIParameter string

	// BackchannelDynamic lets the metadata name the endpoints that clients call directly
	// under the scheme and host of the request for it, as Keycloak does with
	// hostname-backchannel-dynamic. The issuer and the endpoints for browsers stay.
	BackchannelDynamic bool

	NoLogoutHint    bool // refuse id_token_hint at the end_session_endpoint, as login.gov does
	NeedLogoutHint  bool // refuse a logout without id_token_hint, as FranceConnect does
	NoTokenTypeHint bool // refuse token_type_hint at the revocation endpoint, as FranceConnect does
	CallbackUser    bool // with form_post, send the field user at a persona's first login, as Apple does
	NoFrameIssuer   bool // send the sid without iss in front-channel logouts, as Entra ID does

	RequirePKCE     bool // refuse requests without code_challenge
	RequirePAR      bool // refuse requests that were not pushed (RFC 9126 section 5)
	TokenInBody     bool // accept the access token at UserInfo only as a form parameter
	SessionState    bool // advertise check_session_iframe and send session_state
	OddKeys         bool // add unusable keys to the JWK Set
	OddValues       bool // put spaces and punctuation in sid and refresh tokens
	NoKeyAlg        bool // omit alg from the JWK Set
	NoPKCEMetadata  bool // do not advertise PKCE, but verify it
	NoIssParameter  bool // neither advertise nor send iss (RFC 9207)
	NoPAR           bool // have no pushed authorization request endpoint
	NoRevocation    bool // have no revocation endpoint
	NoEndSession    bool // have no end_session_endpoint
	NoRefreshToken  bool // issue no refresh tokens
	NoExpiresIn     bool // omit expires_in from token responses
	NoUserInfoTimes bool // omit iat and exp from signed UserInfo responses
}

// A Client is a registered relying party (OpenID Connect Registration 2).
type Client struct {
	ID     string
	Secret string // empty: a public client, unless it has JWKS

	// RedirectURIs and PostLogoutRedirectURIs are compared byte for byte. If empty,
	// any URI with a loopback host is accepted.
	RedirectURIs           []string
	PostLogoutRedirectURIs []string

	// TokenEndpointAuthMethod is the only accepted method. If empty:
	// client_secret_basic and client_secret_post for a client with a Secret,
	// private_key_jwt for a client with JWKS only, none for a client with neither.
	TokenEndpointAuthMethod string

	// TLSClientAuthSubjectDN is the certificate subject that tls_client_auth expects
	// (RFC 8705 section 2.1.2), as formatted by pkix.Name.String. Requires Config.TLS.
	TLSClientAuthSubjectDN string

	// JWKS holds the client's public keys: for private_key_jwt, for encryption, and
	// with x5c for self_signed_tls_client_auth.
	JWKS jose.JSONWebKeySet

	IDTokenSignedResponseAlg     string // empty: RS256
	IDTokenEncryptedResponseAlg  string // empty: not encrypted
	IDTokenEncryptedResponseEnc  string // empty: A128CBC-HS256
	UserInfoSignedResponseAlg    string // empty: JSON
	UserInfoEncryptedResponseAlg string // empty: not encrypted
	UserInfoEncryptedResponseEnc string // empty: A128CBC-HS256

	// Scopes are the scopes that the client may request. If empty, any.
	Scopes []string

	// BackchannelLogoutURI receives a logout token when the provider's session ends.
	// If empty, none is sent.
	BackchannelLogoutURI string

	// FrontchannelLogoutURI is loaded in a frame when the provider's session ends,
	// with iss and sid if FrontchannelLogoutSessionRequired is set. If empty, no frame
	// is loaded.
	FrontchannelLogoutURI             string
	FrontchannelLogoutSessionRequired bool
}

// A Persona is a user who can sign in.
type Persona struct {
	Subject string
	Name    string // on the login page; also the claim "name" unless Claims has one

	// Claims are the user's claims, without sub. A claim is released by its scope (OIDC
	// Core 5.4), by a scope of the same name, or by the claims parameter.
	Claims map[string]any

	// Issuer is the iss of this user's tokens, at a provider with several tenants. One that
	// starts with a slash becomes a URL under the provider's issuer. If empty, it is the
	// provider's issuer.
	Issuer string

	ACR string   // the level without acr_values; empty: no acr
	AMR []string // empty: no amr

	// StepUpACRs are further levels that the user reaches when they are requested. The
	// provider then adds "mfa" to amr.
	StepUpACRs []string
}

// DefaultPersonas returns the personas of a provider whose Config.Personas is empty:
// "alice" signs in with a password (eidas1) and can step up to eidas2, "bruno" signs in
// with two factors (eidas2), "chloe" signs in with a password and cannot step up.
func DefaultPersonas() []Persona {
	person := func(sub, given, family, siret string) Persona {
		return Persona{Subject: sub, Name: given + " " + family, ACR: "eidas1", AMR: []string{"pwd"},
			Claims: map[string]any{
				"given_name": given, "family_name": family, "usual_name": family,
				"preferred_username": sub, "locale": "fr-FR",
				"email": sub + "@example.org", "email_verified": true,
				"phone_number": "+33199001234", "uid": sub, "siret": siret,
				"organization_label": "Example " + siret[:3], "idp_id": "oidctest",
				"roles": []any{"agent"}, "groups": []any{"agents"},
			}}
	}
	alice := person("alice", "Alice", "Martin", "13002526500013")
	alice.StepUpACRs = []string{"eidas2"}
	bruno := person("bruno", "Bruno", "Lefèvre", "21750001600019")
	bruno.ACR, bruno.AMR = "eidas2", []string{"pwd", "mfa"}
	bruno.Claims["groups"] = []any{"agents", "admins"}
	chloe := person("chloe", "Chloé", "N’Diaye", "11004601800013")
	return []Persona{alice, bruno, chloe}
}

// withDefaults validates the Config and returns it with every default filled in.
func (cfg Config) withDefaults() (Config, error) {
	if err := checkIssuer(cfg.Issuer); err != nil {
		return cfg, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if len(cfg.Clients) == 0 {
		cfg.Clients = []Client{{ID: ClientID, Secret: ClientSecret}}
	}
	if len(cfg.Personas) == 0 {
		cfg.Personas = DefaultPersonas()
	}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = http.DefaultClient
	}
	if cfg.CacheControl == "" {
		cfg.CacheControl = "public, max-age=600"
	}
	cfg.CodeTTL = cmp.Or(cfg.CodeTTL, time.Minute)
	cfg.AccessTokenTTL = cmp.Or(cfg.AccessTokenTTL, time.Hour)
	cfg.IDTokenTTL = cmp.Or(cfg.IDTokenTTL, time.Hour)
	cfg.RefreshTokenTTL = cmp.Or(cfg.RefreshTokenTTL, 12*time.Hour)
	cfg.SessionTTL = cmp.Or(cfg.SessionTTL, 12*time.Hour)
	cfg.Clients = slices.Clone(cfg.Clients)
	for i := range cfg.Clients {
		if err := cfg.Clients[i].complete(); err != nil {
			return cfg, err
		}
	}
	if err := cfg.checkPersonas(); err != nil {
		return cfg, err
	}
	if len(cfg.ACRValuesSupported) == 0 {
		cfg.ACRValuesSupported = personaACRs(cfg.Personas)
	}
	if len(cfg.IDTokenSigningAlgValuesSupported) == 0 {
		cfg.IDTokenSigningAlgValuesSupported = clientAlgs(cfg.Clients)
	}
	return cfg, nil
}

// paths returns the endpoints by path.
func (cfg *Config) paths() map[string]string {
	endpoints := make(map[string]string, len(paths))
	for path, endpoint := range paths {
		if override := cfg.Paths[endpoint]; override != "" {
			path = override
		}
		endpoints[path] = endpoint
	}
	return endpoints
}

func checkIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	if err != nil {
		return fmt.Errorf("oidctest: Config.Issuer: %w", err)
	}
	web := u.Scheme == "http" || u.Scheme == "https"
	if !web || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("oidctest: Config.Issuer: expected an http or https URL "+
			"without query and fragment, got %q", issuer)
	}
	return nil
}

// complete fills in the client's defaults.
func (c *Client) complete() error {
	if c.ID == "" {
		return errors.New("oidctest: Config.Clients: a client has no ID")
	}
	if c.IDTokenSignedResponseAlg == "" {
		c.IDTokenSignedResponseAlg = "RS256"
	}
	if strings.HasPrefix(c.IDTokenSignedResponseAlg, "HS") && c.Secret == "" {
		return fmt.Errorf("oidctest: Config.Clients: client %q: %s requires a Secret",
			c.ID, c.IDTokenSignedResponseAlg)
	}
	return nil
}

// authMethods returns the token endpoint authentication methods the client may use.
func (c *Client) authMethods() []string {
	switch {
	case c.TokenEndpointAuthMethod != "":
		return []string{c.TokenEndpointAuthMethod}
	case c.Secret != "":
		return []string{"client_secret_basic", "client_secret_post"}
	case len(c.JWKS.Keys) > 0:
		return []string{"private_key_jwt"}
	}
	return []string{"none"}
}

func (cfg *Config) checkPersonas() error {
	for _, p := range cfg.Personas {
		if p.Subject == "" {
			return errors.New("oidctest: Config.Personas: a persona has no Subject")
		}
	}
	known := func(p Persona) bool { return p.Subject == cfg.AutoLogin }
	if cfg.AutoLogin != "" && !slices.ContainsFunc(cfg.Personas, known) {
		return fmt.Errorf("oidctest: Config.AutoLogin: no persona has the subject %q", cfg.AutoLogin)
	}
	return nil
}

func personaACRs(personas []Persona) []string {
	var values []string
	for _, p := range personas {
		values = append(append(values, p.ACR), p.StepUpACRs...)
	}
	slices.Sort(values)
	return slices.DeleteFunc(slices.Compact(values), func(v string) bool { return v == "" })
}

func clientAlgs(clients []Client) []string {
	algs := []string{"ES256", "RS256"}
	for _, c := range clients {
		algs = append(algs, c.IDTokenSignedResponseAlg, c.UserInfoSignedResponseAlg)
	}
	slices.Sort(algs)
	return slices.DeleteFunc(slices.Compact(algs), func(v string) bool { return v == "" })
}

// signingAlgs returns the algorithms that need a key. ES256 and RS256 are always among
// them, because faults that change the algorithm use the other one.
func (cfg *Config) signingAlgs() []string {
	algs := append(clientAlgs(cfg.Clients), cfg.IDTokenSigningAlgValuesSupported...)
	slices.Sort(algs)
	return slices.DeleteFunc(slices.Compact(algs), func(alg string) bool {
		return alg == "none" || strings.HasPrefix(alg, "HS")
	})
}

// allows reports whether uri is registered. Without registered URIs, every loopback URL
// is.
func allows(registered []string, uri string) bool {
	if len(registered) > 0 {
		return slices.Contains(registered, uri)
	}
	u, err := url.Parse(uri)
	if err != nil || u.Fragment != "" || (u.Scheme != "http" && u.Scheme != "https") {
		return false
	}
	host := u.Hostname()
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
