"""FateZero: an edit by words that takes over attention of the source, without training.

Qi et al. 2023, arXiv:2303.09535. The clip is inverted to noise with the source prompt (DDIM). On the way
back, in the first steps, words that the target prompt kept look where they looked in the source, and
self-attention takes over the source's layout: everywhere, or outside the area whose words changed.

Nothing of the source's attention is stored. Its latents are, and at a step that takes over attention they run
as one more branch of the same batch: the injected self-attention is attention with the source's queries and
keys and the edit's values. When no later step needs it, the branch is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from editing.attention.backends import attention
from editing.attention.frames import sparse_causal
from editing.attention.maps import Exchange, TokenMass, exchange, grid_at, map_grid, probabilities
from editing.attention.sites import AttentionFn, Site
from editing.backbones.patches import Patch, joint_norm
from editing.blending import blend_latents, composite, mask_from_attention, vary
from editing.clip import resize
from editing.diffusion import Step, advance, guide
from editing.errors import PromptError
from editing.events import EditResult, Event, OtherEdit, Preview, Progress, Stage, WordAttention
from editing.inversion import cached, ddim_invert, inversion_key
from editing.params import KEY_FRAMES
from editing.params.fatezero import FateZeroParams
from editing.preview import LatentPreview, WordHeats, shown_frames
from editing.request import EditRequest
from editing.text import Text, find_words, new_words, telling_words

if TYPE_CHECKING:
    from editing.backbones import Backbone

AreaOf = Callable[[int, tuple[int, int]], Tensor]
"""(target, size) -> [frames, 1, h, w], 1 in the edited area."""


@torch.no_grad()
def run(
    backbone: Backbone, request: EditRequest, params: FateZeroParams
) -> Generator[Event, None, EditResult]:
    """Edit a clip; yields events, returns the result."""
    source = request.clip.read(0, len(request.clip))
    frames = resize(source, backbone.fit(*request.clip.size, request.size))
    plan = make_plan(backbone, request, params, backbone.grid(*frames.shape[:3])[1:])

    yield Stage("inverting")
    pivots, mass, rebuilt = yield from invert(backbone, frames, plan, params)

    yield Stage("editing")
    preview = LatentPreview(pivots[0], frames)
    shown = shown_frames(len(frames))
    area = Area(plan, params, mass)
    looks = [WordHeats(plan.map_grid, target.words) for target in plan.targets]
    areas: dict[int, np.ndarray] = {}
    inside = None if plan.masks is None else F.adaptive_max_pool2d(plan.masks, plan.grid)
    x = vary(pivots[-1], inside, params.variation, request.seed).repeat(len(plan.targets), 1, 1, 1)
    for step in backbone.schedule.sampling(params.steps):
        window = Window.at(step, params)
        attend = fused_attention(plan, params, window, partial(area.of_source, step), looks)
        x0, eps = backbone.predict(
            torch.cat([*([source_latents(pivots, step, params)] if window else []), x, x]),
            step,
            plan.texts(window),
            attend=attend,
            adapter=plan.adapter,
        )
        x0, eps = (guide(*both[-2 * len(x) :].chunk(2), params.guidance_scale) for both in (x0, eps))
        x = advance(x0, eps, step)
        mask = None
        if blends_latents(step, params, plan):
            mask = torch.cat([area.of_edit(step, i, looks[i]) for i in range(len(plan.targets))])
            known = blend_source(pivots, step, params).repeat(len(plan.targets), 1, 1, 1)
            x = blend_latents(x, known, mask)
        elif params.blend_self and window.within:
            mask = area.of_source(step, 0, plan.grid)
        if mask is not None and plan.masks is None:
            areas[step.index] = (mask[: plan.frames, 0] > 0).cpu().numpy()
        if params.preview_every and step.index % params.preview_every == 0:
            yield Preview(preview(x0[list(shown)]), shown, looks[0].now(shown))
        yield Progress("editing", step.index + 1, step.total, None)

    yield Stage("decoding")
    decoded = [resize(backbone.decode(part), request.clip.size) for part in x.split(plan.frames)]
    mask = request.edited_mask
    first, *others = (composite(source, edit, mask, params.feather) for edit in decoded)
    return EditResult(
        first, decoded[0], source, mask, looks[0].mean(),
        words=WordAttention(
            word_maps(mass.mean(0), plan.source_words),
            word_maps(looks[0].before.mean(), plan.targets[0].all_words),
        ),
        areas=areas,
        reconstruction=None if rebuilt is None else resize(backbone.decode(rebuilt), request.clip.size),
        others=tuple(
            OtherEdit(target.prompt, edit, alone)
            for target, edit, alone in zip(plan.targets[1:], others, decoded[1:], strict=True)
        ),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Target:
    """One target prompt.

    Attributes:
        prompt: As composed.
        vectors: Encoded.
        exchange: How its cross-attention is made from the source's.
        words: Tokens of its new words, whose heat is shown.
        all_words: Tokens of each of its words.
        source_area: Tokens of the source prompt that mark the edited area; empty if none are needed.
        area: Tokens of this prompt that do.
    """

    prompt: str
    vectors: Float[Tensor, "1 L d"]
    exchange: Exchange
    words: dict[str, tuple[int, ...]]
    all_words: dict[str, tuple[int, ...]]
    source_area: tuple[int, ...]
    area: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """What is decided before the first step; words are looked for on the grid `map_grid`."""

    frames: int
    grid: tuple[int, int]
    map_grid: tuple[int, int]
    source_prompt: str
    source: Float[Tensor, "1 L d"]
    source_length: int
    source_words: dict[str, tuple[int, ...]]
    uncond: Float[Tensor, "1 L d"]
    targets: tuple[Target, ...]
    masks: Float[Tensor, "frames 1 height width"] | None
    adapter: Patch | None

    def texts(self, window: Window) -> Float[Tensor, "branches L d"]:
        """One text per branch: the source if it runs, uncond and cond of every target."""
        uncond = [self.uncond] * len(self.targets)
        return torch.cat([*([self.source] if window else []), *uncond, *(t.vectors for t in self.targets)])


@dataclass(frozen=True)
class Window:
    """Which kinds of attention a step takes over; false if none."""

    cross: bool
    within: bool

    def __bool__(self) -> bool:
        return self.cross or self.within

    @classmethod
    def at(cls, step: Step, params: FateZeroParams) -> Window:
        """The released code counts cross-attention's share of N + 1 steps, self-attention's of N."""
        return cls(
            step.index < int((step.total + 1) * params.cross_until + 1e-9),
            step.index < int(step.total * params.self_until + 1e-9),
        )


def make_plan(
    backbone: Backbone, request: EditRequest, params: FateZeroParams, grid: tuple[int, int]
) -> Plan:
    """Encode and align the prompts; refuses words that are not there."""
    prompts = request.targets
    source, uncond, *texts = (
        text for text in backbone.embed([request.source_prompt, request.negatives, *prompts])
    )
    masks = None
    if params.use_masks and request.edited:
        masks = torch.from_numpy(request.edited_mask).float()[:, None].to(source.vectors.device)
    by_attention = masks is None and (params.blend_self or params.blend_latents == "always")
    targets = []
    for text in texts:
        lost, gained = new_words(request.source_prompt, text.prompts[0])
        weights = emphasis(params, gained)
        field = "params.blend_words"
        marks = params.blend_words or lost
        if by_attention and not marks:
            raise PromptError(
                field,
                "no word of the source prompt is replaced, so none tells where the edit is; name one, give a "
                "region a mask, or do not blend",
            )
        targets.append(
            Target(
                text.prompts[0],
                text.vectors,
                exchange(
                    source, text, params.cross_control, weights, params.alignment, "params.emphasis_words"
                ),
                {word: find_words(text, word) for word in gained},
                {word: find_words(text, word) for word in telling_words(text.prompts[0])},
                _tokens(source, marks, field) if by_attention else (),
                _tokens(text, gained, field) if by_attention else (),
            )
        )
    adapter = joint_norm(len(request.clip)) if params.joint_norm else None
    return Plan(
        len(request.clip), grid, map_grid(grid, backbone.coarsest),
        request.source_prompt, source.vectors, source.lengths[0],
        {word: find_words(source, word) for word in telling_words(request.source_prompt)}, uncond.vectors,
        tuple(targets), masks, adapter,
    )  # fmt: skip


def word_maps(
    mass: Float[Tensor, "frames h w tokens"], words: Mapping[str, tuple[int, ...]]
) -> dict[str, np.ndarray]:
    """Attention of each word's tokens: float32 [frames, h, w]."""
    return {word: mass[..., list(tokens)].sum(-1).float().cpu().numpy() for word, tokens in words.items()}


def _tokens(text: Text, found: list[str] | tuple[str, ...], field: str) -> tuple[int, ...]:
    return tuple(sorted({token for word in found for token in find_words(text, word, field)}))


def emphasis(params: FateZeroParams, gained: tuple[str, ...]) -> dict[str, float]:
    """Factor of each emphasised word: `watercolor, sketch=5`."""
    if not params.emphasis_words:
        return dict.fromkeys(gained, params.emphasis) if params.emphasis != 1 else {}
    return {words: params.emphasis if own is None else own for words, own in params.emphasis_words}


def invert(
    backbone: Backbone, frames: np.ndarray, plan: Plan, params: FateZeroParams
) -> Generator[Event, None, tuple[list[Tensor], Tensor, Tensor | None]]:
    """The N + 1 latents from clean to noise with the source prompt, and where its words looked on the way.

    Cached. Returns latents; mass [calls, frames, h, w, tokens] of every call of the model; the clean latents
    rebuilt from the noise, if asked for.
    """
    told = "fatezero" if params.inversion_latents == "released" else "paper"
    key = inversion_key(
        backbone, frames, prompt=plan.source_prompt, steps=params.steps, told=told, keys=params.keys,
        keys_levels=params.keys_levels, joint_norm=params.joint_norm, method="fatezero",
    )  # fmt: skip
    total = params.steps * (1 + params.reconstruct)
    looks = TokenMass(plan.map_grid)

    def attend(q: Tensor, k: Tensor, v: Tensor, site: Site) -> Tensor:
        if site.kind == "cross":
            looks.add(probabilities(q, k))
            return attention(q, k, v)
        return see_frames(q, k, v, plan, params)

    def predict(x: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        return backbone.predict(x, step, plan.source, attend=attend, adapter=plan.adapter)

    def up() -> Generator[Event, None, dict[str, Tensor]]:
        nonlocal looks
        latents, mass = [backbone.encode(frames)], []
        looks = TokenMass(plan.map_grid)
        for step, x in ddim_invert(latents[0], predict, backbone.schedule.inversion(params.steps, told)):
            latents.append(x)
            mass.append(looks.mean()[..., : plan.source_length])
            looks = TokenMass(plan.map_grid)
            yield Progress("inverting", step.index + 1, total, None)
        return {"latents": torch.stack(latents), "mass": torch.stack(mass)}

    kept = yield from cached(key, up, "inverting", total, backbone.device)
    pivots = list(kept["latents"])
    rebuilt = None
    if params.reconstruct:

        def down() -> Generator[Event, None, dict[str, Tensor]]:
            clean = pivots[-1]
            for step, x in ddim_invert(clean, predict, backbone.schedule.sampling(params.steps)):
                clean = x
                yield Progress("inverting", params.steps + step.index + 1, total, None)
            return {"latents": clean}

        made = yield from cached(key | {"kind": "reconstruction"}, down, "inverting", total, backbone.device)
        rebuilt = made["latents"]
    return pivots, kept["mass"], rebuilt


def source_latents(pivots: list[Tensor], step: Step, params: FateZeroParams) -> Tensor:
    """What the source branch sees: the latents of the edit's own level, or as released those one cleaner.

    The released code uses at timestep t the attention recorded when inversion was told t, before its step.
    """
    cleaner = params.inversion_latents == "released"
    return pivots[step.total - step.index - cleaner]


def blend_source(pivots: list[Tensor], step: Step, params: FateZeroParams) -> Tensor:
    """What is blended in after a step: the latents of the level it led to, or as released one noisier."""
    noisier = params.inversion_latents == "released"
    return pivots[step.total - 1 - step.index + noisier]


def blends_latents(step: Step, params: FateZeroParams, plan: Plan) -> bool:
    """Whether latents outside the edited area are taken after this step, the n-th of N: from < n / N < until.

    The ends count where they are 0 and 1.
    """
    asked = params.blend_latents == "always" or (params.blend_latents == "masks" and plan.masks is not None)
    share = (step.index + 1) / step.total
    return asked and (
        params.blend_from < share - 1e-9 and (share + 1e-9 < params.blend_until or params.blend_until == 1)
    )


class Area:
    """Where the edit is: the masks of the regions, or where the words that change look."""

    def __init__(self, plan: Plan, params: FateZeroParams, mass: Float[Tensor, "calls frames h w L"]) -> None:
        self._plan, self._params, self._mass = plan, params, mass

    def of_source(self, step: Step, target: int, size: tuple[int, int]) -> Float[Tensor, "frames 1 h w"]:
        """Read from the source's attention at this step's noise level."""
        if self._plan.masks is not None:
            return F.adaptive_max_pool2d(self._plan.masks, size)
        # The noisiest latents of all never entered the inversion: the call before stands for them.
        cleaner = self._params.inversion_latents == "released"
        call = min(step.total - step.index - cleaner, len(self._mass) - 1)
        tokens = list(self._plan.targets[target].source_area)
        return mask_from_attention(self._mass[call][..., tokens].sum(-1), size, self._params.blend_threshold)

    def of_edit(self, step: Step, target: int, looks: WordHeats) -> Float[Tensor, "frames 1 h w"]:
        """The same or where the edit's own words have looked so far, on the grid of the latents."""
        mask = self.of_source(step, target, self._plan.grid)
        tokens = list(self._plan.targets[target].area)
        if self._plan.masks is None and tokens:
            own = looks.before.mean()[..., tokens].sum(-1)
            mask = torch.maximum(
                mask, mask_from_attention(own, self._plan.grid, self._params.blend_threshold)
            )
        return mask


def see_frames(q: Tensor, k: Tensor, v: Tensor, plan: Plan, params: FateZeroParams) -> Tensor:
    """Spatio-temporal self-attention: each frame sees the frames its selectors name."""
    finest = q.shape[2] == plan.grid[0] * plan.grid[1]
    keys = ("own",) if finest and params.keys_levels == "coarse" else KEY_FRAMES[params.keys]
    return sparse_causal(q, k, v, plan.frames, keys)


def fused_attention(
    plan: Plan, params: FateZeroParams, window: Window, area: AreaOf, looks: list[WordHeats]
) -> AttentionFn:
    """The attention of one denoising step, for rows (source frames if the window needs them, uncond frames of
    every target, cond frames of every target).

    Args:
        plan: Prompts and shapes.
        params: Levels, halves, blending.
        window: What is taken over at this step.
        area: The edited area on a grid.
        looks: Per target, receives where its words look.
    """
    for look in looks:
        look.begin()
    frames, count = plan.frames, len(plan.targets)
    first = frames * bool(window)
    uncond, cond = (slice(first + i * count * frames, first + (i + 1) * count * frames) for i in (0, 1))
    finest = plan.grid[0] * plan.grid[1]
    map_tokens = plan.map_grid[0] * plan.map_grid[1]

    def is_fused(tokens: int) -> bool:
        return params.levels == "all" or tokens < finest

    def across(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out, tokens = attention(q, k, v), q.shape[2]
        fuses = window.cross and is_fused(tokens)
        if not fuses and tokens != map_tokens:
            return out
        of_source = probabilities(q[:frames], k[:frames]) if fuses else None
        for target, look, rows in zip(plan.targets, looks, _parts(cond, frames), strict=True):
            edit = probabilities(q[rows], k[rows])
            fused = edit if of_source is None else target.exchange(of_source, edit)
            if fuses:
                out[rows] = (fused @ v[rows].to(fused)).to(out)
            look.add(edit, fused)
        return out

    def within(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        tokens = q.shape[2]
        if not (window.within and is_fused(tokens)):
            return see_frames(q, k, v, plan, params)
        halves = (cond,) if params.guidance_half == "cond" else (uncond, cond)
        taken_q, taken_k = q.clone(), k.clone()
        for rows in halves:
            taken_q[rows], taken_k[rows] = (x[:frames].repeat(count, 1, 1, 1) for x in (q, k))
        out = see_frames(taken_q, taken_k, v, plan, params)
        if params.blend_self:
            size = grid_at(tokens, plan.grid)
            masks = torch.cat([rearrange(area(i, size), "f 1 h w -> f 1 (h w) 1") for i in range(count)])
            for rows in halves:
                own = see_frames(q[rows], k[rows], v[rows], plan, params)
                out[rows] = (masks * own + (1 - masks) * out[rows]).to(out)
        return out

    def attend(q: Tensor, k: Tensor, v: Tensor, site: Site) -> Tensor:
        return across(q, k, v) if site.kind == "cross" else within(q, k, v)

    return attend


def _parts(rows: slice, frames: int) -> list[slice]:
    return [slice(start, start + frames) for start in range(rows.start, rows.stop, frames)]
