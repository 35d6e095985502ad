// Package fetch is the only code that speaks HTTP to a provider. It limits how long
// an answer may take, how large it may be, where it may redirect, and which media
// type it may have. Its errors never hold a body, a query, a token or a
// header value other than a media type.
package fetch

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/oidcrp/oidcrp/internal/printable"
)

// MaxBody is the largest body that is read, in bytes after decompression.
const MaxBody = 1 << 20

const (
	defaultTimeout = 10 * time.Second
	maxRedirects   = 3
	maxMediaType   = 60 // bytes of one in an error
)

// Client sends requests to a provider. It is safe for concurrent use.
type Client struct {
	transport http.RoundTripper
	timeout   time.Duration
}

// New returns a Client that sends its requests through rt; if nil, through one
// made by [NewTransport]. A request may take up to timeout from dialling to the
// last byte of the body; if zero, 10 seconds.
func New(rt http.RoundTripper, timeout time.Duration) *Client {
	if rt == nil {
		rt = NewTransport()
	}
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	return &Client{transport: rt, timeout: timeout}
}

// NewTransport returns a transport that takes the proxy from the environment,
// speaks TLS 1.2 or newer and keeps up to 32 idle connections per host. It
// shares nothing with http.DefaultTransport.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            newDialer().DialContext,
		ForceAttemptHTTP2:      true,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    5 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxIdleConns:           100,
		MaxIdleConnsPerHost:    32,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

func newDialer() *net.Dialer {
	return &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
}

// WithCertificates returns a transport like rt, or like New's own if rt is nil,
// that presents certificates to servers that ask for one. Without certificates,
// or if rt is not an [*http.Transport], it returns rt.
func WithCertificates(rt http.RoundTripper, certificates []tls.Certificate) http.RoundTripper {
	if len(certificates) == 0 {
		return rt
	}
	if rt == nil {
		rt = NewTransport()
	}
	transport, ok := rt.(*http.Transport)
	if !ok {
		return rt
	}
	transport = transport.Clone()
	if transport.TLSClientConfig == nil {
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	transport.TLSClientConfig.GetClientCertificate = present(certificates)
	return transport
}

// present returns how to choose a certificate: the first that the server can
// take. One from an authority that the server does not name comes last, but is
// presented, where crypto/tls would present none: a server that knows its
// clients by self-signed certificates may still name authorities, and names the
// root where only the leaf was configured here.
func present(certificates []tls.Certificate) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return func(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		anyAuthority := *asked
		anyAuthority.AcceptableCAs = nil
		for _, info := range []*tls.CertificateRequestInfo{asked, &anyAuthority} {
			for i := range certificates {
				if info.SupportsCertificate(&certificates[i]) == nil {
					return &certificates[i], nil
				}
			}
		}
		return new(tls.Certificate), nil // none
	}
}

// Request is what [Client.Do] sends.
type Request struct {
	// Method is the HTTP method. If empty, GET, or POST when Form is set.
	Method string
	// URL is absolute, http or https, without user information or fragment.
	URL string
	// Header holds further headers; may be nil.
	Header http.Header
	// Form, if not nil, is sent as an application/x-www-form-urlencoded body.
	Form url.Values
	// Accept is the Accept header. If empty, the MediaTypes.
	Accept string
	// MediaTypes are those that a 2xx answer may have, parameters aside. One
	// that begins with a plus stands for every type with that structured
	// syntax suffix: "+json" (RFC 6839). If empty, any type will do.
	MediaTypes []string
	// FollowSameHost follows up to three redirects that stay on the same scheme
	// and host; only for a GET. Otherwise a redirect is an error, so that
	// credentials go nowhere but to the URL that was meant.
	FollowSameHost bool
}

// Response is a provider's answer.
type Response struct {
	StatusCode int
	Header     http.Header
	// MediaType is the media type in lower case without its parameters; empty
	// when there is none.
	MediaType string
	// Body is at most [MaxBody] bytes.
	Body []byte

	request Request // whose secrets Hide hides
}

// errTimeout is the cause of a context that ended by our own timeout.
var errTimeout = errors.New("no complete answer in time")

// Do sends r and reads the answer. It returns a Response for every status below
// 500 other than 3xx and 429, so that the caller can read an error of the
// provider, and an [*Error] otherwise.
func (c *Client) Do(ctx context.Context, r Request) (*Response, error) {
	caller := ctx
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, errTimeout)
	defer cancel()

	req, err := newRequest(ctx, r)
	if err != nil {
		return nil, err
	}
	u := req.URL
	res, err := c.send(req, r)
	if err != nil {
		return nil, transportError(caller, ctx, u, err)
	}
	defer res.Body.Close()
	if res.StatusCode/100 == 3 {
		return nil, invalid(u, res.StatusCode, "an unexpected redirect")
	}
	answer, err := read(res, r)
	switch {
	case failing(res.StatusCode):
		return nil, statusError(u, res)
	case errors.Is(err, errTooLarge):
		return nil, invalid(u, res.StatusCode, err.Error())
	case err != nil:
		return nil, transportError(caller, ctx, u, err)
	case res.StatusCode/100 == 2 && !acceptable(r.MediaTypes, answer.MediaType):
		return nil, invalid(u, res.StatusCode, answer.unexpected(r.MediaTypes))
	}
	return answer, nil
}

// send sends req, which was made of r. Only a request that may be redirected needs an
// [http.Client], which copies each request's header and URL for the next one.
func (c *Client) send(req *http.Request, r Request) (*http.Response, error) {
	if r.mayFollow() {
		client := http.Client{Transport: c.transport, CheckRedirect: followSameHost}
		return client.Do(req)
	}
	res, err := c.transport.RoundTrip(req)
	switch {
	case err != nil:
		return nil, err
	case res == nil:
		return nil, errNoResponse
	case res.Body == nil: // an app's transport may leave an empty one out, as http.Client allows
		res.Body = http.NoBody
	}
	return res, nil
}

// errNoResponse is that of an app's transport that returns neither a response nor an error.
var errNoResponse = errors.New("the transport returned nothing")

// newRequest makes the request of r, and refuses a URL that it must not be sent to.
func newRequest(ctx context.Context, r Request) (*http.Request, error) {
	method, body := r.Method, io.Reader(nil)
	if r.Form != nil {
		body = strings.NewReader(r.Form.Encode())
		method = cmp.Or(method, http.MethodPost)
	}
	req, err := http.NewRequestWithContext(ctx, method, r.URL, body)
	if err != nil {
		return nil, invalid(&url.URL{}, 0, "not a URL")
	}
	u := req.URL
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, invalid(u, 0, "not an absolute http or https URL")
	}
	maps.Copy(req.Header, r.Header)
	if r.Form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if accept := accept(r); accept != "" {
		req.Header.Set("Accept", accept)
	}
	return req, nil
}

func accept(r Request) string {
	if r.Accept != "" {
		return r.Accept
	}
	whole := slices.DeleteFunc(slices.Clone(r.MediaTypes), func(t string) bool {
		return strings.HasPrefix(t, "+")
	})
	return strings.Join(whole, ", ")
}

// mayFollow reports whether a redirect of r is followed.
func (r *Request) mayFollow() bool {
	return r.FollowSameHost && r.Form == nil && (r.Method == "" || r.Method == http.MethodGet)
}

// followSameHost is the redirect policy of a request that may follow one.
func followSameHost(next *http.Request, via []*http.Request) error {
	first := via[0].URL
	if len(via) > maxRedirects || next.URL.Scheme != first.Scheme ||
		next.URL.Host != first.Host || next.URL.User != nil {
		return http.ErrUseLastResponse
	}
	return nil
}

var errTooLarge = errors.New("the body is larger than 1 MiB")

// unexpected says which media type r has in place of one of types.
func (r *Response) unexpected(types []string) string {
	if r.MediaType == "" {
		return "an answer without a media type, not " + strings.Join(types, " or ")
	}
	return fmt.Sprintf("an answer of the media type %q, not %s",
		printable.Text(r.Hide(r.MediaType), maxMediaType), strings.Join(types, " or "))
}

// read reads the body of the answer to r to its end, so that the connection can be used
// again.
func read(res *http.Response, r Request) (*Response, error) {
	body, err := readBody(res)
	if err != nil {
		return nil, err
	}
	return &Response{
		StatusCode: res.StatusCode,
		Header:     res.Header,
		MediaType:  mediaType(res.Header),
		Body:       body,
		request:    r,
	}, nil
}

// readBody reads at most MaxBody bytes. It makes room at once for a length that the
// header announces, up to maxAnnounced, beyond which the body must prove it.
func readBody(res *http.Response) ([]byte, error) {
	const maxAnnounced = 16 << 10
	size := int64(512)
	if res.ContentLength >= 0 {
		size = min(res.ContentLength, maxAnnounced)
	}
	b := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
	n, err := b.ReadFrom(&io.LimitedReader{R: res.Body, N: MaxBody + 1})
	if err == nil && n > MaxBody {
		err = errTooLarge
	}
	return b.Bytes(), err
}

// mediaType returns the media type of an answer, even if a parameter is malformed.
func mediaType(h http.Header) string {
	t, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return ""
	}
	return t
}

// acceptable reports whether got is one of types, as [Request] defines them.
func acceptable(types []string, got string) bool {
	return len(types) == 0 || slices.ContainsFunc(types, func(t string) bool {
		return got == t || strings.HasPrefix(t, "+") && strings.HasSuffix(got, t)
	})
}

// failing reports whether a retry may help after status.
func failing(status int) bool {
	return status >= 500 || status == http.StatusTooManyRequests
}
