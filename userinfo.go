package oidcrp

// This file calls the UserInfo endpoint (OIDC Core 5.3) and accepts its answer
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
// as compact JSON, or nil when the provider has no UserInfo endpoint. They are
// about subject, the verified ID Token's, or refused.
func (c *Client) userInfo(ctx context.Context, m *Metadata, accessToken, subject string) ([]byte, error) {
	if m.UserInfoEndpoint == "" {
		return nil, nil
	}
	request := fetch.Request{URL: m.UserInfoEndpoint, Accept: c.userInfoAccept()}
	if c.cfg.UserInfoTokenInBody {
		request.Form = url.Values{"access_token": {accessToken}}
	} else {
		request.Header = http.Header{"Authorization": {"Bearer " + accessToken}}
	}
	answer, err := c.http.Do(ctx, request)
	if err != nil {
		return nil, failFetch("userinfo", err)
	}
	if answer.StatusCode != http.StatusOK {
		return nil, userInfoError(answer)
	}
	claims, err := c.userInfoClaims(ctx, m, answer)
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
			refuse(userInfoName, "sub", "the ID Token's", got))
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, claims); err != nil {
		return nil, fail("userinfo", CodeUserInfoRefused, err)
	}
	return compact.Bytes(), nil
}

// userInfoAccept is a JWT alone where one was registered, since plain JSON would
// be refused: some providers sign or not by this header, and know no lists in
// it. Some answer errors in HTML without one.
func (c *Client) userInfoAccept() string {
	if c.cfg.UserInfoSignedResponseAlg != "" || c.cfg.UserInfoEncryptedResponseAlg != "" {
		return "application/jwt"
	}
	return "application/json, application/jwt;q=0.5"
}

// userInfoError reads an error answer: the WWW-Authenticate header of RFC 6750
// section 3 says it, or the body as at the other endpoints.
func userInfoError(answer *fetch.Response) error {
	if code := bearerError(answer.Header); code != "" {
		return fail("userinfo", CodeProviderError,
			newProviderError("userinfo", answer.StatusCode, code, "", ""))
	}
	return errorAnswer("userinfo", answer)
}

func bearerError(header http.Header) string {
	for _, challenge := range header.Values("WWW-Authenticate") {
		if _, rest, ok := strings.Cut(challenge, `error="`); ok {
			code, _, _ := strings.Cut(rest, `"`)
			return code
		}
	}
	return ""
}

// userInfoClaims returns the answer's JSON, verified first if it is a JWT.
func (c *Client) userInfoClaims(ctx context.Context, m *Metadata, answer *fetch.Response) ([]byte, error) {
	switch answer.MediaType {
	case "application/json":
		if alg := c.cfg.UserInfoEncryptedResponseAlg; alg != "" {
			return nil, fail("userinfo", CodeUserInfoRefused,
				refuse(userInfoName, "alg", "a token encrypted with "+alg, "plain JSON"))
		}
		return c.plainUserInfo(answer.Body)
	case "application/jwt":
		inner, err := c.decrypt(userInfoName, strings.TrimSpace(string(answer.Body)),
			c.cfg.UserInfoEncryptedResponseAlg, c.cfg.UserInfoEncryptedResponseEnc)
		if err != nil {
			return nil, fail("userinfo", CodeUserInfoRefused, err)
		}
		// What is encrypted without being signed is bare JSON, whatever the
		// header's cty says, so the content decides. What is not encrypted is
		// a JWT, as its media type says.
		if c.cfg.UserInfoEncryptedResponseAlg != "" && strings.HasPrefix(strings.TrimSpace(inner), "{") {
			return c.plainUserInfo([]byte(inner))
		}
		return c.verifyUserInfo(ctx, m, inner)
	}
	return nil, failf("userinfo", CodeUserInfoRefused,
		"the answer is %q, not application/json or application/jwt", clean(answer.MediaType, 60))
}

// plainUserInfo accepts claims that nobody signed, unless a signature was
// agreed on.
func (c *Client) plainUserInfo(claims []byte) ([]byte, error) {
	if alg := c.cfg.UserInfoSignedResponseAlg; alg != "" {
		return nil, fail("userinfo", CodeUserInfoRefused,
			refuse(userInfoName, "alg", fmt.Sprintf("a JWT signed with %s", alg), "plain JSON"))
	}
	return claims, nil
}

// verifyUserInfo checks a signed answer (OIDC Core 5.3.2, 5.3.4): iss and aud
// as the specification has them, which a signature alone does not replace, and
// exp if there is one.
func (c *Client) verifyUserInfo(ctx context.Context, m *Metadata, compact string) ([]byte, error) {
	refused := func(check, expected, got string) error {
		return fail("userinfo", CodeUserInfoRefused, refuse(userInfoName, check, expected, got))
	}
	algs := c.idTokenAlgs(m)
	if alg := c.cfg.UserInfoSignedResponseAlg; alg != "" {
		algs = []string{alg}
	}
	payload, _, err := c.keys.verify(ctx, userInfoName, compact, algs)
	if err != nil {
		return nil, fail("userinfo", CodeUserInfoRefused, err)
	}
	members, err := strictjson.Object(payload)
	if err != nil {
		return nil, fail("userinfo", CodeUserInfoRefused, err)
	}
	iss, _, issErr := members.String("iss")
	aud, _, audErr := members.StringOrStrings("aud")
	exp, hasExp, expErr := members.Time("exp")
	switch {
	case errors.Join(issErr, audErr, expErr) != nil:
		return nil, fail("userinfo", CodeUserInfoRefused, errors.Join(issErr, audErr, expErr))
	case iss != c.cfg.Issuer:
		return nil, refused("iss", fmt.Sprintf("%q", c.cfg.Issuer), iss)
	case !slices.Contains(aud, c.cfg.ClientID) || slices.ContainsFunc(aud, c.untrusted):
		return nil, refused("aud", fmt.Sprintf("%q", c.cfg.ClientID), strings.Join(aud, " "))
	case hasExp && !c.now().Add(-c.cfg.ClockSkew).Before(exp):
		return nil, fail("userinfo", CodeUserInfoRefused, refuseTime(userInfoName, "exp", "a time to come", exp))
	}
	return payload, nil
}
