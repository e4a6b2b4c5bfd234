"""InfEdit: edits without inversion, in few steps.

Xu et al., CVPR 2024, arXiv:2312.04965. The clean source is known, so it is noised anew
at every step, with the noise of the edit. The edit is the source plus the difference of
the two estimates. Attention is shared between three branches: the source, the edit, and
a layout with the words of the source on the shapes of the edit, whose attention to
words marks what is edited.

With regions, their masks mark it instead, and modulated attention (VideoGrain's) binds
each region to its words.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from regrain.editing.attention.averages import RegionAttention
from regrain.editing.attention.backends import attention
from regrain.editing.attention.batch import Batch
from regrain.editing.attention.frames import SPANS, across_frames, frames_seen
from regrain.editing.attention.layers import AttentionFn, AttentionLayer
from regrain.editing.attention.maps import exchange, map_stride, probabilities
from regrain.editing.diffusion.blending import blend_latents
from regrain.editing.diffusion.samplers import consistency_levels
from regrain.editing.diffusion.schedule import (
    Schedule,
    Step,
    add_noise,
    generator,
)
from regrain.editing.diffusion.text import find_words, telling_words
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.intervention import Intervention
from regrain.editing.models.unet.control_net import ControlNets
from regrain.editing.params.infedit import InfEditParams
from regrain.editing.recipe.attention_recorder import (
    AttentionRecorder,
    Columns,
    HeatScope,
    word_columns,
)
from regrain.editing.recipe.events import Event, Progress, Stage
from regrain.editing.recipe.inpainting import beside_latents
from regrain.editing.recipe.layout import lay_out
from regrain.editing.recipe.modulation import Modulation, fade
from regrain.editing.recipe.noise import FrameNoise
from regrain.editing.recipe.preview import Previews
from regrain.editing.recipe.redraw import calmed
from regrain.editing.recipe.window import (
    ResizedClip,
    WindowFrames,
    WindowResult,
    working_clip,
)
from regrain.editing.request.edit_request import EditRequest

_TEMPERATURE = 0.15  # over the signal, the least threshold of the edit
_ROUNDING = 1e-9


@torch.no_grad()
def run(
    backbone: Backbone,
    request: EditRequest,
    params: InfEditParams,
    piece: WindowFrames | None = None,
) -> Generator[Event, None, WindowResult]:
    """Edit a clip, or a piece of it; yields events, returns the latents."""
    working = working_clip(backbone, request, piece)
    source = backbone.encode(working.frames)
    branches = Branches(backbone, request, params, working, source)
    walk = Walk(branches, working, source, request.seed)
    steps = steps_taken(backbone.schedule, params)
    again = steps[len(steps) - min(params.steps_again, len(steps) - 1) :]

    yield Stage("editing")
    previews = Previews(source, working, params.preview_every)
    walk.start(steps[0])
    for number, step in enumerate((*steps, *again)):
        if number == len(steps):
            walk.start_again(step)
        walk.take(number, step)
        yield from previews(step, walk.edit, branches.now)
        yield Progress("editing", number + 1, len(steps) + len(again), None)
    maps = branches.maps()
    return WindowResult((walk.edit,), maps, control=branches.control.maps)


def steps_taken(schedule: Schedule, params: InfEditParams) -> tuple[Step, ...]:
    """Return the steps between the levels of a consistency model; with less strength
    the last ones, at least one.

    The last step ends at the level where it starts.
    """
    levels = consistency_levels(schedule, params.steps)
    steps = schedule.walk(levels, (*levels[1:], levels[-1]))
    run = max(1, int(params.steps * params.strength + _ROUNDING))
    return steps[-run:]


def estimates(
    source: Float[Tensor, "frames c h w"], found: Mapping[str, Tensor], holds: bool
) -> dict[str, Float[Tensor, "frames c h w"]]:
    """Return the clean latents of the branches after a step.

    Args:
        source: Clean latents of the source.
        found: The network's estimate of each branch.
        holds: Take the source plus the difference of two estimates (virtual inversion);
            otherwise the edit's own estimate.

    Source: arXiv:2312.04965, Eq. 9.
    """
    clean = {}
    for name, own in found.items():
        if name != "source":
            clean[name] = source + (own - found["source"]) if holds else own
    return clean


class Walk:
    """The latents of the branches on their way from noise to clean.

    Attributes:
        edit: Clean latents of the edit, as estimated by the last step.
    """

    def __init__(
        self,
        branches: Branches,
        working: ResizedClip,
        source: Float[Tensor, "frames c h w"],
        seed: int,
    ) -> None:
        self._branches = branches
        self._working = working
        self._source = source
        self._seed = seed
        self._noise = FrameNoise(working, branches.params, seed)
        self._inside = None
        if branches.params.blend == "regions":
            self._inside = working.inside()
        self._x: dict[str, Tensor] = {}
        self.edit = source

    def start(self, step: Step) -> None:
        """Go to where the first step starts: pure noise or, with less strength, the
        source with noise."""
        noise = self._draw(0)
        if self._branches.params.strength < 1:
            noise = add_noise(self._source, noise, step)
        self._x = dict.fromkeys(("source", "cond", "layout"), noise)

    def start_again(self, step: Step) -> None:
        """Go back to where a step starts: with the same noise, the source and the edit
        as averaged along the motion."""
        branches = self._branches
        calm = calmed(branches.backbone, self._working, self.edit, branches.params.flow)
        noise = self._draw(0, 1)
        start = add_noise(self._source, noise, step)
        self._x = dict.fromkeys(("source", "layout"), start)
        self._x["cond"] = add_noise(calm, noise, step)

    def take(self, number: int, step: Step) -> None:
        """Take a step, the `number`th of the walk."""
        self._pin_anchors(number)
        clean = self._estimates(step)
        noise = self._draw(number + 1)
        for name, x0 in clean.items():
            self._x[name] = step.signal_next * x0 + step.noise_next * noise
        if self._branches.params.blend == "words" and step.index:
            self._x["cond"] = self._branches.blend(self._x, step)
        self.edit = clean["cond"]

    def _draw(self, *number: int) -> Float[Tensor, "frames c h w"]:
        """Draw the noise of a step, the same in all windows of a clip."""
        return self._noise.draw(self._source, generator(self._seed, *number))

    def _pin_anchors(self, number: int) -> None:
        """Give anchors the latents they had; those of the source follow from the
        noise."""
        piece = self._working.piece
        self._x["cond"] = piece.pin_anchors("edit", number, self._x["cond"])
        self._x["layout"] = piece.pin_anchors("layout", number, self._x["layout"])

    def _estimates(self, step: Step) -> dict[str, Float[Tensor, "frames c h w"]]:
        """Return the clean latents of the branches after a step; with masks, the edit
        is the source outside."""
        found = self._branches.predict(self._x, step)
        clean = estimates(self._source, found, self._branches.holds(step))
        if self._inside is not None:
            clean["cond"] = blend_latents(clean["cond"], self._source, self._inside)
        return {"source": self._source, **clean}


class Branches:
    """The model as a run calls it: its branches, and the attention that they share.

    Attributes:
        backbone: The model.
        params: Parameters of the run.
        control: Control networks of the run.
    """

    def __init__(
        self,
        backbone: Backbone,
        request: EditRequest,
        params: InfEditParams,
        working: ResizedClip,
        source: Float[Tensor, "frames c h w"],
    ) -> None:
        self.backbone = backbone
        self.params = params
        self._frames = working.grid.time
        self._seen = frames_seen(SPANS[params.attention_span], self._frames)
        self.control = ControlNets(params.control, working.frames, backbone)
        self._beside = beside_latents(backbone, working, source, params.shown)
        self._read_texts(request, working)
        self._read_words()

        scope = HeatScope.of(map_stride(working.grid, backbone.sites), working.grid)
        self._heat = AttentionRecorder(scope)
        self._source_heat = AttentionRecorder(scope)
        self._layout_heat = AttentionRecorder(scope)

    def _read_texts(self, request: EditRequest, working: ResizedClip) -> None:
        """Encode the prompts, and bind regions to their words."""
        backbone = self.backbone
        params = self.params
        prompts = [request.source_prompt, request.negatives, request.composed.text]
        fields = ["source_prompt", "negative_prompt", "prompt"]
        source, uncond, target = backbone.embed(prompts, fields)
        self._target = target
        self._exchange = exchange(source, target, "refine", variant=params.alignment)
        layout, texts = lay_out(backbone, request, working.grid)
        scope = HeatScope.choose(working.grid, backbone.sites)
        recorder = AttentionRecorder(scope)
        self._modulation = Modulation(layout, params, self._seen, recorder)
        self._bound = bool(layout.has_words.any())
        self._texts = texts | {
            "source": source,
            "layout": source,
            "source_uncond": uncond,
            "layout_uncond": uncond,
        }
        self._plain = self._texts | {"uncond": uncond, "cond": target}

    def _read_words(self) -> None:
        """Find the tokens of the words that mark what is edited and what is kept."""
        params = self.params
        edited: set[int] = set()
        kept: set[int] = set()
        for words, field, tokens in (
            (params.edit_words, "params.edit_words", edited),
            (params.keep_words, "params.keep_words", kept),
        ):
            for word in words:
                tokens.update(find_words(self._target, word, field))
        self._edited = tuple(sorted(edited))
        self._kept = tuple(sorted(kept - edited))
        told = telling_words(self._target.prompts[0])
        self._columns: Columns = {} if self._bound else word_columns(self._target, told)

    def keeps_layout(self, step: Step) -> bool:
        """Check if self-attention is the source's at this step."""
        return step.index + 1 < self.params.self_until * step.total - _ROUNDING

    def fuses(self, step: Step) -> bool:
        """Check if attention to words is the source's at this step; with regions,
        masks say what stays."""
        return not self._bound and step.within(self.params.cross_until)

    def holds(self, step: Step) -> bool:
        """Check if the edit is the source plus a difference at this step."""
        return step.within(self.params.hold, begun=True)

    @property
    def _marks(self) -> bool:
        """Whether words mark what is edited or kept, for which the layout runs."""
        return self.params.blend == "words" and bool(self._edited or self._kept)

    def _batch(self, step: Step) -> Batch:
        """Return the branches that a step needs."""
        params = self.params
        names = ["cond"]
        if self._marks:
            names.append("layout")
        if (
            self._marks
            or self.holds(step)
            or self.keeps_layout(step)
            or self.fuses(step)
        ):
            names.insert(0, "source")
        is_guided = params.guidance_scale != 1
        if "source" in names:
            is_guided = is_guided or params.source_guidance != 1
        if self.backbone.told_guidance:
            is_guided = False
        halves = [_UNCOND[name] for name in names] if is_guided else []
        return Batch(self._frames, (*halves, *names))

    def predict(
        self, x: Mapping[str, Tensor], step: Step
    ) -> dict[str, Float[Tensor, "frames c h w"]]:
        """Estimate the clean latents of the branches that a step needs, with
        guidance."""
        batch = self._batch(step)
        rows = dict(x)
        for name, half in _UNCOND.items():
            rows[half] = x[name]
        change = Intervention(
            self._attend(step, batch),
            control=self.control.reading(batch.texts(self._plain)),
            beside=self._beside,
            guidance=self._told(batch),
        )
        text = batch.texts(self._texts)
        x0, _ = self.backbone.predict(batch.join(rows), step, text, change)
        found = {}
        for name in batch.branches:
            if name in _UNCOND:
                found[name] = self._guided(x0, batch, name)
        return found

    def _told(self, batch: Batch) -> tuple[float, ...]:
        """Return the scale of every branch for a model that is told it."""
        if not self.backbone.told_guidance:
            return ()
        params = self.params
        scales = {"cond": params.guidance_scale}
        return tuple(
            scales.get(name, params.source_guidance) for name in batch.branches
        )

    def _guided(self, x0: Tensor, batch: Batch, name: str) -> Tensor:
        """Apply guidance to the estimate of one branch."""
        own = x0[batch.rows(name)]
        is_source = name != "cond"
        params = self.params
        scale = params.source_guidance if is_source else params.guidance_scale
        half = _UNCOND[name]
        if half not in batch.branches:
            return own
        uncond = x0[batch.rows(half)]
        return uncond + scale * (own - uncond)

    def _attend(self, step: Step, batch: Batch) -> AttentionFn:
        """Return the unified attention control of one step."""
        for heat in (self._heat, self._source_heat, self._layout_heat):
            heat.begin(step)
        self._modulation.begin(step)

        def attend(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
            if site.kind == "cross" and self._bound:
                return self._bind(q, k, v, site, batch, fade(self.params, step))
            if site.kind == "cross":
                return self._across(q, k, v, site, batch, self.fuses(step))
            return self._within(q, k, v, site, batch, step)

        return attend

    def _within(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        site: AttentionLayer,
        batch: Batch,
        step: Step,
    ) -> Tensor:
        """Compute self-attention: first by the source's queries and keys; then the
        layout by the edit's queries of the source's keys and values."""
        if "source" in batch.branches:
            q, k, v = shared(q, k, v, batch, self.keeps_layout(step))
        modulated = ("uncond", "cond")
        if self.params.guidance_half != "both":
            modulated = (self.params.guidance_half,)
        xi = fade(self.params, step)
        out = []
        for name in batch.branches:
            rows = batch.rows(name)
            own = (q[rows], k[rows], v[rows])
            if name in modulated and self._bound:
                out.append(self._modulation.within(*own, site, xi))
            else:
                out.append(across_frames(*own, batch.frames, self._seen))
        return torch.cat(out)

    def _bind(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        site: AttentionLayer,
        batch: Batch,
        xi: float,
    ) -> Tensor:
        """Compute cross-attention that binds the regions of the edit to their words."""
        out = []
        for name in batch.branches:
            rows = batch.rows(name)
            own = (q[rows], k[rows], v[rows], site)
            if name == "cond":
                out.append(self._modulation.across(*own, xi))
            elif name == "uncond":
                out.append(self._modulation.refuse(*own))
            else:
                out.append(attention(*own[:3]))
        return torch.cat(out)

    def _across(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        site: AttentionLayer,
        batch: Batch,
        fuses: bool,
    ) -> Tensor:
        """Compute cross-attention: with `fuses`, words that the prompts share look where
        they look in the source."""
        out = attention(q, k, v)
        reads = self._heat.reads(site)
        if not (fuses or reads):
            return out

        def looks(name: str) -> Tensor:
            rows = batch.rows(name)
            return probabilities(q[rows], k[rows])

        own = looks("cond")
        final = own
        if fuses:
            source = looks("source")
            final = self._exchange(source, own)
            # By the same products for both, so that equal prompts differ in no bit.
            for name, maps in (("source", source), ("cond", final)):
                rows = batch.rows(name)
                out[rows] = (maps @ v[rows].to(maps)).to(out)
        if reads:
            self._heat.add(own.mean(1), final.mean(1))
        if reads and self._marks:
            kept = self._exchange(looks("source"), own)
            shaped = self._exchange(looks("layout"), own)
            self._source_heat.add(kept.mean(1))
            self._layout_heat.add(shaped.mean(1))
        return out

    def blend(
        self, x: Mapping[str, Tensor], step: Step
    ) -> Float[Tensor, "frames c h w"]:
        """Return the edit's latents after a step: the layout's where no word marks the
        edit, the source's where words are kept."""
        params = self.params
        after = x["cond"]
        size = after.shape[-2:]
        if self._edited:
            least = max(params.edit_threshold, _TEMPERATURE / step.signal)
            is_edited = above(self._layout_heat, self._edited, size, least)
            after = torch.where(is_edited, after, x["layout"])
        if self._kept:
            is_kept = above(self._source_heat, self._kept, size, params.keep_threshold)
            after = torch.where(is_kept, x["source"], after)
        return after

    def now(self, frames: Sequence[int]) -> dict[str, np.ndarray]:
        """Return this step's maps of some frames, for a preview."""
        if self._bound:
            return self._modulation.now(frames)
        return self._heat.now(self._columns, frames)

    def maps(self) -> dict[str, RegionAttention]:
        """Return the maps over the run."""
        if self._bound:
            return self._modulation.maps()
        return self._heat.maps(self._columns)


_UNCOND = {
    "source": "source_uncond",
    "cond": "uncond",
    "layout": "layout_uncond",
}
"""The half of guidance of each branch."""


def shared(
    q: Tensor, k: Tensor, v: Tensor, batch: Batch, keeps_layout: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Share queries, keys and values of self-attention between the branches of each
    half.

    Source: arXiv:2312.04965, Sec. 4.3 (unified attention control), as released.
    """
    q = q.clone()
    k = k.clone()
    v = v.clone()
    for half in (_UNCOND, {name: name for name in _UNCOND}):
        if half["source"] not in batch.branches:
            continue
        source = batch.rows(half["source"])
        edit = batch.rows(half["cond"])
        if keeps_layout:
            q[edit] = q[source]
            k[edit] = k[source]
        if half["layout"] in batch.branches:
            layout = batch.rows(half["layout"])
            q[layout] = q[edit]
            k[layout] = k[source]
            v[layout] = v[source]
    return q, k, v


def above(
    heat: AttentionRecorder,
    tokens: Sequence[int],
    size: tuple[int, int],
    least: float,
) -> Tensor:
    """Find where the strongest of some words exceeds a share of its frame's maximum:
    bool [frames, 1, h, w]."""
    strongest = heat.before()[..., list(tokens)].amax(-1)[:, None]
    wide = F.interpolate(strongest, size)
    return wide > least * wide.amax((2, 3), keepdim=True)
