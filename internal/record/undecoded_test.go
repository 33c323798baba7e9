package record

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"countersign/workflows"
)

// keyless is a data converter that has no key for what is encrypted.
type keyless struct{ converter.DataConverter }

type noKey struct{ error }

func (noKey) Undecoded() bool { return true }

var errNoKey = noKey{errors.New("no key")}

func (k keyless) FromPayload(p *commonpb.Payload, v any) error {
	if string(p.GetMetadata()[converter.MetadataEncoding]) == "binary/encrypted" {
		return errNoKey
	}
	return k.DataConverter.FromPayload(p, v)
}

func (k keyless) FromPayloads(all *commonpb.Payloads, v ...any) error {
	for _, p := range all.GetPayloads() {
		if err := k.FromPayload(p, new(converter.RawValue)); err != nil {
			return fmt.Errorf("payload 0: %w", err)
		}
	}
	return k.DataConverter.FromPayloads(all, v...)
}

// without is a reader of f that has no key.
func without(f Temporal) Reader {
	d := keyless{converter.GetDefaultDataConverter()}
	return Reader{
		Temporal: f, TaskQueue: "q", Data: d,
		Failures: temporal.NewDefaultFailureConverter(temporal.DefaultFailureConverterOptions{DataConverter: d, EncodeCommonAttributes: true}),
	}
}

func sealed() *commonpb.Payload {
	return &commonpb.Payload{Metadata: map[string][]byte{converter.MetadataEncoding: []byte("binary/encrypted")}}
}

// What cannot be decrypted here is no outcome: nobody is told of one, and no card is closed.
func TestUndecoded(t *testing.T) {
	t.Parallel()
	const encrypted = `{"payloads":[{"metadata":{"encoding":"YmluYXJ5L2VuY3J5cHRlZA=="},"data":"AAEC"}]}`
	const one = `{"metadata":{"encoding":"YmluYXJ5L2VuY3J5cHRlZA=="},"data":"AAEC"}`
	asked, terminated := scheduled(id, 5), event(9, "WORKFLOW_EXECUTION_TERMINATED", `{}`)
	for name, events := range map[string][]string{
		"the request": {event(5, "ACTIVITY_TASK_SCHEDULED", fmt.Sprintf(`{"activityId":%q,"input":%s}`, id, encrypted)), terminated},
		"a decision":  {asked, event(7, "ACTIVITY_TASK_COMPLETED", `{"scheduledEventId":"5","result":`+encrypted+`}`)},
		"a rejection": {asked, event(7, "ACTIVITY_TASK_FAILED", `{"scheduledEventId":"5","failure":{"message":"Encoded failure","applicationFailureInfo":{"type":"Rejected","details":`+encrypted+`}}}`)},
		"a message":   {asked, event(7, "ACTIVITY_TASK_FAILED", `{"scheduledEventId":"5","failure":{"message":"Encoded failure","encodedAttributes":`+one+`,"applicationFailureInfo":{"type":"SlackRefused"}}}`)},
		"a cause":     {asked, event(7, "ACTIVITY_TASK_FAILED", `{"scheduledEventId":"5","failure":{"message":"x","applicationFailureInfo":{"type":"SlackRefused"},"cause":{"message":"x","encodedAttributes":`+one+`}}}`)},
		"an end":      {asked, event(7, "ACTIVITY_TASK_CANCELED", `{"scheduledEventId":"5","details":`+encrypted+`}`)},
		"its closing": {asked, event(8, "ACTIVITY_TASK_SCHEDULED", `{"activityId":"8","activityType":{"name":"CloseCard"},"input":`+encrypted+`}`)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{history: history(t, events...)}
			if a, err := without(f).Look(t.Context(), "ask-1", "run-1", id); !errors.Is(err, errNoKey) || a.State != 0 {
				t.Errorf("Look = %+v, %v", a, err)
			}
			if a, err := without(f).Read(t.Context(), "ask-1", "run-1", id); !errors.Is(err, errNoKey) || a.State != 0 {
				t.Errorf("Read = %+v, %v", a, err)
			}
		})
	}
	t.Run("a heartbeat", func(t *testing.T) {
		t.Parallel()
		p := pendingInfo(t, id, enumspb.PENDING_ACTIVITY_STATE_STARTED, nil)
		p.HeartbeatDetails = &commonpb.Payloads{Payloads: []*commonpb.Payload{sealed()}}
		f := &fake{pending: []*workflowpb.PendingActivityInfo{p}}
		if a, err := without(f).Look(t.Context(), "ask-1", "run-1", id); !errors.Is(err, errNoKey) || a.State != 0 {
			t.Errorf("Look = %+v, %v", a, err)
		}
	})
}

// listing is a Temporal that lists workflows, and describes the first.
type listing struct {
	Temporal
	all []*workflowpb.WorkflowExecutionInfo
}

func (l listing) ListWorkflow(context.Context, *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	return &workflowservice.ListWorkflowExecutionsResponse{Executions: l.all}, nil
}

func (l listing) DescribeWorkflowExecution(context.Context, string, string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	return &workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: l.all[0]}, nil
}

// A few memos of another key do not keep the others from being listed; where there is no other, that is an error.
func TestUndecodedMemos(t *testing.T) {
	t.Parallel()
	plain, err := converter.GetDefaultDataConverter().ToPayload([]workflows.Listed{{Question: "AB2CDE-1", Outcome: workflows.Approved, EndedAt: time.Now()}})
	if err != nil {
		t.Fatal(err)
	}
	with := func(p *commonpb.Payload) *workflowpb.WorkflowExecutionInfo {
		return &workflowpb.WorkflowExecutionInfo{
			TaskQueue: "q", Status: enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING,
			Memo: &commonpb.Memo{Fields: map[string]*commonpb.Payload{workflows.MemoRequests: p}},
		}
	}
	readable, encrypted, none := with(plain), with(sealed()), &workflowpb.WorkflowExecutionInfo{}
	for name, tc := range map[string]struct {
		all    []*workflowpb.WorkflowExecutionInfo
		found  int // Open ones and closed ones are asked for: each is found twice.
		unread int
		err    error
	}{
		"none":     {[]*workflowpb.WorkflowExecutionInfo{none}, 0, 0, nil},
		"some":     {[]*workflowpb.WorkflowExecutionInfo{encrypted, readable, none, encrypted}, 2, 4, nil},
		"only one": {[]*workflowpb.WorkflowExecutionInfo{none, encrypted}, 0, 2, errNoKey},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := without(listing{all: tc.all}).List(t.Context())
			if n := len(got.Open) + len(got.Ended); n != tc.found || got.Unread != tc.unread || !errors.Is(err, tc.err) {
				t.Errorf("List = %d, %d unread, %v; want %d, %d, %v", n, got.Unread, err, tc.found, tc.unread, tc.err)
			}
		})
	}
	if _, _, _, err := without(listing{all: []*workflowpb.WorkflowExecutionInfo{encrypted}}).Describe(t.Context(), "ask-1", "run-1"); !errors.Is(err, errNoKey) {
		t.Errorf("Describe: %v", err)
	}
}

func TestRunning(t *testing.T) {
	t.Parallel()
	for s := range enumspb.WorkflowExecutionStatus_name {
		status := enumspb.WorkflowExecutionStatus(s)
		want := status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING || status == enumspb.WORKFLOW_EXECUTION_STATUS_PAUSED
		if Running(status) != want {
			t.Errorf("%s is running: %v", status, !want)
		}
	}
}
