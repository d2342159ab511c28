"Training one kind for one horizon: nothing learned reads what comes later, no fit is made twice, and the states of a bundle continue those of the training."

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter

import crypto_rti.evaluation.horizon_training as training
import crypto_rti.models.fits as fits
from crypto_rti.data.candles import HOUR
from crypto_rti.evaluation.horizon_pool import FittedVolatility, fit_volatility, split_quarters
from crypto_rti.evaluation.horizon_training import HorizonFit, horizon_metrics, score_hours, train_horizon
from crypto_rti.evaluation.horizons import QuestionError, follow_series
from crypto_rti.evaluation.intervals import calibrate, update
from crypto_rti.evaluation.metrics import LEAST_HOURS, LEVELS, diebold_mariano
from crypto_rti.evaluation.size import DAY, SizeState, follow_sizes, size_to_dict
from crypto_rti.models.base import ModelError, UnknownKindError
from crypto_rti.models.boosting import LightGBMModel
from crypto_rti.models.volatility import VolatilityModel
from crypto_rti.outcomes import QuarterRows, make_quarter_rows

WEEKS = 19.5
MINUTES = (0, 15, 30, 45)
COLUMNS = ["product", "time", "close", *LEVELS, "base_q05", "base_q95", "size"]


def quick() -> VolatilityModel:
    "Without the trees, which take most of the time."
    return VolatilityModel(trees=0)


def random_walk(seed: int) -> pd.DataFrame:
    "Minutes of which each quarter takes back a fifth of the hour before it."
    draw, count = np.random.default_rng(seed), int(WEEKS * 7 * 24 * 60)
    quarter = lfilter([1.0], [1.0, 0.2, 0.2, 0.2, 0.2], draw.normal(0, 0.002, count // 15))
    step = np.repeat(quarter / 15, 15) + draw.normal(0, 0.0002, count)
    close = 100 * np.exp(np.cumsum(step))
    opens = np.append(100.0, close[:-1])
    prices = {"low": np.minimum(opens, close), "high": np.maximum(opens, close), "open": opens, "close": close}
    return pd.DataFrame({"time": 60 * np.arange(count), **prices, "volume": draw.exponential(1, count)})


def twisted_from(minutes: pd.DataFrame, moment: int) -> pd.DataFrame:
    "Other prices from a moment on: a jump, and each move mirrored."
    later, anchor = minutes["time"] >= moment, minutes["close"].iloc[0]
    prices = {name: minutes[name].where(~later, 1.3 * anchor**2 / minutes[other]) for name, other in (("low", "high"), ("high", "low"))}
    return minutes.assign(**prices, **{name: minutes[name].where(~later, 1.3 * anchor**2 / minutes[name]) for name in ("open", "close")})


@pytest.fixture(scope="module")
def minutes() -> dict[str, pd.DataFrame]:
    return {"A-B": random_walk(5), "C-D": random_walk(6)}


def rows_of(minutes: dict[str, pd.DataFrame]) -> dict[str, QuarterRows]:
    return {product: make_quarter_rows(table, product) for product, table in minutes.items()}


@pytest.fixture(scope="module")
def pool(minutes) -> dict[str, QuarterRows]:
    "Two coins, and one that was listed four days before the end."
    rows = rows_of(minutes)
    late = rows["C-D"].take(rows["C-D"].moment >= int((WEEKS - 4 / 7) * 7 * DAY))
    return {**rows, "NEW-D": replace(late, product=np.full(len(late), "NEW-D"))}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def volatility(root, pool) -> FittedVolatility:
    return fit_volatility(root, split_quarters(pool), quick)


@pytest.fixture(scope="module")
def lasso(root, volatility) -> HorizonFit:
    return train_horizon(root, "lasso", 15, volatility)


def states_at_the_cut(monkeypatch, train) -> tuple[HorizonFit, list]:
    "Train, and keep the first interval state of each series."
    kept = []

    def keep(*arrays):
        kept.append(calibrate(*arrays))
        return kept[-1]

    with monkeypatch.context() as patch:
        patch.setattr(training, "calibrate", keep)
        return train(), kept


def test_outcomes_of_all_learned_rows_are_known_at_the_cut(volatility):
    split = volatility.split
    assert all((own.moment + 60 * 60 <= split.cut).all() for own in split.learned.values())
    assert all((own.moment - HOUR >= split.cut).all() for own in split.held_out.values())
    assert (split.judged, split.new, split.ended) == (["A-B", "C-D"], ["NEW-D"], {})
    for horizon in (5, 60):
        assert (volatility.dataset(horizon).known <= split.cut).all()


def test_what_comes_after_the_cut_changes_nothing_learned(tmp_path, monkeypatch, minutes, volatility, lasso, root):
    cut = volatility.split.cut
    other = fit_volatility(
        tmp_path, split_quarters({**rows_of({product: twisted_from(table, cut) for product, table in minutes.items()}), "NEW-D": _new(volatility)}), quick
    )
    assert other.split.cut == cut and other.to_onnx() == volatility.to_onnx()
    assert all(np.array_equal(mine, yours) for mine, yours in zip(other.range, volatility.range, strict=True))
    assert all(np.array_equal(other.learned[product].variance, volatility.learned[product].variance, equal_nan=True) for product in minutes)
    again, states = states_at_the_cut(monkeypatch, lambda: train_horizon(root, "lasso", 15, volatility))
    fit, others = states_at_the_cut(monkeypatch, lambda: train_horizon(tmp_path, "lasso", 15, other))
    assert fit.how == "fitted" and fit.forecaster.model.to_onnx() == lasso.forecaster.model.to_onnx() and fit.dataset.digest() == lasso.dataset.digest()
    assert fit.forecaster.scaler.to_dict() == lasso.forecaster.scaler.to_dict() and fit.forecaster.shrink == lasso.forecaster.shrink
    assert len(states) == 12 and states == others
    first = [each.rows[each.rows["product"] != "NEW-D"].groupby(["product", "minute"])["size"].first() for each in (again, fit)]
    assert first[0].equals(first[1]) and (first[0] != 0.5).any()
    assert not np.allclose(fit.rows["q50"].head(300), lasso.rows["q50"].head(300))


def _new(volatility: FittedVolatility) -> QuarterRows:
    "The rows of the coin without a history."
    return volatility.split.held_out["NEW-D"]


def test_the_future_of_a_held_out_row_does_not_change_its_forecast(root, minutes, volatility, lasso):
    cut = volatility.split.cut
    middle = cut + 6 * DAY + 7 * HOUR
    other = fit_volatility(
        root, split_quarters({**rows_of({product: twisted_from(table, middle) for product, table in minutes.items()}), "NEW-D": _new(volatility)}), quick
    )
    fit = train_horizon(root, "lasso", 15, other)
    assert fit.how.startswith("loaded")
    before = [each.rows[(each.rows["time"] + HOUR <= middle) & (each.rows["product"] != "NEW-D")] for each in (lasso, fit)]
    pd.testing.assert_frame_equal(before[0][COLUMNS].reset_index(drop=True), before[1][COLUMNS].reset_index(drop=True), check_exact=True)
    assert 1000 < len(before[0]) < len(lasso.rows) and not np.array_equal(fit.rows["actual"], lasso.rows["actual"])


def test_each_fit_knew_only_outcomes_from_before_its_forecasts(root, monkeypatch, volatility):
    learned, forecast, fit, predict = [], [], training.fit_or_load, training.raw_forecasts
    monkeypatch.setattr(training, "fit_or_load", lambda folder, kind, data, params: learned.append(data) or fit(folder, kind, data, params))
    monkeypatch.setattr(training, "raw_forecasts", lambda forecaster, data: forecast.append((len(learned), data)) or predict(forecaster, data))
    monkeypatch.setattr(training, "REFIT_DAYS", 20.0)
    train_horizon(root, "lasso", 60, volatility)
    assert len(learned) == 3 and [number for number, _ in forecast] == [1, 2, 3, 3, 3]
    for number, data in forecast:
        assert learned[number - 1].known.max() <= data.time.min() and len(data) > 300
    warm_up = np.concatenate([data.time for number, data in forecast if number < 3])
    assert len(np.unique(warm_up)) == len(warm_up) / 2 and volatility.split.cut - warm_up.min() <= 182 * DAY


def test_a_run_that_was_killed_repeats_no_fit_and_gives_the_same_bits(tmp_path, monkeypatch, pool, lasso):
    made, real, fit = [], fits.train_forecaster, VolatilityModel.fit

    def train(kind, data, *more, **options):
        if made.count("fit") == 1 and "killed" not in made:
            made.append("killed")
            raise KeyboardInterrupt
        made.append("fit")
        return real(kind, data, *more, **options)

    def final(model, X, y):
        made.append("volatility")
        return fit(model, X, y)

    monkeypatch.setattr(fits, "train_forecaster", train)
    monkeypatch.setattr(VolatilityModel, "fit", final)
    split = split_quarters(pool)
    with pytest.raises(KeyboardInterrupt):
        train_horizon(tmp_path, "lasso", 15, fit_volatility(tmp_path, split, quick))
    walked = made.count("volatility")
    second = train_horizon(tmp_path, "lasso", 15, fit_volatility(tmp_path, split, quick))
    assert (made.count("fit"), made.count("volatility"), second.how) == (2, walked, "fitted")
    third = train_horizon(tmp_path, "lasso", 15, fit_volatility(tmp_path, split, quick))
    assert (made.count("fit"), made.count("volatility")) == (2, walked) and third.how.startswith("loaded")
    for each in (second, third):
        pd.testing.assert_frame_equal(each.rows, lasso.rows, check_exact=True)
        assert each.intervals == lasso.intervals


def test_a_damaged_volatility_is_fitted_again(tmp_path, pool, volatility):
    split = volatility.split
    first = fit_volatility(tmp_path, split, quick)
    (folder,) = (tmp_path / "volatility").iterdir()
    for damaged in (folder / "volatility.onnx", next(folder.glob("*.npy"))):
        damaged.write_bytes(damaged.read_bytes()[:1000])
    again = fit_volatility(tmp_path, split, quick)
    assert again.to_onnx() == first.to_onnx() and np.array_equal(again.learned["A-B"].variance, first.learned["A-B"].variance, equal_nan=True)
    fit_volatility(tmp_path, split, lambda: VolatilityModel(trees=0, penalty=1e-3))
    assert folder not in (tmp_path / "volatility").iterdir()


def test_an_ensemble_fits_no_member_again(tmp_path, monkeypatch, volatility):
    made, real = [], LightGBMModel.fit
    monkeypatch.setattr(LightGBMModel, "fit", lambda model, *arrays: made.append(1) or real(model, *arrays))
    for kind in ("lasso", "lightgbm", "ensemble"):
        fit = train_horizon(tmp_path, kind, 60, volatility)
    assert fit.how == "fitted, with lasso, lightgbm as fitted before" and len(made) == 2


def test_states_go_on_from_the_warm_up_as_in_one_pass(root, monkeypatch, volatility, lasso):
    given, real = {}, training.size_series

    def keep(raw, *more, **options):
        given[raw["product"].iloc[0] if len(raw) else "", int(raw["time"].iloc[0]) % HOUR // 60 if len(raw) else len(given)] = raw
        return real(raw, *more, **options)

    monkeypatch.setattr(training, "size_series", keep)
    train_horizon(root, "lasso", 15, volatility)
    cut = volatility.split.cut
    for product, minute in ((product, minute) for product in ("A-B", "C-D") for minute in MINUTES):
        raw = given[product, minute]
        whole, own = follow_series(raw, cut, 15), lasso.of(product).query(f"minute == {minute}")
        assert np.array_equal(whole.rows[[*LEVELS, "size"]], own[[*LEVELS, "size"]]) and (raw["time"] < cut).sum() > 4 * LEAST_HOURS - 3
        assert (whole.interval, size_to_dict(whole.size)) == (lasso.intervals[product][minute], size_to_dict(lasso.sizes[product][minute]))
    moment = raw["time"].to_numpy() + HOUR
    known, median, outcome = moment + 15 * 60, (raw["q50"] * raw["volatility"]).to_numpy(), np.log(raw["actual"] / raw["close"]).to_numpy()
    past = known <= cut + HOUR
    _, state = follow_sizes(SizeState(), *(values[past] for values in (moment, known, median, outcome)))
    for row in np.flatnonzero(~past):
        assert state.size(int(moment[row])) == whole.rows["size"].to_numpy()[row - past.sum()]
        state = state.updated(median[row : row + 1], outcome[row : row + 1], known[row : row + 1])
    assert size_to_dict(state) == size_to_dict(whole.size)
    assert lasso.intervals[product][minute].until == known[-1]


def test_one_state_of_intervals_learns_when_each_outcome_closes(root, monkeypatch, volatility):
    given, real = [], training.SizedSeries.follow

    def keep(series, start, interval):
        given.append((series, start, interval, real(series, start, interval)))
        return given[-1][-1]

    monkeypatch.setattr(training.SizedSeries, "follow", keep)
    train_horizon(root, "lasso", 15, volatility)
    series, start, state, done = given[0]
    for row in np.flatnonzero(series.raw["time"].to_numpy() >= start):
        state = update(state, series.quantiles[row], float(series.outcome[row]), int(series.known[row]))
    assert state == done.interval


def test_persistence_is_a_kind(root, volatility, lasso):
    fit = train_horizon(root, "persistence", 15, volatility)
    assert (fit.rows["q50"] == fit.rows["close"]).all() and fit.rows["time"].equals(lasso.rows["time"])
    numbers = horizon_metrics(fit)["A-B"]
    assert (numbers["mase"], numbers["dm_t"]) == (1.0, None) and 0.87 < numbers["coverage_90"] < 0.93


def test_metrics_of_a_coin_that_reverts_and_of_one_that_is_new(lasso):
    metrics = horizon_metrics(lasso)
    coins = [metrics[product] for product in ("A-B", "C-D")]
    assert all(coin["mase"] < 0.98 and coin["dm_t"] < -3 and coin["direction"] > 0.53 and 0.87 < coin["coverage_90"] < 0.93 for coin in coins)
    assert metrics["NEW-D"]["new"] is True and metrics["NEW-D"]["n"] < LEAST_HOURS and "mase" not in metrics["NEW-D"]
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    for coin in metrics.values():
        assert coin["pool_coins"] == 2 and coin["pool_mase"] == np.mean([each["mase"] for each in coins])
        assert coin["pool_coverage_90"] == np.mean([each["coverage_90"] for each in coins])
    assert set(coins[0]["minutes"]) == {"0", "15", "30", "45"} and sum(each["n"] for each in coins[0]["minutes"].values()) == coins[0]["n"]
    assert all(each["size"] == lasso.sizes["A-B"][int(minute)].size(int(lasso.rows["time"].max()) + HOUR) for minute, each in coins[0]["minutes"].items())
    assert all(each["pinball_90"] > 0 < each["pinball_90_rolling_volatility"] for each in coins[0]["minutes"].values())


def test_the_test_counts_one_row_an_hour(lasso):
    rows = lasso.of("A-B")
    hours = rows.assign(own=(rows["actual"] - rows["q50"]).abs(), naive=(rows["actual"] - rows["close"]).abs(), hour=rows["time"] // HOUR).groupby("hour")
    t, _ = diebold_mariano(hours["own"].mean().to_numpy(), hours["naive"].mean().to_numpy())
    shuffled = rows.sample(frac=1, random_state=1).sort_values("time")
    assert score_hours(rows.sort_values("time"))["dm_t"] == t == score_hours(shuffled)["dm_t"]
    ordered = rows.sort_values("time")
    every = diebold_mariano((ordered["actual"] - ordered["q50"]).to_numpy(), (ordered["actual"] - ordered["close"]).to_numpy())[0]
    assert t != pytest.approx(every, rel=1e-3)


def test_a_new_coin_has_intervals_of_the_pool_and_no_size_of_its_own(monkeypatch, root, volatility, lasso):
    _, states = states_at_the_cut(monkeypatch, lambda: train_horizon(root, "lasso", 15, volatility))
    new, others = states[8:], (states[:4], states[4:8])
    assert all(state not in (first, second) for state, first, second in zip(new, *others, strict=True))
    for state, first, second in zip(new, *others, strict=True):
        low, high = np.minimum(first.scores[3][178], second.scores[3][178]), np.maximum(first.scores[3][178], second.scores[3][178])
        assert low <= state.scores[3][178] <= high
    assert (lasso.of("NEW-D")["size"] == 0.5).all() and all(0 < len(state.sums) <= 5 for state in lasso.sizes["NEW-D"].values())


def test_a_new_version_inherits_the_days_before_its_warm_up(root, volatility, lasso):
    first = min(lasso.sizes["A-B"][0].sums)
    best_at_one = np.linspace(1000.0, 0.0, 11)
    old = SizeState(dict.fromkeys(range(first - 90, first + 200), best_at_one))
    fit = train_horizon(root, "lasso", 15, volatility, inherited={"A-B": {0: old}})
    kept, own = fit.sizes["A-B"][0].sums, lasso.sizes["A-B"][0].sums
    assert min(kept) == first - 90 and max(kept) == max(own)
    assert all(np.array_equal(kept[day], best_at_one) for day in range(first - 90, first)) and all(np.array_equal(kept[day], own[day]) for day in own)
    sizes = fit.of("A-B").groupby("minute")["size"].last()
    assert sizes[0] == 1.0 and sizes.drop(0).equals(lasso.of("A-B").groupby("minute")["size"].last().drop(0))


def test_weights_from_later_rows_are_no_warm_start(tmp_path, lasso):
    fits.store_forecaster(tmp_path / "lasso", lasso.forecaster, "another fit")
    for last, kept in ((int(lasso.dataset.time[-1]), True), (int(lasso.dataset.time[-1]) - DAY, False)):
        (tmp_path / "lasso" / "weights.npz").write_bytes(b"")
        fits._forget_later(tmp_path / "lasso", last)
        assert (tmp_path / "lasso" / "weights.npz").exists() == kept


def test_one_coin_alone_is_trained(tmp_path, pool):
    alone = fit_volatility(tmp_path, split_quarters({"A-B": pool["A-B"]}), quick)
    numbers = horizon_metrics(train_horizon(tmp_path, "lasso", 30, alone))
    assert list(numbers) == ["A-B"] and numbers["A-B"]["pool_mase"] == numbers["A-B"]["mase"]


def test_what_cannot_be_trained_is_a_named_error(tmp_path, pool, volatility):
    with pytest.raises(ModelError, match="none of 0 coins has minutes"):
        split_quarters({})
    short = {product: own.take(own.moment < 16 * 7 * DAY) for product, own in pool.items()}
    with pytest.raises(ModelError, match=r"a horizon needs 112 days: .* Fetch minutes from \d{4}-\d\d-\d\dT00:00:00Z on"):
        split_quarters(short)
    with pytest.raises(QuestionError, match="horizon 7 is not served; choose from 5, 15, 30, 60"):
        train_horizon(tmp_path, "lasso", 7, volatility)
    with pytest.raises(UnknownKindError, match="did you mean lasso"):
        train_horizon(tmp_path, "lassso", 15, volatility)
    blank = {product: replace(own, later_close=np.full_like(own.later_close, np.nan)) for product, own in pool.items()}
    with pytest.raises(ModelError, match="no learned row has a target 15 minutes later; fetch more minutes"):
        train_horizon(tmp_path, "lasso", 15, fit_volatility(tmp_path, split_quarters(blank), quick))
    blank = {product: replace(own, log_variance=np.full_like(own.log_variance, np.nan)) for product, own in pool.items()}
    with pytest.raises(ModelError, match="too few to learn volatility from"):
        fit_volatility(tmp_path, split_quarters(blank), quick)
    late = {product: replace(own, later_close=np.where(own.moment[:, None] < 13 * 7 * DAY, np.nan, own.later_close)) for product, own in pool.items()}
    with pytest.raises(ModelError, match="sizes and intervals need 56 days: fetch more minutes"):
        train_horizon(tmp_path, "lasso", 15, fit_volatility(tmp_path, split_quarters(late), quick))
    assert not (tmp_path / "15m").exists()


def test_a_coin_without_minutes_or_without_held_out_hours_gets_no_model(pool):
    early = pool["C-D"].take(pool["C-D"].moment < 10 * 7 * DAY)
    split = split_quarters({"A-B": pool["A-B"], "C-D": early, "NO-D": early.take(np.arange(0))})
    assert list(split.held_out) == ["A-B"] and list(split.learned) == ["A-B", "C-D"]
    assert "the others learn from it" in split.ended["C-D"] and "crypto-rti fetch --minutes-since DATE" in split.ended["NO-D"]


def test_missing_targets_of_one_coin_leave_its_other_rows(tmp_path, pool):
    gap = {**pool, "C-D": replace(pool["C-D"], later_close=np.where(pool["C-D"].moment[:, None] // DAY % 3 == 0, np.nan, pool["C-D"].later_close))}
    fit = train_horizon(tmp_path, "lasso", 15, fit_volatility(tmp_path, split_quarters(gap), quick))
    counts = fit.rows["product"].value_counts()
    assert 0.55 < counts["C-D"] / counts["A-B"] < 0.75 and np.isfinite(fit.rows.drop(columns=["product", "model"]).to_numpy(dtype=float)).all()
