package oidctest

import (
	"net/http"
	"net/url"
	"slices"
)

// A Fault is one named way to misbehave, for [Provider.Misbehave]. The catalogue is
// in the variables of this package, one for each; [Faults] lists it, and [Transport]
// makes those that concern the carriage of any answer.
type Fault struct {
	// Name is unique and fit for a subtest, such as "id_token/wrong-iss".
	Name string

	// Doc says in one line what the provider does.
	Doc string

	// Endpoint is the endpoint whose answer is at fault. Logout tokens, which the
	// provider sends unasked, count to EndpointEndSession.
	Endpoint string

	// Verdict is what a sound relying party does.
	Verdict Verdict

	// Needs is what must be so for the fault to show. Empty: any sign-in shows it.
	Needs Need

	refresh          bool // in refresh responses only; otherwise in the others only
	keepRefreshToken bool
	idToken          func(*token)
	userInfo         func(*token) // the claims, before they are encoded either way
	userInfoToken    func(*token)
	logoutToken      func(*token)
	tokenResponse    func(*Provider, *response)
	response         func(*Provider, *response) // of Endpoint
	authorization    func(*Provider, url.Values)
	postLogout       func(*Provider, url.Values)
	serve            http.HandlerFunc // in the place of Endpoint
}

// A Verdict is what a sound relying party does about a fault.
type Verdict string

const (
	Accept Verdict = "accept" // odd but allowed: it goes on
	Reject Verdict = "reject" // nobody is signed in
	Either Verdict = "either" // the specifications leave the choice
)

// A Need is a condition under which a fault shows.
type Need string

const (
	NeedsMaxAge         Need = "max_age"         // the request has max_age
	NeedsACR            Need = "acr"             // the request asks for an acr
	NeedsPinnedAlg      Need = "pinned alg"      // the relying party expects one algorithm only
	NeedsSignedUserInfo Need = "signed userinfo" // both sides agree on a signed response
	NeedsJSONUserInfo   Need = "json userinfo"   // they do not
	NeedsRefresh        Need = "refresh"         // tokens are refreshed
	NeedsLogout         Need = "logout"          // the person comes back from the end_session_endpoint
	NeedsBackChannel    Need = "back-channel"    // a logout token is sent
	NeedsHTTPS          Need = "https"           // Config.TLS is set
)

// catalogue collects what the variables of the faults_ files declare: an own list
// would forget one.
var catalogue []Fault

func declare(f Fault) Fault {
	catalogue = append(catalogue, f)
	return f
}

// Faults returns the whole catalogue.
func Faults() []Fault {
	faults := slices.Clone(catalogue)
	fetched := []string{EndpointDiscovery, EndpointJWKS, EndpointToken, EndpointUserInfo}
	for _, endpoint := range fetched {
		for _, kind := range TransportKinds() {
			faults = append(faults, Transport(endpoint, kind))
		}
	}
	return faults
}

// AtRefresh returns an ID Token or token response fault that is committed in
// refresh responses, where the original leaves them alone.
func AtRefresh(f Fault) Fault {
	f.Name = "refresh/" + f.Name
	f.Needs = NeedsRefresh
	f.refresh = true
	return f
}
