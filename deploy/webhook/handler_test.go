package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// door is a handler on a real socket, with a queue that nobody empties.
func (w *world) door() (*httptest.Server, *parts, *Handler) {
	w.t.Helper()
	p := w.open()
	handler := newHandler(p.config, p.queue, p.store, p.rollout, p.worker.tag, newLogger(w.log, p.config.LogLevel)) // no redaction: the handler itself must not log it
	listener := httptest.NewUnstartedServer(handler)
	listener.Config = newServer(handler, newLogger(w.log, p.config.LogLevel))
	listener.Start()
	w.t.Cleanup(listener.Close)
	return listener, p, handler
}

func TestHookRequests(t *testing.T) {
	t.Parallel()
	good := hookBody(testRepository, "latest")
	for name, c := range map[string]struct {
		method, path, kind, encoding, body string
		code                               int
		queued                             int
		says                               string
	}{
		"good":              {body: good, code: 202, queued: 1, says: `"status":"queued"`},
		"charset":           {kind: "application/json; charset=utf-8", body: good, code: 202, queued: 1},
		"wrong key":         {path: "/infra/" + strings.Repeat("x", 40), body: good, code: 404},
		"key cut short":     {path: "/infra/" + testKey[:len(testKey)-1], body: good, code: 404},
		"key and more":      {path: "/infra/" + testKey + "x", body: good, code: 404},
		"upper case":        {path: "/infra/" + strings.ToUpper(testKey), body: good, code: 404},
		"no key":            {path: "/infra/", body: good, code: 404},
		"no key, no slash":  {path: "/infra", body: good, code: 404},
		"root":              {path: "/", body: good, code: 404},
		"key in query":      {path: "/infra/?deploy_key=" + testKey, body: good, code: 404},
		"doubled slash":     {path: "//infra/" + testKey, body: good, code: 404},
		"climbing":          {path: "/x/../infra/" + testKey, body: good, code: 404},
		"slash behind":      {path: "/infra/" + testKey + "/", body: good, code: 404},
		"unknown action":    {path: "/infra/" + testKey + "/reboot", body: good, code: 404},
		"an old address":    {method: "GET", path: "/infra/" + testKey + "/status", code: 404},
		"admin key in path": {path: "/infra/" + testAdminKey, body: good, code: 404},
		"wrong key, GET":    {method: "GET", path: "/infra/wrong", code: 404},
		"wrong key, status": {method: "GET", path: "/infra/wrong/status", code: 404},
		"wrong key, 2 MB":   {path: "/infra/wrong", body: strings.Repeat("x", 2<<20), code: 404},
		"GET":               {method: "GET", code: 405, says: "a hook is a POST"},
		"PUT":               {method: "PUT", body: good, code: 405},
		"invented method":   {method: "DEPLOY", body: good, code: 405},
		"form":              {kind: "application/x-www-form-urlencoded", body: good, code: 415, says: "send application/json"},
		"no type":           {kind: "-", body: good, code: 415},
		"compressed":        {encoding: "gzip", body: good, code: 415},
		"empty body":        {code: 400, says: "broken payload"},
		"truncated":         {body: good[:100], code: 400},
		"second document":   {body: good + good, code: 400},
		"2 MB":              {body: strings.Repeat(" ", 2<<20), code: 413, says: "at most"},
		"2 MB, no length":   {body: "chunked", code: 413},
		"just too long":     {body: good + strings.Repeat(" ", maxBody+1-len(good)), code: 413},
		"just not too long": {body: good + strings.Repeat(" ", maxBody-len(good)), code: 202, queued: 1},
		"unknown repo":      {body: hookBody("evil/crypto-rti", "latest"), code: 422, says: "WEBHOOK_REPOSITORY"},
		"unknown tag":       {body: hookBody(testRepository, "sha-0123abc"), code: 200, says: `"status":"ignored"`},
		"shell in tag":      {body: hookBody(testRepository, "latest;reboot"), code: 422, says: "push_data.tag"},
		"shell in repo":     {body: hookBody("a/$(reboot)", "latest"), code: 422},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			server, p, _ := w.door()
			path, method, kind := c.path, c.method, c.kind
			if path == "" {
				path = "/infra/" + testKey
			}
			if method == "" {
				method = "POST"
			}
			var body io.Reader = strings.NewReader(c.body)
			if c.body == "chunked" {
				body = io.MultiReader(strings.NewReader(strings.Repeat(" ", 1<<20)), strings.NewReader(strings.Repeat(" ", 1<<20)))
			}
			request, err := http.NewRequest(method, server.URL, body)
			must(t, err)
			request.URL.Opaque = path // as it stands, without cleaning
			if kind == "" {
				kind = "application/json"
			}
			if kind != "-" {
				request.Header.Set("Content-Type", kind)
			}
			if c.encoding != "" {
				request.Header.Set("Content-Encoding", c.encoding)
			}
			response, err := http.DefaultTransport.RoundTrip(request)
			if err != nil && strings.Contains(c.body, strings.Repeat("x", 1<<20)) {
				return // the server may hang up on two megabytes before they are all sent
			}
			must(t, err)
			defer response.Body.Close()
			text, _ := io.ReadAll(response.Body)
			if response.StatusCode != c.code || !strings.Contains(string(text), c.says) {
				t.Errorf("got %d %s", response.StatusCode, text)
			}
			if !json.Valid(text) {
				t.Errorf("no JSON: %s", text)
			}
			if got := len(p.queue.Waiting()); got != c.queued {
				t.Errorf("%d requests wait", got)
			}
			logged := w.log.String()
			for _, secret := range []string{testKey, testKey[:20], strings.ToUpper(testKey), strings.Repeat("x", 40), "DEPLOY"} {
				if strings.Contains(logged, secret) {
					t.Errorf("%q is in the log:\n%s", secret, logged)
				}
			}
			if strings.Contains(string(text), testKey) {
				t.Errorf("the answer holds the key: %s", text)
			}
			if w.read("state/state.json") != "" {
				t.Error("a request alone changed the state")
			}
		})
	}
}

// A wrong key must look like a wrong path, whatever is done with it.
func TestStrangersLearnNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server, _, _ := w.door()
	seen := map[string]bool{}
	for _, method := range []string{"GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		for _, path := range []string{"/infra/wrong", "/infra/wrong/status", "/infra/wrong/rollback", "/infra/status", "/infra/rollback", "/infra/retry", "/infra/", "/infra", "/", "/favicon.ico", "/health"} {
			request, _ := http.NewRequest(method, server.URL+path, strings.NewReader("{"))
			response, err := http.DefaultClient.Do(request)
			must(t, err)
			text, _ := io.ReadAll(response.Body)
			response.Body.Close()
			response.Header.Del("Date")
			seen[fmt.Sprint(response.StatusCode, response.Header, string(text))] = true
		}
	}
	if len(seen) != 1 {
		t.Errorf("different answers: %v", seen)
	}
}

func TestOptionsStar(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server, _, _ := w.door()
	connection, err := net.Dial("tcp", server.Listener.Addr().String())
	must(t, err)
	defer connection.Close()
	fmt.Fprint(connection, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
	if line, err := bufio.NewReader(connection).ReadString('\n'); err != nil || !strings.Contains(line, "404") {
		t.Errorf("got %q, %v", line, err)
	}
}

func TestNoKeyFailsClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server, p, handler := w.door()
	handler.config = &Config{Repository: p.config.Repository, Tags: p.config.Tags}
	for _, path := range []string{"/infra/", "/infra", "/infra/status", "/infra/rollback", "/infra//status", "/infra/" + testKey, "/infra//"} {
		response, err := http.Post(server.URL+path, "application/json", strings.NewReader(hookBody(testRepository, "latest")))
		must(t, err)
		response.Body.Close()
		if response.StatusCode != 404 {
			t.Errorf("%s answers %d", path, response.StatusCode)
		}
	}
	if len(p.queue.Waiting()) > 0 {
		t.Error("something was queued")
	}
}

func TestPanicDoesNotTell(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server, _, handler := w.door()
	handler.queue = nil // whatever may break
	response, err := http.Post(server.URL+"/infra/"+testKey, "application/json", strings.NewReader(hookBody(testRepository, "latest")))
	must(t, err)
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	if response.StatusCode != 500 || strings.Contains(string(text), "nil") {
		t.Errorf("got %d %s", response.StatusCode, text)
	}
	if logged := w.log.String(); !strings.Contains(logged, `"msg":"panic"`) || strings.Contains(logged, testKey) {
		t.Error(logged)
	}
}

func TestWrongKeysDoNotFillTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server, _, _ := w.door()
	for range 200 {
		response, err := http.Get(server.URL + "/infra/guess")
		must(t, err)
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if response.StatusCode != 404 {
			t.Fatalf("got %d", response.StatusCode)
		}
	}
	if lines := strings.Count(w.log.String(), "requests without a key"); lines != 1 {
		t.Errorf("%d lines", lines)
	}
	request, _ := http.NewRequest("POST", server.URL+"/infra/"+testKey, strings.NewReader(hookBody(testRepository, "latest")))
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Forwarded-For", "203.0.113.7")
	if response, err := http.DefaultClient.Do(request); err != nil || response.StatusCode != 202 {
		t.Error("the right key of another client is refused")
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installed(oldDigest)
	server, p, _ := w.door()
	p.deploy(TriggerHook)
	response, err := admin("GET", server.URL, "status")
	must(t, err)
	defer response.Body.Close()
	var status Status
	must(t, json.NewDecoder(response.Body).Decode(&status))
	if status.Good.Digest != newDigest || status.Previous.Digest != oldDigest || len(status.History) != 1 || status.LastLook.Result != Deployed || status.Repository != testRepository {
		t.Errorf("got %+v", status)
	}
	if response.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", response.Header)
	}
	post, err := admin("POST", server.URL, "status")
	must(t, err)
	post.Body.Close()
	if post.StatusCode != 405 || post.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST answers %d %v", post.StatusCode, post.Header)
	}
}

func TestRollbackRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installed(oldDigest)
	server, p, _ := w.door()
	ask := func(method string) int {
		response, err := admin(method, server.URL, "rollback")
		must(t, err)
		response.Body.Close()
		return response.StatusCode
	}
	if code := ask("POST"); code != 409 {
		t.Errorf("with nothing to go back to: %d", code)
	}
	p.deploy(TriggerHook)
	if code := ask("GET"); code != 405 {
		t.Errorf("GET: %d", code)
	}
	if code := ask("POST"); code != 202 || len(p.queue.Waiting()) != 1 {
		t.Errorf("POST: %d, %+v", code, p.queue.Waiting())
	}
}

func TestRetryRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installed(oldDigest)
	w.answer(newDigest, saying(500, "no network yet"))
	server, p, _ := w.door()
	p.deploy(TriggerHook)
	w.answer(newDigest, nil)
	response, err := admin("POST", server.URL, "retry")
	must(t, err)
	response.Body.Close()
	if waiting := p.queue.Waiting(); response.StatusCode != 202 || len(waiting) != 1 || waiting[0].Trigger != TriggerRetry {
		t.Fatalf("%d, %+v", response.StatusCode, waiting)
	}
	if got := p.deploy(TriggerRetry); got.Result != Deployed {
		t.Errorf("got %+v", got)
	}
	w.expect(newDigest, newDigest)
}

// A client that sends its headers or body drop by drop is cut off.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, p, handler := w.door()
	server := newServer(handler, discardLog())
	if server.ReadHeaderTimeout == 0 || server.ReadTimeout == 0 || server.WriteTimeout == 0 || server.IdleTimeout == 0 {
		t.Fatal("a timeout is missing")
	}
	server.ReadHeaderTimeout, server.ReadTimeout = 100*time.Millisecond, 200*time.Millisecond
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	for _, beginning := range []string{"POST /infra/", "POST /infra/" + testKey + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{\"push_data\""} {
		connection, err := net.Dial("tcp", listener.Addr().String())
		must(t, err)
		fmt.Fprint(connection, beginning)
		must(t, connection.SetReadDeadline(time.Now().Add(10*time.Second)))
		if _, err := io.ReadAll(connection); err != nil {
			t.Errorf("not cut off: %v", err)
		}
		connection.Close()
	}
	if len(p.queue.Waiting()) > 0 {
		t.Error("half a body was taken")
	}
}
