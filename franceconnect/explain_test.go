package franceconnect_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/franceconnect"
	"github.com/oidcrp/oidcrp/oidctest"
)

func refusal(endpoint, code, uri string) error {
	return &oidcrp.Error{Op: "callback", Code: oidcrp.CodeProviderError, Err: &oidcrp.ProviderError{
		Endpoint: endpoint, ErrorCode: code, ErrorURI: uri,
	}}
}

func TestExplain_Errors(t *testing.T) {
	t.Parallel()
	const uri = "https://docs.partenaires.franceconnect.gouv.fr/erreurs?id=1&code="
	for _, test := range []struct {
		name          string
		err           error
		code, meaning string // part of it, in English
		operator      bool
	}{
		{"the person went back", refusal("authorization", "access_denied", ""), "access_denied", "cancelled", false},
		{"the register said so", refusal("authorization", "access_denied", uri+"Y010015"), "Y010015", "deceased", false},
		{"the register is slow", refusal("authorization", "temporarily_unavailable", uri+"Y010011"), "Y010011", "does not answer", false},
		{"an unknown code in the URI", refusal("authorization", "access_denied", uri+"Z1"), "access_denied", "cancelled", false},
		{"more than a code in the URI", refusal("authorization", "access_denied", uri+"Y04%0Alevel=ERROR"), "access_denied", "cancelled", false},
		{"another URI", refusal("authorization", "access_denied", "::"), "access_denied", "cancelled", false},
		{"a level of the other platform", refusal("authorization", "invalid_acr", ""), "invalid_acr", "eidas2 and eidas3", true},
		{"a hint that is not allowed", refusal("authorization", "invalid_idp_hint", ""), "invalid_idp_hint", "idp_hint", true},
		{"no openid", refusal("authorization", "invalid_request", ""), "invalid_request", "does not accept", true},
		{"a failure", refusal("authorization", "server_error", ""), "server_error", "unexpected", false},
		{"a code after 30 seconds", refusal("token", "invalid_grant", uri+"Y04AAAAA"), "invalid_grant", "Too much time", false},
		{"an access token after a minute", refusal("userinfo", "invalid_token", ""), "invalid_token", "Too much time", false},
		{"a wrong secret", refusal("token", "invalid_client", ""), "invalid_client", "secret", true},
		{"the same with a code", refusal("token", "invalid_client", uri+"Y04BBBBB"), "Y04BBBBB", "does not accept", true},
		{"an ID Token with another algorithm", &oidcrp.Error{Op: "id_token", Code: oidcrp.CodeTokenRefused,
			Err: &oidcrp.TokenError{Token: "ID Token", Check: "alg", Expected: "ES256", Got: "HS256"}}, "token_refused", "is not signed", true},
		{"an ID Token for another client", &oidcrp.Error{Op: "id_token", Code: oidcrp.CodeTokenRefused,
			Err: &oidcrp.TokenError{Token: "ID Token", Check: "aud"}}, "token_refused", "did not succeed", false},
		{"an unknown error", refusal("authorization", "new_error", ""), "new_error", "did not succeed", false},
		{"out of reach", &oidcrp.Error{Op: "discovery", Code: oidcrp.CodeProviderUnavailable}, "provider_unavailable", "did not succeed", false},
		{"any error", errors.New("x"), "", "did not succeed", false},
		{"no error", nil, "", "did not succeed", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			en, fr := franceconnect.Explain(test.err, "en"), franceconnect.Explain(test.err, "fr")
			if !strings.Contains(en.Meaning, test.meaning) || en.ForOperator != test.operator || en.Code != test.code {
				t.Errorf("got %+v, want %q, for the operator: %v", en, test.meaning, test.operator)
			}
			if fr.Meaning == en.Meaning || fr.Meaning == "" || fr.Action == en.Action || fr.Action == "" || en.Action == "" {
				t.Errorf("in French: %+v", fr)
			}
		})
	}
}

func TestExplainCode_CodesOfFranceConnectsPages(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		"Y030007": "parameters", "Y04EA6EF": "does not know", "Y04C013C": "redirect URI", "Y04A8220": "sector_identifier_uri",
		"Y100001": "level", "Y100009": "amr", "Y010004": "did not find", "Y010006": "did not find", "Y010008": "did not find",
		"Y010015": "deceased", "Y010011": "does not answer", "Y010012": "does not answer",
		"Y010099": "could not check", "Y04FFFFF": "does not accept", " Y100001 ": "level", "Z1": "did not succeed", "": "did not succeed",
	} {
		en, fr := franceconnect.ExplainCode(code, "en"), franceconnect.ExplainCode(code, "fr")
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
	const own = "Own words."
	denied := refusal("authorization", "access_denied", "")
	for what, test := range map[string]struct {
		page oidcrp.Page
		want string
	}{
		"in French":                          {oidcrp.Page{Language: "fr", Err: denied}, "La connexion a été annulée, ou FranceConnect l’a refusée."},
		"in English":                         {oidcrp.Page{Language: "en", Err: denied}, "The sign-in was cancelled, or FranceConnect refused it."},
		"in a language that the app added":   {oidcrp.Page{Language: "de", Err: denied}, own},
		"a requirement that explains itself": {oidcrp.Page{Language: "en", Requirement: "acr", Err: denied}, own},
		"a refusal by the app":               {oidcrp.Page{Language: "en", Code: oidcrp.CodeLoginRefused, Err: denied}, own},
		"an error for the operator":          {oidcrp.Page{Language: "en", Err: refusal("authorization", "invalid_acr", "")}, own},
		"no error of FranceConnect":          {oidcrp.Page{Language: "en", Err: errors.New("x")}, own},
	} {
		page := test.page
		page.Name, page.Status, page.Title, page.Paragraphs = "error", http.StatusForbidden, "A title", []string{own}
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/auth/callback", nil)
		r.Header.Set("Accept", "text/html")
		w := httptest.NewRecorder()
		franceconnect.PageHandler(w, r, &page)
		if body := w.Body.String(); !strings.Contains(body, "<p>"+test.want+"</p>") || strings.Contains(body, own) != (test.want == own) {
			t.Errorf("%s: want %q in\n%s", what, test.want, body)
		}
		if len(page.Paragraphs) != 1 || page.Paragraphs[0] != own {
			t.Errorf("%s: the page was changed to %+v", what, page)
		}
	}
}

// The person is told to give the code to FranceConnect's support, so the page has it. It
// comes with the request: nothing else is shown.
func TestPageHandler_ShowsTheCodeToGiveToFranceConnect(t *testing.T) {
	t.Parallel()
	const uri = "https://docs.partenaires.franceconnect.gouv.fr/erreurs?id=1&code="
	for code, want := range map[string]bool{
		"Y010004": true, "Y01AB12C": true, "Y990001": true, "Y01 call +33 1 23": false, "Y01%3Cb%3E": false, "": false,
	} {
		for language, label := range map[string]string{"en": "FranceConnect&#39;s code: ", "fr": "Code de FranceConnect\u00a0: "} {
			page := oidcrp.Page{Name: "error", Status: http.StatusForbidden, Title: "A title", Language: language,
				Err: refusal("authorization", "access_denied", uri+url.QueryEscape(code))}
			r := httptest.NewRequestWithContext(t.Context(), "GET", "/auth/callback", nil)
			r.Header.Set("Accept", "text/html")
			w := httptest.NewRecorder()
			franceconnect.PageHandler(w, r, &page)
			body := w.Body.String()
			if got := strings.Contains(body, "<p>"+label+code+"</p>"); got != want || strings.Contains(body, label) != want {
				t.Errorf("%s, in %s: shown %t\n%s", code, language, got, body)
			}
		}
	}
}

// The registered algorithm is the mistake of a first login: the log of the operator's own
// hook says which settings to look at.
func TestExplain_AnAlgorithmThatIsNotTheRegisteredOne(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(*oidcrp.Registration){
		"the ID Token": func(r *oidcrp.Registration) { r.IDTokenSignedResponseAlg = "HS256" },
		"UserInfo":     func(r *oidcrp.Registration) { r.UserInfoSignedResponseAlg = "RS256" },
	} {
		var explanation franceconnect.Explanation
		s := newService(t, franceconnect.Integration, citizen(), func(cfg *oidcrp.Config) {
			change(&cfg.Registration)
			cfg.Trace.LoginRefused = func(_ context.Context, e oidcrp.LoginEvent) { explanation = franceconnect.Explain(e.Err, "en") }
		}, nil)
		if status, body := s.visit(t, s.provider.Browser(), "/page"); status != http.StatusBadGateway {
			t.Errorf("%s: status %d:\n%s", what, status, body)
		}
		if !explanation.ForOperator || !strings.Contains(explanation.Action, "SignedResponseAlg") {
			t.Errorf("%s: %+v", what, explanation)
		}
	}
}

// FranceConnect's way back from a page of its own can lack the state: the person can start
// again, and the log says what FranceConnect answered.
func TestPageHandler_AnAnswerWithoutStateIsNoDeadEnd(t *testing.T) {
	t.Parallel()
	log := new(strings.Builder)
	s := newService(t, franceconnect.Integration, citizen(), func(cfg *oidcrp.Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	}, nil)
	s.provider.Handle(oidctest.EndpointAuthorization, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, s.URL+"/auth/callback?error=access_denied&iss="+s.provider.Issuer(), http.StatusFound)
	})
	if status, body := s.visit(t, s.provider.Browser(), "/page"); status != http.StatusBadRequest || !strings.Contains(body, `href="/auth/login"`) {
		t.Errorf("status %d:\n%s", status, body)
	}
	if !strings.Contains(log.String(), "access_denied") {
		t.Errorf("the log does not say why:\n%s", log)
	}
}
