package fault_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

func TestAll_FaultsAreWellFormed(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, f := range fault.All() {
		if seen[f.Name] {
			t.Errorf("two faults have the name %s", f.Name)
		}
		seen[f.Name] = true
		if f.Doc == "" || f.Endpoint == "" {
			t.Errorf("%s has no Doc or no Endpoint", f.Name)
		}
		if !slices.Contains([]fault.Verdict{fault.Accept, fault.Reject, fault.Either}, f.Verdict) {
			t.Errorf("%s has the verdict %q", f.Name, f.Verdict)
		}
	}
	if len(seen) < 230 {
		t.Errorf("the catalogue has %d faults, want at least 230", len(seen))
	}
}

func TestAll_HoldsEveryVariable(t *testing.T) {
	t.Parallel()
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	declared := 0
	for _, source := range sources {
		file, err := parser.ParseFile(token.NewFileSet(), source, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			declared += exportedVars(decl)
		}
	}
	transports := 0
	for _, f := range fault.All() {
		if strings.Contains(f.Name, "/transport-") {
			transports++
		}
	}
	if want := 4 * len(fault.TransportKinds()); transports != want {
		t.Errorf("All has %d transport faults, want %d", transports, want)
	}
	if got := len(fault.All()) - transports; got != declared {
		t.Errorf("All has %d faults of variables, %d are declared", got, declared)
	}
}

// exportedVars returns the number of exported variables that a declaration declares.
func exportedVars(decl ast.Decl) (n int) {
	gen, ok := decl.(*ast.GenDecl)
	if !ok || gen.Tok != token.VAR {
		return 0
	}
	for _, spec := range gen.Specs {
		for _, name := range spec.(*ast.ValueSpec).Names {
			if name.IsExported() {
				n++
			}
		}
	}
	return n
}

func TestAtRefresh_LeavesTheOriginalUnchanged(t *testing.T) {
	t.Parallel()
	f := fault.IDTokenMissingSub
	moved := fault.AtRefresh(f)
	if f.Name != "id_token/missing-sub" || f.Needs != "" {
		t.Errorf("the original is now %s with the need %q", f.Name, f.Needs)
	}
	if moved.Name != "refresh/id_token/missing-sub" || moved.Needs != fault.NeedsRefresh ||
		moved.Verdict != f.Verdict || moved.Endpoint != f.Endpoint {
		t.Errorf("got %+v", moved)
	}
	for _, row := range []struct {
		fault  fault.Fault
		faulty string
	}{
		{f, oidctest.EndpointToken},
		{moved, string(fault.NeedsRefresh)},
	} {
		sections := transcript(t, start(t, row.fault, oidctest.Config{}))
		for _, name := range []string{oidctest.EndpointToken, string(fault.NeedsRefresh)} {
			if missing := !strings.Contains(sections[name], `"sub"`); missing != (name == row.faulty) {
				t.Errorf("%s: sub is missing in the %s response: %t", row.fault.Name, name, missing)
			}
		}
	}
}

// start starts the provider that shows a fault.
func start(t *testing.T, f fault.Fault, cfg oidctest.Config) *oidctest.Provider {
	t.Helper()
	client := oidctest.Client{ID: oidctest.ClientID, Secret: oidctest.ClientSecret}
	if f.Needs == fault.NeedsSignedUserInfo {
		client.UserInfoSignedResponseAlg = "RS256"
	}
	cfg.AutoLogin = "alice"
	cfg.Clients = []oidctest.Client{client}
	cfg.TLS = f.Needs == fault.NeedsHTTPS
	p := oidctest.NewServer(t, cfg)
	p.Misbehave(f)
	return p
}

// section returns the part of a transcript in which a fault must show.
func section(f fault.Fault) string {
	switch f.Needs {
	case fault.NeedsRefresh, fault.NeedsBackchannel:
		return string(f.Needs)
	}
	return f.Endpoint
}

// order is the order of a transcript. A fault may change the sections after its own.
var order = []string{oidctest.EndpointDiscovery, oidctest.EndpointJWKS, oidctest.EndpointAuthorization,
	oidctest.EndpointToken, oidctest.EndpointUserInfo, string(fault.NeedsRefresh),
	oidctest.EndpointEndSession, string(fault.NeedsBackchannel)}

func TestFault_ShowsAtItsEndpoint(t *testing.T) {
	t.Parallel()
	for _, f := range fault.All() {
		if strings.Contains(f.Name, "/transport-") {
			continue
		}
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			now := func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }
			p := start(t, f, oidctest.Config{Now: now})
			got := transcript(t, p)
			sound := start(t, f, oidctest.Config{Now: now})
			sound.Misbehave()
			want := transcript(t, sound)
			for _, name := range order {
				if name == section(f) {
					break
				}
				if got[name] != want[name] {
					t.Errorf("the earlier section %s changed:\n%s\nwant:\n%s", name, got[name], want[name])
				}
			}
			if name := section(f); got[name] == want[name] {
				t.Errorf("%s did not change:\n%s", name, got[name])
			}
		})
	}
}

// transcript runs a login, a refresh and a logout, and returns the provider's responses
// without their random values.
func transcript(t *testing.T, p *oidctest.Provider) map[string]string {
	t.Helper()
	client := p.HTTPClient()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	tr := &recording{t: t, p: p, client: client, sections: make(map[string]string)}
	tr.get(oidctest.EndpointDiscovery, nil, "")
	tr.get(oidctest.EndpointJWKS, nil, "")
	answer := tr.get(oidctest.EndpointAuthorization, url.Values{
		"client_id": {oidctest.ClientID}, "redirect_uri": {"http://127.0.0.1/cb"}, "scope": {"openid email"},
		"response_type": {"code"}, "state": {"the-state"}, "nonce": {"the-nonce"}, "max_age": {"60"},
		"acr_values": {"eidas1"},
	}, "")
	location, _ := url.Parse(answer.location)
	token := tr.token(oidctest.EndpointToken, url.Values{"grant_type": {"authorization_code"},
		"code": {location.Query().Get("code")}, "redirect_uri": {"http://127.0.0.1/cb"}})
	tr.get(oidctest.EndpointUserInfo, nil, token.AccessToken)
	tr.token(string(fault.NeedsRefresh), url.Values{"grant_type": {"refresh_token"},
		"refresh_token": {token.RefreshToken}})
	tr.get(oidctest.EndpointEndSession, url.Values{"client_id": {oidctest.ClientID}, "state": {"the-state"},
		"post_logout_redirect_uri": {"http://127.0.0.1/bye"}}, "")
	tr.add(string(fault.NeedsBackchannel), p.LogoutToken(oidctest.ClientID, "alice", "the-sid"))
	return tr.sections
}

type recording struct {
	t        *testing.T
	p        *oidctest.Provider
	client   *http.Client
	sections map[string]string
}

type answer struct{ location, body string }

func (tr *recording) get(endpoint string, query url.Values, bearer string) answer {
	tr.t.Helper()
	req, err := http.NewRequest(http.MethodGet, tr.p.Endpoint(endpoint)+"?"+query.Encode(), nil)
	if err != nil {
		tr.t.Fatal(err)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	return tr.do(endpoint, req)
}

type tokens struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	IDToken      string `json:"id_token"`
}

func (tr *recording) token(section string, form url.Values) (token tokens) {
	tr.t.Helper()
	req, err := http.NewRequest(http.MethodPost, tr.p.Endpoint(oidctest.EndpointToken), strings.NewReader(form.Encode()))
	if err != nil {
		tr.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(oidctest.ClientID, oidctest.ClientSecret)
	json.Unmarshal([]byte(tr.do(section, req).body), &token)
	_, rest, _ := strings.Cut(token.IDToken, ".")
	payload, _, _ := strings.Cut(rest, ".")
	claims, _ := base64.RawURLEncoding.DecodeString(payload)
	sum := sha256.Sum256([]byte(token.AccessToken))
	hash := base64.RawURLEncoding.EncodeToString(sum[:16])
	tr.sections[section] += fmt.Sprintf("\nat_hash fits: %t", strings.Contains(string(claims), hash))
	return token
}

func (tr *recording) do(section string, req *http.Request) answer {
	tr.t.Helper()
	res, err := tr.client.Do(req)
	if err != nil {
		tr.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		tr.t.Fatal(err)
	}
	a := answer{location: res.Header.Get("Location"), body: string(body)}
	tr.add(section, res.Status+"\n"+res.Header.Get("Content-Type")+"\n"+a.location+"\n"+a.body)
	return a
}

var (
	compactJWS = regexp.MustCompile(`eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*`)
	random     = regexp.MustCompile(`[A-Za-z0-9_-]{16,}`)
)

// add records a response, with tokens decoded and random values replaced by their length.
func (tr *recording) add(section, text string) {
	host := strings.TrimPrefix(strings.TrimPrefix(tr.p.Issuer(), "http://"), "https://")
	text = compactJWS.ReplaceAllStringFunc(text, tr.decoded)
	text = strings.ReplaceAll(text, host, "HOST")
	text = strings.ReplaceAll(text, url.QueryEscape(host), "HOST")
	tr.sections[section] = random.ReplaceAllStringFunc(text, func(s string) string {
		return fmt.Sprintf("<%d>", len(s))
	})
}

func (tr *recording) decoded(compact string) string {
	header, rest, _ := strings.Cut(compact, ".")
	payload, _, _ := strings.Cut(rest, ".")
	h, _ := base64.RawURLEncoding.DecodeString(header)
	b, _ := base64.RawURLEncoding.DecodeString(payload)
	keys := oidc.NewRemoteKeySet(oidc.ClientContext(tr.t.Context(), tr.p.HTTPClient()),
		tr.p.Endpoint(oidctest.EndpointJWKS))
	_, err := keys.VerifySignature(tr.t.Context(), compact)
	return fmt.Sprintf("%s %s verifies: %t", h, b, err == nil)
}
