package providers_test

// This file tests what New says about a Config of this package.

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/providers"
)

// sharedKey is made once: an RSA key takes a while.
var sharedKey = sync.OnceValues(func() ([]byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...), nil
})

// rsaKeys returns an RSA key with its certificate.
func rsaKeys(t *testing.T) []jose.JSONWebKey {
	t.Helper()
	file, err := sharedKey()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := oidcrp.ParseClientKeys(file)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// added adds what the comments of most presets say.
func added(cfg oidcrp.Config) oidcrp.Config {
	if cfg.ClientID == "" {
		cfg.ClientID = "client"
	}
	if cfg.ClientSecretFunc == nil && cfg.Registration.TokenEndpointAuthMethod != "private_key_jwt" {
		cfg.ClientSecret = "secret-of-at-least-32-characters-long"
	}
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.BaseURL, cfg.CookieKeys = "https://app.example.org", oidcrp.Keys(randomKey())
	return cfg
}

// with returns a Config with a change.
func with(cfg oidcrp.Config, change func(*oidcrp.Config)) oidcrp.Config {
	change(&cfg)
	return cfg
}

// presets are Configs of every preset, with keys where the comment asks for them, and what
// New says without the credentials.
func presets(t *testing.T) map[string]struct {
	cfg     oidcrp.Config
	without string
} {
	keys := func(c *oidcrp.Config) { c.Registration.ClientKeys = rsaKeys(t) }
	key, _ := appleKey(t)
	type row = struct {
		cfg     oidcrp.Config
		without string
	}
	const secret, noKeys = "ClientSecret is empty", "Registration.ClientKeys is empty"
	return map[string]row{
		"ProSanteConnect":         {providers.ProSanteConnect(providers.Production), secret},
		"Entra":                   {providers.Entra(tenantA), secret},
		"Entra, several tenants":  {providers.Entra(tenantA, tenantB), secret},
		"Google":                  {providers.Google(), secret},
		"Google, domains":         {providers.GoogleWorkspace("example.org"), secret},
		"Keycloak":                {providers.Keycloak("https://login.example.org", "agents"), secret},
		"Auth0":                   {providers.Auth0("example.eu.auth0.com"), secret},
		"Okta":                    {providers.Okta("example.okta.com", "default"), secret},
		"Cognito":                 {providers.Cognito("eu-west-3_AbCdEf123"), secret},
		"Apple":                   {providers.Apple(key), "BaseURL is empty"},
		"GitLab":                  {providers.GitLab("https://gitlab.com"), secret},
		"Zitadel":                 {providers.Zitadel("https://example.zitadel.cloud", "project"), secret},
		"Authentik":               {providers.Authentik("https://id.example.org", "app"), secret},
		"Authelia":                {providers.Authelia("https://auth.example.org"), secret},
		"GOVUKOneLogin":           {with(providers.GOVUKOneLogin(providers.Production), keys), noKeys},
		"GOVUKOneLogin, identity": {with(providers.GOVUKOneLogin(providers.Production, "P2.Cl.Cm"), keys), noKeys},
		"LoginGov":                {with(providers.LoginGov(providers.Sandbox, verified), keys), noKeys},
	}
}

func TestPresets_AreCompleteWithWhatTheirCommentsAdd(t *testing.T) {
	t.Parallel()
	for name, preset := range presets(t) {
		if _, err := oidcrp.New(added(preset.cfg)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPresets_WithoutWhatTheirCommentsAddAreRefused(t *testing.T) {
	t.Parallel()
	for name, preset := range presets(t) {
		cfg := preset.cfg
		cfg.Registration.ClientKeys = nil
		_, err := oidcrp.New(cfg)
		for _, want := range []string{"BaseURL is empty", "CookieKeys is empty", preset.without} {
			if err == nil || !errors.Is(err, oidcrp.CodeConfigInvalid) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the error is %v, want %q", name, err, want)
			}
		}
	}
}

func TestPresets_NameTheParameterThatIsWrong(t *testing.T) {
	t.Parallel()
	key, _ := appleKey(t)
	key.TeamID = ""
	for want, cfg := range map[string]oidcrp.Config{
		`providers.ProSanteConnect: environment "bas" is not known: use Production or Sandbox`: providers.ProSanteConnect("bas"),
		`providers.GOVUKOneLogin: environment "" is not known: use Production or Sandbox`:      providers.GOVUKOneLogin(""),
		`providers.LoginGov: environment "Production" is not known`:                            providers.LoginGov("Production", authOnly),
		`providers.Entra: tenants is empty: list the Directory (tenant) ID`:                    providers.Entra(),
		`providers.Entra: tenants[0] "common" is not a GUID`:                                   providers.Entra("common"),
		`providers.Entra: tenants[1] "example.org" is not a GUID: give the Directory`:          providers.Entra(tenantA, "example.org"),
		`providers.GoogleWorkspace: domains: "https://example.org" is not a host name`:         providers.GoogleWorkspace("example.com", "https://example.org"),
		`providers.Keycloak: base "login.example.org" must be an absolute URL`:                 providers.Keycloak("login.example.org", "agents"),
		`providers.Keycloak: base "…@login.example.org" must be an absolute URL`:               providers.Keycloak("https://me:s3cr3t@login.example.org", "agents"),
		`names a realm: give https://login.example.org, and the realm apart`:                   providers.Keycloak("https://login.example.org/realms/agents", "agents"),
		`providers.Keycloak: realm "a/b" must be the name of a realm`:                          providers.Keycloak("https://login.example.org", "a/b"),
		`providers.Keycloak: realm ".." must be the name of a realm`:                           providers.Keycloak("https://login.example.org", ".."),
		`providers.Auth0: domain "https://example.eu.auth0.com/" is not a host name`:           providers.Auth0("https://example.eu.auth0.com/"),
		`providers.Okta: domain "" is not a host name: give it in lower case`:                  providers.Okta("", ""),
		`providers.Okta: server "oauth2/default" must be the id of a custom`:                   providers.Okta("example.okta.com", "oauth2/default"),
		`providers.Cognito: userPool "AbCdEf123" is not a user pool ID`:                        providers.Cognito("AbCdEf123"),
		`providers.Cognito: userPool "eu-west-3_Ab/../x" is not a user pool ID`:                providers.Cognito("eu-west-3_Ab/../x"),
		`providers.Apple: key cannot be used: providers: AppleKey.TeamID is empty`:             providers.Apple(key),
		`is the address of the metadata: give https://gitlab.example`:                          providers.GitLab("https://gitlab.example/.well-known/openid-configuration"),
		`providers.Zitadel: audiences is empty: list the id of the project`:                    providers.Zitadel("https://example.zitadel.cloud"),
		`providers.Zitadel: audiences[1] "x\n" is empty, or begins or ends`:                    providers.Zitadel("https://example.zitadel.cloud", "a", "x\n"),
		`providers.Authentik: slug "" must be the slug of the application`:                     providers.Authentik("https://id.example.org", ""),
		`names an application: give https://id.example.org, and the slug apart`:                providers.Authentik("https://id.example.org/application/o/my-app/", "my-app"),
		`providers.Keycloak: realm "a%2Fb" must be the name of a realm`:                        providers.Keycloak("https://login.example.org", "a%2Fb"),
		`providers.Keycloak: realm "my realm" must be the name of a realm as its URLs`:         providers.Keycloak("https://login.example.org", "my realm"),
		`providers.Authelia: base "https://auth.example.org?x=1" must be an absolute URL`:      providers.Authelia("https://auth.example.org?x=1"),
		`providers.GOVUKOneLogin: vectors: "[\"Cl.Cm\"]" is not a vector of trust`:             providers.GOVUKOneLogin(providers.Sandbox, `["Cl.Cm"]`),
		`providers.LoginGov: level "eidas1" is not a service level`:                            providers.LoginGov(providers.Sandbox, "eidas1"),
		`providers.LoginGov: further[0] "urn:acr.login.gov:verified" is a second`:              providers.LoginGov(providers.Sandbox, authOnly, verified),
		`providers.LoginGov: further[0] "a b" is empty or has white space`:                     providers.LoginGov(providers.Sandbox, authOnly, "a b"),
	} {
		_, err := oidcrp.New(added(cfg))
		if err == nil || !errors.Is(err, oidcrp.CodeConfigInvalid) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("the error is %v, want %s", err, want)
		}
		cfg = added(cfg)
		cfg.Validate = nil
		if _, err := oidcrp.New(cfg); err == nil {
			t.Errorf("a Validate of the app's own hides: %s", want)
		}
	}
}

func TestPresets_RefuseWhatTheProviderRefuses(t *testing.T) {
	t.Parallel()
	key, _ := appleKey(t)
	keys := rsaKeys(t)
	entra := func(change func(*oidcrp.Config)) oidcrp.Config {
		return with(providers.Entra(tenantA), func(c *oidcrp.Config) {
			c.Registration.ClientKeys, c.Registration.TokenEndpointAuthMethod = keys, "private_key_jwt"
			c.Registration.TokenEndpointAuthSigningAlg = "PS256"
			c.Provider.AssertionAudience, c.Provider.AssertionThumbprint = "token_endpoint", true
			change(c)
		})
	}
	oneLogin := func(change func(*oidcrp.Config)) oidcrp.Config {
		return with(providers.GOVUKOneLogin(providers.Sandbox, "P2.Cl.Cm"), func(c *oidcrp.Config) {
			c.Registration.ClientKeys = keys
			change(c)
		})
	}
	loginGov := func(change func(*oidcrp.Config)) oidcrp.Config {
		return with(providers.LoginGov(providers.Sandbox, authOnly), func(c *oidcrp.Config) {
			c.Registration.ClientKeys = keys
			change(c)
		})
	}
	for want, cfg := range map[string]oidcrp.Config{
		`ProSanteConnect: Login.RequireACR holds "eidas1" without "eidas2"`: with(providers.ProSanteConnect(providers.Sandbox),
			func(c *oidcrp.Config) { c.Login.RequireACR = []string{"eidas1"} }),
		"Entra: Registration.TokenEndpointAuthMethod must be private_key_jwt": entra(
			func(c *oidcrp.Config) { c.Registration.TokenEndpointAuthMethod = "client_secret_post" }),
		"Entra: Registration.TokenEndpointAuthSigningAlg must be PS256": entra(
			func(c *oidcrp.Config) { c.Registration.TokenEndpointAuthSigningAlg = "RS256" }),
		"Entra: Provider.AssertionAudience must be token_endpoint": entra(
			func(c *oidcrp.Config) { c.Provider.AssertionAudience = "" }),
		"Entra: Provider.AssertionThumbprint must be true": entra(
			func(c *oidcrp.Config) { c.Provider.AssertionThumbprint = false }),
		`GoogleWorkspace: Sessions.KeepClaims must hold "hd"`: with(providers.GoogleWorkspace("example.org"),
			func(c *oidcrp.Config) { c.Sessions.KeepClaims = []string{"email"} }),
		`GOVUKOneLogin: Sessions.KeepClaims must hold "vot"`: oneLogin(
			func(c *oidcrp.Config) { c.Sessions.KeepClaims = []string{"email"} }),
		`Apple: ClientID "other" is not that of the key`: with(providers.Apple(key), func(c *oidcrp.Config) { c.ClientID = "other" }),
		`Apple: Scopes holds "profile"`: with(providers.Apple(key),
			func(c *oidcrp.Config) { c.Scopes = nil }),
		"Apple: ResponseMode must be form_post": with(providers.Apple(key), func(c *oidcrp.Config) { c.ResponseMode = "" }),
		`GOVUKOneLogin: Scopes holds "profile"`: oneLogin(func(c *oidcrp.Config) { c.Scopes = nil }),
		"GOVUKOneLogin: ResponseMode form_post ends in invalid_request": oneLogin(
			func(c *oidcrp.Config) { c.ResponseMode = "form_post" }),
		`GOVUKOneLogin: Registration.TokenEndpointAuthSigningAlg "ES256" is not accepted`: oneLogin(
			func(c *oidcrp.Config) { c.Registration.TokenEndpointAuthSigningAlg = "ES256" }),
		"GOVUKOneLogin: Registration.TokenEndpointAuthMethod client_secret_post is not accepted with a proven identity": oneLogin(
			func(c *oidcrp.Config) { c.Registration.TokenEndpointAuthMethod = "client_secret_post" }),
		`GOVUKOneLogin: Registration.TokenEndpointAuthMethod "client_secret_basic" is not accepted`: oneLogin(
			func(c *oidcrp.Config) { c.Registration.TokenEndpointAuthMethod = "client_secret_basic" }),
		`LoginGov: Registration.TokenEndpointAuthMethod "client_secret_post" is not accepted`: loginGov(
			func(c *oidcrp.Config) { c.Registration.TokenEndpointAuthMethod = "client_secret_post" }),
		"LoginGov: Provider.AssertionAudience must be token_endpoint": loginGov(
			func(c *oidcrp.Config) { c.Provider.AssertionAudience = "" }),
		"LoginGov: Login.RequireACR is empty": loginGov(func(c *oidcrp.Config) { c.Login.RequireACR = nil }),
		`LoginGov: Login.Prompt "none" is refused by login.gov`: loginGov(
			func(c *oidcrp.Config) { c.Login.Prompt = "none" }),
	} {
		_, err := oidcrp.New(added(cfg))
		if err == nil || !errors.Is(err, oidcrp.CodeConfigInvalid) || !strings.Contains(err.Error(), "providers."+want) {
			t.Errorf("the error is %v, want %s", err, want)
		}
	}
}

func TestKeycloak_ARealmIsWrittenAsInURLs(t *testing.T) {
	t.Parallel()
	cfg := providers.Keycloak("https://login.example.org/", "my%20realm")
	if _, err := oidcrp.New(added(cfg)); err != nil || cfg.Issuer != "https://login.example.org/realms/my%20realm" {
		t.Errorf("the issuer is %s, %v", cfg.Issuer, err)
	}
}

// What a preset takes, and what it returns, is not shared.
func TestPresets_DoNotShareSlices(t *testing.T) {
	t.Parallel()
	audiences := []string{"project", "sibling"}
	first := providers.Zitadel("https://example.zitadel.cloud", audiences...)
	audiences[0] = "changed"
	if first.Provider.TrustedAudiences[0] != "project" {
		t.Error("a change of the arguments changes the Config")
	}
	changed := providers.LoginGov(providers.Sandbox, authOnly)
	changed.Login.RequireACR[0] = "changed"
	if fresh := providers.LoginGov(providers.Sandbox, authOnly); fresh.Login.RequireACR[0] != authOnly {
		t.Error("a change of one Config is in the next")
	}
}

// A route is checked as the Config is.
func TestPresets_RefuseARouteThatCannotWork(t *testing.T) {
	t.Parallel()
	client, err := oidcrp.New(added(providers.ProSanteConnect(providers.Production)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if text := fmt.Sprint(recover()); !strings.Contains(text, `holds "eidas1" without "eidas2"`) {
			t.Errorf("Require panics with %v", text)
		}
	}()
	client.Require(oidcrp.ACR("eidas1"))
}
