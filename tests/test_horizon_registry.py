"""Models of whole hours and of 5 to 60 minutes from any quarter in one registry: roles, history, gate, rollback and pruning of each horizon are its own."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_horizon_bundles import COINS, packed, rows
from test_registry import facts, fan_onnx
from typer.testing import CliRunner

from crypto_rti import cli_training, horizons
from crypto_rti.cli import app
from crypto_rti.cli_backtest import Inside
from crypto_rti.data.candles import HOUR
from crypto_rti.data.simulation import sim_candles
from crypto_rti.data.sources import parse_source
from crypto_rti.data.store import CandleStore
from crypto_rti.datasets import load_quarters
from crypto_rti.evaluation.horizons import Question, run_horizons
from crypto_rti.evaluation.metrics import FORECAST_COLUMNS, LEVELS
from crypto_rti.evaluation.quarter_models import fixed_series, forecast_quarters
from crypto_rti.evaluation.size import size_to_dict
from crypto_rti.evaluation.walk_forward import BacktestError
from crypto_rti.horizons import HOUR_AHEAD, HOURLY, alias_at, horizon_of, kind_of
from crypto_rti.models.volatility import VolatilityModel
from crypto_rti.pipeline import RetrainReport, fit_step, results_table, retrain
from crypto_rti.pipeline_plan import find_pipeline, make_plan, planned_models
from crypto_rti.processes import ProcessTree
from crypto_rti.registry import exports, promotion
from crypto_rti.registry.bundle import load_bundle, read_manifest
from crypto_rti.registry.connection import RegistryError, UnknownVersionError, connect
from crypto_rti.registry.exports import export_model, export_models
from crypto_rti.registry.index import bundle_folder, read_index, resolve_alias, write_index
from crypto_rti.registry.packing import known_sizes
from crypto_rti.registry.promotion import ensure_champions, promote, rollback, submit_challenger, submit_versions
from crypto_rti.registry.pruning import prune_registry
from crypto_rti.registry.pull import pull_bundles
from crypto_rti.registry.quarter_comparison import compare_quarters
from crypto_rti.registry.tracking import register_bundle, register_bundles
from crypto_rti.registry.versions import get_version, read_model
from crypto_rti.runner import notebook_server, run_notebook
from crypto_rti.service.models import ModelCache, UnknownModelError
from crypto_rti.settings import HORIZONS, Settings, SettingsError, load_settings, settings_environment

NAME = "sim.BTC-USD"


def fit(horizon: int, kind: str = "lasso", hours: int | None = None) -> tuple[list[dict], dict[str, bytes]]:
    "Bundles of both coins, without versions; `hours` moves the end of their training span into the past."
    manifests, files = packed(horizon, kind)
    span = {} if hours is None else {"train_span": ["2024-01-08T00:00:00Z", "2024-01-20T00:00:00Z"]}
    return [{name: value for name, value in {**one, **span}.items() if name != "version"} for one in manifests], files


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    "A registry with models of whole hours (versions 1 and 2), of 15 minutes (3 and 4), and of 60 minutes from any quarter (5 and 6)."
    settings = load_settings(home=tmp_path_factory.mktemp("var"), registry_uri="", source="sim")
    ensure_champions(settings, [facts("persistence", "BTC-USD")], {"a.onnx": fan_onnx()})
    register_bundle(settings, facts("lasso", "BTC-USD"), {"a.onnx": fan_onnx(0.1)})
    for minutes in (15, 60):
        ensure_champions(settings, *fit(minutes, "persistence", 1))
        register_bundles(settings, *fit(minutes, "lasso", 1))
    export_models(settings, [f"sim.{coin}" for coin in COINS])
    return settings


@pytest.fixture
def own(made: Settings, tmp_path: Path) -> Settings:
    "A copy that a test may change."
    shutil.copytree(made.home, tmp_path / "var")
    return load_settings(home=tmp_path / "var", registry_uri="", source="sim")


# --- roles ---


at_quarters = pytest.mark.parametrize(("horizon", "first", "second"), [(15, "3", "4"), (60, "5", "6")])
"A horizon with the versions of persistence and Lasso."


@pytest.mark.parametrize("horizon", [None, *HORIZONS])
def test_the_name_of_a_role_says_its_horizon(horizon):
    role = alias_at("champion", horizon)
    assert (horizon_of(role), kind_of(role), role == "champion") == (horizon, "champion", horizon is None)


def test_roles_of_two_horizons_do_not_meet(made):
    whole = read_index(made.bundles_dir, NAME)
    roles = {"champion": 0, "persistence": 0, "challenger": 1, "lasso": 1}
    numbers = {None: 1, 15: 3, 60: 5}
    assert whole.aliases == {alias_at(role, horizon): str(number + first) for horizon, first in numbers.items() for role, number in roles.items()}
    for horizon, first in numbers.items():
        index = whole.at(horizon)
        assert index.aliases == {role: str(number + first) for role, number in roles.items()} and index.champions == [str(first)]
        assert set(index.versions) == {str(first), str(first + 1)}
    assert whole.at(5).aliases == {} and whole.at(5).champions == [] and set(whole.horizons) == {"15", "60"}
    assert [whole.versions[version].get("horizon") for version in ("2", "4", "6")] == [None, 15, 60]


def test_versions_say_what_they_learned_from(made):
    """Versions of whole hours have always had the tag of 60 minutes; those of an earlier release, below the hour, lack the other one."""
    tags = {item.version: (item.tags["horizon"], item.tags.get("by_quarter")) for item in read_model(connect(made), NAME).versions}
    assert tags == {"1": ("60", None), "2": ("60", None), "3": ("15", "true"), "4": ("15", "true"), "5": ("60", "true"), "6": ("60", "true")}
    known = get_version(made, NAME, "4")
    older = [replace(known, tags=given).role_horizon for given in ({}, {"horizon": "60"}, {"horizon": "15"}, {"horizon": "60", "by_quarter": "true"})]
    assert older == [None, None, 15, 60]


def test_a_bundle_says_its_role(made):
    for version, horizon in (("2", None), ("4", 15), ("6", 60)):
        bundle = load_bundle(bundle_folder(made.bundles_dir, NAME, version))
        assert bundle.role_horizon == bundle.manifest.role_horizon == bundle.for_service().role_horizon == horizon
        assert bundle.horizon == (horizon or HOUR_AHEAD)


def test_a_service_of_the_hour_offers_and_loads_nothing_else(made):
    cache = ModelCache(made.bundles_dir, "sim", (None,))
    assert cache.refresh() and cache.names("BTC-USD") == ["champion", "challenger", "lasso", "persistence"]
    assert {version for version, _ in cache.coins["BTC-USD"].loaded} == {"1", "2"} and not cache.coins["BTC-USD"].faults
    assert cache.names("ETH-USD") == ["champion", "persistence"] and cache.choose("ETH-USD", "champion").version == "builtin"  # It has no hourly model


def test_a_service_offers_each_horizon_its_own_models(made):
    cache = ModelCache(made.bundles_dir, "sim")
    assert cache.refresh() and cache.horizons("BTC-USD") == [15, 60] and cache.horizons("SOL-USD") == []
    assert cache.names("BTC-USD", 15) == cache.names("BTC-USD", 60) == cache.names("BTC-USD") == ["champion", "challenger", "lasso", "persistence"]
    found = [cache.choose("BTC-USD", "lasso", horizon) for horizon in (None, 15, 60)]
    assert [(model.horizon, model.by_quarter) for model in found] == [(60, False), (15, True), (60, True)]
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
    found = [(row["minutes"], row["from"], row["kind"], row["roles"]) for row in results_table(made.bundles_dir, [NAME])]
    ahead = [(60, "whole hours"), (60, "quarters"), (15, "quarters")]
    assert found == [(*each, kind, [role]) for each in ahead for kind, role in (("persistence", "champion"), ("lasso", "challenger"))]


def test_one_fit_has_one_horizon(own):
    (first, _), files = fit(15)
    (_, other), _ = fit(30)
    with pytest.raises(RegistryError, match="one kind and one horizon, not"):
        register_bundles(own, [first, other], files)


def test_a_champion_of_one_horizon_is_none_of_another(own):
    assert ensure_champions(own, *fit(60, "persistence", 1)) == {}
    assert ensure_champions(own, *fit(30, "persistence", 1)) == {NAME: "7", "sim.ETH-USD": "5"}
    assert ensure_champions(own, [facts("persistence", "ETH-USD")], {"a.onnx": fan_onnx()}) == {"sim.ETH-USD": "6"}
    aliases = export_model(own, "sim.ETH-USD").aliases
    assert [aliases[alias_at("champion", horizon)] for horizon in (15, 60, 30, None)] == ["1", "3", "5", "6"]


def test_a_new_version_inherits_sizes_of_its_own_horizon_alone(made):
    own = read_manifest(bundle_folder(made.bundles_dir, NAME, "6"))
    found = known_sizes(made.bundles_dir, [NAME], "lasso", 60)["BTC-USD"]
    assert {str(minute): size_to_dict(state) for minute, state in found.items()} == own.sizes
    assert known_sizes(made.bundles_dir, [NAME], "lasso", 5) == {}


def test_all_roles_are_pulled(made, tmp_path):
    assert pull_bundles(made.bundles_dir, tmp_path, [NAME]) == {NAME: ["1", "2", "3", "4", "5", "6"]}
    assert read_index(tmp_path, NAME) == read_index(made.bundles_dir, NAME)
    assert pull_bundles(made.bundles_dir, tmp_path / "one", [NAME], ["champion-60m"]) == {NAME: ["5"]}
    index = read_index(tmp_path / "one", NAME)
    assert (index.at(60).aliases, index.at(60).champions, index.at(None).aliases) == ({"champion": "5"}, ["5"], {})


# --- champions ---


def others(settings: Settings, horizon: int | None) -> list[object]:
    "What the index says about every other horizon."
    index = read_index(settings.bundles_dir, NAME)
    return [index.at(each) for each in (None, *HORIZONS) if each != horizon]


@at_quarters
def test_promotion_and_rollback_of_a_horizon_leave_the_others_alone(own, horizon, first, second):
    before = others(own, horizon)
    assert promote(own, NAME, "lasso", horizon=horizon) == second
    index = read_index(own.bundles_dir, NAME).at(horizon)
    assert index.aliases == {"champion": second, "lasso": second, "persistence": first} and index.champions == [first, second]
    assert others(own, horizon) == before and index.last_event["event"] == "promoted"
    assert rollback(own, NAME, "an example", horizon) == first
    index = read_index(own.bundles_dir, NAME).at(horizon)
    assert index.aliases["champion"] == first and index.last_event["event"] == "rolled_back" and others(own, horizon) == before
    with pytest.raises(RegistryError, match=f"has had no champion before version {first}"):
        rollback(own, NAME, horizon=horizon)


def test_promotion_and_rollback_of_the_hour_leave_the_horizons_alone(own):
    before = others(own, None)
    assert (promote(own, NAME, "lasso"), rollback(own, NAME)) == ("2", "1")
    assert others(own, None) == before
    with pytest.raises(UnknownVersionError, match="has no version 'champion' for 5 minutes"):
        rollback(own, NAME, horizon=5)


@pytest.mark.parametrize(("options", "champions"), [([], "235"), (["--horizon", "15"], "145"), (["--horizon", "60"], "136")])
def test_the_commands_name_the_horizon_of_a_role(own, options, champions):
    environment = {"CRYPTO_RTI_HOME": str(own.home), "CRYPTO_RTI_SOURCE": "sim"}
    done = CliRunner().invoke(app, ["promote", NAME, "lasso", *options], env=environment)
    assert done.exit_code == 0, done.output
    aliases = read_index(own.bundles_dir, NAME).aliases
    assert "".join(aliases[alias_at("champion", horizon)] for horizon in (None, 15, 60)) == champions
    assert CliRunner().invoke(app, ["rollback", NAME, *options], env=environment).exit_code == 0
    aliases = read_index(own.bundles_dir, NAME).aliases
    assert [aliases[alias_at("champion", horizon)] for horizon in (None, 15, 60)] == ["1", "3", "5"]
    with pytest.raises(SettingsError, match="7 minutes is not served; choose one of 5, 15, 30, 60"):
        CliRunner().invoke(app, ["rollback", NAME, "--horizon", "7"], env=environment, catch_exceptions=False)


@at_quarters
def test_a_number_is_promoted_at_the_horizon_of_its_version(own, horizon, first, second):
    promote(own, NAME, second)
    aliases = read_index(own.bundles_dir, NAME).aliases
    assert (aliases[alias_at("champion", horizon)], aliases["champion"]) == (second, "1")


@at_quarters
def test_a_change_that_is_killed_is_finished_at_its_horizon(own, monkeypatch, horizon, first, second):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(exports, "export_aliases", killed)
        with pytest.raises(KeyboardInterrupt):
            promote(own, NAME, "lasso", horizon=horizon)
    assert read_index(own.bundles_dir, NAME).at(horizon).aliases["champion"] == first
    index = export_model(own, NAME)
    assert index.at(horizon).champions == [first, second] and index.champions == ["1"] and "change" not in read_model(connect(own), NAME).tags


@pytest.mark.parametrize(("minutes", "version", "horizon"), [(60, "2", None), (15, "4", 15), (None, "2", None)])
def test_a_change_that_an_earlier_release_left_unfinished_is_finished(own, minutes, version, horizon):
    """It named minutes, and no role: 60 meant whole hours."""
    before, facts = others(own, horizon), {"kind": "lasso", "previous_version": "1", "reasons": ["an example"]}
    change = {"version": version, "past": [], "facts": facts, "time": "2024-02-01T00:00:00Z", "event": "promoted", "best": version}
    connect(own).set_registered_model_tag(NAME, "change", json.dumps(change | ({} if minutes is None else {"horizon": minutes})))
    index = export_model(own, NAME).at(horizon)
    assert (index.aliases["champion"], index.champions, index.last_event["version"], others(own, horizon)) == (version, [version], version, before)


@at_quarters
def test_the_gate_compares_quarters_and_keeps_its_decision_with_the_horizon(own, horizon, first, second):
    before = others(own, horizon)
    decision = submit_challenger(own, NAME, "lasso", rows().take(rows().product == "BTC-USD"), horizon=horizon)
    assert decision.rows > 500 and "quarters of the hour" in decision.reasons[-1] and decision.drift["rows"] >= decision.rows
    assert (decision.version, decision.champion) == (second, first)
    index = read_index(own.bundles_dir, NAME)
    assert index.at(horizon).last_decision["version"] == second and index.at(horizon).last_event["kind"] == "lasso" and others(own, horizon) == before
    assert json.loads(read_model(connect(own), NAME).tags[f"last_decision-{horizon}m"])["promoted"] is decision.promoted
    few = submit_challenger(own, NAME, "lasso", rows().take(np.flatnonzero(rows().product == "BTC-USD")[-200:]), horizon=horizon)
    assert not few.promoted and f"for {horizon} minutes; the gate needs 168" in few.reasons[0]


@at_quarters
def test_versions_of_several_coins_are_submitted_at_their_horizon(own, horizon, first, second):
    before, rows_of = others(own, horizon), {f"sim.{coin}": rows().take(rows().product == coin) for coin in COINS}
    versions = {name: read_index(own.bundles_dir, name).at(horizon).aliases["lasso"] for name in rows_of}
    decisions = submit_versions(own, versions, rows_of)
    assert {name: decision.champion for name, decision in decisions.items()} == {name: str(int(version) - 1) for name, version in versions.items()}
    assert read_index(own.bundles_dir, NAME).at(horizon).last_decision["version"] == second and others(own, horizon) == before


def test_a_submission_that_fails_names_the_champion_of_its_horizon(own, monkeypatch):
    def away(*_: object, **__: object) -> None:
        raise RegistryError("away")

    monkeypatch.setattr(promotion, "submit_challenger", away)
    for version, champion in (("2", "1"), ("4", "3"), ("6", "5")):
        decision = submit_versions(own, {NAME: version}, {NAME: rows()})[NAME]
        assert (decision.reasons, decision.champion) == (["away"], champion)


def test_pruning_counts_the_versions_of_each_horizon(own):
    register_bundle(own, facts("lasso", "BTC-USD"), {"a.onnx": fan_onnx(0.2)})
    for minutes in (15, 60, 15, 60):
        register_bundles(own, *fit(minutes, "lasso", 1))
    pruned = prune_registry(own.model_copy(update={"keep_versions": 2}), NAME)
    assert pruned.versions == ("4 (lasso)", "6 (lasso)")
    left = {horizon: {item.version for item in read_model(connect(own), NAME).versions if item.role_horizon == horizon} for horizon in (None, 15, 60)}
    assert left == {None: {"1", "2", "7"}, 15: {"3", "8", "10"}, 60: {"5", "9", "11"}}


# --- no leakage ---


@at_quarters
def test_a_comparison_reads_no_later_row_and_no_state_of_its_own_rows(made, horizon, first, second):
    bundle = load_bundle(bundle_folder(made.bundles_dir, NAME, second))
    known = rows().take((rows().product == "BTC-USD") & np.isfinite(rows().later_close[:, HORIZONS.index(horizon)]))
    asked = known.take(np.arange(len(known)) >= len(known) - 800)
    whole = forecast_quarters(bundle, asked).prices
    for count in (1, 7, 400):
        assert np.array_equal(forecast_quarters(bundle, asked.take(np.arange(800) < count)).prices, whole[:count])
    later = asked.later_close.copy()
    later[400:] *= 2.0
    wild = type(asked)(*(later if name == "later_close" else getattr(asked, name) for name in asked.__dataclass_fields__))
    assert np.array_equal(forecast_quarters(bundle, wild).prices[:400], whole[:400])
    comparison = compare_quarters(bundle, load_bundle(bundle_folder(made.bundles_dir, NAME, first)), known)
    assert comparison.start > known.moment[0] and np.array_equal(comparison.errors("champion"), comparison.errors("persistence"))


# --- what is planned ---


def test_horizons_are_planned_where_a_coin_has_minutes(tmp_path):
    for product, step in (("BTC-USD", 60), ("ETH-USD", 3600)):
        sim_candles(product, "2024-01-01", "2024-01-03", step=step).to_parquet(tmp_path / f"{product}.parquet", index=False)
    settings = load_settings(home=tmp_path / "var", source=str(tmp_path), models="lasso lightgbm", products="BTC-USD ETH-USD")
    source = parse_source(str(tmp_path))
    whole = ["lasso", "lightgbm"]
    assert planned_models(settings, source, ["ETH-USD"]) == whole
    assert planned_models(settings, source, ["BTC-USD", "ETH-USD"]) == [*whole, *(f"{kind}-{minutes}m" for minutes in HORIZONS for kind in whole)]
    assert planned_models(settings.model_copy(update={"horizons": HOURLY}), source, ["BTC-USD"]) == whole
    wanted = planned_models(settings.model_copy(update={"horizons": (15, 60)}), source, ["ETH-USD"])
    assert wanted == [*whole, "lasso-15m", "lightgbm-15m", "lasso-60m", "lightgbm-60m"]
    assert [fit_step(model) for model in wanted] == ["3_train"] * 2 + ["3_train_quarters"] * 4


def test_models_of_the_hour_stay_up_to_date_when_horizons_are_added(tmp_path):
    settings = load_settings(home=tmp_path, source="sim", models="lasso")
    alone, more = (make_plan(settings.model_copy(update={"horizons": wanted}), find_pipeline()) for wanted in (HOURLY, (15, 60)))
    assert alone.marks["lasso"] == more.marks["lasso"] and more.train == ("lasso", "lasso-15m", "lasso-60m") and more.notebooks == 8
    assert len(set(more.marks.values())) == 3


def test_a_small_machine_and_a_market_without_minutes_stay_with_the_hour(tmp_path, monkeypatch):
    settings = load_settings(home=tmp_path, source="sim")
    assert cli_training.further_horizons(settings, parse_source("sim")) == HORIZONS
    assert cli_training.further_horizons(settings, parse_source("http://127.0.0.1:9")) == ()
    assert cli_training.further_horizons(settings.model_copy(update={"horizons": HOURLY}), parse_source("sim")) == ()
    monkeypatch.setattr(horizons, "machine_memory", lambda: 2 * 10**9)
    assert cli_training.further_horizons(settings, parse_source("sim")) == ()


# --- the whole pipeline ---


@pytest.fixture(scope="module")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, RetrainReport]:
    """One coin with minutes and one without: the second is named and has its model of whole hours."""
    folder = tmp_path_factory.mktemp("market")
    for product, step in (("BTC-USD", 60), ("ETH-USD", 3600)):
        sim_candles(product, "2024-01-01", "2024-05-21", step=step).to_parquet(folder / f"{product}.parquet", index=False)
    settings = load_settings(
        home=folder / "var", registry_uri="", source=f"market={folder}", models="lasso", products="BTC-USD ETH-USD", horizons="15 60", workers=1
    )
    return settings, retrain(settings, progress=False)


def test_a_retraining_with_horizons_is_whole_and_is_not_repeated(retrained):
    settings, report = retrained
    assert len(report.outcomes) == 8 and not any(outcome.error for outcome in report.outcomes), report.failures
    without = [outcome.result["without_minutes"] for outcome in report.outcomes if "without_minutes" in outcome.result]
    assert [list(each) for each in without] == [["ETH-USD"]] * 2 and "fetch minutes with" in without[0]["ETH-USD"]
    assert (report.skipped, report.exit_code) == ({}, 0)
    decided = {(decision["product"], decision["horizon"]) for decision in report.decisions}
    assert decided == {("BTC-USD", None), ("ETH-USD", None), ("BTC-USD", 15), ("BTC-USD", 60)}
    index = read_index(settings.bundles_dir, "market.BTC-USD")
    assert index.last_decision["version"] == index.at(None).aliases["lasso"]
    for horizon in (15, 60):
        version = index.at(horizon).aliases["lasso"]
        manifest = read_manifest(bundle_folder(settings.bundles_dir, "market.BTC-USD", version))
        assert (manifest.horizon, manifest.by_quarter, set(manifest.metrics["minutes"])) == (horizon, True, {"0", "15", "30", "45"})
        assert index.at(horizon).last_decision["version"] == version
        assert list(known_sizes(settings.bundles_dir, ["market.BTC-USD", "market.ETH-USD"], "lasso", horizon)) == ["BTC-USD"]
    again = retrain(settings, progress=False)
    assert again.folder is None and again.plan.fresh == ("lasso", "lasso-15m", "lasso-60m")
    with ProcessTree() as family:
        assert cli_training.train_meanwhile(family, settings, (15, 60)).wait(120) == 0
    assert "up to date, nothing to do: lasso, lasso-15m, lasso-60m" in (settings.home / "horizons.log").read_text()


def test_a_promotion_reads_the_horizon_in_the_report_of_the_fit(retrained, tmp_path):
    """A job of an earlier release named 60 minutes for models of whole hours. By hand, without a report, 60 means those of the quarters."""
    settings, report = retrained
    (made,) = (outcome.job for outcome in report.outcomes if outcome.job.label == "4_promote lasso")
    assert made.parameters["HORIZON"] == 0
    runs = {"earlier": {"HORIZON": 60}, "by hand": {"REPORT": ""}, "at the quarters": {"REPORT": "", "HORIZON": 60}}
    with notebook_server(settings_environment(settings)) as server:
        done = {
            name: run_notebook(made.notebook, {**made.parameters, **given}, tmp_path / name / "4_promote.ipynb", server=server)["decisions"]
            for name, given in runs.items()
        }
    index = read_index(settings.bundles_dir, "market.BTC-USD")
    for name, horizon in (("earlier", None), ("by hand", None), ("at the quarters", 60)):
        decisions = {each["product"]: each for each in done[name]}
        assert set(decisions) == ({"BTC-USD", "ETH-USD"} if horizon is None else {"BTC-USD"})
        assert {each["horizon"] for each in decisions.values()} == {horizon} and decisions["BTC-USD"]["version"] == index.at(horizon).aliases["lasso"]


# --- a backtest of a bundle ---


@at_quarters
def test_a_backtest_of_a_bundle_forecasts_as_the_gate_does(made, horizon, first, second):
    bundle, place = load_bundle(bundle_folder(made.bundles_dir, NAME, second)), HORIZONS.index(horizon)
    known = rows().take((rows().product == "BTC-USD") & np.isfinite(rows().later_close[:, place]) & (rows().moment % HOUR == 900))
    baseline = pd.DataFrame({"base_q05": known.close * 0.99, "base_q95": known.close * 1.01}, index=known.moment - HOUR)
    series = fixed_series(bundle, "lasso", known, baseline.iloc[::2])
    assert np.array_equal(series[list(LEVELS)].to_numpy(), forecast_quarters(bundle, known).prices) and set(FORECAST_COLUMNS) <= set(series.columns)
    assert series["actual"].tolist() == known.later_close[:, place].tolist() and series["base_q05"].isna().sum() == len(known) // 2


def test_a_bundle_names_the_horizon_of_its_backtest(made):
    bundle, hourly = (load_bundle(bundle_folder(made.bundles_dir, NAME, version)) for version in ("4", "2"))
    asked = Inside((), (0, 30), 0).of_bundle(bundle)
    assert asked.at_quarters and asked.question() == Question((15,), (0, 30), 0)
    hour = Inside((), (15,), 0).of_bundle(load_bundle(bundle_folder(made.bundles_dir, NAME, "6")))
    assert hour.at_quarters and hour.question() == Question((60,), (15,), 0)
    assert Inside((), (), 0).of_bundle(hourly) == Inside((), (), 0) == Inside((), (), 0).of_bundle(None)
    with pytest.raises(SettingsError, match="forecasts 15 minutes, not 5, 60; give --horizon 15"):
        Inside((5, 60), (), 0).of_bundle(bundle)
    with pytest.raises(SettingsError, match="leave out --late"):
        Inside((), (), 1).of_bundle(bundle)
    with pytest.raises(BacktestError, match="at the moment that it was trained for"):
        run_horizons({}, {}, (0, 1, 1.0), Question((15,), late=1), issued={}, fixed={"lasso": bundle})


def test_a_bundle_of_sixty_minutes_is_tested_off_the_hour(retrained, tmp_path, monkeypatch):
    settings, _ = retrained
    for name, value in settings_environment(settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(VolatilityModel.__init__, "__defaults__", (0, *VolatilityModel.__init__.__defaults__[1:]))
    folder = bundle_folder(settings.bundles_dir, "market.BTC-USD", resolve_alias(settings.bundles_dir, "market.BTC-USD", "lasso-60m"))
    span = ["--start", "2024-05-13", "--end", "2024-05-18"]
    command = ["backtest", "-p", "BTC-USD", *span, "--bundle", str(folder), "--minute", "15", "--jobs", "1", "-q", "--rows", str(tmp_path / "r.parquet")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    found = pd.read_parquet(tmp_path / "r.parquet").query("model == 'lasso'")
    assert len(found) == 5 * 24 and set(zip(found["horizon"], found["minute"], strict=True)) == {(60, 15)}
    (pool,) = load_quarters(CandleStore(settings.candles_dir), (settings.source, ["BTC-USD"]))
    asked = pool["BTC-USD"].take(np.isin(pool["BTC-USD"].moment, found["time"] + HOUR))
    assert np.array_equal(found[list(LEVELS)].to_numpy(), forecast_quarters(load_bundle(folder), asked).prices)
    assert np.array_equal(found["actual"], asked.later_close[:, HORIZONS.index(60)])
