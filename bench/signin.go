package main

// This file is the apps that are compared: the same pages with different sign-ins.

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"

	"github.com/oidcrp/oidcrp"
)

const appURL = "https://app.example"

// An rp is one of the ways to sign people in.
type rp struct {
	middleware func(http.Handler) http.Handler
	protect    func(http.Handler) http.Handler
	subject    func(*http.Request) string
	claims     func(r *http.Request, v any) error // nil if there is no sign-in
	clock      *clock
}

// The names of the rps.
const (
	plain         = "plain"      // without sign-in, to be subtracted
	hand          = "byhand"     // sealed cookies
	handSCS       = "byhand-scs" // sessions in the memory store of scs
	ours          = "oidcrp"     // sealed cookies
	oursMemory    = "oidcrp-memory"
	withoutCache  = "-nocache" // follows one of the last two
	structHandler = "struct"
	mapHandler    = "map"
)

// handlers are the pages of a signed-in person, and what each asks for: the subject
// ("who"), or the claims, decoded into a struct or a map. All answer the same.
var handlers = []string{"who", structHandler, mapHandler}

// signIns returns the names of every rp with a sign-in.
func signIns() []string {
	return []string{hand, handSCS, ours, oursMemory, ours + withoutCache, oursMemory + withoutCache}
}

func newRP(name, issuer string, sends fixture) (*rp, error) {
	switch name {
	case plain:
		same := func(next http.Handler) http.Handler { return next }
		return &rp{
			middleware: same, protect: same, subject: func(*http.Request) string { return subject }, clock: new(clock),
		}, nil
	case hand:
		return newHandRP(issuer, sends, newSealedSessions())
	case handSCS:
		return newHandRP(issuer, sends, newSCSSessions())
	}
	return newOurRP(name, issuer)
}

func newHandRP(issuer string, sends fixture, sessions handSessions) (*rp, error) {
	h, err := newByHand(context.Background(), issuer, sends.handKeepsIDToken, sessions)
	if err != nil {
		return nil, err
	}
	return &rp{
		middleware: h.middleware, protect: h.requireLogin, clock: new(clock), // which nothing reads
		subject: func(r *http.Request) string { return handSessionOf(r).Subject },
		claims:  func(r *http.Request, v any) error { return json.Unmarshal(handSessionOf(r).Claims, v) },
	}, nil
}

func newOurRP(name, issuer string) (*rp, error) {
	key := make([]byte, 32)
	rand.Read(key)
	clock := new(clock)
	cfg := oidcrp.Config{
		Issuer: issuer, ClientID: clientID, ClientSecret: clientSecret, BaseURL: appURL,
		CookieKeys: oidcrp.Keys(key),
		Logger:     slog.New(slog.DiscardHandler), // by hand, nothing is logged
		Now:        clock.now,
	}
	switch name {
	case ours:
	case oursMemory:
		cfg.Store = oidcrp.NewMemoryStore(0)
	case ours + withoutCache:
		cfg.Sessions.CacheBytes = -1
	case oursMemory + withoutCache:
		cfg.Store = oidcrp.NewMemoryStore(0)
		cfg.Sessions.CacheBytes = -1
	default:
		return nil, fmt.Errorf("there is no sign-in %q", name)
	}
	client, err := oidcrp.New(cfg)
	if err != nil {
		return nil, err
	}
	session := func(r *http.Request) *oidcrp.Session {
		s, _ := oidcrp.SessionFromContext(r.Context())
		return s
	}
	return &rp{
		middleware: client.Middleware, protect: client.RequireLogin, clock: clock,
		subject: func(r *http.Request) string { return session(r).Subject() },
		claims:  func(r *http.Request, v any) error { return session(r).Claims(v) },
	}, nil
}

// app returns the whole app, with a page for each handler and "/pass", which requires a
// session and does not read it.
func (rp *rp) app() http.Handler {
	mux := http.NewServeMux()
	for _, name := range append([]string{"pass"}, handlers...) {
		mux.Handle("/"+name, rp.protect(rp.page(name)))
	}
	return rp.middleware(mux)
}

// A person is the claims that the struct handler decodes.
type person struct {
	Subject   string   `json:"sub"`
	Name      string   `json:"name"`
	GivenName string   `json:"given_name"`
	UsualName string   `json:"usual_name"`
	Email     string   `json:"email"`
	Verified  bool     `json:"email_verified"`
	Roles     []string `json:"roles"`
}

// page returns the handler of that name.
func (rp *rp) page(name string) http.Handler {
	read := func(r *http.Request) (string, error) { return rp.subject(r), nil }
	switch {
	case rp.claims == nil:
	case name == "pass":
		read = func(*http.Request) (string, error) { return subject, nil }
	case name == structHandler:
		read = func(r *http.Request) (string, error) {
			var who person
			err := rp.claims(r, &who)
			return who.Subject, err
		}
	case name == mapHandler:
		read = func(r *http.Request) (string, error) {
			var who map[string]any
			err := rp.claims(r, &who)
			text, _ := who["sub"].(string)
			return text, err
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := read(r)
		if err != nil {
			http.Error(w, "unreadable claims", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, answerOf(who))
	})
}

// answerOf is what every page answers.
func answerOf(who string) string { return `{"sub":"` + who + `"}` }

// handOf returns which rp by hand is compared with one of ours.
func handOf(name string) string {
	switch {
	case slices.Contains([]string{hand, ours, ours + withoutCache}, name):
		return hand
	default:
		return handSCS
	}
}
