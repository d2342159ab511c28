package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestStateSurvives(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.json")
	store, fresh, _, err := openStore(path, writeAtomic)
	must(t, err)
	if !fresh {
		t.Error("nothing is there yet")
	}
	must(t, store.Commit(func(s *State) {
		s.Good = &Release{Digest: oldDigest, Tag: "latest", Since: time.Now().UTC().Round(0)}
		s.Attempt = &Attempt{ID: 3, Target: Release{Digest: newDigest, Tag: "latest"}, From: copyOf(s.Good), Step: StepUp}
		s.reject(badDigest, "boom", false)
	}))
	again, fresh, corrupt, err := openStore(path, writeAtomic)
	must(t, err)
	want, _ := json.Marshal(store.Snapshot())
	got, _ := json.Marshal(again.Snapshot())
	if fresh || corrupt != nil || string(got) != string(want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestCommitIsAllOrNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.json")
	store, _, _, err := openStore(path, full(1))
	must(t, err)
	must(t, store.Commit(func(s *State) { s.LastID = 1 }))
	if err := store.Commit(func(s *State) { s.LastID = 2 }); !errors.Is(err, syscall.ENOSPC) || store.Snapshot().LastID != 1 {
		t.Errorf("got %v, %d", err, store.Snapshot().LastID)
	}
	if err := store.Record(func(s *State) { s.LastID = 3 }); err == nil || store.Snapshot().LastID != 3 || store.Unsaved() == nil {
		t.Errorf("got %v, %d", err, store.Snapshot().LastID)
	}
	store.write = writeAtomic
	must(t, store.Flush())
	if text, _ := os.ReadFile(path); !strings.Contains(string(text), `"last_id": 3`) || store.Unsaved() != nil {
		t.Errorf("on disk %s", text)
	}
}

func TestSnapshotIsACopy(t *testing.T) {
	t.Parallel()
	store, _, _, err := openStore(filepath.Join(t.TempDir(), "s"), writeAtomic)
	must(t, err)
	must(t, store.Commit(func(s *State) {
		s.Good = &Release{Digest: oldDigest, Tag: "latest"}
		s.Attempt = &Attempt{From: &Release{Digest: oldDigest, Tag: "latest"}, Target: Release{Digest: newDigest, Tag: "latest"}}
		s.Trouble = &Trouble{Reason: "x"}
		s.remember(Outcome{ID: 1})
		s.reject(badDigest, "x", false)
	}))
	before := store.Snapshot()
	other := store.Snapshot()
	other.Good.Digest, other.Attempt.From.Digest, other.Attempt.Step, other.Trouble.Reason = "", "", "x", "y"
	other.History[0].ID, other.Rejected[0].Digest = 9, ""
	if !reflect.DeepEqual(before, store.Snapshot()) {
		t.Error("the store changed with a snapshot")
	}
}

func TestDamagedStateIsSetAside(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "{", "null", "[]", `{"format":1,"good":{"digest":"sha256:x","tag":"latest"}}`, `{"format":1,"good":{"digest":"` + oldDigest + `","tag":"--help"}}`, strings.Repeat("\x00", 4096)} {
		w := newWorld(t)
		w.installed(oldDigest)
		w.file("state/state.json", text)
		p := w.open()
		if good := p.store.Snapshot().Good; good == nil || good.Digest != oldDigest {
			t.Errorf("%q: good is %+v", text, good)
		}
		if w.read("state/state.json.corrupt") != text || !strings.Contains(w.log.String(), "state unreadable") {
			t.Errorf("%q was not kept, or nobody was told", text)
		}
	}
}

func TestNewerStateIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.file("state/state.json", `{"format":2}`)
	if _, _, _, err := openStore(filepath.Join(w.dir, "state/state.json"), writeAtomic); err == nil || !strings.Contains(err.Error(), "install the newer one") {
		t.Errorf("got %v", err)
	}
	if err := w.config().checkMachine(); err == nil || !strings.Contains(err.Error(), "install the newer one") {
		t.Errorf("--check says %v", err)
	}
}

func TestHistoryIsBoundedAndCounts(t *testing.T) {
	t.Parallel()
	var s State
	for range 5 {
		s.remember(Outcome{Trigger: TriggerPoll, Result: Failed, Step: StepHub})
	}
	if len(s.History) != 1 || s.History[0].Times != 5 {
		t.Errorf("got %+v", s.History)
	}
	for i := range 200 {
		s.remember(Outcome{ID: i, Trigger: TriggerHook, Result: Deployed, Digest: digestOf(string(rune('a' + i%6)))})
		s.reject(digestOf(string(rune('a'+i%6)))+string(rune('A'+i%60)), "x", false)
	}
	if len(s.History) != historyLength || s.History[historyLength-1].ID != 199 || len(s.Rejected) != rejectedLength {
		t.Errorf("%d outcomes, %d rejections", len(s.History), len(s.Rejected))
	}
}

func TestWriteAtomic(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, victim := filepath.Join(dir, "file"), filepath.Join(dir, "victim")
	must(t, os.WriteFile(victim, []byte("precious"), 0o600))
	must(t, os.Symlink(victim, path+".tmp")) // somebody lies in wait
	must(t, writeAtomic(path, []byte("one"), 0o644))
	must(t, writeAtomic(path, []byte("two"), 0o644))
	text, _ := os.ReadFile(path)
	precious, _ := os.ReadFile(victim)
	if string(text) != "two" || string(precious) != "precious" {
		t.Errorf("got %q, %q", text, precious)
	}
	must(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "folder", "x"), nil, 0o600))
	if err := writeAtomic(filepath.Join(dir, "folder"), []byte("x"), 0o600); err == nil {
		t.Error("a directory was replaced")
	}
	if _, err := os.Stat(filepath.Join(dir, "folder.tmp")); err == nil {
		t.Error("a temporary file is left over")
	}
}

func TestOneServerPerState(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	first, err := lockFile(path)
	must(t, err)
	if _, err := lockFile(path); err == nil || !strings.Contains(err.Error(), "another webhook server") {
		t.Errorf("got %v", err)
	}
	must(t, first.Close())
	second, err := lockFile(path)
	must(t, err)
	must(t, second.Close())
}
