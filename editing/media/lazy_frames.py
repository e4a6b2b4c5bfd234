"""Frames that are read one window at a time, and results that are kept on disk."""

from __future__ import annotations

import operator
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from math import prod
from threading import Lock
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, UInt8
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import DTypeLike

from regrain.editing.errors import ResourceError

WINDOW = 4  # frames that are read at a time
_HELD = 2**23  # pixels of frames that are held together

Size = tuple[int, int]
"""(width, height) in pixels."""
Shape = tuple[int, int]
"""(height, width), as of an array."""
Extent = tuple[int, Size]
"""Number of frames, and their size."""
Numbers = tuple[int, ...]
"""Whole numbers, such as those of frames."""
Texts = tuple[str, ...]
"""Texts in their order."""
Rgb = UInt8[np.ndarray, "height width 3"]
RgbPair = tuple[Rgb, Rgb]
Rgba = UInt8[np.ndarray, "height width 4"]
RgbFrames = UInt8[np.ndarray, "frames height width 3"]
Grey = UInt8[np.ndarray, "height width"]
"""Grey levels, opacities or labels of a picture."""
LabelFrames = UInt8[np.ndarray, "frames height width"]
Mask = Bool[np.ndarray, "height width"]
Masks = Bool[np.ndarray, "frames height width"]
Read = Callable[[int, int], np.ndarray]
"""Returns frames start to stop - 1."""


@runtime_checkable
class FrameSource(Protocol):
    """A source of frames or labels, such as a clip; `size` is (width, height) in
    pixels."""

    size: Size

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read frames start to stop - 1: [frames, height, width], or [..., 3] if they
        are in colour."""
        ...


class LazyFrames(NDArrayOperatorsMixin):
    """Frames that look like an array but are read when they are needed.

    Indexing a frame or a slice of frames reads only those. Any other index, arithmetic,
    and other methods of an array read all frames into one array. Read-only.

    Args:
        shape: (frames, height, width), with a last 3 if they are in colour.
        dtype: Type of the elements.
        read: Returns frames start to stop - 1 as an array.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        read: Read,
    ) -> None:
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        self._read = read

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements, as of any array."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read frames start to stop - 1; IndexError unless 0 <= start <= stop <=
        len."""
        check_window(start, stop, len(self))
        return self._read(start, stop)

    def changed(
        self,
        change: Callable[[np.ndarray], np.ndarray],
        dtype: DTypeLike,
        *channels: int,
    ) -> LazyFrames:
        """Return these frames as a function of some of them makes them, as large, when
        they are read; `channels` are those of a pixel, if it has several."""

        def read(start: int, stop: int) -> np.ndarray:
            return change(self.read(start, stop))

        return LazyFrames((*self.shape[:3], *channels), dtype, read)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.read(index, index + 1)[0] for index in range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        parts: tuple[Any, ...] = key if isinstance(key, tuple) and key else (key,)
        first, *rest = parts
        plain = _is_plain(first) and all(_is_plain(part) for part in rest)
        if not plain or first is None or first is ...:
            return np.asarray(self)[key]
        if isinstance(first, slice):
            some = read_some(self.read, range(len(self))[first])
            return some[(slice(None), *rest)]
        index = range(len(self))[operator.index(first)]
        return self.read(index, index + 1)[(0, *rest)]

    def __setitem__(self, key: object, value: object) -> None:
        raise ValueError("assignment destination is read-only")

    def __array__(
        self, dtype: DTypeLike | None = None, copy: bool | None = None
    ) -> np.ndarray:
        return np.array(self.read(0, len(self)), dtype=dtype, copy=copy)

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: object, **kwargs: Any
    ) -> object:
        arrays = [
            np.asarray(value) if isinstance(value, LazyFrames) else value
            for value in inputs
        ]
        return getattr(ufunc, method)(*arrays, **kwargs)

    def __getattr__(self, name: str) -> Any:
        # NumPy would take the address of an array that is gone again from special
        # attributes.
        if name.startswith("_") or not hasattr(np.ndarray, name):
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}"
            )
        return getattr(np.asarray(self), name)


LazyRgb = UInt8[LazyFrames, "frames height width 3"]
LazyLabels = UInt8[LazyFrames, "frames height width"]
LazyMasks = Bool[LazyFrames, "frames height width"]
Frames = UInt8[np.ndarray | LazyFrames, "frames height width 3"]
"""RGB frames, as an array or read by window."""
AnyLabels = UInt8[np.ndarray | LazyFrames, "frames height width"]
"""Labels, opacities or a matte, as an array or read by window."""


class DiskFrames(LazyFrames):
    """RGB frames of so many pixels in a temporary file, which is deleted with this
    object.

    The file is made in `$TMPDIR`, or in Python's default folder for temporary files. It
    is read, not mapped: mapped pages would count as memory of this process.

    Raises:
        ResourceError: A temporary file cannot be made.
    """

    def __init__(self, height: int, width: int) -> None:
        self.shape = (0, height, width, 3)
        self.dtype = np.dtype(np.uint8)
        self._bytes = height * width * 3  # of a frame
        self._lock = Lock()
        with _disk():
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        weakref.finalize(self, self._file.close)

    def append(self, frames: RgbFrames) -> None:
        """Append frames of this size; ResourceError if the disk is full."""
        count, *frame = self.shape
        data = np.ascontiguousarray(frames).reshape(-1).data
        with self._lock, _disk():
            self._file.seek(count * self._bytes)
            while data:
                data = data[self._file.write(data) :]
        self.shape = (count + len(frames), *frame)

    def _read(self, start: int, stop: int) -> np.ndarray:
        frames = np.empty((stop - start, *self.shape[1:]), np.uint8)
        data = frames.reshape(-1).data
        with self._lock:
            self._file.seek(start * self._bytes)
            while data and (count := self._file.readinto(data)):
                data = data[count:]
        if data:
            raise EOFError("a temporary file is shorter than what was written to it")
        return frames


def check_window(start: int, stop: int, length: int) -> None:
    """Check that frames start to stop - 1 are in a clip of `length` frames; IndexError
    if they are not."""
    if not 0 <= start <= stop <= length:
        raise IndexError(f"frames {start} to {stop} of a clip of {length}")


def windows(count: int, size: int = WINDOW) -> Iterator[tuple[int, int]]:
    """Split `count` frames into windows of at most `size`: (start, stop) of each, in
    order."""
    for start in range(0, count, size):
        yield start, min(start + size, count)


def evenly(count: int, most: int) -> Numbers:
    """Choose frames of `count`: all or, of more, `most` that are evenly spread, ends
    included."""
    places = np.linspace(0, count - 1, min(count, most))
    return tuple(places.round().astype(int).tolist())


def few(frames: int, shape: Sequence[int]) -> int:
    """Return how many of these frames, [..., height, width], may be held together: fewer
    of large ones, at least 1."""
    return max(1, min(frames, _HELD // prod(shape[-2:])))


def read_some(read: Read, numbers: Sequence[int]) -> np.ndarray:
    """Read frames by their numbers, neighbours at once."""
    if not numbers:
        return read(0, 0)
    breaks = [i for i in range(1, len(numbers)) if numbers[i] != numbers[i - 1] + 1]
    runs = pairwise([0, *breaks, len(numbers)])
    found = [read(numbers[start], numbers[stop - 1] + 1) for start, stop in runs]
    return np.concatenate(found) if breaks else found[0]


def frames_of(clip: FrameSource) -> LazyRgb:
    """Return the frames of a clip as `LazyFrames`, read when they are needed."""
    width, height = clip.size
    return LazyFrames((len(clip), height, width, 3), np.uint8, clip.read)


@contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ResourceError(
            "TMPDIR",
            f"Temporary files cannot be written ({error.strerror or error}). Free "
            "some space, or set TMPDIR to another folder.",
        ) from error


def _is_plain(part: object) -> bool:
    """Tell whether a part of an index concerns one axis alone, so that the first can be
    indexed before it."""
    if part is None or part is ... or isinstance(part, slice):
        return True
    return isinstance(part, int | np.integer) and not isinstance(part, bool)
