package oidctest_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/oidcrp/oidcrp/oidctest"
)

func TestTheCatalogueIsInOrder(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, f := range oidctest.Faults() {
		if seen[f.Name] {
			t.Errorf("two faults are called %s", f.Name)
		}
		seen[f.Name] = true
		if f.Doc == "" || f.Endpoint == "" {
			t.Errorf("%s lacks a Doc or an Endpoint", f.Name)
		}
		if !slices.Contains([]oidctest.Verdict{oidctest.Accept, oidctest.Reject, oidctest.Either}, f.Verdict) {
			t.Errorf("%s has the verdict %q", f.Name, f.Verdict)
		}
	}
	if len(seen) < 190 {
		t.Errorf("the catalogue has %d faults, it had more", len(seen))
	}
}

// start makes the provider that shows a fault.
func start(t *testing.T, f oidctest.Fault, cfg oidctest.Config) *oidctest.Provider {
	t.Helper()
	client := oidctest.Client{ID: oidctest.ClientID, Secret: oidctest.ClientSecret}
	if f.Needs == oidctest.NeedsSignedUserInfo {
		client.UserInfoSignedResponseAlg = "RS256"
	}
	cfg.AutoLogin = "alice"
	cfg.Clients = []oidctest.Client{client}
	cfg.TLS = f.Needs == oidctest.NeedsHTTPS
	p := oidctest.NewServer(t, cfg)
	p.Misbehave(f)
	return p
}

// section returns the part of a transcript in which a fault must show.
func section(f oidctest.Fault) string {
	switch f.Needs {
	case oidctest.NeedsRefresh, oidctest.NeedsBackChannel:
		return string(f.Needs)
	}
	return f.Endpoint
}

// order is that of a transcript; what comes after a fault may well suffer from it.
var order = []string{oidctest.EndpointDiscovery, oidctest.EndpointJWKS, oidctest.EndpointAuthorization,
	oidctest.EndpointToken, oidctest.EndpointUserInfo, string(oidctest.NeedsRefresh),
	oidctest.EndpointEndSession, string(oidctest.NeedsBackChannel)}

func TestEveryFaultShowsWhereItSays(t *testing.T) {
	t.Parallel()
	for _, f := range oidctest.Faults() {
		if strings.Contains(f.Name, "/transport-") {
			continue
		}
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			now := func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }
			p := start(t, f, oidctest.Config{Now: now})
			got := transcript(t, p)
			sound := start(t, f, oidctest.Config{Now: now})
			sound.Misbehave()
			want := transcript(t, sound)
			for _, name := range order {
				if name == section(f) {
					break
				}
				if got[name] != want[name] {
					t.Errorf("%s changed, which comes before:\n%s\nwant:\n%s", name, got[name], want[name])
				}
			}
			if name := section(f); got[name] == want[name] {
				t.Errorf("%s did not change:\n%s", name, got[name])
			}
		})
	}
}

// transcript plays a whole sign-in, refresh and logout by hand, and returns what the
// provider answered, with everything random taken out.
func transcript(t *testing.T, p *oidctest.Provider) map[string]string {
	t.Helper()
	client := p.HTTPClient()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	tr := &recording{t: t, p: p, client: client, sections: make(map[string]string)}
	tr.get(oidctest.EndpointDiscovery, nil, "")
	tr.get(oidctest.EndpointJWKS, nil, "")
	answer := tr.get(oidctest.EndpointAuthorization, url.Values{
		"client_id": {oidctest.ClientID}, "redirect_uri": {"http://127.0.0.1/cb"}, "scope": {"openid email"},
		"response_type": {"code"}, "state": {"the-state"}, "nonce": {"the-nonce"}, "max_age": {"60"},
		"acr_values": {"eidas1"},
	}, "")
	location, _ := url.Parse(answer.location)
	token := tr.token(oidctest.EndpointToken, url.Values{"grant_type": {"authorization_code"},
		"code": {location.Query().Get("code")}, "redirect_uri": {"http://127.0.0.1/cb"}})
	tr.get(oidctest.EndpointUserInfo, nil, token.AccessToken)
	tr.token(string(oidctest.NeedsRefresh), url.Values{"grant_type": {"refresh_token"},
		"refresh_token": {token.RefreshToken}})
	tr.get(oidctest.EndpointEndSession, url.Values{"client_id": {oidctest.ClientID}, "state": {"the-state"},
		"post_logout_redirect_uri": {"http://127.0.0.1/bye"}}, "")
	tr.add(string(oidctest.NeedsBackChannel), p.LogoutToken(oidctest.ClientID, "alice", "the-sid"))
	return tr.sections
}

type recording struct {
	t        *testing.T
	p        *oidctest.Provider
	client   *http.Client
	sections map[string]string
}

type answer struct{ location, body string }

func (tr *recording) get(endpoint string, query url.Values, bearer string) answer {
	tr.t.Helper()
	req, err := http.NewRequest(http.MethodGet, tr.p.Endpoint(endpoint)+"?"+query.Encode(), nil)
	if err != nil {
		tr.t.Fatal(err)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	return tr.do(endpoint, req)
}

type tokens struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	IDToken      string `json:"id_token"`
}

func (tr *recording) token(section string, form url.Values) (token tokens) {
	tr.t.Helper()
	req, err := http.NewRequest(http.MethodPost, tr.p.Endpoint(oidctest.EndpointToken), strings.NewReader(form.Encode()))
	if err != nil {
		tr.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(oidctest.ClientID, oidctest.ClientSecret)
	json.Unmarshal([]byte(tr.do(section, req).body), &token)
	_, rest, _ := strings.Cut(token.IDToken, ".")
	payload, _, _ := strings.Cut(rest, ".")
	claims, _ := base64.RawURLEncoding.DecodeString(payload)
	sum := sha256.Sum256([]byte(token.AccessToken))
	hash := base64.RawURLEncoding.EncodeToString(sum[:16])
	tr.sections[section] += fmt.Sprintf("\nat_hash fits: %t", strings.Contains(string(claims), hash))
	return token
}

func (tr *recording) do(section string, req *http.Request) answer {
	tr.t.Helper()
	res, err := tr.client.Do(req)
	if err != nil {
		tr.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		tr.t.Fatal(err)
	}
	a := answer{location: res.Header.Get("Location"), body: string(body)}
	tr.add(section, res.Status+"\n"+res.Header.Get("Content-Type")+"\n"+a.location+"\n"+a.body)
	return a
}

var (
	compactJWS = regexp.MustCompile(`eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*`)
	random     = regexp.MustCompile(`[A-Za-z0-9_-]{16,}`)
)

// add notes an answer: tokens taken apart, random values as their length.
func (tr *recording) add(section, text string) {
	host := strings.TrimPrefix(strings.TrimPrefix(tr.p.Issuer(), "http://"), "https://")
	text = compactJWS.ReplaceAllStringFunc(text, tr.takeApart)
	text = strings.ReplaceAll(text, host, "HOST")
	text = strings.ReplaceAll(text, url.QueryEscape(host), "HOST")
	tr.sections[section] = random.ReplaceAllStringFunc(text, func(s string) string {
		return fmt.Sprintf("<%d>", len(s))
	})
}

func (tr *recording) takeApart(compact string) string {
	header, rest, _ := strings.Cut(compact, ".")
	payload, _, _ := strings.Cut(rest, ".")
	h, _ := base64.RawURLEncoding.DecodeString(header)
	b, _ := base64.RawURLEncoding.DecodeString(payload)
	_, err := keySet(tr.t, tr.p).VerifySignature(tr.t.Context(), compact)
	return fmt.Sprintf("%s %s verifies: %t", h, b, err == nil)
}

func keySet(t *testing.T, p *oidctest.Provider) oidc.KeySet {
	t.Helper()
	return oidc.NewRemoteKeySet(oidc.ClientContext(t.Context(), p.HTTPClient()), p.Endpoint(oidctest.EndpointJWKS))
}

// With an HMAC algorithm there is no key to exchange, but every fault still shows.
func TestFaultsOfHMACTokens(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", Clients: []oidctest.Client{{
		ID: oidctest.ClientID, Secret: oidctest.ClientSecret, IDTokenSignedResponseAlg: "HS256"}}})
	c := newRaw(t, p)
	for _, f := range oidctest.Faults() {
		if !strings.HasPrefix(f.Name, "id_token/") {
			continue
		}
		p.Misbehave(f)
		if tokens := c.tokens("max_age", "60"); tokens["id_token"] == "" {
			t.Errorf("%s: no ID Token", f.Name)
		}
	}
}

func TestFaultsAddUp(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice"})
	p.Misbehave(oidctest.JWKSNoKID, oidctest.IDTokenNoKID, oidctest.TokenLowercaseType)
	c := newRaw(t, p)
	tokens := c.tokens()
	header, _ := parts(t, tokens["id_token"])
	if header["kid"] != nil || tokens["token_type"] != "bearer" {
		t.Errorf("got %v %v", header, tokens)
	}
	if body := c.get(oidctest.EndpointJWKS, nil).body; strings.Contains(body, "kid") {
		t.Errorf("the keys are %s", body)
	}
	p.Misbehave()
	if tokens := c.tokens(); tokens["token_type"] != "Bearer" {
		t.Errorf("behaving again: %v", tokens)
	}
}

// letThrough are the faults that go-oidc and x/oauth2 leave to their caller.
var letThrough = []string{
	"authorization/duplicate-code", "authorization/duplicate-iss", "authorization/duplicate-state",
	"authorization/missing-iss", "authorization/wrong-iss",
	"discovery/transport-wrong-type", "discovery/uppercase-member",
	"id_token/extra-aud", "id_token/future-iat", "id_token/invalid-utf8",
	"id_token/json-serialization", "id_token/lower-acr", "id_token/missing-acr",
	"id_token/missing-auth-time", "id_token/missing-iat", "id_token/old-auth-time",
	"id_token/old-iat", "id_token/string-exp", "id_token/string-iat", "id_token/uppercase-sub",
	"id_token/wrong-azp",
	"jwks/only-enc", "jwks/transport-wrong-type",
	"logout_token/no-iat", "logout_token/old-iat", "logout_token/wrong-typ",
	"token/no-type", "token/transport-wrong-type",
	"userinfo/duplicate-sub", "userinfo/plain-json", "userinfo/signed-expired",
	"userinfo/signed-missing-aud", "userinfo/signed-missing-iss", "userinfo/signed-other-alg",
	"userinfo/signed-wrong-aud", "userinfo/signed-wrong-iss", "userinfo/transport-wrong-type",
	"userinfo/uppercase-sub",
}

// stumbledOver are the oddities that go-oidc refuses: go-jose gives up a JWK Set for
// one bad key, and VerifyAccessToken wants an at_hash.
var stumbledOver = []string{"id_token/missing-at-hash", "jwks/malformed-key", "jwks/unnamed-keys",
	"jwks/unusable-keys"}

func TestAForeignRelyingPartyAgreesWithTheVerdicts(t *testing.T) {
	t.Parallel()
	for _, f := range oidctest.Faults() {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			p := start(t, f, oidctest.Config{})
			err := foreign(t, p, f)
			want := f.Verdict
			if slices.Contains(letThrough, f.Name) {
				want = oidctest.Accept
			}
			if slices.Contains(stumbledOver, f.Name) {
				want = oidctest.Reject
			}
			if want == oidctest.Accept && err != nil {
				t.Errorf("%s: it was refused: %v", f.Doc, err)
			}
			if want == oidctest.Reject && err == nil {
				t.Errorf("%s: it was accepted", f.Doc)
			}
		})
	}
}

// foreign drives an app through everything a fault may concern.
func foreign(t *testing.T, p *oidctest.Provider, f oidctest.Fault) error {
	client := p.HTTPClient()
	if waits := regexp.MustCompile("slow|hanging|endless"); waits.MatchString(f.Name) {
		client.Timeout = 300 * time.Millisecond // it never ends by itself
	}
	a, err := openApp(t, p, client, "RS256")
	if err != nil {
		return err
	}
	switch f.Needs {
	case oidctest.NeedsMaxAge:
		a.options = append(a.options, oauth2.SetAuthURLParam("max_age", "60"))
	case oidctest.NeedsACR:
		a.options = append(a.options, oauth2.SetAuthURLParam("acr_values", "eidas1"))
	}
	res, err := p.Visit(p.Browser(), a.URL+"/login", "alice")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(res.Body)
		return fmt.Errorf("%s: %s", res.Status, body)
	}
	switch f.Needs {
	case oidctest.NeedsRefresh:
		return a.refresh(t.Context())
	case oidctest.NeedsBackChannel:
		_, err := a.verifier.VerifyLogout(a.context(t.Context()), p.LogoutToken(oidctest.ClientID, "alice", "sid"))
		return err
	}
	return nil
}

// refresh does what OIDC Core 12.2 asks for.
func (a *app) refresh(ctx context.Context) error {
	ctx = a.context(ctx)
	token, err := a.config.TokenSource(ctx, &oauth2.Token{RefreshToken: a.token.RefreshToken}).Token()
	if err != nil {
		return err
	}
	compact, ok := token.Extra("id_token").(string)
	if !ok {
		return nil
	}
	idToken, err := a.verifier.Verify(ctx, compact)
	if err == nil && idToken.Subject != a.idToken.Subject {
		err = fmt.Errorf("sub changed to %q", idToken.Subject)
	}
	return err
}
