package interop

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// This file holds the stand-in against ProConnect's own rules: sessions, levels, hints, failures.

// insist is a request for one of those levels.
func insist(levels ...string) map[string]string {
	return map[string]string{
		"claims": `{"id_token":{"amr":null,"acr":{"essential":true,"values":["` +
			strings.Join(levels, `","`) + `"]}}}`,
	}
}

// mfa are the levels of two factors.
var mfa = []string{"eidas0-mfa", "eidas1-mfa", "eidas2", "eidas3"}

// asksToSignIn reports whether a page is the stand-in's login page.
func asksToSignIn(p *page) bool { return strings.Contains(p.Body, `id="login"`) }

// asksForCode reports whether a page asks for the code that was sent by e-mail.
func asksForCode(p *page) bool { return strings.Contains(p.Body, `id="code"`) }

// redeem spends the code of a callback and returns the claims of the ID Token.
func (c *rawClient) redeem(got url.Values) map[string]any {
	c.t.Helper()
	status, tokens := c.token(url.Values{
		"grant_type": {"authorization_code"}, "code": {got.Get("code")}, "redirect_uri": {c.callback + "/callback"},
	})
	if status != http.StatusOK {
		c.t.Fatalf("%v: token endpoint answered %d: %v", got, status, tokens)
	}
	return unverified(c.t, tokens["id_token"].(string))
}

// TestStandInReusesSessionsLikeProConnect: a session serves the next request if nothing in it
// contradicts, whatever its prompt and max_age say.
func TestStandInReusesSessionsLikeProConnect(t *testing.T) {
	t.Parallel()
	c := newRawClient(t, proconnect, nil)
	email := alice.Claims["email"].(string)
	idp := alice.Claims["idp_id"].(string)
	for _, test := range []struct {
		name   string
		more   map[string]string
		reused bool
	}{
		{"prompt=login", map[string]string{"prompt": "login"}, true},
		{"prompt=consent", map[string]string{"prompt": "consent"}, true},
		{"max_age=0", map[string]string{"max_age": "0"}, true},
		{"same login_hint", map[string]string{"login_hint": email}, true},
		{"login_hint in other letters", map[string]string{"login_hint": strings.ToLower(email)}, false},
		{"same idp_hint", map[string]string{"idp_hint": idp}, true},
		{"other idp_hint", map[string]string{"idp_hint": carol.Claims["idp_id"].(string)}, false},
		{"level of the session", insist("eidas1", "eidas2"), true},
		{"higher level", insist("eidas2"), false},
		{"higher level that nobody insists on", map[string]string{"acr_values": "eidas2"}, true},
		{"level beside an essential one", map[string]string{
			"acr_values": "eidas1", "claims": insist("eidas2")["claims"]}, true},

		// Silent turns into the opposite.
		{"silent", map[string]string{"prompt": "none"}, true},
		{"silent with the same hint", map[string]string{"prompt": "none", "login_hint": email}, true},
		{"silent with another hint", map[string]string{"prompt": "none", "login_hint": "bob@ministere.example"}, false},
		{"silent with a level", map[string]string{"prompt": "none", "claims": insist("eidas2")["claims"]}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBrowser(t)
			c.signIn(b, alice, nil)
			next := b.open(c.authorizeURL(test.more))
			if asksToSignIn(next) == test.reused {
				t.Fatalf("ended on %s\n%s", next.URL, next.Body)
			}
			if test.reused {
				c.redeem(c.answer(next))
				return
			}
			// The page has cost the session.
			if again := b.open(c.authorizeURL(nil)); !asksToSignIn(again) {
				t.Errorf("the session is still there: %s", again.URL)
			}
		})
	}
	t.Run("substantial never", func(t *testing.T) {
		b := newBrowser(t)
		c.signIn(b, bob, nil)
		if next := b.open(c.authorizeURL(insist("eidas2", "eidas3"))); !asksToSignIn(next) {
			t.Errorf("ended on %s", next.URL)
		}
	})
}

// TestStandInTellsNoAgeLikeProConnect: auth_time is the time of the answer, not of the sign-in.
func TestStandInTellsNoAgeLikeProConnect(t *testing.T) {
	t.Parallel()
	c := newRawClient(t, proconnect, nil)
	b := newBrowser(t)
	first := unverified(t, c.signIn(b, alice, nil)["id_token"].(string))
	c.provider.control(t, "clock/1000")
	again := c.redeem(c.answer(b.open(c.authorizeURL(map[string]string{"max_age": "10"}))))
	if passed := again["auth_time"].(float64) - first["auth_time"].(float64); passed < 1000 {
		t.Errorf("auth_time went on by %v", passed)
	}
}

// TestStandInMailsACodeLikeProConnect: where the identity provider has one factor only, ProConnect
// adds a code by e-mail if that makes a level which the request insists on.
func TestStandInMailsACodeLikeProConnect(t *testing.T) {
	t.Parallel()
	c := newRawClient(t, proconnect, nil)
	open := func(b *browser, levels ...string) *page { return b.open(c.authorizeURL(insist(levels...))) }

	t.Run("added", func(t *testing.T) {
		b := newBrowser(t)
		code := open(b, mfa...).signIn(alice)
		if !asksForCode(code) {
			t.Fatalf("ended on %s\n%s", code.URL, code.Body)
		}
		if wrong := code.form().set("code", "000000").submit(); !asksForCode(wrong) {
			t.Fatalf("another code leads to %s", wrong.URL)
		}
		claims := c.redeem(c.answer(code.form().submit()))
		amr, _ := claims["amr"].([]any)
		if claims["acr"] != "eidas1-mfa" || len(amr) != 2 || amr[0] != "pwd" || amr[1] != "mail" {
			t.Errorf("acr %v, amr %v", claims["acr"], claims["amr"])
		}
		// The session has the level now.
		if got := c.answer(open(b, mfa...)); got.Get("code") == "" {
			t.Errorf("got %v", got)
		}
	})
	t.Run("to the lowest level", func(t *testing.T) {
		code := open(newBrowser(t), mfa...).form().set("sub", alice.Sub).set("acr", "eidas0").submit()
		if claims := c.redeem(c.answer(code.form().submit())); claims["acr"] != "eidas0-mfa" {
			t.Errorf("acr %v", claims["acr"])
		}
	})
	for _, test := range []struct {
		name   string
		who    account
		amr    string
		levels []string
	}{
		{"not where it helps nothing", alice, "", []string{"eidas2", "eidas3"}},
		{"not beside an identity provider with two factors", carol, "", mfa},
		{"not twice", alice, "pwd mail", mfa},
	} {
		t.Run(test.name, func(t *testing.T) {
			login := open(newBrowser(t), test.levels...)
			got := c.answer(login.form().set("sub", test.who.Sub).set("amr", test.amr).submit())
			if got.Get("error_description") != "requested ACRs could not be satisfied" {
				t.Errorf("got %v", got)
			}
		})
	}
}

// TestStandInKeepsTheRawLevelLikeProConnect: a level that ProConnect does not know is eidas1 in
// acr, and stays what it was in idp_acr.
func TestStandInKeepsTheRawLevelLikeProConnect(t *testing.T) {
	t.Parallel()
	c := newRawClient(t, proconnect, map[string]any{"scope": "openid idp_acr"})
	login := newBrowser(t).open(c.authorizeURL(map[string]string{
		"scope": "openid idp_acr", "claims": `{"id_token":{"acr":null,"idp_acr":null}}`,
	}))
	claims := c.redeem(c.answer(login.form().set("sub", alice.Sub).set("acr", "urn:level:9").submit()))
	if claims["acr"] != "eidas1" || claims["idp_acr"] != "urn:level:9" {
		t.Errorf("acr %v, idp_acr %v", claims["acr"], claims["idp_acr"])
	}
}

// TestStandInLoopsLikeProConnect: a level that it does not support is asked for, never reached and
// never refused.
func TestStandInLoopsLikeProConnect(t *testing.T) {
	t.Parallel()
	c := newRawClient(t, proconnect, nil)
	const retired = "https://proconnect.gouv.fr/assurance/consistency-checked-2fa"
	t.Run("alone", func(t *testing.T) {
		b := newBrowser(t)
		login := b.open(c.authorizeURL(insist(retired)))
		form := login.form().set("sub", alice.Sub).set("do", "login")
		_, err := b.client.PostForm(form.action.String(), form.values)
		if !errors.Is(err, errTooManyRedirects) {
			t.Errorf("it ends: %v", err)
		}
	})
	t.Run("beside a level that it supports", func(t *testing.T) {
		got := c.answer(newBrowser(t).open(c.authorizeURL(insist(retired, "eidas1"))).signIn(alice))
		if got.Get("code") == "" {
			t.Errorf("got %v", got)
		}
	})
}

// TestStandInTakesHintsLikeProConnect: the way to one identity provider, or the error of its own
// for one that it does not know.
func TestStandInTakesHintsLikeProConnect(t *testing.T) {
	t.Parallel()
	c := newRawClient(t, proconnect, nil)
	hint := func(idp string) *page {
		return newBrowser(t).open(c.authorizeURL(map[string]string{"idp_hint": idp, "siret_hint": "13002526500013"}))
	}
	known := hint(carol.Claims["idp_id"].(string))
	if strings.Contains(known.Body, "Alice") || c.answer(known.form().submit()).Get("code") == "" {
		t.Errorf("with the idp_id of Carol's:\n%s", known.Body)
	}
	unknown := c.answer(hint("00000000-0000-0000-0000-000000000000"))
	if unknown.Get("error") != "idp_hint_not_found" || unknown.Get("state") == "" ||
		unknown.Get("error_description") != "provided idp_hint could not be found" ||
		unknown.Get("iss") != c.provider.issuer {
		t.Errorf("with an unknown idp_id: %v", unknown)
	}
}

// TestStandInFailsLikeProConnect: most failures are a page of its own with a code, and the way back
// from there carries the error.
func TestStandInFailsLikeProConnect(t *testing.T) {
	t.Parallel()
	c := newRawClient(t, proconnect, nil)
	const technical = "authentication aborted due to a technical error on the authorization server"
	for _, test := range []struct{ code, error, description string }{
		{"Y500015", "access_denied", "authentication aborted due to invalid identity"},
		{"Y500025", "access_denied", "authentication aborted due to a configuration limitation"},
		{"Y190001", "access_denied", "user authentication aborted"},
		{"Y500006", "server_error", technical},
		{"Y020017", "server_error", technical},
		{"Y020032", "invalid_request", technical},
		{"Y000500", "server_error", "An unexpected error occurred"},
	} {
		t.Run(test.code, func(t *testing.T) {
			failed := newBrowser(t).open(c.authorizeURL(nil)).fail(test.code)
			if failed.Status != http.StatusBadRequest || !strings.Contains(failed.Body, test.code) {
				t.Fatalf("ended on %s with %d\n%s", failed.URL, failed.Status, failed.Body)
			}
			got := c.answer(failed.follow("/error"))
			if got.Get("error") != test.error || got.Get("error_description") != test.description ||
				got.Get("state") == "" || got.Get("iss") != c.provider.issuer {
				t.Errorf("got %v", got)
			}
		})
	}
}

// TestStandInForgetsLikeProConnect: without its session, all that asks for claims answers with 500.
func TestStandInForgetsLikeProConnect(t *testing.T) {
	t.Parallel()
	c := newRawClient(t, proconnect, nil)
	b := newBrowser(t)
	tokens := c.signIn(b, alice, nil)
	code := c.answer(b.open(c.authorizeURL(nil))).Get("code")
	c.provider.control(t, "forget")

	for _, form := range []url.Values{
		{"grant_type": {"refresh_token"}, "refresh_token": {tokens["refresh_token"].(string)}},
		{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {c.callback + "/callback"}},
	} {
		if status, body := c.token(form); status != http.StatusInternalServerError || body["error"] != "server_error" {
			t.Errorf("%s: %d %v", form.Get("grant_type"), status, body)
		}
	}
	status, _, body := c.userInfo(tokens["access_token"].(string))
	if status != http.StatusInternalServerError || !strings.Contains(body, "server_error") {
		t.Errorf("userinfo: %d %s", status, body)
	}
	if next := b.open(c.authorizeURL(nil)); !asksToSignIn(next) {
		t.Errorf("still signed in: %s", next.URL)
	}
}

// TestStandInForgetsBetweenLikeProConnect: the session goes after the code was redeemed.
func TestStandInForgetsBetweenLikeProConnect(t *testing.T) {
	t.Parallel()
	c := newRawClient(t, proconnect, nil)
	c.provider.control(t, "forget/userinfo")
	tokens := c.signIn(newBrowser(t), alice, nil)
	for range 2 {
		status, _, _ := c.userInfo(tokens["access_token"].(string))
		if status != http.StatusInternalServerError {
			t.Errorf("userinfo: %d", status)
		}
	}
	tokens = c.signIn(newBrowser(t), alice, nil)
	if status, _, _ := c.userInfo(tokens["access_token"].(string)); status != http.StatusOK {
		t.Errorf("userinfo of the next session: %d", status)
	}
}

// TestStandInAnswersInHTMLLikeProConnect: a client that prefers HTML gets errors as pages, from
// token and userinfo too.
func TestStandInAnswersInHTMLLikeProConnect(t *testing.T) {
	t.Parallel()
	c := newRawClient(t, proconnect, nil)
	for _, test := range []struct{ method, path, accept, media string }{
		{http.MethodPost, "/token", "text/html, application/json;q=0.5", "text/html; charset=utf-8"},
		{http.MethodPost, "/token", "*/*", "application/json; charset=utf-8"},
		{http.MethodGet, "/userinfo", "text/html, */*;q=0.8", "text/html; charset=utf-8"},
		{http.MethodGet, "/userinfo", "application/jwt, application/json", "application/json; charset=utf-8"},
	} {
		req, err := http.NewRequest(test.method, c.provider.issuer+test.path, strings.NewReader("grant_type=x"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", test.accept)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := res.Header.Get("Content-Type"); got != test.media || res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s with Accept %s: %d %s", test.path, test.accept, res.StatusCode, got)
		}
	}
}

// TestStandInRotatesLikeProConnect: the refresh token changes after 70 % of its life, and to use
// the old one then revokes everything.
func TestStandInRotatesLikeProConnect(t *testing.T) {
	t.Parallel()
	c := newRawClient(t, proconnect, nil)
	first := c.signIn(newBrowser(t), alice, nil)["refresh_token"].(string)
	refresh := func(token string) (int, string) {
		status, body := c.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
		next, _ := body["refresh_token"].(string)
		return status, next
	}
	const life = 43200
	c.provider.control(t, "clock/"+strconv.Itoa(life*6/10))
	if status, next := refresh(first); status != http.StatusOK || next != first {
		t.Errorf("after 60 %%: %d, the same token %t", status, next == first)
	}
	c.provider.control(t, "clock/"+strconv.Itoa(life*15/100))
	status, next := refresh(first)
	if status != http.StatusOK || next == first {
		t.Errorf("after 75 %%: %d, the same token %t", status, next == first)
	}
	if status, _ := refresh(first); status != http.StatusBadRequest {
		t.Errorf("the old token: %d", status)
	}
	if status, _ := refresh(next); status != http.StatusBadRequest {
		t.Errorf("the new token after that: %d", status)
	}
}

// TestStandInLogsOutLikeProConnect: the session is gone even where the answer is an error page.
func TestStandInLogsOutLikeProConnect(t *testing.T) {
	t.Parallel()
	c := newRawClient(t, proconnect, nil)
	bye := c.callback + "/bye"
	const done = "Vous êtes bien déconnecté"
	const refused = "oidc-provider-rendered-error:invalid_request"
	for _, test := range []struct {
		name   string
		hint   bool
		query  url.Values
		ends   string // the address that it ends on
		status int
		shows  string
	}{
		{"everything", true, url.Values{"post_logout_redirect_uri": {bye}, "state": {"s"}}, bye + "?state=s", 200, ""},
		{"no state", true, url.Values{"post_logout_redirect_uri": {bye}}, bye, 200, ""},
		{"client_id in the place of a hint", false,
			url.Values{"post_logout_redirect_uri": {bye}, "client_id": {rawID}, "state": {"s"}}, bye + "?state=s", 200, ""},
		{"neither", false, url.Values{"post_logout_redirect_uri": {bye}, "state": {"s"}}, "", 200, done},
		{"no address", true, nil, "", 200, done},
		{"address not registered", true, url.Values{"post_logout_redirect_uri": {bye + "/"}}, "", 400,
			refused + "</p><p>post_logout_redirect_uri not registered"},
		{"garbage for a hint", false,
			url.Values{"post_logout_redirect_uri": {bye}, "id_token_hint": {"x"}}, "", 400, refused},
		{"another client", true, url.Values{"client_id": {"x"}}, "", 400, refused},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBrowser(t)
			tokens := c.signIn(b, alice, nil)
			query := url.Values{}
			for name, values := range test.query {
				query[name] = values
			}
			if test.hint {
				query.Set("id_token_hint", tokens["id_token"].(string))
			}
			end := b.open(c.provider.issuer + "/session/end?" + query.Encode())
			if end.Status != test.status || !strings.Contains(end.Body, test.shows) ||
				test.ends != "" && end.URL.String() != test.ends {
				t.Errorf("ended on %s with %d\n%s", end.URL, end.Status, end.Body)
			}
			if next := b.open(c.authorizeURL(nil)); !asksToSignIn(next) {
				t.Errorf("still signed in: %s", next.URL)
			}
		})
	}
	t.Run("by POST", func(t *testing.T) {
		res, err := http.PostForm(c.provider.issuer+"/session/end", url.Values{"client_id": {rawID}})
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusNotFound {
			t.Errorf("got %d", res.StatusCode)
		}
	})
}

// TestStandInSharesASubLikeProConnect: the claims come from the session that a sub used last, so
// signing out in one browser takes them from the other.
func TestStandInSharesASubLikeProConnect(t *testing.T) {
	t.Parallel()
	c := newRawClient(t, proconnect, nil)
	here, there := newBrowser(t), newBrowser(t)
	tokens := c.signIn(here, alice, nil)
	c.signIn(there, alice, nil)
	there.open(c.provider.issuer + "/session/end")
	if status, _, _ := c.userInfo(tokens["access_token"].(string)); status != http.StatusInternalServerError {
		t.Errorf("userinfo of the other browser's: %d", status)
	}
}
