package proconnect_test

import (
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
	"github.com/oidcrp/oidcrp/proconnect"
)

func TestARefreshThatFailsNeedsASignInUnlessProConnectIsOutOfReach(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		spoil  func(*oidctest.Provider)
		answer string
	}{
		{"nothing fails", func(*oidctest.Provider) {}, "refreshed"},
		{"the refresh token is spent", func(p *oidctest.Provider) { p.Misbehave(fault.RefreshInvalidGrant) }, "sign in"},
		{"the session is gone, says the token endpoint",
			func(p *oidctest.Provider) { p.Misbehave(fault.RefreshServerError) }, "sign in"},
		{"the session is gone, says UserInfo",
			func(p *oidctest.Provider) { p.Misbehave(fault.UserInfoServerError) }, "sign in"},
		{"another person", func(p *oidctest.Provider) { p.Misbehave(fault.RefreshOtherSub) }, "failed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, agent(), func(cfg *oidcrp.Config) { cfg.KeepTokens = true },
				func(c *oidcrp.Client, mux *http.ServeMux) {
					mux.Handle("/page", c.RequireLogin(page))
					mux.HandleFunc("/refresh", func(w http.ResponseWriter, r *http.Request) {
						_, err := c.Refresh(w, r)
						switch {
						case err == nil:
							io.WriteString(w, "refreshed")
						case proconnect.NeedsSignIn(err):
							io.WriteString(w, "sign in")
						default:
							io.WriteString(w, "failed")
						}
					})
				})
			browser := s.provider.Browser()
			if status, body := s.visit(t, browser, "/page", agent().Subject); status != http.StatusOK {
				t.Fatalf("status %d:\n%s", status, body)
			}
			test.spoil(s.provider)
			if got := s.load(t, browser, "/refresh", ""); got != test.answer {
				t.Errorf("the answer is %q, want %q", got, test.answer)
			}
		})
	}
}

func TestWhatIsNoRefreshNeedsNoSignIn(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		nil, errors.New("x"),
		&oidcrp.Error{Op: "discovery", Code: oidcrp.CodeProviderUnavailable},
		&oidcrp.Error{Op: "session", Code: oidcrp.CodeStoreUnavailable},
	} {
		if proconnect.NeedsSignIn(err) {
			t.Errorf("%v needs a sign-in", err)
		}
	}
	if !proconnect.NeedsSignIn(&oidcrp.Error{Op: "session", Code: oidcrp.CodeNoSession}) {
		t.Error("nobody is signed in, and need not sign in")
	}
}
