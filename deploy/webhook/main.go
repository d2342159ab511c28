// Crypto-rti-webhook rolls a new image out on one machine when Docker Hub says that there is one, and goes back when it is bad.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"text/tabwriter"
	"time"
)

// version is set by the linker: -ldflags "-X main.version=…".
var version = "development"

// Main is the program as a value, so that a test can run it beside others.
type Main struct {
	Args      []string // without the program's name
	Environ   []string
	Stdout    io.Writer
	Stderr    io.Writer
	Listening func(net.Addr) // told the address once it is bound; may be nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once; the journal makes that safe
	m := Main{Args: os.Args[1:], Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr}
	if err := m.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "crypto-rti-webhook:", err)
		os.Exit(1)
	}
}

// Run does what the arguments say; without any it serves until ctx ends.
func (m *Main) Run(ctx context.Context) error {
	flags := flag.NewFlagSet("crypto-rti-webhook", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	check := flags.Bool("check", false, "")
	status := flags.Bool("status", false, "")
	rollback := flags.Bool("rollback", false, "")
	retry := flags.Bool("retry", false, "")
	showVersion := flags.Bool("version", false, "")
	if err := flags.Parse(m.Args); errors.Is(err, flag.ErrHelp) {
		return m.help()
	} else if err != nil {
		return fmt.Errorf("%w; --help lists what there is", err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("argument %q is not understood; --help lists what there is", flags.Arg(0))
	}
	if *showVersion {
		_, err := fmt.Fprintf(m.Stdout, "crypto-rti-webhook %s %s/%s %s\n", version, runtime.GOOS, runtime.GOARCH, runtime.Version())
		return err
	}
	config, err := loadConfig(m.Environ)
	if err == nil && !*status && !*rollback && !*retry {
		err = config.checkMachine()
	}
	switch {
	case err != nil:
		return fmt.Errorf("the configuration is not usable:\n%w", err)
	case *check:
		return m.printConfig(config)
	case *status:
		return callServer(ctx, config, http.MethodGet, "status", m.Stdout)
	case *rollback:
		return callServer(ctx, config, http.MethodPost, "rollback", m.Stdout)
	case *retry:
		return callServer(ctx, config, http.MethodPost, "retry", m.Stdout)
	}
	return m.serve(ctx, config)
}

// serve wires the parts together and runs them.
func (m *Main) serve(stop context.Context, config *Config) error {
	log := newLogger(m.Stderr, config.LogLevel, config.Key, config.AdminKey)
	lock, err := lockFile(filepath.Join(config.StateDir, "lock"))
	if err != nil {
		return err
	}
	defer lock.Close()
	store, fresh, corrupt, err := openStore(config.stateFile(), writeAtomic)
	if err != nil {
		return err
	}
	if corrupt != nil {
		log.Error("state unreadable", "error", corrupt)
	}
	rollout := newRollout(config, newDocker(config, m.Environ), store, log)
	if fresh {
		if err := rollout.Adopt(); err != nil {
			return err
		}
	}
	if config.AdminKey.value == "" {
		log.Warn("WEBHOOK_ADMIN_KEY_FILE is not set; status, rollback and retry are closed")
	}
	queue := newQueue(config.Debounce)
	worker := newWorker(config, queue, rollout, store, log)
	handler := newHandler(config, queue, store, rollout, worker.tag, log)
	listener, err := net.Listen("tcp", config.Listen)
	if err != nil {
		return fmt.Errorf("WEBHOOK_LISTEN %s: %w; stop what holds the address, or choose another", config.Listen, err)
	}
	if m.Listening != nil {
		m.Listening(listener.Addr())
	}
	log.Info("listening", "version", version, "address", listener.Addr().String(), "repository", config.Repository, "tags", config.Tags, "poll", config.PollInterval.String())
	return run(stop, config, newServer(handler, log), listener, worker, log)
}

func newServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      15 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		// net/http would answer `OPTIONS *` with 200 by itself.
		DisableGeneralOptionsHandler: true,
	}
}

// run serves until stop ends, then takes no more hooks, gives the rollout under way its time, and leaves.
func run(stop context.Context, config *Config, server *http.Server, listener net.Listener, worker *Worker, log *slog.Logger) error {
	ctx, kill := context.WithCancel(context.Background())
	defer kill()
	stop, stopNow := context.WithCancel(stop) // also when the listener fails
	defer stopNow()
	working := make(chan struct{})
	go func() {
		defer close(working)
		worker.Run(ctx, stop)
	}()
	serving := make(chan error, 1)
	go func() { serving <- server.Serve(listener) }()
	var err error
	select {
	case <-stop.Done():
		log.Info("stopping")
	case err = <-serving:
		log.Error("the listener failed", "error", err)
		stopNow()
	}
	quiet, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if server.Shutdown(quiet) != nil {
		_ = server.Close()
	}
	select {
	case <-working:
	case <-time.After(config.ShutdownTimeout):
		kill() // the journal says how far it came
		<-working
	}
	log.Info("stopped")
	return err
}

func (m *Main) printConfig(config *Config) error {
	given, _ := readEnviron(m.Environ)
	table := tabwriter.NewWriter(m.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "The configuration is usable.")
	for _, s := range settings {
		value, origin := given[s.name], ""
		if value == "" {
			value, origin = s.fallback, "(default)"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", s.name, value, origin)
	}
	if host, _, _ := net.SplitHostPort(config.Listen); host != "localhost" && !net.ParseIP(host).IsLoopback() {
		fmt.Fprintf(table, "Warning: WEBHOOK_LISTEN %s is open to the network, where the key travels unencrypted; 127.0.0.1 is enough for a tunnel.\n", config.Listen)
	}
	if config.AdminKey.value == "" {
		fmt.Fprintln(table, "Warning: WEBHOOK_ADMIN_KEY_FILE is not set; --status, --rollback and --retry are closed.")
	}
	return table.Flush()
}

const helpText = `crypto-rti-webhook rolls a new image out on this machine when Docker Hub says that there is one, and goes back when it is bad.

Usage:
  crypto-rti-webhook             serve
  crypto-rti-webhook --check     check the configuration, name every fault, start nothing; exit code 0 or 1
  crypto-rti-webhook --status    print what the running server knows: digests, the rollout under way, history
  crypto-rti-webhook --rollback  ask the running server to bring the digest before the present one back up
  crypto-rti-webhook --retry     ask it to forget which digests failed, and to look at the hub now
  crypto-rti-webhook --version   print the version

A hook comes to POST /infra/{deploy_key}; status, rollback and retry need the admin key. The tag's digest is asked of the hub, pulled, started with
'docker compose up --wait' and asked for a forecast. If any of that fails, the digest before comes back up and stays.
That digest is not tried again, but by --retry, or by a hook that comes ten minutes later.

To begin:
  install -d -m 0700 /etc/crypto-rti /var/lib/crypto-rti-webhook
  for name in deploy admin; do
    (umask 077; head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=' > /etc/crypto-rti/$name-key)
  done
  export WEBHOOK_REPOSITORY=someone/crypto-rti WEBHOOK_COMPOSE_FILE=/opt/crypto-rti/compose.yml
  export WEBHOOK_DEPLOY_KEY_FILE=/etc/crypto-rti/deploy-key WEBHOOK_ADMIN_KEY_FILE=/etc/crypto-rti/admin-key
  crypto-rti-webhook --check && crypto-rti-webhook
The compose file must say  image: ${CRYPTO_RTI_IMAGE}  for the service. Give Docker Hub the address
https://YOUR.HOST/infra/THE-DEPLOY-KEY under the repository's webhooks.

Settings are environment variables:
`

func (m *Main) help() error {
	table := tabwriter.NewWriter(m.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, helpText)
	for _, s := range settings {
		fmt.Fprintf(table, "  %s\t%s\t%s\n", s.name, s.fallback, s.meaning)
	}
	return table.Flush()
}
