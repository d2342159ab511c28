"""The probability of a rise: a distribution function at the last price, for any quantiles, and no reader of tables on the way to it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_rti.evaluation.direction import DirectionError, probability_up
from crypto_rti.targets import QUANTILES

LEVELS = np.array(QUANTILES)

# On a grid, so that quantiles are often equal to each other and to the last price.
prices = st.integers(60, 140).map(lambda tick: tick / 4)
quantiles = st.lists(prices, min_size=5, max_size=5).map(sorted)
anything = st.floats(1e-12, 1e12)


def chance(forecast: list[float], current: float) -> float:
    return float(probability_up(np.array([forecast]), np.array([current]))[0])


@given(st.lists(anything, min_size=5, max_size=5).map(sorted), anything)
def test_any_prices_give_a_probability_within_the_outer_levels(forecast, current):
    assert 0.05 <= chance(forecast, current) <= 0.95


@given(quantiles, prices, prices)
def test_it_does_not_rise_with_the_last_price(forecast, one, other):
    assert chance(forecast, max(one, other)) <= chance(forecast, min(one, other))


@given(quantiles, prices, st.integers(0, 4), st.integers(0, 40))
def test_it_does_not_fall_when_a_quantile_rises(forecast, current, place, ticks):
    higher = [max(price, forecast[place] + ticks / 4) if number >= place else price for number, price in enumerate(forecast)]
    assert chance(higher, current) >= chance(forecast, current) - 1e-12


@given(quantiles)
def test_the_median_is_as_likely_exceeded_as_not(forecast):
    assert chance(forecast, forecast[2]) == 0.5


@given(quantiles, prices, st.floats(1e-9, 1e9))
def test_the_unit_does_not_matter(forecast, current, unit):
    assert chance([unit * price for price in forecast], unit * current) == pytest.approx(chance(forecast, current), abs=1e-9)


@given(st.lists(st.integers(-400, 400), min_size=5, max_size=5, unique=True).map(sorted), st.integers(0, 3), st.floats(0.0, 1.0))
def test_between_two_quantiles_it_is_linear_in_the_logarithm(ticks, place, share):
    moves = np.array(ticks) / 1e4
    current = np.exp(moves[place] + share * (moves[place + 1] - moves[place]))
    level = LEVELS[place] + share * (LEVELS[place + 1] - LEVELS[place])
    assert chance(list(np.exp(moves)), current) == pytest.approx(1 - level, abs=1e-9)


@given(st.lists(st.tuples(quantiles, prices), min_size=1, max_size=20))
def test_rows_do_not_see_each_other(rows):
    forecasts, current = (np.array(column) for column in zip(*rows, strict=True))
    assert probability_up(forecasts, current).tolist() == [chance(*row) for row in rows]


def test_equal_quantiles_give_the_level_that_is_nearest_to_one_half():
    assert chance([99, 99, 99, 100, 101], 99) == 0.5
    assert chance([98, 98, 99, 100, 101], 98) == 0.75
    assert chance([98, 99, 99.5, 100, 100], 100) == 0.25
    assert [chance([100] * 5, current) for current in (99, 100, 101)] == pytest.approx([0.95, 0.5, 0.05])


def test_no_rows_are_no_error():
    assert probability_up(np.empty((0, 5)), np.empty(0)).shape == (0,)


@pytest.mark.parametrize(
    ("forecast", "current"),
    [
        (np.ones((2, 5)), np.ones(1)),
        (np.ones(5), np.ones(5)),
        (np.ones((1, 4)), np.ones(1)),
        (np.ones((1, 5)), np.array(1.0)),
        (np.full((1, 5), np.nan), np.ones(1)),
        (np.ones((1, 5)), np.array([np.inf])),
        (np.zeros((1, 5)), np.ones(1)),
        (np.ones((1, 5)), np.array([-1.0])),
    ],
)
def test_what_is_no_forecast_is_refused(forecast, current):
    with pytest.raises(DirectionError):
        probability_up(forecast, current)
