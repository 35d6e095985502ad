package oidcrp

import (
	"cmp"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp/internal/fetch"
	"github.com/oidcrp/oidcrp/internal/once"
	"github.com/oidcrp/oidcrp/internal/seal"
)

// Config says which provider to trust, who this client is there, and how long
// people stay signed in. Issuer, ClientID, BaseURL, CookieKeys and, for most
// providers, ClientSecret are required. [New] copies it.
type Config struct {
	// Issuer is the provider's issuer identifier, exactly as the provider
	// writes it: a trailing slash matters (OIDC Discovery 4.3). It must be an
	// https URL; http is accepted for a loopback host only.
	Issuer string
	// ClientID and ClientSecret are what the provider gave at registration.
	// ClientSecret is empty for the methods that need none.
	ClientID     string
	ClientSecret string
	// BaseURL is where people reach the app, such as
	// "https://app.example.gouv.fr". Its host binds the cookies, and its
	// scheme must be https unless the host is a loopback one. Behind a reverse
	// proxy it is the proxy's address; no URL is made from a request's own host. A
	// path in it must reach the app: the proxy may not strip it. If empty, it is
	// the origin of RedirectURI.
	BaseURL string
	// PathPrefix is the path, below BaseURL, of the client's own handlers:
	// login, callback, logout, logout/callback, backchannel-logout,
	// frontchannel-logout, initiate (a login that another party starts) and
	// jwks (the client's public keys). If empty, "/auth/". Several Clients in
	// one app, such as one for each provider, need one each.
	PathPrefix string
	// RedirectURI and PostLogoutRedirectURI are sent to the provider and must
	// be registered there byte for byte. If empty, they are PathPrefix's
	// "callback" and "logout/callback". Set them when other paths are
	// registered already; they must be on the same origin as BaseURL.
	RedirectURI           string
	PostLogoutRedirectURI string

	// Scopes is what every login asks for; "openid" is added if missing. If
	// nil, "openid profile email".
	Scopes []string
	// ResponseMode is "query" or "form_post". If empty, the parameter is not
	// sent, which means query (OAuth 2.0 Multiple Response Types 2.1).
	ResponseMode string
	// AuthOptions is what every login adds to its authentication request. A
	// login's own options come first.
	AuthOptions AuthOptions
	// PushAuthorizationRequests sends the request's parameters to the
	// provider's pushed_authorization_request_endpoint first (RFC 9126). If
	// false, that happens only where the provider requires it.
	PushAuthorizationRequests bool

	// TokenEndpointAuthMethod is how the client proves itself (OIDC Core 9, RFC
	// 8705 section 2): client_secret_basic, client_secret_post,
	// client_secret_jwt, private_key_jwt, tls_client_auth,
	// self_signed_tls_client_auth or none. If empty: private_key_jwt when there are
	// ClientKeys and no ClientSecret, else the first of client_secret_basic
	// and client_secret_post that the provider advertises. It is never found
	// out by trying.
	TokenEndpointAuthMethod string
	// TokenEndpointAuthSigningAlg signs the assertions of the two jwt methods.
	// If empty, HS256 for client_secret_jwt and the first key's own algorithm
	// for private_key_jwt.
	TokenEndpointAuthSigningAlg string
	// ClientKeys are the client's private keys, newest first: the first one
	// that fits signs the assertions of private_key_jwt, and each one that fits
	// opens what the provider encrypted. A key's use and alg, if set, are
	// heeded; of several keys, one without a key id gets its thumbprint. The
	// public halves are served at PathPrefix's "jwks".
	ClientKeys []jose.JSONWebKey
	// ClientCertificates are presented in TLS, for tls_client_auth and
	// self_signed_tls_client_auth; the provider's mtls_endpoint_aliases are
	// then used. HTTPClient, if set, must have an [*http.Transport].
	ClientCertificates []tls.Certificate

	// IDTokenSignedResponseAlg and UserInfoSignedResponseAlg are the
	// algorithms chosen at registration; nothing else is then accepted. If the
	// first is empty, the asymmetric algorithms that the provider advertises.
	// If the second is empty, UserInfo may be JSON, or a JWT signed like the
	// ID Token; if set, plain JSON is refused. HS256, HS384 and HS512 are
	// accepted only when named here; the key is the bytes of ClientSecret.
	// "none" never is.
	IDTokenSignedResponseAlg  string
	UserInfoSignedResponseAlg string
	// IDTokenEncryptedResponseAlg and IDTokenEncryptedResponseEnc, and the
	// same for UserInfo, are the encryption chosen at registration. An Alg makes
	// an answer that is not encrypted with it an error; without one, an
	// encrypted answer is. RSA-OAEP, RSA-OAEP-256, ECDH-ES and its A*KW forms
	// take a key of ClientKeys; A*KW, A*GCMKW and dir one made from
	// ClientSecret. If Enc is empty, A128CBC-HS256.
	IDTokenEncryptedResponseAlg, IDTokenEncryptedResponseEnc   string
	UserInfoEncryptedResponseAlg, UserInfoEncryptedResponseEnc string
	// UserInfoTokenInBody sends the access token to the UserInfo endpoint as a
	// form parameter (RFC 6750 section 2.2), for a provider that takes no
	// header. If false, in the header.
	UserInfoTokenInBody bool
	// TrustedAudiences are further values that the aud of a token may hold
	// beside ClientID (OIDC Core 3.1.3.7 rule 3). If nil, none.
	TrustedAudiences []string
	// ClockSkew is how far the provider's clock may be off, at most 5 minutes.
	// If zero, 60 seconds.
	ClockSkew time.Duration
	// Metadata replaces discovery, for providers that have none. If nil, the
	// metadata is fetched from Issuer when it is first needed.
	Metadata *Metadata

	// CookieKeys seal the cookies: 32 random bytes each, newest first. The
	// first seals, all of them open, so a key is retired by adding a new one
	// in front and dropping the old one a session lifetime later.
	CookieKeys [][]byte
	// KeySource gives the keys in place of CookieKeys, for keys in a file (see
	// [KeyFile]) or a key service, which change while the app runs. It is asked
	// when a key is first needed, then about once a minute while requests come,
	// and, at most once a second, when a cookie names a key that is not known.
	// When it fails, the keys stay as they are; before it has given any, what
	// needs a key answers 503. It must honour its context. If nil, CookieKeys.
	KeySource func(context.Context) ([][]byte, error)
	// Store keeps the sessions on the server. If nil, a session is one sealed
	// cookie, and the server keeps nothing.
	Store Store
	// CookieSessions keeps the sessions in sealed cookies although there is a
	// Store, which then holds only what all replicas must know: who was logged
	// out, which Logout Tokens came, whose tokens are being refreshed. If false,
	// sessions are kept in the Store when there is one.
	CookieSessions bool
	// StoreTimeout bounds one call of the Store; if zero, 2 seconds. Protected
	// routes then answer 503, and public ones go without the session.
	StoreTimeout time.Duration
	// RevocationDelay is how late a logout that another replica took may end a
	// session here: a replica that has looked for logouts does not look again in
	// the Store for that long. If zero, 1 second; if negative, it looks at every
	// request.
	RevocationDelay time.Duration
	// SessionLifetime ends a session for good; if zero, 12 hours.
	SessionLifetime time.Duration
	// SessionIdleTimeout ends a session that is not used; if zero, 1 hour.
	SessionIdleTimeout time.Duration
	// KeepTokens keeps the access and refresh tokens in the session, for apps
	// that call an API with them. If false, they are dropped after login.
	KeepTokens bool
	// RefreshBefore has Middleware refresh the tokens of a session in use when its
	// access token ends within that time, if there is a refresh token and the
	// provider said when the access token ends. If zero, only [Client.Refresh] and
	// [Session.HTTPClient] refresh.
	RefreshBefore time.Duration
	// RefreshUserInfo has a refresh by Middleware or HTTPClient fetch UserInfo
	// again as well, as Client.Refresh always does. If false, the claims stay as
	// they are.
	RefreshUserInfo bool
	// RefreshFailure says what becomes of a session that Middleware cannot
	// refresh. The zero value is KeepSession.
	RefreshFailure RefreshFailure
	// EndWithIDToken ends a session when its ID Token ends, or the one that came
	// with the last refresh. If false, the ID Token's exp says only until when it
	// may be used for a login.
	EndWithIDToken bool

	// HTTPClient's Transport carries the requests to the provider, for a
	// private certificate authority or a proxy. Its other fields are not
	// used. If nil, a transport that uses the proxy of the environment.
	HTTPClient *http.Client
	// ProviderTimeout bounds one request to the provider; if zero, 10 seconds.
	ProviderTimeout time.Duration
	// Logger receives what happens; if nil, slog.Default().
	Logger *slog.Logger
	// Trace's hooks run on what happens. The zero value has none.
	Trace Trace
	// ErrorHandler answers when something failed: page loads, scripts and htmx
	// alike, so it may leave some to [DefaultErrorHandler]. It writes the
	// status; headers such as Retry-After and HX-Redirect are set before. If
	// nil, [DefaultErrorHandler].
	ErrorHandler func(http.ResponseWriter, *http.Request, *Problem)

	// Check adds rules of one provider to the mistakes that are found before the
	// first login. [New] calls it with the Config as it will be used, its defaults
	// filled in, and reports what it says beside its own findings;
	// [Client.RequireLogin] calls it again for a route that has requirements, and
	// panics with what it says. It must not change what the Config refers to. If
	// nil, there are no further rules.
	Check func(cfg Config, requirements ...Requirement) error

	now func() time.Time // the clock of tests; nil is time.Now
}

// Client is a relying party: one client registration at one provider. It is
// safe for concurrent use. Make it with [New].
type Client struct {
	cfg      Config
	base     *url.URL
	paths    ownPaths
	secure   bool // cookies are Secure and __Host-
	cookies  cookieNames
	now      func() time.Time
	http     *fetch.Client
	events   *events
	provider *provider
	keys     *keySet
	ring     *cookieKeys

	callbacks once.Group[*Session] // by transaction cookie name
	refreshes once.Group[*Session] // by session and refresh token
	demands   sync.Map             // of RequireLogin, by key: string to demand
	store     *storage             // of sessions; of marks alone without a Config.Store
	marks     *marks
	downUntil atomic.Pointer[time.Time] // no refresh unasked before this time; nil: any time
}

// ownPaths are the paths that the middleware answers itself.
type ownPaths struct {
	login, callback, logout, logoutCallback   string
	backChannel, frontChannel, initiate, jwks string
}

// New checks cfg as a whole and makes a Client. It does no network I/O: an app
// starts while its provider is down. Its errors are [*Error] with
// [CodeConfig] and name every field that is wrong, and what [Config.Check] finds.
func New(cfg Config) (*Client, error) {
	cfg, base, problems := normalize(cfg)
	if err := checkFurther(cfg); err != nil {
		problems = append(problems, err)
	}
	if len(problems) > 0 {
		// Not fail: whatever Check returns, this is a mistake in the Config.
		return nil, &Error{Op: "config", Code: CodeConfig, Err: errors.Join(problems...)}
	}
	ring, err := newCookieKeys(&cfg)
	if err != nil {
		return nil, failf("config", CodeConfig, "CookieKeys: %w", err)
	}
	c := &Client{
		cfg:    cfg,
		base:   base,
		secure: base.Scheme == "https",
		now:    cfg.now,
		events: &events{trace: cfg.Trace, log: cfg.Logger},
		ring:   ring,
	}
	c.paths = ownPaths{
		login:          cfg.PathPrefix + "login",
		callback:       urlPath(cfg.RedirectURI),
		logout:         cfg.PathPrefix + "logout",
		logoutCallback: urlPath(cfg.PostLogoutRedirectURI),
		backChannel:    cfg.PathPrefix + "backchannel-logout",
		frontChannel:   cfg.PathPrefix + "frontchannel-logout",
		initiate:       cfg.PathPrefix + "initiate",
		jwks:           cfg.PathPrefix + "jwks",
	}
	c.cookies = newCookieNames(cfg, c.secure)
	store := cfg.Store
	if store == nil {
		store = &MemoryStore{now: c.now}
	}
	c.store = newStorage(store, cfg.StoreTimeout, c.now)
	c.marks = newMarks(c.store, cfg.Store == nil, c.now, cfg.RevocationDelay)
	var rt http.RoundTripper
	if cfg.HTTPClient != nil {
		rt = cfg.HTTPClient.Transport
	}
	c.http = fetch.New(fetch.WithCertificates(rt, cfg.ClientCertificates), cfg.ProviderTimeout)
	c.provider = newProvider(cfg.Issuer, cfg.Metadata, c.http, c.events, c.now)
	c.keys = newKeySet(c.provider, c.http, c.events, c.now, cfg.ClientSecret)
	return c, nil
}

// Metadata returns what the provider says of itself, fetching it if need be. It
// is fit for a readiness probe, with a time limit on ctx.
// Callers must not change it. Its errors are those of a login: [*Error] with
// [CodeProviderUnavailable] or [CodeProviderInvalid].
func (c *Client) Metadata(ctx context.Context) (*Metadata, error) {
	return c.provider.metadata(ctx)
}

// effectiveMetadata is Metadata with the endpoints that a client with a certificate is
// to use in place of those of the same name (RFC 8705 section 5).
func (c *Client) effectiveMetadata(ctx context.Context) (*Metadata, error) {
	m, err := c.Metadata(ctx)
	if err != nil || len(c.cfg.ClientCertificates) == 0 || m.MTLSEndpointAliases == nil {
		return m, err
	}
	alias, m := m.MTLSEndpointAliases, m.clone()
	m.TokenEndpoint = cmp.Or(alias.TokenEndpoint, m.TokenEndpoint)
	m.UserInfoEndpoint = cmp.Or(alias.UserInfoEndpoint, m.UserInfoEndpoint)
	m.RevocationEndpoint = cmp.Or(alias.RevocationEndpoint, m.RevocationEndpoint)
	m.PushedAuthorizationRequestEndpoint = cmp.Or(
		alias.PushedAuthorizationRequestEndpoint, m.PushedAuthorizationRequestEndpoint)
	return m, nil
}

// RedirectURI returns what must be registered at the provider as redirect URI, byte
// for byte.
func (c *Client) RedirectURI() string { return c.cfg.RedirectURI }

// PostLogoutRedirectURI returns what must be registered at the provider as
// post-logout redirect URI, byte for byte.
func (c *Client) PostLogoutRedirectURI() string { return c.cfg.PostLogoutRedirectURI }

// LoginURL returns the path that starts a login and leads back to returnTo, a
// path of this app such as "/dossiers/12?tab=2". A returnTo that is no local
// path is left out.
func (c *Client) LoginURL(returnTo string) string {
	if returnTo = localPath(returnTo); returnTo == c.home() {
		returnTo = "" // where a login leads anyway
	}
	return withParameter(c.paths.login, "return_to", returnTo)
}

// LogoutURL returns the path that logs out and then leads to returnTo. Send
// people there by POST: a GET that does not come from the app's own pages asks
// them first.
func (c *Client) LogoutURL(returnTo string) string {
	return withParameter(c.paths.logout, "return_to", localPath(returnTo))
}

// normalize returns cfg with its defaults filled in and everything that the
// caller could still change copied, the parsed base URL, and what is wrong.
func normalize(cfg Config) (Config, *url.URL, []error) {
	var problems []error
	wrong := func(field, format string, args ...any) {
		problems = append(problems, fmt.Errorf(field+" "+format, args...))
	}
	defaults(&cfg)
	checkIssuer(cfg.Issuer, wrong)
	base := checkURLs(&cfg, wrong)
	checkClient(&cfg, wrong)
	checkAlgs(&cfg, wrong)
	checkEncryption(&cfg, wrong)
	checkSession(&cfg, wrong)
	if cfg.Metadata != nil {
		cfg.Metadata = cfg.Metadata.clone()
		if err := validateMetadata(cfg.Metadata, cfg.Issuer); err != nil {
			wrong("Metadata", "is not usable: %w", err)
		}
	}
	if err := cfg.AuthOptions.validate(); err != nil {
		wrong("AuthOptions", "cannot be used: %w", err)
	}
	return cfg, base, problems
}

// checkFurther returns what [Config.Check] finds, without the words around it
// that the caller adds itself.
func checkFurther(cfg Config, requirements ...Requirement) error {
	if cfg.Check == nil {
		return nil
	}
	err := cfg.Check(cfg, requirements...)
	if e, ok := err.(*Error); ok && e.Code == CodeConfig && e.Err != nil {
		return e.Err
	}
	return err
}

func defaults(cfg *Config) {
	cfg.PathPrefix = cmp.Or(cfg.PathPrefix, "/auth/")
	if cfg.Scopes == nil {
		cfg.Scopes = []string{"openid", "profile", "email"}
	}
	// One text with several scopes in it is what an environment variable gives.
	cfg.Scopes = strings.Fields(strings.Join(cfg.Scopes, " "))
	if !slices.Contains(cfg.Scopes, "openid") {
		cfg.Scopes = slices.Insert(cfg.Scopes, 0, "openid")
	}
	cfg.TrustedAudiences = slices.Clone(cfg.TrustedAudiences)
	cfg.ClientKeys = slices.Clone(cfg.ClientKeys)
	nameKeys(cfg.ClientKeys)
	cfg.ClientCertificates = slices.Clone(cfg.ClientCertificates)
	cfg.CookieKeys = slices.Clone(cfg.CookieKeys)
	cfg.AuthOptions = cfg.AuthOptions.clone()
	cfg.ClockSkew = cmp.Or(cfg.ClockSkew, time.Minute)
	cfg.ProviderTimeout = cmp.Or(cfg.ProviderTimeout, 10*time.Second)
	cfg.SessionLifetime = cmp.Or(cfg.SessionLifetime, 12*time.Hour)
	cfg.SessionIdleTimeout = cmp.Or(cfg.SessionIdleTimeout, time.Hour)
	cfg.StoreTimeout = cmp.Or(cfg.StoreTimeout, 2*time.Second)
	cfg.RevocationDelay = cmp.Or(cfg.RevocationDelay, time.Second)
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.ErrorHandler == nil {
		cfg.ErrorHandler = DefaultErrorHandler
	}
	if cfg.now == nil {
		cfg.now = time.Now
	}
}

func checkIssuer(issuer string, wrong func(string, string, ...any)) {
	if issuer == "" {
		wrong("Issuer", "is empty")
		return
	}
	if strings.HasSuffix(issuer, "/.well-known/openid-configuration") {
		wrong("Issuer", "is the metadata's address: leave /.well-known/openid-configuration out")
		return
	}
	// OIDC Discovery 3: "no query or fragment components".
	checkOrigin("Issuer", issuer, wrong)
}

// checkOrigin returns raw parsed; nil if it is no absolute URL without user,
// query and fragment. That it is not protected is reported as well.
func checkOrigin(field, raw string, wrong func(string, string, ...any)) *url.URL {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.ContainsAny(raw, "?#") {
		wrong(field, "must be an absolute URL without user, query and fragment")
		return nil
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())) {
		wrong(field, "must be https (http is for loopback hosts only)")
	}
	return u
}

// checkURLs settles BaseURL, PathPrefix, RedirectURI and PostLogoutRedirectURI.
func checkURLs(cfg *Config, wrong func(string, string, ...any)) *url.URL {
	base := checkBaseURL(cfg, wrong)
	prefix, slash := strings.CutSuffix(cfg.PathPrefix, "/")
	if !slash || prefix == "/" || !isCleanPath(prefix) {
		wrong("PathPrefix", "must be a clean path that starts and ends with a slash and is not the root")
		cfg.PathPrefix = "/auth/" // so that the rest can be checked
	}
	if base == nil {
		return &url.URL{}
	}
	origin := base.Scheme + "://" + base.Host
	cfg.PathPrefix = base.Path + cfg.PathPrefix
	cfg.RedirectURI = cmp.Or(cfg.RedirectURI, origin+cfg.PathPrefix+"callback")
	cfg.PostLogoutRedirectURI = cmp.Or(cfg.PostLogoutRedirectURI, origin+cfg.PathPrefix+"logout/callback")
	// The middleware answers every request for its own paths, so none of them
	// may be the app's home page or another's.
	taken := []string{"", "/", base.Path, base.Path + "/"}
	for _, own := range []string{
		"login", "logout", "backchannel-logout", "frontchannel-logout", "initiate", "jwks",
	} {
		taken = append(taken, cfg.PathPrefix+own)
	}
	for _, field := range []struct{ name, uri string }{
		{"RedirectURI", cfg.RedirectURI}, {"PostLogoutRedirectURI", cfg.PostLogoutRedirectURI},
	} {
		u, err := url.Parse(field.uri)
		switch {
		case err != nil || u.Scheme+"://"+u.Host != origin || u.User != nil || strings.Contains(field.uri, "#"):
			wrong(field.name, "must be an absolute URL without user and fragment on BaseURL's origin, %s", origin)
		case slices.Contains(taken, u.Path):
			wrong(field.name, "must have a path of its own")
		default:
			taken = append(taken, u.Path)
		}
	}
	return base
}

// checkBaseURL returns BaseURL parsed, without slashes at its end; nil if it
// is none.
func checkBaseURL(cfg *Config, wrong func(string, string, ...any)) *url.URL {
	if cfg.BaseURL == "" && cfg.RedirectURI != "" {
		if u, err := url.Parse(cfg.RedirectURI); err == nil && u.Host != "" {
			cfg.BaseURL = u.Scheme + "://" + u.Host
		}
	}
	if cfg.BaseURL == "" {
		wrong("BaseURL", "is empty")
		return nil
	}
	base := checkOrigin("BaseURL", strings.TrimRight(cfg.BaseURL, "/"), wrong)
	if base != nil && base.Path != "" && (!isCleanPath(base.Path) || base.RawPath != "") {
		wrong("BaseURL", "must have a clean path without escapes")
	}
	return base
}

// isCleanPath reports whether p, which has no slash at its end, is a path that
// has one spelling only, in a URL as in a request.
func isCleanPath(p string) bool {
	return strings.HasPrefix(p, "/") && path.Clean(p) == p && (&url.URL{Path: p}).EscapedPath() == p
}

// checkClient checks the client's credentials against its method.
func checkClient(cfg *Config, wrong func(string, string, ...any)) {
	if cfg.ClientID == "" {
		wrong("ClientID", "is empty")
	}
	if cfg.TokenEndpointAuthMethod == "" && cfg.ClientSecret == "" && len(cfg.ClientKeys) > 0 {
		cfg.TokenEndpointAuthMethod = "private_key_jwt"
	}
	switch method := cfg.TokenEndpointAuthMethod; method {
	case "", "client_secret_basic", "client_secret_post", "client_secret_jwt":
		if cfg.ClientSecret == "" {
			wrong("ClientSecret", "is empty (a public client says TokenEndpointAuthMethod: %q)", "none")
		}
	case "private_key_jwt":
		if len(cfg.ClientKeys) == 0 {
			wrong("ClientKeys", "is empty, and private_key_jwt needs a key")
		}
	case "tls_client_auth", "self_signed_tls_client_auth":
		if len(cfg.ClientCertificates) == 0 {
			wrong("ClientCertificates", "is empty, and %s needs a certificate", method)
		}
	case "none":
	default:
		wrong("TokenEndpointAuthMethod", "%q is not known", method)
	}
	checkCertificates(cfg, wrong)
	for i, key := range cfg.ClientKeys {
		if !key.Valid() || key.IsPublic() {
			wrong("ClientKeys", "[%d] is not a private key", i)
		}
	}
	switch cfg.ResponseMode {
	case "", "query", "form_post":
	default:
		wrong("ResponseMode", "%q is not supported (query, form_post)", cfg.ResponseMode)
	}
}

func checkCertificates(cfg *Config, wrong func(string, string, ...any)) {
	for i := range cfg.ClientCertificates {
		certificate := &cfg.ClientCertificates[i]
		if certificate.PrivateKey == nil || len(certificate.Certificate) == 0 {
			wrong("ClientCertificates", "[%d] lacks its certificate or its private key", i)
			continue
		}
		leaf, err := x509.ParseCertificate(certificate.Certificate[0])
		if err != nil {
			wrong("ClientCertificates", "[%d] cannot be read", i)
			continue
		}
		if !certifies(leaf, certificate.PrivateKey) {
			wrong("ClientCertificates", "[%d] has another private key than its own", i)
		}
		certificate.Leaf = leaf
	}
	if cfg.HTTPClient == nil || cfg.HTTPClient.Transport == nil || len(cfg.ClientCertificates) == 0 {
		return
	}
	if _, ok := cfg.HTTPClient.Transport.(*http.Transport); !ok {
		wrong("HTTPClient", "must have an *http.Transport to present ClientCertificates")
	}
}

// certifies reports whether private is the key of leaf: the provider would find
// out, in the middle of a login.
func certifies(leaf *x509.Certificate, private crypto.PrivateKey) bool {
	signer, ok := private.(crypto.Signer)
	if !ok {
		return false
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(leaf.PublicKey)
}

// checkAlgs checks the algorithm pins. A secret shorter than the hash would
// make the HMAC weaker than its name (RFC 7518 section 3.2).
func checkAlgs(cfg *Config, wrong func(string, string, ...any)) {
	hmac := func(field, alg string) {
		if need := macSizes[alg]; len(cfg.ClientSecret) < need {
			wrong(field, "%s needs a ClientSecret of %d bytes or more", alg, need)
		}
	}
	for _, field := range []struct{ name, alg string }{
		{"IDTokenSignedResponseAlg", cfg.IDTokenSignedResponseAlg},
		{"UserInfoSignedResponseAlg", cfg.UserInfoSignedResponseAlg},
	} {
		if field.alg != "" && keyTypes[field.alg] == "" {
			wrong(field.name, "%q is not supported", field.alg)
		}
		hmac(field.name, field.alg)
	}
	if err := checkAssertionAlg(cfg); err != nil {
		wrong("TokenEndpointAuthSigningAlg", "%w", err)
	}
	if cfg.TokenEndpointAuthMethod == "client_secret_jwt" {
		hmac("TokenEndpointAuthMethod", cmp.Or(cfg.TokenEndpointAuthSigningAlg, "HS256"))
	}
	if cfg.ClockSkew < 0 || cfg.ClockSkew > maxClockSkew {
		wrong("ClockSkew", "must be between 0 and 5 minutes")
	}
}

// maxClockSkew bounds Config.ClockSkew.
const maxClockSkew = 5 * time.Minute

func checkSession(cfg *Config, wrong func(string, string, ...any)) {
	switch {
	case len(cfg.CookieKeys) == 0 && cfg.KeySource == nil:
		wrong("CookieKeys", "is empty: give at least one key of 32 random bytes")
	case len(cfg.CookieKeys) > 0 && cfg.KeySource != nil:
		wrong("KeySource", "stands beside CookieKeys: give one of the two")
	}
	for i, key := range cfg.CookieKeys {
		if len(key) != seal.KeySize {
			wrong("CookieKeys", "[%d] has %d bytes, not %d", i, len(key), seal.KeySize)
		}
	}
	if cfg.RefreshBefore > 0 && !cfg.KeepTokens {
		wrong("RefreshBefore", "needs KeepTokens")
	}
	if cfg.RefreshFailure < KeepSession || cfg.RefreshFailure > FailRequest {
		wrong("RefreshFailure", "is not known")
	}
	for _, field := range []struct {
		name string
		d    time.Duration
	}{
		{"SessionLifetime", cfg.SessionLifetime}, {"SessionIdleTimeout", cfg.SessionIdleTimeout},
		{"ProviderTimeout", cfg.ProviderTimeout}, {"StoreTimeout", cfg.StoreTimeout},
		{"RefreshBefore", cfg.RefreshBefore},
	} {
		if field.d < 0 {
			wrong(field.name, "is negative")
		}
	}
}

// isLoopback reports whether host names this machine itself, where plain http
// reaches nobody else.
func isLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") { // RFC 6761 section 6.3
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func urlPath(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Path
}
