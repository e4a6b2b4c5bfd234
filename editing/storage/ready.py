"""Parts of models that were read: each is asked once whether it can do its work, before
minutes are spent on it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from regrain.editing.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


def check_finite(weights: Iterable[tuple[str, Tensor]], title: str) -> None:
    """Refuse a part, named by its title, that has NaN or Inf in a weight."""
    for name, weight in weights:
        wide = weight.float() if weight.itemsize == 1 else weight
        if not wide.isfinite().all():
            other = "--dtype float32" if weight.itemsize == 2 else "another model"
            raise ModelError(
                "model",
                f"{title} has NaN or Inf in {name}. Download it again, or use {other}.",
            )


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, title: str) -> None:
    """Refuse a tokenizer that reads all texts alike."""
    one, other = tokenizer(["a cat", "the dog"])["input_ids"]
    if {*one} == {*other}:
        raise ModelError("model", f"{title} has no vocabulary. Download it again.")
