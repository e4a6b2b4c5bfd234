"""What is said before a run, loading nothing: what a tuning takes, whether an adapter
fits."""

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
    Tuned,
    load_backbone,
    save_adapter,
)
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


def tune(request, steps):
    """The result of a tuning of so many steps."""
    given = {"tune_steps": steps, "tune_preview_every": 0}
    return [
        e for e in runner.tune(replace(request, params=given)) if isinstance(e, Tuned)
    ][-1].adapter


def test_before_the_model_is_loaded_only_the_steps_are_known(request_, monkeypatch):
    monkeypatch.setattr("regrain.editing.models.loading.load._loaded", {})
    assert plan_tuning(request_, PARAMS) == PlannedTuning(4)


def test_memory_is_of_weights_and_activations(request_, monkeypatch):
    backbone = load_backbone(request_.model)
    numbers = sum(np.prod(shape) for shape in backbone.tunable_shapes(0).values())
    memory = 16 * numbers + backbone.activation_bytes(3, 8, 8)
    assert plan_tuning(request_, PARAMS) == PlannedTuning(4, 0, memory)
    monkeypatch.setattr(type(backbone), "activations_fit", lambda *_: False)
    assert plan_tuning(request_, PARAMS) == PlannedTuning(4)


def replace_params(**changes):
    return PARAMS.model_copy(update=changes)


def test_cached_steps_are_not_taken_again(request_):
    tune(request_, 2)
    found = plan_tuning(request_, PARAMS)
    assert (found.steps, found.taken) == (2, 2)
    assert plan_tuning(request_, replace_params(tune_steps=2)).steps == 0
    # Another tuning has none of them.
    assert plan_tuning(request_, replace_params(learning_rate=1e-4)).steps == 4
    assert plan_tuning(replace(request_, source_prompt="a dog"), PARAMS).steps == 4
    # The latest state is beyond what is to be learned, and no such version was kept.
    assert plan_tuning(request_, replace_params(tune_steps=1)).taken == 0


def test_what_the_header_says_is_enough_to_refuse(request_, tmp_path):
    made = tune(request_, 1)

    def saved(**changes):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.safetensors"
        save_adapter(Adapter(made.facts.model_copy(update=changes), made.weights), path)
        return replace(request_, adapter=str(path))

    check_known(saved())
    check_known(request_)
    unfit = {"sketch": (0.0,)}, "not on these weights"
    for changes, said in (
        ({"frames": 5}, "5 frames"),
        ({"width": 64}, "64 x 16"),
        unfit,
    ):
        with pytest.raises(ModelError, match=said):
            check_known(saved(**changes))
