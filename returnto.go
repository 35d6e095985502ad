package oidcrp

// This file decides which pages a login or a logout may lead back to: local
// paths, in a spelling that no browser can misread.

import (
	"net/url"
	"strconv"
	"strings"
)

// maxReturnTo bounds a return path in bytes: a cookie has to carry it, compressed, and
// it is part of URLs.
const maxReturnTo = 4000

// localPath returns p if it is a path on this host, with or without a query, that
// no browser can misread; "" otherwise. Browsers treat a backslash as a slash,
// drop tabs and line ends, and read "//host" as another site; proxies may decode
// "%2f" again.
func localPath(p string) string {
	if len(p) == 0 || len(p) > maxReturnTo || p[0] != '/' ||
		strings.ContainsFunc(p, isControl) || strings.Contains(cutQuery(p), "\\") {
		return ""
	}
	u, err := url.Parse(p)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil {
		return ""
	}
	decoded := cutQuery(p)
	for range 5 {
		if !isPlainPath(decoded) {
			return ""
		}
		next := unescape(decoded)
		if next == decoded {
			return p
		}
		decoded = next
	}
	return "" // encoded too often
}

// whyNoLocalPath says for the log why localPath returned "" for p.
func whyNoLocalPath(p string) string {
	if len(p) > maxReturnTo {
		return "it has more than " + strconv.Itoa(maxReturnTo) + " bytes"
	}
	return "it is not a path of this app"
}

// isPlainPath reports whether p neither names a host nor has dot segments, which a
// browser would resolve into a path that was not checked.
func isPlainPath(p string) bool {
	p = strings.ReplaceAll(p, "\\", "/")
	if strings.HasPrefix(p, "//") || strings.ContainsFunc(p, isControl) {
		return false
	}
	for segment := range strings.SplitSeq(p, "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// unescape decodes what is percent-encoded in s and leaves any other percent
// sign alone, as lenient proxies do.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(v))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func cutQuery(p string) string {
	p, _, _ = strings.Cut(p, "#")
	p, _, _ = strings.Cut(p, "?")
	return p
}

// withParameter adds a query parameter to a path, unless value is empty.
func withParameter(path, name, value string) string {
	if value == "" {
		return path
	}
	separator := "?"
	if strings.Contains(path, "?") {
		separator = "&"
	}
	return path + separator + url.Values{name: {value}}.Encode()
}

func urlPath(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Path
}
