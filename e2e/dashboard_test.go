package e2e

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"go.temporal.io/sdk/client"
	"go.yaml.in/yaml/v3"

	"countersign/internal/slacksim"
	"countersign/workflows"
)

// Where the dashboard, the alert rules, their tests by promtool, and what is said of them are.
const (
	dashboardFile  = "../deploy/grafana/countersign.json"
	alertsFile     = "../deploy/prometheus/alerts.yaml"
	alertTestsFile = "../deploy/prometheus/alerts_test.yaml"
	alertsPage     = "../docs/alerts.md"
)

// used are the metrics that an expression of PromQL names, with the labels that it asks each for: those in its braces. The
// labels by which it groups or matches, which may be of any of them, are apart.
type used struct {
	labels map[string][]string
	by     []string
}

// token is a piece of PromQL: a string, a number or duration, a name, or a sign.
var token = regexp.MustCompile("\"(?:[^\"\\\\]|\\\\.)*\"|'(?:[^'\\\\]|\\\\.)*'|`[^`]*`|#[^\n]*|[0-9][0-9a-zA-Z_.]*|[$]?[a-zA-Z_:][a-zA-Z0-9_:]*|=~|!~|!=|[^\\s]")

// aName is a token that may be the name of a metric, a label, a function or a keyword.
var aName = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)

// metricsIn reads an expression. A name is a metric's where it is no keyword, no function, and in no braces or brackets;
// what follows by, without, on, ignoring and group_… in parentheses are labels.
func metricsIn(expr string) used {
	u := used{labels: make(map[string][]string)}
	all := token.FindAllString(expr, -1)
	at := func(i int) string {
		if i < len(all) {
			return all[i]
		}
		return ""
	}
	until := func(i int, end string) int {
		for i < len(all) && all[i] != end {
			i++
		}
		return i
	}
	metric := ""
	for i := 0; i < len(all); i++ {
		switch name := all[i]; {
		case name == "{":
			end := until(i, "}")
			for n := i; n < end; n++ {
				if aName.MatchString(all[n]) && slices.Contains([]string{"=", "=~", "!=", "!~"}, at(n+1)) {
					u.labels[metric] = append(u.labels[metric], all[n])
				}
			}
			i = end
		case name == "[":
			i = until(i, "]")
		case !aName.MatchString(name):
		case slices.Contains([]string{"by", "without", "on", "ignoring", "group_left", "group_right"}, strings.ToLower(name)):
			if at(i+1) == "(" {
				end := until(i, ")")
				for _, label := range all[i+2 : end] {
					if aName.MatchString(label) {
						u.by = append(u.by, label)
					}
				}
				i = end
			}
		case at(i+1) == "(", slices.Contains([]string{"and", "or", "unless", "atan2", "bool", "offset", "inf", "nan"}, strings.ToLower(name)):
			// A function or an aggregation; "and (" is none either.
		case slices.Contains([]string{"sum", "min", "max", "avg", "count", "topk", "bottomk", "quantile", "group", "stddev", "stdvar"}, name):
			// An aggregation whose by comes first.
		default:
			metric = name
			if u.labels[metric] == nil {
				u.labels[metric] = []string{}
			}
		}
	}
	return u
}

func TestDashboardMetricsIn(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string]used{
		`up`: {labels: map[string][]string{"up": {}}},
		`sum by (job) (rate(a_total{x="1", y=~"b{c}|\"d"}[5m])) / 2e3 > bool 0.5`: {labels: map[string][]string{"a_total": {"x", "y"}}, by: []string{"job"}},
		`sum(rate(a[$__rate_interval])) by (le, job)`:                             {labels: map[string][]string{"a": {}}, by: []string{"le", "job"}},
		`absent(a{p!~"q",} and on (job, instance) b) and on () count(c)`:          {labels: map[string][]string{"a": {"p"}, "b": {}, "c": {}}, by: []string{"job", "instance"}},
		`x unless x offset 1h or vector(0) # not y`:                               {labels: map[string][]string{"x": {}}},
		`a * on (i) group_left (v) b{z='1'}`:                                      {labels: map[string][]string{"a": {}, "b": {"z"}}, by: []string{"i", "v"}},
		`max_over_time(rate(a[5m])[30m:1m]) - time()`:                             {labels: map[string][]string{"a": {}}},
		`count(a{job=~"$job"} == 0) AND (b > Inf)`:                                {labels: map[string][]string{"a": {"job"}, "b": {}}},
	} {
		if diff := cmp.Diff(want, metricsIn(expr), cmp.AllowUnexported(used{})); diff != "" {
			t.Errorf("%s names (-want +got):\n%s", expr, diff)
		}
	}
}

// panel is what is looked at of a panel of the dashboard.
type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ H, W, X, Y int }
	Targets                  []struct{ Expr, LegendFormat string }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Panels                   []panel
}

// dashboard reads the dashboard.
func dashboard(t *testing.T) (d struct {
	UID           string
	SchemaVersion int
	Panels        []panel
	Templating    struct {
		List []struct{ Name, Type, Definition string }
	}
},
) {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// alert is a rule.
type alert struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

// alerts reads the rules.
func alerts(t *testing.T) (all []alert) {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []alert }
	}
	readYAML(t, alertsFile, &file)
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

func readYAML(t *testing.T, file string, v any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(text, v)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// TestDashboardPanels has every panel show something, say what, and stand in nobody's way.
func TestDashboardPanels(t *testing.T) {
	t.Parallel()
	d := dashboard(t)
	if d.UID != "countersign" || d.SchemaVersion < 39 {
		t.Errorf("uid %q, schemaVersion %d, want countersign and 39 or later", d.UID, d.SchemaVersion)
	}
	ids, titles, rows := map[int]bool{}, map[string]bool{}, 0
	for i, p := range d.Panels {
		if ids[p.ID] || titles[p.Title] || p.Title == "" || p.Description == "" {
			t.Errorf("panel %d, %q, has no ID or title of its own, or no description", p.ID, p.Title)
		}
		ids[p.ID], titles[p.Title] = true, true
		g := p.GridPos
		if g.W < 1 || g.H < 1 || g.X < 0 || g.X+g.W > 24 {
			t.Errorf("%q is at %+v, outside of 24 columns", p.Title, g)
		}
		for _, o := range d.Panels[:i] {
			if h := o.GridPos; g.X < h.X+h.W && h.X < g.X+g.W && g.Y < h.Y+h.H && h.Y < g.Y+g.H {
				t.Errorf("%q and %q overlap", o.Title, p.Title)
			}
		}
		if p.Type == "row" {
			rows++
			if i+1 == len(d.Panels) || d.Panels[i+1].Type == "row" || len(p.Panels) > 0 {
				t.Errorf("the row %q is empty, or folded", p.Title)
			}
			continue
		}
		if len(p.Targets) == 0 || p.FieldConfig.Defaults.Unit == "" {
			t.Errorf("%q shows nothing, or has no unit", p.Title)
		}
	}
	if rows < 6 || len(d.Panels) < 30 {
		t.Errorf("%d rows and %d panels were read, want 6 and 30 at the least", rows, len(d.Panels))
	}
}

// TestDashboardAlerts has every alert say how bad it is and what to do, on a page that has no others, and promtool see it
// fire and not fire.
func TestDashboardAlerts(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(alertsPage)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, m := range regexp.MustCompile(`(?m)^## (\S+)$`).FindAllSubmatch(page, -1) {
		told = append(told, string(m[1]))
	}
	var tests struct {
		Tests []struct {
			AlertRuleTest []struct {
				AlertName string `yaml:"alertname"`
				ExpAlerts []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	readYAML(t, alertTestsFile, &tests)
	fires, rests := map[string]bool{}, map[string]bool{}
	for _, test := range tests.Tests {
		for _, a := range test.AlertRuleTest {
			if len(a.ExpAlerts) > 0 {
				fires[a.AlertName] = true
			} else {
				rests[a.AlertName] = true
			}
		}
	}
	var names []string
	for _, a := range alerts(t) {
		names = append(names, a.Alert)
		if s := a.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s has the severity %q", a.Alert, s)
		}
		if a.Annotations["summary"] == "" || a.Annotations["description"] == "" {
			t.Errorf("%s has no summary, or no description", a.Alert)
		}
		if want := "docs/alerts.md#" + strings.ToLower(a.Alert); a.Annotations["runbook"] != want {
			t.Errorf("%s has the runbook %q, want %q", a.Alert, a.Annotations["runbook"], want)
		}
		if !fires[a.Alert] || !rests[a.Alert] {
			t.Errorf("%s is not tested to fire (%t), or not to (%t)", a.Alert, fires[a.Alert], rests[a.Alert])
		}
	}
	if len(names) < 12 {
		t.Errorf("%d alerts were read, want 12 at the least", len(names))
	}
	if diff := cmp.Diff(names, told); diff != "" {
		t.Errorf("docs/alerts.md tells of others than there are, or in another order (-alerts +page):\n%s", diff)
	}
}

// TestDashboardPage has what docs/alerts.md tells to look at be there: its panels on the dashboard, its log lines in the code.
func TestDashboardPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(alertsPage)
	if err != nil {
		t.Fatal(err)
	}
	var titles, code strings.Builder
	for _, p := range dashboard(t).Panels {
		titles.WriteString(p.Title + "\n")
	}
	for _, dir := range []string{"bot", "worker", "workflows", "internal/health"} {
		files, err := filepath.Glob(filepath.Join("..", dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			code.Write(text)
		}
	}
	logged := regexp.MustCompile(`msg=("[^"]*"|\w+)`)
	lines, panels := 0, 0
	for _, m := range regexp.MustCompile("`[^`]*`|\"[^\"]*\"").FindAllString(string(page), -1) {
		if msg := logged.FindStringSubmatch(m); msg != nil {
			lines++
			if !strings.Contains(code.String(), `"`+strings.Trim(msg[1], `"`)+`"`) {
				t.Errorf("nothing logs %s", m)
			}
		} else if m[0] == '"' {
			panels++
			if title := strings.Join(strings.Fields(strings.Trim(m, `"`)), " "); !strings.Contains(titles.String(), title) {
				t.Errorf("the dashboard has no panel %s", m)
			}
		}
	}
	if lines < 8 || panels < 20 {
		t.Errorf("%d log lines and %d panels were found on the page, want 8 and 20 at the least", lines, panels)
	}
}

// TestDashboardMetrics has bot and worker serve every metric, with every label, that the dashboard and the alerts ask for.
func TestDashboardMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t, socketMode, shared.temporal.Address)
	worker := w.start("worker", admin)
	w.waiting()
	bot := w.start("bot", admin)

	approved := w.approval(workflows.Request{Title: "Approved"})
	card := w.card("general", "Approved")
	w.sim.Inject(slacksim.Fault{Method: "chat.update", Times: 1, Status: http.StatusTooManyRequests, RetryAfter: time.Second})
	w.click(w.as("bob", "general"), card, "approve", true)
	w.closed(card, "pproved")
	w.outcome(approved, workflows.Approved)
	w.click(w.as("carol", "general").Force(), card, "approve", true) // Too late: Temporal refuses it.
	refused := w.approval(workflows.Request{Title: "Refused", Channel: "C0NOSUCH"})
	_ = refused.Get(w.ctx, nil)
	// A workflow that the worker cannot run: its task fails, again and again.
	stuck, err := w.temporal.ExecuteWorkflow(w.ctx, client.StartWorkflowOptions{TaskQueue: w.queue}, "Unknown")
	w.must(err)
	w.Cleanup(func() { _ = w.temporal.TerminateWorkflow(t.Context(), stuck.GetID(), stuck.GetRunID(), "") })

	exprs := map[string]string{} // by where they stand
	d := dashboard(t)
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			exprs["panel "+p.Title+": "+target.Expr] = target.Expr
		}
	}
	for _, v := range d.Templating.List {
		if q, ok := strings.CutPrefix(v.Definition, "label_values("); ok {
			comma := strings.LastIndex(q, ",")
			exprs["variable "+v.Name] = "count by (" + strings.Trim(q[comma:], ", )") + ") (" + q[:comma] + ")"
		}
	}
	for _, a := range alerts(t) {
		exprs["alert "+a.Alert] = a.Expr
	}

	var faults []string
	for {
		has := labelsOf(w.scrape(bot), w.scrape(worker))
		named := map[string]bool{}
		faults = nil
		for where, expr := range exprs {
			u := metricsIn(expr)
			if len(u.labels) == 0 {
				faults = append(faults, where+": names no metric")
			}
			var among []string
			for metric, labels := range u.labels {
				named[metric] = true
				if has[metric] == nil {
					faults = append(faults, where+": nothing serves "+metric)
					continue
				}
				for _, label := range labels {
					if !slices.Contains(has[metric], label) {
						faults = append(faults, where+": "+metric+" has no label "+label)
					}
				}
				among = append(among, has[metric]...)
			}
			for _, label := range u.by {
				if !slices.Contains(among, label) {
					faults = append(faults, where+": nothing there has a label "+label)
				}
			}
		}
		if len(named) < 25 {
			t.Fatalf("only %d metrics were found: %q", len(named), slices.Sorted(maps.Keys(named)))
		}
		if len(faults) == 0 {
			t.Logf("%d expressions name %d metrics", len(exprs), len(named))
			return
		}
		if !w.again() {
			slices.Sort(faults)
			t.Fatal(strings.Join(faults, "\n"))
		}
	}
}

// labelsOf are the metrics of all scrapes as Prometheus names them, with their labels, and those that Prometheus gives them.
func labelsOf(scrapes ...map[string]*dto.MetricFamily) map[string][]string {
	has := make(map[string][]string)
	for _, all := range scrapes {
		for name, family := range all {
			names := []string{name}
			switch family.GetType() {
			case dto.MetricType_HISTOGRAM:
				names = []string{name + "_bucket", name + "_sum", name + "_count"}
			case dto.MetricType_SUMMARY:
				names = []string{name, name + "_sum", name + "_count"}
			}
			for _, name := range names {
				has[name] = append(has[name], "job", "instance")
				if strings.HasSuffix(name, "_bucket") {
					has[name] = append(has[name], "le")
				}
				for _, m := range family.GetMetric() {
					for _, l := range m.GetLabel() {
						has[name] = append(has[name], l.GetName())
					}
				}
			}
		}
	}
	return has
}
