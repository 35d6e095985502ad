package oidcrp

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestSession_SaysWhoSignedInAndHow(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	s := madeSession(c.Client, `{"iss":"https://op.example","sub":"alice","aud":"app","acr":"eidas2",
		"amr":["pwd","mfa"],"auth_time":1700000000,"sid":"s1","nonce":"n"}`, "")
	got := fmt.Sprint(s.Issuer(), s.Subject(), s.ACR(), s.AMR(), s.AuthTime().Unix(), s.SID(),
		s.CreatedAt().Equal(c.clock.Now()), s.ExpiresAt().Sub(s.CreatedAt()))
	want := fmt.Sprint("https://op.example", "alice", "eidas2", []string{"pwd", "mfa"}, 1700000000, "s1", true, 12*time.Hour)
	if got != want {
		t.Errorf("session says\n%s\nwant\n%s", got, want)
	}
	s.AMR()[0] = "changed"
	if s.AMR()[0] != "pwd" {
		t.Error("AMR hands out the session's own slice")
	}
	if bare := madeSession(c.Client, `{"sub":"alice"}`, ""); bare.AMR() != nil || !bare.AuthTime().IsZero() {
		t.Errorf("without amr and auth_time: %v, %v", bare.AMR(), bare.AuthTime())
	}
}

func TestClaims_FactsComeFromTheIDTokenAlone(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	idToken := `{"iss":"https://op.example","sub":"alice","aud":"app","exp":1,"iat":2,"email":"old@example.org","locale":"fr"}`
	userInfo := `{"iss":"https://evil.example","sub":"alice","aud":"other","azp":"other","acr":"eidas3","amr":["mfa"],
		"auth_time":9,"sid":"x","nonce":"x","exp":9,"iat":9,"nbf":9,"jti":"x","at_hash":"x","c_hash":"x",
		"email":"new@example.org","siret":"13002526500013","SUB":"mallory","roles":["a"]}`
	s := madeSession(c.Client, idToken, userInfo)

	var all map[string]any
	if err := s.Claims(&all); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"iss": "https://op.example", "sub": "alice", "aud": "app", "exp": 1.0, "iat": 2.0, "locale": "fr",
		"email": "new@example.org", "siret": "13002526500013", "SUB": "mallory", "roles": []any{"a"},
	}
	if got, want := fmt.Sprint(all), fmt.Sprint(want); got != want {
		t.Errorf("claims are\n%s\nwant\n%s", got, want)
	}
	if s.ACR() != "" || s.SID() != "" || s.AMR() != nil || !s.AuthTime().IsZero() {
		t.Error("a fact about the authentication came from UserInfo")
	}

	var who struct {
		Subject string   `json:"sub"`
		Email   string   `json:"email"`
		Roles   []string `json:"roles"`
		SIRET   string   `json:"SIRET"` // there is only "siret"
	}
	if err := s.Claims(&who); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(who); got != "{alice new@example.org [a] }" {
		t.Errorf("decoded into a struct: %s", got)
	}
}

// An address and whether it was verified are one statement: those of one source
// must not vouch for the address of the other.
func TestClaims_AGroupComesFromOneSource(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	for _, test := range []struct{ what, idToken, userInfo, want string }{
		{"the address of UserInfo, verification of the ID Token",
			`"email":"a@op","email_verified":true`, `"email":"mallory@op"`, `email:mallory@op`},
		{"both from UserInfo", `"email":"a@op","email_verified":true`, `"email":"b@op","email_verified":false`,
			`email:b@op email_verified:false`},
		{"verification of UserInfo, the address of the ID Token", `"email":"a@op"`, `"email_verified":true`, `email:a@op`},
		{"both from the ID Token", `"email":"a@op","email_verified":false`, `"email_verified":true`,
			`email:a@op email_verified:false`},
		{"null counts as left out", `"email":"a@op","email_verified":false`, `"email":null,"email_verified":true`,
			`email:a@op email_verified:false`},
		{"an empty address is one", `"email":"a@op","email_verified":true`, `"email":""`, `email:`},
		{"verification alone", ``, `"email_verified":true`, ``},
		{"a telephone number", `"phone_number":"1","phone_number_verified":true`, `"phone_number":"2"`, `phone_number:2`},
		{"each group by itself", `"email":"a@op","email_verified":true,"phone_number":"1","phone_number_verified":true`,
			`"phone_number":"2","phone_number_verified":true`,
			`email:a@op email_verified:true phone_number:2 phone_number_verified:true`},
		{"an address, whole", `"address":{"locality":"Paris","country":"FR"}`, `"address":{"locality":"Oslo"}`,
			`address:map[locality:Oslo]`},
		{"the rest of both", `"locale":"fr"`, `"email":"b@op","name":"B"`, `email:b@op locale:fr name:B`},
	} {
		object := func(members string) string {
			return strings.Replace(`{"sub":"alice",`+members+`}`, ",}", "}", 1)
		}
		s := madeSession(c.Client, object(test.idToken), object(test.userInfo))
		var all map[string]any
		if err := s.Claims(&all); err != nil {
			t.Fatal(err)
		}
		delete(all, "sub")
		if got, want := fmt.Sprint(all), "map["+test.want+"]"; got != want {
			t.Errorf("%s: %s, want %s", test.what, got, want)
		}
		verified := strings.Contains(test.want, "email_verified:true")
		if met := HasClaim("email_verified").Met(s, time.Now()); met != verified {
			t.Errorf("%s: HasClaim is met: %t, want %t", test.what, met, verified)
		}
	}
}

// OIDC Core 5.1 makes booleans of them; some providers send text.
func TestClaims_VerificationIsABoolean(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	for value, want := range map[string]bool{
		`"true"`: true, `"True"`: true, `true`: true, `"false"`: false, `"False"`: false, `false`: false,
	} {
		members := `{"sub":"alice","email":"a@op","email_verified":` + value +
			`,"phone_number":"1","phone_number_verified":` + value + `}`
		for source, s := range map[string]*Session{
			"the ID Token": madeSession(c.Client, members, ""),
			"UserInfo":     madeSession(c.Client, `{"sub":"alice"}`, members),
			"NewSession":   NewSession(json.RawMessage(members)),
		} {
			var claims struct {
				Email bool `json:"email_verified"`
				Phone bool `json:"phone_number_verified"`
			}
			if err := s.Claims(&claims); err != nil || claims.Email != want || claims.Phone != want {
				t.Errorf("%s in %s: %+v, %v", value, source, claims, err)
			}
			for _, name := range []string{"email_verified", "phone_number_verified"} {
				if Claim(name, "true").Met(s, time.Now()) != want || HasClaim(name).Met(s, time.Now()) != want ||
					Claim(name, "false").Met(s, time.Now()) == want {
					t.Errorf("%s in %s: the requirements of %s say otherwise", value, source, name)
				}
			}
		}
	}
	// What is neither stays as it is, and does not fit a bool.
	s := NewSession(map[string]string{"sub": "alice", "email_verified": "yes"})
	if err := s.Claims(&struct {
		V bool `json:"email_verified"`
	}{}); err == nil {
		t.Error(`"yes" was decoded into a bool`)
	}
}

func TestSession_AMRMayBeOneString(t *testing.T) {
	t.Parallel()
	for claims, want := range map[string]string{
		`{"sub":"alice","amr":"mfa"}`: `["mfa"]`, `{"sub":"alice","amr":["pwd","mfa"]}`: `["pwd" "mfa"]`, `{"sub":"alice"}`: `[]`,
	} {
		c := newOfflineClient(t, nil)
		if got := fmt.Sprintf("%q", madeSession(c.Client, claims, "").AMR()); got != want {
			t.Errorf("%s: %s, want %s", claims, got, want)
		}
	}
}

func TestClaims_NamesMatchExactly(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	for _, test := range []struct{ what, idToken, userInfo string }{
		{"in the ID Token, after", `{"sub":"alice","SUB":"mallory","Sub":"mallory"}`, ""},
		{"in the ID Token, before", `{"SUB":"mallory","sub":"alice"}`, ""},
		{"in UserInfo", `{"sub":"alice"}`, `{"SUB":"mallory","ſub":"mallory"}`},
	} {
		s := madeSession(c.Client, test.idToken, test.userInfo)
		var who struct {
			Subject string `json:"sub"`
		}
		if err := s.Claims(&who); err != nil || who.Subject != "alice" || s.Subject() != "alice" {
			t.Errorf("SUB %s: decoded %q, Subject is %q (%v)", test.what, who.Subject, s.Subject(), err)
		}
	}
}

func TestSession_IDTokenIsAsItWasReceived(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	s := madeSession(c.Client, aliceClaims, `{"sub":"alice","email":"a@example.org"}`)
	if got := s.IDToken(); got != madeJWS(aliceClaims) {
		t.Errorf("IDToken is %s, not what was received", got)
	}
}

func TestSession_KeepsTokensOnlyWhenAskedFor(t *testing.T) {
	t.Parallel()
	if token := madeSession(newOfflineClient(t, nil).Client, aliceClaims, "").Token(); token != nil {
		t.Errorf("Token is %v without Tokens.Keep", token)
	}
	c := newOfflineClient(t, func(cfg *Config) { cfg.Tokens.Keep = true })
	s := madeSession(c.Client, aliceClaims, "")
	got := s.Token()
	if got.AccessToken != "access" || got.RefreshToken != "refresh" || got.TokenType != "Bearer" ||
		!got.Expiry.Equal(c.clock.Now().Add(time.Hour)) {
		t.Errorf("Token is %+v", got)
	}
	got.AccessToken = "changed"
	if s.Token().AccessToken != "access" {
		t.Error("Token hands out the session's own")
	}
}

// A session ends at the first of its lifetime, the provider's session_expiry and,
// if that is asked for, the ID Token's end.
func TestExpiresAt_TakesTheFirstEnd(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what           string
		endWithIDToken bool
		claims         string
		want           time.Duration
	}{
		{"nothing said", false, ``, 12 * time.Hour},
		{"session_expiry", false, `,"session_expiry":%d`, 30 * time.Minute},
		{"exp of the ID Token", false, `,"exp":%d`, 12 * time.Hour},
		{"exp of the ID Token, which counts", true, `,"exp":%d`, 30 * time.Minute},
		{"both", true, `,"exp":%d,"session_expiry":4102444800`, 30 * time.Minute},
	} {
		c := newOfflineClient(t, func(cfg *Config) { cfg.Sessions.EndWithIDToken = test.endWithIDToken })
		claims := test.claims
		if claims != "" {
			claims = fmt.Sprintf(claims, c.clock.Now().Add(30*time.Minute).Unix())
		}
		s := madeSession(c.Client, `{"sub":"alice"`+claims+`}`, "")
		if got := s.ExpiresAt().Sub(c.clock.Now()); got != test.want {
			t.Errorf("%s: the session lasts for %v, want %v", test.what, got, test.want)
		}
	}
}

func TestLargestClaims_NamesWhatTakesTheRoom(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, func(cfg *Config) { cfg.Tokens.Keep = true })
	s := madeSession(c.Client, `{"sub":"alice","roles":["one","two","three","four"]}`, `{"sub":"alice","picture":"a long text, but not the longest"}`)
	s.tokens.AccessToken = "an access token that is longer than any other thing in this session"
	if got, want := fmt.Sprint(s.largestClaims()), "[(access token) picture roles]"; got != want {
		t.Errorf("the largest are %s, want %s", got, want)
	}
}
