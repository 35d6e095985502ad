package oidctest

import (
	"net/url"
	"time"
)

// Faults of the logout token (Back-Channel Logout 1.0 section 2.6). Rejected means
// 400 Bad Request.
var (
	LogoutTokenAlgNone = logoutToken("alg-none", Reject,
		"alg is none and the signature empty", algNone)
	LogoutTokenOtherAlg = logoutToken("other-alg", Reject,
		"another key of the JWK Set signed it properly", otherAlg)
	LogoutTokenForged = logoutToken("forged", Reject,
		"a key outside the JWK Set signed it", func(t *token) { forge(t, "unknown:logout") })
	LogoutTokenNoEvent = logoutToken("no-event", Reject,
		"there is no events", drop("events"))
	LogoutTokenWrongEvent = logoutToken("wrong-event", Reject,
		"events names another event",
		set("events", map[string]any{"http://schemas.openid.net/event/foobar": map[string]any{}}))
	LogoutTokenWithNonce = logoutToken("with-nonce", Reject,
		"there is a nonce", set("nonce", "nonce"))
	LogoutTokenWrongAud = logoutToken("wrong-aud", Reject,
		"aud is the client_id followed by 1", suffix("aud"))
	LogoutTokenWrongIss = logoutToken("wrong-iss", Reject,
		"iss is the issuer followed by 1", suffix("iss"))
	LogoutTokenNoSubject = logoutToken("no-subject", Reject,
		"there is neither sub nor sid", func(t *token) { drop("sub")(t); drop("sid")(t) })
	LogoutTokenNoIat = logoutToken("no-iat", Reject,
		"there is no iat", drop("iat"))
	LogoutTokenOldIat = logoutToken("old-iat", Reject,
		"iat is a week ago", shift("iat", -7*24*time.Hour))
	LogoutTokenExpired = logoutToken("expired", Reject,
		"exp was six minutes ago", shift("exp", -6*time.Minute))
	LogoutTokenNoJTI = logoutToken("no-jti", Reject,
		"there is no jti", drop("jti"))
	LogoutTokenWrongTyp = logoutToken("wrong-typ", Reject,
		"typ is at+jwt", header("typ", "at+jwt"))
	LogoutTokenNoTyp = logoutToken("no-typ", Accept,
		"the header has no typ", func(t *token) { delete(t.header, "typ") })
	LogoutTokenSubOnly = logoutToken("sub-only", Accept,
		"there is no sid", drop("sid"))
	LogoutTokenSidOnly = logoutToken("sid-only", Accept,
		"there is no sub", drop("sub"))
	LogoutTokenUnknown = logoutToken("unknown-claim", Accept,
		"there is a claim that nobody knows", set("ignored_claim", true))
)

func logoutToken(name string, verdict Verdict, doc string, effect func(*token)) Fault {
	return declare(Fault{Name: "logout_token/" + name, Doc: doc, Endpoint: EndpointEndSession,
		Verdict: verdict, Needs: NeedsBackChannel, logoutToken: effect})
}

func postLogout(name, doc string, change func(state string) string) Fault {
	effect := func(_ *Provider, params url.Values) {
		state := change(params.Get("state"))
		params.Del("state")
		if state != "" {
			params.Set("state", state)
		}
	}
	return declare(Fault{Name: "end_session/" + name, Doc: doc, Endpoint: EndpointEndSession,
		Verdict: Accept, Needs: NeedsLogout, postLogout: effect})
}
