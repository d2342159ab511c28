package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// Rollout takes one request from the hub's digest to a service that has proved itself, or back to the digest before.
//
// Every step is in the journal before it begins. From any point at which the process may die, Recover comes to one of two
// ends: the new digest is up and proved, or the old one is up again.
type Rollout struct {
	config *Config
	hub    *Hub
	docker *Docker
	smoke  *Smoke
	store  *Store
	write  fileWriter // for the image file
	log    *slog.Logger

	rollbackTries int
	rollbackPause time.Duration
	secondChance  time.Duration // after this, a hook may try a rejected digest again

	mu   sync.Mutex
	last *Outcome // of the last look at the hub, also when it changed nothing
}

var errStopped = errors.New("the server is stopping")

func newRollout(config *Config, docker *Docker, store *Store, log *slog.Logger) *Rollout {
	return &Rollout{config: config, hub: newHub(config), docker: docker, smoke: newSmoke(config), store: store,
		write: writeAtomic, log: log, rollbackTries: 2, rollbackPause: 2 * time.Second, secondChance: 10 * time.Minute}
}

// LastLook answers how the last look at the hub ended.
func (r *Rollout) LastLook() *Outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	return copyOf(r.last)
}

// Deploy brings up what the hub shows under the request's tag, if that is news.
func (r *Rollout) Deploy(ctx, stop context.Context, request Request) Outcome {
	begun := time.Now()
	quick, cancel := either(ctx, stop)
	defer cancel()
	digest, err := r.hub.Digest(quick, request.Tag)
	outcome := Outcome{At: begun.UTC(), Trigger: request.Trigger, Hooks: request.Hooks, Tag: request.Tag, Digest: digest}
	state := r.store.Snapshot()
	rejected := state.rejection(digest)
	switch {
	case err != nil && quick.Err() != nil:
		outcome.Result, outcome.Step, outcome.Reason = Abandoned, StepHub, errStopped.Error()
	case err != nil:
		outcome.Result, outcome.Step, outcome.Reason = Failed, StepHub, shorten(err.Error(), maxErrorText)
		outcome.Seconds = time.Since(begun).Seconds()
		r.close(outcome, nil)
	case state.Good != nil && state.Trouble != nil && (request.Trigger != TriggerHook || state.Good.Digest == digest):
		// While the good digest is down, only a person's push is worth another experiment.
		outcome = r.Restore(ctx, request)
	case state.Good != nil && state.Good.Digest == digest:
		outcome.Result = Unchanged
	case rejected != nil && !r.mayTryAgain(request, *rejected):
		outcome.Result, outcome.Reason = Skipped, "it failed before: "+rejected.Reason
	default:
		outcome = r.install(ctx, stop, request, Release{Digest: digest, Tag: request.Tag})
	}
	if outcome.Result == Unchanged || outcome.Result == Skipped {
		r.log.Info("nothing to roll out", "trigger", request.Trigger, "tag", request.Tag, "digest", digest, "result", outcome.Result, "reason", outcome.Reason)
	}
	r.mu.Lock()
	r.last = &outcome
	r.mu.Unlock()
	return outcome
}

// mayTryAgain bounds what a bad image can do: the hooks that come with its push are one burst, however long, and a poll
// comes by for ever.
func (r *Rollout) mayTryAgain(request Request, rejected Rejection) bool {
	if request.Trigger == TriggerHook {
		return request.Asked.Sub(rejected.At) > r.secondChance
	}
	return rejected.Doubt
}

// Back brings up the digest before the present one, because a person wants it. The present one counts as rejected until
// somebody pushes or asks again, or the next poll would undo the rollback.
func (r *Rollout) Back(ctx, stop context.Context, request Request) Outcome {
	state := r.store.Snapshot()
	if state.Previous == nil {
		outcome := Outcome{At: time.Now().UTC(), Trigger: request.Trigger, Result: Failed, Step: StepState, Reason: "there is no earlier digest to go back to"}
		r.close(outcome, nil)
		return outcome
	}
	return r.install(ctx, stop, request, *state.Previous)
}

// install is the road that every new digest takes.
func (r *Rollout) install(ctx, stop context.Context, request Request, target Release) Outcome {
	attempt := Attempt{Trigger: request.Trigger, Hooks: request.Hooks, Target: target, Step: StepPull, Started: time.Now().UTC()}
	if err := r.store.Commit(func(s *State) {
		s.LastID++
		attempt.ID, attempt.From = s.LastID, copyOf(s.Good)
		s.Attempt = copyOf(&attempt)
	}); err != nil {
		return r.fail(attempt, StepState, err)
	}
	r.log.Info("rollout begins", "rollout", attempt.ID, "trigger", attempt.Trigger, "tag", target.Tag, "digest", target.Digest, "hooks", attempt.Hooks)
	quick, cancel := either(ctx, stop)
	defer cancel()
	err := r.docker.Pull(quick, target.Digest)
	if err == nil {
		err = r.docker.UsesImage(quick, target.Digest)
	}
	switch {
	case quick.Err() != nil: // nothing was touched, and the next start looks at the hub
		return r.end(attempt, Abandoned, errStopped, nil)
	case err != nil:
		return r.fail(attempt, StepPull, err)
	}
	if err := r.step(&attempt, StepUp, ""); err != nil {
		return r.fail(attempt, StepState, err)
	}
	if err := r.writeImage(target.Digest); err != nil {
		return r.fail(attempt, StepState, err) // the old file is still there, the old service still runs
	}
	return r.prove(ctx, stop, attempt)
}

// prove starts the target and asks it for a forecast; Recover enters here too.
func (r *Rollout) prove(ctx, stop context.Context, attempt Attempt) Outcome {
	step, err := r.activate(ctx, &attempt, attempt.Target.Digest)
	if ctx.Err() != nil {
		return r.interrupted(attempt)
	}
	if err != nil {
		return r.goBack(ctx, stop, attempt, fmt.Sprintf("%s: %v", step, err))
	}
	outcome := r.end(attempt, Deployed, nil, func(s *State) {
		target := attempt.Target
		target.Since = time.Now().UTC()
		s.Previous, s.Good, s.Trouble = s.Good, &target, nil
		s.allow(target.Digest)
		if attempt.Trigger == TriggerRollback && s.Previous != nil {
			s.reject(s.Previous.Digest, "rolled back by hand", false)
		}
	})
	r.prune(ctx)
	return outcome
}

// activate replaces the service and proves it. The digest's image file is written by the caller, who knows what a failure of
// that means.
func (r *Rollout) activate(ctx context.Context, attempt *Attempt, digest string) (Step, error) {
	if err := r.docker.Up(ctx, digest); err != nil {
		return StepUp, err
	}
	if attempt != nil {
		// Only for the status page: a restart treats up and smoke alike, so a full disk is no reason to stop here.
		if err := r.step(attempt, StepSmoke, ""); err != nil {
			r.log.Error("state not written", "rollout", attempt.ID, "error", err)
		}
	}
	if err := r.smoke.Check(ctx); err != nil {
		return StepSmoke, err
	}
	return "", nil
}

// goBack brings the digest from before the attempt up again. Whatever fails on the way is logged and passed over: this is
// the last road there is.
func (r *Rollout) goBack(ctx, stop context.Context, attempt Attempt, reason string) Outcome {
	reason = shorten(reason, maxErrorText)
	r.log.Error("rollout failed, going back", "rollout", attempt.ID, "digest", attempt.Target.Digest, "reason", reason)
	if attempt.From == nil {
		return r.end(attempt, Failed, fmt.Errorf("%s; there is no earlier digest to go back to", reason), func(s *State) {
			s.Trouble = &Trouble{Since: time.Now().UTC(), Reason: reason}
			s.reject(attempt.Target.Digest, reason, true) // nothing good runs that the next poll could harm
		})
	}
	if err := r.step(&attempt, StepRollback, reason); err != nil {
		r.log.Error("state not written", "rollout", attempt.ID, "error", err)
	}
	err := r.bringBack(ctx, attempt.From.Digest)
	if ctx.Err() != nil {
		return r.interrupted(attempt)
	}
	if err != nil {
		return r.end(attempt, RollbackFailed, fmt.Errorf("%s; then going back failed: %w", reason, err), func(s *State) {
			s.Trouble = &Trouble{Since: time.Now().UTC(), Reason: shorten(err.Error(), maxErrorText)}
			s.reject(attempt.Target.Digest, reason, true)
		})
	}
	outcome := r.end(attempt, RolledBack, errors.New(reason), func(s *State) {
		s.Trouble = nil
		if stop.Err() == nil { // a service manager that is stopping us may have killed the commands too: no verdict
			s.reject(attempt.Target.Digest, reason, false)
		}
	})
	r.prune(ctx)
	return outcome
}

// bringBack tries more than once: what made the new image fail may take a moment to clear.
func (r *Rollout) bringBack(ctx context.Context, digest string) error {
	var err error
	for try := range r.rollbackTries {
		if try > 0 {
			select {
			case <-ctx.Done():
				return err
			case <-time.After(r.rollbackPause):
			}
		}
		// A full disk must not stop this: compose also gets the image by its environment.
		if writeErr := r.writeImage(digest); writeErr != nil {
			r.log.Error("image file not written", "error", writeErr)
		}
		var step Step
		if step, err = r.activate(ctx, nil, digest); err == nil {
			return nil
		}
		err = fmt.Errorf("%s: %w", step, err)
		r.log.Error("the earlier digest does not come up", "digest", digest, "try", try+1, "error", err)
	}
	return err
}

// Restore brings the last good digest up after a rollback that failed.
func (r *Rollout) Restore(ctx context.Context, request Request) Outcome {
	state := r.store.Snapshot()
	outcome := Outcome{At: time.Now().UTC(), Trigger: TriggerRestore, Hooks: request.Hooks}
	if state.Trouble == nil || state.Good == nil {
		outcome.Result = Unchanged
		return outcome
	}
	outcome.Tag, outcome.Digest = state.Good.Tag, state.Good.Digest
	err := r.bringBack(ctx, state.Good.Digest)
	outcome.Seconds = time.Since(outcome.At).Seconds()
	switch {
	case ctx.Err() != nil:
		outcome.Result = Interrupted
		return outcome
	case err != nil:
		outcome.Result, outcome.Step, outcome.Reason = RollbackFailed, StepRollback, shorten(err.Error(), maxErrorText)
		r.close(outcome, func(s *State) { s.Trouble.Reason = outcome.Reason })
	default:
		outcome.Result = Restored
		r.close(outcome, func(s *State) {
			s.Trouble = nil
			s.allowDoubtful()
		})
	}
	return outcome
}

// Recover ends what a restart cut off. Before the service was touched, the attempt is dropped: the look at the hub that
// follows begins it anew. After that, it is finished once; cut off again, it is rolled back, since the image itself may be
// what brings the machine down.
func (r *Rollout) Recover(ctx, stop context.Context) {
	state := r.store.Snapshot()
	if state.Attempt == nil {
		return
	}
	attempt := *state.Attempt
	r.log.Warn("a restart cut a rollout off", "rollout", attempt.ID, "step", attempt.Step, "digest", attempt.Target.Digest, "restarts", attempt.Interrupted+1)
	switch attempt.Step {
	case StepUp, StepSmoke:
		attempt.Interrupted++
		if attempt.Interrupted > 1 {
			r.goBack(ctx, stop, attempt, fmt.Sprintf("%s was cut off by %d restarts", attempt.Step, attempt.Interrupted))
			return
		}
		err := r.step(&attempt, attempt.Step, "") // a restart that is not counted could go on for ever
		if err == nil {
			err = r.writeImage(attempt.Target.Digest)
		}
		if err != nil {
			r.goBack(ctx, stop, attempt, err.Error())
			return
		}
		r.prove(ctx, stop, attempt)
	case StepRollback:
		r.goBack(ctx, stop, attempt, attempt.Reason)
	default:
		r.end(attempt, Abandoned, errors.New("a restart cut it off before the service was touched"), nil)
	}
}

// Adopt takes the digest in the image file as the good one. It is for a machine that ran before this server did.
func (r *Rollout) Adopt() error {
	text, err := os.ReadFile(r.config.ImageFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("WEBHOOK_IMAGE_ENV_FILE %s cannot be read: %w; give the server's user access to it", r.config.ImageFile, err)
	}
	for line := range strings.Lines(string(text)) {
		image, ours := strings.CutPrefix(strings.TrimSpace(line), imageVariable+"=")
		digest, named := strings.CutPrefix(image, r.config.imageName()+"@")
		if ours && named && digestGrammar.MatchString(digest) {
			r.log.Info("the running digest is taken over", "digest", digest)
			return r.store.Commit(func(s *State) { s.Good = &Release{Digest: digest, Tag: r.config.Tags[0], Since: time.Now().UTC()} })
		}
	}
	r.log.Warn("the image file names no digest of ours, so there is nothing to go back to yet", "file", r.config.ImageFile)
	return nil
}

func (r *Rollout) writeImage(digest string) error {
	text := "# Written by crypto-rti-webhook at every rollout. Other settings belong into .env beside the compose file.\n" +
		imageVariable + "=" + r.config.Image(digest) + "\n"
	if err := r.write(r.config.ImageFile, []byte(text), 0o644); err != nil {
		return fmt.Errorf("the image file %s cannot be written: %w; free some space, or give the server's user write access", r.config.ImageFile, err)
	}
	return nil
}

func (r *Rollout) prune(ctx context.Context) {
	state := r.store.Snapshot()
	var keep []string
	for _, release := range state.releases() {
		keep = append(keep, release.Digest)
	}
	if len(keep) == 0 {
		return
	}
	removed, err := r.docker.Prune(ctx, keep)
	if err != nil {
		r.log.Warn("not every old image could be removed; the next rollout tries again", "error", err)
	}
	if len(removed) > 0 {
		r.log.Info("old images removed", "digests", removed)
	}
}

// step writes the journal. It must be on disk before the step begins.
func (r *Rollout) step(attempt *Attempt, step Step, reason string) error {
	attempt.Step = step
	if reason != "" {
		attempt.Reason = reason
	}
	journal := *attempt
	return r.store.Commit(func(s *State) { s.Attempt = &journal })
}

// fail ends an attempt that did not touch the service.
func (r *Rollout) fail(attempt Attempt, step Step, err error) Outcome {
	attempt.Step = step
	return r.end(attempt, Failed, err, nil)
}

// interrupted leaves the journal as it is, for Recover.
func (r *Rollout) interrupted(attempt Attempt) Outcome {
	r.log.Warn("stopped in the middle of a rollout; the next start takes it up", "rollout", attempt.ID, "step", attempt.Step)
	return Outcome{ID: attempt.ID, At: attempt.Started, Trigger: attempt.Trigger, Result: Interrupted, Step: attempt.Step, Digest: attempt.Target.Digest}
}

// end closes the journal.
func (r *Rollout) end(attempt Attempt, result Result, reason error, change func(*State)) Outcome {
	outcome := Outcome{ID: attempt.ID, At: attempt.Started, Trigger: attempt.Trigger, Hooks: attempt.Hooks, Result: result,
		Tag: attempt.Target.Tag, Digest: attempt.Target.Digest, Seconds: time.Since(attempt.Started).Seconds()}
	if attempt.From != nil {
		outcome.From = attempt.From.Digest
	}
	if result != Deployed {
		outcome.Step = attempt.Step
	}
	if reason != nil {
		outcome.Reason = shorten(reason.Error(), maxErrorText)
	}
	r.close(outcome, func(s *State) {
		s.Attempt = nil
		if change != nil {
			change(s)
		}
	})
	return outcome
}

// close writes an outcome to history and log.
func (r *Rollout) close(outcome Outcome, change func(*State)) {
	if err := r.store.Record(func(s *State) {
		if change != nil {
			change(s)
		}
		s.remember(outcome)
	}); err != nil {
		r.log.Error("state not written", "rollout", outcome.ID, "error", err)
	}
	level := slog.LevelInfo
	if outcome.Result != Deployed && outcome.Result != Restored {
		level = slog.LevelError
	}
	r.log.Log(context.Background(), level, "rollout ended", "rollout", outcome.ID, "trigger", outcome.Trigger, "result", outcome.Result,
		"step", outcome.Step, "tag", outcome.Tag, "digest", outcome.Digest, "from", outcome.From, "reason", outcome.Reason, "seconds", outcome.Seconds)
}

// either ends when one of two contexts does.
func either(ctx, stop context.Context) (context.Context, context.CancelFunc) {
	both, cancel := context.WithCancel(ctx)
	detach := context.AfterFunc(stop, cancel)
	return both, func() { detach(); cancel() }
}
