package oidcrp

// This file holds the JSON objects of a session: the header and the claims of its ID
// Token, and the claims of UserInfo.

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/oidcrp/oidcrp/internal/strictjson"
)

// An object is a JSON object with its text and its members in the order of the text,
// each name once. It is read-only. The zero value is none.
type object struct {
	text    string
	escaped string // the names that the text has with escapes, one after the other
	members []member
}

// A member is a member of an object. It has no pointers: a process keeps many.
type member struct {
	name, value span
	escaped     bool // name is a part of the object's escaped, not of its text
	hidden      bool // the one view of all claims does not have it
	same        bool // of the ID Token: UserInfo has it too, with the same value
}

// A span is a part of a text, in bytes.
type span struct{ start, end uint32 }

func spanOf(start, length int) span { return span{uint32(start), uint32(start + length)} }

func (s span) in(text string) string { return text[s.start:s.end] }

// parseObject reads the text of an object; an empty one is none.
func parseObject(text string) (object, error) {
	if text == "" {
		return object{}, nil
	}
	list, err := strictjson.Ordered(text)
	if err != nil {
		return object{}, err
	}
	return newObject(text, list), nil
}

// newObject returns the object with this text, of which list are the members.
func newObject(text string, list []strictjson.Member) object {
	o := object{text: text, members: make([]member, len(list))}
	for i := range list {
		from, m := &list[i], &o.members[i]
		m.name, m.value = spanOf(from.NameAt, len(from.Name)), spanOf(from.ValueAt, len(from.Value))
		if m.escaped = from.NameAt < 0; m.escaped {
			m.name = spanOf(len(o.escaped), len(from.Name))
			o.escaped += from.Name
		}
	}
	return o
}

// name returns the name of a member, without escapes.
func (o *object) name(m *member) string {
	if m.escaped {
		return m.name.in(o.escaped)
	}
	return m.name.in(o.text)
}

// value returns the JSON text of the value of a member.
func (o *object) value(m *member) string { return m.value.in(o.text) }

// objectOf returns the object with these members; none if there are none.
func objectOf(members strictjson.Members) object {
	if len(members) == 0 {
		return object{}
	}
	text := string(encodeMembers(members))
	return newObject(text, members.In(text))
}

// plain reports whether the text is that of the members alone: it can be made of them.
func (o *object) plain() bool {
	rest, ok := strings.CutPrefix(o.text, "{")
	for i := range o.members {
		m := &o.members[i]
		for _, part := range [...]string{`"`, o.name(m), `":`, o.value(m), ","} {
			if part == "," && i == len(o.members)-1 {
				break
			}
			if !strings.HasPrefix(rest, part) {
				return false
			}
			rest = rest[len(part):]
		}
	}
	return ok && rest == "}"
}

// find returns the member of that name, nil if there is none.
func (o *object) find(name string) *member {
	for i := range o.members {
		if m := &o.members[i]; o.name(m) == name {
			return m
		}
	}
	return nil
}

// has reports whether o has a member of that name that is not null.
func (o *object) has(name string) bool {
	m := o.find(name)
	return m != nil && !o.null(m)
}

// size is about how many bytes o takes in memory.
func (o *object) size() int {
	return len(o.text) + len(o.escaped) + int(unsafe.Sizeof(member{}))*len(o.members)
}

func (o *object) null(m *member) bool { return o.value(m) == "null" }

// string returns the member of that name if it is a string, else "".
func (o *object) string(name string) string {
	if m := o.find(name); m != nil {
		text, _ := strictjson.Unquote(o.value(m))
		return text
	}
	return ""
}

// one returns the member of that name alone, to be read by its type.
func (o *object) one(name string) strictjson.Members {
	m := o.find(name)
	if m == nil {
		return nil
	}
	return strictjson.Members{name: []byte(o.value(m))}
}

// byName returns the members by their names.
func (o *object) byName() strictjson.Members {
	all := make(strictjson.Members, len(o.members))
	for i := range o.members {
		m := &o.members[i]
		all[o.name(m)] = []byte(o.value(m))
	}
	return all
}

// knownNames are names that are stored as one byte: their position here, from 1. It is
// part of the format: append only.
var knownNames = [...]string{
	"alg", "kid", "typ", // of the header
	"iss", "sub", "aud", "azp", "exp", "iat", "nbf", "jti", "auth_time", "nonce", "acr", "amr", "sid", "at_hash", "c_hash",
	"session_expiry", "session_state", "s_hash", "ver", "tid", "oid", "idp", "scope", "client_id", "events",
	"name", "given_name", "family_name", "middle_name", "nickname", "preferred_username", "profile", "picture", "website",
	"email", "email_verified", "gender", "birthdate", "birthplace", "birthcountry", "zoneinfo", "locale",
	"phone_number", "phone_number_verified", "address", "updated_at", "groups", "roles", "realm_access", "resource_access",
	"usual_name", "uid", "siret", "siren", "organizational_unit", "belonging_population", "phone", "idp_id", "idp_acr",
	"is_service_public", "is_public_service", "chorusdt", "custom", "upn", "unique_name", "hd", "is_private_email",
}

// The kinds of a stored value. They take four bits of a byte, and the marks of the
// member two others.
const (
	rawValue       = iota // the JSON text
	stringValue           // the text of a string as JSON has it, without the quotes
	numberValue           // a positive whole number
	trueValue             //
	falseValue            //
	issuerValue           // the Client's issuer, as a string
	clientIDValue         // the client id, as a string
	clientIDsValue        // an array of the client id

	kinds        = 0x0f
	memberHidden = 0x10
	memberSame   = 0x20
)

// A vocabulary holds the texts that most sessions of a Client contain, so that they are
// not stored.
type vocabulary struct{ issuer, clientID, clientIDs string } // as JSON

func newVocabulary(issuer, clientID string) *vocabulary {
	id := string(appendQuoted(nil, clientID))
	return &vocabulary{issuer: string(appendQuoted(nil, issuer)), clientID: id, clientIDs: "[" + id + "]"}
}

// appendObject appends the stored form of o: the number of its members and one more,
// and each by the code of its name and its kind. What would not be read back byte for
// byte is stored as it is, after a zero: an ID Token's signature is over its text.
func appendObject(b []byte, o *object, v *vocabulary) []byte {
	start := len(b)
	b = binary.AppendUvarint(b, uint64(len(o.members))+1)
	for i := range o.members {
		m := &o.members[i]
		b = appendMember(b, o.name(m), o.value(m), m.marks(), v)
	}
	asItIs := appendBytes([]byte{0}, []byte(o.text))
	for i := range o.members {
		asItIs = append(asItIs, o.members[i].marks())
	}
	if !o.plain() || len(b)-start > len(asItIs) {
		return append(b[:start], asItIs...)
	}
	return b
}

func appendMember(b []byte, name, value string, mark byte, v *vocabulary) []byte {
	code := slices.Index(knownNames[:], name) + 1
	b = append(b, byte(code))
	if code == 0 {
		b = appendBytes(b, []byte(name))
	}
	number, whole := wholeNumber(value)
	switch {
	case value == v.issuer:
		return append(b, issuerValue|mark)
	case value == v.clientID:
		return append(b, clientIDValue|mark)
	case value == v.clientIDs:
		return append(b, clientIDsValue|mark)
	case value == "true":
		return append(b, trueValue|mark)
	case value == "false":
		return append(b, falseValue|mark)
	case whole:
		return binary.AppendUvarint(append(b, numberValue|mark), number)
	case strings.HasPrefix(value, `"`) && len(value) > 1:
		return appendBytes(append(b, stringValue|mark), []byte(value[1:len(value)-1]))
	}
	return appendBytes(append(b, rawValue|mark), []byte(value))
}

// wholeNumber returns value as a number if it is one that is read back as the same text.
func wholeNumber(value string) (n uint64, ok bool) {
	if value == "" || value[0] < '0' || value[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(value, 10, 64)
	return n, err == nil && strconv.FormatUint(n, 10) == value
}

func (m *member) marks() (b byte) {
	if m.hidden {
		b |= memberHidden
	}
	if m.same {
		b |= memberSame
	}
	return b
}

func (m *member) setMarks(b byte) { m.hidden, m.same = b&memberHidden != 0, b&memberSame != 0 }

// object reads what appendObject wrote.
func (d *sessionDecoder) object(v *vocabulary) object {
	n := d.uvarint()
	if n == 0 {
		return d.rawObject()
	}
	if n--; n > uint64(len(d.rest)) {
		d.failed = true
		return object{}
	}
	size, again := 2, *d // first, how long the text is
	for range n {
		m := again.member(v)
		size += m.size()
	}
	if again.failed {
		d.failed = true
		return object{}
	}
	return d.members(make([]member, n), size, v)
}

// members reads members whose text has at most size bytes.
func (d *sessionDecoder) members(members []member, size int, v *vocabulary) object {
	var text strings.Builder
	text.Grow(size)
	text.WriteByte('{')
	for i := range members {
		if i > 0 {
			text.WriteByte(',')
		}
		m, stored := &members[i], d.member(v)
		text.WriteByte('"')
		start := text.Len()
		text.WriteString(stored.known)
		text.Write(stored.name)
		m.name = spanOf(start, text.Len()-start)
		text.WriteString(`":`)
		start = text.Len()
		stored.writeValue(&text)
		m.value = spanOf(start, text.Len()-start)
		m.setMarks(stored.marks)
	}
	text.WriteByte('}')
	return object{text: text.String(), members: members}
}

// rawObject reads an object that is stored as it is.
func (d *sessionDecoder) rawObject() object {
	o, err := parseObject(string(d.bytes()))
	if err != nil {
		d.failed = true
		return object{}
	}
	for i := range o.members {
		o.members[i].setMarks(d.byte())
	}
	return o
}

// A storedMember is a member as it is stored.
type storedMember struct {
	known       string // the name, if it is one of knownNames
	name        []byte // any other
	kind, marks byte
	text        []byte // of rawValue and stringValue
	constant    string // of the kinds that say it all
	number      uint64
}

func (d *sessionDecoder) member(v *vocabulary) (m storedMember) {
	switch code := int(d.byte()); {
	case code == 0:
		m.name = d.bytes()
	case code <= len(knownNames):
		m.known = knownNames[code-1]
	default:
		d.failed = true
	}
	m.marks = d.byte()
	m.kind = m.marks & kinds
	switch m.kind {
	case rawValue, stringValue:
		m.text = d.bytes()
	case numberValue:
		m.number = d.uvarint()
	case trueValue:
		m.constant = "true"
	case falseValue:
		m.constant = "false"
	case issuerValue:
		m.constant = v.issuer
	case clientIDValue:
		m.constant = v.clientID
	case clientIDsValue:
		m.constant = v.clientIDs
	default:
		d.failed = true
	}
	return m
}

const maxDigits = 20

// size is at least how many bytes the member takes in the text of its object, and few
// more: the text is kept with this room.
func (m *storedMember) size() int {
	size := len(m.known) + len(m.name) + len(m.text) + len(m.constant) + len(`"":"",`)
	if m.kind == numberValue {
		size += bits.Len64(m.number)*1233>>12 + 1 // 1233/4096 is log10(2)
	}
	return size
}

// writeValue writes the JSON text of the value.
func (m *storedMember) writeValue(to *strings.Builder) {
	switch m.kind {
	case stringValue:
		to.WriteByte('"')
		to.Write(m.text)
		to.WriteByte('"')
	case numberValue:
		var digits [maxDigits]byte
		to.Write(strconv.AppendUint(digits[:0], m.number, 10))
	default:
		to.Write(m.text)
		to.WriteString(m.constant)
	}
}
