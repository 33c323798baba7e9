package slackapi

import (
	"slices"
	"testing"
)

// The app asks for what the methods need that it calls, and for its slash commands, and for nothing else.
func TestScopesAreThoseOfTheMethods(t *testing.T) {
	t.Parallel()
	need := map[string][]string{"commands": {"(the slash commands)"}}
	for method, scopes := range scopesOf() {
		for _, s := range scopes {
			need[s] = append(need[s], method)
		}
	}
	asked := map[string]bool{}
	for _, s := range Scopes() {
		if asked[s.Name] {
			t.Errorf("%s is asked for twice", s.Name)
		}
		asked[s.Name] = true
		if s.For == "" || s.Without == "" {
			t.Errorf("nothing is said of what %s is for, or of what does not work without it", s.Name)
		}
		if need[s.Name] == nil {
			t.Errorf("%s is asked for, and no method needs it", s.Name)
		}
	}
	for scope, methods := range need {
		if !asked[scope] {
			slices.Sort(methods)
			t.Errorf("%s is not asked for, and %q need it", scope, methods)
		}
	}
}
