package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"countersign/internal/slacksim"
	"countersign/workflows"
)

// hostile is a text of n characters that Slack makes longer, ends in the number i, and has every kind of markup.
func hostile(n, i int) string {
	number := fmt.Sprint(i)
	return strings.Repeat("&<>*_`~[]", n)[:n-len(number)] + number
}

// crowd adds people and groups to the workspace, and to general, and returns their IDs, which are as long as Slack's.
func (w *world) crowd(users, groups int) workflows.Approvers {
	var a workflows.Approvers
	for i := range users {
		name := fmt.Sprintf("person%d", i)
		p := w.sim.AddPerson(slacksim.User{ID: fmt.Sprintf("U%010d", i), Name: name})
		w.sim.Join("general", name)
		a.Users = append(a.Users, p.ID())
	}
	for i := range groups {
		a.Groups = append(a.Groups, w.sim.AddGroup(slacksim.Group{
			ID: fmt.Sprintf("S%010d", i), Handle: fmt.Sprintf("group%d", i), Members: []string{"bob"},
		}).ID)
	}
	return a
}

// everything is allowed by this configuration.
func everything() []string {
	return []string{"APPROVERS=channel", "ALLOW_SELF_APPROVAL=true", "ALLOW_GUESTS=true", "ALLOW_APPROVAL_ON_EXPIRY=true"}
}

// brimful is a request whose texts and lists are at their limits. Who may decide is left open.
func (w *world) brimful() workflows.Request {
	r := workflows.Request{
		Title: hostile(workflows.MaxTitle, 0), Text: hostile(workflows.MaxText, 0),
		Link: workflows.Link{
			URL:  "https://example.com/" + strings.Repeat("&<>*", workflows.MaxURL)[:workflows.MaxURL-len("https://example.com/")],
			Text: hostile(workflows.MaxLabel, 0),
		},
		Channel: w.sim.Channel("general").ID, Requester: w.sim.Person("alice").ID(),
		AllowSelf: true, AllowGuests: true, TellRequester: true, FailOnReject: true,
		RejectReason: workflows.Required, ApproveComment: workflows.Required, Confirm: hostile(workflows.MaxConfirm, 0),
		Deadline: "366d", OnExpiry: workflows.RejectOnExpiry, RemindEvery: "366d",
	}
	for i := range workflows.MaxFields {
		r.Fields = append(r.Fields, workflows.Field{Label: hostile(workflows.MaxLabel, i), Value: hostile(workflows.MaxFieldValue, i)})
	}
	for i := range workflows.MaxChoices {
		r.Choices = append(r.Choices, workflows.Choice{Label: hostile(workflows.MaxLabel, i), Value: hostile(workflows.MaxLabel, i)})
	}
	for i := range workflows.MaxInputs {
		in := workflows.Input{
			Name: fmt.Sprintf("%0*d", workflows.MaxInputName, i), Label: hostile(workflows.MaxLabel, i), Hint: hostile(workflows.MaxHint, i),
		}
		switch i {
		case 0, 1:
			in.Type, in.Lines, in.Initial = workflows.TextInput, i == 1, workflows.Text(hostile(workflows.MaxReason, i))
		case 2:
			in.Type, in.Initial = workflows.NumberInput, workflows.Text("-"+strings.Repeat("9", workflows.MaxNumber-3)+".5")
		case 3:
			in.Type, in.Initial = workflows.DateInput, "9999-12-31"
		case 4:
			in.Type, in.Initial = workflows.PersonInput, workflows.Text(w.sim.Person("bob").ID())
		default:
			in.Type, in.Initial = workflows.SelectInput, workflows.Text(hostile(workflows.MaxLabel, 99))
			for n := range workflows.MaxOptions {
				in.Options = append(in.Options, workflows.Choice{Label: hostile(workflows.MaxLabel, n), Value: hostile(workflows.MaxLabel, n)})
			}
		}
		r.Inputs = append(r.Inputs, in)
	}
	return r
}

// approvesByForm approves with the form that a click opens, as the form is, and with the longest comment that there can
// be.
func (w *world) approvesByForm(p slacksim.Person, card slacksim.Message, action string) {
	w.Helper()
	w.fillsIn(p, w.opens(p, card, action, ""), map[string]any{"comment": hostile(workflows.MaxReason, 0)})
}

// A request with every field at its limit makes a card, forms and lines that Slack takes, and can be approved.
func TestEverythingAtItsLimit(t *testing.T) {
	oneMode(t, func(w *world) {
		w.patience(4 * time.Minute)
		all := w.crowd(workflows.MaxUsers, workflows.MaxGroups)
		w.start("run", everything()...)
		r := w.brimful()
		const steps = workflows.MaxEscalations
		r.Approvers = workflows.Approvers{Users: all.Users[steps:], Groups: all.Groups[steps:], Channel: true}
		for i := range steps {
			r.Escalate = append(r.Escalate, workflows.Escalation{
				After: "366d", Approvers: workflows.Approvers{Users: all.Users[i : i+1], Groups: all.Groups[i : i+1]},
			})
		}
		first, second, alice := w.as(all.Users[48], "general"), w.as(all.Users[49], "general"), w.as("alice", "general")

		// Approved by two.
		r.Required = 2
		run := w.approval(r)
		card := w.message("general", slacksim.HasButton("approve_5"))
		w.approvesByForm(first, card, "approve_5")
		w.approvesByForm(second, w.redrawn(card, "1 of 2"), "approve_5")
		res := w.outcome(run, workflows.Approved)
		if res.Choice != r.Choices[4].Value || len(res.Decisions) != 2 || len(res.Inputs) != workflows.MaxInputs {
			w.Errorf("chosen %q by %d, with %d inputs", res.Choice, len(res.Decisions), len(res.Inputs))
		}
		for _, in := range r.Inputs {
			if res.Inputs[in.Name] != string(in.Initial) {
				w.Errorf("the %s is %q, want %q", in.Type, res.Inputs[in.Name], in.Initial)
			}
		}
		w.closed(card, "Approved by")
		w.message(alice.DM().Channel(), slacksim.Contains("Approved by"))

		// Rejected by one, where the most are wanted.
		r.Required = workflows.MaxRequired
		run = w.approval(r)
		card = w.message("general", slacksim.HasButton("approve_5"))
		w.approvesByForm(first, card, "approve_1")
		card = w.redrawn(card, "1 of 20")
		w.fillsIn(second, w.opens(second, card, "reject", ""), map[string]any{"comment": hostile(workflows.MaxReason, 0)})
		w.failsAs(run, workflows.ErrTypeRejected)
		w.closed(card, "Rejected by")
		w.noFaults()
	})
}

// noFaults checks that Slack refused nothing.
func (w *world) noFaults() {
	w.Helper()
	for _, c := range w.sim.Calls("") {
		if c.Done && c.Error != "" {
			w.Errorf("Slack refused %s: %s", c.Method, c.Error)
		}
	}
}

// Roles at their limits, with an escalation of each.
func TestRolesAtTheirLimit(t *testing.T) {
	oneMode(t, func(w *world) {
		w.patience(4 * time.Minute)
		all := w.crowd(workflows.MaxUsers, workflows.MaxGroups)
		w.start("run", everything()...)
		r := w.brimful()
		r.RejectReason, r.FailOnReject, r.Inputs = workflows.Off, false, nil
		for i := range workflows.MaxRoles {
			name := hostile(workflows.MaxRoleName, i)
			r.Roles = append(r.Roles, workflows.Role{
				Name: name, Required: workflows.MaxRoleRequired,
				Approvers: workflows.Approvers{Users: all.Users[8*i : 8*i+8], Groups: all.Groups[2*i : 2*i+2], Channel: true},
			})
			for n := range 2 {
				r.Escalate = append(r.Escalate, workflows.Escalation{
					After: "1h", Role: name,
					Approvers: workflows.Approvers{Users: all.Users[40+2*i+n : 41+2*i+n], Groups: all.Groups[10+2*i+n : 11+2*i+n]},
				})
			}
		}
		run := w.approval(r)
		card := w.message("general", slacksim.HasButton("approve_1"))
		w.approvesByForm(w.as("bob", "general"), card, "approve_1")
		card = w.message("general", func(m slacksim.Message) bool { return m.TS == card.TS && slacksim.Contains("1 of 50")(m) })
		bob := w.as("bob", "general")
		for slacksim.HasOption("more", string(workflows.Escalate))(card) {
			edits := card.Edits
			if after := w.changes(bob, card, workflows.Escalate); after.ID != "" {
				w.Fatalf("the form says %q", after.PlainText())
			}
			w.must(w.sim.Wait(w.ctx, func(slacksim.State) bool {
				card, _ = w.sim.Message(card.Channel, card.TS)
				return card.Edits > edits
			}))
		}
		w.click(w.as("carol", "general"), card, "reject", true)
		if res := w.outcome(run, workflows.Rejected); len(res.Changes) != workflows.MaxEscalations {
			w.Errorf("%d changes, want %d", len(res.Changes), workflows.MaxEscalations)
		}
		w.closed(card, "Rejected by")
		w.noFaults()
	})
}

// Whatever a request names, it is asked, or refused with what to do: a reference that does not fit into a button would
// show at the worst time else.
func TestMoreApproversThanAButtonHolds(t *testing.T) {
	oneMode(t, func(w *world) {
		all := w.crowd(workflows.MaxUsers, workflows.MaxGroups)
		w.start("run", everything()...)
		var r workflows.Request
		for i := range workflows.MaxRoles {
			r.Roles = append(r.Roles, workflows.Role{
				Name: fmt.Sprintf("%0*d", workflows.MaxRoleName, i), Required: workflows.MaxRoleRequired,
				Approvers: workflows.Approvers{Users: all.Users[10*i : 10*i+10], Groups: all.Groups[4*i : 4*i+4]},
			})
		}
		app := w.failsAs(w.approval(r), workflows.ErrTypeInvalidRequest)
		if !strings.Contains(app.Message(), "name fewer approvers") {
			w.Errorf("refused with %q", app.Message())
		}
		if n := w.cardsIn("general"); n != 0 {
			w.Errorf("%d messages, want none", n)
		}
	})
}

func TestOneOverTheLimit(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	times := func(n int, id string) (ids []string) {
		for i := range n {
			ids = append(ids, fmt.Sprintf("%s%09d", id, i))
		}
		return ids
	}
	input := func(in workflows.Input) func(*workflows.Request) {
		return func(r *workflows.Request) {
			if in.Name == "" {
				in.Name = "value"
			}
			r.Inputs = append(r.Inputs, in)
		}
	}
	anybody := workflows.Approvers{Users: []string{"U0BOB00001"}}
	tests := map[string]struct {
		change func(*workflows.Request)
		want   string
	}{
		"title":       {func(r *workflows.Request) { r.Title = x(workflows.MaxTitle + 1) }, "The title has 151 characters and may have 150."},
		"text":        {func(r *workflows.Request) { r.Text = x(workflows.MaxText + 1) }, "The text has 2001 characters and may have 2000."},
		"fields":      {func(r *workflows.Request) { r.Fields = make([]workflows.Field, workflows.MaxFields+1) }, "There are 21 fields and may be 20."},
		"field label": {func(r *workflows.Request) { r.Fields = []workflows.Field{{Label: x(workflows.MaxLabel + 1)}} }, "The label of field 1 has 76 characters and may have 75."},
		"field value": {func(r *workflows.Request) {
			r.Fields = []workflows.Field{{Label: "x", Value: x(workflows.MaxFieldValue + 1)}}
		}, "The value of field 1 has 501 characters and may have 500."},
		"link": {func(r *workflows.Request) { r.Link.URL = "https://example.com/" + x(workflows.MaxURL-19) }, "The URL of the link has 3001 characters and may have 3000."},
		"link text": {func(r *workflows.Request) {
			r.Link = workflows.Link{URL: "https://example.com", Text: x(workflows.MaxLabel + 1)}
		}, "The text of the link has 76 characters and may have 75."},
		"people":                       {func(r *workflows.Request) { r.Approvers.Users = times(workflows.MaxUsers+1, "U") }, "The request names 51 people who may decide and may name 50"},
		"groups":                       {func(r *workflows.Request) { r.Approvers.Groups = times(workflows.MaxGroups+1, "S") }, "The request names 21 user groups and may name 20."},
		"required":                     {func(r *workflows.Request) { r.Required = workflows.MaxRequired + 1 }, "required is 21 and may be 0 to 20."},
		"more required than there are": {func(r *workflows.Request) { r.Required = 2 }, "required is 2, but only 1 person is named"},
		"roles": {func(r *workflows.Request) {
			r.Approvers = workflows.Approvers{}
			for i := range workflows.MaxRoles + 1 {
				r.Roles = append(r.Roles, workflows.Role{Name: fmt.Sprint(i), Approvers: anybody})
			}
		}, "There are 6 roles and may be 5."},
		"role name": {func(r *workflows.Request) {
			r.Approvers, r.Roles = workflows.Approvers{}, []workflows.Role{{Name: x(workflows.MaxRoleName + 1), Approvers: anybody}}
		}, "The name of role 1 has 31 characters and may have 30."},
		"role required": {func(r *workflows.Request) {
			r.Approvers, r.Roles = workflows.Approvers{}, []workflows.Role{{Name: "x", Required: workflows.MaxRoleRequired + 1, Approvers: anybody}}
		}, "required is 11 in role 1 and may be 0 to 10."},
		"confirm":      {func(r *workflows.Request) { r.Confirm = x(workflows.MaxConfirm + 1) }, "The question of confirm has 301 characters and may have 300."},
		"choices":      {func(r *workflows.Request) { r.Choices = make([]workflows.Choice, workflows.MaxChoices+1) }, "There are 6 choices and may be 5."},
		"choice label": {func(r *workflows.Request) { r.Choices = []workflows.Choice{{Label: x(workflows.MaxLabel + 1)}} }, "The label of choice 1 has 76 characters and may have 75."},
		"choice value": {func(r *workflows.Request) {
			r.Choices = []workflows.Choice{{Label: "x", Value: x(workflows.MaxLabel + 1)}}
		}, "The value of choice 1 has 76 characters and may have 75."},
		"inputs":            {func(r *workflows.Request) { r.Inputs = make([]workflows.Input, workflows.MaxInputs+1) }, "There are 11 inputs and may be 10."},
		"input name":        {input(workflows.Input{Name: x(workflows.MaxInputName + 1)}), "has to be 1 to 50 letters"},
		"input label":       {input(workflows.Input{Label: x(workflows.MaxLabel + 1)}), "The label of input 1 has 76 characters and may have 75."},
		"input hint":        {input(workflows.Input{Hint: x(workflows.MaxHint + 1)}), "The hint of input 1 has 151 characters and may have 150."},
		"initial text":      {input(workflows.Input{Initial: workflows.Text(x(workflows.MaxReason + 1))}), "is not one line of at most 1000 characters."},
		"initial number":    {input(workflows.Input{Type: workflows.NumberInput, Initial: workflows.Text(strings.Repeat("1", workflows.MaxNumber+1))}), "is not a decimal number of at most 40 characters"},
		"options":           {input(workflows.Input{Type: workflows.SelectInput, Options: make([]workflows.Choice, workflows.MaxOptions+1)}), "There are 101 options in input 1 and may be 100."},
		"option label":      {input(workflows.Input{Type: workflows.SelectInput, Options: []workflows.Choice{{Label: x(workflows.MaxLabel + 1)}}}), "The label of option 1 of input 1 has 76 characters and may have 75."},
		"option value":      {input(workflows.Input{Type: workflows.SelectInput, Options: []workflows.Choice{{Label: "x", Value: x(workflows.MaxLabel + 1)}}}), "The value of option 1 of input 1 has 76 characters and may have 75."},
		"deadline":          {func(r *workflows.Request) { r.Deadline = "367d" }, `The deadline is "367d"`},
		"deadline too far":  {func(r *workflows.Request) { r.Deadline = "366d1s" }, `The deadline is "366d1s" and may be 366 days.`},
		"deadline too near": {func(r *workflows.Request) { r.Deadline = "999ms" }, "and has to be a second at least."},
		"reminder":          {func(r *workflows.Request) { r.RemindEvery = "59s" }, `remind_every is "59s" and has to be a minute at least.`},
		"escalations": {func(r *workflows.Request) {
			for range workflows.MaxEscalations + 1 {
				r.Escalate = append(r.Escalate, workflows.Escalation{After: "1h", Approvers: anybody})
			}
		}, "There are 11 escalations and may be 10."},
	}
	oneMode(t, func(w *world) {
		w.start("run")
		runs := map[string]client.WorkflowRun{}
		askers := map[string]slacksim.Person{}
		for name, test := range tests {
			// Each has a requester of its own, for Slack takes a message a second in a channel.
			askers[name] = w.sim.AddPerson(slacksim.User{Name: name})
			r := workflows.Request{Title: "Deploy v2", Requester: askers[name].ID(), Approvers: anybody}
			test.change(&r)
			runs[name] = w.approval(r)
		}
		for name, test := range tests {
			if got := w.failsAs(runs[name], workflows.ErrTypeInvalidRequest).Message(); !strings.Contains(got, test.want) {
				w.Errorf("%s: refused with %q, want %q", name, got, test.want)
			}
			told := w.sim.Messages(askers[name].DM().Channel())
			if len(told) != 1 || !slacksim.Contains(test.want)(told[0]) {
				w.Errorf("%s: the requester is told %d times: %+v, want %q once", name, len(told), told, test.want)
			}
		}
		w.nothingIn("general")
	})
}

// nothingIn checks that nobody tried to post anything in a channel.
func (w *world) nothingIn(channel string) {
	w.Helper()
	for _, c := range w.sim.Calls("chat.postMessage") {
		if c.Args.String("channel") == w.sim.Channel(channel).ID {
			w.Errorf("posted in %s: %s", channel, c.Args.String("text"))
		}
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		run := w.approval(workflows.Request{
			Title: " ", Channel: "#general", Requester: w.sim.Person("alice").ID(),
			Approvers: workflows.Approvers{Users: []string{"@bob"}, Channel: true}, AllowSelf: true, AllowGuests: true,
			RejectReason: "maybe", Inputs: []workflows.Input{{Name: "a b"}}, Deadline: "soon", RemindEvery: "1s",
			OnExpiry: workflows.ApproveOnExpiry, Escalate: []workflows.Escalation{{After: "never"}},
		})
		got := w.failsAs(run, workflows.ErrTypeInvalidRequest).Message()
		for _, want := range []string{
			"The title is empty.", `"#general"`, `"@bob"`, `reject_reason is "maybe"`, `"a b"`, `"soon"`, "remind_every", `"never"`,
			"APPROVERS", "ALLOW_SELF_APPROVAL", "ALLOW_GUESTS", "ALLOW_APPROVAL_ON_EXPIRY",
		} {
			if !strings.Contains(got, want) {
				w.Errorf("refused with %q, want it to say %q", got, want)
			}
		}
		alice := w.as("alice", "general").DM()
		if told := w.sim.Messages(alice.Channel()); len(told) != 1 {
			w.Errorf("the requester is told %d times, want once", len(told))
		}
		w.nothingIn("general")
	})
}

// What the operator does not allow is refused, saying which setting says so.
func TestCeilings(t *testing.T) {
	anyone := workflows.Approvers{Channel: true}
	tests := map[string]struct {
		change func(*workflows.Request)
		want   string
	}{
		"channel": {func(r *workflows.Request) { r.Approvers = anyone }, "APPROVERS"},
		"channel in a role": {func(r *workflows.Request) {
			r.Approvers, r.Roles = workflows.Approvers{}, []workflows.Role{{Name: "x", Approvers: anyone}}
		}, "APPROVERS"},
		"channel in time": {func(r *workflows.Request) {
			r.Escalate = []workflows.Escalation{{After: "1h", Approvers: anyone}}
		}, "APPROVERS"},
		"self":   {func(r *workflows.Request) { r.AllowSelf = true }, "ALLOW_SELF_APPROVAL"},
		"guests": {func(r *workflows.Request) { r.AllowGuests = true }, "ALLOW_GUESTS"},
		"expiry": {func(r *workflows.Request) { r.OnExpiry = workflows.ApproveOnExpiry }, "ALLOW_APPROVAL_ON_EXPIRY"},
	}
	oneMode(t, func(w *world) {
		w.start("run")
		for name, test := range tests {
			asker := w.sim.AddPerson(slacksim.User{Name: name})
			r := workflows.Request{Title: "Deploy " + name, Requester: asker.ID(), Approvers: w.people("bob")}
			test.change(&r)
			got := w.failsAs(w.approval(r), workflows.ErrTypeInvalidRequest).Message()
			if !strings.Contains(got, test.want) || strings.Count(got, ".") != 1 {
				w.Errorf("%s: refused with %q, want %s alone", name, got, test.want)
			}
			w.message(asker.DM().Channel(), slacksim.Contains(test.want))
		}
		w.nothingIn("general")
	})
	t.Run("allowed", func(t *testing.T) {
		oneMode(t, func(w *world) {
			w.start("run", everything()...)
			for name, test := range tests {
				r := workflows.Request{Title: "Deploy " + name, Requester: w.sim.Person("alice").ID(), Approvers: w.people("bob")}
				test.change(&r)
				w.approval(r)
			}
			for name := range tests {
				w.card("general", "Deploy "+name)
			}
		})
	})
}

// What an SDK sends may have fields of a later version, and wrong ones.
func TestJSON(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		start := func(r map[string]any) client.WorkflowRun {
			w.Helper()
			r["channel"] = w.sim.Channel("general").ID
			run, err := w.temporal.ExecuteWorkflow(w.ctx, client.StartWorkflowOptions{TaskQueue: w.queue}, "Approval", r)
			w.must(err)
			return run
		}
		wrong := start(map[string]any{"title": "Deploy v2", "required": "two", "requester": w.sim.Person("alice").ID()})
		if got := w.failsAs(wrong, workflows.ErrTypeInvalidRequest).Message(); !strings.Contains(got, "required is of the type string") {
			w.Errorf("refused with %q, want it to name the field", got)
		}
		unknown := start(map[string]any{"title": "Deploy v3", "colour": "red", "approvers": map[string]any{"users": []string{w.sim.Person("bob").ID()}, "robots": 3}})
		w.click(w.as("bob", "general"), w.card("general", "Deploy v3"), "approve", true)
		w.outcome(unknown, workflows.Approved)
		if n := w.cardsIn("general"); n != 1 {
			w.Errorf("%d cards, want 1", n)
		}
		told := w.sim.Messages(w.as("alice", "general").DM().Channel())
		if len(told) != 1 || !slacksim.Contains("required is of the type string")(told[0]) {
			w.Errorf("the requester is told %+v, want once", told)
		}
	})
}

// A form of many long menus is more than Slack takes: its labels are shortened, and its values are not.
func TestLongMenus(t *testing.T) {
	oneMode(t, func(w *world) {
		w.patience(4 * time.Minute)
		w.start("run")
		r := workflows.Request{Approvers: w.people("bob"), ApproveComment: workflows.Optional}
		for i := range workflows.MaxInputs {
			in := workflows.Input{Name: fmt.Sprint("menu", i), Type: workflows.SelectInput}
			for n := range workflows.MaxOptions {
				text := fmt.Sprintf("%s%02d", strings.Repeat("漢", workflows.MaxLabel-2), n)
				in.Options = append(in.Options, workflows.Choice{Label: text, Value: text})
			}
			in.Initial = workflows.Text(in.Options[i].Value)
			r.Inputs = append(r.Inputs, in)
		}
		run := w.approval(r)
		card := w.card("general", "Deploy v2")
		w.approvesByForm(w.as("bob", "general"), card, "approve")
		res := w.outcome(run, workflows.Approved)
		for _, in := range r.Inputs {
			if res.Inputs[in.Name] != string(in.Initial) {
				w.Errorf("%s is %q, want %q", in.Name, res.Inputs[in.Name], in.Initial)
			}
		}
		w.closed(card, "Approved by")
		w.noFaults()
	})
}
