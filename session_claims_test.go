package oidcrp

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp/internal/strictjson"
)

// groups returns n groups that are GUIDs, as JSON.
func groups(n int) string {
	list := make([]string, n)
	for i := range list {
		b := make([]byte, 16)
		rand.Read(b)
		list[i] = fmt.Sprintf(`"%x-%x-%x-%x-%x"`, b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
	}
	return "[" + strings.Join(list, ",") + "]"
}

// claimsOf decodes all claims of s.
func claimsOf(t *testing.T, s *Session) map[string]any {
	t.Helper()
	var claims map[string]any
	if err := s.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// A claim that both have is stored once, and the view of all claims stays the same.
func TestUserClaims_AreStoredOnce(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	list := groups(60)
	idToken := `{"iss":"https://op.example","sub":"alice","acr":"eidas1","groups":` + list + `,"name":"A"}`
	userInfo := `{"sub":"alice","groups": ` + strings.ReplaceAll(list, ",", ", ") + `,"name":"B","acr":"forged","nothing":null}`
	both, alone := madeSession(c.Client, idToken, userInfo), madeSession(c.Client, idToken, `{"sub":"alice","name":"B"}`)
	if more := len(both.marshal()) - len(alone.marshal()); more > 20 {
		t.Errorf("groups in UserInfo too take %d bytes more", more)
	}
	for what, s := range map[string]*Session{"as made": both, "lean": both.lean()} {
		claims := claimsOf(t, s)
		if claims["name"] != "B" || claims["acr"] != "eidas1" || len(claims["groups"].([]any)) != 60 || len(claims) != 5 {
			t.Errorf("%s: the claims are %v", what, claims)
		}
	}
}

// The view is one, in whatever form the session is kept.
func TestSession_EveryFormHasTheSameClaims(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what, idToken, userInfo string
		keep                    []string
	}{
		{"no UserInfo", `{"sub":"a","email":"a@x","email_verified":"true","n":1.50,"x":null}`, "", nil},
		{"e-mail in UserInfo", `{"sub":"a","email":"a@x","email_verified":true}`, `{"sub":"a","email":"b@x"}`, nil},
		{"e-mail in the ID Token", `{"sub":"a","email":"a@x","email_verified":"false"}`, `{"sub":"a","email_verified":true}`, nil},
		{"the same e-mail in both", `{"sub":"a","email":"a@x","email_verified":true}`, `{"sub":"a","email":"a@x"}`, nil},
		{"all the same", `{"sub":"a","email":"a@x","email_verified":true}`, `{"sub":"a","email":"a@x","email_verified":true}`, nil},
		{"some are kept", `{"sub":"a","acr":"1","name":"n","roles":["r"]}`, `{"sub":"a","name":"m","phone":"1"}`, []string{"name"}},
		{"none is kept", `{"sub":"a","acr":"1","name":"n"}`, `{"sub":"a","phone":"1"}`, []string{}},
		{"names with signs", `{"sub":"a","a\"b\\":1,"é\u0001":2}`, `{"sub":"a","c\"d\\":3,"\u2028\n":4}`, nil},
		{"a text with signs", `{"sub":"a","t":"<b>&é\u2028"}`, `{"sub":"a","u":"<b>&é\"\\"}`, nil},
	} {
		c := newOfflineClient(t, func(cfg *Config) { cfg.Sessions.KeepClaims = test.keep })
		s := madeSession(c.Client, test.idToken, test.userInfo)
		want := claimsOf(t, s)
		for form, stored := range map[string][]byte{
			"plain": s.marshal(), "compressed": s.marshalCompressed(), "lean": s.lean().marshalCompressed(),
		} {
			got, err := c.sessions.unmarshal(stored)
			if err != nil {
				t.Errorf("%s, %s: %v", test.what, form, err)
				continue
			}
			if claims := claimsOf(t, got); !reflect.DeepEqual(claims, want) {
				t.Errorf("%s, %s: the claims are %v, want %v", test.what, form, claims, want)
			}
			if got.Subject() != "a" || (got.IDToken() != "") != (form != "lean") {
				t.Errorf("%s, %s: of %q, ID Token %q", test.what, form, got.Subject(), got.IDToken())
			}
		}
		for name := range want {
			if !isFact(name) && !keeps(test.keep, name) {
				t.Errorf("%s: %s is kept", test.what, name)
			}
		}
	}
}

// A refresh brings an ID Token with other claims: those of UserInfo stay, and those
// that only the old ID Token had go.
func TestWithIDToken_KeepsTheClaimsOfUserInfo(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	s := madeSession(c.Client, `{"iss":"https://op.example","sub":"alice","name":"N","dept":"d","role":"admin"}`,
		`{"sub":"alice","name":"N","dept":"e"}`)
	token, err := readIDToken([]byte(`{"iss":"https://op.example","sub":"alice","name":"M"}`))
	if err != nil {
		t.Fatal(err)
	}
	token.raw = madeJWS(string(token.payload))
	next := c.sessions.withIDToken(s, token)
	claims := claimsOf(t, next)
	if claims["name"] != "N" || claims["dept"] != "e" || claims["role"] != nil {
		t.Errorf("the claims are %v", claims)
	}
}

// What the cookies of a session have room for, at the default and with more.
func TestCookieKeeper_FitsIntoItsBudget(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		inIDToken, inUserInfo int
		budget                int
		fits, hint            bool
	}{
		{0, 0, 0, true, true},
		{20, 0, 0, true, true}, {0, 20, 0, true, true}, {20, 20, 0, true, true},
		{60, 0, 0, true, true}, {0, 60, 0, true, true}, {60, 60, 0, true, true},
		{0, 85, 0, true, true}, {0, 92, 0, true, false},
		{200, 0, 0, false, false}, {0, 200, 0, false, false}, {200, 200, 0, false, false},
		{200, 200, 8000, true, true}, {0, 60, 1500, false, false}, {0, 500, 16384, true, true},
	} {
		c := newOfflineClient(t, func(cfg *Config) { cfg.Sessions.MaxCookieBytes = test.budget })
		list := groups(max(test.inIDToken, test.inUserInfo))
		idToken, userInfo := `"acr":"eidas1"`, `"email":"alice@example.org"`
		if test.inIDToken > 0 {
			idToken += `,"groups":` + list
		}
		if test.inUserInfo > 0 {
			userInfo += `,"groups":` + list
		}
		s := madeSession(c.Client, `{"iss":"https://op.example","sub":"alice",`+idToken+`}`, `{"sub":"alice",`+userInfo+`}`)
		s.signature = []byte(RandomText(192))[:256] // of an RSA key, as most providers have
		w := httptest.NewRecorder()
		err := c.StartSession(w, requestWith(), s)
		if !test.fits {
			e := wantCode(t, err, CodeSessionTooLarge)
			for _, mend := range []string{`"groups"`, "Sessions.KeepClaims", "Config.Store", "Sessions.MaxCookieBytes"} {
				if !strings.Contains(e.Error(), mend) {
					t.Errorf("%+v: the error does not name %s: %v", test, mend, e)
				}
			}
			continue
		}
		if err != nil {
			t.Errorf("%+v: %v", test, err)
			continue
		}
		size := 0
		for _, set := range w.Header().Values("Set-Cookie") {
			size += len(set)
		}
		if most := c.sessions.settings.MaxCookieBytes; size > most {
			t.Errorf("%+v: the cookies have %d bytes, more than %d", test, size, most)
		}
		got := c.wantSession(t, "read back", requestWith(w.Result().Cookies()...))
		if (got.IDToken() != "") != test.hint || !reflect.DeepEqual(claimsOf(t, got), claimsOf(t, s)) {
			t.Errorf("%+v: read back with the ID Token %.20q and the claims %v", test, got.IDToken(), claimsOf(t, got))
		}
	}
}

// Tokens are kept, or the login fails: never half of them.
func TestCookieKeeper_TokensAreNeverLeftOut(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, func(cfg *Config) { cfg.Tokens.Keep, cfg.Sessions.MaxCookieBytes = true, 0 })
	s := madeSession(c.Client, aliceClaims, "")
	s.tokens.AccessToken = RandomText(2500)
	wantCode(t, c.StartSession(httptest.NewRecorder(), requestWith(), s), CodeSessionTooLarge)
}

// Compressed claims of a value that somebody else wrote cannot become huge.
func TestSessionFormat_CompressedClaimsAreBounded(t *testing.T) {
	t.Parallel()
	s := fullSession()
	s.setUser(userClaims{own: strictjson.Members{"x": []byte(`"` + strings.Repeat("x", maxClaimsBlock) + `"`)}})
	if stored := s.marshalCompressed(); len(stored) < maxClaimsBlock {
		t.Error("very large claims are compressed")
	}
	s.setUser(userClaims{})
	bomb := s.marshalWith(appendBytes(nil, deflated(bytes.Repeat([]byte{0}, 100<<20))), withCompressedClaims)
	if _, err := unmarshalSession(bomb, s.words, time.Hour); err == nil {
		t.Error("a block of 100 MiB was read")
	}
	for _, garbage := range [][]byte{nil, {1}, []byte("garbage")} {
		if _, err := unmarshalSession(s.marshalWith(appendBytes(nil, garbage), withCompressedClaims), s.words, time.Hour); err == nil {
			t.Errorf("%q was read as compressed claims", garbage)
		}
	}
}

func TestNewUserClaims_NamesAreExact(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	s := madeSession(c.Client, `{"sub":"alice","Email":"a@x"}`, `{"sub":"alice","email":"a@x"}`)
	if claims := claimsOf(t, s); claims["email"] != "a@x" || claims["Email"] != "a@x" || !json.Valid([]byte(s.own.text)) {
		t.Errorf("the claims are %v", claims)
	}
}

// KeepClaims leaves claims out; it must not change the value of one that is kept.
func TestSession_KeepClaimsDoesNotChangeAKeptClaim(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ idToken, userInfo string }{
		{`{"sub":"a"}`, `{"sub":"a","email":"a@x","email_verified":true}`},
		{`{"sub":"a","email":"a@x","email_verified":true}`, `{"sub":"a","email":"b@x","email_verified":false}`},
		{`{"sub":"a","phone_number":"1","phone_number_verified":true}`, `{"sub":"a","phone_number":"2"}`},
	} {
		for _, name := range []string{"email_verified", "phone_number_verified"} {
			all := newOfflineClient(t, nil)
			one := newOfflineClient(t, func(cfg *Config) { cfg.Sessions.KeepClaims = []string{name} })
			want := claimsOf(t, madeSession(all.Client, test.idToken, test.userInfo))[name]
			got := claimsOf(t, madeSession(one.Client, test.idToken, test.userInfo))[name]
			if got != want {
				t.Errorf("%s and %s: with KeepClaims, %s is %v, without %v", test.idToken, test.userInfo, name, got, want)
			}
		}
	}
}

// UserInfo had the roles, and has none any more: the provider omits an empty claim. The
// first ID Token still names them, and the refresh brought no new one.
func TestUserClaims_ARoleThatUserInfoNoLongerHasIsGone(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	s := madeSession(c.Client, `{"sub":"a","roles":["admin"]}`, `{"sub":"a","roles":["admin"]}`)
	next := c.sessions.withUserInfo(s, []byte(`{"sub":"a"}`))
	if roles := claimsOf(t, next)["roles"]; roles != nil {
		t.Errorf("after UserInfo was fetched again without roles, they are %v", roles)
	}
}

// What a session is after a refresh must not depend on the form in which it was kept.
func TestUserClaims_ARefreshOfALeanSessionHasTheSameClaims(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	s := madeSession(c.Client, `{"sub":"a","name":"A","email":"a@x","email_verified":true}`, `{"sub":"a","name":"B","email":"a@x"}`)
	full, lean := s.copy(), s.lean()
	full, lean = c.sessions.withUserInfo(full, []byte(`{"sub":"a"}`)), c.sessions.withUserInfo(lean, []byte(`{"sub":"a"}`))
	if a, b := claimsOf(t, full), claimsOf(t, lean); len(a) != len(b) {
		t.Errorf("full: %v, lean: %v", a, b)
	}
}

// Refreshes with an ID Token and UserInfo, again and again, in every form.
func TestUserClaims_StayTrueOverManyRefreshes(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, func(cfg *Config) { cfg.Sessions.KeepClaims = []string{"email_verified", "role"} })
	payload := `{"iss":"https://op.example","sub":"alice","email":"a@x","role":"admin"}`
	token, err := readIDToken([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	token.raw = madeJWS(payload)
	full := madeSession(c.Client, payload, `{"sub":"alice","email":"a@x","email_verified":true,"role":"admin"}`)
	for form, s := range map[string]*Session{"full": full, "lean": full.lean()} {
		s = c.sessions.withIDToken(s, token)
		if claims := claimsOf(t, s); claims["email_verified"] != true || claims["role"] != "admin" {
			t.Errorf("%s: after a new ID Token the claims are %v", form, claims)
		}
		// UserInfo has neither any more. The ID Token, which is issued again and again with
		// the role, does not bring it back.
		for refresh := range 3 {
			s = c.sessions.withUserInfo(c.sessions.withIDToken(s.lean(), token), []byte(`{"sub":"alice","email_verified":true}`))
			if claims := claimsOf(t, s); claims["role"] != nil || claims["email_verified"] != nil {
				t.Errorf("%s: after refresh %d the claims are %v", form, refresh+1, claims)
			}
			if claims := claimsOf(t, c.sessions.withIDToken(s, token)); claims["role"] != nil {
				t.Errorf("%s: after an ID Token alone the claims are %v", form, claims)
			}
		}
	}
}

func TestClaimsAs_DecodesIntoAStructOrAMap(t *testing.T) {
	t.Parallel()
	s := NewSession(map[string]any{"sub": "alice", "email": "a@example.org", "email_verified": "true", "n": 1})
	type person struct {
		Sub      string
		Email    string `json:"email"`
		Verified bool   `json:"email_verified"`
	}
	if got, err := ClaimsAs[person](s); err != nil || got != (person{Email: "a@example.org", Verified: true}) {
		t.Errorf("%+v, %v", got, err) // Sub is no name of a claim: "sub" is
	}
	if got, err := ClaimsAs[*person](s); err != nil || got == nil || !got.Verified {
		t.Errorf("%+v, %v", got, err)
	}
	all, err := ClaimsAs[map[string]json.Number](NewSession(map[string]any{"n": 1 << 60}))
	if err != nil || all["n"] != "1152921504606846976" {
		t.Errorf("%v, %v", all, err)
	}
	if _, err := ClaimsAs[person](nil); !errors.Is(err, CodeNoSession) {
		t.Errorf("nobody is signed in: %v", err)
	}
	if _, err := ClaimsAs[struct{ N string }](NewSession(map[string]any{"N": 1})); !errors.Is(err, CodeInternal) {
		t.Errorf("a number as a string: %v", err)
	}
}

// Looking for each claim of a provider that sends thousands among all the others would be
// billions of comparisons.
func TestSession_ManyClaimsAreNoSearch(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	many := func(from int) string {
		var b strings.Builder
		b.WriteString(`{"sub":"alice"`)
		for i := range 60_000 {
			fmt.Fprintf(&b, `,"c%d":%d`, from+i, i)
		}
		return b.String() + "}"
	}
	s := madeSession(c.Client, many(0), many(30_000))
	s = c.sessions.withUserInfo(s, []byte(many(0)))
	if n := len(claimsOf(t, s)); n != 60_001 {
		t.Errorf("%d claims", n)
	}
}

// KeepClaims is the Config's of now: a replica with fewer claims, which writes a session
// again, does not take the others from those with more.
func TestSession_KeepClaimsOfAnotherConfigHidesNothingForGood(t *testing.T) {
	t.Parallel()
	with := func(keep ...string) *offlineClient {
		return newOfflineClient(t, func(cfg *Config) { cfg.Sessions.KeepClaims = keep })
	}
	few, more := with("name"), with("name", "roles")
	s := madeSession(few.Client, `{"sub":"a","name":"A","roles":["r"],"phone":"1"}`, "")
	if claims := claimsOf(t, s); claims["roles"] != nil {
		t.Errorf("with few, the claims are %v", claims)
	}
	again, err := more.sessions.unmarshal(s.marshal())
	if err != nil {
		t.Fatal(err)
	}
	if claims := claimsOf(t, again); claims["roles"] == nil || claims["phone"] != nil {
		t.Errorf("with more, the claims are %v", claims)
	}
}
