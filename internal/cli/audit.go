package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	strict "github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"countersign/internal/record"
	"countersign/workflows"
)

// The kinds of an audit's lines. The first line is the audit, the last the end.
const (
	lineAudit    = "audit"
	lineDecision = "decision"
	lineOutcome  = "outcome"
	lineEnd      = "end"
)

// auditVersion is that of the lines' form. Members are only ever added to it.
const auditVersion = 1

// heading is the first line: what was asked for, of which deployment.
type heading struct {
	Kind      string    `json:"kind"`
	Version   int       `json:"version"`
	Since     time.Time `json:"since"`
	Until     time.Time `json:"until"`
	WrittenAt time.Time `json:"written_at"`
	Namespace string    `json:"namespace"`
	TaskQueue string    `json:"task_queue"`
}

// subject is the request that a line is about.
type subject struct {
	WorkflowID string `json:"workflow_id"`
	RunID      string `json:"run_id"`
	Question   string `json:"question"`
	Title      string `json:"title,omitempty"`
	Requester  string `json:"requester,omitempty"`
}

// decided is a line of a decision, with the words of [workflows.Decision].
type decided struct {
	Kind string    `json:"kind"`
	At   time.Time `json:"at"`
	subject
	Digest string `json:"digest,omitempty"`
	Round  int    `json:"round,omitempty"`
	workflows.Decision
}

// ended is a line of an outcome, with the words of [workflows.Result]. Its decisions have lines of their own.
type ended struct {
	Kind string    `json:"kind"`
	At   time.Time `json:"at"`
	subject
	Digest string `json:"digest,omitempty"`
	workflows.Result
	ApprovedBy []string `json:"approved_by,omitempty"`
}

// ending is the last line: without it a file whose end was cut off would be whole.
type ending struct {
	Kind string `json:"kind"`
	counts
}

// counts say how many decisions and outcomes there are, and of how many requests they are.
type counts struct {
	Requests  int `json:"requests"`
	Decisions int `json:"decisions"`
	Outcomes  int `json:"outcomes"`
}

// chain writes lines of JSON, each with the hash of the one before: {"seq":N,…,"prev":"…","hash":"…"}. The hash is the
// SHA-256 of the line's bytes without its last member: of {"seq":N,…,"prev":"…"}.
type chain struct {
	w    io.Writer
	seq  int
	hash string // of the last line
}

func (c *chain) add(v any) error {
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	members := bytes.Trim(body.Bytes(), "\n")
	line := fmt.Sprintf(`{"seq":%d,%s,"prev":"%s"`, c.seq, members[1:len(members)-1], c.hash)
	c.seq++
	c.hash = sum(line + "}")
	_, err := fmt.Fprintf(c.w, "%s,\"hash\":\"%s\"}\n", line, c.hash)
	return err
}

func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

// auditFlags are the flags of audit.
type auditFlags struct {
	since, until, output string
	force                bool
}

func auditCommand(connect Connect, s Streams) *cobra.Command {
	var f auditFlags
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Write all decisions and outcomes as JSON Lines",
		Long: `Writes who decided what, and how requests ended, as Temporal has it: a line of JSON for each decision and for each
outcome since then, in the order of their time. Each line has the hash of the one before, so that "audit verify" sees
whether a line was changed, added, moved or left out later. Nothing is written before all has been read.`,
		Example: `  countersign audit --since 720h --output audit.jsonl
  countersign audit --since 2026-11-01 --until 2026-12-01 --output november.jsonl
  countersign audit verify audit.jsonl`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			now := time.Now().UTC()
			h, err := f.heading(now, cmd.Flags().Changed("until"))
			if err != nil {
				return err
			}
			if f.output == "" && cmd.Flags().Changed("output") {
				return exit(ExitUsage, "--output is empty: give the file's name, or leave it out for standard output")
			}
			if f.output == "-" {
				f.output = ""
			}
			err = f.run(cmd.Context(), connect, s, h)
			if err != nil && cmd.Context().Err() != nil {
				return exit(ExitInterrupted, "interrupted: the audit is not complete")
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.since, "since", "720h", "from when on: a `time`, such as 2026-11-23T14:00:00Z or 2026-11-23, or how long ago")
	flags.StringVar(&f.until, "until", "", "the `time` before which it ends, as --since (default: now)")
	flags.StringVar(&f.output, "output", "", "the `file` to write, which only you can read (default: standard output)")
	flags.BoolVar(&f.force, "force", false, "replace the file where there is one")
	cmd.AddCommand(verifyCommand(s))
	return cmd
}

// heading is the first line, of what the flags ask for. The deployment is left out.
func (f auditFlags) heading(now time.Time, untilGiven bool) (h heading, err error) {
	h = heading{Kind: lineAudit, Version: auditVersion, Until: now, WrittenAt: now}
	if h.Since, err = moment("since", f.since, now); err != nil {
		return h, err
	}
	if untilGiven {
		if h.Until, err = moment("until", f.until, now); err != nil {
			return h, err
		}
	}
	switch {
	case h.Until.After(now):
		return h, exit(ExitUsage, "--until is %s, which has not come yet: leave it out to have all until now", h.Until.Format(time.RFC3339))
	case !h.Since.Before(h.Until):
		return h, exit(ExitUsage, "--since is %s, and has to be before --until, which is %s", h.Since.Format(time.RFC3339), h.Until.Format(time.RFC3339))
	}
	return h, nil
}

// moment reads when something was, or how long ago. A date is its beginning, in UTC.
func moment(flag, s string, now time.Time) (time.Time, error) {
	if d, err := workflows.Duration(s).Value(); err == nil && s != "" {
		return now.Add(-d), nil
	}
	for _, form := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(form, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, exit(ExitUsage, "--%s is %q, which is neither how long ago, such as 720h, nor a time such as 2026-11-23 or 2026-11-23T14:00:00Z", flag, s)
}

func (f auditFlags) run(ctx context.Context, connect Connect, s Streams, h heading) error {
	out, done := s.Out, func() error { return nil }
	if f.output != "" {
		file, err := f.create()
		if err != nil {
			return err
		}
		defer os.Remove(file.Name()) // Once it is complete it has another name.
		defer file.Close()
		out, done = file, func() error { return f.keep(file) }
	}
	c, closer, err := connect(ctx)
	if err != nil {
		return err
	}
	defer closer()
	last := time.Now()
	all, gone, err := c.Records.Audit(ctx, h.Since, func(read, of int) {
		if time.Since(last) >= time.Second {
			last = time.Now()
			fmt.Fprintf(s.Err, "%d of %d workflows are read.\n", read, of)
		}
	})
	switch {
	case unreadable(err) != nil:
		return unreadable(err)
	case err != nil:
		return fmt.Errorf("read the requests: %w", err)
	case gone > 0:
		fmt.Fprintf(s.Err, "%d workflows are left out: Temporal deleted them meanwhile.\n", gone)
	}
	h.Namespace, h.TaskQueue = c.Records.Namespace, c.Records.TaskQueue
	w := bufio.NewWriter(out)
	n, hash, err := writeAudit(w, h, all)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = done()
	}
	if err != nil {
		return fmt.Errorf("write the audit: %w", err)
	}
	fmt.Fprintf(s.Err, "%d decisions and %d outcomes of %d requests are written. The last hash is %s\n", n.Decisions, n.Outcomes, n.Requests, hash)
	return nil
}

// create makes the file that is to become the output. Nobody else may read it.
func (f auditFlags) create() (*os.File, error) {
	if err := f.free(); err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(filepath.Dir(f.output), "."+filepath.Base(f.output)+".*")
	if err != nil {
		return nil, exit(ExitUsage, "the file of --output cannot be written: %w", err)
	}
	return file, nil
}

// free refuses a file that there is.
func (f auditFlags) free() error {
	if _, err := os.Lstat(f.output); err == nil && !f.force {
		return exit(ExitUsage, "there is a file %s already: give another name with --output, or have it replaced with --force", quote(f.output))
	}
	return nil
}

// keep gives the file, which is complete, the name of the output.
func (f auditFlags) keep(file *os.File) error {
	if err := file.Sync(); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	if err := f.free(); err != nil { // Somebody may have made one meanwhile.
		return err
	}
	return os.Rename(file.Name(), f.output)
}

// writeAudit writes what happened between the heading's times, in the order of time. hash is that of the last line.
func writeAudit(w io.Writer, h heading, all []record.Audited) (n counts, hash string, err error) {
	type line struct {
		at time.Time
		of subject
		v  any
	}
	var lines []line
	within := func(t time.Time) bool { return !t.Before(h.Since) && t.Before(h.Until) }
	for _, a := range all {
		before, of := len(lines), subject{a.WorkflowID, a.RunID, a.Question, a.Title, a.Requester}
		for _, d := range a.Decisions {
			if within(d.At) {
				n.Decisions++
				lines = append(lines, line{d.At, of, decided{lineDecision, d.At, of, d.Digest, d.Round, d.Decision}})
			}
		}
		if res := a.Result; res.Outcome != "" && within(res.EndedAt) {
			var by []string
			for _, p := range a.ApprovedBy {
				by = append(by, cmp.Or(p.ID, p.Name, "somebody outside Slack"))
			}
			at := res.EndedAt
			res.EndedAt, res.Decisions = time.Time{}, nil
			n.Outcomes++
			lines = append(lines, line{at, of, ended{lineOutcome, at, of, res.Digest, res, by}})
		}
		if len(lines) > before {
			n.Requests++
		}
	}
	// Those of a request that are of the same time stay in their order: decisions, and then the outcome.
	slices.SortStableFunc(lines, func(a, b line) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.of.WorkflowID, b.of.WorkflowID), cmp.Compare(a.of.RunID, b.of.RunID), cmp.Compare(a.of.Question, b.of.Question))
	})
	c := chain{w: w}
	if err := c.add(h); err != nil {
		return n, "", err
	}
	for _, l := range lines {
		if err := c.add(l.v); err != nil {
			return n, "", err
		}
	}
	err = c.add(ending{lineEnd, n})
	return n, c.hash, err
}

func verifyCommand(s Streams) *cobra.Command {
	var hash string
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check that an audit is as it was written",
		Long: `Checks that a file, or with - standard input, is an audit from its first line to its last, in which no line was
changed, added, moved or left out. It needs nothing but the file. Who changes a line can make all hashes after it anew:
keep the last one where they cannot write, and give it with --hash.`,
		Example: `  countersign audit verify audit.jsonl
  countersign audit verify audit.jsonl --hash 5f2c…
  gunzip -c audit.jsonl.gz | countersign audit verify -`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return exit(ExitUsage, "give one file that `countersign audit` wrote, or - for standard input")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if b, err := hex.DecodeString(hash); cmd.Flags().Changed("hash") && (err != nil || len(b) != sha256.Size) {
				return exit(ExitUsage, "--hash is %q, and has to be the %d characters of a last line's hash", hash, 2*sha256.Size)
			}
			name, in := quote(args[0]), s.In
			if args[0] == "-" {
				name = "standard input"
			} else {
				file, err := os.Open(args[0])
				if err != nil {
					return exit(ExitUsage, "the file cannot be read: %w", err)
				}
				defer file.Close()
				in = file
			}
			a, err := readWhile(cmd.Context(), in)
			var wrong wrong
			switch {
			case cmd.Context().Err() != nil:
				return exit(ExitInterrupted, "interrupted: it was not checked")
			case errors.As(err, &wrong):
				return exit(ExitRejected, "%s is not whole: %w", name, wrong)
			case err != nil:
				return exit(ExitUsage, "%s cannot be read: %w", name, err)
			case hash != "" && !strings.EqualFold(a.hash, hash):
				return exit(ExitRejected, "%s is not the file that --hash is of: its last hash is %s", name, a.hash)
			}
			fmt.Fprintf(s.Out, "%s is whole: %d decisions and %d outcomes from %s to %s, hash %s\n",
				name, a.Decisions, a.Outcomes, a.since.Format(time.RFC3339), a.until.Format(time.RFC3339), a.hash)
			return nil
		},
	}
	cmd.Flags().StringVar(&hash, "hash", "", "what the last line's `hash` has to be")
	return cmd
}

// readWhile is readAudit until ctx ends: a pipe may give nothing for long. Who reads on then ends with the process.
func readWhile(ctx context.Context, in io.Reader) (a audit, err error) {
	done := make(chan struct{})
	var (
		read    audit
		readErr error
	)
	go func() {
		defer close(done)
		read, readErr = readAudit(in)
	}()
	select {
	case <-done:
		return read, readErr
	case <-ctx.Done():
		return a, ctx.Err()
	}
}

// wrong is why a file is no audit, or not whole.
type wrong string

func (w wrong) Error() string { return string(w) }

// audit is what there is in one that is whole.
type audit struct {
	since, until time.Time
	counts
	hash string // of the last line
}

// readAudit checks an audit. The error is [wrong], or that of reading it.
func readAudit(r io.Reader) (a audit, err error) {
	in := bufio.NewReader(r)
	requests := make(map[[3]string]bool)
	var end *counts // as the last line has them
	for n := 1; ; n++ {
		line, err := in.ReadString('\n') // Of any length.
		switch {
		case err == io.EOF && line != "":
			return a, wrong(fmt.Sprintf("line %d is cut: it has no end", n))
		case err == io.EOF && n == 1:
			return a, wrong("it is empty")
		case err == io.EOF && end == nil:
			return a, wrong(fmt.Sprintf("its end is missing, after line %d", n-1))
		case err == io.EOF:
			if a.Requests = len(requests); a.counts != *end {
				return a, wrong(fmt.Sprintf("line %d counts %d requests, %d decisions and %d outcomes, and there are %d, %d and %d",
					n-1, end.Requests, end.Decisions, end.Outcomes, a.Requests, a.Decisions, a.Outcomes))
			}
			return a, nil
		case err != nil:
			return a, err
		case end != nil:
			return a, wrong(fmt.Sprintf("line %d comes after its end", n))
		}
		var l struct {
			Kind    string    `json:"kind"`
			Seq     int       `json:"seq"`
			Version int       `json:"version"`
			Since   time.Time `json:"since"`
			Until   time.Time `json:"until"`
			At      time.Time `json:"at"`
			subject
			counts
		}
		follows, err := a.link(strings.TrimSuffix(line, "\n"), &l)
		switch {
		case err != nil:
			return a, wrong(fmt.Sprintf("line %d %s", n, err))
		case n == 1 && l.Kind != lineAudit:
			return a, wrong(fmt.Sprintf("its beginning is missing: line 1 is of the kind %q", l.Kind))
		case n > 1 && l.Kind == lineAudit:
			return a, wrong(fmt.Sprintf("line %d is the beginning of another audit", n))
		case !follows:
			return a, wrong(fmt.Sprintf("line %d does not follow the line before: one was changed, added, moved or left out", n))
		case l.Seq != n-1:
			return a, wrong(fmt.Sprintf("line %d has the seq %d, and not %d", n, l.Seq, n-1))
		case (l.Kind == lineDecision || l.Kind == lineOutcome) && (l.At.Before(a.since) || !l.At.Before(a.until)):
			return a, wrong(fmt.Sprintf("line %d is of %s, which is not between since and until", n, l.At.Format(time.RFC3339)))
		}
		switch l.Kind {
		case lineAudit:
			if a.since, a.until = l.Since, l.Until; l.Version != auditVersion {
				return a, wrong(fmt.Sprintf("it is of the version %d, which this program does not know: check it with a later one", l.Version))
			}
		case lineDecision:
			a.Decisions++
			requests[[3]string{l.WorkflowID, l.RunID, l.Question}] = true
		case lineOutcome:
			a.Outcomes++
			requests[[3]string{l.WorkflowID, l.RunID, l.Question}] = true
		case lineEnd:
			end = &l.counts
		default:
			return a, wrong(fmt.Sprintf("line %d is of the kind %q, which this program does not know: check it with a later one", n, l.Kind))
		}
	}
}

// link checks that a line has the hash that it says, which becomes a's, and tells whether it follows the line whose hash
// a had. It decodes the line into v. The error says what is wrong with it.
func (a *audit) link(line string, v any) (follows bool, err error) {
	const mark = `,"hash":"`
	at := len(line) - len(mark) - 2*sha256.Size - len(`"}`)
	switch {
	case !json.Valid([]byte(line)):
		return false, errors.New("is no JSON")
	case at < 0 || !strings.HasPrefix(line[at:], mark):
		return false, errors.New("does not end with a hash")
	}
	hash := sum(line[:at] + "}")
	if line[at:] != mark+hash+`"}` {
		return false, errors.New("was changed: its hash is not the one that it says")
	}
	if err := strict.Unmarshal([]byte(line), v); err != nil { // It refuses a name that comes twice.
		return false, fmt.Errorf("is none of an audit: %w", err)
	}
	follows = strings.HasSuffix(line[:at], `,"prev":"`+a.hash+`"`)
	a.hash = hash
	return follows, nil
}
