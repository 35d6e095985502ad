package oidcrp

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/oidcrp/oidcrp/internal/strictjson"
)

// fullSession is a session in which nothing is missing.
func fullSession() *Session {
	s := &Session{
		id: "0123456789abcdef", line: "fedcba9876543210", words: newVocabulary("https://op.example", "app"), sid: "earlier",
		before:  [2]uint64{1700000000001, 2},
		renewed: 1700000050003, encrypted: true, created: time.Unix(1700000000, 0), seen: time.Unix(1700000060, 0),
		ceiling: time.Unix(1700001000, 0), tokenEnd: time.Unix(1700000900, 0), stepUp: "demand", lifetime: 12 * time.Hour,
		tokens:   &oauth2.Token{AccessToken: "a", TokenType: "Bearer", RefreshToken: "r", Expiry: time.Unix(1700003600, 0)},
		tokensAt: time.Unix(1700000050, 0),
	}
	token := madeToken(madeJWS(`{"iss":"https://op.example","sub":"alice","aud":["app"],"azp":"app","exp":1700003600,` +
		`"nonce":"n","given_name":"A","uid":"a","email":"b@example.org","x":null,"y":{"z":[1.0]},"é":true,"m":false}`))
	token.encrypted = true
	s.setIDToken(token, userClaims{own: strictjson.Members{"email": []byte(`"a@example.org"`), "email_verified": []byte(`"true"`)}, same: []string{"given_name", "uid"}})
	return s
}

// stored describes everything of s that its stored form must keep.
func stored(s *Session) string {
	text := fmt.Sprintln(s.id, s.line, s.sid, s.before, s.renewed, s.encrypted,
		s.created.UnixMilli(), s.seen.Unix(), s.ceiling, s.tokenEnd, s.stepUp, s.lifetime,
		s.header, s.claims, s.signature, s.own)
	if s.tokens != nil {
		text += fmt.Sprintln(s.tokens.AccessToken, s.tokens.RefreshToken, s.tokens.TokenType, s.tokens.Expiry, s.tokensAt)
	}
	return text
}

func TestSessionFormat_ReadsBackWhatItWrote(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what   string
		change func(*Session)
	}{
		{"everything", func(*Session) {}},
		{"no tokens", func(s *Session) { s.tokens, s.tokensAt = nil, time.Time{} }},
		{"no refresh token and no expiry", func(s *Session) { s.tokens = &oauth2.Token{AccessToken: "a", TokenType: "Bearer"} }},
		{"no UserInfo", func(s *Session) { s.setUser(userClaims{}) }},
		{"no ceiling", func(s *Session) { s.ceiling = time.Time{} }},
		{"a ceiling of 1970", func(s *Session) { s.ceiling = time.Unix(1, 0) }},
		{"no ID Token's end", func(s *Session) { s.tokenEnd = time.Time{} }},
		{"no earlier sid", func(s *Session) { s.sid = "" }},
		{"used before it was made", func(s *Session) { s.seen = s.created.Add(-time.Second) }},
		{"an ID Token with space", func(s *Session) {
			s.setIDToken(madeToken(madeJWS("{ \"sub\": \"alice\",\n\"\\u0061\": 1e0 }")), s.user())
		}},
		{"milliseconds", func(s *Session) { s.created = s.created.Add(999 * time.Millisecond) }},
		{"UserInfo of a megabyte", func(s *Session) {
			s.setUser(userClaims{own: strictjson.Members{"x": []byte(`"` + strings.Repeat("x", 1<<20) + `"`)}})
		}},
		{"an empty id", func(s *Session) { s.id = "" }},
		{"the first of its line", func(s *Session) { s.line = s.id }},
		{"no mark before it and no refresh", func(s *Session) { s.before, s.renewed = [2]uint64{}, 0 }},
		{"an ID Token that came in the clear", func(s *Session) { s.encrypted = false }},
	} {
		s := fullSession().copy()
		test.change(s)
		got, err := unmarshalSession(s.marshal(), s.words, s.lifetime)
		if err != nil {
			t.Errorf("%s: %v", test.what, err)
			continue
		}
		if stored(got) != stored(s) || got.Subject() != "alice" || got.IDToken() != s.IDToken() {
			t.Errorf("%s: read back as\n%s, want\n%s", test.what, stored(got), stored(s))
		}
	}
}

// Zero is "no end" in the stored form.
func TestSessionFormat_AnEndInTheYear1970IsAnEnd(t *testing.T) {
	t.Parallel()
	s := &Session{ceiling: time.Unix(0, 0), words: new(vocabulary)}
	read, err := unmarshalSession(s.marshal(), s.words, defaultLifetime)
	if err != nil {
		t.Fatal(err)
	}
	if read.ceiling.IsZero() {
		t.Error("read back as no end")
	}
}

func TestSessionFormat_RefusesWhatIsCutOrForeign(t *testing.T) {
	t.Parallel()
	full := fullSession()
	written := full.marshal()
	for n := range written {
		if s, err := unmarshalSession(written[:n], full.words, defaultLifetime); err == nil {
			t.Errorf("the first %d of %d bytes were read as %v", n, len(written), s)
		}
	}
	if _, err := unmarshalSession(append(slices.Clone(written), 0), full.words, defaultLifetime); err == nil {
		t.Error("a byte too many was accepted")
	}
	for version := range 256 {
		foreign := slices.Clone(written)
		foreign[0] = byte(version)
		if _, err := unmarshalSession(foreign, full.words, defaultLifetime); (err == nil) != (version == sessionFormat) {
			t.Errorf("version %d: %v", version, err)
		}
	}
}

func FuzzSessionFormat(f *testing.F) {
	s := fullSession()
	f.Add(s.marshal())
	s.tokens = nil
	f.Add(s.marshal())
	f.Add([]byte{sessionFormat, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Add([]byte{})
	words := s.words
	f.Fuzz(func(t *testing.T, written []byte) {
		s, err := unmarshalSession(written, words, defaultLifetime)
		if err != nil {
			return
		}
		if size := len(s.marshal()); size > len(written) {
			t.Errorf("%d bytes came out of %d", size, len(written))
		}
		s.Subject()
		s.AuthTime()
		s.ExpiresAt()
		var claims map[string]any
		_ = s.Claims(&claims)
	})
}

// The text of an object is kept with the room that was made for it: a session of many
// numbers must not take more memory than Sessions.CacheBytes counts.
func TestSessionFormat_MakesRoomForTheDigitsThatANumberHas(t *testing.T) {
	t.Parallel()
	numbers := []uint64{0, math.MaxUint64, math.MaxUint64 - 1}
	for power := uint64(1); power <= 1e19/10; power *= 10 {
		numbers = append(numbers, power, 10*power-1, power+1)
	}
	for bit := range 64 {
		numbers = append(numbers, 1<<bit, 1<<bit-1)
	}
	for _, n := range numbers {
		m := storedMember{known: "exp", kind: numberValue, number: n}
		var value strings.Builder
		m.writeValue(&value)
		takes := len(`"exp":,`) + value.Len()
		if room := m.size(); room < takes || room > takes+len(`""`)+1 {
			t.Errorf("%d: room for %d bytes, and it takes %d", n, room, takes)
		}
	}
}
