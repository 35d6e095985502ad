package main

// This file is the provider, and what it sends about a person.

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	subject      = "704e0242-2901-5d2b-d47f-7a5e5ab05b35"
	clientID     = "6925fb81-0fd4-4d7d-a9b4-4b5ff4b0ea56"
	clientSecret = "a secret of more than thirty-two characters"
	accessToken  = "0123456789abcdefghijklmnopqrstuvwxyzABCDEF"
)

// A fixture is what a provider sends about a person.
type fixture struct {
	userInfo string
	facts    string // members of the ID Token beside those that every one has
	// handKeepsIDToken reports whether the session by hand keeps the ID Token for
	// logout, as that of oidcrp does. A small session by hand does without.
	handKeepsIDToken bool
}

// fixtures are, by name, a provider that sends little, and one that sends about as many
// claims as one for professionals.
var fixtures = map[string]fixture{
	"small": {userInfo: `{"sub":"` + subject + `","name":"Camille Martin","email":"camille.martin@service.example",` +
		`"email_verified":true}`},
	"professional": {
		userInfo: `{"sub":"` + subject + `","given_name":"Camille","usual_name":"Martin",` +
			`"email":"camille.martin@service.example","email_verified":true,"phone":"+33 1 23 45 67 89",` +
			`"organizational_unit":"Direction of examples, second bureau","siret":"13002526500013","uid":"camille.martin",` +
			`"idp_id":"71144ab3-ee1a-4401-b7b3-79b44f7daeeb","chorusdt":"service","is_service_public":true,` +
			`"roles":["agent","head of bureau"],"custom":{"level":"3","site":"north"}}`,
		facts:            `,"acr":"eidas1","amr":["pwd"],"sid":"0a1b2c3d4e5f60718293a4b5c6d7e8f9","at_hash":"` + atHash() + `"`,
		handKeepsIDToken: true,
	},
}

// serveProvider runs the provider in its own process. It prints its issuer and serves
// until its standard input ends, which happens when its parent exits. protocol is one of
// protocols, sends the name of a fixture, and certificate the file to write its
// certificate to.
func serveProvider(protocol, sends, certificate string) error {
	server := httptest.NewUnstartedServer(nil)
	issuer := "https://" + server.Listener.Addr().String()
	if protocol == "http" {
		issuer = "http://" + server.Listener.Addr().String()
	}
	handler, err := newProvider(issuer, fixtures[sends])
	if err != nil {
		return err
	}
	server.Config.Handler = handler
	if protocol == "http" {
		server.Start()
	} else {
		server.EnableHTTP2 = protocol == "https2"
		server.StartTLS()
		block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
		if err := os.WriteFile(certificate, pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	fmt.Println(issuer)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// newProvider makes a provider that does as little as possible: everything except the ID
// Token is prepared in advance. The code is the nonce of the ID Token.
func newProvider(issuer string, sends fixture) (http.Handler, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	jwks, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"},
	}})
	if err != nil {
		return nil, err
	}
	metadata, err := json.Marshal(map[string]any{
		"issuer":                                         issuer,
		"authorization_endpoint":                         issuer + "/authorize",
		"token_endpoint":                                 issuer + "/token",
		"userinfo_endpoint":                              issuer + "/userinfo",
		"jwks_uri":                                       issuer + "/jwks",
		"response_types_supported":                       []string{"code"},
		"id_token_signing_alg_values_supported":          []string{"ES256"},
		"token_endpoint_auth_methods_supported":          []string{"client_secret_basic"},
		"authorization_response_iss_parameter_supported": true,
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", answer(metadata))
	mux.HandleFunc("/jwks", answer(jwks))
	mux.HandleFunc("/userinfo", answer([]byte(sends.userInfo)))
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":60,"id_token":%q}`,
			accessToken, idToken(key, issuer, r.PostFormValue("code"), sends.facts))
	})
	return mux, nil
}

func answer(body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	}
}

func idToken(key *ecdsa.PrivateKey, issuer, nonce, facts string) string {
	now := time.Now().Unix()
	enc := base64.RawURLEncoding
	input := enc.EncodeToString([]byte(`{"alg":"ES256","kid":"1"}`)) + "." + enc.EncodeToString(fmt.Appendf(nil,
		`{"iss":%q,"sub":%q,"aud":%q,"exp":%d,"iat":%d,"auth_time":%d,"nonce":%q%s}`,
		issuer, subject, clientID, now+3600, now, now, nonce, facts))
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		panic(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return input + "." + enc.EncodeToString(signature)
}

// atHash is the claim at_hash of the access token (OpenID Connect Core 3.1.3.6).
func atHash() string {
	sum := sha256.Sum256([]byte(accessToken))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
