package interop

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A product is a column of the matrix in docs/providers.md.
type product string

const (
	keycloakProduct   product = "Keycloak 26.7"
	hydraProduct      product = "Ory Hydra 2.3"
	lemonProduct      product = "LemonLDAP::NG 2.16"
	glewProduct       product = "Glewlwyd 2.7"
	zitadelProduct    product = "zitadel/oidc 3.52"
	modernProduct     product = "oidc-provider 9"
	proconnectProduct product = "ProConnect (stand-in)"
)

var products = []product{
	keycloakProduct, hydraProduct, lemonProduct, glewProduct, zitadelProduct, modernProduct, proconnectProduct,
}

// productOf says which engine a stand-in is, by its folder.
var productOf = map[string]product{proconnect: proconnectProduct, modern: modernProduct}

// A behaviour is a row of the matrix.
type behaviour string

const (
	secretBasic     behaviour = "`client_secret_basic`"
	secretPost      behaviour = "`client_secret_post`"
	secretJWT       behaviour = "`client_secret_jwt`"
	privateKeyJWT   behaviour = "`private_key_jwt`"
	tlsClientAuth   behaviour = "`tls_client_auth`"
	signedRS256     behaviour = "ID Token with RS256"
	signedPS256     behaviour = "ID Token with PS256"
	signedES256     behaviour = "ID Token with ES256"
	signedEdDSA     behaviour = "ID Token with EdDSA"
	signedHS256     behaviour = "ID Token with HS256"
	encryptedToken  behaviour = "encrypted ID Token"
	signedInfo      behaviour = "signed UserInfo"
	encryptedInfo   behaviour = "encrypted UserInfo"
	formPost        behaviour = "`form_post`"
	pushed          behaviour = "pushed authorization requests required"
	stepUpACR       behaviour = "step-up by `acr`"
	stepUpAge       behaviour = "step-up by `max_age`"
	refreshes       behaviour = "refresh"
	rotates         behaviour = "refresh with rotation"
	anotherAuthTime behaviour = "refresh after a new authentication in another app"
	signsOut        behaviour = "sign-out at the provider"
	backChannel     behaviour = "back-channel logout"
	frontChannel    behaviour = "front-channel logout"
	severalTabs     behaviour = "two tabs"
	staleLoginPage  behaviour = "expired login page"
	otherName       behaviour = "another name for the app than for browsers"
)

// lacks holds the cells of which the product has no such thing.
var lacks = map[product][]behaviour{
	hydraProduct: {
		secretJWT, tlsClientAuth, signedPS256, signedHS256, encryptedToken, encryptedInfo, pushed,
	},
	lemonProduct: {
		secretJWT, privateKeyJWT, tlsClientAuth, signedPS256, signedES256, signedEdDSA, encryptedToken,
		encryptedInfo, pushed, stepUpACR, rotates, backChannel,
	},
	glewProduct: {stepUpACR},
	zitadelProduct: {
		secretJWT, tlsClientAuth, signedPS256, signedES256, signedEdDSA, signedHS256, encryptedToken, signedInfo,
		encryptedInfo, pushed, stepUpACR, backChannel, frontChannel,
	},
	proconnectProduct: {
		secretJWT, privateKeyJWT, tlsClientAuth, signedPS256, signedEdDSA, pushed, frontChannel,
	},
	modernProduct: {frontChannel},
}

var behaviours = []behaviour{
	secretBasic, secretPost, secretJWT, privateKeyJWT, tlsClientAuth,
	signedRS256, signedPS256, signedES256, signedEdDSA, signedHS256,
	encryptedToken, signedInfo, encryptedInfo, formPost, pushed, stepUpACR, stepUpAge,
	refreshes, rotates, anotherAuthTime, signsOut, backChannel, frontChannel,
	severalTabs, staleLoginPage, otherName,
}

// A place is a cell of the matrix.
type place struct {
	product
	behaviour
}

// results are what the tests of a run have shown: "yes", "no" or "failed".
type results struct {
	mu    sync.Mutex // guards cells
	cells map[place]string
}

// shown are those of this run.
var shown = results{cells: map[place]string{}}

// signedWith is the row of an algorithm.
func signedWith(alg string) behaviour { return behaviour("ID Token with " + alg) }

// shows says which cells of the matrix a test stands for. If several tests stand for one, all of them
// must pass.
func shows(t testing.TB, p product, all ...behaviour) { note(t, "yes", p, all) }

// refuses is shows for what the product does in a way that must be refused, which the test shows.
func refuses(t testing.TB, p product, all ...behaviour) { note(t, "no", p, all) }

func note(t testing.TB, result string, p product, all []behaviour) {
	t.Cleanup(func() {
		if t.Failed() {
			result = "failed"
		}
		for _, b := range all {
			shown.add(place{p, b}, result)
		}
	})
}

// add takes in the result of one test.
func (r *results) add(at place, result string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.cells[at]
	if before == "" || result == "failed" || before == "no" {
		r.cells[at] = result
	}
}

// cell is "yes" only if a test of this run has shown it, and none has failed.
func (r *results) cell(at place) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if result := r.cells[at]; result != "" {
		return result
	}
	if slices.Contains(lacks[at.product], at.behaviour) {
		return "—"
	}
	return ""
}

// table is the matrix in Markdown.
func (r *results) table() []byte {
	var b bytes.Buffer
	b.WriteString("|")
	for _, p := range products {
		fmt.Fprintf(&b, " | %s", p)
	}
	b.WriteString(" |\n|---" + strings.Repeat("|---", len(products)) + "|\n")
	for _, row := range behaviours {
		fmt.Fprintf(&b, "| %s", row)
		for _, p := range products {
			fmt.Fprintf(&b, " | %s", r.cell(place{p, row}))
		}
		b.WriteString(" |\n")
	}
	return b.Bytes()
}

const (
	matrixBegin = "<!-- matrix: written by interop/run with OIDCRP_MATRIX -->\n"
	matrixEnd   = "<!-- end of the matrix -->\n"
)

// write puts the table between its markers in a file.
func (r *results) write(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, begun := bytes.Cut(text, []byte(matrixBegin))
	_, after, ended := bytes.Cut(rest, []byte(matrixEnd))
	if !begun || !ended {
		return fmt.Errorf("interop: %s has no lines %q and %q", file, matrixBegin, matrixEnd)
	}
	return os.WriteFile(file, slices.Concat(
		before, []byte(matrixBegin+"\n"), r.table(), []byte("\n"+matrixEnd), after), 0o666)
}

func TestMatrix_ACellIsYesOnlyIfAllItsTestsPassed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		results []string
		want    string
	}{
		{nil, ""},
		{[]string{"yes", "yes"}, "yes"},
		{[]string{"no"}, "no"},
		{[]string{"no", "yes"}, "yes"}, // refused until the provider is set up for it
		{[]string{"yes", "no"}, "yes"},
		{[]string{"yes", "failed", "yes"}, "failed"},
		{[]string{"failed", "no"}, "failed"},
	} {
		r := results{cells: map[place]string{}}
		at := place{modernProduct, pushed}
		for _, result := range test.results {
			r.add(at, result)
		}
		if got := r.cell(at); got != test.want {
			t.Errorf("after %q the cell is %q, want %q", test.results, got, test.want)
		}
	}
	var r results
	if got := r.cell(place{hydraProduct, pushed}); got != "—" {
		t.Errorf("the cell of what a provider lacks is %q", got)
	}
}

func TestMatrix_ReplacesWhatIsBetweenItsMarkers(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "providers.md")
	if err := os.WriteFile(file, []byte("before\n"+matrixBegin+"| old |\n"+matrixEnd+"after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := results{cells: map[place]string{{hydraProduct, backChannel}: "yes"}}
	for range 2 { // the second one changes nothing
		if err := r.write(file); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want := "before\n" + matrixBegin + "\n" + string(r.table()) + "\n" + matrixEnd + "after\n"
		if string(text) != want || !strings.Contains(want, "| back-channel logout |  | yes |") {
			t.Fatalf("the file is\n%s", text)
		}
	}
	if err := os.WriteFile(file, []byte("no markers\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.write(file); err == nil {
		t.Error("written without markers")
	}
}
