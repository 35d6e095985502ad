package proconnect_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/proconnect"
)

func refusal(endpoint string, status int, code, description string) error {
	return fmt.Errorf("login: %w", &oidcrp.Error{Op: "callback", Code: oidcrp.CodeProviderError, Err: &oidcrp.ProviderError{
		Endpoint: endpoint, StatusCode: status, ErrorCode: code, ErrorDescription: description,
	}})
}

func TestExplainSaysWhatAnErrorMeansWithProConnect(t *testing.T) {
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
		{"a failure over there", callback("server_error",
			"authentication aborted due to a technical error on the authorization server"), "technical failure", false},
		{"the same, called a bad request", callback("invalid_request",
			"authentication aborted due to a technical error on the authorization server"), "technical failure", false},
		{"an unexpected failure", callback("server_error", "An unexpected error occurred"), "unexpected", false},
		{"a bad request", callback("invalid_request", "unsupported prompt value requested"), "does not accept", true},
		{"a scope of somebody else", callback("invalid_scope", "requested scope is not allowed"), "scope", true},
		{"a request object", callback("request_not_supported", ""), "does not support", true},
		{"a wrong hint", callback("idp_hint_not_found", "provided idp_hint could not be found"), "idp_hint", true},
		{"a wrong secret", refusal("token", 401, "invalid_client", "client authentication failed"), "secret", true},
		{"a code or refresh token that is spent", refusal("token", 400, "invalid_grant", "grant request is invalid"), "session has ended", false},
		{"a session that is gone", refusal("userinfo", 500, "server_error", "oops! something went wrong"), "session has ended", false},
		{"a refresh that only a sign-in can help", &oidcrp.Error{Op: "refresh", Code: oidcrp.CodeLoginRequired}, "session has ended", false},
		{"UserInfo that does not answer", &oidcrp.Error{Op: "userinfo", Code: oidcrp.CodeProviderUnavailable}, "session has ended", false},
		{"two tabs", &oidcrp.Error{Op: "callback", Code: oidcrp.CodeTransactionLost}, "overtaken", false},
		{"an error that nobody knows", callback("new_error", ""), "did not succeed", false},
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

func TestExplainCodeKnowsTheCodesOfProConnectsPages(t *testing.T) {
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

func TestTheErrorPageSaysItToThePersonAndNothingOfTheOperators(t *testing.T) {
	t.Parallel()
	mfa := refusal("authorization", 0, "access_denied", "requested ACRs could not be satisfied")
	tests := []struct {
		name, language string
		problem        oidcrp.Problem
		want           string
	}{
		{"in French", "fr-FR,fr;q=0.9,en;q=0.8", oidcrp.Problem{Err: mfa}, "Connectez-vous avec un second facteur."},
		{"in English", "fr;q=0.5, en-GB", oidcrp.Problem{Err: mfa}, "Sign in with a second factor."},
		{"without a language", "", oidcrp.Problem{Err: mfa}, "Sign in with a second factor."},
		{"a requirement speaks for itself", "en", oidcrp.Problem{Err: mfa, Explanation: "Own words."}, "<p>Own words.</p>"},
		{"a scope is not the person's affair", "en",
			oidcrp.Problem{Code: oidcrp.CodeClientRefused, Err: refusal("authorization", 0, "invalid_scope", "")},
			"Your sign-in could not be completed."},
		{"other errors have oidcrp's words", "en",
			oidcrp.Problem{Code: oidcrp.CodeStoreUnavailable, Err: &oidcrp.Error{Code: oidcrp.CodeStoreUnavailable}},
			"You have not been signed out."},
		{"no error at all", "en", oidcrp.Problem{Code: oidcrp.CodeNoSession}, "Sign in, then send it again."},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.problem.Status = http.StatusForbidden
			r := httptest.NewRequestWithContext(context.Background(), "GET", "/auth/callback", nil)
			r.Header.Set("Accept", "text/html")
			r.Header.Set("Accept-Language", test.language)
			w := httptest.NewRecorder()
			before := test.problem
			proconnect.ErrorHandler(w, r, &test.problem)
			if body := w.Body.String(); w.Code != http.StatusForbidden || !strings.Contains(body, test.want) {
				t.Errorf("status %d, without %q:\n%s", w.Code, test.want, body)
			}
			if test.problem != before {
				t.Error("the problem was changed")
			}
		})
	}
}

func TestALoginThatProConnectRefusesIsExplainedOnThePage(t *testing.T) {
	t.Parallel()
	persona := agent()
	persona.StepUpACRs = nil
	s := newService(t, persona, nil, func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.Handle("/page", c.RequireLogin(page, proconnect.RequireMFA()))
	})
	status, body := s.visit(t, s.provider.Browser(), "/page", persona.Subject)
	if status != http.StatusForbidden || !strings.Contains(body, "did not reach the level that this service asks for") {
		t.Errorf("status %d:\n%s", status, body)
	}
}
