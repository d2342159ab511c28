package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func wrong() bool { return false }
func right() bool { return true }

func TestWrongKeysAreSlowed(t *testing.T) {
	t.Parallel()
	guesses, now := newGuesses(), time.Now()
	guesses.now = func() time.Time { return now }
	looked := 0
	look := func() bool { looked++; return false }
	for range 3600 { // an hour, one guess a second
		guesses.Try("203.0.113.7", look)
		now = now.Add(time.Second)
	}
	if looked < 60 || looked > 80 {
		t.Errorf("%d guesses in an hour", looked)
	}
	if guesses.Try("203.0.113.7", right) {
		t.Error("the key was looked at during the pause")
	}
	if !guesses.Try("203.0.113.8", right) {
		t.Error("another client has to pause as well")
	}
	now = now.Add(longestPause)
	if !guesses.Try("203.0.113.7", right) {
		t.Error("the pause does not end")
	}
	now = now.Add(forgetAfter + time.Second)
	for range freeGuesses - 1 {
		guesses.Try("203.0.113.7", wrong)
	}
	if !guesses.Try("203.0.113.7", right) {
		t.Error("it is not forgotten")
	}
}

// The one key must not help to guess the other.
func TestARightKeyDoesNotClearTheCount(t *testing.T) {
	t.Parallel()
	guesses, looked := newGuesses(), 0
	for range 1000 {
		guesses.Try("203.0.113.7", right)
		guesses.Try("203.0.113.7", func() bool { looked++; return false })
	}
	if looked > freeGuesses {
		t.Errorf("%d guesses", looked)
	}
}

func TestGuessesSideBySide(t *testing.T) {
	t.Parallel()
	guesses := newGuesses()
	var looked atomic.Int64
	var group sync.WaitGroup
	for range 200 {
		group.Add(1)
		go func() {
			defer group.Done()
			guesses.Try("203.0.113.7", func() bool { looked.Add(1); return false })
		}()
	}
	group.Wait()
	if looked.Load() > freeGuesses {
		t.Errorf("%d guesses", looked.Load())
	}
}

func TestGuessesAreBounded(t *testing.T) {
	t.Parallel()
	guesses := newGuesses()
	for number := range 200_000 {
		guesses.Try(fmt.Sprintf("10.%d.%d.%d", number>>16, number>>8&255, number&255), wrong)
	}
	if len(guesses.clients) != maxGuessers || guesses.recent.Len() != maxGuessers {
		t.Errorf("%d clients, %d in order", len(guesses.clients), guesses.recent.Len())
	}
}

func TestWhoSentIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		from, forwarded string
		want            string
	}{
		"directly":               {"203.0.113.7:40000", "", "203.0.113.7"},
		"through the tunnel":     {"127.0.0.1:40000", "203.0.113.7", "203.0.113.7"},
		"tunnel over IPv6":       {"[::1]:40000", "203.0.113.7", "203.0.113.7"},
		"invented before":        {"127.0.0.1:40000", "198.51.100.1, 203.0.113.7", "203.0.113.7"},
		"invented, no tunnel":    {"203.0.113.7:40000", "198.51.100.1", "203.0.113.7"},
		"no address":             {"127.0.0.1:40000", "nobody", "127.0.0.1"},
		"IPv6":                   {"127.0.0.1:40000", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		"IPv6, the same network": {"127.0.0.1:40000", "2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"},
		"IPv4 in IPv6":           {"127.0.0.1:40000", "::ffff:203.0.113.7", "203.0.113.7"},
		"a zone":                 {"[fe80::1%eth0]:40000", "", "fe80::/64"},
	} {
		request := httptest.NewRequest("POST", "/infra/x", nil)
		request.RemoteAddr = c.from
		if c.forwarded != "" {
			request.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if got := clientOf(request); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// Each key opens its own routes and nothing else.
func TestKeysAreSeparate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installed(oldDigest)
	server, p, _ := w.door()
	for name, c := range map[string]struct {
		method, path, authorization string
		code                        int
	}{
		"hook":                        {"POST", "/infra/" + testKey, "", 202},
		"hook, admin key":             {"POST", "/infra/" + testAdminKey, "", 404},
		"hook, admin key in a header": {"POST", "/infra/", "Bearer " + testAdminKey, 404},
		"status":                      {"GET", "/infra/status", "Bearer " + testAdminKey, 200},
		"status, small letters":       {"GET", "/infra/status", "bearer " + testAdminKey, 200},
		"status, deploy key":          {"GET", "/infra/status", "Bearer " + testKey, 404},
		"status as before":            {"GET", "/infra/" + testKey + "/status", "", 404},
		"status below the admin key":  {"GET", "/infra/" + testAdminKey + "/status", "", 404},
		"status, key in the query":    {"GET", "/infra/status?key=" + testAdminKey, "", 404},
		"status, another scheme":      {"GET", "/infra/status", "Basic " + testAdminKey, 404},
		"status, no scheme":           {"GET", "/infra/status", testAdminKey, 404},
		"status, no key":              {"GET", "/infra/status", "", 404},
		"status, empty key":           {"GET", "/infra/status", "Bearer ", 404},
		"rollback, deploy key":        {"POST", "/infra/rollback", "Bearer " + testKey, 404},
		"rollback as before":          {"POST", "/infra/" + testKey + "/rollback", "", 404},
		"retry as before":             {"POST", "/infra/" + testKey + "/retry", "", 404},
		"rollback, nothing before":    {"POST", "/infra/rollback", "Bearer " + testAdminKey, 409},
	} {
		request, err := http.NewRequest(c.method, server.URL+c.path, strings.NewReader(hookBody(testRepository, "latest")))
		must(t, err)
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("X-Forwarded-For", fmt.Sprintf("203.0.113.%d", len(name)))
		if c.authorization != "" {
			request.Header.Set("Authorization", c.authorization)
		}
		response, err := http.DefaultClient.Do(request)
		must(t, err)
		response.Body.Close()
		if response.StatusCode != c.code {
			t.Errorf("%s: %d", name, response.StatusCode)
		}
	}
	if waiting := p.queue.Waiting(); len(waiting) != 1 || waiting[0].Trigger != TriggerHook {
		t.Errorf("waiting: %+v", waiting)
	}
	if logged := w.log.String(); strings.Contains(logged, testKey) || strings.Contains(logged, testAdminKey) {
		t.Error("a key is in the log")
	}
}

// An installation from before there was an admin key: the hook works on, and the rest says what is missing.
func TestWithoutAnAdminKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installed(oldDigest)
	delete(w.env, "WEBHOOK_ADMIN_KEY_FILE")
	if out, err := run1(w, "--check"); err != nil || !strings.Contains(out, "Warning: WEBHOOK_ADMIN_KEY_FILE is not set") {
		t.Errorf("--check: %v\n%s", err, out)
	}
	s := w.start()
	if code := s.post(t, hookBody(testRepository, "latest")); code != 202 {
		t.Errorf("a hook is answered %d", code)
	}
	for _, authorization := range []string{"", "Bearer ", "Bearer " + testKey, "Bearer " + testAdminKey} {
		request, _ := http.NewRequest("GET", s.url+"/infra/status", nil)
		request.Header.Set("Authorization", authorization)
		response, err := http.DefaultClient.Do(request)
		must(t, err)
		response.Body.Close()
		if response.StatusCode != 404 {
			t.Errorf("%q is answered %d", authorization, response.StatusCode)
		}
	}
	w.env["WEBHOOK_LISTEN"] = strings.TrimPrefix(s.url, "http://")
	if _, err := run1(w, "--rollback"); err == nil || !strings.Contains(err.Error(), "WEBHOOK_ADMIN_KEY_FILE is not set") {
		t.Errorf("--rollback: %v", err)
	}
	eventually(t, "the rollout", func() bool {
		return strings.Contains(w.read("state/state.json"), newDigest) && w.read("bin/running") == testRepository+"@"+newDigest
	})
	must(t, s.halt())
	if !strings.Contains(w.log.String(), "status, rollback and retry are closed") {
		t.Error("the log does not say it")
	}
}

func TestTheAdminKeyIsNotTheDeployKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.file("admin-key", testKey+"\n")
	if _, err := run1(w, "--check"); err == nil || !strings.Contains(err.Error(), "holds the deploy key") || strings.Contains(err.Error(), testKey) {
		t.Errorf("got %v", err)
	}
}

// An attack over sockets: thousands of keys, invented addresses before the tunnel's, many connections side by side.
func TestGuessingIsNotWorthwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server, _, handler := w.door()
	var group sync.WaitGroup
	for worker := range 8 {
		group.Add(1)
		go func() {
			defer group.Done()
			for number := range 100 {
				request, _ := http.NewRequest("GET", server.URL+"/infra/status", nil)
				request.Header.Set("Authorization", fmt.Sprintf("Bearer guess-%d-%d", worker, number))
				request.Header.Set("X-Forwarded-For", fmt.Sprintf("198.51.100.%d, 203.0.113.7", number))
				response, err := http.DefaultClient.Do(request)
				if err != nil {
					t.Error(err)
					return
				}
				response.Body.Close()
				if response.StatusCode != 404 {
					t.Errorf("got %d", response.StatusCode)
				}
			}
		}()
	}
	group.Wait()
	handler.guesses.mu.Lock()
	defer handler.guesses.mu.Unlock()
	if len(handler.guesses.clients) != 1 {
		t.Errorf("%d clients", len(handler.guesses.clients))
	}
	if looked := handler.guesses.recent.Front().Value.(*guesser).count; looked > freeGuesses+10 {
		t.Errorf("the key was compared %d times", looked)
	}
}
