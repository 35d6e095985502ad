package oidcrp

import (
	"cmp"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net/url"
	"reflect"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// normalized returns soundConfig with change made to it, as New uses it.
func normalized(t *testing.T, change func(*Config)) (Config, *url.URL) {
	t.Helper()
	cfg, f := soundConfig(change), new(findings)
	base := normalize(&cfg, f)
	if len(f.problems) > 0 {
		t.Fatal(f.problems)
	}
	return cfg, base
}

func TestNormalize_FillsInTheDefaults(t *testing.T) {
	t.Parallel()
	cfg, _ := normalized(t, func(c *Config) { c.Logger = nil })
	for _, tt := range []struct {
		field     string
		got, want any
	}{
		{"PathPrefix", cfg.PathPrefix, "/auth/"},
		{"Scopes", cfg.Scopes, []string{"openid", "profile", "email"}},
		{"Registration", cfg.Registration, Registration{
			RedirectURI:           "https://app.example/auth/callback",
			PostLogoutRedirectURI: "https://app.example/auth/logout/callback",
			InitiateLoginURI:      "https://app.example/auth/initiate",
			BackchannelLogoutURI:  "https://app.example/auth/backchannel-logout",
			FrontchannelLogoutURI: "https://app.example/auth/frontchannel-logout",
			JWKSURI:               "https://app.example/auth/jwks",
		}},
		{"Provider", cfg.Provider, Provider{Timeout: 10 * time.Second, ClockSkew: time.Minute}},
		{"Sessions", cfg.Sessions, Sessions{
			Lifetime: 12 * time.Hour, IdleTimeout: time.Hour, StoreTimeout: 2 * time.Second, RevocationDelay: time.Second, MaxCookieBytes: 3000,
			CacheBytes: cmp.Or(TestCacheBytes, 8<<20),
		}},
		{"Tokens", cfg.Tokens, Tokens{}},
		{"Login", cfg.Login, AuthOptions{}},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%s is %+v, want %+v", tt.field, tt.got, tt.want)
		}
	}
	if cfg.Logger == nil || cfg.Now == nil {
		t.Error("the logger or the clock is nil")
	}
}

func TestNormalize_DerivesSettingsFromOthers(t *testing.T) {
	t.Parallel()
	key := []jose.JSONWebKey{{Key: testKeys().P256}}
	for _, tt := range []struct {
		what   string
		change func(*Config)
		get    func(c Config, base *url.URL) any
		want   any
	}{
		{"openid is added to the scopes", func(c *Config) { c.Scopes = []string{"email"} },
			func(c Config, _ *url.URL) any { return c.Scopes }, []string{"openid", "email"}},
		{"no scope is openid alone", func(c *Config) { c.Scopes = []string{} },
			func(c Config, _ *url.URL) any { return c.Scopes }, []string{"openid"}},
		{"scopes given as one text are split, and empty ones dropped", func(c *Config) { c.Scopes = []string{"email openid", "", "uid"} },
			func(c Config, _ *url.URL) any { return c.Scopes }, []string{"email", "openid", "uid"}},
		{"a slash at the end of BaseURL counts for nothing", func(c *Config) { c.BaseURL += "/" },
			func(c Config, _ *url.URL) any { return c.Registration.RedirectURI }, "https://app.example/auth/callback"},
		{"BaseURL's path goes before PathPrefix", func(c *Config) { c.BaseURL, c.PathPrefix = "https://app.example/pro/", "/sso/" },
			func(c Config, _ *url.URL) any { return c.PathPrefix + " " + c.Registration.RedirectURI },
			"/pro/sso/ https://app.example/pro/sso/callback"},
		{"BaseURL is the origin of RedirectURI",
			func(c *Config) { c.BaseURL, c.Registration.RedirectURI = "", "https://app.example/pro/cb" },
			func(c Config, base *url.URL) any { return base.String() + " " + c.Registration.PostLogoutRedirectURI },
			"https://app.example https://app.example/auth/logout/callback"},
		{"keys without a secret mean private_key_jwt", func(c *Config) { c.ClientSecret, c.Registration.ClientKeys = "", key },
			func(c Config, _ *url.URL) any { return c.Registration.TokenEndpointAuthMethod }, "private_key_jwt"},
		{"keys beside a secret do not", func(c *Config) { c.Registration.ClientKeys = key },
			func(c Config, _ *url.URL) any { return c.Registration.TokenEndpointAuthMethod }, ""},
		{"a public client needs no secret", func(c *Config) { c.ClientSecret, c.Registration.TokenEndpointAuthMethod = "", "none" },
			func(c Config, _ *url.URL) any { return c.Registration.TokenEndpointAuthMethod }, "none"},
		{"ClockSkew may be five minutes", func(c *Config) { c.Provider.ClockSkew = 5 * time.Minute },
			func(c Config, _ *url.URL) any { return c.Provider.ClockSkew }, 5 * time.Minute},
		{"RevocationDelay may be negative", func(c *Config) { c.Sessions.RevocationDelay = -1 },
			func(c Config, _ *url.URL) any { return c.Sessions.RevocationDelay }, time.Duration(-1)},
	} {
		cfg, base := normalized(t, tt.change)
		if got := tt.get(cfg, base); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.what, got, tt.want)
		}
	}
}

func TestNormalize_CopiesItsLists(t *testing.T) {
	t.Parallel()
	certificate := tls.Certificate{Certificate: [][]byte{selfSignedDER(t)}, PrivateKey: testKeys().P256}
	original := soundConfig(func(c *Config) {
		c.Scopes, c.Provider.TrustedAudiences = []string{"openid", "email"}, []string{"api"}
		c.Registration.ClientKeys = []jose.JSONWebKey{{Key: testKeys().P256, KeyID: "1"}}
		c.Registration.ClientCertificates = []tls.Certificate{certificate}
	})
	cfg, f := original, new(findings)
	if normalize(&cfg, f); len(f.problems) > 0 {
		t.Fatal(f.problems)
	}
	original.Scopes[1], original.Provider.TrustedAudiences[0], original.Registration.ClientKeys[0].KeyID = "x", "x", "x"
	original.Registration.ClientCertificates[0] = tls.Certificate{}
	if cfg.Scopes[1] != "email" || cfg.Provider.TrustedAudiences[0] != "api" || cfg.Registration.ClientKeys[0].KeyID != "1" {
		t.Errorf("a list is shared: %q, %q, %q", cfg.Scopes, cfg.Provider.TrustedAudiences, cfg.Registration.ClientKeys[0].KeyID)
	}
	if got := cfg.Registration.ClientCertificates[0]; got.PrivateKey == nil || got.Leaf == nil || certificate.Leaf != nil {
		t.Error("the certificates are shared")
	}
}

// selfSignedDER returns a certificate of P256 for itself.
func selfSignedDER(t *testing.T) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, testKeys().P256.Public(), testKeys().P256)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestNew_CopiesTheTokenParameters(t *testing.T) {
	t.Parallel()
	tokens := Tokens{Keep: true, Extra: url.Values{"audience": {"api"}}, RefreshScopes: []string{"openid"}}
	c := mustNew(t, func(c *Config) { c.Tokens = tokens })
	tokens.Extra["audience"][0], tokens.Extra["x"], tokens.RefreshScopes[0] = "x", []string{"x"}, "x"
	if got := c.flow.tokenParameters.Encode() + c.refresher.settings.RefreshScopes[0]; got != "audience=apiopenid" {
		t.Errorf("the parameters became %s", got)
	}
}
