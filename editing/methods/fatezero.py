"""FateZero: edits by words that reuse the source's attention, without training.

Qi et al. 2023, arXiv:2303.09535. The clip is inverted to noise with the source prompt
(DDIM). On the way back, in the first steps, the words that both prompts share look
where they looked in the source, and self-attention keeps the source's layout:
everywhere, or outside the area whose words changed.

The source's latents are stored, not its attention. At a step that reuses attention they
run as one more branch of the same batch: injected self-attention uses the source's
queries and keys and the edit's values. The branch ends when no later step needs it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from regrain.editing.attention.averages import RegionAttention, WordAttention
from regrain.editing.attention.backends import attention
from regrain.editing.attention.batch import Batch
from regrain.editing.attention.frames import Seen, across_frames, frames_seen
from regrain.editing.attention.layers import AttentionFn, AttentionLayer, Grid
from regrain.editing.attention.maps import (
    Exchange,
    exchange,
    fuse_cross,
    map_stride,
    probabilities,
)
from regrain.editing.diffusion.blending import (
    blend_latents,
    mask_from_attention,
    mix_noise,
)
from regrain.editing.diffusion.schedule import Step, advance
from regrain.editing.diffusion.text import (
    PromptEmbedding,
    find_words,
    new_words,
    telling_words,
)
from regrain.editing.errors import PromptError
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.intervention import Intervention, Patch, joint_norm
from regrain.editing.params.fatezero import FateZeroParams
from regrain.editing.recipe.attention_recorder import (
    AttentionRecorder,
    Columns,
    HeatScope,
    of_columns,
    word_columns,
)
from regrain.editing.recipe.events import Event, Progress, Stage
from regrain.editing.recipe.inversion import (
    cached,
    ddim_invert,
    ddim_walk,
    inversion_key,
)
from regrain.editing.recipe.preview import Previews
from regrain.editing.recipe.prompts import embed_prompts
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
    inside = None if plan.edited is None else plan.edited(plan.grid.size)
    fresh = torch.Generator().manual_seed(request.seed)
    x = mix_noise(source.latents[-1], inside, params.variation, fresh)
    x = x.repeat(len(plan.targets), 1, 1, 1)
    for step in backbone.schedule.sampling(params.steps, inverted=True):
        x = working.piece.pin_anchors("edit", step.index, x)
        x0, eps = predict_guided(backbone, edits, x, step)
        x = edits.blend(advance(x0, eps, step), step)
        yield from previews(step, x0[: plan.frames], edits.now)
        yield Progress("editing", step.index + 1, step.total, None)
    return WindowResult(
        edits=x.split(plan.frames),
        attention=edits.maps(),
        reconstruction=source.rebuilt,
        words=edits.words(),
        step_areas=edits.step_areas,
    )


@dataclass(frozen=True, eq=False)
class FateZeroTarget:
    """One target prompt, encoded and aligned with the source prompt.

    Attributes:
        exchange: Rule to compute its cross-attention from the source's.
        words: Tokens of its new words, whose heat is shown.
        all_words: Tokens of all its words but articles and prepositions.
        source_area: Tokens of the source prompt that mark the edited area; empty if
            none are needed.
        area: Tokens of this prompt that mark it; empty if none are needed.
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
        edited: The regions, if they define the edited area; None if attention does, or
            nothing.
        seen: The frames whose keys a frame sees, but in the finest layers.
        seen_finest: The frames whose keys a frame sees in the finest layers.
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
        """Return one text per branch."""
        conds = [target.text for target in self.targets]
        return batch.guided_texts(self.uncond, conds, source=self.source)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
        """Compute spatio-temporal self-attention: each frame sees the chosen frames."""
        seen = self.seen_finest if site.finest else self.seen
        return across_frames(q, k, v, self.frames, seen)


def injected(step: Step, params: FateZeroParams) -> tuple[bool, bool]:
    """Check if a step takes cross-attention, and if it takes self-attention, from the
    source.

    The released code counts cross-attention's share of N + 1 steps, self-attention's of
    N.
    """
    takes_cross = step.within(params.cross_until, of=step.total + 1)
    takes_self = step.within(params.self_until)
    return takes_cross, takes_self


def make_plan(
    backbone: Backbone,
    request: EditRequest,
    params: FateZeroParams,
    working: ResizedClip,
) -> FateZeroPlan:
    """Encode and align the prompts; raises if a given word is not in them."""
    frames = len(request.clip)
    source, uncond, texts = embed_prompts(backbone, request)
    edited = working.edited if params.use_masks else None
    by_attention = edited is None and (
        params.blend_self or params.blend_latents == "always"
    )
    keys = params.selectors
    finest_keys = keys if params.keys_levels == "all" else ("own",)
    middle = working.piece.middle
    return FateZeroPlan(
        frames=frames,
        scope=HeatScope.of(map_stride(working.grid, backbone.sites), working.grid),
        source=source,
        source_words=word_columns(source, telling_words(request.source_prompt)),
        uncond=uncond,
        targets=tuple(
            make_target(source, text, params, by_attention) for text in texts
        ),
        edited=edited,
        grid=working.grid,
        patches=(joint_norm(frames),) if params.joint_norm else (),
        seen=frames_seen(keys, frames, middle),
        seen_finest=frames_seen(finest_keys, frames, middle),
    )


def make_target(
    source: PromptEmbedding,
    text: PromptEmbedding,
    params: FateZeroParams,
    by_attention: bool,
) -> FateZeroTarget:
    """Align a prompt with the source's; with `by_attention`, words mark the edited
    area.

    Raises:
        PromptError: A given word is not in its prompt, or no word marks the edited
            area.
    """
    lost, gained = new_words(source.prompts[0], text.prompts[0])
    marks = params.blend_words or lost
    if by_attention and not marks:
        raise PromptError(
            "params.blend_words",
            "No word of the source prompt is replaced, so the edited area is unknown. Name a word, add a "
            "region with a mask, or set blend_latents=never and blend_self=false.",
        )
    rule = exchange(
        source,
        text,
        params.cross_control,
        weights=emphasis(params, gained),
        variant=params.alignment,
        field="params.emphasis_words",
    )
    words = word_columns(text, gained)
    all_words = word_columns(text, telling_words(text.prompts[0]))
    source_area = ()
    area = ()
    if by_attention:
        source_area = _tokens(source, marks, "params.blend_words")
        area = _tokens(text, params.edit_words or gained, "params.edit_words")
    return FateZeroTarget(text, rule, words, all_words, source_area, area)


def _tokens(text: PromptEmbedding, found: Sequence[str], field: str) -> tuple[int, ...]:
    """Return the tokens of some words of a prompt, in rising order."""
    tokens: set[int] = set()
    for word in found:
        tokens.update(find_words(text, word, field))
    return tuple(sorted(tokens))


def emphasis(params: FateZeroParams, gained: tuple[str, ...]) -> dict[str, float]:
    """Return the factor of each emphasised word."""
    if params.emphasis_words:
        return {
            words: params.emphasis if own is None else own
            for words, own in params.emphasis_words
        }
    if params.emphasis == 1:
        return {}
    return dict.fromkeys(gained, params.emphasis)


@dataclass(frozen=True, eq=False)
class InvertedSource:
    """The inversion of the source.

    Attributes:
        latents: The N + 1 latents from clean to noise.
        mass: Attention to its words in every call of the model, on the grid of the
            plan's `scope`.
        rebuilt: The clean latents rebuilt from the noise, if chosen.
        released: Use the levels of the released code: at timestep t, it takes the
            attention of the inversion step with timestep t.
    """

    latents: list[Float[Tensor, "frames c h w"]]
    mass: Float[Tensor, "calls frames grid_height grid_width tokens"]
    rebuilt: Float[Tensor, "frames c h w"] | None
    released: bool

    def at(self, step: Step) -> Float[Tensor, "frames c h w"]:
        """Return the latents of the source branch: at the edit's level or, as released,
        one step cleaner."""
        return self.latents[step.total - step.index - self.released]

    def blended(self, step: Step) -> Float[Tensor, "frames c h w"]:
        """Return the latents to blend in after a step: at its new level or, as
        released, one step noisier."""
        return self.latents[step.total - 1 - step.index + self.released]


def invert(
    backbone: Backbone, working: ResizedClip, plan: FateZeroPlan, params: FateZeroParams
) -> Generator[Event, None, InvertedSource]:
    """Invert the clip with the source prompt, and rebuild it if chosen; cached."""
    released = params.inversion_latents == "released"
    convention = "fatezero" if released else "paper"
    facts = {
        "prompt": plan.source.prompts[0],
        "steps": params.steps,
        "told": convention,
        "keys": params.keys,
        "keys_levels": params.keys_levels,
        "joint_norm": params.joint_norm,
        "method": "fatezero",
    }
    key = inversion_key(backbone, working, **facts)
    total = params.steps * (1 + params.reconstruct)
    model = SourceModel(backbone, plan)

    def up() -> Generator[Event, None, dict[str, Tensor]]:
        steps = backbone.schedule.inversion(params.steps, convention)
        latents = yield from ddim_invert(
            backbone, working, model.predict, steps, total, params.preview_every
        )
        return {"latents": torch.stack(latents), "mass": torch.stack(model.mass)}

    def down() -> Generator[Event, None, dict[str, Tensor]]:
        clean = latents[-1]
        falling = backbone.schedule.sampling(params.steps, inverted=True)
        for step, x in ddim_walk(clean, model.predict, falling):
            clean = x
            yield Progress("inverting", params.steps + step.index + 1, total, None)
        return {"latents": clean}

    done = Progress("inverting", params.steps, total, None)
    kept = yield from cached(key, up, done, backbone.device)
    latents = working.piece.pin_all("inversion", kept["latents"])
    rebuilt = None
    if params.reconstruct:
        done = Progress("inverting", total, total, 0.0)
        key = key | {"kind": "reconstruction"}
        rebuilt = (yield from cached(key, down, done, backbone.device))["latents"]
    return InvertedSource(latents, kept["mass"], rebuilt, released)


class SourceModel:
    """The model with the source prompt; `mass` collects the attention to its words,
    call by call."""

    def __init__(self, backbone: Backbone, plan: FateZeroPlan) -> None:
        self.mass: list[Float[Tensor, "frames grid_height grid_width tokens"]] = []
        self._backbone = backbone
        self._plan = plan
        self._heat = AttentionRecorder(plan.scope)

    def predict(self, x: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """Predict (x0, eps) of the source."""
        plan = self._plan
        self._heat.begin(step)
        change = Intervention(self._attend, plan.patches)
        answer = self._backbone.predict(x, step, plan.source, change)
        self.mass.append(self._heat.step()[..., : plan.source.lengths[0]])
        return answer

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
        if site.kind != "cross":
            return self._plan.attend(q, k, v, site)
        if self._heat.reads(site):
            self._heat.add(probabilities(q, k).mean(1))
        return attention(q, k, v)


def predict_guided(
    backbone: Backbone, edits: Edits, x: Float[Tensor, "rows c h w"], step: Step
) -> tuple[Float[Tensor, "rows c h w"], Float[Tensor, "rows c h w"]]:
    """Predict guided (x0, eps) of all edits; the source runs along while its attention
    is reused."""
    plan = edits.plan
    params = edits.params
    branches = ["source"] if any(injected(step, params)) else []
    scale = params.guidance_scale
    batch = Batch.of(plan.frames, *branches, edits=len(plan.targets), scale=scale)
    change = Intervention(edits.attend(step, batch), plan.patches)
    rows = batch.join({"source": edits.source.at(step), "uncond": x, "cond": x})
    answer = backbone.predict(rows, step, plan.texts(batch), change)
    return batch.guide(answer, scale)


def _with_copies(x: Tensor, source: slice, parts: Sequence[slice]) -> Tensor:
    """Return rows in which those of each part are copies of the source's."""
    out = x.clone()
    for rows in parts:
        copies = (rows.stop - rows.start) // (source.stop - source.start)
        out[rows] = x[source].repeat(copies, 1, 1, 1)
    return out


class Edits:
    """The edits during denoising: their attention, the area that they change, and their
    blending."""

    def __init__(
        self, plan: FateZeroPlan, params: FateZeroParams, source: InvertedSource
    ) -> None:
        self.plan = plan
        self.params = params
        self.source = source
        self.heats = [AttentionRecorder(plan.scope) for _ in plan.targets]
        self.step_areas: dict[int, np.ndarray] = {}

    def now(self, frames: Sequence[int]) -> dict[str, np.ndarray]:
        """Return this step's maps of the first edit's new words, for a preview."""
        return self.heats[0].now(self.plan.targets[0].words, frames)

    def maps(self) -> dict[str, RegionAttention]:
        """Return the maps of the first edit's new words over the run."""
        return self.heats[0].maps(self.plan.targets[0].words)

    def words(self) -> WordAttention:
        """Return the attention to each word of the source prompt and of the first
        target."""
        mean = self.source.mass.mean(0)
        source = {}
        for word, tokens in self.plan.source_words.items():
            source[word] = of_columns(mean, tokens).float().cpu().numpy()
        maps = self.heats[0].maps(self.plan.targets[0].all_words)
        return WordAttention(source, {word: one.before for word, one in maps.items()})

    def attend(self, step: Step, batch: Batch) -> AttentionFn:
        """Return the attention of one denoising step."""
        takes_cross, takes_self = injected(step, self.params)
        for heat in self.heats:
            heat.begin(step)

        def attend(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
            injects = self.params.levels == "all" or not site.finest
            if site.kind == "cross":
                return self._across(q, k, v, site, batch, fuses=takes_cross and injects)
            if takes_self and injects:
                return self._within(q, k, v, site, batch, step)
            return self.plan.attend(q, k, v, site)

        return attend

    def _across(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        site: AttentionLayer,
        batch: Batch,
        fuses: bool,
    ) -> Tensor:
        """Compute cross-attention: with `fuses`, that of the edits from the
        source's."""
        exchanges = {}
        for number, target in enumerate(self.plan.targets):
            exchanges[f"cond/{number}"] = target.exchange if fuses else None

        def look(branch: str, own: Tensor, final: Tensor) -> None:
            number = int(branch.removeprefix("cond/"))
            self.heats[number].add(own.mean(1), final.mean(1))

        seen = look if self.heats[0].reads(site) else None
        return fuse_cross(q, k, v, batch, exchanges, seen)

    def _within(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        site: AttentionLayer,
        batch: Batch,
        step: Step,
    ) -> Tensor:
        """Compute self-attention by the source's queries and keys, everywhere or
        outside the edited area."""
        plan = self.plan
        halves = self._injected_halves(batch)
        source = batch.rows("source")
        taken_q = _with_copies(q, source, halves)
        taken_k = _with_copies(k, source, halves)
        out = plan.attend(taken_q, taken_k, v, site)
        if not self.params.blend_self:
            return out
        masks = self._masks(step, plan.grid.at(site).size)
        for rows in halves:
            own = plan.attend(q[rows], k[rows], v[rows], site)
            out[rows] = (masks * own + (1 - masks) * out[rows]).to(out)
        return out

    def _injected_halves(self, batch: Batch) -> list[slice]:
        """Return the rows of the halves of guidance that take self-attention from the
        source."""
        wanted = self.params.guidance_half
        halves = ("uncond", "cond") if wanted == "both" else (wanted,)
        return [batch.rows(half) for half in halves if batch.has(half)]

    def _masks(
        self, step: Step, size: tuple[int, int]
    ) -> Float[Tensor, "rows 1 tokens 1"]:
        """Return the areas of all edits on the tokens of a grid."""
        edits = range(len(self.plan.targets))
        areas = [self.area_of_source(step, edit, size) for edit in edits]
        return rearrange(torch.cat(areas), "f 1 h w -> f 1 (h w) 1")

    def blend(
        self, x: Float[Tensor, "rows c h w"], step: Step
    ) -> Float[Tensor, "rows c h w"]:
        """Return the latents after a step: with blending, the source's outside the
        edited area."""
        edits = range(len(self.plan.targets))
        if self.blends_latents(step):
            area = torch.cat([self.area_of_edit(step, edit) for edit in edits])
            known = self.source.blended(step).repeat(len(edits), 1, 1, 1)
            self._note_area(area, step)
            return blend_latents(x, known, area)
        if self.params.blend_self and step.within(self.params.self_until):
            area = self.area_of_source(step, 0, self.plan.grid.size)
            self._note_area(area, step)
        return x

    def _note_area(self, area: Float[Tensor, "rows 1 h w"], step: Step) -> None:
        """Keep the first edit's area after a step, unless masks define it."""
        if self.plan.edited is None:
            own = area[: self.plan.frames, 0] > 0
            self.step_areas[step.index] = own.cpu().numpy()

    def blends_latents(self, step: Step) -> bool:
        """Check if latents outside the edited area are the source's after this step,
        the n-th of N.

        As released: int(from N) < n < int(until N), and to the end where until is 1.
        """
        params = self.params
        wanted = ("always",) if self.plan.edited is None else ("always", "masks")
        if params.blend_latents not in wanted or step.within(params.blend_from):
            return False
        after = replace(step, index=step.index + 1)
        return after.within(params.blend_until) or params.blend_until == 1

    def area_of_source(
        self, step: Step, target: int, size: tuple[int, int]
    ) -> Float[Tensor, "frames 1 h w"]:
        """Return the area of an edit: the masks, or that of the source's attention at
        this noise level."""
        if self.plan.edited is not None:
            return self.plan.edited(size)
        # The model never saw the noisiest latents during inversion, so use the call
        # before.
        call = min(
            step.total - step.index - self.source.released, len(self.source.mass) - 1
        )
        mass = of_columns(self.source.mass[call], self.plan.targets[target].source_area)
        return mask_from_attention(mass, size, self.params.blend_threshold)

    def area_of_edit(self, step: Step, target: int) -> Float[Tensor, "frames 1 h w"]:
        """Return the area of an edit on the latents' grid, joined with that of its own
        words' attention."""
        plan = self.plan
        size = plan.grid.size
        area = self.area_of_source(step, target, size)
        tokens = plan.targets[target].area
        if plan.edited is not None or not tokens:
            return area
        mass = of_columns(self.heats[target].before(), tokens)
        own = mask_from_attention(mass, size, self.params.blend_threshold)
        return torch.maximum(area, own)
