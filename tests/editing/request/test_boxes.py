"""Boxes around the regions: their formulas, written out; how they are written and
read."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from json_files import read_json
from made_clips import black

from regrain.editing import EditRequest, Region, RequestError
from regrain.editing.media.labels import Labels
from regrain.editing.pipeline.focus import is_frame
from regrain.editing.request.boxes import (
    Focus,
    find_boxes,
    read_boxes,
    read_focus,
    smooth,
    write_boxes,
)
from regrain.editing.request.frame_subset import pick

FRAME = (640, 480)
ON = Focus("on")
AUTO = Focus("auto")
NOTHING = [np.nan] * 4
TABLES = read_json(Path(__file__).with_name("boxes.json"))


def find(rows, cuts=(), focus=ON, size=FRAME, fps=8.0, **more):
    return find_boxes(np.array(rows, float), size, cuts, fps, focus, **more)


def assert_holds(boxes, rows):
    """Every box holds its edges, as far as there are any."""
    rows = np.array(rows, float)
    assert not (boxes[:, :2] > rows[:, :2]).any()
    assert not (boxes[:, :2] + boxes[:, 2:] < rows[:, 2:]).any()


# --- Still boxes


@pytest.mark.parametrize(
    ("rows", "around", "box"), TABLES["still"].values(), ids=TABLES["still"]
)
def test_a_still_box_is_the_union_and_a_share_of_its_longer_side_around(
    rows, around, box
):
    assert find(rows, focus=Focus("on", around)).tolist() == [box] * len(rows)


def test_what_is_most_of_the_frame_is_the_frame():
    share = math.sqrt(0.7)
    just = [0, 0, round(640 * share) - 160 * 2, round(480 * share) - 160 * 2]
    assert is_frame(find([[0, 0, 500, 440]]), FRAME)
    assert not is_frame(find([just]), FRAME)
    assert is_frame(find([[0, 0, 640, 480]]), FRAME)


# --- Whether it pays


def test_auto_wants_less_than_half_of_the_frame_and_things_that_become_half_as_large_again():
    # a box of 320 of 480: things become 1.5 times as large
    assert find([[100, 100, 313, 313]], focus=AUTO).tolist() == [[47, 47, 320, 320]]
    assert is_frame(find([[100, 100, 314, 314]], focus=AUTO), FRAME)
    assert not is_frame(find([[100, 100, 314, 314]], focus=ON), FRAME)
    # 320 x 640 of 640 x 640 is half of it
    assert is_frame(find([[100, 0, 260, 430]], focus=AUTO, size=(640, 640)), (640, 640))


# --- Boxes that follow


def walking(frames=16, step=20):
    left = 20.0 + step * np.arange(frames)
    return np.stack([left, left * 0 + 200, left + 60, left * 0 + 260], 1)


def test_a_box_follows_where_the_union_is_more_than_half_as_large_again():
    for left, moves in ((150, False), (152, True)):
        first, last = find([[100, 100, 200, 200], [left, 100, left + 100, 200]])
        assert (first != last).any() == moves


def test_a_box_that_follows_has_one_size_and_goes_with_what_it_shows():
    boxes = find(walking())
    assert (boxes[:, 2:] == (124, 124)).all()
    assert_holds(boxes, walking())
    # evenly, until the frame's border holds it
    assert np.ptp(np.diff(boxes[4:12, 0])) <= 1
    assert (np.diff(boxes[:, 0]) >= 0).all()


def test_a_mask_that_jumps_does_not_jerk_a_box():
    calm = walking()
    for frame in (0, 7, 8, 15):
        rows = calm.copy()
        rows[frame] = [560, 0, 620, 60]
        away = np.abs(find(rows) - find(calm)).max()
        assert away <= 24, frame


@pytest.mark.parametrize("gone", [slice(6, 10), slice(3), slice(13, 16)])
def test_frames_without_the_region_are_bridged(gone):
    rows = walking()
    usual = find(rows)
    rows[gone] = NOTHING
    boxes = find(rows)
    assert_holds(boxes, rows)
    assert (np.diff(boxes[:, 0]) >= 0).all()
    assert np.abs(boxes - usual)[4:12].max() <= 2


@pytest.mark.parametrize("seed", range(30))
def test_a_box_stays_inside_the_frame_and_has_whole_pixels(seed):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, (560, 400), (12, 2))
    rows = np.concatenate([corner, corner + rng.uniform(4, 80, (12, 2))], 1)
    rows[rng.random(12) < 0.3] = NOTHING
    boxes = find(rows)
    assert boxes.dtype.kind == "i"
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= FRAME).all()
    assert len(np.unique(boxes[:, 2:], axis=0)) == 1


@pytest.mark.parametrize(("fps", "reach"), [(8.0, 2), (24.0, 6), (1.0, 1), (60.0, 15)])
def test_the_way_is_averaged_over_half_a_second_under_a_cosine(fps, reach):
    impulse = np.zeros((41, 1))
    impulse[20] = 1
    offsets = np.arange(-reach, reach + 1)
    weights = 0.5 + 0.5 * np.cos(np.pi * offsets / (reach + 1))
    expected = np.zeros(41)
    expected[20 + offsets] = weights / weights.sum()
    np.testing.assert_allclose(smooth(impulse, fps)[:, 0], expected, atol=1e-12)
    line = np.arange(41.0)[:, None] * 3 + 7
    np.testing.assert_allclose(smooth(line, fps), line, atol=1e-9)


# --- Shots


def test_each_shot_has_its_own_size_in_one_ratio():
    rows = [[100, 100, 200, 300]] * 3 + [[400, 200, 440, 240]] * 3
    boxes = find(rows, cuts=(3,))
    assert boxes[0].tolist() == [50, 50, 200, 300]
    width, height = boxes[3, 2:]
    assert width < 200
    assert abs(width / height - 2 / 3) < 0.01
    assert_holds(boxes, rows)


def test_a_shot_without_the_region_shows_the_middle():
    boxes = find([[100, 100, 200, 200]] * 2 + [NOTHING] * 2, cuts=(2,))
    assert boxes[0].tolist() == [68, 68, 164, 164]
    assert boxes[2].tolist() == [238, 158, 164, 164]
    assert is_frame(find([NOTHING] * 2), FRAME)


def test_where_one_shot_is_the_frame_all_have_its_ratio():
    boxes = find([[0, 0, 640, 480]] * 2 + [[300, 200, 340, 240]] * 2, cuts=(2,))
    assert boxes[0].tolist() == [0, 0, 640, 480]
    assert boxes[2, 2:].tolist() == [139, 104]  # 104 x 104, in 4 : 3


# --- The working size


def fit(width, height, multiple=64, size=512):
    scale = size / min(width, height)
    return tuple(
        max(1, round(side * scale / multiple)) * multiple for side in (width, height)
    )


def test_a_box_has_the_ratio_of_its_working_size_rounded_up():
    rows = [[300, 200, 400, 320]]  # with 32 around 164 x 184
    boxes = find(rows, fit=fit)
    assert fit(164, 184) == fit(164, 185) == (512, 576)
    assert boxes[0, 2:].tolist() == [164, math.ceil(164 * 576 / 512)] == [164, 185]
    assert_holds(boxes, rows)


@pytest.mark.parametrize("width", range(20, 300, 23))
def test_boxes_of_many_sizes_keep_their_ratio_within_a_pixel(width):
    for height in range(20, 250, 19):
        boxes = find([[10, 10, 10 + width, 10 + height]], fit=fit)
        if (boxes[0, 2:] < FRAME).all():
            own_width, own_height = boxes[0, 2:].tolist()
            wide, high = fit(own_width, own_height)
            assert abs(own_width - own_height * wide / high) <= 1.5, height


# --- Written


@pytest.mark.parametrize(("text", "focus"), TABLES["asked"].items())
def test_what_can_be_asked_for(text, focus):
    assert read_focus(text) == Focus(*focus)


@pytest.mark.parametrize("text", TABLES["refused"])
def test_anything_else_is_refused_in_one_line(text):
    with pytest.raises(RequestError, match=r"^focus: Expected ") as caught:
        request(focus=text)
    assert "\n" not in str(caught.value)


def test_boxes_are_read_as_they_were_written():
    boxes = np.array([[1, 2, 30, 40]] * 3 + [[4, 5, 60, 80], [5, 5, 60, 80]])
    for count, cut, text in (
        (5, 3, "30x40+1+2, 3:60x80+4+5+5+5"),
        (3, 2, "30x40+1+2, 2:30x40+1+2"),
    ):
        assert write_boxes(boxes[:count], (cut,)) == text
        assert (read_boxes(text, count, FRAME) == boxes[:count]).all()


@pytest.mark.parametrize(("text", "said"), TABLES["outside"].items())
def test_boxes_that_are_not_in_the_clip_are_refused_in_one_line(text, said):
    with pytest.raises(RequestError, match=f"^focus: {re.escape(said)}") as caught:
        request(focus=text)
    assert "\n" not in str(caught.value)


def request(**changes):
    labels = np.zeros((4, 64, 64), np.uint8)
    labels[:, 8:16, 8:16] = 1
    clip = black(4, 64, 64)
    return EditRequest(clip, labels, (Region("cat", 1, "a fox"),), **changes)


@pytest.mark.parametrize(("focus", "kept"), TABLES["of frames 1 and 3"].items())
def test_some_frames_of_a_clip_keep_their_boxes(focus, kept):
    assert pick(request(focus=focus), (1, 3)).focus == kept


# --- Labels


def test_labels_know_their_edges_in_each_frame():
    labels = np.zeros((3, 20, 30), np.uint8)
    labels[0, 3:5, 7:19] = labels[2, 0, 0] = 4
    labels[1, 19, 29] = 9
    expected = {
        4: [[7, 3, 19, 5], NOTHING, [0, 0, 1, 1]],
        9: [NOTHING, [29, 19, 30, 20], NOTHING],
    }
    np.testing.assert_equal(Labels(labels).extents, expected)


@pytest.mark.parametrize(
    ("size", "rows"),
    [((640, 480), [[150, 20, 232, 460]]), ((480, 640), [[20, 150, 460, 232]])],
)
def test_a_box_as_long_as_the_frame_grows_to_the_next_ratio_across(size, rows):
    """302 x 480, whose working size would be 512 x 832, too long by that ratio; that of
    a box a little wider is 512 x 768, for which 302, 309 and 316 are too narrow."""
    assert fit(302, 480) == (512, 832)
    assert fit(309, 480) == fit(316, 480) == (512, 768)
    (box,) = find(rows, fit=fit, size=size).tolist()
    assert sorted(box[2:]) == [320, 480]
    assert sorted(fit(*box[2:])) == [512, 768]


def test_a_box_does_not_sway_with_each_step():
    """What is shown sways by 12 pixels every four frames; its box by less than 4."""
    rows = walking(24, step=14)
    rows[:, [0, 2]] += 12.0 * (np.arange(24)[:, None] // 4 % 2)
    boxes = find(rows, fps=24.0)
    assert np.ptp(np.diff(boxes[6:18, 0])) <= 4
    assert_holds(boxes, rows)


def test_a_box_that_is_slow_to_turns_still_holds_what_it_shows():
    """A way that bends sharply, averaged over much more than the bend."""
    bend = np.abs(np.arange(40) - 20) * 12.0
    for left in (100 + bend, 400 - bend):
        rows = np.stack([left, left * 0 + 200, left + 60, left * 0 + 260], 1)
        assert_holds(find(rows, fps=60.0), rows)


def test_a_box_that_its_ratio_makes_most_of_the_frame_is_the_frame():
    rows = [[100, 100, 514, 336]]  # with 32 around 478 x 300
    assert not is_frame(find(rows, focus=Focus("on", 0)), FRAME)
    assert is_frame(find(rows, focus=Focus("on", 0), fit=lambda *_: (512, 512)), FRAME)
