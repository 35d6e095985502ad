// Command webapp is the reference app: a relying party that is configured by
// the environment alone, for conformance, interoperability and load tests, and
// to try a provider out.
//
// Beside the OIDC_ variables of [oidcrp.ConfigFromEnv] it reads LISTEN
// (default 127.0.0.1:8080), LISTEN_CERT_FILE (a certificate and its private key
// as PEM; it then serves https), SESSION_STORE (cookie or memory; the program of
// the same name in the redisstore module also knows redis://host:port/db),
// SESSION_COOKIES (1 to keep sessions in cookies although there is a store),
// SESSION_IDLE_TIMEOUT (a duration such as 30m), REQUIRE_ACR (the acr values that
// /admin accepts, separated by spaces), KEEP_TOKENS (1 to keep the tokens, for
// /refresh) and REFRESH_BEFORE (a duration: tokens in use are refreshed when they
// end within that time; it needs KEEP_TOKENS). Without OIDC_ISSUER it starts a provider of its own, on loopback, where
// anybody can sign in as anybody. Without OIDC_BASE_URL it is reached where it
// listens.
//
// A runner of conformance tests starts it anew for each test, and opens /me:
//
//	LISTEN=127.0.0.1:8443 LISTEN_CERT_FILE=app.pem \
//	OIDC_ISSUER=https://suite.example/test/a/ OIDC_PROVIDER_CA_FILE=suite-ca.pem \
//	OIDC_CLIENT_ID=client OIDC_CLIENT_AUTH=self_signed_tls_client_auth \
//	OIDC_CLIENT_CERT_FILE=client.pem webapp
//
// With port 0 it takes a free one; its log says where it is reached.
package main

import "github.com/oidcrp/oidcrp/examples/webapp/app"

func main() { app.Main(nil) }
