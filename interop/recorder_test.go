package interop

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// exchange is one request to a provider and what it answered.
type exchange struct {
	Method string
	Path   string
	Query  url.Values
	Form   url.Values
	Header http.Header
	Status int
	Answer http.Header
	Body   []byte
}

// recorder is a proxy in front of a provider that cannot keep a record itself. Browsers and apps
// know the provider by the proxy's address.
type recorder struct {
	mu        sync.Mutex // guards exchanges
	exchanges []exchange
}

type formKey struct{}

// startRecorder listens on that port until the test ends, and passes on to backend.
func startRecorder(t testing.TB, port int, backend string) *recorder {
	t.Helper()
	target, err := url.Parse(backend)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", origin(port)[len("http://"):])
	if err != nil {
		t.Fatal(err)
	}
	r := new(recorder)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Host = p.In.Host
		},
		ModifyResponse: r.record,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.WriteHeader(http.StatusBadGateway)
		},
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		proxy.ServeHTTP(w, withForm(req))
	})}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return r
}

// transport returns one that records what an app of this process asks.
func (r *recorder) transport(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		res, err := next.RoundTrip(withForm(req.Clone(req.Context())))
		if err != nil {
			return nil, err
		}
		return res, r.record(res)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// withForm reads the body, keeps it as a form in the context, and puts it back.
func withForm(req *http.Request) *http.Request {
	if req.Body == nil {
		return req
	}
	body, _ := io.ReadAll(req.Body)
	req.Body = io.NopCloser(bytes.NewReader(body))
	form, _ := url.ParseQuery(string(body))
	return req.WithContext(context.WithValue(req.Context(), formKey{}, form))
}

func (r *recorder) record(res *http.Response) error {
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	for i, cookie := range res.Header["Set-Cookie"] {
		// An address is not a domain: browsers drop a cookie with one as its Domain.
		res.Header["Set-Cookie"][i] = strings.Replace(cookie, "domain=.127.0.0.1; ", "", 1)
	}
	req := res.Request
	form, _ := req.Context().Value(formKey{}).(url.Values)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.exchanges = append(r.exchanges, exchange{
		Method: req.Method, Path: req.URL.Path, Query: req.URL.Query(), Form: form, Header: req.Header.Clone(),
		Status: res.StatusCode, Answer: res.Header.Clone(), Body: body,
	})
	return nil
}

// all returns the exchanges at one address, oldest first.
func (r *recorder) all(path string) []exchange {
	r.mu.Lock()
	defer r.mu.Unlock()
	var some []exchange
	for _, e := range r.exchanges {
		if e.Path == path {
			some = append(some, e)
		}
	}
	return some
}

// last returns the newest exchange at one address.
func (r *recorder) last(t testing.TB, path string) exchange {
	t.Helper()
	some := r.all(path)
	if len(some) == 0 {
		t.Fatalf("nothing has been asked at %s", path)
	}
	return some[len(some)-1]
}

// json decodes the answer.
func (e exchange) json(t testing.TB) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(e.Body, &v); err != nil {
		t.Fatalf("%s answered %d, no JSON: %v\n%s", e.Path, e.Status, err, e.Body)
	}
	return v
}

// jws returns the header and the claims of a signed token, unverified: it was the app's part to
// verify them.
func jws(t testing.TB, token any) (header, claims map[string]any) {
	t.Helper()
	text, _ := token.(string)
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		t.Fatalf("%v is not a signed token", token)
	}
	for i, v := range []*map[string]any{&header, &claims} {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, v); err != nil {
			t.Fatal(err)
		}
	}
	return header, claims
}
