package oidctest

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp/oidctest/internal/wire"
)

// serveEndSession implements OpenID Connect RP-Initiated Logout 1.0.
func (p *Provider) serveEndSession(r *http.Request) *response {
	if res := onlyMethods(r, http.MethodGet, http.MethodPost); res != nil {
		return res
	}
	if err := p.checkLogoutDialect(r); err != nil {
		return errorPage(r, http.StatusBadRequest, err)
	}
	client, hint, err := p.logoutClient(r)
	if err != nil {
		return errorPage(r, http.StatusBadRequest, err)
	}
	target := r.Form.Get(cmp.Or(p.cfg.LogoutURIParameter, "post_logout_redirect_uri"))
	if target != "" && (client == nil || !allows(client.PostLogoutRedirectURIs, target)) {
		return errorPage(r, http.StatusBadRequest,
			invalidRequest("post_logout_redirect_uri is not registered for a known client"))
	}
	s := p.endingSession(r, hint)
	res := p.signedOut(r, target, s)
	if s != nil {
		p.endSession(res, s)
	}
	return res
}

// checkLogoutDialect refuses the parameters that Config.LogoutURIParameter and
// Config.NoLogoutHint leave no room for, and a logout without what Config.NeedLogoutHint
// asks for.
func (p *Provider) checkLogoutDialect(r *http.Request) *oauthError {
	if p.cfg.NoLogoutHint && r.Form.Has("id_token_hint") {
		return invalidRequest("id_token_hint is not accepted")
	}
	if p.cfg.NeedLogoutHint && r.Form.Get("id_token_hint") == "" {
		return invalidRequest("id_token_hint is required")
	}
	own := p.cfg.LogoutURIParameter
	if own == "" {
		return nil
	}
	for _, name := range []string{"client_id", own} {
		if !r.Form.Has(name) {
			return invalidRequest("required String parameter " + name + " is not present")
		}
	}
	for _, name := range []string{"id_token_hint", "post_logout_redirect_uri", "state"} {
		if r.Form.Has(name) {
			return invalidRequest("unknown parameter " + name)
		}
	}
	return nil
}

// logoutClient returns the client that id_token_hint or client_id identifies, and the
// claims of the hint. Both are nil without these parameters. An expired hint is valid
// (RP-Initiated Logout 1.0 section 4).
func (p *Provider) logoutClient(r *http.Request) (*Client, map[string]any, *oauthError) {
	id := r.Form.Get("client_id")
	var hint map[string]any
	if compact := r.Form.Get("id_token_hint"); compact != "" {
		var err error
		if hint, err = p.readIDToken(compact); err != nil {
			return nil, nil, invalidRequest("id_token_hint is not an ID Token of this provider")
		}
		audience, _ := hint["aud"].(string)
		if id != "" && id != audience {
			return nil, nil, invalidRequest("client_id is not the audience of id_token_hint")
		}
		id = audience
	}
	client := p.client(id)
	if id != "" && client == nil {
		return nil, nil, failure("invalid_client", "client_id is not registered")
	}
	return client, hint, nil
}

// signedOut answers the browser after the logout from the session s, which may be nil.
func (p *Provider) signedOut(r *http.Request, target string, s *session) *response {
	if target != "" {
		target = p.postLogoutURL(r, target)
	}
	if frames := p.frames(s); len(frames) > 0 {
		return framesPage(r, frames, target)
	}
	if target == "" {
		lang := localeOf(r)
		return render("message", http.StatusOK, page{Lang: lang,
			Title: wordsOf[lang].SignedOut, Text: wordsOf[lang].SignedOutMore})
	}
	return redirect(target)
}

// postLogoutURL returns the registered URI with the client's state.
func (p *Provider) postLogoutURL(r *http.Request, target string) string {
	params := url.Values{}
	if state := r.Form.Get("state"); state != "" {
		params.Set("state", state)
	}
	for _, f := range p.faults {
		if f.PostLogout != nil {
			f.PostLogout(params)
		}
	}
	return withParams(target, params)
}

// frames returns the front-channel logout URLs of the session's clients (Front-Channel
// Logout 1.0 section 3).
func (p *Provider) frames(s *session) []string {
	var frames []string
	if s == nil {
		return nil
	}
	for _, client := range s.clients {
		switch uri := client.FrontchannelLogoutURI; {
		case uri == "":
		case p.cfg.NoFrameIssuer:
			frames = append(frames, withParams(uri, url.Values{"sid": {s.sid}}))
		case !client.FrontchannelLogoutSessionRequired:
			frames = append(frames, uri)
		case p.cfg.OddValues:
			iss := withParams(uri, url.Values{"iss": {p.issuerOf(s.persona)}})
			frames = append(frames, iss+"&sid="+s.sid) // some providers do not escape it
		default:
			frames = append(frames, withParams(uri, url.Values{"iss": {p.issuerOf(s.persona)}, "sid": {s.sid}}))
		}
	}
	return frames
}

// endingSession returns the browser's session, or without a cookie the session of the
// hint, or nil.
func (p *Provider) endingSession(r *http.Request, hint map[string]any) *session {
	if s := p.session(r); s != nil {
		return s
	}
	for _, s := range p.sessions {
		if sid, _ := hint["sid"].(string); sid != "" && sid == s.sid {
			return s
		}
	}
	return nil
}

// endSession ends a session. The clients receive their logout tokens before the
// response is sent.
func (p *Provider) endSession(res *response, s *session) {
	delete(p.sessions, s.id)
	res.Header.Add("Set-Cookie", p.cookie("", -1).String())
	messages := make(map[string]string) // BackchannelLogoutURI to logout token
	for _, client := range s.clients {
		if client.BackchannelLogoutURI != "" {
			messages[client.BackchannelLogoutURI] = p.logoutToken(client, s.persona.Subject, s.sid)
		}
	}
	res.before = func(ctx context.Context) {
		for uri, token := range messages {
			p.postLogoutToken(ctx, uri, token) // an unreachable client does not stop the logout
		}
	}
}

// EndSessions ends the provider's sessions of a subject without notifying the clients.
// The next authentication request shows the login page.
func (p *Provider) EndSessions(subject string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, s := range p.sessions {
		if s.persona.Subject == subject {
			delete(p.sessions, id)
		}
	}
}

// LogoutToken returns a logout token for a client (Back-Channel Logout 1.0 section 2.4).
// An empty sub or sid is left out. The faults of logout tokens in force apply. It panics
// if the client is unknown.
func (p *Provider) LogoutToken(clientID, sub, sid string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	client := p.client(clientID)
	if client == nil {
		panic("oidctest: unknown client " + clientID)
	}
	return p.logoutToken(client, sub, sid)
}

// SendLogout posts a logout token to the client's BackchannelLogoutURI and returns the
// status of the response. An empty sub or sid is left out. It returns an error if the
// client has no such URI or cannot be reached.
func (p *Provider) SendLogout(ctx context.Context, clientID, sub, sid string) (int, error) {
	client := p.client(clientID)
	if client == nil || client.BackchannelLogoutURI == "" {
		return 0, fmt.Errorf("oidctest: client %q has no BackchannelLogoutURI", clientID)
	}
	return p.postLogoutToken(ctx, client.BackchannelLogoutURI, p.LogoutToken(clientID, sub, sid))
}

const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

func (p *Provider) logoutToken(client *Client, sub, sid string) string {
	now := p.now()
	claims := map[string]any{
		"iss": p.logoutIssuer(sub, sid), "aud": client.ID, "jti": wire.RandomString(16),
		"iat": now.Unix(), "exp": now.Add(2 * time.Minute).Unix(),
		"events": map[string]any{logoutEvent: map[string]any{}},
	}
	if sub != "" {
		claims["sub"] = sub
	}
	if sid != "" {
		claims["sid"] = sid
	}
	t := p.newToken(client, client.IDTokenSignedResponseAlg, claims)
	t.Header["typ"] = "logout+jwt"
	for _, f := range p.faults {
		if f.LogoutToken != nil {
			f.LogoutToken(t)
		}
	}
	signed := t.MustSign()
	if client.IDTokenEncryptedResponseAlg == "" {
		return signed
	}
	encrypted, err := encrypt(signed, client, client.IDTokenEncryptedResponseAlg,
		client.IDTokenEncryptedResponseEnc, "JWT")
	if err != nil {
		panic(err.Error()) // the ID Token was encrypted in the same way
	}
	return encrypted
}

// logoutIssuer returns the iss of a logout token about a user or a session.
func (p *Provider) logoutIssuer(sub, sid string) string {
	for _, s := range p.sessions {
		if sid != "" && s.sid == sid {
			return p.issuerOf(s.persona)
		}
	}
	return p.issuerOf(p.persona(sub))
}

// A LogoutAnswer is a client's response to a logout token.
type LogoutAnswer struct {
	URI    string
	Status int
	Header http.Header
}

// LogoutAnswers returns the clients' responses to logout tokens so far, oldest first.
// Clients that could not be reached are left out.
func (p *Provider) LogoutAnswers() []LogoutAnswer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.answers)
}

// postLogoutToken implements Back-Channel Logout 1.0 section 2.5. Clients must ignore
// the other parameter.
func (p *Provider) postLogoutToken(ctx context.Context, uri, token string) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	form := url.Values{"logout_token": {token}, "ignored_parameter": {"ignored"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, uri, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, fmt.Errorf("oidctest: back-channel logout: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := p.cfg.HTTPClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("oidctest: back-channel logout: %w", err)
	}
	defer res.Body.Close()
	io.Copy(io.Discard, io.LimitReader(res.Body, maxForm))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers = append(p.answers, LogoutAnswer{URI: uri, Status: res.StatusCode, Header: res.Header})
	return res.StatusCode, nil
}

// readIDToken returns the claims of an ID Token signed by this provider. The token may
// have expired.
func (p *Provider) readIDToken(compact string) (map[string]any, error) {
	parts := strings.Split(compact, ".")
	if len(parts) != 3 {
		return nil, errors.New("not a compact JWS")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, err
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		return nil, err
	}
	if err := p.verifyOwn(compact, claims); err != nil {
		return nil, err
	}
	subject, _ := claims["sub"].(string)
	if claims["iss"] != p.issuerOf(p.persona(subject)) {
		return nil, errors.New("another issuer")
	}
	return claims, nil
}

// verifyOwn verifies a signature with the provider's current and earlier keys.
func (p *Provider) verifyOwn(compact string, claims map[string]any) error {
	algs := []jose.SignatureAlgorithm{jose.HS256, jose.HS384, jose.HS512}
	for _, alg := range p.site.Keys.Algs {
		algs = append(algs, jose.SignatureAlgorithm(alg))
	}
	jws, err := jose.ParseSignedCompact(compact, algs)
	if err != nil {
		return err
	}
	header := jws.Signatures[0].Header
	if strings.HasPrefix(header.Algorithm, "HS") {
		audience, _ := claims["aud"].(string)
		client := p.client(audience)
		if client == nil {
			return errors.New("no client for the secret")
		}
		_, err = jws.Verify([]byte(client.Secret))
		return err
	}
	k := p.site.Keys.ByKID(header.KeyID)
	if k == nil || k.Alg != header.Algorithm {
		return errors.New("no such key")
	}
	_, err = jws.Verify(k.Private.Public())
	return err
}
