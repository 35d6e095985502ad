package interop

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"slices"
	"testing"
)

// rsaKey makes a key pair in PEM.
func rsaKey(t testing.TB) (private, public string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	private = string(pem.EncodeToMemory(&pem.Block{
		Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key),
	}))
	return private, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// rsaJWK makes a private key as a JWK.
func rsaJWK(t testing.TB) map[string]any {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }
	return map[string]any{
		"kty": "RSA", "alg": "RS256", "kid": "RS256:" + rand.Text(),
		"n": encode(key.N), "e": encode(big.NewInt(int64(key.E))), "d": encode(key.D),
		"p": encode(key.Primes[0]), "q": encode(key.Primes[1]), "dp": encode(key.Precomputed.Dp),
		"dq": encode(key.Precomputed.Dq), "qi": encode(key.Precomputed.Qinv),
	}
}

// privateJWKS makes a key of every kind, the one for alg first.
func privateJWKS(t testing.TB, alg string) string {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	d, err := ec.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := []map[string]any{
		{
			"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "ES256:" + rand.Text(),
			"x": encode(point[1:33]), "y": encode(point[33:]), "d": encode(d),
		},
		{
			"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "EdDSA:" + rand.Text(),
			"x": encode(public), "d": encode(private.Seed()),
		},
		rsaJWK(t),
	}
	wanted := slices.IndexFunc(keys, func(key map[string]any) bool { return key["alg"] == alg })
	keys[0], keys[wanted] = keys[wanted], keys[0]
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
