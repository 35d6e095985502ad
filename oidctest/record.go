package oidctest

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// A Request is one request that the provider received.
type Request struct {
	Endpoint string // such as EndpointToken
	Method   string
	URL      *url.URL
	Host     string
	Header   http.Header
	Form     url.Values // query and body
	Status   int        // of the response; 0 if there is none yet
	Time     time.Time  // on the provider's clock
}

// record adds a request, whose form is parsed, to the recorded requests.
func (p *Provider) record(endpoint string, r *http.Request) *Request {
	u := *r.URL
	request := &Request{
		Endpoint: endpoint,
		Method:   r.Method,
		URL:      &u,
		Host:     r.Host,
		Header:   r.Header.Clone(),
		Form:     cloneValues(r.Form),
		Time:     p.now(),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = append(p.requests, request)
	return request
}

// Requests returns a copy of every request received since the start or since the last
// call to ResetRequests, oldest first.
func (p *Provider) Requests() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	requests := make([]Request, len(p.requests))
	for i, r := range p.requests {
		requests[i] = *r
		requests[i].Header = r.Header.Clone()
		requests[i].Form = cloneValues(r.Form)
	}
	return requests
}

// RequestsTo returns the elements of Requests for one endpoint.
func (p *Provider) RequestsTo(endpoint string) []Request {
	return slices.DeleteFunc(p.Requests(), func(r Request) bool { return r.Endpoint != endpoint })
}

// Count returns the number of requests to an endpoint, such as [EndpointToken], since
// the start or since the last call to ResetRequests.
func (p *Provider) Count(endpoint string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, r := range p.requests {
		if r.Endpoint == endpoint {
			n++
		}
	}
	return n
}

// ResetRequests discards the requests recorded so far.
func (p *Provider) ResetRequests() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = nil
}

func cloneValues(values url.Values) url.Values {
	clone := maps.Clone(values)
	for name, v := range clone {
		clone[name] = slices.Clone(v)
	}
	return clone
}

// A recorder records the status of a response before it is sent.
type recorder struct {
	http.ResponseWriter
	p       *Provider
	request *Request
	wrote   bool
}

func (w *recorder) WriteHeader(status int) {
	if !w.wrote {
		w.wrote = true
		w.p.mu.Lock()
		w.request.Status = status
		w.p.mu.Unlock()
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
