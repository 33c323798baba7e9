package config

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"countersign/internal/reference"
)

// What is wrong takes nothing from what is right.
func TestReadWithFaults(t *testing.T) {
	t.Parallel()
	keys := reference.NewKey()
	c, err := Read(Run, []string{
		"HOME=" + t.TempDir(), "SLACK_BOT_TOKEN=xapp-wrong", "SLACK_APP_TOKEN=xapp-right", "APPROVERS=nobody!", "REQUESTERS=U1", "DEADLINE=soon",
		"REFERENCE_KEYS=" + keys, "TEMPORAL_ADDRESS=temporal.example:7233", "TASK_QUEUE=q", "SLACK_API_URL=https://slack.example/api",
	}, "")
	var faults *Error
	if !errors.As(err, &faults) || len(faults.Faults) != 3 {
		t.Fatalf("%v, want three faults", err)
	}
	if c.SlackAppToken != "xapp-right" || !c.Approvers.Empty() || len(c.Requesters.Users) != 1 || c.ReferenceKeys == nil ||
		c.Temporal.HostPort != "temporal.example:7233" || c.TaskQueue != "q" || c.SlackAPIURL != "https://slack.example/api/" {
		t.Errorf("%v", c)
	}
}

func TestVariable(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), ".env")
	if err := os.WriteFile(path, []byte("A=file\nB=file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"A": "environment", "B": "file", "C": ""} {
		if got := Variable(name, []string{"A= environment "}, path); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}
