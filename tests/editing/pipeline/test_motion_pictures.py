"""Pictures of motion: colours on one scale with their wheel, hatching where nothing corresponds."""

import cv2
import numpy as np
import pytest
import torch
from torchvision.utils import flow_to_image

from regrain.editing.pipeline import motion_pictures as room
from regrain.editing.pipeline.motion_pictures import hatched, motion_pictures


def textured(seed, height=160, width=200):
    coarse = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def moved(frame, dx):
    return np.roll(frame, dx, axis=1)


def test_a_pan_has_the_colour_that_the_wheel_has_on_that_side():
    frame = textured(1)
    drawn = motion_pictures(frame, moved(frame, 6), method="dis")
    assert drawn.flow.shape == frame.shape
    assert drawn.reach == pytest.approx(6, abs=1)
    side = drawn.wheel.shape[0]
    assert drawn.wheel.shape == (side, side, 3)
    right, left = (
        drawn.wheel[side // 2, round(side * 0.97)],
        drawn.wheel[side // 2, round(side * 0.03)],
    )
    middle = np.median(drawn.flow[40:120, 40:160].reshape(-1, 3), axis=0)
    assert np.abs(middle - right).max() < 40
    assert np.abs(middle - left).max() > 100


def test_distances_are_told_in_pixels_of_the_frames_as_given():
    frame = textured(2, 320, 400)
    drawn = motion_pictures(frame, moved(frame, 12), side=200, method="dis")
    assert max(drawn.flow.shape) == 200
    assert drawn.reach == pytest.approx(12, abs=2)


def test_a_still_pair_stays_pale():
    frame = textured(3)
    drawn = motion_pictures(frame, frame, method="dis")
    assert drawn.reach == 1
    assert drawn.flow.min() > 200
    assert drawn.hidden_share == drawn.appeared_share == 0
    assert not drawn.cut
    assert motion_pictures(frame, textured(7), method="dis").cut  # another shot
    assert np.array_equal(drawn.hidden, frame)


def test_what_an_object_covers_and_uncovers_is_hatched():
    """A square moves right by 12 pixels over a lawn that stays."""
    lawn, square = textured(4), textured(5)[:56, :56]
    frame, target = lawn.copy(), lawn.copy()
    frame[48:104, 40:96], target[48:104, 52:108] = square, square
    drawn = motion_pictures(frame, target, method="dis")
    hidden, appeared = (drawn.hidden != frame).any(-1), (drawn.appeared != target).any(-1)
    assert hidden[56:96, 98:106].mean() > 0.8  # the square arrives there
    assert appeared[56:96, 42:50].mean() > 0.8  # and leaves this
    assert hidden[56:96, 48:88].mean() < 0.2
    assert appeared[56:96, 60:100].mean() < 0.2
    assert drawn.hidden_share == pytest.approx(hidden.mean())
    assert drawn.appeared_share == pytest.approx(appeared.mean())


def test_colours_are_torchvisions():
    flow = torch.zeros(1, 2, 32, 48)
    flow[0, 0] = torch.linspace(-3, 3, 48)
    drawn, wheel, reach = room._colours(flow)
    assert reach == 3
    expected = flow_to_image(flow)[0].permute(1, 2, 0).numpy()
    assert np.abs(drawn.astype(int) - expected).max() <= 1
    assert (wheel[0, 0] == 255).all()  # outside the disc


def test_hatching_leaves_the_rest_as_it_is():
    frame = np.full((16, 16, 3), 90, np.uint8)
    area = np.zeros((16, 16), bool)
    area[4:12, 4:12] = True
    drawn = hatched(frame, area)
    assert np.array_equal(drawn[~area], frame[~area])
    assert len(np.unique(drawn[area].reshape(-1, 3), axis=0)) == 2
