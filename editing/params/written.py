"""Parameters that users write as a short text, parsed into values when the request is made.

Each accepts its text (`2, 4`) or the same as JSON (`[2, 4]`), and is written back as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema
from pydantic.fields import FieldInfo

from regrain.editing.params.control import ControlSpec, read_control, write_control

MAX_EMPHASIS = 20
MAX_TEXT = 2000
_AUTO = (5, 20)
_CUTS = "expected auto, none, or the frames from 1 that begin a shot, like 24, 60"
_KEYFRAMES = "expected all, every N, auto, auto LEAST-MOST, or frames from 0 like 0, 8, 15"
_NUMBER = r"\d+(?:\.\d+)?"


class HeatPixel(NamedTuple):
    """A pixel of the clip: its frame, from 0, and its position (x, y) in pixels from the top left."""

    frame: int
    x: float
    y: float


class KeyChoice(NamedTuple):
    """Which frames of a clip are key frames: every `every`-th, those of a list, or by how much changes.

    Attributes:
        every: Distance of the key frames; 1 is every frame. None for the other choices.
        frames: Chosen frames, counted from 0, rising.
        least: Least distance of frames chosen by change.
        most: Greatest distance of frames chosen by change, where the least allows it.
    """

    every: int | None = None
    frames: tuple[int, ...] = ()
    least: int = 0
    most: int = 0


class Emphasis(NamedTuple):
    """Words of the prompt, and the factor on their attention, 0..20; None takes that of `emphasis`."""

    words: str
    factor: float | None = None


def written(default: str, **about: Any) -> Any:
    """Declare a field whose default is given as text; `about` goes to pydantic's `Field`."""
    return Field(default, **about)


def motion_estimate() -> Any:
    """Declare the field of the motion estimate, the same for every method that follows the motion."""
    return Field(
        "auto",
        title="Motion estimate",
        description="How motion is estimated: RAFT if its weights are present, OpenCV's DIS, or RAFT.",
    )


def control_networks() -> Any:
    """Declare the field of control networks, the same for every method that takes them."""
    return written(
        "",
        title="Control networks",
        description="Control networks as KIND=MODEL@WEIGHT, separated by commas, of the kinds canny, depth "
        "and pose; for the built-in model, canny=storybook/canny@0.7.",
    )


def is_text(field: FieldInfo) -> bool:
    """Whether users write a parameter as text, whatever its type."""
    return field.annotation is str or any(isinstance(part, WithJsonSchema) for part in field.metadata)


def read_words(given: object) -> tuple[str, ...]:
    """Read words: `a cat, the grass`, or a list of them.

    Raises:
        ValueError: Anything else.
    """
    parts = _parts(given)
    if not all(isinstance(part, str) and "," not in part for part in parts):
        raise ValueError("expected words separated by commas, or a list of words")
    return tuple(filter(None, (part.strip() for part in parts)))


def read_grids(given: object) -> tuple[int, ...]:
    """Read divisors of the latents' grid: `2, 4`, a list of them, or one number.

    Raises:
        ValueError: Anything else.
    """
    parts = [given] if type(given) is int else _parts(given)
    numbers = [str(part).strip() for part in parts if type(part) is int or isinstance(part, str)]
    if len(numbers) < len(parts) or not {*numbers} - {""} <= {"1", "2", "4", "8"}:
        raise ValueError("expected 1, 2, 4 or 8, separated by commas")
    return tuple(int(number) for number in numbers if number)


def read_pixel(given: object) -> HeatPixel | None:
    """Read a pixel: `0,120,80` (frame, x, y), a list of these, or an object with these names; None if empty.

    Raises:
        ValueError: Anything else.
    """
    if isinstance(given, Mapping):
        given = [given.get(name) for name in HeatPixel._fields]
    text = ",".join(map(str, given)) if isinstance(given, list | tuple) else given
    if text is None or (isinstance(text, str) and not text.strip()):
        return None
    # 1e3 and the like do not count as numbers here.
    pattern = rf"\s*(\d+)\s*,\s*({_NUMBER})\s*,\s*({_NUMBER})\s*"
    found = re.fullmatch(pattern, text, re.ASCII) if isinstance(text, str) and len(text) <= 40 else None
    if not found:
        raise ValueError("expected FRAME,X,Y")
    return HeatPixel(int(found[1]), float(found[2]), float(found[3]))


def read_keyframes(given: object) -> KeyChoice:
    """Read key frames: `all`, `every 4`, `auto`, `auto 5-20`, or frames from 0 like `0, 8, 15` (or a list).

    Raises:
        ValueError: Anything else.
    """
    text = ", ".join(map(str, given)) if isinstance(given, list | tuple) else given
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise ValueError(_KEYFRAMES)
    text = " ".join(text.lower().split())
    if text in ("all", ""):
        return KeyChoice(every=1)
    if found := re.fullmatch(r"every (\d{1,5})", text, re.ASCII):
        return _checked(KeyChoice(every=int(found[1])), int(found[1]) >= 1)
    if found := re.fullmatch(r"auto(?: (\d{1,5}) ?- ?(\d{1,5}))?", text, re.ASCII):
        least, most = (int(side) for side in found.groups("")) if found[1] else _AUTO
        return _checked(KeyChoice(least=least, most=most), 1 <= least <= most)
    parts = text.split(",")
    if not all(re.fullmatch(r" ?\d{1,6} ?", part, re.ASCII) for part in parts):
        raise ValueError(_KEYFRAMES)
    return KeyChoice(frames=tuple(sorted({int(part) for part in parts})))


def read_cuts(given: object) -> tuple[int, ...] | None:
    """Read cuts: `auto` (None), `none`, or the frames that begin a shot, from 1, like `24, 60` (or a list).

    Raises:
        ValueError: Anything else.
    """
    text = ", ".join(map(str, given)) if isinstance(given, list | tuple) else given
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise ValueError(_CUTS)
    if (text := text.strip().lower()) in ("auto", ""):
        return None if text or not isinstance(given, list | tuple) else ()
    if text == "none":
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"0*[1-9]\d{0,5}", part, re.ASCII) for part in parts):
        raise ValueError(_CUTS)
    return tuple(sorted({int(part) for part in parts}))


def write_cuts(cuts: tuple[int, ...] | None) -> str:
    """Write cuts as `read_cuts` reads them."""
    return "auto" if cuts is None else ", ".join(map(str, cuts)) or "none"


def _checked(choice: KeyChoice, holds: bool) -> KeyChoice:
    if not holds:
        raise ValueError(_KEYFRAMES)
    return choice


def write_keyframes(choice: KeyChoice) -> str:
    """Write key frames as `read_keyframes` reads them."""
    if choice.every is not None:
        return "all" if choice.every == 1 else f"every {choice.every}"
    if choice.frames:
        return ", ".join(map(str, choice.frames))
    return f"auto {choice.least}-{choice.most}"


def read_emphasis(given: object) -> tuple[Emphasis, ...]:
    """Read emphasis: `sketch=5, red fox`, a list of such words or of [words, factor], or {words: factor}.

    Raises:
        ValueError: Anything else, or a factor out of range.
    """
    parts = list(given.items()) if isinstance(given, Mapping) else _parts(given)
    return tuple(_read_emphasis(part) for part in parts if part != "" and not _is_blank(part))


def _read_emphasis(part: object) -> Emphasis:
    words, factor = part if isinstance(part, list | tuple) and len(part) == 2 else (part, None)
    if isinstance(words, str) and factor is None:
        words, equals, number = words.partition("=")
        factor = number.strip() if equals else None
    try:
        number = None if factor is None or isinstance(factor, bool) else float(factor)
    except (TypeError, ValueError):
        number = -1.0
    wrong = number is not None and not 0 <= number <= MAX_EMPHASIS
    if wrong or not isinstance(words, str) or not words.strip() or {",", "="} & set(words):
        raise ValueError(f"expected WORD or WORD=FACTOR with a factor from 0 to {MAX_EMPHASIS}")
    return Emphasis(words.strip(), number)


def _is_blank(part: object) -> bool:
    return isinstance(part, str) and not part.strip()


def _parts(given: object) -> list[Any]:
    """Items of a list, or of a text separated by commas; None has none."""
    if given is None:
        return []
    if isinstance(given, str):
        if len(given) > MAX_TEXT:
            raise ValueError(f"expected at most {MAX_TEXT} characters")
        return given.split(",")
    if isinstance(given, list | tuple):
        return list(given)
    raise ValueError("expected text or a list")


def _write_words(words: Iterable[object]) -> str:
    return ", ".join(map(str, words))


def _write_pixel(pixel: HeatPixel | None) -> str:
    return "" if pixel is None else ",".join(map(_shortest, pixel))


def _write_emphasis(emphasis: Iterable[Emphasis]) -> str:
    parts = (words if factor is None else f"{words}={_shortest(factor)}" for words, factor in emphasis)
    return ", ".join(parts)


def _shortest(number: float | int) -> str:
    """5 for 5.0; the value stays exact."""
    return str(int(number)) if number == int(number) else repr(number)


_TEXT = WithJsonSchema({"type": "string"})
Words = Annotated[tuple[str, ...], PlainValidator(read_words), PlainSerializer(_write_words), _TEXT]
Grids = Annotated[tuple[int, ...], PlainValidator(read_grids), PlainSerializer(_write_words), _TEXT]
Pixel = Annotated[HeatPixel | None, PlainValidator(read_pixel), PlainSerializer(_write_pixel), _TEXT]
KeyFrames = Annotated[KeyChoice, PlainValidator(read_keyframes), PlainSerializer(write_keyframes), _TEXT]
Cuts = Annotated[tuple[int, ...] | None, PlainValidator(read_cuts), PlainSerializer(write_cuts), _TEXT]
EmphasisWords = Annotated[
    tuple[Emphasis, ...], PlainValidator(read_emphasis), PlainSerializer(_write_emphasis), _TEXT
]
Controls = Annotated[
    tuple[ControlSpec, ...], PlainValidator(read_control), PlainSerializer(write_control), _TEXT
]
