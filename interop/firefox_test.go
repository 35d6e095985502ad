package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// firefox is a tab of Firefox, driven by WebDriver BiDi, which Firefox speaks without a driver.
type firefox struct {
	*bidi
	context string // of the tab
	user    string // the context of the tabs that share cookies
}

// firefoxSettings keep the browser from calling home. The rest is what Firefox sets for automation.
const firefoxSettings = `
user_pref("app.update.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("network.dns.disablePrefetch", true);
user_pref("services.settings.server", "data:,");
user_pref("extensions.systemAddon.update.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("browser.newtabpage.enabled", false);
`

var bidiAddress = regexp.MustCompile(`WebDriver BiDi listening on (ws://127\.0\.0\.1:\d+)`)

// newFirefox starts a browser with a fresh profile and returns a tab.
func newFirefox(t testing.TB) *tab {
	t.Helper()
	path, err := exec.LookPath("firefox-esr")
	if err != nil {
		t.Fatalf("this test needs Firefox: %v; `bash interop/run` or `apt-get install firefox-esr`", err)
	}
	home := newHome(t)
	if err := os.WriteFile(filepath.Join(home, "user.js"), []byte(firefoxSettings), 0o600); err != nil {
		t.Fatal(err)
	}
	const own = "http://localhost" // Origin of the driver
	cmd := exec.Command(path, "--headless", "--no-remote", "--profile", home,
		"--remote-debugging-port", "0", "--remote-allow-origins", own)
	cmd.Env = atHome(home)
	p := startProcess(t, "firefox", cmd)
	var address []byte
	p.poll(t, "Firefox's address", func() bool {
		if match := bidiAddress.FindSubmatch(p.log.Bytes()); match != nil {
			address = match[1]
		}
		return address != nil
	})
	connection, err := websocket.Dial(string(address)+"/session", "", own)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	b := &bidi{connection: connection}
	if err := b.call("session.new", bidiParams{"capabilities": bidiParams{
		"alwaysMatch": bidiParams{"acceptInsecureCerts": true},
	}}, nil); err != nil {
		t.Fatal(err)
	}
	first, err := (&firefox{bidi: b}).stranger(t)
	if err != nil {
		t.Fatal(err)
	}
	return &tab{t: t, engine: first}
}

// newHome makes a folder for a browser. Unlike t.TempDir, it waits for the browser's helpers to
// stop writing to it.
func newHome(t testing.TB) string {
	t.Helper()
	home, err := os.MkdirTemp("", "browser")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := eventually(home+" is still in use", func() bool { return os.RemoveAll(home) == nil }); err != nil {
			t.Error(err)
		}
	})
	return home
}

// atHome is the environment of a browser that keeps all its files in one folder.
func atHome(home string, more ...string) []string {
	env := []string{
		"HOME=" + home, "XDG_CONFIG_HOME=" + home, "XDG_CACHE_HOME=" + home, "XDG_DATA_HOME=" + home,
		"XDG_RUNTIME_DIR=" + home, "TMPDIR=" + home, "PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8",
		"DBUS_SESSION_BUS_ADDRESS=disabled:", "NO_AT_BRIDGE=1",
	}
	return append(env, more...)
}

func (f *firefox) another() (engine, error) {
	var created struct{ Context string }
	err := f.call("browsingContext.create", bidiParams{"type": "tab", "userContext": f.user}, &created)
	return &firefox{f.bidi, created.Context, f.user}, err
}

func (f *firefox) stranger(t testing.TB) (engine, error) {
	var created struct{ UserContext string }
	if err := f.call("browser.createUserContext", bidiParams{}, &created); err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if err := f.call("browser.removeUserContext", bidiParams{"userContext": created.UserContext}, nil); err != nil {
			t.Error(err)
		}
	})
	return (&firefox{bidi: f.bidi, user: created.UserContext}).another()
}

func (f *firefox) load(address string) error {
	return f.call("browsingContext.navigate",
		bidiParams{"context": f.context, "url": address, "wait": "complete"}, nil)
}

func (f *firefox) resize(width int) error {
	return f.call("browsingContext.setViewport",
		bidiParams{"context": f.context, "viewport": bidiParams{"width": width, "height": 640}}, nil)
}

func (f *firefox) value(expression string) (string, error) {
	var done struct {
		Type   string
		Result struct{ Type, Value string }
	}
	err := f.call("script.evaluate", bidiParams{
		"expression": expression, "target": bidiParams{"context": f.context}, "awaitPromise": true,
	}, &done)
	if err == nil && (done.Type != "success" || done.Result.Type != "string") {
		err = fmt.Errorf("%s is %s %s", expression, done.Type, done.Result.Type)
	}
	return done.Result.Value, err
}

// middle scrolls an element into view and returns its middle, "" as long as there is none.
const middle = `(() => {
	const e = document.readyState === 'complete' && document.querySelector(%q);
	if (!e) return '';
	e.scrollIntoView({ block: 'center', inline: 'center' });
	const { left, top, width, height } = e.getBoundingClientRect();
	return width && height ? JSON.stringify([left + width / 2, top + height / 2].map(Math.floor)) : '';
})()`

func (f *firefox) press(selector string) error {
	var at [2]int
	if err := eventually("no "+selector, func() bool {
		text, err := f.value(fmt.Sprintf(middle, selector))
		return err == nil && json.Unmarshal([]byte(text), &at) == nil
	}); err != nil {
		return err
	}
	return f.call("input.performActions", bidiParams{"context": f.context, "actions": []bidiParams{{
		"type": "pointer", "id": "mouse", "actions": []bidiParams{
			{"type": "pointerMove", "x": at[0], "y": at[1]},
			{"type": "pointerDown", "button": 0},
			{"type": "pointerUp", "button": 0},
		},
	}}}, nil)
}

// eventually polls until right is true.
func eventually(wrong string, right func() bool) error {
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !right() {
		if time.Now().After(deadline) {
			return fmt.Errorf("%s after %v", wrong, patience)
		}
		<-tick.C
	}
	return nil
}

// bidi is a connection of WebDriver BiDi.
type bidi struct {
	connection *websocket.Conn
	sent       int // commands
}

type bidiParams map[string]any

// call sends a command, waits for its result, and decodes that into result.
func (b *bidi) call(method string, params bidiParams, result any) error {
	b.sent++
	b.connection.SetDeadline(time.Now().Add(patience))
	if err := websocket.JSON.Send(b.connection, bidiParams{"id": b.sent, "method": method, "params": params}); err != nil {
		return err
	}
	for {
		var answer struct {
			ID             int
			Error, Message string
			Result         json.RawMessage
		}
		if err := websocket.JSON.Receive(b.connection, &answer); err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		switch {
		case answer.ID != b.sent: // an event
		case answer.Error != "":
			return fmt.Errorf("%s: %s: %s", method, answer.Error, answer.Message)
		case result == nil:
			return nil
		default:
			return json.NewDecoder(bytes.NewReader(answer.Result)).Decode(result)
		}
	}
}
