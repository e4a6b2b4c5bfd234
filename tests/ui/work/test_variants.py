"""What a quick try runs."""

import numpy as np
import pytest
from made_clips import black

from regrain.editing.request.edit_request import EditRequest, Region
from regrain.ui.session.clips import prepare
from regrain.ui.work.variants import attempt


@pytest.mark.parametrize("source", ["", "a cat"])
def test_a_try_of_a_clip_that_nobody_described_can_run(source, tmp_path):
    """The fast method asks what the clip shows, the one that was chosen does not."""
    clip = black(2, 64, 64)
    labels = np.ones((2, 64, 64), np.uint8)
    regions = (Region("cat", 1, prompt="a fox"),)
    request = EditRequest(
        clip, labels, regions, source_prompt=source, model="storybook"
    )
    opened = prepare("", "a clip", request, tmp_path)
    tried, shown = attempt("quick", 1, request, opened)
    assert (tried.method, tried.loras) == ("infedit", ("storybook/fast",))
    assert tried.description == (source or "a fox")
    assert tried.composed.text == (f"{source}, a fox" if source else "a fox")
    assert (len(tried.clip), shown.tried) == (1, 1)
