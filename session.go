package oidcrp

// This file holds the Session that an app sees, its stored form, and the owner
// of all sessions.

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/oidcrp/oidcrp/internal/seal"
	"github.com/oidcrp/oidcrp/internal/strictjson"
)

// A Session says who is signed in, and how the provider authenticated them. It
// is read-only and safe for concurrent use. The methods of a nil Session return
// zero values. Printed or logged, it shows its id, issuer and subject only.
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
	tokensAt time.Time // when they arrived

	login *freshLogin // what StartSession has to do; nil for a session that was loaded

	decoded func() *facts // decoded on first use
}

// A freshLogin is what is left to do of the login that made a session.
type freshLogin struct {
	forget func(http.ResponseWriter) // deletes the login's cookie
	event  LoginEvent
	report sync.Once // guards the event: a double click makes one login
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

// create makes the session that a login earned. stepUp and returnTo are the
// login's own.
func (m *sessions) create(a *authenticated, stepUp, returnTo string) *Session {
	id := make([]byte, 16)
	rand.Read(id)
	token := a.idToken
	s := &Session{
		id: string(id),
		// The session begins with the exchange of the code: a logout by the
		// provider that arrives during it concerns this session, too.
		created:  a.started.Truncate(time.Millisecond),
		seen:     m.now().Truncate(time.Second),
		stepUp:   stepUp,
		returnTo: returnTo,
		lifetime: m.settings.Lifetime,
		idToken:  splitJWS(token.raw),
		userInfo: a.userInfo,
		ceiling:  token.sessionExpiry,
		marks:    [2]markKey{subjectMark(token.issuer, token.subject), namelessMark(token.issuer, token.subject)},
	}
	if token.sid != "" {
		s.marks[1] = sessionMark(token.issuer, token.sid)
	}
	if m.settings.EndWithIDToken {
		s.tokenEnd = token.expiry
	}
	if m.keepTokens {
		s.tokens, s.tokensAt = a.tokens.token(), m.now()
	}
	s.decodeLater()
	return s
}

// withIDToken returns s as a refreshed ID Token continues it.
func (m *sessions) withIDToken(s *Session, token *idToken) *Session {
	next := s.copy()
	next.idToken = splitJWS(token.raw)
	if token.sid != "" { // a logout by the provider will name this one
		next.marks[1] = sessionMark(token.issuer, token.sid)
	}
	if end := token.sessionExpiry; !end.IsZero() && (next.ceiling.IsZero() || end.Before(next.ceiling)) {
		next.ceiling = end
	}
	if m.settings.EndWithIDToken {
		next.tokenEnd = token.expiry
	}
	return next
}

// NewSession returns a session with these claims, for tests of an app's
// handlers: see [ContextWithSession]. claims is anything that encodes as a JSON
// object, such as map[string]any{"sub": "alice", "acr": "eidas2"}; NewSession
// panics if it does not. The session began now and is kept nowhere.
func NewSession(claims any) *Session {
	payload, err := json.Marshal(claims)
	if err == nil {
		_, err = strictjson.Object(payload)
	}
	if err != nil {
		panic("oidcrp: NewSession: " + err.Error())
	}
	id := make([]byte, 16)
	rand.Read(id)
	s := &Session{
		id: string(id), created: time.Now(), seen: time.Now(), lifetime: defaultLifetime,
		idToken: storedJWS{payload: payload},
	}
	s.decodeLater()
	return s
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
	s.decoded = sync.OnceValue(func() *facts {
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

var noFacts facts

func (s *Session) facts() *facts {
	if s == nil {
		return &noFacts
	}
	return s.decoded()
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

// Issuer and Subject together identify the account (OIDC Core 5.7): key your
// own data by both. An e-mail address changes owner and spelling.
func (s *Session) Issuer() string { return s.facts().Issuer }

// Subject is the ID Token's sub, unique at its Issuer.
func (s *Session) Subject() string { return s.facts().Subject }

// ACR is the authentication context class that the provider attests; "" if
// none.
func (s *Session) ACR() string { return s.facts().ACR }

// AMR are the authentication methods that the provider names; nil if none.
func (s *Session) AMR() []string { return slices.Clone(s.facts().AMR) }

// AuthTime is when the person last authenticated, by the ID Token's auth_time;
// the zero time if there is none.
func (s *Session) AuthTime() time.Time { return s.facts().AuthTime.Truncate(time.Second) }

// SID is the provider's identifier of its own session (OIDC Front-Channel
// Logout 3); "" if none.
func (s *Session) SID() string { return s.facts().SID }

// ID identifies the session among those of this app, for an audit log and for
// [Client.RevokeSession]. It opens nothing, and stays the same when the tokens
// are refreshed.
func (s *Session) ID() string {
	if s == nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString([]byte(s.id))
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
// id_token_hint. Do not use it as an access token.
func (s *Session) IDToken() string {
	if s == nil || s.idToken.header == nil {
		return ""
	}
	return s.idToken.String()
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

// Claims decodes the claims about the person into v, a pointer to a struct or a
// map. The facts of the authentication (iss, sub, aud, azp, acr, amr,
// auth_time, sid, nonce, and the token's own times) come from the ID Token
// alone; every other claim comes from UserInfo or, failing that, from the ID
// Token. Names match exactly: a field tagged "sub" is never filled by "SUB".
// Otherwise it decodes as encoding/json does; json.Number keeps a number exact.
//
// Its error is an [*Error]: [CodeInternal] when a claim does not fit into v,
// [CodeNoSession] for a nil Session.
func (s *Session) Claims(v any) error {
	if s == nil {
		return &Error{Op: "claims", Code: CodeNoSession}
	}
	merged, err := s.merged()
	if err == nil {
		err = strictjson.Decode(merged, v)
	}
	if err != nil {
		return fail("claims", CodeInternal, err)
	}
	return nil
}

// IDTokenClaims returns the ID Token's claims as JSON.
func (s *Session) IDTokenClaims() json.RawMessage {
	if s == nil {
		return nil
	}
	return slices.Clone(s.idToken.payload)
}

// UserInfoClaims returns the UserInfo claims as JSON; nil when the provider has
// no UserInfo endpoint.
func (s *Session) UserInfoClaims() json.RawMessage {
	if s == nil {
		return nil
	}
	return slices.Clone(s.userInfo)
}

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
func unmarshalSession(b []byte, lifetime time.Duration) (*Session, error) {
	d := sessionDecoder{rest: b}
	if d.byte() != sessionFormat {
		return nil, errSessionFormat
	}
	s := &Session{lifetime: lifetime}
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

// copy returns a Session that can be changed before anybody else sees it.
func (s *Session) copy() *Session {
	other := *s
	other.login = nil
	other.decodeLater()
	return &other
}

// Sessions says how long sessions last and where they are kept. The zero value
// keeps them for 12 hours, or until they were idle for one.
type Sessions struct {
	// Lifetime ends a session for good; if zero, 12 hours.
	Lifetime time.Duration
	// IdleTimeout ends a session that is not used; if zero, 1 hour.
	IdleTimeout time.Duration
	// InCookies keeps the sessions in sealed cookies even if there is a Store,
	// which then holds only what all replicas must know: who was logged out,
	// which Logout Tokens arrived, whose tokens are being refreshed. If false,
	// sessions are kept in the Store when there is one.
	InCookies bool
	// StoreTimeout bounds one call of the Store; if zero, 2 seconds. When it
	// passes, protected routes answer 503, and public ones go without the
	// session.
	StoreTimeout time.Duration
	// RevocationDelay is how long this replica may take to notice a logout
	// handled by another: after it looked for logouts of a session, it does not
	// look again for that long. If zero, 1 second; if negative, it looks at every
	// request.
	RevocationDelay time.Duration
	// EndWithIDToken ends a session when its ID Token expires, or the one that
	// arrived with the last refresh. If false, the ID Token's exp only limits
	// its use for a login.
	EndWithIDToken bool
}

const (
	defaultLifetime    = 12 * time.Hour
	defaultIdleTimeout = time.Hour
)

// sessions owns the sessions: how long they last, what ends them, and the
// keeper that keeps them.
type sessions struct {
	keeper     keeper
	marks      *marks
	settings   Sessions // with its defaults filled in
	keepTokens bool
	events     *events
	now        func() time.Time
}

// newSessions makes the owner of the sessions. shared is nil without a Store.
func newSessions(
	settings Sessions, keepTokens bool, shared *storage, c *cookies, ev *events, now func() time.Time,
) *sessions {
	m := &sessions{settings: settings, keepTokens: keepTokens, events: ev, now: now}
	store := shared
	if shared == nil { // for the marks alone
		store = newStorage(newMemoryStore(0, now), settings.StoreTimeout, now)
	}
	m.marks = newMarks(store, shared == nil, now, settings.RevocationDelay)
	if shared != nil && !settings.InCookies {
		m.keeper = &storeKeeper{sessions: m, cookies: c, store: shared, log: ev.log}
	} else {
		m.keeper = &cookieKeeper{sessions: m, cookies: c, shared: shared}
	}
	return m
}

// ready returns an error if the Store does not answer.
func (m *sessions) ready(ctx context.Context) error {
	if m.marks.local {
		return nil
	}
	_, err := m.marks.store.get(ctx, markKey{}.String())
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// A keeper keeps sessions: in sealed cookies, or in a Store behind a handle in
// a cookie.
type keeper interface {
	// load returns the session that r carries; kept.session is nil when there is
	// none that can be used. A refused cookie is an event and no error.
	load(r *http.Request) (kept, error)
	// start keeps a new session and sets its cookies on w.
	start(w http.ResponseWriter, r *http.Request, s *Session) error
	// touch notes that k is in use, once in a while.
	touch(w http.ResponseWriter, r *http.Request, k kept)
	// rewrite keeps s in place of k, with w's cookies where those hold sessions.
	rewrite(w http.ResponseWriter, r *http.Request, k kept, s *Session) error
	// end ends the session that r carries, copies included; next is the one
	// that follows it, if any.
	end(r *http.Request, next *Session) error
	// forget deletes the cookies of the session that r carries.
	forget(w http.ResponseWriter, r *http.Request)

	// update keeps what a refresh made of k where other requests and replicas
	// find it before they refresh k themselves. Its error is [CodeNoSession] if
	// k has ended in the meantime.
	update(ctx context.Context, k kept, next *Session) error
	// updated returns what update kept for k, nil if nothing. Its error is
	// [CodeNoSession] if k has ended in the meantime.
	updated(ctx context.Context, k kept) (*Session, error)
	// deliver sets on w what the browser must have of an updated session.
	deliver(w http.ResponseWriter, r *http.Request, s *Session) error
	// onServer reports whether the sessions themselves are kept in the Store:
	// they can then change when an answer has begun, and an idle one ends with
	// its entry.
	onServer() bool
}

// kept is a session and where it is kept.
type kept struct {
	session *Session
	handle  string // in a Store
	marks   lookup // the marks that were read with it, if any
}

// load returns the session that r carries. Its errors are [CodeNoSession], and
// those of an outage.
func (m *sessions) load(r *http.Request) (kept, error) {
	k, err := m.keeper.load(r)
	if err != nil {
		return kept{}, err
	}
	if k.session == nil {
		return kept{}, &Error{Op: "session", Code: CodeNoSession}
	}
	reason := m.ended(k.session)
	if reason == "" {
		over, err := m.marks.over(r.Context(), k.session, k.marks)
		if err != nil {
			return kept{}, err
		}
		if over {
			reason = reasonLoggedOut
		}
	}
	if reason != "" {
		m.events.sessionRefused(r.Context(), SessionEvent{
			SessionID: k.session.ID(), Subject: k.session.Subject(), Reason: reason})
		return kept{}, failf("session", CodeNoSession, "the session is %s", strings.ReplaceAll(reason, "_", " "))
	}
	return k, nil
}

// ended returns why s can no longer be used now, "" if it can.
func (m *sessions) ended(s *Session) string {
	now := m.now()
	switch {
	case !now.Before(s.ExpiresAt()):
		return reasonExpired
	case !m.keeper.onServer() && now.Sub(s.seen) >= m.settings.IdleTimeout:
		return reasonIdle
	case s.created.After(now.Add(5 * time.Minute)):
		return reasonFuture
	}
	return ""
}

// start signs a person in: a new login never continues an old session (session
// fixation), and leaves nothing of it behind.
func (m *sessions) start(w http.ResponseWriter, r *http.Request, s *Session) error {
	if err := m.keeper.end(r, s); err != nil {
		return err
	}
	return m.keeper.start(w, r, s)
}

// end signs the person out of this app: the session that r carries is ended,
// copies included, and its cookies deleted on w.
func (m *sessions) end(w http.ResponseWriter, r *http.Request) error {
	m.keeper.forget(w, r)
	return m.keeper.end(r, nil)
}

// revoke ends the sessions that key names, on all replicas.
func (m *sessions) revoke(ctx context.Context, key markKey) error {
	return m.marks.set(ctx, key, m.settings.Lifetime)
}

// refuseCookie reports a session cookie that cannot be used.
func (m *sessions) refuseCookie(ctx context.Context, err error) {
	m.events.sessionRefused(ctx, SessionEvent{Reason: refusalReason(err), Err: err})
}

// refusalReason names why a cookie or a stored value cannot be read.
func refusalReason(err error) string {
	var chunks *chunkError
	switch {
	case errors.As(err, &chunks):
		return chunks.reason
	case errors.Is(err, seal.ErrUnknownKey):
		return reasonUnknownKey
	case errors.Is(err, seal.ErrTampered):
		return reasonTampered
	}
	return reasonMalformed
}

// touchInterval is how often a session that is in use is written down again:
// once a minute, or more often where a minute is much of the idle timeout.
func (s *Sessions) touchInterval() time.Duration { return min(time.Minute, s.IdleTimeout/4) }

// tooLarge is the error about a session that does not fit.
func (s *Session) tooLarge(size, limit int, where, mend string) error {
	return failf("session", CodeSessionTooLarge,
		"%d bytes are more than %s (%d); the largest claims are %q: %s", size, where, limit, s.largestClaims(), mend)
}
