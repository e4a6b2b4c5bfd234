"""vid2vid-zero on a tiny random model: placement, identities of its branches, and what it learns."""

import threading

import numpy as np
import pytest
import torch
from running import finish

from regrain.editing import ArrayClip, EditRequest, Region
from regrain.editing.attention.backends import attention
from regrain.editing.attention.batch import Batch
from regrain.editing.attention.layers import AttentionLayer
from regrain.editing.errors import RequestError
from regrain.editing.methods import vid2vid_zero
from regrain.editing.models.intervention import Intervention, joint_norm
from regrain.editing.models.load import load_backbone
from regrain.editing.params.registry import METHODS, check_params
from regrain.editing.params.vid2vid_zero import Vid2VidZeroParams
from regrain.editing.pipeline.assembly import edit_clip
from regrain.editing.recipe.attention_recorder import AttentionRecorder
from regrain.editing.recipe.events import Preview, Progress
from regrain.editing.recipe.inversion import is_learned, null_text
from regrain.editing.recipe.window import working_clip

FRAMES, SIZE, STEPS = 3, 64, 2


pytestmark = pytest.mark.usefixtures("own_cache")


def request(masks=False, **changes) -> EditRequest:
    pixels = np.random.default_rng(0).integers(0, 256, (FRAMES, SIZE, SIZE, 3), dtype=np.uint8)
    given = {"source_prompt": "a horse is running on the beach", "prompt": "a dog is running on the beach"}
    labels, regions = None, ()
    if masks:
        labels = np.zeros((FRAMES, SIZE, SIZE), np.uint8)
        labels[:, 8:40, 8:32] = 1
        regions = (Region("horse", 1, prompt="a dog", source="a horse", margin=0),)
    return EditRequest(ArrayClip(pixels), labels, regions, method="vid2vid_zero", **(given | changes))


def params(**given) -> Vid2VidZeroParams:
    return check_params("vid2vid_zero", {"steps": STEPS, "preview_every": 0, **given})


def plan_of(tiny, asked, given) -> vid2vid_zero.Vid2VidZeroPlan:
    return vid2vid_zero.make_plan(tiny, asked, given, working_clip(tiny, asked))


def run(tiny, asked, given):
    return finish(edit_clip(tiny, asked, given, METHODS["vid2vid_zero"]))


def noise(branches=1, seed=0):
    return torch.randn(branches * FRAMES, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("layers", "dense"),
    [
        (None, ("down_blocks.0.attentions.0", "mid_block.attentions.0", "up_blocks.1.attentions.0")),
        (
            "down_blocks.1.attentions.0, mid_block, up_blocks.2.attentions.0",
            ("down_blocks.1.attentions.0", "mid_block.attentions.0", "up_blocks.2.attentions.0"),
        ),
        (
            "down_blocks.2.attentions.0,mid_block,up_blocks.3.attentions.0",
            ("down_blocks.2.attentions.0", "mid_block.attentions.0", "up_blocks.3.attentions.0"),
        ),
        ("", ()),
    ],
)
def test_placement(tiny, layers, dense):
    given = params() if layers is None else params(dense_layers=layers)
    found = vid2vid_zero.dense_sites(tiny.sites, given.dense_layers)
    assert found == {f"{name}.transformer_blocks.0.attn1" for name in dense}
    assert sum(site.kind == "self" for site in tiny.sites) - len(found) == 16 - len(dense)


def test_an_unknown_layer_is_named_with_the_nearest(tiny):
    with pytest.raises(
        RequestError, match=r"params.dense_layers: 'up_blocks.0' was not found. Did you mean 'up_blocks"
    ):
        vid2vid_zero.dense_sites(tiny.sites, ("mid_block", "up_blocks.0"))


def test_dense_layers_see_all_frames_whatever_their_order_and_the_others_some(tiny):
    given = params()
    plan = plan_of(tiny, request(), given)
    attend = plan.attend
    q, k, v = torch.randn(3, FRAMES, 2, 16, 8, generator=torch.Generator().manual_seed(0)).unbind()
    dense, sparse = (
        AttentionLayer(f"{name}.attentions.0.transformer_blocks.0.attn1", "self", name)
        for name in ("mid_block", "up_blocks.3")
    )
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(
        attend(q, k, v, dense)[order], attend(q[order], k[order], v[order], dense), atol=1e-6, rtol=1e-5
    )
    other = v.clone()
    other[1] += 1  # the frame before frame 2, and nobody's first
    moved = (attend(q, k, other, sparse) - attend(q, k, v, sparse)).flatten(1).abs().amax(1) > 0
    assert moved.tolist() == [False, False, True]
    assert ((attend(q, k, other, dense) - attend(q, k, v, dense)).flatten(1).abs().amax(1) > 0).all()


def test_without_cross_frame_attention_it_is_the_image_model(tiny):
    given = params(dense_layers="", keys="own")
    plan = plan_of(tiny, request(), given)
    step, x = tiny.schedule.sampling(STEPS)[0], noise()
    own = tiny.predict(x, step, plan.source, Intervention(plan.attend))
    plain = tiny.predict(x, step, plan.source)
    assert all(torch.equal(a, b) for a, b in zip(own, plain, strict=True))


@pytest.mark.parametrize("inversion", ["negative_prompt", "plain"])
def test_an_edit_to_the_source_prompt_is_the_reconstruction(tiny_double, inversion, monkeypatch):
    tiny, decoded = tiny_double, []
    asked, decode = request(prompt=request().source_prompt), tiny_double.decode
    monkeypatch.setattr(tiny, "decode", lambda x: decoded.append(x.clone()) or decode(x))
    result = run(tiny, asked, params(inversion=inversion, guidance_scale=2.0))
    torch.testing.assert_close(decoded[-2], decoded[-1], atol=1e-6, rtol=0)
    assert np.abs(result.reconstruction.astype(int) - result.uncomposited).max() <= 1


def test_negative_prompt_inversion_takes_guidance_from_the_source(tiny):
    """The source's two halves have the same text, so no scale changes what comes back."""
    weak, strong = (run(tiny, request(), params(guidance_scale=w)) for w in (1.0, 7.5))
    assert np.array_equal(weak.reconstruction, strong.reconstruction)
    assert not np.array_equal(weak.frames, strong.frames)


def test_the_source_branch_is_never_touched(tiny):
    given = params(inversion="plain", self_until=1.0)
    plan = plan_of(tiny, request(), given)
    step = tiny.schedule.sampling(STEPS)[0]
    batch, text = plan.rows(step, given, None)
    assert batch.branches == ("source_uncond", "source", "uncond/0", "cond/0")
    assert text.prompts == ("", request().source_prompt, "", request().prompt)
    guided = vid2vid_zero.guided_attention(plan, given, batch, step, [AttentionRecorder(plan.scope)])
    source, x = noise(), noise(seed=1)
    rows = batch.join({"source_uncond": source, "source": source, "uncond": x, "cond": x})
    with torch.no_grad():
        fused = tiny.predict(rows, step, text, Intervention(guided))[1].chunk(4)
        free = tiny.predict(rows, step, text, Intervention(plan.attend))[1].chunk(4)
    same = [torch.allclose(a, b, atol=1e-6) for a, b in zip(fused, free, strict=True)]
    assert same == [True, True, True, False]


def test_windows_and_control(tiny):
    given = params()
    replaced = plan_of(tiny, request(), given).targets[0]
    refined = plan_of(tiny, request(prompt="a lego horse is running on the beach"), given).targets[0]
    assert replaced.exchange.mapper is not None
    assert refined.exchange.mapper is None
    steps = tiny.schedule.sampling(50)
    assert [replaced.crosses(step, given) for step in steps] == [True] * 40 + [False] * 10
    assert [refined.crosses(step, given) for step in steps] == [True] * 20 + [False] * 30


@pytest.mark.parametrize(("given", "steps"), [({}, 0), ({"self_until": 0.4}, 20)])
def test_self_attention_is_left_alone_by_default(tiny, given, steps):
    plan = plan_of(tiny, request(), params(**given))
    q, k, v = torch.randn(3, 3 * FRAMES, 2, 16, 8, generator=torch.Generator().manual_seed(0)).unbind()
    site = AttentionLayer("up_blocks.3.attentions.0.transformer_blocks.0.attn1", "self", "up_blocks.3")
    batch, alone, taken_over = Batch.of(FRAMES, "source", edits=1), plan.attend(q, k, v, site), []
    for step in tiny.schedule.sampling(50):
        guided = vid2vid_zero.guided_attention(
            plan, params(**given), batch, step, [AttentionRecorder(plan.scope)]
        )
        taken_over.append(not torch.equal(guided(q, k, v, site), alone))
    assert taken_over == [True] * steps + [False] * (50 - steps)


def test_the_source_runs_to_the_end_only_to_be_rebuilt(tiny):
    plan = plan_of(tiny, request(more_prompts=("a cat is running on the beach",)), params())
    steps = tiny.schedule.sampling(50)
    edits = ("uncond/0", "uncond/1", "cond/0", "cond/1")
    rebuilt = [plan.rows(s, params(), None)[0].branches for s in steps]
    assert rebuilt == [("source", *edits)] * 50
    dropped = [plan.rows(s, params(reconstruct=False, inversion="plain"), None)[0].branches for s in steps]
    assert dropped == [("source_uncond", "source", *edits)] * 40 + [edits] * 10


def test_several_prompts_are_the_edits_of_several_runs(tiny_double):
    tiny = tiny_double
    second = "a black dog is running on the beach"
    both = run(tiny, request(more_prompts=(second,)), params())
    alone = [run(tiny, request(prompt=p), params()) for p in (request().prompt, second)]
    assert [other.prompt for other in both.others] == [second]
    for one, other in zip((both.frames, both.others[0].frames), alone, strict=True):
        assert np.abs(one.astype(int) - other.frames).max() <= 1


def test_outside_the_masks_is_the_source(tiny):
    result = run(tiny, request(masks=True, prompt=""), params())
    far = np.ones((SIZE, SIZE), bool)
    far[4:44, 4:36] = False
    assert np.array_equal(result.frames[:, far], result.source[:, far])
    assert not np.array_equal(result.frames, result.source)


def test_events_and_a_clean_model(tiny):
    before = {k: v.clone() for k, v in tiny.unet.state_dict().items()}
    given = params(inversion="null_text", inner_steps=1, joint_norm=True, preview_every=2, steps=2)
    events, seen = edit_clip(tiny, request(), given, METHODS["vid2vid_zero"]), []
    state = {name: set(vars(m)) for name, m in tiny.unet.named_modules()}
    try:
        while True:
            seen.append(next(events))
            assert not any(m._forward_hooks or m._forward_pre_hooks for m in tiny.unet.modules())
            assert not any(getattr(m, "gradient_checkpointing", False) for m in tiny.unet.modules())
    except StopIteration as stop:
        result = stop.value
    assert state == {name: set(vars(m)) for name, m in tiny.unet.named_modules()}
    assert all(torch.equal(v, tiny.unet.state_dict()[k]) for k, v in before.items())
    assert [e.done for e in seen if isinstance(e, Progress) and e.stage == "inverting"] == [1, 2, 3, 4]
    assert [set(e.attention) for e in seen if isinstance(e, Preview)] == [{"dog"}]
    again = run(tiny, request(), given)  # texts from the cache
    assert np.array_equal(result.frames, again.frames)


# --- Null-text inversion


@pytest.mark.parametrize(
    ("ratio", "used"),
    [(1.0, range(50)), (-1.0, range(50)), (0.5, range(26)), (-0.5, range(25, 50)), (0.0, ())],
)
def test_share_of_the_steps_that_use_the_learned_text(tiny, ratio, used):
    steps = tiny.schedule.sampling(50)
    assert [step.index for step in steps if is_learned(step, ratio)] == list(used)


def ask(tiny, calls=None, **how):
    text = tiny.embed([""])

    def predict(x, step, vectors):
        if calls is not None:
            calls.append(torch.is_grad_enabled())
        return tiny.predict(x, step, text.with_vectors(vectors), **how)

    return predict


def learn(tiny, scale=7.5, inner=1, rate=1e-2, calls=None, **how):
    vectors = tiny.embed(["", "a horse is running"]).vectors.chunk(2)
    pivots = [noise(seed=i) for i in range(STEPS + 1)]
    with torch.no_grad():
        return vectors[0], list(
            null_text(
                pivots, ask(tiny, calls=calls, **how), tiny.schedule.sampling(STEPS), *vectors,
                guidance_scale=scale, inner_steps=inner, learning_rate=rate,
            )
        )  # fmt: skip


def test_learning_brings_the_latents_nearer(tiny):
    """One more inner step begins where the last one led."""
    _, once = learn(tiny, inner=1, rate=1e-3)
    _, twice = learn(tiny, inner=2, rate=1e-3)
    assert twice[0][2] < once[0][2]


@pytest.mark.parametrize("inner", [1, 3])
def test_at_no_step_does_learning_lead_away(tiny, monkeypatch, inner):
    from regrain.editing.recipe import inversion

    walk, descend = [], inversion._descend

    @torch.no_grad()
    def distance(reach, text, goal):
        return float((reach(text) - goal).square().mean())

    def watched(reach, text, goal, *rest):
        learned, loss = descend(reach, text, goal, *rest)
        walk.append((distance(reach, text, goal), distance(reach, learned, goal)))
        return learned, loss

    monkeypatch.setattr(inversion, "_descend", watched)
    learn(tiny, inner=inner, rate=1e-3)
    assert len(walk) == STEPS
    assert all(after <= before for before, after in walk)


def test_at_guidance_1_nothing_is_learned(tiny):
    empty, walk = learn(tiny, scale=1.0)
    assert all(torch.equal(text, empty) for _, text, _ in walk)


def test_one_inner_step_asks_the_model_three_times(tiny):
    """Of which one with gradients and recomputation: 1 + 3 + 1 times a forward pass."""
    calls = []
    learn(tiny, calls=calls, recompute=True)
    assert calls == [False, True, False] * STEPS


def test_rates_and_the_end_of_learning(tiny, monkeypatch):
    from regrain.editing.recipe import inversion

    seen = []

    def descend(reach, text, goal, inner, rate, enough):
        seen.append((rate, enough))
        return text, 0.0

    monkeypatch.setattr(inversion, "_descend", descend)
    x = torch.zeros(1, 1, 1, 1)
    list(
        null_text(
            [x] * 51, lambda x, step, text: (x, x), tiny.schedule.sampling(50), torch.zeros(1, 2, 3),
            torch.zeros(1, 2, 3), guidance_scale=2.0, inner_steps=1,
        )
    )  # fmt: skip
    assert seen == [pytest.approx((1e-2 * (1 - i / 100), 1e-5 + 2e-5 * i)) for i in range(50)]


def test_learning_stops_when_near_enough(tiny):
    from regrain.editing.recipe.inversion import _descend

    asked = []

    def reach(text):
        asked.append(1)
        return text

    text, loss = _descend(reach, torch.full((1, 1, 1), 2e-3), torch.zeros(1, 1, 1), 9, 1e-3, 1e-6)
    assert (len(asked), loss) == (3, pytest.approx(0, abs=1e-6))
    assert abs(float(text)) < 1e-3


def gradient(tiny, text, **how):
    vectors = text.vectors.clone().requires_grad_(True)
    x0, eps = tiny.predict(noise(), tiny.schedule.sampling(STEPS)[1], text.with_vectors(vectors), **how)
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
        again = gradient(tiny, text, change=Intervention(patches=patches), recompute=True)
    finally:
        handle.remove()
    assert len(calls) == 3  # forward, and once more on the way back
    torch.testing.assert_close(plain, again)
    assert plain.abs().max() > 0
    assert all(p.grad is None and not p.requires_grad for p in tiny.unet.parameters())


def test_activations_are_not_recomputed_while_another_run_has_changed_the_model(tiny):
    """Its hooks are on the shared network until its call returns; the backward pass waits that long."""
    text, entered, alone = tiny.embed([""]), threading.Event(), threading.Event()
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
    handle = tiny.unet.up_blocks[3].resnets[0].register_forward_pre_hook(lambda *_: alone.set())
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
    """Of a distance whose own gradient per value, 2e-8, is no number of half precision."""
    from regrain.editing.recipe.inversion import _descend

    goal = torch.full((100, 100), 1e-4)
    start = torch.zeros(1, 1, 1)
    loss = (start.requires_grad_(True).half() * 0.01 - goal.half()).square().mean()
    assert not torch.autograd.grad(loss, start)[0].any()

    text, _ = _descend(
        lambda text: (text.half() * 0.01).float().expand(1, 100, 100)[0], start, goal, 1, 1e-3, 0.0
    )
    assert text.dtype == torch.float32
    assert float(text) == pytest.approx(1e-3, rel=0.01)


def test_learning_with_a_model_in_bfloat16(tiny_folder):
    half = load_backbone(str(tiny_folder), dtype=torch.bfloat16)
    empty, walk = learn(half)
    assert all(text.dtype == torch.float32 and text.isfinite().all() for _, text, _ in walk)
    assert (walk[0][1] - empty).abs().max() == pytest.approx(1e-2, rel=0.05)


def test_learned_texts_are_kept_and_depend_on_what_they_were_learned_with(tiny, monkeypatch):
    asked, learned = request(), []
    original = vid2vid_zero.null_text
    monkeypatch.setattr(vid2vid_zero, "null_text", lambda *a, **k: learned.append(1) or original(*a, **k))
    common = {"inversion": "null_text", "inner_steps": 1, "steps": 2, "learned_share": 1.0}
    first = run(tiny, asked, params(**common))
    assert np.array_equal(first.frames, run(tiny, asked, params(**common)).frames)
    assert len(learned) == 1
    run(tiny, asked, params(**common, guidance_scale=3.0))
    assert len(learned) == 2
    run(tiny, asked, params(**common, learn_with="sampling"))
    assert len(learned) == 3
