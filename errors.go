package oidcrp

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/oidcrp/oidcrp/internal/store"
)

// A Code names a kind of failure. Codes are stable: they appear in logs, in
// [Trace] events and in [Problem] answers, and may be alerted on.
type Code string

// The codes, in the order in which a login can meet them.
const (
	// CodeConfig: the [Config] is incomplete or contradicts itself.
	CodeConfig Code = "config_invalid"
	// CodeProviderUnavailable: the provider could not be reached, did not
	// answer in time or answered 5xx. Trying again later may help.
	CodeProviderUnavailable Code = "provider_unavailable"
	// CodeProviderInvalid: the provider answered something that breaks its
	// specification, such as metadata for another issuer or an HTML page.
	CodeProviderInvalid Code = "provider_invalid"
	// CodeUnsupported: the login asks for something that the provider does
	// not offer, such as an acr value that it does not list.
	CodeUnsupported Code = "unsupported_by_provider"
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
	// CodeClientRefused: the provider reported an error that no person can do
	// anything about: it does not know the client, its secret, its scopes or
	// its way of asking. The Config and the registration differ; see
	// [ProviderError].
	CodeClientRefused Code = "client_refused"
	// CodeTokenRefused: an ID Token or a Logout Token failed a check; see
	// [TokenError].
	CodeTokenRefused Code = "token_refused"
	// CodeUserInfoRefused: the UserInfo response could not be used, or failed a
	// check; see [TokenError].
	CodeUserInfoRefused Code = "userinfo_refused"
	// CodeSessionTooLarge: the claims do not fit into cookies.
	CodeSessionTooLarge Code = "session_too_large"
	// CodeNoSession: there is no valid session.
	CodeNoSession Code = "no_session"
	// CodeLoginRequired: the session cannot be continued without the person.
	CodeLoginRequired Code = "login_required"
	// CodeRequirementUnmet: the person is signed in, but a [Requirement] is
	// not met.
	CodeRequirementUnmet Code = "requirement_unmet"
	// CodeStoreUnavailable: the session [Store] failed.
	CodeStoreUnavailable Code = "store_unavailable"
	// CodeInternal: a fault of this program.
	CodeInternal Code = "internal"
)

// The conditions that callers branch on. Test for them with [errors.Is].
var (
	// ErrNoSession says that a request carries no valid session.
	ErrNoSession = errors.New("oidcrp: no session")
	// ErrLoginRequired says that only a new login can help: the provider
	// refused to continue without the person, or the refresh token is spent.
	ErrLoginRequired = errors.New("oidcrp: login required")
	// ErrProviderUnavailable says that the provider is down or too slow. It
	// never stands for a forged or refused token.
	ErrProviderUnavailable = errors.New("oidcrp: provider unavailable")
	// ErrTransactionLost says that a callback belongs to no pending login.
	ErrTransactionLost = errors.New("oidcrp: login not found in this browser")
	// ErrStoreUnavailable says that the session [Store] failed. The person
	// may well be signed in.
	ErrStoreUnavailable = errors.New("oidcrp: session store unavailable")
	// ErrNotFound is what a [Store] returns for a key that it does not hold.
	ErrNotFound = store.ErrNotFound
)

// sentinels ties the codes that callers branch on to their sentinel.
var sentinels = map[Code]error{
	CodeNoSession:           ErrNoSession,
	CodeLoginRequired:       ErrLoginRequired,
	CodeProviderUnavailable: ErrProviderUnavailable,
	CodeTransactionLost:     ErrTransactionLost,
	CodeStoreUnavailable:    ErrStoreUnavailable,
}

// Error is what the methods of [Client] return. It never holds a token, a
// code, a secret or a response body.
type Error struct {
	// Op is the step that failed, such as "discovery" or "userinfo".
	Op string
	// Code is the kind of failure.
	Code Code
	// Err is the cause; nil when the code says it all.
	Err error
}

func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("oidcrp: %s: %s", e.Op, e.Code)
	}
	return fmt.Sprintf("oidcrp: %s: %s: %s", e.Op, e.Code,
		strings.TrimPrefix(e.Err.Error(), "oidcrp: "))
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is the sentinel of e's code, so that
// errors.Is(err, ErrProviderUnavailable) works whatever the cause.
func (e *Error) Is(target error) bool {
	sentinel, ok := sentinels[e.Code]
	return ok && target == sentinel
}

// fail wraps cause as an [Error], keeping the code of an Error inside it: the
// first place that failed knows best what kind of failure it is.
func fail(op string, code Code, cause error) error {
	var inner *Error
	if errors.As(cause, &inner) {
		return cause
	}
	return &Error{Op: op, Code: code, Err: cause}
}

// failf is fail with a message made on the spot.
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
	// ErrorDescription and ErrorURI are what the provider added; may be empty.
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
	return b.String()
}

// clientErrors are the errors that a client as it is configured will always
// get (RFC 6749 sections 4.1.2.1 and 5.2, OIDC Core 3.1.2.6, RFC 8707).
var clientErrors = map[string]bool{
	"invalid_client": true, "unauthorized_client": true, "invalid_scope": true, "invalid_target": true,
	"unsupported_response_type": true, "unsupported_response_mode": true, "unsupported_grant_type": true,
	"request_not_supported": true, "request_uri_not_supported": true, "registration_not_supported": true,
}

// code tells what the person can mend from what the operator must.
func (e *ProviderError) code() Code {
	if clientErrors[e.ErrorCode] {
		return CodeClientRefused
	}
	return CodeProviderError
}

// newProviderError bounds and cleans what the provider said.
func newProviderError(endpoint string, status int, code, description, uri string) *ProviderError {
	return &ProviderError{
		Endpoint:         endpoint,
		StatusCode:       status,
		ErrorCode:        clean(code, 64),
		ErrorDescription: clean(description, 300),
		ErrorURI:         clean(uri, 300),
	}
}

// TokenError says why a token was refused.
type TokenError struct {
	// Token is "ID Token", "UserInfo" or "Logout Token"; "token" for one that
	// was given to [Client.KeySet].
	Token string
	// Check is the rule that failed, named by the claim or header that it
	// reads: "signature", "alg", "iss", "aud", "nonce" and so on.
	Check string
	// Expected and Got are bounded, printable and never secret; either may be
	// empty where it would say nothing or too much.
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
	return msg
}

// refuse makes a TokenError, cutting what came from outside.
func refuse(token, check, expected, got string) *TokenError {
	return &TokenError{Token: token, Check: check, Expected: expected, Got: clean(got, 100)}
}

// refuseTime is refuse for a claim that is a time.
func refuseTime(token, check, expected string, got time.Time) *TokenError {
	return refuse(token, check, expected, got.UTC().Format(time.RFC3339))
}

// quoteList makes a list from outside fit for an error.
func quoteList(values []string) string {
	return clean(fmt.Sprintf("%q", values), 300)
}

// clean makes text from outside fit for an error or a log line: valid UTF-8,
// no control or other unprintable characters, cut after limit bytes.
func clean(s string, limit int) string {
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '.'
		}
		return r
	}, s)
}
