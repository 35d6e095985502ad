package fault

import (
	"net/url"

	"github.com/oidcrp/oidcrp/oidctest/internal/wire"
)

// Faults of the authorization response. The user did sign in.
var (
	AuthorizationWrongIss = authorization("wrong-iss", Reject,
		"iss is the issuer followed by 1 (RFC 9207)",
		func(site *wire.Site, v url.Values) { v.Set("iss", site.Issuer+"1") })
	AuthorizationMissingIss = authorization("missing-iss", Reject,
		"iss is missing although discovery advertises it (RFC 9207)", without("iss"))

	AuthorizationWrongState = authorization("wrong-state", Reject,
		"state is the one of the request followed by 1",
		func(_ *wire.Site, v url.Values) { v.Set("state", v.Get("state")+"1") })
	AuthorizationMissingState = authorization("missing-state", Reject,
		"state is missing", without("state"))
	AuthorizationDuplicateState = authorization("duplicate-state", Reject,
		"state appears twice", twice("state"))
	AuthorizationDuplicateCode = authorization("duplicate-code", Reject,
		"code appears twice", twice("code"))
	AuthorizationDuplicateIss = authorization("duplicate-iss", Reject,
		"iss appears twice", twice("iss"))
	AuthorizationMissingCode = authorization("missing-code", Reject,
		"code and error are both missing", without("code"))
	AuthorizationUnknownCode = authorization("unknown-code", Reject,
		"the provider did not issue the code", with("code", "unknown"))
	AuthorizationCodeAndError = authorization("code-and-error", Reject,
		"code and error are both present", with("error", "access_denied"))
	AuthorizationUnknownParam = authorization("unknown-param", Accept,
		"unknown parameters are present",
		func(_ *wire.Site, v url.Values) { v.Set("session_state", "a.b"); v.Set("x", "") })

	AuthorizationAccessDenied = authorizationError("access-denied",
		"access_denied", "the user refused")
	AuthorizationLoginRequired = authorizationError("login-required",
		"login_required", "there is no session")
	AuthorizationServerError = authorizationError("server-error",
		"server_error", "the provider failed")
	AuthorizationUnknownError = authorizationError("unknown-error",
		"Y500015", "an error code of this provider only")
	AuthorizationScriptInError = authorizationError("script-in-error",
		"access_denied", `<script>alert("oidctest")</script>"'><img src=x onerror=alert(1)>`)
)

func authorization(name string, verdict Verdict, doc string,
	effect func(*wire.Site, url.Values)) Fault {
	return declare(Fault{Name: "authorization/" + name, Doc: doc,
		Endpoint: wire.EndpointAuthorization, Verdict: verdict},
		wire.Effect{Authorization: effect})
}

func authorizationError(name, code, description string) Fault {
	doc := "error is " + code + " and error_description is: " + description
	return authorization(name, Reject, doc, func(_ *wire.Site, v url.Values) {
		v.Del("code")
		v.Set("error", code)
		v.Set("error_description", description)
	})
}

func with(name, value string) func(*wire.Site, url.Values) {
	return func(_ *wire.Site, v url.Values) { v.Set(name, value) }
}

func without(name string) func(*wire.Site, url.Values) {
	return func(_ *wire.Site, v url.Values) { v.Del(name) }
}

func twice(name string) func(*wire.Site, url.Values) {
	return func(_ *wire.Site, v url.Values) {
		if v.Has(name) {
			v.Add(name, v.Get(name))
		}
	}
}
