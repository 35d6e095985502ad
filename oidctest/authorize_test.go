package oidctest_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp/oidctest"
)

func parts(t *testing.T, compact any) (header, payload map[string]any) {
	t.Helper()
	s, _ := compact.(string)
	three := strings.Split(s, ".")
	if len(three) != 3 {
		t.Fatalf("not a compact JWS: %v", compact)
	}
	for i, into := range []*map[string]any{&header, &payload} {
		b, err := base64.RawURLEncoding.DecodeString(three[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, into); err != nil {
			t.Fatal(err)
		}
	}
	return header, payload
}

// A clock advances only when Advance is called.
type clock struct {
	mu  sync.Mutex
	now time.Time // guarded by mu
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestAuthorization_ErrorsGoToTheRedirectURI(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", RequirePKCE: true, Clients: []oidctest.Client{
		{ID: oidctest.ClientID, Secret: oidctest.ClientSecret, Scopes: []string{"openid", "profile", "email"}}}})
	for _, row := range []struct {
		name, wantError string
		request         url.Values
	}{
		{"another response type", "unsupported_response_type", authRequest("response_type", "token")},
		{"no response type", "unsupported_response_type", authRequest("response_type", "")},
		{"a response mode that is not offered", "invalid_request", authRequest("response_mode", "fragment")},
		{"no openid", "invalid_scope", authRequest("scope", "email")},
		{"a scope the client may not have", "invalid_scope", authRequest("scope", "openid phone")},

		{"no code challenge", "invalid_request", authRequest("code_challenge", "", "code_challenge_method", "")},
		{"a challenge without method, which is plain", "invalid_request", authRequest("code_challenge_method", "")},
		{"plain by name", "invalid_request", authRequest("code_challenge_method", "plain")},
		{"a method without challenge", "invalid_request", authRequest("code_challenge", "")},
		{"a short challenge", "invalid_request", authRequest("code_challenge", "short")},

		{"prompt none beside login", "invalid_request", authRequest("prompt", "none login")},
		{"a max_age that is not a number", "invalid_request", authRequest("max_age", "-1")},
		{"claims that are not JSON", "invalid_request", authRequest("claims", "{")},
		{"a request object", "request_not_supported", authRequest("request", "e30.e30.")},
		{"no session for prompt none", "login_required", authRequest("prompt", "none")},
		{"an essential acr out of reach", "access_denied", authRequest("scope", "openid",
			"claims", `{"id_token":{"acr":{"essential":true,"value":"eidas3"}}}`)},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				r := newRaw(t, p).do(method, oidctest.EndpointAuthorization, row.request, nil)
				if r.back.Get("error") != row.wantError || r.back.Has("code") {
					t.Errorf("%s: got %d %v, want %s", method, r.status, r.back, row.wantError)
				}
				if r.back.Get("state") != "the-state" || r.back.Get("iss") != p.Issuer() {
					t.Errorf("%s: state and iss are missing in %v", method, r.back)
				}
			}
		})
	}
}

func TestAuthorization_UntrustedRequestsAreNotRedirected(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", Clients: []oidctest.Client{
		{ID: oidctest.ClientID, Secret: oidctest.ClientSecret, RedirectURIs: []string{callback}},
		{ID: "loopback", Secret: oidctest.ClientSecret}}})
	twice := authRequest()
	twice.Add("state", "another")
	for name, request := range map[string]url.Values{
		"an unknown client":                authRequest("client_id", "<script>"),
		"no client":                        authRequest("client_id", ""),
		"no redirect URI":                  authRequest("redirect_uri", ""),
		"a redirect URI with a slash more": authRequest("redirect_uri", callback+"/"),
		"a redirect URI off loopback":      authRequest("client_id", "loopback", "redirect_uri", "http://192.0.2.1/"),
		"a script as redirect URI":         authRequest("client_id", "loopback", "redirect_uri", "javascript:alert(1)//127.0.0.1"),
		"a parameter twice":                twice,
		"an unknown request URI":           authRequest("request_uri", "urn:ietf:params:oauth:request_uri:x"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRaw(t, p).get(oidctest.EndpointAuthorization, request)
			if r.status != http.StatusBadRequest || r.back != nil {
				t.Errorf("got %d to %v", r.status, r.back)
			}
			if !strings.Contains(r.header.Get("Content-Type"), "text/html") || strings.Contains(r.body, "<script>") {
				t.Errorf("got the page %s", r.body)
			}
		})
	}
}

func TestAuthorization_SessionSatisfiesMaxAgeAndPrompt(t *testing.T) {
	t.Parallel()
	now := newClock()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", Now: now.Now})
	c := newRaw(t, p)
	first := claims(t, c.tokens()["id_token"])
	now.Advance(10 * time.Minute)

	same := func(name string, fresh bool, pairs ...string) {
		t.Helper()
		got := claims(t, c.tokens(pairs...)["id_token"])
		if isFresh := got["auth_time"] == float64(now.Now().Unix()); isFresh != fresh {
			t.Errorf("%s: auth_time is %v at %d, want fresh: %t", name, got["auth_time"], now.Now().Unix(), fresh)
		}
		if got["sid"] != first["sid"] {
			t.Errorf("%s: sid changed", name)
		}
	}
	same("a plain request", false)
	same("prompt none", false, "prompt", "none")
	same("a max_age that is not over", false, "max_age", "600")
	same("a max_age that is over", true, "max_age", "599")
	now.Advance(time.Second)
	same("max_age 0", true, "max_age", "0")
	now.Advance(time.Second)
	same("prompt login", true, "prompt", "login")

	p.EndSessions("alice")
	if r := c.get(oidctest.EndpointAuthorization, authRequest("prompt", "none")); r.back.Get("error") != "login_required" {
		t.Errorf("without a session: %v", r.back)
	}
}

func TestAuthorization_PromptNoneRequiresTheHintedUser(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice"})
	c := newRaw(t, p)
	idToken := c.tokens()["id_token"].(string)
	c.code("prompt", "none", "id_token_hint", idToken)

	other := p.SignClaims("RS256", p.IDTokenClaims(oidctest.ClientID, "bruno"), nil)
	r := c.get(oidctest.EndpointAuthorization, authRequest("prompt", "none", "id_token_hint", other))
	if r.back.Get("error") != "login_required" {
		t.Errorf("with another person's hint: %v", r.back)
	}
}

func TestAuthorization_ACRIsTheRequestedLevelWithinReach(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice"})
	for _, row := range []struct {
		name, param, value, wantACR string
	}{
		{"nothing asked", "", "", "eidas1"},
		{"the level of a password", "acr_values", "eidas1", "eidas1"},
		{"a level to step up to", "acr_values", "eidas2", "eidas2"},
		{"the first that is reached", "acr_values", "eidas3 eidas2", "eidas2"},
		{"a level out of reach, which is a wish", "acr_values", "eidas3", "eidas1"},
		{"an essential level to step up to", "claims", `{"id_token":{"acr":{"essential":true,"values":["eidas3","eidas2"]}}}`, "eidas2"},
		{"a voluntary claim out of reach", "claims", `{"id_token":{"acr":{"value":"eidas3"}}}`, "eidas1"},
		{"an acr that is only looked at", "claims", `{"id_token":{"acr":null}}`, "eidas1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := newRaw(t, p)
			if row.wantACR == "eidas2" {
				c.code() // creates a session at eidas1
			}
			pairs := []string{row.param, row.value}
			if row.param == "" {
				pairs = nil
			}
			got := claims(t, c.tokens(pairs...)["id_token"])
			if got["acr"] != row.wantACR {
				t.Errorf("acr is %v, want %s", got["acr"], row.wantACR)
			}
			amr, _ := got["amr"].([]any)
			if stepped := len(amr) == 2 && amr[1] == "mfa"; stepped != (row.wantACR == "eidas2") {
				t.Errorf("amr is %v at %s", amr, row.wantACR)
			}
		})
	}
}

func TestAuthorization_FormPost(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice"})
	a := newApp(t, p)
	a.options = append(a.options, param("response_mode", "form_post"))
	browser := p.SignIn(t, a.URL+"/login", "")
	if a.callback.Get("iss") != p.Issuer() {
		t.Errorf("the form is %v", a.callback)
	}
	if status, body := get(t, browser, a.URL+"/welcome"); status != http.StatusOK || body != "hello alice" {
		t.Errorf("got %d %s", status, body)
	}
}

func TestAuthorization_FormPostPageIsEscaped(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice"})
	c := newRaw(t, p)
	c.client.Transport = p.HTTPClient().Transport // does not submit the form
	r := c.get(oidctest.EndpointAuthorization, authRequest("response_mode", "form_post", "state", `"><script>x</script>`))
	if strings.Contains(r.body, "<script>x") || !strings.Contains(r.body, "&lt;script&gt;x") {
		t.Errorf("got the page %s", r.body)
	}
	if !strings.Contains(r.body, "<script>document.forms[0].submit()</script>") {
		t.Errorf("the page does not submit itself: %s", r.body)
	}
}
