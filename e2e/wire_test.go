package e2e

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
)

// onTheWay serves a way to the Temporal server at address: see looks at each call, by its method's path, and hands it
// on to the server with next. It returns the way's address.
func onTheWay(t *testing.T, address string, see func(w http.ResponseWriter, r *http.Request, next http.Handler)) string {
	t.Helper()
	way := httptest.NewUnstartedServer(nil)
	way.Config.Handler, way.Config.Protocols = wayTo(address, see), new(http.Protocols)
	way.Config.Protocols.SetUnencryptedHTTP2(true)
	way.Start()
	t.Cleanup(way.Close)
	return way.Listener.Addr().String()
}

// wayTo is what [onTheWay] serves.
func wayTo(address string, see func(w http.ResponseWriter, r *http.Request, next http.Handler)) http.Handler {
	plain := new(http.Protocols)
	plain.SetUnencryptedHTTP2(true)
	next := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: address})
		},
		Transport:     &http.Transport{Protocols: plain},
		FlushInterval: -1,                         // as it comes: a stream has no length
		ErrorLog:      log.New(io.Discard, "", 0), // A process that ends drops its polls.
		// Whoever called sees it; it need not be printed.
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { see(w, r, next) })
}

func TestOnTheWay(t *testing.T) {
	t.Parallel()
	calls := make(chan string, 1000)
	way := onTheWay(t, shared.temporal.Address, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		select {
		case calls <- r.URL.Path:
		default:
		}
		next.ServeHTTP(w, r)
	})
	w := newWorld(t, socketMode, shared.temporal.Address, "TEMPORAL_ADDRESS="+way)
	w.start("run")
	w.greet("general", "World")
	w.approves(w.card("general", "Greet World"))
	for call := range calls {
		if call == "/temporal.api.workflowservice.v1.WorkflowService/RespondActivityTaskCompletedById" {
			break
		}
		if len(calls) == 0 {
			t.Fatal("the click did not come by")
		}
	}
}
