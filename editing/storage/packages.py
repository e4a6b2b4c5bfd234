"""What Regrain needs of other packages, and what is installed."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

# In a checkout this module is reached through the link `regrain/editing`.
_PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
# Builds of OpenCV that all provide the module cv2.
_OPENCV = tuple(
    f"opencv-{contrib}python{how}" for contrib in ("", "contrib-") for how in ("-headless", "")
)


def needed() -> list[Requirement]:
    """The packages that Regrain needs, with their ranges, by the metadata of the checkout or of the wheel."""
    if _PROJECT.is_file():
        listed = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"]["dependencies"]
    else:
        listed = requires("regrain") or []
    every = map(Requirement, listed)
    return [need for need in every if need.marker is None or need.marker.evaluate({"extra": ""})]


def installed(package: str) -> str | None:
    """The version of a package; None if it is not installed. Any build of OpenCV counts."""
    for name in _OPENCV if package in _OPENCV else (package,):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def problems() -> Iterator[str]:
    """What is wrong with the installation: per package its name, its version and the versions needed."""
    for need in needed():
        found = installed(need.name)
        if found is None:
            yield f"{need.name} is not installed, {need.specifier} is needed."
        elif not need.specifier.contains(found, prereleases=True):
            yield f"{need.name} {found} is installed, {need.specifier} is needed."
