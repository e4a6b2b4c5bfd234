"""What is said before a run, loading nothing: what a tuning takes, whether an adapter
fits."""

from contextlib import nullcontext
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from made_clips import noise

from regrain.editing import (
    Adapter,
    ArrayClip,
    EditRequest,
    ModelError,
    load_backbone,
    save_adapter,
)
from regrain.editing.models.unet.temporal import tunable_shapes
from regrain.editing.params.tune_a_video import TuneAVideoParams
from regrain.editing.pipeline import runner
from regrain.editing.pipeline.beforehand import (
    PlannedTuning,
    check_known,
    plan_tuning,
)

PARAMS = TuneAVideoParams(tune_steps=4, tune_preview_every=2)
pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def request_(small_folder):
    frames = noise(3, 16, 16, 3)
    clip = ArrayClip(frames, Fraction(8))
    return EditRequest(
        clip, None, (), "a cat", "a fox", method="tune_a_video", model=str(small_folder)
    )


def test_before_the_model_is_loaded_only_the_steps_are_known(request_, monkeypatch):
    monkeypatch.setattr("regrain.editing.models.loading.load._loaded", {})
    assert plan_tuning(request_, PARAMS) == PlannedTuning(4)


def test_memory_is_of_weights_and_activations(request_, monkeypatch):
    backbone = load_backbone(request_.model)
    numbers = sum(np.prod(shape) for shape in tunable_shapes(backbone.unet).values())
    memory = 16 * numbers + backbone.activation_bytes(3, 8, 8)
    assert plan_tuning(request_, PARAMS) == PlannedTuning(4, 0, memory)
    monkeypatch.setattr(type(backbone), "activation_bytes", lambda *_: None)
    assert plan_tuning(request_, PARAMS) == PlannedTuning(4)


def test_cached_steps_are_not_taken_again(request_):
    finish(request_, 2)
    found = plan_tuning(request_, PARAMS)
    assert (found.steps, found.taken) == (2, 2)

    def left(asked=request_, **changes):
        plan = plan_tuning(asked, PARAMS.model_copy(update=changes))
        return plan.steps, plan.taken

    assert left(tune_steps=2) == (0, 2)
    # Another tuning has none of them.
    assert left(learning_rate=1e-4) == (4, 0)
    assert left(replace(request_, source_prompt="a dog")) == (4, 0)
    # The latest state is beyond what is to be learned, and no such version was kept.
    assert left(tune_steps=1) == (1, 0)


def finish(request, steps):
    """The adapter of a tuning of so many steps."""
    given = {"tune_steps": steps, "tune_preview_every": 0}
    *_, last = runner.tune(replace(request, params=given))
    return last.adapter


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"frames": 5}, "5 frames"),
        ({"width": 64}, "64 x 16"),
        ({"sketch": (0.0,)}, "not on these weights"),
    ],
)
def test_what_the_header_says_is_enough_to_refuse(request_, tmp_path, changes, said):
    made = finish(request_, 1)
    path = tmp_path / "a.safetensors"
    save_adapter(Adapter(made.facts.model_copy(update=changes), made.weights), path)
    asked = replace(request_, adapter=str(path))
    with pytest.raises(ModelError, match=said) if said else nullcontext():
        check_known(asked)
