package e2e

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	temporalotel "go.temporal.io/sdk/contrib/opentelemetry"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/proto"

	"countersign/internal/slacksim"
	"countersign/workflows"
)

// collector takes spans in by OTLP, as a tracing backend does.
type collector struct {
	*httptest.Server
	mu      sync.Mutex
	spans   []*tracepb.Span
	said    string // all that came, to be searched
	changed chan struct{}
}

func newCollector(t *testing.T) *collector {
	c := &collector{changed: make(chan struct{})}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var req collectorpb.ExportTraceServiceRequest
		if r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &req) != nil {
			t.Errorf("the collector got %s with %q", r.URL.Path, body)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.said += string(body)
		for _, rs := range req.GetResourceSpans() {
			for _, ss := range rs.GetScopeSpans() {
				c.spans = append(c.spans, ss.GetSpans()...)
			}
		}
		close(c.changed)
		c.changed = make(chan struct{})
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	return c
}

// spans waits until there is a span of each of the names about the workflow, and returns the first of each.
func (w *world) spans(c *collector, workflowID string, names ...string) map[string]*tracepb.Span {
	w.Helper()
	for {
		found := map[string]*tracepb.Span{}
		c.mu.Lock()
		all, changed := slices.Clone(c.spans), c.changed
		c.mu.Unlock()
		for _, s := range all {
			about := slices.ContainsFunc(s.GetAttributes(), func(a *commonpb.KeyValue) bool {
				return a.GetKey() == "temporalWorkflowID" && a.GetValue().GetStringValue() == workflowID
			})
			if about && found[s.GetName()] == nil {
				found[s.GetName()] = s
			}
		}
		missing := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return found[name] != nil })
		if len(missing) == 0 {
			return found
		}
		select {
		case <-changed:
		case <-w.ctx.Done():
			w.Fatalf("no spans %q about %s, only %v", missing, workflowID, found)
		}
	}
}

// TestOneTrace has a request traced from its caller to the closing of its card, by three processes, of which one takes the
// workflow over from another in the middle.
func TestOneTrace(t *testing.T) {
	t.Parallel()
	steps := []string{"RunWorkflow:Approval", "RunActivity:PostCard", "Decide:approved", "CompleteActivity", "RunActivity:CloseCard"}
	for name, traced := range map[string]bool{"by its caller": true, "from the start": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCollector(t)
			w := newWorld(t, socketMode, shared.temporal.Address,
				"OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL, "OTEL_METRICS_EXPORTER=none", "OTEL_BSP_SCHEDULE_DELAY=50")
			w.start("bot")
			first := w.start("worker")
			r := workflows.Request{Title: "Deploy v2", Channel: w.sim.Channel("general").ID, Text: "the secret of the text"}
			id, trace := "traced-"+w.queue, ""
			if traced {
				trace = w.callTraced(id, r)
			} else {
				_, err := w.temporal.ExecuteWorkflow(w.ctx, client.StartWorkflowOptions{ID: id, TaskQueue: w.queue}, workflows.Approval, r)
				w.must(err)
			}
			card := w.card("general", "Deploy v2")
			w.stop(first)
			w.start("worker")
			w.click(w.as("bob", "general"), card, "approve", true)
			w.closed(card, "pproved")

			found := w.spans(c, id, steps...)
			if trace == "" {
				trace = hex.EncodeToString(found["RunActivity:PostCard"].GetTraceId())
			}
			for _, step := range steps {
				if got := hex.EncodeToString(found[step].GetTraceId()); got != trace {
					t.Errorf("%s is in the trace %s, want %s", step, got, trace)
				}
				if s := found[step].GetStatus(); s.GetCode() == tracepb.Status_STATUS_CODE_ERROR {
					t.Errorf("%s has the error %q", step, s.GetMessage())
				}
			}
			for child, parent := range map[string]string{"Decide:approved": "RunActivity:PostCard", "CompleteActivity": "Decide:approved"} {
				if got, want := hex.EncodeToString(found[child].GetParentSpanId()), hex.EncodeToString(found[parent].GetSpanId()); got != want {
					t.Errorf("the parent of %s is %s, want %s, which is %s", child, got, parent, want)
				}
			}
			// An activity that waits has not failed.
			if s := w.spans(c, id, "RunActivity:AwaitDecision")["RunActivity:AwaitDecision"]; s.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR || len(s.GetEvents()) > 0 {
				t.Errorf("an activity that stays open has %v and %v", s.GetStatus(), s.GetEvents())
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			if strings.Contains(c.said, "the secret") || strings.Contains(c.said, "Deploy v2") || strings.Contains(c.said, slacksim.DefaultBotToken) {
				t.Error("a trace has what the request says, or a token")
			}
		})
	}
}

// callTraced asks as a child of a workflow of another program, which traces, and returns the trace's ID.
func (w *world) callTraced(id string, r workflows.Request) (trace string) {
	w.Helper()
	mine := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(mine))
	i, err := temporalotel.NewTracingInterceptor(temporalotel.TracerOptions{Tracer: provider.Tracer("caller")})
	w.must(err)
	c, err := client.NewLazyClient(client.Options{HostPort: w.variable("TEMPORAL_ADDRESS"), Interceptors: []interceptor.ClientInterceptor{i}})
	w.must(err)
	w.Cleanup(c.Close)
	caller := worker.New(c, w.queue+"-caller", worker.Options{})
	caller.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
		ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: id, TaskQueue: w.queue})
		return workflow.ExecuteChildWorkflow(ctx, workflows.Approval, r).Get(ctx, nil)
	}, workflow.RegisterOptions{Name: "Deploy"})
	w.must(caller.Start())
	w.Cleanup(caller.Stop)
	ctx, root := provider.Tracer("caller").Start(w.ctx, "deploy")
	root.End()
	_, err = c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{TaskQueue: w.queue + "-caller"}, "Deploy")
	w.must(err)
	return root.SpanContext().TraceID().String()
}

// scrape reads the metrics of a process.
func (w *world) scrape(p *process) map[string]*dto.MetricFamily {
	w.Helper()
	r, err := http.NewRequestWithContext(w.ctx, http.MethodGet, w.admin(p)+"/metrics", http.NoBody)
	w.must(err)
	resp, err := http.DefaultClient.Do(r)
	w.must(err)
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	all, err := parser.TextToMetricFamilies(resp.Body)
	w.must(err)
	return all
}

// value is that of a metric: of a histogram how often it was recorded. Labels that are not given may have any value.
func value(all map[string]*dto.MetricFamily, name string, labels prometheus.Labels) (sum float64) {
	for _, m := range all[name].GetMetric() {
		fits := 0
		for _, l := range m.GetLabel() {
			if want, ok := labels[l.GetName()]; ok && want == l.GetValue() {
				fits++
			}
		}
		if fits == len(labels) {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// waiting asks for an approval, and returns once Temporal lists it: a bot counts the open ones when it starts, and then a
// minute later only.
func (w *world) waiting() client.WorkflowRun {
	w.Helper()
	run := w.approval(workflows.Request{Title: "Waits"})
	w.card("general", "Waits")
	for w.again() {
		all, err := w.temporal.ListWorkflow(w.ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Namespace: client.DefaultNamespace, Query: "TaskQueue = '" + w.queue + "'",
		})
		w.must(err)
		if len(all.GetExecutions()) == 1 && all.GetExecutions()[0].GetMemo().GetFields()[workflows.MemoRequests] != nil {
			return run
		}
	}
	w.Fatal("Temporal does not list the request")
	return nil
}

// TestMetrics has each metric count what happened.
func TestMetrics(t *testing.T) {
	bothModes(t, func(w *world) {
		worker := w.start("worker", admin)
		waits := w.waiting()
		bot := w.start("bot", admin)
		expect := func(p *process, name string, labels prometheus.Labels, want float64) {
			w.Helper()
			for {
				all := w.scrape(p)
				got := value(all, name, labels)
				if got == want {
					return
				}
				if !w.again() {
					w.Fatalf("%s%v is %v, want %v, in %v", name, labels, got, want, all[name].GetMetric())
				}
			}
		}
		general := w.sim.Channel("general").ID
		expect(bot, "countersign_approvals_open", prometheus.Labels{"channel": general}, 1)

		approved := w.approval(workflows.Request{Title: "Approved"})
		card := w.card("general", "Approved")
		w.click(w.as("dave", "general").Force(), card, "approve", true) // may not
		w.sim.Inject(slacksim.Fault{Method: "chat.update", Times: 1, Status: http.StatusTooManyRequests, RetryAfter: time.Second})
		w.click(w.as("bob", "general"), card, "approve", true)
		w.closed(card, "pproved")
		w.outcome(approved, workflows.Approved)
		w.click(w.as("carol", "general").Force(), card, "approve", true) // too late
		before := value(w.scrape(bot), "countersign_clicks_total", prometheus.Labels{"result": "recorded"})
		w.click(w.as("bob", "general").Force(), card, "approve", true) // once more: it decides nothing
		expect(bot, "countersign_clicks_total", prometheus.Labels{"result": "recorded"}, before)
		expect(bot, "countersign_clicks_total", prometheus.Labels{"result": "repeated"}, 1)
		rejected := w.approval(workflows.Request{Title: "Rejected", RejectReason: workflows.Off})
		card = w.card("general", "Rejected")
		w.click(w.as("carol", "general"), card, "reject", true)
		w.closed(card, "ejected")
		_ = rejected.Get(w.ctx, nil)

		results := func(result string) prometheus.Labels { return prometheus.Labels{"result": result} }
		outcomes := func(outcome workflows.Outcome) prometheus.Labels {
			return prometheus.Labels{"outcome": string(outcome)}
		}
		slack := func(method string) prometheus.Labels { return prometheus.Labels{"method": method, "result": "ok"} }
		// On a busy machine somebody may have had to click again.
		recorded := value(w.scrape(bot), "countersign_clicks_total", results("recorded"))
		if recorded < 2 {
			w.Errorf("%v clicks were recorded, want 2 at the least", recorded)
		}
		expect(bot, "countersign_click_commit_duration_seconds", nil, recorded)
		for _, result := range []string{"refused", "too_late"} {
			if value(w.scrape(bot), "countersign_clicks_total", results(result)) < 1 {
				w.Errorf("no click is %s", result)
			}
		}
		expect(worker, "countersign_outcomes_total", outcomes(workflows.Approved), 1)
		expect(worker, "countersign_outcomes_total", outcomes(workflows.Rejected), 1)
		expect(worker, "countersign_outcomes_total", nil, 2)
		expect(worker, "countersign_decision_wait_seconds", outcomes(workflows.Approved), 1)
		expect(worker, "countersign_decision_wait_seconds", nil, 2)
		expect(worker, "countersign_card_close_duration_seconds", outcomes(workflows.Approved), 1)
		expect(worker, "countersign_card_close_duration_seconds", nil, 2)
		expect(worker, "countersign_slack_call_duration_seconds", slack("chat.postMessage"), float64(len(w.sim.Calls("chat.postMessage"))))
		expect(worker, "countersign_slack_call_duration_seconds", prometheus.Labels{"method": "chat.update", "result": "limited"}, 1)
		expect(worker, "countersign_ready", prometheus.Labels{"part": "slack"}, 1)
		if w.http {
			expect(bot, "countersign_sockets_open", nil, 0)
		} else {
			expect(bot, "countersign_sockets_open", nil, 1)
			expect(bot, "countersign_sockets_opened_total", nil, 1)
		}
		w.must(w.temporal.CancelWorkflow(w.ctx, waits.GetID(), waits.GetRunID()))
		expect(worker, "countersign_outcomes_total", outcomes(workflows.Withdrawn), 1)
	})
}
