package oidctest_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp/oidctest"
)

func TestDiscovery_Overrides(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{TLS: true, SessionState: true, MTLSEndpointAliases: true, NoKeyAlg: true,
		Paths:    map[string]string{oidctest.EndpointJWKS: "/keys"},
		Metadata: map[string]any{"registration_endpoint": "/register", "op_policy_uri": "https://op.example/"}})
	c := newRaw(t, p)
	metadata := c.get(oidctest.EndpointDiscovery, nil).json
	_, port, _ := strings.Cut(strings.TrimPrefix(p.Issuer(), "https://"), ":")
	for name, want := range map[string]string{
		"jwks_uri":              p.Issuer() + "/keys",
		"registration_endpoint": p.Issuer() + "/register",
		"op_policy_uri":         "https://op.example/",
		"check_session_iframe":  p.Issuer() + "/session/check",
	} {
		if got := metadata[name]; got != want {
			t.Errorf("%s is %v, want %s", name, got, want)
		}
	}
	aliases, _ := metadata["mtls_endpoint_aliases"].(map[string]any)
	if got, want := aliases["token_endpoint"], "https://localhost:"+port+"/token"; got != want || len(aliases) != 1 {
		t.Errorf("mtls_endpoint_aliases is %v, want %s", aliases, want)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(c.get(oidctest.EndpointJWKS, nil).body), &set); err != nil {
		t.Fatal(err)
	}
	for _, key := range set.Keys {
		if key.Algorithm != "" || key.Use != "sig" || key.KeyID == "" {
			t.Errorf("the key %q has alg %q and use %q", key.KeyID, key.Algorithm, key.Use)
		}
	}
}

func TestDiscovery_Switches(t *testing.T) {
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
			t.Errorf("%s is %v although it is switched off", row.member, v)
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

func TestJWKS_Rotation(t *testing.T) {
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
		t.Error("the provider has a key for ES512, which it does not need")
	}
}

func TestJWKS_OddKeys(t *testing.T) {
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
