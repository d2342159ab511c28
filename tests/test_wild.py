"""One wild print, a redenomination, a peg that breaks: what a fixed bundle answers, what training learns, and what an old bundle goes on answering."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toys import export_toy
from wild import START, old_bundle, stored, unpack, walk, with_jump, with_wick

from crypto_rti.data.candles import HOUR, to_iso
from crypto_rti.evaluation.backtest import run_backtest
from crypto_rti.evaluation.intervals import ConformalState, adjust, calibrate, update
from crypto_rti.evaluation.walk_forward import BacktestError
from crypto_rti.features import FEATURES, build_features
from crypto_rti.inputs import INPUTS, computations, features_signature, model_inputs
from crypto_rti.models.base import LARGEST_TARGET, MODELS, Persistence, train_forecaster
from crypto_rti.registry.bundle import Bundle, load_bundle, read_manifest
from crypto_rti.registry.comparison import compare_models
from crypto_rti.registry.connection import RegistryError
from crypto_rti.registry.contents import check_features
from crypto_rti.registry.manifest import BundleMismatchError
from crypto_rti.screen import unusual_hours
from crypto_rti.service.forecasts import Forecast, make_forecast, to_result
from crypto_rti.service.hourly import forecast_past
from crypto_rti.service.models import ModelCache
from crypto_rti.targets import Dataset, make_dataset

PLACE = 400


@pytest.fixture
def old(tmp_path: Path) -> Bundle:
    return old_bundle(tmp_path / "old")


@pytest.fixture
def new(tmp_path: Path) -> Bundle:
    "The same model, as if it had been trained on bounded returns."
    folder = unpack(tmp_path / "new")
    facts = json.loads((folder / "manifest.json").read_text()) | {"features_signature": features_signature()}
    (folder / "manifest.json").write_text(json.dumps(facts))
    return load_bundle(folder)


def ask(table: pd.DataFrame, place: int, model: Bundle) -> Forecast:
    return make_forecast(table, int(table["time"][place]) + HOUR, model, "SOL-USD", "coinbase")


def widths(forecast: Forecast) -> tuple[float, float]:
    "Relative widths of the 50 and the 90 % interval."
    lowest, low, _, high, highest = forecast.prices
    return (high - low) / forecast.current_price, (highest - lowest) / forecast.current_price


# ---- what a print does


def test_rows_without_an_unusual_return_keep_their_forecast(old: Bundle, new: Bundle) -> None:
    table = walk()
    for place in range(230, 600, 23):
        np.testing.assert_allclose(ask(table, place, new).prices, ask(table, place, old).prices, rtol=1e-9)


@pytest.mark.parametrize("factor", [0.01, 0.8, 1.25, 100.0])
@pytest.mark.parametrize("adapting", [True, False])
def test_a_wick_widens_no_interval_beyond_twice(new: Bundle, factor: float, adapting: bool) -> None:
    model, table = new if adapting else replace(new, interval=None), with_wick(walk(), PLACE, factor)
    before = widths(ask(table, PLACE - 1, model))
    for place in [PLACE, PLACE + 1, PLACE + 2, *range(PLACE + 3, PLACE + 200, 24)]:
        answer = ask(table, place, model)
        assert max(now / then for now, then in zip(widths(answer), before, strict=True)) <= 2
        assert answer.prices[0] < answer.current_price < answer.prices[-1]


def test_the_plain_computation_did_widen_them(old: Bundle) -> None:
    table = with_wick(walk(), PLACE)
    assert widths(ask(table, PLACE, old))[1] > 50 * widths(ask(table, PLACE - 1, old))[1]


def test_two_wicks_within_two_days_are_bounded_too(new: Bundle) -> None:
    table = with_wick(with_wick(walk(), PLACE), PLACE + 30, 50.0)
    before = widths(ask(table, PLACE - 1, new))
    for place in [PLACE + 30, PLACE + 31, PLACE + 168, PLACE + 180, *range(PLACE + 185, PLACE + 199, 3)]:
        assert max(now / then for now, then in zip(widths(ask(table, place, new)), before, strict=True)) <= 2


def test_a_jump_that_stays_is_a_new_level_from_the_second_hour_on(new: Bundle) -> None:
    calm, jump = walk(), with_jump(walk(), PLACE)
    for place in range(PLACE + 1, PLACE + 190, 21):
        level, usual = ask(jump, place, new), ask(calm, place, new)
        assert level.prices[2] / usual.prices[2] == pytest.approx(1000, rel=5e-3)
        assert max(now / then for now, then in zip(widths(level), widths(usual), strict=True)) <= 1.5
    later = model_inputs(jump)[INPUTS].iloc[PLACE + 30 - 24] - model_inputs(calm)[INPUTS].iloc[PLACE + 30 - 24]
    assert later.abs().drop("log_volatility").max() < 0.5


def test_a_peg_that_breaks_is_believed_within_hours(new: Bundle) -> None:
    table = walk(sigma=1e-4, price=1.0)
    moves = np.array([-0.03, 0.02, -0.02, 0.015, -0.01, 0.02])
    table.loc[PLACE:, ["low", "high", "open", "close"]] *= np.exp(np.append(np.cumsum(moves), np.full(600 - PLACE - 6, moves.sum())))[:, None]
    calm, third, sixth = (widths(ask(table, place, new))[1] for place in (PLACE - 1, PLACE + 2, PLACE + 5))
    assert third > 10 * calm and sixth > 30 * calm


@pytest.mark.parametrize("kind", ["flat", "ticks", "sleepy"])
def test_coins_that_seldom_move_get_sane_intervals(new: Bundle, kind: str) -> None:
    table, rng = walk(), np.random.default_rng(3)
    if kind == "flat":
        close = np.ones(600)
    elif kind == "ticks":
        close = 4 + np.round(rng.normal(0, 0.4, 600)).clip(-1, 1)
    else:
        close = pd.Series(table["close"]).where(rng.random(600) < 0.08).ffill().fillna(140.0).to_numpy()
    open_ = np.append(close[0], close[:-1])
    table = table.assign(open=open_, close=close, low=np.minimum(open_, close), high=np.maximum(open_, close))
    for place in range(230, 600, 31):
        answer = ask(table, place, new)
        assert np.isfinite(answer.prices).all() and answer.prices[-1] < 4 * answer.current_price


def test_ticks_of_a_coin_that_seldom_moves_are_not_unusual() -> None:
    close = np.full(600, 4.0)
    for start in (100, 230, 420):  # Two ticks up and down within three days, then nothing for a week
        for place in (start, start + 50):
            close[place : place + 2] = 5.0
    seen = [unusual_hours(START + HOUR * np.arange(place + 1), close[: place + 1]) for place in range(300, 420)]
    assert not any(seen)
    close[290] = 400.0
    assert unusual_hours(START + HOUR * np.arange(292), close[:292]) == [START + HOUR * 291, START + HOUR * 292]


def test_the_68_features_are_what_the_candles_say() -> None:
    table = with_wick(walk(), PLACE)
    row = build_features(table).loc[pd.Timestamp(START + (PLACE + 1) * HOUR, unit="s", tz="UTC")]
    assert row["price_1_hour_ago"] == table["close"][PLACE] and list(row.index) == FEATURES


def test_a_forecast_names_unusual_hours(new: Bundle, old: Bundle) -> None:
    table = with_wick(walk(), PLACE)
    ends = [START + (PLACE + 1) * HOUR, START + (PLACE + 2) * HOUR]
    for model in (new, old):
        assert ask(table, PLACE - 1, model).unusual == () and ask(table, PLACE, model).unusual == (ends[0],)
        assert ask(table, PLACE + 100, model).unusual == tuple(ends) and ask(table, PLACE + 190, model).unusual == ()
    assert to_result(ask(table, PLACE + 5, new), START).unusual_hours == [to_iso(end) for end in ends]


# ---- what training and intervals learn of it


def test_training_clips_what_no_market_does(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []

    class Spy(Persistence):
        def fit(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray) -> "Spy":
            seen.extend([y, y_valid])
            super().fit(X, y, X_valid, y_valid)
            return self

    monkeypatch.setitem(MODELS, "spy", f"{__name__}:Spy")
    monkeypatch.setitem(globals(), "Spy", Spy)
    data = make_dataset(with_jump(walk(900), PLACE), "OLD-USD")
    train_forecaster("spy", data)
    assert np.abs(data.y).max() > 500 and max(np.abs(y).max() for y in seen) == LARGEST_TARGET


def test_a_redenomination_in_the_training_data_leaves_the_error_where_it_was() -> None:
    tables = {"calm": walk(1500, reversal=0.6), "jump": with_jump(walk(1500, reversal=0.6), 700)}
    tests = {name: make_dataset(table, name) for name, table in tables.items()}
    found = {}
    for name, data in tests.items():
        rows = data.take(np.abs(data.y) < 100)
        result = run_backtest({name: rows}, {"lasso": {}}, START + 650 * HOUR, START + 1490 * HOUR, 35, data).results()[0]
        found[name] = result["mase"]
    assert abs(found["jump"] - found["calm"]) < 0.02


def test_one_wild_outcome_moves_adaptive_intervals_like_any_miss(new: Bundle) -> None:
    state, quantiles = new.interval, np.array([-1.6, -0.5, 0.0, 0.5, 1.6])
    assert state is not None
    assert update(state, quantiles, 1000.0).alpha == update(state, quantiles, 9.0).alpha


def test_one_wild_outcome_does_not_own_a_small_calibration() -> None:
    y = np.random.default_rng(0).standard_normal(40)
    quantiles = np.tile([-1.6, -0.5, 0.0, 0.5, 1.6], (40, 1))
    states: list[ConformalState] = [calibrate(quantiles, np.append(y[1:], last)) for last in (8.0, 5000.0)]
    hungry = [replace(state, alpha=(0.0, 0.0)) for state in states]
    usual, wild = (adjust(state, quantiles[:1])[0, -1] for state in hungry)
    assert wild < 2 * usual


# ---- bundles from before


def test_the_stored_bundle_answers_what_its_own_code_answered(old: Bundle) -> None:
    table = with_wick(walk(), PLACE)
    assert not old.bounded and old.manifest.features_signature == features_signature(False) != features_signature()
    for said in stored()["answers"]:
        made = make_forecast(table, said["data_until"], old, "SOL-USD", "coinbase")
        np.testing.assert_allclose(made.prices, said["prices"], rtol=1e-5)
        assert made.volatility == pytest.approx(said["volatility"], rel=1e-12)


def test_a_service_goes_on_serving_it(tmp_path: Path) -> None:
    folder = export_toy(tmp_path, "SOL-USD", source="coinbase")
    unpack(folder)
    cache = ModelCache(tmp_path, "coinbase")
    cache.refresh()
    model = cache.choose("SOL-USD", "champion")
    assert (model.kind, model.bounded, cache.coins["SOL-USD"].faults) == ("lasso", False, {})
    table = with_wick(walk(), PLACE)
    hour = int(table["time"][PLACE + 10]) + HOUR
    assert isinstance(model, Bundle)
    hours = {one.data_until: one.volatility for one in forecast_past(table, hour, hour - 5 * HOUR, model, None, None)}
    assert hours == {moment: make_forecast(table, moment, model, "SOL-USD", "coinbase").volatility for moment in hours} and len(hours) == 4


def test_an_unknown_computation_is_refused_by_name(old: Bundle) -> None:
    with pytest.raises(BundleMismatchError, match=f"signature {'0' * 16}, the running code computes {' and '.join(computations())}"):
        check_features(old.manifest.model_copy(update={"features_signature": "0" * 16}), "sim/1")


def hours(bounded: bool) -> Dataset:
    return make_dataset(with_wick(walk(), PLACE), "SOL-USD", bounded=bounded)


def judged(bundle: Bundle, version: str) -> Bundle:
    "As if it had learned up to the first hours of the walk."
    span = (to_iso(START - 900 * HOUR), to_iso(START + 240 * HOUR))
    return replace(bundle, interval=None, manifest=bundle.manifest.model_copy(update={"train_span": span, "version": version}))


def test_the_gate_gives_each_contestant_its_own_inputs(old: Bundle, new: Bundle) -> None:
    comparison = compare_models(judged(new, "2"), judged(old, "1"), hours(True), lambda: hours(False))
    place = int(np.flatnonzero(comparison.close == with_wick(walk(), PLACE)["close"][PLACE])[0])
    said = {who: forecasts[place] for who, forecasts in comparison.forecasts.items()}
    assert np.ptp(said["champion"]) > 50 * np.ptp(said["challenger"])
    with pytest.raises(RegistryError, match="pass `unbounded`"):
        compare_models(judged(new, "2"), judged(old, "1"), hours(True))
    same = compare_models(judged(new, "2"), judged(new, "1"), hours(True))
    np.testing.assert_array_equal(same.forecasts["challenger"], comparison.forecasts["challenger"])


def test_a_backtest_of_an_old_bundle_uses_its_computation(old: Bundle, new: Bundle) -> None:
    span = (START + 300 * HOUR, START + 590 * HOUR)
    with pytest.raises(BacktestError, match="bounded=False"):
        run_backtest({"SOL-USD": hours(True)}, {}, *span, fixed={"lasso": old})
    done = run_backtest({"SOL-USD": hours(True)}, {}, *span, fixed={"old": old, "new": new}, plain={"SOL-USD": hours(False)}).rows
    sizes = {name: rows["volatility"].max() for name, rows in done.groupby("model")}
    assert sizes["old"] > 50 * sizes["new"]


def test_the_stored_manifest_is_from_before(tmp_path: Path) -> None:
    assert read_manifest(unpack(tmp_path / "bundle")).features_signature == "18c68c93a6c16688"
