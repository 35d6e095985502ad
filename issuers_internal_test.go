package oidcrp

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
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
			c.sessions.endLater(requestWith(framed...), "", "s1")
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

// A logout that is done later checks what one that is done at once does.
func TestFrontchannel_OfAnotherTenantEndsNothingLaterEither(t *testing.T) {
	t.Parallel()
	const tenantA, tenantB = "https://op.example/tenant-a/v2.0", "https://op.example/tenant-b/v2.0"
	for what, inCookies := range logoutFails {
		for _, named := range []string{tenantA, tenantB} {
			synctest.Test(t, func(t *testing.T) {
				c, store := newFailingLogout(t, inCookies, "", tenantA, tenantB)
				cookies := c.startSession(t, madeSession(c.Client, `{"iss":"`+tenantA+`","sub":"alice","sid":"s1"}`, ""))
				store.Fail(errors.New("connection refused"))
				r := requestWith(cookies...)
				r.URL.Path, r.URL.RawQuery = c.paths.frontChannel, url.Values{"iss": {named}, "sid": {"s1"}}.Encode()
				c.Middleware(nil).ServeHTTP(httptest.NewRecorder(), r)
				store.Fail(nil)
				time.Sleep(endingPause)
				synctest.Wait()
				if _, err := c.Session(requestWith(cookies...)); (err != nil) != (named == tenantA) {
					t.Errorf("%s: after a logout by %s, Session returns %v", what, named, err)
				}
			})
		}
	}
}

// A tenant that was removed from the list is out: its sessions end too, since no logout of
// its own would be accepted any more.
func TestAcceptedIssuers_ATenantThatIsRemovedEndsItsSessions(t *testing.T) {
	t.Parallel()
	const tenantA, tenantB = "https://op.example/tenant-a/v2.0", "https://op.example/tenant-b/v2.0"
	for in, keep := range keptIn {
		both := newOfflineClient(t, func(cfg *Config) { keep(cfg); cfg.Provider.AcceptedIssuers = []string{tenantA, tenantB} })
		one := newOfflineClient(t, func(cfg *Config) {
			keep(cfg)
			cfg.Provider.AcceptedIssuers = []string{tenantB}
			if cfg.Store != nil {
				cfg.Store = both.sessions.marks.store.store
			}
		})
		for issuer, stays := range map[string]bool{tenantA: false, tenantB: true} {
			cookies := both.startSession(t, madeSession(both.Client, `{"iss":"`+issuer+`","sub":"alice"}`, ""))
			both.wantSession(t, in, requestWith(cookies...))
			if stays {
				one.wantSession(t, in+", "+issuer, requestWith(cookies...))
			} else {
				one.wantRefusal(t, requestWith(cookies...), reasonMalformed)
			}
		}
	}
}
