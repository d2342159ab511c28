"""Packaging; every value lives in settings.ini, edit there, not here."""

import shutil
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).parent
config = ConfigParser(delimiters=["="])
config.read(ROOT / "settings.ini", encoding="utf-8")
project = config["DEFAULT"]

# What a wheel carries beside modules: folder, files in it, folder in the package, and what is missing without it.
DATA = [
    ("nbs/pipelines", "*.ipynb", "_nbs/pipelines", "retraining needs the repository's nbs/pipelines"),
    ("nbs/experiments", "backtest_report.ipynb", "_nbs/experiments", "backtest --report needs the repository's nbs/experiments"),
    ("frontend/out", "**/*", "_page", "no page is built; the service shows the documentation of its API at / (make frontend builds the page)"),
]


def lines(key: str) -> list[str]:
    """The non-empty lines of a multi-line setting."""
    return [line.strip() for line in project.get(key, "").splitlines() if line.strip()]


def data_files() -> list[tuple[Path, Path]]:
    """Each file that is no module, and its place in the package; says what is not there."""
    found = []
    for folder, pattern, place, without in DATA:
        paths = [path for path in sorted((ROOT / folder).glob(pattern)) if path.is_file()]
        if not paths:
            print(f"crypto_rti: {without}")
        found += [(path, Path("crypto_rti") / place / path.relative_to(ROOT / folder)) for path in paths]
    return found


class BuildWithData(build_py):
    """Copies notebooks and page into the package; an editable install finds them in the checkout."""

    def run(self) -> None:
        super().run()
        if not getattr(self, "editable_mode", False):
            for place in {place for *_, place, _ in DATA}:  # What an earlier build left
                shutil.rmtree(Path(self.build_lib) / "crypto_rti" / place, ignore_errors=True)
            for path, place in data_files():
                self.mkpath(str((Path(self.build_lib) / place).parent))
                self.copy_file(str(path), str(Path(self.build_lib) / place))


class SourceWithData(sdist):
    """Adds to the source archive what this file reads."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        extra = ["settings.ini", "LICENSE", *(path.relative_to(ROOT).as_posix() for path, _ in data_files())]
        super().make_release_tree(base_dir, sorted({*files, *extra}))


setup(
    name=project["lib_name"],
    version=project["version"],
    description=project["description"],
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author=project["author"],
    author_email=project["author_email"],
    url=project["git_url"],
    license="Apache-2.0",
    keywords=project["keywords"],
    python_requires=f">={project['min_python']},<3.14",
    packages=find_packages(include=["crypto_rti", "crypto_rti.*"]),
    package_data={"crypto_rti": ["py.typed"]},
    install_requires=lines("requirements"),
    extras_require={
        "train": lines("train_requirements"),
        "dev": lines("train_requirements") + lines("dev_requirements"),
    },
    entry_points={"console_scripts": lines("console_scripts")},
    cmdclass={"build_py": BuildWithData, "sdist": SourceWithData},
    zip_safe=False,
)
