"""The packages of the wheel: the folders of a checkout, under one name; see `pyproject.toml`."""

from setuptools import find_packages, setup

FOLDERS = ("editing", "masks", "ui", "assets")
rooms = {f"regrain.{folder}": folder for folder in FOLDERS}
setup(
    packages=["regrain", *rooms, *(f"regrain.{f}.{room}" for f in FOLDERS for room in find_packages(f))],
    package_dir={"regrain": "regrain", **rooms},
)
