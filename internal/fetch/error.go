package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/oidcrp/oidcrp/internal/printable"
)

// A Kind is the kind of an [Error].
type Kind int

const (
	// Unavailable: the provider could not be reached, did not answer in time,
	// closed the connection, or answered 429 or 5xx.
	Unavailable Kind = iota
	// Invalid: the answer is not acceptable (too large, the wrong media type,
	// an unexpected redirect), or the URL is not, or what it leads to.
	Invalid
	// Canceled: the caller's context ended first.
	Canceled
)

// maxRetryAfter bounds what a Retry-After header can ask for.
const maxRetryAfter = time.Hour

// Error says why [Client.Do] failed.
type Error struct {
	Kind Kind
	// URL is where the request went: scheme, host and path, nothing else.
	URL string
	// StatusCode is that of the answer; 0 when there was none.
	StatusCode int
	// RetryAfter is what the Retry-After header asks for, at most an hour; 0
	// when there is none.
	RetryAfter time.Duration
	// Reason says what went wrong. Of what the provider sent, it holds at most a media
	// type, bounded, printable and without secrets of the request.
	Reason string
	// Err is the cause, if any. It may quote what the provider sent, so it is
	// for errors.Is and errors.As, not for a log.
	Err error
}

func (e *Error) Error() string {
	if e.URL == "" {
		return e.Reason
	}
	return e.URL + ": " + e.Reason
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func invalid(u *url.URL, status int, reason string) *Error {
	return &Error{Kind: Invalid, URL: where(u), StatusCode: status, Reason: reason}
}

func statusError(u *url.URL, res *http.Response) *Error {
	return &Error{
		Kind:       Unavailable,
		URL:        where(u),
		StatusCode: res.StatusCode,
		RetryAfter: retryAfter(res.Header),
		Reason:     fmt.Sprintf("answered with status %d", res.StatusCode),
	}
}

// transportError returns the error of a request that got no answer. It
// distinguishes the end of the caller's context, the timeout of ctx, and a failing
// connection.
func transportError(caller, ctx context.Context, u *url.URL, err error) *Error {
	e := &Error{Kind: Unavailable, URL: where(u), Err: bare(err)}
	var inside *AddressError
	switch {
	case errors.As(err, &inside):
		e.Kind, e.Reason = Invalid, printable.Text(inside.Error(), maxReason)
	case caller.Err() != nil:
		e.Kind, e.Reason, e.Err = Canceled, "given up by the caller", caller.Err()
	case context.Cause(ctx) == errTimeout:
		e.Reason = errTimeout.Error()
	default:
		e.Reason = printable.Text(describe(e.Err), maxReason)
	}
	return e
}

// bare unwraps a *url.Error, since its text has the whole URL.
func bare(err error) error {
	var outer *url.Error
	if errors.As(err, &outer) {
		return outer.Err
	}
	return err
}

// describe returns the text of a connection error. Errors of the types named here
// hold addresses and certificate names, which an operator needs. Others, such as
// those about a malformed answer, may quote the answer.
func describe(err error) string {
	var (
		op     *net.OpError
		dns    *net.DNSError
		verify *tls.CertificateVerificationError
		host   x509.HostnameError
		alert  tls.AlertError
		record tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &verify):
		return verify.Error()
	case errors.As(err, &host):
		return host.Error()
	case errors.As(err, &alert):
		return alert.Error()
	case errors.As(err, &dns):
		return dns.Error()
	case errors.As(err, &op):
		return op.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed too early"
	case errors.As(err, &record) && string(record.RecordHeader[:]) == "HTTP/", errors.Is(err, http.ErrSchemeMismatch):
		return "the server speaks plain http at this port, not https"
	case errors.As(err, &record):
		return "the server does not speak TLS at this port"
	}
	return "the exchange failed: " + known(err)
}

// knownTexts are the beginnings of the texts of errors without a type of their own.
// They end before what is quoted of the answer.
var knownTexts = []string{
	"malformed HTTP response", "malformed HTTP status code", "malformed HTTP version", "malformed MIME header",
	"invalid header", "malformed chunked encoding", "chunked line ends with bare LF", "header line too long",
	"server response headers exceeded", "unsupported transfer encoding", "bad Content-Length", "gzip: invalid",
	"TLS handshake timeout", "timeout awaiting response headers", "unsupported protocol version",
	"server selected unsupported", "server closed idle connection", "http2: frame too large", "stream error",
	"GOAWAY",
}

// known returns what may be shown of an error whose text may quote the answer: a text
// of the standard library, that of a status with which a proxy refused the
// connection, or else the type.
func known(err error) string {
	text := err.Error()
	for _, phrase := range knownTexts {
		if strings.Contains(text, phrase) {
			return phrase
		}
	}
	for status := http.StatusBadRequest; status < 600; status++ {
		if text == http.StatusText(status) && text != "" {
			return fmt.Sprintf("a proxy answered %q", text)
		}
	}
	return fmt.Sprintf("an error of the type %T", err)
}

// maxURL and maxReason bound the texts of an Error, in bytes: a certificate may name
// thousands of hosts.
const (
	maxURL    = 300
	maxReason = 500
)

// where returns the part of u that may be shown.
func where(u *url.URL) string {
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	return printable.Text(shown.String(), maxURL)
}

// retryAfter reads Retry-After in its two forms, a number of seconds and a
// date (RFC 9110 section 10.2.3). A date is compared with the provider's own
// clock where it shows one.
func retryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
