package oidcrp

import (
	"encoding/json"
	"net/url"
	"reflect"
	"testing"
	"time"
)

// essential requests acr as an essential claim, and amr as a voluntary one.
func essential(values ...any) *ClaimsRequest {
	return &ClaimsRequest{IDToken: map[string]*ClaimRequest{"acr": {Essential: true, Values: values}, "amr": nil}}
}

func TestAuthOptions_ACR(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		what      string
		opts      AuthOptions
		supported []string // acr_values_supported
		withClaim bool     // claims_parameter_supported
		want      acrWish
	}{
		{"nothing", AuthOptions{}, nil, true, acrWish{}},
		{"ACRValues are a wish", AuthOptions{ACRValues: []string{"1", "2"}}, nil, true, acrWish{ask: []string{"1", "2"}}},
		{"whatever is supported", AuthOptions{ACRValues: []string{"1", "2"}}, []string{"3"}, true, acrWish{ask: []string{"1", "2"}}},

		{"RequireACR is asked for as an essential claim", AuthOptions{RequireACR: []string{"1", "2"}}, nil, true,
			acrWish{[]string{"1", "2"}, []string{"1", "2"}, true}},
		{"or as acr_values where claims are not understood", AuthOptions{RequireACR: []string{"1", "2"}}, nil, false,
			acrWish{[]string{"1", "2"}, []string{"1", "2"}, false}},
		{"of several only those that are listed", AuthOptions{RequireACR: []string{"1", "2", "3"}}, []string{"4", "3", "1"}, true,
			acrWish{[]string{"1", "3"}, []string{"1", "2", "3"}, true}},
		{"all if none is", AuthOptions{RequireACR: []string{"1", "2"}}, []string{"4"}, false,
			acrWish{[]string{"1", "2"}, []string{"1", "2"}, false}},
		{"an empty list requires nothing", AuthOptions{RequireACR: []string{}}, nil, true, acrWish{accept: []string{}}},

		{"ACRValues beside RequireACR are what is asked for", AuthOptions{ACRValues: []string{"1"}, RequireACR: []string{"1", "2"}}, nil, true,
			acrWish{[]string{"1"}, []string{"1", "2"}, false}},
		{"even if they differ", AuthOptions{ACRValues: []string{"1"}, RequireACR: []string{"2"}}, []string{"2"}, true,
			acrWish{[]string{"1"}, []string{"2"}, false}},

		{"an essential claim is asked for and required", AuthOptions{Claims: essential("1", "2")}, []string{"1"}, true,
			acrWish{[]string{"1", "2"}, []string{"1", "2"}, true}},
		{"by its value and its values", AuthOptions{Claims: &ClaimsRequest{IDToken: map[string]*ClaimRequest{
			"acr": {Essential: true, Value: "1", Values: []any{"2", 3, nil}},
		}}}, nil, true, acrWish{[]string{"1", "2"}, []string{"1", "2"}, true}},
		{"it takes the place of ACRValues", AuthOptions{ACRValues: []string{"1"}, Claims: essential("2")}, nil, true,
			acrWish{[]string{"2"}, []string{"2"}, true}},
		{"RequireACR decides beside it", AuthOptions{RequireACR: []string{"2", "3"}, Claims: essential("2")}, nil, true,
			acrWish{[]string{"2"}, []string{"2", "3"}, true}},
		{"an essential claim without values asks for no certain one", AuthOptions{Claims: essential()}, nil, true, acrWish{}},
		{"a voluntary claim requires nothing", AuthOptions{Claims: &ClaimsRequest{IDToken: map[string]*ClaimRequest{"acr": {Value: "1"}}}},
			nil, true, acrWish{}},
		{"nor does one of UserInfo", AuthOptions{Claims: &ClaimsRequest{
			UserInfo: map[string]*ClaimRequest{"acr": {Essential: true, Value: "1"}},
		}}, nil, true, acrWish{}},
	} {
		got := tt.opts.acr(&Metadata{ACRValuesSupported: tt.supported, ClaimsParameterSupported: tt.withClaim})
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, want %+v", tt.what, got, tt.want)
		}
	}
}

func TestAuthOptions_OneWayToAskForAnACRDisplacesTheOther(t *testing.T) {
	t.Parallel()
	const amr = `"amr":null`
	acr := func(values string) string { return `"acr":{"essential":true,"values":[` + values + `]}` }
	for _, tt := range []struct {
		what          string
		client, login AuthOptions
		claims        string   // the members of id_token
		ask, accept   []string // accept nil: any
	}{
		{"the client's alone", AuthOptions{ACRValues: []string{"1"}, RequireACR: []string{"1", "2"}}, AuthOptions{},
			"", []string{"1"}, []string{"1", "2"}},
		{"the login's ACRValues over the client's", AuthOptions{ACRValues: []string{"1"}}, AuthOptions{ACRValues: []string{"2"}},
			"", []string{"2"}, nil},
		{"the login's ACRValues leave what the client requires", AuthOptions{RequireACR: []string{"1"}}, AuthOptions{ACRValues: []string{"2"}},
			"", []string{"2"}, []string{"1"}},
		{"the login's claim over the client's ACRValues", AuthOptions{ACRValues: []string{"1"}}, AuthOptions{Claims: essential("2")},
			acr(`"2"`) + "," + amr, []string{"2"}, []string{"2"}},
		{"the login's claim over what the client requires", AuthOptions{RequireACR: []string{"1"}}, AuthOptions{Claims: essential("2")},
			acr(`"2"`) + "," + amr, []string{"2"}, []string{"2"}},
		{"the login's ACRValues over the client's claim", AuthOptions{Claims: essential("1")}, AuthOptions{ACRValues: []string{"2"}},
			amr, []string{"2"}, nil},
		{"what a route repeats of the client's claim", AuthOptions{Claims: essential("1", "2")}, AuthOptions{RequireACR: []string{"1", "2"}},
			acr(`"1","2"`) + "," + amr, []string{"1", "2"}, []string{"1", "2"}},
		{"the login's claim over the client's claim", AuthOptions{Claims: essential("1")}, AuthOptions{Claims: essential("2")},
			acr(`"2"`) + "," + amr, []string{"2"}, []string{"2"}},
		{"another claim leaves the client's", AuthOptions{Claims: essential("1")},
			AuthOptions{Claims: &ClaimsRequest{IDToken: map[string]*ClaimRequest{"sub": nil}}},
			acr(`"1"`) + "," + amr + `,"sub":null`, []string{"1"}, []string{"1"}},

		{"the login's RequireACR over the client's", AuthOptions{RequireACR: []string{"1"}}, AuthOptions{RequireACR: []string{"2", "3"}},
			acr(`"2","3"`), []string{"2", "3"}, []string{"2", "3"}},
		{"the login's RequireACR over the client's ACRValues", AuthOptions{ACRValues: []string{"1"}}, AuthOptions{RequireACR: []string{"2"}},
			acr(`"2"`), []string{"2"}, []string{"2"}},
		{"the login's RequireACR over the client's claim", AuthOptions{Claims: essential("1")}, AuthOptions{RequireACR: []string{"2"}},
			acr(`"2"`) + "," + amr, []string{"2"}, []string{"2"}},
		{"the same RequireACR leaves the client's ACRValues", AuthOptions{ACRValues: []string{"1"}, RequireACR: []string{"1", "2"}},
			AuthOptions{RequireACR: []string{"1", "2"}}, "", []string{"1"}, []string{"1", "2"}},
		{"an empty list of the login takes back what the client requires", AuthOptions{RequireACR: []string{"1"}},
			AuthOptions{RequireACR: []string{}}, "", nil, nil},
	} {
		asked := tt.login.over(tt.client)
		wish := asked.acr(&Metadata{ClaimsParameterSupported: true})
		if !reflect.DeepEqual(wish.ask, tt.ask) || len(wish.accept)+len(tt.accept) > 0 && !reflect.DeepEqual(wish.accept, tt.accept) {
			t.Errorf("%s: asks for %q and accepts %q, want %q and %q", tt.what, wish.ask, wish.accept, tt.ask, tt.accept)
		}
		claims := ""
		if c := wish.claims(asked.Claims); c != nil {
			text, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			claims = string(text)
		}
		want := ""
		if tt.claims != "" {
			want = `{"id_token":{` + tt.claims + `}}`
		}
		if claims != want {
			t.Errorf("%s: claims is %s, want %s", tt.what, claims, want)
		}
	}
}

// What is made of two options shares nothing with either.
func TestAuthOptions_OverCopies(t *testing.T) {
	t.Parallel()
	options := func() AuthOptions {
		return AuthOptions{
			MaxAge: new(time.Hour), ACRValues: []string{"1"}, RequireACR: []string{"1"}, UILocales: []string{"fr"},
			Resource: []string{"https://api.example"}, Extra: url.Values{"a": {"1"}}, Claims: essential("1"),
		}
	}
	for _, pair := range [][2]AuthOptions{{options(), {}}, {{}, options()}, {options(), options()}} {
		made := pair[0].over(pair[1])
		*made.MaxAge, made.UILocales[0], made.Resource[0], made.Extra["a"][0] = 0, "x", "x", "x"
		made.Extra.Set("b", "x")
		made.Claims.IDToken["acr"].Values[0], made.Claims.IDToken["sub"] = "x", nil
		if made.ACRValues != nil {
			made.ACRValues[0] = "x"
		}
		if made.RequireACR != nil {
			made.RequireACR[0] = "x"
		}
		for i, o := range pair {
			if want := options(); o.MaxAge != nil && !reflect.DeepEqual(o, want) {
				t.Errorf("option %d became %+v", i, o)
			}
		}
	}
}
