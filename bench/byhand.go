package main

// This file is the other side of the comparison: a careful sign-in by hand. byhand_sessions.go
// keeps its sessions.

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/gorilla/securecookie"
	"golang.org/x/oauth2"
)

// byHand is what an expert writes with the usual libraries, with every check. It has no
// error pages, key rotation, provider quirks or requirements.
type byHand struct {
	issuer      string
	http        *http.Client
	oauth       oauth2.Config
	provider    *oidc.Provider
	verifier    *oidc.IDTokenVerifier
	logins      *securecookie.SecureCookie
	sessions    handSessions
	keepIDToken bool
}

// handLogin is a pending login, for the checks of the callback.
type handLogin struct {
	State, Nonce, Verifier, ReturnTo string
}

// handSession is a session. The ID Token, if it is kept, is for logout.
type handSession struct {
	Subject string
	IDToken string `json:",omitempty"`
	Claims  json.RawMessage
}

const loginCookie = "__Host-login"

func newByHand(ctx context.Context, issuer string, keepIDToken bool, sessions handSessions) (*byHand, error) {
	client := &http.Client{Transport: http.DefaultTransport, Timeout: 10 * time.Second}
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, client), issuer)
	if err != nil {
		return nil, err
	}
	return &byHand{
		issuer: issuer,
		http:   client,
		oauth: oauth2.Config{
			ClientID: clientID, ClientSecret: clientSecret, Endpoint: provider.Endpoint(),
			RedirectURL: appURL + "/auth/callback", Scopes: []string{"openid", "profile", "email"},
		},
		provider:    provider,
		verifier:    provider.Verifier(&oidc.Config{ClientID: clientID}),
		logins:      newSecureCookie(time.Hour),
		sessions:    sessions,
		keepIDToken: keepIDToken,
	}, nil
}

func (h *byHand) middleware(next http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/auth/login", h.login)
	mux.HandleFunc("/auth/callback", func(w http.ResponseWriter, r *http.Request) {
		if err := h.callback(w, r); err != nil {
			http.Error(w, "the login failed", http.StatusBadRequest)
		}
	})
	mux.Handle("/", next)
	return h.sessions.around(mux)
}

func (h *byHand) login(w http.ResponseWriter, r *http.Request) {
	login := handLogin{
		State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), ReturnTo: "/",
	}
	if err := setCookie(w, h.logins, loginCookie, login, 3600); err != nil {
		http.Error(w, "the login failed", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, h.oauth.AuthCodeURL(login.State,
		oidc.Nonce(login.Nonce), oauth2.S256ChallengeOption(login.Verifier)), http.StatusFound)
}

func (h *byHand) callback(w http.ResponseWriter, r *http.Request) error {
	var login handLogin
	cookie, err := r.Cookie(loginCookie)
	if err != nil {
		return err
	}
	if err := h.logins.Decode(loginCookie, cookie.Value, &login); err != nil {
		return err
	}
	http.SetCookie(w, &http.Cookie{Name: loginCookie, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true})
	query := r.URL.Query()
	switch {
	case !same(query.Get("state"), login.State):
		return errors.New("another state")
	case query.Get("iss") != h.issuer:
		return errors.New("another issuer")
	case query.Get("error") != "":
		return errors.New("refused by the provider")
	}
	session, err := h.exchange(oidc.ClientContext(r.Context(), h.http), query.Get("code"), &login)
	if err != nil {
		return err
	}
	if err := h.sessions.save(w, r, session); err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, login.ReturnTo, http.StatusFound)
	return nil
}

func (h *byHand) exchange(ctx context.Context, code string, login *handLogin) (*handSession, error) {
	token, err := h.oauth.Exchange(ctx, code, oauth2.VerifierOption(login.Verifier))
	if err != nil {
		return nil, err
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return nil, errors.New("no ID Token")
	}
	idToken, err := h.verifier.Verify(ctx, raw)
	if err != nil {
		return nil, err
	}
	if !same(idToken.Nonce, login.Nonce) {
		return nil, errors.New("another nonce")
	}
	if idToken.AccessTokenHash != "" {
		if err := idToken.VerifyAccessToken(token.AccessToken); err != nil {
			return nil, err
		}
	}
	info, err := h.provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return nil, err
	}
	if !same(info.Subject, idToken.Subject) {
		return nil, errors.New("UserInfo about another person")
	}
	session := &handSession{Subject: idToken.Subject}
	if h.keepIDToken {
		session.IDToken = raw
	}
	return session, info.Claims(&session.Claims)
}

type handKey struct{}

func (h *byHand) requireLogin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Cookie")
		w.Header().Set("Cache-Control", "private, no-store")
		session := h.sessions.load(r)
		if session == nil {
			http.Redirect(w, r, "/auth/login", http.StatusFound)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), handKey{}, session)))
	})
}

func handSessionOf(r *http.Request) *handSession {
	return r.Context().Value(handKey{}).(*handSession)
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
