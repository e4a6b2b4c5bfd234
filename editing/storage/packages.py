"""Packages that Regrain needs, and those that are installed."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

# In a checkout this module is reached through the link `regrain/editing`.
_PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
# Builds of OpenCV that all provide the module cv2.
_OPENCV = (
    "opencv-python-headless",
    "opencv-python",
    "opencv-contrib-python-headless",
    "opencv-contrib-python",
)


def program() -> str:
    """Return the command that edits: `regrain edit` of an installed package, else
    `python -m editing`."""
    return "python -m editing" if _PROJECT.is_file() else "regrain edit"


def needed() -> list[Requirement]:
    """List the packages that Regrain needs, with their ranges, by the metadata of
    checkout or wheel."""
    if _PROJECT.is_file():
        project = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))
        listed = project["project"]["dependencies"]
    else:
        listed = requires("regrain") or []
    needs = map(Requirement, listed)
    return [
        one for one in needs if not one.marker or one.marker.evaluate({"extra": ""})
    ]


def installed(package: str) -> str | None:
    """Return the version of a package, or None if it is not installed. Any build of
    OpenCV counts."""
    names = _OPENCV if package in _OPENCV else (package,)
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def problems() -> Iterator[str]:
    """Yield a sentence per package that is missing or out of range: its name, its
    version, those needed."""
    return filter(None, map(lacks, needed()))


def lacks(need: Requirement) -> str | None:
    """Say that a package is missing or out of range; None if it is as needed."""
    found = installed(need.name)
    if found is None:
        return f"{need.name} is not installed, {need.specifier} is needed."
    if need.specifier.contains(found, prereleases=True):
        return None
    return f"{need.name} {found} is installed, {need.specifier} is needed."
