package jose

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	gojose "github.com/go-jose/go-jose/v4"
)

// oddSignatures returns what a forger may try in the place of a signature.
func oddSignatures(signature []byte) map[string][]byte {
	half := len(signature) / 2
	odd := map[string][]byte{
		"the right one": signature,
		"zeros":         make([]byte, len(signature)), // CVE-2022-21449
		"ones":          bytes.Repeat([]byte{0xff}, len(signature)),
		"one byte less": signature[:len(signature)-1],
		"one byte more": append(slices.Clone(signature), 0),
		"a zero before": append([]byte{0}, signature...),
		"a zero inside": slices.Concat(signature[:half], []byte{0}, signature[half:]), // the same numbers
		"halves turned": slices.Concat(signature[half:], signature[:half]),
		"half of it":    signature[:half],
		"a single byte": {1},
	}
	for _, at := range []int{0, half, len(signature) - 1} {
		flipped := slices.Clone(signature)
		flipped[at] ^= 1
		odd[fmt.Sprintf("bit %d", 8*at)] = flipped
	}
	return odd
}

func TestVerify_AgreesWithGoJOSE(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	secret := bytes.Repeat([]byte("s"), 64)
	for algs, key := range map[string]any{
		"RS256 RS384 RS512 PS256 PS384 PS512": keys.rsa, "ES256": keys.p256, "ES384": keys.p384, "ES512": keys.p521,
		"EdDSA": keys.ed, "HS256 HS384 HS512": secret,
	} {
		for _, alg := range strings.Fields(algs) {
			compact := sign(head(alg, "a"), `{"sub":"alice"}`, key)
			end := strings.LastIndexByte(compact, '.') + 1
			signature, err := base64.RawURLEncoding.DecodeString(compact[end:])
			if err != nil {
				t.Fatal(err)
			}
			public := key
			if private, ok := key.(crypto.Signer); ok {
				public = private.Public()
			}
			for what, odd := range oddSignatures(signature) {
				compact := compact[:end] + base64.RawURLEncoding.EncodeToString(odd)
				parsed, err := gojose.ParseSignedCompact(compact, []gojose.SignatureAlgorithm{gojose.SignatureAlgorithm(alg)})
				if err != nil {
					t.Fatal(err)
				}
				_, err = parsed.Verify(public)
				got := parse(t, compact).signedBy(public)
				if got != (err == nil) || got != (what == "the right one") {
					t.Errorf("%s, %s: verified is %t, go-jose says %v", alg, what, got, err)
				}
			}
		}
	}
	if parse(t, sign(head("ES256", "a"), "{}", keys.p256)).signedBy("a key of no known type") {
		t.Error("a key of another type verifies")
	}
}
