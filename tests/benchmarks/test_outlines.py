"""The figures of crispness tell a clean edit from a blurred one and from one that kept the old outline."""

import cv2
import numpy as np
import pytest

from benchmarks.outlines import crispness
from benchmarks.tasks import instance, true_masks, with_margin
from storybook import render

SIZE = 128


@pytest.fixture(scope="module")
def task():
    return instance(30_000, SIZE, true_masks(6))


def figures(task, frames):
    (sharp,), outlines, (ghost,) = crispness(task, frames).values()
    return sharp, np.mean(outlines), ghost


def test_the_true_edit_is_right(task):
    sharp, outlines, ghost = figures(task, render(task.truth, SIZE).frames)
    assert (sharp, ghost) == (1, 1)
    assert outlines > 0.9


def test_blur_costs_sharpness_and_outlines(task):
    truth = render(task.truth, SIZE).frames
    blurred = np.stack([cv2.GaussianBlur(frame, (0, 0), 1.5) for frame in truth])
    sharp, outlines, _ = figures(task, blurred)
    assert sharp < 0.7
    assert outlines < figures(task, truth)[1] - 0.05


def test_a_moved_edit_keeps_its_outlines(task):
    truth = render(task.truth, SIZE).frames
    assert figures(task, np.roll(truth, 3, 2))[1] > 0.85


def test_the_source_keeps_its_old_outline(task):
    _, outlines, ghost = figures(task, render(task.source, SIZE).frames)
    assert ghost > 1.5
    assert outlines < 0.75


def test_a_margin_lets_an_edit_reach_farther(task):
    exact = instance(30_000, SIZE, true_masks(0))
    wider = with_margin(exact, 6)
    assert wider.request.edited_mask.sum() > 1.1 * exact.request.edited_mask.sum()
    for before, after in zip(exact.targets, wider.targets, strict=True):
        assert after.place.sum() > before.place.sum()
