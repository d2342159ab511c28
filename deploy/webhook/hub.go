package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Hub asks Docker Hub what a tag holds. A hook says only that somebody knocked: it carries no digest and no signature.
type Hub struct {
	URL        string
	Repository string
	Client     *http.Client
	Attempts   int
	Pause      time.Duration // before the first retry; doubles
}

func newHub(config *Config) *Hub {
	client := &http.Client{
		Timeout: config.HubTimeout, // covers the body too: a hub that drips cannot hold a rollout
		// A redirect would let whoever answers choose another host for the digest.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Hub{URL: config.HubURL, Repository: config.Repository, Client: client, Attempts: 4, Pause: time.Second}
}

const (
	maxHubBody   = 1 << 20
	maxHubPause  = time.Minute
	maxErrorText = 500
)

// retryError is a fault that may be over in a moment.
type retryError struct {
	error
	after time.Duration // the hub's own wish
}

// Digest answers the digest of a tag. Faults that pass are waited out a few times; a poll will come again anyway.
func (h *Hub) Digest(ctx context.Context, tag string) (string, error) {
	pause := h.Pause
	for attempt := 1; ; attempt++ {
		digest, err := h.ask(ctx, tag)
		var passing *retryError
		if err == nil || !errors.As(err, &passing) || attempt >= h.Attempts || ctx.Err() != nil {
			return digest, err
		}
		wait := min(max(pause+rand.N(pause/4+1), passing.after), maxHubPause)
		pause *= 2
		select {
		case <-ctx.Done():
			return "", err
		case <-time.After(wait):
		}
	}
}

func (h *Hub) ask(ctx context.Context, tag string) (string, error) {
	namespace, name, _ := strings.Cut(h.Repository, "/")
	address := fmt.Sprintf("%s/v2/namespaces/%s/repositories/%s/tags/%s", h.URL, url.PathEscape(namespace), url.PathEscape(name), url.PathEscape(tag))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", fmt.Errorf("the hub's address %q is unusable: %w; correct WEBHOOK_HUB_URL", h.URL, err)
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "crypto-rti-webhook/"+version)
	response, err := h.Client.Do(request)
	if err != nil {
		return "", &retryError{error: fmt.Errorf("the hub does not answer: %w; check the network, the next poll asks again", err)}
	}
	defer response.Body.Close()
	if err := h.checkStatus(response, tag); err != nil {
		return "", err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxHubBody))
	if err != nil {
		return "", &retryError{error: fmt.Errorf("the hub's answer broke off: %w; the next poll asks again", err)}
	}
	return parseTag(body, tag)
}

func (h *Hub) checkStatus(response *http.Response, tag string) error {
	switch code := response.StatusCode; {
	case code == http.StatusOK:
		return nil
	case code == http.StatusNotFound:
		return fmt.Errorf("the hub knows no %s:%s (404); check WEBHOOK_REPOSITORY and WEBHOOK_TAGS, and that the repository is public", h.Repository, tag)
	case code == http.StatusTooManyRequests:
		return &retryError{fmt.Errorf("the hub refuses for now (429); raise WEBHOOK_POLL_INTERVAL if this repeats"), retryAfter(response.Header)}
	case code >= 500:
		return &retryError{fmt.Errorf("the hub fails (%d); the next poll asks again", code), retryAfter(response.Header)}
	default:
		return fmt.Errorf("the hub answers %d, which says nothing about %s:%s; check WEBHOOK_HUB_URL", code, h.Repository, tag)
	}
}

func retryAfter(header http.Header) time.Duration {
	seconds, err := strconv.Atoi(header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(min(seconds, 3600))*time.Second, maxHubPause)
}

func parseTag(body []byte, tag string) (string, error) {
	var answer struct {
		Name   string `json:"name"`
		Digest string `json:"digest"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", fmt.Errorf("the hub's answer is no JSON document: %s; check WEBHOOK_HUB_URL", shorten(err.Error(), 200))
	}
	if answer.Name != tag {
		return "", fmt.Errorf("the hub was asked for tag %q and speaks of %q; nothing is installed on that word", tag, shorten(answer.Name, 100))
	}
	if !digestGrammar.MatchString(answer.Digest) {
		return "", fmt.Errorf("the hub gives %q as the digest of %s; push the tag again, an old one may have none", shorten(answer.Digest, 100), tag)
	}
	return answer.Digest, nil
}
