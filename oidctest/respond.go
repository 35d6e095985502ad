package oidctest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// An oauthError is an error response (RFC 6749 sections 4.1.2.1 and 5.2).
type oauthError struct {
	Code        string
	Description string
	Status      int // empty: 400
}

func (e *oauthError) Error() string { return e.Code + ": " + e.Description }

func failure(code, description string) *oauthError {
	return &oauthError{Code: code, Description: description}
}

func badClient(description string) *oauthError {
	return &oauthError{Code: "invalid_client", Description: description,
		Status: http.StatusUnauthorized}
}

func serverFailure(err error) *oauthError {
	return &oauthError{Code: "server_error", Description: err.Error(),
		Status: http.StatusInternalServerError}
}

func invalidRequest(description string) *oauthError {
	return failure("invalid_request", description)
}

// jsonResponse is the form of every JSON answer that must not be stored (RFC 6749
// section 5.1).
func jsonResponse(status int, members map[string]any) *response {
	return &response{status: status, json: members, header: http.Header{
		"Content-Type":  {"application/json"},
		"Cache-Control": {"no-store"},
		"Pragma":        {"no-cache"},
	}}
}

func jsonError(err *oauthError) *response {
	status := err.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	res := jsonResponse(status, map[string]any{
		"error": err.Code, "error_description": err.Description,
	})
	res.refused = err
	if status == http.StatusUnauthorized {
		res.header.Set("WWW-Authenticate", `Basic realm="oidctest"`)
	}
	return res
}

// redirect sends the browser on, with 303 so that a POST becomes a GET.
func redirect(target string) *response {
	return &response{status: http.StatusSeeOther, header: http.Header{
		"Location":      {target},
		"Cache-Control": {"no-store"},
	}}
}

// withParams returns uri with params added to the query it may already have.
func withParams(uri string, params url.Values) string {
	if len(params) == 0 {
		return uri
	}
	separator := "?"
	if strings.Contains(uri, "?") {
		separator = "&"
	}
	return uri + separator + params.Encode()
}

// mustJSON encodes what the provider or a test put together itself.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("oidctest: an answer does not encode: " + err.Error())
	}
	return b
}

// onlyMethods returns an answer when the request's method is none of the given.
func onlyMethods(r *http.Request, methods ...string) *response {
	for _, m := range methods {
		if r.Method == m {
			return nil
		}
	}
	res := jsonError(&oauthError{Code: "invalid_request", Status: http.StatusMethodNotAllowed,
		Description: r.Method + " is not a method of this endpoint"})
	res.header.Set("Allow", strings.Join(methods, ", "))
	return res
}

// repeated returns the name of a parameter that is there twice, which RFC 6749
// section 3.1 forbids; resource may be (RFC 8707 section 2).
func repeated(form url.Values) string {
	for name, values := range form {
		if len(values) > 1 && name != "resource" {
			return name
		}
	}
	return ""
}
