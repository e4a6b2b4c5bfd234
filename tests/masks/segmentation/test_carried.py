"""Masks of a copy, carried up to a frame whose true edge is known."""

import cv2
import numpy as np
import pytest
from made_clips import noise

from regrain.masks.draw import BrushStroke, brush
from regrain.masks.segmentation.carried import carry_up
from regrain.masks.segmentation.cut_tables import Guide

WIDTH, HEIGHT = 600, 420
TRUE = brush(
    np.zeros((HEIGHT, WIDTH), bool),
    BrushStroke(((160, 150), (300, 260), (430, 140)), 66),
)
ROUGH = cv2.resize(noise(60, 80, 1), (WIDTH, HEIGHT))[..., None] // 8
FRAME = np.where(TRUE[..., None], (150, 90, 60), (70, 120, 80)).astype("u1") + ROUGH


def shrunk(frame, size):
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def copies(size):
    return shrunk(TRUE.astype("f4"), size) > 0.5, shrunk(FRAME, size)


@pytest.mark.parametrize("size", [(200, 140), (188, 132)])
@pytest.mark.parametrize("shift", [0, 1])
def test_the_edge_is_that_of_the_frame(size, shift):
    mask, copy = copies(size)
    mask = np.roll(mask, shift, 1)
    carried = carry_up(mask, copy, FRAME)
    nearest = cv2.resize(
        mask.view("u1"), (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST_EXACT
    )
    assert carried.shape == TRUE.shape
    assert (carried ^ TRUE).sum() < ((nearest > 0) ^ TRUE).sum() / 4


@pytest.mark.parametrize("how", [cv2.erode, cv2.dilate])
def test_an_edge_moves_no_farther_than_two_pixels_of_the_copy(how):
    """However near the one of the picture is."""
    mask, copy = copies((200, 140))
    mask = how(mask.view("u1"), np.ones((7, 7), np.uint8))
    carried = carry_up(mask > 0, copy, FRAME)
    near = np.ones((5, 5), np.uint8)
    most = cv2.dilate(mask, near).repeat(3, 0).repeat(3, 1)
    least = cv2.erode(mask, near).repeat(3, 0).repeat(3, 1)
    beyond = np.ones((3, 3), np.uint8)  # of the frame, between pixels of the copy
    assert not carried[cv2.dilate(most, beyond) == 0].any()
    assert carried[cv2.erode(least, beyond) > 0].all()


def test_where_the_picture_has_no_edge_it_stays_in_its_place():
    mask = np.zeros((140, 200), bool)
    mask[20:120, 30:100] = True
    flat = [np.full((*side, 3), 90, np.uint8) for side in (mask.shape, TRUE.shape)]
    carried = carry_up(mask, *flat)
    whole = mask.repeat(3, 0).repeat(3, 1)
    assert np.array_equal(carried[210], whole[210])
    assert np.array_equal(carried[:, 200], whole[:, 200])


def test_of_a_frame_that_is_its_own_copy_it_is_the_guided_filter():
    mask, copy = copies((200, 140))
    found = Guide(copy / np.float32(255), 8).smoothed(mask.astype("f4")) > 0.5
    near = np.ones((5, 5), np.uint8)
    core = cv2.erode(mask.view("u1"), near)
    inside = core | (mask.view("u1") - cv2.dilate(core, near))
    found = (found | (inside > 0)) & (cv2.dilate(mask.view("u1"), near) > 0)
    carried = carry_up(mask, copy, copy)
    # the first sees less around the mask, which its edge does not notice
    assert np.array_equal(carried, found)


@pytest.mark.parametrize("side", [1, 3])
def test_what_is_small_is_not_lost(side):
    mask = np.zeros((140, 200), bool)
    mask[70 : 70 + side, 5 : 5 + side] = True
    mask[:, 199] = True
    carried = carry_up(mask, copies((200, 140))[1], FRAME)
    assert carried[210 : 210 + 3 * side, 15 : 15 + 3 * side].mean() > 0.3
    assert carried[:, 598].all()


def test_an_empty_and_a_full_mask_stay_so():
    copy = copies((200, 140))[1]
    empty = np.zeros((140, 200), bool)
    assert not carry_up(empty, copy, FRAME).any()
    assert carry_up(~empty, copy, FRAME).all()
