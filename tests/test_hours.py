"""Hours by month: a file of the version before is read, and replaced once as a whole; an update writes little."""

import json
import random
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_store import SIM, candles, random_walk

from crypto_rti.data import hours
from crypto_rti.data.candle_files import Series, StoreError, encode_series, read_series
from crypto_rti.data.candles import HOUR, to_unix
from crypto_rti.data.fetch import fetch
from crypto_rti.data.hours import join_series, split_series
from crypto_rti.data.origin import sample_folder
from crypto_rti.data.ranges import BEFORE_LISTING, NO_TRADES, PENDING, REFUSED, ClassifiedGap, classify_gaps
from crypto_rti.data.sources import list_products, parse_source
from crypto_rti.data.store import CandleStore, require_candles
from crypto_rti.replay.markets import open_market
from crypto_rti.settings import load_settings

NEW_YEAR = to_unix("2024-01-01")


@pytest.fixture(scope="module")
def old_file(tmp_path_factory):
    """A file as the version before wrote it: four days around new year, answered for fifty more. Its record and rows are kept as text."""
    kept = json.loads((Path(__file__).parent / "data" / "hours_before_months.json").read_text())
    columns = dict(zip(kept["columns"], zip(*kept["rows"], strict=True), strict=True))
    path = tmp_path_factory.mktemp("before") / "BTC-USD.parquet"
    pq.write_table(pa.table(columns).replace_schema_metadata({"crypto_rti": kept["record"]}), path)
    return path


@pytest.fixture
def old(old_file, tmp_path):
    """A store of the version before."""
    (tmp_path / "sim").mkdir()
    shutil.copy(old_file, tmp_path / "sim" / "BTC-USD.parquet")
    return CandleStore(tmp_path)


def names(root):
    return sorted(str(path.relative_to(root / "sim")) for path in root.rglob("*") if path.is_file() and path.suffix != ".lock")


def assert_same(found, expected):
    assert found.candles.equals(expected.candles)
    assert (found.covered, found.gaps, found.origin) == (expected.covered, expected.gaps, expected.origin)


def later(hour=0):
    return candles([NEW_YEAR // HOUR + 48 + hour])


MONTHS = [f"hours/BTC-USD/{month}.parquet" for month in ("2023-11", "2023-12", "2024-01")]


def test_an_old_file_is_read_where_it_is(old, old_file, tmp_path):
    before = read_series(old_file)
    assert {gap.verdict for gap in before.gaps} == {BEFORE_LISTING, PENDING, NO_TRADES, REFUSED} and before.origin == "sim seed 0"
    assert_same(old.series(SIM, "BTC-USD"), before)
    assert old.load(SIM, "BTC-USD").equals(before.candles) and old.products(SIM) == ["BTC-USD"]
    assert names(tmp_path) == ["BTC-USD.parquet"]


def test_the_first_update_replaces_it_and_loses_nothing(old, old_file, tmp_path):
    before = read_series(old_file)
    returned = old.save(SIM, "BTC-USD", later(), origin="sim seed 0")
    assert names(tmp_path) == MONTHS
    after = old.series(SIM, "BTC-USD")
    assert_same(returned, after)
    assert after.candles[:-1].equals(before.candles) and (after.gaps, after.origin) == (before.gaps, before.origin)
    assert after.covered == [(before.covered[0][0], before.covered[0][1] + HOUR)]
    assert old.load(SIM, "BTC-USD").equals(after.candles)
    assert old.load(SIM, "BTC-USD", NEW_YEAR)["time"].tolist() == [time for time in after.candles["time"] if time >= NEW_YEAR]


@pytest.mark.parametrize("step", ["second file", "rename", "deletion"])
def test_a_migration_that_ends_at_any_step_is_completed_by_the_next(old, old_file, tmp_path, monkeypatch, step):
    before, encoded = read_series(old_file), []

    def encode(*given):
        encoded.append(given)
        if len(encoded) == 2:
            raise KeyboardInterrupt
        return encode_series(*given)

    def stop(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(*{"second file": (hours, "encode_series", encode), "rename": (hours.os, "rename", stop), "deletion": (Path, "unlink", stop)}[step])
        with pytest.raises(KeyboardInterrupt):
            old.save(SIM, "BTC-USD", later(), origin="sim seed 0")
    assert names(tmp_path)[0] == "BTC-USD.parquet" and (tmp_path / "sim" / "hours" / "BTC-USD").is_dir() == (step == "deletion")
    assert_same(old.series(SIM, "BTC-USD"), before)
    if step != "deletion":
        left = tmp_path / "sim" / "hours" / ".BTC-USD.migrating"
        left.mkdir(exist_ok=True)
        (left / "2020-01.parquet").write_bytes(b"PAR1")  # Of an attempt that was killed
    old.save(SIM, "BTC-USD", later(), origin="sim seed 0")
    assert names(tmp_path) == MONTHS and len(old.series(SIM, "BTC-USD").candles) == len(before.candles) + 1
    assert [path.name for path in (tmp_path / "sim" / "hours").iterdir()] == ["BTC-USD"]


def test_a_file_that_was_copied_back_is_named_and_left(old, old_file, tmp_path):
    old.save(SIM, "BTC-USD", later(), origin="sim seed 0")
    shutil.copy(old_file, tmp_path / "sim" / "BTC-USD.parquet")
    with pytest.raises(StoreError, match=r"BTC-USD\.parquet differs from the months in .*move one of them away"):
        old.save(SIM, "BTC-USD", later(1), origin="sim seed 0")
    assert names(tmp_path) == ["BTC-USD.parquet", *MONTHS] and len(old.load(SIM, "BTC-USD")) == 91


def test_another_origin_is_refused_before_anything_is_moved(old, tmp_path):
    for _ in range(2):
        with pytest.raises(StoreError, match="never mixes sources"):
            old.save(SIM, "BTC-USD", later(), origin="sim seed 1")
    assert names(tmp_path) == ["BTC-USD.parquet"]
    old.save(SIM, "BTC-USD", later(), origin="sim seed 0")
    with pytest.raises(StoreError, match="hours/BTC-USD was made by 'sim seed 0'"):
        old.save(SIM, "BTC-USD", later(), origin="sim seed 1")


def test_a_lost_month_is_asked_for_again_and_a_damaged_one_is_named(old, old_file, tmp_path):
    old.save(SIM, "BTC-USD", later(), origin="sim seed 0")
    december = tmp_path / "sim" / MONTHS[1]
    december.write_bytes(b"PAR1")
    with pytest.raises(StoreError, match=r"2023-12\.parquet is not a readable Parquet file"):
        old.save(SIM, "BTC-USD", later(1), origin="sim seed 0")
    december.unlink()
    assert old.series(SIM, "BTC-USD").covered == [(read_series(old_file).covered[0][0], to_unix("2023-12-01")), (NEW_YEAR, NEW_YEAR + 49 * HOUR)]


def test_a_stored_folder_can_be_a_source_and_be_replayed(old, tmp_path):
    old.save(SIM, "BTC-USD", later(), origin="sim seed 0")
    stored = old.load(SIM, "BTC-USD")
    place = parse_source(str(tmp_path / "sim"))
    assert CandleStore("nowhere").load(place, "BTC-USD").equals(stored) and list_products(tmp_path / "sim") == ["BTC-USD"]
    assert len(open_market(str(tmp_path / "sim"))[1].tables["BTC-USD"]) == len(stored)
    assert set(sample_folder(tmp_path / "sim")["BTC-USD"]) <= set(stored["time"].tolist())
    require_candles(old, "sim", ["BTC-USD"])


def test_an_hour_more_on_five_years_writes_one_month(tmp_path):
    store, count = CandleStore(tmp_path), 5 * 365 * 24
    five_years = random_walk(count).assign(time=lambda table: table["time"] + to_unix("2019-01-05"))
    end = int(five_years["time"].iloc[-1]) + HOUR
    store.save(SIM, "BTC-USD", five_years, (to_unix("2019-01-05"), end))
    before = {path: path.stat().st_ino for path in store.hours(SIM, "BTC-USD").months}
    assert len(before) == 61
    store.save(SIM, "BTC-USD", candles([end // HOUR]), (end, end + HOUR))
    written = [path for path in store.hours(SIM, "BTC-USD").months if before.get(path) != path.stat().st_ino]
    assert [path.stem for path in written] == ["2024-01"] and sum(path.stat().st_size for path in written) < 200_000
    assert store.load(SIM, "BTC-USD")[:-1].equals(five_years)


def test_a_fetched_hour_writes_less_than_200_kb(tmp_path):
    """All writes of the process count, each fetch an hour more than the one before."""
    chosen = load_settings(home=tmp_path, source="sim")
    end = to_unix("2024-01-30")
    fetch(chosen, ["BTC-USD"], end - 60 * 24 * HOUR, end, progress=False)
    for hour in range(1, 4):
        before = written_bytes()
        fetch(chosen, ["BTC-USD"], end, end + hour * HOUR, progress=False)
        assert 1000 < written_bytes() - before < 200_000


def written_bytes():
    return int(dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())["wchar"])


@settings(max_examples=60)
@given(st.integers(0, 2**30))
def test_what_is_cut_is_joined_to_the_same(seed):
    rng = random.Random(seed)
    start, length = rng.randrange(0, 20_000), rng.randrange(1, 2500)
    there = sorted(rng.sample(range(start, start + length), rng.randrange(0, min(length, 50))))
    table, covered = candles(there), [(start * HOUR, (start + length) * HOUR)]
    firsts = [rng.randrange(start, start + length) for _ in range(4)]
    verdicts = [ClassifiedGap(first * HOUR, (first + rng.randrange(1, 1000)) * HOUR, rng.choice([NO_TRADES, BEFORE_LISTING])) for first in firsts]
    series = Series(table, covered, classify_gaps(table["time"], covered, verdicts), "sim seed 0")
    parts = split_series(series)
    assert_same(join_series(parts.values()), series)
    assert all(gap.start < gap.end for part in parts.values() for gap in part.gaps) and list(parts) == sorted(parts)
