package oidcrp

// This file holds the codes and the error types.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Code names a kind of failure. It is itself an error, so that callers can
// branch on it through any chain of wrapped errors:
//
//	if errors.Is(err, oidcrp.CodeNoSession) { … }
//
// errors.As(err, &code), with a variable of type Code, gets the code from any chain.
//
// Codes are stable: they appear in logs, in [Trace] events and in the
// application/problem+json responses, and alerts may rely on them.
type Code string

// Error returns the code with the package's name in front.
func (c Code) Error() string { return "oidcrp: " + string(c) }

// The codes, in the order in which a login can meet them.
const (
	// CodeConfigInvalid: the [Config] is incomplete or contradicts itself.
	CodeConfigInvalid Code = "config_invalid"
	// CodeCanceled: the caller gave up, for example because the browser closed
	// the connection. It says nothing about the provider or the store.
	CodeCanceled Code = "canceled"
	// CodeProviderUnavailable: the provider could not be reached, did not
	// answer in time or answered 5xx. Trying again later may help. It never
	// stands for a forged or refused token.
	CodeProviderUnavailable Code = "provider_unavailable"
	// CodeProviderInvalid: the provider answered something that breaks its
	// specification, such as metadata for another issuer or an HTML page.
	CodeProviderInvalid Code = "provider_invalid"
	// CodeUnsupportedByProvider: the login asks for something that the provider does
	// not support, such as an acr value that it does not list.
	CodeUnsupportedByProvider Code = "unsupported_by_provider"
	// CodeCrossOrigin: a page of another origin sent a request that can change
	// something, or opened a WebSocket, on a protected route; see
	// [Config.TrustedOrigins].
	CodeCrossOrigin Code = "cross_origin"
	// CodeInvalidRequest: the browser sent a request that is not acceptable,
	// such as a callback with a parameter given twice.
	CodeInvalidRequest Code = "invalid_request"
	// CodeTransactionLost: the callback belongs to no login that this browser
	// started, or to one that is finished or too old.
	CodeTransactionLost Code = "transaction_lost"
	// CodeIssuerMismatch: the iss parameter of a callback is missing or names
	// another provider (RFC 9207 section 2.4), or that of a login that another
	// party starts does (OIDC Core 4).
	CodeIssuerMismatch Code = "issuer_mismatch"
	// CodeProviderError: the provider reported an error; see [ProviderError].
	CodeProviderError Code = "provider_error"
	// CodeClientRefused: the provider reported an error that only the operator can
	// resolve: it does not accept this client, its secret, its scopes or its kind
	// of request. The Config and the registration differ; see [ProviderError]. It
	// stands for every error that is not known to have another cause.
	CodeClientRefused Code = "client_refused"
	// CodeTokenRefused: an ID Token or a Logout Token failed a check; see
	// [TokenError].
	CodeTokenRefused Code = "token_refused"
	// CodeUserInfoRefused: the UserInfo response could not be used, or failed a
	// check; see [TokenError].
	CodeUserInfoRefused Code = "userinfo_refused"
	// CodeLoginRefused: [Config.OnLogin] refused the login; see [Refuse].
	CodeLoginRefused Code = "login_refused"
	// CodeSessionTooLarge: the session does not fit where it is to be kept.
	CodeSessionTooLarge Code = "session_too_large"
	// CodeNoSession: the request carries no valid session.
	CodeNoSession Code = "no_session"
	// CodeLoginRequired: only a new login can help. The provider refused to
	// continue without the person, or no longer accepts the refresh token.
	CodeLoginRequired Code = "login_required"
	// CodeRequirementUnmet: the person is signed in, but a [Requirement] is
	// not met.
	CodeRequirementUnmet Code = "requirement_unmet"
	// CodeStoreUnavailable: the session [Store] failed. The person may well be
	// signed in.
	CodeStoreUnavailable Code = "store_unavailable"
	// CodeCookieKeysUnavailable: the [KeySource] has not given any cookie keys
	// yet. The person may well be signed in.
	CodeCookieKeysUnavailable Code = "cookie_keys_unavailable"
	// CodeInternal: a fault in this program.
	CodeInternal Code = "internal"
)

// Error is what the methods of [Client] return. It never holds a token, a
// code, a secret or a response body.
type Error struct {
	// Op is the step that failed, such as "discovery" or "userinfo".
	Op string
	// Code is the kind of failure. [errors.Is] finds it.
	Code Code
	// Err is the cause; nil if there is none beyond the code.
	Err error
}

// maxErrorText bounds the text of an Error. What comes from outside is bounded where
// it is quoted; this is for the errors of an app, a Store and other packages.
const maxErrorText = 1900

// Error returns the step, the code and the cause on one line of at most 1,900 bytes.
// With CodeConfigInvalid it may be longer: it lists everything that is wrong.
func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("oidcrp: %s: %s", e.Op, string(e.Code))
	}
	text := fmt.Sprintf("oidcrp: %s: %s: %s", e.Op, string(e.Code),
		strings.TrimPrefix(e.Err.Error(), "oidcrp: "))
	if e.Code == CodeConfigInvalid {
		return text
	}
	return clean(text, maxErrorText)
}

// Unwrap returns the code and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Code}
	}
	return []error{e.Code, e.Err}
}

// fail wraps cause as an [Error]. If cause is or wraps an Error, fail returns
// cause, because the code of the first failure is the most precise.
func fail(op string, code Code, cause error) error {
	var inner *Error
	if errors.As(cause, &inner) {
		return cause
	}
	return &Error{Op: op, Code: code, Err: cause}
}

// failf returns an [Error] with a formatted cause.
func failf(op string, code Code, format string, args ...any) error {
	return &Error{Op: op, Code: code, Err: fmt.Errorf(format, args...)}
}

// codeOf returns the code of err; an error without one is [CodeInternal].
func codeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

// outage reports whether err says that sessions cannot be read at the moment:
// the person may well be signed in.
func outage(err error) bool {
	return errors.Is(err, CodeStoreUnavailable) || errors.Is(err, CodeCookieKeysUnavailable)
}

// gaveUp reports whether the caller of ctx canceled it. A deadline that has
// passed is something else: the call took too long.
func gaveUp(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }

// Refuse returns an error with which [Config.OnLogin] refuses a login. reason
// is for the log, and should be a constant, since it is also the event's
// label. explain tells the person why, as plain text in the language of their
// page, such as "en" or "fr"; if nil, the page explains it in general words.
func Refuse(reason string, explain func(language string) string) error {
	return &refusal{reason: reason, explain: explain}
}

type refusal struct {
	reason  string
	explain func(language string) string
}

// A deniedLogin is an error of [Config.OnLogin], and whose login it ended.
type deniedLogin struct {
	subject string
	err     error
}

func (d *deniedLogin) Error() string { return d.err.Error() }
func (d *deniedLogin) Unwrap() error { return d.err }

// deniedSubject returns whose login OnLogin ended, "" for any other error.
func deniedSubject(err error) string {
	var d *deniedLogin
	if errors.As(err, &d) {
		return d.subject
	}
	return ""
}

// asRefusal returns the refusal in err's chain.
func asRefusal(err error) (*refusal, bool) {
	var r *refusal
	ok := errors.As(err, &r)
	return r, ok
}

func (r *refusal) Error() string { return "oidcrp: refused by OnLogin: " + clean(r.reason, 200) }

// quote adds to err what the response that led to it said, if said is not nil. Nobody
// has verified that it came from the provider: it is for the log alone, and errors.As
// does not find it.
func quote(err error, said *ProviderError) error {
	if said == nil {
		return err
	}
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	after := "; unverified: " + strings.TrimPrefix(said.Error(), "oidcrp: ")
	return &Error{Op: e.Op, Code: e.Code, Err: &notedError{err: cmp.Or[error](e.Err, e.Code), after: after}}
}

// A notedError is an error with more words for the log.
type notedError struct {
	before string
	err    error
	after  string
}

func (n *notedError) Error() string {
	return n.before + strings.TrimPrefix(n.err.Error(), "oidcrp: ") + n.after
}

func (n *notedError) Unwrap() error { return n.err }

// ProviderError is an error that the provider reported: on the callback
// (RFC 6749 section 4.1.2.1, OIDC Core 3.1.2.6), at the token endpoint (RFC
// 6749 section 5.2) or at the UserInfo endpoint (RFC 6750 section 3.1). Its
// texts come from outside: they are cut to a bounded length and hold no
// control characters, but must still be escaped where they are shown.
type ProviderError struct {
	// Endpoint is "authorization", "token", "userinfo" or "pushed authorization
	// request".
	Endpoint string
	// StatusCode is the HTTP status, 0 for an error on the callback.
	StatusCode int
	// ErrorCode is the registered error value, such as "access_denied".
	ErrorCode string
	// ErrorDescription and ErrorURI come from the provider; either may be empty.
	ErrorDescription string
	ErrorURI         string
}

func (e *ProviderError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "oidcrp: the provider's %s endpoint answered %q", e.Endpoint, e.ErrorCode)
	if e.StatusCode != 0 {
		fmt.Fprintf(&b, " (status %d)", e.StatusCode)
	}
	if e.ErrorDescription != "" {
		fmt.Fprintf(&b, ": %q", e.ErrorDescription)
	}
	if e.ErrorURI != "" { // FranceConnect's error code is there alone
		fmt.Fprintf(&b, ", see %q", e.ErrorURI)
	}
	return b.String()
}

// isCancellation reports whether err is the person's own act at the provider.
func isCancellation(err error) bool {
	var e *ProviderError
	return errors.As(err, &e) && e.Endpoint == "authorization" &&
		(e.ErrorCode == "access_denied" || strings.HasPrefix(e.ErrorCode, "user_cancelled_"))
}

// expired reports whether the person's page at the provider had expired: Keycloak says
// so in this way, also when another tab finished first.
func (e *ProviderError) expired() bool {
	return e.ErrorCode == "temporarily_unavailable" && e.ErrorDescription == "authentication_expired"
}

// passingErrors are the errors that a client with a correct configuration gets too: the
// person cancelled or may not sign in, took too long, or the provider failed. Some
// providers have their own. Any other error is one of the request or of the client,
// which nobody but the operator can correct.
var passingErrors = map[string]bool{
	"access_denied": true, "server_error": true, "temporarily_unavailable": true, // RFC 6749 section 4.1.2.1
	"login_required": true, "interaction_required": true, "consent_required": true, // OIDC Core 3.1.2.6
	"account_selection_required": true, "unmet_authentication_requirements": true,
	"invalid_grant": true, "invalid_token": true, // of a code or a token that is too old
	"invalid_request_uri":  true,                                   // of a pushed request that is too old
	"unauthorized":         true,                                   // Auth0, for a person whom a rule refuses
	"request_forbidden":    true,                                   // Hydra, when its own cookie is lost
	"user_cancelled_login": true, "user_cancelled_authorize": true, // LinkedIn, Apple
}

// code is CodeClientRefused for an error that only the operator can correct.
func (e *ProviderError) code() Code {
	if passingErrors[e.ErrorCode] || e.failedElsewhere() {
		return CodeProviderError
	}
	return CodeClientRefused
}

// failedElsewhere reports whether an identity provider behind this one failed, which
// ProConnect reports as an invalid_request.
func (e *ProviderError) failedElsewhere() bool {
	return e.ErrorCode == "invalid_request" && strings.Contains(strings.ToLower(e.ErrorDescription), "technical error")
}

// maxDescription bounds an error_description, in bytes. Some providers say last what
// must be done.
const maxDescription = 1000

// newProviderError bounds and cleans the provider's texts.
func newProviderError(endpoint string, status int, code, description, uri string) *ProviderError {
	return &ProviderError{
		Endpoint:         endpoint,
		StatusCode:       status,
		ErrorCode:        clean(code, 64),
		ErrorDescription: clean(description, maxDescription),
		ErrorURI:         clean(uri, 300),
	}
}

// TokenError says why a token was refused.
type TokenError struct {
	// Token is "ID Token", "UserInfo" or "Logout Token"; "token" for one that
	// was given to [Client.KeySet].
	Token string
	// Check is the rule that failed, named by the claim or header that it
	// reads: "signature", "alg", "iss", "aud", "nonce" and so on. It is "rate" for a
	// Logout Token of a provider that ends too many sessions.
	Check string
	// Expected and Got are bounded, printable and never secret. Either is empty
	// if the value is missing or must not be shown.
	Expected string
	Got      string
}

func (e *TokenError) Error() string {
	msg := "oidcrp: " + e.Token + " refused: " + e.Check
	if e.Expected != "" {
		msg += ": expected " + e.Expected
	}
	if e.Got != "" {
		msg += fmt.Sprintf(", got %q", e.Got)
	}
	if e.Check == "alg" {
		msg += "; the algorithms in Registration must be those that are registered at the provider"
	}
	return msg
}

// refuseToken makes a TokenError, and cuts both texts.
func refuseToken(token, check, expected, got string) *TokenError {
	return &TokenError{Token: token, Check: check, Expected: clean(expected, 300), Got: clean(got, 100)}
}

const checkRate = "rate"

// tooManyLogouts refuses a Logout Token of a provider that ends more sessions than limit
// in span.
func tooManyLogouts(limit int, span time.Duration) *TokenError {
	return refuseToken("Logout Token", checkRate, fmt.Sprintf("at most %d records of logouts in %v", limit, span), "")
}

// isTooManyLogouts reports whether err is that of tooManyLogouts.
func isTooManyLogouts(err error) bool {
	var refused *TokenError
	return errors.As(err, &refused) && refused.Check == checkRate
}

// byClock adds this machine's time to what is expected of a claim that is a time, so
// that an operator can see that a clock is wrong.
func byClock(expected string, now time.Time) string {
	return expected + " (this machine's time is " + now.UTC().Format(time.RFC3339) + ")"
}

// refuseTokenTime is refuseToken for a claim that is a time.
func refuseTokenTime(token, check, expected string, got time.Time) *TokenError {
	return refuseToken(token, check, expected, got.UTC().Format(time.RFC3339))
}
