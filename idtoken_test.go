package oidcrp

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp/internal/strictjson"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

// idTokens verifies ID Tokens of its own making with app's client.
type idTokens struct {
	*testApp
	metadata *Metadata
}

func newIDTokens(t testing.TB, s setup) *idTokens {
	t.Helper()
	app := newTestApp(t, s)
	m, err := app.client.Metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &idTokens{app, m}
}

// verify returns what the client says of a sound ID Token with changes made to
// its claims; a nil value takes a claim away.
func (v *idTokens) verify(t testing.TB, alg string, changes map[string]any, expected *expectedIDToken) (*idToken, error) {
	t.Helper()
	claims := v.provider.IDTokenClaims(oidctest.ClientID, "alice")
	claims["nonce"] = "the-nonce"
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	return v.client.flow.verifyIDToken(t.Context(), v.metadata, v.provider.SignClaims(alg, claims, nil), expected)
}

// at returns the time of app's clock, d later, as a NumericDate.
func (v *idTokens) at(d time.Duration) int64 { return v.clock.Now().Add(d).Unix() }

// claimRow is a claim, and the rule that refuses it; empty if none does.
type claimRow struct {
	what  string
	claim string
	value any
	check string
}

func (v *idTokens) test(t *testing.T, expected *expectedIDToken, rows []claimRow) {
	t.Helper()
	for _, tt := range rows {
		_, err := v.verify(t, "ES256", map[string]any{tt.claim: tt.value}, expected)
		if tt.check == "" {
			if err != nil {
				t.Errorf("%s: %v, want it accepted", tt.what, err)
			}
			continue
		}
		wantRefusal(t, tt.what, err, tt.check)
		code := CodeTokenRefused
		if tt.check == "acr" && expected.acr != nil || tt.check == "auth_time" && expected.maxAge != nil {
			code = CodeRequirementUnmet
		}
		if got := codeOf(err); got != code {
			t.Errorf("%s: the code is %s, want %s", tt.what, got, code)
		}
	}
}

func TestTheRulesForAnIDToken(t *testing.T) {
	t.Parallel()
	v := newIDTokens(t, setup{config: func(c *Config) { c.Provider.TrustedAudiences = []string{"api"} }})
	issuer := v.provider.Issuer()
	v.test(t, &expectedIDToken{nonce: "the-nonce"}, []claimRow{
		{"nothing unusual", "x", nil, ""},

		{"iss of another provider", "iss", "https://op.example", "iss"},
		{"iss with a slash more", "iss", issuer + "/", "iss"},
		{"iss in capitals", "iss", strings.ToUpper(issuer), "iss"},
		{"no iss", "iss", nil, "iss"},

		{"aud as an array", "aud", []string{"client"}, ""},
		{"aud with a trusted audience", "aud", []string{"api", "client"}, ""},
		{"aud with an untrusted audience", "aud", []string{"client", "evil"}, "aud"},
		{"aud with a trusted audience alone", "aud", "api", "aud"},
		{"aud of another client", "aud", "client2", "aud"},
		{"aud in capitals", "aud", "CLIENT", "aud"},
		{"aud with a space", "aud", "client ", "aud"},
		{"an empty aud", "aud", []string{}, "aud"},
		{"no aud", "aud", nil, "aud"},

		{"azp that is this client", "azp", "client", ""},
		{"azp that is another", "azp", "api", "azp"},
		{"an empty azp", "azp", "", "azp"},

		{"exp a second inside the skew", "exp", v.at(-59 * time.Second), ""},
		{"exp at the end of the skew", "exp", v.at(-60 * time.Second), "exp"},
		{"exp long ago", "exp", v.at(-time.Hour), "exp"},
		{"exp of zero", "exp", 0, "exp"},
		{"exp with a fraction", "exp", float64(v.at(-60*time.Second)) + 0.5, ""},
		{"exp in a hundred years", "exp", v.at(100 * 365 * 24 * time.Hour), ""},
		{"no exp", "exp", nil, "exp"},

		{"iat at the end of the skew", "iat", v.at(60 * time.Second), ""},
		{"iat a second beyond the skew", "iat", v.at(61 * time.Second), "iat"},
		{"iat exactly a day ago", "iat", v.at(-24 * time.Hour), ""},
		{"iat a day and a second ago", "iat", v.at(-24*time.Hour - time.Second), "iat"},
		{"no iat", "iat", nil, "iat"},

		{"nbf at the end of the skew", "nbf", v.at(60 * time.Second), ""},
		{"nbf a second beyond the skew", "nbf", v.at(61 * time.Second), "nbf"},
		{"nbf long ago", "nbf", v.at(-time.Hour), ""},

		{"session_expiry to come", "session_expiry", v.at(time.Second), ""},
		{"session_expiry now", "session_expiry", v.at(0), "session_expiry"},
		{"session_expiry of zero", "session_expiry", 0, "session_expiry"},
		{"session_expiry as text", "session_expiry", "1", "session_expiry"},

		{"sub of 255 characters", "sub", strings.Repeat("s", 255), ""},
		{"sub of 256 characters", "sub", strings.Repeat("s", 256), "sub"},
		{"an empty sub", "sub", "", "sub"},
		{"sub outside of ASCII", "sub", "zoé", "sub"},
		{"sub with a line end", "sub", "a\nb", "sub"},
		{"sub with a zero", "sub", "a\x00", "sub"},
		{"no sub", "sub", nil, "sub"},

		{"another nonce", "nonce", "the-nonce1", "nonce"},
		{"an empty nonce", "nonce", "", "nonce"},
		{"no nonce", "nonce", nil, "nonce"},

		{"acr, though none was asked", "acr", "eidas1", ""},
		{"auth_time of long ago, though none was asked", "auth_time", 1, ""},
		{"at_hash of another token", "at_hash", "AAAAAAAAAAAAAAAAAAAAAA", "at_hash"},
		{"an empty at_hash", "at_hash", "", "at_hash"},

		{"iss of a wrong type", "iss", []string{issuer}, "iss"},
		{"sub of a wrong type", "sub", 42, "sub"},
		{"aud of a wrong type", "aud", 42, "aud"},
		{"aud with a number", "aud", []any{"client", 1}, "aud"},
		{"aud with an array", "aud", []any{[]any{"client"}}, "aud"},
		{"aud as an object", "aud", map[string]any{"client": true}, "aud"},
		{"exp as text", "exp", fmt.Sprint(v.at(time.Hour)), "exp"},
		{"exp before 1970", "exp", -1, "exp"},
		{"exp beyond time", "exp", 1e300, "exp"},
		{"iat as text", "iat", fmt.Sprint(v.at(0)), "iat"},
		{"nbf as a boolean", "nbf", true, "nbf"},
		{"auth_time as text", "auth_time", "1", "auth_time"},
		{"nonce of a wrong type", "nonce", []string{"the-nonce"}, "nonce"},
		{"azp of a wrong type", "azp", []string{"client"}, "azp"},
		{"acr of a wrong type", "acr", 2, "acr"},
		{"amr of a wrong type", "amr", "pwd", "amr"},
		{"sid of a wrong type", "sid", 1, "sid"},
		{"at_hash of a wrong type", "at_hash", 1, "at_hash"},
	})
}

func TestACRAndAuthTimeThatWereAskedFor(t *testing.T) {
	t.Parallel()
	v := newIDTokens(t, setup{})
	v.test(t, &expectedIDToken{nonce: "the-nonce", acr: []string{"eidas2", "eidas3"}}, []claimRow{
		{"the first acr", "acr", "eidas2", ""},
		{"the second", "acr", "eidas3", ""},
		{"a lower one", "acr", "eidas1", "acr"},
		{"the same in capitals", "acr", "EIDAS2", "acr"},
		{"several in one", "acr", "eidas2 eidas3", "acr"},
		{"none", "acr", nil, "acr"},
	})
	v.test(t, &expectedIDToken{nonce: "the-nonce", maxAge: new(int64(300))}, []claimRow{
		{"auth_time of now", "auth_time", v.at(0), ""},
		{"auth_time at the end of max_age and skew", "auth_time", v.at(-360 * time.Second), ""},
		{"auth_time a second before", "auth_time", v.at(-361 * time.Second), "auth_time"},
		{"auth_time ahead within the skew", "auth_time", v.at(60 * time.Second), ""},
		{"auth_time ahead", "auth_time", v.at(61 * time.Second), "auth_time"},
		{"no auth_time", "auth_time", nil, "auth_time"},
	})
	v.test(t, &expectedIDToken{nonce: "the-nonce", maxAge: new(int64(0))}, []claimRow{
		{"a fresh login", "auth_time", v.at(-60 * time.Second), ""},
		{"one that is not so fresh", "auth_time", v.at(-61 * time.Second), "auth_time"},
	})
	v.test(t, &expectedIDToken{}, []claimRow{{"a refresh, without nonce", "nonce", nil, ""}})
}

func TestTheSkewIsConfigurable(t *testing.T) {
	t.Parallel()
	v := newIDTokens(t, setup{config: func(c *Config) { c.Provider.ClockSkew = 5 * time.Minute }})
	v.test(t, &expectedIDToken{nonce: "the-nonce", maxAge: new(int64(0))}, []claimRow{
		{"exp inside", "exp", v.at(-299 * time.Second), ""},
		{"exp at the end", "exp", v.at(-300 * time.Second), "exp"},
		{"iat at the end", "iat", v.at(300 * time.Second), ""},
		{"iat beyond", "iat", v.at(301 * time.Second), "iat"},
		{"nbf at the end", "nbf", v.at(300 * time.Second), ""},
		{"nbf beyond", "nbf", v.at(301 * time.Second), "nbf"},
		{"auth_time at the end", "auth_time", v.at(-300 * time.Second), ""},
		{"auth_time beyond", "auth_time", v.at(-301 * time.Second), "auth_time"},
	})
}

func TestClaimsOfAnIDTokenAreReadByExactName(t *testing.T) {
	t.Parallel()
	v := newIDTokens(t, setup{})
	names := []string{"iss", "sub", "aud", "exp", "iat", "nonce"}
	for _, name := range names {
		claims := v.provider.IDTokenClaims(oidctest.ClientID, "alice")
		claims["nonce"] = "the-nonce"
		value := claims[name]
		_, err := v.verify(t, "RS256", map[string]any{name: nil, strings.ToUpper(name): value}, &expectedIDToken{nonce: "the-nonce"})
		wantRefusal(t, name+" in capitals", err, name)
	}
	token, err := v.verify(t, "RS256", map[string]any{
		"SUB": "mallory", "Acr": "eidas3", "AUTH_TIME": 1, "AMR": []string{"mfa"}, "Sid": "x", "ISS": "x", "Aud": "x", "EXP": 1,
	}, &expectedIDToken{nonce: "the-nonce"})
	if err != nil {
		t.Fatal(err)
	}
	if token.subject != "alice" || token.acr != "" || token.amr != nil || token.sid != "" {
		t.Errorf("the token reads as %+v", token)
	}
}

// signedPayload signs a payload of any content with a key of the client secret.
func signedPayload(payload string) string {
	return sign(head("HS256", ""), payload, []byte(oidctest.ClientSecret))
}

func TestThePayloadIsOneStrictObject(t *testing.T) {
	t.Parallel()
	v := newIDTokens(t, setup{config: func(c *Config) { c.Registration.IDTokenSignedResponseAlg = "HS256" }})
	claims := v.provider.IDTokenClaims(oidctest.ClientID, "alice")
	claims["nonce"] = "n"
	sound, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	inside := strings.TrimSuffix(string(sound), "}")
	for _, tt := range []struct {
		what, payload string
		ok            bool
	}{
		{"as it should be", inside + `}`, true},
		{"null for a claim without value", inside + `,"acr":null,"amr":null,"azp":null,"at_hash":null}`, true},
		{"white space around", " \n" + inside + "\t}\r\n ", true},
		{"sub twice", inside + `,"sub":"alice"}`, false},
		{"sub twice, once with an escape", inside + `,"s\u0075b":"mallory"}`, false},
		{"any claim twice", inside + `,"x":1,"x":1}`, false},
		{"a claim twice deep inside", inside + `,"x":[{"y":1,"y":2}]}`, false},
		{"another object behind", inside + `}{}`, false},
		{"an array around", `[` + inside + `}]`, false},
		{"a comma too many", inside + `,}`, false},
		{"no UTF-8", inside + ",\"x\":\"\xff\"}", false},
		{"nested too deeply", inside + `,"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, false},
		{"null", "null", false},
		{"nothing but a string", `"x"`, false},
		{"cut off", inside, false},
	} {
		_, err := v.client.flow.verifyIDToken(t.Context(), v.metadata, signedPayload(tt.payload), &expectedIDToken{nonce: "n"})
		if tt.ok != (err == nil) {
			t.Errorf("%s: %v", tt.what, err)
		}
		if err != nil {
			wantRefusal(t, tt.what, err, "claims")
		}
	}
}

func TestNoIDTokenIsRefused(t *testing.T) {
	t.Parallel()
	v := newIDTokens(t, setup{})
	_, err := v.client.flow.verifyIDToken(t.Context(), v.metadata, "", &expectedIDToken{})
	wantRefusal(t, "none", err, "id_token")
}

// algSetup is a provider and a client that agree on one algorithm.
func algSetup(alg string, config func(*Config)) setup {
	secret := strings.Repeat("0123456789abcdef", 4)
	return setup{
		provider: oidctest.Config{Clients: []oidctest.Client{{ID: oidctest.ClientID, Secret: secret, IDTokenSignedResponseAlg: alg}}},
		config: func(c *Config) {
			c.ClientSecret = secret
			if config != nil {
				config(c)
			}
		},
	}
}

func TestSigningInWithEveryAlgorithm(t *testing.T) {
	t.Parallel()
	for _, alg := range everyAlg {
		if alg == "Ed25519" { // the provider knows it as EdDSA
			continue
		}
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			app := newTestApp(t, algSetup(alg, func(c *Config) { c.Registration.IDTokenSignedResponseAlg = alg }))
			browser := app.signIn(t)
			if got := app.who(t, browser, "/me").Sub; got != "alice" {
				t.Errorf("signed in as %q, want alice", got)
			}
		})
	}
}

func TestAnAlgorithmThatWasNotAgreedIsRefused(t *testing.T) {
	t.Parallel()
	// The provider has a key for each, and every signature is good.
	algs := []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"}
	verifier := func(pin string, advertised ...string) *idTokens {
		s := algSetup("ES256", func(c *Config) { c.Registration.IDTokenSignedResponseAlg = pin })
		s.provider.IDTokenSigningAlgValuesSupported = algs
		v := newIDTokens(t, s)
		if advertised != nil {
			v.metadata.IDTokenSigningAlgValuesSupported = advertised
		}
		return v
	}
	for _, pin := range algs {
		v := verifier(pin)
		for _, alg := range algs {
			_, err := v.verify(t, alg, nil, &expectedIDToken{nonce: "the-nonce"})
			if alg != pin {
				wantRefusal(t, alg+" where "+pin+" was agreed", err, "alg")
			} else if err != nil {
				t.Errorf("%s where it was agreed: %v", alg, err)
			}
		}
		// Nothing can agree to it. It has no signature to begin with.
		_, err := v.verify(t, "none", nil, &expectedIDToken{nonce: "the-nonce"})
		wantRefusal(t, "none where "+pin+" was agreed", err, "format")
	}
	for _, tt := range []struct {
		advertised, accepted []string
	}{
		{[]string{"ES256", "PS512"}, []string{"ES256", "PS512"}},
		{[]string{"none", "HS256", "RS512"}, []string{"RS512"}}, // symmetric ones only when named in the Config
		{[]string{"none", "HS256"}, []string{"RS256"}},
		{[]string{}, []string{"RS256"}},
		{[]string{"es256", "X"}, []string{"RS256"}},
	} {
		v := verifier("", tt.advertised...)
		for _, alg := range algs {
			_, err := v.verify(t, alg, nil, &expectedIDToken{nonce: "the-nonce"})
			if !slices.Contains(tt.accepted, alg) {
				wantRefusal(t, fmt.Sprintf("%s where the provider advertises %q", alg, tt.advertised), err, "alg")
			} else if err != nil {
				t.Errorf("%s where the provider advertises %q: %v", alg, tt.advertised, err)
			}
		}
	}
}

func TestEd25519ByItsOwnName(t *testing.T) {
	t.Parallel()
	v := newIDTokens(t, setup{config: func(c *Config) { c.Registration.IDTokenSignedResponseAlg = "Ed25519" }})
	key := testKeys().Ed
	set, err := json.Marshal(map[string]any{"keys": []any{jwk(key, "kid", "ed", "use", "sig")}})
	if err != nil {
		t.Fatal(err)
	}
	v.provider.Handle(oidctest.EndpointJWKS, respond(200, "application/jwk-set+json", string(set)))
	claims := v.provider.IDTokenClaims(oidctest.ClientID, "alice")
	for _, tt := range []struct {
		atHash string
		ok     bool
	}{{halfHashOf(sha512.New(), "the-token"), true}, {halfHashOf(sha256.New(), "the-token"), false}} {
		claims["at_hash"] = tt.atHash
		payload, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		token, err := v.client.flow.verifyIDToken(t.Context(), v.metadata, sign(head("Ed25519", "ed"), string(payload), key),
			&expectedIDToken{accessToken: "the-token"})
		if tt.ok && (err != nil || token.subject != "alice") {
			t.Errorf("%+v, %v", token, err)
		} else if !tt.ok {
			wantRefusal(t, "at_hash by SHA-256", err, "at_hash")
		}
	}
}

func halfHashOf(h hash.Hash, text string) string {
	h.Write([]byte(text))
	sum := h.Sum(nil)
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

func TestAtHashUsesTheHashOfTheAlgorithm(t *testing.T) {
	t.Parallel()
	const accessToken = "the-token"
	hashes := map[int]string{
		256: halfHashOf(sha256.New(), accessToken),
		384: halfHashOf(sha512.New384(), accessToken),
		512: halfHashOf(sha512.New(), accessToken),
	}
	for alg, size := range map[string]int{
		"RS256": 256, "PS256": 256, "ES256": 256, "HS256": 256, "RS384": 384, "PS384": 384, "ES384": 384, "HS384": 384,
		"RS512": 512, "PS512": 512, "ES512": 512, "HS512": 512, "EdDSA": 512, "Ed25519": 512,
	} {
		for of, value := range hashes {
			err := checkAccessTokenHash(
				&idToken{alg: alg, atHash: value, hasAtHash: true}, &expectedIDToken{accessToken: accessToken})
			if of == size && err != nil {
				t.Errorf("%s with %d bits: %v", alg, of, err)
			} else if of != size && err == nil {
				t.Errorf("%s with %d bits is accepted", alg, of)
			}
		}
		if checkAccessTokenHash(&idToken{alg: alg, atHash: hashes[size], hasAtHash: true}, &expectedIDToken{accessToken: "another"}) == nil {
			t.Errorf("%s: at_hash of another access token is accepted", alg)
		}
	}
	if err := checkAccessTokenHash(&idToken{alg: "RS256"}, &expectedIDToken{accessToken: accessToken}); err != nil {
		t.Errorf("no at_hash: %v", err) // the code flow allows it, OIDC Core 3.1.3.6
	}
}

func TestWhatIsReadOfAnIDToken(t *testing.T) {
	t.Parallel()
	v := newIDTokens(t, setup{config: func(c *Config) { c.Provider.TrustedAudiences = []string{"api"} }})
	at := time.Unix(v.at(0), 0)
	token, err := v.verify(t, "RS256", map[string]any{
		"aud": []string{"client", "api"}, "azp": "client", "acr": "eidas2", "amr": []string{"pwd", "mfa"}, "sid": "s1",
		"auth_time": at.Unix(), "nbf": at.Unix(), "at_hash": halfHashOf(sha256.New(), "the-token"),
	}, &expectedIDToken{nonce: "the-nonce", acr: []string{"eidas2"}, maxAge: new(int64(60)), accessToken: "the-token"})
	if err != nil {
		t.Fatal(err)
	}
	if len(strings.Split(token.raw, ".")) != 3 || !bytes.Contains(token.payload, []byte(`"alice"`)) {
		t.Errorf("raw is %q, payload %s", token.raw, token.payload)
	}
	got := fmt.Sprint(token.alg, token.issuer, token.subject, token.audience, token.azp, token.nonce, token.acr,
		token.amr, token.sid, token.authTime.Unix(), token.issuedAt.Unix(), token.expiry.Unix(), token.notBefore.Unix())
	want := fmt.Sprint("RS256", v.provider.Issuer(), "alice", []string{"client", "api"}, "client", "the-nonce", "eidas2",
		[]string{"pwd", "mfa"}, "s1", at.Unix(), at.Unix(), at.Add(time.Hour).Unix(), at.Unix())
	if got != want {
		t.Errorf("it reads as\n%s\nwant\n%s", got, want)
	}
}

func TestARefusalSaysWhatWasExpected(t *testing.T) {
	t.Parallel()
	v := newIDTokens(t, setup{})
	issuer := v.provider.Issuer()
	for _, tt := range []struct {
		claim string
		value any
		want  string
	}{
		{"iss", "https://evil.example", fmt.Sprintf(`iss: expected %q, got "https://evil.example"`, issuer)},
		{"aud", []string{"a", "b"}, `aud: expected "client", got "a b"`},
		{"aud", []string{"client", "evil"}, `aud: expected no untrusted audience, got "evil"`},
		{"azp", "evil", `azp: expected "client", got "evil"`},
		{"exp", 1, `exp: expected a time to come, got "1970-01-01T00:00:01Z"`},
		{"iat", 2, `iat: expected a time of the last day, got "1970-01-01T00:00:02Z"`},
		{"sub", "a\n\u202e\u00a0b" + strings.Repeat("c", 300), `sub: expected 1 to 255 ASCII characters, got "a...b` + strings.Repeat("c", 92) + `…"`},
		{"exp", nil, `exp: expected one`},
		{"iat", nil, `iat: expected one`},
		{"auth_time", nil, `auth_time: expected one, since max_age was sent`},
		{"acr", "eidas1", `acr: expected one of ["eidas2"], got "eidas1"`},
		{"nonce", "n0t-to-be-shown", `nonce: expected the one that was sent`},
		{"at_hash", "n0t-to-be-shown", `at_hash: expected that of the access token`},
	} {
		_, err := v.verify(t, "RS256", map[string]any{"acr": "eidas2", tt.claim: tt.value}, &expectedIDToken{
			nonce: "the-nonce", acr: []string{"eidas2"}, maxAge: new(int64(60)), accessToken: "x",
		})
		var refused *TokenError
		if !errors.As(err, &refused) {
			t.Errorf("%s: error is %v", tt.claim, err)
			continue
		}
		if want := "oidcrp: ID Token refused: " + tt.want; refused.Error() != want {
			t.Errorf("error is\n%s\nwant\n%s", refused, want)
		}
		if strings.Contains(err.Error(), "the-nonce") {
			t.Errorf("the nonce is in %v", err)
		}
	}
}

func TestAnACRThatIsTooLowIsNoForgery(t *testing.T) {
	t.Parallel()
	var refusals []LoginEvent
	app := newTestApp(t, setup{config: func(c *Config) { c.Trace.LoginRefused = collect(&refusals) }})
	app.provider.Misbehave(fault.IDTokenLowerACR)
	res, err := app.provider.Visit(app.provider.Browser(), app.URL+"/admin", "alice")
	if err != nil {
		t.Fatal(err)
	}
	readBody(t, res)
	if res.StatusCode != http.StatusForbidden || len(refusals) != 1 || refusals[0].Code != CodeRequirementUnmet {
		t.Errorf("the answer is %s, the refusals %+v", res.Status, refusals)
	}
	if n := app.provider.Count(oidctest.EndpointUserInfo); n != 0 {
		t.Errorf("%d UserInfo requests after a refused ID Token", n)
	}
}

// FuzzIDTokenClaims checks that readIDToken never panics, and that what it
// accepts says the same to every other reader of it.
func FuzzIDTokenClaims(f *testing.F) {
	for _, seed := range []string{
		`{"iss":"https://op.example","sub":"alice","aud":"client","exp":1800000000,"iat":1799990000.5,"nonce":"n"}`,
		`{"aud":["a","b"],"azp":"a","auth_time":1,"acr":"eidas2","amr":["pwd","mfa"],"sid":"s","at_hash":"x","nbf":0}`,
		`{"sub":null,"amr":null,"aud":null,"exp":null}`,
		`{"sub":"a","SUB":"b","s\u0075b":"c"}`,
		`{"sub":"\ud800","acr":"\u0000","amr":[]}`,
		`{"exp":1e300}`, `{"exp":-0}`, `{"auth_time":1e9,"iat":0.1}`, `{"aud":[null]}`, `{"amr":[null]}`, `{}`, `[]`, ``, "\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		token, err := readIDToken(payload)
		if err != nil {
			if text := err.Error(); len(text) > 400 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }) {
				t.Fatalf("error is %q", text)
			}
			return
		}
		members, err := strictjson.Object(payload)
		if err != nil {
			t.Fatalf("accepted, but not strictly: %v", err)
		}
		for name, got := range map[string]string{"iss": token.issuer, "sub": token.subject, "nonce": token.nonce, "acr": token.acr} {
			if want, _, err := members.String(name); err != nil || got != want {
				t.Fatalf("%s is %q, and %q strictly (%v)", name, got, want, err)
			}
		}
		// A session decodes the payload once more, later.
		s := &Session{idToken: storedJWS{payload: payload}}
		s.decodeLater()
		if s.Issuer() != token.issuer || s.Subject() != token.subject || s.ACR() != token.acr || s.SID() != token.sid ||
			!slices.Equal(s.AMR(), token.amr) || s.facts().Nonce != token.nonce {
			t.Fatalf("the session reads it as %+v, the verifier as %+v", s.facts(), token)
		}
		if at := token.authTime; !at.IsZero() && at.Unix() != 0 && !s.AuthTime().Equal(at.Truncate(time.Second)) {
			t.Fatalf("the session reads auth_time as %v, the verifier as %v", s.AuthTime(), at)
		}
	})
}
