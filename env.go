package oidcrp

// This file makes a Config from the environment.

import (
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/oidcrp/oidcrp/internal/seal"
)

// An envVar is an environment variable of [ConfigFromEnv]: the field that it
// sets, as errors name it, and how.
type envVar struct {
	field string
	set   func(cfg *Config, value string) error
}

// text makes an envVar of a field that holds text.
func text(field string, of func(*Config) *string) envVar {
	return envVar{field, func(c *Config, v string) error { *of(c) = v; return nil }}
}

var envVars = map[string]envVar{
	"OIDC_ISSUER":        text("Issuer", func(c *Config) *string { return &c.Issuer }),
	"OIDC_CLIENT_ID":     text("ClientID", func(c *Config) *string { return &c.ClientID }),
	"OIDC_CLIENT_SECRET": text("ClientSecret", func(c *Config) *string { return &c.ClientSecret }),
	"OIDC_BASE_URL":      text("BaseURL", func(c *Config) *string { return &c.BaseURL }),
	"OIDC_REDIRECT_URI": text("Registration.RedirectURI",
		func(c *Config) *string { return &c.Registration.RedirectURI }),
	"OIDC_POST_LOGOUT_REDIRECT_URI": text("Registration.PostLogoutRedirectURI",
		func(c *Config) *string { return &c.Registration.PostLogoutRedirectURI }),
	"OIDC_TRUSTED_ORIGINS": {"TrustedOrigins",
		func(c *Config, v string) error { c.TrustedOrigins = splitList(v); return nil }},
	"OIDC_SCOPES": {"Scopes", func(c *Config, v string) error { c.Scopes = strings.Fields(v); return nil }},
	"OIDC_CLIENT_AUTH": text("Registration.TokenEndpointAuthMethod",
		func(c *Config) *string { return &c.Registration.TokenEndpointAuthMethod }),
	"OIDC_CLIENT_AUTH_SIGNING_ALG": text("Registration.TokenEndpointAuthSigningAlg",
		func(c *Config) *string { return &c.Registration.TokenEndpointAuthSigningAlg }),
	"OIDC_CLIENT_KEY_FILE":  {"Registration.ClientKeys", readClientKeys},
	"OIDC_CLIENT_CERT_FILE": {"Registration.ClientCertificates", readClientCertificate},
	"OIDC_ID_TOKEN_SIGNED_RESPONSE_ALG": text("Registration.IDTokenSignedResponseAlg",
		func(c *Config) *string { return &c.Registration.IDTokenSignedResponseAlg }),
	"OIDC_ID_TOKEN_ENCRYPTED_RESPONSE_ALG": text("Registration.IDTokenEncryptedResponseAlg",
		func(c *Config) *string { return &c.Registration.IDTokenEncryptedResponseAlg }),
	"OIDC_ID_TOKEN_ENCRYPTED_RESPONSE_ENC": text("Registration.IDTokenEncryptedResponseEnc",
		func(c *Config) *string { return &c.Registration.IDTokenEncryptedResponseEnc }),
	"OIDC_USERINFO_SIGNED_RESPONSE_ALG": text("Registration.UserInfoSignedResponseAlg",
		func(c *Config) *string { return &c.Registration.UserInfoSignedResponseAlg }),
	"OIDC_USERINFO_ENCRYPTED_RESPONSE_ALG": text("Registration.UserInfoEncryptedResponseAlg",
		func(c *Config) *string { return &c.Registration.UserInfoEncryptedResponseAlg }),
	"OIDC_USERINFO_ENCRYPTED_RESPONSE_ENC": text("Registration.UserInfoEncryptedResponseEnc",
		func(c *Config) *string { return &c.Registration.UserInfoEncryptedResponseEnc }),
	"OIDC_METADATA_URL": text("Provider.MetadataURL", func(c *Config) *string { return &c.Provider.MetadataURL }),
	"OIDC_JWKS_FILE":    {"Provider.JWKS", readJWKS},
	"OIDC_ACCEPTED_ISSUERS": {"Provider.AcceptedIssuers",
		func(c *Config, v string) error { c.Provider.AcceptedIssuers = splitList(v); return nil }},
	"OIDC_TRUSTED_AUDIENCES": {"Provider.TrustedAudiences",
		func(c *Config, v string) error { c.Provider.TrustedAudiences = splitList(v); return nil }},
	"OIDC_NO_PKCE": {"Provider.NoPKCE",
		func(c *Config, v string) (err error) { c.Provider.NoPKCE, err = parseBool(v); return err }},
	"OIDC_NO_USERINFO": {"Provider.NoUserInfo",
		func(c *Config, v string) (err error) { c.Provider.NoUserInfo, err = parseBool(v); return err }},
	"OIDC_CLIENT_ASSERTION_AUDIENCE": text("Provider.AssertionAudience",
		func(c *Config) *string { return &c.Provider.AssertionAudience }),
	"OIDC_CLIENT_ASSERTION_THUMBPRINT": {"Provider.AssertionThumbprint",
		func(c *Config, v string) (err error) {
			c.Provider.AssertionThumbprint, err = parseBool(v)
			return err
		}},
	"OIDC_PUSHED_AUTHORIZATION_REQUESTS": {"Registration.RequirePushedAuthorizationRequests",
		func(c *Config, v string) (err error) {
			c.Registration.RequirePushedAuthorizationRequests, err = parseBool(v)
			return err
		}},
	"OIDC_TOKEN_PARAMETERS": {"Tokens.Extra", readTokenParameters},
	"OIDC_REFRESH_SCOPES": {"Tokens.RefreshScopes",
		func(c *Config, v string) error { c.Tokens.RefreshScopes = strings.Fields(v); return nil }},
	"OIDC_ACR_VALUES": {"Login.ACRValues",
		func(c *Config, v string) error { c.Login.ACRValues = strings.Fields(v); return nil }},
	"OIDC_REQUIRE_ACR": {"Login.RequireACR",
		func(c *Config, v string) error { c.Login.RequireACR = strings.Fields(v); return nil }},
	"OIDC_USERINFO_TOKEN_IN_BODY": {"Provider.UserInfoTokenInBody",
		func(c *Config, v string) (err error) { c.Provider.UserInfoTokenInBody, err = parseBool(v); return err }},
	"OIDC_LOGOUT_WITHOUT_HINT": {"Provider.LogoutWithoutHint",
		func(c *Config, v string) (err error) { c.Provider.LogoutWithoutHint, err = parseBool(v); return err }},
	"OIDC_LOGOUT_HINT_REQUIRED": {"Provider.LogoutHintRequired",
		func(c *Config, v string) (err error) { c.Provider.LogoutHintRequired, err = parseBool(v); return err }},
	"OIDC_END_SESSION_URL": text("Provider.EndSessionURL", func(c *Config) *string { return &c.Provider.EndSessionURL }),
	"OIDC_REVOCATION_WITHOUT_HINT": {"Provider.RevocationWithoutHint",
		func(c *Config, v string) (err error) {
			c.Provider.RevocationWithoutHint, err = parseBool(v)
			return err
		}},
	"OIDC_FRONTCHANNEL_LOGOUT_WITHOUT_ISSUER": {"Provider.FrontchannelLogoutWithoutIssuer",
		func(c *Config, v string) (err error) {
			c.Provider.FrontchannelLogoutWithoutIssuer, err = parseBool(v)
			return err
		}},
	"OIDC_INSECURE_HTTP_HOSTS": {"Provider.InsecureHTTPHosts",
		func(c *Config, v string) error { c.Provider.InsecureHTTPHosts = splitList(v); return nil }},
	"OIDC_ALLOW_PRIVATE_NETWORK": {"Provider.AllowPrivateNetwork",
		func(c *Config, v string) (err error) { c.Provider.AllowPrivateNetwork, err = parseBool(v); return err }},
	"OIDC_LOGOUT_TOKEN_SIGNING_ALG": text("Provider.LogoutTokenSigningAlg",
		func(c *Config) *string { return &c.Provider.LogoutTokenSigningAlg }),
	"OIDC_RESPONSE_MODE":    text("ResponseMode", func(c *Config) *string { return &c.ResponseMode }),
	"OIDC_PROMPT":           text("Login.Prompt", func(c *Config) *string { return &c.Login.Prompt }),
	"OIDC_MAX_AGE":          {"Login.MaxAge", readMaxAge},
	"OIDC_PROVIDER_CA_FILE": {"Provider.RootCAs", readProviderCA},
	"OIDC_COOKIE_KEYS":      {"CookieKeys", readCookieKeys},
	"OIDC_COOKIE_KEYS_FILE": {"CookieKeys", readCookieKeysFile},
}

// variableOf returns the first variable, in alphabetical order, that sets a
// field; "" if none does.
func variableOf(field string) string {
	for _, name := range slices.Sorted(maps.Keys(envVars)) {
		if envVars[name].field == field {
			return name
		}
	}
	return ""
}

// ConfigFromEnv makes a [Config] from the environment: OIDC_ISSUER, OIDC_CLIENT_ID,
// OIDC_CLIENT_SECRET, OIDC_BASE_URL, OIDC_REDIRECT_URI, OIDC_POST_LOGOUT_REDIRECT_URI,
// OIDC_TRUSTED_ORIGINS (separated by spaces or commas), OIDC_SCOPES (separated by
// spaces), OIDC_CLIENT_AUTH (a token_endpoint_auth_method),
// OIDC_CLIENT_AUTH_SIGNING_ALG, OIDC_CLIENT_KEY_FILE (see [ParseClientKeys]),
// OIDC_CLIENT_CERT_FILE (see [ParseClientCertificate]),
// OIDC_ID_TOKEN_SIGNED_RESPONSE_ALG, OIDC_ID_TOKEN_ENCRYPTED_RESPONSE_ALG and _ENC,
// OIDC_USERINFO_SIGNED_RESPONSE_ALG, OIDC_USERINFO_ENCRYPTED_RESPONSE_ALG and _ENC,
// OIDC_METADATA_URL, OIDC_JWKS_FILE (a JWK Set), OIDC_ACCEPTED_ISSUERS and
// OIDC_TRUSTED_AUDIENCES (separated by spaces or commas), OIDC_NO_PKCE and
// OIDC_NO_USERINFO (1 or 0), OIDC_CLIENT_ASSERTION_AUDIENCE (issuer or token_endpoint),
// OIDC_CLIENT_ASSERTION_THUMBPRINT (1 or 0), OIDC_PUSHED_AUTHORIZATION_REQUESTS (1 or 0),
// OIDC_TOKEN_PARAMETERS (as in the query of a URL), OIDC_REFRESH_SCOPES, OIDC_ACR_VALUES
// and OIDC_REQUIRE_ACR (separated by spaces),
// OIDC_USERINFO_TOKEN_IN_BODY (1 or 0), OIDC_LOGOUT_WITHOUT_HINT (1 or 0),
// OIDC_LOGOUT_HINT_REQUIRED (1 or 0), OIDC_END_SESSION_URL, OIDC_REVOCATION_WITHOUT_HINT (1 or 0) and
// OIDC_FRONTCHANNEL_LOGOUT_WITHOUT_ISSUER (1 or 0; see [Provider]),
// OIDC_INSECURE_HTTP_HOSTS (separated by spaces or commas; see [Provider]),
// OIDC_LOGOUT_TOKEN_SIGNING_ALG, OIDC_RESPONSE_MODE, OIDC_PROMPT and OIDC_MAX_AGE
// (seconds), which every login then sends, OIDC_PROVIDER_CA_FILE (PEM certificates to
// trust for the provider, beside the system's), OIDC_ALLOW_PRIVATE_NETWORK (1 or 0; see
// [Provider]), OIDC_COOKIE_KEYS (32 bytes each as base64, separated by commas, newest
// first) or OIDC_COOKIE_KEYS_FILE (a file of such keys; see [KeyFile]).
//
// An empty variable counts as not set. A variable that starts with OIDC_ and is
// almost one of these is an error, since it is most likely misspelt. [New] logs any
// other, except those that Kubernetes sets for a Service named oidc.
//
// Errors are [*Error] with [CodeConfigInvalid]; they name every variable that is
// wrong, without its value, and include what New would find wrong with the others.
func ConfigFromEnv() (Config, error) {
	cfg := Config{fromEnv: true}
	var problems []error
	sound := make(map[string]bool) // fields that a variable set
	for _, entry := range slices.Sorted(slices.Values(os.Environ())) {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "OIDC_") || value == "" {
			continue
		}
		variable, ok := envVars[name]
		if !ok {
			if serviceLink.MatchString(name) {
				continue
			}
			if near := nearVariable(name); near != "" {
				problems = append(problems, fmt.Errorf("%s is not known: do you mean %s?", name, near))
			} else {
				cfg.unknownVars = append(cfg.unknownVars, name)
			}
			continue
		}
		err := variable.set(&cfg, value)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s %w", name, err))
		}
		sound[variable.field] = err == nil
	}
	if len(problems) > 0 {
		return Config{}, &Error{Op: "config", Code: CodeConfigInvalid,
			Err: errors.Join(append(problems, wrongFields(cfg, sound)...)...)}
	}
	return cfg, nil
}

// wrongFields returns what is wrong with some fields of cfg, so that the operator
// learns everything in one round. The app may still set the others.
func wrongFields(cfg Config, fields map[string]bool) []error {
	f := &findings{fromEnv: true, only: fields}
	normalize(&cfg, f)
	return f.problems
}

// serviceLink matches the variables that Kubernetes and Docker set for a Service named
// oidc, oidc-provider and the like.
var serviceLink = regexp.MustCompile(
	`^OIDC_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// nearVariable returns the variable that name most likely stands for, "" if there is
// none: one that differs by two characters, or by one word.
func nearVariable(name string) string {
	for _, known := range slices.Sorted(maps.Keys(envVars)) {
		if distance(name, known) <= 2 || oneWordApart(name, known) || oneWordApart(known, name) {
			return known
		}
	}
	return ""
}

// oneWordApart reports whether long is short with a word more.
func oneWordApart(long, short string) bool {
	words, others := strings.Split(long, "_"), strings.Split(short, "_")
	if len(words) != len(others)+1 {
		return false
	}
	for i := range words {
		if slices.Equal(slices.Delete(slices.Clone(words), i, i+1), others) {
			return true
		}
	}
	return false
}

func readCookieKeys(cfg *Config, value string) error {
	keys, err := parseCookieKeys(value)
	cfg.CookieKeys = Keys(keys...)
	return err
}

// readCookieKeysFile reads the file once, so that a mistake is reported at the
// start.
func readCookieKeysFile(cfg *Config, file string) error {
	if cfg.CookieKeys != nil { // variables are read in alphabetical order
		return errors.New("and OIDC_COOKIE_KEYS are both set: use one")
	}
	data, err := readFile(file)
	if err != nil {
		return err
	}
	keys, err := parseCookieKeys(string(data))
	if err == nil && len(keys) == 0 {
		err = errors.New("holds no key")
	}
	for i, key := range keys {
		if len(key) != seal.KeySize {
			err = fmt.Errorf("key %d has %d bytes, not %d", i+1, len(key), seal.KeySize)
		}
	}
	cfg.CookieKeys = KeyFile(file)
	return err
}

func readProviderCA(cfg *Config, file string) error {
	certificates, err := readFile(file)
	if err != nil {
		return err
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(certificates) {
		return errors.New("holds no PEM certificate")
	}
	cfg.Provider.RootCAs = roots
	return nil
}

func readJWKS(cfg *Config, file string) (err error) {
	cfg.Provider.JWKS, err = readFile(file)
	return err
}

// readTokenParameters reads parameters as in the query of a URL.
func readTokenParameters(cfg *Config, value string) (err error) {
	if cfg.Tokens.Extra, err = url.ParseQuery(value); err != nil { // whose text has the value
		return errors.New("is not a list of parameters such as resource=https%3A%2F%2Fapi.example&audience=api")
	}
	return nil
}

func readClientKeys(cfg *Config, file string) error {
	data, err := readFile(file)
	if err != nil {
		return err
	}
	cfg.Registration.ClientKeys, err = ParseClientKeys(data)
	return cause(err)
}

func readClientCertificate(cfg *Config, file string) error {
	data, err := readFile(file)
	if err != nil {
		return err
	}
	certificate, err := ParseClientCertificate(data)
	cfg.Registration.ClientCertificates = append(cfg.Registration.ClientCertificates, certificate)
	return cause(err)
}

// cause returns the Err of an [*Error], and any other error unchanged.
func cause(err error) error {
	if e, ok := err.(*Error); ok {
		return e.Err
	}
	return err
}

func readMaxAge(cfg *Config, value string) error {
	seconds, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		return errors.New("is not a number of seconds")
	}
	cfg.Login.MaxAge = new(time.Duration(seconds) * time.Second)
	return nil
}

// splitList splits a list at commas and white space.
func splitList(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
}

func parseBool(value string) (bool, error) {
	switch value {
	case "1", "true":
		return true, nil
	case "0", "false":
		return false, nil
	}
	return false, errors.New("is neither 1 nor 0")
}
