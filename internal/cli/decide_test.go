package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"

	"countersign/workflows"
)

// has is a Temporal with one open request.
func has(r workflows.Request, ds ...workflows.Decision) fake {
	l := open("q", r, ds...)
	return fake{looks: []look{{listed: []workflows.Listed{l}}}, histories: map[string]history{"q": {round: workflows.Round{Request: r, Number: 1, Decisions: ds}}}}
}

// unposted is a Temporal with one or more requests whose cards are not posted yet: p and q.
func unposted(activities ...string) fake {
	h := history{round: workflows.Round{Request: request(), Number: 1}}
	return fake{looks: []look{{pending: activities}}, histories: map[string]history{"p": h, "q": h}}
}

// inputs is a request that asks for values.
func inputs() workflows.Request {
	r := request()
	r.Inputs = []workflows.Input{
		{Name: "replicas", Type: workflows.NumberInput, Initial: "3"},
		{Name: "region", Type: workflows.SelectInput, Options: []workflows.Choice{{Label: "Europe", Value: "eu"}}, Initial: "eu"},
		{Name: "note", Lines: true, Optional: true},
	}
	return r
}

func choices() workflows.Request {
	r := request()
	r.Choices = []workflows.Choice{{Label: "Staging"}, {Label: "Production (Europe)", Value: "eu"}}
	return r
}

func TestDecide(t *testing.T) {
	t.Parallel()
	needed := inputs()
	needed.Inputs[0].Initial = ""
	somebody := workflows.Person{Name: "alice" + workflows.AsGiven}
	for name, tc := range map[string]struct {
		f    fake
		args []string
		want workflows.Decision // but for who, when, why and of what
	}{
		"approve": {f: has(request()), args: []string{"--approve"}, want: workflows.Decision{Outcome: workflows.Approved}},
		"reject":  {f: has(request()), args: []string{"--reject"}, want: workflows.Decision{Outcome: workflows.Rejected}},
		"a choice": {
			f: has(choices()), args: []string{"--approve", "--choice", "eu"}, want: workflows.Decision{Outcome: workflows.Approved, Choice: "eu"},
		},
		"a choice whose value is its label": {
			f: has(choices()), args: []string{"--approve", "--choice", "Staging"}, want: workflows.Decision{Outcome: workflows.Approved, Choice: "Staging"},
		},
		"reject where there are choices": {f: has(choices()), args: []string{"--reject"}, want: workflows.Decision{Outcome: workflows.Rejected}},
		// What is empty is there too, as in Slack's form: approvals with the same values count together.
		"inputs as they were at first": {
			f: has(inputs()), args: []string{"--approve"},
			want: workflows.Decision{Outcome: workflows.Approved, Inputs: map[string]string{"replicas": "3", "region": "eu", "note": ""}},
		},
		"inputs": {
			f: has(inputs()), args: []string{"--approve", "--input", "replicas=5", "--input", "note=a=b,\nc", "--input", "replicas=6"},
			want: workflows.Decision{Outcome: workflows.Approved, Inputs: map[string]string{"replicas": "6", "region": "eu", "note": "a=b,\nc"}},
		},
		"an input without an initial value": {
			f: has(needed), args: []string{"--approve", "--input", "replicas=1"},
			want: workflows.Decision{Outcome: workflows.Approved, Inputs: map[string]string{"replicas": "1", "region": "eu", "note": ""}},
		},
		"without a card as yet":           {f: unposted("5", "q-decision-1-00000000"), args: []string{"--approve"}, want: workflows.Decision{Outcome: workflows.Approved}},
		"one of several without a card":   {f: unposted("p-decision-1-00000000", "q-decision-1-00000000"), args: []string{"--reject", "--question", "q"}, want: workflows.Decision{Outcome: workflows.Rejected}},
		"reject where an input is needed": {f: has(needed), args: []string{"--reject"}, want: workflows.Decision{Outcome: workflows.Rejected}},
		"reject after an approval from outside": {
			f: has(request(), decision(workflows.Approved, somebody)), args: []string{"--reject"}, want: workflows.Decision{Outcome: workflows.Rejected},
		},
		"approve other values than before": {
			f: has(inputs(), decision(workflows.Approved, somebody)), args: []string{"--approve", "--input", "replicas=1"},
			want: workflows.Decision{Outcome: workflows.Approved, Inputs: map[string]string{"replicas": "1", "region": "eu", "note": ""}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				p := tc.f.run(t, t.Context(), "", append([]string{"decide", "w", "--by", "alice", "--reason", "Slack is down."}, tc.args...)...)
				p.says(t, 0)
				if want := "Recorded: " + string(tc.want.Outcome) + " by alice (outside Slack, as given).\n"; p.out != want {
					t.Errorf("printed %q, want %q", p.out, want)
				}
				tc.want.By, tc.want.At, tc.want.Via = workflows.Person{Name: "alice"}, time.Now().UTC(), workflows.Outside
				tc.want.Reason, tc.want.Digest = "Slack is down.", "d1"
				if tc.f.looks[0].listed == nil {
					sum := tc.f.histories["q"].round.Digest()
					tc.want.Digest = hex.EncodeToString(sum[:])
				}
				want := []completion{{"w", "r", "q-decision-1-00000000", tc.want, nil}}
				if diff := cmp.Diff(want, tc.f.completed, cmp.AllowUnexported(completion{})); diff != "" {
					t.Errorf("completed (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestDecideIsRefused(t *testing.T) {
	t.Parallel()
	needed := inputs()
	needed.Inputs[0].Initial = ""
	off := has(request())
	off.off = true
	yes := decision(workflows.Approved, workflows.Person{Name: "bob" + workflows.AsGiven})
	both, bothInputs, bothChoices := request(), inputs(), choices()
	both.Required, bothInputs.Required, bothChoices.Required = 2, 2, 2
	filled, chosen := yes, yes
	filled.Inputs, chosen.Choice = map[string]string{"replicas": "3", "region": "eu", "note": ""}, "eu"
	gone, lost := has(request()), has(request())
	gone.complete, lost.complete = &serviceerror.NotFound{}, context.DeadlineExceeded
	two := fake{looks: []look{{listed: []workflows.Listed{open("p", request()), open("q", request())}}}}
	ended := fake{looks: []look{{ended: true, listed: []workflows.Listed{closed("q", request(), workflows.Expired)}}}}
	terminated := fake{looks: []look{{ended: true, listed: []workflows.Listed{closed("q", request(), workflows.Failed)}}}}
	well := func(more ...string) []string {
		return append([]string{"--approve", "--reason", "x", "--by", "alice"}, more...)
	}
	for name, tc := range map[string]struct {
		f     fake
		args  []string
		code  int
		says  string
		tried bool
	}{
		"it is off":           {f: off, args: well(), code: ExitUsage, says: "decisions outside Slack are off: set ALLOW_OUTSIDE_DECISIONS=true"},
		"neither":             {f: has(request()), args: []string{"--reason", "x"}, code: ExitUsage, says: "say either --approve or --reject"},
		"both":                {f: has(request()), args: well("--reject"), code: ExitUsage, says: "say either --approve or --reject"},
		"no reason":           {f: has(request()), args: []string{"--approve"}, code: ExitUsage, says: "say why with --reason"},
		"a blank reason":      {f: has(request()), args: []string{"--approve", "--reason", " \n"}, code: ExitUsage, says: "say why with --reason"},
		"a long reason":       {f: has(request()), args: []string{"--reject", "--reason", strings.Repeat("é", 1001)}, code: ExitUsage, says: "in at most 1000 characters"},
		"no name":             {f: has(request()), args: well("--by", ""), code: ExitUsage, says: "give a name of at most 80 characters with --by"},
		"a long name":         {f: has(request()), args: well("--by", strings.Repeat("é", 81)), code: ExitUsage, says: "at most 80 characters"},
		"a name that steers":  {f: has(request()), args: well("--by", "al\x1bice"), code: ExitUsage, says: "give a name"},
		"no choice":           {f: has(choices()), args: well(), code: ExitUsage, says: `choose one with --choice: the request has "Staging", "eu"`},
		"an unknown choice":   {f: has(choices()), args: well("--choice", "Production (Europe)"), code: ExitUsage, says: `the request has "Staging", "eu"`},
		"a choice of none":    {f: has(request()), args: well("--choice", "eu"), code: ExitUsage, says: "the request has no choices: leave --choice out"},
		"an input without =":  {f: has(inputs()), args: well("--input", "replicas"), code: ExitUsage, says: `--input "replicas" has no = in it: write NAME=VALUE`},
		"unknown inputs":      {f: has(inputs()), args: well("--input", "b=1", "--input", "a\x1b=1"), code: ExitUsage, says: `the request has no input "a\x1b", "b"`},
		"an input of none":    {f: has(request()), args: well("--input", "a=1"), code: ExitUsage, says: `the request has no input "a"`},
		"not a number":        {f: has(inputs()), args: well("--input", "replicas=many"), code: ExitUsage, says: "give replicas with --input replicas=VALUE: a decimal number"},
		"none of the options": {f: has(inputs()), args: well("--input", "region=Europe"), code: ExitUsage, says: "give region with --input region=VALUE: the value of one of its options"},
		"a missing input":     {f: has(needed), args: well(), code: ExitUsage, says: "give replicas with --input replicas=VALUE"},
		"an emptied input":    {f: has(inputs()), args: well("--input", "replicas="), code: ExitUsage, says: "give replicas with"},
		"no card as yet":      {f: fake{looks: []look{{}}}, args: well(), code: ExitRejected, says: "it is not open yet: try again in a moment"},
		"several":             {f: two, args: well(), code: ExitUsage, says: "choose one with --question, of p (Deploy v2), q (Deploy v2)"},
		"several, no cards":   {f: unposted("p-decision-1-00000000", "q-decision-1-00000000"), args: well(), code: ExitUsage, says: "choose one with --question, of p (Deploy v2), q (Deploy v2)"},
		"another, no cards":   {f: unposted("p-decision-1-00000000"), args: well("--question", "x"), code: ExitRejected, says: "the request is not open: see `countersign show w`"},
		"none of several":     {f: two, args: well("--question", "x"), code: ExitUsage, says: "it lists no question \"x\", but p (Deploy v2), q (Deploy v2)"},
		"a blank name":        {f: has(request()), args: well("--by", " "), code: ExitUsage, says: "give a name"},
		"it has expired":      {f: ended, args: well(), code: ExitRejected, says: "too late: the request is expired already"},
		"it was terminated":   {f: terminated, args: well(), code: ExitRejected, says: "the request is not open: see `countersign show w`"},
		"there is none":       {f: fake{looks: []look{{err: &serviceerror.NotFound{}}}}, args: well(), code: ExitUsage, says: `there is no request "w" on the task queue countersign: `},
		"encrypted":           {f: fake{looks: []look{{}}, input: encrypted()}, args: well(), code: ExitNotAsked, says: "set PAYLOAD_KEYS"},
		"somebody was first":  {f: gone, args: well(), code: ExitRejected, says: "somebody has decided it just now, or it has ended: look with `countersign show w`", tried: true},
		"no answer":           {f: lost, args: well(), code: 1, says: "it is not known whether it was recorded; look with `countersign show w`", tried: true},
		"the same again":      {f: has(both, yes), args: well(), code: ExitRejected, says: "the same approval from outside Slack counts already, and all that come so count as one"},
		"the same inputs":     {f: has(bothInputs, filled), args: well(), code: ExitRejected, says: "the same approval from outside Slack counts already"},
		"the same choice":     {f: has(bothChoices, chosen), args: well("--choice", "eu"), code: ExitRejected, says: "the same approval from outside Slack counts already"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := tc.f.run(t, t.Context(), "", append([]string{"decide", "w"}, tc.args...)...)
			p.says(t, tc.code, tc.says)
			if p.out != "" || len(tc.f.completed) > 0 != tc.tried {
				t.Errorf("printed %q, completed %+v", p.out, tc.f.completed)
			}
		})
	}
}

// Of several questions the one that is named is decided.
func TestDecideOneOfSeveral(t *testing.T) {
	t.Parallel()
	f := fake{
		looks:     []look{{listed: []workflows.Listed{open("p", request()), open("q", request()), closed("o", request(), workflows.Expired)}}},
		histories: map[string]history{"q": {round: workflows.Round{Request: request(), Number: 1}}},
	}
	f.run(t, t.Context(), "", "decide", "w", "--reject", "--reason", "x", "--by", "alice", "--question", "q").says(t, 0)
	if len(f.completed) != 1 || f.completed[0].activityID != "q-decision-1-00000000" {
		t.Errorf("completed %+v", f.completed)
	}
}

func TestWithdraw(t *testing.T) {
	t.Parallel()
	late := temporal.NewApplicationError("Too\x1b late: this request is approved already.", workflows.ErrTypeNotChanged)
	for name, tc := range map[string]struct {
		look   look
		change error
		args   []string
		code   int
		says   string
		want   *workflows.Change // what is asked for
	}{
		"open": {look: look{listed: []workflows.Listed{open("q", request())}}, want: &workflows.Change{Question: "q"}},
		"one of several": {
			look: look{listed: []workflows.Listed{open("p", request()), open("q", request())}}, args: []string{"--question", "p"}, want: &workflows.Change{Question: "p"},
		},
		"before its card":  {want: &workflows.Change{}},
		"several":          {look: look{listed: []workflows.Listed{open("p", request()), open("q", request())}}, code: ExitUsage, says: "choose one with --question"},
		"too late":         {look: look{listed: []workflows.Listed{open("q", request())}}, change: late, code: ExitRejected, says: "not withdrawn: Too  late: this request is approved already.", want: &workflows.Change{Question: "q"}},
		"its end is ahead": {look: look{listed: []workflows.Listed{open("q", request())}}, change: &serviceerror.NotFound{}, code: ExitRejected, says: "not withdrawn: it has ended just now", want: &workflows.Change{Question: "q"}},
		"no answer":        {look: look{listed: []workflows.Listed{open("q", request())}}, change: errors.New("away"), code: 1, says: "it is not known whether it was withdrawn; look with `countersign show w`: away", want: &workflows.Change{Question: "q"}},
		"it is approved":   {look: look{ended: true, listed: []workflows.Listed{closed("q", request(), workflows.Approved)}}, code: ExitRejected, says: "too late: the request is approved already"},
		"it asked nothing": {look: look{ended: true}, code: ExitRejected, says: "the request is not open"},
		"there is none":    {look: look{err: &serviceerror.NotFound{}}, code: ExitUsage, says: "there is no request"},
		"a long name":      {args: []string{"--by", strings.Repeat("x", 81)}, code: ExitUsage, says: "give a name of at most 80 characters"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fake{looks: []look{tc.look}, change: tc.change}
			p := f.run(t, t.Context(), "", append([]string{"withdraw", "w", "--by", "pipeline 4711"}, tc.args...)...)
			p.says(t, tc.code, tc.says)
			if (p.out == "It is withdrawn.\n") != (tc.code == 0) {
				t.Errorf("printed %q", p.out)
			}
			if tc.want == nil {
				if len(f.changed) > 0 {
					t.Errorf("asked for %+v", f.changed)
				}
				return
			}
			tc.want.Kind, tc.want.By, tc.want.Via = workflows.Withdraw, workflows.Person{Name: "pipeline 4711"}, workflows.Outside
			if len(f.changed) != 1 || f.changed[0].WorkflowID != "w" || f.changed[0].UpdateName != workflows.UpdateChange {
				t.Fatalf("asked for %+v", f.changed)
			}
			if diff := cmp.Diff([]any{*tc.want}, f.changed[0].Args); diff != "" {
				t.Errorf("asked for (-want +got):\n%s", diff)
			}
		})
	}
}
