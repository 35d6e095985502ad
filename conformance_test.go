package oidcrp

// This file is the table of the relying-party modules of the OpenID
// Foundation's conformance suite, by the suite's names. What happens in a run
// is in conformance_run_test.go, and what came of it in docs/conformance.md.

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

	"github.com/oidcrp/oidcrp/oidctest"
)

// What the suite expects of a relying party, and what became of a run.
const (
	accept  = "accept"  // it goes on to the last request
	reject  = "reject"  // it sends nothing more
	either  = "either"  // the suite takes both
	review  = "review"  // a person looks at it
	support = "support" // accept, by those who offer it

	accepted   = "accepted"
	refused    = "refused"
	answered2  = "answered 200"
	answered4  = "answered 400"
	notOffered = "not offered"
)

// A conformanceModule is one test module of the suite.
type conformanceModule struct {
	name     string
	expected string // by the suite
	result   string // of every run
	run      func(*testing.T, *conformanceRun) (result string)
	faults   []oidctest.Fault
	exists   func(conformanceVariant) bool // nil: in every variant
	shape    func(*conformanceShape)       // what is special about it; may be nil
}

const (
	core   = "oidcc-client-test"
	logout = core + "-rp-"
	fapi   = "fapi2-security-profile-final-client-test-"
)

func faults(f ...oidctest.Fault) []oidctest.Fault { return f }

var conformanceModules = []conformanceModule{
	// OpenID Connect Core.
	{core, accept, accepted, logsIn, nil, nil, nil},
	{core + "-nonce-invalid", reject, refused, logsIn, faults(oidctest.IDTokenWrongNonce), nil, nil},
	{core + "-invalid-iss", reject, refused, logsIn, faults(oidctest.IDTokenWrongIss), nil, nil},
	{core + "-missing-sub", reject, refused, logsIn, faults(oidctest.IDTokenMissingSub), nil, nil},
	{core + "-invalid-aud", reject, refused, logsIn, faults(oidctest.IDTokenWrongAud), nil, nil},
	{core + "-missing-aud", reject, refused, logsIn, faults(oidctest.IDTokenMissingAud), nil, nil},
	{core + "-missing-iat", reject, refused, logsIn, faults(oidctest.IDTokenMissingIat), nil, nil},
	{core + "-kid-absent-single-jwks", accept, accepted, logsIn, faults(oidctest.JWKSUnnamedKeys), nil, nil},
	{core + "-kid-absent-multiple-jwks", either, accepted, logsIn, faults(oidctest.JWKSManyUnnamedKeys), nil, nil},
	{core + "-idtoken-sig-rs256", accept, accepted, logsIn, nil, nil, signedWith("RS256")},
	{core + "-idtoken-sig-none", either, refused, logsIn, faults(oidctest.IDTokenAlgNone), nil, nil},
	{core + "-invalid-sig-rs256", either, refused, logsIn, faults(oidctest.IDTokenBadSignature), nil, signedWith("RS256")},
	{core + "-invalid-sig-hs256", either, refused, logsIn, faults(oidctest.IDTokenBadSignature), hasSecret, signedWith("HS256")},
	{core + "-invalid-sig-es256", either, refused, logsIn, faults(oidctest.IDTokenBadSignature), nil, signedWith("ES256")},
	{core + "-userinfo-invalid-sub", reject, refused, logsIn, faults(oidctest.UserInfoWrongSub), nil, nil},
	{core + "-scope-userinfo-claims", accept, accepted, getsTheClaims, nil, nil, asksForAllScopes},
	{core + "-client-secret-basic", accept, accepted, logsIn, nil, onlyMethod("client_secret_basic"), choosesTheMethod},
	{core + "-userinfo-bearer-header", accept, accepted, logsIn, nil, nil, nil},
	{core + "-userinfo-bearer-body", accept, accepted, logsIn, nil, nil, takesTokenInBody},
	{core + "-aggregated-claims", accept, accepted, takesNoForeignClaim, faults(oidctest.UserInfoAggregated), nil, nil},
	{core + "-distributed-claims", support, notOffered, fetchesNoForeignClaim, faults(oidctest.UserInfoDistributed), nil, nil},
	{core + "-mtls-endpoint-aliases", accept, accepted, usesTheAlias, nil, hasCertificate, announcesAliases},
	{core + "-nonce-unless-code-flow", support, notOffered, onlyKnowsCode, nil, nil, nil},
	{core + "-missing-chash", support, notOffered, onlyKnowsCode, nil, nil, nil},
	{core + "-invalid-chash", support, notOffered, onlyKnowsCode, nil, nil, nil},
	{core + "-missing-athash", support, notOffered, onlyKnowsCode, nil, nil, nil},
	{core + "-invalid-athash", support, notOffered, onlyKnowsCode, nil, nil, nil},
	{core + "-form-post-error", reject, refused, showsTheError, nil, isFormPost, asksTheImpossible},

	// Discovery and keys.
	{core + "-discovery-openid-config", accept, accepted, logsIn, nil, nil, nil},
	{core + "-discovery-jwks-uri-keys", accept, accepted, logsIn, nil, nil, movesTheKeys},
	{core + "-discovery-issuer-mismatch", reject, refused, logsIn, faults(oidctest.DiscoveryWrongIssuer), nil, nil},
	{core + "-signing-key-rotation-just-before-signing", accept, accepted, logsInAgain, faults(oidctest.IDTokenRotatedKeys), nil, nil},
	{core + "-signing-key-rotation", accept, accepted, logsInBeforeAndAfterRotation, nil, nil, nil},
	{core + "-discovery-webfinger-acct", support, notOffered, asksNoWebFinger("acct:oidcrp.%s@127.0.0.1"), nil, nil, nil},
	{core + "-discovery-webfinger-url", support, notOffered, asksNoWebFinger("https://127.0.0.1/oidcrp/%s?"), nil, nil, nil},
	{core + "-dynamic-registration", support, notOffered, doesNotRegister, nil, nil, nil},
	{core + "-request-uri-signed-rs256", support, notOffered, sendsNoRequestObject, nil, nil, nil},
	{core + "-request-uri-signed-none", support, notOffered, sendsNoRequestObject, nil, nil, nil},
	{core + "-userinfo-signed", accept, accepted, logsIn, nil, nil, signsUserInfo},

	// Logins that others start, and refresh.
	{core + "-3rd-party-init-login", accept, accepted, isSentToLogIn, nil, nil, nil},
	{core + "-refresh-token", accept, accepted, refreshes, nil, nil, issuesRefreshTokens},
	{core + "-refresh-token-invalid-issuer", reject, refused, refreshes, faults(oidctest.RefreshWrongIss), nil, issuesRefreshTokens},
	{core + "-refresh-token-invalid-sub", reject, refused, refreshes, faults(oidctest.RefreshOtherSub), nil, issuesRefreshTokens},

	// Logout.
	{logout + "init-logout", accept, accepted, logsOutThere, nil, nil, endsSessions},
	{logout + "init-logout-other-state", accept, accepted, logsOutThere, faults(oidctest.LogoutOtherState), nil, endsSessions},
	{logout + "init-logout-no-state", accept, accepted, logsOutThere, faults(oidctest.LogoutNoState), nil, endsSessions},
	{logout + "backchannel-rpinitlogout", accept, answered2, isToldToLogOut, nil, nil, endsSessions},
	{logout + "backchannel-rpinitlogout-alg-none", reject, answered4, isToldToLogOut, faults(oidctest.LogoutTokenAlgNone), nil, endsSessions},
	{logout + "backchannel-rpinitlogout-wrong-alg", reject, answered4, isToldToLogOut, faults(oidctest.LogoutTokenOtherAlg), nil, endsSessionsPinned},
	{logout + "backchannel-rpinitlogout-no-event", reject, answered4, isToldToLogOut, faults(oidctest.LogoutTokenNoEvent), nil, endsSessions},
	{logout + "backchannel-rpinitlogout-wrong-event", reject, answered4, isToldToLogOut, faults(oidctest.LogoutTokenWrongEvent), nil, endsSessions},
	{logout + "backchannel-rpinitlogout-with-nonce", reject, answered4, isToldToLogOut, faults(oidctest.LogoutTokenWithNonce), nil, endsSessions},
	{logout + "backchannel-rpinitlogout-wrong-aud", reject, answered4, isToldToLogOut, faults(oidctest.LogoutTokenWrongAud), nil, endsSessions},
	{logout + "backchannel-rpinitlogout-wrong-iss", reject, answered4, isToldToLogOut, faults(oidctest.LogoutTokenWrongIss), nil, endsSessions},
	{logout + "frontchannel-rpinitlogout", review, accepted, logsOutThereInAFrame, nil, nil, framesLogout},
	{logout + "frontchannel-opinitlogout", review, accepted, isLoggedOutInAFrame, nil, nil, framesLogout},
	{core + "-session-management", support, notOffered, watchesNoSession, nil, nil, endsSessions},

	// FAPI 2.0, as far as it concerns any relying party.
	{fapi + "happy-path", accept, accepted, pushesTheRequest, nil, nil, asFAPI},
	{fapi + "discovery-issuer-mismatch", reject, refused, logsIn, faults(oidctest.DiscoveryWrongIssuer), nil, asFAPI},
	{fapi + "invalid-missing-iss", reject, refused, logsIn, faults(oidctest.IDTokenMissingIss), nil, asFAPI},
	{fapi + "invalid-secondary-aud", reject, refused, logsIn, faults(oidctest.IDTokenExtraAud), nil, asFAPI},
	{fapi + "valid-aud-as-array", accept, accepted, logsIn, faults(oidctest.IDTokenArrayAud), nil, asFAPI},
	{fapi + "invalid-alternate-alg", reject, refused, logsIn, faults(oidctest.IDTokenOtherAlg), nil, asFAPI},
	{fapi + "invalid-expired-exp", reject, refused, logsIn, faults(oidctest.IDTokenExpired), nil, asFAPI},
	{fapi + "invalid-missing-exp", reject, refused, logsIn, faults(oidctest.IDTokenMissingExp), nil, asFAPI},
	{fapi + "invalid-authorization-response-iss", reject, refused, logsIn, faults(oidctest.AuthorizationWrongIss), nil, asFAPI},
	{fapi + "remove-authorization-response-iss", reject, refused, logsIn, faults(oidctest.AuthorizationMissingIss), nil, asFAPI},
	{fapi + "ensure-authorization-response-with-invalid-state-fails", reject, refused, logsIn, faults(oidctest.AuthorizationWrongState), nil, asFAPI},
	{fapi + "ensure-authorization-response-with-invalid-missing-state-fails", reject, refused, logsIn, faults(oidctest.AuthorizationMissingState), nil, asFAPI},
	{fapi + "token-endpoint-response-without-expires_in", accept, accepted, logsIn, faults(oidctest.TokenNoExpiresIn), nil, asFAPI},
	{fapi + "token-type-case-insensitivity", accept, accepted, logsIn, faults(oidctest.TokenLowercaseType), nil, asFAPI},
}

// notOfferedBecause says why this package leaves out what a module is about.
var notOfferedBecause = map[string]string{
	core + "-distributed-claims": "The claims endpoint is a URL of somebody else's choice, " +
		"which a server must not fetch. The login completes, and the references stay in the claims for the app to read.",
	core + "-nonce-unless-code-flow":   onlyCode,
	core + "-missing-chash":            onlyCode,
	core + "-invalid-chash":            onlyCode,
	core + "-missing-athash":           onlyCode,
	core + "-invalid-athash":           onlyCode,
	core + "-discovery-webfinger-acct": noWebFinger,
	core + "-discovery-webfinger-url":  noWebFinger,
	core + "-dynamic-registration": "An app has one registration, made by its owner, and its credentials in its configuration. " +
		"A `registration_endpoint` is never called.",
	core + "-request-uri-signed-rs256": noRequestObject,
	core + "-request-uri-signed-none":  noRequestObject,
	core + "-session-management": "Browsers keep third-party cookies from the provider's frame, so it no longer tells " +
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
			s.config.IDTokenSignedResponseAlg = alg
		}
	}
}

func asksForAllScopes(s *conformanceShape) {
	s.config.Scopes = []string{"openid", "profile", "email", "phone", "address"}
}

func choosesTheMethod(s *conformanceShape) { s.config.TokenEndpointAuthMethod = "" }

func takesTokenInBody(s *conformanceShape) {
	s.provider.TokenInBody = true
	s.config.UserInfoTokenInBody = true
}

func announcesAliases(s *conformanceShape) { s.provider.MTLSEndpointAliases = true }

// asksTheImpossible is what the module asks for, to provoke an error.
func asksTheImpossible(s *conformanceShape) {
	s.config.AuthOptions = AuthOptions{Prompt: "none", MaxAge: new(time.Duration)}
	s.violation = "authorization: max_age 0 with prompt none cannot be met"
}

func movesTheKeys(s *conformanceShape) {
	s.provider.Paths = map[string]string{oidctest.EndpointJWKS: "/jwksQwErTyUiOp"}
}

func signsUserInfo(s *conformanceShape) {
	s.registered.UserInfoSignedResponseAlg = "RS256"
	s.config.UserInfoSignedResponseAlg = "RS256"
}

func issuesRefreshTokens(s *conformanceShape) {
	s.provider.NoRefreshToken = false
	s.config.KeepTokens = true
}

func endsSessions(s *conformanceShape) {
	s.provider.NoEndSession = false
	s.provider.SessionState = true
	s.provider.OddValues = true
	for _, channel := range []string{"frontchannel", "backchannel"} {
		delete(s.provider.Metadata, channel+"_logout_supported")
		delete(s.provider.Metadata, channel+"_logout_session_supported")
	}
	s.registered.BackChannelLogoutURI = s.app + "/auth/backchannel-logout"
	s.usual = faults(oidctest.LogoutTokenNoTyp, oidctest.LogoutTokenUnknown)
}

// endsSessionsPinned names the algorithm as well: the provider announces both,
// so that without a name either would do.
func endsSessionsPinned(s *conformanceShape) {
	endsSessions(s)
	s.config.IDTokenSignedResponseAlg = "RS256"
}

func framesLogout(s *conformanceShape) {
	endsSessions(s)
	s.registered.BackChannelLogoutURI = ""
	s.registered.FrontChannelLogoutURI = s.app + "/auth/frontchannel-logout"
	s.registered.FrontChannelLogoutSessionRequired = true
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

// takesNoForeignClaim checks that a claim is not taken from a JWT that nobody
// signed.
func takesNoForeignClaim(t *testing.T, c *conformanceRun) string {
	result := logsIn(t, c)
	if claims := c.claims(t); claims["address"] != nil || claims["_claim_names"] == nil {
		t.Errorf("the claims are %v", claims)
	}
	return result
}

// fetchesNoForeignClaim: a claims endpoint is a URL of somebody else's choice.
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
	c.wantNoConfig(t, func(cfg *Config) {
		cfg.AuthOptions.Extra = url.Values{"response_type": {"code id_token"}}
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

// asksNoWebFinger checks that what WebFinger would be asked about is no issuer.
func asksNoWebFinger(resource string) func(*testing.T, *conformanceRun) string {
	return func(t *testing.T, c *conformanceRun) string {
		c.wantNoConfig(t, func(cfg *Config) { cfg.Issuer = fmt.Sprintf(resource, t.Name()) })
		logsIn(t, c)
		return notOffered
	}
}

// doesNotRegister relies on the registration endpoint being an unknown path.
func doesNotRegister(t *testing.T, c *conformanceRun) string {
	c.wantNoConfig(t, func(cfg *Config) { cfg.ClientID = "" })
	logsIn(t, c)
	return notOffered
}

func sendsNoRequestObject(t *testing.T, c *conformanceRun) string {
	for _, name := range []string{"request", "request_uri"} {
		c.wantNoConfig(t, func(cfg *Config) {
			cfg.AuthOptions.Extra = url.Values{name: {"https://app.example/request"}}
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
		if len(used) > 0 || page.code() != CodeTokenRefused {
			t.Errorf("refused with %s after %d UserInfo requests", page.code(), len(used))
		}
		return refused
	}
	if len(used) != 1 || used[0].Status != http.StatusOK || used[0].Header.Get("Authorization") == first {
		t.Fatalf("UserInfo was not asked with the new access token: %v", used)
	}
	// The next refresh works with the new refresh token, or not at all.
	if page := c.post(t, "/refresh"); page.StatusCode != http.StatusOK {
		t.Errorf("the next refresh answered %s:\n%s", page.Status, page.body)
	}
	return accepted
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
	return accepted
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
	return accepted
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
func (c *conformanceRun) wantNoConfig(t *testing.T, change func(*Config)) {
	t.Helper()
	cfg := c.config
	change(&cfg)
	var refusal *Error
	if _, err := New(cfg); !errors.As(err, &refusal) || refusal.Code != CodeConfig {
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
	t.Log(tally.report())
	if len(tally.results) < len(conformanceModules) {
		t.Log("some modules were left out, so docs/conformance.md is not compared")
		return
	}
	compareConformanceDocs(t, tally.tables())
}

// runAll runs a module in every variant in which it exists.
func (m *conformanceModule) runAll(t *testing.T, tally *conformanceTally) {
	for _, v := range conformanceVariants() {
		if m.exists != nil && !m.exists(v) {
			continue
		}
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

// report lists every module with its result, and counts them.
func (c *conformanceTally) report() string {
	var b strings.Builder
	total, modules := 0, make(map[string]int)
	for _, m := range conformanceModules {
		if result, n := c.result(m.name); n > 0 {
			fmt.Fprintf(&b, "\n%-105s %-7s %-12s in %2d variants", m.name, m.expected, result, n)
			total += n
			modules[result]++
		}
	}
	fmt.Fprintf(&b, "\n%d modules in %d runs:", len(c.results), total)
	for _, result := range slices.Sorted(maps.Keys(modules)) {
		fmt.Fprintf(&b, " %d %s,", modules[result], result)
	}
	return strings.TrimSuffix(b.String(), ",")
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
