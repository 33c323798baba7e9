package bot

import (
	"context"
	"slices"

	"countersign/internal/reference"
	"countersign/workflows"
)

// refusal is why a person may not do something: a sentence for them. Empty means that they may.
type refusal string

const (
	refuseStranger  refusal = "Only people of this workspace can decide requests here."
	refuseSelf      refusal = "You asked for this yourself: somebody else has to decide it."
	refuseOthers    refusal = "You are not among those who can decide this request."
	refuseGuest     refusal = "Guests can decide only where they are named as approvers."
	refuseAccount   refusal = "Only active people of this workspace can decide requests."
	refuseUnchecked refusal = "I could not check with Slack whether you may decide this, so nothing was decided. Please click again in a moment."
)

// mayDecide says whether the person may decide what ref names. Whoever is named needs no look-up; for the members of a
// group, and for everybody in a channel, Slack is asked who they are. checked is false where that failed: the answer
// is no then.
func (b *Bot) mayDecide(ctx context.Context, ref reference.Reference, who workflows.Person) (no refusal, checked bool) {
	switch {
	case who.Team != b.Team:
		return refuseStranger, true
	case who.ID == ref.Requester && !ref.AllowSelf:
		return refuseSelf, true
	case slices.Contains(ref.Users, who.ID):
		return "", true
	}
	allowed := ref.Channel
	for _, group := range ref.Groups {
		if allowed {
			break
		}
		var err error
		if allowed, err = b.isMember(ctx, group, who.ID); err != nil {
			return refuseUnchecked, false
		}
	}
	if !allowed {
		return refuseOthers, true
	}
	p, err := b.Slack.Person(ctx, who.ID)
	switch {
	case err != nil:
		b.Log.Warn("look up a person", "user", who.ID, "err", err)
		return refuseUnchecked, false
	case p.Bot || p.Deactivated || p.Team != b.Team:
		return refuseAccount, true
	case p.Guest:
		return refuseGuest, true
	default:
		return "", true
	}
}

// mayAsk says whether a person may use the slash commands.
func (b *Bot) mayAsk(ctx context.Context, id string) refusal {
	const unchecked refusal = "I could not check with Slack whether you may use this, so nothing was started. Please try again in a moment."
	if slices.Contains(b.Requesters.Users, id) {
		return ""
	}
	allowed := b.Requesters.Members
	for _, group := range b.Requesters.Groups {
		if allowed {
			break
		}
		var err error
		if allowed, err = b.isMember(ctx, group, id); err != nil {
			return unchecked
		}
	}
	if !allowed {
		return "You are not among those who may use this command here. Whoever runs the app sets that with REQUESTERS."
	}
	p, err := b.Slack.Person(ctx, id)
	switch {
	case err != nil:
		b.Log.Warn("look up a person", "user", id, "err", err)
		return unchecked
	case p.Bot || p.Deactivated || p.Guest || p.Team != b.Team:
		return "Only full members of this workspace may use this command."
	default:
		return ""
	}
}

func (b *Bot) isMember(ctx context.Context, group, id string) (bool, error) {
	members, err := b.Slack.Members(ctx, group)
	if err != nil {
		b.Log.Warn("look up a user group", "group", group, "err", err)
		return false, err
	}
	return slices.Contains(members, id), nil
}
