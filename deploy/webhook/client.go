package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// callServer asks the running server of this machine, for --status, --rollback and --retry. The key comes from its file and
// stays out of command lines, where `ps` would show it.
func callServer(ctx context.Context, config *Config, method, action string, out io.Writer) error {
	if config.AdminKey.value == "" {
		return fmt.Errorf("WEBHOOK_ADMIN_KEY_FILE is not set, so the server answers no %s; make a key, name its file there for the server as well, and restart it: %s", action, makeKey)
	}
	host, port, err := net.SplitHostPort(config.Listen)
	if err != nil {
		return fmt.Errorf("WEBHOOK_LISTEN is %q: %w; write host:port", config.Listen, err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	address := url.URL{Scheme: "http", Host: net.JoinHostPort(host, port), Path: "/infra/" + action}
	request, err := http.NewRequestWithContext(ctx, method, address.String(), nil)
	if err != nil {
		return fmt.Errorf("WEBHOOK_LISTEN is %q, which is no address; write host:port", config.Listen)
	}
	request.Header.Set("Authorization", "Bearer "+config.AdminKey.value)
	client := &http.Client{
		Timeout:   10 * time.Second,  // covers the body too
		Transport: &http.Transport{}, // no proxy: it would see the key
		// A redirect could send the key to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		// A url.Error quotes the address, which is named already.
		var quoting *url.Error
		if errors.As(err, &quoting) {
			err = quoting.Err
		}
		return fmt.Errorf("no webhook server answers at %s: %w; start it, or correct WEBHOOK_LISTEN", config.Listen, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("the answer of the server at %s broke off: %w; try again", config.Listen, err)
	}
	switch response.StatusCode {
	case http.StatusOK, http.StatusAccepted:
		var document any
		if err := json.Unmarshal(body, &document); err != nil {
			return fmt.Errorf("what listens at %s is no webhook server; correct WEBHOOK_LISTEN", config.Listen)
		}
		text, err := json.MarshalIndent(document, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, string(text))
		return err
	case http.StatusNotFound:
		return fmt.Errorf("the server at %s does not take the key in %s (404); restart it after changing the key, or wait a minute after wrong ones", config.Listen, config.AdminFile)
	default:
		return fmt.Errorf("the server at %s answers %d: %s", config.Listen, response.StatusCode, shorten(string(body), 300))
	}
}
