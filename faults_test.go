package oidcrp_test

// This file walks the catalogue of what a provider can do wrong, with a whole
// app and a browser for each fault.

import (
	"context"
	"encoding/json"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

// refusals says by which code a fault is refused: the first pattern that
// matches its name counts. What may pass by itself is never called a forgery,
// and a forgery never an outage.
var refusals = []struct {
	pattern string // of path.Match
	code    oidcrp.Code
}{
	{"*/transport-server-error", oidcrp.CodeProviderUnavailable},
	{"*/transport-unavailable", oidcrp.CodeProviderUnavailable},
	{"*/transport-truncated", oidcrp.CodeProviderUnavailable},
	{"*/transport-slow", oidcrp.CodeProviderUnavailable},
	{"*/transport-hanging", oidcrp.CodeProviderUnavailable},
	{"token/transport-echo", oidcrp.CodeClientRefused},
	{"userinfo/transport-echo", oidcrp.CodeClientRefused},
	{"userinfo/transport-not-found", oidcrp.CodeProviderInvalid},
	{"userinfo/transport-redirected", oidcrp.CodeProviderInvalid},
	{"userinfo/transport-huge", oidcrp.CodeProviderInvalid},
	{"userinfo/transport-endless", oidcrp.CodeProviderInvalid},
	{"userinfo/transport-gzip-bomb", oidcrp.CodeProviderInvalid},
	{"userinfo/transport-*", oidcrp.CodeUserInfoRefused},
	{"*/transport-*", oidcrp.CodeProviderInvalid},

	{"discovery/*", oidcrp.CodeProviderInvalid},

	{"jwks/empty", oidcrp.CodeTokenRefused},
	{"jwks/only-enc", oidcrp.CodeTokenRefused},
	{"jwks/no-kid", oidcrp.CodeTokenRefused},
	{"jwks/*", oidcrp.CodeProviderInvalid},

	{"authorization/*-iss", oidcrp.CodeIssuerMismatch},
	{"authorization/*-state", oidcrp.CodeTransactionLost},
	{"authorization/login-required", oidcrp.CodeLoginRequired},
	{"authorization/access-denied", oidcrp.CodeProviderError},
	{"authorization/unknown-error", oidcrp.CodeClientRefused},
	{"authorization/*-error", oidcrp.CodeProviderError},
	{"authorization/unknown-code", oidcrp.CodeProviderError},
	{"authorization/missing-code", oidcrp.CodeInvalidRequest},

	{"token/no-id-token", oidcrp.CodeTokenRefused},
	{"token/empty-id-token", oidcrp.CodeTokenRefused},
	{"token/uppercase-member", oidcrp.CodeTokenRefused},
	{"token/error-with-200", oidcrp.CodeProviderError},
	{"token/invalid-client", oidcrp.CodeClientRefused},
	{"token/invalid-grant", oidcrp.CodeProviderError},
	{"token/server-error", oidcrp.CodeProviderUnavailable},
	{"token/*", oidcrp.CodeProviderInvalid},

	{"id_token/*-acr", oidcrp.CodeRequirementUnmet},
	{"id_token/*-auth-time", oidcrp.CodeRequirementUnmet},
	{"id_token/*", oidcrp.CodeTokenRefused},

	{"userinfo/unauthorized", oidcrp.CodeProviderError},
	{"userinfo/server-error", oidcrp.CodeProviderUnavailable},
	{"userinfo/*", oidcrp.CodeUserInfoRefused},

	{"refresh/token/invalid-grant", oidcrp.CodeLoginRequired},
	{"refresh/invalid-request", oidcrp.CodeLoginRequired},
	{"refresh/token/server-error", oidcrp.CodeProviderUnavailable},
	{"refresh/*", oidcrp.CodeTokenRefused},
	{"refresh/*/*", oidcrp.CodeTokenRefused},
}

// refusalOf returns the code by which f is refused.
func refusalOf(t *testing.T, f fault.Fault) oidcrp.Code {
	t.Helper()
	if strings.HasPrefix(f.Name, "authorization/duplicate-") {
		return oidcrp.CodeInvalidRequest // before anything is looked for by a state
	}
	for _, row := range refusals {
		if ok, err := path.Match(row.pattern, f.Name); err != nil {
			t.Fatal(err)
		} else if ok {
			return row.code
		}
	}
	t.Fatalf("no code is listed for %s: %s", f.Name, f.Doc)
	return ""
}

func TestFaults_EachIsJudged(t *testing.T) {
	t.Parallel()
	for _, f := range fault.All() {
		if f.Needs == fault.NeedsBackchannel {
			continue // concerns a logout token, which no login meets
		}
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			trial := newFaultTrial(t, f)
			trial.provider.Misbehave(f)
			res, page := trial.provoke(t)
			refused := res.StatusCode >= 400
			switch {
			case f.Verdict == fault.Reject && !refused:
				t.Fatalf("%s: it was accepted:\n%s", f.Doc, page)
			case f.Verdict == fault.Accept && refused:
				t.Fatalf("%s: it was refused:\n%s\n%s", f.Doc, page, trial.log)
			case refused:
				trial.checkRefusal(t, res, page)
			}
			trial.checkRequests(t, refused)
			trial.checkWhoIsSignedIn(t, refused)
			trial.checkNothingLeaks(t, page)
			trial.checkTheNextLoginWorks(t)
		})
	}
}

// A faultTrial is an app whose provider commits one fault.
type faultTrial struct {
	*testApp
	fault   fault.Fault
	browser *http.Client

	mu      sync.Mutex
	refused []oidcrp.Code // what LoginRefused got; guarded by mu
}

// newFaultTrial starts the app in the state that the fault needs to show.
func newFaultTrial(t *testing.T, f fault.Fault) *faultTrial {
	t.Helper()
	trial := &faultTrial{fault: f}
	client := oidctest.Client{ID: oidctest.ClientID, Secret: oidctest.ClientSecret}
	if f.Needs == fault.NeedsSignedUserInfo {
		client.UserInfoSignedResponseAlg = "RS256"
	}
	trial.testApp = newTestApp(t, setup{
		provider: oidctest.Config{
			Clients: []oidctest.Client{client},
			TLS:     f.Needs == fault.NeedsHTTPS,
		},
		config: trial.configure,
		routes: func(c *oidcrp.Client, mux *http.ServeMux) {
			mux.HandleFunc("POST /refresh", func(w http.ResponseWriter, r *http.Request) {
				if _, err := c.Refresh(w, r); err != nil {
					c.ServeError(w, r, err)
				}
			})
			mux.HandleFunc("GET /claims", sayClaims)
		},
	})
	trial.browser = trial.provider.Browser()
	return trial
}

// sayClaims is sayWho by the view that merges the ID Token and UserInfo.
func sayClaims(w http.ResponseWriter, r *http.Request) {
	answer := whoAnswer{Path: r.URL.Path}
	if s, ok := oidcrp.SessionFromContext(r.Context()); ok {
		var claims struct {
			Sub string `json:"sub"`
			ACR string `json:"acr"`
		}
		if err := s.Claims(&claims); err != nil {
			panic(err)
		}
		answer.Sub, answer.ACR = claims.Sub, claims.ACR
	}
	json.NewEncoder(w).Encode(answer)
}

func (f *faultTrial) configure(c *oidcrp.Config) {
	c.Trace.LoginRefused = func(_ context.Context, ev oidcrp.LoginEvent) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.refused = append(f.refused, ev.Code)
	}
	switch f.fault.Needs {
	case fault.NeedsPinnedAlg:
		c.Registration.IDTokenSignedResponseAlg = "RS256"
	case fault.NeedsSignedUserInfo:
		c.Registration.UserInfoSignedResponseAlg = "RS256"
	case fault.NeedsACR:
		c.Login.RequireACR = []string{"eidas1", "eidas2"}
	case fault.NeedsMaxAge:
		c.Login.MaxAge = new(time.Minute)
	case fault.NeedsRefresh:
		c.Tokens.Keep = true
	}
	if strings.HasSuffix(f.fault.Name, "-slow") || strings.HasSuffix(f.fault.Name, "-hanging") {
		c.Provider.Timeout = time.Second // these two never end by themselves
	}
}

// provoke does what makes the fault show, and returns where that ended.
func (f *faultTrial) provoke(t *testing.T) (*http.Response, string) {
	t.Helper()
	res, err := f.provider.Visit(f.browser, f.URL+"/me", "alice")
	if err != nil {
		t.Fatal(err)
	}
	page := readBody(t, res)
	var next string
	switch f.fault.Needs {
	case fault.NeedsRefresh:
		next = "/refresh"
	case fault.NeedsLogout:
		next = "/auth/logout"
	default:
		return res, page
	}
	if res.StatusCode != http.StatusOK {
		t.Fatalf("the login before it answered %s:\n%s", res.Status, page)
	}
	if res, err = f.browser.Post(f.URL+next, "", nil); err != nil {
		t.Fatal(err)
	}
	return res, readBody(t, res)
}

var (
	incidentOf = regexp.MustCompile(`<code>([A-Za-z0-9_-]{12})</code>`)
	// Codes, tokens, nonces, states, verifiers and the client's secret all
	// have such a run of characters. Nothing else that is shown has one.
	secretLike = regexp.MustCompile(`[A-Za-z0-9_-]{32,}`)
)

// checkRefusal checks that the page says no more than an incident id, that the
// log has the rest, and that both and the hook agree on what happened.
func (f *faultTrial) checkRefusal(t *testing.T, res *http.Response, page string) {
	t.Helper()
	want := refusalOf(t, f.fault)
	if res.StatusCode != oidcrp.StatusOf(want) {
		t.Errorf("the answer is %s, want %d", res.Status, oidcrp.StatusOf(want))
	}
	if res.StatusCode == http.StatusServiceUnavailable && res.Header.Get("Retry-After") == "" {
		t.Errorf("the answer is %s without Retry-After", res.Status)
	}
	incident := incidentOf.FindStringSubmatch(page)
	if incident == nil {
		t.Fatalf("the page has no incident id:\n%s", page)
	}
	if got := codeOfIncident(t, f.log, incident[1]); got != want {
		t.Errorf("the log has the code %q for the incident, want %q\n%s", got, want, f.log)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	told := []oidcrp.Code{want}
	if f.fault.Needs == fault.NeedsRefresh {
		told = nil // the login before it succeeded
	}
	if !slices.Equal(f.refused, told) {
		t.Errorf("LoginRefused got %q, want %q", f.refused, told)
	}
}

// codeOfIncident returns the code that the log has for an incident.
func codeOfIncident(t *testing.T, log *testLog, incident string) oidcrp.Code {
	t.Helper()
	for line := range strings.Lines(log.String()) {
		var entry struct {
			Code     oidcrp.Code
			Incident string
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("the log is not in JSON: %v\n%s", err, line)
		}
		if entry.Incident == incident {
			return entry.Code
		}
	}
	return ""
}

// checkRequests checks that a code is redeemed once, that nothing follows the
// answer that is refused, and that no redirect is followed.
func (f *faultTrial) checkRequests(t *testing.T, refused bool) {
	t.Helper()
	want := map[string]int{oidctest.EndpointAuthorization: 1, oidctest.EndpointToken: 1, oidctest.EndpointUserInfo: 1}
	switch {
	case f.fault.Needs == fault.NeedsRefresh:
		want[oidctest.EndpointToken] = 2
		if !refused {
			want[oidctest.EndpointUserInfo] = 2
		}
	case !refused:
	case f.fault.Endpoint == oidctest.EndpointDiscovery:
		clear(want)
	case f.fault.Name == fault.AuthorizationUnknownCode.Name:
		want[oidctest.EndpointUserInfo] = 0
	case f.fault.Endpoint == oidctest.EndpointAuthorization:
		want[oidctest.EndpointToken], want[oidctest.EndpointUserInfo] = 0, 0
	case f.fault.Endpoint == oidctest.EndpointToken, f.fault.Endpoint == oidctest.EndpointJWKS:
		want[oidctest.EndpointUserInfo] = 0
	}
	for _, endpoint := range []string{oidctest.EndpointAuthorization, oidctest.EndpointToken,
		oidctest.EndpointUserInfo, oidctest.EndpointElsewhere, oidctest.EndpointUnknown} {
		if got := f.provider.Count(endpoint); got != want[endpoint] {
			t.Errorf("%d requests reached %s, want %d", got, endpoint, want[endpoint])
		}
	}
}

// checkWhoIsSignedIn checks that a refused login signs in nobody, and that a
// refused refresh leaves the person who they were.
func (f *faultTrial) checkWhoIsSignedIn(t *testing.T, refused bool) {
	t.Helper()
	want := whoAnswer{Sub: "alice", ACR: "eidas1"}
	if f.fault.Needs == fault.NeedsLogout || refused && f.fault.Needs != fault.NeedsRefresh {
		want = whoAnswer{}
	}
	for _, page := range []string{"/", "/claims"} {
		want.Path = page
		if got := f.who(t, f.browser, page); got != want {
			t.Errorf("afterwards the app sees %+v, want %+v", got, want)
		}
	}
}

func (f *faultTrial) checkNothingLeaks(t *testing.T, page string) {
	t.Helper()
	// A sub that is too long and the name of a member are not secrets.
	known := strings.NewReplacer(strings.Repeat("s", 50), "", "id_token_signing_alg_values_supported", "")
	for where, text := range map[string]string{"the page": page, "the log": f.log.String()} {
		if found := secretLike.FindString(known.Replace(text)); found != "" {
			t.Errorf("%s holds %q:\n%s", where, found, text)
		}
	}
	if strings.Contains(page, "<script") || strings.Contains(page, "<img") {
		t.Errorf("the page holds markup of the provider's:\n%s", page)
	}
}

// checkTheNextLoginWorks checks that nothing stays behind in the browser or in
// the app once the provider behaves.
func (f *faultTrial) checkTheNextLoginWorks(t *testing.T) {
	t.Helper()
	f.provider.Misbehave()
	switch {
	case f.fault.Name == fault.JWKSOnlyEnc.Name:
		// The set did name the key, so it is believed until it has aged.
		f.clock.Advance(15 * time.Minute)
	case f.fault.Endpoint == oidctest.EndpointDiscovery, f.fault.Endpoint == oidctest.EndpointJWKS:
		f.clock.Advance(3 * time.Minute) // these two are not asked again at once
	}
	res, err := f.provider.Visit(f.browser, f.URL+"/auth/login?return_to=/tab/next", "alice")
	if err != nil {
		t.Fatal(err)
	}
	page := readBody(t, res)
	if res.StatusCode != http.StatusOK || res.Request.URL.Path != "/tab/next" {
		t.Fatalf("the next login ended at %s with %s:\n%s\n%s", res.Request.URL.Path, res.Status, page, f.log)
	}
	if got := f.who(t, f.browser, "/me"); got.Sub != "alice" {
		t.Errorf("the next login signed in %q, want alice", got.Sub)
	}
}
