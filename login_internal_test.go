package oidcrp

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strconv"
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

// RecoverLogin reads the login again; by then it may be lost.
func TestRecoverLogin_OfALoginThatIsLostByNow(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, func(cfg *Config) { cfg.Provider.Metadata = soundMetadata(nil) })
	signedIn := c.start(t)
	w := httptest.NewRecorder()
	location, err := c.BeginLogin(w, requestWith(signedIn...), nil)
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(location)
	alive := signedIn
	for range 2 { // the person uses the app in another tab
		c.clock.Advance(30 * time.Minute)
		_, alive = serves(c.Middleware(http.HandlerFunc(saySubject)), alive)
	}
	r := requestWith(cookiesAfter(alive, w)...)
	r.URL.RawQuery = url.Values{"error": {"access_denied"}, "state": {u.Query().Get("state")}, "iss": {"https://op.example"}}.Encode()
	_, err = c.Callback(t.Context(), r)
	wantCode(t, err, CodeProviderError)
	c.clock.Advance(time.Second)
	location, err = c.RecoverLogin(httptest.NewRecorder(), r, err)
	if wantCode(t, err, CodeProviderError); location != "" {
		t.Errorf("it leads to %q", location)
	}
}

func TestTransaction_ComesBackAsItWas(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", "/", "/tab/?" + strings.Repeat("a&b=<é>", 400), strings.Repeat("/\"", maxReturnTo/2)} {
		want := &transaction{Nonce: randomText(), Verifier: randomText(), ReturnTo: path, MaxAge: new(int64), Issuer: "https://op.example", Started: 1}
		stored, err := want.marshal(new(packers))
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
	b := bytes.NewBuffer([]byte{packed})
	w, err := flate.NewWriter(b, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(bytes.Repeat([]byte(" "), maxTransaction+(1<<20)))
	w.Flush()
	b.WriteString("\xff\xff\xff") // which is not reached
	if _, err := unmarshalTransaction(b.Bytes()); err == nil || !strings.Contains(err.Error(), "unpacks to more than") {
		t.Errorf("the error is %v", err)
	}
	if _, err := unmarshalTransaction(nil); err == nil {
		t.Error("nothing is a transaction")
	}
}

// Tabs that are restored together start logins that do not see each other's cookies, and
// another host of the site can plant any.
func TestLogins_DropOldCookiesWithinOneHeader(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, func(cfg *Config) { cfg.Provider.Metadata = soundMetadata(nil) })
	var cookies []*http.Cookie
	for i := range 45 {
		name := c.logins.cookieName(strconv.Itoa(i))
		cookies = append(cookies, &http.Cookie{Name: name, Value: "old"})
	}
	for range 10 {
		w := httptest.NewRecorder()
		location, err := c.BeginLogin(w, requestWith(cookies...), &AuthOptions{ReturnTo: "/page"})
		if err != nil {
			t.Fatal(err)
		}
		var header strings.Builder
		w.Header().Write(&header)
		if size := header.Len() + len("Location: ") + len(location); size > maxAnswerHeader {
			t.Errorf("%d bytes of header", size)
		}
		cookies = cookiesAfter(cookies, w)
	}
	if len(cookies) > maxTransactions {
		t.Errorf("%d cookies are left", len(cookies))
	}
}

func TestLogins_WhatDoesNotFitLeadsToTheStartPage(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, func(cfg *Config) {
		cfg.BaseURL, cfg.Provider.Metadata = "https://app.example/myapp", soundMetadata(nil)
	})
	w := httptest.NewRecorder()
	// The app has used the header up itself.
	w.Header().Set("Content-Security-Policy", strings.Repeat("x", 3000))
	if _, err := c.BeginLogin(w, requestWith(), &AuthOptions{ReturnTo: "/myapp/" + strings.Repeat("ab", 500)}); err != nil {
		t.Fatal(err)
	}
	cookie := w.Result().Cookies()[0]
	pending, err := c.logins.openTransaction(cookie.Name, cookie.Value)
	if err != nil || pending.ReturnTo != "/myapp/" {
		t.Errorf("the login leads to %.60q, %v", pending.ReturnTo, err)
	}
	if !strings.Contains(c.log.String(), "a page to return to was dropped") {
		t.Error("the log does not say so")
	}
}

// What a login asked for is carried to one that replaces it, if it is short.
func TestTransaction_CarriesShortOptions(t *testing.T) {
	t.Parallel()
	for what, test := range map[string]struct {
		asked AuthOptions
		final bool
	}{
		"nothing":      {AuthOptions{}, false},
		"everything":   {AuthOptions{Prompt: "login", LoginHint: "a", ACRValues: []string{"b"}, UILocales: []string{"fr"}, Extra: url.Values{"c": {"d"}}, Scopes: []string{"e"}}, false},
		"a long hint":  {AuthOptions{LoginHint: strings.Repeat("a", maxTransactionExtra+1)}, true},
		"long extras":  {AuthOptions{Extra: url.Values{"a": {strings.Repeat("a", maxTransactionExtra)}}}, true},
		"many locales": {AuthOptions{UILocales: slices.Repeat([]string{"fr"}, maxTransactionExtra)}, true},
		"many scopes":  {AuthOptions{Scopes: slices.Repeat([]string{"api"}, maxTransactionExtra)}, true},
		"claims":       {AuthOptions{Claims: new(ClaimsRequest), Prompt: "login"}, true},
	} {
		tr := new(transaction)
		tr.carry(&AuthOptions{Prompt: "of the Config", own: &test.asked})
		got := tr.options()
		if tr.Final != test.final || test.final && tr.Prompt+tr.LoginHint != "" {
			t.Errorf("%s: %+v", what, tr)
		}
		if want := test.asked; !test.final && (got.Prompt != want.Prompt || got.LoginHint != want.LoginHint ||
			!slices.Equal(got.ACRValues, want.ACRValues) || !slices.Equal(got.UILocales, want.UILocales) ||
			got.Extra.Encode() != want.Extra.Encode() || !slices.Equal(got.Scopes, want.Scopes)) {
			t.Errorf("%s: %+v", what, got)
		}
	}
}
