"""vid2vid-zero: an edit by words whose frames see each other, without training.

Wang et al. 2023, arXiv:2303.17599. The clip is inverted to noise frame by frame. Source and edit then come
back side by side, with attention across frames: a few layers see all frames at once, the others some of them.
In the first steps the edit's cross-attention follows the source's. What guidance would do to the source is
undone by the source prompt in place of no prompt (negative-prompt inversion), or by a text learned at every
step (null-text inversion).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from editing.attention.backends import attention
from editing.attention.frames import all_frames, sparse_causal
from editing.attention.maps import Exchange, exchange, map_grid, probabilities
from editing.attention.sites import AttentionFn, Site
from editing.backbones.patches import Patch, joint_norm
from editing.blending import blend_latents, composite, vary
from editing.clip import resize
from editing.diffusion import Step, advance, guide
from editing.errors import RequestError
from editing.events import EditResult, Event, OtherEdit, Preview, Progress, Stage
from editing.inversion import cached, ddim_invert, inversion_key, is_learned, null_text
from editing.params import KEY_FRAMES
from editing.params.vid2vid_zero import Vid2VidZeroParams
from editing.preview import LatentPreview, WordHeats, shown_frames
from editing.request import EditRequest
from editing.text import find_words, new_words

if TYPE_CHECKING:
    from editing.backbones import Backbone


@torch.no_grad()
def run(
    backbone: Backbone, request: EditRequest, params: Vid2VidZeroParams
) -> Generator[Event, None, EditResult]:
    """Edit a clip; yields events, returns the result."""
    source = request.clip.read(0, len(request.clip))
    frames = resize(source, backbone.fit(*request.clip.size, request.size))
    plan = make_plan(backbone, request, params, backbone.grid(*frames.shape[:3])[1:])

    yield Stage("inverting")
    pivots, learned = yield from invert(backbone, frames, plan, params)

    yield Stage("editing")
    preview = LatentPreview(pivots[0], frames)
    shown = shown_frames(len(frames))
    looks = [WordHeats(plan.map_grid, target.words) for target in plan.targets]
    x, rebuilt = vary(pivots[-1], plan.mask, params.variation, request.seed), pivots[-1]
    x = x.repeat(len(plan.targets), 1, 1, 1)
    for step in backbone.schedule.sampling(params.steps):
        branches = Branches.at(step, plan, params)
        uncond = plan.unguided(step, params, learned)
        texts = [uncond] * branches.uncond + [plan.source] * branches.source
        texts += [target.vectors for target in plan.targets]
        rows = [rebuilt] * branches.source + [x]
        twice = [rebuilt] * branches.source_uncond + [x, *rows]
        x0, eps = backbone.predict(
            torch.cat(twice), step, torch.cat(texts),
            attend=guided_attention(plan, params, branches, step, looks), adapter=plan.adapter,
        )  # fmt: skip
        # Where the source prompt stands in for no prompt, the source is its own unconditional half.
        at = plan.frames * branches.uncond
        halves = [(both[:at], both[at:]) for both in (x0, eps)]
        if branches.source and not branches.source_uncond:
            halves = [(torch.cat([cond[: plan.frames], uncond]), cond) for uncond, cond in halves]
        x0, eps = (guide(*half, params.guidance_scale) for half in halves)
        x, x0 = advance(x0, eps, step), x0[plan.frames * branches.source :]
        if branches.source:
            rebuilt, x = x[: plan.frames], x[plan.frames :]
        if plan.mask is not None:
            known = pivots[step.total - 1 - step.index]
            copies = len(plan.targets), 1, 1, 1
            x = blend_latents(x, known.repeat(copies), plan.mask.repeat(copies))
        if params.preview_every and step.index % params.preview_every == 0:
            yield Preview(preview(x0[list(shown)]), shown, looks[0].now(shown))
        yield Progress("editing", step.index + 1, step.total, None)

    yield Stage("decoding")
    decoded = [resize(backbone.decode(part), request.clip.size) for part in x.split(plan.frames)]
    mask = request.edited_mask
    first, *others = (composite(source, edit, mask, params.feather) for edit in decoded)
    return EditResult(
        first, decoded[0], source, mask, looks[0].mean(),
        reconstruction=resize(backbone.decode(rebuilt), request.clip.size) if params.reconstruct else None,
        others=tuple(
            OtherEdit(target.prompt, edit, alone)
            for target, edit, alone in zip(plan.targets[1:], others, decoded[1:], strict=True)
        ),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Target:
    """One target prompt: encoded, aligned with the source's, and the tokens of its new words."""

    prompt: str
    vectors: Float[Tensor, "1 L d"]
    exchange: Exchange
    words: dict[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Plan:
    """What is decided before the first step.

    Attributes:
        frames: Of the clip.
        grid: Of the latents. map_grid: On which words are looked for.
        source_prompt: Of the clip.
        source: It, encoded. empty: The negative prompt, encoded.
        targets: The prompts of the edits.
        dense: Names of the self-attention layers that see all frames.
        mask: Edited area on the grid of the latents, if it is blended.
        adapter: Joint normalisation, if asked for.
    """

    frames: int
    grid: tuple[int, int]
    map_grid: tuple[int, int]
    source_prompt: str
    source: Float[Tensor, "1 L d"]
    empty: Float[Tensor, "1 L d"]
    targets: tuple[Target, ...]
    dense: frozenset[str]
    mask: Float[Tensor, "frames 1 h w"] | None
    adapter: Patch | None

    def unguided(self, step: Step, params: Vid2VidZeroParams, learned: Tensor | None) -> Tensor:
        """The text of the unconditional half at a step."""
        if params.inversion == "negative_prompt":
            return self.source
        if learned is not None and is_learned(step.index, step.total, params.learned_share):
            return learned[step.index]
        return self.empty


@dataclass(frozen=True)
class Branches:
    """The rows of one call: uncond (source, targets), cond (source, targets); counts of branches.

    Attributes:
        source: 1 if the source runs: while its attention is taken over, or to the end to rebuild it.
        source_uncond: 1 if it also runs without its prompt.
        targets: Edits.
    """

    source: int
    source_uncond: int
    targets: int

    @property
    def uncond(self) -> int:
        """Branches in the unconditional half."""
        return self.source_uncond + self.targets

    @classmethod
    def at(cls, step: Step, plan: Plan, params: Vid2VidZeroParams) -> Branches:
        """Those a step needs."""
        source = params.reconstruct or any(
            step.index < cross_steps(target, params, step.total) for target in plan.targets
        )
        source = int(source or is_within(step, params))
        return cls(source, source * (params.inversion != "negative_prompt"), len(plan.targets))


def cross_steps(target: Target, params: Vid2VidZeroParams, total: int) -> int:
    """Steps in which the target's cross-attention is made from the source's; counted of N + 1 as released."""
    share = params.replace_until if target.exchange.mapper is not None else params.refine_until
    return int((total + 1) * share + 1e-9)


def is_within(step: Step, params: Vid2VidZeroParams) -> bool:
    """Whether the source's layout is taken over."""
    return step.index < int(step.total * params.self_until + 1e-9)


def make_plan(
    backbone: Backbone, request: EditRequest, params: Vid2VidZeroParams, grid: tuple[int, int]
) -> Plan:
    """Encode and align the prompts, find the dense layers."""
    source, empty, *texts = backbone.embed([request.source_prompt, request.negatives, *request.targets])
    targets = tuple(
        Target(
            text.prompts[0],
            text.vectors,
            exchange(source, text, params.cross_control, variant=params.alignment),
            {word: find_words(text, word) for word in new_words(request.source_prompt, text.prompts[0])[1]},
        )
        for text in texts
    )
    mask = None
    if params.blend and request.edited:
        edited = torch.from_numpy(request.edited_mask).float()[:, None]
        mask = F.adaptive_max_pool2d(edited, grid).to(source.vectors.device)
    adapter = joint_norm(len(request.clip)) if params.joint_norm else None
    return Plan(
        len(request.clip), grid, map_grid(grid, backbone.coarsest),
        request.source_prompt, source.vectors, empty.vectors, targets,
        dense_sites(backbone.sites, params.dense_layers), mask, adapter,
    )  # fmt: skip


def dense_sites(sites: tuple[Site, ...], asked: Sequence[str]) -> frozenset[str]:
    """Names of the self-attention layers whose name begins with one of the listed.

    Raises:
        RequestError: A listed one is the beginning of none; names the nearest layers.
    """
    names = [site.name for site in sites if site.kind == "self"]
    found: set[str] = set()
    for part in (part.rstrip(".") for part in asked):
        here = [name for name in names if f"{name}.".startswith(f"{part}.")]
        if not here:
            layers = sorted({name.partition(".transformer_blocks")[0] for name in names})
            near = get_close_matches(part, layers, n=3) or layers
            raise RequestError(
                "params.dense_layers", f"{part!r} is no layer of this model; nearest: {', '.join(near)}"
            )
        found.update(here)
    return frozenset(found)


def invert(
    backbone: Backbone, frames: np.ndarray, plan: Plan, params: Vid2VidZeroParams
) -> Generator[Event, None, tuple[list[Tensor], Tensor | None]]:
    """The N + 1 latents from clean to noise, each frame on its own, and the texts learned from them; cached.

    Returns latents; texts [steps, 1, L, d] or None.
    """
    learns = params.inversion == "null_text"
    prompt, vectors = plan.source_prompt, plan.source
    if params.inversion == "plain" or (learns and params.pivot == "empty"):
        prompt, vectors = "", backbone.embed([""]).vectors
    key = inversion_key(
        backbone, frames, prompt=prompt, steps=params.steps, told="fatezero", joint_norm=params.joint_norm,
        method="vid2vid_zero",
    )  # fmt: skip
    total = params.steps * (1 + learns)

    def up() -> Generator[Event, None, dict[str, Tensor]]:
        latents = [backbone.encode(frames)]

        def predict(x: Tensor, step: Step) -> tuple[Tensor, Tensor]:
            return backbone.predict(x, step, vectors, adapter=plan.adapter)

        for step, x in ddim_invert(
            latents[0], predict, backbone.schedule.inversion(params.steps, "fatezero")
        ):
            latents.append(x)
            yield Progress("inverting", step.index + 1, total, None)
        return {"latents": torch.stack(latents)}

    pivots = list((yield from cached(key, up, "inverting", total, backbone.device))["latents"])
    if not learns:
        return pivots, None

    def learn() -> Generator[Event, None, dict[str, Tensor]]:
        attend = None if params.learn_with == "plain" else frame_attention(plan, params)

        def predict(x: Tensor, step: Step, text: Tensor) -> tuple[Tensor, Tensor]:
            anew = params.recompute and torch.is_grad_enabled()
            return backbone.predict(x, step, text, attend=attend, adapter=plan.adapter, recompute=anew)

        texts = []
        for step, text, _ in null_text(
            pivots, predict, backbone.schedule.sampling(params.steps), plan.empty, plan.source,
            guidance_scale=params.guidance_scale, inner_steps=params.inner_steps,
            learning_rate=params.learning_rate,
        ):  # fmt: skip
            texts.append(text)
            yield Progress("inverting", params.steps + step.index + 1, total, None)
        return {"texts": torch.stack(texts)}

    facts = {name: getattr(params, name) for name in ("guidance_scale", "inner_steps", "learning_rate")}
    seen = (sorted(plan.dense), params.keys) if params.learn_with == "sampling" else "plain"
    learned = key | facts | {
        "kind": "null_text", "source": plan.source_prompt, "attention": seen,
        "empty": plan.empty.cpu().numpy().tobytes(),
    }  # fmt: skip
    return pivots, (yield from cached(learned, learn, "inverting", total, backbone.device))["texts"]


def frame_attention(plan: Plan, params: Vid2VidZeroParams) -> AttentionFn:
    """Attention across frames: all of them in the dense layers, those of `keys` in the others."""

    def attend(q: Tensor, k: Tensor, v: Tensor, site: Site) -> Tensor:
        if site.kind == "cross":
            return attention(q, k, v)
        if site.name in plan.dense:
            return all_frames(q, k, v, plan.frames)
        return sparse_causal(q, k, v, plan.frames, KEY_FRAMES[params.keys])

    return attend


def guided_attention(
    plan: Plan, params: Vid2VidZeroParams, branches: Branches, step: Step, looks: list[WordHeats]
) -> AttentionFn:
    """The attention of one denoising step, for the rows of `branches`; the source's are never touched."""
    for look in looks:
        look.begin()
    frames, seen = plan.frames, frame_attention(plan, params)
    first = branches.uncond * frames  # of the source's conditional rows
    source = slice(first, first + frames)
    first += branches.source * frames
    rows = [slice(first + i * frames, first + (i + 1) * frames) for i in range(branches.targets)]
    cross = [step.index < cross_steps(target, params, step.total) for target in plan.targets]
    within = is_within(step, params)
    map_tokens = plan.map_grid[0] * plan.map_grid[1]

    def across(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = attention(q, k, v)
        if not any(cross) and q.shape[2] != map_tokens:
            return out
        of_source = probabilities(q[source], k[source]) if any(cross) else None
        for target, look, part, fuses in zip(plan.targets, looks, rows, cross, strict=True):
            edit = probabilities(q[part], k[part])
            fused = target.exchange(of_source, edit) if fuses and of_source is not None else edit
            if fuses:
                out[part] = (fused @ v[part].to(fused)).to(out)
            look.add(edit, fused)
        return out

    def attend(q: Tensor, k: Tensor, v: Tensor, site: Site) -> Tensor:
        if site.kind == "cross":
            return across(q, k, v)
        if within:
            q, k = q.clone(), k.clone()
            for part in rows:
                q[part], k[part] = q[source], k[source]
        return seen(q, k, v, site)

    return attend
