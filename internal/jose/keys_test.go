package jose

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	gojose "github.com/go-jose/go-jose/v4"
)

func TestClientKey_IsForOneUse(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	for _, tt := range []struct {
		what          string
		key           gojose.JSONWebKey
		signs, opened bool
	}{
		{"a key for anything", gojose.JSONWebKey{Key: keys.rsa}, true, true},
		{"a key for signing", gojose.JSONWebKey{Key: keys.rsa, Use: "sig"}, true, false},
		{"a key for encryption", gojose.JSONWebKey{Key: keys.rsa, Use: "enc"}, false, true},
		{"a key for one signature", gojose.JSONWebKey{Key: keys.rsa, Algorithm: "PS256"}, true, false},
		{"a key for one encryption", gojose.JSONWebKey{Key: keys.rsa, Algorithm: "RSA-OAEP"}, false, true},
		{"a key for another encryption", gojose.JSONWebKey{Key: keys.rsa, Algorithm: "RSA-OAEP-512"}, false, false},
		{"a key that can only sign", gojose.JSONWebKey{Key: keys.ed}, true, false},
		{"an elliptic key", gojose.JSONWebKey{Key: keys.p256}, true, false},
		{"a public key", gojose.JSONWebKey{Key: keys.rsa.Public()}, false, false},
		{"a shared secret", gojose.JSONWebKey{Key: make([]byte, 64)}, false, false},
		{"nothing", gojose.JSONWebKey{}, false, false},
		{"an elliptic key without a curve", gojose.JSONWebKey{Key: new(ecdsa.PrivateKey)}, false, false},
	} {
		if got := len(SigningAlgs(tt.key)) > 0; got != tt.signs {
			t.Errorf("%s signs: %t", tt.what, got)
		}
		if got := Decrypts(tt.key, "RSA-OAEP"); got != tt.opened {
			t.Errorf("%s opens: %t", tt.what, got)
		}
	}
}

func TestSigningAlgs_TheUsualOneComesFirst(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		key  gojose.JSONWebKey
		want string
	}{
		{gojose.JSONWebKey{Key: keys.rsa}, "RS256 PS256 RS384 PS384 RS512 PS512"},
		{gojose.JSONWebKey{Key: keys.rsa, Algorithm: "PS512"}, "PS512"},
		{gojose.JSONWebKey{Key: keys.rsa, Algorithm: "ES256"}, ""},
		{gojose.JSONWebKey{Key: keys.p256}, "ES256"},
		{gojose.JSONWebKey{Key: keys.p384}, "ES384"},
		{gojose.JSONWebKey{Key: keys.p521}, "ES512"},
		{gojose.JSONWebKey{Key: keys.p521, Algorithm: "ES256"}, ""},
		{gojose.JSONWebKey{Key: p224}, ""},
		{gojose.JSONWebKey{Key: keys.ed}, "EdDSA"},
	} {
		got := SigningAlgs(tt.key)
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%T with alg %q signs with %q, want %q", tt.key.Key, tt.key.Algorithm, got, tt.want)
		}
		for _, alg := range got {
			signer, err := gojose.NewSigner(gojose.SigningKey{Algorithm: gojose.SignatureAlgorithm(alg), Key: tt.key}, nil)
			if err != nil {
				t.Errorf("%s: %v", alg, err)
				continue
			}
			if _, err := signer.Sign([]byte("{}")); err != nil {
				t.Errorf("%s: %v", alg, err)
			}
		}
	}
}

func TestDecrypts_EveryAlgorithmHasItsKeyType(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	for _, alg := range append(everyKeyManagement, "RSA1_5", "PBES2-HS256+A128KW", "RS256", "") {
		for want, key := range map[string]any{"RSA": keys.rsa, "EC": keys.p384, "OKP": keys.ed, "oct": []byte(clientSecret)} {
			got := Decrypts(gojose.JSONWebKey{Key: key}, alg)
			if got != (EncryptionKeyType(alg) == want && want != "oct") {
				t.Errorf("a key of type %s opens %q: %t", want, alg, got)
			}
		}
	}
}

func TestNameKeys_GivesThumbprints(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	alone := []gojose.JSONWebKey{{Key: keys.p256}}
	if NameKeys(alone); len(alone[0].KeyID) != 43 {
		t.Errorf("a single key is called %q", alone[0].KeyID)
	}
	NameKeys(nil)

	var example gojose.JSONWebKey // RFC 8037 A.3
	if err := json.Unmarshal([]byte(`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`), &example); err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader) // no JWK has this curve
	if err != nil {
		t.Fatal(err)
	}
	several := []gojose.JSONWebKey{
		example, {Key: keys.rsa, KeyID: "mine"}, {Key: keys.rsa2}, {Key: keys.p384}, {Key: keys.ed},
		{}, {Key: "text"}, {Key: new(ecdsa.PrivateKey)}, {Key: p224},
	}
	NameKeys(several)
	if several[0].KeyID != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" || several[1].KeyID != "mine" {
		t.Errorf("the kids are %q and %q", several[0].KeyID, several[1].KeyID)
	}
	var kids []string
	for i, key := range several[:5] {
		if key.KeyID == "" || slices.Contains(kids, key.KeyID) {
			t.Errorf("key %d is called %q, beside %q", i, key.KeyID, kids)
		}
		kids = append(kids, key.KeyID)
	}
	for i, key := range several[5:] {
		if key.KeyID != "" {
			t.Errorf("key %d, which is not usable, is called %q", 5+i, key.KeyID)
		}
	}
}

func TestCertificateKey_CarriesTheCertificate(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	for _, key := range []crypto.Signer{keys.rsa, keys.p521} {
		template := &x509.Certificate{SerialNumber: big.NewInt(1)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(der)
		got := CertificateKey(leaf)
		if got.KeyID != base64.RawURLEncoding.EncodeToString(sum[:]) || len(got.Certificates) != 1 || got.Certificates[0] != leaf {
			t.Errorf("the key is %+v", got)
		}
		if !got.IsPublic() || !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(got.Key) {
			t.Errorf("the key is a %T that is not the certificate's", got.Key)
		}
		if got.Use != "sig" {
			// Otherwise a provider may encrypt to it, which nothing here can open.
			t.Errorf("the key is for %q", got.Use)
		}
		if _, err := got.MarshalJSON(); err != nil {
			t.Errorf("the key cannot be published: %v", err)
		}
	}
}

func pemOf(t testing.TB, kind string, der []byte, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func pkcs8(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pemOf(t, "PRIVATE KEY", der, err)
}

func jsonOf(t testing.TB, value any) []byte {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

const (
	noKey        = "holds neither a JWK nor a PEM key"
	noPrivateKey = "holds no RSA, EC or Ed25519 private key"
	publicJWK    = "holds a JWK without its private part"
)

func setOf(t testing.TB, keys ...gojose.JSONWebKey) []byte {
	t.Helper()
	return jsonOf(t, gojose.JSONWebKeySet{Keys: keys})
}

// sec1 returns testKeys().p384 in the form of openssl ecparam -genkey, without
// the curve's parameters that it writes in front.
func sec1(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(testKeys().p384)
	return pemOf(t, "EC PRIVATE KEY", der, err)
}

func curveParameters(t testing.TB) []byte {
	t.Helper()
	return pemOf(t, "EC PARAMETERS", []byte{0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22}, nil)
}

// spki returns a public key as PEM.
func spki(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(testKeys().p256.Public())
	return pemOf(t, "PUBLIC KEY", der, err)
}

// keyAgreement returns an X25519 key, which cannot sign, as PEM.
func keyAgreement(t testing.TB) []byte {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return pkcs8(t, key)
}

func TestParsePrivateKeys_OfEveryForm(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	ecKey := sec1(t)
	one := gojose.JSONWebKey{Key: keys.ed, KeyID: "2026", Algorithm: "EdDSA", Use: "sig"}
	for _, tt := range []struct {
		what string
		file []byte
		keys []crypto.PrivateKey
	}{
		{"PKCS #8 with RSA", pkcs8(t, keys.rsa), []crypto.PrivateKey{keys.rsa}},
		{"PKCS #8 with EC", pkcs8(t, keys.p256), []crypto.PrivateKey{keys.p256}},
		{"PKCS #8 with Ed25519", pkcs8(t, keys.ed), []crypto.PrivateKey{keys.ed}},
		{"PKCS #1", pemOf(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(keys.rsa), nil), []crypto.PrivateKey{keys.rsa}},
		{"SEC 1", ecKey, []crypto.PrivateKey{keys.p384}},
		{"SEC 1 behind the curve's parameters", slices.Concat(curveParameters(t), ecKey), []crypto.PrivateKey{keys.p384}},
		{"text around the PEM block", slices.Concat([]byte("Bag Attributes\n"), ecKey, []byte("\n\n")), []crypto.PrivateKey{keys.p384}},
		{"two PEM keys, of which the first counts", slices.Concat(spki(t), ecKey, pkcs8(t, keys.rsa)), []crypto.PrivateKey{keys.p384}},
		{"a key for key agreement before another", slices.Concat(keyAgreement(t), ecKey), []crypto.PrivateKey{keys.p384}},
		{"a JWK", jsonOf(t, one), []crypto.PrivateKey{keys.ed}},
		{"a JWK Set", setOf(t, one), []crypto.PrivateKey{keys.ed}},
		{"a JWK Set of two", setOf(t, one, gojose.JSONWebKey{Key: keys.rsa}), []crypto.PrivateKey{keys.ed, keys.rsa}},
	} {
		got, err := ParsePrivateKeys(tt.file)
		if err != nil || len(got) != len(tt.keys) {
			t.Errorf("%s: %d keys, %v, want %d", tt.what, len(got), err, len(tt.keys))
			continue
		}
		for i, key := range got {
			if !tt.keys[i].(interface{ Equal(crypto.PrivateKey) bool }).Equal(key.Key) {
				t.Errorf("%s: key %d is another one", tt.what, i)
			}
		}
	}
	got, err := ParsePrivateKeys(setOf(t, one))
	if err != nil || got[0].KeyID != "2026" || got[0].Algorithm != "EdDSA" || got[0].Use != "sig" {
		t.Errorf("a JWK lost its kid, alg or use: %v, %v", got, err)
	}
}

func TestParsePrivateKeys_TakesTheCertificateOfTheKey(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	certificate := func(signer crypto.Signer) []byte {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
		return pemOf(t, "CERTIFICATE", der, err)
	}
	own, others, key := certificate(keys.p256), certificate(keys.rsa), pkcs8(t, keys.p256)
	for what, file := range map[string][]byte{
		"behind the key": slices.Concat(key, own), "before it": slices.Concat(own, key),
		"behind another's": slices.Concat(others, key, own),
	} {
		got, err := ParsePrivateKeys(file)
		if err != nil || len(got[0].Certificates) != 1 || !keys.p256.PublicKey.Equal(got[0].Certificates[0].PublicKey) {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
	for what, file := range map[string][]byte{
		"none": key, "another's": slices.Concat(key, others), "a broken one": slices.Concat(key, pemOf(t, "CERTIFICATE", []byte{1}, nil)),
	} {
		if got, err := ParsePrivateKeys(file); err != nil || len(got[0].Certificates) != 0 {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
}

func TestParsePrivateKeys_Refuses(t *testing.T) {
	t.Parallel()
	private := gojose.JSONWebKey{Key: testKeys().ed}
	public := gojose.JSONWebKey{Key: testKeys().p256.Public()}
	symmetric := gojose.JSONWebKey{Key: []byte("s3cret-of-32-bytes-for-testing-1")}
	for _, tt := range []struct {
		what string
		file []byte
		want string
	}{
		{"an empty file", nil, noKey},
		{"garbage", []byte("\x00\xffgarbage"), noKey},
		{"JSON that is not a JWK", []byte(`{"keys":[]}`), noKey},
		{"a JWK of an unknown type", []byte(`{"kty":"quantum","s3cret":"s3cret"}`), noKey},
		{"a public key", spki(t), noPrivateKey},
		{"a key for key agreement", keyAgreement(t), noPrivateKey},
		{"a PEM block that holds garbage", pemOf(t, "PRIVATE KEY", []byte("s3cret"), nil), noPrivateKey},
		{"the curve's parameters alone", curveParameters(t), noPrivateKey},
		{"a public JWK", jsonOf(t, public), publicJWK},
		{"a JWK Set with a public key", setOf(t, private, public), publicJWK},
		{"a shared secret", jsonOf(t, symmetric), noPrivateKey},
		{"a JWK Set with a shared secret", setOf(t, private, symmetric), noPrivateKey},
	} {
		if got, err := ParsePrivateKeys(tt.file); err == nil || err.Error() != tt.want || got != nil {
			t.Errorf("%s: %d keys, %v, want %s", tt.what, len(got), err, tt.want)
		}
	}
}

// FuzzParsePrivateKeys checks that nothing but private keys is returned, and that
// the errors are ours.
func FuzzParsePrivateKeys(f *testing.F) {
	keys := testKeys()
	f.Add(pkcs8(f, keys.p256))
	f.Add(pkcs8(f, keys.ed))
	f.Add(jsonOf(f, gojose.JSONWebKey{Key: keys.p256}))
	f.Add(setOf(f, gojose.JSONWebKey{Key: keys.ed}, gojose.JSONWebKey{Key: keys.p384.Public()}))
	f.Add([]byte(`{"kty":"oct","k":"AAAA"}`))
	f.Add([]byte("-----BEGIN " + "PRIVATE KEY-----\n\n-----END PRIVATE KEY-----\n")) // an empty block
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := ParsePrivateKeys(data)
		if err != nil {
			if !slices.Contains([]string{noKey, noPrivateKey, publicJWK}, err.Error()) {
				t.Fatalf("the error is %v", err)
			}
			return
		}
		for _, key := range got {
			if key.IsPublic() || !isPrivateKey(key.Key) {
				t.Fatalf("a %T was taken for a private key", key.Key)
			}
		}
		if len(got) == 0 {
			t.Fatal("no key and no error")
		}
	})
}
