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
const sessionFormat = 4

// What a session has, by the bits of the number after the version.
const (
	withTokens = 1 << iota
	withEncryptedIDToken
	withCompressedClaims
	withLine
	withStepUp
	withSID
	withCeiling
	withTokenEnd
	withMarkOfPerson  // there was one before the login
	withMarkOfSession // of the provider
	withRefresh
	allBits = 1<<iota - 1
)

// marshal returns the stored form of s: a version byte, then numbers as
// uvarints and byte strings with their length in front. What a session does not have
// takes no room; what the Client knows or can compute is not stored.
func (s *Session) marshal() []byte { return s.marshalWith(s.claimsBlock(), 0) }

// marshalCompressed is marshal with the claims compressed. Tokens and signatures are
// not: they do not get shorter, and the length of what is compressed together with
// them would say something about them. Very large claims are left as they are.
func (s *Session) marshalCompressed() []byte {
	claims := s.claimsBlock()
	if len(claims) > maxClaimsBlock {
		return s.marshalWith(claims, 0)
	}
	return s.marshalWith(appendBytes(nil, deflated(claims)), withCompressedClaims)
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
	b := make([]byte, 0, 64+len(s.claims.text)+len(s.own.text))
	for _, o := range []*object{&s.header, &s.claims, &s.own} {
		b = appendObject(b, o, s.words)
	}
	return b
}

func appendBytes(b, v []byte) []byte { return append(binary.AppendUvarint(b, uint64(len(v))), v...) }

// marshalWith returns the stored form with a block of claims; with says how it is
// stored.
func (s *Session) marshalWith(claims []byte, with uint64) []byte {
	b := make([]byte, 0, 128+len(claims)+len(s.signature))
	with |= s.has()
	b = binary.AppendUvarint(append(b, sessionFormat), with)
	b = binary.AppendUvarint(b, uint64(max(s.created.UnixMilli(), 0)))
	b = binary.AppendVarint(b, s.seen.Unix()-s.created.Unix())
	for _, n := range s.numbers() {
		if with&n.bit != 0 {
			b = binary.AppendUvarint(b, n.value)
		}
	}
	b = appendBytes(b, []byte(s.id))
	for _, v := range []struct {
		bit  uint64
		text string
	}{{withLine, s.line}, {withStepUp, s.stepUp}, {withSID, s.sid}} {
		if with&v.bit != 0 {
			b = appendBytes(b, []byte(v.text))
		}
	}
	b = append(appendBytes(b, s.signature), claims...)
	if s.tokens == nil {
		return b
	}
	b = appendBytes(b, []byte(s.tokens.AccessToken))
	b = appendBytes(b, []byte(s.tokens.RefreshToken))
	b = binary.AppendUvarint(b, unixOrZero(s.tokens.Expiry))
	return binary.AppendUvarint(b, unixOrZero(s.tokensAt))
}

// has returns the bits of what s has.
func (s *Session) has() (bits uint64) {
	for _, n := range s.numbers() {
		if n.value != 0 {
			bits |= n.bit
		}
	}
	for _, h := range [...]struct {
		bit uint64
		has bool
	}{
		{withTokens, s.tokens != nil}, {withEncryptedIDToken, s.encrypted},
		{withLine, s.line != s.id}, {withStepUp, s.stepUp != ""}, {withSID, s.sid != ""},
	} {
		if h.has {
			bits |= h.bit
		}
	}
	return bits
}

// A storedNumber is a number that is stored if it is not zero.
type storedNumber struct{ bit, value uint64 }

func (s *Session) numbers() [5]storedNumber {
	return [...]storedNumber{
		{withCeiling, unixOrZero(s.ceiling)}, {withTokenEnd, unixOrZero(s.tokenEnd)},
		{withMarkOfPerson, s.before[0]}, {withMarkOfSession, s.before[1]}, {withRefresh, s.renewed},
	}
}

func unixOrZero(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(max(t.Unix(), 1)) // 0 stands for the zero time
}

var (
	errSessionFormat = errors.New("stored in a form that this version does not read")
	errOtherIssuer   = errors.New("of an issuer that is not accepted")
)

// unmarshalSession reads what marshal wrote for a Client with these words. The session
// does not share b's memory.
func unmarshalSession(b []byte, words *vocabulary, lifetime time.Duration) (*Session, error) {
	d := sessionDecoder{rest: b}
	if d.byte() != sessionFormat {
		return nil, errSessionFormat
	}
	s := &Session{lifetime: lifetime, words: words}
	with := d.uvarint()
	s.created = d.milliTime()
	s.seen = time.Unix(s.created.Unix()+d.varint(), 0)
	s.ceiling, s.tokenEnd = d.timeIf(with&withCeiling), d.timeIf(with&withTokenEnd)
	s.before = [2]uint64{d.uvarintIf(with & withMarkOfPerson), d.uvarintIf(with & withMarkOfSession)}
	s.renewed = d.uvarintIf(with & withRefresh)
	s.id = string(d.bytes())
	s.line = s.id
	if with&withLine != 0 {
		s.line = string(d.bytes())
	}
	s.stepUp, s.sid = string(d.bytesIf(with&withStepUp)), string(d.bytesIf(with&withSID))
	s.signature, s.encrypted = bytes.Clone(d.bytes()), with&withEncryptedIDToken != 0
	d.claims(s, with&withCompressedClaims != 0)
	if with&withTokens != 0 {
		s.tokens = &oauth2.Token{
			AccessToken: string(d.bytes()), RefreshToken: string(d.bytes()), TokenType: "Bearer", Expiry: d.time(),
		}
		s.tokensAt = d.time()
	}
	if with&^allBits != 0 || d.failed || len(d.rest) > 0 {
		return nil, errSessionFormat
	}
	return s, nil
}

// maxClaimsBlock bounds claims that are compressed, in bytes before that: every request
// takes them apart again.
const maxClaimsBlock = 64 << 10

// claims reads what claimsBlock wrote.
func (d *sessionDecoder) claims(s *Session, compressed bool) {
	from := d
	if compressed {
		block, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(d.bytes())), maxClaimsBlock+1))
		from = &sessionDecoder{rest: block, failed: err != nil || len(block) > maxClaimsBlock}
	}
	for _, o := range []*object{&s.header, &s.claims, &s.own} {
		*o = from.object(s.words)
	}
	d.failed = d.failed || from.failed || compressed && len(from.rest) > 0
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

func (d *sessionDecoder) varint() int64 {
	u := d.uvarint() // zigzag, as binary.AppendVarint writes it
	return int64(u>>1) ^ -int64(u&1)
}

// The methods whose names end in If read a value that is there if bit is not zero.

func (d *sessionDecoder) uvarintIf(bit uint64) uint64 {
	if bit == 0 {
		return 0
	}
	return d.uvarint()
}

func (d *sessionDecoder) timeIf(bit uint64) time.Time {
	if bit == 0 {
		return time.Time{}
	}
	return d.time()
}

func (d *sessionDecoder) bytesIf(bit uint64) []byte {
	if bit == 0 {
		return nil
	}
	return d.bytes()
}

func (d *sessionDecoder) bytes() []byte {
	n := d.uvarint()
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
