package oidcrp

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp/internal/fetch"
	"github.com/oidcrp/oidcrp/internal/strictjson"
)

// A userInfoApp is a flow, and a UserInfo endpoint whose answers a test sets.
type userInfoApp struct {
	*opServer
	flow     *flow
	metadata *Metadata

	mu     sync.Mutex
	answer http.HandlerFunc // guarded by mu
}

func newUserInfoApp(t testing.TB, pin string) *userInfoApp {
	t.Helper()
	return newUserInfoAppWith(t, func(c *Config) {
		c.ClientSecret, c.Registration.UserInfoSignedResponseAlg = longSecret, pin
	})
}

func newUserInfoAppWith(t testing.TB, change func(*Config)) *userInfoApp {
	t.Helper()
	a := &userInfoApp{opServer: signingOP()}
	a.serveMetadata(map[string]any{
		"userinfo_endpoint": a.issuer + "/userinfo", "id_token_signing_alg_values_supported": []string{"ES256", "RS256"},
	})
	a.further.HandleFunc("/userinfo", func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		answer := a.answer
		a.mu.Unlock()
		answer(w, r)
	})
	a.flow, a.metadata = a.opServer.flow(t, change)
	return a
}

func (a *userInfoApp) answers(h http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = h
}

// ask returns what the client makes of an answer about alice.
func (a *userInfoApp) ask(t testing.TB, status int, contentType, body string) (string, error) {
	t.Helper()
	a.answers(respond(status, contentType, body))
	claims, err := a.flow.userInfo(t.Context(), a.metadata, "the-token", a.flow.rules.issuer, "alice")
	return string(claims), err
}

// signed returns a signed answer, with changes made to its claims; a nil value
// takes a claim away.
func (a *userInfoApp) signed(alg string, changes map[string]any) string {
	claims := map[string]any{"sub": "alice", "iss": a.issuer, "aud": "app"}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return signed(alg, string(payload))
}

// wantUserInfoRefused fails the test unless err is a refusal for check; empty:
// one that no rule for a claim made.
func wantUserInfoRefused(t *testing.T, what string, err error, check string) {
	t.Helper()
	if got := codeOf(err); got != CodeUserInfoRefused {
		t.Errorf("%s: error is %v with code %s, want %s", what, err, got, CodeUserInfoRefused)
	}
	var refused *TokenError
	if errors.As(err, &refused) != (check != "") || refused != nil && (refused.Check != check || refused.Token != "UserInfo") {
		t.Errorf("%s: error is %v, want a refusal for its %s", what, err, check)
	}
}

func TestUserInfo_AsJSON(t *testing.T) {
	t.Parallel()
	a := newUserInfoApp(t, "")
	for _, tt := range []struct {
		what, contentType, body string
		want                    string // the claims, or none
		check                   string // that refuses it
	}{
		{"as it should be", "application/json", `{"sub":"alice","siret":"1"}`, `{"sub":"alice","siret":"1"}`, ""},
		{"with a charset", "application/json; charset=utf-8", `{"sub":"alice"}`, `{"sub":"alice"}`, ""},
		{"with a broken parameter", "application/json; charset", `{"sub":"alice"}`, `{"sub":"alice"}`, ""},
		{"with a type in capitals", "Application/JSON", `{"sub":"alice"}`, `{"sub":"alice"}`, ""},
		{"with white space", "application/json", " {\n\"sub\" : \"alice\" }\r\n", `{"sub":"alice"}`, ""},
		{"with a null", "application/json", `{"sub":"alice","x":null}`, `{"sub":"alice","x":null}`, ""},

		{"about another", "application/json", `{"sub":"mallory"}`, "", "sub"},
		{"about a sub in capitals", "application/json", `{"sub":"ALICE"}`, "", "sub"},
		{"with SUB in capitals", "application/json", `{"SUB":"alice"}`, "", "sub"},
		{"without sub", "application/json", `{"email":"alice@example.org"}`, "", "sub"},
		{"with sub null", "application/json", `{"sub":null}`, "", "sub"},
		{"with sub in an array", "application/json", `{"sub":["alice"]}`, "", "sub"},
		{"with an error instead", "application/json", `{"error":"invalid_token"}`, "", "sub"},

		{"with sub twice", "application/json", `{"sub":"mallory","sub":"alice"}`, "", ""},
		{"with more behind", "application/json", `{"sub":"alice"}{}`, "", ""},
		{"in an array", "application/json", `[{"sub":"alice"}]`, "", ""},
		{"without UTF-8", "application/json", "{\"sub\":\"alice\",\"x\":\"\xff\"}", "", ""},
		{"empty", "application/json", "", "", ""},
		{"labelled as HTML", "text/html", `{"sub":"alice"}`, "", ""},
		{"labelled as text", "text/plain", `{"sub":"alice"}`, "", ""},
		{"labelled as other JSON", "application/problem+json", `{"sub":"alice"}`, "", ""},
		{"labelled with two types", "application/json, text/html", `{"sub":"alice"}`, "", ""},
		{"without a label", "", `{"sub":"alice"}`, "", ""},
	} {
		got, err := a.ask(t, 200, tt.contentType, tt.body)
		if got != tt.want {
			t.Errorf("%s: the claims are %s, want %s", tt.what, got, tt.want)
		}
		if tt.want == "" {
			wantUserInfoRefused(t, tt.what, err, tt.check)
		} else if err != nil {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
}

func TestUserInfo_AsJWT(t *testing.T) {
	t.Parallel()
	for _, pin := range []string{"", "ES256", "RS256", "HS256"} {
		a := newUserInfoApp(t, pin)
		now := a.clock.Now().Unix()
		alg := pin
		if pin == "" {
			alg = "ES256"
		}
		for _, tt := range []struct {
			what, claim string
			value       any
			check       string
		}{
			{"nothing unusual", "x", nil, ""},
			{"no exp", "exp", nil, ""},
			{"exp to come", "exp", now + 60, ""},
			{"exp within the skew", "exp", now - 30, ""},
			{"exp past the skew", "exp", now - 61, "exp"},
			{"aud as an array", "aud", []string{"app"}, ""},
			{"an untrusted audience beside", "aud", []string{"other", "app"}, "aud"},

			{"iss of another", "iss", "https://evil.example", "iss"},
			{"no iss", "iss", nil, "iss"},
			{"aud of another", "aud", "app2", "aud"},
			{"no aud", "aud", nil, "aud"},
			{"an empty aud", "aud", []string{}, "aud"},
			{"sub of another", "sub", "mallory", "sub"},
			{"no sub", "sub", nil, "sub"},
		} {
			for _, contentType := range []string{"application/jwt", "application/jwt;charset=UTF-8", "APPLICATION/JWT"} {
				what := fmt.Sprintf("%s by %s, pinned to %q", tt.what, alg, pin)
				got, err := a.ask(t, 200, contentType, a.signed(alg, map[string]any{tt.claim: tt.value}))
				if tt.check != "" {
					wantUserInfoRefused(t, what, err, tt.check)
				} else if err != nil || !strings.Contains(got, `"sub":"alice"`) {
					t.Errorf("%s: %s, %v", what, got, err)
				}
			}
		}
	}
}

func TestUserInfo_ASignedOneIsReadStrictly(t *testing.T) {
	t.Parallel()
	a := newUserInfoApp(t, "HS256")
	secret := []byte(longSecret)
	sound := fmt.Sprintf(`"iss":%q,"aud":"app","sub":"alice"`, a.issuer)
	for _, payload := range []string{
		`{` + sound + `,"sub":"alice"}`, `{` + sound + `}{}`, `[{` + sound + `}]`, `{` + sound + `,"exp":"1"}`,
		`{` + sound + `,"exp":-1}`, `{"iss":1,"aud":"app","sub":"alice"}`, `{"iss":"x","aud":7,"sub":"alice"}`, ``, `null`,
	} {
		_, err := a.ask(t, 200, "application/jwt", sign(head("HS256", ""), payload, secret))
		if got := codeOf(err); got != CodeUserInfoRefused {
			t.Errorf("%s: error is %v", payload, err)
		}
	}
	if _, err := a.ask(t, 200, "application/jwt", " "+sign(head("HS256", ""), `{`+sound+`}`, secret)+"\n"); err != nil {
		t.Errorf("white space around: %v", err)
	}
}

func TestUserInfo_WhatSignsIt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pin, alg string
		check    string
	}{
		{"", "ES256", ""}, {"", "RS256", ""}, {"", "HS256", "alg"}, {"", "none", "format"},
		{"ES256", "ES256", ""}, {"ES256", "RS256", "alg"}, {"ES256", "HS256", "alg"}, {"ES256", "none", "format"},
		{"HS256", "HS256", ""}, {"HS256", "HS512", "alg"}, {"HS256", "ES256", "alg"},
	} {
		a := newUserInfoApp(t, tt.pin)
		_, err := a.ask(t, 200, "application/jwt", a.signed(tt.alg, nil))
		what := fmt.Sprintf("%s where %q was agreed", tt.alg, tt.pin)
		if tt.check != "" {
			wantUserInfoRefused(t, what, err, tt.check)
		} else if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	a := newUserInfoApp(t, "")
	for what, jwt := range map[string]string{
		"kid":       sign(head("ES256", "unknown"), `{"sub":"alice"}`, testKeys().Other),
		"signature": sign(head("ES256", "ES256"), `{"sub":"alice"}`, testKeys().Other),
		"format":    `{"sub":"alice"}`,
	} {
		_, err := a.ask(t, 200, "application/jwt", jwt)
		wantUserInfoRefused(t, "a forgery", err, what)
	}
}

func TestUserInfo_PlainJSONWhereASignatureWasAgreed(t *testing.T) {
	t.Parallel()
	a := newUserInfoApp(t, "ES256")
	_, err := a.ask(t, 200, "application/json", `{"sub":"alice"}`)
	wantUserInfoRefused(t, "plain JSON", err, "alg")
	if want := `expected a JWT signed with ES256, got "plain JSON"; the algorithms in Registration must be`; !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want %s", err, want)
	}
}

func TestUserInfo_KeysThatCannotBeHadAreAnOutage(t *testing.T) {
	t.Parallel()
	a := newUserInfoApp(t, "")
	a.setJWKS(respond(503, "text/html", "down"))
	_, err := a.ask(t, 200, "application/jwt", a.signed("ES256", nil))
	wantCode(t, err, CodeProviderUnavailable)
}

func TestUserInfo_Errors(t *testing.T) {
	t.Parallel()
	a := newUserInfoApp(t, "")
	for _, tt := range []struct {
		what      string
		status    int
		challenge string
		body      string
		code      Code
		error     string // of the ProviderError
	}{
		{"401 with a challenge", 401, `Bearer realm="x", error="invalid_token", error_description="expired"`, "", CodeProviderError, "invalid_token"},
		{"403 with a challenge", 403, `Bearer error="insufficient_scope"`, "", CodeClientRefused, "insufficient_scope"},
		{"401 with a body", 401, "", `{"error":"invalid_token"}`, CodeProviderError, "invalid_token"},
		{"401 with a hostile challenge", 401, `Bearer error="` + strings.Repeat("\u202e\t", 500), "", CodeClientRefused,
			strings.Repeat("..", 16) + "…"},
		{"401 without a word", 401, "", "", CodeProviderInvalid, ""},
		{"404", 404, "", "<p>", CodeProviderInvalid, ""},
		{"204", 204, "", "", CodeProviderInvalid, ""},
		{"201", 201, "", `{"sub":"alice"}`, CodeProviderInvalid, ""},
		{"302", 302, "", "", CodeProviderInvalid, ""},
		{"429", 429, "", "", CodeProviderUnavailable, ""},
		{"500 with an error", 500, "", `{"error":"server_error"}`, CodeProviderUnavailable, ""},
	} {
		a.answers(func(w http.ResponseWriter, r *http.Request) {
			if tt.challenge != "" {
				w.Header().Set("WWW-Authenticate", tt.challenge)
			}
			respond(tt.status, "application/json", tt.body)(w, r)
		})
		_, err := a.flow.userInfo(t.Context(), a.metadata, "the-token", a.flow.rules.issuer, "alice")
		if codeOf(err) != tt.code {
			t.Errorf("%s: error is %v, want code %s", tt.what, err, tt.code)
		}
		var refusal *ProviderError
		if errors.As(err, &refusal) != (tt.error != "") {
			t.Errorf("%s: error is %v", tt.what, err)
		} else if refusal != nil && (refusal.ErrorCode != tt.error || refusal.StatusCode != tt.status || refusal.Endpoint != "userinfo") {
			t.Errorf("%s: the provider's error is %+v", tt.what, refusal)
		}
	}
}

func TestUserInfo_TheAccessTokenFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	a := newUserInfoApp(t, "")
	for _, target := range []string{"https://elsewhere.example/userinfo", a.issuer + "/elsewhere", a.issuer + "/jwks"} {
		a.answers(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, target, http.StatusTemporaryRedirect)
		})
		_, err := a.flow.userInfo(t.Context(), a.metadata, "the-token", a.flow.rules.issuer, "alice")
		wantCode(t, err, CodeProviderInvalid)
	}
	if others, keys := a.others.Load(), a.keyFetches.Load(); others+keys > 0 {
		t.Errorf("the redirect was followed: %d requests elsewhere, %d for keys", others, keys)
	}
}

// offlineFlow returns a flow that cannot reach its provider.
func offlineFlow(t testing.TB, pin string) *flow {
	return mustNew(t, func(c *Config) {
		c.ClientSecret, c.Registration.UserInfoSignedResponseAlg = longSecret, pin
		c.Provider.Metadata = soundMetadata(nil)
		c.Provider.Transport = roundTripper(func(*http.Request) (*http.Response, error) {
			return nil, errors.New("no network here")
		})
		c.Now = func() time.Time { return tokenTime }
	}).flow
}

// FuzzUserInfo checks that no answer makes a panic or an unbounded error, and
// that nothing but what was agreed is accepted.
func FuzzUserInfo(f *testing.F) {
	plain := offlineFlow(f, "")
	pinned := offlineFlow(f, "HS256")
	secret := []byte(longSecret)
	sound := `{"iss":"https://op.example","aud":"app","sub":"alice"}`
	for _, body := range []string{
		sound, sign(head("HS256", ""), sound, secret), sign(head("HS256", ""), `{"sub":"alice"}`, secret),
		sign(head("ES256", "a"), sound, testKeys().P256), `{"sub":"alice","sub":"bob"}`, "a.b.c", "..", "", "\xff",
	} {
		for _, mediaType := range []string{"application/json", "application/jwt", "text/html", ""} {
			f.Add(mediaType, []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, mediaType string, body []byte) {
		for _, c := range []*flow{plain, pinned} {
			claims, err := c.userInfoClaims(t.Context(), c.provider.static.effective, &fetch.Response{
				StatusCode: 200, MediaType: mediaType, Body: slices.Clone(body),
			}, c.rules.issuer)
			if err != nil {
				checkText(t, err)
				continue
			}
			switch {
			case c == plain && mediaType == "application/json" && string(claims) == string(body):
			case c == pinned && mediaType == "application/jwt":
				members, err := strictjson.Object(claims)
				if iss, _, _ := members.String("iss"); err != nil || iss != c.rules.issuer {
					t.Fatalf("accepted %s", claims)
				}
			default:
				t.Fatalf("%q, %q gave %s", mediaType, body, claims)
			}
		}
	})
}
