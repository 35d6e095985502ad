package oidcrp

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp/oidctest"
)

// wrongConfigs are mistakes, one each, and what New says about it.
var wrongConfigs = []struct {
	want   string
	change func(*Config)
}{
	{"Issuer is empty", func(c *Config) { c.Issuer = "" }},
	{"Issuer is the metadata's address: leave /.well-known/openid-configuration out", func(c *Config) { c.Issuer += "/.well-known/openid-configuration" }},
	{"Issuer must be an absolute URL without user, query and fragment", func(c *Config) { c.Issuer = "op.example" }},
	{"Issuer must be an absolute URL without user, query and fragment", func(c *Config) { c.Issuer = "https://" }},
	{"Issuer must be an absolute URL without user, query and fragment", func(c *Config) { c.Issuer = "https://:443" }},
	{"Issuer must be an absolute URL without user, query and fragment", func(c *Config) { c.Issuer = "https:op.example" }},
	{"Issuer must be an absolute URL without user, query and fragment", func(c *Config) { c.Issuer = "https://op.example/%zz" }},
	{"Issuer must be an absolute URL without user, query and fragment", func(c *Config) { c.Issuer = "https://u:p@op.example" }},
	{"Issuer must be an absolute URL without user, query and fragment", func(c *Config) { c.Issuer = "https://op.example?a=b" }},
	{"Issuer must be an absolute URL without user, query and fragment", func(c *Config) { c.Issuer = "https://op.example?" }},
	{"Issuer must be an absolute URL without user, query and fragment", func(c *Config) { c.Issuer = "https://op.example/#" }},
	{"Issuer must be https (http is for loopback hosts only)", func(c *Config) { c.Issuer = "http://op.example" }},
	{"Issuer must be https (http is for loopback hosts only)", func(c *Config) { c.Issuer = "ftp://localhost" }},

	{"BaseURL is empty", func(c *Config) { c.BaseURL = "" }},
	{"BaseURL must be an absolute URL without user, query and fragment", func(c *Config) { c.BaseURL = "app.example" }},
	{"BaseURL must be an absolute URL without user, query and fragment", func(c *Config) { c.BaseURL = "https://:443" }},
	{"BaseURL must be an absolute URL without user, query and fragment", func(c *Config) { c.BaseURL = "https://u@app.example" }},
	{"BaseURL must be an absolute URL without user, query and fragment", func(c *Config) { c.BaseURL = "https://app.example/?a=b" }},
	{"BaseURL must be an absolute URL without user, query and fragment", func(c *Config) { c.BaseURL = "https://app.example/?" }},
	{"BaseURL must be an absolute URL without user, query and fragment", func(c *Config) { c.BaseURL = "https://app.example#" }},
	{"BaseURL must be https (http is for loopback hosts only)", func(c *Config) { c.BaseURL = "http://app.example" }},
	{"BaseURL must have a clean path without escapes", func(c *Config) { c.BaseURL = "https://app.example/a/../b" }},
	{"BaseURL must have a clean path without escapes", func(c *Config) { c.BaseURL = "https://app.example/a//b" }},
	{"BaseURL must have a clean path without escapes", func(c *Config) { c.BaseURL = "https://app.example/espace%20pro" }},
	{"BaseURL must have a clean path without escapes", func(c *Config) { c.BaseURL = "https://app.example/été" }},

	{"PathPrefix must be a clean path that starts and ends with a slash and is not the root", func(c *Config) { c.PathPrefix = "/" }},
	{"PathPrefix must be a clean path that starts and ends with a slash and is not the root", func(c *Config) { c.PathPrefix = "//" }},
	{"PathPrefix must be a clean path that starts and ends with a slash and is not the root", func(c *Config) { c.PathPrefix = "/auth" }},
	{"PathPrefix must be a clean path that starts and ends with a slash and is not the root", func(c *Config) { c.PathPrefix = "auth/" }},
	{"PathPrefix must be a clean path that starts and ends with a slash and is not the root", func(c *Config) { c.PathPrefix = "/a//b/" }},
	{"PathPrefix must be a clean path that starts and ends with a slash and is not the root", func(c *Config) { c.PathPrefix = "/a/../" }},
	{"PathPrefix must be a clean path that starts and ends with a slash and is not the root", func(c *Config) { c.PathPrefix = "/a%2f/" }},
	{"PathPrefix must be a clean path that starts and ends with a slash and is not the root", func(c *Config) { c.PathPrefix = "/a b/" }},

	{"RedirectURI must be an absolute URL without user and fragment on BaseURL's origin, https://app.example",
		func(c *Config) { c.Registration.RedirectURI = "/auth/callback" }},
	{"RedirectURI must be an absolute URL without user and fragment on BaseURL's origin, https://app.example",
		func(c *Config) { c.Registration.RedirectURI = "https://other.example/auth/callback" }},
	{"RedirectURI must be an absolute URL without user and fragment on BaseURL's origin, https://app.example",
		func(c *Config) { c.Registration.RedirectURI = "http://app.example/auth/callback" }},
	{"RedirectURI must be an absolute URL without user and fragment on BaseURL's origin, https://app.example",
		func(c *Config) { c.Registration.RedirectURI = "https://app.example:8443/auth/callback" }},
	{"RedirectURI must be an absolute URL without user and fragment on BaseURL's origin, https://app.example",
		func(c *Config) { c.Registration.RedirectURI = "https://u@app.example/auth/callback" }},
	{"RedirectURI must be an absolute URL without user and fragment on BaseURL's origin, https://app.example",
		func(c *Config) { c.Registration.RedirectURI = "https://app.example/auth/callback#" }},
	{"RedirectURI must have a path of its own", func(c *Config) { c.Registration.RedirectURI = "https://app.example" }},
	{"RedirectURI must have a path of its own", func(c *Config) { c.Registration.RedirectURI = "https://app.example/" }},
	{"RedirectURI must have a path of its own", func(c *Config) {
		c.BaseURL, c.Registration.RedirectURI = "https://app.example/pro", "https://app.example/pro/"
	}},
	{"RedirectURI must have a path of its own", func(c *Config) { c.Registration.RedirectURI = "https://app.example/auth/login" }},
	{"RedirectURI must have a path of its own", func(c *Config) { c.Registration.RedirectURI = "https://app.example/auth/logout" }},
	{"RedirectURI must have a path of its own", func(c *Config) { c.Registration.RedirectURI = "https://app.example/auth/jwks" }},
	{"PostLogoutRedirectURI must be an absolute URL without user and fragment on BaseURL's origin, https://app.example",
		func(c *Config) { c.Registration.PostLogoutRedirectURI = "https://other.example/bye" }},
	{"PostLogoutRedirectURI must have a path of its own", func(c *Config) { c.Registration.PostLogoutRedirectURI = "https://app.example/auth/callback" }},
	{"PostLogoutRedirectURI must have a path of its own", func(c *Config) { c.Registration.PostLogoutRedirectURI = "https://app.example/auth/logout" }},

	{"ClientID is empty", func(c *Config) { c.ClientID = "" }},
	{`ClientSecret is empty (a public client says TokenEndpointAuthMethod: "none")`, func(c *Config) { c.ClientSecret = "" }},
	{`TokenEndpointAuthMethod "client_secret_basik" is not known`, func(c *Config) { c.Registration.TokenEndpointAuthMethod = "client_secret_basik" }},
	{"ClientKeys is empty, and private_key_jwt needs a key", func(c *Config) { c.Registration.TokenEndpointAuthMethod = "private_key_jwt" }},
	{"ClientKeys [1] is not a private key", func(c *Config) {
		c.Registration.ClientKeys = []jose.JSONWebKey{{Key: testKeys().P256}, {Key: testKeys().P256.Public()}}
	}},
	{"ClientKeys [0] is not a private key", func(c *Config) { c.Registration.ClientKeys = []jose.JSONWebKey{{}} }},
	{`ResponseMode "fragment" is not supported (query, form_post)`, func(c *Config) { c.ResponseMode = "fragment" }},

	{`IDTokenSignedResponseAlg "none" is not supported`, func(c *Config) { c.Registration.IDTokenSignedResponseAlg = "none" }},
	{`IDTokenSignedResponseAlg "rs256" is not supported`, func(c *Config) { c.Registration.IDTokenSignedResponseAlg = "rs256" }},
	{"IDTokenSignedResponseAlg HS256 needs a ClientSecret of 32 bytes or more",
		func(c *Config) {
			c.ClientSecret, c.Registration.IDTokenSignedResponseAlg = strings.Repeat("s", 31), "HS256"
		}},
	{"IDTokenSignedResponseAlg HS512 needs a ClientSecret of 64 bytes or more",
		func(c *Config) {
			c.ClientSecret, c.Registration.IDTokenSignedResponseAlg = strings.Repeat("s", 63), "HS512"
		}},
	{`UserInfoSignedResponseAlg "none" is not supported`, func(c *Config) { c.Registration.UserInfoSignedResponseAlg = "none" }},
	{"UserInfoSignedResponseAlg HS384 needs a ClientSecret of 48 bytes or more",
		func(c *Config) {
			c.ClientSecret, c.Registration.UserInfoSignedResponseAlg = strings.Repeat("s", 47), "HS384"
		}},
	{"TokenEndpointAuthMethod HS256 needs a ClientSecret of 32 bytes or more",
		func(c *Config) { c.ClientSecret, c.Registration.TokenEndpointAuthMethod = "short", "client_secret_jwt" }},
	{"TokenEndpointAuthSigningAlg client_secret_jwt is signed with HS256, HS384 or HS512", func(c *Config) {
		c.Registration.TokenEndpointAuthMethod, c.Registration.TokenEndpointAuthSigningAlg = "client_secret_jwt", "RS256"
	}},
	{"TokenEndpointAuthSigningAlg none of ClientKeys signs with that algorithm", func(c *Config) {
		c.Registration.TokenEndpointAuthMethod, c.Registration.TokenEndpointAuthSigningAlg = "private_key_jwt", "RS256"
		c.Registration.ClientKeys = []jose.JSONWebKey{{Key: testKeys().P256}}
	}},
	{"TokenEndpointAuthSigningAlg none of ClientKeys signs with that algorithm", func(c *Config) {
		c.Registration.TokenEndpointAuthMethod = "private_key_jwt"
		c.Registration.ClientKeys = []jose.JSONWebKey{{Key: testKeys().P256, Use: "enc"}, {Key: testKeys().RSA, Algorithm: "RSA-OAEP"}}
	}},
	{"ClientKeys [0] is not a private key\nTokenEndpointAuthSigningAlg none of ClientKeys signs with that algorithm", func(c *Config) {
		c.Registration.TokenEndpointAuthMethod = "private_key_jwt"
		c.Registration.ClientKeys = []jose.JSONWebKey{{Key: testKey(1), Algorithm: "HS256"}}
	}},

	{"ClientCertificates is empty, and tls_client_auth needs a certificate", func(c *Config) { c.Registration.TokenEndpointAuthMethod = "tls_client_auth" }},
	{"ClientCertificates [0] lacks its certificate or its private key", func(c *Config) { c.Registration.ClientCertificates = make([]tls.Certificate, 1) }},
	{"ClientCertificates [0] cannot be read", func(c *Config) {
		c.Registration.ClientCertificates = []tls.Certificate{{PrivateKey: testKeys().P256, Certificate: [][]byte{{1}}}}
	}},
	{`IDTokenEncryptedResponseAlg "RSA1_5" is not supported`, func(c *Config) { c.Registration.IDTokenEncryptedResponseAlg = "RSA1_5" }},
	{"IDTokenEncryptedResponseAlg RSA-OAEP needs one of ClientKeys to fit it", func(c *Config) {
		c.Registration.IDTokenEncryptedResponseAlg = "RSA-OAEP"
		c.Registration.ClientKeys = []jose.JSONWebKey{{Key: testKeys().P256}, {Key: testKeys().RSA, Use: "sig"}}
	}},
	{"IDTokenEncryptedResponseEnc is set without IDTokenEncryptedResponseAlg", func(c *Config) { c.Registration.IDTokenEncryptedResponseEnc = "A128GCM" }},
	{`UserInfoEncryptedResponseAlg "PBES2-HS256+A128KW" is not supported`, func(c *Config) { c.Registration.UserInfoEncryptedResponseAlg = "PBES2-HS256+A128KW" }},
	{`UserInfoEncryptedResponseEnc "A128CTR" is not supported`, func(c *Config) {
		c.Registration.UserInfoEncryptedResponseAlg, c.Registration.UserInfoEncryptedResponseEnc = "dir", "A128CTR"
	}},
	{"UserInfoEncryptedResponseAlg dir needs a ClientSecret", func(c *Config) {
		c.ClientSecret, c.Registration.TokenEndpointAuthMethod, c.Registration.UserInfoEncryptedResponseAlg = "", "none", "dir"
	}},

	{"ClockSkew must be between 0 and 5 minutes", func(c *Config) { c.Provider.ClockSkew = -time.Second }},
	{"ClockSkew must be between 0 and 5 minutes", func(c *Config) { c.Provider.ClockSkew = 5*time.Minute + 1 }},
	{"CookieKeys is empty: give at least one key of 32 random bytes", func(c *Config) { c.CookieKeys = nil }},
	{"CookieKeys [1] has 31 bytes, not 32", func(c *Config) { c.CookieKeys = Keys(testKey(1), testKey(2)[:31]) }},
	{"SessionLifetime is negative", func(c *Config) { c.Sessions.Lifetime = -1 }},
	{"SessionIdleTimeout is negative", func(c *Config) { c.Sessions.IdleTimeout = -1 }},
	{"ProviderTimeout is negative", func(c *Config) { c.Provider.Timeout = -1 }},

	{"Metadata is not usable: token_endpoint is missing", func(c *Config) {
		c.Provider.Metadata = soundMetadata(func(m *Metadata) { m.TokenEndpoint = "" })
	}},
	{`Metadata is not usable: issuer is "https://op.example/", not "https://op.example"`, func(c *Config) {
		c.Provider.Metadata = soundMetadata(func(m *Metadata) { m.Issuer += "/" })
	}},
	{`AuthOptions cannot be used: prompt "logn" is not known`, func(c *Config) { c.Login.Prompt = "logn" }},
	{`AuthOptions cannot be used: parameter "nonce" may not be in Extra`, func(c *Config) {
		c.Login.Extra = url.Values{"state": {"x"}, "nonce": {"x"}, "scope": {"x"}}
	}},
}

func TestNewNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, tt := range wrongConfigs {
		_, err := New(soundConfig(tt.change))
		if err == nil {
			t.Errorf("no error, want: %s", tt.want)
			continue
		}
		if got := wantCode(t, err, CodeConfig).Err.Error(); got != tt.want {
			t.Errorf("error is\n%s\nwant\n%s", got, tt.want)
		}
	}
	if _, err := New(soundConfig(nil)); err != nil {
		t.Errorf("the configuration that the mistakes are made in: %v", err)
	}
}

func TestNewReportsEveryMistakeInOneOrder(t *testing.T) {
	t.Parallel()
	const want = "oidcrp: config: config_invalid: Issuer is empty\n" +
		"BaseURL is empty\n" +
		"PathPrefix must be a clean path that starts and ends with a slash and is not the root\n" +
		"ClientID is empty\n" +
		"ClientSecret is empty (a public client says TokenEndpointAuthMethod: \"none\")\n" +
		"IDTokenSignedResponseAlg HS256 needs a ClientSecret of 32 bytes or more\n" +
		"CookieKeys is empty: give at least one key of 32 random bytes\n" +
		"AuthOptions cannot be used: parameter \"claims\" may not be in Extra"
	for range 20 {
		_, err := New(Config{
			PathPrefix:   "auth",
			Registration: Registration{IDTokenSignedResponseAlg: "HS256"},
			Login:        AuthOptions{Extra: url.Values{"state": nil, "claims": nil, "scope": nil, "nonce": nil}},
		})
		if err == nil || err.Error() != want {
			t.Fatalf("error is\n%v\nwant\n%s", err, want)
		}
	}
}

func TestNoErrorOfNewHoldsASecret(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t-s3cr3t"
	for _, tt := range wrongConfigs {
		_, err := New(soundConfig(func(c *Config) {
			c.ClientSecret = secret + strings.Repeat("x", 19)
			c.CookieKeys = Keys([]byte(secret + strings.Repeat("x", 19)))
			tt.change(c)
			if c.CookieKeys != nil {
				c.CookieKeys = Keys(testKey(1), []byte(secret))
			}
		}))
		for _, form := range []string{"%v", "%+v", "%#v", "%q"} {
			if got := fmt.Sprintf(form, err); strings.Contains(got, secret) {
				t.Errorf("%s: the secret is in %s", tt.want, got)
			}
		}
	}
}

func TestPlainHTTPIsForLoopbackHostsOnly(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		host string
		ok   bool
	}{
		{"localhost", true}, {"localhost:8080", true}, {"app.localhost", true}, {"a.b.localhost:80", true},
		{"127.0.0.1", true}, {"127.0.0.1:8080", true}, {"127.1.2.3", true}, {"[::1]", true}, {"[::1]:8080", true},

		{"app.example", false}, {"127.evil.example", false}, {"127.0.0.1.evil.example", false},
		{"localhost.evil.example", false}, {"evil-localhost", false}, {"notlocalhost:8080", false},
		{"10.0.0.1", false}, {"192.168.1.1", false}, {"0.0.0.0", false}, {"[::]", false}, {"[fe80::1]", false},
		{"128.0.0.1", false}, {"2130706433", false}, {"0x7f.1", false},
	} {
		for name, change := range map[string]func(*Config){
			"Issuer":  func(c *Config) { c.Issuer = "http://" + tt.host },
			"BaseURL": func(c *Config) { c.BaseURL = "http://" + tt.host },
		} {
			_, err := New(soundConfig(change))
			if ok := err == nil; ok != tt.ok {
				t.Errorf("http://%s as %s: %v", tt.host, name, err)
			}
			if err != nil && !strings.Contains(err.Error(), name+" must be https") {
				t.Errorf("http://%s as %s: %v, which says something else", tt.host, name, err)
			}
		}
		if _, err := New(soundConfig(func(c *Config) { c.Issuer, c.BaseURL = "https://"+tt.host, "https://"+tt.host })); err != nil {
			t.Errorf("https://%s: %v", tt.host, err)
		}
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c := mustNew(t, nil)
	for _, tt := range []struct {
		field     string
		got, want any
	}{
		{"PathPrefix", strings.TrimSuffix(c.paths.login, "login"), "/auth/"},
		{"RedirectURI", c.registration.RedirectURI, "https://app.example/auth/callback"},
		{"PostLogoutRedirectURI", c.registration.PostLogoutRedirectURI, "https://app.example/auth/logout/callback"},
		{"Scopes", c.flow.scopes, []string{"openid", "profile", "email"}},
		{"ClockSkew", c.flow.rules.skew, 60 * time.Second},
		{"SessionLifetime", c.sessions.settings.Lifetime, 12 * time.Hour},
		{"SessionIdleTimeout", c.sessions.settings.IdleTimeout, time.Hour},
		{"Provider.Timeout, four times", c.logins.timeout, 40 * time.Second},
		{"TokenEndpointAuthMethod", c.registration.TokenEndpointAuthMethod, ""},
		{"LoginURL", c.LoginURL("/a?b=c"), "/auth/login?return_to=%2Fa%3Fb%3Dc"},
		{"LoginURL to the home page", c.LoginURL("/"), "/auth/login"},
		{"LoginURL to another site", c.LoginURL("//evil.example"), "/auth/login"},
		{"LogoutURL", c.LogoutURL("/a"), "/auth/logout?return_to=%2Fa"},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%s is %v, want %v", tt.field, tt.got, tt.want)
		}
	}
	if c.log == nil || c.now == nil {
		t.Error("Logger or the clock is nil")
	}
}

func TestSettingsThatFollowFromOthers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		what   string
		change func(*Config)
		get    func(*Client) any
		want   any
	}{
		{"openid is added to the scopes", func(c *Config) { c.Scopes = []string{"email"} },
			func(c *Client) any { return c.flow.scopes }, []string{"openid", "email"}},
		{"no scope is openid alone", func(c *Config) { c.Scopes = []string{} },
			func(c *Client) any { return c.flow.scopes }, []string{"openid"}},
		{"scopes given as one text are split, and empty ones dropped", func(c *Config) { c.Scopes = []string{"email openid", "", "uid"} },
			func(c *Client) any { return c.flow.scopes }, []string{"email", "openid", "uid"}},
		{"a slash at the end of BaseURL counts for nothing", func(c *Config) { c.BaseURL += "/" },
			func(c *Client) any { return c.registration.RedirectURI }, "https://app.example/auth/callback"},
		{"BaseURL's path goes before PathPrefix", func(c *Config) { c.BaseURL, c.PathPrefix = "https://app.example/pro/", "/sso/" },
			func(c *Client) any { return c.registration.RedirectURI + " " + c.LoginURL("") }, "https://app.example/pro/sso/callback /pro/sso/login"},
		{"BaseURL is the origin of RedirectURI", func(c *Config) { c.BaseURL, c.Registration.RedirectURI = "", "https://app.example/pro/cb" },
			func(c *Client) any { return c.base.String() + " " + c.registration.PostLogoutRedirectURI },
			"https://app.example https://app.example/auth/logout/callback"},
		{"keys without a secret mean private_key_jwt", func(c *Config) {
			c.ClientSecret, c.Registration.ClientKeys = "", []jose.JSONWebKey{{Key: testKeys().P256}}
		}, func(c *Client) any { return c.registration.TokenEndpointAuthMethod }, "private_key_jwt"},
		{"keys beside a secret do not", func(c *Config) { c.Registration.ClientKeys = []jose.JSONWebKey{{Key: testKeys().P256}} },
			func(c *Client) any { return c.registration.TokenEndpointAuthMethod }, ""},
		{"a public client needs no secret", func(c *Config) { c.ClientSecret, c.Registration.TokenEndpointAuthMethod = "", "none" },
			func(c *Client) any { return c.registration.TokenEndpointAuthMethod }, "none"},
		{"ClockSkew may be five minutes", func(c *Config) { c.Provider.ClockSkew = 5 * time.Minute },
			func(c *Client) any { return c.flow.rules.skew }, 5 * time.Minute},
	} {
		if got := tt.get(mustNew(t, tt.change)); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.what, got, tt.want)
		}
	}
}

func TestNewSpeaksToNobody(t *testing.T) {
	t.Parallel()
	c := mustNew(t, func(c *Config) { c.Provider.Transport = noNetwork{t} })
	c.LoginURL("/a")
	c.LogoutURL("/a")
	c.Middleware(c.Require(ACR("eidas2"))(http.NotFoundHandler()))
}

// requestOf starts a login and returns the parameters of its request.
func requestOf(t testing.TB, c *Client, opts *AuthOptions) url.Values {
	t.Helper()
	location, err := c.BeginLogin(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), opts)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

// withoutRandom returns v without what is new for each login.
func withoutRandom(v url.Values) url.Values {
	for _, name := range []string{"state", "nonce", "code_challenge"} {
		v.Del(name)
	}
	return v
}

func TestACallerCannotChangeTheClient(t *testing.T) {
	t.Parallel()
	maxAge, key := time.Hour, testKey(1)
	metadata := soundMetadata(func(m *Metadata) {
		m.ACRValuesSupported = []string{"eidas1", "eidas2"}
		m.MTLSEndpointAliases = map[string]string{"token_endpoint": "https://mtls.op.example/token"}
	})
	cfg := soundConfig(func(c *Config) {
		c.Provider.Metadata, c.CookieKeys = metadata, Keys(key)
		c.Scopes = []string{"openid", "email"}
		c.Provider.TrustedAudiences = []string{"api"}
		c.Registration.ClientKeys = []jose.JSONWebKey{{Key: testKeys().P256, KeyID: "1"}}
		c.Login = AuthOptions{
			MaxAge: &maxAge, UILocales: []string{"fr"}, Resource: []string{"https://api.example"},
			Extra: url.Values{"idp_hint": {"one"}},
			Claims: &ClaimsRequest{
				UserInfo: map[string]*ClaimRequest{"siret": {Essential: true}, "email": nil},
				IDToken:  map[string]*ClaimRequest{"acr": {Essential: true, Values: []any{"eidas1"}}},
			},
		}
	})
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	before := withoutRandom(requestOf(t, c, nil))
	sealed, _ := c.cookies.keys.seal([]byte("x"), nil)

	maxAge = time.Second
	metadata.ACRValuesSupported[0], metadata.MTLSEndpointAliases["token_endpoint"], metadata.TokenEndpoint = "x", "x", "x"
	cfg.Scopes[1], cfg.Provider.TrustedAudiences[0], cfg.Registration.ClientKeys[0].KeyID = "x", "x", "x"
	clear(key)
	opts := cfg.Login
	opts.UILocales[0], opts.Resource[0], opts.Extra["idp_hint"][0] = "x", "x", "x"
	opts.Extra.Set("y", "y")
	opts.Claims.UserInfo["siret"].Essential, opts.Claims.IDToken["acr"].Values[0] = false, "x"
	opts.Claims.UserInfo["y"] = nil

	if after := withoutRandom(requestOf(t, c, nil)); !reflect.DeepEqual(before, after) {
		t.Errorf("the request was %v and became %v", before, after)
	}
	m, _ := c.Metadata(t.Context())
	if m.ACRValuesSupported[0] == "x" || m.MTLSEndpointAliases["token_endpoint"] == "x" || m.TokenEndpoint == "x" {
		t.Errorf("the metadata became %+v", m)
	}
	if c.flow.rules.trusted[0] == "x" || c.registration.ClientKeys[0].KeyID == "x" {
		t.Errorf("TrustedAudiences or ClientKeys changed: %q, %q", c.flow.rules.trusted, c.registration.ClientKeys[0].KeyID)
	}
	if plain, err := mustNew(t, nil).cookies.keys.open(sealed, nil); err != nil || string(plain) != "x" {
		t.Errorf("the cookie keys changed: %q, %v", plain, err)
	}
}

func TestSigningInWithOtherAddresses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		what        string
		issuer      string // after the server's address
		config      func(*Config)
		redirectURI string // after the app's address
	}{
		{"an issuer with a path", "/op", nil, "/auth/callback"},
		{"an issuer with a slash at its end", "/op/", nil, "/auth/callback"},
		{"an issuer that is a host with a slash", "/", nil, "/auth/callback"},
		{"a BaseURL with a path", "", func(c *Config) { c.BaseURL += "/pro" }, "/pro/auth/callback"},
		{"a PathPrefix", "", func(c *Config) { c.PathPrefix = "/sso/agents/" }, "/sso/agents/callback"},
		{"a RedirectURI elsewhere", "", func(c *Config) {
			c.Registration.RedirectURI, c.Registration.PostLogoutRedirectURI = c.BaseURL+"/oidc/back", c.BaseURL+"/oidc/bye"
		}, "/oidc/back"},
		{"a RedirectURI with a query and no BaseURL", "", func(c *Config) {
			c.Registration.RedirectURI, c.BaseURL = c.BaseURL+"/oidc?tenant=1", ""
		}, "/oidc?tenant=1"},
		{"form_post", "", func(c *Config) { c.ResponseMode = "form_post" }, "/auth/callback"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			app := newTestApp(t, setup{provider: oidctest.Config{Issuer: tt.issuer}, config: tt.config})
			browser := app.signIn(t)
			if got := app.who(t, browser, "/me").Sub; got != "alice" {
				t.Errorf("signed in as %q, want alice", got)
			}
			for _, endpoint := range []string{oidctest.EndpointAuthorization, oidctest.EndpointToken} {
				got := app.provider.RequestsTo(endpoint)[0].Form.Get("redirect_uri")
				if want := app.URL + tt.redirectURI; got != want {
					t.Errorf("redirect_uri at the %s endpoint is %s, want %s", endpoint, got, want)
				}
			}
		})
	}
}

func TestMetadataInPlaceOfDiscovery(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{config: func(c *Config) {
		discovering, err := New(*c)
		if err != nil {
			t.Fatal(err)
		}
		if c.Provider.Metadata, err = discovering.Metadata(context.Background()); err != nil {
			t.Fatal(err)
		}
	}})
	app.provider.ResetRequests()
	app.signIn(t)
	if n := app.provider.Count(oidctest.EndpointDiscovery); n != 0 {
		t.Errorf("%d discovery requests, want none", n)
	}
}

func TestOnlyTheTransportOfHTTPClientIsUsed(t *testing.T) {
	t.Parallel()
	var paths []string
	app := newTestApp(t, setup{config: func(c *Config) {
		next := c.Provider.Transport
		if next == nil {
			next = http.DefaultTransport
		}
		c.Provider.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			paths = append(paths, r.URL.Path)
			return next.RoundTrip(r)
		})
	}})
	app.signIn(t)
	if slices.Sort(paths); len(paths) != 4 {
		t.Errorf("requests by the transport: %q, want discovery, keys, token and UserInfo", paths)
	}
}
