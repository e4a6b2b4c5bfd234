"""What a quick try runs."""

import numpy as np
import pytest
from made_clips import black

from regrain.editing.request.edit_request import EditRequest, Region
from regrain.ui.session.clips import prepare
from regrain.ui.work.variants import attempt


@pytest.mark.parametrize("steps", [6, 20])
def test_a_try_is_the_run_of_one_frame_in_at_most_twelve_steps(steps, tmp_path):
    clip = black(2, 64, 64)
    labels = np.ones((2, 64, 64), np.uint8)
    regions = (Region("cat", 1, prompt="a fox"),)
    request = EditRequest(clip, labels, regions, method="infedit", params={"hold": 0.1})
    opened = prepare("", "a clip", request, tmp_path)
    values = {"steps": steps, "hold": 0.1, "keyframes": "all", "cuts": "auto"}
    tried, shown = attempt("quick", 1, request, values, opened)
    fewer = {"steps": 12} if steps == 20 else {}
    usual = {"hold": 0.1, "keyframes": "all", "cuts": "none"}
    assert tried.params == usual | fewer
    assert (tried.method, tried.loras, tried.regions) == ("infedit", (), regions)
    assert (len(tried.clip), shown.tried) == (1, 1)
    assert ("12 steps of 20" in shown.attempt) == bool(fewer)
    assert attempt("", 1, request, values, opened) == (request, opened)
