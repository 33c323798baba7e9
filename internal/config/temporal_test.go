package config

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/proto"

	"countersign/internal/codec"
	"countersign/internal/reference"
)

// What Temporal stores is encrypted, as the configuration says.
func TestConverters(t *testing.T) {
	t.Parallel()
	key := reference.NewKey()
	keys, err := reference.ParseKeys(key)
	if err != nil {
		t.Fatal(err)
	}
	type asked struct{ path, auth, namespace string }
	var got []asked
	handler := converter.NewPayloadCodecHTTPHandler(codec.Codec{Keys: keys})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, asked{r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("X-Namespace")})
		handler.ServeHTTP(w, r)
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "temporal.toml")
	write(t, file, "[profile.default]\nnamespace = \"file\"\n[profile.default.codec]\nendpoint = \""+server.URL+"/\"\nauth = \"Bearer file\"\n")

	for name, tc := range map[string]struct {
		role  Role
		vars  []string
		calls []asked
	}{
		"keys":                 {Worker, []string{"PAYLOAD_KEYS=" + key}, nil},
		"keys for a client":    {Client, []string{"PAYLOAD_KEYS=" + key}, nil},
		"a codec server":       {Worker, []string{"TEMPORAL_CODEC_ENDPOINT=" + server.URL}, []asked{{"/encode", "", "default"}, {"/decode", "", "default"}}},
		"a path on its server": {Worker, []string{"TEMPORAL_CODEC_ENDPOINT=" + server.URL + "/codec/"}, []asked{{"/codec/encode", "", "default"}, {"/codec/decode", "", "default"}}},
		"who calls":            {Worker, []string{"TEMPORAL_CODEC_ENDPOINT=" + server.URL, "TEMPORAL_CODEC_AUTH=Bearer env", "TEMPORAL_NAMESPACE=n"}, []asked{{"/encode", "Bearer env", "n"}, {"/decode", "Bearer env", "n"}}},
		"temporal.toml":        {Client, []string{"TEMPORAL_CONFIG_FILE=" + file}, []asked{{"/encode", "Bearer file", "file"}, {"/decode", "Bearer file", "file"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got = nil
			c, err := load(t, tc.role, append([]string{"SLACK_BOT_TOKEN=" + botToken, "REFERENCE_KEYS=" + reference.NewKey()}, tc.vars...)...)
			if err != nil {
				t.Fatal(err)
			}
			sealed, err := c.Temporal.DataConverter.ToPayloads("marzipan")
			if err != nil {
				t.Fatal(err)
			}
			if b, err := proto.Marshal(sealed); err != nil || bytes.Contains(b, []byte("marzipan")) {
				t.Errorf("encrypted it is %q, %v", b, err)
			}
			var s string
			if err := c.Temporal.DataConverter.FromPayloads(sealed, &s); err != nil || s != "marzipan" {
				t.Errorf("decrypted it is %q, %v", s, err)
			}
			if diff := cmp.Diff(tc.calls, got, cmp.AllowUnexported(asked{})); diff != "" {
				t.Errorf("calls of the codec server (-want +got):\n%s", diff)
			}
			if c.Temporal.FailureConverter == nil {
				t.Error("failures are stored as they are")
			}
		})
	}
}
