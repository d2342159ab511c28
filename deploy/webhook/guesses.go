package main

import (
	"container/list"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

const (
	freeGuesses  = 10               // wrong keys of one client before it has to pause
	longestPause = time.Minute      // the pause after a wrong key doubles from one second up to this
	forgetAfter  = 10 * time.Minute // a client that sent no wrong key for so long starts again
	maxGuessers  = 1024             // clients that are remembered; beyond that, the one that was quiet for longest is forgotten
)

// Guesses limits how often one client may try a key. During a pause its requests are refused without a look at the key, so
// that requests side by side learn no more than one after the other. Other clients are not affected: a hook is not lost
// because a stranger guesses. A key of 32 random characters is safe without this; it bounds what a weaker one gives away.
type Guesses struct {
	mu      sync.Mutex
	now     func() time.Time
	clients map[string]*list.Element
	recent  list.List // of *guesser, the most recent first
}

type guesser struct {
	client string
	count  int
	last   time.Time // the last wrong key
	until  time.Time // the end of the pause
}

func newGuesses() *Guesses {
	return &Guesses{now: time.Now, clients: map[string]*list.Element{}}
}

// Try calls opens unless the client has to pause, and counts when it answers false. The right key does not clear the count:
// whoever has one key may not guess the other without limit.
func (g *Guesses) Try(client string, opens func() bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	element := g.clients[client]
	if element != nil && now.Before(element.Value.(*guesser).until) {
		return false
	}
	if opens() {
		return true
	}
	if element == nil {
		if g.recent.Len() >= maxGuessers {
			oldest := g.recent.Back()
			g.recent.Remove(oldest)
			delete(g.clients, oldest.Value.(*guesser).client)
		}
		element = g.recent.PushFront(&guesser{client: client})
		g.clients[client] = element
	}
	g.recent.MoveToFront(element)
	entry := element.Value.(*guesser)
	if now.Sub(entry.last) > forgetAfter {
		entry.count = 0
	}
	entry.count, entry.last = entry.count+1, now
	if over := entry.count - freeGuesses; over >= 0 {
		entry.until = now.Add(min(longestPause, time.Second<<min(over, 10)))
	}
	return false
}

// clientOf names who sent a request: an IPv4 address, or the /64 of an IPv6 address, since one customer gets all of it. The
// tunnel connects from this machine and names its client last in X-Forwarded-For; what stands before was written by the
// client. From any other address the header is not believed.
func clientOf(r *http.Request) string {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	address, _ := netip.ParseAddr(host)
	if lines := r.Header.Values("X-Forwarded-For"); address.IsLoopback() && len(lines) > 0 {
		parts := strings.Split(lines[len(lines)-1], ",")
		if named, err := netip.ParseAddr(strings.TrimSpace(parts[len(parts)-1])); err == nil {
			address = named
		}
	}
	address = address.Unmap().WithZone("")
	if prefix, err := address.Prefix(64); address.Is6() && err == nil {
		return prefix.String()
	}
	return address.String()
}
