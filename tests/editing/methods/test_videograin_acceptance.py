"""The acceptance behaviours of VideoGrain, by the number they have in its specification.

Elsewhere: 2 to 4 in attention/test_regions.py; 9, most of 12 and 16 in every run of test_wiring.py, by
videograin_formulas.py; 11's reconstruction and 14 in test_built_in.py; 15 in motion/test_flow.py and
attention/test_frames.py; 16's identities in models/test_features.py.
"""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from regrain.editing import ArrayClip, EditRequest, Finished, Region, edit, load_backbone, load_project
from regrain.editing.attention.backends import attention
from regrain.editing.attention.batch import Batch
from regrain.editing.attention.frames import all_frames
from regrain.editing.attention.layers import AttentionLayer, Grid, install
from regrain.editing.attention.regions import modulated_attention
from regrain.editing.diffusion.blending import mix_noise
from regrain.editing.diffusion.schedule import add_noise
from regrain.editing.diffusion.text import spans
from regrain.editing.errors import RequestError
from regrain.editing.media.clip import resize
from regrain.editing.methods import videograin
from regrain.editing.models.intervention import Intervention, joint_norm
from regrain.editing.params.registry import resolve_params
from regrain.editing.params.videograin import VideoGrainParams
from regrain.editing.recipe import modulation
from regrain.editing.recipe.attention_recorder import AttentionRecorder, HeatScope
from regrain.editing.recipe.modulation import fade
from regrain.editing.recipe.window import working_clip
from regrain.editing.request.compose import compose, missing_phrases
from regrain.editing.storage.local_models import ASSETS

FRAMES, SIZE = 3, 64
GRID = Grid(FRAMES, 8, 8)


def layer(kind, side=1):
    """An attention layer whose tokens span so many latents a side."""
    return AttentionLayer("x", kind, "mid_block", (1, side, side))


SELF, CROSS = layer("self"), layer("cross")


pytestmark = pytest.mark.usefixtures("own_cache")


def ask_for(labels, *prompts, source="a cat and a dog on the grass", size=SIZE, **given):
    """A request with noise for a clip; region i + 1 is to become prompts[i]."""
    rng = np.random.default_rng(0)
    clip = ArrayClip(rng.integers(0, 256, (len(labels), size, size, 3), dtype=np.uint8), fps=Fraction(8))
    names = ("a cat", "a dog", "the grass")
    regions = tuple(
        Region(f"region {i}", i + 1, prompt=prompt, source=names[i], margin=0)
        for i, prompt in enumerate(prompts)
    )
    return EditRequest(clip, labels, regions, source_prompt=source, **given)


def two_boxes(frames=FRAMES, size=SIZE):
    labels = np.zeros((frames, size, size), np.uint8)
    labels[:, size // 8 : size * 5 // 8, size // 16 : size * 7 // 16] = 1
    labels[:, size * 5 // 16 : size * 7 // 8, size * 9 // 16 : size * 15 // 16] = 2
    return labels


def two_animals(**given):
    return ask_for(two_boxes(), "a panda", "a fox", **given)


def with_xi(step, amount):
    """A step at which xi is `amount`, where the schedule's power is 1."""
    return replace(step, time=amount)


def hook(tiny, request, amount=1.0, grid=(8, 8), rows=("uncond", "cond"), step=None, **given):
    """The attention that a run has in a step, or in the first one if its xi were `amount`."""
    grid = Grid(len(request.clip), *grid)
    layout, _ = videograin.lay_out(tiny, request, grid)
    params = VideoGrainParams(**given | {"track_levels": 0} | ({} if step else {"schedule_power": 1}))
    model = videograin.VideoGrainModel(tiny, working_clip(tiny, request), request, params)
    heat = AttentionRecorder(HeatScope.choose(grid, tiny.sites))
    modulation = videograin.Modulation(layout, params, model.seen, heat, model.tracks)
    step = step or with_xi(tiny.schedule.sampling(params.steps)[0], amount)
    return modulation.attend(step, Batch(grid.time, rows)), layout


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_01_regions_without_words_leave_cross_attention_alone(tiny):
    request = ask_for(two_boxes(), "", "", prompt="a panda on the moon", source="a clip")
    regions = tuple(replace(region, source="") for region in request.regions)
    request = replace(request, regions=regions)
    layout, text = videograin.lay_out(tiny, request, GRID)
    assert (layout.words == -1).all()
    expected = tiny.embed([request.composed.text]).vectors
    torch.testing.assert_close(text["cond"].vectors, expected, atol=1e-6, rtol=0)
    attend, _ = hook(tiny, request)
    q, keys = random(2 * FRAMES, 2, 64, 8), random(2 * FRAMES, 2, 77, 8)
    assert torch.equal(attend(q, keys, keys, CROSS), attention(q, keys, keys))


# --- 5 to 7: where, when and how much


def test_05_fifteen_steps_and_by_preset_the_layers_of_stable_diffusion(tiny):
    """Layers by name on the real configuration; whether a grid is modulated, on real numbers."""
    from diffusers import UNet2DConditionModel

    config = json.loads((ASSETS / "checkpoints" / "sd1" / "unet" / "config.json").read_text())
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config)
        sites = install(unet)
        tokens = {}
        unet(
            torch.empty(1, 4, 64, 64),
            torch.tensor(1),
            torch.empty(1, 77, 768),
            cross_attention_kwargs={
                "attend": lambda q, k, v, site: tokens.__setitem__(site.name, q.shape[2]) or q
            },
        )
    assert len(sites) == len(tokens) == 32
    assert all(Grid(1, 64, 64).at(site).tokens == tokens[site.name] for site in sites)
    request = ask_for(two_boxes(1, 512), "a panda", "a fox", size=512)
    for preset, expected in (("paper", (16, 16)), ("released", (11, 11))):
        given = VideoGrainParams.PRESETS[preset]
        changed = {}
        attend, _ = hook(tiny, request, grid=(64, 64), **given)
        for side in (8, 16, 32, 64):
            q, k = random(2, 2, 1, side * side, 8, seed=side)
            text = random(2, 1, 77, 8)
            plain = attention(q, k, k), attention(q, text, text)
            ours = tuple(
                attend(q, x, x, layer(kind, 64 // side)) for kind, x in (("self", k), ("cross", text))
            )
            changed[side * side] = [not torch.equal(a, b) for a, b in zip(ours, plain, strict=True)]
        counts = [
            sum(changed[tokens[site.name]][index] for site in sites if site.kind == kind)
            for index, kind in enumerate(("self", "cross"))
        ]
        assert tuple(counts) == expected
    steps = tiny.schedule.sampling(50)
    xi = [fade(VideoGrainParams(), step) for step in steps]
    assert [x > 0 for x in xi] == [True] * 15 + [False] * 35
    assert xi[:15] == pytest.approx([(t / 1000) ** 5 for t in range(980, 699, -20)])
    q, k = random(2, 2 * FRAMES, 2, 64, 8)
    text = random(2 * FRAMES, 2, 77, 8)
    for step, plain in ((steps[14], False), (steps[15], True)):
        attend, _ = hook(tiny, two_animals(), step=step)
        assert torch.equal(attend(q, k, k, SELF), all_frames(q, k, k, FRAMES)) == plain
        assert torch.equal(attend(q, text, text, CROSS), attention(q, text, text)) == plain


def test_06_the_papers_half_is_the_conditional_the_releases_the_other():
    halves = [resolve_params("videograin", {"preset": p}, {})[0].guidance_half for p in ("paper", "released")]
    assert halves == ["cond", "uncond"]


@pytest.mark.parametrize("half", ["uncond", "cond", "both"])
def test_06_halves_of_guidance_also_when_they_come_alone(tiny, half):
    request = two_animals()
    q, k = random(2, 2 * FRAMES, 2, 64, 8)
    text = random(2 * FRAMES, 2, 77, 8)
    together, _ = hook(tiny, request, guidance_half=half)
    for site, keys in ((SELF, k), (CROSS, text)):
        both = together(q, keys, keys, site)
        for rows, part in zip(("uncond", "cond"), both.chunk(2), strict=True):
            at = slice(None, FRAMES) if rows == "uncond" else slice(FRAMES, None)
            alone, _ = hook(tiny, request, guidance_half=half, rows=(rows,))
            assert torch.equal(alone(q[at], keys[at], keys[at], site), part)
            plain = (
                all_frames(q[at], k[at], k[at], FRAMES)
                if site is SELF
                else attention(q[at], text[at], text[at])
            )
            untouched = rows == "uncond" if site is CROSS else half not in (rows, "both")
            assert torch.equal(part, plain) == untouched


def strengths(monkeypatch, attend, q, k, site):
    """What the hook asks of `modulated_attention`: labels of queries and keys, and strengths."""
    seen = []
    monkeypatch.setattr(
        modulation, "modulated_attention", lambda q, k, v, *rest: seen.append(rest) or attention(q, k, v)
    )
    attend(q, k, k, site)
    return seen[-1]


def test_07_size_term_by_formula(tiny, monkeypatch):
    request = two_animals()
    q, k = random(2, 2 * FRAMES, 2, 64, 8)
    text = random(2 * FRAMES, 2, 77, 8)
    layout = hook(tiny, request)[1]
    codes = layout.codes(SELF)
    whole = {c: (codes == c).sum() / codes.numel() for c in range(3)}
    for preset, uncovered, over in (("paper", None, 1), ("released", 1.0, FRAMES)):
        given = VideoGrainParams.PRESETS[preset] | {"guidance_half": "both", "levels": "all"}
        attend, _ = hook(tiny, request, amount=0.5, **given)
        label, _, a = strengths(monkeypatch, attend, q, k, SELF)
        for code in range(3):
            term = 1 - whole[code] / over if code or uncovered is None else torch.tensor(uncovered)
            torch.testing.assert_close(a[codes.view(1, -1) == code].unique(), (0.5 * 0.3 * term)[None])
        assert (label.view(FRAMES, -1)[codes == 0] == (0 if preset == "paper" else -1)).all()
        _, _, a = strengths(monkeypatch, attend, q, text, CROSS)
        for frame in range(FRAMES):
            for code in (1, 2):
                share = (codes[frame] == code).float().mean()
                torch.testing.assert_close(a[frame][codes[frame] == code].unique(), (0.5 * (1 - share))[None])
            background = a[frame][codes[frame] == 0]
            assert (background == (0 if preset == "paper" else 0.5)).all()


def test_07_in_cross_attention_the_size_is_each_frames_own(tiny, monkeypatch):
    labels = two_boxes()
    labels[1, :, :12] = 0  # the first region is smaller in the second frame
    attend, layout = hook(tiny, ask_for(labels, "a panda", "a fox"))
    q, text = random(2 * FRAMES, 2, 64, 8), random(2 * FRAMES, 2, 77, 8)
    _, _, a = strengths(monkeypatch, attend, q, text, CROSS)
    codes = layout.codes(SELF)
    first, second = (a[frame][codes[frame] == 1].unique() for frame in (0, 1))
    assert len(first) == len(second) == 1
    assert (codes[1] == 1).sum() < (codes[0] == 1).sum()
    assert second > first


# --- 8 and 9: words

JOG, GRASS = "are jogging under cherry", "on grass meadow before cherry trees"
EDITS = [
    ("A red porsche car driving before the autumn view lawn", "A red porsche car|autumn view lawn"),
    (f"Two Spiderman are jogging {GRASS}", "Two Spiderman|grass meadow|cherry trees"),
    ("A Batman is on snow covered court before an iced wall", "A Batman|snow covered court|an iced wall"),
    ("A cute pig in the autum forest", "A cute pig|autum forest"),
    ("A husky in the green forest", "A husky|green forest"),
    ("A tiger in the autum forest", "A tiger|autum forest"),
    ("A bear in the autum  forest", "A bear|autum forest"),
    ("A firetruck and a school bus are on the road", "A firetruck|a school bus|road"),
    ("A firetruck and a school bus are on the road", "A firetruck|a school bus"),
    ("A small Samoyed and a tiger are under sunrise", "A small Samoyed|a tiger|under sunrise"),
    ("A Giant Panda and a curly apricot fur toy poodle are in starry night on grassy meadow",
     "A Giant Panda|a curly apricot fur toy poodle|starry night|grassy meadow"),
    ("A teddy bear and a Golden Retriever are on the grassy area with dry leaves",
     "A teddy bear|a Golden Retriever|grassy area with dry leaves"),
    ("A teddy bear and a koala are on the grassy area with dry leaves",
     "A teddy bear|a koala|grassy area with dry leaves"),
    ("A Spider Man and a Wonder Woman are before charcoal grey wall",
     "A Spider Man|Wonder Woman|charcoal grey wall"),
    (f"Iron Man and Spiderman {JOG} blossoms", "Iron Man|Spiderman|cherry blossoms"),
    (f"Spiderman and Polar Bear {GRASS}", "Spiderman|Polar Bear|grass meadow|cherry trees"),
    ("An Iron Man and a Stormtrooper on moss covered stone bridge over lake in the forest",
     "An Iron Man|a Stormtrooper|moss covered stone bridge|lake|forest"),
    ("Iron Man and Spiderman are jogging under green trees", "Iron Man|Spiderman"),
    ("Iron Man and gray man are jogging under green trees", "Iron Man"),
    ("red man and Spiderman are jogging under green trees", "Spiderman"),
    ("Thor in sunglasses, punching red boxing gloves in starry night sky",
     "Thor|sunglasses|red boxing gloves|starry night sky"),
    ("Superman in a flat cap before store", "Superman|flat cap|store"),
    ("Superman before store", "Superman|store"),
    (f"Spiderman and Polar Bear in sunglasses {GRASS}",
     "Spiderman|Polar Bear|sunglasses|grass meadow|cherry trees"),
    ("Superman in sunglasses spins moon under cherry blossoms", "Superman|sunglasses|moon|cherry blossoms"),
    ("Superman spins moon under cherry blossoms", "Superman|moon|cherry blossoms"),
    ("A ginger cat body is roaring", "ginger cat body"),
    ("A ginger and white cat head is roaring", "ginger and white cat head"),
    ("A man in black suit", "black suit"),
    ("A man in blue shirt", "blue shirt"),
    ("An Iron Man", ""),
    (f"Spiderman and Polar Bear {JOG} trees", "Polar Bear|cherry trees"),  # the demo: its "man" is below
    (f"Spiderman and Polar Bear {JOG} trees", "Polar Bear|cherry trees|"),  # and its visualised attention
]  # fmt: skip
POSITIONS = {  # what the specification names
    (f"Iron Man and Spiderman {JOG} blossoms", "Iron Man"): (1, 2),
    (f"Iron Man and Spiderman {JOG} blossoms", "Spiderman"): (4,),
    (f"Iron Man and Spiderman {JOG} blossoms", "cherry blossoms"): (8, 9),
    (f"Spiderman and Polar Bear in sunglasses {GRASS}", "Polar Bear"): (3, 4),
    (f"Spiderman and Polar Bear in sunglasses {GRASS}", "sunglasses"): (6,),
}


def test_08_every_local_prompt_is_found_exactly_once(tiny):
    assert len(EDITS) == 33
    for prompt, phrases in EDITS:
        regions = [Region(f"{i}", i + 1, prompt=p) for i, p in enumerate(phrases.split("|"))]
        composed, text = compose("", prompt, regions), tiny.embed([prompt])
        assert composed.text == prompt
        assert not missing_phrases("", prompt, regions)
        ids = tiny.tokenizer(prompt).input_ids
        for region in regions:
            if not region.prompt:
                assert composed.spans[region.label] is None
                continue
            own = tiny.tokenizer(region.prompt).input_ids[1:-1]
            found = [i for i in range(len(ids)) if ids[i : i + len(own)] == own]
            positions = spans(text, *composed.spans[region.label])
            assert len(found) == 1, (prompt, region.prompt)
            assert positions == tuple(range(found[0], found[0] + len(own)))
            assert positions == POSITIONS.get((prompt, region.prompt), positions)


def test_08_a_phrase_that_is_no_whole_word_is_appended_and_bound(tiny):
    """The release drops "man" silently: "spiderman" is one token."""
    prompt = f"Spiderman and Polar Bear {JOG} trees"
    assert not set(tiny.tokenizer("man").input_ids[1:-1]) & set(tiny.tokenizer(prompt).input_ids)
    composed = compose("", prompt, [Region("left", 1, prompt="man")])
    assert composed.text == f"{prompt}, man"
    assert spans(tiny.embed([composed.text]), *composed.spans[1]) == (11,)
    assert missing_phrases("", prompt, [Region("left", 1, prompt="man")]) == {1: "man"}
    request = ask_for(two_boxes(1) % 2, "man", prompt=prompt, params={"steps": 1, "preview_every": 0})
    (finished,) = (event for event in edit(request, tiny) if isinstance(event, Finished))
    (warning,) = finished.report["warnings"]
    assert "'region 0': 'man' does not match whole words of the prompt" in warning
    assert f"{prompt}, man" in warning


def test_08_repeated_words_plurals_and_punctuation(tiny):
    regions = [
        Region("a", 1, source="a cat", prompt="a panda"),
        Region("b", 2, source="a cat", prompt="two foxes"),
        Region("c", 3, source="cat", prompt=""),
    ]
    composed = compose("A cat, a cat (and cats); the cat!", "", regions)
    assert composed.text == "a panda, two foxes (and cats); the cat!"
    assert [composed.text[slice(*composed.spans[i])] for i in (1, 2, 3)] == ["a panda", "two foxes", "cat"]
    found = [spans(tiny.embed([composed.text]), *composed.spans[i]) for i in (1, 2, 3)]
    assert found[0] == (1, 2)
    assert len(set().union(*found)) == sum(map(len, found))


def test_08_start_end_and_padding_belong_to_nobody(tiny):
    request = ask_for(two_boxes(), "a panda", "")
    layout, _ = videograin.lay_out(tiny, request, GRID)
    length = tiny.embed([request.composed.text]).lengths[0]
    assert layout.words[0] == -1
    assert (layout.words[length - 1 :] == -1).all()
    assert (layout.words == 1).sum() == 2


# --- 10 to 12: inflation, inversion, blending


def test_10_one_frame_is_the_image_model_and_equal_frames_are_that_frame(tiny):
    x = random(1, 4, 8, 8)
    step, text = tiny.schedule.sampling(50)[10], tiny.embed(["a cat"])

    def full(frames):
        def attend(q, k, v, site):
            plain = scaled_dot_product_attention(q, k, v)
            return plain if site.kind == "cross" else all_frames(q, k, v, frames)

        return Intervention(attend, (joint_norm(frames),))

    one = tiny.predict(x, step, text, full(1))[1]
    with torch.no_grad():
        torch.testing.assert_close(one, tiny.unet(x, step.t, text.vectors).sample, atol=1e-5, rtol=1e-4)
    many = tiny.predict(x.repeat(FRAMES, 1, 1, 1), step, text, full(FRAMES))[1]
    torch.testing.assert_close(many, one.expand(FRAMES, -1, -1, -1), atol=1e-5, rtol=1e-4)


def test_11_the_released_inversion_takes_49_steps_and_ends_where_sampling_starts(tiny):
    steps = tiny.schedule.inversion(50, "videograin")
    assert [step.t for step in steps] == list(range(1, 962, 20))
    start = tiny.schedule.sampling(50)[0]
    assert (steps[-1].signal_next, steps[-1].noise_next) == (start.signal, start.noise)
    assert start.t == 981


def test_12_outside_is_the_inversion_or_as_released_the_source_with_fresh_noise(tiny):
    step_to_clean = tiny.schedule.sampling(50)[-1]
    for convention, length in (("paper", 51), ("videograin", 50)):
        inversion = tiny.schedule.inversion(50, convention)
        levels = [
            *((s.signal, s.noise) for s in inversion),
            (inversion[-1].signal_next, inversion[-1].noise_next),
        ]
        inverted = [torch.full((1, 1, 1, 1), noise) for _, noise in levels]
        assert len(inverted) == length
        for step in tiny.schedule.sampling(50)[:-1]:
            kept = videograin.outside(inverted, step, "inversion", torch.Generator())
            assert float(kept) == pytest.approx(step.noise_next)
        assert videograin.outside(inverted, step_to_clean, "inversion", torch.Generator()) is inverted[0]
    z0, last = random(FRAMES, 4, 8, 8), tiny.schedule.sampling(50)[-1]
    noisy = videograin.outside([z0], last, "noise", torch.Generator().manual_seed(5))
    torch.testing.assert_close(noisy, add_noise(z0, random(FRAMES, 4, 8, 8, seed=5), last))
    assert last.noise == pytest.approx(0.0412, abs=1e-3)  # what the release leaves in the background


def test_12_what_is_blended_outside_is_not_what_the_regions_begin_with(tiny):
    """Fresh noise is drawn from one generator; without variation nothing is drawn."""
    step, clean = tiny.schedule.sampling(5)[0], torch.zeros(3, 4, 8, 8)
    fresh, untouched = (torch.Generator().manual_seed(3) for _ in range(2))
    assert mix_noise(clean, None, 0.0, fresh) is clean
    assert torch.equal(fresh.get_state(), untouched.get_state())
    begun = mix_noise(clean, None, 1.0, fresh)
    blended = videograin.outside([clean, clean], step, "noise", fresh) / step.noise
    assert torch.equal(begun[0], begun[1])
    assert abs(torch.corrcoef(torch.stack([begun[0].flatten(), blended[0].flatten()]))[0, 1]) < 0.3


# --- 13: with trained weights


@pytest.fixture(scope="module")
def trained():
    """The built-in model and the first example: layout, texts, latents, noise, and the modulated steps."""
    model, request = load_backbone("storybook"), load_project(ASSETS / "examples" / "01_two_animals")
    frames = resize(request.clip.read(0, 4), (model.size, model.size))
    request = EditRequest(
        ArrayClip(request.clip.read(0, 4), fps=Fraction(8)),
        request.labels[:4],
        request.regions,
        source_prompt=request.source_prompt,
    )
    latents = model.encode(frames)
    layout, text = videograin.lay_out(model, request, model.grid(*frames.shape[:3]))
    steps = [s for s in model.schedule.sampling(20) if fade(VideoGrainParams(), s) > 0]
    return model, layout, text, latents, steps


def masses(known, amount=1.0, **given):
    """Mean share of words inside their region and outside, and of same-region keys, over layers and heads."""
    model, layout, text, latents, step = known
    x = add_noise(latents, random(*latents.shape), step)
    params = VideoGrainParams(guidance_half="cond", schedule_power=1, **given)
    heat = AttentionRecorder(HeatScope.choose(layout.grid, model.sites))
    modulation = videograin.Modulation(layout, params, "all", heat)
    attend = modulation.attend(with_xi(step, amount), Batch(len(x), ("cond",)))
    own = []

    def watch(q, k, v, site):
        if site.kind == "self":
            codes = layout.codes(site).reshape(1, -1)
            same = torch.zeros_like(v)  # a column for each region
            same[..., :3] = torch.nn.functional.one_hot(codes, 3).view(len(x), 1, -1, 3)
            share = attend(q, k, same, site)[..., :3].mean(1).reshape(1, -1, 3)
            own.append(float(share.gather(2, codes[..., None])[codes > 0].mean()))
        return attend(q, k, v, site)

    model.predict(x, step, text["cond"], Intervention(watch))
    maps, finest = heat.maps(layout.columns), AttentionLayer("x", "cross", "", min(heat.scope.strides))
    labels = layout.codes(finest).view(len(x), *heat.scope.size).numpy()
    means = [
        [maps[name].after[(labels == i) == inside].mean() for inside in (True, False)]
        for i, name in enumerate(layout.names, 1)
    ]
    inside, outside = np.mean(means, 0)
    return inside, outside, float(np.mean(own))


@pytest.mark.slow
def test_13_mass_goes_where_it_should_and_more_with_more_strength(trained):
    *rest, steps = trained
    for step in steps:
        known = (*rest, step)
        cross = [masses(known, cross_strength=c, self_strength=0.0) for c in (0.0, 0.5, 1.0)]
        assert [m[0] for m in cross] == sorted(m[0] for m in cross)
        assert cross[2][0] > cross[0][0] + 0.02
        # Outside, the share of a region's words need not fall: where the start token holds most, levelling
        # it raises all others a little. What must grow is the contrast.
        contrast = [inside / outside for inside, outside, _ in cross]
        assert contrast == sorted(contrast)
        assert contrast[2] > 2 * contrast[0]
        within = [cross[0][2], *(masses(known, cross_strength=0.0, self_strength=s)[2] for s in (0.3, 1.0))]
        assert within == sorted(within)
        assert within[2] > within[0] + 0.02
    faded = [masses((*rest, steps[3]), amount=(t / 1000) ** 5)[0] for t in (700, 840, 980)]
    assert faded == sorted(faded)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: 16 frames of 512 x 512")
def test_17_memory_of_sixteen_frames_is_near_plain_attentions():
    q, k, v = torch.randn(3, 1, 8, 16 * 1024, 40, device="cuda", dtype=torch.float16)
    labels = torch.arange(16 * 1024, device="cuda")[None] % 4
    a = torch.full((1, 16 * 1024), 0.3, device="cuda")
    peaks = []
    for run in (lambda: attention(q, k, v), lambda: modulated_attention(q, k, v, labels, labels, a)):
        run()
        torch.cuda.reset_peak_memory_stats()
        run()
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[1] < 16 << 30
    assert peaks[1] < 1.2 * peaks[0] + (128 << 20)


def absent(labels):
    labels[1:, :, :32] = 0
    return labels


def tiny_part(labels):
    labels[labels == 2] = 0
    labels[:, 60:62, 60:62] = 2
    return labels


@pytest.mark.parametrize("uncovered", ["region", "repelled"])
@pytest.mark.parametrize("change", [lambda x: x, absent, tiny_part, np.ones_like])
def test_18_degenerate_layouts_stay_finite_and_within_bounds(tiny, monkeypatch, change, uncovered):
    labels = change(two_boxes())
    request = ask_for(labels, *("a panda", "a fox")[: int(labels.max())])
    attend, layout = hook(tiny, request, uncovered=uncovered, guidance_half="both")
    for side in (8, 4, 2, 1):
        sites = layer("self", 8 // side), layer("cross", 8 // side)
        codes = layout.codes(sites[0])
        for frame in range(FRAMES):
            if side > 2:  # as many cells as regions and background
                assert set(np.unique(labels[frame])) - {0} <= set(codes[frame].tolist())
        q, k = random(2, 2 * FRAMES, 2, side * side, 8)
        text = random(2 * FRAMES, 2, 77, 8)
        for site, keys in zip(sites, (k, text), strict=True):
            assert attend(q, keys, keys, site).isfinite().all()
            with monkeypatch.context() as patched:
                _, _, a = strengths(patched, attend, q, keys, site)
            assert ((a >= 0) & (a <= 1)).all()


# --- presets and spans


def test_presets_set_what_their_source_does():
    paper, _ = resolve_params("videograin", {"preset": "paper"}, {"joint_norm": False})
    released, resolved = resolve_params(
        "videograin", {"preset": "released", "levels": "all"}, {"blend": False}
    )
    assert paper == VideoGrainParams()
    assert released == VideoGrainParams(
        preset="released",
        levels="all",
        guidance_half="uncond",
        uncovered="repelled",
        size_over_frames=True,
        blend_with="noise",
        inversion="released",
        inject_until=0.0,
    )
    assert resolved["levels"]["source"] == "given"
    assert resolved["uncovered"]["source"] == "preset"


@pytest.mark.parametrize(
    ("steps", "redraw", "again"), [(20, 0.4, 8), (20, 0.0, 0), (10, 0.9, 9), (1, 0.9, 0)]
)
def test_never_all_steps_are_taken_again(steps, redraw, again):
    assert VideoGrainParams(steps=steps, redraw=redraw).steps_again == again


@pytest.mark.parametrize("pixel", ["3,0,0", "0,64,0", "0,0,64"])
def test_a_pixel_beside_the_clip_is_refused_before_any_work(tiny, pixel):
    with pytest.raises(
        RequestError, match=r"^params.heat_pixel: .* frame from 0 to 2 and a pixel inside 64 x 64"
    ):
        next(edit(replace(two_animals(), params={"heat_pixel": pixel}), tiny))


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
        two_animals(params=given)


def test_one_grid_may_be_given_as_a_number():
    """What the command line makes of `--set heat_grids=2`."""
    assert two_animals(params={"heat_grids": 2}).params["heat_grids"] in (2, "2")
    assert VideoGrainParams(heat_grids=2).heat_grids == (2,)  # type: ignore[arg-type]
