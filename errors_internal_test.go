package oidcrp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp/internal/fetch"
)

func TestFail_TheFirstPlaceThatFailedNamesTheCode(t *testing.T) {
	t.Parallel()
	inner := fail("jwks", CodeProviderUnavailable, errors.New("x"))
	if got := fail("userinfo", CodeUserInfoRefused, fmt.Errorf("y: %w", inner)); codeOf(got) != CodeProviderUnavailable {
		t.Errorf("the code is %s", codeOf(got))
	}
	if got := codeOf(errors.New("x")); got != CodeInternal {
		t.Errorf("the code of any error is %s", got)
	}
}

func TestErrors_WhatTheySay(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&Error{Op: "session", Code: CodeNoSession}, "oidcrp: session: no_session"},
		{fail("discovery", CodeProviderInvalid, errors.New("why")), "oidcrp: discovery: provider_invalid: why"},
		{fail("id_token", CodeTokenRefused, refuseToken("ID Token", "aud", `"a"`, "b")),
			`oidcrp: id_token: token_refused: ID Token refused: aud: expected "a", got "b"`},
		{CodeNoSession, "oidcrp: no_session"},
		{fail("on_login", CodeLoginRefused, Refuse("not an agent", nil)), "oidcrp: on_login: login_refused: refused by OnLogin: not an agent"},
		{refuseToken("ID Token", "nonce", "", ""), "oidcrp: ID Token refused: nonce"},
		{refuseToken("UserInfo", "alg", "ES256", "RS256"), `oidcrp: UserInfo refused: alg: expected ES256, got "RS256"; ` +
			"the algorithms in Registration must be those that are registered at the provider"},
		{newProviderError("token", 400, "invalid_grant", "used", "https://op.example/help"),
			`oidcrp: the provider's token endpoint answered "invalid_grant" (status 400): "used", see "https://op.example/help"`},
		{newProviderError("authorization", 0, "access_denied", "", ""),
			`oidcrp: the provider's authorization endpoint answered "access_denied"`},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("it says\n%s\nwant\n%s", got, tt.want)
		}
	}
}

// tokenOP is a provider whose token and UserInfo endpoints answer with h, and a
// flow of a client there.
func tokenOP(t testing.TB, h http.HandlerFunc) (*flow, *Metadata) {
	t.Helper()
	s := newOPServer()
	s.serveMetadata(map[string]any{"userinfo_endpoint": s.issuer + "/userinfo"})
	s.further.HandleFunc("/token", h)
	s.further.HandleFunc("/userinfo", h)
	return s.flow(t, nil)
}

func TestProviderError_IsTheOperatorsUnlessItMayPass(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		error, description string
		want               Code
	}{
		{"access_denied", "", CodeProviderError},
		{"server_error", "", CodeProviderError},
		{"invalid_grant", "", CodeProviderError},
		{"invalid_token", "", CodeProviderError},
		{"invalid_request_uri", "", CodeProviderError},
		{"user_cancelled_login", "", CodeProviderError},
		{"invalid_request", "authentication aborted due to a Technical Error", CodeProviderError},

		{"invalid_request", "", CodeClientRefused},
		{"invalid_request", "Pushed Authorization Requests are required", CodeClientRefused},
		{"invalid_scope", "", CodeClientRefused},
		{"invalid_client", "", CodeClientRefused},
		{"insufficient_scope", "", CodeClientRefused},
		{"idp_hint_not_found", "", CodeClientRefused},
		{"ACCESS_DENIED", "", CodeClientRefused},
		{"", "", CodeClientRefused},
	} {
		if got := codeOf(providerRefusal(newProviderError("authorization", 0, tt.error, tt.description, ""))); got != tt.want {
			t.Errorf("%q, %q: the code is %s, want %s", tt.error, tt.description, got, tt.want)
		}
	}
}

func TestProviderError_ADescriptionOf1000BytesIsInTheError(t *testing.T) {
	t.Parallel()
	text := strings.Repeat(`"é" `, 198)
	text += strings.Repeat("x", 1000-len(text)-4) + "cure"
	body, err := json.Marshal(map[string]string{"error": "invalid_client", "error_description": text})
	if err != nil {
		t.Fatal(err)
	}
	f, m := tokenOP(t, respond(401, "application/json", string(body)))
	_, err = f.exchange(t.Context(), m, "code", "verifier")
	if checkText(t, err); !strings.Contains(err.Error(), `cure"`) {
		t.Errorf("the end of the description is not in %v", err)
	}
	var refusal *ProviderError
	if !errors.As(err, &refusal) || refusal.ErrorDescription != text {
		t.Errorf("the description is cut: %v", refusal)
	}
}

func TestClientAuth_ARefusalNamesTheMethodAndTheClient(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		method, answer, want string
	}{
		{"client_secret_post", `{"error":"invalid_client"}`,
			`client_id "app", token_endpoint_auth_method client_secret_post: the provider's token endpoint`},
		{"", `{"error":"invalid_client"}`,
			`client_id "app", token_endpoint_auth_method client_secret_basic, chosen because OIDC_CLIENT_AUTH is not set: the`},
		{"", `{"error":"invalid_request"}`, `token_endpoint_auth_method client_secret_basic`},
		{"", `{"error":"invalid_grant"}`, `oidcrp: token: provider_error: the provider's token endpoint answered "invalid_grant" (status 400)`},
	} {
		f, m := tokenOP(t, respond(400, "application/json", tt.answer))
		f.provider.auth.method = tt.method
		f.provider.auth.setting = func(string) string { return "OIDC_CLIENT_AUTH" }
		_, err := f.exchange(t.Context(), m, "code", "verifier")
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q, %s: error is\n%v, want\n%s", tt.method, tt.answer, err, tt.want)
		}
	}
}

func TestErrors_FromOutsideKeepTheirType(t *testing.T) {
	t.Parallel()
	f, m := tokenOP(t, respond(503, "text/html", "down"))
	_, err := f.userInfo(t.Context(), m, "x", f.rules.issuer, "alice")
	var down *fetch.Error
	if wantCode(t, err, CodeProviderUnavailable); !errors.As(err, &down) || down.StatusCode != 503 {
		t.Errorf("a provider that is down: %v", err)
	}

	f, m = tokenOP(t, respond(400, "application/json", `{"error":"invalid_grant","error_description":"used","error_uri":"u"}`))
	_, err = f.exchange(t.Context(), m, "unknown", "verifier")
	want := ProviderError{Endpoint: "token", StatusCode: 400, ErrorCode: "invalid_grant", ErrorDescription: "used", ErrorURI: "u"}
	var refusal *ProviderError
	if wantCode(t, err, CodeProviderError); !errors.As(err, &refusal) || *refusal != want {
		t.Errorf("a provider that refuses: %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = f.userInfo(ctx, m, "x", f.rules.issuer, "alice")
	if wantCode(t, err, CodeCanceled); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who leaves: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), -1)
	defer cancel()
	_, err = f.userInfo(ctx, m, "x", f.rules.issuer, "alice")
	if wantCode(t, err, CodeProviderUnavailable); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a caller out of time: %v", err)
	}
}

func TestErrors_AreBoundedAndPrintable(t *testing.T) {
	t.Parallel()
	for what, text := range hostileTexts {
		checkText(t, newProviderError("token", 400, text, text, text))
		checkText(t, fail("id_token", CodeTokenRefused, refuseToken("ID Token", "sub", "x", text)))
		checkText(t, fail("on_login", CodeLoginRefused, Refuse(text, nil)))
		if e := newProviderError("token", 400, text, text, text); len(e.ErrorCode)+len(e.ErrorDescription)+len(e.ErrorURI) > 64+maxDescription+300+3*len("…") {
			t.Errorf("%s: the provider's error is %d, %d and %d bytes long", what, len(e.ErrorCode), len(e.ErrorDescription), len(e.ErrorURI))
		}
		// The whole way from the token endpoint.
		body, err := json.Marshal(map[string]string{"error": text, "error_description": text, "error_uri": text})
		if err != nil {
			t.Fatal(err)
		}
		f, m := tokenOP(t, respond(400, "application/json", string(body)))
		if _, err = f.exchange(t.Context(), m, "code", "verifier"); err == nil {
			t.Errorf("%s: accepted", what)
		} else {
			checkText(t, err)
		}
		f, m = tokenOP(t, respond(200, clean(text, 200), "{}"))
		if _, err = f.exchange(t.Context(), m, "code", "verifier"); err == nil {
			t.Errorf("%s as a media type: accepted", what)
		} else {
			checkText(t, err)
		}
	}
}

func TestErrors_AProviderCannotFloodThem(t *testing.T) {
	t.Parallel()
	long := "https://op.example/" + strings.Repeat("a", 1<<19)
	for name, value := range map[string]any{
		"jwks_uri": long, "token_endpoint": long, "authorization_endpoint": long, "issuer": strings.Repeat("\n", 1<<19),
		"acr_values_supported": strings.Repeat("\n", 1<<19), // of a wrong type
	} {
		s := newOPServer()
		s.serveMetadata(map[string]any{name: value})
		_, err := s.provider(Trace{}).metadata(t.Context())
		if wantCode(t, err, CodeProviderInvalid); len(err.Error()) > 2000 {
			t.Errorf("%s: the error has %d bytes", name, len(err.Error()))
		}
	}
}
