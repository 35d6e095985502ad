package oidcrp

// This file holds the Session that an app sees, its stored form, and how it is
// loaded and saved.

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	josejson "github.com/go-jose/go-jose/v4/json"
	"golang.org/x/oauth2"

	"github.com/oidcrp/oidcrp/internal/strictjson"
)

// A Session says who is signed in, and how the provider came to know. It is
// read-only and safe for concurrent use.
type Session struct {
	id       string    // 16 random bytes; names the session, opens nothing
	created  time.Time // when the person signed in here
	seen     time.Time // the last use that was written down
	ceiling  time.Time // the provider's own end of the session; zero: none
	tokenEnd time.Time // the ID Token's end, if the session ends with it; zero: it does not
	stepUp   string    // the requirements that the login was to meet
	returnTo string    // where the login leads; not stored
	lifetime time.Duration
	marks    [2]markKey // where a logout by the provider is noted; zero: nowhere

	idToken  storedJWS
	userInfo []byte // compact JSON; nil when the provider has no UserInfo
	tokens   *oauth2.Token
	tokensAt time.Time // when they came

	withUserInfo bool // a refresh fetched UserInfo, too; not stored

	facts func() *facts // decoded when first asked for
}

// storedJWS is a JWS with its parts decoded, a quarter shorter than its text.
type storedJWS struct {
	header, payload, signature []byte
}

// facts are the claims of the ID Token about the authentication.
type facts struct {
	Issuer, Subject, ACR, SID, Nonce string
	AMR                              []string
	AuthTime                         time.Time
}

// authenticationFacts come from the ID Token alone, whatever UserInfo says:
// they describe the login, not the person, or belong to the token itself.
var authenticationFacts = []string{
	"iss", "sub", "aud", "azp", "acr", "amr", "auth_time", "sid", "nonce",
	"exp", "iat", "nbf", "jti", "at_hash", "c_hash", "session_expiry",
}

// newSession makes the session that a login earned.
func (c *Client) newSession(t *transaction, token *idToken, userInfo []byte, tokens *tokenResponse) *Session {
	id := make([]byte, 16)
	rand.Read(id)
	s := &Session{
		id:       string(id),
		created:  c.now().Truncate(time.Millisecond),
		seen:     c.now().Truncate(time.Second),
		stepUp:   t.StepUp,
		returnTo: t.ReturnTo,
		lifetime: c.cfg.SessionLifetime,
		idToken:  splitJWS(token.raw),
		userInfo: userInfo,
		ceiling:  token.sessionExpiry,
		marks:    [2]markKey{subjectMark(token.issuer, token.subject), namelessMark(token.issuer, token.subject)},
	}
	if token.sid != "" {
		s.marks[1] = sessionMark(token.issuer, token.sid)
	}
	if c.cfg.EndWithIDToken {
		s.tokenEnd = token.expiry
	}
	if c.cfg.KeepTokens {
		s.tokens, s.tokensAt = tokens.token(), c.now()
	}
	s.decodeLater()
	return s
}

func (t *tokenResponse) token() *oauth2.Token {
	return &oauth2.Token{
		AccessToken: t.accessToken, TokenType: "Bearer", RefreshToken: t.refreshToken, Expiry: t.expiry,
	}
}

// splitJWS takes apart a JWS that has been verified, and so is well-formed.
func splitJWS(raw string) storedJWS {
	part := func() []byte {
		var text string
		text, raw, _ = strings.Cut(raw, ".")
		decoded, _ := base64.RawURLEncoding.DecodeString(text)
		return decoded
	}
	return storedJWS{header: part(), payload: part(), signature: part()}
}

func (j storedJWS) String() string {
	enc := base64.RawURLEncoding
	return enc.EncodeToString(j.header) + "." + enc.EncodeToString(j.payload) + "." + enc.EncodeToString(j.signature)
}

func (s *Session) decodeLater() {
	s.facts = sync.OnceValue(func() *facts {
		// The types were checked when the token was verified.
		members, _ := strictjson.Object(s.idToken.payload)
		var f facts
		f.Issuer, _, _ = members.String("iss")
		f.Subject, _, _ = members.String("sub")
		f.ACR, _, _ = members.String("acr")
		f.SID, _, _ = members.String("sid")
		f.Nonce, _, _ = members.String("nonce")
		f.AMR, _, _ = members.Strings("amr")
		f.AuthTime, _, _ = members.Time("auth_time")
		return &f
	})
}

// Issuer and Subject together name the account (OIDC Core 5.7): key your own
// data by both. An e-mail address changes hands and spelling.
func (s *Session) Issuer() string { return s.facts().Issuer }

// Subject is the ID Token's sub, unique at its Issuer.
func (s *Session) Subject() string { return s.facts().Subject }

// ACR is the authentication context class that the provider attests, "" if it
// says none.
func (s *Session) ACR() string { return s.facts().ACR }

// AMR are the authentication methods that the provider names; nil if none.
func (s *Session) AMR() []string { return slices.Clone(s.facts().AMR) }

// AuthTime is when the person last proved who they are, by the ID Token's
// auth_time; the zero time if it says none.
func (s *Session) AuthTime() time.Time { return s.facts().AuthTime.Truncate(time.Second) }

// SID is the provider's identifier of its own session (OIDC Front-Channel
// Logout 3), "" if it says none.
func (s *Session) SID() string { return s.facts().SID }

// ID names the session among those of this app, for an audit log and for
// [Client.RevokeSession]. It opens nothing, and stays the same when the tokens
// are refreshed.
func (s *Session) ID() string { return base64.RawURLEncoding.EncodeToString([]byte(s.id)) }

// CreatedAt is when the person signed in here.
func (s *Session) CreatedAt() time.Time { return s.created }

// ExpiresAt is when the session ends even if it is used all the time: after
// [Config.SessionLifetime], when the ID Token's session_expiry says (OpenID IPSIE
// SL1), or when the ID Token itself ends if [Config.EndWithIDToken] is set,
// whichever comes first.
func (s *Session) ExpiresAt() time.Time {
	end := s.created.Add(s.lifetime)
	for _, limit := range []time.Time{s.ceiling, s.tokenEnd} {
		if !limit.IsZero() && limit.Before(end) {
			end = limit
		}
	}
	return end
}

// ReturnTo is the page that a login leads to: the local path that it started
// with, or the start page. It is set on the Session that [Client.Callback] returns only.
func (s *Session) ReturnTo() string { return s.returnTo }

// IDToken is the ID Token as it was received, for services that take it as an
// id_token_hint. Do not use it as an access token.
func (s *Session) IDToken() string { return s.idToken.String() }

// Token is the access token and, if the provider gave one, the refresh token.
// It is nil unless [Config.KeepTokens] is set. Its Expiry is zero when the
// provider did not say. It is not refreshed: see [Client.Refresh].
func (s *Session) Token() *oauth2.Token {
	if s.tokens == nil {
		return nil
	}
	t := *s.tokens
	return &t
}

// Claims decodes what is known of the person into v, a pointer to a struct or
// a map. The facts of the authentication (iss, sub, aud, azp, acr, amr,
// auth_time, sid, nonce, and the token's own times) come from the ID Token
// alone; every other claim comes from UserInfo or, failing that, from the ID
// Token. Names match exactly: a field tagged "sub" is never filled by "SUB".
//
// Its error is an [*Error] with [CodeInternal]: a claim does not fit into v.
func (s *Session) Claims(v any) error {
	merged, err := s.merged()
	if err != nil {
		return fail("claims", CodeInternal, err)
	}
	text := merged.AppendJSON(make([]byte, 0, len(s.idToken.payload)+len(s.userInfo)))
	if err := josejson.Unmarshal(text, v); err != nil {
		return fail("claims", CodeInternal, err)
	}
	return nil
}

// IDTokenClaims returns the ID Token's claims as JSON.
func (s *Session) IDTokenClaims() json.RawMessage { return slices.Clone(s.idToken.payload) }

// UserInfoClaims returns the UserInfo claims as JSON, nil when the provider
// has no UserInfo endpoint.
func (s *Session) UserInfoClaims() json.RawMessage { return slices.Clone(s.userInfo) }

// claim decodes one of the claims that Claims knows; nil when it is missing.
func (s *Session) claim(name string) any {
	merged, err := s.merged()
	if err != nil || !merged.Has(name) {
		return nil
	}
	var value any
	_ = json.Unmarshal(merged[name], &value) // valid, or merged had failed
	return value
}

// merged returns the one view of all claims.
func (s *Session) merged() (strictjson.Members, error) {
	fromToken, err := strictjson.Object(s.idToken.payload)
	if err != nil || s.userInfo == nil {
		return fromToken, err
	}
	merged, err := strictjson.Object(s.userInfo)
	if err != nil {
		return nil, err
	}
	for _, name := range authenticationFacts {
		delete(merged, name)
	}
	for name, value := range fromToken {
		if _, ok := merged[name]; !ok {
			merged[name] = value
		}
	}
	return merged, nil
}

// largestClaims names the claims that take the most room, for the error about
// a session that is too large.
func (s *Session) largestClaims() []string {
	sizes := make(map[string]int)
	for _, object := range [][]byte{s.idToken.payload, s.userInfo} {
		members, _ := strictjson.Object(object)
		for name, value := range members {
			sizes[name] += len(value)
		}
	}
	if s.tokens != nil {
		sizes["(access token)"] = len(s.tokens.AccessToken)
		sizes["(refresh token)"] = len(s.tokens.RefreshToken)
	}
	names := slices.SortedFunc(maps.Keys(sizes), func(a, b string) int { return sizes[b] - sizes[a] })
	return names[:min(len(names), 3)]
}

// ended says why s is no longer good at the time now, "" if it is.
func (c *Client) ended(s *Session, now time.Time) string {
	switch {
	case !now.Before(s.ExpiresAt()):
		return "past its lifetime"
	case !c.stored() && now.Sub(s.seen) >= c.cfg.SessionIdleTimeout:
		// In a Store, the entry's own expiry does this.
		return "idle for too long"
	case s.created.After(now.Add(5 * time.Minute)):
		return "made in the future"
	}
	return ""
}

// The stored form of a session. A reader refuses a version that it does not
// know, which ends the session and nothing worse.
const sessionFormat = 2

// What stands before the tokens. Without it, a session cut short there would
// read as a whole one.
const (
	withoutTokens = 0
	withTokens    = 1
)

// marshal returns the stored form of s: a version byte, then numbers as
// uvarints and byte strings with their length in front.
func (s *Session) marshal() []byte {
	b := make([]byte, 0, 256+len(s.idToken.payload)+len(s.userInfo)+len(s.idToken.signature))
	b = append(b, sessionFormat)
	b = binary.AppendUvarint(b, uint64(max(s.created.UnixMilli(), 0)))
	for _, t := range []time.Time{s.seen, s.ceiling, s.tokenEnd} {
		b = binary.AppendUvarint(b, unixOrZero(t))
	}
	for _, key := range s.marks {
		b = append(b, key[:]...)
	}
	put := func(v []byte) {
		b = binary.AppendUvarint(b, uint64(len(v)))
		b = append(b, v...)
	}
	for _, v := range [][]byte{
		[]byte(s.id), []byte(s.stepUp), s.idToken.header, s.idToken.payload, s.idToken.signature, s.userInfo,
	} {
		put(v)
	}
	if s.tokens == nil {
		return append(b, withoutTokens)
	}
	b = append(b, withTokens)
	put([]byte(s.tokens.AccessToken))
	put([]byte(s.tokens.RefreshToken))
	b = binary.AppendUvarint(b, unixOrZero(s.tokens.Expiry))
	return binary.AppendUvarint(b, unixOrZero(s.tokensAt))
}

func unixOrZero(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(max(t.Unix(), 1)) // 0 is no time at all
}

var errSessionFormat = errors.New("stored in a form that this version does not read")

// unmarshalSession reads what marshal wrote. The session shares b's memory.
func (c *Client) unmarshalSession(b []byte) (*Session, error) {
	d := sessionDecoder{rest: b}
	if d.byte() != sessionFormat {
		return nil, errSessionFormat
	}
	s := &Session{lifetime: c.cfg.SessionLifetime}
	s.created = d.milliTime()
	s.seen, s.ceiling, s.tokenEnd = d.time(), d.time(), d.time()
	for i := range s.marks {
		copy(s.marks[i][:], d.take(uint64(len(s.marks[i]))))
	}
	s.id, s.stepUp = string(d.bytes()), string(d.bytes())
	s.idToken = storedJWS{header: d.bytes(), payload: d.bytes(), signature: d.bytes()}
	if s.userInfo = d.bytes(); len(s.userInfo) == 0 {
		s.userInfo = nil
	}
	switch d.byte() {
	case withoutTokens:
	case withTokens:
		s.tokens = &oauth2.Token{
			AccessToken: string(d.bytes()), RefreshToken: string(d.bytes()), TokenType: "Bearer", Expiry: d.time(),
		}
		s.tokensAt = d.time()
	default:
		d.failed = true
	}
	if d.failed || len(d.rest) > 0 {
		return nil, errSessionFormat
	}
	s.decodeLater()
	return s, nil
}

// sessionDecoder reads from rest until something does not fit.
type sessionDecoder struct {
	rest   []byte
	failed bool
}

func (d *sessionDecoder) byte() byte {
	if len(d.rest) == 0 {
		d.failed = true
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *sessionDecoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.failed = true
		d.rest = nil
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *sessionDecoder) bytes() []byte {
	return d.take(d.uvarint())
}

func (d *sessionDecoder) take(n uint64) []byte {
	if n > uint64(len(d.rest)) {
		d.failed = true
		d.rest = nil
		return nil
	}
	v := d.rest[:n:n]
	d.rest = d.rest[n:]
	return v
}

func (d *sessionDecoder) time() time.Time {
	v := d.uvarint()
	if v == 0 || v > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(v), 0)
}

func (d *sessionDecoder) milliTime() time.Time {
	v := d.uvarint()
	if v > 1<<50 {
		d.failed = true
	}
	return time.UnixMilli(int64(v & (1<<50 - 1)))
}

// sessionKey is the context key of what Middleware found out about a request.
type sessionKey struct{}

// requestSession is that: the session, or why there is none.
type requestSession struct {
	client  *Client
	session atomic.Pointer[Session]
	handle  string // of a session in the Store
	err     error
	// refreshCookie refreshes the tokens of a session in cookies, if they are
	// about to end, and sets its cookies on the answer to the request. It is nil
	// where that cannot be.
	refreshCookie func(context.Context) error
	mu            sync.Mutex // held by refreshCookie
}

// SessionFromContext returns the session of the request that ctx belongs to.
// It is nil, and false, when nobody is signed in or when the request did not
// pass through [Client.Middleware] or [Client.RequireLogin]. A request that
// passed through those of several Clients has the session of the last one;
// [Client.Session] asks any of them.
func SessionFromContext(ctx context.Context) (*Session, bool) {
	found, ok := ctx.Value(sessionKey{}).(*requestSession)
	if !ok {
		return nil, false
	}
	s := found.session.Load()
	return s, s != nil
}

// Session returns the session that r carries, also without Middleware; behind it,
// what Middleware found for this request. Its errors are [ErrNoSession], why the
// provider ended the session at a refresh (see [Config.RefreshFailure]), and, for a
// failing [Store], [ErrStoreUnavailable].
func (c *Client) Session(r *http.Request) (*Session, error) {
	if found, ok := r.Context().Value(sessionKey{}).(*requestSession); ok && found.client == c {
		if s := found.session.Load(); s != nil { // looked up once for a request
			return s, nil
		}
		return nil, found.err
	}
	s, _, err := c.loadSession(r)
	return s, err
}

// StartSession signs the person in: it sets the cookies of s on w, ends the
// session that r may have carried, and forgets the login that led here. It
// returns an [*Error]: [ErrStoreUnavailable], or [CodeSessionTooLarge] naming
// the largest claims.
func (c *Client) StartSession(w http.ResponseWriter, r *http.Request, s *Session) error {
	c.forgetLogin(w, r)
	// A new login never continues an old session (session fixation), and it
	// leaves nothing of it behind in the Store.
	if err := c.dropSession(r, s); err != nil {
		return err
	}
	return c.saveSession(w, r, s, "")
}

// forgetLogin deletes the cookie of the login that the callback r belongs to:
// it is over, well or not, and its state must not work again.
func (c *Client) forgetLogin(w http.ResponseWriter, r *http.Request) {
	params, err := callbackParameters(r)
	if err != nil {
		return
	}
	name := c.transactionCookie(params.Get("state"))
	if _, err := r.Cookie(name); err == nil {
		c.deleteCookie(w, name, c.transactionSameSite())
	}
}

// EndSession signs the person out of this app: the session that r carries is
// deleted, and its cookies on w. The provider does not hear of it. Its error is
// [ErrStoreUnavailable]; the cookies are deleted all the same.
func (c *Client) EndSession(w http.ResponseWriter, r *http.Request) error {
	c.deleteSessionCookies(w, r)
	return c.dropSession(r, nil)
}

// dropSession ends the session that r carries; next is the one that follows it,
// if any.
func (c *Client) dropSession(r *http.Request, next *Session) error {
	if c.stored() {
		return c.dropStored(r)
	}
	return c.endCookie(r, next)
}

// loadSession returns the session and what saveSession needs to write it back.
func (c *Client) loadSession(r *http.Request) (s *Session, handle string, err error) {
	var over bool
	if c.stored() {
		s, handle, over, err = c.loadStored(r)
	} else {
		s, err = c.loadCookie(r)
	}
	if err != nil {
		return nil, "", err
	}
	if s == nil {
		return nil, "", &Error{Op: "session", Code: CodeNoSession}
	}
	reason := c.ended(s, c.now())
	if reason == "" && !c.stored() {
		if over, err = c.marks.over(r.Context(), s); err != nil {
			return nil, "", err
		}
	}
	if over {
		reason = "ended by a logout"
	}
	if reason != "" {
		c.events.sessionRefused(r.Context(), reason)
		return nil, "", failf("session", CodeNoSession, "%s", reason)
	}
	return s, handle, nil
}

// saveSession writes s to the browser, and to the Store under handle, or under
// a new handle if that is empty.
func (c *Client) saveSession(w http.ResponseWriter, r *http.Request, s *Session, handle string) error {
	if c.stored() {
		return c.saveStored(w, r, s, handle)
	}
	return c.saveCookie(w, r, s)
}

// rollInterval is how often a session that is in use is written down again:
// once a minute, or more often where a minute is much of the idle timeout.
func (c *Client) rollInterval() time.Duration {
	return min(time.Minute, c.cfg.SessionIdleTimeout/4)
}

// roll notes that the session is in use, at most once every rollInterval.
func (c *Client) roll(w http.ResponseWriter, r *http.Request, s *Session, handle string) {
	now := c.now()
	if c.stored() {
		c.touchStored(w, r, s, handle)
		return
	}
	if now.Sub(s.seen) < c.rollInterval() {
		return
	}
	rolled := s.copy()
	rolled.seen = now.Truncate(time.Second)
	// A session that was small enough to be saved is small enough again.
	_ = c.saveCookie(w, r, rolled)
}

// keepPrivate keeps an answer that sets the session's cookie out of caches that
// others share, also where the app says nothing about caching.
func keepPrivate(w http.ResponseWriter) {
	if w.Header().Get("Cache-Control") == "" {
		w.Header().Set("Cache-Control", "private")
	}
}

// copy returns a Session that can be changed before anybody else sees it.
func (s *Session) copy() *Session {
	other := *s
	other.decodeLater()
	return &other
}
