package interop

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// hydraVersion is the one that interop/run installs.
const hydraVersion = "hydra-v2.3.0"

// hydra is a server without a disk, and the pages that it leaves to those who run it: login, consent and
// logout.
type hydra struct {
	*process
	origin, admin string
	pages         string // where its own pages are
	client        *http.Client
}

// startHydra starts the server, and returns when it answers. It knows one person, alice.
func startHydra(t testing.TB) *hydra {
	t.Helper()
	port, adminPort := freePort(t), freePort(t)
	h := &hydra{origin: origin(port), admin: origin(adminPort), client: &http.Client{Timeout: patience}}
	pages := httptest.NewServer(h.routes(t))
	t.Cleanup(pages.Close)
	h.pages = pages.URL
	config, err := json.Marshal(map[string]any{
		"dsn": "memory",
		"serve": map[string]any{
			"public": map[string]any{"host": "127.0.0.1", "port": port},
			"admin":  map[string]any{"host": "127.0.0.1", "port": adminPort},
		},
		"urls": map[string]any{
			"self":  map[string]any{"issuer": h.origin},
			"login": h.pages + "/login", "consent": h.pages + "/consent", "logout": h.pages + "/logout",
		},
		"secrets": map[string]any{"system": []string{rand.Text()}},
		"log":     map[string]any{"level": "warn"},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "hydra.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(installed(t, hydraVersion), "serve", "all", "--dev", "--sqa-opt-out", "--config", file)
	cmd.Dir = t.TempDir()
	h.process = startProcess(t, "hydra", cmd)
	// It makes its keys, of 4096 bits, when it is first asked for them.
	for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/jwks.json"} {
		h.poll(t, "hydra", func() bool {
			res, err := h.client.Get(h.origin + path)
			if err != nil {
				return false
			}
			res.Body.Close()
			return res.StatusCode == http.StatusOK
		})
	}
	return h
}

// provider is what the shared tests need to know.
func (h *hydra) provider() *realProvider {
	return &realProvider{
		product: hydraProduct, issuer: h.origin,
		signIn:     func(login *page) *page { return login.form().submit() },
		asks:       func(p *page) bool { return strings.HasPrefix(p.URL.String(), h.pages+"/login") },
		newBrowser: newBrowser,
		scopes:     []string{"openid", "email", "offline_access"},
		more:       map[string]any{"scope": "openid email offline_access"},
		register: func(t testing.TB, client map[string]any) (id, secret string) {
			t.Helper()
			var registered struct {
				ID     string `json:"client_id"`
				Secret string `json:"client_secret"`
			}
			send(t, h.client, http.MethodPost, h.admin+"/admin/clients", "", client, &registered)
			return registered.ID, registered.Secret
		},
	}
}

// hydraRequest is what Hydra tells its pages.
type hydraRequest struct {
	Challenge string   `json:"challenge"`
	Skip      bool     `json:"skip"`
	Subject   string   `json:"subject"`
	Scopes    []string `json:"requested_scope"`
	OIDC      struct {
		ACRValues []string `json:"acr_values"`
	} `json:"oidc_context"`
}

// routes are the pages. The one for the login has a form without fields, and the other two do not ask.
func (h *hydra) routes(t testing.TB) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) {
		asked := h.request(t, "login", r)
		if asked.Skip && len(asked.OIDC.ACRValues) == 0 {
			h.accept(t, w, r, "login", map[string]any{"subject": asked.Subject})
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!doctype html><form method="post"><button>Sign in</button></form>`)
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		acr := "bronze"
		if asked := h.request(t, "login", r); len(asked.OIDC.ACRValues) > 0 {
			acr = asked.OIDC.ACRValues[0]
		}
		h.accept(t, w, r, "login", map[string]any{
			"subject": "alice", "remember": true, "remember_for": 3600, "acr": acr, "amr": []string{"pwd"},
		})
	})
	mux.HandleFunc("GET /consent", func(w http.ResponseWriter, r *http.Request) {
		asked, claims := h.request(t, "consent", r), map[string]any{}
		if slices.Contains(asked.Scopes, "email") {
			claims["email"] = "alice@ministere.example"
		}
		h.accept(t, w, r, "consent", map[string]any{
			"grant_scope": asked.Scopes, "session": map[string]any{"id_token": claims},
		})
	})
	mux.HandleFunc("GET /logout", func(w http.ResponseWriter, r *http.Request) {
		h.accept(t, w, r, "logout", nil)
	})
	return mux
}

// request is what a page was opened for.
func (h *hydra) request(t testing.TB, kind string, r *http.Request) (asked hydraRequest) {
	query := url.Values{kind + "_challenge": {r.URL.Query().Get(kind + "_challenge")}}
	send(t, h.client, http.MethodGet, h.admin+"/admin/oauth2/auth/requests/"+kind+"?"+query.Encode(), "", nil, &asked)
	return asked
}

// accept tells Hydra the page's decision, and sends the browser on.
func (h *hydra) accept(t testing.TB, w http.ResponseWriter, r *http.Request, kind string, decision map[string]any) {
	query := url.Values{kind + "_challenge": {r.URL.Query().Get(kind + "_challenge")}}
	var answer struct {
		RedirectTo string `json:"redirect_to"`
	}
	send(t, h.client, http.MethodPut, h.admin+"/admin/oauth2/auth/requests/"+kind+"/accept?"+query.Encode(),
		"", decision, &answer)
	http.Redirect(w, r, answer.RedirectTo, http.StatusSeeOther)
}

// signWith makes a new key, which signs from then on.
func (h *hydra) signWith(t testing.TB, alg string) {
	t.Helper()
	send(t, h.client, http.MethodPost, h.admin+"/admin/keys/hydra.openid.id-token", "",
		map[string]any{"alg": alg, "kid": alg + strconv.Itoa(1), "use": "sig"}, nil)
}
