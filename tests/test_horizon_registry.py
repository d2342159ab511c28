"""Models of 5 to 60 minutes in one registry: roles, history, gate, rollback and pruning of each horizon are its own; the service of the hour sees one."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_horizon_bundles import COINS, packed, rows
from test_registry import facts, fan_onnx

from crypto_rti import cli_training, horizons
from crypto_rti.cli_backtest import Inside
from crypto_rti.data.candles import HOUR
from crypto_rti.data.simulation import sim_candles
from crypto_rti.data.sources import parse_source
from crypto_rti.evaluation.horizons import Question, run_horizons
from crypto_rti.evaluation.metrics import FORECAST_COLUMNS, LEVELS
from crypto_rti.evaluation.quarter_models import fixed_series, forecast_quarters
from crypto_rti.evaluation.walk_forward import BacktestError
from crypto_rti.horizons import HOUR_AHEAD, HOURLY, alias_at, horizon_of, kind_of
from crypto_rti.pipeline import results_table, retrain
from crypto_rti.pipeline_plan import find_pipeline, make_plan, planned_models
from crypto_rti.processes import ProcessTree
from crypto_rti.registry import exports
from crypto_rti.registry.bundle import load_bundle, read_manifest
from crypto_rti.registry.connection import RegistryError, UnknownVersionError, connect
from crypto_rti.registry.exports import export_model, export_models
from crypto_rti.registry.index import bundle_folder, read_index, write_index
from crypto_rti.registry.packing import known_sizes
from crypto_rti.registry.promotion import ensure_champions, promote, rollback, submit_challenger
from crypto_rti.registry.pruning import prune_registry
from crypto_rti.registry.quarter_comparison import compare_quarters
from crypto_rti.registry.tracking import register_bundle, register_bundles
from crypto_rti.registry.versions import read_model
from crypto_rti.service.models import ModelCache, UnknownModelError
from crypto_rti.settings import HORIZONS, Settings, SettingsError, load_settings

NAME = "sim.BTC-USD"


def fit(horizon: int, kind: str = "lasso", hours: int | None = None) -> tuple[list[dict], dict[str, bytes]]:
    "Bundles of both coins, without versions; `hours` moves the end of their training span into the past."
    manifests, files = packed(horizon, kind)
    span = {} if hours is None else {"train_span": ["2024-01-08T00:00:00Z", "2024-01-20T00:00:00Z"]}
    return [{name: value for name, value in {**one, **span}.items() if name != "version"} for one in manifests], files


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    "A registry with an hourly champion and models of 15 minutes."
    settings = load_settings(home=tmp_path_factory.mktemp("var"), registry_uri="", source="sim")
    ensure_champions(settings, [facts("persistence", "BTC-USD")], {"a.onnx": fan_onnx()})
    register_bundle(settings, facts("lasso", "BTC-USD"), {"a.onnx": fan_onnx(0.1)})
    ensure_champions(settings, *fit(15, "persistence", 1))
    register_bundles(settings, *fit(15, "lasso", 1))
    export_models(settings, [f"sim.{coin}" for coin in COINS])
    return settings


@pytest.fixture
def own(made: Settings, tmp_path: Path) -> Settings:
    "A copy that a test may change."
    shutil.copytree(made.home, tmp_path / "var")
    return load_settings(home=tmp_path / "var", registry_uri="", source="sim")


# --- roles ---


@pytest.mark.parametrize("horizon", HORIZONS)
def test_the_name_of_a_role_says_its_horizon(horizon):
    role = alias_at("champion", horizon)
    assert (horizon_of(role), kind_of(role), role == "champion") == (horizon, "champion", horizon == HOUR_AHEAD)


def test_roles_of_two_horizons_do_not_meet(made):
    aliases = read_index(made.bundles_dir, NAME).aliases
    hourly = {"champion": "1", "persistence": "1", "challenger": "2", "lasso": "2"}
    assert aliases == {**hourly, **{f"{alias}-15m": str(int(version) + 2) for alias, version in hourly.items()}}
    whole = read_index(made.bundles_dir, NAME)
    assert whole.at(60).aliases == hourly and whole.at(15).aliases == {alias: str(int(version) + 2) for alias, version in hourly.items()}
    assert whole.at(15).champions == ["3"] and whole.champions == ["1"] and whole.at(5).aliases == {} and whole.at(5).champions == []
    assert set(whole.at(60).versions) == {"1", "2"} and whole.versions["4"]["horizon"] == 15 and "horizon" not in whole.versions["2"]


def test_a_service_of_the_hour_offers_and_loads_nothing_else(made):
    cache = ModelCache(made.bundles_dir, "sim", (60,))
    assert cache.refresh() and cache.names("BTC-USD") == ["champion", "challenger", "lasso", "persistence"]
    assert {version for version, _ in cache.coins["BTC-USD"].loaded} == {"1", "2"} and not cache.coins["BTC-USD"].faults
    assert cache.names("ETH-USD") == ["champion", "persistence"] and cache.choose("ETH-USD", "champion").version == "builtin"  # It has no hourly model


def test_a_service_offers_each_horizon_its_own_models(made):
    cache = ModelCache(made.bundles_dir, "sim")
    assert cache.refresh() and cache.horizons("BTC-USD") == cache.horizons("ETH-USD") == [15, 60] and cache.horizons("SOL-USD") == [60]
    assert cache.names("BTC-USD", 15) == cache.names("BTC-USD") == ["champion", "challenger", "lasso", "persistence"]
    hourly, quarterly = cache.choose("BTC-USD", "lasso"), cache.choose("BTC-USD", "lasso", 15)
    assert (hourly.horizon, hourly.by_quarter, quarterly.horizon, quarterly.by_quarter) == (60, False, 15, True)
    assert cache.choose("BTC-USD", "champion", 5).version == "builtin"
    with pytest.raises(UnknownModelError, match="choose one of champion, challenger, lasso, persistence"):
        cache.choose("BTC-USD", "lasso-15m")


def test_a_model_under_the_role_of_another_horizon_is_not_used(made, tmp_path):
    bundles = shutil.copytree(made.bundles_dir, tmp_path / "bundles")
    index = read_index(bundles, NAME)
    wrong = dict.fromkeys(("champion-30m", "champion"), index.aliases["lasso-15m"])
    write_index(bundles, index.model_copy(update={"aliases": {**index.aliases, **wrong}}))
    cache = ModelCache(bundles, "sim")
    assert cache.refresh() and cache.choose("BTC-USD", "champion").version == index.aliases["champion"]  # The last one that fits
    assert cache.choose("BTC-USD", "champion", 30).version == "builtin" and cache.choose("BTC-USD", "lasso", 15).version == index.aliases["lasso-15m"]
    assert "forecasts 15 minutes ahead from any quarter of the hour" in cache.coins["BTC-USD"].faults[index.aliases["lasso-15m"]]


def test_results_name_the_horizon_of_each_row(made):
    found = [(row["minutes"], row["kind"], row["roles"]) for row in results_table(made.bundles_dir, [NAME])]
    assert found == [(60, "persistence", ["champion"]), (60, "lasso", ["challenger"]), (15, "persistence", ["champion"]), (15, "lasso", ["challenger"])]


def test_one_fit_has_one_horizon(own):
    (first, _), files = fit(15)
    (_, other), _ = fit(30)
    with pytest.raises(RegistryError, match="one kind and one horizon, not"):
        register_bundles(own, [first, other], files)


# --- champions ---


def test_promotion_and_rollback_of_a_horizon_leave_the_hour_alone(own):
    before = read_index(own.bundles_dir, NAME).at(60)
    assert promote(own, NAME, "lasso", horizon=15) == "4"
    index = read_index(own.bundles_dir, NAME)
    assert index.at(15).aliases == {"champion": "4", "lasso": "4", "persistence": "3"} and index.at(15).champions == ["3", "4"]
    assert index.at(60) == before and index.at(15).last_event["event"] == "promoted"
    assert rollback(own, NAME, "an example", 15) == "3"
    index = read_index(own.bundles_dir, NAME)
    assert index.at(15).aliases["champion"] == "3" and index.at(15).last_event["event"] == "rolled_back" and index.at(60) == before
    with pytest.raises(RegistryError, match="has had no champion before version 3"):
        rollback(own, NAME, horizon=15)
    with pytest.raises(UnknownVersionError, match="has no version 'champion' for 5 minutes"):
        rollback(own, NAME, horizon=5)


def test_a_number_is_promoted_at_the_horizon_of_its_version(own):
    promote(own, NAME, "4")
    aliases = read_index(own.bundles_dir, NAME).aliases
    assert (aliases["champion-15m"], aliases["champion"]) == ("4", "1")


def test_a_change_that_is_killed_is_finished_at_its_horizon(own, monkeypatch):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(exports, "export_aliases", killed)
        with pytest.raises(KeyboardInterrupt):
            promote(own, NAME, "lasso", horizon=15)
    assert read_index(own.bundles_dir, NAME).at(15).aliases["champion"] == "3"
    index = export_model(own, NAME)
    assert index.at(15).champions == ["3", "4"] and index.champions == ["1"] and "change" not in read_model(connect(own), NAME).tags


def test_the_gate_compares_quarters_and_keeps_its_decision_with_the_horizon(own):
    decision = submit_challenger(own, NAME, "lasso", rows().take(rows().product == "BTC-USD"), horizon=15)
    assert decision.rows > 500 and "quarters of the hour" in decision.reasons[-1] and decision.drift["rows"] >= decision.rows
    index = read_index(own.bundles_dir, NAME)
    assert index.at(15).last_decision["version"] == "4" and index.last_decision is None and index.at(15).last_event["kind"] == "lasso"
    assert json.loads(read_model(connect(own), NAME).tags["last_decision-15m"])["promoted"] is decision.promoted
    few = submit_challenger(own, NAME, "lasso", rows().take(np.flatnonzero(rows().product == "BTC-USD")[-200:]), horizon=15)
    assert not few.promoted and "for 15 minutes; the gate needs 168" in few.reasons[0]


def test_pruning_counts_the_versions_of_each_horizon(own):
    for _ in range(3):
        register_bundles(own, *fit(15, "lasso", 1))
    settings = own.model_copy(update={"keep_versions": 1})
    pruned = prune_registry(settings, NAME)
    assert pruned.versions == ("4 (lasso)", "5 (lasso)", "6 (lasso)")
    assert {(item.version, item.horizon) for item in read_model(connect(own), NAME).versions} == {("1", 60), ("2", 60), ("3", 15), ("7", 15)}


# --- no leakage ---


def test_a_comparison_reads_no_later_row_and_no_state_of_its_own_rows(made):
    bundle = load_bundle(bundle_folder(made.bundles_dir, NAME, "4"))
    known = rows().take((rows().product == "BTC-USD") & np.isfinite(rows().later_close[:, HORIZONS.index(15)]))
    asked = known.take(np.arange(len(known)) >= len(known) - 800)
    whole = forecast_quarters(bundle, asked).prices
    for count in (1, 7, 400):
        assert np.array_equal(forecast_quarters(bundle, asked.take(np.arange(800) < count)).prices, whole[:count])
    later = asked.later_close.copy()
    later[400:] *= 2.0
    wild = type(asked)(*(later if name == "later_close" else getattr(asked, name) for name in asked.__dataclass_fields__))
    assert np.array_equal(forecast_quarters(bundle, wild).prices[:400], whole[:400])
    comparison = compare_quarters(bundle, load_bundle(bundle_folder(made.bundles_dir, NAME, "3")), known)
    assert comparison.start > known.moment[0] and np.array_equal(comparison.errors("champion"), comparison.errors("persistence"))


# --- what is planned ---


def test_horizons_are_planned_where_a_coin_has_minutes(tmp_path):
    for product, step in (("BTC-USD", 60), ("ETH-USD", 3600)):
        sim_candles(product, "2024-01-01", "2024-01-03", step=step).to_parquet(tmp_path / f"{product}.parquet", index=False)
    settings = load_settings(home=tmp_path / "var", source=str(tmp_path), models="lasso lightgbm", products="BTC-USD ETH-USD")
    source = parse_source(str(tmp_path))
    whole = ["lasso", "lightgbm"]
    assert planned_models(settings, source, ["ETH-USD"]) == whole
    assert planned_models(settings, source, ["BTC-USD", "ETH-USD"]) == [*whole, *(f"{kind}-{minutes}m" for minutes in (5, 15, 30) for kind in whole)]
    assert planned_models(settings.model_copy(update={"horizons": HOURLY}), source, ["BTC-USD"]) == whole
    assert planned_models(settings.model_copy(update={"horizons": (15, 60)}), source, ["ETH-USD"]) == [*whole, "lasso-15m", "lightgbm-15m"]


def test_models_of_the_hour_stay_up_to_date_when_horizons_are_added(tmp_path):
    settings = load_settings(home=tmp_path, source="sim", models="lasso")
    alone, more = (make_plan(settings.model_copy(update={"horizons": wanted}), find_pipeline()) for wanted in (HOURLY, (15, 60)))
    assert alone.marks["lasso"] == more.marks["lasso"] and more.train == ("lasso", "lasso-15m") and more.notebooks == 6


def test_a_small_machine_and_a_market_without_minutes_stay_with_the_hour(tmp_path, monkeypatch):
    settings = load_settings(home=tmp_path, source="sim")
    assert cli_training.further_horizons(settings, parse_source("sim")) == HORIZONS
    assert cli_training.further_horizons(settings, parse_source("http://127.0.0.1:9")) == ()
    assert cli_training.further_horizons(settings.model_copy(update={"horizons": HOURLY}), parse_source("sim")) == ()
    monkeypatch.setattr(horizons, "machine_memory", lambda: 2 * 10**9)
    assert cli_training.further_horizons(settings, parse_source("sim")) == ()


# --- the whole pipeline ---


def test_a_retraining_with_a_horizon_is_whole_and_is_not_repeated(tmp_path):
    """One coin with minutes and one without: the second is named and has its model of the hour."""
    for product, step in (("BTC-USD", 60), ("ETH-USD", 3600)):
        sim_candles(product, "2024-01-01", "2024-05-21", step=step).to_parquet(tmp_path / f"{product}.parquet", index=False)
    settings = load_settings(
        home=tmp_path / "var", registry_uri="", source=f"market={tmp_path}", models="lasso", products="BTC-USD ETH-USD", horizons="15 60", workers=1
    )
    report = retrain(settings, progress=False)
    assert len(report.outcomes) == 6 and not any(outcome.error for outcome in report.outcomes), report.failures
    (without,) = (outcome.result["without_minutes"] for outcome in report.outcomes if "without_minutes" in outcome.result)
    assert list(without) == ["ETH-USD"] and "fetch minutes with" in without["ETH-USD"] and (report.skipped, report.exit_code) == ({}, 0)
    decided = {(decision["product"], decision["horizon"]) for decision in report.decisions}
    assert decided == {("BTC-USD", 60), ("ETH-USD", 60), ("BTC-USD", 15)}
    index = read_index(settings.bundles_dir, "market.BTC-USD")
    version = index.at(15).aliases["lasso"]
    manifest = read_manifest(bundle_folder(settings.bundles_dir, "market.BTC-USD", version))
    assert (manifest.horizon, manifest.by_quarter, set(manifest.metrics["minutes"])) == (15, True, {"0", "15", "30", "45"})
    assert index.at(15).last_decision["version"] == version and index.last_decision["version"] == index.at(60).aliases["lasso"]
    assert list(known_sizes(settings.bundles_dir, ["market.BTC-USD", "market.ETH-USD"], "lasso", 15)) == ["BTC-USD"]
    again = retrain(settings, progress=False)
    assert again.folder is None and again.plan.fresh == ("lasso", "lasso-15m")
    with ProcessTree() as family:
        assert cli_training.train_meanwhile(family, settings, (15, 60)).wait(120) == 0
    assert "up to date, nothing to do: lasso, lasso-15m" in (settings.home / "horizons.log").read_text()


# --- a backtest of a bundle ---


def test_a_backtest_of_a_bundle_forecasts_as_the_gate_does(made):
    bundle = load_bundle(bundle_folder(made.bundles_dir, NAME, "4"))
    known = rows().take((rows().product == "BTC-USD") & np.isfinite(rows().later_close[:, HORIZONS.index(15)]) & (rows().moment % HOUR == 900))
    baseline = pd.DataFrame({"base_q05": known.close * 0.99, "base_q95": known.close * 1.01}, index=known.moment - HOUR)
    series = fixed_series(bundle, "lasso 4", known, baseline.iloc[::2])
    assert np.array_equal(series[list(LEVELS)].to_numpy(), forecast_quarters(bundle, known).prices) and set(FORECAST_COLUMNS) <= set(series.columns)
    assert series["actual"].tolist() == known.later_close[:, HORIZONS.index(15)].tolist() and series["base_q05"].isna().sum() == len(known) // 2


def test_a_bundle_names_the_horizon_of_its_backtest(made):
    bundle, hourly = (load_bundle(bundle_folder(made.bundles_dir, NAME, version)) for version in ("4", "2"))
    asked = Inside((), (0, 30), 0).of_bundle(bundle)
    assert asked.at_quarters and asked.question() == Question((15,), (0, 30), 0)
    assert Inside((), (), 0).of_bundle(hourly) == Inside((), (), 0) == Inside((), (), 0).of_bundle(None)
    with pytest.raises(SettingsError, match="forecasts 15 minutes, not 5, 60; give --horizon 15"):
        Inside((5, 60), (), 0).of_bundle(bundle)
    with pytest.raises(SettingsError, match="leave out --late"):
        Inside((), (), 1).of_bundle(bundle)
    with pytest.raises(BacktestError, match="at the moment that it was trained for"):
        run_horizons({}, {}, (0, 1, 1.0), Question((15,), late=1), issued={}, fixed={"lasso": bundle})
