package providers

import (
	"encoding/json"
	"net/http"

	"github.com/oidcrp/oidcrp/internal/strictjson"
)

// maxAppleUser bounds the user field of a callback.
const maxAppleUser = 4 << 10

// AppleUser returns the field "user" of the form that a provider's callback posted, as a
// JSON object, for [oidcrp.Config.OnLogin]: Sign in with Apple sends the person's name
// there, at their first login only, and nowhere else. r is the request that OnLogin gets.
// Nobody signed it: the person can have changed it, so use it to fill in a form, and
// never to find an account or to grant something. It is nil if there is none, or if it
// is larger than 4 KiB, sent twice or not a JSON object without duplicate names. Over
// plain http, where the form comes without the login's cookie, it is lost.
func AppleUser(r *http.Request) json.RawMessage {
	fields := r.PostForm["user"]
	if r.Method != http.MethodPost || len(fields) != 1 || len(fields[0]) > maxAppleUser {
		return nil
	}
	if _, err := strictjson.Object([]byte(fields[0])); err != nil {
		return nil
	}
	return json.RawMessage(fields[0])
}
