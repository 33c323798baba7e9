package card

import (
	"strings"
	"testing"

	"countersign/workflows"
)

func TestDirect(t *testing.T) {
	t.Parallel()
	handed := halfway()
	handed.Changes = handed.Changes[:1]
	unasked := round(request(), 1)
	unasked.Requester = ""
	for name, tc := range map[string]struct {
		round workflows.Round
		event workflows.Event
		want  string // of the text
	}{
		"direct":           {round(request(), 1), workflows.Asked, "<@U0ALICE001> asks for your decision: please decide until <!date^"},
		"direct_by_nobody": {unasked, workflows.Asked, "Your decision is wanted: please decide until <!date^"},
		"direct_delegated": {handed, workflows.Delegated, "handed their place over to you: please decide until <!date^"},
		"direct_escalated": {handed, workflows.Escalated, "This was escalated to you: please decide until <!date^"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := Direct(workflows.Line{Event: tc.event, Round: tc.round, To: "U0CAROL001", Permalink: cardLink})
			golden(t, name, map[string]any{"text": m.Text, "blocks": m.Blocks})
			fits(t, m)
			if !strings.Contains(m.Text, tc.want) || !strings.Contains(m.Text, "Open card") {
				t.Errorf("it says %q, want %q, and the way to the card", m.Text, tc.want)
			}
		})
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	sre := workflows.Approvers{Users: []string{"U0CAROL001"}, Groups: []string{"S0SRE00001"}}
	many, chosen, outside, rejected, handed, byHand, given := halfway(), choosing(), halfway(), halfway(), halfway(), halfway(), halfway()
	chosen.Decisions = []workflows.Decision{approval(bob, "eu-1", "Now.\n*Really*.")}
	outside.Decisions[0].By, given.Decisions[0].By = workflows.Person{}, pipeline
	rejected.Decisions = append(rejected.Decisions, workflows.Decision{Outcome: workflows.Rejected, By: carol, Reason: "No <!here>."})
	handed.Changes = handed.Changes[:1]
	many.Changes = many.Changes[:2]
	byHand.Changes[2].By = alice

	for name, tc := range map[string]struct {
		round   workflows.Round
		event   workflows.Event
		mention workflows.Approvers
		want    string // of the text
	}{
		"asked":           {round(request(), 1), workflows.Asked, sre, "<@U0CAROL001>, <!subteam^S0SRE00001>: please decide until <!date^"},
		"asked_nobody":    {round(request(), 1), workflows.Asked, workflows.Approvers{}, "Please decide until <!date^"},
		"asked_channel":   {round(request(), 1), workflows.Asked, workflows.Approvers{Channel: true}, "Anyone in this channel: please decide"},
		"decided":         {many, workflows.Decided, sre, "<@U0BOB00001> approved (1 of 3) as Security. Missing: 2 (Operations). Comment: Looks *good*."},
		"decided_choice":  {chosen, workflows.Decided, sre, "<@U0BOB00001> approved (1 of 2): Production (Europe). 1 more wanted. Comment: Now.\n*Really*."},
		"decided_outside": {outside, workflows.Decided, sre, "Somebody outside Slack approved (1 of 3)"},
		"decided_given":   {given, workflows.Decided, sre, "pipeline_4711 &lt;b&gt; &amp; co (outside Slack, as given) approved (1 of 3)"},
		"decided_no":      {rejected, workflows.Decided, sre, "<@U0CAROL001> rejected."},
		"reminded":        {many, workflows.Reminded, sre, "<@U0CAROL001>, <!subteam^S0SRE00001>: this still waits for a decision, until <!date^1795269600^"},
		"escalated":       {halfway(), workflows.Escalated, sre, "This was escalated. Deploy web 2.4.0."},
		"escalated_by":    {byHand, workflows.Escalated, sre, "This was escalated by <@U0ALICE001>."},
		"delegated":       {handed, workflows.Delegated, workflows.Approvers{Users: []string{"U0BOB00001"}}, "<@U0CAROL001> handed their place over to <@U0BOB00001>."},
		"extended":        {many, workflows.Extended, sre, "Extended by <@U0ALICE001> until <!date^1795269600^"},
		"unknown":         {many, "of a later version", sre, "This has changed."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := Line(workflows.Line{Event: tc.event, Round: tc.round}, tc.mention)
			golden(t, "line_"+name, map[string]any{"text": m.Text, "blocks": m.Blocks})
			fits(t, m)
			if !strings.Contains(m.Text, tc.want) {
				t.Errorf("the line is %q, want %q in it", m.Text, tc.want)
			}
			if tc.event == workflows.Decided && strings.Contains(m.Text, "<!subteam") {
				t.Errorf("a decision calls a group: %q", m.Text)
			}
		})
	}
}

// Who has decided is not called again.
func TestReminderCallsOnlyThoseItNames(t *testing.T) {
	t.Parallel()
	r := choosing()
	r.Decisions = []workflows.Decision{approval(bob, "eu-1", "")}
	m := Line(workflows.Line{Event: workflows.Reminded, Round: r}, workflows.Approvers{Users: []string{carol.ID}})
	if strings.Contains(m.Text, bob.ID) || !strings.Contains(m.Text, "<@"+carol.ID+">") {
		t.Errorf("the reminder is %q", m.Text)
	}
}
