"""flow_regions written out: what every call of the model should be given, and what
becomes of its answers."""

from math import log

import numpy as np
import torch
from made_models import seeded
from torch import Tensor
from videograin_formulas import check_maps
from wiring import (
    MODULATED,
    SHORT,
    Call,
    Case,
    Layer,
    Run,
    any_in,
    near,
    scores,
    softmax,
)

BOUND_ROWS = {
    "shift": 1.0,
    "levels": "1000, 757, 522",
    "modulate_until": 0.5,
    "size_term": True,
    "columns": 0.5,
}
CASE = Case(
    base=SHORT | MODULATED | {"strength": 1.0},
    rows=BOUND_ROWS
    | {
        "preset": "flowanchor",
        "guidance_scale": 1.0,
        "source_guidance": 1.0,
        "averages": 2,
        "modulated": "target",
        "amplify": True,
    },
    # held in test_flow_regions.py and test_wan_5b.py
    elsewhere={"span", "first_frame"},
    heat={"left", "right"},
)


# latents of frame 0 and of up to four after it; tokens of 8 x 8 pixels
TIME = 2
TOKENS = (2, 3)
# Token -> region, of "a panda and a fox on the grass" and of its source, which has as
# many words.
WORDS = {0: 1, 1: 1, 3: 2, 4: 2}
LENGTH = 9
UNCOND = 0
COND = 1


def check(run: Run) -> None:
    """The whole run, by the formulas of the papers and the parameters given."""
    params = run.params
    request = run.request
    clean = run.clean
    fresh = seeded(request.seed)
    inside = any_in(request.edited_mask, clean.shape[2:])
    gate = (
        torch.stack([inside[part].amax(0) for part in parts(run)])
        if params.blend
        else torch.ones(())
    )
    sigmas = levels(run)
    calls = iter(run.of("editing"))
    offset = torch.zeros_like(clean)
    heat = Heat(run)
    for sigma, lower in zip(sigmas, sigmas[1:], strict=False):
        changes = []
        for _ in range(params.averages):
            noised = (1 - sigma) * clean + sigma * torch.randn(
                clean.shape, generator=fresh
            )
            new = [
                check_call(run, next(calls), noised + offset, sigma, "new", half, heat)
                for half in halves(params.guidance_scale)
            ]
            old = [
                check_call(run, next(calls), noised, sigma, "old", half, heat)
                for half in halves(params.source_guidance)
            ]
            changes.append(
                velocity(new, params.guidance_scale)
                - velocity(old, params.source_guidance)
            )
        change = gate * amplified(torch.stack(changes).mean(0), params.amplify)
        offset = offset + (lower - sigma) * change
    assert next(calls, None) is None
    near(run.decoded[0], clean + offset, "last latents", atol=1e-4)
    heat.check()


def levels(run: Run) -> list[float]:
    """The noise levels of the steps that are run, and the clean end."""
    params = run.params
    steps = max(1, int(params.strength * params.steps + 1e-9))
    if isinstance(params.levels, str):
        first = {"even": 1, "authors": 0.999}[params.levels]
        even = np.linspace(first, 0, params.steps + 1)
        every = [params.shift * u / (1 + (params.shift - 1) * u) for u in even]
    else:
        every = [level / 1000 for level in (*params.levels, 0)]
    return every[-steps - 1 :]


def halves(scale: float) -> tuple[int, ...]:
    """Without and with the prompt; without guidance only with it."""
    return (1,) if scale == 1 else (0, 1)


def velocity(calls: list[Call], scale: float) -> Tensor:
    """Guided, of what the call without and the one with the prompt answered."""
    *found, given = (call.eps - call.x0 for call in calls)
    if not found:
        return given
    (without,) = found
    return without + scale * (given - without)


def amplified(change: Tensor, wanted: bool) -> Tensor:
    if not wanted:
        return change
    mean = change.mean(1, keepdim=True)
    share = (mean - mean.min()) / (mean.max() - mean.min())
    return change * (1 + log(TIME) / log(21) * share)


def check_call(
    run: Run, call: Call, x: Tensor, sigma: float, which: str, half: int, heat: "Heat"
) -> Call:
    """One clip, one prompt; attention bound in the half with words."""
    params = run.params
    request = run.request
    near(call.x, x, f"x of {which}", atol=1e-4)
    assert (call.step.noise, call.step.signal) == (sigma, 1 - sigma)
    assert call.step.t == round(1000 * sigma)
    prompt = {"new": "a panda and a fox on the grass", "old": request.source_prompt}
    check_text(run, call, prompt[which], half)
    bound = half == COND and (which == "new" or params.modulated == "both")
    check_layers(run, call, bound, heat if (half, which) == (COND, "new") else None)
    return call


def check_text(run: Run, call: Call, prompt: str, half: int) -> None:
    """The words of the half."""
    uncond = run.model.embed([run.request.negatives]).vectors[0]
    near(call.vectors[0], vectors(run, prompt) if half else uncond)


def check_layers(run: Run, call: Call, bound: bool, heat: "Heat | None") -> None:
    """Attention of every layer, bound to regions or not."""
    params = run.params
    sigma = call.step.noise
    begins = call.step.index / params.steps
    a = strength(run) * (begins < params.modulate_until - 1e-9) * bound
    for layer in call.layers:
        if layer.site.kind == "self":
            expected = (
                modulated(
                    layer, codes(run), codes(run), a * params.self_strength * sigma**5
                )
                @ layer.v
            )
        else:
            across = (
                a
                * (codes(run) > 0)
                * params.cross_strength
                * sigma**params.schedule_power
            )
            given = to_words(run, layer, across)
            expected = given @ layer.v
            if heat:
                heat.add(softmax(layer.q, layer.k), given, changed=bool(across.any()))
        near(layer.out, expected, layer.site.name, atol=1e-4)


def vectors(run: Run, prompt: str) -> Tensor:
    return run.model.embed([prompt]).vectors[0]


def words(run: Run) -> Tensor:
    """The region of every token of the prompt."""
    return torch.tensor([WORDS.get(token, -1) for token in range(LENGTH)])


def parts(run: Run) -> list[list[int]]:
    """The frames of every latent."""
    return [[0], list(range(1, run.frames))]


def codes(run: Run) -> Tensor:
    """A token takes the region that covers most of its pixels in its frames, if regions
    cover a quarter."""
    labels = np.asarray(run.request.areas)
    side = labels.shape[1] // TOKENS[0]
    found = []
    for part in parts(run):
        for y in range(TOKENS[0]):
            for x in range(TOKENS[1]):
                across = slice(side * x, side * (x + 1))
                seen = labels[part, side * y : side * (y + 1), across]
                counts = [(seen == label).sum() for label in (1, 2)]
                found.append(
                    1 + int(np.argmax(counts)) if sum(counts) >= seen.size / 4 else 0
                )
    assert len(set(found)) == 3
    return torch.tensor(found)


def strength(run: Run) -> Tensor:
    """Of every token: its region's, times the share of its latent that is of the same
    region."""
    own = torch.tensor([1.0, 0.9, 0.5])[codes(run)]
    if run.params.size_term:
        by_latent = codes(run).unflatten(0, (TIME, -1))
        share = [
            [1 - (row == code).float().mean() for code in row] for row in by_latent
        ]
        own = own * torch.tensor(share).flatten()
    return own


def modulated(layer: Layer, queries: Tensor, keys: Tensor, a: Tensor) -> Tensor:
    s = scores(layer.q, layer.k)
    high = s.amax(-1, keepdim=True)
    low = s.amin(-1, keepdim=True)
    return (
        s + a[:, None] * (torch.where(queries[:, None] == keys, high, low) - s)
    ).softmax(-1)


def to_words(run: Run, layer: Layer, a: Tensor) -> Tensor:
    """Attention to all 512 tokens: words bound by rows, then by columns."""
    regions = words(run)
    count = len(words(run))
    s = scores(layer.q, layer.k)
    high = s[..., :count].amax(-1, keepdim=True)
    low = s[..., :count].amin(-1, keepdim=True)
    own = (codes(run)[:, None] == regions) & (regions > 0)
    moved = s.clone()
    rows = s[..., :count]
    rows = rows + a[:, None] * (torch.where(own, high, low) - rows)
    for region in (1, 2) if run.params.columns and a.any() else ():
        inside = codes(run) == region
        column = regions == region
        most = rows[:, :, inside][..., column].amax(2, keepdim=True)
        least = rows[:, :, ~inside][..., column].amin(2, keepdim=True)
        target = torch.where(inside[:, None], most, least)
        rows[..., column] += run.params.columns * (target - rows[..., column])
    moved[..., :count] = rows
    return moved.softmax(-1)


class Heat:
    """Where the words of regions look, over the calls that were modulated, or all if
    none was."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.found = {True: [], False: []}

    def add(self, before: Tensor, after: Tensor, changed: bool) -> None:
        self.found[changed].append(torch.stack([before, after])[:, 0].mean(1))

    def check(self) -> None:
        mean = torch.stack(self.found[True] or self.found[False]).mean(0)
        for region, name in enumerate(("left", "right"), 1):
            own = [
                token
                for token, code in enumerate(words(self.run).tolist())
                if code == region
            ]
            maps = mean[..., own].sum(-1).unflatten(1, (TIME, *TOKENS))
            check_maps(
                self.run,
                name,
                maps[
                    :,
                    [
                        latent
                        for latent, part in enumerate(parts(self.run))
                        for _ in part
                    ],
                ],
            )
