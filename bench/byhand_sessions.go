package main

// This file keeps the sessions of byHand: in a sealed cookie, or with scs.

import (
	"crypto/rand"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/gorilla/securecookie"
)

// handSessions keeps the sessions of byHand.
type handSessions interface {
	// around wraps the whole app.
	around(http.Handler) http.Handler
	save(http.ResponseWriter, *http.Request, *handSession) error
	// load returns nil if nobody is signed in.
	load(*http.Request) *handSession
}

const (
	sessionCookie = "__Host-session"
	handLifetime  = 12 * time.Hour
)

// sealedSessions keeps a session in a sealed cookie.
type sealedSessions struct{ codec *securecookie.SecureCookie }

func newSealedSessions() handSessions { return sealedSessions{newSecureCookie(handLifetime)} }

func (s sealedSessions) around(next http.Handler) http.Handler { return next }

func (s sealedSessions) save(w http.ResponseWriter, _ *http.Request, session *handSession) error {
	return setCookie(w, s.codec, sessionCookie, session, 0)
}

func (s sealedSessions) load(r *http.Request) *handSession {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return nil
	}
	session := new(handSession)
	if s.codec.Decode(sessionCookie, cookie.Value, session) != nil {
		return nil
	}
	return session
}

// scsSessions keeps a session in the memory store of scs.
type scsSessions struct{ manager *scs.SessionManager }

func newSCSSessions() handSessions {
	manager := scs.New()
	manager.Lifetime = handLifetime
	manager.Cookie.Name, manager.Cookie.Secure, manager.Cookie.Persist = sessionCookie, true, false
	return scsSessions{manager}
}

func (s scsSessions) around(next http.Handler) http.Handler { return s.manager.LoadAndSave(next) }

func (s scsSessions) save(_ http.ResponseWriter, r *http.Request, session *handSession) error {
	ctx := r.Context()
	if err := s.manager.RenewToken(ctx); err != nil { // against session fixation
		return err
	}
	s.manager.Put(ctx, "subject", session.Subject)
	s.manager.Put(ctx, "claims", []byte(session.Claims))
	if session.IDToken != "" {
		s.manager.Put(ctx, "id_token", session.IDToken)
	}
	return nil
}

func (s scsSessions) load(r *http.Request) *handSession {
	ctx := r.Context()
	subject := s.manager.GetString(ctx, "subject")
	if subject == "" {
		return nil
	}
	return &handSession{
		Subject: subject,
		IDToken: s.manager.GetString(ctx, "id_token"),
		Claims:  s.manager.GetBytes(ctx, "claims"),
	}
}

func newSecureCookie(lifetime time.Duration) *securecookie.SecureCookie {
	hashKey, blockKey := make([]byte, 64), make([]byte, 32)
	rand.Read(hashKey)
	rand.Read(blockKey)
	cookie := securecookie.New(hashKey, blockKey)
	cookie.SetSerializer(securecookie.JSONEncoder{})
	cookie.MaxAge(int(lifetime / time.Second))
	return cookie
}

func setCookie(w http.ResponseWriter, codec *securecookie.SecureCookie, name string, value any, maxAge int) error {
	text, err := codec.Encode(name, value)
	if err != nil {
		return err
	}
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: text, Path: "/", MaxAge: maxAge,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	return nil
}
