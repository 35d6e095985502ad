package oidcrp

import (
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

func TestClientAuth_MethodFollowsTheProvider(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		configured string
		offered    []string
		want       string
	}{
		{"", nil, "client_secret_basic"}, // the default of OIDC Discovery 3
		{"", []string{}, "client_secret_basic"},
		{"", []string{"client_secret_basic"}, "client_secret_basic"},
		{"", []string{"client_secret_post"}, "client_secret_post"},
		{"", []string{"client_secret_post", "client_secret_basic"}, "client_secret_basic"},
		{"", []string{"private_key_jwt", "client_secret_post", "none"}, "client_secret_post"},
		{"", []string{"CLIENT_SECRET_BASIC", "client_secret_post"}, "client_secret_post"},
		{"", []string{"private_key_jwt", "client_secret_jwt"}, ""},
		{"", []string{"none"}, ""},
		// What is configured was agreed at registration, whatever is advertised.
		{"client_secret_post", []string{"client_secret_basic"}, "client_secret_post"},
		{"client_secret_jwt", nil, "client_secret_jwt"},
	} {
		auth := &clientAuth{method: tt.configured}
		got, err := auth.methodFor(soundMetadata(func(m *Metadata) { m.TokenEndpointAuthMethodsSupported = tt.offered }))
		if got != tt.want {
			t.Errorf("%q of %q: %q, want %q", tt.configured, tt.offered, got, tt.want)
		}
		if tt.want == "" {
			wantCode(t, err, CodeUnsupportedByProvider)
		}
	}
}

func TestClientAuth_EachRequestHasAnAssertionOfItsOwn(t *testing.T) {
	t.Parallel()
	auth := &clientAuth{
		clientID: "client", issuer: "https://op.example", method: "private_key_jwt", now: newTestClock().Now,
		keys: []jose.JSONWebKey{{Key: testKeys().P256}},
	}
	var assertions []string
	for range 3 {
		form := make(url.Values)
		if err := auth.add(t.Context(), soundMetadata(nil), form, make(http.Header)); err != nil {
			t.Fatal(err)
		}
		assertions = append(assertions, form.Get("client_assertion"))
	}
	if slices.Sort(assertions); len(slices.Compact(assertions)) != 3 {
		t.Error("one assertion came twice")
	}
}
