package workflows_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"

	"countersign/workflows"
)

func TestResultOf(t *testing.T) {
	t.Parallel()
	r := workflows.Request{
		Title: "Greet World", Channel: "C0GENERAL1", ExpiresAt: deadline,
		Choices: []workflows.Choice{{Label: "To staging", Value: "staging"}, {Label: "everywhere"}},
		Inputs:  []workflows.Input{{Name: "sum", Type: workflows.NumberInput}, {Name: "note", Optional: true}},
	}
	at := started.Add(time.Hour)
	clicked := at.Add(-time.Second)
	ours := func(o workflows.Outcome, digest string) map[string]any {
		return map[string]any{
			"outcome": string(o), "at": clicked.Format(time.RFC3339), "reason": "because", "digest": digest,
			"by":   map[string]any{"id": bob.ID, "name": bob.Name, "team": bob.Team},
			"card": map[string]any{"channel": posted.Channel, "ts": posted.TS},
		}
	}
	decision := workflows.Decision{Outcome: workflows.Approved, By: bob, At: clicked, Reason: "because", Digest: digest(r), Card: posted}
	rejection := decision
	rejection.Outcome = workflows.Rejected
	forged := decision
	forged.By, forged.Digest, forged.At, forged.Via = workflows.Person{}, "", at, workflows.Outside
	failed := func(note string) workflows.Result {
		return workflows.Result{Outcome: workflows.Failed, EndedAt: at, Note: note}
	}
	const another, unread = "The decision was about another request.", "The request ended without an answer that can be read."
	wrong := rejection
	wrong.Digest = strings.Repeat("0", 64)
	untimed := decision
	untimed.At = time.Time{}
	timed := decision
	timed.At = at

	// A click says the number of a choice, and which roles the person may fill.
	chosen := decision
	chosen.Choice, chosen.Option, chosen.Roles, chosen.Via = "staging", 1, []string{"sre"}, workflows.ViaHome
	chosen.Inputs = map[string]string{"sum": "12.50"}
	as := func(d workflows.Decision, change func(*workflows.Decision)) workflows.Decision {
		change(&d)
		return d
	}
	// What is sent with a name alone, and what is taken of it.
	named := func(name string) workflows.Decision {
		d := chosen
		d.By, d.Choice, d.Option, d.Inputs, d.Role = workflows.Person{Name: name, Team: bob.Team}, "", 0, nil, "sre"
		return d
	}
	given := func(name string) workflows.Decision {
		d := decision
		d.By, d.Via, d.At = workflows.Person{}, workflows.Outside, at
		if name != "" {
			d.By.Name = name + " (outside Slack, as given)"
		}
		return d
	}
	cancelled := func(details ...any) error { return temporal.NewCanceledError(details...) }
	withdrawal := []workflows.Change{{Kind: workflows.Withdraw, By: bob, At: clicked, Via: workflows.ViaCommand}}

	of := func(d workflows.Decision) workflows.Result {
		return workflows.Result{Outcome: d.Outcome, Decisions: []workflows.Decision{d}, Card: d.Card, EndedAt: d.At}
	}
	outside := func(o workflows.Outcome, reason string) workflows.Result {
		return of(workflows.Decision{Outcome: o, At: at, Reason: reason, Via: workflows.Outside})
	}
	app := func(msg, errType string, details ...any) error {
		return temporal.NewApplicationErrorWithOptions(msg, errType, temporal.ApplicationErrorOptions{NonRetryable: true, Details: details})
	}
	for name, tc := range map[string]struct {
		value any
		err   error
		want  workflows.Result
		ok    bool
	}{
		"approved in Slack":                {value: ours(workflows.Approved, digest(r)), want: of(decision), ok: true},
		"rejected in Slack, by completion": {value: ours(workflows.Rejected, digest(r)), want: of(rejection), ok: true},
		"rejected in Slack":                {err: workflows.RejectedError(rejection), want: of(rejection), ok: true},
		"another request's digest":         {value: ours(workflows.Approved, strings.Repeat("0", 64)), want: failed(another)},
		"another request's rejection":      {err: workflows.RejectedError(wrong), want: failed(another)},
		"another's, by completion":         {value: ours(workflows.Rejected, "x"), want: failed(another)},
		"approved in Slack at no time":     {value: asMap(t, untimed), want: of(timed), ok: true},

		// With the digest of what was asked, somebody outside Slack can give a name, and nothing more.
		"a name alone": {
			value: asMap(t, named("alice")), want: of(given("alice")), ok: true,
		},
		"a name alone, rejected": {
			err:  workflows.RejectedError(as(named("alice"), func(d *workflows.Decision) { d.Outcome = workflows.Rejected })),
			want: of(as(given("alice"), func(d *workflows.Decision) { d.Outcome = workflows.Rejected })), ok: true,
		},
		"a name as long as may be": {value: asMap(t, named(strings.Repeat("é", 80))), want: of(given(strings.Repeat("é", 80))), ok: true},
		"a name that is too long":  {value: asMap(t, named(strings.Repeat("é", 81))), want: of(given(strings.Repeat("é", 80))), ok: true},
		"a name of spaces":         {value: asMap(t, named(" \t ")), want: of(given("")), ok: true},
		"a name among spaces":      {value: asMap(t, named(" alice\n")), want: of(given("alice")), ok: true},
		"a name alone, without a digest": {
			value: asMap(t, as(named("alice"), func(d *workflows.Decision) { d.Digest = "" })),
			want:  of(as(given(""), func(d *workflows.Decision) { d.Digest = "" })), ok: true,
		},
		"a name alone, of another request": {
			value: asMap(t, as(named("alice"), func(d *workflows.Decision) { d.Digest = strings.Repeat("0", 64) })), want: failed(another),
		},
		"a name alone, and the choice": {
			value: asMap(t, as(named("alice"), func(d *workflows.Decision) { d.Choice, d.Inputs = "staging", map[string]string{"sum": "1", "x": "y"} })),
			want:  of(as(given("alice"), func(d *workflows.Decision) { d.Choice, d.Inputs = "staging", map[string]string{"sum": "1"} })), ok: true,
		},
		"an ID that says outside is no name alone": {
			value: asMap(t, as(decision, func(d *workflows.Decision) { d.Via = workflows.Outside })),
			want:  of(as(decision, func(d *workflows.Decision) { d.Via = workflows.Outside })), ok: true,
		},
		"no digest": {value: ours(workflows.Approved, ""), want: of(forged), ok: true},

		"a choice, by its number": {
			value: asMap(t, as(chosen, func(d *workflows.Decision) { d.Choice = "" })), want: of(chosen), ok: true,
		},
		"the number counts, and not the name": {
			value: asMap(t, as(chosen, func(d *workflows.Decision) { d.Choice = "production" })), want: of(chosen), ok: true,
		},
		"the last choice, whose value is its label": {
			value: asMap(t, as(chosen, func(d *workflows.Decision) { d.Option = 2 })),
			want:  of(as(chosen, func(d *workflows.Decision) { d.Option, d.Choice = 2, "everywhere" })), ok: true,
		},
		"a choice that is not there": {
			value: asMap(t, as(chosen, func(d *workflows.Decision) { d.Option, d.Choice = 3, "" })),
			want:  of(as(chosen, func(d *workflows.Decision) { d.Option, d.Choice = 3, "" })), ok: true,
		},
		"a choice of minus one": {
			value: asMap(t, as(chosen, func(d *workflows.Decision) { d.Option, d.Choice = -1, "" })),
			want:  of(as(chosen, func(d *workflows.Decision) { d.Option, d.Choice = -1, "" })), ok: true,
		},
		"the role that they fill is not theirs to say": {
			value: asMap(t, as(chosen, func(d *workflows.Decision) { d.Role = "security" })), want: of(chosen), ok: true,
		},
		"a choice from outside": {
			value: map[string]any{"outcome": "approved", "choice": "staging", "roles": []any{"sre"}, "role": "sre", "via": "card"},
			want:  of(workflows.Decision{Outcome: workflows.Approved, At: at, Choice: "staging", Via: workflows.Outside}), ok: true,
		},
		"a choice from outside, by its number": {
			value: map[string]any{"outcome": "approved", "option": 1.0},
			want:  of(workflows.Decision{Outcome: workflows.Approved, At: at, Choice: "staging", Option: 1, Via: workflows.Outside}), ok: true,
		},
		"a choice from outside that was never offered": {
			value: map[string]any{"outcome": "approved", "choice": "To staging", "option": 3.0},
			want:  of(workflows.Decision{Outcome: workflows.Approved, At: at, Option: 3, Via: workflows.Outside}), ok: true,
		},
		"inputs from outside": {
			value: map[string]any{"outcome": "approved", "inputs": map[string]any{"sum": "7", "note": ""}},
			want:  of(workflows.Decision{Outcome: workflows.Approved, At: at, Inputs: map[string]string{"sum": "7", "note": ""}, Via: workflows.Outside}), ok: true,
		},
		"inputs from outside that were never asked for, or do not fit": {
			value: map[string]any{"outcome": "approved", "inputs": map[string]any{"sum": "much", "note": "x", "role": "admin"}},
			want:  of(workflows.Decision{Outcome: workflows.Approved, At: at, Inputs: map[string]string{"note": "x"}, Via: workflows.Outside}), ok: true,
		},
		"nothing from outside that was asked for": {
			value: map[string]any{"outcome": "approved", "choice": "production", "inputs": map[string]any{"sum": ""}},
			want:  outside(workflows.Approved, ""), ok: true,
		},
		"a rejection from outside that chooses": {
			err:  app("no", "", map[string]any{"reason": "because", "choice": "production", "inputs": map[string]any{"x": "y"}}),
			want: outside(workflows.Rejected, "because"), ok: true,
		},
		"inputs that are not text": {value: map[string]any{"outcome": "approved", "inputs": map[string]any{"a": 1.0}}, want: outside(workflows.Rejected, ""), ok: true},

		"true":                        {value: true, want: outside(workflows.Approved, ""), ok: true},
		"false":                       {value: false, want: outside(workflows.Rejected, ""), ok: true},
		"null":                        {value: nil, want: outside(workflows.Approved, ""), ok: true},
		"yes":                         {value: "yes", want: outside(workflows.Approved, ""), ok: true},
		"the word rejected":           {value: "rejected", want: outside(workflows.Rejected, ""), ok: true},
		"a number":                    {value: 42.0, want: outside(workflows.Approved, ""), ok: true},
		"an empty object":             {value: map[string]any{}, want: outside(workflows.Approved, ""), ok: true},
		"outcome rejected":            {value: map[string]any{"outcome": "rejected"}, want: outside(workflows.Rejected, ""), ok: true},
		"outcome rejected, malformed": {value: map[string]any{"outcome": "rejected", "at": "noon"}, want: outside(workflows.Rejected, ""), ok: true},
		"outcome with a reason": {
			value: map[string]any{"outcome": "rejected", "reason": "no"},
			want:  outside(workflows.Rejected, "no"), ok: true,
		},
		"approved: false":             {value: map[string]any{"approved": false}, want: outside(workflows.Rejected, ""), ok: true},
		"approved: true":              {value: map[string]any{"approved": true}, want: outside(workflows.Approved, ""), ok: true},
		"outcome withdrawn":           {value: map[string]any{"outcome": "withdrawn"}, want: outside(workflows.Rejected, ""), ok: true},
		"outcome unknown":             {value: map[string]any{"outcome": "perhaps"}, want: outside(workflows.Rejected, ""), ok: true},
		"outcome null":                {value: map[string]any{"outcome": nil}, want: outside(workflows.Rejected, ""), ok: true},
		"outcome approved, malformed": {value: map[string]any{"outcome": "approved", "at": "noon"}, want: outside(workflows.Rejected, ""), ok: true},
		"zero":                        {value: 0.0, want: outside(workflows.Rejected, ""), ok: true},
		"a list":                      {value: []any{false}, want: outside(workflows.Approved, ""), ok: true},
		"decision: deny":              {value: map[string]any{"decision": "deny"}, want: outside(workflows.Rejected, ""), ok: true},
		"status: failed":              {value: map[string]any{"status": "failed", "approved": true}, want: outside(workflows.Rejected, ""), ok: true},
		"result: an object":           {value: map[string]any{"result": map[string]any{"approved": false}}, want: outside(workflows.Rejected, ""), ok: true},
		"answer: yes":                 {value: map[string]any{"answer": "yes"}, want: outside(workflows.Approved, ""), ok: true},
		"approved: null":              {value: map[string]any{"approved": nil}, want: outside(workflows.Rejected, ""), ok: true},
		"somebody's name without a digest": {
			value: map[string]any{"outcome": "approved", "by": map[string]any{"id": "U0CAROL001"}},
			want:  outside(workflows.Approved, ""), ok: true,
		},

		"failed by the CLI":              {err: app("not like this", ""), want: outside(workflows.Rejected, "not like this"), ok: true},
		"failed by the CLI with details": {err: app("no", "", map[string]any{"reason": "because"}), want: outside(workflows.Rejected, "because"), ok: true},
		"rejected without details":       {err: app("no", workflows.ErrTypeRejected), want: outside(workflows.Rejected, "no"), ok: true},
		"rejected with other details":    {err: app("no", workflows.ErrTypeRejected, "x", 1), want: outside(workflows.Rejected, "no"), ok: true},
		"rejection that says approved": {
			err:  app("no", workflows.ErrTypeRejected, workflows.Decision{Outcome: workflows.Approved}),
			want: outside(workflows.Rejected, ""), ok: true,
		},

		"cancelled":                  {err: temporal.NewCanceledError(), want: workflows.Result{Outcome: workflows.Withdrawn, EndedAt: at}, ok: true},
		"cancelled as withdrawn":     {err: temporal.NewCanceledError(workflows.Result{Outcome: workflows.Withdrawn}), want: workflows.Result{Outcome: workflows.Withdrawn, EndedAt: at}, ok: true},
		"cancelled as expired":       {err: temporal.NewCanceledError(workflows.Result{Outcome: workflows.Expired}), want: workflows.Result{Outcome: workflows.Expired, EndedAt: at}, ok: true},
		"cancelled as approved":      {err: temporal.NewCanceledError(workflows.Result{Outcome: workflows.Approved}), want: workflows.Result{Outcome: workflows.Withdrawn, EndedAt: at}, ok: true},
		"cancelled by somebody else": {err: temporal.NewCanceledError("no longer needed"), want: workflows.Result{Outcome: workflows.Withdrawn, EndedAt: at}, ok: true},
		"cancelled, wrapped":         {err: fmt.Errorf("x: %w", temporal.NewCanceledError()), want: workflows.Result{Outcome: workflows.Withdrawn, EndedAt: at}, ok: true},
		"cancelled as withdrawn by a person": {
			err:  cancelled(workflows.Result{Outcome: workflows.Withdrawn, Changes: withdrawal}),
			want: workflows.Result{Outcome: workflows.Withdrawn, EndedAt: at, Changes: withdrawal}, ok: true,
		},
		"cancelled as approved, with changes": {
			err:  cancelled(workflows.Result{Outcome: workflows.Approved, Changes: withdrawal}),
			want: workflows.Result{Outcome: workflows.Withdrawn, EndedAt: at}, ok: true,
		},
		"cancelled as nothing, with changes": {
			err:  cancelled(workflows.Result{Changes: withdrawal}),
			want: workflows.Result{Outcome: workflows.Withdrawn, EndedAt: at}, ok: true,
		},
		"cancelled as changed": {err: cancelled(workflows.Result{Outcome: workflows.Changed}), want: workflows.Result{Outcome: workflows.Changed, EndedAt: at}, ok: true},
		"cancelled as failed": {
			err:  cancelled(workflows.Result{Outcome: workflows.Failed, Note: "The card could not be posted."}),
			want: workflows.Result{Outcome: workflows.Failed, EndedAt: at, Note: "The card could not be posted."}, ok: true,
		},
		"cancelled with somebody's decision": {
			err:  cancelled(workflows.Result{Outcome: workflows.Expired, Decisions: []workflows.Decision{decision}, ByDeadline: true, Card: posted}),
			want: workflows.Result{Outcome: workflows.Expired, EndedAt: at}, ok: true,
		},
		"timed out":                   {err: temporal.NewTimeoutError(enumspb.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE, errors.New("slack is away")), want: workflows.Result{Outcome: workflows.Expired, EndedAt: at}, ok: true},
		"invalid request":             {err: workflows.InvalidRequestError("Nobody may decide."), want: workflows.Result{Outcome: workflows.Failed, EndedAt: at, Note: "Nobody may decide."}},
		"refused by Slack":            {err: app("That channel is archived.", workflows.ErrTypeRefused), want: workflows.Result{Outcome: workflows.Failed, EndedAt: at, Note: "That channel is archived."}},
		"an error of the application": {err: app("disk full", "DiskError"), want: workflows.Result{Outcome: workflows.Failed, EndedAt: at, Note: "disk full"}},
		"an error of no kind":         {err: errors.New("boom"), want: workflows.Result{Outcome: workflows.Failed, EndedAt: at, Note: unread}},
		"the program's own cancelled context": {
			err: context.Canceled, want: workflows.Result{Outcome: workflows.Failed, EndedAt: at, Note: unread},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tc.err
			if temporal.IsApplicationError(err) || temporal.IsCanceledError(err) { // As a workflow gets it.
				convert := temporal.GetDefaultFailureConverter()
				err = convert.FailureToError(convert.ErrorToFailure(err))
			}
			got, ok := workflows.ResultOf(r, tc.value, err, at)
			if diff := cmp.Diff(tc.want, got); diff != "" || ok != tc.ok {
				t.Errorf("ok is %v, want %v; result (-want +got):\n%s", ok, tc.ok, diff)
			}
			if c, ok := got.Withdrawal(); ok != (len(tc.want.Changes) > 0) || ok && c.By != bob {
				t.Errorf("withdrawn by %+v, %v", c.By, ok)
			}
			d, decided := got.Decision()
			if decided != (got.Outcome == workflows.Approved || got.Outcome == workflows.Rejected) {
				t.Errorf("%s has a decision: %v", got.Outcome, decided)
			}
			if decided && d.Outside() == (d.By == bob) {
				t.Errorf("Outside is %v for a decision by %+v", d.Outside(), d.By)
			}
		})
	}
}

func TestWordsThatSayNo(t *testing.T) {
	t.Parallel()
	r := workflows.Request{Title: "Greet World"}
	for want, words := range map[workflows.Outcome][]string{
		workflows.Rejected: {
			"no", "No", " NO\n", "n", "false", "0", "reject", "Rejected", "deny", "denied", "decline", "declined", "refuse", "refused",
			"fail", "failed", "expired", "withdrawn", "cancelled", "canceled",
		},
		workflows.Approved: {"yes", "approved", "ok", "true", "1", "", "notable"},
	} {
		for _, word := range words {
			if res, ok := workflows.ResultOf(r, word, nil, started); res.Outcome != want || !ok {
				t.Errorf("%q is %s, %v; want %s", word, res.Outcome, ok, want)
			}
		}
	}
}

// asMap is v as a workflow reads it without a type.
func asMap(t *testing.T, v any) (m map[string]any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRejectedErrorSaysWhoAndWhy(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		d    workflows.Decision
		want string
	}{
		"somebody, with a reason": {workflows.Decision{By: bob, Reason: "not today"}, "rejected by bob: not today"},
		"somebody":                {workflows.Decision{By: bob}, "rejected by bob"},
		"nobody known":            {workflows.Decision{}, "rejected"},
		"somebody outside Slack":  {workflows.Decision{By: workflows.Person{Name: "alice" + workflows.AsGiven}}, "rejected by alice (outside Slack, as given)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var app *temporal.ApplicationError
			if err := workflows.RejectedError(tc.d); !errors.As(err, &app) || app.Message() != tc.want || !app.NonRetryable() {
				t.Errorf("RejectedError(%+v) = %v, want a final one that says %q", tc.d, err, tc.want)
			}
		})
	}
}

func TestResultTellsWhoEndedIt(t *testing.T) {
	t.Parallel()
	approval, withdrawal := workflows.Decision{Outcome: workflows.Approved, By: bob}, workflows.Change{Kind: workflows.Withdraw, By: bob}
	rejection := workflows.Decision{Outcome: workflows.Rejected, By: bob}
	extension := workflows.Change{Kind: workflows.Extend, By: bob}
	both := []workflows.Decision{approval, rejection}
	for name, tc := range map[string]struct {
		res       workflows.Result
		decided   workflows.Outcome
		withdrawn bool
	}{
		"nothing":                     {},
		"approved":                    {workflows.Result{Outcome: workflows.Approved, Decisions: both[:1]}, workflows.Approved, false},
		"rejected after an approval":  {workflows.Result{Outcome: workflows.Rejected, Decisions: both}, workflows.Rejected, false},
		"expired after an approval":   {workflows.Result{Outcome: workflows.Expired, Decisions: both[:1]}, "", false},
		"approved by the deadline":    {workflows.Result{Outcome: workflows.Approved, Decisions: both[:1], ByDeadline: true}, "", false},
		"rejected by the deadline":    {workflows.Result{Outcome: workflows.Rejected, ByDeadline: true}, "", false},
		"withdrawn by a person":       {workflows.Result{Outcome: workflows.Withdrawn, Changes: []workflows.Change{extension, withdrawal}}, "", true},
		"withdrawn after an approval": {workflows.Result{Outcome: workflows.Withdrawn, Decisions: both[:1], Changes: []workflows.Change{withdrawal}}, "", true},
		"cancelled":                   {workflows.Result{Outcome: workflows.Withdrawn, Changes: []workflows.Change{extension}}, "", false},
		"withdrawn too late":          {workflows.Result{Outcome: workflows.Approved, Decisions: both[:1], Changes: []workflows.Change{withdrawal}}, workflows.Approved, false},
	} {
		if d, ok := tc.res.Decision(); ok != (tc.decided != "") || d.Outcome != tc.decided {
			t.Errorf("%s: decided %q, %v; want %q", name, d.Outcome, ok, tc.decided)
		}
		if c, ok := tc.res.Withdrawal(); ok != tc.withdrawn || ok && c.By != bob {
			t.Errorf("%s: withdrawn by %+v, %v; want %v", name, c.By, ok, tc.withdrawn)
		}
	}
}
