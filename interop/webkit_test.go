package interop

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// webkit is a tab of WebKitGTK's MiniBrowser, driven by WebDriver.
type webkit struct {
	*webdriver
	handle string // of the tab
}

// webdriver is a WebDriver (W3C) with one browser: WebKitWebDriver takes one at a time.
type webdriver struct {
	base    string
	session string
	current string // the handle of the tab that commands go to
}

// smallButtons makes the toolbar of MiniBrowser fit into a window of 320 pixels, which cannot be
// narrower than its toolbar.
const smallButtons = `headerbar *, toolbar *, button, entry { min-width: 0; padding: 0; margin: 0; border: none }`

// newWebKit starts a browser with a fresh profile and returns its tab.
func newWebKit(t testing.TB) *tab {
	t.Helper()
	driver, err := exec.LookPath("WebKitWebDriver")
	if err != nil {
		t.Fatalf("this test needs WebKitGTK: %v; `bash interop/run` or `apt-get install webkit2gtk-driver`", err)
	}
	home, port := newHome(t), freePort(t)
	style := filepath.Join(home, "gtk-3.0", "gtk.css") // below XDG_CONFIG_HOME
	if err := errors.Join(os.Mkdir(filepath.Dir(style), 0o700), os.WriteFile(style, []byte(smallButtons), 0o600)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(driver, "--port="+strconv.Itoa(port))
	cmd.Env = atHome(home, "DISPLAY="+newDisplay(t), "GDK_BACKEND=x11", "LIBGL_ALWAYS_SOFTWARE=1",
		"WEBKIT_DISABLE_COMPOSITING_MODE=1", "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS=1") // the tests may run as root
	p := startProcess(t, "WebKitWebDriver", cmd)
	w := &webdriver{base: origin(port)}
	p.poll(t, "WebKitWebDriver", func() bool {
		var status struct{ Ready bool }
		return w.call("GET", "/status", nil, &status) == nil && status.Ready
	})
	t.Cleanup(w.quit)
	first, err := w.start()
	if err != nil {
		t.Fatal(err)
	}
	return &tab{t: t, engine: first}
}

// newDisplay starts an X server without a screen, on a display that it picks, and returns its name.
func newDisplay(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("Xvfb")
	if err != nil {
		t.Fatalf("WebKitGTK needs a display: %v; `bash interop/run` or `apt-get install xvfb`", err)
	}
	out := new(logBuffer)
	cmd := exec.Command(path, "-displayfd", "1", "-screen", "0", "1280x1024x24", "-nolisten", "tcp")
	cmd.Stdout = out
	p := startProcess(t, "Xvfb", cmd)
	p.poll(t, "Xvfb's display", func() bool { return bytes.HasSuffix(out.Bytes(), []byte("\n")) })
	return ":" + strings.TrimSpace(string(out.Bytes()))
}

// miniBrowser is the path of the browser of libwebkit2gtk.
func miniBrowser() (string, error) {
	found, err := filepath.Glob("/usr/lib/*/webkit2gtk-4.1/MiniBrowser")
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("no MiniBrowser (%v); `apt-get install libwebkit2gtk-4.1-0`", err)
	}
	return found[0], nil
}

// start starts the browser, with a profile that is kept in memory.
func (w *webdriver) start() (*webkit, error) {
	binary, err := miniBrowser()
	if err != nil {
		return nil, err
	}
	type object map[string]any
	var started struct{ SessionID string }
	if err := w.call("POST", "/session", object{"capabilities": object{"alwaysMatch": object{
		"acceptInsecureCerts":      true,
		"webkitgtk:browserOptions": object{"binary": binary, "args": []string{"--automation"}},
	}}}, &started); err != nil {
		return nil, err
	}
	w.session = "/session/" + started.SessionID
	if err := w.call("GET", w.session+"/window", nil, &w.current); err != nil {
		return nil, err
	}
	return &webkit{w, w.current}, nil
}

// quit ends the browser.
func (w *webdriver) quit() {
	if w.session != "" {
		w.call("DELETE", w.session, nil, nil)
	}
	w.session = ""
}

// call sends a command and decodes its value into result.
func (w *webdriver) call(method, path string, params, result any) error {
	body, err := json.Marshal(params)
	if err != nil {
		return err
	}
	if method != http.MethodPost {
		body = nil
	}
	req, err := http.NewRequest(method, w.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := (&http.Client{Timeout: patience}).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var answer struct{ Value json.RawMessage }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %d %s", path, res.StatusCode, answer.Value)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(answer.Value, result)
}

// here sends a command to this tab.
func (k *webkit) here(method, path string, params, result any) error {
	if k.current != k.handle {
		if err := k.call("POST", k.session+"/window", map[string]string{"handle": k.handle}, nil); err != nil {
			return err
		}
		k.current = k.handle
	}
	return k.call(method, k.session+path, params, result)
}

func (k *webkit) another() (engine, error) {
	var created struct{ Handle string }
	err := k.here("POST", "/window/new", map[string]string{"type": "tab"}, &created)
	return &webkit{k.webdriver, created.Handle}, err
}

// stranger starts the browser anew: the others of its tabs are gone then.
func (k *webkit) stranger(testing.TB) (engine, error) {
	k.quit()
	return k.start()
}

func (k *webkit) load(address string) error {
	return k.here("POST", "/url", map[string]string{"url": address}, nil)
}

func (k *webkit) resize(width int) error {
	return k.here("POST", "/window/rect", map[string]int{"width": width, "height": 640}, nil)
}

func (k *webkit) value(expression string) (value string, err error) {
	err = k.here("POST", "/execute/sync",
		map[string]any{"script": "return (" + expression + ")", "args": []string{}}, &value)
	return value, err
}

func (k *webkit) press(selector string) error {
	var last error
	err := eventually("no "+selector, func() bool {
		var found map[string]string
		last = k.here("POST", "/element", map[string]string{"using": "css selector", "value": selector}, &found)
		for _, id := range found {
			last = k.here("POST", "/element/"+id+"/click", struct{}{}, nil)
		}
		return last == nil
	})
	if err != nil {
		return fmt.Errorf("%w: %w", err, last)
	}
	return nil
}
