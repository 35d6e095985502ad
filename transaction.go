package oidcrp

// This file holds the stored form of a transaction, and decides what the answer that
// starts a login has room for.

import (
	"bytes"
	"cmp"
	"compress/flate"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

const (
	// packed is the first byte of a transaction that is compressed; that of JSON is "{".
	packed = 'z'
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
	Nonce    string   `json:"n"`
	Verifier string   `json:"v"`
	ReturnTo string   `json:"r,omitempty"`
	ACR      []string `json:"a,omitempty"` // the ID Token must name one of them
	MaxAge   *int64   `json:"m,omitempty"` // seconds
	Issuer   string   `json:"i"`
	StepUp   string   `json:"u,omitempty"`
	Started  int64    `json:"t"`           // Unix seconds
	Asked    bool     `json:"q,omitempty"` // a protected page asked for it
	// What the login asked for otherwise, for one that replaces it.
	Prompt    string     `json:"p,omitempty"`
	ACRValues []string   `json:"av,omitempty"`
	LoginHint string     `json:"h,omitempty"`
	UILocales []string   `json:"l,omitempty"`
	Scopes    []string   `json:"s,omitempty"`
	Extra     url.Values `json:"e,omitempty"`
	Final     bool       `json:"f,omitempty"` // it asked for more, so no other login can replace it
	size      int        // of the cookie
	silent    bool       // the state says so; not stored here
}

// carry keeps in t what a login asks for beside t's own fields and the Config's options,
// for one that replaces it. If that is too much, no other login can.
func (t *transaction) carry(asked *AuthOptions) {
	own := asked.own
	if own == nil {
		own = new(AuthOptions)
	}
	text, err := json.Marshal([]any{own.Prompt, own.LoginHint, own.ACRValues, own.UILocales, own.Extra, own.Scopes})
	if t.Final = own.asksMore() || err != nil || len(text) > maxTransactionExtra; t.Final {
		return
	}
	t.Prompt, t.LoginHint, t.ACRValues = own.Prompt, own.LoginHint, own.ACRValues
	t.UILocales, t.Extra, t.Scopes = own.UILocales, own.Extra, own.Scopes
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

// marshal returns the stored form of t: JSON, which is compressed if the return path is
// long. The length reveals no secret to a site that chooses the path: the random values
// are new in each transaction, so they cannot be guessed step by step, and the rest is
// in the URL of the provider too.
func (t *transaction) marshal(p *packers) ([]byte, error) {
	plain, err := json.Marshal(t)
	if err != nil || len(t.ReturnTo) <= maxTicketReturnTo {
		return plain, err
	}
	short, err := p.pack(plain)
	if err != nil || len(short)+1 >= len(plain) {
		return plain, err
	}
	return append([]byte{packed}, short...), nil
}

// unmarshalTransaction reads what marshal wrote.
func unmarshalTransaction(stored []byte) (*transaction, error) {
	if len(stored) > 0 && stored[0] == packed {
		r := io.LimitReader(flate.NewReader(bytes.NewReader(stored[1:])), maxTransaction+1)
		plain, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		if len(plain) > maxTransaction {
			return nil, fmt.Errorf("unpacks to more than %d bytes", maxTransaction)
		}
		stored = plain
	}
	t := new(transaction)
	if err := json.Unmarshal(stored, t); err != nil {
		return nil, err
	}
	return t, nil
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
	t.ReturnTo = l.home
}

// obsolete returns the names of the pending logins that are to make room for a cookie of
// size bytes, the oldest first.
func (l *logins) obsolete(pending map[string]*transaction, size int) (names []string) {
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
