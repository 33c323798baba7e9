package record

import (
	"cmp"
	"context"

	"go.temporal.io/api/workflowservice/v1"
)

// Elsewhere is the channel of the requests that [Reader.CountOpen] does not look at.
const Elsewhere = "elsewhere"

// Counter counts workflows; a client.Client does.
type Counter interface {
	CountWorkflow(ctx context.Context, r *workflowservice.CountWorkflowExecutionsRequest) (*workflowservice.CountWorkflowExecutionsResponse, error)
}

// CountOpen counts the open requests by the channels of their cards. It looks at the latest [LookAtOpen] workflows; those
// beyond count as requests [Elsewhere].
func (r Reader) CountOpen(ctx context.Context, c Counter) (map[string]int, error) {
	open := r.open()
	found, seen, more, _, err := r.scan(ctx, open, LookAtOpen)
	if err != nil {
		return nil, err
	}
	byChannel := map[string]int{}
	for _, f := range found {
		if f.Outcome == "" {
			byChannel[cmp.Or(f.Card.Channel, f.Round.Channel)]++
		}
	}
	if !more {
		return byChannel, nil
	}
	all, err := c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: r.Namespace, Query: open})
	if err != nil {
		return nil, err
	}
	byChannel[Elsewhere] = max(0, int(all.GetCount())-seen)
	return byChannel, nil
}
