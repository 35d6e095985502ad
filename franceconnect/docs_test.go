package franceconnect_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp/franceconnect"
)

// The pages name every code that is explained, and no other. That they say the same in both
// languages, and that their programs compile, is tested with the other pages, in package
// proconnect.
func TestDocs_HaveEveryCode(t *testing.T) {
	t.Parallel()
	known := franceconnect.KnownCodes()
	pattern := regexp.MustCompile(`\bY[0-9][0-9A-F]+…?`)
	for _, name := range []string{"../docs/en/franceconnect.md", "../docs/fr/franceconnect.md"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, code := range known {
			if !strings.Contains(string(text), "`"+code+"`") {
				t.Errorf("%s does not have %s", name, code)
			}
		}
		for _, found := range pattern.FindAllString(string(text), -1) {
			if !slices.Contains(known, found) {
				t.Errorf("%s names the unknown code %s", name, found)
			}
		}
		for _, e := range []franceconnect.Environment{
			franceconnect.Integration, franceconnect.Integ01, franceconnect.Production,
			franceconnect.PlusIntegration, franceconnect.PlusProduction,
		} {
			if !regexp.MustCompile("(?m)^\\| `" + string(e) + "` \\|.*`" + regexp.QuoteMeta(e.Issuer()) + "`").Match(text) {
				t.Errorf("%s lacks the environment %s with its issuer", name, e)
			}
		}
	}
}
