package worker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/activity"

	"countersign/internal/slackapi"
	"countersign/workflows"
)

// Policy is what the operator's configuration says about requests.
type Policy struct {
	// Approvers decide where a request names nobody. Only where they include Channel may a request ask for it.
	Approvers workflows.Approvers
	// AllowSelf lets requesters decide their own requests: those that name nobody, and those that ask for it.
	AllowSelf bool
	// AllowGuests lets requests ask for guests to decide who are not named.
	AllowGuests bool
	// AllowApprovalOnExpiry lets requests ask to be approved where nobody decides in time.
	AllowApprovalOnExpiry bool
	// Deadline is how long a request waits that does not say.
	Deadline time.Duration
}

// PrepareRequest gives a request the deployment's defaults, and refuses one that cannot be asked, that nobody could
// decide, or that asks for more than the operator allows. Its errors are of type [workflows.ErrTypeInvalidRequest] and
// list all that is wrong.
func (a *Activities) PrepareRequest(ctx context.Context, r workflows.Request) (workflows.Request, error) {
	if r.Approvers.Empty() && len(r.Roles) == 0 {
		if workflows.IsUser(r.Channel) {
			r.Approvers.Users = []string{r.Channel}
		} else { // It leaves it to the operator who decides.
			r.Approvers, r.AllowSelf = a.Policy.Approvers, r.AllowSelf || a.Policy.AllowSelf
		}
	}
	faults := append(r.Faults(), a.Policy.faults(r)...)
	now := activity.GetInfo(ctx).ScheduledTime
	wait, err := r.Deadline.Value()
	switch {
	case err != nil: // It is among the faults.
	case r.Deadline != "":
		r.ExpiresAt, r.Deadline = now.Add(wait), ""
	case r.ExpiresAt.IsZero():
		r.ExpiresAt = now.Add(a.Policy.Deadline)
	case !r.ExpiresAt.After(now):
		faults = append(faults, "The deadline has passed already.")
	case r.ExpiresAt.Sub(now) > workflows.MaxDeadline:
		faults = append(faults, "The deadline is more than a year away.")
	}
	if every, err := r.RemindEvery.Value(); err == nil && every > 0 && r.ExpiresAt.Sub(now)/every > workflows.MaxReminders {
		faults = append(faults, fmt.Sprintf("It would remind more than %d times until the deadline: remind less often.", workflows.MaxReminders))
	}
	if len(faults) > 0 {
		return r, invalid(faults)
	}
	return r, nil
}

// faults lists, as sentences, what a request asks for beyond what the operator allows.
func (p Policy) faults(r workflows.Request) (faults []string) {
	fault := func(wrong bool, sentence string) {
		if wrong {
			faults = append(faults, sentence)
		}
	}
	anyone, nobody := r.Approvers.Channel, r.Approvers.Empty()
	for _, role := range r.Roles {
		anyone, nobody = anyone || role.Channel, false
	}
	for _, step := range r.Escalate {
		anyone = anyone || step.Approvers.Channel
	}
	fault(nobody, "Nobody may decide this request: set APPROVERS for the worker, or name approvers in the request.")
	fault(anyone && !p.Approvers.Channel, "The worker's APPROVERS does not allow that anyone in the channel decides.")
	fault(r.AllowSelf && !p.AllowSelf, "The worker's ALLOW_SELF_APPROVAL does not allow that the requester decides.")
	fault(r.AllowGuests && !p.AllowGuests, "The worker's ALLOW_GUESTS does not allow that guests decide.")
	fault(r.OnExpiry == workflows.ApproveOnExpiry && !p.AllowApprovalOnExpiry,
		"The worker's ALLOW_APPROVAL_ON_EXPIRY does not allow that a request counts as approved where nobody decides.")
	return faults
}

// checkApprovers refuses people and groups who could never decide, so that the fault shows when the question is asked
// and not when nobody answers it. It refuses likewise what an input of a person begins with.
func (a *Activities) checkApprovers(ctx context.Context, r workflows.Round) error {
	var faults []string
	who := last(r).Who()
	for _, id := range who.Users {
		switch known, active, err := a.lookUp(ctx, id); {
		case err != nil:
			return err
		case !known:
			faults = append(faults, fmt.Sprintf("There is no person %s in this workspace.", id))
		case !active:
			faults = append(faults, fmt.Sprintf("The approver <@%s> cannot decide: only active people of this workspace can.", id))
		}
	}
	for i, in := range r.Inputs {
		if in.Type != workflows.PersonInput || in.Initial == "" {
			continue
		}
		switch known, active, err := a.lookUp(ctx, string(in.Initial)); {
		case err != nil:
			return err
		case !known:
			faults = append(faults, fmt.Sprintf("The initial value of input %d, %s, is no person of this workspace.", i+1, in.Initial))
		case !active:
			faults = append(faults, fmt.Sprintf("The initial value of input %d, <@%s>, is no active person of this workspace.", i+1, in.Initial))
		}
	}
	for _, id := range who.Groups {
		members, err := a.Slack.Members(ctx, id)
		e := slackapi.AsRefused(err)
		switch {
		case e != nil && (e.Code == "no_such_subteam" || e.Code == "subteam_not_found"):
			faults = append(faults, fmt.Sprintf("There is no user group %s in this workspace.", id))
		case err != nil:
			return err
		case len(members) == 0:
			faults = append(faults, fmt.Sprintf("The user group %s has no members.", id))
		}
	}
	if len(faults) > 0 {
		return invalid(faults)
	}
	return nil
}

// lookUp says whether Slack knows a person, and whether they are active in this workspace.
func (a *Activities) lookUp(ctx context.Context, id string) (known, active bool, err error) {
	p, err := a.Slack.Person(ctx, id)
	if e := slackapi.AsRefused(err); e != nil && e.Code == "user_not_found" {
		return false, false, nil
	}
	return err == nil, err == nil && p.ActiveIn(a.Slack.Self().Team), err
}

// invalid is the error that lists the faults.
func invalid(faults []string) error {
	const most = 30 // that a person reads
	if more := len(faults) - most; more > 0 {
		faults = append(faults[:most:most], fmt.Sprintf("There are %d more.", more))
	}
	return workflows.InvalidRequestError(strings.Join(faults, " "))
}

// last is the round as it can become at the most: with all escalations made.
func last(r workflows.Round) workflows.Round {
	r.Changes = slices.Clone(r.Changes)
	for {
		step, ok := r.NextEscalation()
		if !ok {
			break
		}
		r.Changes = append(r.Changes, workflows.Change{Kind: workflows.Escalate, Role: step.Role, Approvers: step.Approvers})
	}
	return r
}

// most is a list of as many people as can be in a reference beside those who may decide.
func most(n int) []string {
	people := make([]string, n)
	for i := range people {
		people[i] = fmt.Sprintf("U%010d", i)
	}
	return people
}
