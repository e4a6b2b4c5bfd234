"""Things found by words: the text half of a published SAM 3; see
`masks.models.checkpoints`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from regrain.editing.errors import ModelError
from regrain.editing.media.clip import Clip
from regrain.editing.media.lazy_frames import Rgb
from regrain.editing.recipe.events import Progress
from regrain.masks.draw import iou
from regrain.masks.models.checkpoints import Checkpoint, find, load
from regrain.masks.models.finders import CUTS
from regrain.masks.track.propagate import propagate

LEAST = 0.5  # score from which something counts as found
_SAME = 0.6  # IoU from which two answers are one thing
MOST = 8  # things in a clip


class Instance(NamedTuple):
    """A thing that words found: bool [height, width], 0 (no) to 1 (sure), and the
    words."""

    mask: np.ndarray
    score: float
    words: str


class FoundThings(NamedTuple):
    """Things in a clip, as `editing.methods.feature_clusters.Clusters` has them.

    Attributes:
        labels: uint8 [frames, height, width]; i + 1 is `names[i]`, 0 is nothing.
        names: The words that found each.
        fit: 2 x the score of each: above 1 where it was found.
    """

    labels: np.ndarray
    names: tuple[str, ...]
    fit: tuple[float, ...]


def instances(
    image: Rgb,
    words: Sequence[str],
    checkpoint: Checkpoint,
    least: float = LEAST,
) -> list[Instance]:
    """Find every thing that the words name, the surest first; each once, with the words
    that fit it best.

    `image` is RGB, `words` are short names of things, such as "dog" or "red car"; what
    has the score `least`, 0..1, counts as found.

    Raises:
        ModelError: The checkpoint takes no words, or is broken.
    """
    import torch

    model, processor = load(checkpoint, "words")
    size = image.shape[:2]
    inputs = processor.image_processor(images=image, return_tensors="pt")
    found: list[Instance] = []
    with torch.inference_mode():
        features = model.get_vision_features(
            pixel_values=inputs["pixel_values"].to(model.device)
        )
        for text in words:
            inputs = processor(text=text, return_tensors="pt").to(model.device)
            answer = model(vision_embeds=features, **inputs)
            of_pictures = processor.post_process_instance_segmentation(
                answer, threshold=least, target_sizes=[size]
            )
            scores = of_pictures[0]["scores"].tolist()
            masks = of_pictures[0]["masks"].cpu().numpy() > 0
            for mask, score in zip(masks, scores, strict=True):
                found.append(Instance(mask, score, text))
    # each thing once, with the answer that is surest
    once: list[Instance] = []
    for one in sorted(found, key=lambda one: -one.score):
        known = any(iou(one.mask, other.mask) >= _SAME for other in once)
        if one.mask.any() and not known:
            once.append(one)
    return once


def find_by_words(
    clip: Clip, words: Sequence[str], finder: str, tracker: str = CUTS
) -> Iterator[Progress | FoundThings]:
    """Find things on the middle frame of a clip and follow them; what was found comes
    last.

    `words` are as for `instances`, `tracker` as for `masks.propagate`; `finder` names a
    checkpoint that takes words.

    Raises:
        ModelError: The finder is unknown, takes no words, or is broken; the tracker is.
    """
    checkpoint = find(finder)
    if checkpoint is None:
        raise ModelError("finder", f"{finder[:60]!r} was not found. Choose another.")
    yield Progress("finding", 0, len(clip), None)
    width, height = clip.size
    middle = len(clip) // 2
    image = clip.read(middle, middle + 1)[0]
    things = instances(image, words, checkpoint)[:MOST]
    labels = np.zeros((len(clip), height, width), np.uint8)
    if things:
        # The surest covers the others.
        masks = {label: thing.mask for label, thing in enumerate(things, 1)}
        followed = propagate(clip, {middle: masks}, tracker=tracker)
        for done, (frame, seen, _) in enumerate(followed, 1):
            labels[frame] = seen
            yield Progress("finding", done, len(clip), None)
    yield FoundThings(
        labels=labels,
        names=tuple(thing.words for thing in things),
        fit=tuple(2 * thing.score for thing in things),
    )
