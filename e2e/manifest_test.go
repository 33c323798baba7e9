package e2e

import (
	"os"
	"testing"

	"github.com/slack-go/slack"
	"go.yaml.in/yaml/v3"

	"countersign/internal/slacksim"
)

// manifest is the app as docs/slack-app.md has people make it. The stand-in gives the app no more than that.
func manifest(t *testing.T, m mode) slack.Manifest {
	t.Helper()
	text, err := os.ReadFile("../docs/manifest-" + string(m) + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	var app slack.Manifest
	if err := yaml.Unmarshal(text, &app); err != nil {
		t.Fatal(err)
	}
	if len(app.OAuthConfig.Scopes.Bot) == 0 || len(app.Features.SlashCommands) == 0 {
		t.Fatalf("the manifest for %s has no scopes or no commands", m)
	}
	return app
}

func commands(app slack.Manifest) (all []slacksim.Command) {
	for _, c := range app.Features.SlashCommands {
		all = append(all, slacksim.Command{Name: c.Command, Description: c.Description, UsageHint: c.UsageHint, Raw: !c.ShouldEscape})
	}
	return all
}
