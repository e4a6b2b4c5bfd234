"""The prompts of a request, encoded for edits by words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regrain.editing.diffusion.text import PromptEmbedding
    from regrain.editing.models.backbone import Backbone
    from regrain.editing.request.edit_request import EditRequest


def embed_targets(
    backbone: Backbone, request: EditRequest
) -> tuple[PromptEmbedding, list[PromptEmbedding]]:
    """Encode the negative prompt, and the prompt of every edit."""
    targets = request.targets
    prompts = [request.negatives, *targets]
    uncond, *conds = backbone.embed(prompts, _fields(len(targets)))
    return uncond, conds


def embed_prompts(
    backbone: Backbone, request: EditRequest
) -> tuple[PromptEmbedding, PromptEmbedding, list[PromptEmbedding]]:
    """Encode the source prompt, the negative prompt, and the prompt of every edit."""
    targets = request.targets
    prompts = [request.source_prompt, request.negatives, *targets]
    fields = ["source_prompt", *_fields(len(targets))]
    source, uncond, *conds = backbone.embed(prompts, fields)
    return source, uncond, conds


def _fields(edits: int) -> list[str]:
    """Name the fields of the negative prompt and of the prompt of every edit."""
    more = ["more_prompts"] * (edits - 1)
    return ["negative_prompt", "prompt", *more]
