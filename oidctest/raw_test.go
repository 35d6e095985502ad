package oidctest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp/oidctest"
)

// A raw client sends requests that a library would not send. It keeps cookies and does
// not follow redirects.
type raw struct {
	*testing.T
	p      *oidctest.Provider
	client *http.Client
}

const (
	callback  = "http://127.0.0.1/callback"
	verifier  = "verifier-verifier-verifier-verifier-verifier"
	challenge = "fD3GLJ_KzCDB0w6uDOSFNNdflrHwtv8Cizh6P5pJkfQ"
)

func newRaw(t *testing.T, p *oidctest.Provider) *raw {
	client := p.Browser()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &raw{T: t, p: p, client: client}
}

// A reply is a response with its whole body.
type reply struct {
	status int
	header http.Header
	body   string
	json   map[string]any // if the body is a JSON object
	back   url.Values     // the parameters of Location
}

// with returns the form with pairs of names and values set; an empty value removes one.
func with(form url.Values, pairs ...string) url.Values {
	changed := url.Values{}
	for name, values := range form {
		changed[name] = values
	}
	for i := 0; i < len(pairs); i += 2 {
		changed.Del(pairs[i])
		if pairs[i+1] != "" {
			changed.Set(pairs[i], pairs[i+1])
		}
	}
	return changed
}

func authRequest(pairs ...string) url.Values {
	return with(url.Values{
		"client_id": {oidctest.ClientID}, "redirect_uri": {callback}, "response_type": {"code"},
		"scope": {"openid profile email"}, "state": {"the-state"}, "nonce": {"the-nonce"},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}, pairs...)
}

func tokenRequest(code string, pairs ...string) url.Values {
	return with(url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback},
		"code_verifier": {verifier}, "client_id": {oidctest.ClientID}, "client_secret": {oidctest.ClientSecret},
	}, pairs...)
}

func refreshRequest(token string, pairs ...string) url.Values {
	return with(url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {token},
		"client_id": {oidctest.ClientID}, "client_secret": {oidctest.ClientSecret},
	}, pairs...)
}

func (c *raw) get(endpoint string, query url.Values) reply {
	c.Helper()
	return c.do(http.MethodGet, endpoint, query, nil)
}

func (c *raw) post(endpoint string, form url.Values) reply {
	c.Helper()
	return c.do(http.MethodPost, endpoint, form, nil)
}

func (c *raw) userInfo(accessToken string) reply {
	c.Helper()
	return c.do(http.MethodGet, oidctest.EndpointUserInfo, nil, http.Header{"Authorization": {"Bearer " + accessToken}})
}

func (c *raw) do(method, endpoint string, form url.Values, header http.Header) reply {
	c.Helper()
	target, body := c.p.Endpoint(endpoint), ""
	if method == http.MethodPost {
		body = form.Encode()
	} else if len(form) > 0 {
		target += "?" + form.Encode()
	}
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		c.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for name, values := range header {
		req.Header[name] = values
	}
	res, err := c.client.Do(req)
	if err != nil {
		c.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.Fatal(err)
	}
	r := reply{status: res.StatusCode, header: res.Header, body: string(b)}
	json.Unmarshal(b, &r.json)
	if location, err := res.Location(); err == nil {
		r.back = location.Query()
	}
	return r
}

// code returns the code of a login without the login page.
func (c *raw) code(pairs ...string) string {
	c.Helper()
	r := c.get(oidctest.EndpointAuthorization, authRequest(pairs...))
	if r.back.Get("code") == "" {
		c.Fatalf("no code: %d %v %s", r.status, r.back, r.body)
	}
	return r.back.Get("code")
}

// tokens returns the token response of a login without the login page.
func (c *raw) tokens(pairs ...string) map[string]any {
	c.Helper()
	r := c.post(oidctest.EndpointToken, tokenRequest(c.code(pairs...)))
	if r.status != http.StatusOK {
		c.Fatalf("no tokens: %d %s", r.status, r.body)
	}
	return r.json
}

// wantError checks an error response (RFC 6749 section 5.2).
func (c *raw) wantError(r reply, status int, code string) {
	c.Helper()
	if r.status != status || r.json["error"] != code {
		c.Errorf("got %d %s, want %d %s", r.status, r.body, status, code)
	}
	if cache := r.header.Get("Cache-Control"); cache != "no-store" {
		c.Errorf("Cache-Control is %q", cache)
	}
}

// claims returns the claims of a JWT, unverified.
func claims(t *testing.T, compact any) map[string]any {
	t.Helper()
	_, payload := parts(t, compact)
	return payload
}
