package fault

import (
	"net/http"
	"time"

	"github.com/oidcrp/oidcrp/oidctest/internal/wire"
)

// Faults of the refresh response (OIDC Core 12.2). [AtRefresh] makes more of them.
var (
	RefreshWrongIss     = declareAtRefresh(Reject, IDTokenWrongIss)
	RefreshWrongAud     = declareAtRefresh(Reject, IDTokenWrongAud)
	RefreshBadSignature = declareAtRefresh(Reject, IDTokenBadSignature)
	RefreshOtherSub     = refresh("other-sub", Reject,
		"sub is not the one of the login", wire.Effect{IDToken: set("sub", "mallory")})
	RefreshOlderIat = refresh("older-iat", Reject,
		"iat is an hour before the login", wire.Effect{IDToken: shift("iat", -time.Hour)})
	RefreshEarlierAuthTime = refresh("earlier-auth-time", Reject,
		"auth_time is an hour before the login", wire.Effect{IDToken: shift("auth_time", -time.Hour)})
	RefreshLaterAuthTime = refresh("later-auth-time", Accept,
		"auth_time is later than that of the login: the person authenticated again in another app",
		wire.Effect{IDToken: shift("auth_time", time.Second)})
	RefreshInvalidRequest = refresh("invalid-request", Reject,
		"the response is 400 invalid_request with a description of the refresh token, as from Dex",
		wire.Effect{TokenResponse: func(res *wire.Response) {
			*res = wire.ErrorResponse(http.StatusBadRequest, "invalid_request",
				"Refresh token is invalid or has already been claimed by another client.")
		}})
	RefreshNoIDToken    = declareAtRefresh(Accept, TokenNoIDToken)
	RefreshInvalidGrant = declareAtRefresh(Reject, TokenInvalidGrant)
	RefreshServerError  = declareAtRefresh(Reject, TokenServerError)

	// RFC 6749 section 6 does not require rotation.
	RefreshNoNewToken = refresh("no-new-token", Accept,
		"refresh_token is missing and the old one remains valid",
		wire.Effect{TokenResponse: members(remove("refresh_token")), KeepRefreshToken: true})
)

func declareAtRefresh(verdict Verdict, f Fault) Fault {
	f = AtRefresh(f)
	f.Verdict = verdict
	return declare(f, wire.EffectOf(f))
}

func refresh(name string, verdict Verdict, doc string, e wire.Effect) Fault {
	e.Refresh = true
	return declare(Fault{Name: "refresh/" + name, Doc: doc, Endpoint: wire.EndpointToken,
		Verdict: verdict, Needs: NeedsRefresh}, e)
}
