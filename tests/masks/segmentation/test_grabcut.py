import numpy as np
import pytest

from regrain.editing.errors import MaskError
from regrain.masks.draw import BrushStroke, deepest
from regrain.masks.segmentation.click import segment
from regrain.masks.segmentation.grabcut import cut, learn, tighten
from storybook import render, sample_scene

NONE = np.zeros((0, 2)), np.zeros(0, int)


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def test_one_click_takes_the_disc_it_is_on(discs):
    image, red, blue = discs
    assert iou(cut(image, np.array([[60.0, 60]]), np.array([1])), red) > 0.95
    assert iou(cut(image, np.array([[140.0, 60]]), np.array([1])), blue) > 0.95


def test_a_box_alone(discs):
    image, red, _ = discs
    assert iou(cut(image, *NONE, box=np.array([25.0, 25, 95, 95])), red) > 0.95


def test_an_earlier_mask_is_corrected(discs):
    image, red, blue = discs
    points, labels = np.array([[60.0, 60], [140, 60]]), np.array([1, 0])
    assert iou(cut(image, points, labels, previous=red | blue), red) > 0.95


def test_strokes_say_both(discs):
    image, red, blue = discs
    on_red, on_blue = BrushStroke(((45, 60), (75, 60)), 4), BrushStroke(((130, 60), (150, 60)), 4)
    off_blue = BrushStroke(on_blue.points, 4, erase=True)
    assert iou(cut(image, *NONE, strokes=[on_red, on_blue]), red | blue) > 0.9
    assert iou(cut(image, *NONE, strokes=[on_red, off_blue]), red) > 0.9
    assert iou(cut(image, *NONE, strokes=[on_red, on_blue, off_blue]), red) > 0.9


def test_the_same_twice(discs):
    image = discs[0]
    one, two = (cut(image, np.array([[60.0, 60]]), np.array([1])) for _ in range(2))
    assert (one == two).all()


def test_large_frames_are_answered_at_their_size(discs):
    image, red, _ = discs
    large, wanted = (a.repeat(4, 0).repeat(4, 1) for a in (image, red))
    got = cut(large, np.array([[240.0, 240]]), np.array([1]))
    assert got.shape == wanted.shape
    assert iou(got, wanted) > 0.95


def test_edges_go_where_colours_part(discs):
    image, red, blue = discs
    off = np.roll(red, 4, axis=1)
    tight = tighten(image, off, blue, learn(image, red))
    assert iou(off, red) < 0.9
    assert iou(tight, red) > 0.97


def test_nothing_and_everything_teach_no_colours(discs):
    assert learn(discs[0], np.zeros((120, 200), bool)) is None
    assert learn(discs[0], np.ones((120, 200), bool)) is None


def test_drawn_actors_with_three_clicks():
    found = []
    for seed in range(6):
        drawn = render(sample_scene(seed, 1, 2, plain=True), 192)
        wanted = drawn.labels[0] == 1
        points, labels, got = [deepest(wanted)], [1], None
        for _ in range(3):
            got = cut(drawn.frames[0], np.array(points, float), np.array(labels), previous=got)
            wrong = wanted ^ got
            points.append(deepest(wrong))
            labels.append(int(wanted[points[-1][::-1]]))
        found.append(iou(got, wanted))
    assert np.mean(found) > 0.6


def test_a_box_holds_with_clicks_that_only_take_away():
    image = np.full((64, 96, 3), 110, np.uint8)
    y, x = np.mgrid[:64, :96]
    disc = np.hypot(x - 40, y - 32) < 14
    image[disc] = (210, 40, 40)
    for points, labels in (([], []), ([(5, 5)], [0])):
        got = segment(image, points, labels, box=(20, 12, 60, 52), method="grabcut")
        assert (got & disc).sum() / (got | disc).sum() > 0.95
    with pytest.raises(MaskError, match="outside the frame"):
        segment(image, [], [], box=(-30, -30, -10, -10), method="grabcut")
