package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module   = "countersign"
	slackLib = "github.com/slack-go/slack"
)

// may says which packages of ours a package may import, by their paths within the module. A package that is not here
// may import any but those that nobody may.
func may() map[string][]string {
	return map[string][]string{
		"workflows":          {},
		"internal/slacksim":  {},
		"internal/reference": {"workflows"},
		"internal/devserver": {},
		"internal/codec":     {"internal/reference"},
		"internal/doctor":    {"internal/config", "internal/peers", "internal/slackapi"},
		"internal/config":    {"internal/codec", "internal/reference"},
		"internal/card":      {"workflows"},
		"internal/cli":       {"internal/record", "workflows"},
		"internal/slackapi":  {"internal/telemetry", "workflows"},
		"internal/telemetry": {},
		"internal/record":    {"workflows"},
		"internal/health":    {},
		"internal/npm":       {},
		"internal/peers":     {},
		"bot":                {"internal/card", "internal/record", "internal/reference", "internal/slackapi", "internal/telemetry", "workflows"},
		"worker":             {"internal/card", "internal/codec", "internal/peers", "internal/record", "internal/reference", "internal/slackapi", "internal/telemetry", "workflows"},
	}
}

// slackUsers are the packages that may use Slack's client library.
func slackUsers() []string { return []string{".", "bot", "internal/card", "internal/slackapi"} }

// source is a Go file of the module, not a test.
type source struct {
	pkg  string // its folder within the module
	name string
	*ast.File
	fset *token.FileSet
}

func (s source) at(n ast.Node) string {
	p := s.fset.Position(n.Pos())
	return s.name + ":" + strconv.Itoa(p.Line)
}

// imports are the paths that the file imports, by the name that they have in it.
func (s source) imports() map[string]string {
	all := map[string]string{}
	for _, i := range s.Imports {
		p, _ := strconv.Unquote(i.Path.Value) // The parser has read it.
		name := path.Base(p)
		if i.Name != nil {
			name = i.Name.Name
		}
		all[name] = p
	}
	return all
}

// calls visits the calls of pkg's functions, where pkg is an import path.
func (s source) calls(pkg string, visit func(function string, call *ast.CallExpr)) {
	imports := s.imports()
	ast.Inspect(s.File, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if f, ok := call.Fun.(*ast.SelectorExpr); ok {
			if x, ok := f.X.(*ast.Ident); ok && imports[x.Name] == pkg {
				visit(f.Sel.Name, call)
			}
		}
		return true
	})
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, file, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		file = filepath.ToSlash(file)
		all = append(all, source{pkg: path.Dir(file), name: file, File: f, fset: fset})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// Without them the tests below would hold nothing.
	for pkg := range may() {
		if !slices.ContainsFunc(all, func(s source) bool { return s.pkg == pkg }) {
			t.Fatalf("there is no package %s", pkg)
		}
	}
	return all
}

func TestPackagesImportWhatTheyMay(t *testing.T) {
	t.Parallel()
	table := may()
	for _, s := range sources(t) {
		for _, i := range s.Imports {
			p, _ := strconv.Unquote(i.Path.Value) // The parser has read it.
			if p == slackLib || strings.HasPrefix(p, slackLib+"/") {
				if !slices.Contains(slackUsers(), s.pkg) {
					t.Errorf("%s imports Slack's client library", s.name)
				}
			}
			within, ours := strings.CutPrefix(p, module+"/")
			allowed, listed := table[s.pkg]
			if ours && listed && !slices.Contains(allowed, within) {
				t.Errorf("%s imports %s; package %s may import %q", s.name, p, s.pkg, allowed)
			}
		}
	}
}

func TestOnlySlackapiAndMainCallSlack(t *testing.T) {
	t.Parallel()
	made := 0
	for _, s := range sources(t) {
		s.calls(slackLib, func(function string, call *ast.CallExpr) {
			if function != "New" {
				return
			}
			made++
			if s.pkg != "." && s.pkg != "internal/slackapi" {
				t.Errorf("%s makes a client of Slack", s.at(call))
			}
		})
	}
	if made == 0 {
		t.Error("nobody makes a client of Slack: this test looks for the wrong thing")
	}
}

// The SDK compares activity.ErrResultPending with ==: wrapped it would fail the activity.
func TestErrResultPendingIsNeverWrapped(t *testing.T) {
	t.Parallel()
	returned := 0
	for _, s := range sources(t) {
		isPending := func(e ast.Expr) bool {
			sel, ok := e.(*ast.SelectorExpr)
			return ok && sel.Sel.Name == "ErrResultPending"
		}
		ast.Inspect(s.File, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if slices.ContainsFunc(n.Args, isPending) {
					t.Errorf("%s hands activity.ErrResultPending on", s.at(n))
				}
			case *ast.ReturnStmt:
				if slices.ContainsFunc(n.Results, isPending) {
					returned++
				}
			}
			return true
		})
	}
	if returned == 0 {
		t.Error("nothing returns activity.ErrResultPending: this test looks for the wrong thing")
	}
}

// Below main a context comes from the caller; what must outlive it says why.
func TestContextsComeFromTheCaller(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		commented := map[int]bool{} // lines that have a comment, or follow one
		for _, group := range s.Comments {
			for line := s.fset.Position(group.Pos()).Line; line <= s.fset.Position(group.End()).Line; line++ {
				commented[line], commented[line+1] = true, true
			}
		}
		s.calls("context", func(function string, call *ast.CallExpr) {
			if function != "Background" && function != "TODO" {
				return
			}
			if path.Base(s.name) != "main.go" && !commented[s.fset.Position(call.Pos()).Line] {
				t.Errorf("%s makes a context of its own and does not say why", s.at(call))
			}
		})
	}
}

// Package-level variables never change; maps and slices could.
func TestNoMutablePackageVariables(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		for _, d := range s.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, spec := range g.Specs {
				v := spec.(*ast.ValueSpec)
				kinds := append([]ast.Expr{v.Type}, v.Values...)
				for _, k := range kinds {
					if mutable(k) {
						t.Errorf("%s: the package variable %s can be changed", s.at(v), v.Names[0].Name)
					}
				}
				embedded := g.Doc != nil && strings.Contains(g.Doc.List[len(g.Doc.List)-1].Text, "//go:embed ")
				if v.Type != nil && len(v.Values) == 0 && !embedded {
					t.Errorf("%s: the package variable %s has no value, so somebody sets it", s.at(v), v.Names[0].Name)
				}
			}
		}
	}
}

// mutable reports whether e is, or makes, a map, a slice, a channel or a pointer to a literal.
func mutable(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.MapType, *ast.ChanType:
		return true
	case *ast.ArrayType:
		return e.Len == nil
	case *ast.CompositeLit:
		return mutable(e.Type)
	case *ast.UnaryExpr:
		_, literal := e.X.(*ast.CompositeLit)
		return e.Op == token.AND && literal
	case *ast.CallExpr:
		f, ok := e.Fun.(*ast.Ident)
		return ok && (f.Name == "make" || f.Name == "new" || f.Name == "append")
	}
	return false
}
