package main

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Worker takes up requests one after the other. It is the only one that touches docker, so two rollouts never meet.
type Worker struct {
	config  *Config
	queue   *Queue
	rollout *Rollout
	store   *Store
	log     *slog.Logger

	lookAgain    time.Duration // after a hook that showed nothing new: the hub's API may lag behind its hooks
	restorePause time.Duration // before the first new try of a failed rollback; doubles
}

const maxRestorePause = 15 * time.Minute

func newWorker(config *Config, queue *Queue, rollout *Rollout, store *Store, log *slog.Logger) *Worker {
	return &Worker{config: config, queue: queue, rollout: rollout, store: store, log: log, lookAgain: time.Minute, restorePause: time.Minute}
}

// Run works until stop ends. What is under way then goes on until it is done, or until ctx ends too.
func (w *Worker) Run(ctx, stop context.Context) {
	w.rollout.Recover(ctx, stop)
	if w.store.Snapshot().Trouble != nil {
		w.queue.Restore()
	}
	// A hook that came while nobody listened is lost; one look at the hub makes up for all of them.
	w.queue.Look(TriggerStart, w.tag())
	go w.poll(stop)
	pause := w.restorePause
	again := time.AfterFunc(0, func() {}) // one timer, however many requests end in trouble
	for {
		request, ok := w.queue.Next(stop)
		if !ok {
			return
		}
		outcome := w.handle(ctx, stop, request)
		if outcome.Result == Unchanged && request.Trigger == TriggerHook {
			time.AfterFunc(w.lookAgain, func() { w.queue.Look(TriggerPoll, request.Tag) })
		}
		again.Stop()
		if state := w.store.Snapshot(); state.Trouble != nil && state.Good != nil {
			again = time.AfterFunc(pause, w.queue.Restore)
			pause = min(2*pause, maxRestorePause)
		} else {
			pause = w.restorePause
		}
	}
}

func (w *Worker) handle(ctx, stop context.Context, request Request) Outcome {
	if err := w.store.Flush(); err != nil {
		w.log.Error("state not written", "error", err)
	}
	switch request.Trigger {
	case TriggerRollback:
		return w.rollout.Back(ctx, stop, request)
	case TriggerRestore:
		return w.rollout.Restore(ctx, request)
	default:
		return w.rollout.Deploy(ctx, stop, request)
	}
}

// poll asks the hub now and then. The jitter keeps a fleet from asking at the same second.
func (w *Worker) poll(stop context.Context) {
	if w.config.PollInterval == 0 {
		return
	}
	for {
		select {
		case <-stop.Done():
			return
		case <-time.After(w.config.PollInterval + rand.N(w.config.PollInterval/10+1)):
			w.queue.Look(TriggerPoll, w.tag())
		}
	}
}

// tag is the one to look at without a hook: what runs now, or the first allowed one.
func (w *Worker) tag() string {
	if good := w.store.Snapshot().Good; good != nil {
		for _, tag := range w.config.Tags {
			if tag == good.Tag {
				return tag
			}
		}
	}
	return w.config.Tags[0]
}
