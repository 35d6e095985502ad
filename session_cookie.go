package oidcrp

// This file keeps a session in sealed cookies.

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/oidcrp/oidcrp/internal/once"
	"github.com/oidcrp/oidcrp/internal/seal"
)

// cookieKeeper keeps sessions in sealed cookies. The result of a refresh is passed
// to the other replicas through the Store, if there is one.
type cookieKeeper struct {
	*sessions
	shared *storage // nil without a Store
}

func (k *cookieKeeper) onServer() bool { return false }

// load returns the session that r's cookies hold.
func (k *cookieKeeper) load(r *http.Request) (kept, error) {
	text, err := k.cookies.readChunks(r)
	if text == "" && err == nil {
		return kept{}, nil
	}
	var plain []byte
	if err == nil {
		plain, err = k.cookies.open(k.cookies.session, text)
	}
	var s *Session
	if err == nil {
		s, err = unmarshalSession(plain, k.settings.Lifetime)
	}
	if outage(err) { // there are no cookie keys yet
		return kept{}, err
	}
	if err != nil {
		k.refuseCookie(r.Context(), err)
		return kept{}, nil
	}
	return kept{session: s}, nil
}

func (k *cookieKeeper) fits(s *Session) error {
	return checkSessionText(s, seal.StringSize(len(s.marshal())))
}

// checkSessionText returns an error if size bytes of text are too many for cookies.
func checkSessionText(s *Session, size int) error {
	if size > maxSessionText {
		return s.tooLarge(size, maxSessionText, "cookies can hold", "request fewer claims, or set Config.Store")
	}
	return nil
}

func (k *cookieKeeper) start(w http.ResponseWriter, r *http.Request, s *Session) error {
	text, err := k.cookies.seal(k.cookies.session, s.marshal())
	if err != nil {
		return err
	}
	if err := checkSessionText(s, len(text)); err != nil {
		return err
	}
	k.cookies.putChunks(w, r, text)
	return nil
}

func (k *cookieKeeper) touch(w http.ResponseWriter, r *http.Request, held kept) {
	now := k.now()
	if now.Sub(held.session.seen) < k.settings.touchInterval() {
		return
	}
	touched := held.session.copy()
	touched.seen = now.Truncate(time.Second)
	// The session was small enough before, so it still is.
	_ = k.start(w, r, touched)
}

func (k *cookieKeeper) rewrite(w http.ResponseWriter, r *http.Request, _ kept, s *Session) error {
	return k.start(w, r, s)
}

func (k *cookieKeeper) deliver(w http.ResponseWriter, r *http.Request, s *Session) error {
	return k.start(w, r, s)
}

// end marks the session in r's cookies as over, unless next belongs to the same
// person. Deleting the cookies is not enough: the response to an earlier request may
// set them again, and they may have been copied.
func (k *cookieKeeper) end(r *http.Request, next *Session) error {
	held, err := k.load(r)
	s := held.session
	if err != nil || s == nil || k.ended(s) != "" || next != nil && s.marks[0] == next.marks[0] {
		return err
	}
	// A copy may have been refreshed, and then lasts longer than this session.
	return k.marks.set(r.Context(), s.markKeys().session(), k.settings.Lifetime)
}

// update stores next, where the other replicas look before they refresh the
// session themselves.
func (k *cookieKeeper) update(ctx context.Context, held kept, next *Session) error {
	if k.shared == nil {
		return nil
	}
	name := handoverName(held.session)
	sealed, err := k.cookies.seal(name, next.marshal())
	if err != nil {
		return err
	}
	// The response to an earlier request may still set the old cookie again.
	keep := max(once.Memory, next.tokens.Expiry.Sub(k.now()))
	return k.shared.set(ctx, name, []byte(sealed), min(keep, k.settings.Lifetime))
}

func (k *cookieKeeper) updated(ctx context.Context, held kept) (*Session, error) {
	if k.shared == nil {
		return nil, nil
	}
	name := handoverName(held.session)
	sealed, err := k.shared.get(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	plain, err := k.cookies.open(name, string(sealed))
	if err != nil {
		k.refuseCookie(ctx, err)
		return nil, nil
	}
	next, err := unmarshalSession(plain, k.settings.Lifetime)
	if err != nil || next.id != held.session.id || next.tokens == nil {
		return nil, nil
	}
	return next, nil
}

func handoverName(s *Session) string {
	return newMarkKey("refreshed", s.id, tokenKey(s).String()).String()
}
