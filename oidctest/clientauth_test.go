package oidctest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"github.com/oidcrp/oidcrp/oidctest"
)

// oddSecret contains the characters that form-urlencoding must escape.
const oddSecret = `secret with: %25 + & = "é" and enough characters`

func basic(id, secret string) http.Header {
	text := url.QueryEscape(id) + ":" + url.QueryEscape(secret)
	return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(text))}}
}

// anonymous returns a token request without client authentication.
func anonymous(code string, pairs ...string) url.Values {
	return with(tokenRequest(code, "client_id", "", "client_secret", ""), pairs...)
}

func TestClientAuth_Secrets(t *testing.T) {
	t.Parallel()
	secret := func(id, method string) oidctest.Client {
		return oidctest.Client{ID: id, Secret: oddSecret, TokenEndpointAuthMethod: method}
	}
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", Clients: []oidctest.Client{
		secret("either", ""), secret("basic: only", "client_secret_basic"),
		secret("post", "client_secret_post"), {ID: "public"}}})
	post := func(id, secret string) url.Values {
		return anonymous("", "client_id", id, "client_secret", secret)
	}
	for _, row := range []struct {
		name   string
		client string
		form   url.Values
		header http.Header
		status int
	}{
		{"basic where either will do", "either", anonymous(""), basic("either", oddSecret), 200},
		{"post where either will do", "either", post("either", oddSecret), nil, 200},
		{"basic where it must be", "basic: only", anonymous(""), basic("basic: only", oddSecret), 200},
		{"post where it must be", "post", post("post", oddSecret), nil, 200},
		{"none for a public client", "public", anonymous("", "client_id", "public"), nil, 200},
		{"basic with the client_id in the form too", "either", anonymous("", "client_id", "either"), basic("either", oddSecret), 200},

		{"post where basic must be", "basic: only", post("basic: only", oddSecret), nil, 401},
		{"basic where post must be", "post", anonymous(""), basic("post", oddSecret), 401},
		{"a wrong secret in the header", "either", anonymous(""), basic("either", "wrong"), 401},
		{"a wrong secret in the form", "either", post("either", "wrong"), nil, 401},
		{"no secret", "either", anonymous("", "client_id", "either"), nil, 401},
		{"a secret for a public client", "public", post("public", "secret"), nil, 401},
		{"no client at all", "either", anonymous(""), nil, 401},
		{"two clients", "either", anonymous("", "client_id", "post"), basic("either", oddSecret), 401},
		{"both methods", "either", post("either", oddSecret), basic("either", oddSecret), 400},
		{"a header that is not urlencoded", "either", anonymous(""), http.Header{"Authorization": {
			"Basic " + base64.StdEncoding.EncodeToString([]byte("either:"+oddSecret))}}, 401},
		{"a bearer token", "either", anonymous(""), http.Header{"Authorization": {"Bearer x"}}, 401},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := newRaw(t, p)
			row.form.Set("code", c.code("client_id", row.client))
			r := c.do(http.MethodPost, oidctest.EndpointToken, row.form, row.header)
			if r.status != row.status {
				t.Errorf("got %d %s, want %d", r.status, r.body, row.status)
			}
			if challenge := r.header.Get("WWW-Authenticate"); (challenge != "") != (r.status == 401) {
				t.Errorf("WWW-Authenticate of %d is %q", r.status, challenge)
			}
		})
	}
}

func sign(t *testing.T, alg jose.SignatureAlgorithm, key any, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestClientAuth_Assertions(t *testing.T) {
	t.Parallel()
	now := newClock()
	key := ecKey(t)
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", Now: now.Now, Clients: []oidctest.Client{
		{ID: "private", JWKS: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k"}}}},
		{ID: "shared", Secret: oddSecret, TokenEndpointAuthMethod: "client_secret_jwt"},
		{ID: "basic", Secret: oddSecret},
	}})
	private := jose.JSONWebKey{Key: key, KeyID: "k"}
	issuer, unix := p.Issuer(), now.Now().Unix()
	for _, row := range []struct {
		name   string
		client string
		alg    jose.SignatureAlgorithm
		key    any
		change map[string]any
		status int
	}{
		{"private_key_jwt", "private", jose.ES256, private, nil, 200},
		{"without kid", "private", jose.ES256, key, nil, 200},
		{"client_secret_jwt", "shared", jose.HS256, []byte(oddSecret), nil, 200},
		{"for the token endpoint", "private", jose.ES256, private, map[string]any{"aud": p.Endpoint(oidctest.EndpointToken)}, 200},
		{"for several", "private", jose.ES256, private, map[string]any{"aud": []string{"x", issuer}}, 200},

		{"for another audience", "private", jose.ES256, private, map[string]any{"aud": issuer + "/other"}, 401},
		{"of another subject", "private", jose.ES256, private, map[string]any{"sub": "shared"}, 401},
		{"of another issuer", "private", jose.ES256, private, map[string]any{"iss": "shared"}, 401},
		{"expired", "private", jose.ES256, private, map[string]any{"exp": unix - 61}, 401},
		{"without end", "private", jose.ES256, private, map[string]any{"exp": nil}, 401},
		{"not yet valid", "private", jose.ES256, private, map[string]any{"nbf": unix + 61}, 401},
		{"from the future", "private", jose.ES256, private, map[string]any{"iat": unix + 61}, 401},
		{"without jti", "private", jose.ES256, private, map[string]any{"jti": nil}, 401},
		{"by another key", "private", jose.ES256, ecKey(t), nil, 401},
		{"by another secret", "shared", jose.HS256, []byte("another secret of enough characters"), nil, 401},
		{"where a secret must be", "basic", jose.HS256, []byte(oddSecret), nil, 401},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := newRaw(t, p)
			claims := map[string]any{"iss": row.client, "sub": row.client, "aud": issuer,
				"iat": unix, "exp": unix + 60, "jti": row.name}
			maps.Copy(claims, row.change)
			maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
			form := func() url.Values {
				return anonymous(c.code("client_id", row.client),
					"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
					"client_assertion", sign(t, row.alg, row.key, claims))
			}
			if r := c.post(oidctest.EndpointToken, form()); r.status != row.status {
				t.Fatalf("got %d %s, want %d", r.status, r.body, row.status)
			}
			if row.status == 200 {
				c.wantError(c.post(oidctest.EndpointToken, form()), 401, "invalid_client") // the jti is used
			}
		})
	}
}

// certificate returns a self-signed client certificate.
func certificate(t *testing.T, name string) (tls.Certificate, *x509.Certificate) {
	t.Helper()
	key := ecKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, cert
}

func TestClientAuth_Certificates(t *testing.T) {
	t.Parallel()
	pair, cert := certificate(t, "the-client")
	other, _ := certificate(t, "another-client")
	p := oidctest.NewServer(t, oidctest.Config{TLS: true, AutoLogin: "alice", Clients: []oidctest.Client{
		{ID: "subject", TokenEndpointAuthMethod: "tls_client_auth", TLSClientAuthSubjectDN: "CN=the-client"},
		{ID: "self-signed", TokenEndpointAuthMethod: "self_signed_tls_client_auth", JWKS: jose.JSONWebKeySet{
			Keys: []jose.JSONWebKey{{Key: cert.PublicKey, Certificates: []*x509.Certificate{cert}}}}},
	}})
	for _, id := range []string{"subject", "self-signed"} {
		for name, row := range map[string]struct {
			certificates []tls.Certificate
			status       int
		}{
			"its certificate":     {[]tls.Certificate{pair}, 200},
			"another certificate": {[]tls.Certificate{other}, 401},
			"no certificate":      {nil, 401},
		} {
			t.Run(id+" with "+name, func(t *testing.T) {
				t.Parallel()
				c := newRaw(t, p)
				form := anonymous(c.code("client_id", id), "client_id", id)
				c.client = p.HTTPClient()
				c.client.Transport.(*http.Transport).TLSClientConfig.Certificates = row.certificates
				if r := c.post(oidctest.EndpointToken, form); r.status != row.status {
					t.Errorf("got %d %s, want %d", r.status, r.body, row.status)
				}
			})
		}
	}
}

func TestClientAuth_AcceptsXOAuth2(t *testing.T) {
	t.Parallel()
	for method, style := range map[string]oauth2.AuthStyle{
		"client_secret_basic": oauth2.AuthStyleInHeader,
		"client_secret_post":  oauth2.AuthStyleInParams,
	} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", Clients: []oidctest.Client{{
				ID: oidctest.ClientID, Secret: oddSecret, TokenEndpointAuthMethod: method}}})
			a := newApp(t, p)
			a.config.ClientSecret = oddSecret
			a.config.Endpoint.AuthStyle = style
			p.SignIn(t, a.URL+"/login", "")
		})
	}
}

func TestClientAuth_CertificatesOnlyAtTheMTLSAlias(t *testing.T) {
	t.Parallel()
	pair, _ := certificate(t, "client")
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", TLS: true, MTLSEndpointAliases: true,
		Clients: []oidctest.Client{{ID: "mtls", TokenEndpointAuthMethod: "tls_client_auth", TLSClientAuthSubjectDN: "CN=client"}}})
	c := newRaw(t, p)
	client := p.HTTPClient()
	client.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{pair}
	usual := p.Endpoint(oidctest.EndpointToken)
	for endpoint, want := range map[string]int{
		usual: http.StatusUnauthorized,
		strings.Replace(usual, "127.0.0.1", "localhost", 1): http.StatusOK,
	} {
		res, err := client.PostForm(endpoint, anonymous(c.code("client_id", "mtls"), "client_id", "mtls"))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s answered %s, want %d", endpoint, res.Status, want)
		}
	}
}
