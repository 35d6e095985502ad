package oidcrp

// This file keeps sessions in a Store, behind a handle in a cookie.

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxStored bounds a stored session in bytes. It is read at every request.
const maxStored = 256 << 10

// storeKeeper keeps sessions in a Store. The browser has a handle; its hash is
// the key. The handle and the cookie keys together seal the value: a party that
// reads the Store lacks the handle, and one that writes to it the cookie keys.
type storeKeeper struct {
	*sessions
	store *storage
	log   *slog.Logger
}

func (k *storeKeeper) onServer() bool { return true }

// A handleCookie is the cookie of a stored session:
//
//	handle (32 random bytes, base64url) "." when it was last touched (Unix seconds) "." its marks
//
// The time only saves a write per request: the entry's own expiry ends an idle
// session. The marks (see sessionMarks) only let a Store read them together with
// the entry. Those in the entry decide, so the hint may be missing or wrong.
type handleCookie struct {
	handle  string
	touched time.Time
	hint    sessionMarks
	hinted  bool
}

// parseHandle reads a cookie's value; ok is false if it holds no handle.
func parseHandle(value string) (c handleCookie, ok bool) {
	handle, rest, _ := strings.Cut(value, ".")
	at, hint, hinted := strings.Cut(rest, ".")
	if hinted {
		if c.hint, c.hinted = parseSessionMarks(hint); !c.hinted {
			return handleCookie{}, false
		}
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil || !decodesTo(make([]byte, handleBytes), handle) {
		return handleCookie{}, false
	}
	c.handle, c.touched = handle, time.Unix(seconds, 0)
	return c, true
}

const handleBytes = 32

var strictBase64 = base64.RawURLEncoding.Strict()

// decodesTo decodes text into b, and reports whether that is exactly what it holds.
func decodesTo(b []byte, text string) bool {
	if base64.RawURLEncoding.DecodedLen(len(text)) != len(b) {
		return false
	}
	n, err := strictBase64.Decode(b, []byte(text))
	return err == nil && n == len(b)
}

// key returns the key of handle's session. The client's identity is part of it, so
// that two Clients with the same Store share no sessions: a person whom one
// provider authenticates must not be signed in at the other. It has 184 bits, which
// nobody guesses, and 31 characters: with the issuer's 12, the 43 that the tables of
// many stores have room for.
func (k *storeKeeper) key(handle string) string {
	sum := sha256.Sum256([]byte("oidcrp session\x00" + k.cookies.identity + "\x00" + handle))
	return base64.RawURLEncoding.EncodeToString(sum[:23])
}

func (k *storeKeeper) start(w http.ResponseWriter, r *http.Request, s *Session) error {
	b := make([]byte, handleBytes)
	rand.Read(b)
	handle := base64.RawURLEncoding.EncodeToString(b)
	if err := k.put(r.Context(), s, handle); err != nil {
		return err
	}
	k.setHandle(w, handle, s)
	return nil
}

func (k *storeKeeper) fits(s *Session) error { return checkStored(s, len(s.marshal())) }

// checkStored returns an error if size bytes are too many for a stored session.
func checkStored(s *Session, size int) error {
	if size > maxStored {
		return s.tooLarge(size, maxStored, "a stored session may have", "request fewer claims")
	}
	return nil
}

func (k *storeKeeper) put(ctx context.Context, s *Session, handle string) error {
	plain := s.marshal()
	if err := checkStored(s, len(plain)); err != nil {
		return err
	}
	key := k.key(handle)
	value, err := k.cookies.keys.sealUnder(handle, plain, k.cookies.associated(key))
	if err != nil {
		return err
	}
	return k.store.set(ctx, key, value, k.idleFor(s))
}

func (k *storeKeeper) setHandle(w http.ResponseWriter, handle string, s *Session) {
	k.cookies.putSession(w, k.cookies.session,
		handle+"."+strconv.FormatInt(k.now().Unix(), 10)+"."+s.markKeys().String())
}

// idleFor returns how long s may stay in the Store unused.
func (k *storeKeeper) idleFor(s *Session) time.Duration {
	return max(time.Second, min(k.settings.IdleTimeout, s.ExpiresAt().Sub(k.now())))
}

// load returns the session whose handle r carries, and the marks that a Store
// can read with it in one round trip.
func (k *storeKeeper) load(r *http.Request) (kept, error) {
	cookie, refused := k.handle(r)
	if cookie.handle == "" {
		return kept{refused: refused}, nil
	}
	ctx := r.Context()
	ring, err := k.cookies.keys.ring()
	if err != nil {
		return kept{}, err
	}
	known, key := k.opened.get(cookie.handle, ring), ""
	if known != nil {
		key = known.stored
	} else {
		key = k.key(cookie.handle)
	}
	value, lookup, err := k.marks.readWith(ctx, key, cookie)
	if err != nil || value == nil {
		return kept{}, err
	}
	var found kept
	if known.is(value) {
		found = known.kept
	} else {
		found, err = k.open(ctx, value, cookie.handle, key)
	}
	found.lookup, found.touched = lookup, cookie.touched
	return found, err
}

// handle reads r's cookie, and reports a cookie that holds no handle.
func (k *storeKeeper) handle(r *http.Request) (cookie handleCookie, refused string) {
	value, _, err := k.cookies.lookUp(r, k.cookies.session)
	if err != nil {
		return handleCookie{}, k.refuseCookie(r.Context(), err)
	}
	if value == "" {
		return handleCookie{}, ""
	}
	cookie, ok := parseHandle(value)
	if !ok {
		return handleCookie{}, k.refuseCookie(r.Context(), errNoHandle)
	}
	return cookie, ""
}

var errNoHandle = errors.New("the cookie holds no handle")

// get returns the session of handle, nil when there is none that can be used.
func (k *storeKeeper) get(ctx context.Context, handle string) (*Session, error) {
	key := k.key(handle)
	value, err := k.store.get(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found, err := k.open(ctx, value, handle, key)
	return found.session, err
}

// open reads what put wrote for handle, whose key is key. The session is nil when it
// cannot be used.
func (k *storeKeeper) open(ctx context.Context, value []byte, handle, key string) (kept, error) {
	plain, ring, newest, err := k.cookies.keys.openUnder(handle, value, k.cookies.associated(key))
	if outage(err) { // there are no cookie keys yet
		return kept{}, err
	}
	if err == nil {
		var s *Session
		if s, err = k.unmarshal(plain); err == nil {
			found := kept{session: s, handle: handle, oldKey: !newest}
			k.opened.put(opened{text: handle, value: value, ring: ring, kept: found, stored: key})
			return found, nil
		}
	}
	return kept{handle: handle, refused: k.refuseCookie(ctx, err)}, nil
}

// reseal writes the entry of a session in use again, which is sealed with an older key:
// that may be removed soon. The session must have no refresh token: a refresh, which would be
// undone if it were saved at the same moment, seals it with the newest key itself.
func (k *storeKeeper) reseal(ctx context.Context, held kept) error {
	current, err := k.get(ctx, held.handle)
	if err != nil || current == nil || current.renewed != held.session.renewed {
		return err
	}
	return k.put(ctx, held.session, held.handle)
}

// touch extends the expiry of a session in use, at most once every touchInterval
// by the time in its cookie.
func (k *storeKeeper) touch(r *http.Request, held kept) *delivery {
	ctx, s := r.Context(), held.session
	if held.oldKey && (s.tokens == nil || s.tokens.RefreshToken == "") {
		if err := k.reseal(ctx, held); err != nil {
			k.log.WarnContext(ctx, "could not seal a session with the newest key", "error", err)
		}
	}
	if since := k.now().Sub(held.touched); since >= 0 && since < k.settings.touchInterval() {
		return nil
	}
	touched, err := k.store.touch(ctx, k.key(held.handle), k.idleFor(s))
	if !touched {
		err = k.put(ctx, s, held.handle)
	}
	if err != nil {
		// The session is good for this request; the next one tries again.
		k.log.WarnContext(ctx, "could not extend a session", "error", err)
		return nil
	}
	return &delivery{put: func(w http.ResponseWriter, _ *http.Request) error {
		k.setHandle(w, held.handle, s)
		return nil
	}}
}

// end deletes the stored session that r carries, if there is one. The mark ends it
// even if a concurrent request stores it again.
func (k *storeKeeper) end(r *http.Request, next *Session) error {
	cookie, ok := parseHandle(k.cookies.read(r, k.cookies.session))
	if !ok {
		return nil
	}
	ctx := r.Context()
	s, err := k.get(ctx, cookie.handle)
	if err == nil && s != nil && (next == nil || next.id != s.id) { // else the same one, kept anew
		err = k.revoke(ctx, s.markKeys().session(), markKey{})
	}
	if err != nil {
		return err
	}
	k.opened.forget(cookie.handle)
	return k.store.delete(ctx, k.key(cookie.handle))
}

func (k *storeKeeper) rewrite(ctx context.Context, held kept, s *Session) (*delivery, error) {
	return nil, k.update(ctx, held, s)
}

func (k *storeKeeper) deliver(*Session) *delivery { return nil }

// update replaces the stored session by next, unless the session has ended in the
// meantime.
func (k *storeKeeper) update(ctx context.Context, held kept, next *Session) error {
	switch current, err := k.get(ctx, held.handle); {
	case err != nil:
		return err
	case current == nil:
		return failf("session", CodeNoSession, "ended in the meantime")
	}
	return k.put(ctx, next, held.handle)
}

func (k *storeKeeper) updated(ctx context.Context, held kept) (*Session, error) {
	current, err := k.get(ctx, held.handle)
	switch {
	case err != nil:
		return nil, err
	case current == nil || current.id != held.session.id || current.tokens == nil:
		return nil, failf("session", CodeNoSession, "ended in the meantime")
	case current.renewed <= held.session.renewed:
		return nil, nil
	}
	return current, nil
}
