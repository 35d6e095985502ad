package oidcrp

// This file holds what many tests of this package need. The tests of package
// oidcrp_test have it under the exported names at the end.

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/go-jose/go-jose/v4"
)

// testKey returns a cookie key; the same n gives the same key.
func testKey(n byte) []byte {
	sum := sha256.Sum256([]byte{n})
	return sum[:]
}

// A testClock is a clock that moves only by Advance.
type testClock struct {
	mu  sync.Mutex
	now time.Time // guarded by mu
}

func newTestClock() *testClock {
	// The real time, so that the cookie jars of browsers agree.
	return &testClock{now: time.Now().Truncate(time.Second)}
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A testLog collects what an app logs.
type testLog struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *testLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// collect returns a hook that appends its events to list.
func collect[E any](list *[]E) func(context.Context, E) {
	var mu sync.Mutex
	return func(_ context.Context, ev E) {
		mu.Lock()
		defer mu.Unlock()
		*list = append(*list, ev)
	}
}

// respond returns a handler that always answers the same.
func respond(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// roundTripper is a function as a transport.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// noNetwork is a transport for what must not make requests.
type noNetwork struct{ t testing.TB }

func (n noNetwork) RoundTrip(r *http.Request) (*http.Response, error) {
	n.t.Errorf("a request to %s", r.URL)
	return nil, errors.New("no network here")
}

// wantCode fails the test unless err is an *Error with code, and counts as that
// code only.
func wantCode(t testing.TB, err error, code Code) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("error is %v, want code %q", err, string(code))
	}
	for _, other := range allCodes {
		if errors.Is(err, other) != (other == code) {
			t.Fatalf("errors.Is(%v, %q) is wrong", err, string(other))
		}
	}
	return e
}

// allCodes are the codes of this version, and one that it does not know.
var allCodes = []Code{
	CodeConfigInvalid, CodeCanceled, CodeProviderUnavailable, CodeProviderInvalid, CodeUnsupportedByProvider, CodeCrossOrigin, CodeInvalidRequest,
	CodeTransactionLost, CodeIssuerMismatch, CodeProviderError, CodeClientRefused, CodeTokenRefused,
	CodeUserInfoRefused, CodeLoginRefused, CodeSessionTooLarge, CodeNoSession, CodeLoginRequired,
	CodeRequirementUnmet, CodeStoreUnavailable, CodeCookieKeysUnavailable, CodeInternal, "a code to come",
}

// checkText fails the test unless err's text is short and printable.
func checkText(t testing.TB, err error) {
	t.Helper()
	text := err.Error()
	if len(text) > 2000 || strings.ContainsFunc(text, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }) {
		t.Fatalf("the error has %d bytes and begins %.300q", len(text), text)
	}
}

// setEnv sets these variables, and no others that ConfigFromEnv reads, for the
// time of the test.
func setEnv(t testing.TB, vars map[string]string) {
	t.Helper()
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "OIDC_") {
			t.Setenv(name, "")
		}
	}
	for name, value := range vars {
		t.Setenv(name, value)
	}
}

// TestCacheBytes is [Sessions.CacheBytes] of the tests: none with OIDCRP_TEST_CACHE=off,
// so that every test can show that it does not depend on it.
var TestCacheBytes = map[string]int{"off": -1}[os.Getenv("OIDCRP_TEST_CACHE")]

// soundConfig returns a configuration that New accepts, with change made to it.
// Its provider does not exist.
func soundConfig(change func(*Config)) Config {
	cfg := Config{
		Issuer:       "https://op.example",
		ClientID:     "app",
		ClientSecret: "a-client-secret-that-is-32-bytes",
		BaseURL:      "https://app.example",
		CookieKeys:   Keys(testKey(1)),
		Logger:       slog.New(slog.DiscardHandler),
		Sessions:     Sessions{CacheBytes: TestCacheBytes},
	}
	if change != nil {
		change(&cfg)
	}
	return cfg
}

// soundMetadata is that of the provider of soundConfig, with change made to it.
func soundMetadata(change func(*Metadata)) *Metadata {
	m := &Metadata{
		Issuer:                "https://op.example",
		AuthorizationEndpoint: "https://op.example/authorize",
		TokenEndpoint:         "https://op.example/token",
		UserInfoEndpoint:      "https://op.example/userinfo",
		JWKSURI:               "https://op.example/jwks",
	}
	if change != nil {
		change(m)
	}
	return m
}

// mustNew returns the Client of soundConfig with change made to it.
func mustNew(t testing.TB, change func(*Config)) *Client {
	t.Helper()
	c, err := New(soundConfig(change))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A keyChain has keys of each type.
type keyChain struct {
	RSA, RSA2        *rsa.PrivateKey
	P256, P384, P521 *ecdsa.PrivateKey
	Other            *ecdsa.PrivateKey // another P-256
	Ed               ed25519.PrivateKey
}

// testKeys are made once: RSA keys take their time.
var testKeys = sync.OnceValue(func() (k keyChain) {
	k.RSA, _ = rsa.GenerateKey(rand.Reader, 2048)
	k.RSA2, _ = rsa.GenerateKey(rand.Reader, 2048)
	k.P256, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	k.P384, _ = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	k.P521, _ = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	k.Other, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, k.Ed, _ = ed25519.GenerateKey(rand.Reader)
	return k
})

// jwk returns key's public part as a JWK with the members given as name, value,
// name, value.
func jwk(key crypto.Signer, members ...any) map[string]any {
	raw, err := json.Marshal(jose.JSONWebKey{Key: key.Public()})
	if err != nil {
		panic(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		panic(err)
	}
	for i := 0; i < len(members); i += 2 {
		m[members[i].(string)] = members[i+1]
	}
	return m
}

// sign makes a JWS with a header of any content, without the library that
// verifies it.
func sign(header, payload string, key any) string {
	input := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." +
		base64.RawURLEncoding.EncodeToString([]byte(payload))
	return input + "." + base64.RawURLEncoding.EncodeToString(signature(header, input, key))
}

// hashes are the hashes of the algorithms by the end of their names.
var hashes = map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}

func signature(header, input string, key any) []byte {
	var h struct{ Alg string }
	_ = json.Unmarshal([]byte(header), &h)
	hash, ok := hashes[h.Alg[max(0, len(h.Alg)-3):]]
	if !ok {
		hash = crypto.SHA256
	}
	d := hash.New()
	d.Write([]byte(input))
	digest := d.Sum(nil)

	var sig []byte
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if strings.HasPrefix(h.Alg, "PS") {
			sig, _ = rsa.SignPSS(rand.Reader, key, hash, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			sig, _ = rsa.SignPKCS1v15(nil, key, hash, digest)
		}
	case *ecdsa.PrivateKey:
		r, s, _ := ecdsa.Sign(rand.Reader, key, digest)
		size := (key.Params().BitSize + 7) / 8
		sig = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	case ed25519.PrivateKey:
		sig = ed25519.Sign(key, []byte(input))
	case []byte:
		mac := hmac.New(hash.New, key)
		mac.Write([]byte(input))
		sig = mac.Sum(nil)
	}
	return sig
}

// head returns a JOSE header.
func head(alg, kid string) string {
	if kid == "" {
		return fmt.Sprintf(`{"alg":%q}`, alg)
	}
	return fmt.Sprintf(`{"alg":%q,"kid":%q}`, alg, kid)
}

// everyAlg is the widest pin there can be.
var everyAlg = []string{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
	"EdDSA", "Ed25519", "HS256", "HS384", "HS512",
}

// hostileTexts are what a provider or a browser may send to spoil a log.
var hostileTexts = map[string]string{
	"control characters": "a\r\nlevel=INFO msg=\"login succeeded\"\x00\x1b[2J\x7f",
	"invalid UTF-8":      "\xff\xfe\xed\xa0\x80é\xc3",
	"marks that turn":    "\u202egnirts\u2066\u200b\ufeff\u2028\u00a0",
	"markup":             `<script>alert(1)</script>"'`,
	"a megabyte":         strings.Repeat("é\xff\n", 1<<18),
	"format verbs":       "%s%d%!v(PANIC=",
}

// For package oidcrp_test.
type (
	TestClock    = testClock
	TestLog      = testLog
	RoundTripper = roundTripper
)

var (
	TestKey       = testKey
	NewTestClock  = newTestClock
	Respond       = respond
	WantCode      = wantCode
	AllCodes      = allCodes
	SoundConfig   = soundConfig
	SetEnv        = setEnv
	SoundMetadata = soundMetadata
	MustNew       = mustNew
	TestKeys      = testKeys
	Head          = head
	JWK           = jwk
	EveryAlg      = everyAlg
	HostileTexts  = hostileTexts

	StatusOf = statusOf
	CodeOf   = codeOf

	MaxReturnTo     = maxReturnTo
	MaxCallbackBody = int64(maxCallbackBody)
)

// Collect is collect.
func Collect[E any](list *[]E) func(context.Context, E) { return collect(list) }

// NoNetwork is noNetwork.
func NoNetwork(t testing.TB) http.RoundTripper { return noNetwork{t} }

// VariableOf is variableOf.
func VariableOf(field string) string { return variableOf(field) }

// Deviations returns the names of every field that New may log as a deviation.
func Deviations() []string {
	everything := &Config{
		ClientSecretFunc: func(context.Context) (string, error) { return "", nil },
		Tokens:           Tokens{Extra: url.Values{}, RefreshScopes: []string{}},
		Provider: Provider{
			MetadataURL: "x", AdjustMetadata: func(*Metadata) {}, JWKS: []byte{}, AcceptedIssuers: []string{},
			TrustedAudiences: []string{}, NoPKCE: true, NoUserInfo: true,
			AssertionAudience: audienceTokenEndpoint, AssertionThumbprint: true,
			EndSessionURL: "x", LogoutWithoutHint: true, LogoutHintRequired: true, RevocationWithoutHint: true, FrontchannelLogoutWithoutIssuer: true,
		},
	}
	return deviations(everything, func(field string) string { return field })
}
