package main

import (
	"context"
	"testing"
	"time"
)

func TestBurstIsOneRequest(t *testing.T) {
	t.Parallel()
	q := newQueue(20 * time.Millisecond)
	for range 1000 {
		q.Hook("latest")
	}
	q.Hook("v2")
	got, ok := q.Next(t.Context())
	if !ok || got.Hooks != 1001 || got.Tag != "v2" {
		t.Errorf("got %+v", got)
	}
	if len(q.Waiting()) != 0 {
		t.Errorf("left over: %+v", q.Waiting())
	}
}

// Times are given, not waited for.
func TestDebounce(t *testing.T) {
	t.Parallel()
	q := newQueue(time.Second)
	q.Hook("latest")
	now := q.deploy.Asked
	if request, wait := q.take(now.Add(900 * time.Millisecond)); request != nil || wait != 100*time.Millisecond {
		t.Errorf("too early: %+v, %s", request, wait)
	}
	q.Look(TriggerPoll, "latest") // does not cut the wait short, and does not take the hook's place
	if request, _ := q.take(now.Add(900 * time.Millisecond)); request != nil {
		t.Errorf("a poll cut the wait short: %+v", request)
	}
	if request, _ := q.take(now.Add(time.Second)); request == nil || request.Trigger != TriggerHook {
		t.Errorf("not ripe: %+v", request)
	}
}

func TestEndlessHooksDoNotHoldARolloutOff(t *testing.T) {
	t.Parallel()
	q := newQueue(time.Second)
	q.Hook("latest")
	first := q.deploy.first
	q.Hook("latest")
	q.deploy.Asked = first.Add(time.Hour)
	if request, _ := q.take(first.Add(maxDebounce * time.Second)); request == nil {
		t.Error("it waits for ever")
	}
}

func TestUrgentFirst(t *testing.T) {
	t.Parallel()
	q := newQueue(0)
	q.Hook("latest")
	q.Restore()
	q.Rollback()
	for _, want := range []Trigger{TriggerRollback, TriggerRestore, TriggerHook} {
		if got, ok := q.Next(t.Context()); !ok || got.Trigger != want {
			t.Errorf("got %+v, want %s", got, want)
		}
	}
}

func TestHookReplacesALook(t *testing.T) {
	t.Parallel()
	q := newQueue(0)
	q.Look(TriggerPoll, "latest")
	q.Hook("v2")
	if got, _ := q.Next(t.Context()); got.Trigger != TriggerHook || got.Tag != "v2" || got.Hooks != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestNextEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, ok := newQueue(0).Next(ctx); ok {
		t.Error("a request out of nothing")
	}
}
