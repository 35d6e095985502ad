package seal

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

func randomKey(t testing.TB) []byte {
	t.Helper()
	k := make([]byte, KeySize)
	rand.Read(k)
	return k
}

func newRing(t testing.TB, keys ...[]byte) *Ring {
	t.Helper()
	r, err := NewRing(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOpenReturnsWhatWasSealed(t *testing.T) {
	t.Parallel()
	r := newRing(t, randomKey(t))
	for _, plaintext := range []string{"", "x", strings.Repeat("long ", 5000)} {
		text := r.SealString([]byte(plaintext), []byte("here"))
		got, err := r.OpenString(text, []byte("here"))
		if err != nil || string(got) != plaintext {
			t.Errorf("OpenString = %.20q, %v; want %.20q", got, err, plaintext)
		}
	}
}

func TestSealNeverRepeatsItself(t *testing.T) {
	t.Parallel()
	r := newRing(t, randomKey(t))
	if a, b := r.SealString([]byte("x"), nil), r.SealString([]byte("x"), nil); a == b {
		t.Error("the same plaintext was sealed to the same text twice")
	}
}

func TestEveryKeyOfTheRingOpensAndTheFirstSeals(t *testing.T) {
	t.Parallel()
	older, newer := randomKey(t), randomKey(t)
	before, during, after := newRing(t, older), newRing(t, newer, older), newRing(t, newer)

	old := before.SealString([]byte("x"), nil)
	if _, err := during.OpenString(old, nil); err != nil {
		t.Errorf("a value of the older key does not open during rotation: %v", err)
	}
	if _, err := after.OpenString(during.SealString([]byte("x"), nil), nil); err != nil {
		t.Errorf("the rotated ring did not seal with its newest key: %v", err)
	}
	if _, err := after.OpenString(old, nil); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("a value of a retired key: err = %v, want ErrUnknownKey", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	r := newRing(t, randomKey(t))
	sealed := r.Seal([]byte("payload"), []byte("cookie"))
	flip := func(i int) []byte {
		b := bytes.Clone(sealed)
		b[i] ^= 1
		return b
	}
	for _, tt := range []struct {
		name       string
		sealed     []byte
		associated string
		want       error
	}{
		{"nothing", nil, "cookie", ErrFormat},
		{"a header that is cut off", sealed[:4], "cookie", ErrFormat},
		{"another version", flip(0), "cookie", ErrVersion},
		{"another key id", flip(1), "cookie", ErrUnknownKey},
		{"another nonce", flip(5), "cookie", ErrTampered},
		{"another ciphertext", flip(17), "cookie", ErrTampered},
		{"another tag", flip(len(sealed) - 1), "cookie", ErrTampered},
		{"a header alone", sealed[:5], "cookie", ErrTampered},
		{"a value that lacks its end", sealed[:len(sealed)-1], "cookie", ErrTampered},
		{"a value made for another place", bytes.Clone(sealed), "other", ErrTampered},
	} {
		if got, err := r.Open(tt.sealed, []byte(tt.associated)); !errors.Is(err, tt.want) || got != nil {
			t.Errorf("%s: Open = %q, %v; want %v", tt.name, got, err, tt.want)
		}
	}
}

func TestOpenStringTakesOneSpellingOnly(t *testing.T) {
	t.Parallel()
	r := newRing(t, randomKey(t))
	sealed := r.Seal([]byte("pay"), nil)
	for _, text := range []string{
		"", "!!", base64.StdEncoding.EncodeToString(sealed) + "=", base64.RawURLEncoding.EncodeToString(sealed) + "\n",
	} {
		if _, err := r.OpenString(text, nil); err == nil {
			t.Errorf("OpenString(%q) was accepted", text)
		}
	}
}

func TestStringSizeIsThatOfSealString(t *testing.T) {
	t.Parallel()
	ring := newRing(t, randomKey(t))
	for size := range 100 {
		if got, want := StringSize(size), len(ring.SealString(make([]byte, size), nil)); got != want {
			t.Errorf("StringSize(%d) = %d, want %d", size, got, want)
		}
	}
}

func TestNewRingRefusesKeysOfAnotherLength(t *testing.T) {
	t.Parallel()
	for _, keys := range [][][]byte{nil, {nil}, {make([]byte, 31)}, {randomKey(t), make([]byte, 16)}} {
		if _, err := NewRing(keys...); err == nil {
			t.Errorf("NewRing accepted %d keys, the last of %d bytes", len(keys), len(keys[max(0, len(keys)-1):]))
		}
	}
}

func TestDeriveNeedsTheKeyTheSecretAndTheLabel(t *testing.T) {
	t.Parallel()
	old, key := randomKey(t), randomKey(t)
	derive := func(secret, label string, keys ...[]byte) *Ring {
		r, err := newRing(t, keys...).Derive([]byte(secret), label)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	sealed := derive("secret", "a", key).Seal([]byte("plain"), nil)
	for what, r := range map[string]*Ring{
		"the same": derive("secret", "a", key), "a ring with a newer key": derive("secret", "a", old, key),
	} {
		if plain, err := r.Open(sealed, nil); err != nil || string(plain) != "plain" {
			t.Errorf("%s opened %q, %v", what, plain, err)
		}
	}
	for what, r := range map[string]*Ring{
		"another secret": derive("secreT", "a", key), "another label": derive("secret", "b", key),
		"another key": derive("secret", "a", old), "the key itself": newRing(t, key), "no secret": derive("", "a", key),
	} {
		if _, err := r.Open(sealed, nil); err == nil {
			t.Errorf("%s opened it", what)
		}
	}
}

func FuzzOpen(f *testing.F) {
	r := newRing(f, bytes.Repeat([]byte{7}, KeySize))
	f.Add("")
	f.Add("AQ")
	f.Add(strings.Repeat("A", 60))
	f.Fuzz(func(t *testing.T, text string) {
		if plaintext, err := r.OpenString(text, []byte("fuzz")); err == nil {
			t.Errorf("a value that nobody sealed opened to %q", plaintext)
		}
	})
}
