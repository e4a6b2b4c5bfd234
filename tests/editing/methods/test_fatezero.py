"""FateZero: what it keeps in memory, and which words it takes. `test_wiring` holds its
steps to formulas."""

import gc
from dataclasses import replace

import pytest
import torch
from running import edit_clip, finish
from wiring import FINEST, FRAMES, requested

from regrain.editing.errors import PromptError, RequestError
from regrain.editing.methods import fatezero
from regrain.editing.params.fatezero import FateZeroParams
from regrain.editing.params.registry import check_params, resolve_params
from regrain.editing.recipe.window import working_clip

FOX = "a fox on the grass"
pytestmark = pytest.mark.usefixtures("own_cache")


def params(**given) -> FateZeroParams:
    return check_params("fatezero", {"steps": 4, "preview_every": 0, **given})


def prompts_of(model, asked, given) -> fatezero.FateZeroPrompts:
    return fatezero.FateZeroPrompts(model, asked, given, working_clip(model, asked))


def live_bytes() -> int:
    """Of all dense tensors there are, each memory counted once; what another test left
    may be sparse."""
    storages = [
        x.untyped_storage()
        for x in gc.get_objects()
        if type(x) in (torch.Tensor, torch.nn.Parameter) and x.layout == torch.strided
    ]
    return sum({s.data_ptr(): s.nbytes() for s in storages}.values())


@pytest.mark.full
@torch.no_grad()
def test_nothing_is_kept_but_latents_and_where_the_source_words_look(
    small, monkeypatch
):
    asked = requested("fatezero", masks=False)
    predict = small.predict
    most = {}
    for steps in (3, 7):  # each third of the schedule has its own heat
        given = params(
            steps=steps,
            blend_self=True,
            blend_latents="always",
            cross_until=1.0,
            self_until=1.0,
        )
        live = []

        def watched(x, step, text, change, live=live):
            def attending(q, k, v, site):
                if len(x) > FRAMES and site == small.sites[-1]:
                    live.append(live_bytes())
                return change.attend(q, k, v, site)

            return predict(x, step, text, replace(change, attend=attending))

        with monkeypatch.context() as patch:
            patch.setattr(small, "predict", watched)
            finish(edit_clip(small, asked, given))
        assert len(live) == steps
        most[steps] = max(live)
    prompts = prompts_of(small, asked, given)
    cell = (
        4 * (4 + prompts.source.lengths[0]) + 1
    )  # latents and words, float32, and whether it is in the area
    assert most[7] - most[3] == 4 * FRAMES * FINEST * cell
    # Stable Diffusion, 8 frames of 512 pixels, 50 steps, 12 words: a thousandth of the
    # release's 36.2 GiB.
    assert 50 * 8 * 4 * (64 * 64 * 4 + 16 * 16 * 14) < 36.2 * 2**30 / 1000


@pytest.mark.parametrize(
    ("prompt", "given", "field", "message"),
    [
        (
            FOX,
            {"blend_words": "cta", "blend_self": True},
            "params.blend_words",
            "Did you mean 'cat'",
        ),
        (
            "a big cat on the grass",
            {"blend_self": True},
            "params.blend_words",
            "Name a word",
        ),
        (
            FOX,
            {"emphasis_words": "fix=3"},
            "params.emphasis_words",
            "Did you mean 'fox'",
        ),
        ("a fox on grass", {"cross_control": "replace"}, "prompt", "refine"),
    ],
)
def test_words_that_are_not_there_are_named(small, prompt, given, field, message):
    with pytest.raises(PromptError, match=message) as caught:
        prompts_of(small, requested("fatezero", prompt, masks=False), params(**given))
    assert caught.value.field == field


def test_emphasis_words():
    gained = ("watercolor", "sketch")
    assert fatezero.emphasis(params(emphasis=4.0), gained) == {
        "watercolor": 4.0,
        "sketch": 4.0,
    }
    named = params(emphasis=4.0, emphasis_words="sketch=2, Red fox")
    assert fatezero.emphasis(named, gained) == {"sketch": 2.0, "Red fox": 4.0}
    assert fatezero.emphasis(params(), gained) == {}
    for factor in ("much", "nan", "-1", "21"):
        with pytest.raises(
            RequestError, match="WORD=FACTOR with a factor from 0 to 20"
        ):
            check_params("fatezero", {"emphasis_words": f"sketch={factor}"})


def test_presets():
    released, _ = resolve_params("fatezero", {"preset": "released"}, {"emphasis": 3.0})
    assert (released.keys, released.inversion_latents, released.emphasis) == (
        "middle",
        "released",
        1.0,
    )
    shape, resolved = resolve_params(
        "fatezero", {"preset": "shape", "self_until": 0.3}, {}
    )
    assert (shape.blend_self, shape.self_until) == (True, 0.3)
    assert resolved["blend_self"]["source"] == "preset"
    for name in FateZeroParams.PRESETS:
        resolve_params("fatezero", {"preset": name}, {})
