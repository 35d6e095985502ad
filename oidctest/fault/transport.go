package fault

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/oidcrp/oidcrp/oidctest/internal/wire"
)

// A TransportKind is a way in which an HTTP response can be wrong at any endpoint.
type TransportKind string

const (
	HTML        TransportKind = "html"         // 200 with an HTML page
	WrongType   TransportKind = "wrong-type"   // the correct body labelled text/html
	ServerError TransportKind = "server-error" // 500 with an HTML page
	Unavailable TransportKind = "unavailable"  // 503 with Retry-After
	NotFound    TransportKind = "not-found"    // 404
	Empty       TransportKind = "empty"        // 200 without a body
	JSONArray   TransportKind = "json-array"   // the correct body in an array
	Trailing    TransportKind = "trailing"     // the correct body twice
	Truncated   TransportKind = "truncated"    // the connection closes in the middle of the body
	Redirected  TransportKind = "redirected"   // 307 to another host, which has the correct response
	Huge        TransportKind = "huge"         // 100 MB of JSON
	Endless     TransportKind = "endless"      // JSON until the client disconnects
	Slow        TransportKind = "slow"         // a byte every 20 ms until the client disconnects
	Hanging     TransportKind = "hanging"      // nothing until the client disconnects
	GzipBomb    TransportKind = "gzip-bomb"    // 100 MB of JSON in 100 kB
	Deep        TransportKind = "deep"         // JSON nested 200,000 levels deep
	Echo        TransportKind = "echo"         // 400 with an error that repeats the request
)

// TransportKinds returns every kind.
func TransportKinds() []TransportKind {
	return []TransportKind{HTML, WrongType, ServerError, Unavailable, NotFound, Empty, JSONArray,
		Trailing, Truncated, Redirected, Huge, Endless, Slow, Hanging, GzipBomb, Deep, Echo}
}

// Transport returns the fault of that kind at an endpoint, which is one of the Endpoint
// constants of package oidctest. A sound relying party limits the time and the size of
// a response and follows no redirect. Transport panics if the kind is unknown.
func Transport(endpoint string, kind TransportKind) Fault {
	transport, ok := transports[kind]
	if !ok {
		panic("oidctest/fault: unknown transport kind " + string(kind))
	}
	return Fault{
		Name: endpoint + "/transport-" + string(kind), Doc: transport.doc,
		Endpoint: endpoint, Verdict: Reject, carrier: wire.Carry(transport.effect),
	}
}

const htmlType = "text/html; charset=utf-8"

// A transport describes a kind and says how it is done.
type transport struct {
	doc    string
	effect wire.Effect
}

var transports = map[TransportKind]transport{
	HTML: {"the response is 200 with an HTML page", wire.Effect{
		Serve: fixed(http.StatusOK, htmlType, "<!DOCTYPE html><p>Please accept our terms.")}},
	WrongType: {"the correct body is labelled text/html", wire.Effect{
		Response: contentType(htmlType)}},
	ServerError: {"the response is 500 with an HTML page", wire.Effect{
		Serve: fixed(http.StatusInternalServerError, htmlType, "<!DOCTYPE html><p>Oops.")}},
	Unavailable: {"the response is 503 with Retry-After", wire.Effect{
		Serve: unavailable}},
	NotFound: {"the response is 404", wire.Effect{
		Serve: fixed(http.StatusNotFound, "text/plain", "not found")}},
	Empty: {"the response is 200 without a body", wire.Effect{
		Serve: fixed(http.StatusOK, "application/json", "")}},
	JSONArray: {"the correct body is wrapped in an array", wire.Effect{
		Response: body(inArray)}},
	Trailing: {"the correct body appears twice", wire.Effect{
		Response: body(func(b []byte) []byte { return append(b[:len(b):len(b)], b...) })}},
	Truncated: {"the connection closes in the middle of the body", wire.Effect{
		Response: func(res *wire.Response) { res.Truncate = true }}},
	Redirected: {"the response is 307 to another host, which has the correct response", wire.Effect{
		Redirect: true}},
	Huge: {"the body is 100 MB of JSON", wire.Effect{
		Serve: func(w http.ResponseWriter, r *http.Request) { spaces(w, r, 100) }}},
	Endless: {"the body is JSON that does not end until the client disconnects", wire.Effect{
		Serve: func(w http.ResponseWriter, r *http.Request) { spaces(w, r, -1) }}},
	Slow: {"the body is one byte every 20 ms until the client disconnects", wire.Effect{
		Serve: slow}},
	Hanging: {"there is no response until the client disconnects", wire.Effect{
		Serve: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}},
	GzipBomb: {"the body is 100 MB of JSON in 100 kB of gzip", wire.Effect{
		Serve: gzipBomb}},
	Deep: {"the body is JSON nested 200,000 levels deep", wire.Effect{
		Serve: fixed(http.StatusOK, "application/json",
			`{"x":`+strings.Repeat("[", 200_000)+strings.Repeat("]", 200_000)+"}")}},
	Echo: {"the response is 400 with an error that repeats the request, in parts and encoded", wire.Effect{
		Serve: echo}},
}

func fixed(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func unavailable(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Retry-After", "120")
	http.Error(w, "try again later", http.StatusServiceUnavailable)
}

// echo repeats what it gets: whole, its beginning, encoded for a URL and in base64. The
// redirect URI is no secret, and in base64 would look like one.
func echo(w http.ResponseWriter, r *http.Request) {
	var secrets []string
	for _, name := range slices.Sorted(maps.Keys(r.Form)) {
		if name != "redirect_uri" {
			secrets = append(secrets, r.Form[name]...)
		}
	}
	_, credentials, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	id, secret, _ := r.BasicAuth()
	plain, _ := url.QueryUnescape(secret)
	secrets = append(secrets, credentials, id, secret, plain)
	var said []string
	for _, s := range secrets {
		said = append(said, s, s[:min(len(s), 12)], url.QueryEscape(s), base64.StdEncoding.EncodeToString([]byte(s)))
	}
	description := strings.Join(said, " ")
	w.Header().Set("WWW-Authenticate", `Bearer error_description="`+description+`"`)
	res := wire.ErrorResponse(http.StatusBadRequest, "invalid_request", description)
	res.JSON["error_uri"] = "https://op.example/?" + r.Form.Encode()
	res.Write(w)
}

// megabyte is white space, which JSON allows between tokens.
var megabyte = bytes.Repeat([]byte(" "), 1<<20)

// spaces writes a JSON object of that many megabytes; a negative number means no end.
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

// slow writes often enough to avoid every idle timeout.
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

// gzipBomb repeats one compressed megabyte: a gzip file is a sequence of members (RFC
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
	zw.Write(b) // a bytes.Buffer returns no error
	zw.Close()
	return buf.Bytes()
}
