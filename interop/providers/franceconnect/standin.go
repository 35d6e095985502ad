// Package franceconnect is a stand-in for FranceConnect and FranceConnect+, for tests: in
// front of oidctest's provider it puts closed lists of parameters, levels, lifetimes, pages
// with codes and encryption, as FranceConnect puts them in front of its engine. It was
// written from facts about FranceConnect and holds none of its code.
package franceconnect

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp/oidctest"
)

// The one client of a stand-in.
const (
	ClientID     = "service"
	ClientSecret = "0123456789abcdef0123456789abcdef0123456789abcdef"
)

// minimum lengths of the closed lists.
const (
	minNonce = 22
	minToken = 43
)

// Options is how the client is registered.
type Options struct {
	Plus          bool             // FranceConnect+
	SigningAlg    string           // of ID Token and UserInfo; if empty, HS256; always ES256 with Plus
	EncryptionAlg string           // of both, with A256GCM; if empty, none
	EncryptionKey *jose.JSONWebKey // the client's public key
	AllowAMR      bool             // the client may request amr
	IdPHints      []string         // the identity providers that idp_hint may name
	Now           func() time.Time // if nil, time.Now
}

// A StandIn is a running one.
type StandIn struct {
	*oidctest.Provider // the engine
	options            Options
	root               string // scheme and host

	mu   sync.Mutex
	deny url.Values // what the next authentication request is answered with
}

// Start starts a stand-in, whose issuer ends in /api/v2, until the test ends.
func Start(t testing.TB, o Options, personas ...oidctest.Persona) *StandIn {
	t.Helper()
	alg := cmp.Or(o.SigningAlg, "HS256")
	if o.Plus {
		alg = "ES256"
	}
	o.SigningAlg = alg
	s := &StandIn{options: o}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.root = server.URL
	session := 30 * time.Minute
	if o.Plus {
		session = 10 * time.Minute
	}
	engine, err := oidctest.New(oidctest.Config{
		Issuer: server.URL + "/api/v2",
		Clients: []oidctest.Client{{
			ID: ClientID, Secret: ClientSecret, IDTokenSignedResponseAlg: alg, UserInfoSignedResponseAlg: alg,
		}},
		Personas: personas, Now: o.Now, ACRValuesSupported: levels, ClaimsOnRequest: true, NoRefreshToken: true, NoPAR: true,
		CodeTTL: 30 * time.Second, AccessTokenTTL: time.Minute, IDTokenTTL: time.Minute, SessionTTL: session,
		Metadata: map[string]any{
			// The metadata promises what the front layer refuses.
			"code_challenge_methods_supported":      []string{"S256"},
			"response_modes_supported":              []string{"query", "form_post"},
			"claims_parameter_supported":            true,
			"token_endpoint_auth_methods_supported": []string{"client_secret_post"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Provider = engine
	return s
}

// Deny lets the next authentication request end with this error at the service, without
// the state if lost is set. code is FranceConnect's own, for error_uri.
func (s *StandIn) Deny(err, code string, lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deny = url.Values{"error": {err}, "error_uri": {s.root + "/erreurs?code=" + code}}
	if lost {
		s.deny.Set("lost", "1")
	}
}

// ServeHTTP is the front layer.
func (s *StandIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		refuse(w, "Y000400")
		return
	}
	switch strings.TrimPrefix(r.URL.Path, "/api/v2") {
	case "/authorize":
		s.authorize(w, r)
	case "/token":
		s.token(w, r)
	case "/userinfo":
		s.userInfo(w, r)
	case "/session/end":
		s.endSession(w, r)
	case "/token/revocation":
		s.revoke(w, r)
	default:
		s.Provider.ServeHTTP(w, r)
	}
}

// refuse answers with an error page that nobody comes back from.
func refuse(w http.ResponseWriter, code string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprintf(w, "<!doctype html><html lang=\"fr\"><title>Erreur</title><p>code d’erreur : %s", html.EscapeString(code))
}

// A list is a closed list of parameters.
type list struct{ required, optional []string }

var (
	authorizeList = list{
		[]string{"client_id", "response_type", "redirect_uri", "scope", "state", "nonce", "acr_values"},
		[]string{"claims", "prompt", "idp_hint", "ui_locales"},
	}
	logoutList = list{[]string{"id_token_hint"},
		[]string{"post_logout_redirect_uri", "state", "client_id", "logout_hint", "ui_locales"}}
	revocationList = list{[]string{"token", "client_id", "client_secret"}, nil}
)

// takes reports whether form has what is required, each parameter once, and nothing else.
func (l list) takes(form url.Values) bool {
	for name, values := range form {
		if len(values) != 1 || !slices.Contains(l.required, name) && !slices.Contains(l.optional, name) {
			return false
		}
	}
	return !slices.ContainsFunc(l.required, func(name string) bool { return !form.Has(name) })
}

// promptIsKnown reports whether every word of a prompt is one of FranceConnect's.
func promptIsKnown(form url.Values) bool {
	if !form.Has("prompt") {
		return true
	}
	words := strings.Split(form.Get("prompt"), " ")
	return !slices.ContainsFunc(words, func(word string) bool { return word != "login" && word != "consent" })
}

func (s *StandIn) authorize(w http.ResponseWriter, r *http.Request) {
	form := r.Form
	if !authorizeList.takes(form) || len(form.Get("nonce")) < minNonce || form.Get("acr_values") == "" || !promptIsKnown(form) {
		refuse(w, "Y030007")
		return
	}
	if form.Get("client_id") != ClientID {
		refuse(w, "Y04EA6EF")
		return
	}
	claims, amr := withAuthTime(form.Get("claims"))
	if amr && !s.options.AllowAMR {
		refuse(w, "Y100009")
		return
	}
	s.mu.Lock()
	deny := s.deny
	s.deny = nil
	s.mu.Unlock()
	acr := s.level(form.Get("acr_values"))
	switch hint := form.Get("idp_hint"); {
	case deny != nil:
		s.answer(w, r, deny)
	case !slices.Contains(strings.Fields(form.Get("scope")), "openid"):
		s.answer(w, r, url.Values{"error": {"invalid_request"}})
	case acr == "":
		s.answer(w, r, url.Values{"error": {"invalid_acr"}})
	case hint != "" && !slices.Contains(s.options.IdPHints, hint):
		s.answer(w, r, url.Values{"error": {"invalid_idp_hint"}})
	default:
		s.pass(w, r, acr, claims)
	}
}

// answer sends the browser back to the service with an error.
func (s *StandIn) answer(w http.ResponseWriter, r *http.Request, params url.Values) {
	if !params.Has("lost") {
		params.Set("state", r.Form.Get("state"))
	}
	params.Del("lost")
	params.Set("iss", s.Issuer())
	http.Redirect(w, r, r.Form.Get("redirect_uri")+"?"+params.Encode(), http.StatusFound)
}

// pass hands an authentication request on to the engine.
func (s *StandIn) pass(w http.ResponseWriter, r *http.Request, acr, claims string) {
	form := url.Values{}
	for _, name := range authorizeList.required {
		form.Set(name, r.Form.Get(name))
	}
	form.Set("acr_values", acr)
	form.Set("claims", claims)
	form.Set("scope", expand(form.Get("scope")))
	if acr == "eidas3" {
		form.Set("prompt", "login") // single sign-on is for the lower levels
	}
	s.engine(w, r, form)
}

// engine serves r, a GET with these parameters, by the engine.
func (s *StandIn) engine(w http.ResponseWriter, r *http.Request, query url.Values) {
	r = r.Clone(r.Context())
	r.Method, r.Body, r.URL.RawQuery, r.Form, r.PostForm = http.MethodGet, http.NoBody, query.Encode(), nil, nil
	s.Provider.ServeHTTP(w, r)
}

// levels are all levels, from the lowest up.
var levels = []string{"eidas1", "eidas2", "eidas3"}

// level returns the lowest known level of acr_values, or the default if none is known; ""
// if this platform does not have it.
func (s *StandIn) level(acrValues string) string {
	mine, level := levels[:1], "eidas1"
	if s.options.Plus {
		mine, level = levels[1:], "eidas3"
	}
	asked := strings.Fields(acrValues)
	if i := slices.IndexFunc(levels, func(acr string) bool { return slices.Contains(asked, acr) }); i >= 0 {
		level = levels[i]
	}
	if !slices.Contains(mine, level) {
		return ""
	}
	return level
}

// withAuthTime returns a claims parameter that asks for auth_time too, which
// FranceConnect always sends, and reports whether it asks for amr.
func withAuthTime(claims string) (string, bool) {
	var request struct {
		UserInfo map[string]any `json:"userinfo,omitempty"`
		IDToken  map[string]any `json:"id_token,omitempty"`
	}
	if claims != "" && json.Unmarshal([]byte(claims), &request) != nil {
		return claims, false // the engine refuses it
	}
	if request.IDToken == nil {
		request.IDToken = make(map[string]any)
	}
	_, amr := request.IDToken["amr"]
	request.IDToken["auth_time"] = nil
	text, _ := json.Marshal(request)
	return string(text), amr
}

// aliases are the scopes that stand for several claims.
var aliases = map[string][]string{
	"profile":        {"given_name", "given_name_array", "family_name", "birthdate", "gender", "preferred_username"},
	"birth":          {"birthplace", "birthcountry"},
	"identite_pivot": {"given_name", "given_name_array", "family_name", "birthdate", "gender", "birthplace", "birthcountry"},
}

// expand replaces aliases by the claims that they stand for, each of which has a scope of
// its name at the engine.
func expand(scope string) string {
	var scopes []string
	for _, name := range strings.Fields(scope) {
		if claims, ok := aliases[name]; ok {
			scopes = append(scopes, claims...)
			continue
		}
		scopes = append(scopes, name)
		if plain, ok := strings.CutPrefix(name, "rnipp_"); ok { // the claim and its twin
			claims := aliases[plain]
			if claims == nil {
				claims = []string{plain}
			}
			for _, claim := range claims {
				scopes = append(scopes, claim, "rnipp_"+claim)
			}
		}
	}
	slices.Sort(scopes)
	return strings.Join(slices.Compact(scopes), " ")
}

func (s *StandIn) token(w http.ResponseWriter, r *http.Request) {
	if r.PostForm.Has("code_verifier") { // there is no challenge that it could fit
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		json.NewEncoder(w).Encode(map[string]string{
			"error": "invalid_grant", "error_uri": s.root + "/erreurs?code=Y04C9B9D&id=1"})
		return
	}
	answer := httptest.NewRecorder()
	s.Provider.ServeHTTP(answer, r)
	body := answer.Body.Bytes()
	if answer.Code == http.StatusOK {
		var members map[string]any
		if err := json.Unmarshal(body, &members); err != nil {
			panic(err)
		}
		members["id_token"] = s.idToken(members["id_token"].(string))
		body, _ = json.Marshal(members)
	}
	s.repeat(w, answer, body)
}

// idToken makes an ID Token of the engine one of FranceConnect, which has no at_hash, and
// encrypts it if the client is registered for that.
func (s *StandIn) idToken(jws string) string {
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(jws, ".")[1])
	if err != nil {
		panic(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		panic(err)
	}
	delete(claims, "at_hash")
	jws = s.SignClaims(s.options.SigningAlg, claims, nil)
	if s.options.EncryptionAlg == "" {
		return jws
	}
	return s.encrypt(jws)
}

func (s *StandIn) userInfo(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		http.NotFound(w, r)
		return
	}
	answer := httptest.NewRecorder()
	s.Provider.ServeHTTP(answer, r)
	body := answer.Body.Bytes()
	if answer.Code == http.StatusOK && s.options.EncryptionAlg != "" {
		body = []byte(s.encrypt(string(bytes.TrimSpace(body))))
	}
	s.repeat(w, answer, body)
}

// repeat writes an answer of the engine with this body.
func (s *StandIn) repeat(w http.ResponseWriter, answer *httptest.ResponseRecorder, body []byte) {
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.Header().Del("Content-Length")
	w.WriteHeader(answer.Code)
	w.Write(body)
}

// encrypt puts a JWS into a JWE, whose header has members that a reader must ignore.
func (s *StandIn) encrypt(jws string) string {
	options := new(jose.EncrypterOptions).WithContentType("JWT").WithHeader("iss", s.Issuer()).WithHeader("aud", ClientID)
	recipient := jose.Recipient{Algorithm: jose.KeyAlgorithm(s.options.EncryptionAlg), Key: s.options.EncryptionKey}
	encrypter, err := jose.NewEncrypter(jose.A256GCM, recipient, options)
	if err != nil {
		panic(err)
	}
	jwe, err := encrypter.Encrypt([]byte(jws))
	if err != nil {
		panic(err)
	}
	compact, err := jwe.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return compact
}

func (s *StandIn) endSession(w http.ResponseWriter, r *http.Request) {
	hint := r.Form.Get("id_token_hint")
	if r.Method != http.MethodGet || !logoutList.takes(r.Form) || strings.Count(hint, ".") != 2 {
		refuse(w, "Y030007")
		return
	}
	s.Provider.ServeHTTP(w, r)
}

func (s *StandIn) revoke(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || !revocationList.takes(r.Form) || len(r.Form.Get("token")) < minToken {
		refuse(w, "Y030007")
		return
	}
	s.Provider.ServeHTTP(w, r)
}
