package workflows

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"
)

var updateSchema = flag.Bool("update-schema", false, "write the JSON schemas in docs anew")

// schema is a JSON schema. Descriptions in it are the comments of the Go types.
type schema = jsonschema.Schema

// limits are what a schema says beyond the Go types, by the names of types and of their fields.
type limits map[string]func(s *schema)

const (
	userID    = "[UW][A-Z0-9]{1,20}"
	groupID   = "S[A-Z0-9]{1,20}"
	channelID = "[CDGUW][A-Z0-9]{1,20}" // or a person's
	length    = `[0-9]+(\.[0-9]+)?`     // of time, in some unit
	visible   = `\S`
)

// given says that there is a property of that name, as s says.
func given(name string, s *schema) *schema {
	return &schema{Required: []string{name}, Properties: map[string]*schema{name: s}}
}

func oneOf(values ...any) *schema { return &schema{Enum: values} }

// unset is a text, or a choice, that is left out.
func unset() *schema { return oneOf("", nil) }

// some is a list that is not empty.
func some() *schema { return &schema{Type: "array", MinItems: new(1)} }

// somebody says that approvers are not empty.
func somebody() *schema {
	return &schema{AnyOf: []*schema{given("users", some()), given("groups", some()), given("channel", oneOf(true))}}
}

// ofRequest are the limits of a request: all that Faults checks, as far as a schema can say it.
func ofRequest() limits {
	text := func(limit int, patterns ...string) func(*schema) {
		return func(s *schema) { s.MaxLength, s.Pattern = new(limit), strings.Join(patterns, "") }
	}
	pattern := func(p string) func(*schema) { return func(s *schema) { s.Pattern = p } }
	list := func(limit int) func(*schema) { return func(s *schema) { s.MaxItems = new(limit) } }
	ids := func(limit int, id string) func(*schema) {
		return func(s *schema) { s.MaxItems, s.Items.Pattern = new(limit), "^"+id+"$" }
	}
	number := func(limit int) func(*schema) {
		return func(s *schema) { s.Minimum, s.Maximum = new(0.0), new(float64(limit)) }
	}
	seconds := func(least time.Duration) func(*schema) {
		return func(s *schema) { s.Minimum, s.Maximum = new(least.Seconds()), new(MaxDeadline.Seconds()) }
	}
	return limits{
		"Request": func(s *schema) {
			s.AllOf = []*schema{
				{
					If: given("roles", some()),
					Then: &schema{Properties: map[string]*schema{
						"approvers": {Not: somebody()},
						"required":  oneOf(0, nil),
						"escalate":  {Items: given("role", &schema{MinLength: new(1)})},
					}},
					Else: &schema{Properties: map[string]*schema{
						"escalate": {Items: &schema{Properties: map[string]*schema{"role": unset()}}},
					}},
				},
				{
					If: given("on_expiry", oneOf(string(ApproveOnExpiry))),
					Then: &schema{Properties: map[string]*schema{
						"choices": {MaxItems: new(0)},
						"inputs":  {Items: &schema{AnyOf: []*schema{given("optional", oneOf(true)), given("initial", &schema{Not: unset()})}}},
					}},
				},
				{Not: &schema{AllOf: []*schema{
					given("deadline", &schema{Not: unset()}),
					given("expires_at", &schema{Not: oneOf(time.Time{}.Format(time.RFC3339), nil)}),
				}}},
			}
		},
		"Request.Title":       text(MaxTitle, visible),
		"Request.Text":        text(MaxText),
		"Request.Fields":      list(MaxFields),
		"Request.Channel":     pattern("^" + channelID + "$"),
		"Request.Requester":   pattern("^(" + userID + ")?$"),
		"Request.Required":    number(MaxRequired),
		"Request.Roles":       list(MaxRoles),
		"Request.Confirm":     text(MaxConfirm),
		"Request.Choices":     list(MaxChoices),
		"Request.Inputs":      list(MaxInputs),
		"Request.Deadline":    seconds(time.Second),
		"Request.RemindEvery": seconds(MinReminder),
		"Request.Escalate":    list(MaxEscalations),
		"Request.ExpiresAt":   pattern(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$`),

		"Field":       func(s *schema) { s.Required = []string{"label"} },
		"Field.Label": text(MaxLabel, visible),
		"Field.Value": text(MaxFieldValue),

		"Link": func(s *schema) {
			s.Required = nil
			s.If, s.Then = given("text", &schema{Type: "string", MinLength: new(1)}), given("url", &schema{MinLength: new(1)})
		},
		"Link.URL":  text(MaxURL, "^([Hh][Tt][Tt][Pp][Ss]?://[^/?#].*)?$"),
		"Link.Text": text(MaxLabel),

		"Approvers.Users":  ids(MaxUsers, userID),
		"Approvers.Groups": ids(MaxGroups, groupID),

		"Role":          func(s *schema) { s.AnyOf = somebody().AnyOf },
		"Role.Name":     text(MaxRoleName, visible),
		"Role.Required": number(MaxRoleRequired),

		"Choice.Label": text(MaxLabel, visible),
		"Choice.Value": text(MaxLabel),

		"Input": func(s *schema) {
			of := func(t InputType) *schema { return given("type", oneOf(string(t))) }
			ofText := &schema{Properties: map[string]*schema{"type": oneOf(string(TextInput), "", nil)}}
			ofLine := &schema{Properties: map[string]*schema{"type": ofText.Properties["type"].CloneSchemas(), "lines": oneOf(false, nil)}}
			initial := func(s *schema) *schema { return &schema{Properties: map[string]*schema{"initial": s}} }
			s.AllOf = []*schema{
				{If: of(SelectInput), Then: given("options", some()), Else: &schema{Properties: map[string]*schema{"options": {MaxItems: new(0)}}}},
				{If: given("lines", oneOf(true)), Then: ofText.CloneSchemas()},
				{If: ofText, Then: initial(&schema{MaxLength: new(MaxReason)})},
				{If: ofLine, Then: initial(&schema{Pattern: `^[^\r\n]*$`})},
				{If: of(NumberInput), Then: initial(&schema{Types: []string{"string", "number", "null"}, MaxLength: new(MaxNumber), Pattern: `^(-?` + length + `)?$`})},
				{If: of(DateInput), Then: initial(&schema{Types: []string{"string", "null"}, Pattern: "^([0-9]{4}-[0-9]{2}-[0-9]{2})?$"})},
				{If: of(PersonInput), Then: initial(&schema{Types: []string{"string", "null"}, Pattern: "^(" + userID + ")?$"})},
			}
		},
		"Input.Name":    pattern(fmt.Sprintf("^[A-Za-z0-9_-]{1,%d}$", MaxInputName)),
		"Input.Label":   text(MaxLabel),
		"Input.Options": list(MaxOptions),
		"Input.Hint":    text(MaxHint),

		"Escalation.After": func(s *schema) {
			s.MinLength, s.ExclusiveMinimum, s.Maximum = new(1), new(0.0), new(MaxDeadline.Seconds())
		},
		"Escalation.Approvers": func(s *schema) { s.AnyOf = somebody().AnyOf },
	}
}

// ofResult are the limits of what Approval returns.
func ofResult() limits {
	words := func(all ...Outcome) func(*schema) {
		return func(s *schema) {
			s.Enum = nil
			for _, w := range all {
				s.Enum = append(s.Enum, string(w))
			}
		}
	}
	digest := func(s *schema) { s.Pattern = "^[0-9a-f]{64}$" }
	return limits{
		"Result":           func(s *schema) { delete(s.Properties, "note") }, // It goes with Failed alone.
		"Result.Outcome":   words(Approved, Rejected, Expired, Withdrawn),
		"Result.Digest":    digest,
		"Decision.Outcome": words(Approved, Rejected),
		"Decision.Option":  func(s *schema) { s.Minimum = new(1.0) },
		"Decision.Digest":  digest,
	}
}

// comments are those of this package's files.
type comments struct {
	of     map[string]string   // by the names of types and of their fields
	words  map[string][]string // the constants of a type, in their order
	values map[string]string   // of constants
}

func readComments(t *testing.T) comments {
	t.Helper()
	c := comments{map[string]string{}, map[string][]string{}, map[string]string{}}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range decl.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					c.readType(spec, decl.Doc)
				case *ast.ValueSpec:
					c.readConstant(spec)
				}
			}
		}
	}
	return c
}

func (c comments) readType(spec *ast.TypeSpec, doc *ast.CommentGroup) {
	c.of[spec.Name.Name] = doc.Text()
	if s, ok := spec.Type.(*ast.StructType); ok {
		for _, f := range s.Fields.List {
			for _, name := range f.Names {
				c.of[spec.Name.Name+"."+name.Name] = f.Doc.Text() + f.Comment.Text()
			}
		}
	}
}

func (c comments) readConstant(spec *ast.ValueSpec) {
	for i, value := range spec.Values {
		lit, ok := value.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			continue
		}
		name := spec.Names[i].Name
		c.values[name], _ = strconv.Unquote(lit.Value) // The parser has read it.
		if of, ok := spec.Type.(*ast.Ident); ok {
			c.words[of.Name] = append(c.words[of.Name], name)
			c.of[name] = spec.Doc.Text() + spec.Comment.Text()
		}
	}
}

// docLink is a link in a comment.
var docLink = regexp.MustCompile(`\[([A-Z]\w*\.)?([A-Z]\w*)\]`)

// plain is a comment on the struct of, or on a field of it, for who reads JSON: its fields have their names in JSON, and
// a link is the constant's value or the name that it leads to.
func (c comments) plain(comment string, of reflect.Type) string {
	comment = docLink.ReplaceAllStringFunc(strings.Join(strings.Fields(comment), " "), func(l string) string {
		name := docLink.FindStringSubmatch(l)
		if v, ok := c.values[name[2]]; ok {
			return v
		}
		if name[1] != "" {
			return strings.ToLower(name[2])
		}
		return name[2]
	})
	for _, f := range reflect.VisibleFields(of) {
		if name := jsonName(f); name != "" && f.Name != strings.ToUpper(f.Name) { // "ID" is a word too
			comment = regexp.MustCompile(`\b`+f.Name+`\b`).ReplaceAllString(comment, name)
		}
	}
	return comment
}

// jsonName is the field's name in JSON; empty where it has none.
func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return strings.TrimPrefix(name, "-")
}

// generator makes a schema of a Go type.
type generator struct {
	*testing.T
	comments
	limits
	// lenient: null may stand for what may be left out, and an empty text for a word, as encoding/json and Faults take it.
	lenient bool
	used    map[string]bool // which of the limits
}

// limit applies the limits of that name.
func (g generator) limit(name string, s *schema) {
	if set := g.limits[name]; set != nil {
		set(s)
		g.used[name] = true
	}
}

// fill adds to s, which is made of the type, the comments and the limits.
func (g generator) fill(s *schema, of reflect.Type) {
	switch {
	case of.Kind() == reflect.Slice:
		s.Type, s.Types = "array", nil
		if g.fill(s.Items, of.Elem()); s.Items.Type == "object" {
			s.Items.Description = g.plain(g.of[of.Elem().Name()], of.Elem())
		}
	case of.Kind() == reflect.String:
		for _, word := range g.words[of.Name()] {
			s.Enum = append(s.Enum, g.values[word])
		}
	case s.Properties != nil:
		s.AdditionalProperties = nil // Fields are added in time: older and newer callers have to work.
		for _, f := range reflect.VisibleFields(of) {
			if p := s.Properties[jsonName(f)]; p != nil {
				g.fillField(p, of, f)
			}
		}
		g.limit(of.Name(), s)
		for name, p := range s.Properties {
			if g.lenient && !slices.Contains(s.Required, name) {
				lenient(p)
			}
		}
	}
}

func (g generator) fillField(s *schema, of reflect.Type, f reflect.StructField) {
	if len(f.Index) > 1 {
		of = of.FieldByIndex(f.Index[:len(f.Index)-1]).Type
	}
	name := of.Name() + "." + f.Name
	g.fill(s, f.Type)
	g.limit(name, s)
	s.Description = g.plain(g.of[name], of)
	if s.Description == "" {
		g.Errorf("%s has no comment", name)
	}
	var all []string
	for _, word := range g.words[f.Type.Name()] {
		if says := g.plain(g.of[word], of); says != "" && slices.Contains(s.Enum, any(g.values[word])) {
			all = append(all, g.values[word]+": "+says)
		}
	}
	if len(all) > 0 {
		s.Description = strings.TrimSuffix(s.Description, ".") + ". " + strings.Join(all, "; ")
	}
}

func lenient(s *schema) {
	if s.Type != "" {
		s.Types, s.Type = []string{s.Type}, ""
	}
	s.Types = append(s.Types, "null")
	if s.Enum != nil {
		s.Enum = append(s.Enum, "", nil)
	}
}

// simpleList is a list of words or numbers, which stands in one line.
var simpleList = regexp.MustCompile(`\[\n[^][{}]*\]`)

// schemaOf is the JSON of the schema of T. Types are the schemas of types that are not in JSON what they are in Go.
func schemaOf[T any](t *testing.T, title string, types map[reflect.Type]*schema, l limits, lenient bool) []byte {
	t.Helper()
	of := reflect.TypeFor[T]()
	s, err := jsonschema.For[T](&jsonschema.ForOptions{TypeSchemas: types})
	if err != nil {
		t.Fatal(err)
	}
	g := generator{t, readComments(t), l, lenient, map[string]bool{}}
	g.fill(s, of)
	for name := range l {
		if !g.used[name] {
			t.Errorf("there is no %s", name)
		}
	}
	rest, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	// The library puts what says what this is at the end.
	head, err := json.Marshal(struct {
		Schema      string `json:"$schema"`
		Title       string `json:"title"`
		Description string `json:"description"`
	}{"https://json-schema.org/draft/2020-12/schema", title, g.plain(g.of[of.Name()], of)})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, slices.Concat(head[:len(head)-1], []byte(","), rest[1:]), "", "  "); err != nil {
		t.Fatal(err)
	}
	b.WriteByte('\n')
	lines := simpleList.ReplaceAllStringFunc(b.String(), func(l string) string {
		return strings.NewReplacer("[ ", "[", " ]", "]").Replace(strings.Join(strings.Fields(l), " "))
	})
	return []byte(strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(lines))
}

// schemas are the JSON schemas in docs, by their files' names.
func schemas(t *testing.T) map[string][]byte {
	t.Helper()
	at := &schema{Type: "string", Format: "date-time"}
	return map[string][]byte{
		"request.schema.json": schemaOf[Request](t, "Request of Approval", map[reflect.Type]*schema{
			reflect.TypeFor[time.Time](): at,
			reflect.TypeFor[Duration]():  {Types: []string{"string", "number"}, Pattern: "^(" + length + "d)?(" + length + "(h|m|s|ms|us|µs|ns))*$"},
			reflect.TypeFor[Text]():      {Types: []string{"string", "number", "boolean"}},
		}, ofRequest(), true),
		"result.schema.json": schemaOf[Result](t, "Result of Approval", map[reflect.Type]*schema{reflect.TypeFor[time.Time](): at}, ofResult(), false),
	}
}

func TestSchemasInDocsAreCurrent(t *testing.T) {
	t.Parallel()
	for name, want := range schemas(t) {
		file := filepath.Join("..", "docs", name)
		if *updateSchema {
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(got), string(want)); diff != "" {
			t.Errorf("%s (-is +has to be; go test ./workflows -run TestSchema -update-schema writes it):\n%s", name, diff)
		}
	}
}

// resolved is a schema that can validate.
func resolved(t *testing.T, b []byte) *jsonschema.Resolved {
	t.Helper()
	var s schema
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	r, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// object is v as JSON has it.
func object(t *testing.T, v any) map[string]any {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var o map[string]any
	if err := json.Unmarshal(b, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestSchemaOfRequestsAgreesWithFaults(t *testing.T) {
	t.Parallel()
	type o = map[string]any
	type l = []any
	list := func(n int, of func(i int) any) l { return many(n, of) }
	field := func(int) any { return o{"label": "a"} }
	choice := func(i int) any { return o{"label": fmt.Sprint(i)} }
	input := func(more o) o {
		in := o{"name": "a"}
		maps.Copy(in, more)
		return o{"inputs": l{in}}
	}
	step := func(more o) o {
		e := o{"after": "1h", "approvers": o{"groups": l{"S1"}}}
		maps.Copy(e, more)
		return o{"escalate": l{e}}
	}
	role := func(more o) o {
		r := o{"name": "a", "groups": l{"S1"}}
		maps.Copy(r, more)
		return r
	}
	inRoles := func(more o, roles ...any) o {
		r := o{"roles": roles}
		maps.Copy(r, more)
		return r
	}
	s := resolved(t, schemas(t)["request.schema.json"])
	const (
		both        = "the schema and the program take it"
		neither     = "neither takes it"
		theSchema   = "the schema alone takes it"  // It cannot say what is wrong.
		theProgram  = "the program alone takes it" // It is not the way that is documented.
		withoutThat = "\x00"
	)
	for want, all := range map[string]map[string]o{
		both: {
			"no more than is needed": {},
			"every field":            object(t, full()),
			"some fields":            object(t, valid()),
			"unknown fields":         {"new": o{"a": 1}, "link": o{"new": true}, "fields": l{o{"label": "a", "new": 1}}, "approvers": o{"new": l{}}},
			"null for all that may be": {
				"text": nil, "fields": nil, "link": nil, "requester": nil, "approvers": nil, "required": nil, "roles": nil, "allow_self": nil,
				"allow_guests": nil, "reject_reason": nil, "approve_comment": nil, "confirm": nil, "choices": nil, "inputs": nil, "deadline": nil,
				"expires_at": nil, "on_expiry": nil, "remind_every": nil, "escalate": nil, "tell_requester": nil, "fail_on_reject": nil,
			},
			"null within": {
				"link": o{"url": nil, "text": nil}, "fields": l{o{"label": "a", "value": nil}}, "choices": l{o{"label": "a", "value": nil}},
				"inputs":    l{o{"name": "a", "label": nil, "type": nil, "options": nil, "initial": nil, "optional": nil, "lines": nil, "hint": nil}},
				"approvers": o{"users": nil, "groups": nil, "channel": nil}, "escalate": step(o{"role": nil})["escalate"],
			},
			"nothing for all that may be": {
				"text": "", "fields": l{}, "link": o{}, "requester": "", "approvers": o{}, "required": 0, "roles": l{}, "reject_reason": "",
				"approve_comment": "", "confirm": "", "choices": l{}, "inputs": l{}, "deadline": "", "on_expiry": "", "remind_every": "", "escalate": l{},
			},

			"title": {"title": chars(MaxTitle)}, "text": {"text": chars(MaxText)}, "confirm": {"confirm": chars(MaxConfirm)},
			"fields": {"fields": list(MaxFields, field)}, "field": {"fields": l{o{"label": chars(MaxLabel), "value": chars(MaxFieldValue)}}},
			"link":             {"link": o{"url": "http://a/" + chars(MaxURL-9), "text": chars(MaxLabel)}},
			"link in capitals": {"link": o{"url": "HTTPS://EXAMPLE.COM?a"}},
			"person's channel": {"channel": "W" + strings.Repeat("0", 20)}, "group's channel": {"channel": "G1"},
			"requester": {"requester": "U" + strings.Repeat("Z", 20)},
			"users":     {"approvers": o{"users": ids("U", MaxUsers)}}, "groups": {"approvers": o{"groups": ids("S", MaxGroups)}},
			"required": {"required": MaxRequired},
			"roles":    inRoles(nil, list(MaxRoles, func(i int) any { return role(o{"name": fmt.Sprint(i)}) })...),
			"role":     inRoles(nil, role(o{"name": chars(MaxRoleName), "required": MaxRoleRequired})),
			"a role of the channel, nothing in approvers": inRoles(o{"approvers": o{"users": l{}, "channel": false}, "required": 0}, role(o{"groups": nil, "channel": true})),
			"words":   {"reject_reason": "required", "approve_comment": "optional", "on_expiry": "reject"},
			"choices": {"choices": list(MaxChoices, choice)}, "choice": {"choices": l{o{"label": chars(MaxLabel), "value": chars(MaxLabel)}}},
			"inputs": {"inputs": list(MaxInputs, func(i int) any { return o{"name": fmt.Sprint(i)} })},
			"input":  input(o{"name": strings.Repeat("-", MaxInputName), "label": chars(MaxLabel), "hint": chars(MaxHint)}),
			"select": input(o{"type": "select", "options": list(MaxOptions, choice), "initial": 7}),
			"line":   input(o{"initial": chars(MaxReason)}), "lines": input(o{"type": "text", "lines": true, "initial": "a\nb"}),
			"text of a number, and of true": {"inputs": l{o{"name": "a", "initial": 1.5}, o{"name": "b", "initial": true}}},
			"number":                        input(o{"type": "number", "initial": -12.5}), "number as text": input(o{"type": "number", "initial": strings.Repeat("9", MaxNumber)}),
			"date": input(o{"type": "date", "initial": "2026-11-23"}), "person": input(o{"type": "person", "initial": "U1"}),
			"deadline of a second": {"deadline": "1s"}, "deadline in seconds": {"deadline": 1}, "deadline in many seconds": {"deadline": MaxDeadline.Seconds()},
			"deadline of days and hours": {"deadline": "1.5d1h30m0.5s"}, "deadline at some time": {"expires_at": "2026-11-23T14:00:00.5+01:00"},
			"deadline at no time": {"deadline": "1h", "expires_at": "0001-01-01T00:00:00Z"}, "deadline at some time alone": {"deadline": "", "expires_at": "2026-11-23T14:00:00Z"},
			"reminder": {"remind_every": 60}, "reminder as text": {"remind_every": "366d"},
			"approvers and no roles": {"roles": l{}, "approvers": o{"users": l{"U2"}}, "required": 1},
			"link of an empty text":  {"link": o{"text": ""}},
			"number in one line":     input(o{"type": "number", "lines": false}),
			"steps":                  {"escalate": list(MaxEscalations, func(int) any { return step(nil)["escalate"].(l)[0] })}, "step": step(o{"after": 0.5}),
			"step of a role":   inRoles(step(o{"role": "a"}), role(nil)),
			"silence approves": {"on_expiry": "approve", "inputs": l{o{"name": "a", "initial": "x"}, o{"name": "b", "optional": true}}},
			"silence rejects":  {"on_expiry": "reject", "choices": list(1, choice), "inputs": l{o{"name": "a"}}},
		},
		neither: {
			"no title": {"title": withoutThat}, "null for the title": {"title": nil}, "empty title": {"title": ""}, "spaces for a title": {"title": " \n"},
			"title": {"title": chars(MaxTitle + 1)}, "title of another type": {"title": 1}, "text": {"text": chars(MaxText + 1)}, "text of another type": {"text": l{}},
			"confirm": {"confirm": chars(MaxConfirm + 1)}, "confirm of another type": {"confirm": true},
			"fields": {"fields": list(MaxFields+1, field)}, "fields of another type": {"fields": o{}}, "field of another type": {"fields": l{"a"}}, "null for a field": {"fields": l{nil}},
			"field without a label": {"fields": l{o{"value": "a"}}}, "field with an empty one": {"fields": l{o{"label": " "}}},
			"label": {"fields": l{o{"label": chars(MaxLabel + 1)}}}, "value": {"fields": l{o{"label": "a", "value": chars(MaxFieldValue + 1)}}}, "value of another type": {"fields": l{o{"label": "a", "value": 1}}},
			"link": {"link": o{"url": "http://a/" + chars(MaxURL-8)}}, "link's text": {"link": o{"url": "http://a", "text": chars(MaxLabel + 1)}},
			"link to a file": {"link": o{"url": "file:///a"}}, "link without a host": {"link": o{"url": "https:///a"}}, "link without a URL": {"link": o{"text": "a"}},
			"link with an empty one": {"link": o{"url": "", "text": "a"}}, "link of another type": {"link": "https://example.com"},
			"no channel": {"channel": withoutThat}, "null for the channel": {"channel": nil}, "channel's name": {"channel": "#general"}, "long channel": {"channel": "C" + strings.Repeat("0", 21)}, "short channel": {"channel": "C"},
			"requester's name": {"requester": "@alice"}, "bot's requester": {"requester": "B0123456789"},
			"users": {"approvers": o{"users": ids("U", MaxUsers+1)}}, "groups": {"approvers": o{"groups": ids("S", MaxGroups+1)}}, "approvers of another type": {"approvers": l{"U1"}},
			"user in groups": {"approvers": o{"groups": l{"U1"}}}, "group in users": {"approvers": o{"users": l{"S1"}}}, "null for a user": {"approvers": o{"users": l{nil}}}, "channel by ID": {"approvers": o{"channel": "C1"}},
			"required": {"required": MaxRequired + 1}, "required below none": {"required": -1}, "required of another type": {"required": "2"}, "required in part": {"required": 1.5},
			"roles":               inRoles(nil, list(MaxRoles+1, func(i int) any { return role(o{"name": fmt.Sprint(i)}) })...),
			"role":                inRoles(nil, role(o{"required": MaxRoleRequired + 1})),
			"role below none":     inRoles(nil, role(o{"required": -1})),
			"role's name":         inRoles(nil, role(o{"name": chars(MaxRoleName + 1)})),
			"role of spaces":      inRoles(nil, role(o{"name": " "})),
			"role without a name": inRoles(nil, o{"groups": l{"S1"}}),
			"nobody in a role":    inRoles(nil, o{"name": "a", "users": l{}, "groups": l{}, "channel": false}),
			"roles and approvers": inRoles(o{"approvers": o{"channel": true}}, role(nil)), "roles and users": inRoles(o{"approvers": o{"users": l{"U2"}}}, role(nil)),
			"roles and required": inRoles(o{"required": 1}, role(nil)),
			"allow_self":         {"allow_self": "yes"}, "allow_guests": {"allow_guests": 1}, "tell_requester": {"tell_requester": "no"}, "fail_on_reject": {"fail_on_reject": 0},
			"reject_reason": {"reject_reason": "always"}, "approve_comment": {"approve_comment": "Off"}, "on_expiry": {"on_expiry": "escalate"}, "word of another type": {"on_expiry": true},
			"choices": {"choices": list(MaxChoices+1, choice)}, "choice": {"choices": l{o{"label": chars(MaxLabel + 1)}}}, "choice's value": {"choices": l{o{"label": "a", "value": chars(MaxLabel + 1)}}},
			"choice without a label": {"choices": l{o{"value": "a"}}}, "choice of spaces": {"choices": l{o{"label": " "}}}, "choice that is its label": {"choices": l{"a"}},
			"inputs": {"inputs": list(MaxInputs+1, func(i int) any { return o{"name": fmt.Sprint(i)} })}, "input without a name": {"inputs": l{o{}}},
			"input's long name": input(o{"name": strings.Repeat("a", MaxInputName+1)}), "input's strange name": input(o{"name": "größe"}),
			"input's label": input(o{"label": chars(MaxLabel + 1)}), "hint": input(o{"hint": chars(MaxHint + 1)}), "input of no known type": input(o{"type": "time"}),
			"options": input(o{"type": "select", "options": list(MaxOptions+1, choice)}), "no options": input(o{"type": "select"}), "empty options": input(o{"type": "select", "options": l{}}),
			"options of a text": input(o{"options": list(1, choice)}), "option's label": input(o{"type": "select", "options": l{o{"label": chars(MaxLabel + 1)}}}),
			"lines of a number": input(o{"type": "number", "lines": true}), "lines in words": input(o{"lines": "yes"}), "optional in words": input(o{"optional": "yes"}),
			"line": input(o{"initial": chars(MaxReason + 1)}), "line of two": input(o{"initial": "a\nb"}), "lines": input(o{"lines": true, "initial": chars(MaxReason + 1)}),
			"no number": input(o{"type": "number", "initial": "1e3"}), "long number": input(o{"type": "number", "initial": strings.Repeat("9", MaxNumber+1)}), "true for a number": input(o{"type": "number", "initial": true}),
			"no date": input(o{"type": "date", "initial": "23.11.2026"}), "number for a date": input(o{"type": "date", "initial": 20261123}), "no person": input(o{"type": "person", "initial": "@bob"}),
			"deadline in words": {"deadline": "tomorrow"}, "deadline before": {"deadline": "-1h"}, "deadline of nothing": {"deadline": 0}, "deadline of less than nothing": {"deadline": -5},
			"deadline in too many seconds": {"deadline": MaxDeadline.Seconds() + 1}, "deadline of another type": {"deadline": true}, "deadline without a unit": {"deadline": "90"},
			"deadline at no time": {"expires_at": "tomorrow"}, "deadline on a day": {"expires_at": "2026-11-23"}, "deadline as a number": {"expires_at": 1790000000}, "empty time": {"expires_at": ""},
			"deadline in no zone": {"expires_at": "2026-11-23T14:00:00"}, "two deadlines": {"deadline": "1h", "expires_at": "2026-11-23T14:00:00Z"},
			"reminder all the time": {"remind_every": 59}, "reminder late": {"remind_every": MaxDeadline.Seconds() + 1}, "reminder in words": {"remind_every": "daily"},
			"steps":               {"escalate": list(MaxEscalations+1, func(int) any { return step(nil)["escalate"].(l)[0] })},
			"step without a time": {"escalate": l{o{"approvers": o{"groups": l{"S1"}}}}}, "step at once": step(o{"after": 0}), "step with no time": step(o{"after": ""}), "step in words": step(o{"after": "later"}), "step late": step(o{"after": MaxDeadline.Seconds() + 1}),
			"step of nobody": step(o{"approvers": o{"users": l{}, "groups": l{}, "channel": false}}), "step without approvers": {"escalate": l{o{"after": "1h"}}},
			"step of a role where there is none": step(o{"role": "a"}), "step of no role": inRoles(step(nil), role(nil)), "step of an empty role": inRoles(step(o{"role": ""}), role(nil)),
			"silence chooses": {"on_expiry": "approve", "choices": list(1, choice)}, "silence fills in": {"on_expiry": "approve", "inputs": l{o{"name": "a", "initial": "", "optional": false}}},
		},
		theSchema: {
			"title that cannot be seen":   {"title": "\u200b"},
			"users of approvers and more": {"approvers": o{"users": ids("U", MaxUsers)}, "escalate": step(o{"approvers": o{"users": l{"W1"}}})["escalate"]},
			"groups in all":               {"approvers": o{"groups": ids("S", MaxGroups)}, "escalate": step(nil)["escalate"]},
			"more than are named":         {"required": 2, "approvers": o{"users": l{"U1"}}}, "the requester alone": {"requester": "U1", "approvers": o{"users": l{"U1"}}},
			"roles of one name": inRoles(nil, role(nil), role(nil)), "roles of one person": inRoles(nil, o{"name": "a", "users": l{"U1"}}, o{"name": "b", "users": l{"U1"}}),
			"step of an unknown role": inRoles(step(o{"role": "b"}), role(nil)),
			"inputs of one name":      {"inputs": l{o{"name": "a"}, o{"name": "a"}}}, "choices of one value": {"choices": l{o{"label": "a"}, o{"label": "b", "value": "a"}}},
			"initial is no option": input(o{"type": "select", "options": l{o{"label": "x"}}, "initial": "y"}), "initial is no day": input(o{"type": "date", "initial": "2026-02-30"}),
			"deadline as text, short": {"deadline": "999ms"}, "deadline as text, long": {"deadline": "366d1s"}, "reminder as text, short": {"remind_every": "59s"}, "step as text, at once": step(o{"after": "0s"}),
			"time that is none": {"expires_at": "2026-02-30T14:00:00Z"}, "link with no host but a port": {"link": o{"url": "https://:443"}},
			"number with an exponent": {"deadline": json.RawMessage("1e3")}, "whole number with a point": {"required": json.RawMessage("2.0")},
		},
		theProgram: {
			"name in capitals":  {"title": withoutThat, "Title": "a"},
			"duration's spaces": {"deadline": " 90m "}, "duration's plus": {"deadline": "+90m"}, "duration with half a number": {"deadline": ".5h"}, "odd days": {"deadline": "1h30d"},
			"initial value of another type": input(o{"initial": l{"a"}}),
		},
	} {
		for name, change := range all {
			request := o{"title": "Deploy", "channel": "C0GENERAL1"}
			for field, v := range change {
				if request[field] = v; v == withoutThat {
					delete(request, field)
				}
			}
			b, err := json.Marshal(request)
			if err != nil {
				t.Fatal(err)
			}
			var r Request
			if err := json.Unmarshal(b, &r); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			faults, invalid := r.Faults(), s.Validate(object(t, request))
			got := map[[2]bool]string{{true, true}: both, {false, false}: neither, {true, false}: theSchema, {false, true}: theProgram}[[2]bool{invalid == nil, faults == nil}]
			if got != want {
				t.Errorf("%s: %s, and has to be: %s\nschema: %v\nprogram: %q", name, got, want, invalid, faults)
			}
		}
	}
}

func TestSchemaOfRequestsRefusesOtherTypes(t *testing.T) {
	t.Parallel()
	s := resolved(t, schemas(t)["request.schema.json"])
	request := object(t, full())
	wrong := []any{[]any{1}} // is of no field's type
	var spoil func(where string, v any, set func(any))
	spoil = func(where string, v any, set func(any)) {
		switch v := v.(type) {
		case map[string]any:
			for name, of := range v {
				spoil(where+"."+name, of, func(x any) { v[name] = x })
			}
		case []any:
			spoil(where+"[0]", v[0], func(x any) { v[0] = x })
		}
		if set == nil {
			return
		}
		set(wrong)
		defer set(v)
		b, err := json.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		var r Request
		if err := json.Unmarshal(b, &r); err != nil {
			t.Fatal(err)
		}
		if s.Validate(request) == nil || r.Faults() == nil {
			t.Errorf("%s may be a list of lists", where)
		}
	}
	spoil("", request, nil)
}

func TestSchemaOfResultsTakesThem(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	bob, carol := Person{ID: "U0BOB00001", Name: "bob", Team: "T0SIM0001"}, Person{ID: "U0CAROL001", Name: "carol", Team: "T0SIM0001"}
	card := Card{Channel: "C0GENERAL1", TS: "1790000000.000100"}
	asked := func(change func(*Request)) Round {
		r := valid()
		change(&r)
		return Round{Request: r, Number: 1}
	}
	by := func(who Person, o Outcome, change func(*Decision)) Result {
		d := Decision{Outcome: o, By: who, At: at, Via: ViaCard, Card: card}
		change(&d)
		return Result{Outcome: o, Decisions: []Decision{d}, Card: card, EndedAt: at}
	}
	end := func(r Round, with ...Result) Result {
		var res Result
		for _, w := range with {
			r, res, _ = r.After(w)
		}
		res.Permalink = "https://example.slack.com/archives/C0GENERAL1/p1790000000000100"
		return res
	}
	roles := asked(func(r *Request) {
		r.Approvers, r.Choices, r.Inputs = Approvers{}, []Choice{{Label: "Now"}}, []Input{{Name: "percent", Type: NumberInput}}
		r.Roles = []Role{{Name: "sre", Approvers: Approvers{Users: []string{bob.ID}}}, {Name: "security", Approvers: Approvers{Groups: []string{"S1"}}}}
	})
	answered := func(role string) func(*Decision) {
		digest := roles.Digest()
		return func(d *Decision) {
			d.Choice, d.Option, d.Inputs, d.Roles, d.Digest = "Now", 1, map[string]string{"percent": "10"}, []string{role}, hex.EncodeToString(digest[:])
		}
	}
	changed := asked(func(r *Request) {
		r.Escalate = []Escalation{{After: "1h", Approvers: Approvers{Groups: []string{"S1"}}}}
	})
	for _, c := range []Change{
		{Kind: Extend, By: bob, Via: ViaCommand, Longer: "1h"},
		{Kind: Delegate, By: bob, Via: ViaCard, To: "U0DAVE0001"},
		{Kind: Escalate},
	} {
		var err error
		if changed, _, err = changed.Apply(c, at); err != nil {
			t.Fatal(err)
		}
	}
	withdrawal := Change{Kind: Withdraw, By: Person{ID: "U0ALICE001", Name: "alice"}, Via: ViaHome, At: at}
	s := resolved(t, schemas(t)["result.schema.json"])
	for name, tc := range map[string]struct {
		res  Result
		want Outcome
	}{
		"approved with a choice, inputs and roles": {end(roles, by(bob, Approved, answered("sre")), by(carol, Approved, answered("security"))), Approved},
		"rejected":                  {end(asked(func(*Request) {}), by(bob, Rejected, func(d *Decision) { d.Reason = "no" })), Rejected},
		"approved outside Slack":    {end(asked(func(*Request) {}), by(Person{}, Approved, func(d *Decision) { d.Via = Outside })), Approved},
		"expired":                   {end(asked(func(*Request) {}), Result{Outcome: Expired, EndedAt: at}), Expired},
		"approved by its deadline":  {end(asked(func(r *Request) { r.OnExpiry = ApproveOnExpiry }), Result{Outcome: Expired, EndedAt: at}), Approved},
		"withdrawn after changes":   {end(changed, Result{Outcome: Withdrawn, Changes: []Change{withdrawal}, EndedAt: at}), Withdrawn},
		"nothing but what it needs": {Result{Outcome: Approved}, Approved},
	} {
		if tc.res.Outcome != tc.want {
			t.Errorf("%s: is %s", name, tc.res.Outcome)
		}
		if err := s.Validate(object(t, tc.res)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, wrong := range map[string]map[string]any{
		"no outcome":                        {},
		"an outcome that no caller sees":    {"outcome": "failed"},
		"a decision that is no one's":       {"outcome": "approved", "decisions": []any{map[string]any{"outcome": "expired"}}},
		"an option from nought":             {"outcome": "approved", "decisions": []any{map[string]any{"outcome": "approved", "option": 0}}},
		"a digest in another form":          {"outcome": "approved", "digest": "sha256:00"},
		"inputs that are not text":          {"outcome": "approved", "inputs": map[string]any{"percent": 10}},
		"a change that there is not":        {"outcome": "approved", "changes": []any{map[string]any{"change": "edit"}}},
		"a card that is not where and when": {"outcome": "approved", "card": "C1"},
	} {
		if s.Validate(wrong) == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
