import numpy as np
import pytest
from made_clips import black, noise

from regrain.editing import ArrayClip
from regrain.editing.media.lazy_frames import frames_of
from regrain.editing.params.written import read_keyframes
from regrain.editing.request.plan import make_plan, scan, windows_of


def planned(frames, size=8, keys="all", cuts=(), anchors=2):
    clip = black(frames, 8, 8)
    return make_plan(cuts, read_keyframes(keys), frames_of(clip), size, anchors)


def windows(plan):
    return [(window.anchors, window.keys) for window in plan.windows]


def test_later_windows_have_the_first_frame_and_the_last_of_the_window_before():
    first, *later = windows(planned(12, size=5))
    assert first == ((), (0, 1, 2, 3, 4))
    assert later == [((0, 4), (5, 6, 7)), ((0, 7), (8,)), ((0, 8), (9, 10, 11))]


def test_frames_that_are_edited_alone_need_no_anchors():
    expected = [((), (0, 1, 2)), ((), (3, 4, 5)), ((), (6,))]
    assert windows(planned(7, size=3, anchors=0)) == expected


def test_shots_share_nothing():
    plan = planned(20, size=6, keys="every 4", cuts=(9, 14))
    assert windows(plan) == [((), (0, 4, 8)), ((), (9, 13)), ((), (14, 18, 19))]
    assert [window.shot for window in plan.windows] == [0, 1, 2]
    # Frame 11 is as near to 9 as to 13, frame 8 is nearer to 9 but in another shot.
    nearest = np.take(plan.keys, plan.nearest)
    assert nearest[6:15].tolist() == [4, 8, 8, 9, 9, 9, 13, 13, 14]


def test_chosen_key_frames_are_joined_by_the_ends_of_shots():
    plan = planned(20, keys="3, 5, 15", cuts=(10,))
    assert plan.keys == (0, 3, 5, 9, 10, 15, 19)
    assert planned(20, keys="3", cuts=(10,)).keys == (0, 3, 9, 10, 19)


SHOTS = {"12": "", "5 7": "5", "4 6 4": "4 10"}
# Shots have at least four frames; a flash begins a shot and does not end it.
SHOTS |= {"3 7": "", "7 3": "", "6 1 6": "6"}


@pytest.mark.parametrize(("shots", "cuts"), SHOTS.items())
def test_cuts_are_found(shots, cuts):
    # of blocks that drift
    wide = [noise(8, 16, 3, seed=seed).repeat(8, 0).repeat(8, 1) for seed in range(3)]
    frames = [
        wide[seed][:, 60 - t : 124 - t]
        for seed, count in enumerate(shots.split())
        for t in range(int(count))
    ]
    clip = ArrayClip(np.stack(frames))
    assert " ".join(str(number) for number, cut in scan(clip) if cut) == cuts


@pytest.mark.parametrize(("size", "given"), [(8, 1), (17, 5), (12, 5)])
def test_windows_that_memory_makes_small_hand_on_fewer_frames(size, given):
    """Also where they are as long as what should be handed on."""
    first, *later = windows_of(range(40), size, 0, 17)
    assert len(first.numbers) == size
    assert {len(one.anchors) for one in later} == {given}
    assert max(len(one.numbers) for one in later) <= size
    assert sum((one.keys for one in (first, *later)), ()) == tuple(range(40))
