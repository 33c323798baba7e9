package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/sdk/converter"

	"countersign/internal/codec"
)

// The defaults of the Temporal CLI and of its SDKs.
const (
	temporalAddress   = "localhost:7233"
	temporalNamespace = "default"
)

// temporal reads what every Temporal tool reads: TEMPORAL_*, and temporal.toml under it.
// https://docs.temporal.io/develop/environment-configuration
func temporal(role Role, vars map[string]string, f *faults) client.Options {
	// envconfig takes what is neither as if it were not set, which for TLS would mean plain text.
	for _, name := range []string{"TEMPORAL_TLS", "TEMPORAL_TLS_DISABLE_HOST_VERIFICATION"} {
		switch v := strings.ToLower(vars[name]); v {
		case "", "1", "0", "true", "false":
		default:
			f.add(name, "is "+quote(vars[name]), "write true or false")
		}
	}
	profile, err := envconfig.LoadClientConfigProfile(envconfig.LoadClientConfigProfileOptions{
		DisableFile: role == Demo && vars["TEMPORAL_ADDRESS"] == "" && vars["TEMPORAL_PROFILE"] == "",
		EnvLookup:   lookup(vars),
	})
	if err != nil {
		f.temporalFile(err, vars)
		return client.Options{}
	}
	if profile.Address == "" && role != Demo {
		profile.Address = temporalAddress
	}
	if profile.Namespace == "" {
		profile.Namespace = temporalNamespace
	}
	// The client also knows addresses such as dns:///host:port.
	if a := profile.Address; a != "" && !strings.Contains(a, ":///") && !isHostPort(a) {
		f.add("TEMPORAL_ADDRESS", "is "+quote(a), "write host:port, without http://")
	}
	if profile.TLS != nil {
		for _, file := range []struct{ name, path string }{
			{"TEMPORAL_TLS_CLIENT_CERT_PATH", profile.TLS.ClientCertPath},
			{"TEMPORAL_TLS_CLIENT_KEY_PATH", profile.TLS.ClientKeyPath},
			{"TEMPORAL_TLS_SERVER_CA_CERT_PATH", profile.TLS.ServerCACertPath},
		} {
			if strings.Contains(file.path, "-----BEGIN") {
				f.add(file.name, "holds what should be in the file", "use "+strings.TrimSuffix(file.name, "PATH")+"DATA for it")
				return client.Options{}
			}
		}
	}
	options, err := profile.ToClientOptions(envconfig.ToClientOptionsRequest{})
	if err != nil {
		f.add("TEMPORAL_TLS_*", "cannot be used", err.Error())
		return client.Options{}
	}
	// What a click sends is too small to gain by it, and most of the client's time would go there.
	options.ConnectionOptions.GrpcCompression = &client.GrpcCompressionNone{}
	// The SDK turns TLS on for a key, but where it is switched off it sends the key all the same.
	if options.Credentials != nil && options.ConnectionOptions.TLSDisabled && role != Demo {
		f.add("TEMPORAL_API_KEY", "would be sent in plain text, as TLS is off", "leave TEMPORAL_TLS out, or write true")
	}
	if profile.Codec != nil && role != Demo { // The demo has nothing to hide, and nobody who could read it.
		f.remoteCodec(&options, *profile.Codec)
	}
	return options
}

// remoteWithin is how long the codec server may take: Slack waits 3 s for an answer.
const remoteWithin = time.Second

// remoteCodec has what Temporal stores encrypted by the codec server of temporal.toml, as envconfig would, but within
// some time. https://docs.temporal.io/codec-server
func (f *faults) remoteCodec(o *client.Options, c envconfig.ClientConfigCodec) {
	const name = "TEMPORAL_CODEC_ENDPOINT"
	u, err := url.Parse(c.Endpoint)
	switch {
	case c.Endpoint == "":
		f.add(name, "is missing, and TEMPORAL_CODEC_AUTH is set", "set both, or none")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		f.add(name, "is not an absolute http or https URL", "write the URL of the codec server, without /encode and /decode")
	}
	namespace := o.Namespace
	o.DataConverter, o.FailureConverter = codec.Converters(converter.NewRemotePayloadCodec(converter.RemotePayloadCodecOptions{
		Endpoint: strings.TrimSuffix(c.Endpoint, "/"),
		Client:   http.Client{Timeout: remoteWithin},
		ModifyRequest: func(r *http.Request) error {
			r.Header.Set("X-Namespace", namespace)
			if c.Auth != "" {
				r.Header.Set("Authorization", c.Auth)
			}
			return nil
		},
	}))
}

// codec has what Temporal stores encrypted with PAYLOAD_KEYS.
func (f *faults) codec(c *Config) {
	switch {
	case c.Temporal.DataConverter == nil: // Without keys it refuses what others have encrypted.
		c.Temporal.DataConverter, c.Temporal.FailureConverter = codec.Converters(codec.Codec{Keys: c.PayloadKeys})
	case c.PayloadKeys != nil:
		f.add("PAYLOAD_KEYS", "is set, and so is a codec endpoint for Temporal", "use one of them")
	}
}

// temporalFile adds the fault that err tells of. The error of a malformed file may show a secret and is not used.
func (f *faults) temporalFile(err error, vars map[string]string) {
	const name = "TEMPORAL_CONFIG_FILE"
	path := vars[name]
	if path == "" {
		path = envconfig.DefaultConfigFilePath()
	}
	if syntax, ok := errors.AsType[toml.ParseError](err); ok {
		f.add(name, fmt.Sprintf("(%s) is malformed at line %d", path, syntax.Position.Line), "it must be a temporal.toml as `temporal config` writes it")
		return
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		f.add(name, "cannot be read", err.Error())
		return
	}
	if p := vars["TEMPORAL_PROFILE"]; p != "" {
		f.add("TEMPORAL_PROFILE", "is "+quote(p), "name a profile that is in "+path+", or leave it out")
		return
	}
	f.add(name, fmt.Sprintf("(%s) cannot be used", path), "it must be a temporal.toml as `temporal config` writes it")
}

// lookup shows variables to envconfig.
type lookup map[string]string

func (l lookup) Environ() []string {
	all := make([]string, 0, len(l))
	for name, value := range l {
		all = append(all, name+"="+value)
	}
	return all
}

func (l lookup) LookupEnv(name string) (string, bool) {
	value, ok := l[name]
	return value, ok
}
