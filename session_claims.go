package oidcrp

// This file keeps the claims about the person, and makes one view of those of the ID
// Token and of UserInfo.

import (
	"bytes"
	"cmp"
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/oidcrp/oidcrp/internal/strictjson"
)

// authenticationFacts come from the ID Token alone, whatever UserInfo says:
// they describe the login, not the person, or belong to the token itself.
var authenticationFacts = []string{
	"iss", "sub", "aud", "azp", "acr", "amr", "auth_time", "sid", "nonce",
	"exp", "iat", "nbf", "jti", "at_hash", "c_hash", "session_expiry",
}

// claimGroups are claims that say something together, so they come from one
// source: the address of one and the verification of another would vouch for an
// address that nobody verified. UserInfo is the source if it has the first.
var claimGroups = [][]string{
	{"email", "email_verified"},
	{"phone_number", "phone_number_verified"},
}

// userClaims are the claims of UserInfo that a session keeps. One that the ID Token
// has too is kept there alone.
type userClaims struct {
	own  strictjson.Members
	same []string // the names of those that the ID Token has with the same value, sorted
}

// newUserClaims returns what to keep of UserInfo beside an ID Token: nothing about the
// authentication, and only the claims that keep names, if it is not nil.
func newUserClaims(idToken, userInfo strictjson.Members, keep []string) userClaims {
	var c userClaims
	own := make(strictjson.Members, len(userInfo))
	for name, value := range userInfo {
		switch {
		case !userInfo.Has(name) || isFact(name) || !stores(keep, name):
		case sameJSON(value, idToken[name]):
			c.same = append(c.same, name)
		default:
			own[name] = value
		}
	}
	slices.Sort(c.same)
	c.own = own
	return c
}

// renew returns c, which is of a newer UserInfo, such that it also hides the claims that
// UserInfo had in old and no longer has: the ID Token, which is older, does not bring
// them back.
func (c userClaims) renew(old userClaims) userClaims {
	same := setOf(c.same)
	for _, name := range append(slices.Collect(maps.Keys(old.own)), old.same...) {
		if _, ok := c.own[name]; !ok && !same[name] {
			c.own[name] = json.RawMessage("null")
		}
	}
	return c
}

// setOf returns names as a set: a provider may send thousands.
func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

// setIDToken makes token the ID Token of s, and user the claims of UserInfo. Both have
// been checked.
func (s *Session) setIDToken(token *idToken, user userClaims) {
	header, payload, signature := splitJWS(token.raw)
	s.header, _ = parseObject(string(header))
	claims := string(payload)
	s.claims = newObject(claims, token.members.In(claims))
	s.signature, s.encrypted = signature, token.encrypted
	s.setUser(user)
}

// setUser makes user the claims of UserInfo that s has beside the ID Token.
func (s *Session) setUser(user userClaims) {
	s.own = objectOf(user.own)
	s.claims.members = slices.Clone(s.claims.members)
	same := setOf(user.same)
	for i := range s.claims.members {
		m := &s.claims.members[i]
		m.same = same[s.claims.name(m)]
	}
	s.settle()
}

// user returns the claims of UserInfo that s has.
func (s *Session) user() (user userClaims) {
	user.own = s.own.byName()
	for i := range s.claims.members {
		if m := &s.claims.members[i]; m.same {
			user.same = append(user.same, s.claims.name(m))
		}
	}
	slices.Sort(user.same)
	return user
}

// userMembers returns the claims of UserInfo, of which some are those of the ID Token.
func (s *Session) userMembers() strictjson.Members {
	all := s.own.byName()
	for i := range s.claims.members {
		if m := &s.claims.members[i]; m.same && !s.claims.null(m) {
			all[s.claims.name(m)] = []byte(s.claims.value(m))
		}
	}
	return all
}

// userHas reports whether UserInfo has the claim.
func (s *Session) userHas(name string) bool {
	m := s.claims.find(name)
	return s.own.has(name) || m != nil && m.same
}

func isFact(name string) bool { return slices.Contains(authenticationFacts, name) }

// keeps reports whether a claim about the person is one of keep; nil means all.
func keeps(keep []string, name string) bool { return keep == nil || slices.Contains(keep, name) }

// stores reports whether a claim of UserInfo is stored: one that is kept, or the first of
// a group of which another is kept, since it decides where that comes from.
func stores(keep []string, name string) bool {
	return keeps(keep, name) || slices.ContainsFunc(claimGroups, func(group []string) bool {
		return name == group[0] && slices.ContainsFunc(group, func(other string) bool { return keeps(keep, other) })
	})
}

// sameJSON reports whether a and b differ in insignificant space only; a missing value
// is not the same as any.
func sameJSON(a, b json.RawMessage) bool {
	if a == nil || b == nil || bytes.Equal(a, b) {
		return a != nil && b != nil
	}
	var compactA, compactB bytes.Buffer
	return bytes.ContainsAny(slices.Concat(a, b), " \t\r\n") &&
		json.Compact(&compactA, a) == nil && json.Compact(&compactB, b) == nil && bytes.Equal(compactA.Bytes(), compactB.Bytes())
}

// encodeMembers returns an object as JSON, its names in order.
func encodeMembers(members strictjson.Members) []byte {
	size := len("{}")
	for name, value := range members {
		size += len(`"":,`) + len(name) + len(value)
	}
	b := append(make([]byte, 0, size), '{')
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = appendQuoted(b, name)
		b = append(append(b, ':'), members[name]...)
	}
	return append(b, '}')
}

// appendQuoted appends a name as a JSON string.
func appendQuoted(b []byte, name string) []byte {
	if !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == '"' || r == '\\' }) {
		return append(append(append(b, '"'), name...), '"')
	}
	quoted, _ := json.Marshal(name) // a string
	return append(b, quoted...)
}

// Claims decodes the claims about the person into v, a pointer to a struct or a
// map. The facts of the authentication (iss, sub, aud, azp, acr, amr,
// auth_time, sid, nonce, and the token's own times) come from the ID Token
// alone; every other claim comes from UserInfo or, failing that, from the ID
// Token. email and email_verified come from the same of the two, as do phone_number
// and phone_number_verified; the verified ones are booleans even if the provider
// wrote them as text. A claim that is null is left out. [Sessions.KeepClaims] may
// leave out others. Names match exactly: a field tagged "sub" is never filled by
// "SUB". Otherwise it decodes as encoding/json does; json.Number keeps a number exact.
//
// The claims were merged and checked when the session was made. A call decodes what v
// has fields for, or all of them into a map: some microseconds, and the least for a
// map[string]any. To read one often, keep the result.
//
// Its error is an [*Error]: [CodeInternal] when a claim does not fit into v,
// [CodeNoSession] for a nil Session.
func (s *Session) Claims(v any) error {
	if s == nil {
		return &Error{Op: "claims", Code: CodeNoSession}
	}
	if err := strictjson.DecodeFrom(view{s}, v); err != nil {
		return fail("claims", CodeInternal, err)
	}
	return nil
}

// ClaimsAs returns the claims about the person as a T, a struct or a map. It decodes
// them and returns the errors of [Session.Claims]; with an error, the T may be
// incomplete.
func ClaimsAs[T any](s *Session) (claims T, err error) {
	err = s.Claims(&claims)
	return claims, err
}

// claim decodes one of the claims that Claims knows, or what a JSON Pointer leads to in
// one; nil when it is missing. A number stays as it was written: a float64 would change
// large ones.
func (s *Session) claim(name string) any {
	path := claimPath(name)
	text, ok := view{s}.Find(path[0])
	if !ok {
		return nil
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value any
	_ = decoder.Decode(&value) // valid, or the session would not have been made
	for _, step := range path[1:] {
		members, _ := value.(map[string]any) // an array has no names
		value = members[step]
	}
	return value
}

// claimPath returns the names that lead to a claim: its own, or those of a JSON Pointer
// (RFC 6901 section 4).
func claimPath(name string) []string {
	pointer, ok := strings.CutPrefix(name, "/")
	if !ok {
		return []string{name}
	}
	path := strings.Split(pointer, "/")
	for i, step := range path {
		path[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
	}
	return path
}

// view is the one view of all claims of a session, a [strictjson.Source].
type view struct{ *Session }

func (v view) Find(name string) (value string, ok bool) {
	for _, o := range []*object{&v.claims, &v.own} {
		if m := o.find(name); m != nil && v.shows(m, name) {
			return asBoolean(name, o.value(m)), true
		}
	}
	return "", false
}

func (v view) Members() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, o := range []*object{&v.claims, &v.own} {
			for i := range o.members {
				m := &o.members[i]
				name := o.name(m)
				if v.shows(m, name) && !yield(name, asBoolean(name, o.value(m))) {
					return
				}
			}
		}
	}
}

// settle decides which members the view of all claims has: once, when the session is
// made, and not at each request. It changes the members, which must be s's own.
func (s *Session) settle() {
	own := make(map[string]bool, len(s.own.members))
	for i := range s.own.members {
		m := &s.own.members[i]
		m.hidden = s.own.null(m)
		own[s.own.name(m)] = true
	}
	for i := range s.claims.members {
		m := &s.claims.members[i]
		m.hidden = s.claims.null(m) || own[s.claims.name(m)]
	}
	for _, group := range claimGroups {
		s.settleGroup(group)
	}
}

// settleGroup is settle for claims that come from one source.
func (s *Session) settleGroup(group []string) {
	first := s.own.find(group[0])
	gone := first != nil && s.own.null(first) // UserInfo had it once
	fromUserInfo := s.userHas(group[0])
	for _, name := range group {
		own, claim := s.own.find(name), s.claims.find(name)
		if own != nil && !fromUserInfo {
			own.hidden = true
		}
		if claim != nil {
			switch {
			case gone, fromUserInfo && !s.userHas(name):
				claim.hidden = true
			case !fromUserInfo:
				claim.hidden = s.claims.null(claim)
			}
		}
	}
}

// shows reports whether the view has the member of that name: the provider's decision
// is stored with it, and that of the Config is the one of now.
func (s *Session) shows(m *member, name string) bool {
	return !m.hidden && (s.keep == nil || isFact(name) || keeps(s.keep, name))
}

// asBoolean makes a boolean of "true" and "false": email_verified and
// phone_number_verified are booleans (OIDC Core 5.1), but some providers write
// them as text.
func asBoolean(name, value string) string {
	if name != "email_verified" && name != "phone_number_verified" {
		return value
	}
	text, _ := strictjson.Unquote(value)
	for _, boolean := range []string{"true", "false"} {
		if strings.EqualFold(text, boolean) {
			return boolean
		}
	}
	return value
}

// lean returns s without the ID Token's signature, and with no claim that its view
// does not need. It can no longer be an id_token_hint.
func (s *Session) lean() *Session {
	claims := make(strictjson.Members)
	for i := range s.claims.members {
		m := &s.claims.members[i]
		if name := s.claims.name(m); s.shows(m, name) || m.same {
			claims[name] = []byte(s.claims.value(m))
		}
	}
	next := s.copy()
	next.header, next.signature = object{}, nil
	next.claims = objectOf(claims)
	next.setUser(s.user())
	return next
}

// largestClaims names the claims that take the most room, for the error about
// a session that is too large.
func (s *Session) largestClaims() []string {
	sizes := make(map[string]int)
	for _, o := range []*object{&s.claims, &s.own} {
		for i := range o.members {
			m := &o.members[i]
			sizes[o.name(m)] += len(o.value(m))
		}
	}
	if s.tokens != nil {
		sizes["(access token)"] = len(s.tokens.AccessToken)
		sizes["(refresh token)"] = len(s.tokens.RefreshToken)
	}
	names := slices.SortedFunc(maps.Keys(sizes), func(a, b string) int {
		return cmp.Or(sizes[b]-sizes[a], strings.Compare(a, b))
	})
	names = names[:min(len(names), 3)]
	for i, name := range names {
		names[i] = clean(name, 100)
	}
	return names
}
