"""Pairs are in an order that a seed decides, and answers are counted."""

import numpy as np
import pytest

from benchmarks.glance import share, sheet, sides


def test_the_seed_decides_the_sides_and_answers_are_counted_and_checked():
    assert sides(48, 0) == sides(48, 0) != sides(48, 1)
    assert set(sides(48, 0)) == {"L", "R"}
    assert share("lLrR", "LLRR") == 1
    assert share("LRRL", "LLRR") == 0.5
    for wrong in ("LL", "LLRX"):
        with pytest.raises(ValueError, match="4 letters"):
            share(wrong, "LLRR")


@pytest.mark.parametrize("count", [1, 2, 3, 4, 8, 12])
def test_a_sheet_shows_the_left_picture_on_the_left_and_takes_any_number(count):
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    drawn = sheet([(black, white)] * count)
    rows, across = -(-count // 3), min(count, 3)
    assert drawn.shape == (32 * rows, 48 * across, 3)
    assert not drawn[16, :24].any()
    assert drawn[16, 24:40].all()
    assert (drawn == 255).mean() == pytest.approx(
        count / (rows * across) * 256 / (32 * 48), rel=0.01
    )
