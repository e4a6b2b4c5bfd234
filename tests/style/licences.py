"""`python -m tests.style.licences` prints the licence of every package that Regrain
brings along."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
# Packages whose metadata do not name it; taken from the file LICENSE of their
# repositories.
_UNNAMED = {"segment-anything": "Apache-2.0"}
_NAMES = {
    r"Apache": "Apache-2.0",
    r"(BSD.?3.Clause|3-Clause BSD)( License)?$": "BSD-3-Clause",
    r"BSD( License)?$": "BSD",
    r"MIT( License.*)?$": "MIT",
}


def required() -> list[str]:
    """Names in requirements.txt."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [Requirement(line).name for line in lines]


def licence(package: str) -> str:
    """The licence of an installed package, by its short name."""
    facts = metadata(package)
    named = (
        text for text in facts.get_all("Classifier", []) if text.startswith("License")
    )
    written = " ".join((facts.get("License") or "").split())
    first = next((text.split("::")[-1].strip() for text in named), "")
    found = facts.get("License-Expression") or first or written
    known = (name for pattern, name in _NAMES.items() if re.match(pattern, found))
    return next(known, found) or _UNNAMED.get(package, "unknown")


def brought_along(packages: Iterable[str]) -> Iterator[str]:
    """Installed packages that these need, and what those need, each once."""
    waiting = [*packages]
    seen = set()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            needed = requires(name) or []
        except PackageNotFoundError:  # of another platform
            continue
        yield name
        for text in needed:
            requirement = Requirement(text)
            if not requirement.marker or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)


if __name__ == "__main__":
    for name in sorted(brought_along(required())):
        sys.stdout.write(f"{name:28}{licence(name)}\n")
