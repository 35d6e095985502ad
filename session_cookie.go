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
	s, err := k.read(r)
	if outage(err) { // there are no cookie keys yet
		return kept{}, err
	}
	if err != nil {
		return kept{refused: k.refuseCookie(r.Context(), err)}, nil
	}
	return kept{session: s}, nil
}

// read returns the session that r's cookies hold, nil if there are none.
func (k *cookieKeeper) read(r *http.Request) (*Session, error) {
	text, err := k.cookies.readChunks(r)
	if text == "" || err != nil {
		return nil, err
	}
	ring, err := k.cookies.keys.ring()
	if err != nil {
		return nil, err
	}
	if known := k.opened.get(text, ring); known != nil {
		return known.kept.session, nil
	}
	plain, ring, err := k.cookies.keys.openBy(text, k.cookies.sessionData)
	if err != nil {
		return nil, err
	}
	s, err := k.unmarshal(plain)
	if err == nil {
		k.opened.put(opened{text: text, ring: ring, kept: kept{session: s}})
	}
	return s, err
}

// fits keeps the form of a session that nobody else has yet, for start.
func (k *cookieKeeper) fits(s *Session) (err error) {
	s.form, err = k.marshal(s)
	return err
}

// marshal returns the fullest stored form of s that fits into the cookies: with the
// claims compressed only where it must be, and without the ID Token's signature only
// where that is not enough.
func (k *cookieKeeper) marshal(s *Session) ([]byte, error) {
	size := 0
	for _, form := range []struct {
		marshal func() []byte
		most    int
	}{
		{s.marshal, min(defaultMaxCookieBytes, k.settings.MaxCookieBytes)},
		{s.marshalCompressed, k.settings.MaxCookieBytes},
		{func() []byte { return s.lean().marshalCompressed() }, k.settings.MaxCookieBytes},
	} {
		plain := form.marshal()
		if size = k.cookies.sessionSize(seal.StringSize(len(plain))); size <= form.most {
			return plain, nil
		}
	}
	return nil, s.tooLarge(size, k.settings.MaxCookieBytes, "its cookies may have",
		"keep fewer claims (Sessions.KeepClaims), keep sessions on the server (Config.Store), "+
			"or allow larger cookies (Sessions.MaxCookieBytes)")
}

func (k *cookieKeeper) start(w http.ResponseWriter, r *http.Request, s *Session) error {
	plain, err := s.form, error(nil)
	if plain == nil {
		plain, err = k.marshal(s)
	}
	if err != nil {
		return err
	}
	text, err := k.cookies.seal(k.cookies.session, plain)
	if err != nil {
		return err
	}
	k.cookies.putChunks(w, r, text)
	return nil
}

// touch is necessary when half of the idle timeout has gone: the person may open
// nothing but pages that shared caches may store.
func (k *cookieKeeper) touch(_ *http.Request, held kept) *delivery {
	now := k.now()
	since := now.Sub(held.session.seen)
	if since < k.settings.touchInterval() {
		return nil
	}
	touched := held.session.copy()
	touched.seen = now.Truncate(time.Second)
	d := k.deliver(touched)
	d.necessary = since >= k.settings.IdleTimeout/2
	return d
}

func (k *cookieKeeper) rewrite(_ context.Context, _ kept, s *Session) (*delivery, error) {
	return k.deliver(s), nil
}

func (k *cookieKeeper) deliver(s *Session) *delivery {
	return &delivery{necessary: true, put: func(w http.ResponseWriter, r *http.Request) error {
		return k.start(w, r, s)
	}}
}

// end marks the session in r's cookies as over, and with it every copy of a session
// of its line. Deleting the cookies is not enough: the response to an earlier request
// may set them again, and they may have been copied. If next continues the line, only
// the copies of the one session are over.
func (k *cookieKeeper) end(r *http.Request, next *Session) error {
	s, err := k.read(r)
	if text, textErr := k.cookies.readChunks(r); textErr == nil {
		k.opened.forget(text)
	}
	switch {
	case outage(err):
		return err
	case err != nil || s == nil:
		return nil
	case !k.now().Before(s.created.Add(s.lifetime)): // no copy can live on; an idle one's may
		return nil
	case next != nil && next.line == s.line:
		if next.id == s.id { // the same response from the provider, a second time
			return nil
		}
		if err := k.marks.supersede(r.Context(), s, replaced, k.settings.Lifetime); !errors.Is(err, CodeNoSession) {
			return err
		}
		return nil // by another login of this line already
	}
	// A copy may have been refreshed, and then lasts longer than this session.
	return k.revoke(r.Context(), s.markKeys().session(), markKey{})
}

// update stores next, where the other replicas look before they refresh the
// session themselves, and where a request with an older copy finds it. The copies
// that were made before are over then, with the claims that they hold.
func (k *cookieKeeper) update(ctx context.Context, held kept, next *Session) error {
	if k.shared == nil {
		return nil
	}
	name := handoverName(held.session)
	sealed, err := k.cookies.seal(name, next.marshal())
	if err != nil {
		return err
	}
	// The response with the new cookie may not arrive, and the one to an earlier
	// request may set the old cookie again.
	keep := max(once.Memory, k.settings.IdleTimeout, next.tokens.Expiry.Sub(k.now()))
	if err := k.shared.set(ctx, name, []byte(sealed), min(keep, k.settings.Lifetime)); err != nil {
		return err
	}
	// Last, so that no request finds its copy over and nothing newer. What is stored counts
	// with the mark only: if a later login has replaced the session, there is none.
	return k.marks.supersede(ctx, held.session, next.renewed, k.settings.Lifetime)
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
	next, err := k.unmarshal(plain)
	if err != nil || next.id != held.session.id || next.tokens == nil || next.renewed <= held.session.renewed {
		return nil, nil
	}
	superseded, err := k.marks.superseded(ctx, held.session)
	if err != nil || superseded < next.renewed {
		return nil, err
	}
	return next, nil
}

func handoverName(s *Session) string { return newMarkKey("refreshed", s.id, "").String() }
