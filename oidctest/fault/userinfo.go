package fault

import (
	"net/http"
	"time"

	"github.com/oidcrp/oidcrp/oidctest/internal/wire"
)

// Faults of the UserInfo response.
var (
	UserInfoWrongSub = userInfo("wrong-sub", Reject,
		"sub is the one of the ID Token followed by 1", suffix("sub"))
	UserInfoMissingSub = userInfo("missing-sub", Reject,
		"sub is missing", drop("sub"))
	UserInfoUppercaseSub = userInfo("uppercase-sub", Reject,
		"sub is named SUB", rename("sub", "SUB"))
	UserInfoNumberSub = userInfo("number-sub", Reject,
		"sub is a number", set("sub", 42))
	UserInfoAggregated = userInfo("aggregated-claims", Accept,
		"an unsigned JWT contains an aggregated claim (OIDC Core 5.6.2)", aggregated)
	UserInfoDistributed = userInfo("distributed-claims", Accept,
		"a distributed claim refers to another endpoint (OIDC Core 5.6.2)", distributed)
	UserInfoWithACR = userInfo("acr", Accept,
		"acr is present, which only the ID Token can assert", set("acr", "eidas3"))
	UserInfoStringVerified = userInfo("string-verified", Either,
		"email_verified is the string True instead of a boolean", set("email_verified", "True"))
	UserInfoDuplicateSub = jsonUserInfo("duplicate-sub", Reject,
		"sub appears twice, the first one is mallory", body(prependSub))
	UserInfoCharset = jsonUserInfo("charset", Accept,
		"the content type is application/json; charset=utf-8",
		contentType("application/json; charset=utf-8"))
	UserInfoUnsolicitedJWT = jsonUserInfo("unsolicited-jwt", Reject,
		"the response is an unsigned JWT instead of JSON", unsignedJWT)
	UserInfoUnauthorized = userInfoResponse("unauthorized", Reject,
		"the response is 401 invalid_token", replace(http.StatusUnauthorized, "invalid_token"))
	UserInfoServerError = userInfoResponse("server-error", Reject,
		"the response is 500 server_error", replace(http.StatusInternalServerError, "server_error"))
)

// Faults of a signed UserInfo response (OIDC Core 5.3.2).
var (
	UserInfoPlainJSON = needs(NeedsSignedUserInfo, userInfoResponse("plain-json", Reject,
		"the response is JSON instead of a signed JWT", plainJSON))
	UserInfoWrongIss = signedUserInfo("wrong-iss", Reject,
		"iss is the issuer followed by 1", suffix("iss"))
	UserInfoMissingIss = signedUserInfo("missing-iss", Reject,
		"iss is missing", drop("iss"))
	UserInfoWrongAud = signedUserInfo("wrong-aud", Reject,
		"aud is the client_id followed by 1", suffix("aud"))
	UserInfoMissingAud = signedUserInfo("missing-aud", Reject,
		"aud is missing", drop("aud"))
	UserInfoArrayAud = signedUserInfo("array-aud", Accept,
		"aud is an array that contains only the client_id", arrayAud)
	UserInfoExpired = signedUserInfo("expired", Reject,
		"exp was six minutes ago", shift("exp", -6*time.Minute))
	UserInfoNoTimes = signedUserInfo("no-times", Accept,
		"exp and iat are both missing", drop("exp", "iat"))
	UserInfoOtherAlg = signedUserInfo("other-alg", Reject,
		"another key of the JWK Set signed it", otherAlg)
	UserInfoAlgNone = signedUserInfo("alg-none", Reject,
		"alg is none and the signature is empty", algNone)
	UserInfoBadSignature = signedUserInfo("bad-signature", Reject,
		"every byte of the signature is XORed with 0x5A", badSignature)
	UserInfoUnknownKey = signedUserInfo("unknown-key", Reject,
		"a key outside the JWK Set signed it", forged("unknown:userinfo"))
)

func userInfo(name string, verdict Verdict, doc string, effect func(*wire.Token)) Fault {
	return declare(Fault{Name: "userinfo/" + name, Doc: doc, Endpoint: wire.EndpointUserInfo,
		Verdict: verdict}, wire.Effect{UserInfo: effect})
}

func userInfoResponse(name string, verdict Verdict, doc string, effect func(*wire.Response)) Fault {
	return declare(Fault{Name: "userinfo/" + name, Doc: doc, Endpoint: wire.EndpointUserInfo,
		Verdict: verdict}, wire.Effect{Response: effect})
}

func jsonUserInfo(name string, verdict Verdict, doc string, effect func(*wire.Response)) Fault {
	return needs(NeedsJSONUserInfo, userInfoResponse(name, verdict, doc, effect))
}

func signedUserInfo(name string, verdict Verdict, doc string, effect func(*wire.Token)) Fault {
	return declare(Fault{Name: "userinfo/signed-" + name, Doc: doc, Endpoint: wire.EndpointUserInfo,
		Verdict: verdict, Needs: NeedsSignedUserInfo}, wire.Effect{UserInfoToken: effect})
}

func aggregated(t *wire.Token) {
	address := map[string]any{"country": "FR"}
	t.Claims["_claim_names"] = map[string]any{"address": "source"}
	t.Claims["_claim_sources"] = map[string]any{"source": map[string]any{
		"JWT": unsigned(map[string]any{"address": address})}}
}

// unsigned returns a JWT with alg none.
func unsigned(claims map[string]any) string {
	t := &wire.Token{Claims: claims}
	algNone(t)
	return t.MustSign()
}

func distributed(t *wire.Token) {
	t.Claims["_claim_names"] = map[string]any{"address": "source"}
	t.Claims["_claim_sources"] = map[string]any{"source": map[string]any{
		"endpoint": t.Site.Root + "/claims", "access_token": "claims-access-token"}}
}

func prependSub(b []byte) []byte {
	return append([]byte(`{"sub":"mallory",`), b[1:]...)
}

// plainJSON replaces a JWT with its claims; error responses stay as they are.
func plainJSON(res *wire.Response) {
	if res.Status != http.StatusOK {
		return
	}
	res.JSON = res.Claims
	res.Header.Set("Content-Type", "application/json")
}

func unsignedJWT(res *wire.Response) {
	if res.JSON == nil || res.Status != http.StatusOK {
		return
	}
	res.Body, res.JSON = []byte(unsigned(res.JSON)), nil
	res.Header.Set("Content-Type", "application/jwt")
}
