package oidcrp_test

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

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

// requestOf starts a login and returns the parameters of its request.
func requestOf(t testing.TB, c *oidcrp.Client, opts *oidcrp.AuthOptions) url.Values {
	t.Helper()
	location, err := c.BeginLogin(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), opts)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

// withoutRandom returns v without what is new for each login.
func withoutRandom(v url.Values) url.Values {
	for _, name := range []string{"state", "nonce", "code_challenge"} {
		v.Del(name)
	}
	return v
}

// authorizeRow is a login that asks for something, and the parameters that its
// request then has beyond those that every request has, as a query.
type authorizeRow struct {
	what string
	opts oidcrp.AuthOptions
	want string
}

func TestBeginLogin_EveryRequestHasTheseParameters(t *testing.T) {
	t.Parallel()
	c := mustNew(t, func(c *oidcrp.Config) { c.Provider.Metadata = soundMetadata(nil) })
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
func testRequests(t *testing.T, c *oidcrp.Client, rows []authorizeRow) {
	t.Helper()
	common := withoutRandom(requestOf(t, mustNew(t, func(c *oidcrp.Config) { c.Provider.Metadata = soundMetadata(nil) }), nil))
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

func TestBeginLogin_SendsWhatTheLoginAsksFor(t *testing.T) {
	t.Parallel()
	c := mustNew(t, func(c *oidcrp.Config) { c.Provider.Metadata = soundMetadata(nil) })
	testRequests(t, c, []authorizeRow{
		{"nothing", oidcrp.AuthOptions{}, ""},
		{"empty values are not sent", oidcrp.AuthOptions{
			ACRValues: []string{}, UILocales: []string{}, Claims: &oidcrp.ClaimsRequest{}, Extra: url.Values{"a": {""}, "b": {}},
		}, ""},
		{"nor those inside a list", oidcrp.AuthOptions{UILocales: []string{"", ""}, Resource: []string{""}, Prompt: " "}, ""},

		{"prompt", oidcrp.AuthOptions{Prompt: "login consent"}, "prompt=login+consent"},
		{"prompt with spaces around", oidcrp.AuthOptions{Prompt: " login  consent "}, "prompt=login+consent"},
		{"max_age in seconds", oidcrp.AuthOptions{MaxAge: new(90 * time.Minute)}, "max_age=5400"},
		{"max_age of 0 is sent", oidcrp.AuthOptions{MaxAge: new(time.Duration)}, "max_age=0"},
		{"max_age below a second is 0", oidcrp.AuthOptions{MaxAge: new(time.Second - 1)}, "max_age=0"},
		{"acr_values", oidcrp.AuthOptions{ACRValues: []string{"eidas2", "eidas3"}}, "acr_values=eidas2+eidas3"},
		{"login_hint", oidcrp.AuthOptions{LoginHint: "alice+1@example.org"}, "login_hint=alice%2B1%40example.org"},
		{"id_token_hint", oidcrp.AuthOptions{IDTokenHint: "a.b.c"}, "id_token_hint=a.b.c"},
		{"display", oidcrp.AuthOptions{Display: "touch"}, "display=touch"},
		{"ui_locales", oidcrp.AuthOptions{UILocales: []string{"fr-CA", "fr"}}, "ui_locales=fr-CA+fr"},
		{"resource, once for each", oidcrp.AuthOptions{Resource: []string{"https://a.example", "https://b.example"}},
			"resource=https://a.example&resource=https://b.example"},
		{"extra parameters, also repeated ones", oidcrp.AuthOptions{Extra: url.Values{"idp_hint": {"x y"}, "a": {"1", "2"}}}, "idp_hint=x+y&a=1&a=2"},
		{"return_to is nobody else's business", oidcrp.AuthOptions{ReturnTo: "/dossiers/12"}, ""},

		{"a voluntary claim is null", oidcrp.AuthOptions{Claims: &oidcrp.ClaimsRequest{UserInfo: map[string]*oidcrp.ClaimRequest{"siret": nil}}},
			`claims={"userinfo":{"siret":null}}`},
		{"an essential claim", oidcrp.AuthOptions{Claims: &oidcrp.ClaimsRequest{IDToken: map[string]*oidcrp.ClaimRequest{"amr": {Essential: true}}}},
			`claims={"id_token":{"amr":{"essential":true}}}`},
		{"a claim with a value", oidcrp.AuthOptions{Claims: &oidcrp.ClaimsRequest{IDToken: map[string]*oidcrp.ClaimRequest{"sub": {Value: "alice"}}}},
			`claims={"id_token":{"sub":{"value":"alice"}}}`},
		{"a claim with values", oidcrp.AuthOptions{Claims: &oidcrp.ClaimsRequest{UserInfo: map[string]*oidcrp.ClaimRequest{"age": {Values: []any{18, 19.5}}}}},
			`claims={"userinfo":{"age":{"values":[18,19.5]}}}`},
		{"claims of both places, in a stable order", oidcrp.AuthOptions{Claims: &oidcrp.ClaimsRequest{
			UserInfo: map[string]*oidcrp.ClaimRequest{"z": nil, "a": {}, "m": {Value: false}}, IDToken: map[string]*oidcrp.ClaimRequest{"é": nil},
		}}, `claims={"userinfo":{"a":{},"m":{"value":false},"z":null},"id_token":{"é":null}}`},

		{"an essential acr claim takes the place of acr_values", oidcrp.AuthOptions{
			ACRValues: []string{"eidas1"},
			Claims:    &oidcrp.ClaimsRequest{IDToken: map[string]*oidcrp.ClaimRequest{"acr": {Essential: true, Values: []any{"eidas2"}}}},
		}, `claims={"id_token":{"acr":{"essential":true,"values":["eidas2"]}}}`},
		{"one without a value does not", oidcrp.AuthOptions{
			ACRValues: []string{"eidas1"}, Claims: &oidcrp.ClaimsRequest{IDToken: map[string]*oidcrp.ClaimRequest{"acr": {Essential: true}}},
		}, `acr_values=eidas1&claims={"id_token":{"acr":{"essential":true}}}`},
		{"nor does a voluntary one", oidcrp.AuthOptions{
			ACRValues: []string{"eidas1"}, Claims: &oidcrp.ClaimsRequest{IDToken: map[string]*oidcrp.ClaimRequest{"acr": {Value: "eidas2"}}},
		}, `acr_values=eidas1&claims={"id_token":{"acr":{"value":"eidas2"}}}`},
	})
}

func TestBeginLogin_ALoginsOptionsComeBeforeTheClients(t *testing.T) {
	t.Parallel()
	c := mustNew(t, func(c *oidcrp.Config) {
		c.Provider.Metadata = soundMetadata(nil)
		c.ResponseMode = "form_post"
		c.Login = oidcrp.AuthOptions{
			Prompt: "consent", MaxAge: new(time.Hour), LoginHint: "base", IDTokenHint: "b.b.b", Display: "page",
			ACRValues: []string{"eidas1"}, UILocales: []string{"fr"}, Resource: []string{"https://base.example"},
			Extra:  url.Values{"idp_hint": {"base"}, "other": {"base"}},
			Claims: &oidcrp.ClaimsRequest{UserInfo: map[string]*oidcrp.ClaimRequest{"siret": {Essential: true}, "email": nil}},
		}
	})
	testRequests(t, c, []authorizeRow{
		{"the client's alone", oidcrp.AuthOptions{}, "response_mode=form_post&prompt=consent&max_age=3600&login_hint=base&id_token_hint=b.b.b&" +
			"display=page&acr_values=eidas1&ui_locales=fr&resource=https://base.example&idp_hint=base&other=base&" +
			`claims={"userinfo":{"email":null,"siret":{"essential":true}}}`},
		{"each of the login's own", oidcrp.AuthOptions{
			Prompt: "login", MaxAge: new(time.Duration), LoginHint: "own", IDTokenHint: "o.o.o", Display: "touch",
			ACRValues: []string{"eidas2"}, UILocales: []string{"en"}, Resource: []string{"https://own.example"},
			Extra: url.Values{"idp_hint": {"own"}},
			Claims: &oidcrp.ClaimsRequest{
				UserInfo: map[string]*oidcrp.ClaimRequest{"siret": nil}, IDToken: map[string]*oidcrp.ClaimRequest{"amr": nil},
			},
		}, "response_mode=form_post&prompt=login&max_age=0&login_hint=own&id_token_hint=o.o.o&" +
			"display=touch&acr_values=eidas2&ui_locales=en&resource=https://own.example&idp_hint=own&other=base&" +
			`claims={"userinfo":{"email":null,"siret":null},"id_token":{"amr":null}}`},
	})
}

// refusedLogin fails the test unless opts are refused with code before the
// browser gets a cookie. It returns the error.
func refusedLogin(t *testing.T, c *oidcrp.Client, opts *oidcrp.AuthOptions, code oidcrp.Code) *oidcrp.Error {
	t.Helper()
	w := httptest.NewRecorder()
	location, err := c.BeginLogin(w, httptest.NewRequest("GET", "/", nil), opts)
	if location != "" || len(w.Header()) > 0 {
		t.Errorf("refused, and yet there is %q, %v", location, w.Header())
	}
	return wantCode(t, err, code)
}

func TestBeginLogin_RefusesContradictions(t *testing.T) {
	t.Parallel()
	// They are refused before anything is fetched.
	c := mustNew(t, func(c *oidcrp.Config) { c.Provider.Transport = oidcrp.NoNetwork(t) })
	for _, tt := range []struct {
		want string
		opts oidcrp.AuthOptions
	}{
		{`Prompt holds "logn": do you mean "login"?`, oidcrp.AuthOptions{Prompt: "consent logn"}},
		{`Prompt holds "a.b": a value is at most 64 characters of printable ASCII without quotes and backslashes`, oidcrp.AuthOptions{Prompt: "a\x00b"}},
		{`Prompt "none" cannot be combined with others`, oidcrp.AuthOptions{Prompt: "none login"}},
		{"MaxAge -1ns is negative", oidcrp.AuthOptions{MaxAge: new(time.Duration(-1))}},
		{`ACRValues holds "": give each value by itself, without spaces`, oidcrp.AuthOptions{ACRValues: []string{"eidas2", ""}}},
		{`ACRValues holds "eidas2 eidas3": give each value by itself, without spaces`,
			oidcrp.AuthOptions{ACRValues: []string{"eidas2 eidas3"}}},
		{`RequireACR holds "eidas2 eidas3": give each value by itself, without spaces`,
			oidcrp.AuthOptions{RequireACR: []string{"eidas2 eidas3"}}},
		{"Claims cannot be encoded: json: unsupported type: func()", oidcrp.AuthOptions{Claims: &oidcrp.ClaimsRequest{
			IDToken: map[string]*oidcrp.ClaimRequest{"a": {Value: func() {}}},
		}}},
	} {
		if got := refusedLogin(t, c, &tt.opts, oidcrp.CodeConfigInvalid).Err.Error(); got != "AuthOptions."+tt.want {
			t.Errorf("error is %s, want AuthOptions.%s", got, tt.want)
		}
	}
}

func TestBeginLogin_ExtraMayNotNameAParameterOfThisPackage(t *testing.T) {
	t.Parallel()
	c := mustNew(t, func(c *oidcrp.Config) {
		c.Provider.Metadata = soundMetadata(func(m *oidcrp.Metadata) { m.ClaimsParameterSupported = true })
		c.ResponseMode = "query"
	})
	names := []string{"client_secret", "client_assertion", "client_assertion_type", "request", "request_uri"}
	for name := range requestOf(t, c, &oidcrp.AuthOptions{
		Prompt: "login", MaxAge: new(time.Duration), ACRValues: []string{"a"}, LoginHint: "a", IDTokenHint: "a", Display: "page",
		UILocales: []string{"fr"}, Resource: []string{"https://a.example"}, Claims: &oidcrp.ClaimsRequest{UserInfo: map[string]*oidcrp.ClaimRequest{"a": nil}},
	}) {
		names = append(names, name)
	}
	if len(names) != 5+18 {
		t.Errorf("%d parameters: %q", len(names), names)
	}
	for _, name := range names {
		err := refusedLogin(t, c, &oidcrp.AuthOptions{Extra: url.Values{name: {"x"}}}, oidcrp.CodeConfigInvalid)
		if want := fmt.Sprintf("AuthOptions.Extra holds %q, which this package sends itself", name); err.Err.Error() != want {
			t.Errorf("error is %v, want %s", err, want)
		}
	}
}

func TestBeginLogin_RefusesWhatTheProviderDoesNotOffer(t *testing.T) {
	t.Parallel()
	hostile := []string{strings.Repeat("\x00é\u202e", 1<<17)}
	for _, tt := range []struct {
		what     string
		config   func(*oidcrp.Config)
		metadata func(*oidcrp.Metadata)
		opts     oidcrp.AuthOptions
		refused  bool
	}{
		{"a required acr that is not listed", nil, func(m *oidcrp.Metadata) { m.ACRValuesSupported = []string{"eidas1"} },
			oidcrp.AuthOptions{RequireACR: []string{"eidas2", "eidas3"}}, true},
		{"an essential acr claim that is not listed", nil, func(m *oidcrp.Metadata) { m.ACRValuesSupported = []string{"eidas1"} },
			oidcrp.AuthOptions{Claims: &oidcrp.ClaimsRequest{IDToken: map[string]*oidcrp.ClaimRequest{"acr": {Essential: true, Value: "eidas2"}}}}, true},
		{"a required acr in another case", nil, func(m *oidcrp.Metadata) { m.ACRValuesSupported = []string{"EIDAS2"} },
			oidcrp.AuthOptions{RequireACR: []string{"eidas2"}}, true},
		{"a required acr where a hostile list comes", nil, func(m *oidcrp.Metadata) { m.ACRValuesSupported = hostile },
			oidcrp.AuthOptions{RequireACR: []string{"eidas2"}}, true},
		{"form_post that is not listed", func(c *oidcrp.Config) { c.ResponseMode = "form_post" },
			func(m *oidcrp.Metadata) { m.ResponseModesSupported = []string{"query"} }, oidcrp.AuthOptions{}, true},
		{"form_post where a hostile list comes", func(c *oidcrp.Config) { c.ResponseMode = "form_post" },
			func(m *oidcrp.Metadata) { m.ResponseModesSupported = hostile }, oidcrp.AuthOptions{}, true},
		{"client authentication of which the provider takes no kind", nil,
			func(m *oidcrp.Metadata) { m.TokenEndpointAuthMethodsSupported = []string{"private_key_jwt"} }, oidcrp.AuthOptions{}, true},
		{"client authentication where a hostile list comes", nil,
			func(m *oidcrp.Metadata) { m.TokenEndpointAuthMethodsSupported = hostile }, oidcrp.AuthOptions{}, true},

		{"a voluntary acr that is not listed", nil, func(m *oidcrp.Metadata) { m.ACRValuesSupported = []string{"eidas1"} },
			oidcrp.AuthOptions{ACRValues: []string{"eidas1", "eidas2"}}, false},
		{"another acr than is required", nil, func(m *oidcrp.Metadata) { m.ACRValuesSupported = []string{"eidas1"} },
			oidcrp.AuthOptions{ACRValues: []string{"eidas1"}, RequireACR: []string{"eidas1", "eidas2"}}, false},
		{"one of two required values that is listed", nil, func(m *oidcrp.Metadata) { m.ACRValuesSupported = []string{"eidas2"} },
			oidcrp.AuthOptions{RequireACR: []string{"eidas2", "eidas3"}}, false},
		{"an acr that is listed", nil, func(m *oidcrp.Metadata) { m.ACRValuesSupported = []string{"eidas1", "eidas2"} },
			oidcrp.AuthOptions{ACRValues: []string{"eidas2"}}, false},
		{"an acr where there is no list", nil, nil, oidcrp.AuthOptions{ACRValues: []string{"eidas2"}}, false},
		{"a voluntary acr claim that is not listed", nil, func(m *oidcrp.Metadata) { m.ACRValuesSupported = []string{"eidas1"} },
			oidcrp.AuthOptions{Claims: &oidcrp.ClaimsRequest{IDToken: map[string]*oidcrp.ClaimRequest{"acr": {Value: "eidas2"}}}}, false},
		{"form_post where there is no list", func(c *oidcrp.Config) { c.ResponseMode = "form_post" }, nil, oidcrp.AuthOptions{}, false},
	} {
		c := mustNew(t, func(c *oidcrp.Config) {
			c.Provider.Metadata = soundMetadata(tt.metadata)
			if tt.config != nil {
				tt.config(c)
			}
		})
		if !tt.refused {
			requestOf(t, c, &tt.opts)
			continue
		}
		text := refusedLogin(t, c, &tt.opts, oidcrp.CodeUnsupportedByProvider).Error()
		if len(text) > 600 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == '\u202e' }) {
			t.Errorf("%s: the error has %d bytes and begins %.100q", tt.what, len(text), text)
		}
	}
}

func TestRequire_AnUnsupportedACRNeverReachesTheProvider(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{routes: func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.Handle("/space", c.Require(oidcrp.ACR("eidas9"))(http.HandlerFunc(sayWho)))
	}})
	res, _ := get(t, app.provider.Browser(), app.URL+"/space")
	if res.StatusCode != http.StatusInternalServerError || len(res.Cookies()) > 0 {
		t.Errorf("the answer is %s with the cookies %v", res.Status, res.Cookies())
	}
	if n := app.provider.Count(oidctest.EndpointAuthorization); n != 0 {
		t.Errorf("%d authentication requests, want none", n)
	}
}

func TestBeginLogin_KeepsTheQueryOfTheEndpoint(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ endpoint, prefix string }{
		{"https://op.example/authorize", "https://op.example/authorize?client_id="},
		{"https://op.example/authorize?", "https://op.example/authorize?client_id="},
		{"https://op.example/authorize?realm=a%2Fb&x", "https://op.example/authorize?realm=a%2Fb&x&client_id="},
		{"https://op.example/a%2Fb", "https://op.example/a%2Fb?client_id="},
	} {
		c := mustNew(t, func(c *oidcrp.Config) {
			c.Provider.Metadata = soundMetadata(func(m *oidcrp.Metadata) { m.AuthorizationEndpoint = tt.endpoint })
		})
		location, err := c.BeginLogin(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), nil)
		if err != nil || !strings.HasPrefix(location, tt.prefix) {
			t.Errorf("%s became %s, %v", tt.endpoint, location, err)
		}
	}
}

func TestCallback_SendsTheVerifierOfTheChallenge(t *testing.T) {
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

func TestRequire_AsksForAnACRTheWayTheProviderUnderstands(t *testing.T) {
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

func TestPAR_IsUsedWhenRequiredOrWanted(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		what     string
		provider oidctest.Config
		config   func(*oidcrp.Config)
		pushed   int
	}{
		{"offered only", oidctest.Config{}, nil, 0},
		{"required by the provider", oidctest.Config{RequirePAR: true}, nil, 1},
		{"wanted by the client", oidctest.Config{}, func(c *oidcrp.Config) { c.Registration.RequirePushedAuthorizationRequests = true }, 1},
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

func TestPAR_AFailureStartsNoLogin(t *testing.T) {
	t.Parallel()
	jsonAnswer := func(status int, body string) http.HandlerFunc { return respond(status, "application/json", body) }
	for _, tt := range []struct {
		what   string
		answer http.HandlerFunc
		code   oidcrp.Code
		error  string // of a ProviderError
	}{
		{"an error", jsonAnswer(400, `{"error":"invalid_request","error_description":"no\u0000pe"}`), oidcrp.CodeClientRefused, "invalid_request"},
		{"an error with 401", jsonAnswer(401, `{"error":"invalid_client"}`), oidcrp.CodeClientRefused, "invalid_client"},
		{"an error with 200", jsonAnswer(200, `{"error":"invalid_request"}`), oidcrp.CodeClientRefused, "invalid_request"},
		{"an error in HTML", respond(400, "text/html", "<p>no"), oidcrp.CodeProviderInvalid, ""},
		{"no request_uri", jsonAnswer(201, `{"expires_in":60}`), oidcrp.CodeProviderInvalid, ""},
		{"an empty request_uri", jsonAnswer(201, `{"request_uri":""}`), oidcrp.CodeProviderInvalid, ""},
		{"a request_uri that is a number", jsonAnswer(201, `{"request_uri":1}`), oidcrp.CodeProviderInvalid, ""},
		{"REQUEST_URI in capitals", jsonAnswer(201, `{"REQUEST_URI":"urn:x"}`), oidcrp.CodeProviderInvalid, ""},
		{"request_uri twice", jsonAnswer(201, `{"request_uri":"urn:x","request_uri":"urn:y"}`), oidcrp.CodeProviderInvalid, ""},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusTemporaryRedirect) },
			oidcrp.CodeProviderInvalid, ""},
		{"an outage", respond(503, "text/html", "down"), oidcrp.CodeProviderUnavailable, ""},
	} {
		app := newTestApp(t, setup{config: func(c *oidcrp.Config) { c.Registration.RequirePushedAuthorizationRequests = true }})
		app.provider.Handle(oidctest.EndpointPAR, tt.answer)
		err := refusedLogin(t, app.client, nil, tt.code)
		var refusal *oidcrp.ProviderError
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

func TestPAR_NeedsAnEndpoint(t *testing.T) {
	t.Parallel()
	c := mustNew(t, func(c *oidcrp.Config) {
		c.Provider.Metadata, c.Registration.RequirePushedAuthorizationRequests = soundMetadata(nil), true
	})
	err := refusedLogin(t, c, nil, oidcrp.CodeUnsupportedByProvider)
	if want := "the provider has no pushed_authorization_request_endpoint"; err.Err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

// acrAsked returns what the latest login has asked for as acr.
func acrAsked(t testing.TB, app *testApp) (acrValues, claims string) {
	t.Helper()
	requests := app.provider.RequestsTo(oidctest.EndpointAuthorization)
	request := requests[len(requests)-1].Form
	return request.Get("acr_values"), request.Get("claims")
}

// A provider that answers a higher level than it was asked for, such as Pro
// Santé Connect, is asked for one value and believed for two.
func TestRequireACR_AcceptsOtherValuesThanAreAskedFor(t *testing.T) {
	t.Parallel()
	persons := append(oidctest.DefaultPersonas(), oidctest.Persona{Subject: "dana", ACR: "eidas3"})
	for _, page := range []string{"/auth/login?return_to=/me", "/me"} {
		for _, tt := range []struct {
			who, answered string
			ok            bool
		}{{"alice", "eidas1", true}, {"bruno", "eidas2", true}, {"dana", "eidas3", false}} {
			app := newTestApp(t, setup{
				provider: oidctest.Config{Personas: persons},
				config: func(c *oidcrp.Config) {
					c.Login.ACRValues, c.Login.RequireACR = []string{"eidas1"}, []string{"eidas1", "eidas2"}
				},
			})
			browser := app.provider.Browser()
			res, err := app.provider.Visit(browser, app.URL+page, tt.who)
			if err != nil {
				t.Fatal(err)
			}
			body := readBody(t, res)
			if acrValues, claims := acrAsked(t, app); acrValues != "eidas1" || claims != "" {
				t.Errorf("%s asks for acr_values %q and claims %q, want eidas1 alone", page, acrValues, claims)
			}
			want := whoAnswer{Path: "/", Sub: tt.who, ACR: tt.answered}
			if !tt.ok {
				want = whoAnswer{Path: "/"}
			}
			if got := app.who(t, browser, "/"); got != want {
				t.Errorf("%s, answered %s: %s, and the app sees %+v\n%s", page, tt.answered, res.Status, got, body)
			}
		}
	}
}

func TestACRValues_AreVoluntary(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{config: func(c *oidcrp.Config) { c.Login.ACRValues = []string{"eidas2"} }})
	app.provider.Misbehave(fault.IDTokenLowerACR)
	browser := app.signIn(t)
	if got := app.who(t, browser, "/me"); got.Sub != "alice" || got.ACR != "0" {
		t.Errorf("the app sees %+v, want alice with the lower acr", got)
	}
	if acrValues, claims := acrAsked(t, app); acrValues != "eidas2" || claims != "" {
		t.Errorf("acr_values is %q, claims %q, want eidas2 alone", acrValues, claims)
	}
}

func TestRequireACR_OfTheConfigIsRequiredOnEveryProtectedRoute(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{
		config: func(c *oidcrp.Config) { c.Login.RequireACR = []string{"eidas2"} },
		routes: func(c *oidcrp.Client, mux *http.ServeMux) {
			for name, opts := range map[string]*oidcrp.AuthOptions{
				"values":  {RequireACR: []string{"eidas1"}},
				"claim":   {Claims: &oidcrp.ClaimsRequest{IDToken: map[string]*oidcrp.ClaimRequest{"acr": {Essential: true, Value: "eidas1"}}}},
				"neither": {RequireACR: []string{}, ACRValues: []string{"eidas1"}},
			} {
				opts.ReturnTo = "/public"
				mux.HandleFunc("/lower/"+name, func(w http.ResponseWriter, r *http.Request) { c.Login(w, r, opts) })
			}
			mux.HandleFunc("/public", sayWho)
			mux.Handle("/claim", c.Require(oidcrp.HasClaim("email"))(http.HandlerFunc(sayWho)))
			mux.HandleFunc("/check", func(w http.ResponseWriter, r *http.Request) {
				_, err := c.Check(r)
				fmt.Fprint(w, err)
			})
		},
	})
	for _, way := range []string{"values", "claim", "neither"} {
		browser := app.provider.SignIn(t, app.URL+"/lower/"+way, "alice")
		if got := app.who(t, browser, "/"); got.Sub != "alice" || got.ACR != "eidas1" {
			t.Fatalf("%s: signed in as %+v, want alice with eidas1", way, got)
		}
		_, text := get(t, browser, app.URL+"/check")
		if want := `oidcrp: require: requirement_unmet: the session does not meet: acr ["eidas2"]`; text != want {
			t.Errorf("%s: Check returns %s, want %s", way, text, want)
		}
		for _, page := range []string{"/me", "/claim"} {
			res, body := app.asks(t, browser, "GET", page, "Sec-Fetch-Mode: cors")
			if got := jsonMember(t, body, "requirement"); res.StatusCode != http.StatusUnauthorized || got != `acr ["eidas2"]` {
				t.Errorf("%s: a script gets %s of %s for %q", way, res.Status, page, got)
			}
		}
		// A page load steps up, and is let in then.
		res, err := app.provider.Visit(browser, app.URL+"/claim", "alice")
		if err != nil {
			t.Fatal(err)
		}
		readBody(t, res)
		if got := app.who(t, browser, "/me"); res.StatusCode != http.StatusOK || got.ACR != "eidas2" {
			t.Errorf("%s: the step up ended with %s, %+v", way, res.Status, got)
		}
	}
}

func TestRequireACR_FailsALoginThatDoesNotReachIt(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{routes: func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.HandleFunc("/strong", func(w http.ResponseWriter, r *http.Request) {
			c.Login(w, r, &oidcrp.AuthOptions{RequireACR: []string{"eidas2"}})
		})
	}})
	app.provider.Misbehave(fault.IDTokenLowerACR)
	browser := app.provider.Browser()
	res, err := app.provider.Visit(browser, app.URL+"/strong", "alice")
	if err != nil {
		t.Fatal(err)
	}
	if page := readBody(t, res); res.StatusCode != http.StatusForbidden || app.who(t, browser, "/").Sub != "" {
		t.Errorf("%s\n%s", res.Status, page)
	}
}

// A value of the provider's own is passed on, also beside one of the specification.
func TestBeginLogin_PassesOnAPromptOfTheProvidersOwn(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{config: func(c *oidcrp.Config) { c.Login.Prompt = "select_organization" }})
	for prompt, want := range map[string]string{
		"": "select_organization", "login  kc_action:x": "login kc_action:x", "none": "none",
	} {
		if got := requestOf(t, app.client, &oidcrp.AuthOptions{Prompt: prompt}).Get("prompt"); got != want {
			t.Errorf("%q is sent as %q", prompt, got)
		}
	}
	for _, prompt := range []string{"none select_organization", "Login", "a\x00b", "a\\b"} {
		_, err := app.client.BeginLogin(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), &oidcrp.AuthOptions{Prompt: prompt})
		wantCode(t, err, oidcrp.CodeConfigInvalid)
	}
}

func TestBeginLogin_AddsTheScopesOfOneLogin(t *testing.T) {
	t.Parallel()
	c := mustNew(t, func(c *oidcrp.Config) { c.Provider.Metadata, c.Scopes = soundMetadata(nil), []string{"email"} })
	for _, tt := range []struct {
		scopes []string
		want   string
	}{
		{nil, "openid email"},
		{[]string{"calendar", "email"}, "openid email calendar"},
		{[]string{"a b", "a"}, "openid email a b"},
		{[]string{"openid"}, "openid email"},
		{nil, "openid email"}, // the next login has none of them
	} {
		if got := requestOf(t, c, &oidcrp.AuthOptions{Scopes: tt.scopes}).Get("scope"); got != tt.want {
			t.Errorf("%q is sent as %q, want %q", tt.scopes, got, tt.want)
		}
	}
	for _, scope := range []string{"", "a,b", `a"b`, "é"} {
		_, err := c.BeginLogin(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), &oidcrp.AuthOptions{Scopes: []string{scope}})
		if wantCode(t, err, oidcrp.CodeConfigInvalid); err == nil || !strings.Contains(err.Error(), "AuthOptions.Scopes holds") {
			t.Errorf("%q: %v", scope, err)
		}
	}
}
