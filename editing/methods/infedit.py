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

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from regrain.editing.attention.averages import Heat, NamedMaps
from regrain.editing.attention.batch import Batch
from regrain.editing.attention.frames import across_frames
from regrain.editing.attention.layers import AttentionFn, AttentionLayer
from regrain.editing.attention.maps import Maps, exchange, fuse_cross
from regrain.editing.diffusion.blending import blend_latents
from regrain.editing.diffusion.samplers import consistency_levels
from regrain.editing.diffusion.schedule import (
    FrameLatents,
    Schedule,
    Step,
    add_noise,
    advance,
    common_noise,
    generator,
)
from regrain.editing.diffusion.text import PromptEmbedding, find_all
from regrain.editing.errors import RequestError
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.intervention import Intervention
from regrain.editing.models.unet.control_net import ControlNets
from regrain.editing.params.infedit import InfEditParams
from regrain.editing.recipe.attention_recorder import (
    AttentionRecorder,
    HeatScope,
    Look,
    telling_columns,
    watched,
)
from regrain.editing.recipe.beside import beside_latents
from regrain.editing.recipe.events import Stage, Steps
from regrain.editing.recipe.layout import lay_out
from regrain.editing.recipe.modulation import Modulation
from regrain.editing.recipe.preview import StepEvents
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
_UNCOND = {"source": "source_uncond", "cond": "uncond", "layout": "layout_uncond"}
"""The half of guidance of each branch."""


@torch.no_grad()
def run(
    backbone: Backbone,
    request: EditRequest,
    params: InfEditParams,
    window: WindowFrames | None = None,
) -> Steps[WindowResult]:
    """Edit a clip, or a window of it; yields events, returns the latents."""
    working = working_clip(backbone, request, window)
    source = backbone.encode(working.frames)
    branches = Branches(
        backbone,
        request,
        params,
        working,
        source,
    )
    inside = working.inside() if params.blend == "regions" else None
    steps = steps_taken(backbone.schedule, params)
    again = steps[len(steps) - min(params.steps_again, len(steps) - 1) :]

    def draw(*number: int) -> FrameLatents:
        """Draw the noise of a step, the same in all windows of a clip."""
        return common_noise(source, generator(request.seed, *number))

    yield Stage("editing")
    told = StepEvents(source, working, params.preview_every, len(steps) + len(again))
    noise = draw(0)
    start = noise if params.strength == 1 else add_noise(source, noise, steps[0])
    x = dict.fromkeys(_UNCOND, start)
    edit = source
    for number, step in enumerate((*steps, *again)):
        if number == len(steps):
            # The source and the edit as averaged along the motion, with the same noise.
            calm = calmed(backbone, working, edit, params.flow)
            noise = draw(0, 1)
            x = dict.fromkeys(_UNCOND, add_noise(source, noise, step))
            x["cond"] = add_noise(calm, noise, step)
        # Anchors of the source follow from the noise.
        x["cond"] = working.window.pin_anchors("edit", number, x["cond"])
        x["layout"] = working.window.pin_anchors("layout", number, x["layout"])
        found = branches.predict(x, step)
        clean = estimates(source, found, holds=branches.holds(step))
        if inside is not None:
            clean["cond"] = blend_latents(clean["cond"], source, inside)
        noise = draw(number + 1)
        for name, x0 in clean.items():
            x[name] = advance(x0, noise, step)
        if params.blend == "words" and number:
            x["cond"] = branches.words.blend(x, step)
        edit = clean["cond"]
        yield from told(step, edit, branches.now)
    return WindowResult((edit,), branches.maps(), control=branches.control.maps)


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
    source: FrameLatents, found: Mapping[str, FrameLatents], holds: bool
) -> dict[str, FrameLatents]:
    """Return the clean latents of the branches after a step.

    Args:
        source: Clean latents of the source.
        found: The network's estimate of each branch.
        holds: Take the source plus the difference of two estimates (virtual inversion);
            otherwise the edit's own estimate.

    Source: arXiv:2312.04965, Eq. 9.
    """
    clean = {"source": source}
    for name, own in found.items():
        if name != "source":
            clean[name] = source + (own - found["source"]) if holds else own
    return clean


class MarkingWords:
    """The words that mark what is edited and what is kept, and where they look.

    Attributes:
        any: Whether there are such words, for which the layout runs.
        heat: Records the attention of the edit.
    """

    def __init__(
        self,
        source: PromptEmbedding,
        target: PromptEmbedding,
        params: InfEditParams,
        scope: HeatScope,
    ) -> None:
        """Align the prompts, and find the tokens of the words.

        Raises:
            PromptError: A word is not in the prompt.
        """
        self._params = params
        rule = exchange(source, target, "refine")
        pairs = replaced(source, target, rule.indices.tolist())
        self._exchange = rule.pairing(pairs)
        edited = find_all(target, params.edit_words, "params.edit_words")
        kept = find_all(target, params.keep_words, "params.keep_words")
        marking = {target.ids[0][token] for token in edited}
        came = [new for new, old in pairs.items() if source.ids[0][old] in marking]
        self._edited = sorted({*edited, *came})
        self._kept = [token for token in kept if token not in self._edited]
        self._both = [token for token in kept if token in self._edited]
        self.any = params.blend == "words" and bool(edited or kept)
        self.heat = AttentionRecorder(scope)
        self._source_heat = AttentionRecorder(scope)
        self._layout_heat = AttentionRecorder(scope)

    def attend(
        self, attend: AttentionFn, step: Step, batch: Batch, fuses: bool
    ) -> AttentionFn:
        """Return `attend`, extended by cross-attention: with `fuses`, words that the
        prompts share look where they look in the source."""
        looks = [Look(self.heat, "cond", self._exchange if fuses else None)]
        if self.any:
            looks.append(Look(self._source_heat, "cond", self._exchange))
            looks.append(Look(self._layout_heat, "cond", self._exchange, "layout"))
        for look in looks:
            look.heat.begin(step)

        def unchanged(source: Maps, own: Maps) -> Maps:
            return own

        # By the same products for both, so that equal prompts differ in no bit.
        rules = {"source": unchanged, "cond": self._exchange} if fuses else {}

        def across(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
            if site.kind == "cross":
                return fuse_cross(
                    q,
                    k,
                    v,
                    batch,
                    rules,
                )
            return attend(q, k, v, site)

        return watched(across, batch, lambda _: looks)

    def blend(self, x: Mapping[str, FrameLatents], step: Step) -> FrameLatents:
        """Return the edit's latents after a step: the layout's where no word marks the
        edit, the source's where words are kept."""
        params = self._params
        after = x["cond"]
        size = after.shape[-2:]
        if self._edited:
            least = max(params.edit_threshold, _TEMPERATURE / step.signal)
            is_edited = above(self._layout_heat, self._edited, size, least)
            after = torch.where(is_edited, after, x["layout"])
        if self._kept:
            is_kept = above(self._source_heat, self._kept, size, params.keep_threshold)
            after = torch.where(is_kept, x["source"], after)
        if self._both and step.index == step.total - 2:
            # A pose: at last, the source's words look as they should on its shapes.
            is_both = above(self._layout_heat, self._both, size, params.edit_threshold)
            after = torch.where(is_both, x["layout"], after)
        return after


def replaced(
    source: PromptEmbedding,
    target: PromptEmbedding,
    indices: Sequence[int],
) -> dict[int, int]:
    """Find the tokens of a prompt that stand in others' places: of each run of new ones
    the one that is most like one of those that are gone from there.

    Args:
        source, target: Single prompts.
        indices: The token of `source` for each of `target`, -1 for new ones.

    Returns:
        Tokens of the target, with those of the source.

    Source: the authors' code (`seq_aligner.get_mapper`).
    """
    new, old = (
        F.normalize(text.vectors[0].cpu().double(), dim=1) for text in (target, source)
    )
    alike = new @ old.T
    known = [i for i in range(target.lengths[0]) if indices[i] >= 0]
    pairs = {}
    for before, after in pairwise(known):
        gap = alike[before + 1 : after, indices[before] + 1 : indices[after]]
        if gap.numel():
            row, column = divmod(int(gap.argmax()), gap.shape[1])
            pairs[before + 1 + row] = indices[before] + 1 + column
    return pairs


def above(
    heat: AttentionRecorder, tokens: Sequence[int], size: Sequence[int], least: float
) -> Tensor:
    """Find where the strongest of some words exceeds a share of its frame's maximum:
    bool [frames, 1, h, w]."""
    _, mass = heat.means()
    strongest = mass[..., list(tokens)].amax(-1)[:, None]
    wide = F.interpolate(strongest, list(size))
    return wide > least * wide.amax((2, 3), keepdim=True)


class Branches:
    """The model as a run calls it, with its branches as rows of a call.

    Attributes:
        words: The words that mark the edit.
        control: Control networks of the run.
    """

    def __init__(
        self,
        backbone: Backbone,
        request: EditRequest,
        params: InfEditParams,
        working: ResizedClip,
        source: FrameLatents,
    ) -> None:
        self._backbone = backbone
        self._params = params
        self._frames = working.grid.time
        self.control = ControlNets(params.control, working.frames, backbone)
        self._beside = beside_latents(backbone, working, source)
        self._scales = dict.fromkeys(_UNCOND, params.source_guidance)
        self._scales["cond"] = params.guidance_scale

        prompts = [request.description, request.negatives, request.composed.text]
        fields = ["source_prompt", "negative_prompt", "prompt"]
        text, uncond, target = backbone.embed(prompts, fields)
        layout, bound = lay_out(backbone, request, working.grid)
        scope = HeatScope.of(working.grid, backbone.sites)
        self.words = MarkingWords(text, target, params, scope)
        recorder = AttentionRecorder(HeatScope.choose(working.grid, backbone.sites))
        self._modulation = Modulation(layout, params, "all", recorder)
        self._bound = bool(layout.has_words.any())
        if self._bound and self.words.any:
            raise RequestError(
                "params.blend",
                "Where regions have words, their masks say what stays. Set it to regions.",
            )
        self._columns = telling_columns(target)
        read = dict.fromkeys(("source", "layout"), text)
        read |= dict.fromkeys(_UNCOND.values(), uncond)
        self._texts = read | bound
        self._plain_texts = read | {"cond": target}

    def _keeps_layout(self, step: Step) -> bool:
        """Check if self-attention is the source's at this step."""
        share = self._params.self_until * step.total
        return step.index + 1 < share - _ROUNDING

    def _fuses(self, step: Step) -> bool:
        """Check if attention to words is the source's at this step; with regions,
        masks say what stays."""
        return not self._bound and step.within(self._params.cross_until)

    def holds(self, step: Step) -> bool:
        """Check if the edit is the source plus a difference at this step."""
        return step.within(self._params.hold, begun=True)

    def _batch(self, step: Step) -> Batch:
        """Return the branches that a step needs."""
        names = ["cond", "layout"] if self.words.any else ["cond"]
        uses = (self.holds(step), self._keeps_layout(step), self._fuses(step))
        if self.words.any or any(uses):
            names.insert(0, "source")
        guided = any(self._scales[name] != 1 for name in names)
        if guided and not self._backbone.told_guidance:
            names = [*(_UNCOND[name] for name in names), *names]
        return Batch(self._frames, tuple(names))

    def predict(
        self, x: Mapping[str, FrameLatents], step: Step
    ) -> dict[str, FrameLatents]:
        """Estimate the clean latents of the branches that a step needs, with
        guidance."""
        batch = self._batch(step)
        rows = {**x, **{half: x[name] for name, half in _UNCOND.items()}}
        told = ()
        if self._backbone.told_guidance:
            told = tuple(self._scales[name] for name in batch.branches)
        change = Intervention(
            self._attend(step, batch),
            control=self.control.reading(batch.texts(self._plain_texts)),
            beside=self._beside,
            guidance=told,
        )
        text = batch.texts(self._texts)
        answer = self._backbone.predict(batch.join(rows), step, text, change)
        found = {}
        for name, half in _UNCOND.items():
            if batch.has(name):
                found[name], _ = batch.guide(answer, self._scales[name], half, name)
        return found

    def _attend(self, step: Step, batch: Batch) -> AttentionFn:
        """Return the unified attention control of one step."""
        self._modulation.heat.begin(step)
        modulated = self._modulation.attend(step, batch)
        keeps = self._keeps_layout(step)

        def attend(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
            if site.kind != "cross" and batch.has("source"):
                q, k, v = shared(
                    q,
                    k,
                    v,
                    batch,
                    keeps,
                )
            if self._bound:
                return modulated(q, k, v, site)
            branches = zip(*(x.split(batch.frames) for x in (q, k, v)), strict=True)
            return torch.cat(
                [across_frames(*own, batch.frames, "all") for own in branches]
            )

        if self._bound:
            return attend
        return self.words.attend(attend, step, batch, self._fuses(step))

    def now(self, frames: Sequence[int]) -> NamedMaps:
        """Return this step's maps of some frames, for a preview."""
        if self._bound:
            return self._modulation.now(frames)
        return self.words.heat.now(self._columns, frames)

    def maps(self) -> Heat:
        """Return the maps over the run."""
        if self._bound:
            return self._modulation.maps()
        return self.words.heat.maps(self._columns)


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
