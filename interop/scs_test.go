package interop

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/alexedwards/scs/sqlite3store"
	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/scsstore"
	"github.com/oidcrp/oidcrp/storetest"
	_ "modernc.org/sqlite" // the driver
)

// newSCSStore returns the store of scs for SQLite, in a new database.
func newSCSStore(t testing.TB) (oidcrp.Store, *sql.DB) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sessions.db")
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.Exec("CREATE TABLE sessions (token TEXT PRIMARY KEY, data BLOB NOT NULL, expiry REAL NOT NULL)"); err != nil {
		t.Fatal(err)
	}
	return scsstore.New(sqlite3store.NewWithCleanupInterval(db, 0)), db
}

// TestSCSStore: a store that this project did not write keeps the contract.
func TestSCSStore(t *testing.T) {
	t.Parallel()
	store, _ := newSCSStore(t)
	storetest.Run(t, func(testing.TB) oidcrp.Store { return store })
}

// TestSCSStoreThatIsLocked: a call whose ctx ends while another holds the database does not wait.
func TestSCSStoreThatIsLocked(t *testing.T) {
	t.Parallel()
	store, db := newSCSStore(t)
	lock, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if _, err := lock.ExecContext(t.Context(), "BEGIN EXCLUSIVE"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	err = store.Set(ctx, "key", []byte("x"), time.Hour)
	if waited := time.Since(start); err == nil || waited > 5*time.Second {
		t.Errorf("Set: %v after %v", err, waited)
	}
	if _, err := lock.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := store.Set(t.Context(), "key", []byte("y"), time.Hour); err != nil {
		t.Errorf("Set, with the database free: %v", err)
	}
}

// TestSignInWithSCSStore signs in with a session in the database, which ends with its entry.
func TestSignInWithSCSStore(t *testing.T) {
	t.Parallel()
	store, db := newSCSStore(t)
	provider := oidctest.NewServer(t, oidctest.Config{})
	app := httptest.NewUnstartedServer(nil)
	client, err := oidcrp.New(oidcrp.Config{
		Issuer:       provider.Issuer(),
		ClientID:     oidctest.ClientID,
		ClientSecret: oidctest.ClientSecret,
		BaseURL:      "http://" + app.Listener.Addr().String(),
		CookieKeys:   oidcrp.Keys(make([]byte, 32)),
		Store:        store,
	})
	if err != nil {
		t.Fatal(err)
	}
	app.Config.Handler = client.Middleware(client.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := oidcrp.SessionFromContext(r.Context())
		fmt.Fprint(w, session.Subject())
	})))
	app.Start()
	t.Cleanup(app.Close)

	browser := provider.SignIn(t, app.URL+"/", "alice")
	visit := func() string {
		t.Helper()
		res, err := browser.Get(app.URL + "/")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	if who := visit(); who != "alice" {
		t.Errorf("signed in as %q", who)
	}
	var sessions, longest int
	if err := db.QueryRow("SELECT count(*), max(length(token)) FROM sessions").Scan(&sessions, &longest); err != nil {
		t.Fatal(err)
	}
	if sessions == 0 || longest != 43 {
		t.Errorf("%d entries with keys of up to %d characters", sessions, longest)
	}
	if _, err := db.Exec("DELETE FROM sessions"); err != nil {
		t.Fatal(err)
	}
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if who := visit(); who == "alice" {
		t.Error("signed in without an entry in the database")
	}
}
