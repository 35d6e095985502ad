package oidcrp

// This file makes the authentication request (OIDC Core 3.1.2.1) and keeps
// what its answer will be checked against.

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// AuthOptions is what one login asks of the provider beyond signing in (OIDC
// Core 3.1.2.1). The zero value asks for nothing; a field that is empty is not
// sent.
type AuthOptions struct {
	// ReturnTo is the page of this app to come back to: a path such as
	// "/dossiers/12?tab=2". If empty or not a local path, the app's
	// start page.
	ReturnTo string
	// Prompt is "none", or a space-separated list of "login", "consent",
	// "select_account" and "create".
	Prompt string
	// MaxAge is how long ago the person may have proven who they are. It is
	// sent in whole seconds, and the ID Token's auth_time is then required and
	// checked. If nil, not sent; 0 asks for a fresh login.
	MaxAge *time.Duration
	// ACRValues are the authentication context classes of which the ID Token
	// must name one. Each must be listed in the provider's
	// acr_values_supported, if there is such a list. For a preference that may
	// be missed, use Claims.
	ACRValues []string
	// Claims asks for single claims (OIDC Core 5.5). An essential acr claim
	// with value or values is checked like ACRValues, and takes their place.
	Claims *ClaimsRequest
	// LoginHint, IDTokenHint, Display, UILocales: as the specification has them.
	LoginHint   string
	IDTokenHint string
	Display     string
	UILocales   []string
	// Resource are the resource indicators (RFC 8707), each sent as a
	// parameter of its own.
	Resource []string
	// Extra are parameters that only this provider knows, such as
	// ProConnect's idp_hint. It may not name a parameter that this package
	// sends itself.
	Extra url.Values

	stepUp  string   // the requirements that this login is to meet
	needACR []string // what ACR requirements ask for; see settleACR
}

// ClaimsRequest is the claims parameter (OIDC Core 5.5). A nil [ClaimRequest]
// asks for the claim as a voluntary one.
type ClaimsRequest struct {
	UserInfo map[string]*ClaimRequest `json:"userinfo,omitempty"`
	IDToken  map[string]*ClaimRequest `json:"id_token,omitempty"`
}

// ClaimRequest says how much a claim is wanted (OIDC Core 5.5.1).
type ClaimRequest struct {
	Essential bool  `json:"essential,omitempty"`
	Value     any   `json:"value,omitempty"`
	Values    []any `json:"values,omitempty"`
}

// ownParameters are those that AuthOptions.Extra may not name: they are
// checked on the way back, or have a field.
var ownParameters = []string{
	"response_type", "response_mode", "client_id", "redirect_uri", "scope", "state", "nonce",
	"code_challenge", "code_challenge_method", "client_secret", "client_assertion",
	"client_assertion_type", "request", "request_uri", "prompt", "max_age", "acr_values",
	"claims", "login_hint", "id_token_hint", "display", "ui_locales", "resource",
}

func (o *AuthOptions) validate() error {
	prompts := strings.Fields(o.Prompt)
	for _, prompt := range prompts {
		if !slices.Contains([]string{"none", "login", "consent", "select_account", "create"}, prompt) {
			return fmt.Errorf("prompt %q is not known", clean(prompt, 30))
		}
	}
	if slices.Contains(prompts, "none") && len(prompts) > 1 {
		return errors.New(`prompt "none" must stand alone`)
	}
	for _, acr := range o.ACRValues {
		if acr == "" || strings.Contains(acr, " ") { // the parameter is a list
			return fmt.Errorf("ACRValues holds %q, which is no single value", clean(acr, 100))
		}
	}
	if o.MaxAge != nil && *o.MaxAge < 0 {
		return errors.New("MaxAge is negative")
	}
	for _, name := range slices.Sorted(maps.Keys(o.Extra)) {
		if slices.Contains(ownParameters, name) {
			return fmt.Errorf("parameter %q may not be in Extra", name)
		}
	}
	if _, err := json.Marshal(o.Claims); err != nil {
		return fmt.Errorf("Claims: %w", err)
	}
	return nil
}

// clone copies what o shares with its maker.
func (o AuthOptions) clone() AuthOptions {
	if o.MaxAge != nil {
		o.MaxAge = new(*o.MaxAge)
	}
	o.ACRValues = slices.Clone(o.ACRValues)
	o.UILocales = slices.Clone(o.UILocales)
	o.Resource = slices.Clone(o.Resource)
	o.Extra = maps.Clone(o.Extra)
	for name, values := range o.Extra {
		o.Extra[name] = slices.Clone(values)
	}
	o.Claims = o.Claims.clone()
	o.needACR = slices.Clone(o.needACR)
	return o
}

func (c *ClaimsRequest) clone() *ClaimsRequest {
	if c == nil {
		return nil
	}
	return &ClaimsRequest{UserInfo: cloneClaims(c.UserInfo), IDToken: cloneClaims(c.IDToken)}
}

func cloneClaims(claims map[string]*ClaimRequest) map[string]*ClaimRequest {
	claims = maps.Clone(claims)
	for name, claim := range claims {
		if claim != nil {
			claims[name] = &ClaimRequest{
				Essential: claim.Essential, Value: claim.Value, Values: slices.Clone(claim.Values),
			}
		}
	}
	return claims
}

// over returns o with its gaps filled from base.
func (o AuthOptions) over(base AuthOptions) AuthOptions {
	o, base = o.clone(), base.clone()
	o.ReturnTo = cmp.Or(o.ReturnTo, base.ReturnTo)
	o.Prompt = cmp.Or(o.Prompt, base.Prompt)
	o.MaxAge = cmp.Or(o.MaxAge, base.MaxAge)
	o.LoginHint = cmp.Or(o.LoginHint, base.LoginHint)
	o.IDTokenHint = cmp.Or(o.IDTokenHint, base.IDTokenHint)
	o.Display = cmp.Or(o.Display, base.Display)
	// acr asked in one way displaces acr asked in the other.
	if o.essentialACR() == nil {
		if o.ACRValues != nil {
			base.dropEssentialACR()
		} else {
			o.ACRValues = base.ACRValues
		}
	}
	if o.UILocales == nil {
		o.UILocales = base.UILocales
	}
	if o.Resource == nil {
		o.Resource = base.Resource
	}
	o.Claims = o.Claims.over(base.Claims)
	for name, values := range base.Extra {
		if _, ok := o.Extra[name]; !ok {
			o.Extra = setValues(o.Extra, name, values)
		}
	}
	return o
}

func setValues(v url.Values, name string, values []string) url.Values {
	if v == nil {
		v = make(url.Values)
	}
	v[name] = values
	return v
}

func (c *ClaimsRequest) over(base *ClaimsRequest) *ClaimsRequest {
	if c == nil {
		return base
	}
	if base == nil {
		return c
	}
	merge := func(base, over map[string]*ClaimRequest) map[string]*ClaimRequest {
		if base == nil {
			return over
		}
		maps.Copy(base, over)
		return base
	}
	return &ClaimsRequest{UserInfo: merge(base.UserInfo, c.UserInfo), IDToken: merge(base.IDToken, c.IDToken)}
}

// settleACR asks for what ACR requirements need in the way that the provider
// understands best: as an essential claim, which obliges it (OIDC Core 5.5.1.1),
// else as acr_values, which it may overlook.
//
// Of several values it asks only for those that the provider lists, as long as
// there is one: a value that a provider retires must not lock everybody out.
func (o *AuthOptions) settleACR(m *Metadata) {
	if o.needACR == nil {
		return
	}
	supported := slices.DeleteFunc(slices.Clone(o.needACR), func(acr string) bool {
		return !slices.Contains(m.ACRValuesSupported, acr)
	})
	if len(supported) > 0 {
		o.needACR = supported
	}
	if !m.ClaimsParameterSupported {
		o.dropEssentialACR()
		o.ACRValues = o.needACR
		return
	}
	values := make([]any, len(o.needACR))
	for i, acr := range o.needACR {
		values[i] = acr
	}
	essential := &ClaimsRequest{IDToken: map[string]*ClaimRequest{"acr": {Essential: true, Values: values}}}
	o.ACRValues, o.Claims = nil, essential.over(o.Claims)
}

// requiredACR returns the acr values of which the ID Token must name one.
func (o *AuthOptions) requiredACR() []string {
	if values := o.essentialACR(); values != nil {
		return values
	}
	return o.ACRValues
}

// essentialACR returns the values of an essential acr claim, nil without one.
func (o *AuthOptions) essentialACR() []string {
	if o.Claims == nil || o.Claims.IDToken["acr"] == nil || !o.Claims.IDToken["acr"].Essential {
		return nil
	}
	var values []string
	for _, v := range append([]any{o.Claims.IDToken["acr"].Value}, o.Claims.IDToken["acr"].Values...) {
		if s, ok := v.(string); ok {
			values = append(values, s)
		}
	}
	return values
}

// dropEssentialACR takes back what essentialACR returns.
func (o *AuthOptions) dropEssentialACR() {
	if o.essentialACR() != nil {
		delete(o.Claims.IDToken, "acr")
	}
}

// A transaction is one login under way. It is sealed into a cookie of its own,
// so that tabs do not disturb each other, and found again by the state.
type transaction struct {
	Nonce    string   `json:"n"`
	Verifier string   `json:"v"`
	ReturnTo string   `json:"r,omitempty"`
	ACR      []string `json:"a,omitempty"` // the ID Token must name one of them
	MaxAge   *int64   `json:"m,omitempty"` // seconds
	Issuer   string   `json:"i"`
	StepUp   string   `json:"u,omitempty"`
	Started  int64    `json:"t"` // Unix seconds
	size     int      // of the cookie's value
}

func (t transaction) age(now time.Time) time.Duration { return now.Sub(time.Unix(t.Started, 0)) }

const (
	transactionLifetime = time.Hour
	maxTransactions     = 5
	// maxTransactionsSize bounds the values of all their cookies together.
	// Links on another site could otherwise make this app's cookies larger than
	// servers and proxies take, which is often 8 KiB.
	maxTransactionsSize = 6 << 10
	// ticketLifetime is how old a state may be to restart a lost login: the
	// provider's page may have stayed open over a weekend.
	ticketLifetime = 7 * 24 * time.Hour
	// maxReturnTo bounds what a cookie has to carry, and maxTicketReturnTo what
	// the provider's URLs have to.
	maxReturnTo       = 1500
	maxTicketReturnTo = 300
)

// A ticket is what the state parameter holds, sealed: enough to start a lost
// login again, and only once.
type ticket struct {
	ID       string `json:"i"` // 32 random bytes, base64url
	Started  int64  `json:"t"`
	ReturnTo string `json:"r,omitempty"`
	Restart  bool   `json:"x,omitempty"` // this login is itself a restart
}

// BeginLogin sets the cookie of a new login on w and returns the URL of the
// provider to send the browser to. opts may be nil.
//
// It returns an [*Error]: [CodeConfig] for opts that cannot be sent,
// [ErrProviderUnavailable] when the provider is down, [CodeProviderInvalid] when
// its metadata cannot be used, [CodeUnsupported] for an acr value that it does
// not list, [CodeProviderError] when it refuses a pushed request. No cookie has
// been set then.
func (c *Client) BeginLogin(w http.ResponseWriter, r *http.Request, opts *AuthOptions) (string, error) {
	return c.beginLogin(w, r, opts, false)
}

func (c *Client) beginLogin(w http.ResponseWriter, r *http.Request, opts *AuthOptions, restart bool) (string, error) {
	if opts == nil {
		opts = &AuthOptions{}
	}
	asked := opts.over(c.cfg.AuthOptions)
	if err := asked.validate(); err != nil {
		return "", fail("login", CodeConfig, err)
	}
	metadata, err := c.effectiveMetadata(r.Context())
	if err != nil {
		return "", err
	}
	asked.settleACR(metadata)
	if err := c.checkOffered(metadata, &asked); err != nil {
		return "", err
	}
	asked.ReturnTo = c.returnTo(asked.ReturnTo)
	t := newTransaction(c.cfg.Issuer, &asked, c.now())
	state, err := c.newState(t, restart)
	if err != nil {
		return "", fail("login", CodeInternal, err)
	}
	location, err := c.authorizationURL(r.Context(), metadata, c.authorizationParameters(&asked, t, state))
	if err != nil {
		return "", err
	}
	if err := c.setTransaction(w, r, state, t); err != nil {
		return "", fail("login", CodeInternal, err)
	}
	c.events.loginStarted(r.Context(), LoginStartedEvent{
		ReturnTo: t.ReturnTo, ACRValues: t.ACR, Prompt: asked.Prompt, Restart: restart,
	})
	return location, nil
}

func newTransaction(issuer string, asked *AuthOptions, now time.Time) *transaction {
	t := &transaction{
		Nonce:    randomText(),
		Verifier: oauth2.GenerateVerifier(),
		ReturnTo: asked.ReturnTo,
		ACR:      asked.requiredACR(),
		Issuer:   issuer,
		StepUp:   asked.stepUp,
		Started:  now.Unix(),
	}
	if asked.MaxAge != nil {
		t.MaxAge = new(int64(*asked.MaxAge / time.Second))
	}
	return t
}

// randomText returns 32 random bytes as 43 characters, enough for a state or a
// nonce anywhere (ProConnect asks for 32 characters, the conformance suite for
// 43 at most).
func randomText() string {
	b := make([]byte, 32)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// checkOffered refuses, before any redirect, what the provider says it cannot
// do. An unsupported essential acr makes some providers loop for ever.
func (c *Client) checkOffered(m *Metadata, asked *AuthOptions) error {
	for _, acr := range asked.requiredACR() {
		if len(m.ACRValuesSupported) > 0 && !slices.Contains(m.ACRValuesSupported, acr) {
			return failf("login", CodeUnsupported,
				"acr value %q is not in the provider's acr_values_supported %s", acr, quoteList(m.ACRValuesSupported))
		}
	}
	modes := m.ResponseModesSupported
	if mode := c.cfg.ResponseMode; mode == "form_post" && len(modes) > 0 && !slices.Contains(modes, mode) {
		return failf("login", CodeUnsupported,
			"response mode %q is not in the provider's response_modes_supported %s", mode, quoteList(modes))
	}
	// Found out now, it costs nobody the way to the provider and back.
	_, err := c.authMethod(m)
	return err
}

// authorizationParameters returns the request's parameters. None is empty: an
// empty value is not the same as no value to every provider.
func (c *Client) authorizationParameters(asked *AuthOptions, t *transaction, state string) url.Values {
	v := url.Values{
		"response_type":         {"code"},
		"client_id":             {c.cfg.ClientID},
		"redirect_uri":          {c.cfg.RedirectURI},
		"scope":                 {strings.Join(c.cfg.Scopes, " ")},
		"state":                 {state},
		"nonce":                 {t.Nonce},
		"code_challenge":        {oauth2.S256ChallengeFromVerifier(t.Verifier)},
		"code_challenge_method": {"S256"},
	}
	set := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	set("response_mode", c.cfg.ResponseMode)
	set("prompt", joined(strings.Fields(asked.Prompt)))
	set("login_hint", asked.LoginHint)
	set("id_token_hint", asked.IDTokenHint)
	set("display", asked.Display)
	set("ui_locales", joined(asked.UILocales))
	if asked.essentialACR() == nil {
		// Beside an essential acr claim, acr_values would say it twice, and
		// some providers then take both as essential.
		set("acr_values", joined(asked.ACRValues))
	}
	if t.MaxAge != nil {
		set("max_age", strconv.FormatInt(*t.MaxAge, 10))
	}
	if claims := asked.Claims; claims != nil && len(claims.UserInfo)+len(claims.IDToken) > 0 {
		text, _ := json.Marshal(claims) // validate has tried it
		set("claims", string(text))
	}
	addValues(v, "resource", asked.Resource)
	for name, values := range asked.Extra {
		addValues(v, name, values)
	}
	return v
}

// joined returns the values that are not empty as a list of a parameter.
func joined(values []string) string {
	return strings.Join(strings.Fields(strings.Join(values, " ")), " ")
}

// addValues adds the values that are not empty, as parameters of one name.
func addValues(v url.Values, name string, values []string) {
	for _, value := range values {
		if value != "" {
			v.Add(name, value)
		}
	}
}

// authorizationURL puts the parameters into the URL, or pushes them to the
// provider and puts the reference that it answers (RFC 9126 section 4).
func (c *Client) authorizationURL(ctx context.Context, m *Metadata, v url.Values) (string, error) {
	endpoint, err := url.Parse(m.AuthorizationEndpoint)
	if err != nil {
		return "", fail("login", CodeProviderInvalid, errors.New("authorization_endpoint is not a URL"))
	}
	if c.cfg.PushAuthorizationRequests || m.RequirePushedAuthorizationRequests {
		requestURI, err := c.pushAuthorizationRequest(ctx, m, v)
		if err != nil {
			return "", err
		}
		v = url.Values{"client_id": {c.cfg.ClientID}, "request_uri": {requestURI}}
	}
	// The endpoint may have a query of its own, which must be kept (RFC 6749
	// section 3.1).
	if endpoint.RawQuery != "" {
		endpoint.RawQuery += "&"
	}
	endpoint.RawQuery += v.Encode()
	return endpoint.String(), nil
}

// pushAuthorizationRequest is RFC 9126 section 2.
func (c *Client) pushAuthorizationRequest(ctx context.Context, m *Metadata, v url.Values) (string, error) {
	const endpoint = "pushed authorization request"
	if m.PushedAuthorizationRequestEndpoint == "" {
		return "", failf("login", CodeUnsupported, "the provider has no pushed_authorization_request_endpoint")
	}
	members, err := c.authenticatedPost(ctx, m, endpoint, m.PushedAuthorizationRequestEndpoint, v, http.StatusCreated)
	if err != nil {
		return "", err
	}
	requestURI, _, err := members.String("request_uri")
	if err != nil || requestURI == "" {
		return "", failf("login", CodeProviderInvalid, "the %s answer has no request_uri", endpoint)
	}
	return requestURI, nil
}

// newState seals the ticket that travels as the state parameter. It is tied to
// this client by the beginning of its cookies' names, which no cookie is called.
func (c *Client) newState(t *transaction, restart bool) (string, error) {
	back := ticket{ID: randomText(), Started: t.Started, ReturnTo: t.ReturnTo, Restart: restart}
	if len(back.ReturnTo) > maxTicketReturnTo {
		back.ReturnTo = ""
	}
	plain, err := json.Marshal(back)
	if err != nil {
		return "", err
	}
	return c.ring.seal(plain, c.associated(c.cookies.transaction))
}

// openState returns the ticket of a state that this client sealed.
func (c *Client) openState(state string) (ticket, bool) {
	var t ticket
	plain, err := c.ring.open(state, c.associated(c.cookies.transaction))
	if err != nil || json.Unmarshal(plain, &t) != nil {
		return ticket{}, false
	}
	return t, c.now().Sub(time.Unix(t.Started, 0)) <= ticketLifetime
}

// transactionCookie names the cookie of the login that sent state.
func (c *Client) transactionCookie(state string) string {
	sum := sha256.Sum256([]byte(state))
	return c.cookies.transaction + base64.RawURLEncoding.EncodeToString(sum[:16])
}

// setTransaction seals t into its cookie and drops the oldest of the others
// beyond the limit, as well as those that cannot be opened any more.
func (c *Client) setTransaction(w http.ResponseWriter, r *http.Request, state string, t *transaction) error {
	plain, err := json.Marshal(t)
	if err != nil {
		return err
	}
	name := c.transactionCookie(state)
	value, err := c.ring.seal(plain, c.associated(name))
	if err != nil {
		return err
	}
	pending := c.pendingTransactions(r)
	size := len(value)
	for _, t := range pending {
		size += t.size
	}
	for _, old := range slices.SortedFunc(maps.Keys(pending), func(a, b string) int {
		return cmp.Compare(pending[a].Started, pending[b].Started)
	}) {
		if len(pending) >= maxTransactions || size > maxTransactionsSize ||
			pending[old].age(c.now()) > transactionLifetime {
			c.deleteCookie(w, old, c.transactionSameSite())
			size -= pending[old].size
			delete(pending, old)
		}
	}
	c.setCookie(w, &http.Cookie{
		Name:     name,
		Value:    value,
		MaxAge:   int(transactionLifetime / time.Second),
		SameSite: c.transactionSameSite(),
	})
	return nil
}

// transactionSameSite returns None for form_post over https, since that answer
// is a POST from the provider's site and Lax cookies would stay behind.
func (c *Client) transactionSameSite() http.SameSite {
	if c.cfg.ResponseMode == "form_post" && c.secure {
		return http.SameSiteNoneMode
	}
	return http.SameSiteLaxMode
}

// pendingTransactions returns the logins under way in this browser by cookie
// name; one that cannot be opened is zero, and so too old.
func (c *Client) pendingTransactions(r *http.Request) map[string]transaction {
	pending := make(map[string]transaction)
	for _, cookie := range r.Cookies() {
		if !strings.HasPrefix(cookie.Name, c.cookies.transaction) {
			continue
		}
		t, err := c.openTransaction(cookie)
		if err != nil {
			t = new(transaction)
		}
		t.size = len(cookie.Value)
		pending[cookie.Name] = *t
	}
	return pending
}

func (c *Client) openTransaction(cookie *http.Cookie) (*transaction, error) {
	plain, err := c.ring.open(cookie.Value, c.associated(cookie.Name))
	if err != nil {
		return nil, err
	}
	t := new(transaction)
	if err := json.Unmarshal(plain, t); err != nil {
		return nil, err
	}
	return t, nil
}

// findTransaction returns the login that sent state from this browser.
func (c *Client) findTransaction(r *http.Request, state string) (*transaction, error) {
	cookie, err := r.Cookie(c.transactionCookie(state))
	if err != nil {
		return nil, failf("callback", CodeTransactionLost, "this browser has no login with that state")
	}
	t, err := c.openTransaction(cookie)
	if errors.Is(err, ErrStoreUnavailable) {
		return nil, err
	}
	if err != nil {
		return nil, failf("callback", CodeTransactionLost, "transaction cookie: %w", err)
	}
	if age := t.age(c.now()); age > transactionLifetime {
		return nil, failf("callback", CodeTransactionLost, "the login was started %v ago", age.Round(time.Second))
	}
	if t.Issuer != c.cfg.Issuer {
		return nil, failf("callback", CodeTransactionLost, "the login was started at another provider")
	}
	return t, nil
}

// returnTo returns where to go after a login: p if it is a page of this app
// and none of the client's own, else the app's start page.
func (c *Client) returnTo(p string) string {
	local := localPath(p)
	if local == "" || c.owns(urlPath(local)) {
		return c.home()
	}
	return local
}

// home is the path of the app's start page.
func (c *Client) home() string { return c.base.Path + "/" }

// localPath returns p if it is a path on this host, with or without a query,
// that no browser takes for anything else; "" otherwise. Browsers treat a
// backslash as a slash, drop tabs and line ends, and read "//host" as another
// site; proxies may decode "%2f" once more on the way.
func localPath(p string) string {
	if len(p) == 0 || len(p) > maxReturnTo || p[0] != '/' ||
		strings.ContainsFunc(p, isControl) || strings.Contains(cutQuery(p), "\\") {
		return ""
	}
	u, err := url.Parse(p)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil {
		return ""
	}
	decoded := cutQuery(p)
	for range 5 {
		if !isPlainPath(decoded) {
			return ""
		}
		next := unescape(decoded)
		if next == decoded {
			return p
		}
		decoded = next
	}
	return "" // encoded so often for no good reason
}

// isPlainPath reports whether p neither names a host nor has dot segments,
// which a browser would resolve into something that was not looked at.
func isPlainPath(p string) bool {
	p = strings.ReplaceAll(p, "\\", "/")
	if strings.HasPrefix(p, "//") || strings.ContainsFunc(p, isControl) {
		return false
	}
	for segment := range strings.SplitSeq(p, "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// unescape decodes what is percent-encoded in s and leaves any other percent
// sign alone, as lenient proxies do.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(v))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func cutQuery(p string) string {
	p, _, _ = strings.Cut(p, "#")
	p, _, _ = strings.Cut(p, "?")
	return p
}

// absolute returns the full URL of a local path. A Location with a host leaves
// nothing for a browser to misread.
func (c *Client) absolute(local string) string {
	return c.base.Scheme + "://" + c.base.Host + local
}
