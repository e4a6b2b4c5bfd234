"""Tune-A-Video: tune the model on the clip, then edit the clip by words.

Wu et al. 2022, arXiv:2212.11565. The image model gets attention over time and sees
other frames; a few of its weights learn to draw this one clip (`tuning`). The clip is
inverted to noise through the tuned model with an empty prompt, and denoised from there
with another prompt: same motion, other looks.

An adapter of the request takes the place of the tuning.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from regrain.editing.attention.batch import Batch
from regrain.editing.attention.layers import AttentionFn, AttentionLayer
from regrain.editing.attention.maps import fuse_cross, map_stride
from regrain.editing.diffusion.blending import blend_edits, mix_noise
from regrain.editing.diffusion.schedule import Step, add_noise, advance, own_noise
from regrain.editing.diffusion.text import PromptEmbedding, new_words
from regrain.editing.methods.tuning import learn_clip, sparse_causal
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.intervention import Intervention, joint_norm
from regrain.editing.models.unet.control_net import ControlNets
from regrain.editing.models.unet.tuned import tuned
from regrain.editing.params.tune_a_video import TuneAVideoParams
from regrain.editing.recipe.attention_recorder import (
    AttentionRecorder,
    Columns,
    HeatScope,
    word_columns,
)
from regrain.editing.recipe.events import Event, Progress, Stage
from regrain.editing.recipe.inversion import invert_cached
from regrain.editing.recipe.preview import Previews
from regrain.editing.recipe.prompts import embed_targets
from regrain.editing.recipe.window import (
    ResizedClip,
    WindowFrames,
    WindowResult,
    working_clip,
)
from regrain.editing.request.edit_request import EditRequest

Trajectory = Sequence[Float[Tensor, "frames c h w"]]
"""Latents of the source from clean to noise."""


@torch.no_grad()
def run(
    backbone: Backbone,
    request: EditRequest,
    params: TuneAVideoParams,
    piece: WindowFrames | None = None,
) -> Generator[Event, None, WindowResult]:
    """Edit a clip, or a piece of it, with a tuned model; yields events, returns the
    latents."""
    working = working_clip(backbone, request, piece)
    plan = make_plan(backbone, request, params, working)

    yield Stage("inverting")
    source, x = yield from start(backbone, request, working, plan, params)

    yield Stage("editing")
    previews = Previews(source[0], working, params.preview_every)
    inside = working.inside() if params.blend else None
    frames = plan.batch.frames
    inverted = params.start != "noise"
    for step in backbone.schedule.sampling(params.steps, inverted=inverted):
        x = working.piece.pin_anchors("edit", step.index, x)
        x0, eps = predict_guided(backbone, plan, x, step, params.guidance_scale)
        x = advance(x0, eps, step)
        if inside is not None:
            known = source[step.total - 1 - step.index]
            x = blend_edits(x, known, inside)
        yield from previews(step, x0[:frames], plan.now)
        yield Progress("editing", step.index + 1, step.total, None)
    maps = plan.heat.maps(plan.words)
    return WindowResult(x.split(frames), maps, control=plan.control.maps)


def prepare(
    backbone: Backbone, request: EditRequest, params: TuneAVideoParams
) -> Generator[Event, None, Backbone]:
    """Return the model to edit with: tuned on the clip, unless the request brings an
    adapter."""
    if request.adapter:
        return backbone
    yield Stage("tuning")
    adapter = yield from learn_clip(backbone, request, params)
    return tuned(backbone, adapter)


@dataclass(frozen=True, eq=False)
class TuneAVideoPlan:
    """Everything decided before the first step.

    Attributes:
        edits: Number of edits.
        words: Tokens of the first edit's new words, whose heat is shown.
        change: Everything that alters a call, apart from the tuned weights.
        uninformed: Everything that alters a call of the inversion, which has an empty
            prompt.
    """

    batch: Batch
    text: PromptEmbedding
    edits: int
    words: Columns
    heat: AttentionRecorder
    control: ControlNets
    change: Intervention
    uninformed: Intervention
    empty: PromptEmbedding

    def now(self, frames: Sequence[int]) -> dict[str, np.ndarray]:
        """Return this step's maps of the first edit's new words, for a preview."""
        return self.heat.now(self.words, frames)


def make_plan(
    backbone: Backbone,
    request: EditRequest,
    params: TuneAVideoParams,
    working: ResizedClip,
) -> TuneAVideoPlan:
    """Encode the prompts and prepare the calls."""
    frames = len(working.frames)
    uncond, targets = embed_targets(backbone, request)
    (empty,) = backbone.embed([""])
    batch = Batch.of(frames, edits=len(targets), scale=params.guidance_scale)
    text = batch.guided_texts(uncond, targets)
    attend = sparse_causal(frames)
    patches = (joint_norm(frames),) if params.joint_norm else ()
    control = ControlNets(params.control, working.frames, backbone, patches)
    stride = map_stride(working.grid, backbone.sites)
    heat = AttentionRecorder(HeatScope.of(stride, working.grid))
    look = watched(batch, heat, attend)
    _, gained = new_words(request.source_prompt, request.targets[0])
    return TuneAVideoPlan(
        batch=batch,
        text=text,
        edits=len(targets),
        words=word_columns(targets[0], gained),
        heat=heat,
        control=control,
        change=Intervention(look, patches, control.reading(text)),
        uninformed=Intervention(attend, patches, control.reading(empty)),
        empty=empty,
    )


def predict_guided(
    backbone: Backbone,
    plan: TuneAVideoPlan,
    x: Float[Tensor, "rows c h w"],
    step: Step,
    scale: float,
) -> tuple[Float[Tensor, "rows c h w"], Float[Tensor, "rows c h w"]]:
    """Predict guided (x0, eps) of all edits."""
    plan.heat.begin(step)
    rows = plan.batch.join({"uncond": x, "cond": x})
    answer = backbone.predict(rows, step, plan.text, plan.change)
    return plan.batch.guide(answer, scale)


def watched(batch: Batch, heat: AttentionRecorder, attend: AttentionFn) -> AttentionFn:
    """Return `attend`, extended so that `heat` collects the attention to the first
    edit's words."""

    def look(_: str, own: Tensor, final: Tensor) -> None:
        heat.add(own.mean(1), final.mean(1))

    def watch(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
        if site.kind == "cross" and heat.reads(site):
            return fuse_cross(q, k, v, batch, {"cond/0": None}, look)
        return attend(q, k, v, site)

    return watch


def start(
    backbone: Backbone,
    request: EditRequest,
    working: ResizedClip,
    plan: TuneAVideoPlan,
    params: TuneAVideoParams,
) -> Generator[Event, None, tuple[Trajectory, Float[Tensor, "rows c h w"]]]:
    """Return the source's latents from clean to noise, and the noise from which every
    edit starts.

    The clip is inverted through the tuned model with an empty prompt (cached). If edits
    start from fresh noise, the same noise is added to the source instead.
    """
    fresh = torch.Generator().manual_seed(request.seed)
    if params.start == "noise":
        source, x = noised(backbone, working, params.steps, fresh)
        yield Progress("inverting", params.steps, params.steps, 0.0)
    else:
        source = yield from invert(backbone, working, plan, params)
        x = mix_noise(source[-1], working.inside(), params.variation, fresh)
    return source, x.repeat(plan.edits, 1, 1, 1)


def noised(
    backbone: Backbone, working: ResizedClip, steps: int, fresh: torch.Generator
) -> tuple[Trajectory, Float[Tensor, "frames c h w"]]:
    """Noise the clip to every level; return its latents from clean to noise, and the
    noise."""
    clean = backbone.encode(working.frames)
    noise = own_noise(clean, fresh)
    rising = reversed(backbone.schedule.sampling(steps))
    latents = [add_noise(clean, noise, step) for step in rising]
    return [clean, *latents], noise


def invert(
    backbone: Backbone,
    working: ResizedClip,
    plan: TuneAVideoPlan,
    params: TuneAVideoParams,
) -> Generator[Event, None, Trajectory]:
    """Invert the clip through the tuned model with an empty prompt; cached."""

    def predict(x: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        return backbone.predict(x, step, plan.empty, plan.uninformed)

    steps = backbone.schedule.inversion(params.steps, "fatezero")
    facts = {
        "steps": params.steps,
        "joint_norm": params.joint_norm,
        "control": plan.control.fingerprint,
        "method": "tune_a_video",
    }
    every = params.preview_every
    return (
        yield from invert_cached(
            backbone, working, predict, steps, preview_every=every, **facts
        )
    )
