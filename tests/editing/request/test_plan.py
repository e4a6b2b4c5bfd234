import numpy as np
import pytest
from made_clips import black, noise

from regrain.editing import ArrayClip
from regrain.editing.media.lazy_frames import frames_of
from regrain.editing.params.written import read_cuts, read_keyframes, write_cuts
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
    assert windows(planned(7, size=3, anchors=0)) == [
        ((), (0, 1, 2)),
        ((), (3, 4, 5)),
        ((), (6,)),
    ]
    short = planned(8)  # one window
    assert windows(short) == [((), tuple(range(8)))]
    assert short.keys == short.nearest == tuple(range(8))


def test_shots_share_nothing():
    plan = planned(20, size=6, keys="every 4", cuts=(9, 14))
    assert windows(plan) == [((), (0, 4, 8)), ((), (9, 13)), ((), (14, 18, 19))]
    assert [window.shot for window in plan.windows] == [0, 1, 2]
    # Frame 11 is as near to 9 as to 13, frame 8 is nearer to 9 but in another shot.
    assert [plan.keys[place] for place in plan.nearest][6:15] == [
        4,
        8,
        8,
        9,
        9,
        9,
        13,
        13,
        14,
    ]


def test_chosen_key_frames_are_joined_by_the_ends_of_shots():
    plan = planned(20, keys="3, 5, 15", cuts=(10,))
    assert plan.keys == (0, 3, 5, 9, 10, 15, 19)
    assert planned(20, keys="3", cuts=(10,)).keys == (0, 3, 9, 10, 19)


def blocks(seed, frames):
    cells = noise(8, 16, 3, seed=seed)
    wide = np.repeat(np.repeat(cells, 8, 0), 8, 1)
    return np.stack([wide[:, 60 - t : 124 - t] for t in range(frames)])


def cuts_of(*shots):
    clip = ArrayClip(
        np.concatenate([blocks(seed, frames) for seed, frames in enumerate(shots)])
    )
    return [number for number, cut in scan(clip) if cut]


def test_cuts_are_found():
    assert cuts_of(12) == []
    assert cuts_of(5, 7) == [5]
    assert cuts_of(4, 6, 4) == [4, 10]
    # Shots have at least four frames.
    assert cuts_of(3, 7) == []
    assert cuts_of(7, 3) == []
    assert cuts_of(6, 1, 6) == [6]  # a flash begins a shot and does not end it


def test_cuts_are_read_and_written():
    for written, other, cuts in (
        ("auto", "", None),
        ("none", [], ()),
        ("8, 24", "24, 8", (8, 24)),
    ):
        assert write_cuts(cuts) == written
        assert read_cuts(written) == read_cuts(other) == cuts
    assert read_cuts([8, 24, 8]) == (8, 24)


@pytest.mark.parametrize(
    "given", ["0", "-3", "all", "1;2", "1.5", 7, "9" * 8, None, "1," * 2000]
)
def test_other_cuts_are_refused(given):
    with pytest.raises(ValueError, match="expected auto, none"):
        read_cuts(given)


def test_windows_that_memory_makes_small_hand_on_fewer_frames():
    """Also where they are as long as what should be handed on."""
    for size, given in ((8, 1), (17, 5), (12, 5)):
        first, *later = windows_of(range(40), size, 0, 17)
        assert len(first.numbers) == size
        assert all(len(one.anchors) == given for one in later)
        assert all(len(one.numbers) <= size for one in later)
        keys = [key for one in (first, *later) for key in one.keys]
        assert keys == [*range(40)]
