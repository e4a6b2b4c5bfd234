"""Folders of PNG files and JSON <-> label arrays.

Either `00000.png, 00001.png ...`, one indexed (or grey) PNG per used frame, in the order of their names,
whose values are labels; or, where masks overlap, one folder of such files per label, named by it, in which
every value but 0 is inside. There, and as JSON, masks stay whole; labels keep what is in front.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from editing.clip.images import natural
from editing.errors import MaskError


def read_labels(
    path: str | Path, frames: int, size: tuple[int, int], order: Sequence[int] = ()
) -> UInt8[np.ndarray, "frames height width"]:
    """Read the label of each pixel; 0 is background.

    Args:
        path: Folder of PNG files, or of one folder per label; or JSON that `write_rle` wrote.
        frames: Used frames of the clip; as many masks must be there.
        size: (width, height) of the clip.
        order: Labels in list order: where masks overlap, the earlier covers the later. Labels not named
            come after, by number.

    Raises:
        MaskError: No folder, wrong count or size, or a file that is no mask.
    """
    path = Path(path)
    rank = lambda label: (order.index(label) if label in order else len(order), label)  # noqa: E731
    if path.suffix.lower() == ".json" and path.is_file():
        whole = read_rle(path, frames, size)
        empty = np.zeros((frames, size[1], size[0]), np.uint8)
        return flatten({label: whole[label] for label in sorted(whole, key=rank)}) if whole else empty
    if not path.is_dir():
        raise MaskError(
            "masks", f"{path.name!r} is no folder; allowed is a folder of PNG files 00000.png, 00001.png ..."
        )
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir())
    if not folders:
        return _read_folder(path, frames, size)
    if stray := next(iter(_pictures(path)), None):
        raise MaskError("masks", f"{stray.name} stands beside folders of masks; keep either files or folders")
    by_label = {_label_of(folder): folder for folder in folders}
    labels = np.zeros((frames, size[1], size[0]), np.uint8)
    for label in sorted(by_label, key=rank, reverse=True):
        labels[_read_folder(by_label[label], frames, size) > 0] = label
    return labels


def write_labels(
    labels: UInt8[np.ndarray, "frames height width"], path: str | Path, colors: Mapping[int, str]
) -> None:
    """Write one indexed PNG per frame, `00000.png` on; masks written there before go.

    Args:
        labels: 0 = background.
        path: Folder; made if missing.
        colors: "#rrggbb" per label, for viewers; the rest is black.
    """
    path = Path(path)
    _clear(path)
    for index, frame in enumerate(labels):
        image = Image.fromarray(frame)
        image.putpalette(palette(colors).tobytes())
        image.save(path / f"{index:05d}.png", optimize=False)


def _pictures(path: Path) -> list[Path]:
    files = (file for file in path.iterdir() if file.suffix.lower() == ".png")
    return sorted(files, key=lambda file: natural(file.name))


def is_written(file: Path, mode: str = "P") -> bool:
    """Whether we may have written it: five digits, indexed ("P") or, in a label's folder, grey ("L")."""
    if not re.fullmatch(r"\d{5}\.png", file.name) or not file.is_file():
        return False
    try:
        with Image.open(file) as image:
            return image.mode == mode
    except (OSError, ValueError, SyntaxError):
        return False


def _clear(path: Path) -> None:
    """A folder without the masks that were written into it before; what we do not write stays."""
    path.mkdir(parents=True, exist_ok=True)
    folders = [e for e in path.iterdir() if e.is_dir() and re.fullmatch(r"[1-9]\d{0,2}", e.name)]
    for folder, mode in ((path, "P"), *((folder, "L") for folder in folders)):
        for old in [file for file in folder.iterdir() if is_written(file, mode)]:
            old.unlink()
    for folder in folders:
        if not any(folder.iterdir()):
            folder.rmdir()


def _label_of(folder: Path) -> int:
    if not (folder.name.isascii() and folder.name.isdigit() and 1 <= int(folder.name) <= 255):
        raise MaskError("masks", f"folder {folder.name!r} was given; allowed are labels 1 to 255; rename it")
    return int(folder.name)


def _read_folder(path: Path, frames: int, size: tuple[int, int]) -> UInt8[np.ndarray, "frames height width"]:
    files = _pictures(path)
    if len(files) != frames:
        raise MaskError(
            "masks",
            f"{len(files)} masks were given in {path.name!r}; the clip uses {frames} frames; give one each",
        )
    return np.stack([_read_mask(file, size) for file in files])


def _read_mask(file: Path, size: tuple[int, int]) -> UInt8[np.ndarray, "height width"]:
    try:
        with Image.open(file) as image:
            if image.size != size:
                given, wanted = (f"{width}x{height}" for width, height in (image.size, size))
                raise MaskError("masks", f"{file.name} is {given}; the clip is {wanted}; make them equal")
            if image.mode not in ("P", "L", "1"):
                raise MaskError(
                    "masks",
                    f"{file.name} is {image.mode}; allowed is indexed or grey with 8 bits; convert it",
                )
            return np.asarray(image).astype(np.uint8)
    except MaskError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise MaskError("masks", f"{file.name} is no PNG that can be read; replace it") from None


def split(
    labels: UInt8[np.ndarray, "frames height width"],
) -> dict[int, Bool[np.ndarray, "frames height width"]]:
    """One mask per label that occurs."""
    return {label: labels == label for label in np.unique(labels).tolist() if label}


def flatten(
    masks: Mapping[int, Bool[np.ndarray, "frames height width"]],
) -> UInt8[np.ndarray, "frames height width"]:
    """Labels of masks that may overlap: the earlier covers the later.

    Raises:
        MaskError: No mask, and so no size.
    """
    if not masks:
        raise MaskError("masks", "none was given; give one or more")
    labels = np.zeros(next(iter(masks.values())).shape, np.uint8)
    for label, mask in reversed(list(masks.items())):
        labels[mask] = label
    return labels


def write_regions(masks: Mapping[int, Bool[np.ndarray, "frames height width"]], path: str | Path) -> None:
    """Write one folder per label, `1/00000.png` on, white inside; masks written there before go."""
    _clear(Path(path))
    for label, mask in masks.items():
        folder = Path(path) / str(label)
        folder.mkdir(exist_ok=True)
        for index, frame in enumerate(mask):
            Image.fromarray(np.where(frame, np.uint8(255), np.uint8(0))).save(folder / f"{index:05d}.png")


def read_regions(
    path: str | Path, frames: int, size: tuple[int, int]
) -> dict[int, Bool[np.ndarray, "frames height width"]]:
    """Read whole masks, by label, from what `write_regions`, `write_labels` or `write_rle` wrote.

    Raises:
        MaskError: As `read_labels` and `read_rle`.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        return read_rle(path, frames, size)
    folders = [folder for folder in path.iterdir() if folder.is_dir()] if path.is_dir() else []
    if not folders or _pictures(path):
        return split(read_labels(path, frames, size))
    by_label = {_label_of(folder): folder for folder in folders}
    return {label: _read_folder(by_label[label], frames, size) > 0 for label in sorted(by_label)}


def runs(mask: Bool[np.ndarray, "height width"]) -> list[int]:
    """Lengths of runs down the columns, outside and inside in turn, outside first: COCO's RLE."""
    flat = mask.ravel(order="F")
    ends = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
    return [0] * bool(flat[0]) + np.diff(ends).tolist()


def from_runs(
    counts: Sequence[object] | str | bytes, size: tuple[int, int]
) -> Bool[np.ndarray, "height width"]:
    """The mask of (width, height) that `runs` describes, or COCO's compressed form of it.

    Raises:
        MaskError: Not whole numbers, or not as many pixels as the size has.
    """
    width, height = size
    lengths = _unpacked(counts) if isinstance(counts, str | bytes) else list(counts)
    # Summed by Python: NumPy's sum could wrap round to what is expected.
    if not all(type(n) is int and n >= 0 for n in lengths) or sum(lengths) != width * height:
        raise MaskError("masks", f"runs do not add up to {width}x{height} pixels; write the file again")
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


def write_rle(masks: Mapping[int, Bool[np.ndarray, "frames height width"]], path: str | Path) -> None:
    """Write all masks as one JSON file: per frame and label a COCO mask (`size`, `counts`).

    Raises:
        MaskError: No mask, and so no size.
    """
    if not masks:
        raise MaskError("masks", "none was given; give one or more")
    frames, height, width = next(iter(masks.values())).shape
    found = [
        {"frame": index, "label": label, "size": [height, width], "counts": runs(frame)}
        for label, mask in masks.items()
        for index, frame in enumerate(mask)
    ]
    facts = {"version": 1, "frames": frames, "size": [height, width], "masks": found}
    Path(path).write_text(json.dumps(facts, separators=(",", ":")) + "\n")


def read_rle(
    path: str | Path, frames: int, size: tuple[int, int]
) -> dict[int, Bool[np.ndarray, "frames height width"]]:
    """Read what `write_rle` wrote; a mask left out is empty, `counts` may be compressed.

    Raises:
        MaskError: No such file, wrong count or size, or not this format.
    """
    name = Path(path).name
    try:
        facts = json.loads(Path(path).read_text())
        entries = [(int(m["frame"]), int(m["label"]), m["counts"]) for m in facts["masks"]]
        if not all(isinstance(counts, list | str) for *_, counts in entries):
            raise ValueError
        given = int(facts["frames"]), (int(facts["size"][1]), int(facts["size"][0]))
    except (OSError, ValueError, TypeError, KeyError, IndexError, RecursionError, OverflowError):
        raise MaskError(
            "masks", f"{name!r} is no JSON file of masks that can be read; export it again"
        ) from None
    if given != (frames, tuple(size)):
        raise MaskError(
            "masks",
            f"{name!r} has {given[0]} frames of {given[1][0]}x{given[1][1]}; the clip uses {frames} of"
            f" {size[0]}x{size[1]}; make them equal",
        )
    masks: dict[int, np.ndarray] = {}
    for frame, label, counts in entries:
        if not (0 <= frame < frames and 1 <= label <= 255):
            raise MaskError("masks", f"frame {frame}, label {label} was given; allowed are labels 1 to 255")
        whole = masks.setdefault(label, np.zeros((frames, size[1], size[0]), bool))
        whole[frame] = from_runs(counts, size)
    return masks


def palette(colors: Mapping[int, str]) -> UInt8[np.ndarray, "256 3"]:
    """RGB of every label, from "#rrggbb"; black where there is none."""
    table = np.zeros((256, 3), np.uint8)
    for label, color in colors.items():
        table[label] = list(bytes.fromhex(color.removeprefix("#")))
    return table
