package oidctest

import (
	"bytes"
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// A TransportKind is a way in which the carriage of an answer goes wrong.
type TransportKind string

const (
	HTML        TransportKind = "html"         // 200 with a page
	WrongType   TransportKind = "wrong-type"   // the right answer labelled text/html
	ServerError TransportKind = "server-error" // 500 with a page
	Unavailable TransportKind = "unavailable"  // 503 with Retry-After
	NotFound    TransportKind = "not-found"    // 404
	Empty       TransportKind = "empty"        // 200 without a body
	JSONArray   TransportKind = "json-array"   // the right answer in an array
	Trailing    TransportKind = "trailing"     // the right answer and another one
	Truncated   TransportKind = "truncated"    // the connection ends in the middle
	Redirected  TransportKind = "redirected"   // 307 to another host that has the right answer
	Huge        TransportKind = "huge"         // 100 MB of JSON
	Endless     TransportKind = "endless"      // JSON until the client goes away
	Slow        TransportKind = "slow"         // one byte now and then until the client goes away
	Hanging     TransportKind = "hanging"      // nothing until the client goes away
	GzipBomb    TransportKind = "gzip-bomb"    // 100 MB of JSON in 100 kB
	Deep        TransportKind = "deep"         // JSON that is nested 200,000 times
)

// transportDocs say what the constants say.
var transportDocs = map[TransportKind]string{
	HTML:        "200 with a page",
	WrongType:   "the right answer labelled text/html",
	ServerError: "500 with a page",
	Unavailable: "503 with Retry-After",
	NotFound:    "404",
	Empty:       "200 without a body",
	JSONArray:   "the right answer in an array",
	Trailing:    "the right answer and another one",
	Truncated:   "the connection ends in the middle",
	Redirected:  "307 to another host that has the right answer",
	Huge:        "100 MB of JSON",
	Endless:     "JSON until the client goes away",
	Slow:        "one byte now and then until the client goes away",
	Hanging:     "nothing until the client goes away",
	GzipBomb:    "100 MB of JSON in 100 kB",
	Deep:        "JSON that is nested 200,000 times",
}

// TransportKinds returns every kind.
func TransportKinds() []TransportKind {
	return []TransportKind{HTML, WrongType, ServerError, Unavailable, NotFound, Empty, JSONArray,
		Trailing, Truncated, Redirected, Huge, Endless, Slow, Hanging, GzipBomb, Deep}
}

// Transport returns the fault of an endpoint that answers so. A sound relying party
// gives up within its limits of time and size, and follows no redirect.
func Transport(endpoint string, kind TransportKind) Fault {
	f := Fault{
		Name: endpoint + "/transport-" + string(kind), Doc: transportDocs[kind],
		Endpoint: endpoint, Verdict: Reject,
	}
	if f.serve = transportHandlers[kind]; f.serve != nil {
		return f
	}
	if f.response = transportEdits[kind]; f.response == nil {
		panic("oidctest: no transport kind is called " + string(kind))
	}
	return f
}

const htmlType = "text/html; charset=utf-8"

// The answers that have nothing to do with the right one.
var transportHandlers = map[TransportKind]http.HandlerFunc{
	HTML:        status(http.StatusOK, htmlType, "<!DOCTYPE html><p>Please accept our terms."),
	ServerError: status(http.StatusInternalServerError, htmlType, "<!DOCTYPE html><p>Oops."),
	Unavailable: unavailable,
	NotFound:    status(http.StatusNotFound, "text/plain", "not found"),
	Empty:       status(http.StatusOK, "application/json", ""),
	Redirected:  redirectElsewhere,
	Huge:        func(w http.ResponseWriter, r *http.Request) { spaces(w, r, 100) },
	Endless:     func(w http.ResponseWriter, r *http.Request) { spaces(w, r, -1) },
	Slow:        slow,
	Hanging:     func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	GzipBomb:    gzipBomb,
	Deep: status(http.StatusOK, "application/json",
		`{"x":`+strings.Repeat("[", 200_000)+strings.Repeat("]", 200_000)+"}"),
}

// The answers that are the right one, changed.
var transportEdits = map[TransportKind]func(*Provider, *response){
	WrongType: contentType(htmlType),
	JSONArray: body(func(b []byte) []byte { return append(append([]byte{'['}, b...), ']') }),
	Trailing:  body(func(b []byte) []byte { return append(b[:len(b):len(b)], b...) }),
	Truncated: func(_ *Provider, res *response) { res.truncate = true },
}

func status(code int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(code)
		io.WriteString(w, body)
	}
}

func unavailable(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Retry-After", "120")
	http.Error(w, "try again later", http.StatusServiceUnavailable)
}

const elsewherePath = "/elsewhere"

// redirectElsewhere points to the same server under another name of this host, where
// the provider's own answer waits: a client that follows gets what it wants, and gives
// another host what it carries.
func redirectElsewhere(w http.ResponseWriter, r *http.Request) {
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		host, port = r.Host, "80"
	}
	other := "localhost"
	if host == other {
		other = "127.0.0.1"
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	target := *r.URL
	target.Scheme, target.Host = scheme, net.JoinHostPort(other, port)
	for path := range paths {
		if base, ok := strings.CutSuffix(r.URL.Path, path); ok {
			target.Path = base + elsewherePath + path
		}
	}
	http.Redirect(w, r, target.String(), http.StatusTemporaryRedirect)
}

// megabyte is white space, which JSON allows anywhere.
var megabyte = bytes.Repeat([]byte(" "), 1<<20)

// spaces writes a JSON object of so many megabytes, endless if negative.
func spaces(w http.ResponseWriter, r *http.Request, megabytes int) {
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{"issuer":`)
	for n := 0; n != megabytes && r.Context().Err() == nil; n++ {
		if _, err := w.Write(megabyte); err != nil {
			return
		}
	}
	io.WriteString(w, `"x"}`)
}

// slow never lets an idle timeout strike, and never gets anywhere.
func slow(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, "{")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
			if _, err := io.WriteString(w, " "); err != nil {
				return
			}
		}
	}
}

// gzipBomb repeats one compressed megabyte: gzip members may follow each other (RFC
// 1952 section 2.2).
func gzipBomb(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Encoding", "gzip")
	w.Write(gzipped([]byte(`{"issuer":`)))
	member := gzipped(megabyte)
	for range 100 {
		if _, err := w.Write(member); err != nil {
			return
		}
	}
	w.Write(gzipped([]byte(`"x"}`)))
}

func gzipped(b []byte) []byte {
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	zw.Write(b) // a bytes.Buffer takes everything
	zw.Close()
	return buf.Bytes()
}
