package oidcrp

// This file holds the stored form of a transaction, and decides what the answer that
// starts a login has room for.

import (
	"bytes"
	"cmp"
	"compress/flate"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"sync"
	"time"
)

const (
	// The forms of a transaction: what it asks for is JSON, or compressed JSON.
	plainTransaction  = 1
	packedTransaction = 2
	// randomSize is the length of the random part of a transaction and of a ticket.
	randomSize = 32
	// maxTransactionExtra bounds the options that a transaction holds for a login that
	// replaces it, in bytes of JSON.
	maxTransactionExtra = 400
	// maxTransaction bounds the JSON of a transaction: JSON may write a byte of the
	// return path as six.
	maxTransaction = 6*maxReturnTo + 4<<10
	// alwaysDropped is how many old transactions are dropped even where the answer has
	// no room: more than each login adds.
	alwaysDropped = 2
)

// A transaction is one pending login. It is sealed into its own cookie, so that
// tabs do not disturb each other, and the state names the cookie.
type transaction struct {
	secret  [randomSize]byte // random
	Started int64            // Unix seconds
	inState bool             // the state holds ReturnTo, so the cookie need not
	silent  bool             // the state says so; not stored here
	size    int              // of the cookie
	wishes
}

// wishes are what a login asks for, beyond what every login does.
type wishes struct {
	ReturnTo string   `json:"r,omitempty"`
	ACR      []string `json:"a,omitempty"` // the ID Token must name one of them
	MaxAge   *int64   `json:"m,omitempty"` // seconds
	StepUp   string   `json:"u,omitempty"`
	Asked    bool     `json:"q,omitempty"` // a protected page asked for it
	// What the login asked for otherwise, for one that replaces it.
	Prompt    string     `json:"p,omitempty"`
	ACRValues []string   `json:"av,omitempty"`
	LoginHint string     `json:"h,omitempty"`
	UILocales []string   `json:"l,omitempty"`
	Scopes    []string   `json:"s,omitempty"`
	Extra     url.Values `json:"e,omitempty"`
	Final     bool       `json:"f,omitempty"` // it asked for more, so no other login can replace it
}

// verifier returns the code_verifier (RFC 7636 section 4.1).
func (t *transaction) verifier() string { return base64.RawURLEncoding.EncodeToString(t.secret[:]) }

// nonce returns the nonce. Like the code_challenge, it is a hash of the secret, from which
// nobody can compute the code_verifier (RFC 7636 section 7.1).
func (t *transaction) nonce() string {
	const label = "oidcrp nonce\x00"
	sum := sha256.Sum256(append([]byte(label), t.secret[:]...))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// carry keeps in t what a login asks for beside t's own fields and the Config's options,
// for one that replaces it. If that is too much, no other login can.
func (t *transaction) carry(asked *AuthOptions) {
	own := asked.own
	if own == nil {
		own = new(AuthOptions)
	}
	if t.Final = own.asksMore(); t.Final || own.carriesNothing() {
		return
	}
	text, err := json.Marshal([]any{own.Prompt, own.LoginHint, own.ACRValues, own.UILocales, own.Extra, own.Scopes})
	if t.Final = err != nil || len(text) > maxTransactionExtra; t.Final {
		return
	}
	t.Prompt, t.LoginHint, t.ACRValues = own.Prompt, own.LoginHint, own.ACRValues
	t.UILocales, t.Extra, t.Scopes = own.UILocales, own.Extra, own.Scopes
}

// carriesNothing reports whether o has none of the options that carry keeps.
func (o *AuthOptions) carriesNothing() bool {
	return o.Prompt == "" && o.LoginHint == "" && len(o.ACRValues)+len(o.UILocales)+len(o.Extra)+len(o.Scopes) == 0
}

// options are those of a login that replaces this one.
func (t *transaction) options() *AuthOptions {
	o := &AuthOptions{
		ReturnTo: t.ReturnTo, RequireACR: t.ACR, ACRValues: t.ACRValues, Prompt: t.Prompt, LoginHint: t.LoginHint,
		UILocales: t.UILocales, Extra: t.Extra, Scopes: t.Scopes,
		stepUp: t.StepUp, byPage: t.Asked,
	}
	if t.MaxAge != nil {
		o.MaxAge = new(time.Duration(*t.MaxAge) * time.Second)
	}
	return o
}

func (t *transaction) age(now time.Time) time.Duration { return now.Sub(time.Unix(t.Started, 0)) }

// packers keeps compressors, which are large, for the next use. The zero value is ready
// to use.
type packers struct{ free sync.Pool }

// pack returns plain compressed.
func (p *packers) pack(plain []byte) ([]byte, error) {
	w, ok := p.free.Get().(*flate.Writer)
	if !ok {
		w, _ = flate.NewWriter(nil, flate.BestCompression) // the level is valid
	}
	defer p.free.Put(w)
	var b bytes.Buffer
	w.Reset(&b)
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	err := w.Close()
	return b.Bytes(), err
}

// marshal returns the stored form of t: its form, secret and time, and as JSON what it
// asks for, which is compressed if the return path is long. The length reveals no secret
// to a site that chooses the path: the secret is not compressed, and the rest is in the
// URL of the provider too.
func (t *transaction) marshal(p *packers) ([]byte, error) {
	stored := appendHead(plainTransaction, &t.secret, t.Started)
	asked := t.wishes
	if t.inState {
		asked.ReturnTo = ""
	}
	if reflect.ValueOf(&asked).Elem().IsZero() {
		return stored, nil
	}
	plain, err := asked.marshal()
	if err != nil || len(asked.ReturnTo) <= maxTicketReturnTo {
		return append(stored, plain...), err
	}
	short, err := p.pack(plain)
	if err != nil || len(short) >= len(plain) {
		return append(stored, plain...), err
	}
	stored[0] = packedTransaction
	return append(stored, short...), nil
}

// marshal returns w as JSON with "<", ">" and "&" as they are, which a path has often.
func (w *wishes) marshal() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(w)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// unmarshalTransaction reads what marshal wrote.
func unmarshalTransaction(stored []byte) (*transaction, error) {
	t := new(transaction)
	form, rest, ok := cutHead(stored, &t.secret, &t.Started)
	if !ok || form != plainTransaction && form != packedTransaction {
		return nil, errTransactionForm
	}
	if form == packedTransaction {
		var err error
		if rest, err = unpack(rest); err != nil {
			return nil, err
		}
	}
	if len(rest) == 0 {
		return t, nil
	}
	if err := json.Unmarshal(rest, &t.wishes); err != nil {
		return nil, err
	}
	return t, nil
}

var errTransactionForm = errors.New("stored in a form that this version does not read")

// unpack returns what pack was given, if it has at most maxTransaction bytes.
func unpack(short []byte) ([]byte, error) {
	plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(short)), maxTransaction+1))
	if err != nil {
		return nil, err
	}
	if len(plain) > maxTransaction {
		return nil, fmt.Errorf("unpacks to more than %d bytes", maxTransaction)
	}
	return plain, nil
}

// appendHead returns what a transaction and a ticket begin with: the form of the rest,
// random bytes and the time, in Unix seconds.
func appendHead(form byte, random *[randomSize]byte, at int64) []byte {
	b := make([]byte, 0, 1+randomSize+binary.MaxVarintLen64)
	return binary.AppendUvarint(append(append(b, form), random[:]...), uint64(max(at, 0)))
}

// cutHead reads what appendHead wrote, and returns the form and what follows.
func cutHead(stored []byte, random *[randomSize]byte, at *int64) (form byte, rest []byte, ok bool) {
	if len(stored) < 1+randomSize {
		return 0, nil, false
	}
	rest = stored[1+copy(random[:], stored[1:]):]
	seconds, n := binary.Uvarint(rest)
	if n <= 0 || seconds > math.MaxInt64 {
		return 0, nil, false
	}
	*at = int64(seconds)
	return stored[0], rest[n:], true
}

func (l *logins) sealTransaction(name string, t *transaction) (string, error) {
	plain, err := t.marshal(&l.packers)
	if err != nil {
		return "", err
	}
	return l.cookies.seal(name, plain)
}

// remember seals t into its cookie, for an answer that leads to location. A long return
// path that does not fit into the answer or into the cookie is replaced by the start page.
// It drops the oldest of the other cookies beyond the limits, and those that can no
// longer be opened.
func (l *logins) remember(w http.ResponseWriter, r *http.Request, name string, t *transaction, location string) error {
	value, err := l.sealTransaction(name, t)
	if err != nil {
		return err
	}
	pending := l.pending(r)
	old := l.obsolete(pending, cookieSize(name, value))
	room := maxAnswerHeader - answerSize(w.Header(), location)
	drop := l.cookies.lineSize(name, "", l.sameSite)
	fits := func() bool {
		line := l.cookies.lineSize(name, value, l.sameSite)
		return line <= maxCookie && line+min(len(old), alwaysDropped)*drop <= room
	}
	if len(t.ReturnTo) > maxTicketReturnTo && !fits() {
		l.returnToDropped(r.Context(), t)
		if value, err = l.sealTransaction(name, t); err != nil {
			return err
		}
		old = l.obsolete(pending, cookieSize(name, value))
	}
	room -= l.cookies.lineSize(name, value, l.sameSite)
	for _, name := range old[:min(len(old), max(alwaysDropped, room/drop))] {
		l.cookies.drop(w, name, l.sameSite)
	}
	l.cookies.put(w, name, value, transactionLifetime, l.sameSite)
	return nil
}

func (l *logins) returnToDropped(ctx context.Context, t *transaction) {
	l.events.returnToDropped(ctx, t.ReturnTo, "it does not fit into the cookies of one answer")
	t.ReturnTo, t.inState = l.home, false
}

// obsolete returns the names of the pending logins that are to make room for a cookie of
// size bytes, the oldest first.
func (l *logins) obsolete(pending map[string]*transaction, size int) (names []string) {
	if len(pending) == 0 {
		return nil
	}
	for _, t := range pending {
		size += t.size
	}
	left := len(pending)
	for _, name := range slices.SortedFunc(maps.Keys(pending), func(a, b string) int {
		return cmp.Compare(pending[a].Started, pending[b].Started)
	}) {
		t := pending[name]
		if left >= maxTransactions || size > maxTransactionsSize || t.age(l.now()) > transactionLifetime {
			names = append(names, name)
			size -= t.size
			left--
		}
	}
	return names
}
