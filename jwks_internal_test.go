package oidcrp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oidcrp/oidcrp/internal/fetch"
)

// keySet returns a new keySet that talks to s.
func (s *opServer) keySet(trace Trace) *keySet {
	return s.provider(trace).keys
}

// wantRefusal fails the test unless err is a *TokenError for check.
func wantRefusal(t *testing.T, what string, err error, check string) {
	t.Helper()
	var refused *TokenError
	if !errors.As(err, &refused) || refused.Check != check || refused.Token != "ID Token" {
		t.Errorf("%s: error is %v, want a refusal for its %s", what, err, check)
	}
	if errors.Is(err, CodeProviderUnavailable) {
		t.Errorf("%s: a refusal that counts as an outage", what)
	}
}

// wantAccepted fails the test unless k accepts compact.
func wantAccepted(t *testing.T, what string, k *keySet, compact string) {
	t.Helper()
	if payload, _, err := k.verify(t.Context(), "ID Token", compact, everyAlg); err != nil || string(payload) != "{}" {
		t.Errorf("%s: %q, %v", what, payload, err)
	}
}

func TestKeySet_VerifyingWithTheClientSecretNeedsNoNetwork(t *testing.T) {
	t.Parallel()
	s := newOPServer()
	k := s.keySet(Trace{})
	k.secret = []byte(strings.Repeat("s", 47))
	wantAccepted(t, "HS256", k, sign(head("HS256", "any"), "{}", k.secret))
	_, _, err := k.verify(t.Context(), "ID Token", sign(head("HS256", ""), "{}", []byte("guess")), everyAlg)
	wantRefusal(t, "another secret", err, "signature")
	_, _, err = k.verify(t.Context(), "ID Token", sign(head("HS384", ""), "{}", k.secret), everyAlg)
	wantRefusal(t, "a secret too short for HS384", err, "alg")
	k.secret = nil
	_, _, err = k.verify(t.Context(), "ID Token", sign(head("HS256", ""), "{}", []byte{}), everyAlg)
	wantRefusal(t, "no secret", err, "alg")
	if s.discoveries.Load()+s.keyFetches.Load() != 0 {
		t.Error("there were requests")
	}
}

// What package internal/jose tests about keys is not repeated here.
func TestKeySet_RefusesWhatOtherKeysSign(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	s := newOPServer()
	s.serveKeys(jwk(keys.RSA, "kid", "rsa"), jwk(keys.P256, "kid", "p256"))
	k := s.keySet(Trace{})
	_, _, err := k.verify(t.Context(), "ID Token", sign(head("ES256", "p256"), "{}", keys.Other), everyAlg)
	wantRefusal(t, "another P-256 key", err, "signature")
	_, _, err = k.verify(t.Context(), "ID Token", sign(head("ES256", "rsa"), "{}", keys.P256), everyAlg)
	wantRefusal(t, "the kid of a key of another type", err, "kid")
	if n := s.keyFetches.Load(); n != 1 {
		t.Errorf("%d fetches, want 1: neither hopes for another key", n)
	}
}

func TestKeySet_ReadsTheHeaderStrictly(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	s := newOPServer()
	s.serveKeys(jwk(keys.P256, "kid", "a"))
	k := s.keySet(Trace{})
	pointing := fmt.Sprintf(`{"alg":"ES256","kid":"a","jku":"%[1]s/evil","x5u":"%[1]s/evil","x5t":"AAAA","x5c":[]}`, s.issuer)
	wantAccepted(t, "a header that points elsewhere", k, sign(pointing, "{}", keys.P256))
	if n := s.others.Load(); n != 0 {
		t.Errorf("%d requests to where the token pointed", n)
	}
	_, _, err := k.verify(t.Context(), "ID Token", sign(`{"alg":"ES256","kid":"a","crit":["exp"],"exp":1}`, "{}", keys.P256), everyAlg)
	wantRefusal(t, "crit", err, "crit")
	checkText(t, err)
}

func TestKeySet_NoticesARotation(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	s := newOPServer()
	s.serveKeys(jwk(keys.P256, "kid", "old"))
	var rotated []FetchEvent
	k := s.keySet(Trace{KeysRotated: collect(&rotated)})
	oldToken, newToken := sign(head("ES256", "old"), "{}", keys.P256), sign(head("ES256", "new"), "{}", keys.Other)
	wantAccepted(t, "before", k, oldToken)

	s.serveKeys(jwk(keys.Other, "kid", "new"))
	wantAccepted(t, "right after the first fetch", k, newToken)
	_, _, err := k.verify(t.Context(), "ID Token", oldToken, everyAlg)
	wantRefusal(t, "the key that is gone", err, "kid")
	if n := s.keyFetches.Load(); n != 2 {
		t.Errorf("%d fetches, want 2", n)
	}
	if len(rotated) != 1 || !slices.Equal(rotated[0].Added, []string{"new"}) || !slices.Equal(rotated[0].Removed, []string{"old"}) {
		t.Errorf("events are %+v", rotated)
	}
}

func TestKeySet_NoticesARotationWhileTheOldKeysAreOnTheirWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		keys := testKeys()
		s := newOPServer()
		s.serveKeys(jwk(keys.P256, "kid", "old"))
		slow, arrived, release := slowly(s.jwks)
		k := s.keySet(Trace{})
		wantAccepted(t, "before", k, sign(head("ES256", "old"), "{}", keys.P256))

		s.setJWKS(slow)
		s.clock.Advance(10 * time.Minute)
		wantAccepted(t, "a refresh starts", k, sign(head("ES256", "old"), "{}", keys.P256))
		<-arrived
		s.serveKeys(jwk(keys.Other, "kid", "new"))
		go wantAccepted(t, "the new key", k, sign(head("ES256", "new"), "{}", keys.Other))
		synctest.Wait() // until it waits for the refresh
		close(release)
		synctest.Wait()
		if n := s.keyFetches.Load(); n != 3 {
			t.Errorf("%d fetches, want 3", n)
		}
	})
}

func TestKeySet_NoticesARotationWithoutKids(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	s := newOPServer()
	s.serveKeys(jwk(keys.P256))
	k := s.keySet(Trace{})
	wantAccepted(t, "before", k, sign(head("ES256", ""), "{}", keys.P256))
	s.serveKeys(jwk(keys.Other))
	wantAccepted(t, "after", k, sign(head("ES256", ""), "{}", keys.Other))
}

func TestKeySet_AWithdrawnKeyStopsVerifying(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	token := sign(head("ES256", "old"), "{}", keys.P256)

	s := newOPServer()
	s.serveKeys(jwk(keys.P256, "kid", "old"), jwk(keys.Other, "kid", "new"))
	k := s.keySet(Trace{})
	wantAccepted(t, "before", k, token)
	s.serveKeys(jwk(keys.Other, "kid", "new"))
	s.clock.Advance(11 * time.Minute)
	_, _, err := k.verify(t.Context(), "ID Token", token, everyAlg)
	wantRefusal(t, "after the cache age and a quiet minute", err, "kid")

}

func TestKeySet_AWithdrawnKeyStopsVerifyingInABusyClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		keys := testKeys()
		token := sign(head("ES256", "old"), "{}", keys.P256)
		s := newOPServer()
		s.serveKeys(jwk(keys.P256, "kid", "old"))
		k := s.keySet(Trace{})
		wantAccepted(t, "before", k, token)
		s.serveKeys(jwk(keys.Other, "kid", "new"))
		s.clock.Advance(10 * time.Minute)
		wantAccepted(t, "while the keys are fetched", k, token)
		synctest.Wait()
		_, _, err := k.verify(t.Context(), "ID Token", token, everyAlg)
		wantRefusal(t, "afterwards", err, "kid")
	})
}

// A key that replaces another under the same kid is found when the set has
// aged; a bad signature does not cause a fetch.
func TestKeySet_AKidMayBeUsedAgain(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	s := newOPServer()
	s.serveKeys(jwk(keys.P256, "kid", "a"))
	k := s.keySet(Trace{})
	wantAccepted(t, "before", k, sign(head("ES256", "a"), "{}", keys.P256))
	s.serveKeys(jwk(keys.Other, "kid", "a"))
	token := sign(head("ES256", "a"), "{}", keys.Other)
	_, _, err := k.verify(t.Context(), "ID Token", token, everyAlg)
	wantRefusal(t, "too early", err, "signature")
	s.clock.Advance(11 * time.Minute)
	wantAccepted(t, "after the cache age", k, token)
}

func TestKeySet_ForgedTokensFetchNothing(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	for what, header := range map[string]func(i int) string{
		"random kids":   func(i int) string { return head("ES256", fmt.Sprint("forged-", i)) },
		"one wrong kid": func(int) string { return head("ES256", "forged") },
		"no kid":        func(int) string { return head("ES256", "") },
		"the right kid": func(int) string { return head("ES256", "a") },
	} {
		s := newOPServer()
		s.serveKeys(jwk(keys.P256, "kid", "a"))
		k := s.keySet(Trace{})
		wantAccepted(t, "before", k, sign(head("ES256", "a"), "{}", keys.P256))
		sig := sign(head("ES256", "a"), "{}", keys.Other)
		sig = sig[strings.LastIndexByte(sig, '.'):]
		for i := range 1000 {
			forged := sign(header(i), "{}", nil) + sig[1:]
			_, _, err := k.verify(t.Context(), "ID Token", forged, everyAlg)
			check := "kid"
			if what == "the right kid" {
				check = "signature"
			}
			wantRefusal(t, what, err, check)
		}
		want := int32(2)
		if what == "the right kid" {
			want = 1
		}
		if n := s.keyFetches.Load(); n != want || s.discoveries.Load() != 1 {
			t.Errorf("%s: %d fetches for 1,000 forged tokens, want %d", what, n, want)
		}
		wantAccepted(t, "after", k, sign(head("ES256", "a"), "{}", keys.P256))
		if len(k.absent) > maxAbsent {
			t.Errorf("%s: %d kids remembered", what, len(k.absent))
		}
	}
}

func TestKeySet_FetchesOncePerMinuteForUnknownKids(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	s := newOPServer()
	s.serveKeys(jwk(keys.P256, "kid", "a"))
	k := s.keySet(Trace{})
	for second := range 300 {
		_, _, err := k.verify(t.Context(), "ID Token", sign(head("ES256", fmt.Sprint(second)), "{}", keys.Other), everyAlg)
		wantRefusal(t, "forged", err, "kid")
		s.clock.Advance(time.Second)
	}
	if n := s.keyFetches.Load(); n != 6 {
		t.Errorf("%d fetches in five minutes, want 6", n)
	}
}

func TestKeySet_AKidKnownToBeAbsentLeavesTheFetchToOthers(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	s := newOPServer()
	s.serveKeys(jwk(keys.P256, "kid", "a"))
	k := s.keySet(Trace{})
	stray, fresh := sign(head("ES256", "stray"), "{}", keys.Other), sign(head("ES256", "fresh"), "{}", keys.Other)
	_, _, err := k.verify(t.Context(), "ID Token", stray, everyAlg)
	wantRefusal(t, "stray", err, "kid")
	s.serveKeys(jwk(keys.P256, "kid", "a"), jwk(keys.Other, "kid", "fresh"))
	s.clock.Advance(time.Minute)
	for range 100 {
		_, _, err := k.verify(t.Context(), "ID Token", stray, everyAlg)
		wantRefusal(t, "stray", err, "kid")
	}
	if n := s.keyFetches.Load(); n != 2 {
		t.Errorf("%d fetches, want 2", n)
	}
	wantAccepted(t, "fresh", k, fresh)

	// It is not absent for ever.
	s.serveKeys(jwk(keys.Other, "kid", "stray"))
	s.clock.Advance(time.Minute)
	wantAccepted(t, "stray", k, stray)
}

func TestKeySet_FiveHundredAtOnceMakeOneFetch(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	s := newOPServer()
	s.serveKeys(jwk(keys.P256, "kid", "a"))
	k := s.keySet(Trace{})
	verify500 := func(what, token string) {
		var wg sync.WaitGroup
		for range 500 {
			wg.Go(func() { wantAccepted(t, what, k, token) })
		}
		wg.Wait()
	}
	verify500("cold", sign(head("ES256", "a"), "{}", keys.P256))
	if s.discoveries.Load() != 1 || s.keyFetches.Load() != 1 {
		t.Errorf("%d discoveries, %d fetches, want 1 and 1", s.discoveries.Load(), s.keyFetches.Load())
	}
	s.serveKeys(jwk(keys.Other, "kid", "b"))
	verify500("after a rotation", sign(head("ES256", "b"), "{}", keys.Other))
	if s.discoveries.Load() != 1 || s.keyFetches.Load() != 2 {
		t.Errorf("%d discoveries, %d fetches, want 1 and 2", s.discoveries.Load(), s.keyFetches.Load())
	}
}

func TestKeySet_FetchOutlivesItsCaller(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	s := newOPServer()
	s.serveKeys(jwk(keys.P256, "kid", "a"))
	slow, arrived, release := slowly(s.jwks)
	s.setJWKS(slow)
	k := s.keySet(Trace{})
	token := sign(head("ES256", "a"), "{}", keys.P256)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _, err := k.verify(ctx, "ID Token", token, everyAlg)
		if wantCode(t, err, CodeCanceled); !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v", err)
		}
	})
	<-arrived
	for range 100 {
		wg.Go(func() { wantAccepted(t, "another caller", k, token) })
	}
	cancel()
	close(release)
	wg.Wait()
}

func TestKeySet_AnOutageIsNotAForgery(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	token, unknown := sign(head("ES256", "a"), "{}", keys.P256), sign(head("ES256", "b"), "{}", keys.Other)

	s := newOPServer()
	s.setJWKS(respond(503, "text/html", "down"))
	k := s.keySet(Trace{})
	for range 100 {
		_, _, err := k.verify(t.Context(), "ID Token", token, everyAlg)
		wantCode(t, err, CodeProviderUnavailable)
	}
	if n := s.keyFetches.Load(); n != 1 {
		t.Errorf("%d fetches while cold and down, want 1", n)
	}
	s.serveKeys(jwk(keys.P256, "kid", "a"))
	s.clock.Advance(2 * time.Second)
	wantAccepted(t, "after the outage", k, token)

	s.setJWKS(respond(503, "text/html", "down"))
	for range 100 {
		_, _, err := k.verify(t.Context(), "ID Token", unknown, everyAlg)
		wantCode(t, err, CodeProviderUnavailable)
		wantAccepted(t, "a known key during the outage", k, token)
	}
	if n := s.keyFetches.Load(); n != 3 {
		t.Errorf("%d fetches, want 3", n)
	}
	s.clock.Advance(24 * time.Hour)
	wantAccepted(t, "a known key a day later", k, token)
	s.clock.Advance(time.Hour)
	_, _, err := k.verify(t.Context(), "ID Token", token, everyAlg)
	wantCode(t, err, CodeProviderUnavailable)

	s.serveKeys(jwk(keys.P256, "kid", "a"), jwk(keys.Other, "kid", "b"))
	s.clock.Advance(time.Minute)
	wantAccepted(t, "a known key at last", k, token)
	wantAccepted(t, "the other key", k, unknown)
}

func TestKeySet_NeedsDiscovery(t *testing.T) {
	t.Parallel()
	s := newOPServer()
	s.setDiscovery(respond(503, "text/html", "down"))
	_, _, err := s.keySet(Trace{}).verify(t.Context(), "ID Token", sign(head("ES256", "a"), "{}", testKeys().P256), everyAlg)
	if e := wantCode(t, err, CodeProviderUnavailable); e.Op != "discovery" {
		t.Errorf("error is %v", err)
	}
}

func TestKeySet_RefusesAnswers(t *testing.T) {
	t.Parallel()
	token := sign(head("ES256", "a"), "{}", testKeys().P256)
	for _, row := range []struct {
		status            int
		contentType, body string
		code              Code
	}{
		{200, "application/json", `{"keys":[]}`, ""},
		{200, "application/jwk-set+json", `{"keys":[]}`, ""},
		{200, "application/vnd.example+json; charset=utf-8", `{"keys":[]}`, ""},
		{200, "text/json", `{"keys":[]}`, ""},
		{200, "text/html", `{"keys":[]}`, CodeProviderInvalid},
		{200, "", `{"keys":[]}`, CodeProviderInvalid},
		{200, "application/json", `{"s3cret":[]}`, CodeProviderInvalid},
		{200, "application/json", `{"keys":[` + strings.Repeat(" ", fetch.MaxBody) + `]}`, CodeProviderInvalid},
		{404, "application/json", `{"keys":["s3cret"]}`, CodeProviderInvalid},
		{302, "application/json", `{"keys":[]}`, CodeProviderInvalid},
		{500, "application/json", `{"keys":["s3cret"]}`, CodeProviderUnavailable},
	} {
		s := newOPServer()
		s.setJWKS(respond(row.status, row.contentType, row.body))
		var seen []FetchEvent
		k := s.keySet(Trace{KeysFetched: collect(&seen)})
		_, _, err := k.verify(t.Context(), "ID Token", token, everyAlg)
		if row.code == "" {
			wantRefusal(t, row.contentType, err, "kid")
			continue
		}
		if e := wantCode(t, err, row.code); e.Op != "jwks" || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("error is %v", err)
		}
		if len(seen) != 1 || seen[0].URL != s.issuer+"/jwks" || seen[0].Err != err {
			t.Errorf("events are %+v", seen)
		}
	}
}

func TestKeySet_FetchesFromWhereTheMetadataSaysNow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		keys := testKeys()
		s := newOPServer()
		s.serveMetadata(map[string]any{"jwks_uri": s.issuer + "/elsewhere"})
		k := s.keySet(Trace{})
		token := sign(head("ES256", "a"), "{}", keys.P256)
		_, _, err := k.verify(t.Context(), "ID Token", token, everyAlg)
		wantCode(t, err, CodeProviderInvalid)
		s.serveKeys(jwk(keys.P256, "kid", "a"))
		s.serveMetadata(nil)
		s.clock.Advance(10 * time.Minute)
		_, _, err = k.verify(t.Context(), "ID Token", token, everyAlg) // which has the metadata refreshed
		wantCode(t, err, CodeProviderInvalid)
		synctest.Wait()
		s.clock.Advance(time.Minute)
		wantAccepted(t, "at the new jwks_uri", k, token)
	})
}
