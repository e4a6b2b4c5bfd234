"""What is outside stays the source's."""

import numpy as np
import pytest
from running import composite

from regrain.editing.diffusion.blending import differing, over
from regrain.editing.media.labels import fade_inwards

RNG = np.random.default_rng(0)
SOURCE, EDITED = RNG.integers(0, 256, (2, 2, 24, 24, 3), dtype=np.uint8)
MASK = np.zeros((2, 24, 24), bool)
MASK[0, 8:16, 8:16] = True


@pytest.mark.parametrize("reach", range(4))
def test_composite_is_exact_inside_and_beyond_the_feather(reach):
    out, near = composite(SOURCE, EDITED, MASK, float(reach)), np.zeros_like(MASK)
    near[0, 8 - reach : 16 + reach, 8 - reach : 16 + reach] = True
    assert np.array_equal(out[MASK], EDITED[MASK])
    assert np.array_equal(out[~near], SOURCE[~near])


def test_feather_fades_from_edit_to_source_outside_and_opacity_inside():
    white, black = np.full_like(SOURCE, 255), np.zeros_like(SOURCE)
    row = composite(black, white, MASK, 3.0)[0, 12, 3:9, 0].astype(int)
    assert (row[0], row[-1]) == (0, 255)
    assert (np.diff(row) >= 0).all()
    assert 0 < row[-2] < 255
    opacity = fade_inwards(MASK.astype(np.uint8), {1: 4}, [1])
    row = composite(black, white, MASK, 3.0, opacity)[0, 12, :, 0].astype(int)
    assert (np.diff(row[:12]) >= 0).all()
    assert row[11] > 200  # the middle shows the edit
    assert 0 < row[8] < 60  # its edge hardly
    assert row[:8].max() <= row[8]
    assert np.array_equal(composite(SOURCE, EDITED, MASK, 0.0, opacity * 0), SOURCE)


def test_regions_that_touch_do_not_fade_towards_each_other():
    labels = np.ones((1, 10, 20), np.uint8)
    labels[:, :, 10:] = 2
    assert (fade_inwards(labels, {1: 5, 2: 5}, [1, 2]) == 1).all()
    assert fade_inwards(labels, {1: 5}, [1])[0, 5, 9] < 0.2


# --- Where an edit differs

SIDE = 48
PAINTED = np.zeros((SIDE, SIDE), bool)
PAINTED[20:28, 8:16] = True
NEAR = np.zeros((SIDE, SIDE), bool)  # with the pixels beside it
NEAR[19:29, 7:17] = True
WHOLE = np.ones((SIDE, SIDE), np.float32)  # a margin that reaches everywhere
PLACE = RNG.integers(60, 160, (SIDE, SIDE, 3), dtype=np.uint8)


def shares(edit, source=PLACE, alpha=WHOLE, size=(SIDE, SIDE)):
    return differing(alpha, PAINTED, edit, source, size)


def drawn(*places, by=95):
    """The source with differences in places, each four numbers."""
    edit = PLACE.copy()
    for top, bottom, left, right in places:
        edit[top:bottom, left:right] += np.uint8(by)
    return edit


def test_a_faint_difference_stays_the_sources_but_in_the_mask_and_beside_it():
    noise = RNG.integers(-25, 26, PLACE.shape)
    faint = (PLACE + noise).astype(np.uint8)
    assert np.array_equal(shares(faint), NEAR)
    opacity = np.full_like(WHOLE, 0.25)
    assert np.array_equal(shares(faint, alpha=opacity), NEAR / 4)


def test_what_differs_clearly_is_shown_where_it_is_joined_to_the_mask():
    ear = (12, 22, 10, 14)
    found = shares(drawn(ear))
    assert (found[14:20, 11:13] == 1).all()
    assert not found[:9].any()
    assert not found[:, 20:].any()
    stray = (20, 28, 30, 38)
    assert np.array_equal(shares(drawn(ear, stray)), found)
    bridge = (21, 27, 14, 32)
    assert (shares(drawn(ear, stray, bridge))[22:26, 32:36] == 1).all()


def test_nothing_is_joined_through_places_that_no_edit_may_reach():
    alpha = WHOLE.copy()
    alpha[:, 20:24] = 0
    found = shares(drawn((22, 26, 10, 40)), alpha=alpha)
    assert (found[23:25, 16:19] == 1).all()
    assert not found[:, 20:].any()


def test_a_difference_that_grows_is_shown_more_and_more():
    """From frame to frame, nothing flickers."""
    bar = (20, 28, 12, 30)
    found = [shares(drawn(bar, by=by))[24, 22] for by in range(30, 95)]
    steps = np.diff(found)
    assert (found[0], found[-1]) == (0, 1)
    assert (steps >= 0).all()
    assert steps.max() < 0.03


def test_a_mask_too_small_for_the_size_of_the_edit_is_shown():
    speck = np.zeros((480, 480), bool)
    speck[100, 100] = True
    flat = np.zeros((480, 480, 3), np.uint8)
    alpha = np.ones(speck.shape, np.float32)
    assert differing(alpha, speck, flat, flat, (10, 10))[100, 100] == 1


def test_a_large_frame_is_compared_at_the_size_of_the_edit():
    """Its detail, which no small picture has, is no difference."""
    size = (SIDE // 4, SIDE // 4)
    fine = np.where(np.indices(WHOLE.shape).sum(0) % 2, 0, 200)[..., None]
    source = fine.repeat(3, 2).astype(np.uint8)
    flat = np.full_like(source, 100)
    away = np.s_[:, 28:]
    assert shares(flat, source)[24, 17] == 1
    assert not shares(flat, source, size=size)[away].any()
    assert shares(flat, np.zeros_like(flat), size=size)[away].all()


def test_a_frame_is_mixed_with_the_one_below_it_where_both_are_shown():
    rng = np.random.default_rng(0)
    below, above = rng.integers(0, 256, (2, 9, 14, 3), np.uint8)[:, :, ::2]
    alpha = np.float32(rng.integers(0, 5, below.shape[:2]) / 4)
    share = alpha[..., None]
    expected = np.rint(share * above + (1 - share) * below)
    assert np.array_equal(over(below, above, alpha), expected)
