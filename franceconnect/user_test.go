package franceconnect_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/franceconnect"
	"github.com/oidcrp/oidcrp/oidctest"
)

// userOf signs a persona in and returns what the service reads of them.
func userOf(t *testing.T, persona oidctest.Persona) (u franceconnect.User, s *service, err error) {
	t.Helper()
	s = newService(t, franceconnect.Integration, persona, func(cfg *oidcrp.Config) {
		// The provider releases each claim by a scope of its name; FranceConnect has
		// identite_pivot and others for several.
		for name := range citizen().Claims {
			cfg.Scopes = append(cfg.Scopes, name)
		}
		cfg.Validate = nil // the scopes are of both platforms
	}, func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.Handle("/user", c.RequireLogin(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			session, _ := oidcrp.SessionFromContext(r.Context())
			u, err = franceconnect.UserFrom(session)
		})))
	})
	if status, body := s.visit(t, s.provider.Browser(), "/user"); status != http.StatusOK {
		t.Fatalf("status %d:\n%s", status, body)
	}
	return u, s, err
}

func TestUserFrom_HasEveryClaim(t *testing.T) {
	t.Parallel()
	got, s, err := userOf(t, citizen())
	if err != nil {
		t.Fatal(err)
	}
	want := franceconnect.User{
		Issuer: s.provider.Issuer(), Subject: citizen().Subject,
		GivenName: "Angela Claire Louise", GivenNameArray: []string{"Angela", "Claire", "Louise"},
		FamilyName: "DUBOIS", PreferredUsername: "MARTIN", Birthdate: "1962-08-24", Gender: "female",
		Birthplace: "2A004", Birthcountry: "99100", Email: "angela@example.org",
		IdPID: "idp-a", IdPBirthdate: "1962-08-24",
		RNIPPGivenName: "Angela", RNIPPGivenNameArray: []string{"Angela"}, RNIPPFamilyName: "DUBOIS",
		RNIPPBirthdate: "1962-08-00", RNIPPGender: "female", RNIPPBirthplace: "2A004", RNIPPBirthcountry: "99100",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if key := got.AccountKey(); key != (franceconnect.AccountKey{Issuer: s.provider.Issuer(), Subject: citizen().Subject}) ||
		key.String() != s.provider.Issuer()+" "+citizen().Subject {
		t.Errorf("the account's key is %q", key)
	}
}

func TestUserFrom_HandsTextOnAsItCame(t *testing.T) {
	t.Parallel()
	persona := citizen()
	persona.Claims = map[string]any{"birthdate": "1962", "birthplace": "01004", "birthcountry": "", "family_name": "DUBOIS"}
	got, _, err := userOf(t, persona)
	if err != nil {
		t.Fatal(err)
	}
	if got.Birthdate != "1962" || got.Birthplace != "01004" || got.Birthcountry != "" || got.GivenNameArray != nil || got.Email != "" {
		t.Errorf("got %+v", got)
	}
	if got.DisplayName() != "DUBOIS" || (franceconnect.User{FamilyName: "DUBOIS", PreferredUsername: "MARTIN"}).DisplayName() != "MARTIN" {
		t.Errorf("the name in use is %q", got.DisplayName())
	}
}

func TestUserFrom_RefusesAClaimOfAnotherType(t *testing.T) {
	t.Parallel()
	persona := citizen()
	persona.Claims["birthplace"] = 2004
	if got, _, err := userOf(t, persona); err == nil || got.Subject != "" {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := franceconnect.UserFrom(nil); err == nil {
		t.Error("a nil session has a user")
	}
}

// A level that a route requires travels in acr_values, whatever the metadata says about
// the claims parameter.
func TestLevels_AreAskedByACRValues(t *testing.T) {
	t.Parallel()
	persona := citizen()
	persona.ACR, persona.StepUpACRs = "eidas2", []string{"eidas3"}
	s := newService(t, franceconnect.PlusIntegration, persona, nil, func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.Handle("/high", c.Require(franceconnect.EIDAS3())(page))
	})
	browser := s.provider.Browser()
	for _, step := range []struct{ path, asks, body string }{
		{"/page", "eidas2", "let through with eidas2"},
		{"/high", "eidas3", "let through with eidas3"},
	} {
		_, body := s.visit(t, browser, step.path)
		if asked := s.lastRequest(t, "acr_values"); body != step.body || asked != step.asks || s.lastRequest(t, "claims") != "" {
			t.Errorf("%s: asked for %q and %q, and got:\n%s", step.path, asked, s.lastRequest(t, "claims"), body)
		}
	}
}

// A higher level than the one asked for may come back from FranceConnect+.
func TestLevels_AHigherOneIsAccepted(t *testing.T) {
	t.Parallel()
	persona := citizen()
	persona.ACR = "eidas3"
	s := newService(t, franceconnect.PlusIntegration, persona, nil, nil)
	if _, body := s.visit(t, s.provider.Browser(), "/page"); body != "let through with eidas3" {
		t.Errorf("got:\n%s", body)
	}
	persona.ACR = "eidas1"
	s = newService(t, franceconnect.PlusIntegration, persona, nil, nil)
	if status, body := s.visit(t, s.provider.Browser(), "/page"); status != http.StatusForbidden {
		t.Errorf("eidas1 is accepted: %d\n%s", status, body)
	}
}

func TestOptions_DoNotChangeWhatIsShared(t *testing.T) {
	t.Parallel()
	shared := oidcrp.AuthOptions{
		Extra:  map[string][]string{"other": {"x"}},
		Claims: &oidcrp.ClaimsRequest{IDToken: map[string]*oidcrp.ClaimRequest{"auth_time": nil}},
	}
	o := shared
	franceconnect.SetIDPHint(&o, "a")
	franceconnect.RequestAMR(&o)
	if o.Extra.Get("idp_hint") != "a" || o.Extra.Get("other") != "x" || !o.Claims.IDToken["amr"].Essential || len(o.Claims.IDToken) != 2 {
		t.Errorf("got %+v", o)
	}
	if shared.Extra.Has("idp_hint") || len(shared.Claims.IDToken) != 1 {
		t.Errorf("the shared maps were changed: %+v", shared)
	}
	franceconnect.SetIDPHint(&o, "b")
	o.Claims.IDToken["amr"] = nil
	franceconnect.RequestAMR(&o)
	if o.Extra.Get("idp_hint") != "b" || o.Claims.IDToken["amr"] == nil {
		t.Errorf("the earlier options are kept: %+v", o)
	}
	none := oidcrp.AuthOptions{}
	if franceconnect.SetIDPHint(&none, ""); none.Extra != nil {
		t.Errorf("an empty hint is set: %v", none.Extra)
	}
}

func TestButton_StartsALogin(t *testing.T) {
	t.Parallel()
	s := newService(t, franceconnect.Integration, citizen(), nil, nil)
	for _, method := range []string{"post", "get"} {
		var b strings.Builder
		if err := franceconnect.Button(&b, franceconnect.ButtonOptions{Method: method, ReturnTo: "/page"}); err != nil {
			t.Fatal(err)
		}
		const target = `"/auth/login?return_to=%2Fpage"`
		if !strings.Contains(b.String(), target) {
			t.Fatalf("the button leads elsewhere:\n%s", b.String())
		}
		req, err := http.NewRequest(strings.ToUpper(method), s.URL+strings.Trim(target, `"`), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "text/html")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if to := res.Header.Get("Location"); !strings.HasPrefix(to, s.provider.Issuer()) {
			t.Errorf("%s: %s to %s", method, res.Status, to)
		}
	}
}
