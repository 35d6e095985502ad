package strictjson

import (
	"encoding/json"
	"testing"

	josejson "github.com/go-jose/go-jose/v4/json"
)

// benchClaims are the merged claims of a person, as Session.Claims decodes them.
var benchClaims = []byte(`{"iss":"https://login.example.gouv.fr/api/v2","sub":"704e024229015d2bd47f7a5e5ab05b35c8336ab403c38022985f8cfadc86fe91",` +
	`"aud":"6925fb8143c76eded44d32b40c0cb1006065f7f003de52712b78985704f39950","exp":1800000300,"iat":1800000000,` +
	`"nonce":"n-0S6_WzA2Mj","acr":"eidas1","amr":["pwd","mfa"],"auth_time":1800000000,"at_hash":"MTIzNDU2Nzg5MDEyMzQ1Ng",` +
	`"given_name":"Angela Claire Louise","usual_name":"DUBOIS","email":"angela.dubois@example.gouv.fr","email_verified":true,` +
	`"siret":"13002526500013","uid":"ad0012345","idp_id":"71144ab3-ee1a-4401-b7b3-79b44f7daeeb","organizational_unit":"comptabilite",` +
	`"address":{"street_address":"20 avenue de Segur","locality":"Paris","postal_code":"75007","country":"France"},` +
	`"groups":["admins","agents","lecteurs"]}`)

type benchPerson struct {
	Subject       string   `json:"sub"`
	GivenName     string   `json:"given_name"`
	UsualName     string   `json:"usual_name"`
	Email         string   `json:"email"`
	EmailVerified bool     `json:"email_verified"`
	SIRET         string   `json:"siret"`
	Groups        []string `json:"groups"`
}

type benchResident struct {
	benchPerson
	Address struct {
		Street   string `json:"street_address"`
		Locality string `json:"locality"`
		Postcode string `json:"postal_code"`
	} `json:"address"`
}

type benchAll struct {
	Issuer   string   `json:"iss"`
	Audience string   `json:"aud"`
	Expiry   int64    `json:"exp"`
	IssuedAt int64    `json:"iat"`
	Nonce    string   `json:"nonce"`
	ACR      string   `json:"acr"`
	AMR      []string `json:"amr"`
	AuthTime int64    `json:"auth_time"`
	AtHash   string   `json:"at_hash"`
	UID      string   `json:"uid"`
	IDP      string   `json:"idp_id"`
	Unit     string   `json:"organizational_unit"`
	benchResident
}

// BenchmarkDecode compares with go-jose's fork of encoding/json, which matches
// names exactly too, and with encoding/json, which does not. Both start from one
// text, which AppendJSON would have to make of the members first.
func BenchmarkDecode(b *testing.B) {
	members, err := Object(benchClaims)
	if err != nil {
		b.Fatal(err)
	}
	for _, target := range []struct {
		name string
		make func() any
	}{
		{"email alone", func() any {
			return new(struct {
				Email string `json:"email"`
			})
		}},
		{"struct", func() any { return new(benchPerson) }},
		{"nested struct", func() any { return new(benchResident) }},
		{"whole struct", func() any { return new(benchAll) }},
		{"map of any", func() any { return new(map[string]any) }},
	} {
		for _, decoder := range []struct {
			name   string
			decode func(v any) error
		}{
			{"Decode", func(v any) error { return Decode(members, v) }},
			{"josejson", func(v any) error { return josejson.Unmarshal(benchClaims, v) }},
			{"encoding-json", func(v any) error { return json.Unmarshal(benchClaims, v) }},
		} {
			b.Run(target.name+"/"+decoder.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := decoder.decode(target.make()); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
