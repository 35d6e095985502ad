package oidcrp

// This file holds the Session that an app sees.

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
)

// A Session says who is signed in, and how the provider authenticated them. It
// is read-only and safe for concurrent use. The methods of a nil Session return
// zero values. Printed or logged, it shows its id, issuer and subject only.
type Session struct {
	id       string    // 16 random bytes: of this login, or of the one that was refreshed
	line     string    // the id of the first of the logins that replaced each other in a browser
	created  time.Time // when the person signed in here
	seen     time.Time // the last use that was recorded
	ceiling  time.Time // the provider's own end of the session; zero: none
	tokenEnd time.Time // the ID Token's end, if the session ends with it; zero: it does not
	stepUp   string    // the requirements that the login was to meet
	returnTo string    // where the login leads; not stored
	lifetime time.Duration
	before   [2]uint64 // the marks that were set before the login, in milliseconds; 0: none
	renewed  uint64    // when a refresh last changed the session, in milliseconds; 0: never

	header    object // of the ID Token; none if it is not kept
	signature []byte
	encrypted bool        // the ID Token came encrypted
	claims    object      // of the ID Token
	own       object      // the claims of UserInfo that the ID Token does not have with the same value
	sid       string      // the provider's session, if an earlier ID Token named it and this one does not
	keep      []string    // the claims that the app sees now; nil: all
	words     *vocabulary // of the Client
	tokens    *oauth2.Token
	tokensAt  time.Time // when they arrived

	login *freshLogin // for StartSession; nil for a session that was loaded
	form  []byte      // how a cookie will hold a new session, once that was made
}

// A freshLogin is the part of a login that StartSession completes.
type freshLogin struct {
	forget func(http.ResponseWriter) // deletes the login's cookie
	event  LoginEvent
	report sync.Once // reports the event once, even after a double click
}

// NewSession returns a session with these claims, for tests of an app's
// handlers: see [ContextWithSession]. claims is anything that encodes as a JSON
// object, such as map[string]any{"sub": "alice", "acr": "eidas2"}; NewSession
// panics if it does not. They are those of an ID Token: iss is empty unless claims
// has one, and auth_time is a number of seconds. The session begins now, has no
// tokens and is not stored.
func NewSession(claims any) *Session {
	text, err := json.Marshal(claims)
	s := &Session{created: time.Now(), seen: time.Now(), lifetime: defaultLifetime, words: new(vocabulary)}
	if err == nil {
		s.claims, err = parseObject(string(text))
	}
	if err != nil {
		panic("oidcrp: NewSession: " + err.Error())
	}
	id := make([]byte, 16)
	rand.Read(id)
	s.id, s.line = string(id), string(id)
	s.settle()
	return s
}

// splitJWS decodes the parts of a JWS, which has been verified and is therefore
// well-formed.
func splitJWS(raw string) (header, payload, signature []byte) {
	part := func() []byte {
		var text string
		text, raw, _ = strings.Cut(raw, ".")
		decoded, _ := base64.RawURLEncoding.DecodeString(text)
		return decoded
	}
	return part(), part(), part()
}

// fact returns a claim of the ID Token that is a string. The types were checked when
// the token was verified.
func (s *Session) fact(name string) string {
	if s == nil {
		return ""
	}
	return s.claims.string(name)
}

// Format writes the id, issuer and subject of s, whatever the verb.
func (s *Session) Format(f fmt.State, _ rune) {
	if s == nil {
		fmt.Fprint(f, "Session(none)")
		return
	}
	fmt.Fprintf(f, "Session(id %s, iss %q, sub %q)", s.ID(), s.Issuer(), s.Subject())
}

// LogValue returns the id, issuer and subject of s.
func (s *Session) LogValue() slog.Value {
	if s == nil {
		return slog.GroupValue()
	}
	return slog.GroupValue(
		slog.String("id", s.ID()), slog.String("iss", s.Issuer()), slog.String("sub", s.Subject()))
}

// Issuer is the ID Token's iss. With Subject, it identifies the account (OIDC Core
// 5.7): key your own data by both. An e-mail address changes owner and spelling.
func (s *Session) Issuer() string { return s.fact("iss") }

// Subject is the ID Token's sub, unique at its Issuer.
func (s *Session) Subject() string { return s.fact("sub") }

// ACR is the authentication context class that the provider attests; "" if
// none.
func (s *Session) ACR() string { return s.fact("acr") }

// AMR are the authentication methods that the provider names; nil if none.
func (s *Session) AMR() []string {
	if s == nil {
		return nil
	}
	methods, _, _ := s.claims.one("amr").StringOrStrings("amr")
	return methods
}

// AuthTime is when the person last authenticated, by the ID Token's auth_time;
// the zero time if there is none.
func (s *Session) AuthTime() time.Time {
	if s == nil {
		return time.Time{}
	}
	at, _, _ := s.claims.one("auth_time").Time("auth_time")
	return at.Truncate(time.Second)
}

// SID is the provider's identifier of its own session (OIDC Front-Channel
// Logout 3); "" if none.
func (s *Session) SID() string {
	if s == nil || s.sid == "" {
		return s.fact("sid")
	}
	return s.sid
}

// isOf reports whether s is of the provider's session sid of issuer; an empty issuer is any.
func (s *Session) isOf(issuer, sid string) bool {
	return s.SID() == sid && (issuer == "" || s.Issuer() == issuer)
}

// ID identifies the session among those of this app, for an audit log and for
// [Client.RevokeSession]. It gives no access to the session. It stays the same when
// the tokens are refreshed, and, for a session in cookies, when the same person signs
// in again in the same browser, as a step-up does: all copies of the earlier cookies
// end together.
func (s *Session) ID() string {
	if s == nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString([]byte(s.line))
}

// CreatedAt is when the person signed in here.
func (s *Session) CreatedAt() time.Time {
	if s == nil {
		return time.Time{}
	}
	return s.created
}

// ExpiresAt is when the session ends even if it is used all the time: after
// [Sessions.Lifetime], when the ID Token's session_expiry says (OpenID IPSIE
// SL1), or when the ID Token itself expires if [Sessions.EndWithIDToken] is
// set, whichever comes first.
func (s *Session) ExpiresAt() time.Time {
	if s == nil {
		return time.Time{}
	}
	end := s.created.Add(s.lifetime)
	for _, limit := range []time.Time{s.ceiling, s.tokenEnd} {
		if !limit.IsZero() && limit.Before(end) {
			end = limit
		}
	}
	return end
}

// ReturnTo is the page that a login leads to: the local path that it started
// with, or the start page. It is set only on the Session that
// [Client.Callback] returns.
func (s *Session) ReturnTo() string {
	if s == nil {
		return ""
	}
	return s.returnTo
}

// IDToken is the ID Token as it was received, for services that take it as an
// id_token_hint. Do not use it as an access token. It is empty if the ID Token came
// encrypted: what only this client may read must not travel in a URL.
func (s *Session) IDToken() string {
	if s == nil || s.encrypted {
		return ""
	}
	return s.jws()
}

// jws is the ID Token as the provider signed it, "" if the session does not have it.
func (s *Session) jws() string {
	if s == nil || s.header.text == "" {
		return ""
	}
	enc := base64.RawURLEncoding
	return enc.EncodeToString([]byte(s.header.text)) + "." + enc.EncodeToString([]byte(s.claims.text)) + "." +
		enc.EncodeToString(s.signature)
}

// Token is the access token and, if the provider issued one, the refresh token.
// It is nil unless [Tokens.Keep] is set. Its Expiry is zero when the provider
// did not specify it. It is not refreshed: see [Client.Refresh].
func (s *Session) Token() *oauth2.Token {
	if s == nil || s.tokens == nil {
		return nil
	}
	t := *s.tokens
	return &t
}

// size is about how many bytes s takes in memory, 0 for nil.
func (s *Session) size() int {
	if s == nil {
		return 0
	}
	const fixed = 1024 // its fields, and those of its login
	size := fixed + s.header.size() + s.claims.size() + s.own.size() + len(s.signature) + len(s.form) + len(s.stepUp) + len(s.returnTo)
	if s.tokens != nil {
		size += len(s.tokens.AccessToken) + len(s.tokens.RefreshToken)
	}
	return size
}

// copy returns a Session that can be changed before anybody else sees it.
func (s *Session) copy() *Session {
	other := *s
	other.login, other.form = nil, nil
	return &other
}

// grown returns s as large as a refresh with tokens like these makes it.
func (s *Session) grown() *Session {
	if s.tokens == nil || s.tokens.RefreshToken == "" {
		return s
	}
	next := s.copy()
	next.renewed = 1 << 48 // as many bytes as any time
	tokens := *next.tokens
	tokens.RefreshToken += strings.Repeat("x", refreshRoom)
	next.tokens = &tokens
	return next
}

// refreshRoom is how many bytes longer the tokens of a refresh may be than the first.
const refreshRoom = 64

// tooLarge returns the error about a session that does not fit.
func (s *Session) tooLarge(size, limit int, where, mend string) error {
	return failf("session", CodeSessionTooLarge,
		"%d bytes are more than %s (%d); the largest claims are %s: %s", size, where, limit, quoteList(s.largestClaims()), mend)
}
