package oidctest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/oidcrp/oidcrp/oidctest"
)

// An app is a minimal relying party on go-oidc and x/oauth2. It handles one login at a
// time.
type app struct {
	*httptest.Server
	provider *oidc.Provider
	config   oauth2.Config
	verifier *oidc.IDTokenVerifier
	options  []oauth2.AuthCodeOption // of every authentication request
	exchange []oauth2.AuthCodeOption // of every token request
	client   *http.Client

	mu       sync.Mutex // guards the state of the last login
	secret   string     // its PKCE verifier
	token    *oauth2.Token
	idToken  *oidc.IDToken
	userInfo *oidc.UserInfo
	callback url.Values
}

func newApp(t *testing.T, p *oidctest.Provider, algs ...string) *app {
	t.Helper()
	a, err := openApp(t, p, p.HTTPClient(), algs...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// openApp starts an app. The provider's client must accept loopback redirect URIs.
func openApp(t *testing.T, p *oidctest.Provider, client *http.Client, algs ...string) (*app, error) {
	a := &app{client: client}
	a.client.Transport = &bounded{a.client.Transport}
	a.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	provider, err := oidc.NewProvider(a.context(t.Context()), p.Issuer())
	if err != nil {
		return nil, err
	}
	a.provider = provider
	a.Server = httptest.NewServer(a.routes())
	t.Cleanup(a.Close)
	a.verifier = provider.Verifier(&oidc.Config{ClientID: oidctest.ClientID, SupportedSigningAlgs: algs})
	a.config = oauth2.Config{
		ClientID: oidctest.ClientID, ClientSecret: oidctest.ClientSecret,
		Endpoint: provider.Endpoint(), RedirectURL: a.URL + "/callback",
		Scopes: []string{"openid", "profile", "email"},
	}
	a.config.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	return a, nil
}

// bounded limits responses to one megabyte, which go-oidc leaves to its caller.
type bounded struct{ http.RoundTripper }

func (b *bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := b.RoundTripper.RoundTrip(req)
	if err == nil {
		res.Body = http.MaxBytesReader(nil, res.Body, 1<<20)
	}
	return res, err
}

func (a *app) context(ctx context.Context) context.Context {
	return oidc.ClientContext(ctx, a.client)
}

func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, a.authURL(), http.StatusFound)
	})
	mux.HandleFunc("/callback", func(w http.ResponseWriter, r *http.Request) {
		if err := a.finish(r); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		http.Redirect(w, r, "/welcome", http.StatusFound)
	})
	mux.HandleFunc("/welcome", func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		fmt.Fprintf(w, "hello %s", a.idToken.Subject)
	})
	return mux
}

func (a *app) authURL() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.secret = oauth2.GenerateVerifier()
	options := append([]oauth2.AuthCodeOption{oidc.Nonce("the-nonce"), oauth2.S256ChallengeOption(a.secret)}, a.options...)
	return a.config.AuthCodeURL("the-state", options...)
}

// finish handles the callback with the checks of go-oidc.
func (a *app) finish(r *http.Request) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := r.ParseForm(); err != nil {
		return err
	}
	a.callback = r.Form
	if code := r.Form.Get("error"); code != "" {
		return fmt.Errorf("the provider reported %s: %s", code, r.Form.Get("error_description"))
	}
	if r.Form.Get("state") != "the-state" {
		return fmt.Errorf("state is %q", r.Form.Get("state"))
	}
	ctx := a.context(r.Context())
	var err error
	options := append([]oauth2.AuthCodeOption{oauth2.VerifierOption(a.secret)}, a.exchange...)
	if a.token, err = a.config.Exchange(ctx, r.Form.Get("code"), options...); err != nil {
		return err
	}
	compact, _ := a.token.Extra("id_token").(string)
	if a.idToken, err = a.verifier.Verify(ctx, compact); err != nil {
		return err
	}
	if a.idToken.Nonce != "the-nonce" {
		return fmt.Errorf("nonce is %q", a.idToken.Nonce)
	}
	if err := a.idToken.VerifyAccessToken(a.token.AccessToken); err != nil {
		return err
	}
	if a.userInfo, err = a.provider.UserInfo(ctx, oauth2.StaticTokenSource(a.token)); err != nil {
		return err
	}
	if a.userInfo.Subject != a.idToken.Subject {
		return fmt.Errorf("userinfo is about %q", a.userInfo.Subject)
	}
	return nil
}

// get returns the status and the body of a page.
func get(t *testing.T, client *http.Client, u string) (int, string) {
	t.Helper()
	res, err := client.Get(u)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}
