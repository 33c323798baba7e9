package card

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/slack-go/slack"

	"countersign/workflows"
)

// IDs of the forms, and of what is filled in there: block and action have the same.
const (
	// CallbackDecision is of the form that asks for what a decision needs: reason, comment, inputs.
	CallbackDecision = "decision"
	CallbackDelegate = "delegate"
	CallbackExtend   = "extend"
	// CallbackChange is of the form that only asks whether to make a change.
	CallbackChange = "change"
	// CallbackRequest is of the form by which people ask for an approval.
	CallbackRequest = "request"
	// CallbackTold is of a view that only says something.
	CallbackTold = "told"

	// BlockComment is the comment or reason of a decision.
	BlockComment = "comment"
	// BlockPerson is to whom a place is handed over: a person.
	BlockPerson = "person"
	// BlockLonger is how much longer a request waits: "1h", "4h", "1d", "3d" or "7d".
	BlockLonger = "longer"
	// The request's form. BlockDeadline has the values of BlockLonger, and none for the deployment's own.
	BlockTitle     = "title"
	BlockText      = "text"
	BlockApprovers = "approvers"
	BlockRequired  = "required"
	BlockDeadline  = "deadline"
)

// InputBlock is the ID of the request's i-th input, from 0.
func InputBlock(i int) string { return "input-" + strconv.Itoa(i) }

const (
	// viewTitleLimit is of a view's title and its buttons. https://docs.slack.dev/reference/views/modal-views
	viewTitleLimit = 24
	// inputLimit is of a text to begin with. https://docs.slack.dev/reference/block-kit/block-elements/plain-text-input-element
	inputLimit = 3000
	// viewBytes is of a view's JSON. https://docs.slack.dev/reference/methods/views.open#errors
	viewBytes = 250_000
)

// DecisionModal asks for what a decision needs, by the action that was clicked: for a rejection the reason, for an
// approval the comment and the inputs, with the values that they have. metadata comes back with the submission. Where
// whole is true it shows the whole request, for there is no card beside it.
func DecisionModal(r workflows.Round, action, metadata string, whole bool) slack.ModalViewRequest {
	blocks := []slack.Block{slack.NewRichTextBlock("", (&rich{}).add(spans(title(r.Request), bold())).section())}
	if whole {
		blocks = shownWhole(r)
	}
	n, approves := Option(action)
	if !approves {
		blocks = append(blocks, comment("Reason", r.RejectReason))
		return modal(CallbackDecision, "Reject Request", "Reject", metadata, blocks)
	}
	submit := "Approve"
	if n > 0 && n <= len(r.Choices) {
		label := choiceButton(r.Choices[n-1], n-1)
		submit = within(label, viewTitleLimit)
		blocks = append(blocks, slack.NewRichTextBlock("", fact("You choose").text(label).section()))
	}
	current := current(r.Request, r.Decisions)
	for limit := workflows.MaxLabel; ; limit /= 2 { // of what can be selected
		all := slices.Clone(blocks)
		for i, in := range first(r.Inputs, workflows.MaxInputs) {
			all = append(all, input(in, i, current[i].text, limit))
		}
		if r.ApproveComment == workflows.Optional || r.ApproveComment == workflows.Required {
			all = append(all, comment("Comment", r.ApproveComment))
		}
		v := modal(CallbackDecision, "Approve Request", submit, metadata, all)
		if b, err := json.Marshal(v); err != nil || len(b) < viewBytes || limit < 10 {
			return v
		}
	}
}

// shownWhole is the request as its card shows it.
func shownWhole(r workflows.Round) []slack.Block {
	blocks := question("", r.Request, parse(r.Text), current(r.Request, r.Decisions), TextLimit)[1:]
	if r.Requester != "" {
		blocks = append(blocks, context("Asked by "+user(r.Requester)))
	}
	return blocks
}

func comment(label string, wanted workflows.Answer) *slack.InputBlock {
	return slack.NewInputBlock(BlockComment, plain(label), plain("The requester sees it, and so does everybody who sees the card."),
		slack.NewPlainTextInputBlockElement(nil, BlockComment).WithMultiline(true).WithMaxLength(ReasonLimit)).
		WithOptional(wanted != workflows.Required)
}

// input asks for the i-th input's value. Labels of what can be selected have at most limit characters.
func input(in workflows.Input, i int, value string, limit int) *slack.InputBlock {
	id := InputBlock(i)
	var hint *slack.TextBlockObject
	if text := Clean(in.Hint, workflows.MaxHint); text != "" {
		hint = plain(text)
	}
	if !in.Fits(value) || length(value) > inputLimit {
		value = ""
	}
	block := slack.NewInputBlock(id, plain(inputLabel(in, i, workflows.MaxLabel)), hint, inputElement(in, id, value, limit))
	return block.WithOptional(in.Optional)
}

func inputElement(in workflows.Input, id, value string, limit int) slack.BlockElement {
	switch in.Type {
	case workflows.NumberInput:
		e := slack.NewNumberInputBlockElement(nil, id, true)
		e.InitialValue = value
		return e
	case workflows.SelectInput:
		e := slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, nil, id)
		byNumber := numbered(in)
		for i, c := range first(in.Options, workflows.MaxOptions) {
			v := c.String()
			if byNumber {
				v = strconv.Itoa(i + 1)
			}
			e.Options = append(e.Options, slack.NewOptionBlockObject(v, plain(cut(choiceButton(c, i), limit)), nil))
			if value != "" && c.String() == value {
				e.InitialOption = e.Options[i]
			}
		}
		return e
	case workflows.DateInput:
		e := slack.NewDatePickerBlockElement(id)
		e.InitialDate = value
		return e
	case workflows.PersonInput:
		e := slack.NewOptionsSelectBlockElement(slack.OptTypeUser, nil, id)
		e.InitialUser = value
		return e
	default:
		e := slack.NewPlainTextInputBlockElement(nil, id).WithMultiline(in.Lines).WithMaxLength(workflows.MaxReason)
		e.InitialValue = value
		return e
	}
}

// DelegateModal asks to whom a place is handed over.
func DelegateModal(metadata string) slack.ModalViewRequest {
	return modal(CallbackDelegate, "Hand Over", "Hand Over", metadata, []slack.Block{
		slack.NewInputBlock(BlockPerson, plain("Who decides in your place?"),
			plain("They are told in the card's thread. After that you cannot decide this any more."),
			slack.NewOptionsSelectBlockElement(slack.OptTypeUser, nil, BlockPerson)),
	})
}

// ExtendModal asks how much longer the request waits.
func ExtendModal(r workflows.Round, metadata string) slack.ModalViewRequest {
	return modal(CallbackExtend, "Extend", "Extend", metadata, []slack.Block{
		slack.NewRichTextBlock("", (&rich{}).add(spans(title(r.Request), bold())).section()),
		context("It waits until " + Date(r.Until())),
		slack.NewInputBlock(BlockLonger, plain("How much longer?"), nil, durations(BlockLonger, nil)),
	})
}

// ChangeModal asks whether the request is to be withdrawn, or escalated now: nothing has to be filled in.
func ChangeModal(kind workflows.ChangeKind, r workflows.Round, metadata string) slack.ModalViewRequest {
	verb, happens := "Withdraw", "The request ends: nobody can decide it any more, and this cannot be undone."
	if kind == workflows.Escalate {
		step, _ := r.NextEscalation()
		who := names(step.Approvers, mostMissing, inTheChannel)
		if role := words(step.Role, 2*workflows.MaxRoleName); role != "" {
			who += " (" + role + ")"
		}
		verb, happens = "Escalate", "From now on "+who+" can decide it too."
	}
	return modal(CallbackChange, verb+" Request", verb, metadata, []slack.Block{
		slack.NewRichTextBlock("", (&rich{}).add(spans(title(r.Request), bold())).section()),
		mrkdwn(happens),
	})
}

// RequestModal is the form by which people ask for an approval. Its title begins with text.
func RequestModal(metadata, text string) slack.ModalViewRequest {
	title := slack.NewPlainTextInputBlockElement(plain("Deploy version 2 to production"), BlockTitle).WithMaxLength(TitleLimit)
	title.InitialValue = Clean(text, TitleLimit)
	most := workflows.MaxUsers
	approvers := slack.NewOptionsMultiSelectBlockElement(slack.MultiOptTypeUser, nil, BlockApprovers)
	approvers.MaxSelectedItems = &most
	required := slack.NewNumberInputBlockElement(nil, BlockRequired, false)
	required.MinValue, required.MaxValue, required.InitialValue = "1", strconv.Itoa(workflows.MaxRequired), "1"
	return modal(CallbackRequest, "Ask for Approval", "Ask", metadata, []slack.Block{
		slack.NewInputBlock(BlockTitle, plain("What is to be approved?"), nil, title),
		slack.NewInputBlock(BlockText, plain("What should they know?"), plain("You can use *emphasis*, `code`, lists, quotes and [links](https://example.com)."),
			slack.NewPlainTextInputBlockElement(nil, BlockText).WithMultiline(true).WithMaxLength(TextLimit)).WithOptional(true),
		slack.NewInputBlock(BlockApprovers, plain("Who may decide?"), plain("Without anybody here, those who usually do."), approvers).WithOptional(true),
		slack.NewInputBlock(BlockRequired, plain("How many of them have to approve?"), nil, required),
		slack.NewInputBlock(BlockDeadline, plain("How long does it wait?"), nil, durations(BlockDeadline, plain("The usual time"))).WithOptional(true),
	})
}

// durations is a menu of lengths of time.
func durations(id string, placeholder *slack.TextBlockObject) *slack.SelectBlockElement {
	e := slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, placeholder, id)
	for _, d := range [][2]string{{"1h", "1 hour"}, {"4h", "4 hours"}, {"1d", "1 day"}, {"3d", "3 days"}, {"7d", "7 days"}} {
		e.Options = append(e.Options, slack.NewOptionBlockObject(d[0], plain(d[1]), nil))
	}
	return e
}

// Notified is a view that only says a sentence of ours, which is written in that markup.
func Notified(sentence string, m Markup) slack.ModalViewRequest {
	said := mrkdwn(sentence)
	if m == Bare {
		said = slack.NewSectionBlock(plain(within(sentence, TextLimit)), nil, nil)
	}
	return slack.ModalViewRequest{
		Type: slack.VTModal, CallbackID: CallbackTold, Title: plain("Approvals"), Close: plain("Close"),
		Blocks: slack.Blocks{BlockSet: []slack.Block{said}},
	}
}

func modal(callback, title, submit, metadata string, blocks []slack.Block) slack.ModalViewRequest {
	return slack.ModalViewRequest{
		Type: slack.VTModal, CallbackID: callback, Title: plain(title), Submit: plain(submit), Close: plain("Cancel"),
		Blocks: slack.Blocks{BlockSet: blocks}, PrivateMetadata: metadata,
	}
}
