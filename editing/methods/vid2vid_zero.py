"""vid2vid-zero: edits by words with attention across frames, without training.

Wang et al. 2023, arXiv:2303.17599. The clip is inverted to noise frame by frame. Source
and edit are then denoised side by side, with attention across frames: a few layers see
all frames at once, the others some of them. In the first steps the edit's
cross-attention follows the source's. To keep guidance from changing the source, the
source prompt replaces the empty prompt (negative-prompt inversion), or a text is
learned at every step (null-text inversion).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from regrain.editing.attention.backends import attention
from regrain.editing.attention.batch import Batch
from regrain.editing.attention.frames import Seen, across_frames, frames_seen
from regrain.editing.attention.layers import AttentionFn, AttentionLayer
from regrain.editing.attention.maps import Exchange, exchange, fuse_cross, map_stride
from regrain.editing.diffusion.blending import blend_edits, mix_noise
from regrain.editing.diffusion.schedule import Step, advance
from regrain.editing.diffusion.text import PromptEmbedding, new_words
from regrain.editing.errors import RequestError, shorten, suggest
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.intervention import Intervention, Patch, joint_norm
from regrain.editing.params.vid2vid_zero import Vid2VidZeroParams
from regrain.editing.recipe.attention_recorder import (
    AttentionRecorder,
    Columns,
    HeatScope,
    word_columns,
)
from regrain.editing.recipe.events import Event, Progress, Stage
from regrain.editing.recipe.inversion import (
    cached,
    inversion_key,
    invert_cached,
    is_learned,
    null_text,
)
from regrain.editing.recipe.preview import Previews
from regrain.editing.recipe.prompts import embed_prompts
from regrain.editing.recipe.window import (
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
    params: Vid2VidZeroParams,
    piece: WindowFrames | None = None,
) -> Generator[Event, None, WindowResult]:
    """Edit a clip, or a piece of it; yields events, returns the latents."""
    working = working_clip(backbone, request, piece)
    plan = make_plan(backbone, request, params, working)

    yield Stage("inverting")
    pivots, learned = yield from invert(backbone, working, plan, params)

    yield Stage("editing")
    heat = AttentionRecorder(plan.scope)  # of the first edit
    words = plan.targets[0].words
    shown = partial(heat.now, words)
    previews = Previews(pivots[0], working, params.preview_every)
    source = pivots[-1]
    fresh = torch.Generator().manual_seed(request.seed)
    x = mix_noise(source, plan.inside, params.variation, fresh)
    x = x.repeat(len(plan.targets), 1, 1, 1)
    for step in backbone.schedule.sampling(params.steps, inverted=True):
        x = working.piece.pin_anchors("edit", step.index, x)
        source = working.piece.pin_anchors("source", step.index, source)
        batch, text = plan.rows(step, params, learned)
        rows = join_rows(batch, source, x)
        attend = guided_attention(plan, params, batch, step, heat)
        answer = backbone.predict(rows, step, text, Intervention(attend, plan.patches))
        source = advance_source(source, answer, batch, step, params)
        x0, eps = batch.guide(answer, params.guidance_scale)
        x = advance(x0, eps, step)
        if plan.inside is not None:
            known = pivots[step.total - 1 - step.index]
            x = blend_edits(x, known, plan.inside)
        yield from previews(step, x0[: plan.frames], shown)
        yield Progress("editing", step.index + 1, step.total, None)
    return WindowResult(
        edits=x.split(plan.frames),
        attention=heat.maps(words),
        reconstruction=source if params.reconstruct else None,
    )


@dataclass(frozen=True, eq=False)
class Vid2VidZeroTarget:
    """One target prompt: encoded, aligned with the source's, and the tokens of its new
    words."""

    text: PromptEmbedding
    exchange: Exchange
    words: Columns

    def crosses(self, step: Step, params: Vid2VidZeroParams) -> bool:
        """Check if a step computes its cross-attention from the source's; a share of N
        + 1 as released."""
        share = (
            params.replace_until
            if self.exchange.mapper is not None
            else params.refine_until
        )
        return step.within(share, of=step.total + 1)


@dataclass(frozen=True, eq=False)
class Vid2VidZeroPlan:
    """Everything decided before the first step.

    Attributes:
        scope: The layers from which maps of words are read.
        empty: The negative prompt.
        dense: Names of the self-attention layers that see all frames.
        seen: The frames whose keys a frame sees in the others.
        inside: Edited area on the grid of the latents, if latents are blended.
    """

    frames: int
    scope: HeatScope
    source: PromptEmbedding
    empty: PromptEmbedding
    targets: tuple[Vid2VidZeroTarget, ...]
    dense: frozenset[str]
    seen: Seen
    inside: Float[Tensor, "frames 1 h w"] | None
    patches: tuple[Patch, ...]

    def rows(
        self, step: Step, params: Vid2VidZeroParams, learned: Tensor | None
    ) -> tuple[Batch, PromptEmbedding]:
        """Return the branches of a step and their texts.

        The source runs while its attention is used, or to the end to rebuild it; also
        without its prompt, except in negative-prompt inversion.
        """
        by_prompt = params.inversion == "negative_prompt"
        uncond = self.empty
        if by_prompt:
            uncond = self.source
        elif learned is not None and is_learned(step, params.learned_share):
            uncond = self.empty.with_vectors(learned[step.index])
        crosses = any(target.crosses(step, params) for target in self.targets)
        source = []
        if params.reconstruct or crosses or step.within(params.self_until):
            is_guided = params.guidance_scale != 1 and not by_prompt
            source = ["source_uncond", "source"] if is_guided else ["source"]
        batch = Batch.of(
            self.frames,
            *source,
            edits=len(self.targets),
            scale=params.guidance_scale,
        )
        text = batch.guided_texts(
            uncond,
            [target.text for target in self.targets],
            source_uncond=uncond,
            source=self.source,
        )
        return batch, text

    def attend(self, q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
        """Compute attention across frames: all of them in the dense layers, those of
        `seen` in the others."""
        if site.kind == "cross":
            return attention(q, k, v)
        seen = "all" if site.name in self.dense else self.seen
        return across_frames(q, k, v, self.frames, seen)


def join_rows(
    batch: Batch,
    source: Float[Tensor, "frames c h w"],
    x: Float[Tensor, "rows c h w"],
) -> Float[Tensor, "all_rows c h w"]:
    """Join the latents of the source and of all edits into the rows of a step."""
    parts = {
        "source_uncond": source,
        "source": source,
        "uncond": x,
        "cond": x,
    }
    return batch.join(parts)


def advance_source(
    source: Float[Tensor, "frames c h w"],
    answer: tuple[Tensor, Tensor],
    batch: Batch,
    step: Step,
    params: Vid2VidZeroParams,
) -> Float[Tensor, "frames c h w"]:
    """Return the source after a step: guided if it has both halves, unchanged if it did
    not run."""
    if "source" not in batch.branches:
        return source
    if "source_uncond" in batch.branches:
        x0, eps = batch.guide(answer, params.guidance_scale, "source_uncond", "source")
    else:
        x0, eps = (both[batch.rows("source")] for both in answer)
    return advance(x0, eps, step)


def make_plan(
    backbone: Backbone,
    request: EditRequest,
    params: Vid2VidZeroParams,
    working: ResizedClip,
) -> Vid2VidZeroPlan:
    """Encode and align the prompts, find the dense layers."""
    frames = len(request.clip)
    source, empty, texts = embed_prompts(backbone, request)
    stride = map_stride(working.grid, backbone.sites)
    return Vid2VidZeroPlan(
        frames=frames,
        scope=HeatScope.of(stride, working.grid),
        source=source,
        empty=empty,
        targets=tuple(make_target(source, text, params) for text in texts),
        dense=dense_sites(backbone.sites, params.dense_layers),
        seen=frames_seen(params.selectors, frames, working.piece.middle),
        inside=working.inside() if params.blend else None,
        patches=(joint_norm(frames),) if params.joint_norm else (),
    )


def make_target(
    source: PromptEmbedding, text: PromptEmbedding, params: Vid2VidZeroParams
) -> Vid2VidZeroTarget:
    """Align a prompt with the source's."""
    _, gained = new_words(source.prompts[0], text.prompts[0])
    rule = exchange(source, text, params.cross_control, variant=params.alignment)
    return Vid2VidZeroTarget(text, rule, word_columns(text, gained))


def dense_sites(
    sites: tuple[AttentionLayer, ...], asked: Sequence[str]
) -> frozenset[str]:
    """Find the names of the self-attention layers that start with one of the listed
    prefixes.

    Of prefixes joined by `|`, the first that a layer starts with.

    Raises:
        RequestError: A prefix matches no layer; names the nearest one.
    """
    names = [site.name for site in sites if site.kind == "self"]
    found: set[str] = set()
    for part in asked:
        matches = _first_match(names, part.split("|"))
        if not matches:
            layers = sorted(
                {name.partition(".transformer_blocks")[0] for name in names}
            )
            message = f"{shorten(part)} was not found. {suggest(part, layers)}"
            raise RequestError("params.dense_layers", message)
        found.update(matches)
    return frozenset(found)


def _first_match(names: Sequence[str], prefixes: Sequence[str]) -> list[str]:
    """Return the layers that start with the first prefix that any layer starts with."""
    for prefix in prefixes:
        whole = prefix.strip().rstrip(".") + "."
        matches = [name for name in names if f"{name}.".startswith(whole)]
        if matches:
            return matches
    return []


def invert(
    backbone: Backbone,
    working: ResizedClip,
    plan: Vid2VidZeroPlan,
    params: Vid2VidZeroParams,
) -> Generator[Event, None, tuple[list[Tensor], Tensor | None]]:
    """Invert each frame alone; cached.

    Returns:
        The N + 1 latents from clean to noise, and texts [steps, 1, L, d] if any are
        learned.
    """
    learns = params.inversion == "null_text"
    from_empty = params.inversion == "plain" or (learns and params.pivot == "empty")
    text = backbone.embed([""]) if from_empty else plan.source
    facts = {
        "prompt": text.prompts[0],
        "steps": params.steps,
        "told": "fatezero",
        "joint_norm": params.joint_norm,
        "method": "vid2vid_zero",
    }

    def predict(x: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        return backbone.predict(x, step, text, Intervention(patches=plan.patches))

    steps = backbone.schedule.inversion(params.steps, "fatezero")
    total = params.steps * (1 + learns)
    pivots = yield from invert_cached(
        backbone,
        working,
        predict,
        steps,
        total=total,
        preview_every=params.preview_every,
        **facts,
    )
    if not learns:
        return pivots, None
    key = inversion_key(backbone, working, **facts)
    learned = yield from learn(backbone, plan, params, pivots, key)
    return pivots, learned


def learn(
    backbone: Backbone,
    plan: Vid2VidZeroPlan,
    params: Vid2VidZeroParams,
    pivots: list[Float[Tensor, "frames c h w"]],
    key: dict[str, object],
) -> Generator[Event, None, Float[Tensor, "steps 1 L d"]]:
    """Learn the text of every step with which guidance returns to the source;
    cached."""
    plain = params.learn_with == "plain"
    change = Intervention(None if plain else plan.attend, plan.patches)
    total = 2 * params.steps
    settings = {
        "guidance_scale": params.guidance_scale,
        "inner_steps": params.inner_steps,
        "learning_rate": params.learning_rate,
    }

    def predict(x: Tensor, step: Step, text: PromptEmbedding) -> tuple[Tensor, Tensor]:
        anew = params.recompute and torch.is_grad_enabled()
        return backbone.predict(x, step, text, change, recompute=anew)

    def predict_empty(x: Tensor, step: Step, vectors: Tensor) -> tuple[Tensor, Tensor]:
        return predict(x, step, plan.empty.with_vectors(vectors))

    def predict_source(x: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        return predict(x, step, plan.source)

    def make() -> Generator[Event, None, dict[str, Tensor]]:
        steps = backbone.schedule.sampling(params.steps, inverted=True)
        empty = plan.empty.vectors
        walk = null_text(
            pivots,
            predict_empty,
            predict_source,
            steps,
            empty,
            **settings,
        )
        texts = []
        for step, text, _ in walk:
            texts.append(text)
            yield Progress("inverting", params.steps + step.index + 1, total, None)
        return {"texts": torch.stack(texts)}

    facts = {
        "kind": "null_text",
        "source": plan.source.prompts[0],
        "attention": "plain" if plain else (sorted(plan.dense), params.keys),
        "empty": plan.empty.vectors.cpu().numpy().tobytes(),
    }
    done = Progress("inverting", total, total, 0.0)
    kept = yield from cached(key | settings | facts, make, done, backbone.device)
    return kept["texts"]


def guided_attention(
    plan: Vid2VidZeroPlan,
    params: Vid2VidZeroParams,
    batch: Batch,
    step: Step,
    heat: AttentionRecorder,
) -> AttentionFn:
    """Return the attention of one denoising step; the source's rows and unconditional
    ones stay unchanged.

    With `self_until` the edits also use queries and keys of the source.
    """
    heat.begin(step)
    exchanges = {}
    for number, target in enumerate(plan.targets):
        crosses = target.crosses(step, params)
        exchanges[f"cond/{number}"] = target.exchange if crosses else None

    def look(branch: str, own: Tensor, final: Tensor) -> None:
        if branch == "cond/0":
            heat.add(own.mean(1), final.mean(1))

    def attend(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
        if site.kind == "cross":
            return fuse_cross(
                q, k, v, batch, exchanges, look if heat.reads(site) else None
            )
        if step.within(params.self_until):
            source = batch.rows("source")
            q = q.clone()
            k = k.clone()
            for branch in exchanges:
                rows = batch.rows(branch)
                q[rows] = q[source]
                k[rows] = k[source]
        return plan.attend(q, k, v, site)

    return attend
