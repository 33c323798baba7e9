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
	refuseTeam      refusal = "I work for another workspace, not for this one."
	refuseStranger  refusal = "Only people of this workspace can decide requests here."
	refuseSelf      refusal = "You asked for this yourself: somebody else has to decide it."
	refuseGone      refusal = "You have handed your place over: you do not decide this any more."
	refuseOthers    refusal = "You are not among those who can decide this request."
	refuseGuest     refusal = "Guests can decide only where they are named as approvers."
	refuseAccount   refusal = "Only active people of this workspace can decide requests."
	refuseUnchecked refusal = "I could not check with Slack whether you may decide this, so nothing was decided. Please click again in a moment."

	refuseStrangerChange  refusal = "Only people of this workspace can change requests here."
	refuseOthersChange    refusal = "Only who asked for this, or who may decide it, can change it."
	refuseGuestChange     refusal = "Guests can change only requests that they made, or that name them as approvers."
	refuseAccountChange   refusal = "Only active people of this workspace can change requests."
	refuseUncheckedChange refusal = "I could not check with Slack whether you may change this, so nothing was changed. Please try again in a moment."
)

// mayDecide says whether the person may decide what ref names, and which of its roles they may fill. checked is false
// where that could not be found out: the answer is no then.
func (b *Bot) mayDecide(ctx context.Context, ref reference.Reference, who workflows.Person) (roles []string, no refusal, checked bool) {
	switch {
	case who.Team != b.Team:
		return nil, refuseStranger, true
	case who.ID == ref.Requester && !ref.AllowSelf:
		return nil, refuseSelf, true
	case slices.Contains(ref.Gone, who.ID):
		return nil, refuseGone, true
	case len(ref.Roles) == 0:
		no, checked = b.mayFill(ctx, reference.Role{Users: ref.Users, Groups: ref.Groups, Channel: ref.Channel}, who.ID, ref.AllowGuests)
		return nil, no, checked
	}
	why := refuseOthers
	for _, role := range ref.Roles {
		switch no, checked := b.mayFill(ctx, role, who.ID, ref.AllowGuests); {
		case !checked:
			return nil, no, false
		case no == "":
			roles = append(roles, role.Name)
		case no != refuseOthers:
			why = no
		}
	}
	if len(roles) == 0 {
		return nil, why, true
	}
	return roles, "", true
}

// mayFill says whether the person may fill the role. Whoever is named needs no look-up; for the members of a group, and
// for everybody in a channel, Slack is asked who they are.
func (b *Bot) mayFill(ctx context.Context, role reference.Role, id string, guests bool) (no refusal, checked bool) {
	if slices.Contains(role.Users, id) {
		return "", true
	}
	switch in, err := b.isAmong(ctx, role.Groups, role.Channel, id); {
	case err != nil:
		return refuseUnchecked, false
	case !in:
		return refuseOthers, true
	default:
		return b.isActive(ctx, id, guests)
	}
}

// isAmong says whether the person is a member of one of the groups, or anyone may.
func (b *Bot) isAmong(ctx context.Context, groups []string, anyone bool, id string) (bool, error) {
	for _, group := range groups {
		if anyone {
			break
		}
		var err error
		if anyone, err = b.isMember(ctx, group, id); err != nil {
			return false, err
		}
	}
	return anyone, nil
}

// isActive refuses bots, guests, and people who are not of this workspace, or no longer.
func (b *Bot) isActive(ctx context.Context, id string, guests bool) (no refusal, checked bool) {
	p, err := b.Slack.Person(ctx, id)
	switch {
	case err != nil:
		b.Log.Warn("look up a person", "user", id, "err", err)
		return refuseUnchecked, false
	case !p.ActiveIn(b.Team):
		return refuseAccount, true
	case p.Guest && !guests:
		return refuseGuest, true
	default:
		return "", true
	}
}

// mayChange says whether the person may change what ref names at all: who asked for it may, and who may decide it.
// Whether they may make a certain change the workflow says.
func (b *Bot) mayChange(ctx context.Context, ref reference.Reference, who workflows.Person) refusal {
	if no := b.belongs(ctx, who, isNamed(ref, who.ID) || ref.AllowGuests); no != "" || who.ID == ref.Requester {
		return no
	}
	switch _, no, checked := b.mayDecide(ctx, ref, who); {
	case !checked:
		return refuseUncheckedChange
	case no != "":
		return refuseOthersChange
	default:
		return ""
	}
}

// belongs refuses, in words about changing, people of other workspaces and whom [Bot.isActive] refuses.
func (b *Bot) belongs(ctx context.Context, who workflows.Person, guests bool) refusal {
	if who.Team != b.Team {
		return refuseStrangerChange
	}
	switch no, checked := b.isActive(ctx, who.ID, guests); {
	case !checked:
		return refuseUncheckedChange
	case no == refuseGuest:
		return refuseGuestChange
	case no != "":
		return refuseAccountChange
	default:
		return ""
	}
}

// isNamed says whether the person is the requester, or an approver by name.
func isNamed(ref reference.Reference, id string) bool {
	return id == ref.Requester || slices.Contains(ref.Who().Users, id)
}

// mayAsk says whether a person may use the slash commands.
func (b *Bot) mayAsk(ctx context.Context, id string) refusal {
	const unchecked refusal = "I could not check with Slack whether you may use this, so nothing was started. Please try again in a moment."
	if slices.Contains(b.Requesters.Users, id) {
		return ""
	}
	allowed, err := b.isAmong(ctx, b.Requesters.Groups, b.Requesters.Members, id)
	if err != nil {
		return unchecked
	}
	if !allowed {
		return "You are not among those who may use this command here. Whoever runs the app sets that with REQUESTERS."
	}
	p, err := b.Slack.Person(ctx, id)
	switch {
	case err != nil:
		b.Log.Warn("look up a person", "user", id, "err", err)
		return unchecked
	case p.Guest || !p.ActiveIn(b.Team):
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
