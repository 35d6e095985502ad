package oidctest

import "net/url"

// Faults of the authorization response. The person did sign in.
var (
	AuthorizationWrongIss = authorization("wrong-iss", Reject,
		"iss is the issuer followed by 1 (RFC 9207)",
		func(p *Provider, v url.Values) { v.Set("iss", p.cfg.Issuer+"1") })
	AuthorizationMissingIss = authorization("missing-iss", Reject,
		"there is no iss though discovery announces it (RFC 9207)", without("iss"))

	AuthorizationWrongState = authorization("wrong-state", Reject,
		"state is the one sent, followed by 1",
		func(_ *Provider, v url.Values) { v.Set("state", v.Get("state")+"1") })
	AuthorizationMissingState = authorization("missing-state", Reject,
		"there is no state", without("state"))
	AuthorizationDuplicateState = authorization("duplicate-state", Reject,
		"state is there twice", again("state"))
	AuthorizationDuplicateCode = authorization("duplicate-code", Reject,
		"code is there twice", again("code"))
	AuthorizationDuplicateIss = authorization("duplicate-iss", Reject,
		"iss is there twice", again("iss"))
	AuthorizationMissingCode = authorization("missing-code", Reject,
		"there is neither code nor error", without("code"))
	AuthorizationUnknownCode = authorization("unknown-code", Reject,
		"the code is not one of the provider's",
		func(_ *Provider, v url.Values) { v.Set("code", "unknown") })
	AuthorizationCodeAndError = authorization("code-and-error", Reject,
		"there is an error beside the code",
		func(_ *Provider, v url.Values) { v.Set("error", "access_denied") })
	AuthorizationUnknownParam = authorization("unknown-param", Accept,
		"there are parameters that nobody knows",
		func(_ *Provider, v url.Values) { v.Set("session_state", "a.b"); v.Set("x", "") })

	AuthorizationAccessDenied = authorizationError("access-denied",
		"access_denied", "the person refused")
	AuthorizationLoginRequired = authorizationError("login-required",
		"login_required", "there is no session")
	AuthorizationServerError = authorizationError("server-error",
		"server_error", "the provider failed")
	AuthorizationUnknownError = authorizationError("unknown-error",
		"Y500015", "an error code of the provider's own")
	AuthorizationScriptInError = authorizationError("script-in-error",
		"access_denied", `<script>alert("oidctest")</script>"'><img src=x onerror=alert(1)>`)
)

func authorization(name string, verdict Verdict, doc string,
	effect func(*Provider, url.Values)) Fault {
	return declare(Fault{Name: "authorization/" + name, Doc: doc, Endpoint: EndpointAuthorization,
		Verdict: verdict, authorization: effect})
}

func authorizationError(name, code, description string) Fault {
	doc := "error is " + code + " and the description: " + description
	return authorization(name, Reject, doc, func(_ *Provider, v url.Values) {
		v.Del("code")
		v.Set("error", code)
		v.Set("error_description", description)
	})
}

func without(name string) func(*Provider, url.Values) {
	return func(_ *Provider, v url.Values) { v.Del(name) }
}

func again(name string) func(*Provider, url.Values) {
	return func(_ *Provider, v url.Values) {
		if v.Has(name) {
			v.Add(name, v.Get(name))
		}
	}
}
