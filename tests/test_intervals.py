"""Intervals where notebooks cannot reach: any series, any damaged state, and the service over a socket."""

import json
import math

import numpy as np
import pytest
from harness import UNTIL, bench
from hypothesis import given
from hypothesis import strategies as st
from toys import export_toy

from crypto_rti.data.candles import HOUR, to_iso
from crypto_rti.data.simulation import sim_candles
from crypto_rti.evaluation.intervals import FOLLOWED, ConformalState, IntervalError, adjust, calibrate, follow, known_at, state_at, update
from crypto_rti.registry.bundle import load_bundle
from crypto_rti.replay.server import running_exchange
from crypto_rti.service.once import predict_once
from crypto_rti.settings import load_settings
from crypto_rti.targets import make_dataset, to_prices

START = calibrate(np.tile([-1.6, -0.5, 0.0, 0.5, 1.6], (500, 1)), np.random.default_rng(0).standard_t(3, 500), gamma=0.05)

finite = st.floats(-1e9, 1e9)
rows = st.lists(st.tuples(st.lists(finite, min_size=5, max_size=5).map(sorted), finite, st.integers(1, 400)), min_size=1, max_size=40)


def unpack(series):
    "Quantiles, outcomes and moments of a generated series."
    quantiles, y, steps = zip(*series, strict=True)
    return np.array(quantiles), np.array(y), 1_700_000_400 // HOUR * HOUR + HOUR * np.cumsum(steps)


# --- any series ---


@given(rows, st.integers(0, 40))
def test_no_outcome_is_used_before_its_hour(series, cut):
    quantiles, y, moments = unpack(series)
    issued, end = follow(START, quantiles, y, moments)
    cut = min(cut, len(y) - 1)
    changed = np.where(np.arange(len(y)) < cut, y, -3 * y + 1)
    assert (follow(START, quantiles, changed, moments)[0][: cut + 1] == issued[: cut + 1]).all()
    known = state_at(START, int(moments[cut]) - HOUR, quantiles, changed, moments)
    np.testing.assert_allclose(adjust(known, quantiles[[cut]])[0], issued[cut], rtol=1e-9, atol=1e-6)
    assert end.until == moments[-1] and all(0 <= alpha <= 1 for alpha in end.alpha)


@given(rows)
def test_adjusted_quantiles_are_quantiles(series):
    quantiles, y, moments = unpack(series)
    issued, end = follow(START, quantiles, y, moments)
    assert np.isfinite(issued).all() and (np.diff(issued, axis=1) >= 0).all() and (issued[:, 2] == quantiles[:, 2]).all()
    state = START
    for row, outcome, moment in zip(quantiles, y, moments, strict=True):
        state = update(state, row, outcome, int(moment))
    assert state == end


@pytest.mark.parametrize("gamma", [0.002, 0.02])
def test_coverage_in_the_long_run(gamma):
    "Gibbs and Candès's bound: the misses of n hours differ from alpha by at most (max(alpha, 1 - alpha) + gamma) / (gamma n), while alpha stays inside."
    n, noise = 20_000, np.random.default_rng(1)
    y = noise.standard_t(3, n) * np.exp(np.sin(np.arange(n) / 900))  # the scale swings by a factor of seven
    state = calibrate(np.tile([-1.6, -0.5, 0.0, 0.5, 1.6], (500, 1)), noise.standard_t(3, 500) * 1.5, gamma=gamma)
    issued, end = follow(state, np.tile([-1.6, -0.5, 0.0, 0.5, 1.6], (n, 1)), y)
    for low, high, alpha in ((0, 4, 0.1), (1, 3, 0.5)):
        missed = ((y < issued[:, low]) | (y > issued[:, high])).mean()
        assert abs(missed - alpha) <= (max(alpha, 1 - alpha) + gamma) / (gamma * n) + 0.005
    assert end.until is None


# --- any state ---

numbers = st.lists(st.floats(), max_size=4)
junk = st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=5), numbers, st.lists(numbers, max_size=5))


@given(st.dictionaries(st.sampled_from(["levels", "alpha", "gamma", "until", "scores", "colour"]), junk, min_size=1))
def test_a_damaged_state_is_named_or_harmless(changes):
    values = {**START.to_dict(), **changes}
    try:
        state = ConformalState.from_dict(values)
    except IntervalError as error:
        assert "promote the model again" in str(error)
    else:
        row = adjust(state, np.array([[-1.6, -0.5, 0.0, 0.5, 1.6]]))
        assert np.isfinite(row).all() and (np.diff(row) >= 0).all() and all(map(math.isfinite, state.alpha))


def test_a_state_survives_json():
    state = follow(START, *unpack([([-1.0, -0.5, 0.0, 0.5, 1.0], 0.3, 1)] * 9))[1]
    assert ConformalState.from_dict(json.loads(json.dumps(state.to_dict()))) == state


# --- the service ---


def intervals(answer):
    return [answer[name][side] for name in ("interval", "interval_50") for side in ("low", "high")]


def offline(folder, until):
    "What a loop over all hours says about one of them."
    bundle = load_bundle(folder)
    data = make_dataset(sim_candles("BTC-USD", until - 400 * HOUR, until + HOUR), "BTC-USD")
    span = data.between(until - (FOLLOWED + 1) * HOUR, until)
    quantiles = follow(bundle.interval, bundle.predict(span.X), span.y, known_at(span.time))[0][-1:]
    return to_prices(span.close[-1:], span.volatility[-1:], quantiles)[0]


def test_the_service_answers_what_a_loop_answers(tmp_path):
    with bench(tmp_path, slope=0.01, interval=START.to_dict()) as up:
        for hours in (1, 7, 72, 75 * 24):
            until = UNTIL - hours * HOUR
            answer = up.answer(time_from=hours if hours <= 72 else to_iso(until))
            wanted = offline(up.bundles / "sim.BTC-USD" / "1", until)
            assert intervals(answer) == pytest.approx([wanted[0], wanted[4], wanted[1], wanted[3]], rel=1e-9)
            assert answer["predicted_price"] == pytest.approx(wanted[2], rel=1e-9)


def test_the_same_hour_has_the_same_answer_whoever_answers(tmp_path):
    "`now` in one service; two days and three months later, from other windows of candles, in others."
    given = {}
    for number, later in enumerate((0, 50, 2000)):
        with bench(tmp_path / str(number), start=to_iso(UNTIL + later * HOUR + 1200), slope=0.01, interval=START.to_dict()) as up:
            given[later] = up.answer(time_from=to_iso(UNTIL))
            if not later:
                assert intervals(up.answer()) == intervals(given[0])
    assert intervals(given[0]) == intervals(given[50]) == intervals(given[2000])


def test_outcomes_from_later_hours_are_kept_out(tmp_path):
    "A bundle that has learned until today answers for last week as one that has learned nothing."
    data = make_dataset(sim_candles("BTC-USD", UNTIL - 800 * HOUR, UNTIL), "BTC-USD")
    fan = np.tile([-1.6, -0.5, 0.0, 0.5, 1.6], (len(data), 1))
    ahead = follow(START, fan, data.y, known_at(data.time))[1]
    assert ahead.until == UNTIL and ahead.alpha != START.alpha
    answers = {}
    for name, state in (("fresh", START), ("ahead", ahead)):
        with bench(tmp_path / name, interval=state.to_dict()) as up:
            answers[name] = [intervals(up.answer(time_from=when)) for when in (30, "now")]
    assert answers["fresh"][0] == answers["ahead"][0] and answers["fresh"][1] != answers["ahead"][1]


def test_without_a_state_nothing_is_adjusted(tmp_path):
    export_toy(tmp_path / "bundles")
    with running_exchange("sim", start=to_iso(UNTIL + 1200), speed=0.0) as exchange:
        answer = predict_once(load_settings(home=tmp_path, source=f"sim={exchange.url}"), "BTC-USD")
    row = make_dataset(sim_candles("BTC-USD", UNTIL - 200 * HOUR, UNTIL + HOUR), "BTC-USD").between(UNTIL - HOUR, UNTIL)
    wanted = to_prices(row.close, row.volatility, np.array([[-1.6, -0.5, 0.0, 0.5, 1.6]], dtype=np.float32).astype(float))[0]
    assert [answer.interval.low, answer.interval.high] == pytest.approx([wanted[0], wanted[4]], rel=1e-6)


def test_a_damaged_state_keeps_a_version_out(tmp_path):
    with bench(tmp_path, interval=START.to_dict()) as up:
        before = up.answer()
        export_toy(up.bundles, version="2", interval={**START.to_dict(), "alpha": [0.5, -1]})
        up.until(lambda _: up.http.get("/api/models").json()["models"][0]["faults"])
        assert "interval state is damaged" in up.http.get("/api/models").json()["models"][0]["faults"]["2"]
        assert up.answer()["model_version"] == "1" and intervals(up.answer()) == intervals(before)
