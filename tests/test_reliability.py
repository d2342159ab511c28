"""Probabilities of a rise against what happened: every row is counted once, equal probabilities stay together, and what is drawn is what was counted."""

from itertools import pairwise

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_rti.evaluation.metrics import LEVELS, MetricError
from crypto_rti.evaluation.plots import plot_reliability
from crypto_rti.evaluation.reliability import HALF_BRIER, bins_within, brier_score, forecast_rises, reliability, score_rises

# Few different probabilities, so that many are equal, and outcomes with hours that did not move.
forecasts = st.lists(st.tuples(st.integers(5, 95), st.sampled_from([0.0, 1.0, np.nan])), min_size=1, max_size=200)


def columns(rows):
    ticks, rose = zip(*rows, strict=True)
    return np.array(ticks) / 100, np.array(rose)


def drifting(model: str, drift: float, seed: int = 0, n: int = 4000) -> pd.DataFrame:
    """Hours whose outcomes have the median that `drift` says, in one direction or the other."""
    draw = np.random.default_rng(seed)
    sign = draw.choice([-1.0, 1.0], n)
    edges = 0.002 * np.array([-2.5, -0.7, 0.0, 0.7, 2.5])
    quantiles = {name: 100 * np.exp(sign * drift + edge) for name, edge in zip(LEVELS, edges, strict=True)}
    actual = 100 * np.exp(sign * 0.0005 + draw.laplace(0, 0.002, n))
    return pd.DataFrame({"product": "BTC-USD", "model": model, "time": 3600 * np.arange(n), "close": 100.0, "actual": actual, **quantiles})


# --- bins ---


@given(forecasts, st.integers(1, 20))
def test_every_row_is_counted_once(rows, bins):
    probability, rose = columns(rows)
    table, moved = reliability(probability, rose, bins), ~np.isnan(rose)
    assert table["n"].sum() == moved.sum() and len(table) <= bins and (table["n"] > 0).all()
    assert (table["n"] * table["share"]).sum() == pytest.approx(np.nansum(rose))
    assert (table["n"] * table["probability"]).sum() == pytest.approx(probability[moved].sum())
    if moved.any():
        assert table["unmoved"].sum() == (~moved).sum()
        assert table["share"].between(0, 1).all() and table["probability"].is_monotonic_increasing


@given(forecasts, st.integers(1, 20))
def test_rows_that_did_not_move_change_nothing_else(rows, bins):
    probability, rose = columns(rows)
    moved = ~np.isnan(rose)
    shown = reliability(probability, rose, bins).drop(columns="unmoved")
    pd.testing.assert_frame_equal(shown, reliability(probability[moved], rose[moved], bins).drop(columns="unmoved"))


@given(st.integers(1, 400), st.integers(1, 20), st.randoms(use_true_random=False))
def test_bins_of_different_probabilities_have_equal_counts(n, bins, random):
    probability = (1 + np.arange(n)) / (n + 1)
    random.shuffle(probability)
    counts = reliability(probability, np.ones(n), bins)["n"]
    assert counts.max() - counts.min() <= 1 and len(counts) == min(bins, n)


@given(forecasts, st.integers(1, 20))
def test_equal_probabilities_are_in_one_bin(rows, bins):
    probability, rose = columns(rows)
    moved = ~np.isnan(rose)
    edges = [(part.min(), part.max()) for part in np.split(np.sort(probability[moved]), reliability(probability, rose, bins)["n"].cumsum()[:-1]) if len(part)]
    assert all(left[1] < right[0] for left, right in pairwise(edges))


def test_rows_that_did_not_move_are_counted():
    table = reliability(np.array([0.4, 0.5, 0.6, 0.6]), np.array([0.0, np.nan, 1.0, np.nan]), 2)
    assert table["unmoved"].sum() == 2 and table["n"].tolist() == [1, 1]
    assert not len(reliability(np.array([0.5, 0.6]), np.array([np.nan, np.nan])))


@pytest.mark.parametrize(("probability", "rose", "bins"), [(np.ones(2), np.ones(3), 10), (np.ones((2, 2)), np.ones((2, 2)), 10), (np.ones(2), np.ones(2), 0)])
def test_what_cannot_be_counted_is_refused(probability, rose, bins):
    with pytest.raises(MetricError):
        reliability(probability, rose, bins)


# --- scores ---


@given(forecasts)
def test_one_half_has_the_same_brier_score_whatever_happens(rows):
    _, rose = columns(rows)
    score = brier_score(np.full(len(rose), 0.5), rose)
    assert score == HALF_BRIER or np.isnan(rose).all()


def test_a_close_that_repeats_itself_is_no_outcome():
    rows = drifting("lasso", 0.0005, n=3).assign(actual=[100.0, 100.1, 99.9])
    np.testing.assert_array_equal(forecast_rises(rows)[1], [np.nan, 1.0, 0.0])
    assert np.isnan(score_rises(rows.assign(actual=100.0))["brier"]) and score_rises(rows.assign(actual=100.0))["unmoved"] == 3


def test_skill_is_found_and_boldness_is_punished():
    right, wrong = score_rises(drifting("lasso", 0.0005)), score_rises(drifting("lasso", -0.0005))
    assert right["brier_t"] < -1.64 < 1.64 < wrong["brier_t"]
    assert right["brier"] < HALF_BRIER < wrong["brier"] and right["brier_skill"] == pytest.approx(1 - right["brier"] / HALF_BRIER)
    assert wrong["bins_within"] == 0 < wrong["largest_gap"]


def test_persistence_says_one_half():
    scores = score_rises(drifting("persistence", 0.0))
    assert (scores["lowest"], scores["highest"], scores["bins"], scores["brier_skill"]) == (0.5, 0.5, 1, 0.0) and np.isnan(scores["brier_t"])


# --- the figure ---


@pytest.fixture
def agg():
    with mpl.rc_context():
        mpl.use("Agg")
        yield
        plt.close("all")


def drawn_bars(ax) -> list[np.ndarray]:
    """The points of each series: probability, and share minus probability."""
    return [np.column_stack(container.lines[0].get_data()).astype(float) for container in ax.containers]


def test_the_figure_shows_what_was_counted(agg):
    rows = pd.concat([drifting("persistence", 0.0), drifting("lasso", 0.0005), drifting("cnn", -0.0005)])
    axes = plot_reliability(rows, bins=4)
    assert [ax.get_title().split(":")[0] for ax in axes] == ["lasso", "cnn"]
    for ax, model in zip(axes, ("lasso", "cnn"), strict=True):
        tables = [reliability(*forecast_rises(rows[rows["model"] == name]), 4) for name in (model, "persistence")]
        for shown, table in zip(drawn_bars(ax), tables, strict=True):
            np.testing.assert_allclose(shown, np.column_stack([table["probability"], table["share"] - table["probability"]]))
        bars = ax.containers[0].lines[2][0].get_segments()
        np.testing.assert_allclose([bar[1, 1] - bar[0, 1] for bar in bars], 4 * tables[0]["standard_error"])
        assert ax.get_title() == f"{model}: {bins_within(tables[0])} of {len(tables[0])} bins as forecast"
        assert [list(line.get_ydata()) for line in ax.lines if list(line.get_xdata()) == [0, 1]] == [[0, 0]], "the line where forecasts are right"


def test_persistence_alone_is_drawn(agg):
    (ax,) = plot_reliability(drifting("persistence", 0.0))
    assert len(drawn_bars(ax)) == 1 and ax.get_title().startswith("persistence: ")
