"""Folders of PNG files <-> label arrays.

Either `00000.png, 00001.png ...`, one indexed (or grey) PNG per used frame whose values are labels; or, where
masks overlap, one folder of such files per label, named by it, in which every value but 0 is inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from editing.errors import MaskError


def read_labels(
    path: str | Path, frames: int, size: tuple[int, int], order: Sequence[int] = ()
) -> UInt8[np.ndarray, "frames height width"]:
    """Read the label of each pixel; 0 is background.

    Args:
        path: Folder of PNG files, or of one folder per label.
        frames: Used frames of the clip; as many masks must be there.
        size: (width, height) of the clip.
        order: Labels in list order: where masks overlap, the earlier covers the later. Labels not named
            come after, by number.

    Raises:
        MaskError: No folder, wrong count or size, or a file that is no mask.
    """
    path = Path(path)
    if not path.is_dir():
        raise MaskError(
            "masks", f"{path.name!r} is no folder; allowed is a folder of PNG files 00000.png, 00001.png ..."
        )
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir())
    if not folders:
        return _read_folder(path, frames, size)
    if stray := next(path.glob("*.png"), None):
        raise MaskError("masks", f"{stray.name} stands beside folders of masks; keep either files or folders")
    by_label = {_label_of(folder): folder for folder in folders}
    last_first = sorted(
        by_label, key=lambda label: (order.index(label) if label in order else len(order), label)
    )
    labels = np.zeros((frames, size[1], size[0]), np.uint8)
    for label in reversed(last_first):
        labels[_read_folder(by_label[label], frames, size) > 0] = label
    return labels


def write_labels(
    labels: UInt8[np.ndarray, "frames height width"], path: str | Path, colors: Mapping[int, str]
) -> None:
    """Write one indexed PNG per frame, `00000.png` on.

    Args:
        labels: 0 = background.
        path: Folder; made if missing.
        colors: "#rrggbb" per label, for viewers; the rest is black.
    """
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    palette = bytearray(3 * 256)
    for label, color in colors.items():
        palette[3 * label : 3 * label + 3] = bytes.fromhex(color.removeprefix("#"))
    for index, frame in enumerate(labels):
        image = Image.fromarray(frame)
        image.putpalette(bytes(palette))
        image.save(path / f"{index:05d}.png", optimize=False)


def _label_of(folder: Path) -> int:
    if not (folder.name.isascii() and folder.name.isdigit() and 1 <= int(folder.name) <= 255):
        raise MaskError("masks", f"folder {folder.name!r} was given; allowed are labels 1 to 255; rename it")
    return int(folder.name)


def _read_folder(path: Path, frames: int, size: tuple[int, int]) -> UInt8[np.ndarray, "frames height width"]:
    files = sorted(path.glob("*.png"))
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
