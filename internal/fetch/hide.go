package fetch

import (
	"encoding/base64"
	"encoding/binary"
	"html"
	"net/url"
	"strconv"
	"strings"
)

const (
	// hidden stands for what a request carried in secret.
	hidden = "[hidden]"
	// window is the length, in bytes, from which a part of a secret is hidden too.
	window = 8
	// minSecret is the length of the shortest value that is hidden.
	minSecret = 4
	// maxEscape is the longest spelling of a byte that is undone, such as &#x0002F;.
	maxEscape = 9
	// maxScanned is how much of a text is scanned; the rest is dropped.
	maxScanned = 4 << 10
)

// public are the form parameters whose values may be shown: they are in the
// registration or the configuration, and an error often is about them.
var public = map[string]bool{
	"grant_type": true, "redirect_uri": true, "client_id": true, "scope": true, "resource": true,
	"client_assertion_type": true, "token_type_hint": true, "response_type": true, "response_mode": true,
	"code_challenge_method": true, "prompt": true, "display": true, "ui_locales": true, "acr_values": true,
	"max_age": true, "claims": true,
}

// Hide returns a text of the answer for an error: without what the request carried
// in secret, which some providers repeat, in whole or in part, as it was, encoded
// for a URL or for HTML, or in base64. Cut the text after it, not before: half a secret is not
// found. A text over 4 KiB is cut here.
func (r *Response) Hide(text string) string { return hide(text, secretsOf(r.request)) }

// secretsOf returns what r carries that must not be shown.
func secretsOf(r Request) []string {
	var secrets []string
	for name, values := range r.Form {
		if !public[name] {
			secrets = append(secrets, values...)
		}
	}
	for _, value := range r.Header.Values("Authorization") {
		_, credentials, _ := strings.Cut(value, " ")
		secrets = append(secrets, credentials)
		pair, _ := base64.StdEncoding.DecodeString(credentials)
		if _, password, ok := strings.Cut(string(pair), ":"); ok {
			plain, _ := url.QueryUnescape(password) // RFC 6749 section 2.3.1
			secrets = append(secrets, password, plain)
		}
	}
	return secrets
}

func hide(text string, secrets []string) string {
	end := len(text)
	if end > maxScanned {
		// A secret that begins here could be too short to be found.
		text, end = text[:maxScanned], maxScanned-maxEscape*window
	}
	s := newScan(text)
	for _, secret := range secrets {
		if len(secret) < minSecret {
			continue
		}
		for _, form := range forms(secret) {
			s.mark(form)
		}
	}
	return s.rest(end)
}

// forms returns the spellings of a secret that are looked for.
func forms(secret string) []string {
	list := []string{secret, url.QueryEscape(secret), url.PathEscape(secret)}
	for before := range 3 { // as a part of something longer, base64 depends on where it begins
		text := base64.RawStdEncoding.EncodeToString([]byte("\x00\x00\x00"[:before] + secret))
		text = text[[]int{0, 2, 3}[before]:]
		if (before+len(secret))%3 != 0 {
			text = text[:len(text)-1] // which depends on what follows
		}
		list = append(list, text, strings.NewReplacer("+", "-", "/", "_").Replace(text))
	}
	return list
}

// A scan is a text and what of it is to be hidden. It is looked at as it is, with its
// percent-encoding undone, with that undone twice, and with the references of HTML
// undone.
type scan struct {
	text  string
	hide  []bool // by byte of text
	views []view
	index map[uint64][]span // where each sequence of window bytes is
}

// A view is a reading of a text, and where each of its bytes comes from.
type view struct {
	text string
	from []span
}

type span struct{ start, end int }

func newScan(text string) *scan {
	s := &scan{text: text, hide: make([]bool, len(text)), index: make(map[uint64][]span)}
	plain := view{text: text}
	for i := range len(text) {
		plain.from = append(plain.from, span{i, i + 1})
	}
	once := plain.unescaped()
	s.views = []view{plain, once, once.unescaped(), plain.dereferenced()}
	for _, v := range s.views {
		for i := range len(v.text) - window + 1 {
			key := binary.NativeEndian.Uint64([]byte(v.text[i : i+window]))
			s.index[key] = append(s.index[key], span{v.from[i].start, v.from[i+window-1].end})
		}
	}
	return s
}

// unescaped undoes the percent-encoding of v.
func (v view) unescaped() view {
	var next view
	var b strings.Builder
	for i := 0; i < len(v.text); i++ {
		c, end := v.text[i], i
		if c == '%' && i+2 < len(v.text) {
			if n, err := strconv.ParseUint(v.text[i+1:i+3], 16, 8); err == nil {
				c, end = byte(n), i+2
			}
		}
		b.WriteByte(c)
		next.from = append(next.from, span{v.from[i].start, v.from[end].end})
		i = end
	}
	next.text = b.String()
	return next
}

// dereferenced undoes the character references of HTML in v, such as &amp; and &#43;.
func (v view) dereferenced() view {
	var next view
	var b strings.Builder
	for i := 0; i < len(v.text); i++ {
		text, end := v.text[i:i+1], i
		if name := v.text[i:min(i+maxEscape, len(v.text))]; name[0] == '&' {
			name = name[:strings.IndexByte(name, ';')+1]
			plain := html.UnescapeString(name)
			if strings.LastIndexByte(name, '&') == 0 && len(plain) < len(name) {
				text, end = plain, i+len(name)-1
			}
		}
		for range len(text) {
			next.from = append(next.from, span{v.from[i].start, v.from[end].end})
		}
		b.WriteString(text)
		i = end
	}
	next.text = b.String()
	return next
}

// mark hides form, and every part of it that has window bytes or more.
func (s *scan) mark(form string) {
	if len(form) < window {
		s.markWhole(form)
		return
	}
	for i := range len(form) - window + 1 {
		key := binary.NativeEndian.Uint64([]byte(form[i : i+window]))
		for _, found := range s.index[key] {
			s.cover(found)
		}
		delete(s.index, key) // once is enough
	}
}

func (s *scan) markWhole(form string) {
	if len(form) < minSecret {
		return
	}
	for _, v := range s.views {
		for at := 0; ; at++ {
			i := strings.Index(v.text[at:], form)
			if i < 0 {
				break
			}
			at += i
			s.cover(span{v.from[at].start, v.from[at+len(form)-1].end})
		}
	}
}

func (s *scan) cover(found span) {
	for i := found.start; i < found.end; i++ {
		s.hide[i] = true
	}
}

// rest returns the text up to end, with one word for each part that is hidden.
func (s *scan) rest(end int) string {
	var b strings.Builder
	for i := range end {
		switch {
		case !s.hide[i]:
			b.WriteByte(s.text[i])
		case i == 0 || !s.hide[i-1]:
			b.WriteString(hidden)
		}
	}
	if end < len(s.text) {
		b.WriteString("…")
	}
	return b.String()
}
