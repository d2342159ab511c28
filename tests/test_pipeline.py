"""The pipeline as a whole: its four notebooks, the scheduler's command, and what happens when something breaks."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from demanding import CommandLines, demanding, leaks

from crypto_rti.data.candles import HOUR, final_until, to_iso
from crypto_rti.data.sources import Source
from crypto_rti.horizons import alias_at
from crypto_rti.pipeline import EXIT_FAILED, EXIT_OK, Stage, _model_jobs, prune_runs, results_table, retrain
from crypto_rti.pipeline_plan import STEPS, Plan, digest_code, find_pipeline, make_plan
from crypto_rti.registry.bundle import load_bundle
from crypto_rti.registry.connection import connect
from crypto_rti.registry.index import read_index
from crypto_rti.registry.versions import get_version
from crypto_rti.replay.server import running_exchange
from crypto_rti.runner import CellFailedError, LockedError, ParameterError, PipelineError, check_parameters, read_parameters, run_notebook
from crypto_rti.settings import load_settings

PIPELINE = find_pipeline()
START = to_iso(final_until() - 100 * 24 * HOUR)


def write_notebook(path: Path, *cells: str) -> Path:
    made = [
        {"cell_type": "code", "id": f"c{i}", "source": text, "outputs": [], "execution_count": None, "metadata": {"tags": ["parameters"]} if i == 0 else {}}
        for i, text in enumerate(cells)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "python3", "language": "python"}}
    path.write_text(json.dumps({"cells": made, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
    return path


# --- the notebooks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["pipelines", "experiments"])
def test_every_notebook_that_papermill_runs_has_one_parameters_cell_and_no_output_of_this_machine(folder):
    notebooks = sorted((PIPELINE.parent / folder).glob("*.ipynb"))
    if not notebooks:
        pytest.skip(f"there is no notebook in nbs/{folder} yet")
    for notebook in notebooks:
        assert read_parameters(notebook), notebook.name
    assert (PIPELINE.parent / folder / ".notest").exists(), "nbdev_test would execute them"


def test_every_job_gives_its_notebook_exactly_what_it_declares():
    plan = Plan(Source("sim", "sim"), {"BTC-USD": 0, "ETH-USD": 0}, ("lasso",))
    stage = Stage(plan, PIPELINE, Path("runs"), report_coins=("ETH-USD",))
    jobs = [
        stage.job("1_fetch", plan.products),
        stage.job("2_features", plan.products),
        stage.job("3_train", plan.products, "lasso", PARAMS={}),
        stage.job("3_train_quarters", plan.products, "lasso-15m", PARAMS={}),
        stage.job("4_promote", plan.products, "lasso-15m", REPORT="3_train.ipynb"),
        stage.job("4_promote", plan.products, "lasso", REPORT="3_train.ipynb"),
        stage.job("4_promote", plan.products, "lasso-60m", REPORT="3_train.ipynb"),
    ]
    assert [job.notebook.stem for job in jobs[:5]] == list(STEPS)
    for job in jobs:
        check_parameters(job.notebook, {**job.parameters, "RESULT": ""})
        assert (job.parameters["PRODUCTS"], job.parameters["REPORT_COINS"]) == ("BTC-USD ETH-USD", "ETH-USD")
    assert str(jobs[2].report) == "runs/lasso/3_train.ipynb" and str(jobs[3].report) == "runs/lasso-15m/3_train_quarters.ipynb"
    assert [(job.parameters["MODEL"], job.parameters["HORIZON"]) for job in jobs[3:]] == [("lasso", 15), ("lasso", 15), ("lasso", 0), ("lasso", 60)]
    assert "HORIZON" not in jobs[2].parameters and read_parameters(jobs[4].notebook)["HORIZON"] == 0


def test_an_ensemble_of_sixty_minutes_waits_for_members_of_its_own():
    models = [alias_at(kind, horizon) for horizon in (None, 60) for kind in ("lasso", "lightgbm", "ensemble")]
    plan = Plan(Source("sim", "sim"), {"BTC-USD": 0}, tuple(models))
    jobs = {job.label: [*job.after, *job.needs] for job in _model_jobs(Stage(plan, PIPELINE, Path("runs")), models, plan.products, {})}
    assert jobs["3_train ensemble"] == ["3_train lasso", "3_train lightgbm"]
    assert jobs["3_train_quarters ensemble-60m"] == ["3_train_quarters lasso-60m", "3_train_quarters lightgbm-60m"]
    assert jobs["4_promote lasso-60m"] == ["4_promote ensemble", "3_train_quarters lasso-60m"]


@pytest.mark.parametrize(
    ("cells", "fault"),
    [
        (["A = 1\nfor i in range(3): pass"], "is not a plain"),
        (["A, B = 1, 2"], "is not a plain"),
        (["A = B = 1"], "is not a plain"),
        (["A = open"], "is not a plain"),
        (["A = [1, 2, print()]"], "is not a plain"),
        (["A: 'int | None' = None"], "is not a plain"),
        (["A = (1"], "cannot be parsed"),
    ],
)
def test_a_parameters_cell_that_papermill_would_misread_is_refused(tmp_path, cells, fault):
    with pytest.raises(ParameterError, match=fault):
        read_parameters(write_notebook(tmp_path / "odd.ipynb", *cells))


def test_papermill_reads_the_same_parameters_as_we_do():
    from papermill import inspect_notebook

    for step in STEPS:
        assert set(inspect_notebook(str(PIPELINE / f"{step}.ipynb"))) == set(read_parameters(PIPELINE / f"{step}.ipynb"))


def test_two_parameters_cells_are_refused_before_anything_runs(tmp_path):
    notebook = write_notebook(tmp_path / "two.ipynb", "A = 1", "open('ran', 'w')")
    content = json.loads(notebook.read_text())
    content["cells"][1]["metadata"]["tags"] = ["parameters"]
    notebook.write_text(json.dumps(content))
    with pytest.raises(ParameterError, match="has 2 cells tagged"):
        run_notebook(notebook, {"A": 2}, tmp_path / "out.ipynb")
    assert not (tmp_path / "out.ipynb").exists()


# --- kernels ------------------------------------------------------------------------------------------------------------


def stubborn_kernel(folder: Path, refusals: int) -> dict[str, str]:
    "A kernel that dies at once so many times before it starts; the variables under which this Python starts it."
    (folder / "starts").write_text("0")
    (folder / "ipykernel_launcher.py").write_text(
        "import sys\n"
        "from pathlib import Path\n"
        f"count = Path({str(folder / 'starts')!r})\n"
        "started = int(count.read_text())\n"
        "count.write_text(str(started + 1))\n"
        f"if started < {refusals}: sys.exit(1)\n"
        "from ipykernel import kernelapp\n"
        "kernelapp.launch_new_instance()\n"
    )
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))}


def test_a_kernel_of_another_environment_is_not_started(tmp_path):
    spec = tmp_path / "jupyter" / "kernels" / "python3"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(json.dumps({"argv": ["/bin/false", "{connection_file}"], "display_name": "mine", "language": "python"}))
    places = {name: str(tmp_path / "jupyter") for name in ("JUPYTER_PATH", "JUPYTER_DATA_DIR")}
    record = "import sys\nfrom crypto_rti.runner import record_result\nrecord_result(RESULT, python=sys.executable)"
    notebook = write_notebook(tmp_path / "n.ipynb", "A = 1\nRESULT = ''", record)
    assert run_notebook(notebook, {"A": 3}, tmp_path / "out.ipynb", places)["python"] == sys.executable


def test_a_python_without_kernel_says_what_to_install(tmp_path, monkeypatch):
    notebook = write_notebook(tmp_path / "n.ipynb", "A = 1")
    monkeypatch.setattr("crypto_rti.runner.find_spec", lambda name: None if name == "ipykernel" else sys)
    with pytest.raises(PipelineError, match="notebooks need ipykernel, which .* does not have; run: pip install"):
        run_notebook(notebook, {"A": 3}, tmp_path / "out.ipynb")
    assert not (tmp_path / "out.ipynb").exists()


def test_a_kernel_that_does_not_start_is_tried_once_more(tmp_path):
    notebook = write_notebook(tmp_path / "n.ipynb", "A = 1\nRESULT = ''", "from crypto_rti.runner import record_result\nrecord_result(RESULT, a=A)")
    result = run_notebook(notebook, {"A": 3}, tmp_path / "out" / "n.ipynb", stubborn_kernel(tmp_path, 1))
    assert result["a"] == 3 and (tmp_path / "starts").read_text().strip() == "2"


def test_a_kernel_that_never_starts_is_an_error_that_says_so(tmp_path):
    notebook = write_notebook(tmp_path / "n.ipynb", "A = 1")
    with pytest.raises(CellFailedError, match="n failed in its process.*died"):
        run_notebook(notebook, {"A": 3}, tmp_path / "out.ipynb", stubborn_kernel(tmp_path, 99))
    assert (tmp_path / "starts").read_text().strip() == "2"


def test_a_kernel_that_dies_at_work_is_not_tried_again_and_its_report_is_kept(tmp_path):
    notebook = write_notebook(tmp_path / "n.ipynb", "A = 1", "marker = 'before'", f"open({str(tmp_path / 'deaths')!r}, 'a').write('x'); import os; os._exit(9)")
    with pytest.raises(CellFailedError, match="n failed in"):
        run_notebook(notebook, {"A": 3}, tmp_path / "out.ipynb")
    assert (tmp_path / "deaths").read_text() == "x"
    assert "marker = 'before'" in (tmp_path / "out.ipynb").read_text()


# --- retrain ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def command_lines():
    "Command lines of all processes while the first run goes on that hold the password of its exchange."
    return CommandLines()


@pytest.fixture(scope="module")
def trained(tmp_path_factory, command_lines):
    """A hundred days of the simulated market, one product, one model: the settings, and the report of the first run.

    The market is a replay exchange that demands a password, which stands in the address of the source.
    """
    with running_exchange("sim", rate_limit=False) as exchange, demanding(exchange.url) as proxy:
        given = {"home": tmp_path_factory.mktemp("var"), "registry_uri": "", "source": f"sim={proxy.url}", "products": "ETH-USD", "models": "lasso"}
        settings = load_settings(**given, keep_runs=2, requests_per_second=10)
        with command_lines:
            report = retrain(settings, START, progress=False, every_hours=12)
        assert proxy.admitted and not proxy.refused
        yield settings, report


def test_the_password_of_the_source_is_in_no_process_list_record_report_or_artifact(trained, command_lines):
    settings, report = trained
    assert report.exit_code == EXIT_OK, report.failures
    assert any(b"fork_server" in line for line in command_lines.seen)
    assert command_lines.found == set()
    held = {path.name for path in settings.home.rglob("*") if path.is_file()}
    assert {"pipeline.json", "sources.json", "run.json", "mlflow.db", "3_train.ipynb", "3_train.html", "manifest.json", "index.json"} <= held
    assert leaks(settings.home) == []
    assert "127.0.0.1" in (settings.home / "sources.json").read_text(), "the address itself is recorded"


def test_a_run_leaves_reports_results_a_champion_and_its_reasons(trained):
    settings, report = trained
    assert report.exit_code == EXIT_OK, report.failures
    assert [outcome.job.label for outcome in report.outcomes] == ["1_fetch", "2_features", "3_train lasso", "4_promote lasso"]
    for outcome in report.outcomes:
        for suffix in (".ipynb", ".html", ".json"):
            assert outcome.job.report.with_suffix(suffix).stat().st_size > 100
        assert outcome.result["parameters"]["PRODUCTS"] == "ETH-USD"
        assert json.loads(outcome.job.report.with_suffix(".json").read_text()) == outcome.result
        assert "image/png" in outcome.job.report.read_text(), "every report shows a figure"
    index = read_index(settings.bundles_dir, "sim.ETH-USD")
    assert index.aliases["persistence"] == "1" and index.aliases["lasso"] == "2"
    (decision,) = report.decisions
    assert index.last_decision["reasons"] == decision["reasons"] and decision["reasons"]
    assert index.aliases["champion"] == ("2" if decision["promoted"] else "1")
    assert report.outcomes[-1].result["pruned"]["versions"] == [] and report.removed == [] and report.skipped == {}
    rows = results_table(settings.bundles_dir)
    assert [row["kind"] for row in rows] == ["persistence", "lasso"] and all(row["mae"] > 0 for row in rows)
    assert rows[0]["mae"] == rows[1]["mae_persistence"]
    for version in ("1", "2"):
        load_bundle(settings.bundles_dir / "sim.ETH-USD" / version)


def test_the_registry_keeps_parameters_metrics_data_set_and_the_executed_notebook(trained):
    settings, report = trained
    client, version = connect(settings), get_version(settings, "sim.ETH-USD", "lasso")
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED" and run.data.params["kind"] == "lasso" and run.data.metrics["mae"] > 0
    profile = json.loads(run.inputs.dataset_inputs[0].dataset.profile)
    assert profile["rows"] > 1000 and len(profile["sha256"]) == 64 and profile["source"] == "sim"
    assert {entry.path for entry in client.list_artifacts(run.info.run_id, "report")} == {"report/3_train.ipynb", "report/3_train.html"}
    kept = Path(client.download_artifacts(run.info.run_id, "report/3_train.ipynb"))
    assert kept.read_text() == report.outcomes[2].job.report.read_text()


def test_a_second_run_has_nothing_to_do(trained):
    settings, _ = trained
    again = retrain(settings, START, progress=False, every_hours=12)
    assert again.exit_code == EXIT_OK and again.folder is None and again.plan.fresh == ("lasso",)
    assert len([path for path in settings.runs_dir.iterdir() if path.is_dir()]) == 1


def test_what_makes_a_model_out_of_date(trained):
    settings, _ = trained

    def stale(settings=settings, start=START, **more):
        return make_plan(settings, PIPELINE, start, every_hours=12, **more).train

    assert stale() == ()
    assert stale(force=True) == ("lasso",)
    assert stale(start="2026-01-01") == ("lasso",)
    assert stale(params={"lasso": {"clip": 0.5}}) == ("lasso",)
    elsewhere = settings.model_copy(update={"source": "sim", "home": settings.home / "elsewhere"})
    marks = [make_plan(elsewhere.model_copy(update={"sim_seed": seed}), PIPELINE, START).marks for seed in (0, 1)]
    assert marks[0] != marks[1], "another seed is another market"
    assert stale(settings.model_copy(update={"models": ("lasso", "lightgbm")})) == ("lightgbm",)
    assert stale(settings.model_copy(update={"products": ("ETH-USD", "BTC-USD")})) == ("lasso",), "another pool"
    hidden = settings.bundles_dir.rename(settings.home / "hidden")
    try:
        assert stale() == ("lasso",), "a model that is not there any more"
    finally:
        hidden.rename(settings.bundles_dir)
    state = settings.home / "pipeline.json"
    text = state.read_text()
    state.write_text(text[: len(text) // 2])
    assert stale() == ("lasso",), "a damaged record costs a training and no more"
    state.write_text(text)
    assert stale() == ()


def test_changed_code_counts_and_changed_outputs_do_not(tmp_path):
    copy = Path(shutil.copytree(PIPELINE, tmp_path / "pipelines"))
    before = digest_code(copy)
    notebook = copy / "3_train.ipynb"
    content = json.loads(notebook.read_text())
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    code[-1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "hello"}]
    notebook.write_text(json.dumps(content))
    assert digest_code(copy) == before
    code[-1]["source"] = "pass"
    notebook.write_text(json.dumps(content))
    assert digest_code(copy) != before


def test_a_failed_cell_fails_the_run_keeps_its_report_and_the_champion(trained):
    settings, _ = trained
    before, known = read_index(settings.bundles_dir, "sim.ETH-USD").aliases, (settings.home / "pipeline.json").read_text()
    report = retrain(settings, START, {"lasso": {"no_such_parameter": 1}}, progress=False, every_hours=12)
    assert report.exit_code == EXIT_FAILED
    (failure,) = report.failures
    assert failure.startswith("3_train failed in cell ") and "no_such_parameter" in failure and failure.endswith("/lasso/3_train.ipynb")
    assert (report.folder / "lasso" / "3_train.ipynb").exists() and (report.folder / "lasso" / "3_train.html").exists()
    assert not (report.folder / "lasso" / "4_promote.ipynb").exists()
    assert read_index(settings.bundles_dir, "sim.ETH-USD").aliases == before
    assert (settings.home / "pipeline.json").read_text() == known, "the model that was up to date still is"


def test_a_second_retraining_is_turned_away_and_a_dead_one_leaves_no_lock(trained):
    settings, _ = trained
    hold = f"with FileLock({str(settings.home / 'retrain.lock')!r}): print('held', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", f"import time\nfrom filelock import FileLock\n{hold}"]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match="another retraining"):
            retrain(settings, START, progress=False, every_hours=12)
        line = [Path(sys.executable).parent / "crypto-rti", "retrain", "--source", "sim", "--quiet"]
        refused = subprocess.run(line, env={**os.environ, "CRYPTO_RTI_HOME": str(settings.home)}, capture_output=True, text=True)
        assert refused.returncode == LockedError.exit_code and "another retraining" in refused.stderr
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert retrain(settings, START, progress=False, every_hours=12).exit_code == EXIT_OK


def test_pruning_keeps_the_newest_and_touches_nothing_else(tmp_path):
    names = [f"2026010{day}T000000Z" for day in range(1, 8)]
    for name in [*names, "20260101T000000Z-1", "mine", "2026"]:
        (tmp_path / name).mkdir()
    (tmp_path / "20250101T000000Z").write_text("a file, not a run")
    gone = prune_runs(tmp_path, 3)
    assert gone == [names[0], "20260101T000000Z-1", *names[1:4]]
    assert {path.name for path in tmp_path.iterdir()} == {*names[4:], "mine", "2026", "20250101T000000Z"}
