package oidctest_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp/oidctest"
)

func TestPAR_RequestURIWorksOnce(t *testing.T) {
	t.Parallel()
	now := newClock()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", RequirePAR: true, Now: now.Now,
		Clients: []oidctest.Client{{ID: oidctest.ClientID, Secret: oidctest.ClientSecret}, {ID: "other"}}})
	c := newRaw(t, p)
	if r := c.get(oidctest.EndpointAuthorization, authRequest()); r.back.Get("error") != "invalid_request" {
		t.Errorf("a request that was not pushed: %v", r.back)
	}
	push := func() string {
		r := c.post(oidctest.EndpointPAR, authRequest("client_secret", oidctest.ClientSecret))
		if r.status != http.StatusCreated || r.json["expires_in"] != 60.0 {
			t.Fatalf("got %d %s", r.status, r.body)
		}
		return r.json["request_uri"].(string)
	}
	open := func(clientID, uri string) reply {
		return c.get(oidctest.EndpointAuthorization, url.Values{"client_id": {clientID}, "request_uri": {uri}})
	}
	uri := push()
	code := open(oidctest.ClientID, uri).back.Get("code")
	if r := c.post(oidctest.EndpointToken, tokenRequest(code)); r.status != http.StatusOK {
		t.Errorf("got %d %s", r.status, r.body)
	}
	if r := open(oidctest.ClientID, uri); r.status != http.StatusBadRequest {
		t.Errorf("the second use: %d", r.status)
	}
	if r := open("other", push()); r.status != http.StatusBadRequest {
		t.Errorf("the use by another client: %d", r.status)
	}
	uri = push()
	now.Advance(time.Minute)
	if r := open(oidctest.ClientID, uri); r.status != http.StatusBadRequest {
		t.Errorf("the use after a minute: %d", r.status)
	}

	c.wantError(c.post(oidctest.EndpointPAR, authRequest()), http.StatusUnauthorized, "invalid_client")
	bad := authRequest("client_secret", oidctest.ClientSecret, "response_type", "token")
	c.wantError(c.post(oidctest.EndpointPAR, bad), http.StatusBadRequest, "unsupported_response_type")
}
