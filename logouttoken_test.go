package oidcrp

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp/internal/strictjson"
)

// EncryptedFor is encryptedFor, for package oidcrp_test.
var EncryptedFor = encryptedFor

// soundLogoutToken returns the claims of a Logout Token about alice.
func soundLogoutToken(c *Client) map[string]any {
	return map[string]any{
		"iss": c.issuer, "aud": c.clientID, "sub": "alice",
		"iat": c.now().Unix(), "exp": c.now().Add(2 * time.Minute).Unix(), "jti": "j",
		"events": map[string]any{logoutTokenEvent: map[string]any{}},
	}
}

// absent is the value of a claim that is left out.
const absent = "absent"

// A logoutTokenRow is a Logout Token that is sound but for one claim.
type logoutTokenRow struct {
	what, claim string
	value       any
	check       string // that refuses it; empty if none does
}

func logoutTokenRows(c *offlineClient) []logoutTokenRow {
	at := func(d time.Duration) int64 { return c.clock.Now().Add(d).Unix() }
	event := func(value any) map[string]any { return map[string]any{logoutTokenEvent: value} }
	return []logoutTokenRow{
		{"nothing unusual", "x", 1, ""},
		{"an aud that is an array", "aud", []string{"app"}, ""},
		{"a second audience", "aud", []string{"app", "other"}, "aud"},
		{"no aud", "aud", absent, "aud"},
		{"an empty aud", "aud", []string{}, "aud"},
		{"an aud in upper case", "aud", "APP", "aud"},
		{"an iss with a slash", "iss", c.issuer + "/", "iss"},
		{"no iss", "iss", absent, "iss"},
		{"an iat of eleven minutes ago", "iat", at(-11 * time.Minute), ""},
		{"an iat of eleven minutes and a second ago", "iat", at(-11*time.Minute - time.Second), "iat"},
		{"an iat a minute ahead", "iat", at(time.Minute), ""},
		{"an iat a minute and a second ahead", "iat", at(time.Minute + time.Second), "iat"},
		{"an iat in words", "iat", "now", "iat"},
		{"an iat of null", "iat", nil, "iat"},
		{"no iat", "iat", absent, "iat"},
		{"no exp", "exp", absent, ""},
		{"an exp of 59 seconds ago", "exp", at(-59 * time.Second), ""},
		{"an exp of a minute ago", "exp", at(-time.Minute), "exp"},
		{"an exp in words", "exp", "never", "exp"},
		{"an exp of 0", "exp", 0, "exp"},
		{"no jti", "jti", absent, "jti"},
		{"an empty jti", "jti", "", "jti"},
		{"a jti that is a number", "jti", 1, "jti"},
		{"a jti of null", "jti", nil, "jti"},
		{"no events", "events", absent, "events"},
		{"events of null", "events", nil, "events"},
		{"events as text", "events", logoutTokenEvent, "events"},
		{"events as a list", "events", []string{logoutTokenEvent}, "events"},
		{"no event", "events", map[string]any{}, "events"},
		{"an event of null", "events", event(nil), "events"},
		{"an event of true", "events", event(true), "events"},
		{"an event with members", "events", event(map[string]any{"reason": "x"}), ""},
		{"a second event", "events", map[string]any{logoutTokenEvent: map[string]any{}, "urn:x": nil}, ""},
		{"an event in upper case", "events", map[string]any{strings.ToUpper(logoutTokenEvent): map[string]any{}}, "events"},
		{"a nonce", "nonce", "n", "nonce"},
		{"an empty nonce", "nonce", "", "nonce"},
		{"a nonce of null", "nonce", nil, "nonce"},
		{"a nonce that is a number", "nonce", 1, "nonce"},
		{"no sub and no sid", "sub", absent, "sub"},
		{"an empty sub and no sid", "sub", "", "sub"},
		{"a sub that is a number", "sub", 1, "sub"},
		{"a sid that is a number", "sid", 1, "sid"},
		{"an empty sid beside sub", "sid", "", ""},
		{"a sid with odd characters", "sid", "a b\"'&#%<\\~", ""},
	}
}

func TestRules_ClaimsOfLogoutTokens(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	for _, tt := range logoutTokenRows(c) {
		claims := soundLogoutToken(c.Client)
		claims[tt.claim] = tt.value
		if tt.value == absent {
			delete(claims, tt.claim)
		}
		payload, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		token, err := readIDToken(payload)
		jti := ""
		if err == nil {
			jti, err = c.flow.rules.checkLogoutToken(payload, token)
		}
		if tt.check == "" {
			if err != nil || jti != "j" {
				t.Errorf("%s: jti %q, %v", tt.what, jti, err)
			}
			continue
		}
		refused, ok := renameToken(err).(*TokenError)
		if !ok || refused.Check != tt.check || refused.Token != "Logout Token" {
			t.Errorf("%s: %v, want a refusal for its %s", tt.what, err, tt.check)
		}
	}
}

func formRequest(form string) *http.Request {
	r := httptest.NewRequest("POST", "/anywhere", strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// FuzzLogoutToken checks that no request makes a panic or an unbounded error,
// and that what is accepted is a Logout Token for this client.
func FuzzLogoutToken(f *testing.F) {
	c := newOfflineClient(f, func(c *Config) {
		c.Provider.Metadata = soundMetadata(nil)
		c.Registration.IDTokenSignedResponseAlg = "HS256"
	})
	secret := []byte(c.provider.auth.secret)
	sound := soundLogoutToken(c.Client)
	for claim, value := range map[string]any{
		"x": 1, "nonce": nil, "sid": "s", "events": nil, "iat": "x", "jti": 1, "exp": 1e300,
	} {
		claims := maps.Clone(sound)
		claims[claim] = value
		text, err := json.Marshal(claims)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), true)
		f.Add("logout_token="+sign(head("HS256", ""), string(text), secret), false)
		f.Add(string(text[:len(text)-1])+`,"jti":"twice"}`, true)
	}
	f.Add("logout_token=a.b.c&logout_token=", false)
	f.Add("logout_token=....", false)
	f.Fuzz(func(t *testing.T, text string, claims bool) {
		if claims {
			text = "logout_token=" + sign(head("HS256", ""), text, secret)
		}
		raw, err := readLogoutRequest(formRequest(text))
		if err == nil {
			_, err = c.flow.verifyLogoutToken(t.Context(), raw)
		}
		if err != nil {
			checkText(t, err)
			return
		}
		form, _ := url.ParseQuery(text)
		parts := strings.Split(form.Get("logout_token"), ".")
		payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
		members, err := strictjson.Object(payload)
		iss, _, _ := members.String("iss")
		aud, _, _ := members.StringOrStrings("aud")
		if err != nil || iss != c.issuer || len(aud) == 0 || members.Has("nonce") || !members.Has("jti") ||
			!members.Has("sub") && !members.Has("sid") || !strings.Contains(string(members["events"]), "backchannel-logout") {
			t.Fatalf("accepted %s", payload)
		}
	})
}
