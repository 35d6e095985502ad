// Command webapp is the reference app: a relying party that is configured by the
// environment only, for conformance, interoperability and load tests, and to try out a
// provider.
//
// It reads the OIDC_ variables of [oidcrp.ConfigFromEnv] and these:
//
//	LISTEN                 the address to listen on; default 127.0.0.1:8080
//	LISTEN_CERT_FILE       a certificate and its private key as PEM; default plain http
//	SESSION_STORE          cookie or memory; default cookie. The program of the same name
//	                       in the redisstore module also takes redis://host:port/db
//	SESSION_COOKIES        1 to keep sessions in cookies although there is a store
//	SESSION_IDLE_TIMEOUT   a duration such as 30m; default 1h
//	REQUIRE_ACR            the acr values that /admin accepts, separated by spaces;
//	                       default no /admin
//	KEEP_TOKENS            1 to keep the tokens, which /refresh needs
//	REFRESH_BEFORE         a duration: tokens in use that expire within it are refreshed;
//	                       default never. It needs KEEP_TOKENS
//
// If OIDC_ISSUER is not set, it starts its own provider on loopback, where anybody can
// sign in as anybody. If OIDC_BASE_URL is not set, its base URL is the address that it
// listens on.
//
// A runner of conformance tests starts a new process for each test, and opens /me:
//
//	LISTEN=127.0.0.1:8443 LISTEN_CERT_FILE=app.pem \
//	OIDC_ISSUER=https://suite.example/test/a/ OIDC_PROVIDER_CA_FILE=suite-ca.pem \
//	OIDC_CLIENT_ID=client OIDC_CLIENT_AUTH=self_signed_tls_client_auth \
//	OIDC_CLIENT_CERT_FILE=client.pem webapp
//
// With port 0 it takes a free port; the log has its base URL.
package main

import "github.com/oidcrp/oidcrp/examples/webapp/app"

func main() { app.Main(nil) }
