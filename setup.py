"""The packages of the wheel: the folders of a checkout, under one name; see `pyproject.toml`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

FOLDERS = ("editing", "masks", "ui", "assets")
rooms = {f"regrain.{folder}": folder for folder in FOLDERS}
# An index shows neither the settings of a Space nor the files that pictures and links lead to.
readme = Path(__file__).with_name("README.md").read_text(encoding="utf-8").split("---\n", 2)[2]
readme = re.sub(r"!\[.*\n\n", "", readme)
readme = re.sub(r"\[([^]]+)\]\((?!https?:)[^)]+\)", r"\1", readme)
setup(
    packages=["regrain", *rooms, *(f"regrain.{f}.{room}" for f in FOLDERS for room in find_packages(f))],
    package_dir={"regrain": "regrain", **rooms},
    long_description=readme,
    long_description_content_type="text/markdown",
)
