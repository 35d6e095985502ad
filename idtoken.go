package oidcrp

// This file implements ID Token validation, OIDC Core 3.1.3.7, rule by rule in
// its numbered order.

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	josekit "github.com/oidcrp/oidcrp/internal/jose"
	"github.com/oidcrp/oidcrp/internal/strictjson"
)

const idTokenName = "ID Token"

// maxTokenAge is how old an iat may be. A token is verified moments after it was
// issued; a day leaves room for clocks that differ.
const maxTokenAge = 24 * time.Hour

// expectedIDToken is what the login asked for. The ID Token of a refresh has no
// expected nonce: it is compared with the first ID Token instead.
type expectedIDToken struct {
	nonce       string   // empty: a refresh, where none is required
	acr         []string // one of them; nil: any or none
	maxAge      *int64   // seconds; nil: not asked
	accessToken string   // for at_hash
	issuer      string   // that of the authentication response; empty: any that is accepted
}

// idToken is a verified ID Token. Times that it does not carry are zero.
type idToken struct {
	raw       string // a JWS, even if it came encrypted
	encrypted bool
	payload   []byte
	members   strictjson.Members // of payload
	alg       string

	issuer, subject    string
	keyIssuer          string // the issuer whose tokens its key verifies; empty: any
	audience           []string
	azp                string
	expiry, issuedAt   time.Time
	notBefore          time.Time
	authTime           time.Time
	sessionExpiry      time.Time
	nonce, acr, atHash string
	hasAzp, hasAtHash  bool // present, even if empty
	amr                []string
	sid                string
}

// rules checks a token's claims by values and a clock alone: no network, no
// keys, no Client.
type rules struct {
	issuer, clientID string
	issuers          []string // accepted ones, as in Provider.AcceptedIssuers; nil: issuer alone
	trusted          []string // further audiences
	skew             time.Duration
	signedWith       string // the registered algorithm of ID Tokens; may be empty
	now              func() time.Time
}

// checkIDToken checks every rule about claims: 2 to 5 and 9 to 13.
func (ru *rules) checkIDToken(t *idToken, expected *expectedIDToken) error {
	for _, rule := range []func(*idToken, *expectedIDToken) error{
		ru.checkIssuer, ru.checkAudience, ru.checkAuthorizedParty, ru.checkTimes, ru.checkSessionExpiry,
		ru.checkSubject, checkNonce, checkACR, ru.checkAuthTime, checkAccessTokenHash,
	} {
		if err := rule(t, expected); err != nil {
			return err
		}
	}
	return nil
}

// verifyIDToken returns the ID Token once every rule holds. Its errors are
// [CodeTokenRefused], or [CodeRequirementUnmet] for acr and auth_time, with a
// [*TokenError]; or that the keys cannot be had.
func (f *flow) verifyIDToken(
	ctx context.Context, m *Metadata, raw string, expected *expectedIDToken,
) (*idToken, error) {
	if raw == "" {
		return nil, fail("id_token", CodeTokenRefused,
			refuseToken(idTokenName, "id_token", "one in the token response", ""))
	}
	// Rules 1 and 6 to 8 come first: no claim is read before the signature is
	// verified.
	//
	// This does not use go-oidc's IDTokenVerifier, because that parses the token
	// again, turns every error into text, so that a provider that is down looks
	// like a forged token, allows no clock skew, matches claim names in any case,
	// and makes an exception for the issuer of one provider.
	jws, payload, header, err := f.openIDToken(ctx, idTokenName, raw, f.rules.idTokenAlgs(m))
	if err != nil {
		return nil, fail("id_token", CodeTokenRefused, err)
	}
	if err := checkIDTokenType(header.Typ); err != nil {
		return nil, fail("id_token", CodeTokenRefused, err)
	}
	token, err := readIDToken(payload)
	if err != nil {
		return nil, fail("id_token", CodeTokenRefused, err)
	}
	token.raw, token.encrypted, token.alg = jws, jws != raw, header.Alg
	token.keyIssuer = header.KeyIssuer
	if err := f.rules.checkIDToken(token, expected); err != nil {
		return nil, fail("id_token", ruleCode(err), err)
	}
	if _, seen := f.seenAlgs.Load(token.alg); !seen {
		f.seenAlgs.Store(token.alg, nil)
	}
	return token, nil
}

// checkIDTokenType refuses a token whose typ says that it is of another kind, such
// as at+jwt, logout+jwt or secevent+jwt (RFC 8725 section 3.11). No typ is
// registered for ID Tokens: most have JWT or none, and a value that names no kind
// is ignored.
func checkIDTokenType(typ string) error {
	if strings.HasSuffix(tokenType(typ), "+jwt") {
		return refuseToken(idTokenName, "typ", "JWT or none", typ)
	}
	return nil
}

// tokenType returns a typ as a media type in lower case without "application/",
// which may be left out (RFC 7515 section 4.1.9).
func tokenType(typ string) string {
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}

// openIDToken decrypts and verifies a token that is protected as an ID Token
// is: rules 1 and 6 to 8, with one of algs. It returns the JWS, its payload and its
// header.
func (f *flow) openIDToken(
	ctx context.Context, name, raw string, algs []string,
) (jws string, payload []byte, header *josekit.Header, err error) {
	r := f.registration
	jws, err = f.provider.secrets.decrypt(name, raw, r.IDTokenEncryptedResponseAlg, r.IDTokenEncryptedResponseEnc)
	if err != nil {
		return "", nil, nil, err
	}
	payload, header, err = f.provider.keys.verify(ctx, name, jws, algs)
	return jws, payload, header, err
}

// ruleCode returns CodeRequirementUnmet for a valid token of a login that was not
// strong or recent enough, which the person can correct, and else
// CodeTokenRefused.
func ruleCode(err error) Code {
	var refused *TokenError
	if errors.As(err, &refused) && (refused.Check == "acr" || refused.Check == "auth_time") {
		return CodeRequirementUnmet
	}
	return CodeTokenRefused
}

// idTokenAlgs returns the algorithms that an ID Token may be signed with: the
// registered one, else the asymmetric ones that the provider advertises, else
// RS256 (OIDC Core 3.1.3.7 rule 7). The token's header does not decide.
func (ru *rules) idTokenAlgs(m *Metadata) []string {
	if alg := ru.signedWith; alg != "" {
		return []string{alg}
	}
	var algs []string
	for _, alg := range m.IDTokenSigningAlgValuesSupported {
		if josekit.IsAsymmetric(alg) {
			algs = append(algs, alg)
		}
	}
	if algs == nil {
		return []string{"RS256"}
	}
	return algs
}

// readIDToken reads the claims that decide something, by exact name and type.
func readIDToken(payload []byte) (*idToken, error) {
	members, err := strictjson.Object(payload)
	if err != nil {
		return nil, refuseToken(idTokenName, "claims", "one strict JSON object", err.Error())
	}
	t := &idToken{payload: payload, members: members, hasAzp: members.Has("azp"), hasAtHash: members.Has("at_hash")}
	for _, claim := range []struct {
		name  string
		value *string
	}{
		{"iss", &t.issuer}, {"sub", &t.subject}, {"azp", &t.azp}, {"nonce", &t.nonce},
		{"acr", &t.acr}, {"at_hash", &t.atHash}, {"sid", &t.sid},
	} {
		if *claim.value, _, err = members.String(claim.name); err != nil {
			return nil, refuseToken(idTokenName, claim.name, "a string", "")
		}
	}
	for _, claim := range []struct {
		name  string
		value *time.Time
	}{
		{"exp", &t.expiry}, {"iat", &t.issuedAt}, {"nbf", &t.notBefore}, {"auth_time", &t.authTime},
		{"session_expiry", &t.sessionExpiry},
	} {
		if *claim.value, _, err = members.Time(claim.name); err != nil {
			return nil, refuseToken(idTokenName, claim.name, "a number of seconds", "")
		}
	}
	if t.audience, _, err = members.StringOrStrings("aud"); err != nil {
		return nil, refuseToken(idTokenName, "aud", "a string or strings", "")
	}
	// OIDC Core 2 wants an array, but some providers send a single method as a string.
	if t.amr, _, err = members.StringOrStrings("amr"); err != nil {
		return nil, refuseToken(idTokenName, "amr", "a string or strings", "")
	}
	return t, nil
}

// checkIssuer is rule 2, byte for byte. expected is nil for a Logout Token.
func (ru *rules) checkIssuer(t *idToken, expected *expectedIDToken) error {
	if !ru.accepts(t.issuer) {
		return refuseToken(idTokenName, "iss", ru.expectedIssuer(), t.issuer)
	}
	if expected != nil && expected.issuer != "" && t.issuer != expected.issuer { // RFC 9207 section 2.4
		return refuseToken(idTokenName, "iss", fmt.Sprintf("that of the authentication response, %q", expected.issuer), t.issuer)
	}
	return ru.checkKeyIssuer(idTokenName, t.keyIssuer, t.issuer)
}

// tenantID stands for the tenant in the issuer of a provider with many, as in the metadata
// of Microsoft Entra.
const tenantID = "{tenantid}"

// accepts reports whether tokens may be of issuer.
func (ru *rules) accepts(issuer string) bool {
	if ru.issuers == nil {
		return issuer == ru.issuer
	}
	return slices.ContainsFunc(ru.issuers, func(accepted string) bool { return fitsIssuer(accepted, issuer) })
}

// expectedIssuer names the accepted issuers in an error.
func (ru *rules) expectedIssuer() string {
	if ru.issuers == nil {
		return fmt.Sprintf("%q", ru.issuer)
	}
	return "one of " + quoteList(ru.issuers)
}

// checkKeyIssuer refuses a token of issuer that was signed with a key for the tokens of
// another one. Where only one issuer is accepted, all keys are that one's.
func (ru *rules) checkKeyIssuer(token, keyIssuer, issuer string) error {
	if ru.issuers == nil || keyIssuer == "" || fitsIssuer(keyIssuer, issuer) {
		return nil
	}
	return refuseToken(token, "iss", fmt.Sprintf("%q, for which its key is", keyIssuer), issuer)
}

// fitsIssuer reports whether issuer is accepted, byte for byte, or accepted with the id of
// a tenant in the place of {tenantid}.
func fitsIssuer(accepted, issuer string) bool {
	before, after, template := strings.Cut(accepted, tenantID)
	if !template {
		return issuer == accepted
	}
	tenant, ok := strings.CutPrefix(issuer, before)
	if !ok {
		return false
	}
	tenant, ok = strings.CutSuffix(tenant, after)
	return ok && tenant != "" && !strings.ContainsFunc(tenant, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-'
	})
}

// checkAudience is rule 3: aud must contain this client and no audience that the
// Config does not trust.
func (ru *rules) checkAudience(t *idToken, _ *expectedIDToken) error {
	if !slices.Contains(t.audience, ru.clientID) {
		return ru.refuseAudience(idTokenName, t.audience)
	}
	if slices.ContainsFunc(t.audience, ru.untrusted) {
		return ru.refuseAudience(idTokenName, t.audience)
	}
	return nil
}

// refuseAudience says what is wrong with the audience of a token.
func (ru *rules) refuseAudience(token string, audience []string) *TokenError {
	i := slices.IndexFunc(audience, ru.untrusted)
	switch got := strings.Join(audience, " "); {
	case strings.TrimSpace(got) == "":
		return refuseToken(token, "aud", fmt.Sprintf("%q, but it is empty", ru.clientID), "")
	case !slices.Contains(audience, ru.clientID):
		return refuseToken(token, "aud", fmt.Sprintf("%q", ru.clientID), got)
	default:
		return refuseToken(token, "aud",
			"no untrusted audience (if this one may have the token too, add it to Provider.TrustedAudiences)", audience[i])
	}
}

// untrusted reports whether aud is neither this client nor one that the Config
// trusts.
func (ru *rules) untrusted(aud string) bool {
	return aud != ru.clientID && !slices.Contains(ru.trusted, aud)
}

// checkAuthorizedParty is rules 4 and 5.
func (ru *rules) checkAuthorizedParty(t *idToken, _ *expectedIDToken) error {
	if t.hasAzp && t.azp != ru.clientID {
		return refuseToken(idTokenName, "azp", fmt.Sprintf("%q", ru.clientID), t.azp)
	}
	return nil
}

// checkSessionExpiry refuses a login whose session would already be over (OpenID
// IPSIE SL1): the person would be sent to the provider again and again. A refresh
// may end a session.
func (ru *rules) checkSessionExpiry(t *idToken, expected *expectedIDToken) error {
	if expected.nonce != "" && !t.sessionExpiry.IsZero() && !ru.now().Before(t.sessionExpiry) {
		return refuseTokenTime(idTokenName, "session_expiry", byClock("a time to come", ru.now()), t.sessionExpiry)
	}
	return nil
}

// checkTimes is rules 9 and 10, and nbf (RFC 7519 section 4.1.5).
func (ru *rules) checkTimes(t *idToken, _ *expectedIDToken) error {
	now, skew := ru.now(), ru.skew
	switch {
	case t.expiry.IsZero():
		return refuseToken(idTokenName, "exp", "one", "")
	case !now.Add(-skew).Before(t.expiry):
		return refuseTokenTime(idTokenName, "exp", byClock("a time to come", now), t.expiry)
	case t.issuedAt.IsZero():
		return refuseToken(idTokenName, "iat", "one", "")
	case t.issuedAt.After(now.Add(skew)):
		return refuseTokenTime(idTokenName, "iat", ru.notAfter(now), t.issuedAt)
	case t.issuedAt.Before(now.Add(-maxTokenAge)):
		return refuseTokenTime(idTokenName, "iat", byClock("a time of the last day", now), t.issuedAt)
	case t.notBefore.After(now.Add(skew)):
		return refuseTokenTime(idTokenName, "nbf", ru.notAfter(now), t.notBefore)
	}
	return nil
}

// notAfter describes the expected time with this machine's clock, so that an
// operator can see that a clock is wrong.
func (ru *rules) notAfter(now time.Time) string {
	return fmt.Sprintf("at most %s after this machine's time, %s",
		ru.skew, now.UTC().Format(time.RFC3339))
}

// checkSubject is OIDC Core 2: required, "MUST NOT exceed 255 ASCII
// characters".
func (ru *rules) checkSubject(t *idToken, _ *expectedIDToken) error {
	if len(t.subject) == 0 || len(t.subject) > 255 ||
		strings.ContainsFunc(t.subject, func(r rune) bool { return r < ' ' || r > '~' }) {
		return refuseToken(idTokenName, "sub", "1 to 255 ASCII characters", t.subject)
	}
	return nil
}

// checkNonce is rule 11. Neither value is shown, since a nonce is a secret of the
// login.
func checkNonce(t *idToken, expected *expectedIDToken) error {
	if expected.nonce == "" {
		return nil
	}
	if subtle.ConstantTimeCompare([]byte(t.nonce), []byte(expected.nonce)) != 1 {
		return refuseToken(idTokenName, "nonce", "the one that was sent", "")
	}
	return nil
}

// checkACR is rule 12: acr must be one of the required values.
func checkACR(t *idToken, expected *expectedIDToken) error {
	if len(expected.acr) > 0 && !slices.Contains(expected.acr, t.acr) {
		return refuseToken(idTokenName, "acr", fmt.Sprintf("one of %q", expected.acr), t.acr)
	}
	return nil
}

// checkAuthTime is rule 13. auth_time is required when max_age was sent.
func (ru *rules) checkAuthTime(t *idToken, expected *expectedIDToken) error {
	if expected.maxAge == nil {
		return nil
	}
	now, skew := ru.now(), ru.skew
	oldest := now.Add(-time.Duration(*expected.maxAge)*time.Second - skew)
	switch {
	case t.authTime.IsZero():
		return refuseToken(idTokenName, "auth_time", "one, since max_age was sent", "")
	case t.authTime.Before(oldest) || t.authTime.After(now.Add(skew)):
		return refuseTokenTime(idTokenName, "auth_time", byClock(fmt.Sprintf("at most %d s ago", *expected.maxAge), now), t.authTime)
	}
	return nil
}

// checkAccessTokenHash is OIDC Core 3.1.3.8: the left half of the access
// token's hash, when the token has one.
func checkAccessTokenHash(t *idToken, expected *expectedIDToken) error {
	if !t.hasAtHash {
		return nil
	}
	want := josekit.HalfHash(t.alg, expected.accessToken)
	if subtle.ConstantTimeCompare([]byte(want), []byte(t.atHash)) != 1 {
		return refuseToken(idTokenName, "at_hash", "that of the access token", "")
	}
	return nil
}
