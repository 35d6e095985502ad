package oidctest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp/oidctest/fault"
	"github.com/oidcrp/oidcrp/oidctest/internal/wire"
)

// The names of the endpoints, for [Request], [Provider.Endpoint], [Provider.Handle] and
// the faults of package fault.
const (
	EndpointDiscovery     = wire.EndpointDiscovery
	EndpointJWKS          = wire.EndpointJWKS
	EndpointAuthorization = wire.EndpointAuthorization
	EndpointLogin         = wire.EndpointLogin // receives the form of the login page
	EndpointPAR           = wire.EndpointPAR
	EndpointToken         = wire.EndpointToken
	EndpointUserInfo      = wire.EndpointUserInfo
	EndpointRevocation    = wire.EndpointRevocation
	EndpointEndSession    = wire.EndpointEndSession
	EndpointElsewhere     = wire.EndpointElsewhere // the target of fault.Redirected
	EndpointUnknown       = wire.EndpointUnknown   // any other path
)

// paths are the default paths of the endpoints under the issuer. They are not the ones
// that a relying party might guess.
var paths = map[string]string{
	"/.well-known/openid-configuration": EndpointDiscovery,
	"/jwks":                             EndpointJWKS,
	"/authorize":                        EndpointAuthorization,
	"/login":                            EndpointLogin,
	"/request":                          EndpointPAR,
	"/token":                            EndpointToken,
	"/userinfo":                         EndpointUserInfo,
	"/token/revocation":                 EndpointRevocation,
	"/session/end":                      EndpointEndSession,
}

// A Provider is an OpenID Provider. It is an http.Handler for the paths under its
// issuer. All methods are safe for concurrent use.
type Provider struct {
	cfg     Config
	clients []Client
	paths   map[string]string // endpoints by path, with Config.Paths applied
	base    string            // the issuer's path without its trailing slash
	site    *wire.Site
	server  *server

	mu sync.Mutex // guards everything below, and site.Keys

	codes        map[string]*code
	access       map[string]*accessToken
	refresh      map[string]*refreshToken
	sessions     map[string]*session
	interactions map[string]*authRequest
	pushed       map[string]*pushedRequest
	assertions   map[string]bool // the jti of every client assertion received
	verifiers    map[string]bool // every code_verifier received
	issued       map[string]bool // every ID Token issued, before encryption
	introduced   map[string]bool // clients and subjects to which Config.CallbackUser applied

	faults     []misbehaviour
	overrides  map[string]http.HandlerFunc
	down       bool
	requests   []*Request
	violations []string
	answers    []LogoutAnswer
}

// New returns a provider to mount in your own server. Config.Issuer must be the absolute
// URL under which clients reach the provider, and requests must arrive with the full
// path, without http.StripPrefix. New returns an error if the Config is invalid.
func New(cfg Config) (*Provider, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	issuer, err := url.Parse(cfg.Issuer)
	if err != nil {
		return nil, fmt.Errorf("oidctest: Config.Issuer: %w", err)
	}
	keys, err := wire.NewKeyRing(cfg.signingAlgs())
	if err != nil {
		return nil, err
	}
	return &Provider{
		cfg:     cfg,
		clients: cfg.Clients,
		paths:   cfg.paths(),
		base:    strings.TrimSuffix(issuer.Path, "/"),
		site: &wire.Site{Issuer: cfg.Issuer, Root: strings.TrimSuffix(cfg.Issuer, "/"),
			Now: cfg.Now, Keys: keys},
		codes:        make(map[string]*code),
		access:       make(map[string]*accessToken),
		refresh:      make(map[string]*refreshToken),
		sessions:     make(map[string]*session),
		interactions: make(map[string]*authRequest),
		pushed:       make(map[string]*pushedRequest),
		assertions:   make(map[string]bool),
		verifiers:    make(map[string]bool),
		issued:       make(map[string]bool),
		introduced:   make(map[string]bool),
		overrides:    make(map[string]http.HandlerFunc),
	}, nil
}

// Start returns a provider that listens on a free port of 127.0.0.1 until Close.
func Start(cfg Config) (*Provider, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("oidctest: %w", err)
	}
	scheme := "http"
	if cfg.TLS {
		scheme = "https"
	}
	if cfg.Issuer == "" || strings.HasPrefix(cfg.Issuer, "/") {
		cfg.Issuer = scheme + "://" + listener.Addr().String() + cfg.Issuer
	}
	p, err := New(cfg)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	if p.server, err = serve(listener, p, cfg.TLS); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return p, nil
}

// NewServer calls [Start] for a test and closes the provider when the test ends. It
// fails the test on an error.
func NewServer(t testing.TB, cfg Config) *Provider {
	t.Helper()
	p, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("oidctest: closing the provider: %v", err)
		}
	})
	return p
}

// Close stops the server opened by Start and aborts the requests in progress. It does
// nothing for a provider made by New.
func (p *Provider) Close() error {
	if p.server == nil {
		return nil
	}
	return p.server.close()
}

// Issuer returns the issuer identifier.
func (p *Provider) Issuer() string { return p.cfg.Issuer }

// Endpoint returns the URL of an endpoint, such as [EndpointToken]. It panics if no
// endpoint has that name.
func (p *Provider) Endpoint(name string) string {
	for path, endpoint := range p.paths {
		if endpoint == name {
			return p.site.Root + path
		}
	}
	panic("oidctest: unknown endpoint " + name)
}

// RotateKeys replaces the provider's keys with new keys under new key ids and removes
// the old keys from the JWK Set.
func (p *Provider) RotateKeys() { p.rotate(false) }

// RotateKeysKeepingOld gives the provider new keys to sign with and keeps the old ones
// in the JWK Set, after the new ones.
func (p *Provider) RotateKeysKeepingOld() { p.rotate(true) }

func (p *Provider) rotate(keepOld bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.site.Keys.MustRotate(keepOld)
}

// KeyID returns the id of the key with which the provider signs for alg, or "" if it
// has none.
func (p *Provider) KeyID(alg string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k := p.site.Keys.Current[alg]; k != nil {
		return k.KID
	}
	return ""
}

// SetDown makes every endpoint answer 503 Service Unavailable while down is true.
func (p *Provider) SetDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// Handle replaces the handler of an endpoint, such as [EndpointUserInfo], with h. If h
// is nil, it restores the provider's own. The request's form is parsed before h is
// called.
func (p *Provider) Handle(endpoint string, h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h == nil {
		delete(p.overrides, endpoint)
		return
	}
	p.overrides[endpoint] = h
}

// A misbehaviour is a fault in force.
type misbehaviour struct {
	endpoint string
	wire.Effect
}

// Misbehave makes the provider commit the given faults from now on, instead of the
// faults of an earlier call. Without arguments the provider behaves correctly again.
func (p *Provider) Misbehave(faults ...fault.Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = nil
	for _, f := range faults {
		p.faults = append(p.faults, misbehaviour{f.Endpoint, wire.EffectOf(f)})
	}
}

// now returns the time on the provider's clock.
func (p *Provider) now() time.Time { return p.cfg.Now() }

// client returns the registered client, or nil.
func (p *Provider) client(id string) *Client {
	for i := range p.clients {
		if p.clients[i].ID == id {
			return &p.clients[i]
		}
	}
	return nil
}

// persona returns the persona with that subject, or nil.
func (p *Provider) persona(subject string) *Persona {
	for i := range p.cfg.Personas {
		if p.cfg.Personas[i].Subject == subject {
			return &p.cfg.Personas[i]
		}
	}
	return nil
}

// issuerOf returns the iss of a persona's tokens. persona may be nil.
func (p *Provider) issuerOf(persona *Persona) string {
	if persona == nil || persona.Issuer == "" {
		return p.cfg.Issuer
	}
	return p.under(persona.Issuer)
}

// under returns a URL of the Config: under the issuer if it starts with a slash.
func (p *Provider) under(raw string) string {
	if strings.HasPrefix(raw, "/") {
		return p.site.Root + raw
	}
	return raw
}

// maxForm is more than any request of the protocol needs.
const maxForm = 1 << 20

// ServeHTTP implements http.Handler.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	formErr := r.ParseForm()
	endpoint, answered := p.endpointOf(r.URL.Path)
	request := p.record(endpoint, r)
	w = &recorder{ResponseWriter: w, p: p, request: request}
	if formErr != nil {
		jsonError(failure("invalid_request", "the form cannot be parsed")).Write(w)
		return
	}
	if endpoint == EndpointElsewhere {
		p.own(answered)(w, r)
		return
	}
	p.handler(answered)(w, r)
}

// elsewherePath comes between the issuer and an endpoint's path in the target of
// fault.Redirected.
const elsewherePath = "/elsewhere"

// endpointOf returns the endpoint under which a request is recorded and the endpoint
// that answers it. They differ for the target of fault.Redirected.
func (p *Provider) endpointOf(path string) (recorded, answers string) {
	rest, under := strings.CutPrefix(path, p.base)
	elsewhere, redirected := strings.CutPrefix(rest, elsewherePath)
	endpoint, known := p.paths[elsewhere]
	switch {
	case !under || !known:
		return EndpointUnknown, EndpointUnknown
	case redirected:
		return EndpointElsewhere, endpoint
	}
	return endpoint, endpoint
}

// redirectElsewhere redirects to the provider's own response, on the same server under
// another host name. A client that follows gets a correct response and has sent its
// request, with everything in it, to another host.
func (p *Provider) redirectElsewhere(w http.ResponseWriter, r *http.Request) {
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		host, port = r.Host, "80"
	}
	other := "localhost"
	if host == other {
		other = "127.0.0.1"
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	target := *r.URL
	target.Scheme, target.Host = scheme, net.JoinHostPort(other, port)
	target.Path = p.base + elsewherePath + strings.TrimPrefix(r.URL.Path, p.base)
	http.Redirect(w, r, target.String(), http.StatusTemporaryRedirect)
}

// handler returns the current handler of an endpoint.
func (p *Provider) handler(endpoint string) http.HandlerFunc {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "the provider is down", http.StatusServiceUnavailable)
		}
	}
	if h := p.overrides[endpoint]; h != nil {
		return h
	}
	for _, f := range p.faults {
		switch {
		case f.endpoint != endpoint:
		case f.Redirect:
			return p.redirectElsewhere
		case f.Serve != nil:
			return f.Serve
		}
	}
	return p.own(endpoint)
}

// own returns the provider's own handler of an endpoint, with faults applied.
func (p *Provider) own(endpoint string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		res := p.answer(endpoint, r)
		if res.before != nil {
			res.before(r.Context())
		}
		res.Write(w)
	}
}

func (p *Provider) answer(endpoint string, r *http.Request) *response {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inspect(endpoint, r)
	res := p.route(endpoint, r)
	p.inspectResponse(endpoint, res)
	for _, f := range p.faults {
		if f.Response != nil && f.endpoint == endpoint {
			f.Response(&res.Response)
		}
	}
	return res
}

func (p *Provider) route(endpoint string, r *http.Request) *response {
	if p.missing(endpoint) {
		endpoint = EndpointUnknown
	}
	switch endpoint {
	case EndpointDiscovery:
		return p.serveDiscovery(r)
	case EndpointJWKS:
		return p.serveJWKS(r)
	case EndpointAuthorization:
		return p.serveAuthorization(r)
	case EndpointLogin:
		return p.serveLogin(r)
	case EndpointPAR:
		return p.servePAR(r)
	case EndpointToken:
		return p.serveToken(r)
	case EndpointUserInfo:
		return p.serveUserInfo(r)
	case EndpointRevocation:
		return p.serveRevocation(r)
	case EndpointEndSession:
		return p.serveEndSession(r)
	}
	return errorPage(r, http.StatusNotFound, failure("not_found",
		"this provider has no endpoint at "+r.URL.Path))
}

// missing reports whether the Config omits the endpoint.
func (p *Provider) missing(endpoint string) bool {
	return endpoint == EndpointPAR && p.cfg.NoPAR ||
		endpoint == EndpointRevocation && p.cfg.NoRevocation ||
		endpoint == EndpointEndSession && p.cfg.NoEndSession
}

// A response is what an endpoint returns. It is built with the provider locked and
// written after the lock is released.
type response struct {
	wire.Response
	before  func(context.Context) // called, unlocked, before the response is written
	refused *oauthError           // why the request was refused; nil if it was not
}
