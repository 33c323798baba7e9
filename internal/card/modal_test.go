package card

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"

	"countersign/internal/slacksim"
	"countersign/workflows"
)

// opens checks a modal by Slack's rules: the stand-in shows it.
func opens(t *testing.T, v slack.ModalViewRequest) {
	t.Helper()
	app := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer app.Close()
	sim := slacksim.New(slacksim.Options{RequestURL: app.URL})
	api := slack.New(slacksim.DefaultBotToken, slack.OptionAPIURL("http://slack.test/api/"),
		slack.OptionHTTPClient(&http.Client{Transport: offline{sim}}))
	d, err := sim.Person("bob").In("general").Command(t.Context(), "/approval")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.OpenViewContext(t.Context(), d.TriggerID, v); err != nil {
		t.Errorf("open: %v %v", err, details(err))
	}
}

func TestModals(t *testing.T) {
	t.Parallel()
	const metadata = `{"reference":"v1.reference"}`
	required := request()
	required.RejectReason, required.ApproveComment = workflows.Required, workflows.Required
	stepped := request()
	stepped.Escalate = []workflows.Escalation{{After: "1h", Approvers: workflows.Approvers{Users: []string{"U0CAROL001"}, Groups: []string{"S0SRE00001"}}}}
	inRoles := stepped
	inRoles.Escalate = []workflows.Escalation{{After: "1h", Role: "*Security* <!here>", Approvers: workflows.Approvers{Channel: true}}}
	for name, v := range map[string]slack.ModalViewRequest{
		"modal_reject":           DecisionModal(round(request(), 1), ActionReject, metadata, false),
		"modal_reject_required":  DecisionModal(round(required, 1), ActionReject, metadata, false),
		"modal_approve":          DecisionModal(round(deploy(), 1), ActionApprove, metadata, false),
		"modal_home":             DecisionModal(round(deploy(), 1), ActionApprove, metadata, true),
		"modal_approve_halfway":  DecisionModal(halfway(), ActionApprove, metadata, false),
		"modal_approve_required": DecisionModal(round(required, 1), ActionApprove, metadata, false),
		"modal_choice":           DecisionModal(choosing(), "approve_2", metadata, false),
		"modal_delegate":         DelegateModal(metadata),
		"modal_extend":           ExtendModal(halfway(), metadata),
		"modal_withdraw":         ChangeModal(workflows.Withdraw, halfway(), metadata),
		"modal_escalate":         ChangeModal(workflows.Escalate, round(stepped, 1), metadata),
		"modal_escalate_role":    ChangeModal(workflows.Escalate, round(inRoles, 1), metadata),
		"modal_request":          RequestModal(metadata, ""),
		"modal_request_begun":    RequestModal(metadata, "Deploy <@U0BOB00001> & *co*"),
		"modal_told":             Notified("Only <@U0BOB00001> can decide this request.", Mrkdwn),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden(t, name, v)
			opens(t, v)
		})
	}
}

func TestInputsBeginWithWhatWasApproved(t *testing.T) {
	t.Parallel()
	initial := func(r workflows.Round) map[string]any {
		got := map[string]any{}
		for _, b := range DecisionModal(r, ActionApprove, "", false).Blocks.BlockSet {
			in, ok := b.(*slack.InputBlock)
			if !ok {
				continue
			}
			switch e := in.Element.(type) {
			case *slack.NumberInputBlockElement:
				got[in.BlockID] = e.InitialValue
			case *slack.SelectBlockElement:
				if got[in.BlockID] = e.InitialUser; e.InitialOption != nil {
					got[in.BlockID] = e.InitialOption.Value
				}
			case *slack.DatePickerBlockElement:
				got[in.BlockID] = e.InitialDate
			case *slack.PlainTextInputBlockElement:
				got[in.BlockID] = e.InitialValue
			}
		}
		return got
	}
	want := map[string]any{"input-0": "3", "input-1": "eu-1", "input-2": "2026-11-23", "input-3": "U0CAROL001", "input-4": "", "comment": ""}
	if diff := cmp.Diff(want, initial(round(deploy(), 1))); diff != "" {
		t.Errorf("at first (-want +got):\n%s", diff)
	}
	want["input-0"], want["input-1"] = "5", "us-1"
	if diff := cmp.Diff(want, initial(halfway())); diff != "" {
		t.Errorf("after an approval (-want +got):\n%s", diff)
	}
	odd := deploy()
	for i, bad := range []workflows.Text{"a lot", "mars-1", "tomorrow", "bob", workflows.Text(strings.Repeat("x", 1001))} {
		odd.Inputs[i].Initial = bad
	}
	want = map[string]any{"input-0": "", "input-1": "", "input-2": "", "input-3": "", "input-4": "", "comment": ""}
	if diff := cmp.Diff(want, initial(round(odd, 1))); diff != "" {
		t.Errorf("where nothing fits (-want +got):\n%s", diff)
	}
	opens(t, DecisionModal(round(odd, 1), ActionApprove, "", false))
}

func TestSelected(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("&", 75)
	short := workflows.Input{Type: workflows.SelectInput, Options: []workflows.Choice{{Label: "a"}, {Label: "2", Value: "two"}, {Label: "1"}}}
	numbers := short
	numbers.Options = append(numbers.Options[:3:3], workflows.Choice{Label: "long", Value: long})
	for name, tc := range map[string]struct {
		in     workflows.Input
		option string
		want   string
	}{
		"a value":             {short, "two", "two"},
		"a value of digits":   {short, "1", "1"},
		"a number":            {numbers, "4", long},
		"a number of another": {numbers, "1", "a"},
		"no such number":      {numbers, "5", "5"},
		"nothing":             {numbers, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Selected(tc.in, tc.option); got != tc.want {
				t.Errorf("Selected(%q) = %q, want %q", tc.option, got, tc.want)
			}
		})
	}
	// What the form offers comes back as the value.
	for _, in := range []workflows.Input{short, numbers} {
		for i, o := range inputElement(in, "input-0", "", 75).(*slack.SelectBlockElement).Options {
			if got := Selected(in, o.Value); got != in.Options[i].String() {
				t.Errorf("option %d is %q, want %q", i, got, in.Options[i].String())
			}
		}
	}
}

func TestDurationsAreDurations(t *testing.T) {
	t.Parallel()
	for _, o := range durations(BlockLonger, nil).Options {
		if d, err := workflows.Duration(o.Value).Value(); err != nil || d < time.Hour {
			t.Errorf("%q is %v, %v", o.Value, d, err)
		}
	}
}

func TestNotifiedFits(t *testing.T) {
	t.Parallel()
	for _, m := range []Markup{Mrkdwn, Bare} {
		opens(t, Notified(strings.Repeat("Too late. ", 1000), m))
	}
}
