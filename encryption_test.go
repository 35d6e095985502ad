package oidcrp_test

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

var (
	everyKeyManagement = []string{
		"RSA-OAEP", "RSA-OAEP-256", "ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A192KW", "ECDH-ES+A256KW",
		"A128KW", "A192KW", "A256KW", "A128GCMKW", "A192GCMKW", "A256GCMKW", "dir",
	}
	everyContentEncryption = []string{
		"A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512", "A128GCM", "A192GCM", "A256GCM",
	}
)

// encryptionKeys are a client's keys of which one fits each algorithm.
func encryptionKeys() []jose.JSONWebKey {
	return []jose.JSONWebKey{
		{Key: testKeys().RSA2, KeyID: "signs", Use: "sig"},
		{Key: testKeys().P384, KeyID: "signs too", Use: "sig"},
		{Key: testKeys().RSA, KeyID: "rsa", Use: "enc"},
		{Key: testKeys().P256, KeyID: "ec", Use: "enc"},
	}
}

func publicOf(keys []jose.JSONWebKey) (set jose.JSONWebKeySet) {
	for _, key := range keys {
		set.Keys = append(set.Keys, key.Public())
	}
	return set
}

// encryptedSetup is an app whose ID Tokens and UserInfo responses are encrypted
// with alg, and the latter signed too if signed is not empty.
func encryptedSetup(alg, enc, userInfoEnc, signed string) setup {
	return setup{
		provider: oidctest.Config{Clients: []oidctest.Client{{
			ID: oidctest.ClientID, Secret: oidctest.ClientSecret, JWKS: publicOf(encryptionKeys()),
			IDTokenEncryptedResponseAlg: alg, IDTokenEncryptedResponseEnc: enc,
			UserInfoEncryptedResponseAlg: alg, UserInfoEncryptedResponseEnc: userInfoEnc,
			UserInfoSignedResponseAlg: signed,
		}}},
		config: func(c *oidcrp.Config) {
			c.Registration.ClientKeys = encryptionKeys()
			c.Registration.IDTokenEncryptedResponseAlg, c.Registration.IDTokenEncryptedResponseEnc = alg, enc
			c.Registration.UserInfoEncryptedResponseAlg, c.Registration.UserInfoEncryptedResponseEnc = alg, userInfoEnc
			c.Registration.UserInfoSignedResponseAlg = signed
		},
		routes: func(c *oidcrp.Client, mux *http.ServeMux) {
			mux.Handle("/session", c.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s, _ := oidcrp.SessionFromContext(r.Context())
				json.NewEncoder(w).Encode(map[string]any{"id_token": s.IDToken(), "email": emailOf(s)})
			})))
		},
	}
}

func TestEncryption_EveryPairSignsIn(t *testing.T) {
	t.Parallel()
	for i, alg := range everyKeyManagement {
		for j := range 3 {
			enc := everyContentEncryption[(i+2*j)%6]
			userInfoEnc := everyContentEncryption[(i+2*j+1)%6]
			signed := []string{"", "RS256", "ES256"}[j]
			t.Run(alg+" "+enc, func(t *testing.T) {
				t.Parallel()
				app := newTestApp(t, encryptedSetup(alg, enc, userInfoEnc, signed))
				browser := app.signIn(t)
				res, body := get(t, browser, app.URL+"/session")
				if email := jsonMember(t, body, "email"); res.StatusCode != 200 || email != "alice@example.org" {
					t.Fatalf("%s\n%s", res.Status, body)
				}
				if hint := jsonMember(t, body, "id_token"); hint != "" {
					t.Errorf("the session shows the decrypted ID Token, %q", hint)
				}
				res, _ = app.logsOut(t, browser, "/auth/logout")
				get(t, noRedirects(browser), res.Header.Get("Location"))
				ended := app.provider.RequestsTo(oidctest.EndpointEndSession)
				if len(ended) != 1 || ended[0].Form.Has("id_token_hint") || ended[0].Status >= 400 {
					t.Errorf("logging out sent %v", ended)
				}
			})
		}
	}
}

func TestEncryption_TokensAreRefreshed(t *testing.T) {
	t.Parallel()
	s := encryptedSetup("ECDH-ES+A256KW", "A256GCM", "A128CBC-HS256", "ES256")
	config := s.config
	s.config = func(c *oidcrp.Config) { config(c); c.Tokens.Keep = true }
	s.routes = func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.HandleFunc("/refresh", func(w http.ResponseWriter, r *http.Request) {
			if session, err := c.Refresh(w, r); err != nil {
				t.Error(err)
			} else {
				io.WriteString(w, session.Subject())
			}
		})
	}
	app := newTestApp(t, s)
	browser := app.signIn(t)
	if _, body := get(t, browser, app.URL+"/refresh"); body != "alice" {
		t.Errorf("refreshed to %q", body)
	}
	if n := app.provider.Count(oidctest.EndpointUserInfo); n != 2 {
		t.Errorf("%d UserInfo requests, want 2", n)
	}
}

func emailOf(s *oidcrp.Session) string {
	var claims struct {
		Email string `json:"email"`
	}
	_ = s.Claims(&claims)
	return claims.Email
}
