package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestAThousandHooksAreAtMostTwoRollouts(t *testing.T) {
	t.Parallel()
	for name, digest := range map[string]string{"good": newDigest, "bad": badDigest} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.installed(oldDigest)
			w.push("latest", oldDigest) // nothing to do at the start
			w.answer(badDigest, saying(500, "boom"))
			s := w.start()
			eventually(t, "the look at the start", func() bool { return s.status(t).LastLook != nil })
			w.push("latest", digest)
			var group sync.WaitGroup
			for range 10 {
				group.Add(1)
				go func() {
					defer group.Done()
					for range 100 {
						if code := s.post(t, hookBody(testRepository, "latest")); code != 202 {
							t.Errorf("a hook was answered %d", code)
						}
					}
				}()
			}
			group.Wait()
			eventually(t, "quiet", func() bool {
				status := s.status(t)
				return len(status.Waiting) == 0 && status.Attempt == nil && status.LastLook.Trigger == TriggerHook
			})
			must(t, s.halt())
			want := map[string]string{newDigest: newDigest, badDigest: oldDigest}[digest]
			state := w.expect(want, want)
			rollouts := 0
			for _, outcome := range state.History {
				rollouts += max(1, outcome.Times)
			}
			if rollouts < 1 || rollouts > 2 {
				t.Errorf("%d rollouts: %+v", rollouts, state.History)
			}
		})
	}
}

func TestAPushFromHookToService(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installed(oldDigest)
	w.push("latest", oldDigest)
	s := w.start()
	w.push("latest", newDigest)
	if code := s.post(t, hookBody(testRepository, "latest")); code != 202 {
		t.Fatalf("got %d", code)
	}
	eventually(t, "the new digest", func() bool { return s.status(t).Good.Digest == newDigest })
	must(t, s.halt())
	w.expect(newDigest, newDigest)
	if strings.Contains(w.log.String(), testKey) {
		t.Error("the key is in the log")
	}
	for line := range strings.Lines(w.log.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
}

func TestTwoTags(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env["WEBHOOK_TAGS"] = "latest, stable"
	w.push("latest", oldDigest)
	w.push("stable", newDigest)
	s := w.start()
	eventually(t, "the first tag on a fresh machine", func() bool { return s.status(t).Good != nil })
	if good := s.status(t).Good; good.Tag != "latest" {
		t.Errorf("good is %+v", good)
	}
	s.post(t, hookBody(testRepository, "latest"))
	s.post(t, hookBody(testRepository, "stable")) // the last one wins
	s.post(t, hookBody(testRepository, "sha-1"))  // not ours
	eventually(t, "the second tag", func() bool { return s.status(t).Good.Tag == "stable" })
	must(t, s.halt())
	w.expect(newDigest, newDigest)
	if tag := w.open().worker.tag(); tag != "stable" {
		t.Errorf("the poll would look at %s", tag)
	}
}

func TestALostHookIsFoundAtTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installed(oldDigest)
	s := w.start()
	eventually(t, "the new digest", func() bool { return s.status(t).Good.Digest == newDigest })
	if history := s.status(t).History; history[0].Trigger != TriggerStart {
		t.Errorf("history %+v", history)
	}
}

func TestALostHookIsFoundByThePoll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installed(oldDigest)
	w.push("latest", oldDigest)
	p := w.open()
	p.config.PollInterval = 30 * time.Millisecond // shorter than a setting may be
	done := make(chan struct{})
	go func() { p.worker.Run(t.Context(), t.Context()); close(done) }()
	t.Cleanup(func() { <-done })
	eventually(t, "the look at the start", func() bool { return p.rollout.LastLook() != nil })
	w.push("latest", newDigest)
	eventually(t, "the new digest", func() bool { return p.store.Snapshot().Good.Digest == newDigest })
	if history := p.store.Snapshot().History; history[0].Trigger != TriggerPoll {
		t.Errorf("history %+v", history)
	}
}

// The hub's API may lag behind its hooks; the worker looks once more.
func TestAHookBeforeTheHubKnows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installed(oldDigest)
	w.push("latest", oldDigest)
	p := w.open()
	p.worker.lookAgain = 300 * time.Millisecond
	done := make(chan struct{})
	go func() { p.worker.Run(t.Context(), t.Context()); close(done) }()
	t.Cleanup(func() { <-done })
	p.queue.Hook("latest")
	eventually(t, "the hook's own look", func() bool { last := p.rollout.LastLook(); return last != nil && last.Trigger == TriggerHook })
	w.push("latest", newDigest)
	eventually(t, "the new digest", func() bool { return p.store.Snapshot().Good.Digest == newDigest })
}

// process is the server as a process of its own, so that it can be killed.
type process struct {
	command *exec.Cmd
	url     string
}

func (w *world) spawn() *process {
	w.t.Helper()
	executable, err := os.Executable()
	must(w.t, err)
	command := exec.Command(executable)
	command.Env = append(append(os.Environ(), "RUN_AS_WEBHOOK=1"), w.environ()...)
	stderr, err := command.StderrPipe()
	must(w.t, err)
	must(w.t, command.Start())
	p := &process{command: command}
	w.t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	lines := bufio.NewScanner(stderr)
	for p.url == "" && lines.Scan() {
		var line struct{ Msg, Address string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
			p.url = "http://" + line.Address
		}
	}
	if p.url == "" {
		w.t.Fatal("the server did not start")
	}
	go io.Copy(w.log, stderr)
	return p
}

func (p *process) kill() {
	_ = p.command.Process.Kill()
	_ = p.command.Wait()
}

// kill -9 in the middle of pull, of up, and twice in a row.
func TestKillDuringARollout(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hang  string
		kills int
		want  string
	}{
		"pull":     {"pull", 1, newDigest},
		"up":       {"up-" + newDigest, 1, newDigest},
		"up twice": {"up-" + newDigest, 2, oldDigest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.installed(oldDigest)
			w.env["WEBHOOK_PULL_TIMEOUT"], w.env["WEBHOOK_UP_TIMEOUT"] = "1m", "1m"
			w.plan(map[string]string{c.hang: "hang"})
			for range c.kills {
				p := w.spawn()
				eventually(t, "docker at work", func() bool { return w.read("bin/pids") != "" })
				p.kill()
				var parent, child int
				fmt.Sscan(w.read("bin/pids"), &parent, &child)
				if runtime.GOOS == "linux" { // elsewhere the kernel offers no such thing
					eventually(t, "docker gone with its server", func() bool { return !alive(parent) })
				}
				_ = syscall.Kill(parent, syscall.SIGKILL)
				_ = syscall.Kill(child, syscall.SIGKILL)
				must(t, os.Remove(filepath.Join(w.dir, "bin/pids")))
			}
			w.plan(nil)
			w.spawn()
			eventually(t, "an end", func() bool {
				state, err := parseState([]byte(w.read("state/state.json")))
				return err == nil && state.Attempt == nil && state.Good.Digest == c.want && w.read("bin/running") == testRepository+"@"+c.want
			})
			w.expect(c.want, c.want)
		})
	}
}

func TestSIGTERMWaitsForARollout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installed(oldDigest)
	w.env["WEBHOOK_SMOKE_TIMEOUT"] = "20s"
	smoking, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.answer(newDigest, func(out http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(smoking) })
		<-release
		goodService(out, r)
	})
	p := w.spawn()
	<-smoking
	must(t, p.command.Process.Signal(syscall.SIGTERM))
	eventually(t, "a closed door", func() bool {
		connection, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
		if err == nil {
			connection.Close()
		}
		return err != nil
	})
	close(release)
	if err := p.command.Wait(); err != nil {
		t.Error(err)
	}
	w.expect(newDigest, newDigest)
}

func TestSIGTERMDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installed(oldDigest)
	w.env["WEBHOOK_SHUTDOWN_TIMEOUT"], w.env["WEBHOOK_UP_TIMEOUT"] = "100ms", "1m"
	w.plan(map[string]string{"up": "hang"})
	p := w.spawn()
	eventually(t, "docker at work", func() bool { return w.read("bin/pids") != "" })
	must(t, p.command.Process.Signal(syscall.SIGTERM))
	if err := p.command.Wait(); err != nil {
		t.Error(err)
	}
	state, err := parseState([]byte(w.read("state/state.json")))
	must(t, err)
	if state.Attempt == nil || state.Attempt.Step != StepUp || len(state.Rejected) > 0 {
		t.Errorf("the journal says %+v", state.Attempt)
	}
	w.plan(nil)
	s := w.start()
	eventually(t, "the rest of it", func() bool { return s.status(t).Good.Digest == newDigest })
	must(t, s.halt())
	w.expect(newDigest, newDigest)
}

func TestServerAndItsCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installed(oldDigest)
	s := w.start()
	eventually(t, "the new digest", func() bool { return s.status(t).Good.Digest == newDigest })
	if _, err := run1(w); err == nil || !strings.Contains(err.Error(), "another webhook server") {
		t.Errorf("a second server: %v", err)
	}
	address := strings.TrimPrefix(s.url, "http://")
	w.env["WEBHOOK_LISTEN"] = address
	out, err := run1(w, "--status")
	if err != nil || !strings.Contains(out, newDigest) {
		t.Errorf("--status: %v\n%s", err, out)
	}
	out, err = run1(w, "--rollback")
	if err != nil || !strings.Contains(out, oldDigest) {
		t.Errorf("--rollback: %v\n%s", err, out)
	}
	eventually(t, "the old digest", func() bool { return s.status(t).Good.Digest == oldDigest })
	if out, err = run1(w, "--retry"); err != nil || !strings.Contains(out, "queued") {
		t.Errorf("--retry: %v\n%s", err, out)
	}
	eventually(t, "the new digest once more", func() bool { return s.status(t).Good.Digest == newDigest })
	w.file("admin-key", strings.Repeat("another-key-", 4))
	if _, err = run1(w, "--status"); err == nil || !strings.Contains(err.Error(), "restart it after changing the key") {
		t.Errorf("another key: %v", err)
	}
	w.file("admin-key", testAdminKey)
	must(t, s.halt())
	_, err = run1(w, "--status")
	if err == nil || !strings.Contains(err.Error(), "no webhook server answers") || strings.Contains(err.Error(), testAdminKey) {
		t.Errorf("no server: %v", err)
	}
	w.env["WEBHOOK_STATE_DIR"] = filepath.Join(w.dir, "compose")
	listener, err := net.Listen("tcp", address)
	must(t, err)
	defer listener.Close()
	if _, err := run1(w); err == nil || !strings.Contains(err.Error(), "choose another") {
		t.Errorf("an address in use: %v", err)
	}
}
