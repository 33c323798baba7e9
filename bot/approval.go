package bot

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"countersign/internal/card"
	"countersign/workflows"
)

const approvalUsage = "*/approval* opens a form to ask for an approval in this channel.\n" +
	"*/approval list* shows what waits for you, and what you have asked.\n" +
	"*/approval show ID* shows one request.\n" +
	"*/approval withdraw ID* takes a request of yours back.\n" +
	"*/approval extend ID 2h* lets it wait for longer: minutes (m), hours (h) or days (d).\n" +
	"*/approval delegate ID @alice* hands your place as an approver to somebody else.\n" +
	"*/approval help* shows this. An ID is what `/approval list` shows."

// listRows is how many requests of a kind a list shows.
const listRows = 10

// idLimit is how long the ID of a workflow can be. https://docs.temporal.io/workflow-execution/workflowid-runid
const idLimit = 1000

// approval deals with /approval.
func (b *Bot) approval(ctx context.Context, c command) reply {
	words := strings.Fields(argument(c.Text))
	word := func(n int) string {
		if n < len(words) {
			return strings.Trim(words[n], "`")
		}
		return ""
	}
	switch verb := strings.ToLower(word(0)); {
	case verb == "":
		return b.openRequest(ctx, c)
	case verb == "list" && len(words) == 1:
		return b.listRequests(ctx, c)
	case verb == "show" && len(words) == 2:
		return b.showRequest(ctx, c, word(1))
	case verb == "withdraw" && len(words) == 2:
		return b.changeRequest(ctx, c, word(1), workflows.Change{Kind: workflows.Withdraw})
	case verb == "extend" && len(words) == 3:
		return b.changeRequest(ctx, c, word(1), workflows.Change{Kind: workflows.Extend, Longer: workflows.Duration(word(2))})
	case verb == "delegate" && len(words) == 3:
		to := mention.FindStringSubmatch(words[2])
		if to == nil {
			return answer("Say to whom, as in `/approval delegate ID @alice`.")
		}
		return b.changeRequest(ctx, c, word(1), workflows.Change{Kind: workflows.Delegate, To: to[1]})
	default:
		return answer(approvalUsage)
	}
}

// mention is a person in the text of a command.
var mention = regexp.MustCompile(`^<@([UW][A-Z0-9]+)(?:\|[^>]*)?>$`)

// openRequest opens the form.
func (b *Bot) openRequest(ctx context.Context, c command) reply {
	if strings.HasPrefix(c.ChannelID, "D") {
		return answer(notHere(CommandApproval))
	}
	if no := b.mayAsk(ctx, c.UserID); no != "" {
		return answer(string(no))
	}
	metadata, _ := json.Marshal(modal{Channel: c.ChannelID, Trigger: c.TriggerID})
	if err := b.Slack.OpenModal(ctx, c.TriggerID, card.RequestModal(string(metadata), "")); err != nil {
		b.Log.Warn("open a modal", "user", c.UserID, "channel", c.ChannelID, "err", err)
		return answer("Slack could not open the form. Please try again.")
	}
	return done()
}

// submitRequest starts an approval with what was filled in.
func (b *Bot) submitRequest(ctx context.Context, i interaction) reply {
	var m modal
	if json.Unmarshal([]byte(i.View.PrivateMetadata), &m) != nil || m.Trigger == "" {
		b.Log.Warn("drop a submission", "user", i.User.ID, "err", errPayload)
		return fault(i, "This form is of another version of the app. Please close it and begin again.")
	}
	if person(i).Team != b.Team {
		return fault(i, "Only people of this workspace can ask here.")
	}
	if no := b.mayAsk(ctx, i.User.ID); no != "" {
		return fault(i, string(no))
	}
	r := workflows.Request{
		Title:     card.Clean(i.filled(card.BlockTitle).Value, workflows.MaxTitle),
		Text:      i.filled(card.BlockText).Value,
		Channel:   m.Channel,
		Requester: i.User.ID,
		Approvers: workflows.Approvers{Users: i.filled(card.BlockApprovers).Users},
		Deadline:  workflows.Duration(i.filled(card.BlockDeadline).Option.Value),
	}
	wrong := make(map[string]string)
	if n := i.filled(card.BlockRequired).Value; n != "" {
		var err error
		if r.Required, err = strconv.Atoi(n); err != nil || r.Required < 1 {
			wrong[card.BlockRequired] = "Write a number from 1."
		}
	}
	if r.Approvers.Empty() && r.Required > 1 {
		wrong[card.BlockApprovers] = "Say who may decide, where more than one has to."
	}
	if faults := r.Faults(); len(faults) > 0 && len(wrong) == 0 {
		wrong[card.BlockTitle] = strings.Join(faults, " ")
	}
	if len(wrong) > 0 {
		return faults(wrong)
	}
	if err := b.begin(ctx, ApprovalID(m.Trigger), r.Title, workflows.Approval, r); err != nil {
		b.Log.Warn("start an approval", "user", i.User.ID, "channel", m.Channel, "err", err)
		return fault(i, "I could not confirm that your request was taken. Submit it again; if it was, nothing is asked twice.")
	}
	return done()
}

// listRequests shows what waits for the person, and what they have asked.
func (b *Bot) listRequests(ctx context.Context, c command) reply {
	all, err := b.lookAround(ctx)
	v := newViewer(c.UserID)
	var waiting, asked card.Section
	if err == nil {
		waiting, err = b.page(ctx, all.now, all.open, 0, listRows, func(l workflows.Listed) (bool, error) { return b.waits(ctx, v, l) })
	}
	if err == nil {
		asked, err = b.page(ctx, all.now, all.open, 0, listRows, func(l workflows.Listed) (bool, error) {
			return l.Outcome == "" && l.Round.Requester == v.id, nil
		})
	}
	if err != nil {
		b.Log.Warn("list requests", "user", c.UserID, "err", err)
		return answer("Could not load the requests: Temporal or Slack did not answer. Please try again in a moment.")
	}
	var lines []string
	list := func(head, none string, s card.Section) {
		lines = append(lines, "*"+head+"*")
		if len(s.Rows) == 0 {
			lines = append(lines, none)
		}
		for _, row := range s.Rows {
			lines = append(lines, "•  "+card.ListLine(row))
		}
		if s.More {
			lines = append(lines, fmt.Sprintf("These are the latest %d. The others are in my home.", listRows))
		}
	}
	list("Waiting for you", "Nothing waits for you.", waiting)
	list("Asked by you", "You have asked nothing that is still open.", asked)
	if all.openCut {
		lines = append(lines, "There are so many requests that only the latest were looked at.")
	}
	return answer(strings.Join(lines, "\n"))
}

// showRequest shows one request.
func (b *Bot) showRequest(ctx context.Context, c command, id string) reply {
	fs, no := b.findRequest(ctx, c, id)
	if no != "" {
		return answer(string(no))
	}
	v := newViewer(c.UserID)
	var lines []string
	for _, f := range fs {
		ok, err := b.concerns(ctx, v, f.Listed)
		if err != nil {
			return answer("I could not check with Slack whether this concerns you. Please try again in a moment.")
		}
		if ok {
			lines = append(lines, card.ListLine(card.Row{Listed: f.Listed, WorkflowID: f.workflowID}))
		}
	}
	if len(lines) == 0 {
		return answer(noSuchRequest(id))
	}
	return answer(strings.Join(lines, "\n"))
}

// findRequest finds the requests of the workflow with that ID.
func (b *Bot) findRequest(ctx context.Context, c command, id string) (fs []found, no refusal) {
	if id == "" || len(id) > idLimit {
		return nil, refusal(noSuchRequest(id))
	}
	fs, ok, err := b.describe(ctx, id, "")
	switch {
	case err != nil:
		b.Log.Warn("look a request up", "user", c.UserID, "err", err)
		return nil, "Temporal did not answer. Please try again in a moment."
	case !ok:
		return nil, refusal(noSuchRequest(id))
	default:
		return fs, ""
	}
}

func noSuchRequest(id string) string {
	return "There is no request `" + card.Escape(strings.ReplaceAll(id, "`", ""), 80) + "` that concerns you. `/approval list` shows those that do."
}

// changeRequest changes the request with that ID in the name of whoever typed the command.
func (b *Bot) changeRequest(ctx context.Context, c command, id string, change workflows.Change) reply {
	fs, no := b.findRequest(ctx, c, id)
	if no != "" {
		return answer(string(no))
	}
	var open []found
	v := newViewer(c.UserID)
	for _, f := range fs {
		ok, err := b.concerns(ctx, v, f.Listed)
		if err != nil {
			return answer(string(refuseUnchecked))
		}
		if ok {
			open = append(open, f)
		}
	}
	switch {
	case len(open) == 0:
		return answer(noSuchRequest(id))
	case len(open) > 1:
		open = openOnly(open)
	}
	if len(open) != 1 {
		return answer("This workflow asks for several things: use the menu on the card.")
	}
	f := open[0]
	if f.Outcome != "" {
		return answer("Too late: this request has ended.\n" + card.ListLine(card.Row{Listed: f.Listed, WorkflowID: f.workflowID}))
	}
	change.By = workflows.Person{ID: c.UserID, Name: c.UserName, Team: c.TeamID}
	change.Via = workflows.ViaCommand
	now, no := b.change(ctx, f.reference(b.Namespace), change, c.TriggerID)
	if no != "" {
		return answer(string(no))
	}
	said := map[workflows.ChangeKind]string{
		workflows.Withdraw: "It is withdrawn.",
		workflows.Extend:   "It waits until " + card.Date(now.Round.Until()) + " now.",
		workflows.Delegate: "Your place is handed over to <@" + change.To + ">.",
	}[change.Kind]
	return answer(said).and(func(ctx context.Context) { b.refreshHome(ctx, c.UserID) })
}

// openOnly are the requests that are open.
func openOnly(fs []found) (open []found) {
	for _, f := range fs {
		if f.Outcome == "" {
			open = append(open, f)
		}
	}
	return open
}
