"""Distance of two sets of pictures as an eye would judge it: the kernel inception distance
(Binkowski et al. 2018, arXiv:1801.01401), by the built-in reader's features.

An error against the true edit rewards blur, and sharpness rewards noise. This compares
how crops of edited regions look as a whole with how crops of true edits look.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from jaxtyping import Float64, UInt8
from transformers import CLIPImageProcessor, CLIPVisionModel

from benchmarks.judge import JUDGED
from benchmarks.tasks import Task
from storybook.training.reader import SIDE, TARGET, box_of, cut

Features = Float64[np.ndarray, "crops features"]


def kid(a: Sequence[Features], b: Sequence[Features]) -> float | None:
    """Return the squared maximum mean discrepancy of two sets by the cubic kernel of the
    paper; None for fewer than two scenes.

    The sets are of the same scenes. So its unbiased estimate is that for pairs (Gretton et
    al. 2012, JMLR 13, lemma 6), here over crops of different scenes; it may be below 0,
    and of equal sets is 0.

    Args:
        a: Features of each scene.
        b: As many of each scene.
    """
    scenes = np.repeat(np.arange(len(a)), [len(crops) for crops in a])
    apart = scenes[:, None] != scenes
    if not apart.any():
        return None
    x = np.concatenate(a)
    y = np.concatenate(b)
    each = _kernel(x, x) + _kernel(y, y) - 2 * _kernel(x, y)
    return float(each[apart].mean())


def _kernel(x: Features, y: Features) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3


def features(frames: UInt8[np.ndarray, "frames h w 3"], task: Task) -> Features:
    """Return what the reader sees of each target of a task, in the frames that are
    judged."""
    crops = []
    for target in task.targets:
        for number in JUDGED:
            if target.place[number].any():
                box = box_of(target.place[number])
                crops.append(cut(frames[number], box, SIDE))
    network, pictures = _reader()
    if not crops:
        return np.empty((0, network.config.hidden_size))
    shown = pictures(crops, return_tensors="pt", input_data_format="channels_last")
    with torch.no_grad():
        return network(**shown).pooler_output.double().numpy()


@cache
def _reader() -> tuple[CLIPVisionModel, CLIPImageProcessor]:
    """Return the part of the built-in reader that sees, and what makes tensors for it."""
    network = CLIPVisionModel.from_pretrained(TARGET, dtype=torch.float32)
    return network.eval(), CLIPImageProcessor.from_pretrained(TARGET)
