"""Frames that a SAM has encoded, so that clicks on them take milliseconds; the last
ones are kept."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Generic, NamedTuple, TypeVar

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from regrain.editing.media.lazy_frames import Mask, Rgb, Shape
from regrain.masks.draw import BrushStroke

T = TypeVar("T")
PRIOR = 8.0  # logit by which an earlier mask is handed to SAM
WHOLE = 0
_KEPT_BYTES = 400 * 2**20
# Predicted quality by which a larger mask may fall behind and still be the whole thing.
_CLOSE = 0.12
# Predicted quality from which the mask of a click is trusted; see `benchmarks/README.md`.
TRUSTED = 0.65
Points = Float[np.ndarray, "points 2"]
Marks = Int[np.ndarray, " points"]
Box = Float[np.ndarray, "4"]
Doubt = Callable[[], object]
"""What is called where the mask of a first click is not to be trusted."""


def trusting() -> None:
    """Doubt nothing."""


class Prompts(NamedTuple):
    """Prompts that mark a thing.

    Attributes:
        points: Clicks, (x, y) in pixels, in their order.
        labels: 1 for those inside, 0 for those outside.
        box: x0, y0, x1, y1 in pixels.
        previous: Mask to correct.
        strokes: Lines inside or, erasing, outside.
    """

    points: Points
    labels: Marks
    box: Box | None
    previous: Mask | None
    strokes: Sequence[BrushStroke]

    @property
    def is_first(self) -> bool:
        """True if they begin a mask: one point on the object and nothing else."""
        is_alone = len(self.points) == 1 and self.box is None and self.previous is None
        return is_alone and bool(self.labels[0] == 1)


@dataclass(frozen=True, eq=False)
class Embedded:
    """A frame that SAM has encoded, so that clicks on it take milliseconds.

    Attributes:
        image: uint8 [height, width, 3], RGB.
        model: Which SAM; see `segment`.
        features: Output of the encoder: a tensor, or a list of tensors.
        input_size: (height, width) of the frame as the encoder saw it.
    """

    image: np.ndarray
    model: str
    features: Any
    input_size: Shape


class KeptFrames(Generic[T]):
    """The last frames of which something was found, by pixels: as many as fit into
    `limit`, but at least one. Each counts by its `size`, 1 by default."""

    def __init__(self, limit: int, size: Callable[[T], int]) -> None:
        self._limit = limit
        self._size = size
        self._lock = Lock()
        self._found: OrderedDict[tuple, T] = OrderedDict()
        self._turns: dict[tuple, Lock] = {}

    def get(self, image: Rgb, other: object, find: Callable[[], T]) -> T:
        """Return what was found of a frame before, or call `find`; it depends on the
        pixels and on something `other`, such as a model.

        A second click on a frame that is being encoded waits for those features,
        instead of encoding it too.
        """
        digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
        key = (other, image.shape, digest)
        with self._lock:
            turn = self._turns.setdefault(key, Lock())
        with turn:
            with self._lock:
                if key in self._found:
                    self._found.move_to_end(key)
                    return self._found[key]
            found = find()
            with self._lock:
                self._found[key] = found
                self._turns.pop(key, None)
                kept = sum(map(self._size, self._found.values()))
                while len(self._found) > 1 and kept > self._limit:
                    _, dropped = self._found.popitem(last=False)
                    kept -= self._size(dropped)
        return found


def encoded_frames(limit: int = _KEPT_BYTES) -> KeptFrames[Embedded]:
    """Make room for encoded frames of so many bytes, pictures and features."""

    def size(frame: Embedded) -> int:
        features = frame.features
        tensors = features if isinstance(features, list) else [features]
        return frame.image.nbytes + sum(
            tensor.nbytes for tensor in tensors if tensor is not None
        )

    return KeptFrames(limit, size)


def as_logits(mask: np.ndarray, grid: Shape) -> Float32[np.ndarray, "1 height width"]:
    """Turn a mask into what SAM takes for an earlier answer, on its grid."""
    inside = cv2.resize(
        mask.astype(np.float32), grid[::-1], interpolation=cv2.INTER_AREA
    )
    return np.where(inside > 0.5, PRIOR, -PRIOR).astype(np.float32)[None]


def choose(
    masks: Bool[np.ndarray, "masks height width"],
    quality: Float[np.ndarray, " masks"],
    index: int | None,
) -> int:
    """Return the number of one of some masks that come in any order, by their predicted
    quality, 0..1, or by size.

    `index` is 0 for the largest, 1 for the next; None is the largest of those nearly as
    good as the best.
    """
    by_size = np.argsort(-masks.sum((1, 2)), kind="stable")
    if index is None:
        quality = quality[by_size]
        index = int(np.argmax(quality >= quality.max() - _CLOSE))
    return int(by_size[index])
