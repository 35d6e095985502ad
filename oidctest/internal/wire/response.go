package wire

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// A Response is an HTTP response before it is written.
type Response struct {
	Status   int
	Header   http.Header
	JSON     map[string]any      // the body; nil: Body is the body
	Body     []byte              // the body if JSON is nil
	Edit     func([]byte) []byte // changes the encoded body; nil: no change
	Claims   map[string]any      // the claims of a UserInfo response that is a JWT
	Truncate bool                // close the connection after half of the body
}

// JSONResponse returns a JSON response that must not be stored (RFC 6749 section 5.1).
func JSONResponse(status int, members map[string]any) Response {
	return Response{Status: status, JSON: members, Header: http.Header{
		"Content-Type":  {"application/json"},
		"Cache-Control": {"no-store"},
		"Pragma":        {"no-cache"},
	}}
}

// ErrorResponse returns an error response (RFC 6749 section 5.2).
func ErrorResponse(status int, code, description string) Response {
	res := JSONResponse(status, map[string]any{"error": code, "error_description": description})
	if status == http.StatusUnauthorized {
		res.Header.Set("WWW-Authenticate", `Basic realm="oidctest"`)
	}
	return res
}

// Write sends the response.
func (res *Response) Write(w http.ResponseWriter) {
	body := res.Body
	if res.JSON != nil {
		body = MustJSON(res.JSON)
	}
	if res.Edit != nil {
		body = res.Edit(body)
	}
	for name, values := range res.Header {
		w.Header()[name] = values
	}
	if res.Truncate {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		body = body[:len(body)/2]
	}
	w.WriteHeader(res.Status)
	w.Write(body) // an error means that the client closed the connection
}

// MustJSON encodes a value built by the provider or by a test. It panics if v cannot
// be encoded.
func MustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("oidctest: encoding JSON: " + err.Error())
	}
	return b
}
