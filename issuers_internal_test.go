package oidcrp

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// The mark of a sid names the issuer of the session, not that of the Client, which may
// stand for many.
func TestEndLater_AFrameEndsTheSessionsOfATenantsSID(t *testing.T) {
	t.Parallel()
	for what, inCookies := range logoutFails {
		synctest.Test(t, func(t *testing.T) {
			c, _ := newFailingLogout(t, inCookies, "")
			claims := `{"iss":"https://op.example/tenant-a/v2.0","sub":"alice","sid":"s1"}`
			framed, twin := c.startSession(t, madeSession(c.Client, claims, "")), c.startSession(t, madeSession(c.Client, claims, ""))
			c.sessions.endLater(requestWith(framed...), "s1")
			time.Sleep(endingPause)
			synctest.Wait()
			for _, cookies := range [][]*http.Cookie{framed, twin} {
				c.wantNoSession(t, what, requestWith(cookies...))
			}
		})
	}
}

// The subject of a tenant names nobody without the tenant's issuer.
func TestSessionRefused_NamesTheIssuerOfTheSession(t *testing.T) {
	t.Parallel()
	const tenant = "https://op.example/tenant-a/v2.0"
	c := newOfflineClient(t, func(cfg *Config) { cfg.Provider.AcceptedIssuers = []string{tenant} })
	for _, issuer := range []string{tenant, "https://op.example"} {
		cookies := c.startSession(t, madeSession(c.Client, `{"iss":"`+issuer+`","sub":"alice"}`, ""))
		c.clock.Advance(defaultLifetime)
		c.wantNoSession(t, issuer, requestWith(cookies...))
		if events := c.refusedEvents(); len(events) != 1 || events[0].Issuer != issuer || events[0].Subject != "alice" {
			t.Errorf("the events are %+v, want one about alice of %s", events, issuer)
		}
	}
	c.wantNoSession(t, "a cookie that holds none", requestWith(&http.Cookie{Name: c.cookies.session, Value: "1no session"}))
	if events := c.refusedEvents(); len(events) != 1 || events[0].Issuer != "https://op.example" {
		t.Errorf("the events are %+v, want one that names the Client's issuer", events)
	}
}
