package oidcrp

import (
	"context"
	"log/slog"
	"strings"
	"time"
)

// Trace is a set of hooks that run when something worth counting or auditing
// happens, in the manner of net/http/httptrace. Any hook may be nil. Hooks run
// on the goroutine that did the work, often a request's, and must return
// quickly. No event holds a token, a code, a secret or a person's data beyond
// the subject identifier.
type Trace struct {
	// DiscoveryFetched runs after each attempt to fetch the provider's metadata.
	DiscoveryFetched func(context.Context, FetchEvent)
	// KeysFetched runs after each attempt to fetch the provider's keys.
	KeysFetched func(context.Context, FetchEvent)
	// KeysRotated runs when a fetch brought a key that was not there before or
	// no longer brought one that was.
	KeysRotated func(context.Context, KeysRotatedEvent)
	// LoginStarted runs when a browser is about to be sent to the provider.
	LoginStarted func(context.Context, LoginStartedEvent)
	// LoginSucceeded runs when a session has been made.
	LoginSucceeded func(context.Context, LoginSucceededEvent)
	// LoginRefused runs when a callback did not lead to a session, once the
	// middleware has answered it. An app that calls [Client.Callback] itself
	// has its error instead.
	LoginRefused func(context.Context, LoginRefusedEvent)
	// SessionRefreshed runs after each use of a refresh token.
	SessionRefreshed func(context.Context, SessionRefreshedEvent)
	// SessionRefused runs when a request carried a session cookie that could
	// not be used: tampered with, sealed by an unknown key, expired.
	SessionRefused func(context.Context, SessionRefusedEvent)
	// LoggedOut runs when a session was ended in its own browser: by
	// [Client.Logout], or by the provider's front-channel logout.
	LoggedOut func(context.Context, LoggedOutEvent)
	// BackChannelReceived runs after each request to the back-channel logout
	// path.
	BackChannelReceived func(context.Context, BackChannelEvent)
	// TokenReplayed runs when a Logout Token came a second time.
	TokenReplayed func(context.Context, TokenReplayedEvent)
}

// FetchEvent describes one request for metadata or keys.
type FetchEvent struct {
	URL      string
	Duration time.Duration
	Err      error // nil when the fetch succeeded
}

// KeysRotatedEvent lists the key ids that came and went.
type KeysRotatedEvent struct {
	Added, Removed []string
}

// LoginStartedEvent describes an authentication request.
type LoginStartedEvent struct {
	ReturnTo  string
	ACRValues []string // what is asked for, if anything
	Prompt    string
	Restart   bool // the login replaces one whose transaction was lost
}

// LoginSucceededEvent describes a completed login.
type LoginSucceededEvent struct {
	Subject string
	ACR     string
	AMR     []string
	// How long the three steps took.
	Exchange, Verification, UserInfo time.Duration
}

// LoginRefusedEvent describes a callback that led to no session.
type LoginRefusedEvent struct {
	Code Code
	Err  error
}

// SessionRefreshedEvent describes one use of a refresh token.
type SessionRefreshedEvent struct {
	Subject string
	Rotated bool // the provider replaced the refresh token
	Err     error
}

// SessionRefusedEvent says why a session cookie was not accepted.
type SessionRefusedEvent struct {
	Reason string
}

// LoggedOutEvent describes a logout that the person asked for, here or at the
// provider.
type LoggedOutEvent struct {
	Subject string
	// AtProvider says whether the logout is the provider's as well: the browser
	// was sent on to its end_session_endpoint, or came from its logout page.
	AtProvider bool
}

// BackChannelEvent describes a logout that the provider asked for, server to
// server.
type BackChannelEvent struct {
	Subject, SID string // as in the Logout Token; either may be empty
	Err          error  // why it was refused, nil when it was carried out
}

// TokenReplayedEvent names the token that came twice.
type TokenReplayedEvent struct {
	JTI string
}

// events hands what happens to the trace hooks and to the log. Its log lines
// are: Info for logins and logouts, Warn for what was refused or failed,
// Debug for the rest.
type events struct {
	trace Trace
	log   *slog.Logger
}

func (e *events) discoveryFetched(ctx context.Context, ev FetchEvent) {
	e.fetched(ctx, "provider metadata", ev)
	if e.trace.DiscoveryFetched != nil {
		e.trace.DiscoveryFetched(ctx, ev)
	}
}

func (e *events) keysFetched(ctx context.Context, ev FetchEvent) {
	e.fetched(ctx, "provider keys", ev)
	if e.trace.KeysFetched != nil {
		e.trace.KeysFetched(ctx, ev)
	}
}

func (e *events) fetched(ctx context.Context, what string, ev FetchEvent) {
	if ev.Err != nil {
		e.log.LogAttrs(ctx, slog.LevelWarn, "could not fetch "+what,
			slog.String("url", ev.URL), slog.Duration("duration", ev.Duration), slog.Any("error", ev.Err))
		return
	}
	e.log.LogAttrs(ctx, slog.LevelDebug, "fetched "+what,
		slog.String("url", ev.URL), slog.Duration("duration", ev.Duration))
}

func (e *events) keysRotated(ctx context.Context, ev KeysRotatedEvent) {
	e.log.LogAttrs(ctx, slog.LevelInfo, "provider keys rotated",
		slog.Any("added", ev.Added), slog.Any("removed", ev.Removed))
	if e.trace.KeysRotated != nil {
		e.trace.KeysRotated(ctx, ev)
	}
}

func (e *events) loginStarted(ctx context.Context, ev LoginStartedEvent) {
	e.log.LogAttrs(ctx, slog.LevelDebug, "login started",
		slog.String("return_to", cutQuery(ev.ReturnTo)), slog.Bool("restart", ev.Restart))
	if e.trace.LoginStarted != nil {
		e.trace.LoginStarted(ctx, ev)
	}
}

func (e *events) loginSucceeded(ctx context.Context, ev LoginSucceededEvent) {
	e.log.LogAttrs(ctx, slog.LevelInfo, "login succeeded",
		slog.String("sub", ev.Subject), slog.String("acr", clean(ev.ACR, 200)),
		slog.String("amr", clean(strings.Join(ev.AMR, " "), 200)),
		slog.Duration("exchange", ev.Exchange), slog.Duration("verification", ev.Verification),
		slog.Duration("userinfo", ev.UserInfo))
	if e.trace.LoginSucceeded != nil {
		e.trace.LoginSucceeded(ctx, ev)
	}
}

// loginRefused does not log: the page that tells the person does, with the
// incident id.
func (e *events) loginRefused(ctx context.Context, err error) {
	if e.trace.LoginRefused != nil {
		e.trace.LoginRefused(ctx, LoginRefusedEvent{Code: codeOf(err), Err: err})
	}
}

func (e *events) sessionRefreshed(ctx context.Context, ev SessionRefreshedEvent) {
	if ev.Err != nil {
		e.log.LogAttrs(ctx, slog.LevelWarn, "session refresh failed",
			slog.String("sub", ev.Subject), slog.Any("error", ev.Err))
	} else {
		e.log.LogAttrs(ctx, slog.LevelDebug, "session refreshed",
			slog.String("sub", ev.Subject), slog.Bool("rotated", ev.Rotated))
	}
	if e.trace.SessionRefreshed != nil {
		e.trace.SessionRefreshed(ctx, ev)
	}
}

func (e *events) sessionRefused(ctx context.Context, reason string) {
	e.log.LogAttrs(ctx, slog.LevelInfo, "session refused", slog.String("reason", reason))
	if e.trace.SessionRefused != nil {
		e.trace.SessionRefused(ctx, SessionRefusedEvent{Reason: reason})
	}
}

func (e *events) loggedOut(ctx context.Context, ev LoggedOutEvent) {
	e.log.LogAttrs(ctx, slog.LevelInfo, "logged out",
		slog.String("sub", ev.Subject), slog.Bool("at_provider", ev.AtProvider))
	if e.trace.LoggedOut != nil {
		e.trace.LoggedOut(ctx, ev)
	}
}

func (e *events) backChannelReceived(ctx context.Context, ev BackChannelEvent) {
	if ev.Err != nil {
		e.log.LogAttrs(ctx, slog.LevelWarn, "back-channel logout refused", slog.Any("error", ev.Err))
	} else {
		e.log.LogAttrs(ctx, slog.LevelInfo, "back-channel logout",
			slog.String("sub", ev.Subject), slog.String("sid", ev.SID))
	}
	if e.trace.BackChannelReceived != nil {
		e.trace.BackChannelReceived(ctx, ev)
	}
}

func (e *events) tokenReplayed(ctx context.Context, jti string) {
	e.log.LogAttrs(ctx, slog.LevelWarn, "logout token replayed", slog.String("jti", jti))
	if e.trace.TokenReplayed != nil {
		e.trace.TokenReplayed(ctx, TokenReplayedEvent{JTI: jti})
	}
}
