package oidctest_test

import (
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp/oidctest"
)

func TestIDToken_SigningAlgorithms(t *testing.T) {
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

func TestSignClaims_VerifiesUnlikeForgedToken(t *testing.T) {
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

func TestIDToken_Encrypted(t *testing.T) {
	t.Parallel()
	key := ecKey(t)
	for _, row := range []struct {
		alg, enc string
		key      any
	}{
		{"ECDH-ES", "A256GCM", key},
		{"ECDH-ES+A128KW", "", key},
		{"A128KW", "", sha(oddSecret)[:16]},
		{"dir", "A256GCM", sha(oddSecret)},
	} {
		t.Run(row.alg, func(t *testing.T) {
			t.Parallel()
			p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", Clients: []oidctest.Client{{
				ID: oidctest.ClientID, Secret: oddSecret,
				JWKS:                         jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Use: "enc"}}},
				IDTokenEncryptedResponseAlg:  row.alg,
				IDTokenEncryptedResponseEnc:  row.enc,
				UserInfoEncryptedResponseAlg: row.alg,
				UserInfoEncryptedResponseEnc: row.enc,
			}}})
			c := newRaw(t, p)
			r := c.post(oidctest.EndpointToken, tokenRequest(c.code(), "client_secret", oddSecret))
			inner := decrypt(t, r.json["id_token"].(string), row.key)
			if got := claims(t, inner)["sub"]; got != "alice" {
				t.Errorf("the sub of the ID Token is %v", got)
			}
			res := c.userInfo(r.json["access_token"].(string))
			if kind := res.header.Get("Content-Type"); kind != "application/jwt;charset=UTF-8" {
				t.Errorf("the type of UserInfo is %s", kind)
			}
			var info map[string]any
			if err := json.Unmarshal([]byte(decrypt(t, res.body, row.key)), &info); err != nil || info["sub"] != "alice" {
				t.Errorf("UserInfo is %v, %v", info, err)
			}
		})
	}
}

func TestIDToken_HMAC(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"HS256", "HS384", "HS512"} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			secret := oddSecret + oddSecret
			p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", Clients: []oidctest.Client{{
				ID: oidctest.ClientID, Secret: secret, IDTokenSignedResponseAlg: alg}}})
			c := newRaw(t, p)
			r := c.post(oidctest.EndpointToken, tokenRequest(c.code(), "client_secret", secret))
			jws, err := jose.ParseSignedCompact(r.json["id_token"].(string), []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := jws.Verify([]byte(secret)); err != nil {
				t.Error(err)
			}
			hint := url.Values{"id_token_hint": {r.json["id_token"].(string)}}
			if r := c.get(oidctest.EndpointEndSession, hint); r.status != http.StatusOK {
				t.Errorf("as a hint: %d %s", r.status, r.body)
			}
		})
	}
}

func decrypt(t *testing.T, compact string, key any) string {
	t.Helper()
	jwe, err := jose.ParseEncryptedCompact(compact,
		[]jose.KeyAlgorithm{jose.ECDH_ES, jose.ECDH_ES_A128KW, jose.A128KW, jose.DIRECT},
		[]jose.ContentEncryption{jose.A256GCM, jose.A128CBC_HS256})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := jwe.Decrypt(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

func sha(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

func keySet(t *testing.T, p *oidctest.Provider) oidc.KeySet {
	t.Helper()
	return oidc.NewRemoteKeySet(oidc.ClientContext(t.Context(), p.HTTPClient()), p.Endpoint(oidctest.EndpointJWKS))
}
