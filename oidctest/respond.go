package oidctest

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/oidcrp/oidcrp/oidctest/internal/wire"
)

// An oauthError is the reason for an error response (RFC 6749 sections 4.1.2.1 and 5.2).
type oauthError struct {
	Code        string
	Description string
	Status      int // 0: 400
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

// jsonResponse returns a JSON response that must not be stored.
func jsonResponse(status int, members map[string]any) *response {
	return &response{Response: wire.JSONResponse(status, members)}
}

func jsonError(err *oauthError) *response {
	status := err.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	return &response{Response: wire.ErrorResponse(status, err.Code, err.Description), refused: err}
}

// redirect redirects the browser, with 303 so that a POST becomes a GET.
func redirect(target string) *response {
	return &response{Response: wire.Response{Status: http.StatusSeeOther, Header: http.Header{
		"Location":      {target},
		"Cache-Control": {"no-store"},
	}}}
}

// withParams returns uri with params added to its query.
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

// onlyMethods returns an error response if the request's method is not one of the given
// methods, and nil otherwise.
func onlyMethods(r *http.Request, methods ...string) *response {
	for _, m := range methods {
		if r.Method == m {
			return nil
		}
	}
	res := jsonError(&oauthError{Code: "invalid_request", Status: http.StatusMethodNotAllowed,
		Description: "this endpoint does not support the method " + r.Method})
	res.Header.Set("Allow", strings.Join(methods, ", "))
	return res
}

// repeated returns the name of a parameter that appears more than once, which RFC 6749
// section 3.1 forbids. Only resource may (RFC 8707 section 2).
func repeated(form url.Values) string {
	for name, values := range form {
		if len(values) > 1 && name != "resource" {
			return name
		}
	}
	return ""
}
