package oidcrp

// This file fetches the provider's keys (RFC 7517) and verifies signatures with
// them (RFC 7515).

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/oidcrp/oidcrp/internal/fetch"
	josekit "github.com/oidcrp/oidcrp/internal/jose"
)

// The bounds of what is remembered about unknown key ids.
const (
	maxAbsent  = 128 // kids remembered as absent
	maxKidSize = 256 // bytes of such a kid
)

// How long keys are used and how often they are fetched.
const (
	// keysPatience is how long past their age keys are used while a fetch is under
	// way. After that, callers wait for the fetch, so that a key that was withdrawn
	// in a quiet time is not accepted.
	keysPatience = time.Minute
	// keysMaxStale is how long past their age keys are used while the provider
	// does not answer: a withdrawn key must not be accepted for longer.
	keysMaxStale = 24 * time.Hour
	// renewEvery is the least time between two fetches for unknown kids.
	renewEvery = time.Minute
	// absentFor is how long a kid that a fetch did not bring causes no other
	// fetch, so that the next fetch can serve other kids.
	absentFor = 2 * time.Minute
	// givenKeysLifetime is how long given keys count as fresh. They are the same afterwards.
	givenKeysLifetime = 24 * time.Hour
)

// keySet verifies signatures with the provider's keys.
type keySet struct {
	provider *provider
	secret   []byte
	given    *josekit.KeySet // in place of those at jwks_uri; nil without
	document fetch.Document[josekit.KeySet]

	mu     sync.Mutex           // guards absent
	absent map[string]time.Time // kids that a fetch did not bring, and until when to believe it
}

// newKeySet returns a keySet for p. secret is the client secret, the key of the
// HS algorithms; may be empty. given is [Provider.JWKS], which has been checked. It does
// no I/O.
func newKeySet(p *provider, secret string, given []byte) *keySet {
	k := &keySet{
		provider: p,
		secret:   []byte(secret),
		absent:   make(map[string]time.Time),
	}
	if given != nil {
		k.given, _ = josekit.ParseKeySet(given)
	}
	k.document.Load = k.load
	k.document.Now = p.now
	k.document.Panicked = func(value any) { p.events.panicked("a fetch of keys", value) }
	k.document.Patience = keysPatience
	k.document.MaxStale = keysMaxStale
	k.document.RenewEvery = renewEvery
	return k
}

// verify checks the signature of compact, a JWS in compact serialisation, and
// returns its payload and header. token names it in errors; algs are the
// algorithms that are accepted.
//
// The error is a [*TokenError] if the token is refused. If the keys cannot be
// fetched, so that nothing is known about the token, it is an [*Error] with
// [CodeProviderUnavailable] or [CodeProviderInvalid].
func (k *keySet) verify(
	ctx context.Context, token, compact string, algs []string,
) (payload []byte, header *josekit.Header, err error) {
	jws, err := josekit.ParseJWS(compact, algs)
	if err != nil {
		return nil, nil, refuseJOSE(token, err)
	}
	if josekit.IsMAC(jws.Header.Alg) { // its key is the client secret (OIDC Core 10.1)
		if payload, err = jws.VerifyMAC(k.secret); err != nil {
			return nil, nil, refuseJOSE(token, err)
		}
		return payload, &jws.Header, nil
	}
	if payload, err = k.verifySignature(ctx, token, jws); err != nil {
		return nil, nil, err
	}
	return payload, &jws.Header, nil
}

// verifySignature checks a token whose key is one of the provider's.
func (k *keySet) verifySignature(ctx context.Context, token string, jws *josekit.JWS) ([]byte, error) {
	set, err := k.document.Get(ctx)
	if err != nil {
		return nil, failFetch("jwks", err)
	}
	payload, found := set.Verify(jws)
	kid := jws.Header.Kid
	if found == josekit.NoKey && k.worthAsking(kid) {
		if payload, found, err = k.verifyRenewed(ctx, set, jws); err != nil {
			return nil, failFetch("jwks", err)
		}
	}
	switch found {
	case josekit.Verified:
		return payload, nil
	case josekit.Forged:
		return nil, refuseToken(token, "signature", "one made with the provider's key", kid)
	case josekit.Unsuitable:
		return nil, refuseToken(token, "kid", "a key of the provider for "+jws.Header.Alg, kid)
	}
	return nil, refuseToken(token, "kid", "a key of the provider", kid)
}

// verifyRenewed verifies with newer keys than those of set, if there are any. It
// tries twice: the first result may come from a fetch that began before the key
// was published. The document allows one fetch at most.
func (k *keySet) verifyRenewed(
	ctx context.Context, set *josekit.KeySet, jws *josekit.JWS,
) (payload []byte, found josekit.Verdict, err error) {
	for range 2 {
		renewed, err := k.document.Renew(ctx, set)
		if err != nil || renewed == set {
			return nil, josekit.NoKey, err
		}
		set = renewed
		if payload, found = set.Verify(jws); found != josekit.NoKey {
			return payload, found, nil
		}
		k.remember(jws.Header.Kid)
	}
	return nil, josekit.NoKey, nil
}

// worthAsking reports whether a fetch may bring a key that the set lacks.
func (k *keySet) worthAsking(kid string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	until, ok := k.absent[kid]
	return !ok || !k.provider.now().Before(until)
}

// remember records a kid that a fetch did not bring. An empty kid is not
// recorded: it says nothing about other tokens without kid.
func (k *keySet) remember(kid string) {
	if kid == "" || len(kid) > maxKidSize {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.provider.now()
	maps.DeleteFunc(k.absent, func(_ string, until time.Time) bool { return !now.Before(until) })
	if len(k.absent) < maxAbsent {
		k.absent[kid] = now.Add(absentFor)
	}
}

func (k *keySet) load(ctx context.Context) (*josekit.KeySet, time.Duration, error) {
	if k.given != nil {
		return k.given, givenKeysLifetime, nil
	}
	m, err := k.provider.metadata(ctx)
	if err != nil {
		return nil, 0, err
	}
	start := k.provider.now()
	set, lifetime, err := k.fetch(ctx, m.JWKSURI)
	k.provider.events.keysFetched(ctx, FetchEvent{URL: m.JWKSURI, Duration: k.provider.now().Sub(start), Err: err})
	if old := k.document.Peek(); err == nil && old != nil {
		added, removed := missing(set.Kids(), old.Kids()), missing(old.Kids(), set.Kids())
		if len(added)+len(removed) > 0 {
			k.provider.events.keysRotated(ctx, FetchEvent{URL: m.JWKSURI, Added: added, Removed: removed})
		}
	}
	return set, lifetime, err
}

func (k *keySet) fetch(ctx context.Context, uri string) (*josekit.KeySet, time.Duration, error) {
	res, err := k.provider.http.Do(ctx, fetch.Request{
		URL:            uri,
		Accept:         "application/jwk-set+json, application/json",
		MediaTypes:     []string{"application/json", "text/json", "+json"},
		FollowSameHost: true,
	})
	if err != nil {
		return nil, 0, failFetch("jwks", err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, 0, failf("jwks", CodeProviderInvalid,
			"%s answered with status %d", clean(uri, maxShownURL), res.StatusCode)
	}
	set, err := josekit.ParseKeySet(res.Body)
	if err != nil {
		return nil, 0, failf("jwks", CodeProviderInvalid, "the keys at %s: %w", clean(uri, maxShownURL), err)
	}
	return set, res.Lifetime(), nil
}

// missing returns the elements of a that are not in b.
func missing(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}
