"""VideoGrain on a tiny random model: identities that hold whatever the weights are."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from running import finish

from regrain.editing import ArrayClip, EditRequest, Region, edit
from regrain.editing.attention.batch import Batch
from regrain.editing.attention.frames import all_frames
from regrain.editing.attention.layers import AttentionLayer, Grid
from regrain.editing.diffusion.blending import mix_noise
from regrain.editing.errors import ModelError, RequestError
from regrain.editing.methods import videograin
from regrain.editing.models.intervention import Intervention
from regrain.editing.motion.smoothing import steady
from regrain.editing.params.registry import METHODS
from regrain.editing.params.videograin import VideoGrainParams
from regrain.editing.pipeline.assembly import edit_clip
from regrain.editing.recipe.attention_recorder import AttentionRecorder, HeatScope
from regrain.editing.recipe.events import Preview, Progress
from regrain.editing.recipe.modulation import fade
from regrain.editing.recipe.window import working_clip

FRAMES, SIZE = 3, 64
GRID = Grid(FRAMES, 8, 8)


pytestmark = pytest.mark.usefixtures("own_cache")


def two_regions(**changes) -> EditRequest:
    rng = np.random.default_rng(0)
    labels = np.zeros((FRAMES, SIZE, SIZE), np.uint8)
    labels[:, 8:40, 4:28], labels[:, 20:56, 36:60] = 1, 2
    regions = (
        Region("left", 1, prompt="a panda", source="a cat", margin=0),
        Region("right", 2, prompt="a fox", source="a dog", margin=0),
    )
    clip = ArrayClip(rng.integers(0, 256, (FRAMES, SIZE, SIZE, 3), dtype=np.uint8), fps=Fraction(8))
    return EditRequest(clip, labels, regions, source_prompt="a cat and a dog on the grass", **changes)


def params(**given) -> VideoGrainParams:
    return VideoGrainParams(steps=4, preview_every=0, **given)


def full_strength(tiny, layout, **given):
    """Attention of the first step, in both halves of guidance, with xi = 1."""
    heat = AttentionRecorder(HeatScope.choose(GRID, tiny.sites))
    modulation = videograin.Modulation(layout, params(schedule_power=0, **given), "all", heat)
    return modulation.attend(tiny.schedule.sampling(4)[0], Batch(FRAMES, ("uncond", "cond")))


def test_a_regions_negative_words_are_read_inside_it_alone(tiny):
    request = two_regions(negative_prompt="blurred")
    left = replace(request.regions[0], negative="an ugly hat")
    request = replace(request, regions=(left, request.regions[1]))
    assert request.negatives == "blurred, an ugly hat"
    layout, text = videograin.lay_out(tiny, request, GRID)
    site = next(s for s in tiny.sites if s.kind == "cross")
    codes, own = layout.codes(site), layout.refused == 1
    assert int(own.sum()) == 3
    tokens = text["uncond"].vectors.shape[1]
    fresh = torch.Generator().manual_seed(0)
    q = torch.randn(2 * FRAMES, 1, codes.shape[1], 8, generator=fresh)
    k = torch.randn(2 * FRAMES, 1, tokens, 8, generator=fresh)
    v = torch.eye(tokens).expand(2 * FRAMES, 1, -1, -1)
    shares = full_strength(tiny, layout)(q, k, v, site)[:FRAMES, 0]
    inside = codes == 1
    assert inside.any()
    assert (shares[inside][:, own] > 0).all()
    assert (shares[~inside][:, own] == 0).all()
    plain = torch.nn.functional.scaled_dot_product_attention(q, k, v)[:FRAMES, 0]
    torch.testing.assert_close(shares[inside], plain[inside])


def test_without_negative_words_of_regions_the_uncond_half_is_plain(tiny):
    layout, _ = videograin.lay_out(tiny, two_regions(negative_prompt="blurred"), GRID)
    assert layout.refused is None


def test_no_strength_equals_plain_full_frame_attention_bit_for_bit(tiny):
    request = two_regions()
    latents = torch.randn(2 * FRAMES, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    layout, text = videograin.lay_out(tiny, request, GRID)
    step = tiny.schedule.sampling(4)[0]
    hook = full_strength(tiny, layout, self_strength=0, cross_strength=0)
    both = Batch(FRAMES, ("uncond", "cond")).texts(text)

    def plain(q, k, v, site):
        return (
            all_frames(q, k, v, FRAMES)
            if site.kind == "self"
            else torch.nn.functional.scaled_dot_product_attention(q, k, v)
        )

    modulated = tiny.predict(latents, step, both, Intervention(hook))
    reference = tiny.predict(latents, step, both, Intervention(plain))
    assert all(torch.equal(a, b) for a, b in zip(modulated, reference, strict=True))


@pytest.mark.parametrize(
    ("half", "changed"), [("cond", (False, True)), ("uncond", (True, False)), ("both", (True, True))]
)
def test_self_modulation_touches_exactly_the_chosen_half(tiny, half, changed):
    layout, _ = videograin.lay_out(tiny, two_regions(), GRID)
    q, k, v = torch.randn(3, 2 * FRAMES, 2, 64, 8, generator=torch.Generator().manual_seed(1))
    site = AttentionLayer("x", "self", "mid_block")
    out = full_strength(tiny, layout, guidance_half=half)(q, k, v, site)
    plain = all_frames(q, k, v, FRAMES)
    assert tuple(not torch.equal(a, b) for a, b in zip(out.chunk(2), plain.chunk(2), strict=True)) == changed


def test_cross_modulation_leaves_the_unconditional_half_and_unbound_pixels(tiny):
    layout, _ = videograin.lay_out(tiny, two_regions(), GRID)
    q = torch.randn(2 * FRAMES, 2, 64, 8, generator=torch.Generator().manual_seed(2))
    k, v = torch.randn(2, 2 * FRAMES, 2, len(layout.words), 8, generator=torch.Generator().manual_seed(3))
    site = AttentionLayer("x", "cross", "mid_block")
    out = full_strength(tiny, layout)(q, k, v, site)
    plain = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    assert torch.equal(out[:FRAMES], plain[:FRAMES])
    background = layout.codes(site) == 0
    difference = (out - plain)[FRAMES:].abs().amax((1, 3))
    assert difference[background].max() < 1e-5
    assert (difference[~background] > 1e-4).float().mean() > 0.9


def test_words_of_each_region_are_bound_to_it(tiny):
    layout, _ = videograin.lay_out(tiny, two_regions(), GRID)
    # start, a panda, and, a fox, on the grass
    assert layout.words[:10].tolist() == [-1, 1, 1, -1, 2, 2, -1, -1, -1, -1]


def test_size_term_is_one_minus_the_share_of_the_own_region(tiny):
    layout, _ = videograin.lay_out(tiny, two_regions(), GRID)
    codes = layout.codes(AttentionLayer("x", "self", "mid_block"))
    term = layout.size_term(codes)
    for frame, code in ((0, 1), (1, 2), (2, 0)):
        share = (codes[frame] == code).float().mean()
        assert torch.allclose(term[frame][codes[frame] == code], 1 - share)


def test_fade_follows_the_schedule_table(tiny):
    given = VideoGrainParams(steps=50)
    xi = [fade(given, step) for step in tiny.schedule.sampling(50)]
    assert xi[:15] == pytest.approx([(t / 1000) ** 5 for t in range(980, 699, -20)])
    assert sum(x > 0 for x in xi) == 15


def test_outside_is_the_source_bit_for_bit_and_the_run_repeats(tiny):
    request = two_regions()
    first = finish(edit_clip(tiny, request, params(), METHODS["videograin"]))
    again = finish(edit_clip(tiny, request, params(), METHODS["videograin"]))
    far = np.ones((SIZE, SIZE), bool)
    far[4:60, 1:63] = False
    assert np.array_equal(first.frames[:, far], first.source[:, far])
    assert not np.array_equal(first.frames[request.edited_mask], first.source[request.edited_mask])
    assert np.array_equal(first.frames, again.frames)


def test_outside_the_blend_mask_the_last_latents_are_the_clips_own(tiny, monkeypatch):
    request, last = two_regions(), []
    decode = tiny.decode
    monkeypatch.setattr(tiny, "decode", lambda latents: last.append(latents) or decode(latents))
    finish(edit_clip(tiny, request, params(), METHODS["videograin"]))
    outside = (working_clip(tiny, request).inside() == 0).expand_as(last[0])
    own = tiny.encode(request.clip.read(0, FRAMES))
    assert torch.equal(last[0][outside], own[outside])
    assert not torch.allclose(last[0][~outside], own[~outside])


def test_events_and_a_clean_model(tiny):
    hooks = {name: len(m._forward_hooks) + len(m._forward_pre_hooks) for name, m in tiny.unet.named_modules()}
    before = {k: v.clone() for k, v in tiny.unet.state_dict().items()}
    events = edit_clip(tiny, two_regions(), VideoGrainParams(steps=2), METHODS["videograin"])
    seen = []
    for event in events:
        seen.append(event)
        assert hooks == {
            name: len(m._forward_hooks) + len(m._forward_pre_hooks) for name, m in tiny.unet.named_modules()
        }
        assert all("attend" not in vars(p) for p in tiny.unet.attn_processors.values())
    assert all(torch.equal(v, tiny.unet.state_dict()[k]) for k, v in before.items())
    assert [e.done for e in seen if isinstance(e, Progress) and e.stage == "editing"] == [1, 2]
    shown = [e for e in seen if isinstance(e, Preview)]
    assert shown[0].frames.shape[0] == FRAMES == len(shown[0].indices)
    assert set(shown[0].attention) == {"left", "right"}
    assert all(m.min() >= 0 and m.max() <= 1 for p in shown for m in p.attention.values())


def test_attention_mass_moves_into_the_region(tiny):
    result = finish(
        edit_clip(tiny, two_regions(), params(modulate_until=1, schedule_power=0), METHODS["videograin"])
    )
    inside = np.zeros((8, 8), bool)
    inside[2:4, 1:3] = True
    maps = result.attention["left"]
    assert maps.after[:, inside].mean() > 1.3 * maps.before[:, inside].mean()
    assert maps.after[:, :, 6:].mean() < maps.before[:, :, 6:].mean() + 1e-6


def test_variation_changes_only_the_edited_regions_and_by_seed(tiny):
    def seeded(seed):
        return torch.Generator().manual_seed(seed)

    x = torch.randn(FRAMES, 4, 8, 8, generator=seeded(0))
    mask = working_clip(tiny, two_regions()).inside()
    varied = mix_noise(x, mask, 0.5, seeded(1))
    assert mix_noise(x, mask, 0.0, seeded(1)) is x
    assert torch.equal(varied, mix_noise(x, mask, 0.5, seeded(1)))
    assert not torch.equal(varied, mix_noise(x, mask, 0.5, seeded(2)))
    outside = (mask == 0).expand_as(x)
    assert torch.equal(varied[outside], x[outside])
    fresh = mix_noise(x, mask, 1.0, seeded(1))
    inside = (mask[0] == 1).expand_as(x[0]) & (mask[1] == 1).expand_as(x[1])
    assert torch.equal(fresh[0][inside], fresh[1][inside])


def test_the_last_steps_are_taken_again_on_the_edit_averaged_and_noised_alike(tiny, monkeypatch):
    seen = []
    inner = videograin.VideoGrainModel.predict_guided

    def predict_guided(self, x, step, *rest):
        seen.append((step, x.clone()))
        return inner(self, x, step, *rest)

    monkeypatch.setattr(videograin.VideoGrainModel, "predict_guided", predict_guided)
    asked = replace(two_regions(), seed=5)
    events = [*edit_clip(tiny, asked, params(redraw=0.5, inject_until=0), METHODS["videograin"])]
    counted = [(e.done, e.total) for e in events if isinstance(e, Progress) and e.stage == "editing"]
    assert counted == [(n, 6) for n in range(1, 7)]
    assert [step.index for step, _ in seen] == [0, 1, 2, 3, 2, 3]
    plain = finish(edit_clip(tiny, asked, params(inject_until=0), METHODS["videograin"]))
    calm = steady(iter(plain.uncomposited), iter(asked.clip.read(0, FRAMES)), 3.0)
    step, x = seen[4]
    noise = torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(5))
    expected = step.signal * tiny.encode(np.stack([*calm])) + step.noise * noise
    inside = (working_clip(tiny, asked).inside() > 0).expand_as(x)
    assert torch.allclose(x[inside], expected[inside], atol=1e-5)
    assert torch.equal(x[~inside], seen[2][1][~inside])  # of the inversion, as it was at this step


@pytest.mark.parametrize(
    ("steps", "redraw", "again"), [(20, 0.4, 8), (20, 0.0, 0), (10, 0.9, 9), (1, 0.9, 0)]
)
def test_never_all_steps_are_taken_again(steps, redraw, again):
    assert VideoGrainParams(steps=steps, redraw=redraw).steps_again == again


def test_a_kept_inversion_serves_only_the_same_tracks(tiny, monkeypatch):
    request, begun = two_regions(), []
    encode = tiny.encode
    monkeypatch.setattr(tiny, "encode", lambda frames: begun.append(1) or encode(frames))
    finish(edit_clip(tiny, request, params(), METHODS["videograin"]))
    finish(edit_clip(tiny, request, params(flow="dis"), METHODS["videograin"]))
    assert len(begun) == 1  # without weights "auto" is "dis"
    working = working_clip(tiny, request)
    other = {(8, 8): torch.arange(64).roll(1).expand(FRAMES, 64)}
    monkeypatch.setattr(videograin, "follow", lambda *_: other)
    finish(videograin.invert(videograin.VideoGrainModel(tiny, working, request, params()), working))
    assert len(begun) == 2


def test_flow_by_raft_without_weights_is_refused(tiny, monkeypatch):
    monkeypatch.delenv("REGRAIN_MODELS", raising=False)
    with pytest.raises(ModelError, match="^flow: The weights of RAFT are missing"):
        finish(edit_clip(tiny, two_regions(), params(flow="raft"), METHODS["videograin"]))


def test_a_chosen_pixel_is_shown_live_and_in_the_result(tiny):
    given = VideoGrainParams(
        steps=3, modulate_until=1, schedule_power=0, heat_pixel="1,40,30", heat_grids="1, 2", heat_until=0.4
    )
    request, shown = two_regions(), []
    events = edit_clip(tiny, request, given, METHODS["videograin"])
    try:
        while True:
            event = next(events)
            if isinstance(event, Preview):
                shown.append(event.attention)
    except StopIteration as stop:
        result = stop.value
    name = "frame 1 at 40,30"
    assert [set(maps) for maps in shown] == [{"left", "right", name}] * 3
    maps = result.attention[name]
    assert maps.before.shape == (FRAMES, 8, 8)
    for which in (maps.before, maps.after):
        assert which.sum() == pytest.approx(1, abs=0.1)
    # The pixel is in the right region, and modulation draws it there, in every frame.
    right = np.zeros((8, 8), bool)
    right[3:7, 5:7] = True
    assert (maps.after[:, right].mean(1) > 1.1 * maps.before[:, right].mean(1)).all()


@pytest.mark.parametrize("pixel", ["3,0,0", "0,64,0", "0,0,64"])
def test_a_pixel_beside_the_clip_is_refused_before_any_work(tiny, pixel):
    with pytest.raises(
        RequestError, match=r"^params.heat_pixel: .* frame from 0 to 2 and a pixel inside 64 x 64"
    ):
        next(edit(replace(two_regions(), params={"heat_pixel": pixel}), tiny))


@pytest.mark.parametrize(
    "given",
    [
        {"heat_pixel": "1,2"},
        {"heat_pixel": "-1,2,3"},
        {"heat_grids": "3"},
        {"heat_from": 0.5, "heat_until": 0.5},
    ],
)
def test_what_to_look_at_is_checked_with_the_request(given):
    with pytest.raises(RequestError, match="^params"):
        two_regions(params=given)


def test_one_grid_may_be_given_as_a_number():
    """What the command line makes of `--set heat_grids=2`."""
    assert two_regions(params={"heat_grids": 2}).params["heat_grids"] in (2, "2")
    assert VideoGrainParams(heat_grids=2).heat_grids == (2,)  # type: ignore[arg-type]
