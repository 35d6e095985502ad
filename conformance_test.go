package oidcrp_test

// This file is the table of the relying-party modules of the OpenID
// Foundation's conformance suite, by the suite's names. A run is in
// conformance_run_test.go, and its results are in docs/conformance.md.

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

// What the suite expects of a relying party, and what became of a run.
const (
	suiteAccepts  = "accept"  // it goes on to the last request
	suiteRejects  = "reject"  // it sends nothing more
	suiteEither   = "either"  // the suite takes both
	suiteReviews  = "review"  // a person looks at it
	suiteOptional = "support" // accept, by those who offer it

	wasAccepted = "accepted"
	wasRefused  = "refused"
	answered200 = "answered 200"
	answered400 = "answered 400"
	notOffered  = "not offered"
)

// A conformanceModule is one test module of the suite.
type conformanceModule struct {
	name     string
	expected string // by the suite
	result   string // of every run
	run      func(*testing.T, *conformanceRun) (result string)
	faults   []fault.Fault
	exists   func(conformanceVariant) bool // nil: in every variant
	shape    func(*conformanceShape)       // what is special about it; may be nil
}

const (
	coreModule   = "oidcc-client-test"
	logoutModule = coreModule + "-rp-"
	fapiModule   = "fapi2-security-profile-final-client-test-"
)

func commits(f ...fault.Fault) []fault.Fault { return f }

var conformanceModules = []conformanceModule{
	// OpenID Connect Core.
	{coreModule, suiteAccepts, wasAccepted, logsIn, nil, nil, nil},
	{coreModule + "-nonce-invalid", suiteRejects, wasRefused, logsIn, commits(fault.IDTokenWrongNonce), nil, nil},
	{coreModule + "-invalid-iss", suiteRejects, wasRefused, logsIn, commits(fault.IDTokenWrongIss), nil, nil},
	{coreModule + "-missing-sub", suiteRejects, wasRefused, logsIn, commits(fault.IDTokenMissingSub), nil, nil},
	{coreModule + "-invalid-aud", suiteRejects, wasRefused, logsIn, commits(fault.IDTokenWrongAud), nil, nil},
	{coreModule + "-missing-aud", suiteRejects, wasRefused, logsIn, commits(fault.IDTokenMissingAud), nil, nil},
	{coreModule + "-missing-iat", suiteRejects, wasRefused, logsIn, commits(fault.IDTokenMissingIat), nil, nil},
	{coreModule + "-kid-absent-single-jwks", suiteAccepts, wasAccepted, logsIn, commits(fault.JWKSUnnamedKeys), nil, nil},
	{coreModule + "-kid-absent-multiple-jwks", suiteEither, wasAccepted, logsIn, commits(fault.JWKSManyUnnamedKeys), nil, nil},
	{coreModule + "-idtoken-sig-rs256", suiteAccepts, wasAccepted, logsIn, nil, nil, signedWith("RS256")},
	{coreModule + "-idtoken-sig-none", suiteEither, wasRefused, logsIn, commits(fault.IDTokenAlgNone), nil, nil},
	{coreModule + "-invalid-sig-rs256", suiteEither, wasRefused, logsIn, commits(fault.IDTokenBadSignature), nil, signedWith("RS256")},
	{coreModule + "-invalid-sig-hs256", suiteEither, wasRefused, logsIn, commits(fault.IDTokenBadSignature), hasSecret, signedWith("HS256")},
	{coreModule + "-invalid-sig-es256", suiteEither, wasRefused, logsIn, commits(fault.IDTokenBadSignature), nil, signedWith("ES256")},
	{coreModule + "-userinfo-invalid-sub", suiteRejects, wasRefused, logsIn, commits(fault.UserInfoWrongSub), nil, nil},
	{coreModule + "-scope-userinfo-claims", suiteAccepts, wasAccepted, getsTheClaims, nil, nil, asksForAllScopes},
	{coreModule + "-client-secret-basic", suiteAccepts, wasAccepted, logsIn, nil, onlyMethod("client_secret_basic"), choosesTheMethod},
	{coreModule + "-userinfo-bearer-header", suiteAccepts, wasAccepted, logsIn, nil, nil, nil},
	{coreModule + "-userinfo-bearer-body", suiteAccepts, wasAccepted, logsIn, nil, nil, takesTokenInBody},
	{coreModule + "-aggregated-claims", suiteAccepts, wasAccepted, takesNoForeignClaim, commits(fault.UserInfoAggregated), nil, nil},
	{coreModule + "-distributed-claims", suiteOptional, notOffered, fetchesNoForeignClaim, commits(fault.UserInfoDistributed), nil, nil},
	{coreModule + "-mtls-endpoint-aliases", suiteAccepts, wasAccepted, usesTheAlias, nil, hasCertificate, announcesAliases},
	{coreModule + "-nonce-unless-code-flow", suiteOptional, notOffered, onlyKnowsCode, nil, nil, nil},
	{coreModule + "-missing-chash", suiteOptional, notOffered, onlyKnowsCode, nil, nil, nil},
	{coreModule + "-invalid-chash", suiteOptional, notOffered, onlyKnowsCode, nil, nil, nil},
	{coreModule + "-missing-athash", suiteOptional, notOffered, onlyKnowsCode, nil, nil, nil},
	{coreModule + "-invalid-athash", suiteOptional, notOffered, onlyKnowsCode, nil, nil, nil},
	{coreModule + "-form-post-error", suiteRejects, wasRefused, showsTheError, nil, isFormPost, asksTheImpossible},

	// Discovery and keys.
	{coreModule + "-discovery-openid-config", suiteAccepts, wasAccepted, logsIn, nil, nil, nil},
	{coreModule + "-discovery-jwks-uri-keys", suiteAccepts, wasAccepted, logsIn, nil, nil, movesTheKeys},
	{coreModule + "-discovery-issuer-mismatch", suiteRejects, wasRefused, logsIn, commits(fault.DiscoveryWrongIssuer), nil, nil},
	{coreModule + "-signing-key-rotation-just-before-signing", suiteAccepts, wasAccepted, logsInAgain, commits(fault.IDTokenRotatedKeys), nil, nil},
	{coreModule + "-signing-key-rotation", suiteAccepts, wasAccepted, logsInBeforeAndAfterRotation, nil, nil, nil},
	{coreModule + "-discovery-webfinger-acct", suiteOptional, notOffered, asksNoWebFinger("acct:oidcrp.%s@127.0.0.1"), nil, nil, nil},
	{coreModule + "-discovery-webfinger-url", suiteOptional, notOffered, asksNoWebFinger("https://127.0.0.1/oidcrp/%s?"), nil, nil, nil},
	{coreModule + "-dynamic-registration", suiteOptional, notOffered, doesNotRegister, nil, nil, nil},
	{coreModule + "-request-uri-signed-rs256", suiteOptional, notOffered, sendsNoRequestObject, nil, nil, nil},
	{coreModule + "-request-uri-signed-none", suiteOptional, notOffered, sendsNoRequestObject, nil, nil, nil},
	{coreModule + "-userinfo-signed", suiteAccepts, wasAccepted, logsIn, nil, nil, signsUserInfo},

	// Logins that others start, and refresh.
	{coreModule + "-3rd-party-init-login", suiteAccepts, wasAccepted, isSentToLogIn, nil, nil, nil},
	{coreModule + "-refresh-token", suiteAccepts, wasAccepted, refreshes, nil, nil, issuesRefreshTokens},
	{coreModule + "-refresh-token-invalid-issuer", suiteRejects, wasRefused, refreshes, commits(fault.RefreshWrongIss), nil, issuesRefreshTokens},
	{coreModule + "-refresh-token-invalid-sub", suiteRejects, wasRefused, refreshes, commits(fault.RefreshOtherSub), nil, issuesRefreshTokens},

	// Logout.
	{logoutModule + "init-logout", suiteAccepts, wasAccepted, logsOutThere, nil, nil, endsSessions},
	{logoutModule + "init-logout-other-state", suiteAccepts, wasAccepted, logsOutThere, commits(fault.LogoutOtherState), nil, endsSessions},
	{logoutModule + "init-logout-no-state", suiteAccepts, wasAccepted, logsOutThere, commits(fault.LogoutNoState), nil, endsSessions},
	{logoutModule + "backchannel-rpinitlogout", suiteAccepts, answered200, isToldToLogOut, nil, nil, endsSessions},
	{logoutModule + "backchannel-rpinitlogout-alg-none", suiteRejects, answered400, isToldToLogOut, commits(fault.LogoutTokenAlgNone), nil, endsSessions},
	{logoutModule + "backchannel-rpinitlogout-wrong-alg", suiteRejects, answered400, isToldToLogOut, commits(fault.LogoutTokenOtherAlg), nil, endsSessions},
	{logoutModule + "backchannel-rpinitlogout-no-event", suiteRejects, answered400, isToldToLogOut, commits(fault.LogoutTokenNoEvent), nil, endsSessions},
	{logoutModule + "backchannel-rpinitlogout-wrong-event", suiteRejects, answered400, isToldToLogOut, commits(fault.LogoutTokenWrongEvent), nil, endsSessions},
	{logoutModule + "backchannel-rpinitlogout-with-nonce", suiteRejects, answered400, isToldToLogOut, commits(fault.LogoutTokenWithNonce), nil, endsSessions},
	{logoutModule + "backchannel-rpinitlogout-wrong-aud", suiteRejects, answered400, isToldToLogOut, commits(fault.LogoutTokenWrongAud), nil, endsSessions},
	{logoutModule + "backchannel-rpinitlogout-wrong-iss", suiteRejects, answered400, isToldToLogOut, commits(fault.LogoutTokenWrongIss), nil, endsSessions},
	{logoutModule + "frontchannel-rpinitlogout", suiteReviews, wasAccepted, logsOutThereInAFrame, nil, nil, framesLogout},
	{logoutModule + "frontchannel-opinitlogout", suiteReviews, wasAccepted, isLoggedOutInAFrame, nil, nil, framesLogout},
	{coreModule + "-session-management", suiteOptional, notOffered, watchesNoSession, nil, nil, endsSessions},

	// FAPI 2.0, as far as it concerns any relying party.
	{fapiModule + "happy-path", suiteAccepts, wasAccepted, pushesTheRequest, nil, nil, asFAPI},
	{fapiModule + "discovery-issuer-mismatch", suiteRejects, wasRefused, logsIn, commits(fault.DiscoveryWrongIssuer), nil, asFAPI},
	{fapiModule + "invalid-missing-iss", suiteRejects, wasRefused, logsIn, commits(fault.IDTokenMissingIss), nil, asFAPI},
	{fapiModule + "invalid-secondary-aud", suiteRejects, wasRefused, logsIn, commits(fault.IDTokenExtraAud), nil, asFAPI},
	{fapiModule + "valid-aud-as-array", suiteAccepts, wasAccepted, logsIn, commits(fault.IDTokenArrayAud), nil, asFAPI},
	{fapiModule + "invalid-alternate-alg", suiteRejects, wasRefused, logsIn, commits(fault.IDTokenOtherAlg), nil, asFAPI},
	{fapiModule + "invalid-expired-exp", suiteRejects, wasRefused, logsIn, commits(fault.IDTokenExpired), nil, asFAPI},
	{fapiModule + "invalid-missing-exp", suiteRejects, wasRefused, logsIn, commits(fault.IDTokenMissingExp), nil, asFAPI},
	{fapiModule + "invalid-authorization-response-iss", suiteRejects, wasRefused, logsIn, commits(fault.AuthorizationWrongIss), nil, asFAPI},
	{fapiModule + "remove-authorization-response-iss", suiteRejects, wasRefused, logsIn, commits(fault.AuthorizationMissingIss), nil, asFAPI},
	{fapiModule + "ensure-authorization-response-with-invalid-state-fails", suiteRejects, wasRefused, logsIn, commits(fault.AuthorizationWrongState), nil, asFAPI},
	{fapiModule + "ensure-authorization-response-with-invalid-missing-state-fails", suiteRejects, wasRefused, logsIn, commits(fault.AuthorizationMissingState), nil, asFAPI},
	{fapiModule + "token-endpoint-response-without-expires_in", suiteAccepts, wasAccepted, logsIn, commits(fault.TokenNoExpiresIn), nil, asFAPI},
	{fapiModule + "token-type-case-insensitivity", suiteAccepts, wasAccepted, logsIn, commits(fault.TokenLowercaseType), nil, asFAPI},
}

// notOfferedBecause says why this package leaves out what a module is about.
var notOfferedBecause = map[string]string{
	coreModule + "-distributed-claims": "The claims endpoint is a URL of another party's choice, " +
		"which a server must not fetch. The login completes, and the references stay in the claims for the app to read.",
	coreModule + "-nonce-unless-code-flow":   onlyCode,
	coreModule + "-missing-chash":            onlyCode,
	coreModule + "-invalid-chash":            onlyCode,
	coreModule + "-missing-athash":           onlyCode,
	coreModule + "-invalid-athash":           onlyCode,
	coreModule + "-discovery-webfinger-acct": noWebFinger,
	coreModule + "-discovery-webfinger-url":  noWebFinger,
	coreModule + "-dynamic-registration": "An app has one registration, made by its owner, and its credentials in its configuration. " +
		"A `registration_endpoint` is never called.",
	coreModule + "-request-uri-signed-rs256": noRequestObject,
	coreModule + "-request-uri-signed-none":  noRequestObject,
	coreModule + "-session-management": "Browsers keep third-party cookies from the provider's frame, so it no longer tells " +
		"anything. `session_state` is ignored; back-channel logout does the same and works.",
}

const (
	onlyCode = "The fault is in an ID Token that comes through the browser. The only response type is `code`, " +
		"a nonce is always sent, and `at_hash` is checked when it is there."
	noWebFinger = "The issuer is in the configuration: the person's word does not choose the provider. " +
		"Nothing is asked of `/.well-known/webfinger`."
	noRequestObject = "Pushed authorization requests (RFC 9126) protect the request and need no page for the provider to fetch. " +
		"Neither `request` nor `request_uri` can be sent as an extra parameter."
)

func hasSecret(v conformanceVariant) bool { return strings.HasPrefix(v.method, "client_secret_") }

func hasCertificate(v conformanceVariant) bool { return strings.HasSuffix(v.method, "tls_client_auth") }

func isFormPost(v conformanceVariant) bool { return v.mode == "form_post" }

func onlyMethod(method string) func(conformanceVariant) bool {
	return func(v conformanceVariant) bool { return v.method == method }
}

// signedWith has the provider announce and use one algorithm. An HMAC has to
// be agreed on; the others are found out.
func signedWith(alg string) func(*conformanceShape) {
	return func(s *conformanceShape) {
		s.registered.IDTokenSignedResponseAlg = alg
		s.provider.Metadata["id_token_signing_alg_values_supported"] = []string{alg}
		if isHMAC := strings.HasPrefix(alg, "HS"); isHMAC {
			s.config.Registration.IDTokenSignedResponseAlg = alg
		}
	}
}

func asksForAllScopes(s *conformanceShape) {
	s.config.Scopes = []string{"openid", "profile", "email", "phone", "address"}
}

func choosesTheMethod(s *conformanceShape) { s.config.Registration.TokenEndpointAuthMethod = "" }

func takesTokenInBody(s *conformanceShape) {
	s.provider.TokenInBody = true
	s.config.Provider.UserInfoTokenInBody = true
}

func announcesAliases(s *conformanceShape) { s.provider.MTLSEndpointAliases = true }

// asksTheImpossible is what the module asks for, to provoke an error.
func asksTheImpossible(s *conformanceShape) {
	s.config.Login = oidcrp.AuthOptions{Prompt: "none", MaxAge: new(time.Duration)}
	s.violation = "authorization: max_age 0 with prompt none cannot be met"
}

func movesTheKeys(s *conformanceShape) {
	s.provider.Paths = map[string]string{oidctest.EndpointJWKS: "/jwksQwErTyUiOp"}
}

func signsUserInfo(s *conformanceShape) {
	s.registered.UserInfoSignedResponseAlg = "RS256"
	s.config.Registration.UserInfoSignedResponseAlg = "RS256"
}

func issuesRefreshTokens(s *conformanceShape) {
	s.provider.NoRefreshToken = false
	s.config.Tokens.Keep = true
}

func endsSessions(s *conformanceShape) {
	s.provider.NoEndSession = false
	s.provider.SessionState = true
	s.provider.OddValues = true
	for _, channel := range []string{"frontchannel", "backchannel"} {
		delete(s.provider.Metadata, channel+"_logout_supported")
		delete(s.provider.Metadata, channel+"_logout_session_supported")
	}
	s.registered.BackchannelLogoutURI = s.app + "/auth/backchannel-logout"
	s.usual = commits(fault.LogoutTokenNoTyp, fault.LogoutTokenUnknown)
}

func framesLogout(s *conformanceShape) {
	endsSessions(s)
	s.registered.BackchannelLogoutURI = ""
	s.registered.FrontchannelLogoutURI = s.app + "/auth/frontchannel-logout"
	s.registered.FrontchannelLogoutSessionRequired = true
}

// asFAPI has the request pushed, the answer name its issuer, and another
// algorithm than the usual.
func asFAPI(s *conformanceShape) {
	s.provider.NoPAR, s.provider.RequirePAR = false, true
	s.provider.NoPKCEMetadata, s.provider.NoIssParameter = false, false
	s.provider.Metadata["id_token_signing_alg_values_supported"] = []string{"PS256"}
	s.registered.IDTokenSignedResponseAlg = "PS256"
}

// logsIn opens a protected page in a new browser and judges what came of it.
func logsIn(t *testing.T, c *conformanceRun) string {
	t.Helper()
	return c.judge(t, c.visit(t, "/me"))
}

func getsTheClaims(t *testing.T, c *conformanceRun) string {
	result := logsIn(t, c)
	claims := c.claims(t)
	for _, name := range []string{"name", "email", "phone_number", "address"} {
		if claims[name] == nil {
			t.Errorf("the session has no %s: %v", name, claims)
		}
	}
	return result
}

// takesNoForeignClaim checks that a claim is not taken from a JWT without a
// signature.
func takesNoForeignClaim(t *testing.T, c *conformanceRun) string {
	result := logsIn(t, c)
	if claims := c.claims(t); claims["address"] != nil || claims["_claim_names"] == nil {
		t.Errorf("the claims are %v", claims)
	}
	return result
}

// fetchesNoForeignClaim: the claims endpoint is a URL that others choose.
// A request there would be a violation.
func fetchesNoForeignClaim(t *testing.T, c *conformanceRun) string {
	takesNoForeignClaim(t, c)
	return notOffered
}

func usesTheAlias(t *testing.T, c *conformanceRun) string {
	result := logsIn(t, c)
	for _, r := range c.provider.Requests() {
		elsewhere := strings.HasPrefix(r.Host, "localhost:")
		if elsewhere != (r.Endpoint == oidctest.EndpointToken) {
			t.Errorf("the %s request went to %s", r.Endpoint, r.Host)
		}
	}
	return result
}

// onlyKnowsCode stands for the modules whose fault is in an ID Token that comes
// through the browser: there is none, and nothing can ask for one.
func onlyKnowsCode(t *testing.T, c *conformanceRun) string {
	logsIn(t, c)
	for _, r := range c.provider.RequestsTo(oidctest.EndpointAuthorization) {
		if got := r.Form.Get("response_type"); got != "code" {
			t.Errorf("response_type is %q", got)
		}
	}
	c.wantNoConfig(t, func(cfg *oidcrp.Config) {
		cfg.Login.Extra = url.Values{"response_type": {"code id_token"}}
	})
	return notOffered
}

func showsTheError(t *testing.T, c *conformanceRun) string {
	page := c.visit(t, "/me")
	sent := c.provider.RequestsTo(oidctest.EndpointAuthorization)
	if len(sent) != 1 || sent[0].Form.Get("max_age") != "0" || sent[0].Form.Get("prompt") != "none" {
		t.Errorf("the provider was not asked the impossible: %v", sent)
	}
	return c.judge(t, page)
}

// logsInAgain commits the fault once the keys are known.
func logsInAgain(t *testing.T, c *conformanceRun) string {
	c.provider.Misbehave()
	logsIn(t, c)
	c.provider.Misbehave(c.faults...)
	c.provider.ResetRequests()
	c.browser = c.provider.Browser()
	result := logsIn(t, c)
	if n := c.provider.Count(oidctest.EndpointJWKS); n != 1 {
		t.Errorf("the new keys were fetched %d times", n)
	}
	return result
}

func logsInBeforeAndAfterRotation(t *testing.T, c *conformanceRun) string {
	logsIn(t, c)
	c.provider.RotateKeys()
	return logsInAgain(t, c)
}

// asksNoWebFinger checks that an identifier for WebFinger is not accepted as an issuer.
func asksNoWebFinger(resource string) func(*testing.T, *conformanceRun) string {
	return func(t *testing.T, c *conformanceRun) string {
		c.wantNoConfig(t, func(cfg *oidcrp.Config) { cfg.Issuer = fmt.Sprintf(resource, t.Name()) })
		logsIn(t, c)
		return notOffered
	}
}

// doesNotRegister relies on the registration endpoint being an unknown path.
func doesNotRegister(t *testing.T, c *conformanceRun) string {
	c.wantNoConfig(t, func(cfg *oidcrp.Config) { cfg.ClientID = "" })
	logsIn(t, c)
	return notOffered
}

func sendsNoRequestObject(t *testing.T, c *conformanceRun) string {
	for _, name := range []string{"request", "request_uri"} {
		c.wantNoConfig(t, func(cfg *oidcrp.Config) {
			cfg.Login.Extra = url.Values{name: {"https://app.example/request"}}
		})
	}
	logsIn(t, c)
	return notOffered
}

func isSentToLogIn(t *testing.T, c *conformanceRun) string {
	if n := c.provider.Count(oidctest.EndpointAuthorization); n != 0 {
		t.Errorf("%d logins before the visit", n)
	}
	return c.judge(t, c.visit(t, "/auth/initiate?"+url.Values{"iss": {c.provider.Issuer()}}.Encode()))
}

func refreshes(t *testing.T, c *conformanceRun) string {
	logsIn(t, c)
	first := c.provider.RequestsTo(oidctest.EndpointUserInfo)[0].Header.Get("Authorization")
	c.provider.ResetRequests()
	page := c.post(t, "/refresh")
	used := c.provider.RequestsTo(oidctest.EndpointUserInfo)
	if page.StatusCode != http.StatusOK {
		if len(used) > 0 || page.code() != oidcrp.CodeTokenRefused {
			t.Errorf("refused with %s after %d UserInfo requests", page.code(), len(used))
		}
		return wasRefused
	}
	if len(used) != 1 || used[0].Status != http.StatusOK || used[0].Header.Get("Authorization") == first {
		t.Fatalf("UserInfo was not asked with the new access token: %v", used)
	}
	// The next refresh works with the new refresh token, or not at all.
	if page := c.post(t, "/refresh"); page.StatusCode != http.StatusOK {
		t.Errorf("the next refresh answered %s:\n%s", page.Status, page.body)
	}
	return wasAccepted
}

// logsOutThere logs out at the provider and comes back.
func logsOutThere(t *testing.T, c *conformanceRun) string {
	logsIn(t, c)
	page := c.post(t, "/auth/logout")
	if n := c.provider.Count(oidctest.EndpointEndSession); n != 1 {
		t.Errorf("%d requests to end the session", n)
	}
	if got, want := page.Request.URL.Path, "/auth/logout/callback"; got != want || page.StatusCode != http.StatusOK {
		t.Fatalf("the logout ended at %s with %s:\n%s", got, page.Status, page.body)
	}
	c.wantSignedOut(t)
	return wasAccepted
}

// isToldToLogOut logs out, and while that goes on gets a logout token.
func isToldToLogOut(t *testing.T, c *conformanceRun) string {
	logsOutThere(t, c)
	answers := c.provider.LogoutAnswers()
	if len(answers) != 1 {
		t.Fatalf("%d answers to a logout token", len(answers))
	}
	if got := answers[0].Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("the answer has Cache-Control %q", got)
	}
	return fmt.Sprint("answered ", answers[0].Status)
}

func logsOutThereInAFrame(t *testing.T, c *conformanceRun) string {
	result := logsOutThere(t, c)
	c.wantOneFrame(t)
	return result
}

// isLoggedOutInAFrame meets the provider's logout page without the app's doing.
// A sid that arrives whole ends the session; one that the way has cut off does
// not.
func isLoggedOutInAFrame(t *testing.T, c *conformanceRun) string {
	logsIn(t, c)
	sid := c.sid(t)
	c.open(t, c.provider.Endpoint(oidctest.EndpointEndSession))
	c.wantOneFrame(t)
	if c.frames[0].query.Get("sid") == sid {
		c.wantSignedOut(t)
	} else if got := c.who(t, c.browser, "/").Sub; got != conformancePerson {
		t.Errorf("the sid %q ended the session of %q", c.frames[0].query.Get("sid"), sid)
	}
	return wasAccepted
}

// watchesNoSession: no page loads the provider's frame, whose path would be a
// violation, and session_state is ignored.
func watchesNoSession(t *testing.T, c *conformanceRun) string {
	logsOutThere(t, c)
	return notOffered
}

func pushesTheRequest(t *testing.T, c *conformanceRun) string {
	result := logsIn(t, c)
	asked := c.provider.RequestsTo(oidctest.EndpointAuthorization)[0]
	if names := slices.Sorted(maps.Keys(asked.Form)); !slices.Equal(names, []string{"client_id", "request_uri"}) {
		t.Errorf("beside the pushed request the browser carries %q", names)
	}
	return result
}

// wantNoConfig checks that New refuses the configuration with a change.
func (c *conformanceRun) wantNoConfig(t *testing.T, change func(*oidcrp.Config)) {
	t.Helper()
	cfg := c.config
	change(&cfg)
	var refusal *oidcrp.Error
	if _, err := oidcrp.New(cfg); !errors.As(err, &refusal) || refusal.Code != oidcrp.CodeConfigInvalid {
		t.Errorf("New returned %v", err)
	}
}

var updateDocs = flag.Bool("update", false, "rewrite the tables of docs/conformance.md")

func TestConformance(t *testing.T) {
	t.Parallel()
	tally := &conformanceTally{results: make(map[string][]string)}
	for i := range conformanceModules {
		m := &conformanceModules[i]
		t.Run(m.name, func(t *testing.T) { m.runAll(t, tally) })
	}
	if !tally.complete() {
		return // a part of it was asked for, or failed
	}
	compareConformanceDocs(t, tally.tables())
}

// runAll runs a module in every variant in which it exists.
func (m *conformanceModule) runAll(t *testing.T, tally *conformanceTally) {
	for _, v := range m.variants() {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			c := newConformanceRun(t, m, v)
			result := m.run(t, c)
			if result != m.result {
				t.Errorf("%s, want %s\n%s", result, m.result, c.log)
			}
			c.wantNoViolations(t)
			tally.add(m.name, result)
		})
	}
}

// variants are those in which the module exists.
func (m *conformanceModule) variants() []conformanceVariant {
	return slices.DeleteFunc(slices.Clone(conformanceVariants()), func(v conformanceVariant) bool {
		return m.exists != nil && !m.exists(v)
	})
}

// A conformanceTally collects the results of the runs that came to their end.
type conformanceTally struct {
	mu      sync.Mutex
	results map[string][]string // by module; guarded by mu
}

func (c *conformanceTally) add(module, result string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.results[module] = append(c.results[module], result)
}

// result returns what came of a module, and in how many variants; "" if it did
// not run.
func (c *conformanceTally) result(module string) (result string, variants int) {
	all := slices.Clone(c.results[module])
	variants = len(all)
	slices.Sort(all)
	return strings.Join(slices.Compact(all), " or "), variants
}

// complete reports whether every module ran in every variant.
func (c *conformanceTally) complete() bool {
	return !slices.ContainsFunc(conformanceModules, func(m conformanceModule) bool {
		_, n := c.result(m.name)
		return n < len(m.variants())
	})
}

// tables are the report as it stands in docs/conformance.md.
func (c *conformanceTally) tables() string {
	var results, reasons strings.Builder
	results.WriteString("| module | the suite expects | oidcrp | variants |\n|---|---|---|---|\n")
	reasons.WriteString("\n## What is not offered, and why\n\n")
	for _, m := range conformanceModules {
		result, n := c.result(m.name)
		fmt.Fprintf(&results, "| `%s` | %s | %s | %d |\n", m.name, m.expected, result, n)
		if m.result == notOffered {
			fmt.Fprintf(&reasons, "- `%s`: %s\n", m.name, notOfferedBecause[m.name])
		}
	}
	return results.String() + reasons.String()
}

// compareConformanceDocs compares what stands between the marks of
// docs/conformance.md with the run.
func compareConformanceDocs(t *testing.T, tables string) {
	const file, begin, end = "docs/conformance.md", "<!-- from here on written by go test -->\n", "<!-- until here -->"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	was, after, foundEnd := strings.Cut(rest, end)
	switch {
	case !found || !foundEnd:
		t.Fatalf("%s lacks its marks", file)
	case was == tables:
	case *updateDocs:
		if err := os.WriteFile(file, []byte(before+begin+tables+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s does not say what this run does (go test -run TestConformance -update .):\n%s", file, tables)
	}
}
