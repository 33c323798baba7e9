package bot

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"countersign/internal/card"
	"countersign/internal/record"
	"countersign/internal/slackapi"
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

// answerBytes is how much of an answer lists are, as JSON: an acknowledgement in Socket Mode must have less than 20 KB,
// and Go writes < > & there with six bytes each. https://pkg.go.dev/github.com/slack-go/slack/socketmode
const answerBytes = 12_000

// idLimit is how long the ID of a workflow can be. https://docs.temporal.io/workflow-execution/workflowid-runid
const idLimit = 1000

// approval deals with /approval.
func (b *Bot) approval(ctx context.Context, c command) reply {
	words := strings.Fields(argument(c.Text))
	if len(words) == 0 {
		return b.openRequest(ctx, c)
	}
	bare := func(words ...string) string { return strings.Trim(strings.Join(words, " "), "`") }
	verb, rest := strings.ToLower(bare(words[0])), words[1:]
	last := max(0, len(rest)-1) // The ID of a workflow may have spaces: what it is to be changed to stands last.
	switch {
	case verb == "list" && len(rest) == 0:
		return b.listRequests(ctx, c)
	case verb == "show" && len(rest) > 0:
		return b.showRequest(ctx, c, bare(rest...))
	case verb == "withdraw" && len(rest) > 0:
		return b.changeRequest(ctx, c, bare(rest...), workflows.Change{Kind: workflows.Withdraw})
	case verb == "extend" && len(rest) > 1:
		longer := bare(rest[last])
		if last > 1 && isUnit(longer) && isNumber(rest[last-1]) {
			last--
			longer = rest[last] + longer
		}
		return b.changeRequest(ctx, c, bare(rest[:last]...), workflows.Change{Kind: workflows.Extend, Longer: workflows.Duration(longer)})
	case verb == "delegate" && len(rest) > 1:
		to := mention.FindStringSubmatch(rest[last])
		if to == nil {
			return answer("Say to whom, as in `/approval delegate ID @alice`.")
		}
		return b.changeRequest(ctx, c, bare(rest[:last]...), workflows.Change{Kind: workflows.Delegate, To: to[1]})
	case verb == "help":
		return answer(approvalUsage)
	default:
		return answer("I did not understand that.\n" + approvalUsage)
	}
}

// isUnit and isNumber tell the parts of a length of time that was written with a space, "2 h".
func isUnit(s string) bool { return s == "m" || s == "h" || s == "d" }

func isNumber(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
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
		return atTitle("This form is of another version of the app. Please close it and begin again.")
	}
	if person(i).Team != b.Team {
		return atTitle("Only people of this workspace can ask here.")
	}
	if no := b.mayAsk(ctx, i.User.ID); no != "" {
		return atTitle(string(no))
	}
	r := workflows.Request{
		Title:     card.Clean(i.filled(card.BlockTitle).Value, workflows.MaxTitle),
		Text:      i.filled(card.BlockText).Value,
		Channel:   m.Channel,
		Requester: i.User.ID,
		Approvers: workflows.Approvers{Users: i.filled(card.BlockApprovers).Users},
		Deadline:  workflows.Duration(i.filled(card.BlockDeadline).Option.Value),
	}
	wrong := formFaults(&r, i.filled(card.BlockRequired).Value)
	if len(wrong) == 0 {
		wrong = b.checkChosen(ctx, r.Approvers.Users)
	}
	if len(wrong) > 0 {
		return faults(wrong)
	}
	if all := r.Faults(); len(all) > 0 {
		return atTitle(strings.Join(all, " "))
	}
	if err := b.begin(ctx, ApprovalID(m.Trigger), r.Title, workflows.Approval, r); err != nil {
		b.Log.Warn("start an approval", "user", i.User.ID, "channel", m.Channel, "err", err)
		return atTitle("I could not confirm that your request was taken. Submit it again as it is; if it was taken, nothing is asked twice.")
	}
	return done()
}

// atTitle is the reply that shows a sentence at the first block of the request's form.
func atTitle(sentence string) reply { return faults(map[string]string{card.BlockTitle: sentence}) }

// formFaults puts the number that was written into r, and says at which blocks of the request's form something is wrong.
func formFaults(r *workflows.Request, number string) map[string]string {
	wrong := make(map[string]string)
	// A request that has nothing else in it has no other faults.
	for block, part := range map[string]workflows.Request{
		card.BlockTitle:    {Title: r.Title},
		card.BlockText:     {Title: "x", Text: r.Text},
		card.BlockDeadline: {Title: "x", Deadline: r.Deadline},
	} {
		part.Channel = "C0123456789"
		if all := part.Faults(); len(all) > 0 {
			wrong[block] = strings.Join(all, " ")
		}
	}
	if number != "" {
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || n > workflows.MaxRequired {
			wrong[card.BlockRequired] = fmt.Sprintf("Write a number from 1 to %d.", workflows.MaxRequired)
			return wrong
		}
		r.Required = n
	}
	can := make(map[string]bool)
	for _, id := range r.Approvers.Users {
		if id != r.Requester {
			can[id] = true
		}
	}
	switch {
	case r.Approvers.Empty() && r.Required > 1:
		wrong[card.BlockApprovers] = "Say who may decide, where more than one has to."
	case r.Approvers.Empty():
	case len(can) == 0:
		wrong[card.BlockApprovers] = "You cannot decide your own request: choose somebody else."
	case r.Required > len(can):
		wrong[card.BlockRequired] = fmt.Sprintf("Only %d of those named can decide: choose more people, or a smaller number.", len(can))
	}
	return wrong
}

// checkChosen refuses, at their block of the request's form, people who could never decide.
func (b *Bot) checkChosen(ctx context.Context, ids []string) map[string]string {
	const (
		atOnce = 8 // look-ups
		most   = 5 // that are told by name
	)
	unfit := make([]string, len(ids)) // their names, in their order
	group, soon := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for n, id := range ids {
		group.Go(func() error {
			p, err := b.Slack.Person(soon, id)
			switch e := slackapi.AsRefused(err); {
			case e != nil && e.Code == "user_not_found":
				unfit[n] = "somebody whom Slack does not know"
			case err != nil:
				return err
			case !p.ActiveIn(b.Team):
				unfit[n] = cmp.Or(card.Clean(p.Name, workflows.MaxLabel), "somebody without a name")
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		b.Log.Warn("look up those who are to decide", "err", err)
		return map[string]string{card.BlockApprovers: "I could not check with Slack who they are, so nothing was asked. Please submit it again in a moment."}
	}
	unfit = slices.DeleteFunc(unfit, func(name string) bool { return name == "" })
	if len(unfit) == 0 {
		return nil
	}
	if more := len(unfit) - most; more > 0 {
		unfit = append(unfit[:most], fmt.Sprintf("%d more", more))
	}
	return map[string]string{
		card.BlockApprovers: "Only active people of this workspace can decide. Choose others instead of: " + strings.Join(unfit, ", ") + ".",
	}
}

// listRequests shows what waits for the person, and what they have asked.
func (b *Bot) listRequests(ctx context.Context, c command) reply {
	all, err := b.lookAround(ctx)
	if err != nil {
		b.Log.Warn("list requests", "user", c.UserID, "err", err)
		return answer("Could not load the requests: Temporal did not answer. Please try again in a moment.")
	}
	v := newViewer(c.UserID, all.groups)
	waiting := b.page(ctx, v, all.now, all.Open, 0, listRows, func(l workflows.Listed) (yes, checked bool) { return b.waits(ctx, v, l) })
	asked := b.page(ctx, v, all.now, all.Open, 0, listRows, v.asked)
	waiting.Truncated, asked.Truncated = all.OpenCut, all.OpenCut
	for most := listRows; ; most-- {
		if text := listText(waiting, asked, most); most == 0 || fits(text, answerBytes) {
			return answer(text)
		}
	}
}

// fits reports whether a text has at most so many bytes as JSON.
func fits(text string, limit int) bool {
	b, err := json.Marshal(text)
	return err == nil && len(b) <= limit
}

// listText shows at most so many requests of each kind, as mrkdwn.
func listText(waiting, asked card.Section, most int) string {
	var lines []string
	list := func(head, none string, s card.Section) {
		lines = append(lines, "*"+head+"*")
		n := min(most, len(s.Rows))
		for _, row := range s.Rows[:n] {
			lines = append(lines, "•  "+card.ListLine(row))
		}
		switch {
		case len(s.Rows) == 0:
			lines = append(lines, none)
		case n == 0:
			lines = append(lines, "There is too much of it to be shown here: it is in my home.")
		case n == 1 && (s.More || n < len(s.Rows)):
			lines = append(lines, "This is the latest. The others are in my home.")
		case s.More || n < len(s.Rows):
			lines = append(lines, fmt.Sprintf("These are the latest %d. The others are in my home.", n))
		}
		if s.Unchecked {
			lines = append(lines, card.Unchecked)
		}
	}
	list("Waiting for you", "Nothing waits for you.", waiting)
	list("Asked by you", "You have asked nothing that is still open.", asked)
	if waiting.Truncated {
		lines = append(lines, "There are so many requests that only the latest were looked at.")
	}
	return strings.Join(lines, "\n")
}

// showRequest shows one request, or those of one workflow.
func (b *Bot) showRequest(ctx context.Context, c command, id string) reply {
	fs, no := b.findRequest(ctx, c, id)
	if no != "" {
		return answer(string(no))
	}
	v := newViewer(c.UserID, b.groups(ctx))
	var (
		text              string
		more, uncheckable bool
	)
	for _, f := range fs {
		yes, checked := b.concerns(ctx, v, f.Listed)
		uncheckable = uncheckable || !checked
		if !yes {
			continue
		}
		line := card.ListLine(card.Row{Listed: f.Listed, WorkflowID: f.WorkflowID, Viewer: v.id}) + "\n"
		if text != "" && !fits(text+line, answerBytes) {
			more = true
			continue
		}
		text += line
	}
	switch {
	case text == "" && uncheckable:
		return answer("I could not check with Slack whether this concerns you. Please try again in a moment.")
	case text == "":
		return answer(noSuchRequest(id))
	}
	if more {
		text += "It asks for more than can be shown here. The others are in my home.\n"
	}
	if uncheckable {
		text += card.Unchecked
	}
	return answer(strings.TrimSuffix(text, "\n"))
}

// findRequest finds the requests of the workflow with that ID.
func (b *Bot) findRequest(ctx context.Context, c command, id string) (fs []record.Found, no refusal) {
	if id == "" || len(id) > idLimit || !printable(id) {
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

// printable says whether Temporal's client can ask for a workflow of that ID: it puts the ID into a header of gRPC.
// https://grpc.io/docs/guides/metadata
func printable(id string) bool {
	return strings.IndexFunc(id, func(c rune) bool { return c < ' ' || c > '~' }) < 0
}

func noSuchRequest(id string) string {
	return "There is no request " + card.ID(card.Clean(id, 80)) + " that concerns you. `/approval list` shows those that do."
}

// changeRequest changes the request with that ID in the name of whoever typed the command.
func (b *Bot) changeRequest(ctx context.Context, c command, id string, change workflows.Change) reply {
	fs, no := b.findRequest(ctx, c, id)
	if no != "" {
		return answer(string(no))
	}
	var open []record.Found
	v := newViewer(c.UserID, b.groups(ctx))
	for _, f := range fs {
		yes, checked := b.concerns(ctx, v, f.Listed)
		if !checked {
			return answer("I could not check with Slack whether this concerns you, so nothing was changed. Please try again in a moment.")
		}
		if yes {
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
		return answer("Too late: this request has ended.\n" + card.ListLine(card.Row{Listed: f.Listed, WorkflowID: f.WorkflowID, Viewer: v.id}))
	}
	change.By = workflows.Person{ID: c.UserID, Name: c.UserName, Team: c.TeamID}
	change.Via = workflows.ViaCommand
	now, no := b.change(ctx, b.reference(f), change, c.TriggerID)
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
func openOnly(fs []record.Found) (open []record.Found) {
	for _, f := range fs {
		if f.Outcome == "" {
			open = append(open, f)
		}
	}
	return open
}
