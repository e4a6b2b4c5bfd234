"""Names of pictures that are frames: their order by the numbers in them, and what is
wrong with these numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from regrain.editing.errors import shorten

# After a separator; the second minus is that of mathematics.
_SIGN = r"(?:(?<![^\s._=(\[-])[-+\u2212])"

_Number = int | Fraction
_Key = list[tuple[_Number, str]]


def natural(name: str, numbers: str, value: Callable[[str], _Number]) -> _Key:
    """Make a sort key for names of frames: what matches `numbers` counts by value,
    `9.png` before `10.png`."""
    key: _Key = []
    for place, part in enumerate(re.split(f"({numbers})", name)):
        number = part.replace("\u2212", "-")
        key.append((value(number), "") if place % 2 else (-1, part))
    return key


def natural_of(names: Collection[str]) -> Callable[[str], _Key]:
    """Return the sort key of names of one folder.

    A minus after a separator is a sign where a number without one stands in its place
    in another name. Digits after a point are decimals where some begin with 0, as in
    0.04, and none ends with one, as 1.10 does.
    """
    plain = {_rest(name) for name in names if not re.search(rf"{_SIGN}(?<!\+)\d", name)}
    parts = re.findall(r"\d\.(\d+)", "\n".join(names))
    are_decimals = any(part[0] == "0" for part in parts) and not any(
        part[-1] == "0" for part in parts if len(part) > 1
    )
    number, value = (r"\d+(?:\.\d+)?", Fraction) if are_decimals else (r"\d+", int)

    def key(name: str) -> _Key:
        sign = f"{_SIGN}?" if _rest(name) in plain else ""
        return natural(name, sign + number, value)

    return key


def _rest(name: str) -> str:
    """Return a name without its numbers and their signs."""
    return re.sub(rf"{_SIGN}?\d+", "0", name)


def in_order(files: Iterable[Path]) -> list[Path]:
    """Sort files by the natural order of their names."""
    files = list(files)
    key = natural_of([file.name for file in files])
    return sorted(files, key=lambda file: key(file.name))


def misnumbered(names: Sequence[str]) -> str:
    """Say which of the names, in their order, do not follow each other by their numbers;
    empty if all do, or if they have no numbers that rise."""
    stems = [Path(name).stem for name in names]
    texts = [_rest(stem) for stem in stems]
    ((usual, count),) = Counter(texts).most_common(1)
    if 2 * count <= len(names):
        return ""
    for name, text in zip(names, texts, strict=True):
        if text != usual:
            return f"{shorten(name)} is not numbered as the others are"
    columns = zip(*map(natural_of(stems), stems), strict=True)
    rising = [column for column in columns if len({*column}) > 1]
    if len(rising) != 1:
        return ""
    steps = [later - earlier for (earlier, _), (later, _) in pairwise(rising[0])]
    # times in milliseconds are no even steps
    most = 2 * min(filter(None, steps))
    for (before, after), step in zip(pairwise(names), steps, strict=True):
        if not 0 < step < most:
            return f"{shorten(before)} and {shorten(after)} do not follow each other"
    return ""
