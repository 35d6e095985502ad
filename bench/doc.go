// Package bench compares oidcrp with a careful sign-in written by hand on
// go-oidc, x/oauth2 and gorilla/securecookie. It contains benchmarks only.
package bench
