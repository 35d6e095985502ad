package oidcrp

// This file holds the client's registration at the provider.

import (
	"crypto/tls"
	"encoding/json"
	"fmt"

	"github.com/go-jose/go-jose/v4"

	josekit "github.com/oidcrp/oidcrp/internal/jose"
)

// Registration is what was agreed with the provider when the client was
// registered, under the registered names of RFC 7591 section 2 and of the
// OpenID Connect specifications. It is the client's counterpart to [Metadata].
// The zero value fits most registrations.
//
// [Client.Registration] returns it with its defaults filled in. As JSON it is
// fit for a provider's registration endpoint, and holds no secret: of the keys,
// only where the public halves are served.
type Registration struct {
	// RedirectURI and PostLogoutRedirectURI are sent to the provider and must
	// be registered there byte for byte. If empty, they are PathPrefix's
	// "callback" and "logout/callback". Set them when other paths are
	// registered already. This URI and those that follow must be on BaseURL's
	// origin, each with a path of its own.
	//
	// PostLogoutRedirectURI may be the app's start page, BaseURL with or without a slash
	// at its end. A logout at the provider then ends there, whatever its return path is,
	// and the way back is not checked. If it is "none", none is registered: the provider
	// gets no post_logout_redirect_uri and the browser stays there. In both cases, the
	// signed-out page for a logout that stays here is PathPrefix's "logout/callback".
	RedirectURI           string
	PostLogoutRedirectURI string
	// InitiateLoginURI is where another party starts a login (OIDC Core 4). If
	// empty, PathPrefix's "initiate".
	InitiateLoginURI string
	// BackchannelLogoutURI and FrontchannelLogoutURI are where the provider
	// announces a logout. If empty, PathPrefix's "backchannel-logout" and
	// "frontchannel-logout".
	BackchannelLogoutURI  string
	FrontchannelLogoutURI string
	// JWKSURI is where the public halves of ClientKeys and ClientCertificates
	// are served. If empty, PathPrefix's "jwks".
	JWKSURI string

	// TokenEndpointAuthMethod is how the client authenticates (OIDC Core 9, RFC
	// 8705 section 2): client_secret_basic, client_secret_post,
	// client_secret_jwt, private_key_jwt, tls_client_auth,
	// self_signed_tls_client_auth or none. If empty: private_key_jwt when there
	// are ClientKeys and no ClientSecret, else the first of client_secret_basic
	// and client_secret_post that the provider advertises. Methods are never
	// probed.
	TokenEndpointAuthMethod string
	// TokenEndpointAuthSigningAlg signs the assertions of the two jwt methods.
	// If empty, HS256 for client_secret_jwt and the first key's own algorithm
	// for private_key_jwt.
	TokenEndpointAuthSigningAlg string
	// RequirePushedAuthorizationRequests sends the parameters of a login to the
	// provider's pushed_authorization_request_endpoint first (RFC 9126). If
	// false, that happens only where the provider requires it.
	RequirePushedAuthorizationRequests bool

	// IDTokenSignedResponseAlg and UserInfoSignedResponseAlg state how the provider
	// signs the ID Token and UserInfo. If set, each is the only algorithm accepted
	// for its token. If the first is empty, the asymmetric
	// algorithms that the provider advertises are accepted. If the second is empty,
	// UserInfo may be JSON, or a JWT signed like the ID Token; if set, plain JSON is
	// refused. HS256, HS384 and HS512 are accepted only when named here; the key
	// is the bytes of ClientSecret. "none" is never accepted.
	IDTokenSignedResponseAlg  string
	UserInfoSignedResponseAlg string
	// IDTokenEncryptedResponseAlg and IDTokenEncryptedResponseEnc, and the same two
	// for UserInfo, state how the provider encrypts the ID Token and UserInfo. With
	// an Alg, a response that is not encrypted with it is refused; without one, an
	// encrypted response is. RSA-OAEP, RSA-OAEP-256, ECDH-ES and its A*KW forms take
	// a key of ClientKeys; A*KW, A*GCMKW and dir one derived from ClientSecret (OIDC
	// Core 10.2). If Enc is empty, A128CBC-HS256.
	IDTokenEncryptedResponseAlg, IDTokenEncryptedResponseEnc   string
	UserInfoEncryptedResponseAlg, UserInfoEncryptedResponseEnc string

	// ClientKeys are the client's private keys, newest first: the first one
	// that fits signs the assertions of private_key_jwt, and each one that fits
	// opens what the provider encrypted. A key's use and alg are honoured; of
	// several keys, one without a key id gets its thumbprint (RFC 7638). See
	// [ParseClientKeys].
	ClientKeys []jose.JSONWebKey
	// ClientCertificates are presented in TLS, for tls_client_auth and
	// self_signed_tls_client_auth; the provider's mtls_endpoint_aliases are
	// then used. They are presented where the client authenticates and at UserInfo,
	// and not where metadata and keys are fetched. [Provider.Transport], if set, must
	// be an [*http.Transport]. See [ParseClientCertificate].
	ClientCertificates []tls.Certificate
}

// noURI says that no post-logout redirect URI is registered.
const noURI = "none"

// MarshalJSON returns client metadata as in RFC 7591 section 2.
func (r Registration) MarshalJSON() ([]byte, error) {
	list := func(uri string) []string {
		if uri == "" || uri == noURI {
			return nil
		}
		return []string{uri}
	}
	return json.Marshal(struct {
		ApplicationType                    string   `json:"application_type"`
		ResponseTypes                      []string `json:"response_types"`
		RedirectURIs                       []string `json:"redirect_uris,omitempty"`
		PostLogoutRedirectURIs             []string `json:"post_logout_redirect_uris,omitempty"`
		InitiateLoginURI                   string   `json:"initiate_login_uri,omitempty"`
		BackchannelLogoutURI               string   `json:"backchannel_logout_uri,omitempty"`
		FrontchannelLogoutURI              string   `json:"frontchannel_logout_uri,omitempty"`
		JWKSURI                            string   `json:"jwks_uri,omitempty"`
		TokenEndpointAuthMethod            string   `json:"token_endpoint_auth_method,omitempty"`
		TokenEndpointAuthSigningAlg        string   `json:"token_endpoint_auth_signing_alg,omitempty"`
		RequirePushedAuthorizationRequests bool     `json:"require_pushed_authorization_requests,omitempty"`
		IDTokenSignedResponseAlg           string   `json:"id_token_signed_response_alg,omitempty"`
		IDTokenEncryptedResponseAlg        string   `json:"id_token_encrypted_response_alg,omitempty"`
		IDTokenEncryptedResponseEnc        string   `json:"id_token_encrypted_response_enc,omitempty"`
		UserInfoSignedResponseAlg          string   `json:"userinfo_signed_response_alg,omitempty"`
		UserInfoEncryptedResponseAlg       string   `json:"userinfo_encrypted_response_alg,omitempty"`
		UserInfoEncryptedResponseEnc       string   `json:"userinfo_encrypted_response_enc,omitempty"`
	}{
		"web", []string{"code"}, list(r.RedirectURI), list(r.PostLogoutRedirectURI),
		r.InitiateLoginURI, r.BackchannelLogoutURI, r.FrontchannelLogoutURI, r.JWKSURI,
		r.TokenEndpointAuthMethod, r.TokenEndpointAuthSigningAlg, r.RequirePushedAuthorizationRequests,
		r.IDTokenSignedResponseAlg, r.IDTokenEncryptedResponseAlg, r.IDTokenEncryptedResponseEnc,
		r.UserInfoSignedResponseAlg, r.UserInfoEncryptedResponseAlg, r.UserInfoEncryptedResponseEnc,
	})
}

// Format writes r without its private keys, whatever the verb.
func (r Registration) Format(s fmt.State, _ rune) {
	text, _ := r.MarshalJSON() // strings and a bool
	fmt.Fprintf(s, "Registration%s", text)
}

// useOf returns the use of a client's key (RFC 7517 section 4.2): its own, else the
// one thing that this client does with it; "" if it does both. Some providers find no
// key without a use.
func (r *Registration) useOf(key jose.JSONWebKey) string {
	signs := r.TokenEndpointAuthMethod == "private_key_jwt" && len(josekit.SigningAlgs(key)) > 0
	opens := josekit.Decrypts(key, r.IDTokenEncryptedResponseAlg) || josekit.Decrypts(key, r.UserInfoEncryptedResponseAlg)
	switch {
	case key.Use != "":
		return key.Use
	case signs && !opens:
		return "sig"
	case opens && !signs:
		return "enc"
	}
	return ""
}

// hasKeys reports whether there are public keys to serve.
func (r *Registration) hasKeys() bool { return len(r.ClientKeys)+len(r.ClientCertificates) > 0 }
