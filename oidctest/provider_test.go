package oidctest_test

import (
	"fmt"
	"go/build"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/oidcrp/oidcrp/oidctest"
)

func TestSignInAtTheLoginPage(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{})
	a := newApp(t, p)
	browser := p.SignIn(t, a.URL+"/login", "bruno")
	if status, body := get(t, browser, a.URL+"/welcome"); status != http.StatusOK || body != "hello bruno" {
		t.Errorf("got %d %q, want 200 hello bruno", status, body)
	}
	if a.userInfo.Email != "bruno@example.org" {
		t.Errorf("email is %q", a.userInfo.Email)
	}
	for _, endpoint := range []string{oidctest.EndpointDiscovery, oidctest.EndpointJWKS,
		oidctest.EndpointAuthorization, oidctest.EndpointLogin, oidctest.EndpointToken, oidctest.EndpointUserInfo} {
		if n := p.Count(endpoint); n != 1 {
			t.Errorf("%s was asked %d times, want once", endpoint, n)
		}
	}
}

func TestIssuerPathsAndSlashes(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", "/", "/api/v2", "/api/v2/"} {
		t.Run("issuer ends in "+path, func(t *testing.T) {
			t.Parallel()
			p := oidctest.NewServer(t, oidctest.Config{Issuer: path, AutoLogin: "alice"})
			if !strings.HasSuffix(p.Issuer(), path) {
				t.Errorf("Issuer() = %q", p.Issuer())
			}
			a := newApp(t, p)
			p.SignIn(t, a.URL+"/login", "")
			for _, r := range p.Requests() {
				if strings.Contains(r.URL.Path, "//") {
					t.Errorf("the path %s has a double slash", r.URL.Path)
				}
			}
		})
	}
}

func TestSigningAlgorithms(t *testing.T) {
	t.Parallel()
	algs := []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
	for _, alg := range algs {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", Clients: []oidctest.Client{{
				ID: oidctest.ClientID, Secret: oidctest.ClientSecret,
				IDTokenSignedResponseAlg: alg, UserInfoSignedResponseAlg: alg,
			}}})
			a := newApp(t, p, alg)
			p.SignIn(t, a.URL+"/login", "")
			if a.userInfo.Email != "alice@example.org" {
				t.Errorf("email is %q", a.userInfo.Email)
			}
		})
	}
}

func TestTheProviderInAServerOfOnesOwn(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	p, err := oidctest.New(oidctest.Config{Issuer: server.URL + "/op/", AutoLogin: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle("/op/", p)
	a := newApp(t, p)
	p.SignIn(t, a.URL+"/login", "")
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestConfigsThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		want string
		cfg  oidctest.Config
	}{
		{"Config.Issuer", oidctest.Config{}},
		{"Config.Issuer", oidctest.Config{Issuer: "127.0.0.1:80"}},
		{"Config.Issuer", oidctest.Config{Issuer: "https://127.0.0.1/?a=b"}},
		{"Config.Issuer", oidctest.Config{Issuer: "http://127.0.0.1:x"}},
		{"without ID", oidctest.Config{Issuer: "http://127.0.0.1", Clients: []oidctest.Client{{}}}},
		{"HS256 needs a Secret", oidctest.Config{Issuer: "http://127.0.0.1",
			Clients: []oidctest.Client{{ID: "c", IDTokenSignedResponseAlg: "HS256"}}}},
		{"ES256K", oidctest.Config{Issuer: "http://127.0.0.1",
			Clients: []oidctest.Client{{ID: "c", IDTokenSignedResponseAlg: "ES256K"}}}},
		{"without Subject", oidctest.Config{Issuer: "http://127.0.0.1", Personas: []oidctest.Persona{{Name: "x"}}}},
		{"Config.AutoLogin", oidctest.Config{Issuer: "http://127.0.0.1", AutoLogin: "nobody"}},
	} {
		if _, err := oidctest.New(row.cfg); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%+v: got %v, want an error about %s", row.cfg, err, row.want)
		}
	}
	if _, err := oidctest.Start(oidctest.Config{AutoLogin: "nobody"}); err == nil {
		t.Error("Start: no error")
	}
}

func TestSwitchesOfTheMetadata(t *testing.T) {
	t.Parallel()
	member := func(cfg oidctest.Config, name string) any {
		return newRaw(t, oidctest.NewServer(t, cfg)).get(oidctest.EndpointDiscovery, nil).json[name]
	}
	for _, row := range []struct {
		member   string
		switched oidctest.Config
	}{
		{"code_challenge_methods_supported", oidctest.Config{NoPKCEMetadata: true}},
		{"authorization_response_iss_parameter_supported", oidctest.Config{NoIssParameter: true}},
		{"end_session_endpoint", oidctest.Config{NoEndSession: true}},
		{"revocation_endpoint", oidctest.Config{NoRevocation: true}},
		{"pushed_authorization_request_endpoint", oidctest.Config{NoPAR: true}},
		{"userinfo_endpoint", oidctest.Config{Metadata: map[string]any{"userinfo_endpoint": nil}}},
	} {
		if member(oidctest.Config{}, row.member) == nil {
			t.Errorf("%s is missing", row.member)
		}
		if v := member(row.switched, row.member); v != nil {
			t.Errorf("%s is %v in spite of the switch", row.member, v)
		}
	}
	if v := member(oidctest.Config{RequirePAR: true}, "require_pushed_authorization_requests"); v != true {
		t.Errorf("require_pushed_authorization_requests is %v", v)
	}
	if v := member(oidctest.Config{Metadata: map[string]any{"issuer": "x"}}, "issuer"); v != "x" {
		t.Errorf("Metadata does not win: issuer is %v", v)
	}
	if v := fmt.Sprint(member(oidctest.Config{}, "acr_values_supported")); v != "[eidas1 eidas2]" {
		t.Errorf("acr_values_supported is %v", v)
	}
}

func TestSwitchesOfTheFlow(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", NoIssParameter: true, NoExpiresIn: true,
		NoRefreshToken: true, NoUserInfoTimes: true, NoPAR: true, Clients: []oidctest.Client{
			{ID: oidctest.ClientID, Secret: oidctest.ClientSecret, UserInfoSignedResponseAlg: "ES256"}}})
	c := newRaw(t, p)
	if r := c.get(oidctest.EndpointAuthorization, authRequest()); r.back.Has("iss") {
		t.Errorf("iss is there: %v", r.back)
	}
	tokens := c.tokens()
	if tokens["expires_in"] != nil || tokens["refresh_token"] != nil {
		t.Errorf("the token response is %v", tokens)
	}
	info := claims(t, c.userInfo(tokens["access_token"].(string)).body)
	if info["iss"] != p.Issuer() || info["aud"] != oidctest.ClientID || info["exp"] != nil || info["iat"] != nil {
		t.Errorf("UserInfo is %v", info)
	}
	if r := c.post(oidctest.EndpointPAR, authRequest()); r.status != http.StatusNotFound {
		t.Errorf("PAR answers %d", r.status)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice"})
	c := newRaw(t, p)
	kids := func() (kids []string) {
		r := c.get(oidctest.EndpointJWKS, nil)
		if kind := r.header.Get("Content-Type"); kind != "application/jwk-set+json" {
			t.Errorf("the type is %s", kind)
		}
		if cache := r.header.Get("Cache-Control"); cache != "public, max-age=600" {
			t.Errorf("Cache-Control is %s", cache)
		}
		for _, k := range r.json["keys"].([]any) {
			k := k.(map[string]any)
			kids = append(kids, k["kid"].(string))
			if k["d"] != nil || k["alg"] == nil || k["use"] != "sig" {
				t.Errorf("a key is %v", k)
			}
		}
		return kids
	}
	wantKids := func(want ...string) {
		t.Helper()
		if got := kids(); !slices.Equal(got, want) {
			t.Errorf("kids are %v, want %v", got, want)
		}
	}
	wantKids("oidctest:ES256:1", "oidctest:RS256:1")
	p.RotateKeysKeepingOld()
	wantKids("oidctest:ES256:2", "oidctest:RS256:2", "oidctest:ES256:1", "oidctest:RS256:1")
	p.RotateKeys()
	wantKids("oidctest:ES256:3", "oidctest:RS256:3")
	if header, _ := parts(t, c.tokens()["id_token"]); header["kid"] != p.KeyID("RS256") || header["kid"] != "oidctest:RS256:3" {
		t.Errorf("the ID Token is signed with %v", header["kid"])
	}
	if p.KeyID("ES512") != "" {
		t.Error("there is a key that nobody needs")
	}
}

func TestOddKeysStandBesideTheGoodOnes(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{OddKeys: true})
	kinds := make(map[string]bool)
	for _, k := range newRaw(t, p).get(oidctest.EndpointJWKS, nil).json["keys"].([]any) {
		k := k.(map[string]any)
		kinds[fmt.Sprintf("%v %v %v", k["kty"], k["crv"], k["use"])] = true
	}
	for _, want := range []string{"EC secp256k1 sig", "OKP Ed448 sig", "OKP Ed25519 sig", "oct <nil> sig", "RSA <nil> enc",
		"EC P-256 enc", "AKP <nil> <nil>", "RSA <nil> sig", "EC P-256 sig"} {
		if !kinds[want] {
			t.Errorf("no key is %s: %v", want, kinds)
		}
	}
}

func TestSignedClaimsAndForgeries(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{})
	set := keySet(t, p)
	sound := p.SignClaims("ES256", p.IDTokenClaims(oidctest.ClientID, "alice"), map[string]any{"typ": "JWT", "kid": nil})
	if header, payload := parts(t, sound); header["typ"] != "JWT" || header["kid"] != nil || payload["sub"] != "alice" {
		t.Errorf("got %v %v", header, payload)
	}
	if _, err := set.VerifySignature(t.Context(), sound); err != nil {
		t.Error(err)
	}
	for _, kid := range []string{"unknown", p.KeyID("ES256")} {
		if _, err := set.VerifySignature(t.Context(), p.ForgedToken("ES256", kid, nil)); err == nil {
			t.Errorf("the forgery under %s verifies", kid)
		}
	}
	if header, _ := parts(t, p.SignClaims("none", map[string]any{}, nil)); header["alg"] != "none" {
		t.Errorf("alg is %v", header["alg"])
	}
}

func TestTheRecord(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice"})
	c := newRaw(t, p)
	c.post(oidctest.EndpointToken, url.Values{"code": {"x"}})
	c.client.Get(p.Issuer() + "/favicon.ico")
	got := p.Requests()
	if len(got) != 2 || p.Count(oidctest.EndpointToken) != 1 || p.Count(oidctest.EndpointUnknown) != 1 {
		t.Fatalf("got %v", got)
	}
	first := p.RequestsTo(oidctest.EndpointToken)[0]
	if first.Method != http.MethodPost || first.URL.Path != "/token" || first.Status != http.StatusUnauthorized ||
		first.Form.Get("code") != "x" || first.Header.Get("Content-Type") == "" {
		t.Errorf("got %+v", first)
	}
	first.Form.Set("code", "changed")
	if p.Requests()[0].Form.Get("code") != "x" {
		t.Error("the record can be changed from outside")
	}
	p.ResetRequests()
	if len(p.Requests()) != 0 {
		t.Error("the record is not reset")
	}
}

func TestDownAndReplacedEndpoints(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{})
	c := newRaw(t, p)
	p.SetDown(true)
	for _, endpoint := range []string{oidctest.EndpointDiscovery, oidctest.EndpointJWKS, oidctest.EndpointUserInfo} {
		if r := c.get(endpoint, nil); r.status != http.StatusServiceUnavailable {
			t.Errorf("%s answers %d", endpoint, r.status)
		}
	}
	p.SetDown(false)
	p.Handle(oidctest.EndpointJWKS, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		io.WriteString(w, r.Form.Get("a"))
	})
	if r := c.get(oidctest.EndpointJWKS, url.Values{"a": {"b"}}); r.status != http.StatusTeapot || r.body != "b" {
		t.Errorf("got %d %s", r.status, r.body)
	}
	p.Handle(oidctest.EndpointJWKS, nil)
	if r := c.get(oidctest.EndpointJWKS, nil); r.status != http.StatusOK {
		t.Errorf("got %d", r.status)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			c := newRaw(t, p)
			_, interaction := c.page(authRequest(), nil)
			r := c.post(oidctest.EndpointLogin, url.Values{"interaction": {interaction}, "persona": {"alice"}})
			if r := c.post(oidctest.EndpointToken, tokenRequest(r.back.Get("code"))); r.status != http.StatusOK {
				t.Errorf("got %d %s", r.status, r.body)
			}
			p.Requests()
			if i == 4 {
				p.RotateKeysKeepingOld()
				p.Misbehave(oidctest.TokenNoExpiresIn)
			}
		})
	}
	wg.Wait()
	if n := p.Count(oidctest.EndpointToken); n != 8 {
		t.Errorf("%d token requests are recorded", n)
	}
}

// The quickstart example links this package.
func TestNoTestServerIsLinked(t *testing.T) {
	t.Parallel()
	pkg, err := build.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range pkg.Imports {
		own := strings.HasPrefix(path, "github.com/oidcrp/") && path != "github.com/oidcrp/oidcrp/internal/store"
		if strings.Contains(path, "httptest") || own {
			t.Errorf("the package imports %s", path)
		}
	}
}
