package oidctest_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp/oidctest"
)

var interactionField = regexp.MustCompile(`name="interaction" value="([^"]+)"`)

// page returns the login page and its interaction.
func (c *raw) page(request url.Values, header http.Header) (body, interaction string) {
	c.Helper()
	r := c.do(http.MethodGet, oidctest.EndpointAuthorization, request, header)
	found := interactionField.FindStringSubmatch(r.body)
	if r.status != http.StatusOK || found == nil {
		c.Fatalf("no login page: %d %v", r.status, r.back)
	}
	return r.body, found[1]
}

func TestLoginPage_SignsInOrCancels(t *testing.T) {
	t.Parallel()
	now := newClock()
	p := oidctest.NewServer(t, oidctest.Config{Now: now.Now})
	c := newRaw(t, p)
	_, interaction := c.page(authRequest(), nil)
	choose := func(pairs ...string) reply {
		return c.post(oidctest.EndpointLogin, with(url.Values{"interaction": {interaction}}, pairs...))
	}
	if r := choose("cancel", "1"); r.back.Get("error") != "access_denied" || r.back.Get("state") != "the-state" {
		t.Errorf("cancelled: %v", r.back)
	}
	if r := choose("persona", "chloe"); r.back.Get("code") == "" {
		t.Errorf("chosen: %d %v", r.status, r.back)
	}
	// After the back button the same form can be submitted again.
	r := choose("persona", "bruno")
	tokens := c.post(oidctest.EndpointToken, tokenRequest(r.back.Get("code"))).json
	if sub := claims(t, tokens["id_token"])["sub"]; sub != "bruno" {
		t.Errorf("sub is %v", sub)
	}
	if r := choose("persona", "nobody"); r.status != http.StatusBadRequest {
		t.Errorf("an unknown persona: %d", r.status)
	}
	now.Advance(time.Hour)
	if r := choose("persona", "alice"); r.status != http.StatusBadRequest {
		t.Errorf("an hour later: %d", r.status)
	}
	if r := c.post(oidctest.EndpointLogin, url.Values{"persona": {"alice"}}); r.status != http.StatusBadRequest {
		t.Errorf("without interaction: %d", r.status)
	}
}

func TestLoginPage_ReturnsForAHigherLevel(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{})
	c := newRaw(t, p)
	_, interaction := c.page(authRequest(), nil)
	c.post(oidctest.EndpointLogin, url.Values{"interaction": {interaction}, "persona": {"alice"}})
	c.code() // single sign-on
	for name, pairs := range map[string][]string{
		"prompt login":          {"prompt", "login"},
		"prompt consent":        {"prompt", "consent"},
		"prompt select_account": {"prompt", "select_account"},
		"max_age 0":             {"max_age", "0"},
		"a higher level":        {"acr_values", "eidas2"},
		"an essential level":    {"claims", `{"id_token":{"acr":{"essential":true,"values":["eidas3"]}}}`},
	} {
		c.Run(name, func(t *testing.T) {
			c.page(authRequest(pairs...), nil)
		})
	}
	c.code("acr_values", "eidas3") // out of reach, and not essential
}

func TestLoginPage_IsEscapedAndLocalized(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{Personas: []oidctest.Persona{
		{Subject: `"><script>alert(1)</script>`, Name: "<b>Mallory</b>", Claims: map[string]any{"email": "m@example.org"}},
		{Subject: "plain"}}})
	c := newRaw(t, p)
	r := c.get(oidctest.EndpointAuthorization, authRequest("acr_values", "<i>"))
	if strings.Contains(r.body, "<script>alert") || strings.Contains(r.body, "<b>") || strings.Contains(r.body, "<i>") {
		t.Errorf("something is not escaped: %s", r.body)
	}
	if policy := r.header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") {
		t.Errorf("the policy is %q", policy)
	}
	if strings.Contains(r.body, "http-equiv") || strings.Contains(r.body, "src=") {
		t.Errorf("the page loads something: %s", r.body)
	}
	for language, want := range map[string]string{
		"": "Test provider.", "de": "Test provider.", "en-GB,fr;q=0.5": "Test provider.",
		"fr": "Fournisseur de test.", "de, fr-CA;q=0.9, en;q=0.1": "Fournisseur de test.",
	} {
		body, _ := c.page(authRequest(), http.Header{"Accept-Language": {language}})
		if !strings.Contains(body, want) {
			t.Errorf("in %q the page does not say %q", language, want)
		}
	}
	if body, _ := c.page(authRequest("ui_locales", "fr"), nil); !strings.Contains(body, `<html lang="fr">`) {
		t.Error("ui_locales is not heard")
	}
	body, _ := c.page(authRequest("login_hint", "m@example.org"), nil)
	if strings.Count(body, "autofocus") != 1 || strings.Index(body, "autofocus") > strings.Index(body, "Mallory") {
		t.Errorf("login_hint is not heard: %s", body)
	}
}
