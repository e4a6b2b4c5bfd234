import numpy as np
import pytest
import torch

from regrain.editing.media.clip import ArrayClip, resize
from regrain.editing.recipe.window import EditedCells, working_clip
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.region import Region

FRAMES = 26  # two windows and a bit


@pytest.fixture
def request_():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (FRAMES, 40, 48, 3), dtype=np.uint8)
    labels = np.zeros(frames.shape[:3], np.uint8)
    for index, frame in enumerate(labels):
        frame[8:30, index : index + 12] = 1
    regions = (Region("a", 1, "a fox", margin=3),)
    return EditRequest(ArrayClip(frames), labels, regions, size=64)


def test_a_clip_is_resized_by_window_as_in_one_piece(tiny, request_):
    working = working_clip(tiny, request_)
    width, height = tiny.fit(48, 40, 64)
    assert np.array_equal(working.frames, resize(request_.clip.read(0, FRAMES), (width, height)))


def test_cells_that_the_edit_touches_count_whole(request_):
    cells = EditedCells(request_, torch.device("cpu")).on((5, 6)).numpy()
    mask = np.asarray(request_.edited_mask).reshape(FRAMES, 5, 8, 6, 8).any((2, 4))
    assert np.array_equal(cells[:, 0], mask)
