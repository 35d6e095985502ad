package oidcrp

// This file reports events to the hooks and to the log.

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"
)

// Trace holds hooks for auditing and metrics, in the manner of
// net/http/httptrace. Any hook may be nil. Hooks run on the goroutine that did
// the work, often that of a request, and must return quickly. No event holds a token,
// a code, a secret or personal data beyond the subject identifier. Texts from
// outside are cut, a subject never, and have "." for unprintable characters.
//
// A hook should not panic. If one of DiscoveryFetched, KeysFetched, KeysRotated and
// SessionRefreshed does, the panic is logged and the work goes on; a panic of the
// others is one of the request that they run for, as in any handler.
type Trace struct {
	// DiscoveryFetched runs after each attempt to fetch the provider's metadata.
	DiscoveryFetched func(context.Context, FetchEvent)
	// KeysFetched runs after each attempt to fetch the provider's keys.
	KeysFetched func(context.Context, FetchEvent)
	// KeysRotated runs when a fetch brought a new key or no longer brought an
	// old one.
	KeysRotated func(context.Context, FetchEvent)
	// LoginStarted runs when a browser is about to be sent to the provider.
	LoginStarted func(context.Context, LoginEvent)
	// LoginSucceeded runs when the session of a login has been saved.
	LoginSucceeded func(context.Context, LoginEvent)
	// LoginRefused runs when a login cannot start, and when a callback did not
	// lead to a session.
	LoginRefused func(context.Context, LoginEvent)
	// SessionRefreshed runs after each use of a refresh token.
	SessionRefreshed func(context.Context, SessionEvent)
	// SessionRefused runs when a request carried a session cookie that could
	// not be used. The log has the same reason and session once a minute only.
	SessionRefused func(context.Context, SessionEvent)
	// LoggedOut runs when a session was ended in its own browser: by
	// [Client.Logout], by the provider's front-channel logout, or by a login or logout at
	// another member of its [Group].
	LoggedOut func(context.Context, SessionEvent)
	// BackchannelReceived runs after each request to the back-channel logout
	// path.
	BackchannelReceived func(context.Context, BackchannelEvent)
	// LogoutTokenReplayed runs when a Logout Token arrived a second time.
	LogoutTokenReplayed func(context.Context, BackchannelEvent)
}

// FetchEvent describes one request for metadata or keys.
type FetchEvent struct {
	Issuer   string
	URL      string
	Duration time.Duration
	Err      error // nil when the fetch succeeded
	// Added and Removed are the key ids that appeared and disappeared; set for
	// KeysRotated only.
	Added, Removed []string
}

// LoginEvent describes a login: its start, its success or its refusal.
type LoginEvent struct {
	Issuer string // for LoginSucceeded, the ID Token's iss
	// Login names the login in all of its events. It is empty when the login
	// could not start, and for a callback that belongs to no login.
	Login string

	// ReturnTo, ACRValues, Prompt and Restart describe the authentication
	// request; set for LoginStarted only. Restart says that the login replaces
	// one whose cookie was lost.
	ReturnTo  string
	ACRValues []string
	Prompt    string
	Restart   bool

	// Subject is the ID Token's sub; set for LoginSucceeded, and for a
	// LoginRefused because of [Config.OnLogin].
	Subject string

	// SessionID is that of [Session.ID]. It and what follows are set for
	// LoginSucceeded only.
	SessionID string
	ACR       string
	AMR       []string
	// Exchange, Verification and UserInfo are how long the three steps took.
	Exchange, Verification, UserInfo time.Duration

	// Code and Err say why the login was refused; set for LoginRefused only.
	Code Code
	Err  error
	// Reason is what [Refuse] was given, if OnLogin refused the login.
	Reason string
}

// SessionEvent describes a refresh, a refusal or the end of a session.
type SessionEvent struct {
	Issuer string // that of the session, where it could be read
	// SessionID and Subject are empty where the session could not be read.
	SessionID string
	Subject   string

	// Reason is set for SessionRefused only: "expired" (its lifetime is over),
	// "idle", "future" (made by a clock that is ahead), "logged_out", "superseded"
	// (a copy from before a refresh or a later login),
	// "unknown_key" (sealed with a key that is not configured), "tampered",
	// "malformed" (not a value that this version reads), "incomplete" (one of
	// its cookies is missing), "duplicate" (two cookies of one name have different
	// values: another host of the site, or another path, has set one).
	Reason string
	// Rotated says that the provider replaced the refresh token; set for
	// SessionRefreshed only.
	Rotated bool
	// AtProvider says that the logout also ends the provider's session: the
	// browser was sent to its end_session_endpoint, or came from its logout
	// page. Set for LoggedOut only.
	AtProvider bool
	// Err is why a refresh failed, or why a logout could not end the session yet; nil
	// if it succeeded.
	Err error
}

// BackchannelEvent describes a logout that the provider asked for, server to
// server.
type BackchannelEvent struct {
	Issuer string // that of the Logout Token, if it was accepted
	// Subject, SID and JTI are those of the Logout Token; any may be empty.
	Subject, SID, JTI string
	Err               error // why it was refused; nil if it was carried out
}

// Join returns a Trace that runs the hooks of t and then those of others.
func (t Trace) Join(others ...Trace) Trace {
	for _, o := range others {
		t = Trace{
			DiscoveryFetched:    both(t.DiscoveryFetched, o.DiscoveryFetched),
			KeysFetched:         both(t.KeysFetched, o.KeysFetched),
			KeysRotated:         both(t.KeysRotated, o.KeysRotated),
			LoginStarted:        both(t.LoginStarted, o.LoginStarted),
			LoginSucceeded:      both(t.LoginSucceeded, o.LoginSucceeded),
			LoginRefused:        both(t.LoginRefused, o.LoginRefused),
			SessionRefreshed:    both(t.SessionRefreshed, o.SessionRefreshed),
			SessionRefused:      both(t.SessionRefused, o.SessionRefused),
			LoggedOut:           both(t.LoggedOut, o.LoggedOut),
			BackchannelReceived: both(t.BackchannelReceived, o.BackchannelReceived),
			LogoutTokenReplayed: both(t.LogoutTokenReplayed, o.LogoutTokenReplayed),
		}
	}
	return t
}

func both[E any](first, second func(context.Context, E)) func(context.Context, E) {
	switch {
	case first == nil:
		return second
	case second == nil:
		return first
	}
	return func(ctx context.Context, e E) {
		first(ctx, e)
		second(ctx, e)
	}
}

// The values of SessionEvent.Reason.
const (
	reasonExpired    = "expired"
	reasonIdle       = "idle"
	reasonFuture     = "future"
	reasonLoggedOut  = "logged_out"
	reasonSuperseded = "superseded"
	reasonUnknownKey = "unknown_key"
	reasonTampered   = "tampered"
	reasonMalformed  = "malformed"
	reasonIncomplete = "incomplete"
	reasonDuplicate  = "duplicate"
)

// The bounds, in bytes, of what events and log lines hold of a provider's or a
// browser's texts. A subject has at most 255 characters, or its token is refused.
const (
	maxShown     = 255
	maxEventURL  = 1 << 10
	maxEventList = 100 // elements
)

// events reports events to the hooks and to the log. Its log lines are: Info
// for logins and logouts, Warn for what was refused or failed, Debug for the
// rest.
type events struct {
	issuer string
	trace  Trace
	log    *slog.Logger
}

// panicked logs a panic of the app's own code, which would end the process, and
// whose goroutine goes on. It must be called by the function that recovers, so that
// the stack is that of the panic.
func (e *events) panicked(what string, value any) { logPanic(e.log, what, value) }

func logPanic(log *slog.Logger, what string, value any) {
	defer func() { _ = recover() }() // the handler of the log may be what panics
	log.Error("panic in "+what, "panic", clean(fmt.Sprint(value), 300))
	log.Debug("panic in "+what, "stack", string(debug.Stack()))
}

// emitSafely is emit for hooks that run where nobody recovers, or where what was
// just received would be lost.
func emitSafely[E any](ctx context.Context, e *events, hook func(context.Context, E), ev E) {
	defer func() {
		if p := recover(); p != nil {
			e.panicked("a Trace hook", p)
		}
	}()
	emit(ctx, hook, ev)
}

// emit runs hook, if there is one.
func emit[E any](ctx context.Context, hook func(context.Context, E), e E) {
	if hook != nil {
		hook(ctx, e)
	}
}

func (e *events) discoveryFetched(ctx context.Context, ev FetchEvent) {
	e.fetched(ctx, "provider metadata", &ev)
	emitSafely(ctx, e, e.trace.DiscoveryFetched, ev)
}

func (e *events) keysFetched(ctx context.Context, ev FetchEvent) {
	e.fetched(ctx, "provider keys", &ev)
	emitSafely(ctx, e, e.trace.KeysFetched, ev)
}

func (e *events) fetched(ctx context.Context, what string, ev *FetchEvent) {
	ev.Issuer, ev.URL = e.issuer, clean(ev.URL, maxEventURL)
	url := clean(ev.URL, maxShown)
	if ev.Err != nil {
		e.log.LogAttrs(ctx, slog.LevelWarn, "could not fetch "+what,
			slog.String("url", url), slog.Duration("duration", ev.Duration), slog.Any("error", ev.Err))
		return
	}
	e.log.LogAttrs(ctx, slog.LevelDebug, "fetched "+what,
		slog.String("url", url), slog.Duration("duration", ev.Duration))
}

func (e *events) keysRotated(ctx context.Context, ev FetchEvent) {
	ev.Issuer, ev.URL = e.issuer, clean(ev.URL, maxEventURL)
	ev.Added, ev.Removed = cleanList(ev.Added, maxEventList, 100), cleanList(ev.Removed, maxEventList, 100)
	const logged = 8
	e.log.LogAttrs(ctx, slog.LevelInfo, "provider keys rotated",
		slog.Any("added", cleanList(ev.Added, logged, 100)), slog.Any("removed", cleanList(ev.Removed, logged, 100)))
	emitSafely(ctx, e, e.trace.KeysRotated, ev)
}

// expiresInIgnored warns that tokens will not be refreshed before they expire.
func (e *events) expiresInIgnored(ctx context.Context, value string) {
	e.log.LogAttrs(ctx, slog.LevelWarn,
		"the provider's expires_in is not a number of seconds: the access token counts as one without expiry",
		slog.String("issuer", e.issuer), slog.String("expires_in", value))
}

// noRefreshToken warns that sessions will not be refreshed. mend says what may help.
func (e *events) noRefreshToken(ctx context.Context, mend string) {
	e.log.LogAttrs(ctx, slog.LevelWarn,
		"Tokens.RefreshBefore is set, but the provider issues no refresh token: sessions are not refreshed",
		slog.String("issuer", e.issuer), slog.String("mend", mend))
}

func (e *events) loginStarted(ctx context.Context, ev LoginEvent) {
	ev.Issuer, ev.ReturnTo = e.issuer, clean(ev.ReturnTo, maxReturnTo)
	e.log.LogAttrs(ctx, slog.LevelDebug, "login started", slog.String("login", ev.Login),
		slog.String("return_to", clean(cutQuery(ev.ReturnTo), maxShown)), slog.Bool("restart", ev.Restart))
	emit(ctx, e.trace.LoginStarted, ev)
}

// returnToDropped says that a login or a logout leads to another page than was asked for.
func (e *events) returnToDropped(ctx context.Context, asked, reason string) {
	e.log.LogAttrs(ctx, slog.LevelInfo, "a page to return to was dropped", slog.String("reason", reason),
		slog.Int("bytes", len(asked)), slog.String("return_to", clean(cutQuery(asked), maxShown)))
}

func (e *events) loginSucceeded(ctx context.Context, ev LoginEvent) {
	ev.Issuer, ev.ACR, ev.AMR = e.issuerOf(ev.Issuer), clean(ev.ACR, maxShown), cleanList(ev.AMR, maxEventList, maxShown)
	e.log.LogAttrs(ctx, slog.LevelInfo, "login succeeded",
		slog.String("login", ev.Login), slog.String("session", ev.SessionID),
		slog.String("sub", ev.Subject), slog.String("acr", clean(ev.ACR, maxShown)),
		slog.String("amr", clean(strings.Join(ev.AMR, " "), maxShown)),
		slog.Duration("exchange", ev.Exchange), slog.Duration("verification", ev.Verification),
		slog.Duration("userinfo", ev.UserInfo))
	emit(ctx, e.trace.LoginSucceeded, ev)
}

// loginRefused does not log: the error page does, with its incident id.
func (e *events) loginRefused(ctx context.Context, login string, err error) {
	ev := LoginEvent{Issuer: e.issuer, Login: login, Subject: deniedSubject(err), Code: codeOf(err), Err: err}
	if r, ok := asRefusal(err); ok {
		ev.Reason = clean(r.reason, maxShown)
	}
	emit(ctx, e.trace.LoginRefused, ev)
}

func (e *events) sessionRefreshed(ctx context.Context, ev SessionEvent) {
	ev.Issuer = e.issuerOf(ev.Issuer)
	if ev.Err != nil {
		e.log.LogAttrs(ctx, slog.LevelWarn, "session refresh failed", slog.String("session", ev.SessionID),
			slog.String("sub", ev.Subject), slog.Any("error", ev.Err))
	} else {
		e.log.LogAttrs(ctx, slog.LevelDebug, "session refreshed", slog.String("session", ev.SessionID),
			slog.String("sub", ev.Subject), slog.Bool("rotated", ev.Rotated))
	}
	emitSafely(ctx, e, e.trace.SessionRefreshed, ev)
}

// sessionRefused runs the hook, and logs if logged is true. It logs ev.Err too, which
// may say more than the reason.
func (e *events) sessionRefused(ctx context.Context, ev SessionEvent, logged bool) {
	ev.Issuer = e.issuerOf(ev.Issuer)
	if logged {
		e.log.LogAttrs(ctx, slog.LevelInfo, "session refused", slog.String("reason", ev.Reason),
			slog.String("session", ev.SessionID), slog.Any("error", ev.Err))
	}
	emit(ctx, e.trace.SessionRefused, ev)
}

func (e *events) loggedOut(ctx context.Context, ev SessionEvent) {
	ev.Issuer = e.issuerOf(ev.Issuer)
	e.log.LogAttrs(ctx, slog.LevelInfo, "logged out", slog.String("session", ev.SessionID),
		slog.String("sub", ev.Subject), slog.Bool("at_provider", ev.AtProvider))
	emit(ctx, e.trace.LoggedOut, ev)
}

func (e *events) backChannelReceived(ctx context.Context, ev BackchannelEvent) {
	ev = e.bounded(ev)
	switch {
	case isTooManyLogouts(ev.Err): // reported once a minute, not once for each token
	case ev.Err != nil:
		e.log.LogAttrs(ctx, slog.LevelWarn, "back-channel logout refused", slog.Any("error", ev.Err))
	default:
		e.log.LogAttrs(ctx, slog.LevelInfo, "back-channel logout",
			slog.String("sub", ev.Subject), slog.String("sid", ev.SID))
	}
	emit(ctx, e.trace.BackchannelReceived, ev)
}

// issuerOf returns the issuer that an event names: real, that of a token, if the event is
// about one, else that of the Client.
func (e *events) issuerOf(real string) string { return clean(cmp.Or(real, e.issuer), maxEventURL) }

// bounded completes ev and bounds what the token says.
func (e *events) bounded(ev BackchannelEvent) BackchannelEvent {
	ev.Issuer, ev.SID, ev.JTI = e.issuerOf(ev.Issuer), clean(ev.SID, maxShown), clean(ev.JTI, maxShown)
	return ev
}

func (e *events) tokenReplayed(ctx context.Context, ev BackchannelEvent) {
	ev = e.bounded(ev)
	e.log.LogAttrs(ctx, slog.LevelWarn, "logout token replayed", slog.String("jti", ev.JTI))
	emit(ctx, e.trace.LogoutTokenReplayed, ev)
}
