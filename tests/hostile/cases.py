"""What a hostile case is, and how its answer is judged."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

Expected = Literal["refuse", "accept", "either"]
Write = Callable[[Path], object]
MOST = 300  # characters of a line
# Insides of libraries, which mean nothing to a user.
_INSIDE = re.compile(
    r"Errno|avcodec|av\.error|FFmpegError|ValueError|TypeError|object at 0x|<class|NoneType|\.py\b|tensor\("
    r"|pydantic|Input should|size mismatch|header too|SafetensorError"
)
_CONTROL = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


@dataclass(frozen=True)
class Case:
    """One hostile input."""

    kind: str  # what is hostile: clip, masks, project ...
    name: str  # what is wrong with it; unique within its kind
    command: list[
        str
    ]  # the command line: "editing", "masks" or one of `PROGRAMS`, and its arguments
    # writes the files into an empty folder, in which the command then runs
    write: Write
    # whether it must be refused, must be accepted, or may be either
    expected: Expected = "refuse"
    slow: bool = False  # whether it runs a model


class Answer(NamedTuple):
    """What a command did: its code (negative for a signal, None if it hung), what it
    said, what it left."""

    code: int | None
    said: str
    left: tuple[str, ...] = ()


def judge(case: Case, answer: Answer) -> str:
    """What is wrong with an answer; empty if nothing is."""
    if answer.code is None:
        return "hangs"
    if answer.code < 0:
        return f"signal {-answer.code}"
    if answer.code not in (0, 2) or "Traceback (most recent" in answer.said:
        return "traceback"
    if answer.code == 0:
        return (
            "nonsense accepted"
            if case.expected == "refuse"
            else _check_warnings(answer.said)
        )
    if case.expected == "accept":
        return "refused"
    return _judge_line(answer)


def _judge_line(answer: Answer) -> str:
    lines = [line for line in answer.said.split("\n") if line.startswith("error:")]
    if len(lines) != 1 or not answer.said.rstrip("\n").endswith(lines[0]):
        return "not one line"
    if answer.left:
        return f"left behind {answer.left[0]}"
    return _check_line(lines[0])


def _check_warnings(said: str) -> str:
    lines = (line for line in said.split("\n") if line.startswith("warning:"))
    return next(filter(None, map(_check_line, lines)), "")


def _check_line(line: str) -> str:
    if len(line) > MOST:
        return f"{len(line)} characters"
    if found := _CONTROL.search(line):
        return f"control character {ord(found[0]):#x}"
    if found := _INSIDE.search(line):
        return f"tells an inside: {found[0]}"
    if line.startswith("error: file: "):
        return "caught by the last net alone"
    if not re.match(r"error: [^:]{1,120}: .+[.?!]$|warning: .+[.?!]$", line):
        return "no field, or no sentence"
    return ""


def unique(cases: Iterable[Case]) -> list[Case]:
    """The cases, after checking that no two have one name."""
    listed = list(cases)
    names = Counter((case.kind, case.name) for case in listed)
    if twice := [name for name, count in names.items() if count > 1]:
        raise ValueError(f"two cases are named {twice[:3]}")
    return listed


def sample(cases: Iterable[Case], count: int, seed: int = 0) -> list[Case]:
    """By seed, so many quick cases of each kind, and an eighth as many of those that
    run a model."""
    groups: dict[tuple[str, bool], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.kind, case.slow), []).append(case)
    rng = np.random.default_rng(seed)
    chosen = []
    for (_, slow), listed in groups.items():
        most = max(1, count // 8) if slow else count
        chosen += [listed[i] for i in rng.permutation(len(listed))[:most]]
    return chosen
