package oidctest_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/oidcrp/oidcrp/oidctest"
)

func TestRequests_AreRecorded(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice"})
	c := newRaw(t, p)
	c.post(oidctest.EndpointToken, url.Values{"code": {"x"}})
	c.client.Get(p.Issuer() + "/favicon.ico")
	got := p.Requests()
	if len(got) != 2 || p.Count(oidctest.EndpointToken) != 1 || p.Count(oidctest.EndpointUnknown) != 1 {
		t.Fatalf("got %v", got)
	}
	first := p.RequestsTo(oidctest.EndpointToken)[0]
	if first.Method != http.MethodPost || first.URL.Path != "/token" || first.Status != http.StatusUnauthorized ||
		first.Form.Get("code") != "x" || first.Header.Get("Content-Type") == "" {
		t.Errorf("got %+v", first)
	}
	first.Form.Set("code", "changed")
	if p.Requests()[0].Form.Get("code") != "x" {
		t.Error("the record can be changed from outside")
	}
	p.ResetRequests()
	if len(p.Requests()) != 0 {
		t.Error("the record is not reset")
	}
}
