"""Stored figures show what was drawn: true colours, a sensible size, and each model in its own colour."""

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from crypto_rti.evaluation.plots import COLOURS

NBS = Path(__file__).resolve().parents[1] / "nbs"
LARGEST = 200_000  # bytes of one stored picture

ALL = ("lasso", "lightgbm", "cnn", "lstm", "ensemble")

# Notebook and cell of each picture that shows models -> what is drawn in its own, opaque colour.
# Persistence is not listed where it is a broad translucent line, or lies on the edge of the axes when every model is better.
MODELS = {
    ("3_train", "3f42338a"): ("persistence", "lasso"),
    ("3_train", "9c64755e"): ("persistence", "lasso"),
    ("3_train_quarters", "404b04d3"): ("persistence", "lasso"),
    ("3_train_quarters", "2a5e9466"): ("persistence", "lasso"),
    ("4_promote", "fee2f57b"): ("persistence", "lasso"),
    ("345_models.neural", "51929695"): ("persistence",),
    ("430_evaluation.plots", "92d8c0f5"): ("actual", "lasso"),
    ("430_evaluation.plots", "bd9e8fb2"): ("persistence", "lasso"),
    ("430_evaluation.plots", "93f06a31"): ("persistence", "lasso"),
    ("430_evaluation.plots", "f3f37f5c"): ("persistence", "lasso"),
    ("430_evaluation.plots", "b37116b9"): tuple(COLOURS),
    ("430_evaluation.plots", "f2c70403"): ("persistence", "lasso"),
    ("backtest_report", "205dce40"): ("persistence", *ALL),
    ("backtest_report", "af3fa52f"): ("persistence", *ALL),
    ("backtest_report", "c5c356dd"): ("persistence", *ALL),
    ("backtest_report", "ab370403"): ("persistence", *ALL),
    ("does_it_beat_persistence", "753ce025"): ("actual", "lasso", "cnn"),
    ("does_it_beat_persistence", "26676b39"): ("persistence", "cnn"),
    ("does_it_beat_persistence", "418ef3a1"): ("persistence",),
    ("does_it_beat_persistence", "4ab9bf08"): ("actual", *ALL),
    ("does_it_beat_persistence", "8109df47"): ("persistence", *ALL),
    ("does_it_beat_persistence", "0af64b0a"): ALL,
    ("does_it_beat_persistence", "05db2090"): ("persistence", *ALL),
    ("how_fast_does_skill_decay", "86273350"): ("persistence", "lasso", "lightgbm"),
    ("how_fast_does_skill_decay", "63ddc7b1"): ("lasso", "lightgbm"),
    ("networks_or_trees", "dc3a0847"): ("persistence", *ALL),
    ("tour", "e985a2f9"): ("actual", "lasso"),
    ("what_are_the_features_worth", "b25c4baa"): ("persistence",),
    ("what_are_the_features_worth", "65a4c196"): ("lightgbm",),
    ("what_does_a_rolling_hour_cost", "41a8e3d9"): ("persistence", "lasso", "lightgbm"),
    ("what_does_a_late_forecast_lose", "8dc56c3f"): ("persistence", "lasso", "lightgbm", "ensemble"),
    ("where_in_the_hour_does_skill_sit", "01c649a0"): ("persistence", "lasso", "lightgbm", "ensemble"),
    ("why_the_median_and_not_the_mean", "173b9c2c"): ("persistence",),
    ("why_the_median_and_not_the_mean", "5443b615"): ("persistence",),
}
GREYS = ("actual", "persistence")  # Smoothed black text passes through every grey, so only their absence can be told


class Picture(NamedTuple):
    notebook: str
    cell: str
    source: str
    png: bytes


def pictures() -> Iterator[Picture]:
    """Every PNG that a notebook stores."""
    for path in sorted(NBS.rglob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                if "image/png" in output.get("data", {}):
                    yield Picture(path.stem, cell["id"], "".join(cell["source"]), base64.b64decode("".join(output["data"]["image/png"])))


PICTURES = list(pictures())
every_picture = pytest.mark.parametrize("picture", PICTURES, ids=[f"{picture.notebook}-{picture.cell}" for picture in PICTURES])


def drawn(png: bytes) -> set[str]:
    """The models whose exact colour fills at least ten pixels: a line has that many, smoothed edges of others have not."""
    shown = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=np.uint32) @ np.array([65536, 256, 1], dtype=np.uint32)
    exact = {name: int(COLOURS[name].removeprefix("#"), 16) for name in COLOURS}
    return {name for name, value in exact.items() if np.count_nonzero(shown == value) >= 10}


@every_picture
def test_a_stored_picture_is_what_matplotlib_drew(picture: Picture) -> None:
    """A palette merges colours that are close; a rewritten file no longer names Matplotlib."""
    image = Image.open(io.BytesIO(picture.png))
    assert image.mode in ("RGB", "RGBA"), f"{picture.notebook} {picture.cell} is stored in {len(image.getcolors() or [])} palette colours; execute it again"
    assert str(image.info.get("Software", "")).startswith("Matplotlib"), f"{picture.notebook} {picture.cell} was rewritten by something else; execute it again"
    assert len(picture.png) < LARGEST, f"{picture.notebook} {picture.cell}: {len(picture.png) // 1000} kB; draw a smaller picture"


@every_picture
def test_a_picture_of_models_shows_their_colours_and_no_others(picture: Picture) -> None:
    names_models = re.search(r"\bcolour\(|\bCOLOURS\b|\bplot_(last_hours|monthly_skill|calibration|coverage|reliability|loss_curves)\(", picture.source)
    wanted = MODELS.get((picture.notebook, picture.cell))
    assert wanted is not None or not names_models, f"add {picture.notebook} {picture.cell} to MODELS: its code draws models"
    if wanted is not None:
        found = drawn(picture.png)
        missing, strange = set(wanted) - found, found - set(wanted) - set(GREYS)
        assert not missing and not strange, f"{picture.notebook} {picture.cell}: {sorted(missing)} missing, {sorted(strange)} shown, where {wanted} are drawn"


def test_every_picture_of_models_is_there() -> None:
    stored = {(picture.notebook, picture.cell) for picture in PICTURES}
    assert not set(MODELS) - stored, "these cells store no picture any more"
