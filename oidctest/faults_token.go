package oidctest

import "net/http"

// Faults of the token response.
var (
	TokenNoIDToken = tokenResponse("no-id-token", Reject,
		"there is no id_token", members(remove("id_token")))
	TokenNumberIDToken = tokenResponse("number-id-token", Reject,
		"id_token is a number", members(put("id_token", 42)))
	TokenEmptyIDToken = tokenResponse("empty-id-token", Reject,
		"id_token is the empty string", members(put("id_token", "")))
	TokenNoAccessToken = tokenResponse("no-access-token", Reject,
		"there is no access_token", members(remove("access_token")))
	TokenLowercaseType = tokenResponse("lowercase-type", Accept,
		"token_type is bearer", members(put("token_type", "bearer")))
	TokenMACType = tokenResponse("mac-type", Reject,
		"token_type is mac", members(put("token_type", "mac")))
	TokenNoType = tokenResponse("no-type", Reject,
		"there is no token_type", members(remove("token_type")))
	TokenNoExpiresIn = tokenResponse("no-expires-in", Accept,
		"there is no expires_in", members(remove("expires_in")))
	TokenStringExpiresIn = tokenResponse("string-expires-in", Either,
		"expires_in is a string", members(put("expires_in", "3600")))
	TokenNoScope = tokenResponse("no-scope", Accept,
		"there is no scope", members(remove("scope")))
	TokenUnknownMember = tokenResponse("unknown-member", Accept,
		"there is a member that nobody knows", members(put("x", []any{nil})))

	TokenDuplicateMember = tokenResponse("duplicate-member", Reject,
		"access_token is there twice", body(appendMember(`"access_token":"mallory"`)))
	TokenUppercaseMember = tokenResponse("uppercase-member", Reject,
		"ID_TOKEN stands in the place of id_token", members(move("id_token", "ID_TOKEN")))
	TokenErrorWith200 = tokenResponse("error-with-200", Reject,
		"an error comes with status 200", replace(http.StatusOK, "invalid_grant"))
	TokenInvalidGrant = tokenResponse("invalid-grant", Reject,
		"the answer is 400 invalid_grant", replace(http.StatusBadRequest, "invalid_grant"))
	TokenInvalidClient = tokenResponse("invalid-client", Reject,
		"the answer is 401 invalid_client", replace(http.StatusUnauthorized, "invalid_client"))
	TokenServerError = tokenResponse("server-error", Reject,
		"the answer is 500 server_error", replace(http.StatusInternalServerError, "server_error"))
)

// Faults of the refresh response (OIDC Core 12.2). [AtRefresh] makes more of them.
var (
	RefreshWrongIss     = declare(AtRefresh(IDTokenWrongIss))
	RefreshWrongAud     = declare(AtRefresh(IDTokenWrongAud))
	RefreshBadSignature = declare(AtRefresh(IDTokenBadSignature))
	RefreshOtherSub     = declare(atRefresh("other-sub", Reject,
		"sub is another one than at the sign-in", set("sub", "mallory")))
	RefreshNoIDToken = declare(verdict(Accept,
		AtRefresh(TokenNoIDToken)))
	RefreshInvalidGrant = declare(AtRefresh(TokenInvalidGrant))
	RefreshServerError  = declare(AtRefresh(TokenServerError))
	RefreshNoNewToken   = declare(keepRefreshToken("no-new-token",
		"no refresh_token comes back; the old one goes on working"))
)

func tokenResponse(name string, verdict Verdict, doc string,
	effect func(*Provider, *response)) Fault {
	return declare(Fault{Name: "token/" + name, Doc: doc, Endpoint: EndpointToken,
		Verdict: verdict, tokenResponse: effect})
}

func atRefresh(name string, verdict Verdict, doc string, effect func(*token)) Fault {
	return Fault{Name: "refresh/" + name, Doc: doc, Endpoint: EndpointToken, Verdict: verdict,
		Needs: NeedsRefresh, refresh: true, idToken: effect}
}

// keepRefreshToken leaves rotation out, as RFC 6749 section 6 allows.
func keepRefreshToken(name, doc string) Fault {
	return Fault{Name: "refresh/" + name, Doc: doc, Endpoint: EndpointToken, Verdict: Accept,
		Needs: NeedsRefresh, refresh: true, keepRefreshToken: true,
		tokenResponse: members(remove("refresh_token"))}
}

func verdict(v Verdict, f Fault) Fault {
	f.Verdict = v
	return f
}

// The effects below are used on every JSON answer.

// members changes the members of the answer, when it is a JSON object.
func members(change func(map[string]any)) func(*Provider, *response) {
	return func(_ *Provider, res *response) {
		if res.json != nil {
			change(res.json)
		}
	}
}

func put(name string, v any) func(map[string]any) {
	return func(m map[string]any) { m[name] = v }
}

func remove(name string) func(map[string]any) {
	return func(m map[string]any) { delete(m, name) }
}

func move(name, to string) func(map[string]any) {
	return func(m map[string]any) {
		m[to] = m[name]
		delete(m, name)
	}
}

// body changes the encoded answer.
func body(edit func([]byte) []byte) func(*Provider, *response) {
	return func(_ *Provider, res *response) { res.edit = edit }
}

// appendMember adds a member at the end of a JSON object.
func appendMember(member string) func([]byte) []byte {
	return func(b []byte) []byte {
		return append(append(b[:len(b)-1:len(b)-1], ','), member+"}"...)
	}
}

// replace answers with an error of RFC 6749 section 5.2.
func replace(status int, code string) func(*Provider, *response) {
	return func(_ *Provider, res *response) {
		told := "the provider was told to say so"
		*res = *jsonError(&oauthError{Code: code, Description: told, Status: status})
	}
}
