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

// storeTimeout bounds one request's use of the Store.
const storeTimeout = 5 * time.Second

// The cookie of a stored session is
//
//	handle (32 random bytes, base64url) "." when it was last touched (Unix seconds)
//
// The time only spares the Store a write per request: the entry's own expiry
// is what ends an idle session.
func cutHandle(value string) (handle string, touched time.Time, ok bool) {
	handle, at, _ := strings.Cut(value, ".")
	seconds, err := strconv.ParseInt(at, 10, 64)
	raw, handleErr := base64.RawURLEncoding.Strict().DecodeString(handle)
	if err != nil || handleErr != nil || len(raw) != 32 {
		return "", time.Time{}, false
	}
	return handle, time.Unix(seconds, 0), true
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
	c.setHandle(w, handle)
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
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := c.cfg.Store.Set(ctx, key, ring.Seal(plain, c.associated(key)), c.idleFor(s)); err != nil {
		return fail("session", CodeStoreUnavailable, err)
	}
	return nil
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

func (c *Client) setHandle(w http.ResponseWriter, handle string) {
	c.setSessionCookie(w, c.cookies.session, handle+"."+strconv.FormatInt(c.now().Unix(), 10))
}

// idleFor returns how long s may stay in the Store unused.
func (c *Client) idleFor(s *Session) time.Duration {
	return max(time.Second, min(c.cfg.SessionIdleTimeout, s.ExpiresAt().Sub(c.now())))
}

// loadStored returns the session whose handle r carries; nil when there is
// none.
func (c *Client) loadStored(r *http.Request) (*Session, string, error) {
	cookie, err := r.Cookie(c.cookies.session)
	if err != nil || cookie.Value == "" {
		return nil, "", nil
	}
	handle, _, ok := cutHandle(cookie.Value)
	if !ok {
		c.events.sessionRefused(r.Context(), "the cookie holds no handle")
		return nil, "", nil
	}
	s, err := c.getStored(r.Context(), handle)
	return s, handle, err
}

func (c *Client) getStored(ctx context.Context, handle string) (*Session, error) {
	key := c.storeKey(handle)
	storeCtx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	value, err := c.cfg.Store.Get(storeCtx, key)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fail("session", CodeStoreUnavailable, err)
	}
	ring, err := handleRing(handle)
	if err != nil {
		return nil, fail("session", CodeInternal, err)
	}
	plain, err := ring.Open(value, c.associated(key))
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
	_, touched, _ := cutHandle(cookie.Value)
	if since := c.now().Sub(touched); since >= 0 && since < c.rollInterval() {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	if store, ok := c.cfg.Store.(TouchStore); ok {
		err = store.Touch(ctx, c.storeKey(handle), c.idleFor(s))
	} else {
		err = c.putStored(ctx, s, handle)
	}
	if err != nil {
		// The session is good for this request; the next one tries again.
		c.cfg.Logger.WarnContext(ctx, "could not put off the expiry of a session", "error", err)
		return
	}
	c.setHandle(w, handle)
	keepPrivate(w)
}

// dropStored deletes the stored session that r carries, if there is one.
func (c *Client) dropStored(r *http.Request) error {
	if c.cfg.Store == nil {
		return nil
	}
	cookie, err := r.Cookie(c.cookies.session)
	if err != nil {
		return nil
	}
	handle, _, ok := cutHandle(cookie.Value)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	if err := c.cfg.Store.Delete(ctx, c.storeKey(handle)); err != nil {
		return fail("session", CodeStoreUnavailable, err)
	}
	return nil
}
