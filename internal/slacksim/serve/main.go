// Command serve runs the stand-in for Slack by itself, for trying an app against it by hand:
//
//	go run ./internal/slacksim/serve --address 127.0.0.1:8080 [--request-url http://127.0.0.1:3000/slack/events]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"countersign/internal/slacksim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "serve:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.SetOutput(stderr)
	address := flags.String("address", "127.0.0.1:8080", "where to listen")
	requestURL := flags.String("request-url", "", "send signed POSTs here instead of using Socket Mode")
	if err := flags.Parse(args); err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *address)
	if err != nil {
		return err
	}
	base := "http://" + listener.Addr().String()
	sim := slacksim.New(slacksim.Options{BaseURL: base, RequestURL: *requestURL})
	server := &http.Server{Handler: sim, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	fmt.Fprintf(stdout, "page: %s/\n\nSLACK_API_URL=%s/api/\nSLACK_BOT_TOKEN=%s\n", base, base, slacksim.DefaultBotToken)
	if *requestURL == "" {
		fmt.Fprintf(stdout, "SLACK_APP_TOKEN=%s\n", slacksim.DefaultAppToken)
	} else {
		fmt.Fprintf(stdout, "SLACK_SIGNING_SECRET=%s\n", slacksim.DefaultSigningSecret)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		sim.Close()
		return server.Close()
	}
}
