package oidcrp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oidcrp/oidcrp/internal/fetch"
)

// An opServer is as much of a provider as discovery and keys need: two documents,
// which a test may replace at any time, and a count of the requests for each. It
// is a transport, so that nothing here needs a network.
type opServer struct {
	issuer      string
	clock       *testClock
	discoveries atomic.Int32
	keyFetches  atomic.Int32
	others      atomic.Int32

	mu        sync.Mutex
	discovery http.HandlerFunc // guarded by mu
	jwks      http.HandlerFunc // guarded by mu
	further   http.ServeMux    // other endpoints, if a test has any
}

// newOPServer returns a provider with a valid metadata document and no keys.
func newOPServer() *opServer {
	s := &opServer{issuer: "https://op.example", clock: newTestClock()}
	s.serveMetadata(nil)
	s.serveKeys()
	return s
}

// RoundTrip answers a request, once its handler has returned.
func (s *opServer) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	res := w.Result()
	res.Request = r
	return res, nil
}

func (s *opServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	discovery, jwks := s.discovery, s.jwks
	s.mu.Unlock()
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		s.discoveries.Add(1)
		discovery(w, r)
	case "/jwks":
		s.keyFetches.Add(1)
		jwks(w, r)
	default:
		if _, pattern := s.further.Handler(r); pattern == "" {
			s.others.Add(1)
		}
		s.further.ServeHTTP(w, r)
	}
}

func (s *opServer) setDiscovery(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.discovery = h
}

func (s *opServer) setJWKS(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jwks = h
}

// slowly makes the document that h answers wait, and returns what tells that it
// was asked for and what lets it go.
func slowly(h http.HandlerFunc) (slow http.HandlerFunc, arrived, release chan struct{}) {
	arrived, release = make(chan struct{}), make(chan struct{})
	return func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
		h(w, r)
	}, arrived, release
}

// serveMetadata serves valid metadata with changes made to it; a nil value
// takes a member away.
func (s *opServer) serveMetadata(changes map[string]any) {
	m := map[string]any{
		"issuer":                   s.issuer,
		"authorization_endpoint":   s.issuer + "/authorize",
		"token_endpoint":           s.issuer + "/token",
		"jwks_uri":                 s.issuer + "/jwks",
		"response_types_supported": []string{"code"},
	}
	for name, value := range changes {
		if m[name] = value; value == nil {
			delete(m, name)
		}
	}
	doc, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	s.setDiscovery(respond(200, "application/json", string(doc)))
}

// serveKeys serves a JWK Set.
func (s *opServer) serveKeys(keys ...any) {
	if keys == nil {
		keys = []any{}
	}
	doc, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	s.setJWKS(respond(200, "application/jwk-set+json; charset=utf-8", string(doc)))
}

// client returns a new Client that talks to s, with change made to its Config.
func (s *opServer) client(t testing.TB, change func(*Config)) *Client {
	return mustNew(t, func(c *Config) {
		c.Issuer, c.Provider.Transport, c.Now = s.issuer, s, s.clock.Now
		if change != nil {
			change(c)
		}
	})
}

// flow returns the flow of such a client, and its metadata.
func (s *opServer) flow(t testing.TB, change func(*Config)) (*flow, *Metadata) {
	t.Helper()
	f := s.client(t, change).flow
	m, err := f.provider.metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return f, m
}

// provider returns a new provider that talks to s.
func (s *opServer) provider(trace Trace) *provider {
	ev := &events{trace: trace, log: slog.New(slog.DiscardHandler)}
	return newProvider(s.issuer, "client", "", new(Registration), &Provider{Transport: s}, ev, s.clock.Now)
}

func TestWellKnownURL(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ issuer, want string }{
		{"https://op.example", "https://op.example/.well-known/openid-configuration"},
		{"https://op.example/", "https://op.example/.well-known/openid-configuration"},
		{"https://op.example/api/v2", "https://op.example/api/v2/.well-known/openid-configuration"},
		{"https://op.example/test/a/x/", "https://op.example/test/a/x/.well-known/openid-configuration"},
	} {
		if got := wellKnownURL(row.issuer); got != row.want {
			t.Errorf("wellKnownURL(%q) = %q, want %q", row.issuer, got, row.want)
		}
	}
}

func readTestdata(t testing.TB, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{"testdata"}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestParseMetadata_OfRealProviders(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ file, issuer, endSession string }{
		{"proconnect.json", "https://fca.integ01.dev-agentconnect.fr/api/v2",
			"https://fca.integ01.dev-agentconnect.fr/api/v2/session/end"},
		{"conformance-suite.json", "https://localhost.emobix.co.uk:8443/test/a/oidcrp/", ""},
	} {
		m, err := parseMetadata(readTestdata(t, "metadata", row.file), true)
		if err != nil {
			t.Errorf("%s: %v", row.file, err)
			continue
		}
		if err := validateMetadata(m, row.issuer, true, false, nil); err != nil {
			t.Errorf("%s: %v", row.file, err)
		}
		if m.EndSessionEndpoint != row.endSession || len(m.IDTokenSigningAlgValuesSupported) < 3 {
			t.Errorf("%s: %+v", row.file, m)
		}
	}
}

// Each registered name must reach its own field, with its type.
func TestParseMetadata_EachNameReachesItsField(t *testing.T) {
	t.Parallel()
	doc := make(map[string]any)
	fields := reflect.TypeFor[Metadata]()
	for i := range fields.NumField() {
		name, _, _ := strings.Cut(fields.Field(i).Tag.Get("json"), ",")
		if want := strings.ReplaceAll(name, "_", ""); !strings.EqualFold(fields.Field(i).Name, want) {
			t.Errorf("field %s has the name %q", fields.Field(i).Name, name)
		}
		switch fields.Field(i).Type.Kind() {
		case reflect.String:
			doc[name] = "of " + name
		case reflect.Slice:
			doc[name] = []string{"of " + name}
		case reflect.Bool:
			doc[name] = true
		default:
			doc[name] = map[string]string{"token_endpoint": "https://mtls.example/token"}
		}
	}
	want, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	m, err := parseMetadata(want, true)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var again map[string]any
	if err := json.Unmarshal(got, &again); err != nil || len(again) != len(doc) {
		t.Errorf("%d members in, %d out (%v)", len(doc), len(again), err)
	}
	if m.MTLSEndpointAliases["token_endpoint"] != "https://mtls.example/token" || m.Issuer != "of issuer" {
		t.Errorf("%+v", m)
	}
}

func TestParseMetadata_IsStrict(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ doc, want string }{
		{`{"issuer":"a","ISSUER":"b","Issuer":"c"}`, ""},
		{`{"issuer":"a","unknown":{"x":[1,null]}}`, ""},
		{`{"issuer":"a","userinfo_endpoint":null,"scopes_supported":null}`, ""},
		{`{"issuer":"a","claims_supported":"sub email","op_tos_uri":7}`, ""},
		{`{"issuer":"a","mtls_endpoint_aliases":{"device_authorization_endpoint":7,"introspection_endpoint":{},"TOKEN_ENDPOINT":1}}`, ""},
		{`{"issuer":"a","mtls_endpoint_aliases":null}`, ""},
		{`{"issuer":"a","mtls_endpoint_aliases":{"token_endpoint":"","userinfo_endpoint":null}}`, ""},

		{`{"issuer":"a","issuer":"a"}`, "given twice"},
		{`{"issuer":"a"`, "comma"},
		{`[{"issuer":"a"}]`, "not a JSON object"},
		{`{"issuer":"a"}{}`, "more after"},
		{`<!doctype html>`, "not a JSON object"},
		{`{"issuer":["a"]}`, "issuer has the wrong type"},
		{`{"issuer":"a","token_endpoint":{}}`, "token_endpoint has the wrong type"},
		{`{"issuer":"a","authorization_response_iss_parameter_supported":"true"}`, "has the wrong type"},
		{`{"issuer":"a","id_token_signing_alg_values_supported":"RS256"}`, "has the wrong type"},
		{`{"issuer":"a","mtls_endpoint_aliases":[]}`, "mtls_endpoint_aliases has the wrong type"},
		{`{"issuer":"a","mtls_endpoint_aliases":"x"}`, "mtls_endpoint_aliases has the wrong type"},
		{`{"issuer":"a","mtls_endpoint_aliases":{"token_endpoint":7}}`, "mtls_endpoint_aliases token_endpoint has the wrong type"},
		{`{"issuer":"a","mtls_endpoint_aliases":{"userinfo_endpoint":["x"]}}`, "mtls_endpoint_aliases userinfo_endpoint has the wrong type"},
		{`{"issuer":"a","mtls_endpoint_aliases":{"token_endpoint":"x","token_endpoint":"y"}}`, "given twice"},
	} {
		m, err := parseMetadata([]byte(row.doc), true)
		if row.want == "" && (err != nil || m.Issuer != "a" || m.ClaimsSupported != nil) {
			t.Errorf("%s: %+v, %v", row.doc, m, err)
		} else if row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: error %v, want %q", row.doc, err, row.want)
		}
	}
}

// A member of the wrong type is an error if this package uses it, and otherwise
// counts as left out.
func TestParseMetadata_AWrongTypeMattersWhereItIsUsed(t *testing.T) {
	t.Parallel()
	decisive := strings.Fields(`issuer authorization_endpoint token_endpoint userinfo_endpoint jwks_uri revocation_endpoint
		end_session_endpoint pushed_authorization_request_endpoint require_pushed_authorization_requests
		response_types_supported response_modes_supported acr_values_supported id_token_signing_alg_values_supported
		token_endpoint_auth_methods_supported authorization_response_iss_parameter_supported mtls_endpoint_aliases`)
	fields := reflect.TypeFor[Metadata]()
	for i := range fields.NumField() {
		name, _, _ := strings.Cut(fields.Field(i).Tag.Get("json"), ",")
		refused := slices.Contains(decisive, name)
		decisive = slices.DeleteFunc(decisive, func(other string) bool { return other == name })
		for _, value := range []string{`7`, `{"a":1}`, `["a",1]`, `"x"`, `true`} {
			if json.Unmarshal([]byte(value), reflect.New(fields.Field(i).Type).Interface()) == nil {
				continue // it has the type
			}
			m, err := parseMetadata([]byte(`{"`+name+`":`+value+`}`), true)
			switch {
			case !refused && (err != nil || !reflect.DeepEqual(m, new(Metadata))):
				t.Errorf("%s %s: %+v, %v", name, value, m, err)
			case refused && name != "mtls_endpoint_aliases" && (err == nil || err.Error() != name+" has the wrong type"):
				t.Errorf("%s %s: %v", name, value, err)
			}
		}
	}
	if len(decisive) > 0 {
		t.Errorf("no field has the names %v", decisive)
	}
}

func TestValidateMetadata(t *testing.T) {
	t.Parallel()
	const https, loopback = "https://op.example", "http://127.0.0.1:9000"
	for _, row := range []struct {
		issuer string
		change func(m *Metadata)
		want   string
	}{
		{https, func(m *Metadata) {}, ""},
		{https, func(m *Metadata) { m.ResponseTypesSupported = []string{"token code id_token", "code"} }, ""},
		{https, func(m *Metadata) { m.ResponseTypesSupported = nil }, ""},
		{https, func(m *Metadata) { m.TokenEndpoint = "https://elsewhere.example:8443/t?tenant=1" }, ""},
		{https, func(m *Metadata) { m.MTLSEndpointAliases = map[string]string{"token_endpoint": https} }, ""},
		{https, func(m *Metadata) { m.MTLSEndpointAliases = map[string]string{"token_endpoint": ""} }, ""},
		{https, func(m *Metadata) { m.MTLSEndpointAliases = map[string]string{"jwks_uri": "x"} }, ""},
		{loopback, func(m *Metadata) {}, ""},
		{loopback, func(m *Metadata) { m.TokenEndpoint = https }, ""},

		{https, func(m *Metadata) { m.Issuer += "/" }, `issuer is "https://op.example/", not "https://op.example"`},
		{https, func(m *Metadata) { m.Issuer = "HTTPS://op.example" }, "issuer is"},
		{https, func(m *Metadata) { m.Issuer = "" }, "issuer is"},
		{https, func(m *Metadata) { m.AuthorizationEndpoint = "" }, "authorization_endpoint is missing"},
		{https, func(m *Metadata) { m.TokenEndpoint = "" }, "token_endpoint is missing"},
		{https, func(m *Metadata) { m.JWKSURI = "" }, "jwks_uri is missing"},
		{https, func(m *Metadata) { m.ResponseTypesSupported = []string{"id_token", "code id_token"} }, "response_types_supported"},
		{https, func(m *Metadata) { m.ResponseTypesSupported = []string{} }, "response_types_supported"},

		{https, func(m *Metadata) { m.AuthorizationEndpoint = "http://op.example/a" }, "authorization_endpoint is not an https URL"},
		{https, func(m *Metadata) { m.TokenEndpoint = "http://127.0.0.1/t" }, "token_endpoint is not an https URL"},
		{https, func(m *Metadata) { m.JWKSURI = "file:///etc/passwd" }, "jwks_uri is not"},
		{https, func(m *Metadata) { m.UserInfoEndpoint = "/userinfo" }, "userinfo_endpoint is not"},
		{https, func(m *Metadata) { m.EndSessionEndpoint = "javascript:alert(1)" }, "end_session_endpoint is not"},
		{https, func(m *Metadata) { m.RevocationEndpoint = "https://op.example/r#f" }, "revocation_endpoint is not"},
		{https, func(m *Metadata) { m.RevocationEndpoint = "https://op.example/r#" }, "revocation_endpoint is not"},
		{https, func(m *Metadata) { m.PushedAuthorizationRequestEndpoint = "https://u:p@op.example/" }, "pushed_authorization"},
		{https, func(m *Metadata) { m.TokenEndpoint = "https://op.example:port/" }, "token_endpoint is not"},
		{https, func(m *Metadata) { m.MTLSEndpointAliases = map[string]string{"token_endpoint": loopback} }, "mtls_endpoint_aliases token"},
		{loopback, func(m *Metadata) { m.TokenEndpoint = "ftp://127.0.0.1/" }, "token_endpoint is not"},
	} {
		m := &Metadata{
			Issuer:                 row.issuer,
			AuthorizationEndpoint:  row.issuer + "/authorize",
			TokenEndpoint:          row.issuer + "/token",
			JWKSURI:                row.issuer + "/jwks",
			ResponseTypesSupported: []string{"code"},
		}
		row.change(m)
		err := validateMetadata(m, row.issuer, true, false, nil)
		if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%+v: error %v, want %q", m, err, row.want)
		}
	}
}

// Only what this app itself sends may go to the hosts that InsecureHTTPHosts names.
func TestMetadata_PlainHTTPToNamedHostsOnly(t *testing.T) {
	t.Parallel()
	const https, inside = "https://op.example", "http://keycloak:8080"
	for _, row := range []struct {
		issuer string
		change func(*Metadata)
		want   string // "" for none
	}{
		{https, func(m *Metadata) {
			m.TokenEndpoint, m.JWKSURI, m.UserInfoEndpoint = inside+"/t", "http://KEYCLOAK/j", inside+"/u"
			m.RevocationEndpoint, m.PushedAuthorizationRequestEndpoint = inside+"/r", inside+"/p"
		}, ""},
		{https, func(m *Metadata) { m.TokenEndpoint = "http://op.example/t" }, "token_endpoint is not an https URL"},
		{https, func(m *Metadata) { m.TokenEndpoint = "http://keycloak.evil.example/t" }, "token_endpoint is not an https URL: if its host is in the app's own network, name it in Provider.InsecureHTTPHosts (OIDC_INSECURE_HTTP_HOSTS)"},
		{https, func(m *Metadata) { m.TokenEndpoint = "http://keycloak@evil.example/t" }, "token_endpoint is not an absolute URL"},
		{https, func(m *Metadata) { m.AuthorizationEndpoint = inside + "/a" }, "authorization_endpoint is not an https URL"},
		{https, func(m *Metadata) { m.EndSessionEndpoint = inside + "/e" }, "end_session_endpoint is not an https URL"},
		{inside, func(*Metadata) {}, ""},
		{inside, func(m *Metadata) { m.EndSessionEndpoint, m.JWKSURI = inside+"/e", https+"/j" }, ""},
		{inside, func(m *Metadata) { m.TokenEndpoint = "http://other:8080/t" }, "token_endpoint is not an https URL"},
		{inside, func(m *Metadata) { m.AuthorizationEndpoint = "http://op.example/a" }, "authorization_endpoint is not an https URL"},
	} {
		m := &Metadata{
			Issuer: row.issuer, AuthorizationEndpoint: row.issuer + "/a", TokenEndpoint: row.issuer + "/t", JWKSURI: row.issuer + "/j",
		}
		row.change(m)
		err := validateMetadata(m, row.issuer, false, false, []string{"keycloak"})
		if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%+v: error %v, want %q", m, err, row.want)
		}
	}
}

func TestDiscovery_WaitsForTheFirstUse(t *testing.T) {
	t.Parallel()
	s := newOPServer()
	var seen []FetchEvent
	p := s.provider(Trace{DiscoveryFetched: collect(&seen)})
	if s.discoveries.Load() != 0 {
		t.Fatal("fetched before it was needed")
	}
	for range 3 {
		m, err := p.metadata(t.Context())
		if err != nil || m.TokenEndpoint != s.issuer+"/token" {
			t.Fatalf("%+v, %v", m, err)
		}
	}
	if n := s.discoveries.Load(); n != 1 {
		t.Errorf("%d fetches, want 1", n)
	}
	if len(seen) != 1 || seen[0].URL != s.issuer+"/.well-known/openid-configuration" || seen[0].Err != nil {
		t.Errorf("events are %+v", seen)
	}
}

func TestDiscovery_OfAnIssuerThatEndsInASlash(t *testing.T) {
	t.Parallel()
	s := newOPServer()
	s.serveMetadata(map[string]any{"issuer": s.issuer + "/"})
	p := s.provider(Trace{})
	p.issuer += "/"
	p.wellKnown = wellKnownURL(p.issuer)
	if _, err := p.metadata(t.Context()); err != nil || s.others.Load() != 0 {
		t.Errorf("%v, %d requests elsewhere", err, s.others.Load())
	}
}

func TestProvider_StaticMetadataNeedsNoNetwork(t *testing.T) {
	t.Parallel()
	static := soundMetadata(nil)
	p := newProvider(static.Issuer, "client", "", new(Registration),
		&Provider{Metadata: static, Transport: noNetwork{t}}, nil, newTestClock().Now)
	if m, err := p.metadata(t.Context()); m != static || err != nil {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestDiscovery_RefusesAnswers(t *testing.T) {
	t.Parallel()
	good := `{"issuer":"ISSUER","authorization_endpoint":"ISSUER/a","token_endpoint":"ISSUER/t","jwks_uri":"ISSUER/j"}`
	for _, row := range []struct {
		status            int
		contentType, body string
		code              Code
		says              string
	}{
		{200, "text/html", good, CodeProviderInvalid, "media type"},
		{200, "application/json", `<p>s3cret`, CodeProviderInvalid, "not a JSON object"},
		{200, "application/json", strings.Replace(good, "ISSUER", "https://evil.example", 1), CodeProviderInvalid, "https://evil.example"},
		{200, "application/json", strings.Replace(good, "ISSUER", "ISSUER/", 1), CodeProviderInvalid, "issuer is"},
		{200, "application/json", good + strings.Repeat(" ", fetch.MaxBody), CodeProviderInvalid, "larger"},
		{204, "application/json", "", CodeProviderInvalid, "204"},
		{302, "application/json", "", CodeProviderInvalid, "redirect"},
		{401, "application/json", `{"error":"s3cret"}`, CodeProviderInvalid, "401"},
		{404, "text/html", `<p>s3cret`, CodeProviderInvalid, "404"},
		{429, "text/html", `<p>s3cret`, CodeProviderUnavailable, "429"},
		{500, "application/json", `{"error":"s3cret"}`, CodeProviderUnavailable, "500"},
		{503, "text/html", `<p>s3cret`, CodeProviderUnavailable, "503"},
	} {
		s := newOPServer()
		s.setDiscovery(respond(row.status, row.contentType, strings.ReplaceAll(row.body, "ISSUER", s.issuer)))
		p := s.provider(Trace{})
		_, err := p.metadata(t.Context())
		wantCode(t, err, row.code)
		if !strings.Contains(err.Error(), row.says) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%d %s: error is %v, want %q", row.status, row.contentType, err, row.says)
		}
		// Whatever the failure, it is not repeated at once.
		if _, again := p.metadata(t.Context()); again != err || s.discoveries.Load() != 1 {
			t.Errorf("%d: %d fetches, error %v", row.status, s.discoveries.Load(), again)
		}
		s.serveMetadata(nil)
		s.clock.Advance(2 * time.Second)
		if _, err := p.metadata(t.Context()); err != nil {
			t.Errorf("%d: later: %v", row.status, err)
		}
	}
}

func TestDiscovery_NamesBothIssuers(t *testing.T) {
	t.Parallel()
	s := newOPServer()
	s.serveMetadata(map[string]any{"issuer": "https://evil.example"})
	_, err := s.provider(Trace{}).metadata(t.Context())
	wantCode(t, err, CodeProviderInvalid)
	for _, issuer := range []string{`"https://evil.example"`, fmt.Sprintf("%q", s.issuer)} {
		if !strings.Contains(err.Error(), issuer) {
			t.Errorf("error is %v, want %s in it", err, issuer)
		}
	}
}

func TestDiscovery_TellsWhenToTryAgain(t *testing.T) {
	t.Parallel()
	s := newOPServer()
	s.setDiscovery(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	p := s.provider(Trace{})
	var cause *fetch.Error
	for range 10_000 {
		_, err := p.metadata(t.Context())
		if !errors.Is(err, CodeProviderUnavailable) || !errors.As(err, &cause) || cause.RetryAfter != 30*time.Second {
			t.Fatalf("error is %v", err)
		}
	}
	s.clock.Advance(29 * time.Second)
	_, _ = p.metadata(t.Context())
	if n := s.discoveries.Load(); n != 1 {
		t.Errorf("%d fetches for 10,000 requests, want 1", n)
	}
}

func TestDiscovery_OutlivesTheCallerThatStartedIt(t *testing.T) {
	t.Parallel()
	s := newOPServer()
	slow, arrived, release := slowly(s.discovery)
	s.setDiscovery(slow)
	p := s.provider(Trace{})

	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := p.metadata(ctx)
		if wantCode(t, err, CodeCanceled); !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v", err)
		}
	})
	<-arrived
	for range 500 {
		wg.Go(func() {
			if _, err := p.metadata(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	cancel()
	close(release)
	wg.Wait()
	if n := s.discoveries.Load(); n != 1 {
		t.Errorf("%d fetches, want 1", n)
	}
}

func TestDiscovery_KeepsTheLastGoodCopy(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]http.HandlerFunc{
		"down":    respond(500, "text/html", "oops"),
		"invalid": respond(200, "application/json", `{"issuer":"https://evil.example"}`),
		"a page":  respond(200, "text/html", "maintenance"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testLastGoodCopy(t, broken) })
		})
	}
}

func testLastGoodCopy(t *testing.T, broken http.HandlerFunc) {
	s := newOPServer()
	var seen []FetchEvent
	p := s.provider(Trace{DiscoveryFetched: collect(&seen)})
	first, err := p.metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.setDiscovery(broken)
	s.clock.Advance(1000 * time.Hour)
	for range 100 {
		if m, err := p.metadata(t.Context()); m != first || err != nil {
			t.Fatalf("%+v, %v", m, err)
		}
	}
	synctest.Wait() // for the refresh in the background
	if len(seen) != 2 || seen[0].Err != nil || seen[1].Err == nil {
		t.Fatalf("the events are %+v, want a success and one failure", seen)
	}

	s.serveMetadata(map[string]any{"token_endpoint": s.issuer + "/new"})
	s.clock.Advance(time.Minute)
	if m, err := p.metadata(t.Context()); m != first || err != nil {
		t.Fatalf("%+v, %v", m, err)
	}
	synctest.Wait()
	m, err := p.metadata(t.Context())
	if err != nil || m.TokenEndpoint != s.issuer+"/new" {
		t.Errorf("the new metadata is not used: %+v, %v", m, err)
	}
	if first.TokenEndpoint != s.issuer+"/token" {
		t.Error("the old copy has been changed")
	}
}

func TestProvider_UsesTheAliasesThereAre(t *testing.T) {
	t.Parallel()
	published := soundMetadata(func(m *Metadata) {
		m.RevocationEndpoint = "https://op.example/revoke"
		m.MTLSEndpointAliases = map[string]string{
			"token_endpoint": "https://mtls.op.example/token", "revocation_endpoint": "", "jwks_uri": "https://mtls.op.example/jwks",
			"pushed_authorization_request_endpoint": "https://mtls.op.example/par",
		}
	})
	before := published.clone()
	for _, mtls := range []bool{false, true} {
		m := (&provider{mtls: mtls}).withAliases(published)
		want := published.clone()
		if mtls {
			want.TokenEndpoint = "https://mtls.op.example/token"
			want.PushedAuthorizationRequestEndpoint = "https://mtls.op.example/par"
		}
		if m.published != published || !reflect.DeepEqual(published, before) || !reflect.DeepEqual(m.effective, want) {
			t.Errorf("with a certificate %v: %+v, want %+v", mtls, m.effective, want)
		}
	}
}

// With a certificate, the metadata that is used differs from what was published. It is
// made once, not at each login. Not in parallel: it counts allocations.
func TestProvider_MetadataIsNotCopiedForALogin(t *testing.T) {
	published := soundMetadata(func(m *Metadata) {
		m.MTLSEndpointAliases = map[string]string{"token_endpoint": "https://mtls.op.example/token"}
	})
	p := &provider{mtls: true}
	p.static = p.withAliases(published)
	fetched := &provider{mtls: true, now: time.Now}
	fetched.document.Now = time.Now
	fetched.document.Load = func(context.Context) (*metadata, time.Duration, error) {
		return fetched.withAliases(published), time.Hour, nil
	}
	for what, p := range map[string]*provider{"configured": p, "fetched": fetched} {
		first, err := p.metadata(t.Context())
		if err != nil || first.TokenEndpoint != "https://mtls.op.example/token" {
			t.Fatalf("%s: %+v, %v", what, first, err)
		}
		if n := testing.AllocsPerRun(100, func() {
			if again, err := p.metadata(t.Context()); again != first || err != nil {
				t.Errorf("%s: another copy, %v", what, err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}

// The default transport must not be in the way: an app may have put something
// else in its place. So this test does not run in parallel with others.
func TestProviderSettings_RootCAsLeaveTheRestOfTheTransportSafe(t *testing.T) {
	old := http.DefaultTransport
	t.Cleanup(func() { http.DefaultTransport = old })
	http.DefaultTransport = noNetwork{t}

	server := httptest.NewTLSServer(respond(http.StatusNoContent, "", ""))
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	plain, _ := (&Provider{RootCAs: roots, AllowPrivateNetwork: true}).transports(server.URL, nil)
	transport := plain.(*http.Transport)
	guarded, _ := (&Provider{RootCAs: roots}).transports(server.URL, nil)
	defer transport.CloseIdleConnections()
	if transport.Proxy == nil || transport.TLSClientConfig.InsecureSkipVerify || transport.MaxIdleConnsPerHost < 8 ||
		transport.TLSClientConfig.MinVersion < tls.VersionTLS12 {
		t.Errorf("the transport is %+v", transport)
	}
	for _, rt := range []http.RoundTripper{transport, guarded} {
		client := &http.Client{Transport: rt}
		defer client.CloseIdleConnections()
		res, err := client.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	if _, err := (&http.Client{Transport: new(http.Transport)}).Get(server.URL); err == nil {
		t.Error("the certificate is trusted without the RootCAs")
	}
}

// Metadata names hosts; none of them may be inside this network unless the issuer is.
func TestProviderSettings_GuardTheNetwork(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	certificate := server.TLS.Certificates[0]
	// The issuers are addresses, so that nothing is looked up.
	static := &Metadata{Issuer: "https://192.0.2.1", JWKSURI: server.URL}
	for _, row := range []struct {
		what    string
		issuer  string
		set     Provider
		refused bool
	}{
		{"an issuer outside", "https://192.0.2.1", Provider{}, true},
		{"an issuer that is here", server.URL, Provider{}, false},
		{"an issuer in another network", "https://10.0.0.1", Provider{}, true},
		{"AllowPrivateNetwork", "https://192.0.2.1", Provider{AllowPrivateNetwork: true}, false},
		{"a host that the app names", "https://192.0.2.1", Provider{Metadata: static}, false},
	} {
		for _, certificates := range [][]tls.Certificate{nil, {certificate}} {
			row.set.RootCAs, row.set.Timeout = roots, 10*time.Second
			p := newProvider(row.issuer, "app", "", &Registration{ClientCertificates: certificates}, &row.set, nil, time.Now)
			for name, client := range map[string]*fetch.Client{"documents": p.http, "the client": p.client} {
				asked.Store(0)
				_, err := client.Do(t.Context(), fetch.Request{URL: server.URL})
				var inside *fetch.AddressError
				if refused := errors.As(err, &inside); refused != row.refused || refused == (asked.Load() > 0) || !refused && err != nil {
					t.Errorf("%s, for %s: %v after %d requests", row.what, name, err, asked.Load())
				}
			}
		}
	}
}

func FuzzMetadata(f *testing.F) {
	for _, file := range []string{"proconnect.json", "conformance-suite.json"} {
		f.Add(readTestdata(f, "metadata", file))
	}
	f.Add([]byte(`{"issuer":"https://op.example","mtls_endpoint_aliases":{"token_endpoint":null}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := parseMetadata(body, true)
		if err != nil {
			return
		}
		if validateMetadata(m, "https://op.example", true, false, nil) != nil {
			return
		}
		for _, e := range endpoints(m, true) {
			if e.url != "" && !strings.HasPrefix(strings.ToLower(e.url), "https://") {
				t.Fatalf("%s is %q", e.name, e.url)
			}
		}
		again, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseMetadata(again, true); err != nil {
			t.Fatalf("does not read what it wrote: %v", err)
		}
	})
}

// Only a client with a certificate uses the aliases, so only its logins may fail for
// what is wrong in them.
func TestMetadata_WrongAliasesConcernOnlyAClientWithACertificate(t *testing.T) {
	t.Parallel()
	const sound = `"issuer":"https://op.example","authorization_endpoint":"https://op.example/a",` +
		`"token_endpoint":"https://op.example/t","jwks_uri":"https://op.example/j"`
	for _, aliases := range []string{
		`[]`, `"x"`, `7`, `{"token_endpoint":7}`, `{"token_endpoint":"x"}`, `{"userinfo_endpoint":"http://op.example/u"}`,
		`{"token_endpoint":"https://op.example/t#x","userinfo_endpoint":[]}`,
	} {
		for _, mtls := range []bool{false, true} {
			m, err := parseMetadata([]byte(`{`+sound+`,"mtls_endpoint_aliases":`+aliases+`}`), mtls)
			if err == nil {
				err = validateMetadata(m, "https://op.example", mtls, false, nil)
			}
			if refused := err != nil; refused != mtls {
				t.Errorf("%s, a client with a certificate: %t: %v", aliases, mtls, err)
			}
		}
	}
}

// A host of InsecureHTTPHosts may have a private or loopback address, though the issuer
// has none, and no other host may because of it.
func TestProvider_InsecureHTTPHostsMayBeInside(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	t.Cleanup(server.Close)
	settings := &Provider{InsecureHTTPHosts: []string{"localhost"}}
	documents, _ := settings.transports("https://192.0.2.1", nil) // an address, so nothing is looked up
	for host, refused := range map[string]bool{"localhost": false, "127.0.0.1": true} {
		_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+host+":"+port, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := documents.RoundTrip(r)
		if err == nil {
			res.Body.Close()
		}
		if (err != nil) != refused {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestNew_CopiesInsecureHTTPHosts(t *testing.T) {
	t.Parallel()
	hosts := []string{"keycloak"}
	c := MustNew(t, func(c *Config) { c.Provider.InsecureHTTPHosts = hosts })
	hosts[0] = "evil"
	if got := c.provider.plain; len(got) != 1 || got[0] != "keycloak" {
		t.Errorf("the hosts became %q", got)
	}
}
