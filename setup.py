"""Packaging; every value lives in settings.ini, edit there, not here."""

from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

config = ConfigParser(delimiters=["="])
config.read(Path(__file__).parent / "settings.ini", encoding="utf-8")
project = config["DEFAULT"]


def lines(key: str) -> list[str]:
    """The non-empty lines of a multi-line setting."""
    return [line.strip() for line in project.get(key, "").splitlines() if line.strip()]


setup(
    name=project["lib_name"],
    version=project["version"],
    description=project["description"],
    long_description=Path("README.md").read_text(encoding="utf-8"),
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
    zip_safe=False,
)
