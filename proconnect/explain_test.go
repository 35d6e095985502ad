package proconnect_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
	"github.com/oidcrp/oidcrp/proconnect"
)

func refusal(endpoint string, status int, code, description string) error {
	return fmt.Errorf("login: %w", &oidcrp.Error{Op: "callback", Code: oidcrp.CodeProviderError, Err: &oidcrp.ProviderError{
		Endpoint: endpoint, StatusCode: status, ErrorCode: code, ErrorDescription: description,
	}})
}

func TestExplain_Errors(t *testing.T) {
	t.Parallel()
	callback := func(code, description string) error { return refusal("authorization", 0, code, description) }
	tests := []struct {
		name     string
		err      error
		meaning  string // part of it, in English
		operator bool
	}{
		{"silent sign-in without a session", callback("login_required", "End-User authentication is required"), "not signed in", false},
		{"a level not reached", callback("access_denied", "requested ACRs could not be satisfied"), "level", false},
		{"a level refused by the identity provider",
			callback("access_denied", "none of the requested ACRs could be obtained"), "level", false},
		{"a person of the private sector", callback("access_denied", "authentication aborted due to invalid identity"), "public agents", false},
		{"a domain refused", callback("access_denied", "authentication aborted due to a configuration limitation"), "domain", false},
		{"a session lost on the way", callback("access_denied", "user authentication aborted"), "interrupted", false},
		{"a refusal without a word", callback("access_denied", ""), "cancelled or refused", false},
		{"a failure at ProConnect", callback("server_error",
			"authentication aborted due to a technical error on the authorization server"), "technical failure", false},
		{"the same, called a bad request", callback("invalid_request",
			"authentication aborted due to a technical error on the authorization server"), "technical failure", false},
		{"an unexpected failure", callback("server_error", "An unexpected error occurred"), "unexpected", false},
		{"a bad request", callback("invalid_request", "unsupported prompt value requested"), "does not accept", true},
		{"a scope of another client", callback("invalid_scope", "requested scope is not allowed"), "scope", true},
		{"a request object", callback("request_not_supported", ""), "does not support", true},
		{"a wrong hint", callback("idp_hint_not_found", "provided idp_hint could not be found"), "idp_hint", true},
		{"a wrong secret", refusal("token", 401, "invalid_client", "client authentication failed"), "secret", true},
		{"a code or refresh token that is spent", refusal("token", 400, "invalid_grant", "grant request is invalid"), "session has ended", false},
		{"a session that is gone", refusal("userinfo", 500, "server_error", "oops! something went wrong"), "session has ended", false},
		{"a refresh that only a sign-in can help", &oidcrp.Error{Op: "refresh", Code: oidcrp.CodeLoginRequired}, "session has ended", false},
		{"UserInfo that does not answer", &oidcrp.Error{Op: "userinfo", Code: oidcrp.CodeProviderUnavailable}, "session has ended", false},
		{"two tabs", &oidcrp.Error{Op: "callback", Code: oidcrp.CodeTransactionLost}, "overtaken", false},
		{"an unknown error", callback("new_error", ""), "did not succeed", false},
		{"ProConnect out of reach", &oidcrp.Error{Op: "discovery", Code: oidcrp.CodeProviderUnavailable}, "did not succeed", false},
		{"any error", errors.New("x"), "did not succeed", false},
		{"no error", nil, "did not succeed", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			en, fr := proconnect.Explain(test.err, "en"), proconnect.Explain(test.err, "fr")
			if !strings.Contains(en.Meaning, test.meaning) || en.ForOperator != test.operator {
				t.Errorf("got %+v, want %q, for the operator: %v", en, test.meaning, test.operator)
			}
			if fr.Meaning == en.Meaning || fr.Meaning == "" || fr.Action == en.Action || fr.Action == "" || en.Action == "" {
				t.Errorf("in French: %+v", fr)
			}
		})
	}
	if got := proconnect.Explain(callback("login_required", ""), "fr").Code; got != "login_required" {
		t.Errorf("the code is %q", got)
	}
}

func TestExplainCode_CodesOfProConnectsPages(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		"Y000400": "does not accept", "Y000404": "address", "Y000500": "unexpected",
		"Y500001": "No identity provider", "Y500006": "incomplete", "Y500015": "public agents", "Y500024": "blocked",
		"Y500025": "domain", "Y500027": "may not answer", "Y500099": "did not succeed",
		"Y020017": "technical", "Y020019": "technical", "Y020026": "technical", "Y020027": "technical",
		"Y020030": "technical", "Y020031": "technical", "Y020032": "technical", "Y190001": "lost",
		"Y030031": "no longer", "Y030110": "no longer", "Y030111": "no longer", "Y04A586": "no longer",
		"oidc-provider-rendered-error:invalid_client":          "does not know",
		"oidc-provider-rendered-error:invalid_redirect_uri":    "redirect URI",
		"oidc-provider-rendered-error:invalid_request":         "logout",
		"oidc-provider-rendered-error:invalid_client_metadata": "registration",
		"oidc-provider-rendered-error:something":               "does not accept",
		"oidc-provider-error:session-not-found":                "overtaken",
		" Y500015 ":                                            "public agents",
		"Z1":                                                   "did not succeed",
		"":                                                     "did not succeed",
	} {
		en, fr := proconnect.ExplainCode(code, "en"), proconnect.ExplainCode(code, "fr")
		if !strings.Contains(en.Meaning, want) || en.Code != strings.TrimSpace(code) {
			t.Errorf("%q: got %+v, want %q", code, en, want)
		}
		if fr.Meaning == en.Meaning || fr.Action == en.Action || fr.ForOperator != en.ForOperator {
			t.Errorf("%q in French: %+v", code, fr)
		}
	}
}

func TestPageHandler_ExplainsToThePersonOnly(t *testing.T) {
	t.Parallel()
	mfa := refusal("authorization", 0, "access_denied", "requested ACRs could not be satisfied")
	const own = "Own words."
	tests := []struct {
		name string
		page oidcrp.Page
		want []string // the paragraphs
	}{
		{"in French", oidcrp.Page{Language: "fr", Err: mfa}, []string{
			"Votre connexion n’a pas atteint le niveau que ce service demande, par exemple une double authentification.",
			"Connectez-vous avec un second facteur. Si cela ne vous est pas proposé, " +
				"contactez le service informatique de votre organisation.",
		}},
		{"in English", oidcrp.Page{Language: "en", Err: mfa}, []string{
			"Your sign-in did not reach the level that this service asks for, such as two factors.",
			"Sign in with a second factor. If you are not offered any, contact your organisation&#39;s IT department.",
		}},
		{"in a language that the app added", oidcrp.Page{Language: "de", Err: mfa}, []string{own}},
		{"a requirement that explains itself",
			oidcrp.Page{Language: "en", Code: oidcrp.CodeRequirementUnmet, Requirement: "mfa", Err: mfa}, []string{own}},
		{"a refusal by the app", oidcrp.Page{Language: "en", Code: oidcrp.CodeLoginRefused, Err: mfa}, []string{own}},
		{"a scope, which is for the operator", oidcrp.Page{
			Language: "en", Code: oidcrp.CodeClientRefused, Err: refusal("authorization", 0, "invalid_scope", ""),
		}, []string{own}},
		{"an error of another kind", oidcrp.Page{
			Language: "en", Code: oidcrp.CodeStoreUnavailable, Err: &oidcrp.Error{Code: oidcrp.CodeStoreUnavailable},
		}, []string{own}},
		{"no error at all", oidcrp.Page{Language: "en", Code: oidcrp.CodeNoSession}, []string{own}},
		{"another page", oidcrp.Page{Name: "signed_out", Language: "en"}, []string{own}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			page := test.page
			page.Name = cmp.Or(page.Name, "error")
			page.Status, page.Title, page.Paragraphs = http.StatusForbidden, "A title", []string{own}
			r := httptest.NewRequestWithContext(context.Background(), "GET", "/auth/callback", nil)
			r.Header.Set("Accept", "text/html")
			w := httptest.NewRecorder()
			before := page
			proconnect.PageHandler(w, r, &page)
			_, shown, _ := strings.Cut(w.Body.String(), "<h1>A title</h1>\n")
			for _, paragraph := range test.want {
				var ok bool
				if shown, ok = strings.CutPrefix(shown, "<p>"+paragraph+"</p>\n"); !ok {
					t.Errorf("no paragraph %q in\n%s", paragraph, w.Body)
				}
			}
			if w.Code != http.StatusForbidden || strings.HasPrefix(shown, "<p>") {
				t.Errorf("status %d, and more than %q in\n%s", w.Code, test.want, w.Body)
			}
			if !reflect.DeepEqual(page, before) {
				t.Errorf("the page was changed to %+v", page)
			}
		})
	}
}

// A script gets the explanation as the detail of its answer, and an app's own words
// stay.
func TestPageHandler_ExplainsToScripts(t *testing.T) {
	t.Parallel()
	mfa := refusal("authorization", 0, "access_denied", "requested ACRs could not be satisfied")
	const own = "Own words."
	for what, test := range map[string]struct {
		page oidcrp.Page
		want string
	}{
		"in English": {oidcrp.Page{Language: "en", Err: mfa},
			"Your sign-in did not reach the level that this service asks for, such as two factors. " +
				"Sign in with a second factor. If you are not offered any, contact your organisation's IT department."},
		"in a language that the app added": {oidcrp.Page{Language: "de", Err: mfa, Detail: own}, own},
		"a refusal by the app": {
			oidcrp.Page{Language: "en", Code: oidcrp.CodeLoginRefused, Err: mfa, Detail: own}, own},
		"no explanation": {oidcrp.Page{Language: "en", Code: oidcrp.CodeNoSession}, ""},
	} {
		page := test.page
		page.Name, page.Status, page.Script = "error", http.StatusForbidden, true
		w := httptest.NewRecorder()
		proconnect.PageHandler(w, httptest.NewRequestWithContext(t.Context(), "GET", "/auth/callback", nil), &page)
		var problem struct{ Detail string }
		if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %v in %s", what, err, w.Body)
		}
		if problem.Detail != test.want {
			t.Errorf("%s: the detail is %q, want %q", what, problem.Detail, test.want)
		}
	}
}

func TestPageHandler_ExplainsARefusedLogin(t *testing.T) {
	t.Parallel()
	persona := agent()
	persona.StepUpACRs = nil
	s := newService(t, persona, nil, func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.Handle("/page", c.Require(proconnect.MFA())(page))
	})
	for language, want := range map[string]string{
		"":                        "did not reach the level that this service asks for",
		"fr;q=0.5, en-GB":         "did not reach the level that this service asks for",
		"fr-FR,fr;q=0.9,en;q=0.8": "n’a pas atteint le niveau que ce service demande",
	} {
		browser := s.provider.Browser()
		browser.Transport = preferring{language, browser.Transport}
		status, body := s.visit(t, browser, "/page", persona.Subject)
		if status != http.StatusForbidden || !strings.Contains(body, want) {
			t.Errorf("%q: status %d:\n%s", language, status, body)
		}
	}
}

// preferring is the transport of a browser whose user prefers a language.
type preferring struct {
	language string
	http.RoundTripper
}

func (p preferring) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Accept-Language", p.language)
	return p.RoundTripper.RoundTrip(r)
}

func TestNeedsSignIn_AfterARefreshThatFailed(t *testing.T) {
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
			s := newService(t, agent(), func(cfg *oidcrp.Config) { cfg.Tokens.Keep = true },
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
			if _, got := s.visit(t, browser, "/refresh", agent().Subject); got != test.answer {
				t.Errorf("the answer is %q, want %q", got, test.answer)
			}
		})
	}
}

func TestNeedsSignIn_OtherErrors(t *testing.T) {
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
		t.Error("a missing session does not need a sign-in")
	}
}
