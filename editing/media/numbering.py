"""Names of pictures that are frames: their order by the numbers in them, and what is
wrong with these numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from regrain.editing.errors import shorten

# After a separator; the second minus is that of mathematics.
_SIGN = r"(?:(?<![^\s._=(\[-])[-+\u2212])"

_Key = list[Any]  # text and numbers in turn


def natural_of(names: Collection[str]) -> Callable[[str], _Key]:
    """Return the sort key of names of one folder, in which numbers count by value,
    `9.png` before `10.png`.

    A minus after a separator is a sign where a number without one stands in its place
    in another name. Digits after a point are decimals where some begin with 0, as in
    0.04, and none ends with one, as 1.10 does.
    """
    signed = re.compile(rf"{_SIGN}(?<!\+)\d")
    unsigned = [name for name in names if not signed.search(name)]
    plain = {_rest(name) for name in unsigned}
    parts = re.findall(r"\d\.(\d+)", "\n".join(names))
    longer = [part for part in parts if len(part) > 1]
    one_begins = any(part.startswith("0") for part in parts)
    one_ends = any(part.endswith("0") for part in longer)
    are_decimals = one_begins and not one_ends
    number = r"\d+"
    if are_decimals:
        number = r"\d+(?:\.\d+)?"

    def key(name: str) -> _Key:
        sign = f"{_SIGN}?" if _rest(name) in plain else ""
        parts: _Key = re.split(f"({sign}{number})", name)
        parts[1::2] = [Fraction(part.replace("\u2212", "-")) for part in parts[1::2]]
        return parts

    return key


def _rest(name: str) -> str:
    """Return a name without its numbers and their signs."""
    return re.sub(rf"{_SIGN}?\d+", "0", name)


def numbers_of(stems: Sequence[str]) -> Sequence[Fraction]:
    """Return the number of each name without its ending, by which alone they differ;
    empty if there is none."""
    if len({*map(_rest, stems)}) != 1:
        return ()
    columns = zip(*map(natural_of(stems), stems), strict=True)
    rising = [column for column in columns if len({*column}) > 1]
    return rising[0] if len(rising) == 1 else ()


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
    numbers = numbers_of(stems)
    if not numbers:
        return ""
    steps = [later - earlier for earlier, later in pairwise(numbers)]
    # times in milliseconds are no even steps
    most = 2 * min(filter(None, steps))
    for (before, after), step in zip(pairwise(names), steps, strict=True):
        if not 0 < step < most:
            return f"{shorten(before)} and {shorten(after)} do not follow each other"
    return ""
