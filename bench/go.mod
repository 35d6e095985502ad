module github.com/oidcrp/oidcrp/bench

go 1.26.0

replace github.com/oidcrp/oidcrp => ../

require (
	github.com/alexedwards/scs/v2 v2.9.0
	github.com/coreos/go-oidc/v3 v3.21.0
	github.com/go-jose/go-jose/v4 v4.1.8
	github.com/gorilla/securecookie v1.1.2
	github.com/oidcrp/oidcrp v0.0.0-00010101000000-000000000000
	golang.org/x/oauth2 v0.37.0
)
