package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
)

// Push is all that is believed of a hook: which tag of which repository to look at. What that tag holds, the hub is asked.
type Push struct {
	Repository string // namespace/name
	Tag        string
}

// payload is the part of Docker Hub's document that is read. callback_url is not: Docker no longer answers there.
type payload struct {
	PushData struct {
		Tag string `json:"tag"`
	} `json:"push_data"`
	Repository struct {
		RepoName  string `json:"repo_name"`
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"repository"`
}

// These grammars are Docker's own. They leave no room for a space, a shell's characters, a path, or an option's dash in front.
var (
	tagGrammar        = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	repositoryGrammar = regexp.MustCompile(`^[a-z0-9]+(?:[._-]+[a-z0-9]+)*/[a-z0-9]+(?:[._-]+[a-z0-9]+)*$`)
	digestGrammar     = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

const maxRepositoryLength = 255

// errBroken marks what is no JSON document of the expected shape, as opposed to one that asks for something impossible.
var errBroken = errors.New("broken payload")

// parsePush reads one JSON document and nothing behind it. Unknown fields pass: the hub adds some now and then.
func parsePush(body []byte) (Push, error) {
	var document payload
	if err := json.Unmarshal(body, &document); err != nil {
		return Push{}, fmt.Errorf("%w: %s; send the one JSON document that Docker Hub sends", errBroken, shorten(err.Error(), 200))
	}
	push := Push{Repository: document.Repository.RepoName, Tag: document.PushData.Tag}
	if push.Repository == "" && document.Repository.Namespace != "" {
		push.Repository = document.Repository.Namespace + "/" + document.Repository.Name
	}
	if !validRepository(push.Repository) {
		return Push{}, fmt.Errorf("repository.repo_name is %q; it must be namespace/name", shorten(push.Repository, 100))
	}
	if !tagGrammar.MatchString(push.Tag) {
		return Push{}, fmt.Errorf("push_data.tag is %q; a tag is up to 128 letters, digits, '_', '.' and '-'", shorten(push.Tag, 100))
	}
	return push, nil
}

func validRepository(name string) bool {
	return len(name) <= maxRepositoryLength && repositoryGrammar.MatchString(name)
}
