package oidcrp_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp"
)

const (
	wantURL    = " must be an absolute URL without user, query and fragment"
	wantHTTPS  = " must be https (http is for loopback hosts only)"
	wantClean  = " must have a clean path without escapes"
	wantPrefix = " must be a clean path that starts and ends with a slash and is not the root"
	wantOrigin = " must be an absolute URL without user and fragment on BaseURL's origin, https://app.example"
	wantPath   = " has the path of another page: give it one of its own"
)

// wrongConfigs are mistakes, one each, and what New says about it.
var wrongConfigs = []struct {
	want   string
	change func(*oidcrp.Config)
}{
	{"Issuer is empty", func(c *oidcrp.Config) { c.Issuer = "" }},
	{`Issuer "https://op.example/.well-known/openid-configuration" is the metadata's address: remove /.well-known/openid-configuration`,
		func(c *oidcrp.Config) { c.Issuer += "/.well-known/openid-configuration" }},
	{`Issuer "op.example"` + wantURL, func(c *oidcrp.Config) { c.Issuer = "op.example" }},
	{`Issuer "https://"` + wantURL, func(c *oidcrp.Config) { c.Issuer = "https://" }},
	{`Issuer "https://:443"` + wantURL, func(c *oidcrp.Config) { c.Issuer = "https://:443" }},
	{`Issuer "https:op.example"` + wantURL, func(c *oidcrp.Config) { c.Issuer = "https:op.example" }},
	{`Issuer "https://op.example/%zz"` + wantURL, func(c *oidcrp.Config) { c.Issuer = "https://op.example/%zz" }},
	{`Issuer "…@op.example"` + wantURL, func(c *oidcrp.Config) { c.Issuer = "https://u:p@op.example" }},
	{`Issuer "https://op.example?a=b"` + wantURL, func(c *oidcrp.Config) { c.Issuer = "https://op.example?a=b" }},
	{`Issuer "https://op.example?"` + wantURL, func(c *oidcrp.Config) { c.Issuer = "https://op.example?" }},
	{`Issuer "https://op.example/#"` + wantURL, func(c *oidcrp.Config) { c.Issuer = "https://op.example/#" }},
	{`Issuer "http://op.example"` + wantHTTPS, func(c *oidcrp.Config) { c.Issuer = "http://op.example" }},
	{`Issuer "ftp://localhost"` + wantHTTPS, func(c *oidcrp.Config) { c.Issuer = "ftp://localhost" }},

	{"BaseURL is empty", func(c *oidcrp.Config) { c.BaseURL = "" }},
	{`BaseURL "app.example"` + wantURL, func(c *oidcrp.Config) { c.BaseURL = "app.example" }},
	{`BaseURL "https://:443"` + wantURL, func(c *oidcrp.Config) { c.BaseURL = "https://:443" }},
	{`BaseURL "…@app.example"` + wantURL, func(c *oidcrp.Config) { c.BaseURL = "https://u@app.example" }},
	{`BaseURL "https://app.example/?a=b"` + wantURL, func(c *oidcrp.Config) { c.BaseURL = "https://app.example/?a=b" }},
	{`BaseURL "https://app.example/?"` + wantURL, func(c *oidcrp.Config) { c.BaseURL = "https://app.example/?" }},
	{`BaseURL "https://app.example#"` + wantURL, func(c *oidcrp.Config) { c.BaseURL = "https://app.example#" }},
	{`BaseURL "http://app.example"` + wantHTTPS, func(c *oidcrp.Config) { c.BaseURL = "http://app.example" }},
	{`BaseURL "https://app.example/a/../b"` + wantClean, func(c *oidcrp.Config) { c.BaseURL = "https://app.example/a/../b" }},
	{`BaseURL "https://app.example/a//b"` + wantClean, func(c *oidcrp.Config) { c.BaseURL = "https://app.example/a//b" }},
	{`BaseURL "https://app.example/espace%20pro"` + wantClean, func(c *oidcrp.Config) { c.BaseURL = "https://app.example/espace%20pro" }},
	{`BaseURL "https://app.example/été"` + wantClean, func(c *oidcrp.Config) { c.BaseURL = "https://app.example/été" }},

	{`PathPrefix "/"` + wantPrefix, func(c *oidcrp.Config) { c.PathPrefix = "/" }},
	{`PathPrefix "//"` + wantPrefix, func(c *oidcrp.Config) { c.PathPrefix = "//" }},
	{`PathPrefix "/auth"` + wantPrefix, func(c *oidcrp.Config) { c.PathPrefix = "/auth" }},
	{`PathPrefix "auth/"` + wantPrefix, func(c *oidcrp.Config) { c.PathPrefix = "auth/" }},
	{`PathPrefix "/a//b/"` + wantPrefix, func(c *oidcrp.Config) { c.PathPrefix = "/a//b/" }},
	{`PathPrefix "/a/../"` + wantPrefix, func(c *oidcrp.Config) { c.PathPrefix = "/a/../" }},
	{`PathPrefix "/a%2f/"` + wantPrefix, func(c *oidcrp.Config) { c.PathPrefix = "/a%2f/" }},
	{`PathPrefix "/a b/"` + wantPrefix, func(c *oidcrp.Config) { c.PathPrefix = "/a b/" }},

	{`Registration.RedirectURI "/auth/callback"` + wantOrigin,
		func(c *oidcrp.Config) { c.Registration.RedirectURI = "/auth/callback" }},
	{`Registration.RedirectURI "https://other.example/auth/callback"` + wantOrigin,
		func(c *oidcrp.Config) { c.Registration.RedirectURI = "https://other.example/auth/callback" }},
	{`Registration.RedirectURI "http://app.example/auth/callback"` + wantOrigin,
		func(c *oidcrp.Config) { c.Registration.RedirectURI = "http://app.example/auth/callback" }},
	{`Registration.RedirectURI "https://app.example:8443/auth/callback"` + wantOrigin,
		func(c *oidcrp.Config) { c.Registration.RedirectURI = "https://app.example:8443/auth/callback" }},
	{`Registration.RedirectURI "…@app.example/auth/callback"` + wantOrigin,
		func(c *oidcrp.Config) { c.Registration.RedirectURI = "https://u:p@app.example/auth/callback" }},
	{`Registration.RedirectURI "https://app.example/auth/callback#"` + wantOrigin,
		func(c *oidcrp.Config) { c.Registration.RedirectURI = "https://app.example/auth/callback#" }},
	{`Registration.RedirectURI "https://app.example"` + wantPath, func(c *oidcrp.Config) { c.Registration.RedirectURI = "https://app.example" }},
	{`Registration.RedirectURI "https://app.example/"` + wantPath, func(c *oidcrp.Config) { c.Registration.RedirectURI = "https://app.example/" }},
	{`Registration.RedirectURI "https://app.example/pro/"` + wantPath, func(c *oidcrp.Config) {
		c.BaseURL, c.Registration.RedirectURI = "https://app.example/pro", "https://app.example/pro/"
	}},
	{`Registration.RedirectURI "https://app.example/auth/login"` + wantPath,
		func(c *oidcrp.Config) { c.Registration.RedirectURI = "https://app.example/auth/login" }},
	{`Registration.RedirectURI "https://app.example/auth/logout"` + wantPath,
		func(c *oidcrp.Config) { c.Registration.RedirectURI = "https://app.example/auth/logout" }},
	{`Registration.PostLogoutRedirectURI "https://other.example/bye"` + wantOrigin,
		func(c *oidcrp.Config) { c.Registration.PostLogoutRedirectURI = "https://other.example/bye" }},
	{`Registration.PostLogoutRedirectURI "https://app.example/auth/callback"` + wantPath,
		func(c *oidcrp.Config) { c.Registration.PostLogoutRedirectURI = "https://app.example/auth/callback" }},
	{`Registration.PostLogoutRedirectURI "https://app.example/pro/auth/logout/callback"` + wantPath, func(c *oidcrp.Config) { // its signed-out page
		c.BaseURL, c.Registration.RedirectURI = "https://app.example/pro", "https://app.example/pro/auth/logout/callback"
		c.Registration.PostLogoutRedirectURI = "none"
	}},
	{`Registration.PostLogoutRedirectURI "https://app.example/"` + wantPath, func(c *oidcrp.Config) { // another app's
		c.BaseURL, c.Registration.PostLogoutRedirectURI = "https://app.example/pro", "https://app.example/"
	}},
	{`Registration.InitiateLoginURI "https://other.example/start"` + wantOrigin,
		func(c *oidcrp.Config) { c.Registration.InitiateLoginURI = "https://other.example/start" }},
	{`Registration.BackchannelLogoutURI "https://app.example/auth/initiate"` + wantPath,
		func(c *oidcrp.Config) { c.Registration.BackchannelLogoutURI = "https://app.example/auth/initiate" }},
	{`Registration.FrontchannelLogoutURI "https://app.example/auth/backchannel-logout?a=b"` + wantPath,
		func(c *oidcrp.Config) {
			c.Registration.FrontchannelLogoutURI = "https://app.example/auth/backchannel-logout?a=b"
		}},
	{`Registration.JWKSURI "https://app.example/auth/callback"` + wantPath,
		func(c *oidcrp.Config) { c.Registration.JWKSURI = "https://app.example/auth/callback" }},

	{"ClientID is empty", func(c *oidcrp.Config) { c.ClientID = "" }},
	{`ClientSecret is empty (for a public client, set Registration.TokenEndpointAuthMethod to "none")`,
		func(c *oidcrp.Config) { c.ClientSecret = "" }},
	{`Registration.TokenEndpointAuthMethod "client_secret_basik" is not known (client_secret_basic, client_secret_post, ` +
		"client_secret_jwt, private_key_jwt, tls_client_auth, self_signed_tls_client_auth, none)",
		func(c *oidcrp.Config) { c.Registration.TokenEndpointAuthMethod = "client_secret_basik" }},
	{"Registration.ClientKeys is empty, and private_key_jwt needs a key",
		func(c *oidcrp.Config) { c.Registration.TokenEndpointAuthMethod = "private_key_jwt" }},
	{"Registration.ClientKeys [1] is not a private key", func(c *oidcrp.Config) {
		c.Registration.ClientKeys = []jose.JSONWebKey{{Key: testKeys().P256}, {Key: testKeys().P256.Public()}}
	}},
	{"Registration.ClientKeys [0] is not a private key", func(c *oidcrp.Config) { c.Registration.ClientKeys = []jose.JSONWebKey{{}} }},
	{"Registration.ClientKeys [0] is not a private key",
		func(c *oidcrp.Config) { c.Registration.ClientKeys = []jose.JSONWebKey{{Key: "key"}} }},
	{"Registration.ClientKeys [0] is not a private key",
		func(c *oidcrp.Config) { c.Registration.ClientKeys = []jose.JSONWebKey{{Key: testKey(1)}} }},
	{"Registration.ClientKeys [0] is not a private key", func(c *oidcrp.Config) {
		c.Registration.ClientKeys = []jose.JSONWebKey{{Certificates: []*x509.Certificate{{}}}}
	}},
	{`ResponseMode "fragment" is not supported (query, form_post)`, func(c *oidcrp.Config) { c.ResponseMode = "fragment" }},

	{`Registration.IDTokenSignedResponseAlg "none" is not supported`,
		func(c *oidcrp.Config) { c.Registration.IDTokenSignedResponseAlg = "none" }},
	{`Registration.IDTokenSignedResponseAlg "rs256" is not supported`,
		func(c *oidcrp.Config) { c.Registration.IDTokenSignedResponseAlg = "rs256" }},
	{"Registration.IDTokenSignedResponseAlg HS256 needs ClientSecret to have 32 bytes or more", func(c *oidcrp.Config) {
		c.ClientSecret, c.Registration.IDTokenSignedResponseAlg = strings.Repeat("s", 31), "HS256"
	}},
	{"Registration.IDTokenSignedResponseAlg HS512 needs ClientSecret to have 64 bytes or more", func(c *oidcrp.Config) {
		c.ClientSecret, c.Registration.IDTokenSignedResponseAlg = strings.Repeat("s", 63), "HS512"
	}},
	{`Registration.UserInfoSignedResponseAlg "none" is not supported`,
		func(c *oidcrp.Config) { c.Registration.UserInfoSignedResponseAlg = "none" }},
	{"Registration.UserInfoSignedResponseAlg HS384 needs ClientSecret to have 48 bytes or more", func(c *oidcrp.Config) {
		c.ClientSecret, c.Registration.UserInfoSignedResponseAlg = strings.Repeat("s", 47), "HS384"
	}},
	{"Registration.TokenEndpointAuthMethod HS256 needs ClientSecret to have 32 bytes or more", func(c *oidcrp.Config) {
		c.ClientSecret, c.Registration.TokenEndpointAuthMethod = "short", "client_secret_jwt"
	}},
	{`Registration.TokenEndpointAuthSigningAlg "RS256" cannot be used: client_secret_jwt is signed with HS256, HS384 or HS512`,
		func(c *oidcrp.Config) {
			c.Registration.TokenEndpointAuthMethod, c.Registration.TokenEndpointAuthSigningAlg = "client_secret_jwt", "RS256"
		}},
	{`Registration.TokenEndpointAuthSigningAlg "RS256" cannot be used: none of ClientKeys signs with that algorithm`,
		func(c *oidcrp.Config) {
			c.Registration.TokenEndpointAuthMethod, c.Registration.TokenEndpointAuthSigningAlg = "private_key_jwt", "RS256"
			c.Registration.ClientKeys = []jose.JSONWebKey{{Key: testKeys().P256}}
		}},

	{"Registration.ClientCertificates is empty, and tls_client_auth needs a certificate",
		func(c *oidcrp.Config) { c.Registration.TokenEndpointAuthMethod = "tls_client_auth" }},
	{"Registration.ClientCertificates [0] lacks its certificate or its private key",
		func(c *oidcrp.Config) { c.Registration.ClientCertificates = make([]tls.Certificate, 1) }},
	{"Registration.ClientCertificates [0] cannot be read", func(c *oidcrp.Config) {
		c.Registration.ClientCertificates = []tls.Certificate{{PrivateKey: testKeys().P256, Certificate: [][]byte{{1}}}}
	}},
	{`Registration.IDTokenEncryptedResponseAlg "RSA1_5" is not supported`,
		func(c *oidcrp.Config) { c.Registration.IDTokenEncryptedResponseAlg = "RSA1_5" }},
	{"Registration.IDTokenEncryptedResponseAlg RSA-OAEP needs a key that fits it in Registration.ClientKeys", func(c *oidcrp.Config) {
		c.Registration.IDTokenEncryptedResponseAlg = "RSA-OAEP"
		c.Registration.ClientKeys = []jose.JSONWebKey{{Key: testKeys().P256}, {Key: testKeys().RSA, Use: "sig"}}
	}},
	{"Registration.IDTokenEncryptedResponseEnc is set without an Alg",
		func(c *oidcrp.Config) { c.Registration.IDTokenEncryptedResponseEnc = "A128GCM" }},
	{`Registration.UserInfoEncryptedResponseAlg "PBES2-HS256+A128KW" is not supported`,
		func(c *oidcrp.Config) { c.Registration.UserInfoEncryptedResponseAlg = "PBES2-HS256+A128KW" }},
	{`Registration.UserInfoEncryptedResponseEnc "A128CTR" is not supported`, func(c *oidcrp.Config) {
		c.Registration.UserInfoEncryptedResponseAlg, c.Registration.UserInfoEncryptedResponseEnc = "dir", "A128CTR"
	}},
	{"Registration.UserInfoEncryptedResponseAlg dir needs ClientSecret", func(c *oidcrp.Config) {
		c.ClientSecret, c.Registration.TokenEndpointAuthMethod, c.Registration.UserInfoEncryptedResponseAlg = "", "none", "dir"
	}},

	{`Provider.LogoutTokenSigningAlg "none" is not supported`,
		func(c *oidcrp.Config) { c.Provider.LogoutTokenSigningAlg = "none" }},
	{"Provider.ClockSkew -1s must be between 0 and 5 minutes", func(c *oidcrp.Config) { c.Provider.ClockSkew = -time.Second }},
	{"Provider.ClockSkew 5m0.000000001s must be between 0 and 5 minutes",
		func(c *oidcrp.Config) { c.Provider.ClockSkew = 5*time.Minute + 1 }},
	{"Provider.Timeout -1ns is negative", func(c *oidcrp.Config) { c.Provider.Timeout = -1 }},
	{"Provider.RootCAs and Provider.Transport are both set: put the RootCAs into the Transport", func(c *oidcrp.Config) {
		c.Provider.RootCAs, c.Provider.Transport = x509.NewCertPool(), http.DefaultTransport
	}},
	{"Provider.Metadata cannot be used: token_endpoint is missing", func(c *oidcrp.Config) {
		c.Provider.Metadata = soundMetadata(func(m *oidcrp.Metadata) { m.TokenEndpoint = "" })
	}},
	{`Provider.Metadata cannot be used: issuer is "https://op.example/", not "https://op.example"`, func(c *oidcrp.Config) {
		c.Provider.Metadata = soundMetadata(func(m *oidcrp.Metadata) { m.Issuer += "/" })
	}},

	{"CookieKeys is empty: give at least one key of 32 random bytes, with Keys or KeyFile",
		func(c *oidcrp.Config) { c.CookieKeys = nil }},
	{"CookieKeys has no key: give at least one of 32 random bytes", func(c *oidcrp.Config) { c.CookieKeys = oidcrp.Keys() }},
	{"CookieKeys key 2 has 31 bytes: a key is 32 random bytes",
		func(c *oidcrp.Config) { c.CookieKeys = oidcrp.Keys(testKey(1), testKey(2)[:31]) }},
	{"Sessions.Lifetime -1ns is negative", func(c *oidcrp.Config) { c.Sessions.Lifetime = -1 }},
	{"Sessions.IdleTimeout -1ns is negative", func(c *oidcrp.Config) { c.Sessions.IdleTimeout = -1 }},
	{"Sessions.StoreTimeout -1ns is negative", func(c *oidcrp.Config) { c.Sessions.StoreTimeout = -1 }},
	{"Tokens.RefreshBefore -1s is negative", func(c *oidcrp.Config) { c.Tokens.RefreshBefore = -time.Second }},
	{"Tokens.RevokeAtLogout needs Tokens.Keep", func(c *oidcrp.Config) { c.Tokens.RevokeAtLogout = true }},
	{"Tokens.RefreshBefore needs Tokens.Keep", func(c *oidcrp.Config) { c.Tokens.RefreshBefore = time.Second }},
	{"Tokens.RefreshFailure 7 is not known", func(c *oidcrp.Config) { c.Tokens.RefreshFailure = 7 }},

	{`Login.Prompt holds "logn": do you mean "login"?`,
		func(c *oidcrp.Config) { c.Login.Prompt = "logn" }},
	{`Login.Prompt holds "None": do you mean "none"?`, func(c *oidcrp.Config) { c.Login.Prompt = "None" }},
	{`Login.Prompt "none" cannot be combined with others`, func(c *oidcrp.Config) { c.Login.Prompt = "none own_value" }},
	{`Login.Prompt holds "say\"so": a value is at most 64 characters of printable ASCII without quotes and backslashes`,
		func(c *oidcrp.Config) { c.Login.Prompt = `say"so` }},
	{`Login.Prompt holds "é": a value is at most 64 characters of printable ASCII without quotes and backslashes`, func(c *oidcrp.Config) { c.Login.Prompt = "é" }},
	{`Login.Prompt holds "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…": a value is at most 64 characters of printable ASCII without quotes and backslashes`,
		func(c *oidcrp.Config) { c.Login.Prompt = strings.Repeat("a", 65) }},
	{`Login.Prompt has 6 values, at most 5`, func(c *oidcrp.Config) { c.Login.Prompt = "a1 b2 c3 d4 e5 f6" }},
	{`Login.Scopes is set: put the scopes of every login into Scopes`, func(c *oidcrp.Config) { c.Login.Scopes = []string{"a"} }},
	{`Login.RequireACR holds "eidas2 eidas3": give each value by itself, without spaces`,
		func(c *oidcrp.Config) { c.Login.RequireACR = []string{"eidas2 eidas3"} }},
	{`Login.RequireACR holds "": give each value by itself, without spaces`,
		func(c *oidcrp.Config) { c.Login.RequireACR = []string{"eidas2", ""} }},
	{`Login.ACRValues holds "": give each value by itself, without spaces`,
		func(c *oidcrp.Config) { c.Login.ACRValues = []string{""} }},
	{`Login.Claims holds an essential acr with an empty value, which a session without acr would have`, func(c *oidcrp.Config) {
		acr := &oidcrp.ClaimRequest{Essential: true, Values: []any{"eidas2", ""}}
		c.Login.Claims = &oidcrp.ClaimsRequest{IDToken: map[string]*oidcrp.ClaimRequest{"acr": acr}}
	}},
	{`Login.Extra holds "nonce", which this package sends itself`, func(c *oidcrp.Config) {
		c.Login.Extra = url.Values{"state": {"x"}, "nonce": {"x"}, "scope": {"x"}}
	}},
	{`Pages.Texts["DE"] is not a lower-case language tag, such as "de"`, func(c *oidcrp.Config) {
		c.Pages.Texts = map[string]map[string]string{"DE": {"home": "Start"}}
	}},
}

func TestNew_NamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, tt := range wrongConfigs {
		_, err := oidcrp.New(soundConfig(tt.change))
		if err == nil {
			t.Errorf("no error, want: %s", tt.want)
			continue
		}
		if got := wantCode(t, err, oidcrp.CodeConfigInvalid).Err.Error(); got != tt.want {
			t.Errorf("error is\n%s\nwant\n%s", got, tt.want)
		}
	}
	if _, err := oidcrp.New(soundConfig(nil)); err != nil {
		t.Errorf("the configuration that the mistakes are made in: %v", err)
	}
}

// Of several keys of which one is wrong, those that sign are looked for all the
// same.
func TestNew_LooksForAKeyThatSigns(t *testing.T) {
	t.Parallel()
	const none = `Registration.TokenEndpointAuthSigningAlg "" cannot be used: none of ClientKeys signs with that algorithm`
	for _, tt := range []struct {
		want string
		keys []jose.JSONWebKey
	}{
		{none, []jose.JSONWebKey{{Key: testKeys().P256, Use: "enc"}, {Key: testKeys().RSA, Algorithm: "RSA-OAEP"}}},
		{"Registration.ClientKeys [0] is not a private key\n" + none, []jose.JSONWebKey{{Key: testKey(1), Algorithm: "HS256"}}},
	} {
		_, err := oidcrp.New(soundConfig(func(c *oidcrp.Config) {
			c.Registration.TokenEndpointAuthMethod, c.Registration.ClientKeys = "private_key_jwt", tt.keys
		}))
		if got := wantCode(t, err, oidcrp.CodeConfigInvalid).Err.Error(); got != tt.want {
			t.Errorf("error is\n%s\nwant\n%s", got, tt.want)
		}
	}
}

func TestNew_ReportsEveryMistakeInOneOrder(t *testing.T) {
	t.Parallel()
	const want = "oidcrp: config: config_invalid: Issuer is empty\n" +
		"BaseURL is empty\n" +
		`PathPrefix "auth"` + wantPrefix + "\n" +
		"ClientID is empty\n" +
		"ClientSecret is empty (for a public client, set Registration.TokenEndpointAuthMethod to \"none\")\n" +
		"Registration.IDTokenSignedResponseAlg HS256 needs ClientSecret to have 32 bytes or more\n" +
		"CookieKeys is empty: give at least one key of 32 random bytes, with Keys or KeyFile\n" +
		`Login.Extra holds "claims", which this package sends itself`
	for range 20 {
		_, err := oidcrp.New(oidcrp.Config{
			PathPrefix:   "auth",
			Registration: oidcrp.Registration{IDTokenSignedResponseAlg: "HS256"},
			Login:        oidcrp.AuthOptions{Extra: url.Values{"state": nil, "claims": nil, "scope": nil, "nonce": nil}},
		})
		if err == nil || err.Error() != want {
			t.Fatalf("error is\n%v\nwant\n%s", err, want)
		}
	}
}

func TestNew_NoErrorHoldsASecret(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t-s3cr3t"
	for _, tt := range wrongConfigs {
		_, err := oidcrp.New(soundConfig(func(c *oidcrp.Config) {
			c.ClientSecret = secret + strings.Repeat("x", 19)
			tt.change(c)
			if c.CookieKeys != nil {
				c.CookieKeys = oidcrp.Keys([]byte(secret+strings.Repeat("x", 19)), []byte(secret))
			}
		}))
		for _, verb := range printVerbs {
			if got := fmt.Sprintf(verb, err); strings.Contains(got, secret) {
				t.Errorf("%s: the secret is in %s", tt.want, got)
			}
		}
	}
}

// What stands before the @ of a URL is often a password.
func TestNew_NoErrorHoldsTheUserOfAURL(t *testing.T) {
	t.Parallel()
	const user = "u53r:p455word"
	for field, set := range map[string]func(*oidcrp.Config) *string{
		"Issuer":                             func(c *oidcrp.Config) *string { return &c.Issuer },
		"BaseURL":                            func(c *oidcrp.Config) *string { return &c.BaseURL },
		"Registration.RedirectURI":           func(c *oidcrp.Config) *string { return &c.Registration.RedirectURI },
		"Registration.PostLogoutRedirectURI": func(c *oidcrp.Config) *string { return &c.Registration.PostLogoutRedirectURI },
		"Registration.JWKSURI":               func(c *oidcrp.Config) *string { return &c.Registration.JWKSURI },
	} {
		for _, raw := range []string{
			"https://" + user + "@app.example/page", "http://" + user + "@app.example", "https://" + user + "@app.example/page#part",
			"//" + user + "@app.example", user + "@app.example", "https://" + user + "@app.example/%zz", "https://" + user + "@",
			"https://" + user + "@app.example/.well-known/openid-configuration",
		} {
			_, err := oidcrp.New(soundConfig(func(c *oidcrp.Config) { *set(c) = raw }))
			e := wantCode(t, err, oidcrp.CodeConfigInvalid)
			if text := e.Error(); !strings.Contains(text, field+` "…@`) || strings.Contains(text, "u53r") || strings.Contains(text, "p455") {
				t.Errorf("%s %q: error is %s", field, raw, text)
			}
		}
	}
}

func TestNew_PlainHTTPIsForLoopbackHostsOnly(t *testing.T) {
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
		for name, change := range map[string]func(*oidcrp.Config){
			"Issuer":  func(c *oidcrp.Config) { c.Issuer = "http://" + tt.host },
			"BaseURL": func(c *oidcrp.Config) { c.BaseURL = "http://" + tt.host },
		} {
			_, err := oidcrp.New(soundConfig(change))
			if ok := err == nil; ok != tt.ok {
				t.Errorf("http://%s as %s: %v", tt.host, name, err)
			}
			if want := fmt.Sprintf("%s %q", name, "http://"+tt.host) + wantHTTPS; err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("http://%s as %s: %v, want %s", tt.host, name, err, want)
			}
		}
		https := func(c *oidcrp.Config) { c.Issuer, c.BaseURL = "https://"+tt.host, "https://"+tt.host }
		if _, err := oidcrp.New(soundConfig(https)); err != nil {
			t.Errorf("https://%s: %v", tt.host, err)
		}
	}
}

func TestNew_RefusesCertificatesThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	sound := certificateFor(t, testKeys().P256, "the client")
	for _, tt := range []struct {
		want        string
		certificate tls.Certificate
		transport   http.RoundTripper
	}{
		{"[0] lacks its certificate or its private key", tls.Certificate{Certificate: sound.Certificate}, nil},
		{"[0] lacks its certificate or its private key", tls.Certificate{PrivateKey: sound.PrivateKey}, nil},
		{"[0] cannot be read", tls.Certificate{Certificate: [][]byte{{1}}, PrivateKey: sound.PrivateKey}, nil},
		{"[0] does not belong to its private key", tls.Certificate{Certificate: sound.Certificate, PrivateKey: testKeys().Other}, nil},
		{"[0] does not belong to its private key", tls.Certificate{Certificate: sound.Certificate, PrivateKey: "not a key"}, nil},
		{"Provider.Transport must be an *http.Transport to present ClientCertificates", sound, roundTripper(nil)},
	} {
		_, err := oidcrp.New(soundConfig(func(c *oidcrp.Config) {
			c.ClientSecret, c.Registration.TokenEndpointAuthMethod = "", "tls_client_auth"
			c.Registration.ClientCertificates = []tls.Certificate{tt.certificate}
			c.Provider.Transport = tt.transport
		}))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error is %v, want %s", err, tt.want)
		}
	}
}

// refuseMaxAge is a Validate of a provider where max_age proves nothing.
func refuseMaxAge(cfg oidcrp.Config, requirements ...oidcrp.Requirement) error {
	var problems []error
	if slices.Contains(cfg.Login.ACRValues, "retired") {
		problems = append(problems, errors.New("ACRValues holds a retired level"))
	}
	for _, requirement := range requirements {
		if strings.HasPrefix(requirement.Name, "max_age") {
			problems = append(problems, fmt.Errorf("%s proves nothing here", requirement.Name))
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return &oidcrp.Error{Op: "config", Code: oidcrp.CodeConfigInvalid, Err: errors.Join(problems...)}
}

func TestValidate_IsReportedBesideTheOtherMistakes(t *testing.T) {
	t.Parallel()
	type rule = func(oidcrp.Config, ...oidcrp.Requirement) error
	plain := errors.New("not here")
	for _, tt := range []struct {
		name string
		rule rule
		want string // beside ClientID's
	}{
		{"an error of the configuration", refuseMaxAge, "\nACRValues holds a retired level"},
		{"any error", func(oidcrp.Config, ...oidcrp.Requirement) error { return plain }, "\nnot here"},
		{"an Error with another code", func(oidcrp.Config, ...oidcrp.Requirement) error {
			return &oidcrp.Error{Op: "check", Code: oidcrp.CodeInternal, Err: plain}
		}, "\noidcrp: check: internal: not here"},
		{"nothing", func(oidcrp.Config, ...oidcrp.Requirement) error { return nil }, ""},
	} {
		_, err := oidcrp.New(soundConfig(func(c *oidcrp.Config) {
			c.ClientID, c.Login.ACRValues, c.Validate = "", []string{"retired"}, tt.rule
		}))
		if want := "oidcrp: config: config_invalid: ClientID is empty" + tt.want; err == nil || err.Error() != want {
			t.Errorf("%s: error is\n%v\nwant\n%s", tt.name, err, want)
		}
		if e := new(oidcrp.Error); !errors.As(err, &e) || e.Code != oidcrp.CodeConfigInvalid {
			t.Errorf("%s: the first code of %v is not that of the configuration", tt.name, err)
		}
	}
	_, err := oidcrp.New(soundConfig(func(c *oidcrp.Config) {
		c.Login.ACRValues, c.Validate = []string{"retired"}, refuseMaxAge
	}))
	if want := "oidcrp: config: config_invalid: ACRValues holds a retired level"; err == nil || err.Error() != want {
		t.Errorf("with nothing else wrong: %v, want %s", err, want)
	}
}

func TestValidate_SeesTheConfigAsItWillBeUsed(t *testing.T) {
	t.Parallel()
	var seen []oidcrp.Config
	c := mustNew(t, func(cfg *oidcrp.Config) {
		cfg.Scopes = []string{"email"}
		cfg.Validate = func(cfg oidcrp.Config, requirements ...oidcrp.Requirement) error {
			if len(requirements) > 0 {
				t.Errorf("requirements that no route has: %v", requirements)
			}
			seen = append(seen, cfg)
			return nil
		}
	})
	c.RequireLogin(http.NotFoundHandler()) // nothing new to validate
	if len(seen) != 1 || !slices.Equal(seen[0].Scopes, []string{"openid", "email"}) ||
		seen[0].Registration.RedirectURI != "https://app.example/auth/callback" || seen[0].Sessions.Lifetime != 12*time.Hour {
		t.Errorf("Validate has seen %+v", seen)
	}
}

func TestValidate_ARouteWithARequirementThatItRefusesPanics(t *testing.T) {
	t.Parallel()
	c := mustNew(t, func(cfg *oidcrp.Config) { cfg.Validate = refuseMaxAge })
	c.Require(oidcrp.ACR("eidas2"), oidcrp.Claim("roles", "admin"))
	defer func() {
		const want = "oidcrp: Require: max_age 1m0s proves nothing here"
		if p := recover(); p != want {
			t.Errorf("panic: %v, want %s", p, want)
		}
	}()
	c.Require(oidcrp.ACR("eidas2"), oidcrp.MaxAge(time.Minute))
}

// printVerbs are the verbs with which values are printed.
var printVerbs = []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"}

// printed returns what becomes of v when it is printed, encoded and logged, by
// itself and inside other values.
func printed(t *testing.T, v any) map[string]string {
	t.Helper()
	pointer := reflect.New(reflect.TypeOf(v))
	pointer.Elem().Set(reflect.ValueOf(v))
	texts := make(map[string]string)
	for where, v := range map[string]any{
		"itself": v, "a pointer": pointer.Interface(), "a struct": struct{ Inside any }{v},
		"a pointer in a struct": &struct{ Inside any }{pointer.Interface()},
		"a slice":               []any{v}, "a map": map[string]any{"inside": v},
	} {
		for _, verb := range printVerbs {
			if _, ok := pointer.Interface().(fmt.Formatter); !ok && strings.HasPrefix(where, "a pointer in") && strings.Contains("%s %q", verb) {
				continue // no verb for such a pointer: fmt then calls no method of what is inside
			}
			texts[where+" by "+verb] = fmt.Sprintf(verb, v)
		}
		encoded, err := json.Marshal(v)
		if err != nil {
			t.Errorf("%s cannot be encoded: %v", where, err)
		}
		texts[where+" as JSON"] = string(encoded)
		for name, handler := range map[string]func(io.Writer) slog.Handler{
			"text": func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) },
			"JSON": func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
		} {
			var b strings.Builder
			slog.New(handler(&b)).With("with", v).Info("message", "value", v, slog.Group("group", "value", v))
			texts[where+" by slog as "+name] = b.String()
		}
	}
	return texts
}

// spellings are how bytes may look in a text.
func spellings(secret []byte) map[string]string {
	some := secret[:min(len(secret), 12)]
	list := make([]string, len(some))
	for i, b := range some {
		list[i] = fmt.Sprintf("0x%x", b)
	}
	return map[string]string{
		"text":             string(secret),
		"a list":           strings.Trim(fmt.Sprint(some), "[]"),
		"a list in Go":     strings.Join(list, ", "),
		"hexadecimal":      fmt.Sprintf("%x", some),
		"a number":         new(big.Int).SetBytes(secret).String(),
		"base64":           base64.RawStdEncoding.EncodeToString(some),
		"base64, URL-safe": base64.RawURLEncoding.EncodeToString(some),
	}
}

// wantNoneOf fails the test if one of the texts holds one of the secrets.
func wantNoneOf(t *testing.T, texts map[string]string, secrets map[string][]byte) {
	t.Helper()
	for where, text := range texts {
		for what, secret := range secrets {
			for form, spelt := range spellings(secret) {
				if strings.Contains(text, spelt) {
					t.Errorf("%s shows %s as %s:\n%.2000s", where, what, form, text)
				}
			}
		}
	}
}

// randomKey returns a cookie key that no other text holds by chance.
func randomKey() []byte {
	key := make([]byte, 32)
	rand.Read(key)
	return key
}

// scalar returns the private number of an elliptic key.
func scalar(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	b, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// secretConfig returns a Config with a secret of each kind, and these secrets.
func secretConfig(t *testing.T) (oidcrp.Config, map[string][]byte) {
	t.Helper()
	keys, cookieKey := testKeys(), randomKey()
	cfg := soundConfig(func(c *oidcrp.Config) {
		c.ClientSecret = "s3cr3t-of-the-client-with-32-bytes"
		c.CookieKeys = oidcrp.Keys(cookieKey)
		c.Registration.ClientKeys = []jose.JSONWebKey{{Key: keys.RSA}, {Key: keys.P256}, {Key: keys.Ed}}
		c.Registration.ClientCertificates = []tls.Certificate{certificateFor(t, keys.P384, "the client")}
	})
	return cfg, map[string][]byte{
		"the client secret":          []byte(cfg.ClientSecret),
		"a cookie key":               cookieKey,
		"an RSA key":                 keys.RSA.D.Bytes(),
		"a prime":                    keys.RSA.Primes[0].Bytes(),
		"an EC key":                  scalar(t, keys.P256),
		"an Ed25519 key":             keys.Ed.Seed(),
		"the key of the certificate": scalar(t, keys.P384),
	}
}

func TestConfig_ShowsNoSecret(t *testing.T) {
	t.Parallel()
	cfg, secrets := secretConfig(t)
	for _, v := range []any{
		cfg, cfg.Registration, cfg.CookieKeys,
		struct {
			OIDC         oidcrp.Config
			Pointer      *oidcrp.Config
			Registration *oidcrp.Registration
			Keys         oidcrp.KeySource
		}{cfg, &cfg, &cfg.Registration, cfg.CookieKeys},
		[]oidcrp.Config{cfg}, map[string]oidcrp.Registration{"one": cfg.Registration},
	} {
		wantNoneOf(t, printed(t, v), secrets)
	}
	for _, text := range []string{fmt.Sprintf("%+v", cfg), fmt.Sprintf("%#v", &cfg)} {
		for _, want := range []string{cfg.Issuer, cfg.ClientID, cfg.BaseURL, "hidden"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not say %s", text, want)
			}
		}
	}
	cfg.ClientSecret = ""
	if text := fmt.Sprint(cfg); strings.Contains(text, "hidden") {
		t.Errorf("without a secret: %s", text)
	}
}

// What stands before the @ of a URL is often a password, and a Config may be printed
// before New has refused it.
func TestConfig_ShowsNoUserOfAURL(t *testing.T) {
	t.Parallel()
	for field, set := range map[string]func(*oidcrp.Config) *string{
		"Issuer":           func(c *oidcrp.Config) *string { return &c.Issuer },
		"BaseURL":          func(c *oidcrp.Config) *string { return &c.BaseURL },
		"RedirectURI":      func(c *oidcrp.Config) *string { return &c.Registration.RedirectURI },
		"InitiateLoginURI": func(c *oidcrp.Config) *string { return &c.Registration.InitiateLoginURI },
		"JWKSURI":          func(c *oidcrp.Config) *string { return &c.Registration.JWKSURI },
	} {
		for _, rest := range []string{"host.example/page", "host.example/%zz", ""} {
			cfg := soundConfig(nil)
			*set(&cfg) = "https://u53r:p455word@" + rest
			texts := printed(t, cfg)
			wantNoneOf(t, texts, map[string][]byte{"the user": []byte("u53r"), "the password": []byte("p455word")})
			if text := fmt.Sprintf("%+v", cfg); !strings.Contains(text, "…@"+rest) {
				t.Errorf("%s: %s does not show the rest of the URL", field, text)
			}
		}
	}
}

// A Config that came out of New's hands, with its defaults filled in, is what
// Validate gets.
func TestConfig_ShowsNoSecretInValidate(t *testing.T) {
	t.Parallel()
	cfg, secrets := secretConfig(t)
	var texts map[string]string
	cfg.Validate = func(cfg oidcrp.Config, _ ...oidcrp.Requirement) error {
		cfg.Validate = nil
		texts = printed(t, cfg)
		return nil
	}
	if _, err := oidcrp.New(cfg); err != nil {
		t.Fatal(err)
	}
	if len(texts) == 0 {
		t.Error("Validate was not called")
	}
	wantNoneOf(t, texts, secrets)
}

// shownFields are the fields of a Config whose text is shown: each other one, a new
// one included, is taken for a secret by TestSecrets_NothingShowsOne.
var shownFields = strings.Fields(`Issuer ClientID BaseURL PathPrefix Scopes ResponseMode TrustedOrigins KeepClaims RefreshScopes
	RedirectURI PostLogoutRedirectURI InitiateLoginURI BackchannelLogoutURI FrontchannelLogoutURI JWKSURI
	TokenEndpointAuthMethod TokenEndpointAuthSigningAlg IDTokenSignedResponseAlg UserInfoSignedResponseAlg
	IDTokenEncryptedResponseAlg IDTokenEncryptedResponseEnc UserInfoEncryptedResponseAlg UserInfoEncryptedResponseEnc`)

// fillSecrets sets every text that v reaches to a secret, and returns the secrets by
// their place.
func fillSecrets(v reflect.Value, place string, secrets map[string][]byte) {
	switch v.Kind() {
	case reflect.String:
		secret := "s3cr3t-" + hex.EncodeToString(randomKey()[:8])
		secrets[place] = []byte(secret)
		v.SetString(secret)
	case reflect.Pointer:
		if v.IsNil() && v.Type().Elem().PkgPath() == reflect.TypeFor[oidcrp.Config]().PkgPath() {
			v.Set(reflect.New(v.Type().Elem()))
			fillSecrets(v.Elem(), place, secrets)
		}
	case reflect.Slice:
		if kind := v.Type().Elem().Kind(); kind == reflect.String {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			fillSecrets(v.Index(0), place, secrets)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		element := reflect.New(v.Type().Elem()).Elem()
		fillSecrets(element, place, secrets)
		v.SetMapIndex(reflect.ValueOf("key"), element)
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && !slices.Contains(shownFields, f.Name) {
				fillSecrets(v.Field(i), place+"."+f.Name, secrets)
			}
		}
	}
}

// Everything that an app may print or log, with a secret wherever one fits. A new
// field of the Config is filled without a word here.
func TestSecrets_NothingShowsOne(t *testing.T) {
	t.Parallel()
	cfg, secrets := secretConfig(t)
	fillSecrets(reflect.ValueOf(&cfg).Elem(), "Config", secrets)
	if _, ok := secrets["Config.ClientSecret"]; !ok || len(secrets) < 20 {
		t.Fatalf("the places filled are %q", slices.Sorted(maps.Keys(secrets)))
	}
	for _, v := range []any{cfg, &cfg, cfg.Registration, &cfg.Registration, cfg.CookieKeys} {
		wantNoneOf(t, printed(t, v), secrets)
	}

	sound, clientSecrets := secretConfig(t)
	sound.Login.IDTokenHint, sound.Login.Extra = "hint-that-is-an-id-token", url.Values{"x": {"extra-of-the-provider"}}
	clientSecrets["the hint"], clientSecrets["an extra"] = []byte(sound.Login.IDTokenHint), []byte("extra-of-the-provider")
	client, err := oidcrp.New(sound)
	if err != nil {
		t.Fatal(err)
	}
	wantNoneOf(t, printed(t, client), clientSecrets)
	wantNoneOf(t, printed(t, client.Registration()), clientSecrets)

	app := newTestApp(t, setup{config: func(c *oidcrp.Config) { c.Tokens.Keep = true }})
	s := app.sessionOf(t, app.signIn(t))
	wantNoneOf(t, printed(t, s), map[string][]byte{
		"the access token": []byte(s.Token().AccessToken), "the refresh token": []byte(s.Token().RefreshToken),
		"the ID Token": []byte(s.IDToken()),
		"an address":   []byte("alice@example.org"), "the sid": []byte(s.SID()),
	})
	sound.BaseURL = ""
	_, err = oidcrp.New(sound)
	wantNoneOf(t, printed(t, err), clientSecrets)
}
