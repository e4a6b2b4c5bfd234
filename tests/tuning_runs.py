"""Tunings in tests: a tiny clip, requests for it, and a generator driven to its end or
to an event."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from made_clips import drifting

from regrain.editing import Adapter, ArrayClip, EditRequest
from regrain.editing.methods.tuning import Tuning, learn_clip
from regrain.editing.params.registry import check_params
from regrain.editing.params.tune_a_video import TuneAVideoParams

FRAMES = 3
SIZE = 16
WORDS = "a cat on the grass"


def clip(frames: int = FRAMES, size: int = SIZE) -> ArrayClip:
    """Blobs that drift."""
    return drifting(frames, size, size, start=16, blocks=4)


def request(frames: int = FRAMES, size: int = SIZE, **changes) -> EditRequest:
    """An edit of the whole clip by Tune-A-Video."""
    given = {
        "method": "tune_a_video",
        "source_prompt": WORDS,
        "prompt": "a fox on the grass",
    } | changes
    return EditRequest(clip(frames, size), None, (), **given)


def params(**given) -> TuneAVideoParams:
    """Two steps without previews, unless given."""
    return check_params(
        "tune_a_video", {"tune_steps": 2, "tune_preview_every": 0, **given}
    )


def tuning(model, asked: EditRequest | None = None, **given) -> Iterator[Any]:
    """The events of a tuning."""
    return learn_clip(model, asked or request(), params(**given))


def learned(model, asked: EditRequest | None = None, **given) -> Adapter:
    """The adapter of a tuning."""
    with torch.no_grad():
        return list(tuning(model, asked, **given))[-1].adapter


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the steps for which gradients are computed from now on."""
    taken = []
    gradients = Tuning.gradients
    noted = lambda self, learner: (  # noqa: E731
        taken.append(learner.steps) or gradients(self, learner)
    )
    monkeypatch.setattr(Tuning, "gradients", noted)
    return taken


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two sets of weights are equal, bit for bit."""
    return one.keys() == other.keys() and all(
        torch.equal(one[name], other[name]) for name in one
    )
