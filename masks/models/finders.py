"""Registry of models that find masks or follow them: built-in ones, and published SAMs
in $REGRAIN_MODELS.

A new finder is an entry here; `masks.segment` and `masks.propagate` know no names of
their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from regrain.editing.errors import MaskError, suggest
from regrain.editing.storage.devices import on_gpu
from regrain.editing.storage.local_models import absent, find_local
from regrain.masks.models import checkpoints, cost, sam
from regrain.masks.models.checkpoints import Checkpoint
from regrain.masks.models.single_files import first_sams, first_size

Prompt = Literal["points", "box", "mask", "strokes"]
CUTS = "cuts"
_SAM: tuple[Prompt, ...] = ("points", "box", "mask")


@dataclass(frozen=True)
class MaskModel:
    """A model that answers clicks; some also follow masks.

    Attributes:
        name: For `method` of `masks.segment` and `tracker` of `masks.propagate`.
        title: What people call it.
        takes: What it finds masks from.
        follows: Whether it follows masks through a clip.
        missing: Whether it is not at hand.
        damaged: Whether its file is not whole, as it says itself once it is asked.
        checkpoint: Its weights, if they are in $REGRAIN_MODELS.
        built_in: Whether it is here without a file, and answers within a second on a
            processor.
    """

    name: str
    title: str
    takes: tuple[Prompt, ...]
    follows: bool = False
    missing: bool = False
    damaged: bool = False
    checkpoint: Checkpoint | None = None
    built_in: bool = False

    def cost(self) -> str:
        """Say how many seconds it takes on this machine; empty where that is next to
        nothing."""
        return cost.cost(self.checkpoint).in_words() if self.checkpoint else ""


def finders() -> dict[str, MaskModel]:
    """Return all finders and trackers that are known here, by name; some may not be at
    hand."""
    known = [
        MaskModel(
            name="sam",
            title="Learned",
            takes=_SAM,
            missing=bool(sam.missing()),
            built_in=True,
        ),
        MaskModel(
            name=CUTS,
            title="By colour",
            takes=(*_SAM, "strokes"),
            follows=True,
            built_in=True,
        ),
    ]
    for size, file, length in sam.PUBLISHED.values():
        path = find_local(file)
        if path and path.is_file():
            known.append(_first(path.stem, size, path.stat().st_size != length))
    known += [_first(name, size) for name, size in first_sams().items()]
    known += [
        MaskModel(
            name=one.name,
            title=checkpoints.title_of(one.name),
            takes=_SAM,
            follows=bool(one.kind.tracking),
            checkpoint=one,
        )
        for one in checkpoints.checkpoints()
    ]
    return {finder.name: finder for finder in known}


def _first(name: str, size: str, damaged: bool = False) -> MaskModel:
    title = f"SAM ViT-{size[-1].upper()}"
    return MaskModel(name, title, _SAM, damaged=damaged)


def usual(
    drawn: bool, can: Callable[[MaskModel], bool] = lambda finder: True
) -> MaskModel:
    """Return the default finder of those for which `can` holds.

    The built-in SAM knows things of the drawn world best. On real clips a published one
    is much better: the smallest on a processor, where seconds count, and the largest on
    a graphics card. Where there is none, cuts are the default.
    """
    able = [
        one
        for one in finders().values()
        if not (one.missing or one.damaged) and can(one)
    ]
    if drawn:
        return able[0]
    published = [finder for finder in able if finder.checkpoint]
    if not published:
        published = [finder for finder in able if not finder.built_in]
    if not published:
        cuts = [finder for finder in able if finder.name == CUTS]
        return (cuts or able)[0]
    return published[-1 if on_gpu() else 0]


def usual_tracker(drawn: bool) -> str:
    """Return the default tracker: cuts, or on real clips a published SAM on a graphics
    card."""
    at_hand = any(one.checkpoint and one.follows for one in finders().values())
    if drawn or not at_hand or not on_gpu():
        return CUTS
    return usual(drawn, lambda finder: finder.follows).name


def find_finder(name: str) -> MaskModel:
    """Return the finder of a name.

    Raises:
        MaskError: There is none.
        ModelError: Its folder is broken.
    """
    return _find("method", name, lambda finder: True)


def find_tracker(name: str) -> MaskModel:
    """Return the tracker of a name, with a checkpoint unless it is `CUTS`.

    Raises:
        MaskError: There is none.
        ModelError: Its folder is broken.
    """
    return _find("tracker", name, lambda finder: finder.follows)


def _find(field: str, name: str, can: Callable[[MaskModel], bool]) -> MaskModel:
    able = {finder.name: finder for finder in finders().values() if can(finder)}
    if name in able:
        return able[name]
    checkpoints.find(name)
    if folder := find_local(name):
        first_size(folder)  # which say what is wrong with a broken one
    raise MaskError(
        field, f"{name[:60]!r} was not found. {suggest(name, able)}{absent()}"
    )
