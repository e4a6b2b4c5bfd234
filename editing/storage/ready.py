"""Parts of models that were read: each is asked once whether it can do its work, before
minutes are spent on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from regrain.editing.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedTokenizerFast

_LETTERS = 2 * 256  # tokens that no merge makes: bytes, and those that end a word


def check_finite(part: nn.Module, title: str) -> None:
    """Refuse a part, named by its title, that has NaN or Inf in what was read from its
    file, parameters and buffers."""
    check_weights(part.state_dict(), title)


def check_weights(weights: Mapping[str, Tensor], title: str) -> None:
    """Refuse weights, named by the title of their file, of which one has NaN or Inf."""
    for name, weight in weights.items():
        wide = weight.float() if weight.itemsize == 1 else weight
        if not wide.isfinite().all():
            other = "--dtype float32" if weight.itemsize == 2 else "another model"
            raise ModelError(
                "model",
                f"{title} has NaN or Inf in {name}. Download it again, or use {other}.",
            )


def check_vocabulary(tokenizer: PreTrainedTokenizerFast, title: str) -> None:
    """Refuse a tokenizer that reads all texts alike, or lacks merges of its tokens."""
    one, other = tokenizer(["a cat", "the dog"])["input_ids"]
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    least = len(model["vocab"]) - _LETTERS - len(tokenizer.get_added_vocab())
    if {*one} == {*other} or len(model.get("merges", model["vocab"])) < least:
        raise ModelError("model", f"{title} lacks its vocabulary. Download it again.")
