package oidctest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The names of the endpoints, as [Request] and [Provider.Handle] use them.
const (
	EndpointDiscovery     = "discovery"
	EndpointJWKS          = "jwks"
	EndpointAuthorization = "authorization"
	EndpointLogin         = "login" // where the login page posts to
	EndpointPAR           = "par"
	EndpointToken         = "token"
	EndpointUserInfo      = "userinfo"
	EndpointRevocation    = "revocation"
	EndpointEndSession    = "end_session"
	EndpointElsewhere     = "elsewhere" // what a redirect fault leads to
	EndpointUnknown       = "unknown"   // any other path
)

// paths are the endpoints' places under the issuer. They are not the ones a relying
// party might guess.
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

// A Provider is an OpenID Provider. It is an http.Handler that answers at the paths
// of its issuer. All methods may be called from several goroutines.
type Provider struct {
	cfg     Config
	clients []Client
	paths   map[string]string // like the variable, with those of the config
	base    string            // the issuer's path without the last slash
	root    string            // the issuer without the last slash
	server  *server

	mu sync.Mutex // guards everything below

	keys         *keyRing
	codes        map[string]*code
	access       map[string]*accessToken
	refresh      map[string]*refreshToken
	sessions     map[string]*session
	interactions map[string]*authRequest
	pushed       map[string]*pushedRequest
	assertions   map[string]bool // the jti of every client assertion seen
	verifiers    map[string]bool // every code_verifier seen
	issued       map[string]bool // every ID Token, before it was encrypted

	faults     []Fault
	overrides  map[string]http.HandlerFunc
	down       bool
	requests   []*Request
	violations []string
	answers    []LogoutAnswer
}

// New returns a provider for mounting in a server of one's own. Config.Issuer must be
// the absolute URL under which the provider will be reached, and the paths must
// arrive whole, without http.StripPrefix.
func New(cfg Config) (*Provider, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	issuer, err := url.Parse(cfg.Issuer)
	if err != nil {
		return nil, fmt.Errorf("oidctest: Config.Issuer: %w", err)
	}
	p := &Provider{
		cfg:          cfg,
		clients:      cfg.Clients,
		paths:        cfg.paths(),
		base:         strings.TrimSuffix(issuer.Path, "/"),
		root:         strings.TrimSuffix(cfg.Issuer, "/"),
		keys:         &keyRing{algs: cfg.signingAlgs()},
		codes:        make(map[string]*code),
		access:       make(map[string]*accessToken),
		refresh:      make(map[string]*refreshToken),
		sessions:     make(map[string]*session),
		interactions: make(map[string]*authRequest),
		pushed:       make(map[string]*pushedRequest),
		assertions:   make(map[string]bool),
		verifiers:    make(map[string]bool),
		issued:       make(map[string]bool),
		overrides:    make(map[string]http.HandlerFunc),
	}
	if err := p.keys.rotate(false); err != nil {
		return nil, err
	}
	return p, nil
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

// NewServer is Start for tests: it ends the test on an error, and the test's end
// closes the provider.
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

// Close stops the server that Start opened, and breaks off what it is answering. It
// does nothing to a provider made by New.
func (p *Provider) Close() error {
	if p.server == nil {
		return nil
	}
	return p.server.close()
}

// Issuer returns the issuer identifier.
func (p *Provider) Issuer() string { return p.cfg.Issuer }

// Endpoint returns the URL of an endpoint by its name, such as [EndpointToken].
// It panics when there is no endpoint of that name.
func (p *Provider) Endpoint(name string) string {
	for path, endpoint := range p.paths {
		if endpoint == name {
			return p.root + path
		}
	}
	panic("oidctest: no endpoint is called " + name)
}

// RotateKeys gives the provider new keys with new key ids and withdraws the old ones
// from the JWK Set.
func (p *Provider) RotateKeys() { p.rotate(false) }

// RotateKeysKeepingOld gives the provider new keys to sign with, and leaves the old
// ones in the JWK Set behind them.
func (p *Provider) RotateKeysKeepingOld() { p.rotate(true) }

func (p *Provider) rotate(keepOld bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mustRotate(keepOld)
}

func (p *Provider) mustRotate(keepOld bool) {
	if err := p.keys.rotate(keepOld); err != nil {
		panic(err.Error()) // the algorithms were accepted by New
	}
}

// KeyID returns the key id that the provider signs with for alg, or "" without one.
func (p *Provider) KeyID(alg string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k := p.keys.current[alg]; k != nil {
		return k.kid
	}
	return ""
}

// SetDown makes every endpoint answer 503 Service Unavailable, or ends that.
func (p *Provider) SetDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// Handle puts h in the place of an endpoint, such as [EndpointUserInfo]; nil puts the
// provider's own back. The request's form is parsed when h is called.
func (p *Provider) Handle(endpoint string, h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h == nil {
		delete(p.overrides, endpoint)
		return
	}
	p.overrides[endpoint] = h
}

// Misbehave makes the provider commit the given faults, and no others, from now on.
// Without faults it behaves again.
func (p *Provider) Misbehave(faults ...Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append([]Fault(nil), faults...)
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
		jsonError(failure("invalid_request", "the form cannot be read")).write(w, r)
		return
	}
	if endpoint == EndpointElsewhere {
		p.own(answered)(w, r)
		return
	}
	p.handler(answered)(w, r)
}

// endpointOf returns the name under which a request is recorded and the endpoint that
// answers it. They differ at the end of a redirect fault.
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

// handler returns what answers an endpoint now.
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
		if f.serve != nil && f.Endpoint == endpoint {
			return f.serve
		}
	}
	return p.own(endpoint)
}

// own returns the provider's own answer at an endpoint, faults included.
func (p *Provider) own(endpoint string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		res := p.answer(endpoint, r)
		if res.before != nil {
			res.before(r.Context())
		}
		res.write(w, r)
	}
}

func (p *Provider) answer(endpoint string, r *http.Request) *response {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inspect(endpoint, r)
	res := p.route(endpoint, r)
	p.notice(endpoint, res)
	for _, f := range p.faults {
		if f.response != nil && f.Endpoint == endpoint {
			f.response(p, res)
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
	return errorPage(r, http.StatusNotFound, &oauthError{Code: "not_found",
		Description: "this provider has nothing at " + r.URL.Path})
}

// missing reports whether the config leaves the endpoint out.
func (p *Provider) missing(endpoint string) bool {
	return endpoint == EndpointPAR && p.cfg.NoPAR ||
		endpoint == EndpointRevocation && p.cfg.NoRevocation ||
		endpoint == EndpointEndSession && p.cfg.NoEndSession
}

// A response is an answer in the making. Endpoints return one with the provider
// locked; it is written after that.
type response struct {
	status int
	header http.Header
	json   map[string]any      // the body, when not nil
	body   []byte              // the body otherwise
	edit   func([]byte) []byte // nil: the body as it is

	claims   map[string]any        // of a UserInfo response, whatever its form
	truncate bool                  // break off in the middle
	before   func(context.Context) // runs, unlocked, before the answer is written
	refused  *oauthError           // nil: the request was a sound one
}

func (res *response) write(w http.ResponseWriter, _ *http.Request) {
	body := res.body
	if res.json != nil {
		body = mustJSON(res.json)
	}
	if res.edit != nil {
		body = res.edit(body)
	}
	for name, values := range res.header {
		w.Header()[name] = values
	}
	if res.truncate {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		body = body[:len(body)/2]
	}
	w.WriteHeader(res.status)
	w.Write(body) // the browser may have gone
}
