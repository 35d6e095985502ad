package oidcrp

// This file makes a Client from its owners, and holds the methods that belong to
// no other file.

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/oidcrp/oidcrp/internal/once"
)

// Client is a relying party: one client registration at one provider. It is
// safe for concurrent use. Make it with [New].
type Client struct {
	issuer, clientID string
	base             *url.URL
	paths            ownPaths
	crossOrigin      *http.CrossOriginProtection // of protected routes
	registration     *registered
	login            *loginDefaults
	required         []Requirement // of every protected route
	validate         func(...Requirement) error
	validateSilent   func() error
	silent           atomic.Bool // a page signs in silently
	demands          demands
	mounting         mounting
	group            atomic.Pointer[Group] // that the Client is a member of, if any
	logoutRules      logoutRules
	log              *slog.Logger
	events           *events
	now              func() time.Time

	// The owners, from the top down: each refers only to those below it.
	pages     *pages
	refresher *refresher
	logins    *logins
	sessions  *sessions
	flow      *flow
	provider  *provider
	cookies   *cookies
}

// registered and loginDefaults are behind two pointers: fmt calls no method of a
// field of the Client, and follows one of them for some verbs. Private keys and an
// ID Token as hint would show.
type (
	registered    struct{ *Registration }
	loginDefaults struct{ *AuthOptions } // what every login asks for
)

// ownPaths are the paths that the middleware answers itself.
type ownPaths struct {
	login, callback, logout, logoutCallback   string
	backChannel, frontChannel, initiate, jwks string
}

// New validates cfg and makes a Client. It makes no network calls: an app
// starts while its provider is down. Its errors are [*Error] with [CodeConfigInvalid];
// they name every field that is wrong, or its variable for a Config from
// [ConfigFromEnv], and include what [Config.Validate] finds.
func New(cfg Config) (*Client, error) {
	f := &findings{fromEnv: cfg.fromEnv}
	base := normalize(&cfg, f)
	if err := validateFurther(cfg, cfg.Requirements...); err != nil {
		f.problems = append(f.problems, err)
	}
	if len(f.problems) > 0 {
		// Not fail: whatever Validate returns, this is a mistake in the Config.
		return nil, &Error{Op: "config", Code: CodeConfigInvalid, Err: errors.Join(f.problems...)}
	}
	if len(cfg.unknownVars) > 0 {
		cfg.Logger.Warn("unknown variables in the environment", "names", clean(strings.Join(cfg.unknownVars, " "), 500))
	}
	logDeviations(&cfg, f)
	crossOrigin, err := newCrossOrigin(base, cfg.TrustedOrigins)
	if err != nil {
		return nil, failf("config", CodeConfigInvalid, "TrustedOrigins: %w", err)
	}
	keys, err := newCookieKeys(cfg.CookieKeys, !isLoopback(base.Hostname()), cfg.Now, cfg.Logger)
	if err != nil {
		return nil, failf("config", CodeConfigInvalid, "CookieKeys: %w", err)
	}
	login := everyLogin(&cfg)
	c := &Client{
		issuer: cfg.Issuer, clientID: cfg.ClientID, base: base, registration: &registered{&cfg.Registration},
		paths: newPaths(cfg.PathPrefix, base, &cfg.Registration), crossOrigin: crossOrigin,
		login: &loginDefaults{&login},
		validate: func(requirements ...Requirement) error {
			return validateFurther(cfg, requirements...)
		},
		validateSilent: func() error {
			silent := cfg
			silent.Login = login.clone()
			silent.Login.Prompt = "none"
			return validateFurther(silent)
		},
		logoutRules: newLogoutRules(&cfg),

		log:     cfg.Logger,
		events:  &events{issuer: cfg.Issuer, trace: cfg.Trace, log: cfg.Logger},
		now:     cfg.Now,
		cookies: newCookies(keys, cfg.Issuer, cfg.ClientID, cfg.PathPrefix, base.Host, base.Scheme == "https"),
	}
	c.required = everybodys(&cfg)
	c.build(&cfg)
	return c, nil
}

// loginHook returns the OnLogin of cfg, with what every login must meet before it.
func loginHook(cfg *Config) func(context.Context, *http.Request, *Session) error {
	requirements, onLogin, now := cfg.Requirements, cfg.OnLogin, cfg.Now
	if len(requirements) == 0 {
		return onLogin
	}
	return func(ctx context.Context, r *http.Request, s *Session) error {
		for _, requirement := range requirements {
			if !requirement.Met(s, now()) {
				return Refuse("a requirement of every login is not met: "+requirement.Name, requirement.Explain)
			}
		}
		if onLogin == nil {
			return nil
		}
		return onLogin(ctx, r, s)
	}
}

// build makes the owners, from the bottom up, each of its part of cfg.
func (c *Client) build(cfg *Config) {
	var setting settingName = (&findings{fromEnv: cfg.fromEnv}).name
	c.provider = newProvider(
		cfg.Issuer, cfg.ClientID, cfg.ClientSecret, &cfg.Registration, &cfg.Provider, c.events, c.now)
	c.provider.auth.setting, c.provider.auth.secretFunc = setting, cfg.ClientSecretFunc
	c.flow = &flow{
		provider: c.provider, registration: &cfg.Registration, clientID: cfg.ClientID,
		scopes: cfg.Scopes, responseMode: cfg.ResponseMode,
		userInfoTokenInBody: cfg.Provider.UserInfoTokenInBody, logoutTokenAlg: cfg.Provider.LogoutTokenSigningAlg,
		noUserInfo: cfg.Provider.NoUserInfo, noPKCE: cfg.Provider.NoPKCE, tokenParameters: cfg.Tokens.Extra,
		wantsRefresh: cfg.Tokens.RefreshBefore > 0, setting: setting, now: c.now,
		rules: &rules{
			issuer: cfg.Issuer, issuers: acceptedIssuers(cfg), clientID: cfg.ClientID, trusted: cfg.Provider.TrustedAudiences,
			skew: cfg.Provider.ClockSkew, signedWith: cfg.Registration.IDTokenSignedResponseAlg, now: c.now,
		},
	}
	var shared *storage
	if cfg.Store != nil {
		shared = newStorage(cfg.Store, cfg.Sessions.StoreTimeout, c.now).inSpaceOf(cfg.Issuer)
	}
	c.sessions = newSessions(
		cfg.Sessions, cfg.Tokens.Keep, cfg.Provider.ClockSkew, shared, c.cookies, c.events, c.now)
	if cfg.Provider.AcceptedIssuers != nil {
		c.sessions.accepts = c.flow.rules.accepts
	}
	c.logins = &logins{
		cookies: c.cookies, flow: c.flow, sessions: c.sessions, events: c.events, now: c.now,
		onLogin: loginHook(cfg), sameSite: http.SameSiteLaxMode, timeout: 4 * cfg.Provider.Timeout,
		home: c.home(), results: once.Group[*Session]{SizeOf: loginSize},
	}
	if cfg.ResponseMode == "form_post" && c.cookies.secure {
		// The response is a POST from the provider's site, which carries no Lax
		// cookies.
		c.logins.sameSite = http.SameSiteNoneMode
	}
	c.refresher = &refresher{
		flow: c.flow, sessions: c.sessions, shared: shared, settings: cfg.Tokens,
		timeout: 4 * cfg.Provider.Timeout, events: c.events, log: c.log, now: c.now,
		failing: recently{delay: refreshPause}, rejecting: recently{delay: refreshPause},
		running: once.Group[refreshed]{SizeOf: func(r refreshed, _ error) int { return r.session.size() }},
	}
	c.logins.results.Panicked = func(value any) { c.events.panicked("a login", value) }
	c.refresher.running.Panicked = func(value any) { c.events.panicked("a refresh", value) }
	c.pages = newPages(cfg.Pages, c.home())
}

func newPaths(prefix string, base *url.URL, r *Registration) ownPaths {
	paths := ownPaths{
		login:          prefix + "login",
		callback:       urlPath(r.RedirectURI),
		logout:         prefix + "logout",
		logoutCallback: urlPath(r.PostLogoutRedirectURI),
		backChannel:    urlPath(r.BackchannelLogoutURI),
		frontChannel:   urlPath(r.FrontchannelLogoutURI),
		initiate:       urlPath(r.InitiateLoginURI),
		jwks:           urlPath(r.JWKSURI),
	}
	if endsElsewhere(r.PostLogoutRedirectURI, base) {
		paths.logoutCallback = prefix + "logout/callback"
	}
	return paths
}

// all lists the paths.
func (p *ownPaths) all() []string {
	return []string{p.login, p.callback, p.logout, p.logoutCallback, p.backChannel, p.frontChannel, p.initiate, p.jwks}
}

// Metadata returns a copy of the provider's metadata, and fetches it if
// necessary. Its errors are those of a login: [*Error] with
// [CodeProviderUnavailable], [CodeProviderInvalid] or [CodeCanceled].
func (c *Client) Metadata(ctx context.Context) (*Metadata, error) {
	m, err := c.provider.known(ctx)
	if err != nil {
		return nil, err
	}
	return m.published.clone(), nil
}

// Ready returns nil when people can sign in as far as this app can tell: the
// cookie keys and the provider's metadata and keys are there, and the [Store]
// answers. It is for readiness probes; give ctx a timeout. It fetches what is
// missing, so the first probe warms the caches, and makes no network calls to
// the provider while those are valid.
//
// Its errors are [*Error]: [CodeCookieKeysUnavailable],
// [CodeStoreUnavailable], [CodeProviderUnavailable], [CodeProviderInvalid] or
// [CodeCanceled].
func (c *Client) Ready(ctx context.Context) error {
	if _, err := c.cookies.keys.ring(); err != nil {
		return err
	}
	if err := c.sessions.ready(ctx); err != nil {
		return err
	}
	return c.provider.ready(ctx)
}

// Registration returns what must be registered at the provider, with the
// defaults filled in: the URIs are exactly those that will be sent. JWKSURI is
// empty for a client without keys. Encoded as JSON it is client metadata (RFC
// 7591 section 2).
func (c *Client) Registration() Registration {
	r := *c.registration.Registration
	r.ClientKeys = slices.Clone(r.ClientKeys)
	r.ClientCertificates = slices.Clone(r.ClientCertificates)
	if !r.hasKeys() {
		r.JWKSURI = ""
	}
	return r
}

// Session returns the session that r carries. It works with or without
// Middleware; behind Middleware it returns the session already loaded for the
// request. Its errors are [*Error]: [CodeNoSession], the reason why the provider
// ended the session at a refresh (see [Tokens.RefreshFailure]), or an outage:
// [CodeStoreUnavailable], [CodeCookieKeysUnavailable].
func (c *Client) Session(r *http.Request) (*Session, error) {
	found, ok := c.refresher.found(r.Context())
	if !ok {
		found = c.refresher.lookUp(r)
	}
	if s := found.session.Load(); s != nil {
		return s, nil
	}
	return nil, found.none
}

// Refresh uses the refresh token of the session that r carries, fetches
// UserInfo again, and saves the resulting session on w. It returns the new
// session.
//
// Concurrent requests of one session share one refresh: in this process always,
// on all replicas if they share a [Store]. The session's own lifetime is not
// extended, and it continues as the same session: a refreshed ID Token must be
// about the same person and login.
//
// It returns an [*Error]: [CodeNoSession]; [CodeLoginRequired] when there is no
// refresh token ([Tokens.Keep] is off, or the provider issued none) or the
// provider no longer accepts it; [CodeSessionTooLarge] if the new claims do not fit, so
// that the old ones stay; [CodeProviderUnavailable], after which the old session is
// still good; [CodeTokenRefused], after which it is too; or one of an
// outage. If the provider failed only after it had issued new tokens, those are
// saved all the same, since the old refresh token may be spent. If the new ID Token
// was refused, only the new refresh token is.
func (c *Client) Refresh(w http.ResponseWriter, r *http.Request) (*Session, error) {
	k, err := c.sessions.load(r)
	if err != nil {
		return nil, err
	}
	next, err := c.refresher.together(r.Context(), k, true)
	if err != nil {
		return nil, fail("refresh", CodeProviderUnavailable, err)
	}
	saveErr := c.sessions.keeper.deliver(next.session).on(w, r)
	if err := cmp.Or(next.err(), saveErr); err != nil {
		return nil, fail("refresh", CodeProviderUnavailable, err)
	}
	return next.session, nil
}

// KeySet returns the provider's keys as a key set for go-oidc, for apps that
// verify other tokens of this provider, such as access tokens that are JWTs:
//
//	verifier := oidc.NewVerifier(issuer, client.KeySet(), &oidc.Config{ClientID: audience})
//
// It accepts the signature algorithms that an ID Token may have, follows the
// provider's key rotation, and fetches keys no more often than this package
// does, however many forged tokens arrive. It does not compare the issuer member that
// a key may have (see [Provider.AcceptedIssuers]) with the token's iss.
func (c *Client) KeySet() oidc.KeySet { return clientKeySet{c} }

type clientKeySet struct{ client *Client }

// VerifySignature implements [oidc.KeySet].
func (k clientKeySet) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	m, err := k.client.provider.metadata(ctx)
	if err != nil {
		return nil, err
	}
	payload, _, err := k.client.provider.keys.verify(ctx, "token", jwt, k.client.flow.rules.idTokenAlgs(m))
	return payload, err
}
