package oidcrp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp/internal/fetch"
)

// opServer is as much of a provider as discovery and keys need: two documents,
// which a test may replace at any time, and a count of the requests for each.
type opServer struct {
	issuer      string
	clock       *testClock
	discoveries atomic.Int32
	keyFetches  atomic.Int32
	others      atomic.Int32

	mu        sync.Mutex
	discovery http.HandlerFunc
	jwks      http.HandlerFunc
}

// newOPServer starts a provider with a valid metadata document and no keys.
func newOPServer(t testing.TB) *opServer {
	t.Helper()
	s := &opServer{clock: newTestClock()}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.issuer = server.URL
	s.serveMetadata(nil)
	s.serveKeys()
	return s
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
		s.others.Add(1)
		http.NotFound(w, r)
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

// provider returns a new provider that talks to s.
func (s *opServer) provider(trace Trace) *provider {
	ev := &events{trace: trace, log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	return newProvider(s.issuer, "client", "", new(Registration), new(Provider), ev, s.clock.Now)
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

func TestMetadataOfRealProviders(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ file, issuer, endSession string }{
		{"proconnect.json", "https://fca.integ01.dev-agentconnect.fr/api/v2",
			"https://fca.integ01.dev-agentconnect.fr/api/v2/session/end"},
		{"conformance-suite.json", "https://localhost.emobix.co.uk:8443/test/a/oidcrp/", ""},
	} {
		m, err := parseMetadata(readTestdata(t, "metadata", row.file))
		if err != nil {
			t.Errorf("%s: %v", row.file, err)
			continue
		}
		if err := validateMetadata(m, row.issuer); err != nil {
			t.Errorf("%s: %v", row.file, err)
		}
		if m.EndSessionEndpoint != row.endSession || len(m.IDTokenSigningAlgValuesSupported) < 3 {
			t.Errorf("%s: %+v", row.file, m)
		}
	}
}

// Each registered name must reach its own field, with its type.
func TestMetadataFields(t *testing.T) {
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
	m, err := parseMetadata(want)
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

func TestMetadataIsReadStrictly(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ doc, want string }{
		{`{"issuer":"a","ISSUER":"b","Issuer":"c"}`, ""},
		{`{"issuer":"a","unknown":{"x":[1,null]}}`, ""},
		{`{"issuer":"a","userinfo_endpoint":null,"scopes_supported":null}`, ""},
		{`{"issuer":"a","claims_supported":"sub email","op_tos_uri":7}`, ""},

		{`{"issuer":"a","issuer":"a"}`, "given twice"},
		{`{"issuer":"a"`, "comma"},
		{`[{"issuer":"a"}]`, "not a JSON object"},
		{`{"issuer":"a"}{}`, "more after"},
		{`<!doctype html>`, "not a JSON object"},
		{`{"issuer":["a"]}`, "issuer has the wrong type"},
		{`{"issuer":"a","token_endpoint":{}}`, "token_endpoint has the wrong type"},
		{`{"issuer":"a","authorization_response_iss_parameter_supported":"true"}`, "has the wrong type"},
		{`{"issuer":"a","id_token_signing_alg_values_supported":"RS256"}`, "has the wrong type"},
		{`{"issuer":"a","mtls_endpoint_aliases":[]}`, "has the wrong type"},
	} {
		m, err := parseMetadata([]byte(row.doc))
		if row.want == "" && (err != nil || m.Issuer != "a" || m.ClaimsSupported != nil) {
			t.Errorf("%s: %+v, %v", row.doc, m, err)
		} else if row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: error %v, want %q", row.doc, err, row.want)
		}
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
		err := validateMetadata(m, row.issuer)
		if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%+v: error %v, want %q", m, err, row.want)
		}
	}
}

func TestDiscoveryWaitsForTheFirstUse(t *testing.T) {
	t.Parallel()
	s := newOPServer(t)
	var seen []FetchEvent
	p := s.provider(Trace{DiscoveryFetched: func(_ context.Context, ev FetchEvent) { seen = append(seen, ev) }})
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

func TestDiscoveryWithAnIssuerThatEndsInASlash(t *testing.T) {
	t.Parallel()
	s := newOPServer(t)
	s.serveMetadata(map[string]any{"issuer": s.issuer + "/"})
	p := s.provider(Trace{})
	p.issuer += "/"
	if _, err := p.metadata(t.Context()); err != nil || s.others.Load() != 0 {
		t.Errorf("%v, %d requests elsewhere", err, s.others.Load())
	}
}

func TestStaticMetadataNeedsNoNetwork(t *testing.T) {
	t.Parallel()
	static := &Metadata{Issuer: "https://op.example"}
	p := newProvider(static.Issuer, "client", "", new(Registration), &Provider{Metadata: static}, nil, nil)
	if m, err := p.metadata(t.Context()); m != static || err != nil {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestDiscoveryAnswersThatAreRefused(t *testing.T) {
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
		s := newOPServer(t)
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

func TestDiscoveryNamesBothIssuers(t *testing.T) {
	t.Parallel()
	s := newOPServer(t)
	s.serveMetadata(map[string]any{"issuer": "https://evil.example"})
	_, err := s.provider(Trace{}).metadata(t.Context())
	wantCode(t, err, CodeProviderInvalid)
	for _, issuer := range []string{`"https://evil.example"`, fmt.Sprintf("%q", s.issuer)} {
		if !strings.Contains(err.Error(), issuer) {
			t.Errorf("error is %v, want %s in it", err, issuer)
		}
	}
}

func TestDiscoveryTellsWhenToTryAgain(t *testing.T) {
	t.Parallel()
	s := newOPServer(t)
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

func TestDiscoveryOutlivesTheCallerThatStartedIt(t *testing.T) {
	t.Parallel()
	s := newOPServer(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	s.mu.Lock()
	good := s.discovery
	s.mu.Unlock()
	s.setDiscovery(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
		good(w, r)
	})
	p := s.provider(Trace{})

	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := p.metadata(ctx)
		if wantCode(t, err, CodeProviderUnavailable); !errors.Is(err, context.Canceled) {
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

func TestDiscoveryKeepsTheLastGoodCopy(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]http.HandlerFunc{
		"down":    respond(500, "text/html", "oops"),
		"invalid": respond(200, "application/json", `{"issuer":"https://evil.example"}`),
		"a page":  respond(200, "text/html", "maintenance"),
	} {
		s := newOPServer(t)
		var failed atomic.Int32
		p := s.provider(Trace{DiscoveryFetched: func(_ context.Context, ev FetchEvent) {
			if ev.Err != nil {
				failed.Add(1)
			}
		}})
		first, err := p.metadata(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.setDiscovery(broken)
		s.clock.Advance(1000 * time.Hour)
		for range 100 {
			if m, err := p.metadata(t.Context()); m != first || err != nil {
				t.Fatalf("%s: %+v, %v", name, m, err)
			}
		}
		eventually(t, "the refresh fails", func() bool { return failed.Load() == 1 })

		s.serveMetadata(map[string]any{"token_endpoint": s.issuer + "/new"})
		eventually(t, "the new metadata is used", func() bool {
			s.clock.Advance(time.Minute)
			m, err := p.metadata(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return m.TokenEndpoint == s.issuer+"/new"
		})
		if first.TokenEndpoint != s.issuer+"/token" {
			t.Errorf("%s: the old copy has been changed", name)
		}
	}
}

func FuzzMetadata(f *testing.F) {
	for _, file := range []string{"proconnect.json", "conformance-suite.json"} {
		f.Add(readTestdata(f, "metadata", file))
	}
	f.Add([]byte(`{"issuer":"https://op.example","mtls_endpoint_aliases":{"token_endpoint":null}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := parseMetadata(body)
		if err != nil {
			return
		}
		if validateMetadata(m, "https://op.example") != nil {
			return
		}
		for _, e := range endpoints(m) {
			if e.url != "" && !strings.HasPrefix(strings.ToLower(e.url), "https://") {
				t.Fatalf("%s is %q", e.name, e.url)
			}
		}
		again, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseMetadata(again); err != nil {
			t.Fatalf("does not read what it wrote: %v", err)
		}
	})
}
