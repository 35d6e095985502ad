package oidcrp

// This file verifies Logout Tokens (OpenID Connect Back-Channel Logout 1.0 sections
// 2.4 and 2.6).

import (
	"context"
	"errors"
	"slices"
	"time"

	josekit "github.com/oidcrp/oidcrp/internal/jose"
	"github.com/oidcrp/oidcrp/internal/strictjson"
)

const (
	logoutTokenName  = "Logout Token"
	logoutTokenType  = "logout+jwt"
	logoutTokenEvent = "http://schemas.openid.net/event/backchannel-logout"
	// maxLogoutTokenAge is how old a Logout Token's iat may be. Its jti is stored
	// for longer than that, so that no token works twice.
	maxLogoutTokenAge = 10 * time.Minute
)

// logoutToken is what a verified Logout Token says.
type logoutToken struct {
	issuer, subject, sid, jti string
}

// verifyLogoutToken is Back-Channel Logout 2.6, with the keys, the algorithm
// and, where ID Tokens are encrypted, the encryption of an ID Token.
func (f *flow) verifyLogoutToken(ctx context.Context, raw string) (logoutToken, error) {
	refused := func(err error) (logoutToken, error) {
		return logoutToken{}, fail("backchannel", CodeTokenRefused, err)
	}
	m, err := f.provider.metadata(ctx)
	if err != nil {
		return logoutToken{}, err
	}
	_, payload, header, err := f.openIDToken(ctx, logoutTokenName, raw, f.logoutTokenAlgs(m))
	if err != nil {
		return refused(f.nameAlgSetting(err))
	}
	// Explicit typing is recommended, but not required (Back-Channel Logout 2.4,
	// 4.1). Many providers send the type JWT. The claims decide whether it is a
	// Logout Token.
	switch tokenType(header.Typ) {
	case "", "jwt", logoutTokenType:
	default:
		return refused(refuseToken(logoutTokenName, "typ", logoutTokenType+", JWT or none", header.Typ))
	}
	claims, err := readIDToken(payload)
	if err != nil {
		return refused(renameToken(err))
	}
	claims.keyIssuer = header.KeyIssuer
	jti, err := f.rules.checkLogoutToken(payload, claims)
	if err != nil {
		return refused(renameToken(err))
	}
	return logoutToken{issuer: claims.issuer, subject: claims.subject, sid: claims.sid, jti: jti}, nil
}

// logoutTokenAlgs returns the algorithms that a Logout Token may be signed with
// ("validated in the same manner as an ID Token", Back-Channel Logout 2.6). If none
// is set, those of the ID Tokens verified here: a provider may publish keys of
// several algorithms, but signs what is for one client with one.
func (f *flow) logoutTokenAlgs(m *Metadata) []string {
	if alg := f.logoutTokenAlg; alg != "" {
		return []string{alg}
	}
	algs := f.rules.idTokenAlgs(m)
	seen := slices.DeleteFunc(slices.Clone(algs), func(alg string) bool {
		_, ok := f.seenAlgs.Load(alg)
		return !ok
	})
	if len(seen) == 0 { // nobody has signed in here yet
		return algs
	}
	return seen
}

// nameAlgSetting adds to a refusal for the algorithm what an operator can set.
func (f *flow) nameAlgSetting(err error) error {
	var refused *TokenError
	if f.logoutTokenAlg == "" && errors.As(err, &refused) && refused.Check == "alg" && josekit.IsAsymmetric(refused.Got) {
		refused.Expected += " (if the provider signs Logout Tokens otherwise than ID Tokens, set " + f.setting.name("Provider.LogoutTokenSigningAlg") + ")"
	}
	return err
}

// checkLogoutToken checks the claims of a Logout Token and returns its jti.
func (ru *rules) checkLogoutToken(payload []byte, claims *idToken) (jti string, err error) {
	for _, rule := range []func(*idToken, *expectedIDToken) error{
		ru.checkIssuer, ru.checkAudience, ru.checkLogoutTimes, ru.checkLogoutSubject,
	} {
		if err := rule(claims, nil); err != nil {
			return "", err
		}
	}
	return checkLogoutClaims(payload, claims)
}

// renameToken makes an error of an ID Token's rule one of a Logout Token.
func renameToken(err error) error {
	var refused *TokenError
	if errors.As(err, &refused) {
		refused.Token = logoutTokenName
	}
	return err
}

// checkLogoutTimes bounds the token's age by its iat. exp is checked if present:
// the specification requires it, but some providers do not send it.
func (ru *rules) checkLogoutTimes(t *idToken, _ *expectedIDToken) error {
	now, skew := ru.now(), ru.skew
	switch {
	case t.issuedAt.IsZero():
		return refuseToken(logoutTokenName, "iat", "one", "")
	case t.issuedAt.After(now.Add(skew)), t.issuedAt.Before(now.Add(-maxLogoutTokenAge - skew)):
		return refuseTokenTime(logoutTokenName, "iat", byClock("a time of the last 10 minutes", now), t.issuedAt)
	case !t.expiry.IsZero() && !now.Add(-skew).Before(t.expiry):
		return refuseTokenTime(logoutTokenName, "exp", byClock("a time to come", now), t.expiry)
	}
	return nil
}

// checkLogoutSubject refuses a sub that no ID Token can have (OIDC Core 2).
func (ru *rules) checkLogoutSubject(t *idToken, expected *expectedIDToken) error {
	if t.subject == "" {
		return nil // there may be a sid
	}
	return ru.checkSubject(t, expected)
}

// checkLogoutClaims checks what makes a token a Logout Token and nothing else,
// and returns its jti.
func checkLogoutClaims(payload []byte, t *idToken) (jti string, err error) {
	members, err := strictjson.Object(payload)
	if err != nil {
		return "", refuseToken(logoutTokenName, "claims", "one strict JSON object", err.Error())
	}
	events, eventsErr := strictjson.Object(members["events"])
	_, eventErr := strictjson.Object(events[logoutTokenEvent])
	jti, _, jtiErr := members.String("jti")
	_, hasNonce := members["nonce"]
	switch {
	case eventsErr != nil || eventErr != nil:
		return "", refuseToken(logoutTokenName, "events", "the back-channel logout event", "")
	case hasNonce:
		// "MUST NOT": a Logout Token must never pass for an ID Token.
		return "", refuseToken(logoutTokenName, "nonce", "none", "")
	case jtiErr != nil || jti == "":
		return "", refuseToken(logoutTokenName, "jti", "one", "")
	case t.subject == "" && t.sid == "":
		return "", refuseToken(logoutTokenName, "sub", "sub or sid", "")
	}
	return jti, nil
}
