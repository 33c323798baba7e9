package devserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"
)

// Version is the version of the Temporal CLI that is fetched. Later ones cannot be built with go install.
const Version = "v1.5.1"

const (
	source     = "github.com/temporalio/cli/cmd/temporal@" + Version
	answerIn   = 20 * time.Second // for a download to begin
	downloadIn = 10 * time.Minute // for all of it
	lifeSign   = 15 * time.Second // between two lines of progress
	lockPoll   = 200 * time.Millisecond
)

// Path returns the path of the Temporal CLI: the one on PATH, else the one that was fetched before, else one that it
// downloads, else one that it builds with the Go toolchain. What it fetches stays in the user's cache. It tells log,
// which may be nil, what it does that takes long. Processes that call it at once fetch once.
func Path(ctx context.Context, log io.Writer) (string, error) {
	if log == nil {
		log = io.Discard
	}
	return (&fetcher{log: log, download: download}).path(ctx)
}

// fetcher gets the CLI.
type fetcher struct {
	log      io.Writer
	download func(ctx context.Context, dir string) error // puts the CLI into dir, under any name
}

func (f *fetcher) path(ctx context.Context) (string, error) {
	if path, err := exec.LookPath("temporal"); err == nil {
		return path, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("keep the Temporal CLI: %w", err)
	}
	dir := filepath.Join(cache, "countersign", "temporal-"+Version)
	path := filepath.Join(dir, executable("temporal"))
	if isFile(path) {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("keep the Temporal CLI: %w", err)
	}
	unlock, err := f.lock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return "", fmt.Errorf("wait for the Temporal CLI: %w", err)
	}
	defer unlock()
	if isFile(path) { // another process fetched it meanwhile
		return path, nil
	}
	// Beside its place, so that it gets there in one step, whole.
	fresh, err := os.MkdirTemp(dir, "new-")
	if err != nil {
		return "", fmt.Errorf("keep the Temporal CLI: %w", err)
	}
	defer os.RemoveAll(fresh)
	fetched, err := f.fetch(ctx, fresh)
	if err != nil {
		return "", err
	}
	if err := os.Rename(fetched, path); err != nil {
		return "", fmt.Errorf("keep the Temporal CLI: %w", err)
	}
	return path, nil
}

// fetch puts the CLI somewhere under dir.
func (f *fetcher) fetch(ctx context.Context, dir string) (string, error) {
	downloaded, built := filepath.Join(dir, "downloaded"), filepath.Join(dir, "built")
	for _, d := range []string{downloaded, built} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return "", fmt.Errorf("keep the Temporal CLI: %w", err)
		}
	}
	fmt.Fprintf(f.log, "downloading the Temporal CLI %s, once\n", Version)
	path, noDownload := f.downloadTo(ctx, downloaded)
	if noDownload == nil {
		return path, nil
	}
	if ctx.Err() != nil {
		return "", fmt.Errorf("download the Temporal CLI: %w", context.Cause(ctx))
	}
	path, noBuild := f.build(ctx, built)
	if noBuild == nil {
		return path, nil
	}
	if ctx.Err() != nil {
		return "", fmt.Errorf("build the Temporal CLI: %w", context.Cause(ctx))
	}
	return "", fmt.Errorf("there is no Temporal CLI: install it (https://docs.temporal.io/cli) or name a running server with --temporal; "+
		"it could not be downloaded (%w) nor built (%w)", noDownload, noBuild)
}

// downloadTo downloads into dir, and gives up if nothing has come after a while.
func (f *fetcher) downloadTo(ctx context.Context, dir string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, downloadIn, fmt.Errorf("not done in %v", downloadIn))
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	begun := time.AfterFunc(answerIn, func() {
		// The file is made when the answer has come.
		if entries, err := os.ReadDir(dir); err == nil && len(entries) == 0 {
			giveUp(fmt.Errorf("no answer in %v", answerIn))
		}
	})
	defer begun.Stop()
	if err := f.alive("downloading", func() error { return f.download(ctx, dir) }); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	if len(entries) != 1 {
		return "", errors.New("nothing came")
	}
	return filepath.Join(dir, entries[0].Name()), nil
}

// download lets the SDK download the CLI into dir. The SDK would then start a server; it is given an address that
// it refuses after the download and before the start, since a server of the SDK's cannot be killed or started again.
func download(ctx context.Context, dir string) error {
	_, refused := testsuite.StartDevServer(ctx, testsuite.DevServerOptions{
		CachedDownload: testsuite.CachedDownload{Version: Version, DestDir: dir},
		ClientOptions: &client.Options{
			HostPort: "download only",
			Logger:   log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
		},
	})
	if isFile(filepath.Join(dir, executable("temporal-cli-"+Version))) {
		return nil
	}
	return refused
}

// build builds the CLI into dir with the go command.
func (f *fetcher) build(ctx context.Context, dir string) (string, error) {
	tool, err := exec.LookPath("go")
	if err != nil {
		return "", err
	}
	fmt.Fprintf(f.log, "no download: building the Temporal CLI with %s, once; this takes some minutes\n", tool)
	began := time.Now()
	output := new(tail)
	cmd := exec.Command(tool, "install", source) //nolint:noctx // ended with its children below
	cmd.Dir = dir
	// For this machine, and without the need of a C compiler.
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOOS=", "GOARCH=", "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = output, output
	p, err := launch(cmd)
	if err != nil {
		return "", err
	}
	err = f.alive("building", func() error {
		select {
		case <-p.done:
			return p.err
		case <-ctx.Done():
			p.stop(stopIn)
			return context.Cause(ctx)
		}
	})
	if err != nil {
		return "", fmt.Errorf("go install %s: %w%s", source, err, output.suffix())
	}
	path := filepath.Join(dir, executable("temporal"))
	if !isFile(path) {
		return "", fmt.Errorf("go install %s: nothing was built", source)
	}
	fmt.Fprintf(f.log, "built the Temporal CLI in %v\n", time.Since(began).Round(time.Second))
	return path, nil
}

// lock waits for the lock on the file at path.
func (f *fetcher) lock(ctx context.Context, path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	ok, err := tryLock(file)
	if err == nil && !ok {
		fmt.Fprintln(f.log, "another process fetches the Temporal CLI: waiting for it")
		err = f.alive("waiting", func() error {
			tick := time.NewTicker(lockPoll)
			defer tick.Stop()
			for {
				if ok, err := tryLock(file); ok || err != nil {
					return err
				}
				select {
				case <-ctx.Done():
					return context.Cause(ctx)
				case <-tick.C:
				}
			}
		})
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return func() { _ = file.Close() }, nil
}

// alive calls do and says from time to time that it is still at it.
func (f *fetcher) alive(what string, do func() error) error {
	ended := make(chan struct{})
	var said sync.WaitGroup
	said.Go(func() {
		tick := time.NewTicker(lifeSign)
		defer tick.Stop()
		for began := time.Now(); ; {
			select {
			case <-ended:
				return
			case now := <-tick.C:
				fmt.Fprintf(f.log, "still %s: %v\n", what, now.Sub(began).Round(time.Second))
			}
		}
	})
	err := do()
	close(ended)
	said.Wait()
	return err
}

func executable(name string) string {
	if runtime.GOOS == "windows" {
		return name + ".exe"
	}
	return name
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
