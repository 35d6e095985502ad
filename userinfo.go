package oidcrp

// This file calls the UserInfo endpoint (OIDC Core 5.3) and accepts its response
// as JSON or as a signed JWT.

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/oidcrp/oidcrp/internal/fetch"
	"github.com/oidcrp/oidcrp/internal/strictjson"
)

const userInfoName = "UserInfo"

// userInfo returns the claims about the person that accessToken stands for,
// as compact JSON, or nil when the provider has no UserInfo endpoint, or one that is not
// to be called. They are about subject of issuer, the verified ID Token's, or refused.
func (f *flow) userInfo(ctx context.Context, m *Metadata, accessToken, issuer, subject string) ([]byte, error) {
	if m.UserInfoEndpoint == "" || f.noUserInfo {
		return nil, nil
	}
	request := fetch.Request{URL: m.UserInfoEndpoint, Accept: f.userInfoAccept()}
	if f.userInfoTokenInBody {
		request.Form = url.Values{"access_token": {accessToken}}
	} else {
		request.Header = http.Header{"Authorization": {"Bearer " + accessToken}}
	}
	answer, err := f.provider.client.Do(ctx, request)
	if err != nil {
		return nil, failFetch("userinfo", err)
	}
	if answer.StatusCode != http.StatusOK {
		return nil, userInfoError(answer)
	}
	claims, err := f.userInfoClaims(ctx, m, answer, issuer)
	if err != nil {
		return nil, err
	}
	members, err := strictjson.Object(claims)
	if err != nil {
		return nil, fail("userinfo", CodeUserInfoRefused, err)
	}
	got, _, err := members.String("sub")
	if err != nil || subtle.ConstantTimeCompare([]byte(got), []byte(subject)) != 1 {
		// OIDC Core 5.3.2: "MUST be verified to exactly match [...] if they do
		// not match, the UserInfo Response values MUST NOT be used."
		return nil, fail("userinfo", CodeUserInfoRefused,
			refuseToken(userInfoName, "sub", "the ID Token's", answer.Hide(got)))
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, claims); err != nil {
		return nil, fail("userinfo", CodeUserInfoRefused, err)
	}
	return compact.Bytes(), nil
}

// userInfoAccept returns the Accept header: only a JWT if one was registered,
// since plain JSON would be refused. Some providers decide by this header whether
// to sign, and do not read lists in it; some send errors as HTML without it.
func (f *flow) userInfoAccept() string {
	if f.registration.UserInfoSignedResponseAlg != "" || f.registration.UserInfoEncryptedResponseAlg != "" {
		return "application/jwt"
	}
	return "application/json, application/jwt;q=0.5"
}

// userInfoError reads an error response: from the WWW-Authenticate header (RFC 6750
// section 3), or from the body as at the other endpoints.
func userInfoError(answer *fetch.Response) error {
	if code := bearerParameter(answer.Header, "error"); code != "" {
		refusal := newProviderError("userinfo", answer.StatusCode, answer.Hide(code),
			answer.Hide(bearerParameter(answer.Header, "error_description")), "")
		return fail("userinfo", refusal.code(), refusal)
	}
	return errorAnswer("userinfo", answer)
}

func bearerParameter(header http.Header, name string) string {
	for _, challenge := range header.Values("WWW-Authenticate") {
		if _, rest, ok := strings.Cut(challenge, name+`="`); ok {
			value, _, _ := strings.Cut(rest, `"`)
			return value
		}
	}
	return ""
}

// userInfoClaims returns the response's JSON, verified first if it is a JWT.
func (f *flow) userInfoClaims(ctx context.Context, m *Metadata, answer *fetch.Response, issuer string) ([]byte, error) {
	switch answer.MediaType {
	case "application/json":
		if alg := f.registration.UserInfoEncryptedResponseAlg; alg != "" {
			return nil, fail("userinfo", CodeUserInfoRefused,
				refuseToken(userInfoName, "alg", "a token encrypted with "+alg, "plain JSON"))
		}
		return f.plainUserInfo(answer.Body)
	case "application/jwt":
		inner, err := f.provider.secrets.decrypt(userInfoName, strings.TrimSpace(string(answer.Body)),
			f.registration.UserInfoEncryptedResponseAlg, f.registration.UserInfoEncryptedResponseEnc)
		if err != nil {
			return nil, fail("userinfo", CodeUserInfoRefused, err)
		}
		// The content decides whether an encrypted response is signed, whatever the
		// header's cty is. A response that is not encrypted must be a signed JWT.
		if f.registration.UserInfoEncryptedResponseAlg != "" && strings.HasPrefix(strings.TrimSpace(inner), "{") {
			return f.plainUserInfo([]byte(inner))
		}
		return f.verifyUserInfo(ctx, m, inner, issuer)
	}
	return nil, failf("userinfo", CodeUserInfoRefused,
		"the answer is %q, not application/json or application/jwt", clean(answer.Hide(answer.MediaType), 60))
}

// plainUserInfo accepts claims without a signature, unless one was registered.
func (f *flow) plainUserInfo(claims []byte) ([]byte, error) {
	if alg := f.registration.UserInfoSignedResponseAlg; alg != "" {
		return nil, fail("userinfo", CodeUserInfoRefused,
			refuseToken(userInfoName, "alg", fmt.Sprintf("a JWT signed with %s", alg), "plain JSON"))
	}
	return claims, nil
}

// verifyUserInfo verifies a signed response (OIDC Core 5.3.2, 5.3.4): its signature,
// iss, which must be the ID Token's, and aud, and exp if there is one.
func (f *flow) verifyUserInfo(ctx context.Context, m *Metadata, compact, issuer string) ([]byte, error) {
	algs := f.rules.idTokenAlgs(m)
	if alg := f.registration.UserInfoSignedResponseAlg; alg != "" {
		algs = []string{alg}
	}
	payload, header, err := f.provider.keys.verify(ctx, userInfoName, compact, algs)
	if err != nil {
		return nil, fail("userinfo", CodeUserInfoRefused, err)
	}
	err = f.rules.checkUserInfo(payload, issuer)
	if err == nil {
		err = f.rules.checkKeyIssuer(userInfoName, header.KeyIssuer, issuer)
	}
	if err != nil {
		return nil, fail("userinfo", CodeUserInfoRefused, err)
	}
	return payload, nil
}

// checkUserInfo checks the claims that protect a signed response.
func (ru *rules) checkUserInfo(payload []byte, issuer string) error {
	members, err := strictjson.Object(payload)
	if err != nil {
		return err
	}
	iss, _, issErr := members.String("iss")
	aud, _, audErr := members.StringOrStrings("aud")
	exp, hasExp, expErr := members.Time("exp")
	switch {
	case errors.Join(issErr, audErr, expErr) != nil:
		return errors.Join(issErr, audErr, expErr)
	case iss != issuer:
		return refuseToken(userInfoName, "iss", fmt.Sprintf("%q", issuer), iss)
	case !slices.Contains(aud, ru.clientID) || slices.ContainsFunc(aud, ru.untrusted):
		return ru.refuseAudience(userInfoName, aud)
	case hasExp && !ru.now().Add(-ru.skew).Before(exp):
		return refuseTokenTime(userInfoName, "exp", byClock("a time to come", ru.now()), exp)
	}
	return nil
}
