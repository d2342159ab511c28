package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestParsePush(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body   string
		want   Push
		broken bool   // 400
		refuse string // 422
	}{
		"what Docker Hub sends": {body: hookBody(testRepository, "latest"), want: Push{testRepository, "latest"}},
		"unknown fields":        {body: `{"new":[1,{}],"push_data":{"tag":"v1","more":null},"repository":{"repo_name":"a/b","x":1}}`, want: Push{"a/b", "v1"}},
		"no callback":           {body: `{"push_data":{"tag":"v1"},"repository":{"repo_name":"a/b"}}`, want: Push{"a/b", "v1"}},
		"namespace and name":    {body: `{"push_data":{"tag":"v1"},"repository":{"namespace":"a","name":"b"}}`, want: Push{"a/b", "v1"}},
		"space around":          {body: " \n{\"push_data\":{\"tag\":\"v1\"},\"repository\":{\"repo_name\":\"a/b\"}}\r\n\t ", want: Push{"a/b", "v1"}},
		"longest tag":           {body: hookBody("a/b", strings.Repeat("t", 128)), want: Push{"a/b", strings.Repeat("t", 128)}},
		"empty":                 {body: "", broken: true},
		"truncated":             {body: hookBody(testRepository, "latest")[:200], broken: true},
		"second document":       {body: hookBody(testRepository, "latest") + `{"push_data":{"tag":"evil"}}`, broken: true},
		"trailing word":         {body: hookBody(testRepository, "latest") + "x", broken: true},
		"array":                 {body: "[" + hookBody(testRepository, "latest") + "]", broken: true},
		"text":                  {body: `"hello"`, broken: true},
		"form":                  {body: "payload=%7B%7D", broken: true},
		"byte order mark":       {body: "\ufeff" + hookBody(testRepository, "latest"), broken: true},
		"tag of another type":   {body: `{"push_data":{"tag":7},"repository":{"repo_name":"a/b"}}`, broken: true},
		"deep nesting":          {body: strings.Repeat("[", 100_000), broken: true},
		"null":                  {body: "null", refuse: "repo_name"},
		"no repository":         {body: `{"push_data":{"tag":"v1"}}`, refuse: "repo_name"},
		"no tag":                {body: `{"repository":{"repo_name":"a/b"}}`, refuse: "push_data.tag"},
		"long tag":              {body: hookBody("a/b", strings.Repeat("t", 129)), refuse: "push_data.tag"},
		"long repository":       {body: hookBody("a/"+strings.Repeat("b", 300), "v1"), refuse: "repo_name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parsePush([]byte(c.body))
			switch {
			case c.broken:
				if !errors.Is(err, errBroken) {
					t.Errorf("got %+v, %v", got, err)
				}
			case c.refuse != "":
				if err == nil || errors.Is(err, errBroken) || !strings.Contains(err.Error(), c.refuse) {
					t.Errorf("got %+v, %v", got, err)
				}
			case err != nil || got != c.want:
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

// Whatever a shell, a path, an option or a header could make of a name.
func TestNamesThatAreNone(t *testing.T) {
	t.Parallel()
	for _, tag := range []string{"$(reboot)", "`reboot`", "a;b", "a b", "a|b", "a&b", "../x", "-f", ".hidden", "a/b", "a:b", "a@b", "a\nb", "a\x00b", "ä", "", "a%2fb", "latest\n"} {
		if _, err := parsePush([]byte(hookJSON(t, "a/b", tag))); err == nil {
			t.Errorf("tag %q was taken", tag)
		}
	}
	for _, repository := range []string{"", "a", "a/b/c", "-a/b", "a/-b", "A/b", "a/b:c", "a/b@sha256:x", "../b", "a/..", "a//b", "/a/b", "a/b ", "a/b\n", "localhost:5000/a/b", "a/$(b)", "a/b;c"} {
		if _, err := parsePush([]byte(hookJSON(t, repository, "latest"))); err == nil {
			t.Errorf("repository %q was taken", repository)
		}
	}
}

func hookJSON(t *testing.T, repository, tag string) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"push_data": map[string]any{"tag": tag}, "repository": map[string]any{"repo_name": repository}})
	must(t, err)
	return string(text)
}

func FuzzPayload(f *testing.F) {
	for _, seed := range []string{hookBody(testRepository, "latest"), "", "null", "{}", "[]", `{"push_data":{"tag":"$(reboot)"},"repository":{"repo_name":"a/b"}}`,
		`{"push_data":{"tag":"v1"},"repository":{"namespace":"a","name":"b"}}`, hookBody("a/b", "v1") + "{}", "{\"push_data\":", "\ufeff{}", `{"PUSH_DATA":{"TAG":"x"}}`,
		`{"push_data":{"tag":"a","tag":"b"},"repository":{"repo_name":"a/b"}}`, `{"push_data":{"tag":"\ud800"},"repository":{"repo_name":"a/b"}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		push, err := parsePush(body)
		if err != nil {
			if push != (Push{}) {
				t.Errorf("a refused payload gave %+v", push)
			}
			if len(err.Error()) > 2000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		if !json.Valid(body) {
			t.Errorf("not one JSON document, and taken: %q", body)
		}
		for _, name := range []string{push.Tag, push.Repository} {
			if name == "" || name[0] == '-' || name[0] == '.' || strings.ContainsFunc(name, func(r rune) bool {
				return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-/", r)
			}) {
				t.Errorf("%q was taken as a name", name)
			}
		}
		if strings.Count(push.Repository, "/") != 1 || strings.Contains(push.Tag, "/") || len(push.Tag) > 128 {
			t.Errorf("taken: %+v", push)
		}
	})
}
