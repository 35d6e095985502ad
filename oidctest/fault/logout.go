package fault

import (
	"net/url"
	"time"

	"github.com/oidcrp/oidcrp/oidctest/internal/wire"
)

// Faults of the logout token (Back-Channel Logout 1.0 section 2.6). Reject means that
// the relying party answers 400 Bad Request.
var (
	LogoutTokenAlgNone = logoutToken("alg-none", Reject,
		"alg is none and the signature is empty", algNone)
	LogoutTokenOtherAlg = logoutToken("other-alg", Reject,
		"another key of the JWK Set signed it", otherAlg)
	LogoutTokenForged = logoutToken("forged", Reject,
		"a key outside the JWK Set signed it", forged("unknown:logout"))
	LogoutTokenNoEvent = logoutToken("no-event", Reject,
		"events is missing", drop("events"))
	LogoutTokenWrongEvent = logoutToken("wrong-event", Reject,
		"events contains another event only",
		set("events", map[string]any{"http://schemas.openid.net/event/foobar": map[string]any{}}))
	LogoutTokenWithNonce = logoutToken("with-nonce", Reject,
		"nonce is present", set("nonce", "nonce"))
	LogoutTokenWrongAud = logoutToken("wrong-aud", Reject,
		"aud is the client_id followed by 1", suffix("aud"))
	LogoutTokenWrongIss = logoutToken("wrong-iss", Reject,
		"iss is the issuer followed by 1", suffix("iss"))
	LogoutTokenNoSubject = logoutToken("no-subject", Reject,
		"sub and sid are both missing", drop("sub", "sid"))
	LogoutTokenNoIat = logoutToken("no-iat", Reject,
		"iat is missing", drop("iat"))
	LogoutTokenOldIat = logoutToken("old-iat", Reject,
		"iat was a week ago", shift("iat", -7*24*time.Hour))
	LogoutTokenExpired = logoutToken("expired", Reject,
		"exp was six minutes ago", shift("exp", -6*time.Minute))
	LogoutTokenNoJTI = logoutToken("no-jti", Reject,
		"jti is missing", drop("jti"))
	LogoutTokenWrongTyp = logoutToken("wrong-typ", Reject,
		"typ is at+jwt", header("typ", "at+jwt"))
	LogoutTokenFullTyp = logoutToken("full-typ", Accept,
		"typ is the whole media type, application/logout+jwt", header("typ", "application/logout+jwt"))
	LogoutTokenNoTyp = logoutToken("no-typ", Accept,
		"the header has no typ", noHeader("typ"))
	LogoutTokenSubOnly = logoutToken("sub-only", Accept,
		"sid is missing", drop("sid"))
	LogoutTokenSidOnly = logoutToken("sid-only", Accept,
		"sub is missing", drop("sub"))
	LogoutTokenUnknown = logoutToken("unknown-claim", Accept,
		"an unknown claim is present", set("ignored_claim", true))
)

// Faults of the redirect to post_logout_redirect_uri. The user is signed out in any
// case.
var (
	LogoutOtherState = postLogout("other-state",
		"state is the one of the request followed by _INVALID",
		func(v url.Values) { v.Set("state", v.Get("state")+"_INVALID") })
	LogoutNoState = postLogout("no-state",
		"state is missing", func(v url.Values) { v.Del("state") })
)

func logoutToken(name string, verdict Verdict, doc string, effect func(*wire.Token)) Fault {
	return declare(Fault{Name: "logout_token/" + name, Doc: doc, Endpoint: wire.EndpointEndSession,
		Verdict: verdict, Needs: NeedsBackchannel}, wire.Effect{LogoutToken: effect})
}

func postLogout(name, doc string, effect func(url.Values)) Fault {
	return declare(Fault{Name: "end_session/" + name, Doc: doc, Endpoint: wire.EndpointEndSession,
		Verdict: Accept, Needs: NeedsLogout}, wire.Effect{PostLogout: effect})
}
