package main

// This file is the browser of a login, and the requests of one without a server.

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// signIn does what the browser and the provider's page do at a login, and returns the
// Cookie header of the session.
func signIn(app http.Handler, issuer string) (string, error) {
	w := httptest.NewRecorder()
	app.ServeHTTP(w, get("/auth/login", ""))
	location, err := url.Parse(w.Header().Get("Location"))
	if err != nil {
		return "", err
	}
	sent := location.Query()
	r := get("/auth/callback?"+url.Values{
		"code": {sent.Get("nonce")}, "state": {sent.Get("state")}, "iss": {issuer},
	}.Encode(), renewed("", w.Header()))
	w = httptest.NewRecorder()
	app.ServeHTTP(w, r)
	if w.Code != http.StatusFound || !strings.HasSuffix(w.Header().Get("Location"), "/") {
		return "", fmt.Errorf("the login ended with status %d: %s", w.Code, w.Body)
	}
	return renewed("", w.Header()), nil
}

// renewed returns the Cookie header that a browser sends after it has received the
// cookies of header. line is the one that it sent before.
func renewed(line string, header http.Header) string {
	kept, _ := http.ParseCookie(line) // an empty line is an error, and no cookie
	for _, cookie := range (&http.Response{Header: header}).Cookies() {
		kept = slices.DeleteFunc(kept, func(old *http.Cookie) bool { return old.Name == cookie.Name })
		if cookie.MaxAge >= 0 {
			kept = append(kept, cookie)
		}
	}
	pairs := make([]string, len(kept))
	for i, cookie := range kept {
		pairs[i] = cookie.Name + "=" + cookie.Value
	}
	return strings.Join(pairs, "; ")
}

// get returns a browser's request as a server passes it to a handler. Requests made by
// httptest allocate buffers, which would be a large part of the result.
func get(uri, cookies string) *http.Request {
	u, err := url.ParseRequestURI(uri)
	if err != nil {
		panic(err)
	}
	header := http.Header{"Accept": {"text/html"}}
	if cookies != "" {
		header.Set("Cookie", cookies)
	}
	return &http.Request{
		Method: http.MethodGet, URL: u, RequestURI: uri, Host: strings.TrimPrefix(appURL, "https://"),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: http.NoBody, RemoteAddr: "192.0.2.1:1234",
	}
}

// discard is a ResponseWriter that keeps only the header and the status.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header               { return d.header }
func (d *discard) Write(p []byte) (int, error)       { return len(p), nil }
func (d *discard) WriteString(s string) (int, error) { return len(s), nil }
func (d *discard) WriteHeader(status int)            { d.status = status }

// inProcess calls app n times without a server, from several goroutines. With one line,
// all of them send it; with at least as many as there are goroutines, each uses its
// part of lines in turn, and puts in the cookies that the app renews, as browsers do.
func inProcess(app http.Handler, path string, lines []string, goroutines, n int) error {
	return parallel(goroutines, n, func(worker, n int) error {
		if len(lines) == 1 {
			return inTurn(app, path, slices.Clone(lines), n)
		}
		return inTurn(app, path, lines[len(lines)*worker/goroutines:len(lines)*(worker+1)/goroutines], n)
	})
}

func inTurn(app http.Handler, path string, lines []string, n int) error {
	w := &discard{header: make(http.Header)}
	r := get(path, "")
	sent := make([]string, 1)
	for i := range n {
		line := &lines[i%len(lines)]
		if *line != "" {
			sent[0] = *line
			r.Header["Cookie"] = sent
		}
		clear(w.header)
		app.ServeHTTP(w, r)
		if w.status != 0 {
			return fmt.Errorf("%s answered with status %d", path, w.status)
		}
		if len(w.header["Set-Cookie"]) > 0 {
			*line = renewed(*line, w.header)
		}
	}
	return nil
}

// parallel shares n calls among workers that run at once, and returns an error of one.
func parallel(workers, n int, work func(worker, n int) error) error {
	errs := make([]error, workers)
	var group sync.WaitGroup
	for i := range workers {
		group.Go(func() { errs[i] = work(i, n*(i+1)/workers-n*i/workers) })
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
