package bolt

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

// toolchain is what the machine has to have; the rest comes from npm.
type toolchain struct {
	node    string
	missing error
	err     error
}

// tools returns the path of node, with all packages of package-lock.json beside the test. A machine without node skips
// the test; in CI, where the variable CI is set, it must have it.
func tools(t *testing.T) toolchain {
	t.Helper()
	all := install()
	if ci := os.Getenv("CI"); all.missing != nil && (ci == "" || ci == "false") {
		t.Skipf("Slack's Bolt is not tested: %v", all.missing)
	}
	if err := errors.Join(all.missing, all.err); err != nil {
		t.Fatalf("Slack's Bolt cannot be tested: %v", err)
	}
	return all
}

// install gets the packages, once.
var install = sync.OnceValue(func() toolchain {
	var all toolchain
	var npm string
	if all.node, all.missing = exec.LookPath("node"); all.missing == nil {
		npm, all.missing = exec.LookPath("npm")
	}
	if all.missing == nil {
		all.err = installPackages(npm)
	}
	return all
})

// installPackages makes node_modules what package-lock.json says, unless it is that already.
func installPackages(npm string) error {
	const lockfile = "package-lock.json"
	want, err := os.ReadFile(lockfile)
	if err != nil {
		return err
	}
	f, err := os.Open(lockfile)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := lock(f); err != nil { // Another run of this test may be at it.
		return fmt.Errorf("lock %s: %w", lockfile, err)
	}
	done := filepath.Join("node_modules", ".installed-"+lockfile)
	if have, err := os.ReadFile(done); err == nil && bytes.Equal(have, want) {
		return nil
	}
	cmd := exec.Command(npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--engine-strict")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return os.WriteFile(done, want, 0o600)
}
