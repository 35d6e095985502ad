package oidcrp

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp/internal/fetch"
	"github.com/oidcrp/oidcrp/internal/seal"
)

// envVars are the environment variables of [ConfigFromEnv] and what each sets.
var envVars = map[string]func(cfg *Config, value string) error{
	"OIDC_ISSUER":                          func(c *Config, v string) error { c.Issuer = v; return nil },
	"OIDC_CLIENT_ID":                       func(c *Config, v string) error { c.ClientID = v; return nil },
	"OIDC_CLIENT_SECRET":                   func(c *Config, v string) error { c.ClientSecret = v; return nil },
	"OIDC_BASE_URL":                        func(c *Config, v string) error { c.BaseURL = v; return nil },
	"OIDC_REDIRECT_URI":                    func(c *Config, v string) error { c.RedirectURI = v; return nil },
	"OIDC_POST_LOGOUT_REDIRECT_URI":        func(c *Config, v string) error { c.PostLogoutRedirectURI = v; return nil },
	"OIDC_SCOPES":                          func(c *Config, v string) error { c.Scopes = strings.Fields(v); return nil },
	"OIDC_CLIENT_AUTH":                     func(c *Config, v string) error { c.TokenEndpointAuthMethod = v; return nil },
	"OIDC_CLIENT_KEY_FILE":                 readClientKey,
	"OIDC_ID_TOKEN_SIGNED_RESPONSE_ALG":    func(c *Config, v string) error { c.IDTokenSignedResponseAlg = v; return nil },
	"OIDC_USERINFO_SIGNED_RESPONSE_ALG":    func(c *Config, v string) error { c.UserInfoSignedResponseAlg = v; return nil },
	"OIDC_RESPONSE_MODE":                   func(c *Config, v string) error { c.ResponseMode = v; return nil },
	"OIDC_CLIENT_CERT_FILE":                readClientCertificate,
	"OIDC_USERINFO_TOKEN_IN_BODY":          func(c *Config, v string) (err error) { c.UserInfoTokenInBody, err = parseBool(v); return err },
	"OIDC_ID_TOKEN_ENCRYPTED_RESPONSE_ALG": func(c *Config, v string) error { c.IDTokenEncryptedResponseAlg = v; return nil },
	"OIDC_ID_TOKEN_ENCRYPTED_RESPONSE_ENC": func(c *Config, v string) error { c.IDTokenEncryptedResponseEnc = v; return nil },
	"OIDC_USERINFO_ENCRYPTED_RESPONSE_ALG": func(c *Config, v string) error { c.UserInfoEncryptedResponseAlg = v; return nil },
	"OIDC_USERINFO_ENCRYPTED_RESPONSE_ENC": func(c *Config, v string) error { c.UserInfoEncryptedResponseEnc = v; return nil },
	"OIDC_CLIENT_AUTH_SIGNING_ALG":         func(c *Config, v string) error { c.TokenEndpointAuthSigningAlg = v; return nil },
	"OIDC_PROMPT":                          func(c *Config, v string) error { c.AuthOptions.Prompt = v; return nil },
	"OIDC_MAX_AGE":                         readMaxAge,
	"OIDC_PROVIDER_CA_FILE":                readProviderCA,
	"OIDC_COOKIE_KEYS":                     readCookieKeys,
	"OIDC_COOKIE_KEYS_FILE":                readCookieKeysFile,
}

// ConfigFromEnv makes a [Config] from the environment: OIDC_ISSUER,
// OIDC_CLIENT_ID, OIDC_CLIENT_SECRET, OIDC_BASE_URL, OIDC_REDIRECT_URI,
// OIDC_POST_LOGOUT_REDIRECT_URI, OIDC_SCOPES (separated by spaces),
// OIDC_CLIENT_AUTH (a token_endpoint_auth_method),
// OIDC_CLIENT_AUTH_SIGNING_ALG, OIDC_CLIENT_KEY_FILE (the client's private keys
// as PEM, JWK or JWK Set), OIDC_CLIENT_CERT_FILE (its certificate and private
// key as PEM), OIDC_ID_TOKEN_SIGNED_RESPONSE_ALG,
// OIDC_ID_TOKEN_ENCRYPTED_RESPONSE_ALG and _ENC,
// OIDC_USERINFO_SIGNED_RESPONSE_ALG, OIDC_USERINFO_ENCRYPTED_RESPONSE_ALG and
// _ENC, OIDC_USERINFO_TOKEN_IN_BODY (1 or 0), OIDC_RESPONSE_MODE, OIDC_PROMPT
// and OIDC_MAX_AGE (seconds), which every login then sends,
// OIDC_PROVIDER_CA_FILE (PEM certificates to trust for the provider, beside the
// system's), OIDC_COOKIE_KEYS (32 bytes each as base64, separated by commas,
// newest first) or OIDC_COOKIE_KEYS_FILE (a file of such keys; see [KeyFile]).
//
// An empty variable is like one that is not set. A variable that starts with
// OIDC_ and is none of these is an error, since it is most likely misspelt.
// Errors are [*Error] with [CodeConfig]; they name every variable that is wrong,
// and hold the value of none.
func ConfigFromEnv() (Config, error) {
	var cfg Config
	var problems []error
	for _, entry := range slices.Sorted(slices.Values(os.Environ())) {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "OIDC_") || value == "" {
			continue
		}
		set, ok := envVars[name]
		if !ok {
			problems = append(problems, fmt.Errorf("%s is not known; there are %s",
				name, strings.Join(slices.Sorted(maps.Keys(envVars)), ", ")))
			continue
		}
		if err := set(&cfg, value); err != nil {
			problems = append(problems, fmt.Errorf("%s %w", name, err))
		}
	}
	if len(problems) > 0 {
		return Config{}, fail("config", CodeConfig, errors.Join(problems...))
	}
	return cfg, nil
}

func readCookieKeys(cfg *Config, value string) error {
	keys, err := parseCookieKeys(value)
	cfg.CookieKeys = append(cfg.CookieKeys, keys...)
	return err
}

// readCookieKeysFile reads the file once, so that a mistake shows at the start.
func readCookieKeysFile(cfg *Config, file string) error {
	data, err := readFileOf(file)
	if err != nil {
		return err
	}
	keys, err := parseKeyFile(data)
	if err == nil && len(keys) == 0 {
		err = errors.New("holds no key")
	}
	for i, key := range keys {
		if len(key) != seal.KeySize {
			err = fmt.Errorf("key %d has %d bytes, not %d", i+1, len(key), seal.KeySize)
		}
	}
	cfg.KeySource = KeyFile(file)
	return err
}

func readProviderCA(cfg *Config, file string) error {
	certificates, err := readFileOf(file)
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
	transport := fetch.NewTransport()
	transport.TLSClientConfig.RootCAs = roots
	cfg.HTTPClient = &http.Client{Transport: transport}
	return nil
}

// readFileOf reads the file that a variable names. The error does not say its
// name, which is the variable's value.
func readFileOf(file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	var detail *fs.PathError
	if errors.As(err, &detail) {
		err = detail.Err
	}
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	return data, nil
}

// readClientKey reads private keys: a JWK, a JWK Set, or PEM in the forms that
// openssl writes.
func readClientKey(cfg *Config, file string) error {
	data, err := readFileOf(file)
	if err != nil {
		return err
	}
	keys, err := parseClientKeys(data)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if key.IsPublic() {
			return errors.New("holds a JWK without its private part")
		}
	}
	cfg.ClientKeys = append(cfg.ClientKeys, keys...)
	return nil
}

func parseClientKeys(data []byte) ([]jose.JSONWebKey, error) {
	var key jose.JSONWebKey
	if key.UnmarshalJSON(data) == nil {
		return []jose.JSONWebKey{key}, nil
	}
	var set jose.JSONWebKeySet
	if json.Unmarshal(data, &set) == nil && len(set.Keys) > 0 {
		return set.Keys, nil
	}
	private, err := parsePEMKey(data)
	if err != nil {
		return nil, err
	}
	return []jose.JSONWebKey{{Key: private}}, nil
}

// readClientCertificate reads a certificate, with its chain if it has one, and
// its private key from one PEM file.
func readClientCertificate(cfg *Config, file string) error {
	data, err := readFileOf(file)
	if err != nil {
		return err
	}
	certificate, err := tls.X509KeyPair(data, data)
	if err != nil {
		return errors.New("does not hold a certificate and its private key as PEM")
	}
	cfg.ClientCertificates = append(cfg.ClientCertificates, certificate)
	return nil
}

func readMaxAge(cfg *Config, value string) error {
	seconds, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		return errors.New("is not a number of seconds")
	}
	cfg.AuthOptions.MaxAge = new(time.Duration(seconds) * time.Second)
	return nil
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

// parsePEMKey returns the first private key in data; other blocks, such as the
// parameters of a curve or a certificate, may stand in front of it.
func parsePEMKey(data []byte) (any, error) {
	block, rest := pem.Decode(data)
	if block == nil {
		return nil, errors.New("holds neither a JWK nor a PEM key")
	}
	for ; block != nil; block, rest = pem.Decode(rest) {
		if key, err := parsePrivateKey(block.Bytes); err == nil {
			return key, nil
		}
	}
	return nil, errNoPrivateKey
}

var errNoPrivateKey = errors.New("holds no RSA, EC or Ed25519 private key")

func parsePrivateKey(der []byte) (any, error) {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		switch key.(type) {
		case *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey:
			return key, nil
		}
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	return nil, errNoPrivateKey
}
