package main

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"unicode"
)

const redacted = "[key]"

// redactor is the last line of defence: whatever a library or a command puts into a log line, no key passes.
// A key holds only characters that JSON leaves alone, and slog writes a record in one call.
type redactor struct {
	out  io.Writer
	keys [][]byte
}

func (r redactor) Write(line []byte) (int, error) {
	clean := line
	for _, key := range r.keys {
		clean = bytes.ReplaceAll(clean, key, []byte(redacted))
	}
	if _, err := r.out.Write(clean); err != nil {
		return 0, err
	}
	return len(line), nil
}

func newLogger(out io.Writer, level slog.Level, secrets ...Secret) *slog.Logger {
	r := redactor{out: out}
	for _, secret := range secrets {
		if secret.value != "" {
			r.keys = append(r.keys, []byte(secret.value))
		}
	}
	return slog.New(slog.NewJSONHandler(r, &slog.HandlerOptions{Level: level}))
}

// shorten makes foreign text fit for a log line or a history entry: printable, one line, bounded. The end is kept, since
// that is where a command says what went wrong.
func shorten(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return -1
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > limit {
		return "…" + string(runes[len(runes)-limit:])
	}
	return text
}
