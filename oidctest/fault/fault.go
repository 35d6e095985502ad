package fault

import (
	"slices"

	"github.com/oidcrp/oidcrp/oidctest/internal/wire"
)

// A Fault is one named misbehaviour of a provider. Only this package can make one; the
// zero value does nothing.
type Fault struct {
	// Name is unique and can name a subtest, such as "id_token/wrong-iss".
	Name string

	// Doc describes in one line what the provider does.
	Doc string

	// Endpoint is the endpoint whose response is wrong, as named by the Endpoint
	// constants of package oidctest. For a logout token it is oidctest.EndpointEndSession.
	Endpoint string

	// Verdict is what a sound relying party does.
	Verdict Verdict

	// Needs is the condition under which the fault shows. If empty, every sign-in
	// shows it.
	Needs Need

	carrier // package oidctest reads it with wire.EffectOf
}

// The alias is unexported so that the embedded field is too.
type carrier = wire.Carrier

// A Verdict is what a sound relying party does about a fault.
type Verdict string

const (
	Accept Verdict = "accept" // unusual but allowed: the login goes on
	Reject Verdict = "reject" // nobody is signed in
	Either Verdict = "either" // the specifications leave the choice
)

// A Need is a condition under which a fault shows.
type Need string

const (
	NeedsMaxAge         Need = "max_age"         // the request has max_age
	NeedsACR            Need = "acr"             // the request asks for an acr
	NeedsPinnedAlg      Need = "pinned alg"      // the relying party accepts one algorithm only
	NeedsSignedUserInfo Need = "signed userinfo" // the client is registered for a signed UserInfo response
	NeedsJSONUserInfo   Need = "json userinfo"   // the client is registered for UserInfo in JSON
	NeedsRefresh        Need = "refresh"         // tokens are refreshed
	NeedsLogout         Need = "logout"          // the browser returns from the end_session_endpoint
	NeedsBackchannel    Need = "back-channel"    // a logout token is sent
	NeedsHTTPS          Need = "https"           // oidctest.Config.TLS is set
)

// catalogue holds every fault declared by a variable of this package. The declarations
// fill it, so that it cannot miss one.
var catalogue []Fault

// declare adds a fault with its effect to the catalogue.
func declare(f Fault, e wire.Effect) Fault {
	f.carrier = wire.Carry(e)
	catalogue = append(catalogue, f)
	return f
}

// needs adds a condition to f, the fault declared last.
func needs(need Need, f Fault) Fault {
	f.Needs = need
	catalogue[len(catalogue)-1] = f
	return f
}

// All returns the catalogue: the fault of every variable of this package, and those of
// [Transport] for the discovery, JWKS, token and UserInfo endpoints.
func All() []Fault {
	faults := slices.Clone(catalogue)
	fetched := []string{wire.EndpointDiscovery, wire.EndpointJWKS, wire.EndpointToken,
		wire.EndpointUserInfo}
	for _, endpoint := range fetched {
		for _, kind := range TransportKinds() {
			faults = append(faults, Transport(endpoint, kind))
		}
	}
	return faults
}

// AtRefresh returns f, a fault of the ID Token or of the token response, for refresh
// responses only; f itself leaves them unchanged.
func AtRefresh(f Fault) Fault {
	e := wire.EffectOf(f)
	e.Refresh = true
	f.Name = "refresh/" + f.Name
	f.Needs = NeedsRefresh
	f.carrier = wire.Carry(e)
	return f
}
