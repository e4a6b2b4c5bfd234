"""A corpus of hostile inputs: kinds of input combined with faults. `python -m
tests.hostile` runs it."""

from __future__ import annotations

from collections.abc import Iterable

from tests.hostile import archives, clips, masks_, projects, weights
from tests.hostile.cases import Case, unique

KINDS = {
    **dict.fromkeys(("clip", "sound", "pictures"), clips.cases),
    **dict.fromkeys(("project", "setting", "command", "words"), projects.cases),
    "masks": masks_.cases,
    **dict.fromkeys(("archive", "upload"), archives.cases),
    **dict.fromkeys(
        ("weights", "single file", "lora", "adapter", "cache"), weights.cases
    ),
}


def all_cases(kinds: Iterable[str] = KINDS) -> list[Case]:
    """Every case of some kinds."""
    wanted = set(kinds)
    makers = dict.fromkeys(make for kind, make in KINDS.items() if kind in wanted)
    return unique(case for make in makers for case in make() if case.kind in wanted)
