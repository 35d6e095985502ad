package fault

import (
	"net/http"

	"github.com/oidcrp/oidcrp/oidctest/internal/wire"
)

// Faults of the token response.
var (
	TokenNoIDToken = tokenResponse("no-id-token", Reject,
		"id_token is missing", members(remove("id_token")))
	TokenNumberIDToken = tokenResponse("number-id-token", Reject,
		"id_token is a number", members(put("id_token", 42)))
	TokenEmptyIDToken = tokenResponse("empty-id-token", Reject,
		"id_token is the empty string", members(put("id_token", "")))
	TokenNoAccessToken = tokenResponse("no-access-token", Reject,
		"access_token is missing", members(remove("access_token")))
	TokenLowercaseType = tokenResponse("lowercase-type", Accept,
		"token_type is bearer", members(put("token_type", "bearer")))
	TokenMACType = tokenResponse("mac-type", Reject,
		"token_type is mac", members(put("token_type", "mac")))
	TokenNoType = tokenResponse("no-type", Reject,
		"token_type is missing", members(remove("token_type")))
	TokenNoExpiresIn = tokenResponse("no-expires-in", Accept,
		"expires_in is missing", members(remove("expires_in")))
	TokenStringExpiresIn = tokenResponse("string-expires-in", Either,
		"expires_in is a string", members(put("expires_in", "3600")))
	TokenNoScope = tokenResponse("no-scope", Accept,
		"scope is missing", members(remove("scope")))
	TokenUnknownMember = tokenResponse("unknown-member", Accept,
		"an unknown member is present", members(put("x", []any{nil})))

	TokenDuplicateMember = tokenResponse("duplicate-member", Reject,
		"access_token appears twice", body(appendMember(`"access_token":"mallory"`)))
	TokenUppercaseMember = tokenResponse("uppercase-member", Reject,
		"id_token is named ID_TOKEN", members(move("id_token", "ID_TOKEN")))
	TokenErrorWith200 = tokenResponse("error-with-200", Reject,
		"the response is 200 with the error invalid_grant", replace(http.StatusOK, "invalid_grant"))
	TokenInvalidGrant = tokenResponse("invalid-grant", Reject,
		"the response is 400 invalid_grant", replace(http.StatusBadRequest, "invalid_grant"))
	TokenInvalidClient = tokenResponse("invalid-client", Reject,
		"the response is 401 invalid_client", replace(http.StatusUnauthorized, "invalid_client"))
	TokenServerError = tokenResponse("server-error", Reject,
		"the response is 500 server_error", replace(http.StatusInternalServerError, "server_error"))
)

func tokenResponse(name string, verdict Verdict, doc string, effect func(*wire.Response)) Fault {
	return declare(Fault{Name: "token/" + name, Doc: doc, Endpoint: wire.EndpointToken,
		Verdict: verdict}, wire.Effect{TokenResponse: effect})
}
