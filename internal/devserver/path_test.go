//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package devserver

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// buildsItself is a go command that installs itself as the CLI, and leaves a line beside it for each time.
const buildsItself = `#!/bin/sh
[ "$*" = "install github.com/temporalio/cli/cmd/temporal@v1.5.1" ] || exit 3
echo built >> "$BUILDS"
while read -r line; do echo "$line"; done < "$0" > "$GOBIN/temporal"
`

func noDownload(context.Context, string) error { return errors.New("no network") }

func TestPathOrder(t *testing.T) {
	for name, c := range map[string]struct {
		onPath, cached bool
		download       func(context.Context, string) error
		goTool         string
		log            string
		err            string
	}{
		"on PATH":              {onPath: true, cached: true, download: noDownload},
		"fetched before":       {cached: true, download: noDownload, goTool: buildsItself},
		"downloaded":           {download: downloads, goTool: buildsItself, log: "downloading the Temporal CLI v1.5.1, once\n"},
		"built":                {download: noDownload, goTool: buildsItself, log: "; this takes some minutes\n"},
		"nothing comes":        {download: func(context.Context, string) error { return nil }, goTool: buildsItself},
		"no network, no go":    {download: noDownload, err: "install it (https://docs.temporal.io/cli) or name a running server with --temporal; it could not be downloaded (no network)"},
		"no network, go fails": {download: noDownload, goTool: "#!/bin/sh\necho no route to proxy >&2; exit 1\n", err: "exit status 1: no route to proxy"},
		"go builds nothing":    {download: noDownload, goTool: "#!/bin/sh\n", err: "nothing was built"},
	} {
		t.Run(name, func(t *testing.T) {
			bin, cache := environment(t, c.goTool)
			want := filepath.Join(cache, "temporal")
			if c.onPath {
				want = filepath.Join(bin, "temporal")
				script(t, want, "#!/bin/sh\n")
			}
			if c.cached {
				script(t, filepath.Join(cache, "temporal"), "#!/bin/sh\n")
			}
			var log bytes.Buffer
			got, err := (&fetcher{log: &log, download: c.download}).path(t.Context())
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %q", err, c.err)
				}
			} else if err != nil || got != want || !isFile(got) {
				t.Errorf("got %q, %v; want %q", got, err, want)
			}
			if !strings.Contains(log.String(), c.log) || (c.onPath || c.cached) && log.Len() > 0 {
				t.Errorf("log is %q, want %q", &log, c.log)
			}
			left, err := filepath.Glob(filepath.Join(cache, "new-*"))
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// downloads makes the file as the SDK does.
func downloads(_ context.Context, dir string) error {
	return os.WriteFile(filepath.Join(dir, "temporal-cli-v1.5.1"), []byte("#!/bin/sh\n"), 0o755)
}

func TestManyBuildOnce(t *testing.T) {
	environment(t, buildsItself)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := (&fetcher{log: io.Discard, download: noDownload}).path(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	builds, err := os.ReadFile(os.Getenv("BUILDS"))
	if string(builds) != "built\n" || err != nil {
		t.Errorf("builds: %q, %v", builds, err)
	}
}

// hangs is a command that, with its child, holds the fifo open for as long as it lives.
const hangs = "#!/bin/sh\nexec 3> \"$FIFO\"\n/bin/sleep 1000 &\necho started >&3\nwait\n"

func TestCancelEndsTheBuild(t *testing.T) {
	environment(t, hangs)
	cancelled(t, func(ctx context.Context) error {
		_, err := (&fetcher{log: io.Discard, download: noDownload}).path(ctx)
		return err
	})
}

func TestCancelEndsTheServer(t *testing.T) {
	bin, _ := environment(t, "")
	script(t, filepath.Join(bin, "temporal"), hangs)
	cancelled(t, func(ctx context.Context) error {
		_, err := Start(ctx, Options{UI: true})
		return err
	})
}

// cancelled calls do, cancels it when the command that hangs has started, and expects the cause as the error and
// nothing left of the command.
func cancelled(t *testing.T, do func(context.Context) error) {
	t.Helper()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FIFO", fifo)
	ctx, cancel := context.WithCancelCause(t.Context())
	failed := make(chan error, 1)
	go func() { failed <- do(ctx) }()
	file, err := os.Open(fifo)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	alive := bufio.NewReader(file)
	if line, err := alive.ReadString('\n'); err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	gone := errors.New("the person has gone")
	cancel(gone)
	if rest, err := io.ReadAll(alive); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
	if err := <-failed; !errors.Is(err, gone) {
		t.Errorf("error %v", err)
	}
}

func TestCancelEndsTheWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	f := &fetcher{log: io.Discard}
	unlock, err := f.lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var log bytes.Buffer
	waits := &fetcher{log: &onWrite{w: &log, do: cancel}}
	if _, err := waits.lock(ctx, path); !errors.Is(err, context.Canceled) || !strings.Contains(log.String(), "waiting") {
		t.Errorf("error %v, log %q", err, &log)
	}
	unlock()
	if unlock, err = f.lock(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	unlock()
}

// TestDownloadStartsNothing holds the SDK to what download relies on: that it has the file before it looks at the
// address, and looks at the address before it starts a server.
func TestDownloadStartsNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script(t, filepath.Join(dir, "temporal-cli-v1.5.1"), "#!/bin/sh\necho started > \"$0.log\"\n")
	if err := download(t.Context(), dir); err != nil {
		t.Error(err)
	}
	if isFile(filepath.Join(dir, "temporal-cli-v1.5.1.log")) {
		t.Error("started a server")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := download(ctx, t.TempDir()); !errors.Is(err, context.Canceled) {
		t.Errorf("download that is cancelled: %v", err)
	}
}

func TestDownloadThatHangs(t *testing.T) {
	t.Parallel()
	silent := func(ctx context.Context, _ string) error {
		<-ctx.Done()
		return ctx.Err()
	}
	crawls := func(ctx context.Context, dir string) error {
		if err := os.WriteFile(filepath.Join(dir, "temporal-cli-downloading-1"), nil, 0o600); err != nil {
			return err
		}
		return silent(ctx, dir)
	}
	for name, c := range map[string]struct {
		download func(context.Context, string) error
		want     string
		after    time.Duration
		signs    int
	}{
		"no answer":  {silent, "no answer in 20s", answerIn, 1},
		"never done": {crawls, "not done in 10m0s", downloadIn, 40},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				began := time.Now()
				_, err := (&fetcher{log: &log, download: c.download}).downloadTo(t.Context(), dir)
				if err == nil || err.Error() != c.want || time.Since(began) != c.after {
					t.Errorf("error %v after %v, want %q after %v", err, time.Since(began), c.want, c.after)
				}
				if n := strings.Count(log.String(), "still downloading: "); n < c.signs-1 || n > c.signs {
					t.Errorf("%d signs of life, want %d:\n%s", n, c.signs, &log)
				}
			})
		})
	}
}

// TestChildEndsWithParent kills a process that has started a child. Linux only: elsewhere the child goes on.
func TestChildEndsWithParent(t *testing.T) {
	if os.Getenv("DEVSERVER_PARENT") != "" {
		parent(t)
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("children outlive their parent on " + runtime.GOOS)
	}
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChildEndsWithParent$")
	cmd.Env = append(os.Environ(), "DEVSERVER_PARENT=1")
	cmd.ExtraFiles = []*os.File{w}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	alive := bufio.NewReader(r)
	if line, err := alive.ReadString('\n'); err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if rest, err := io.ReadAll(alive); err != nil || len(rest) > 0 { // ends when nobody holds the pipe open
		t.Errorf("%q, %v", rest, err)
	}
}

// parent starts a child that holds the pipe open, and stays.
func parent(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", "echo alive >&3; exec /bin/sleep 1000")
	cmd.ExtraFiles = []*os.File{os.NewFile(3, "pipe")}
	p, err := launch(cmd)
	if err != nil {
		t.Fatal(err)
	}
	<-p.done
}

// environment sets PATH to a folder with nothing but a go command, or without one if its text is empty, and gives
// the cache a folder of its own. It returns the folder on PATH, and the one in which the CLI is kept.
func environment(t *testing.T, goTool string) (bin, cache string) {
	t.Helper()
	root := t.TempDir()
	bin = filepath.Join(root, "bin")
	t.Setenv("PATH", bin)
	t.Setenv("HOME", root) // where Macs have the cache
	t.Setenv("XDG_CACHE_HOME", filepath.Join(root, "cache"))
	t.Setenv("BUILDS", filepath.Join(root, "builds"))
	if goTool != "" {
		script(t, filepath.Join(bin, "go"), goTool)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return bin, filepath.Join(cache, "countersign", "temporal-v1.5.1")
}

func script(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// onWrite does something at the first write.
type onWrite struct {
	w    io.Writer
	do   func()
	once sync.Once
}

func (o *onWrite) Write(b []byte) (int, error) {
	o.once.Do(o.do)
	return o.w.Write(b)
}
