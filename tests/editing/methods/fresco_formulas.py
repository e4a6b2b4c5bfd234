"""FRESCO written out, on whole matrices: what every call is given, and what becomes of
its answer."""

from functools import partial

import numpy as np
import torch
from made_models import randn
from torch import Tensor
from torch.nn.functional import interpolate, normalize
from videograin_formulas import (
    along,
    as_paper,
    check_cross,
    check_readings,
    check_texts,
    codes,
    lifted,
    region_strengths,
    self_maps,
    strengths,
)
from wiring import (
    FINEST,
    GRIDS,
    MODULATED,
    SHORT,
    Call,
    Case,
    Layer,
    Run,
    answers,
    any_in,
    check_free_words,
    check_plain,
    each,
    has_text,
    near,
    plain,
    scores,
)

from regrain.editing.diffusion.samplers import Sampling
from regrain.editing.diffusion.schedule import Step, advance, ddpm_step, guide
from regrain.editing.motion.correspondence import (
    Motion,
    around,
    is_cut,
    newly_seen,
    token_maps,
    track_ids,
)
from regrain.editing.motion.flow import warp

CASE = Case(
    base=SHORT
    | MODULATED
    | {
        "strength": 1.0,
        "optimise_rounds": 2,
    },
    rows={
        "preset": "released",
        "size_term": False,
        "step_noise": "shared",
        "optimise_until": 0.5,
        "optimise_rounds": 1,
        "learning_rate": 0.1,
        "flow_weight": 0.0,
        "similarity_weight": 0.0,
        "flow_loss": "circular",
        "similarity_loss": "absolute",
        "details": "released",
        "sampler": "lcm",
    },
    # held in test_wiring.py
    elsewhere={"flow"},
    heat={"left", "right"},
)


UNCOND = 0
COND = 1


def check(run: Run) -> None:
    """The whole run."""
    params = run.params
    model = run.model
    request = run.request
    frames = request.clip.read(0, run.frames)
    motion = around(frames, "dis")
    run.kept["motion"] = motion
    for number in range(1, len(frames)):
        assert not is_cut(frames[number - 1 : number], frames[number : number + 1])
    sampling = Sampling(model.schedule, params.sampler, params.steps, params.strength)
    steps = sampling.steps
    clean = model.encode(frames)
    first = noise(run, 0, False)
    own = first if params.details == "fixed" else noise(run, 0, True)
    inside = any_in(request.edited_mask, GRIDS[FINEST])
    source, *calls = run.calls
    check_source(
        run, source, steps[-1].signal * clean + steps[-1].noise * own, steps[-1]
    )
    assert [(call.stage, call.step) for call in calls] == [
        ("editing", step) for step in steps
    ]
    x = steps[0].signal * clean + steps[0].noise * first
    for call, step in zip(calls, steps, strict=True):
        near(call.x, torch.cat([x, x]), f"x of step {step.index}", atol=1e-3)
        check_words(run, call)
        check_attention(
            run,
            call,
            source if step.index < steps[0].index + 1 else None,
        )
        check_features(run, call, source)
        uncond = answers(call, UNCOND)
        cond = answers(call, COND)
        x0, eps = (
            guide(u, c, params.guidance_scale)
            for u, c in zip(uncond, cond, strict=True)
        )
        x = after(run, sampling, x, *smoothed(run, x0, eps, x, step), step)
        if params.blend:
            last = step.index == step.total - 1
            known = (
                clean if last else step.signal_next * clean + step.noise_next * first
            )
            x = inside * x + (1 - inside) * known
    check_control(run, calls)
    near(run.decoded[-1], x, "last latents", atol=1e-3)
    del run.decoded[:-1]  # those before were smoothed


def check_words(run: Run, call: Call) -> None:
    """The prompt's, or each region's as it is alone."""
    if run.request.edited:
        check_texts(run, call)
        return
    for half, text in zip(
        (UNCOND, COND), (run.request.negatives, run.request.prompt), strict=True
    ):
        assert has_text(call, half, run.model.embed([text]).vectors)


def noise(run: Run, draw: int, own: bool) -> Tensor:
    """From the seed, the number of the draw, and the frame if each has its own."""
    shape = run.model.encode(run.request.clip.read(0, 1)).shape[1:]

    def one(frame: int) -> Tensor:
        seed = np.random.SeedSequence((run.request.seed, draw, frame)).generate_state(
            1, np.uint64
        )[0]
        return randn(*shape, seed=int(seed))

    return torch.stack([one(frame if own else 0) for frame in range(run.frames)])


def after(
    run: Run, sampling: Sampling, x: Tensor, x0: Tensor, eps: Tensor, step: Step
) -> Tensor:
    """DDIM, or a draw from the posterior, which ends clean; another sampler's step."""
    params = run.params
    if params.sampler == "ddim" and params.step_noise == "none":
        return advance(x0, eps, step)
    fresh = noise(run, step.index + 1, params.step_noise == "own")
    if params.sampler != "ddim":
        return sampling.advance(x, x0, eps, step, fresh)
    if step.index == step.total - 1:
        return x0
    return ddpm_step(x0, eps, step, fresh)


def check_source(run: Run, call: Call, x: Tensor, step: Step) -> None:
    """The clip itself, almost clean, with the texts of the edit; nothing else is
    changed."""
    assert call.step == step
    near(call.x, torch.cat([x, x]), "x of the source")
    check_words(run, call)
    check_plain(call)


# --- Attention


def check_attention(run: Run, call: Call, source: Call | None) -> None:
    """Words bind everywhere; self-attention is guided in the last two blocks of the
    decoder."""
    regions = bound(run)
    if regions:
        check_cross(regions, call)
    else:
        check_free_words(call)
    originals = {layer.site.name: layer for layer in source.layers} if source else {}
    guided = 0
    last = sorted({site.block for site in run.model.sites if "up_" in site.block})[-2:]
    for layer in each(call.layers, "self"):
        if layer.site.block in last:
            guided += 1
            expected = guided_attention(
                regions, run, call, layer, originals.get(layer.site.name)
            )
        else:
            expected = plain(layer.q, layer.k, layer.v)
            rows = call.branch(COND)
            if regions:
                expected[rows] = (
                    self_maps(regions, call.step, layer.rows(rows)) @ layer.v[rows]
                )
        layer.gives(expected, atol=1e-4)
    assert (
        guided
        == sum(site.kind == "self" and site.block in last for site in run.model.sites)
        > 3
    )


def bound(run: Run) -> Run | None:
    """The run as VideoGrain's formulas see it; None where no region has words."""
    if not run.request.edited:
        return None
    return as_paper(run, attention_span="own_frame")


def guided_attention(
    regions: Run | None, run: Run, call: Call, layer: Layer, original: Layer | None
) -> Tensor:
    """Spatial, then cross-frame, then along the motion."""
    pairs = run.kept["motion"][: run.frames - 1]
    size = GRIDS[layer.tokens]
    looking = layer.q
    if original is not None:
        alike = 0.2 * scores(original.q, original.k)
        looking = alike.softmax(-1) @ layer.q
    shared = newly_seen(pairs, size)
    halves = []
    for half in (UNCOND, COND):
        rows = call.branch(half)
        halves.append(
            cross_frame(regions, call, layer.rows(rows), looking[rows], shared, half)
        )
    out = torch.cat(halves)
    if call.step.index >= int(0.65 * call.step.total + 1e-9):
        return out
    pixels = torch.from_numpy(run.request.clip.read(0, run.frames)).float()
    appeared = middle(pairs.appeared[..., None].float(), size)[..., 0] > 0.5
    ids = track_ids(
        *token_maps(pairs.at(size).backward, appeared, middle(pixels, size))
    ).flatten()
    same = ids[:, None] == ids[None]
    assert same.sum() > 1.5 * len(same)  # the clip moves slowly enough to be followed
    return along(layer, out, same, 0.2)


def middle(x: Tensor, size: tuple[int, int]) -> Tensor:
    """The mean of the four pixels in the middle of each cell."""
    cells = x.unflatten(2, (size[1], -1)).unflatten(1, (size[0], -1))
    down, across = (cells.shape[side] // 2 for side in (2, 4))
    return cells[:, :, down - 1 : down + 1, :, across - 1 : across + 1].mean((2, 4))


def cross_frame(
    regions: Run | None,
    call: Call,
    layer: Layer,
    looking: Tensor,
    shared: Tensor,
    half: int,
) -> Tensor:
    """All frames see the same tokens; with the prompt each region keeps among its
    own."""
    kept = shared.flatten()
    k, v = (x.transpose(0, 1).flatten(1, 2)[:, kept] for x in (layer.k, layer.v))
    q = looking.transpose(0, 1).flatten(1, 2)
    if half == UNCOND or regions is None:
        out = plain(q, k, v)
    else:
        own = codes(regions, layer.tokens)
        queries = own.flatten()[None]
        keys = own[shared][None]
        weights = regions.params.self_strength * region_strengths(regions)
        a = strengths(regions, call.step, queries, keys, weights)
        out = (
            lifted(q[None], k[None], queries[..., None] == keys[:, None], a) @ v[None]
        )[0]
    return out.unflatten(1, (layer.frames, -1)).transpose(0, 1)


# --- Features


def check_features(run: Run, call: Call, source: Call) -> None:
    """What enters each up block, optimised by Adam on the dense losses in the first
    steps."""
    params = run.params
    active = call.step.index < int(params.optimise_until * call.step.total + 1e-9)
    for came, (entered, _), reference in zip(
        call.entering, call.hidden, source.entering, strict=True
    ):
        found = entered[:, : came.shape[1]]
        motion = run.kept["motion"].at(tuple(came.shape[2:]))
        if not active:
            near(found, came, "features")
            continue
        expected = (
            came
            if not (params.flow_weight or params.similarity_weight)
            else adam(params, came, partial(loss, params, reference, motion))
        )
        if (weight := background(run, came.shape[2:])) is not None:
            expected = torch.cat(
                [fused(half, motion, weight) for half in expected.chunk(2)]
            )
        # Where a slope is almost 0, rounding decides which way Adam goes.
        close = (found - expected).abs() <= 2e-3 + 1e-3 * expected.abs()
        assert close.float().mean() > 0.95, "optimised features"


def adam(params: object, x: Tensor, loss: object) -> Tensor:
    """Adam of Kingma and Ba, then the old statistics."""
    original, x = x, x.clone().requires_grad_(True)
    steps = torch.optim.Adam([x], params.learning_rate, (0.9, 0.999), 1e-8)
    for _ in range(params.optimise_rounds):
        steps.zero_grad()
        with torch.enable_grad():
            loss(x).backward()
        steps.step()
    x = x.detach()
    # under the old deviation alone
    floor = 1.0 if params.details == "released" else 1e-5
    (mean, std), (old_mean, old_std) = (
        (y.mean((2, 3), keepdim=True), (y.var((2, 3), keepdim=True) + more) ** 0.5)
        for y, more in ((x, 1e-5), (original, floor))
    )
    return (x - mean) / std * old_std + old_mean


def loss(params: object, reference: Tensor, motion: Motion, x: Tensor) -> Tensor:
    total = torch.zeros(())
    if params.flow_weight:
        off = torch.zeros(())
        is_circular = params.flow_loss == "circular"
        for half in x.chunk(2):
            for k in range(len(half) if is_circular else len(half) - 1):
                here, there = half[k, None], half[(k + 1) % len(half), None]
                far = (there - moved(here, motion.backward[k])).abs()
                off = off + (far * ~motion.appeared[k]).sum()
                if is_circular:
                    far = (here - moved(there, motion.forward[k])).abs()
                    off = off + (far * ~motion.hidden[k]).sum()
        total = total + params.flow_weight * off / x.numel()
    if params.similarity_weight:
        u, r = (normalize(y.flatten(2), dim=1) for y in (x, reference))
        off = u.transpose(1, 2) @ u - r.transpose(1, 2) @ r
        off = off.abs() if params.similarity_loss == "absolute" else off**2
        total = total + params.similarity_weight * off.mean()
    return total


def moved(x: Tensor, flow: Tensor) -> Tensor:
    """x at displaced places; outside it is 0."""
    return warp(x, flow[None], "zero")


# --- Background


def background(run: Run, size: tuple[int, int]) -> Tensor | None:
    """What no region covers; the box by which regions grow is one pixel wide at this
    size of frame."""
    if run.params.blend and run.request.edited:
        return None
    covered = torch.from_numpy(np.asarray(run.request.labels) > 0).float()[:, None]
    return interpolate(1 - covered, size, mode="bilinear", align_corners=False)


def fused(x: Tensor, motion: Motion, weight: Tensor) -> Tensor:
    """Each frame takes its background from the one before; at the end the last one from
    the first."""
    out = list(x)
    for k in range(len(x) - 1):
        share = (
            ~motion.appeared[k]
            * weight[k + 1]
            * moved(weight[k, None], motion.backward[k])[0]
        )
        out[k + 1] = (1 - share) * out[k + 1] + share * moved(
            out[k][None], motion.backward[k]
        )[0]
    share = ~motion.hidden[-1] * weight[-1] * moved(weight[:1], motion.forward[-1])[0]
    out[-1] = (1 - share) * out[-1] + share * moved(out[0][None], motion.forward[-1])[0]
    return torch.stack(out)


def smoothed(
    run: Run, x0: Tensor, eps: Tensor, x: Tensor, step: Step
) -> tuple[Tensor, Tensor]:
    size = run.request.clip.size[::-1]
    weight = background(run, size)
    start, stop = (int(share * step.total + 1e-9) for share in (0.8, 0.9))
    if weight is None or not start <= step.index < stop:
        return x0, eps
    pixels = torch.from_numpy(run.model.decode(x0)).movedim(-1, 1).float()
    frames = fused(pixels, run.kept["motion"], weight).round().clamp(0, 255).byte()
    x0 = run.model.encode(frames.movedim(1, -1).numpy())
    return x0, (x - step.signal * x0) / step.noise


def check_control(run: Run, calls: list[Call]) -> None:
    """The networks read the negative prompt and the prompt as it was composed; not for
    the source."""
    prompts = [run.request.negatives, "a panda and a fox on the grass"]
    texts = run.model.embed(prompts).vectors
    check_readings(run, calls, lambda _: texts)
