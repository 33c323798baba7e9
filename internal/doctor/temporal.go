package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"countersign/internal/peers"
)

// faultOfTemporal is the variable of Temporal's connection of which the configuration has a fault; empty: none.
func (e *examination) faultOfTemporal() string {
	for _, f := range e.Faults {
		if strings.HasPrefix(f.Name, "TEMPORAL_") && f.Name != "TEMPORAL_DEPLOYMENT_NAME" && f.Name != "TEMPORAL_WORKER_BUILD_ID" {
			return f.Name
		}
	}
	return ""
}

// temporal is the connection to Temporal; or, where there is none, what a check that needs it says.
func (e *examination) temporal(ctx context.Context) (Temporal, []Finding) {
	if v := e.faultOfTemporal(); v != "" {
		return nil, after(v)
	}
	t, err := e.server.get(ctx, e.Dial)
	if err != nil {
		return nil, after(nameTemporal)
	}
	return t, nil
}

// unwelcome reports whether Temporal refuses who asks.
func unwelcome(err error) bool {
	var denied *serviceerror.PermissionDenied
	return errors.As(err, &denied) || slices.Contains([]codes.Code{codes.PermissionDenied, codes.Unauthenticated}, status.Code(err))
}

const credentialsFix = "check TEMPORAL_API_KEY, or the certificate, and TEMPORAL_NAMESPACE"

func (e *examination) reachable(ctx context.Context) []Finding {
	if v := e.faultOfTemporal(); v != "" {
		return after(v)
	}
	o := e.Config.Temporal
	_, err := e.server.get(ctx, e.Dial)
	encrypted := !o.ConnectionOptions.TLSDisabled && (o.ConnectionOptions.TLS != nil || o.Credentials != nil)
	switch {
	case err == nil && encrypted:
		return good("answers at %s, by TLS", o.HostPort)
	case err == nil:
		return good("answers at %s, without TLS", o.HostPort)
	case unwelcome(err):
		return bad(credentialsFix, "at %s lets nobody in with these credentials (%v)", o.HostPort, err)
	}
	if strings.Contains(o.HostPort, ":///") {
		return bad("check TEMPORAL_ADDRESS and the TEMPORAL_TLS variables", "%s", silent("at "+o.HostPort, err))
	}
	says, fix := wire(ctx, o.HostPort, encrypted)
	if fix == plainFix && o.Credentials != nil { // The key turns TLS on, and is not sent without.
		fix = "take TEMPORAL_API_KEY away, or set another TEMPORAL_ADDRESS"
	}
	return bad(fix, "at %s %s", o.HostPort, says)
}

const plainFix = "set TEMPORAL_TLS=false, or another TEMPORAL_ADDRESS"

// wire says why a server is not reached, by what it does before anything of Temporal's is said.
func wire(ctx context.Context, address string, encrypted bool) (says, fix string) {
	const patience = 3 * time.Second
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Sprintf("is not reachable (%v)", err), "start it, or set TEMPORAL_ADDRESS"
	}
	defer c.Close()
	host, _, _ := net.SplitHostPort(address) // It could be dialled.
	// Whom it shows a certificate to, and which, says the configuration: here it is only seen whether it speaks TLS.
	err = tls.Client(c, &tls.Config{ServerName: host, InsecureSkipVerify: true}).HandshakeContext(ctx)
	var alert *net.OpError
	secure := err == nil || errors.As(err, &alert) && alert.Op == "remote error" // It refuses us in TLS's own words.
	switch {
	case ctx.Err() != nil:
		return "takes connections, but does not answer", "look whether the server is well"
	case secure && !encrypted:
		return "wants TLS", "set TEMPORAL_TLS=true, or TEMPORAL_API_KEY"
	case secure:
		return "speaks TLS, but not with this certificate, key or authority",
			"check TEMPORAL_TLS_SERVER_CA_CERT_PATH, TEMPORAL_TLS_SERVER_NAME and the client's certificate"
	case encrypted:
		return fmt.Sprintf("does not speak TLS (%v)", err), plainFix
	default:
		return "takes connections, but does not answer as Temporal's frontend does", "set the port of the frontend in TEMPORAL_ADDRESS, which is mostly 7233; the web UI has another"
	}
}

func (e *examination) namespace(ctx context.Context) []Finding {
	t, unknown := e.temporal(ctx)
	if unknown != nil {
		return unknown
	}
	name := e.Config.Temporal.Namespace
	r, err := timed(ctx, func(ctx context.Context) (*workflowservice.DescribeNamespaceResponse, error) {
		return t.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: name})
	})
	var missing *serviceerror.NamespaceNotFound
	switch {
	case errors.As(err, &missing):
		return bad(fmt.Sprintf("set TEMPORAL_NAMESPACE, or create it: temporal operator namespace create --namespace %s", name),
			"there is no %s", name)
	case unwelcome(err):
		if _, err := e.poll(ctx, workerTasks); err == nil { // Not all may describe it, and need not.
			return good("%s lets us in; how long it keeps what has ended may not be seen", name)
		}
		return bad(credentialsFix, "%s does not let us in (%v)", name, err)
	case err != nil:
		return bad("check TEMPORAL_ADDRESS", "%s", silent(name, err))
	}
	kept := r.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration()
	switch {
	case kept == 0:
		return good("%s", name)
	case kept < leastKept:
		return doubtful("give it days, and as many as your audit looks back: temporal operator namespace update --retention",
			"%s keeps what has ended for %v only: nobody can look it up later", name, kept)
	default:
		return good("%s, which keeps what has ended for %s; countersign audit sees no more", name, days(kept))
	}
}

// leastKept is how long a namespace should keep what has ended at the least: who looks on the next day finds nothing else.
const leastKept = 24 * time.Hour

func days(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return plural(int(d/(24*time.Hour)), "day", "days")
	}
	return d.String()
}

// task is what somebody polls for.
type task int

const (
	workflowTasks task = iota
	workerTasks        // activities
	botTasks           // none: a bot only shows itself
)

// poll asks who polls.
func (e *examination) poll(ctx context.Context, what task) ([]peers.Poller, error) {
	t, unknown := e.temporal(ctx)
	if unknown != nil {
		return nil, errors.New(unknown[0].Says)
	}
	queue, kind := e.Config.TaskQueue, enumspb.TASK_QUEUE_TYPE_ACTIVITY
	switch what {
	case workflowTasks:
		kind = enumspb.TASK_QUEUE_TYPE_WORKFLOW
	case botTasks:
		queue = peers.BotQueue(queue)
	}
	return e.polling[what].get(ctx, func(ctx context.Context) ([]peers.Poller, error) {
		return peers.Polling(ctx, t, queue, kind)
	})
}

// polls is who polls; or, where that cannot be seen, what a check that needs it says.
func (e *examination) polls(ctx context.Context, what task) ([]peers.Poller, []Finding) {
	if v := e.faulty("TASK_QUEUE"); v != "" {
		return nil, after(v)
	}
	if _, unknown := e.temporal(ctx); unknown != nil {
		return nil, unknown
	}
	all, err := e.poll(ctx, what)
	var missing *serviceerror.NamespaceNotFound
	switch {
	case err == nil:
		return all, nil
	case errors.As(err, &missing):
		return nil, after(nameNamespace)
	case unwelcome(err):
		return nil, unseen("", "who polls the task queue %s may not be seen with these credentials", e.Config.TaskQueue)
	default:
		return nil, unseen("run it again", "%s", silent("Temporal", err))
	}
}

// since is after how long without a poll somebody has probably ended: a poll lasts a minute. Temporal lists them for some
// minutes more.
const since = 70 * time.Second

// ended reports whether somebody has probably ended.
func ended(p peers.Poller) bool { return time.Since(p.Polled) > since }

// seen says that somebody runs, or perhaps does no longer.
func seen(says string, all []peers.Poller) string {
	if slices.ContainsFunc(all, func(p peers.Poller) bool { return !ended(p) }) {
		return says
	}
	return says + ", or has just ended"
}

func (e *examination) workers(ctx context.Context) []Finding {
	decide, unknown := e.polls(ctx, workflowTasks)
	if unknown != nil {
		return unknown
	}
	act, unknown := e.polls(ctx, workerTasks)
	if unknown != nil {
		return unknown
	}
	queue, start := e.Config.TaskQueue, "start countersign worker, or run"
	switch {
	case len(decide) == 0 && len(act) == 0:
		return doubtful(start, "nobody polls the task queue %s, so nothing is asked", queue)
	case len(act) == 0:
		return doubtful(start, "somebody polls the task queue %s for workflows, and nobody for activities", queue)
	case len(decide) == 0:
		return doubtful(start, "somebody polls the task queue %s for activities, and nobody for workflows", queue)
	case e.Config.DeploymentName != "":
		return e.versioned(ctx, act)
	default:
		return good("%s", e.working(act))
	}
}

// working says who works.
func (e *examination) working(all []peers.Poller) string {
	return seen(plural(len(all), "worker polls", "workers poll")+" the task queue "+e.Config.TaskQueue, all)
}

// versioned looks whether those who poll are of the version of the Worker Deployment that gets tasks.
func (e *examination) versioned(ctx context.Context, all []peers.Poller) []Finding {
	t, unknown := e.temporal(ctx)
	if unknown != nil {
		return unknown
	}
	name := e.Config.DeploymentName
	r, err := timed(ctx, func(ctx context.Context) (*workflowservice.DescribeWorkerDeploymentResponse, error) {
		return t.WorkflowService().DescribeWorkerDeployment(ctx, &workflowservice.DescribeWorkerDeploymentRequest{
			Namespace: e.Config.Temporal.Namespace, DeploymentName: name,
		})
	})
	build := r.GetWorkerDeploymentInfo().GetRoutingConfig().GetCurrentDeploymentVersion().GetBuildId() // Empty: those without a version.
	var missing *serviceerror.NotFound
	switch {
	case err != nil && !errors.As(err, &missing):
		return unseen("temporal worker deployment describe --name "+name, "which version of %s gets tasks cannot be seen (%v)", name, err)
	case slices.ContainsFunc(all, func(p peers.Poller) bool { return p.BuildID == build }):
		if build != "" {
			build = ", of the current version " + build
		}
		return good("%s%s", e.working(all), build)
	case build == "":
		return bad(fmt.Sprintf("temporal worker deployment set-current-version --deployment-name %s --build-id %s", name, all[0].BuildID),
			"no version of %s is the current one, so its workers get nothing", name)
	default:
		return bad("start such a worker, or make another version the current one",
			"no worker is of the current version %s of %s, so nothing is asked", build, name)
	}
}

func (e *examination) bots(ctx context.Context) []Finding {
	all, unknown := e.polls(ctx, botTasks)
	switch {
	case unknown != nil:
		return unknown
	case len(all) == 0:
		return doubtful("start countersign bot, or run", "none runs, so no click is taken")
	default:
		return good("%s", seen(plural(len(all), "bot runs", "bots run"), all))
	}
}

// keysFix is what to do about keys that differ.
const keysFix = "give bots and workers the same REFERENCE_KEYS, and restart them"

// unfit are the bots that lack the key of a worker: what is here may fit both, as in the middle of a change of keys.
func unfit(workers, bots []peers.Poller) (all []Finding) {
	for _, w := range workers {
		for _, b := range bots {
			if len(w.Keys) > 0 && len(b.Keys) > 0 && !ended(w) && !ended(b) && !slices.Contains(b.Keys, w.Keys[0]) {
				all = append(all, bad(keysFix, "a worker seals buttons with %s, and a bot has only %s", w.Keys[0], strings.Join(b.Keys, ", "))...)
			}
		}
	}
	return all
}

func (e *examination) referenceKeys(ctx context.Context) []Finding {
	if v := e.faulty("REFERENCE_KEYS"); v != "" {
		return after(v)
	}
	workers, unknown := e.polls(ctx, workerTasks)
	if unknown != nil {
		return unknown
	}
	bots, unknown := e.polls(ctx, botTasks)
	if unknown != nil {
		return unknown
	}
	ours := e.Config.ReferenceKeys.IDs()
	var all []Finding
	compared := 0
	compare := func(p peers.Poller, fits bool, says string) {
		compared++
		switch {
		case fits:
		case ended(p):
			all = append(all, doubtful(keysFix, "%s, or has just ended", says)...)
		default:
			all = append(all, bad(keysFix, "%s", says)...)
		}
	}
	for _, p := range workers {
		if len(p.Keys) > 0 {
			compare(p, slices.Contains(ours, p.Keys[0]),
				fmt.Sprintf("a worker seals buttons with %s, and here are only %s", p.Keys[0], strings.Join(ours, ", ")))
		}
	}
	for _, p := range bots {
		if len(p.Keys) > 0 {
			compare(p, slices.Contains(p.Keys, ours[0]),
				fmt.Sprintf("here %s seals buttons, and a bot has only %s", ours[0], strings.Join(p.Keys, ", ")))
		}
	}
	if len(all) == 0 {
		all = unfit(workers, bots)
	}
	all = slices.Compact(all)
	switch {
	case len(all) > 0:
		return all
	case compared == 0:
		return unseen("run it again when a bot and a worker run", "%s; nobody runs with whom to compare them", strings.Join(ours, ", "))
	default:
		return good("%s; %s", strings.Join(ours, ", "), plural(compared, "process fits", "processes fit"))
	}
}
