"""Masks as one JSON file: run lengths as COCO writes them, a mask per frame and label."""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from editing.errors import MaskError
from editing.spool import Frames


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
    masks: Mapping[int, Bool[np.ndarray | Frames, "frames height width"]], path: str | Path
) -> None:
    """Write all masks as one JSON file: per frame and label a COCO mask (`size`, `counts`).

    Raises:
        MaskError: There is no mask, and so no size.
    """
    if not masks:
        raise MaskError("masks", "No mask is given. Add at least one.")
    frames, height, width = next(iter(masks.values())).shape
    facts = {"version": 1, "frames": frames, "size": [height, width], "masks": []}
    found = (
        {"frame": index, "label": label, "size": [height, width], "counts": runs(frame)}
        for label, mask in masks.items()
        for index, frame in enumerate(mask)
    )
    head = _compact(facts).removesuffix("]}")  # one entry at a time: all of them would fill memory
    with Path(path).open("w", encoding="utf-8") as file:
        file.write(head)
        for index, entry in enumerate(found):
            file.write("," * bool(index) + _compact(entry))
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


def open_rle(path: str | Path, frames: int, size: tuple[int, int]) -> dict[int, dict[int, Any]]:
    """Read the run lengths of a file, for `from_runs`, by label and frame.

    Args:
        path: JSON that `write_rle` wrote, `counts` compressed or not.
        frames: Number of used frames of the clip.
        size: (width, height) of the clip.

    Raises:
        MaskError: The file is missing, has another format, or the count or size is wrong.
    """
    name = Path(path).name
    try:
        facts = json.loads(Path(path).read_text(), object_hook=_dense)
        entries = [(int(m["frame"]), int(m["label"]), m["counts"]) for m in facts["masks"]]
        if not all(isinstance(counts, list | str | array) for *_, counts in entries):
            raise ValueError
        given = int(facts["frames"]), (int(facts["size"][1]), int(facts["size"][0]))
    except (OSError, ValueError, TypeError, KeyError, IndexError, RecursionError, OverflowError):
        raise MaskError("masks", f"{name!r} is not a JSON file of masks. Export the masks again.") from None
    if given != (frames, tuple(size)):
        raise MaskError(
            "masks",
            f"{name!r} has {given[0]} frames of {given[1][0]}x{given[1][1]}, but the clip uses {frames} of"
            f" {size[0]}x{size[1]}. Use masks of this clip.",
        )
    masks: dict[int, dict[int, Any]] = {}
    for frame, label, counts in entries:
        if not (0 <= frame < frames and 1 <= label <= 255):
            raise MaskError(
                "masks",
                f"{name!r} has a mask for frame {frame}, label {label}. Use frames 0 to {frames - 1} and "
                "labels 1 to 255.",
            )
        masks.setdefault(label, {})[frame] = counts
    return masks
