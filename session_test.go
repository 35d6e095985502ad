package oidcrp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

// cookiesOf returns the cookies that browser sends to the app.
func (a *testApp) cookiesOf(t testing.TB, browser *http.Client) []*http.Cookie {
	t.Helper()
	u, err := url.Parse(a.URL)
	if err != nil {
		t.Fatal(err)
	}
	return browser.Jar.Cookies(u)
}

// keepsCookies gives browser cookies of the app.
func (a *testApp) keepsCookies(t testing.TB, browser *http.Client, cookies []*http.Cookie) {
	t.Helper()
	u, err := url.Parse(a.URL)
	if err != nil {
		t.Fatal(err)
	}
	browser.Jar.SetCookies(u, cookies)
}

// sessionOf returns the session that browser has.
func (a *testApp) sessionOf(t testing.TB, browser *http.Client) *oidcrp.Session {
	t.Helper()
	s, err := a.client.Session(oidcrp.RequestWith(a.cookiesOf(t, browser)...))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sessionCookies returns those of cookies that hold a session.
func sessionCookies(cookies []*http.Cookie) []*http.Cookie {
	return slices.DeleteFunc(slices.Clone(cookies), func(cookie *http.Cookie) bool {
		return !sessionCookieName.MatchString(cookie.Name)
	})
}

var sessionCookieName = regexp.MustCompile(`^(__Host-)?oidcrp_[\w-]{8}_s[0-9]*$`)

// signedInRequest returns a request by script of alice, who has signed in to client.
func signedInRequest(t testing.TB, client *oidcrp.Client) *http.Request {
	t.Helper()
	w := httptest.NewRecorder()
	s := oidcrp.NewSession(map[string]string{"iss": "https://op.example", "sub": "alice", "acr": "eidas1"})
	if err := client.StartSession(w, oidcrp.RequestWith(), s); err != nil {
		t.Fatal(err)
	}
	return oidcrp.RequestWith(w.Result().Cookies()...)
}

// A printState is a fmt.State that collects what is written.
type printState struct{ bytes.Buffer }

func (*printState) Width() (int, bool)     { return 0, false }
func (*printState) Precision() (int, bool) { return 0, false }
func (*printState) Flag(int) bool          { return false }

// argumentsFor returns the arguments for a method's parameters.
func argumentsFor(t *testing.T, method reflect.Method) []reflect.Value {
	t.Helper()
	known := []any{t.Context(), new(printState), 'v'}
	var arguments []reflect.Value
	for i := 1; i < method.Type.NumIn(); i++ {
		parameter := method.Type.In(i)
		value := reflect.ValueOf(new(map[string]any)) // for a parameter of type any
		for _, v := range known {
			if parameter.NumMethod() > 0 && reflect.TypeOf(v).Implements(parameter) || reflect.TypeOf(v) == parameter {
				value = reflect.ValueOf(v)
			}
		}
		arguments = append(arguments, value)
	}
	return arguments
}

func TestSession_MethodsOfNilReturnZeroValues(t *testing.T) {
	t.Parallel()
	var none *oidcrp.Session
	// A result other than the zero value states that there is no session.
	says := map[string]func(result any) bool{
		"Claims":   func(result any) bool { return errors.Is(result.(error), oidcrp.CodeNoSession) },
		"LogValue": func(result any) bool { return len(result.(slog.Value).Group()) == 0 },
		"HTTPClient": func(result any) bool {
			_, err := result.(*http.Client).Get("http://127.0.0.1:1/")
			return errors.Is(err, oidcrp.CodeLoginRequired)
		},
	}
	methods := reflect.TypeFor[*oidcrp.Session]()
	if methods.NumMethod() < 15 {
		t.Fatalf("only %d methods were found", methods.NumMethod())
	}
	for i := range methods.NumMethod() {
		method := methods.Method(i)
		arguments := append([]reflect.Value{reflect.ValueOf(none)}, argumentsFor(t, method)...)
		for _, result := range method.Func.Call(arguments) {
			if check, ok := says[method.Name]; ok {
				if !check(result.Interface()) {
					t.Errorf("%s of nil returns %v", method.Name, result)
				}
			} else if !result.IsZero() {
				t.Errorf("%s of nil returns %v, want a zero value", method.Name, result)
			}
		}
	}
	if got := fmt.Sprintf("%v %+v %s", none, none, none); got != "Session(none) Session(none) Session(none)" {
		t.Errorf("nil is printed as %s", got)
	}
}

func TestSession_PrintsNoTokensAndNoClaims(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{config: func(c *oidcrp.Config) { c.Tokens.Keep = true }})
	browser := app.signIn(t)
	s := app.sessionOf(t, browser)
	secrets := []string{
		s.Token().AccessToken, s.Token().RefreshToken, s.IDToken(), "alice@example.org", "eidas1", s.SID(), "Alice",
	}
	shown := []string{s.ID(), s.Issuer(), "alice"}

	texts := make(map[string]string)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		texts[verb] = fmt.Sprintf(verb, s)
		texts[verb+" in a struct"] = fmt.Sprintf(verb, struct{ S *oidcrp.Session }{s})
	}
	texts["Sprint"] = fmt.Sprint(s)
	for what, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"slog text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"slog JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var b bytes.Buffer
		slog.New(handler(&b)).Info("signed in", "session", s)
		texts[what] = b.String()
	}
	for what, text := range texts {
		for _, secret := range secrets {
			if secret == "" || strings.Contains(text, secret) {
				t.Errorf("%s shows %q: %s", what, secret, text)
			}
		}
		for _, word := range shown {
			if !strings.Contains(text, word) {
				t.Errorf("%s does not show %q: %s", what, word, text)
			}
		}
	}
	if text, err := json.Marshal(map[string]any{"session": s}); err != nil || string(text) != `{"session":{}}` {
		t.Errorf("as JSON it is %s, %v", text, err)
	}
}

func TestNewSession_HasTheClaims(t *testing.T) {
	t.Parallel()
	before := time.Now()
	type claims struct {
		Issuer  string   `json:"iss"`
		Subject string   `json:"sub"`
		ACR     string   `json:"acr"`
		AMR     []string `json:"amr"`
		At      int64    `json:"auth_time"`
		SID     string   `json:"sid"`
		Email   string   `json:"email"`
	}
	given := claims{"https://op.example", "alice", "eidas2", []string{"pwd", "mfa"}, 1700000000, "s1", "a@example.org"}
	s := oidcrp.NewSession(given)
	got := fmt.Sprint(s.Issuer(), s.Subject(), s.ACR(), s.AMR(), s.AuthTime().Unix(), s.SID())
	if want := fmt.Sprint("https://op.example", "alice", "eidas2", []string{"pwd", "mfa"}, 1700000000, "s1"); got != want {
		t.Errorf("the session says\n%s\nwant\n%s", got, want)
	}
	var back claims
	if err := s.Claims(&back); err != nil || !reflect.DeepEqual(back, given) {
		t.Errorf("the claims are %+v, %v", back, err)
	}
	if at := s.CreatedAt(); at.Before(before) || at.After(time.Now()) {
		t.Errorf("it began at %v", at)
	}
	if left := s.ExpiresAt().Sub(s.CreatedAt()); left != 12*time.Hour {
		t.Errorf("it lasts for %v", left)
	}
	if s.IDToken() != "" || s.Token() != nil || s.ReturnTo() != "" {
		t.Error("it has what no claim says")
	}
	if other := oidcrp.NewSession(given); other.ID() == s.ID() || len(s.ID()) != 22 {
		t.Errorf("the ids are %q and %q", s.ID(), other.ID())
	}
}

// A session that was made for a test and then started ends like any other.
func TestNewSession_EndsWithItsPerson(t *testing.T) {
	t.Parallel()
	for kept, keep := range oidcrp.KeptIn {
		client := mustNew(t, func(cfg *oidcrp.Config) {
			cfg.Now = time.Now
			keep(cfg)
		})
		start := func(claims map[string]any) []*http.Cookie {
			claims["iss"] = "https://op.example"
			w := httptest.NewRecorder()
			if err := client.StartSession(w, oidcrp.RequestWith(), oidcrp.NewSession(claims)); err != nil {
				t.Fatal(err)
			}
			return oidcrp.CookiesAfter(nil, w)
		}
		alice, again, bruno := start(map[string]any{"sub": "alice"}), start(map[string]any{"sub": "alice", "sid": "s1"}), start(map[string]any{"sub": "bruno"})
		if err := client.RevokeSubject(t.Context(), "https://op.example", "alice"); err != nil {
			t.Fatal(err)
		}
		for what, cookies := range map[string][]*http.Cookie{"alice": alice, "alice with a sid": again} {
			if s, err := client.Session(oidcrp.RequestWith(cookies...)); !errors.Is(err, oidcrp.CodeNoSession) {
				t.Errorf("in %s, %s: %v, %v", kept, what, s, err)
			}
		}
		if _, err := client.Session(oidcrp.RequestWith(bruno...)); err != nil {
			t.Errorf("in %s, bruno: %v", kept, err)
		}
	}
}

func TestNewSession_PanicsWithoutAnObject(t *testing.T) {
	t.Parallel()
	for what, claims := range map[string]any{
		"nothing": nil, "text": "alice", "a number": 1, "a list": []string{"alice"}, "a function": func() {},
		"two members of one name": json.RawMessage(`{"sub":"alice","sub":"bruno"}`), "broken JSON": json.RawMessage(`{`),
	} {
		if message := panicOf(func() { oidcrp.NewSession(claims) }); !strings.HasPrefix(message, "oidcrp: NewSession: ") {
			t.Errorf("%s: the panic is %q", what, message)
		}
	}
}

// panicOf returns what f panics with, "" if it does not.
func panicOf(f func()) (message string) {
	defer func() {
		if p := recover(); p != nil {
			message = fmt.Sprint(p)
		}
	}()
	f()
	return ""
}

func TestClaims_DecodeAsEncodingJSONDoes(t *testing.T) {
	t.Parallel()
	s := oidcrp.NewSession(json.RawMessage(`{"sub":"alice","number":12345678901234567890,"half":0.5,"email":null,
		"address":{"locality":"Lyon","COUNTRY":"FR","geo":{"lat":45.75,"LON":4.85}},
		"rights":[{"app":"a"},{"APP":"b"}],"by_app":{"A":{"level":1},"b":{"LEVEL":2}}}`))

	type place struct {
		Locality string `json:"locality"`
		Country  string `json:"country"`
		Geo      *struct {
			Lat float64 `json:"lat"`
			Lon float64 `json:"lon"`
		} `json:"geo"`
	}
	var who struct {
		Subject string      `json:"sub"`
		Number  json.Number `json:"number"`
		Half    float64     `json:"half"`
		Email   *string     `json:"email"`
		Address place       `json:"address"`
		Rights  []struct {
			App string `json:"app"`
		} `json:"rights"`
		ByApp map[string]struct {
			Level int `json:"level"`
		} `json:"by_app"`
		Missing string `json:"missing"`
	}
	if err := s.Claims(&who); err != nil {
		t.Fatal(err)
	}
	if who.Subject != "alice" || who.Number != "12345678901234567890" || who.Half != 0.5 || who.Email != nil || who.Missing != "" {
		t.Errorf("decoded %+v", who)
	}
	if who.Address.Locality != "Lyon" || who.Address.Geo == nil || who.Address.Geo.Lat != 45.75 {
		t.Errorf("the address is %+v", who.Address)
	}
	if who.Address.Country != "" || who.Address.Geo.Lon != 0 || who.Rights[1].App != "" || who.ByApp["b"].Level != 0 {
		t.Errorf("names in another case were filled: %+v", who)
	}
	if len(who.Rights) != 2 || who.Rights[0].App != "a" || len(who.ByApp) != 2 || who.ByApp["A"].Level != 1 {
		t.Errorf("decoded %+v", who)
	}

	var members map[string]json.RawMessage
	if err := s.Claims(&members); err != nil || string(members["number"]) != "12345678901234567890" || len(members) != 6 { // one is null
		t.Errorf("as raw members: %s, %v", members, err)
	}
	all := map[string]any{"kept": true}
	if err := s.Claims(&all); err != nil || all["sub"] != "alice" || all["kept"] != true {
		t.Errorf("as a map: %v, %v", all, err)
	}
	var anything any
	if err := s.Claims(&anything); err != nil || anything.(map[string]any)["half"] != 0.5 {
		t.Errorf("as anything: %v, %v", anything, err)
	}
}

func TestClaims_ReportWhatCannotBeDecoded(t *testing.T) {
	t.Parallel()
	s := oidcrp.NewSession(map[string]any{"sub": "alice"})
	var wrong struct {
		Subject int `json:"sub"`
	}
	for what, v := range map[string]any{
		"a wrong type": &wrong, "no pointer": wrong, "nil": nil, "a nil pointer": (*struct{})(nil), "a list": new([]string),
	} {
		t.Run(what, func(t *testing.T) { wantCode(t, s.Claims(v), oidcrp.CodeInternal) })
	}
	var none *oidcrp.Session
	wantCode(t, none.Claims(new(map[string]any)), oidcrp.CodeNoSession)
}

func TestSession_ConcurrentUse(t *testing.T) {
	t.Parallel()
	s := oidcrp.NewSession(map[string]any{"sub": "alice", "amr": []string{"pwd"}})
	done := make(chan string)
	for range 4 {
		go func() {
			var claims map[string]any
			err := s.Claims(&claims)
			done <- fmt.Sprint(s.Subject(), s.AMR(), claims["sub"], err)
		}()
	}
	for range 4 {
		if got := <-done; got != "alice[pwd]alice<nil>" {
			t.Errorf("a reader got %s", got)
		}
	}
}

func TestSession_HTTPClientWithoutTokens(t *testing.T) {
	t.Parallel()
	s := oidcrp.NewSession(map[string]any{"sub": "alice"})
	for what, ctx := range map[string]context.Context{
		"without a request": t.Context(), "in a test": oidcrp.ContextWithSession(t.Context(), s),
	} {
		if _, err := s.HTTPClient(ctx).Get("http://127.0.0.1:1/"); !errors.Is(err, oidcrp.CodeLoginRequired) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A provider that writes email_verified as text signs people in all the same, and
// after a refresh too.
func TestSession_VerificationAsTextIsABoolean(t *testing.T) {
	t.Parallel()
	app := newRefreshApp(t, setup{})
	app.provider.Misbehave(fault.UserInfoStringVerified)
	browser := app.signIn(t)
	for _, when := range []string{"after the login", "after a refresh"} {
		s := app.sessionOf(t, browser)
		var claims struct {
			Verified bool `json:"email_verified"`
		}
		if err := s.Claims(&claims); err != nil || !claims.Verified {
			t.Errorf("%s: %+v, %v", when, claims, err)
		}
		if !strings.Contains(oidcrp.UserClaims(s), `"email_verified":"True"`) {
			t.Errorf("%s: the fault does not show in %s", when, oidcrp.UserClaims(s))
		}
		if got := app.refresh(t, browser); got.Code != "" {
			t.Errorf("the refresh says %s", got.Code)
		}
	}
}
