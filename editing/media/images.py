"""Folders of images as clips."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageOps

from regrain.editing.boundary import boundary, check_regular
from regrain.editing.errors import ClipError, EditingError, RequestError, shorten
from regrain.editing.media.clip import (
    DEFAULT_FPS,
    AudioSpan,
    ColorTags,
    check_size,
    stack,
    used_frames,
)
from regrain.editing.media.lazy_frames import check_window

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
MAX_PIXELS = 50_000_000  # of a picture
GREY = 128
_ORIENTATION = 0x0112  # EXIF tag; 5 to 8 lie on their side


class ImageClip:
    """A folder of images in the order of their names, numbers by value; see `open_clip`."""

    def __init__(
        self, path: Path, start: int = 0, stride: int = 1, frames: int | None = None
    ) -> None:
        files = in_order(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
        if not files:
            message = f"{shorten(path.name)} has no images. Use files ending in {', '.join(IMAGE_SUFFIXES)}."
            raise ClipError("clip.path", message)
        self.path, self.start, self.stride, self.folder_files = path, start, stride, files
        self.files = [files[number] for number in used_frames(len(files), start, stride, frames)]
        self.name, self.fps = path.name, DEFAULT_FPS / stride
        self.times: tuple[Fraction, ...] | None = None
        self.duration = len(self.files) / self.fps
        self.size = _image_size(self.files[0])
        self.tags, self.warnings = ColorTags(), list[str]()
        self.audio: AudioSpan | None = None
        self.comment = ""
        for file in self.files:
            if (size := _image_size(file)) != self.size:
                own, first = ("{}x{}".format(*one) for one in (size, self.size))
                said = f"{shorten(file.name)} is {own}, but the first image is {first}."
                raise ClipError("clip.path", f"{said} Make all images equal in size.")
        check_size(self.size)

    def __len__(self) -> int:
        return len(self.files)

    def read(self, start: int, stop: int) -> UInt8[np.ndarray, "frames height width 3"]:
        """See `Clip.read`."""
        check_window(start, stop, len(self))
        return stack([_read_image(file) for file in self.files[start:stop]], self.size)


def natural(name: str) -> list[tuple[int, str]]:
    """Make a sort key for names of frames: numbers count by value, `9.png` before `10.png`."""
    # ASCII digits alone: "²" is a digit, but no number.
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if part.isascii() and part.isdigit() else (-1, part) for part in parts]


def in_order(files: Iterable[Path]) -> list[Path]:
    """Files in the natural order of their names."""
    return sorted(files, key=lambda file: natural(file.name))


def _image_size(file: Path) -> tuple[int, int]:
    with _opened(file) as image:
        width, height = image.size
        return (height, width) if image.getexif().get(_ORIENTATION, 1) >= 5 else (width, height)


def _read_image(file: Path) -> UInt8[np.ndarray, "height width 3"]:
    with _opened(file) as image:
        return np.asarray(_in_8_bits(image, file, "clip.path", ClipError).convert("RGB"))


def read_picture(
    file: Path, field: str, note: Callable[[str], object] = lambda _: None
) -> UInt8[np.ndarray, "height width 4"]:
    """Read a picture that shows what something should become: upright, with how opaque it is.

    `note` is told in one line what was left out; `field` is what errors are about.

    Raises:
        RequestError: It is missing, broken or too large.
    """
    with _opened(file, field, RequestError) as image:
        if image.width * image.height > MAX_PIXELS:
            said = f"{shorten(file.name)} has {image.width} x {image.height} pixels"
            raise RequestError(field, f"{said}, more than 50 million. Make it smaller.")
        if getattr(image, "n_frames", 1) > 1:
            note(f"{shorten(file.name)} is animated; its first frame is used.")
        return np.asarray(_in_8_bits(image, file, field, RequestError).convert("RGBA"))


def shown(
    path: Path, side: int, field: str, note: Callable[[str], object] = lambda _: None
) -> UInt8[np.ndarray, "side side 3"]:
    """What a model sees of a picture: the whole of it in a grey square, what is transparent grey, too.

    The other arguments and errors are those of `read_picture`.
    """
    seen = Image.fromarray(read_picture(path, field, note))
    square = Image.new("RGBA", (max(seen.size),) * 2, (GREY, GREY, GREY, 255))
    square.alpha_composite(seen, tuple((max(seen.size) - length) // 2 for length in seen.size))
    return np.asarray(square.convert("RGB").resize((side, side), Image.Resampling.BICUBIC))


def thing(
    path: Path, side: int, field: str
) -> tuple[UInt8[np.ndarray, "side side 3"], Float32[np.ndarray, "side side"]]:
    """What a picture shows, without what is transparent around it, as a square; and how opaque that is.

    Transparent places have the mean of the others. Of a picture without any opaque one all is shown. Errors
    are those of `read_picture`.
    """
    seen = Image.fromarray(read_picture(path, field))
    box = seen.getchannel("A").getbbox()
    if box is None:
        seen.putalpha(255)
    square = np.asarray(seen.crop(box).resize((side, side), Image.Resampling.BICUBIC), np.float32)
    opaque = square[..., 3] / 255
    mean = np.average(square[..., :3].reshape(-1, 3), axis=0, weights=opaque.ravel() + 1e-6)
    mixed = square[..., :3] * opaque[..., None] + mean * (1 - opaque[..., None])
    return mixed.round().astype(np.uint8), opaque


def _in_8_bits(image: Image.Image, file: Path, field: str, kind: type[EditingError]) -> Image.Image:
    """The image, upright."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):  # Pillow would cut all above 255
        return Image.fromarray((np.asarray(upright) // 257).astype(np.uint8))
    if upright.mode in ("I", "F"):
        raise kind(field, f"{shorten(file.name)} has neither 8 nor 16 bits a channel. Convert it.")
    return upright.convert("RGB") if upright.mode == "CMYK" else upright


@contextmanager
def _opened(
    file: Path, field: str = "clip.path", kind: type[EditingError] = ClipError
) -> Iterator[Image.Image]:
    """Open an image; whatever fails while it is used is said of this file."""
    check_regular(file, field, kind)
    said = f"{shorten(file.name)} is not a readable image. Replace it."
    with boundary(field, said, kind), Image.open(file) as image:
        yield image
