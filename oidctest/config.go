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

// The client a provider has when [Config.Clients] is empty.
const (
	ClientID     = "client"
	ClientSecret = "secret-of-at-least-32-characters-long"
)

// Config describes a provider. The zero value is a whole one: one client
// ([ClientID], [ClientSecret]), three personas and a login page.
type Config struct {
	// Issuer is the issuer identifier, kept byte for byte: it may have a path and may
	// end in a slash. If empty, it is the URL of the server that [Start] opens. If it
	// begins with a slash, it is that URL followed by this path.
	Issuer string

	// Clients are the registered relying parties. If empty, there is one with
	// ClientID and ClientSecret that may come back to any loopback address.
	Clients []Client

	// Personas are the people who can sign in. If empty, see [DefaultPersonas].
	Personas []Persona

	// AutoLogin is the subject of the persona who is signed in without a page.
	// If empty, the login page asks.
	AutoLogin string

	// Now is the provider's clock. If nil, it is time.Now.
	Now func() time.Time

	// TLS makes Start serve https, with a certificate made on the spot; see
	// [Provider.HTTPClient] and [Provider.Certificate].
	TLS bool

	// IDTokenSigningAlgValuesSupported is what discovery says. If empty: ES256,
	// RS256 and what the clients are registered with. A key is made for each.
	IDTokenSigningAlgValuesSupported []string

	// ACRValuesSupported is what discovery says. If empty: every acr of the personas.
	ACRValuesSupported []string

	// Metadata is laid over the discovery document, member by member; a nil value
	// removes one, and a string that begins with a slash is a URL under the issuer.
	Metadata map[string]any

	// HTTPClient sends logout tokens to the clients. If nil, it is http.DefaultClient.
	HTTPClient *http.Client

	// CacheControl is the header of the discovery document and the JWK Set. If
	// empty, it is "public, max-age=600".
	CacheControl string

	// Lifetimes. If zero: a minute for codes, an hour for access tokens, ID Tokens
	// and pushed requests, 12 hours for refresh tokens and the provider's session.
	CodeTTL, AccessTokenTTL, IDTokenTTL, RefreshTokenTTL, SessionTTL time.Duration

	// ClaimsOnRequest leaves acr, amr, auth_time and sid out of the ID Token unless
	// something asks for them: acr_values or the claims parameter for acr, the claims
	// parameter for amr, max_age for auth_time, a logout URI for sid.
	ClaimsOnRequest bool

	// Paths are the places of endpoints under the issuer that are not where they
	// usually are, by endpoint: EndpointJWKS: "/keys".
	Paths map[string]string

	// MTLSEndpointAliases announces a token endpoint on the host "localhost" beside
	// the usual one (RFC 8705 section 5), and takes client certificates only there.
	// Needs TLS.
	MTLSEndpointAliases bool

	RequirePKCE     bool // refuses a request without code_challenge
	RequirePAR      bool // refuses a request that was not pushed (RFC 9126 section 5)
	TokenInBody     bool // takes the access token at UserInfo as a form parameter only
	SessionState    bool // announces check_session_iframe and sends session_state
	OddKeys         bool // adds keys to the JWK Set that nobody can use
	OddValues       bool // makes sid and refresh tokens of spaces and punctuation too
	NoKeyAlg        bool // leaves alg out of the JWK Set
	NoPKCEMetadata  bool // does not advertise PKCE, and checks it all the same
	NoIssParameter  bool // neither advertises nor sends iss (RFC 9207)
	NoPAR           bool // has no pushed authorization request endpoint
	NoRevocation    bool // has no revocation endpoint
	NoEndSession    bool // has no end_session_endpoint
	NoRefreshToken  bool // issues no refresh token
	NoExpiresIn     bool // leaves expires_in out of token responses
	NoUserInfoTimes bool // leaves iat and exp out of a signed UserInfo response
}

// A Client is one registered relying party (OpenID Connect Registration 2).
type Client struct {
	ID     string
	Secret string // empty: a public client, unless it has JWKS

	// RedirectURIs and PostLogoutRedirectURIs are compared byte for byte. If empty,
	// any URI with a loopback host is accepted.
	RedirectURIs           []string
	PostLogoutRedirectURIs []string

	// TokenEndpointAuthMethod is the only method accepted. If empty:
	// client_secret_basic or client_secret_post for a client with a secret,
	// private_key_jwt for one with JWKS alone, none for one with neither.
	TokenEndpointAuthMethod string

	// TLSClientAuthSubjectDN is the subject that tls_client_auth expects (RFC 8705
	// section 2.1.2), as pkix.Name.String writes it. Needs Config.TLS.
	TLSClientAuthSubjectDN string

	// JWKS holds the public keys of the client: for private_key_jwt, for encryption,
	// and with x5c for self_signed_tls_client_auth.
	JWKS jose.JSONWebKeySet

	IDTokenSignedResponseAlg     string // empty: RS256
	IDTokenEncryptedResponseAlg  string // empty: not encrypted
	IDTokenEncryptedResponseEnc  string // empty: A128CBC-HS256
	UserInfoSignedResponseAlg    string // empty: JSON
	UserInfoEncryptedResponseAlg string // empty: not encrypted
	UserInfoEncryptedResponseEnc string // empty: A128CBC-HS256

	// Scopes are the scopes the client may ask for. If empty, any.
	Scopes []string

	// BackChannelLogoutURI receives a logout token when a session of the provider
	// ends. If empty, none is sent.
	BackChannelLogoutURI string

	// FrontChannelLogoutURI is loaded in a frame when a session of the provider ends,
	// with iss and sid if FrontChannelLogoutSessionRequired is set. If empty, there
	// is no frame.
	FrontChannelLogoutURI             string
	FrontChannelLogoutSessionRequired bool
}

// A Persona is someone who can sign in.
type Persona struct {
	Subject string
	Name    string // on the login page and, unless Claims has one, in the claim "name"

	// Claims are the person's, beside sub. One is released by its scope (OIDC Core
	// 5.4), by a scope of its own name, or by the claims parameter.
	Claims map[string]any

	ACR string   // how the person signs in when nothing is asked; empty: no acr
	AMR []string // empty: no amr

	// StepUpACRs are the other levels the person reaches when they are asked for; amr
	// gains "mfa" then.
	StepUpACRs []string
}

// DefaultPersonas returns the people a provider knows when Config.Personas is empty:
// "alice" signs in with a password and can step up to eidas2, "bruno" signs in with
// two factors, "chloe" only ever has a password.
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

// withDefaults returns the config with every zero replaced, or what is wrong with it.
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

// paths returns the places of the endpoints by path.
func (cfg *Config) paths() map[string]string {
	places := make(map[string]string, len(paths))
	for path, endpoint := range paths {
		if own := cfg.Paths[endpoint]; own != "" {
			path = own
		}
		places[path] = endpoint
	}
	return places
}

func checkIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	if err != nil {
		return fmt.Errorf("oidctest: Config.Issuer: %w", err)
	}
	web := u.Scheme == "http" || u.Scheme == "https"
	if !web || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("oidctest: Config.Issuer: want an http or https URL "+
			"without query and fragment, got %q", issuer)
	}
	return nil
}

// complete fills in the client's defaults.
func (c *Client) complete() error {
	if c.ID == "" {
		return errors.New("oidctest: Config.Clients: a client without ID")
	}
	if c.IDTokenSignedResponseAlg == "" {
		c.IDTokenSignedResponseAlg = "RS256"
	}
	if strings.HasPrefix(c.IDTokenSignedResponseAlg, "HS") && c.Secret == "" {
		return fmt.Errorf("oidctest: client %q: %s needs a Secret", c.ID, c.IDTokenSignedResponseAlg)
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
			return errors.New("oidctest: Config.Personas: a persona without Subject")
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

// signingAlgs returns the algorithms that need a key: ES256 and RS256 always, so that
// there is another one to confuse with.
func (cfg *Config) signingAlgs() []string {
	algs := append(clientAlgs(cfg.Clients), cfg.IDTokenSigningAlgValuesSupported...)
	slices.Sort(algs)
	return slices.DeleteFunc(slices.Compact(algs), func(alg string) bool {
		return alg == "none" || strings.HasPrefix(alg, "HS")
	})
}

// allows reports whether uri is one of the registered ones.
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
