package oidcrp_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp"
)

// asSession returns r as a request of s.
func asSession(r *http.Request, s *oidcrp.Session) *http.Request {
	return r.WithContext(oidcrp.ContextWithSession(r.Context(), s))
}

func TestContextWithSession_AHandlerSeesIt(t *testing.T) {
	t.Parallel()
	client := mustNew(t, func(cfg *oidcrp.Config) { cfg.Provider.Transport = oidcrp.NoNetwork(t) })
	bruno := oidcrp.NewSession(map[string]string{"sub": "bruno", "acr": "eidas2"})
	for _, test := range []struct {
		what   string
		wrap   func(http.Handler) http.Handler
		status int
	}{
		{"no middleware", func(next http.Handler) http.Handler { return next }, http.StatusOK},
		{"Middleware", client.Middleware, http.StatusOK},
		{"RequireLogin", client.RequireLogin, http.StatusOK},
		{"a requirement that is met", client.Require(oidcrp.ACR("eidas2")), http.StatusOK},
		{"a requirement that is not", client.Require(oidcrp.ACR("eidas3")), http.StatusUnauthorized},
		{"a requirement that only the cookie meets", client.Require(oidcrp.Claim("sub", "alice")), http.StatusForbidden},
	} {
		// The request carries cookies of alice, which do not count.
		for what, r := range map[string]*http.Request{"without cookies": oidcrp.RequestWith(), "with cookies": signedInRequest(t, client)} {
			w := httptest.NewRecorder()
			test.wrap(http.HandlerFunc(sayWho)).ServeHTTP(w, asSession(r, bruno))
			if w.Code != test.status || w.Code == http.StatusOK && !strings.Contains(w.Body.String(), `"bruno"`) {
				t.Errorf("behind %s, %s: %d %s", test.what, what, w.Code, w.Body)
			}
			if set := w.Result().Cookies(); len(set) > 0 {
				t.Errorf("behind %s, %s: it sets the cookies %v", test.what, what, set)
			}
		}
	}
	r := asSession(signedInRequest(t, client), bruno)
	if s, err := client.Session(r); s != bruno || err != nil {
		t.Errorf("Session returned %v, %v", s, err)
	}
	if s, err := client.Check(r); s != bruno || err != nil {
		t.Errorf("Check returned %v, %v", s, err)
	}
	if s, ok := oidcrp.SessionFromContext(r.Context()); s != bruno || !ok {
		t.Errorf("SessionFromContext returned %v, %t", s, ok)
	}
}

func TestContextWithSession_NilMeansSignedOut(t *testing.T) {
	t.Parallel()
	client := mustNew(t, nil)
	r := asSession(signedInRequest(t, client), nil)
	if s, err := client.Session(r); s != nil || !errors.Is(err, oidcrp.CodeNoSession) {
		t.Errorf("Session returned %v, %v", s, err)
	}
	if s, err := client.Check(r); s != nil || !errors.Is(err, oidcrp.CodeNoSession) {
		t.Errorf("Check returned %v, %v", s, err)
	}
	if s, ok := oidcrp.SessionFromContext(r.Context()); s != nil || ok {
		t.Errorf("SessionFromContext returned %v, %t", s, ok)
	}
	w := httptest.NewRecorder()
	if client.RequireLogin(http.HandlerFunc(sayWho)).ServeHTTP(w, r); w.Code != http.StatusUnauthorized {
		t.Errorf("RequireLogin answers %d", w.Code)
	}
}

// A session that a test put there is for every Client; a real one only for the
// Client that found it.
func TestContextWithSession_IsForEveryClient(t *testing.T) {
	t.Parallel()
	first := mustNew(t, nil)
	second := mustNew(t, func(cfg *oidcrp.Config) { cfg.PathPrefix = "/other/" })
	nested := func(inner func(http.Handler) http.Handler) http.Handler {
		return first.Middleware(inner(http.HandlerFunc(sayWho)))
	}
	bruno := oidcrp.NewSession(map[string]string{"sub": "bruno"})
	for _, test := range []struct {
		what string
		r    *http.Request
		want string // who the inner page sees; "" for nobody
	}{
		{"a test's session", asSession(oidcrp.RequestWith(), bruno), "bruno"},
		{"the first Client's", signedInRequest(t, first), ""},
		{"the second Client's", signedInRequest(t, second), "alice"},
	} {
		w := httptest.NewRecorder()
		nested(second.Middleware).ServeHTTP(w, test.r)
		if !strings.Contains(w.Body.String(), `"Sub":"`+test.want+`"`) {
			t.Errorf("%s: the second Client's page says %s", test.what, w.Body)
		}
		w = httptest.NewRecorder()
		nested(second.RequireLogin).ServeHTTP(w, test.r)
		if passed := w.Code == http.StatusOK; passed != (test.want != "") {
			t.Errorf("%s: the second Client's protected page answers %d", test.what, w.Code)
		}
	}
}

func TestSessionFromContext_NeedsMiddleware(t *testing.T) {
	t.Parallel()
	client := mustNew(t, nil)
	r := signedInRequest(t, client)
	if s, ok := oidcrp.SessionFromContext(r.Context()); s != nil || ok {
		t.Errorf("a request that passed no middleware has %v, %t", s, ok)
	}
	if s, err := client.Session(r); err != nil || s.Subject() != "alice" {
		t.Errorf("Session needs no middleware: %v, %v", s, err)
	}
	if s, err := client.Session(oidcrp.RequestWith()); s != nil || !errors.Is(err, oidcrp.CodeNoSession) {
		t.Errorf("Session of a stranger: %v, %v", s, err)
	}
}
