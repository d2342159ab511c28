"""One fit for many coins: what a retraining does with coins that fail, are new or have ended, and how it continues after a kill."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from waiting import wait_for

from crypto_rti.data.candles import HOUR, to_unix
from crypto_rti.data.simulation import sim_candles
from crypto_rti.errors import NoSuchNameError
from crypto_rti.pipeline import EXIT_FAILED, EXIT_OK, retrain
from crypto_rti.pipeline_plan import check_request, find_pipeline, make_plan
from crypto_rti.registry.bundle import load_bundle
from crypto_rti.registry.gate import COVERAGE_TOLERANCE
from crypto_rti.registry.index import bundle_folder, read_index
from crypto_rti.registry.versions import get_version, list_versions
from crypto_rti.settings import Settings, SettingsError, load_settings

END = to_unix("2024-06-01")
DAYS = {"BTC-USD": (180, 0), "ETH-USD": (180, 0), "SOL-USD": (180, 0), "TWO-USD": (14, 0), "NEW-USD": (5, 0), "OLD-USD": (180, 60)}
"Days of candles before the end, and days before the end at which they stop."


def write_candles(folder: Path, **spans: tuple[int, int]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for product, (before, until) in spans.items():
        candles = sim_candles(product, END - before * 24 * HOUR, END - until * 24 * HOUR)
        candles.to_parquet(folder / f"{product}.parquet", index=False)
    return folder


def settings_for(home: Path, folder: Path, products: str, **more: object) -> Settings:
    return load_settings(home=home, registry_uri="", source=str(folder), products=products, **{"models": "lasso", **more})


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    "Six coins of which one stops, one is new and one has two weeks, and a file that holds no candles: the settings, and the report."
    folder = write_candles(tmp_path_factory.mktemp("source") / "market", **DAYS)
    (folder / "BAD-USD.parquet").write_bytes(b"PAR1")
    settings = settings_for(tmp_path_factory.mktemp("home"), folder, " ".join([*DAYS, "BAD-USD", "NONE-USD", "BTC-USD"]))
    return settings, retrain(settings, progress=False, report_coins=["SOL-USD"])


def test_the_pool_is_fitted_once_and_every_coin_has_its_version(pool):
    settings, report = pool
    assert [outcome.job.label for outcome in report.outcomes] == ["1_fetch", "2_features", "3_train lasso", "4_promote lasso"]
    assert [outcome.error for outcome in report.outcomes] == [""] * 4
    versions = report.outcomes[2].result["versions"]
    assert list(versions) == ["BTC-USD", "ETH-USD", "SOL-USD", "TWO-USD", "NEW-USD"]
    bundles = {product: load_bundle(bundle_folder(settings.bundles_dir, f"market.{product}", version)) for product, version in versions.items()}
    assert len({json.dumps(sorted(bundle.manifest.files.items())) for bundle in bundles.values()}) == 1, "one fit"
    assert len({str(bundles[product].interval.scores) for product in ("BTC-USD", "ETH-USD", "SOL-USD")}) == 3, "intervals of their own"
    assert bundles["NEW-USD"].interval.scores == bundles["TWO-USD"].interval.scores, "coins with few rows: those of the pool"
    assert {bundle.manifest.train_span for bundle in bundles.values()} == {bundles["BTC-USD"].manifest.train_span}, "cut at the same moment"
    assert bundles["BTC-USD"].manifest.pool == ["BTC-USD", "ETH-USD", "OLD-USD", "SOL-USD"], "the coin that stopped is learned from"


def test_a_coin_that_fails_is_named_and_stops_no_other(pool):
    _, report = pool
    assert report.exit_code == EXIT_FAILED
    texts = {text.partition(":")[0]: text for text in report.failures}
    assert sorted(texts) == ["BAD-USD", "NONE-USD", "OLD-USD"]
    assert "before the held-out hours begin" in texts["OLD-USD"] and "NONE-USD.parquet" in texts["NONE-USD"]
    assert sorted(decision["product"] for decision in report.decisions) == ["BTC-USD", "ETH-USD", "NEW-USD", "SOL-USD", "TWO-USD"]


def test_a_new_coin_is_answered_by_the_pool_or_by_persistence_and_is_marked(pool):
    settings, report = pool
    (decision,) = [each for each in report.decisions if each["product"] == "NEW-USD"]
    item, judged = (get_version(settings, f"market.{product}", "lasso") for product in ("NEW-USD", "BTC-USD"))
    assert item.metrics["new"] is True and "mase" not in item.metrics and judged.metrics["mase"] > 0 and "new" not in judged.metrics
    good = item.metrics["pool_mase"] < 1 and abs(item.metrics["pool_coverage_90"] - 0.9) <= COVERAGE_TOLERANCE
    assert decision["promoted"] == good and "is new, with " in decision["reasons"][0]
    champion = read_index(settings.bundles_dir, "market.NEW-USD").aliases["champion"]
    assert (champion == item.version) == decision["promoted"]
    assert report.outcomes[2].result["new"] == ["NEW-USD"]


def test_the_reports_show_the_coins_that_were_asked_for(pool):
    _, report = pool
    for outcome in (report.outcomes[0], *report.outcomes[2:]):
        assert "SOL-USD" in outcome.job.parameters["REPORT_COINS"] and outcome.job.report.read_text().count("image/png") >= 3


def test_what_was_left_out_is_not_tried_again_before_the_next_hour(pool):
    settings, _ = pool
    plan = make_plan(settings, find_pipeline())
    assert (plan.train, plan.submit, plan.fresh) == ((), {}, ("lasso",))


def test_names_are_checked_before_anything_is_fetched(tmp_path):
    folder = write_candles(tmp_path / "market", **{"BTC-USD": (30, 0)})
    many = " ".join(f"C{number}-USD" for number in range(10_000))
    with pytest.raises(SettingsError, match="10,000 products are more than the 1,000"):
        check_request(settings_for(tmp_path / "home", folder, many))
    with pytest.raises(NoSuchNameError, match="there is no product of this retraining 'BTC-USDT'; did you mean BTC-USD"):
        retrain(settings_for(tmp_path / "home", folder, "BTC-USD"), report_coins=["BTC-USDT"], progress=False)
    assert not (tmp_path / "home" / "runs").exists()


def test_a_pool_in_which_every_coin_fails_registers_nothing(tmp_path):
    folder = write_candles(tmp_path / "market", **{"BTC-USD": (20, 0), "ETH-USD": (20, 0)})
    few = settings_for(tmp_path / "home", folder, "BTC-USD ETH-USD")
    failed = retrain(few, "2024-05-30", progress=False)
    assert failed.exit_code == EXIT_FAILED and "too few to learn from" in failed.failures[-1]
    assert not few.bundles_dir.exists() and not (few.home / "pipeline.json").exists()


RETRAIN = """
from crypto_rti.pipeline import retrain
from crypto_rti.settings import load_settings
retrain(load_settings(home={home!r}, registry_uri="", source={source!r}, products="BTC-USD ETH-USD", models="lasso"), progress=False)
"""


def kill_when(settings: Settings, pattern: str) -> None:
    "Start a retraining, and kill it as soon as a file exists."
    command = [sys.executable, "-c", RETRAIN.format(home=str(settings.home), source=settings.source)]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        wait_for(lambda: list(settings.home.glob(pattern)), 120, pattern)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    with FileLock(settings.home / "retrain.lock", timeout=20):  # Free once everything below the killed process has ended
        pass


def test_a_run_that_is_killed_continues_where_it_was(tmp_path):
    folder = write_candles(tmp_path / "market", **{"BTC-USD": (60, 0), "ETH-USD": (60, 0)})
    settings = settings_for(tmp_path / "home", folder, "BTC-USD ETH-USD")
    kill_when(settings, "training/market/lasso/fit.json")
    assert [item for item in list_versions(settings) if item.kind == "lasso"] == [], "nothing is half-registered"
    kill_when(settings, "runs/*/lasso/3_train.json")
    (fit,) = settings.home.glob("runs/*/lasso/3_train.json")
    result = json.loads(fit.read_text())
    assert result["how"] == "loaded: the same fit was finished before"
    assert {item.name: item.version for item in list_versions(settings) if item.kind == "lasso"} == {
        f"market.{product}": version for product, version in result["versions"].items()
    }
    last = retrain(settings, progress=False)
    labels = [outcome.job.label for outcome in last.outcomes]
    assert last.exit_code == EXIT_OK and labels[-1] == "4_promote lasso" and len(last.decisions) == 2
    assert make_plan(settings, find_pipeline()).fresh == ("lasso",)
