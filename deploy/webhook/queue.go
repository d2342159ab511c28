package main

import (
	"context"
	"sync"
	"time"
)

// Trigger says who asked for a rollout.
type Trigger string

const (
	TriggerHook     Trigger = "hook"
	TriggerPoll     Trigger = "poll"
	TriggerStart    Trigger = "start"    // the look at the hub after a start
	TriggerRetry    Trigger = "retry"    // a person, by POST …/retry
	TriggerRollback Trigger = "rollback" // a person, by POST …/rollback
	TriggerRestore  Trigger = "restore"  // the last good digest is still down
)

// Request is a wish, not a job: what it leads to is decided when it is taken up.
type Request struct {
	Trigger Trigger   `json:"trigger"`
	Tag     string    `json:"tag,omitempty"`
	Hooks   int       `json:"hooks,omitempty"` // how many hooks it stands for
	Asked   time.Time `json:"asked"`           // the last of them
	first   time.Time
}

// Queue holds at most one request of each sort, so that a thousand hooks are one rollout now and at most one after it.
type Queue struct {
	debounce time.Duration
	wake     chan struct{}

	mu       sync.Mutex
	rollback *Request
	restore  *Request
	deploy   *Request
}

// maxDebounce bounds the wait in multiples of the quiet time: hooks that never stop must not hold a rollout off for ever.
const maxDebounce = 6

func newQueue(debounce time.Duration) *Queue {
	return &Queue{debounce: debounce, wake: make(chan struct{}, 1)}
}

// Hook asks for a tag. The last one asked for wins: it is what somebody pushed most recently.
func (q *Queue) Hook(tag string) {
	now := time.Now()
	q.mu.Lock()
	request := &Request{Trigger: TriggerHook, Tag: tag, Hooks: 1, Asked: now.UTC(), first: now}
	if waiting := q.deploy; waiting != nil && waiting.Trigger == TriggerHook {
		request.Hooks += waiting.Hooks
		request.first = waiting.first
	}
	q.deploy = request
	q.mu.Unlock()
	q.signal()
}

// Look asks to compare a tag with the hub, unless a deployment is waiting anyway.
func (q *Queue) Look(trigger Trigger, tag string) {
	q.mu.Lock()
	if q.deploy == nil {
		q.deploy = &Request{Trigger: trigger, Tag: tag, Asked: time.Now().UTC()}
	}
	q.mu.Unlock()
	q.signal()
}

// Rollback asks for the digest before the present one.
func (q *Queue) Rollback() {
	q.mu.Lock()
	q.rollback = &Request{Trigger: TriggerRollback, Asked: time.Now().UTC()}
	q.mu.Unlock()
	q.signal()
}

// Restore asks for the last good digest to be brought up again.
func (q *Queue) Restore() {
	q.mu.Lock()
	q.restore = &Request{Trigger: TriggerRestore, Asked: time.Now().UTC()}
	q.mu.Unlock()
	q.signal()
}

func (q *Queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default: // a signal is waiting already
	}
}

// Next waits for a request that is ripe and takes it. It answers false when ctx ends.
func (q *Queue) Next(ctx context.Context) (Request, bool) {
	for ctx.Err() == nil {
		request, wait := q.take(time.Now())
		if request != nil {
			return *request, true
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-q.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
	return Request{}, false
}

// take answers the most urgent ripe request, or how long there is to wait for one.
func (q *Queue) take(now time.Time) (*Request, time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, slot := range []**Request{&q.rollback, &q.restore} {
		if request := *slot; request != nil {
			*slot = nil
			return request, 0
		}
	}
	if q.deploy == nil {
		return nil, time.Hour
	}
	if wait := q.ripe(q.deploy).Sub(now); wait > 0 {
		return nil, wait
	}
	request := q.deploy
	q.deploy = nil
	return request, 0
}

func (q *Queue) ripe(request *Request) time.Time {
	if request.Trigger != TriggerHook {
		return request.Asked
	}
	quiet, limit := request.Asked.Add(q.debounce), request.first.Add(maxDebounce*q.debounce)
	if limit.Before(quiet) {
		return limit
	}
	return quiet
}

// Waiting lists what has not been taken up yet.
func (q *Queue) Waiting() []Request {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting := []Request{}
	for _, request := range []*Request{q.rollback, q.restore, q.deploy} {
		if request != nil {
			waiting = append(waiting, *request)
		}
	}
	return waiting
}
