"""The clip as a recipe sees it."""

import numpy as np
import torch
from made_clips import black

from regrain.editing.recipe import window
from regrain.editing.request.edit_request import EditRequest, Region


def test_the_cells_of_a_grid_are_found_once(monkeypatch):
    """Every step asks for them, and masks are read from files."""
    labels = np.zeros((2, 64, 64), np.uint8)
    labels[:, 20:30, 40:] = 1
    request = EditRequest(
        black(2, 64, 64), labels, (Region("cat", 1, prompt="a fox", margin=0),)
    )
    pooled = window.pooled
    read = []
    monkeypatch.setattr(
        window, "pooled", lambda areas, pool: read.append(areas) or pooled(areas, pool)
    )
    cells = window.edited_cells(request, torch.device("cpu"))
    for side in (8, 4, 8, 4):
        expected = np.zeros((2, 1, side, side))
        expected[..., 20 * side // 64 : -(-30 * side // 64), 40 * side // 64 :] = 1
        assert np.array_equal(cells((side, side)), expected)
    assert len(read) == 2
