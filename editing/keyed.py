"""Edit the key frames of a clip, by any method; the frames between follow their motion."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from editing.between import fill_between
from editing.blending import composite
from editing.clip import Clip, resize
from editing.correspondence import scan_cuts
from editing.errors import MaskError, RequestError
from editing.events import EditResult, Event, Preview, Progress, RegionAttention, WordAttention
from editing.keyframes import choose_keyframes
from editing.params import MethodParams
from editing.request import EditRequest
from editing.spool import Frames, Spool, frames_of

if TYPE_CHECKING:
    from editing.backbones import Backbone

Recipe = Callable[["Backbone", EditRequest, MethodParams], Generator[Event, None, EditResult]]
_SCANNED = 192  # long side in pixels of the frames in which cuts are sought: the threshold was measured there


class Picked:
    """Some frames of a clip, as a clip; see `editing.clip.Clip`.

    Attributes:
        whole: The clip.
        numbers: The frames, rising.
    """

    def __init__(self, whole: Clip, numbers: Sequence[int]) -> None:
        self.whole, self.numbers = whole, tuple(numbers)
        self.name, self.size, self.fps, self.tags = whole.name, whole.size, whole.fps, whole.tags
        self.audio, self.warnings, self.comment = whole.audio, whole.warnings, whole.comment

    def __len__(self) -> int:
        return len(self.numbers)

    def read(self, start: int, stop: int) -> UInt8[np.ndarray, "frames height width 3"]:
        """See `Clip.read`."""
        return _read(self.whole.read, self.numbers[start:stop])


def find_cuts(clip: Clip) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Find where a clip is cut; of picked frames, where the whole clip is.

    Returns:
        First frames of shots in the numbers of the whole clip; and in those of `clip`.
    """
    whole = clip.whole if isinstance(clip, Picked) else clip
    width, height = whole.size
    scale = min(1.0, _SCANNED / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    cuts = scan_cuts(np.concatenate([resize(whole.read(i, i + 1), size) for i in range(len(whole))]))
    if whole is clip:
        return cuts, cuts
    return cuts, tuple(sorted({bisect_left(clip.numbers, cut) for cut in cuts}))


def edit_keys(
    recipe: Recipe, backbone: Backbone, request: EditRequest, params: MethodParams
) -> Generator[Event, None, EditResult]:
    """Run a recipe on the key frames of a clip; yields its events, returns the result for all frames.

    Raises:
        RequestError: No key frame shows some region.
        EditingError: As the recipe, or `estimate_flow`.
    """
    keys = choose_keyframes(params.keyframes, frames_of(request.clip))
    if len(keys) == len(request.clip):
        return (yield from recipe(backbone, request, params))
    run = recipe(backbone, pick(request, keys), params)
    try:
        while True:
            event = next(run)
            if isinstance(event, Preview):
                event = replace(event, indices=tuple(keys[place] for place in event.indices))
            yield event
    except StopIteration as stop:
        found = stop.value
    finally:
        run.close()
    return (yield from fill(found, request, keys, params))


def pick(request: EditRequest, keys: Sequence[int]) -> EditRequest:
    """The same request for some frames of its clip.

    Raises:
        RequestError: None of them shows some region.
    """
    labels = request.labels
    if labels is not None:
        whole = Frames(labels.shape, np.uint8, labels.read)
        labels = Frames(
            (len(keys), *whole.shape[1:]), np.uint8, lambda start, stop: _read(whole.read, keys[start:stop])
        )
    try:
        return replace(request, clip=Picked(request.clip, keys), labels=labels)
    except MaskError as error:
        raise RequestError(
            "params.keyframes", f"{error.message} Key frames alone are edited; add one that shows it."
        ) from error


def fill(
    result: EditResult, request: EditRequest, keys: Sequence[int], params: MethodParams
) -> Generator[Event, None, EditResult]:
    """Make the result for all frames from that for the key frames; yields the progress.

    Maps and inputs of control networks are those of the nearest key frame.
    """
    clip, (width, height) = request.clip, request.clip.size
    edits = [result.uncomposited, *(other.uncomposited for other in result.others)]
    filled = [_between(edit, keys, clip) for edit in edits]
    rebuilt = None if result.reconstruction is None else _between(result.reconstruction, keys, clip)
    frames, alone = ([Spool(height, width) for _ in edits] for _ in range(2))
    reconstruction = None if rebuilt is None else Spool(height, width)
    for number in range(len(clip)):
        source, mask = clip.read(number, number + 1), request.read_edited_mask(number, number + 1)
        for pictures, whole, uncomposited in zip(filled, frames, alone, strict=True):
            picture = next(pictures)[None]
            uncomposited.append(picture)
            whole.append(composite(source, picture, mask, params.feather))
        if rebuilt is not None and reconstruction is not None:
            reconstruction.append(next(rebuilt)[None])
        yield Progress("decoding", number + 1, len(clip), None)
    near = [min(range(len(keys)), key=lambda place: abs(keys[place] - number)) for number in range(len(clip))]
    others = zip(result.others, frames[1:], alone[1:], strict=True)
    return replace(
        result,
        **_at_nearest(result, near),
        frames=frames[0],
        uncomposited=alone[0],
        source=frames_of(clip),
        edited_mask=request.edited_mask,
        reconstruction=reconstruction,
        others=tuple(replace(other, frames=f, uncomposited=u) for other, f, u in others),
    )


def _between(edited: UInt8[np.ndarray | Frames, "keys h w 3"], keys: Sequence[int], clip: Clip) -> Iterator:
    return fill_between(edited, keys, clip.read)


def _at_nearest(result: EditResult, near: Sequence[int]) -> dict[str, Any]:
    """Repeat what belongs to key frames for the frames near them."""
    words, control = result.words, result.control
    if words is not None:
        both = ({name: maps[near] for name, maps in side.items()} for side in (words.source, words.edit))
        words = WordAttention(*both)
    if control is not None:
        shape, given = (len(near), *control.shape[1:]), control
        control = Frames(shape, np.uint8, lambda start, stop: np.stack([given[i] for i in near[start:stop]]))
    attention = {
        name: RegionAttention(maps.before[near], maps.after[near]) for name, maps in result.attention.items()
    }
    areas = {step: area[near] for step, area in result.step_areas.items()}
    return {"attention": attention, "words": words, "control": control, "step_areas": areas}


def _read(read: Callable[[int, int], np.ndarray], numbers: Sequence[int]) -> np.ndarray:
    if not numbers:
        return read(0, 0)
    return np.concatenate([read(number, number + 1) for number in numbers])
