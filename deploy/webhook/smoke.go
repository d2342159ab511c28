package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"time"
)

// Smoke asks a freshly started service for a forecast. Healthy is what a container says of itself; a right answer is proof.
type Smoke struct {
	URL     string
	Coins   []string
	Timeout time.Duration // for all of it, retries included
	Client  *http.Client
}

const maxSmokeBody = 1 << 20

func newSmoke(config *Config) *Smoke {
	client := &http.Client{
		Timeout:       min(10*time.Second, config.SmokeTimeout),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		// No proxy, and no connection kept to a container that is about to be replaced.
		Transport: &http.Transport{DisableKeepAlives: true},
	}
	return &Smoke{URL: config.ServiceURL, Coins: config.SmokeCoins, Timeout: config.SmokeTimeout, Client: client}
}

// Check repeats until the service answers as it should or the time is up: candles may take a moment to arrive.
func (s *Smoke) Check(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	var last error
	for {
		err := s.once(limited)
		if err == nil {
			return nil
		}
		if last == nil || limited.Err() == nil { // the last real answer says more than "deadline exceeded"
			last = err
		}
		select {
		case <-limited.Done():
			return fmt.Errorf("the smoke forecast did not succeed within %s: %w", s.Timeout, last)
		case <-time.After(min(time.Second, s.Timeout/10)):
		}
	}
}

func (s *Smoke) once(ctx context.Context) error {
	if _, err := s.get(ctx, "/health/ready"); err != nil {
		return err
	}
	for _, coin := range s.Coins {
		body, err := s.get(ctx, "/api/predict?coin="+url.QueryEscape(coin))
		if err != nil {
			return err
		}
		if err := checkForecast(body, coin); err != nil {
			return err
		}
	}
	return nil
}

func (s *Smoke) get(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path, nil)
	if err != nil {
		return nil, fmt.Errorf("%s is unusable: %w; correct WEBHOOK_SERVICE_URL", path, err)
	}
	response, err := s.Client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%s does not answer: %w", path, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxSmokeBody))
	if err != nil {
		return nil, fmt.Errorf("%s breaks off: %w", path, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %d: %s", path, response.StatusCode, shorten(string(body), 200))
	}
	return body, nil
}

// forecast is the part of the service's answer that is judged. Pointers tell a missing number from a zero.
type forecast struct {
	Prediction *struct {
		Coin           string   `json:"coin"`
		CurrentPrice   *float64 `json:"current_price"`
		PredictedPrice *float64 `json:"predicted_price"`
	} `json:"prediction"`
}

// checkForecast refuses what no honest service says: another coin, a price that is none, or one out of all proportion.
func checkForecast(body []byte, coin string) error {
	var answer forecast
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("/api/predict answers no forecast of %s: %s", coin, shorten(err.Error(), 200))
	}
	prediction := answer.Prediction
	if prediction == nil || prediction.CurrentPrice == nil || prediction.PredictedPrice == nil {
		return fmt.Errorf("/api/predict answers no prediction with a current and a predicted price of %s", coin)
	}
	if prediction.Coin != coin {
		return fmt.Errorf("/api/predict was asked for %s and speaks of %q", coin, shorten(prediction.Coin, 50))
	}
	current, predicted := *prediction.CurrentPrice, *prediction.PredictedPrice
	if !positive(current) || !positive(predicted) {
		return fmt.Errorf("/api/predict answers %v after %v for %s; a price is a finite number above 0", predicted, current, coin)
	}
	// No product served has ever halved or doubled within an hour: such a forecast is a broken model, not a bold one.
	if ratio := predicted / current; ratio < 0.5 || ratio > 2 {
		return fmt.Errorf("/api/predict answers %v after %v for %s; no hour moves a price that far", predicted, current, coin)
	}
	return nil
}

func positive(number float64) bool { return number > 0 && !math.IsInf(number, 1) }
