package oidcrp

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp/oidctest"
)

// authorizeRow is a login that asks for something, and the parameters that its
// request then has beyond those that every request has, as a query.
type authorizeRow struct {
	what string
	opts AuthOptions
	want string
}

func duration(d time.Duration) *time.Duration { return &d }

func TestEveryRequestHasTheseParameters(t *testing.T) {
	t.Parallel()
	c := mustNew(t, func(c *Config) { c.Provider.Metadata = soundMetadata(nil) })
	seen := make(map[string]bool)
	for range 3 {
		v := requestOf(t, c, nil)
		for name, shape := range map[string]string{
			"nonce":          `^[A-Za-z0-9_-]{43}$`,
			"code_challenge": `^[A-Za-z0-9_-]{43}$`,
			"state":          `^[A-Za-z0-9_-]{44,}$`, // sealed
		} {
			value := v.Get(name)
			if !regexp.MustCompile(shape).MatchString(value) {
				t.Errorf("%s is %q, want %s", name, value, shape)
			}
			if seen[value] {
				t.Errorf("%s is the same in two logins", name)
			}
			seen[value] = true
		}
		want := url.Values{
			"response_type": {"code"}, "client_id": {"app"}, "scope": {"openid profile email"},
			"redirect_uri": {"https://app.example/auth/callback"}, "code_challenge_method": {"S256"},
		}
		if got := withoutRandom(v); !reflect.DeepEqual(got, want) {
			t.Errorf("the other parameters are\n%v\nwant\n%v", got, want)
		}
	}
}

// testRequests checks what rows add to the requests of c.
func testRequests(t *testing.T, c *Client, rows []authorizeRow) {
	t.Helper()
	common := withoutRandom(requestOf(t, mustNew(t, func(c *Config) { c.Provider.Metadata = soundMetadata(nil) }), nil))
	for _, tt := range rows {
		got := withoutRandom(requestOf(t, c, &tt.opts))
		for name, values := range got {
			if reflect.DeepEqual(common[name], values) {
				delete(got, name)
			}
		}
		want, err := url.ParseQuery(tt.want)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %v\nwant %v", tt.what, got, want)
		}
	}
}

func TestWhatALoginAsksForIsSent(t *testing.T) {
	t.Parallel()
	c := mustNew(t, func(c *Config) { c.Provider.Metadata = soundMetadata(nil) })
	testRequests(t, c, []authorizeRow{
		{"nothing", AuthOptions{}, ""},
		{"empty values are not sent", AuthOptions{
			ACRValues: []string{}, UILocales: []string{}, Claims: &ClaimsRequest{}, Extra: url.Values{"a": {""}, "b": {}},
		}, ""},
		{"nor those inside a list", AuthOptions{UILocales: []string{"", ""}, Resource: []string{""}, Prompt: " "}, ""},

		{"prompt", AuthOptions{Prompt: "login consent"}, "prompt=login+consent"},
		{"prompt with spaces around", AuthOptions{Prompt: " login  consent "}, "prompt=login+consent"},
		{"max_age in seconds", AuthOptions{MaxAge: duration(90 * time.Minute)}, "max_age=5400"},
		{"max_age of 0 is sent", AuthOptions{MaxAge: duration(0)}, "max_age=0"},
		{"max_age below a second is 0", AuthOptions{MaxAge: duration(time.Second - 1)}, "max_age=0"},
		{"acr_values", AuthOptions{ACRValues: []string{"eidas2", "eidas3"}}, "acr_values=eidas2+eidas3"},
		{"login_hint", AuthOptions{LoginHint: "alice+1@example.org"}, "login_hint=alice%2B1%40example.org"},
		{"id_token_hint", AuthOptions{IDTokenHint: "a.b.c"}, "id_token_hint=a.b.c"},
		{"display", AuthOptions{Display: "touch"}, "display=touch"},
		{"ui_locales", AuthOptions{UILocales: []string{"fr-CA", "fr"}}, "ui_locales=fr-CA+fr"},
		{"resource, once for each", AuthOptions{Resource: []string{"https://a.example", "https://b.example"}},
			"resource=https://a.example&resource=https://b.example"},
		{"extra parameters, also repeated ones", AuthOptions{Extra: url.Values{"idp_hint": {"x y"}, "a": {"1", "2"}}}, "idp_hint=x+y&a=1&a=2"},
		{"return_to is nobody else's business", AuthOptions{ReturnTo: "/dossiers/12"}, ""},

		{"a voluntary claim is null", AuthOptions{Claims: &ClaimsRequest{UserInfo: map[string]*ClaimRequest{"siret": nil}}},
			`claims={"userinfo":{"siret":null}}`},
		{"an essential claim", AuthOptions{Claims: &ClaimsRequest{IDToken: map[string]*ClaimRequest{"amr": {Essential: true}}}},
			`claims={"id_token":{"amr":{"essential":true}}}`},
		{"a claim with a value", AuthOptions{Claims: &ClaimsRequest{IDToken: map[string]*ClaimRequest{"sub": {Value: "alice"}}}},
			`claims={"id_token":{"sub":{"value":"alice"}}}`},
		{"a claim with values", AuthOptions{Claims: &ClaimsRequest{UserInfo: map[string]*ClaimRequest{"age": {Values: []any{18, 19.5}}}}},
			`claims={"userinfo":{"age":{"values":[18,19.5]}}}`},
		{"claims of both places, in a stable order", AuthOptions{Claims: &ClaimsRequest{
			UserInfo: map[string]*ClaimRequest{"z": nil, "a": {}, "m": {Value: false}}, IDToken: map[string]*ClaimRequest{"é": nil},
		}}, `claims={"userinfo":{"a":{},"m":{"value":false},"z":null},"id_token":{"é":null}}`},

		{"an essential acr claim takes the place of acr_values", AuthOptions{
			ACRValues: []string{"eidas1"},
			Claims:    &ClaimsRequest{IDToken: map[string]*ClaimRequest{"acr": {Essential: true, Values: []any{"eidas2"}}}},
		}, `claims={"id_token":{"acr":{"essential":true,"values":["eidas2"]}}}`},
		{"one without a value does not", AuthOptions{
			ACRValues: []string{"eidas1"}, Claims: &ClaimsRequest{IDToken: map[string]*ClaimRequest{"acr": {Essential: true}}},
		}, `acr_values=eidas1&claims={"id_token":{"acr":{"essential":true}}}`},
		{"nor does a voluntary one", AuthOptions{
			ACRValues: []string{"eidas1"}, Claims: &ClaimsRequest{IDToken: map[string]*ClaimRequest{"acr": {Value: "eidas2"}}},
		}, `acr_values=eidas1&claims={"id_token":{"acr":{"value":"eidas2"}}}`},
	})
}

func TestALoginsOptionsComeBeforeTheClients(t *testing.T) {
	t.Parallel()
	c := mustNew(t, func(c *Config) {
		c.Provider.Metadata = soundMetadata(nil)
		c.ResponseMode = "form_post"
		c.Login = AuthOptions{
			Prompt: "consent", MaxAge: duration(time.Hour), LoginHint: "base", IDTokenHint: "b.b.b", Display: "page",
			ACRValues: []string{"eidas1"}, UILocales: []string{"fr"}, Resource: []string{"https://base.example"},
			Extra:  url.Values{"idp_hint": {"base"}, "other": {"base"}},
			Claims: &ClaimsRequest{UserInfo: map[string]*ClaimRequest{"siret": {Essential: true}, "email": nil}},
		}
	})
	testRequests(t, c, []authorizeRow{
		{"the client's alone", AuthOptions{}, "response_mode=form_post&prompt=consent&max_age=3600&login_hint=base&id_token_hint=b.b.b&" +
			"display=page&acr_values=eidas1&ui_locales=fr&resource=https://base.example&idp_hint=base&other=base&" +
			`claims={"userinfo":{"email":null,"siret":{"essential":true}}}`},
		{"each of the login's own", AuthOptions{
			Prompt: "login", MaxAge: duration(0), LoginHint: "own", IDTokenHint: "o.o.o", Display: "touch",
			ACRValues: []string{"eidas2"}, UILocales: []string{"en"}, Resource: []string{"https://own.example"},
			Extra: url.Values{"idp_hint": {"own"}},
			Claims: &ClaimsRequest{
				UserInfo: map[string]*ClaimRequest{"siret": nil}, IDToken: map[string]*ClaimRequest{"amr": nil},
			},
		}, "response_mode=form_post&prompt=login&max_age=0&login_hint=own&id_token_hint=o.o.o&" +
			"display=touch&acr_values=eidas2&ui_locales=en&resource=https://own.example&idp_hint=own&other=base&" +
			`claims={"userinfo":{"email":null,"siret":null},"id_token":{"amr":null}}`},
	})
}

func TestOneWayToAskForAnACRDisplacesTheOther(t *testing.T) {
	t.Parallel()
	claim := func(values ...any) *ClaimsRequest {
		return &ClaimsRequest{IDToken: map[string]*ClaimRequest{"acr": {Essential: true, Values: values}, "amr": nil}}
	}
	for _, tt := range []struct {
		what          string
		client, login AuthOptions
		acrValues     string
		claims        string
		required      []string
		withoutClaims bool // the provider does not take the claims parameter
	}{
		{"the login's acr_values over the client's", AuthOptions{ACRValues: []string{"eidas1"}}, AuthOptions{ACRValues: []string{"eidas2"}},
			"eidas2", "", []string{"eidas2"}, false},
		{"the login's claim over the client's acr_values", AuthOptions{ACRValues: []string{"eidas1"}}, AuthOptions{Claims: claim("eidas2")},
			"", `{"id_token":{"acr":{"essential":true,"values":["eidas2"]},"amr":null}}`, []string{"eidas2"}, false},
		{"the login's acr_values over the client's claim", AuthOptions{Claims: claim("eidas1")}, AuthOptions{ACRValues: []string{"eidas2"}},
			"eidas2", `{"id_token":{"amr":null}}`, []string{"eidas2"}, false},
		{"the login's claim over the client's claim", AuthOptions{Claims: claim("eidas1")}, AuthOptions{Claims: claim("eidas2")},
			"", `{"id_token":{"acr":{"essential":true,"values":["eidas2"]},"amr":null}}`, []string{"eidas2"}, false},

		{"a requirement, as a claim", AuthOptions{}, AuthOptions{RequireACR: []string{"eidas2", "eidas3"}},
			"", `{"id_token":{"acr":{"essential":true,"values":["eidas2","eidas3"]}}}`, []string{"eidas2", "eidas3"}, false},
		{"a requirement over the client's acr_values", AuthOptions{ACRValues: []string{"eidas1"}}, AuthOptions{RequireACR: []string{"eidas2"}},
			"", `{"id_token":{"acr":{"essential":true,"values":["eidas2"]}}}`, []string{"eidas2"}, false},
		{"a requirement over the client's claim", AuthOptions{Claims: claim("eidas1")}, AuthOptions{RequireACR: []string{"eidas2"}},
			"", `{"id_token":{"acr":{"essential":true,"values":["eidas2"]},"amr":null}}`, []string{"eidas2"}, false},
		{"a requirement where claims are not understood", AuthOptions{}, AuthOptions{RequireACR: []string{"eidas2", "eidas3"}},
			"eidas2 eidas3", "", []string{"eidas2", "eidas3"}, true},
		{"a requirement over the client's claim where claims are not understood", AuthOptions{Claims: claim("eidas1")},
			AuthOptions{RequireACR: []string{"eidas2"}}, "eidas2", `{"id_token":{"amr":null}}`, []string{"eidas2"}, true},
	} {
		c := mustNew(t, func(c *Config) {
			c.Login = tt.client
			c.Provider.Metadata = soundMetadata(func(m *Metadata) { m.ClaimsParameterSupported = !tt.withoutClaims })
		})
		w := httptest.NewRecorder()
		location, err := c.BeginLogin(w, httptest.NewRequest("GET", "/", nil), &tt.login)
		if err != nil {
			t.Errorf("%s: %v", tt.what, err)
			continue
		}
		u, _ := url.Parse(location)
		if got := u.Query().Get("acr_values"); got != tt.acrValues || u.Query().Has("acr_values") != (got != "") {
			t.Errorf("%s: acr_values is %q, want %q", tt.what, got, tt.acrValues)
		}
		if got := u.Query().Get("claims"); got != tt.claims {
			t.Errorf("%s: claims is %s, want %s", tt.what, got, tt.claims)
		}
		transaction, err := openedTransaction(c, w)
		if err != nil || !reflect.DeepEqual(transaction.ACR, tt.required) {
			t.Errorf("%s: the ID Token must say one of %q, want %q (%v)", tt.what, transaction.ACR, tt.required, err)
		}
	}
}

// openedTransaction returns what a login's cookie holds.
func openedTransaction(c *Client, w *httptest.ResponseRecorder) (*transaction, error) {
	cookie := w.Result().Cookies()[0]
	return c.logins.openTransaction(cookie.Name, cookie.Value)
}

// refusedLogin fails the test unless opts are refused with code before the
// browser gets a cookie. It returns the error.
func refusedLogin(t *testing.T, c *Client, opts *AuthOptions, code Code) *Error {
	t.Helper()
	w := httptest.NewRecorder()
	location, err := c.BeginLogin(w, httptest.NewRequest("GET", "/", nil), opts)
	if location != "" || len(w.Header()) > 0 {
		t.Errorf("refused, and yet there is %q, %v", location, w.Header())
	}
	return wantCode(t, err, code)
}

func TestLoginsThatContradictThemselves(t *testing.T) {
	t.Parallel()
	// They are refused before anything is fetched.
	c := mustNew(t, func(c *Config) { c.Provider.Transport = noNetwork{t} })
	for _, tt := range []struct {
		want string
		opts AuthOptions
	}{
		{`prompt "logn" is not known`, AuthOptions{Prompt: "consent logn"}},
		{`prompt "a.b" is not known`, AuthOptions{Prompt: "a\x00b"}},
		{`prompt "none" must stand alone`, AuthOptions{Prompt: "none login"}},
		{"MaxAge is negative", AuthOptions{MaxAge: duration(-1)}},
		{`ACRValues holds "", which is no single value`, AuthOptions{ACRValues: []string{"eidas2", ""}}},
		{`ACRValues holds "eidas2 eidas3", which is no single value`, AuthOptions{ACRValues: []string{"eidas2 eidas3"}}},
		{"Claims: json: unsupported type: func()", AuthOptions{Claims: &ClaimsRequest{
			IDToken: map[string]*ClaimRequest{"a": {Value: func() {}}},
		}}},
	} {
		if got := refusedLogin(t, c, &tt.opts, CodeConfig).Err.Error(); got != tt.want {
			t.Errorf("error is %s, want %s", got, tt.want)
		}
	}
}

func TestExtraMayNotNameAParameterOfThisPackage(t *testing.T) {
	t.Parallel()
	c := mustNew(t, func(c *Config) {
		c.Provider.Metadata = soundMetadata(func(m *Metadata) { m.ClaimsParameterSupported = true })
		c.ResponseMode = "query"
	})
	names := []string{"client_secret", "client_assertion", "client_assertion_type", "request", "request_uri"}
	for name := range requestOf(t, c, &AuthOptions{
		Prompt: "login", MaxAge: duration(0), ACRValues: []string{"a"}, LoginHint: "a", IDTokenHint: "a", Display: "page",
		UILocales: []string{"fr"}, Resource: []string{"https://a.example"}, Claims: &ClaimsRequest{UserInfo: map[string]*ClaimRequest{"a": nil}},
	}) {
		names = append(names, name)
	}
	if len(names) != 5+18 {
		t.Errorf("%d parameters: %q", len(names), names)
	}
	for _, name := range names {
		err := refusedLogin(t, c, &AuthOptions{Extra: url.Values{name: {"x"}}}, CodeConfig)
		if want := fmt.Sprintf("parameter %q may not be in Extra", name); err.Err.Error() != want {
			t.Errorf("error is %v, want %s", err, want)
		}
	}
}

func TestWhatTheProviderDoesNotOfferIsRefusedBeforehand(t *testing.T) {
	t.Parallel()
	hostile := []string{strings.Repeat("\x00é\u202e", 1<<17)}
	for _, tt := range []struct {
		what     string
		config   func(*Config)
		metadata func(*Metadata)
		opts     AuthOptions
		refused  bool
	}{
		{"an acr that is not listed", nil, func(m *Metadata) { m.ACRValuesSupported = []string{"eidas1"} },
			AuthOptions{ACRValues: []string{"eidas1", "eidas2"}}, true},
		{"an essential acr claim that is not listed", nil, func(m *Metadata) { m.ACRValuesSupported = []string{"eidas1"} },
			AuthOptions{Claims: &ClaimsRequest{IDToken: map[string]*ClaimRequest{"acr": {Essential: true, Value: "eidas2"}}}}, true},
		{"a requirement that is not listed", nil, func(m *Metadata) { m.ACRValuesSupported = []string{"eidas1"} },
			AuthOptions{RequireACR: []string{"eidas2"}}, true},
		{"an acr in another case", nil, func(m *Metadata) { m.ACRValuesSupported = []string{"EIDAS2"} },
			AuthOptions{ACRValues: []string{"eidas2"}}, true},
		{"an acr where a hostile list comes", nil, func(m *Metadata) { m.ACRValuesSupported = hostile },
			AuthOptions{ACRValues: []string{"eidas2"}}, true},
		{"form_post that is not listed", func(c *Config) { c.ResponseMode = "form_post" },
			func(m *Metadata) { m.ResponseModesSupported = []string{"query"} }, AuthOptions{}, true},
		{"form_post where a hostile list comes", func(c *Config) { c.ResponseMode = "form_post" },
			func(m *Metadata) { m.ResponseModesSupported = hostile }, AuthOptions{}, true},
		{"client authentication of which the provider takes no kind", nil,
			func(m *Metadata) { m.TokenEndpointAuthMethodsSupported = []string{"private_key_jwt"} }, AuthOptions{}, true},
		{"client authentication where a hostile list comes", nil,
			func(m *Metadata) { m.TokenEndpointAuthMethodsSupported = hostile }, AuthOptions{}, true},

		{"an acr that is listed", nil, func(m *Metadata) { m.ACRValuesSupported = []string{"eidas1", "eidas2"} },
			AuthOptions{ACRValues: []string{"eidas2"}}, false},
		{"an acr where there is no list", nil, nil, AuthOptions{ACRValues: []string{"eidas2"}}, false},
		{"a voluntary acr claim that is not listed", nil, func(m *Metadata) { m.ACRValuesSupported = []string{"eidas1"} },
			AuthOptions{Claims: &ClaimsRequest{IDToken: map[string]*ClaimRequest{"acr": {Value: "eidas2"}}}}, false},
		{"form_post where there is no list", func(c *Config) { c.ResponseMode = "form_post" }, nil, AuthOptions{}, false},
	} {
		c := mustNew(t, func(c *Config) {
			c.Provider.Metadata = soundMetadata(tt.metadata)
			if tt.config != nil {
				tt.config(c)
			}
		})
		if !tt.refused {
			requestOf(t, c, &tt.opts)
			continue
		}
		text := refusedLogin(t, c, &tt.opts, CodeUnsupported).Error()
		if len(text) > 600 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == '\u202e' }) {
			t.Errorf("%s: the error has %d bytes and begins %.100q", tt.what, len(text), text)
		}
	}
}

func TestAnUnsupportedACRNeverReachesTheProvider(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{routes: func(c *Client, mux *http.ServeMux) {
		mux.Handle("/space", c.Require(ACR("eidas9"))(http.HandlerFunc(sayWho)))
	}})
	res, _ := get(t, app.provider.Browser(), app.URL+"/space")
	if res.StatusCode != http.StatusInternalServerError || len(res.Cookies()) > 0 {
		t.Errorf("the answer is %s with the cookies %v", res.Status, res.Cookies())
	}
	if n := app.provider.Count(oidctest.EndpointAuthorization); n != 0 {
		t.Errorf("%d authentication requests, want none", n)
	}
}

func TestTheEndpointKeepsItsQuery(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ endpoint, prefix string }{
		{"https://op.example/authorize", "https://op.example/authorize?client_id="},
		{"https://op.example/authorize?", "https://op.example/authorize?client_id="},
		{"https://op.example/authorize?realm=a%2Fb&x", "https://op.example/authorize?realm=a%2Fb&x&client_id="},
		{"https://op.example/a%2Fb", "https://op.example/a%2Fb?client_id="},
	} {
		c := mustNew(t, func(c *Config) {
			c.Provider.Metadata = soundMetadata(func(m *Metadata) { m.AuthorizationEndpoint = tt.endpoint })
		})
		location, err := c.BeginLogin(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), nil)
		if err != nil || !strings.HasPrefix(location, tt.prefix) {
			t.Errorf("%s became %s, %v", tt.endpoint, location, err)
		}
	}
}

func TestTheVerifierBelongsToTheChallenge(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	app.signIn(t)
	request := app.provider.RequestsTo(oidctest.EndpointAuthorization)[0].Form
	exchange := app.provider.RequestsTo(oidctest.EndpointToken)[0].Form
	verifier := exchange.Get("code_verifier")
	sum := sha256.Sum256([]byte(verifier))
	if got := base64.RawURLEncoding.EncodeToString(sum[:]); got != request.Get("code_challenge") || len(verifier) != 43 {
		t.Errorf("the verifier %q makes %s, and the challenge was %s", verifier, got, request.Get("code_challenge"))
	}
	want := url.Values{
		"grant_type": {"authorization_code"}, "code": exchange["code"], "code_verifier": {verifier},
		"redirect_uri": request["redirect_uri"],
	}
	if !reflect.DeepEqual(exchange, want) {
		t.Errorf("the token request is %v, want %v", exchange, want)
	}
}

func TestARequirementAsksTheWayTheProviderUnderstands(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		supported         any
		acrValues, claims string
	}{
		{true, "", `{"id_token":{"acr":{"essential":true,"values":["eidas2"]}}}`},
		{false, "eidas2", ""},
		{nil, "eidas2", ""},
	} {
		app := newTestApp(t, setup{provider: oidctest.Config{Metadata: map[string]any{"claims_parameter_supported": tt.supported}}})
		browser := app.provider.SignIn(t, app.URL+"/admin", "alice")
		if got := app.who(t, browser, "/admin").ACR; got != "eidas2" {
			t.Errorf("claims_parameter_supported %v: signed in with acr %q, want eidas2", tt.supported, got)
		}
		request := app.provider.RequestsTo(oidctest.EndpointAuthorization)[0].Form
		if request.Get("acr_values") != tt.acrValues || request.Get("claims") != tt.claims {
			t.Errorf("claims_parameter_supported %v: the request is %v", tt.supported, request)
		}
	}
}

func TestPushedAuthorizationRequests(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		what     string
		provider oidctest.Config
		config   func(*Config)
		pushed   int
	}{
		{"offered only", oidctest.Config{}, nil, 0},
		{"required by the provider", oidctest.Config{RequirePAR: true}, nil, 1},
		{"wanted by the client", oidctest.Config{}, func(c *Config) { c.Registration.RequirePushedAuthorizationRequests = true }, 1},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			app := newTestApp(t, setup{provider: tt.provider, config: tt.config})
			app.signIn(t)
			pushes := app.provider.RequestsTo(oidctest.EndpointPAR)
			if len(pushes) != tt.pushed {
				t.Fatalf("%d pushed requests, want %d", len(pushes), tt.pushed)
			}
			request := app.provider.RequestsTo(oidctest.EndpointAuthorization)[0].Form
			if tt.pushed == 0 {
				if request.Has("request_uri") {
					t.Errorf("a request_uri that nobody pushed: %v", request)
				}
				return
			}
			if len(request) != 2 || request.Get("client_id") != oidctest.ClientID || request.Get("request_uri") == "" {
				t.Errorf("the authentication request is %v, want client_id and request_uri alone", request)
			}
			push := pushes[0]
			if push.Method != "POST" || push.Header.Get("Accept") != "application/json" || push.URL.RawQuery != "" {
				t.Errorf("the push is %s %s, %v", push.Method, push.URL, push.Header)
			}
			for _, name := range []string{"nonce", "state", "code_challenge", "redirect_uri", "scope", "response_type"} {
				if !push.Form.Has(name) {
					t.Errorf("the push lacks %s: %v", name, push.Form)
				}
			}
		})
	}
}

func TestAPushThatFailsStartsNoLogin(t *testing.T) {
	t.Parallel()
	jsonAnswer := func(status int, body string) http.HandlerFunc { return respond(status, "application/json", body) }
	for _, tt := range []struct {
		what   string
		answer http.HandlerFunc
		code   Code
		error  string // of a ProviderError
	}{
		{"an error", jsonAnswer(400, `{"error":"invalid_request","error_description":"no\u0000pe"}`), CodeProviderError, "invalid_request"},
		{"an error with 401", jsonAnswer(401, `{"error":"invalid_client"}`), CodeClientRefused, "invalid_client"},
		{"an error with 200", jsonAnswer(200, `{"error":"invalid_request"}`), CodeProviderError, "invalid_request"},
		{"an error in HTML", respond(400, "text/html", "<p>no"), CodeProviderInvalid, ""},
		{"no request_uri", jsonAnswer(201, `{"expires_in":60}`), CodeProviderInvalid, ""},
		{"an empty request_uri", jsonAnswer(201, `{"request_uri":""}`), CodeProviderInvalid, ""},
		{"a request_uri that is a number", jsonAnswer(201, `{"request_uri":1}`), CodeProviderInvalid, ""},
		{"REQUEST_URI in capitals", jsonAnswer(201, `{"REQUEST_URI":"urn:x"}`), CodeProviderInvalid, ""},
		{"request_uri twice", jsonAnswer(201, `{"request_uri":"urn:x","request_uri":"urn:y"}`), CodeProviderInvalid, ""},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusTemporaryRedirect) },
			CodeProviderInvalid, ""},
		{"an outage", respond(503, "text/html", "down"), CodeProviderUnavailable, ""},
	} {
		app := newTestApp(t, setup{config: func(c *Config) { c.Registration.RequirePushedAuthorizationRequests = true }})
		app.provider.Handle(oidctest.EndpointPAR, tt.answer)
		err := refusedLogin(t, app.client, nil, tt.code)
		var refusal *ProviderError
		if errors.As(err, &refusal) != (tt.error != "") {
			t.Errorf("%s: error is %v", tt.what, err)
		}
		if refusal != nil && (refusal.ErrorCode != tt.error || refusal.Endpoint != "pushed authorization request" || refusal.StatusCode == 0) {
			t.Errorf("%s: the provider's error is %+v", tt.what, refusal)
		}
		if n := app.provider.Count(oidctest.EndpointPAR); n != 1 {
			t.Errorf("%s: %d pushes, want one", tt.what, n)
		}
	}
}

func TestAPushToNowhereIsRefused(t *testing.T) {
	t.Parallel()
	c := mustNew(t, func(c *Config) {
		c.Provider.Metadata, c.Registration.RequirePushedAuthorizationRequests = soundMetadata(nil), true
	})
	err := refusedLogin(t, c, nil, CodeUnsupported)
	if want := "the provider has no pushed_authorization_request_endpoint"; err.Err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

func TestTheStateHidesWhatItHolds(t *testing.T) {
	t.Parallel()
	c := mustNew(t, func(c *Config) { c.Provider.Metadata = soundMetadata(nil) })
	v := requestOf(t, c, &AuthOptions{ReturnTo: "/dossiers/12"})
	state, err := base64.RawURLEncoding.DecodeString(v.Get("state"))
	if err != nil || strings.Contains(string(state), "dossiers") {
		t.Errorf("the state is %q, %v", state, err)
	}
	if ticket, ok := c.logins.openState(v.Get("state")); !ok || ticket.ReturnTo != "/dossiers/12" {
		t.Errorf("the state opens as %+v, %v", ticket, ok)
	}
	other := mustNew(t, func(c *Config) { c.CookieKeys = Keys(testKey(9)) })
	if _, ok := other.logins.openState(v.Get("state")); ok {
		t.Error("somebody else's keys open the state")
	}
	// The same keys on another host: a state is not to be carried over.
	elsewhere := mustNew(t, func(c *Config) { c.BaseURL = "https://other.example" })
	if _, ok := elsewhere.logins.openState(v.Get("state")); ok {
		t.Error("another host opens the state")
	}
}
