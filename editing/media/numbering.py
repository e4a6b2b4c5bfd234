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


def numbers_of(names: Sequence[str]) -> Sequence[_Number]:
    """Return the numbers of names that differ by one number alone, as those of frames
    do; nothing of others."""
    keys = _keys(names)
    if len({_text(key) for key in keys}) != 1:
        return ()
    columns = zip(*([number for number, _ in key] for key in keys), strict=True)
    rising = [column for column in columns if len({*column}) > 1]
    return rising[0] if len(rising) == 1 else ()


def misnumbered(names: Sequence[str]) -> str:
    """Say which of the names, in their order, are not numbered one after the other;
    empty if all are, or if most have no numbers."""
    keys = _keys(names)
    for (name, key), (other, next_key) in pairwise(zip(names, keys, strict=True)):
        if key == next_key:
            return f"{shorten(name)} and {shorten(other)} have the same number"
    numbers = numbers_of(names)
    if not numbers:
        return _stray(names, keys)
    steps = [later - earlier for earlier, later in pairwise(numbers)]
    for place, step in enumerate(steps):
        # times in milliseconds are no even steps, but less than a frame apart
        if step >= 2 * min(steps):
            before, after = names[place : place + 2]
            return f"Between {shorten(before)} and {shorten(after)} a number is missing"
    return ""


def _stray(names: Sequence[str], keys: Sequence[_Key]) -> str:
    """Say which name has another text around its number than most have."""
    texts = [_text(key) for key in keys]
    ((usual, count),) = Counter(texts).most_common(1)
    if not len(names) / 2 < count < len(names) or len(usual) == 1:
        return ""
    stray = next(name for name, text in zip(names, texts, strict=True) if text != usual)
    return (
        f"{shorten(stray)} is not numbered as {shorten(names[texts.index(usual)])} is"
    )


def _keys(names: Sequence[str]) -> list[_Key]:
    stems = [Path(name).stem for name in names]
    return [*map(natural_of(stems), stems)]


def _text(key: _Key) -> tuple[str, ...]:
    """Return what a name has around its numbers."""
    return tuple(text for _, text in key)
