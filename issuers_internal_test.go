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
