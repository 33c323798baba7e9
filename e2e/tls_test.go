package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// serverName is in the certificate of a [secureWay], which has no address in it.
const serverName = "temporal.example"

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := new(authority)
	a.cert = a.sign(t, x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}).Leaf
	return a
}

// sign signs a certificate that is valid for an hour, unless it says otherwise. The first one becomes the authority's own.
func (a *authority) sign(t *testing.T, c x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.Subject = pkix.Name{CommonName: t.Name()}
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(time.Hour)
	}
	c.NotBefore = c.NotAfter.Add(-2 * time.Hour)
	if a.cert == nil {
		a.cert, a.key = &c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, &c, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// server signs the certificate of a [secureWay].
func (a *authority) server(t *testing.T, until time.Time) tls.Certificate {
	t.Helper()
	return a.sign(t, x509.Certificate{DNSNames: []string{serverName}, NotAfter: until, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
}

// client signs a certificate for the processes of the binary, and returns the variables that name it and its key.
func (a *authority) client(t *testing.T) (env []string) {
	t.Helper()
	c := a.sign(t, x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return []string{
		"TEMPORAL_TLS_CLIENT_CERT_PATH=" + pemFile(t, "CERTIFICATE", c.Certificate[0]),
		"TEMPORAL_TLS_CLIENT_KEY_PATH=" + pemFile(t, "PRIVATE KEY", key),
	}
}

// trusted returns the variable by which the processes of the binary trust servers of the authority.
func (a *authority) trusted(t *testing.T) string {
	t.Helper()
	return "TEMPORAL_TLS_SERVER_CA_CERT_PATH=" + pemFile(t, "CERTIFICATE", a.cert.Raw)
}

func pemFile(t *testing.T, kind string, der []byte) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// calls are those that came by a way: how often each authorization, "" for none, came with each method.
type calls struct {
	mu  sync.Mutex
	all map[string]map[string]int // by authorization, then by path
}

func (c *calls) see(w http.ResponseWriter, r *http.Request, next http.Handler) {
	c.mu.Lock()
	if c.all == nil {
		c.all = map[string]map[string]int{}
	}
	by := strings.Join(r.Header.Values("Authorization"), ", ")
	if c.all[by] == nil {
		c.all[by] = map[string]int{}
	}
	c.all[by][r.URL.Path]++
	c.mu.Unlock()
	next.ServeHTTP(w, r)
}

// authorizations are those that came, sorted.
func (c *calls) authorizations() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.all))
}

// secureWay is [onTheWay] by TLS. c has the server's certificate, and says which clients are let in.
func secureWay(t *testing.T, address string, c *tls.Config, seen *calls) string {
	t.Helper()
	way := httptest.NewUnstartedServer(wayTo(address, seen.see))
	way.TLS, way.EnableHTTP2, way.Listener = c, true, patient{way.Listener}
	way.Config.ErrorLog = log.New(io.Discard, "", 0) // It logs each client that does not get in.
	way.StartTLS()
	t.Cleanup(way.Close)
	return way.Listener.Addr().String()
}

// patient is a listener whose connections are closed when the client has closed them. On one machine a refusal would come
// before the client has written what it has, which fails then, and says nothing of the reason; over a network it comes after.
type patient struct{ net.Listener }

func (l patient) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return patientConn{c.(*net.TCPConn)}, nil
}

type patientConn struct{ *net.TCPConn }

func (c patientConn) Close() error {
	go func() {
		_, _ = io.Copy(io.Discard, c.TCPConn)
		_ = c.TCPConn.Close()
	}()
	return c.CloseWrite()
}

// mutual lets in who has a certificate of the authority.
func (a *authority) mutual(server tls.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{Certificates: []tls.Certificate{server}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
}

func TestMutualTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	var seen calls
	way := secureWay(t, shared.temporal.Address, a.mutual(a.server(t, time.Time{})), &seen)
	w := newWorld(t, httpMode, shared.temporal.Address, append(a.client(t),
		"TEMPORAL_ADDRESS="+way, "TEMPORAL_TLS=true", a.trusted(t), "TEMPORAL_TLS_SERVER_NAME="+serverName)...)
	w.start("run")
	w.greet("general", "World")
	w.approves(w.card("general", "Greet World"))
	w.shell("", []string{"list"}).ends(0)
	seen.came(t, "")
}

func TestAPIKey(t *testing.T) {
	t.Parallel()
	const key = "the-api-key"
	a := newAuthority(t)
	var seen calls
	way := secureWay(t, shared.temporal.Address, &tls.Config{Certificates: []tls.Certificate{a.server(t, time.Time{})}}, &seen)
	// TEMPORAL_TLS is not set: the key turns TLS on.
	w := newWorld(t, socketMode, shared.temporal.Address,
		"TEMPORAL_ADDRESS="+way, "TEMPORAL_API_KEY="+key, a.trusted(t), "TEMPORAL_TLS_SERVER_NAME="+serverName)
	p := w.start("run")
	w.greet("general", "World")
	w.approves(w.card("general", "Greet World"))
	w.shell("", []string{"list"}).ends(0)
	w.stop(p)
	seen.came(t, "Bearer "+key)
	if strings.Contains(p.log.String(), key) {
		t.Error("the log shows the key")
	}
}

// came checks that the click and the list, and all other calls, came with that authorization.
func (c *calls) came(t *testing.T, authorization string) {
	t.Helper()
	if by := c.authorizations(); !slices.Equal(by, []string{authorization}) {
		t.Errorf("calls came with the authorizations %q, want %q alone", by, authorization)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, method := range []string{"RespondActivityTaskCompletedById", "PollWorkflowTaskQueue", "ListWorkflowExecutions"} {
		if c.all[authorization]["/temporal.api.workflowservice.v1.WorkflowService/"+method] == 0 {
			t.Errorf("%s did not come by", method)
		}
	}
}

func TestNotLetIn(t *testing.T) {
	t.Parallel()
	const apiKey = "the-api-key"
	ours, theirs := newAuthority(t), newAuthority(t)
	expired := time.Now().Add(-time.Minute)
	certificate := ours.client(t)
	tests := map[string]struct {
		way  func(*testing.T, *calls) string
		env  []string
		says string
	}{
		"server of another authority": {
			ours.way(theirs.server(t, time.Time{})), append(certificate, ours.trusted(t)),
			"certificate signed by unknown authority",
		},
		"certificate of the server expired": {
			ours.way(ours.server(t, expired)), append(certificate, ours.trusted(t)),
			"certificate has expired",
		},
		"server has another name": {
			ours.way(ours.server(t, time.Time{})), append(certificate, ours.trusted(t), "TEMPORAL_TLS_SERVER_NAME=other.example"),
			"certificate is valid for temporal.example, not other.example",
		},
		"no client certificate": {
			ours.way(ours.server(t, time.Time{})),
			[]string{ours.trusted(t)},
			"tls: certificate required",
		},
		"client certificate of another authority": {
			ours.way(ours.server(t, time.Time{})), append(theirs.client(t), ours.trusted(t)),
			"tls: unknown certificate authority",
		},
		"server without TLS": {
			func(t *testing.T, seen *calls) string { return onTheWay(t, shared.temporal.Address, seen.see) },
			[]string{ours.trusted(t)},
			"authentication handshake failed",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen calls
			way := test.way(t, &seen)
			w := newWorld(t, socketMode, shared.temporal.Address, append([]string{
				"TEMPORAL_ADDRESS=" + way, "TEMPORAL_API_KEY=" + apiKey, "TEMPORAL_TLS_SERVER_NAME=" + serverName,
			}, test.env...)...)
			list := w.shell("", []string{"list"})
			p := w.launch([]string{"run"})
			waits := `msg="temporal is not reachable, waiting" address=` + way + ` next_try=\S+ err=.*` + test.says + `.*\n`
			w.sees(p, "(?:"+waits+"(?s:.*)){3}")
			w.stop(p)
			list.ends(1, test.says)
			if by := seen.authorizations(); by != nil {
				t.Errorf("calls came with the authorizations %q, want none", by)
			}
			secrets := map[string]string{"API key": apiKey, "bot token": w.variable("SLACK_BOT_TOKEN"), "reference key": w.variable("REFERENCE_KEYS")}
			if path := w.variable("TEMPORAL_TLS_CLIENT_KEY_PATH"); path != "" {
				key, err := os.ReadFile(path)
				w.must(err)
				secrets["private key"] = strings.Split(string(key), "\n")[1]
			}
			for what, secret := range secrets {
				if strings.Contains(p.log.String()+list.err.String(), secret) {
					t.Errorf("the log shows the %s", what)
				}
			}
		})
	}
}

// way is a [secureWay] for clients of the authority.
func (a *authority) way(server tls.Certificate) func(*testing.T, *calls) string {
	return func(t *testing.T, seen *calls) string {
		t.Helper()
		return secureWay(t, shared.temporal.Address, a.mutual(server), seen)
	}
}

func TestCertificateIsRenewed(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	expired := a.server(t, time.Now().Add(-time.Minute))
	var current atomic.Pointer[tls.Certificate]
	current.Store(&expired)
	way := secureWay(t, shared.temporal.Address, &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return current.Load(), nil },
	}, new(calls))
	w := newWorld(t, socketMode, shared.temporal.Address,
		"TEMPORAL_ADDRESS="+way, a.trusted(t), "TEMPORAL_TLS_SERVER_NAME="+serverName)
	p := w.launch([]string{"run"})
	w.sees(p, "certificate has expired")
	renewed := a.server(t, time.Time{})
	current.Store(&renewed)
	w.sees(p, "msg=ready")
	w.greet("general", "World")
	w.approves(w.card("general", "Greet World"))
}
