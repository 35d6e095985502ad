package oidcrp

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"reflect"
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

func TestTransaction_ComesBackAsItWas(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", "/", "/tab/?" + strings.Repeat("a&b=<é>", 400), strings.Repeat("/\"", maxReturnTo/2)} {
		want := &transaction{Nonce: randomText(), Verifier: randomText(), ReturnTo: path, MaxAge: new(int64), Issuer: "https://op.example", Started: 1}
		stored, err := want.marshal()
		if err != nil || len(path) > maxTicketReturnTo && len(stored) > 700 {
			t.Errorf("%.20s: %d bytes, %v", path, len(stored), err)
		}
		if got, err := unmarshalTransaction(stored); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%.20s: %+v, %v", path, got, err)
		}
	}
}

func TestTransaction_ReadsNoMoreThanItsBound(t *testing.T) {
	t.Parallel()
	for name, plain := range map[string]string{
		"too much":    `{"n":"` + strings.Repeat("a", 100<<20) + `"}`,
		"not JSON":    "nothing",
		"a cut end":   "",
		"JSON beyond": "{}" + strings.Repeat(" ", maxTransaction),
	} {
		b := bytes.NewBuffer([]byte{packed})
		w, err := flate.NewWriter(b, flate.BestSpeed)
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(plain))
		if w.Flush(); name != "a cut end" {
			w.Close()
		}
		if got, err := unmarshalTransaction(b.Bytes()); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if _, err := unmarshalTransaction(nil); err == nil {
		t.Error("nothing is a transaction")
	}
}
