"""Parameters that users write as a short text, parsed into values when the request is
made.

Each accepts its text (`2, 4`) or the same as JSON (`[2, 4]`), and is written back as
text. Those that read them raise ValueError, which says what was expected.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema

from regrain.editing.media.lazy_frames import Numbers, Texts

KINDS = ("canny", "depth", "pose")
Range = tuple[float | int, float | int]
"""Least and greatest number."""
MAX_EMPHASIS = 20
MAX_WRITTEN = 2000  # characters of a parameter
_AUTO = (5, 20)
_CUTS = "expected auto, none, or the frames from 1 that begin a shot, like 24, 60"
_KEYFRAMES = (
    "expected all, every N, auto, auto LEAST-MOST, or frames from 0 like 0, 8, 15"
)
_EMPHASIS = f"expected WORD or WORD=FACTOR with a factor from 0 to {MAX_EMPHASIS}"
_LEVELS = (
    "expected even, diffusers, authors, or falling timesteps of at most 1000, like 1000, "
    "757, 522"
)
_CONTROL = "expected KIND=MODEL@WEIGHT with a kind of canny, depth or pose"
_MAX_WEIGHT = 2.0
_NOISIEST = 1000  # timestep of pure noise
_WEIGHT = r"-?(?=[.,]?\d)\d{0,6}(?:[.,]\d{1,20})?"


class KeyChoice(NamedTuple):
    """Which frames of a clip are key frames: every `every`-th, those of a list, or by
    how much changes.

    `frames` count from 0 and rise; those chosen by change are from `least` to `most`
    apart, where the least allows it.
    """

    every: int | None = None
    frames: Numbers = ()
    least: int = 0
    most: int = 0


class Emphasis(NamedTuple):
    """Words of the prompt, and the factor on their attention, 0..20; None takes that of
    `emphasis`."""

    words: str
    factor: float | None = None


class ControlSpec(NamedTuple):
    """A control network: one of `KINDS`, a hub id, local name or folder, and a factor
    on its output, 0..2."""

    kind: str
    model: str
    weight: float = 1.0


def parameter(
    default: object,
    title: str,
    description: str,
    span: Range | None = None,
    *,
    group: str = "More",
    reach: int | None = None,
    hint: str | None = None,
    **more: Any,
) -> Any:
    """Declare a parameter of a method.

    Args:
        default: As users write it, which may be a text where the value is not.
        title: As the page shows it.
        description: One or two sentences, for page, command line and schema.
        span: Least and greatest value.
        group: The heading below which the page shows it; "" shows it nowhere.
        reach: Where its slider ends, if not at its greatest value.
        hint: What may be typed.
        more: As pydantic's `Field` takes it.
    """
    if span:
        more |= {"ge": span[0], "le": span[1]}
    shown: dict[str, Any] = {"group": group}
    if reach:
        shown["reach"] = reach
    if hint:
        shown["hint"] = hint
    return Field(
        default, title=title, description=description, json_schema_extra=shown, **more
    )


def read_words(given: object) -> Texts:
    """Read words: `a cat, the grass`, or a list of them."""
    expected = "expected words separated by commas, or a list of words"
    parts = _parts(given, expected)
    for part in parts:
        if not isinstance(part, str) or "," in part:
            raise ValueError(expected)
    return tuple(part.strip() for part in parts)


def read_keyframes(given: object) -> KeyChoice:
    """Read key frames: `all`, `every 4`, `auto`, `auto 5-20`, or a text or list of
    frames from 0, `0, 8`."""
    text = _line(given, _KEYFRAMES)
    if text in ("all", ""):
        return KeyChoice(every=1)
    every = re.fullmatch(r"every (\d{1,5})", text, re.ASCII)
    if every and int(every[1]) > 0:
        return KeyChoice(every=int(every[1]))
    auto = re.fullmatch(r"auto(?: (\d{1,5}) ?- ?(\d{1,5}))?", text, re.ASCII)
    if auto:
        least, most = _AUTO
        if auto[1]:
            least = int(auto[1])
            most = int(auto[2])
        if 1 <= least <= most:
            return KeyChoice(least=least, most=most)
    frames = _read_frames(text, r"\d{1,6}", _KEYFRAMES)
    return KeyChoice(frames=frames)


def write_keyframes(choice: KeyChoice) -> str:
    """Write key frames as `read_keyframes` reads them."""
    if choice.every is not None:
        return "all" if choice.every == 1 else f"every {choice.every}"
    if choice.frames:
        return _list(choice.frames)
    return f"auto {choice.least}-{choice.most}"


def read_cuts(given: object) -> Numbers | None:
    """Read cuts: `auto` (None), `none`, or frames from 1 that begin a shot, like `24,
    60` (or a list)."""
    text = _line(given, _CUTS)
    is_empty_list = not text and not isinstance(given, str)
    if is_empty_list or text == "none":
        return ()
    if text in ("auto", ""):
        return None
    return _read_frames(text, r"0*[1-9]\d{0,5}", _CUTS)


def write_cuts(cuts: Numbers | None) -> str:
    """Write cuts as `read_cuts` reads them."""
    if cuts is None:
        return "auto"
    return _list(cuts) if cuts else "none"


def read_levels(given: object) -> str | tuple[float, ...]:
    """Read noise levels: a name, or falling timesteps like `1000, 757, 522` (or a
    list)."""
    text = _line(given, _LEVELS)
    if text in ("even", "diffusers", "authors"):
        return text
    try:
        levels = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(_LEVELS) from None
    falls = all(high > low for high, low in pairwise((*levels, 0.0)))
    if not falls or levels[0] > _NOISIEST:  # NaN, too
        raise ValueError(_LEVELS)
    return levels


def write_levels(levels: str | tuple[float, ...]) -> str:
    """Write noise levels as `read_levels` reads them."""
    return levels if isinstance(levels, str) else _list(map(_exactly, levels))


def read_emphasis(given: object) -> tuple[Emphasis, ...]:
    """Read emphasis: `sketch=5, red fox`, a list of such words or of [words, factor],
    or {words: factor}."""
    parts = given.items() if isinstance(given, Mapping) else _parts(given, _EMPHASIS)
    return tuple(_read_emphasis(part) for part in parts)


def _read_emphasis(part: Any) -> Emphasis:
    is_pair = isinstance(part, list | tuple) and len(part) == 2
    words, factor = part if is_pair else (part, None)
    if isinstance(words, str) and factor is None:
        words, equals, number = words.partition("=")
        factor = number.strip() if equals else None
    if not isinstance(words, str) or not words.strip() or "," in words or "=" in words:
        raise ValueError(_EMPHASIS)
    if factor is None or isinstance(factor, bool):
        return Emphasis(words.strip())
    try:
        factor = float(factor)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(_EMPHASIS) from None
    if not 0 <= factor <= MAX_EMPHASIS:  # NaN, too
        raise ValueError(_EMPHASIS)
    return Emphasis(words.strip(), factor)


def read_control(given: object) -> tuple[ControlSpec, ...]:
    """Read control networks: `KIND=MODEL@WEIGHT, ...`, where the weight may be left
    out, or JSON.

    JSON is a list of such texts, of [kind, model, weight], or of objects with these
    names.
    """
    return tuple(_read_spec(part) for part in _parts(given, _CONTROL))


def write_control(specs: Iterable[ControlSpec]) -> str:
    """Write control networks as the text that `read_control` reads."""
    texts = []
    for kind, model, weight in specs:
        text = f"{kind}={model}"
        is_plain = weight == 1 and split_weight(model)[1] is None
        texts.append(text if is_plain else f"{text}@{_exactly(weight)}")
    return ",".join(texts)


def _read_spec(part: Any) -> ControlSpec:
    if isinstance(part, str):
        kind, _, rest = part[:MAX_WRITTEN].partition("=")
        model, weight = split_weight(rest)
        part = kind.strip(), model, 1.0 if weight is None else weight
    elif isinstance(part, Mapping):
        if tuple(part) != ControlSpec._fields[: len(part)]:
            raise ValueError(_CONTROL)
        part = tuple(part.values())
    if not isinstance(part, list | tuple) or len(part) not in (2, 3):
        raise ValueError(_CONTROL)
    kind, model, weight = (*part, 1.0)[:3]
    if kind not in KINDS or not isinstance(model, str):
        raise ValueError(_CONTROL)
    if not model.strip() or "," in model:
        raise ValueError(_CONTROL)
    is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not is_number or not 0 <= weight <= _MAX_WEIGHT:
        raise ValueError(f"expected a weight from 0 to {_MAX_WEIGHT:g}")
    return ControlSpec(kind, model, float(weight))


def split_weight(text: str) -> tuple[str, float | None]:
    """Split `NAME@WEIGHT` at its last @; without a number after that, all of the text
    is a name, since paths may have an @, too."""
    name, at, weight = text.rpartition("@")
    if at and re.fullmatch(_WEIGHT, weight.strip(), re.ASCII):
        return name.strip(), float(weight.replace(",", "."))
    return text.strip(), None


def _read_frames(text: str, pattern: str, expected: str) -> Numbers:
    frames: set[int] = set()
    for part in text.split(","):
        number = part.strip()
        if not re.fullmatch(pattern, number, re.ASCII):
            raise ValueError(expected)
        frames.add(int(number))
    return tuple(sorted(frames))


def _parts(given: object, expected: str) -> list[Any]:
    """Return the items of a list, or of a text separated by commas, that are not blank;
    None has none."""
    if given is None:
        return []
    if isinstance(given, str):
        if len(given) > MAX_WRITTEN:
            raise ValueError(f"expected at most {MAX_WRITTEN} characters")
        given = given.split(",")
    if not isinstance(given, list | tuple):
        raise ValueError(expected)
    return [part for part in given if not isinstance(part, str) or part.strip()]


def _line(given: object, expected: str) -> str:
    """Return a text, or the items of a list as one, in lower case and with single
    spaces."""
    text = _list(given) if isinstance(given, list | tuple) else given
    if not isinstance(text, str) or len(text) > MAX_WRITTEN:
        raise ValueError(expected)
    return " ".join(text.lower().split())


def _list(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))


def _exactly(number: float) -> str:
    """Write a number so that the same is read: 5.0 as 5, and without an exponent."""
    return np.format_float_positional(number, trim="-")


def _write_emphasis(emphasis: Iterable[Emphasis]) -> str:
    texts = []
    for words, factor in emphasis:
        texts.append(words if factor is None else f"{words}={_exactly(factor)}")
    return _list(texts)


Share = Annotated[float, Field(ge=0, le=1)]
_TEXT = WithJsonSchema({"type": "string"})
Words = Annotated[Texts, PlainValidator(read_words), PlainSerializer(_list), _TEXT]
KeyFrames = Annotated[
    KeyChoice, PlainValidator(read_keyframes), PlainSerializer(write_keyframes), _TEXT
]
Cuts = Annotated[
    Numbers | None,
    PlainValidator(read_cuts),
    PlainSerializer(write_cuts),
    _TEXT,
]
Levels = Annotated[
    str | tuple[float, ...],
    PlainValidator(read_levels),
    PlainSerializer(write_levels),
    _TEXT,
]
EmphasisWords = Annotated[
    tuple[Emphasis, ...],
    PlainValidator(read_emphasis),
    PlainSerializer(_write_emphasis),
    _TEXT,
]
Controls = Annotated[
    tuple[ControlSpec, ...],
    PlainValidator(read_control),
    PlainSerializer(write_control),
    _TEXT,
]

MOTION_ESTIMATE = parameter(
    "auto",
    "Motion estimate",
    "How motion is estimated: RAFT if its weights are present, OpenCV's DIS, or RAFT.",
    group="Motion",
)
STEADY = parameter(
    0.0,
    "Steady",
    "Frames over which the edit is averaged along the motion of the clip, so that it flickers less; 0 "
    "averages nothing.",
    (0, 8),
    group="Motion",
)
ALIGNMENT = parameter(
    "fixed",
    "Word alignment",
    "How words of the two prompts are matched: corrected, or as in the published code.",
    group="Words",
)
ATTENTION_SPAN = parameter(
    "full",
    "Frames each frame sees",
    "Frames that each frame sees: all, the first and the previous one, or only itself.",
    group="Motion",
)
JOINT_NORM = parameter(
    True,
    "Normalise over all frames",
    "Normalise features over all frames together.",
    group="Motion",
)
BLEND = parameter(
    True,
    "Keep latents outside",
    "Keep the source's latents outside the regions.",
    group="Edited area",
)
BLEND_EDITED = parameter(
    True,
    "Keep latents outside",
    "Keep the latents of the source outside the edited regions.",
    group="Edited area",
)
CONTROL_NETWORKS = parameter(
    "",
    "Control networks",
    "Control networks as KIND=MODEL@WEIGHT, separated by commas, of the kinds canny, depth and pose; for the "
    "built-in model, canny=storybook/canny@0.7.",
    group="Source",
)
