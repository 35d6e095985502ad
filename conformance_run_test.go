package oidcrp_test

// This file is one run of a conformance module: a provider of the suite's
// shape, an app, a browser, and the suite's way of judging them by the requests
// that reached the provider.

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

// A conformanceVariant is what a certification chooses before a module runs.
type conformanceVariant struct {
	method, mode string
	alg, enc     string // of encrypted ID Tokens and UserInfo; empty: in the clear
}

func (v conformanceVariant) String() string {
	return strings.TrimSuffix(v.method+","+v.mode+","+v.alg, ",")
}

var conformanceVariants = sync.OnceValue(func() []conformanceVariant {
	var all []conformanceVariant
	for _, method := range []string{
		"none", "client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt",
		"tls_client_auth", "self_signed_tls_client_auth",
	} {
		for _, mode := range []string{"query", "form_post"} {
			all = append(all, conformanceVariant{method: method, mode: mode})
		}
	}
	return append(all,
		conformanceVariant{"private_key_jwt", "query", "RSA-OAEP", ""},
		conformanceVariant{"client_secret_basic", "query", "ECDH-ES+A256KW", "A256GCM"},
		conformanceVariant{"client_secret_post", "form_post", "A128KW", "A256CBC-HS512"},
		conformanceVariant{"client_secret_jwt", "query", "dir", "A128GCM"})
})

// The suite ends the id and the secret that it gives in such characters, which
// have to be form-urlencoded before Basic.
const (
	conformanceClientID = "client_Qr7 :%+&\"=/"
	conformanceSecret   = "secret_0123456789abcdefghijklmnopqrstuvwxyz~ :%+&\"=/"
	conformancePerson   = "user-subject-1234531"
)

// A conformanceShape is everything that a module may change before it starts.
type conformanceShape struct {
	app        string // its URL
	provider   oidctest.Config
	registered oidctest.Client
	config     oidcrp.Config
	usual      []fault.Fault // beside the module's own
	violation  string        // one that the module demands
}

func newConformanceShape(v conformanceVariant, app string, now func() time.Time) *conformanceShape {
	s := &conformanceShape{app: app, provider: conformanceProvider(v, now)}
	s.registered = oidctest.Client{
		ID:                           conformanceClientID,
		RedirectURIs:                 []string{app + "/auth/callback"},
		PostLogoutRedirectURIs:       []string{app + "/auth/logout/callback"},
		TokenEndpointAuthMethod:      v.method,
		IDTokenEncryptedResponseAlg:  v.alg,
		IDTokenEncryptedResponseEnc:  v.enc,
		UserInfoEncryptedResponseAlg: v.alg,
		UserInfoEncryptedResponseEnc: v.enc,
	}
	s.config = oidcrp.Config{
		ClientID:   conformanceClientID,
		BaseURL:    app,
		CookieKeys: oidcrp.Keys(testKey(1)),
		Registration: oidcrp.Registration{
			TokenEndpointAuthMethod:      v.method,
			IDTokenEncryptedResponseAlg:  v.alg,
			IDTokenEncryptedResponseEnc:  v.enc,
			UserInfoEncryptedResponseAlg: v.alg,
			UserInfoEncryptedResponseEnc: v.enc,
		},
		Provider: oidcrp.Provider{Timeout: 20 * time.Second},
		Now:      now,
	}
	if v.mode == "form_post" {
		s.config.ResponseMode = v.mode
	}
	s.identify(v)
	return s
}

// identify gives the client what its method needs.
func (s *conformanceShape) identify(v conformanceVariant) {
	c := conformanceKeys()
	switch {
	case hasSecret(v):
		s.registered.Secret, s.config.ClientSecret = conformanceSecret, conformanceSecret
	case hasCertificate(v):
		s.provider.TLS = true
		s.config.Registration.ClientCertificates = []tls.Certificate{c.certificate}
		s.registered.TLSClientAuthSubjectDN = c.certificate.Leaf.Subject.String()
	}
	if v.method == "private_key_jwt" || strings.HasPrefix(v.alg, "RSA") || strings.HasPrefix(v.alg, "ECDH") {
		s.config.Registration.ClientKeys = c.private
		for _, key := range c.private {
			s.registered.JWKS.Keys = append(s.registered.JWKS.Keys, key.Public())
		}
	}
	if v.method == "self_signed_tls_client_auth" {
		s.registered.JWKS.Keys = append(s.registered.JWKS.Keys, jose.JSONWebKey{
			Key:          c.certificate.Leaf.PublicKey,
			Certificates: []*x509.Certificate{c.certificate.Leaf},
		})
	}
}

// conformanceProvider has the suite's shape: an issuer that ends in a slash,
// nothing of what is optional, and metadata that lists everything there is.
func conformanceProvider(v conformanceVariant, now func() time.Time) oidctest.Config {
	methods := []string{v.method}
	if v.method == "none" {
		methods = []string{"client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt"}
	}
	encryption := append([]string{"RSA1_5"}, everyKeyManagement...)
	return oidctest.Config{
		Issuer:    "/test/a/oidcrp/",
		Now:       now,
		AutoLogin: conformancePerson,
		Personas: []oidctest.Persona{{Subject: conformancePerson, Name: "Demo T. User", Claims: map[string]any{
			"email": "user@example.com", "email_verified": false, "phone_number": "+1 555 5550000",
			"address": map[string]any{"country": "Canada"},
		}}},
		IDTokenTTL:      5 * time.Minute,
		ClaimsOnRequest: true, OddKeys: true, NoKeyAlg: true, NoPKCEMetadata: true, NoIssParameter: true,
		NoPAR: true, NoRevocation: true, NoEndSession: true, NoRefreshToken: true, NoExpiresIn: true,
		NoUserInfoTimes: true,
		Metadata: map[string]any{
			"registration_endpoint":    "/register",
			"response_types_supported": []string{"id_token", "token code id_token", "code", "token id_token"},
			"response_modes_supported": []string{"query", "fragment", "form_post"},
			"acr_values_supported":     []string{"PASSWORD"},
			"subject_types_supported":  []string{"public", "pairwise"},
			"claim_types_supported":    []string{"normal", "aggregated", "distributed"},
			"id_token_signing_alg_values_supported": []string{"none", "RS256", "RS384", "RS512", "PS256", "PS384",
				"PS512", "ES256", "ES256K", "ES384", "ES512", "EdDSA", "Ed25519", "Ed448"},
			"id_token_encryption_alg_values_supported": encryption,
			"token_endpoint_auth_methods_supported":    methods,
			"request_parameter_supported":              true,
			"request_uri_parameter_supported":          true,
			"backchannel_logout_supported":             nil,
			"backchannel_logout_session_supported":     nil,
			"frontchannel_logout_supported":            nil,
			"frontchannel_logout_session_supported":    nil,
		},
	}
}

// A conformanceCredentials is what a client shows, made once.
type conformanceCredentials struct {
	private     []jose.JSONWebKey // a retired signing key, the current one, two for encryption
	certificate tls.Certificate
}

var conformanceKeys = sync.OnceValue(func() *conformanceCredentials {
	ec := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		return key
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "oidcrp", Organization: []string{"Example"}},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	key := ec()
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return &conformanceCredentials{
		private: []jose.JSONWebKey{
			{Key: rsaKey, Use: "enc", Algorithm: "RSA-OAEP", KeyID: "enc-rsa"},
			{Key: ec(), Use: "enc", KeyID: "enc-ec"},
			{Key: ec(), Use: "sig", KeyID: "sig-2"},
			{Key: ec(), Use: "sig", KeyID: "sig-1"},
		},
		certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf},
	}
})

// A conformanceRun is a module under way.
type conformanceRun struct {
	*testApp
	faults    []fault.Fault
	config    oidcrp.Config
	violation string
	browser   *http.Client

	mu     sync.Mutex
	frames []conformanceFrame // what the app answered to front-channel logouts; guarded by mu
}

type conformanceFrame struct {
	query  url.Values
	status int
	header http.Header
}

func newConformanceRun(t *testing.T, m *conformanceModule, v conformanceVariant) *conformanceRun {
	t.Helper()
	c := &conformanceRun{testApp: &testApp{clock: newTestClock(), log: new(testLog)}, faults: m.faults}
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	c.URL = server.URL

	shape := newConformanceShape(v, c.URL, c.clock.Now)
	if m.shape != nil {
		m.shape(shape)
	}
	shape.provider.Clients = []oidctest.Client{shape.registered}
	c.provider = oidctest.NewServer(t, shape.provider)
	c.provider.Misbehave(append(shape.usual, m.faults...)...)
	c.browser = c.provider.Browser()

	shape.config.Issuer = c.provider.Issuer()
	shape.config.Provider.Transport = c.provider.HTTPClient().Transport
	shape.config.Logger = slog.New(slog.NewJSONHandler(c.log, nil))
	c.config, c.violation = shape.config, shape.violation
	client, err := oidcrp.New(shape.config)
	if err != nil {
		t.Fatal(err)
	}
	c.client = client
	handler = c.watchFrames(client.Middleware(c.routes()))
	return c
}

func (c *conformanceRun) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", sayWho)
	mux.Handle("/me", c.client.RequireLogin(http.HandlerFunc(sayWho)))
	mux.HandleFunc("/claims", func(w http.ResponseWriter, r *http.Request) {
		var claims map[string]any
		if s, ok := oidcrp.SessionFromContext(r.Context()); ok {
			s.Claims(&claims)
			claims["sid"] = s.SID()
		}
		json.NewEncoder(w).Encode(claims)
	})
	mux.HandleFunc("POST /refresh", func(w http.ResponseWriter, r *http.Request) {
		if _, err := c.client.Refresh(w, r); err != nil {
			c.client.ServeError(w, r, err)
		}
	})
	return mux
}

// watchFrames notes the answers to front-channel logouts.
func (c *conformanceRun) watchFrames(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/auth/frontchannel-logout" {
			next.ServeHTTP(w, r)
			return
		}
		seen := httptest.NewRecorder()
		next.ServeHTTP(seen, r)
		maps.Copy(w.Header(), seen.Header())
		w.WriteHeader(seen.Code)
		w.Write(seen.Body.Bytes())
		c.mu.Lock()
		defer c.mu.Unlock()
		c.frames = append(c.frames, conformanceFrame{r.URL.Query(), seen.Code, seen.Header()})
	})
}

// A conformancePage is where a browser ended.
type conformancePage struct {
	*http.Response
	body string
	run  *conformanceRun
	t    *testing.T
}

// code returns why the page refuses, as the log has it.
func (p conformancePage) code() oidcrp.Code {
	incident := incidentOf.FindStringSubmatch(p.body)
	if incident == nil {
		p.t.Fatalf("%s has no incident id:\n%s", p.Request.URL.Path, p.body)
	}
	return codeOfIncident(p.t, p.run.log, incident[1])
}

func (c *conformanceRun) visit(t *testing.T, path string) conformancePage {
	t.Helper()
	return c.open(t, c.URL+path)
}

func (c *conformanceRun) open(t *testing.T, url string) conformancePage {
	t.Helper()
	res, err := c.provider.Visit(c.browser, url, conformancePerson)
	if err != nil {
		t.Fatal(err)
	}
	return conformancePage{res, readBody(t, res), c, t}
}

func (c *conformanceRun) post(t *testing.T, path string) conformancePage {
	t.Helper()
	res, err := c.browser.Post(c.URL+path, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	return conformancePage{res, readBody(t, res), c, t}
}

// judge says what became of a login, by the requests that reached the provider
// and by who is signed in afterwards.
func (c *conformanceRun) judge(t *testing.T, page conformancePage) string {
	t.Helper()
	c.wantOrder(t)
	c.wantResponseMode(t)
	who := c.who(t, c.browser, "/").Sub
	if page.StatusCode < 400 {
		c.wantRequests(t, 1, 1, 1)
		used := c.provider.RequestsTo(oidctest.EndpointUserInfo)
		if len(used) == 0 || used[0].Status != http.StatusOK || who != conformancePerson {
			t.Errorf("%q is signed in, and UserInfo said %v", who, used)
		}
		return wasAccepted
	}
	if who != "" {
		t.Errorf("refused with %s, and %q is signed in", page.Status, who)
	}
	switch c.faultyEndpoint() {
	case oidctest.EndpointDiscovery:
		c.wantRequests(t, 0, 0, 0)
	case oidctest.EndpointAuthorization, "": // the module's own provocation
		c.wantRequests(t, 1, 0, 0)
	case oidctest.EndpointToken:
		c.wantRequests(t, 1, 1, 0)
	default:
		c.wantRequests(t, 1, 1, 1)
	}
	// A certification asks for the log of some refusals: it has to say why.
	if want := c.reason(t); page.code() != want {
		t.Errorf("the log gives %s as the reason, want %s:\n%s", page.code(), want, c.log)
	}
	return wasRefused
}

func (c *conformanceRun) reason(t *testing.T) oidcrp.Code {
	t.Helper()
	if len(c.faults) == 0 {
		return oidcrp.CodeLoginRequired
	}
	return refusalOf(t, c.faults[0])
}

func (c *conformanceRun) faultyEndpoint() string {
	if len(c.faults) == 0 {
		return ""
	}
	return c.faults[0].Endpoint
}

func (c *conformanceRun) wantRequests(t *testing.T, authorization, token, userInfo int) {
	t.Helper()
	for endpoint, want := range map[string]int{
		oidctest.EndpointAuthorization: authorization, oidctest.EndpointToken: token, oidctest.EndpointUserInfo: userInfo,
	} {
		if got := c.provider.Count(endpoint); got != want {
			t.Errorf("%d requests reached %s, want %d\n%s", got, endpoint, want, c.log)
		}
	}
}

// wantOrder checks that nothing comes before discovery, and UserInfo not before
// the keys. A second login may know both already.
func (c *conformanceRun) wantOrder(t *testing.T) {
	t.Helper()
	var order []string
	for _, r := range c.provider.Requests() {
		order = append(order, r.Endpoint)
	}
	discovery := slices.Index(order, oidctest.EndpointDiscovery)
	keys, userInfo := slices.Index(order, oidctest.EndpointJWKS), slices.Index(order, oidctest.EndpointUserInfo)
	if discovery > 0 || userInfo >= 0 && discovery == 0 && !c.symmetric() && (keys < 0 || keys > userInfo) {
		t.Errorf("the order of requests is %q", order)
	}
}

// wantResponseMode checks that the variant's response mode was asked for,
// wherever the request's parameters went.
func (c *conformanceRun) wantResponseMode(t *testing.T) {
	t.Helper()
	for _, r := range c.provider.Requests() {
		if got := r.Form.Get("response_mode"); r.Form.Has("scope") && got != c.config.ResponseMode {
			t.Errorf("response_mode is %q, want %q", got, c.config.ResponseMode)
		}
	}
}

// symmetric reports whether the keys are not needed to verify the ID Token.
func (c *conformanceRun) symmetric() bool {
	return strings.HasPrefix(c.config.Registration.IDTokenSignedResponseAlg, "HS")
}

func (c *conformanceRun) wantSignedOut(t *testing.T) {
	t.Helper()
	if got := c.who(t, c.browser, "/").Sub; got != "" {
		t.Errorf("%q is still signed in", got)
	}
}

// wantOneFrame checks that one front-channel logout reached the app, and that
// its answer may stand in the provider's frame.
func (c *conformanceRun) wantOneFrame(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.frames) != 1 {
		t.Fatalf("%d frames reached the app", len(c.frames))
	}
	header := c.frames[0].header
	if c.frames[0].status != http.StatusOK || header.Get("X-Frame-Options") != "" ||
		strings.Contains(header.Get("Content-Security-Policy"), "frame-ancestors") {
		t.Errorf("the frame is answered with %d %v", c.frames[0].status, header)
	}
}

func (c *conformanceRun) claims(t *testing.T) map[string]any {
	t.Helper()
	_, body := get(t, c.browser, c.URL+"/claims")
	var claims map[string]any
	if err := json.Unmarshal([]byte(body), &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func (c *conformanceRun) sid(t *testing.T) string {
	t.Helper()
	sid, _ := c.claims(t)["sid"].(string)
	return sid
}

// wantNoViolations is what the suite checks of every request.
func (c *conformanceRun) wantNoViolations(t *testing.T) {
	t.Helper()
	for _, violation := range c.provider.Violations() {
		if violation != c.violation {
			t.Errorf("the provider objects: %s", violation)
		}
	}
}
