"""Parts of models that were read: each is asked once whether it can do its work, before
minutes are spent on it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from regrain.editing.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

_TEXTS = ("a cat", "the dog")
_WORD = r"[a-z]{3,}</w>"  # as CLIP writes a word that is one token
_MARKED = 3  # tokens of such a word between its start and its end


def check_finite(
    weights: Iterable[tuple[str, Tensor]], title: str, field: str = "model"
) -> None:
    """Refuse weights, or answers, with NaN or Inf, by the name of one; `title` names
    the part."""
    import torch

    for name, weight in weights:
        if not weight.is_floating_point() or not weight.numel() or weight.is_meta:
            continue
        wide = weight.float() if weight.itemsize == 1 else weight
        ends = torch.stack(torch.aminmax(wide.detach()))  # NaN if one is
        if not ends.isfinite().all():
            advice = "Download it again, or use another model"
            if weight.dtype == torch.float16 and not ends.isnan().any():
                advice = "Use --dtype float32, or another model"
            raise ModelError(field, f"{title} has NaN or Inf in {name}. {advice}.")


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, title: str) -> None:
    """Refuse a tokenizer that reads all texts alike, or a word of its own letter by
    letter."""
    known = [token for token in tokenizer.get_vocab() if re.fullmatch(_WORD, token)]
    texts = [*_TEXTS, *(token.removesuffix("</w>") for token in known[:1])]
    one, other, *words = tokenizer(texts)["input_ids"]
    if {*one} == {*other} or any(len(word) > _MARKED for word in words):
        raise ModelError(
            "model",
            f"{title} has no vocabulary, or a part of one. Download it again.",
        )
