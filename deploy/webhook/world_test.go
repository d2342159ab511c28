package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The test binary plays two parts: the tests, and the webhook server as a process of its own, so that it can be killed.
func TestMain(m *testing.M) {
	if os.Getenv("RUN_AS_WEBHOOK") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

const (
	testKey        = "correct-horse-battery-staple.0123456789~_"
	testAdminKey   = "another-horse-and-another-staple.987654~_"
	testRepository = "someone/crypto-rti"
)

// digestOf makes a digest that is easy to tell from others.
func digestOf(letter string) string { return "sha256:" + strings.Repeat(letter, 64) }

var (
	oldDigest = digestOf("a")
	newDigest = digestOf("b")
	badDigest = digestOf("c")
)

// world is one machine with its docker and service, and a hub; every part speaks over a real socket or process.
type world struct {
	t   *testing.T
	dir string
	env map[string]string
	log *lockedBuffer

	mu      sync.Mutex
	tags    map[string]string                             // tag -> digest, as the hub knows them
	hub     func(http.ResponseWriter, *http.Request) bool // true: it has answered
	answers map[string]http.HandlerFunc                   // digest -> what its service says; nil is a good service
	asked   int                                           // questions to the hub
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, dir: dir, log: &lockedBuffer{}, tags: map[string]string{"latest": newDigest}, answers: map[string]http.HandlerFunc{}}
	for _, name := range []string{"bin/images", "bin/plan", "state", "compose"} {
		must(t, os.MkdirAll(filepath.Join(dir, name), 0o700))
	}
	docker, err := filepath.Abs("testdata/docker")
	must(t, err)
	must(t, os.Symlink(docker, filepath.Join(dir, "bin", "docker")))
	w.file("compose/compose.yml", "services: {service: {image: \"${CRYPTO_RTI_IMAGE}\"}}\n")
	w.file("key", testKey+"\n")
	w.file("admin-key", testAdminKey+"\n")
	hub := httptest.NewServer(http.HandlerFunc(w.serveHub))
	service := httptest.NewServer(http.HandlerFunc(w.serveService))
	t.Cleanup(func() { hub.CloseClientConnections(); hub.Close(); service.CloseClientConnections(); service.Close() })
	w.env = map[string]string{
		"WEBHOOK_LISTEN": "127.0.0.1:0", "WEBHOOK_REPOSITORY": testRepository, "WEBHOOK_DEPLOY_KEY_FILE": filepath.Join(dir, "key"),
		"WEBHOOK_ADMIN_KEY_FILE": filepath.Join(dir, "admin-key"),
		"WEBHOOK_COMPOSE_FILE":   filepath.Join(dir, "compose/compose.yml"), "WEBHOOK_STATE_DIR": filepath.Join(dir, "state"),
		"WEBHOOK_DOCKER": filepath.Join(dir, "bin/docker"), "WEBHOOK_HUB_URL": hub.URL, "WEBHOOK_SERVICE_URL": service.URL,
		"WEBHOOK_DEBOUNCE": "50ms", "WEBHOOK_HUB_TIMEOUT": "10s", "WEBHOOK_UP_TIMEOUT": "20s", "WEBHOOK_PULL_TIMEOUT": "20s",
		"WEBHOOK_SMOKE_TIMEOUT": "2s", "WEBHOOK_POLL_INTERVAL": "0", "WEBHOOK_LOG_LEVEL": "debug",
	}
	return w
}

func (w *world) file(name, text string) {
	w.t.Helper()
	must(w.t, os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600))
}

func (w *world) read(name string) string {
	text, _ := os.ReadFile(filepath.Join(w.dir, name))
	return string(text)
}

// plan tells docker what to do wrong: "verb" or "verb-digest" -> fault.
func (w *world) plan(faults map[string]string) {
	w.t.Helper()
	old, err := filepath.Glob(filepath.Join(w.dir, "bin/plan/*"))
	must(w.t, err)
	for _, path := range old {
		must(w.t, os.Remove(path))
	}
	for verb, fault := range faults {
		w.file("bin/plan/"+verb, fault+"\n")
	}
}

// installed makes a digest the one that has been running here for long.
func (w *world) installed(digest string) {
	w.file("bin/images/"+digest, testRepository+"@"+digest)
	w.file("bin/running", testRepository+"@"+digest)
	w.file("compose/image.env", imageVariable+"="+testRepository+"@"+digest+"\n")
}

func (w *world) push(tag, digest string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tags[tag] = digest
}

func (w *world) answer(digest string, handler http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers[digest] = handler
}

func (w *world) serveHub(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.asked++
	fault := w.hub
	tag, ours := strings.CutPrefix(r.URL.Path, "/v2/namespaces/someone/repositories/crypto-rti/tags/")
	digest := w.tags[tag]
	w.mu.Unlock()
	switch {
	case fault != nil && fault(out, r):
	case !ours || digest == "":
		http.Error(out, `{"message":"httperror 404: tag not found"}`, http.StatusNotFound)
	default:
		fmt.Fprintf(out, `{"name":%q,"digest":%q,"images":[{"architecture":"arm64"}],"tag_last_pushed":"2026-11-23T08:00:00Z"}`, tag, digest)
	}
}

func (w *world) serveService(out http.ResponseWriter, r *http.Request) {
	_, digest, _ := strings.Cut(w.read("bin/running"), "@")
	w.mu.Lock()
	handler := w.answers[digest]
	w.mu.Unlock()
	if handler == nil {
		handler = goodService
	}
	handler(out, r)
}

func goodService(out http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/health/ready" {
		io.WriteString(out, `{"status":"ready"}`)
		return
	}
	fmt.Fprintf(out, `{"prediction":{"coin":%q,"current_price":60000.5,"predicted_price":60010.25}}`, r.URL.Query().Get("coin"))
}

// saying is a service that is ready and answers every forecast with one text.
func saying(code int, text string) http.HandlerFunc {
	return func(out http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health/ready" {
			goodService(out, r)
			return
		}
		out.WriteHeader(code)
		io.WriteString(out, text)
	}
}

func (w *world) environ() []string {
	environ := []string{"PATH=" + os.Getenv("PATH")}
	for name, value := range w.env {
		environ = append(environ, name+"="+value)
	}
	return environ
}

func (w *world) config() *Config {
	w.t.Helper()
	config, err := loadConfig(w.environ())
	must(w.t, err)
	return config
}

// parts are the pieces of a server without its socket, over the world's files. Opening them again is a restart.
type parts struct {
	config  *Config
	store   *Store
	rollout *Rollout
	queue   *Queue
	worker  *Worker
}

func (w *world) open() *parts {
	w.t.Helper()
	config := w.config()
	log := newLogger(w.log, config.LogLevel, config.Key, config.AdminKey)
	store, fresh, corrupt, err := openStore(config.stateFile(), writeAtomic)
	must(w.t, err)
	if corrupt != nil {
		log.Error("state unreadable", "error", corrupt)
	}
	rollout := newRollout(config, newDocker(config, os.Environ()), store, log)
	rollout.hub.Pause, rollout.rollbackPause = time.Millisecond, time.Millisecond
	if fresh {
		must(w.t, rollout.Adopt())
	}
	queue := newQueue(config.Debounce)
	worker := newWorker(config, queue, rollout, store, log)
	worker.lookAgain, worker.restorePause = time.Hour, time.Hour
	return &parts{config, store, rollout, queue, worker}
}

func (p *parts) deploy(trigger Trigger) Outcome {
	request := Request{Trigger: trigger, Tag: "latest", Hooks: 1, Asked: time.Now().UTC()}
	return p.rollout.Deploy(context.Background(), context.Background(), request)
}

// calls lists what docker was asked, one verb per line.
func (w *world) calls(verb string) (matching []string) {
	for line := range strings.Lines(w.read("bin/calls")) {
		words := strings.Fields(line)
		if words[0] == verb || len(words) > 1 && words[0]+" "+words[1] == verb || words[0] == "compose" && slices.Contains(words, verb) {
			matching = append(matching, strings.TrimSpace(line))
		}
	}
	return matching
}

// expect checks what a person would check: what runs, what the image file says, what the state on disk says.
func (w *world) expect(running, good string) State {
	w.t.Helper()
	if got := w.read("bin/running"); got != testRepository+"@"+running {
		w.t.Errorf("running is %q, want %q", got, running)
	}
	if !strings.Contains(w.read("compose/image.env"), imageVariable+"="+testRepository+"@"+running+"\n") {
		w.t.Errorf("the image file says %q, want %q", w.read("compose/image.env"), running)
	}
	state, err := parseState([]byte(w.read("state/state.json")))
	must(w.t, err)
	if state.Good == nil || state.Good.Digest != good {
		w.t.Errorf("good is %+v, want %q", state.Good, good)
	}
	if state.Attempt != nil {
		w.t.Errorf("an attempt is left over: %+v", state.Attempt)
	}
	return state
}

// server is Main.Run in this process.
type server struct {
	url  string
	stop context.CancelFunc
	done chan error
}

func (w *world) start() *server {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	bound := make(chan net.Addr, 1)
	m := Main{Environ: w.environ(), Stdout: io.Discard, Stderr: w.log, Listening: func(address net.Addr) { bound <- address }}
	s := &server{stop: cancel, done: make(chan error, 1)}
	go func() { s.done <- m.Run(ctx) }()
	select {
	case address := <-bound:
		s.url = "http://" + address.String()
	case err := <-s.done:
		w.t.Fatalf("the server did not start: %v", err)
	}
	w.t.Cleanup(func() { s.stop(); <-s.done })
	return s
}

// halt ends the server as SIGTERM does, and answers how it ended.
func (s *server) halt() error {
	s.stop()
	err := <-s.done
	s.done <- err // for the cleanup
	return err
}

// post sends a hook and answers the status code.
func (s *server) post(t *testing.T, body string) int {
	t.Helper()
	response, err := http.Post(s.url+"/infra/"+testKey, "application/json", strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

func (s *server) status(t *testing.T) Status {
	t.Helper()
	response, err := admin("GET", s.url, "status")
	must(t, err)
	defer response.Body.Close()
	var status Status
	must(t, json.NewDecoder(response.Body).Decode(&status))
	return status
}

// admin sends a request with the admin key.
func admin(method, url, action string) (*http.Response, error) {
	request, err := http.NewRequest(method, url+"/infra/"+action, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+testAdminKey)
	return http.DefaultClient.Do(request)
}

// hookBody is what Docker Hub sends, as its documentation shows it.
func hookBody(repository, tag string) string {
	return fmt.Sprintf(`{"callback_url":"https://registry.hub.docker.com/u/someone/crypto-rti/hook/2141b5bi5i5b02bec211i4eeih0242eg11000a/",
		"push_data":{"pushed_at":1.417566161e+09,"pusher":"someone","tag":%q,"images":["imagehash1"]},
		"repository":{"comment_count":0,"date_created":1.417494799e+09,"description":"","dockerfile":"FROM scratch\n","full_description":"# hello",
		"is_official":false,"is_private":false,"is_trusted":true,"name":"crypto-rti","namespace":"someone","owner":"someone","repo_name":%q,
		"repo_url":"https://registry.hub.docker.com/u/someone/crypto-rti/","star_count":0,"status":"Active"}}`, tag, repository)
}

// eventually waits for something that happens soon; it does not say how soon.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("it did not happen: %s", what)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// alive tells whether a process runs; a zombie does not, as far as the system says which is one.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return !strings.Contains(string(text), ") Z ")
}

func discardLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(text)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
