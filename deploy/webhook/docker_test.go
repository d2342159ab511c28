package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTimeoutKillsTheWholeGroup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env["WEBHOOK_UP_TIMEOUT"] = "1s"
	w.plan(map[string]string{"up": "hang"})
	begun := time.Now()
	err := newDocker(w.config(), os.Environ()).Up(t.Context(), newDigest)
	if err == nil || !strings.Contains(err.Error(), "docker compose up took longer than 2s") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
	var parent, child int
	if _, err := fmt.Sscan(w.read("bin/pids"), &parent, &child); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both processes gone", func() bool { return !alive(parent) && !alive(child) })
}

func TestCommandsSeeNoneOfOurSettings(t *testing.T) {
	t.Parallel()
	got := commandEnviron([]string{"PATH=/bin", "DOCKER_HOST=unix:///x", "WEBHOOK_DEPLOY_KEY_FILE=/k", "CRYPTO_RTI_IMAGE=evil", "COMPOSE_FILE=/evil.yml", "CREDENTIALS_DIRECTORY=/run/c", "COMPOSE_PROFILES=full"})
	if want := []string{"PATH=/bin", "DOCKER_HOST=unix:///x", "COMPOSE_PROFILES=full"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestNoShell(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	trap := filepath.Join(w.dir, "trap")
	_, err := newDocker(w.config(), os.Environ()).run(t.Context(), time.Minute, "", "", "pull", "--quiet", "x; touch "+trap+" $(touch "+trap+")")
	if _, statErr := os.Stat(trap); statErr == nil {
		t.Errorf("a shell was at work (%v)", err)
	}
}

func TestPruneKeepsToOurImages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{oldDigest, newDigest, badDigest, "<none>", "--force"} {
		w.file("bin/images/"+name, "x")
	}
	removed, err := newDocker(w.config(), os.Environ()).Prune(t.Context(), []string{newDigest})
	if err != nil || !slices.Equal(removed, []string{oldDigest, badDigest}) {
		t.Errorf("removed %q, %v", removed, err)
	}
	if want := []string{"image rm " + testRepository + "@" + oldDigest, "image rm " + testRepository + "@" + badDigest}; !slices.Equal(w.calls("image rm"), want) {
		t.Errorf("called %q", w.calls("image rm"))
	}
}

func TestAnotherRegistry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env["WEBHOOK_REGISTRY"] = "127.0.0.1:5000"
	if got, want := w.config().Image(newDigest), "127.0.0.1:5000/someone/crypto-rti@"+newDigest; got != want {
		t.Errorf("got %s", got)
	}
	err := newDocker(w.config(), os.Environ()).Pull(t.Context(), newDigest)
	if err != nil || !slices.Contains(w.calls("pull"), "pull --quiet 127.0.0.1:5000/someone/crypto-rti@"+newDigest) {
		t.Errorf("got %v, called %q", err, w.calls("pull"))
	}
}

func TestAnImageThatIsHereIsNotPulled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installed(oldDigest)
	if err := newDocker(w.config(), os.Environ()).Pull(t.Context(), oldDigest); err != nil || len(w.calls("pull")) > 0 {
		t.Errorf("got %v, called %q", err, w.calls("pull"))
	}
}

func TestStoppedCommandsSaySo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newDocker(w.config(), os.Environ()).Up(ctx, newDigest); err == nil || !strings.Contains(err.Error(), errStopped.Error()) {
		t.Errorf("got %v", err)
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	t.Parallel()
	for _, chunk := range []int{1, 3, 7, 100} {
		kept := &tail{limit: 10}
		for part := range slices.Chunk([]byte(strings.Repeat("x", 100)+"0123456789"), chunk) {
			if n, err := kept.Write(part); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
		}
		if got := kept.String(); got != "0123456789" {
			t.Errorf("chunks of %d keep %q", chunk, got)
		}
	}
}
