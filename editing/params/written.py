"""Parameters that users write as a short text, parsed into values when the request is made.

Each accepts its text (`2, 4`) or the same as JSON (`[2, 4]`), and is written back as text. Those that read
them raise ValueError, which says what was expected.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema
from pydantic.fields import FieldInfo

KINDS = ("canny", "depth", "pose")
MAX_EMPHASIS = 20
MAX_TEXT = 2000
_AUTO = (5, 20)
_CUTS = "expected auto, none, or the frames from 1 that begin a shot, like 24, 60"
_KEYFRAMES = "expected all, every N, auto, auto LEAST-MOST, or frames from 0 like 0, 8, 15"
_EMPHASIS = f"expected WORD or WORD=FACTOR with a factor from 0 to {MAX_EMPHASIS}"
_CONTROL = "expected KIND=MODEL@WEIGHT with a kind of canny, depth or pose"
_MAX_WEIGHT = 2.0
_NUMBER = r"\d+(?:\.\d+)?"


class HeatPixel(NamedTuple):
    """A pixel of the clip: its frame, from 0, and its position (x, y) in pixels from the top left."""

    frame: int
    x: float
    y: float


class KeyChoice(NamedTuple):
    """Which frames of a clip are key frames: every `every`-th, those of a list, or by how much changes.

    `frames` count from 0 and rise; those chosen by change are from `least` to `most` apart, where the least
    allows it.
    """

    every: int | None = None
    frames: tuple[int, ...] = ()
    least: int = 0
    most: int = 0


class Emphasis(NamedTuple):
    """Words of the prompt, and the factor on their attention, 0..20; None takes that of `emphasis`."""

    words: str
    factor: float | None = None


class ControlSpec(NamedTuple):
    """A control network: one of `KINDS`, a hub id, local name or folder, and a factor on its output, 0..2."""

    kind: str
    model: str
    weight: float = 1.0


def parameter(
    default: object,
    title: str,
    description: str,
    span: tuple[float | int, float | int] | None = None,
    **more: Any,
) -> Any:
    """Declare a parameter of a method.

    Args:
        default: As users write it, which may be a text where the value is not.
        title: As the page shows it.
        description: One or two sentences, for page, command line and schema.
        span: Least and greatest value.
        more: As pydantic's `Field` takes it.
    """
    if span:
        more |= {"ge": span[0], "le": span[1]}
    return Field(default, title=title, description=description, **more)


def is_text(field: FieldInfo) -> bool:
    """Whether users write a parameter as text, whatever its type."""
    return field.annotation is str or any(
        isinstance(part, WithJsonSchema) for part in field.metadata
    )


def read_words(given: object) -> tuple[str, ...]:
    """Read words: `a cat, the grass`, or a list of them."""
    expected = "expected words separated by commas, or a list of words"
    parts = _parts(given, expected)
    if not all(isinstance(part, str) and "," not in part for part in parts):
        raise ValueError(expected)
    return tuple(part.strip() for part in parts)


def read_grids(given: object) -> tuple[int, ...]:
    """Read divisors of the latents' grid: `2, 4`, a list of them, or one number."""
    expected = "expected 1, 2, 4 or 8, separated by commas"
    parts = [given] if type(given) is int else _parts(given, expected)
    numbers = [str(part).strip() for part in parts if isinstance(part, int | str)]
    if len(numbers) < len(parts) or not {*numbers} <= {"1", "2", "4", "8"}:
        raise ValueError(expected)
    return tuple(map(int, numbers))


def read_pixel(given: object) -> HeatPixel | None:
    """Read a pixel: `0,120,80` (frame, x, y), a list of these or an object of these names; None if empty."""
    if isinstance(given, Mapping):
        given = [given.get(name) for name in HeatPixel._fields]
    text = ",".join(map(str, given)) if isinstance(given, list | tuple) else given
    if text is None or (isinstance(text, str) and not text.strip()):
        return None
    # 1e3 and the like do not count as numbers here.
    pattern = rf"\s*(\d+)\s*,\s*({_NUMBER})\s*,\s*({_NUMBER})\s*"
    numbers = (
        re.fullmatch(pattern, text, re.ASCII) if isinstance(text, str) and len(text) <= 40 else None
    )
    if not numbers:
        raise ValueError("expected FRAME,X,Y")
    return HeatPixel(int(numbers[1]), float(numbers[2]), float(numbers[3]))


def read_keyframes(given: object) -> KeyChoice:
    """Read key frames: `all`, `every 4`, `auto`, `auto 5-20`, or a text or list of frames from 0, `0, 8`."""
    text = _line(given, _KEYFRAMES)
    if text in ("all", ""):
        return KeyChoice(every=1)
    if (every := re.fullmatch(r"every (\d{1,5})", text, re.ASCII)) and int(every[1]):
        return KeyChoice(every=int(every[1]))
    if auto := re.fullmatch(r"auto(?: (\d{1,5}) ?- ?(\d{1,5}))?", text, re.ASCII):
        least, most = map(int, auto.groups()) if auto[1] else _AUTO
        if 1 <= least <= most:
            return KeyChoice(least=least, most=most)
    return KeyChoice(frames=_read_frames(text, r"\d{1,6}", _KEYFRAMES))


def write_keyframes(choice: KeyChoice) -> str:
    """Write key frames as `read_keyframes` reads them."""
    if choice.every is not None:
        return "all" if choice.every == 1 else f"every {choice.every}"
    return _list(choice.frames) or f"auto {choice.least}-{choice.most}"


def read_cuts(given: object) -> tuple[int, ...] | None:
    """Read cuts: `auto` (None), `none`, or frames from 1 that begin a shot, like `24, 60` (or a list)."""
    text = _line(given, _CUTS)
    if text == "none" or (not text and not isinstance(given, str)):
        return ()
    if text in ("auto", ""):
        return None
    return _read_frames(text, r"0*[1-9]\d{0,5}", _CUTS)


def write_cuts(cuts: tuple[int, ...] | None) -> str:
    """Write cuts as `read_cuts` reads them."""
    return "auto" if cuts is None else _list(cuts) or "none"


def read_emphasis(given: object) -> tuple[Emphasis, ...]:
    """Read emphasis: `sketch=5, red fox`, a list of such words or of [words, factor], or {words: factor}."""
    parts = given.items() if isinstance(given, Mapping) else _parts(given, _EMPHASIS)
    return tuple(map(_read_emphasis, parts))


def _read_emphasis(part: object) -> Emphasis:
    words, factor = part if isinstance(part, list | tuple) and len(part) == 2 else (part, None)
    if isinstance(words, str) and factor is None:
        words, equals, number = words.partition("=")
        factor = number.strip() if equals else None
    try:
        number = None if factor is None or isinstance(factor, bool) else float(factor)
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    wrong = number is not None and not 0 <= number <= MAX_EMPHASIS
    if wrong or not isinstance(words, str) or not words.strip() or {",", "="} & set(words):
        raise ValueError(_EMPHASIS)
    return Emphasis(words.strip(), number)


def read_control(given: object) -> tuple[ControlSpec, ...]:
    """Read control networks: `KIND=MODEL@WEIGHT, ...`, where the weight may be left out, or JSON.

    JSON is a list of such texts, of [kind, model, weight], or of objects with these names.
    """
    return tuple(_read_spec(part) for part in _parts(given, _CONTROL))


def write_control(specs: Iterable[ControlSpec]) -> str:
    """Write control networks as the text that `read_control` reads."""
    return ",".join(
        f"{kind}={model}" + f"@{weight:g}" * (weight != 1) for kind, model, weight in specs
    )


def _read_spec(part: object) -> ControlSpec:
    if isinstance(part, str):
        kind, _, rest = part[:MAX_TEXT].partition("=")
        model, at, weight = (piece.strip() for piece in rest.partition("@"))
        known = re.fullmatch(r"(?=\.?\d)\d{0,6}(?:\.\d{1,20})?", weight, re.ASCII) if at else True
        part = (kind.strip(), model, float(weight) if at else 1.0) if known else None
    elif isinstance(part, Mapping):
        part = tuple(part.values()) if tuple(part) == ControlSpec._fields[: len(part)] else None
    if not isinstance(part, list | tuple) or len(part) not in (2, 3):
        raise ValueError(_CONTROL)
    kind, model, weight = (*part, 1.0)[:3]
    if (
        kind not in KINDS
        or not isinstance(model, str)
        or not model.strip()
        or {",", "@"} & set(model)
    ):
        raise ValueError(_CONTROL)
    if (
        isinstance(weight, bool)
        or not isinstance(weight, int | float)
        or not 0 <= weight <= _MAX_WEIGHT
    ):
        raise ValueError(f"expected a weight from 0 to {_MAX_WEIGHT:g}")
    return ControlSpec(kind, model, float(weight))


def _read_frames(text: str, pattern: str, expected: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(pattern, part, re.ASCII) for part in parts):
        raise ValueError(expected)
    return tuple(sorted({int(part) for part in parts}))


def _parts(given: object, expected: str) -> list[Any]:
    """Items of a list, or of a text separated by commas, without those that are blank; None has none."""
    if isinstance(given, str):
        if len(given) > MAX_TEXT:
            raise ValueError(f"expected at most {MAX_TEXT} characters")
        given = given.split(",")
    if given is not None and not isinstance(given, list | tuple):
        raise ValueError(expected)
    return [part for part in given or () if not isinstance(part, str) or part.strip()]


def _line(given: object, expected: str) -> str:
    """A text, or the items of a list as one, in lower case and with single spaces."""
    text = _list(given) if isinstance(given, list | tuple) else given
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise ValueError(expected)
    return " ".join(text.lower().split())


def _list(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))


def _write_pixel(pixel: HeatPixel | None) -> str:
    return "" if pixel is None else ",".join(map(_shortest, pixel))


def _write_emphasis(emphasis: Iterable[Emphasis]) -> str:
    return _list(
        words if factor is None else f"{words}={_shortest(factor)}" for words, factor in emphasis
    )


def _shortest(number: float | int) -> str:
    """5 for 5.0; the value stays exact."""
    return str(int(number)) if number == int(number) else repr(number)


Share = Annotated[float, Field(ge=0, le=1)]
_TEXT = WithJsonSchema({"type": "string"})
Words = Annotated[tuple[str, ...], PlainValidator(read_words), PlainSerializer(_list), _TEXT]
Grids = Annotated[tuple[int, ...], PlainValidator(read_grids), PlainSerializer(_list), _TEXT]
Pixel = Annotated[
    HeatPixel | None, PlainValidator(read_pixel), PlainSerializer(_write_pixel), _TEXT
]
KeyFrames = Annotated[
    KeyChoice, PlainValidator(read_keyframes), PlainSerializer(write_keyframes), _TEXT
]
Cuts = Annotated[
    tuple[int, ...] | None, PlainValidator(read_cuts), PlainSerializer(write_cuts), _TEXT
]
EmphasisWords = Annotated[
    tuple[Emphasis, ...], PlainValidator(read_emphasis), PlainSerializer(_write_emphasis), _TEXT
]
Controls = Annotated[
    tuple[ControlSpec, ...], PlainValidator(read_control), PlainSerializer(write_control), _TEXT
]

MOTION_ESTIMATE = parameter(
    "auto",
    "Motion estimate",
    "How motion is estimated: RAFT if its weights are present, OpenCV's DIS, or RAFT.",
)
CONTROL_NETWORKS = parameter(
    "",
    "Control networks",
    "Control networks as KIND=MODEL@WEIGHT, separated by commas, of the kinds canny, depth and pose; for the "
    "built-in model, canny=storybook/canny@0.7.",
)
