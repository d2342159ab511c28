package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func run1(w *world, arguments ...string) (string, error) {
	var out bytes.Buffer
	m := Main{Args: arguments, Environ: w.environ(), Stdout: &out, Stderr: &out}
	err := m.Run(w.t.Context())
	return out.String(), err
}

func TestCheckNamesEveryFault(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set  map[string]string
		want string
	}{
		"no repository":        {map[string]string{"WEBHOOK_REPOSITORY": ""}, "WEBHOOK_REPOSITORY is not set"},
		"repository with tag":  {map[string]string{"WEBHOOK_REPOSITORY": "a/b:latest"}, `WEBHOOK_REPOSITORY is "a/b:latest"; write namespace/name`},
		"bad tag":              {map[string]string{"WEBHOOK_TAGS": "latest,$(x)"}, `WEBHOOK_TAGS holds "$(x)"`},
		"no tag":               {map[string]string{"WEBHOOK_TAGS": " , "}, "names no tag"},
		"no key file":          {map[string]string{"WEBHOOK_DEPLOY_KEY_FILE": ""}, "without a key nobody may deploy"},
		"missing key file":     {map[string]string{"WEBHOOK_DEPLOY_KEY_FILE": "/nowhere/key"}, "create it for the server's user"},
		"admin in environment": {map[string]string{"WEBHOOK_ADMIN_KEY": testAdminKey}, "name that in WEBHOOK_ADMIN_KEY_FILE"},
		"missing admin file":   {map[string]string{"WEBHOOK_ADMIN_KEY_FILE": "/nowhere/key"}, "WEBHOOK_ADMIN_KEY_FILE cannot be read"},
		"key in environment":   {map[string]string{"WEBHOOK_DEPLOY_KEY": testKey}, "put the key into a file"},
		"key instead of file":  {map[string]string{"WEBHOOK_DEPLOY_KEY_FILE": testKey}, "not the key"},
		"misspelt":             {map[string]string{"WEBHOOK_REPOSITRY": "a/b"}, "WEBHOOK_REPOSITRY is no setting"},
		"listen":               {map[string]string{"WEBHOOK_LISTEN": "9000"}, "write host:port"},
		"service":              {map[string]string{"WEBHOOK_SERVICE_URL": "localhost:8000"}, "WEBHOOK_SERVICE_URL is no plain http"},
		"password":             {map[string]string{"WEBHOOK_SERVICE_URL": "http://user:" + testKey + "@x/"}, "leave them out"},
		"hub without TLS":      {map[string]string{"WEBHOOK_HUB_URL": "http://hub.docker.com"}, "use https"},
		"hub on another host":  {map[string]string{"WEBHOOK_HUB_URL": "http://127.0.0.1.evil.example"}, "use https"},
		"registry":             {map[string]string{"WEBHOOK_REGISTRY": "https://x"}, "without scheme and path"},
		"relative path":        {map[string]string{"WEBHOOK_COMPOSE_FILE": "compose.yml"}, "write an absolute path"},
		"climbing path":        {map[string]string{"WEBHOOK_STATE_DIR": "/var/../etc"}, "write an absolute path"},
		"no compose file":      {map[string]string{"WEBHOOK_COMPOSE_FILE": "/nowhere/compose.yml"}, "name the compose file"},
		"a folder":             {map[string]string{"WEBHOOK_COMPOSE_FILE": "/tmp"}, "is no file"},
		"option as project":    {map[string]string{"WEBHOOK_COMPOSE_PROJECT": "--help"}, "WEBHOOK_COMPOSE_PROJECT is"},
		"option as service":    {map[string]string{"WEBHOOK_COMPOSE_SERVICE": "-d"}, "WEBHOOK_COMPOSE_SERVICE is"},
		"coins":                {map[string]string{"WEBHOOK_SMOKE_COINS": "BTC-USD&x=1"}, "write products as the exchange does"},
		"poll too often":       {map[string]string{"WEBHOOK_POLL_INTERVAL": "1s"}, "must lie between 1m0s"},
		"no duration":          {map[string]string{"WEBHOOK_UP_TIMEOUT": "180"}, `WEBHOOK_UP_TIMEOUT is "180"; write a duration`},
		"negative":             {map[string]string{"WEBHOOK_SMOKE_TIMEOUT": "-1s"}, "must lie between"},
		"no docker":            {map[string]string{"WEBHOOK_DOCKER": "/nowhere/docker"}, "install Docker"},
		"state directory":      {map[string]string{"WEBHOOK_STATE_DIR": "/nowhere"}, "create it for the server's user"},
		"level":                {map[string]string{"WEBHOOK_LOG_LEVEL": "loud"}, "write debug, info, warn or error"},
		"two faults at once":   {map[string]string{"WEBHOOK_LISTEN": "x", "WEBHOOK_TAGS": "!"}, "WEBHOOK_LISTEN is"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for name, value := range c.set {
				w.env[name] = value
			}
			out, err := run1(w, "--check")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v", err)
			}
			if strings.Contains(out+err.Error(), testKey) {
				t.Error("the key is in it")
			}
			if name == "two faults at once" && !strings.Contains(err.Error(), "WEBHOOK_TAGS holds") {
				t.Errorf("only one is named: %v", err)
			}
		})
	}
}

func TestKeyFiles(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		mode os.FileMode
		text string
		want string
	}{
		"good":            {0o600, testKey + "\n", ""},
		"read-only":       {0o400, testKey, ""},
		"group":           {0o640, testKey, "mode 0640"},
		"world":           {0o604, testKey, "mode 0604"},
		"group can write": {0o620, testKey, "mode 0620"},
		"empty":           {0o600, "", "0 characters"},
		"short":           {0o600, "secret", "6 characters"},
		"two lines":       {0o600, testKey + "\n" + testKey, "no key"},
		"slash":           {0o600, strings.Repeat("a/", 20), "no key"},
		"huge":            {0o600, strings.Repeat("a", 100_000), "no key"},
		"one letter":      {0o600, strings.Repeat("k", 43), "1 different characters"},
		"two letters":     {0o600, strings.Repeat("ab", 43), "2 different characters"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "key")
			must(t, os.WriteFile(path, []byte(c.text), 0o600))
			must(t, os.Chmod(path, c.mode))
			key, err := readKey(path)
			if c.want == "" && (err != nil || key != testKey) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v", err)
			}
			if err != nil && len(c.text) > 5 && strings.Contains(err.Error(), strings.TrimSpace(c.text)) {
				t.Error("the key is in the error")
			}
		})
	}
	if _, err := readKey(t.TempDir()); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a directory: %v", err)
	}
}

func TestCredentialsOfSystemd(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "deploy-key")
	must(t, os.WriteFile(path, []byte(testKey), 0o600))
	must(t, os.Chmod(path, 0o440))
	if _, err := readKey(path); err == nil {
		t.Error("a readable group was taken outside of systemd")
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if _, err := readKey(path); err != nil {
		t.Error(err)
	}
	must(t, os.Chmod(path, 0o444))
	if _, err := readKey(path); err == nil {
		t.Error("a key that all can read was taken")
	}
}

func TestCheckSaysWhatItRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	out, err := run1(w, "--check")
	must(t, err)
	for _, want := range []string{"usable", "WEBHOOK_TAGS", "latest", "(default)", testRepository} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if strings.Contains(out, testKey) || strings.Contains(out, "Warning") {
		t.Error(out)
	}
	w.env["WEBHOOK_LISTEN"] = "0.0.0.0:9000"
	if out, err = run1(w, "--check"); err != nil || !strings.Contains(out, "Warning: WEBHOOK_LISTEN") {
		t.Errorf("%v\n%s", err, out)
	}
	if entries, _ := os.ReadDir(filepath.Join(w.dir, "state")); len(entries) > 0 {
		t.Errorf("--check left %v behind", entries)
	}
}

func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env = nil // neither needs any
	out, err := run1(w, "--help")
	must(t, err)
	for _, s := range settings {
		if !strings.Contains(out, s.name) || s.meaning == "" {
			t.Errorf("--help does not explain %s", s.name)
		}
	}
	if out, err = run1(w, "--version"); err != nil || !strings.HasPrefix(out, "crypto-rti-webhook "+version) {
		t.Errorf("%v: %s", err, out)
	}
	for _, arguments := range [][]string{{"--nonsense"}, {"serve"}} {
		if _, err := run1(w, arguments...); err == nil || !strings.Contains(err.Error(), "--help") {
			t.Errorf("%q: %v", arguments, err)
		}
	}
}

func TestSecretNeverPrints(t *testing.T) {
	t.Parallel()
	config := Config{Key: Secret{testKey}}
	text, err := json.Marshal(config)
	must(t, err)
	var log bytes.Buffer
	newLogger(&log, 0, Secret{testAdminKey}, config.Key).Info(testKey+testAdminKey, "key", config.Key, "config", config, "path", "/infra/"+testKey)
	printed := string(text) + log.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%q"} {
		printed += fmt.Sprintf(verb+verb+verb, config, &config, config.Key)
	}
	if strings.Contains(printed, testKey) || strings.Contains(printed, testAdminKey) || strings.Contains(printed, fmt.Sprintf("%x", testKey)) {
		t.Error(printed)
	}
}

func TestSecretMatches(t *testing.T) {
	t.Parallel()
	for candidate, want := range map[string]bool{testKey: true, "": false, testKey[1:]: false, testKey + "x": false, strings.ToUpper(testKey): false} {
		if got := (Secret{testKey}).Matches(candidate); got != want {
			t.Errorf("%q: %v", candidate, got)
		}
	}
	for _, candidate := range []string{"", "x"} {
		if (Secret{}).Matches(candidate) {
			t.Errorf("no key, and %q opens", candidate)
		}
	}
}
