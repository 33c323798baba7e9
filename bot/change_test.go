package bot

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"countersign/internal/card"
	"countersign/internal/reference"
	"countersign/workflows"
)

// chosen is the payload of an option that was chosen in the menu of a card.
func chosen(who workflows.Person, kind workflows.ChangeKind, sealed string) map[string]any {
	p := clicked(who, card.ActionMore, "")
	action := p["actions"].([]any)[0].(map[string]any)
	action["type"], action["selected_option"] = "overflow", map[string]any{"value": string(kind)}
	delete(action, "value")
	p["message"] = map[string]any{"ts": at.TS, "blocks": []any{
		map[string]any{"type": "rich_text", "block_id": "r4nd0m", "elements": []any{map[string]any{"type": "rich_text_section", "elements": []any{}}}},
		map[string]any{"type": "actions", "block_id": card.BlockDecision + "-1", "elements": []any{
			map[string]any{"type": "button", "action_id": card.ActionApprove, "value": sealed},
			map[string]any{"type": "button", "action_id": card.ActionReject, "value": sealed},
			map[string]any{"type": "overflow", "action_id": card.ActionMore, "options": []any{map[string]any{"value": string(kind)}}},
		}},
	}}
	return p
}

// changed are the changes that Temporal was asked for.
func changed(t *testing.T, f *fakeTemporal) (all []workflows.Change) {
	t.Helper()
	for _, o := range f.changes {
		if o.WorkflowID != "greet-1" || o.RunID != "run-1" || o.UpdateName != workflows.UpdateChange ||
			o.WaitForStage != client.WorkflowUpdateStageCompleted || len(o.Args) != 1 || len(o.UpdateID) != 64 {
			t.Errorf("updates %+v", o)
		}
		all = append(all, o.Args[0].(workflows.Change))
	}
	return all
}

func notChanged(sentence string) error {
	return temporal.NewApplicationErrorWithOptions(sentence, workflows.ErrTypeNotChanged, temporal.ApplicationErrorOptions{NonRetryable: true})
}

func TestMenu(t *testing.T) {
	t.Parallel()
	const another = "Only who asked for this, or who may decide it, can change it."
	grouped := func(r *reference.Reference) { r.Groups = []string{"S0EMPTY001", "S0SRE00001"} }
	alone := func(r *reference.Reference) { r.Users = []string{bob.ID} }
	guests := func(r *reference.Reference) { alone(r); r.AllowGuests, r.Channel = true, true }
	guestAsks := func(r *reference.Reference) { alone(r); r.Requester = guest.ID }
	inRole := func(r *reference.Reference) {
		r.Users, r.Roles = nil, []reference.Role{{Name: "a", Users: []string{bob.ID}}, {Name: "b", Users: []string{guest.ID}, Groups: []string{"S0SRE00001"}}}
	}
	stepped := request
	stepped.Escalate = []workflows.Escalation{{After: "1h", Approvers: workflows.Approvers{Users: []string{carol.ID}}}}
	reads := func(r workflows.Request) *fakeTemporal {
		return &fakeTemporal{histories: [][]*historypb.HistoryEvent{historyOf(t, r)}}
	}
	ended := [][]*historypb.HistoryEvent{history(t, decidedBy(t, carol, workflows.Approved))}
	former, robot := workflows.Person{ID: "U0FORMER01", Team: team}, workflows.Person{ID: "U0ROBOT001", Team: team}
	type test struct {
		temporal *fakeTemporal
		ref      func(*reference.Reference)
		who      workflows.Person
		kind     workflows.ChangeKind
		fails    error // look-ups

		modal string // the callback of the one that opens
		said  []string
	}
	tests := map[string]test{
		"withdraw":                    {who: alice, kind: workflows.Withdraw, modal: card.CallbackChange},
		"withdraw, by an approver":    {who: bob, kind: workflows.Withdraw, said: []string{"Only who asked for this can withdraw it."}},
		"withdraw, by a guest":        {who: guest, ref: guestAsks, kind: workflows.Withdraw, modal: card.CallbackChange},
		"escalate":                    {who: alice, temporal: reads(stepped), kind: workflows.Escalate, modal: card.CallbackChange},
		"escalate, by who is named":   {who: bob, ref: grouped, temporal: reads(stepped), kind: workflows.Escalate, modal: card.CallbackChange},
		"escalate, by a member":       {who: carol, ref: grouped, temporal: reads(stepped), kind: workflows.Escalate, modal: card.CallbackChange},
		"escalate, to nobody":         {who: bob, kind: workflows.Escalate, said: []string{"nobody else to escalate"}},
		"delegate":                    {who: bob, kind: workflows.Delegate, modal: card.CallbackDelegate},
		"extend":                      {who: bob, kind: workflows.Extend, modal: card.CallbackExtend},
		"extend, by a role's":         {who: bob, ref: inRole, kind: workflows.Extend, modal: card.CallbackExtend},
		"extend, by a role's member":  {who: carol, ref: inRole, kind: workflows.Extend, modal: card.CallbackExtend},
		"extend, by anyone":           {who: carol, ref: guests, kind: workflows.Extend, modal: card.CallbackExtend},
		"extend, by an allowed guest": {who: guest, ref: guests, kind: workflows.Extend, modal: card.CallbackExtend},
		"extend, by a named guest":    {who: guest, kind: workflows.Extend, modal: card.CallbackExtend},
		"extend, by a role's guest":   {who: guest, ref: inRole, kind: workflows.Extend, modal: card.CallbackExtend},
		"an option that there is not": {who: bob, kind: "explode", said: []string{"another version of the app", "nothing was changed"}},
		"no option":                   {who: bob, said: []string{"another version of the app"}},
		"show":                        {who: carol, kind: card.MenuShow, said: []string{"`greet-1`"}},
		"show, to a guest":            {who: guest, ref: alone, kind: card.MenuShow, said: []string{"`greet-1`"}},

		"extend, too late":                             {who: bob, kind: workflows.Extend, temporal: &fakeTemporal{histories: ended}, said: []string{"Too late. Approved by <@U0CAROL001>"}},
		"withdraw, too late":                           {who: alice, kind: workflows.Withdraw, temporal: &fakeTemporal{histories: ended}, said: []string{"Too late. Approved by <@U0CAROL001>"}},
		"extend, workflow forgotten":                   {who: bob, kind: workflows.Extend, temporal: &fakeTemporal{reads: []error{notFound}}, said: []string{"does not have this request"}},
		"extend, Temporal is away":                     {who: bob, kind: workflows.Extend, temporal: &fakeTemporal{reads: []error{unavailable}}, said: []string{"could not read this request"}},
		"withdraw, Temporal is away":                   {who: alice, kind: workflows.Withdraw, temporal: &fakeTemporal{reads: []error{unavailable}}, said: []string{"could not read this request"}},
		"extend, Temporal hangs":                       {who: bob, kind: workflows.Extend, temporal: &fakeTemporal{reads: []error{errHangs}}, said: []string{"could not read this request"}},
		"group cannot be looked up":                    {who: carol, ref: grouped, kind: workflows.Extend, fails: errGroups, said: []string{"could not check with Slack", "nothing was changed"}},
		"requester, and the group cannot be looked up": {who: alice, ref: grouped, kind: workflows.Extend, fails: errGroups, modal: card.CallbackExtend},
	}
	for _, kind := range []workflows.ChangeKind{workflows.Withdraw, workflows.Extend, workflows.Delegate, workflows.Escalate, "explode", card.MenuShow} {
		shows := kind == card.MenuShow
		for name, tc := range map[string]test{
			"by a person of another workspace": {who: external, said: []string{"Only people of this workspace can change requests here."}},
			"by another org's under our team":  {who: workflows.Person{ID: external.ID, Team: team}, said: []string{string(refuseAccountChange)}},
			"by a bot":                         {who: robot, said: []string{string(refuseAccountChange)}},
			"by a deactivated person":          {who: former, said: []string{string(refuseAccountChange)}},
			"by a named, deactivated person":   {who: former, ref: func(r *reference.Reference) { r.Users = []string{former.ID} }, said: []string{string(refuseAccountChange)}},
			"by a stranger":                    {who: carol, said: []string{another}},
			"by a guest":                       {who: guest, ref: alone, said: []string{"Guests can change only"}},
			"by a guest who is a member":       {who: guest, ref: func(r *reference.Reference) { alone(r); grouped(r) }, said: []string{"Guests can change only"}},
			"Slack is down":                    {who: alice, fails: errors.New("down"), said: []string{"could not check with Slack whether you may change this", "nothing was changed"}},
		} {
			if tc.kind = kind; shows && (tc.who == carol || tc.who == guest) {
				continue
			}
			tests[string(kind)+", "+name] = tc
		}
	}
	for name, tc := range tests {
		inTime(t, name, func(t *testing.T) {
			s, f := newSlack(), cmp.Or(tc.temporal, new(fakeTemporal))
			s.lookUp = tc.fails
			b, sealed := newBot(t, s, f, tc.ref)
			r := deliver(t, b, interactive, chosen(tc.who, tc.kind, sealed))
			if !r.ack || r.body != nil || len(f.completions)+len(f.started)+len(f.changes) > 0 {
				t.Errorf("acknowledged %v with %v after %d decisions and changes %v", r.ack, r.body, len(f.completions), f.changes)
			}
			says(t, s, tc.said)
			callback := ""
			for _, v := range s.modals {
				callback += v.CallbackID
				var m modal
				want := modal{Reference: sealed, Channel: at.Channel, TS: at.TS, Action: string(tc.kind)}
				if err := json.Unmarshal([]byte(v.PrivateMetadata), &m); err != nil || m != want {
					t.Errorf("the modal keeps %+v (%v), want %+v", m, err, want)
				}
			}
			if callback != tc.modal {
				t.Errorf("opened %q, want %q", callback, tc.modal)
			}
		})
	}
}

// A menu's click has no reference of its own: it is that of the buttons beside it.
func TestMenuFindsItsReference(t *testing.T) {
	t.Parallel()
	blocks := func(p map[string]any) []any { return p["message"].(map[string]any)["blocks"].([]any) }
	buttons := func(p map[string]any) map[string]any { return blocks(p)[1].(map[string]any) }
	elements := func(p map[string]any) []any { return buttons(p)["elements"].([]any) }
	setBlocks := func(p map[string]any, all ...any) { p["message"].(map[string]any)["blocks"] = all }
	action := func(p map[string]any) map[string]any { return p["actions"].([]any)[0].(map[string]any) }
	for name, tc := range map[string]struct {
		change func(p map[string]any)
		ok     bool
		quiet  bool // not even said that it did not work
		drop   bool
	}{
		"as Slack sends it":        {change: func(map[string]any) {}, ok: true},
		"no message":               {change: func(p map[string]any) { delete(p, "message") }},
		"a message that is none":   {change: func(p map[string]any) { p["message"] = "hello" }},
		"a message that is a list": {change: func(p map[string]any) { p["message"] = []any{1, nil} }},
		"null":                     {change: func(p map[string]any) { p["message"] = nil }},
		"no blocks":                {change: func(p map[string]any) { setBlocks(p) }},
		"blocks that are none":     {change: func(p map[string]any) { p["message"].(map[string]any)["blocks"] = map[string]any{"x": 1} }},
		"other blocks of any kind": {change: func(p map[string]any) {
			setBlocks(p, nil, "x", 7, map[string]any{"block_id": 9, "elements": 7}, buttons(p), []any{})
		}, ok: true},
		"buttons of another block": {change: func(p map[string]any) { buttons(p)["block_id"] = card.BlockDecision + "-2" }},
		"elements that are none":   {change: func(p map[string]any) { buttons(p)["elements"] = "approve" }},
		"an element that is none": {change: func(p map[string]any) {
			buttons(p)["elements"] = append([]any{nil, 7, map[string]any{"value": 7}}, elements(p)...)
		}, ok: true},
		"no button to reject":      {change: func(p map[string]any) { buttons(p)["elements"] = elements(p)[:1] }},
		"a button without a value": {change: func(p map[string]any) { delete(elements(p)[1].(map[string]any), "value") }},
		"a forged reference":       {change: func(p map[string]any) { elements(p)[1].(map[string]any)["value"] = "v1.x.y" }},
		"a huge reference":         {change: func(p map[string]any) { elements(p)[1].(map[string]any)["value"] = strings.Repeat("x", 1<<20) }},
		"many blocks":              {change: func(p map[string]any) { setBlocks(p, append(make([]any, 10_000), buttons(p))...) }, ok: true},
		"deep nesting": {change: func(p map[string]any) {
			setBlocks(p, json.RawMessage(strings.Repeat("[", 5000)+strings.Repeat("]", 5000)), buttons(p))
		}, ok: true},
		"half an emoji": {change: func(p map[string]any) {
			setBlocks(p, map[string]any{"type": "section", "text": json.RawMessage(`"\ud83d"`)}, buttons(p))
		}, ok: true},
		"a menu of another block": {change: func(p map[string]any) { action(p)["block_id"] = "fields" }, quiet: true},
		"two actions":             {change: func(p map[string]any) { p["actions"] = []any{action(p), action(p)} }},
		"no option":               {change: func(p map[string]any) { delete(action(p), "selected_option") }},
		"an option that is none":  {change: func(p map[string]any) { action(p)["selected_option"] = "withdraw" }, drop: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, f := newSlack(), &fakeTemporal{}
			b, sealed := newBot(t, s, f, nil)
			p := chosen(alice, workflows.Withdraw, sealed)
			tc.change(p)
			r := deliver(t, b, interactive, p)
			if r.ack == tc.drop || len(f.completions)+len(f.started) > 0 {
				t.Errorf("acknowledged %v after %d decisions", r.ack, len(f.completions))
			}
			if ok := len(s.modals) == 1; ok != tc.ok || len(f.changes) > 0 {
				t.Errorf("opened %v, want %v; changed %v", ok, tc.ok, f.changes)
			}
			if told := len(s.said) == 1; told == (tc.ok || tc.quiet || tc.drop) {
				t.Errorf("said %q", s.said)
			}
		})
	}
}

// A change that is asked for twice is one; another one is another.
func TestUpdateIDs(t *testing.T) {
	t.Parallel()
	f := &fakeTemporal{}
	b, sealed := newBot(t, newSlack(), f, nil)
	m := modal{Reference: sealed, Channel: at.Channel, TS: at.TS}
	longer := func(d string) map[string]any {
		return filled(t, bob, card.CallbackExtend, m, fills(card.BlockLonger, "static_select", "selected_option", map[string]any{"value": d}))
	}
	withdraws := func(view string) map[string]any {
		withdraw := m
		withdraw.Action = string(workflows.Withdraw)
		p := filled(t, alice, card.CallbackChange, withdraw, nil)
		p["view"].(map[string]any)["id"] = view
		return p
	}
	for _, p := range []map[string]any{
		withdraws("V0VIEW0001"), withdraws("V0VIEW0001"), withdraws("V0VIEW0002"), longer("1h"), longer("1h"), longer("4h"),
	} {
		deliver(t, b, interactive, p)
	}
	ids := make(map[string]int)
	for _, o := range f.changes {
		ids[o.UpdateID]++
	}
	if len(f.changes) != 6 || len(ids) != 4 || ids[f.changes[0].UpdateID] != 2 || ids[f.changes[3].UpdateID] != 2 {
		t.Errorf("updates %v of %d calls", ids, len(f.changes))
	}
}

// checkReplaced fails the test where the reply does not put a view that says that in the modal's place.
func checkReplaced(t *testing.T, r reply, says string) {
	t.Helper()
	body, _ := r.body.(map[string]any)
	v, _ := body["view"].(slack.ModalViewRequest)
	shown, err := json.Marshal(v.Blocks)
	var blocks []struct{ Text struct{ Type, Text string } }
	if err == nil {
		err = json.Unmarshal(shown, &blocks)
	}
	if err != nil || !r.ack || body["response_action"] != "update" || v.CallbackID != card.CallbackTold || v.Submit != nil ||
		len(blocks) != 1 || blocks[0].Text.Type != "plain_text" || !strings.Contains(blocks[0].Text.Text, says) || strings.Contains(blocks[0].Text.Text, "10.0.0.7") {
		t.Errorf("answered %v (acknowledged %v) with %s, want the modal to say %q", body, r.ack, shown, says)
	}
}

func TestSubmitChange(t *testing.T) {
	t.Parallel()
	person := func(id string) map[string]any { return fills(card.BlockPerson, "users_select", "selected_user", id) }
	longer := func(d string) map[string]any {
		return fills(card.BlockLonger, "static_select", "selected_option", map[string]any{"value": d})
	}
	named := errors.New("down")
	for name, tc := range map[string]struct {
		temporal *fakeTemporal
		ref      func(*reference.Reference)
		who      workflows.Person
		callback string
		action   workflows.ChangeKind
		state    map[string]any
		sealed   func(string) string
		fails    error

		want *workflows.Change
		says string // in the modal; empty: it closes
	}{
		"delegates": {
			who: bob, callback: card.CallbackDelegate, state: person(carol.ID),
			want: &workflows.Change{Kind: workflows.Delegate, To: carol.ID},
		},
		"extends": {
			who: alice, callback: card.CallbackExtend, state: longer("4h"), want: &workflows.Change{Kind: workflows.Extend, Longer: "4h"},
		},
		"extends, as a member": {
			who: carol, callback: card.CallbackExtend, state: longer("1d"), ref: func(r *reference.Reference) { r.Groups = []string{"S0SRE00001"} },
			want: &workflows.Change{Kind: workflows.Extend, Longer: "1d", Groups: []string{"S0SRE00001"}},
		},
		"withdraws": {
			who: alice, callback: card.CallbackChange, action: workflows.Withdraw, want: &workflows.Change{Kind: workflows.Withdraw},
		},
		"withdraws, as a guest": {
			who: guest, callback: card.CallbackChange, action: workflows.Withdraw, want: &workflows.Change{Kind: workflows.Withdraw},
			ref: func(r *reference.Reference) { r.Requester, r.Users = guest.ID, []string{bob.ID} },
		},
		"withdraws, by another": {
			who: bob, callback: card.CallbackChange, action: workflows.Withdraw, want: &workflows.Change{Kind: workflows.Withdraw},
			temporal: &fakeTemporal{answers: []error{notChanged("Only who asked for this can withdraw it.")}}, says: "Only who asked for this can withdraw it.",
		},
		"Temporal refuses the call": {
			who: bob, callback: card.CallbackChange, action: workflows.Withdraw, want: &workflows.Change{Kind: workflows.Withdraw},
			temporal: &fakeTemporal{updates: []error{notChanged("Only who asked for this can withdraw it.")}}, says: "Only who asked for this can withdraw it.",
		},
		"refused with what is no sentence of ours": {
			who: bob, callback: card.CallbackChange, action: workflows.Withdraw, want: &workflows.Change{Kind: workflows.Withdraw},
			temporal: &fakeTemporal{answers: []error{notChanged("No, <!channel> & co.")}}, says: "No, <!channel> & co.",
		},
		"escalates": {
			who: bob, callback: card.CallbackChange, action: workflows.Escalate, want: &workflows.Change{Kind: workflows.Escalate},
		},
		"escalates, as a member": {
			who: carol, callback: card.CallbackChange, action: workflows.Escalate, ref: func(r *reference.Reference) { r.Groups = []string{"S0EMPTY001", "S0SRE00001"} },
			want: &workflows.Change{Kind: workflows.Escalate, Groups: []string{"S0SRE00001"}},
		},
		"escalates, and the group cannot be looked up": {
			who: carol, callback: card.CallbackChange, action: workflows.Escalate, ref: func(r *reference.Reference) { r.Groups = []string{"S0SRE00001"} },
			fails: errGroups, says: "nothing was changed",
		},
		"escalates as the requester, and the group cannot be looked up": {
			who: alice, callback: card.CallbackChange, action: workflows.Escalate, ref: func(r *reference.Reference) { r.Groups = []string{"S0SRE00001"} },
			fails: errGroups, want: &workflows.Change{Kind: workflows.Escalate},
		},
		"a change that there is not": {
			who: bob, callback: card.CallbackChange, action: "explode", want: &workflows.Change{Kind: "explode"},
			temporal: &fakeTemporal{answers: []error{notChanged("This app knows no such change.")}}, says: "no such change",
		},
		"by a guest": {
			who: guest, callback: card.CallbackChange, action: workflows.Escalate, ref: func(r *reference.Reference) { r.Users = []string{bob.ID} },
			says: "Guests can change only",
		},
		"withdraws, too late": {
			who: alice, callback: card.CallbackChange, action: workflows.Withdraw, want: &workflows.Change{Kind: workflows.Withdraw},
			temporal: &fakeTemporal{updates: []error{notFound}, histories: [][]*historypb.HistoryEvent{history(t, decidedBy(t, carol, workflows.Approved))}},
			says:     "Too late. Approved by carol",
		},
		"workflow forgotten": {
			who: alice, callback: card.CallbackChange, action: workflows.Withdraw, want: &workflows.Change{Kind: workflows.Withdraw},
			temporal: &fakeTemporal{updates: []error{notFound}, describes: answers{notFound}}, says: "does not have this request",
		},
		"gone, and Temporal does not say why": {
			who: alice, callback: card.CallbackChange, action: workflows.Withdraw, want: &workflows.Change{Kind: workflows.Withdraw},
			temporal: &fakeTemporal{answers: []error{notFound}, describes: answers{unavailable}}, says: "not open any more",
		},
		"the workflow fails otherwise": {
			who: alice, callback: card.CallbackChange, action: workflows.Withdraw, want: &workflows.Change{Kind: workflows.Withdraw},
			temporal: &fakeTemporal{answers: []error{temporal.NewApplicationError("secret: at 10.0.0.7", "Oops")}}, says: "could not confirm",
		},
		"withdraws, Temporal is away": {
			who: alice, callback: card.CallbackChange, action: workflows.Withdraw, want: &workflows.Change{Kind: workflows.Withdraw},
			temporal: &fakeTemporal{updates: []error{unavailable}}, says: "Look at the card",
		},
		"Temporal takes too long": {
			who: alice, callback: card.CallbackChange, action: workflows.Withdraw, want: &workflows.Change{Kind: workflows.Withdraw},
			temporal: &fakeTemporal{answers: []error{client.NewWorkflowUpdateServiceTimeoutOrCanceledError(context.DeadlineExceeded)}}, says: "could not confirm",
		},
		"Temporal's time is up": {
			who: alice, callback: card.CallbackChange, action: workflows.Withdraw, want: &workflows.Change{Kind: workflows.Withdraw},
			temporal: &fakeTemporal{updates: []error{serviceerror.NewDeadlineExceeded("later")}}, says: "could not confirm",
		},
		"withdraws by a reference of another deployment": {
			who: alice, callback: card.CallbackChange, action: workflows.Withdraw, ref: func(r *reference.Reference) { r.Namespace = "staging" }, says: string(refusePlace),
		},
		"to nobody": {
			who: bob, callback: card.CallbackDelegate, state: person(""), temporal: &fakeTemporal{answers: []error{notChanged("Say to whom you hand your place over.")}},
			want: &workflows.Change{Kind: workflows.Delegate}, says: "Say to whom",
		},
		"for no time": {
			who: bob, callback: card.CallbackExtend, state: longer(""), temporal: &fakeTemporal{answers: []error{notChanged("Say how much longer.")}},
			want: &workflows.Change{Kind: workflows.Extend}, says: "Say how much longer",
		},
		"to a bot":                         {who: bob, callback: card.CallbackDelegate, state: person("U0ROBOT001"), says: "choose somebody else"},
		"to a deactivated person":          {who: bob, callback: card.CallbackDelegate, state: person("U0FORMER01"), says: "choose somebody else"},
		"to a person of another workspace": {who: bob, callback: card.CallbackDelegate, state: person(external.ID), says: "choose somebody else"},
		"to a guest":                       {who: bob, callback: card.CallbackDelegate, state: person(guest.ID), says: "Guests can decide only"},
		"to a guest, where guests may": {
			who: bob, callback: card.CallbackDelegate, state: person(guest.ID), ref: func(r *reference.Reference) { r.AllowGuests = true },
			want: &workflows.Change{Kind: workflows.Delegate, To: guest.ID},
		},
		"to whom nobody knows":            {who: bob, callback: card.CallbackDelegate, state: person("U0NOBODY01"), says: "could not check with Slack who that is"},
		"Slack is down":                   {who: bob, callback: card.CallbackDelegate, state: person(carol.ID), fails: named, says: "nothing was changed"},
		"by a person of another team":     {who: external, callback: card.CallbackDelegate, state: person(carol.ID), says: "Only people of this workspace"},
		"changed metadata":                {who: bob, callback: card.CallbackDelegate, state: person(carol.ID), sealed: func(string) string { return "v1.x.y" }, says: string(refuseKey)},
		"reference of another deployment": {who: bob, callback: card.CallbackExtend, state: longer("1h"), ref: func(r *reference.Reference) { r.Namespace = "staging" }, says: string(refusePlace)},
		"too late": {
			who: bob, callback: card.CallbackExtend, state: longer("1h"), want: &workflows.Change{Kind: workflows.Extend, Longer: "1h"},
			temporal: &fakeTemporal{updates: []error{notFound}, histories: [][]*historypb.HistoryEvent{history(t, decidedBy(t, carol, workflows.Approved))}},
			says:     "Too late. Approved by carol",
		},
		"Temporal is away": {
			who: bob, callback: card.CallbackExtend, state: longer("1h"), want: &workflows.Change{Kind: workflows.Extend, Longer: "1h"},
			temporal: &fakeTemporal{updates: []error{unavailable}}, says: "could not confirm",
		},
	} {
		inTime(t, name, func(t *testing.T) {
			s, f := newSlack(), cmp.Or(tc.temporal, new(fakeTemporal))
			s.lookUp = tc.fails
			b, sealed := newBot(t, s, f, tc.ref)
			if tc.sealed != nil {
				sealed = tc.sealed(sealed)
			}
			r := deliver(t, b, interactive, filled(t, tc.who, tc.callback, modal{Reference: sealed, Channel: at.Channel, TS: at.TS, Action: string(tc.action)}, tc.state))
			var blocks []string
			for block := range tc.state {
				if tc.says != "" {
					blocks = append(blocks, block)
				}
			}
			if tc.state == nil && tc.says != "" {
				checkReplaced(t, r, tc.says)
			} else {
				checkFaults(t, r, blocks, tc.says)
			}
			var want []workflows.Change
			if tc.want != nil {
				tc.want.By, tc.want.Via, tc.want.Question = tc.who, workflows.ViaCard, "ask-1"
				want = append(want, *tc.want)
			}
			if diff := gocmp.Diff(want, changed(t, f)); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			if len(f.completions)+len(s.said) > 0 {
				t.Errorf("%d decisions, and said %q", len(f.completions), s.said)
			}
		})
	}
	t.Run("without metadata, and nothing to fill in", func(t *testing.T) {
		t.Parallel()
		f := &fakeTemporal{}
		b, _ := newBot(t, newSlack(), f, nil)
		p := filled(t, bob, card.CallbackChange, modal{}, nil)
		p["view"].(map[string]any)["private_metadata"] = "{"
		checkReplaced(t, deliver(t, b, interactive, p), string(refuseReference))
		if len(f.changes) > 0 {
			t.Errorf("changed %+v", f.changes)
		}
	})
	t.Run("without metadata", func(t *testing.T) {
		t.Parallel()
		f := &fakeTemporal{}
		b, _ := newBot(t, newSlack(), f, nil)
		p := filled(t, bob, card.CallbackExtend, modal{}, longer("1h"))
		p["view"].(map[string]any)["private_metadata"] = "{"
		checkFaults(t, deliver(t, b, interactive, p), []string{card.BlockLonger}, string(refuseReference))
		if len(f.changes) > 0 {
			t.Errorf("changed %+v", f.changes)
		}
	})
}
