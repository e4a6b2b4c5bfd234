"""Who finds masks and who follows them: the built-in ones, and published SAMs in $REGRAIN_MODELS.

A new finder is an entry here; `masks.segment` and `masks.propagate` know no names of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from regrain.editing.errors import MaskError, suggest
from regrain.editing.storage.local_models import find_local
from regrain.masks.models import checkpoints, cost, sam
from regrain.masks.models.checkpoints import Checkpoint

Prompt = Literal["points", "box", "mask", "strokes", "words"]
FLOW, CUTS = "flow", "cuts"
_FIRST = [file.removesuffix(".pth") for _, file in sam.PUBLISHED.values()]  # from small to large
_SAM: tuple[Prompt, ...] = ("points", "box", "mask")
_WORDS: tuple[Prompt, ...] = ("words",)


@dataclass(frozen=True)
class MaskModel:
    """Someone who answers clicks, follows masks, or both.

    Attributes:
        name: For `method` of `masks.segment` and `tracker` of `masks.propagate`.
        title: What people call it.
        about: What it is good for, as a sentence.
        takes: What it finds masks from; empty if it only follows them.
        follows: Whether it follows masks through a clip.
        missing: Why it is not at hand, as a sentence; empty if it is.
        checkpoint: Its weights, if they are in $REGRAIN_MODELS.
    """

    name: str
    title: str
    about: str
    takes: tuple[Prompt, ...] = ()
    follows: bool = False
    missing: str = ""
    checkpoint: Checkpoint | None = None

    def cost(self) -> str:
        """What it takes on this machine, in words; empty where that is next to nothing."""
        return cost.cost(self.checkpoint).in_words() if self.checkpoint else ""


def finders() -> dict[str, MaskModel]:
    """All finders and trackers that are known here, by name; some may not be at hand."""
    missing = "Its weights are missing." if sam.missing() else ""
    drawn = "A small network that was trained on drawn things."
    real = "Cuts by colour, place and motion, for real clips."
    known = [
        MaskModel("sam", "SAM", drawn, _SAM, missing=missing),
        MaskModel(CUTS, "Cuts", real, (*_SAM, "strokes"), follows=True),
        MaskModel(
            FLOW, "Motion", "Follows optical flow and colours; needs no weights.", follows=True
        ),
    ]
    for size, file in sam.PUBLISHED.values():
        if find_local(file):
            title = f"SAM ViT-{size[-1].upper()}"
            known.append(
                MaskModel(file.removesuffix(".pth"), title, "The first SAM, for any picture.", _SAM)
            )
    for one in checkpoints.checkpoints():
        takes = (_SAM if one.kind.clicks else ()) + (_WORDS if one.kind.words else ())
        title, about = (
            checkpoints.title_of(one.name),
            f"A published {one.kind.family}, for any picture.",
        )
        known.append(
            MaskModel(one.name, title, about, takes, bool(one.kind.tracking), checkpoint=one)
        )
    return {finder.name: finder for finder in known}


def usual(
    drawn: bool, can: Callable[[MaskModel], bool] = lambda finder: bool(finder.takes)
) -> MaskModel:
    """Who is asked unless someone chooses, of those who can do something.

    The built-in SAM knows things of the drawn world best. On real clips a published one is much better: the
    smallest on a processor, where seconds count, and the largest on a graphics card. Without one, cuts are.
    """
    able = [finder for finder in finders().values() if not finder.missing and can(finder)]
    if drawn:
        return able[0]
    first = [finder for finder in able if finder.name in _FIRST]
    published = [finder for finder in able if finder.checkpoint] or first
    if not published:
        return next((finder for finder in able if finder.name == CUTS), able[0])
    import torch

    return published[-1 if torch.cuda.is_available() else 0]


def usual_tracker(drawn: bool) -> str:
    """Who follows masks unless someone chooses: on real clips cuts, or a published SAM on a graphics card."""
    if drawn:
        return FLOW
    if not any(one.checkpoint and one.follows for one in finders().values()):
        return CUTS
    import torch

    return usual(drawn, lambda one: one.follows).name if torch.cuda.is_available() else CUTS


def find_finder(name: str) -> MaskModel:
    """The finder of a name, which answers clicks.

    Raises:
        MaskError: There is none.
        ModelError: Its folder is broken.
    """
    return _find("method", name, lambda finder: "points" in finder.takes)


def find_tracker(name: str) -> MaskModel:
    """The tracker of a name, with a checkpoint unless it is `FLOW` or `CUTS`; errors as of `find_finder`."""
    return _find("tracker", name, lambda finder: finder.follows)


def _find(field: str, name: str, can: Callable[[MaskModel], bool]) -> MaskModel:
    able = {finder.name: finder for finder in finders().values() if can(finder)}
    if name in able:
        return able[name]
    checkpoints.find(name)  # says what is wrong with a broken one
    raise MaskError(field, f"{name[:60]!r} was not found. {suggest(name, able)}")
