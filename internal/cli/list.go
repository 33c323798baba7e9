package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"countersign/internal/record"
	"countersign/workflows"
)

func listCommand(connect Connect, s Streams) *cobra.Command {
	var asJSON, ended bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the requests that are open",
		Long: `Lists the requests of the deployment's task queue that are open, or with --ended those that ended in the last seven
days. The list comes from Temporal's visibility, which lags behind by a moment.`,
		Example: `  countersign list
  countersign list --json | jq -r '.[] | select(.round.required > 1) | .workflow_id'
  countersign list --ended`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, closer, err := connect(cmd.Context())
			if err != nil {
				return err
			}
			defer closer()
			all, err := c.Records.List(cmd.Context())
			switch {
			case unreadable(err) != nil:
				return unreadable(err)
			case err != nil:
				return fmt.Errorf("list the requests: %w", err)
			case all.Unread > 0:
				fmt.Fprintf(s.Err, "%d workflows are encrypted, and cannot be read here: set PAYLOAD_KEYS as their worker has it.\n", all.Unread)
			}
			shown, cut := all.Open, all.OpenCut
			if ended {
				shown, cut = all.Ended, all.EndedCut
			}
			if cut {
				fmt.Fprintf(s.Err, "There are so many that only the latest %d workflows were looked at.\n", map[bool]int{false: record.LookAtOpen, true: record.LookAtEnded}[ended])
			}
			if asJSON {
				out := make([]found, len(shown)) // An empty list is one too.
				for i, f := range shown {
					out[i] = found{f.WorkflowID, f.RunID, f.Listed}
				}
				return printJSON(s.Out, out)
			}
			if len(shown) == 0 {
				fmt.Fprintln(s.Err, "There are none.")
				return nil
			}
			return table(s.Out, shown, ended)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&ended, "ended", false, "list those that have ended in the last seven days")
	return cmd
}

// table shows requests that are open, or those that have ended.
func table(w io.Writer, all []record.Found, ended bool) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	last := "UNTIL"
	if ended {
		last = "ENDED"
	}
	fmt.Fprintln(t, "ID\tTITLE\tSTATE\tASKED\t"+last)
	for _, f := range all {
		until := f.Round.Until()
		if ended {
			until = f.EndedAt
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", plain(f.WorkflowID), cut(plain(f.Round.Title), 50), state(f.Listed), stamp(f.AskedAt), stamp(until))
	}
	return t.Flush()
}

func cut(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04")
}

// state is "waiting", "1 of 2 approved", or the outcome.
func state(l workflows.Listed) string {
	wanted := workflows.Count(l.Round.Wanted())
	switch {
	case l.Outcome != "":
		return plain(string(l.Outcome))
	case wanted == 1:
		return "waiting"
	default:
		return fmt.Sprintf("%d of %d approved", max(0, wanted-workflows.Count(l.Missing)), wanted)
	}
}

func showCommand(connect Connect, s Streams) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show how a request stands",
		Example: `  countersign show request-deploy-1a2b3c
  countersign show request-deploy-1a2b3c --json | jq '.[0].round.decisions'`,
		Args:              oneID,
		ValidArgsFunction: completeID(connect),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, closer, err := connect(cmd.Context())
			if err != nil {
				return err
			}
			defer closer()
			all, running, err := c.find(cmd.Context(), args[0], "")
			if err != nil {
				return err
			}
			out := make([]found, len(all))
			for i, f := range all {
				// A list has no texts.
				a, err := c.Records.ReadRequest(cmd.Context(), f.WorkflowID, f.RunID, f.Question)
				if err != nil {
					return fmt.Errorf("read the request: %w", err)
				}
				if a.Round.Number > 0 {
					f.Round.Request = a.Round.Request
				}
				out[i] = found{f.WorkflowID, f.RunID, f.Listed}
			}
			switch {
			case asJSON:
				return printJSON(s.Out, out)
			case len(out) == 0 && running:
				fmt.Fprintln(s.Err, "It runs, and has asked nothing yet.")
			case len(out) == 0:
				fmt.Fprintf(s.Err, "It has ended, and asked nothing. `countersign wait %s` says why.\n", args[0])
			}
			for i, f := range out {
				if i > 0 {
					fmt.Fprintln(s.Out)
				}
				if err := details(s.Out, f); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON: a list, for a workflow may ask for several things")
	return cmd
}

// details shows a request for people.
func details(w io.Writer, f found) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(t, "%s\t%s\n", plain(name), plain(value))
		}
	}
	line("Title", f.Round.Title)
	if f.Round.Text != "" {
		name := "Text"
		for text := range strings.SplitSeq(f.Round.Text, "\n") {
			line(name, "| "+text) // So that it is not taken for what follows.
			name = ""
		}
	}
	for i, field := range f.Round.Fields {
		if i == 0 {
			line("Fields", " ")
		}
		line("  "+field.Label, field.Value)
	}
	line("State", state(f.Listed))
	if f.ByDeadline {
		line("", "by its deadline: nobody decided in time")
	}
	for _, d := range f.Round.Decisions {
		line("", fmt.Sprintf("%s by %s, %s", d.Outcome, person(d.By), stamp(d.At)))
	}
	for _, c := range f.Round.Changes {
		by := "time"
		if c.By != (workflows.Person{}) {
			by = person(c.By)
		}
		did := map[workflows.ChangeKind]string{
			workflows.Withdraw: "withdrawn", workflows.Extend: "extended", workflows.Delegate: "handed over", workflows.Escalate: "escalated",
		}[c.Kind]
		line("", fmt.Sprintf("%s by %s, %s", did, by, stamp(c.At)))
	}
	if f.Outcome == "" {
		for _, role := range f.Missing {
			who := ""
			for _, wanted := range f.Round.Wanted() {
				if wanted.Name == role.Name {
					ids := slices.DeleteFunc(slices.Clone(wanted.Users), func(id string) bool { return !f.CanDecide(id) })
					ids = append(ids, wanted.Groups...)
					if wanted.Channel {
						ids = append(ids, "anyone who can see the card")
					}
					who = strings.Join(ids, ", ")
				}
			}
			if role.Name != "" {
				who += " as " + role.Name
			}
			line("Waits for", fmt.Sprintf("%d of %s", max(1, role.Required), who))
		}
		line("Until", stamp(f.Round.Until()))
	} else {
		line("Ended", stamp(f.EndedAt))
	}
	line("Asked", stamp(f.AskedAt))
	line("Card", f.Permalink)
	line("Workflow", f.WorkflowID)
	line("Run", f.RunID)
	line("Question", f.Question)
	return t.Flush()
}
