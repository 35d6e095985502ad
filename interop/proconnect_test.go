package interop

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// rawClient is a relying party without any library: it asks exactly what a test says and hands
// back exactly what the provider returned. It checks the stand-in without the library's help.
type rawClient struct {
	t        testing.TB
	provider *provider
	callback string
}

const (
	rawID     = "raw"
	rawSecret = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// newRawClient starts a stand-in with this client as its only one. The callback page shows the
// parameters it was opened with, as JSON.
func newRawClient(t testing.TB, kind string, metadata map[string]any) *rawClient {
	t.Helper()
	c, registered := unregisteredRawClient(t)
	maps.Copy(registered, metadata)
	c.provider = startProvider(t, kind, settings{Clients: []map[string]any{registered}})
	return c
}

// unregisteredRawClient is one whose metadata is still to be given to a provider.
func unregisteredRawClient(t testing.TB) (*rawClient, map[string]any) {
	t.Helper()
	callback := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		json.NewEncoder(w).Encode(r.Form)
	}))
	t.Cleanup(callback.Close)
	return &rawClient{t: t, callback: callback.URL}, map[string]any{
		"client_id":                 rawID,
		"client_secret":             rawSecret,
		"redirect_uris":             []string{callback.URL + "/callback"},
		"post_logout_redirect_uris": []string{callback.URL + "/bye"},
		"scope":                     "openid email given_name usual_name siret roles custom",
	}
}

// authorizeURL is an authentication request; more overrides or, with "", removes parameters.
func (c *rawClient) authorizeURL(more map[string]string) string {
	values := url.Values{
		"client_id":     {rawID},
		"response_type": {"code"},
		"redirect_uri":  {c.callback + "/callback"},
		"scope":         {"openid email"},
		"state":         {"af0ifjsldkj"},
		"nonce":         {"n-0S6_WzA2Mj"},
	}
	for name, value := range more {
		if values.Set(name, value); value == "" {
			values.Del(name)
		}
	}
	return c.provider.issuer + "/authorize?" + values.Encode()
}

// answer is what the callback received.
func (c *rawClient) answer(p *page) url.Values {
	c.t.Helper()
	var values url.Values
	p.json(&values)
	return values
}

// token posts to the token endpoint.
func (c *rawClient) token(form url.Values) (int, map[string]any) {
	c.t.Helper()
	form.Set("client_id", rawID)
	form.Set("client_secret", rawSecret)
	res, err := http.PostForm(c.provider.issuer+"/token", form)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	var body map[string]any
	if err := json.NewDecoder(res.Body).Decode(&body); err != nil {
		c.t.Fatal(err)
	}
	return res.StatusCode, body
}

// signIn runs a whole login and returns the token response.
func (c *rawClient) signIn(b *browser, a account, more map[string]string) map[string]any {
	c.t.Helper()
	got := c.answer(b.open(c.authorizeURL(more)).signIn(a))
	status, tokens := c.token(url.Values{
		"grant_type":   {"authorization_code"},
		"code":         {got.Get("code")},
		"redirect_uri": {c.callback + "/callback"},
	})
	if status != http.StatusOK {
		c.t.Fatalf("token endpoint answered %d: %v", status, tokens)
	}
	return tokens
}

// userInfo returns status, media type and body.
func (c *rawClient) userInfo(accessToken string) (int, string, string) {
	c.t.Helper()
	req, _ := http.NewRequest(http.MethodGet, c.provider.issuer+"/userinfo", nil)
	req.Header.Set("Authorization", "Bearer "+accessToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("Content-Type"), string(body)
}

// unverified reads the payload of a JWT. Nothing depends on it being true.
func unverified(t testing.TB, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("not a signed JWT: %q", token)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// TestStandInRefusesLikeProConnect holds the stand-in's first checks against what ProConnect
// does: a page with Y000400, never a redirect.
func TestStandInRefusesLikeProConnect(t *testing.T) {
	t.Parallel()
	c := newRawClient(t, proconnect, nil)
	plain := c.authorizeURL(nil)
	for _, test := range []struct{ name, address, shows string }{
		{"no state", c.authorizeURL(map[string]string{"state": ""}), "Y000400"},
		{"empty nonce", strings.Replace(plain, "n-0S6_WzA2Mj", "", 1), "Y000400"},
		{"empty login_hint", plain + "&login_hint=", "Y000400"},
		{"login_hint that is not an e-mail address", plain + "&login_hint=alice", "Y000400"},
		{"siret_hint of 13 characters", plain + "&siret_hint=1300252650001", "Y000400"},
		{"scope twice", plain + "&scope=openid", "Y000400"},

		{"unknown client", c.authorizeURL(map[string]string{"client_id": "x"}),
			"oidc-provider-rendered-error:invalid_client"},
		{"redirect_uri with a slash more",
			c.authorizeURL(map[string]string{"redirect_uri": c.callback + "/callback/"}),
			"oidc-provider-rendered-error:invalid_redirect_uri"},
	} {
		t.Run(test.name, func(t *testing.T) {
			page := newBrowser(t).open(test.address)
			if page.Status != http.StatusBadRequest || !strings.Contains(page.Body, test.shows) {
				t.Errorf("got %d %s\n%s", page.Status, page.URL, page.Body)
			}
		})
	}
}

// TestStandInErrorsLikeProConnect holds the errors that reach the callback: always with state and
// iss.
func TestStandInErrorsLikeProConnect(t *testing.T) {
	t.Parallel()
	c := newRawClient(t, proconnect, nil)
	for _, test := range []struct {
		name               string
		more               map[string]string
		error, description string
	}{
		{"silent without a session", map[string]string{"prompt": "none"},
			"login_required", "End-User authentication is required"},
		{"scope not allowed", map[string]string{"scope": "openid siren"},
			"invalid_scope", "requested scope is not allowed"},
		{"plain PKCE", map[string]string{"code_challenge": strings.Repeat("a", 43),
			"code_challenge_method": "plain"},
			"invalid_request", "not supported value of code_challenge_method"},
		{"claims wrapped once too often", map[string]string{"claims": `{"claims":{"id_token":{"acr":null}}}`},
			"invalid_request", "claims parameter should have userinfo or id_token properties"},
		{"select_account", map[string]string{"prompt": "select_account"},
			"invalid_request", "unsupported prompt value requested"},
		{"JARM", map[string]string{"response_mode": "jwt"},
			"unsupported_response_mode", "unsupported response_mode requested"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := c.answer(newBrowser(t).open(c.authorizeURL(test.more)))
			if got.Get("error") != test.error || got.Get("error_description") != test.description {
				t.Errorf("got %v", got)
			}
			if got.Get("state") != "af0ifjsldkj" || got.Get("iss") != c.provider.issuer {
				t.Errorf("state or iss missing: %v", got)
			}
		})
	}
}

func TestStandInSignsInLikeProConnect(t *testing.T) {
	t.Parallel()
	c := newRawClient(t, proconnect, nil)
	tokens := c.signIn(newBrowser(t), alice, map[string]string{
		"claims": `{"id_token":{"acr":null,"amr":null}}`,
		// An unknown parameter and an unknown scope do not matter.
		"scope": "openid email profile", "sp_name": "x",
	})
	if len(tokens) != 6 || tokens["token_type"] != "Bearer" || tokens["refresh_token"] == nil {
		t.Errorf("token response %v", tokens)
	}
	claims := unverified(t, tokens["id_token"].(string))
	if claims["acr"] != "eidas1" || claims["auth_time"] == nil || claims["at_hash"] == nil ||
		claims["aud"] != rawID || claims["sub"] != alice.Sub || claims["email"] != nil ||
		claims["iss"] != c.provider.issuer {
		t.Errorf("ID Token %v", claims)
	}
	status, media, body := c.userInfo(tokens["access_token"].(string))
	if status != http.StatusOK || media != "application/json; charset=utf-8" ||
		!strings.Contains(body, "Alice.Martin@ministere.example") {
		t.Errorf("userinfo %d %s %s", status, media, body)
	}
}

func TestStandInSendsSignedUserInfoLikeProConnect(t *testing.T) {
	t.Parallel()
	c := newRawClient(t, proconnect, map[string]any{"userinfo_signed_response_alg": "ES256"})
	tokens := c.signIn(newBrowser(t), alice, nil)
	if _, asked := unverified(t, tokens["id_token"].(string))["acr"]; asked {
		t.Error("acr in the ID Token though nobody asked for it")
	}
	_, media, body := c.userInfo(tokens["access_token"].(string))
	claims := unverified(t, body)
	if media != "application/jwt; charset=utf-8" || claims["aud"] != rawID ||
		claims["iss"] != c.provider.issuer || claims["exp"] == nil {
		t.Errorf("%s %v", media, claims)
	}
}

// TestStandInJudgesACRLikeProConnect: levels are compared as words, an unknown one becomes
// eidas1, and only levels below eidas2 are satisfied by the session.
func TestStandInJudgesACRLikeProConnect(t *testing.T) {
	t.Parallel()
	c := newRawClient(t, proconnect, nil)
	insist := func(values string) map[string]string {
		return map[string]string{"claims": `{"id_token":{"acr":{"essential":true,"values":[` + values + `]}}}`}
	}
	t.Run("a higher level is another level", func(t *testing.T) {
		got := c.answer(newBrowser(t).open(c.authorizeURL(insist(`"eidas1"`))).signIn(bob))
		if got.Get("error") != "access_denied" ||
			got.Get("error_description") != "requested ACRs could not be satisfied" {
			t.Errorf("got %v", got)
		}
	})
	t.Run("the session serves a level it has", func(t *testing.T) {
		b := newBrowser(t)
		c.signIn(b, alice, nil)
		if got := c.answer(b.open(c.authorizeURL(insist(`"eidas1"`)))); got.Get("code") == "" {
			t.Errorf("got %v", got)
		}
	})
	t.Run("eidas2 always asks again", func(t *testing.T) {
		b := newBrowser(t)
		c.signIn(b, bob, nil)
		page := b.open(c.authorizeURL(insist(`"eidas2"`)))
		if !strings.Contains(page.Body, `id="login"`) {
			t.Errorf("got %s\n%s", page.URL, page.Body)
		}
	})
	t.Run("prompt=login does not ask again", func(t *testing.T) {
		b := newBrowser(t)
		c.signIn(b, alice, nil)
		got := c.answer(b.open(c.authorizeURL(map[string]string{"prompt": "login"})))
		if got.Get("code") == "" {
			t.Errorf("got %v", got)
		}
	})
	t.Run("silent with a session", func(t *testing.T) {
		b := newBrowser(t)
		c.signIn(b, alice, nil)
		got := c.answer(b.open(c.authorizeURL(map[string]string{"prompt": "none"})))
		if got.Get("code") == "" {
			t.Errorf("got %v", got)
		}
	})
	t.Run("an unknown level becomes eidas1", func(t *testing.T) {
		page := newBrowser(t).open(c.authorizeURL(insist(`"eidas1"`)))
		got := c.answer(page.form().set("sub", bob.Sub).set("acr", "urn:level:9").submit())
		if got.Get("code") == "" {
			t.Errorf("got %v", got)
		}
	})
}

func TestStandInRefreshesLikeProConnect(t *testing.T) {
	t.Parallel()
	c := newRawClient(t, proconnect, nil)
	b := newBrowser(t)
	tokens := c.signIn(b, alice, nil)
	refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens["refresh_token"].(string)}}
	status, again := c.token(refresh)
	if status != http.StatusOK || again["refresh_token"] != tokens["refresh_token"] ||
		again["access_token"] == tokens["access_token"] {
		t.Errorf("refresh %d %v", status, again)
	}

	// Another person signs in with this browser: the first session is gone, which gives 500.
	page := b.open(c.authorizeURL(map[string]string{"login_hint": "bob@ministere.example"}))
	page.signIn(bob)
	status, _, body := c.userInfo(again["access_token"].(string))
	if status != http.StatusInternalServerError || !strings.Contains(body, "server_error") {
		t.Errorf("userinfo without a session: %d %s", status, body)
	}
}

func TestStandInRevokesLikeProConnect(t *testing.T) {
	t.Parallel()
	c := newRawClient(t, proconnect, nil)
	tokens := c.signIn(newBrowser(t), alice, nil)
	revoke := func(form url.Values, basic bool) int {
		req, _ := http.NewRequest(http.MethodPost, c.provider.issuer+"/token/revocation",
			strings.NewReader(form.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if basic {
			req.SetBasicAuth(rawID, rawSecret)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	token := url.Values{"token": {tokens["refresh_token"].(string)}}
	if got := revoke(token, true); got != http.StatusBadRequest {
		t.Errorf("with the secret in the header: %d", got)
	}
	token.Set("client_id", rawID)
	token.Set("client_secret", rawSecret)
	if got := revoke(token, false); got != http.StatusOK {
		t.Errorf("with the secret in the body: %d", got)
	}
	if status, _, _ := c.userInfo(tokens["access_token"].(string)); status != http.StatusUnauthorized {
		t.Errorf("the access token still works: %d", status)
	}
}

func TestStandInSignsOutLikeProConnect(t *testing.T) {
	t.Parallel()
	c := newRawClient(t, proconnect, nil)
	b := newBrowser(t)
	idToken := c.signIn(b, alice, nil)["id_token"].(string)
	end := c.provider.issuer + "/session/end?"

	stranded := b.open(end + url.Values{"post_logout_redirect_uri": {"nowhere"}}.Encode())
	if stranded.Status != http.StatusBadRequest || !strings.Contains(stranded.Body, "Y000400") {
		t.Errorf("malformed address: %d %s", stranded.Status, stranded.Body)
	}
	if c.answer(b.open(c.authorizeURL(nil))).Get("code") == "" {
		t.Error("the malformed request has ended the session")
	}
	bye := b.open(end + url.Values{
		"id_token_hint":            {idToken},
		"post_logout_redirect_uri": {c.callback + "/bye"},
		"state":                    {"xyz"},
	}.Encode())
	if bye.URL.String() != c.callback+"/bye?state=xyz" {
		t.Errorf("ended on %s", bye.URL)
	}
	if page := b.open(c.authorizeURL(nil)); !strings.Contains(page.Body, `id="login"`) {
		t.Errorf("still signed in: %s", page.URL)
	}
	if page := b.open(end); !strings.Contains(page.Body, "Vous êtes bien déconnecté") {
		t.Errorf("no page of its own: %s\n%s", page.URL, page.Body)
	}
}

// TestStandInKeepsOneInteractionLikeProConnect: with two tabs on the login page, the first one
// that is sent off ends with the state of the second, and the second is lost.
func TestStandInKeepsOneInteractionLikeProConnect(t *testing.T) {
	t.Parallel()
	c := newRawClient(t, proconnect, nil)
	b := newBrowser(t)
	first := b.open(c.authorizeURL(map[string]string{"state": "first"}))
	second := b.open(c.authorizeURL(map[string]string{"state": "second"}))
	if got := c.answer(first.signIn(alice)); got.Get("state") != "second" {
		t.Errorf("the first tab ended with %v", got)
	}
	if page := second.signIn(alice); !strings.Contains(page.Body, "session-not-found") {
		t.Errorf("the second tab ended on %s\n%s", page.URL, page.Body)
	}
}
