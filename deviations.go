package oidcrp

// This file checks the fields that exist for the sake of providers that deviate from the
// specifications, and logs those in force. docs/providers.md lists them.

import (
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	josekit "github.com/oidcrp/oidcrp/internal/jose"
)

// deviations returns the names of the fields that are in force.
func deviations(cfg *Config, name settingName) []string {
	p := &cfg.Provider
	var names []string
	for _, field := range []struct {
		name string
		set  bool
	}{
		{"Provider.MetadataURL", p.MetadataURL != ""},
		{"Provider.AdjustMetadata", p.AdjustMetadata != nil},
		{"Provider.JWKS", p.JWKS != nil},
		{"Provider.AcceptedIssuers", p.AcceptedIssuers != nil},
		{"Provider.TrustedAudiences", p.TrustedAudiences != nil},
		{"Provider.NoPKCE", p.NoPKCE},
		{"Provider.NoUserInfo", p.NoUserInfo},
		{"Provider.AssertionAudience", p.AssertionAudience == audienceTokenEndpoint},
		{"Provider.AssertionThumbprint", p.AssertionThumbprint},
		{"ClientSecretFunc", cfg.ClientSecretFunc != nil},
		{"Provider.EndSessionURL", p.EndSessionURL != ""},
		{"Provider.LogoutWithoutHint", p.LogoutWithoutHint},
		{"Provider.LogoutHintRequired", p.LogoutHintRequired},
		{"Provider.RevocationWithoutHint", p.RevocationWithoutHint},
		{"Provider.FrontchannelLogoutWithoutIssuer", p.FrontchannelLogoutWithoutIssuer},
		{"Tokens.Extra", cfg.Tokens.Extra != nil},
		{"Tokens.RefreshScopes", cfg.Tokens.RefreshScopes != nil},
	} {
		if field.set {
			names = append(names, name(field.name))
		}
	}
	return names
}

// logDeviations logs, once, what New was told to do otherwise for this provider. It logs
// no values: a parameter may be a secret.
func logDeviations(cfg *Config, f *findings) {
	if names := deviations(cfg, f.name); names != nil {
		cfg.Logger.Info("settings for a provider that deviates from the specifications",
			"issuer", cfg.Issuer, "settings", strings.Join(names, ", "))
	}
	if hosts := cfg.Provider.InsecureHTTPHosts; len(hosts) > 0 {
		cfg.Logger.Warn("requests to these hosts of the provider may go unencrypted: everything in them is readable on the way",
			"setting", f.name("Provider.InsecureHTTPHosts"), "hosts", strings.Join(hosts, " "))
	}
}

// checkDeviations refuses what would be unsafe, or contradicts itself.
func checkDeviations(cfg *Config, f *findings) {
	checkMetadataSource(&cfg.Provider, cfg.Issuer, f)
	checkGivenKeys(&cfg.Provider, f)
	checkAcceptedIssuers(cfg, f)
	checkNoUserInfo(cfg, f)
	checkAssertions(cfg, f)
	if r := &cfg.Registration; cfg.Provider.NoPKCE && r.TokenEndpointAuthMethod == "none" {
		f.add("Provider.NoPKCE", `cannot be set for a public client, whose codes only PKCE protects: `+
			`register a secret or a key, and set %s to another method than "none"`, f.name(authMethodField))
	}
	if cfg.ClientSecretFunc != nil {
		switch {
		case cfg.ClientSecret != "":
			f.add("ClientSecretFunc", "and %s are both set: use one", f.name("ClientSecret"))
		case cfg.Registration.TokenEndpointAuthMethod == "client_secret_jwt":
			f.add("ClientSecretFunc", "cannot make the key of client_secret_jwt: set %s", f.name("ClientSecret"))
		}
	}
	if cfg.Tokens.RefreshScopes != nil && !cfg.Tokens.Keep && f.only == nil { // the app may still set it
		f.add("Tokens.RefreshScopes", "needs Tokens.Keep")
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Tokens.Extra)) {
		if slices.Contains(ownTokenParameters, name) {
			f.add("Tokens.Extra", "holds %q, which this package sends itself", name)
		}
	}
}

// ownTokenParameters are those that Tokens.Extra may not name.
var ownTokenParameters = []string{
	"grant_type", "code", "redirect_uri", "code_verifier", "refresh_token", "scope",
	"client_id", "client_secret", "client_assertion", "client_assertion_type",
}

// checkMetadataSource checks where the metadata comes from.
func checkMetadataSource(p *Provider, issuer string, f *findings) {
	if p.Metadata != nil && p.AdjustMetadata != nil {
		f.add("Provider.AdjustMetadata", "and Provider.Metadata are both set: change Provider.Metadata itself")
	}
	if p.MetadataURL == "" {
		return
	}
	if p.Metadata != nil {
		f.add("Provider.MetadataURL", "and Provider.Metadata are both set: use one")
	}
	u, err := url.Parse(p.MetadataURL)
	plain := err == nil && (strings.HasPrefix(issuer, "http:") && isLoopback(u.Hostname()) ||
		isAmong(p.InsecureHTTPHosts, p.MetadataURL))
	if err := checkEndpoint(p.MetadataURL, plain); err != nil {
		f.add("Provider.MetadataURL", "%q %w", withoutUser(p.MetadataURL), err)
	}
}

// checkGivenKeys checks Provider.JWKS.
func checkGivenKeys(p *Provider, f *findings) {
	if p.JWKS == nil {
		return
	}
	set, err := josekit.ParseKeySet(p.JWKS)
	switch {
	case err != nil:
		f.add("Provider.JWKS", "is no JWK Set: %w", err)
	case set.Empty():
		f.add("Provider.JWKS", "holds no public key that can verify a signature")
	case p.Metadata != nil && p.Metadata.JWKSURI != "":
		f.add("Provider.JWKS", "and Provider.Metadata.JWKSURI are both set: use one")
	}
}

// acceptedIssuers returns the issuers that rules accept, nil if Issuer is the only one.
func acceptedIssuers(cfg *Config) []string {
	accepted := cfg.Provider.AcceptedIssuers
	if accepted == nil || strings.Contains(cfg.Issuer, tenantID) {
		return accepted
	}
	return append([]string{cfg.Issuer}, accepted...)
}

// checkAcceptedIssuers checks Provider.AcceptedIssuers, and an Issuer that needs it.
func checkAcceptedIssuers(cfg *Config, f *findings) {
	p := &cfg.Provider
	if strings.Contains(cfg.Issuer, tenantID) {
		if len(p.AcceptedIssuers) == 0 {
			f.add("Issuer", "%q stands for many tenants: set %s to the issuers of those that may sign in",
				clean(cfg.Issuer, 200), f.name("Provider.AcceptedIssuers"))
		}
		if p.MetadataURL == "" && p.Metadata == nil {
			f.add("Issuer", "%q is no address: set %s to that of the metadata",
				clean(cfg.Issuer, 200), f.name("Provider.MetadataURL"))
		}
	}
	for _, issuer := range p.AcceptedIssuers {
		checkAcceptedIssuer(cfg, issuer, f)
	}
}

func checkAcceptedIssuer(cfg *Config, issuer string, f *findings) {
	const field = "Provider.AcceptedIssuers"
	u := checkOrigin(field, issuer, f)
	if u == nil || !strings.ContainsAny(issuer, "{}*") {
		return
	}
	rest := strings.Replace(u.Path+"/", "/"+tenantID+"/", "/", 1)
	switch {
	case strings.ContainsAny(u.Host+rest, "{}*"):
		f.add(field, "%q may have %s as one segment of its path, and no other wildcard", clean(issuer, 200), tenantID)
	case cfg.OnLogin == nil && f.only == nil: // the app may still set it
		f.add(field, "%q lets everybody of every tenant in: list the issuer of each tenant, or set OnLogin, "+
			"which says whom the app serves (Session.Issuer names the tenant)", clean(issuer, 200))
	}
}

// checkNoUserInfo refuses settings about UserInfo where it is never called.
func checkNoUserInfo(cfg *Config, f *findings) {
	if !cfg.Provider.NoUserInfo {
		return
	}
	r := &cfg.Registration
	for _, field := range []struct {
		name string
		set  bool
	}{
		{"Provider.UserInfoTokenInBody", cfg.Provider.UserInfoTokenInBody},
		{"Registration.UserInfoSignedResponseAlg", r.UserInfoSignedResponseAlg != ""},
		{"Registration.UserInfoEncryptedResponseAlg", r.UserInfoEncryptedResponseAlg != ""},
		{"Tokens.RefreshUserInfo", cfg.Tokens.RefreshUserInfo},
		{"Login.Claims", cfg.Login.Claims != nil && len(cfg.Login.Claims.UserInfo) > 0},
	} {
		if field.set {
			f.add("Provider.NoUserInfo", "contradicts %s, which asks something of UserInfo: unset one", f.name(field.name))
		}
	}
}

// checkAssertions checks what client assertions are to hold.
func checkAssertions(cfg *Config, f *findings) {
	p, method := &cfg.Provider, cfg.Registration.TokenEndpointAuthMethod
	switch p.AssertionAudience {
	case "", audienceIssuer, audienceTokenEndpoint:
	default:
		f.add("Provider.AssertionAudience", "%q is not known (%s, %s)",
			clean(p.AssertionAudience, 100), audienceIssuer, audienceTokenEndpoint)
	}
	asserts := method == "private_key_jwt" || method == "client_secret_jwt"
	switch {
	case p.AssertionAudience != "" && !asserts:
		f.add("Provider.AssertionAudience", "needs %s to be private_key_jwt or client_secret_jwt", f.name(authMethodField))
	case asserts && p.AssertionAudience != audienceTokenEndpoint && strings.Contains(cfg.Issuer, tenantID):
		f.add("Provider.AssertionAudience", "must be %s, since the issuer stands for many tenants", audienceTokenEndpoint)
	}
	if p.AssertionThumbprint {
		checkThumbprint(&cfg.Registration, f)
	}
}

func checkThumbprint(r *Registration, f *findings) {
	const field = "Provider.AssertionThumbprint"
	if r.TokenEndpointAuthMethod != "private_key_jwt" {
		f.add(field, "needs %s to be private_key_jwt", f.name(authMethodField))
		return
	}
	auth := clientAuth{keys: r.ClientKeys, alg: r.TokenEndpointAuthSigningAlg}
	key, err := auth.signingKey(r.TokenEndpointAuthMethod, "")
	if err != nil {
		return // reported with the keys and the algorithm
	}
	leaf := certificateOf(key)
	if leaf == nil || !certifies(leaf, key.Key.(jose.JSONWebKey).Key) {
		f.add(field, "needs the certificate of the signing key: put it into %s, in the same PEM file or as x5c",
			f.name("Registration.ClientKeys"))
	}
}

// insideDomains are the domains whose names no public resolver knows: .internal (reserved
// by ICANN in 2024), .local (RFC 6762), .test (RFC 6761), .home.arpa (RFC 8375), and
// Kubernetes' .svc, whose full names end in .local.
var insideDomains = []string{".internal", ".local", ".test", ".svc", ".home.arpa"}

// insideName matches a host name whose last label is a word: some resolvers take a number
// as an address, in whatever form.
var insideName = regexp.MustCompile(`^([a-z0-9_-]+\.)*[a-z][a-z0-9_-]*$`)

// isInside reports whether host can only be in the app's own network, by its form.
func isInside(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsPrivate() || ip.IsLoopback()
	}
	return insideName.MatchString(host) && (!strings.Contains(host, ".") || isLoopback(host) ||
		slices.ContainsFunc(insideDomains, func(domain string) bool { return strings.HasSuffix(host, domain) }))
}

// checkPlainHosts refuses hosts that requests may reach through the internet.
func checkPlainHosts(cfg *Config, f *findings) {
	for i, host := range cfg.Provider.InsecureHTTPHosts {
		if !isInside(host) {
			f.add("Provider.InsecureHTTPHosts", "[%d] %q is no host of a private network: plain http would show the client's "+
				"secret and people's data on the way. Use https, or a name in lower case without port that has no dot or ends in %s, "+
				"or a private address", i, clean(host, 100), strings.Join(insideDomains, ", "))
		}
	}
}
