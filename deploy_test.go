package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

const chart = "deploy/helm/countersign"

// The tests below hold what is in deploy/ and what releases are made of to the program. They read files and run nothing.

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// find returns what the pattern's first group matches in the file, once for each match, of which there must be one.
func find(t *testing.T, path, pattern string) []string {
	t.Helper()
	var all []string
	for _, m := range regexp.MustCompile(`(?m)`+pattern).FindAllStringSubmatch(read(t, path), -1) {
		all = append(all, m[1])
	}
	if len(all) == 0 {
		t.Fatalf("%s has nothing like %s", path, pattern)
	}
	return all
}

// exampleVariables are the variables of .env.example.
func exampleVariables(t *testing.T) []string {
	t.Helper()
	return find(t, ".env.example", `^(?:# )?([A-Z][A-Z_]+)=`)
}

// chartVariables are the variables that the chart's schema lets a user set under config.
func chartVariables(t *testing.T) []string {
	t.Helper()
	var schema struct {
		Properties struct {
			Config struct {
				Properties           map[string]any
				AdditionalProperties *bool
			}
		}
		AdditionalProperties *bool
	}
	if err := json.Unmarshal([]byte(read(t, chart+"/values.schema.json")), &schema); err != nil {
		t.Fatal(err)
	}
	for _, more := range []*bool{schema.AdditionalProperties, schema.Properties.Config.AdditionalProperties} {
		if more == nil || *more {
			t.Error("the chart's schema takes names that nobody knows")
		}
	}
	return slices.Collect(maps.Keys(schema.Properties.Config.Properties))
}

func TestDeployedVariables(t *testing.T) {
	t.Parallel()
	known := append(exampleVariables(t),
		"GOMEMLIMIT",
		// .env.example names the page that has these.
		"TEMPORAL_TLS", "TEMPORAL_PROFILE", "TEMPORAL_TLS_SERVER_NAME", "TEMPORAL_TLS_CLIENT_CERT_PATH", "TEMPORAL_TLS_CLIENT_KEY_PATH", "TEMPORAL_TLS_SERVER_CA_CERT_PATH",
	)
	check := func(where string, names ...string) {
		for _, name := range names {
			if !slices.Contains(known, name) {
				t.Errorf("%s: nothing reads %s", where, name)
			}
		}
	}
	var inTemplates []string
	for _, file := range []string{"_helpers.tpl", "bot.yaml", "worker.yaml"} {
		names := find(t, chart+"/templates/"+file, `(?:- name: |"key" ")([A-Z][A-Z_]+)`)
		check(file, names...)
		inTemplates = append(inTemplates, names...)
	}
	check("values.schema.json", chartVariables(t)...)
	check("systemd", find(t, "deploy/systemd/countersign@.service", `(?:^Environment=|[^%]\b)(TEMPORAL_[A-Z_]+|GOMEMLIMIT|SLACK_[A-Z_]+)\b`)...)
	compose := composeServices(t)
	for _, service := range []string{"bot", "worker"} {
		check("compose.yaml", slices.Collect(maps.Keys(compose[service].Environment))...)
	}

	elsewhere := []string{
		"ALLOW_OUTSIDE_DECISIONS", // of `countersign decide`
		// Of a worker that Temporal's controller runs: with a plain Deployment no version would be the current one.
		"TEMPORAL_DEPLOYMENT_NAME", "TEMPORAL_WORKER_BUILD_ID",
	}
	for _, name := range exampleVariables(t) {
		if !slices.Contains(slices.Concat(inTemplates, chartVariables(t), elsewhere), name) {
			t.Errorf("the chart does not let anybody set %s: add it to values.schema.json or to a template", name)
		}
	}
}

// A worker receives nothing from Slack.
func TestWorkersGetNoMoreSecretsThanTheyNeed(t *testing.T) {
	t.Parallel()
	worker, common := read(t, chart+"/templates/worker.yaml"), read(t, chart+"/templates/_helpers.tpl")
	compose := composeServices(t)["worker"]
	for _, name := range []string{"SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET"} {
		if strings.Contains(worker+common, name) {
			t.Errorf("the chart's worker gets %s", name)
		}
		if value, ok := compose.Environment[name]; !ok || value != "" {
			t.Errorf("compose's worker gets %s of .env", name)
		}
		if !strings.Contains(read(t, chart+"/templates/bot.yaml"), name) {
			t.Errorf("the chart's bot does not get %s", name)
		}
	}
	for _, file := range files(t, chart+"/templates") {
		if strings.Contains(read(t, file), "kind: Secret") {
			t.Errorf("%s makes a Secret", file)
		}
	}
}

// The program is given the time that docs/operations.md says it needs.
func TestGracePeriods(t *testing.T) {
	t.Parallel()
	const least = 30 * time.Second
	enough := func(where, text string) {
		if n, err := strconv.Atoi(text); err == nil {
			text = strconv.Itoa(n) + "s"
		}
		if d, err := time.ParseDuration(text); err != nil || d < least {
			t.Errorf("%s gives %q to end, less than %v (%v)", where, text, least, err)
		}
	}
	for _, service := range []string{"bot", "worker"} {
		enough("compose: "+service, composeServices(t)[service].StopGracePeriod)
	}
	enough("systemd", find(t, "deploy/systemd/countersign@.service", `^TimeoutStopSec=(.*)$`)[0])
	enough("worker.yaml", find(t, chart+"/templates/worker.yaml", `terminationGracePeriodSeconds: (\d+)$`)[0])
	bot := chart + "/templates/bot.yaml"
	enough("bot.yaml, socket", find(t, bot, `terminationGracePeriodSeconds: {{ if \$socket }}(\d+)`)[0])
	all, _ := strconv.Atoi(find(t, bot, `terminationGracePeriodSeconds: .*{{ else }}(\d+){{ end }}$`)[0])
	slept, _ := strconv.Atoi(find(t, bot, `sleep: {seconds: (\d+)}$`)[0])
	enough("bot.yaml, http, after the hook", strconv.Itoa(all-slept))
}

func TestProbedPaths(t *testing.T) {
	t.Parallel()
	served := find(t, "internal/health/health.go", `"GET (/[a-z]+)"`)
	for _, file := range files(t, chart+"/templates") {
		for _, m := range regexp.MustCompile(`(?m)(?:httpGet: {path: |      path: )(/[a-z]+)[,\n]`).FindAllStringSubmatch(read(t, file), -1) {
			if !slices.Contains(served, m[1]) {
				t.Errorf("%s asks for %s, which internal/health does not serve: %v", file, m[1], served)
			}
		}
	}
	for _, probe := range []string{"livenessProbe", "readinessProbe"} {
		for _, component := range []string{"bot", "worker"} {
			if !strings.Contains(read(t, chart+"/templates/_helpers.tpl")+read(t, chart+"/templates/"+component+".yaml"), probe+":") {
				t.Errorf("%s has no %s", component, probe)
			}
		}
	}
	if path := find(t, chart+"/templates/http.yaml", `- path: (\S+)$`); len(path) != 1 || path[0] != "/slack/events" {
		t.Errorf("the Ingress lets %v in", path)
	}
}

// The limit of memory is above what Go is told to stay below, or the process is killed before it collects garbage.
func TestMemoryLimits(t *testing.T) {
	t.Parallel()
	type process struct {
		GoMemLimit string `yaml:"goMemLimit"`
		Resources  struct{ Requests, Limits map[string]string }
	}
	var values struct{ Bot, Worker process }
	if err := yaml.Unmarshal([]byte(read(t, chart+"/values.yaml")), &values); err != nil {
		t.Fatal(err)
	}
	// in counts all units as powers of two, as systemd and Compose do.
	in := func(amount string) int {
		n, err := strconv.Atoi(strings.TrimRight(amount, "MiB"))
		if err != nil || !strings.Contains(amount, "M") {
			t.Fatalf("not an amount in M: %q", amount)
		}
		return n
	}
	below := func(where, goes, limit string) {
		if in(goes) >= in(limit) {
			t.Errorf("%s: GOMEMLIMIT %s is not below %s", where, goes, limit)
		}
	}
	below("chart, bot", values.Bot.GoMemLimit, values.Bot.Resources.Limits["memory"])
	below("chart, worker", values.Worker.GoMemLimit, values.Worker.Resources.Limits["memory"])
	for name, service := range composeServices(t) {
		if limit := service.Deploy.Resources.Limits.Memory; limit != "" {
			below("compose, "+name, service.Environment["GOMEMLIMIT"], limit)
		}
	}
	const unit = "deploy/systemd/countersign@.service"
	below("systemd", find(t, unit, `GOMEMLIMIT=(\S+)$`)[0], find(t, unit, `^MemoryMax=(\S+)$`)[0])
}

func TestBuilds(t *testing.T) {
	t.Parallel()
	minor := regexp.MustCompile(`^\d+\.\d+`)
	want := minor.FindString(find(t, "go.mod", `^go (\S+)$`)[0])
	for _, got := range find(t, "deploy/Dockerfile", `golang:(\d[\d.]*)`) {
		if minor.FindString(got) != want {
			t.Errorf("the Dockerfile builds with Go %s, and go.mod wants %s", got, want)
		}
	}
	for _, file := range []string{"deploy/Dockerfile", ".goreleaser.yaml", "Makefile"} {
		for _, part := range []string{"CGO_ENABLED=0", "-trimpath", "-s -w", "-X main.stamp="} {
			if !strings.Contains(read(t, file), part) {
				t.Errorf("%s builds without %s", file, part)
			}
		}
	}
	for _, workflow := range []string{".github/workflows/ci.yml", ".github/workflows/release.yml"} {
		if !strings.Contains(read(t, workflow), "run: make check test\n") {
			t.Errorf("%s does not run make check test", workflow)
		}
	}
	// What .dockerignore leaves out cannot be built.
	sent := strings.Fields(read(t, ".dockerignore"))
	for _, s := range sources(t) {
		top, _, _ := strings.Cut(s.pkg, "/")
		if top != "." && top != "e2e" && top != "examples" && !slices.Contains(sent, "!/"+top) {
			t.Errorf(".dockerignore does not let %s through", top)
		}
	}
}

// service is what the tests read of a service in compose.yaml.
type service struct {
	Environment     map[string]string
	StopGracePeriod string `yaml:"stop_grace_period"`
	Deploy          struct {
		Resources struct{ Limits struct{ Memory string } }
	}
}

func composeServices(t *testing.T) map[string]service {
	t.Helper()
	var file struct{ Services map[string]service }
	if err := yaml.Unmarshal([]byte(read(t, "deploy/compose.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	return file.Services
}

// files are all those under the folder.
func files(t *testing.T, folder string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, filepath.ToSlash(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestDeployedYAML(t *testing.T) {
	t.Parallel()
	read := 0
	for _, file := range slices.Concat(files(t, "deploy"), files(t, ".github"), []string{".goreleaser.yaml"}) {
		ext := filepath.Ext(file)
		// Templates are no YAML yet.
		if ext != ".yaml" && ext != ".yml" || strings.HasPrefix(file, chart+"/templates/") {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		documents := yaml.NewDecoder(bytes.NewReader(b))
		for err == nil {
			err = documents.Decode(new(any))
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", file, err)
		}
		read++
	}
	if read < 9 {
		t.Errorf("only %d files were read", read)
	}
}
