package oidcrp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// RFC 9111 section 5.2.2, RFC 9213, and what the caches of some vendors read. In doubt, a
// response counts as shared.
func TestShared_WhatACacheMayStore(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		header string // "Name: value", one in each line
		shared bool
		after  string // unshare
	}{
		{"", false, ""},
		{"Cache-Control: ", false, "Cache-Control: "},
		{"Cache-Control: private", false, "Cache-Control: private"},
		{"Cache-Control: max-age=60 ,\tPRIVATE", false, "Cache-Control: max-age=60 ,\tPRIVATE"},
		{"Cache-Control: max-age=60\nCache-Control: private", false, "Cache-Control: max-age=60\nCache-Control: private"},
		{"Cache-Control: no-store", false, "Cache-Control: no-store"},
		{"Cache-Control: public, no-store", false, "Cache-Control: public, no-store"},
		{"Expires: Thu, 01 Jan 2099 00:00:00 GMT", false, "Expires: Thu, 01 Jan 2099 00:00:00 GMT"},

		{"Cache-Control: public", true, "Cache-Control: private, no-cache"},
		{"Cache-Control: no-cache", true, "Cache-Control: private, no-cache"},
		{"cache-control: max-age=60", true, "Cache-Control: private, no-cache"},
		{"Cache-Control: must-understand, no-store", true, "Cache-Control: private, no-cache"},
		{`Cache-Control: private="Set-Cookie"`, true, "Cache-Control: private, no-cache"},
		{`Cache-Control: no-cache="a, private, b"`, true, "Cache-Control: private, no-cache"},
		{`Cache-Control: x="a\", private, b"`, true, "Cache-Control: private, no-cache"},
		{`Cache-Control: x="a\"", private`, false, `Cache-Control: x="a\"", private`},
		{"Cache-Control: unprivate", true, "Cache-Control: private, no-cache"},

		{"CDN-Cache-Control: max-age=60", true, "Cache-Control: private, no-cache"},
		{"Cache-Control: private\nCDN-Cache-Control: max-age=60", true, "Cache-Control: private"},
		{"Cache-Control: private\nCDN-Cache-Control: no-store", false, "Cache-Control: private\nCDN-Cache-Control: no-store"},
		{"Cache-Control: public\nCDN-Cache-Control: no-store", true, "Cache-Control: private, no-cache"},
		{"Cache-Control: no-store\nCloudflare-CDN-Cache-Control: public", true, "Cache-Control: no-store"},
		{"Cache-Control: no-store\ncdn-cache-control: public", true, "Cache-Control: no-store"},
		{"Surrogate-Control: max-age=60", true, "Cache-Control: private, no-cache"},
		{"Cache-Control: private\nSurrogate-Control: no-store", false, "Cache-Control: private\nSurrogate-Control: no-store"},
		{"Edge-Control: max-age=60", true, "Cache-Control: private, no-cache"},
		{"Cache-Control: no-store\nX-Accel-Expires: 60", true, "Cache-Control: no-store"},
		{"Cache-Control: no-store\nX-Accel-Expires: @4102444800", true, "Cache-Control: no-store"},
		{"Cache-Control: no-store\nX-Accel-Expires: 0", false, "Cache-Control: no-store\nX-Accel-Expires: 0"},
	} {
		h := make(http.Header)
		want := make(http.Header)
		for text, into := range map[string]http.Header{test.header: h, test.after: want} {
			for line := range strings.Lines(text) {
				name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
				into[name] = append(into[name], value)
			}
		}
		if test.header == test.after {
			want = h.Clone()
		}
		if got := shared(h); got != test.shared {
			t.Errorf("%q: shared is %t", test.header, got)
		}
		if unshare(h); fmt.Sprint(h) != fmt.Sprint(want) || shared(h) {
			t.Errorf("%q: afterwards it is %v, want %v", test.header, h, want)
		}
	}
}

// Writers of servers and of other middleware, by what they can do.
type (
	plainTestWriter struct{ http.ResponseWriter }
	flushTestWriter struct{ plainTestWriter }
	errorTestWriter struct{ plainTestWriter }
	hijackTestWrite struct{ plainTestWriter }
	bothTestWriter  struct{ flushTestWriter }
	wrapTestWriter  struct {
		http.ResponseWriter
		inner http.ResponseWriter
	}
)

func (flushTestWriter) Flush()                       {}
func (errorTestWriter) FlushError() error            { return errors.New("flushed") }
func (w wrapTestWriter) Unwrap() http.ResponseWriter { return w.inner }
func (flushTestWriter) CloseNotify() <-chan bool     { return closedTestChannel }
func (hijackTestWrite) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, errors.New("hijacked")
}
func (bothTestWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, errors.New("hijacked")
}

var closedTestChannel = func() chan bool { c := make(chan bool); close(c); return c }()

func TestSessionWriter_CanWhatTheServersCan(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	plain := plainTestWriter{httptest.NewRecorder()}
	for what, test := range map[string]struct {
		inner                 http.ResponseWriter
		flushes, hijacks, ctl bool // ctl: the controller flushes
	}{
		"nothing":          {plain, false, false, false},
		"flush":            {flushTestWriter{plain}, true, false, true},
		"flush, with why":  {errorTestWriter{plain}, true, false, true},
		"hijack":           {hijackTestWrite{plain}, false, true, false},
		"both":             {bothTestWriter{flushTestWriter{plain}}, true, true, true},
		"both, wrapped":    {wrapTestWriter{plain, wrapTestWriter{plain, bothTestWriter{flushTestWriter{plain}}}}, true, true, true},
		"nothing, wrapped": {wrapTestWriter{plain, plain}, false, false, false},
	} {
		for client := range 2 {
			handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if _, ok := w.(http.Flusher); ok != test.flushes {
					t.Errorf("%s: it is a Flusher: %t", what, ok)
				}
				if _, ok := w.(http.Hijacker); ok != test.hijacks {
					t.Errorf("%s: it is a Hijacker: %t", what, ok)
				}
				if err := http.NewResponseController(w).Flush(); errors.Is(err, http.ErrNotSupported) == test.ctl {
					t.Errorf("%s: the controller's Flush returned %v", what, err)
				}
				if _, _, err := http.NewResponseController(w).Hijack(); errors.Is(err, http.ErrNotSupported) == test.hijacks {
					t.Errorf("%s: the controller's Hijack returned %v", what, err)
				}
				gone := w.(interface{ CloseNotify() <-chan bool }).CloseNotify()
				if notifies := test.flushes && what != "flush, with why"; notifies != (gone == closedTestChannel) {
					t.Errorf("%s: CloseNotify returned %v", what, gone)
				}
			})
			next := http.Handler(handler)
			if client == 1 { // a writer around a writer
				next = newOfflineClient(t, nil).Middleware(handler)
			}
			c.Middleware(next).ServeHTTP(test.inner, requestWith())
		}
	}
}

// A handler has the response back when it could not hijack the connection.
func TestSessionWriter_AFailedHijackLeavesTheResponse(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	cookies := c.start(t)
	c.clock.Advance(2 * time.Minute)
	w := httptest.NewRecorder()
	c.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, _, err := w.(http.Hijacker).Hijack(); err == nil {
			t.Error("it was hijacked")
		}
		w.Header().Set("Cache-Control", "public")
		io.WriteString(w, "cannot")
	})).ServeHTTP(hijackTestWrite{plainTestWriter{w}}, requestWith(cookies...))
	if got := w.Result().Cookies(); len(got) > 0 {
		t.Errorf("a shared response sets %v", got)
	}
}

// Each way of writing decides, once.
func TestSessionWriter_EveryWayOfWritingDecides(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	cookies := c.start(t)
	c.clock.Advance(2 * time.Minute)
	for what, write := range map[string]func(http.ResponseWriter){
		"nothing":     func(http.ResponseWriter) {},
		"WriteHeader": func(w http.ResponseWriter) { w.WriteHeader(http.StatusTeapot); w.WriteHeader(http.StatusOK) },
		"Write":       func(w http.ResponseWriter) { w.Write([]byte("a")); w.Write([]byte("b")) },
		"WriteString": func(w http.ResponseWriter) { io.WriteString(w, "a"); io.WriteString(w, "b") },
		"ReadFrom":    func(w http.ResponseWriter) { w.(io.ReaderFrom).ReadFrom(strings.NewReader("ab")) },
		"Flush":       func(w http.ResponseWriter) { w.(http.Flusher).Flush(); io.WriteString(w, "ab") },
		"101":         func(w http.ResponseWriter) { w.WriteHeader(http.StatusSwitchingProtocols) },
	} {
		for wantCookies, control := range []string{"public", "private"} {
			page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Cache-Control", control)
				write(w)
			})
			for _, handler := range []http.Handler{c.Middleware(page), c.RequireLogin(page)} {
				w, _ := serves(handler, cookies)
				if got := w.Result().Cookies(); len(got) != wantCookies {
					t.Errorf("%s, %s: cookies %v", what, control, got)
				}
				if body := w.Body.String(); body != "" && body != "ab" {
					t.Errorf("%s: the body is %q", what, body)
				}
			}
		}
	}
}

// What is necessary stays so, whatever is recorded after it, and nothing is recorded
// after the header.
func TestSessionWriter_RecordsTheLastAndForgetsNoNeed(t *testing.T) {
	t.Parallel()
	var put string
	made := func(name string, necessary bool) *delivery {
		return &delivery{necessary: necessary, put: func(http.ResponseWriter, *http.Request) error {
			put += name
			return errors.New("is logged")
		}}
	}
	c := newOfflineClient(t, nil)
	w := &sessionWriter{ResponseWriter: httptest.NewRecorder(), request: requestWith(), cookies: c.cookies, log: c.Client.log}
	w.Header().Set("Cache-Control", "public")
	w.record(made("refreshed ", true))
	w.record(made("touched ", false))
	w.record(nil)
	if w.begun() {
		t.Error("the header counts as written")
	}
	w.finish()
	w.record(made("late ", true))
	w.finish()
	if put != "touched " || !w.begun() || !strings.Contains(c.log.String(), "is logged") {
		t.Errorf("put %q, begun %t, log %s", put, w.begun(), c.log)
	}
}

// Among several Clients, too, a session is looked up once for each.
func TestAttach_NestedClientsLookUpOnce(t *testing.T) {
	t.Parallel()
	store := NewHookStore(nil)
	one := newOfflineClient(t, func(cfg *Config) { cfg.Store = store })
	two := newOfflineClient(t, func(cfg *Config) { cfg.PathPrefix = "/two/" })
	cookies := one.start(t)
	store.Took()
	handler := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		saySubject(w, r)
		for _, c := range []*offlineClient{one, two} {
			if _, ok := c.refresher.found(r.Context()); !ok {
				t.Error("a Client does not find what it had looked up")
			}
		}
	}))
	for _, c := range []*offlineClient{one, two, one, two, one} {
		handler = c.Middleware(handler)
	}
	w, _ := serves(handler, cookies)
	if n := store.Took(); n != 1 || w.Body.String() != "alice" {
		t.Errorf("%d calls of the Store, and the innermost handler says %q", n, w.Body)
	}
}

// The writer is part of what a request needs anyway.
func TestSessionWriter_NeedsNoMemoryOfItsOwn(t *testing.T) {
	c := newOfflineClient(t, nil)
	r := requestWith(c.start(t)...)
	inner := new(discard)
	found := c.refresher.lookUp(r)
	response := &found.response
	response.ResponseWriter, response.request, response.cookies = inner, r, c.cookies
	inner.reset()
	if n := testing.AllocsPerRun(100, func() {
		response.pending.Store(nil)
		w := response.over(inner)
		w.WriteHeader(http.StatusOK)
		io.WriteString(w, "hello")
		response.finish()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The handler sets a cookie of the Client and then answers so that net/http, or it
// itself, removes Cache-Control.
func TestSessionWriter_ACookieBesideNoCacheControlIsPrivate(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.txt")
	os.WriteFile(file, []byte("text"), 0o600)
	for what, answer := range map[string]http.HandlerFunc{
		"ServeFile of no file": func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file+".no") },
		"a range too far": func(w http.ResponseWriter, r *http.Request) {
			r.Header.Set("Range", "bytes=100-200")
			http.ServeFile(w, r, file)
		},
		"Del and Expires": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Del("Cache-Control")
			w.Header().Set("Expires", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
			w.Write([]byte("page"))
		},
		"an empty one": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "")
			w.Write([]byte("page"))
		},
	} {
		c := newOfflineClient(t, nil)
		w, _ := serves(c.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := c.StartSession(w, r, madeSession(c.Client, aliceClaims, "")); err != nil {
				t.Error(err)
			}
			answer(w, r)
		})), nil)
		got := w.Result()
		if len(got.Cookies()) == 0 || !strings.Contains(got.Header.Get("Cache-Control"), "private") {
			t.Errorf("%s: %d, %d cookies and Cache-Control %q", what, got.StatusCode, len(got.Cookies()), got.Header.Get("Cache-Control"))
		}
	}
}
