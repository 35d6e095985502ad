package interop

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The stand-ins by their folder below providers.
const (
	proconnect = "proconnect"
	modern     = "oidc-provider"
)

// account is a person who can sign in at a stand-in.
type account struct {
	Sub    string         `json:"sub"`
	ACR    string         `json:"acr"`
	AMR    []string       `json:"amr"`
	Claims map[string]any `json:"claims"`

	// IDPMFA: the identity provider asks for two factors itself, so ProConnect sends no code.
	IDPMFA bool `json:"idpMFA,omitempty"`
}

var (
	alice = account{
		Sub: "6f1e1f6e-9c6b-4d1c-8d8b-0c1a4f1f0a11",
		ACR: "eidas1",
		AMR: []string{"pwd"},
		Claims: map[string]any{
			"email":      "Alice.Martin@ministere.example",
			"given_name": "Alice",
			"usual_name": "Martin",
			"uid":        "alice-0001",
			"siret":      "13002526500013",
			"idp_id":     "9c716f61-b8a1-435c-a407-ef4d677ec270",
			"roles":      []string{"agent_public", "agent_public_etat"},
			"custom":     map[string]any{"bureau": "B 12"},
		},
	}
	bob = account{
		Sub: "0b0e4b1f-5a31-4b2e-9a3e-5f1f0d1a2b22",
		ACR: "eidas2",
		AMR: []string{"pwd", "otp"},
		Claims: map[string]any{
			"email":      "bob@ministere.example",
			"given_name": "Bob",
			"usual_name": "Durand",
			"roles":      []string{},
			"custom":     map[string]any{},
		},
	}
	carol = account{
		Sub:    "5c3b7a52-0f5e-4a57-9d0c-6a9f6f1e2c33",
		ACR:    "eidas1",
		AMR:    []string{"pwd"},
		IDPMFA: true,
		Claims: map[string]any{
			"email":      "carol@ministere.example",
			"given_name": "Carol",
			"usual_name": "Petit",
			"idp_id":     "0d1f3f0a-6a33-4c3c-9a53-2f7b8f6f9d44",
			"roles":      []string{"agent_public"},
			"custom":     map[string]any{},
		},
	}
)

// settings is what a stand-in reads from PROVIDER_CONFIG.
type settings struct {
	Port     int              `json:"port"`
	Clients  []map[string]any `json:"clients"`
	Accounts []account        `json:"accounts"`
	Origin   string           `json:"origin,omitempty"` // behind a proxy, see newSecureWorld

	// Only the modern one reads these.
	RotateRefreshToken                 bool `json:"rotateRefreshToken"`
	AccessTokenTTL                     int  `json:"accessTokenTTL,omitempty"`
	RequirePushedAuthorizationRequests bool `json:"requirePushedAuthorizationRequests"`
}

type provider struct {
	*process
	kind     string
	settings settings
	issuer   string
}

// issuerAt is the issuer of a stand-in on that origin.
func issuerAt(kind, origin string) string {
	if kind == proconnect {
		return origin + "/api/v2"
	}
	return origin
}

// startProvider runs a stand-in and returns when it has printed its issuer.
func startProvider(t testing.TB, kind string, s settings) *provider {
	t.Helper()
	if s.Accounts == nil {
		s.Accounts = []account{alice, bob, carol}
	}
	config, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	out := new(logBuffer)
	cmd := exec.Command("node", "server.mjs")
	cmd.Dir = filepath.Join("providers", kind)
	cmd.Env = append(os.Environ(), "PROVIDER_CONFIG="+string(config))
	cmd.Stdout = out
	p := &provider{process: startProcess(t, kind, cmd), kind: kind, settings: s}
	p.poll(t, "first line of "+kind, func() bool {
		line, _, found := strings.Cut(string(out.Bytes()), "\n")
		p.issuer = line
		return found
	})
	return p
}

// restart stops the provider and starts it again on its port: other keys, nobody signed in.
func (p *provider) restart(t testing.TB) *provider {
	t.Helper()
	p.stop(t)
	return startProvider(t, p.kind, p.settings)
}

// request is one request that a stand-in's engine has answered.
type request struct {
	Method        string         `json:"method"`
	Path          string         `json:"path"`
	Route         string         `json:"route"`
	Status        int            `json:"status"`
	Query         map[string]any `json:"query"`
	Form          map[string]any `json:"form"`
	Authorization string         `json:"authorization"`
	Accept        string         `json:"accept"`
}

// requests returns those of one route, oldest first: discovery, jwks, authorization, token,
// userinfo, revocation, end_session, pushed_authorization_request.
func (p *provider) requests(t testing.TB, route string) []request {
	t.Helper()
	res, err := http.Get(strings.TrimSuffix(p.issuer, "/api/v2") + "/control/requests")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var all, some []request
	if err := json.NewDecoder(res.Body).Decode(&all); err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if r.Route == route {
			some = append(some, r)
		}
	}
	return some
}

// last returns the newest request of a route.
func (p *provider) last(t testing.TB, route string) request {
	t.Helper()
	some := p.requests(t, route)
	if len(some) == 0 {
		t.Fatalf("the provider has seen no %s request", route)
	}
	return some[len(some)-1]
}

// control does to a ProConnect what only time and other people do, see its server.mjs.
func (p *provider) control(t testing.TB, what string) {
	t.Helper()
	res, err := http.Post(strings.TrimSuffix(p.issuer, "/api/v2")+"/control/"+what, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("/control/%s answered %d", what, res.StatusCode)
	}
}
