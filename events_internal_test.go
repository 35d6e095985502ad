package oidcrp

import (
	"log/slog"
	"testing"
)

func TestEvents_NoHookIsNeeded(t *testing.T) {
	t.Parallel()
	// Every event, with no hook at all.
	e := &events{log: slog.New(slog.DiscardHandler)}
	ctx := t.Context()
	e.discoveryFetched(ctx, FetchEvent{})
	e.keysFetched(ctx, FetchEvent{})
	e.keysRotated(ctx, FetchEvent{})
	e.loginStarted(ctx, LoginEvent{})
	e.loginSucceeded(ctx, LoginEvent{})
	e.loginRefused(ctx, "", CodeNoSession)
	e.sessionRefreshed(ctx, SessionEvent{})
	e.sessionRefused(ctx, SessionEvent{}, true)
	e.loggedOut(ctx, SessionEvent{})
	e.backChannelReceived(ctx, BackchannelEvent{})
	e.tokenReplayed(ctx, BackchannelEvent{})
}
