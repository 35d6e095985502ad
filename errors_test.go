package oidcrp_test

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

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/internal/fetch"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

func TestCode_IsFoundThroughTheWholeChain(t *testing.T) {
	t.Parallel()
	for _, code := range oidcrp.AllCodes {
		cause := &oidcrp.TokenError{Token: "ID Token", Check: "aud"}
		failure := &oidcrp.Error{Op: "callback", Code: code, Err: fmt.Errorf("step: %w", cause)}
		for what, err := range map[string]error{
			"the error": failure, "wrapped": fmt.Errorf("app: %w", failure),
			"joined":             errors.Join(errors.New("first"), failure),
			"wrapped and joined": fmt.Errorf("app: %w", errors.Join(errors.New("first"), fmt.Errorf("then: %w", failure))),
			"without a cause":    fmt.Errorf("app: %w", errors.Join(failure, &oidcrp.Error{Op: "x", Code: code})),
		} {
			for _, other := range oidcrp.AllCodes {
				if got, want := errors.Is(err, other), code == other; got != want {
					t.Errorf("%s, %q is %q: %v, want %v", what, string(code), string(other), got, want)
				}
			}
			var e *oidcrp.Error
			if !errors.As(err, &e) || e.Code != code || e.Op != "callback" {
				t.Errorf("%s, %q: the *Error is %v", what, string(code), e)
			}
			var refused *oidcrp.TokenError
			if !errors.As(err, &refused) || refused != cause || !errors.Is(err, cause) {
				t.Errorf("%s, %q: the cause is lost: %v", what, string(code), err)
			}
			var found oidcrp.Code
			if !errors.As(err, &found) || found != code {
				t.Errorf("%s, %q: the code is read as %q", what, string(code), string(found))
			}
		}
		if err := fmt.Errorf("app: %w", code); !errors.Is(err, code) {
			t.Errorf("%q by itself is not found in %v", string(code), err)
		}
	}
	nested := &oidcrp.Error{Op: "a", Code: oidcrp.CodeInternal, Err: &oidcrp.Error{Op: "b", Code: oidcrp.CodeNoSession}}
	if !errors.Is(nested, oidcrp.CodeInternal) || !errors.Is(nested, oidcrp.CodeNoSession) {
		t.Errorf("one of the codes of %v is not found", nested)
	}
}

func TestCode_EachHasATextOfItsOwn(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, code := range oidcrp.AllCodes {
		text := code.Error()
		if text != "oidcrp: "+string(code) || seen[text] {
			t.Errorf("%q says %q", string(code), text)
		}
		seen[text] = true
		for _, err := range []error{&oidcrp.Error{Op: "step", Code: code}, &oidcrp.Error{Op: "step", Code: code, Err: errors.New("why")}} {
			if !strings.HasPrefix(err.Error(), "oidcrp: step: "+string(code)) {
				t.Errorf("%q says %q in an error", string(code), err)
			}
		}
	}
}

func TestErrors_HostileTextsStayOffPagesAndLogs(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	for what, text := range oidcrp.HostileTexts {
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

func TestErrors_NoSecretIsInALogAnErrorOrAPage(t *testing.T) {
	t.Parallel()
	faults := append(fault.All(), fault.Fault{Name: "none"})
	for _, f := range faults {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			var told []error
			secrets := &secretsTransport{secrets: make(map[string]string)}
			app := newTestApp(t, setup{config: func(c *oidcrp.Config) {
				secrets.next = fetch.NewTransport()
				c.Provider.Transport = secrets
				if strings.HasSuffix(f.Name, string(fault.Slow)) || strings.HasSuffix(f.Name, string(fault.Hanging)) {
					c.Provider.Timeout = 300 * time.Millisecond
				}
				c.Tokens.Keep = true
				c.Trace.LoginRefused = func(_ context.Context, ev oidcrp.LoginEvent) { told = append(told, ev.Err) }
				c.Trace.DiscoveryFetched = func(_ context.Context, ev oidcrp.FetchEvent) { told = append(told, ev.Err) }
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
