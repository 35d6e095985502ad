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
	TokenSpaceInAccessToken = tokenResponse("space-in-access-token", Reject,
		"access_token contains a space", members(put("access_token", "two words")))
	TokenControlInAccessToken = tokenResponse("control-in-access-token", Reject,
		"access_token contains a tab, a control character", members(put("access_token", "a\tb")))
	TokenNonASCIIAccessToken = tokenResponse("non-ascii-access-token", Reject,
		"access_token contains a character outside ASCII", members(put("access_token", "jéton")))
	TokenControlInRefreshToken = tokenResponse("control-in-refresh-token", Reject,
		"refresh_token contains a control character", members(put("refresh_token", "a\x00b")))
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
	TokenFractionExpiresIn = tokenResponse("fraction-expires-in", Accept,
		"expires_in is written as 3600.0", body(replaceMember("expires_in", "3600.0")))
	TokenExponentExpiresIn = tokenResponse("exponent-expires-in", Accept,
		"expires_in is written as 3.6e3", body(replaceMember("expires_in", "3.6e3")))
	TokenNegativeExpiresIn = tokenResponse("negative-expires-in", Either,
		"expires_in is -1, which says nothing", members(put("expires_in", -1)))
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
