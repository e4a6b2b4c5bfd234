"""The acceptance behaviours of VideoGrain, by the number they have in its
specification.

Elsewhere: 2 to 4 in attention/test_regions.py; 6, also where halves come alone, in
test_every_method.py; 7, 9, most of 12 and 16 in every run of
test_wiring.py, by videograin_formulas.py; 10 in models/test_intervention.py; 11 in
diffusion/test_schedule.py, and with 14 in test_built_in.py; 15 in motion/test_flow.py
and attention/test_frames.py; 16's identities in models/test_features.py.
"""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from regrain.editing import (
    ArrayClip,
    EditRequest,
    Finished,
    Region,
    edit,
)
from regrain.editing.attention.backends import attention
from regrain.editing.attention.batch import Batch
from regrain.editing.attention.layers import AttentionLayer, Grid
from regrain.editing.attention.regions import Partition, partitioned_attention
from regrain.editing.diffusion.text import spans
from regrain.editing.methods import videograin
from regrain.editing.params.registry import resolve_params
from regrain.editing.params.videograin import VideoGrainParams
from regrain.editing.recipe import modulation
from regrain.editing.recipe.attention_recorder import AttentionRecorder, HeatScope
from regrain.editing.recipe.modulation import fade
from regrain.editing.recipe.window import working_clip
from regrain.editing.request.compose import compose

FRAMES = 3
SIZE = 64
GRID = Grid(FRAMES, 8, 8)


def layer(kind, side=1):
    """An attention layer whose tokens span so many latents a side."""
    return AttentionLayer("x", kind, "mid_block", (1, side, side))


pytestmark = pytest.mark.usefixtures("own_cache")


def ask_for(
    labels, *prompts, source="a cat and a dog on the grass", size=SIZE, **given
):
    """A request with noise for a clip; region i + 1 is to become prompts[i]."""
    rng = np.random.default_rng(0)
    clip = ArrayClip(
        rng.integers(0, 256, (len(labels), size, size, 3), dtype=np.uint8),
        fps=Fraction(8),
    )
    names = ("a cat", "a dog", "the grass")
    regions = tuple(
        Region(f"region {i}", i + 1, text, names[i], margin=0)
        for i, text in enumerate(prompts)
    )
    return EditRequest(clip, labels, regions, source_prompt=source, **given)


def two_boxes(frames=FRAMES, size=SIZE):
    labels = np.zeros((frames, size, size), np.uint8)
    labels[:, size // 8 : size * 5 // 8, size // 16 : size * 7 // 16] = 1
    labels[:, size * 5 // 16 : size * 7 // 8, size * 9 // 16 : size * 15 // 16] = 2
    return labels


def two_animals(**given):
    return ask_for(two_boxes(), "a panda", "a fox", **given)


def hook(tiny, request, grid=(8, 8), **given):
    """The attention that a run has in a first step whose xi were 1."""
    grid = Grid(len(request.clip), *grid)
    layout, _ = videograin.lay_out(tiny, request, grid)
    params = VideoGrainParams(**given, schedule_power=1)
    model = videograin.VideoGrainModel(
        tiny, working_clip(tiny, request), request, params
    )
    heat = AttentionRecorder(HeatScope.choose(grid, tiny.sites))
    modulation = videograin.Modulation(layout, params, model.seen, heat)
    step = replace(tiny.schedule.sampling(params.steps)[0], time=1.0)
    return modulation.attend(step, Batch(grid.time, ("uncond", "cond"))), layout


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(
        *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype
    )


def test_01_regions_without_words_leave_cross_attention_alone(tiny):
    request = ask_for(
        two_boxes(), "", "", prompt="a panda on the moon", source="a clip"
    )
    regions = tuple(replace(region, source="") for region in request.regions)
    request = replace(request, regions=regions)
    layout, text = videograin.lay_out(tiny, request, GRID)
    assert (layout.words == -1).all()
    assert layout.columns == {}  # nobody asks where their words look
    expected = tiny.embed([request.composed.text]).vectors
    torch.testing.assert_close(text["cond"].vectors, expected, atol=1e-5, rtol=0)
    attend, _ = hook(tiny, request)
    q = random(2 * FRAMES, 2, 64, 8)
    keys = random(2 * FRAMES, 2, 77, 8)
    assert torch.equal(attend(q, keys, keys, layer("cross")), attention(q, keys, keys))


# --- 5: where, when and how much


def test_05_fifteen_steps_are_modulated(tiny):
    steps = tiny.schedule.sampling(50)
    xi = [fade(VideoGrainParams(), step) for step in steps]
    assert [x > 0 for x in xi] == [True] * 15 + [False] * 35
    assert xi[:15] == pytest.approx([(t / 1000) ** 5 for t in range(980, 699, -20)])


# --- 8: words

JOG = "are jogging under cherry"
GRASS = "on grass meadow before cherry trees"
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
    # the demo: its "man" is below
    (f"Spiderman and Polar Bear {JOG} trees", "Polar Bear|cherry trees"),
    # and its visualised attention
    (f"Spiderman and Polar Bear {JOG} trees", "Polar Bear|cherry trees|"),
]  # fmt: skip


def test_08_every_local_prompt_is_found_exactly_once(tiny):
    assert len(EDITS) == 33
    for prompt, phrases in EDITS:
        regions = [
            Region(f"{i}", i + 1, prompt=p) for i, p in enumerate(phrases.split("|"))
        ]
        composed = compose("", prompt, regions)
        text = tiny.embed([prompt])
        assert composed.text == prompt
        assert not compose("", prompt, regions).missing
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


def test_08_a_phrase_that_is_no_whole_word_is_appended_and_bound(tiny):
    """The release drops "man" silently: "spiderman" is one token."""
    prompt = f"Spiderman and Polar Bear {JOG} trees"
    assert not set(tiny.tokenizer("man").input_ids[1:-1]) & set(
        tiny.tokenizer(prompt).input_ids
    )
    composed = compose("", prompt, [Region("left", 1, prompt="man")])
    assert composed.text == f"{prompt}, man"
    assert spans(tiny.embed([composed.text]), *composed.spans[1]) == (11,)
    assert compose("", prompt, [Region("left", 1, prompt="man")]).missing == {1: "man"}
    request = ask_for(
        two_boxes(1) % 2, "man", prompt=prompt, params={"steps": 1, "preview_every": 0}
    )
    (finished,) = (
        event for event in edit(request, tiny) if isinstance(event, Finished)
    )
    (warning,) = finished.report["warnings"]
    assert "'region 0': 'man' does not match whole words of the prompt" in warning
    assert f"{prompt}, man" in warning


@pytest.mark.gpu
@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a GPU: 16 frames of 512 x 512"
)
def test_17_memory_of_sixteen_frames_is_near_plain_attentions():
    q, k, v = torch.randn(3, 1, 8, 16 * 1024, 40, device="cuda", dtype=torch.float16)
    labels = torch.arange(16 * 1024, device="cuda")[None] % 4
    a = torch.full((1, 16 * 1024), 0.3, device="cuda")
    peaks = []
    for run in (
        lambda: attention(q, k, v),
        lambda: partitioned_attention(q, k, v, Partition.of(labels, labels), a),
    ):
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
def test_18_degenerate_layouts_stay_finite_and_within_bounds(
    tiny, monkeypatch, change, uncovered
):
    labels = change(two_boxes())
    request = ask_for(labels, *("a panda", "a fox")[: int(labels.max())])
    attend, layout = hook(tiny, request, uncovered=uncovered, guidance_half="both")
    asked = []

    def spy(*given):
        asked.append(given[-1])
        return partitioned_attention(*given)

    monkeypatch.setattr(modulation, "partitioned_attention", spy)
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
            for a in asked:
                assert a is None or ((a >= 0) & (a <= 1)).all()


def test_presets_set_what_their_source_does():
    paper, _ = resolve_params("videograin", {"preset": "paper"}, {"joint_norm": False})
    given = {"preset": "released"}
    released, resolved = resolve_params("videograin", given, {"blend": False})
    assert paper == VideoGrainParams(guidance_half="cond")
    given |= {"guidance_half": "uncond", "levels": "coarse", "uncovered": "repelled"}
    given |= {"size_over_frames": True}
    given |= {"blend_with": "noise", "inversion": "released", "inject_until": 0.0}
    assert released == VideoGrainParams(**given)
    assert resolved["uncovered"]["source"] == "preset"


def test_never_all_steps_are_taken_again():
    for steps, redraw, again in ((20, 0.4, 8), (20, 0.0, 0), (10, 0.9, 9), (1, 0.9, 0)):
        assert VideoGrainParams(steps=steps, redraw=redraw).steps_again == again
