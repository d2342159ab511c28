"""Write nbs/index.ipynb, which lists every notebook with its promise: the page that JupyterLab opens."""

import sys

import nbformat
from docs import FLOORS, NBS, Page, read_pages

INTRODUCTION = """# crypto_rti

> Where to begin, and what each notebook is about.

[The tour](tour.ipynb) leads from candles to a served forecast in twenty cells. The notebooks below are the source of the package: `210_features`
exports `crypto_rti.features`, and a notebook imports only from lower numbers. Those under *What papermill runs* are the scheduled pipeline; the
experiments ask one question each and answer it with figures."""


def section(floor: str, pages: list[Page]) -> str:
    """The list of the notebooks under one heading, as Markdown."""
    lines = [f"- [{page.path.stem}]({page.path.relative_to(NBS).as_posix()}): {page.promise}" for page in pages]
    return "\n".join([f"## {floor}", "", *lines])


def write_index() -> bool:
    """Write the notebook if it is out of date; tell whether it was."""
    pages = [page for page in read_pages() if page.floor in FLOORS.values()]
    texts = [INTRODUCTION, *(section(floor, [page for page in pages if page.floor == floor]) for floor in FLOORS.values())]
    cells = [{"cell_type": "markdown", "id": f"index{number:03}", "metadata": {}, "source": text} for number, text in enumerate(texts)]
    kernel = {"kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}}
    written = nbformat.writes(nbformat.from_dict({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})) + "\n"
    path = NBS / "index.ipynb"
    if path.exists() and path.read_text(encoding="utf-8") == written:
        return False
    path.write_text(written, encoding="utf-8")
    return True


if __name__ == "__main__":
    changed = write_index()
    if "--check" in sys.argv[1:] and changed:
        sys.exit("nbs/index.ipynb was out of date and has been written; commit it")
