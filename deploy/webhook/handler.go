package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// maxBody leaves room for the longest README that Docker Hub puts into its payload.
const maxBody = 256 << 10

// Handler answers /infra/{deploy_key} to whoever has the deploy key, and /infra/status, /infra/rollback and /infra/retry to
// whoever sends the admin key. To others, none of it exists.
type Handler struct {
	config  *Config
	queue   *Queue
	store   *Store
	rollout *Rollout
	tag     func() string // the one to look at without a hook
	log     *slog.Logger
	started time.Time

	accepted, ignored, refused, strangers atomic.Int64
	wrongKeys                             countedLog
	guesses                               *Guesses
}

func newHandler(config *Config, queue *Queue, store *Store, rollout *Rollout, tag func() string, log *slog.Logger) *Handler {
	return &Handler{config: config, queue: queue, store: store, rollout: rollout, tag: tag, log: log, started: time.Now().UTC(), guesses: newGuesses()}
}

// ServeHTTP checks the key before anything else, so that a stranger learns nothing from method, type or size.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	recorder := &recorder{ResponseWriter: w}
	route := "none"
	defer h.recoverPanic(recorder, &route)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	name, ok := h.admit(r)
	if !ok {
		h.strangers.Add(1)
		h.wrongKeys.log(h.log)
		notFound(recorder)
		return
	}
	begun := time.Now()
	route = name
	switch route {
	case "hook":
		h.hook(recorder, r)
	case "status":
		h.status(recorder, r)
	case "rollback":
		h.rollback(recorder, r)
	case "retry":
		h.retry(recorder, r)
	}
	// The route's name, never the path: the path is the key.
	h.log.Info("request", "route", route, "method", knownMethod(r.Method), "status", recorder.status, "seconds", time.Since(begun).Seconds())
}

// admit names the route that a request may take. Docker Hub can only keep an address, so the deploy key stands in the path
// of the hook; the admin key comes in a header, which proxies do not log. Neither opens what the other does.
func (h *Handler) admit(r *http.Request) (route string, ok bool) {
	rest, known := strings.CutPrefix(r.URL.Path, "/infra/")
	if !known {
		return "", false
	}
	ours, theirs := h.config.Key, rest
	route = "hook"
	if rest == "status" || rest == "rollback" || rest == "retry" {
		route, ours, theirs = rest, h.config.AdminKey, bearer(r)
	}
	return route, h.guesses.Try(clientOf(r), func() bool { return ours.Matches(theirs) })
}

// bearer is the key of `Authorization: Bearer KEY`, empty without one.
func bearer(r *http.Request) string {
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(key)
}

func (h *Handler) hook(w http.ResponseWriter, r *http.Request) {
	push, code, err := readPush(w, r)
	if err != nil {
		h.refuse(w, code, err)
		return
	}
	if push.Repository != h.config.Repository {
		h.refuse(w, http.StatusUnprocessableEntity, fmt.Errorf("repository %q is not rolled out here; %s is (WEBHOOK_REPOSITORY)", push.Repository, h.config.Repository))
		return
	}
	if !slices.Contains(h.config.Tags, push.Tag) {
		// No fault: the hub sends a hook for every tag of a push, and most are not for this machine.
		h.ignored.Add(1)
		h.log.Info("hook ignored", "tag", push.Tag)
		writeJSON(w, http.StatusOK, map[string]string{"status": "ignored", "detail": fmt.Sprintf("tag %q is not rolled out here; %s (WEBHOOK_TAGS)", push.Tag, strings.Join(h.config.Tags, ", "))})
		return
	}
	h.accepted.Add(1)
	h.queue.Hook(push.Tag)
	h.log.Info("hook accepted", "tag", push.Tag)
	writeJSON(w, http.StatusAccepted, map[string]string{"status": "queued", "repository": push.Repository, "tag": push.Tag})
}

// readPush checks what carries the payload, then the payload.
func readPush(w http.ResponseWriter, r *http.Request) (Push, int, error) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return Push{}, http.StatusMethodNotAllowed, errors.New("a hook is a POST")
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return Push{}, http.StatusUnsupportedMediaType, fmt.Errorf("Content-Type is %q; send application/json", shorten(r.Header.Get("Content-Type"), 100))
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return Push{}, http.StatusUnsupportedMediaType, fmt.Errorf("Content-Encoding is %q; send the document as it is", shorten(encoding, 100))
	}
	if r.ContentLength > maxBody {
		return Push{}, http.StatusRequestEntityTooLarge, fmt.Errorf("the body has %d bytes; at most %d are read", r.ContentLength, maxBody)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return Push{}, http.StatusRequestEntityTooLarge, fmt.Errorf("the body has more than the %d bytes that are read", maxBody)
	case err != nil:
		return Push{}, http.StatusBadRequest, errors.New("the body broke off; send it again")
	}
	push, err := parsePush(body)
	if errors.Is(err, errBroken) {
		return Push{}, http.StatusBadRequest, err
	}
	return push, http.StatusUnprocessableEntity, err
}

func (h *Handler) rollback(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		h.refuse(w, http.StatusMethodNotAllowed, errors.New("a rollback is a POST"))
		return
	}
	state := h.store.Snapshot()
	if state.Previous == nil {
		h.refuse(w, http.StatusConflict, errors.New("there is no earlier digest to go back to; push a good image instead"))
		return
	}
	h.queue.Rollback()
	writeJSON(w, http.StatusAccepted, map[string]string{"status": "queued", "digest": state.Previous.Digest})
}

// retry is for the person who has mended what made an image fail, and does not want to push it again.
func (h *Handler) retry(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		h.refuse(w, http.StatusMethodNotAllowed, errors.New("a retry is a POST"))
		return
	}
	if err := h.store.Commit(func(s *State) { s.Rejected = nil }); err != nil {
		h.refuse(w, http.StatusInsufficientStorage, err)
		return
	}
	h.queue.Look(TriggerRetry, h.tag())
	writeJSON(w, http.StatusAccepted, map[string]string{"status": "queued"})
}

// Status is what GET …/status answers. State's own fields are part of it.
type Status struct {
	Version    string           `json:"version"`
	Started    time.Time        `json:"started"`
	Repository string           `json:"repository"`
	Tags       []string         `json:"tags"`
	Waiting    []Request        `json:"waiting"`
	LastLook   *Outcome         `json:"last_look"`
	Hooks      map[string]int64 `json:"hooks"`
	StateError string           `json:"state_error,omitempty"`
	State
}

func (h *Handler) status(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		h.refuse(w, http.StatusMethodNotAllowed, errors.New("the status is a GET"))
		return
	}
	status := Status{Version: version, Started: h.started, Repository: h.config.Repository, Tags: h.config.Tags,
		Waiting: h.queue.Waiting(), LastLook: h.rollout.LastLook(), State: h.store.Snapshot(),
		Hooks: map[string]int64{"accepted": h.accepted.Load(), "ignored": h.ignored.Load(), "refused": h.refused.Load(), "without_key": h.strangers.Load()}}
	if err := h.store.Unsaved(); err != nil {
		status.StateError = err.Error()
	}
	writeJSON(w, http.StatusOK, status)
}

// refuse answers somebody who has the key: they may know what was wrong.
func (h *Handler) refuse(w http.ResponseWriter, code int, err error) {
	h.refused.Add(1)
	h.log.Warn("request refused", "status", code, "error", err)
	writeProblem(w, code, err.Error())
}

// notFound is the one answer to everything unknown, so that a wrong key looks like a wrong path.
func notFound(w http.ResponseWriter) { writeProblem(w, http.StatusNotFound, "") }

// writeProblem writes RFC 9457 problem details, as the service does.
func writeProblem(w http.ResponseWriter, code int, detail string) {
	problem := map[string]any{"type": "about:blank", "title": http.StatusText(code), "status": code}
	if detail != "" {
		problem["detail"] = detail
	}
	w.Header().Set("Content-Type", "application/problem+json")
	writeBody(w, code, problem)
}

func writeJSON(w http.ResponseWriter, code int, document any) {
	w.Header().Set("Content-Type", "application/json")
	writeBody(w, code, document)
}

func writeBody(w http.ResponseWriter, code int, document any) {
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(document) // the caller may have gone; that is theirs to notice
}

// recoverPanic logs where it happened. A panic's value may quote what was being handled, so only its type is told.
func (h *Handler) recoverPanic(w *recorder, route *string) {
	fault := recover()
	if fault == nil {
		return
	}
	h.log.Error("panic", "route", *route, "type", fmt.Sprintf("%T", fault), "stack", string(debug.Stack()))
	if w.status == 0 {
		writeProblem(w, http.StatusInternalServerError, "")
	}
}

// recorder remembers the status for the log.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(code int) {
	r.status = code
	r.ResponseWriter.WriteHeader(code)
}

// knownMethod keeps a caller from writing into the log by an invented method.
func knownMethod(method string) string {
	if slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"}, method) {
		return method
	}
	return "other"
}

// countedLog writes at most one line a minute: a flood of guesses must not fill the disk.
type countedLog struct {
	mu    sync.Mutex
	count int
	last  time.Time
}

func (c *countedLog) log(log *slog.Logger) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	if time.Since(c.last) < time.Minute {
		return
	}
	log.Warn("requests without a key", "count", c.count)
	c.count, c.last = 0, time.Now()
}
