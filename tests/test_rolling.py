"""Hours that end at any minute: the same as whole hours where they should be, and blind to what comes after their last minute."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import export_toy

from crypto_rti.data.candles import COLUMNS, HOUR, TimeError, check_candles, resample_candles, to_unix
from crypto_rti.data.simulation import sim_candles
from crypto_rti.evaluation.intervals import ConformalState, adjust, calibrate
from crypto_rti.features import LAGS, NotEnoughHistoryError
from crypto_rti.inputs import INPUTS, model_inputs
from crypto_rti.registry.bundle import Bundle, load_bundle
from crypto_rti.rolling import rolling_inputs
from crypto_rti.service.contract import PredictionResult
from crypto_rti.service.forecasts import (
    ROLLING,
    ROLLING_SPAN,
    Forecast,
    last_closed_hour,
    make_forecast,
    make_rolling_forecast,
    recut,
    render_answer,
    to_result,
)
from crypto_rti.service.models import ParameterError, Persistence
from crypto_rti.settings import load_settings
from crypto_rti.targets import to_prices

START, END = to_unix("2024-02-01"), to_unix("2024-02-15")
CANDLES = load_settings().shared.absolute() / "candles"


@lru_cache
def market(product: str, step: int) -> pd.DataFrame:
    "Two weeks; nobody writes to it."
    return sim_candles(product, START, END, step)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    "A bundle that leans on every input, the reference coin's as well."
    return load_bundle(export_toy(tmp_path_factory.mktemp("bundles"), slope=0.002, reference="ETH-USD"))


def roll(
    toy: Bundle,
    data_until: int,
    minutes: pd.DataFrame | None = None,
    hours: pd.DataFrame | None = None,
    state: ConformalState | None = None,
) -> Forecast:
    "A rolling forecast of the simulated market, with what is given in place of its candles."
    minutes = market("BTC-USD", 60) if minutes is None else minutes
    hours = market("BTC-USD", HOUR) if hours is None else hours
    return make_rolling_forecast(minutes, hours, data_until, toy, "BTC-USD", "sim", market("ETH-USD", 60), market("ETH-USD", HOUR), state)


def state_until(moment: int | None, alpha: tuple[float, float] = (0.4, 0.06)) -> ConformalState:
    "A state that has learned something."
    noise = np.random.default_rng(0).standard_t(3, 500)
    return replace(calibrate(Persistence().predict(np.zeros((500, 1))), noise, gamma=0.05), alpha=alpha, until=moment)


moments = st.integers((START + 10 * 24 * HOUR) // 60, (END - 2 * HOUR) // 60).map(lambda minute: 60 * minute)


# --- re-cut hours ---


@given(moments)
def test_a_recut_hour_is_the_sum_of_its_minutes(moment: int) -> None:
    minutes, cut = market("BTC-USD", 60), recut(market("BTC-USD", 60), moment)
    check_candles(cut.assign(time=cut["time"] // HOUR * HOUR))
    assert (np.diff(cut["time"]) % HOUR == 0).all() and ((cut["time"] - moment) % HOUR == 0).all()
    assert cut["time"].iloc[0] >= moment - ROLLING_SPAN and cut["time"].iloc[-1] <= moment - HOUR
    hour = cut.iloc[-1]
    own = minutes[(minutes["time"] >= hour["time"]) & (minutes["time"] < hour["time"] + HOUR)]
    assert [own["low"].min(), own["high"].max(), own["open"].iloc[0], own["close"].iloc[-1]] == hour[["low", "high", "open", "close"]].tolist()
    assert hour["volume"] == pytest.approx(own["volume"].sum(), rel=1e-12)


@given(st.integers(2 * 24, (END - START) // HOUR).map(lambda hour: START + HOUR * hour))
def test_on_the_hour_recut_hours_are_the_whole_hours(moment: int) -> None:
    hours = market("BTC-USD", HOUR)
    whole = hours[(hours["time"] >= moment - ROLLING_SPAN) & (hours["time"] < moment)].reset_index(drop=True)
    pd.testing.assert_frame_equal(recut(market("BTC-USD", 60), moment), whole, check_exact=True)


def test_hours_without_trades_are_absent() -> None:
    minutes, moment = market("BTC-USD", 60), START + 5 * 24 * HOUR + 17 * 60
    silent = minutes[(minutes["time"] < moment - 3 * HOUR) | (minutes["time"] >= moment - 2 * HOUR)]
    assert len(recut(minutes, moment)) == LAGS + 1
    assert set(recut(minutes, moment)["time"]) - set(recut(silent, moment)["time"]) == {moment - 3 * HOUR}
    assert recut(minutes.head(0), moment).empty and list(recut(minutes.head(0), moment).columns) == COLUMNS


@pytest.mark.parametrize("moment", [START + 1, START + 3599, START + HOUR + 30])
def test_half_minutes_are_refused(moment: int) -> None:
    with pytest.raises(TimeError, match="round it down"):
        recut(market("BTC-USD", 60), moment)


@pytest.mark.skipif(not (CANDLES / "coinbase-1m").exists(), reason="no shared candles here")
def test_recorded_minutes_give_the_exchanges_own_hours() -> None:
    "Of 99 hours recorded both ways every price agrees and every volume but one: a trade of 2024-01-04 22:00 that was counted later."
    minutes = pd.read_parquet(CANDLES / "coinbase-1m" / "BTC-USD.parquet")[COLUMNS]
    hours = pd.read_parquet(CANDLES / "coinbase" / "BTC-USD.parquet")[COLUMNS]
    last = (int(minutes["time"].iloc[-1]) + 60) // HOUR * HOUR
    compared: dict[int, np.ndarray] = {}
    for moment in range(to_unix("2024-01-02T01:00Z"), last + 1, HOUR):
        cut = recut(minutes, moment)
        whole = hours[(hours["time"] >= moment - ROLLING_SPAN) & (hours["time"] < moment)]
        assert cut["time"].tolist() == whole["time"].tolist()
        apart = np.abs(cut[COLUMNS[1:]].to_numpy() / whole[COLUMNS[1:]].to_numpy() - 1)
        compared.update(zip(cut["time"].tolist(), apart, strict=True))
    differ = {time: apart for time, apart in compared.items() if apart.max() > 1e-9}
    assert len(compared) == 99 and list(differ) == [to_unix("2024-01-04T22:00Z")]
    assert differ[to_unix("2024-01-04T22:00Z")][:4].max() == 0 and differ[to_unix("2024-01-04T22:00Z")][4] < 0.004


# --- features ---


@pytest.mark.parametrize("offset", [0, 1, 30, 59])
def test_units_are_those_of_the_whole_hour_before(offset: int) -> None:
    minutes, hours = market("BTC-USD", 60), market("BTC-USD", HOUR)
    cut = resample_candles(minutes[minutes["time"] >= START + 60 * offset], HOUR, 60 * offset)
    rolling, whole = rolling_inputs(cut, hours), model_inputs(hours)
    rolling = rolling[rolling.index < whole.index[-1]]
    before = whole.loc[rolling.index.floor("h")]
    for name in ("volatility", "log_volatility", "volatility_ratio"):
        assert rolling[name].tolist() == before[name].tolist()
    angle = 2 * np.pi * (rolling.index.hour + rolling.index.minute / 60) / 24
    np.testing.assert_allclose(rolling["sin_day"], np.sin(angle), atol=1e-12)
    assert (rolling["close"].to_numpy() == cut.set_index("time")["close"].loc[rolling.index.as_unit("s").asi8].to_numpy()).all()
    if offset == 0:
        pd.testing.assert_frame_equal(rolling, whole.loc[rolling.index], check_exact=True)


def test_a_reference_with_a_hole_is_left_out_for_a_day() -> None:
    cut, beside = (resample_candles(market(coin, 60), HOUR, 1200).iloc[1:-1] for coin in ("BTC-USD", "ETH-USD"))
    hours, others = market("BTC-USD", HOUR), market("ETH-USD", HOUR)
    reference = [name for name in INPUTS if name.startswith(("reference_", "lead_"))]
    full, holed = (rolling_inputs(cut, hours, (table, others))[reference] for table in (beside, beside.drop(index=beside.index[100])))
    assert ((holed == 0).all(axis=1) & (full != 0).any(axis=1)).sum() == LAGS + 1
    assert (rolling_inputs(cut, hours, (beside, others.head(0)))[reference] == 0).all().all()


# --- forecasts ---


@given(st.integers(10 * 24, 13 * 24).map(lambda hour: START + HOUR * hour))
def test_on_the_hour_it_is_the_hourly_forecast(toy: Bundle, moment: int) -> None:
    rolling, hourly = roll(toy, moment), make_forecast(market("BTC-USD", HOUR), moment, toy, "BTC-USD", "sim", market("ETH-USD", HOUR))
    np.testing.assert_allclose(rolling.quantiles, hourly.quantiles, rtol=0, atol=1e-9)
    np.testing.assert_allclose(rolling.prices, hourly.prices, rtol=1e-9)
    assert (rolling.past, rolling.current_price, rolling.volatility) == (hourly.past, hourly.current_price, hourly.volatility)
    assert (rolling.mode, hourly.mode) == (ROLLING, "hour")


@pytest.mark.skipif(not (CANDLES / "coinbase-1m").exists(), reason="no shared candles here")
def test_on_the_hour_it_is_the_hourly_forecast_of_real_candles(toy: Bundle) -> None:
    minutes, beside = (pd.read_parquet(CANDLES / "coinbase-1m" / f"{coin}.parquet")[COLUMNS] for coin in ("BTC-USD", "ETH-USD"))
    hours, others = (resample_candles(table).iloc[1:-1] for table in (minutes, beside))
    for moment in range(to_unix("2023-12-10"), to_unix("2024-01-04"), 29 * HOUR):
        rolling = make_rolling_forecast(minutes, hours, moment, toy, "BTC-USD", "coinbase", beside, others)
        hourly = make_forecast(hours, moment, toy, "BTC-USD", "coinbase", others)
        np.testing.assert_allclose(rolling.quantiles, hourly.quantiles, rtol=0, atol=1e-9)


@settings(max_examples=40)  # Each makes three forecasts
@given(moments, st.integers(0, 2**32 - 1))
def test_nothing_after_the_last_minute_is_used(toy: Bundle, moment: int, seed: int) -> None:
    "Neither cutting the future off nor replacing it by nonsense changes anything; the hour that is forming counts as future."
    answer, noise = roll(toy, moment), np.random.default_rng(seed)
    before, spoilt = {}, {}
    for coin in ("BTC-USD", "ETH-USD"):
        for step in (60, HOUR):
            table = market(coin, step)
            known = table["time"] + step <= moment
            before[coin, step], spoilt[coin, step] = table[known], table.copy()
            spoilt[coin, step].loc[~known, COLUMNS[1:]] = noise.uniform(1, 1e6, (int((~known).sum()), 5))
    for tables in (before, spoilt):
        given_now = make_rolling_forecast(
            tables["BTC-USD", 60], tables["BTC-USD", HOUR], moment, toy, "BTC-USD", "sim", tables["ETH-USD", 60], tables["ETH-USD", HOUR]
        )
        assert given_now == answer


@settings(max_examples=25)  # Each makes two forecasts
@given(moments)
def test_only_the_last_day_of_minutes_matters(toy: Bundle, moment: int) -> None:
    minutes = market("BTC-USD", 60)
    answer = roll(toy, moment)
    assert roll(toy, moment, minutes[minutes["time"] >= moment - ROLLING_SPAN]) == answer
    assert answer.past[-1] == (moment, answer.current_price) and len(answer.past) == LAGS
    assert answer.current_price == minutes.loc[minutes["time"] < moment, "close"].iloc[-1]
    assert (np.diff(answer.prices) > 0).all()


def test_what_is_missing_is_named(toy: Bundle) -> None:
    minutes, hours, moment = market("BTC-USD", 60), market("BTC-USD", HOUR), to_unix("2024-02-12T15:37Z")
    with pytest.raises(NotEnoughHistoryError, match=r"needs all of the 25 hours .* 2024-02-12T13:37:00Z \.\. 2024-02-12T14:37:00Z \(1 missing\)"):
        roll(toy, moment, minutes[(minutes["time"] < moment - 2 * HOUR) | (minutes["time"] >= moment - HOUR)])
    with pytest.raises(NotEnoughHistoryError, match=r"2024-02-12T14:00:00Z \.\. 2024-02-12T15:00:00Z \(1 missing\)"):
        roll(toy, moment, None, hours[hours["time"] + HOUR < moment - 37 * 60])
    with pytest.raises(NotEnoughHistoryError, match="25 missing"):
        roll(toy, moment, minutes.head(0))
    with pytest.raises(NotEnoughHistoryError, match="25 missing"):
        roll(toy, moment, None, hours.head(0))


def test_without_the_reference_a_forecast_is_still_made(toy: Bundle) -> None:
    moment, minutes, hours = to_unix("2024-02-12T15:37Z"), market("BTC-USD", 60), market("BTC-USD", HOUR)
    alone = make_rolling_forecast(minutes, hours, moment, toy, "BTC-USD", "sim")
    assert alone.quantiles != roll(toy, moment).quantiles
    for sides in ((market("ETH-USD", 60), None), (None, market("ETH-USD", HOUR)), (market("ETH-USD", 60).head(0), market("ETH-USD", HOUR))):
        assert make_rolling_forecast(minutes, hours, moment, toy, "BTC-USD", "sim", *sides) == alone


# --- intervals ---


def test_a_state_is_applied_as_it_stands_at_the_last_hour(toy: Bundle) -> None:
    hour = to_unix("2024-02-12T15:00Z")
    state, moment = state_until(hour), hour + 37 * 60
    answer = roll(toy, moment, state=state)
    expected = to_prices(answer.current_price, answer.volatility, adjust(state, np.array([answer.quantiles])))[0]
    np.testing.assert_allclose(answer.prices, expected, rtol=1e-12)
    assert answer.prices[2] == pytest.approx(roll(toy, moment).prices[2], rel=1e-12)
    on_hour = make_forecast(market("BTC-USD", HOUR), hour, toy, "BTC-USD", "sim", market("ETH-USD", HOUR), state)
    np.testing.assert_allclose(roll(toy, hour, state=state).prices, on_hour.prices, rtol=1e-9)


def test_a_state_of_later_hours_keeps_them_to_itself(toy: Bundle) -> None:
    moment = to_unix("2024-02-12T15:37Z")
    ahead, fresh = state_until(to_unix("2024-02-12T16:00Z")), state_until(None, (0.5, 0.1))
    np.testing.assert_allclose(roll(toy, moment, state=ahead).prices, roll(toy, moment, state=fresh).prices, rtol=1e-12)


def test_an_old_state_is_forgotten_bit_by_bit(toy: Bundle) -> None:
    moment = to_unix("2024-02-12T15:37Z")
    width = [np.ptp(roll(toy, moment, state=state_until(moment // HOUR * HOUR - weeks * 168 * HOUR)).prices) for weeks in (0, 1, 4, 100)]
    assert width[0] > width[1] > width[2] > width[3]
    assert width[3] == pytest.approx(np.ptp(roll(toy, moment, state=state_until(None, (0.5, 0.1))).prices))


# --- the answer ---


def test_the_mode_is_in_the_answer(toy: Bundle) -> None:
    moment = to_unix("2024-02-12T15:37Z")
    rolling, hourly = (to_result(forecast, moment) for forecast in (roll(toy, moment), make_forecast(market("BTC-USD", HOUR), END, toy, "BTC-USD", "sim")))
    assert (rolling.mode, hourly.mode) == ("rolling", "hour")
    assert (rolling.backtest.mase, hourly.backtest.mase) == (None, 0.992)  # the backtest was of whole hours
    assert (rolling.data_until, rolling.predicted_for) == ("2024-02-12T15:37:00Z", "2024-02-12T16:37:00Z")
    names = list(rolling.model_dump())
    assert names[names.index("source") + 1] == "mode" and b'"mode":"rolling"' in b"".join(render_answer(rolling))
    schema = PredictionResult.model_json_schema()["properties"]["mode"]
    assert schema["enum"] == ["hour", "rolling", "minute"] and "experimental" in schema["description"]


def test_rolling_is_allowed_and_no_hour() -> None:
    now = to_unix("2024-02-12T15:37:59Z")
    for text in ("yesterday", ROLLING):
        with pytest.raises(ParameterError, match=r"give `now`, `rolling`, a whole number of hours back from 1 to 72, or a UTC time"):
            last_closed_hour(text, now)
