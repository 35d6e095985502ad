package oidctest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oidcrp/oidcrp/oidctest/internal/wire"
)

// An authRequest is a validated authentication request (OIDC Core 3.1.2.1). The
// provider keeps it while the login page is open.
type authRequest struct {
	id           string
	client       *Client
	redirectURI  string
	responseMode string
	state        string
	nonce        string
	challenge    string
	scopes       []string
	prompt       []string
	maxAge       *time.Duration
	acr          acrDemand
	claims       claimsRequest
	loginHint    string
	idTokenHint  string
	locale       string
	expires      time.Time
}

// A session is the provider's single sign-on session of a browser.
type session struct {
	id       string // the cookie
	sid      string // the claim
	persona  *Persona
	acr      string
	amr      []string
	authTime time.Time
	expires  time.Time
	clients  map[string]*Client // the clients that the user signed in to
}

// serveAuthorization implements OIDC Core 3.1.2.
func (p *Provider) serveAuthorization(r *http.Request) *response {
	if res := onlyMethods(r, http.MethodGet, http.MethodPost); res != nil {
		return res
	}
	params, err := p.unpush(r.Form)
	if err != nil {
		return errorPage(r, http.StatusBadRequest, err)
	}
	if p.cfg.RefusePKCE && params.Has("code_challenge") {
		return errorPage(r, http.StatusBadRequest, invalidRequest("code_challenge is not accepted"))
	}
	a, err := p.trustedTarget(params)
	if err != nil {
		// Without a valid client and redirect URI the error must not be sent by
		// redirect (RFC 6749 section 4.1.2.1).
		return errorPage(r, http.StatusBadRequest, err)
	}
	a.locale = localeOf(r)
	if p.cfg.RequirePAR && !r.Form.Has("request_uri") {
		return p.fail(a, invalidRequest("the request must be pushed (RFC 9126)"))
	}
	if err := p.parse(a, params); err != nil {
		return p.fail(a, err)
	}
	return p.decide(r, a)
}

// trustedTarget validates the client and the redirect URI. Once they are valid, every
// other error is sent to the redirect URI.
func (p *Provider) trustedTarget(params url.Values) (*authRequest, *oauthError) {
	if name := repeated(params); name != "" {
		return nil, invalidRequest("duplicate parameter " + name)
	}
	client := p.client(params.Get("client_id"))
	if client == nil {
		return nil, failure("invalid_client", "client_id is not registered")
	}
	uri := params.Get("redirect_uri")
	if uri == "" || !allows(client.RedirectURIs, uri) {
		return nil, invalidRequest("redirect_uri is not registered for this client")
	}
	a := &authRequest{
		id: wire.RandomString(16), client: client, redirectURI: uri, state: params.Get("state"),
		responseMode: "query", expires: p.now().Add(time.Hour),
	}
	if params.Get("response_mode") == "form_post" {
		a.responseMode = "form_post"
	}
	return a, nil
}

// parse reads the rest of the request.
func (p *Provider) parse(a *authRequest, params url.Values) *oauthError {
	for _, name := range []string{"request", "request_uri", "registration"} {
		if params.Has(name) {
			return failure(name+"_not_supported", name+" is not supported")
		}
	}
	switch params.Get("response_mode") {
	case "", "query", "form_post":
	default:
		return invalidRequest("response_mode must be query or form_post")
	}
	if params.Get("response_type") != "code" {
		return failure("unsupported_response_type", "response_type must be code")
	}
	a.scopes = strings.Fields(params.Get("scope"))
	if !slices.Contains(a.scopes, "openid") {
		return failure("invalid_scope", "scope must contain openid")
	}
	for _, scope := range a.scopes {
		if len(a.client.Scopes) > 0 && !slices.Contains(a.client.Scopes, scope) {
			return failure("invalid_scope", "requested scope is not allowed")
		}
	}
	a.nonce = params.Get("nonce")
	a.loginHint = params.Get("login_hint")
	a.idTokenHint = params.Get("id_token_hint")
	if err := p.parsePKCE(a, params); err != nil {
		return err
	}
	return parseAuthentication(a, params)
}

// parsePKCE implements RFC 7636 section 4.3. It refuses the method plain, which is the
// default of that section.
func (p *Provider) parsePKCE(a *authRequest, params url.Values) *oauthError {
	a.challenge = params.Get("code_challenge")
	method := params.Get("code_challenge_method")
	switch {
	case a.challenge == "" && method != "":
		return invalidRequest("code_challenge_method without code_challenge")
	case a.challenge == "" && p.cfg.RequirePKCE:
		return invalidRequest("code_challenge is required")
	case a.challenge != "" && method != "S256":
		return invalidRequest("code_challenge_method must be S256")
	case a.challenge != "" && len(a.challenge) != 43:
		return invalidRequest("code_challenge must be a SHA-256 hash in base64url")
	}
	return nil
}

// parseAuthentication reads the parameters that say how to authenticate the user.
func parseAuthentication(a *authRequest, params url.Values) *oauthError {
	a.prompt = strings.Fields(params.Get("prompt"))
	if len(a.prompt) > 1 && slices.Contains(a.prompt, "none") {
		return invalidRequest("prompt none must be the only value")
	}
	if text := params.Get("max_age"); text != "" {
		seconds, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return invalidRequest("max_age must be a number of seconds")
		}
		maxAge := time.Duration(seconds) * time.Second
		a.maxAge = &maxAge
	}
	var err error
	if a.claims, err = parseClaimsRequest(params.Get("claims")); err != nil {
		return invalidRequest("claims is not a JSON object as OIDC Core 5.5 defines it")
	}
	a.acr = demandedACR(params.Get("acr_values"), a.claims)
	return nil
}

// decide answers a valid request with the existing session, with the login page, or
// for the AutoLogin persona.
func (p *Provider) decide(r *http.Request, a *authRequest) *response {
	s := p.session(r)
	interactive := len(a.prompt) > 0 && a.prompt[0] != "none"
	if s != nil && !interactive && p.suits(s, a) {
		return p.grantCode(a, s)
	}
	if slices.Contains(a.prompt, "none") {
		return p.fail(a, failure("login_required", "no session satisfies the request"))
	}
	if p.cfg.AutoLogin != "" {
		return p.signIn(r, a, p.persona(p.cfg.AutoLogin))
	}
	p.interactions[a.id] = a
	return p.loginPage(a)
}

// suits reports whether the session is recent enough, has the requested level, and
// belongs to the user of id_token_hint.
func (p *Provider) suits(s *session, a *authRequest) bool {
	if a.maxAge != nil && (*a.maxAge == 0 || p.now().Sub(s.authTime) > *a.maxAge) {
		return false
	}
	if a.idTokenHint != "" {
		if hint, err := p.readIDToken(a.idTokenHint); err != nil || hint["sub"] != s.persona.Subject {
			return false
		}
	}
	return a.acr.metBy(s) || !a.acr.essential && slices.Contains(a.prompt, "none")
}

// signIn starts a session for the persona and answers the request with a code.
func (p *Provider) signIn(r *http.Request, a *authRequest, persona *Persona) *response {
	acr, ok := persona.reach(a.acr)
	if !ok {
		return p.fail(a, failure("access_denied", "requested ACRs could not be satisfied"))
	}
	s := p.newSession(p.session(r), persona, acr)
	res := p.grantCode(a, s)
	res.Header.Add("Set-Cookie", p.cookie(s.id, 0).String())
	return res
}

// newSession starts a session, which replaces the browser's old one if there is one.
func (p *Provider) newSession(old *session, persona *Persona, acr string) *session {
	s := &session{
		id: wire.RandomString(32), sid: p.randomValue(16), persona: persona, acr: acr, amr: persona.AMR,
		authTime: p.now(), expires: p.now().Add(p.cfg.SessionTTL), clients: make(map[string]*Client),
	}
	if acr != persona.ACR {
		s.amr = append(slices.Clone(persona.AMR), "mfa")
	}
	if old != nil {
		delete(p.sessions, old.id)
	}
	if old != nil && old.persona == persona {
		// The same user: a later logout must still notify the earlier clients.
		s.sid, s.clients = old.sid, old.clients
	}
	p.sessions[s.id] = s
	return s
}

// grantCode answers the request with a code (OIDC Core 3.1.2.5).
func (p *Provider) grantCode(a *authRequest, s *session) *response {
	s.clients[a.client.ID] = a.client
	c := &code{
		value: wire.RandomString(24), redirectURI: a.redirectURI, challenge: a.challenge,
		expires: p.now().Add(p.cfg.CodeTTL),
		grant: &grant{client: a.client, persona: s.persona, scopes: a.scopes, claims: a.claims,
			nonce: a.nonce, acr: s.acr, amr: s.amr, authTime: s.authTime, sid: s.sid,
			maxAgeAsked: a.maxAge != nil, acrAsked: a.acr.mentioned},
	}
	p.codes[c.value] = c
	params := url.Values{"code": {c.value}}
	if first := a.client.ID + " " + s.persona.Subject; p.cfg.CallbackUser && a.responseMode == "form_post" && !p.introduced[first] {
		p.introduced[first] = true
		params.Set("user", s.persona.callbackUser())
	}
	return p.respond(a, params)
}

// callbackUser returns the field user of Sign in with Apple: JSON that nobody signed.
func (p *Persona) callbackUser() string {
	text, err := json.Marshal(map[string]any{
		"name":  map[string]any{"firstName": p.Claims["given_name"], "lastName": p.Claims["family_name"]},
		"email": p.Claims["email"],
	})
	if err != nil {
		panic("oidctest: " + err.Error()) // claims that no token could hold either
	}
	return string(text)
}

func (p *Provider) fail(a *authRequest, err *oauthError) *response {
	res := p.respond(a, url.Values{"error": {err.Code}, "error_description": {err.Description}})
	res.refused = err
	return res
}

// respond sends the browser back to the client in the requested response mode.
func (p *Provider) respond(a *authRequest, params url.Values) *response {
	if a.state != "" {
		params.Set("state", a.state)
	}
	if !p.cfg.NoIssParameter {
		params.Set("iss", p.cfg.Issuer) // RFC 9207 section 2
	}
	if p.cfg.SessionState && params.Has("code") {
		params.Set("session_state", wire.RandomString(16)+"."+wire.RandomString(8))
	}
	for _, f := range p.faults {
		if f.Authorization != nil {
			f.Authorization(p.site, params)
		}
	}
	if a.responseMode == "form_post" {
		return formPostPage(a, params)
	}
	return redirect(withParams(a.redirectURI, params))
}

// cookieName depends on the issuer, because cookies are shared between the ports of a
// host.
func (p *Provider) cookieName() string {
	return "oidctest_session_" + wire.HalfHash("RS256", p.cfg.Issuer)[:8]
}

func (p *Provider) cookie(value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: p.cookieName(), Value: value, Path: p.base + "/", MaxAge: maxAge,
		HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: strings.HasPrefix(p.cfg.Issuer, "https:"),
	}
}

// session returns the browser's session, or nil if it has none that is still valid.
func (p *Provider) session(r *http.Request) *session {
	cookie, err := r.Cookie(p.cookieName())
	if err != nil {
		return nil
	}
	s := p.sessions[cookie.Value]
	if s == nil || !p.now().Before(s.expires) {
		return nil
	}
	return s
}
