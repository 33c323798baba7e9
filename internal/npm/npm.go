// Package npm installs packages of npm for tests.
package npm

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Packages returns a function that gives a test the path of node, with all packages of dir's package-lock.json in dir.
// They are installed when it is first called. A machine without node skips the test; in CI, where the variable CI is
// set, it must have it.
func Packages(dir string) func(*testing.T) (node string) {
	install := sync.OnceValues(func() (string, error) { return install(dir) })
	return func(t *testing.T) string {
		t.Helper()
		node, err := install()
		if ci := os.Getenv("CI"); errors.Is(err, exec.ErrNotFound) && (ci == "" || ci == "false") {
			t.Skipf("not tested without Node: %v", err)
		}
		if err != nil {
			t.Fatalf("cannot be tested: %v", err)
		}
		return node
	}
}

// install makes node_modules what package-lock.json says, unless it is that already.
func install(dir string) (node string, err error) {
	node, err = exec.LookPath("node")
	if err != nil {
		return "", err
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", err
	}
	const lockfile = "package-lock.json"
	f, err := os.Open(filepath.Join(dir, lockfile))
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	if err := lock(f); err != nil { // Another run of the tests may be at it.
		return "", fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	want, err := os.ReadFile(f.Name())
	if err != nil {
		return "", err
	}
	done := filepath.Join(dir, "node_modules", ".installed-"+lockfile)
	if have, err := os.ReadFile(done); err == nil && bytes.Equal(have, want) {
		return node, nil
	}
	cmd := exec.Command(npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--engine-strict")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return node, os.WriteFile(done, want, 0o600)
}
