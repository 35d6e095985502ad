/*
Package oidcrp is an OpenID Connect relying party for Go web apps. It lets
people sign in to a net/http app with ProConnect, the French State's sign-in for
professionals, or with any other OpenID Provider.

# A program

	client, err := oidcrp.New(oidcrp.Config{
		Issuer:       "https://login.example.gouv.fr",
		ClientID:     os.Getenv("OIDC_CLIENT_ID"),
		ClientSecret: os.Getenv("OIDC_CLIENT_SECRET"),
		BaseURL:      "https://app.example.gouv.fr",
		CookieKeys:   oidcrp.KeyFile("/run/secrets/cookie-keys"),
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", home)                                                 // signed in or not
	mux.Handle("/dossiers/", client.RequireLogin(http.HandlerFunc(dossiers))) // must be signed in
	mux.Handle("/sign", client.Require(oidcrp.ACR("eidas2", "eidas3"))(http.HandlerFunc(sign)))
	log.Fatal(http.ListenAndServe(":8080", client.Middleware(mux)))

Handlers get the session from [SessionFromContext]. Link to "/auth/login" to sign
in, and post a form to "/auth/logout" to sign out. At the provider, register
BaseURL + "/auth/callback" as redirect URI and BaseURL + "/auth/logout/callback" as
post-logout redirect URI; [Client.Registration] returns all of them.

The core type is [Client]. [New] makes it from a [Config], which [ConfigFromEnv]
can read from the environment. New makes no network calls: the app starts while its
provider is down, and signing in answers 503 until the provider is reached.

# Several providers

A [Group] puts several Clients into one app, such as one for ProConnect and one for
another provider: one Middleware, a page to choose where to sign in, protected routes that
take a session of any of them, and the logout of the person who is signed in.

# A login

A person without a session opens a protected page. The client generates a state, a
nonce and a PKCE verifier, seals them in a cookie, and redirects the browser to the
provider, which sends it back with a code. The client finds the login by its state,
checks that the response comes from this provider, exchanges the code once, verifies
the ID Token, and calls UserInfo, which must be about the same person.
[Config.OnLogin] may then refuse the login. If it does not, the session begins, and
the browser returns to the page that was asked for. For apps that write their own
responses, each step is a method too: [Client.BeginLogin], [Client.Callback],
[Client.StartSession], [Client.RecoverLogin], [Client.BeginLogout].
[Client.SignInSilently] signs in people who have a session at the provider already,
without a click.

# What the app must do

  - Serve over https. Plain http works on loopback only.
  - Keep the cookie keys secret and the same on every replica. To rotate them, add
    the new key behind the others; when every replica has it, move it to the front;
    remove the old one a session lifetime later. This signs nobody out.
  - Key its own data by [Session.Issuer] and [Session.Subject] together, never by an
    e-mail address.
  - Change nothing on a GET. Protected routes refuse forms, scripts and WebSockets of
    other origins, unless [Config.TrustedOrigins] names them. The forms of public
    routes need a protection of their own, such as
    [net/http.CrossOriginProtection], inside [Client.Middleware]: the session cookie
    is SameSite=Lax, which does not keep out other hosts of the same site.

# Requirements

[Client.Require] protects a route by [ACR], [MaxAge], [Claim], [HasClaim] or a
[Requirement] of your own. A person who does not meet it is sent to the provider once if another login
can help, and then gets the page or the reason for the refusal. RequireACR in
[Config.Login] applies to every protected route. [Client.Check] decides without
writing a response, and [Client.ServeError] responds to its error.

# Sessions and stores

By default, a session is one sealed cookie (AES-256-GCM), and the server stores
nothing. With [Config.Store], the cookie holds a random handle, and the store holds
the session, sealed with keys made from the handle and the cookie keys.
[NewMemoryStore] is for one process; package scsstore adapts the stores of
alexedwards/scs; the module redisstore is for Redis and Valkey; package storetest
tests a store of your own. A session lasts
12 hours, or 1 hour without use: see [Sessions]. A store that fails, or does not
answer within [Sessions.StoreTimeout], gives 503 on protected routes and signs nobody
out.

# Tokens

With [Tokens.Keep], a session keeps its access and refresh tokens.
[Session.HTTPClient] then calls an API on the person's behalf, and
[Tokens.RefreshBefore] refreshes the tokens of a session in use. Concurrent requests
share one refresh, on all replicas that share the Store.

# Logout

A logout ends the session here first and then sends the browser to the provider's
end_session_endpoint, even if the session here has ended before. It deletes the cookie from the browser, and records the session
as ended, so that a copy of the cookie stops working too. With a Store, every
replica sees the record within [Sessions.RevocationDelay]. Without one, the record is
in the memory of the process that handled the logout: elsewhere, and there after a
restart, a copied cookie works until the session expires. The same holds for a logout
by the provider, [Client.RevokeSubject] and [Client.RevokeSession].

# Errors

The methods of Client return an [*Error]. Its [Code] is an error itself, so that
errors.Is(err, oidcrp.CodeNoSession) works through any chain. A provider that is down
and a token that is refused never have the same code. [Pages] adapts the pages that
people see; [Trace] holds hooks for auditing and metrics.

# Testing an app

	s := oidcrp.NewSession(map[string]any{"sub": "alice", "acr": "eidas2"})
	r := httptest.NewRequest("GET", "/dossiers/12", nil)
	handler.ServeHTTP(w, r.WithContext(oidcrp.ContextWithSession(r.Context(), s)))

Package oidctest is a provider that runs inside a test, for whole logins.

# Security

PKCE, state, nonce, the issuer, the audience, the algorithm, the signature and the
subject of UserInfo, where it is called, are always checked. There is a switch for PKCE alone, the NoPKCE
of [Provider], for a confidential client. JSON that decides something is read by exact
name and type, without duplicates. Every response is bounded in size and time. Forged
tokens cannot make the app fetch the provider's keys more than once a minute. No error,
log line or page contains a token, a code or a secret. The implicit and hybrid flows,
dynamic registration, WebFinger, session management by iframe, request objects and
distributed claims are left out on purpose.

# Compatibility

From version 1 on, minor versions keep the exported API of this module's packages and
of the module redisstore, the codes, the members of the problem+json responses, the
environment variables and the paths below [Config.PathPrefix]. Structs may get more
fields; interfaces that an app implements get no more methods. The wording of errors,
logs and pages may change. So may the formats of cookies and of entries in a Store: at
worst, people then sign in again. The module needs Go 1.26; a minor version may raise
this to the older of the two releases that the Go project supports.
*/
package oidcrp
