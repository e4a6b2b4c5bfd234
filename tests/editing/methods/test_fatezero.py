"""FateZero on a tiny random model: against a version that stores all attention maps, and identities."""

import gc
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from running import finish

import storybook
from regrain.editing import ArrayClip, EditRequest, Region, load_backbone
from regrain.editing.attention.layers import AttentionLayer
from regrain.editing.diffusion.schedule import advance, guide
from regrain.editing.diffusion.text import PromptEmbedding
from regrain.editing.errors import PromptError, RequestError
from regrain.editing.methods import fatezero, vid2vid_zero
from regrain.editing.methods.fatezero import Edits, Injected, InvertedSource
from regrain.editing.models.intervention import Intervention
from regrain.editing.params.fatezero import FateZeroParams
from regrain.editing.params.registry import METHODS, check_params, resolve_params
from regrain.editing.pipeline.assembly import edit_clip
from regrain.editing.recipe.attention_recorder import AttentionRecorder
from regrain.editing.recipe.events import Preview, Progress
from regrain.editing.recipe.inversion import ddim_walk
from regrain.editing.recipe.window import working_clip

FRAMES, SIZE, STEPS = 3, 64, 4
# Layers of 16 tokens a frame, and of 64, one a latent.
SELF, CROSS = (AttentionLayer(kind, kind, "mid_block", (1, 2, 2)) for kind in ("self", "cross"))
FINE_SELF, FINE_CROSS = (AttentionLayer(kind, kind, "up_blocks.3", (1, 1, 1)) for kind in ("self", "cross"))


pytestmark = pytest.mark.usefixtures("own_cache")


def request(masks=False, **changes) -> EditRequest:
    pixels = np.random.default_rng(0).integers(0, 256, (FRAMES, SIZE, SIZE, 3), dtype=np.uint8)
    given = {"source_prompt": "a cat on the grass", "prompt": "a fox on the grass", "clip": ArrayClip(pixels)}
    given |= changes
    labels, regions = None, ()
    if masks:
        labels = np.zeros((FRAMES, SIZE, SIZE), np.uint8)
        labels[:, 8:40, 8:32] = 1
        regions = (Region("cat", 1, prompt="a fox", source="a cat", margin=0),)
        given["prompt"] = ""
    return EditRequest(labels=labels, regions=regions, method="fatezero", **given)


def params(**given) -> FateZeroParams:
    return check_params("fatezero", {"steps": STEPS, "preview_every": 0, **given})


def plan_of(model, asked, given) -> fatezero.FateZeroPlan:
    return fatezero.make_plan(model, asked, given, working_clip(model, asked))


def source_of(latents) -> InvertedSource:
    """A source of these latents, whose words looked nowhere."""
    frames = len(latents[0]) if latents else FRAMES
    return InvertedSource(latents, torch.zeros(1, frames, 8, 8, 5), None)


def last_latents(tiny, asked, given, monkeypatch):
    """The latents a run decodes, and the number of rows of every call of the model."""
    decoded, rows = [], []
    decode, predict = tiny.decode, tiny.predict
    with monkeypatch.context() as patch:
        patch.setattr(tiny, "decode", lambda x: decoded.append(x) or decode(x))
        patch.setattr(tiny, "predict", lambda x, *a, **k: rows.append(len(x)) or predict(x, *a, **k))
        finish(edit_clip(tiny, asked, given, METHODS["fatezero"]))
    return decoded, rows


def qkv(branches, tokens=16, keys=None, heads=2, dim=8):
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(3))
    rows = branches * FRAMES
    return draw(rows, heads, tokens, dim), *draw(2, rows, heads, keys or tokens, dim)


# --- The oracle: every map written out, kept for every step, and mixed as the formula says.


def gathered(x, frames, keys):
    """Keys or values of the frames each frame sees, looked up one by one."""
    out = []
    for row in range(len(x)):
        first, frame = row // frames * frames, row % frames
        at = {"own": frame, "middle": (frames - 1) // 2, "first": 0, "previous": max(frame - 1, 0)}
        out.append(torch.cat([x[first + at[key]] for key in keys], 1))
    return torch.stack(out)


def softmax(q, k):
    return torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, -1)


def storing_edit(tiny, asked, given, keys):
    """FateZero as released: maps of the inversion in memory, two branches in the edit."""
    plan = plan_of(tiny, asked, given)
    grid = tiny.grid(FRAMES, *asked.clip.size).size
    finest = grid[0] * grid[1]
    assert plan.scope.size == grid
    target = plan.targets[0]
    stored, latents = [], [tiny.encode(asked.clip.read(0, FRAMES))]

    def record(q, k, v, site):
        if site.kind == "self":
            k, v = gathered(k, FRAMES, keys), gathered(v, FRAMES, keys)
        stored[-1][site.name] = softmax(q, k)
        return stored[-1][site.name] @ v

    def ask(x, step):
        stored.append({})
        return tiny.predict(x, step, plan.source, Intervention(record))

    for _, x in ddim_walk(latents[0], ask, tiny.schedule.inversion(STEPS, "fatezero")):
        latents.append(x)
    edit_sum = torch.zeros(FRAMES, *grid)
    for step in tiny.schedule.sampling(STEPS):
        maps = stored[STEPS - 1 - step.index]
        looks = torch.stack(
            [m.mean(1) for name, m in maps.items() if "attn2" in name and m.shape[2] == finest]
        )
        words = looks.mean(0)[..., list(target.source_area)].sum(-1).unflatten(-1, grid)

        def marked(words, size, threshold=given.blend_threshold):
            wide = torch.nn.functional.max_pool2d(words[:, None], 3, 1, 1)
            wide = torch.nn.functional.interpolate(wide, (size, size), mode="nearest")
            return (wide / wide.amax((2, 3), keepdim=True) > threshold).float()

        own = torch.zeros(FRAMES, *grid)

        def edit(q, k, v, site, step=step, maps=maps, words=words, own=own):
            if site.kind == "self":
                k, v = gathered(k, FRAMES, keys), gathered(v, FRAMES, keys)
            probability = softmax(q, k)
            u, c = probability.chunk(2)
            if site.kind == "cross" and q.shape[2] == finest:
                own += c.mean(1)[..., list(target.area)].sum(-1).unflatten(-1, grid)
            if q.shape[2] < finest:
                source = maps[site.name]
                if site.kind == "cross" and step.index < int((STEPS + 1) * given.cross_until):
                    c = source @ target.exchange.mapper.to(source) * target.exchange.factors
                if site.kind == "self" and step.index < int(STEPS * given.self_until):
                    side = int(q.shape[2] ** 0.5)
                    m = marked(words, side).reshape(FRAMES, 1, -1, 1) if given.blend_self else 0
                    c = m * c + (1 - m) * source
            return torch.cat([u, c]) @ v

        both = tiny.predict(
            torch.cat([x, x]), step, PromptEmbedding.cat([plan.uncond, target.text]), Intervention(edit)
        )
        x = advance(*(guide(*half.chunk(2), given.guidance_scale) for half in both), step)
        edit_sum += own
        if given.blend_latents == "always" and int(0.2 * STEPS) < step.index + 1 < int(0.8 * STEPS):
            mask = torch.maximum(marked(words, grid[0]), marked(edit_sum, grid[0]))
            x = mask * x + (1 - mask) * latents[STEPS - step.index]
    return x, stored, latents


@pytest.fixture(params=["random, double precision", "built-in, single precision"])
def model_and_clip(request, tiny_double):
    """Random layers multiply what single precision rounds by ten at each step; trained ones do not."""
    if request.param.startswith("random"):
        return tiny_double, {}
    scene = storybook.sample_scene(7, frames=FRAMES, actors=1, plain=True)
    kind = scene.actors[0].kind
    other = next(k for k in storybook.KINDS if k != kind)
    words = {"source_prompt": scene.caption, "prompt": scene.caption.replace(kind, other)}
    return load_backbone("storybook"), words | {"clip": ArrayClip(storybook.render(scene, 128).frames)}


@pytest.mark.parametrize(
    "given",
    [
        {"cross_until": 0.8, "self_until": 0.8, "emphasis": 3.0, "keys": "middle"},
        {"keys": "first_previous", "blend_self": True, "blend_latents": "always", "blend_threshold": 0.97},
    ],
)
@torch.no_grad()
def test_recomputed_attention_is_the_stored_one(model_and_clip, given, monkeypatch):
    model, changes = model_and_clip
    asked, given = request(**changes), params(inversion_latents="released", guidance_scale=7.5, **given)
    keys = given.keys.split("_")
    expected, stored, latents = storing_edit(model, asked, given, keys)
    (found,), _ = last_latents(model, asked, given, monkeypatch)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)

    plan = plan_of(model, asked, given)
    again = {}

    def attend(q, k, v, site):
        again[site.name] = softmax(q, gathered(k, FRAMES, keys) if site.kind == "self" else k)
        return plan.attend(q, k, v, site) if site.kind == "self" else again[site.name] @ v

    step = model.schedule.sampling(STEPS)[1]
    model.predict(source_of(latents).at(step, given), step, plan.source, Intervention(attend))
    near = 1e-6 if model.dtype == torch.float64 else 1e-5  # what came before a layer was rounded, too
    for name, maps in stored[STEPS - 2].items():
        torch.testing.assert_close(again[name], maps, atol=near, rtol=0)


def live_bytes() -> int:
    """Of all tensors there are, each memory counted once."""
    tensors = [x for x in gc.get_objects() if type(x) in (torch.Tensor, torch.nn.Parameter)]
    return sum({s.data_ptr(): s.nbytes() for s in (x.untyped_storage() for x in tensors)}.values())


@torch.no_grad()
def test_nothing_is_kept_but_latents_and_where_the_source_words_look(tiny, monkeypatch):
    asked, predict, most = request(), tiny.predict, {}
    for steps in (3, 7):  # each third of the schedule has its own heat
        given = params(steps=steps, blend_self=True, blend_latents="always", cross_until=1.0, self_until=1.0)
        live = []

        def watched(x, step, text, change, live=live):
            def attending(q, k, v, site):
                if len(x) > FRAMES and site == tiny.sites[-1]:
                    live.append(live_bytes())
                return change.attend(q, k, v, site)

            return predict(x, step, text, replace(change, attend=attending))

        with monkeypatch.context() as patch:
            patch.setattr(tiny, "predict", watched)
            finish(edit_clip(tiny, asked, given, METHODS["fatezero"]))
        assert len(live) == steps
        most[steps] = max(live)
    plan = plan_of(tiny, asked, given)
    cell = 4 * (4 + plan.source.lengths[0]) + 1  # latents and words, float32, and whether it is in the area
    assert most[7] - most[3] == 4 * FRAMES * 64 * cell
    # Stable Diffusion, 8 frames of 512 pixels, 50 steps, 12 words: a thousandth of the release's 36.2 GiB.
    assert 50 * 8 * 4 * (64 * 64 * 4 + 16 * 16 * 14) < 36.2 * 2**30 / 1000


# --- Windows


@pytest.mark.parametrize(
    ("steps", "share", "cross", "within"),
    [
        (50, 0.8, 40, 40),
        (50, 0.5, 25, 25),
        (50, 1.0, 50, 50),
        (50, 0.3, 15, 15),
        (30, 0.8, 24, 24),
        (10, 0.8, 8, 8),
        (8, 0.8, 7, 6),
        (8, 0.0, 0, 0),
    ],
)
def test_windows(tiny, steps, share, cross, within):
    given = params(cross_until=share, self_until=share)
    windows = [Injected.at(step, given) for step in tiny.schedule.sampling(steps)]
    assert [w.cross for w in windows] == [i < cross for i in range(steps)]
    assert [w.within for w in windows] == [i < within for i in range(steps)]


def test_the_source_runs_only_while_it_is_needed(tiny, monkeypatch):
    given = params(cross_until=0.25, self_until=0.5, blend_latents="always")
    _, rows = last_latents(tiny, request(), given, monkeypatch)
    assert rows == [FRAMES] * STEPS + [3 * FRAMES] * 2 + [2 * FRAMES] * 2


def test_without_windows_it_is_guided_sampling_from_the_inverted_latents(tiny, monkeypatch):
    asked, given = request(), params(cross_until=0.0, self_until=0.0, emphasis=5.0)
    (found,), rows = last_latents(tiny, asked, given, monkeypatch)
    plan = plan_of(tiny, asked, given)
    source = finish(fatezero.invert(tiny, working_clip(tiny, asked), plan, given))

    def attend(q, k, v, site):
        if site.kind == "self":
            return plan.attend(q, k, v, site)
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)

    x, text = source.latents[-1], PromptEmbedding.cat([plan.uncond, plan.targets[0].text])
    with torch.no_grad():
        for step in tiny.schedule.sampling(STEPS):
            both = tiny.predict(torch.cat([x, x]), step, text, Intervention(attend))
            x = advance(*(guide(*half.chunk(2), given.guidance_scale) for half in both), step)
    assert torch.equal(found, x)
    assert set(rows[STEPS:]) == {2 * FRAMES}


# --- One layer


def attend_of(tiny, given, window=None, area=lambda target, size: torch.zeros(FRAMES, 1, *size)):
    window = window or Injected(cross=True, within=True)
    plan = plan_of(tiny, request(), given)
    heats = [AttentionRecorder(plan.scope) for _ in plan.targets]
    return fatezero.fused_attention(plan, given, window, plan.batch(window), area, heats), plan


def test_the_unconditional_half_is_free(tiny):
    for given, site, keys in ((params(), SELF, None), (params(), CROSS, 77)):
        attend, plan = attend_of(tiny, given)
        q, k, v = qkv(3, keys=keys)
        free = slice(FRAMES, 2 * FRAMES)
        other = attend(torch.cat([q[:FRAMES] + 1, q[FRAMES:]]), k, v, site)
        assert torch.equal(attend(q, k, v, site)[free], other[free])
        assert not torch.equal(attend(q, k, v, site)[2 * FRAMES :], other[2 * FRAMES :])


@torch.no_grad()
def test_the_unconditional_half_of_a_step_is_that_without_control(tiny):
    given = params(self_until=1.0, cross_until=1.0, emphasis=5.0)
    step = tiny.schedule.sampling(STEPS)[0]
    fused, plan = attend_of(tiny, given)
    text = plan.texts(plan.batch(Injected(cross=True, within=True)))

    def plain(q, k, v, site):
        if site.kind == "self":
            return plan.attend(q, k, v, site)
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)

    x = torch.randn(3 * FRAMES, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    controlled, free = (tiny.predict(x, step, text, Intervention(a))[1].chunk(3) for a in (fused, plain))
    torch.testing.assert_close(controlled[1], free[1], atol=1e-6, rtol=0)
    assert not torch.allclose(controlled[2], free[2], atol=1e-4)


def test_both_halves_can_take_over_the_layout(tiny):
    attend, _ = attend_of(tiny, params(guidance_half="both"))
    q, k, v = qkv(3)
    other = attend(torch.cat([q[:FRAMES] + 1, q[FRAMES:]]), k, v, SELF)
    assert not torch.equal(attend(q, k, v, SELF)[FRAMES : 2 * FRAMES], other[FRAMES : 2 * FRAMES])


def test_the_finest_layers_are_never_altered(tiny):
    for site, keys in ((FINE_SELF, None), (FINE_CROSS, 77)):
        attend, plan = attend_of(tiny, params(emphasis=9.0))
        free, _ = attend_of(tiny, params(emphasis=9.0, levels="all"))
        q, k, v = qkv(3, tokens=64, keys=keys)
        plain = (
            plan.attend(q, k, v, site)
            if site is FINE_SELF
            else torch.nn.functional.scaled_dot_product_attention(q, k, v)
        )
        assert torch.equal(attend(q, k, v, site), plain)
        assert not torch.allclose(free(q, k, v, site)[2 * FRAMES :], plain[2 * FRAMES :], atol=1e-3)


def test_masked_self_attention_is_the_mixed_map_times_the_edits_values(tiny):
    given = params(blend_self=True, keys="first_previous")
    mask = (torch.rand(FRAMES, 1, 4, 4, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    attend, _ = attend_of(tiny, given, area=lambda target, size: mask)
    q, k, v = qkv(3)
    out = attend(q, k, v, SELF)
    keys, values = (gathered(x, FRAMES, ("first", "previous")) for x in (k, v))
    rows = mask.reshape(FRAMES, 1, 16, 1)
    source, edit = softmax(q[:FRAMES], keys[:FRAMES]), softmax(q[2 * FRAMES :], keys[2 * FRAMES :])
    expected = (rows * edit + (1 - rows) * source) @ values[2 * FRAMES :]
    torch.testing.assert_close(out[2 * FRAMES :], expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(out[: 2 * FRAMES], (softmax(q, keys) @ values)[: 2 * FRAMES])


def test_emphasis_multiplies_while_the_window_lasts(tiny):
    q, k, v = qkv(3, keys=77)
    plain, _ = attend_of(tiny, params())
    for none in (params(emphasis=1.0), params(emphasis_words="fox=1")):
        assert torch.equal(plain(q, k, v, CROSS), attend_of(tiny, none)[0](q, k, v, CROSS))
    strong, plan = attend_of(tiny, params(emphasis=10.0))
    assert not torch.allclose(plain(q, k, v, CROSS), strong(q, k, v, CROSS))
    fused = plan.targets[0].exchange(
        softmax(q[:FRAMES], k[:FRAMES]), softmax(q[FRAMES:], k[FRAMES:])[:FRAMES]
    )
    assert ((fused.sum(-1) - 1).abs() > 1e-4).all()
    after, _ = attend_of(tiny, params(emphasis=10.0), Injected(cross=False, within=True))
    torch.testing.assert_close(after(q, k, v, CROSS), softmax(q, k) @ v)


def test_with_the_middle_frame_alone_no_other_matters(tiny):
    see = partial(plan_of(tiny, request(), params(keys="middle")).attend, site=SELF)
    q, k, v = qkv(1)
    before = see(q, k, v)
    v[0] += 1
    assert torch.equal(see(q, k, v), before)
    v[1] += 1
    assert (see(q, k, v) != before).flatten(1).any(1).all()


def test_the_finest_layers_can_keep_to_their_own_frame(tiny):
    plan = plan_of(tiny, request(), params(keys="middle", keys_levels="coarse"))
    q, k, v = qkv(1, tokens=64)
    torch.testing.assert_close(plan.attend(q, k, v, FINE_SELF), softmax(q, k) @ v)
    q, k, v = qkv(1, tokens=16)
    expected = softmax(q, gathered(k, FRAMES, ["middle"])) @ gathered(v, FRAMES, ["middle"])
    torch.testing.assert_close(plan.attend(q, k, v, SELF), expected)


# --- The edited area


def test_thresholds_at_the_ends(tiny, monkeypatch):
    """Nothing exceeds a threshold of 1: all layout from the source. All exceeds 0: none of it."""
    common = {"cross_until": 0.5, "self_until": 0.5}
    blended = {"blend_self": True, "blend_latents": "never"}
    for threshold, same in ((1.0, {}), (0.0, {"self_until": 0.0})):
        with_mask, _ = last_latents(
            tiny, request(), params(**common, **blended, blend_threshold=threshold), monkeypatch
        )
        without, _ = last_latents(tiny, request(), params(**{**common, **same}), monkeypatch)
        assert torch.equal(with_mask[0], without[0])


def test_latents_are_blended_at_calls_11_to_39_of_50(tiny):
    plan = plan_of(tiny, request(), params(blend_latents="always"))
    steps = tiny.schedule.sampling(50)
    for given, calls in (
        (params(blend_latents="always"), range(11, 40)),
        (params(blend_latents="masks"), ()),  # there are none
        (params(blend_latents="always", blend_from=0.0, blend_until=1.0), range(1, 51)),
    ):
        assert [s.index + 1 for s in steps if fatezero.blends_latents(s, given, plan)] == list(calls)
    # Latent k of the inversion is at the level sampling reaches after 50 - k steps.
    source = source_of([torch.full((1, 1, 1, 1), float(k)) for k in range(51)])
    own, released = params(), params(inversion_latents="released")
    assert [int(source.at(s, own)) for s in steps] == list(range(50, 0, -1))
    assert [int(source.at(s, released)) for s in steps] == list(range(49, -1, -1))
    assert [int(source.blended(s, own)) for s in steps] == list(range(49, -1, -1))
    assert [int(source.blended(s, released)) for s in steps] == list(range(50, 0, -1))


def test_outside_the_masks_the_blended_latents_are_the_inversions(tiny, monkeypatch):
    asked, given = request(masks=True), params(blend_from=0.0, blend_until=1.0)
    assert asked.targets == ("a fox on the grass",)
    (found,), _ = last_latents(tiny, asked, given, monkeypatch)
    own = tiny.encode(asked.clip.read(0, FRAMES))
    inside = torch.zeros(FRAMES, 1, 8, 8, dtype=torch.bool)
    inside[:, :, 1:5, 1:4] = True
    assert torch.equal(found[~inside.expand_as(found)], own[~inside.expand_as(found)])
    assert not torch.allclose(found[inside.expand_as(found)], own[inside.expand_as(found)])
    result = finish(edit_clip(tiny, asked, given, METHODS["fatezero"]))
    far = np.ones((SIZE, SIZE), bool)
    far[4:44, 4:36] = False
    assert np.array_equal(result.frames[:, far], result.source[:, far])


def test_areas_are_told_for_each_step_that_uses_one(tiny):
    """The layout is blended in steps 0 and 1 of 5, latents after step 2: those told are of both."""
    blends = {"blend_self": True, "blend_latents": "always", "blend_from": 0.5, "blend_until": 0.8}
    for threshold in (0.0, 1.0):
        given = params(steps=5, **blends, blend_threshold=threshold)
        areas = finish(edit_clip(tiny, request(), given, METHODS["fatezero"])).step_areas
        assert set(areas) == {0, 1, 2}
        assert all(area.shape == (FRAMES, 8, 8) for area in areas.values())
        assert all((area == (threshold == 0)).all() for area in areas.values())
    assert (
        finish(edit_clip(tiny, request(masks=True), params(**blends), METHODS["fatezero"])).step_areas == {}
    )


def test_masks_stand_in_for_attention_in_the_layout_too(tiny):
    given = params(blend_self=True)
    edits = Edits(plan_of(tiny, request(masks=True), given), given, source_of([]))
    step = tiny.schedule.sampling(STEPS)[0]
    expected = torch.zeros(FRAMES, 1, 4, 4)
    expected[:, :, :3, :2] = 1
    assert torch.equal(edits.area_of_source(step, 0, (4, 4)), expected)


@pytest.mark.parametrize(
    ("prompt", "given", "field", "said"),
    [
        (
            "a fox on the grass",
            {"blend_words": "cta", "blend_self": True},
            "params.blend_words",
            "Did you mean 'cat'",
        ),
        ("a big cat on the grass", {"blend_self": True}, "params.blend_words", "Name a word"),
        ("a fox on the grass", {"emphasis_words": "fix=3"}, "params.emphasis_words", "Did you mean 'fox'"),
        ("a fox on grass", {"cross_control": "replace"}, "prompt", "refine"),
    ],
)
def test_words_that_are_not_there_are_named(tiny, prompt, given, field, said):
    with pytest.raises(PromptError, match=said) as caught:
        plan_of(tiny, request(prompt=prompt), params(**given))
    assert caught.value.field == field


def test_emphasis_words():
    gained = ("watercolor", "sketch")
    assert fatezero.emphasis(params(emphasis=4.0), gained) == {"watercolor": 4.0, "sketch": 4.0}
    assert fatezero.emphasis(params(emphasis=4.0, emphasis_words="sketch=2, Red fox"), gained) == {
        "sketch": 2.0,
        "Red fox": 4.0,
    }
    assert fatezero.emphasis(params(), gained) == {}
    for factor in ("much", "nan", "-1", "21"):
        with pytest.raises(RequestError, match="WORD=FACTOR with a factor from 0 to 20"):
            check_params("fatezero", {"emphasis_words": f"sketch={factor}"})


# --- Runs


def test_several_prompts_in_one_run_are_the_edits_of_several_runs(tiny_double, monkeypatch):
    tiny = tiny_double
    second = "a red fox on the grass"
    together, rows = last_latents(tiny, request(more_prompts=(second,)), params(), monkeypatch)
    alone = [
        last_latents(tiny, request(prompt=p), params(), monkeypatch)[0][0]
        for p in ("a fox on the grass", second)
    ]
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    assert rows == [FRAMES] * STEPS + [5 * FRAMES] * 2 + [4 * FRAMES] * 2


def test_events_results_and_a_clean_model(tiny):
    before = {k: v.clone() for k, v in tiny.unet.state_dict().items()}
    asked, given = request(), params(preview_every=1, joint_norm=True, reconstruct=True)
    events, seen = edit_clip(tiny, asked, given, METHODS["fatezero"]), []
    try:
        while True:
            seen.append(next(events))
            assert not any(m._forward_hooks or m._forward_pre_hooks for m in tiny.unet.modules())
    except StopIteration as stop:
        result = stop.value
    assert all(torch.equal(v, tiny.unet.state_dict()[k]) for k, v in before.items())
    assert [e.done for e in seen if isinstance(e, Progress) and e.stage == "inverting"] == list(range(1, 9))
    assert [e.done for e in seen if isinstance(e, Progress) and e.stage == "editing"] == list(range(1, 5))
    shown = [e for e in seen if isinstance(e, Preview)]
    assert len(shown) == STEPS
    assert set(shown[0].attention) == set(result.attention) == {"fox"}
    assert 0 <= shown[0].attention["fox"].min() <= shown[0].attention["fox"].max() <= 1
    assert set(result.words.source) == {"cat", "grass"}
    assert set(result.words.edit) == {"fox", "grass"}
    assert np.array_equal(result.words.edit["fox"], result.attention["fox"].before)
    assert 0 < result.words.source["cat"].max() <= 1
    assert result.step_areas == {}  # nothing is blended
    assert result.reconstruction.shape == result.frames.shape
    assert not np.array_equal(result.reconstruction, result.frames)
    again = finish(edit_clip(tiny, asked, given, METHODS["fatezero"]))  # from the cache
    assert np.array_equal(result.frames, again.frames)
    assert np.array_equal(result.reconstruction, again.reconstruction)


def test_presets():
    released, _ = resolve_params("fatezero", {"preset": "released"}, {"emphasis": 3.0})
    assert (released.keys, released.inversion_latents, released.emphasis) == ("middle", "released", 1.0)
    shape, resolved = resolve_params("fatezero", {"preset": "shape", "self_until": 0.3}, {})
    assert (shape.blend_self, shape.self_until) == (True, 0.3)
    assert resolved["blend_self"]["source"] == "preset"
    for name in FateZeroParams.PRESETS:
        resolve_params("fatezero", {"preset": name}, {})


@pytest.mark.parametrize("method", [fatezero, vid2vid_zero])
def test_a_seed_counts_where_variation_is_asked_for(tiny, method):
    name = method.__name__.rpartition(".")[2]

    def made(masks, seed, **given):
        asked = replace(request(masks), method=name, seed=seed)
        return finish(
            edit_clip(
                tiny, asked, check_params(name, {"steps": 2, "preview_every": 0, **given}), METHODS[name]
            )
        )

    same = [made(False, seed).frames for seed in (1, 2)]
    assert (same[0] == same[1]).all()
    for masks in (False, True):
        first, again, other = (made(masks, seed, variation=0.5).frames for seed in (1, 1, 2))
        assert (first == again).all()
        assert (first != other).any()
