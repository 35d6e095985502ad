package oidcrp

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRequirements_AreMetOrNot(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	now := c.clock.Now()
	s := madeSession(c.Client, fmt.Sprintf(`{"sub":"alice","acr":"eidas2","auth_time":%d}`, now.Add(-time.Minute).Unix()),
		`{"sub":"alice","acr":"eidas3","auth_time":9999999999,"email":"a@example.org","siret":"13002526500013",
		"email_verified":true,"count":3,"org":13002526500013,"over":9007199254740993,"id":1234567,"ratio":0.10,"big":1e21,"zero":0,"orgs":[1,13002526500013],"empty":"","nothing":null,"none":[],"no":false,"hollow":{},"nos":[false],"roles":["agent","admin"],"address":{"a":"b"},
		"realm_access":{"roles":["agent","admin"],"a/b":{"~":7},"":"empty","off":false},"/address/a":"top","0":"zero"}`)
	for _, test := range []struct {
		requirement Requirement
		met         bool
	}{
		{ACR("eidas2"), true},
		{ACR("eidas1", "eidas2"), true},
		{ACR("eidas3"), false}, // UserInfo says so, which counts for nothing
		{ACR("EIDAS2"), false},
		{ACR(), false},
		{MaxAge(time.Minute), true},
		{MaxAge(time.Hour), true},
		{MaxAge(59 * time.Second), false},
		{HasClaim("email"), true},
		{Claim("email", "a@example.org", "b@example.org"), true},
		{Claim("email", "b@example.org"), false},
		{HasClaim("EMAIL"), false},
		{HasClaim("missing"), false},
		{HasClaim("empty"), false},
		{HasClaim("nothing"), false},
		{HasClaim("none"), false},
		{HasClaim("no"), false},
		{Claim("no", "false"), true},
		{HasClaim("nos"), false},
		{HasClaim("hollow"), false},
		{Claim("address", "map[a:b]"), false},
		{HasClaim("email_verified"), true},
		{Claim("email_verified", "true"), true},
		{Claim("email_verified", "false"), false},
		{Claim("count", "3"), true},
		// As they were written: a float64 is not exact, and fmt writes it as 1.3002526500013e+13.
		{Claim("org", "13002526500013"), true},
		{Claim("org", "1.3002526500013e+13"), false},
		{Claim("orgs", "13002526500013"), true},
		{Claim("over", "9007199254740993"), true},
		{Claim("over", "9007199254740992"), false},
		{Claim("id", "1234567"), true},
		{Claim("id", "1.234567e+06"), false},
		{Claim("ratio", "0.10"), true},
		{Claim("big", "1e21"), true},
		{HasClaim("org"), true},
		{HasClaim("zero"), false},
		{Claim("zero", "0"), true},
		{HasClaim("roles"), true},
		{Claim("roles", "admin"), true},
		{Claim("roles", "agent admin"), false},
		{HasClaim("address"), true},
		{Claim("acr", "eidas2"), true},
		{Claim("acr", "eidas3"), false},
		{Claim("/realm_access/roles", "admin"), true},
		{Claim("/realm_access/roles", "owner"), false},
		{Claim("/realm_access/Roles", "admin"), false},
		{Claim("/realm_access/roles/1", "admin"), false}, // of objects only
		{Claim("/realm_access/a~1b/~0", "7"), true},
		{Claim("/realm_access/", "empty"), true},
		{Claim("/roles", "admin"), true},
		{Claim("/address/a", "b"), true},
		{Claim("/address/a", "top"), false}, // a slash is always a pointer
		{Claim("/missing/roles", "admin"), false},
		{HasClaim("/realm_access/a~1b"), true},
		{HasClaim("/realm_access/off"), false},
		{HasClaim("/email/roles"), false},
		// An empty list from a configuration opens nothing.
		{Claim("roles"), false},
		{Claim("roles", []string{}...), false},
		{Claim("email_verified"), false},
	} {
		if met := test.requirement.Met(s, now); met != test.met {
			t.Errorf("%s: met is %t, want %t", test.requirement.Name, met, test.met)
		}
	}
	if MaxAge(time.Hour).Met(madeSession(c.Client, `{"sub":"alice"}`, ""), now) {
		t.Error("max_age is met without auth_time")
	}
	ahead := func(d time.Duration) *Session {
		return madeSession(c.Client, fmt.Sprintf(`{"sub":"alice","auth_time":%d}`, now.Add(d).Unix()), "")
	}
	if MaxAge(time.Hour).Met(ahead(time.Hour), now) {
		t.Error("max_age is met by an auth_time that is yet to come")
	}
	if !MaxAge(time.Hour).Met(ahead(maxClockSkew), now) {
		t.Error("max_age is not met by the auth_time of a clock that is a little ahead")
	}
}

// A requirement keeps its values, whatever its maker does with the slice.
func TestRequirements_CopyTheirValues(t *testing.T) {
	t.Parallel()
	s := NewSession(map[string]string{"acr": "eidas2", "role": "admin"})
	values := []string{"eidas2", "admin"}
	acr, claim := ACR(values...), Claim("role", values...)
	clear(values)
	if !acr.Met(s, time.Now()) || !claim.Met(s, time.Now()) {
		t.Error("the requirement changed with the slice that it was made from")
	}
}

// What a login asks for to meet a demand: acr values that suit every requirement,
// and the last max_age.
func TestDemand_AsksForWhatItNeeds(t *testing.T) {
	t.Parallel()
	met := func(*Session, time.Time) bool { return true }
	hint := Requirement{Name: "hint", Met: met, Ask: func(o *AuthOptions) { o.LoginHint = "alice" }}
	d := newDemand([]Requirement{ACR("eidas1", "eidas2", "eidas3"), ACR("eidas3", "eidas2"), MaxAge(time.Hour), hint, {Name: "silent", Met: met}})
	o := d.options(nil, time.Now())
	if !slices.Equal(o.RequireACR, []string{"eidas2", "eidas3"}) || o.MaxAge == nil || *o.MaxAge != time.Hour || o.LoginHint != "alice" {
		t.Errorf("it asks for %+v", o)
	}
	if o.stepUp != d.key || d.key == "" {
		t.Errorf("the step up is %q, the key %q", o.stepUp, d.key)
	}
	if empty := newDemand(nil); empty.key != "" || empty.options(nil, time.Now()).stepUp != "" {
		t.Errorf("no requirements have the key %q", empty.key)
	}
}

func TestDemand_KeyNamesTheRequirements(t *testing.T) {
	t.Parallel()
	key := func(requirements ...Requirement) string { return newDemand(requirements).key }
	one, again := key(ACR("a"), Claim("b", "c")), key(ACR("a"), Claim("b", "c"))
	if one != again {
		t.Errorf("the same requirements have the keys %s and %s", one, again)
	}
	keys := map[string]string{}
	for what, k := range map[string]string{
		"none": key(), "one": key(ACR("a")), "another": key(ACR("b")), "both": key(ACR("a", "b")),
		"two": key(ACR("a"), Claim("b", "c")), "two in another order": key(Claim("b", "c"), ACR("a")),
		"a name with a line break": key(Requirement{Name: "x\ny", Met: ACR("a").Met}),
		"two names":                key(Requirement{Name: "x", Met: ACR("a").Met}, Requirement{Name: "y", Met: ACR("a").Met}),
	} {
		if other, taken := keys[k]; taken {
			t.Errorf("%s and %s have one key", what, other)
		}
		keys[k] = what
	}
}

// The latest steps up are remembered, so that routes that contradict each other do
// not send the browser in a loop.
func TestDemand_RemembersTheLatestStepsUp(t *testing.T) {
	t.Parallel()
	now := time.Now()
	d := newDemand([]Requirement{ACR("eidas2")})
	for _, test := range []struct {
		what     string
		previous *Session
		want     string
	}{
		{"nobody", nil, d.key},
		{"a new session", &Session{created: now}, d.key},
		{"a session after a step up", &Session{created: now, stepUp: "a"}, "a " + d.key},
		{"a session after many", &Session{created: now, stepUp: "a b c d e"}, "c d e " + d.key},
		{"an older session", &Session{created: now.Add(-5 * time.Minute), stepUp: "a b"}, d.key},
	} {
		if got := d.options(test.previous, now).stepUp; got != test.want {
			t.Errorf("%s: the steps up are %q, want %q", test.what, got, test.want)
		}
	}
}

func TestDemand_ASecondLoginDoesNotHelp(t *testing.T) {
	t.Parallel()
	now := time.Now()
	session := func(stepUp, claims string) *Session {
		s := NewSession(map[string]string{"acr": claims})
		s.stepUp, s.created = stepUp, now.Add(-time.Minute)
		return s
	}
	d := newDemand([]Requirement{ACR("eidas2")})
	for _, test := range []struct {
		what  string
		s     *Session
		code  Code // "" if it may pass
		again bool
	}{
		{"nobody", nil, CodeNoSession, false},
		{"met", session("", "eidas2"), "", false},
		{"unmet", session("", "eidas1"), CodeRequirementUnmet, false},
		{"unmet, after another step up", session("other", "eidas1"), CodeRequirementUnmet, false},
		{"unmet, after the step up for it", session("other "+d.key, "eidas1"), CodeRequirementUnmet, true},
	} {
		err := d.check(test.s, now)
		if test.code == "" {
			if err != nil {
				t.Errorf("%s: %v", test.what, err)
			}
			continue
		}
		wantCode(t, err, test.code)
		if e, ok := asDemand(err); !ok || e.again != test.again || e.demand.key != d.key || e.session != test.s {
			t.Errorf("%s: %+v", test.what, e)
		}
	}
	// It was met when the session was new, so a new login meets it again.
	s := NewSession(map[string]any{"auth_time": now.Unix()})
	recent := newDemand([]Requirement{MaxAge(time.Minute)})
	s.stepUp, s.created = recent.key, now
	if e, ok := asDemand(recent.check(s, now.Add(time.Hour))); !ok || e.again {
		t.Errorf("after max_age has passed: %+v", e)
	}
}

// An app may call Require, or ServeError, for every request. Those of Check must
// not push out those of the routes.
func TestDemands_AreBounded(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	for i := range 2 * maxDemands {
		c.Require(Claim(fmt.Sprint("route ", i)))
		_, err := c.Check(requestWith(), Claim(fmt.Sprint("check ", i)))
		c.ServeError(httptest.NewRecorder(), requestWith(), err)
	}
	ds := &c.demands
	if len(ds.routes) != maxDemands || len(ds.checks) != maxDemands || len(ds.order) != maxDemands {
		t.Errorf("%d demands of routes and %d of checks are kept", len(ds.routes), len(ds.checks))
	}
	for name, known := range map[string]bool{
		"route 0": true, "check 0": false, fmt.Sprint("check ", 2*maxDemands-1): true,
	} {
		d := newDemand([]Requirement{Claim(name)})
		got := ds.get(d.key)
		if got.key != d.key || (len(got.requirements) > 0) != known {
			t.Errorf("%s: found %v", name, got)
		}
	}
	for _, key := range []string{"", "x", "AAAA", strings.Repeat("A", 8) + "=", strings.Repeat("A", 100), "AAAA\nAAAA"} {
		if d := ds.get(key); d.key != "" {
			t.Errorf("the key %q is remembered", key)
		}
	}
}

// The demand of a Check may be unknown to the replica that the login starts on. The
// session remembers its key all the same, and the script gets 403 after one login.
func TestDemands_AnUnknownOneIsTriedOnce(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	d := newDemand([]Requirement{Claim("documents", "12")})
	o := c.demands.get(d.key).options(nil, c.clock.Now())
	s := NewSession(map[string]any{"sub": "alice"})
	s.stepUp = o.stepUp
	e, ok := asDemand(d.check(s, time.Now()))
	if !ok || !e.again {
		t.Errorf("after its login: %+v", e)
	}
}

// An empty value would let in a session that lacks the claim, or an acr: it panics
// where the route is made, and the message says what to do instead.
func TestRequirements_RefuseEmptyValues(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what string
		make func() Requirement
		want string
	}{
		{"ACR", func() Requirement { return ACR("") }, `ACR: value 1 is "": give each acr value by itself`},
		{"one of several", func() Requirement { return ACR("eidas2", "") }, `ACR: value 2 is ""`},
		{"a list as one value", func() Requirement { return ACR("eidas2 eidas3") }, `ACR: value 1 is "eidas2 eidas3"`},
		{"Claim", func() Requirement { return Claim("groups", "admin", "") }, "Claim: value 2 of groups is empty: leave it out, or use HasClaim"},
		{"a claim without name", func() Requirement { return Claim("", "admin") }, "Claim: the name of the claim is empty"},
		{"presence without name", func() Requirement { return HasClaim("") }, "HasClaim: the name of the claim is empty"},
		{"a pointer to nothing", func() Requirement { return Claim("/", "admin") }, "Claim: the name of the claim is empty"},
		{"a pointer of another form", func() Requirement { return HasClaim("/a/b~2") }, `HasClaim: the JSON Pointer /a/b~2 has a "~"`},
		{"no time", func() Requirement { return MaxAge(0) }, "MaxAge: 0s is not positive"},
		{"a negative time", func() Requirement { return MaxAge(-time.Minute) }, "MaxAge: -1m0s is not positive"},
	} {
		func() {
			defer func() {
				if p := fmt.Sprint(recover()); !strings.HasPrefix(p, "oidcrp: "+test.want) {
					t.Errorf("%s: the panic is %q, want %q", test.what, p, test.want)
				}
			}()
			test.make()
		}()
	}
}

// HasClaim is about providers that write booleans as text or numbers.
func TestHasClaim_RefusesWhatSaysNo(t *testing.T) {
	t.Parallel()
	for value, met := range map[string]bool{
		`false`: false, `"false"`: false, `"False"`: false, `" FALSE "`: false, `"0"`: false, `"no"`: false, `"No"`: false,
		`0`: false, `0.0`: false, `-0`: false, `0e9`: false, `""`: false, `" "`: false, `null`: false,
		`[]`: false, `{}`: false, `[false,"no",0,null]`: false,
		`true`: true, `"true"`: true, `"True"`: true, `1`: true, `0.5`: true, `1e-400`: true, `"1"`: true, `"yes"`: true,
		`"north"`: true, `["no","yes"]`: true, `{"a":false}`: true,
	} {
		for _, name := range []string{"email_verified", "manager"} {
			s := NewSession(json.RawMessage(`{"sub":"alice","` + name + `":` + value + `}`))
			if got := HasClaim(name).Met(s, time.Now()); got != met {
				t.Errorf("%s of %s: met is %t, want %t", name, value, got, met)
			}
		}
	}
}
