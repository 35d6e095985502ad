package proconnect_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/proconnect"
)

// newSilentService starts a service with the public page "/news", which signs in
// silently, or returns what SignInSilently panics with.
func newSilentService(t *testing.T, change func(*oidcrp.Config)) (s *service, refused string) {
	t.Helper()
	defer func() {
		if problem := recover(); problem != nil {
			refused = fmt.Sprint(problem)
		}
	}()
	s = newService(t, agent(), change, func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.Handle("/news", c.SignInSilently(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "news")
		})))
	})
	return s, ""
}

// ProConnect answers login_required, and the page is shown, not an explanation of that.
func TestSignInSilently_ShowsThePageWithoutASession(t *testing.T) {
	t.Parallel()
	s, refused := newSilentService(t, nil)
	if refused != "" {
		t.Fatal(refused)
	}
	browser := s.provider.Browser()
	for range 3 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/news", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Sec-Fetch-Dest", "document")
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		res, err := browser.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK || string(body) != "news" || res.Request.URL.Path != "/news" {
			t.Errorf("%s at %s, %v\n%s", res.Status, res.Request.URL, err, body)
		}
	}
	requests := s.provider.RequestsTo(oidctest.EndpointAuthorization)
	if len(requests) != 1 {
		t.Fatalf("%d authentication requests, want 1", len(requests))
	}
	if query := requests[0].URL.Query(); query.Get("prompt") != "none" || query.Has("acr_values") || query.Has("login_hint") {
		t.Errorf("the request is %v", query)
	}
}

// ProConnect would show its pages to a person who has not asked to sign in.
func TestSignInSilently_RefusesHintsAndLevels(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*oidcrp.AuthOptions){
		"an address":           func(o *oidcrp.AuthOptions) { proconnect.SetLoginHint(o, "a@example.org") },
		"an identity provider": func(o *oidcrp.AuthOptions) { proconnect.SetIDPHint(o, "a") },
		"an establishment": func(o *oidcrp.AuthOptions) {
			if err := proconnect.SetSIRETHint(o, "13002526500013"); err != nil {
				t.Error(err)
			}
		},
		"preferred levels": func(o *oidcrp.AuthOptions) { o.ACRValues = []string{"eidas1"} },
		"required levels":  func(o *oidcrp.AuthOptions) { o.RequireACR = []string{"eidas1"} },
		"a level as a claim": func(o *oidcrp.AuthOptions) {
			o.Claims.IDToken["acr"] = &oidcrp.ClaimRequest{Value: "eidas2"}
		},
		"any level as a claim": func(o *oidcrp.AuthOptions) {
			o.Claims.IDToken["acr"] = &oidcrp.ClaimRequest{Essential: true}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, refused := newSilentService(t, func(cfg *oidcrp.Config) { change(&cfg.Login) })
			if !strings.Contains(refused, "SignInSilently") || !strings.Contains(refused, "cannot be combined with hints or levels") {
				t.Errorf("it says %q", refused)
			}
		})
	}
	_, refused := newSilentService(t, func(cfg *oidcrp.Config) { cfg.Requirements = []oidcrp.Requirement{oidcrp.ACR("eidas2")} })
	if !strings.Contains(refused, "cannot be combined with hints or levels") {
		t.Errorf("a level that everybody must have: it says %q", refused)
	}
}
