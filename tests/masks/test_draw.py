import numpy as np
import pytest

from regrain.masks import draw
from regrain.masks.draw import BrushStroke, brush, grow

EMPTY = np.zeros((60, 80), bool)
Y, X = np.mgrid[:60, :80]


def disc(x, y, radius):
    return np.hypot(X - x, Y - y) <= radius


def distance_to_segment(start, end):
    """Of each pixel, to the nearest of many points of a line."""
    points = np.linspace(start, end, 1000)
    return np.min([np.hypot(X - x, Y - y) for x, y in points], 0)


def test_a_stroke_is_all_within_its_radius_of_its_line():
    ends = (12.5, 10.0), (60.0, 41.5)
    distance = distance_to_segment(*ends)
    drawn = brush(EMPTY, BrushStroke(ends, 6))
    assert drawn[distance < 5].all()
    assert not drawn[distance > 7].any()


def test_eraser_takes_away_what_the_brush_gave_and_nothing_else():
    drawn = brush(EMPTY, BrushStroke(((20, 30), (60, 30)), 5))
    cut = brush(drawn, BrushStroke(((40, 10), (40, 50)), 3, erase=True))
    assert not cut[30, 40]
    assert cut[30, 30]
    assert not (cut & ~drawn).any()
    assert not EMPTY.any()


def test_a_dot_and_a_stroke_out_of_the_frame():
    dot = brush(EMPTY, BrushStroke(((5, 7),), 0))
    assert np.argwhere(dot).tolist() == [[7, 5]]
    assert brush(EMPTY, BrushStroke(((-20, 5), (200, 5)), 2))[5].all()


@pytest.mark.parametrize("pixels", [4, -4])
def test_grown_disc_is_a_disc(pixels):
    grown = grow(disc(40, 30, 15), pixels)
    wrong = grown ^ disc(40, 30, 15 + pixels)
    assert wrong.sum() <= np.pi * (15 + pixels)  # half a pixel along the edge
    assert (grow(disc(40, 30, 15), 0) == disc(40, 30, 15)).all()
    assert grow(~EMPTY, -5).all()
    assert not grow(EMPTY, 5).any()


def test_holes_and_specks_by_size():
    mask = disc(40, 30, 20) & ~disc(48, 30, 3) & ~disc(30, 30, 6)
    mask |= disc(5, 5, 2) | disc(70, 50, 5)
    filled = draw.fill_holes(mask, 50)
    assert (filled == mask | disc(48, 30, 3)).all()
    assert (draw.drop_specks(mask, 30) == mask & ~disc(5, 5, 2)).all()
    # What touches the border is no hole.
    ring = (X == 5) & (Y <= 8) | (Y == 8) & (X <= 5)
    assert (draw.fill_holes(ring, 1000) == ring).all()


def test_signed_distance_changes_sign_between_pixels():
    assert draw.signed_distance(X < 40)[30, 37:43].tolist() == [
        2.5,
        1.5,
        0.5,
        -0.5,
        -1.5,
        -2.5,
    ]


def test_points_are_spread_well_inside():
    bar = (np.abs(X - 50) <= 30) & (np.abs(Y - 20) <= 5)
    points = draw.spread(bar, 3)
    assert tuple(points[0]) == draw.deepest(bar)
    # both ends, then the middle
    assert sorted(points[:, 0]) == pytest.approx([24, 50, 76], abs=2)
    assert (np.abs(points[:, 1] - 20) <= 3).all()  # half as deep as the deepest
    assert len(draw.spread(disc(50, 20, 0), 5)) == 1


def test_deepest_counts_the_border_as_edge():
    x, y = draw.deepest(X < 40)
    assert abs(x - 19.5) <= 10
    assert 19 <= y <= 40
    assert draw.deepest(disc(50, 20, 7)) == (50, 20)
