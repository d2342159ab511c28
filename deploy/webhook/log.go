package main

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"unicode"
)

const redacted = "[deploy key]"

// redactor is the last line of defence: whatever a library or a command puts into a log line, the deploy key does not
// pass. The key holds only characters that JSON leaves alone, and slog writes a record in one call.
type redactor struct {
	out io.Writer
	key []byte
}

func (r redactor) Write(line []byte) (int, error) {
	if len(r.key) > 0 {
		if _, err := r.out.Write(bytes.ReplaceAll(line, r.key, []byte(redacted))); err != nil {
			return 0, err
		}
		return len(line), nil
	}
	return r.out.Write(line)
}

func newLogger(out io.Writer, level slog.Level, key Secret) *slog.Logger {
	return slog.New(slog.NewJSONHandler(redactor{out, []byte(key.value)}, &slog.HandlerOptions{Level: level}))
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
