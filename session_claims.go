package oidcrp

// This file keeps the claims about the person, and makes one view of those of the ID
// Token and of UserInfo.

import (
	"bytes"
	"cmp"
	"encoding/json"
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
	own  []byte   // a JSON object; nil if there are none
	same []string // the names of those that the ID Token has with the same value
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
	if len(own) > 0 {
		c.own = encodeMembers(own)
	}
	return c
}

// renew returns c, which is of a newer UserInfo, such that it also hides the claims that
// UserInfo had in old and no longer has: the ID Token, which is older, does not bring
// them back.
func (c userClaims) renew(old userClaims) userClaims {
	before, _ := strictjson.Object(old.own) // nil if there are none
	own, _ := strictjson.Object(c.own)
	gone := false
	for _, name := range append(slices.Collect(maps.Keys(before)), old.same...) {
		if _, ok := own[name]; ok || slices.Contains(c.same, name) {
			continue
		}
		if own == nil {
			own = make(strictjson.Members)
		}
		own[name], gone = json.RawMessage("null"), true
	}
	if gone {
		c.own = encodeMembers(own)
	}
	return c
}

// has reports whether UserInfo has the claim; own are the members of c.own.
func (c userClaims) has(own strictjson.Members, name string) bool {
	return own.Has(name) || slices.Contains(c.same, name)
}

// members returns the claims of UserInfo, of which some are in idToken.
func (c userClaims) members(idToken strictjson.Members) strictjson.Members {
	all := make(strictjson.Members)
	if own, err := strictjson.Object(c.own); err == nil {
		maps.Copy(all, own)
	}
	for _, name := range c.same {
		if idToken.Has(name) {
			all[name] = idToken[name]
		}
	}
	return all
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
// Its error is an [*Error]: [CodeInternal] when a claim does not fit into v,
// [CodeNoSession] for a nil Session.
func (s *Session) Claims(v any) error {
	if s == nil {
		return &Error{Op: "claims", Code: CodeNoSession}
	}
	merged, err := s.merged()
	if err == nil {
		err = strictjson.Decode(merged, v)
	}
	if err != nil {
		return fail("claims", CodeInternal, err)
	}
	return nil
}

// claim decodes one of the claims that Claims knows; nil when it is missing. A
// number stays as it was written: a float64 would change large ones.
func (s *Session) claim(name string) any {
	merged, err := s.merged()
	if err != nil || !merged.Has(name) {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(merged[name]))
	decoder.UseNumber()
	var value any
	_ = decoder.Decode(&value) // valid, or merged had failed
	return value
}

// merged returns the one view of all claims.
func (s *Session) merged() (strictjson.Members, error) {
	merged, err := s.asWritten()
	for _, group := range claimGroups {
		booleanClaim(merged, group[1])
	}
	return merged, err
}

// asWritten is merged with every value as the provider wrote it.
func (s *Session) asWritten() (strictjson.Members, error) {
	merged, err := strictjson.Object(s.idToken.payload)
	if err != nil {
		return nil, err
	}
	own := make(strictjson.Members)
	if s.user.own != nil {
		if own, err = strictjson.Object(s.user.own); err != nil {
			return nil, err
		}
	}
	for _, group := range claimGroups {
		_, gone := own[group[0]] // null: UserInfo had it once
		gone = gone && !own.Has(group[0])
		fromUserInfo := s.user.has(own, group[0])
		for _, name := range group {
			switch {
			case gone:
				delete(own, name)
				delete(merged, name)
			case !fromUserInfo:
				delete(own, name)
			case !s.user.has(own, name):
				delete(merged, name)
			}
		}
	}
	maps.Copy(merged, own)
	maps.DeleteFunc(merged, func(name string, _ json.RawMessage) bool {
		return !merged.Has(name) || !isFact(name) && !keeps(s.keep, name)
	})
	return merged, nil
}

// booleanClaim makes a boolean of "true" and "false": email_verified and
// phone_number_verified are booleans (OIDC Core 5.1), but some providers write
// them as text.
func booleanClaim(claims strictjson.Members, name string) {
	text, _, err := claims.String(name)
	if err != nil {
		return
	}
	for _, value := range []string{"true", "false"} {
		if strings.EqualFold(text, value) {
			claims[name] = json.RawMessage(value)
		}
	}
}

// lean returns s without the ID Token's signature, and with no claim that its view
// does not need. It can no longer be an id_token_hint.
func (s *Session) lean() *Session {
	view, err := s.asWritten()
	if err != nil {
		return s
	}
	claims, _ := strictjson.Object(s.idToken.payload) // as asWritten has read it
	maps.DeleteFunc(claims, func(name string, value json.RawMessage) bool {
		return !bytes.Equal(value, view[name]) && !slices.Contains(s.user.same, name)
	})
	next := s.copy()
	next.idToken = storedJWS{payload: encodeMembers(claims)}
	return next
}

// largestClaims names the claims that take the most room, for the error about
// a session that is too large.
func (s *Session) largestClaims() []string {
	sizes := make(map[string]int)
	for _, object := range [][]byte{s.idToken.payload, s.user.own} {
		members, _ := strictjson.Object(object)
		for name, value := range members {
			sizes[name] += len(value)
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
