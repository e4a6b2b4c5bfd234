"""VideoGrain written out: what every call of the model should be given, and what
becomes of its answers."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from made_models import seeded
from torch import Tensor
from torch.nn.functional import interpolate
from wiring import (
    FINEST,
    GRIDS,
    MODULATED,
    SHORT,
    Call,
    Case,
    Layer,
    Row,
    Run,
    answers,
    any_in,
    check_free_words,
    differs,
    each,
    finest,
    gathered,
    guided,
    has_text,
    near,
    scores,
    softmax,
    tracks_on,
    varied,
    walk,
)

from regrain.editing.diffusion.schedule import Step
from regrain.editing.motion.smoothing import steady
from regrain.editing.params.base import ModulatedParams
from regrain.editing.params.videograin import VideoGrainParams

CASE = Case(
    base=SHORT | MODULATED | {"inject_until": 0.0},
    rows={
        "preset": "released",
        "size_term": Row(False, {"attention_span": "own_frame"}),
        "guidance_half": "uncond",
        "levels": "coarse",
        "uncovered": Row("repelled", {"guidance_half": "both"}),
        "size_over_frames": True,
        "attention_span": "sparse_causal",
        "joint_norm": False,
        "inject_until": 0.5,
        "inversion": Row("released", {"inject_until": 1.0}),
        "blend_with": "noise",
    },
    elsewhere={"flow"},
    heat={"left", "right"},
    more={"inject_until": 0.5, "redraw": 0.5},
)


TOLD = {"paper": "paper", "released": "videograin"}
SPANS = {"full": "all", "sparse_causal": "first_previous", "own_frame": "own"}
WORDS = {1: 1, 2: 1, 4: 2, 5: 2}  # token -> region, of "a panda and a fox on the grass"
REFUSED = {3: 1}  # of "blurred, ugly"
UNCOND = 0
COND = 1


def check(run: Run) -> None:
    """The whole run, by the formulas of the paper and the parameters given."""
    edits = [call for call in run.of("editing") if call.branches == 2]
    sources = [call for call in run.of("editing") if call.branches == 1]
    steps = run.steps
    rising = run.model.schedule.inversion(run.params.steps, TOLD[run.params.inversion])
    first = run.clean
    latents = walk(first, run.of("inverting"), rising)
    source = run.model.embed([run.request.source_prompt]).vectors
    for call in [*run.of("inverting"), *sources]:
        assert has_text(call, 0, source)
        check_plain(run, call)
    undone = list(reversed(rising))[
        : sum(in_first(run.params.inject_until, s) for s in steps)
    ]
    assert [call.step for call in sources] == undone
    for call in sources:
        near(call.x, latents[call.step.index], "source latents")
    kept = dict(zip((s.index for s in steps), sources, strict=False))
    del run.decoded[:-1]  # of the edit before its last steps were taken again
    near(run.decoded[0], check_editing(run, edits, latents, kept), "last latents")
    check_control(run)
    check_heat(run, edits)
    assert set(run.result.attention) == {"left", "right"}


def check_editing(
    run: Run, edits: list[Call], latents: list[Tensor], kept: dict[int, Call]
) -> Tensor:
    """Every step of the edit; the latents it ends with."""
    params = run.params
    request = run.request
    steps = run.steps
    inside = any_in(request.edited_mask, GRIDS[FINEST])
    x = varied(latents[-1], inside, params, request.seed)
    fresh = seeded(request.seed)
    again = round(params.steps * params.redraw)
    assert [call.step for call in edits] == [*steps, *steps[len(steps) - again :]]
    for number, call in enumerate(edits):
        step = call.step
        if number == len(steps):
            x = noised(run, x, step, fresh)
            x = inside * x + (1 - inside) * latents[len(latents) - 1 - step.index]
        near(call.x, torch.cat([x, x]), f"x of step {step.index}")
        check_texts(run, call)
        check_attention(run, call, kept.get(step.index))
        x = guided(
            answers(call, UNCOND), answers(call, COND), params.guidance_scale, step
        )
        if params.blend and params.blend_with == "noise":
            noise = torch.randn(latents[0].shape, generator=fresh)
            x = inside * x + (1 - inside) * (
                step.signal * latents[0] + step.noise * noise
            )
        elif params.blend:
            level = max(len(latents) - 2 - step.index, 0)
            x = inside * x + (1 - inside) * latents[level]
    return x


def noised(run: Run, x: Tensor, step: Step, fresh: torch.Generator) -> Tensor:
    """The edit averaged along the motion, and one noise for all of its frames."""
    noise = torch.randn(x.shape[1:], generator=fresh)
    return step.signal * averaged(run, x) + step.noise * noise


def averaged(run: Run, x: Tensor) -> Tensor:
    """Latents of an edit that is averaged along the motion."""
    frames = iter(run.request.clip.read(0, run.frames))
    calm = steady(iter(run.model.decode(x)), frames, 3.0)
    return run.model.encode(np.stack([*calm]))


def in_first(share: float, step: Step) -> bool:
    return step.index < share * step.total - 1e-9


def check_texts(run: Run, call: Call) -> None:
    """The negative prompt, and the prompt with each region's phrase as it is alone."""
    negative = run.model.embed([run.request.negatives]).vectors[0]
    near(call.text(UNCOND), negative, "negative prompt")
    near(call.text(COND), spliced(run), "prompt")


def spliced(run: Run) -> Tensor:
    """The prompt with each region's phrase as it is alone."""
    prompts = ["a panda and a fox on the grass", "a panda", "a fox"]
    whole, panda, fox = run.model.embed(prompts).vectors
    found = whole.clone()
    found[1:3], found[4:6] = panda[1:3], fox[1:3]
    return found


# --- Attention


def check_plain(run: Run, call: Call) -> None:
    """Frames see each other and follow the motion, and nothing is modulated."""
    check_free_words(call)
    for layer in each(call.layers, "self"):
        layer.gives(along_tracks(run, layer, spanned(run, layer)))


def as_paper(run: Run, **given: object) -> Run:
    """A run of a method that binds regions as the paper does, as it is seen here."""
    names = ModulatedParams.__annotations__
    values = {name: getattr(run.params, name) for name in names}
    return replace(run, params=VideoGrainParams(**(values | given)))


def spanned(run: Run, layer: Layer) -> Tensor:
    return layer.seeing(span(run))


def span(run: Run) -> str:
    return SPANS[run.params.attention_span]


def tracks_of(run: Run) -> dict[int, Tensor]:
    """Track of every token, by how many a frame has: of the finest grid."""
    return {finest(run): tracks_on(run, finest(run))}


def along_tracks(run: Run, layer: Layer, seen: Tensor) -> Tensor:
    """Each token sees its own track, in what attention gave before; alone it keeps
    that."""
    tracks = tracks_of(run).get(layer.tokens)
    if tracks is None:
        return seen
    same = tracks.flatten()[:, None] == tracks.flatten()[None]
    assert same.sum() > 2 * len(same)  # the clip moves slowly enough to be followed
    return along(layer, seen, same)


def along(layer: Layer, values: Tensor, same: Tensor, sharpness: float = 1.0) -> Tensor:
    """Each token of a branch, in all of its frames, sees those that are the same."""
    out = []
    for q, k, v in zip(
        *(x.split(layer.frames) for x in (layer.q, layer.k, values)), strict=True
    ):
        q, k, v = (x.transpose(0, 1).flatten(1, 2) for x in (q, k, v))
        maps = (sharpness * scores(q, k)).masked_fill(~same, -torch.inf).softmax(-1)
        out.append((maps @ v).unflatten(1, (layer.frames, -1)).transpose(0, 1))
    return torch.cat(out)


def codes(run: Run, tokens: int) -> Tensor:
    """Region of each token: what most of its pixels are, of equals rather a region than
    the background."""
    if tokens in run.kept:
        return run.kept[tokens]
    labels, (height, width) = np.asarray(run.request.labels), GRIDS[tokens]
    high = labels.shape[1] // height
    wide = labels.shape[2] // width
    cells = (
        labels.reshape(run.frames, height, high, width, wide)
        .swapaxes(2, 3)
        .reshape(run.frames, tokens, -1)
    )
    counts = np.stack([(cells == label).sum(-1) for label in (0, 1, 2)])
    found = 2 - counts[::-1].argmax(0)
    assert all({1, 2} <= set(frame.tolist()) for frame in found)
    run.kept[tokens] = torch.from_numpy(found)
    return run.kept[tokens]


def fade(run: Run, step: Step) -> float:
    if not in_first(run.params.modulate_until, step):
        return 0.0
    return ((step.t - 1) / 1000) ** run.params.schedule_power


def strengths(
    run: Run, step: Step, own: Tensor, keys: Tensor, weights: Tensor, over: int = 1
) -> Tensor:
    """a = xi w (1 - S), with S the share of the keys that are of the query's own
    region."""
    params = run.params
    if params.levels == "coarse" and own.shape[1] == finest(run):
        return torch.zeros(own.shape)
    size = (keys[:, None] == own[..., None]).float().mean(-1) / over
    spare = 1 - size if params.size_term else torch.ones(own.shape)
    if params.uncovered == "repelled" and params.size_term:
        spare = torch.where(own == 0, 1.0, spare)
    return fade(run, step) * weights[own] * spare


def region_strengths(run: Run) -> Tensor:
    return torch.tensor([1.0, *(region.strength for region in run.request.regions)])


def lifted(q: Tensor, k: Tensor, same: Tensor, a: Tensor) -> Tensor:
    """softmax of (1 - a) s + a (largest of the row inside the region, smallest
    elsewhere)."""
    s = scores(q, k)
    extreme = torch.where(
        same[:, None], s.amax(-1, keepdim=True), s.amin(-1, keepdim=True)
    )
    a = a[:, None, :, None]
    return torch.softmax((1 - a) * s + a * extreme, -1)


def cross_maps(run: Run, step: Step, layer: Layer) -> Tensor:
    own = codes(run, layer.tokens)
    words = torch.full((layer.k.shape[2],), -1)
    for token, region in WORDS.items():
        words[token] = region
    bound = torch.ones(3)
    if run.params.uncovered == "region":
        bound[0] = 0
    weights = run.params.cross_strength * region_strengths(run) * bound
    a = strengths(run, step, own, own, weights)
    return lifted(layer.q, layer.k, own[..., None] == words, a)


def self_maps(run: Run, step: Step, layer: Layer) -> Tensor:
    own = codes(run, layer.tokens)
    keys = gathered(own[:, None, :, None].float(), span(run), run.frames)[
        :, 0, :, 0
    ].long()
    weights = run.params.self_strength * region_strengths(run)
    a = strengths(
        run,
        step,
        own,
        keys,
        weights,
        over=run.frames if run.params.size_over_frames else 1,
    )
    same = own[..., None] == keys[:, None]
    if run.params.uncovered == "repelled":
        same &= (own > 0)[..., None]
    return lifted(layer.q, gathered(layer.k, span(run), run.frames), same, a)


def refusal(run: Run, layer: Layer) -> Tensor:
    """A region's own negative words are read inside it alone."""
    logits = scores(layer.q, layer.k)
    own = codes(run, layer.tokens)
    for token, region in REFUSED.items():
        logits[..., token].masked_fill_((own != region)[:, None], -torch.inf)
    return torch.softmax(logits, -1) @ layer.v


def check_attention(run: Run, call: Call, source: Call | None) -> None:
    """Modulated in the halves that are, along the tracks in both; queries and keys of
    the source injected."""
    halves = {"both": (UNCOND, COND), "cond": (COND,), "uncond": (UNCOND,)}[
        run.params.guidance_half
    ]
    check_cross(run, call)
    injected = 0
    originals = {one.site.name: one for one in source.layers} if source else {}
    for layer in each(call.layers, "self"):
        if layer.site.name in originals and layer.site.name.startswith("up_blocks"):
            original = originals[layer.site.name]
            q, k = (x.repeat(2, 1, 1, 1) for x in (original.q, original.k))
            taken = Layer(layer.site, q, k, layer.v, layer.out, layer.frames)
            if differs(layer.out, self_attention(run, call, layer, halves)):
                layer = taken
                injected = injected + 1
        layer.gives(self_attention(run, call, layer, halves))
    # Of six places in the decoder those at four to nine twelfths of the way; SDXL's
    # last has no attention.
    assert injected == ((3 if finest(run) == FINEST else 2) if source else 0)


def check_cross(run: Run, call: Call) -> None:
    """Words of the prompt bound to regions, negative ones read inside alone."""
    for layer in each(call.layers, "cross"):
        uncond, cond = (layer.rows(call.branch(half)) for half in (UNCOND, COND))
        expected = torch.cat(
            [refusal(run, uncond), cross_maps(run, call.step, cond) @ cond.v]
        )
        layer.gives(expected)


def self_attention(
    run: Run, call: Call, layer: Layer, halves: tuple[int, ...]
) -> Tensor:
    expected = spanned(run, layer)
    for half in halves:
        rows = call.branch(half)
        maps = self_maps(run, call.step, layer.rows(rows))
        expected[rows] = maps @ gathered(layer.v[rows], span(run), run.frames)
    return along_tracks(run, layer, expected)


# --- What else changes a call


def check_control(run: Run) -> None:
    """The networks read the source prompt, then the negative prompt and the prompt as
    it was composed."""
    prompts = [
        run.request.source_prompt,
        run.request.negatives,
        "a panda and a fox on the grass",
    ]
    texts = run.model.embed(prompts).vectors
    check_readings(
        run, run.calls, lambda call: texts[1:] if call.branches == 2 else texts[:1]
    )


def check_readings(
    run: Run, calls: list[Call], texts_of: Callable[[Call], Tensor]
) -> None:
    """What control networks are given in each of these calls of the model."""
    assert len(run.controls) == (len(calls) if run.params.control else 0)
    assert (run.result.control is None) == (not run.params.control)
    for call, seen in zip(calls, run.controls, strict=False):
        texts = texts_of(call).repeat_interleave(run.frames, 0)
        near(seen["text"], texts, "text of a control network", atol=1e-4)
        assert seen["conditioning_scale"] == run.params.control[0].weight
        assert len(seen["hint"]) == len(seen["x"])


# --- What is shown


def check_heat(run: Run, edits: list[Call]) -> None:
    """Maps of each region's words, averaged over the layers and steps that were
    modulated."""
    params = run.params
    read = [tokens for tokens in GRIDS if tokens <= finest(run)]
    size = GRIDS[read[0]]
    found: dict[bool, list[Tensor]] = {True: [], False: []}
    for call in edits:
        step = call.step
        for layer in each(call.layers, "cross"):
            if layer.tokens not in read:
                continue
            cond = layer.rows(call.branch(COND))
            before = softmax(cond.q, cond.k)
            after = cross_maps(run, step, cond)
            free = params.levels == "coarse" and layer.tokens == finest(run)
            modulated = fade(run, step) > 0 and not free and params.cross_strength > 0
            maps = (
                torch.stack([before, after])
                .mean(2)
                .transpose(-1, -2)
                .unflatten(-1, GRIDS[layer.tokens])
            )
            maps = interpolate(
                maps.flatten(0, 1), size, mode="bilinear", align_corners=False
            )
            found[modulated].append(maps.unflatten(0, (2, -1)))
    mean = torch.stack(found[True] or found[False]).mean(0)
    for index, region in enumerate(run.request.regions, 1):
        own = [token for token, label in WORDS.items() if label == index]
        check_maps(run, region.name, mean[:, :, own].sum(2))


def check_maps(run: Run, name: str, expected: Tensor) -> None:
    """Before and after modulation."""
    for kind, one in zip(("before", "after"), expected, strict=True):
        near(
            getattr(run.result.attention[name], kind),
            one,
            f"heat {kind} of {name}",
        )
