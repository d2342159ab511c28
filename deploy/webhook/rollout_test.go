package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestFirstInstallation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.open()
	if got := p.deploy(TriggerStart); got.Result != Deployed {
		t.Fatalf("got %+v", got)
	}
	if state := w.expect(newDigest, newDigest); state.Previous != nil {
		t.Errorf("previous is %+v", state.Previous)
	}
	if got := p.deploy(TriggerHook); got.Result != Unchanged {
		t.Errorf("the same again: %+v", got)
	}
	if calls := w.calls("up"); len(calls) != 1 || !strings.Contains(calls[0], "--env-file "+filepath.Join(w.dir, "compose/image.env")+" up --detach --wait") {
		t.Errorf("compose was called %q", calls)
	}
}

func TestRolloutReplacesAndPrunes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installed(oldDigest)
	w.file("compose/.env", "OTHER=1\n")
	p := w.open() // takes the running digest over
	if got := p.deploy(TriggerHook); got.Result != Deployed || got.From != oldDigest {
		t.Fatalf("got %+v", got)
	}
	w.push("latest", digestOf("d"))
	if got := p.deploy(TriggerPoll); got.Result != Deployed {
		t.Fatalf("got %+v", got)
	}
	state := w.expect(digestOf("d"), digestOf("d"))
	if state.Previous.Digest != newDigest {
		t.Errorf("previous is %+v", state.Previous)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "bin/images", oldDigest)); err == nil {
		t.Error("the image before the last good one is still there")
	}
	if _, err := os.Stat(filepath.Join(w.dir, "bin/images", newDigest)); err != nil {
		t.Error("the last good image is gone")
	}
	if call := w.calls("up")[0]; !strings.Contains(call, "--env-file "+filepath.Join(w.dir, "compose/.env")+" --env-file") {
		t.Errorf("the settings beside the compose file are not passed on: %q", call)
	}
}

func stall(out http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// Every fault of a new image, and the state it must leave: the old digest runs, is good, and the new one is not tried again.
func TestBadImageIsRolledBack(t *testing.T) {
	t.Parallel()
	price := func(current, predicted string) http.HandlerFunc {
		return saying(200, `{"prediction":{"coin":"BTC-USD","current_price":`+current+`,"predicted_price":`+predicted+`}}`)
	}
	for name, c := range map[string]struct {
		plan    map[string]string
		service http.HandlerFunc
		step    Step
		reason  string
	}{
		"up fails":            {map[string]string{"up-" + badDigest: "unhealthy"}, nil, StepUp, "unhealthy"},
		"never healthy":       {map[string]string{"up-" + badDigest: "hang"}, nil, StepUp, "WEBHOOK_UP_TIMEOUT"},
		"not ready":           {nil, func(out http.ResponseWriter, _ *http.Request) { http.Error(out, "loading", 503) }, StepSmoke, "/health/ready answers 503: loading"},
		"forecast fails":      {nil, saying(500, "boom"), StepSmoke, "answers 500: boom"},
		"no JSON":             {nil, saying(200, "<html>hello</html>"), StepSmoke, "no forecast"},
		"another JSON":        {nil, saying(200, `{"forecast":1}`), StepSmoke, "no prediction"},
		"NaN":                 {nil, price("60000", "NaN"), StepSmoke, "no forecast"},
		"number as text":      {nil, price("60000", `"60001"`), StepSmoke, "no forecast"},
		"null":                {nil, price("60000", "null"), StepSmoke, "no prediction"},
		"infinite":            {nil, price("60000", "1e999"), StepSmoke, "no forecast"},
		"zero":                {nil, price("60000", "0"), StepSmoke, "above 0"},
		"negative":            {nil, price("60000", "-5"), StepSmoke, "above 0"},
		"out of proportion":   {nil, price("60000", "1e12"), StepSmoke, "no hour moves"},
		"another coin":        {nil, saying(200, `{"prediction":{"coin":"ETH-USD","current_price":1,"predicted_price":1}}`), StepSmoke, "speaks of"},
		"two documents":       {nil, saying(200, `{"prediction":{"coin":"BTC-USD","current_price":1,"predicted_price":1}}{}`), StepSmoke, "no forecast"},
		"stalls":              {nil, stall, StepSmoke, "does not answer"},
		"redirects elsewhere": {nil, func(out http.ResponseWriter, r *http.Request) { http.Redirect(out, r, "/other", 302) }, StepSmoke, "302"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.installed(oldDigest)
			w.push("latest", badDigest)
			w.plan(c.plan)
			w.answer(badDigest, c.service)
			if c.plan["up-"+badDigest] == "hang" {
				w.env["WEBHOOK_UP_TIMEOUT"] = "2s"
			}
			p := w.open()
			got := p.deploy(TriggerHook)
			if got.Result != RolledBack || !strings.HasPrefix(got.Reason, string(c.step)+": ") || !strings.Contains(got.Reason, c.reason) {
				t.Errorf("got %+v", got)
			}
			state := w.expect(oldDigest, oldDigest)
			if state.rejection(badDigest) == nil || state.Trouble != nil {
				t.Errorf("state %+v", state)
			}
			if _, err := os.Stat(filepath.Join(w.dir, "bin/images", oldDigest)); err != nil {
				t.Error("the good image was pruned")
			}
			ups := len(w.calls("up"))
			if again := p.deploy(TriggerPoll); again.Result != Skipped || len(w.calls("up")) != ups {
				t.Errorf("a poll tries a rejected digest again: %+v", again)
			}
		})
	}
}

// Faults before the service is touched leave everything as it was, and the digest is not blamed.
func TestFaultBeforeTheServiceIsTouched(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		plan   map[string]string
		reason string
	}{
		"pull fails":     {map[string]string{"pull": "no space left on device"}, "no space left on device"},
		"docker away":    {map[string]string{"pull": "Cannot connect to the Docker daemon", "inspect": "Cannot connect", "up": "Cannot connect"}, "Cannot connect"},
		"pull hangs":     {map[string]string{"pull": "hang"}, "WEBHOOK_PULL_TIMEOUT"},
		"another digest": {map[string]string{"pull": "mismatch"}, "digest does not match"},
		"compose broken": {map[string]string{"config": "yaml: line 3"}, "yaml: line 3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.installed(oldDigest)
			w.plan(c.plan)
			if c.plan["pull"] == "hang" {
				w.env["WEBHOOK_PULL_TIMEOUT"] = "1s"
			}
			p := w.open()
			got := p.deploy(TriggerPoll)
			if got.Result != Failed || got.Step != StepPull || !strings.Contains(got.Reason, c.reason) {
				t.Errorf("got %+v", got)
			}
			state := w.expect(oldDigest, oldDigest)
			if len(state.Rejected) > 0 || len(w.calls("up")) > 0 {
				t.Errorf("state %+v, calls %q", state, w.calls("up"))
			}
			w.plan(nil)
			p.config.PullTimeout = time.Minute
			if name == "another digest" {
				must(t, os.Remove(filepath.Join(w.dir, "bin/images", newDigest)))
			}
			if got := p.deploy(TriggerPoll); got.Result != Deployed {
				t.Errorf("the next poll does not make up for it: %+v", got)
			}
			w.expect(newDigest, newDigest)
		})
	}
}

func TestComposeFileThatIgnoresTheImage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installed(oldDigest)
	p := w.open()
	must(t, p.rollout.docker.UsesImage(t.Context(), newDigest))
	w.plan(map[string]string{"config": "fixed"})
	if err := p.rollout.docker.UsesImage(t.Context(), newDigest); err == nil || !strings.Contains(err.Error(), "image: ${CRYPTO_RTI_IMAGE}") {
		t.Errorf("got %v", err)
	}
}

func TestDockerIsNotInstalled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installed(oldDigest)
	p := w.open()
	must(t, os.Remove(filepath.Join(w.dir, "bin/docker")))
	if got := p.deploy(TriggerHook); got.Result != Failed || !strings.Contains(got.Reason, "WEBHOOK_DOCKER") {
		t.Errorf("got %+v", got)
	}
	w.expect(oldDigest, oldDigest)
}

func TestHubFaultsLeaveEverythingAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installed(oldDigest)
	w.hub = func(out http.ResponseWriter, _ *http.Request) bool { out.WriteHeader(502); return true }
	p := w.open()
	for range 3 {
		if got := p.deploy(TriggerPoll); got.Result != Failed || got.Step != StepHub {
			t.Errorf("got %+v", got)
		}
	}
	state := w.expect(oldDigest, oldDigest)
	if len(state.History) != 1 || state.History[0].Times != 3 {
		t.Errorf("history %+v", state.History)
	}
	if w.read("bin/calls") != "" {
		t.Errorf("docker was called: %s", w.read("bin/calls"))
	}
}

func TestRollbackFailsToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installed(oldDigest)
	w.push("latest", badDigest)
	w.plan(map[string]string{"up": "port is already allocated"})
	p := w.open()
	if got := p.deploy(TriggerHook); got.Result != RollbackFailed || !strings.Contains(got.Reason, "then going back failed") {
		t.Fatalf("got %+v", got)
	}
	state := p.store.Snapshot()
	if state.Trouble == nil || state.Good.Digest != oldDigest || !state.rejection(badDigest).Doubt || state.Attempt != nil {
		t.Errorf("state %+v", state)
	}
	if got := p.deploy(TriggerHook); got.Result != Skipped {
		t.Errorf("the rest of the burst: %+v", got)
	}
	// A poll makes no experiment meanwhile; it tries to restore.
	if got := p.deploy(TriggerPoll); got.Result != RollbackFailed || got.Digest != oldDigest {
		t.Errorf("got %+v", got)
	}
	w.plan(nil)
	p = w.open() // the trouble survives a restart
	if got := p.rollout.Restore(context.Background(), Request{Trigger: TriggerRestore}); got.Result != Restored {
		t.Errorf("got %+v", got)
	}
	if state := w.expect(oldDigest, oldDigest); state.Trouble != nil || len(state.Rejected) > 0 {
		t.Errorf("state %+v", state)
	}
	if got := p.deploy(TriggerPoll); got.Result != Deployed { // it was not the image's fault
		t.Errorf("got %+v", got)
	}
}

func TestWorkerKeepsTryingToRestore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installed(oldDigest)
	w.push("latest", badDigest)
	w.plan(map[string]string{"up": "port is already allocated"})
	p := w.open()
	p.worker.restorePause = 50 * time.Millisecond
	stop, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { p.worker.Run(context.Background(), stop); close(done) }()
	eventually(t, "a failed rollback", func() bool { return p.store.Snapshot().Trouble != nil })
	w.plan(nil)
	eventually(t, "the good digest back", func() bool { return p.store.Snapshot().Trouble == nil })
	cancel()
	<-done
	w.expect(oldDigest, oldDigest)
}

func TestFirstInstallationFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plan(map[string]string{"up": "unhealthy"})
	p := w.open()
	if got := p.deploy(TriggerStart); got.Result != Failed || !strings.Contains(got.Reason, "no earlier digest") {
		t.Errorf("got %+v", got)
	}
	if state := p.store.Snapshot(); state.Good != nil || state.Trouble == nil || state.Attempt != nil {
		t.Errorf("state %+v", state)
	}
	w.plan(nil)
	if got := p.deploy(TriggerPoll); got.Result != Deployed {
		t.Errorf("got %+v", got)
	}
	if state := w.expect(newDigest, newDigest); state.Trouble != nil {
		t.Errorf("state %+v", state)
	}
}

func TestPruneFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installed(oldDigest)
	w.file("bin/images/"+digestOf("e"), testRepository+"@"+digestOf("e"))
	w.plan(map[string]string{"rm": "image is in use"})
	p := w.open()
	if got := p.deploy(TriggerHook); got.Result != Deployed {
		t.Errorf("got %+v", got)
	}
	w.expect(newDigest, newDigest)
	if !strings.Contains(w.log.String(), "image is in use") {
		t.Error("nobody is told")
	}
}

func TestHookTriesARejectedDigestAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installed(oldDigest)
	w.answer(newDigest, saying(500, "no network yet"))
	p := w.open()
	if got := p.deploy(TriggerHook); got.Result != RolledBack {
		t.Fatalf("got %+v", got)
	}
	w.answer(newDigest, nil)
	if got := p.deploy(TriggerHook); got.Result != Skipped {
		t.Errorf("a hook soon after the verdict: %+v", got)
	}
	p.rollout.secondChance = 0
	if got := p.deploy(TriggerPoll); got.Result != Skipped {
		t.Errorf("a poll: %+v", got)
	}
	if got := p.deploy(TriggerHook); got.Result != Deployed {
		t.Errorf("a hook long after the verdict: %+v", got)
	}
	if state := w.expect(newDigest, newDigest); len(state.Rejected) > 0 {
		t.Errorf("state %+v", state)
	}
}

func TestRollbackByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installed(oldDigest)
	p := w.open()
	request := Request{Trigger: TriggerRollback}
	if got := p.rollout.Back(t.Context(), t.Context(), request); got.Result != Failed {
		t.Errorf("nothing to go back to: %+v", got)
	}
	p.deploy(TriggerHook)
	if got := p.rollout.Back(t.Context(), t.Context(), request); got.Result != Deployed {
		t.Errorf("got %+v", got)
	}
	w.expect(oldDigest, oldDigest)
	if got := p.deploy(TriggerPoll); got.Result != Skipped {
		t.Errorf("a poll undoes the rollback: %+v", got)
	}
	if got := p.rollout.Back(t.Context(), t.Context(), request); got.Result != Deployed {
		t.Errorf("back again: %+v", got)
	}
	w.expect(newDigest, newDigest)
}

// full is a disk that takes some writes and no more.
func full(writes int) fileWriter {
	return func(path string, data []byte, mode os.FileMode) error {
		if writes--; writes < 0 {
			return &os.PathError{Op: "write", Path: path, Err: syscall.ENOSPC}
		}
		return writeAtomic(path, data, mode)
	}
}

// A disk that fills up at any write must leave the old or the new digest running, and a restart must know which.
func TestDiskFullAtEveryWrite(t *testing.T) {
	t.Parallel()
	for _, target := range []string{newDigest, badDigest} {
		for writes := range 7 {
			t.Run(target[7:8]+string(rune('0'+writes)), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.installed(oldDigest)
				w.push("latest", target)
				w.answer(badDigest, saying(500, "boom"))
				p := w.open()
				disk := full(writes)
				p.store.write, p.rollout.write = disk, disk
				got := p.deploy(TriggerHook)
				running := oldDigest
				if got.Result == Deployed {
					running = newDigest
				}
				if target == badDigest && got.Result == Deployed || got.Result == RollbackFailed {
					t.Errorf("got %+v", got)
				}
				if w.read("bin/running") != testRepository+"@"+running {
					t.Errorf("%s runs after %+v", w.read("bin/running"), got)
				}
				// With free space again. Once the journal says that the service may run the new image, a restart finishes the
				// job; the image file that could not be written is written then.
				if target == newDigest && writes >= 2 {
					running = newDigest
				}
				p = w.open()
				p.rollout.Recover(t.Context(), t.Context())
				w.expect(running, running)
			})
		}
	}
}

func TestStateUnwritableTouchesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installed(oldDigest)
	p := w.open()
	must(t, os.RemoveAll(filepath.Join(w.dir, "state"))) // really unwritable, also to root
	got := p.deploy(TriggerHook)
	if got.Result != Failed || got.Step != StepState || !strings.Contains(got.Reason, "WEBHOOK_STATE_DIR") {
		t.Errorf("got %+v", got)
	}
	if w.read("bin/calls") != "" {
		t.Errorf("docker was called: %s", w.read("bin/calls"))
	}
	if p.store.Unsaved() == nil {
		t.Error("the status would not show it")
	}
	must(t, os.Mkdir(filepath.Join(w.dir, "state"), 0o700))
	must(t, p.store.Flush())
	w.expect(oldDigest, oldDigest)
}

// Recover, from every step that a journal can show.
func TestRecoverFromEveryStep(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		step        Step
		interrupted int
		target      string
		want        string
		result      Result
	}{
		"pull is dropped":                 {StepPull, 0, newDigest, oldDigest, Abandoned},
		"up is finished":                  {StepUp, 0, newDigest, newDigest, Deployed},
		"smoke is finished":               {StepSmoke, 0, newDigest, newDigest, Deployed},
		"a bad one is rolled back":        {StepSmoke, 0, badDigest, oldDigest, RolledBack},
		"the second time is rolled back":  {StepUp, 1, newDigest, oldDigest, RolledBack},
		"a rollback is finished":          {StepRollback, 0, newDigest, oldDigest, RolledBack},
		"a rollback is finished (2 cuts)": {StepRollback, 1, badDigest, oldDigest, RolledBack},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.installed(oldDigest)
			w.answer(badDigest, saying(500, "boom"))
			p := w.open()
			if c.step != StepPull {
				w.file("bin/running", testRepository+"@"+c.target)
				w.file("compose/image.env", imageVariable+"="+testRepository+"@"+c.target+"\n")
			}
			must(t, p.store.Commit(func(s *State) {
				s.Attempt = &Attempt{ID: 7, Trigger: TriggerHook, Step: c.step, Interrupted: c.interrupted, Started: time.Now().UTC(),
					Target: Release{Digest: c.target, Tag: "latest"}, From: copyOf(s.Good), Reason: "it was bad"}
			}))
			p = w.open()
			p.rollout.Recover(t.Context(), t.Context())
			state := w.expect(c.want, c.want)
			if last := state.History[len(state.History)-1]; last.Result != c.result || last.ID != 7 {
				t.Errorf("history ends with %+v", last)
			}
		})
	}
}

func TestStopDuringPullAbandons(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installed(oldDigest)
	w.env["WEBHOOK_PULL_TIMEOUT"] = "1m"
	w.plan(map[string]string{"pull": "hang"})
	p := w.open()
	stop, cancel := context.WithCancel(context.Background())
	go func() {
		for w.read("bin/pids") == "" {
			time.Sleep(5 * time.Millisecond)
		}
		cancel()
	}()
	got := p.rollout.Deploy(context.Background(), stop, Request{Trigger: TriggerHook, Tag: "latest", Asked: time.Now()})
	if got.Result != Abandoned {
		t.Errorf("got %+v", got)
	}
	w.expect(oldDigest, oldDigest)
}

func TestKillDuringUpLeavesTheJournal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installed(oldDigest)
	w.env["WEBHOOK_UP_TIMEOUT"] = "1m"
	w.plan(map[string]string{"up": "hang"})
	p := w.open()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for w.read("bin/pids") == "" {
			time.Sleep(5 * time.Millisecond)
		}
		cancel()
	}()
	got := p.rollout.Deploy(ctx, ctx, Request{Trigger: TriggerHook, Tag: "latest", Asked: time.Now()})
	if got.Result != Interrupted || p.store.Snapshot().Attempt == nil {
		t.Errorf("got %+v", got)
	}
	w.plan(nil)
	p = w.open()
	p.rollout.Recover(t.Context(), t.Context())
	w.expect(newDigest, newDigest)
}

func TestAdoptRefusesForeignImages(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "CRYPTO_RTI_IMAGE=someone/crypto-rti:latest\n", "CRYPTO_RTI_IMAGE=other/thing@" + oldDigest + "\n",
		"CRYPTO_RTI_IMAGE=" + testRepository + "@sha256:$(reboot)\n", "X=" + testRepository + "@" + oldDigest} {
		w := newWorld(t)
		w.file("compose/image.env", text)
		if good := w.open().store.Snapshot().Good; good != nil {
			t.Errorf("%q was believed: %+v", text, good)
		}
	}
}
