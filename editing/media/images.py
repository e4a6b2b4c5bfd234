"""Folders of images as clips."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageOps

from regrain.editing.boundary import boundary, check_regular
from regrain.editing.errors import ClipError, EditingError, RequestError, shorten
from regrain.editing.media.clip import (
    DEFAULT_FPS,
    Clip,
    check_size,
    stack,
    used_frames,
)
from regrain.editing.media.lazy_frames import Rgba, RgbFrames, Size, check_window
from regrain.editing.media.numbering import misnumbered, natural_of
from regrain.editing.storage.folders import visible

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
# Of frames, where a folder has none of the usual ones.
_RARE_SUFFIXES = (".jfif", ".gif", ".avif", ".tga", ".ppm", ".pgm", ".pnm", ".jp2")
FRAME_SUFFIXES = (*IMAGE_SUFFIXES, *_RARE_SUFFIXES)
"""Endings of all pictures that can be frames."""

Square = UInt8[np.ndarray, "side side 3"]
"""A square picture."""

MAX_PIXELS = 50_000_000  # of a picture
GREY, WHITE = 128, 255
TRANSPARENT = (
    "is partly transparent, which is left out. Lay it over a background if that shows."
)
_ORIENTATION = 0x0112  # EXIF tag; 5 to 8 lie on their side


class ImageClip(Clip):
    """A folder of images in the order of their names, numbers by value; see
    `open_clip`."""

    def __init__(
        self, path: Path, start: int = 0, stride: int = 1, frames: int | None = None
    ) -> None:
        files = pictures_in(path) or pictures_in(path, _RARE_SUFFIXES)
        if not files:
            said = f"{shorten(path.name)} has no images."
            others = [
                file.suffix for file in visible(path) if file.is_file() and file.suffix
            ]
            if others:
                commonest = max(others, key=others.count)
                said = f"{said[:-1]} that are read, but files ending in {shorten(commonest)}."
            raise ClipError("clip.path", f"{said} Use {', '.join(IMAGE_SUFFIXES)}.")
        used = used_frames(len(files), start, stride, frames)
        self.path = path
        self.start = start
        self.stride = stride
        self.folder_files = files
        self.files = [files[number] for number in used]
        self.name = path.name
        self.size = _common_size(self.files)
        check_size(self.size)
        self.fps = DEFAULT_FPS / stride
        self.duration = len(self.files) / self.fps
        self.names = tuple(file.name for file in self.files)
        self.warnings = _warnings(self.files)
        wrong = misnumbered([file.name for file in files[used[0] : used[-1] + 1]])
        if wrong:
            self.warnings.append(f"{wrong}. All of them are frames, in order.")

    def __len__(self) -> int:
        return len(self.files)

    def read(self, start: int, stop: int) -> RgbFrames:
        """See `Clip.read`."""
        check_window(start, stop, len(self))
        frames = []
        for file in self.files[start:stop]:
            with opened(file) as image:
                upright = _in_8_bits(image, file, "clip.path", ClipError)
                frames.append(np.asarray(upright.convert("RGB")))
        return stack(frames, self.size)


def pictures_in(folder: Path, suffixes: Collection[str] = IMAGE_SUFFIXES) -> list[Path]:
    """Return the pictures in a folder that are not hidden, in order."""
    files = [file for file in visible(folder) if file.suffix.lower() in suffixes]
    key = natural_of([file.name for file in files])
    return sorted(files, key=lambda file: key(file.name))


def _warnings(files: Sequence[Path]) -> list[str]:
    """Say what of the first picture, as of the others, is left out."""
    warnings = []
    with opened(files[0]) as image:
        name = shorten(files[0].name)
        # a second picture of an MPO file, as phones write, is a preview or the depth
        pictures = count_pictures(image)
        if pictures > 1 and image.format != "MPO":
            warnings.append(
                f"{name} has {pictures} pictures; the first of each file is used."
            )
        is_clear = image.has_transparency_data
        if is_clear and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
            warnings.append(f"{name} {TRANSPARENT}")
    return warnings


def _common_size(files: Sequence[Path]) -> Size:
    """Return the (width, height), as shown, of all these images; ClipError if they
    differ."""
    sizes = []
    for file in files:
        with opened(file) as image:
            _check_bits(image, file, "clip.path", ClipError)
            size = upright_size(image)
        sizes.append(size)
        if size != sizes[0]:
            own = "{}x{}".format(*size)
            wanted = "{}x{}".format(*sizes[0])
            raise ClipError(
                "clip.path",
                f"{shorten(file.name)} is {own}, but the first image is {wanted}. "
                "Make all images equal in size.",
            )
    return sizes[0]


def count_pictures(image: Image.Image) -> int:
    """Count the pictures in an open file; most forms have one."""
    return getattr(image, "n_frames", 1)


def upright_size(image: Image.Image) -> Size:
    """Return (width, height) of an open image as shown, from its header."""
    width, height = image.size
    lies_on_side = image.getexif().get(_ORIENTATION, 1) >= 5
    return (height, width) if lies_on_side else (width, height)


def read_picture(
    file: Path, field: str, note: Callable[[str], object] = lambda _: None
) -> Rgba:
    """Read a picture of what something should become: RGB and opacity, upright.

    Args:
        file: The picture.
        field: The field of errors.
        note: Is called with a line about what was left out.

    Raises:
        RequestError: It is missing, broken or too large.
    """
    with opened(file, field, RequestError) as image:
        if image.width * image.height > MAX_PIXELS:
            raise RequestError(
                field,
                f"{shorten(file.name)} has {image.width} x {image.height} pixels, "
                "more than 50 million. Make it smaller.",
            )
        if count_pictures(image) > 1:
            note(f"{shorten(file.name)} is animated; its first frame is used.")
        upright = _in_8_bits(image, file, field, RequestError)
        return np.asarray(upright.convert("RGBA"))


def shown(
    path: Path,
    side: int,
    field: str,
    note: Callable[[str], object] = lambda _: None,
    ground: int = GREY,
) -> Square:
    """Return a picture as models see it: all of it in a grey square, and grey where it
    is transparent; or of another `ground`.

    The other arguments and errors are those of `read_picture`.
    """
    picture = Image.fromarray(read_picture(path, field, note))
    length = max(picture.size)
    corner = (length - picture.width) // 2, (length - picture.height) // 2
    square = Image.new("RGBA", (length, length), (ground, ground, ground, 255))
    square.alpha_composite(picture, corner)
    small = square.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(small)


def thing(
    path: Path, side: int, field: str
) -> tuple[Square, Float32[np.ndarray, "side side"]]:
    """Return the thing in a picture, cut out and scaled to a square; and its opacity,
    0..1.

    Transparent places get the mean colour of the others. A picture that is transparent
    everywhere counts as opaque. Errors are those of `read_picture`.
    """
    picture = Image.fromarray(read_picture(path, field))
    box = picture.getchannel("A").getbbox()
    if box is None:
        picture.putalpha(255)
    square = picture.crop(box).resize((side, side), Image.Resampling.BICUBIC)
    values = np.asarray(square, np.float32)
    colors = values[..., :3]
    opaque = values[..., 3] / 255
    mean = np.average(colors.reshape(-1, 3), axis=0, weights=opaque.ravel() + 1e-6)
    mixed = colors * opaque[..., None] + mean * (1 - opaque[..., None])
    return mixed.round().astype(np.uint8), opaque


def _in_8_bits(
    image: Image.Image, file: Path, field: str, kind: type[EditingError]
) -> Image.Image:
    """Return an image upright and with 8 bits a channel."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):  # Pillow would cut all above 255
        return Image.fromarray((np.asarray(upright) // 257).astype(np.uint8))
    _check_bits(upright, file, field, kind)
    return upright.convert("RGB") if upright.mode == "CMYK" else upright


def _check_bits(
    image: Image.Image, file: Path, field: str, kind: type[EditingError]
) -> None:
    """Refuse an image of real numbers, or of whole ones of 32 bits."""
    if image.mode in ("I", "F"):
        raise kind(
            field,
            f"{shorten(file.name)} has neither 8 nor 16 bits a channel. Convert it.",
        )


@contextmanager
def opened(
    file: Path, field: str = "clip.path", kind: type[EditingError] = ClipError
) -> Iterator[Image.Image]:
    """Open an image; any failure while it is used becomes an error about this file."""
    check_regular(file, field, kind)
    with (
        boundary(
            field,
            f"{shorten(file.name)} is not a readable image. Replace or convert it.",
            kind,
        ),
        Image.open(file) as image,
    ):
        yield image
