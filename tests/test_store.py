"""What the store's notebook cannot hold: other processes, kill -9, full disks, and files broken at random."""

import json
import os
import random
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_rti.data.candle_files import NoCandlesError, StoreError, read_candles, read_series
from crypto_rti.data.candles import COLUMNS, HOUR, CandleError
from crypto_rti.data.ranges import NO_TRADES, PENDING, UNKNOWN, ClassifiedGap
from crypto_rti.data.sources import Source, SourceError
from crypto_rti.data.store import CandleStore
from crypto_rti.settings import CryptoRTIError

SIM = Source("sim", "sim")


def candles(hours, close=100.0):
    rows = [[hour * HOUR, close - 1, close + 1, close, close, 1.0] for hour in hours]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"time": "int64", **dict.fromkeys(COLUMNS[1:], "float64")})


def month_files(root, product="BTC-USD"):
    """The content of every file with hours of a product, by name."""
    return {path.name: path.read_bytes() for path in sorted((root / "sim" / "hours" / product).iterdir())}


def start_python(code, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


# --- Files that are broken -----------------------------------------------------------------

GOOD = candles(range(10))
BROKEN = {
    "row 0": GOOD.assign(low=200.0),
    "row 3: time=10800": GOOD.assign(volume=[1.0] * 3 + [-1.0] + [1.0] * 6),
    "sort by time": GOOD.iloc[::-1],
    "drop the duplicate": pd.concat([GOOD[:3], GOOD[2:]]),
    "does not start on the 3600 s grid": GOOD.assign(time=GOOD["time"] + 1),
    "a price that is not positive": GOOD.assign(low=0.0),
    "an infinite number": GOOD.assign(close=[100.0] * 9 + [np.inf]),
    "holds a NaN": GOOD.assign(open=[np.nan] + [100.0] * 9),
    "(and 9 more rows)": GOOD.assign(low=GOOD["high"], high=GOOD["low"]),
    "rename or reorder them": GOOD[["time", "open", "high", "low", "close", "volume"]],
    "columns are ['close']": GOOD[["close"]],
    "not integers": GOOD.assign(time=GOOD["time"].astype(str)),
    "convert it to Unix seconds": GOOD.assign(time=pd.to_datetime(GOOD["time"], unit="s", utc=True)),
    "`close` holds": GOOD.assign(close=GOOD["close"].astype(str)),
    "divide milliseconds by 1000": GOOD.assign(time=(GOOD["time"] + 1_699_999_200) * 1000),
    "holds no candles": GOOD[:0],
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_file_is_refused_by_name(tmp_path, message):
    path = tmp_path / "BTC-USD.parquet"
    BROKEN[message].to_parquet(path, index=False)
    before = path.read_bytes()
    with pytest.raises((CandleError, StoreError)) as caught:
        CandleStore("nowhere").load(str(tmp_path), "BTC-USD")
    assert message in str(caught.value) and str(path) in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"PAR1", b"time,low,high\n0,1,2\n", b"\0" * 5000], ids=["empty", "stub", "csv", "zeros"])
def test_what_is_no_parquet_is_refused_by_name(tmp_path, content):
    path = tmp_path / "BTC-USD.parquet"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"BTC-USD\.parquet is (empty|not a readable)"):
        read_candles(path)


def test_a_folder_or_a_missing_file_is_refused_by_name(tmp_path):
    (tmp_path / "BTC-USD.parquet").mkdir()
    with pytest.raises(StoreError, match=r"BTC-USD\.parquet"):
        read_candles(tmp_path / "BTC-USD.parquet")
    with pytest.raises(NoCandlesError, match="does not exist"):
        CandleStore(tmp_path).load(SIM, "BTC-USD")


def test_no_cut_of_a_file_is_ever_read(tmp_path):
    CandleStore(tmp_path).save(SIM, "BTC-USD", GOOD)
    (whole,) = month_files(tmp_path).values()
    cut = tmp_path / "cut.parquet"
    for length in range(0, len(whole), 37):
        cut.write_bytes(whole[:length])
        with pytest.raises(StoreError, match="perhaps cut off" if length else "is empty"):
            read_candles(cut)


def test_flipped_bytes_give_a_named_error_or_candles(tmp_path):
    CandleStore(tmp_path).save(SIM, "BTC-USD", GOOD, (0, 20 * HOUR))
    (whole,) = month_files(tmp_path).values()
    rng, path = random.Random(1), tmp_path / "flipped.parquet"
    for _ in range(300):
        spoilt = bytearray(whole)
        for _ in range(rng.choice([1, 3, 30])):
            spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
        path.write_bytes(spoilt)
        try:
            read_series(path)
        except CryptoRTIError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize("change", [{"format": 2}, {"format": None}, {"covered": 5}, {"gaps": [[0, 1]]}, {"origin": None}])
def test_a_record_that_is_newer_or_damaged(tmp_path, change):
    store = CandleStore(tmp_path)
    store.save(SIM, "BTC-USD", GOOD)
    (path,) = store.hours(SIM, "BTC-USD").months
    table = pq.read_table(path)
    record = {**json.loads(table.schema.metadata[b"crypto_rti"]), **change}
    if change == {"origin": None}:
        del record["origin"]
    pq.write_table(table.replace_schema_metadata({"crypto_rti": json.dumps(record)}), path)
    before = path.read_bytes()
    for refused in (lambda: store.load(SIM, "BTC-USD"), lambda: store.save(SIM, "BTC-USD", GOOD)):
        with pytest.raises(StoreError, match="upgrade crypto_rti" if change == {"format": 2} else "damaged"):
            refused()
    assert path.read_bytes() == before


def test_broken_candles_are_not_stored_over_good_ones(tmp_path):
    store = CandleStore(tmp_path)
    store.save(SIM, "BTC-USD", GOOD)
    before = month_files(tmp_path)
    for table in BROKEN.values():
        if len(table):
            with pytest.raises(CandleError, match="BTC-USD of sim"):
                store.save(SIM, "BTC-USD", table)
    assert month_files(tmp_path) == before


def test_a_foreign_file_in_the_store_is_left_alone(tmp_path):
    store = CandleStore(tmp_path)
    path = store.path(SIM, "BTC-USD")
    path.parent.mkdir()
    GOOD.to_parquet(path, index=False)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="was not written by crypto_rti"):
        store.save(SIM, "BTC-USD", candles([20]))
    assert path.read_bytes() == before


def test_names_cannot_leave_the_store(tmp_path):
    for product in ("../BTC-USD", "BTC/USD", "", "btc-usd", "A-B.parquet"):
        with pytest.raises(SourceError, match=f"'{product}' is not a product name"):
            CandleStore(tmp_path).path(SIM, product)


# --- Disks that are full -------------------------------------------------------------------

SAVE_MUCH = """
import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])
import test_store as t
try:
    t.CandleStore(sys.argv[1]).save(t.SIM, "BTC-USD", t.random_walk(50_000))
    print("saved")
except t.StoreError as error:
    print("refused:", error)
"""


def random_walk(count):
    close = 100 + np.random.default_rng(0).random(count)
    return pd.DataFrame({"time": np.arange(count) * HOUR, "low": close - 1, "high": close + 1, "open": close, "close": close, "volume": close})


def save_in_a_process(folder, limit=None):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-c", SAVE_MUCH, str(folder), str(Path(__file__).parent)]
    limited = (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))) if limit else None
    return subprocess.run(command, capture_output=True, text=True, env=environment, preexec_fn=limited, timeout=60).stdout


def assert_refused_and_untouched(folder, output, before):
    assert output.startswith("refused:") and "BTC-USD.parquet cannot be written" in output and "free space" in output
    assert month_files(folder) == before  # No temporary file either
    assert sorted(path.name for path in (folder / "sim").iterdir()) == [".BTC-USD.parquet.lock", "hours"]


def test_a_file_that_may_not_grow(tmp_path):
    CandleStore(tmp_path).save(SIM, "BTC-USD", GOOD)
    before = month_files(tmp_path)
    assert_refused_and_untouched(tmp_path, save_in_a_process(tmp_path, limit=20_000), before)
    assert save_in_a_process(tmp_path) == "saved\n"


def test_a_full_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount") and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", disk], capture_output=True).returncode == 0
    if not mount:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        CandleStore(disk).save(SIM, "BTC-USD", GOOD)
        before = month_files(disk)
        assert_refused_and_untouched(disk, save_in_a_process(disk), before)
        with pytest.raises(NoCandlesError):
            CandleStore(disk).load(SIM, "ETH-USD")
    finally:
        subprocess.run(["umount", disk], check=True)


# --- Other processes -----------------------------------------------------------------------

SAVE_HOURS = """
import sys; sys.path.insert(0, sys.argv[2])
import test_store as t
store, first = t.CandleStore(sys.argv[1]), int(sys.argv[3])
for hour in range(first, first + 20):
    store.save(t.SIM, "BTC-USD", t.candles([hour]), (hour * 3600, hour * 3600 + 3600))
print("done")
"""

# One process imports, and forks a writer for each line it reads: importing anew for each of them takes far longer than the test.
WRITERS = """
import os, sys, time; sys.path.insert(0, sys.argv[2])
import test_store as t
for hour in range(2):
    t.CandleStore(sys.argv[1] + "/warm").save(t.SIM, "BTC-USD", t.candles([hour]))
for line in sys.stdin:
    first, seconds = int(line.split()[0]), float(line.split()[1])
    writer = os.fork()
    if not writer:
        for hour in range(first, first + 100_000):
            t.CandleStore(sys.argv[1]).save(t.SIM, "BTC-USD", t.candles([hour]), (hour * 3600, hour * 3600 + 3600))
    time.sleep(seconds)
    os.kill(writer, 9)
    os.waitpid(writer, 0)
    print("killed", flush=True)
"""

HOLD_LOCK = """
import filelock, sys
with filelock.FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_that_write_at_once_lose_nothing(tmp_path):
    writers = [start_python(SAVE_HOURS, tmp_path, Path(__file__).parent, first) for first in (0, 1000)]
    assert [writer.communicate(timeout=60)[0].split()[-1] for writer in writers] == ["done", "done"]
    series = CandleStore(tmp_path).series(SIM, "BTC-USD")
    assert series.candles["time"].tolist() == [hour * HOUR for hour in (*range(20), *range(1000, 1020))]
    assert series.covered == [(0, 20 * HOUR), (1000 * HOUR, 1020 * HOUR)]


def test_a_process_that_holds_the_file_is_waited_for_then_named(tmp_path):
    store = CandleStore(tmp_path, timeout_seconds=0.3)
    store.save(SIM, "BTC-USD", GOOD)
    before = month_files(tmp_path)
    command = [sys.executable, "-c", HOLD_LOCK, tmp_path / "sim" / ".BTC-USD.parquet.lock"]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match="being written by another process"):
            store.save(SIM, "BTC-USD", candles([99]))
        assert month_files(tmp_path) == before
        assert len(store.load(SIM, "BTC-USD")) == 10  # readers do not wait
        holder.kill()  # and a dead process holds nothing
        holder.wait()
        assert len(store.save(SIM, "BTC-USD", candles([99])).candles) == 11
    finally:
        holder.kill()
        holder.communicate()


def test_killed_at_any_moment_the_store_is_whole(tmp_path):
    rng, first = random.Random(4), 0
    nursery = start_python(WRITERS, tmp_path, Path(__file__).parent)
    for _ in range(20):
        nursery.stdin.write(f"{first} {rng.uniform(0.01, 0.3)}\n")
        nursery.stdin.flush()
        assert nursery.stdout.readline() == "killed\n"
        series = CandleStore(tmp_path).series(SIM, "BTC-USD")
        assert len(series.candles) >= first
        first = len(series.candles)
        assert series.candles["time"].tolist() == [hour * HOUR for hour in range(first)]
        assert series.covered == ([(0, first * HOUR)] if first else [])
    nursery.communicate()
    assert first >= 3  # it was not killed before it could write anything
    CandleStore(tmp_path, timeout_seconds=5).save(SIM, "BTC-USD", candles([first]))
    assert sorted(path.name for path in (tmp_path / "sim").iterdir()) == [".BTC-USD.parquet.lock", "hours"]
    assert all(name.startswith("19") for name in month_files(tmp_path))  # No temporary file


# --- In general ----------------------------------------------------------------------------

spans = st.tuples(st.integers(0, 40), st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))
saves = st.tuples(spans, st.sets(st.integers(0, 52), max_size=20), spans, st.sampled_from([NO_TRADES, UNKNOWN]))


@settings(max_examples=40)  # Each saves up to six Parquet files
@given(st.lists(saves, min_size=1, max_size=6))
def test_the_store_is_a_dictionary_of_hours(tmp_path_factory, steps):
    store, known, asked, verdicts = CandleStore(tmp_path_factory.mktemp("store")), {}, set(), {}
    for number, (span, hours, judged, verdict) in enumerate(steps):
        gap = ClassifiedGap(judged[0] * HOUR, judged[1] * HOUR, verdict)
        store.save(SIM, "BTC-USD", candles(sorted(hours), 100.0 + number), (span[0] * HOUR, span[1] * HOUR), [gap])
        known |= dict.fromkeys(hours, 100.0 + number)
        asked |= {*range(*span), *hours}
        verdicts = {hour: verdicts.get(hour) for hour in asked - set(known)} | {hour: verdict for hour in range(*judged) if hour in asked - set(known)}
    series = store.series(SIM, "BTC-USD")
    assert dict(zip((series.candles["time"] // HOUR).tolist(), series.candles["close"].tolist(), strict=True)) == known
    assert {hour for start, end in series.covered for hour in range(start // HOUR, end // HOUR)} == asked
    found = {hour: gap.verdict for gap in series.gaps for hour in range(gap.start // HOUR, gap.end // HOUR)}
    assert found == {hour: verdict or PENDING for hour, verdict in verdicts.items()}
