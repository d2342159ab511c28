package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestHubAnswers(t *testing.T) {
	t.Parallel()
	body := func(text string) func(http.ResponseWriter, *http.Request) bool {
		return func(out http.ResponseWriter, _ *http.Request) bool { io.WriteString(out, text); return true }
	}
	code := func(code int) func(http.ResponseWriter, *http.Request) bool {
		return func(out http.ResponseWriter, _ *http.Request) bool { out.WriteHeader(code); return true }
	}
	for name, c := range map[string]struct {
		hub   func(http.ResponseWriter, *http.Request) bool
		want  string // part of the error
		asked int
	}{
		"good": {nil, "", 1},
		"404":  {code(404), "check WEBHOOK_REPOSITORY", 1},
		"401":  {code(401), "answers 401", 1},
		"429":  {code(429), "(429)", 4},
		"500":  {code(500), "(500)", 4},
		"503":  {code(503), "(503)", 4},
		"redirect": {func(out http.ResponseWriter, r *http.Request) bool {
			http.Redirect(out, r, "http://127.0.0.1:1/", 302)
			return true
		}, "answers 302", 1},
		"no JSON":       {body("<html>"), "no JSON", 1},
		"no digest":     {body(`{"name":"latest"}`), "push the tag again", 1},
		"null digest":   {body(`{"name":"latest","digest":null}`), "push the tag again", 1},
		"short digest":  {body(`{"name":"latest","digest":"sha256:abc"}`), "push the tag again", 1},
		"evil digest":   {body(`{"name":"latest","digest":"` + newDigest + ` --privileged"}`), "push the tag again", 1},
		"another tag":   {body(fmt.Sprintf(`{"name":"v2","digest":%q}`, newDigest)), "speaks of", 1},
		"two documents": {body(fmt.Sprintf(`{"name":"latest","digest":%q}{}`, newDigest)), "no JSON", 1},
		"endless":       {func(out http.ResponseWriter, _ *http.Request) bool { io.CopyN(out, zeros{}, 3<<20); return true }, "no JSON", 1},
		"breaks off": {func(out http.ResponseWriter, _ *http.Request) bool {
			out.Header().Set("Content-Length", "100")
			io.WriteString(out, "{")
			return true
		}, "broke off", 4},
		"stalls":          {func(out http.ResponseWriter, r *http.Request) bool { stall(out, r); return true }, "the next poll asks again", 4},
		"drips its bytes": {drip, "the next poll asks again", 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			slow := strings.Contains(name, "stalls") || strings.Contains(name, "drips")
			if slow {
				w.env["WEBHOOK_HUB_TIMEOUT"] = "200ms"
			}
			w.hub = c.hub
			hub := newHub(w.config())
			hub.Pause = time.Millisecond
			digest, err := hub.Digest(t.Context(), "latest")
			if c.want == "" && (err != nil || digest != newDigest) || c.want != "" && (err == nil || digest != "" || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %q, %v", digest, err)
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.asked > c.asked || w.asked < c.asked && !slow { // a busy machine may be too slow to hear every question
				t.Errorf("asked %d times, want %d", w.asked, c.asked)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

func drip(out http.ResponseWriter, r *http.Request) bool {
	for r.Context().Err() == nil {
		io.WriteString(out, " ")
		_ = http.NewResponseController(out).Flush()
		time.Sleep(50 * time.Millisecond)
	}
	return true
}

func TestHubRecovers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	failures := 2
	w.hub = func(out http.ResponseWriter, _ *http.Request) bool {
		if failures--; failures < 0 {
			return false
		}
		out.Header().Set("Retry-After", "0")
		out.WriteHeader(429)
		return true
	}
	hub := newHub(w.config())
	hub.Pause = time.Millisecond
	if digest, err := hub.Digest(t.Context(), "latest"); err != nil || digest != newDigest {
		t.Errorf("got %q, %v", digest, err)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]time.Duration{"": 0, "5": 5 * time.Second, "-5": 0, "99999999999999999999": 0, "86400": time.Minute, "soon": 0} {
		if got := retryAfter(http.Header{"Retry-After": {value}}); got != want {
			t.Errorf("%q gives %s, want %s", value, got, want)
		}
	}
}
