package proconnect_test

import (
	"net/http"
	"reflect"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/proconnect"
)

// userOf signs a persona in and returns what the service reads of them.
func userOf(t *testing.T, persona oidctest.Persona) (proconnect.User, *service, error) {
	t.Helper()
	var u proconnect.User
	var err error
	s := newService(t, persona, func(cfg *oidcrp.Config) {
		cfg.Scopes = append(cfg.Scopes, "siren", "idp_acr", "organizational_unit", "belonging_population", "chorusdt")
	}, func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.Handle("/page", c.RequireLogin(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			session, _ := oidcrp.SessionFromContext(r.Context())
			u, err = proconnect.UserFrom(session)
		})))
	})
	if status, body := s.visit(t, s.provider.Browser(), "/page", persona.Subject); status != http.StatusOK {
		t.Fatalf("status %d:\n%s", status, body)
	}
	return u, s, err
}

func TestUserFrom_HasEveryClaim(t *testing.T) {
	t.Parallel()
	got, s, err := userOf(t, agent())
	if err != nil {
		t.Fatal(err)
	}
	want := proconnect.User{
		Issuer: s.provider.Issuer(), Subject: agent().Subject,
		GivenName: "Angela Claire", UsualName: "Dubois", Email: "Angela.DUBOIS@Direction.example.org", UID: "1234",
		SIRET: "13002526500013", SIREN: "130025265", IdPID: "idp-a", IdPACR: "eidas1",
		OrganizationLabel: "Une direction", Roles: []string{"agent_public", "agent_public_etat"},
		PhoneNumber: "+33 1 99 00 12 34", OrganizationalUnit: "DTNUM", BelongingPopulation: "agent",
		ChorusDTMatricule: "USER_AGC", ChorusDTSociete: "CHT", Custom: map[string]any{"bureau": "B12"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if key := got.AccountKey(); key != (proconnect.AccountKey{Issuer: s.provider.Issuer(), Subject: agent().Subject}) ||
		key.String() != s.provider.Issuer()+" "+agent().Subject {
		t.Errorf("the account's key is %q", key)
	}
}

func TestUserFrom_AcceptsMissingClaimsAndAnInvalidSIRET(t *testing.T) {
	t.Parallel()
	persona := agent()
	persona.Claims = map[string]any{"siret": "not a SIRET", "roles": nil}
	got, _, err := userOf(t, persona)
	if err != nil {
		t.Fatal(err)
	}
	if got.SIRET != "not a SIRET" || got.ValidSIRET() || got.Roles != nil || got.Email != "" || got.IsPublicAgent() {
		t.Errorf("got %+v", got)
	}
}

func TestUserFrom_RefusesAClaimOfAnotherType(t *testing.T) {
	t.Parallel()
	persona := agent()
	persona.Claims["roles"] = "agent_public"
	if got, _, err := userOf(t, persona); err == nil || got.Subject != "" {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := proconnect.UserFrom(nil); err == nil {
		t.Error("a nil session has a user")
	}
}

func TestUser_ValidSIRETAndSIREN(t *testing.T) {
	t.Parallel()
	for siret, want := range map[string]bool{
		"13002526500013":  true,
		"21750001600019":  true,
		"13002526500014":  false, // check digit
		"1300252650001":   false,
		"130025265000130": false,
		"1300252650001x":  false,
		"":                false,
		"35600000000048":  true, // La Poste's head office has a check digit
		"35600000049837":  true, // one of its offices: digits that sum up to a multiple of 5
		"35600000049838":  false,
		"35600100049837":  false, // the exception is for one SIREN only
		"１３００２５２６５０００１３": false,
	} {
		if got := (proconnect.User{SIRET: siret}).ValidSIRET(); got != want {
			t.Errorf("ValidSIRET of %q: %v, want %v", siret, got, want)
		}
	}
	for siren, want := range map[string]bool{
		"130025265": true, "356000000": true, "130025266": false, "13002526": false, "13002526a": false, "": false,
	} {
		if got := (proconnect.User{SIREN: siren}).ValidSIREN(); got != want {
			t.Errorf("ValidSIREN of %q: %v, want %v", siren, got, want)
		}
	}
}

func TestUser_NormalizedEmailKeepsAddressesApart(t *testing.T) {
	t.Parallel()
	for email, want := range map[string]string{
		" Angela.DUBOIS@Direction.Example.ORG ": "angela.dubois@direction.example.org",
		"marK@example.org":                      "mark@example.org",
		"mar\u212a@example.org":                 "mar\u212a@example.org", // the Kelvin sign folds to k
		"É.martin@example.org":                  "É.martin@example.org",
		"":                                      "",
	} {
		if got := (proconnect.User{Email: email}).NormalizedEmail(); got != want {
			t.Errorf("NormalizedEmail of %q: %q, want %q", email, got, want)
		}
	}
}

func TestUser_IsPublicAgent(t *testing.T) {
	t.Parallel()
	tests := []struct {
		roles []string
		want  bool
	}{
		{nil, false},
		{[]string{""}, false},
		{[]string{"agent_public"}, true},
		{[]string{"other", "agent_public_territorial"}, true},
		{[]string{"agent_public_etat"}, true},
		{[]string{"agent_public_hospitalier"}, true},
		{[]string{"agent_public_L100-3", "dirigeant"}, false},
		{[]string{"agent_public_of_our_own"}, false},
	}
	for _, test := range tests {
		if got := (proconnect.User{Roles: test.roles}).IsPublicAgent(); got != test.want {
			t.Errorf("IsPublicAgent with %q: %v, want %v", test.roles, got, test.want)
		}
	}
}
