"""Files of masks: those of a clip are read as labels, or whole.

A folder holds pictures, one per used frame in the order of their names, whose meaning
`mask_pictures` decides; or, where masks overlap, one folder of such files per label,
named by the label, in which all but the background is inside. One picture, a video of
masks and run lengths in JSON are read, too. Folders by label and JSON keep overlapping
masks whole; labels keep only the mask in front.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from regrain.editing.boundary import (
    AnyPath,
    boundary,
    check_regular,
    given_path,
)
from regrain.editing.errors import MaskError, shorten
from regrain.editing.media.clip import check_inside
from regrain.editing.media.coco import (
    WholeMasks,
    check_extent,
    read_data_set,
    unroll,
)
from regrain.editing.media.images import (
    IMAGE_SUFFIXES,
    count_pictures,
    opened,
    pictures_in,
    upright_size,
)
from regrain.editing.media.index import is_video
from regrain.editing.media.labels import ByLabel, Labels, flattened, mask_of
from regrain.editing.media.lazy_frames import (
    AnyLabels,
    Extent,
    Grey,
    LabelFrames,
    LazyFrames,
    LazyLabels,
    Masks,
    Size,
    evenly,
)
from regrain.editing.media.mask_pictures import (
    FORMS,
    Colors,
    Picture,
    label_in,
    palette,
    picture_of,
    understand,
)
from regrain.editing.media.numbering import misnumbered, numbers_of
from regrain.editing.media.reading import VideoClip, open_clip
from regrain.editing.storage.folders import visible

_LOOKED_AT = 256  # frames of a video of masks that are looked at
_SUFFIXES = (*IMAGE_SUFFIXES, ".gif")


@dataclass(frozen=True)
class _Wanted:
    """The clip that masks are of.

    Attributes:
        frames: Number of its used frames, and so of masks.
        size: Its (width, height).
        at: Used frame of a mask that is alone; None if there is one for every frame.
        colors: "#rrggbb" of labels that colours may be.
        labels: Labels of regions.
        beside: Names of the pictures that are the clip's frames; none of a video.
    """

    frames: int
    size: Size
    at: int | None = None
    colors: Colors = field(default_factory=dict)
    labels: Collection[int] = ()
    beside: Sequence[str] = ()

    def check_count(self, name: str, count: int) -> int:
        """Return the number of frames, for one mask at a frame; MaskError if that is
        outside the clip, or if there are several masks."""
        if self.at is None:
            return count
        check_inside("--at", [self.at], self.frames, kind=MaskError)
        if count != 1:
            raise MaskError(
                "--at",
                f"{shorten(name)} has {count} masks, but --at is of one mask. "
                "Leave it out.",
            )
        return self.frames

    def fit(self, masks: LazyFrames) -> LazyFrames:
        """Return masks as many as the frames of the clip."""
        if self.at is None:
            return masks
        shape = masks.shape[1:]

        def read(start: int, stop: int) -> np.ndarray:
            window = np.zeros((stop - start, *shape), masks.dtype)
            if self.at is not None and start <= self.at < stop:
                window[self.at - start] = masks[0]
            return window

        return LazyFrames((self.frames, *shape), masks.dtype, read)


def check_names(names: Sequence[str], beside: Sequence[str] = ()) -> None:
    """Refuse masks whose numbers do not follow each other, or are those of other frames,
    by MaskError; from 0 or 1 on, they are counted.

    Masks that are named as the frames, `beside`, belong to these.
    """
    stems, frames = ([Path(one).stem for one in of] for of in (names, beside))
    if stems in ([], frames):
        return
    said = misnumbered(names)
    own, theirs = numbers_of(stems), numbers_of(frames)
    shared = {*own} & {*theirs}
    if not said and shared and own[0] not in (0, 1, theirs[0]):
        said = f"The first mask is {shorten(names[0])}, the first frame {shorten(beside[0])}"
    if said:
        hint = "or name them as the frames are"
        raise MaskError(
            "masks", f"{said}. Number masks from 00000.png on without a gap, {hint}."
        )


def read_labels(
    path: AnyPath,
    frames: int,
    size: Size,
    order: Sequence[int] = (),
    *,
    colors: Colors | None = None,
    at: int | None = None,
    beside: Sequence[str] = (),
) -> Labels:
    """Open the labels of a clip: every file is checked, and read again by window.

    Args:
        path: Folder of pictures, or of one folder per label; one picture; JSON of COCO;
            or a video.
        frames: Number of used frames of the clip, and so of masks.
        size: (width, height) of the clip.
        order: Labels in list order: where masks overlap, the earlier covers the later.
            Other labels follow by number.
        colors: "#rrggbb" of labels, for masks in colours.
        at: Used frame of one mask alone; the others have none.
        beside: `Clip.names`.

    Raises:
        MaskError: There is no such file, the count or size is wrong, or a file is not a
            mask.
        ClipError: A video cannot be read.
    """
    masks = _open(
        given_path(path, "masks", MaskError),
        _Wanted(frames, size, at, colors or {}, order, beside),
    )
    if isinstance(masks, LazyFrames):
        return Labels(masks)
    # those of other labels by number; the first covers the others
    first = [label for label in order if label in masks]
    ordered = [*first, *sorted(masks.keys() - set(first))]
    whole = {label: masks[label] for label in ordered}
    labels = Labels(flattened(whole))
    labels.whole = whole
    return labels


def write_labels(
    labels: AnyLabels,
    path: AnyPath,
    colors: Colors,
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
    labels: Grey,
    path: Path,
    index: int,
    colors: Colors,
) -> None:
    """Write the labels of one frame, counted from 0, into a folder; see
    `write_labels`."""
    image = Image.fromarray(labels)
    image.putpalette(palette(colors).tobytes())
    image.save(path / f"{index:05d}.png")


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
    numbered = [folder for folder in _folders(path) if label_in(folder.name)]
    for folder, mode in [(path, "P"), *((folder, "L") for folder in numbered)]:
        for file in list(folder.iterdir()):
            if is_written(file, mode):
                file.unlink()
    for folder in numbered:
        if not any(folder.iterdir()):
            folder.rmdir()


def _open(path: Path, wanted: _Wanted) -> LazyLabels | ByLabel:
    """Open labels of pictures or of a video; or whole masks by label, of JSON or of a
    folder of folders. All files are checked, and read again by window."""
    if not os.path.exists(path):
        raise MaskError(
            "masks",
            f"{shorten(path.name)} is not a folder. Use a folder of PNG files "
            "(00000.png, 00001.png, ...).",
        )
    folders = _folders_by_label(path)
    if _is_json(path):
        return _open_json(path, wanted)
    if not folders:
        return _open_pictures(_source_of(path), wanted)
    stray = pictures_in(path, _SUFFIXES)
    if stray:
        raise MaskError(
            "masks",
            f"{stray[0].name} is next to folders of masks. Keep either files or "
            "folders.",
        )
    masks: ByLabel = {}
    for label, folder in folders.items():
        inside = _open_pictures(_source_of(folder), wanted)
        masks[label] = inside.changed(lambda labels: labels > 0, bool)
    return masks


def _folders_by_label(path: Path) -> dict[int, Path]:
    """Return the folders in a folder by label; nothing of a file. MaskError if one is
    called otherwise, or the folder cannot be read."""
    said = f"{shorten(path.name)} cannot be opened. Use another folder."
    with boundary("masks", said, MaskError):
        folders = _folders(path) if path.is_dir() else []
    found: dict[int, Path] = {}
    for folder in folders:
        label = label_in(folder.name)
        if label is None:
            raise MaskError(
                "masks",
                f"Folder {shorten(folder.name)} is not a label from 1 to 255. {FORMS}",
            )
        if label in found:
            raise MaskError(
                "masks",
                f"{shorten(path.name)} has two folders of label {label}. Remove one.",
            )
        found[label] = folder
    return dict(sorted(found.items()))


def _open_json(path: Path, wanted: _Wanted) -> ByLabel:
    (count, size), _, by_label = read_data_set(path)
    extent = wanted.check_count(path.name, count), size
    check_extent(path.name, extent, (wanted.frames, wanted.size))
    shape = (count, size[1], size[0])
    return {
        label: wanted.fit(LazyFrames(shape, bool, partial(unroll, counts, size)))
        for label, counts in sorted(by_label.items())
    }


def _is_json(path: Path) -> bool:
    return path.suffix.lower() == ".json" and not os.path.isdir(path)


class _Source(NamedTuple):
    """Pictures of masks, one per frame: their (width, height), their names in errors,
    and those of their files."""

    name: str
    sizes: list[Size]
    names: list[str]
    picture: Callable[[int], Picture]
    files: Sequence[str] = ()


def _source_of(path: Path) -> _Source:
    """Open the pictures of masks in a folder, in one file, or in a video."""
    if path.is_dir():
        pictures = pictures_in(path, _SUFFIXES)
        if not pictures:
            endings = ", ".join(_SUFFIXES)
            raise MaskError(
                "masks",
                f"{shorten(path.name)} has no pictures of masks. Use files ending "
                f"in {endings}.",
            )
        # pictures of another form count where there are no PNG files
        masks = [file for file in pictures if file.suffix.lower() == ".png"]
        return _pictures(path.name, masks or pictures)
    if path.suffix.lower() in _SUFFIXES:
        return _pictures(path.name, [path])
    if path.suffix.lower() == ".zip":
        raise MaskError(
            "masks",
            f"{shorten(path.name)} is an archive. Unpack it and use the folder.",
        )
    check_regular(path, "masks", MaskError)
    if not is_video(path):
        raise MaskError(
            "masks",
            f"{shorten(path.name)} is neither a picture, JSON, nor a readable "
            f"video. {FORMS}",
        )
    clip = open_clip(path)
    if isinstance(clip, VideoClip) and clip.has_alpha:
        raise MaskError("masks", f"{shorten(path.name)} has an alpha channel. {FORMS}")
    count = len(clip)

    def picture(index: int) -> Picture:
        return Picture(clip.read(index, index + 1)[0], clip.name, is_lossy=True)

    return _Source(clip.name, [clip.size] * count, [clip.name] * count, picture)


def _pictures(name: str, files: Sequence[Path]) -> _Source:
    """Open pictures in files, whose headers are checked."""
    pages: list[tuple[Path, int]] = []
    sizes = []
    for file in files:
        with opened(file, "masks", MaskError) as image:
            for page in range(count_pictures(image)):
                image.seek(page)
                pages.append((file, page))
                sizes.append(upright_size(image))

    def picture(index: int) -> Picture:
        file, page = pages[index]
        with opened(file, "masks", MaskError) as image:
            image.seek(page)
            return picture_of(image, file)

    names = [file.name for file, _ in pages]
    return _Source(name, sizes, names, picture, [file.name for file in files])


def _folders(path: Path) -> list[Path]:
    return [entry for entry in visible(path) if entry.is_dir()]


def _open_pictures(source: _Source, wanted: _Wanted) -> LazyLabels:
    """Open the labels of pictures, which are as many and as large as the frames of a
    clip."""
    count = len(source.sizes)
    given = wanted.check_count(source.name, count)
    check_names(source.files, wanted.beside)
    if given != wanted.frames:
        hint = "Use one per used frame"
        if count == 1:
            hint += ", or say the frame of this one with --at"
        raise MaskError(
            "masks",
            f"{source.name!r} has {count} mask{'' if count == 1 else 's'}, but "
            f"the clip uses {wanted.frames} frames. {hint}.",
        )
    for name, size in zip(source.names, source.sizes, strict=True):
        if size == wanted.size:
            continue
        own, clip = ("{}x{}".format(*one) for one in (size, wanted.size))
        hint = "Resize it; if its shape is another, crop or pad it"
        raise MaskError(
            "masks", f"{shorten(name)} is {own}, but the clip is {clip}. {hint}."
        )
    width, height = source.sizes[0]
    looked_at: Iterable[int] = range(count)
    if not source.files:  # of a video
        looked_at = evenly(count, _LOOKED_AT)
    pictures = map(source.picture, looked_at)
    meaning = understand(pictures, wanted.colors, wanted.labels)

    def read(start: int, stop: int) -> LabelFrames:
        window = np.empty((stop - start, height, width), np.uint8)
        for index in range(start, stop):
            _, window[index - start] = meaning(source.picture(index))
        return window

    return wanted.fit(LazyFrames((count, height, width), np.uint8, read))


def write_regions(masks: WholeMasks, path: AnyPath) -> None:
    """Write one folder per label (`1/00000.png` ...), white inside; masks of an earlier
    call are removed."""
    _clear(Path(path))
    for label, mask in masks.items():
        folder = Path(path) / str(label)
        folder.mkdir(exist_ok=True)
        for index, frame in enumerate(mask):
            white_inside = np.where(frame, np.uint8(255), np.uint8(0))
            Image.fromarray(white_inside).save(folder / f"{index:05d}.png")


def read_regions(path: AnyPath, frames: int, size: Size) -> dict[int, Masks]:
    """Read whole masks, by label, from what `write_regions`, `write_labels` or
    `write_rle` wrote.

    Args and errors are those of `read_labels`.
    """
    by_label = open_regions(path, frames, size)
    return {label: np.asarray(masks) for label, masks in by_label.items()}


read_rle = read_regions  # what reads run lengths among others


def open_regions(
    path: AnyPath,
    frames: int,
    size: Size,
    *,
    colors: Colors | None = None,
    beside: Sequence[str] = (),
) -> ByLabel:
    """Open whole masks as `read_regions`, to be read by window; every file is checked
    first.

    `colors` are those of `read_labels`, `beside` are `Clip.names`.
    """
    wanted = _Wanted(frames, size, colors=colors or {}, beside=beside)
    masks = _open(given_path(path, "masks", MaskError), wanted)
    if not isinstance(masks, LazyFrames):
        return masks
    return {label: mask_of(masks, label) for label in sorted(Labels(masks).present)}


def extent_of(path: Path) -> Extent:
    """Return number and (width, height) of masks of any form, those of the first
    label's folder if any.

    Raises:
        MaskError: There are none.
        ClipError: A video cannot be read.
    """
    folders = _folders_by_label(path)
    if _is_json(path):
        return read_data_set(path).extent
    source = _source_of(next(iter(folders.values()), path))
    return len(source.sizes), source.sizes[0]


def names_of(path: Path) -> Mapping[int, str]:
    """Return what masks are called by label, as JSON says; nothing of other files.
    Raises as `extent_of` does."""
    return read_data_set(path).names if _is_json(path) else {}
