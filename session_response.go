package oidcrp

// This file puts the session's cookies on a response at the moment its header is
// written, and keeps a response that has them out of shared caches.

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
)

// A sessionWriter is the ResponseWriter that the app's handler gets. Only when the
// header is written is it known whether shared caches may store the response.
type sessionWriter struct {
	http.ResponseWriter
	request *http.Request
	cookies *cookies
	others  []*cookies // of the other members of a Group
	log     *slog.Logger

	// pending is what the header shall say about the session, nil for nothing. It
	// is headerWritten from then on. Other goroutines than the handler's record
	// here, and never touch the header.
	pending atomic.Pointer[delivery]
}

// headerWritten takes the place of a delivery for which it is too late.
var headerWritten = new(delivery)

// record makes d part of the header, in place of what was recorded before. It does
// nothing if d is nil, or if the header has been written.
func (w *sessionWriter) record(d *delivery) {
	for d != nil {
		old := w.pending.Load()
		if old == headerWritten {
			return
		}
		d.necessary = d.necessary || old != nil && old.necessary
		if w.pending.CompareAndSwap(old, d) {
			return
		}
	}
}

// begun reports whether the header has been written or the handler has returned.
func (w *sessionWriter) begun() bool { return w.pending.Load() == headerWritten }

// begin completes the header of a response with this status before it is written.
// The cookies that the handler has set itself are newer than what is pending.
func (w *sessionWriter) begin(status int) {
	d := w.pending.Swap(headerWritten)
	if d == headerWritten {
		return
	}
	h := w.Header()
	// A cache merges the header of a 304 into the response that it has stored (RFC
	// 9111 section 4.3.4).
	if d != nil && !w.cookies.setsSession(h) && (d.necessary || status != http.StatusNotModified && !shared(h)) {
		if err := d.on(w.ResponseWriter, w.request); err != nil {
			w.log.WarnContext(w.request.Context(), "could not save a session", "error", err)
		}
	}
	if w.setsAny(h) {
		unshare(h)
		if len(directivesOf(h["Cache-Control"])) == 0 { // a cache may store it all the same
			h.Set("Cache-Control", "private")
		}
	}
}

// finish completes the header of a response to which the handler has written
// nothing. A nil w does nothing.
func (w *sessionWriter) finish() {
	if w != nil {
		w.begin(http.StatusOK)
	}
}

// over returns the ResponseWriter for the handler that the server calls with inner. It
// implements http.Flusher and http.Hijacker if inner does, or what inner unwraps
// to. A nil w returns inner.
func (w *sessionWriter) over(inner http.ResponseWriter) http.ResponseWriter {
	if w == nil {
		return inner
	}
	_, flushes := find[http.Flusher](inner)
	if !flushes {
		_, flushes = find[interface{ FlushError() error }](inner)
	}
	_, hijacks := find[http.Hijacker](inner)
	switch {
	case flushes && hijacks:
		return flushHijackWriter{flushWriter{w}}
	case flushes:
		return flushWriter{w}
	case hijacks:
		return hijackWriter{w}
	}
	return w
}

// find returns the first of w and what it unwraps to that is a T.
func find[T any](w http.ResponseWriter) (found T, ok bool) {
	for {
		if found, ok = w.(T); ok {
			return found, true
		}
		outer, wraps := w.(interface{ Unwrap() http.ResponseWriter })
		if !wraps {
			return found, false
		}
		w = outer.Unwrap()
	}
}

// WriteHeader implements [http.ResponseWriter]. Informational responses, which come
// before the header, have no cookies of the Client.
func (w *sessionWriter) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.begin(status)
	} else if h := w.Header(); w.setsAny(h) {
		all := h["Set-Cookie"]
		defer func() { h["Set-Cookie"] = all }()
		h["Set-Cookie"] = slices.DeleteFunc(slices.Clone(all), w.isOwn)
	}
	w.ResponseWriter.WriteHeader(status)
}

// setsAny reports whether h sets or deletes a cookie of the Client, or of another member
// of its Group.
func (w *sessionWriter) setsAny(h http.Header) bool {
	return slices.ContainsFunc(h["Set-Cookie"], w.isOwn)
}

func (w *sessionWriter) isOwn(set string) bool {
	return w.cookies.isOwn(set) || slices.ContainsFunc(w.others, func(c *cookies) bool { return c.isOwn(set) })
}

// Write implements [http.ResponseWriter].
func (w *sessionWriter) Write(p []byte) (int, error) {
	w.begin(http.StatusOK)
	return w.ResponseWriter.Write(p)
}

// WriteString implements [io.StringWriter].
func (w *sessionWriter) WriteString(s string) (int, error) {
	w.begin(http.StatusOK)
	return io.WriteString(w.ResponseWriter, s)
}

// ReadFrom implements [io.ReaderFrom], so that the server can send a file without
// copying it.
func (w *sessionWriter) ReadFrom(src io.Reader) (int64, error) {
	w.begin(http.StatusOK)
	return io.Copy(w.ResponseWriter, src)
}

// Unwrap is for [http.ResponseController].
func (w *sessionWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// CloseNotify implements the deprecated http.CloseNotifier, without which the Stream
// of gin panics.
func (w *sessionWriter) CloseNotify() <-chan bool {
	if inner, ok := find[interface{ CloseNotify() <-chan bool }](w.ResponseWriter); ok {
		return inner.CloseNotify()
	}
	return nil // which never receives
}

// hijack gives up the connection. Who has it may still send the header, as
// httputil.ReverseProxy does.
func (w *sessionWriter) hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.begin(http.StatusSwitchingProtocols)
	}
	return conn, buffered, err
}

// The writers for what a server's ResponseWriter may implement. Each is a single
// pointer, which an interface holds without an allocation.
type (
	flushWriter       struct{ *sessionWriter }
	hijackWriter      struct{ *sessionWriter }
	flushHijackWriter struct{ flushWriter }
)

// Flush implements [http.Flusher].
func (w flushWriter) Flush() { _ = w.FlushError() }

// FlushError is Flush for [http.ResponseController].
func (w flushWriter) FlushError() error {
	w.begin(http.StatusOK)
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack implements [http.Hijacker].
func (w hijackWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w.hijack() }

// Hijack implements [http.Hijacker].
func (w flushHijackWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w.hijack() }

// shared reports whether a shared cache may store a response with the header h (RFC
// 9111 section 3), if it says anything about caching: a Cache-Control, or a field for
// some caches only (RFC 9213), that does not forbid it.
func shared(h http.Header) bool {
	for name, values := range h {
		if name = strings.ToLower(name); (name == "cache-control" || targeted(name)) && !forbids(name, values) {
			return true
		}
	}
	return false
}

// unshare forbids shared caches to store a response with the header h, which had allowed
// it. Browsers may still store it. The app may have forbidden them to use it without
// asking first; since that directive goes too, no-cache takes its place.
func unshare(h http.Header) {
	if !shared(h) {
		return
	}
	for name, values := range h {
		if lower := strings.ToLower(name); targeted(lower) || lower == "cache-control" && !forbids(lower, values) {
			delete(h, name)
		}
	}
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "private, no-cache")
	}
}

// targeted reports whether a field, named in lower case, tells some shared caches more
// than Cache-Control does, or something else.
func targeted(name string) bool {
	return strings.HasSuffix(name, "-cache-control") || name == "x-accel-expires" ||
		name == "surrogate-control" || name == "edge-control"
}

// forbids reports whether the values of a field forbid shared caches to store the
// response. Empty ones say nothing, and count as if they did: Cache-Control is then
// set to private.
func forbids(name string, values []string) bool {
	directives := directivesOf(values)
	if len(directives) == 0 {
		return true
	}
	if name == "x-accel-expires" {
		return !slices.ContainsFunc(directives, func(d string) bool { return d != "0" })
	}
	// A cache that understands must-understand may ignore no-store beside it (RFC
	// 9111 section 5.2.2.3). With field names, private is about these only (section
	// 5.2.2.7).
	return slices.Contains(directives, "private") ||
		slices.Contains(directives, "no-store") && !slices.Contains(directives, "must-understand")
}

// directivesOf returns the members of a list in lower case. A comma in a quoted string
// does not separate them (RFC 9110 section 5.6.1).
func directivesOf(values []string) (directives []string) {
	add := func(text string) {
		if text = strings.ToLower(strings.TrimSpace(text)); text != "" {
			directives = append(directives, text)
		}
	}
	for _, value := range values {
		start, quoted := 0, false
		for i := 0; i < len(value); i++ {
			switch {
			case quoted && value[i] == '\\':
				i++
			case value[i] == '"':
				quoted = !quoted
			case value[i] == ',' && !quoted:
				add(value[start:i])
				start = i + 1
			}
		}
		add(value[start:])
	}
	return directives
}
