"""The second opinion on tracked masks: right ones are believed, those that went wrong
are not."""

from fractions import Fraction

import numpy as np
import pytest

from regrain.editing.media.clip import ArrayClip
from regrain.masks.track.consistency import MaskConsistency
from regrain.masks.track.propagate import propagate
from regrain.masks.track.uncertainty import DOUBTFUL, LOST

RNG = np.random.default_rng(0)
HEIGHT, WIDTH, FRAMES, STEP = 96, 128, 10, 3


@pytest.fixture(scope="module")
def scene():
    """A textured square over a texture, and where it is."""
    ground, thing = (
        RNG.integers(low, high, (*shape, 3), np.uint8).repeat(4, 0).repeat(4, 1)
        for low, high, shape in ((60, 140, (24, 32)), (120, 250, (8, 8)))
    )
    frames = np.stack([ground] * FRAMES)
    truth = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    for t in range(FRAMES):
        place = np.s_[t, 32:64, 10 + STEP * t : 42 + STEP * t]
        frames[place], truth[place] = thing, 1
    return frames, truth


def opinions(frames, labels):
    see = MaskConsistency().see
    known = [frozenset([1])] + [frozenset()] * (FRAMES - 1)
    return [see(*given)[1] for given in zip(frames, labels, known, strict=True)]


def test_masks_that_move_with_the_thing_are_believed(scene):
    assert min(opinions(*scene)) > 0.8


def test_masks_that_stay_behind_or_leak_are_doubted(scene):
    frames, truth = scene
    behind = np.stack([truth[0]] * FRAMES)
    assert max(opinions(frames, behind)[6:]) < DOUBTFUL
    leaking = truth.copy()
    leaking[5:, 20:90, 20:120] = 1
    said = opinions(frames, leaking)
    assert min(said[:5]) > 0.8
    assert max(said[5:]) < DOUBTFUL


@pytest.mark.parametrize(
    ("place", "is_left"),
    [
        (np.s_[20:90, 5:70], True),  # swollen
        (np.s_[32:64, 70:102], False),  # jumped
        (np.s_[32:64, 80:112], True),  # split
    ],
)
def test_a_mask_that_swelled_jumped_or_split_is_doubted_until_it_comes_back(
    scene, place, is_left
):
    """Its colours and its motion say nothing: in a world of one colour nothing seems to
    move."""
    _, truth = scene
    grey = np.full((FRAMES, HEIGHT, WIDTH, 3), 120, np.uint8)
    wrong = np.stack([truth[0]] * FRAMES)
    wrong[4:8] *= is_left
    wrong[4:8, *place] = 1
    said = opinions(grey, wrong)
    assert min(said[:4] + said[8:]) > 0.8
    assert max(said[4:8]) < DOUBTFUL


def test_doubt_is_not_loss(scene):
    frames, truth = scene
    inverted = truth.copy()
    inverted[5:] = 1 - truth[5:]
    assert min(opinions(frames, inverted)) > LOST


def test_the_tracker_listens_to_it(scene):
    frames, truth = scene
    cut = frames.copy()
    # the thing is gone, and everything is noise
    cut[5:] = RNG.integers(0, 90, cut[5:].shape)
    steps = propagate(ArrayClip(cut, Fraction(8)), {0: truth[0]})
    kept = {t: sure.regions[1] for t, _, sure in steps}
    assert kept[4] > 0.8
    assert max(kept[t] for t in range(5, FRAMES)) < DOUBTFUL
