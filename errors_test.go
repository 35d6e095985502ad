package oidcrp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/oidcrp/oidcrp/internal/fetch"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

func TestCodesAreFoundThroughTheWholeChain(t *testing.T) {
	t.Parallel()
	for _, code := range allCodes {
		cause := &TokenError{Token: "ID Token", Check: "aud"}
		err := fmt.Errorf("app: %w", errors.Join(errors.New("first"), fail("callback", code, fmt.Errorf("step: %w", cause))))
		for _, other := range allCodes {
			if got, want := errors.Is(err, other), code == other; got != want {
				t.Errorf("%s is %v: %v, want %v", code, other, got, want)
			}
		}
		var e *Error
		if !errors.As(err, &e) || e.Code != code || e.Op != "callback" {
			t.Errorf("%s: the *Error is %v", code, e)
		}
		var refused *TokenError
		if !errors.As(err, &refused) || refused != cause || !errors.Is(err, cause) {
			t.Errorf("%s: the cause is lost: %v", code, err)
		}
	}
}

func TestErrorsFromTheOutsideKeepTheirType(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	m, err := app.client.Metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	app.provider.SetDown(true)
	_, err = app.client.flow.userInfo(t.Context(), m, "x", "alice")
	var down *fetch.Error
	if !errors.Is(err, CodeProviderUnavailable) || !errors.As(err, &down) || down.StatusCode != 503 {
		t.Errorf("a provider that is down: %v", err)
	}
	app.provider.SetDown(false)

	_, err = app.client.flow.exchange(t.Context(), m, "unknown", "verifier")
	var refusal *ProviderError
	if !errors.As(err, &refusal) || refusal.ErrorCode != "invalid_grant" || refusal.StatusCode != 400 || refusal.Endpoint != "token" {
		t.Errorf("a provider that refuses: %v", err)
	}
	if errors.Is(err, CodeProviderUnavailable) {
		t.Errorf("%v counts as an outage", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = app.client.flow.userInfo(ctx, m, "x", "alice")
	if !errors.Is(err, context.Canceled) || codeOf(err) != CodeCanceled {
		t.Errorf("a caller who leaves: %v", err)
	}
}

func TestTheFirstPlaceThatFailedNamesTheCode(t *testing.T) {
	t.Parallel()
	inner := fail("jwks", CodeProviderUnavailable, errors.New("x"))
	if got := fail("userinfo", CodeUserInfoRefused, fmt.Errorf("y: %w", inner)); codeOf(got) != CodeProviderUnavailable {
		t.Errorf("the code is %s", codeOf(got))
	}
	if got := codeOf(errors.New("x")); got != CodeInternal {
		t.Errorf("the code of any error is %s", got)
	}
}

func TestWhatErrorsSay(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&Error{Op: "session", Code: CodeNoSession}, "oidcrp: session: no_session"},
		{fail("discovery", CodeProviderInvalid, errors.New("why")), "oidcrp: discovery: provider_invalid: why"},
		{fail("id_token", CodeTokenRefused, refuse("ID Token", "aud", `"a"`, "b")),
			`oidcrp: id_token: token_refused: ID Token refused: aud: expected "a", got "b"`},
		{refuse("ID Token", "nonce", "", ""), "oidcrp: ID Token refused: nonce"},
		{newProviderError("token", 400, "invalid_grant", "used", "https://op.example/help"),
			`oidcrp: the provider's token endpoint answered "invalid_grant" (status 400): "used"`},
		{newProviderError("authorization", 0, "access_denied", "", ""),
			`oidcrp: the provider's authorization endpoint answered "access_denied"`},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("it says\n%s\nwant\n%s", got, tt.want)
		}
	}
}

func TestHostileTextsAreBoundedAndPrintable(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	m, err := app.client.Metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range hostileTexts {
		checkText(t, newProviderError("token", 400, text, text, text))
		checkText(t, fail("id_token", CodeTokenRefused, refuse("ID Token", "sub", "x", text)))
		if e := newProviderError("token", 400, text, text, text); len(e.ErrorCode)+len(e.ErrorDescription)+len(e.ErrorURI) > 700 {
			t.Errorf("%s: the provider's error is %d, %d and %d bytes long", what, len(e.ErrorCode), len(e.ErrorDescription), len(e.ErrorURI))
		}

		// The whole way: a token endpoint, then a browser.
		body, err := json.Marshal(map[string]string{"error": text, "error_description": text, "error_uri": text})
		if err != nil {
			t.Fatal(err)
		}
		app.provider.Handle(oidctest.EndpointToken, respond(400, "application/json", string(body)))
		if _, err = app.client.flow.exchange(t.Context(), m, "code", "verifier"); err == nil {
			t.Errorf("%s: accepted", what)
		} else {
			checkText(t, err)
		}
		app.provider.Handle(oidctest.EndpointToken, respond(200, clean(text, 200), "{}"))
		if _, err = app.client.flow.exchange(t.Context(), m, "code", "verifier"); err != nil {
			checkText(t, err)
		}
		if len(text) > 1<<10 {
			continue // more than a browser's URL may hold
		}
		query := url.Values{"state": {text}, "error": {text}, "error_description": {text}, "iss": {text}}
		res, page := get(t, app.provider.Browser(), app.URL+"/auth/callback?"+query.Encode())
		if res.StatusCode != http.StatusBadRequest || strings.Contains(page, text) {
			t.Errorf("%s: the answer is %s\n%s", what, res.Status, page)
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(app.log.String()), "\n") {
		if len(line) > 3000 || !json.Valid([]byte(line)) {
			t.Errorf("a log line of %d bytes: %.300q", len(line), line)
		}
	}
}

func TestAHostileProviderCannotFloodErrors(t *testing.T) {
	t.Parallel()
	for what, metadata := range map[string]map[string]any{
		"a long jwks_uri":               {"jwks_uri": "http://127.0.0.1:1/" + strings.Repeat("a", 1<<19)},
		"a long token_endpoint":         {"token_endpoint": "http://127.0.0.1:1/" + strings.Repeat("a", 1<<19)},
		"a long authorization_endpoint": {"authorization_endpoint": "http://127.0.0.1:1/" + strings.Repeat("a", 1<<19)},
		"a long issuer":                 {"issuer": strings.Repeat("\n", 1<<19)},
		"a list of a wrong type":        {"acr_values_supported": strings.Repeat("\n", 1<<19)},
	} {
		app := newTestApp(t, setup{provider: oidctest.Config{Metadata: metadata}})
		_, err := app.client.Metadata(t.Context())
		if wantCode(t, err, CodeProviderInvalid); len(err.Error()) > 2000 {
			t.Errorf("%s: the error has %d bytes", what, len(err.Error()))
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, text := range hostileTexts {
		f.Add(text[:min(len(text), 500)], 100)
	}
	f.Add("é", 1)
	f.Add("", 0)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = max(0, limit%1000)
		got := clean(s, limit)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("clean(%q, %d) is %q", s, limit, got)
		}
		if len(got) > limit+len("…") {
			t.Fatalf("clean(%q, %d) has %d bytes", s, limit, len(got))
		}
		if len(s) <= limit && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
			return !unicode.IsPrint(r) || r == unicode.ReplacementChar
		}) && got != s {
			t.Fatalf("clean(%q, %d) is %q, and there was nothing to clean", s, limit, got)
		}
	})
}

// A secretsTransport remembers the tokens that the provider answered.
type secretsTransport struct {
	next http.RoundTripper

	mu      sync.Mutex
	secrets map[string]string // what each is; guarded by mu
}

func (s *secretsTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := s.next.RoundTrip(r)
	if err != nil || !strings.HasSuffix(r.URL.Path, "/token") {
		return res, err
	}
	// Some faults answer without end.
	body, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), res.Body), res.Body}
	var tokens map[string]any
	_ = json.Unmarshal(body, &tokens)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range []string{"access_token", "refresh_token", "id_token"} {
		if value, ok := tokens[name].(string); ok {
			s.secrets[value] = name
			// Parts of an ID Token are as good as the whole.
			for _, part := range strings.Split(value, ".") {
				s.secrets[part] = "a part of " + name
			}
		}
	}
	return res, nil
}

// of returns everything secret about the logins that reached the provider.
func (s *secretsTransport) of(p *oidctest.Provider) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]string{oidctest.ClientSecret: "the client secret"}
	for value, name := range s.secrets {
		all[value] = name
	}
	for _, r := range p.Requests() {
		for _, name := range []string{"nonce", "state", "code", "code_verifier", "client_secret", "client_assertion", "id_token_hint"} {
			all[r.Form.Get(name)] = name
		}
		if _, value, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok {
			all[value] = "the Authorization header"
		}
	}
	for value := range all {
		if len(value) < 8 { // "unknown" and the like
			delete(all, value)
		}
	}
	return all
}

func TestNoSecretIsInALogAnErrorOrAPage(t *testing.T) {
	t.Parallel()
	faults := append(fault.All(), fault.Fault{Name: "none"})
	for _, f := range faults {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			var told []error
			secrets := &secretsTransport{secrets: make(map[string]string)}
			app := newTestApp(t, setup{config: func(c *Config) {
				secrets.next = fetch.NewTransport()
				c.Provider.Transport = secrets
				if strings.HasSuffix(f.Name, string(fault.Slow)) || strings.HasSuffix(f.Name, string(fault.Hanging)) {
					c.Provider.Timeout = 300 * time.Millisecond
				}
				c.Tokens.Keep = true
				c.Trace.LoginRefused = func(_ context.Context, ev LoginEvent) { told = append(told, ev.Err) }
				c.Trace.DiscoveryFetched = func(_ context.Context, ev FetchEvent) { told = append(told, ev.Err) }
			}})
			if f.Name != "none" {
				app.provider.Misbehave(f)
			}
			browser := app.provider.Browser()
			res, err := app.provider.Visit(browser, app.URL+"/me", "alice")
			if err != nil {
				t.Fatal(err)
			}
			page := readBody(t, res)
			if res, err = browser.PostForm(app.URL+"/auth/logout", nil); err == nil {
				page += readBody(t, res)
			}
			for value, what := range secrets.of(app.provider) {
				for _, err := range told {
					if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, value) {
						t.Errorf("%s %q is in the error %s", what, value, text)
					}
				}
				if log := app.log.String(); strings.Contains(log, value) {
					t.Errorf("%s %q is in the log\n%s", what, value, log)
				}
				if strings.Contains(page, value) {
					t.Errorf("%s %q is in the page\n%s", what, value, page)
				}
			}
			if len(secrets.of(app.provider)) < 1 {
				t.Error("no secret to look for")
			}
		})
	}
}
