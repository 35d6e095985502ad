package oidcrp

// This file holds the configuration, its defaults and its checks.

import (
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/go-jose/go-jose/v4"

	josekit "github.com/oidcrp/oidcrp/internal/jose"
)

// Config says which provider to trust, how this client is registered there, and
// how long people stay signed in. Issuer, ClientID, BaseURL, CookieKeys and, for
// most providers, ClientSecret are required. [New] copies it.
//
// Printed, logged or encoded as JSON, it shows no secret. fmt, however, calls no
// methods on values in unexported fields: do not print a struct that holds a Config
// in one.
type Config struct {
	// Issuer is the provider's issuer identifier, exactly as the provider
	// writes it: a trailing slash matters (OIDC Discovery 4.3). It must be an
	// https URL; http is accepted for a loopback host only.
	Issuer string
	// ClientID and ClientSecret are what the provider issued at registration.
	// ClientSecret is empty for the methods that need none.
	ClientID     string
	ClientSecret string
	// ClientSecretFunc returns the client secret, in place of ClientSecret: from a
	// vault, or made for the occasion, as for Apple (see AppleKey in package providers). It is
	// called for each request in which the client authenticates, possibly by several
	// goroutines, and may cache. It must honour ctx, which ends after [Provider.Timeout].
	// If it fails, so does the login, with [CodeProviderUnavailable], which is status 503;
	// a session whose refresh fails by it is still good. Its error is logged, and must not
	// hold the secret. It cannot serve what is signed or encrypted with the secret's own
	// bytes. If nil, ClientSecret is used.
	ClientSecretFunc func(ctx context.Context) (string, error)
	// BaseURL is where people reach the app, such as
	// "https://app.example.gouv.fr". Its host binds the cookies, and its scheme
	// must be https unless the host is a loopback one. Behind a reverse proxy it
	// is the proxy's address; no URL is made from a request's own host. A path in
	// it must reach the app: the proxy may not strip it. If empty, it is the
	// origin of Registration.RedirectURI.
	BaseURL string
	// PathPrefix is the path, below BaseURL, of the client's own handlers:
	// login, callback, logout, logout/callback, backchannel-logout,
	// frontchannel-logout, initiate (a login that another party starts) and
	// jwks (the client's public keys). If empty, "/auth/". Several Clients in
	// one app, such as one for each provider, need one each: see [Group].
	PathPrefix string
	// CookieKeys provides the keys that seal the cookies: [Keys] or [KeyFile].
	CookieKeys KeySource
	// TrustedOrigins are the other origins whose pages may send forms, scripts'
	// requests that change something, and WebSockets to protected routes in a
	// person's name, such as "https://www.example.gouv.fr". They are written as a
	// browser writes them: in lower case, without a path and a default port. If
	// empty, only pages of the app itself may; another host of the same site is
	// another origin.
	TrustedOrigins []string

	// Scopes is what every login asks for; "openid" is added if missing. If
	// nil, "openid profile email".
	Scopes []string
	// ResponseMode is "query" or "form_post". If empty, the parameter is not
	// sent, and the provider uses query (OAuth 2.0 Multiple Response Types 2.1). A
	// code that comes by the other mode is refused.
	ResponseMode string
	// Login is what every login adds to its authentication request. A login's
	// own options take precedence.
	Login AuthOptions
	// Requirements are what everybody must meet: each login, which asks for them, before
	// OnLogin runs, and each session on a protected route, before the route's own. A login
	// that does not meet one is refused with [CodeLoginRefused], and the page shows what its
	// Explain says; for want of an acr value or a max_age that it asked for, it is
	// refused with [CodeRequirementUnmet] before that. The presets of package providers put
	// theirs here: append to it. If nil, there are none.
	Requirements []Requirement
	// OnLogin runs once for each login, when the provider's responses have been
	// verified and before the session exists: to set up the account, or to
	// refuse it by returning an error made with [Refuse]. Any other error fails
	// the login with [CodeInternal]. r is the callback request; AppleUser of package
	// providers reads what Apple sends in it. ctx does not end with r and has its own time
	// limit. If nil, everybody whom the provider authenticates is let in.
	OnLogin func(ctx context.Context, r *http.Request, s *Session) error

	// Store keeps the sessions on the server. If nil, a session is one sealed
	// cookie, and the server keeps nothing.
	Store Store
	// Registration is what was agreed with the provider.
	Registration Registration
	// Sessions says how long sessions last and where they are kept.
	Sessions Sessions
	// Tokens says whether access and refresh tokens are kept and refreshed.
	Tokens Tokens
	// Provider holds what this client needs to know about the provider beyond its
	// issuer.
	Provider Provider
	// Pages adapts the pages of this package.
	Pages Pages

	// Logger receives the log; if nil, slog.Default().
	Logger *slog.Logger
	// Trace holds hooks for auditing and metrics. The zero value has none.
	Trace Trace
	// Now is the clock; if nil, time.Now. It is for tests.
	Now func() time.Time
	// Validate checks further rules, such as those of one provider. [New] calls it
	// with the Config, its defaults filled in, and its Requirements, and reports its error
	// together with its own. [Client.Require] calls it again for a route with requirements, and
	// panics with its error. It must not change anything that the Config refers
	// to. If nil, there are no further rules.
	Validate func(cfg Config, requirements ...Requirement) error

	fromEnv     bool     // made by ConfigFromEnv: errors name variables
	unknownVars []string // variables that ConfigFromEnv did not know
}

// Format writes the Config as JSON without its secrets, whatever the verb.
func (c Config) Format(s fmt.State, _ rune) {
	text, err := json.Marshal(c)
	if err != nil {
		text = []byte("{}")
	}
	fmt.Fprintf(s, "Config%s", text)
}

// MarshalJSON returns Issuer, ClientID, BaseURL, PathPrefix, TrustedOrigins, Scopes,
// ResponseMode, Registration without its keys, Sessions and Tokens. In place of ClientSecret it says
// whether there is one, in place of Store its type. It leaves out everything else.
func (c Config) MarshalJSON() ([]byte, error) {
	secret := ""
	if c.ClientSecret != "" || c.ClientSecretFunc != nil {
		secret = "hidden"
	}
	registration := c.Registration
	for _, field := range registeredURIs(&registration) {
		*field.uri = withoutUser(*field.uri)
	}
	trusted := slices.Clone(c.TrustedOrigins)
	for i, origin := range trusted {
		trusted[i] = withoutUser(origin)
	}
	return json.Marshal(struct {
		Issuer, ClientID, ClientSecret, BaseURL, PathPrefix string
		TrustedOrigins                                      []string `json:",omitempty"`
		Scopes                                              []string
		ResponseMode                                        string
		Store                                               string `json:",omitempty"`
		Registration                                        Registration
		Sessions                                            Sessions
		Tokens                                              Tokens
	}{
		withoutUser(c.Issuer), c.ClientID, secret, withoutUser(c.BaseURL), c.PathPrefix,
		trusted, c.Scopes, c.ResponseMode, typeName(c.Store), registration, c.Sessions, c.Tokens,
	})
}

// typeName names what kind of value v is, "" for none.
func typeName(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%T", v)
}

// checkRequirements refuses requirements that are incomplete: they would let everybody in,
// or nobody.
func checkRequirements(cfg *Config, f *findings) {
	cfg.Requirements = slices.Clone(cfg.Requirements)
	for i, requirement := range cfg.Requirements {
		if requirement.Name == "" || requirement.Met == nil {
			f.add("Requirements", "[%d] has no Name or no Met: make it with Claim, ACR and the like, or set both", i)
		}
	}
	if field, _ := cfg.Login.validate(); field != "" {
		return // reported later, and ACR panics on such values
	}
	if acr := everyLogin(cfg).RequireACR; len(cfg.Requirements) > 0 && acr != nil && len(acr) == 0 {
		f.add("Requirements", "and %s have no acr value that meets all of them: nobody could sign in", f.name("Login.RequireACR"))
	}
}

// everybodys returns what everybody must meet, RequireACR of Login included.
func everybodys(cfg *Config) (all []Requirement) {
	if acr := cfg.Login.acceptedACR(); len(acr) > 0 {
		all = append(all, ACR(acr...))
	}
	return append(all, cfg.Requirements...)
}

// everyLogin returns what every login asks for: what Login says, and what may make it meet
// the Requirements.
func everyLogin(cfg *Config) AuthOptions {
	if len(cfg.Requirements) == 0 {
		return cfg.Login.clone()
	}
	asked := AuthOptions{MaxAge: cfg.Login.MaxAge}
	for _, requirement := range everybodys(cfg) {
		if requirement.Ask != nil {
			requirement.Ask(&asked)
		}
	}
	return asked.over(cfg.Login)
}

// normalize fills in the defaults of cfg and copies everything that the caller could
// still change. It returns the parsed base URL, and adds what is wrong to f.
func normalize(cfg *Config, f *findings) *url.URL {
	defaults(cfg)
	checkPlainHosts(cfg, f)
	checkIssuer(cfg.Issuer, cfg.Provider.InsecureHTTPHosts, f)
	base := checkURLs(cfg, f)
	checkRequirements(cfg, f)
	checkClient(cfg, f)
	checkAlgs(cfg, f)
	checkEncryption(cfg, f)
	checkProvider(cfg, f)
	checkDeviations(cfg, f)
	checkTrustedOrigins(cfg.TrustedOrigins, f)
	checkCookieKeys(cfg, base, f)
	checkSessions(cfg, f)
	if field, err := cfg.Login.validate(); err != nil {
		f.add("Login."+field, "%w", err)
	}
	if len(cfg.Login.Scopes) > 0 {
		f.add("Login.Scopes", "is set: put the scopes of every login into %s", f.name("Scopes"))
	}
	if field, err := cfg.Pages.check(); err != nil {
		f.add("Pages."+field, "%w", err)
	}
	return base
}

// findings collects what is wrong with a Config.
type findings struct {
	fromEnv  bool
	only     map[string]bool // the fields to look at; nil: all
	problems []error
}

// add reports what is wrong with a field.
func (f *findings) add(field, format string, args ...any) {
	if f.only != nil && !f.only[field] {
		return
	}
	f.problems = append(f.problems, fmt.Errorf("%s "+format, append([]any{f.name(field)}, args...)...))
}

// name returns a field's name, and for a Config from the environment that of the
// variable that sets it.
func (f *findings) name(field string) string {
	if variable := variableOf(field); f.fromEnv && variable != "" {
		return variable + " (" + field + ")"
	}
	return field
}

// validateFurther returns the error of [Config.Validate]. If that is an [*Error],
// it returns its cause, since the caller wraps it again.
func validateFurther(cfg Config, requirements ...Requirement) error {
	if cfg.Validate == nil {
		return nil
	}
	err := cfg.Validate(cfg, requirements...)
	if e, ok := err.(*Error); ok && e.Code == CodeConfigInvalid && e.Err != nil {
		return e.Err
	}
	return err
}

func defaults(cfg *Config) {
	cfg.PathPrefix = cmp.Or(cfg.PathPrefix, "/auth/")
	if cfg.Scopes == nil {
		cfg.Scopes = []string{"openid", "profile", "email"}
	}
	// An element may hold several scopes, separated by spaces.
	cfg.Scopes = strings.Fields(strings.Join(cfg.Scopes, " "))
	if !slices.Contains(cfg.Scopes, "openid") {
		cfg.Scopes = slices.Insert(cfg.Scopes, 0, "openid")
	}
	cfg.TrustedOrigins = slices.Clone(cfg.TrustedOrigins)
	cfg.Login = cfg.Login.clone()
	r, p, s := &cfg.Registration, &cfg.Provider, &cfg.Sessions
	r.ClientKeys = slices.Clone(r.ClientKeys)
	if len(r.ClientKeys) > 1 { // one may be registered without a key id, and must then be used so
		josekit.NameKeys(r.ClientKeys)
	}
	r.ClientCertificates = slices.Clone(r.ClientCertificates)
	p.TrustedAudiences = slices.Clone(p.TrustedAudiences)
	p.JWKS = slices.Clone(p.JWKS)
	p.AcceptedIssuers = slices.Clone(p.AcceptedIssuers)
	cfg.Tokens.RefreshScopes = slices.Clone(cfg.Tokens.RefreshScopes)
	cfg.Tokens.Extra = cloneValues(cfg.Tokens.Extra)
	p.InsecureHTTPHosts = slices.Clone(p.InsecureHTTPHosts)
	p.ClockSkew = cmp.Or(p.ClockSkew, time.Minute)
	p.Timeout = cmp.Or(p.Timeout, 10*time.Second)
	s.Lifetime = cmp.Or(s.Lifetime, defaultLifetime)
	s.IdleTimeout = cmp.Or(s.IdleTimeout, defaultIdleTimeout)
	s.KeepClaims = slices.Clone(s.KeepClaims)
	s.MaxCookieBytes = cmp.Or(s.MaxCookieBytes, defaultMaxCookieBytes)
	s.CacheBytes = cmp.Or(s.CacheBytes, defaultCacheBytes)
	s.StoreTimeout = cmp.Or(s.StoreTimeout, 2*time.Second)
	s.RevocationDelay = cmp.Or(s.RevocationDelay, time.Second)
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
}

func checkIssuer(issuer string, plain []string, f *findings) {
	if issuer == "" {
		f.add("Issuer", "is empty")
		return
	}
	if strings.HasSuffix(issuer, "/.well-known/openid-configuration") {
		f.add("Issuer", "%q is the metadata's address: remove /.well-known/openid-configuration", withoutUser(issuer))
		return
	}
	// OIDC Discovery 3: "no query or fragment components".
	checkOrigin("Issuer", issuer, f, plain...)
}

// checkOrigin returns raw parsed; nil if it is not an absolute URL without user,
// query and fragment. It also reports plain http to other hosts than loopback and plain.
func checkOrigin(field, raw string, f *findings, plain ...string) *url.URL {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.ContainsAny(raw, "?#") {
		f.add(field, "%q must be an absolute URL without user, query and fragment", withoutUser(raw))
		return nil
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && (isLoopback(u.Hostname()) || isAmong(plain, raw))) {
		f.add(field, "%q must be https (http is for loopback hosts only)", raw)
	}
	return u
}

// checkTrustedOrigins reports what no browser sends as its Origin, since it would
// never match.
func checkTrustedOrigins(origins []string, f *findings) {
	for i, origin := range origins {
		field := fmt.Sprintf("TrustedOrigins[%d]", i)
		before := len(f.problems)
		u := checkOrigin(field, origin, f)
		if u == nil || len(f.problems) > before {
			continue
		}
		ascii := !strings.ContainsFunc(u.Host, func(r rune) bool { return r > unicode.MaxASCII || r == '*' })
		if origin != originOf(u) || !ascii {
			f.add(field, "%q must be an origin as a browser sends it: a scheme, a host in lower case (xn-- for "+
				"accents, no wildcard) and a port that is not the default one, such as https://www.example.fr", clean(origin, 200))
		}
	}
}

// withoutUser returns a URL that may be shown in an error: the part before an @
// may be a password.
func withoutUser(raw string) string {
	if i := strings.LastIndexByte(raw, '@'); i >= 0 {
		raw = "…" + raw[i:]
	}
	return clean(raw, 200)
}

// checkURLs settles BaseURL, PathPrefix and the URIs of the registration.
func checkURLs(cfg *Config, f *findings) *url.URL {
	base := checkBaseURL(cfg, f)
	prefix, slash := strings.CutSuffix(cfg.PathPrefix, "/")
	if !slash || prefix == "/" || !isCleanPath(prefix) {
		f.add("PathPrefix", "%q must be a clean path that starts and ends with a slash and is not the root", cfg.PathPrefix)
		cfg.PathPrefix = "/auth/" // so that the rest can be checked
	}
	if base == nil {
		return &url.URL{}
	}
	origin := base.Scheme + "://" + base.Host
	cfg.PathPrefix = base.Path + cfg.PathPrefix
	// The middleware answers every request for its own paths, so none of them
	// may be the app's home page or another's.
	taken := []string{"", "/", base.Path, base.Path + "/", cfg.PathPrefix + "login", cfg.PathPrefix + "logout"}
	for _, field := range registeredURIs(&cfg.Registration) {
		usual := origin + cfg.PathPrefix + field.path
		*field.uri = cmp.Or(*field.uri, usual)
		uri := *field.uri
		if field.uri == &cfg.Registration.PostLogoutRedirectURI && endsElsewhere(uri, base) {
			uri = usual // of the signed-out page
		}
		u, err := url.Parse(uri)
		switch {
		case err != nil || u.Scheme+"://"+u.Host != origin || u.User != nil || strings.Contains(uri, "#"):
			f.add(field.name, "%q must be an absolute URL without user and fragment on BaseURL's origin, %s",
				withoutUser(uri), origin)
		case slices.Contains(taken, u.Path):
			f.add(field.name, "%q has the path of another page: give it one of its own", uri)
		default:
			taken = append(taken, u.Path)
		}
	}
	return base
}

// endsElsewhere reports whether a post-logout redirect URI is none, or the app's start
// page, so that the client does not answer it.
func endsElsewhere(uri string, base *url.URL) bool {
	start := base.Scheme + "://" + base.Host + base.Path
	return uri == noURI || uri == start || uri == start+"/"
}

// A registeredURI is a URI of the registration, and its path below PathPrefix
// by default.
type registeredURI struct {
	name, path string
	uri        *string
}

func registeredURIs(r *Registration) []registeredURI {
	return []registeredURI{
		{"Registration.RedirectURI", "callback", &r.RedirectURI},
		{"Registration.PostLogoutRedirectURI", "logout/callback", &r.PostLogoutRedirectURI},
		{"Registration.InitiateLoginURI", "initiate", &r.InitiateLoginURI},
		{"Registration.BackchannelLogoutURI", "backchannel-logout", &r.BackchannelLogoutURI},
		{"Registration.FrontchannelLogoutURI", "frontchannel-logout", &r.FrontchannelLogoutURI},
		{"Registration.JWKSURI", "jwks", &r.JWKSURI},
	}
}

// checkBaseURL returns BaseURL parsed, without slashes at its end; nil if it
// cannot be used.
func checkBaseURL(cfg *Config, f *findings) *url.URL {
	if redirect := cfg.Registration.RedirectURI; cfg.BaseURL == "" && redirect != "" {
		if u, err := url.Parse(redirect); err == nil && u.Host != "" {
			cfg.BaseURL = u.Scheme + "://" + u.Host
		}
	}
	if cfg.BaseURL == "" {
		f.add("BaseURL", "is empty")
		return nil
	}
	base := checkOrigin("BaseURL", strings.TrimRight(cfg.BaseURL, "/"), f)
	if base != nil && base.Path != "" && (!isCleanPath(base.Path) || base.RawPath != "") {
		f.add("BaseURL", "%q must have a clean path without escapes", cfg.BaseURL)
	}
	return base
}

// isCleanPath reports whether p, which has no trailing slash, is a path with only
// one spelling, both in a URL and in a request.
func isCleanPath(p string) bool {
	return strings.HasPrefix(p, "/") && path.Clean(p) == p && (&url.URL{Path: p}).EscapedPath() == p
}

// checkClient checks the client's credentials against its method.
func checkClient(cfg *Config, f *findings) {
	if cfg.ClientID == "" {
		f.add("ClientID", "is empty")
	}
	// It comes from copying, and the provider would answer invalid_client.
	if strings.TrimSpace(cfg.ClientID) != cfg.ClientID {
		f.add("ClientID", "%q begins or ends with white space: remove it", clean(cfg.ClientID, 100))
	}
	if strings.TrimSpace(cfg.ClientSecret) != cfg.ClientSecret {
		f.add("ClientSecret", "begins or ends with white space: remove it")
	}
	if scopes := strings.Join(cfg.Scopes, " "); strings.Contains(scopes, ",") {
		f.add("Scopes", "%q contains a comma: separate scopes by spaces", clean(scopes, 200))
	}
	r := &cfg.Registration
	hasSecret := cfg.ClientSecret != "" || cfg.ClientSecretFunc != nil
	if r.TokenEndpointAuthMethod == "" && !hasSecret && len(r.ClientKeys) > 0 {
		r.TokenEndpointAuthMethod = "private_key_jwt"
	}
	switch method := r.TokenEndpointAuthMethod; method {
	case "", "client_secret_basic", "client_secret_post", "client_secret_jwt":
		if !hasSecret {
			f.add("ClientSecret", "is empty (for a public client, set %s to %q)",
				f.name("Registration.TokenEndpointAuthMethod"), "none")
		}
	case "private_key_jwt":
		if len(r.ClientKeys) == 0 {
			f.add("Registration.ClientKeys", "is empty, and private_key_jwt needs a key")
		}
	case "tls_client_auth", "self_signed_tls_client_auth":
		if len(r.ClientCertificates) == 0 {
			f.add("Registration.ClientCertificates", "is empty, and %s needs a certificate", method)
		}
	case "none":
	default:
		f.add("Registration.TokenEndpointAuthMethod", "%q is not known (client_secret_basic, client_secret_post, "+
			"client_secret_jwt, private_key_jwt, tls_client_auth, self_signed_tls_client_auth, none)", method)
	}
	checkCertificates(cfg, f)
	for i, key := range r.ClientKeys {
		if !key.Valid() || key.IsPublic() {
			f.add("Registration.ClientKeys", "[%d] is not a private key", i)
		}
	}
	switch cfg.ResponseMode {
	case "", "query", "form_post":
	default:
		f.add("ResponseMode", "%q is not supported (query, form_post)", cfg.ResponseMode)
	}
}

func checkCertificates(cfg *Config, f *findings) {
	const field = "Registration.ClientCertificates"
	certificates := cfg.Registration.ClientCertificates
	for i := range certificates {
		certificate := &certificates[i]
		if certificate.PrivateKey == nil || len(certificate.Certificate) == 0 {
			f.add(field, "[%d] lacks its certificate or its private key", i)
			continue
		}
		leaf, err := x509.ParseCertificate(certificate.Certificate[0])
		if err != nil {
			f.add(field, "[%d] cannot be read", i)
			continue
		}
		if !certifies(leaf, certificate.PrivateKey) {
			f.add(field, "[%d] does not belong to its private key", i)
		}
		certificate.Leaf = leaf
	}
	if cfg.Provider.Transport == nil || len(certificates) == 0 {
		return
	}
	if _, ok := cfg.Provider.Transport.(*http.Transport); !ok {
		f.add("Provider.Transport", "must be an *http.Transport to present ClientCertificates")
	}
}

// certifies reports whether private is the key of leaf.
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
func checkAlgs(cfg *Config, f *findings) {
	r := &cfg.Registration
	hmac := func(field, alg string) {
		if need := josekit.MinSecret(alg); len(cfg.ClientSecret) < need {
			f.add(field, "%s needs %s to have %d bytes or more", alg, f.name("ClientSecret"), need)
		}
	}
	for _, field := range []struct{ name, alg string }{
		{"Registration.IDTokenSignedResponseAlg", r.IDTokenSignedResponseAlg},
		{"Registration.UserInfoSignedResponseAlg", r.UserInfoSignedResponseAlg},
		{"Provider.LogoutTokenSigningAlg", cfg.Provider.LogoutTokenSigningAlg},
	} {
		if field.alg != "" && !josekit.Supported(field.alg) {
			f.add(field.name, "%q is not supported", field.alg)
		}
		hmac(field.name, field.alg)
	}
	auth := clientAuth{
		secret: cfg.ClientSecret, keys: r.ClientKeys,
		method: r.TokenEndpointAuthMethod, alg: r.TokenEndpointAuthSigningAlg,
	}
	if r.TokenEndpointAuthMethod == "client_secret_jwt" && cfg.ClientSecret == "" {
		return // reported with the secret
	}
	if err := auth.checkAlg(); err != nil {
		f.add("Registration.TokenEndpointAuthSigningAlg", "%q cannot be used: %w", r.TokenEndpointAuthSigningAlg, err)
	}
	if r.TokenEndpointAuthMethod == "client_secret_jwt" {
		hmac("Registration.TokenEndpointAuthMethod", cmp.Or(r.TokenEndpointAuthSigningAlg, "HS256"))
	}
}

// checkEncryption checks the registration's encryption against the keys.
func checkEncryption(cfg *Config, f *findings) {
	r := &cfg.Registration
	for _, field := range []struct{ name, alg, enc string }{
		{"Registration.IDTokenEncryptedResponse", r.IDTokenEncryptedResponseAlg, r.IDTokenEncryptedResponseEnc},
		{"Registration.UserInfoEncryptedResponse", r.UserInfoEncryptedResponseAlg, r.UserInfoEncryptedResponseEnc},
	} {
		kind := josekit.EncryptionKeyType(field.alg)
		switch {
		case field.alg == "" && field.enc != "":
			f.add(field.name+"Enc", "is set without an Alg")
		case field.alg != "" && kind == "":
			f.add(field.name+"Alg", "%q is not supported", field.alg)
		case field.enc != "" && field.alg != "" && !josekit.SupportsEncryption(field.alg, field.enc):
			f.add(field.name+"Enc", "%q is not supported", field.enc)
		case kind == "oct" && cfg.ClientSecret == "":
			f.add(field.name+"Alg", "%s needs %s", field.alg, f.name("ClientSecret"))
		case (kind == "RSA" || kind == "EC") && !slices.ContainsFunc(r.ClientKeys, func(key jose.JSONWebKey) bool {
			return josekit.Decrypts(key, field.alg)
		}):
			f.add(field.name+"Alg", "%s needs a key that fits it in %s", field.alg, f.name("Registration.ClientKeys"))
		}
	}
}

func checkProvider(cfg *Config, f *findings) {
	p := &cfg.Provider
	if p.ClockSkew < 0 || p.ClockSkew > maxClockSkew {
		f.add("Provider.ClockSkew", "%v must be between 0 and 5 minutes", p.ClockSkew)
	}
	if p.Timeout < 0 {
		f.add("Provider.Timeout", "%v is negative", p.Timeout)
	}
	if p.RootCAs != nil && p.Transport != nil {
		f.add("Provider.RootCAs", "and Provider.Transport are both set: put the RootCAs into the Transport")
	}
	checkLogout(cfg, f)
	if p.Metadata != nil {
		p.Metadata = p.Metadata.clone()
		mtls := len(cfg.Registration.ClientCertificates) > 0
		if err := validateMetadata(p.Metadata, cfg.Issuer, mtls, p.JWKS != nil, p.InsecureHTTPHosts); err != nil {
			f.add("Provider.Metadata", "cannot be used: %w", err)
		}
	}
}

func checkCookieKeys(cfg *Config, base *url.URL, f *findings) {
	if cfg.CookieKeys == nil {
		mend := "give at least one key of 32 random bytes, with Keys or KeyFile"
		if cfg.fromEnv {
			mend = "set it to a key made by openssl rand -base64 32, or OIDC_COOKIE_KEYS_FILE to a file of such keys"
		}
		f.add("CookieKeys", "is empty: %s", mend)
	}
	if keys, ok := cfg.CookieKeys.(*fixedKeys); ok {
		// Without a BaseURL, which is reported too, nothing is known about the host.
		public := base.Host != "" && !isLoopback(base.Hostname())
		for _, err := range keys.check(public) {
			f.add("CookieKeys", "%w", err)
		}
	}
}

func checkSessions(cfg *Config, f *findings) {
	if cfg.Tokens.RefreshBefore > 0 && !cfg.Tokens.Keep {
		f.add("Tokens.RefreshBefore", "needs Tokens.Keep")
	}
	if cfg.Tokens.RevokeAtLogout && !cfg.Tokens.Keep {
		f.add("Tokens.RevokeAtLogout", "needs Tokens.Keep")
	}
	if cfg.Tokens.RefreshFailure < KeepSession || cfg.Tokens.RefreshFailure > FailRequest {
		f.add("Tokens.RefreshFailure", "%d is not known", cfg.Tokens.RefreshFailure)
	}
	for _, field := range []struct {
		name string
		d    time.Duration
	}{
		{"Sessions.Lifetime", cfg.Sessions.Lifetime}, {"Sessions.IdleTimeout", cfg.Sessions.IdleTimeout},
		{"Sessions.StoreTimeout", cfg.Sessions.StoreTimeout}, {"Tokens.RefreshBefore", cfg.Tokens.RefreshBefore},
	} {
		if field.d < 0 {
			f.add(field.name, "%v is negative", field.d)
		}
	}
	if n := cfg.Sessions.MaxCookieBytes; n < minMaxCookieBytes || n > maxSessionBytes {
		f.add("Sessions.MaxCookieBytes", "%d must be between %d and %d", n, minMaxCookieBytes, maxSessionBytes)
	}
	if slices.Contains(cfg.Sessions.KeepClaims, "") {
		f.add("Sessions.KeepClaims", "has an empty name")
	}
}

// isLoopback reports whether host names this machine itself, where plain http
// stays on it.
func isLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") { // RFC 6761 section 6.3
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
