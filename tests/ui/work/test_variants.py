"""What a quick try runs."""

from dataclasses import replace

import numpy as np
import pytest
from made_clips import black
from PIL import Image

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


@pytest.mark.parametrize(
    ("more", "given", "at", "expected", "frames"),
    [
        ({"method": "tune_a_video"}, {"tune_steps": 200}, 1, {"tune_steps": 40}, 1),
        ({}, {"tune_steps": 40, "steps": 12}, 1, {}, 1),
        ({}, {"steps": "12"}, 1, {}, 1),  # what a run would refuse, too
        ({}, {"keyframes": "every 9"}, 1, {"keyframes": "all"}, 1),
        ({}, {}, 7, {}, 1),
        ({}, {}, None, {}, 1),
        ({"adapter": "mine"}, {"steps": 20}, 1, {"steps": 12}, 2),
        ({"loras": ("ink",), "motion": "moving"}, {}, 0, {}, 1),
    ],
)
def test_a_try_leaves_out_steps_and_frames_alone(
    more, given, at, expected, frames, tmp_path
):
    """All else is as in the run. A tuned model is of use for as many frames as it was
    tuned on; and no try is put back into the clip's file."""
    labels = np.ones((2, 64, 64), np.uint8)
    cat = Region("cat", 1, prompt="a fox")
    request = EditRequest(black(2, 64, 64), labels, (cat,), **more)
    opened = replace(prepare("", "a clip", request, tmp_path), file=tmp_path)
    tried, shown = attempt("quick", at, request, given, opened)
    assert tried.params == expected
    assert len(tried.clip) == frames
    assert shown.tried == (None if frames > 1 else at if at in (0, 1) else 0)
    assert shown.file is None
    assert ("full quality" in shown.attempt) == bool(
        expected.keys() & {"steps", "tune_steps"}
    )
    for name in ("adapter", "loras", "motion", "method", "regions", "seed"):
        assert getattr(tried, name) == getattr(request, name)


@pytest.mark.parametrize("fast", [True, False])
def test_a_try_of_a_picture_is_made_without_the_weights_that_make_a_pattern_of_it(
    fast, tmp_path
):
    picture = tmp_path / "teal.png"
    Image.new("RGB", (32, 32), "teal").save(picture)
    cat = Region("cat", 1, prompt="a cat", picture=str(picture))
    added = ("storybook/fast", "ink") if fast else ("ink",)
    labels = np.ones((2, 64, 64), np.uint8)
    params = {"steps": 20, "hold": 0.1}
    request = EditRequest(
        black(2, 64, 64), labels, (cat,), method="infedit", loras=added, params=params
    )
    opened = prepare("", "a clip", request, tmp_path)
    tried, shown = attempt("quick", 0, request, params, opened)
    assert tried.loras == ("ink",)
    if fast:
        assert (tried.method, tried.motion) == ("videograin", "storybook/motion")
        assert tried.params == {"steps": 12}
        assert "by VideoGrain" in shown.attempt
    else:
        assert (tried.method, tried.params["hold"]) == ("infedit", 0.1)
