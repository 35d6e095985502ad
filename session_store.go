package oidcrp

// This file keeps sessions on the server, behind a handle in a cookie.

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/oidcrp/oidcrp/internal/seal"
)

// A Store keeps sessions on the server. Its keys and values are chosen so that
// whoever reads it learns nothing and can sign in as nobody: a key is the hash
// of a secret that only the browser holds, and the value is sealed under that
// secret.
//
// An implementation must be safe for concurrent use, and what one replica
// wrote must be there for the next: a session that is missing means that the
// person is not signed in. It must honour ctx, so that a slow store does not
// hold up an app; every error other than ErrNotFound is taken as an outage and
// answered with 503, never as "signed out".
type Store interface {
	// Get returns the value of key, or an error that is [ErrNotFound] when it
	// was never set, is deleted or has expired.
	Get(ctx context.Context, key string) ([]byte, error)
	// Set keeps value under key for at least ttl and no longer than it has
	// to, in place of what was there. It must copy value if it keeps it in
	// this process.
	Set(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// Delete forgets key. A key that is not there is no error.
	Delete(ctx context.Context, key string) error
}

// A TouchStore can put off an entry's expiry without writing its value. With a
// Store that cannot, an idle timeout is put off by writing the value again, and
// of two requests that change a session at the same moment one may lose.
type TouchStore interface {
	Store
	// Touch makes key expire ttl from now. A key that is not there is no error.
	Touch(ctx context.Context, key string, ttl time.Duration) error
}

// A GetManyStore can read several keys in one round trip. With a Store that
// cannot, each logout that could have ended a session is looked up by itself.
type GetManyStore interface {
	Store
	// GetMany returns the values of keys, in their order, nil for a key that is
	// not there.
	GetMany(ctx context.Context, keys []string) ([][]byte, error)
}

// An AddStore can set a key that is not there yet in one step. With a Store
// that cannot, two replicas that receive the same Logout Token at the same
// moment may both take it as new, and two that refresh the tokens of one session
// at the same moment may both ask the provider: one that gives a new refresh
// token each time may then end the session.
type AddStore interface {
	Store
	// Add keeps value under key for ttl and reports true, or reports false when
	// another value is there already. A Store that tries again after a lost
	// answer may find its own value there, and then reports true: no two calls
	// give the same value, unless they mean the same.
	Add(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error)
}

// maxStored bounds a stored session, which is read at every request, in bytes.
const maxStored = 256 << 10

// The cookie of a stored session is
//
//	handle (32 random bytes, base64url) "." when it was last touched (Unix seconds) "." its marks
//
// The time only spares the Store a write per request: the entry's own expiry
// is what ends an idle session. The marks (see sessionMarks) only let a Store
// read them with the entry: what counts is what the entry says, so one may be
// missing or wrong.
func cutHandle(value string) (handle string, touched time.Time, ok bool) {
	handle, rest, _ := strings.Cut(value, ".")
	at, hint, hinted := strings.Cut(rest, ".")
	if _, ok := parseSessionMarks(hint); hinted && !ok {
		return "", time.Time{}, false
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	raw, handleErr := base64.RawURLEncoding.Strict().DecodeString(handle)
	if err != nil || handleErr != nil || len(raw) != 32 {
		return "", time.Time{}, false
	}
	return handle, time.Unix(seconds, 0), true
}

// marksHint returns the marks that a cookie names, if it does.
func marksHint(value string) (sessionMarks, bool) {
	return parseSessionMarks(value[strings.LastIndexByte(value, '.')+1:])
}

// storeKey returns the key of handle's session. The name of the cookie is in it,
// and so issuer and client: two Clients that share a Store share no sessions, or
// somebody signed in by one provider would be signed in by the other as well.
func (c *Client) storeKey(handle string) string {
	sum := sha256.Sum256([]byte("oidcrp session\x00" + c.cookies.session + "\x00" + handle))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// handleRing returns the key that seals the session of handle.
func handleRing(handle string) (*seal.Ring, error) {
	key, err := seal.Derive([]byte(handle), "oidcrp stored session")
	if err != nil {
		return nil, err
	}
	return seal.NewRing(key)
}

func (c *Client) saveStored(w http.ResponseWriter, r *http.Request, s *Session, handle string) error {
	if handle == "" {
		b := make([]byte, 32)
		rand.Read(b)
		handle = base64.RawURLEncoding.EncodeToString(b)
	}
	if err := c.putStored(r.Context(), s, handle); err != nil {
		return err
	}
	c.setHandle(w, handle, s)
	return nil
}

func (c *Client) putStored(ctx context.Context, s *Session, handle string) error {
	ring, err := handleRing(handle)
	if err != nil {
		return fail("session", CodeInternal, err)
	}
	plain := s.marshal()
	if len(plain) > maxStored {
		return failf("session", CodeSessionTooLarge,
			"%d bytes are more than a stored session may have (%d); the largest claims are %q: ask for less",
			len(plain), maxStored, s.largestClaims())
	}
	key := c.storeKey(handle)
	return c.store.set(ctx, key, ring.Seal(plain, c.associated(key)), c.idleFor(s))
}

// replaceStored is putStored for a session that took a while to renew. A logout
// in the meantime is final: its entry does not come back.
func (c *Client) replaceStored(ctx context.Context, s *Session, handle string) error {
	switch current, err := c.getStored(ctx, handle); {
	case err != nil:
		return err
	case current == nil:
		return failf("session", CodeNoSession, "ended in the meantime")
	}
	return c.putStored(ctx, s, handle)
}

func (c *Client) setHandle(w http.ResponseWriter, handle string, s *Session) {
	c.setSessionCookie(w, c.cookies.session,
		handle+"."+strconv.FormatInt(c.now().Unix(), 10)+"."+s.markKeys().String())
}

// idleFor returns how long s may stay in the Store unused.
func (c *Client) idleFor(s *Session) time.Duration {
	return max(time.Second, min(c.cfg.SessionIdleTimeout, s.ExpiresAt().Sub(c.now())))
}

// loadStored returns the session whose handle r carries, nil when there is
// none, and whether a logout has ended it. A Store that can reads both in one
// round trip.
func (c *Client) loadStored(r *http.Request) (s *Session, handle string, over bool, err error) {
	cookie, err := r.Cookie(c.cookies.session)
	if err != nil || cookie.Value == "" {
		return nil, "", false, nil
	}
	ctx := r.Context()
	handle, _, ok := cutHandle(cookie.Value)
	if !ok {
		c.events.sessionRefused(ctx, "the cookie holds no handle")
		return nil, "", false, nil
	}
	var marks []string
	hint, hinted := marksHint(cookie.Value)
	if hinted && c.store.readsMany() {
		marks = c.marks.due(hint)
	}
	turn := c.marks.recent.turn()
	values, err := c.store.getMany(ctx, append([]string{c.storeKey(handle)}, marks...))
	if err != nil {
		return nil, "", false, err
	}
	if s, err = c.openStored(ctx, values[0], handle); s == nil {
		return nil, "", false, err
	}
	if marks != nil && s.markKeys() == hint {
		return s, handle, c.marks.judge(s, values[1:], turn), nil
	}
	over, err = c.marks.over(ctx, s)
	return s, handle, over, err
}

func (c *Client) getStored(ctx context.Context, handle string) (*Session, error) {
	value, err := c.store.get(ctx, c.storeKey(handle))
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return c.openStored(ctx, value, handle)
}

// openStored reads what putStored wrote for handle; nil when it cannot be used.
func (c *Client) openStored(ctx context.Context, value []byte, handle string) (*Session, error) {
	if value == nil {
		return nil, nil
	}
	ring, err := handleRing(handle)
	if err != nil {
		return nil, fail("session", CodeInternal, err)
	}
	plain, err := ring.Open(value, c.associated(c.storeKey(handle)))
	if err == nil {
		var s *Session
		if s, err = c.unmarshalSession(plain); err == nil {
			return s, nil
		}
	}
	c.events.sessionRefused(ctx, err.Error())
	return nil, nil
}

// touchStored puts off the expiry of a session in use, at most once every
// rollInterval by the time in its cookie.
func (c *Client) touchStored(w http.ResponseWriter, r *http.Request, s *Session, handle string) {
	cookie, err := r.Cookie(c.cookies.session)
	if err != nil {
		return
	}
	_, at, _ := cutHandle(cookie.Value)
	if since := c.now().Sub(at); since >= 0 && since < c.rollInterval() {
		return
	}
	ctx := r.Context()
	touched, err := c.store.touch(ctx, c.storeKey(handle), c.idleFor(s))
	if !touched {
		err = c.putStored(ctx, s, handle)
	}
	if err != nil {
		// The session is good for this request; the next one tries again.
		c.cfg.Logger.WarnContext(ctx, "could not put off the expiry of a session", "error", err)
		return
	}
	c.setHandle(w, handle, s)
}

// dropStored deletes the stored session that r carries, if there is one. Its mark
// keeps it from coming back with a request that is writing it down again.
func (c *Client) dropStored(r *http.Request) error {
	cookie, err := r.Cookie(c.cookies.session)
	if err != nil {
		return nil
	}
	handle, _, ok := cutHandle(cookie.Value)
	if !ok {
		return nil
	}
	ctx := r.Context()
	s, err := c.getStored(ctx, handle)
	if err == nil && s != nil {
		err = c.marks.set(ctx, s.markKeys().session(), c.cfg.SessionLifetime)
	}
	if err != nil {
		return err
	}
	return c.store.delete(ctx, c.storeKey(handle))
}

// stored reports whether sessions are kept in the Store.
func (c *Client) stored() bool { return c.cfg.Store != nil && !c.cfg.CookieSessions }
