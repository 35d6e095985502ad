package fault

import (
	"regexp"
	"time"

	"github.com/oidcrp/oidcrp/oidctest/internal/wire"
)

// The effects on a token: an ID Token, a UserInfo response or a logout token.

func set(claim string, v any) func(*wire.Token) {
	return func(t *wire.Token) { t.Claims[claim] = v }
}

func drop(claims ...string) func(*wire.Token) {
	return func(t *wire.Token) {
		for _, claim := range claims {
			delete(t.Claims, claim)
		}
	}
}

func rename(claim, to string) func(*wire.Token) {
	return func(t *wire.Token) {
		t.Claims[to] = t.Claims[claim]
		delete(t.Claims, claim)
	}
}

func suffix(claim string) func(*wire.Token) {
	return func(t *wire.Token) {
		s, _ := t.Claims[claim].(string)
		t.Claims[claim] = s + "1"
	}
}

// shift sets a time claim to d after now.
func shift(claim string, d time.Duration) func(*wire.Token) {
	return func(t *wire.Token) { t.Claims[claim] = t.Site.Now().Add(d).Unix() }
}

func header(name string, v any) func(*wire.Token) {
	return func(t *wire.Token) { t.Header[name] = v }
}

func noHeader(name string) func(*wire.Token) {
	return func(t *wire.Token) { delete(t.Header, name) }
}

func payload(edit func([]byte) []byte) func(*wire.Token) {
	return func(t *wire.Token) { t.EditPayload = edit }
}

func arrayAud(t *wire.Token) { t.Claims["aud"] = []string{t.ClientID} }

func algNone(t *wire.Token) {
	t.Alg, t.Key, t.Secret = "none", nil, nil
	t.Header = map[string]any{"alg": "none"}
}

func badSignature(t *wire.Token) {
	t.EditSignature = func(signature []byte) []byte {
		for i := range signature {
			signature[i] ^= 0x5A
		}
		return signature
	}
}

// forged signs with a key of the same type that the provider does not have.
func forged(kid string) func(*wire.Token) {
	return func(t *wire.Token) { forge(t, kid) }
}

func forge(t *wire.Token, kid string) {
	if t.Secret != nil {
		t.Secret = []byte(wire.RandomString(32))
		t.Header["kid"] = kid
		return
	}
	t.SignWith(wire.StrangerKey(t.Alg, kid))
}

func otherAlg(t *wire.Token) { t.SignWith(t.Site.Keys.Other(t.Alg)) }

// The effects on a response.

// members changes the members of a JSON object.
func members(change func(map[string]any)) func(*wire.Response) {
	return func(res *wire.Response) {
		if res.JSON != nil {
			change(res.JSON)
		}
	}
}

func put(name string, v any) func(map[string]any) {
	return func(m map[string]any) { m[name] = v }
}

func remove(name string) func(map[string]any) {
	return func(m map[string]any) { delete(m, name) }
}

func move(name, to string) func(map[string]any) {
	return func(m map[string]any) {
		m[to] = m[name]
		delete(m, name)
	}
}

// body changes the encoded body.
func body(edit func([]byte) []byte) func(*wire.Response) {
	return func(res *wire.Response) { res.Edit = edit }
}

// appendMember adds a member at the end of a JSON object.
func appendMember(member string) func([]byte) []byte {
	return func(b []byte) []byte {
		return append(append(b[:len(b)-1:len(b)-1], ','), member+"}"...)
	}
}

// replaceMember replaces a member's number or literal by text, which need not be how
// Go writes it.
func replaceMember(name, text string) func([]byte) []byte {
	member := regexp.MustCompile(`"` + name + `":[^,}]*`)
	return func(b []byte) []byte {
		return member.ReplaceAllLiteral(b, []byte(`"`+name+`":`+text))
	}
}

func contentType(v string) func(*wire.Response) {
	return func(res *wire.Response) { res.Header.Set("Content-Type", v) }
}

// replace makes the response an error response (RFC 6749 section 5.2).
func replace(status int, code string) func(*wire.Response) {
	return func(res *wire.Response) {
		*res = wire.ErrorResponse(status, code, "this error is a fault of the test provider")
	}
}

// text returns v if it is a string, and "" otherwise.
func text(v any) string {
	s, _ := v.(string)
	return s
}

// inArray wraps a JSON value in an array.
func inArray(b []byte) []byte { return append(append([]byte{'['}, b...), ']') }
