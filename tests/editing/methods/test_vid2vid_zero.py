"""vid2vid-zero: its layers, and what it learns; `test_wiring` holds its steps to the
formulas."""

from dataclasses import replace

import pytest
import torch
from cases import BASES
from made_models import randn
from running import edit_clip
from wiring import FRAMES, requested

from regrain.editing.attention.layers import AttentionLayer
from regrain.editing.methods import vid2vid_zero
from regrain.editing.models.intervention import Intervention, joint_norm
from regrain.editing.params.registry import check_params
from regrain.editing.recipe import inversion
from regrain.editing.recipe.events import Stage
from regrain.editing.recipe.inversion import null_text

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.mark.parametrize("found", ["down_blocks.1 up_blocks.1", "mid_block", ""])
def test_all_frames_are_seen_in_the_layers_that_there_are(found):
    names = {f"{block}.attentions.0." for block in found.split()}
    sites = [AttentionLayer(name, "self", "") for name in {*names, "up_blocks.2."}]
    assert vid2vid_zero.dense_sites(sites) == names


def test_learning_is_over_the_sooner_the_later_the_step(tiny, monkeypatch):
    """The rate of learning is held by the formulas."""
    seen = []

    def descend(reach, text, goal, inner, rate, enough):
        seen.append(enough)
        return text

    monkeypatch.setattr(inversion, "_descend", descend)
    x = torch.zeros(1, 1, 1, 1)

    def answer(*_):
        return x, x

    steps, text = tiny.schedule.sampling(50), torch.zeros(1, 2, 3)
    how = {"guidance_scale": 2.0, "inner_steps": 1}
    list(null_text([x] * 51, answer, answer, steps, text, **how))
    assert seen == pytest.approx([1e-5 + 2e-5 * number for number in range(50)])


def test_learning_stops_when_near_enough():
    asked = []

    def reach(text):
        asked.append(1)
        return text

    text = inversion._descend(
        reach, torch.full((1, 1, 1), 2e-3), torch.zeros(1, 1, 1), 9, 1e-3, 1e-6
    )
    assert len(asked) == 3
    assert abs(float(text)) < 1e-3


def gradient(tiny, text, **how):
    vectors = text.vectors.clone().requires_grad_(True)
    x0, eps = tiny.predict(
        randn(FRAMES, 4, 8, 8),
        tiny.schedule.sampling(2)[1],
        text.with_vectors(vectors),
        **how,
    )
    return torch.autograd.grad((x0 + eps).square().sum(), vectors)[0]


@pytest.mark.parametrize("patches", [(), (joint_norm(FRAMES),)])
def test_recomputed_activations_give_the_same_gradient(tiny, patches):
    text = tiny.embed([""])
    calls = []
    last = tiny.unet.up_blocks[3].resnets[0]
    handle = last.register_forward_pre_hook(
        lambda *_: calls.append(tiny._lock.locked())
    )
    try:
        plain = gradient(tiny, text, change=Intervention(patches=patches))
        assert len(calls) == 1
        again = gradient(
            tiny, text, change=Intervention(patches=patches), recompute=True
        )
    finally:
        handle.remove()
    assert len(calls) == 3  # forward, and once more on the way back
    assert all(calls)  # nobody else may change the network meanwhile
    torch.testing.assert_close(plain, again)
    assert plain.abs().max() > 0
    assert all(p.grad is None and not p.requires_grad for p in tiny.unet.parameters())


def test_learning_in_half_precision_loses_no_gradient():
    """Of a distance whose own gradient per value, 2e-8, is no number of half
    precision."""
    goal = torch.full((100, 100), 1e-4)
    start = torch.zeros(1, 1, 1)
    loss = (start.requires_grad_(True).half() * 0.01 - goal.half()).square().mean()
    assert not torch.autograd.grad(loss, start)[0].any()

    reach = lambda text: (text.half() * 0.01).float().expand(1, 100, 100)[0]  # noqa: E731
    text = inversion._descend(reach, start, goal, 1, 1e-3, 0.0)
    assert text.dtype == torch.float32
    assert float(text) == pytest.approx(1e-3, rel=0.01)


@pytest.mark.full
def test_learned_texts_are_kept_and_depend_on_what_they_were_learned_with(
    small, monkeypatch
):
    asked = requested("vid2vid_zero")
    learned = []
    original = vid2vid_zero.null_text
    monkeypatch.setattr(
        vid2vid_zero,
        "null_text",
        lambda *a, **k: learned.append(1) or original(*a, **k),
    )
    given = {"inversion": "null_text", "inner_steps": 1, "steps": 2}
    given = check_params("vid2vid_zero", BASES["vid2vid_zero"] | given)

    @torch.no_grad()
    def invert(asked):
        events = edit_clip(small, asked, given)
        next(
            event
            for event in events
            if isinstance(event, Stage) and event.name == "editing"
        )
        events.close()

    for _ in range(2):
        invert(asked)
    assert len(learned) == 1
    invert(replace(asked, negative_prompt="ugly"))
    assert len(learned) == 2
