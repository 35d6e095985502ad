package oidcrp_test

// This file sends far too much from every side, and checks that errors, log lines,
// events and pages stay small and printable.

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

// The most that may come out, in bytes, however much went in.
const (
	longestLine  = 4 << 10  // a log line
	longestError = 2 << 10  // an error's text
	longestText  = 2 << 10  // a text of an event
	longestList  = 32 << 10 // a list of an event, in all
	longestPage  = 16 << 10
)

// hostileText returns about n bytes of what is hard to quote: quotes and
// backslashes grow when they are escaped.
func hostileText(n int) string { return strings.Repeat(`"\é`+"\u202e\u2028"+`<`, n/11) }

// A flood is an app behind a provider that sends too much, and what its hooks
// found to be wrong.
type flood struct {
	*testApp
	events []any
	mu     sync.Mutex // guards events
}

func newFlood(t *testing.T, metadata map[string]any) *flood {
	t.Helper()
	f := new(flood)
	client := oidctest.Client{ID: oidctest.ClientID, Secret: oidctest.ClientSecret}
	f.testApp = newTestApp(t, setup{
		provider: oidctest.Config{Clients: []oidctest.Client{client}, Metadata: metadata, CacheControl: "max-age=60"},
		config: func(c *oidcrp.Config) {
			c.Tokens.Keep, c.Store, c.Trace = true, oidcrp.NewMemoryStoreAt(c.Now), f.trace()
			c.Tokens.RevokeAtLogout = true
		},
		routes: func(c *oidcrp.Client, mux *http.ServeMux) {
			mux.HandleFunc("POST /refresh", func(w http.ResponseWriter, r *http.Request) {
				if _, err := c.Refresh(w, r); err != nil {
					c.ServeError(w, r, err)
				}
			})
		},
	})
	return f
}

// trace returns hooks that keep every event.
func (f *flood) trace() (trace oidcrp.Trace) {
	hooks := reflect.ValueOf(&trace).Elem()
	for i := range hooks.NumField() {
		hook := hooks.Field(i)
		hook.Set(reflect.MakeFunc(hook.Type(), func(args []reflect.Value) []reflect.Value {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.events = append(f.events, args[1].Interface())
			return nil
		}))
	}
	return trace
}

// answers makes an endpoint answer with a JSON object.
func (f *flood) answers(endpoint string, status int, members map[string]any, headers ...string) {
	body, _ := json.Marshal(members)
	f.provider.Handle(endpoint, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		w.Write(body)
	})
}

// issues makes the token endpoint issue ID Tokens that differ from sound ones by
// change.
func (f *flood) issues(change map[string]any) {
	f.provider.Handle(oidctest.EndpointToken, func(w http.ResponseWriter, _ *http.Request) {
		requests := f.provider.RequestsTo(oidctest.EndpointAuthorization)
		nonce := requests[len(requests)-1].Form.Get("nonce")
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{
			"access_token": "a", "refresh_token": "r", "token_type": "Bearer", "id_token": f.signs(change, "nonce", nonce),
		})
	})
	f.answers(oidctest.EndpointUserInfo, http.StatusOK, map[string]any{"sub": "alice"})
}

// signs returns a token with sound claims, further ones, and those of change.
func (f *flood) signs(change map[string]any, further ...any) string {
	now := f.clock.Now().Unix()
	claims := map[string]any{
		"iss": f.provider.Issuer(), "aud": oidctest.ClientID, "sub": "alice", "iat": now, "exp": now + 60,
	}
	for i := 0; i < len(further); i += 2 {
		claims[further[i].(string)] = further[i+1]
	}
	maps.Copy(claims, change)
	return f.provider.SignClaims("RS256", claims, nil)
}

// signsIn visits a protected page as alice and returns what came of it.
func (f *flood) signsIn(t *testing.T, browser *http.Client) *http.Response {
	t.Helper()
	res, err := f.provider.Visit(browser, f.URL+"/me", "alice")
	if err != nil {
		t.Fatal(err)
	}
	page := readBody(t, res)
	if res.StatusCode != http.StatusOK { // else it is the app's own
		checkPage(t, page)
	}
	return res
}

func checkPage(t *testing.T, page string) {
	t.Helper()
	if len(page) > longestPage {
		t.Errorf("a page of %d bytes: %.200q", len(page), page)
	}
}

// check fails the test if anything that came out is too large, and if nothing did.
func (f *flood) check(t *testing.T) {
	t.Helper()
	log := f.log.String()
	if log == "" {
		t.Error("nothing was logged")
	}
	for line := range strings.Lines(log) {
		if len(line) > longestLine {
			t.Errorf("a log line of %d bytes: %.300s", len(line), line)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.events) == 0 {
		t.Error("there was no event")
	}
	for _, ev := range f.events {
		checkEvent(t, ev)
	}
}

func checkEvent(t *testing.T, ev any) {
	t.Helper()
	fields := reflect.ValueOf(ev)
	for i := range fields.NumField() {
		name := fmt.Sprintf("%T.%s", ev, fields.Type().Field(i).Name)
		switch value := fields.Field(i).Interface().(type) {
		case error:
			checkSmall(t, name, value.Error(), longestError)
		case string:
			checkSmall(t, name, value, longestText)
		case []string:
			all := 0
			for _, text := range value {
				checkSmall(t, name, text, longestText)
				all += len(text)
			}
			if all > longestList {
				t.Errorf("%s: %d texts of %d bytes in all", name, len(value), all)
			}
		}
	}
}

func checkSmall(t *testing.T, what, text string, limit int) {
	t.Helper()
	if len(text) > limit || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%s has %d bytes, or is not printable: %.300q", what, len(text), text)
	}
}

func TestBounds_WhatMetadataHoldsIsQuotedInPart(t *testing.T) {
	t.Parallel()
	many := strings.Fields(strings.Repeat("RS256 ", 100_000))
	long := []string{hostileText(500_000)}
	for name, metadata := range map[string]map[string]any{
		"issuer":       {"issuer": hostileText(500_000)},
		"jwks_uri":     {"jwks_uri": "http://127.0.0.1/" + strings.Repeat("a", 500_000)},
		"quoted":       {"jwks_uri": "http://127.0.0.1:1/" + strings.Repeat(`"`, 1000)},
		"turned":       {"jwks_uri": "http://127.0.0.1:1/\u202e\u2028"},
		"alg":          {"id_token_signing_alg_values_supported": append(many, "ES256")},
		"auth methods": {"token_endpoint_auth_methods_supported": long},
		"acr":          {"acr_values_supported": long},
		"wrong type":   {"token_endpoint": map[string]string{long[0]: long[0]}},
		"no JSON":      {"x": make([]any, 0), long[0][:1000]: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFlood(t, metadata)
			f.signsIn(t, f.provider.Browser())
			for _, token := range []string{"eyJhbGciOiJub25lIn0.e30.AAAA", f.provider.ForgedToken("RS256", hostileText(9000), nil)} {
				status := f.postsLogout(t, token)
				if status != http.StatusBadRequest {
					t.Errorf("a forged Logout Token got %d", status)
				}
			}
			get(t, noRedirects(f.provider.Browser()), f.URL+"/admin")
			f.check(t)
		})
	}
}

// postsLogout posts a Logout Token and returns the status.
func (f *flood) postsLogout(t *testing.T, token string) int {
	t.Helper()
	res, err := http.PostForm(f.URL+"/auth/backchannel-logout", url.Values{"logout_token": {token}})
	if err != nil {
		t.Fatal(err)
	}
	checkPage(t, readBody(t, res))
	return res.StatusCode
}

func TestBounds_KeyIDsAreQuotedInPart(t *testing.T) {
	t.Parallel()
	f := newFlood(t, nil)
	key := oidcrp.TestKeys().P256
	for round := range 2 {
		var keys []any
		for i := range 200 {
			keys = append(keys, oidcrp.JWK(key, "kid", fmt.Sprint(round, "-", i, hostileText(2000))))
		}
		f.answers(oidctest.EndpointJWKS, http.StatusOK, map[string]any{"keys": keys}, "Cache-Control", "max-age=60")
		f.signsIn(t, f.provider.Browser())
		f.clock.Advance(10 * time.Minute)
	}
	if !strings.Contains(f.log.String(), "provider keys rotated") {
		t.Errorf("the keys did not rotate:\n%.2000s", f.log)
	}
	f.check(t)
}

func TestBounds_AnswersOfEndpointsAreQuotedInPart(t *testing.T) {
	t.Parallel()
	long := hostileText(450_000)
	members := map[string]any{"error": long, "error_description": long, "sub": long[:1000]}
	for name, headers := range map[string][]string{
		"body":       nil,
		"media type": {"Content-Type", "application/" + strings.Repeat("a", 60_000)},
		"challenge":  {"WWW-Authenticate", `Bearer error="` + strings.Repeat("a", 60_000) + `"`},
		"location":   {"Location", "http://127.0.0.1:1/" + strings.Repeat("a", 60_000)},
	} {
		for _, status := range []int{200, 302, 400, 401, 500} {
			for _, endpoint := range []string{oidctest.EndpointToken, oidctest.EndpointUserInfo, oidctest.EndpointRevocation} {
				t.Run(fmt.Sprint(name, status, endpoint), func(t *testing.T) {
					t.Parallel()
					f := newFlood(t, nil)
					browser := f.signIn(t)
					f.answers(endpoint, status, members, headers...)
					f.signsIn(t, f.provider.Browser())
					f.asks(t, browser, "POST", "/refresh")
					f.logsOut(t, browser, "/auth/logout")
					f.check(t)
				})
			}
		}
	}
}

func TestBounds_ClaimsAreQuotedInPart(t *testing.T) {
	t.Parallel()
	long := hostileText(12_000)
	many := make([]string, 8000)
	for name, change := range map[string]map[string]any{
		"sub": {"sub": long}, "sid": {"sid": long}, "acr": {"acr": long}, "amr": {"amr": []string{long}}, "amrs": {"amr": many},
		"iss": {"iss": long}, "aud": {"aud": []string{oidctest.ClientID, long}}, "azp": {"azp": long}, "nonce": {"nonce": long},
		"name": {long: 1}, "claims of all sizes": {"x": strings.Repeat("x", 20_000), long[:3000]: long[:3000]}, "jti": {"jti": long},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFlood(t, nil)
			f.issues(change)
			browser := f.provider.Browser()
			f.signsIn(t, browser)
			f.asks(t, browser, "POST", "/refresh")
			token := f.signs(change, "jti", "1", "events", map[string]any{logoutEvent: map[string]any{}})
			f.postsLogout(t, token)
			f.postsLogout(t, token) // a replay
			f.logsOut(t, browser, "/auth/logout")
			f.check(t)
		})
	}
}

func TestBounds_WhatABrowserSendsIsQuotedInPart(t *testing.T) {
	t.Parallel()
	long := url.QueryEscape(hostileText(50_000))
	f := newFlood(t, nil)
	browser := noRedirects(f.provider.Browser())
	visits := []string{
		"/auth/callback?state=" + long, "/auth/callback?error=" + long + "&error_description=" + long + "&error_uri=" + long,
		"/auth/callback?iss=" + long, "/auth/callback?code=" + long, "/auth/initiate?iss=" + long,
		"/auth/initiate?iss=" + url.QueryEscape(f.provider.Issuer()) + "&target_link_uri=" + long + "&login_hint=" + long,
		"/auth/login?return_to=/" + long, "/auth/login?return_to=/" + long[:1200], "/auth/login?step_up=" + long,
		"/tab/" + long, "/tab/?" + long, "/auth/logout/callback?state=" + long, "/auth/logout?return_to=/" + long[:1200],
		"/auth/frontchannel-logout?iss=" + long + "&sid=" + long, "/auth/backchannel-logout?logout_token=" + long,
	}
	for _, path := range visits {
		_, page := f.asks(t, browser, "GET", path, acceptHTML, navigate)
		checkPage(t, page)
		_, page = f.asks(t, browser, "POST", path, acceptHTML, "Content-Type: "+long, "HX-Request: true", "HX-Current-URL: APP/"+long)
		checkPage(t, page)
	}
	f.check(t)
}

// An app's own words, in Refuse or a Requirement, may hold what came from outside.
func TestBounds_AnAppsErrorIsLoggedInPart(t *testing.T) {
	t.Parallel()
	long := hostileText(500_000)
	for name, err := range map[string]error{
		"refused": oidcrp.Refuse(long, nil), "failed": fmt.Errorf("no account: %s", long),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := new(flood)
			f.testApp = newTestApp(t, setup{config: func(c *oidcrp.Config) {
				c.Trace = f.trace()
				c.OnLogin = func(context.Context, *http.Request, *oidcrp.Session) error { return err }
			}})
			f.signsIn(t, f.provider.Browser())
			f.check(t)
		})
	}
}

// The operator gets to see all of what is wrong with a Config.
func TestError_OfAConfigIsWhole(t *testing.T) {
	t.Parallel()
	_, err := oidcrp.New(oidcrp.Config{
		Logger: slog.New(slog.DiscardHandler),
		Validate: func(oidcrp.Config, ...oidcrp.Requirement) error {
			return fmt.Errorf("%s the end", strings.Repeat("x", 5000))
		},
	})
	if wantCode(t, err, oidcrp.CodeConfigInvalid); !strings.HasSuffix(err.Error(), "the end") || !strings.Contains(err.Error(), "\n") {
		t.Errorf("the error is cut: %.300q", err.Error())
	}
}
