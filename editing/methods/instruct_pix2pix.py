"""InstructPix2Pix: draw anew from pure noise, by a model that sees the source.

Brooks et al., CVPR 2023, arXiv:2211.09800. The network reads the latents of the source
beside its own, and is guided twice: towards the words, and towards the source. With
regions, modulated attention (VideoGrain's) binds each to its words; what is outside
stays the source's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from regrain.editing.attention.averages import Heat, NamedMaps
from regrain.editing.attention.batch import Batch
from regrain.editing.attention.frames import Seen, over_frames
from regrain.editing.attention.layers import AttentionFn
from regrain.editing.diffusion.blending import blend_edits
from regrain.editing.diffusion.samplers import Sampling
from regrain.editing.diffusion.schedule import (
    Answer,
    FrameLatents,
    Step,
    common_noise,
)
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.intervention import Intervention
from regrain.editing.models.unet.control_net import ControlNets
from regrain.editing.params.instruct_pix2pix import InstructPix2PixParams
from regrain.editing.recipe.attention_recorder import AttentionRecorder, HeatScope
from regrain.editing.recipe.beside import beside_latents
from regrain.editing.recipe.events import Stage, Steps
from regrain.editing.recipe.layout import lay_out
from regrain.editing.recipe.modulation import Modulation
from regrain.editing.recipe.preview import StepEvents
from regrain.editing.recipe.prompts import embed_halves, guidance_of
from regrain.editing.recipe.window import (
    ResizedClip,
    WindowFrames,
    WindowResult,
    working_clip,
)
from regrain.editing.request.edit_request import EditRequest

SEEING, BLIND = "uncond/seeing", "uncond/blind"
"""The branches without words, of which the second does not see the source either."""


@torch.no_grad()
def run(
    backbone: Backbone,
    request: EditRequest,
    params: InstructPix2PixParams,
    window: WindowFrames | None = None,
) -> Steps[WindowResult]:
    """Edit a clip, or a window of it; yields events, returns the latents."""
    working = working_clip(backbone, request, window)
    source = backbone.encode(working.frames)
    control = ControlNets(params.control, working.frames, backbone)
    edits = []
    for prompt in (request.prompt, *request.more_prompts):
        asked = replace(request, prompt=prompt, more_prompts=())
        edits.append(SeeingModel(backbone, asked, params, working, source, control))
    sampling = Sampling(
        backbone.schedule, params.sampler, params.steps, params.strength
    )
    steps = sampling.steps
    inside = working.inside() if params.blend else None
    copies = (len(edits), 1, 1, 1)

    yield Stage("editing")
    told = StepEvents(source, working, params.preview_every, len(steps))
    fresh = torch.Generator().manual_seed(request.seed)
    noise = common_noise(source, fresh)
    x = sampling.noised(source, noise, pure=params.strength == 1).repeat(copies)
    for step in steps:
        x = working.window.pin_anchors("edit", step.index, x)
        parts = x.split(len(source))
        answers = [
            edit.predict(part, step) for edit, part in zip(edits, parts, strict=True)
        ]
        x0, eps = (torch.cat(both) for both in zip(*answers, strict=True))
        if inside is not None:
            x0 = blend_edits(x0, source, inside)
            eps = (x - step.signal * x0) / step.noise
        added = common_noise(source, fresh) if sampling.random else noise
        x = sampling.advance(
            x,
            x0,
            eps,
            step,
            added.repeat(copies),
        )
        yield from told(step, x0[: len(source)], edits[0].now)
    heat = edits[0].maps() if steps else {}
    return WindowResult(x.split(len(source)), heat, control=control.maps)


def row_weights(words: float, source: float) -> dict[str, float]:
    """Return what the branches of a call count in a guided answer, by their names; of
    those without words, the ones that count.

    Args:
        words: Scale of the guidance by words.
        source: Scale of the guidance by the source.

    Source: arXiv:2211.09800, Eq. 3: e(0, 0) + source (e(I, 0) - e(0, 0)) + words (e(I,
        T) - e(I, 0)), by branches.
    """
    weights = {BLIND: 1 - source, SEEING: source - words, "cond": words}
    return {
        branch: weight
        for branch, weight in weights.items()
        if weight or branch == "cond"
    }


class SeeingModel:
    """The model as one edit of a run calls it: seeing the source, guided by words and
    source, regions bound to their words."""

    def __init__(
        self,
        backbone: Backbone,
        request: EditRequest,
        params: InstructPix2PixParams,
        working: ResizedClip,
        source: FrameLatents,
        control: ControlNets,
    ) -> None:
        self._backbone = backbone
        self._params = params
        self._frames = len(source)
        self._fits = backbone.halves_fit(*working.grid)
        self._scale, self._told = guidance_of(backbone, params.guidance_scale)
        self._span: Seen = "all" if params.attention_span == "full" else "own"
        self._control = control
        beside = beside_latents(backbone, working, source)
        assert beside is not None
        self._seen = beside
        # Control networks read words of regions in their sentence.
        self._plain_texts = embed_halves(backbone, request)
        layout, self._texts = lay_out(backbone, request, working.grid)
        self._modulation = None
        if layout.columns:
            recorder = AttentionRecorder(HeatScope.choose(working.grid, backbone.sites))
            self._modulation = Modulation(layout, params, self._span, recorder)

    def predict(self, x: FrameLatents, step: Step) -> Answer:
        """Predict guided (x0, eps), all branches in one call if they fit."""
        params = self._params
        guides = step.within(params.guide_until, begun=True)
        weights = row_weights(self._scale if guides else 1.0, params.source_guidance)
        if self._modulation is not None:
            self._modulation.heat.begin(step)
        calls = [(name,) for name in weights]
        if self._fits:
            calls = [tuple(weights)]
        answers = [self._call(Batch(self._frames, names), x, step) for names in calls]
        joined = (torch.cat(both) for both in zip(*answers, strict=True))
        x0, eps = (_weighted(part, [*weights.values()]) for part in joined)
        return x0, eps

    def _call(self, batch: Batch, x: FrameLatents, step: Step) -> Answer:
        """Predict (x0, eps) of some branches."""
        unseen = torch.zeros_like(self._seen)
        beside = [unseen if name == BLIND else self._seen for name in batch.branches]
        change = Intervention(
            self._attend(step, batch),
            control=self._control.reading(batch.texts(self._plain_texts)),
            beside=torch.cat(beside),
            guidance=self._told,
        )
        rows = x.repeat(len(batch.branches), 1, 1, 1)
        text = batch.texts(self._texts)
        return self._backbone.predict(rows, step, text, change)

    def _attend(self, step: Step, batch: Batch) -> AttentionFn:
        """Return the attention of a step, in which regions are bound to their words."""
        if self._modulation is not None:
            return self._modulation.attend(step, batch)
        return over_frames(batch.frames, self._span)

    def now(self, frames: Sequence[int]) -> NamedMaps:
        """Return this step's maps of some frames, for a preview."""
        return {} if self._modulation is None else self._modulation.now(frames)

    def maps(self) -> Heat:
        """Return the maps over the run; none if no region has words."""
        return {} if self._modulation is None else self._modulation.maps()


def _weighted(answer: Tensor, weights: Sequence[float]) -> Tensor:
    """Add up the branches of an answer by their weights."""
    parts = answer.chunk(len(weights))
    return sum(
        (weight * part for weight, part in zip(weights, parts, strict=True)),
        torch.zeros_like(parts[0]),
    )
