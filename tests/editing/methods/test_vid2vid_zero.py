"""vid2vid-zero: its layers, and what it learns; `test_wiring` holds its steps to the
formulas."""

import threading
from dataclasses import replace

import pytest
import torch
from cases import BASES
from running import edit_clip
from wiring import FRAMES, requested

from regrain.editing.attention.backends import attention
from regrain.editing.methods import vid2vid_zero
from regrain.editing.models.intervention import Intervention, joint_norm
from regrain.editing.models.loading.load import load_backbone
from regrain.editing.params.registry import check_params
from regrain.editing.recipe import inversion
from regrain.editing.recipe.events import Stage
from regrain.editing.recipe.inversion import is_learned, null_text

STEPS = 2
pytestmark = pytest.mark.usefixtures("own_cache")


def noise(seed=0):
    return torch.randn(FRAMES, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_the_last_half_of_the_steps_uses_the_learned_text(tiny):
    steps = tiny.schedule.sampling(50)
    assert [step.index for step in steps if is_learned(step)] == [*range(25, 50)]


def learn(model, scale=7.5):
    """The text that learning starts from, and its steps."""
    text = model.embed(["", "a horse is running"])
    pivots = [noise(seed=i) for i in range(STEPS + 1)]

    def predict(x, step, vectors):
        return model.predict(x, step, text[0].with_vectors(vectors))

    def predict_source(x, step):
        return model.predict(x, step, text[1])

    with torch.no_grad():
        given = predict, predict_source, model.schedule.sampling(STEPS), text[0].vectors
        return text[0].vectors, [
            *null_text(pivots, *given, guidance_scale=scale, inner_steps=1)
        ]


def test_at_guidance_1_nothing_is_learned(tiny):
    empty, walk = learn(tiny, scale=1.0)
    assert all(torch.equal(text, empty) for _, text, _ in walk)


def test_rates_and_the_end_of_learning(tiny, monkeypatch):
    seen = []

    def descend(reach, text, goal, inner, rate, enough):
        seen.append((rate, enough))
        return text, 0.0

    monkeypatch.setattr(inversion, "_descend", descend)
    x = torch.zeros(1, 1, 1, 1)
    text = torch.zeros(1, 2, 3)
    steps = tiny.schedule.sampling(50)
    answer = lambda *_: (x, x)  # noqa: E731
    list(
        null_text(
            [x] * 51, answer, answer, steps, text, guidance_scale=2.0, inner_steps=1
        )
    )
    assert seen == [
        pytest.approx((1e-2 * (1 - i / 100), 1e-5 + 2e-5 * i)) for i in range(50)
    ]


def test_learning_stops_when_near_enough():
    asked = []

    def reach(text):
        asked.append(1)
        return text

    text, loss = inversion._descend(
        reach, torch.full((1, 1, 1), 2e-3), torch.zeros(1, 1, 1), 9, 1e-3, 1e-6
    )
    assert (len(asked), loss) == (3, pytest.approx(0, abs=1e-6))
    assert abs(float(text)) < 1e-3


def gradient(tiny, text, **how):
    vectors = text.vectors.clone().requires_grad_(True)
    x0, eps = tiny.predict(
        noise(), tiny.schedule.sampling(STEPS)[1], text.with_vectors(vectors), **how
    )
    return torch.autograd.grad((x0 + eps).square().sum(), vectors)[0]


@pytest.mark.parametrize("patches", [(), (joint_norm(FRAMES),)])
def test_recomputed_activations_give_the_same_gradient(tiny, patches):
    text = tiny.embed([""])
    calls = []
    last = tiny.unet.up_blocks[3].resnets[0]
    handle = last.register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        plain = gradient(tiny, text, change=Intervention(patches=patches))
        assert len(calls) == 1
        again = gradient(
            tiny, text, change=Intervention(patches=patches), recompute=True
        )
    finally:
        handle.remove()
    assert len(calls) == 3  # forward, and once more on the way back
    torch.testing.assert_close(plain, again)
    assert plain.abs().max() > 0
    assert all(p.grad is None and not p.requires_grad for p in tiny.unet.parameters())


@pytest.mark.full
def test_activations_are_not_recomputed_while_another_run_has_changed_the_model(tiny):
    """Its hooks are on the shared network until its call returns; the backward pass
    waits that long."""
    text = tiny.embed([""])
    entered = threading.Event()
    alone = threading.Event()
    expected = gradient(tiny, text, recompute=True)
    waited = []

    def attend(q, k, v, site):
        if not entered.is_set():
            entered.set()
            waited.append(alone.wait(1))  # nobody else computes meanwhile
        return attention(q, k, v)

    def other():
        with torch.no_grad():
            change = Intervention(attend, (joint_norm(FRAMES),))
            tiny.predict(noise(), tiny.schedule.sampling(STEPS)[1], text, change)

    asked = text.vectors.clone().requires_grad_(True)
    step = tiny.schedule.sampling(STEPS)[1]
    x0, eps = tiny.predict(noise(), step, text.with_vectors(asked), recompute=True)
    handle = (
        tiny.unet.up_blocks[3]
        .resnets[0]
        .register_forward_pre_hook(lambda *_: alone.set())
    )
    run = threading.Thread(target=other)
    try:
        run.start()
        assert entered.wait(600)
        found = torch.autograd.grad((x0 + eps).square().sum(), asked)[0]
    finally:
        run.join()
        handle.remove()
    assert waited == [False]
    torch.testing.assert_close(found, expected)


def test_learning_in_half_precision_loses_no_gradient():
    """Of a distance whose own gradient per value, 2e-8, is no number of half
    precision."""
    goal = torch.full((100, 100), 1e-4)
    start = torch.zeros(1, 1, 1)
    loss = (start.requires_grad_(True).half() * 0.01 - goal.half()).square().mean()
    assert not torch.autograd.grad(loss, start)[0].any()

    reach = lambda text: (text.half() * 0.01).float().expand(1, 100, 100)[0]  # noqa: E731
    text, _ = inversion._descend(reach, start, goal, 1, 1e-3, 0.0)
    assert text.dtype == torch.float32
    assert float(text) == pytest.approx(1e-3, rel=0.01)


def test_learning_with_a_model_in_bfloat16(tiny_folder):
    half = load_backbone(str(tiny_folder), dtype=torch.bfloat16)
    empty, walk = learn(half)
    assert all(
        text.dtype == torch.float32 and text.isfinite().all() for _, text, _ in walk
    )
    assert (walk[0][1] - empty).abs().max() == pytest.approx(1e-2, rel=0.05)


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
    base = BASES["vid2vid_zero"] | {
        "inversion": "null_text",
        "inner_steps": 1,
        "steps": 2,
    }
    others = [{"guidance_scale": 3.0}, {"inner_steps": 2}]

    @torch.no_grad()
    def invert(asked, given):
        events = edit_clip(small, asked, check_params("vid2vid_zero", base | given))
        next(
            event
            for event in events
            if isinstance(event, Stage) and event.name == "editing"
        )
        events.close()

    for number, given in enumerate(({}, *others), 1):
        for _ in range(2):
            invert(asked, given)
            assert len(learned) == number, given
    invert(replace(asked, negative_prompt="ugly"), {})
    assert len(learned) == number + 1
