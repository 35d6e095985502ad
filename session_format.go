package oidcrp

// This file holds the stored form of a session.

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"
	"time"

	"golang.org/x/oauth2"
)

// The version of the stored form of a session. A reader refuses an unknown
// version: the session then ends, and the person signs in again.
const sessionFormat = 3

// The bits of the byte before the tokens. Without that byte, a session that was cut
// off there would still be valid.
const (
	withTokens = 1 << iota
	withEncryptedIDToken
	withCompressedClaims
)

// marshal returns the stored form of s: a version byte, then numbers as
// uvarints and byte strings with their length in front.
func (s *Session) marshal() []byte { return s.marshalWith(s.claimsBlock(), 0) }

// marshalCompressed is marshal with the claims compressed. Tokens and signatures are
// not: they do not get shorter, and the length of what is compressed together with
// them would say something about them. Very large claims are left as they are.
func (s *Session) marshalCompressed() []byte {
	claims := s.claimsBlock()
	if len(claims) > maxClaimsBlock {
		return s.marshalWith(claims, 0)
	}
	return s.marshalWith(deflated(claims), withCompressedClaims)
}

func deflated(data []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression) // the level exists
	_, _ = w.Write(data)                               // to memory
	_ = w.Close()
	return b.Bytes()
}

// claimsBlock returns the claims of s in their stored form.
func (s *Session) claimsBlock() []byte {
	b := make([]byte, 0, 64+len(s.idToken.payload)+len(s.user.own))
	b = appendBytes(b, s.idToken.payload)
	b = appendBytes(b, s.user.own)
	for _, name := range s.user.same {
		b = appendBytes(b, []byte(name))
	}
	return b
}

func appendBytes(b, v []byte) []byte { return append(binary.AppendUvarint(b, uint64(len(v))), v...) }

// marshalWith returns the stored form with a block of claims; with says how it is
// stored.
func (s *Session) marshalWith(claims []byte, with byte) []byte {
	b := make([]byte, 0, 512+len(claims)+len(s.idToken.signature))
	b = append(b, sessionFormat)
	b = append(b, s.issuer[:]...)
	b = binary.AppendUvarint(b, uint64(max(s.created.UnixMilli(), 0)))
	for _, t := range []time.Time{s.seen, s.ceiling, s.tokenEnd} {
		b = binary.AppendUvarint(b, unixOrZero(t))
	}
	for _, key := range s.marks {
		b = append(b, key[:]...)
	}
	for _, at := range []uint64{s.before[0], s.before[1], s.renewed} {
		b = binary.AppendUvarint(b, at)
	}
	for _, v := range [][]byte{
		[]byte(s.id), []byte(s.lineIfOther()), []byte(s.stepUp), s.idToken.header, s.idToken.signature, claims,
	} {
		b = appendBytes(b, v)
	}
	if s.encrypted {
		with |= withEncryptedIDToken
	}
	if s.tokens == nil {
		return append(b, with)
	}
	b = append(b, with|withTokens)
	b = appendBytes(b, []byte(s.tokens.AccessToken))
	b = appendBytes(b, []byte(s.tokens.RefreshToken))
	b = binary.AppendUvarint(b, unixOrZero(s.tokens.Expiry))
	return binary.AppendUvarint(b, unixOrZero(s.tokensAt))
}

// lineIfOther is the line of s, "" if s began it.
func (s *Session) lineIfOther() string {
	if s.line == s.id {
		return ""
	}
	return s.line
}

func unixOrZero(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(max(t.Unix(), 1)) // 0 stands for the zero time
}

var (
	errSessionFormat = errors.New("stored in a form that this version does not read")
	errOtherIssuer   = errors.New("of a Client with another issuer")
)

// unmarshalSession reads what marshal wrote. The session shares b's memory.
func unmarshalSession(b []byte, lifetime time.Duration) (*Session, error) {
	d := sessionDecoder{rest: b}
	if d.byte() != sessionFormat {
		return nil, errSessionFormat
	}
	s := &Session{lifetime: lifetime}
	copy(s.issuer[:], d.take(uint64(len(s.issuer))))
	s.created = d.milliTime()
	s.seen, s.ceiling, s.tokenEnd = d.time(), d.time(), d.time()
	for i := range s.marks {
		copy(s.marks[i][:], d.take(uint64(len(s.marks[i]))))
	}
	s.before[0], s.before[1], s.renewed = d.uvarint(), d.uvarint(), d.uvarint()
	s.id, s.line, s.stepUp = string(d.bytes()), string(d.bytes()), string(d.bytes())
	if s.line == "" {
		s.line = s.id
	}
	s.idToken = storedJWS{header: d.bytes(), signature: d.bytes()}
	claims := d.bytes()
	with := d.byte()
	s.encrypted = with&withEncryptedIDToken != 0
	if with&withTokens != 0 {
		s.tokens = &oauth2.Token{
			AccessToken: string(d.bytes()), RefreshToken: string(d.bytes()), TokenType: "Bearer", Expiry: d.time(),
		}
		s.tokensAt = d.time()
	}
	if with&^(withTokens|withEncryptedIDToken|withCompressedClaims) != 0 || d.failed || len(d.rest) > 0 ||
		!s.readClaims(claims, with&withCompressedClaims != 0) {
		return nil, errSessionFormat
	}
	s.decodeLater()
	return s, nil
}

// maxClaimsBlock bounds claims that are compressed, in bytes before that: every request
// takes them apart again.
const maxClaimsBlock = 64 << 10

// readClaims reads what claimsBlock wrote, and reports whether it can be read.
func (s *Session) readClaims(block []byte, compressed bool) bool {
	if compressed {
		var err error
		block, err = io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(block)), maxClaimsBlock+1))
		if err != nil || len(block) > maxClaimsBlock {
			return false
		}
	}
	d := sessionDecoder{rest: block}
	s.idToken.payload = d.bytes()
	if s.user.own = d.bytes(); len(s.user.own) == 0 {
		s.user.own = nil
	}
	for len(d.rest) > 0 {
		s.user.same = append(s.user.same, string(d.bytes()))
	}
	return !d.failed
}

// sessionDecoder reads from rest until a value does not fit.
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
