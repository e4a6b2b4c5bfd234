"""Labels of a clip, and the folders of PNG files that hold them.

A folder holds either `00000.png, 00001.png ...`, one indexed (or grey) PNG per used
frame, in the order of their names, whose values are labels; or, where masks overlap,
one folder of such files per label, named by the label, in which every value but 0 is
inside. Such folders, and JSON, keep overlapping masks whole; labels keep only the mask
in front. Black and white with soft edges is read at half.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from PIL import Image

from regrain.editing.boundary import boundary, check_regular
from regrain.editing.errors import MaskError, shorten
from regrain.editing.media.coco import open_rle, unroll
from regrain.editing.media.images import in_order
from regrain.editing.media.lazy_frames import FrameSource, LazyFrames, windows

_LOOKED_AT = 8  # masks of a clip that are looked at for soft edges
_GREYS = 8  # values; a mask with more of them, most of them 0 or 255, has soft edges

LabelFrames = UInt8[np.ndarray, "frames height width"]
Masks = Bool[np.ndarray, "frames height width"]
LazyMasks = Bool[LazyFrames, "frames height width"]


class Labels(LazyFrames):
    """The region of each pixel, uint8 [frames, height, width], 0 = background; read by
    window.

    Creating it reads every frame once, unless the labels that occur, without 0, are
    given as `present`.

    Raises:
        MaskError: The source is not uint8 [frames, height, width].
    """

    def __init__(
        self,
        source: np.ndarray | LazyFrames | FrameSource,
        present: Collection[int] | None = None,
    ) -> None:
        if isinstance(source, np.ndarray):
            view = source.view()
            view.flags.writeable = False
            read = partial(_part, view)  # unlike a lambda, can be pickled
        else:
            read = source.read
        if isinstance(source, np.ndarray | LazyFrames):
            shape = source.shape
        else:
            width, height = source.size
            shape = (len(source), height, width)
        super().__init__(shape, np.uint8, read)
        self.present = self._find_present() if present is None else frozenset(present)

    def _find_present(self) -> frozenset[int]:
        """Read every frame, check it, and return the labels that occur, without 0."""
        found = np.zeros(256, bool)
        for start, stop in windows(len(self)):
            part = self.read(start, stop)
            shape = (stop - start, *self.shape[1:])
            if part.dtype != np.uint8 or part.shape != shape or part.ndim != 3:
                given = f"{part.dtype} of shape {part.shape}"
                said = f"Expected uint8 labels [frames, height, width], got {given}."
                raise MaskError("masks", said)
            found[part] = True
        return frozenset(np.flatnonzero(found).tolist()) - {0}


def _part(array: np.ndarray, start: int, stop: int) -> np.ndarray:
    return array[start:stop]


def read_labels(
    path: str | Path, frames: int, size: tuple[int, int], order: Sequence[int] = ()
) -> Labels:
    """Open the labels of a clip: every file is checked, and read again by window.

    Args:
        path: Folder of PNG files, or of one folder per label; or JSON that `write_rle`
            wrote.
        frames: Number of used frames of the clip, and so of masks.
        size: (width, height) of the clip.
        order: Labels in list order: where masks overlap, the earlier covers the later.
            Other labels follow by number.

    Raises:
        MaskError: There is no folder, the count or size is wrong, or a file is not a
            mask.
    """
    path = Path(path)
    width, height = size
    shape = (frames, height, width)
    if _is_plain(path):
        files = _MaskFiles(path, frames, size)
        return Labels(LazyFrames(shape, np.uint8, files.read))
    masks = _open_masks(path, frames, size)
    back_to_front = _back_to_front(masks, order)

    def read(start: int, stop: int) -> LabelFrames:
        labels = np.zeros((stop - start, height, width), np.uint8)
        for label in back_to_front:
            inside = masks[label].read(start, stop)
            labels[inside] = label
        return labels

    return Labels(LazyFrames(shape, np.uint8, read))


def _back_to_front(labels: Iterable[int], order: Sequence[int]) -> list[int]:
    """Sort labels, those that cover others last; see `read_labels`."""

    def rank(label: int) -> tuple[int, int]:
        place = order.index(label) if label in order else len(order)
        return place, label

    return sorted(labels, key=rank, reverse=True)


def write_labels(
    labels: UInt8[np.ndarray | LazyFrames, "frames height width"],
    path: str | Path,
    colors: Mapping[int, str],
) -> None:
    """Write one indexed PNG per frame, 0 = background, from `00000.png` on; masks
    written there before go.

    The folder is made if missing. `colors` are "#rrggbb" per label, for viewers; the
    rest is black.
    """
    _clear(Path(path))
    for index, frame in enumerate(labels):
        write_frame(frame, Path(path), index, colors)


def write_frame(
    labels: UInt8[np.ndarray, "height width"],
    path: Path,
    index: int,
    colors: Mapping[int, str],
) -> None:
    """Write the labels of one frame, counted from 0, into a folder; see
    `write_labels`."""
    image = Image.fromarray(labels)
    image.putpalette(palette(colors).tobytes())
    image.save(path / f"{index:05d}.png", optimize=False)


def _pictures(path: Path) -> list[Path]:
    return in_order(file for file in path.iterdir() if file.suffix.lower() == ".png")


def is_written(file: Path, mode: str = "P") -> bool:
    """Tell whether a file looks written by this module: five digits, and indexed ("P")
    or grey ("L")."""
    if not re.fullmatch(r"\d{5}\.png", file.name) or not file.is_file():
        return False
    try:
        with Image.open(file) as image:
            return image.mode == mode
    except (OSError, ValueError, SyntaxError):
        return False


def _clear(path: Path) -> None:
    """Remove the masks that were written into a folder before; other files stay."""
    path.mkdir(parents=True, exist_ok=True)
    _remove_written(path, "P")
    for folder in _folders(path):
        if not re.fullmatch(r"[1-9]\d{0,2}", folder.name):
            continue
        _remove_written(folder, "L")
        if not any(folder.iterdir()):
            folder.rmdir()


def _remove_written(folder: Path, mode: str) -> None:
    for file in list(folder.iterdir()):
        if is_written(file, mode):
            file.unlink()


def _label_of(folder: Path) -> int:
    is_number = re.fullmatch(r"[1-9][0-9]{0,2}", folder.name)
    if not is_number or int(folder.name) > 255:
        said = f"Folder {shorten(folder.name)} is not a label from 1 to 255. Rename it."
        raise MaskError("masks", said)
    return int(folder.name)


def _open_masks(path: Path, frames: int, size: tuple[int, int]) -> dict[int, LazyMasks]:
    """Open whole masks, by label, of a folder of folders or of JSON; all are checked,
    and read by window."""
    if path.suffix.lower() == ".json" and os.path.isfile(path):
        return _open_json(path, frames, size)
    if not os.path.isdir(path):
        said = f"{path.name!r} is not a folder. Use a folder of PNG files (00000.png, 00001.png, ...)."
        raise MaskError("masks", said)
    stray = _pictures(path)
    if stray:
        said = f"{stray[0].name} is next to folders of masks. Keep either files or folders."
        raise MaskError("masks", said)
    folders = {_label_of(folder): folder for folder in _folders(path)}
    shape = (frames, size[1], size[0])
    masks: dict[int, LazyMasks] = {}
    for label in sorted(folders):
        files = _MaskFiles(folders[label], frames, size)
        masks[label] = LazyFrames(shape, bool, files.read_inside)
    return masks


def _open_json(path: Path, frames: int, size: tuple[int, int]) -> dict[int, LazyMasks]:
    shape = (frames, size[1], size[0])
    by_label = open_rle(path, frames, size)
    return {
        label: LazyFrames(shape, bool, partial(unroll, counts, size))
        for label, counts in by_label.items()
    }


def _is_plain(path: Path) -> bool:
    """Tell whether a path is a folder without folders."""
    said = f"{shorten(path.name)} cannot be opened. Use another folder."
    with boundary("masks", said, MaskError):
        return path.suffix.lower() != ".json" and path.is_dir() and not _folders(path)


def _folders(path: Path) -> list[Path]:
    return sorted(folder for folder in path.iterdir() if folder.is_dir())


class _MaskFiles:
    """The masks in a folder, PNG files of a (width, height), one per frame; their
    headers are checked."""

    def __init__(self, folder: Path, frames: int, size: tuple[int, int]) -> None:
        self._files = _pictures(folder)
        self._size = size
        count = len(self._files)
        if count != frames:
            has = f"{folder.name!r} has {count} mask{'' if count == 1 else 's'}"
            said = f"{has}, but the clip uses {frames} frames. Add one per frame."
            raise MaskError("masks", said)
        for file in self._files:
            with _open_mask(file, size):
                pass
        step = max(1, count // _LOOKED_AT)
        self._soft = any(self._has_soft_edges(file) for file in self._files[::step])

    def _has_soft_edges(self, file: Path) -> bool:
        """Tell whether a mask is black and white with grey edges, whose greys are no
        labels."""
        with _open_mask(file, self._size) as image:
            values = _values(image, file.name)
            is_indexed = image.mode == "P"
        if is_indexed:
            return False
        counts = np.bincount(values.ravel(), minlength=256)
        mostly = 2 * (counts[0] + counts[255]) > counts.sum()
        return bool(counts[255] and mostly and np.count_nonzero(counts) > _GREYS)

    def read(self, start: int, stop: int) -> LabelFrames:
        """Read the values of masks start to stop - 1; those with soft edges become 0 or
        255."""
        width, height = self._size
        masks = np.empty((stop - start, height, width), np.uint8)
        for file, mask in zip(self._files[start:stop], masks, strict=True):
            with _open_mask(file, self._size) as image:
                values = _values(image, file.name)
            mask[:] = np.where(values < 128, 0, 255) if self._soft else values
        return masks

    def read_inside(self, start: int, stop: int) -> Masks:
        """Read where masks start to stop - 1 are not 0."""
        return self.read(start, stop) > 0


def _values(image: Image.Image, name: str) -> UInt8[np.ndarray, "height width"]:
    """Return the values of a mask; the colours of one in RGB must be greys."""
    if image.mode in ("P", "L", "1"):
        return np.asarray(image).astype(np.uint8)
    colors = np.asarray(image.convert("RGB"))
    if (colors != colors[..., :1]).any():
        said = f"{shorten(name)} has colours. Convert it to indexed or 8-bit grey."
        raise MaskError("masks", said)
    return colors[..., 0]


@contextmanager
def _open_mask(file: Path, size: tuple[int, int]) -> Iterator[Image.Image]:
    """Open a mask and check its header; errors on reading it name the file."""
    check_regular(file, "masks", MaskError)
    name = shorten(file.name)
    said = f"{name} is not a readable PNG file. Replace it."
    with boundary("masks", said, MaskError), Image.open(file) as image:
        if image.size != size:
            given = "{}x{}".format(*image.size)
            wanted = "{}x{}".format(*size)
            raise MaskError(
                "masks", f"{name} is {given}, but the clip is {wanted}. Resize it."
            )
        if image.mode not in ("P", "L", "1", "LA", "RGB", "RGBA"):
            has = f"{name} has mode {image.mode}."
            raise MaskError("masks", f"{has} Convert it to indexed or 8-bit grey.")
        yield image


def split(labels: LabelFrames) -> dict[int, Masks]:
    """Split labels into one mask per label that occurs."""
    return {label: labels == label for label in np.unique(labels).tolist() if label}


def flatten(masks: Mapping[int, Masks]) -> LabelFrames:
    """Join masks that may overlap into labels: the earlier covers the later; MaskError
    if there is none."""
    if not masks:
        raise MaskError("masks", "No mask is given. Add at least one.")
    first = next(iter(masks.values()))
    labels = np.zeros(first.shape, np.uint8)
    for label, mask in reversed(list(masks.items())):
        labels[mask] = label
    return labels


def write_regions(
    masks: Mapping[int, Bool[np.ndarray | LazyFrames, "frames height width"]],
    path: str | Path,
) -> None:
    """Write one folder per label (`1/00000.png` ...), white inside; masks of an earlier
    call are removed."""
    _clear(Path(path))
    for label, mask in masks.items():
        folder = Path(path) / str(label)
        folder.mkdir(exist_ok=True)
        for index, frame in enumerate(mask):
            white_inside = np.where(frame, np.uint8(255), np.uint8(0))
            Image.fromarray(white_inside).save(folder / f"{index:05d}.png")


def read_regions(
    path: str | Path, frames: int, size: tuple[int, int]
) -> dict[int, Masks]:
    """Read whole masks, by label, from what `write_regions`, `write_labels` or
    `write_rle` wrote.

    Args and errors are those of `read_labels`.
    """
    by_label = open_regions(path, frames, size)
    return {label: np.asarray(masks) for label, masks in by_label.items()}


def open_regions(
    path: str | Path, frames: int, size: tuple[int, int]
) -> dict[int, LazyMasks]:
    """Open whole masks as `read_regions`, to be read by window; every file is checked
    first."""
    path = Path(path)
    if _is_plain(path):
        labels = read_labels(path, frames, size)
        return {label: mask_of(labels, label) for label in sorted(labels.present)}
    return _open_masks(path, frames, size)


def mask_of(labels: LazyFrames, label: int) -> LazyMasks:
    """Return the mask of a label, read by window."""

    def read(start: int, stop: int) -> Masks:
        return labels.read(start, stop) == label

    return LazyFrames(labels.shape, bool, read)


def palette(colors: Mapping[int, str]) -> UInt8[np.ndarray, "256 3"]:
    """Return the RGB of every label from its "#rrggbb"; black for labels without a
    colour."""
    table = np.zeros((256, 3), np.uint8)
    for label, color in colors.items():
        table[label] = list(bytes.fromhex(color.removeprefix("#")))
    return table


def grow_labels(labels: LabelFrames, pixels: Mapping[int, float | int]) -> LabelFrames:
    """Grow each label by its `pixels` into the background; a pixel that several reach
    goes to the nearest."""
    if not any(pixels.values()):
        return labels
    import cv2  # slow to import, and seldom needed

    out = labels.copy()
    for frame, grown in zip(labels, out, strict=True):
        free = frame == 0
        # distance of the nearest label so far
        nearest = np.full(frame.shape, np.inf, np.float32)
        for label, reach in pixels.items():
            outside = frame != label
            if not reach or outside.all():
                continue
            distance = cv2.distanceTransform(outside.astype(np.uint8), cv2.DIST_L2, 5)
            nearer = (distance <= reach) & (distance < nearest)
            grown[free & nearer] = label
            nearest[nearer] = distance[nearer]
    return out


def fade_inwards(
    labels: LabelFrames, pixels: Mapping[int, float | int], edited: Collection[int]
) -> Float32[np.ndarray, "frames height width"]:
    """Return the opacity of each pixel: 1, but in the labels of `pixels` rising from 0
    over so many pixels.

    It rises from the edge of all `edited` labels together; the border of the frame is
    no edge.
    """
    import cv2  # slow to import, and seldom needed

    out = np.ones(labels.shape, np.float32)
    for frame, opacity in zip(labels, out, strict=True):
        within = np.isin(frame, list(edited))
        if within.all() or not within.any():
            continue
        to_edge = cv2.distanceTransform(within.astype(np.uint8), cv2.DIST_L2, 5)
        depth = to_edge - 0.5
        for label, reach in pixels.items():
            if not reach:
                continue
            inside = frame == label
            opacity[inside] = np.clip(depth[inside] / reach, 0, 1)
    return out
