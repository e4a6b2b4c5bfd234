"""The two experts of Wan 2.2: the noise that each is for, and the LoRA files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest
from math import inf
from pathlib import Path

from regrain.editing.diffusion.flow import TRAINED_STEPS
from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.config_keys import unsupported
from regrain.editing.models.files.facts import EXPERTS, INDEX, ModelFacts
from regrain.editing.models.files.location import parse_lora

_WORDS = dict(zip(EXPERTS, ("high", "low"), strict=True))
# Words by which the names of a pair differ, of that for high noise and of the other.
_PAIRS = {"high": "low", "highnoise": "lownoise", "hi": "lo", "h": "l", "hn": "ln"}


def high_from(facts: ModelFacts) -> float:
    """Return the timestep from which on noise is high; see `Wan`.

    A part may be absent that diffusers would not call: without a ratio either, with
    that of 0 the one for low noise, with that of 1 the one for high noise.
    """
    ratio = facts.index.get("boundary_ratio")
    place = facts.place(INDEX)
    if ratio is not None and (type(ratio) not in (int, float) or not 0 <= ratio <= 1):
        raise unsupported(place, "boundary_ratio", ratio)
    first, *more = facts.networks
    if more and ratio is None:
        raise ModelError(
            "model",
            f"{place} has no boundary_ratio, the level at which transformer_2 takes "
            "over. Add it: 0.875 is that of Wan 2.2 from text.",
        )
    if more:
        return TRAINED_STEPS * ratio
    own = EXPERTS.index(first)
    if ratio not in (None, own):
        raise ModelError(
            "model",
            f"{place} has boundary_ratio {ratio:g}, but {EXPERTS[1 - own]}/ is missing. "
            "Download the model again.",
        )
    return inf if own else 0.0


def check_alike(facts: ModelFacts) -> None:
    """Refuse, by a ModelError, experts whose configurations differ, and one whose file
    is named as the other."""
    first, *others = facts.networks
    for part, files in facts.files.items() if others else ():
        meant, says_noise = _named(files[0].paths[0].name)
        if says_noise and meant != part:
            raise ModelError(
                "model",
                f"{part}/ has {files[0].title}, by its name the expert for "
                f"{_WORDS[meant]} noise. Put it into {meant}/.",
            )
    one = facts.config(f"{first}/config.json")
    for part in others:
        other = facts.config(f"{part}/config.json")
        for key in sorted({*one, *other} - {"_diffusers_version", "_name_or_path"}):
            if one.get(key) != other.get(key):
                raise ModelError(
                    "model",
                    f"{shorten(facts.id)}: {first}/ and {part}/ have another "
                    f"{shorten(key)}, which is not supported. Download it again.",
                )


def loras_of(part: str, loras: Sequence[str], networks: Sequence[str]) -> list[str]:
    """Return the LoRA files for the expert in a folder; all for a model's only one."""
    is_alone = len(networks) == 1
    return [text for text in loras if is_alone or _meant(text, loras) in ("", part)]


def notes_on(loras: Sequence[str], networks: Sequence[str]) -> list[str]:
    """Say of LoRA files that they change one expert of two, or may be meant to."""
    notes = []
    for text in loras if len(networks) > 1 else ():
        name = shorten(text)
        if part := _meant(text, loras):
            notes.append(
                f"{name} changes the expert for {_WORDS[part]} noise alone, as its name "
                "says. Rename it if it is for both."
            )
        elif _named(text)[0] or _alike(text, loras):
            notes.append(
                f"{name} changes both experts. If it is one of a pair, give the other, "
                "too, and write high_noise and low_noise into their names."
            )
    return notes


def _meant(text: str, loras: Sequence[str]) -> str:
    """Return the folder of the expert that a LoRA file is for; empty for both.

    Its name says high or low noise, or a word of a pair where another file of the run
    is named alike with the other word; if it says neither, that of its folder does.
    """
    part, says_noise = _named(text)
    if says_noise:
        return part
    for own, other in _alike(text, loras):
        if _PAIRS.get(own) == other:
            return EXPERTS[0]
        if _PAIRS.get(other) == own:
            return EXPERTS[1]
    return ""


def _alike(text: str, loras: Sequence[str]) -> list[tuple[str, str]]:
    """Compare a file's name with the others of a run.

    Returns:
        Where one word of several differs, this word and the other file's.
    """
    found = []
    for other in loras:
        for names in zip(_names(text), _names(other), strict=True):
            pairs = zip_longest(*names, fillvalue="")
            differing = [pair for pair in pairs if len({*pair}) > 1]
            if len(differing) == 1 < len(names[0]):
                found += differing
    return found


def _named(text: str) -> tuple[str, bool]:
    """Return the folder of the expert whose word a file has in its name, or else in that
    of its folder, empty if it has none or both; and whether it says noise after it."""
    for words in _names(text):
        named = [
            part
            for part, word in _WORDS.items()
            if word in words or f"{word}noise" in words
        ]
        if len(named) == 1:
            return named[0], f"{_WORDS[named[0]]}noise" in "".join(words)
        if named:
            break
    return "", False


def _names(text: str) -> list[list[str]]:
    """Return the words of the name of a LoRA file, of that with its folder, and of that
    with the one above; a capital letter after a small one begins a word."""
    name = parse_lora(text).model.removesuffix(".safetensors")
    parts = Path(re.sub(r"(?<=[a-z\d])(?=[A-Z])", "_", name).lower()).parts
    names = ("/".join(parts[-count:]) for count in (1, 2, 3))
    return [re.findall(r"[^\W\d_]+|\d+", name) for name in names]
