"""The order of rows in a model call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from regrain.editing.diffusion.schedule import Answer, guide
from regrain.editing.diffusion.text import PromptEmbedding


class Batch(NamedTuple):
    """Branches that run together, each with all frames of the clip: rows are (branch
    frame).

    Attributes:
        frames: Frames per branch.
        branches: Their names in order: the source if it runs ("source_uncond",
            "source"), then "uncond" and "cond". With several edits these are groups, of
            "uncond/0", "uncond/1", ..., "cond/0", ...
    """

    frames: int
    branches: tuple[str, ...]

    @classmethod
    def of(cls, frames: int, *source: str, edits: int, scale: float = 0.0) -> Batch:
        """Return the batch of a step: the source's branches and both halves of every
        edit; without guidance, at a scale of 1, only the half with words."""
        halves = ("cond",) if scale == 1 else ("uncond", "cond")
        names = [f"{half}/{edit}" for half in halves for edit in range(edits)]
        return cls(frames, (*source, *names))

    def rows(self, name: str) -> slice:
        """Return the rows of a branch or a group of this batch."""
        places = [
            i
            for i, branch in enumerate(self.branches)
            if name in (branch, group_of(branch))
        ]
        return slice(places[0] * self.frames, (places[-1] + 1) * self.frames)

    def join(self, parts: Mapping[str, Float[Tensor, "..."]]) -> Float[Tensor, "..."]:
        """Join the tensors of the groups into the rows of a call; groups not in this
        batch are left out."""
        groups = dict.fromkeys(group_of(branch) for branch in self.branches)
        return torch.cat([parts[group] for group in groups])

    def texts(self, texts: Mapping[str, PromptEmbedding]) -> PromptEmbedding:
        """Join texts into one per branch, from those of branches or of whole groups."""
        joined = [
            texts[name if name in texts else group_of(name)] for name in self.branches
        ]
        return replace(PromptEmbedding.cat(joined), branches=self.branches)

    def guided_texts(
        self,
        uncond: PromptEmbedding,
        conds: Sequence[PromptEmbedding],
        **source: PromptEmbedding,
    ) -> PromptEmbedding:
        """Join the texts of a guided step: one for all empty halves, one for each edit,
        and those of the source's branches."""
        texts = {"uncond": uncond, **source}
        for edit, cond in enumerate(conds):
            texts[f"cond/{edit}"] = cond
        return self.texts(texts)

    def guide(
        self,
        answer: Answer,
        scale: float,
        uncond: str = "uncond",
        cond: str = "cond",
    ) -> Answer:
        """Apply guidance to two groups of a call's output (x0, eps); without `uncond`
        in this batch, return those of `cond`."""
        x0, eps = answer
        own = self.rows(cond)
        if not self.has(uncond):
            return x0[own], eps[own]
        other = self.rows(uncond)
        guided_x0 = guide(x0[other], x0[own], scale)
        return guided_x0, guide(eps[other], eps[own], scale)

    def has(self, name: str) -> bool:
        """Check if a branch or a group is in this batch."""
        return any(name in (branch, group_of(branch)) for branch in self.branches)


def guided_calls(frames: int, together: bool, scale: float) -> tuple[Batch, ...]:
    """Return the calls of a step of one edit: both halves together, or one after the
    other; without guidance, at a scale of 1, only the half with words."""
    if scale == 1:
        return (Batch(frames, ("cond",)),)
    both = ("uncond", "cond")
    if together:
        return (Batch(frames, both),)
    return tuple(Batch(frames, (half,)) for half in both)


def guide_calls(
    answers: Sequence[Answer], calls: Sequence[Batch], scale: float
) -> Answer:
    """Apply guidance to the outputs (x0, eps) of `guided_calls`."""
    x0, eps = (torch.cat(both) for both in zip(*answers, strict=True))
    branches = [branch for call in calls for branch in call.branches]
    return Batch(calls[0].frames, tuple(branches)).guide((x0, eps), scale)


def group_of(branch: str) -> str:
    """Return the group of a branch."""
    return branch.partition("/")[0]
