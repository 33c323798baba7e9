package reference

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"countersign/workflows"
)

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	keys := parse(t, NewKey())
	for name, want := range map[string]Reference{
		"all":   example(3),
		"empty": {},
		"channel": {
			WorkflowID: "greeting/1", RunID: "r", ActivityID: "decision-1", Channel: true,
		},
		"without a namespace": {
			WorkflowID: "greeting/1", RunID: "r", ActivityID: "a", Users: []string{"U1"},
		},
		"namespace alone": {
			Namespace: "team-a.k7x2p",
		},
		"all fields": full(),
		"a role": {
			WorkflowID: "w", Roles: []Role{{Name: "Security", Groups: []string{"S1"}}},
		},
		"roles without people": {
			Roles: []Role{{Name: "A"}, {Name: "", Channel: true}, {Name: "A\x00\xff"}},
		},
		"who has approved": {Approved: []string{"U1", "U2"}},
		"who is gone":      {Gone: []string{"U1", "U2"}, Groups: []string{"S1"}},
		"until":            {Until: time.Date(2026, 11, 23, 14, 0, 5, 0, time.UTC)},
		"until 1970":       {Until: time.Unix(0, 0).UTC()},
		"until before":     {Until: time.Unix(-1, 0).UTC()},
		"until long after": {Until: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
		"a reason wanted":  {Reason: workflows.Required},
		"no reason wanted": {Reason: workflows.Off},
		"a form":           {Form: true},
		"guests":           {AllowGuests: true},
		"a trace":          {Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
		"one choice":       {Choices: 1},
		"all choices":      {Choices: workflows.MaxChoices},
		"odd IDs": {
			WorkflowID: "a,b\x00\n\xff.é", RunID: "", ActivityID: strings.Repeat("x", 300),
			Users: []string{"", "U1,U2"}, Groups: []string{"S.1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := keys.Seal(want)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(s, "v1."+keys.IDs()[0]+".") {
				t.Errorf("reference starts with %.12q", s)
			}
			if again, err := keys.Seal(want); err != nil || again == s {
				t.Errorf("sealed twice, it should differ (%v)", err)
			}
			got, err := keys.Open(s)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("opened (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEachFlagStandsAlone(t *testing.T) {
	t.Parallel()
	keys := parse(t, NewKey())
	for i := range 32 {
		want := Reference{
			Channel: i&1 > 0, AllowSelf: i&2 > 0, AllowGuests: i&4 > 0, Form: i&8 > 0,
			Roles: []Role{{Name: "r", Channel: i&16 > 0}},
		}
		got, err := keys.Open(seal(t, keys, want))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("opened (-want +got):\n%s", diff)
		}
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	before, after := NewKey(), NewKey()
	old := parse(t, before)
	s := seal(t, old, example(2))

	both := parse(t, after+", "+before)
	got, err := both.Open(s)
	if err != nil {
		t.Fatalf("open with the old key listed second: %v", err)
	}
	if diff := cmp.Diff(example(2), got); diff != "" {
		t.Errorf("opened (-want +got):\n%s", diff)
	}
	if _, err := old.Open(seal(t, both, example(2))); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("the first key must seal; opening with the second alone gives %v", err)
	}
	if _, err := parse(t, after).Open(s); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("open with the old key gone: %v", err)
	}
	if diff := cmp.Diff(append(parse(t, after).IDs(), old.IDs()...), both.IDs()); diff != "" {
		t.Errorf("key IDs (-want +got):\n%s", diff)
	}
}

func TestEveryFlipIsRefused(t *testing.T) {
	t.Parallel()
	keys := parse(t, NewKey()+","+NewKey())
	s := seal(t, keys, Reference{WorkflowID: "w", RunID: "r", ActivityID: "a", Users: []string{"U1"}})
	const with = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n\r\x00\xff"
	for i := range len(s) {
		for _, c := range []byte(with) {
			if c == s[i] {
				continue
			}
			if r, err := keys.Open(s[:i] + string([]byte{c}) + s[i+1:]); err == nil {
				t.Fatalf("opened with %q at %d: %+v", c, i, r)
			}
		}
		for _, c := range []string{"\n", "\r", "=", "A"} {
			if r, err := keys.Open(s[:i] + c + s[i:]); err == nil {
				t.Fatalf("opened with %q put in at %d: %+v", c, i, r)
			}
		}
		if r, err := keys.Open(s[:i]); err == nil {
			t.Fatalf("opened when cut to %d characters: %+v", i, r)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	keys := parse(t, NewKey()+","+NewKey())
	ids := keys.IDs()
	s := seal(t, keys, example(1))
	body := strings.TrimPrefix(s, "v1."+ids[0]+".")
	for name, c := range map[string]struct {
		s    string
		want error
	}{
		"empty":             {"", ErrMalformed},
		"plain text":        {"approve", ErrMalformed},
		"version only":      {"v1", ErrMalformed},
		"no body":           {"v1." + ids[0], ErrMalformed},
		"empty body":        {"v1." + ids[0] + ".", ErrForged},
		"short body":        {"v1." + ids[0] + ".AAAA", ErrForged},
		"not base64":        {"v1." + ids[0] + ".!!!!", ErrMalformed},
		"newline at end":    {s + "\n", ErrMalformed},
		"other version":     {"v2" + s[2:], ErrVersion},
		"unknown key":       {"v1.AAAAAA." + body, ErrUnknownKey},
		"empty key ID":      {"v1.." + body, ErrUnknownKey},
		"other key's ID":    {"v1." + ids[1] + "." + body, ErrForged},
		"over the length":   {s + strings.Repeat("A", MaxLength), ErrMalformed},
		"another's content": {"v1." + ids[0] + "." + body[:len(body)-4] + "AAAA", ErrForged},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r, err := keys.Open(c.s); !errors.Is(err, c.want) || !cmp.Equal(r, Reference{}) {
				t.Errorf("Open gives %+v, %v; want %v", r, err, c.want)
			}
		})
	}
}

func TestUnknownFieldIsSkipped(t *testing.T) {
	t.Parallel()
	for name, added := range map[string]string{
		"at the end":  string(encode(example(2))) + "\xfe\x03new",
		"at the head": "\x63\x03new" + string(encode(example(2))),
	} {
		got, err := decode([]byte(added))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(example(2), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// What the version before sealed, which had ten tags, stands in buttons still.
func TestOldFieldsAreOpened(t *testing.T) {
	t.Parallel()
	digest := strings.Repeat("d", 32)
	plain := "\x01\x01w" + "\x02\x01r" + "\x03\x0adecision-1" + "\x04\x02U1" + "\x05\x02U2" + "\x05\x02U3" + "\x06\x02S1" +
		"\x07\x00" + "\x08\x00" + "\x09\x20" + digest + "\x0a\x07default"
	want := Reference{
		Namespace: "default", WorkflowID: "w", RunID: "r", ActivityID: "decision-1", Requester: "U1",
		Users: []string{"U2", "U3"}, Groups: []string{"S1"}, Channel: true, AllowSelf: true, Digest: [32]byte([]byte(digest)),
	}
	got, err := decode([]byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("opened (-want +got):\n%s", diff)
	}
	if again := string(encode(want)); again != plain {
		t.Errorf("the same is sealed as\n%q, and was\n%q", again, plain)
	}
}

func TestOf(t *testing.T) {
	t.Parallel()
	const requester = "U0ALICE001"
	who := workflows.Approvers{Users: []string{"U0BOB00001"}, Groups: []string{"S0SRE00001"}}
	ask := func(change func(*workflows.Round)) workflows.Round {
		r := workflows.Round{Request: workflows.Request{Title: "Deploy", Requester: requester, Approvers: who}, Number: 1}
		if change != nil {
			change(&r)
		}
		return r
	}
	approved := func(ids ...string) func(*workflows.Round) {
		return func(r *workflows.Round) {
			for _, id := range ids {
				r.Decisions = append(r.Decisions, workflows.Decision{Outcome: workflows.Approved, By: workflows.Person{ID: id}})
			}
		}
	}
	needs := func(n int, more func(*workflows.Round)) func(*workflows.Round) {
		return func(r *workflows.Round) {
			r.Required = n
			more(r)
		}
	}
	erin := workflows.Approvers{Users: []string{"U0ERIN0001"}}
	plain := Reference{
		Namespace: "default", WorkflowID: "w", RunID: "r", ActivityID: "a", Requester: requester,
		Users: who.Users, Groups: who.Groups, Digest: [32]byte{1},
	}
	for name, tc := range map[string]struct {
		change func(*workflows.Round)
		want   func(*Reference)
	}{
		"as it is":              {nil, nil},
		"nobody asks":           {func(r *workflows.Round) { r.Requester = "" }, func(w *Reference) { w.Requester = "" }},
		"anyone in the channel": {func(r *workflows.Round) { r.Approvers = workflows.Approvers{Channel: true} }, func(w *Reference) { w.Users, w.Groups, w.Channel = nil, nil, true }},
		"the requester too":     {func(r *workflows.Round) { r.AllowSelf = true }, func(w *Reference) { w.AllowSelf = true }},
		"guests too":            {func(r *workflows.Round) { r.AllowGuests = true }, func(w *Reference) { w.AllowGuests = true }},
		"named twice": {
			func(r *workflows.Round) { r.Approvers.Users = []string{"U0BOB00001", "U0BOB00001"} }, nil,
		},
		"roles": {
			func(r *workflows.Round) {
				r.Approvers = workflows.Approvers{}
				r.Roles = []workflows.Role{{Name: "Security", Approvers: erin, Required: 2}, {Name: "Anyone", Approvers: workflows.Approvers{Channel: true}}}
			},
			func(w *Reference) {
				w.Users, w.Groups = nil, nil
				w.Roles = []Role{{Name: "Security", Users: erin.Users}, {Name: "Anyone", Channel: true}}
			},
		},
		"escalated": {
			func(r *workflows.Round) { r.Changes = []workflows.Change{{Kind: workflows.Escalate, Approvers: erin}} },
			func(w *Reference) { w.Users = []string{"U0BOB00001", "U0ERIN0001"} },
		},
		"it expires": {
			func(r *workflows.Round) { r.ExpiresAt = time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC) },
			func(w *Reference) { w.Until = time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC) },
		},
		"extended": {
			func(r *workflows.Round) {
				r.ExpiresAt = time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)
				r.Changes = []workflows.Change{{Kind: workflows.Extend, Until: time.Date(2026, 11, 24, 14, 0, 0, 0, time.UTC)}}
			},
			func(w *Reference) { w.Until = time.Date(2026, 11, 24, 14, 0, 0, 0, time.UTC) },
		},
		"not yet escalated": {func(r *workflows.Round) { r.Escalate = []workflows.Escalation{{After: "1h", Approvers: erin}} }, nil},
		"delegated": {
			func(r *workflows.Round) {
				r.Changes = []workflows.Change{{Kind: workflows.Delegate, By: workflows.Person{ID: "U0BOB00001"}, To: "U0DAVE0001"}}
			},
			func(w *Reference) { w.Users, w.Gone = []string{"U0DAVE0001"}, []string{"U0BOB00001"} },
		},
		"delegated, and nobody else may": {
			func(r *workflows.Round) {
				r.Approvers.Groups, r.Approvers.Channel = nil, false
				r.Changes = []workflows.Change{{Kind: workflows.Delegate, By: workflows.Person{ID: "U0BOB00001"}, To: "U0DAVE0001"}}
			},
			func(w *Reference) { w.Users, w.Groups, w.Channel = []string{"U0DAVE0001"}, nil, false },
		},
		"inputs":            {func(r *workflows.Round) { r.Inputs = []workflows.Input{{Name: "n"}} }, func(w *Reference) { w.Form = true }},
		"a comment":         {func(r *workflows.Round) { r.ApproveComment = workflows.Optional }, func(w *Reference) { w.Form = true }},
		"a comment, needed": {func(r *workflows.Round) { r.ApproveComment = workflows.Required }, func(w *Reference) { w.Form = true }},
		"no comment":        {func(r *workflows.Round) { r.ApproveComment = workflows.Off }, nil},
		"a reason, needed":  {func(r *workflows.Round) { r.RejectReason = workflows.Required }, func(w *Reference) { w.Reason = workflows.Required }},
		"no reason":         {func(r *workflows.Round) { r.RejectReason = workflows.Off }, func(w *Reference) { w.Reason = workflows.Off }},
		"choices":           {func(r *workflows.Round) { r.Choices = []workflows.Choice{{Label: "A"}} }, func(w *Reference) { w.Choices = 1 }},

		"one has approved":           {needs(3, approved("U1")), func(w *Reference) { w.Approved = []string{"U1"} }},
		"two have":                   {needs(3, approved("U1", "U2")), func(w *Reference) { w.Approved = []string{"U1", "U2"} }},
		"somebody outside Slack has": {needs(3, approved("", "U1")), func(w *Reference) { w.Approved = []string{"U1"} }},
		"one has, and may choose again": {
			needs(3, func(r *workflows.Round) { r.Choices = []workflows.Choice{{Label: "A"}}; approved("U1")(r) }),
			func(w *Reference) { w.Choices = 1 },
		},
		"one has, and may fill in again": {
			needs(3, func(r *workflows.Round) { r.Inputs = []workflows.Input{{Name: "n"}}; approved("U1")(r) }),
			func(w *Reference) { w.Form = true },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := plain
			if tc.want != nil {
				tc.want(&want)
			}
			r := ask(tc.change)
			got := Of("default", "w", "r", "a", r, [32]byte{1}, r.Counted())
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("Of (-want +got):\n%s", diff)
			}
			opened, err := decode(encode(got))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, opened, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("opened (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWho(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		r    Reference
		want workflows.Approvers
	}{
		"nobody":           {Reference{}, workflows.Approvers{}},
		"no roles":         {Reference{Users: []string{"U1"}, Groups: []string{"S1"}}, workflows.Approvers{Users: []string{"U1"}, Groups: []string{"S1"}}},
		"no roles, anyone": {Reference{Channel: true}, workflows.Approvers{Channel: true}},
		"roles": {
			Reference{Roles: []Role{{Name: "A", Users: []string{"U1", "U2"}, Groups: []string{"S1"}}, {Name: "B", Users: []string{"U2", "U3"}, Groups: []string{"S1", "S2"}}}},
			workflows.Approvers{Users: []string{"U1", "U2", "U3"}, Groups: []string{"S1", "S2"}},
		},
		"anyone in a role": {Reference{Roles: []Role{{Name: "A", Channel: true}, {Name: "B", Users: []string{"U1"}}}}, workflows.Approvers{Users: []string{"U1"}, Channel: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, tc.r.Who(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("Who (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("leaves the reference as it is", func(t *testing.T) {
		t.Parallel()
		users := append(make([]string, 0, 8), "U1", "U2")
		r := Reference{Users: users[:1], Roles: []Role{{Users: []string{"U9"}}}}
		if got := r.Who(); !slices.Equal(got.Users, []string{"U1", "U9"}) || users[1] != "U2" {
			t.Errorf("Who = %+v, and what it was made of is %v", got, users)
		}
	})
}

func TestOffers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		choices int
		want    []int // of none, and the numbers to the most and one more
	}{
		"none, or not known": {0, []int{0, 1, 2, 3, 4, 5, 6}}, // A button from before choices were sealed says nothing of them.
		"one":                {1, []int{1}},
		"three":              {3, []int{1, 2, 3}},
		"all":                {workflows.MaxChoices, []int{1, 2, 3, 4, 5}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []int
			for option := range workflows.MaxChoices + 2 {
				if (Reference{Choices: tc.choices}).Offers(option) {
					got = append(got, option)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("offers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBrokenFields(t *testing.T) {
	t.Parallel()
	for name, plain := range map[string]string{
		"no length":           "\x01",
		"value cut short":     "\x01\x05abcd",
		"length too large":    "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a",
		"length overflows":    "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xffa",
		"digest of 31 bytes":  string([]byte{tagDigest, 31}) + strings.Repeat("d", 31),
		"length ends midways": "\x01\x80",
		"user of no role":     string([]byte{tagRoleUser, 1, 'U'}),
		"group of no role":    string([]byte{tagRoleGroup, 1, 'S'}),
		"channel of no role":  string([]byte{tagRoleChannel, 0}),
		"until nothing":       string([]byte{tagUntil, 0}),
		"until, cut short":    string([]byte{tagUntil, 1, 0x80}),
		"until beyond time":   string([]byte{tagUntil, 11}) + strings.Repeat("\xff", 10) + "\x01",
		"choices of nothing":  string([]byte{tagChoices, 0}),
		"choices, cut short":  string([]byte{tagChoices, 1, 0x80}),
		"too many choices":    string([]byte{tagChoices, 1, workflows.MaxChoices + 1}),
		"choices beyond all":  string([]byte{tagChoices, 10}) + strings.Repeat("\xff", 9) + "\x01",
	} {
		if _, err := decode([]byte(plain)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCapacity(t *testing.T) {
	t.Parallel()
	keys := parse(t, NewKey())
	n := 0
	for ; ; n++ {
		s, err := keys.Seal(example(n))
		var long *TooLongError
		if errors.As(err, &long) {
			if long.Length <= MaxLength || long.Approvers != n+1 || long.IDs != 36+36+18 {
				t.Errorf("error says %+v for %d users", long, n)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(s) > MaxLength {
			t.Fatalf("%d characters", len(s))
		}
	}
	t.Logf("%d named users and a group fit", n-1)
	if n-1 < 95 {
		t.Errorf("%d named users fit, want 95", n-1)
	}
	// Who is in two roles is one approver to be named less.
	big := Reference{Roles: []Role{{Users: example(100).Users}, {Users: example(150).Users, Groups: []string{"S1"}}}}
	var long *TooLongError
	if _, err := keys.Seal(big); !errors.As(err, &long) || long.Approvers != 151 {
		t.Errorf("roles of 150 people and a group give %v", err)
	}
	if _, err := keys.Seal(Reference{WorkflowID: strings.Repeat("w", 3000)}); err == nil || !strings.Contains(err.Error(), "workflow ID") {
		t.Errorf("a long workflow ID gives %v", err)
	}
}

func TestParseKeys(t *testing.T) {
	t.Parallel()
	raw := strings.TrimRight(NewKey(), "=")
	url := strings.NewReplacer("+", "-", "/", "_").Replace(raw)
	want := parse(t, raw).IDs()
	for _, s := range []string{raw, raw + "=", url, url + "=", " " + raw + " ,", "," + url} {
		got, err := ParseKeys(s)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.IDs()); diff != "" {
			t.Errorf("IDs (-want +got):\n%s", diff)
		}
	}

	const secret = "hunter2hunter2"
	for name, c := range map[string]struct{ s, want string }{
		"nothing":     {"", "no key"},
		"only commas": {" , ,", "no key"},
		"not base64":  {raw + ",!" + secret, "item 2 is not base64"},
		"too short":   {secret + "aa", "item 1 has 12 bytes"},
		"twice":       {raw + "," + url, "item 2 repeats"},
		"two faults":  {"!" + secret + "," + raw + "," + secret + "aa", "item 1 is not base64, item 3 has"},
	} {
		_, err := ParseKeys(c.s)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "countersign key") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error shows the key: %v", name, err)
		}
	}
}

func TestNewKey(t *testing.T) {
	t.Parallel()
	first, second := NewKey(), NewKey()
	if first == second {
		t.Error("two fresh keys are the same")
	}
}

func TestKeysAreNotShown(t *testing.T) {
	t.Parallel()
	text := NewKey()
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	keys := parse(t, text)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("keys", "keys", keys, "none", (*Keys)(nil))
	slog.New(slog.NewJSONHandler(&log, nil)).Info("keys", "keys", keys)
	asJSON, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	shown := log.String() + string(asJSON) +
		fmt.Sprintf("%v %+v %#v %s %v %+v %#v", keys, keys, keys, keys, *keys, *keys, struct{ K *Keys }{keys})
	for _, secret := range []string{text, text[:12], string(raw), fmt.Sprintf("%d %d %d", raw[0], raw[1], raw[2])} {
		if strings.Contains(shown, secret) {
			t.Errorf("shown: %s", shown)
		}
	}
	if !strings.Contains(keys.String(), keys.IDs()[0]) || !strings.Contains(log.String(), keys.IDs()[0]) {
		t.Errorf("no key ID in %q or in %q", keys, &log)
	}
}

func TestNoKeys(t *testing.T) {
	t.Parallel()
	for _, keys := range []*Keys{nil, {}} {
		if _, err := keys.Seal(example(1)); err == nil {
			t.Error("sealed without a key")
		}
		if _, err := keys.Open("v1.AAAAAA.AAAA"); !errors.Is(err, ErrUnknownKey) {
			t.Errorf("Open without a key: %v", err)
		}
		if len(keys.IDs()) > 0 {
			t.Errorf("IDs %v", keys.IDs())
		}
	}
}

// What opens was sealed with one of the keys, and is what was sealed. Key and reference are the same in all processes of
// the fuzz test: in each of them it starts from one that opens.
func FuzzOpen(f *testing.F) {
	keys, err := ParseKeys(base64.StdEncoding.EncodeToString([]byte("a key that everybody may know 32")) + "," + NewKey())
	if err != nil {
		f.Fatal(err)
	}
	const sealed = "v1.UlXOjH.y34Aki9d_wdh3PVhjd1EY4kATO8MHqc04FjCndu-4s4xkGk_331fHKeVYS3PRs6VezoqEH6IUB6DIY66aIXcyX8mQ3o4_PkV869k5_" +
		"wKNwPpA4Rnqz7RpN54DzLfOSrx_o_uEHsIGTDr9HEoXGow4kLq9QXaetqeeRcK6nw0eMUxVzTVL3-P6k1ZXovo43pYlrw1HW0vQGniJUfoa5tmAovCuOK" +
		"EdurANuB05A6bMLh87G9CA5uN7o2GMTVZ286GzSOxZYfnI5mHCOtLrro7Jw" // example(1)
	id := keys.IDs()[0]
	// Plaintexts: those of the version before, all fields, and roles in disorder.
	f.Add(string(encode(example(2))))
	f.Add(string(encode(full())))
	f.Add(string([]byte{tagRoleUser, 1, 'U', tagRole, 1, 'A', tagRoleChannel, 0, tagReason, 0}))
	for _, seed := range []string{
		"", "v1", "v1..", "v2.x.y", "v1." + id + ".", "v1." + id + ".AAAA", sealed, sealed[:len(sealed)-1], sealed[:len(sealed)-1] + "x", sealed + "A",
		sealed + "\n", sealed[:50] + "\r" + sealed[50:], " " + sealed, strings.Replace(sealed, id, keys.IDs()[1], 1),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		switch r, err := keys.Open(in); {
		case in == sealed && (err != nil || !reflect.DeepEqual(r, example(1))):
			t.Errorf("what was sealed is %+v, %v", r, err)
		case in != sealed && err == nil:
			t.Errorf("opened %q", in)
		case err != nil && !slices.Contains([]error{ErrMalformed, ErrVersion, ErrUnknownKey, ErrForged}, err):
			t.Errorf("the error is %v", err)
		}
		r, err := decode([]byte(in)) // must not panic either
		if err != nil {
			return
		}
		s, err := keys.Seal(r)
		if long := (*TooLongError)(nil); errors.As(err, &long) {
			return
		}
		if again, e := keys.Open(s); err != nil || e != nil || !reflect.DeepEqual(r, again) {
			t.Errorf("%q is %+v, and sealed again %+v, %v, %v", in, r, again, err, e)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	keys, err := ParseKeys(NewKey() + "," + NewKey())
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{3, 95} {
		s, err := keys.Seal(example(n))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%d users", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := keys.Open(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// example names n users and one group, with IDs as long as they usually are.
func example(n int) Reference {
	r := Reference{
		Namespace:  "default",
		WorkflowID: "6f1d2c3b-4a5e-4f60-8b7c-9d0e1f2a3b4c",
		RunID:      "0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b",
		ActivityID: "decision-1-0f1e2d3",
		Requester:  "U0123456789",
		Groups:     []string{"S0123456789"},
		Digest:     sha256.Sum256([]byte("the request")),
		AllowSelf:  true,
	}
	for i := range n {
		r.Users = append(r.Users, fmt.Sprintf("U%010d", i))
	}
	return r
}

// full has every field.
func full() Reference {
	r := example(2)
	r.Channel, r.AllowGuests, r.Form, r.Reason, r.Choices = true, true, true, workflows.Required, 3
	r.Approved, r.Gone = []string{"U0000000001", "U0000000002"}, []string{"U0000000009"}
	r.Until = time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)
	r.Roles = []Role{
		{Name: "Security", Users: []string{"U0000000003"}, Groups: []string{"S0000000001", "S0000000002"}},
		{Name: "Whoever is there", Channel: true},
		{Name: "Nobody"},
	}
	return r
}

func parse(t *testing.T, s string) *Keys {
	t.Helper()
	keys, err := ParseKeys(s)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func seal(t *testing.T, keys *Keys, r Reference) string {
	t.Helper()
	s, err := keys.Seal(r)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestUnmarshalText(t *testing.T) {
	t.Parallel()
	text := NewKey()
	var keys Keys
	if err := keys.UnmarshalText([]byte(text)); err != nil || !cmp.Equal(keys.IDs(), parse(t, text).IDs()) {
		t.Errorf("keys %v, %v", &keys, err)
	}
	if err := keys.UnmarshalText([]byte("x")); err == nil || len(keys.IDs()) != 1 {
		t.Errorf("a malformed text gives %v, and keys %v", err, &keys)
	}
}

// Nothing depends on a trace: one of another form is no reason to refuse a click.
func TestTraceOfAnotherForm(t *testing.T) {
	t.Parallel()
	if r, err := decode([]byte{tagTrace, 2, 1, 2}); err != nil || r.Trace != "" {
		t.Errorf("it is read as %q (%v)", r.Trace, err)
	}
	for _, trace := range []string{"", "x", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", "zz-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"} {
		if r, err := decode(encode(Reference{Trace: trace})); err != nil || r.Trace != "" {
			t.Errorf("%q is sealed, and read as %q (%v)", trace, r.Trace, err)
		}
	}
}
