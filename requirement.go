package oidcrp

// This file decides whether a session meets what a route requires.

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Requirement is what a route demands of a session beyond being one: see
// [Client.Require]. [ACR], [MaxAge] and [Claim] make the usual ones; a package
// for one provider can make its own.
type Requirement struct {
	// Name says what is required, such as `acr "eidas2" or "eidas3"`. It appears
	// in the log and in responses to scripts, and identifies the requirement: two
	// that differ must not share it. It is required: Require panics without it.
	Name string
	// Met reports whether the session meets the requirement at the time now. It
	// is required: Require panics without it.
	Met func(s *Session, now time.Time) bool
	// Ask adds to a login what may make it meet the requirement, such as
	// [AuthOptions.RequireACR]. If nil, as for a role, the login is an ordinary one, and
	// a script gets 403 at once, not 401.
	Ask func(*AuthOptions)
	// Explain tells the person why access is refused and what to do, as plain
	// text in the language of the page, such as "en" or "fr". If nil, the page
	// explains it in general words.
	Explain func(language string) string
}

// ACR requires the provider to attest one of these authentication context
// classes. Values match exactly: name every one that is good enough, higher ones
// included. It panics on an empty value, which a session without acr would
// meet, and on one with a space, which no request can ask for.
func ACR(values ...string) Requirement {
	values = append([]string{}, values...) // never nil: no value is not any value
	for i, acr := range values {
		if acr == "" || strings.Contains(acr, " ") {
			panic(fmt.Sprintf("oidcrp: ACR: value %d is %q: give each acr value by itself, without spaces, and leave out empty ones", i+1, acr))
		}
	}
	return Requirement{
		Name: fmt.Sprintf("acr %q", values),
		Met:  func(s *Session, _ time.Time) bool { return slices.Contains(values, s.ACR()) },
		Ask: func(o *AuthOptions) {
			// Two such requirements on one route leave what suits both.
			if o.RequireACR == nil {
				o.RequireACR = append([]string{}, values...)
			}
			o.RequireACR = slices.DeleteFunc(o.RequireACR, func(acr string) bool { return !slices.Contains(values, acr) })
		},
	}
}

// MaxAge requires the person to have authenticated within the last d, by the ID
// Token's auth_time. A session without auth_time does not meet it. It panics
// unless d is positive, because no session would meet it for long enough to be
// used: for a login that asks for the person's credentials in any case, use
// [AuthOptions.MaxAge].
func MaxAge(d time.Duration) Requirement {
	if d <= 0 {
		panic(fmt.Sprintf("oidcrp: MaxAge: %v is not positive: no session would meet it", d))
	}
	return Requirement{
		Name: "max_age " + d.String(),
		Met: func(s *Session, now time.Time) bool {
			at := s.AuthTime()
			return !at.IsZero() && now.Sub(at) <= d && at.Sub(now) <= maxClockSkew
		},
		Ask: func(o *AuthOptions) {
			if o.MaxAge == nil || d < *o.MaxAge { // two such requirements on one route
				o.MaxAge = &d
			}
		},
	}
}

// Claim requires the claim of that name to be one of values, or to be an array
// that holds one of them. A number or a boolean matches as it is written in JSON.
// A name that begins with a slash is a JSON Pointer (RFC 6901) to a member of a claim
// that is an object: "/realm_access/roles". Without values, nobody meets it: an empty
// list in a configuration opens nothing. It panics on an empty name or value, and on a
// "~" in a pointer that is neither "~0" nor "~1": use [HasClaim] for a claim that must
// only be present. Providers return only what they are asked for: see [Config.Scopes]
// and [AuthOptions.Claims].
func Claim(name string, values ...string) Requirement {
	checkClaimName("Claim", name)
	values = slices.Clone(values)
	if i := slices.Index(values, ""); i >= 0 {
		panic(fmt.Sprintf("oidcrp: Claim: value %d of %s is empty: leave it out, or use HasClaim for a claim that must be present", i+1, name))
	}
	return Requirement{
		Name: fmt.Sprintf("claim %s %q", name, values),
		Met:  func(s *Session, _ time.Time) bool { return claimIs(s.claim(name), values) },
	}
}

// HasClaim requires the claim of that name to be present, with a value that does
// not say no: not null, false, 0, an empty string, array or object, nor one of the
// strings "false", "0" and "no" in any case, which some providers send in place of
// a boolean or number. An array must hold a value that is present. The name may be a
// JSON Pointer, and it panics on the same names, as with [Claim], which is for certain
// values.
func HasClaim(name string) Requirement {
	checkClaimName("HasClaim", name)
	return Requirement{
		Name: "claim " + name,
		Met:  func(s *Session, _ time.Time) bool { return claimPresent(s.claim(name)) },
	}
}

func checkClaimName(maker, name string) {
	if claimPath(name)[0] == "" {
		panic("oidcrp: " + maker + ": the name of the claim is empty")
	}
	if strings.HasPrefix(name, "/") && strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(name), "~") {
		panic("oidcrp: " + maker + ": the JSON Pointer " + name + ` has a "~" that is neither "~0" nor "~1"`)
	}
}

// claimIs reports whether claim, or an element of it, is one of values.
func claimIs(claim any, values []string) bool {
	switch claim := claim.(type) {
	case nil, map[string]any:
		return false
	case []any:
		return slices.ContainsFunc(claim, func(v any) bool { return claimIs(v, values) })
	}
	return slices.Contains(values, fmt.Sprint(claim))
}

// claimPresent reports whether claim is there and does not say no.
func claimPresent(claim any) bool {
	switch claim := claim.(type) {
	case bool:
		return claim
	case string:
		return !slices.Contains([]string{"", "false", "0", "no"}, strings.ToLower(strings.TrimSpace(claim)))
	case json.Number:
		digits, _, _ := strings.Cut(strings.ToLower(claim.String()), "e")
		return strings.ContainsAny(digits, "123456789") // 0, -0 and 0.0e9 do not
	case []any:
		return slices.ContainsFunc(claim, claimPresent)
	case map[string]any:
		return len(claim) > 0
	}
	return false
}

// A demand is all the requirements of one route.
type demand struct {
	requirements []Requirement
	key          string // "" when there are none
}

// demandKeySize is the size of a demand's key in bytes.
const demandKeySize = 6

// newDemand panics on a requirement without a Name or Met.
func newDemand(requirements []Requirement) demand {
	d := demand{requirements: slices.Clone(requirements)}
	if len(requirements) == 0 {
		return d
	}
	h := sha256.New()
	for i, requirement := range requirements {
		switch {
		case requirement.Name == "":
			panic(fmt.Sprintf("oidcrp: requirement %d has no Name", i+1))
		case requirement.Met == nil:
			panic("oidcrp: the requirement " + requirement.Name + " has no Met")
		}
		fmt.Fprintf(h, "%q\n", requirement.Name)
	}
	d.key = base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:demandKeySize])
	return d
}

// contradicts reports whether no acr value meets all the requirements.
func (d demand) contradicts() bool {
	acr := d.options(nil, time.Time{}).RequireACR
	return acr != nil && len(acr) == 0
}

// String names the requirements.
func (d demand) String() string {
	names := make([]string, len(d.requirements))
	for i, requirement := range d.requirements {
		names[i] = requirement.Name
	}
	return strings.Join(names, ", ")
}

// demands are the demands of an app by key, for the logins that a script could
// not start itself.
type demands struct {
	mu     sync.RWMutex
	routes map[string]demand // guarded by mu
	checks map[string]demand // those of Check; guarded by mu
	order  []string          // the keys of checks, oldest first; guarded by mu
}

// maxDemands bounds each of the two kinds, for an app that calls Require for
// every request, or Check for every object.
const maxDemands = 1000

// addRoute keeps the demand of a route.
func (ds *demands) addRoute(d demand) { ds.addRouteAs(d.key, d) }

// addRouteAs is addRoute with a key that is not the demand's own: that of a Group.
func (ds *demands) addRouteAs(key string, d demand) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if ds.routes == nil {
		ds.routes = make(map[string]demand)
	}
	if len(ds.routes) < maxDemands {
		ds.routes[key] = d
	}
}

// addCheck keeps the demand of a Check, which may concern one object only. The
// oldest makes room, or one person could use up all of it.
func (ds *demands) addCheck(d demand) { ds.addCheckAs(d.key, d) }

// addCheckAs is addCheck with a key that is not the demand's own: that of a Group.
func (ds *demands) addCheckAs(key string, d demand) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if _, ok := ds.checks[key]; ok {
		return
	}
	if ds.checks == nil {
		ds.checks = make(map[string]demand)
	}
	if len(ds.order) >= maxDemands {
		delete(ds.checks, ds.order[0])
		ds.order = ds.order[1:]
	}
	ds.checks[key] = d
	ds.order = append(ds.order, key)
}

// get returns the demand that a script names by key: it got the key from
// sendToLogin, and cannot start the login itself. A demand may be unknown here,
// when another replica refused the request or there were too many. Its key is
// then enough for the session to remember that a login was tried, so that the
// script gets 403 after it, and does not try without end.
func (ds *demands) get(key string) demand {
	ds.mu.RLock()
	defer ds.mu.RUnlock()
	for _, known := range []map[string]demand{ds.routes, ds.checks} {
		if d, ok := known[key]; ok {
			return d
		}
	}
	// The decoder ignores line ends, of which a key could have thousands.
	raw, err := base64.RawURLEncoding.Strict().DecodeString(key)
	if err != nil || len(raw) != demandKeySize || len(key) != base64.RawURLEncoding.EncodedLen(demandKeySize) {
		return demand{}
	}
	return demand{key: key}
}

// metBy reports whether s meets the demand that a login was for at last; stepUp is
// that of the login.
func (ds *demands) metBy(s *Session, stepUp string, now time.Time) bool {
	keys := strings.Fields(stepUp)
	if len(keys) == 0 {
		return true
	}
	d := ds.get(keys[len(keys)-1])
	return len(d.requirements) > 0 && d.unmet(s, now) == nil
}

// unmet returns the requirement that s does not meet at the time now: the first for
// which a login asks nothing, else the first.
func (d demand) unmet(s *Session, now time.Time) (first *Requirement) {
	for i := range d.requirements {
		requirement := &d.requirements[i]
		if requirement.Met(s, now) {
			continue
		}
		if requirement.Ask == nil {
			return requirement
		}
		first = cmp.Or(first, requirement)
	}
	return first
}

// options returns what a login asks for to meet the demand. previous is the
// session that does not meet it, if any. Its latest step-ups are carried over, so
// that routes with contradicting requirements do not send the browser to the
// provider again and again.
func (d demand) options(previous *Session, now time.Time) *AuthOptions {
	o := &AuthOptions{stepUp: d.key, byPage: true}
	for _, requirement := range d.requirements {
		if requirement.Ask != nil {
			requirement.Ask(o)
		}
	}
	if previous != nil && now.Sub(previous.created) < 5*time.Minute {
		steps := append(strings.Fields(previous.stepUp), d.key)
		o.stepUp = strings.Join(steps[max(0, len(steps)-4):], " ")
	}
	return o
}

// A demandError says that a session does not meet a demand, or that there is no
// session.
type demandError struct {
	demand  demand
	session *Session     // nil: nobody is signed in
	unmet   *Requirement // one that the session does not meet
	again   bool         // a login that asked for it has already failed
	choice  bool         // any member of the Group may sign the person in
}

func (e *demandError) Error() string {
	if e.unmet == nil {
		return "nobody is signed in"
	}
	return "the session does not meet: " + clean(e.unmet.Name, 300)
}

// lasting reports whether a login asks for nothing that can make the session meet the
// demand: it helps only if the provider says something else of the person by now.
func (e *demandError) lasting() bool { return e.again || e.unmet != nil && e.unmet.Ask == nil }

// asDemand returns the demandError in err's chain.
func asDemand(err error) (*demandError, bool) {
	var e *demandError
	ok := errors.As(err, &e)
	return e, ok
}

// check decides whether s may pass at the time now: nil, or an [*Error] with
// [CodeNoSession] or [CodeRequirementUnmet] and a demandError.
func (d demand) check(s *Session, now time.Time) error {
	if s == nil {
		return fail("require", CodeNoSession, &demandError{demand: d})
	}
	unmet := d.unmet(s, now)
	if unmet == nil {
		return nil
	}
	// If the login was made for this demand and did not meet it even when it was
	// new, another login does not help.
	again := slices.Contains(strings.Fields(s.stepUp), d.key) && d.unmet(s, s.created) != nil
	return fail("require", CodeRequirementUnmet, &demandError{demand: d, session: s, unmet: unmet, again: again})
}
