"""flow_regions: what its formulas must give, pieces of long clips, and runs from the
command line."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cases import BASES
from running import finish, followed
from wiring import requested

from regrain.editing import ArrayClip, EditRequest, edit
from regrain.editing.errors import DivergedError, ModelError
from regrain.editing.methods.flow_regions import run
from regrain.editing.params.registry import check_params
from regrain.editing.recipe.region_words import RegionText, pieces_of

pytestmark = pytest.mark.usefixtures("own_cache", "no_grad")
SAME = {"source_guidance": 3.0, "guidance_scale": 3.0, "preview_every": 0}


def params(**given):
    return check_params("flow_regions", BASES["flow_regions"] | given)


def clip_of(frames):
    noise = np.random.default_rng(1).integers(
        0, 256, (frames, 16, 24, 3), dtype=np.uint8
    )
    return ArrayClip(noise, fps=8)


def whole_frame(frames):
    """By words alone."""
    words = ("a cat on the grass", "a fox on the grass")
    return EditRequest(clip_of(frames), None, (), *words, method="flow_regions", seed=7)


def latents_of(model, asked, given):
    return finish(run(model, asked, given)).edits[0]


@pytest.mark.parametrize("modulated", ["both", "target"])
def test_equal_prompts_and_guidance_edit_nothing(wan, modulated):
    """Exactly; but on the target alone, what binding itself does is an edit."""
    asked = requested("flow_regions")
    regions = tuple(
        replace(region, prompt=region.source or "a dog") for region in asked.regions
    )
    regions = tuple(replace(region, source=region.prompt) for region in regions)
    asked = replace(asked, source_prompt="a cat and a dog", regions=regions)
    assert asked.composed.text == asked.source_prompt
    found = latents_of(wan, asked, params(modulated=modulated, **SAME))
    assert torch.equal(found, wan.encode(asked.clip.read(0, 3))) == (
        modulated == "both"
    )
    unequal = latents_of(wan, asked, params(**(SAME | {"guidance_scale": 5.0})))
    assert not torch.equal(unequal, found)


# --- A flow whose velocity is known


class Gaussians(SimpleNamespace):
    """Answers as the exact flow of data with the mean that a prompt names, and a
    deviation."""

    id, size, multiple, frames_per_latent, device = (
        "gauss",
        16,
        8,
        4,
        torch.device("cpu"),
    )

    def __init__(self, wan, deviation):
        super().__init__(sites=wan.sites, wan=wan, deviation=deviation)

    def __getattr__(self, name):
        return getattr(self.wan, name)

    def predict(self, x, step, text, change):
        if change.attend:  # as a layer would, for the maps
            tokens = torch.zeros(1, 1, 12, 4), *torch.zeros(2, 1, 1, 512, 4)
            change.attend(*tokens, self.wan.sites[1])
        mean = 2.0 if "fox" in text.prompts[0] else 0.0
        s2 = self.deviation**2
        t = step.noise
        spread = step.signal**2 * s2 + t**2
        x0 = mean + step.signal * s2 / spread * (x - step.signal * mean)
        return x0, (x - step.signal * x0) / t


@pytest.mark.parametrize(
    ("given", "share", "atol"),
    [
        ({"steps": 4}, 1, 0.35),
        ({"steps": 25}, 1, 0.06),
        # A later start carries less, by the closed form.
        (
            {"steps": 1000, "strength": 0.3, "shift": 1.0},
            1 - 0.35 / (0.35**2 + 0.3**2) ** 0.5,
            0.01,
        ),
    ],
)
def test_a_shifted_mean_is_carried_over(wan, given, share, atol):
    """Alike in every latent, for any number of steps."""
    model = Gaussians(wan, 0.5)
    asked = whole_frame(5)
    given = {"guidance_scale": 1.0, "source_guidance": 1.0} | given
    moved = latents_of(model, asked, params(**given)) - wan.encode(
        asked.clip.read(0, 5)
    )
    assert float(moved.std()) < 1e-5
    assert float(moved.mean()) == pytest.approx(2 * share, abs=atol)


# --- Long clips


def test_pieces_overlap_and_cover_everything():
    def ends(*given):
        return [(part[0], part[-1]) for part in pieces_of(*given)]

    assert ends(11, 11) == [(0, 10)]
    assert ends(3, 11) == [(0, 2)]
    assert ends(21, 11) == [(0, 10), (8, 18), (10, 20)]
    assert ends(27, 11) == [(0, 10), (8, 18), (16, 26)]
    # with two pictures ahead of all of them
    assert pieces_of(4, 3, 2) == ((0, 1, 2, 3, 4), (0, 1, 3, 4, 5))


def test_pieces_of_a_long_clip_are_averaged(wan, monkeypatch):
    asked, given = whole_frame(17), params(span=9, steps=1)  # 5 latents, 3 at once
    calls = []
    predict = wan.predict
    monkeypatch.setattr(
        wan,
        "predict",
        lambda x, *rest: calls.append((x, *(y := predict(x, *rest)))) or y,
    )
    found = followed(run(wan, asked, given))[0]
    assert [len(x) for x, *_ in calls] == [3, 3] * 4
    # Of one step from pure noise, the mean over both pieces, which share latent 2,
    # decides.
    halves = []
    for (_, x0, _), (_, later, _) in zip(calls[::2], calls[1::2], strict=True):
        halves.append(torch.cat([x0[:2], (x0[2:] + later[:1]) / 2, later[1:]]))
    uncond, cond, free, old = halves
    guided = uncond + given.guidance_scale * (cond - uncond)
    before = free + given.source_guidance * (old - free)
    moved = found.edits[0] - wan.encode(asked.clip.read(0, 17))
    torch.testing.assert_close(moved, guided - before, atol=1e-4, rtol=1e-4)
    for maps in found.attention.values():  # every word is looked at by all 17 frames
        assert maps.before.shape == (17, 2, 3)
        assert (maps.before > 0).all()


# --- Words


def test_words_are_found_by_their_characters(wan):
    """Pieces of words, upper case and a comma among them."""
    prompt = "Zebra, a fox"
    bound = RegionText.read(wan, prompt, [(0, 5), (7, 12)], "prompt")
    tokens = wan.reader.tokenizer.convert_ids_to_tokens(
        bound.text.ids[0][: bound.text.lengths[0]]
    )
    assert tokens[-4:] == [",", "▁a", "▁fox", "</s>"]
    codes = bound.words.tolist()
    assert codes == [1] * (len(codes) - 4) + [-1, 2, 2, -1]
    assert bound.columns(["zebra", "fox"])["fox"] == [len(codes) - 3, len(codes) - 2]


# --- Which model


def test_what_is_made_for_image_models_is_refused(wan, wan_folder):
    asked = replace(requested("flow_regions"), motion="v1-5-2", model=str(wan_folder))
    for given in ((asked,), (asked, wan)):
        with pytest.raises(
            ModelError, match=r"^motion: It is made for a UNet .* Remove it or use"
        ):
            [*edit(*given)]


@pytest.mark.parametrize(("frames", "repeated"), [(17, False), (16, True)])
def test_a_report_says_that_the_last_frame_was_repeated(wan, frames, repeated):
    given = {"steps": 1, "span": 9, "cuts": "none", "preview_every": 0}
    *_, last = edit(replace(whole_frame(frames), params=given), wan)
    assert last.report["params"]["preset"] == {"value": "regions", "source": "method"}
    said = [text for text in last.report["warnings"] if "repeated" in text]
    expected = (
        f"The last frame was repeated once for {wan.id}, and cut again after the edit."
    )
    assert said == ([expected] if repeated else [])
    assert len(last.result.frames) == frames


@pytest.mark.parametrize("call", [0, 1, 2, 3])
def test_a_call_that_gives_nan_stops_the_step_it_is_of(wan, monkeypatch, call):
    """Though the calls of a step are checked together."""
    forward = wan.transformer.forward
    calls = []

    def failing(*given, **how):
        calls.append(0)
        (output,) = forward(*given, **how)
        return (output * (float("nan") if len(calls) == 5 + call else 1),)

    monkeypatch.setattr(wan.transformer, "forward", failing)
    steps = run(
        wan, requested("flow_regions"), params(steps=4, strength=1.0, averages=1)
    )
    with pytest.raises(DivergedError, match="NaN or Inf in step 2 of 4"):
        finish(steps)
    assert len(calls) == 8
