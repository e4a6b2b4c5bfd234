"""FateZero: edits by words that reuse the source's attention, without training.

Qi et al. 2023, arXiv:2303.09535. The clip is inverted to noise with the source prompt (DDIM). On the way
back, in the first steps, the words that both prompts share look where they looked in the source, and
self-attention keeps the source's layout: everywhere, or outside the area whose words changed.

The source's latents are stored, not its attention. At a step that reuses attention they run as one more
branch of the same batch: injected self-attention uses the source's queries and keys and the edit's values.
The branch ends when no later step needs it.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from regrain.editing.attention.averages import WordAttention
from regrain.editing.attention.backends import attention
from regrain.editing.attention.batch import Batch
from regrain.editing.attention.frames import Seen, across_frames, frames_seen
from regrain.editing.attention.layers import AttentionFn, AttentionLayer, Grid
from regrain.editing.attention.maps import Exchange, exchange, fuse_cross, map_stride, probabilities
from regrain.editing.diffusion.blending import blend_latents, mask_from_attention, mix_noise
from regrain.editing.diffusion.schedule import Step, advance
from regrain.editing.diffusion.text import PromptEmbedding, find_words, new_words, telling_words
from regrain.editing.errors import PromptError
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.intervention import Intervention, Patch, joint_norm
from regrain.editing.params.base import KEY_FRAMES
from regrain.editing.params.fatezero import FateZeroParams
from regrain.editing.recipe.attention_recorder import (
    AttentionRecorder,
    Columns,
    HeatScope,
    of_columns,
)
from regrain.editing.recipe.events import Event, Progress, Stage
from regrain.editing.recipe.inversion import cached, ddim_invert, ddim_walk, inversion_key
from regrain.editing.recipe.preview import Previews
from regrain.editing.recipe.window import (
    EditedCells,
    ResizedClip,
    WindowFrames,
    WindowResult,
    working_clip,
)
from regrain.editing.request.edit_request import EditRequest


@torch.no_grad()
def run(
    backbone: Backbone,
    request: EditRequest,
    params: FateZeroParams,
    piece: WindowFrames | None = None,
) -> Generator[Event, None, WindowResult]:
    """Edit a clip, or a piece of it; yields events, returns the latents."""
    working = working_clip(backbone, request, piece)
    plan = make_plan(backbone, request, params, working)

    yield Stage("inverting")
    source = yield from invert(backbone, working, plan, params)

    yield Stage("editing")
    edits = Edits(plan, params, source)
    previews = Previews(source.latents[0], working, params.preview_every)
    inside, fresh = (
        plan.edited and plan.edited(plan.grid.size),
        torch.Generator().manual_seed(request.seed),
    )
    x = mix_noise(source.latents[-1], inside, params.variation, fresh).repeat(
        len(plan.targets), 1, 1, 1
    )
    for step in backbone.schedule.sampling(params.steps):
        x = working.piece.pin_anchors("edit", step.index, x)
        source_runs = any(injected(step, params))
        batch = Batch.of(plan.frames, *(["source"] if source_runs else []), edits=len(plan.targets))
        attend = edits.attend(step, batch)
        rows = batch.join({"source": source.at(step), "uncond": x, "cond": x})
        answer = backbone.predict(rows, step, plan.texts(batch), Intervention(attend, plan.patches))
        x0, eps = batch.guide(answer, params.guidance_scale)
        x = edits.blend(advance(x0, eps, step), step)
        yield from previews(
            step, x0[: batch.frames], partial(edits.heats[0].now, plan.targets[0].words)
        )
        yield Progress("editing", step.index + 1, step.total, None)
    return WindowResult(
        x.split(plan.frames), edits.heats[0].maps(plan.targets[0].words), source.rebuilt, edits.words(),
        edits.step_areas,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class FateZeroTarget:
    """One target prompt, encoded, and how its cross-attention is computed from the source's.

    `words` are its new words, whose heat is shown. Tokens of the source prompt, `source_area`, and of this
    one, `area`, mark the edited area; empty if none are needed.
    """

    text: PromptEmbedding
    exchange: Exchange
    words: Columns
    all_words: Columns
    source_area: tuple[int, ...]
    area: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class FateZeroPlan:
    """Everything decided before the first step.

    Attributes:
        scope: The layers from which maps of words are read.
        edited: The regions, if they define the edited area; None if attention does, or nothing.
        seen: Whose keys a frame sees. seen_finest: In the finest layers.
    """

    frames: int
    scope: HeatScope
    source: PromptEmbedding
    source_words: Columns
    uncond: PromptEmbedding
    targets: tuple[FateZeroTarget, ...]
    edited: EditedCells | None
    grid: Grid
    patches: tuple[Patch, ...]
    seen: Seen
    seen_finest: Int[Tensor, "frames seen_finest"] | Literal["all"]

    def texts(self, batch: Batch) -> PromptEmbedding:
        """One text per branch."""
        conds = {f"cond/{i}": target.text for i, target in enumerate(self.targets)}
        return batch.texts({"source": self.source, "uncond": self.uncond, **conds})

    def attend(self, q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
        """Spatio-temporal self-attention: each frame sees the chosen frames."""
        return across_frames(q, k, v, self.frames, self.seen_finest if site.finest else self.seen)


def injected(step: Step, params: FateZeroParams) -> tuple[bool, bool]:
    """Whether a step takes cross- and self-attention from the source.

    The released code counts cross-attention's share of N + 1 steps, self-attention's of N.
    """
    return step.within(params.cross_until, of=step.total + 1), step.within(params.self_until)


def make_plan(
    backbone: Backbone, request: EditRequest, params: FateZeroParams, working: ResizedClip
) -> FateZeroPlan:
    """Encode and align the prompts; raises if a given word is not in them."""
    source, uncond, *texts = backbone.embed(
        [request.source_prompt, request.negatives, *request.targets],
        [
            "source_prompt",
            "negative_prompt",
            "prompt",
            *["more_prompts"] * len(request.more_prompts),
        ],
    )
    edited = working.edited if params.use_masks else None
    by_attention = edited is None and (params.blend_self or params.blend_latents == "always")
    keys, middle = KEY_FRAMES[params.keys], working.piece.middle
    return FateZeroPlan(
        frames=len(request.clip),
        scope=HeatScope.of(map_stride(working.grid, backbone.sites), working.grid),
        source=source,
        source_words={
            word: find_words(source, word) for word in telling_words(request.source_prompt)
        },
        uncond=uncond,
        targets=tuple(make_target(source, text, params, by_attention) for text in texts),
        edited=edited,
        grid=working.grid,
        patches=(joint_norm(len(request.clip)),) if params.joint_norm else (),
        seen=frames_seen(keys, len(request.clip), middle),
        seen_finest=frames_seen(
            keys if params.keys_levels == "all" else ("own",), len(request.clip), middle
        ),
    )


def make_target(
    source: PromptEmbedding, text: PromptEmbedding, params: FateZeroParams, by_attention: bool
) -> FateZeroTarget:
    """Align a prompt with the source's; `by_attention` says whether words mark the edited area.

    Raises:
        PromptError: A given word is not in its prompt, or no word marks the edited area.
    """
    lost, gained = new_words(source.prompts[0], text.prompts[0])
    marks = params.blend_words or lost
    if by_attention and not marks:
        raise PromptError(
            "params.blend_words",
            "No word of the source prompt is replaced, so the edited area is unknown. Name a word, add a "
            "region with a mask, or set blend_latents=never and blend_self=false.",
        )
    return FateZeroTarget(
        text,
        exchange(
            source, text, params.cross_control, emphasis(params, gained), params.alignment,
            "params.emphasis_words",
        ),
        {word: find_words(text, word) for word in gained},
        {word: find_words(text, word) for word in telling_words(text.prompts[0])},
        _tokens(source, marks, "params.blend_words") if by_attention else (),
        _tokens(text, params.edit_words or gained, "params.edit_words") if by_attention else (),
    )  # fmt: skip


def _tokens(
    text: PromptEmbedding, found: list[str] | tuple[str, ...], field: str
) -> tuple[int, ...]:
    return tuple(sorted({token for word in found for token in find_words(text, word, field)}))


def emphasis(params: FateZeroParams, gained: tuple[str, ...]) -> dict[str, float]:
    """The factor of each emphasised word."""
    if not params.emphasis_words:
        return dict.fromkeys(gained, params.emphasis) if params.emphasis != 1 else {}
    return {words: params.emphasis if own is None else own for words, own in params.emphasis_words}


@dataclass(frozen=True, eq=False)
class InvertedSource:
    """The inversion of the source.

    Attributes:
        latents: The N + 1 latents from clean to noise.
        mass: Where its words looked, in every call of the model, on the grid on which they are looked for.
        rebuilt: The clean latents rebuilt from the noise, if chosen.
        released: Whether the levels are the released code's: at timestep t, it uses the attention of the
            inversion step with timestep t.
    """

    latents: list[Float[Tensor, "frames c h w"]]
    mass: Float[Tensor, "calls frames grid_height grid_width tokens"]
    rebuilt: Float[Tensor, "frames c h w"] | None
    released: bool

    def at(self, step: Step) -> Float[Tensor, "frames c h w"]:
        """The latents of the source branch: at the edit's level or, as released, one step cleaner."""
        return self.latents[step.total - step.index - self.released]

    def blended(self, step: Step) -> Float[Tensor, "frames c h w"]:
        """The latents blended in after a step: at its new level or, as released, one step noisier."""
        return self.latents[step.total - 1 - step.index + self.released]


def invert(
    backbone: Backbone, working: ResizedClip, plan: FateZeroPlan, params: FateZeroParams
) -> Generator[Event, None, InvertedSource]:
    """Invert the clip with the source prompt, and rebuild it if chosen; cached."""
    released = params.inversion_latents == "released"
    convention = "fatezero" if released else "paper"
    key = inversion_key(
        backbone, working, prompt=plan.source.prompts[0], steps=params.steps, told=convention,
        keys=params.keys, keys_levels=params.keys_levels, joint_norm=params.joint_norm, method="fatezero",
    )  # fmt: skip
    total = params.steps * (1 + params.reconstruct)
    heat, mass = AttentionRecorder(plan.scope), []

    def attend(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
        if site.kind != "cross":
            return plan.attend(q, k, v, site)
        if heat.reads(site):
            heat.add(probabilities(q, k).mean(1))
        return attention(q, k, v)

    def predict(x: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        heat.begin(step)
        answer = backbone.predict(x, step, plan.source, Intervention(attend, plan.patches))
        mass.append(heat.step()[..., : plan.source.lengths[0]])
        return answer

    def up() -> Generator[Event, None, dict[str, Tensor]]:
        steps = backbone.schedule.inversion(params.steps, convention)
        latents = yield from ddim_invert(backbone, working, predict, steps, total)
        return {"latents": torch.stack(latents), "mass": torch.stack(mass)}

    def down() -> Generator[Event, None, dict[str, Tensor]]:
        clean = latents[-1]
        for step, x in ddim_walk(clean, predict, backbone.schedule.sampling(params.steps)):
            clean = x
            yield Progress("inverting", params.steps + step.index + 1, total, None)
        return {"latents": clean}

    done = Progress("inverting", params.steps, total, None)
    kept = yield from cached(key, up, done, backbone.device)
    latents, rebuilt = working.piece.pin_all("inversion", kept["latents"]), None
    if params.reconstruct:
        done, key = Progress("inverting", total, total, 0.0), key | {"kind": "reconstruction"}
        rebuilt = (yield from cached(key, down, done, backbone.device))["latents"]
    return InvertedSource(latents, kept["mass"], rebuilt, released)


class Edits:
    """The edits during denoising: where their words look (`heats`), where they are, what they reuse."""

    def __init__(self, plan: FateZeroPlan, params: FateZeroParams, source: InvertedSource) -> None:
        self.plan, self.params, self.source = plan, params, source
        self.heats = [AttentionRecorder(plan.scope) for _ in plan.targets]
        self.step_areas: dict[int, np.ndarray] = {}

    def words(self) -> WordAttention:
        """Where each word of the source prompt and of the first target looked."""
        mean, target = self.source.mass.mean(0), self.plan.targets[0]
        source = {
            w: of_columns(mean, t).float().cpu().numpy() for w, t in self.plan.source_words.items()
        }
        return WordAttention(
            source, {w: m.before for w, m in self.heats[0].maps(target.all_words).items()}
        )

    def attend(self, step: Step, batch: Batch) -> AttentionFn:
        """The attention of one denoising step."""
        plan, params, count = self.plan, self.params, len(self.plan.targets)
        takes_cross, takes_self = injected(step, params)
        for heat in self.heats:
            heat.begin(step)

        def across(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
            fuses = takes_cross and (params.levels == "all" or not site.finest)
            exchanges = {
                f"cond/{i}": t.exchange if fuses else None for i, t in enumerate(plan.targets)
            }

            def look(branch: str, own: Tensor, final: Tensor) -> None:
                self.heats[int(branch.removeprefix("cond/"))].add(own.mean(1), final.mean(1))

            return fuse_cross(
                q, k, v, batch, exchanges, look if self.heats[0].reads(site) else None
            )

        def within(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
            if not takes_self or (site.finest and params.levels == "coarse"):
                return plan.attend(q, k, v, site)
            halves = [
                batch.rows(half)
                for half in ("uncond", "cond")
                if params.guidance_half in (half, "both")
            ]
            source_q, source_k = (x[batch.rows("source")].repeat(count, 1, 1, 1) for x in (q, k))
            taken_q, taken_k = q.clone(), k.clone()
            for rows in halves:
                taken_q[rows], taken_k[rows] = source_q, source_k
            out = plan.attend(taken_q, taken_k, v, site)
            if params.blend_self:
                size = plan.grid.at(site).size
                areas = [self.area_of_source(step, i, size) for i in range(count)]
                masks = rearrange(torch.cat(areas), "f 1 h w -> f 1 (h w) 1")
                for rows in halves:
                    own = plan.attend(q[rows], k[rows], v[rows], site)
                    out[rows] = (masks * own + (1 - masks) * out[rows]).to(out)
            return out

        def attend(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
            return across(q, k, v, site) if site.kind == "cross" else within(q, k, v, site)

        return attend

    def blend(self, x: Float[Tensor, "rows c h w"], step: Step) -> Float[Tensor, "rows c h w"]:
        """The latents after a step; with blending, outside the edited area the source's."""
        plan, params, area = self.plan, self.params, None
        if self.blends_latents(step):
            area = torch.cat([self.area_of_edit(step, i) for i in range(len(plan.targets))])
            known = self.source.blended(step).repeat(len(plan.targets), 1, 1, 1)
            x = blend_latents(x, known, area)
        elif params.blend_self and step.within(params.self_until):
            area = self.area_of_source(step, 0, plan.grid.size)
        if area is not None and plan.edited is None:
            self.step_areas[step.index] = (area[: plan.frames, 0] > 0).cpu().numpy()
        return x

    def blends_latents(self, step: Step) -> bool:
        """Whether latents outside the edited area are taken after this step, the n-th of N.

        As released: int(from N) < n < int(until N), and to the end where until is 1.
        """
        params = self.params
        wanted = ("always",) if self.plan.edited is None else ("always", "masks")
        if params.blend_latents not in wanted or step.within(params.blend_from):
            return False
        return (
            replace(step, index=step.index + 1).within(params.blend_until)
            or params.blend_until == 1
        )

    def area_of_source(
        self, step: Step, target: int, size: tuple[int, int]
    ) -> Float[Tensor, "frames 1 h w"]:
        """Where an edit is: in the masks, or as the source's attention tells at this step's noise level."""
        if self.plan.edited is not None:
            return self.plan.edited(size)
        # The model never saw the noisiest latents during inversion, so use the call before.
        call = min(step.total - step.index - self.source.released, len(self.source.mass) - 1)
        mass = of_columns(self.source.mass[call], self.plan.targets[target].source_area)
        return mask_from_attention(mass, size, self.params.blend_threshold)

    def area_of_edit(self, step: Step, target: int) -> Float[Tensor, "frames 1 h w"]:
        """The same, joined with where the edit's own words have looked so far, on the grid of the latents."""
        area, tokens = (
            self.area_of_source(step, target, self.plan.grid.size),
            self.plan.targets[target].area,
        )
        if self.plan.edited is not None or not tokens:
            return area
        own = of_columns(self.heats[target].before(), tokens)
        return torch.maximum(
            area, mask_from_attention(own, self.plan.grid.size, self.params.blend_threshold)
        )
