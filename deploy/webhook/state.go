package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	stateFormat    = 1
	historyLength  = 50
	rejectedLength = 20
)

// Release is one image by its digest, and the tag under which the hub showed it.
type Release struct {
	Digest string    `json:"digest"`
	Tag    string    `json:"tag"`
	Since  time.Time `json:"since"`
}

// Step says how far an attempt has come. It is on disk before the step begins, so that a restart knows what may have happened.
type Step string

const (
	StepState    Step = "state"    // the journal could not be written; nothing was touched
	StepHub      Step = "hub"      // asking the hub; nothing was touched
	StepPull     Step = "pull"     // fetching the image; the running service was not touched
	StepUp       Step = "up"       // the service may run the new image
	StepSmoke    Step = "smoke"    // the service runs the new image
	StepRollback Step = "rollback" // the service may run either image
)

// Attempt is the journal of the rollout under way.
type Attempt struct {
	ID          int       `json:"id"`
	Trigger     Trigger   `json:"trigger"`
	Hooks       int       `json:"hooks,omitempty"`
	Target      Release   `json:"target"`
	From        *Release  `json:"from"`
	Step        Step      `json:"step"`
	Started     time.Time `json:"started"`
	Interrupted int       `json:"interrupted,omitempty"` // restarts it has lived through
	Reason      string    `json:"reason,omitempty"`      // why it is being rolled back
}

// Result is how an attempt ended.
type Result string

const (
	Deployed       Result = "deployed"
	Unchanged      Result = "unchanged"
	Skipped        Result = "skipped"         // the digest failed before, and its time to be tried again has not come
	Failed         Result = "failed"          // nothing was changed, or there was nothing to go back to
	Abandoned      Result = "abandoned"       // stopped before the service was touched
	Interrupted    Result = "interrupted"     // stopped later; the next start takes it up
	RolledBack     Result = "rolled_back"     // the earlier digest is up again
	RollbackFailed Result = "rollback_failed" // it is not; it will be tried again
	Restored       Result = "restored"        // it is up again after all
)

// Outcome is one line of the history. Equal lines in a row are counted, not repeated.
type Outcome struct {
	ID      int       `json:"id"`
	At      time.Time `json:"at"`
	Trigger Trigger   `json:"trigger"`
	Hooks   int       `json:"hooks,omitempty"`
	Result  Result    `json:"result"`
	Step    Step      `json:"step,omitempty"`
	Tag     string    `json:"tag,omitempty"`
	Digest  string    `json:"digest,omitempty"`
	From    string    `json:"from,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	Seconds float64   `json:"seconds"`
	Times   int       `json:"times,omitempty"`
}

// Rejection keeps a bad image from being tried again and again. In doubt, the fault may lie elsewhere: the digest from
// before failed as well, or there was none.
type Rejection struct {
	Digest string    `json:"digest"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
	Doubt  bool      `json:"doubt,omitempty"`
}

// Trouble is the state in which the last good digest could not be brought back up.
type Trouble struct {
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

// State is everything the server must remember.
type State struct {
	Format   int         `json:"format"`
	LastID   int         `json:"last_id"`
	Good     *Release    `json:"good"`     // passed its smoke test, and is meant to run
	Previous *Release    `json:"previous"` // good before that; its image is kept
	Attempt  *Attempt    `json:"attempt"`
	Trouble  *Trouble    `json:"trouble"`
	Rejected []Rejection `json:"rejected"`
	History  []Outcome   `json:"history"` // newest last
}

// reject remembers a digest that failed.
func (s *State) reject(digest, reason string, doubt bool) {
	s.allow(digest)
	s.Rejected = append(s.Rejected, Rejection{Digest: digest, At: time.Now().UTC(), Reason: reason, Doubt: doubt})
	s.Rejected = s.Rejected[max(0, len(s.Rejected)-rejectedLength):]
}

// allow forgets that a digest failed.
func (s *State) allow(digest string) {
	s.Rejected = slices.DeleteFunc(s.Rejected, func(r Rejection) bool { return r.Digest == digest })
}

// allowDoubtful forgets the verdicts that were in doubt.
func (s *State) allowDoubtful() {
	s.Rejected = slices.DeleteFunc(s.Rejected, func(r Rejection) bool { return r.Doubt })
}

func (s *State) rejection(digest string) *Rejection {
	for i := range s.Rejected {
		if s.Rejected[i].Digest == digest {
			return &s.Rejected[i]
		}
	}
	return nil
}

// remember adds an outcome to the history.
func (s *State) remember(outcome Outcome) {
	if n := len(s.History); n > 0 {
		last := &s.History[n-1]
		if last.Trigger == outcome.Trigger && last.Result == outcome.Result && last.Step == outcome.Step && last.Digest == outcome.Digest {
			outcome.Times = max(1, last.Times) + 1
			*last = outcome
			return
		}
	}
	s.History = append(s.History, outcome)
	s.History = s.History[max(0, len(s.History)-historyLength):]
}

// Store holds the state in memory and on disk.
type Store struct {
	path  string
	write fileWriter

	mu      sync.Mutex
	state   State
	unsaved error // why memory is ahead of the disk; nil when it is not
}

var errCorruptState = errors.New("corrupt state")

// openStore reads the state at path. fresh tells that there was none, corrupt that it was unreadable and set aside.
func openStore(path string, write fileWriter) (store *Store, fresh bool, corrupt error, err error) {
	store = &Store{path: path, write: write, state: State{Format: stateFormat}}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return store, true, nil, nil
	case err != nil:
		return nil, false, nil, fmt.Errorf("the state %s cannot be read: %w; give the server's user access to WEBHOOK_STATE_DIR", path, err)
	}
	state, err := parseState(text)
	if errors.Is(err, errCorruptState) {
		aside := path + ".corrupt"
		if renameErr := os.Rename(path, aside); renameErr != nil {
			return nil, false, nil, fmt.Errorf("%w, and it cannot be set aside: %w", err, renameErr)
		}
		return store, true, fmt.Errorf("%w; it is kept as %s, and the image file is believed instead", err, aside), nil
	}
	if err != nil {
		return nil, false, nil, fmt.Errorf("the state %s: %w", path, err)
	}
	store.state = state
	return store, false, nil, nil
}

func parseState(text []byte) (State, error) {
	var state State
	if err := json.Unmarshal(text, &state); err != nil {
		return State{}, fmt.Errorf("%w: %w", errCorruptState, err)
	}
	if state.Format > stateFormat {
		return State{}, fmt.Errorf("format %d was written by a newer server, this one knows %d; install the newer one again", state.Format, stateFormat)
	}
	if state.Format != stateFormat {
		return State{}, fmt.Errorf("%w: format %d", errCorruptState, state.Format)
	}
	// A digest from here becomes a command's argument and a line of the image file: believe only what looks like one.
	for _, release := range state.releases() {
		if !digestGrammar.MatchString(release.Digest) || !tagGrammar.MatchString(release.Tag) {
			return State{}, fmt.Errorf("%w: no digest and tag: %q %q", errCorruptState, release.Digest, release.Tag)
		}
	}
	return state, nil
}

// releases lists every image that the state names as good or in work.
func (s *State) releases() []Release {
	var all []Release
	for _, release := range []*Release{s.Good, s.Previous} {
		if release != nil {
			all = append(all, *release)
		}
	}
	if s.Attempt != nil {
		all = append(all, s.Attempt.Target)
		if s.Attempt.From != nil {
			all = append(all, *s.Attempt.From)
		}
	}
	return all
}

// Snapshot is a copy that nobody else changes.
func (s *Store) Snapshot() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.clone()
}

func (s State) clone() State {
	s.Good, s.Previous, s.Trouble = copyOf(s.Good), copyOf(s.Previous), copyOf(s.Trouble)
	if s.Attempt = copyOf(s.Attempt); s.Attempt != nil {
		s.Attempt.From = copyOf(s.Attempt.From)
	}
	s.Rejected, s.History = slices.Clone(s.Rejected), slices.Clone(s.History)
	return s
}

func copyOf[T any](value *T) *T {
	if value == nil {
		return nil
	}
	duplicate := *value
	return &duplicate
}

// Commit changes the state only if the disk takes the change. It comes before whatever must not happen unrecorded.
func (s *Store) Commit(change func(*State)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.state.clone()
	change(&next)
	if err := s.save(next); err != nil {
		return err
	}
	s.state = next
	return nil
}

// Record changes the state even if the disk does not take it: what has happened has happened. An older text on disk is
// an earlier step of the same attempt, from which a restart comes to the same end.
func (s *Store) Record(change func(*State)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.state)
	return s.save(s.state)
}

// Unsaved tells why memory is ahead of the disk.
func (s *Store) Unsaved() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unsaved
}

// Flush tries to write again what the disk refused before.
func (s *Store) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unsaved == nil {
		return nil
	}
	return s.save(s.state)
}

func (s *Store) save(state State) error {
	text, err := json.MarshalIndent(state, "", "  ")
	if err == nil {
		err = s.write(s.path, append(text, '\n'), 0o600)
	}
	if err != nil {
		err = fmt.Errorf("the state %s cannot be written: %w; free some space, or give the server's user write access to WEBHOOK_STATE_DIR", s.path, err)
	}
	s.unsaved = err
	return err
}
