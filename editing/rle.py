"""Masks as one JSON file, a COCO data set: run lengths, a mask per frame and label."""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from editing.boundary import boundary, check_regular
from editing.errors import MaskError, shorten
from editing.spool import Frames

_MOST = 10**9  # of a number in a file of masks
_BAD = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    AttributeError,
)  # of JSON that is no masks


def runs(mask: Bool[np.ndarray, "height width"]) -> list[int]:
    """Encode a mask as COCO's RLE: lengths of runs down the columns, outside and inside in turn."""
    flat = mask.ravel(order="F")
    ends = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
    return [0] * bool(flat[0]) + np.diff(ends).tolist()


def from_runs(
    counts: Sequence[object] | str | bytes, size: tuple[int, int]
) -> Bool[np.ndarray, "height width"]:
    """Decode what `runs` returned, or COCO's compressed form of it, to a mask of (width, height).

    Raises:
        MaskError: The runs are not whole numbers, or do not add up to the size.
    """
    width, height = size
    lengths = _unpacked(counts) if isinstance(counts, str | bytes) else list(counts)
    # Summed by Python: NumPy's sum could wrap round to what is expected.
    if not all(type(n) is int and n >= 0 for n in lengths) or sum(lengths) != width * height:
        raise MaskError(
            "masks", f"The runs do not add up to {width}x{height} pixels. Export the masks again."
        )
    inside = np.arange(len(lengths)) % 2 == 1
    return np.repeat(inside, np.array(lengths, int)).reshape(height, width, order="F")


def _unpacked(text: str | bytes) -> list[int]:
    """Run lengths of COCO's compressed string: five bits a character, each length less the last but one's."""
    lengths: list[int] = []
    value = shift = 0
    for code in text.encode("latin-1", "replace") if isinstance(text, str) else text:
        value |= ((code - 48) & 31) << shift
        shift += 5
        if code - 48 & 32:
            continue
        if code - 48 & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return lengths


def write_rle(
    masks: Mapping[int, Bool[np.ndarray | Frames, "frames height width"]],
    path: str | Path,
    names: Mapping[int, str] | None = None,
) -> None:
    """Write all masks as one COCO data set: an image per frame, a category per label, run lengths.

    Args:
        masks: By label.
        path: JSON file.
        names: What labels are called; their numbers by default.

    Raises:
        MaskError: There is no mask, and so no size.
    """
    if not masks:
        raise MaskError("masks", "No mask is given. Add at least one.")
    from editing import coco  # which needs `runs` of this module

    frames, height, width = next(iter(masks.values())).shape
    known = {label: (names or {}).get(label) or str(label) for label in masks}
    found = (
        (index, label, frame)
        for label, mask in masks.items()
        for index, frame in enumerate(mask)
        if index == 0 or frame.any()  # the first keeps a label that is nowhere
    )
    start = _compact(coco.head(frames, (width, height), known)).removesuffix("]}")
    with Path(path).open("w", encoding="utf-8") as file:  # one at a time: all of them would fill memory
        file.write(start)
        for number, (index, label, frame) in enumerate(found, 1):
            file.write("," * (number > 1) + _compact(coco.annotation(number, index, label, frame)))
        file.write("]}\n")


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def read_rle(
    path: str | Path, frames: int, size: tuple[int, int]
) -> dict[int, Bool[np.ndarray, "frames height width"]]:
    """Read what `write_rle` wrote; missing masks are empty, and `counts` may be compressed.

    Args:
        path: JSON file.
        frames: Number of used frames of the clip.
        size: (width, height) of the clip.

    Raises:
        MaskError: See `open_rle`.
    """
    masks = {}
    for label, counts in open_rle(path, frames, size).items():
        masks[label] = np.zeros((frames, size[1], size[0]), bool)
        for frame, given in counts.items():
            masks[label][frame] = from_runs(given, size)
    return masks


def _dense(entry: dict[str, Any]) -> dict[str, Any]:
    """Keep run lengths as numbers of four bytes; as a list they take ten times as much."""
    counts = entry.get("counts")
    if isinstance(counts, list) and all(type(n) is int and 0 <= n < 1 << 31 for n in counts):
        entry["counts"] = array("i", counts)
    return entry


def load_json(path: str | Path) -> Any:
    """Read JSON, keeping run lengths as numbers of four bytes.

    Raises:
        MaskError: There is no such file, or it is not JSON.
    """
    check_regular(Path(path), "masks", MaskError)
    with boundary("masks", _no_masks(path).message, MaskError):
        return json.loads(Path(path).read_text(encoding="utf-8"), object_hook=_dense)


def open_rle(path: str | Path, frames: int, size: tuple[int, int]) -> dict[int, dict[int, Any]]:
    """Read the run lengths of a file, for `from_runs`, by label and frame.

    Args:
        path: JSON that `write_rle` wrote, a COCO data set of other tools, or the form of earlier versions;
            `counts` compressed or not.
        frames: Number of used frames of the clip.
        size: (width, height) of the clip.

    Raises:
        MaskError: The file is missing, has another format, or the count or size is wrong.
    """
    name, facts = Path(path).name, load_json(path)
    check_extent(name, _extent(facts, path), (frames, size))
    masks: dict[int, dict[int, Any]] = {}
    for frame, label, counts in _entries(facts, path):
        if not (0 <= frame < frames and 1 <= label <= 255):
            raise MaskError(
                "masks",
                f"{shorten(name)} has a mask for frame {frame}, label {label}. Use frames 0 to {frames - 1} "
                "and labels 1 to 255.",
            )
        masks.setdefault(label, {})[frame] = counts
    return masks


def check_extent(name: str, given: tuple[int, tuple[int, int]], wanted: tuple[int, tuple[int, int]]) -> None:
    """Refuse masks of another clip: both are the number of frames and their (width, height).

    Raises:
        MaskError: The count or size is wrong.
    """
    if (given[0], tuple(given[1])) != (wanted[0], tuple(wanted[1])):
        (count, (width, height)), (frames, size) = given, wanted
        raise MaskError(
            "masks",
            f"{shorten(name)} has {count} frames of {width}x{height}, but the clip uses {frames} of "
            f"{size[0]}x{size[1]}. Use masks of this clip.",
        )


def extent_of(path: str | Path) -> tuple[int, tuple[int, int]]:
    """Number of frames, and their (width, height), of a JSON file of masks.

    Raises:
        MaskError: The file is missing or has another format.
    """
    return _extent(load_json(path), path)


def _extent(facts: Any, path: str | Path) -> tuple[int, tuple[int, int]]:
    from editing import coco  # which needs `runs` of this module

    try:
        if coco.is_data_set(facts):
            return coco.extent(facts)
        height, width = facts["size"]
        if facts.get("version", 1) != 1 or type(facts.get("version", 1)) is not int:
            raise ValueError("another version")
        return whole(facts["frames"]), (whole(width), whole(height))
    except _BAD:
        raise _no_masks(path) from None


def _entries(facts: Any, path: str | Path) -> list[tuple[int, int, Any]]:
    """Frame from 0, label and run lengths of every mask."""
    from editing import coco  # which needs `runs` of this module

    try:
        if coco.is_data_set(facts):
            entries = list(coco.entries(facts))
        else:
            size, listed = facts["size"], facts["masks"]
            if not isinstance(listed, list) or any(mask.get("size", size) != size for mask in listed):
                raise ValueError("a mask of another size")
            entries = [(whole(m["frame"]), whole(m["label"]), m["counts"]) for m in listed]
        if not all(isinstance(counts, list | str | array) for *_, counts in entries):
            raise ValueError
    except MaskError:
        raise
    except _BAD:
        raise _no_masks(path) from None
    return entries


def whole(value: object) -> int:
    """A number of JSON that must be whole and not absurd.

    Raises:
        TypeError: It is neither.
    """
    if type(value) is not int or not 0 <= value < _MOST:
        raise TypeError("no whole number")
    return value


def _no_masks(path: str | Path) -> MaskError:
    said = f"{shorten(Path(path).name)} is not a JSON file of masks. Export the masks again."
    return MaskError("masks", said)
