"""The figures of crispness tell a clean edit from a blurred one and from one that kept
the old outline."""

import cv2
import numpy as np
import pytest

from benchmarks.outlines import crispness
from benchmarks.tasks import instance, true_masks, with_margin
from storybook import render

pytestmark = pytest.mark.full

SIZE = 128


def figures(task, frames):
    (sharp,), outlines, (ghost,) = crispness(task, frames).values()
    return sharp, np.mean(outlines), ghost


def test_blur_costs_sharpness_moving_nothing_and_the_source_has_its_old_outline():
    task = instance(30_000, SIZE, true_masks(6))
    truth, source = (render(scene, SIZE).frames for scene in (task.truth, task.source))
    sharp, true_outlines, ghost = figures(task, truth)
    assert (sharp, ghost) == (1, 1)
    assert true_outlines > 0.9
    sharp, outlines, _ = figures(
        task, np.stack([cv2.GaussianBlur(frame, (0, 0), 1.5) for frame in truth])
    )
    assert sharp < 0.7
    assert outlines < true_outlines - 0.05
    assert figures(task, np.roll(truth, 3, 2))[1] > 0.85
    _, outlines, ghost = figures(task, source)
    assert ghost > 1.5
    assert outlines < 0.75


def test_a_margin_lets_an_edit_reach_farther():
    exact = instance(30_000, SIZE, true_masks(0))
    wider = with_margin(exact, 6)
    assert wider.request.edited_mask.sum() > 1.1 * exact.request.edited_mask.sum()
    for before, after in zip(exact.targets, wider.targets, strict=True):
        assert after.place.sum() > before.place.sum()
