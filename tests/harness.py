"""A replay exchange, the service in front of it and a client, for tests of the whole application over real sockets."""

import contextlib

import httpx
from toys import export_toy
from waiting import wait_for

from crypto_rti.data.candles import HOUR, final_until, to_unix
from crypto_rti.replay.server import running_exchange
from crypto_rti.service.server import running_service
from crypto_rti.settings import load_settings

NOW = "2024-01-31T15:20:00Z"
UNTIL = to_unix("2024-01-31T15:00Z")


class Bench:
    "A replay exchange, the service in front of it, and a client."

    def __init__(self, exchange, running, home):
        self.exchange, self.service, self.url, self.bundles = exchange, running.service, running.url, home / "bundles"
        self.hourly, self.track_record, self.hub, self.loop = running.hourly, running.track_record, running.hub, running.loop
        self.http = httpx.Client(base_url=running.url, timeout=20)

    def predict(self, **query):
        return self.http.get("/api/predict", params={"coin": "BTC-USD", **query})

    def answer(self, **query):
        response = self.predict(**query)
        assert response.status_code == 200, response.text
        return response.json()["prediction"]

    def until(self, wanted, seconds=60.0, **query):
        "Ask until the answer is as wanted."
        last = []

        def found():
            last[:] = [self.predict(**query)]
            return last[0] if wanted(last[0]) else None

        return wait_for(found, seconds, lambda: f"the answer that was wanted; the last one: {last[0].status_code} {last[0].text[:300]}", pause=0.1)

    def ready(self):
        wait_for(lambda: self.http.get("/health/ready").status_code == 200, 60, lambda: f"readiness; {self.http.get('/health/ready').text}")
        return self

    def jump(self, hours):
        "Advance the exchange's clock by hours, and the service's with it: several such jumps look like a clock that runs fast."
        self.exchange.clock.advance(hours * HOUR)
        self.in_loop(self._shift, hours * HOUR)

    def _shift(self, seconds):
        self.service.feed.clock.remote += seconds

    def hour(self, hours=1):
        "Let hours pass, and wait until the last one is settled."
        self.jump(hours)
        wanted = final_until(self.exchange.clock.now())
        wait_for(lambda: self.hourly.settled >= wanted, 60, lambda: f"the settled hour; {self.hourly}, {self.service.feed.failures}")

    def in_loop(self, function, *arguments):
        "Call something where the service runs."
        self.loop.call_soon_threadsafe(function, *arguments)

    def accuracy(self, **query):
        response = self.http.get("/api/accuracy", params={"coin": "BTC-USD", **query})
        assert response.status_code == 200, response.text
        return response.json()["accuracy"]

    def history(self, **query):
        response = self.http.get("/api/history", params={"coin": "BTC-USD", **query})
        assert response.status_code == 200, response.text
        return response.json()["history"]

    def candle_requests(self):
        return sum(request.path.endswith("/candles") and request.query["granularity"] == "3600" for request in self.exchange.requests)


@contextlib.contextmanager
def bench(home, start=NOW, products="BTC-USD ETH-USD", speed=0.0, wait=True, arm=None, options=None, lag=None, listed=None, market="sim", **toy):
    "Start it all; the clock is measured often, because a test's clock jumps. Prices are not followed unless `options` say so."
    export_toy(home / "bundles", **toy)
    given = {name: value for name, value in {"lag": lag, "products": listed}.items() if value is not None}  # Of the exchange
    with running_exchange(market, start=start, speed=speed, rate_limit=False, **given) as exchange:
        for fault in arm or ():
            exchange.faults.add(**fault)
        given = {"home": home, "source": f"sim={exchange.url}", "products": products, "requests_per_second": 10, "live_feed": False, **(options or {})}
        settings = load_settings(**given)
        with running_service(settings) as running:
            running.service.feed.clock.longest = 0.3
            up = Bench(exchange, running, home)
            with up.http:
                yield up.ready() if wait else up
