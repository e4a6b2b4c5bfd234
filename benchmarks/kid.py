"""Distance of two sets of pictures as an eye would judge it: the kernel inception distance
(Binkowski et al. 2018, arXiv:1801.01401), by the built-in reader's features.

An error against the true edit rewards blur, and sharpness rewards noise. This compares
how crops of edited regions look as a whole with how crops of true edits look.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from jaxtyping import Float64, UInt8
from transformers import CLIPImageProcessor, CLIPVisionModel

from benchmarks.judge import JUDGED
from benchmarks.tasks import Task
from storybook.training.reader import SIDE, TARGET, box_of, cut

Features = Float64[np.ndarray, "crops features"]


def kid(a: Features, b: Features) -> float | None:
    """Return the squared maximum mean discrepancy of two sets, by the cubic kernel of the
    paper and its unbiased estimate, which may be below 0; None for fewer than two of
    either."""
    if min(len(a), len(b)) < 2:
        return None
    return _among(a) + _among(b) - 2 * float(_kernel(a, b).mean())


def _kernel(a: Features, b: Features) -> np.ndarray:
    return (a @ b.T / a.shape[1] + 1) ** 3


def _among(a: Features) -> float:
    """Return the mean kernel of the pairs of different members."""
    pairs = _kernel(a, a)
    count = len(a)
    return float(pairs.sum() - np.trace(pairs)) / (count * (count - 1))


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
