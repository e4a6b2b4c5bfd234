"""vid2vid-zero: edits by words with attention across frames, without training.

Wang et al. 2023, arXiv:2303.17599. The clip is inverted to noise frame by frame. Source
and edit are then denoised side by side, with attention across frames: a few layers see
all frames at once, the others some of them. In the first steps the edit's
cross-attention follows the source's. To keep guidance from changing the source, the
source prompt replaces the empty prompt (negative-prompt inversion), or a text is
learned at every step (null-text inversion).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from regrain.editing.attention.backends import attention
from regrain.editing.attention.batch import Batch
from regrain.editing.attention.frames import across_frames, frames_seen
from regrain.editing.attention.layers import AttentionFn, AttentionLayer
from regrain.editing.attention.maps import fuse_cross
from regrain.editing.diffusion.blending import blend_edits, mix_noise
from regrain.editing.diffusion.schedule import Answer, FrameLatents, Step, advance
from regrain.editing.diffusion.text import PromptEmbedding
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.intervention import Intervention, joint_norm
from regrain.editing.params.vid2vid_zero import Vid2VidZeroParams
from regrain.editing.recipe.attention_recorder import (
    AttentionRecorder,
    HeatScope,
    Look,
    watched,
)
from regrain.editing.recipe.events import Progress, Stage, Steps
from regrain.editing.recipe.inversion import (
    cached,
    inversion_key,
    invert_cached,
    is_learned,
    null_text,
)
from regrain.editing.recipe.preview import StepEvents
from regrain.editing.recipe.prompts import Target, align, embed_prompts
from regrain.editing.recipe.window import (
    ResizedClip,
    WindowFrames,
    WindowResult,
    working_clip,
)
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.storage.by_name import Tensors
from regrain.editing.storage.texts import Content

# Shares of the schedule, from pure noise, with the source's cross-attention; and layers
# in which each frame sees all frames, of each tuple the first that there is. As released.
_REPLACE_UNTIL, _REFINE_UNTIL = 0.8, 0.4
_DENSE = (
    ("down_blocks.0.attentions.0.", "down_blocks.1.attentions.0."),
    ("mid_block.attentions.0.",),
    ("up_blocks.1.attentions.0.",),
)


@torch.no_grad()
def run(
    backbone: Backbone,
    request: EditRequest,
    params: Vid2VidZeroParams,
    window: WindowFrames | None = None,
) -> Steps[WindowResult]:
    """Edit a clip, or a window of it; yields events, returns the latents."""
    working = working_clip(backbone, request, window)
    edits = SideBySide(backbone, request, params, working)

    yield Stage("inverting")
    pivots, learned = yield from invert(backbone, working, edits, params)

    yield Stage("editing")
    heat = AttentionRecorder(HeatScope.of(working.grid, backbone.sites))
    words = edits.targets[0].words
    inside = working.inside() if params.blend else None
    told = StepEvents(pivots[0], working, params.preview_every, params.steps)
    source = pivots[-1]
    fresh = torch.Generator().manual_seed(request.seed)
    x = mix_noise(source, inside, params.variation, fresh)
    x = x.repeat(len(edits.targets), 1, 1, 1)
    for step in backbone.schedule.sampling(params.steps, inverted=True):
        x = working.window.pin_anchors("edit", step.index, x)
        source = working.window.pin_anchors("source", step.index, source)
        batch, text = edits.rows(step, learned)
        parts = {"source_uncond": source, "source": source, "uncond": x, "cond": x}
        change = Intervention(edits.attend(batch, step, heat), edits.patches)
        answer = backbone.predict(batch.join(parts), step, text, change)
        if batch.has("source"):
            own = batch.guide(answer, params.guidance_scale, "source_uncond", "source")
            source = advance(*own, step)
        x0, eps = batch.guide(answer, params.guidance_scale)
        x = advance(x0, eps, step)
        if inside is not None:
            x = blend_edits(x, pivots[step.total - 1 - step.index], inside)
        yield from told(step, x0[: batch.frames], partial(heat.now, words))
    return WindowResult(
        edits=x.split(len(working.frames)),
        attention=heat.maps(words),
        reconstruction=source if params.reconstruct else None,
    )


class SideBySide:
    """The source and the edits as branches of one call.

    Attributes:
        source: The source prompt.
        empty: The negative prompt.
        targets: The prompts of the edits.
        dense: Names of the self-attention layers that see all frames.
    """

    def __init__(
        self,
        backbone: Backbone,
        request: EditRequest,
        params: Vid2VidZeroParams,
        working: ResizedClip,
    ) -> None:
        """Encode and align the prompts, find the dense layers."""
        self._params = params
        self._frames = len(working.frames)
        self.source, self.empty, texts = embed_prompts(backbone, request)
        self.targets = [align(self.source, text, params) for text in texts]
        self.dense = dense_sites(backbone.sites)
        self._seen = frames_seen(("first", "previous"), self._frames, backbone.device)
        self.patches = (joint_norm(self._frames),) if params.joint_norm else ()

    def _crosses(self, target: Target, step: Step) -> bool:
        """Check if a step computes an edit's cross-attention from the source's; a share
        of N + 1 as released."""
        swaps = target.exchange.mapper is not None
        share = _REPLACE_UNTIL if swaps else _REFINE_UNTIL
        return step.within(share, of=step.total + 1)

    def rows(self, step: Step, learned: Tensor | None) -> tuple[Batch, PromptEmbedding]:
        """Return the branches of a step and their texts.

        The source runs while its attention is used, or to the end to rebuild it; also
        without its prompt, except in negative-prompt inversion.
        """
        params = self._params
        by_prompt = params.inversion == "negative_prompt"
        uncond = self.source if by_prompt else self.empty
        if learned is not None and is_learned(step):
            uncond = self.empty.with_vectors(learned[step.index])
        crosses = any(self._crosses(target, step) for target in self.targets)
        source = []
        if params.reconstruct or crosses:
            source = ["source"]
            if params.guidance_scale != 1 and not by_prompt:
                source = ["source_uncond", "source"]
        texts = [target.text for target in self.targets]
        scale = params.guidance_scale
        batch = Batch.of(self._frames, *source, edits=len(texts), scale=scale)
        return batch, batch.guided_texts(
            uncond, texts, source_uncond=uncond, source=self.source
        )

    def across(self, q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
        """Compute attention across frames: all of them in the dense layers, some in the
        others."""
        if site.kind == "cross":
            return attention(q, k, v)
        seen = "all" if site.name in self.dense else self._seen
        return across_frames(q, k, v, self._frames, seen)

    def attend(self, batch: Batch, step: Step, heat: AttentionRecorder) -> AttentionFn:
        """Return the attention of one denoising step; the source's rows and
        unconditional ones stay unchanged.

        `heat` records the first edit.
        """
        heat.begin(step)
        exchanges = {}
        for number, target in enumerate(self.targets):
            if self._crosses(target, step):
                exchanges[f"cond/{number}"] = target.exchange

        def attend(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
            if site.kind == "cross":
                return fuse_cross(
                    q,
                    k,
                    v,
                    batch,
                    exchanges,
                )
            return self.across(q, k, v, site)

        look = Look(heat, "cond/0", exchanges.get("cond/0"))
        return watched(attend, batch, lambda _: [look])


def dense_sites(sites: Sequence[AttentionLayer]) -> frozenset[str]:
    """Find the names of the self-attention layers that see all frames."""
    names = [site.name for site in sites if site.kind == "self"]
    found: set[str] = set()
    for prefixes in _DENSE:
        for prefix in prefixes:
            matches = [name for name in names if name.startswith(prefix)]
            if matches:
                found.update(matches)
                break
    return frozenset(found)


def invert(
    backbone: Backbone,
    working: ResizedClip,
    edits: SideBySide,
    params: Vid2VidZeroParams,
) -> Steps[tuple[list[FrameLatents], Tensor | None]]:
    """Invert each frame alone; cached.

    Returns:
        The N + 1 latents from clean to noise, and texts [steps, 1, L, d] if any are
        learned.
    """
    learns = params.inversion == "null_text"
    by_prompt = params.inversion == "negative_prompt"
    text = edits.source if by_prompt else backbone.embed([""])
    facts = {
        "prompt": text.prompts[0],
        "steps": params.steps,
        "told": "fatezero",
        "joint_norm": params.joint_norm,
        "method": "vid2vid_zero",
    }
    change = Intervention(patches=edits.patches)
    pivots = yield from invert_cached(
        backbone,
        working,
        partial(backbone.predict, text=text, change=change),
        backbone.schedule.inversion(params.steps, "fatezero"),
        total=params.steps * (1 + learns),
        preview_every=params.preview_every,
        **facts,
    )
    if not learns:
        return pivots, None
    key = inversion_key(backbone, working, **facts)
    learned = yield from learn(
        backbone,
        edits,
        params,
        pivots,
        key,
    )
    return pivots, learned


def learn(
    backbone: Backbone,
    edits: SideBySide,
    params: Vid2VidZeroParams,
    pivots: list[FrameLatents],
    key: Content,
) -> Steps[Float[Tensor, "steps 1 L d"]]:
    """Learn the text of every step with which guidance returns to the source;
    cached."""
    change = Intervention(patches=edits.patches)
    total = 2 * params.steps
    empty = edits.empty.vectors
    settings = {
        "guidance_scale": params.guidance_scale,
        "inner_steps": params.inner_steps,
    }

    def predict(x: Tensor, step: Step, vectors: Tensor) -> Answer:
        text = edits.empty.with_vectors(vectors)
        learning = torch.is_grad_enabled()  # activations are recomputed, for memory
        return backbone.predict(x, step, text, change, recompute=learning)

    def make() -> Steps[Tensors]:
        walk = null_text(
            pivots,
            predict,
            partial(backbone.predict, text=edits.source, change=change),
            backbone.schedule.sampling(params.steps, inverted=True),
            empty,
            **settings,
        )
        texts = []
        for step, text in walk:
            texts.append(text)
            yield Progress("inverting", params.steps + step.index + 1, total)
        return {"texts": torch.stack(texts)}

    facts = {
        "kind": "null_text",
        "source": edits.source.prompts[0],
        "empty": empty.cpu().numpy().tobytes(),
    }
    done = Progress("inverting", total, total)
    kept = yield from cached(key | settings | facts, make, done, backbone.device)
    return kept["texts"]
