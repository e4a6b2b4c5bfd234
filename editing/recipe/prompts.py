"""The prompts of a request, encoded for edits by words, and how they guide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from regrain.editing.attention.maps import Exchange, exchange
from regrain.editing.diffusion.text import PromptEmbedding
from regrain.editing.models.backbone import Backbone
from regrain.editing.params.base import ByWordsParams
from regrain.editing.recipe.attention_recorder import Columns, new_columns
from regrain.editing.request.edit_request import EditRequest


def embed_halves(
    backbone: Backbone, request: EditRequest
) -> dict[str, PromptEmbedding]:
    """Encode the negative prompt and the prompt, as the halves of guidance."""
    prompts = [request.negatives, request.composed.text]
    uncond, cond = backbone.embed(prompts, ["negative_prompt", "prompt"])
    return {"uncond": uncond, "cond": cond}


def embed_targets(
    backbone: Backbone, request: EditRequest
) -> tuple[PromptEmbedding, list[PromptEmbedding]]:
    """Encode the negative prompt, and the prompt of every edit."""
    prompts = [request.negatives, *request.targets]
    uncond, *conds = backbone.embed(prompts, _fields(request))
    return uncond, conds


def embed_prompts(
    backbone: Backbone, request: EditRequest
) -> tuple[PromptEmbedding, PromptEmbedding, list[PromptEmbedding]]:
    """Encode the source prompt, the negative prompt, and the prompt of every edit."""
    prompts = [request.description, request.negatives, *request.targets]
    fields = ["source_prompt", *_fields(request)]
    source, uncond, *conds = backbone.embed(prompts, fields)
    return source, uncond, conds


def _fields(request: EditRequest) -> list[str]:
    """Name the fields of the negative prompt and of the prompt of every edit."""
    more = ["more_prompts"] * (len(request.targets) - 1)
    return ["negative_prompt", "prompt", *more]


@dataclass(frozen=True, eq=False)
class Target:
    """The prompt of an edit, aligned with the source prompt.

    Attributes:
        exchange: How its cross-attention is computed from the source's.
        words: Tokens of its new words, whose heat is shown.
    """

    text: PromptEmbedding
    exchange: Exchange
    words: Columns


def align(
    source: PromptEmbedding,
    text: PromptEmbedding,
    params: ByWordsParams,
    weights: Mapping[str, float] | None = None,
) -> Target:
    """Align a prompt with the source prompt; `weights` are factors of some of its
    words.

    Raises:
        PromptError: A word of `weights` is not in it, or it cannot replace the source
            prompt word for word.
    """
    rule = exchange(
        source,
        text,
        params.cross_control,
        weights=weights,
        variant=params.alignment,
        field="params.emphasis_words",
    )
    return Target(text, rule, new_columns(source.prompts[0], text))


def guidance_of(backbone: Backbone, scale: float) -> tuple[float, tuple[float, ...]]:
    """Return how a model is guided at a scale: by a second row without words, or as it
    is told.

    Returns:
        The scale of the guidance that two rows make, 1 for none and one row; and the
        scale for the network, empty if it takes none (see `Intervention`).
    """
    if backbone.told_guidance:
        return 1.0, (scale,)
    return scale, ()
