import numpy as np
import pytest
from made_clips import black

from regrain.editing.errors import MaskError
from regrain.masks.track import following
from regrain.masks.track.corrections import changed_by, plan

MASK, NONE = np.ones((4, 6), bool), np.zeros((4, 6), bool)


def test_a_correction_reaches_to_the_key_frames_next_to_it():
    keys = [10, 20, 30]
    assert changed_by(keys, [20], 40) == [range(10, 31)]
    assert changed_by(keys, [10], 40) == [range(0, 21)]
    assert changed_by(keys, [30], 40) == [range(20, 40)]
    assert changed_by(keys, [24], 40) == [range(20, 31)]  # was a key frame
    assert changed_by([10], [10], 40) == [range(0, 40)]
    assert changed_by([0, 10, 11, 20], [5, 15], 40) == [range(0, 11), range(11, 21)]
    # Those that change the same frames are joined.
    assert changed_by([0, 10, 20, 30], [10, 20], 40) == [range(0, 31)]
    assert changed_by([0, 10, 20, 30, 35, 39], [10, 35], 40) == [
        range(0, 21),
        range(30, 40),
    ]


def known(frame):
    return {1: MASK, 2: MASK if frame > 15 else NONE, 3: MASK}


def test_other_regions_begin_where_they_are_known():
    keys = {0: {1: MASK}, 10: {1: MASK}, 20: {1: MASK, 3: NONE}, 39: {1: MASK}}
    (one,) = plan(keys, {1: [10]}, known, 40)
    assert one.frames == range(0, 21)
    assert list(one.keys) == [0, 10, 20]
    assert list(one.keys[0]) == [1]  # the clip begins there: nothing is cut
    assert {label: mask.any() for label, mask in one.keys[20].items()} == {
        1: True,
        2: True,
        3: False,
    }
    assert list(one.keys[20]) == [1, 2, 3]
    (one,) = plan({0: {1: MASK}, 10: {1: MASK}}, {1: [0]}, known, 40)
    assert list(one.keys[10]) == [1, 3]  # the second is nowhere there


def test_regions_take_new_masks_on_their_own_frames_only():
    keys = {0: {1: MASK, 2: MASK}, 10: {1: MASK}, 20: {1: MASK}, 30: {2: MASK}}
    (one,) = plan(keys, {1: [0], 2: [30]}, known, 40)
    assert (one.frames, [*one.keys]) == (range(0, 40), [*keys])
    assert [one.labels_at(frame) for frame in (0, 10, 11, 39)] == [
        [1, 2],
        [1, 2],
        [2],
        [2],
    ]
    assert plan({0: {1: MASK}}, {1: []}, known, 40) == []


def test_a_click_that_finds_nothing_is_refused(monkeypatch):
    monkeypatch.setattr(following, "segment", lambda *_, **how: NONE)
    clicks = {1: {0: ([(3.0, 3.0)], [1])}}
    with pytest.raises(MaskError, match="found for label 1 in frame 0"):
        following.masks_of_clicks(black(1, 16, 16), clicks, "cuts", None)
