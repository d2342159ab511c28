package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Docker runs docker's command line program: argument lists, never a shell, and a time limit on each.
type Docker struct {
	config  *Config
	environ []string // what the programs see
}

const (
	shortCommand = time.Minute // for commands that only look or tidy
	maxOutput    = 1 << 20
	outputTail   = 2 << 10
)

func newDocker(config *Config, environ []string) *Docker {
	return &Docker{config: config, environ: commandEnviron(environ)}
}

// commandEnviron leaves out what is ours: settings, systemd's sockets and credentials. The image variable is set by us alone,
// since compose believes the environment before any file.
func commandEnviron(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return strings.HasPrefix(name, "WEBHOOK_") || slices.Contains(
			[]string{imageVariable, "COMPOSE_FILE", "COMPOSE_PROJECT_NAME", "COMPOSE_ENV_FILES", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET"}, name)
	})
}

// Pull fetches an image by digest, unless it is there, and makes sure that it is the one.
func (d *Docker) Pull(ctx context.Context, digest string) error {
	image := d.config.Image(digest)
	if d.holds(ctx, image, digest) == nil {
		return nil // content-addressed: no need to ask, and a rollback by hand works without a network
	}
	if _, err := d.run(ctx, d.config.PullTimeout, "WEBHOOK_PULL_TIMEOUT", "", "pull", "--quiet", image); err != nil {
		return err
	}
	return d.holds(ctx, image, digest)
}

// holds is nil when the image is on this machine and carries the digest that was asked for.
func (d *Docker) holds(ctx context.Context, image, digest string) error {
	output, err := d.run(ctx, shortCommand, "", "", "image", "inspect", "--format", "{{json .RepoDigests}}", image)
	if err != nil {
		return err
	}
	var digests []string
	if err := json.Unmarshal([]byte(output), &digests); err != nil {
		return fmt.Errorf("docker image inspect answers %q instead of a list of digests; update Docker", shorten(output, 100))
	}
	if !slices.ContainsFunc(digests, func(d string) bool { return strings.HasSuffix(d, "@"+digest) }) {
		return fmt.Errorf("the digest does not match: %s was asked for, docker holds %s; nothing was started", digest, shorten(strings.Join(digests, " "), 300))
	}
	return nil
}

// UsesImage makes sure that compose would run this image. A compose file with a fixed image would make every rollout a
// success that changes nothing.
func (d *Docker) UsesImage(ctx context.Context, digest string) error {
	image := d.config.Image(digest)
	output, err := d.run(ctx, shortCommand, "", image, d.compose("config", "--images", d.config.ComposeService)...)
	if err != nil {
		return err
	}
	if !slices.Contains(strings.Fields(output), image) {
		return fmt.Errorf("%s does not run what it is given: its images are %q; write image: ${%s} for service %s",
			d.config.ComposeFile, shorten(output, 200), imageVariable, d.config.ComposeService)
	}
	return nil
}

// Up replaces the running service and waits until it is healthy.
func (d *Docker) Up(ctx context.Context, digest string) error {
	limit := d.config.UpTimeout
	arguments := d.compose("up", "--detach", "--wait", "--wait-timeout", strconv.Itoa(int(limit.Seconds())),
		"--no-build", "--quiet-pull", d.config.ComposeService)
	// compose counts its limit from the start of the containers, so ours is the longer one.
	_, err := d.run(ctx, limit+min(limit, 30*time.Second), "WEBHOOK_UP_TIMEOUT", d.config.Image(digest), arguments...)
	return err
}

// compose gives the arguments that every compose command begins with. Naming one file by --env-file makes compose forget
// its default one, so that is named too.
func (d *Docker) compose(arguments ...string) []string {
	all := []string{"compose", "--project-name", d.config.ComposeProject, "--file", d.config.ComposeFile}
	for _, file := range []string{filepath.Join(filepath.Dir(d.config.ComposeFile), ".env"), d.config.ImageFile} {
		if _, err := os.Stat(file); err == nil {
			all = append(all, "--env-file", file)
		}
	}
	return append(all, arguments...)
}

// Prune removes our repository's images but those to keep. Other people's images are none of its business.
func (d *Docker) Prune(ctx context.Context, keep []string) (removed []string, err error) {
	name := d.config.imageName()
	output, err := d.run(ctx, shortCommand, "", "", "image", "ls", "--no-trunc", "--digests", "--format", "{{.Digest}}", name)
	if err != nil {
		return nil, err
	}
	var faults []error
	for _, digest := range slices.Compact(slices.Sorted(strings.FieldsSeq(output))) {
		if !digestGrammar.MatchString(digest) || slices.Contains(keep, digest) {
			continue
		}
		if _, err := d.run(ctx, shortCommand, "", "", "image", "rm", name+"@"+digest); err != nil {
			faults = append(faults, err)
			continue
		}
		removed = append(removed, digest)
	}
	return removed, errors.Join(faults...)
}

// run executes docker and answers its standard output. limitName is the setting that a timeout is blamed on.
func (d *Docker) run(ctx context.Context, limit time.Duration, limitName, image string, arguments ...string) (string, error) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	command := exec.CommandContext(limited, d.config.Docker, arguments...)
	command.Env = d.environ
	if image != "" {
		// Also by the environment, so that a rollback works when the disk is too full for the file.
		command.Env = append(slices.Clone(d.environ), imageVariable+"="+image)
	}
	command.Dir = filepath.Dir(d.config.ComposeFile)
	stdout, stderr := &tail{limit: maxOutput}, &tail{limit: outputTail}
	command.Stdout, command.Stderr = stdout, stderr
	err := runGroup(command)
	name := "docker " + strings.Join(arguments[:min(2, len(arguments))], " ")
	if arguments[0] == "compose" {
		name = "docker compose " + verbOf(arguments)
	}
	switch {
	case err == nil:
		return stdout.String(), nil
	case ctx.Err() != nil:
		return "", fmt.Errorf("%s: %w", name, errStopped)
	case limited.Err() != nil && limitName != "":
		return "", fmt.Errorf("%s took longer than %s and was stopped; look at the service's log, or raise %s", name, limit, limitName)
	case limited.Err() != nil:
		return "", fmt.Errorf("%s took longer than %s and was stopped; restart Docker", name, limit)
	case errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission):
		return "", fmt.Errorf("%s cannot be started: %w; install Docker, or name its program in WEBHOOK_DOCKER", name, err)
	}
	said := shorten(stderr.String(), maxErrorText)
	if said == "" {
		said = shorten(stdout.String(), maxErrorText)
	}
	return "", fmt.Errorf("%s failed (%w): %s", name, err, said)
}

// verbOf finds the compose command behind its options.
func verbOf(arguments []string) string {
	for i := 1; i < len(arguments); i++ {
		if strings.HasPrefix(arguments[i], "--") {
			i++ // its value
			continue
		}
		return arguments[i]
	}
	return ""
}

// tail keeps the end of what is written to it: a command may say more than a small machine can hold.
type tail struct {
	limit int
	bytes.Buffer
}

func (t *tail) Write(text []byte) (int, error) {
	if extra := len(text) - t.limit; extra > 0 {
		t.Buffer.Reset()
		t.Buffer.Write(text[extra:])
		return len(text), nil
	}
	if extra := t.Buffer.Len() + len(text) - t.limit; extra > 0 {
		t.Buffer.Next(extra)
	}
	t.Buffer.Write(text)
	return len(text), nil
}
