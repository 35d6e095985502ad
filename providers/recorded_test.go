package providers_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/providers"
)

// recorded answers every request with a file: the metadata that a provider published. The
// tenant of Entra's is made up.
type recorded struct{ file string }

func (rec recorded) RoundTrip(r *http.Request) (*http.Response, error) {
	data, err := os.ReadFile(rec.file)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(string(data))), Request: r,
	}, nil
}

// A login with a preset starts with what the real provider publishes: the issuer, the
// endpoints, and everything that the provider must offer for it.
func TestPresets_FitTheRecordedMetadata(t *testing.T) {
	t.Parallel()
	for file, test := range map[string]struct {
		cfg                   oidcrp.Config
		authorization, logout string
	}{
		"google.json": {providers.Google(), "https://accounts.google.com/o/oauth2/v2/auth", ""},
		"entra.json": {providers.Entra("88888888-8888-8888-8888-888888888888"),
			"https://login.microsoftonline.com/88888888-8888-8888-8888-888888888888/oauth2/v2.0/authorize",
			"https://login.microsoftonline.com/88888888-8888-8888-8888-888888888888/oauth2/v2.0/logout"},
	} {
		cfg := test.cfg
		cfg.ClientID, cfg.ClientSecret = "client", "a-client-secret-that-is-32-bytes"
		cfg.BaseURL, cfg.CookieKeys = "https://app.example", oidcrp.Keys(randomKey())
		cfg.Provider.Transport = recorded{"testdata/" + file}
		client, err := oidcrp.New(cfg)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		location, err := client.BeginLogin(httptest.NewRecorder(), httptest.NewRequest("GET", "https://app.example/", nil), nil)
		if err != nil || !strings.HasPrefix(location, test.authorization+"?") {
			t.Errorf("%s: the login leads to %q (%v)", file, location, err)
			continue
		}
		asked, err := url.Parse(location)
		if err != nil || asked.Query().Get("code_challenge_method") != "S256" || asked.Query().Get("nonce") == "" {
			t.Errorf("%s: the login asks for %v", file, asked)
		}
		m, err := client.Metadata(t.Context())
		if err != nil || m.EndSessionEndpoint != test.logout {
			t.Errorf("%s: the logout is at %q (%v), want %q", file, m.EndSessionEndpoint, err, test.logout)
		}
	}
}
