package oidcrp

import (
	"bytes"
	"compress/flate"
	"crypto/rand"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"math"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/oauth2"
)

// hardPath returns a return path of size bytes that compresses to half, as hexadecimal
// identifiers do.
func hardPath(size int) string {
	path := "/tab/?ids="
	for i := 0; len(path) < size; i++ {
		sum := sha512.Sum512([]byte{byte(i)})
		path += hex.EncodeToString(sum[:])
	}
	return path[:size]
}

// A browser sends the cookie of each login that is under way with each request.
func TestTransaction_ItsCookieIsSmall(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, func(cfg *Config) { cfg.Provider.Metadata = soundMetadata(nil) })
	for _, test := range []struct {
		what  string
		asked AuthOptions
		most  int // bytes of name and value
	}{
		{"a plain login", AuthOptions{}, 155},
		{"a login from a page", AuthOptions{ReturnTo: hardPath(100)}, 155},
		{"a page of 500 bytes", AuthOptions{ReturnTo: hardPath(500)}, 540},
		{"a required acr", AuthOptions{RequireACR: []string{"eidas2"}}, 180},
	} {
		w := httptest.NewRecorder()
		location, err := c.BeginLogin(w, requestWith(), &test.asked)
		if err != nil {
			t.Fatal(err)
		}
		set := w.Header()["Set-Cookie"]
		cookie := w.Result().Cookies()[0]
		if size := len(cookie.Name) + len(cookie.Value); len(set) != 1 || size > test.most {
			t.Errorf("%s: %d cookies, the first has %d bytes, its header %d; want 1 cookie of %d", test.what, len(set), size, len(set[0]), test.most)
		}
		u, err := url.Parse(location)
		if state := u.Query().Get("state"); err != nil || test.asked.ReturnTo == "" && len(state) > 100 {
			t.Errorf("%s: a state of %d bytes, %v", test.what, len(state), err)
		}
	}
}

// The nonce is in URLs, and must not lead to the code_verifier (RFC 7636 section 7.1).
func TestTransaction_NonceAndVerifierAreTextsOfTheirOwn(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, func(cfg *Config) { cfg.Provider.Metadata = soundMetadata(nil) })
	seen := make(map[string]bool)
	for range 20 {
		w := httptest.NewRecorder()
		location, err := c.BeginLogin(w, requestWith(), nil)
		if err != nil {
			t.Fatal(err)
		}
		cookie := w.Result().Cookies()[0]
		tr, err := c.logins.openTransaction(cookie.Name, cookie.Value)
		if err != nil {
			t.Fatal(err)
		}
		u, _ := url.Parse(location)
		sent := u.Query()
		if got := sent.Get("nonce"); got != tr.nonce() || sent.Get("code_challenge") != oauth2.S256ChallengeFromVerifier(tr.verifier()) {
			t.Errorf("nonce %q and challenge %q are not the transaction's", got, sent.Get("code_challenge"))
		}
		// RFC 7636 section 4.1: 43 characters at least.
		for _, text := range []string{tr.nonce(), tr.verifier(), sent.Get("code_challenge"), sent.Get("state")} {
			if seen[text] || len(text) < 43 {
				t.Errorf("%q is short, or was there before", text)
			}
			seen[text] = true
		}
	}
}

// The seal says whose a transaction is, so the transaction need not.
func TestTransaction_OfAnotherIssuerIsRefused(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, func(cfg *Config) { cfg.Provider.Metadata = soundMetadata(nil) })
	const issuer = "https://other.example"
	other := newOfflineClient(t, func(cfg *Config) {
		cfg.Issuer = issuer
		cfg.Provider.Metadata = soundMetadata(func(m *Metadata) { m.Issuer = issuer })
	})
	w := httptest.NewRecorder()
	if _, err := other.BeginLogin(w, requestWith(), nil); err != nil {
		t.Fatal(err)
	}
	planted := w.Result().Cookies()[0]
	if _, _, err := other.logins.find(requestWith(planted), planted.Name); err != nil {
		t.Errorf("its own client: %v", err)
	}
	_, _, err := c.logins.find(requestWith(planted), planted.Name)
	wantCode(t, err, CodeTransactionLost)
}

func TestTransaction_ComesBackAsItWas(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", "/", "/tab/?" + strings.Repeat("a&b=<é>", 400), strings.Repeat("/\"", maxReturnTo/2)} {
		want := &transaction{Started: 1, wishes: wishes{ReturnTo: path, MaxAge: new(int64)}}
		rand.Read(want.secret[:])
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
	head := slices.Clip(appendHead(packedTransaction, new([randomSize]byte), 1))
	for name, plain := range map[string]string{
		"too much":    `{"r":"` + strings.Repeat("a", 100<<20) + `"}`,
		"not JSON":    "nothing",
		"a cut end":   "",
		"JSON beyond": "{}" + strings.Repeat(" ", maxTransaction),
	} {
		b := bytes.NewBuffer(head)
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
	b := bytes.NewBuffer(head)
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

// What a login asked for is carried to one that replaces it, if it is short.
func TestTransaction_CarriesShortOptions(t *testing.T) {
	t.Parallel()
	for what, test := range map[string]struct {
		asked AuthOptions
		final bool
	}{
		"nothing":      {AuthOptions{}, false},
		"everything":   {AuthOptions{Prompt: "login", LoginHint: "a", ACRValues: []string{"b"}, UILocales: []string{"fr"}, Extra: url.Values{"c": {"d"}}}, false},
		"a long hint":  {AuthOptions{LoginHint: strings.Repeat("a", maxTransactionExtra+1)}, true},
		"long extras":  {AuthOptions{Extra: url.Values{"a": {strings.Repeat("a", maxTransactionExtra)}}}, true},
		"many locales": {AuthOptions{UILocales: slices.Repeat([]string{"fr"}, maxTransactionExtra)}, true},
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
			got.Extra.Encode() != want.Extra.Encode()) {
			t.Errorf("%s: %+v", what, got)
		}
	}
}

// A form of another version is no transaction and no state.
func TestTransaction_AnUnknownFormIsRefused(t *testing.T) {
	t.Parallel()
	known := appendHead(plainTransaction, new([randomSize]byte), 1)
	for what, stored := range map[string][]byte{
		"nothing":         nil,
		"half a head":     known[:randomSize],
		"no time":         known[:1+randomSize],
		"half a time":     append(slices.Clone(known[:1+randomSize]), 0x80),
		"a time too late": binary.AppendUvarint(slices.Clone(known[:1+randomSize]), math.MaxUint64),
		"the form zero":   append([]byte{0}, known[1:]...),
		"a later form":    append([]byte{9}, known[1:]...),
		"JSON":            []byte(`{"n":"` + randomText() + `","v":"` + randomText() + `","i":"https://op.example","t":1}`),
	} {
		if got, err := unmarshalTransaction(stored); err == nil {
			t.Errorf("%s is the transaction %+v", what, got)
		}
		if got, ok := unmarshalTicket(stored); ok {
			t.Errorf("%s is the ticket %+v", what, got)
		}
	}
	if _, err := unmarshalTransaction(append(known, "[]"...)); err == nil {
		t.Error("a list says what a login asks for")
	}
}

func FuzzTransaction(f *testing.F) {
	p := new(packers)
	for _, asked := range []wishes{
		{}, {ReturnTo: hardPath(500)}, {ReturnTo: "/\xff", ACR: []string{"eidas2"}, MaxAge: new(int64), Final: true},
		{StepUp: "MaxAge(5m)", Asked: true, Prompt: "login", Extra: url.Values{"a": {"<&>"}}},
	} {
		stored, err := (&transaction{Started: 1 << 31, wishes: asked}).marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(stored)
	}
	f.Add((&ticket{Started: 1, ReturnTo: "/page", Restart: true}).marshal())
	f.Fuzz(func(t *testing.T, stored []byte) {
		if ticket, ok := unmarshalTicket(stored); ok {
			again, ok := unmarshalTicket(ticket.marshal())
			if !ok || again != ticket {
				t.Errorf("the ticket %+v comes back as %+v, %v", ticket, again, ok)
			}
		}
		first, err := unmarshalTransaction(stored)
		if err != nil {
			return
		}
		kept, err := first.marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		second, err := unmarshalTransaction(kept)
		if err != nil {
			t.Fatalf("%+v does not come back: %v", first, err)
		}
		again, err := second.marshal(p)
		if err != nil || !bytes.Equal(kept, again) || first.secret != second.secret || first.Started != second.Started {
			t.Errorf("%+v comes back as %+v, %v", first, second, err)
		}
	})
}
