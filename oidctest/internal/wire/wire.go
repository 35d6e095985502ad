// Package wire holds what an OpenID Provider sends, before it is sent: its keys, its
// tokens, its responses, and the hooks by which a fault changes them. Package oidctest
// builds these values and package fault spoils them. Both import this package, so
// neither has to export them.
package wire

import (
	"net/http"
	"net/url"
	"time"
)

// The names of the endpoints.
const (
	EndpointDiscovery     = "discovery"
	EndpointJWKS          = "jwks"
	EndpointAuthorization = "authorization"
	EndpointLogin         = "login"
	EndpointPAR           = "par"
	EndpointToken         = "token"
	EndpointUserInfo      = "userinfo"
	EndpointRevocation    = "revocation"
	EndpointEndSession    = "end_session"
	EndpointElsewhere     = "elsewhere"
	EndpointUnknown       = "unknown"
)

// A Site is the part of a provider that tokens and faults use.
type Site struct {
	Issuer string           // the issuer identifier, byte for byte
	Root   string           // the issuer without its trailing slash
	Now    func() time.Time // the provider's clock
	Keys   *KeyRing
}

// An Effect is what a fault changes. Every hook runs with the provider locked; a nil
// hook changes nothing.
type Effect struct {
	// Refresh restricts IDToken and TokenResponse to refresh responses. Otherwise
	// they apply to the response that redeems a code.
	Refresh bool

	// KeepRefreshToken leaves a refresh token valid after its use.
	KeepRefreshToken bool

	IDToken       func(*Token)
	UserInfo      func(*Token) // the claims, before they are encoded as JSON or as a JWT
	UserInfoToken func(*Token) // a signed UserInfo response
	LogoutToken   func(*Token)

	TokenResponse func(*Response)
	Response      func(*Response) // of the fault's endpoint
	Authorization func(*Site, url.Values)
	PostLogout    func(url.Values) // the query of post_logout_redirect_uri

	// Serve replaces the handler of the fault's endpoint.
	Serve http.HandlerFunc

	// Redirect replaces the handler of the fault's endpoint with a redirect to the
	// provider's own response under another host name.
	Redirect bool
}

// A Carrier holds an Effect for a public type. A type that embeds a Carrier under an
// unexported name has no exported field or method on its account, and [EffectOf] can
// still read the Effect.
type Carrier struct{ effect Effect }

// Carry returns a Carrier that holds e.
func Carry(e Effect) Carrier { return Carrier{e} }

func (c Carrier) carried() Effect { return c.effect }

// EffectOf returns the Effect held by a type that embeds a [Carrier].
func EffectOf(c interface{ carried() Effect }) Effect { return c.carried() }
