package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// version says what this binary was built from, as the Go toolchain has recorded it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "countersign, built without build information\n"
	}
	setting := make(map[string]string)
	for _, s := range info.Settings {
		setting[s.Key] = s.Value
	}
	var b strings.Builder
	fmt.Fprintf(&b, "countersign %s\n", info.Main.Version)
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
