package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// What answers at WEBHOOK_LISTEN may be another program: it gets the key once, and neither sends it on nor holds the caller.
func TestClientLimits(t *testing.T) {
	t.Parallel()
	asked := ""
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = r.Header.Get("Referer") + r.URL.Path }))
	defer elsewhere.Close()
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"redirect": {func(out http.ResponseWriter, r *http.Request) { http.Redirect(out, r, elsewhere.URL+"/taken", 302) }, "answers 302"},
		"endless":  {func(out http.ResponseWriter, r *http.Request) { _, _ = io.Copy(out, zeros{}) }, "no webhook server"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(c.answer)
			defer server.Close()
			config := newWorld(t).config()
			config.Listen = strings.TrimPrefix(server.URL, "http://")
			var out bytes.Buffer
			err := callServer(t.Context(), config, http.MethodGet, "status", &out)
			if err == nil || !strings.Contains(err.Error(), c.want) || out.Len() > 0 || asked != "" {
				t.Errorf("got %v, %q; the other server was asked with %q", err, out.String(), asked)
			}
		})
	}
}
