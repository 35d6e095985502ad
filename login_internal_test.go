package oidcrp

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"
)

func TestLogins_TheStateHidesWhatItHolds(t *testing.T) {
	t.Parallel()
	c := mustNew(t, nil)
	state, err := c.logins.newState(&transaction{ReturnTo: "/dossiers/12", Started: time.Now().Unix()}, false)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := base64.RawURLEncoding.DecodeString(state)
	if err != nil || strings.Contains(string(decoded), "dossiers") {
		t.Errorf("the state is %q, %v", decoded, err)
	}
	if ticket, ok := c.logins.openState(state); !ok || ticket.ReturnTo != "/dossiers/12" {
		t.Errorf("the state opens as %+v, %v", ticket, ok)
	}
	other := mustNew(t, func(c *Config) { c.CookieKeys = Keys(testKey(9)) })
	if _, ok := other.logins.openState(state); ok {
		t.Error("another client's keys open the state")
	}
	// The same keys on another host: a state is not to be carried over.
	elsewhere := mustNew(t, func(c *Config) { c.BaseURL = "https://other.example" })
	if _, ok := elsewhere.logins.openState(state); ok {
		t.Error("another host opens the state")
	}
}
