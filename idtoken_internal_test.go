package oidcrp

import (
	"crypto"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp/internal/strictjson"
)

// tokenTime is the time at which the tokens of these tests are judged.
var tokenTime = time.Unix(1_800_000_000, 0)

// at returns the time d after tokenTime as a NumericDate.
func at(d time.Duration) int64 { return tokenTime.Add(d).Unix() }

// testRules are those of the client "client" at https://op.example, which trusts
// the audience "api" too.
func testRules() *rules {
	return &rules{
		issuer: "https://op.example", clientID: "client", trusted: []string{"api"}, skew: time.Minute,
		now: func() time.Time { return tokenTime },
	}
}

// soundClaims are those of an ID Token about alice, with changes made to them; a
// nil value takes a claim away.
func soundClaims(changes map[string]any) []byte {
	claims := map[string]any{
		"iss": "https://op.example", "aud": "client", "sub": "alice", "nonce": "the-nonce",
		"exp": at(time.Hour), "iat": at(0), "auth_time": at(0),
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return payload
}

// judge reads a payload and applies the rules to it, as verifyIDToken does with
// one whose signature holds.
func (ru *rules) judge(payload []byte, expected *expectedIDToken) (*idToken, error) {
	token, err := readIDToken(payload)
	if err == nil {
		token.alg = "RS256"
		err = ru.checkIDToken(token, expected)
	}
	return token, err
}

func TestRules_AcceptedIssuers(t *testing.T) {
	t.Parallel()
	const a, b = "https://op.example/a/v2.0", "https://op.example/b/v2.0"
	const every = "https://op.example/{tenantid}/v2.0"
	for _, tt := range []struct {
		accepted           []string
		iss, key, response string
		ok                 bool
	}{
		{nil, "https://op.example", "", "", true},
		{nil, a, "", "", false},
		{nil, "https://op.example", b, "", true}, // its only issuer: an odd member of a key is none of our business
		{[]string{a, b}, a, "", "", true},
		{[]string{a, b}, b, "", "", true},
		{[]string{a, b}, "https://op.example/c/v2.0", "", "", false},
		{[]string{a, b}, "https://op.example", "", "", false},
		{[]string{a, b}, a + "/", "", "", false},
		{[]string{a, b}, "", "", "", false},
		{[]string{}, "https://op.example", "", "", false},

		{[]string{every}, a, "", "", true},
		{[]string{every}, "https://op.example/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0", "", "", true},
		{[]string{every}, every, "", "", false},
		{[]string{every}, "https://op.example//v2.0", "", "", false},
		{[]string{every}, "https://op.example/v2.0", "", "", false},
		{[]string{every}, "https://op.example/a/b/v2.0", "", "", false},
		{[]string{every}, "https://op.example/../v2.0", "", "", false},
		{[]string{every}, "https://op.example/a%2fb/v2.0", "", "", false},
		{[]string{every}, "https://op.example/a?x=/v2.0", "", "", false},
		{[]string{every}, "https://op.example/a/v2.0/", "", "", false},
		{[]string{every}, "https://evil.example/a/v2.0", "", "", false},

		{[]string{a, b}, a, every, "", true},
		{[]string{a, b}, a, a, "", true},
		{[]string{a, b}, a, b, "", false},
		{[]string{every}, a, b, "", false},

		{[]string{a, b}, a, "", a, true},
		{[]string{a, b}, a, "", b, false},
	} {
		ru := testRules()
		ru.issuers = tt.accepted
		err := ru.checkIssuer(&idToken{issuer: tt.iss, keyIssuer: tt.key}, &expectedIDToken{issuer: tt.response})
		if ok := err == nil; ok != tt.ok {
			t.Errorf("iss %q of accepted %q, key %q, response %q: %v", tt.iss, tt.accepted, tt.key, tt.response, err)
		}
	}
}

// claimRow is a claim, and the rule that refuses it; empty if none does.
type claimRow struct {
	what  string
	claim string
	value any
	check string
}

// test judges sound claims with the claim of each row.
func (ru *rules) test(t *testing.T, expected *expectedIDToken, rows []claimRow) {
	t.Helper()
	for _, tt := range rows {
		_, err := ru.judge(soundClaims(map[string]any{tt.claim: tt.value}), expected)
		if tt.check != "" {
			wantRefusal(t, tt.what, err, tt.check)
		} else if err != nil {
			t.Errorf("%s: %v, want it accepted", tt.what, err)
		}
	}
}

func TestRules_ForAnIDToken(t *testing.T) {
	t.Parallel()
	ru := testRules()
	issuer := ru.issuer
	ru.test(t, &expectedIDToken{nonce: "the-nonce"}, []claimRow{
		{"nothing unusual", "x", nil, ""},

		{"iss of another provider", "iss", "https://evil.example", "iss"},
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

		{"exp a second inside the skew", "exp", at(-59 * time.Second), ""},
		{"exp at the end of the skew", "exp", at(-60 * time.Second), "exp"},
		{"exp long ago", "exp", at(-time.Hour), "exp"},
		{"exp of zero", "exp", 0, "exp"},
		{"exp with a fraction", "exp", float64(at(-60*time.Second)) + 0.5, ""},
		{"exp in a hundred years", "exp", at(100 * 365 * 24 * time.Hour), ""},
		{"no exp", "exp", nil, "exp"},

		{"iat at the end of the skew", "iat", at(60 * time.Second), ""},
		{"iat a second beyond the skew", "iat", at(61 * time.Second), "iat"},
		{"iat exactly a day ago", "iat", at(-24 * time.Hour), ""},
		{"iat a day and a second ago", "iat", at(-24*time.Hour - time.Second), "iat"},
		{"no iat", "iat", nil, "iat"},

		{"nbf at the end of the skew", "nbf", at(60 * time.Second), ""},
		{"nbf a second beyond the skew", "nbf", at(61 * time.Second), "nbf"},
		{"nbf long ago", "nbf", at(-time.Hour), ""},

		{"session_expiry to come", "session_expiry", at(time.Second), ""},
		{"session_expiry now", "session_expiry", at(0), "session_expiry"},
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
	})
}

func TestReadIDToken_RefusesWrongTypes(t *testing.T) {
	t.Parallel()
	testRules().test(t, &expectedIDToken{nonce: "the-nonce"}, []claimRow{
		{"iss of a wrong type", "iss", []string{testRules().issuer}, "iss"},
		{"sub of a wrong type", "sub", 42, "sub"},
		{"aud of a wrong type", "aud", 42, "aud"},
		{"aud with a number", "aud", []any{"client", 1}, "aud"},
		{"aud with an array", "aud", []any{[]any{"client"}}, "aud"},
		{"aud as an object", "aud", map[string]any{"client": true}, "aud"},
		{"exp as text", "exp", fmt.Sprint(at(time.Hour)), "exp"},
		{"exp before 1970", "exp", -1, "exp"},
		{"exp beyond time", "exp", 1e300, "exp"},
		{"iat as text", "iat", fmt.Sprint(at(0)), "iat"},
		{"nbf as a boolean", "nbf", true, "nbf"},
		{"auth_time as text", "auth_time", "1", "auth_time"},
		{"nonce of a wrong type", "nonce", []string{"the-nonce"}, "nonce"},
		{"azp of a wrong type", "azp", []string{"client"}, "azp"},
		{"acr of a wrong type", "acr", 2, "acr"},
		{"amr as a string", "amr", "pwd", ""},
		{"amr of a wrong type", "amr", 1, "amr"},
		{"amr with a number", "amr", []any{"pwd", 1}, "amr"},
		{"sid of a wrong type", "sid", 1, "sid"},
		{"at_hash of a wrong type", "at_hash", 1, "at_hash"},
	})
}

func TestRules_ACRAndAuthTimeThatWereAskedFor(t *testing.T) {
	t.Parallel()
	v := testRules()
	v.test(t, &expectedIDToken{nonce: "the-nonce", acr: []string{"eidas2", "eidas3"}}, []claimRow{
		{"the first acr", "acr", "eidas2", ""},
		{"the second", "acr", "eidas3", ""},
		{"a lower one", "acr", "eidas1", "acr"},
		{"the same in capitals", "acr", "EIDAS2", "acr"},
		{"several in one", "acr", "eidas2 eidas3", "acr"},
		{"none", "acr", nil, "acr"},
	})
	v.test(t, &expectedIDToken{nonce: "the-nonce", maxAge: new(int64(300))}, []claimRow{
		{"auth_time of now", "auth_time", at(0), ""},
		{"auth_time at the end of max_age and skew", "auth_time", at(-360 * time.Second), ""},
		{"auth_time a second before", "auth_time", at(-361 * time.Second), "auth_time"},
		{"auth_time ahead within the skew", "auth_time", at(60 * time.Second), ""},
		{"auth_time ahead", "auth_time", at(61 * time.Second), "auth_time"},
		{"no auth_time", "auth_time", nil, "auth_time"},
	})
	v.test(t, &expectedIDToken{nonce: "the-nonce", maxAge: new(int64(0))}, []claimRow{
		{"a fresh login", "auth_time", at(-60 * time.Second), ""},
		{"one that is not so fresh", "auth_time", at(-61 * time.Second), "auth_time"},
	})
	v.test(t, &expectedIDToken{}, []claimRow{{"a refresh, without nonce", "nonce", nil, ""}})
}

func TestRules_TheSkewIsConfigurable(t *testing.T) {
	t.Parallel()
	v := testRules()
	v.skew = 5 * time.Minute
	v.test(t, &expectedIDToken{nonce: "the-nonce", maxAge: new(int64(0))}, []claimRow{
		{"exp inside", "exp", at(-299 * time.Second), ""},
		{"exp at the end", "exp", at(-300 * time.Second), "exp"},
		{"iat at the end", "iat", at(300 * time.Second), ""},
		{"iat beyond", "iat", at(301 * time.Second), "iat"},
		{"nbf at the end", "nbf", at(300 * time.Second), ""},
		{"nbf beyond", "nbf", at(301 * time.Second), "nbf"},
		{"auth_time at the end", "auth_time", at(-300 * time.Second), ""},
		{"auth_time beyond", "auth_time", at(-301 * time.Second), "auth_time"},
	})
}

func TestReadIDToken_ByExactName(t *testing.T) {
	t.Parallel()
	var sound map[string]any
	if err := json.Unmarshal(soundClaims(nil), &sound); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"iss", "sub", "aud", "exp", "iat", "nonce"} {
		_, err := testRules().judge(soundClaims(map[string]any{name: nil, strings.ToUpper(name): sound[name]}),
			&expectedIDToken{nonce: "the-nonce"})
		wantRefusal(t, name+" in capitals", err, name)
	}
	token, err := testRules().judge(soundClaims(map[string]any{
		"SUB": "mallory", "Acr": "eidas3", "AUTH_TIME": 1, "AMR": []string{"mfa"}, "Sid": "x", "ISS": "x", "Aud": "x", "EXP": 1,
	}), &expectedIDToken{nonce: "the-nonce"})
	if err != nil {
		t.Fatal(err)
	}
	if token.subject != "alice" || token.acr != "" || token.amr != nil || token.sid != "" {
		t.Errorf("the token reads as %+v", token)
	}
}

func TestReadIDToken_OneStrictObject(t *testing.T) {
	t.Parallel()
	sound := soundClaims(nil)
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
		_, err := testRules().judge([]byte(tt.payload), &expectedIDToken{nonce: "the-nonce"})
		if tt.ok != (err == nil) {
			t.Errorf("%s: %v", tt.what, err)
		}
		if err != nil {
			wantRefusal(t, tt.what, err, "claims")
		}
	}
}

func TestRules_IDTokenAlgs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		signedWith string
		advertised []string
		want       []string
	}{
		{"", nil, []string{"RS256"}}, // OIDC Core 3.1.3.7 rule 7
		{"", []string{}, []string{"RS256"}},
		{"", []string{"ES256", "PS512"}, []string{"ES256", "PS512"}},
		{"", []string{"none", "HS256", "RS512"}, []string{"RS512"}}, // symmetric ones only when named in the Config
		{"", []string{"none", "HS256"}, []string{"RS256"}},
		{"", []string{"es256", "X"}, []string{"RS256"}},
		{"ES256", []string{"RS256", "ES256"}, []string{"ES256"}},
		{"ES256", []string{"RS256"}, []string{"ES256"}},
		{"HS256", []string{"RS256"}, []string{"HS256"}},
	} {
		got := (&rules{signedWith: tt.signedWith}).idTokenAlgs(&Metadata{IDTokenSigningAlgValuesSupported: tt.advertised})
		if !slices.Equal(got, tt.want) {
			t.Errorf("%q of %q: %q, want %q", tt.signedWith, tt.advertised, got, tt.want)
		}
	}
}

// signingOP is a provider with a key for each algorithm, whose key id is the
// algorithm's name.
func signingOP() *opServer {
	s := newOPServer()
	var set []any
	for alg, key := range signers() {
		if signer, ok := key.(crypto.Signer); ok {
			set = append(set, jwk(signer, "kid", alg, "use", "sig"))
		}
	}
	s.serveKeys(set...)
	return s
}

// signers are the keys of signingOP and, for the HS algorithms, the secret of
// soundConfig twice over.
func signers() map[string]any {
	keys, secret := testKeys(), []byte(longSecret)
	return map[string]any{
		"RS256": keys.RSA, "RS384": keys.RSA, "RS512": keys.RSA, "PS256": keys.RSA, "PS384": keys.RSA, "PS512": keys.RSA,
		"ES256": keys.P256, "ES384": keys.P384, "ES512": keys.P521, "EdDSA": keys.Ed, "Ed25519": keys.Ed,
		"HS256": secret, "HS384": secret, "HS512": secret,
	}
}

// longSecret is long enough for every HS algorithm.
const longSecret = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// signed returns a payload signed with alg for signingOP.
func signed(alg, payload string) string { return sign(head(alg, alg), payload, signers()[alg]) }

// claimsOf is soundClaims for the client of opServer at its time.
func (s *opServer) claimsOf(changes map[string]any) string {
	now := s.clock.Now().Unix()
	claims := map[string]any{"iss": s.issuer, "aud": "app", "exp": now + 60, "iat": now, "auth_time": now}
	maps.Copy(claims, changes)
	return string(soundClaims(claims))
}

func TestVerifyIDToken_AnAlgorithmThatWasNotAgreedIsRefused(t *testing.T) {
	t.Parallel()
	s := signingOP()
	s.serveMetadata(map[string]any{"id_token_signing_alg_values_supported": everyAlg})
	payload := s.claimsOf(nil)
	// There is a key for each, and every signature is good.
	for _, pin := range everyAlg {
		f, m := s.flow(t, func(c *Config) { c.ClientSecret, c.Registration.IDTokenSignedResponseAlg = longSecret, pin })
		for _, alg := range everyAlg {
			token, err := f.verifyIDToken(t.Context(), m, signed(alg, payload), &expectedIDToken{nonce: "the-nonce"})
			if alg != pin {
				wantRefusal(t, alg+" where "+pin+" was agreed", err, "alg")
			} else if err != nil || token.subject != "alice" || token.alg != alg || token.raw != strings.TrimSpace(token.raw) {
				t.Errorf("%s where it was agreed: %+v, %v", alg, token, err)
			}
		}
		// Nothing can agree to none. It has no signature to begin with.
		_, err := f.verifyIDToken(t.Context(), m, sign(head("none", ""), payload, nil), &expectedIDToken{nonce: "the-nonce"})
		wantRefusal(t, "none where "+pin+" was agreed", err, "format")
	}
}

// at_hash is made with the hash of the algorithm (OIDC Core 3.1.3.6), which
// package internal/jose tests for each.
func TestVerifyIDToken_AtHash(t *testing.T) {
	t.Parallel()
	s := signingOP()
	f, m := s.flow(t, func(c *Config) { c.Registration.IDTokenSignedResponseAlg = "Ed25519" })
	sum256, sum512 := sha256.Sum256([]byte("the-token")), sha512.Sum512([]byte("the-token"))
	for _, tt := range []struct {
		what  string
		value any
		ok    bool
	}{
		{"by SHA-512", base64.RawURLEncoding.EncodeToString(sum512[:32]), true},
		{"none, which the code flow allows", nil, true},
		{"by SHA-256", base64.RawURLEncoding.EncodeToString(sum256[:16]), false},
		{"an empty one", "", false},
	} {
		token, err := f.verifyIDToken(t.Context(), m, signed("Ed25519", s.claimsOf(map[string]any{"at_hash": tt.value})),
			&expectedIDToken{nonce: "the-nonce", accessToken: "the-token"})
		if tt.ok && (err != nil || token.subject != "alice") {
			t.Errorf("%s: %+v, %v", tt.what, token, err)
		} else if !tt.ok {
			wantRefusal(t, tt.what, err, "at_hash")
		}
	}
}

func TestVerifyIDToken_NeedsOne(t *testing.T) {
	t.Parallel()
	f, m := newOPServer().flow(t, nil)
	_, err := f.verifyIDToken(t.Context(), m, "", &expectedIDToken{})
	wantRefusal(t, "none", err, "id_token")
	wantCode(t, err, CodeTokenRefused)
}

func TestVerifyIDToken_GivesEachFailureItsCode(t *testing.T) {
	t.Parallel()
	s := signingOP()
	f, m := s.flow(t, nil)
	expected := &expectedIDToken{nonce: "the-nonce", acr: []string{"eidas2"}}
	for what, tt := range map[string]struct {
		token string
		code  Code
	}{
		"a forgery":     {sign(head("RS256", "RS256"), s.claimsOf(map[string]any{"acr": "eidas2"}), testKeys().RSA2), CodeTokenRefused},
		"a wrong type":  {signed("RS256", s.claimsOf(map[string]any{"acr": 2})), CodeTokenRefused},
		"a broken rule": {signed("RS256", s.claimsOf(map[string]any{"acr": "eidas2", "nonce": "x"})), CodeTokenRefused},
		"a lower acr":   {signed("RS256", s.claimsOf(map[string]any{"acr": "eidas1"})), CodeRequirementUnmet},
	} {
		_, err := f.verifyIDToken(t.Context(), m, tt.token, expected)
		if e := wantCode(t, err, tt.code); e.Op != "id_token" {
			t.Errorf("%s: error is %v", what, err)
		}
	}
}

func TestReadIDToken_ReadsEveryClaim(t *testing.T) {
	t.Parallel()
	payload := soundClaims(map[string]any{
		"aud": []string{"client", "api"}, "azp": "client", "acr": "eidas2", "amr": []string{"pwd", "mfa"}, "sid": "s1",
		"auth_time": at(-time.Second), "nbf": at(-2 * time.Second), "at_hash": "x", "session_expiry": at(3 * time.Second),
	})
	got, err := readIDToken(payload)
	if err != nil {
		t.Fatal(err)
	}
	members, err := strictjson.Object(payload)
	if err != nil {
		t.Fatal(err)
	}
	want := &idToken{
		payload: payload, members: members, issuer: "https://op.example", subject: "alice", audience: []string{"client", "api"},
		azp: "client", hasAzp: true, expiry: tokenTime.Add(time.Hour), issuedAt: tokenTime, notBefore: tokenTime.Add(-2 * time.Second),
		authTime: tokenTime.Add(-time.Second), sessionExpiry: tokenTime.Add(3 * time.Second),
		nonce: "the-nonce", acr: "eidas2", atHash: "x", hasAtHash: true, amr: []string{"pwd", "mfa"}, sid: "s1",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("it reads as\n%+v\nwant\n%+v", got, want)
	}
}

func TestRules_ARefusalSaysWhatWasExpected(t *testing.T) {
	t.Parallel()
	issuer := testRules().issuer
	for _, tt := range []struct {
		claim string
		value any
		want  string
	}{
		{"iss", "https://evil.example", fmt.Sprintf(`iss: expected %q, got "https://evil.example"`, issuer)},
		{"aud", []string{"a", "b"}, `aud: expected "client", got "a b"`},
		{"aud", []string{"client", "evil"}, `aud: expected no untrusted audience ` +
			`(if this one may have the token too, add it to Provider.TrustedAudiences), got "evil"`},
		{"aud", []string{}, `aud: expected "client", but it is empty`},
		{"aud", "", `aud: expected "client", but it is empty`},
		{"aud", nil, `aud: expected "client", but it is empty`},
		{"azp", "evil", `azp: expected "client", got "evil"`},
		{"exp", 1, `exp: expected a time to come (this machine's time is 2027-01-15T08:00:00Z), got "1970-01-01T00:00:01Z"`},
		{"session_expiry", 1, `session_expiry: expected a time to come (this machine's time is 2027-01-15T08:00:00Z), got "1970-01-01T00:00:01Z"`},
		{"auth_time", 1, `auth_time: expected at most 60 s ago (this machine's time is 2027-01-15T08:00:00Z), got "1970-01-01T00:00:01Z"`},
		{"iat", 2, `iat: expected a time of the last day (this machine's time is 2027-01-15T08:00:00Z), got "1970-01-01T00:00:02Z"`},
		{"sub", "a\n\u202e\u00a0b" + strings.Repeat("c", 300), `sub: expected 1 to 255 ASCII characters, got "a...b` + strings.Repeat("c", 92) + `…"`},
		{"iat", at(2 * time.Minute), `iat: expected at most 1m0s after this machine's time, 2027-01-15T08:00:00Z, got "2027-01-15T08:02:00Z"`},
		{"nbf", at(2 * time.Minute), `nbf: expected at most 1m0s after this machine's time, 2027-01-15T08:00:00Z, got "2027-01-15T08:02:00Z"`},
		{"exp", nil, `exp: expected one`},
		{"iat", nil, `iat: expected one`},
		{"auth_time", nil, `auth_time: expected one, since max_age was sent`},
		{"acr", "eidas1", `acr: expected one of ["eidas2"], got "eidas1"`},
		{"nonce", "n0t-to-be-shown", `nonce: expected the one that was sent`},
		{"at_hash", "n0t-to-be-shown", `at_hash: expected that of the access token`},
	} {
		_, err := testRules().judge(soundClaims(map[string]any{"acr": "eidas2", "auth_time": at(0), tt.claim: tt.value}), &expectedIDToken{
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
		// A session decodes the payload again, later.
		s := new(Session)
		if s.claims, err = parseObject(string(payload)); err != nil {
			t.Fatal(err)
		}
		if s.Issuer() != token.issuer || s.Subject() != token.subject || s.ACR() != token.acr || s.SID() != token.sid ||
			!slices.Equal(s.AMR(), token.amr) || s.fact("nonce") != token.nonce {
			t.Fatalf("the session reads it as %+v, the verifier as %+v", s.claims.text, token)
		}
		if at := token.authTime; !at.IsZero() && at.Unix() != 0 && !s.AuthTime().Equal(at.Truncate(time.Second)) {
			t.Fatalf("the session reads auth_time as %v, the verifier as %v", s.AuthTime(), at)
		}
	})
}

// An explicit type keeps tokens of another kind from passing for an ID Token (RFC
// 8725 section 3.11).
func TestIDToken_RefusesTheTypesOfOtherTokens(t *testing.T) {
	t.Parallel()
	for typ, sound := range map[string]bool{
		"": true, "JWT": true, "jwt": true, "application/jwt": true, "JWS": true, "JOSE": true, "odd": true,
		"at+jwt": false, "AT+JWT": false, "application/at+jwt": false, "Application/AT+jwt": false,
		"logout+jwt": false, "application/logout+jwt": false, "secevent+jwt": false, "application/secevent+jwt": false,
		"dpop+jwt": false, "client-authentication+jwt": false,
	} {
		err := checkIDTokenType(typ)
		var refused *TokenError
		if sound && err != nil || !sound && (!errors.As(err, &refused) || refused.Check != "typ") {
			t.Errorf("typ %q: %v", typ, err)
		}
	}
}
