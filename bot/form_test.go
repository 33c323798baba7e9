package bot

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/temporal"

	"countersign/internal/card"
	"countersign/internal/reference"
	"countersign/workflows"
)

// detailed is a request that asks who approves for a lot.
func detailed() workflows.Request {
	r := request
	long := strings.Repeat("x", workflows.MaxLabel-3)
	r.Inputs = []workflows.Input{
		{Name: "version", Initial: "1.2.3"},
		{Name: "notes", Lines: true, Optional: true},
		{Name: "percent", Type: workflows.NumberInput, Initial: "10"},
		{Name: "region", Type: workflows.SelectInput, Options: []workflows.Choice{{Label: "Europe", Value: "eu"}, {Label: "America", Value: "us"}}, Initial: "eu"},
		{Name: "when", Type: workflows.DateInput},
		{Name: "owner", Type: workflows.PersonInput},
		// Slack counts what it escapes: values such as these are too long for it, and numbers stand for them.
		{Name: "plan", Type: workflows.SelectInput, Options: []workflows.Choice{{Label: "A", Value: "<&>" + long}, {Label: "B", Value: "&&&" + strings.Repeat("&", 70)}}, Optional: true},
	}
	r.ApproveComment = workflows.Optional
	return r
}

// values are what a person fills in, by block.
func values(change ...map[string]any) map[string]any {
	all := map[string]any{
		card.InputBlock(0): map[string]any{"type": "plain_text_input", "value": "1.2.4"},
		card.InputBlock(1): map[string]any{"type": "plain_text_input", "value": nil},
		card.InputBlock(2): map[string]any{"type": "number_input", "value": "12.50"},
		card.InputBlock(3): map[string]any{"type": "static_select", "selected_option": map[string]any{"text": map[string]any{"type": "plain_text"}, "value": "us"}},
		card.InputBlock(4): map[string]any{"type": "datepicker", "selected_date": "2026-11-23"},
		card.InputBlock(5): map[string]any{"type": "users_select", "selected_user": carol.ID},
		card.InputBlock(6): map[string]any{"type": "static_select", "selected_option": nil},
		card.BlockComment:  map[string]any{"type": "plain_text_input", "value": " Fine.\u202e "},
	}
	for _, c := range change {
		maps.Copy(all, c)
	}
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == "gone" })
	return all
}

func fills(block, kind, key string, v any) map[string]any {
	return map[string]any{block: map[string]any{"type": kind, key: v}}
}

func TestForm(t *testing.T) {
	t.Parallel()
	required := detailed()
	required.Inputs, required.ApproveComment = nil, workflows.Required
	reason := request
	reason.RejectReason = workflows.Required
	good := map[string]string{
		"version": "1.2.4", "notes": "", "percent": "12.50", "region": "us", "when": "2026-11-23", "owner": carol.ID, "plan": "",
	}
	with := func(name, value string) map[string]string {
		all := maps.Clone(good)
		all[name] = value
		return all
	}
	text := func(n int, s string) map[string]any { return fills(card.InputBlock(n), "plain_text_input", "value", s) }
	gone := func(n int) map[string]any { return map[string]any{card.InputBlock(n): "gone"} }
	option := func(n int, v string) map[string]any {
		return fills(card.InputBlock(n), "static_select", "selected_option", map[string]any{"value": v})
	}
	for name, tc := range map[string]struct {
		request  workflows.Request
		temporal *fakeTemporal
		who      workflows.Person // bob, where it is nobody
		action   string           // approve, where it is empty
		state    map[string]any

		faults  []string // blocks at which something is said; none: it closes
		says    string   // at one of them
		commits int
		inputs  map[string]string
		option  int
		reason  string
	}{
		"as it stands":      {request: detailed(), state: values(), commits: 1, inputs: good, reason: "Fine."},
		"with a choice":     {request: detailed(), action: "approve_2", state: values(), commits: 1, inputs: good, reason: "Fine.", option: 2},
		"an optional value": {request: detailed(), state: values(text(1, "a\r\nb\u200b")), commits: 1, inputs: with("notes", "a\r\nb\u200b"), reason: "Fine."},
		"an option by its number": {
			request: detailed(), state: values(option(6, "2")), commits: 1, reason: "Fine.",
			inputs: with("plan", "&&&"+strings.Repeat("&", 70)),
		},
		"hostile text": {
			request: detailed(), state: values(text(0, "\u202e<!channel>\x00")), commits: 1, inputs: with("version", "\u202e<!channel>\x00"), reason: "Fine.",
		},
		"as long as Slack lets it be": {
			request: detailed(), state: values(text(0, strings.Repeat("漢", workflows.MaxReason))), commits: 1, reason: "Fine.",
			inputs: with("version", strings.Repeat("漢", workflows.MaxReason)),
		},
		"a text that is empty":         {request: detailed(), state: values(text(0, " \u200b ")), faults: []string{"input-0"}, says: "one line of at most 1000 characters"},
		"lines where there is one":     {request: detailed(), state: values(text(0, "a\nb")), faults: []string{"input-0"}, says: "one line"},
		"no number":                    {request: detailed(), state: values(text(2, "1e9")), faults: []string{"input-2"}, says: "a decimal number"},
		"another option":               {request: detailed(), state: values(option(3, "mars")), faults: []string{"input-3"}, says: "one of its options"},
		"an option's number":           {request: detailed(), state: values(option(3, "1")), faults: []string{"input-3"}, says: "one of its options"},
		"an option past the last":      {request: detailed(), state: values(option(6, "3")), faults: []string{"input-6"}, says: "one of its options"},
		"no date":                      {request: detailed(), state: values(fills(card.InputBlock(4), "datepicker", "selected_date", "2026-13-01")), faults: []string{"input-4"}, says: "a date"},
		"no person":                    {request: detailed(), state: values(fills(card.InputBlock(5), "users_select", "selected_user", "<!here>")), faults: []string{"input-5"}, says: "the ID of a Slack user"},
		"a value is missing":           {request: detailed(), state: values(gone(2)), faults: []string{"input-2"}, says: "a decimal number"},
		"an optional value is missing": {request: detailed(), state: values(gone(1)), commits: 1, inputs: good, reason: "Fine."},
		"the first value is missing":   {request: detailed(), state: values(gone(0)), faults: []string{"input-0"}, says: "one line"},
		"two faults":                   {request: detailed(), state: values(gone(0), text(2, "x")), faults: []string{"input-0", "input-2"}, says: "one line"},
		"all values are missing":       {request: detailed(), faults: []string{"input-0", "input-2", "input-3", "input-4", "input-5"}, says: "one line"},
		"values that nobody asked for": {request: detailed(), state: values(fills("input-7", "plain_text_input", "value", "x")), commits: 1, inputs: good, reason: "Fine."},

		"a comment":                   {request: required, state: map[string]any{card.BlockComment: map[string]any{"value": "Fine."}}, commits: 1, reason: "Fine."},
		"a comment that has to be":    {request: required, state: map[string]any{card.BlockComment: map[string]any{"value": " \u200b\n"}}, faults: []string{card.BlockComment}, says: "Write a comment"},
		"a reason":                    {request: reason, action: "reject", state: map[string]any{card.BlockComment: map[string]any{"value": "No."}}, commits: 1, reason: "No."},
		"a reason that has to be":     {request: reason, action: "reject", state: map[string]any{card.BlockComment: map[string]any{"value": "\u00a0"}}, faults: []string{card.BlockComment}, says: "Say why"},
		"a reason that need not be":   {request: request, action: "reject", state: map[string]any{card.BlockComment: map[string]any{"value": nil}}, commits: 1},
		"rejects, with values":        {request: detailed(), action: "reject", state: values(), commits: 1, reason: "Fine."},
		"rejects, and cannot be read": {request: request, action: "reject", temporal: &fakeTemporal{reads: []error{unavailable}}, commits: 1},

		"cannot be read": {
			request: detailed(), temporal: &fakeTemporal{reads: []error{unavailable}}, state: values(),
			faults: []string{card.BlockComment}, says: "could not read this request",
		},
		"is not read in time": {
			request: detailed(), temporal: &fakeTemporal{reads: []error{errHangs}}, state: values(),
			faults: []string{card.BlockComment}, says: "could not read this request",
		},
		"workflow forgotten": {
			request: detailed(), temporal: &fakeTemporal{reads: []error{notFound}}, state: values(),
			faults: []string{card.BlockComment}, says: "does not have this request",
		},
		"too late": {
			request: detailed(), state: values(), commits: 1, faults: []string{card.BlockComment}, says: "Too late. Expired",
			temporal: &fakeTemporal{commits: []error{notFound}, histories: [][]*historypb.HistoryEvent{historyOf(t, detailed(), endedBy(t, workflows.Expired))}},
		},
		"who may decide has changed": {
			request: detailed(), state: values(), commits: 1, faults: []string{card.BlockComment}, says: string(refuseChanged),
			temporal: &fakeTemporal{
				commits:   []error{notFound},
				describes: answers{opened{activity(2, otherPolicy), enumspb.PENDING_ACTIVITY_STATE_STARTED}},
				histories: [][]*historypb.HistoryEvent{rounds(t, detailed(), []string{samePolicy, otherPolicy}, workflows.Person{})},
			},
		},
		"the next round": {
			request: detailed(), state: values(), commits: 2, inputs: good, reason: "Fine.",
			temporal: &fakeTemporal{
				commits:   []error{notFound, nil},
				describes: answers{opened{activity(2, samePolicy), enumspb.PENDING_ACTIVITY_STATE_STARTED}},
				histories: [][]*historypb.HistoryEvent{rounds(t, detailed(), []string{samePolicy, samePolicy}, workflows.Person{})},
			},
		},
		"somebody else's": {request: detailed(), who: carol, state: values(), faults: []string{card.BlockComment}, says: string(refuseOthers)},
	} {
		inTime(t, name, func(t *testing.T) {
			s, f := newSlack(), cmp.Or(tc.temporal, new(fakeTemporal))
			if f.histories == nil {
				f.histories = [][]*historypb.HistoryEvent{historyOf(t, tc.request)}
			}
			b, sealed := newBot(t, s, f, about(tc.request))
			who := tc.who
			if who.ID == "" {
				who = bob
			}
			m := modal{Reference: sealed, Channel: at.Channel, TS: at.TS, Action: cmp.Or(tc.action, "approve")}
			r := deliver(t, b, interactive, filled(t, who, card.CallbackDecision, m, tc.state))
			checkFaults(t, r, tc.faults, tc.says)
			if len(f.completions) != tc.commits {
				t.Fatalf("%d commits, want %d", len(f.completions), tc.commits)
			}
			if tc.commits == 0 || len(tc.faults) > 0 {
				return
			}
			got, ok := f.completions[tc.commits-1].result.(workflows.Decision)
			if err := f.completions[tc.commits-1].err; err != nil {
				var app *temporal.ApplicationError
				ok = errors.As(err, &app) && app.Details(&got) == nil
			}
			want := workflows.Decision{
				Outcome: workflows.Approved, By: bob, At: got.At, Via: workflows.ViaCard, Card: at, Digest: hexDigest(tc.request),
				Inputs: tc.inputs, Option: tc.option, Reason: tc.reason,
			}
			if tc.action == card.ActionReject {
				want.Outcome = workflows.Rejected
			}
			if diff := gocmp.Diff(want, got); !ok || diff != "" {
				t.Errorf("decided (-want +got):\n%s", diff)
			}
		})
	}
}

// endedBy is the event by which a request ended from our side.
func endedBy(t *testing.T, o workflows.Outcome) *historypb.HistoryEvent {
	t.Helper()
	return happened(&historypb.HistoryEvent{
		EventId: 6, EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED,
		Attributes: &historypb.HistoryEvent_ActivityTaskCanceledEventAttributes{
			ActivityTaskCanceledEventAttributes: &historypb.ActivityTaskCanceledEventAttributes{
				ScheduledEventId: 5, Details: payloads(t, workflows.Result{Outcome: o}),
			},
		},
	})
}

// checkFaults fails the test where the reply is not a modal's faults at those blocks, one of which says that; or, without
// any, where the modal does not just close.
func checkFaults(t *testing.T, r reply, blocks []string, says string) {
	t.Helper()
	if !r.ack {
		t.Error("a submission is answered with silence")
	}
	if len(blocks) == 0 {
		if r.body != nil {
			t.Errorf("answered %v, want the modal to close", r.body)
		}
		return
	}
	body, _ := r.body.(map[string]any)
	faults, _ := body["errors"].(map[string]string)
	if diff := gocmp.Diff(blocks, slices.Sorted(maps.Keys(faults))); diff != "" || body["response_action"] != "errors" {
		t.Errorf("faults %v at (-want +got):\n%s", body, diff)
		return
	}
	all := slices.Collect(maps.Values(faults))
	if !slices.ContainsFunc(all, func(s string) bool { return strings.Contains(s, says) }) {
		t.Errorf("said %q, want %q", all, says)
	}
}

// What is asked for when a button is clicked.
func TestAskMore(t *testing.T) {
	t.Parallel()
	off := request
	off.RejectReason = workflows.Off
	needs := request
	needs.RejectReason = workflows.Required
	choose := detailed()
	choose.Choices = []workflows.Choice{{Label: "Blue"}, {Label: "Green"}}
	edited := rounds(t, detailed(), []string{samePolicy})
	edited = append(edited, asked(t, 15, activity(2, samePolicy), workflows.Round{
		Request: detailed(), Number: 2,
		Decisions: []workflows.Decision{{Outcome: workflows.Approved, By: carol, Inputs: map[string]string{"version": "9.9.9"}}},
	}))
	for name, tc := range map[string]struct {
		request  workflows.Request
		temporal *fakeTemporal
		action   string
		home     bool
		slack    broken

		commits int
		has     []string // what the modal has in it; none: there is none
		hasNot  []string
		said    []string
		ack     bool
	}{
		"with the request's values": {request: detailed(), action: "approve", has: []string{`"1.2.3"`, `"initial_value":"10"`, "Europe", "Greet World"}, ack: true},
		"with the values of who approved before": {
			request: detailed(), temporal: &fakeTemporal{histories: [][]*historypb.HistoryEvent{edited}}, action: "approve",
			has: []string{`"9.9.9"`}, hasNot: []string{`"1.2.3"`}, ack: true,
		},
		"for a choice":                {request: choose, action: "approve_2", has: []string{"Green", `"1.2.3"`}, ack: true},
		"for a rejection":             {request: detailed(), action: "reject", has: []string{`"comment"`, `"optional":true`}, hasNot: []string{"1.2.3"}, ack: true},
		"for a reason that has to be": {request: needs, action: "reject", has: []string{`"comment"`}, hasNot: []string{`"optional":true`}, ack: true},
		"for a reason that has to be, and cannot be read": {
			request: needs, temporal: &fakeTemporal{reads: []error{unavailable}}, action: "reject",
			has: []string{`"comment"`}, hasNot: []string{`"optional":true`}, ack: true,
		},
		"no reason":                  {request: off, action: "reject", commits: 1, ack: true},
		"in the home":                {request: detailed(), action: "approve", home: true, has: []string{`"1.2.3"`}, ack: true},
		"cannot be read":             {request: detailed(), temporal: &fakeTemporal{reads: []error{unavailable}}, action: "approve", said: []string{"could not read this request", "nothing was done"}, ack: true},
		"is not read in time":        {request: detailed(), temporal: &fakeTemporal{reads: []error{errHangs}}, action: "approve", said: []string{"could not read this request"}, ack: true},
		"workflow forgotten":         {request: detailed(), temporal: &fakeTemporal{reads: []error{notFound}}, action: "approve", said: []string{"does not have this request"}, ack: true},
		"workflow forgotten, a home": {request: detailed(), temporal: &fakeTemporal{reads: []error{notFound}}, action: "approve", home: true, has: []string{"does not have this request"}, ack: true},
		"has ended": {
			request: detailed(), action: "approve", said: []string{"Too late", "Expired"}, ack: true,
			temporal: &fakeTemporal{histories: [][]*historypb.HistoryEvent{historyOf(t, detailed(), endedBy(t, workflows.Expired))}},
		},
		"modal does not open":          {request: detailed(), action: "approve", slack: broken{modal: errors.New("expired_trigger_id")}, said: []string{"could not open the form"}},
		"modal does not open, a home":  {request: detailed(), action: "approve", home: true, slack: broken{modal: errors.New("expired_trigger_id")}, said: []string{"U0BOB00001 directly: ", "could not open the form"}},
		"nobody may approve by a form": {request: workflows.Request{Inputs: detailed().Inputs}, action: "approve", said: []string{"can decide this request"}, ack: true},
	} {
		inTime(t, name, func(t *testing.T) {
			s, f := newSlack(), cmp.Or(tc.temporal, new(fakeTemporal))
			s.modal = tc.slack.modal
			if f.histories == nil {
				f.histories = [][]*historypb.HistoryEvent{historyOf(t, tc.request)}
			}
			b, sealed := newBot(t, s, f, about(tc.request))
			p := clicked(bob, tc.action, sealed)
			if tc.home {
				inHome(p)
			}
			r := deliver(t, b, interactive, p)
			if r.ack != tc.ack || len(f.completions) != tc.commits {
				t.Errorf("acknowledged %v after %d decisions, want %v after %d", r.ack, len(f.completions), tc.ack, tc.commits)
			}
			says(t, s, tc.said)
			if len(s.modals) != min(len(tc.has), 1) {
				t.Fatalf("%d modals", len(s.modals))
			}
			if len(s.modals) == 0 {
				return
			}
			shown, err := json.Marshal(s.modals[0])
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range tc.has {
				if !strings.Contains(string(shown), part) {
					t.Errorf("the modal lacks %s: %s", part, shown)
				}
			}
			for _, part := range tc.hasNot {
				if strings.Contains(string(shown), part) {
					t.Errorf("the modal has %s: %s", part, shown)
				}
			}
			if s.modals[0].CallbackID == card.CallbackTold {
				return
			}
			var m modal
			want := modal{Reference: sealed, Channel: at.Channel, TS: at.TS, Action: tc.action}
			if tc.home {
				want = modal{Reference: sealed, Action: tc.action, Home: true}
			}
			if err := json.Unmarshal([]byte(s.modals[0].PrivateMetadata), &m); err != nil || m != want || len(s.modals[0].PrivateMetadata) > 3000 {
				t.Errorf("the modal keeps %+v (%v), want %+v", m, err, want)
			}
		})
	}
}

// A choice that the card does not offer decides nothing, whichever button's name a click has.
func TestChoiceThatIsNotOffered(t *testing.T) {
	t.Parallel()
	r := request
	r.Choices = []workflows.Choice{{Label: "Blue"}, {Label: "Green"}, {Label: "Red"}}
	withForm := detailed()
	withForm.Choices = r.Choices
	for action, option := range map[string]int{
		"approve": 0, "approve_1": 1, "approve_2": 2, "approve_3": 3, "approve_4": 0, "approve_5": 0,
	} {
		decided := func(t *testing.T, f *fakeTemporal) {
			t.Helper()
			switch {
			case option == 0 && len(f.completions) > 0:
				t.Errorf("decided %+v, want nothing", f.completions)
			case option > 0 && len(f.completions) != 1:
				t.Errorf("%d commits, want 1", len(f.completions))
			case option > 0:
				if d, ok := f.completions[0].result.(workflows.Decision); !ok || d.Outcome != workflows.Approved || d.Option != option {
					t.Errorf("decided %+v, want choice %d", f.completions[0], option)
				}
			}
		}
		inTime(t, action, func(t *testing.T) {
			s, f := newSlack(), &fakeTemporal{histories: [][]*historypb.HistoryEvent{historyOf(t, r)}}
			b, sealed := newBot(t, s, f, about(r))
			if got := deliver(t, b, interactive, clicked(bob, action, sealed)); !got.ack || got.body != nil || len(s.modals) > 0 {
				t.Errorf("answered %+v with %d modals", got, len(s.modals))
			}
			decided(t, f)
			if option == 0 {
				says(t, s, []string{string(refuseReference)})
			} else {
				says(t, s, nil)
			}
		})
		inTime(t, action+", for a form", func(t *testing.T) {
			s, f := newSlack(), &fakeTemporal{histories: [][]*historypb.HistoryEvent{historyOf(t, withForm)}}
			b, sealed := newBot(t, s, f, about(withForm))
			deliver(t, b, interactive, clicked(bob, action, sealed))
			if offered := len(s.modals) == 1; offered != (option > 0) || len(f.completions) > 0 {
				t.Errorf("%d modals and %d commits", len(s.modals), len(f.completions))
			}
			if option == 0 {
				says(t, s, []string{string(refuseReference)})
			}
		})
		inTime(t, action+", by a form", func(t *testing.T) {
			s, f := newSlack(), &fakeTemporal{histories: [][]*historypb.HistoryEvent{historyOf(t, withForm)}}
			b, sealed := newBot(t, s, f, about(withForm))
			m := modal{Reference: sealed, Channel: at.Channel, TS: at.TS, Action: action}
			got := deliver(t, b, interactive, filled(t, bob, card.CallbackDecision, m, values()))
			decided(t, f)
			if option == 0 {
				checkFaults(t, got, []string{card.BlockComment}, string(refuseReference))
			} else {
				checkFaults(t, got, nil, "")
			}
		})
	}
	// The buttons of a card from before choices were sealed decide as they did.
	inTime(t, "of an old card", func(t *testing.T) {
		s, f := newSlack(), &fakeTemporal{histories: [][]*historypb.HistoryEvent{historyOf(t, r)}}
		b, sealed := newBot(t, s, f, func(ref *reference.Reference) { about(r)(ref); ref.Choices = 0 })
		deliver(t, b, interactive, clicked(bob, "approve_3", sealed))
		says(t, s, nil)
		if len(f.completions) != 1 {
			t.Fatalf("%d commits, want 1", len(f.completions))
		}
		if d, ok := f.completions[0].result.(workflows.Decision); !ok || d.Option != 3 {
			t.Errorf("decided %+v, want choice 3", f.completions[0])
		}
	})
}
