package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// stamp is the version that the build gives this binary: -ldflags "-X main.stamp=v1.2.3". Empty means that it gives none.
var stamp = ""

// release is the version of this binary: its stamp, or else what the Go toolchain has recorded.
func release() string {
	if stamp != "" {
		return stamp
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "(unknown)"
}

// version says what this binary was built from, as the Go toolchain has recorded it, and its stamp.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return fmt.Sprintf("countersign %s, built without build information\n", release())
	}
	setting := make(map[string]string)
	for _, s := range info.Settings {
		setting[s.Key] = s.Value
	}
	var b strings.Builder
	fmt.Fprintf(&b, "countersign %s\n", release())
	if revision := setting["vcs.revision"]; revision != "" {
		if setting["vcs.modified"] == "true" {
			revision += ", with changes"
		}
		fmt.Fprintf(&b, "revision    %s\n", revision)
		fmt.Fprintf(&b, "of          %s\n", setting["vcs.time"])
	}
	fmt.Fprintf(&b, "built with  %s for %s/%s\n", info.GoVersion, runtime.GOOS, runtime.GOARCH)
	for _, m := range info.Deps {
		if m.Path == "go.temporal.io/sdk" || m.Path == "github.com/slack-go/slack" {
			fmt.Fprintf(&b, "with        %s %s\n", m.Path, m.Version)
		}
	}
	return b.String()
}
