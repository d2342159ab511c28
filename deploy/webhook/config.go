package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// imageVariable is what the compose file names as the service's image: `image: ${CRYPTO_RTI_IMAGE}`.
const imageVariable = "CRYPTO_RTI_IMAGE"

// Config is every setting, checked.
type Config struct {
	Listen     string
	Key        Secret // opens the hook
	AdminFile  string
	AdminKey   Secret // opens status, rollback and retry; without one they are closed
	Repository string // namespace/name
	Tags       []string
	Registry   string // empty is Docker Hub
	HubURL     string
	LogLevel   slog.Level

	Docker         string
	ComposeFile    string
	ComposeProject string
	ComposeService string
	ImageFile      string
	StateDir       string

	ServiceURL string
	SmokeCoins []string

	PollInterval    time.Duration // 0 is off
	Debounce        time.Duration
	HubTimeout      time.Duration
	PullTimeout     time.Duration
	UpTimeout       time.Duration
	SmokeTimeout    time.Duration
	ShutdownTimeout time.Duration
}

// Image is the reference that docker pulls and compose runs: by digest, so nobody can change what it means.
func (c *Config) Image(digest string) string { return c.imageName() + "@" + digest }

func (c *Config) imageName() string {
	if c.Registry == "" {
		// Docker lists images of its own hub without a host; with one, `docker image ls` would find none of them.
		return c.Repository
	}
	return c.Registry + "/" + c.Repository
}

// Secret is a key. It prints as nothing, whichever way it is printed.
type Secret struct{ value string }

func (Secret) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, redacted) }
func (Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Matches compares in a time that tells neither where two keys differ nor how long ours is. No key matches nothing.
func (s Secret) Matches(candidate string) bool {
	ours, theirs := sha256.Sum256([]byte(s.value)), sha256.Sum256([]byte(candidate))
	return subtle.ConstantTimeCompare(ours[:], theirs[:]) == 1 && s.value != ""
}

// setting is one environment variable. The table below is what is parsed, what --help prints and what --check shows.
type setting struct {
	name, fallback, meaning string
	set                     func(*Config, string) error
}

var settings = []setting{
	{"WEBHOOK_REPOSITORY", "", "the one repository that is rolled out, namespace/name as on Docker Hub (required)", setRepository},
	{"WEBHOOK_TAGS", "latest", "tags that are rolled out, separated by commas; the first is installed on a fresh machine", setTags},
	{"WEBHOOK_DEPLOY_KEY_FILE", "", "file with the deploy key, readable by its owner alone (required)", setKeyFile},
	{"WEBHOOK_ADMIN_KEY_FILE", "", "file with the admin key, for status, rollback and retry; they are closed without it", setAdminKeyFile},
	{"WEBHOOK_COMPOSE_FILE", "", "compose file of the service (required)", setPath(func(c *Config) *string { return &c.ComposeFile })},
	{"WEBHOOK_COMPOSE_PROJECT", "crypto-rti", "compose project", setName(func(c *Config) *string { return &c.ComposeProject })},
	{"WEBHOOK_COMPOSE_SERVICE", "service", "compose service that runs the image", setName(func(c *Config) *string { return &c.ComposeService })},
	{"WEBHOOK_IMAGE_ENV_FILE", "", "where " + imageVariable + " is written for compose (default: image.env beside the compose file)", setPath(func(c *Config) *string { return &c.ImageFile })},
	{"WEBHOOK_STATE_DIR", "/var/lib/crypto-rti-webhook", "directory of state.json and its lock", setPath(func(c *Config) *string { return &c.StateDir })},
	{"WEBHOOK_LISTEN", "127.0.0.1:9000", "address to listen on; the tunnel connects to it", setListen},
	{"WEBHOOK_SERVICE_URL", "http://127.0.0.1:8000", "where the service answers on this machine, for the smoke forecast", setURL(func(c *Config) *string { return &c.ServiceURL })},
	{"WEBHOOK_SMOKE_COINS", "BTC-USD", "coins to ask a smoke forecast of, separated by commas", setCoins},
	{"WEBHOOK_POLL_INTERVAL", "15m", "how often the hub is asked in case a hook was lost; 0 turns it off", setPoll},
	{"WEBHOOK_DEBOUNCE", "5s", "quiet time to wait for after a hook: one push sends several", setDuration(0, time.Minute, func(c *Config) *time.Duration { return &c.Debounce })},
	{"WEBHOOK_HUB_TIMEOUT", "15s", "time limit of one question to the hub", setDuration(100*time.Millisecond, time.Minute, func(c *Config) *time.Duration { return &c.HubTimeout })},
	{"WEBHOOK_PULL_TIMEOUT", "15m", "time limit of `docker pull`", setDuration(time.Second, 3*time.Hour, func(c *Config) *time.Duration { return &c.PullTimeout })},
	{"WEBHOOK_UP_TIMEOUT", "3m", "time limit for the service to become healthy", setDuration(time.Second, time.Hour, func(c *Config) *time.Duration { return &c.UpTimeout })},
	{"WEBHOOK_SMOKE_TIMEOUT", "1m", "time limit for the smoke forecast to be right, retries included", setDuration(100*time.Millisecond, time.Hour, func(c *Config) *time.Duration { return &c.SmokeTimeout })},
	{"WEBHOOK_SHUTDOWN_TIMEOUT", "60s", "on SIGTERM, time for a rollout under way; what is not finished then, the next start takes up", setDuration(0, time.Hour, func(c *Config) *time.Duration { return &c.ShutdownTimeout })},
	{"WEBHOOK_DOCKER", "docker", "docker's command line program, a name on PATH or a path", setDocker},
	{"WEBHOOK_REGISTRY", "", "registry to pull from, host[:port], when it is not Docker Hub", setRegistry},
	{"WEBHOOK_HUB_URL", "https://hub.docker.com", "the hub's API; http is taken for this machine alone", setHub},
	{"WEBHOOK_LOG_LEVEL", "info", "debug, info, warn or error", setLevel},
}

// loadConfig parses and checks all settings, and names every fault at once.
func loadConfig(environ []string) (*Config, error) {
	given, faults := readEnviron(environ)
	config := &Config{}
	for _, s := range settings {
		value, ok := given[s.name]
		if !ok || value == "" {
			value = s.fallback
		}
		if err := s.set(config, value); err != nil {
			faults = append(faults, fmt.Errorf("%s %w", s.name, err))
		}
	}
	if config.ImageFile == "" && config.ComposeFile != "" {
		config.ImageFile = filepath.Join(filepath.Dir(config.ComposeFile), "image.env")
	}
	if config.Key.value != "" && config.AdminKey.Matches(config.Key.value) {
		faults = append(faults, errors.New("WEBHOOK_ADMIN_KEY_FILE holds the deploy key, which Docker Hub keeps; make another key for it: "+makeKey))
	}
	return config, errors.Join(faults...)
}

// readEnviron takes the variables with our prefix. One that is not in the table is a misspelt one.
func readEnviron(environ []string) (map[string]string, []error) {
	given := map[string]string{}
	var faults []error
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, "WEBHOOK_") {
			continue
		}
		switch {
		case name == "WEBHOOK_DEPLOY_KEY" || name == "WEBHOOK_ADMIN_KEY":
			faults = append(faults, fmt.Errorf("%[1]s is set, but every process of this user can read an environment; put the key into a file with mode 0600 and name that in %[1]s_FILE", name))
		case !slices.ContainsFunc(settings, func(s setting) bool { return s.name == name }):
			faults = append(faults, fmt.Errorf("%s is no setting of this server; --help lists them", name))
		default:
			given[name] = strings.TrimSpace(value)
		}
	}
	return given, faults
}

// checkMachine looks at what the settings point to. Nothing is changed or started.
func (c *Config) checkMachine() error {
	var faults []error
	if _, err := exec.LookPath(c.Docker); err != nil {
		faults = append(faults, fmt.Errorf("WEBHOOK_DOCKER is %q: %w; install Docker, or name its program", c.Docker, err))
	}
	if info, err := os.Stat(c.ComposeFile); err != nil {
		faults = append(faults, fmt.Errorf("WEBHOOK_COMPOSE_FILE: %w; name the compose file of the service", err))
	} else if !info.Mode().IsRegular() {
		faults = append(faults, fmt.Errorf("WEBHOOK_COMPOSE_FILE %s is no file; name the compose file itself", c.ComposeFile))
	}
	for _, place := range []struct{ name, directory string }{{"WEBHOOK_STATE_DIR", c.StateDir}, {"WEBHOOK_IMAGE_ENV_FILE", filepath.Dir(c.ImageFile)}} {
		if err := checkWritable(place.directory); err != nil {
			faults = append(faults, fmt.Errorf("%s: the directory %s cannot be written to: %w; create it for the server's user", place.name, place.directory, err))
		}
	}
	if text, err := os.ReadFile(c.stateFile()); err == nil {
		// A damaged state is set aside at the start; one from a newer server is not ours to touch.
		if _, err := parseState(text); err != nil && !errors.Is(err, errCorruptState) {
			faults = append(faults, fmt.Errorf("WEBHOOK_STATE_DIR: the state %s: %w", c.stateFile(), err))
		}
	}
	return errors.Join(faults...)
}

func (c *Config) stateFile() string { return filepath.Join(c.StateDir, "state.json") }

// checkWritable tries it: permission bits say little on a read-only mount, or to root.
func checkWritable(directory string) error {
	probe, err := os.CreateTemp(directory, ".probe-*")
	if err != nil {
		return err
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

func setRepository(c *Config, value string) error {
	if value == "" {
		return errors.New("is not set; name the repository that may be rolled out, for example someone/crypto-rti")
	}
	if !validRepository(value) {
		return fmt.Errorf("is %q; write namespace/name in lower case, without host, tag or digest", value)
	}
	c.Repository = value
	return nil
}

func setTags(c *Config, value string) error {
	tags, err := words(value, tagGrammar, "a tag is up to 128 letters, digits, '_', '.' and '-'", "tag; write for example latest")
	c.Tags = tags
	return err
}

// words splits a list and checks each word of it; rule says what one may look like, none what is missing from an empty list.
func words(value string, grammar *regexp.Regexp, rule, none string) ([]string, error) {
	list := splitList(value)
	for _, word := range list {
		if !grammar.MatchString(word) {
			return nil, fmt.Errorf("holds %q; %s", word, rule)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("is %q and names no %s", value, none)
	}
	return list, nil
}

var keyGrammar = regexp.MustCompile(`^[A-Za-z0-9._~-]{32,512}$`)

// minVariety is how many different characters a key has at least. A random one of 32 characters has far more.
const minVariety = 8

const makeKey = "(umask 077; head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=' > FILE)"

func setKeyFile(c *Config, value string) error {
	if value == "" {
		return errors.New("is not set, and without a key nobody may deploy; make one: " + makeKey)
	}
	key, err := readKey(value)
	c.Key = Secret{key}
	return err
}

// setAdminKeyFile takes no file for an answer: a server that was installed before there was an admin key goes on rolling out.
func setAdminKeyFile(c *Config, value string) error {
	if value == "" {
		return nil
	}
	key, err := readKey(value)
	c.AdminFile, c.AdminKey = value, Secret{key}
	return err
}

// readKey reads a key, and refuses one that others may have read or that is easily guessed.
func readKey(path string) (string, error) {
	if !filepath.IsAbs(path) { // not repeated: it may be the key itself, put in the wrong place
		return "", errors.New("is no absolute path; name the file with the key, not the key")
	}
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w; create it for the server's user", err)
	}
	defer file.Close()
	info, err := file.Stat() // of the open file: nobody swaps it between look and read
	if err != nil {
		return "", fmt.Errorf("%s cannot be examined: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no regular file; name the file with the key", path)
	}
	if others := info.Mode().Perm() & 0o077; others&^credentialBits(path) != 0 {
		return "", fmt.Errorf("%s has mode %04o, so other users can use the key; run chmod 600 %s and make a new key", path, info.Mode().Perm(), path)
	}
	text, err := io.ReadAll(io.LimitReader(file, 4096))
	if err != nil {
		return "", fmt.Errorf("%s cannot be read: %w", path, err)
	}
	key := strings.TrimSpace(string(text))
	if !keyGrammar.MatchString(key) {
		return "", fmt.Errorf("%s holds %d characters that are no key; it must be one line of 32 to 512 letters, digits, '-', '_', '.' or '~'", path, len(key))
	}
	different := map[rune]bool{}
	for _, character := range key {
		different[character] = true
	}
	if len(different) < minVariety {
		return "", fmt.Errorf("%s holds a key of only %d different characters, which is soon guessed; make a random one: %s", path, len(different), makeKey)
	}
	return key, nil
}

// credentialBits: systemd hands credentials over by an access list, which shows as a readable group on a file that the
// group cannot read. Its directory belongs to this one service.
func credentialBits(path string) os.FileMode {
	if directory := os.Getenv("CREDENTIALS_DIRECTORY"); directory != "" && filepath.Dir(path) == filepath.Clean(directory) {
		return 0o040
	}
	return 0
}

func setListen(c *Config, value string) error {
	if _, port, err := net.SplitHostPort(value); err != nil || port == "" {
		return fmt.Errorf("is %q; write host:port, for example 127.0.0.1:9000", value)
	}
	c.Listen = value
	return nil
}

func setURL(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, value string) error {
		u, err := url.Parse(value)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			return errors.New("is no plain http or https address; write for example http://127.0.0.1:8000")
		}
		if u.User != nil { // the value is not repeated: it holds a password
			return errors.New("holds a user name or password; this server sends none, leave them out")
		}
		*field(c) = strings.TrimRight(value, "/")
		return nil
	}
}

func setHub(c *Config, value string) error {
	if err := setURL(func(c *Config) *string { return &c.HubURL })(c, value); err != nil {
		return err
	}
	// Whoever answers for the hub chooses what this machine runs.
	u, _ := url.Parse(value)
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("is %q; the hub's answer decides what is installed, so use https", value)
	}
	return nil
}

var registryGrammar = regexp.MustCompile(`^[a-z0-9]+(?:[.-][a-z0-9]+)*(?::[0-9]{1,5})?$`)

func setRegistry(c *Config, value string) error {
	if value != "" && (!registryGrammar.MatchString(value) || !strings.ContainsAny(value, ".:") && value != "localhost") {
		return fmt.Errorf("is %q; write host or host:port, without scheme and path", value)
	}
	c.Registry = value
	return nil
}

func setPath(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, value string) error {
		*field(c) = value
		switch {
		case value == "" && field(c) == &c.ImageFile:
			return nil // has its default beside the compose file
		case value == "":
			return errors.New("is not set; write an absolute path")
		case !filepath.IsAbs(value) || value != filepath.Clean(value):
			return fmt.Errorf("is %q; write an absolute path without . and ..", value)
		}
		return nil
	}
}

var nameGrammar = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

func setName(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, value string) error {
		if !nameGrammar.MatchString(value) {
			return fmt.Errorf("is %q; write lower-case letters, digits, '-' and '_', beginning with a letter or digit", value)
		}
		*field(c) = value
		return nil
	}
}

var coinGrammar = regexp.MustCompile(`^[A-Z0-9]{1,12}-[A-Z0-9]{1,12}$`)

func setCoins(c *Config, value string) error {
	coins, err := words(value, coinGrammar, "write products as the exchange does, for example BTC-USD", "coin; write for example BTC-USD")
	c.SmokeCoins = coins
	return err
}

func setDuration(low, high time.Duration, field func(*Config) *time.Duration) func(*Config, string) error {
	return func(c *Config, value string) error {
		duration, err := time.ParseDuration(value)
		if err != nil {
			return fmt.Errorf("is %q; write a duration such as 30s or 15m", value)
		}
		if duration < low || duration > high {
			return fmt.Errorf("is %s; it must lie between %s and %s", value, low, high)
		}
		*field(c) = duration
		return nil
	}
}

func setPoll(c *Config, value string) error {
	if value == "0" {
		c.PollInterval = 0
		return nil
	}
	// The hub counts questions; once a minute is as often as anybody needs.
	return setDuration(time.Minute, 7*24*time.Hour, func(c *Config) *time.Duration { return &c.PollInterval })(c, value)
}

func setDocker(c *Config, value string) error {
	c.Docker = value
	return nil
}

func setLevel(c *Config, value string) error {
	if err := c.LogLevel.UnmarshalText([]byte(value)); err != nil {
		return fmt.Errorf("is %q; write debug, info, warn or error", value)
	}
	return nil
}

func splitList(value string) []string {
	var parts []string
	for part := range strings.SplitSeq(value, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}
