/*
Package oidcrp is an OpenID Connect relying party for Go web apps: it lets
people sign in to a net/http app with ProConnect, the French State's sign-in
for professionals, or with any other OpenID Provider.

# A program

	client, err := oidcrp.New(oidcrp.Config{
		Issuer:       "https://login.example.gouv.fr",
		ClientID:     os.Getenv("OIDC_CLIENT_ID"),
		ClientSecret: os.Getenv("OIDC_CLIENT_SECRET"),
		BaseURL:      "https://app.example.gouv.fr",
		CookieKeys:   keys, // 32 random bytes each, newest first
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", home)                                                 // signed in or not
	mux.Handle("/dossiers/", client.RequireLogin(dossiers))                   // must be signed in
	mux.Handle("/sign", client.RequireLogin(sign, oidcrp.ACR("eidas2", "eidas3"))) // with two factors
	http.ListenAndServe(":8080", client.Middleware(mux))

Handlers ask [SessionFromContext] who is signed in. Register two URIs at the
provider: BaseURL + "/auth/callback" as redirect URI, and BaseURL +
"/auth/logout/callback" as post-logout redirect URI. Link to "/auth/login", and
post to "/auth/logout".

The core type is [Client], made by [New] from a [Config]. Each step also exists
as a method of its own, for apps that answer in their own way: [Client.BeginLogin],
[Client.Callback], [Client.StartSession], [Client.Session], [Client.Refresh],
[Client.Logout].

# A login

Someone opens a protected page. Middleware finds no session and starts a login:
it fetches the provider's metadata, if that is not known yet (discovery.go), makes
state, nonce and a PKCE verifier, seals them into a cookie of this login's own, and
redirects to the provider (authorize.go).

The provider sends the browser back with a code. The login is found by the state; iss
says that the right provider answers; the code is exchanged, once, with the client's
proof of who it is (token.go). The ID Token's signature is verified with the
provider's keys (jwks.go), then every rule of OpenID Connect Core 3.1.3.7
(idtoken.go). UserInfo is called at once, with the fresh access token, and must be
about the same person (userinfo.go). Only then is there a session (session.go), in a
sealed cookie (session_cookie.go) or behind a handle (session_store.go), and the
browser goes back to the page it wanted.

Every later request is middleware.go's: it opens the session and puts it into the
request's context. refresh.go uses the refresh token, and logout.go ends the session
here and then at the provider; logout_backchannel.go and logout_frontchannel.go end it
when the provider says so, by marks (session_marks.go) that reach sealed cookies too.
jwe.go opens what the provider encrypted, and publishes the client's own keys. What
fails is named in errors.go and told to people in pages.go; what happens is told to
[Trace] hooks and the log in events.go. All of it is set up in client.go, by a
[Config] that env.go can read from the environment.

# Security

PKCE, state, nonce, the issuer, the audience, the pinned algorithm, the signature and
the subject of UserInfo are always checked; there is no switch. What decides something
is read from JSON by exact name and type, without duplicates. Everything that comes
from the network is bounded in size and time, and no answer can make the app fetch
keys more than once a minute beyond their age. No error, log line or page carries a
token, a code or a secret.

The app must do three things. Serve over https; plain http works on loopback only.
Keep [Config.CookieKeys] secret, the same on every replica, and renew them now and
then, by a new key in front: one key is good for four billion cookies. And key its own
data by [Session.Issuer] and [Session.Subject], never by an e-mail address.

A person's own logout deletes the session's cookie from the browser. A copy that was
stolen before is dead in the process that did the logout, and works on other replicas
until the session ends. With a [Store] a logout is final.
A logout by the provider, through the back channel, is final either way; several
replicas need a Store to hear of it.

# Not in this package

The implicit and hybrid flows, dynamic registration, WebFinger, session management by
iframe, request objects, and distributed claims, whose URLs come from outside, are
left out on purpose.
*/
package oidcrp
