package proconnect_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/proconnect"
)

func TestSetLoginHint_TakesPlainAddressesOnly(t *testing.T) {
	t.Parallel()
	for email, want := range map[string]string{
		"Angela.Dubois@direction.example.org": "Angela.Dubois@direction.example.org",
		" a+b_c-d@example.org ":               "a+b_c-d@example.org",
		"":                                    "",
		"angela":                              "",
		"angela@localhost":                    "",
		"Angela <angela@example.org>":         "",
		"a@b@example.org":                     "",
		"a..b@example.org":                    "",
		".a@example.org":                      "",
		"a@-example.org":                      "",
		"a@example.org\r\nX: y":               "",
		"a@example.1":                         "",
		strings.Repeat("a", 250) + "@example.org": "",
	} {
		var o oidcrp.AuthOptions
		proconnect.SetLoginHint(&o, email)
		if o.LoginHint != want {
			t.Errorf("the hint of %q is %q, want %q", email, o.LoginHint, want)
		}
	}
}

func TestSetSIRETHint_Takes14DigitsOnly(t *testing.T) {
	t.Parallel()
	var o oidcrp.AuthOptions
	for _, siret := range []string{
		"", "1300252650001", "130025265000133", "130 025 265 000", "1300252650001x", "１３００２５２６５０００１３",
	} {
		if err := proconnect.SetSIRETHint(&o, siret); err == nil || o.Extra != nil {
			t.Errorf("%q: error %v, sent %v", siret, err, o.Extra)
		}
	}
	if err := proconnect.SetSIRETHint(&o, "13002526500013"); err != nil || o.Extra.Get("siret_hint") != "13002526500013" {
		t.Errorf("error %v, sent %v", err, o.Extra)
	}
}

func TestSetIDPHint_DoesNotChangeSharedParameters(t *testing.T) {
	t.Parallel()
	shared := url.Values{"other": {"1"}, "idp_hint": {"old"}}
	o := oidcrp.AuthOptions{Extra: shared}
	proconnect.SetIDPHint(&o, "new")
	if got := o.Extra.Encode(); got != "idp_hint=new&other=1" {
		t.Errorf("sent %s", got)
	}
	if shared.Get("idp_hint") != "old" {
		t.Errorf("the shared parameters are now %v", shared)
	}
	var none oidcrp.AuthOptions
	if proconnect.SetIDPHint(&none, ""); none.Extra != nil {
		t.Errorf("an empty hint is sent: %v", none.Extra)
	}
}
