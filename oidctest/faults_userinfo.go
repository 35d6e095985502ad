package oidctest

import (
	"net/http"
	"time"
)

// Faults of the UserInfo response.
var (
	UserInfoWrongSub = userInfo("wrong-sub", Reject,
		"sub is the one of the ID Token followed by 1", suffix("sub"))
	UserInfoMissingSub = userInfo("missing-sub", Reject,
		"there is no sub", drop("sub"))
	UserInfoUppercaseSub = userInfo("uppercase-sub", Reject,
		"SUB stands in the place of sub", rename("sub", "SUB"))
	UserInfoNumberSub = userInfo("number-sub", Reject,
		"sub is a number", set("sub", 42))
	UserInfoAggregated = userInfo("aggregated-claims", Accept,
		"an aggregated claim comes in an unsigned JWT (OIDC Core 5.6.2)", aggregated)
	UserInfoDistributed = userInfo("distributed-claims", Accept,
		"a distributed claim lies at another endpoint (OIDC Core 5.6.2)", distributed)
	UserInfoWithACR = userInfo("acr", Accept,
		"there is an acr, which only the ID Token can vouch for", set("acr", "eidas3"))
	UserInfoDuplicateSub = jsonUserInfo("duplicate-sub", Reject,
		"sub is there twice, the first is mallory", body(prependSub))
	UserInfoCharset = jsonUserInfo("charset", Accept,
		"the type is application/json; charset=utf-8",
		contentType("application/json; charset=utf-8"))
	UserInfoUnsolicitedJWT = jsonUserInfo("unsolicited-jwt", Reject,
		"an unsigned JWT comes where JSON was agreed", unsignedJWT)
	UserInfoUnauthorized = userInfoResponse("unauthorized", Reject,
		"the answer is 401 invalid_token", replace(http.StatusUnauthorized, "invalid_token"))
	UserInfoServerError = userInfoResponse("server-error", Reject,
		"the answer is 500 server_error", replace(http.StatusInternalServerError, "server_error"))
)

// Faults of a signed UserInfo response (OIDC Core 5.3.2).
var (
	UserInfoPlainJSON = needs(NeedsSignedUserInfo, userInfoResponse("plain-json", Reject,
		"JSON comes where a signed response was agreed", plainJSON))
	UserInfoWrongIss = signedUserInfo("wrong-iss", Reject,
		"iss is the issuer followed by 1", suffix("iss"))
	UserInfoMissingIss = signedUserInfo("missing-iss", Reject,
		"there is no iss", drop("iss"))
	UserInfoWrongAud = signedUserInfo("wrong-aud", Reject,
		"aud is the client_id followed by 1", suffix("aud"))
	UserInfoMissingAud = signedUserInfo("missing-aud", Reject,
		"there is no aud", drop("aud"))
	UserInfoArrayAud = signedUserInfo("array-aud", Accept,
		"aud is an array with the client_id alone", arrayAud)
	UserInfoExpired = signedUserInfo("expired", Reject,
		"exp was six minutes ago", shift("exp", -6*time.Minute))
	UserInfoNoTimes = signedUserInfo("no-times", Accept,
		"there is neither exp nor iat", func(t *token) { drop("exp")(t); drop("iat")(t) })
	UserInfoOtherAlg = signedUserInfo("other-alg", Reject,
		"another key of the JWK Set signed it properly", otherAlg)
	UserInfoAlgNone = signedUserInfo("alg-none", Reject,
		"alg is none and the signature empty", algNone)
	UserInfoBadSignature = signedUserInfo("bad-signature", Reject,
		"every byte of the signature is XORed with 0x5A", badSignature)
	UserInfoUnknownKey = signedUserInfo("unknown-key", Reject,
		"a key outside the JWK Set signed it", func(t *token) { forge(t, "unknown:userinfo") })
)

func userInfo(name string, verdict Verdict, doc string, effect func(*token)) Fault {
	return declare(Fault{Name: "userinfo/" + name, Doc: doc, Endpoint: EndpointUserInfo,
		Verdict: verdict, userInfo: effect})
}

func userInfoResponse(name string, verdict Verdict, doc string,
	effect func(*Provider, *response)) Fault {
	return declare(Fault{Name: "userinfo/" + name, Doc: doc, Endpoint: EndpointUserInfo,
		Verdict: verdict, response: effect})
}

func jsonUserInfo(name string, verdict Verdict, doc string,
	effect func(*Provider, *response)) Fault {
	return needs(NeedsJSONUserInfo, userInfoResponse(name, verdict, doc, effect))
}

func signedUserInfo(name string, verdict Verdict, doc string, effect func(*token)) Fault {
	return declare(Fault{Name: "userinfo/signed-" + name, Doc: doc, Endpoint: EndpointUserInfo,
		Verdict: verdict, Needs: NeedsSignedUserInfo, userInfoToken: effect})
}

func aggregated(t *token) {
	address := map[string]any{"country": "FR"}
	inner := &token{p: t.p, client: t.client, claims: map[string]any{"address": address}}
	algNone(inner)
	t.claims["_claim_names"] = map[string]any{"address": "source"}
	t.claims["_claim_sources"] = map[string]any{"source": map[string]any{"JWT": mustSign(inner, nil)}}
}

func distributed(t *token) {
	t.claims["_claim_names"] = map[string]any{"address": "source"}
	t.claims["_claim_sources"] = map[string]any{"source": map[string]any{
		"endpoint": t.p.root + "/claims", "access_token": "claims-access-token"}}
}

func prependSub(b []byte) []byte {
	return append([]byte(`{"sub":"mallory",`), b[1:]...)
}

func contentType(v string) func(*Provider, *response) {
	return func(_ *Provider, res *response) { res.header.Set("Content-Type", v) }
}

// plainJSON answers with JSON whatever was agreed; errors stay as they are.
func plainJSON(p *Provider, res *response) {
	if res.status != http.StatusOK {
		return
	}
	res.json = res.claims
	res.header.Set("Content-Type", "application/json")
}

func unsignedJWT(p *Provider, res *response) {
	if res.json == nil || res.status != http.StatusOK {
		return
	}
	t := &token{p: p, claims: res.json}
	algNone(t)
	res.json, res.body = nil, []byte(mustSign(t, nil))
	res.header.Set("Content-Type", "application/jwt")
}
