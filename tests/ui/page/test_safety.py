"""The filter of a public page, with small random weights in the published layout."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from made_clips import black, noise
from safetensors.torch import load_file, save_file

from regrain.editing import ArrayClip, EditRequest
from regrain.editing.errors import ModelError, RequestError
from regrain.editing.media.lazy_frames import frames_of
from regrain.editing.recipe.events import (
    EditResult,
    Finished,
    OtherEdit,
    Preview,
    Progress,
    Ready,
)
from regrain.ui.page import safety

# Names of weights as published, in CompVis/stable-diffusion-safety-checker and in
# models' folders.
PUBLISHED = {
    "concept_embeds",
    "concept_embeds_weights",
    "special_care_embeds",
    "special_care_embeds_weights",
}
VISION = """embeddings.class_embedding embeddings.patch_embedding.weight embeddings.position_embedding.weight
 encoder.layers.0.self_attn.q_proj.weight pre_layrnorm.weight post_layernorm.weight"""
PUBLISHED |= {f"vision_model.vision_model.{name}" for name in VISION.split()} | {
    "visual_projection.weight"
}


def write_checker(folder, threshold, without=()):
    """A checker that flags what is nearer to a concept than the threshold, which is a
    cosine."""
    from diffusers.pipelines.stable_diffusion.safety_checker import (
        StableDiffusionSafetyChecker,
    )
    from transformers import CLIPConfig

    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    vision |= {"image_size": 32, "patch_size": 8}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        checker = StableDiffusionSafetyChecker(
            CLIPConfig(vision_config=vision, projection_dim=8)
        )
    checker.concept_embeds_weights.data[:] = threshold
    checker.save_pretrained(folder)
    path = folder / "model.safetensors"
    weights = {
        published(name): value.contiguous() for name, value in load_file(path).items()
    }
    assert weights.keys() >= PUBLISHED
    save_file(
        {k: v for k, v in weights.items() if k not in without}, path, {"format": "pt"}
    )
    return folder


def published(name: str) -> str:
    """Of a weight, whatever this release of transformers calls it."""
    bare = name.removeprefix("vision_model.").removeprefix("vision_model.")
    return (
        f"vision_model.vision_model.{bare}"
        if name.startswith("vision_model.")
        else name
    )


@pytest.fixture
def models(tmp_path, own_models):
    yield tmp_path
    safety.load_checker.cache_clear()


def edit(asked):
    """Shows a preview and first frames, then makes two edits."""
    frames = noise(6, 32, 80, 3)
    yield Progress("editing", 1, 2, None)
    yield Preview(frames[:1], (0,), {})
    yield Ready(frames_of(ArrayClip(frames[:2], Fraction(8))))
    mask = np.ones((6, 32, 80), bool)
    others = (OtherEdit("a fox", frames, frames),)
    yield Finished(EditResult(frames, frames, frames, mask, {}, others=others), {})


def guarded(model):
    clip = black(6, 32, 80)
    return safety.guarded(edit)(EditRequest(clip, None, (), model=model))


def kinds_of(model):
    return [type(event) for event in guarded(model)]


def test_what_passes_is_shown_and_nothing_before(models):
    write_checker(models / "real" / "safety_checker", 1.0)
    assert kinds_of("real") == [Progress, Finished]
    assert kinds_of("storybook") == [
        Progress,
        Preview,
        Ready,
        Finished,
    ]  # the built-in one is not checked


def test_what_does_not_pass_is_withheld(models):
    write_checker(models / "safety_checker", -1.0)
    seen = []
    with pytest.raises(RequestError, match=r"^result: The safety filter withheld it\."):
        seen.extend(guarded("real"))
    assert [type(event) for event in seen] == [Progress]


@pytest.mark.parametrize("without", ["visual_projection.weight", "concept_embeds"])
def test_a_checker_that_is_not_whole_is_refused(models, without):
    write_checker(models / "safety_checker", 1.0, [without])
    with pytest.raises(ModelError, match="safety_checker lacks 1 weights, such as"):
        next(guarded("real"))


@pytest.mark.parametrize(
    "name", ["concept_embeds", "special_care_embeds", "visual_projection.weight"]
)
def test_a_checker_that_would_pass_everything_is_refused(models, name):
    folder = write_checker(models / "safety_checker", 1.0)
    weights = load_file(folder / "model.safetensors")
    weights[name].fill_(torch.nan)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=f"safety_checker has NaN or Inf in .*{name}"):
        next(guarded("real"))


def test_without_a_checker_or_with_a_pickle_real_checkpoints_are_refused_before_any_work(
    models,
):
    with pytest.raises(ModelError, match="safety checker was not found"):
        next(guarded("real"))
    folder = write_checker(models / "safety_checker", 1.0)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors"):
        next(guarded("real"))


def test_squares_cover_wide_and_high_frames():
    frame = np.zeros((32, 80, 3), np.uint8)
    frame[:, 70:] = 255
    left, middle, right = (one.mean() for one in safety.squares(frame, 32))
    assert left == middle < right
    high = [one.mean() for one in safety.squares(frame.transpose(1, 0, 2), 32)]
    assert high == pytest.approx([left, middle, right])


@pytest.mark.parametrize(
    ("space", "chosen", "on"),
    [("", "", False), ("o/n", "", True), ("o/n", "0", False), ("", "1", True)],
)
def test_it_is_on_on_a_space(monkeypatch, space, chosen, on):
    for name, value in (("SPACE_ID", space), ("REGRAIN_SAFETY", chosen)):
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(
            name, raising=False
        )
    assert safety.wanted() is on
